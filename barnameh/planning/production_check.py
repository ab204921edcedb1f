"""Independent checker of production schedules, counting from the work, without any of the solver's code."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable
    from uuid import UUID

    from barnameh.planning.shop import Shop, Work

TOLERANCE = 1e-4


def faults(shop: Shop, work: Iterable[Work]) -> list[str]:
    """Return the rules that this schedule breaks; empty if none."""
    jobs = {j.plan_id: j for j in shop.jobs}
    found = []
    used: dict[tuple[UUID, dt.date], float] = defaultdict(float)
    made: dict[UUID, float] = defaultdict(float)
    net: dict[tuple[UUID, UUID], list[tuple[dt.date, float, float]]] = defaultdict(list)
    for w in work:
        job = jobs.get(w.plan_id)
        if job is None:
            found.append(f"plan {w.plan_id} is not to be made")
            continue
        ability = shop.abilities.get((w.resource_id, job.product_id))
        allowed = shop.places.get(w.plan_id)
        if ability is None or (allowed is not None and w.resource_id not in allowed):
            found.append(f"resource {w.resource_id} cannot make {job.product_id}")
            continue
        if w.hours < -TOLERANCE or w.quantity < -TOLERANCE:
            found.append(f"plan {w.plan_id}: less than nothing on {w.day}")
        if w.quantity > w.hours * ability.rate + TOLERANCE * max(1.0, w.quantity):
            found.append(
                f"plan {w.plan_id}: {w.quantity:g} in {w.hours:g} h on {w.day}, {ability.rate:g} an hour at most"
            )
        used[w.resource_id, w.day] += w.hours
        made[w.plan_id] += w.quantity
        net[w.plan_id, w.resource_id].append((w.day, w.hours - w.quantity / ability.rate, w.quantity))
    for (resource, day), hours in used.items():
        room = shop.hours.get((resource, day), 0.0)
        if hours > room + TOLERANCE:
            found.append(f"resource {resource}: {hours:g} h on {day}, {room:g} at most")
    for plan_id, quantity in made.items():
        most = jobs[plan_id].quantity
        if quantity > most * (1 + TOLERANCE) + TOLERANCE:
            found.append(f"plan {plan_id}: {quantity:g} made of {most:g}")
    for (plan_id, resource), parts in net.items():
        needed = shop.abilities[resource, jobs[plan_id].product_id].setup_hours
        if sum(q for _, _, q in parts) > TOLERANCE and sum(s for _, s, _ in parts) < needed - 10 * TOLERANCE:
            found.append(f"plan {plan_id}: set up on resource {resource} for less than {needed:g} h")
    return found
