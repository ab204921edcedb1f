"""One value of a file as the column wants it: times with their zone, numbers with their unit, names as identifiers."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from db_utils.bulk.encode import BadValueError
from db_utils.bulk.target import Column
from db_utils.transfer.options import ImportOptions, zone_named
from db_utils.transfer.units import conversion

Convert: TypeAlias = Callable[[Any], Any]
"""Makes the value to be sent of a value that is there; raises `BadValueError`."""

_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")


def converter(
    column: Column, options: ImportOptions, *, is_text: bool, json_is_native: bool
) -> Convert | None:
    """What a value of this column has to go through; None where it is sent as it is."""
    if column.type == "timestamptz":
        return Moments(options)
    if column.type == "date":
        return lambda value: day(value, options.date_format)
    if column.type in _NUMBERS:
        return _numbers(column, options, is_text=is_text)
    if column.type in ("json", "jsonb"):
        return json_text if json_is_native else document
    if column.element is not None:
        return array if is_text else None
    return sound_text if column.type == "text" else None


# -- times -----------------------------------------------------------------------------------------------------


class Moments:
    """Makes a moment of a text or datetime; one without time zone is a wall clock's in the named zone."""

    def __init__(self, options: ImportOptions) -> None:
        self._zone: ZoneInfo | None = None if options.time_zone is None else zone_named(options.time_zone)
        self._format = options.time_format
        self._ambiguous = options.ambiguous
        self._nonexistent = options.nonexistent

    def __call__(self, value: Any) -> str:
        """The moment in ISO 8601, with its offset."""
        moment = value if isinstance(value, dt.datetime) else self._parsed(value)
        if moment.tzinfo is None:
            moment = self._local(moment)
        return moment.isoformat()

    def _parsed(self, value: Any) -> dt.datetime:
        if not isinstance(value, str):
            raise BadValueError(f"a {type(value).__name__} is not a moment: give date and time")
        text = value.strip()
        if self._format is not None:
            try:
                return dt.datetime.strptime(text, self._format)
            except ValueError:
                raise BadValueError(f"{value!r} is not a time of the format {self._format}") from None
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise BadValueError(
                f"{value!r} is not a time as ISO 8601 writes it: name its format, such as --time-format '%d/%m/%Y %H:%M'"
            ) from None
        if len(text) <= 10:
            raise BadValueError(
                f"{value!r} is a day, not a moment: name its format with --time-format if midnight is meant"
            )
        return moment

    def _local(self, wall: dt.datetime) -> dt.datetime:
        zone = self._zone
        if zone is None:
            raise BadValueError("a time without time zone: name the zone of such times with --time-zone")
        earlier, later = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
        before, after = earlier.utcoffset(), later.utcoffset()
        if before is None or after is None or before == after:
            return earlier
        if before > after:
            if self._ambiguous == "reject":
                raise BadValueError(
                    f"{wall.isoformat(' ')} was twice in {zone.key}, when the clock was set back: say which with --ambiguous"
                )
            return earlier if self._ambiguous == "earlier" else later
        if self._nonexistent == "reject":
            raise BadValueError(
                f"{wall.isoformat(' ')} never was in {zone.key}, when the clock was set forward: --nonexistent shift moves it on"
            )
        return earlier.astimezone(dt.UTC)


def day(value: Any, written: str | None) -> str:
    """The day in ISO 8601."""
    if isinstance(value, dt.datetime):
        if value.time() != dt.time():
            raise BadValueError("a moment is not a day: give a date")
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if not isinstance(value, str):
        raise BadValueError(f"a {type(value).__name__} is not a day")
    try:
        if written is not None:
            return dt.datetime.strptime(value.strip(), written).date().isoformat()
        return dt.date.fromisoformat(value.strip()).isoformat()
    except ValueError:
        raise BadValueError(
            f"{value!r} is not a day as {written or 'ISO 8601'} writes it (--date-format)"
        ) from None


# -- numbers ---------------------------------------------------------------------------------------------------


def _numbers(column: Column, options: ImportOptions, *, is_text: bool) -> Convert | None:
    given = options.units.get(column.name)
    steps: list[Convert] = []
    if is_text and (options.decimal != "." or options.thousands is not None):
        steps.append(_written(options.decimal, options.thousands))
    if given is not None:
        convert = conversion(column.name, given)
        steps.append(lambda value: convert(_decimal(value)))
    if not steps:
        return None if is_text else _number_only
    if len(steps) == 1:
        return steps[0]
    return lambda value: steps[1](steps[0](value))


def _written(decimal: str, thousands: str | None) -> Convert:
    """Reads numbers as people of a country write them; what could mean two numbers is refused."""
    group = re.escape(thousands) if thousands is not None else ""
    grouped = rf"\d{{1,3}}(?:{group}\d{{3}})+|" if group else ""
    pattern = re.compile(rf"[+-]?(?:{grouped}\d+)?(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?")

    def read(value: str) -> str:
        text = value.strip()
        if not pattern.fullmatch(text):
            raise BadValueError(f"{value!r} is not a number with the decimal sign {decimal!r}")
        return (text.replace(thousands, "") if thousands is not None else text).replace(decimal, ".")

    return read


def _decimal(value: Any) -> Decimal:
    _number_only(value, may_be_text=True)
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        raise BadValueError(f"{value!r} is not a number") from None


def _number_only(value: Any, *, may_be_text: bool = True) -> Any:
    if isinstance(value, bool):
        raise BadValueError("true and false are not numbers")
    return value


# -- texts and documents ---------------------------------------------------------------------------------------


def sound_text(value: Any) -> Any:
    """A text that the file's encoding could read."""
    if isinstance(value, str) and not value.isascii() and any("\udc80" <= c <= "\udcff" for c in value):
        raise BadValueError(
            "bytes that are not text in the file's encoding: name another one with --encoding"
        )
    return value


def array(value: str) -> Any:
    """A list, from JSON or from PostgreSQL's own way of writing arrays."""
    if not value.lstrip().startswith("["):
        if not value.lstrip().startswith("{"):
            raise BadValueError('a list is written as ["a", "b"] or as {a,b}')
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise BadValueError(f"it is not a list in JSON: {error}") from None


def document(value: Any) -> str:
    """JSON text of a document that came as text or as a structure of a columnar file."""
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """This value as JSON text, decimals digit by digit."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(k))}:{json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    try:
        return json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        raise BadValueError("NaN and Infinity are not JSON") from None
