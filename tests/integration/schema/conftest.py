"""Databases shared by several tests of the schema."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from db_utils import DatabaseManager
from tests.support.wrong_rows import NOW, OURS, THEIRS, insert, named


@pytest.fixture
def two_organizations(empty_database: DatabaseManager) -> DatabaseManager:
    """Two organizations, each with a location, a resource, an employee and a shift."""
    for organization_id in (OURS, THEIRS):
        location, resource, employee, shift = (named(organization_id, n) for n in (2, 3, 4, 5))
        insert(
            empty_database,
            "organizations",
            {"organization_id": organization_id, "name": str(organization_id)[:8], "industry": "testing"},
        )
        rows: list[tuple[str, dict[str, Any]]] = [
            ("locations", {"location_id": location, "name": "Hall", "location_type": "factory"}),
            (
                "resources",
                {
                    "resource_id": resource,
                    "location_id": location,
                    "name": "Machine",
                    "resource_type": "press",
                },
            ),
            (
                "employees",
                {
                    "employee_id": employee,
                    "location_id": location,
                    "employee_code": "E1",
                    "full_name": "Operator 1",
                    "role": "operator",
                },
            ),
            ("forecast_models", {"model_name": "m", "model_version": "1", "kind": "demand"}),
            (
                "shifts",
                {
                    "shift_id": shift,
                    "location_id": location,
                    "name": "Early",
                    "starts_at": NOW - timedelta(hours=8),
                    "ends_at": NOW,
                },
            ),
            ("sync_targets", {"consumer": "convex"}),
            *(
                (
                    "optimization_runs",
                    {"run_id": named(organization_id, n), "run_type": "other", "algorithm": "x"},
                )
                for n in (11, 12)
            ),
            (
                "schedule_proposals",
                {
                    "run_id": named(organization_id, 11),
                    "kind": "plan",
                    "window_start": NOW,
                    "window_end": NOW + timedelta(days=14),
                    "fingerprint": "0" * 64,
                },
            ),
            (
                "production_plans",
                {
                    "plan_id": named(organization_id, 13),
                    "location_id": location,
                    "product_id": "P",
                    "plan_date": NOW.date(),
                    "planned_quantity": 5,
                },
            ),
        ]
        for table, values in rows:
            insert(empty_database, table, values, organization_id)
    return empty_database
