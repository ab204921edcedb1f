"""Production plans onto capable resources and days: the model and the solver, from plain data."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from barnameh.planning.solve import Floats, Model, Rows, model_of, solve

PRIORITY_WEIGHTS = {1: 16.0, 2: 8.0, 3: 4.0, 4: 2.0, 5: 1.0}
"""What an hour of work costs that is not done in time, by priority."""
UNMADE, LATE, LATE_DAY = 1.0, 0.5, 0.02
"""Of that: not made at all; made late; and for each day that it is late."""
SETUP, MOVE, EARLY_DAY = 0.2, 0.5, 0.002
"""A setup; a plan on another resource than now; an hour a day before it is due."""
SHORT = 2.0
"""An hour's worth of demand that stock and production do not meet on a day."""
MOST_LATE = 0.98
"""However late, it is better than never."""
EARLIEST = 14
"""Days before it is due on which a plan may be made."""
SMALLEST_HOURS = 1e-6


@dataclass(frozen=True)
class Job:
    """A plan: so much of a product, due at the end of a local day. `resource_id` is where it stands now."""

    plan_id: UUID
    product_id: str
    due: dt.date
    quantity: float
    priority: int = 3
    resource_id: UUID | None = None


@dataclass(frozen=True)
class Ability:
    """How fast a resource makes a product, in the product's unit an hour, after a setup of so many hours."""

    rate: float
    setup_hours: float = 0.0


@dataclass(frozen=True)
class Work:
    """A part of a plan on a resource and day; `hours` have the setup in them."""

    plan_id: UUID
    resource_id: UUID
    day: dt.date
    hours: float
    quantity: float


@dataclass(frozen=True)
class Shop:
    """A problem: jobs, who can make what, and how many hours each resource has on each day."""

    days: tuple[dt.date, ...]
    jobs: tuple[Job, ...]
    abilities: Mapping[tuple[UUID, str], Ability]
    hours: Mapping[tuple[UUID, dt.date], float]
    places: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)
    """Resources that a job may be made on; a job that is not named may be made wherever its product can."""
    demand: Mapping[tuple[str, dt.date], float] = field(default_factory=dict)
    stock: Mapping[str, float] = field(default_factory=dict)
    """Of products whose stock is given; demand counts for these only."""

    def able(self, job: Job) -> list[UUID]:
        """Resources that can make the job, in order."""
        allowed = self.places.get(job.plan_id)
        return sorted(
            r
            for r, product in self.abilities
            if product == job.product_id and (allowed is None or r in allowed)
        )


@dataclass
class Schedule:
    """What came out: the work, its cost, and how good it is proven to be."""

    work: list[Work]
    cost: float
    bound: float
    status: str
    seconds: float
    rule_on_time_pct: float | None
    on_time_pct: float | None

    @property
    def gap_pct(self) -> float:
        """How far the cost is above the least that is proven possible."""
        return (
            0.0
            if self.cost <= self.bound + 1e-9
            else 100 * (self.cost - self.bound) / max(abs(self.cost), 1e-9)
        )


def standard_hours(shop: Shop, job: Job) -> float:
    """Hours that the fastest resource needs, so that products of different units can be compared."""
    best = max((shop.abilities[r, job.product_id].rate for r in shop.able(job)), default=0.0)
    return job.quantity / best if best else 0.0


def on_time_pct(shop: Shop, work: list[Work]) -> float | None:
    """Share of the quantity of each plan that is made in time, weighted by the hours that it needs; None where there is nothing."""
    due = {j.plan_id: j for j in shop.jobs}
    made: dict[UUID, float] = defaultdict(float)
    for w in work:
        if w.day <= due[w.plan_id].due:
            made[w.plan_id] += w.quantity
    whole = sum(standard_hours(shop, j) for j in shop.jobs)
    if not whole:
        return None
    return (
        100 * sum(standard_hours(shop, j) * min(1.0, made[j.plan_id] / j.quantity) for j in shop.jobs) / whole
    )


def by_rule(shop: Shop) -> list[Work]:
    """The usual rule, and the start: by priority, then due date, each on its own resource or the fastest that has room before it is due."""
    free = dict(shop.hours)
    work: list[Work] = []
    for job in sorted(shop.jobs, key=lambda j: (j.priority, j.due, j.plan_id)):
        left = job.quantity
        able = sorted(
            shop.able(job), key=lambda r: (r != job.resource_id, -shop.abilities[r, job.product_id].rate, r)
        )
        for in_time in (True, False):
            for r in able:
                ability = shop.abilities[r, job.product_id]
                setup = (
                    0.0
                    if any(w.plan_id == job.plan_id and w.resource_id == r for w in work[-50:])
                    else ability.setup_hours
                )
                for day in shop.days:
                    if (
                        left <= 1e-9
                        or (day <= job.due) != in_time
                        or day < job.due - dt.timedelta(days=EARLIEST)
                    ):
                        continue
                    room = free.get((r, day), 0.0)
                    if room <= setup + SMALLEST_HOURS:
                        continue
                    quantity = min(left, (room - setup) * ability.rate)
                    hours = quantity / ability.rate + setup
                    free[r, day] = room - hours
                    work.append(Work(job.plan_id, r, day, hours, quantity))
                    left -= quantity
                    setup = 0.0
    return work


def plan_production(
    shop: Shop, *, seconds: float = 30.0, gap: float = 1e-3, stop: Callable[[], bool] = lambda: False
) -> Schedule:
    """What should be made where on which day?

    Minimizes the hours, by priority, that are not made or made late, then setups, moves and earliness; a start by rule makes it anytime
    and never worse than the rule. A plan may be made on several resources and days; each is set up for it once, before it works.
    """
    began = time.perf_counter()
    start_work = by_rule(shop)
    model, index, constant = _model(shop)
    start = _start(shop, model.cost.size, index, start_work)
    answer = solve(model, seconds=seconds, start=start, gap=gap, stop=stop)
    options = [start_work] if answer.x is None else [_work(shop, index, answer.x), start_work]
    work = min(options, key=lambda option: price_of(shop, option))
    cost = price_of(shop, work)
    bound = answer.bound + constant if math.isfinite(answer.bound) else 0.0
    return Schedule(
        work,
        cost,
        min(bound, cost),
        "optimal" if answer.is_optimal else "time_limit",
        time.perf_counter() - began,
        on_time_pct(shop, start_work),
        on_time_pct(shop, work),
    )


@dataclass
class _Index:
    """Where each variable stands."""

    work: dict[tuple[int, UUID, dt.date], int] = field(default_factory=dict)
    used: dict[tuple[int, UUID], int] = field(default_factory=dict)
    unmade: dict[int, int] = field(default_factory=dict)
    short: dict[tuple[str, dt.date], int] = field(default_factory=dict)


def _model(shop: Shop) -> tuple[Model, _Index, float]:
    cost: list[float] = []
    lower: list[float] = []
    upper: list[float] = []
    integer: list[bool] = []
    rows, index = Rows(), _Index()

    def column(price: float, most: float, whole: bool = False) -> int:
        cost.append(price)
        lower.append(0.0)
        upper.append(most)
        integer.append(whole)
        return len(cost) - 1

    load: dict[tuple[UUID, dt.date], list[int]] = defaultdict(list)
    made: dict[tuple[str, dt.date], list[tuple[int, float]]] = defaultdict(list)
    for n, job in enumerate(shop.jobs):
        weight = PRIORITY_WEIGHTS[job.priority]
        hours = standard_hours(shop, job)
        able = shop.able(job)
        if not hours:
            continue
        index.unmade[n] = column(weight * UNMADE * hours, 1.0)
        parts, factors = [index.unmade[n]], [1.0]
        for r in able:
            ability = shop.abilities[r, job.product_id]
            days = [
                d
                for d in shop.days
                if shop.hours.get((r, d), 0.0) > SMALLEST_HOURS and d >= job.due - dt.timedelta(days=EARLIEST)
            ]
            if not days:
                continue
            move = MOVE if job.resource_id is not None and r != job.resource_id else 0.0
            index.used[n, r] = used = column(SETUP + move, 1.0, True)
            # The setup is spread over the hours of the plan here; `_work` lays it out first.
            needed = job.quantity / ability.rate + ability.setup_hours
            columns = []
            for d in days:
                late = (d - job.due).days
                share = weight * hours / needed  # what an hour here is worth
                price = share * min(LATE + LATE_DAY * late, MOST_LATE) if late > 0 else EARLY_DAY * -late
                index.work[n, r, d] = c = column(price, shop.hours[r, d])
                load[r, d].append(c)
                made[job.product_id, d].append((c, job.quantity / needed))
                columns.append(c)
                parts.append(c)
                factors.append(1 / needed)
            rows.add([*columns, used], [*[1.0] * len(columns), -needed], -math.inf, 0.0)
        rows.add(parts, factors, 1.0, 1.0)
    for key, columns in load.items():
        rows.add(columns, [1.0] * len(columns), -math.inf, shop.hours[key])
    _demand(shop, rows, index, column, made)
    return model_of(cost, lower, upper, integer, rows), index, 0.0


def _demand(
    shop: Shop,
    rows: Rows,
    index: _Index,
    column: Callable[..., int],
    made: Mapping[tuple[str, dt.date], list[tuple[int, float]]],
) -> None:
    """Stock and what is made up to a day, less the demand up to it, is short by no more than what the short days say."""
    for product, stock in sorted(shop.stock.items()):
        rates = [a.rate for (_, p), a in shop.abilities.items() if p == product]
        if not rates:
            continue
        sofar: list[tuple[int, float]] = []
        needed = 0.0
        shorts: list[int] = []
        for d in shop.days:
            sofar += made.get((product, d), [])
            needed += shop.demand.get((product, d), 0.0)
            index.short[product, d] = s = column(SHORT / max(rates), math.inf)
            shorts.append(s)
            columns = [c for c, _ in sofar] + shorts
            rows.add(columns, [r for _, r in sofar] + [1.0] * len(shorts), needed - stock, math.inf)


def _start(shop: Shop, size: int, index: _Index, work: list[Work]) -> Floats:
    number = {j.plan_id: n for n, j in enumerate(shop.jobs)}
    x = np.zeros(size)
    for c in index.unmade.values():
        x[c] = 1.0
    for w in work:
        n = number[w.plan_id]
        job, ability = shop.jobs[n], shop.abilities[w.resource_id, shop.jobs[n].product_id]
        needed = job.quantity / ability.rate + ability.setup_hours
        hours = min(w.hours, x[index.unmade[n]] * needed)
        x[index.work[n, w.resource_id, w.day]] += hours
        x[index.used[n, w.resource_id]] = 1.0
        x[index.unmade[n]] = max(0.0, x[index.unmade[n]] - hours / needed)
    for product, stock in shop.stock.items():
        level = stock
        for d in shop.days:
            if (product, d) not in index.short:
                break
            level += sum(
                w.quantity for w in work if w.day == d and shop.jobs[number[w.plan_id]].product_id == product
            )
            level -= shop.demand.get((product, d), 0.0)
            if level < 0:
                x[index.short[product, d]] = -level
                level = 0.0
    return x


def _work(shop: Shop, index: _Index, x: Floats) -> list[Work]:
    """The hours as work: on each resource the setup comes first, so a plan that is split makes a little less than the model counts."""
    found = []
    setup = {key: shop.abilities[key[1], shop.jobs[key[0]].product_id].setup_hours for key in index.used}
    left = {n: job.quantity for n, job in enumerate(shop.jobs)}
    for (n, r, d), c in sorted(index.work.items(), key=lambda item: (item[0][2], item[1])):
        hours = float(x[c])
        if hours <= 1e-6:
            continue
        spent = min(hours, setup[n, r])
        setup[n, r] -= spent
        rate = shop.abilities[r, shop.jobs[n].product_id].rate
        quantity = min(left[n], (hours - spent) * rate)
        left[n] -= quantity
        found.append(Work(shop.jobs[n].plan_id, r, d, spent + quantity / rate, quantity))
    made: dict[tuple[UUID, UUID], float] = defaultdict(float)
    for w in found:
        made[w.plan_id, w.resource_id] += w.quantity
    return sorted(
        (w for w in found if made[w.plan_id, w.resource_id] > 1e-6),  # nobody sets up for nothing
        key=lambda w: (w.day, w.resource_id, w.plan_id),
    )


def price_of(shop: Shop, work: list[Work]) -> float:
    """What this work costs, counted from itself."""
    jobs = {j.plan_id: j for j in shop.jobs}
    made: dict[UUID, float] = defaultdict(float)
    total = 0.0
    for w in work:
        job = jobs[w.plan_id]
        part = w.quantity / job.quantity
        made[w.plan_id] += part
        late = (w.day - job.due).days
        if late > 0:
            worth = PRIORITY_WEIGHTS[job.priority] * standard_hours(shop, job)
            total += worth * part * min(LATE + LATE_DAY * late, MOST_LATE)
        else:
            total += EARLY_DAY * -late * w.hours
    for plan_id, resource_id in {(w.plan_id, w.resource_id) for w in work}:
        total += SETUP + MOVE * (jobs[plan_id].resource_id not in (None, resource_id))
    for job in shop.jobs:
        worth = PRIORITY_WEIGHTS[job.priority] * standard_hours(shop, job) * UNMADE
        total += worth * max(0.0, 1 - made[job.plan_id])
    return total + _short(shop, work)


def _short(shop: Shop, work: list[Work]) -> float:
    total = 0.0
    product_of = {j.plan_id: j.product_id for j in shop.jobs}
    for product, stock in shop.stock.items():
        rates = [a.rate for (_, p), a in shop.abilities.items() if p == product]
        level = stock
        for d in shop.days if rates else ():
            level += sum(w.quantity for w in work if w.day == d and product_of[w.plan_id] == product)
            level -= shop.demand.get((product, d), 0.0)
            total += max(0.0, -level) * SHORT / max(rates)
            level = max(0.0, level)
    return total
