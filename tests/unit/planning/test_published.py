"""Published instances with known optima: the solver finds and proves them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from barnameh.planning.solve import Rows, model_of, solve
from tests.support.nurses import solve_nurses

GAP = Path(__file__).parents[2] / "fixtures" / "gap1.txt"


@pytest.mark.parametrize(
    ("number", "optimum"),
    [(1, 607), pytest.param(2, 828, marks=pytest.mark.slow), pytest.param(3, 1001, marks=pytest.mark.slow)],
)
def test_nurses(number: int, optimum: int) -> None:
    """Instances 1 to 3 of the employee shift scheduling benchmark (schedulingbenchmarks.org), best known values as published there."""
    problem, found = solve_nurses(number)
    assert problem.price(found.x) == pytest.approx(optimum)
    assert found.bound == pytest.approx(optimum)


def test_generalized_assignment() -> None:
    """Set gap1 of the OR-Library: five problems of five agents and fifteen jobs with published optima."""
    numbers = [int(word) for word in GAP.read_text(encoding="utf-8").split()]
    at, found = 1, []
    for _ in range(numbers[0]):
        agents, jobs = numbers[at : at + 2]
        at += 2
        earned = numbers[at : at + agents * jobs]
        needed = numbers[at + agents * jobs : at + 2 * agents * jobs]
        at += 2 * agents * jobs
        rows = Rows()
        for job in range(jobs):
            rows.add([agent * jobs + job for agent in range(agents)], [1.0] * agents, 1.0, 1.0)
        for agent in range(agents):
            columns = list(range(agent * jobs, (agent + 1) * jobs))
            rows.add(columns, [float(needed[c]) for c in columns], -math.inf, float(numbers[at + agent]))
        at += agents + 1
        size = agents * jobs
        answer = solve(model_of([-float(e) for e in earned], [0.0] * size, [1.0] * size, [True] * size, rows))
        assert answer.is_optimal
        found.append(round(-answer.objective))
    assert found == [336, 327, 339, 341, 326]
