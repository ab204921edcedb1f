"""Search for good solutions of large models: dives from the relaxation, neighbourhoods, and a proof of what is left.

It knows no rosters: a `Problem` is any model, and `Groups` says which of its columns belong together.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.solve import Floats, Model, Relaxation, restricted, solve

Bools = NDArray[np.bool_]

COLUMNS_AT_ONCE = 30_000
"""Models with more whole columns are searched by neighbourhoods only, and get no bound from the relaxation."""
FIRST_DIVES, MORE_DIVES, GROUP_DIVES = (0.0,) * 4, (0.0, *(0.5, 1.0) * 3), (0.0, 1.0, 0.5)
"""What dives aim at; see `_dives`."""
FIRST_EFFORT, EFFORT = 1.25, 3.0
"""Simplex iterations a column: of the first dives together (most succeed with half of one), on average of another."""
LARGEST, SMALLEST, FIRST_SHARE = 13_000, 20, 0.1
"""Columns of a neighbourhood: at most, at least; and of the first ones, as a share of all."""
GROW, SHRINK = 1.1, 0.75
"""What follows a neighbourhood that was solved with little work, and one that was not solved or took much."""
MOST_PATIENCE, PATIENT_SIZE, WIDE = 8, 1.4, 0.03
"""Where the gap is wide, an idle round doubles the work that a neighbourhood may take, up to a factor, and raises its size."""
MILP_COLUMNS, MILP_NODES, MILP_CHECKS, MILP_WORK = 2_000, 50, 80, 1_500
"""Neighbourhoods up to this size are solved by branching, others by dives; nodes and checks (see `solve`) at most; and
simplex iterations that are much."""
FAR = 0.1
"""Gap from which on dives found nothing better, and neighbourhoods did."""
SMALL_ROUNDS, IDLE_ROUNDS = 1, 3
"""Rounds before a model is dived into again; and rounds without improvement that end the search."""
STEPS = (0.0, 2.0, 8.0, math.inf)
"""Columns that raise the bound by at most this much are considered; finally all that could be better."""
STEP_NODES = 200
STEP_EFFORT = 0.5
"""Near the relaxation the bound is nearly always the optimum: finding the solution takes the time."""


class Groups(Protocol):
    """Which whole columns of a model belong to each person and to each day, by position."""

    people: int
    days: int

    def of_people(self, x: Floats, people: Sequence[int]) -> Bools:
        """Return the columns to replan these people."""

    def of_days(self, first: int, last: int) -> Bools:
        """Return the columns of the days from first to last."""


@dataclass
class Problem:
    """A model, the constant of its cost, and whether every solution costs a whole number."""

    model: Model
    constant: float = 0.0
    is_integral: bool = False

    @property
    def step(self) -> float:
        """Return a difference in cost too small to search for."""
        return 1 - 1e-4 if self.is_integral else 1e-6

    def price(self, x: Floats) -> float:
        """Return the cost of a solution."""
        return self.constant + float(self.model.cost @ x)

    def whole(self, bound: float) -> float:
        """Round up a bound of integral prices."""
        return math.ceil(bound - 1e-5) if math.isfinite(bound) and self.is_integral else bound

    def part(self, x: Floats, free: Bools) -> Problem:
        """Return the problem of the free columns, with all others as in x."""
        constant = self.constant + float(self.model.cost @ np.where(free, 0.0, x))
        return Problem(restricted(self.model, x, free), constant, self.is_integral)

    def with_costs(self, whole: Bools) -> Bools:
        """Add the columns that are not whole and share a row with these."""
        model = self.model
        rows = np.repeat(np.arange(model.row_upper.size), np.diff(model.row_start))
        is_touched = np.zeros(model.row_upper.size, dtype=np.bool_)
        is_touched[rows[whole[model.columns]]] = True
        free = whole.copy()
        free[model.columns[is_touched[rows] & ~model.is_integer[model.columns]]] = True
        return free


@dataclass
class Found:
    """The best solution, a lower bound of the cost, and how it was found."""

    x: Floats
    bound: float
    by_clock: bool = False
    """Whether time ran out: the same input may then give another solution."""
    method: str = "start"


def close(cost: float, bound: float, gap: float) -> bool:
    """Whether a cost is within the relative gap of its bound."""
    return cost - bound <= 1e-6 + gap * abs(cost)


def minimize(
    problem: Problem,
    start: Floats,
    groups: Groups,
    *,
    seconds: float,
    gap: float,
    bound: float = -math.inf,
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """Dive from the relaxation, which is the bound; search neighbourhoods; dive again; prove what they left open."""
    began = time.perf_counter()

    def left() -> float:
        return seconds - (time.perf_counter() - began)

    size = int(problem.model.is_integer.sum())
    found, chance = Found(start, bound), np.random.default_rng(size)
    relaxed = Relaxation(problem.model, seconds=left()) if size <= COLUMNS_AT_ONCE else None
    if relaxed is not None and not relaxed.is_optimal:
        relaxed = None
    if relaxed is not None:
        found.bound = max(bound, problem.whole(relaxed.bound + problem.constant))
    search = _Search(problem, groups, random.Random(size), chance, left, gap, stop)
    # Where the bound is tight a dive or two end the search; elsewhere neighbourhoods gain more at first.
    for method in ("dives", "neighbourhoods", "more dives", "more neighbourhoods", "milp"):
        if close(problem.price(found.x), found.bound, gap) or found.by_clock:
            break
        if "neighbourhoods" in method:
            search.run(
                found, SMALL_ROUNDS if relaxed is not None and method == "neighbourhoods" else math.inf
            )
        elif relaxed is None or (
            method == "more dives" and not close(problem.price(found.x), found.bound, FAR)
        ):
            continue
        elif method == "milp":
            _near_relaxed(problem, found, relaxed, left, gap, stop)
        else:
            aims, effort = (FIRST_DIVES, FIRST_EFFORT) if method == "dives" else (MORE_DIVES, None)
            found.x = _dives(problem, found.x, relaxed, aims, effort, chance, left, gap, stop)
        found.method = method
    return found


def _dives(
    problem: Problem,
    x: Floats,
    relaxation: Relaxation,
    aims: Sequence[float],
    effort: float | None,
    chance: np.random.Generator,
    left: Callable[[], float],
    gap: float,
    stop: Callable[[], bool],
) -> Floats:
    """The best of x and some dives; an aim is a share of the way from the bound up to the best cost so far."""
    low, cost = problem.whole(relaxation.bound + problem.constant), problem.price(x)
    relaxation.iterations_left = int((effort or EFFORT * len(aims)) * problem.model.is_integer.sum())
    for aim in aims:
        if close(cost, low, gap) or relaxation.iterations_left <= 0 or left() <= 0.05 or stop():
            break
        most = low + aim * (cost - 1e-5 - low) - problem.constant
        answer = relaxation.dive(most, chance, left, stop, is_patient=aim == 1.0)
        if (
            answer is not None
            and (price := problem.price(answer)) < cost - 1e-6
            and problem.model.holds(answer)
        ):
            x, cost = answer, price
    return x


def _near_relaxed(
    problem: Problem,
    found: Found,
    relaxed: Relaxation,
    left: Callable[[], float],
    gap: float,
    stop: Callable[[], bool],
) -> None:
    """Find the best solution of columns that each raise the relaxation by at most a step, finally of all useful.

    A solution with any other column costs more than relaxation plus step. So the smaller of that sum and the
    bound of the restricted model is a bound of the whole.
    """
    low, whole = relaxed.bound + problem.constant, problem.model.is_integer
    for step in STEPS:
        cost = problem.price(found.x)
        if close(cost, found.bound, gap):
            return
        if left() <= 0.05 or stop():
            found.by_clock = True
            return
        reach = min(found.bound + step, cost) - low
        free = (relaxed.reduced <= reach + 1e-6) | (found.x > 0.5) | ~whole
        part = problem.part(found.x, free)
        nodes = STEP_NODES if math.isfinite(step) else None
        answer = solve(
            part.model,
            seconds=left(),
            start=found.x[free],
            nodes=nodes,
            gap=gap,
            step=part.step,
            effort=STEP_EFFORT,
            stop=stop,
        )
        _take(problem, found, free, answer.x)
        bound = problem.price(found.x) if answer.is_optimal and not gap else answer.bound + part.constant
        found.bound = max(found.bound, min(problem.whole(bound), problem.whole(low + reach)))
        if answer.hit_limit and nodes is None:
            found.by_clock = True
            return


def _take(problem: Problem, found: Found, free: Bools, x: Floats | None) -> None:
    """Take a solution of the free columns if it is no worse."""
    if x is None:
        return
    other = found.x.copy()
    other[free] = x
    if problem.price(other) <= problem.price(found.x) + 1e-9 and problem.model.holds(other):
        found.x = other


@dataclass
class _Search:
    """Large neighbourhood search: replans some people, or some days, at a time; the work adapts their number."""

    problem: Problem
    groups: Groups
    chance: random.Random
    dice: np.random.Generator
    left: Callable[[], float]
    gap: float
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        first = FIRST_SHARE * int(self.problem.model.is_integer.sum())
        self._size = {kind: min(float(LARGEST), max(first, float(SMALLEST))) for kind in ("people", "days")}
        self._patience = 1

    def run(self, found: Found, rounds: float) -> None:
        """Search for some rounds, or until several bring nothing."""
        idle = 0
        while idle < IDLE_ROUNDS and rounds > 0:
            before = self.problem.price(found.x)
            for kind, whole in self._round(found):
                if close(self.problem.price(found.x), found.bound, self.gap):
                    return
                if self.left() <= 0.05 or self.stop():
                    found.by_clock = True
                    return
                is_easy, is_hard = self._replan(found, self.problem.with_costs(whole))
                factor = GROW if is_easy else SHRINK if is_hard else 1.0
                self._size[kind] = min(max(self._size[kind] * factor, SMALLEST), LARGEST)
            cost = self.problem.price(found.x)
            idle = 0 if cost < before - 1e-6 else idle + 1
            rounds -= 1
            if idle and self._patience < MOST_PATIENCE and not close(cost, found.bound, WIDE):
                self._patience *= 2
                self._size = {kind: min(size * PATIENT_SIZE, LARGEST) for kind, size in self._size.items()}
                idle = 0

    def _replan(self, found: Found, free: Bools) -> tuple[bool, bool]:
        """Replan the free columns; return whether that was easy, and whether it was hard."""
        part, x = self.problem.part(found.x, free), found.x[free]
        if part.model.is_integer.sum() <= MILP_COLUMNS:
            answer = solve(
                part.model,
                seconds=self.left(),
                start=x,
                step=part.step,
                nodes=MILP_NODES * self._patience,
                checks=MILP_CHECKS * self._patience,
                stop=self.stop,
            )
            _take(self.problem, found, free, answer.x)
            much = MILP_WORK * self._patience
            is_hard = not answer.is_optimal or answer.iterations > much
            return not is_hard and answer.iterations < much / 2, is_hard
        relaxed = Relaxation(part.model, seconds=self.left())
        if not relaxed.is_optimal:
            return False, True
        better = _dives(part, x, relaxed, GROUP_DIVES, None, self.dice, self.left, self.gap, self.stop)
        _take(self.problem, found, free, better)
        is_solved = close(part.price(better), part.whole(relaxed.bound + part.constant), self.gap)
        return is_solved, not is_solved

    def _round(self, found: Found) -> Iterator[tuple[str, Bools]]:
        """All people in random groups, and all days from a random first one on, in turn."""
        turns = [("people", self._people(found)), ("days", self._days())]
        while turns:
            for turn in list(turns):
                free = next(turn[1], None)
                if free is None:
                    turns.remove(turn)
                else:
                    yield turn[0], free

    def _people(self, found: Found) -> Iterator[Bools]:
        people = list(range(self.groups.people))
        self.chance.shuffle(people)
        group: list[int] = []
        for p in people:
            group.append(p)
            free = self.groups.of_people(found.x, group)
            if len(group) >= 2 and free.sum() >= self._size["people"]:
                yield free
                group = []
        if group:
            yield self.groups.of_people(found.x, group)

    def _days(self) -> Iterator[Bools]:
        days, first = self.groups.days, 0
        each = self.problem.model.is_integer.sum() / max(days, 1)
        last = self.chance.randint(0, max(0, int(self._size["days"] / each) - 1))
        while first < days:
            yield self.groups.of_days(first, min(last, days - 1))
            first, last = last + 1, last + max(1, int(self._size["days"] / each))
