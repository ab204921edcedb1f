"""Helpers to compute the expected answer of a query in plain Python."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
Key = TypeVar("Key", bound=Hashable)

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def pick(row: Row, *names: str) -> dict[str, Any]:
    """These columns of a row."""
    return {name: row[name] for name in names}


def groups(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows by key, in their order."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)


def within(rows: Iterable[Row], start: Any, end: Any, column: str = "time") -> list[Row]:
    """The rows whose time lies in the half-open period."""
    return [row for row in rows if start <= row[column] < end]


def total(values: Iterable[Any]) -> Fraction | None:
    """The exact sum of the known values; None without any."""
    known = [Fraction(value) for value in values if value is not None]
    return sum(known, Fraction(0)) if known else None


def mean(values: Iterable[Any]) -> Fraction | None:
    """The exact mean of the known values; None without any."""
    known = [Fraction(value) for value in values if value is not None]
    return sum(known, Fraction(0)) / len(known) if known else None


def ratio(numerator: Any, denominator: Any, scale: int = 1) -> Fraction | None:
    """The exact quotient; None if the denominator is zero or unknown."""
    if numerator is None or not denominator:
        return None
    return scale * Fraction(numerator) / Fraction(denominator)


def share_inside(event: Row, period: tuple[dt.datetime, dt.datetime]) -> Fraction:
    """Share of an event's minutes that lies in the period; 1 or 0 for an event without duration."""
    if not event["duration_minutes"]:
        return Fraction(int(period[0] <= event["time"] < period[1]))
    whole = dt.timedelta(minutes=float(event["duration_minutes"]))
    inside = min(event["time"] + whole, period[1]) - max(event["time"], period[0])
    return max(
        Fraction(0),
        Fraction(inside / dt.timedelta(microseconds=1)) / Fraction(whole / dt.timedelta(microseconds=1)),
    )


def utc_hour(moment: dt.datetime) -> dt.datetime:
    """Start of the UTC hour."""
    return moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def utc_day(moment: dt.datetime) -> dt.datetime:
    """Start of the UTC day."""
    return utc_hour(moment).replace(hour=0)


def midnight(day: dt.date, zone: str) -> dt.datetime:
    """First instant of a local day."""
    return dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)


def local_day(moment: dt.datetime, zone: str) -> dt.date:
    """The local day of an instant."""
    return moment.astimezone(ZoneInfo(zone)).date()


def assert_rows(answer: Sequence[Row], expected: Sequence[Row]) -> None:
    """Assert that the answer has these rows, in this order, with these columns, and numbers as near as `same` asks."""
    assert len(answer) == len(expected)
    for got, wanted in zip(answer, expected, strict=True):
        assert set(got) == set(wanted)
        for name, value in wanted.items():
            assert same(got[name], value), (name, got[name], value, dict(got))


def same(got: Any, wanted: Any) -> bool:
    """Whether a value equals the independently computed one.

    Fractions may differ in the tenth digit, and by 1e-8: the database rounds minutes and quantities to nine decimals
    before it adds them up, as a stop of 1 min 3.753947 s across an edge shows.
    """
    if isinstance(wanted, (Fraction, float)) and got is not None and not isinstance(got, bool):
        difference = abs(Fraction(got) - Fraction(wanted))
        return difference <= max(abs(Fraction(wanted)) / 10**10, Fraction(1, 10**8))
    if wanted is None or got is None:
        return got is wanted
    if isinstance(wanted, Decimal):
        return isinstance(got, Decimal) and got == wanted
    return bool(got == wanted)
