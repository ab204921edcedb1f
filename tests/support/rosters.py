"""Small, nasty random rosters: clock changes, long shifts, assignments that break rules, people who join and leave."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from uuid import UUID

from barnameh.planning.model import Contract, Roster, Shift, Standing, Worker

EVER = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
STARTS = (
    dt.datetime(2026, 3, 26, tzinfo=dt.UTC),  # the clock goes forward on the 29th in Paris
    dt.datetime(2026, 10, 22, tzinfo=dt.UTC),  # and back on the 25th
    dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
)


def identifier(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 64) + number)


def random_roster(
    seed: int, *, workers: int, shifts: int, days: int = 9, places: int = 2, standing: bool = True
) -> Roster:
    """A roster that depends only on its arguments."""
    chance = random.Random(seed)
    zone = chance.choice(["Europe/Paris", "America/New_York", "UTC"])
    begin = chance.choice(STARTS)

    def some_span(longest: int) -> tuple[dt.datetime, dt.datetime]:
        first = begin + dt.timedelta(hours=chance.randrange(24 * days))
        return first, first + dt.timedelta(hours=chance.randint(1, longest))

    people = []
    for n in range(workers):
        place = identifier(1, n % places)
        contract = Contract(
            dt.date(2020, 1, 1),
            chance.choice([20, 35, 40]),
            chance.choice([40, 48]),
            chance.choice([9, 11]),
            chance.choice([2, 5, 6]),
        )
        later = Contract(begin.date() + dt.timedelta(days=4), 20, 24, 12, 3)
        people.append(
            Worker(
                identifier(2, n),
                f"Worker {n}",
                place,
                zone,
                (contract, later) if chance.random() < 0.2 else (contract,),
                frozenset(k for k in "ab" if chance.random() < 0.6),
                frozenset({place} | ({identifier(1, 0)} if chance.random() < 0.3 else set())),
                (EVER,) if chance.random() < 0.9 else ((EVER[0], begin + dt.timedelta(days=3)),),
                tuple((*some_span(48), "vacation") for _ in range(chance.random() < 0.4)),
                tuple((*some_span(24), 1.0) for _ in range(chance.random() < 0.4)),
                {begin.date() + dt.timedelta(days=d): chance.random() * 0.5 for d in range(days)},
            )
        )
    spans = []
    for n in range(shifts):
        first = begin + dt.timedelta(days=chance.randrange(days), hours=chance.choice([5, 13, 21]))
        length = chance.choice([7, 8, 8, 8, 9, 12, 24])
        spans.append(
            Shift(
                identifier(3, n),
                identifier(1, chance.randrange(places)),
                f"Shift {n}",
                first,
                first + dt.timedelta(hours=length),
                chance.choice([0, 1, 1, 1, 2]),
                frozenset({"a"}) if chance.random() < 0.4 else frozenset(),
                chance.choice([1, 3, 3, 5]),
                zone,
            )
        )
    stands: dict[tuple[UUID, UUID], Standing] = {}
    for _ in range(workers * 2 if standing else 0):
        shift, worker = chance.choice(spans), chance.choice(people)
        mine = [a for a in stands.values() if a.employee_id == worker.employee_id]
        if any(a.starts_at < shift.ends_at and a.ends_at > shift.starts_at for a in mine):
            continue  # the database refuses it too
        status = chance.choice(["scheduled", "scheduled", "scheduled", "confirmed", "absent", "completed"])
        stands[shift.shift_id, worker.employee_id] = Standing(
            shift.shift_id, worker.employee_id, status, shift.starts_at, shift.ends_at
        )
    for n, worker in enumerate(people if standing else ()):
        first = begin - dt.timedelta(hours=chance.choice([5, 14, 30]))
        stands[identifier(4, n), worker.employee_id] = Standing(
            identifier(4, n), worker.employee_id, "completed", first - dt.timedelta(hours=8), first
        )
    return Roster(tuple(spans), tuple(people), tuple(stands.values())).sorted()


def random_site(people: int, shifts: int, locations: int, days: int = 28, *, seed: int = 1) -> Roster:
    """A roster like those in the benchmark tables: three shifts a day, one or two people each, some with a skill, all at one location."""
    chance = random.Random(seed)
    start = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)
    spans = [(start + d * dt.timedelta(days=1), start + (d + 1) * dt.timedelta(days=1)) for d in range(days)]
    workers = []
    for n in range(people):
        place = identifier(1, n % locations)
        agreed = chance.choice([40, 40, 40, 32, 20])
        workers.append(
            Worker(
                identifier(2, n),
                f"Person {n}",
                place,
                "Europe/Paris",
                (Contract(dt.date(2020, 1, 1), agreed, 48, 11, 6),),
                frozenset(k for k in "abc" if chance.random() < 0.5),
                frozenset({place}),
                (EVER,),
                tuple((*span, "vacation") for span in spans if chance.random() < 0.05),
                tuple((*span, 1.0) for span in spans if chance.random() < 0.03),
                {first.date(): chance.random() * 0.1 for first, _ in spans},
            )
        )
    made = []
    for n in range(shifts):
        turn = n // locations % 3
        first = start + dt.timedelta(days=n * days // shifts, hours=(5, 13, 21)[turn])
        made.append(
            Shift(
                identifier(3, n),
                identifier(1, n % locations),
                ("Early", "Late", "Night")[turn],
                first,
                first + dt.timedelta(hours=8),
                chance.choice([1, 1, 2]),
                frozenset({chance.choice("abc")}) if chance.random() < 0.4 else frozenset(),
                timezone="Europe/Paris",
            )
        )
    return Roster(tuple(made), tuple(workers)).sorted()


def with_ill(roster: Roster, pairs: set[tuple[UUID, UUID]], ill: int, days: int) -> tuple[Roster, int]:
    """The roster with these pairs after some people fall ill for some days from the second week on, and the number of lost assignments."""
    shifts = {s.shift_id: s for s in roster.shifts}
    first = min(s.starts_at for s in roster.shifts).replace(hour=0) + dt.timedelta(days=7)
    span = (first, first + dt.timedelta(days=days), "sick")
    gone = {w.employee_id for w in roster.workers[:ill]}
    standing = tuple(
        Standing(s, e, "confirmed" if e in gone else "scheduled", shifts[s].starts_at, shifts[s].ends_at)
        for s, e in sorted(pairs)
    )
    lost = sum(e in gone and shifts[s].starts_at < span[1] and shifts[s].ends_at > first for s, e in pairs)
    workers = tuple(
        dataclasses.replace(w, away=(*w.away, span)) if w.employee_id in gone else w for w in roster.workers
    )
    return dataclasses.replace(roster, workers=workers, standing=standing).sorted(), lost
