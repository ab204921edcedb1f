"""A start without a solver: keep assignments that may stay, then fill the scarcest places at least cost."""

from __future__ import annotations

import numpy as np

from barnameh.planning.components import Part
from barnameh.planning.solve import Floats


class Filling:
    """A growing roster of one part, which knows what can be added without breaking a hard row."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.x = np.zeros(part.width)
        self._rows: list[list[tuple[int, float]]] = [[] for _ in range(part.width)]
        self._room = []
        days = {column for _, column in part.days}
        self._of_day = {column: columns for columns, column in part.days}
        self._day_of = {j: column for columns, column in part.days for j in columns}
        for row, (columns, values, limit) in enumerate(part.hard):
            self._room.append(limit)
            for j, value in zip(columns, values, strict=True):
                if value > 0:
                    self._rows[j].append((row, value))
        # A row x <= day limits nothing: the day follows from x.
        self._follows = {
            row
            for row, (columns, values, _) in enumerate(part.hard)
            if min(values) < 0 and set(columns) & days
        }
        self.amount = [0.0] * len(part.soft)
        self._softs: list[list[tuple[int, float]]] = [[] for _ in range(part.width)]
        for row, soft in enumerate(part.soft):
            for j, value in zip(soft.columns, soft.values, strict=True):
                self._softs[j].append((row, value))

    def fits(self, j: int) -> bool:
        """Whether the pair may be added."""
        if self.x[j] > 0.5 or any(
            self._room[row] < value - 1e-9 for row, value in self._rows[j] if row not in self._follows
        ):
            return False
        day = self._day_of.get(j)
        return (
            day is None
            or self.x[day] > 0.5
            or all(self._room[row] >= value - 1e-9 for row, value in self._rows[day])
        )

    def price(self, j: int) -> float:
        """Net cost of adding the pair."""
        total = float(self.part.cost[j])
        for row, value in self._softs[j]:
            soft = self.part.soft[row]
            total += soft.cost(self.amount[row] + value) - soft.cost(self.amount[row])
        return total

    def put(self, j: int, sign: int = 1) -> None:
        """Add the pair, or remove it with -1."""
        self.x[j] = float(sign > 0)
        for row, value in self._rows[j]:
            if row not in self._follows:
                self._room[row] -= sign * value
        for row, value in self._softs[j]:
            self.amount[row] += sign * value
        day = self._day_of.get(j)
        if day is None:
            return
        worked = float(any(self.x[k] > 0.5 for k in self._of_day[day]))
        if worked != self.x[day]:
            for row, value in self._rows[day]:
                self._room[row] -= (worked - self.x[day]) * value
            self.x[day] = worked


def start_of(part: Part, keep: bool = True) -> Floats:
    """Return a roster within all hard rows: existing assignments where possible, then filled up."""
    filling = Filling(part)
    if keep:
        for j in np.flatnonzero(part.present).tolist():
            if filling.fits(j) and filling.price(j) < 0:
                filling.put(j)
    order = sorted(
        range(len(part.shifts)),
        key=lambda s: (
            part.shifts[s].starts_at.date(),
            len(part.of_shift[s]) / max(1, part.shifts[s].required),
            s,
        ),
    )
    for s in order:
        while True:
            best = min(
                ((price, j) for j in part.of_shift[s] if filling.fits(j) and (price := filling.price(j)) < 0),
                default=None,
            )
            if best is None:
                break
            filling.put(best[1])
    _move_in(filling, order)
    return filling.x


def _move_in(filling: Filling, order: list[int]) -> None:
    """Fill empty places by freeing a person elsewhere: one step of an ejection chain."""
    part = filling.part
    for s in order:
        if not any(filling.amount[row] > part.soft[row].limit + 1e-9 for row in part.places[s]):
            continue
        for j in part.of_shift[s]:
            if filling.x[j] > 0.5 or filling.price(j) >= 0:
                continue
            if filling.fits(j):
                filling.put(j)
                continue
            held = [k for k in part.of_worker[int(part.pair_worker[j])] if filling.x[k] > 0.5]
            any(_exchange(filling, k, j) for k in held)


def _exchange(filling: Filling, held: int, j: int) -> bool:
    """Move a person to another shift, and let others fill the freed place, if that reduces the cost."""
    filling.put(held, -1)
    loss = -filling.price(held)
    if filling.fits(j):
        gain = filling.price(j)
        filling.put(j)
        others = [
            (filling.price(k), k)
            for k in filling.part.of_shift[int(filling.part.pair_shift[held])]
            if k != held and filling.fits(k)
        ]
        price, other = min(others, default=(0.0, -1))
        if min(price, 0.0) + gain + loss < -1e-9:
            if price < 0:
                filling.put(other)
            return True
        filling.put(j, -1)
    filling.put(held)
    return False
