"""The kinds in the outbox and their columns, in one list for all readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of changes.

    `columns` are those of its current row with their PostgreSQL types, in order; a type ending in `?` is
    nullable. Each row also has `expires_at`: until when it is current without another change; NULL without
    end.
    """

    name: str
    question: str
    columns: Mapping[str, str]


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "alert",
            "Which alerts are open, or were resolved within 30 days?",
            {
                "alert_id": "uuid",
                "created_at": "timestamptz",
                "severity": "text",
                "alert_type": "text",
                "title": "text",
                "message": "text?",
                "status": "text",
                "location_id": "uuid?",
                "resource_id": "uuid?",
                "anomaly_id": "uuid?",
                "acknowledged_at": "timestamptz?",
                "acknowledged_by": "text?",
                "resolved_at": "timestamptz?",
                "resolution": "text?",
            },
        ),
        Kind(
            "anomaly",
            "Which predicted anomalies are open, or were closed within 30 days?",
            {
                "anomaly_id": "uuid",
                "resource_id": "uuid",
                "anomaly_type": "text",
                "severity": "text",
                "status": "text",
                "probability": "numeric",
                "predicted_for": "timestamptz",
                "description": "text?",
                "model_name": "text",
                "model_version": "text",
                "available_at": "timestamptz",
                "outcome": "text?",
                "occurred_at": "timestamptz?",
                "closed_at": "timestamptz?",
            },
        ),
        Kind(
            "resource_status",
            "What does each resource do now?",
            {
                "resource_id": "uuid",
                "location_id": "uuid",
                "name": "text",
                "resource_type": "text",
                "status": "text",
                "last_event_at": "timestamptz?",
                "last_event_type": "text?",
                "last_event_cause": "text?",
                "last_metric_at": "timestamptz?",
                "utilization_pct": "numeric?",
                "efficiency_pct": "numeric?",
                "downtime_minutes": "numeric?",
            },
        ),
        Kind(
            "forecast",
            "Which demand is expected now, for targets that are ahead or passed within seven days?",
            {
                "product_id": "text",
                "location_id": "uuid",
                "target_time": "timestamptz",
                "target_minutes": "numeric",
                "predicted_quantity": "numeric",
                "lower_bound": "numeric?",
                "upper_bound": "numeric?",
                "interval_coverage_pct": "numeric",
                "model_name": "text",
                "model_version": "text",
                "available_at": "timestamptz",
            },
        ),
        Kind(
            "plan",
            "Which production plans are active, or ended within 30 days?",
            {
                "plan_id": "uuid",
                "location_id": "uuid",
                "resource_id": "uuid?",
                "product_id": "text",
                "plan_date": "date",
                "planned_quantity": "numeric",
                "actual_quantity": "numeric?",
                "status": "text",
                "priority": "integer",
                "updated_at": "timestamptz",
            },
        ),
        Kind(
            "kpi",
            "What are the KPIs of the last 1, 7 and 30 times 24 hours?",
            {
                "days": "integer",
                "kpi": "text",
                "value": "numeric?",
                "unit": "text",
                "numerator": "numeric?",
                "numerator_unit": "text?",
                "denominator": "numeric?",
                "denominator_unit": "text?",
                "coverage_pct": "numeric?",
                "reason": "text?",
                "period_start": "timestamptz",
                "period_end": "timestamptz",
            },
        ),
    )
}
