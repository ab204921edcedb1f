"""The least cost of all rosters, by the checker alone: all allowed sets of shifts per person, combined by the resulting crews."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from uuid import UUID

from barnameh.planning.check import cost, violations
from barnameh.planning.model import Pair, Roster, Worker

OWN = {"missing": 0.0, "skill": 0.0}
OF_SHIFTS = {"change": 0.0, "absence": 0.0, "hours": 0.0, "wish": 0.0, "nights": 0.0, "weekends": 0.0}
Crew = frozenset[UUID]


def weeks_of(roster: Roster, worker: Worker) -> list[tuple[frozenset[Pair], float]]:
    """Every set of shifts that this person may work, including the pinned ones, with its own cost."""
    who = worker.employee_id
    alone = dataclasses.replace(
        roster, workers=(worker,), standing=tuple(a for a in roster.standing if a.employee_id == who)
    )
    own = dataclasses.replace(roster, weights=dataclasses.replace(roster.weights, **OWN))
    pinned = roster.pinned()
    held = frozenset(p for p in pinned if p[1] == who)
    others = frozenset(p for p in roster.present() | pinned if p[1] != who)
    nothing = cost(own, others)
    found: list[tuple[frozenset[Pair], float]] = []
    free = [(s.shift_id, who) for s in roster.shifts if (s.shift_id, who) not in held]

    def grow(chosen: frozenset[Pair], first: int) -> None:
        found.append((chosen, cost(own, others | chosen) - nothing))
        for n in range(first, len(free)):
            more = chosen | {free[n]}
            # A broken rule stays broken whatever is added; the other rules concern more than one person.
            if not [v for v in violations(alone, more) if v.rule not in ("places", "pinned")]:
                grow(more, n + 1)

    grow(held, 0)
    return found


def is_any_cheaper(roster: Roster, limit: float) -> bool:
    """Whether any roster that keeps all rules costs less than `limit`."""
    weeks = {w.employee_id: weeks_of(roster, w) for w in roster.workers}
    only = dataclasses.replace(roster, weights=dataclasses.replace(roster.weights, **OF_SHIFTS))
    shifts = {s.shift_id: s for s in roster.shifts}
    alone = {k: dataclasses.replace(only, shifts=(s,)) for k, s in shifts.items()}
    able: dict[UUID, set[UUID]] = defaultdict(set)
    for who, sets in weeks.items():
        for chosen, _ in sets:
            for shift_id, _ in chosen:
                able[shift_id].add(who)
    order = sorted(
        weeks,
        key=lambda e: (
            sorted(str(shifts[s].location_id) for s, people in able.items() if e in people),
            str(e),
        ),
    )
    last = {s: max((order.index(e) for e in able[s]), default=-1) for s in shifts}
    prices: dict[tuple[UUID, Crew], float] = {}

    def price(shift_id: UUID, crew: Crew) -> float:
        """Cost of the shift with this crew; infinite if there are too many."""
        if (shift_id, crew) not in prices:
            pairs = {(shift_id, e) for e in crew}
            too_many = any(v.rule == "places" for v in violations(alone[shift_id], pairs))
            prices[shift_id, crew] = float("inf") if too_many else cost(alone[shift_id], pairs)
        return prices[shift_id, crew]

    def kind(shift_id: UUID, crew: Crew) -> tuple[int, frozenset[str], int]:
        """Crews of one kind are interchangeable: same size, same skills, and the same number pinned or already assigned."""
        skills = frozenset(
            k for w in roster.workers if w.employee_id in crew for k in w.skills & shifts[shift_id].skills
        )
        marks = sum(((shift_id, e) in pinned) + 100 * ((shift_id, e) in present) for e in crew)
        return len(crew), skills, marks

    pinned, present = roster.pinned(), roster.present()
    own = dataclasses.replace(roster, weights=dataclasses.replace(roster.weights, **OWN))
    least = {who: min(c for _, c in sets) for who, sets in weeks.items()}
    start = cost(own, ()) + sum(least.values())
    states: dict[object, tuple[float, dict[UUID, Crew]]] = {(): (start, {s: frozenset() for s in shifts})}
    for n, who in enumerate(order):
        after: dict[object, tuple[float, dict[UUID, Crew]]] = {}
        for value, crews in states.values():
            for chosen, own_cost in weeks[who]:
                total = value + own_cost - least[who]
                if total >= limit:
                    continue
                now = dict(crews)
                for shift_id, _ in chosen:
                    now[shift_id] = now[shift_id] | {who}
                for shift_id in crews:
                    if last[shift_id] <= n:
                        total += price(shift_id, now.pop(shift_id))
                if total >= limit:
                    continue
                key = tuple(kind(s, c) for s, c in now.items())
                if key not in after or total < after[key][0]:
                    after[key] = total, now
        states = after
    return bool(states)
