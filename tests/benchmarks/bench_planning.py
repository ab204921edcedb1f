"""How good are the plans, how fast are they found, and how much better are they than a greedy roster and the priority rule?

Seconds are CPU seconds in one thread: a search ends when it has used its limit. A gap is a plan's cost above the proven lower
bound. Generated instances depend only on their parameters (tests/support); the others are published.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from barnameh.planning.check import violations
from barnameh.planning.explain import gaps
from barnameh.planning.model import Roster
from barnameh.planning.production import plan_production
from barnameh.planning.production_check import faults
from barnameh.planning.roster import Plan, plan_roster
from barnameh.planning.shop import by_rule, on_time_pct, price_of
from barnameh.planning.solve import SOLVER, SOLVER_VERSION
from tests.benchmarks.harness import Context, Goal, Table
from tests.support.nurses import solve_nurses
from tests.support.rosters import random_site, with_ill
from tests.support.shops import random_plant

WALL = 3600.0
_Case = TypeVar("_Case", bound=tuple[object, ...])
ROSTERS = (
    ("7 people, 30 shifts, 2 locations", (7, 30, 2, 7), 1.0),
    ("100 people, 1,000 shifts, 5 locations", (100, 1000, 5, 28), 10.0),
    ("500 people, 5,000 shifts, 20 locations", (500, 5000, 20, 28), 90.0),
    ("100 people, 1,000 shifts, 1 location", (100, 1000, 1, 28), 60.0),
)
PLANTS = (
    ("70 plans, 5 resources, 14 days", (70, 5, 14), 1.0, 0.1),
    ("500 plans, 30 resources, 28 days", (500, 30, 28), 10.0, 0.1),
    ("2,000 plans, 100 resources, 28 days", (2000, 100, 28), 90.0, 0.5),
)
NURSES = (
    (1, 607, 20.0, 0.0),
    (2, 828, 20.0, 0.0),
    (3, 1001, 20.0, 0.0),
    (6, 1950, 90.0, 1.0),
    (10, 4631, 90.0, 5.0),
)


class Clock:
    """Measures CPU seconds since its creation; `is_over` after the limit."""

    def __init__(self, most: float = WALL) -> None:
        self._began, self._most = time.process_time(), most

    def seconds(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._began

    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return self.seconds() >= self._most


def _within(cases: tuple[_Case, ...], place: int, scale: float) -> tuple[_Case, ...]:
    """At a smaller scale, only the instances with shorter limits; always the first one."""
    return tuple(c for n, c in enumerate(cases) if not n or float(str(c[place])) <= 100 * scale)


def _rosters(scale: float) -> Table:
    columns = ("roster", "greedy", "proposed", "bound", "gap %", "CPU s", "empty, greedy", "empty", "status")
    table = Table("rosters", "The cost of a roster, compared with a greedy one.", columns)
    for name, (people, shifts, locations, days), limit in _within(ROSTERS, 2, scale):
        roster = random_site(people, shifts, locations, days)
        clock = Clock()
        greedy = plan_roster(roster, seconds=0)
        first = clock.seconds()
        clock = Clock(limit if locations == 1 else 3 * limit)
        plan = plan_roster(roster, seconds=WALL, stop=clock.is_over)
        used = clock.seconds()
        assert not violations(roster, plan.pairs)
        empty = [sum(g["missing"] for g in gaps(roster, p.pairs)) for p in (greedy, plan)]
        gap = plan.gap_pct if plan.gap_pct is not None else float("nan")
        table.rows.append(
            (
                name,
                round(greedy.cost),
                round(plan.cost),
                round(plan.bound),
                round(gap, 2),
                round(used, 1),
                *empty,
                plan.status,
            )
        )
        if locations == 1:
            table.goals.append(Goal(f"{name}, gap % after {limit:g} s", gap, 2.0))
        else:
            table.goals.append(Goal(f"{name}, gap %", gap, 0.01))
            table.goals.append(Goal(f"{name}, seconds", used, limit))
        table.goals += [Goal(f"{name}, seconds to a usable roster", first, 5.0)]
        if (people, locations) == (100, 5):
            table.goals += _ill(roster, plan)
    return table


def _ill(roster: Roster, plan: Plan) -> list[Goal]:
    changed, lost = with_ill(roster, plan.pairs, 3, 5)
    clock = Clock(5.0)
    again = plan_roster(changed, seconds=WALL, stop=clock.is_over)
    used = clock.seconds()
    changes = len(again.pairs - changed.present()) + len(changed.present() - again.pairs) - lost
    return [
        Goal(f"three of a hundred ill, changes for each of {lost} lost assignments", changes / lost, 2.0),
        Goal("three of a hundred ill, seconds", used, 5.5),
    ]


def _plants(scale: float) -> Table:
    columns = (
        "plant", "load", "setups", "rule, in time %", "in time %", "rule, cost", "cost", "bound", "gap %", "CPU s",
    )  # fmt: skip
    table = Table(
        "production",
        "The share of the work done in time, compared with a rule: by priority, then due date.",
        columns,
    )
    for name, (jobs, resources, days), limit, most in _within(PLANTS, 2, scale):
        for load, setups in ((0.9, False), (1.1, False), (1.1, True)) if jobs < 2000 else ((1.1, False),):
            shop = random_plant(jobs, resources, days, load, setups=setups, skew=1.2)
            rule, clock = by_rule(shop), Clock(limit)
            plan = plan_production(shop, seconds=WALL, stop=clock.is_over)
            used = clock.seconds()
            assert not faults(shop, plan.work)
            shares = [on_time_pct(shop, work) or 0.0 for work in (rule, plan.work)]
            table.rows.append(
                (
                    name, load, "0 to 45 min" if setups else "none", round(shares[0], 1), round(shares[1], 1),
                    round(price_of(shop, rule), 1), round(plan.cost, 1), round(plan.bound, 1), round(plan.gap_pct, 3), round(used, 1),
                )
            )  # fmt: skip
            what = f"{name}, load {load:g}, {'with' if setups else 'no'} setup times"
            table.goals.append(Goal(f"{what}, gap % after {limit:g} s", plan.gap_pct, most))
            table.goals.append(
                Goal(f"{what}, points more in time", shares[1] - shares[0], 2.0, at_most=False)
            )
    return table


def _nurses(scale: float) -> Table:
    columns = ("instance", "best known", "found", "bound", "CPU s")
    table = Table("nurses", "Published nurse rosters (schedulingbenchmarks.org).", columns)
    for number, best, limit, most in _within(NURSES, 2, scale):
        clock = Clock(limit)
        problem, plan = solve_nurses(number, seconds=WALL, stop=clock.is_over)
        used = clock.seconds()
        found = problem.price(plan.x)
        table.rows.append((number, best, round(found), round(plan.bound), round(used, 1)))
        table.goals.append(
            Goal(f"instance {number}, % above the best known", 100 * (found - best) / best, most + 1e-6)
        )
    return table


def run(context: Context) -> list[Table]:
    """Rosters, production, published instances."""
    parts: tuple[Callable[[float], Table], ...] = (_rosters, _plants, _nurses)
    tables = [part(context.scale) for part in parts]
    for table in tables:
        table.remark = f"{SOLVER} {SOLVER_VERSION}, one thread. CPU seconds, not wall-clock seconds."
    return tables
