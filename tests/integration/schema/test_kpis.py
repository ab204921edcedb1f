"""KPIs of cases small enough to check by hand, and of the sample data compared with a second computation."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, schema
from db_utils.errors import DbUtilsError
from tests.conftest import compared
from tests.support import kpi_reference
from tests.support.kpi_reference import KPIS

PARIS = ZoneInfo("Europe/Paris")


class Factory:
    """One organization with one location, filled row by row."""

    def __init__(self, db: DatabaseManager, timezone: str = "Europe/Paris") -> None:
        self.db = db
        self.organization_id = uuid4()
        self.location_id = uuid4()
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%s, 'Case', 'test', %s)",
            (self.organization_id, timezone),
        )
        db.execute(
            "INSERT INTO locations (organization_id, location_id, name, location_type, timezone) "
            "VALUES (%s, %s, 'Hall', 'factory', %s)",
            (self.organization_id, self.location_id, timezone),
        )

    def machine(
        self, capacity: int | None = 60, unit: str | None = "pieces", status: str = "running"
    ) -> UUID:
        resource_id = uuid4()
        self.db.execute(
            "INSERT INTO resources (organization_id, location_id, resource_id, name, resource_type, status, "
            "rated_capacity_per_hour, capacity_unit) VALUES (%s, %s, %s, %s, 'machine', %s, %s, %s)",
            (self.organization_id, self.location_id, resource_id, str(resource_id), status, capacity, unit),
        )
        return resource_id

    def shift(self, starts_at: datetime, ends_at: datetime, name: str = "Shift") -> UUID:
        shift_id = uuid4()
        self.db.execute(
            "INSERT INTO shifts (organization_id, location_id, shift_id, name, starts_at, ends_at) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (self.organization_id, self.location_id, shift_id, name, starts_at, ends_at),
        )
        return shift_id

    def event(
        self,
        resource_id: UUID | None,
        at: datetime,
        kind: str,
        minutes: float,
        quantity: float | None = None,
        scrap: float | None = None,
    ) -> None:
        self.db.execute(
            "INSERT INTO operational_events (organization_id, location_id, resource_id, time, event_type, duration_minutes, "
            "quantity, scrap_quantity) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (self.organization_id, self.location_id, resource_id, at, kind, minutes, quantity, scrap),
        )

    def plan(self, day: date, planned: int, actual: int | None, status: str = "completed") -> None:
        self.db.execute(
            "INSERT INTO production_plans (organization_id, location_id, product_id, plan_date, planned_quantity, "
            "actual_quantity, status) VALUES (%s, %s, 'P', %s, %s, %s, %s)",
            (self.organization_id, self.location_id, day, planned, actual, status),
        )

    def kpis(self, start: datetime, end: datetime, level: str = "organization") -> dict[str, dict[str, Any]]:
        rows = self.db.execute_query(
            "SELECT * FROM operational_kpis(%s, %s, %s, %s)", (self.organization_id, start, end, level)
        )
        assert len({(r["location_id"], r["resource_id"], r["kpi"]) for r in rows}) == len(rows)
        return {r["kpi"]: r for r in rows}


@pytest.fixture
def factory(empty_database: DatabaseManager) -> Factory:
    return Factory(empty_database)


def check_reasons(rows: dict[str, dict[str, Any]]) -> None:
    """A value or a reason, never both, never neither."""
    for row in rows.values():
        assert (row["value"] is None) == (row["reason"] is not None), row


def test_a_day_on_paper(factory: Factory) -> None:
    machine = factory.machine(capacity=60)
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.shift(day.replace(hour=6), day.replace(hour=14))  # 480 minutes
    factory.event(machine, day.replace(hour=6), "maintenance", 60)  # planned stop: 420 minutes planned busy
    factory.event(machine, day.replace(hour=7), "setup", 30)
    factory.event(machine, day.replace(hour=7, minute=30), "production", 300, quantity=240, scrap=24)
    factory.event(machine, day.replace(hour=12, minute=30), "breakdown", 40)
    factory.event(machine, day.replace(hour=13, minute=10), "idle", 20)
    factory.event(machine, day.replace(hour=13, minute=30), "breakdown", 20)
    factory.event(machine, day.replace(hour=13, minute=50), "error", 0)
    factory.plan(date(2026, 6, 1), planned=250, actual=240)
    factory.plan(date(2026, 6, 1), planned=50, actual=None, status="planned")
    factory.plan(date(2026, 6, 1), planned=999, actual=None, status="cancelled")

    rows = factory.kpis(day, day + timedelta(days=1))

    assert list(rows) == KPIS
    check_reasons(rows)
    expected = {
        "availability": Fraction(100 * 300, 420),
        "effectiveness": Fraction(100 * 240, 300),  # a piece a minute at rated speed
        "quality_ratio": Fraction(90),
        "oee": Fraction(100 * 216, 420),
        "utilisation_efficiency": Fraction(100 * 300, 410),
        "throughput_rate": Fraction(240 * 60, 410),
        "scrap_ratio": Fraction(10),
        "mtbf": Fraction(5, 2),
        "mttr": Fraction(1, 2),
        "plan_attainment": Fraction(96),
    }
    for kpi, value in expected.items():
        assert rows[kpi]["value"] == pytest.approx(
            Decimal(value.numerator) / value.denominator, rel=Decimal("1e-12")
        ), kpi
    assert rows["oee"]["value"] == pytest.approx(
        rows["availability"]["value"]
        * rows["effectiveness"]["value"]
        * rows["quality_ratio"]["value"]
        / 10_000,
        rel=Decimal("1e-12"),
    )
    assert rows["availability"]["coverage_pct"] == pytest.approx(Decimal(41000) / 420)
    assert rows["plan_attainment"]["coverage_pct"] == pytest.approx(Decimal(25000) / 300)
    assert rows["throughput_rate"]["unit"] == "pieces/h"
    assert rows["mttr"]["unit"] == "h"
    assert rows["attendance_rate"]["reason"] == "no attendance recorded"


def test_an_organization_with_no_data(factory: Factory) -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    for rows in (factory.kpis(start, start + timedelta(days=7)),):
        assert list(rows) == KPIS
        check_reasons(rows)
        assert all(row["value"] is None for row in rows.values())
        assert rows["availability"]["reason"] == "no events in the period"
        assert rows["plan_attainment"]["reason"] == "no plan due in the period"
        assert rows["forecast_wape"]["reason"] == "no forecast for the period"


def test_a_machine_that_recorded_nothing_lowers_coverage_not_availability(factory: Factory) -> None:
    measured, _silent = factory.machine(), factory.machine()
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.shift(day.replace(hour=6), day.replace(hour=14))
    factory.event(measured, day.replace(hour=6), "production", 480, quantity=400)
    rows = factory.kpis(day, day + timedelta(days=1))
    assert rows["availability"]["value"] == 100
    assert rows["availability"]["coverage_pct"] == 50


def test_a_day_without_shift_or_plan(factory: Factory) -> None:
    machine = factory.machine()
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.event(machine, day.replace(hour=8), "production", 60, quantity=50)
    rows = factory.kpis(day, day + timedelta(days=1))
    check_reasons(rows)
    assert rows["availability"]["reason"] == "no planned busy time"
    assert rows["oee"]["reason"] == "no planned busy time"
    assert rows["plan_attainment"]["reason"] == "no plan due in the period"
    assert rows["mtbf"]["reason"] == rows["mttr"]["reason"] == "no failure"
    assert rows["availability"]["coverage_pct"] is None
    # Unreported scrap is not 0.
    assert rows["quality_ratio"]["reason"] == "scrap is not reported"


def test_what_cannot_be_computed_says_why(factory: Factory) -> None:
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.shift(day.replace(hour=6), day.replace(hour=14))
    unrated = factory.machine(capacity=None)
    factory.event(unrated, day.replace(hour=6), "production", 60, quantity=10)
    rows = factory.kpis(day, day + timedelta(days=1))
    check_reasons(rows)
    assert rows["effectiveness"]["reason"] == rows["oee"]["reason"] == "no rated capacity"
    parcels = factory.machine(unit="parcels")
    factory.event(parcels, day.replace(hour=6), "production", 60, quantity=10)
    rows = factory.kpis(day, day + timedelta(days=1))
    check_reasons(rows)
    assert rows["throughput_rate"]["reason"] == "resources count in different units"
    assert rows["effectiveness"]["numerator"] == 10


@pytest.mark.parametrize(
    ("evening", "hours"),
    [
        (datetime(2026, 3, 28, 22, tzinfo=PARIS), 7),
        (datetime(2025, 10, 25, 22, tzinfo=PARIS), 9),
        (datetime(2026, 6, 1, 22, tzinfo=PARIS), 8),
    ],
    ids=["spring forward", "fall back", "summer"],
)
def test_a_night_shift_over_midnight_and_clock_change(
    factory: Factory, evening: datetime, hours: int
) -> None:
    machine = factory.machine()
    morning = (evening + timedelta(days=1)).replace(hour=6)
    shift_id = factory.shift(evening, morning, "Night")
    factory.event(machine, evening, "production", 60 * hours, quantity=300)

    rows = factory.kpis(evening.replace(hour=0), (evening + timedelta(days=2)).replace(hour=0))
    assert rows["availability"]["denominator"] == 60 * hours
    assert rows["availability"]["value"] == 100

    by_shift = factory.db.execute_query(
        "SELECT * FROM shift_kpis(%s, %s, %s)",
        (factory.organization_id, evening, evening + timedelta(minutes=1)),
    )
    assert {r["shift_id"] for r in by_shift} == {shift_id}
    shift = {r["kpi"]: r for r in by_shift}
    assert shift["availability"]["denominator"] == 60 * hours
    assert shift["availability"]["value"] == 100

    # The two days' parts add up to the night.
    midnight = (evening + timedelta(days=1)).replace(hour=0)
    first = factory.kpis(evening.replace(hour=0), midnight)["availability"]
    second = factory.kpis(midnight, (midnight + timedelta(days=1)).replace(hour=0))["availability"]
    assert first["numerator"] == first["denominator"] == 120
    assert second["numerator"] == second["denominator"] == 60 * (hours - 2)


def test_an_event_over_the_edge_counts_with_its_share(factory: Factory) -> None:
    machine = factory.machine()
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.shift(day.replace(hour=0), (day + timedelta(days=1)).replace(hour=0))
    factory.event(machine, day.replace(hour=1, minute=50), "production", 400, quantity=800, scrap=80)
    factory.event(machine, day.replace(hour=8, minute=30), "breakdown", 45)
    cuts = [
        day,
        day.replace(hour=1, minute=50),
        day.replace(hour=2),
        day.replace(hour=2, minute=7, second=30),
        day.replace(hour=5, minute=45),
        day.replace(hour=8, minute=45),
        day.replace(hour=9),
        day.replace(hour=12, minute=1),
        day + timedelta(days=1),
    ]
    whole = factory.kpis(cuts[0], cuts[-1])
    parts = [factory.kpis(a, b) for a, b in itertools.pairwise(cuts)]
    for kpi in (
        "availability",
        "effectiveness",
        "quality_ratio",
        "oee",
        "utilisation_efficiency",
        "scrap_ratio",
        "mttr",
    ):
        for side in ("numerator", "denominator"):
            total = sum((p[kpi][side] or 0 for p in parts), Decimal(0))
            # If nothing was recorded in a part, its planned time is left out of the ratio.
            if kpi in ("availability", "oee") and side == "denominator":
                continue
            assert total == pytest.approx(whole[kpi][side], rel=Decimal("1e-12")), (kpi, side)
    assert [p["mttr"]["denominator"] for p in parts] == [0, 0, 0, 0, 1, 0, 0, 0]
    third = parts[3]  # 02:07:30 to 05:45:00
    assert third["quality_ratio"]["denominator"] == pytest.approx(Decimal("435"))  # 217.5 of 400 minutes


def test_overlapping_shifts_count_once(factory: Factory) -> None:
    machine = factory.machine()
    day = datetime(2026, 6, 1, tzinfo=PARIS)
    factory.shift(day.replace(hour=6), day.replace(hour=14), "Early")
    factory.shift(day.replace(hour=13, minute=30), day.replace(hour=21, minute=30), "Late")
    factory.event(machine, day.replace(hour=6), "production", 60, quantity=10)
    assert factory.kpis(day, day + timedelta(days=1))["availability"]["denominator"] == 15 * 60 + 30


@pytest.mark.parametrize(
    ("start", "end", "level"),
    [
        ("2026-06-02", "2026-06-01", "organization"),
        ("2026-06-01", "2026-06-01", "organization"),
        ("-infinity", "2026-06-01", "organization"),
        ("2026-06-01", "2026-06-02", "machine"),
    ],
)
def test_bad_arguments_are_refused(factory: Factory, start: str, end: str, level: str) -> None:
    with pytest.raises(DbUtilsError) as refusal:
        factory.db.execute_query(
            "SELECT * FROM operational_kpis(%s, %s, %s, %s)", (factory.organization_id, start, end, level)
        )
    assert refusal.value.sqlstate == "22023"


# The sample data, compared with the second computation.

MANUFACTURING = UUID("11111111-1111-1111-1111-111111111111")
LOGISTICS = UUID("22222222-2222-2222-2222-222222222222")


def periods(db: DatabaseManager) -> list[tuple[datetime, datetime]]:
    """Whole days, odd minutes, less than an hour, and all past events."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [
        (hour - timedelta(days=7), hour),
        (hour - timedelta(days=3, minutes=17), hour - timedelta(minutes=41)),
        (hour - timedelta(hours=30), hour - timedelta(hours=29, minutes=20)),
        (hour - timedelta(days=40), hour),
    ]


def agree(rows: list[dict[str, Any]], expected: kpi_reference.Answers) -> int:
    """Assert that one subject's KPIs have the values of the reference, or none and a reason; return how many have one."""
    assert [row["kpi"] for row in rows] == KPIS
    check_reasons({row["kpi"]: row for row in rows})
    for row in rows:
        value = expected[row["kpi"]]
        assert (row["value"] is None) == (value is None), (row, value)
        if value is not None:
            assert float(row["value"]) == pytest.approx(float(value), rel=1e-9), row
        if row["coverage_pct"] is not None:
            assert 0 <= row["coverage_pct"] <= 100, row
    found = sum(row["value"] is not None for row in rows)
    compared("KPIs of the sample data", found)
    return found


@pytest.mark.parametrize(
    ("organization_id", "which"),
    [
        (MANUFACTURING, slice(3)),
        (LOGISTICS, slice(3)),
        *(pytest.param(one, slice(None), marks=pytest.mark.slow) for one in (MANUFACTURING, LOGISTICS)),
    ],
)
def test_sample_data_agrees_with_the_single_minutes(
    seeded: DatabaseManager, organization_id: UUID, which: slice
) -> None:
    sample = kpi_reference.Sample(kpi_reference.read_raw_rows(seeded, organization_id))
    found = 0
    for period in periods(seeded)[which]:
        for level, key, reference in (
            ("organization", None, lambda _: sample.organization(*period)),  # noqa: B023
            ("location", "location_id", lambda key: sample.location(key, *period)),  # noqa: B023
            ("resource", "resource_id", lambda key: sample.resource(key, *period)),  # noqa: B023
        ):
            answer = seeded.execute_query(
                "SELECT * FROM operational_kpis(%s, %s, %s, %s)", (organization_id, *period, level)
            )
            for subject in dict.fromkeys(row[key] if key else None for row in answer):
                own = [row for row in answer if key is None or row[key] == subject]
                found += agree(own, reference(subject))
    assert found > 50


@pytest.mark.thorough
def test_shift_kpis_agree_with_the_single_minutes(seeded: DatabaseManager) -> None:
    sample = kpi_reference.Sample(kpi_reference.read_raw_rows(seeded, MANUFACTURING))
    start, end = periods(seeded)[0]
    rows = seeded.execute_query("SELECT * FROM shift_kpis(%s, %s, %s)", (MANUFACTURING, start, end))
    shifts = {s["shift_id"]: s for s in sample.raw["shifts"] if start <= s["starts_at"] < end}
    assert {row["shift_id"] for row in rows} == set(shifts)
    over = [key for key, shift in shifts.items() if shift["ends_at"] <= end]
    assert sum(agree([r for r in rows if r["shift_id"] == key], sample.shift(key)) for key in over) > 50


def test_late_rows_and_refreshes_do_not_change_the_answer(seeded_database: DatabaseManager) -> None:
    """Before a refresh, after it, after a late row, after the next refresh: the KPIs equal those of the raw rows."""
    db = seeded_database
    start, end = periods(db)[1]

    def still() -> None:
        sample = kpi_reference.Sample(kpi_reference.read_raw_rows(db, MANUFACTURING))
        answer = db.execute_query("SELECT * FROM operational_kpis(%s, %s, %s)", (MANUFACTURING, start, end))
        assert agree(answer, sample.organization(start, end)) >= 8

    still()
    db.execute(
        "INSERT INTO operational_events (organization_id, time, location_id, resource_id, event_type, duration_minutes, "
        "quantity, scrap_quantity) "
        "SELECT organization_id, %s, location_id, resource_id, 'production', 90, 77, 0 FROM resources "
        "WHERE organization_id = %s",
        (start + timedelta(hours=5, minutes=40), MANUFACTURING),
    )
    still()
    schema.refresh_rollups(db)
    still()
