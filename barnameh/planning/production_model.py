"""Production as a mixed-integer model: hours of plans on resources, and a flow of hours over their days.

Days cost the same for all plans of a resource that are in time, and for all late ones of equal worth. So a
resource's days form chains, with hours carried from one day to the next, instead of a variable for each plan
and day.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from barnameh.planning.shop import (
    EARLIEST,
    EARLY_DAY,
    LATE,
    MOVE,
    PRIORITY_WEIGHTS,
    SETUP,
    SHORT,
    SMALLEST_HOURS,
    UNMADE,
    Ability,
    Job,
    Shop,
    Work,
    late_day_price,
    late_step,
)
from barnameh.planning.solve import Floats, Model, Rows, model_of

Pair = tuple[int, UUID]
"""Index of a job, and a resource."""
Flow = tuple[UUID, str, float]
"""A resource; the product, if its stock is tracked; the cost of an hour per day late, 0 if in time."""
_DAY = dt.timedelta(days=1)


@dataclass
class _Flow:
    """Hours by day; `done` and `held` are the columns of each day."""

    done: list[int]
    held: list[int]
    pairs: list[Pair] = field(default_factory=list)


@dataclass
class ShopModel:
    """The model, with the column of each variable."""

    shop: Shop
    days: list[dt.date]
    """All days from the first to the last, including those without hours."""
    model: Model
    constant: float
    unmade: dict[int, int]
    in_time: dict[Pair, int]
    """Hours until the job is due, including setup."""
    late: dict[Pair, int]
    used: dict[Pair, int]
    """Whether the job is set up there in time."""
    used_late: dict[Pair, int]
    """Whether it is set up there only when it is late."""
    flows: dict[Flow, _Flow]
    short: dict[tuple[str, dt.date], int]

    def work(self, x: Floats) -> list[Work]:
        """Return a solution's schedule: on each resource earliest due date first, and setup before work."""
        hours: dict[tuple[int, UUID, int], float] = {}
        for (resource, _, price), flow in self.flows.items():
            columns = self.late if price else self.in_time
            left = {p: float(x[columns[p]]) for p in flow.pairs if x[columns[p]] > SMALLEST_HOURS}
            for n, column in enumerate(flow.done):
                room = float(x[column])
                for p in sorted(left, key=lambda p: self._turn(p, bool(price))):
                    if room <= SMALLEST_HOURS:
                        break
                    if price and self.days[n] <= self.shop.jobs[p[0]].due:
                        continue
                    taken = min(room, left[p])
                    room -= taken
                    left[p] -= taken
                    hours[p[0], resource, n] = hours.get((p[0], resource, n), 0.0) + taken
                    if left[p] <= SMALLEST_HOURS:
                        del left[p]
        return self._set_up(hours)

    def columns_of(self, resources: set[UUID]) -> NDArray[np.bool_]:
        """Return the free columns for replanning only these resources."""
        pairs = {pair for pair in (*self.in_time, *self.late) if pair[1] in resources}
        flows = [flow for (resource, _, _), flow in self.flows.items() if resource in resources]
        return self._free(pairs, flows)

    def columns_near(self, x: Floats) -> NDArray[np.bool_]:
        """Return the free columns if plans stay on the resources that this solution uses for them."""
        pairs = {
            pair
            for columns in (self.in_time, self.late)
            for pair, c in columns.items()
            if x[c] > SMALLEST_HOURS
        }
        return self._free(pairs, list(self.flows.values()))

    def _free(self, pairs: set[Pair], flows: list[_Flow]) -> NDArray[np.bool_]:
        free = np.zeros(self.model.cost.size, dtype=np.bool_)
        for columns in (self.in_time, self.late, self.used, self.used_late):
            free[[c for pair, c in columns.items() if pair in pairs]] = True
        free[[self.unmade[n] for n, _ in pairs]] = True
        for flow in flows:
            free[flow.done] = free[flow.held] = True
        free[list(self.short.values())] = True
        return free

    def _turn(self, pair: Pair, is_late: bool) -> tuple[object, ...]:
        job = self.shop.jobs[pair[0]]
        return (job.priority, job.due, pair[0]) if is_late else (job.due, job.priority, pair[0])

    def _set_up(self, hours: dict[tuple[int, UUID, int], float]) -> list[Work]:
        found = []
        left = {n: job.quantity for n, job in enumerate(self.shop.jobs)}
        ability = {(n, r): self.shop.abilities[r, self.shop.jobs[n].product_id] for n, r, _ in hours}
        setup = {pair: a.setup_hours for pair, a in ability.items()}
        for (n, r, day), amount in sorted(
            hours.items(), key=lambda item: (item[0][2], item[0][1], item[0][0])
        ):
            spent = min(amount, setup[n, r])
            setup[n, r] -= spent
            rate = ability[n, r].rate
            quantity = min(left[n], (amount - spent) * rate)
            left[n] -= quantity
            found.append(
                Work(self.shop.jobs[n].plan_id, r, self.days[day], spent + quantity / rate, quantity)
            )
        made: dict[tuple[UUID, UUID], float] = defaultdict(float)
        for w in found:
            made[w.plan_id, w.resource_id] += w.quantity
        # No setup without work.
        return [w for w in found if made[w.plan_id, w.resource_id] > SMALLEST_HOURS]

    def solution(self, work: Iterable[Work]) -> Floats:
        """Convert a schedule to a solution of the model."""
        x = np.zeros(self.model.cost.size)
        number = {j.plan_id: n for n, j in enumerate(self.shop.jobs)}
        place = {day: n for n, day in enumerate(self.days)}
        made: dict[int, float] = defaultdict(float)
        by_pair: dict[Pair, list[Work]] = defaultdict(list)
        level = {product: dict.fromkeys(self.days, 0.0) for product in self.shop.stock}
        flow_of = {(p, price > 0): flow for (_, _, price), flow in self.flows.items() for p in flow.pairs}
        for w in work:
            n = number[w.plan_id]
            job, pair = self.shop.jobs[n], (n, w.resource_id)
            is_late = w.day > job.due
            made[n] += w.quantity / job.quantity
            by_pair[pair].append(w)
            x[(self.late if is_late else self.in_time)[pair]] += w.hours
            flow = flow_of[pair, is_late]
            x[flow.done[place[w.day]]] += w.hours
            since, until = (self.release(job), place[w.day]) if is_late else (place[w.day], self.due(job))
            for number_of_day in range(since, until):
                x[flow.held[number_of_day]] += w.hours
            if job.product_id in level:
                level[job.product_id][w.day] += w.quantity
        for pair, parts in by_pair.items():
            in_time = any(w.day <= self.shop.jobs[pair[0]].due for w in parts)
            x[(self.used if in_time or pair not in self.used_late else self.used_late)[pair]] = 1.0
        for n, column in self.unmade.items():
            x[column] = max(0.0, 1 - made[n])
        for product, stock in self.shop.stock.items():
            there = stock
            for day in self.days:
                there += level[product][day] - self.shop.demand.get((product, day), 0.0)
                if there < 0 and (product, day) in self.short:
                    x[self.short[product, day]] = -there
                    there = 0.0
        return x

    def due(self, job: Job) -> int:
        """Index of the last day in time."""
        return min((job.due - self.days[0]).days, len(self.days) - 1)

    def release(self, job: Job) -> int:
        """Index of the first late day."""
        return max(0, (job.due - self.days[0]).days + 1)


class _Builder:
    """Columns and rows under construction."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        first, last = min(shop.days), max(shop.days)
        self.days = [first + n * _DAY for n in range((last - first).days + 1)]
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.whole: list[bool] = []
        self.rows = Rows()
        self.found = ShopModel(shop, self.days, None, 0.0, {}, {}, {}, {}, {}, {}, {})  # type: ignore[arg-type]

    def column(self, price: float, most: float = math.inf, whole: bool = False) -> int:
        self.cost.append(price)
        self.upper.append(most)
        self.whole.append(whole)
        return len(self.cost) - 1

    def build(self) -> ShopModel:
        slope = late_day_price(self.shop)
        members: dict[Flow, list[Pair]] = defaultdict(list)
        for n, job in enumerate(self.shop.jobs):
            hours = self.shop.standard_hours[job.plan_id]
            if hours:
                self._job(n, job, hours, slope, members)
        room: dict[tuple[UUID, int], list[int]] = defaultdict(list)
        for flow, pairs in sorted(members.items()):
            self._flow(flow, pairs, room)
        for (r, n), columns in room.items():
            if len(columns) > 1:
                most = self.shop.hours[r, self.days[n]]
                self.rows.add(columns, [1.0] * len(columns), -math.inf, most)
        self._demand()
        lower = [0.0] * len(self.cost)
        self.found.model = model_of(self.cost, lower, self.upper, self.whole, self.rows)
        return self.found

    def _job(self, n: int, job: Job, hours: float, slope: float, members: dict[Flow, list[Pair]]) -> None:
        weight = PRIORITY_WEIGHTS[job.priority] * hours
        found = self.found
        found.unmade[n] = self.column(weight * UNMADE, 1.0)
        parts, factors = [found.unmade[n]], [1.0]
        stocked = job.product_id if job.product_id in self.shop.stock else ""
        for r in self.shop.able(job):
            ability = self.shop.abilities[r, job.product_id]
            before = self._room(r, job.due - EARLIEST * _DAY, job.due)
            after = self._room(r, job.due + _DAY, self.days[-1])
            if before + after <= SMALLEST_HOURS:
                continue
            net, setup, pair = job.quantity / ability.rate, ability.setup_hours, (n, r)
            worth = weight / net
            move = MOVE / net if job.resource_id is not None and r != job.resource_id else 0.0
            mine: list[int] = []
            uses: list[int] = []
            if before > SMALLEST_HOURS or not setup:
                found.used[pair] = used = self.column(SETUP - move * setup, 1.0, True)
                uses.append(used)
            if before > SMALLEST_HOURS:
                beyond = max(0, (job.due - self.days[-1]).days)
                most = min(net + setup, before)
                found.in_time[pair] = o = self.column(move + EARLY_DAY * beyond, most)
                mine.append(o)
                members[r, stocked, 0.0].append(pair)
                if setup or after <= SMALLEST_HOURS or most < net + setup:
                    self.rows.add([o, used], [1.0, -most], -math.inf, 0.0)
                if setup:
                    self.rows.add([o, used], [1.0, -setup], 0.0, math.inf)
            if after > SMALLEST_HOURS:
                price = late_step(worth, slope)
                waited = max(1, (self.days[0] - job.due).days)
                least = move + LATE * worth
                found.late[pair] = c = self.column(least + price * waited, min(net + setup, after))
                mine.append(c)
                members[r, stocked, price].append(pair)
                if setup:
                    late = self.column(SETUP - least * setup, 1.0, True)
                    found.used_late[pair] = late
                    uses.append(late)
                    self.rows.add([c, late], [1.0, -setup], 0.0, math.inf)
                self.rows.add([*mine, *uses], [1.0] * len(mine) + [-net - setup] * len(uses), -math.inf, 0.0)
            parts += mine + uses * bool(setup)
            factors += [1 / net] * len(mine) + [-setup / net] * len(uses) * bool(setup)
        self.rows.add(parts, factors, 1.0, 1.0)

    def _room(self, r: UUID, first: dt.date, last: dt.date) -> float:
        low, high = max(0, (first - self.days[0]).days), (last - self.days[0]).days
        return sum(self.shop.hours.get((r, d), 0.0) for d in self.days[low : high + 1]) if high >= 0 else 0.0

    def _flow(self, flow: Flow, pairs: list[Pair], room: dict[tuple[UUID, int], list[int]]) -> None:
        r, _, price = flow
        columns = self.found.late if price else self.found.in_time
        at: dict[int, list[int]] = defaultdict(list)
        for p in pairs:
            job = self.shop.jobs[p[0]]
            at[self.found.release(job) if price else self.found.due(job)].append(columns[p])
        first, last = (min(at), len(self.days) - 1) if price else (0, max(at))
        done, held = [], []
        for n, day in enumerate(self.days):
            most = self.shop.hours.get((r, day), 0.0) if first <= n <= last else 0.0
            done.append(self.column(0.0, most))
            held.append(self.column(price or EARLY_DAY, math.inf if first <= n < last else 0.0))
            if most > SMALLEST_HOURS:
                room[r, n].append(done[-1])
        sign = 1.0 if price else -1.0
        for n in range(first, last + 1):
            entries = [held[n], done[n], *at[n]]
            factors = [1.0, sign, *[-sign] * len(at[n])]
            if n > first:
                entries.append(held[n - 1])
                factors.append(-1.0)
            self.rows.add(entries, factors, 0.0, 0.0)
            soon = [c for day in range(n + 1, min(last, n + EARLIEST) + 1) for c in at[day]]
            if not price and n + EARLIEST < last:
                self.rows.add([held[n], *soon], [1.0, *[-1.0] * len(soon)], -math.inf, 0.0)
        self.found.flows[flow] = _Flow(done, held, pairs)

    def _demand(self) -> None:
        """Stock plus production up to a day falls short of demand by at most the short columns' sum."""
        for product, stock in sorted(self.shop.stock.items()):
            rates = [a.rate for (_, p), a in self.shop.abilities.items() if p == product]
            if not rates:
                continue
            made = [
                (flow, max(self._most_an_hour(p) for p in flow.pairs))
                for (_, followed, _), flow in self.found.flows.items()
                if followed == product
            ]
            sofar: list[tuple[int, float]] = []
            needed = 0.0
            shorts: list[int] = []
            for n, day in enumerate(self.days):
                sofar += [(flow.done[n], rate) for flow, rate in made]
                needed += self.shop.demand.get((product, day), 0.0)
                if day not in self.shop.days:
                    continue
                self.found.short[product, day] = s = self.column(SHORT / max(rates))
                shorts.append(s)
                columns = [c for c, _ in sofar] + shorts
                self.rows.add(
                    columns, [rate for _, rate in sofar] + [1.0] * len(shorts), needed - stock, math.inf
                )

    def _most_an_hour(self, pair: Pair) -> float:
        """Output with setup spread over the hours, which no schedule can exceed at any time."""
        job = self.shop.jobs[pair[0]]
        ability: Ability = self.shop.abilities[pair[1], job.product_id]
        return job.quantity / (job.quantity / ability.rate + ability.setup_hours)


def shop_model(shop: Shop) -> ShopModel:
    """Build the model of a shop that has days."""
    return _Builder(shop).build()
