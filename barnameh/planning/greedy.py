"""A start without a solver: keep assignments that may stay, then fill the scarcest places at least cost."""

from __future__ import annotations

import numpy as np

from barnameh.planning.components import Entries, Part
from barnameh.planning.solve import Floats


class Filling:
    """A growing roster of one part, which knows what can be added without breaking a hard row."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.x = [0.0] * part.width
        self._of_day = {column: columns for columns, column in part.days}
        self._day_of = {j: column for columns, column in part.days for j in columns}
        self._room = [limit for _, _, limit in part.hard]
        hard = part.hard_rows
        # A row x <= day limits nothing: the day follows from x.
        limits = ~np.isin(hard.rows, hard.rows[hard.values < 0])
        hard = Entries(hard.rows[limits], hard.columns[limits], hard.values[limits], hard.height)
        self._hard = hard.by_column(part.width)
        self.amount = [0.0] * len(part.soft)
        self._soft = part.soft_rows.by_column(part.width)
        self._rises: list[dict[float, float]] = [{} for _ in part.soft]
        """Of each soft row, the known rises in cost by rise in amount."""
        self._cost: list[float] = part.cost.tolist()

    def fits(self, j: int) -> bool:
        """Whether the pair may be added."""
        if self.x[j] > 0.5 or not self._has_room(j):
            return False
        day = self._day_of.get(j)
        return day is None or self.x[day] > 0.5 or self._has_room(day)

    def _has_room(self, column: int) -> bool:
        starts, rows, values = self._hard
        room = self._room
        for n in range(starts[column], starts[column + 1]):  # noqa: SIM110 (the hottest loop)
            if room[rows[n]] < values[n] - 1e-9:
                return False
        return True

    def price(self, j: int) -> float:
        """Net cost of adding the pair."""
        total = self._cost[j]
        starts, rows, values = self._soft
        for n in range(starts[j], starts[j + 1]):
            row, value = rows[n], values[n]
            rise = self._rises[row].get(value)
            if rise is None:
                soft, amount = self.part.soft[row], self.amount[row]
                rise = self._rises[row][value] = soft.cost(amount + value) - soft.cost(amount)
            total += rise
        return total

    def put(self, j: int, sign: int = 1) -> None:
        """Add the pair, or remove it with -1."""
        self.x[j] = float(sign > 0)
        self._take(j, sign)
        starts, rows, values = self._soft
        for n in range(starts[j], starts[j + 1]):
            self.amount[rows[n]] += sign * values[n]
            self._rises[rows[n]].clear()
        day = self._day_of.get(j)
        if day is None:
            return
        worked = float(any(self.x[k] > 0.5 for k in self._of_day[day]))
        if worked != self.x[day]:
            self._take(day, int(worked - self.x[day]))
            self.x[day] = worked

    def _take(self, column: int, sign: int) -> None:
        starts, rows, values = self._hard
        for n in range(starts[column], starts[column + 1]):
            self._room[rows[n]] -= sign * values[n]


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
    return np.array(filling.x)


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
