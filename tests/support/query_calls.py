"""How the suites call every prebuilt read, and what the sample data contain."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.queries import catalogue

MANUFACTURING = uuid.UUID("11111111-1111-1111-1111-111111111111")

Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """One organization of the sample data, and a period that does not begin or end at a round time."""

    organization_id: uuid.UUID
    location_id: uuid.UUID
    resource_id: uuid.UUID
    employee_id: uuid.UUID
    product_id: str
    demand_location_id: uuid.UUID
    skill: str
    now: dt.datetime

    @property
    def start(self) -> dt.datetime:
        return self.now - dt.timedelta(days=6, hours=3, minutes=17, seconds=11)

    @property
    def end(self) -> dt.datetime:
        return self.now - dt.timedelta(hours=7, minutes=23)

    @property
    def month_ago(self) -> dt.datetime:
        return self.now - dt.timedelta(days=33, minutes=5)

    @property
    def today(self) -> dt.date:
        return self.now.date()


def find_facts(db: DatabaseManager, organization_id: uuid.UUID = MANUFACTURING) -> Facts:
    """The entities of the sample data to query."""
    employee = db.execute_query(
        "SELECT employee_id, skills FROM employees WHERE organization_id = %s AND skills <> '{}' ORDER BY employee_code",
        (organization_id,),
    )[0]
    demand = db.execute_query(
        "SELECT product_id, location_id FROM demand_history WHERE organization_id = %s ORDER BY product_id, location_id LIMIT 1",
        (organization_id,),
    )[0]
    resource = db.execute_query(
        "SELECT resource_id, location_id FROM operational_events WHERE organization_id = %s AND event_type = 'breakdown' "
        "ORDER BY time DESC LIMIT 1",
        (organization_id,),
    )[0]
    return Facts(
        organization_id=organization_id,
        location_id=resource["location_id"],
        resource_id=resource["resource_id"],
        employee_id=employee["employee_id"],
        product_id=demand["product_id"],
        demand_location_id=demand["location_id"],
        skill=employee["skills"][0],
        now=db.execute_query("SELECT now() AS now")[0]["now"],
    )


class Raw:
    """The rows of an organization's tables, fetched on first use by the simplest SELECT."""

    def __init__(self, db: DatabaseManager, facts: Facts) -> None:
        self._db = db
        self._facts = facts
        self._tables: dict[str, list[Row]] = {}

    def __getitem__(self, table: str) -> list[Row]:
        if table not in self._tables:
            self._tables[table] = self._db.execute_query(
                f"SELECT * FROM {table} WHERE organization_id = %s", (self._facts.organization_id,)
            )
        return self._tables[table]

    def by_id(self, table: str, column: str) -> dict[Any, Row]:
        return {row[column]: row for row in self[table]}


def _period(f: Facts) -> Row:
    return {"start": f.start, "end": f.end}


def _ended_shifts(f: Facts) -> Row:
    """Shifts that begin in it are over, because the figures of a current shift still change."""
    return {"start": f.start, "end": f.now - dt.timedelta(days=1)}


def _month(f: Facts) -> Row:
    return {"start": f.month_ago, "end": f.end}


def _dates(f: Facts) -> Row:
    return {"first_date": f.today - dt.timedelta(days=20), "end_date": f.today - dt.timedelta(days=1)}


def _ahead(f: Facts) -> Row:
    return {"start": f.start, "end": f.now + dt.timedelta(days=12)}


def _ahead_dates(f: Facts) -> Row:
    return {"first_date": f.today - dt.timedelta(days=9), "end_date": f.today + dt.timedelta(days=6)}


# Per read: the arguments after the organization, several sets; first without optional ones.
READS: dict[str, Callable[[Facts], list[tuple[tuple[Any, ...], Row]]]] = {
    "get_organization": lambda f: [((), {})],
    "get_locations": lambda f: [
        ((), {}),
        ((), {"location_type": "factory"}),
        ((), {"location_id": f.location_id}),
    ],
    "get_resources": lambda f: [
        ((), {}),
        ((), {"location_id": f.location_id, "status": "running"}),
        ((), {"resource_type": "cnc_machine", "resource_id": f.resource_id}),
    ],
    "get_resource_status": lambda f: [
        ((), {}),
        ((), {"location_id": f.location_id}),
        ((), {"resource_id": f.resource_id}),
    ],
    "get_employees": lambda f: [
        ((), {}),
        ((), {"location_id": f.location_id, "include_inactive": True}),
        ((), {"skill": f.skill, "employee_id": f.employee_id}),
    ],
    "get_skills": lambda f: [((), {}), ((), {"location_id": f.location_id})],
    "get_resource_history": lambda f: [((f.resource_id,), {})],
    "get_employee_history": lambda f: [((f.employee_id,), {})],
    "get_location_history": lambda f: [((f.location_id,), {})],
    "get_events": lambda f: [
        ((), {}),
        ((), {"days": 3, "limit": 17}),
        ((), {**_period(f), "resource_id": f.resource_id}),
        ((), {**_period(f), "location_id": f.location_id, "event_type": "breakdown"}),
    ],
    "get_production_rate": lambda f: [
        ((), {}),
        ((), {**_period(f), "bucket": "hour", "resource_id": f.resource_id}),
        ((), {**_month(f), "bucket": "day", "location_id": f.location_id}),
    ],
    "get_downtime_by_cause": lambda f: [
        ((), {"days": 30}),
        ((), _period(f)),
        ((), {**_period(f), "resource_id": f.resource_id, "location_id": f.location_id}),
    ],
    "get_demand_history": lambda f: [
        ((f.product_id,), {"days": 90}),
        ((f.product_id,), {**_month(f), "location_id": f.demand_location_id}),
    ],
    "get_products": lambda f: [((), {}), ((), {**_month(f), "location_id": f.demand_location_id})],
    "get_demand_series": lambda f: [
        ((f.product_id,), {}),
        ((f.product_id,), {**_month(f), "bucket": "hour", "location_id": f.demand_location_id}),
        ((f.product_id,), {"days": 80, "bucket": "week"}),
        ((f.product_id,), {"days": 80, "bucket": "month", "fill_quantity": 0}),
    ],
    "get_demand_training_frame": lambda f: [
        ((f.product_id,), {}),
        ((f.product_id,), {**_month(f), "lead": dt.timedelta(days=1), "carry": dt.timedelta(days=2)}),
        ((f.product_id,), {"factor_names": ["temperature"], "location_id": f.demand_location_id, "days": 20}),
    ],
    "get_demand_revisions": lambda f: [
        ((), {}),
        ((), {**_period(f), "product_id": f.product_id, "location_id": f.demand_location_id}),
    ],
    "get_demand_frame_as_of": lambda f: [
        ((), {"as_of": f.now, "horizon": 14, "history": dt.timedelta(days=90)}),
        (
            (),
            {
                "as_of": f.now,
                "horizon": 24,
                "history": dt.timedelta(days=5),
                "bucket": "hour",
                "products": [f.product_id],
                "location_id": f.demand_location_id,
                "factor_names": ["temperature"],
                "carry": dt.timedelta(days=1),
                "delay": dt.timedelta(hours=1),
            },
        ),
    ],
    "get_forecast_models": lambda f: [((), {}), ((), {"kind": "demand", "role": "champion"})],
    "get_forecast_backtests": lambda f: [
        ((), {}),
        ((), {"model_name": "m", "by_series": True, "as_of": f.now}),
    ],
    "get_resource_metrics": lambda f: [((), {}), ((), {**_period(f), "resource_id": f.resource_id})],
    "get_latest_resource_metrics": lambda f: [
        ((), {}),
        ((), {"location_id": f.location_id}),
        ((), {"resource_id": f.resource_id}),
    ],
    "get_resource_utilization": lambda f: [
        ((), {}),
        ((), {**_period(f), "resource_id": f.resource_id}),
        ((), {**_period(f), "bucket": "day"}),
    ],
    "get_resource_utilization_summary": lambda f: [
        ((), {}),
        ((), {**_period(f), "location_id": f.location_id}),
    ],
    "get_attendance": lambda f: [
        ((), {}),
        ((), {**_month(f), "employee_id": f.employee_id}),
        ((), {**_month(f), "location_id": f.location_id}),
    ],
    "get_attendance_rate": lambda f: [
        ((), {}),
        ((), {"days": 60}),
        ((), {**_month(f), "employee_id": f.employee_id, "location_id": f.location_id}),
    ],
    "get_low_attendance": lambda f: [
        ((), {}),
        ((), {**_month(f), "below_pct": 97.5, "location_id": f.location_id}),
    ],
    "get_shift_schedule": lambda f: [
        ((), {}),
        ((), {**_ahead(f), "location_id": f.location_id}),
        ((), {**_ahead(f), "employee_id": f.employee_id}),
    ],
    "get_shift_coverage_gaps": lambda f: [((), {}), ((), {**_ahead(f), "location_id": f.location_id})],
    "get_production_plans": lambda f: [
        ((), {}),
        ((), {**_ahead_dates(f), "location_id": f.location_id, "status": "completed"}),
        ((), {**_dates(f), "resource_id": f.resource_id}),
    ],
    "get_production_efficiency": lambda f: [((), {}), ((), {**_dates(f), "location_id": f.location_id})],
    "get_plan_attainment": lambda f: [((), {}), ((), {**_dates(f), "location_id": f.location_id})],
    "get_current_demand_forecasts": lambda f: [
        ((), {}),
        ((), {**_ahead(f), "product_id": f.product_id, "location_id": f.demand_location_id}),
    ],
    "get_demand_forecasts_as_of": lambda f: [
        ((), {"as_of": f.start}),
        ((), {"as_of": f.end, **_ahead(f), "product_id": f.product_id, "location_id": f.demand_location_id}),
        ((), {"as_of": f.now, "known_by": f.now}),
    ],
    "get_demand_forecast_outcomes": lambda f: [
        ((), {}),
        ((), {**_month(f), "product_id": f.product_id, "location_id": f.demand_location_id}),
    ],
    "get_demand_forecast_accuracy": lambda f: [((), {}), ((), _month(f))],
    "get_active_anomaly_predictions": lambda f: [
        ((), {}),
        ((), {"include_acknowledged": True}),
        ((), {"resource_id": f.resource_id, "anomaly_type": "failure", "include_acknowledged": True}),
    ],
    "get_recent_bottlenecks": lambda f: [((), {})],
    "get_anomaly_predictions_as_of": lambda f: [
        ((), {"as_of": f.now}),
        ((), {"as_of": f.start, "known_by": f.now}),
    ],
    "get_anomaly_prediction_scores": lambda f: [((), {}), ((), _month(f))],
    "get_current_absence_forecasts": lambda f: [
        ((), {}),
        ((), {**_ahead_dates(f), "location_id": f.location_id}),
        ((), {**_ahead_dates(f), "employee_id": f.employee_id}),
    ],
    "get_absence_forecasts_as_of": lambda f: [
        ((), {"as_of": f.start}),
        ((), {"as_of": f.end, "known_by": f.now, **_ahead_dates(f)}),
    ],
    "get_absence_forecast_accuracy": lambda f: [((), {}), ((), _dates(f))],
    "get_external_factors": lambda f: [
        ((), {}),
        ((), {**_ahead(f), "as_of": f.start, "factor_type": "weather"}),
        ((), {**_ahead(f), "name": "temperature", "location_id": f.demand_location_id}),
    ],
    "get_latest_optimization_runs": lambda f: [
        ((), {}),
        ((), {"run_type": "shift_scheduling", "status": "completed", "limit": 2}),
    ],
    "get_employee_contracts": lambda f: [((), {}), ((), {"employee_id": f.employee_id})],
    "get_unavailability": lambda f: [((), {}), ((), {**_ahead(f), "employee_id": f.employee_id})],
    "get_resource_capabilities": lambda f: [
        ((), {}),
        ((), {"resource_id": f.resource_id, "product_id": f.product_id}),
    ],
    "get_schedule_proposals": lambda f: [
        ((), {}),
        ((), {"run_id": f.resource_id, "kind": "plan", "status": "applied", "limit": 3}),
    ],
    "get_schedule_proposal_items": lambda f: [
        ((f.resource_id,), {}),
        ((f.resource_id,), {"action": "add"}),
    ],
    "get_production_schedule": lambda f: [
        ((), {}),
        ((), {**_ahead_dates(f), "location_id": f.location_id, "resource_id": f.resource_id}),
    ],
    "get_active_alerts": lambda f: [
        ((), {}),
        ((), {"severity": "high"}),
        ((), {"resource_id": f.resource_id}),
    ],
    "get_alerts": lambda f: [
        ((), {}),
        ((), {**_month(f), "status": "resolved", "limit": 3}),
        ((), {**_month(f), "resource_id": f.resource_id, "severity": "critical"}),
    ],
    "get_kpi_summary": lambda f: [((), {"days": 7}), ((), _period(f))],
    "get_location_kpis": lambda f: [((), {}), ((), {**_period(f), "location_id": f.location_id})],
    "get_resource_kpis": lambda f: [
        ((), {}),
        ((), {**_period(f), "location_id": f.location_id}),
        ((), {**_period(f), "resource_id": f.resource_id}),
    ],
    "get_shift_kpis": lambda f: [((), {}), ((), {**_ended_shifts(f), "location_id": f.location_id})],
    "get_kpi_trend": lambda f: [
        ((), {}),
        ((), {"days": 3}),
        ((), {"days": 1, "bucket": "week", "by": "location"}),
        ((), {"days": 1, "by": "resource", "resource_id": f.resource_id, "location_id": f.location_id}),
        ((), {**_period(f), "bucket": "month"}),
    ],
    "get_cached_demand_forecast": lambda f: [((f.product_id,), {"location_id": f.demand_location_id})],
    "get_cached_anomaly_predictions": lambda f: [((), {})],
    "get_cached_absence_forecast": lambda f: [((), {"location_id": f.location_id})],
    "get_cached_employee_absence_forecast": lambda f: [((), {"employee_id": f.employee_id})],
}

# The only read that takes no organization.
READS_OF_ALL = frozenset(("get_organizations",))


def public_methods() -> list[str]:
    """Every read and write of `OperationalDataQueries`."""
    return sorted(entry.name for entry in catalogue.entries())


def read_calls(facts: Facts) -> Iterator[tuple[str, tuple[Any, ...], Row]]:
    """Every call of the table: name, positional arguments, keyword arguments."""
    for name, calls in READS.items():
        for positional, keywords in calls(facts):
            yield name, (facts.organization_id, *positional), keywords


READ_CASES = [
    (name, index)
    for name, calls in READS.items()
    for index in range(len(calls(Facts(*[None] * 7, now=dt.datetime(2025, 1, 1, tzinfo=dt.UTC)))))  # type: ignore[arg-type]
]
READ_IDS = [f"{name}-{index}" for name, index in READ_CASES]


def read(queries: OperationalDataQueries, facts: Facts, name: str, index: int) -> Any:
    """Return the result of one call of the table."""
    positional, keywords = READS[name](facts)[index]
    return getattr(queries, name)(facts.organization_id, *positional, **keywords)


_ONE = uuid.UUID("00000000-0000-4000-8000-000000000001")
_NOON = dt.datetime(2025, 3, 4, 12, tzinfo=dt.UTC)

# Per write: well-formed arguments after the organization, including optional ones.
WRITES: dict[str, tuple[tuple[Any, ...], Row]] = {
    "create_location": (
        ("Hall",),
        {
            "location_type": "factory",
            "timezone": "UTC",
            "address": "1 Road",
            "latitude_degrees": 1.5,
            "longitude_degrees": 2,
            "metadata": {},
            "location_code": "H",
            "location_id": _ONE,
        },
    ),
    "get_or_create_location": (
        ("H",),
        {
            "location_type": "factory",
            "timezone": "UTC",
            "name": "Hall",
            "address": "1 Road",
            "latitude_degrees": 1.5,
            "longitude_degrees": 2,
            "metadata": {},
        },
    ),
    "get_or_create_resource": (
        ("P",),
        {
            "location_id": _ONE,
            "resource_type": "press",
            "name": "Press",
            "status": "running",
            "rated_capacity_per_hour": 5,
            "capacity_unit": "pieces",
            "metadata": {},
            "in_service_from": _NOON,
        },
    ),
    "get_or_create_employee": (
        ("1",),
        {
            "location_id": _ONE,
            "full_name": "A B",
            "role": "operator",
            "skills": ["a"],
            "is_active": True,
            "hired_on_date": dt.date(2020, 1, 1),
            "metadata": {},
        },
    ),
    "get_or_create_shift": (
        ("E1",),
        {
            "location_id": _ONE,
            "starts_at": _NOON,
            "ends_at": _NOON + dt.timedelta(hours=8),
            "name": "Early",
            "required_employees": 2,
            "required_skills": ["a"],
            "metadata": {},
        },
    ),
    "create_resource": (
        ("Press",),
        {
            "location_id": _ONE,
            "resource_type": "press",
            "status": "running",
            "rated_capacity_per_hour": 5,
            "capacity_unit": "pieces",
            "metadata": {},
            "resource_code": "P",
            "resource_id": _ONE,
            "in_service_from": _NOON,
        },
    ),
    "set_location_code": ((_ONE,), {"location_code": "A"}),
    "set_resource_code": ((_ONE,), {"resource_code": "A"}),
    "set_employee_code": ((_ONE,), {"employee_code": "A"}),
    "set_shift_code": ((_ONE,), {"shift_code": "A"}),
    "set_resource_status": ((_ONE,), {"status": "down", "effective_at": _NOON}),
    "move_resource": ((_ONE,), {"location_id": _ONE, "effective_at": _NOON}),
    "rerate_resource": (
        (_ONE,),
        {"rated_capacity_per_hour": 7, "capacity_unit": "pieces", "effective_at": _NOON},
    ),
    "correct_resource_history": (
        (_ONE,),
        {
            "start": _NOON,
            "end": _NOON + dt.timedelta(days=1),
            "location_id": _ONE,
            "rated_capacity_per_hour": 7,
            "capacity_unit": "pieces",
            "is_in_service": True,
        },
    ),
    "set_location_timezone": ((_ONE,), {"timezone": "Europe/Paris", "effective_at": _NOON}),
    "correct_location_history": (
        (_ONE,),
        {"timezone": "Europe/Paris", "start": _NOON, "end": _NOON + dt.timedelta(days=1)},
    ),
    "move_employee": ((_ONE,), {"location_id": _ONE, "effective_at": _NOON}),
    "end_employment": ((_ONE,), {"effective_at": _NOON}),
    "resume_employment": ((_ONE,), {"effective_at": _NOON}),
    "correct_employee_history": (
        (_ONE,),
        {"start": _NOON, "end": _NOON + dt.timedelta(days=1), "location_id": _ONE, "is_employed": True},
    ),
    "create_employee": (
        ("A B",),
        {
            "location_id": _ONE,
            "employee_code": "1",
            "role": "operator",
            "skills": ["a"],
            "is_active": True,
            "hired_on_date": dt.date(2020, 1, 1),
            "metadata": {},
            "employee_id": _ONE,
        },
    ),
    "set_employee_skills": ((_ONE,), {"skills": ["a"]}),
    "record_events": (([{"time": _NOON, "event_type": "idle", "location_id": _ONE}],), {"replace": False}),
    "record_event": (
        (),
        {
            "time": _NOON,
            "event_type": "production",
            "location_id": _ONE,
            "resource_id": _ONE,
            "employee_id": _ONE,
            "cause": "why",
            "product_id": "P",
            "quantity": 3,
            "scrap_quantity": 1,
            "quality_score": 99.5,
            "duration_minutes": 10,
            "metadata": {},
            "event_id": _ONE,
        },
    ),
    "upsert_product": (("P",), {"name": "Pipe", "unit": "pieces"}),
    "record_demand": (
        ([{"time": _NOON, "product_id": "P", "location_id": _ONE, "quantity": 1}],),
        {"replace": True, "on_repeat": "sum"},
    ),
    "record_resource_metrics": (([{"time": _NOON, "resource_id": _ONE}],), {"replace": True}),
    "record_attendance": (
        ([{"time": _NOON, "employee_id": _ONE, "status": "present"}],),
        {"replace": True},
    ),
    "create_shift": (
        ("Early",),
        {
            "location_id": _ONE,
            "starts_at": _NOON,
            "ends_at": _NOON + dt.timedelta(hours=8),
            "required_employees": 2,
            "required_skills": ["a"],
            "metadata": {},
            "shift_code": "E1",
            "shift_id": _ONE,
        },
    ),
    "assign_employee": ((_ONE,), {"employee_id": _ONE, "status": "confirmed"}),
    "set_assignment_status": ((_ONE,), {"employee_id": _ONE, "status": "completed"}),
    "unassign_employee": ((_ONE,), {"employee_id": _ONE}),
    "create_production_plan": (
        ("P",),
        {
            "location_id": _ONE,
            "plan_date": dt.date(2025, 1, 1),
            "planned_quantity": 10,
            "resource_id": _ONE,
            "priority": 3,
            "metadata": {},
            "plan_id": _ONE,
        },
    ),
    "record_plan_progress": ((_ONE,), {"actual_quantity": 3}),
    "complete_production_plan": ((_ONE,), {"actual_quantity": 3}),
    "cancel_production_plan": ((_ONE,), {}),
    "save_demand_forecasts": (
        ([{"product_id": "P", "location_id": _ONE, "target_time": _NOON, "predicted_quantity": 1}],),
        {"model_name": "m", "model_version": "1", "available_at": _NOON, "purpose": "shadow"},
    ),
    "save_forecast_model": (("m", "1"), {"kind": "demand", "config": {}}),
    "set_model_role": (("m", "1"), {"role": "champion", "reason": "first"}),
    "save_forecast_backtests": (
        (
            [
                {
                    "model_name": "m",
                    "model_version": "1",
                    "target_interval": dt.timedelta(days=1),
                    "first_step": 1,
                    "last_step": 14,
                    "as_of": _NOON,
                    "first_origin": _NOON,
                    "last_origin": _NOON,
                    "origin_count": 1,
                    "better_origin_count": 0,
                    "target_count": 14,
                    "naive_name": "seasonal-naive",
                }
            ],
        ),
        {},
    ),
    "save_anomaly_predictions": (
        (
            [
                {
                    "resource_id": _ONE,
                    "anomaly_type": "failure",
                    "severity": "high",
                    "probability": 0.5,
                    "predicted_for": _NOON,
                }
            ],
        ),
        {"model_name": "m", "model_version": "1", "available_at": _NOON},
    ),
    "acknowledge_anomaly_prediction": ((_ONE,), {}),
    "close_anomaly_prediction": (
        (_ONE,),
        {"outcome": "confirmed", "occurred_at": _NOON, "closed_at": _NOON},
    ),
    "save_absence_forecasts": (
        ([{"target_date": dt.date(2025, 1, 1), "employee_id": _ONE, "absence_probability": 0.5}],),
        {"model_name": "m", "model_version": "1", "available_at": _NOON},
    ),
    "record_external_factors": (
        (
            [
                {
                    "time": _NOON,
                    "factor_type": "weather",
                    "name": "temperature",
                    "value": 1,
                    "unit": "celsius",
                    "available_at": _NOON,
                }
            ],
        ),
        {},
    ),
    "start_optimization_run": (
        (),
        {"run_type": "routing", "algorithm": "greedy", "parameters": {}, "run_id": _ONE},
    ),
    "finish_optimization_run": (
        (_ONE,),
        {"result": {"a": 1}, "objective_value": 1, "objective_unit": "EUR"},
    ),
    "fail_optimization_run": ((_ONE,), {"error_message": "no"}),
    "cancel_optimization_run": ((_ONE,), {}),
    "set_employee_contract": (
        (_ONE,),
        {
            "valid_from": dt.date(2025, 1, 1),
            "hours_per_week": 35,
            "max_hours_per_week": 44,
            "min_rest_hours": 12,
            "max_consecutive_days": 5,
            "may_work_at": [],
        },
    ),
    "record_unavailability": (
        (_ONE,),
        {
            "starts_at": _NOON,
            "ends_at": _NOON + dt.timedelta(days=1),
            "reason": "wish",
            "is_hard": False,
            "weight": 2,
            "note": "party",
        },
    ),
    "remove_unavailability": ((_ONE,), {"starts_at": _NOON, "reason": "wish"}),
    "set_resource_capability": ((_ONE,), {"product_id": "P", "rate_per_hour": 5, "setup_minutes": 20}),
    "remove_resource_capability": ((_ONE,), {"product_id": "P"}),
    "create_schedule_proposal": (
        (_ONE,),
        {
            "kind": "assignment",
            "location_id": _ONE,
            "window_start": _NOON,
            "window_end": _NOON + dt.timedelta(days=14),
            "fingerprint": "0" * 64,
            "items": [{"action": "add", "reason": "missing", "shift_id": _ONE, "employee_id": _ONE}],
        },
    ),
    "decide_schedule_proposal": (
        (_ONE,),
        {"status": "rejected", "decided_by": "me", "decision": "not now"},
    ),
    "assign_plan_resource": ((_ONE,), {"resource_id": _ONE}),
    "raise_alert": (
        ("Hot",),
        {
            "severity": "high",
            "alert_type": "heat",
            "message": "very",
            "location_id": _ONE,
            "resource_id": _ONE,
            "anomaly_id": _ONE,
            "metadata": {},
            "alert_id": _ONE,
        },
    ),
    "acknowledge_alert": ((_ONE,), {"acknowledged_by": "me"}),
    "resolve_alert": ((_ONE,), {"resolution": "cooled"}),
}

# The only write that does not need an existing organization.
WRITES_OF_ALL = {
    "get_or_create_organization": (
        ("Acme",),
        {"industry": "manufacturing", "timezone": "UTC", "settings": {}},
    ),
    "create_organization": (
        ("Acme",),
        {"industry": "toys", "timezone": "UTC", "settings": {}, "organization_id": _ONE},
    ),
}
