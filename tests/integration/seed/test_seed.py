"""The sample data: its counts, its determinism, and that it can be applied repeatedly."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest

from db_utils import DatabaseManager, schema
from tests.conftest import fresh_database
from tests.integration.test_described_usage import STATEMENTS
from tests.support.seed_story import (
    LOGISTICS,
    MANUFACTURING,
    PARIS,
    Story,
    contents,
    local_day,
    midnight,
    seeded_at,
)


def test_counts_of_the_seed_document(story: Story) -> None:
    organizations = story.rows("SELECT organization_id, industry, timezone FROM organizations ORDER BY 1")
    assert [(str(o["organization_id"]), o["industry"], o["timezone"]) for o in organizations] == [
        (MANUFACTURING, "manufacturing", "Europe/Paris"),
        (LOGISTICS, "logistics", "Europe/Paris"),
    ]
    assert sorted(story.column("SELECT location_type FROM locations")) == [
        "distribution_center",
        "factory",
        "warehouse",
    ]
    kinds = story.column("SELECT resource_type FROM resources")
    assert len(kinds) >= 5
    assert {"assembly_line", "cnc_machine", "vehicle"} <= set(kinds)
    assert all(
        {"max_speed", "maintenance_interval_hours", "sensors"} <= set(metadata)
        for metadata in story.column("SELECT metadata FROM resources")
    )
    employees = story.rows("SELECT role, skills FROM employees")
    assert len(employees) == 7
    assert len({e["role"] for e in employees}) >= 5
    assert all(e["skills"] for e in employees)


def test_days_of_history(story: Story) -> None:
    demand = defaultdict(list)
    for row in story.rows("SELECT organization_id, product_id, time FROM demand_history ORDER BY time"):
        demand[row["product_id"]].append(row["time"])
    assert len(demand) >= 4
    assert all(times == [midnight(day) for day in story.days(-90, -1)] for times in demand.values())

    for table in ("operational_events", "employee_attendance"):
        days = {local_day(instant) for instant in story.column(f"SELECT time FROM {table}")}
        assert sorted(days - {story.today}) == story.days(-30, -1), table
    resources = story.column("SELECT resource_id FROM resources")
    assert len(resources) == len(
        story.column(
            "SELECT resource_id FROM resource_metrics GROUP BY resource_id "
            "HAVING count(*) = 7 * 1440 AND min(time) = %s AND max(time) = %s "
            "AND bool_and(time = date_trunc('minute', time))",
            story.last_minute - timedelta(hours=168),
            story.last_minute - timedelta(minutes=1),
        )
    )

    weeks = {local_day(instant) for instant in story.column("SELECT starts_at FROM shifts")}
    assert sorted(weeks) == story.days(-30, 14)


def test_forecasts_for_the_next_30_days(story: Story) -> None:
    current = defaultdict(list)
    for row in story.rows(
        "SELECT product_id, target_time, available_at FROM current_demand_forecasts "
        "WHERE target_time > %s ORDER BY target_time",
        story.anchor,
    ):
        current[row["product_id"]].append(row["target_time"])
        assert row["available_at"] == midnight(story.today)
    assert set(current) == set(story.column("SELECT DISTINCT product_id FROM demand_history"))
    assert all(times == [midnight(day) for day in story.days(1, 30)] for times in current.values())


def test_every_kind_of_row_is_there(story: Story) -> None:
    def kinds(table: str, column: str, organization_id: str) -> set[str]:
        return set(
            story.column(f"SELECT DISTINCT {column} FROM {table} WHERE organization_id = %s", organization_id)
        )

    for organization_id in (MANUFACTURING, LOGISTICS):
        assert kinds("alerts", "status", organization_id) == {"active", "acknowledged", "resolved"}
        assert kinds("anomaly_predictions", "status", organization_id) == {"active", "acknowledged", "closed"}
        assert {"completed", "in_progress", "planned"} <= kinds("production_plans", "status", organization_id)
        assert kinds("operational_events", "event_type", organization_id) >= {
            "production", "maintenance", "breakdown", "idle", "error", "inspection",
            "shift_start", "shift_end",
        }  # fmt: skip
        assert {"weather", "holiday", "market"} <= kinds("external_factors", "factor_type", organization_id)
        assert story.column(
            "SELECT shift_id FROM shift_coverage "
            "WHERE organization_id = %s AND starts_at > %s AND missing_employees > 0",
            organization_id,
            story.anchor,
        )
    assert set(story.column("SELECT DISTINCT status FROM optimization_runs")) == {
        "running", "completed", "failed", "cancelled"
    }  # fmt: skip
    assert "cancelled" in story.column("SELECT status FROM production_plans")
    assert set(story.column("SELECT severity FROM anomaly_predictions WHERE status = 'active'")) >= {
        "low", "medium", "high", "critical"
    }  # fmt: skip
    assert set(story.column("SELECT outcome FROM anomaly_predictions")) == {
        None, "confirmed", "false_alarm", "unknown"
    }  # fmt: skip


# -- applied repeatedly -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_anchor_gives_the_same_content(server_url: str, schema_template: str) -> None:
    """Whatever the session's time zone, date style or interval style."""
    anchor = "2025-10-26T02:30:17.5+01:00"
    with fresh_database(server_url, schema_template) as url, seeded_at(url, anchor) as db:
        first = contents(db)
    elsewhere = {"timezone": "Pacific/Auckland", "datestyle": "German", "intervalstyle": "sql_standard"}
    with fresh_database(server_url, schema_template) as url, seeded_at(url, anchor, **elsewhere) as db:
        assert contents(db) == first
    assert [table for table, fingerprint in first.items() if fingerprint is None] == [
        "api_keys",
        "backup_runs",
        "connector_runs",
        "connector_sources",
        "demand_revisions",
        "forecast_backtests",
        "forecast_models",
        "products",
        "schedule_proposal_items",
        "schedule_proposals",
        "service_schedules",
        "sync_outbox",
        "sync_progress",
        "sync_rejected",
        "sync_targets",
        "tenant_logins",
    ]


def test_a_second_application_changes_nothing(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    db.execute("UPDATE organizations SET name = 'Renamed' WHERE organization_id = %s", (LOGISTICS,))
    db.execute("DELETE FROM alerts WHERE organization_id = %s AND status = 'resolved'", (LOGISTICS,))
    before = contents(db)
    schema.seed(db)
    assert contents(db) == before

    # A later day, on a separate connection.
    tomorrow = (datetime.now(PARIS) + timedelta(hours=23)).isoformat(timespec="seconds")
    with seeded_at(db.settings.database_url, tomorrow):
        assert contents(db) == before


def test_nothing_but_rows_stays(seeded: DatabaseManager, empty_database: DatabaseManager) -> None:
    def objects(db: DatabaseManager) -> list[dict[str, Any]]:
        return db.execute_query(
            """
            SELECT
                n.nspname,
                o.name
            FROM (
                SELECT relnamespace AS namespace, relname::text AS name FROM pg_class
                UNION ALL
                SELECT pronamespace, proname || '/' || pronargs FROM pg_proc
            ) AS o
            JOIN pg_namespace AS n ON n.oid = o.namespace
            WHERE n.nspname = 'public' OR n.nspname LIKE 'pg\\_temp%'
            ORDER BY n.nspname, o.name
            """
        )

    assert objects(seeded) == objects(empty_database)


# -- statements of the seed document ------------------------------------------------------------------------


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statements_of_the_seed_document_return_rows(seeded: DatabaseManager, statement: str) -> None:
    assert seeded.execute_query(statement)
