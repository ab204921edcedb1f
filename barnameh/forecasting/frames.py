"""Frames as arrays: what was known at an origin, for all series of a location at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from db_utils import OperationalDataQueries

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

LENGTHS = {
    "quarter_hour": dt.timedelta(minutes=15),
    "half_hour": dt.timedelta(minutes=30),
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1),
    "week": dt.timedelta(weeks=1),
}
_SEASONS = {"quarter_hour": 672, "half_hour": 336, "hour": 168, "day": 7, "week": 52}
MOST_SEASONS_BACK = 8
LEAST_COVERAGE = 0.8
"""A factor is used at a step only if the history has it at that lead for this share of the buckets."""


@dataclass(frozen=True)
class Panel:
    """All series of one location. Positions count its buckets from 0; those below `over_count` have ended."""

    location_id: UUID
    timezone: str
    starts: tuple[dt.datetime, ...]
    ends: tuple[dt.datetime, ...]
    over_count: int
    first_target: int
    horizon: int
    bucket: str
    products: tuple[str, ...]
    demand: Floats
    """By product and ended bucket; NaN if nothing was recorded."""
    factors: dict[str, Floats]
    """For each factor, by bucket and step: the value known that long before; NaN if none."""

    @property
    def season(self) -> int:
        """Buckets in a season: a week; for weekly buckets a year if there are two years of data, else 1."""
        season = _SEASONS[self.bucket]
        return 1 if self.bucket == "week" and self.over_count < 2 * season + self.horizon else season

    def local(self) -> list[dt.datetime]:
        """Return the local start of each bucket."""
        return list(self._local)

    @cached_property
    def _local(self) -> tuple[dt.datetime, ...]:
        zone = ZoneInfo(self.timezone)
        return tuple(start.astimezone(zone).replace(tzinfo=None) for start in self.starts)

    @cached_property
    def _season_before(self) -> Whole:
        """For each bucket the one a season before; negative if before the first."""
        season = self.season
        if self.bucket in ("week", "day"):
            return np.arange(len(self.starts)) - season
        at = {time: position for position, time in reversed(list(enumerate(self._local)))}
        week = dt.timedelta(weeks=1)
        return np.array([at.get(t - week, p - season) for p, t in enumerate(self._local)], dtype=np.int64)

    def seasons_back(self, positions: Whole, known_until: Whole) -> Whole:
        """Return the buckets one, two … seasons before each position, if before `known_until`; else -1.

        Hours are matched by local time, so that eight o'clock is eight o'clock on both sides of a clock
        change.
        """
        before = self._season_before
        found = np.full((len(positions), MOST_SEASONS_BACK), -1, dtype=np.int64)
        count = np.zeros(len(positions), dtype=np.int64)
        at_position = positions.copy()
        for _ in range(4 * MOST_SEASONS_BACK):
            at_position = np.where(at_position >= 0, before[np.maximum(at_position, 0)], -1)
            good = (at_position >= 0) & (at_position < known_until) & (count < MOST_SEASONS_BACK)
            found[np.flatnonzero(good), count[good]] = at_position[good]
            count += good
        return found

    def usable(self) -> dict[str, NDArray[np.bool_]]:
        """Return the steps at which each factor may be used; see `LEAST_COVERAGE`."""
        return dict(self._usable)

    @cached_property
    def _usable(self) -> dict[str, NDArray[np.bool_]]:
        targets = np.arange(self.first_target, self.first_target + self.horizon)
        there = np.isfinite(self.demand).any(axis=0)
        usable = {}
        for name, values in self.factors.items():
            past = values[: self.over_count][there]
            share = np.isfinite(past).mean(axis=0) if len(past) else np.zeros(self.horizon)
            ahead = np.isfinite(values[targets, np.arange(self.horizon)])
            usable[name] = (share >= LEAST_COVERAGE) & ahead
        return usable


@dataclass(frozen=True)
class DemandFrame:
    """What was known at `as_of`: one panel per location."""

    as_of: dt.datetime
    known_at: dt.datetime
    bucket: str
    horizon: int
    panels: tuple[Panel, ...]
    left_out: dict[str, str]

    @property
    def series(self) -> list[tuple[str, UUID]]:
        """Product and location of each series, in the order of the panels."""
        return [(product, panel.location_id) for panel in self.panels for product in panel.products]


@dataclass(frozen=True)
class Shape:
    """The parameters of frames."""

    bucket: str = "day"
    horizon: int = 14
    history: dt.timedelta = dt.timedelta(days=730)
    carry: dt.timedelta = dt.timedelta(0)
    delay: dt.timedelta = dt.timedelta(0)
    factor_names: tuple[str, ...] | None = None


def read_frame(
    queries: OperationalDataQueries, organization_id: UUID, as_of: dt.datetime, shape: Shape
) -> DemandFrame:
    """Read the frame as known at `as_of` (aware), in one statement; without panels if nothing was known."""
    rows = queries.get_demand_frame_as_of(
        organization_id,
        as_of=as_of,
        horizon=shape.horizon,
        history=shape.history,
        bucket=shape.bucket,  # type: ignore[arg-type]
        factor_names=shape.factor_names,
        carry=shape.carry,
        delay=shape.delay,
    )
    panels = tuple(panel for row in rows if (panel := _panel(row, shape)) is not None)
    known = max((row["known_at"] for row in rows), default=as_of)
    left_out = {name: reason for row in rows for name, reason in row["left_out"].items()}
    return DemandFrame(as_of, known, shape.bucket, shape.horizon, panels, left_out)


def _panel(row: dict[str, Any], shape: Shape) -> Panel | None:
    series: Sequence[dict[str, Any]] = row["series"] or ()
    if not series:
        return None
    # There is nothing to learn before the first row of any series.
    first = min(one["buckets"][0] for one in series)
    count = row["over_count"] - first
    demand = np.full((len(series), count), np.nan)
    for number, one in enumerate(series):
        demand[number, np.asarray(one["buckets"]) - first] = one["quantities"]
    total = len(row["bucket_starts"]) - first
    factors: dict[str, Floats] = {}
    if row["factor_names"]:
        names = np.asarray(row["factor_names"])
        buckets = np.asarray(row["factor_buckets"]) - first
        steps = np.asarray(row["factor_steps"]) - 1
        values = np.array(row["factor_values"], dtype=np.float64)
        for name in dict.fromkeys(row["factor_names"]):
            mine = (names == name) & (buckets >= 0)
            grid = np.full((total, shape.horizon), np.nan)
            said = np.zeros((total, shape.horizon), dtype=np.int64)
            said[buckets[mine], steps[mine]] = np.arange(1, mine.sum() + 1)
            # An entry is valid until the next one for its bucket.
            entry = np.maximum.accumulate(said, axis=1)
            grid[entry > 0] = values[mine][entry[entry > 0] - 1]
            factors[str(name)] = grid
    return Panel(
        location_id=row["location_id"],
        timezone=row["timezone"],
        starts=tuple(row["bucket_starts"][first:]),
        ends=tuple(row["bucket_ends"][first:]),
        over_count=count,
        first_target=row["first_target"] - first,
        horizon=shape.horizon,
        bucket=shape.bucket,
        products=tuple(one["product_id"] for one in series),
        demand=demand,
        factors=factors,
    )
