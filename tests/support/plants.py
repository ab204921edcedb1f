"""Random factories with realistic data: moves, re-ratings, retirements, gaps, overlaps, units, clock changes.

A plant is plain Python: `kpi_reference` computes the expected figures from it, and `write` stores it in a database. Times are
whole minutes since `Plant.base`, so that a timeline of single minutes is exact.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from db_utils import DatabaseManager, OperationalDataQueries

DAY = 1440
EVER = -(10**9)
"""The minute from which the first version of a machine holds."""

# Zones with midnights that do not exist or occur twice, an ordinary clock change, one of half an hour, and none.
BASES = {
    "Atlantic/Azores": (datetime(2026, 3, 27, tzinfo=UTC), datetime(2025, 10, 24, tzinfo=UTC)),
    "America/Santiago": (datetime(2025, 9, 5, tzinfo=UTC),),
    "Europe/Berlin": (datetime(2026, 3, 27, tzinfo=UTC), datetime(2025, 10, 24, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 3, tzinfo=UTC),),
    "Asia/Kolkata": (datetime(2026, 6, 1, tzinfo=UTC),),
    "UTC": (datetime(2026, 6, 1, tzinfo=UTC),),
}


@dataclass(frozen=True)
class Version:
    """What was true of a machine from a minute on."""

    since: int
    location: int
    capacity: int | Fraction | None
    unit: str | None
    in_service: bool = True


@dataclass(frozen=True)
class Machine:
    """Its history, oldest first."""

    versions: tuple[Version, ...]
    resource_id: UUID = field(default_factory=uuid.uuid4)

    def at(self, minute: int) -> Version:
        """What was true of it in this minute."""
        return [v for v in self.versions if v.since <= minute][-1]


@dataclass(frozen=True)
class Shift:
    """A time in which a location planned to work."""

    location: int
    start: int
    end: int
    shift_id: UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True)
class Event:
    """What a machine, or a location, reported. `minutes` None: not known."""

    machine: int | None
    location: int
    kind: str
    start: int
    minutes: int | None
    quantity: Fraction | None = None
    scrap: Fraction | None = None
    cause: str | None = None
    event_id: UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True)
class Plant:
    """One organization."""

    base: datetime
    timezone: str
    locations: tuple[UUID, ...]
    machines: tuple[Machine, ...]
    shifts: tuple[Shift, ...]
    events: tuple[Event, ...]
    days: int = 3

    def time(self, minute: int) -> datetime:
        """The instant at which this minute begins."""
        return self.base + timedelta(minutes=minute)


@st.composite
def machines(draw: st.DrawFn, locations: int, days: int) -> Machine:
    """A machine that may move, be re-rated, change its unit, be retired and come back."""
    unit = draw(st.sampled_from(["pieces", "pieces", "pieces", "kg", None]))
    versions = [
        Version(EVER, draw(st.integers(0, locations - 1)), draw(st.sampled_from([60, 100, 7, None])), unit)
    ]
    changes = draw(st.lists(st.integers(1, days * DAY - 1), max_size=2, unique=True))
    for since in sorted(changes):
        last = versions[-1]
        change = draw(st.sampled_from(["move", "rate", "service"]))
        if change == "move":
            changed = replace(last, since=since, location=draw(st.integers(0, locations - 1)))
        elif change == "rate":
            changed = replace(last, since=since, capacity=draw(st.sampled_from([30, 90])))
        else:
            changed = replace(last, since=since, in_service=not last.in_service)
        versions.append(changed)
    return Machine(tuple(versions))


@st.composite
def events_of(draw: st.DrawFn, number: int, machine: Machine, days: int) -> list[Event]:
    """What a machine reported: consecutive production, and stops anywhere, also inside production and overlapping."""
    reports_quantity = draw(st.booleans()) or draw(st.booleans())
    reports_scrap = reports_quantity and draw(st.booleans())
    found: list[Event] = []
    at = draw(st.integers(0, 600))
    for _ in range(draw(st.integers(0, 6))):
        minutes = draw(st.integers(1, 600))
        if at + minutes > days * DAY:
            break
        quantity = Fraction(draw(st.integers(0, 900))) if reports_quantity else None
        scrap = None
        if reports_scrap and quantity is not None:
            scrap = quantity * draw(st.sampled_from([0, 1, 2])) / 4
        found.append(Event(number, machine.at(at).location, "production", at, minutes, quantity, scrap))
        at += minutes + draw(st.integers(0, 900))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, days * DAY - 1))
        minutes = min(draw(st.integers(0, 400)), days * DAY - start)
        kind = draw(st.sampled_from(["breakdown", "breakdown", "idle", "setup", "maintenance"]))
        cause = draw(st.sampled_from([None, "belt", "motor"]))
        found.append(Event(number, machine.at(start).location, kind, start, minutes, cause=cause))
    return found


@st.composite
def plants(draw: st.DrawFn, days: int = 3) -> Plant:
    """One organization of up to two locations and three machines, over a few days around a change of the clock."""
    timezone = draw(st.sampled_from(sorted(BASES)))
    base = draw(st.sampled_from(BASES[timezone]))
    locations = tuple(uuid.uuid4() for _ in range(draw(st.integers(1, 2))))
    drawn = [draw(machines(len(locations), days)) for _ in range(draw(st.integers(1, 3)))]
    shifts = []
    for location in range(len(locations)):
        for start in draw(st.lists(st.integers(0, days * DAY - 1), max_size=4, unique=True)):
            shifts.append(Shift(location, start, start + draw(st.integers(1, DAY))))
    events = [
        event for number, machine in enumerate(drawn) for event in draw(events_of(number, machine, days))
    ]
    return Plant(base, timezone, locations, tuple(drawn), tuple(shifts), tuple(events), days)


def write(
    db: DatabaseManager,
    plant: Plant,
    *,
    organization_id: UUID | None = None,
    order: list[int] | None = None,
) -> UUID:
    """Store a plant in the database, its events in this order (by number), and return its organization.

    Master data are written with the library's methods, events with plain SQL in any order.
    """
    queries = OperationalDataQueries(db)
    org = (
        organization_id
        or queries.create_organization(f"Plant {uuid.uuid4()}", industry="test", timezone=plant.timezone)[
            "organization_id"
        ]
    )
    db.execute_many(
        "INSERT INTO locations (organization_id, location_id, name, location_type, timezone) VALUES %s",
        [(org, key, str(key), "factory", plant.timezone) for key in plant.locations],
    )
    for machine in plant.machines:
        write_machine(db, queries, org, plant, machine)
    db.execute_many(
        "INSERT INTO shifts (organization_id, location_id, name, starts_at, ends_at) VALUES %s",
        [
            (org, plant.locations[s.location], f"{number}", plant.time(s.start), plant.time(s.end))
            for number, s in enumerate(plant.shifts)
        ],
    )
    write_events(
        db, org, plant, [plant.events[n] for n in (range(len(plant.events)) if order is None else order)]
    )
    return org


def write_machine(
    db: DatabaseManager, queries: OperationalDataQueries, org: UUID, plant: Plant, machine: Machine
) -> None:
    """A machine's first version, then each change effective at its time."""
    first = machine.versions[0]
    db.execute(
        "INSERT INTO resources (organization_id, resource_id, location_id, name, resource_type, rated_capacity_per_hour, "
        "capacity_unit) VALUES (%s, %s, %s, %s, 'machine', %s, %s)",
        (
            org,
            machine.resource_id,
            plant.locations[first.location],
            str(machine.resource_id),
            first.capacity,
            first.unit,
        ),
    )
    for before, after in zip(machine.versions, machine.versions[1:], strict=False):
        apply_change(queries, org, plant, machine.resource_id, before, after)


def apply_change(
    queries: OperationalDataQueries,
    org: UUID,
    plant: Plant,
    resource_id: UUID,
    before: Version,
    after: Version,
) -> None:
    """The change from one version of a machine to the next, effective at its minute."""
    at = plant.time(after.since)
    if after.location != before.location:
        queries.move_resource(org, resource_id, location_id=plant.locations[after.location], effective_at=at)
    if (after.capacity, after.unit) != (before.capacity, before.unit):
        queries.rerate_resource(
            org,
            resource_id,
            rated_capacity_per_hour=after.capacity,
            capacity_unit=after.unit,
            effective_at=at,
        )
    if after.in_service != before.in_service:
        queries.set_resource_status(
            org, resource_id, status="running" if after.in_service else "retired", effective_at=at
        )


def write_events(db: DatabaseManager, org: UUID, plant: Plant, events: list[Event]) -> None:
    """Write events one by one, in this order, each in a separate transaction."""
    for event in events:
        db.execute(
            "INSERT INTO operational_events (organization_id, event_id, time, location_id, resource_id, event_type, "
            "duration_minutes, quantity, scrap_quantity, cause) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            row_of(org, plant, event),
        )


def row_of(org: UUID, plant: Plant, event: Event) -> tuple[Any, ...]:
    """The event as a row of the table."""
    return (
        org,
        event.event_id,
        plant.time(event.start),
        plant.locations[event.location],
        None if event.machine is None else plant.machines[event.machine].resource_id,
        event.kind,
        event.minutes,
        None if event.quantity is None else str(float(event.quantity)),
        None if event.scrap is None else str(float(event.scrap)),
        event.cause,
    )
