"""What the writes write: as the owner, in a tenant's scope, and inside a caller's transaction."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.errors import (
    CheckViolationError,
    ExclusionViolationError,
    ForeignKeyViolationError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UniqueViolationError,
)
from db_utils.operational import DifferentValuesError, UnknownReferenceError, WrongStateError
from tests.conftest import fresh_database

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
NOON = dt.datetime(2024, 5, 6, 12, tzinfo=dt.UTC)
RUN: dict[str, Any] = {"model_name": "prophet", "model_version": "1", "available_at": NOON}


@pytest.fixture(scope="module")
def db(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as manager:
        if schema.edition(manager) == "community":  # the tests alone decide what is in the columnstore
            manager.execute_query(
                "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
            )
        yield manager


@dataclass
class Site:
    """An organization of a test's own with one of everything, and three ways to write to it."""

    queries: OperationalDataQueries
    owner: OperationalDataQueries
    db: Any
    organization: uuid.UUID
    location: uuid.UUID
    resource: uuid.UUID
    employee: uuid.UUID

    def count(self, table: str) -> int:
        rows = self.db.execute_query(
            f"SELECT count(*) AS n FROM {table} WHERE organization_id = %s", (self.organization,)
        )
        return int(rows[0]["n"])


@pytest.fixture(params=["owner", "tenant", "transaction"])
def site(db: DatabaseManager, request: pytest.FixtureRequest) -> Iterator[Site]:
    owner = OperationalDataQueries(db)
    organization = owner.create_organization("Acme", industry="manufacturing", timezone="Europe/Paris")[
        "organization_id"
    ]
    location = owner.create_location(organization, "Hall", location_type="factory", timezone="Europe/Paris")[
        "location_id"
    ]
    resource = owner.create_resource(
        organization, "Press", location_id=location, resource_type="press", rated_capacity_per_hour=10
    )["resource_id"]
    employee = owner.create_employee(
        organization, "Ada", location_id=location, employee_code="1", role="operator", skills=["press"]
    )["employee_id"]

    def site_on(executor: Any) -> Site:
        return Site(
            OperationalDataQueries(executor), owner, executor, organization, location, resource, employee
        )

    if request.param == "owner":
        yield site_on(db)
    elif request.param == "tenant":
        yield site_on(db.tenant(organization))
    else:
        with db.transaction() as transaction:
            yield site_on(transaction)


def refused(site: Site, error: type[Exception], call: Callable[[], object], match: str | None = None) -> None:
    """The call fails like this; in a transaction it is undone alone, as a caller would have it."""
    with pytest.raises(error, match=match):
        nested(site, call)


def nested(site: Site, call: Callable[[], object]) -> None:
    """The call in a transaction inside whatever there is."""
    outside = site.queries._db
    with site.db.transaction() as inner:
        site.queries._db = inner
        try:
            call()
        finally:
            site.queries._db = outside


# -- things --------------------------------------------------------------------------------------------------


def test_what_was_created_is_returned_and_found(site: Site) -> None:
    q, o = site.queries, site.organization
    identity = uuid.uuid4()
    location = q.create_location(
        o,
        "Depot",
        location_type="depot",
        timezone="Asia/Tokyo",
        address="1 Road",
        latitude_degrees=35.5,
        longitude_degrees=Decimal("139.123456789012345678"),
        metadata={"gates": [1, 2], "open": True, "note": 'a "quoted" % text'},
        location_id=str(identity),
    )
    assert location["location_id"] == identity
    assert location["longitude_degrees"] == Decimal("139.123456789012345678")
    assert location["metadata"] == {"gates": [1, 2], "open": True, "note": 'a "quoted" % text'}
    assert location in q.get_locations(o, location_type="depot")

    resource = q.create_resource(
        o, "Van", location_id=identity, resource_type="vehicle", capacity_unit="parcels"
    )
    assert resource["status"] == "running"
    assert resource["rated_capacity_per_hour"] is None
    assert q.get_resources(o, resource_type="vehicle") == [resource]

    employee = q.create_employee(
        o,
        "Grace",
        location_id=identity,
        employee_code="2",
        role="driver",
        skills=["driving", "sorting", "driving"],
        hired_on_date=dt.date(2020, 2, 29),
        is_active=False,
    )
    assert employee["skills"] == ["driving", "sorting"]
    assert q.get_employees(o, location_id=identity) == []
    assert q.get_employees(o, location_id=identity, include_inactive=True) == [employee]
    assert q.get_skills(o) == [{"skill": "press", "employee_count": 1}]


def test_names_are_taken_once(site: Site) -> None:
    q, o = site.queries, site.organization
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_location(o, "Hall", location_type="office", timezone="UTC"),
    )
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_resource(o, "Press", location_id=site.location, resource_type="press"),
    )
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_employee(o, "Bob", location_id=site.location, employee_code="1", role="operator"),
    )


def test_a_time_zone_must_be_one(site: Site) -> None:
    refused(
        site,
        CheckViolationError,
        lambda: site.queries.create_location(
            site.organization, "Moon", location_type="office", timezone="Moon/Tycho"
        ),
    )


def test_status_and_skills_can_change(site: Site) -> None:
    q, o = site.queries, site.organization
    assert q.set_resource_status(o, site.resource, status="down")["status"] == "down"
    assert q.get_resource_status(o)[0]["status"] == "down"
    assert q.set_employee_skills(o, site.employee, skills=("welding", "press"))["skills"] == [
        "welding",
        "press",
    ]
    assert q.set_employee_skills(o, site.employee, skills=[])["skills"] == []
    for call in (
        lambda: q.set_resource_status(o, uuid.uuid4(), status="idle"),
        lambda: q.set_employee_skills(o, uuid.uuid4(), skills=[]),
    ):
        with pytest.raises(NotFoundError, match="does not exist in organization"):
            call()


def test_what_is_not_there_cannot_be_referred_to(site: Site) -> None:
    q, o, nowhere = site.queries, site.organization, uuid.uuid4()
    calls: dict[str, Callable[[], object]] = {
        "location_id": lambda: q.create_resource(o, "X", location_id=nowhere, resource_type="x"),
        "resource_id": lambda: q.raise_alert(o, "X", severity="low", alert_type="x", resource_id=nowhere),
        "anomaly_id": lambda: q.raise_alert(o, "X", severity="low", alert_type="x", anomaly_id=nowhere),
        "employee_id": lambda: q.record_attendance(
            o, [{"time": NOON, "employee_id": nowhere, "status": "present"}]
        ),
        "shift_id": lambda: q.record_attendance(
            o, [{"time": NOON, "employee_id": site.employee, "shift_id": nowhere, "status": "present"}]
        ),
    }
    for argument, call in calls.items():
        refused(site, UnknownReferenceError, call, f"{argument} names no row")
        refused(site, NotFoundError, call)
        refused(site, ForeignKeyViolationError, call)
    assert site.count("alerts") == site.count("employee_attendance") == 0


# -- rows, many at a time ------------------------------------------------------------------------------------


def test_events_may_be_sent_twice(site: Site) -> None:
    q, o = site.queries, site.organization
    identities = [uuid.uuid4() for _ in range(3)]
    events: list[Any] = [
        {
            "time": NOON + number * HOUR,
            "event_id": identity,
            "resource_id": site.resource,
            "event_type": "production",
            "quantity": Decimal("1234567890123456789.0123456789"),
            "scrap_quantity": 0.1,
            "quality_score": 99,
            "duration_minutes": 30,
            "metadata": {"batch": number},
        }
        for number, identity in enumerate(identities)
    ]
    assert q.record_events(o, events) == 3
    assert q.record_events(o, [*events, *events]) == 0
    assert q.record_events(o, events, replace=True) == 0
    corrected = {**events[1], "quantity": 7, "scrap_quantity": None}
    assert q.record_events(o, [corrected]) == 0, "kept as it was"
    assert q.record_events(o, [corrected, events[0]], replace=True) == 1
    rows = q.get_events(o, start=NOON, end=NOON + DAY)
    assert [row["event_id"] for row in rows] == identities[::-1]
    assert rows[0]["quantity"] == Decimal("1234567890123456789.0123456789")
    assert rows[0]["scrap_quantity"] == Decimal("0.1")
    assert rows[0]["metadata"] == {"batch": 2}
    assert rows[1]["quantity"] == 7
    assert rows[1]["scrap_quantity"] is None
    assert {row["location_id"] for row in rows} == {site.location}, "where the resource stands"


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


def test_the_last_of_two_in_one_batch_counts_where_rows_are_replaced(site: Site) -> None:
    q, o = site.queries, site.organization
    first, second = (
        {"time": NOON, "product_id": "P", "location_id": site.location, "quantity": quantity}
        for quantity in (1, 2)
    )
    assert q.record_demand(o, [first, second], replace=False) == 1
    assert q.get_demand_history(o, "P", start=NOON)[0]["quantity"] == 1
    assert q.record_demand(o, [first, second]) == 1
    assert q.get_demand_history(o, "P", start=NOON)[0]["quantity"] == 2
    assert q.record_demand(o, [second]) == 0


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
    assert {row["sample_minutes"] for row in rows} == {1}

    sick: Any = {"time": NOON, "employee_id": site.employee, "status": "sick"}
    assert q.record_attendance(o, [sick]) == 1
    came = {**sick, "status": "late", "hours_worked": 6.5, "performance_score": 80}
    assert q.record_attendance(o, [came], replace=False) == 0
    assert q.record_attendance(o, [came]) == 1
    (row,) = q.get_attendance(o, start=NOON, end=NOON + HOUR)
    assert (row["status"], row["hours_worked"], row["scheduled_hours"]) == ("late", Decimal("6.5"), 8)
    assert q.get_attendance_rate(o, start=NOON - DAY, end=NOON + DAY)[0]["attendance_rate"] == 100


def test_all_rows_are_written_or_none(site: Site) -> None:
    """The last of several pages is bad: by itself, by a rule of the table, by a reference."""
    q, o = site.queries, site.organization

    def samples(last: dict[str, Any]) -> Iterator[Any]:
        for number in range(12_000):
            yield {
                "time": NOON + dt.timedelta(seconds=number),
                "resource_id": site.resource,
                "utilization_pct": 5,
            }
        yield {"time": NOON - DAY, "resource_id": site.resource, **last}

    for last, error in (
        ({"utilization_pct": float("nan")}, InvalidInputError),
        ({"utilization_pct": 101}, CheckViolationError),
        ({"resource_id": uuid.uuid4()}, NotFoundError),
    ):
        refused(site, error, lambda last=last: q.record_resource_metrics(o, samples(last)))  # type: ignore[misc]
        assert site.count("resource_metrics") == 0
    assert q.record_resource_metrics(o, samples({})) == 12_001
    assert site.count("resource_metrics") == 12_001


def test_nothing_to_write_is_nothing(site: Site) -> None:
    assert site.queries.record_events(site.organization, []) == 0
    assert site.queries.save_demand_forecasts(site.organization, [], **RUN) == 0


# -- predictions ---------------------------------------------------------------------------------------------


def forecasts(site: Site, count: int = 5, quantity: int = 10) -> list[Any]:
    return [
        {
            "product_id": "P",
            "location_id": site.location,
            "target_time": NOON + (1 + number) * DAY,
            "predicted_quantity": quantity + number,
            "lower_bound": 1,
            "upper_bound": 99.5,
        }
        for number in range(count)
    ]


def test_a_forecast_run_is_saved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    assert q.save_demand_forecasts(o, forecasts(site), **RUN) == 5
    assert q.save_demand_forecasts(o, forecasts(site), **RUN) == 0
    assert q.save_demand_forecasts(o, [*forecasts(site, 7), *forecasts(site)], **RUN) == 2
    stored = q.get_current_demand_forecasts(o, start=NOON)
    assert [row["predicted_quantity"] for row in stored] == [10, 11, 12, 13, 14, 15, 16]
    assert {row["target_interval"] for row in stored} == {DAY}
    assert {row["interval_coverage_pct"] for row in stored} == {90}


@pytest.mark.parametrize(
    "change",
    [
        {"predicted_quantity": 10.001},
        {"lower_bound": None, "upper_bound": None},
        {"target_interval": HOUR},
        {"interval_coverage_pct": 80},
        {"metadata": {"why": "second thoughts"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_said_cannot_be_said_otherwise(site: Site, change: dict[str, Any]) -> None:
    q, o = site.queries, site.organization
    q.save_demand_forecasts(o, forecasts(site, 3), **RUN)
    other = [{**forecasts(site)[0], **change}, forecasts(site)[4]]
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_demand_forecasts(o, other, **RUN),
        "saved before with other values.*product_id P.*save a newer run",
    )
    refused(site, UniqueViolationError, lambda: q.save_demand_forecasts(o, other, **RUN))
    assert site.count("demand_forecasts") == 3, "nothing of the refused run was kept"
    newer = {**RUN, "available_at": NOON + HOUR}
    assert q.save_demand_forecasts(o, other, **newer) == 2
    assert site.count("demand_forecasts") == 5, "a newer run erases nothing"


def test_a_run_that_contradicts_itself_is_refused(site: Site) -> None:
    twice = [forecasts(site)[0], {**forecasts(site)[0], "predicted_quantity": 11}]
    refused(
        site,
        DifferentValuesError,
        lambda: site.queries.save_demand_forecasts(site.organization, twice, **RUN),
    )


def test_a_forecast_of_hours(site: Site) -> None:
    row = {**forecasts(site)[0], "target_interval": dt.timedelta(hours=1, minutes=30, microseconds=5)}
    assert site.queries.save_demand_forecasts(site.organization, [row], **RUN) == 1
    (stored,) = site.queries.get_demand_forecasts_as_of(site.organization, as_of=NOON)
    assert stored["target_interval"] == row["target_interval"]


def anomaly(site: Site, **changes: Any) -> Any:
    return {
        "resource_id": site.resource,
        "anomaly_type": "bottleneck",
        "severity": "high",
        "probability": 0.75,
        "predicted_for": NOON + DAY,
        "description": "the press is slow",
        **changes,
    }


def test_an_anomaly_run_is_saved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    run = [anomaly(site), anomaly(site, anomaly_type="failure", metadata={"hours": 5})]
    assert q.save_anomaly_predictions(o, run, **RUN) == 2
    assert q.save_anomaly_predictions(o, run, **RUN) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_anomaly_predictions(o, [anomaly(site, probability=0.5)], **RUN),
    )
    assert q.save_anomaly_predictions(o, run, **{**RUN, "model_version": "2"}) == 2
    assert len(q.get_active_anomaly_predictions(o)) == 4
    assert len(q.get_recent_bottlenecks(o)) == 2
    own = uuid.uuid4()
    assert q.save_anomaly_predictions(o, [anomaly(site, anomaly_id=own, probability=1)], **RUN) == 1
    assert q.get_active_anomaly_predictions(o)[0]["anomaly_id"] == own


def test_an_anomaly_is_acknowledged_then_closed_once(site: Site) -> None:
    q, o = site.queries, site.organization
    first, second = uuid.uuid4(), uuid.uuid4()
    q.save_anomaly_predictions(o, [anomaly(site, anomaly_id=first), anomaly(site, anomaly_id=second)], **RUN)
    assert q.acknowledge_anomaly_prediction(o, first)["status"] == "acknowledged"
    with pytest.raises(WrongStateError, match="is acknowledged: only an active one") as wrong:
        q.acknowledge_anomaly_prediction(o, first)
    assert wrong.value.status == "acknowledged"
    assert [row["anomaly_id"] for row in q.get_active_anomaly_predictions(o)] == [second]

    closed = q.close_anomaly_prediction(
        o, first, outcome="confirmed", occurred_at=NOON + DAY, closed_at=NOON + 2 * DAY
    )
    assert (closed["status"], closed["outcome"]) == ("closed", "confirmed")
    assert (closed["occurred_at"], closed["closed_at"]) == (NOON + DAY, NOON + 2 * DAY)
    assert q.close_anomaly_prediction(o, second, outcome="false_alarm")["occurred_at"] is None
    for call in (
        lambda: q.close_anomaly_prediction(o, first, outcome="unknown"),
        lambda: q.acknowledge_anomaly_prediction(o, second),
    ):
        with pytest.raises(WrongStateError, match="is closed"):
            call()
    for call in (
        lambda: q.close_anomaly_prediction(o, uuid.uuid4(), outcome="unknown"),
        lambda: q.acknowledge_anomaly_prediction(o, uuid.uuid4()),
    ):
        with pytest.raises(NotFoundError, match="anomaly prediction"):
            call()
    (score,) = q.get_anomaly_prediction_scores(o, start=NOON, end=NOON + 3 * DAY)
    assert (score["confirmed_count"], score["false_alarm_count"], score["precision_pct"]) == (1, 1, 50)


def test_an_absence_run_is_saved_once(site: Site) -> None:
    q, o, day = site.queries, site.organization, NOON.date() + DAY
    run: list[Any] = [
        {"target_date": day, "employee_id": site.employee, "absence_probability": 0.25},
        {"target_date": day, "location_id": site.location, "expected_absences": 1.5},
    ]
    assert q.save_absence_forecasts(o, run, **RUN) == 2
    assert q.save_absence_forecasts(o, run, **RUN) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_absence_forecasts(o, [{**run[1], "expected_absences": 2}], **RUN),
        "location_id",
    )
    rows = q.get_current_absence_forecasts(o, first_date=day)
    assert [row["expected_absences"] for row in rows] == [Decimal("1.5"), None]
    for mixed in (
        {"target_date": day},
        {"target_date": day, "employee_id": site.employee, "expected_absences": 1},
        {**run[0], **run[1]},
        {**run[0], "location_id": site.location},
    ):
        with pytest.raises(InvalidInputError, match="give employee_id and absence_probability"):
            q.save_absence_forecasts(o, [mixed], **RUN)


def test_factors_are_recorded_once_and_corrected_by_a_later_reading(site: Site) -> None:
    q, o = site.queries, site.organization
    reading: Any = {
        "time": NOON,
        "factor_type": "weather",
        "name": "temperature",
        "value": 20.5,
        "unit": "celsius",
        "available_at": NOON - DAY,
    }
    here = {**reading, "location_id": site.location, "value": 19}
    assert q.record_external_factors(o, [reading, here]) == 2
    assert q.record_external_factors(o, [reading, here]) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.record_external_factors(o, [{**reading, "value": 21}]),
        "temperature",
    )
    refused(site, DifferentValuesError, lambda: q.record_external_factors(o, [{**here, "unit": "kelvin"}]))
    later = {**reading, "value": 21, "available_at": NOON}
    assert q.record_external_factors(o, [later]) == 1

    def values(**arguments: Any) -> list[Decimal]:
        return [row["value"] for row in q.get_external_factors(o, start=NOON, end=NOON + HOUR, **arguments)]

    assert values() == [19, 21]
    assert values(as_of=NOON - HOUR) == [19, Decimal("20.5")]
    assert values(as_of=NOON - 2 * DAY) == []


# -- states --------------------------------------------------------------------------------------------------


def test_a_plan_goes_its_way(site: Site) -> None:
    q, o = site.queries, site.organization

    def plan(**arguments: Any) -> uuid.UUID:
        row = q.create_production_plan(
            o, "P", location_id=site.location, plan_date=NOON.date(), planned_quantity=100, **arguments
        )
        assert (row["status"], row["actual_quantity"]) == ("planned", None)
        identity: uuid.UUID = row["plan_id"]
        return identity

    made, dropped = plan(resource_id=site.resource, priority=1), plan()
    with pytest.raises(
        WrongStateError, match="is planned: no progress was recorded, so give actual_quantity"
    ):
        q.complete_production_plan(o, made)
    assert q.record_plan_progress(o, made, actual_quantity=40)["status"] == "in_progress"
    assert q.record_plan_progress(o, made, actual_quantity=90)["actual_quantity"] == 90
    done = q.complete_production_plan(o, made)
    assert (done["status"], done["actual_quantity"]) == ("completed", 90)
    assert q.cancel_production_plan(o, dropped)["status"] == "cancelled"
    for call in (
        lambda: q.record_plan_progress(o, made, actual_quantity=1),
        lambda: q.complete_production_plan(o, made, actual_quantity=1),
        lambda: q.cancel_production_plan(o, made),
        lambda: q.complete_production_plan(o, dropped, actual_quantity=1),
    ):
        with pytest.raises(WrongStateError, match=r"is (completed|cancelled)"):
            call()
    for call in (
        lambda: q.record_plan_progress(o, uuid.uuid4(), actual_quantity=1),
        lambda: q.complete_production_plan(o, uuid.uuid4(), actual_quantity=1),
        lambda: q.cancel_production_plan(o, uuid.uuid4()),
    ):
        with pytest.raises(NotFoundError, match="plan"):
            call()
    (efficiency,) = q.get_production_efficiency(o, first_date=NOON.date(), end_date=NOON.date() + DAY)
    assert efficiency["efficiency_pct"] == 90
    (attained,) = q.get_plan_attainment(o, first_date=NOON.date(), end_date=NOON.date() + DAY)
    assert (attained["plan_count"], attained["attainment_pct"]) == (1, 90)
    refused(site, CheckViolationError, lambda: plan_of_nothing(site))


def plan_of_nothing(site: Site) -> None:
    site.queries.create_production_plan(
        site.organization, "P", location_id=site.location, plan_date=NOON.date(), planned_quantity=0
    )


def test_shifts_and_who_works_them(site: Site) -> None:
    q, o = site.queries, site.organization

    def shift(name: str, hour: int) -> uuid.UUID:
        row = q.create_shift(
            o,
            name,
            location_id=site.location,
            starts_at=NOON + hour * HOUR,
            ends_at=NOON + (hour + 8) * HOUR,
            required_employees=1,
            required_skills=["press", "magic"],
        )
        identity: uuid.UUID = row["shift_id"]
        return identity

    early, overlapping, late = shift("early", 0), shift("overlapping", 4), shift("late", 8)
    period = {"start": NOON, "end": NOON + DAY}
    gaps = q.get_shift_coverage_gaps(o, **period)
    assert [row["missing_employees"] for row in gaps] == [1, 1, 1]
    assert [row["missing_skills"] for row in gaps] == [["magic", "press"]] * 3

    assigned = q.assign_employee(o, early, employee_id=site.employee)
    assert (assigned["status"], assigned["starts_at"], assigned["ends_at"]) == (
        "scheduled",
        NOON,
        NOON + 8 * HOUR,
    )
    assert q.assign_employee(o, late, employee_id=site.employee, status="confirmed")["status"] == "confirmed"
    with pytest.raises(WrongStateError, match=r"is assigned to shift .* already, and scheduled"):
        q.assign_employee(o, early, employee_id=site.employee)
    refused(
        site, ExclusionViolationError, lambda: q.assign_employee(o, overlapping, employee_id=site.employee)
    )
    assert (
        q.set_assignment_status(o, early, employee_id=site.employee, status="completed")["status"]
        == "completed"
    )
    with pytest.raises(WrongStateError, match="is completed"):
        q.unassign_employee(o, early, employee_id=site.employee)
    assert q.unassign_employee(o, late, employee_id=site.employee)["status"] == "cancelled"
    assert q.assign_employee(o, late, employee_id=site.employee)["status"] == "scheduled"
    assert [row["name"] for row in q.get_shift_schedule(o, **period, employee_id=site.employee)] == [
        "early",
        "late",
    ]
    gaps = q.get_shift_coverage_gaps(o, **period)
    assert [row["missing_employees"] for row in gaps] == [0, 1, 0]
    assert gaps[0]["missing_skills"] == ["magic"]
    for call in (
        lambda: q.set_assignment_status(o, overlapping, employee_id=site.employee, status="absent"),
        lambda: q.unassign_employee(o, overlapping, employee_id=site.employee),
    ):
        with pytest.raises(NotFoundError, match="assignment"):
            call()
    refused(site, NotFoundError, lambda: q.assign_employee(o, uuid.uuid4(), employee_id=site.employee))
    refused(site, NotFoundError, lambda: q.assign_employee(o, overlapping, employee_id=uuid.uuid4()))


def test_an_optimization_run_ends_once(site: Site) -> None:
    q, o = site.queries, site.organization

    def start(**arguments: Any) -> uuid.UUID:
        row = q.start_optimization_run(o, run_type="routing", algorithm="tabu", **arguments)
        assert (row["status"], row["finished_at"]) == ("running", None)
        identity: uuid.UUID = row["run_id"]
        return identity

    good, bad, dropped = start(parameters={"trucks": 3}), start(), start()
    finished = q.finish_optimization_run(
        o, good, result=[1, {"a": None}], objective_value=Decimal("12.5"), objective_unit="EUR"
    )
    assert finished["status"] == "completed"
    assert finished["result"] == [1, {"a": None}]
    assert finished["finished_at"] >= finished["started_at"]
    assert q.fail_optimization_run(o, bad, error_message="infeasible")["error_message"] == "infeasible"
    assert q.cancel_optimization_run(o, dropped)["status"] == "cancelled"
    for run in (good, bad, dropped):
        for call in (
            lambda run=run: q.finish_optimization_run(o, run, result={}),  # type: ignore[misc]
            lambda run=run: q.fail_optimization_run(o, run, error_message="x"),  # type: ignore[misc]
            lambda run=run: q.cancel_optimization_run(o, run),  # type: ignore[misc]
        ):
            with pytest.raises(WrongStateError, match="only a running one can end"):
                call()
    with pytest.raises(NotFoundError, match="optimization run"):
        q.finish_optimization_run(o, uuid.uuid4(), result={})
    assert {row["run_id"] for row in q.get_latest_optimization_runs(o)} == {good, bad, dropped}
    assert q.finish_optimization_run(o, start(), result=["a", "b"])["result"] == ["a", "b"]


def test_an_alert_is_acknowledged_and_resolved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    alert = q.raise_alert(
        o, "Hot", severity="critical", alert_type="heat", message="180 degrees", resource_id=site.resource
    )
    other = q.raise_alert(o, "Odd", severity="low", alert_type="noise", metadata={"db": 90})
    assert (alert["status"], alert["acknowledged_at"]) == ("active", None)
    assert [row["title"] for row in q.get_active_alerts(o)] == ["Hot", "Odd"]
    taken = q.acknowledge_alert(o, alert["alert_id"], acknowledged_by="ada")
    assert (taken["status"], taken["acknowledged_by"]) == ("acknowledged", "ada")
    with pytest.raises(WrongStateError, match="is acknowledged: only an active one"):
        q.acknowledge_alert(o, alert["alert_id"])
    over = q.resolve_alert(o, alert["alert_id"], resolution="cooled")
    assert (over["status"], over["resolution"], over["acknowledged_by"]) == ("resolved", "cooled", "ada")
    with pytest.raises(WrongStateError, match="is resolved") as wrong:
        q.resolve_alert(o, alert["alert_id"])
    assert wrong.value.status == "resolved"
    with pytest.raises(WrongStateError, match="is resolved"):
        q.acknowledge_alert(o, alert["alert_id"])
    assert q.resolve_alert(o, other["alert_id"])["acknowledged_at"] is None
    for call in (lambda: q.resolve_alert(o, uuid.uuid4()), lambda: q.acknowledge_alert(o, uuid.uuid4())):
        with pytest.raises(NotFoundError, match="alert"):
            call()
    assert q.get_active_alerts(o) == []
    assert len(q.get_alerts(o)) == 2


# -- organizations and scopes --------------------------------------------------------------------------------


def test_an_unknown_organization_can_be_written_to_by_nobody(db: DatabaseManager) -> None:
    q, nobody, somewhere = OperationalDataQueries(db), uuid.uuid4(), uuid.uuid4()
    calls: list[Callable[[], object]] = [
        lambda: q.create_location(nobody, "X", location_type="office", timezone="UTC"),
        lambda: q.raise_alert(nobody, "X", severity="low", alert_type="x"),
        lambda: q.start_optimization_run(nobody, run_type="other", algorithm="x"),
        lambda: q.record_demand(
            nobody, [{"time": NOON, "product_id": "P", "location_id": somewhere, "quantity": 1}]
        ),
        lambda: q.record_external_factors(
            nobody,
            [
                {
                    "time": NOON,
                    "factor_type": "holiday",
                    "name": "holiday",
                    "value": 1,
                    "unit": "flag",
                    "available_at": NOON,
                }
            ],
        ),
        lambda: q.resolve_alert(nobody, somewhere),
    ]
    for call in calls:
        with pytest.raises(NotFoundError):
            call()


def test_a_tenant_writes_to_no_other_organization(db: DatabaseManager) -> None:
    owner = OperationalDataQueries(db)
    theirs, mine = (
        owner.create_organization(name, industry="x")["organization_id"] for name in ("Theirs", "Mine")
    )
    place = owner.create_location(theirs, "Hall", location_type="factory", timezone="UTC")["location_id"]
    alert = owner.raise_alert(theirs, "Hot", severity="low", alert_type="heat")["alert_id"]
    q = OperationalDataQueries(db.tenant(mine))
    inserts: list[Callable[[], object]] = [
        lambda: q.create_location(theirs, "X", location_type="office", timezone="UTC"),
        lambda: q.record_event(theirs, time=NOON, event_type="idle", location_id=place),
        lambda: q.record_demand(
            theirs, [{"time": NOON, "product_id": "P", "location_id": place, "quantity": 1}]
        ),
        lambda: q.raise_alert(theirs, "X", severity="low", alert_type="x"),
        lambda: q.create_organization("X", industry="x"),
    ]
    for call in inserts:
        with pytest.raises((PermissionDeniedError, CheckViolationError)):
            call()
    with pytest.raises(NotFoundError):
        q.resolve_alert(theirs, alert)
    with pytest.raises(NotFoundError, match="location_id names no row of locations"):
        q.record_event(mine, time=NOON, event_type="idle", location_id=place)
    assert owner.get_active_alerts(theirs)[0]["status"] == "active"
    assert len(owner.get_locations(theirs)) == 1


def test_what_a_transaction_rolls_back_is_gone(db: DatabaseManager) -> None:
    owner = OperationalDataQueries(db)
    organization = owner.create_organization("Undone", industry="x")["organization_id"]

    def change_my_mind() -> None:
        with db.transaction() as transaction:
            OperationalDataQueries(transaction).raise_alert(organization, "X", severity="low", alert_type="x")
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        change_my_mind()
    assert owner.get_alerts(organization) == []


def test_of_many_that_resolve_an_alert_at_once_one_succeeds(db: DatabaseManager) -> None:
    q = OperationalDataQueries(db)
    organization = q.create_organization("Race", industry="x")["organization_id"]
    alert = q.raise_alert(organization, "X", severity="low", alert_type="x")["alert_id"]
    barrier = threading.Barrier(8)
    results: list[str] = []

    def resolve() -> None:
        barrier.wait(30)
        try:
            q.resolve_alert(organization, alert)
        except WrongStateError as error:
            results.append(str(error.status))
        else:
            results.append("done")

    threads = [threading.Thread(target=resolve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == ["done"] + ["resolved"] * 7


def test_of_many_that_save_a_run_at_once_each_row_is_counted_once(db: DatabaseManager) -> None:
    q = OperationalDataQueries(db)
    organization = q.create_organization("Chorus", industry="x")["organization_id"]
    place = q.create_location(organization, "Hall", location_type="factory", timezone="UTC")["location_id"]
    rows: list[Any] = [
        {
            "product_id": f"P{number % 7}",
            "location_id": place,
            "target_time": NOON + number * HOUR,
            "predicted_quantity": number,
        }
        for number in range(700)
    ]
    barrier = threading.Barrier(4)
    written: list[int] = []

    def save(shift: int) -> None:
        barrier.wait(30)
        written.append(q.save_demand_forecasts(organization, rows[shift:] + rows[:shift], **RUN))

    threads = [threading.Thread(target=save, args=(171 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(written) == 4
    assert sum(written) == 700


def test_a_frame_is_told_how_to_become_rows(db: DatabaseManager) -> None:
    pandas = pytest.importorskip("pandas")
    q = OperationalDataQueries(db)
    organization = q.create_organization("Frame", industry="x")["organization_id"]
    place = q.create_location(organization, "Hall", location_type="factory", timezone="UTC")["location_id"]
    frame = pandas.DataFrame(
        {
            "time": pandas.date_range(NOON, periods=3, freq="h"),
            "product_id": "P",
            "location_id": str(place),
            "quantity": [1, 2.5, 3],
        }
    )
    with pytest.raises(InvalidInputError, match=r"give frame\.to_dict\('records'\)"):
        q.record_demand(organization, frame)
    assert q.record_demand(organization, frame.to_dict("records")) == 3
    assert [row["quantity"] for row in q.get_demand_history(organization, "P", start=NOON)] == [
        1,
        Decimal("2.5"),
        3,
    ]


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
