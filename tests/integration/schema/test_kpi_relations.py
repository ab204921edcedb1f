"""KPIs of random plants compared with the timeline of single minutes, and relations that hold for any data.

`PLANTS=500` draws this many new plants for each test; without it there are few, always the same.
"""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.conftest import compared, fresh_database
from tests.support import kpi_reference
from tests.support.plants import (
    DAY,
    EVER,
    Event,
    Machine,
    Plant,
    Shift,
    Version,
    plants,
    row_of,
    write,
    write_events,
)

pytestmark = pytest.mark.slow

MANY = os.environ.get("PLANTS")
drawn = settings(
    max_examples=int(MANY or 12),
    derandomize=MANY is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
PERIODS = [(0, 3 * DAY), (0, DAY), (DAY, 2 * DAY), (2 * DAY, 3 * DAY)]
SHARES = kpi_reference.SHARES
MACHINE_KPIS = sorted(SHARES | {"effectiveness", "throughput_rate", "mtbf", "mttr"})
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def db(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """One database for all plants: each is an organization, next to all the others."""
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        yield db


def kpis(db: DatabaseManager, org: UUID, plant: Plant, period: tuple[int, int]) -> Rows:
    """The product's figures of the organization."""
    rows = db.execute_query(
        "SELECT * FROM operational_kpis(%s, %s, %s, 'organization')",
        (org, plant.time(period[0]), plant.time(period[1])),
    )
    return {r["kpi"]: r for r in rows}


def sides(rows: Rows) -> dict[str, tuple[Any, ...]]:
    """The figures that must stay the same: value, numerator, denominator, coverage and reason, to nine digits."""

    def digits(figure: Any) -> float | None:
        return None if figure is None else round(float(figure), 9)

    return {
        kpi: (*map(digits, (r["value"], r["numerator"], r["denominator"], r["coverage_pct"])), r["reason"])
        for kpi, r in rows.items()
    }


def agree(rows: Rows, expected: kpi_reference.Answers, *, has_events: bool) -> int:
    """Compare each KPI with the reference; return the number of figures.

    For an impossible share, numerator and denominator match and the value is NULL, with the reason.
    """
    for kpi in MACHINE_KPIS:
        row, right = rows[kpi], expected[kpi]
        assert (row["value"] is None) == (row["reason"] is not None), row
        if not has_events:
            assert row["value"] is None, row
        elif right is None:
            assert row["value"] is None, (kpi, row)
        elif kpi_reference.is_impossible(kpi, right):
            assert row["value"] is None, (kpi, row, float(right))
            assert row["reason"].startswith("impossible"), (kpi, row)
            assert 100 * float(row["numerator"]) / float(row["denominator"]) == pytest.approx(float(right))
            compared("shares that cannot be", 1)
        else:
            assert row["value"] is not None, (kpi, row, float(right))
            assert float(row["value"]) == pytest.approx(float(right), rel=1e-9, abs=1e-9), (kpi, row)
    return len(MACHINE_KPIS)


def has_events(plant: Plant, period: tuple[int, int], number: int | None = None) -> bool:
    """Whether anything counted by a KPI overlaps the period."""
    return any(
        e.machine is not None
        and number in (None, e.machine)
        and (
            (period[0] < e.start + (e.minutes or 0) and e.start < period[1])
            or period[0] <= e.start < period[1]
        )
        for e in plant.events
    )


# One minute of a shift in which a machine of 60 pieces an hour makes two: effectiveness is 200 %, OEE would be.
FASTER_THAN_RATED = Plant(
    datetime(2025, 9, 5, tzinfo=UTC),
    "America/Santiago",
    (uuid.UUID(int=1),),
    (Machine((Version(EVER, 0, 60, "pieces"),), uuid.UUID(int=2)),),
    (Shift(0, 0, 1),),
    (Event(0, 0, "production", 0, 1, Fraction(2), Fraction(0), event_id=uuid.UUID(int=3)),),
)


@drawn
@given(plants(), st.tuples(st.integers(0, 3 * DAY), st.integers(0, 3 * DAY)))
@example(FASTER_THAN_RATED, (0, 1))
def test_kpis_are_those_of_the_single_minutes(
    db: DatabaseManager, plant: Plant, odd: tuple[int, int]
) -> None:
    assume(kpi_reference.is_uniform(plant) and odd[0] != odd[1])
    org = write(db, plant)
    for period in (*PERIODS, (min(odd), max(odd))):
        rows = kpis(db, org, plant, period)
        found = agree(
            rows,
            kpi_reference.organization_kpis(plant, period),
            has_events=has_events(plant, period),
        )
        compared("KPIs of drawn plants", found)
    by_resource = db.execute_query(
        "SELECT * FROM operational_kpis(%s, %s, %s, 'resource')", (org, plant.time(0), plant.time(3 * DAY))
    )
    for number, machine in enumerate(plant.machines):
        own = {r["kpi"]: r for r in by_resource if r["resource_id"] == machine.resource_id}
        if not has_events(plant, (0, 3 * DAY), number) or not own:
            continue
        found = agree(own, kpi_reference.resource_kpis(plant, number, (0, 3 * DAY)), has_events=True)
        compared("KPIs of drawn machines", found)


@drawn
@given(plants())
def test_standstill_by_cause_counts_each_minute_once(db: DatabaseManager, plant: Plant) -> None:
    org = write(db, plant)
    for period in PERIODS:
        rows = OperationalDataQueries(db).get_downtime_by_cause(
            org, start=plant.time(period[0]), end=plant.time(period[1])
        )
        answer = {(r["event_type"], r["cause"]): r["downtime_minutes"] for r in rows if r["downtime_minutes"]}
        expected = kpi_reference.downtime_by_cause(plant, period)
        assert {k: pytest.approx(float(v)) for k, v in expected.items()} == {
            k: float(v) for k, v in answer.items()
        }
        compared("minutes of standstill by cause", len(expected))


@drawn
@given(plants(), st.lists(st.integers(1, 3 * DAY - 1), min_size=1, max_size=4, unique=True))
def test_parts_of_a_period_add_up(db: DatabaseManager, plant: Plant, cuts: list[int]) -> None:
    org = write(db, plant)
    edges = [0, *sorted(cuts), 3 * DAY]
    whole = kpis(db, org, plant, (0, 3 * DAY))
    parts = [kpis(db, org, plant, (a, b)) for a, b in itertools.pairwise(edges)]
    for kpi in ("availability", "oee", "effectiveness", "quality_ratio", "utilisation_efficiency", "mttr"):
        for side in ("numerator", "denominator"):
            if any(p[kpi]["reason"] not in (None, "no events in the period") for p in [whole, *parts]):
                continue  # what is left out of the whole may be left out of another part
            total = sum(float(p[kpi][side] or 0) for p in parts)
            assert total == pytest.approx(float(whole[kpi][side] or 0), rel=1e-9, abs=1e-6), (kpi, side)
            compared("sums of parts", 1)


@drawn
@given(plants(), st.randoms(use_true_random=False))
def test_order_of_arrival_changes_nothing(db: DatabaseManager, plant: Plant, chance: random.Random) -> None:
    order = list(range(len(plant.events)))
    first = write(db, plant, order=order)
    chance.shuffle(order)
    second = write(db, twin_of(plant), order=order)
    same(db, plant, first, second)


def fresh_twin(plant: Plant) -> tuple[Plant, tuple[Event, ...]]:
    """The same plant under other identifiers: two organizations share none."""
    machines = tuple(replace(m, resource_id=uuid.uuid4()) for m in plant.machines)
    locations = tuple(uuid.uuid4() for _ in plant.locations)
    # The order of identifiers decides between events that began at once, so it is kept.
    places = {e.event_id: n for n, e in enumerate(sorted(plant.events, key=lambda e: e.event_id))}
    fresh = sorted(uuid.uuid4() for _ in plant.events)
    events = tuple(replace(e, event_id=fresh[places[e.event_id]]) for e in plant.events)
    return replace(plant, machines=machines, locations=locations), events


def same(db: DatabaseManager, plant: Plant, first: UUID, second: UUID) -> None:
    """Two organizations have the same KPIs in all periods."""
    for period in PERIODS:
        assert sides(kpis(db, first, plant, period)) == sides(kpis(db, second, plant, period))
        compared("figures of twins", 12)


@drawn
@given(plants(), st.data())
def test_an_event_cut_in_two_changes_nothing(db: DatabaseManager, plant: Plant, data: st.DataObject) -> None:
    long = [e for e in plant.events if (e.minutes or 0) >= 2]
    assume(long)
    event = data.draw(st.sampled_from(long))
    assert event.minutes is not None
    at = data.draw(st.integers(1, event.minutes - 1))
    share = Fraction(at, event.minutes)

    def part(quantity: Fraction | None, portion: Fraction) -> Fraction | None:
        return None if quantity is None else quantity * portion

    first = replace(event, minutes=at, quantity=part(event.quantity, share), scrap=part(event.scrap, share))
    rest = replace(
        event,
        event_id=uuid.uuid4(),
        start=event.start + at,
        minutes=event.minutes - at,
        quantity=part(event.quantity, 1 - share),
        scrap=part(event.scrap, 1 - share),
    )
    org = write(db, plant)
    twin, events = fresh_twin(plant)
    ids = {e.event_id: n.event_id for e, n in zip(plant.events, events, strict=True)}
    others = [n for n in events if n.event_id != ids[event.event_id]]
    cut = write(db, replace(twin, events=(*others, replace(first, event_id=ids[event.event_id]), rest)))
    for period in PERIODS:
        whole = sides(kpis(db, org, plant, period))
        for kpi, parts in sides(kpis(db, cut, plant, period)).items():
            # The parts' quantities have fifteen digits.
            assert whole[kpi] == tuple(
                pytest.approx(side, rel=1e-6) if isinstance(side, float) else side for side in parts
            ), kpi
            compared("figures of events cut in two", 1)


@drawn
@given(plants(), plants())
def test_neighbours_and_second_writing_change_nothing(
    db: DatabaseManager, plant: Plant, neighbour: Plant
) -> None:
    org = write(db, plant)
    before = [sides(kpis(db, org, plant, period)) for period in PERIODS]
    write(db, neighbour)
    written = db.execute_many(
        "INSERT INTO operational_events (organization_id, event_id, time, location_id, resource_id, event_type, "
        "duration_minutes, quantity, scrap_quantity, cause) VALUES %s ON CONFLICT DO NOTHING",
        [row_of(org, plant, e) for e in plant.events],
    )
    assert written == 0
    assert [sides(kpis(db, org, plant, period)) for period in PERIODS] == before
    compared("figures beside neighbours", 12 * len(PERIODS))


@drawn
@given(plants(), st.data())
def test_what_happens_to_machines_today_changes_no_past_figure(
    db: DatabaseManager, plant: Plant, data: st.DataObject
) -> None:
    org, queries = write(db, plant), OperationalDataQueries(db)
    before = [sides(kpis(db, org, plant, period)) for period in PERIODS]
    machine = data.draw(st.sampled_from(plant.machines)).resource_id
    elsewhere = queries.create_location(org, "Elsewhere", location_type="factory", timezone="Asia/Tokyo")[
        "location_id"
    ]
    db.execute(
        "UPDATE resources SET location_id = %s, rated_capacity_per_hour = 1, capacity_unit = 'tons' "
        "WHERE organization_id = %s AND resource_id = %s",
        (elsewhere, org, machine),
    )
    queries.set_resource_status(org, machine, status="retired")
    assert [sides(kpis(db, org, plant, period)) for period in PERIODS] == before
    compared("figures after a retirement", 12 * len(PERIODS))


@drawn
@given(plants(), st.data())
def test_late_changed_and_deleted_rows_and_refreshes(
    db: DatabaseManager, plant: Plant, data: st.DataObject
) -> None:
    """After each change, refreshed or not, the KPIs equal those of a plant that was like this from the start."""
    assume(plant.events)
    late = set(data.draw(st.lists(st.sampled_from(range(len(plant.events))), max_size=4)))
    org = write(db, plant, order=[n for n in range(len(plant.events)) if n not in late])
    if data.draw(st.booleans()):
        schema.refresh_rollups(db)
    write_events(db, org, plant, [plant.events[n] for n in sorted(late)])
    whole = write(db, twin_of(plant))
    same(db, plant, org, whole)
    if data.draw(st.booleans()):
        schema.refresh_rollups(db)
        same(db, plant, org, whole)
    gone = data.draw(st.integers(0, len(plant.events) - 1))
    for organization_id, event_id in (
        (org, plant.events[gone].event_id),
        (
            whole,
            db.execute_query(
                "SELECT event_id FROM operational_events WHERE organization_id = %s ORDER BY event_id",
                (whole,),
            )[sorted(e.event_id for e in plant.events).index(plant.events[gone].event_id)]["event_id"],
        ),
    ):
        db.execute(
            "DELETE FROM operational_events WHERE organization_id = %s AND event_id = %s",
            (organization_id, event_id),
        )
    same(db, plant, org, whole)
    never = replace(plant, events=tuple(e for n, e in enumerate(plant.events) if n != gone))
    same(db, plant, org, write(db, twin_of(never)))


def twin_of(plant: Plant) -> Plant:
    """The same plant as another organization."""
    twin, events = fresh_twin(plant)
    return replace(twin, events=events)


@drawn
@given(plants())
def test_shares_lie_between_0_and_100_and_what_is_missing_says_why(db: DatabaseManager, plant: Plant) -> None:
    org = write(db, plant)
    for level in ("organization", "location", "resource"):
        for row in db.execute_query(
            "SELECT * FROM operational_kpis(%s, %s, %s, %s)",
            (org, plant.time(0), plant.time(3 * DAY), level),
        ):
            assert (row["value"] is None) == (row["reason"] is not None), row
            if row["kpi"] in SHARES and row["value"] is not None:
                assert 0 <= row["value"] <= 100, row
            assert row["value"] is None or row["value"] >= 0, row
            if row["coverage_pct"] is not None:
                assert 0 <= row["coverage_pct"] <= 100, row
            compared("shares looked at", 1)


@drawn
@given(plants(), st.sampled_from(["Asia/Kolkata", "America/Santiago", "Pacific/Apia", "Atlantic/Azores"]))
def test_the_session_changes_nothing(db: DatabaseManager, plant: Plant, zone: str) -> None:
    org = write(db, plant)
    usual = [sides(kpis(db, org, plant, period)) for period in PERIODS]
    with db.transaction() as tx:
        tx.execute("SET LOCAL TimeZone = '" + zone + "'")
        tx.execute("SET LOCAL DateStyle = 'SQL, DMY'")
        tx.execute("SET LOCAL IntervalStyle = 'sql_standard'")
        assert [sides(kpis(tx, org, plant, period)) for period in PERIODS] == usual  # type: ignore[arg-type]
    compared("figures under other settings", 12 * len(PERIODS))


@drawn
@given(plants())
def test_sql_python_and_tenant_give_the_same_answer(db: DatabaseManager, plant: Plant) -> None:
    org = write(db, plant)
    period = {"start": plant.time(0), "end": plant.time(3 * DAY)}
    in_sql = sides(kpis(db, org, plant, (0, 3 * DAY)))
    in_python = sides({r["kpi"]: r for r in OperationalDataQueries(db).get_kpi_summary(org, **period)})
    with db.tenant(org) as scope:
        as_tenant = sides({r["kpi"]: r for r in OperationalDataQueries(scope).get_kpi_summary(org, **period)})
    assert in_sql == in_python == as_tenant
    compared("figures asked in three ways", 36)
