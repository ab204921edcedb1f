"""Rosters with HiGHS: parts are solved to proven optimality if possible, else by neighbourhood search."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.components import Part, split
from barnameh.planning.greedy import start_of
from barnameh.planning.model import Pair, Roster
from barnameh.planning.solve import Floats, Model, Relaxation, Rows, model_of, solve

PAIRS_AT_ONCE = 30_000
"""Parts with more pairs are searched by neighbourhoods, and have no bound but the sum of cheapest places."""
FIRST_DIVES, MORE_DIVES, GROUP_DIVES = (0.0,) * 4, (0.0, *(0.5, 1.0) * 3), (0.0, 1.0, 0.5)
"""What dives aim at; see `_dives`."""
FIRST_EFFORT, EFFORT = 1.25, 3.0
"""Simplex iterations a column: of the first dives together (most succeed with half of one), on average of another."""
GROUP_PAIRS = 13_000
"""Pairs of the people of a larger part who are replanned at once, by dives."""
NEIGHBOURHOOD_PAIRS, NEIGHBOURHOOD_NODES = 1_000, 20
"""Pairs of a span of days (at least one day) of a small part, and the nodes that search it."""
GROUP = 8
"""Number of people of a small part replanned at once."""
SMALL_ROUNDS = 1
"""Rounds on a small part before it is solved near its relaxation."""
STEPS = (0.0, 2.0, 8.0, math.inf)
"""Pairs that raise the bound by at most this much are considered; finally all that could be better."""
STEP_NODES = 200
STEP_EFFORT = 0.5
"""Near the relaxation the bound is nearly always the optimum: finding the roster takes the time."""
IDLE_ROUNDS = 3
"""The search ends after this many rounds without improvement."""

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
        r.is_optimal = _close(r.cost, r.bound, gap)
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
    """Dive from the relaxation, which is the bound; search neighbourhoods; dive again; prove what they left open."""
    began = time.perf_counter()

    def left() -> float:
        return seconds - (time.perf_counter() - began)

    bound = floor_of(part)
    result = PartResult(len(part.shifts), len(part.workers), part.price(start), bound=bound)
    everything = np.ones(part.width, dtype=np.bool_)
    is_small = part.pair_count <= PAIRS_AT_ONCE
    relaxed = _relaxed(part, start, everything, left()) if is_small else None
    x, result.by_clock, chance = start, False, np.random.default_rng(part.pair_count)
    if relaxed is not None:
        bound = max(bound, _whole(part, relaxed.bound))
    # Where the bound is tight a dive or two end the search; elsewhere neighbourhoods gain more at first.
    for method in ("dives", "neighbourhoods", "more dives", "milp"):
        if _close(part.price(x), bound, gap) or result.by_clock:
            break
        if method == "neighbourhoods":
            x, result.by_clock = _search(part, x, bound, left, gap, stop)
        elif relaxed is None:
            continue
        elif method == "milp":
            x, bound, result.by_clock = _near_relaxed(part, x, relaxed, bound, STEPS, left, gap, stop)
        else:
            aims, effort = (FIRST_DIVES, FIRST_EFFORT) if method == "dives" else (MORE_DIVES, None)
            x = _dives(part, x, relaxed, aims, effort, chance, left, gap, stop)
        result.method = method
    result.cost = part.price(x)
    result.bound = min(bound, result.cost)
    result.is_optimal = _close(result.cost, bound, gap)
    result.by_clock = result.by_clock and not result.is_optimal
    return x, result


@dataclass
class _Relaxed:
    """The relaxation of some columns of a part: its bound, and the minimum rise in cost with each of them."""

    bound: float
    reduced: Floats
    columns: NDArray[np.int64]
    constant: float
    relaxation: Relaxation | None


def _relaxed(part: Part, x: Floats, free: NDArray[np.bool_], seconds: float) -> _Relaxed | None:
    model, columns, _, constant = _model(part, x, free)
    if not columns.size:  # no possible assignments
        return _Relaxed(part.price(x), np.zeros(0), columns, constant, None)
    relaxation = Relaxation(model, seconds=seconds)
    if not relaxation.is_optimal:
        return None
    reduced = relaxation.reduced[: columns.size]
    return _Relaxed(relaxation.bound + constant, reduced, columns, constant, relaxation)


def _dives(
    part: Part,
    x: Floats,
    relaxed: _Relaxed,
    aims: Sequence[float],
    effort: float | None,
    chance: np.random.Generator,
    left: Callable[[], float],
    gap: float,
    stop: Callable[[], bool],
) -> Floats:
    """The best of x and some dives; an aim is a share of the way from the bound up to the best cost so far."""
    low, cost, relaxation = _whole(part, relaxed.bound), part.price(x), relaxed.relaxation
    if relaxation is None:
        return x
    relaxation.iterations_left = int((effort or EFFORT * len(aims)) * relaxed.columns.size)
    for aim in aims:
        if _close(cost, low, gap) or relaxation.iterations_left <= 0 or left() <= 0.05 or stop():
            break
        most = low + aim * (cost - 1e-5 - low) - relaxed.constant
        answer = relaxation.dive(most, chance, left, stop, is_patient=aim == 1.0)
        if answer is not None:
            found = x.copy()
            found[relaxed.columns] = np.round(answer[: relaxed.columns.size])
            found = part.complete(found)
            if (price := part.price(found)) < cost - 1e-6 and part.keeps_rules(found):
                x, cost = found, price
    return x


def _near_relaxed(
    part: Part,
    x: Floats,
    relaxed: _Relaxed,
    bound: float,
    steps: Sequence[float],
    left: Callable[[], float],
    gap: float,
    stop: Callable[[], bool],
) -> tuple[Floats, float, bool]:
    """Find the best roster of pairs that each raise the relaxation by at most a step, finally of all useful.

    A roster with any other pair costs more than relaxation plus step. So the smaller of that sum and the
    bound of the restricted model is a bound of the whole.
    """
    for step in steps:
        cost = part.price(x)
        if _close(cost, bound, gap):
            return x, bound, False
        if left() <= 0.05 or stop():
            return x, bound, True
        reach = min(bound + step, cost) - relaxed.bound
        near = relaxed.reduced[: part.pair_count] <= reach + 1e-6
        free = _free(part, near | (x[: part.pair_count] > 0.5))
        nodes = STEP_NODES if math.isfinite(step) else None
        x, found, is_optimal, by_clock = _improve(part, x, free, left(), nodes, gap, stop, STEP_EFFORT)
        found = part.price(x) if is_optimal and not gap else found
        bound = max(bound, min(_whole(part, found), _whole(part, relaxed.bound + reach)))
        if by_clock:
            return x, bound, True
    return x, bound, False


def _close(cost: float, bound: float, gap: float) -> bool:
    return cost - bound <= 1e-6 + gap * abs(cost)


def _whole(part: Part, bound: float) -> float:
    """Round up a bound of integral prices."""
    return math.ceil(bound - 1e-5) if math.isfinite(bound) and part.is_integral else bound


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


def _improve(
    part: Part,
    x: Floats,
    free: NDArray[np.bool_],
    seconds: float,
    nodes: int | None,
    gap: float,
    stop: Callable[[], bool],
    effort: float = 0.05,
) -> tuple[Floats, float, bool, bool]:
    """Solve for the free columns only; return the roster, bound, whether proven, whether time ran out."""
    model, columns, start, constant = _model(part, x, free)
    if not columns.size:
        return x, part.price(x), True, False
    answer = solve(model, seconds=seconds, start=start, nodes=nodes, gap=gap, effort=effort, stop=stop)
    found = x.copy()
    if answer.x is not None:
        found[columns] = np.round(answer.x[: columns.size])
        found = part.complete(found)
        if part.price(found) > part.price(x) + 1e-9 or not part.keeps_rules(found):
            found = x
    return found, answer.bound + constant, answer.is_optimal, answer.hit_limit and nodes is None


def _model(part: Part, x: Floats, free: NDArray[np.bool_]) -> tuple[Model, NDArray[np.int64], Floats, float]:
    """Build the model of the free columns, others fixed as in x; with start and the objective's constant."""
    columns = np.flatnonzero(free)
    place = np.full(part.width, -1, dtype=np.int64)
    place[columns] = np.arange(columns.size)
    cost = part.cost[columns].tolist()
    lower, upper = [0.0] * columns.size, [1.0] * columns.size
    integer = [j < part.pair_count for j in columns.tolist()]
    start = x[columns].tolist()
    rows = Rows()
    is_free = free.tolist()
    values_now = x.tolist()
    where = place.tolist()
    for row, values, limit in part.hard:
        inside, factors, used = [], [], 0.0
        for j, value in zip(row, values, strict=True):
            if is_free[j]:
                inside.append(where[j])
                factors.append(value)
            else:
                used += value * values_now[j]
        if inside and sum(v for v in factors if v > 0) + used > limit + 1e-9:
            rows.add(inside, factors, -math.inf, limit - used)
    constant = part.constant + float(part.cost @ np.where(free, 0.0, x))
    for soft in part.soft:
        inside, factors, used, now = [], [], 0.0, 0.0
        for j, value in zip(soft.columns, soft.values, strict=True):
            now += value * values_now[j]
            if is_free[j]:
                inside.append(where[j])
                factors.append(value)
            else:
                used += value * values_now[j]
        if not inside:
            constant += soft.cost(used)
            continue
        if used + sum(v for v in factors if v > 0) <= soft.limit + 1e-9:
            continue
        excess = max(0.0, now - soft.limit)
        for length, price in zip(soft.lengths, soft.prices, strict=True):
            inside.append(len(cost))
            factors.append(-1.0)
            cost.append(price)
            lower.append(0.0)
            upper.append(length)
            integer.append(False)
            start.append(min(excess, length))
            excess -= start[-1]
        rows.add(inside, factors, -math.inf, soft.limit - used)
    return model_of(cost, lower, upper, integer, rows), columns, np.array(start), constant


def _search(
    part: Part, x: Floats, bound: float, left: Callable[[], float], gap: float, stop: Callable[[], bool]
) -> tuple[Floats, bool]:
    """Large neighbourhood search, freeing some people or days at a time; return whether time ran out."""
    chance, dice = random.Random(part.pair_count), np.random.default_rng(part.pair_count)
    cost = part.price(x)
    idle, rounds = 0, 0
    is_small = part.pair_count <= PAIRS_AT_ONCE
    while idle < IDLE_ROUNDS and not (is_small and rounds >= SMALL_ROUNDS):
        before = cost
        rounds += 1
        for free in (_neighbourhoods if is_small else _groups)(part, x, chance):
            if _close(cost, bound, gap):
                return x, False
            if left() <= 0.05 or stop():
                return x, True
            if is_small:
                x, _, _, _ = _improve(part, x, free, left(), NEIGHBOURHOOD_NODES, 0.0, stop)
            elif (relaxed := _relaxed(part, x, free, left())) is not None:
                x = _dives(part, x, relaxed, GROUP_DIVES, None, dice, left, gap, stop)
            cost = part.price(x)
        idle = 0 if cost < before - 1e-6 else idle + 1
    return x, False


def _neighbourhoods(part: Part, x: Floats, chance: random.Random) -> Iterator[NDArray[np.bool_]]:
    """One round: each span of days, from another first day every round; and all people in random groups."""
    days: dict[object, list[int]] = {}
    for s, shift in enumerate(part.shifts):
        days.setdefault(shift.starts_at.date(), []).append(s)
    sizes = [sum(len(part.of_shift[s]) for s in shifts) for shifts in days.values()]
    stretch: list[int] = []
    size, most = 0, chance.randint(1, NEIGHBOURHOOD_PAIRS)
    for shifts, more in zip([*days.values(), []], [*sizes, 0], strict=True):
        if stretch and (size + more > most or not shifts):
            yield _free(part, np.isin(part.pair_shift, stretch))
            stretch, size, most = [], 0, NEIGHBOURHOOD_PAIRS
        stretch, size = [*stretch, *shifts], size + more
    people = list(range(len(part.workers)))
    chance.shuffle(people)
    each = max(3, min(len(people) // 2, GROUP))
    for first in range(0, len(people), each):
        yield _of_people(part, x, people[first : first + each])


def _groups(part: Part, x: Floats, chance: random.Random) -> Iterator[NDArray[np.bool_]]:
    """One round: all people in random groups."""
    people = list(range(len(part.workers)))
    chance.shuffle(people)
    group: list[int] = []
    free = np.zeros(part.width, dtype=np.bool_)
    for w in people:
        more = _of_people(part, x, [*group, w])
        if len(group) >= 2 and more.sum() > GROUP_PAIRS:
            yield free
            group, more = [], _of_people(part, x, [w])
        group.append(w)
        free = more
    yield free


def _of_people(part: Part, x: Floats, group: list[int]) -> NDArray[np.bool_]:
    """Pairs of these people with shifts that one of them works, or that are short."""
    mine = np.isin(part.pair_worker, group)
    worked = set(part.pair_shift[mine & (x[: part.pair_count] > 0.5)].tolist())
    for s, places in enumerate(part.places):
        if s not in worked and any(
            float(np.dot(part.soft[r].values, x[part.soft[r].columns])) > part.soft[r].limit + 1e-9
            for r in places
        ):
            worked.add(s)
    return _free(part, mine & np.isin(part.pair_shift, sorted(worked)))


def _free(part: Part, pairs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the columns of these pairs and of their days."""
    days = [bool(pairs[columns].any()) for columns, _ in part.days]
    return np.concatenate([pairs, np.array(days, dtype=np.bool_)])
