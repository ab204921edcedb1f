"""The data of a production schedule: plans, abilities, hours, costs; and the rule to beat. No solver."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

PRIORITY_WEIGHTS = {1: 16.0, 2: 8.0, 3: 4.0, 4: 2.0, 5: 1.0}
"""Cost of an hour of work not done in time, by priority."""
UNMADE, LATE, LATE_DAYS, LATE_DAY = 1.0, 0.5, 0.4, 0.02
"""Shares of that: not made; made late; for all possible days late in total, and per day at most."""
SETUP, MOVE, EARLY_DAY = 0.05, 0.5, 0.002
"""A setup; a plan, or a share of it, made on another resource than now; an hour made a day early."""
SHORT = 2.0
"""An hour's worth of demand not met by stock and production, per day."""
EARLIEST = 14
"""Earliest day of making a plan, in days before its due date."""
SMALLEST_HOURS = 1e-6


@dataclass(frozen=True)
class Job:
    """A plan: a quantity of a product, due at the end of a local day. `resource_id`: its current resource."""

    plan_id: UUID
    product_id: str
    due: dt.date
    quantity: float
    priority: int = 3
    resource_id: UUID | None = None


@dataclass(frozen=True)
class Ability:
    """A resource's rate of making a product, in the product's unit per hour, after `setup_hours`."""

    rate: float
    setup_hours: float = 0.0


@dataclass(frozen=True)
class Work:
    """A part of a plan on a resource and day; `hours` include setup."""

    plan_id: UUID
    resource_id: UUID
    day: dt.date
    hours: float
    quantity: float


@dataclass(frozen=True)
class Shop:
    """A problem: jobs, abilities, and the hours of each resource and day."""

    days: tuple[dt.date, ...]
    jobs: tuple[Job, ...]
    abilities: Mapping[tuple[UUID, str], Ability]
    hours: Mapping[tuple[UUID, dt.date], float]
    places: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)
    """Resources allowed for a job; by default all that can make its product."""
    demand: Mapping[tuple[str, dt.date], float] = field(default_factory=dict)
    stock: Mapping[str, float] = field(default_factory=dict)
    """Stock by product; demand counts only for these products."""

    @cached_property
    def makers(self) -> Mapping[str, tuple[UUID, ...]]:
        """Resources that can make each product, in order."""
        found: dict[str, list[UUID]] = defaultdict(list)
        for r, product in sorted(self.abilities):
            found[product].append(r)
        return {product: tuple(resources) for product, resources in found.items()}

    @cached_property
    def standard_hours(self) -> Mapping[UUID, float]:
        """Hours of each plan on its fastest resource, to compare products of different units; 0 if none."""
        found = {}
        for job in self.jobs:
            best = max((self.abilities[r, job.product_id].rate for r in self.able(job)), default=0.0)
            found[job.plan_id] = job.quantity / best if best else 0.0
        return found

    def able(self, job: Job) -> list[UUID]:
        """Return the resources that can make the job, in order."""
        allowed = self.places.get(job.plan_id)
        return [r for r in self.makers.get(job.product_id, ()) if allowed is None or r in allowed]


def on_time_pct(shop: Shop, work: list[Work]) -> float | None:
    """Share of each plan's quantity made in time (%), weighted by hours needed; None without plans."""
    due = {j.plan_id: j for j in shop.jobs}
    made: dict[UUID, float] = defaultdict(float)
    for w in work:
        if w.day <= due[w.plan_id].due:
            made[w.plan_id] += w.quantity
    hours = shop.standard_hours
    whole = sum(hours.values())
    if not whole:
        return None
    return 100 * sum(hours[j.plan_id] * min(1.0, made[j.plan_id] / j.quantity) for j in shop.jobs) / whole


def by_rule(shop: Shop) -> list[Work]:
    """Return the schedule of the usual rule, which is also the start: by priority and due date, on its own or the fastest free resource."""
    free = dict(shop.hours)
    work: list[Work] = []
    is_set_up: set[tuple[UUID, UUID]] = set()
    for job in sorted(shop.jobs, key=lambda j: (j.priority, j.due, j.plan_id)):
        left = job.quantity
        able = sorted(
            shop.able(job), key=lambda r: (r != job.resource_id, -shop.abilities[r, job.product_id].rate, r)
        )
        for in_time in (True, False):
            for r in able:
                ability = shop.abilities[r, job.product_id]
                setup = 0.0 if (job.plan_id, r) in is_set_up else ability.setup_hours
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
                    is_set_up.add((job.plan_id, r))
    return work


def late_day_price(shop: Shop) -> float:
    """Share of its worth that an hour loses per day late: so small that late is better than never."""
    latest = max(((max(shop.days) - job.due).days for job in shop.jobs), default=0) if shop.days else 0
    return min(LATE_DAY, LATE_DAYS / max(latest, 1))


def late_step(worth: float, day_price: float) -> float:
    """Cost of an hour per day late, in powers of two, never above its share of the hour's worth."""
    return day_price * 2.0 ** math.floor(math.log2(worth) + 1e-9)


def price_of(shop: Shop, work: list[Work]) -> float:
    """Return the cost of this work."""
    jobs = {j.plan_id: j for j in shop.jobs}
    made: dict[UUID, float] = defaultdict(float)
    total, day_price = 0.0, late_day_price(shop)
    for w in work:
        job = jobs[w.plan_id]
        part = w.quantity / job.quantity
        made[w.plan_id] += part
        late = (w.day - job.due).days
        if late > 0:
            worth = PRIORITY_WEIGHTS[job.priority] * shop.standard_hours[job.plan_id]
            an_hour = worth * shop.abilities[w.resource_id, job.product_id].rate / job.quantity
            total += worth * part * LATE + late_step(an_hour, day_price) * late * w.hours
        else:
            total += EARLY_DAY * -late * w.hours
        total += MOVE * part * (job.resource_id not in (None, w.resource_id))
    total += SETUP * len({(w.plan_id, w.resource_id) for w in work})
    for job in shop.jobs:
        worth = PRIORITY_WEIGHTS[job.priority] * shop.standard_hours[job.plan_id] * UNMADE
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
