"""Check and convert the arguments of queries before anything is sent.

Every function raises an `InvalidInputError` that names the argument and the accepted values.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import operator
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, TypeAlias

import psycopg2.extensions

from db_utils.errors import InvalidInputError
from db_utils.text_keys import parse_uuid, shown, storable
from db_utils.values import dump_json

Id: TypeAlias = uuid.UUID | str
Number: TypeAlias = Decimal | float
Metadata: TypeAlias = Mapping[str, Any]

SqlText: TypeAlias = psycopg2.extensions.AsIs
"""A fragment of SQL as a parameter; built from constants and integers only."""

Period: TypeAlias = dict[str, dt.datetime | SqlText]

EVER, FOREVER = SqlText("'-infinity'::timestamptz"), SqlText("'infinity'::timestamptz")

MAX_DAYS = 36_500
MAX_ROWS = 1_000_000
MAX_LOCAL_DAYS = 100_000
"""Maximum local days, weeks or months per answer: each edge is computed in the location's time zone."""


def optional_uuid(value: object, name: str) -> uuid.UUID | None:
    """Return this identifier as a UUID, or None."""
    return None if value is None else parse_uuid(value, name)


def text_of(value: object, name: str) -> str:
    """Return this text if it is not blank and can be stored."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} is {shown(value)}: give a text")
    if not value.strip():
        raise InvalidInputError(f"{name} is empty: give a text")
    return str(storable(value, name))


def optional_text(value: object, name: str) -> str | None:
    """Return this text, or None."""
    return None if value is None else text_of(value, name)


def list_of(values: object, name: str) -> list[Any]:
    """Return these values as a list; a single text or mapping is refused."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{name} is {shown(values)}: give a list")
    return list(values)


def texts_of(values: object, name: str) -> list[str]:
    """Return these texts in order, without duplicates."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{name} is {shown(values)}: give a list of texts")
    return list(dict.fromkeys([text_of(value, f"{name}[{index}]") for index, value in enumerate(values)]))


def choice_of(value: object, name: str, choices: Sequence[str]) -> str:
    """Return this word if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(f"{name} is {shown(value)}: give one of {', '.join(choices)}")
    return str(value)


_WORD = re.compile(r"[a-z][a-z0-9_]{0,62}")


def word_of(value: object, name: str, known: Sequence[str]) -> str:
    """Return this kind: a known or a custom word; a likely typo of a known one is refused."""
    if isinstance(value, str) and value in known:
        return value
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise InvalidInputError(
            f"{name} is {shown(value)}: give one of {', '.join(known)}, or your own word in lowercase letters, digits and _"
        )
    if near := difflib.get_close_matches(value, known, n=1, cutoff=0.85):
        raise InvalidInputError(
            f"{name} is {value!r}: did you mean {near[0]}? Your own word must not look like a known one"
        )
    return value


def optional_word(value: object, name: str, known: Sequence[str]) -> str | None:
    """Return this word, or None."""
    return None if value is None else word_of(value, name, known)


def optional_choice(value: object, name: str, choices: Sequence[str]) -> str | None:
    """Return this word if it is one of the choices, or None."""
    return None if value is None else choice_of(value, name, choices)


def flag_of(value: object, name: str) -> bool:
    """Return this bool."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} is {shown(value)}: give True or False")
    return value


def whole_of(value: object, name: str, least: int, most: int) -> int:
    """Return this integer if it is between `least` and `most`."""
    if not isinstance(value, bool):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
        else:
            if least <= number <= most:
                return number
    raise InvalidInputError(f"{name} is {shown(value)}: give a whole number from {least} to {most}")


def number_of(value: object, name: str) -> Decimal:
    """Return this number as an exact `Decimal`; NaN and infinity are refused."""
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise InvalidInputError(f"{name} is {shown(value)}: give a number")
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, Integral):
        number = Decimal(int(value))
    else:
        number = Decimal(repr(float(value)))  # the shortest text that reads back as this float
    if not number.is_finite():
        raise InvalidInputError(f"{name} is {number}: give a finite number, or None where it is not known")
    return number


def optional_number(value: object, name: str) -> Decimal | None:
    """Return this number, or None."""
    return None if value is None else number_of(value, name)


def time_of(value: object, name: str) -> dt.datetime:
    """Return this instant; a datetime without a time zone is ambiguous and refused."""
    if not isinstance(value, dt.datetime):
        raise InvalidInputError(f"{name} is {shown(value)}: give a datetime with a time zone")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidInputError(f"{name} is a naive datetime: give it a time zone, e.g. tzinfo=datetime.UTC")
    try:
        utc = value.astimezone(dt.UTC)
    except OverflowError:
        raise InvalidInputError(f"{name} is {shown(value)}: outside the years 1 to 9999 in UTC") from None
    return dt.datetime.combine(utc.date(), utc.timetz())  # a plain datetime, even from a subclass


def optional_time(value: object, name: str) -> dt.datetime | None:
    """Return this instant, or None."""
    return None if value is None else time_of(value, name)


def date_of(value: object, name: str) -> dt.date:
    """Return this day; a datetime is refused, because its day depends on the time zone."""
    if isinstance(value, dt.datetime) or not isinstance(value, dt.date):
        raise InvalidInputError(f"{name} is {shown(value)}: give a date")
    return value


def optional_date(value: object, name: str) -> dt.date | None:
    """Return this day, or None."""
    return None if value is None else date_of(value, name)


def span_of(value: object, name: str) -> dt.timedelta:
    """Return this duration, 0 or more."""
    if not isinstance(value, dt.timedelta):
        raise InvalidInputError(f"{name} is {shown(value)}: give a timedelta")
    if not dt.timedelta(0) <= value <= dt.timedelta(days=MAX_DAYS):
        raise InvalidInputError(f"{name} is {value}: give a timedelta from 0 to {MAX_DAYS} days")
    return dt.timedelta(value.days, value.seconds, value.microseconds)


def json_of(value: object, name: str) -> Any:
    """Return this value in JSON types: texts, numbers, lists and dicts; dates and identifiers as texts."""
    try:
        text = dump_json(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}: {error}") from None
    if "\\u0000" in text or "\\ud" in text.lower():
        _check_texts(json.loads(text), name)
    return json.loads(text)


def _check_texts(value: Any, name: str) -> None:
    """Refuse values that JSON allows and jsonb cannot store."""
    if isinstance(value, str) and value:
        text_of(f"-{value}", name)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key, name)
            _check_texts(item, name)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, name)


def metadata_of(value: object, name: str) -> dict[str, Any]:
    """Return this mapping in JSON types; an empty one for None."""
    if not value and (value is None or isinstance(value, Mapping)):
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{name} is {shown(value)}: give a dict")
    checked: dict[str, Any] = json_of(dict(value), name)
    return checked


def past(days: object, start: object, end: object, *, default_days: int) -> Period:
    """Return the period of facts: the last `days` times 24 hours of the server clock, or `start` to `end`.

    Without `end`, up to the newest. Returns the query parameters period_start and period_end, as
    `past_until_now` and `ahead` do.
    """
    days, first, last = _period(days, start, end, default_days)
    return _edges(first or _from_now(-_hours(days)), last or FOREVER)


def past_until_now(
    days: object, start: object, end: object, *, default_days: int, filled_by: dt.timedelta | None = None
) -> Period:
    """Return the period of a computation: as in `past`, but without `end` it ends now.

    It is filled with buckets of the length `filled_by`, one row each, and refused if these are more than
    `MAX_ROWS`, or `MAX_LOCAL_DAYS` for days and longer.
    """
    days, first, last = _period(days, start, end, default_days)
    if filled_by is not None:
        _check_buckets(filled_by, days, first, last)
    return _edges(first or _from_now(-_hours(days)), last or _from_now(0))


def _check_buckets(
    length: dt.timedelta, days: int | None, first: dt.datetime | None, last: dt.datetime | None
) -> None:
    if first is None:
        given, period = f"days={days}", dt.timedelta(days=days or 0)
    else:
        given, period = "start to end", (last or dt.datetime.now(dt.UTC)) - first
    count = period // length
    most = MAX_ROWS if length < dt.timedelta(days=1) else MAX_LOCAL_DAYS
    if count > most:
        raise InvalidInputError(
            f"{given} makes {count:,} buckets at each location, of which {most:,} can be filled: give a shorter "
            "period or a longer bucket"
        )


def ahead(days: object, start: object, end: object, *, default_days: int) -> Period:
    """Return the period of plans: the next `days` times 24 hours, or `start` to `end` (or without end)."""
    days, first, last = _period(days, start, end, default_days)
    return _edges(first or _from_now(0), last or (FOREVER if days is None else _from_now(_hours(days))))


def always(start: object, end: object) -> Period:
    """Return the parameters for `start` to `end`; None means unbounded."""
    _, first, last = _period(None, start, end, None)
    return _edges(first or EVER, last or FOREVER)


def _period(
    days: object, start: object, end: object, default_days: int | None
) -> tuple[int | None, dt.datetime | None, dt.datetime | None]:
    if days is not None and (start is not None or end is not None):
        raise InvalidInputError("give either days, or start and end")
    if start is None and end is not None:
        raise InvalidInputError("end needs a start: give start and end, or days")
    first, last = optional_time(start, "start"), optional_time(end, "end")
    if first is not None and last is not None and first >= last:
        raise InvalidInputError("start must be before end")
    if days is None and start is None:
        days = default_days
    return None if days is None else whole_of(days, "days", 1, MAX_DAYS), first, last


def _hours(days: int | None) -> int:
    return 0 if days is None else 24 * days


def _from_now(hours: int) -> SqlText:
    """Return the server's now() plus hours; a constant offset lets the planner exclude chunks."""
    if hours == 0:
        return SqlText("now()")
    return SqlText(f"(now() {'-' if hours < 0 else '+'} interval '{abs(hours)} hours')")


def _edges(start: dt.datetime | SqlText, end: dt.datetime | SqlText) -> Period:
    return {"period_start": start, "period_end": end}


def local_days(
    days: object, first_date: object, end_date: object, *, default_days: int | None = None
) -> dict[str, int | dt.date | None]:
    """Return the parameters days, first_date and end_date (exclusive) of a query by local days."""
    if days is not None and (first_date is not None or end_date is not None):
        raise InvalidInputError("give either days, or first_date and end_date")
    if first_date is None and end_date is not None:
        raise InvalidInputError("end_date needs a first_date: give first_date and end_date, or days")
    first, end = optional_date(first_date, "first_date"), optional_date(end_date, "end_date")
    if first is not None and end is not None and first >= end:
        raise InvalidInputError("first_date must be before end_date, which is not included")
    if days is None and first_date is None:
        days = default_days
    return {
        "days": None if days is None else whole_of(days, "days", 1, MAX_DAYS),
        "first_date": first,
        "end_date": end,
    }
