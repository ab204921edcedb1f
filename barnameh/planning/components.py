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
_DAY = dt.timedelta(days=1)
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

    def price(self, x: Floats) -> float:
        """Return the cost of this roster."""
        return (
            self.constant
            + float(self.cost @ x)
            + sum(row.cost(float(np.dot(row.values, x[row.columns]))) for row in self.soft)
        )

    def keeps_rules(self, x: Floats) -> bool:
        """Return whether all hard rows hold."""
        return all(float(np.dot(values, x[columns])) <= limit + 1e-6 for columns, values, limit in self.hard)

    def chosen(self, x: Floats) -> set[Pair]:
        """Return the assignments, including the pinned ones."""
        picked = np.flatnonzero(x[: self.pair_count] > 0.5)
        pairs = {
            (self.shifts[self.pair_shift[j]].shift_id, self.workers[self.pair_worker[j]].employee_id)
            for j in picked
        }
        return pairs | set(self.pinned)


def possible(shift: Shift, worker: Worker) -> bool:
    """Whether this person may work this shift, regardless of other shifts."""
    return (
        shift.location_id in worker.places
        and any(a <= shift.starts_at < b for a, b in worker.employed)
        and not any(a < shift.ends_at and b > shift.starts_at for a, b, _ in worker.away)
    )


def rest_after(worker: Worker, start: dt.datetime) -> dt.timedelta:
    """Minimum rest of the person after a shift that begins then."""
    return dt.timedelta(hours=worker.contract(local_day(start, worker.timezone)).min_rest_hours)


def max_hours(worker: Worker, monday: dt.date) -> float:
    """Maximum hours in the week: the strictest contract in force on one of its days."""
    return min(worker.contract(monday + n * _DAY).max_hours_per_week for n in range(7))


def split(roster: Roster) -> tuple[list[Part], float]:
    """Return the connected parts of a roster, by first shift, and the cost of everything else."""
    workers = {w.employee_id: w for w in roster.workers}
    pinned = roster.pinned()
    fixed: dict[UUID, list[Standing]] = defaultdict(list)
    planned = {s.shift_id: s for s in roster.shifts}
    for a in roster.standing:
        if a.employee_id not in workers or a.status == "cancelled":
            continue
        if a.shift_id not in planned or (a.shift_id, a.employee_id) in pinned:
            fixed[a.employee_id].append(a)
    candidates: dict[int, list[int]] = {}
    by_place: dict[UUID, list[int]] = defaultdict(list)
    for n, worker in enumerate(roster.workers):
        for place in worker.places:
            by_place[place].append(n)
    leader = list(range(len(roster.shifts) + len(roster.workers)))

    def find(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    for s, shift in enumerate(roster.shifts):
        candidates[s] = []
        for w in by_place[shift.location_id]:
            worker = roster.workers[w]
            if (shift.shift_id, worker.employee_id) in pinned or not possible(shift, worker):
                continue
            if any(_excludes(a, shift, worker) for a in fixed[worker.employee_id]):
                continue
            candidates[s].append(w)
            leader[find(len(roster.shifts) + w)] = find(s)
    groups: dict[int, list[int]] = defaultdict(list)
    for s in range(len(roster.shifts)):
        groups[find(s)].append(s)
    parts = [_part(roster, group, candidates, fixed, pinned) for group in groups.values()]
    inside = {w.employee_id for part in parts for w in part.workers}
    outside = Part([], [w for w in roster.workers if w.employee_id not in inside], *_NOTHING, 0.0)
    outside.of_worker = [[] for _ in outside.workers]
    _shares(outside, roster, fixed)
    return parts, outside.constant


def _excludes(a: Standing, shift: Shift, worker: Worker) -> bool:
    """Whether an existing assignment excludes the shift."""
    if a.status == "absent":
        return a.starts_at < shift.ends_at and a.ends_at > shift.starts_at
    return a.starts_at < shift.ends_at + rest_after(
        worker, shift.starts_at
    ) and shift.starts_at < a.ends_at + rest_after(worker, a.starts_at)


def _part(
    roster: Roster,
    group: Sequence[int],
    candidates: dict[int, list[int]],
    fixed: dict[UUID, list[Standing]],
    pinned: set[Pair],
) -> Part:
    shifts = [roster.shifts[s] for s in group]
    number = {w: n for n, w in enumerate(sorted({w for s in group for w in candidates[s]}))}
    workers = [roster.workers[w] for w in number]
    pair_shift = np.array([n for n, s in enumerate(group) for _ in candidates[s]], dtype=np.int64)
    pair_worker = np.array([number[w] for s in group for w in candidates[s]], dtype=np.int64)
    of_shift: list[list[int]] = [[] for _ in shifts]
    of_worker: list[list[int]] = [[] for _ in workers]
    for j, (s, w) in enumerate(zip(pair_shift.tolist(), pair_worker.tolist(), strict=True)):
        of_shift[s].append(j)
        of_worker[w].append(j)
    ids = {s.shift_id for s in shifts}
    part = Part(
        shifts,
        workers,
        pair_shift,
        pair_worker,
        np.zeros(pair_shift.size),
        0.0,
        pinned=sorted(p for p in pinned if p[0] in ids),
        of_shift=of_shift,
        of_worker=of_worker,
        hours=np.array([shifts[s].hours for s in pair_shift.tolist()]),
    )
    _linear_costs(part, roster)
    _places(part, roster)
    extra: list[int] = []
    cliques: dict[tuple[object, ...], list[list[int]]] = {}
    for w, worker in enumerate(workers):
        _rest(part, worker, of_worker[w], cliques)
        _weeks(part, worker, of_worker[w], fixed[worker.employee_id])
        extra += [w] * _day_runs(part, worker, of_worker[w], fixed[worker.employee_id])
    part.column_worker = np.concatenate([pair_worker, np.array(extra, dtype=np.int64)])
    part.cost = np.concatenate([part.cost, np.zeros(len(extra))])
    _shares(part, roster, fixed)
    return part


def _linear_costs(part: Part, roster: Roster) -> None:
    weights, present = roster.weights, roster.present()
    part.present = np.zeros(part.pair_count, dtype=np.bool_)
    for j in range(part.pair_count):
        shift, worker = part.shifts[part.pair_shift[j]], part.workers[part.pair_worker[j]]
        cost = dislike(shift, worker, weights)
        if (shift.shift_id, worker.employee_id) in present:
            part.present[j] = True
            part.constant += weights.change
            cost -= weights.change
        part.cost[j] = cost
    # An existing assignment that cannot stay is a change in any plan.
    columns = {
        (part.shifts[s].shift_id, part.workers[w].employee_id)
        for s, w in zip(part.pair_shift.tolist(), part.pair_worker.tolist(), strict=True)
    } | set(part.pinned)
    ids = {s.shift_id for s in part.shifts}
    part.constant += weights.change * sum(p[0] in ids and p not in columns for p in present)
    by_shift = {s.shift_id: s for s in part.shifts}
    by_worker = {w.employee_id: w for w in roster.workers}
    for shift_id, employee_id in part.pinned:
        if (shift_id, employee_id) not in present or employee_id not in by_worker:
            continue  # absent: the place is empty
        shift, worker = by_shift[shift_id], by_worker[employee_id]
        part.constant += dislike(shift, worker, weights)


def dislike(shift: Shift, worker: Worker, weights: Weights) -> float:
    """Cost of assigning this person to this shift: expected absence and wishes, rounded to integers."""
    absence = worker.absence.get(local_day(shift.starts_at, worker.timezone), 0.0)
    wishes = [k for a, b, k in worker.wishes if a < shift.ends_at and b > shift.starts_at]
    return float(round(weights.absence * absence) + round(weights.wish * max(wishes, default=0.0)))


def missing_price(shift: Shift, missing: float) -> float:
    """Cost of a missing person in this shift: 50 % more at priority 1, 50 % less at 5."""
    return missing * (1 + (3 - shift.priority) / 4)


def _places(part: Part, roster: Roster) -> None:
    """Rows for missing people and skills, and for no more people than are needed or already assigned."""
    weights = roster.weights
    present = roster.present()
    skills = {w.employee_id: w.skills for w in roster.workers}
    crew: dict[UUID, list[UUID]] = defaultdict(list)
    for shift_id, employee_id in part.pinned:
        if (shift_id, employee_id) in present:
            crew[shift_id].append(employee_id)
    for s, shift in enumerate(part.shifts):
        columns = part.of_shift[s]
        open_places = shift.required - len(crew[shift.shift_id])
        first = len(part.soft)
        if open_places > 0:
            price = missing_price(shift, weights.missing)
            part.soft.append(Soft(columns, [-1.0] * len(columns), -float(open_places), (np.inf,), (price,)))
        absent = [
            k
            for k in sorted(shift.skills if roster.skills_count else ())
            if not any(k in skills.get(e, ()) for e in crew[shift.shift_id])
        ]
        for skill in absent:
            able = [j for j in columns if skill in part.workers[part.pair_worker[j]].skills]
            part.soft.append(Soft(able, [-1.0] * len(able), -1.0, (np.inf,), (weights.skill,)))
        part.places.append(list(range(first, len(part.soft))))
        standing = int(part.present[columns].sum()) if columns else 0
        most = max(open_places, standing, 1 if absent else 0, 0)
        if len(columns) > most:
            part.hard.append((columns, [1.0] * len(columns), float(most)))


def _rest(
    part: Part, worker: Worker, columns: list[int], known: dict[tuple[object, ...], list[list[int]]]
) -> None:
    """At most one of each clique of shifts that overlap, including the rest after them."""
    spans = []
    for n, j in enumerate(columns):
        shift = part.shifts[part.pair_shift[j]]
        spans.append((shift.starts_at, shift.ends_at + rest_after(worker, shift.starts_at), n))
    key = tuple(spans)
    if key not in known:  # identical for most people of a location
        known[key] = _cliques(spans)
    for clique in known[key]:
        part.hard.append(([columns[n] for n in clique], [1.0] * len(clique), 1.0))


def _cliques(spans: list[tuple[dt.datetime, dt.datetime, int]]) -> list[list[int]]:
    """Return the maximal sets of at least two mutually overlapping intervals."""
    found = []
    active: list[tuple[dt.datetime, int]] = []
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


def _weeks(part: Part, worker: Worker, columns: list[int], fixed: Iterable[Standing]) -> None:
    weeks: dict[dt.date, list[tuple[int, float]]] = defaultdict(list)
    for j in columns:
        shift = part.shifts[part.pair_shift[j]]
        for monday, hours in week_hours(shift.starts_at, shift.ends_at, worker.timezone):
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


def _day_runs(part: Part, worker: Worker, columns: list[int], fixed: Iterable[Standing]) -> int:
    """Limit consecutive days to the contract's; return the number of day columns created."""
    days: dict[dt.date, list[int]] = defaultdict(list)
    for j in columns:
        days[local_day(part.shifts[part.pair_shift[j]].starts_at, worker.timezone)].append(j)
    busy = {local_day(a.starts_at, worker.timezone) for a in fixed if a.status != "absent"}
    terms: dict[dt.date, list[int]] = {}
    made = 0
    for day, entries in sorted(days.items()):
        spans = [part.shifts[part.pair_shift[j]] for j in entries]
        rest = rest_after(worker, spans[0].starts_at)
        if len(entries) == 1 or max(s.starts_at for s in spans) < min(s.ends_at for s in spans) + rest:
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


def _shares(part: Part, roster: Roster, fixed: dict[UUID, list[Standing]]) -> None:
    """Add rows for hours, nights and weekends above the fair share, at growing prices."""
    weights, shares = roster.weights, fair_shares(roster)
    planned = {s.shift_id: s for s in roster.shifts}
    for w, worker in enumerate(part.workers):
        columns = part.of_worker[w]
        mine = [
            planned[a.shift_id]
            for a in fixed[worker.employee_id]
            if a.shift_id in planned and a.status in PINNED - {"absent"}
        ]
        spans = [part.shifts[part.pair_shift[j]] for j in columns]
        share = shares[worker.employee_id]
        _above(
            part,
            columns,
            [s.hours for s in spans],
            sum(s.hours for s in mine),
            share[0],
            HOUR_SLOPES,
            weights.hours,
        )
        nights = [float(is_night(s.starts_at, s.ends_at, s.timezone)) for s in spans]
        held = sum(is_night(s.starts_at, s.ends_at, s.timezone) for s in mine)
        _above(part, columns, nights, held, share[1], COUNT_SLOPES, weights.nights)
        weekends = [float(is_weekend(s.starts_at, s.timezone)) for s in spans]
        held = sum(is_weekend(s.starts_at, s.timezone) for s in mine)
        _above(part, columns, weekends, held, share[2], COUNT_SLOPES, weights.weekends)


def price_above(amount: float, share: float, slopes: Sequence[tuple[float, float]], weight: float) -> float:
    """Cost of an amount above a share, at growing slopes."""
    total = 0.0
    for n, (start, slope) in enumerate(slopes):
        end = slopes[n + 1][0] if n + 1 < len(slopes) else np.inf
        total += weight * slope * max(0.0, min(amount - share, end) - start)
    return float(total)


def _above(
    part: Part,
    columns: list[int],
    values: list[float],
    held: float,
    share: float,
    slopes: Sequence[tuple[float, float]],
    weight: float,
) -> None:
    """Add one row. If all shifts count alike, price whole shifts: exact, and tighter for the solver."""
    used = [(j, v) for j, v in zip(columns, values, strict=True) if v]
    base = price_above(held, share, slopes, weight)
    part.constant += base
    if not used or weight == 0:
        return
    row, amounts = [j for j, _ in used], [v for _, v in used]
    unit = amounts[0]
    if all(abs(v - unit) < 1e-9 for v in amounts):
        steps = [price_above(held + n * unit, share, slopes, weight) for n in range(len(used) + 1)]
        rises = [after - before for before, after in itertools.pairwise(steps)]
        free = next((n for n, rise in enumerate(rises) if rise > 1e-12), None)
        if free is None:
            return
        lengths: list[float] = []
        prices: list[float] = []
        for rise in rises[free:]:
            if prices and abs(prices[-1] - rise) < 1e-9:
                lengths[-1] += 1.0
            else:
                lengths.append(1.0)
                prices.append(rise)
        lengths[-1] = np.inf
        part.soft.append(Soft(row, [1.0] * len(row), float(free), tuple(lengths), tuple(prices)))
        return
    if sum(amounts) + held <= share:
        return
    limit, lengths, prices = share - held, [], []
    for n, (start, slope) in enumerate(slopes):
        end = slopes[n + 1][0] if n + 1 < len(slopes) else np.inf
        low = max(start, held - share)
        if end > low:
            lengths.append(end - low)
            prices.append(weight * slope)
    part.soft.append(Soft(row, amounts, max(limit, 0.0), tuple(lengths), tuple(prices)))
