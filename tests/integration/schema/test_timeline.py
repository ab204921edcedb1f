"""Machine time: cases small enough to check by hand, and stored hours compared with the events."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.queries.errors import MovedEventError

DAY = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Plant:
    """One organization with one location in UTC and an early shift from 6:00 to 14:00 on 1 June 2026."""

    def __init__(self, db: DatabaseManager) -> None:
        self.db = db
        self.queries = OperationalDataQueries(db)
        self.organization: UUID = self.queries.create_organization(
            f"Plant {uuid4().hex[:8]}", industry="test", timezone="UTC"
        )["organization_id"]
        self.place = self.location("Hall")
        self.shift(6, 14)

    def location(self, name: str) -> UUID:
        row = self.queries.create_location(self.organization, name, location_type="factory", timezone="UTC")
        return UUID(str(row["location_id"]))

    def shift(self, first: int, last: int, place: UUID | None = None, day: datetime = DAY) -> None:
        self.queries.create_shift(
            self.organization,
            f"{first} to {last}",
            location_id=place or self.place,
            starts_at=day + first * HOUR,
            ends_at=day + last * HOUR,
        )

    def machine(self, rate: int | None = 100, unit: str = "pieces", place: UUID | None = None) -> UUID:
        row = self.queries.create_resource(
            self.organization,
            uuid4().hex,
            location_id=place or self.place,
            resource_type="press",
            rated_capacity_per_hour=rate,
            capacity_unit=unit,
        )
        return UUID(str(row["resource_id"]))

    def event(self, machine: UUID, kind: str, start: float, minutes: float | None, **values: Any) -> UUID:
        return self.queries.record_event(
            self.organization,
            time=DAY + timedelta(minutes=round(60 * start)),
            event_type=kind,
            resource_id=machine,
            duration_minutes=minutes,
            **values,
        )

    def kpis(
        self, first: float = 0, last: float = 24, level: str = "organization"
    ) -> dict[str, dict[str, Any]]:
        rows = self.db.execute_query(
            "SELECT * FROM operational_kpis(%s, %s, %s, %s)",
            (self.organization, DAY + first * HOUR, DAY + last * HOUR, level),
        )
        return {row["kpi"]: row for row in rows}

    def of(self, *names: str, first: float = 0, last: float = 24) -> dict[str, float | None]:
        rows = self.kpis(first, last)
        return {name: None if rows[name]["value"] is None else float(rows[name]["value"]) for name in names}

    def unkept(self) -> list[dict[str, Any]]:
        """The answer computed from events and shifts alone, summed."""
        return self.db.execute_query(_ADDED_UP.format(source=_FROM_EVENTS), self._days())

    def answered(self) -> list[dict[str, Any]]:
        return self.db.execute_query(_ADDED_UP.format(source=f"resource_time({_PERIOD})"), self._days())

    def _days(self) -> dict[str, Any]:
        return {
            "org": self.organization,
            "start": DAY - 90 * 60 * timedelta(seconds=1),
            "end": DAY + 50.5 * HOUR,
        }


_PERIOD = "%(org)s, ARRAY[1], ARRAY[%(start)s::timestamptz], ARRAY[%(end)s::timestamptz]"
_FROM_EVENTS = f"""(
    SELECT * FROM resource_time_raw({_PERIOD}, NULL, '24 hours')
    UNION ALL
    SELECT * FROM resource_time({_PERIOD}, NULL, ARRAY['planned'])
)"""
_ADDED_UP = """
    SELECT
        t.resource_id, t.location_id, t.stood_location_id, t.state, t.cause, t.capacity_unit, t.is_rated,
        sum(t.event_count) AS event_count, sum(t.failure_count) AS failure_count, sum(t.seconds) AS seconds,
        sum(t.planned_seconds) AS planned_seconds, round(sum(t.quantity), 9) AS quantity,
        round(sum(t.scrap_quantity), 9) AS scrap_quantity, round(sum(t.rated_seconds), 9) AS rated_seconds,
        round(sum(t.good_planned_seconds), 9) AS good_planned_seconds, sum(t.inspected_seconds) AS inspected_seconds
    FROM {source} AS t
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
"""


@pytest.fixture
def plant(empty_database: DatabaseManager) -> Plant:
    return Plant(empty_database)


def test_a_minute_is_the_first_state_and_of_the_stop_that_began_first(plant: Plant) -> None:
    machine = plant.machine()
    plant.event(machine, "production", 6, 480, quantity=600, scrap_quantity=60)
    plant.event(machine, "breakdown", 8, 120, cause="belt")
    plant.event(machine, "breakdown", 9.5, 60, cause="motor")  # half an hour without overlap
    plant.event(machine, "idle", 10, 60, cause="no material")  # half an hour without overlap
    plant.event(machine, "maintenance", 13, 30, cause="oil")
    rows = plant.kpis()
    # 8 h less 2.5 h of breakdown, 0.5 h of waiting, 0.5 h of maintenance.
    assert rows["availability"]["numerator"] == 270
    assert rows["availability"]["denominator"] == 450
    assert rows["mttr"]["numerator"] == Decimal("2.5")
    assert rows["mttr"]["denominator"] == rows["mtbf"]["denominator"] == 1
    assert rows["utilisation_efficiency"]["denominator"] == 450
    stops = plant.queries.get_downtime_by_cause(plant.organization, start=DAY, end=DAY + 24 * HOUR)
    assert {row["cause"]: int(row["downtime_minutes"]) for row in stops} == {
        "belt": 120,
        "motor": 30,
        "no material": 30,
        "oil": 30,
    }
    # 540 good pieces take 5.4 h at rated capacity, and all were produced within the shift.
    assert rows["oee"]["numerator"] == 324
    assert float(rows["oee"]["value"]) == pytest.approx(72)


def test_an_event_cut_in_two_changes_nothing(plant: Plant) -> None:
    whole, cut = plant.machine(), plant.machine()
    plant.event(whole, "breakdown", 7, 120)
    plant.event(whole, "production", 6, 240, quantity=200, scrap_quantity=20)
    plant.event(cut, "breakdown", 7, 30)
    plant.event(cut, "breakdown", 7.5, 90)
    plant.event(cut, "production", 6, 60, quantity=50, scrap_quantity=5)
    plant.event(cut, "production", 7, 180, quantity=150, scrap_quantity=15)
    answers = {
        resource: [
            (
                row["kpi"],
                row["value"],
                row["numerator"],
                row["denominator"],
                row["coverage_pct"],
                row["reason"],
            )
            for row in plant.queries.get_resource_kpis(
                plant.organization, resource_id=resource, start=DAY + 7.25 * HOUR, end=DAY + 24 * HOUR
            )
        ]
        for resource in (whole, cut)
    }
    assert [row[0] for row in answers[whole]] == [row[0] for row in answers[cut]]
    for one, other in zip(answers[whole], answers[cut], strict=True):
        assert one[5] == other[5]
        assert [None if v is None else float(v) for v in one[1:5]] == [
            None if v is None else pytest.approx(float(v), rel=1e-12) for v in other[1:5]
        ]


def test_retired_moved_and_rerated_today_the_past_stays(plant: Plant) -> None:
    new = plant.location("New")
    plant.shift(14, 22, new)
    machines = [plant.machine() for _ in range(3)]
    for machine in machines:
        plant.event(machine, "production", 6, 420, quantity=630, scrap_quantity=0)

    def answers() -> Any:
        period = {"start": DAY, "end": DAY + 24 * HOUR}
        return (
            plant.queries.get_kpi_summary(plant.organization, **period),
            plant.queries.get_location_kpis(plant.organization, **period),
            plant.queries.get_resource_kpis(plant.organization, **period),
            plant.queries.get_shift_kpis(plant.organization, **period),
        )

    before = answers()
    assert plant.of("availability", "oee") == {"availability": 87.5, "oee": 78.75}
    plant.queries.set_resource_status(plant.organization, machines[0], status="retired")
    for column, value, machine in (
        ("location_id", new, machines[1]),
        ("rated_capacity_per_hour", 50, machines[2]),
        ("capacity_unit", "g", machines[2]),
    ):
        plant.db.execute(
            f"UPDATE resources SET {column} = %s WHERE organization_id = %s AND resource_id = %s",
            (value, plant.organization, machine),
        )
    assert answers() == before


def test_parts_of_a_period_add_up(plant: Plant) -> None:
    machines = [plant.machine() for _ in range(7)]
    for place in range(7):
        if place:
            plant.shift(24 * place + 6, 24 * place + 14)
        plant.event(machines[place], "production", 24 * place + 6, 240, quantity=100, scrap_quantity=10)
    week = plant.kpis(0, 7 * 24)
    days = [plant.kpis(24 * place, 24 * (place + 1)) for place in range(7)]
    for kpi in (
        "availability",
        "oee",
        "effectiveness",
        "quality_ratio",
        "utilisation_efficiency",
        "throughput_rate",
    ):
        for side in ("numerator", "denominator"):
            assert sum(day[kpi][side] for day in days) == pytest.approx(week[kpi][side], rel=Decimal("1e-12"))
    # Each was down for six days of the week: half a shift of one in seven.
    assert [float(day["availability"]["value"]) for day in days] == [pytest.approx(100 * 4 / 56)] * 7
    assert float(week["availability"]["value"]) == pytest.approx(100 * 4 / 56)


def test_what_is_not_reported_is_left_out(plant: Plant) -> None:
    counts_both, no_scrap, no_count = plant.machine(), plant.machine(), plant.machine()
    for machine, values in (
        (counts_both, {"quantity": 540, "scrap_quantity": 54}),
        (no_scrap, {"quantity": 540}),
        (no_count, {}),
    ):
        plant.event(machine, "production", 6, 360, **values)
        plant.event(machine, "idle", 12, 120)
    rows = plant.kpis()
    assert float(rows["scrap_ratio"]["value"]) == 10
    assert float(rows["effectiveness"]["value"]) == pytest.approx(90)
    # Of the machine that reports quantity and scrap: 4.86 h of 8 h.
    assert rows["oee"]["denominator"] == 480
    assert float(rows["oee"]["value"]) == pytest.approx(60.75)
    assert rows["throughput_rate"]["denominator"] == 16
    assert float(rows["oee"]["coverage_pct"]) == pytest.approx(100 / 3)
    assert float(rows["effectiveness"]["coverage_pct"]) == pytest.approx(100 * 18 / 24)
    reasons = {
        (row["resource_id"], row["kpi"]): row["reason"]
        for row in plant.queries.get_resource_kpis(plant.organization, start=DAY, end=DAY + 24 * HOUR)
    }
    for kpi in ("oee", "quality_ratio", "scrap_ratio"):
        assert reasons[no_scrap, kpi] == "scrap is not reported"
        assert reasons[no_count, kpi] == "quantity is not reported"
    for kpi in ("effectiveness", "throughput_rate"):
        assert reasons[no_scrap, kpi] is None
        assert reasons[no_count, kpi] == "quantity is not reported"


def test_a_duration_that_nobody_knows_is_not_zero(plant: Plant) -> None:
    machine = plant.machine()
    plant.event(machine, "production", 6, None, quantity=100, scrap_quantity=10)
    rows = plant.kpis()
    assert rows["availability"]["reason"] == rows["effectiveness"]["reason"] == "duration is not reported"
    assert float(rows["quality_ratio"]["value"]) == 90


def test_units_are_never_added_up(plant: Plant) -> None:
    mixer, press = plant.machine(1_000_000, "g"), plant.machine(100, "pieces")
    plant.event(mixer, "production", 6, 480, quantity=7_200_000, scrap_quantity=0)
    plant.event(press, "production", 6, 480, quantity=720, scrap_quantity=360)
    rows = plant.kpis()
    for kpi in ("quality_ratio", "scrap_ratio", "throughput_rate"):
        assert (rows[kpi]["value"], rows[kpi]["numerator"]) == (None, None)
        assert rows[kpi]["reason"] == "resources count in different units"
    assert float(rows["effectiveness"]["value"]) == pytest.approx(90)
    assert float(rows["oee"]["value"]) == pytest.approx(67.5)
    for product, machine in (("cream", mixer), ("bolt", press)):
        plan = plant.queries.create_production_plan(
            plant.organization, product, location_id=plant.place, resource_id=machine, plan_date=date(2026, 6, 1),
            planned_quantity=10,
        )  # fmt: skip
        plant.queries.record_plan_progress(plant.organization, plan["plan_id"], actual_quantity=5)
    attainment = plant.kpis(0, 25)["plan_attainment"]
    assert (attainment["value"], attainment["reason"]) == (None, "products count in different units")
    by_machine = plant.queries.get_resource_kpis(plant.organization, start=DAY, end=DAY + 25 * HOUR)
    assert {float(row["value"]) for row in by_machine if row["kpi"] == "plan_attainment"} == {50}


def test_more_good_pieces_than_time_allows_is_no_oee(plant: Plant) -> None:
    machine = plant.machine(rate=10)
    plant.event(machine, "production", 6, 480, quantity=100, scrap_quantity=0)
    rows = plant.kpis()
    assert float(rows["effectiveness"]["value"]) == 125
    assert rows["oee"]["value"] is None
    assert rows["oee"]["reason"].startswith("impossible")


def test_no_session_setting_matters(plant: Plant) -> None:
    machine = plant.machine()
    plant.event(machine, "production", 6.5, 400, quantity=300, scrap_quantity=3)
    schema.refresh_rollups(plant.db)
    answers = []
    for zone in ("UTC", "Europe/Berlin", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu"):
        with plant.db.transaction() as transaction:
            transaction.execute("SELECT set_config('TimeZone', %s, true)", (zone,))
            answers.append(
                [
                    transaction.execute_query(
                        f"SELECT * FROM {function}(%s, %s, %s)", (plant.organization, DAY, DAY + 24 * HOUR)
                    )
                    for function in (
                        "operational_kpis",
                        "shift_kpis",
                        "resource_time_model",
                        "operation_totals",
                    )
                ]
            )
    assert all(answer == answers[0] for answer in answers)


# The same event, sent again.


def test_an_event_sent_again_with_another_time_moves(plant: Plant) -> None:
    machine = plant.machine()
    identity = plant.event(machine, "production", 6, 60, quantity=100, cause="test run", scrap_quantity=5)
    correction = {
        "event_id": identity,
        "time": DAY + 7 * HOUR,
        "event_type": "production",
        "resource_id": machine,
        "quantity": 90,
    }
    with pytest.raises(MovedEventError, match=f"{identity} at 2026-06-01T06:00:00"):
        plant.queries.record_events(plant.organization, [correction])
    assert plant.queries.record_events(plant.organization, [correction], replace=True) == 1
    (row,) = plant.db.execute_query(
        "SELECT time, quantity, scrap_quantity, cause, duration_minutes FROM operational_events WHERE organization_id = %s",
        (plant.organization,),
    )
    assert row == {
        "time": DAY + 7 * HOUR,
        "quantity": 90,
        "scrap_quantity": 5,
        "cause": "test run",
        "duration_minutes": 60,
    }


def test_an_event_is_where_its_machine_stood_then(plant: Plant) -> None:
    machine, new = plant.machine(), plant.location("New")
    plant.db.execute(
        "UPDATE resources SET location_id = %s WHERE organization_id = %s AND resource_id = %s",
        (new, plant.organization, machine),
    )
    plant.event(machine, "production", 6, 60)
    (row,) = plant.db.execute_query(
        "SELECT location_id FROM operational_events WHERE organization_id = %s", (plant.organization,)
    )
    assert row["location_id"] == plant.place


# Stored hours.


def changes(plant: Plant, machine: UUID) -> list[tuple[str, Any]]:
    """Statements that change figures of stored hours."""
    org = plant.organization
    return [
        (
            "INSERT INTO operational_events (organization_id, time, location_id, resource_id, event_type, duration_minutes, "
            "quantity, scrap_quantity) VALUES (%s, %s, %s, %s, 'production', 95, 77, 7)",
            (org, DAY + 9.7 * HOUR, plant.place, machine),
        ),
        (
            "INSERT INTO operational_events (organization_id, time, location_id, resource_id, event_type, duration_minutes) "
            "VALUES (%s, %s, %s, %s, 'breakdown', 30)",  # adjacent to the one that begins at its end: one failure
            (org, DAY + 7.5 * HOUR, plant.place, machine),
        ),
        (
            "UPDATE operational_events SET duration_minutes = 200 WHERE organization_id = %s AND event_type = 'idle'",
            (org,),
        ),
        ("DELETE FROM operational_events WHERE organization_id = %s AND event_type = 'setup'", (org,)),
        (
            "UPDATE shifts SET ends_at = ends_at + interval '90 minutes' WHERE organization_id = %s",
            (org,),
        ),
        ("DELETE FROM shifts WHERE organization_id = %s", (org,)),
    ]  # fmt: skip


def test_whoever_changes_kept_hours_is_in_the_next_answer(plant: Plant) -> None:
    machine, other = plant.machine(), plant.machine(50)
    for day in (0, 24):
        plant.event(machine, "production", day + 6, 130, quantity=100, scrap_quantity=1)
        plant.event(machine, "breakdown", day + 8, 60)
        plant.event(machine, "setup", day + 9, 33)
        plant.event(other, "production", day + 5, 1440 - 300, quantity=1000)
        plant.event(other, "idle", day + 11, 100)
    schema.refresh_rollups(plant.db)
    assert plant.answered() == plant.unkept()
    (kept,) = plant.db.execute_query(
        "SELECT sum(cardinality(sums)) AS n FROM resource_time_sums WHERE organization_id = %s AND widest = 24",
        (plant.organization,),
    )
    assert kept["n"] > 5
    for statement, parameters in changes(plant, machine):
        before = plant.answered()
        assert plant.db.execute(statement, parameters) > 0
        changed = plant.answered()
        assert changed == plant.unkept() != before, statement
        schema.refresh_rollups(plant.db)
        assert plant.answered() == changed, statement


def test_who_commits_after_a_refresh_keeps_the_mark(plant: Plant) -> None:
    machine = plant.machine()
    plant.event(machine, "production", 6, 60, quantity=10)
    schema.refresh_rollups(plant.db)
    with plant.db.transaction() as late:
        OperationalDataQueries(late).record_event(
            plant.organization,
            time=DAY + 9 * HOUR,
            event_type="production",
            resource_id=machine,
            duration_minutes=60,
            quantity=5,
        )
        # Meanwhile another late row of the same hour is written and stored.
        plant.event(machine, "idle", 9, 20)
        schema.refresh_rollups(plant.db)
        assert plant.answered() == plant.unkept()
    assert plant.answered() == plant.unkept()
    assert plant.kpis()["utilisation_efficiency"]["numerator"] == 100
    schema.refresh_rollups(plant.db)
    assert plant.answered() == plant.unkept()


def test_no_setting_of_a_session_keeps_a_deletion_from_being_marked(plant: Plant) -> None:
    """Also if a savepoint rolled back the first deletion and its mark."""
    machine = plant.machine()
    for first in (6, 8, 10):
        plant.event(machine, "production", first, 60, quantity=100, scrap_quantity=0)
    schema.refresh_rollups(plant.db)
    deletion = "DELETE FROM operational_events WHERE organization_id = %s AND time = %s"

    with plant.db.transaction() as transaction:
        # How an earlier version of the trigger remembered its mark.
        transaction.execute(
            "SELECT set_config('barnameh.marked', %s, true)", (f"{plant.organization} {DAY.timestamp():.6f}",)
        )
        with suppress(LookupError), plant.db.transaction() as nested:
            nested.execute(deletion, (plant.organization, DAY + 10 * HOUR))
            raise LookupError
        for first in (6, 8):
            transaction.execute(deletion, (plant.organization, DAY + first * HOUR))

    marks = plant.db.execute_query(
        "SELECT stale FROM resource_time_marks WHERE organization_id = %s", (plant.organization,)
    )
    assert len(marks) == 1, "one a day and transaction, however many events"
    assert plant.answered() == plant.unkept()
    assert plant.kpis()["throughput_rate"]["numerator"] == 100


def test_kept_hours_are_read_without_their_events(plant: Plant) -> None:
    """No hour is stored for nothing: an hour without a mark is read from storage."""
    machine = plant.machine()
    plant.event(machine, "production", 6, 60, quantity=10)
    schema.refresh_rollups(plant.db)
    plant.db.execute(
        """
        UPDATE resource_time_sums AS s
        SET sums = ARRAY(
            SELECT jsonb_populate_record(e, '{"quantity": 11}') FROM unnest(s.sums) AS e
        )
        WHERE s.organization_id = %s AND s.state = 'production'
        """,
        (plant.organization,),
    )
    (rate,) = plant.queries.get_production_rate(
        plant.organization, bucket="day", start=DAY, end=DAY + 24 * HOUR
    )
    assert rate["quantity"] == 11
    assert rate["bucket_end"] == DAY + 24 * HOUR


def test_another_organizations_rows_change_nothing(plant: Plant) -> None:
    machine = plant.machine()
    plant.event(machine, "production", 6, 480, quantity=10, scrap_quantity=1)
    schema.refresh_rollups(plant.db)
    before = plant.answered()
    neighbour = Plant(plant.db)
    neighbour.event(neighbour.machine(), "breakdown", 6, 480)
    assert plant.answered() == before
    marks = plant.db.execute_query("SELECT DISTINCT organization_id FROM resource_time_marks")
    assert [row["organization_id"] for row in marks] == [neighbour.organization]
    with plant.db.tenant(plant.organization) as scope:
        assert scope.execute_query("SELECT * FROM resource_time_marks") == []
        rows = scope.execute_query(
            "SELECT * FROM operational_kpis(%s, %s, %s)", (plant.organization, DAY, DAY + 24 * HOUR)
        )
        assert {row["kpi"]: row for row in rows} == plant.kpis()
        OperationalDataQueries(scope).record_event(
            plant.organization,
            time=DAY + 20 * HOUR,
            event_type="idle",
            resource_id=machine,
            duration_minutes=7,
        )
    assert plant.answered() == plant.unkept() != before


@pytest.mark.parametrize("bucket", ["hour", "day"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Asia/Kathmandu"])
@pytest.mark.parametrize("place", [True, False])
def test_production_of_a_place_that_changes_its_zone_is_counted_once(
    plant: Plant, zone: str, bucket: Any, place: bool
) -> None:
    """Buckets of a location are contiguous without overlap, even if its time zone changes in the middle of one."""
    machine = plant.machine()
    for first in range(0, 24, 4):
        plant.event(machine, "production", first, 240, quantity=400)
    elsewhere = plant.location("Elsewhere")
    plant.queries.record_event(
        plant.organization,
        time=DAY,
        event_type="production",
        location_id=elsewhere,
        duration_minutes=60,
        quantity=7,
    )
    plant.queries.set_location_timezone(
        plant.organization, plant.place, timezone=zone, effective_at=DAY + 9 * HOUR
    )

    rows = plant.queries.get_production_rate(
        plant.organization,
        bucket=bucket,
        location_id=plant.place if place else None,
        start=DAY - 24 * HOUR,
        end=DAY + 48 * HOUR,
    )

    own = [row for row in rows if row["location_id"] == plant.place]
    assert sum(row["quantity"] for row in own) == 2400
    assert sum(row["production_minutes"] for row in own) == 24 * 60
    assert all(earlier["bucket_end"] == later["bucket"] for earlier, later in pairwise(own))
    assert sum(row["quantity"] for row in rows) == (2400 if place else 2407)


def test_who_ever_reported_is_the_same_from_kept_days_and_from_events(plant: Plant) -> None:
    silent, stops, counts, inspects = (plant.machine() for _ in range(4))
    plant.event(stops, "breakdown", 30, 60)
    plant.event(counts, "production", 31, 60, quantity=10)
    plant.event(inspects, "production", 32, 60, quantity=10, scrap_quantity=1)

    def reporting() -> list[tuple[bool, bool, bool]]:
        rows = {
            row["resource_id"]: (row["reports_events"], row["reports_quantity"], row["reports_output"])
            for row in plant.db.execute_query("SELECT * FROM resource_reporting(%s)", (plant.organization,))
        }
        return [rows[machine] for machine in (silent, stops, counts, inspects)]

    expected = [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]
    assert reporting() == expected
    schema.refresh_rollups(plant.db)
    kept = "SELECT kept_resource_time(%s) @> %s::timestamptz AS is_kept"
    assert plant.db.execute_query(kept, (plant.organization, DAY + 32 * HOUR))[0]["is_kept"]
    assert reporting() == expected
    # Also as a tenant, and with later changes.
    with plant.db.tenant(plant.organization) as scope:
        assert len(scope.execute_query("SELECT * FROM resource_reporting(%s)", (plant.organization,))) == 4
    plant.db.execute(
        "UPDATE operational_events SET scrap_quantity = NULL WHERE organization_id = %s AND resource_id = %s",
        (plant.organization, inspects),
    )
    plant.db.execute(
        "DELETE FROM operational_events WHERE organization_id = %s AND resource_id = %s",
        (plant.organization, stops),
    )
    changed = [(False, False, False), (False, False, False), (True, True, False), (True, True, False)]
    assert reporting() == changed
    schema.refresh_rollups(plant.db)
    assert reporting() == changed


def test_days_added_up_over_machines_answer_as_the_machines_do(plant: Plant) -> None:
    """Also once a machine records a quantity for the first time, or the only one that did is deleted."""
    other = plant.location("Yard")
    for day in range(12):
        plant.shift(7, 12, other, DAY + 24 * day * HOUR)
    counted, timed, inspected = plant.machine(), plant.machine(None), plant.machine(50, "litres", other)
    for day in range(0, 24 * 12, 24):
        plant.event(counted, "production", day + 6, 130, quantity=100)
        plant.event(timed, "production", day + 7, 60)
        plant.event(timed, "breakdown", day + 7.5, 60, cause="belt")
        plant.event(inspected, "production", day + 8, 90, quantity=70, scrap_quantity=7)
        plant.event(inspected, "maintenance", day + 11, 90)
        plant.queries.record_event(
            plant.organization, time=DAY + (day + 9) * HOUR, event_type="idle", location_id=other, duration_minutes=9
        )  # fmt: skip

    def answers() -> list[dict[str, Any]]:
        return [
            row
            for level in ("organization", "location", "resource")
            for first, last in ((0, 24 * 12), (-1.5, 24 * 9 + 8.25), (30, 100), (5, 15))
            for row in plant.db.execute_query(
                "SELECT * FROM operational_kpis(%s, %s, %s, %s)",
                (plant.organization, DAY + first * HOUR, DAY + last * HOUR, level),
            )
        ]

    from_events = answers()
    # Days of which only some hours are stored, as after an import; then all.
    plant.db.execute(
        "CALL refresh_resource_time(%s, tstzrange(%s, %s))",
        (plant.organization, DAY + 5 * HOUR, DAY + 40 * HOUR),
    )
    assert answers() == from_events
    schema.refresh_rollups(plant.db)
    assert answers() == from_events

    # What is read: whole days, added up.
    altered = """
        UPDATE resource_time_totals AS s
        SET totals = ARRAY(
            SELECT jsonb_populate_record(e, jsonb_build_object('seconds', e.seconds {})) FROM unnest(s.totals) AS e
        )
        WHERE s.organization_id = %s
    """
    assert plant.db.execute(altered.format("+ 1"), (plant.organization,)) > 0
    assert answers() != from_events
    plant.db.execute(altered.format("- 1"), (plant.organization,))

    (first,) = plant.db.execute_query(
        "SELECT event_id FROM operational_events WHERE organization_id = %s ORDER BY time LIMIT 1",
        (plant.organization,),
    )
    for statement, parameters in (
        (
            "INSERT INTO operational_events (organization_id, time, location_id, resource_id, event_type, "
            "duration_minutes, quantity, scrap_quantity) VALUES (%s, %s, %s, %s, 'production', 10, 5, 1)",
            (plant.organization, DAY + 24 * 13 * HOUR, plant.place, timed),
        ),
        (
            "DELETE FROM operational_events WHERE organization_id = %s AND resource_id = %s AND quantity IS NOT NULL "
            "AND event_id <> %s",
            (plant.organization, counted, first["event_id"]),
        ),
        ("DELETE FROM operational_events WHERE organization_id = %s AND event_id = %s", (plant.organization, first["event_id"])),
    ):  # fmt: skip
        assert plant.db.execute(statement, parameters) > 0
        changed = answers()
        plant.db.execute(
            "UPDATE resource_time_states SET kept = '{}' WHERE organization_id = %s", (plant.organization,)
        )
        assert answers() == changed, statement
        schema.refresh_rollups(plant.db)
        assert answers() == changed, statement
        assert not plant.db.execute_query(
            """
            SELECT r.* FROM resource_reporting(%(org)s) AS r
            JOIN resource_time_reports AS k ON k.organization_id = %(org)s AND k.resource_id = r.resource_id
            WHERE (r.reports_events, r.reports_quantity, r.reports_output)
                IS DISTINCT FROM (k.reports_events, k.reports_quantity, k.reports_output)
            """,
            {"org": plant.organization},
        )


def test_which_machines_report_is_found_quickly_before_the_first_statistics(
    empty_database: DatabaseManager,
) -> None:
    """As after a load: each machine's own events are read, not all production for each machine."""
    plant = Plant(empty_database)
    machines = 200
    plant.db.execute(
        "INSERT INTO resources (organization_id, name, resource_type, location_id) "
        "SELECT %s, 'Press ' || n, 'press', %s FROM generate_series(1, %s) AS n",
        (plant.organization, plant.place, machines),
    )
    plant.db.execute("ANALYZE operational_events")
    plant.db.execute(
        "INSERT INTO operational_events (organization_id, time, event_type, resource_id, location_id, duration_minutes) "
        "SELECT organization_id, %s + n * interval '1 hour', 'production', resource_id, location_id, 30 "
        "FROM resources CROSS JOIN generate_series(1, 30) AS n",
        (DAY,),
    )
    (row,) = plant.db.execute_query(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT FROM resource_reporting(%s)", (plant.organization,)
    )
    plan = row["QUERY PLAN"][0]["Plan"]
    assert plan["Actual Rows"] == machines
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200 * machines
