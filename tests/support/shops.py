"""Random shops like those in the benchmark tables: several resources make each product at different rates, and demand differs."""

from __future__ import annotations

import datetime as dt
import random
from uuid import UUID

from barnameh.planning.shop import Ability, Job, Shop
from tests.support.rosters import identifier


def random_plant(
    jobs: int,
    resources: int,
    days: int,
    load: float,
    *,
    setups: bool = True,
    skew: float = 0.6,
    seed: int = 5,
) -> Shop:
    """A shop that depends only on its arguments; `load` is the work at usual rates divided by the available hours."""
    chance = random.Random(seed)
    window = tuple(dt.date(2026, 12, 1) + dt.timedelta(days=d) for d in range(days))
    products = [f"P{k}" for k in range(max(3, resources // 2))]
    usual = {p: chance.uniform(20, 120) for p in products}
    able: dict[tuple[UUID, str], Ability] = {}
    for product in products:
        for k in chance.sample(range(resources), min(resources, chance.randint(3, 6))):
            setup = chance.choice([0, 0.25, 0.5, 0.75]) if setups else 0.0
            able[identifier(1, k), product] = Ability(usual[product] * chance.uniform(0.8, 1.2), setup)
    makers = sorted({r for r, _ in able})
    hours = {
        (r, d): chance.choice([8.0, 16.0, 16.0]) if d.weekday() < 6 else 0.0 for r in makers for d in window
    }
    each = sum(hours.values()) * load / jobs
    demanded = [(n + 1) ** -skew for n in range(len(products))]
    made = []
    for n in range(jobs):
        product = chance.choices(products, demanded)[0]
        now = chance.choice([r for r, p in able if p == product]) if chance.random() < 0.5 else None
        quantity = each * chance.uniform(0.3, 1.7) * usual[product]
        made.append(
            Job(identifier(2, n), product, chance.choice(window), quantity, chance.randint(1, 5), now)
        )
    return Shop(window, tuple(made), able, hours)
