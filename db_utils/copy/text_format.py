"""Encode Python values as COPY text, a column at a time.

A batch of rows is transposed to columns; each column is scanned once for its types, and encoded by one tight
loop in C if its values are of one type. This keeps Python ahead of the server. Other values go through
`value_text`, which is the reference: the fast loops give exactly its results.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any

import psycopg2.extras

from db_utils.copy.target_table import Column
from db_utils.errors import InvalidInputError
from db_utils.text_keys import number_text
from db_utils.values import dump_json, infinity_text, is_missing, plain

NULL = "\\N"
_SPECIAL = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ESCAPE = re.compile(r"\\.")
_ESCAPED = {"\\t": "\t", "\\n": "\n", "\\r": "\r"}
_INTEGERS = frozenset(("int2", "int4", "int8"))
_NUMBERS = _INTEGERS | {"numeric", "float4", "float8"}
_TEXTS = frozenset(("text", "varchar", "bpchar"))
_ODD_NUMBER = re.compile(r"_|0[xXoObB]")


class BadValueError(ValueError):
    """A value that does not fit its column; the message says why and never quotes the value."""


class BadRowError(ValueError):
    """A row that cannot be sent: its position in the batch, the column, and the reason."""

    def __init__(self, index: int, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.column = column
        self.reason = reason

    def at(self, number: int) -> InvalidInputError:
        """Return the error to raise if bad rows are not collected."""
        column = "" if self.column is None else f", column {self.column}"
        return InvalidInputError(f"row {number}{column}: {self.reason}")


# -- one value -------------------------------------------------------------------------------------------------


def value_text(value: Any, column: Column) -> str | None:
    """Return this value as PostgreSQL's text for this column, before COPY's escapes; None for NULL.

    Raises `BadValueError`. A dict is JSON, a list is an array or JSON by the column, a str for a json column
    is JSON text. A datetime without a zone is refused by a timestamptz column, one with a zone by a
    timestamp.
    """
    if value is None:
        return None
    if column.type in ("json", "jsonb"):
        return _json_text(value)
    kind = type(value)
    if kind is str:
        return _number_of_text(value) if column.type in _NUMBERS else value
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if isinstance(value, enum.Enum):
        return value_text(value.value, column)
    if isinstance(value, float):
        return _float_text(float(value), column)
    if isinstance(value, Decimal):
        return _decimal_text(value, column)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (dt.date, dt.time)):
        return _moment_text(value, column)
    if isinstance(value, dt.timedelta):
        return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"
    if isinstance(value, (bytes, bytearray, memoryview)):
        if column.type != "bytea":
            raise BadValueError(f"bytes do not fit a column of type {column.type_name}")
        return "\\x" + bytes(value).hex()
    if isinstance(value, (list, tuple, set, frozenset)) and type(value).__name__ != "MonthDayNano":
        return _array_text(value, column)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return str.__str__(value)
    return _rare_text(value, column)


def _float_text(value: float, column: Column) -> str:
    if column.type in _INTEGERS:
        if not value.is_integer():
            raise BadValueError(
                f"a float with a fraction, NaN or infinity does not fit a column of type {column.type_name}"
            )
        return str(int(value))
    return number_text(value) if column.type in _TEXTS else repr(value)


def _number_of_text(value: str) -> str:
    """Return the text of a number; 0x10 and 1_000, which PostgreSQL accepts, are refused."""
    if _ODD_NUMBER.search(value):
        raise BadValueError("a number is written in decimal digits, without 0x and _")
    return value


def _decimal_text(value: Decimal, column: Column) -> str:
    if column.type in _INTEGERS:
        if not value.is_finite() or value != value.to_integral_value():
            raise BadValueError(f"a decimal with a fraction does not fit a column of type {column.type_name}")
        return str(int(value))
    if value.is_snan():
        raise BadValueError("a signalling NaN cannot be stored")
    if column.type in _TEXTS and value.is_finite() and value == value.to_integral_value():
        return number_text(value)
    return "NaN" if value.is_nan() else str(value)


def _moment_text(value: dt.date | dt.time, column: Column) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        aware = offset is not None
        if offset is not None and offset.microseconds:
            value = value.astimezone(dt.UTC)  # PostgreSQL accepts offsets of whole seconds
        if column.type == "timestamptz" and not aware:
            raise BadValueError("a datetime without time zone: give it one, for example datetime.UTC")
        if column.type == "timestamp" and aware:
            raise BadValueError(
                "a datetime with time zone does not fit a column of type timestamp without time zone"
            )
        if column.type == "date" and (aware or value.time() != dt.time()):
            raise BadValueError("a time is not a date: give a date")
    elif isinstance(value, dt.date) and column.type == "timestamptz":
        raise BadValueError("a date is not a time: give a datetime with time zone")
    return infinity_text(value) or value.isoformat()


def _json_text(value: Any) -> str | None:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, psycopg2.extras.Json):
        value = value.adapted
    elif is_missing(value):
        return None
    try:
        return dump_json(plain(value))
    except InvalidInputError as error:
        raise BadValueError(str(error)) from None


def _array_text(value: Iterable[Any], column: Column) -> str:
    if column.element is None:
        raise BadValueError(f"a {type(value).__name__} does not fit a column of type {column.type_name}")
    parts = []
    for item in value:
        if isinstance(item, (list, tuple)) and column.element.type not in ("json", "jsonb"):
            parts.append(_array_text(item, column))
            continue
        text = value_text(item, column.element)
        if text is None:
            parts.append("NULL")
        else:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{quoted}"')
    return "{" + ",".join(parts) + "}"


def _rare_text(value: Any, column: Column) -> str | None:
    if is_missing(value):
        return None
    if type(value).__name__ == "MonthDayNano":
        return f"{value.months} months {value.days} days {value.nanoseconds // 1000} microseconds"
    try:
        known = plain(value)
    except InvalidInputError as error:
        raise BadValueError(str(error)) from None
    if known is not value:
        return value_text(known, column)
    if isinstance(value, psycopg2.extras.Json):
        return dump_json(value.adapted)
    if isinstance(value, Mapping):
        try:
            return dump_json(dict(value))
        except InvalidInputError as error:
            raise BadValueError(str(error)) from None
    if isinstance(value, psycopg2.extras.Range):
        return _range_text(value)
    raise BadValueError(f"a value of type {type(value).__name__} cannot be written into a table")


def _range_text(value: Any) -> str:
    if value.isempty:
        return "empty"
    bounds = []
    for bound in (value.lower, value.upper):
        text = value_text(bound, _ANY)
        bounds.append("" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return f"{'[' if value.lower_inc else '('}{bounds[0]},{bounds[1]}{']' if value.upper_inc else ')'}"


_ANY = Column("", "", "", None)


def escaped(text: str | None) -> str:
    """Return this text as a field of COPY's text format."""
    return NULL if text is None else text.translate(_SPECIAL)


def unescaped_field(line: str, place: int) -> str | None:
    """Return the text of one field of a line: the inverse of `escaped`."""
    field = line.split("\t", place + 1)[place]
    if field == NULL:
        return None
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[0], found[0][1]), field) if "\\" in field else field


# -- one column ------------------------------------------------------------------------------------------------

_HEX = "%032x".__mod__
_uuid_int = attrgetter("int")
_zone = attrgetter("tzinfo")
_BOOLS = {True: "true", False: "false"}
_MARK = "\x7f"
_encode_json = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


class _NotUniform(Exception):  # noqa: N818 - a signal: this column goes value by value
    pass


def _strings(values: Sequence[str], column: Column) -> Iterable[str]:
    joined = "".join(values)
    if column.type in _NUMBERS and _ODD_NUMBER.search(joined):
        raise _NotUniform
    if "\\" in joined or "\t" in joined or "\n" in joined or "\r" in joined:
        return [value.translate(_SPECIAL) for value in values]
    return values


def same_kind_of_time(values: Iterable[dt.datetime | None], *, aware: bool) -> bool:
    """Whether all of these have a time zone (or all have none), with offsets of whole seconds."""
    zones = set(map(_zone, filter(None, values)))
    if (None in zones) is aware or (None in zones and len(zones) > 1):
        return False
    return not any(type(zone) is dt.timezone and zone.utcoffset(None).microseconds for zone in zones)


def _datetimes(values: Sequence[dt.datetime], column: Column) -> Iterable[str]:
    if column.type not in ("timestamptz", "timestamp"):
        raise _NotUniform
    if not same_kind_of_time(values, aware=column.type == "timestamptz"):
        raise _NotUniform
    return map(dt.datetime.isoformat, values)


def _decimals(values: Sequence[Decimal], column: Column) -> Iterable[str]:
    if column.type != "numeric":
        raise _NotUniform
    texts = list(map(str, values))
    if "N" in "".join(texts):
        raise _NotUniform
    return texts


def _floats(values: Sequence[float], column: Column) -> Iterable[str]:
    if column.type in _INTEGERS or column.type in _TEXTS or column.type in ("json", "jsonb"):
        raise _NotUniform
    return map(repr, values)


def _uuids(values: Sequence[uuid.UUID], column: Column) -> Iterable[str]:
    if column.type != "uuid":
        raise _NotUniform
    return map(_HEX, map(_uuid_int, values))


def json_texts(values: Sequence[Any]) -> list[str | None]:
    """Return these documents as JSON, encoded in one call and split at a mark between them.

    Raises `ValueError` if that does not work: they are then encoded one by one.
    """
    present = [value for value in values if value is not None]
    if not present:
        return [None] * len(values)
    marked: list[Any] = [_MARK] * (2 * len(present) - 1)
    marked[::2] = present
    try:
        parts = _encode_json(marked)[1:-1].split(f',"{_MARK}",')
    except (TypeError, RecursionError) as error:
        raise ValueError(error) from None
    if len(parts) != len(present):
        raise ValueError("a document holds the mark")
    if len(present) == len(values):
        return parts  # type: ignore[return-value]
    texts = iter(parts)
    return [None if value is None else next(texts) for value in values]


def _dicts(values: Sequence[dict[Any, Any]], column: Column) -> Iterable[str]:
    try:
        texts: list[str] = json_texts(values)  # type: ignore[assignment]
    except ValueError:
        raise _NotUniform from None
    if any("\\" in text for text in texts):
        return [text.replace("\\", "\\\\") for text in texts]
    return texts


def _dates(values: Sequence[dt.date], column: Column) -> Iterable[str]:
    if column.type == "timestamptz" or column.type in ("json", "jsonb"):
        raise _NotUniform
    return map(dt.date.isoformat, values)


def _as_text(values: Sequence[Any], column: Column) -> Iterable[str]:
    return map(str, values)


def _bools(values: Sequence[bool], column: Column) -> Iterable[str]:
    return map(_BOOLS.__getitem__, values)


_BY_TYPE: dict[type, Callable[[Any, Column], Iterable[str]]] = {
    str: _strings,
    int: _as_text,
    bool: _bools,
    float: _floats,
    Decimal: _decimals,
    uuid.UUID: _uuids,
    dt.datetime: _datetimes,
    dt.date: _dates,
    dict: _dicts,
}


def column_fields(values: Sequence[Any], column: Column) -> Iterable[str]:
    """Return these values as fields of COPY's text format. Raises `BadValueError`, without the position."""
    types = set(map(type, values))
    has_null = type(None) in types
    if has_null:
        types.discard(type(None))
        if not types:
            return [NULL] * len(values)
    if len(types) == 1 and (encode := _BY_TYPE.get(types.pop())) is not None:
        try:
            if not has_null:
                return encode(values, column)
            fields = iter(encode([value for value in values if value is not None], column))
            return [NULL if value is None else next(fields) for value in values]
        except _NotUniform:
            pass
    return [escaped(value_text(value, column)) for value in values]


# -- rows ------------------------------------------------------------------------------------------------------


class RowEncoder:
    """Encodes batches of rows as lines of COPY's text format, for these columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self._names = tuple(column.name for column in columns)

    def lines(self, rows: Sequence[Any]) -> list[str]:
        """Return one line per row, without line end. Raises `BadRowError` for the first bad row."""
        try:
            columns = zip(*map(self._checked, rows) if self._odd(rows) else rows, strict=True)
            fields = [
                column_fields(values, column) for values, column in zip(columns, self.columns, strict=True)
            ]
            lines = list(map("\t".join, zip(*fields, strict=True)))
            text = "\n".join(lines)
            if "\0" not in text:
                text.encode()
                return lines
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            pass
        return [self._line(index, row) for index, row in enumerate(rows)]

    def line(self, row: Any) -> str:
        """Return the line of one row. Raises `BadRowError`."""
        return self._line(0, row)

    def texts(self, row: Any) -> list[str | None]:
        """Return the values of one row as text, before COPY's escapes. Raises `BadRowError`."""
        return self._texts(0, row)

    def _line(self, index: int, row: Any) -> str:
        return "\t".join(map(escaped, self._texts(index, row)))

    def _texts(self, index: int, row: Any) -> list[str | None]:
        texts = []
        for value, column in zip(self._checked(row, index), self.columns, strict=True):
            try:
                text = value_text(value, column)
                if text is not None:
                    if "\0" in text:
                        raise BadValueError("a text contains a NUL character, which PostgreSQL cannot store")
                    text.encode()
            except UnicodeEncodeError:
                reason = "a text contains characters that UTF-8 cannot encode (lone surrogates)"
                raise BadRowError(index, column.name, reason) from None
            except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
                raise BadRowError(index, column.name, str(error)) from None
            texts.append(text)
        return texts

    def _odd(self, rows: Sequence[Any]) -> bool:
        return not set(map(type, rows)) <= {tuple, list} or set(map(len, rows)) != {len(self.columns)}

    def _checked(self, row: Any, index: int = 0) -> Sequence[Any]:
        if isinstance(row, Mapping):
            missing = [name for name in self._names if name not in row]
            if missing:
                raise BadRowError(index, missing[0], "the row has no value of this name")
            return [row[name] for name in self._names]
        if (
            isinstance(row, (str, bytes, bytearray))
            or not isinstance(row, Iterable)
            or isinstance(row, Iterator)
        ):
            raise BadRowError(
                index, None, f"a row must be a tuple or list of values, not {type(row).__name__}"
            )
        if isinstance(row, (set, frozenset)):
            raise BadRowError(index, None, "a set has no order: give a tuple or list of values")
        values = list(row)
        if len(values) != len(self.columns):
            raise BadRowError(
                index, None, f"the row has {len(values)} values for {len(self.columns)} columns"
            )
        return values
