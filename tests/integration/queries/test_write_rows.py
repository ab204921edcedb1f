"""Bulk writes of rows: as the owner, in a tenant scope, and inside a caller's transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.errors import (
    CheckViolationError,
    InvalidInputError,
    NotFoundError,
)
from tests.support.write_site import DAY, HOUR, NOON, RUN, Site, refused


def test_events_may_be_sent_twice(site: Site) -> None:
    q, o = site.queries, site.organization
    identities = [uuid.uuid4() for _ in range(3)]
    events: list[Any] = [
        {
            "time": NOON + number * HOUR,
            "event_id": identity,
            "resource_id": site.resource,
            "event_type": "production",
            "quantity": Decimal("123456789012345.0123456789"),
            "scrap_quantity": 0.1,
            "quality_score": 99,
            "duration_minutes": 30,
            "metadata": {"batch": number},
        }
        for number, identity in enumerate(identities)
    ]
    assert q.record_events(o, events) == 3
    assert q.record_events(o, events) == 0
    assert q.record_events(o, events, replace=True) == 0
    corrected = {**events[1], "quantity": 7, "scrap_quantity": None}
    assert q.record_events(o, [corrected]) == 0, "kept as it was"
    assert q.record_events(o, [corrected, events[0]], replace=True) == 1
    rows = q.get_events(o, start=NOON, end=NOON + DAY)
    assert [row["event_id"] for row in rows] == identities[::-1]
    assert rows[0]["quantity"] == Decimal("123456789012345.0123456789")
    assert rows[0]["scrap_quantity"] == Decimal("0.1")
    assert rows[0]["metadata"] == {"batch": 2}
    assert rows[1]["quantity"] == 7
    assert rows[1]["scrap_quantity"] is None
    assert {row["location_id"] for row in rows} == {site.location}, "the resource's location"


def test_one_event(site: Site) -> None:
    q, o = site.queries, site.organization
    identity = q.record_event(o, time=NOON, event_type="shift_start", location_id=site.location)
    again = q.record_event(
        o, time=NOON, event_type="shift_start", location_id=site.location, event_id=identity
    )
    assert again == identity
    (row,) = q.get_events(o, start=NOON, end=NOON + HOUR)
    assert row["event_id"] == identity
    with pytest.raises(InvalidInputError, match="location_id"):
        q.record_event(o, time=NOON, event_type="shift_start")


def test_the_same_key_twice_in_one_call_is_refused_and_the_rows_are_named(site: Site) -> None:
    q, o = site.queries, site.organization
    sale: Any = {"time": NOON, "product_id": "P", "location_id": site.location}
    lines: list[Any] = [{**sale, "quantity": quantity} for quantity in (2, 3, 4)]
    other: Any = {**sale, "time": NOON + HOUR, "quantity": 1}
    for replace in (True, False):
        refused(
            site,
            InvalidInputError,
            lambda replace=replace: q.record_demand(o, [lines[0], other, *lines[1:], other], replace=replace),  # type: ignore[misc]
            r"rows 1, 3 and 4 have the same product_id P, .*; rows 2 and 5 have.*: give each key once.*on_repeat='sum'",
        )
    assert site.count("demand_history") == 0

    sample: Any = {"time": NOON, "resource_id": site.resource, "utilization_pct": 5}
    event: Any = {"time": NOON, "event_id": uuid.uuid4(), "event_type": "idle", "resource_id": site.resource}
    work: Any = {"time": NOON, "employee_id": site.employee, "status": "present"}
    weather: Any = {
        "time": NOON,
        "factor_type": "weather",
        "name": "rain",
        "value": 1,
        "unit": "mm",
        "available_at": NOON,
    }
    expected: Any = {
        "product_id": "P",
        "location_id": site.location,
        "target_time": NOON,
        "predicted_quantity": 1,
    }
    failure: Any = {
        "resource_id": site.resource,
        "anomaly_type": "failure",
        "severity": "low",
        "probability": 0.5,
        "predicted_for": NOON,
    }
    away: Any = {"target_date": NOON.date(), "location_id": site.location, "expected_absences": 1}
    calls: list[Callable[[], int]] = [
        lambda: q.record_resource_metrics(o, [sample, sample]),
        lambda: q.record_events(o, [event, event]),
        lambda: q.record_attendance(o, [work, work]),
        lambda: q.record_external_factors(o, [weather, weather]),
        lambda: q.save_demand_forecasts(o, [expected, expected], **RUN),
        lambda: q.save_anomaly_predictions(o, [failure, failure], **RUN),
        lambda: q.save_absence_forecasts(o, [away, away], **RUN),
    ]
    for call in calls:
        refused(site, InvalidInputError, call, "rows 1 and 2 have the same")


def test_a_repeat_is_found_pages_later(site: Site) -> None:
    q, o = site.queries, site.organization
    rows: list[Any] = [
        {"time": NOON - number * HOUR, "product_id": "P", "location_id": site.location, "quantity": 1}
        for number in range(5_500)
    ]
    refused(site, InvalidInputError, lambda: q.record_demand(o, [*rows, rows[2]]), "rows 3 and 5501 have")
    assert site.count("demand_history") == 0


def test_lines_of_receipts_are_added_up_when_asked(site: Site) -> None:
    q, o = site.queries, site.organization
    sale: Any = {"time": NOON, "product_id": "P", "location_id": site.location}
    lines: list[Any] = [
        {**sale, "quantity": 2, "revenue": 0.1},
        {**sale, "quantity": 3, "revenue": 0.2},
        {**sale, "quantity": Decimal("1e-20"), "revenue": 0},
        {**sale, "time": NOON + HOUR, "quantity": 1, "revenue": 5},
        {**sale, "time": NOON + HOUR, "quantity": 1, "revenue": None},
        {**sale, "time": NOON + 2 * HOUR, "quantity": 1},
        {**sale, "time": NOON + 2 * HOUR, "quantity": 10**14},
    ]
    assert q.record_demand(o, iter(lines), on_repeat="sum") == 3
    assert q.record_demand(o, lines, on_repeat="sum") == 0, "a repeated call adds nothing"
    rows = q.get_demand_history(o, "P", start=NOON, end=NOON + DAY)
    assert [(row["quantity"], row["revenue"]) for row in rows] == [
        (Decimal("5.00000000000000000001"), Decimal("0.3")),
        (2, None),
        (10**14 + 1, None),
    ]
    refused(
        site,
        InvalidInputError,
        lambda: q.record_demand(o, [lines[0], {**lines[1], "metadata": {"a": 1}}], on_repeat="sum"),
        "rows 1 and 2 have the same.*but not the same metadata",
    )


def test_only_what_is_given_is_written(site: Site) -> None:
    q, o = site.queries, site.organization
    sale: Any = {"time": NOON, "product_id": "P", "location_id": site.location}
    later: Any = {**sale, "time": NOON + HOUR}
    whole = {"quantity": 5, "revenue": 50, "metadata": {"channel": "web"}}
    assert q.record_demand(o, [{**sale, **whole}, {**later, **whole}]) == 2

    def demand() -> list[tuple[Any, ...]]:
        rows = q.get_demand_history(o, "P", start=NOON, end=NOON + DAY)
        return [(row["quantity"], row["revenue"], row["metadata"]) for row in rows]

    assert q.record_demand(o, [{**sale, "quantity": 6}, {**later, "quantity": 5, "revenue": None}]) == 2
    assert demand() == [(6, 50, {"channel": "web"}), (5, None, {"channel": "web"})]
    assert q.record_demand(o, [{**sale, "quantity": 6}, {**later, "quantity": 5, "metadata": None}]) == 1
    assert demand() == [(6, 50, {"channel": "web"}), (5, None, {})]

    work: Any = {"time": NOON, "employee_id": site.employee}
    q.record_attendance(
        o, [{**work, "status": "present", "scheduled_hours": 4, "hours_worked": 3, "performance_score": 90}]
    )
    assert q.record_attendance(o, [{**work, "status": "late"}]) == 1
    (row,) = q.get_attendance(o, start=NOON, end=NOON + HOUR)
    assert (row["status"], row["scheduled_hours"], row["hours_worked"], row["performance_score"]) == (
        "late",
        4,
        3,
        90,
    )
    assert q.record_attendance(o, [{**work, "status": "late", "performance_score": None}]) == 1
    (row,) = q.get_attendance(o, start=NOON, end=NOON + HOUR)
    assert (row["hours_worked"], row["performance_score"]) == (3, None)

    sample: Any = {"time": NOON, "resource_id": site.resource}
    q.record_resource_metrics(
        o, [{**sample, "utilization_pct": 40, "downtime_minutes": 2, "sample_minutes": 5}]
    )
    assert q.record_resource_metrics(o, [{**sample, "efficiency_pct": 90}], replace=True) == 1
    (row,) = q.get_resource_metrics(o, start=NOON, end=NOON + HOUR)
    assert (row["utilization_pct"], row["efficiency_pct"]) == (40, 90)
    assert (row["downtime_minutes"], row["sample_minutes"]) == (2, 5)

    event: Any = {
        "time": NOON,
        "event_id": uuid.uuid4(),
        "event_type": "production",
        "resource_id": site.resource,
    }
    q.record_events(
        o, [{**event, "quantity": 9, "scrap_quantity": 1, "duration_minutes": 30, "metadata": {"a": 1}}]
    )
    assert q.record_events(o, [{**event, "quality_score": 99, "scrap_quantity": None}], replace=True) == 1
    (row,) = q.get_events(o, start=NOON, end=NOON + HOUR)
    assert (row["quantity"], row["scrap_quantity"], row["quality_score"]) == (9, None, 99)
    assert (row["duration_minutes"], row["metadata"], row["location_id"]) == (30, {"a": 1}, site.location)


def test_times_mean_the_same_instant_in_any_zone(site: Site) -> None:
    q, o = site.queries, site.organization
    tokyo = NOON.astimezone(dt.timezone(9 * HOUR))
    row = {"product_id": "P", "location_id": str(site.location), "quantity": 1, "revenue": 2.5}
    assert q.record_demand(o, [{**row, "time": NOON}]) == 1
    assert q.record_demand(o, [{**row, "time": tokyo}]) == 0
    (stored,) = q.get_demand_history(o, "P", start=tokyo, end=tokyo + HOUR)
    assert stored["time"] == NOON
    assert stored["revenue"] == Decimal("2.5")


def test_metrics_and_attendance(site: Site) -> None:
    q, o = site.queries, site.organization
    samples: list[Any] = [
        {
            "time": NOON + number * dt.timedelta(minutes=1),
            "resource_id": site.resource,
            "utilization_pct": number,
            "efficiency_pct": None,
        }
        for number in range(60)
    ]
    assert q.record_resource_metrics(o, iter(samples)) == 60
    assert q.record_resource_metrics(o, samples) == 0
    rows = q.get_resource_metrics(o, start=NOON, end=NOON + HOUR)
    assert [row["utilization_pct"] for row in rows] == list(range(60))
    assert {(row["sample_minutes"], row["downtime_minutes"]) for row in rows} == {(None, None)}

    sick: Any = {"time": NOON, "employee_id": site.employee, "status": "sick"}
    assert q.record_attendance(o, [sick]) == 1
    came = {**sick, "status": "late", "hours_worked": 6.5, "performance_score": 80}
    assert q.record_attendance(o, [came], replace=False) == 0
    assert q.record_attendance(o, [came]) == 1
    (row,) = q.get_attendance(o, start=NOON, end=NOON + HOUR)
    assert (row["status"], row["hours_worked"], row["scheduled_hours"]) == ("late", Decimal("6.5"), 8)
    assert q.get_attendance_rate(o, start=NOON - DAY, end=NOON + DAY)[0]["attendance_rate"] == 100


@pytest.mark.thorough
def test_all_rows_are_written_or_none(site: Site) -> None:
    """The last of two pages is bad: an invalid value, a violated constraint, or a dangling reference."""
    q, o = site.queries, site.organization

    def samples(last: dict[str, Any]) -> Iterator[Any]:
        for number in range(5_500):
            yield {
                "time": NOON + dt.timedelta(seconds=number),
                "resource_id": site.resource,
                "utilization_pct": 5,
            }
        yield {"time": NOON - DAY, "resource_id": site.resource, **last}

    for last, error in (
        ({"utilization_pct": float("inf")}, InvalidInputError),
        ({"utilization_pct": 101}, InvalidInputError),
        ({"downtime_minutes": 20, "sample_minutes": 10}, CheckViolationError),
        ({"resource_id": uuid.uuid4()}, NotFoundError),
    ):
        refused(site, error, lambda last=last: q.record_resource_metrics(o, samples(last)))  # type: ignore[misc]
        assert site.count("resource_metrics") == 0
    assert q.record_resource_metrics(o, samples({})) == 5_501
    assert site.count("resource_metrics") == 5_501


def test_nothing_to_write_is_nothing(site: Site) -> None:
    assert site.queries.record_events(site.organization, []) == 0
    assert site.queries.save_demand_forecasts(site.organization, [], **RUN) == 0


@pytest.mark.parametrize("kind", ["pandas", "indexed", "polars", "arrow", "records"])
def test_a_frame_is_rows_and_what_is_missing_in_it_is_not_known(db: DatabaseManager, kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    q = OperationalDataQueries(db)
    organization = q.create_organization("Frame", industry="x")["organization_id"]
    place = q.create_location(organization, "Hall", location_type="factory", timezone="UTC")["location_id"]
    pandas_frame = pandas.DataFrame(
        {
            "time": pandas.date_range(NOON, periods=3, freq="h"),
            "product_id": "P",
            "location_id": str(place),
            "quantity": [1, 2.5, 3],
            "revenue": [float("nan"), 7.25, None],
        }
    )
    frame: Any = {
        "pandas": lambda: pandas_frame,
        "indexed": lambda: pandas_frame.set_index("time"),
        "polars": lambda: pytest.importorskip("polars").from_pandas(pandas_frame),
        "arrow": lambda: pytest.importorskip("pyarrow").Table.from_pandas(pandas_frame),
        "records": lambda: pandas_frame.to_dict("records"),
    }[kind]()
    assert q.record_demand(organization, frame) == 3
    rows = q.get_demand_history(organization, "P", start=NOON)
    assert [(row["quantity"], row["revenue"]) for row in rows] == [
        (1, None),
        (Decimal("2.5"), Decimal("7.25")),
        (3, None),
    ]


def test_what_is_wrong_in_a_frame_is_named_with_its_row(db: DatabaseManager) -> None:
    pandas = pytest.importorskip("pandas")
    q = OperationalDataQueries(db)
    organization = q.create_organization("Frame", industry="x")["organization_id"]
    place = q.create_location(organization, "Hall", location_type="factory", timezone="UTC")["location_id"]
    good = {"time": NOON, "event_type": "idle", "location_id": str(place), "quantity": pandas.NA}
    for wrong, said in (
        ({"event_type": "a nap"}, r"row 2: event_type is 'a nap': give one of production, setup"),
        ({"time": pandas.NaT}, r"row 2 lacks time"),
        ({"mood": pandas.NA}, r"row 2 has a key 'mood'"),
        ({"duration_minutes": float("inf")}, r"row 2: duration_minutes is Infinity"),
    ):
        rows = [good, {**good, **wrong}]
        with pytest.raises(InvalidInputError, match=said):
            q.record_events(organization, rows)
    assert q.get_events(organization, start=NOON - dt.timedelta(days=1)) == []


@pytest.mark.parametrize("scope", ["owner", "tenant"])
def test_rows_in_the_columnstore_are_found_corrected_and_joined_by_late_ones(
    db: DatabaseManager, scope: str
) -> None:
    owner = OperationalDataQueries(db)
    o = owner.create_organization("Archive", industry="x")["organization_id"]
    place = owner.create_location(o, "Hall", location_type="factory", timezone="UTC")["location_id"]
    machine = owner.create_resource(o, "Press", location_id=place, resource_type="press")["resource_id"]
    person = owner.create_employee(o, "Ada", location_id=place, employee_code="1", role="x")["employee_id"]
    q = owner if scope == "owner" else OperationalDataQueries(db.tenant(o))
    long_ago = dt.datetime(2019, 3, 4, tzinfo=dt.UTC)

    def rows(first: int, last: int, **changes: Any) -> dict[str, list[Any]]:
        times = [long_ago + number * HOUR for number in range(first, last)]
        return {
            "operational_events": [
                {
                    "time": time,
                    "event_id": uuid.uuid5(o, time.isoformat()),
                    "event_type": "production",
                    "resource_id": machine,
                    **({"quantity": 5} | changes),
                }
                for time in times
            ],
            "demand_history": [
                {"time": time, "product_id": "P", "location_id": place, **({"quantity": 5} | changes)}
                for time in times
            ],
            "resource_metrics": [
                {"time": time, "resource_id": machine, "utilization_pct": changes.get("quantity", 5)}
                for time in times
            ],
            "employee_attendance": [
                {
                    "time": time,
                    "employee_id": person,
                    "status": "present",
                    "hours_worked": changes.get("quantity", 5),
                }
                for time in times
            ],
        }

    record: dict[str, Callable[..., int]] = {
        "operational_events": q.record_events,
        "demand_history": q.record_demand,
        "resource_metrics": q.record_resource_metrics,
        "employee_attendance": q.record_attendance,
    }
    for table, batch in rows(0, 300).items():
        assert record[table](o, batch) == 300
    if schema.edition(db) == "community":
        for table in record:
            chunks = db.execute_query(
                "SELECT compress_chunk(c) FROM show_chunks(%s::regclass, older_than => timestamptz '2020-01-01') AS c",
                (table,),
            )
            assert chunks
    for table, batch in rows(0, 300).items():
        assert record[table](o, batch, replace=False) == 0
        assert record[table](o, batch, replace=True) == 0
    for table, batch in rows(250, 320, quantity=7).items():
        assert record[table](o, batch, replace=False) == 20, "the late ones"
        assert record[table](o, batch, replace=True) == 50, "the corrected ones"
    total = sum(
        row["quantity"] for row in q.get_demand_history(o, "P", start=long_ago, end=long_ago + 30 * DAY)
    )
    assert total == 250 * 5 + 70 * 7
