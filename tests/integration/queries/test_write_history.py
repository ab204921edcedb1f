"""The past state decides: methods with effective_at, corrections of the past, and one attendance per shift."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils.errors import CheckViolationError, InvalidDataError, InvalidInputError, NotFoundError
from db_utils.queries import WrongStateError
from tests.support.write_site import DAY, HOUR, NOON, Site, refused


def elsewhere(site: Site, timezone: str = "UTC") -> uuid.UUID:
    row = site.queries.create_location(
        site.organization, f"There {timezone}", location_type="depot", timezone=timezone
    )
    identity: uuid.UUID = row["location_id"]
    return identity


def test_a_resource_has_a_history(site: Site) -> None:
    q, o, machine = site.queries, site.organization, site.resource
    there = elsewhere(site)
    (first,) = q.get_resource_history(o, machine)
    assert (first["valid_from"], first["valid_to"], first["location_id"]) == (None, None, site.location)
    assert q.move_resource(o, machine, location_id=there, effective_at=NOON)["location_id"] == there
    row = q.rerate_resource(o, machine, rated_capacity_per_hour=7, capacity_unit="t", effective_at=NOON + DAY)
    assert (row["rated_capacity_per_hour"], row["capacity_unit"]) == (7, "t")
    assert q.rerate_resource(o, machine, rated_capacity_per_hour=None)["capacity_unit"] == "t"
    assert (
        q.set_resource_status(o, machine, status="retired", effective_at=NOON + 2 * DAY)["status"]
        == "retired"
    )
    rows = q.get_resource_history(o, machine)
    assert [r["valid_from"] for r in rows[:4]] == [None, NOON, NOON + DAY, NOON + 2 * DAY]
    assert [r["valid_to"] for r in rows[:-1]] == [r["valid_from"] for r in rows[1:]]
    assert [r["location_id"] for r in rows[:2]] == [site.location, there]
    assert [r["is_in_service"] for r in rows] == [True, True, True, False, False]
    assert [r["rated_capacity_per_hour"] for r in rows[2:]] == [7, 7, None]

    corrected = q.correct_resource_history(
        o, machine, start=NOON - 2 * DAY, end=NOON - DAY, is_in_service=False, location_id=there
    )
    assert corrected == q.get_resource_history(o, machine)
    assert [(r["valid_from"], r["is_in_service"]) for r in corrected[:3]] == [
        (None, True),
        (NOON - 2 * DAY, False),
        (NOON - DAY, True),
    ]
    assert q.get_resources(o)[0]["status"] == "retired"
    ever = q.correct_resource_history(o, machine, start=None, end=NOON, is_in_service=False)
    assert not ever[0]["is_in_service"]

    newer = q.create_resource(o, "Newer", location_id=there, resource_type="press", in_service_from=NOON)[
        "resource_id"
    ]
    assert [(r["valid_from"], r["is_in_service"]) for r in q.get_resource_history(o, newer)] == [
        (None, False),
        (NOON, True),
    ]


def test_events_go_with_a_machine_whose_move_is_told_later(site: Site) -> None:
    q, o, machine = site.queries, site.organization, site.resource
    there, third = elsewhere(site), elsewhere(site, "Asia/Tokyo")
    made = {"event_type": "production", "resource_id": machine, "duration_minutes": 60}
    q.record_events(o, [{**made, "time": NOON + n * DAY, "quantity": 10**n} for n in range(4)])
    q.record_events(o, [{**made, "time": NOON + 2 * DAY + HOUR, "quantity": 7, "location_id": third}])
    q.move_resource(o, machine, location_id=there, effective_at=NOON + 2 * DAY)
    q.correct_resource_history(o, machine, start=None, end=NOON + DAY, location_id=third)
    period = {"start": NOON - DAY, "end": NOON + 5 * DAY}

    def made_at() -> list[dict[uuid.UUID, int]]:
        events: dict[uuid.UUID, int] = {}
        rates: dict[uuid.UUID, int] = {}
        for row in q.get_events(o, **period):
            events[row["location_id"]] = events.get(row["location_id"], 0) + int(row["quantity"])
        for row in q.get_production_rate(o, bucket="day", **period):
            rates[row["location_id"]] = rates.get(row["location_id"], 0) + round(row["quantity"])
        kpis = {
            r["location_id"]: int(r["numerator"])
            for r in q.get_location_kpis(o, **period)
            if r["kpi"] == "throughput_rate" and r["numerator"]
        }
        return [events, rates, kpis]

    assert made_at() == [{third: 1 + 7, site.location: 10, there: 1100}] * 3


def test_what_has_not_come_yet_is_refused(site: Site) -> None:
    q, o = site.queries, site.organization
    later = dt.datetime.now(dt.UTC) + DAY
    for call in (
        lambda: q.set_resource_status(o, site.resource, status="retired", effective_at=later),
        lambda: q.move_resource(o, site.resource, location_id=site.location, effective_at=later),
        lambda: q.move_employee(o, site.employee, location_id=site.location, effective_at=later),
        lambda: q.set_location_timezone(o, site.location, timezone="UTC", effective_at=later),
        lambda: q.correct_resource_history(o, site.resource, start=NOON, end=later, is_in_service=True),
        lambda: q.create_resource(
            o, "X", location_id=site.location, resource_type="x", in_service_from=later
        ),
    ):
        refused(site, InvalidDataError, call, "is in the future")
    refused(
        site,
        InvalidInputError,
        lambda: q.correct_resource_history(o, site.resource, start=NOON, end=NOON + DAY),
        "nothing to correct",
    )
    refused(
        site,
        InvalidInputError,
        lambda: q.end_employment(o, site.employee, last_day=NOON.date(), effective_at=NOON),
        "either last_day or effective_at",
    )
    refused(
        site,
        CheckViolationError,
        lambda: q.set_location_timezone(o, site.location, timezone="Mars/Olympus"),
    )
    for call in (
        lambda: q.move_resource(o, uuid.uuid4(), location_id=site.location),
        lambda: q.move_resource(o, site.resource, location_id=uuid.uuid4()),
        lambda: q.end_employment(o, uuid.uuid4()),
        lambda: q.correct_employee_history(o, uuid.uuid4(), start=None, end=NOON, is_employed=True),
        lambda: q.set_location_timezone(o, uuid.uuid4(), timezone="UTC"),
    ):
        refused(site, NotFoundError, call)
    assert len(q.get_resource_history(o, site.resource)) == 1


def test_a_location_has_had_time_zones(site: Site) -> None:
    q, o = site.queries, site.organization
    was = q.get_location_history(o, site.location)[0]["timezone"]
    assert (
        q.set_location_timezone(o, site.location, timezone="Asia/Tokyo", effective_at=NOON)["timezone"]
        == "Asia/Tokyo"
    )
    q.correct_location_history(o, site.location, timezone="Asia/Seoul", start=NOON - DAY, end=NOON)
    assert [(r["valid_from"], r["timezone"]) for r in q.get_location_history(o, site.location)] == [
        (None, was),
        (NOON - DAY, "Asia/Seoul"),
        (NOON, "Asia/Tokyo"),
    ]


def test_who_is_not_employed_covers_nothing_and_is_not_assigned(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    q.set_employee_skills(o, who, skills=["weld"])
    start = dt.datetime.now(dt.UTC).replace(microsecond=0) + 20 * DAY

    def shift(day: int) -> uuid.UUID:
        row = q.create_shift(
            o,
            f"Welding {day}",
            location_id=site.location,
            starts_at=start + day * DAY,
            ends_at=start + day * DAY + 8 * HOUR,
            required_skills=["weld"],
        )
        identity: uuid.UUID = row["shift_id"]
        return identity

    def gaps() -> list[tuple[Any, ...]]:
        rows = q.get_shift_coverage_gaps(o, start=start - DAY, end=start + 9 * DAY)
        return [(r["name"], r["missing_employees"], r["missing_skills"]) for r in rows]

    first, second = shift(0), shift(2)

    def scheduled(**of: Any) -> list[tuple[str, Any]]:
        rows = q.get_shift_schedule(o, start=start - DAY, end=start + 9 * DAY, **of)
        return [(r["name"], r["employee_id"]) for r in rows]

    for each in (first, second):
        q.assign_employee(o, each, employee_id=who)
    assert gaps() == []
    row = q.end_employment(o, who, effective_at=start + DAY)  # known beforehand
    assert row["is_active"]
    assert q.get_employees(o)[0]["is_active"]
    assert gaps() == [("Welding 2", 1, ["weld"])]
    assert scheduled() == [("Welding 0", who), ("Welding 2", None)]
    assert scheduled(employee_id=who) == [("Welding 0", who)]
    third = shift(4)
    refused(
        site,
        WrongStateError,
        lambda: q.assign_employee(o, third, employee_id=who),
        "is not employed when shift",
    )
    q.unassign_employee(o, second, employee_id=who)
    for call in (
        lambda: q.assign_employee(o, second, employee_id=who),
        lambda: q.set_assignment_status(o, second, employee_id=who, status="scheduled"),
    ):
        refused(site, WrongStateError, call, "is not employed when shift")
    q.resume_employment(o, who, effective_at=start + 3 * DAY)
    assert q.assign_employee(o, third, employee_id=who)["status"] == "scheduled"

    assert not q.end_employment(o, who, effective_at=NOON)["is_active"]
    assert q.get_employees(o) == []
    assert q.get_skills(o) == []
    assert len(q.get_employees(o, include_inactive=True)) == 1
    assert [name for name, *_ in gaps()] == ["Welding 0", "Welding 2", "Welding 4"]
    assert (
        q.correct_employee_history(o, who, start=NOON, end=NOON + DAY, is_employed=True)[-1]["is_employed"]
        is False
    )


def test_who_had_left_was_not_due(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    shift = q.create_shift(o, "S", location_id=site.location, starts_at=NOON, ends_at=NOON + 8 * HOUR)[
        "shift_id"
    ]
    other = q.create_employee(o, "R S", location_id=site.location, employee_code="Z7", role="r")[
        "employee_id"
    ]
    for each in (who, other):
        q.assign_employee(o, shift, employee_id=each)
    q.record_attendance(o, [{"time": NOON, "employee_id": other, "shift_id": shift, "status": "present"}])

    def due() -> list[tuple[Any, Any]]:
        rows = q.get_shift_kpis(o, start=NOON, end=NOON + DAY)
        return [(r["value"], r["coverage_pct"]) for r in rows if r["kpi"] == "attendance_rate"]

    assert due() == [(100, 50)]
    q.end_employment(o, who, effective_at=NOON - DAY)
    assert due() == [(100, 100)]
    assert [r["employee_id"] for r in q.get_shift_schedule(o, start=NOON, end=NOON + DAY)] == [other]


def test_employment_ends_after_the_last_local_day(site: Site) -> None:
    q, o = site.queries, site.organization
    there = elsewhere(site, "Atlantic/Azores")
    who = q.create_employee(
        o, "P Q", location_id=there, employee_code="Z9", role="r", hired_on_date=dt.date(2025, 3, 30)
    )["employee_id"]
    q.end_employment(o, who, last_day=dt.date(2025, 10, 25))
    q.resume_employment(o, who, first_day=dt.date(2025, 12, 1))
    # 30 March begins at 01:00 of summer time; 26 October at the first of its two midnights.
    assert [(r["valid_from"], r["is_employed"]) for r in q.get_employee_history(o, who)] == [
        (None, False),
        (dt.datetime(2025, 3, 30, 1, tzinfo=dt.UTC), True),
        (dt.datetime(2025, 10, 26, 0, tzinfo=dt.UTC), False),
        (dt.datetime(2025, 12, 1, 1, tzinfo=dt.UTC), True),
    ]


def test_attendance_is_where_the_employee_belonged(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    there = elsewhere(site)
    q.record_attendance(
        o,
        [
            {"time": NOON, "employee_id": who, "status": "present"},
            {"time": NOON + DAY, "employee_id": who, "status": "absent"},
        ],
    )
    q.move_employee(o, who, location_id=there, effective_at=NOON + HOUR)
    period = {"start": NOON - DAY, "end": NOON + 3 * DAY}
    assert [r["location_id"] for r in q.get_attendance(o, **period)] == [there, site.location]
    assert [r["status"] for r in q.get_attendance(o, location_id=site.location, **period)] == ["present"]
    for location, rate, due in ((site.location, 100, 1), (there, 0, 1), (None, 50, 2)):
        (row,) = q.get_attendance_rate(o, location_id=location, **period)
        assert (row["attendance_rate"], row["scheduled_count"]) == (rate, due)
        assert row["location_id"] == (location or there)
    assert q.get_low_attendance(o, location_id=site.location, **period) == []
    assert q.get_low_attendance(o, location_id=there, **period)[0]["attendance_rate"] == 0


def test_one_attendance_for_one_employee_and_shift(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    shift = q.create_shift(o, "Early", location_id=site.location, starts_at=NOON, ends_at=NOON + 8 * HOUR)[
        "shift_id"
    ]
    work: Any = {"employee_id": who, "shift_id": shift}
    period = {"start": NOON - DAY, "end": NOON + DAY}

    def rows() -> list[tuple[Any, ...]]:
        return [
            (r["time"], r["status"], r["hours_worked"], r["scheduled_hours"], r["metadata"])
            for r in q.get_attendance(o, **period)
        ]

    came, late = NOON + dt.timedelta(minutes=20), NOON + dt.timedelta(minutes=40)
    q.record_attendance(
        o, [{**work, "time": NOON, "status": "absent", "scheduled_hours": 4, "metadata": {"a": 1}}]
    )
    assert rows() == [(NOON, "absent", 0, 4, {"a": 1})]
    assert q.record_attendance(o, [{**work, "time": came, "status": "late"}], replace=False) == 0
    assert q.record_attendance(o, [{**work, "time": came, "status": "late"}]) == 1
    assert rows() == [(came, "late", None, 4, {"a": 1})]  # the hours worked are unknown
    assert q.record_attendance(o, [{**work, "time": late, "status": "late", "hours_worked": 3.5}]) == 1
    assert q.record_attendance(o, [{**work, "time": late, "status": "late", "hours_worked": 3.5}]) == 0
    assert rows() == [(late, "late", 3.5, 4, {"a": 1})]
    assert q.record_attendance(o, [{**work, "time": late, "status": "sick"}]) == 1
    assert rows() == [(late, "sick", 0, 4, {"a": 1})]
    refused(
        site,
        InvalidInputError,
        lambda: q.record_attendance(
            o, [{**work, "time": NOON, "status": "late"}, {**work, "time": late, "status": "sick"}]
        ),
        "rows 1 and 2 have the same employee_id",
    )
    # Two shifts were mixed up: each row takes the other's place.
    other = q.create_shift(
        o, "Late", location_id=site.location, starts_at=NOON + 9 * HOUR, ends_at=NOON + 12 * HOUR
    )["shift_id"]
    q.record_attendance(
        o, [{"employee_id": who, "shift_id": other, "time": NOON + 9 * HOUR, "status": "present"}]
    )
    assert (
        q.record_attendance(
            o,
            [
                {"employee_id": who, "shift_id": other, "time": late, "status": "sick"},
                {"employee_id": who, "shift_id": shift, "time": NOON + 9 * HOUR, "status": "present"},
            ],
        )
        == 2
    )
    assert [(r["time"], r["shift_id"]) for r in q.get_attendance(o, **period)] == [
        (NOON + 9 * HOUR, shift),
        (late, other),
    ]


def test_of_two_rows_of_a_shift_that_plain_sql_wrote_one_counts(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    shift = q.create_shift(o, "Early", location_id=site.location, starts_at=NOON, ends_at=NOON + 8 * HOUR)[
        "shift_id"
    ]
    for time, status in ((NOON, "absent"), (NOON + HOUR, "late")):
        site.db.execute(
            "INSERT INTO employee_attendance (organization_id, time, employee_id, shift_id, status) "
            "VALUES (%s, %s, %s, %s, %s)",
            (o, time, who, shift, status),
        )
    for end in (NOON + HOUR, NOON + DAY):  # the period may end between the two: neither part counts both
        rows = q.get_attendance(o, start=NOON - DAY, end=end)
        assert [r["status"] for r in rows] == ([] if end == NOON + HOUR else ["late"])
    (rate,) = q.get_attendance_rate(o, start=NOON - DAY, end=NOON + DAY)
    assert (rate["attended_count"], rate["scheduled_count"]) == (1, 1)
    assert (rate["hours_worked"], rate["hours_known_count"]) == (None, 0)
    (view,) = site.db.execute_query(
        "SELECT attended_count, scheduled_count, hours_worked, hours_known_count FROM employee_attendance_rate "
        "WHERE organization_id = %s",
        (o,),
    )
    assert view == {"attended_count": 1, "scheduled_count": 1, "hours_worked": None, "hours_known_count": 0}


def test_a_row_of_the_future_is_not_the_latest(site: Site) -> None:
    q, o, machine = site.queries, site.organization, site.resource
    now = dt.datetime.now(dt.UTC)
    tonight = now + 5 * HOUR
    for at, kind in ((now - HOUR, "production"), (tonight, "maintenance")):
        q.record_events(o, [{"time": at, "event_type": kind, "resource_id": machine, "duration_minutes": 30}])
        q.record_resource_metrics(o, [{"time": at, "resource_id": machine, "utilization_pct": 50}])
    (status,) = q.get_resource_status(o)
    assert status["last_event_type"] == "production"
    assert status["last_metric_at"] == now - HOUR
    (row,) = site.db.execute_query(
        "SELECT last_event_type, last_metric_at FROM resource_latest_status WHERE organization_id = %s", (o,)
    )
    assert row == {"last_event_type": "production", "last_metric_at": now - HOUR}


def test_who_has_left_is_not_forecast(site: Site) -> None:
    q, o, who = site.queries, site.organization, site.employee
    today = dt.datetime.now(ZoneInfo("Europe/Paris")).date()  # of the site
    days = [today + DAY, today + 3 * DAY]
    q.save_absence_forecasts(
        o,
        [{"employee_id": who, "target_date": day, "absence_probability": 0.5} for day in days],
        model_name="m",
        model_version="1",
        available_at=NOON,
    )
    assert [r["target_date"] for r in q.get_current_absence_forecasts(o)] == days
    q.end_employment(o, who, last_day=today + 2 * DAY)
    assert [r["target_date"] for r in q.get_current_absence_forecasts(o)] == days[:1]
    q.end_employment(o, who)
    assert q.get_current_absence_forecasts(o) == []


@pytest.mark.parametrize(
    ("zone", "said", "lead"),
    [
        ("Pacific/Kiritimati", dt.datetime(2024, 5, 5, 9, 59, tzinfo=dt.UTC), 0),
        (
            "Pacific/Kiritimati",
            dt.datetime(2024, 5, 5, 10, 1, tzinfo=dt.UTC),
            None,
        ),  # the day has begun there
        ("Pacific/Honolulu", dt.datetime(2024, 5, 6, 9, 59, tzinfo=dt.UTC), 0),
        ("Pacific/Honolulu", dt.datetime(2024, 5, 5, 9, 59, tzinfo=dt.UTC), 1),
        (
            "Pacific/Honolulu",
            dt.datetime(2024, 5, 5, 10, 0, tzinfo=dt.UTC),
            1,
        ),  # just as the day before begins
    ],
)
def test_the_lead_of_a_forecast_is_in_days_of_its_place(
    site: Site, zone: str, said: dt.datetime, lead: int | None
) -> None:
    q, o = site.queries, site.organization
    there, day = elsewhere(site, zone), dt.date(2024, 5, 6)
    who = q.create_employee(o, "P Q", location_id=there, employee_code="Z9", role="r")["employee_id"]
    morning = dt.datetime(2024, 5, 5 if zone == "Pacific/Kiritimati" else 6, 20, tzinfo=dt.UTC)
    q.record_attendance(o, [{"time": morning, "employee_id": who, "status": "absent"}])
    q.save_absence_forecasts(
        o,
        [{"employee_id": who, "target_date": day, "absence_probability": 0.5}],
        model_name="m",
        model_version="1",
        available_at=said,
    )
    rows = q.get_absence_forecast_accuracy(o, first_date=day, end_date=day + DAY)
    assert [r["lead_time_days"] for r in rows] == ([] if lead is None else [lead])
