"""Rosters with HiGHS: parts are solved to proven optimality if possible, else by neighbourhood search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.components import Part, split
from barnameh.planning.greedy import start_of
from barnameh.planning.model import Pair, Roster
from barnameh.planning.search import Problem, close, minimize
from barnameh.planning.solve import Floats, Model, restricted

Progress = Callable[[dict[str, object]], None]


@dataclass
class PartResult:
    """The result for one part."""

    shifts: int
    workers: int
    start: float
    cost: float = math.inf
    bound: float = -math.inf
    is_optimal: bool = False
    by_clock: bool = True
    """Whether it ran out of time: the same input may then give another plan."""
    method: str = "start"


@dataclass
class Plan:
    """The proposed roster."""

    pairs: set[Pair]
    cost: float
    bound: float
    status: str
    """optimal, feasible (searched to the end, not proven) or time_limit."""
    start_cost: float
    seconds: float
    parts: list[PartResult] = field(default_factory=list)

    @property
    def gap_pct(self) -> float | None:
        """How far the cost is above the proven bound (%); None if there is no bound."""
        if not math.isfinite(self.bound):
            return None
        return (
            0.0
            if self.cost <= self.bound + 1e-6
            else 100 * (self.cost - self.bound) / max(abs(self.cost), 1e-9)
        )


def plan_roster(
    roster: Roster,
    *,
    seconds: float = 30.0,
    gap: float = 1e-4,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda _: None,
) -> Plan:
    """Plan who works which shift.

    With `seconds` 0 it returns the existing roster, filled up; with more time never a worse one. A part is
    optimal if within `gap` (relative) of its bound. `stop` ends the search early with the best roster so far.
    The same roster gives the same plan unless a part ran out of time (`by_clock`).
    """
    began = time.perf_counter()
    roster = roster.sorted()
    parts, outside = split(roster)
    starts = []
    for part in parts:
        options = [start_of(part), start_of(part, keep=False)] if part.present.any() else [start_of(part)]
        starts.append(min(options, key=part.price))
    best = list(starts)
    results: list[PartResult] = [
        PartResult(len(p.shifts), len(p.workers), p.price(x), p.price(x), floor_of(p))
        for p, x in zip(parts, starts, strict=True)
    ]
    for r in results:
        r.is_optimal = close(r.cost, r.bound, gap)
        r.by_clock = not r.is_optimal

    def told(done: int) -> None:
        progress(
            {
                "parts_done": done,
                "parts": len(parts),
                "cost": round(outside + sum(r.cost for r in results), 3),
                "seconds": round(time.perf_counter() - began, 2),
            }
        )

    told(0)
    order = sorted(range(len(parts)), key=lambda n: (parts[n].pair_count, n))
    left = sum(parts[n].pair_count for n in order)
    for done, n in enumerate(order, start=1):
        part = parts[n]
        remaining = seconds - (time.perf_counter() - began)
        # Larger parts get the time left over by smaller ones.
        budget = remaining * max(part.pair_count / max(left, 1), 1 / (len(order) - done + 1))
        left -= part.pair_count
        if results[n].is_optimal or stop() or remaining <= 0:
            continue
        best[n], results[n] = _solve_part(part, starts[n], min(budget, remaining), gap, stop)
        told(done)
    # Parts that ran out of time get the time left over by others.
    for n in order:
        remaining = seconds - (time.perf_counter() - began)
        if results[n].is_optimal or not results[n].by_clock or remaining < 0.05 or stop():
            continue
        best[n], again = _solve_part(parts[n], best[n], remaining, gap, stop)
        again.start = results[n].start
        again.bound = max(again.bound, results[n].bound)
        results[n] = again
        told(len(parts))
    pairs: set[Pair] = set()
    for part, x in zip(parts, best, strict=True):
        pairs |= part.chosen(x)
    status = "optimal" if all(r.is_optimal for r in results) else "time_limit"
    if status == "time_limit" and not any(r.by_clock for r in results):
        status = "feasible"
    return Plan(
        pairs,
        outside + sum(r.cost for r in results),
        outside + sum(r.bound for r in results),
        status,
        outside + sum(r.start for r in results),
        time.perf_counter() - began,
        results,
    )


def _solve_part(
    part: Part, start: Floats, seconds: float, gap: float, stop: Callable[[], bool]
) -> tuple[Floats, PartResult]:
    result = PartResult(len(part.shifts), len(part.workers), part.price(start), bound=floor_of(part))
    problem, whole = _problem(part, start)
    found = minimize(
        problem, whole, _Groups(part, whole.size), seconds=seconds, gap=gap, bound=result.bound, stop=stop
    )
    x = part.complete(np.round(found.x[: part.width]))
    if part.price(x) > result.start or not part.keeps_rules(x):
        x = start
    result.cost, result.method = part.price(x), found.method
    result.bound = min(found.bound, result.cost)
    result.is_optimal = close(result.cost, result.bound, gap)
    result.by_clock = found.by_clock and not result.is_optimal
    return x, result


def floor_of(part: Part) -> float:
    """Return a bound without a solver: each place filled at least cost if possible, and all shares kept."""
    total = part.constant
    for s, columns in enumerate(part.of_shift):
        costs = np.sort(part.cost[columns]) if columns else np.zeros(0)
        least = np.cumsum(np.concatenate([[0.0], costs]))
        people = next(
            (part.soft[r] for r in part.places[s] if len(part.soft[r].columns) == len(columns)), None
        )
        if people is None:
            total += min(0.0, float(least.min()))
            continue
        missing = np.maximum(-people.limit - np.arange(least.size), 0.0)
        total += float((least + people.prices[0] * missing).min())
    return total


def _problem(part: Part, x: Floats) -> tuple[Problem, Floats]:
    """Return the part as a problem, with columns for the segments of the soft rows after its own; and x so extended."""
    segments = [
        (row, sum(soft.lengths[:n]), length, price)
        for row, soft in enumerate(part.soft)
        for n, (length, price) in enumerate(zip(soft.lengths, soft.prices, strict=True))
    ]
    row_of = np.array([s[0] for s in segments], dtype=np.int64)
    before, lengths, prices = np.array([s[1:] for s in segments]).reshape(-1, 3).T
    hard, soft = part.hard_rows, part.soft_rows
    limits = np.array([row.limit for row in part.soft])
    rows = np.concatenate([hard.rows, soft.rows + hard.height, row_of + hard.height])
    order = np.argsort(rows, kind="stable")
    columns = np.concatenate([hard.columns, soft.columns, part.width + np.arange(row_of.size)])
    values = np.concatenate([hard.values, soft.values, np.full(row_of.size, -1.0)])
    height = hard.height + soft.height
    model = Model(
        np.concatenate([part.cost, prices]),
        np.zeros(part.width + row_of.size),
        np.concatenate([np.ones(part.width), lengths]),
        np.arange(part.width + row_of.size) < part.pair_count,
        np.full(height, -np.inf),
        np.concatenate([np.array([limit for _, _, limit in part.hard]), limits]),
        np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=height))]).astype(np.int64),
        columns[order],
        values[order],
    )
    excess = (soft.times(x) - limits)[row_of] if row_of.size else np.zeros(0)
    whole = np.concatenate([x, np.clip(excess - before, 0.0, lengths)])
    everything = np.ones(whole.size, dtype=np.bool_)
    return Problem(restricted(model, whole, everything), part.constant, part.is_integral), whole


class _Groups:
    """The pairs of people, and of the days on which shifts begin."""

    def __init__(self, part: Part, size: int) -> None:
        self._part, self._size = part, size
        days = [shift.starts_at.date() for shift in part.shifts]
        number = {day: n for n, day in enumerate(sorted(set(days)))}
        self._day = np.array([number[day] for day in days], dtype=np.int64)[part.pair_shift]
        self.people, self.days = len(part.workers), len(number)

    def of_people(self, x: Floats, people: Sequence[int]) -> NDArray[np.bool_]:
        """Return their pairs with shifts that one of them works, or that are short."""
        part = self._part
        mine = np.isin(part.pair_worker, people)
        wanted = np.zeros(len(part.shifts), dtype=np.bool_)
        wanted[part.pair_shift[mine & (x[: part.pair_count] > 0.5)]] = True
        amounts = part.soft_rows.times(x)
        for s, places in enumerate(part.places):
            wanted[s] |= any(amounts[r] > part.soft[r].limit + 1e-9 for r in places)
        return self._whole(mine & wanted[part.pair_shift])

    def of_days(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return the pairs of these days."""
        return self._whole((self._day >= first) & (self._day <= last))

    def _whole(self, pairs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.concatenate([pairs, np.zeros(self._size - pairs.size, dtype=np.bool_)])
