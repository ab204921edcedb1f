"""Rows that every schedule with whole setups keeps, and that the relaxation, with its shares of setups, breaks.

The plans due within some days are made in these days' hours, or were begun before. If more of them are set up
than fit, one that is set up in part only must make way: a flow cover inequality, for one plan and day the
(l, S) inequality of lot sizing. They raise the bound, and the setups of a relaxation come nearer to whole ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from barnameh.planning.production_model import Pair, ShopModel
from barnameh.planning.solve import Floats, Ints, Rows

LONGEST = 5
"""Days of a window at most: longer ones add next to nothing."""
COVERS = 15
"""Sets of plans that are tried for a window."""
LEAST = 1e-4
"""Share of a window's hours by which a row must be broken to be added."""


@dataclass(frozen=True)
class _Window:
    """Plans due on a resource within some days, with the columns of their hours and of their setups."""

    hours: float
    made: Ints
    used: Ints
    most: Floats
    """Hours of each, with its setup, at most."""
    before: Ints
    """Columns of the hours worked on them before the window."""


def windows(model: ShopModel) -> list[_Window]:
    """Return the windows of a model in which its rows can be broken."""
    held: dict[UUID, list[list[int]]] = defaultdict(list)
    for (resource, _, price), flow in model.flows.items():
        if not price:
            held[resource].append(flow.held)
    due: dict[UUID, dict[int, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in model.in_time:
        due[pair[1]][model.due(model.shop.jobs[pair[0]])].append(pair)
    found = []
    for resource in sorted(due):
        hours = [model.shop.hours.get((resource, day), 0.0) for day in model.days]
        for first in range(len(hours)):
            pairs: list[Pair] = []
            for last in range(first, min(first + LONGEST, len(hours))):
                pairs += due[resource].get(last, [])
                room = sum(hours[first : last + 1])
                if not pairs or room <= 0 or last not in due[resource]:
                    continue
                made = np.array([model.in_time[p] for p in pairs])
                used = np.array([model.used[p] for p in pairs])
                before = np.array([h[first - 1] for h in held[resource]] if first else [], dtype=np.int64)
                found.append(_Window(room, made, used, model.model.upper[made], before))
    return found


def broken(known: list[_Window], x: Floats) -> Rows:
    """Return the rows that a solution of the relaxation breaks most, one per window at most."""
    rows = Rows()
    for window in known:
        least, best = LEAST * window.hours, None
        for cover, others, spare in _covers(window, x):
            amount, row = _row(window, x, cover, others, spare)
            if amount > least:
                least, best = amount, row
        if best is not None:
            rows.add(*best)
    return rows


def _covers(window: _Window, x: Floats) -> Iterator[tuple[Ints, Ints, float]]:
    """Sets of plans that do not fit together, the other plans, and by how many hours they do not."""
    share = np.round(x[window.used], 6)
    active = np.flatnonzero(x[window.made] > 1e-6)
    order = active[np.lexsort((-window.most[active], -share[active]))]
    sums = np.cumsum(window.most[order])
    first = int(np.searchsorted(sums, window.hours + 1e-9))
    for n in range(first, min(order.size, first + COVERS)):
        spare = float(sums[n]) - window.hours
        if 1e-9 < spare < window.most[order[: n + 1]].max():
            yield order[: n + 1], order[n + 1 :], spare


def _row(
    window: _Window, x: Floats, cover: Ints, others: Ints, spare: float
) -> tuple[float, tuple[list[int], list[float], float, float]]:
    """Return by how much the cover's row is broken, and the row, with the other plans that break it more."""
    drop = np.maximum(window.most[cover] - spare, 0.0)
    lift = np.maximum(window.most[others], window.most[cover].max()) - spare
    worse = x[window.made[others]] - lift * x[window.used[others]] > 1e-9
    others, lift = others[worse], lift[worse]
    columns = np.concatenate(
        [window.made[cover], window.used[cover], window.made[others], window.used[others], window.before]
    )
    values = np.concatenate(
        [np.ones(cover.size), -drop, np.ones(others.size), -lift, -np.ones(window.before.size)]
    )
    limit = window.hours - float(drop.sum())
    return float(values @ x[columns]) - limit, (columns.tolist(), values.tolist(), -math.inf, limit)
