"""Conversion of values between PostgreSQL types and Python types.

Out: jsonb to dict and list, uuid to `uuid.UUID`, numeric to `Decimal`, timestamptz to aware `datetime` (UTC),
interval to `timedelta` (which has no months: one counts as 30 days, a year as 365), bytea to `bytes`, ranges to
psycopg2's, arrays of all of these to lists; `infinity` as a time to the last moment that Python can
represent, marked so that it goes back in as infinity. In: the same types; a dict, or a list of dicts, becomes jsonb;
numpy's numbers and arrays, and the missing values of pandas, are what they stand for. A JSON list that was read
is a `JsonList` and goes back in as JSON; one of your own needs `Json(…)`, because a bare list is an SQL array, and
so do a bare text or number. Types are registered per connection, so other users of psycopg2 in the process
are unaffected.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import psycopg2.extensions
import psycopg2.extras

from db_utils.errors import InvalidDataError, InvalidInputError

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
Row: TypeAlias = dict[str, Any]
RowProgress: TypeAlias = Callable[[int], None]
"""Called with the number of rows so far."""


class _DecimalError(Exception):
    """The standard encoder met a decimal, which it can only write as a float."""


def _json_default(value: object) -> object:
    if isinstance(value, (uuid.UUID, dt.timedelta)):
        return str(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        raise _DecimalError
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if is_missing(value):
        return None
    if (known := plain(value)) is not value:
        return known
    raise InvalidInputError(f"a value of type {type(value).__name__} cannot be stored as JSON")


def dump_json(value: object) -> str:
    """Return this value as JSON text: dates in ISO 8601, UUIDs as text, decimals digit by digit.

    Raises `InvalidInputError` for NaN, infinity and types that JSON cannot represent.
    """
    try:
        return _encode(value)
    except _DecimalError:
        return _with_decimals(value)
    except InvalidInputError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"a value cannot be stored as JSON: {error}") from None


def _with_decimals(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{','.join([f'{_key(key)}:{_with_decimals(item)}' for key, item in value.items()])}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_with_decimals, value))}]"
    if isinstance(value, (set, frozenset)):
        return _with_decimals(sorted(value))
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    return dump_json(float(value) if isinstance(value, Decimal) else plain(value))


def _key(key: object) -> str:
    return _encode({key: 0})[1:-3]


_encode = json.JSONEncoder(default=_json_default, allow_nan=False, separators=(",", ":")).encode


class Json(psycopg2.extras.Json):  # type: ignore[misc]
    """Marks a value as one JSON document, as a list of plain values needs: it is an SQL array otherwise."""

    def dumps(self, obj: object) -> str:
        """Return the JSON text that is sent."""
        return dump_json(obj)


class JsonList(list[Any]):
    """A JSON document that is a list, as it was read: it goes back in as JSON, not as an SQL array."""


class InfiniteDate(dt.date):
    """`infinity` or `-infinity` as a date: compares as the last or first day that Python can represent."""


class InfiniteDatetime(dt.datetime):
    """`infinity` or `-infinity` as a time: compares as the last or first moment that Python can represent."""


def infinity_text(value: object) -> str | None:
    """`infinity` or `-infinity` where this date or time came out as that; None for any other."""
    if not isinstance(value, (InfiniteDate, InfiniteDatetime)):
        return None
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=None)
    # A value computed from an infinite time has its class but is no longer infinite.
    return {value.max: "infinity", value.min: "-infinity"}.get(value)


_PASSED_ON = frozenset(
    (
        str,
        int,
        float,
        bool,
        type(None),
        uuid.UUID,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        bytes,
    )
)


def adapt(value: Any) -> Any:
    """Return the value as the driver takes it: dicts and lists of dicts become jsonb, an Enum its value.

    A number or an array of numpy becomes Python's, a missing value of pandas NULL.
    """
    if isinstance(value, (dict, JsonList)) or (
        isinstance(value, list) and value and isinstance(value[0], dict)
    ):
        return Json(value)
    if isinstance(value, Decimal):
        return psycopg2.extensions.AsIs(f"'{value}'::numeric") if value.is_infinite() else value
    if isinstance(value, (list, set, frozenset)):
        return list(value) if _PASSED_ON.issuperset(map(type, value)) else [adapt(item) for item in value]
    if is_missing(value):
        return None
    value = plain(value)
    return adapt(value) if type(value) is list else value


def is_missing(value: object) -> bool:
    """Whether this is one of pandas' missing values."""
    return type(value).__name__ in ("NAType", "NaTType")


def plain(value: Any) -> Any:
    """Return a numpy number or array, or an Enum, as the Python value; anything else unchanged."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        if value.dtype.kind in "mM":
            raise InvalidInputError(
                "numpy times have no zone and no fixed unit: give a datetime or timedelta"
            )
        if value.dtype.kind == "f" and value.dtype.itemsize < 8:
            value = value.astype(str).astype(float)  # the same decimal: 0.1, not 0.10000000149011612
        return value.tolist()
    return value.value if isinstance(value, enum.Enum) else value


def adapt_parameters(parameters: Parameters) -> Parameters:
    """Return the parameters of one statement as the driver accepts them; unchanged where possible."""
    kind = type(parameters)
    if kind is tuple or kind is list:
        for value in parameters:
            if type(value) not in _PASSED_ON:
                return tuple([adapt(value) for value in parameters])
        return parameters
    if isinstance(parameters, Mapping):
        return {name: adapt(value) for name, value in parameters.items()}
    if isinstance(parameters, (str, bytes)) or not isinstance(parameters, Sequence):
        raise InvalidInputError(
            f"parameters are {kind.__name__}: give a tuple or list for %s, or a dict for %(name)s"
        )
    return tuple([adapt(value) for value in parameters])


_time_of = dt.datetime.fromisoformat
_date_of = dt.date.fromisoformat
_scan_json = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_MOST_UUIDS = 1000
_seen_uuids: dict[str, uuid.UUID] = {}  # the same organizations and resources recur in row after row


def _cast_uuid(text: str | None, cursor: object) -> uuid.UUID | None:
    if text is None:
        return None
    value = _seen_uuids.get(text)
    if value is None:
        if len(_seen_uuids) >= _MOST_UUIDS:
            _seen_uuids.clear()
        value = _seen_uuids[text] = uuid.UUID(int=int(text.replace("-", ""), 16))
    return value


_INFINITE_DATES = {
    f"{sign}infinity": InfiniteDate(edge.year, edge.month, edge.day)
    for sign, edge in (("", dt.date.max), ("-", dt.date.min))
}
_INFINITE_TIMES = {
    f"{sign}infinity": InfiniteDatetime.combine(edge.date(), edge.time())
    for sign, edge in (("", dt.datetime.max), ("-", dt.datetime.min))
}
_INFINITE_UTC_TIMES = {text: edge.replace(tzinfo=dt.UTC) for text, edge in _INFINITE_TIMES.items()}


def _caster(parse: Callable[[str], Any], infinite: Mapping[str, Any], driver: Any) -> Callable[..., Any]:
    def cast(text: str | None, cursor: object) -> Any:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError:  # infinity, or a year that Python cannot represent: the driver reports it
            return infinite[text] if text in infinite else driver(text, cursor)

    return cast


def _json_value(value: Any) -> Any:
    if type(value) is list and not (value and type(value[0]) is dict):  # `adapt` knows those by their dicts
        return JsonList(value)
    return value


def _cast_json(text: str | None, cursor: object) -> Any:
    return None if text is None else _json_value(json.loads(text))


def _cast_jsonb(text: str | None, cursor: object) -> Any:
    return None if text is None else _json_value(_scan_json(text, 0)[0])  # written without spaces around


def _cast_bytes(text: str | None, cursor: Any) -> bytes | None:
    return None if text is None else bytes(psycopg2.BINARY(text, cursor))


_UUID = psycopg2.extensions.new_type((2950,), "UUID", _cast_uuid)
_TIMESTAMPTZ = psycopg2.extensions.new_type(
    (1184,), "TIMESTAMPTZ", _caster(_time_of, _INFINITE_UTC_TIMES, psycopg2.extensions.PYDATETIMETZ)
)
_TIMESTAMP = psycopg2.extensions.new_type(
    (1114,), "TIMESTAMP", _caster(_time_of, _INFINITE_TIMES, psycopg2.extensions.PYDATETIME)
)
_DATE = psycopg2.extensions.new_type(
    (1082,), "DATE", _caster(_date_of, _INFINITE_DATES, psycopg2.extensions.PYDATE)
)
_JSON = psycopg2.extensions.new_type((114,), "JSON", _cast_json)
_JSONB = psycopg2.extensions.new_type((3802,), "JSONB", _cast_jsonb)
_BYTES = psycopg2.extensions.new_type((17,), "BYTES", _cast_bytes)
_TYPES = (
    _UUID,
    psycopg2.extensions.new_array_type((2951,), "UUID[]", _UUID),
    _TIMESTAMPTZ,
    psycopg2.extensions.new_array_type((1185,), "TIMESTAMPTZ[]", _TIMESTAMPTZ),
    _TIMESTAMP,
    psycopg2.extensions.new_array_type((1115,), "TIMESTAMP[]", _TIMESTAMP),
    _DATE,
    psycopg2.extensions.new_array_type((1182,), "DATE[]", _DATE),
    _JSON,
    psycopg2.extensions.new_array_type((199,), "JSON[]", _JSON),
    _JSONB,
    psycopg2.extensions.new_array_type((3807,), "JSONB[]", _JSONB),
    _BYTES,
    psycopg2.extensions.new_array_type((1001,), "BYTES[]", _BYTES),
)


def _adapt_infinite(value: dt.date) -> Any:
    moment = isinstance(value, dt.datetime)
    text = infinity_text(value)
    if text is None:
        return (psycopg2.extensions.TimestampFromPy if moment else psycopg2.extensions.DateFromPy)(value)
    kind = "date" if not moment else "timestamp" if value.tzinfo is None else "timestamptz"  # type: ignore[attr-defined]
    return psycopg2.extensions.AsIs(f"'{text}'::{kind}")


# Only the adapters for UUIDs and for our own classes are global: they add types that the driver refuses
# otherwise, and change nothing else.
psycopg2.extensions.register_adapter(uuid.UUID, psycopg2.extras.UUID_adapter)
for _class in (InfiniteDate, InfiniteDatetime):
    psycopg2.extensions.register_adapter(_class, _adapt_infinite)


def register(connection: Any) -> None:
    """Make this connection return the Python types that this module promises."""
    for kind in _TYPES:
        psycopg2.extensions.register_type(kind, connection)


def fetch_rows(cursor: Any) -> list[Row]:
    """Return all rows of a finished statement as plain dicts; [] where it returns none."""
    description = cursor.description
    if description is None:
        return []
    names = [column.name for column in description]
    # One by one: a list of all tuples as well as all dicts would double the garbage collector's work.
    rows = [dict(zip(names, row, strict=False)) for row in cursor]
    if not rows or len(rows[0]) != len(names):
        column_names(description)
    return rows


def column_names(description: Sequence[Any]) -> list[str]:
    """Return the column names of a result.

    Raises `InvalidInputError` where two columns share a name, as a dict would silently keep only one.
    """
    names = [column.name for column in description]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInputError(
            f"two columns of the result are named {', '.join(twice)}: give each its own name with AS"
        )
    return names


def fetch_tuples(cursor: Any) -> list[tuple[Any, ...]]:
    """Return all rows of a finished statement as tuples; [] where it returns none."""
    rows: list[tuple[Any, ...]] = [] if cursor.description is None else cursor.fetchall()
    return rows


def fetch_count(cursor: Any) -> int:
    """How many rows a finished statement touched; 0 where the server does not say."""
    count: int = cursor.rowcount
    return max(0, count)


def unreadable(error: Exception) -> InvalidDataError:
    """Return the error for a result value that Python cannot represent (a year above 9999 or BC)."""
    return InvalidDataError(
        f"a value of the result cannot be represented in Python ({error}): convert it in SQL, e.g. to text"
    )
