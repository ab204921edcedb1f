"""The published nurse rosters (schedulingbenchmarks.org, instances 1 to 24): their data, and their rules as a solver model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.search import Found, Problem, minimize
from barnameh.planning.solve import Floats, Rows, model_of, solve

FOLDER = Path(__file__).parents[1] / "fixtures" / "nurses"


def instance(number: int) -> dict[str, Any]:
    """Days, shifts (minutes, what may not follow), people (most of each shift, most and least minutes, most and least days in a row, least
    days off in a row, most weekends), days off, wishes with weights, cover (day, shift, needed, weight under, weight over)."""
    found: dict[str, Any] = json.loads((FOLDER / f"instance_{number:02d}.json").read_text(encoding="utf-8"))
    return found


class Nurses:
    """The columns of each person and of each day."""

    def __init__(self, facts: dict[str, Any], who: list[int], when: list[int]) -> None:
        self.people, self.days = len(facts["people"]), facts["days"]
        self._who, self._when = np.array(who), np.array(when)

    def of_people(self, x: Floats, people: Sequence[int]) -> NDArray[np.bool_]:
        """All columns of these people."""
        return np.isin(self._who, people)

    def of_days(self, first: int, last: int) -> NDArray[np.bool_]:
        """All columns of these days, and which weekends somebody works."""
        return ((self._when >= first) & (self._when <= last)) | ((self._when < 0) & (self._who >= 0))


def solve_nurses(
    number: int, *, seconds: float = math.inf, stop: Callable[[], bool] = lambda: False
) -> tuple[Problem, Found]:
    """The best found in the time, from the first solution of the solver."""
    problem, nurses = nurse_problem(instance(number))
    first = solve(problem.model, is_first_enough=True)
    assert first.x is not None
    return problem, minimize(problem, first.x, nurses, seconds=seconds, gap=0.0, stop=stop)


def nurse_problem(facts: dict[str, Any]) -> tuple[Problem, Nurses]:
    """The model, and whose its columns are."""
    days, shifts = range(facts["days"]), facts["shifts"]
    cost: list[float] = []
    upper: list[float] = []
    whole: list[bool] = []
    who: list[int] = []
    when: list[int] = []
    rows = Rows()
    number = {p: n for n, p in enumerate(facts["people"])}

    def column(price: float, most: float, is_whole: bool, p: str = "", d: int = -1) -> int:
        cost.append(price)
        upper.append(most)
        whole.append(is_whole)
        who.append(number.get(p, -1))
        when.append(d)
        return len(cost) - 1

    def row(columns: list[int], factors: list[float], low: float, high: float) -> None:
        rows.add(columns, factors, low, high)

    x = {
        (p, d, s): column(0.0, float(d not in facts["off"][p]), True, p, d)
        for p in facts["people"]
        for d in days
        for s in shifts
    }
    # A column for whether somebody works that day: the rows below are far shorter with it.
    works = {(p, d): [column(0.0, 1.0, True, p, d)] for p in facts["people"] for d in days}
    for (p, d), work in works.items():
        row([*(x[p, d, s] for s in shifts), *work], [1.0] * len(shifts) + [-1.0], 0.0, 0.0)
    for p, (most_of, most, least, most_days, least_days, least_off, weekends) in facts["people"].items():
        for d in days:
            for s, (_, followers) in shifts.items():
                if followers and d + 1 in days:
                    row(
                        [x[p, d, s], *(x[p, d + 1, t] for t in followers)],
                        [1.0] * (1 + len(followers)),
                        -math.inf,
                        1.0,
                    )
        for s in shifts:
            if most_of[s] < facts["days"]:
                row([x[p, d, s] for d in days], [1.0] * len(days), -math.inf, float(most_of[s]))
        minutes = [float(shifts[s][0]) for _ in days for s in shifts]
        row([x[p, d, s] for d in days for s in shifts], minutes, float(least), float(most))
        for d in days[: len(days) - most_days]:
            columns = [c for n in range(d, d + most_days + 1) for c in works[p, n]]
            row(columns, [1.0] * len(columns), -math.inf, float(most_days))
        for length in range(1, max(least_days, least_off)):
            for d in days[: max(0, len(days) - length - 1)]:
                ends = works[p, d] + works[p, d + length + 1]
                inside = [c for n in range(d + 1, d + length + 1) for c in works[p, n]]
                factors = [1.0] * len(ends) + [-1.0] * len(inside)
                low = 1.0 - length if length < least_days else -math.inf
                row(ends + inside, factors, low, 1.0 if length < least_off else math.inf)
        taken = []
        for saturday in range(5, facts["days"], 7):
            taken.append(column(0.0, 1.0, True, p))
            for d in (saturday, saturday + 1):
                row([*works[p, d], taken[-1]], [1.0, -1.0], -math.inf, 0.0)
        row(taken, [1.0] * len(taken), -math.inf, float(weekends))
    constant = 0.0
    for p, d, s, weight in facts["wants"]:
        constant += weight
        cost[x[p, d, s]] -= weight
    for p, d, s, weight in facts["rather_not"]:
        cost[x[p, d, s]] += weight
    for d, s, needed, under, over in facts["cover"]:
        people = [x[p, d, s] for p in facts["people"]]
        short, more = column(under, math.inf, False), column(over, math.inf, False)
        row([*people, short, more], [1.0] * len(people) + [1.0, -1.0], float(needed), float(needed))
    model = model_of(cost, [0.0] * len(cost), upper, whole, rows)
    is_integral = all(price == round(price) for price in [constant, *cost])
    return Problem(model, constant, is_integral), Nurses(facts, who, when)
