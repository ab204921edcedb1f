"""Independent checker of rosters: rules broken and total cost, computed without any of the solver's code.

Everything here is counted from the shifts themselves, pair by pair and day by day. A proposal that fails the
check is neither saved nor applied.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from barnameh.planning.model import Pair, Roster, Shift, Standing, Worker


@dataclass(frozen=True)
class Violation:
    """A rule broken for a person."""

    rule: str
    """place, employed, away, overlap, rest, week, days, places or pinned."""
    employee_id: UUID | None
    shift_id: UUID | None
    text: str


@dataclass(frozen=True)
class _Stint:
    """One person's work: a shift of the plan, or an existing one outside it."""

    shift_id: UUID
    start: dt.datetime
    end: dt.datetime
    is_fixed: bool
    is_absent: bool = False


def _stints(
    shifts: dict[UUID, Shift], held: set[Pair], works: list[UUID], standing: list[Standing], worker: Worker
) -> list[_Stint]:
    who = worker.employee_id
    mine = [_Stint(s, shifts[s].starts_at, shifts[s].ends_at, (s, who) in held) for s in works if s in shifts]
    for a in standing:
        if a.status == "cancelled":
            continue
        if a.shift_id not in shifts:
            mine.append(_Stint(a.shift_id, a.starts_at, a.ends_at, True, a.status == "absent"))
        elif a.status == "absent":
            mine = [m for m in mine if m.shift_id != a.shift_id]
            mine.append(_Stint(a.shift_id, a.starts_at, a.ends_at, True, True))
    return sorted(mine, key=lambda m: (m.start, m.shift_id))


def violations(roster: Roster, pairs: Iterable[Pair]) -> list[Violation]:
    """Return the rules broken by this roster that the plan could have kept.

    Rules broken among pinned assignments alone are not counted: `already_broken` returns them.
    """
    found = list(_all(roster, pairs, blame_fixed=False))
    chosen = set(pairs)
    found += [
        Violation("pinned", e, s, "a pinned assignment was dropped") for s, e in roster.pinned() - chosen
    ]
    return found


def already_broken(roster: Roster) -> list[Violation]:
    """Return the rules broken by pinned assignments, whatever the plan."""
    return list(_all(roster, roster.pinned(), blame_fixed=True))


def _all(roster: Roster, pairs: Iterable[Pair], *, blame_fixed: bool) -> Iterable[Violation]:
    pairs = sorted(pairs)
    shifts = {s.shift_id: s for s in roster.shifts}
    known = {w.employee_id for w in roster.workers}
    pinned = roster.pinned()
    for shift_id, employee_id in pairs:
        if shift_id not in shifts or (employee_id not in known and (shift_id, employee_id) not in pinned):
            yield Violation("place", employee_id, shift_id, "no such shift or person in the plan")
    works = _crews((e, s) for s, e in pairs)
    stands: dict[UUID, list[Standing]] = {w.employee_id: [] for w in roster.workers}
    for a in roster.standing:
        stands.get(a.employee_id, []).append(a)
    for worker in roster.workers:
        who = worker.employee_id
        mine = _stints(shifts, pinned, works.get(who, []), stands[who], worker)
        yield from _of_one(shifts, worker, mine, blame_fixed=blame_fixed)
    if blame_fixed:
        return
    present = roster.present()
    crews, standing = _crews(pairs), _crews(present)
    for shift in roster.shifts:
        crew, here = crews.get(shift.shift_id, []), standing.get(shift.shift_id, [])
        held = [e for e in crew if (shift.shift_id, e) in pinned]
        coming = [e for e in crew if (shift.shift_id, e) in present or (shift.shift_id, e) not in pinned]
        more = (
            bool(shift.skills)
            and roster.skills_count
            and len(coming) == len([e for e in held if e in here]) + 1
        )
        if len(coming) > max(shift.required, len(here)) and not more:
            yield Violation(
                "places", None, shift.shift_id, f"{shift.name}: {len(coming)} people, {shift.required} needed"
            )


def _crews(pairs: Iterable[Pair]) -> dict[UUID, list[UUID]]:
    crews: dict[UUID, list[UUID]] = {}
    for shift_id, employee_id in pairs:
        crews.setdefault(shift_id, []).append(employee_id)
    return crews


def _of_one(
    shifts: dict[UUID, Shift], worker: Worker, mine: list[_Stint], *, blame_fixed: bool
) -> Iterable[Violation]:
    zone = ZoneInfo(worker.timezone)
    who = worker.employee_id

    def guilty(*stints: _Stint) -> bool:
        return blame_fixed or not all(m.is_fixed for m in stints)

    for m in mine:
        if m.is_absent or m.shift_id not in shifts or not guilty(m):
            continue
        if not m.is_fixed and shifts[m.shift_id].location_id not in worker.places:
            yield Violation("place", who, m.shift_id, f"{worker.name} does not work there")
        if not any(a <= m.start < b for a, b in worker.employed):
            yield Violation("employed", who, m.shift_id, f"{worker.name} is not employed then")
        for a, b, reason in worker.away:
            if a < m.end and m.start < b:
                yield Violation("away", who, m.shift_id, f"{worker.name} is away: {reason}")
    for n, first in enumerate(mine):
        for second in mine[n + 1 :]:
            if not guilty(first, second):
                continue
            if second.start < first.end:
                yield Violation("overlap", who, second.shift_id, f"{worker.name} is in two shifts at once")
                continue
            rest = worker.contract(first.start.astimezone(zone).date()).min_rest_hours
            if first.is_absent or second.is_absent:
                continue
            if (second.start - first.end).total_seconds() < rest * 3600 - 1e-6:
                yield Violation("rest", who, second.shift_id, f"{worker.name} rests less than {rest:g} h")
    working = [m for m in mine if not m.is_absent]
    yield from _weeks(worker, working, zone, guilty)
    yield from _days(worker, working, zone, guilty)


def _weeks(
    worker: Worker, working: list[_Stint], zone: ZoneInfo, guilty: Callable[..., bool]
) -> Iterable[Violation]:
    """Check weekly hours. A week is the set of instants whose local date is in it."""
    mondays = set()
    for m in working:
        for at in (m.start, m.end - dt.timedelta(microseconds=1)):
            day = at.astimezone(zone).date()
            mondays.add(day - dt.timedelta(days=day.weekday()))
    for monday in sorted(mondays):
        days = [monday + dt.timedelta(days=n) for n in range(7)]
        first, after = _midnight(days[0], zone), _midnight(days[-1] + dt.timedelta(days=1), zone)
        inside = [(m, (min(m.end, after) - max(m.start, first)).total_seconds() / 3600) for m in working]
        inside = [(m, hours) for m, hours in inside if hours > 0]
        most = min(worker.contract(day).max_hours_per_week for day in days)
        total = sum(hours for _, hours in inside)
        if total > most + 1e-6 and guilty(*(m for m, _ in inside)):
            yield Violation(
                "week",
                worker.employee_id,
                None,
                f"{worker.name}: {total:g} h in the week of {monday}, {most:g} at most",
            )


def _midnight(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first instant of a local day, found by bisection between noons."""
    low = dt.datetime.combine(day, dt.time(12), dt.UTC) - dt.timedelta(days=2)
    high = dt.datetime.combine(day, dt.time(12), dt.UTC) + dt.timedelta(days=1)
    while high - low > dt.timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).date() < day:
            low = middle
        else:
            high = middle
    return (
        high.replace(microsecond=0)
        if high.microsecond == 0
        else (high - dt.timedelta(microseconds=high.microsecond))
    )


def _days(
    worker: Worker, working: list[_Stint], zone: ZoneInfo, guilty: Callable[..., bool]
) -> Iterable[Violation]:
    by_day: dict[dt.date, list[_Stint]] = {}
    for m in working:
        by_day.setdefault(m.start.astimezone(zone).date(), []).append(m)
    run: list[dt.date] = []
    for day in sorted(by_day):
        run = [*run, day] if run and day - run[-1] == dt.timedelta(days=1) else [day]
        most = worker.contract(day).max_consecutive_days
        last = [m for d in run[-most - 1 :] for m in by_day[d]]
        if len(run) > most and guilty(*last):
            yield Violation(
                "days",
                worker.employee_id,
                by_day[day][0].shift_id,
                f"{worker.name} {len(run)} days in a row, {most} at most",
            )


def cost(roster: Roster, pairs: Iterable[Pair]) -> float:
    """Return the cost of this roster by the weights, counted from the shifts alone."""
    pairs, weights = set(pairs), roster.weights
    workers = {w.employee_id: w for w in roster.workers}
    present, pinned = roster.present(), roster.pinned()
    coming = {p for p in pairs if p in present or p not in pinned}
    total = weights.change * len(present - pairs)
    crews = _crews(coming)
    for shift in roster.shifts:
        crew = crews.get(shift.shift_id, [])
        price = weights.missing * {1: 1.5, 2: 1.25, 3: 1.0, 4: 0.75, 5: 0.5}[shift.priority]
        total += price * max(0, shift.required - len(crew))
        if roster.skills_count:
            there = {k for e in crew if e in workers for k in workers[e].skills}
            total += weights.skill * len(shift.skills - there)
        for e in crew:
            if e in workers:
                total += _dislike(shift, workers[e], roster)
    return total + _unfairness(roster, crews)


def _dislike(shift: Shift, worker: Worker, roster: Roster) -> float:
    day = shift.starts_at.astimezone(ZoneInfo(worker.timezone)).date()
    wishes = [k for a, b, k in worker.wishes if a < shift.ends_at and shift.starts_at < b]
    return round(roster.weights.absence * worker.absence.get(day, 0)) + round(
        roster.weights.wish * max([0.0, *wishes])
    )


def _unfairness(roster: Roster, crews: dict[UUID, list[UUID]]) -> float:
    weights = roster.weights
    needed = [s for s in roster.shifts if s.required > 0]
    if not needed:
        shares: dict[UUID, float] = {}
    else:
        begin, end = min(s.starts_at for s in needed), max(s.ends_at for s in needed)
        agreed = {}
        for w in roster.workers:
            there = [1 for a, b in w.employed if a < end and begin < b]
            day = begin.astimezone(ZoneInfo(w.timezone)).date()
            agreed[w.employee_id] = w.contract(day).hours_per_week if there else 0
        of_place: dict[UUID, float] = {}
        for w in roster.workers:
            of_place[w.location_id] = of_place.get(w.location_id, 0) + agreed[w.employee_id]
        shares = {}
        for w in roster.workers:
            of_all = of_place[w.location_id]
            shares[w.employee_id] = agreed[w.employee_id] / of_all if of_all else 0
    total = 0.0
    worked: dict[UUID, list[Shift]] = {}
    for s in roster.shifts:
        for e in crews.get(s.shift_id, []):
            worked.setdefault(e, []).append(s)
    kinds = (_length, night, weekend)
    needs = {
        (place, kind): sum(s.required * kind(s) for s in needed if s.location_id == place)
        for place in {s.location_id for s in needed}
        for kind in kinds
    }
    for w in roster.workers:
        mine = worked.get(w.employee_id, [])
        share = shares.get(w.employee_id, 0)
        fair = math.ceil(share * needs.get((w.location_id, _length), 0) - 1e-6)
        above = sum(_length(s) for s in mine) - fair
        total += weights.hours * (max(0, above) + max(0, above - 8) + 2 * max(0, above - 24))
        for weight, counts in ((weights.nights, night), (weights.weekends, weekend)):
            fair = math.ceil(share * needs.get((w.location_id, counts), 0) - 1e-6)
            above = sum(counts(s) for s in mine) - fair
            total += weight * (max(0, above) + max(0, above - 2))
    return total


def _length(shift: Shift) -> float:
    return (shift.ends_at - shift.starts_at).total_seconds() / 3600


@lru_cache(maxsize=100_000)
def night(shift: Shift) -> bool:
    """Whether at least two hours of it are between midnight and five in its location's time zone."""
    zone, at, minutes = ZoneInfo(shift.timezone), shift.starts_at, 0
    while at < shift.ends_at:
        minutes += 5 * (at.astimezone(zone).hour < 5)
        at += dt.timedelta(minutes=5)
    return minutes >= 120


def weekend(shift: Shift) -> bool:
    """Whether it begins on a Saturday or Sunday in its location's time zone."""
    return shift.starts_at.astimezone(ZoneInfo(shift.timezone)).isoweekday() > 5
