"""The KPIs once more, in plain Python over raw rows: no rollup, no SQL arithmetic, no shared code.

Everything is counted in exact fractions of seconds from lists of intervals, the way one would on paper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
Interval = tuple[datetime, datetime]
Answer = tuple[Fraction | None, Fraction | None]
"""A value and its coverage, both in percent."""

TABLES = {
    "resources": "resource_id, location_id, status, rated_capacity_per_hour, capacity_unit",
    "locations": "location_id, timezone",
    "shifts": "shift_id, location_id, starts_at, ends_at",
    "operational_events": "resource_id, time, event_type, duration_minutes, quantity, scrap_quantity",
    "production_plans": "location_id, resource_id, plan_date, planned_quantity, actual_quantity, status",
    "employees": "employee_id, location_id",
    "employee_attendance": "employee_id, shift_id, time, status",
    "shift_assignments": "employee_id, status, starts_at, ends_at",
    "demand_history": "product_id, location_id, time, quantity",
    "demand_forecasts": (
        "product_id, location_id, target_time, target_interval, predicted_quantity, available_at, model_name, model_version"
    ),
}


def read_raw_rows(db: Any, organization_id: UUID | str) -> dict[str, list[Row]]:
    """Every row of the organization that a KPI depends on."""
    return {
        table: db.execute_query(
            f"SELECT {columns} FROM {table} WHERE organization_id = %s", (organization_id,)
        )
        for table, columns in TABLES.items()
    }


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time, each instant once."""
    result: list[Interval] = []
    for start, end in sorted(intervals):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        elif start < end:
            result.append((start, end))
    return result


def without(intervals: Sequence[Interval], holes: Sequence[Interval]) -> list[Interval]:
    """What is left of disjoint intervals when disjoint holes are cut out."""
    left = list(intervals)
    for hole_start, hole_end in holes:
        left = [
            piece
            for start, end in left
            for piece in ((start, min(end, hole_start)), (max(start, hole_end), end))
            if piece[0] < piece[1]
        ]
    return left


def seconds(delta: timedelta) -> Fraction:
    return Fraction(delta // timedelta(microseconds=1), 1_000_000)


def minutes(intervals: Iterable[Interval]) -> Fraction:
    return sum((seconds(end - start) for start, end in intervals), Fraction(0)) / 60


def clipped(interval: Interval, period: Interval) -> list[Interval]:
    start, end = max(interval[0], period[0]), min(interval[1], period[1])
    return [(start, end)] if start < end else []


def event_span(event: Row) -> Interval:
    return event["time"], event["time"] + timedelta(microseconds=int(event["duration_minutes"] * 60_000_000))


def share_inside(event: Row, period: Interval) -> Fraction:
    """Share of an event's minutes that lies in the period; 1 or 0 for an event without duration."""
    if event["duration_minutes"] == 0:
        return Fraction(int(period[0] <= event["time"] < period[1]))
    return minutes(clipped(event_span(event), period)) / Fraction(event["duration_minutes"])


def time_model(raw: Mapping[str, list[Row]], period: Interval) -> dict[UUID, dict[str, Any]]:
    """Minutes, quantities and failures of each resource that is not retired."""
    models = {}
    for resource in raw["resources"]:
        events = [e for e in raw["operational_events"] if e["resource_id"] == resource["resource_id"]]
        maintenance = merged(event_span(e) for e in events if e["event_type"] == "maintenance")
        shifts = merged(
            piece
            for s in raw["shifts"]
            if s["location_id"] == resource["location_id"]
            for piece in clipped((s["starts_at"], s["ends_at"]), period)
        )
        spent: dict[str, Fraction] = defaultdict(Fraction)
        quantity = scrap = Fraction(0)
        touched = False
        for event in events:
            share = share_inside(event, period)
            began = period[0] <= event["time"] < period[1]
            if event["event_type"] not in ("production", "setup", "idle", "breakdown", "maintenance"):
                continue
            touched |= share > 0 or began
            spent[event["event_type"]] += share * Fraction(event["duration_minutes"])
            quantity += share * Fraction(event["quantity"] or 0)
            scrap += share * Fraction(event["scrap_quantity"] or 0)
        retired = resource["status"] == "retired"
        if retired and not touched:
            continue
        models[resource["resource_id"]] = {
            **resource,
            "planned": Fraction(0) if retired else minutes(without(shifts, maintenance)),
            "spent": spent,
            "failures": sum(
                1 for e in events if e["event_type"] == "breakdown" and period[0] <= e["time"] < period[1]
            ),
            "quantity": quantity,
            "scrap": scrap,
            "has_data": touched,
        }
    return models


def quotient(scale: int, numerator: Fraction, denominator: Fraction) -> Fraction | None:
    return scale * numerator / denominator if denominator else None


def event_kpis(models: Sequence[Mapping[str, Any]]) -> dict[str, Fraction | None]:
    """KPIs of these resources together."""
    measured = [m for m in models if m["has_data"]]
    rated = [m for m in measured if m["rated_capacity_per_hour"] is not None]
    planned = sum((m["planned"] for m in measured), Fraction(0))
    production = sum((m["spent"]["production"] for m in measured), Fraction(0))
    repair = sum((m["spent"]["breakdown"] for m in measured), Fraction(0))
    busy = sum(
        (m["spent"][kind] for m in measured for kind in ("production", "setup", "idle", "breakdown")),
        Fraction(0),
    )
    failures = Fraction(sum(m["failures"] for m in measured))
    quantity = sum((m["quantity"] for m in measured), Fraction(0))
    scrap = sum((m["scrap"] for m in measured), Fraction(0))
    ideal = sum((60 * m["quantity"] / Fraction(m["rated_capacity_per_hour"]) for m in rated), Fraction(0))
    ideal_good = sum(
        (60 * (m["quantity"] - m["scrap"]) / Fraction(m["rated_capacity_per_hour"]) for m in rated),
        Fraction(0),
    )
    units = {m["capacity_unit"] or "quantity" for m in measured if m["quantity"]}
    return {
        "availability": quotient(100, production, planned),
        "effectiveness": quotient(100, ideal, sum((m["spent"]["production"] for m in rated), Fraction(0))),
        "quality_ratio": quotient(100, quantity - scrap, quantity),
        "oee": quotient(100, ideal_good, sum((m["planned"] for m in rated), Fraction(0))),
        "utilisation_efficiency": quotient(100, production, busy),
        "throughput_rate": quotient(60, quantity, busy) if len(units) <= 1 else None,
        "scrap_ratio": quotient(100, scrap, quantity),
        "mtbf": quotient(1, production / 60, failures),
        "mttr": quotient(1, repair / 60, failures),
    }


def event_coverage(models: Sequence[Mapping[str, Any]]) -> dict[str, Fraction | None]:
    """Share of planned busy time, in percent, in which something was recorded that each KPI rests on."""
    measured = [m for m in models if m["has_data"]]
    rated = [m for m in measured if m["rated_capacity_per_hour"] is not None]
    planned = sum((m["planned"] for m in models), Fraction(0))
    busy = sum(
        (m["spent"][kind] for m in measured for kind in ("production", "setup", "idle", "breakdown")),
        Fraction(0),
    )
    rests_on = dict.fromkeys(event_kpis(models), busy)
    rests_on["effectiveness"] = sum((m["spent"]["production"] for m in rated), Fraction(0))
    rests_on["oee"] = min(busy, sum((m["planned"] for m in rated), Fraction(0)))
    return {
        kpi: min(100 * covered / planned, Fraction(100)) if planned else None
        for kpi, covered in rests_on.items()
    }


def plan_attainment(raw: Mapping[str, list[Row]], period: Interval, keep: Any) -> Answer:
    zones = {location["location_id"]: ZoneInfo(location["timezone"]) for location in raw["locations"]}
    planned = actual = due = Fraction(0)
    for plan in raw["production_plans"]:
        day_end = datetime.combine(plan["plan_date"] + timedelta(days=1), time(), zones[plan["location_id"]])
        if plan["status"] == "cancelled" or not period[0] < day_end <= period[1] or not keep(plan):
            continue
        due += Fraction(plan["planned_quantity"])
        if plan["actual_quantity"] is not None:
            planned += Fraction(plan["planned_quantity"])
            actual += Fraction(plan["actual_quantity"])
    return quotient(100, actual, planned), quotient(100, planned, due)


def attendance_rate(raw: Mapping[str, list[Row]], period: Interval, now: datetime, keep: Any) -> Answer:
    locations = {e["employee_id"]: e["location_id"] for e in raw["employees"]}
    due = [
        a
        for a in raw["employee_attendance"]
        if a["status"] != "vacation"
        and period[0] <= a["time"] < period[1]
        and keep({"location_id": locations[a["employee_id"]]})
    ]
    came = [a for a in due if a["status"] in ("present", "late", "remote")]
    assigned = [
        a
        for a in raw["shift_assignments"]
        if a["status"] != "cancelled"
        and period[0] <= a["starts_at"] < min(period[1], now)
        and keep({"location_id": locations[a["employee_id"]]})
    ]
    recorded = [
        a
        for a in assigned
        if any(
            r["employee_id"] == a["employee_id"]
            and a["starts_at"] - timedelta(hours=2) <= r["time"] < a["ends_at"]
            for r in raw["employee_attendance"]
        )
    ]
    return (
        quotient(100, Fraction(len(came)), Fraction(len(due))),
        quotient(100, Fraction(len(recorded)), Fraction(len(assigned))),
    )


def newest_first(forecast: Row) -> Any:
    """Newest first; of several models at one time the first by name, and of its versions the last."""
    return (
        -forecast["available_at"].timestamp(),
        forecast["model_name"],
        [-ord(c) for c in forecast["model_version"]],
    )


def forecast_wape(raw: Mapping[str, list[Row]], period: Interval, keep: Any) -> Answer:
    """Of daily forecasts: the newest one before each target against the demand of the local day."""
    zones = {location["location_id"]: ZoneInfo(location["timezone"]) for location in raw["locations"]}
    newest: dict[Any, Row] = {}
    for forecast in raw["demand_forecasts"]:
        if forecast["available_at"] > forecast["target_time"] or not keep(forecast):
            continue
        if not period[0] <= forecast["target_time"] < period[1]:
            continue
        key = (forecast["product_id"], forecast["location_id"], forecast["target_time"])
        newest[key] = min((f for f in (newest.get(key), forecast) if f is not None), key=newest_first)
    error = demanded = known = Fraction(0)
    for (product_id, location_id, target), forecast in newest.items():
        zone = zones[location_id]
        local_start = target.astimezone(zone)
        assert forecast["target_interval"] == timedelta(days=1)
        target_end = datetime.combine(local_start.date() + timedelta(days=1), local_start.time(), zone)
        rows = [
            d
            for d in raw["demand_history"]
            if d["product_id"] == product_id
            and d["location_id"] == location_id
            and target <= d["time"] < target_end
        ]
        if rows and target_end <= period[1]:
            actual = sum((Fraction(d["quantity"]) for d in rows), Fraction(0))
            error += abs(actual - Fraction(forecast["predicted_quantity"]))
            demanded += actual
            known += 1
    return quotient(100, error, demanded), quotient(100, known, Fraction(len(newest)))


def answers(
    raw: Mapping[str, list[Row]],
    period: Interval,
    models: Sequence[Mapping[str, Any]],
    keep: Any,
    now: datetime,
) -> dict[str, Answer]:
    """The twelve KPIs of these resources and of the plans, employees and forecasts that `keep` keeps."""
    values, coverage = event_kpis(models), event_coverage(models)
    return {
        **{kpi: (values[kpi], coverage[kpi]) for kpi in values},
        "plan_attainment": plan_attainment(raw, period, keep),
        "attendance_rate": attendance_rate(raw, period, now, keep),
        "forecast_wape": forecast_wape(raw, period, keep),
    }


def organization_answers(
    raw: Mapping[str, list[Row]], period: Interval, now: datetime
) -> dict[None, dict[str, Answer]]:
    """The twelve KPIs of the whole organization."""
    return {None: answers(raw, period, list(time_model(raw, period).values()), lambda row: True, now)}


def location_answers(
    raw: Mapping[str, list[Row]], period: Interval, now: datetime
) -> dict[UUID, dict[str, Answer]]:
    """The twelve KPIs of each location."""
    models = list(time_model(raw, period).values())

    def of(here: UUID) -> dict[str, Answer]:
        own = [m for m in models if m["location_id"] == here]
        return answers(raw, period, own, lambda row: row["location_id"] == here, now)

    return {location["location_id"]: of(location["location_id"]) for location in raw["locations"]}


def resource_answers(
    raw: Mapping[str, list[Row]], period: Interval, now: datetime
) -> dict[UUID, dict[str, Answer]]:
    """The twelve KPIs of each resource that is not retired; two of them are not to be had for a single one."""

    def of(resource_id: UUID, model: Mapping[str, Any]) -> dict[str, Answer]:
        found = answers(raw, period, [model], lambda row: row.get("resource_id") == resource_id, now)
        return {**found, "attendance_rate": (None, None), "forecast_wape": (None, None)}

    return {
        resource_id: of(resource_id, model)
        for resource_id, model in time_model(raw, period).items()
        if model["status"] != "retired"
    }


def values(found: Mapping[str, Answer]) -> dict[str, Fraction | None]:
    """The values alone."""
    return {kpi: value for kpi, (value, _) in found.items()}


def organization_kpis(raw: Mapping[str, list[Row]], period: Interval) -> dict[str, Fraction | None]:
    """The values of the whole organization's KPIs."""
    return values(organization_answers(raw, period, period[1])[None])


def location_kpis(raw: Mapping[str, list[Row]], period: Interval) -> dict[UUID, dict[str, Fraction | None]]:
    """The values of each location's KPIs."""
    return {key: values(found) for key, found in location_answers(raw, period, period[1]).items()}


def resource_kpis(raw: Mapping[str, list[Row]], period: Interval) -> dict[UUID, dict[str, Fraction | None]]:
    """The values of each resource's KPIs."""
    return {key: values(found) for key, found in resource_answers(raw, period, period[1]).items()}
