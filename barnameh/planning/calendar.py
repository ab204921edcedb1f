"""Local days and weeks of shifts, for the solver."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

NIGHT_FROM, NIGHT_TO = 0, 5
"""Local hours: a shift that covers two of them counts as a night."""


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return the time zone of this name."""
    return ZoneInfo(name)


@lru_cache(maxsize=400_000)
def local_day(at: dt.datetime, timezone: str) -> dt.date:
    """Return the local day of an instant."""
    return at.astimezone(zone(timezone)).date()


@lru_cache(maxsize=10_000)
def day_start(day: dt.date, timezone: str) -> dt.datetime:
    """Return the first instant of a local day, even if midnight occurs twice or never."""
    there = zone(timezone)
    at = dt.datetime.combine(day, dt.time(), there).astimezone(dt.UTC)
    while local_day(at, timezone) < day:  # midnight does not exist: use the instant of the jump
        at += dt.timedelta(minutes=15)
    while local_day(at - dt.timedelta(minutes=15), timezone) == day:
        at -= dt.timedelta(minutes=15)
    return at


@lru_cache(maxsize=400_000)
def week_hours(start: dt.datetime, end: dt.datetime, timezone: str) -> tuple[tuple[dt.date, float], ...]:
    """Hours in each local week, by its Monday: a shift across a Sunday's midnight belongs to two."""
    found = []
    day = local_day(start, timezone)
    monday = day - dt.timedelta(days=day.weekday())
    while (first := day_start(monday, timezone)) < end:
        after = day_start(monday + dt.timedelta(days=7), timezone)
        hours = (min(end, after) - max(start, first)).total_seconds() / 3600
        if hours > 0:
            found.append((monday, hours))
        monday += dt.timedelta(days=7)
    return tuple(found)


@lru_cache(maxsize=100_000)
def is_night(start: dt.datetime, end: dt.datetime, timezone: str) -> bool:
    """Whether at least two hours of the shift are between midnight and five."""
    first = local_day(start, timezone)
    worked = dt.timedelta()
    for day in (first, first + dt.timedelta(days=1)):
        midnight = day_start(day, timezone)
        morning = dt.datetime.combine(day, dt.time(NIGHT_TO), zone(timezone)).astimezone(dt.UTC)
        worked += max(min(end, morning) - max(start, midnight), dt.timedelta())
    return worked >= dt.timedelta(hours=2)


def is_weekend(start: dt.datetime, timezone: str) -> bool:
    """Whether the shift begins on a Saturday or Sunday."""
    return local_day(start, timezone).weekday() >= 5
