"""The published nurse rosters (schedulingbenchmarks.org, instances 1 to 24): their data, and their rules as a solver model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from barnameh.planning.solve import Model, Rows, model_of

FOLDER = Path(__file__).parents[1] / "fixtures" / "nurses"


def instance(number: int) -> dict[str, Any]:
    """Days, shifts (minutes, what may not follow), people (most of each shift, most and least minutes, most and least days in a row, least
    days off in a row, most weekends), days off, wishes with weights, cover (day, shift, needed, weight under, weight over)."""
    found: dict[str, Any] = json.loads((FOLDER / f"instance_{number:02d}.json").read_text(encoding="utf-8"))
    return found


def nurse_model(facts: dict[str, Any]) -> tuple[Model, float]:
    """The model, and its cost in addition to the objective."""
    days, shifts = range(facts["days"]), facts["shifts"]
    cost: list[float] = []
    upper: list[float] = []
    whole: list[bool] = []
    rows = Rows()

    def column(price: float, most: float, is_whole: bool) -> int:
        cost.append(price)
        upper.append(most)
        whole.append(is_whole)
        return len(cost) - 1

    def row(columns: list[int], factors: list[float], low: float, high: float) -> None:
        rows.add(columns, factors, low, high)

    x = {
        (p, d, s): column(0.0, float(d not in facts["off"][p]), True)
        for p in facts["people"]
        for d in days
        for s in shifts
    }
    works = {(p, d): [x[p, d, s] for s in shifts] for p in facts["people"] for d in days}
    for p, (most_of, most, least, most_days, least_days, least_off, weekends) in facts["people"].items():
        for d in days:
            row(works[p, d], [1.0] * len(shifts), -math.inf, 1.0)
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
            taken.append(column(0.0, 1.0, True))
            for d in (saturday, saturday + 1):
                row([*works[p, d], taken[-1]], [1.0] * len(shifts) + [-1.0], -math.inf, 0.0)
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
    return model_of(cost, [0.0] * len(cost), upper, whole, rows), constant
