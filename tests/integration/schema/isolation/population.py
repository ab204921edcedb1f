"""Organizations with rows in every table: the attacker's plain ones, and ones in which every value is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg2.extras import Json

from tests.integration.schema.isolation import markers

Row = dict[str, Any]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
OLD_DAYS = (TODAY - timedelta(days=400), TODAY - timedelta(days=399))  # compressed afterwards
RECENT_DAYS = (TODAY - timedelta(days=2),)


@dataclass
class Organization:
    """One tenant. Of a secret one, outsiders know only the identifiers and keys of its known rows."""

    number: int  # 1 to 15
    secret: bool
    known: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def organization_id(self) -> str:
        return self.identifier(0, hidden=False)

    def identifier(self, number: int, *, hidden: bool) -> str:
        """A uuid; a hidden one of a secret organization contains a marker."""
        tail = f"{markers.HEX}{number:03d}" if hidden and self.secret else f"{number + 500 * hidden:012d}"
        return f"{format(self.number, 'x') * 8}-0000-4000-8000-{tail}"


HALF_KNOWN = 13
"""Number of a shift of which outsiders know only the identifier."""


@dataclass
class _Values:
    """Values of a row of one organization; its keys are hidden or known to outsiders."""

    organization: Organization
    hidden: bool

    def word(self, column: str) -> str:
        return f"{markers.WORD} {column}" if self.organization.secret else f"plain {column}"

    def key(self, column: str) -> str:
        return self.word(f"key of {column}") if self.hidden else f"known {column}"

    def number(self, secret: Decimal | int, plain: Decimal | int) -> Decimal | int:
        return secret if self.organization.secret else plain

    def own_key(self, column: str) -> str:
        """A key that no other organization has: otherwise a reference to theirs would refer to an own row."""
        return f"{self.key(column)} of {self.organization.number}"

    def identifier(self, number: int) -> str:
        return self.organization.identifier(number, hidden=self.hidden)

    def moment(self, day: datetime) -> datetime:
        return markers.secret_moment(day) if self.organization.secret else day + timedelta(hours=1)

    def key_moment(self, day: datetime) -> datetime:
        return self.moment(day) if self.hidden else day + timedelta(hours=2)

    def json(self, column: str) -> Json:
        return Json({"note": self.word(column)})


def rows_of(organization: Organization) -> list[tuple[str, Row]]:
    """Rows for every table with tenants' rows, in an order that foreign keys allow."""
    plain = _Values(organization, hidden=False)
    rows: list[tuple[str, Row]] = [
        (
            "organizations",
            {
                "name": plain.word("name"),
                "industry": plain.word("industry"),
                "settings": plain.json("settings"),
                "notification_key": organization.identifier(999, hidden=True),
                "created_at": plain.moment(TODAY - timedelta(days=5)),
            },
        )
    ]
    for hidden in (False, True):
        values = _Values(organization, hidden)
        rows += _entities(values)
        for day in (*OLD_DAYS, *RECENT_DAYS):
            rows += _series(values, day)
        rows += _predictions(values) + _results(values)
        if not hidden:
            for table, row in rows:
                organization.known.setdefault(table, []).append(row)
    secret_shift = dict(next(row for table, row in reversed(rows) if table == "shifts"))
    secret_shift["shift_id"] = organization.identifier(HALF_KNOWN, hidden=False)
    secret_shift["name"] += " again"
    secret_shift["shift_code"] += " again"
    rows.append(("shifts", secret_shift))
    for _, row in rows:
        row["organization_id"] = organization.organization_id
    return rows


def _entities(v: _Values) -> list[tuple[str, Row]]:
    day = TODAY - timedelta(days=3)
    return [
        (
            "locations",
            {
                "location_id": v.identifier(1),
                "location_code": v.key("code"),
                "name": v.key("name"),
                "location_type": "factory",
                "address": v.word("address"),
                "latitude_degrees": v.number(markers.PERCENT, Decimal(1)),
                "longitude_degrees": v.number(markers.PERCENT, Decimal(2)),
                "metadata": v.json("metadata"),
                "created_at": v.moment(day),
            },
        ),
        (
            "resources",
            {
                "resource_id": v.identifier(2),
                "resource_code": v.key("code"),
                "location_id": v.identifier(1),
                "name": v.key("name"),
                "resource_type": v.word("type"),
                "rated_capacity_per_hour": v.number(markers.QUANTITY, Decimal(3)),
                "capacity_unit": v.word("unit"),
                "metadata": v.json("metadata"),
                "created_at": v.moment(day),
            },
        ),
        (
            "employees",
            {
                "employee_id": v.identifier(3),
                "location_id": v.identifier(1),
                "employee_code": v.key("code"),
                "full_name": v.word("full_name"),
                "role": v.word("role"),
                "skills": [v.word("skill")],
                "metadata": v.json("metadata"),
                "created_at": v.moment(day),
            },
        ),
        (
            "products",
            {
                "product_id": v.key("product"),
                "name": v.word("name"),
                "unit": v.word("unit"),
                "created_at": v.moment(day),
            },
        ),
        (
            "shifts",
            {
                "shift_id": v.identifier(4),
                "shift_code": v.key("code"),
                "location_id": v.identifier(1),
                "name": v.key("name"),
                "starts_at": v.key_moment(day),
                "ends_at": v.key_moment(day) + timedelta(hours=8),
                "required_employees": v.number(markers.COUNT, 1),
                "required_skills": [v.word("skill")],
                "metadata": v.json("metadata"),
                "created_at": v.moment(day),
            },
        ),
        (
            "shift_assignments",
            {
                "shift_id": v.identifier(4),
                "employee_id": v.identifier(3),
                "status": "completed",
                "starts_at": v.key_moment(day),
                "ends_at": v.key_moment(day) + timedelta(hours=8),
                "created_at": v.moment(day),
            },
        ),
        (
            "production_plans",
            {
                "plan_id": v.identifier(5),
                "location_id": v.identifier(1),
                "resource_id": v.identifier(2),
                "product_id": v.word("product"),
                "plan_date": day.date(),
                "planned_quantity": v.number(markers.QUANTITY, Decimal(4)),
                "actual_quantity": v.number(markers.QUANTITY, Decimal(5)),
                "status": "completed",
                "metadata": v.json("metadata"),
                "created_at": v.moment(day),
            },
        ),
    ]


def _series(v: _Values, day: datetime) -> list[tuple[str, Row]]:
    at = v.key_moment(day)
    return [
        (
            "operational_events",
            {
                "time": at,
                "event_id": v.identifier(6),
                "location_id": v.identifier(1),
                "resource_id": v.identifier(2),
                "employee_id": v.identifier(3),
                "event_type": "production",
                "cause": v.word("cause"),
                "product_id": v.word("product"),
                "quantity": v.number(markers.QUANTITY, Decimal(6)),
                "scrap_quantity": v.number(markers.PERCENT, Decimal(1)),
                "quality_score": v.number(markers.PERCENT, Decimal(50)),
                "duration_minutes": v.number(markers.MINUTES, Decimal(30)),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "demand_history",
            {
                "time": at,
                "product_id": v.key("product"),
                "location_id": v.identifier(1),
                "quantity": v.number(markers.QUANTITY, Decimal(7)),
                "revenue": v.number(markers.QUANTITY, Decimal(8)),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "resource_metrics",
            {
                "time": at,
                "resource_id": v.identifier(2),
                "utilization_pct": v.number(markers.PERCENT, Decimal(50)),
                "efficiency_pct": v.number(markers.PERCENT, Decimal(51)),
                "downtime_minutes": v.number(markers.SHARE, Decimal("0.5")),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "employee_attendance",
            {
                "time": at,
                "employee_id": v.identifier(3),
                "shift_id": v.identifier(4),
                "status": "present",
                "scheduled_hours": v.number(markers.HOURS, Decimal(8)),
                "hours_worked": v.number(markers.HOURS, Decimal(7)),
                "performance_score": v.number(markers.PERCENT, Decimal(52)),
                "metadata": v.json("metadata"),
            },
        ),
    ]


def _predictions(v: _Values) -> list[tuple[str, Row]]:
    known_at = v.key_moment(TODAY - timedelta(days=4))
    model: Row = {"model_name": v.key("model"), "model_version": v.key("version"), "available_at": known_at}
    return [
        (
            "demand_forecasts",
            {
                **model,
                "product_id": v.key("product"),
                "location_id": v.identifier(1),
                "target_time": v.key_moment(TODAY - timedelta(days=2)),
                "predicted_quantity": v.number(markers.QUANTITY, Decimal(9)),
                "lower_bound": v.number(markers.PERCENT, Decimal(1)),
                "upper_bound": v.number(markers.QUANTITY, Decimal(10)),
                "interval_coverage_pct": v.number(markers.PERCENT, Decimal(90)),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "anomaly_predictions",
            {
                **model,
                "anomaly_id": v.identifier(7),
                "resource_id": v.identifier(2),
                "anomaly_type": "bottleneck",
                "severity": "high",
                "probability": v.number(markers.SHARE, Decimal("0.5")),
                "predicted_for": v.moment(TODAY + timedelta(days=1)),
                "description": v.word("description"),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "absence_forecasts",
            {
                **model,
                "forecast_id": v.identifier(8),
                "employee_id": v.identifier(3),
                "target_date": TODAY.date(),
                "absence_probability": v.number(markers.SHARE, Decimal("0.5")),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "absence_forecasts",
            {
                **model,
                "forecast_id": v.identifier(9),
                "location_id": v.identifier(1),
                "target_date": TODAY.date(),
                "expected_absences": v.number(markers.PERCENT, Decimal(2)),
                "metadata": v.json("metadata"),
            },
        ),
    ]


def _results(v: _Values) -> list[tuple[str, Row]]:
    day = TODAY - timedelta(days=3)
    consumer = "api" if v.hidden else "convex"
    return [
        (
            "external_factors",
            {
                "factor_id": v.identifier(10),
                "time": v.key_moment(day),
                "location_id": v.identifier(1),
                "factor_type": "weather",
                "name": v.key("factor"),
                "value": v.number(markers.PERCENT, Decimal(20)),
                "unit": v.word("unit"),
                "available_at": v.key_moment(day),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "optimization_runs",
            {
                "run_id": v.identifier(11),
                "run_type": "routing",
                "algorithm": v.word("algorithm"),
                "status": "completed",
                "started_at": v.moment(day),
                "finished_at": v.moment(day),
                "objective_value": v.number(markers.QUANTITY, Decimal(11)),
                "objective_unit": v.word("unit"),
                "parameters": v.json("parameters"),
                "result": v.json("result"),
                "error_message": v.word("error"),
                "created_at": v.moment(day),
            },
        ),
        (
            "employee_contracts",
            {
                "employee_id": v.identifier(3),
                "valid_from": day.date(),
                "hours_per_week": v.number(markers.PERCENT, 35),
                "max_hours_per_week": v.number(markers.PERCENT, 44),
                "may_work_at": f"{{{v.identifier(1)}}}",
                "created_at": v.moment(day),
            },
        ),
        (
            "employee_unavailability",
            {
                "employee_id": v.identifier(3),
                "starts_at": v.key_moment(day),
                "ends_at": v.key_moment(day) + timedelta(hours=1),
                "reason": "wish",
                "weight": v.number(markers.PERCENT, 2),
                "note": v.word("note"),
                "created_at": v.moment(day),
            },
        ),
        (
            "resource_capabilities",
            {
                "resource_id": v.identifier(2),
                "product_id": v.key("product"),
                "rate_per_hour": v.number(markers.QUANTITY, 5),
                "setup_minutes": v.number(markers.MINUTES, 20),
                "created_at": v.moment(day),
            },
        ),
        (
            "schedule_proposals",
            {
                "run_id": v.identifier(11),
                "kind": "plan",
                "location_id": v.identifier(1),
                "window_start": v.moment(day),
                "window_end": v.moment(day) + timedelta(days=14),
                "status": "rejected",
                "fingerprint": v.word("fingerprint"),
                "decided_at": v.moment(day),
                "decided_by": v.word("who"),
                "decision": v.word("decision"),
                "created_at": v.moment(day),
            },
        ),
        (
            "schedule_proposal_items",
            {
                "run_id": v.identifier(11),
                "item_no": 1,
                "action": "move",
                "reason": v.word("reason"),
                "plan_id": v.identifier(5),
                "resource_id": v.identifier(2),
                "work_date": day.date(),
                "work_hours": v.number(markers.HOURS, 2),
                "quantity": v.number(markers.QUANTITY, 10),
            },
        ),
        (
            "alerts",
            {
                "alert_id": v.identifier(12),
                "created_at": v.moment(day),
                "severity": "high",
                "alert_type": v.word("type"),
                "title": v.word("title"),
                "message": v.word("message"),
                "status": "acknowledged" if v.hidden else "resolved",
                "location_id": v.identifier(1),
                "resource_id": v.identifier(2),
                "anomaly_id": v.identifier(7),
                "acknowledged_at": v.moment(day),
                "acknowledged_by": v.word("who"),
                "resolved_at": None if v.hidden else v.moment(day),
                "resolution": v.word("resolution"),
                "metadata": v.json("metadata"),
            },
        ),
        (
            "api_keys",
            {
                "key_id": v.identifier(17),
                "name": v.word("key"),
                "prefix": f"bn_{v.identifier(17)[-12:]}",
                "secret_sha256": v.identifier(17).replace("-", "") * 2,
                "role": "reader",
                "created_at": v.moment(day),
                "last_used_at": v.moment(day),
            },
        ),
        (
            "demand_revisions",
            {
                "product_id": v.key("product"),
                "location_id": v.identifier(1),
                "time": v.key_moment(day),
                "replaced_at": v.moment(day) + timedelta(hours=1),
                "recorded_at": v.moment(day),
                "quantity": v.number(markers.QUANTITY, Decimal(12)),
            },
        ),
        (
            "forecast_models",
            {
                "model_name": v.own_key("model"),
                "model_version": v.own_key("version"),
                "kind": "demand",
                "role": "challenger" if v.hidden else "champion",
                "role_reason": v.word("reason"),
                "config": v.json("config"),
                "created_at": v.moment(day),
            },
        ),
        (
            "forecast_backtests",
            {
                "backtest_id": v.identifier(57),
                "model_name": v.own_key("model"),
                "model_version": v.own_key("version"),
                "product_id": v.key("product"),
                "location_id": v.identifier(1),
                "target_interval": timedelta(days=1),
                "first_step": 1,
                "last_step": 14,
                "as_of": v.key_moment(day),
                "first_origin": v.moment(day),
                "last_origin": v.moment(day),
                "origin_count": 1,
                "better_origin_count": 1,
                "target_count": 14,
                "wape_pct": v.number(markers.PERCENT, Decimal(8)),
                "naive_name": v.word("naive"),
                "naive_wape_pct": v.number(markers.PERCENT, Decimal(9)),
                "reason": v.word("reason"),
            },
        ),
        (
            "connector_runs",
            {
                "run_id": v.identifier(14),
                "connector": "open-meteo",
                "location_id": v.identifier(1),
                "window_start": v.moment(day),
                "window_end": v.moment(day) + timedelta(days=1),
                "started_at": v.moment(day),
                "finished_at": v.moment(day),
                "readings_read": v.number(int(markers.PERCENT), 5),
                "readings_written": v.number(int(markers.PERCENT), 4),
                "error_message": v.word("error"),
            },
        ),
        (
            "connector_sources",
            {
                "source_id": v.identifier(15),
                "kind": "weather",
                "location_id": v.identifier(1),
                "connector": "open-meteo",
            },
        ),
        (
            "service_schedules",
            {
                "schedule_id": v.identifier(16),
                "task": "fetch weather",
                "location_id": v.identifier(1),
                "run_every": timedelta(hours=6),
                "arguments": v.json("arguments"),
                "next_run_at": v.moment(day),
                "last_started_at": v.moment(day),
                "last_succeeded_at": v.moment(day),
                "last_error": v.word("error"),
                "created_at": v.moment(day),
            },
        ),
        ("sync_targets", {"consumer": consumer, "created_at": v.moment(day)}),
        (
            "sync_outbox",
            {
                "consumer": consumer,
                "transaction_id": 1,
                "outbox_id": v.number(int(markers.PERCENT), 5),
                "kind": "alert",
                "entity_key": v.identifier(8),
                "changed_at": v.moment(day),
            },
        ),
        (
            "sync_progress",
            {
                "consumer": consumer,
                "sender": v.identifier(17),
                "last_success_at": v.moment(day),
                "last_error": v.word("error"),
            },
        ),
        (
            "sync_rejected",
            {
                "consumer": consumer,
                "kind": "alert",
                "entity_key": v.identifier(8),
                "rejected_at": v.moment(day),
                "error_message": v.word("error"),
            },
        ),
    ]


def fill(connection: Any, organization: Organization) -> None:
    """Write the rows of an organization, as the owner."""
    with connection.cursor() as cursor:
        for table, row in rows_of(organization):
            names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
            cursor.execute(f"INSERT INTO public.{table} ({names}) VALUES ({marks})", list(row.values()))


def settle(connection: Any) -> None:
    """Bring the database, its rollups filled, into its usual state: old chunks compressed, statistics gathered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT database_edition()")
        if cursor.fetchone()[0] == "community":
            compressed = compress(connection)
            assert {"operational_events", "operational_events_hourly"} <= compressed, compressed
        cursor.execute("ANALYZE")


def compress(connection: Any) -> set[str]:
    """Move all old chunks of tables and rollups to the columnstore; return which have some."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT database_edition()")
        if cursor.fetchone()[0] != "community":
            return set()
        cursor.execute(
            "SELECT l.relation, compress_chunk(c) "
            "FROM (SELECT relation FROM time_series_layout() "
            "UNION ALL SELECT rollup FROM rollup_definitions() WHERE refresh_every IS NOT NULL) AS l "
            "CROSS JOIN LATERAL show_chunks(l.relation::regclass, older_than => interval '200 days') AS c"
        )
        return {row[0] for row in cursor.fetchall()}
