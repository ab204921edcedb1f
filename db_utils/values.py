"""Values on their way in and out: what Python type each PostgreSQL type becomes, and back.

Out: jsonb to dict and list, uuid to `uuid.UUID`, numeric to `Decimal`, timestamptz to aware `datetime` (UTC),
interval to `timedelta`, bytea to `bytes`, arrays of all of these to lists. In: the same types as they came
out; a dict, or a list of dicts, becomes jsonb. A JSON list of plain values needs `Json(…)`, because a bare
list is an SQL array. Types are registered per connection, so other users of psycopg2 in the process notice
nothing.
"""

from __future__ import annotations

import datetime as dt
import enum
import gc
import json
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import psycopg2.extensions
import psycopg2.extras

from db_utils.errors import InvalidDataError, InvalidInputError

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
Row: TypeAlias = dict[str, Any]


def _json_default(value: object) -> object:
    if isinstance(value, (uuid.UUID, dt.timedelta)):
        return str(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.is_finite() else float(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise InvalidInputError(f"a value of type {type(value).__name__} cannot be stored as JSON")


def dump_json(value: object) -> str:
    """This value as JSON text: dates as ISO 8601, uuids as text, decimals as numbers; NaN is refused."""
    try:
        return json.dumps(value, default=_json_default, allow_nan=False, separators=(",", ":"))
    except InvalidInputError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"a value cannot be stored as JSON: {error}") from None


class Json(psycopg2.extras.Json):  # type: ignore[misc]
    """Marks a value as one JSON document, as a list of plain values needs: it is an SQL array otherwise."""

    def dumps(self, obj: object) -> str:
        """The JSON text that is sent."""
        return dump_json(obj)


_PASSED_ON = frozenset(
    (
        str,
        int,
        float,
        bool,
        type(None),
        uuid.UUID,
        Decimal,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        bytes,
    )
)


def adapt(value: Any) -> Any:
    """The value as the driver takes it: dicts and lists of dicts become jsonb, an Enum its value."""
    if isinstance(value, dict):
        return Json(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return Json(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, enum.Enum):
        return value.value
    return value


def adapt_parameters(parameters: Parameters) -> Parameters:
    """The parameters of one statement as the driver takes them; unchanged where that fits."""
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


_utc_text = dt.datetime.fromisoformat
_scan_json = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

# What the uuid module does in a dozen steps of Python, in three: the two slots of a new UUID are filled in.
_new_uuid = object.__new__
_set_int: Callable[[uuid.UUID, int], None] = vars(uuid.UUID)["int"].__set__
_set_is_safe: Callable[[uuid.UUID, uuid.SafeUUID], None] = vars(uuid.UUID)["is_safe"].__set__
_unknown_safety = uuid.SafeUUID.unknown

_MOST_UUIDS = 1000
_seen_uuids: dict[str, uuid.UUID] = {}  # the same organizations and resources stand in row after row


def _cast_uuid(text: str | None, cursor: object) -> uuid.UUID | None:
    if text is None:
        return None
    value = _seen_uuids.get(text)
    if value is None:
        if len(_seen_uuids) >= _MOST_UUIDS:
            _seen_uuids.clear()
        value = _new_uuid(uuid.UUID)
        _set_int(value, int(text.replace("-", ""), 16))
        _set_is_safe(value, _unknown_safety)
        _seen_uuids[text] = value
    return value


def _cast_timestamptz(text: str | None, cursor: Any) -> dt.datetime | None:
    if text is None:
        return None
    try:
        return _utc_text(text)
    except ValueError:  # infinity, which the driver knows, or a year that Python has not
        moment: dt.datetime = psycopg2.extensions.PYDATETIMETZ(text, cursor)
        return moment


def _cast_json(text: str | None, cursor: object) -> Any:
    return None if text is None else json.loads(text)


def _cast_jsonb(text: str | None, cursor: object) -> Any:
    return None if text is None else _scan_json(text, 0)[0]  # the server writes it without spaces around


def _cast_bytes(text: str | None, cursor: Any) -> bytes | None:
    return None if text is None else bytes(psycopg2.BINARY(text, cursor))


_UUID = psycopg2.extensions.new_type((2950,), "UUID", _cast_uuid)
_TIMESTAMPTZ = psycopg2.extensions.new_type((1184,), "TIMESTAMPTZ", _cast_timestamptz)
_JSON = psycopg2.extensions.new_type((114,), "JSON", _cast_json)
_JSONB = psycopg2.extensions.new_type((3802,), "JSONB", _cast_jsonb)
_BYTES = psycopg2.extensions.new_type((17,), "BYTES", _cast_bytes)
_TYPES = (
    _UUID,
    psycopg2.extensions.new_array_type((2951,), "UUID[]", _UUID),
    _TIMESTAMPTZ,
    psycopg2.extensions.new_array_type((1185,), "TIMESTAMPTZ[]", _TIMESTAMPTZ),
    _JSON,
    psycopg2.extensions.new_array_type((199,), "JSON[]", _JSON),
    _JSONB,
    psycopg2.extensions.new_array_type((3807,), "JSONB[]", _JSONB),
    _BYTES,
    psycopg2.extensions.new_array_type((1001,), "BYTES[]", _BYTES),
)

# Only the way in for UUIDs is global: it makes work what the driver refuses otherwise, and changes nothing
# else.
psycopg2.extensions.register_adapter(uuid.UUID, psycopg2.extras.UUID_adapter)


def register(connection: Any) -> None:
    """Make this connection return the Python types that this module promises."""
    for kind in _TYPES:
        psycopg2.extensions.register_type(kind, connection)


class _NoCollection:
    """Holds back the garbage collector while many rows are made, none of which can be garbage yet.

    It would look through all of them again and again: three quarters of the time. Other threads may be inside
    at the same time; the last one out turns it on again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_on:
                gc.enable()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._inside and self._was_on:
            gc.enable()
        self._inside = 0


_no_collection = _NoCollection()
_MANY_ROWS = 500

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_no_collection.after_fork)


def fetch_rows(cursor: Any) -> list[Row]:
    """All rows of a finished statement as plain dicts; [] where it returns none."""
    description = cursor.description
    if description is None:
        return []
    names = [column.name for column in description]
    if cursor.rowcount > _MANY_ROWS:
        with _no_collection:
            rows = [dict(zip(names, row, strict=False)) for row in cursor.fetchall()]
    else:
        rows = [dict(zip(names, row, strict=False)) for row in cursor.fetchall()]
    if not rows or len(rows[0]) != len(names):
        column_names(description)
    return rows


def column_names(description: Sequence[Any]) -> list[str]:
    """The names of the columns of a result, each once.

    Raises `InvalidInputError` where two columns share a name: one would silently win in a dict.
    """
    names = [column.name for column in description]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInputError(
            f"two columns of the result are named {', '.join(twice)}: give each its own name with AS"
        )
    return names


def fetch_tuples(cursor: Any) -> list[tuple[Any, ...]]:
    """All rows of a finished statement as tuples; [] where it returns none."""
    rows: list[tuple[Any, ...]] = [] if cursor.description is None else cursor.fetchall()
    return rows


def fetch_count(cursor: Any) -> int:
    """How many rows a finished statement touched; 0 where the server does not say."""
    count: int = cursor.rowcount
    return max(0, count)


def unreadable(error: Exception) -> InvalidDataError:
    """The error for a value that came back and has no Python equal (a year above 9999 or BC)."""
    return InvalidDataError(
        f"a value of the result has no Python equal ({error}): convert it in SQL, e.g. to text"
    )
