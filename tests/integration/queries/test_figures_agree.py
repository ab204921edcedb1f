"""Future-dated rows do not count, nothing counts twice, and different queries agree about the same figure."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from db_utils.report.series import ATTENDANCE_BY_DAY
from tests.support.write_site import DAY, HOUR, NOON, Site

MINUTE = dt.timedelta(minutes=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def kpi(rows: list[Any], name: str) -> Any:
    return next(row for row in rows if row["kpi"] == name)


def test_demand_dated_ahead_is_not_sold_yet(site: Site) -> None:
    q, o = site.queries, site.organization
    moment = now()
    q.record_demand(
        o,
        [
            {"time": moment - 2 * HOUR, "product_id": "A", "location_id": site.location, "quantity": 5},
            {"time": moment + 6 * HOUR, "product_id": "A", "location_id": site.location, "quantity": 70},
            {"time": moment + 7 * HOUR, "product_id": "B", "location_id": site.location, "quantity": 3},
        ],
    )
    for period in ({}, {"days": 2}, {"start": moment - DAY, "end": moment + 2 * DAY}):
        assert [(p["product_id"], p["quantity"]) for p in q.get_products(o, **period)] == [("A", 5)]
    period = {"start": moment - 3 * DAY, "end": moment + 3 * DAY, "bucket": "hour"}
    series = q.get_demand_series(o, "A", fill_quantity=0, **period)
    frame = q.get_demand_training_frame(o, "A", **period)
    assert [row["bucket"] for row in series] == [row["bucket"] for row in frame]
    for rows in (series, frame):
        assert [row["quantity"] for row in rows if row["is_observed"]] == [5]
    # Nothing was sold in past hours; later ones are unknown.
    for row in series:
        assert (row["quantity"] is None) == (row["bucket_end"] > moment and not row["is_observed"])
    assert q.get_demand_series(o, "B", **period) == q.get_demand_training_frame(o, "B", **period) == []


def test_a_frame_of_tomorrow_does_not_know_today_yet(site: Site) -> None:
    q, o = site.queries, site.organization
    moment = now()
    hour = moment.replace(minute=0, second=0, microsecond=0)
    q.record_demand(
        o,
        [
            {"time": hour + offset * HOUR, "product_id": "A", "location_id": site.location, "quantity": 1}
            for offset in (-3, -2, -1, 0, 2)
        ],
    )
    (frame,) = q.get_demand_frame_as_of(o, as_of=hour + 4 * HOUR, horizon=2, history=8 * HOUR, bucket="hour")
    over = frame["bucket_ends"][frame["over_count"] - 1]
    assert over <= now() < over + 2 * HOUR
    known = frame["series"][0]["buckets"]
    assert [frame["bucket_ends"][position] for position in known] == [
        hour + offset * HOUR for offset in (-2, -1, 0)
    ]
    assert frame["bucket_starts"][frame["first_target"]] == hour + 4 * HOUR


def test_who_counts_as_due_is_the_same_everywhere(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    left = q.create_employee(o, "R S", location_id=site.location, employee_code="Z7", role="r")["employee_id"]
    shift = q.create_shift(o, "Early", location_id=site.location, starts_at=NOON, ends_at=NOON + 8 * HOUR)[
        "shift_id"
    ]
    insert = "INSERT INTO employee_attendance (organization_id, time, employee_id, shift_id, status) VALUES (%s, %s, %s, %s, %s)"
    # Written twice by plain SQL: the later one counts.
    site.db.execute(insert, (o, NOON, who, shift, "absent"))
    site.db.execute(insert, (o, NOON + HOUR, who, shift, "present"))
    q.record_attendance(
        o,
        [
            {"time": NOON + DAY, "employee_id": who, "status": "absent"},
            {"time": NOON + 2 * DAY, "employee_id": who, "status": "vacation"},
            {"time": now() + 6 * HOUR, "employee_id": who, "status": "absent"},
            {"time": NOON, "employee_id": left, "status": "present"},
            {"time": NOON + 2 * DAY, "employee_id": left, "status": "absent"},
        ],
    )
    q.end_employment(o, left, effective_at=NOON + DAY)
    start, end = NOON - HOUR, now() + DAY
    got = kpi(q.get_kpi_summary(o, start=start, end=end), "attendance_rate")
    assert (got["numerator"], got["denominator"]) == (2, 3)
    got = kpi(q.get_location_kpis(o, start=start, end=end), "attendance_rate")
    assert (got["numerator"], got["denominator"]) == (2, 3)
    rates = q.get_attendance_rate(o, start=start, end=end)
    assert [(r["employee_id"], r["attended_count"], r["scheduled_count"]) for r in rates] == [
        (who, 1, 2),
        (left, 1, 1),
    ]
    assert [
        (r["attended_count"], r["scheduled_count"])
        for r in q.get_attendance_rate(o, employee_id=who, start=start)
    ] == [(1, 2)]
    low = q.get_low_attendance(o, start=start, end=end)
    assert [(r["employee_id"], r["attendance_rate"], r["scheduled_count"]) for r in low] == [(who, 50, 2)]
    days = site.db.execute_query(ATTENDANCE_BY_DAY, {"organization_id": o, "start": start, "end": end})
    assert [(r["day"], r["attended_count"], r["scheduled_count"]) for r in days] == [
        (NOON.date(), 2, 2),
        (NOON.date() + DAY, 0, 1),
    ]
    view = site.db.execute_query(
        "SELECT sum(attended_count) AS attended, sum(scheduled_count) AS due FROM employee_attendance_rate WHERE organization_id = %s",
        (o,),
    )
    assert view == [{"attended": 2, "due": 3}]


def test_a_day_of_absences_that_is_not_over_has_no_outcome(site: Site) -> None:
    q, o = site.queries, site.organization
    there = q.create_location(o, "Z" + uuid.uuid4().hex, location_type="store", timezone="UTC")["location_id"]
    people = [
        q.create_employee(o, f"P {n}", location_id=there, employee_code=f"P{n}", role="r")["employee_id"]
        for n in range(2)
    ]
    today = now().date()
    midnight = dt.datetime.combine(today, dt.time(), dt.UTC)
    for employee in people:
        q.record_attendance(
            o,
            [
                {"time": midnight + offset, "employee_id": employee, "status": "absent"}
                for offset in (-DAY, 0 * DAY, 12 * HOUR)
            ],
        )
    q.save_absence_forecasts(
        o,
        [
            {"location_id": there, "target_date": today + offset, "expected_absences": 2}
            for offset in (-DAY, 0 * DAY, DAY)
        ],
        model_name="m",
        model_version="1",
        available_at=midnight - 2 * DAY,
    )
    rows = q.get_absence_forecast_accuracy(o, first_date=today - 3 * DAY, end_date=today + 3 * DAY)
    assert [(r["lead_time_days"], r["target_count"], r["actual_absences"], r["mae"]) for r in rows] == [
        (1, 1, 2, 0)
    ]


def test_breakdowns_that_touch_are_one_that_was_foretold(site: Site) -> None:
    q, o, machine = site.queries, site.organization, site.resource

    def broken(at: dt.datetime, minutes: int | None, **changes: Any) -> Any:
        return {
            "time": at,
            "event_type": "breakdown",
            "resource_id": machine,
            "duration_minutes": minutes,
            **changes,
        }

    q.record_events(
        o,
        [
            broken(NOON, 60),
            broken(NOON + 60 * MINUTE, 30),  # the same failure, cut in two
            broken(NOON + 80 * MINUTE, 40),  # and overlapping
            broken(NOON + 5 * HOUR, 10),
            broken(NOON + 6 * HOUR, 10, resource_id=None, location_id=site.location),  # without a machine
            broken(now() + 5 * HOUR, 10),  # has not happened
        ],
    )
    anomaly = uuid.uuid4()
    q.save_anomaly_predictions(
        o,
        [
            {
                "anomaly_id": anomaly,
                "resource_id": machine,
                "anomaly_type": "failure",
                "severity": "high",
                "probability": 0.9,
                "predicted_for": NOON,
            }
        ],
        model_name="m",
        model_version="1",
        available_at=NOON - DAY,
    )
    q.close_anomaly_prediction(
        o, anomaly, outcome="confirmed", occurred_at=NOON + 100 * MINUTE, closed_at=NOON + DAY
    )

    def scores(start: dt.datetime, end: dt.datetime) -> Any:
        rows = q.get_anomaly_prediction_scores(o, start=start, end=end)
        failures = kpi(q.get_kpi_summary(o, start=start, end=end), "mtbf")["denominator"]
        return [
            (r["breakdown_count"], r["predicted_breakdown_count"], r["recall_pct"], failures) for r in rows
        ]

    assert scores(NOON - HOUR, now() + DAY) == [(2, 1, 50, 2)]
    assert scores(NOON - HOUR, NOON + HOUR) == [(1, 1, 100, 1)]


def test_a_machine_that_will_be_maintained_tonight_has_never_reported(site: Site) -> None:
    q, o = site.queries, site.organization
    moment = now()
    there = q.create_location(o, "Z" + uuid.uuid4().hex, location_type="store", timezone="UTC")["location_id"]
    machines = [
        q.create_resource(o, f"M{n}", location_id=there, resource_type="m")["resource_id"] for n in range(2)
    ]
    q.create_shift(o, "S", location_id=there, starts_at=moment - 10 * HOUR, ends_at=moment - 2 * HOUR)
    q.record_events(
        o,
        [
            {
                "time": moment - 10 * HOUR,
                "event_type": "production",
                "resource_id": machines[0],
                "duration_minutes": 480,
            },
            {
                "time": moment + 5 * HOUR,
                "event_type": "maintenance",
                "resource_id": machines[1],
                "duration_minutes": 60,
            },
        ],
    )
    got = kpi(q.get_kpi_summary(o, start=moment - DAY, end=moment + DAY), "availability")
    assert (got["value"], got["denominator"], got["coverage_pct"]) == (100, 480, 50)


def test_plans_of_machines_that_count_differently_are_added_up_nowhere(site: Site) -> None:
    q, o = site.queries, site.organization
    day = NOON.date()
    for product, unit in (("A", "kg"), ("B", "pieces")):
        machine = q.create_resource(
            o,
            f"M {unit}",
            location_id=site.location,
            resource_type="m",
            rated_capacity_per_hour=9,
            capacity_unit=unit,
        )["resource_id"]
        plan = q.create_production_plan(
            o, product, location_id=site.location, resource_id=machine, plan_date=day, planned_quantity=10
        )
        q.complete_production_plan(o, plan["plan_id"], actual_quantity=5)
    attainment = kpi(q.get_kpi_summary(o, start=NOON - DAY, end=NOON + DAY), "plan_attainment")
    (made,) = q.get_production_efficiency(o, first_date=day, end_date=day + DAY)
    assert (attainment["value"], made["efficiency_pct"], made["planned_quantity"]) == (None, None, None)
    assert made["reason"] == "products are counted in different units: kg, pieces"
    (other,) = [
        q.create_production_plan(
            o, "A", location_id=site.location, plan_date=day + DAY, planned_quantity=Decimal(10)
        )
    ]
    q.complete_production_plan(o, other["plan_id"], actual_quantity=5)
    (made,) = q.get_production_efficiency(o, first_date=day + DAY, end_date=day + 2 * DAY)
    assert (made["efficiency_pct"], made["reason"]) == (50, None)
