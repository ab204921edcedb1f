"""Production plans onto capable resources and days, with HiGHS."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.production_cuts import broken, windows
from barnameh.planning.production_model import ShopModel, shop_model
from barnameh.planning.shop import Shop, Work, by_rule, on_time_pct, price_of
from barnameh.planning.solve import Floats, Relaxation, restricted, solve

CUT_ROUNDS, CUT_GAIN = 12, 2e-5
"""Rounds of rows that raise the bound, at most; and the share of the bound that a round must gain."""
GROUP_PAIRS = 90
"""Pairs of plan and resource that are replanned at once."""
GROUP_NODES = 5
CORNER_NODES = 5
"""For replanning all plans on the resources where the relaxation has them."""
IDLE_ROUNDS = 2
"""The search ends after this many rounds without improvement."""
PAIRS_AT_ONCE = 600
"""Up to this many pairs a shop is finally solved as a whole; larger ones only at the root, for the bound."""


@dataclass
class Schedule:
    """A schedule: the work, its cost, and the proven bound."""

    work: list[Work]
    cost: float
    bound: float
    status: str
    """optimal, feasible (searched to the end, not proven) or time_limit."""
    start_cost: float
    """Of the rule."""
    seconds: float
    rule_on_time_pct: float | None
    on_time_pct: float | None

    @property
    def gap_pct(self) -> float:
        """How far the cost is above the proven bound (%)."""
        return (
            0.0
            if self.cost <= self.bound + 1e-9
            else 100 * (self.cost - self.bound) / max(abs(self.cost), 1e-9)
        )


def plan_production(
    shop: Shop,
    *,
    seconds: float = 30.0,
    gap: float = 1e-3,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[dict[str, object]], None] = lambda _: None,
) -> Schedule:
    """Plan what to make where on which day.

    Minimizes hours not made or made late, by priority, then setups, moves and earliness. It starts from the
    rule's schedule, so it can be stopped at any time and is never worse. A plan may be made on several
    resources and days, each set up for it once, before its work.
    """
    began = time.perf_counter()

    def left() -> float:
        return seconds - (time.perf_counter() - began)

    rule = by_rule(shop)
    work, bound, by_clock = rule, 0.0, False
    if shop.jobs and shop.days:
        work, bound, by_clock = _search(shop_model(shop), rule, left, gap, stop, progress)
    cost = price_of(shop, work)
    bound = min(bound, cost) if shop.jobs and shop.days else cost
    is_optimal = cost - bound <= 1e-6 + gap * abs(cost)
    return Schedule(
        work,
        cost,
        bound,
        "optimal" if is_optimal else "time_limit" if by_clock else "feasible",
        price_of(shop, rule),
        time.perf_counter() - began,
        on_time_pct(shop, rule),
        on_time_pct(shop, work),
    )


def _search(
    model: ShopModel,
    work: list[Work],
    left: Callable[[], float],
    gap: float,
    stop: Callable[[], bool],
    progress: Callable[[dict[str, object]], None],
) -> tuple[list[Work], float, bool]:
    """Solve the relaxation, round a corner, replan groups of resources in turn, and prove with the whole."""
    shop = model.shop
    cost, bound = price_of(shop, work), 0.0

    def take(x: Floats | None) -> None:
        nonlocal work, cost
        if x is not None and (price := price_of(shop, other := model.work(x))) < cost - 1e-9:
            work, cost = other, price
        progress({"cost": round(cost, 3), "bound": round(bound, 3), "seconds_left": round(left(), 1)})

    def improve(x: Floats, free: NDArray[np.bool_], nodes: int) -> None:
        part = restricted(model.model, x, free)
        answer = solve(part, seconds=left(), start=x[free], gap=gap, nodes=nodes, stop=stop)
        if answer.x is not None:
            x[free] = answer.x
            take(x)

    def solve_whole(nodes: int | None) -> bool:
        nonlocal bound
        start = model.solution(work)
        answer = solve(model.model, seconds=left(), start=start, gap=gap, nodes=nodes, stop=stop)
        bound = max(bound, answer.bound)
        take(answer.x)
        return answer.hit_limit

    def is_done() -> bool:
        return cost - bound <= 1e-6 + gap * abs(cost)

    if left() <= 0 or stop():
        return work, bound, True
    relaxed = Relaxation(model.model, seconds=left())
    corner = relaxed.x if relaxed.is_optimal else None
    if corner is not None:
        bound = relaxed.bound
        take(corner)
    known = windows(model)
    for _ in range(CUT_ROUNDS):
        if not relaxed.is_optimal or is_done() or left() <= 0.05 or stop():
            break
        rows = broken(known, relaxed.x)
        if not rows.upper:
            break
        before = bound
        relaxed.add(rows, seconds=left())
        if relaxed.is_optimal:
            bound = max(bound, relaxed.bound)
        if bound - before < CUT_GAIN * abs(bound):
            break
    if corner is not None and not is_done() and left() > 0.05 and not stop():
        now = model.solution(work)
        improve(now, model.columns_near(corner + now), CORNER_NODES)
    chance = random.Random(len(shop.jobs))
    idle, is_small, has_cuts = 0, len(model.used) <= PAIRS_AT_ONCE, False
    while idle < IDLE_ROUNDS and not is_done():
        before = cost
        for group in _groups(model, work, chance):
            if is_done():
                break
            if left() <= 0.05 or stop():
                return work, bound, True
            improve(model.solution(work), model.columns_of(group), GROUP_NODES)
        idle = 0 if cost < before - 1e-6 * abs(before) else idle + 1
        if not is_small and not has_cuts and not is_done():
            solve_whole(1)
            has_cuts = True
    if is_done() or not is_small:
        return work, bound, False
    hit_limit = solve_whole(None)
    return work, bound, hit_limit


def _groups(model: ShopModel, work: list[Work], chance: random.Random) -> Iterator[set[UUID]]:
    """Partition resources that share plans, or could, into groups of about GROUP_PAIRS pairs."""
    pairs: Counter[UUID] = Counter(r for _, r in {*model.in_time, *model.late})
    near: dict[UUID, Counter[UUID]] = defaultdict(Counter)
    able: dict[int, list[UUID]] = defaultdict(list)
    for n, r in sorted({*model.in_time, *model.late}):
        able[n].append(r)
    on: dict[UUID, set[UUID]] = defaultdict(set)
    for w in work:
        on[w.plan_id].add(w.resource_id)
    for n, resources in able.items():
        split = len(on[model.shop.jobs[n].plan_id]) > 1
        for r in resources:
            for other in resources:
                if r != other:
                    near[r][other] += 5 if split and {r, other} <= on[model.shop.jobs[n].plan_id] else 1
    left = sorted(pairs)
    chance.shuffle(left)
    while left:
        group = {left.pop()}
        while sum(pairs[r] for r in group) < GROUP_PAIRS:
            close = Counter(
                {
                    o: sum(near[r][o] for r in group) * (0.5 + chance.random())
                    for o in sorted(pairs)
                    if o not in group
                }
            )
            if not close or close.most_common(1)[0][1] <= 0:
                break
            group.add(close.most_common(1)[0][0])
        left = [r for r in left if r not in group]
        yield group
