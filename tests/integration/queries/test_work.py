"""Attendance, shifts and plans: answers recomputed from raw rows."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from db_utils import OperationalDataQueries
from tests.support.query_calls import Facts, Raw
from tests.support.recompute import (
    DAY,
    HOUR,
    Row,
    assert_rows,
    groups,
    local_day,
    mean,
    midnight,
    pick,
    ratio,
    total,
    within,
)

CAME = ("present", "late", "remote")
WORKS = ("scheduled", "confirmed", "completed")


def organization_zone(queries: OperationalDataQueries, facts: Facts) -> str:
    return str(queries.get_organization(facts.organization_id)["timezone"])


def test_attendance(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    people = raw.by_id("employees", "employee_id")
    expected = [
        {
            **{k: v for k, v in row.items() if k != "organization_id"},
            **pick(people[row["employee_id"]], "full_name", "location_id"),
        }
        for row in sorted(
            within(raw["employee_attendance"], facts.month_ago, facts.end),
            key=lambda row: (-row["time"].timestamp(), row["employee_id"]),
        )
    ]
    period = {"start": facts.month_ago, "end": facts.end}
    assert len(expected) > 50
    assert queries.get_attendance(facts.organization_id, **period) == expected
    for column in ("employee_id", "location_id"):
        value = expected[0][column]
        assert queries.get_attendance(facts.organization_id, **period, **{column: value}) == [
            row for row in expected if row[column] == value
        ]


def rates(raw: Raw, start: dt.datetime, end: dt.datetime, zone: str) -> list[dict[str, Any]]:
    """Attendance by employee and local month."""
    people = raw.by_id("employees", "employee_id")
    due = [row for row in within(raw["employee_attendance"], start, end) if row["status"] != "vacation"]
    found = []
    for (month, employee), rows in groups(
        due, lambda row: (local_day(row["time"], zone).replace(day=1), row["employee_id"])
    ).items():
        came = [row for row in rows if row["status"] in CAME]
        found.append(
            {
                "month": month,
                "employee_id": employee,
                **pick(people[employee], "full_name", "location_id"),
                "attendance_rate": ratio(len(came), len(rows), 100),
                "attended_count": len(came),
                "scheduled_count": len(rows),
                "hours_worked": total(row["hours_worked"] for row in rows),
                "hours_known_count": sum(row["hours_worked"] is not None for row in rows),
                "performance_score_mean": mean(row["performance_score"] for row in rows),
            }
        )
    return sorted(found, key=lambda row: (row["month"], row["full_name"], row["employee_id"]))


def test_attendance_rate(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    zone = organization_zone(queries, facts)
    expected = rates(raw, facts.month_ago, facts.end, zone)
    period = {"start": facts.month_ago, "end": facts.end}
    assert len(expected) >= 5
    assert_rows(queries.get_attendance_rate(facts.organization_id, **period), expected)
    for column in ("employee_id", "location_id"):
        value = expected[0][column]
        assert_rows(
            queries.get_attendance_rate(facts.organization_id, **period, **{column: value}),
            [row for row in expected if row[column] == value],
        )


def test_without_a_period_attendance_is_this_months(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    zone = organization_zone(queries, facts)
    today = local_day(facts.now, zone)
    first = midnight(today.replace(day=1), zone)
    expected = rates(raw, first, facts.now + DAY, zone)
    assert_rows(queries.get_attendance_rate(facts.organization_id), expected)
    low = sorted(
        (row for row in expected if row["attendance_rate"] < 90),
        key=lambda row: (row["attendance_rate"], row["full_name"]),
    )
    columns = (
        "employee_id",
        "full_name",
        "location_id",
        "attendance_rate",
        "attended_count",
        "scheduled_count",
    )
    assert low or today.day < 8, "the sample data has someone who stays away too often"
    assert_rows(queries.get_low_attendance(facts.organization_id), [pick(row, *columns) for row in low])


def test_low_attendance(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    due = [
        row
        for row in within(raw["employee_attendance"], facts.month_ago, facts.end)
        if row["status"] != "vacation"
    ]
    people = raw.by_id("employees", "employee_id")
    everybody = []
    for employee, rows in groups(due, lambda row: row["employee_id"]).items():
        came = sum(row["status"] in CAME for row in rows)
        everybody.append(
            {
                "employee_id": employee,
                **pick(people[employee], "full_name", "location_id"),
                "attendance_rate": ratio(came, len(rows), 100),
                "attended_count": came,
                "scheduled_count": len(rows),
            }
        )
    everybody.sort(key=lambda row: (row["attendance_rate"], row["full_name"]))
    for limit in (Decimal("97.5"), 80, 100.1):
        expected = [row for row in everybody if row["attendance_rate"] < Fraction(limit)]
        answer = queries.get_low_attendance(
            facts.organization_id, below_pct=limit, start=facts.month_ago, end=facts.end
        )
        assert_rows(answer, expected)
    assert queries.get_low_attendance(facts.organization_id, below_pct=0) == []


def test_shift_schedule(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    start, end = facts.start, facts.now + 9 * DAY
    people = raw.by_id("employees", "employee_id")
    assigned = groups(raw["shift_assignments"], lambda row: row["shift_id"])
    expected = []
    for shift in raw["shifts"]:
        if not (shift["starts_at"] < end and shift["ends_at"] > start):
            continue
        for assignment in assigned.get(shift["shift_id"], [{}]):
            person = people.get(assignment.get("employee_id"), {})
            expected.append(
                {
                    **pick(
                        shift,
                        "shift_id",
                        "shift_code",
                        "location_id",
                        "name",
                        "starts_at",
                        "ends_at",
                        "required_employees",
                        "required_skills",
                    ),
                    "employee_id": assignment.get("employee_id"),
                    "full_name": person.get("full_name"),
                    "assignment_status": assignment.get("status"),
                }
            )
    expected.sort(
        key=lambda row: (
            row["starts_at"],
            row["location_id"],
            row["name"],
            row["full_name"] or "~",
            row["employee_id"],
        )
    )
    period = {"start": start, "end": end}
    assert any(row["employee_id"] is None for row in expected)
    assert queries.get_shift_schedule(facts.organization_id, **period) == expected
    for column, value in (("location_id", facts.location_id), ("employee_id", facts.employee_id)):
        answer = queries.get_shift_schedule(facts.organization_id, **period, **{column: value})
        assert answer == [row for row in expected if row[column] == value]


def test_shift_coverage_gaps(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    start, end = facts.start, facts.now + 9 * DAY
    people = raw.by_id("employees", "employee_id")
    assigned = groups(raw["shift_assignments"], lambda row: row["shift_id"])
    expected = []
    for shift in sorted(raw["shifts"], key=lambda row: (row["starts_at"], row["location_id"], row["name"])):
        if not (shift["starts_at"] < end and shift["ends_at"] > start):
            continue
        at_work = [row for row in assigned.get(shift["shift_id"], []) if row["status"] in WORKS]
        there = {skill for row in at_work for skill in people[row["employee_id"]]["skills"]}
        missing = max(shift["required_employees"] - len(at_work), 0)
        unskilled = sorted(set(shift["required_skills"]) - there)
        if missing or unskilled:
            expected.append(
                {
                    **pick(
                        shift, "shift_id", "location_id", "name", "starts_at", "ends_at", "required_employees"
                    ),
                    "assigned_employees": len(at_work),
                    "missing_employees": missing,
                    "missing_skills": unskilled,
                }
            )
    answer = queries.get_shift_coverage_gaps(facts.organization_id, start=start, end=end)
    assert expected
    assert answer == expected
    here = queries.get_shift_coverage_gaps(
        facts.organization_id, start=start, end=end, location_id=facts.location_id
    )
    assert here == [row for row in expected if row["location_id"] == facts.location_id]


def test_a_shift_under_way_is_in_the_schedule(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    shift = min(raw["shifts"], key=lambda row: row["starts_at"])
    inside = shift["starts_at"] + HOUR
    for start, end, there in (
        (inside, inside + HOUR, True),
        (shift["ends_at"], shift["ends_at"] + HOUR, False),
        (shift["starts_at"] - HOUR, shift["starts_at"], False),
    ):
        answer = queries.get_shift_schedule(facts.organization_id, start=start, end=end)
        assert (shift["shift_id"] in {row["shift_id"] for row in answer}) is there


def plan_order(row: Row) -> tuple[Any, ...]:
    return (row["plan_date"], row["priority"], row["product_id"], row["plan_id"])


def test_production_plans(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    first, end = facts.today - 20 * DAY, facts.today + 5 * DAY
    expected = [
        {k: v for k, v in row.items() if k != "organization_id"}
        for row in sorted(raw["production_plans"], key=plan_order)
        if first <= row["plan_date"] < end
    ]
    dates = {"first_date": first, "end_date": end}
    assert len(expected) > 30
    assert queries.get_production_plans(facts.organization_id, **dates) == expected
    for column in ("location_id", "resource_id", "status"):
        for value in {row[column] for row in expected if row[column] is not None}:
            answer = queries.get_production_plans(facts.organization_id, **dates, **{column: value})
            assert answer == [row for row in expected if row[column] == value]


def test_days_of_plans_end_with_the_organizations_today(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    zone = ZoneInfo(organization_zone(queries, facts))
    before = dt.datetime.now(zone).date()
    answer = queries.get_production_plans(facts.organization_id, days=3)
    today = dt.datetime.now(zone).date()
    assert before == today, "midnight struck during the test: run it again"
    wanted = [row for row in raw["production_plans"] if today - 3 * DAY < row["plan_date"] <= today]
    assert [row["plan_id"] for row in answer] == [row["plan_id"] for row in sorted(wanted, key=plan_order)]
    open_ended = queries.get_production_plans(facts.organization_id, first_date=today - 2 * DAY)
    assert open_ended == answer


def test_production_efficiency(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    first, end = facts.today - 20 * DAY, facts.today - DAY
    done = [
        row
        for row in raw["production_plans"]
        if row["status"] == "completed" and first <= row["plan_date"] < end
    ]
    expected = []
    for (day, location), rows in sorted(
        groups(done, lambda row: (row["plan_date"], row["location_id"])).items()
    ):
        planned = sum(row["planned_quantity"] for row in rows)
        actual = sum(row["actual_quantity"] for row in rows)
        expected.append(
            {
                "location_id": location,
                "plan_date": day,
                "plan_count": len(rows),
                "planned_quantity": planned,
                "actual_quantity": actual,
                "efficiency_pct": (100 * actual / planned).quantize(Decimal("0.01"), ROUND_HALF_UP),
                "reason": None,
            }
        )
    assert expected
    answer = queries.get_production_efficiency(facts.organization_id, first_date=first, end_date=end)
    assert_rows(answer, expected)


def test_plan_attainment(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    first, end = facts.today - 25 * DAY, facts.today + 20 * DAY
    zones = {row["location_id"]: row["timezone"] for row in raw["locations"]}
    due = [
        row
        for row in raw["production_plans"]
        if row["status"] != "cancelled"
        and first <= row["plan_date"] < end
        and midnight(row["plan_date"] + DAY, zones[row["location_id"]]) <= facts.now
    ]
    expected = []
    for (location, product), rows in sorted(
        groups(due, lambda row: (row["location_id"], row["product_id"])).items()
    ):
        reported = [row for row in rows if row["actual_quantity"] is not None]
        planned = total(row["planned_quantity"] for row in reported)
        actual = total(row["actual_quantity"] for row in reported)
        expected.append(
            {
                "location_id": location,
                "product_id": product,
                "plan_count": len(rows),
                "reported_count": len(reported),
                "planned_quantity": planned,
                "actual_quantity": actual,
                "attainment_pct": ratio(actual, planned, 100),
            }
        )
    assert expected
    answer = queries.get_plan_attainment(facts.organization_id, first_date=first, end_date=end)
    assert_rows(answer, expected)
    here = queries.get_plan_attainment(
        facts.organization_id, first_date=first, end_date=end, location_id=facts.location_id
    )
    assert_rows(here, [row for row in expected if row["location_id"] == facts.location_id])
