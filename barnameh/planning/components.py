"""The 0/1 model of a roster: possible assignments, hard rules and costs, separately for each connected part.

People belong to a location, so a roster splits into parts that share no people: each is solved separately,
and the optima of the parts are the optimum of the whole.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.calendar import is_night, is_weekend, local_day, week_hours
from barnameh.planning.model import PINNED, Pair, Roster, Shift, Standing, Weights, Worker
from barnameh.planning.solve import Floats, Ints

HOUR_SLOPES = ((0.0, 1.0), (8.0, 2.0), (24.0, 4.0))
COUNT_SLOPES = ((0.0, 1.0), (2.0, 2.0))
_DAY, _MICRO = dt.timedelta(days=1), dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))


@dataclass
class Soft:
    """A soft constraint: a·x above `limit` costs, in segments of growing price."""

    columns: list[int]
    values: list[float]
    limit: float
    lengths: tuple[float, ...]
    prices: tuple[float, ...]
    """Of each segment; the last one is unbounded."""

    def cost(self, amount: float) -> float:
        """Return the cost of a·x = amount."""
        excess, total = amount - self.limit, 0.0
        for length, price in zip(self.lengths, self.prices, strict=True):
            if excess <= 0:
                break
            total += price * min(excess, length)
            excess -= length
        return total


@dataclass(frozen=True)
class Entries:
    """A sparse matrix: row, column and value of each entry, by rows."""

    rows: Ints
    columns: Ints
    values: Floats
    height: int

    @classmethod
    def of(cls, rows: Sequence[tuple[list[int], list[float]]]) -> Entries:
        """Return the matrix of these rows."""
        sizes = [len(columns) for columns, _ in rows]
        size = sum(sizes)
        chain = itertools.chain.from_iterable
        return cls(
            np.repeat(np.arange(len(rows)), sizes),
            np.fromiter(chain(columns for columns, _ in rows), np.int64, size),
            np.fromiter(chain(values for _, values in rows), np.float64, size),
            len(rows),
        )

    def times(self, x: Floats) -> Floats:
        """Return each row's sum."""
        return np.bincount(self.rows, self.values * x[self.columns], self.height).astype(np.float64)

    def by_column(self, width: int) -> tuple[list[int], list[int], list[float]]:
        """Return the start of each column, then rows and values by columns."""
        order = np.argsort(self.columns, kind="stable")
        starts = np.searchsorted(self.columns[order], np.arange(width + 1))
        return starts.tolist(), self.rows[order].tolist(), self.values[order].tolist()


@dataclass
class Part:
    """One connected part. Columns are pairs (shift, worker), then the days of people who can begin twice a day."""

    shifts: list[Shift]
    workers: list[Worker]
    pair_shift: Ints
    pair_worker: Ints
    cost: Floats
    """Of each column, if 1."""
    constant: float
    hard: list[tuple[list[int], list[float], float]] = field(default_factory=list)
    """a·x <= limit."""
    soft: list[Soft] = field(default_factory=list)
    days: list[tuple[list[int], int]] = field(default_factory=list)
    """Columns of pairs, and the column of their day: 1 if any of them is."""
    column_worker: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    present: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """Pairs in the current roster."""
    pinned: list[Pair] = field(default_factory=list)
    of_shift: list[list[int]] = field(default_factory=list)
    of_worker: list[list[int]] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    """For each shift, the soft rows of missing people and skills."""
    hours: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def pair_count(self) -> int:
        """Number of pairs."""
        return int(self.pair_shift.size)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.pair_count + len(self.days)

    @cached_property
    def is_integral(self) -> bool:
        """Whether every roster costs a whole number."""
        prices = [self.constant, *self.cost.tolist(), *(p for row in self.soft for p in row.prices)]
        units = all({abs(v) for v in row.values} == {1.0} for row in self.soft if row.columns)
        return units and all(p == round(p) for p in prices)

    def complete(self, x: Floats) -> Floats:
        """Return x with the day columns that follow from its pairs."""
        whole = np.zeros(self.width)
        whole[: self.pair_count] = x[: self.pair_count]
        for columns, day in self.days:
            whole[day] = max(whole[columns], default=0.0)
        return whole

    @cached_property
    def hard_rows(self) -> Entries:
        """The hard rows' entries."""
        return Entries.of([(columns, values) for columns, values, _ in self.hard])

    @cached_property
    def soft_rows(self) -> Entries:
        """The soft rows' entries."""
        return Entries.of([(row.columns, row.values) for row in self.soft])

    def price(self, x: Floats) -> float:
        """Return the cost of this roster."""
        amounts = self.soft_rows.times(x).tolist()
        soft = sum(row.cost(a) for row, a in zip(self.soft, amounts, strict=True) if a > row.limit)
        return self.constant + float(self.cost @ x) + soft

    def keeps_rules(self, x: Floats) -> bool:
        """Return whether all hard rows hold."""
        limits = np.array([limit for _, _, limit in self.hard])
        return bool((self.hard_rows.times(x) <= limits + 1e-6).all())

    def chosen(self, x: Floats) -> set[Pair]:
        """Return the assignments, including the pinned ones."""
        picked = np.flatnonzero(x[: self.pair_count] > 0.5)
        pairs = {
            (self.shifts[self.pair_shift[j]].shift_id, self.workers[self.pair_worker[j]].employee_id)
            for j in picked
        }
        return pairs | set(self.pinned)


def _micros(at: dt.datetime) -> int:
    return (at - _EPOCH) // _MICRO


class _Ground:
    """A roster by position instead of key, with what many parts need of its shifts and people."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        shifts, workers = roster.shifts, roster.workers
        self.start = np.array([_micros(s.starts_at) for s in shifts], dtype=np.int64)
        self.end = np.array([_micros(s.ends_at) for s in shifts], dtype=np.int64)
        self.hours = np.array([s.hours for s in shifts])
        self.nights = np.array([float(is_night(s.starts_at, s.ends_at, s.timezone)) for s in shifts])
        self.weekends = np.array([float(is_weekend(s.starts_at, s.timezone)) for s in shifts])
        self.shares = fair_shares(roster)
        number = {s.shift_id: n for n, s in enumerate(shifts)}
        who = {w.employee_id: n for n, w in enumerate(workers)}
        pinned, present = roster.pinned(), roster.present()
        self.present: list[list[int]] = [[] for _ in workers]
        """Of each person, the shifts that they have."""
        self.held: list[list[int]] = [[] for _ in workers]
        """Of each person, the pinned shifts that they will work."""
        self.pinned: list[list[Pair]] = [[] for _ in shifts]
        self.crew: list[list[UUID]] = [[] for _ in shifts]
        """Of each shift, who is pinned and expected to come."""
        self.movable = [0] * len(shifts)
        """Of each shift, how many others are assigned."""
        for shift_id, employee_id in sorted(present):
            if employee_id in who:
                self.present[who[employee_id]].append(number[shift_id])
            self.movable[number[shift_id]] += (shift_id, employee_id) not in pinned
        for shift_id, employee_id in sorted(pinned):
            self.pinned[number[shift_id]].append((shift_id, employee_id))
            if (shift_id, employee_id) in present:
                self.crew[number[shift_id]].append(employee_id)
        self.fixed: list[list[Standing]] = [[] for _ in workers]
        """Of each person, the assignments that stay, in the plan or near it."""
        for a in roster.standing:
            if a.employee_id not in who or a.status == "cancelled":
                continue
            if a.shift_id not in number or (a.shift_id, a.employee_id) in pinned:
                self.fixed[who[a.employee_id]].append(a)
                if a.shift_id in number and a.status in PINNED - {"absent"}:
                    self.held[who[a.employee_id]].append(number[a.shift_id])
        by_place: dict[UUID, list[int]] = defaultdict(list)
        for n, shift in enumerate(shifts):
            by_place[shift.location_id].append(n)
        self.of_place = {place: np.array(found, dtype=np.int64) for place, found in by_place.items()}
        self.number = number
        self._days: dict[str, list[dt.date]] = {}
        self._weeks: dict[str, list[tuple[tuple[dt.date, float], ...]]] = {}

    def days(self, timezone: str) -> list[dt.date]:
        """Return the day of each shift there."""
        if timezone not in self._days:
            self._days[timezone] = [local_day(s.starts_at, timezone) for s in self.roster.shifts]
        return self._days[timezone]

    def weeks(self, timezone: str) -> list[tuple[tuple[dt.date, float], ...]]:
        """Return the hours of each shift by local week there."""
        if timezone not in self._weeks:
            self._weeks[timezone] = [week_hours(s.starts_at, s.ends_at, timezone) for s in self.roster.shifts]
        return self._weeks[timezone]

    def rests(self, worker: Worker, shifts: Ints) -> Ints:
        """Return the minimum rest after each of these shifts."""
        if len(worker.contracts) == 1:
            return np.full(shifts.size, _rest_after(worker, worker.contracts[0].valid_from))
        days = self.days(worker.timezone)
        return np.array([_rest_after(worker, days[s]) for s in shifts.tolist()], dtype=np.int64)

    def possible(self, w: int) -> Ints:
        """Return the shifts that this person may work beside what stays, each regarded alone."""
        worker = self.roster.workers[w]
        places = [self.of_place[place] for place in worker.places if place in self.of_place]
        shifts = np.sort(np.concatenate(places)) if places else _NOTHING[0]
        start, end, rests = self.start[shifts], self.end[shifts], self.rests(worker, shifts)
        may = np.zeros(shifts.size, dtype=np.bool_)
        for first, last in worker.employed:
            may |= (_micros(first) <= start) & (start < _micros(last))
        for first, last, _ in worker.away:
            may &= (_micros(first) >= end) | (_micros(last) <= start)
        for a in self.fixed[w]:
            first, last = a.starts_at, a.ends_at
            if a.status == "absent":
                may &= (_micros(first) >= end) | (_micros(last) <= start)
                continue
            until = _micros(last) + _rest_after(worker, local_day(first, worker.timezone))
            may &= (_micros(first) >= end + rests) | (until <= start)
        held = [self.number[a.shift_id] for a in self.fixed[w] if a.shift_id in self.number]
        return shifts[may & ~np.isin(shifts, held)] if held else shifts[may]


def _rest_after(worker: Worker, day: dt.date) -> int:
    """Return the minimum rest, in microseconds, after a shift that begins on that local day."""
    return dt.timedelta(hours=worker.contract(day).min_rest_hours) // _MICRO


def max_hours(worker: Worker, monday: dt.date) -> float:
    """Maximum hours in the week: the strictest contract in force on one of its days."""
    if len(worker.contracts) == 1:
        return worker.contracts[0].max_hours_per_week
    return min(worker.contract(monday + n * _DAY).max_hours_per_week for n in range(7))


def split(roster: Roster) -> tuple[list[Part], float]:
    """Return the connected parts of a roster, by first shift, and the cost of everything else."""
    ground = _Ground(roster)
    leader = np.arange(len(roster.shifts))
    possible = [ground.possible(w) for w in range(len(roster.workers))]
    for shifts in possible:
        joined = np.unique(leader[shifts])
        if joined.size > 1:
            leader[np.isin(leader, joined)] = joined[0]
    members: dict[int, list[int]] = defaultdict(list)
    outside = Part([], [], *_NOTHING, 0.0)
    idle = []
    for w, shifts in enumerate(possible):
        if shifts.size:
            members[int(leader[shifts[0]])].append(w)
        else:
            idle.append(w)
    parts = [
        _part(ground, np.flatnonzero(leader == first), members[first], possible)
        for first in np.unique(leader).tolist()
    ]
    outside.workers = [roster.workers[w] for w in idle]
    outside.of_worker = [[] for _ in idle]
    _shares(outside, ground, idle, possible)
    return parts, outside.constant


def _part(ground: _Ground, group: Ints, members: list[int], possible: list[Ints]) -> Part:
    roster = ground.roster
    place = np.full(len(roster.shifts), -1)
    place[group] = np.arange(group.size)
    counts = [possible[w].size for w in members]
    shift_of = np.concatenate([_NOTHING[0], *(place[possible[w]] for w in members)])
    worker_of = np.repeat(np.arange(len(members)), counts)
    order = np.lexsort((worker_of, shift_of))
    pair_shift, pair_worker = shift_of[order], worker_of[order]
    where = np.empty(order.size, dtype=np.int64)
    where[order] = np.arange(order.size)
    bounds = np.searchsorted(pair_shift, np.arange(group.size + 1)).tolist()
    part = Part(
        [roster.shifts[s] for s in group.tolist()],
        [roster.workers[w] for w in members],
        pair_shift,
        pair_worker,
        np.zeros(order.size),
        0.0,
        pinned=[pair for s in group.tolist() for pair in ground.pinned[s]],
        of_shift=[list(range(a, b)) for a, b in itertools.pairwise(bounds)],
        of_worker=[c.tolist() for c in np.split(where, np.cumsum(counts)[:-1])] if members else [],
        hours=ground.hours[group[pair_shift]],
    )
    part.pinned.sort()
    _linear_costs(part, ground, group, members, possible)
    _places(part, ground, group)
    extra: list[int] = []
    cliques: dict[tuple[bytes, bytes], list[list[int]]] = {}
    for n, w in enumerate(members):
        worker, columns, shifts = part.workers[n], part.of_worker[n], possible[w]
        _rest(part, columns, ground.start[shifts], ground.end[shifts] + ground.rests(worker, shifts), cliques)
        _weeks(part, ground, worker, columns, shifts, ground.fixed[w])
        extra += [n] * _day_runs(part, ground, worker, columns, shifts, ground.fixed[w])
    part.column_worker = np.concatenate([pair_worker, np.array(extra, dtype=np.int64)])
    part.cost = np.concatenate([part.cost, np.zeros(len(extra))])
    _shares(part, ground, members, possible)
    return part


def _linear_costs(part: Part, ground: _Ground, group: Ints, members: list[int], possible: list[Ints]) -> None:
    weights = ground.roster.weights
    part.present = np.zeros(part.pair_count, dtype=np.bool_)
    for n, w in enumerate(members):
        worker, shifts, columns = part.workers[n], possible[w], part.of_worker[n]
        days = ground.days(worker.timezone)
        absence = np.array([worker.absence.get(days[s], 0.0) for s in shifts.tolist()])
        wish = np.zeros(shifts.size)
        for first, last, weight in worker.wishes:
            meets = (_micros(first) < ground.end[shifts]) & (_micros(last) > ground.start[shifts])
            wish = np.where(meets, np.maximum(wish, weight), wish)
        part.cost[columns] = np.rint(weights.absence * absence) + np.rint(weights.wish * wish)
        if ground.present[w]:
            part.present[columns] = np.isin(shifts, ground.present[w])
    part.cost -= weights.change * part.present
    # An existing assignment that cannot stay is a change in any plan.
    part.constant += weights.change * sum(ground.movable[s] for s in group.tolist())
    by_worker = {w.employee_id: w for w in ground.roster.workers} if part.pinned else {}
    for n, s in enumerate(group.tolist()):
        # Who is absent leaves the place empty.
        known = [by_worker[e] for e in ground.crew[s] if e in by_worker]
        part.constant += sum(dislike(part.shifts[n], worker, weights) for worker in known)


def dislike(shift: Shift, worker: Worker, weights: Weights) -> float:
    """Cost of assigning this person to this shift: expected absence and wishes, rounded to integers."""
    absence = worker.absence.get(local_day(shift.starts_at, worker.timezone), 0.0)
    wishes = [k for a, b, k in worker.wishes if a < shift.ends_at and b > shift.starts_at]
    return float(round(weights.absence * absence) + round(weights.wish * max(wishes, default=0.0)))


def missing_price(shift: Shift, missing: float) -> float:
    """Cost of a missing person in this shift: 50 % more at priority 1, 50 % less at 5."""
    return missing * (1 + (3 - shift.priority) / 4)


def _places(part: Part, ground: _Ground, group: Ints) -> None:
    """Rows for missing people and skills, and for no more people than are needed or already assigned."""
    roster = ground.roster
    weights = roster.weights
    skills = {w.employee_id: w.skills for w in roster.workers}
    skills_of = [w.skills for w in part.workers]
    worker_of, present = part.pair_worker.tolist(), part.present.tolist()
    for n, s in enumerate(group.tolist()):
        shift, columns, crew = part.shifts[n], part.of_shift[n], ground.crew[s]
        open_places = shift.required - len(crew)
        first = len(part.soft)
        if open_places > 0:
            price = missing_price(shift, weights.missing)
            part.soft.append(Soft(columns, [-1.0] * len(columns), -float(open_places), (np.inf,), (price,)))
        absent = [
            k
            for k in sorted(shift.skills if roster.skills_count else ())
            if not any(k in skills.get(e, ()) for e in crew)
        ]
        for skill in absent:
            able = [j for j in columns if skill in skills_of[worker_of[j]]]
            part.soft.append(Soft(able, [-1.0] * len(able), -1.0, (np.inf,), (weights.skill,)))
        part.places.append(list(range(first, len(part.soft))))
        standing = sum(present[j] for j in columns)
        most = max(open_places, standing, 1 if absent else 0, 0)
        if len(columns) > most:
            part.hard.append((columns, [1.0] * len(columns), float(most)))


def _rest(
    part: Part,
    columns: list[int],
    start: Ints,
    end: Ints,
    known: dict[tuple[bytes, bytes], list[list[int]]],
) -> None:
    """At most one of each clique of shifts that overlap, including the rest after them."""
    key = (start.tobytes(), end.tobytes())
    if key not in known:  # identical for most people of a location
        known[key] = _cliques(list(zip(start.tolist(), end.tolist(), range(start.size), strict=True)))
    for clique in known[key]:
        part.hard.append(([columns[n] for n in clique], [1.0] * len(clique), 1.0))


def _cliques(spans: list[tuple[int, int, int]]) -> list[list[int]]:
    """Return the maximal sets of at least two mutually overlapping intervals."""
    found = []
    active: list[tuple[int, int]] = []
    grown = False
    for start, end, n in sorted(spans, key=lambda span: (span[0], span[2])):
        staying = [(e, k) for e, k in active if e > start]
        if len(staying) < len(active) and grown:
            found.append([k for _, k in active])
            grown = False
        active = [*staying, (end, n)]
        grown = True
    if grown:
        found.append([k for _, k in active])
    return [clique for clique in found if len(clique) > 1]


def _weeks(
    part: Part, ground: _Ground, worker: Worker, columns: list[int], shifts: Ints, fixed: Iterable[Standing]
) -> None:
    by_shift = ground.weeks(worker.timezone)
    weeks: dict[dt.date, list[tuple[int, float]]] = defaultdict(list)
    for j, s in zip(columns, shifts.tolist(), strict=True):
        for monday, hours in by_shift[s]:
            weeks[monday].append((j, hours))
    worked: dict[dt.date, float] = defaultdict(float)
    for a in fixed:
        if a.status != "absent":
            for monday, hours in week_hours(a.starts_at, a.ends_at, worker.timezone):
                worked[monday] += hours
    for monday, entries in sorted(weeks.items()):
        left = max(0.0, max_hours(worker, monday) - worked[monday])
        if sum(hours for _, hours in entries) > left + 1e-9:
            part.hard.append(([j for j, _ in entries], [h for _, h in entries], left))


def _day_runs(
    part: Part, ground: _Ground, worker: Worker, columns: list[int], shifts: Ints, fixed: Iterable[Standing]
) -> int:
    """Limit consecutive days to the contract's; return the number of day columns created."""
    days: dict[dt.date, list[int]] = defaultdict(list)
    spans: dict[dt.date, list[int]] = defaultdict(list)
    day_of = ground.days(worker.timezone)
    for j, s in zip(columns, shifts.tolist(), strict=True):
        days[day_of[s]].append(j)
        spans[day_of[s]].append(s)
    busy = {local_day(a.starts_at, worker.timezone) for a in fixed if a.status != "absent"}
    terms: dict[dt.date, list[int]] = {}
    made = 0
    for day, entries in sorted(days.items()):
        overlap = ground.start[spans[day]].max() < ground.end[spans[day]].min() + _rest_after(worker, day)
        if len(entries) == 1 or overlap:
            terms[day] = entries  # at most one is 1, so their sum is the day
        else:
            column = part.pair_count + len(part.days)
            part.days.append((entries, column))
            for j in entries:
                part.hard.append(([j, column], [1.0, -1.0], 0.0))
            terms[day] = [column]
            made += 1
    if not days:
        return made
    first, last = min(days), max(days)
    day = first
    reach = max(c.max_consecutive_days for c in worker.contracts)
    while day <= last + reach * _DAY:
        most = worker.contract(day).max_consecutive_days
        window = [day - n * _DAY for n in range(most, -1, -1)]
        taken = sum(d in busy for d in window)
        row = [j for d in window if d not in busy for j in terms.get(d, ())]
        if row and taken + sum(d not in busy and d in terms for d in window) > most:
            part.hard.append((row, [1.0] * len(row), float(max(0, most - taken))))
        day += _DAY
    return made


def fair_shares(roster: Roster) -> dict[UUID, tuple[float, float, float]]:
    """Return each person's fair share of hours, nights and weekend shifts that their location needs.

    In proportion to agreed hours, rounded up to whole hours, nights and shifts. (Integral prices speed up
    proofs: a solution is optimal as soon as no other one can be cheaper by 1.)
    """
    agreed: dict[UUID, float] = {}
    spans = [s for s in roster.shifts if s.required]
    if not spans:
        return {w.employee_id: (0.0, 0.0, 0.0) for w in roster.workers}
    first, last = min(s.starts_at for s in spans), max(s.ends_at for s in spans)
    of_place: dict[UUID, float] = defaultdict(float)
    for w in roster.workers:
        employed = any(a < last and b > first for a, b in w.employed)
        agreed[w.employee_id] = w.contract(local_day(first, w.timezone)).hours_per_week if employed else 0.0
        of_place[w.location_id] += agreed[w.employee_id]
    needs: dict[UUID, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for s in spans:
        need = needs[s.location_id]
        need[0] += s.required * s.hours
        need[1] += s.required * is_night(s.starts_at, s.ends_at, s.timezone)
        need[2] += s.required * is_weekend(s.starts_at, s.timezone)
    shares = {}
    for w in roster.workers:
        total = of_place[w.location_id]
        share = agreed[w.employee_id] / total if total else 0.0
        shares[w.employee_id] = (
            float(math.ceil(share * needs[w.location_id][0] - 1e-6)),
            float(math.ceil(share * needs[w.location_id][1] - 1e-6)),
            float(math.ceil(share * needs[w.location_id][2] - 1e-6)),
        )
    return shares


def _shares(part: Part, ground: _Ground, members: list[int], possible: list[Ints]) -> None:
    """Add rows for hours, nights and weekends above the fair share, at growing prices."""
    weights = ground.roster.weights
    for n, w in enumerate(members):
        shares, held = ground.shares[part.workers[n].employee_id], ground.held[w]
        for amounts, share, slopes, weight in (
            (ground.hours, shares[0], HOUR_SLOPES, weights.hours),
            (ground.nights, shares[1], COUNT_SLOPES, weights.nights),
            (ground.weekends, shares[2], COUNT_SLOPES, weights.weekends),
        ):
            _above(
                part,
                part.of_worker[n],
                amounts[possible[w]],
                float(amounts[held].sum()),
                share,
                slopes,
                weight,
            )


def price_above(
    amounts: Floats, share: float, slopes: Sequence[tuple[float, float]], weight: float
) -> Floats:
    """Cost of amounts above a share, at growing slopes."""
    ends = [start for start, _ in slopes[1:]] + [np.inf]
    total = np.zeros_like(amounts)
    for (start, slope), end in zip(slopes, ends, strict=True):
        total += weight * slope * np.maximum(0.0, np.minimum(amounts - share, end) - start)
    return total


def _above(
    part: Part,
    columns: list[int],
    values: Floats,
    held: float,
    share: float,
    slopes: Sequence[tuple[float, float]],
    weight: float,
) -> None:
    """Add one row. If all shifts count alike, price whole shifts: exact, and tighter for the solver."""
    part.constant += float(price_above(np.array(held), share, slopes, weight))
    used = np.flatnonzero(values)
    if not used.size or weight == 0:
        return
    row, amounts = [columns[n] for n in used.tolist()], values[used]
    unit = float(amounts[0])
    if (np.abs(amounts - unit) < 1e-9).all():
        steps = price_above(held + unit * np.arange(used.size + 1.0), share, slopes, weight)
        rises = np.diff(steps)
        free = int(np.argmax(rises > 1e-12))
        if rises[free] <= 1e-12:
            return
        turns = [free, *(np.flatnonzero(np.abs(np.diff(rises[free:])) >= 1e-9) + free + 1).tolist()]
        widths = [float(b - a) for a, b in itertools.pairwise(turns)] + [np.inf]
        part.soft.append(
            Soft(row, [1.0] * len(row), float(free), tuple(widths), tuple(rises[turns].tolist()))
        )
        return
    if amounts.sum() + held <= share:
        return
    limit = share - held
    lengths: list[float] = []
    prices: list[float] = []
    for n, (start, slope) in enumerate(slopes):
        end = slopes[n + 1][0] if n + 1 < len(slopes) else np.inf
        low = max(start, held - share)
        if end > low:
            lengths.append(end - low)
            prices.append(weight * slope)
    part.soft.append(Soft(row, amounts.tolist(), max(limit, 0.0), tuple(lengths), tuple(prices)))
