"""Predictions, their freshness, and the binary format of a value in Redis.

A value is a header of 50 bytes and a body (numbers are big-endian and unsigned):

    offset  size  field
    0       1     format version, 1
    1       1     flags: 1 = the value has tagged types, 2 = the body is deflated, 4 = the database has no prediction
    2       8     available_at, microseconds since 1970 plus 2**63
    10      8     recorded_at, likewise; breaks ties of the former
    18      4     lifetime of the copy in milliseconds
    22      4     duration of the load from the database, in microseconds
    26      8     checked_at by Redis' clock: seconds, then microseconds, 4 bytes each
    34      16    the generations (organization's, then kind's) that must be current for it to be valid
    50            UTF-8 JSON: [model_name, model_version, value]

Bytes 26 to 49 are written by the script inside Redis, the others by the client. Only JSON is ever decoded.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from db_utils.errors import InvalidInputError

FORMAT_VERSION = 1
TAGGED, DEFLATED, NOTHING = 1, 2, 4
HEADER_BYTES = 50
COMPRESS_ABOVE_BYTES = 4096
MAX_BODY_BYTES = 16 * 1024 * 1024
_MOST_DIGITS = 150_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIAS = 1 << 63
_MAX_UINT32 = 0xFFFFFFFF
_fixed = struct.Struct(">BBQQII")
_stamp = struct.Struct(">II")
_header = struct.Struct(">BBQQIIII")
_unpack_header = _header.unpack_from
_new_tuple = tuple.__new__


class Freshness(StrEnum):
    """The freshness of a prediction, by its age and by when it was last checked."""

    FRESH = "FRESH"
    STALE = "STALE"
    EXPIRED = "EXPIRED"


_FRESH, _STALE, _EXPIRED = Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction as stored in the database, to be cached.

    `value` is made of dict (str keys), list, tuple, str, int, float (finite), bool, None, Decimal, datetime,
    date, time, timedelta and UUID. `available_at` is when the prediction became available, `recorded_at` the
    database's clock when it was stored (default: `available_at`); InvalidInputError where one has no time
    zone. Of two predictions the one with the later (available_at, recorded_at) is the newer.
    """

    value: Any
    model_name: str
    model_version: str
    available_at: datetime
    recorded_at: datetime | None = None

    def __post_init__(self) -> None:
        for moment in self.order:
            microseconds(moment)
        if not isinstance(self.model_name, str) or not isinstance(self.model_version, str):
            raise InvalidInputError("model_name and model_version must be str.")

    @property
    def order(self) -> tuple[datetime, datetime]:
        """Return the sort key that decides which of two predictions is newer."""
        return self.available_at, self.recorded_at or self.available_at


class CachedPrediction(NamedTuple):
    """A prediction from the cache or the database, with its provenance and freshness.

    `source` is "cache" or "database". `age_seconds` is the time since `available_at` and `checked_at` is
    when the value was last known to match the database, both by Redis' clock (by this machine's where Redis
    was not used). `rebuilding` means that a newer one is being loaded.
    """

    source: str
    value: Any
    model_name: str
    model_version: str
    available_at: datetime
    recorded_at: datetime
    age_seconds: float
    freshness: Freshness
    checked_at: datetime
    rebuilding: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How old a prediction may be: up to `fresh_seconds` FRESH, up to `stale_seconds` STALE, then EXPIRED."""

    fresh_seconds: float = 86_400.0
    stale_seconds: float = 604_800.0

    def __post_init__(self) -> None:
        if not 0 <= self.fresh_seconds <= self.stale_seconds:
            raise InvalidInputError("The limits need 0 <= fresh_seconds <= stale_seconds.")


class UndecodableError(ValueError):
    """The bytes in Redis are not in this format."""


class Encoded(NamedTuple):
    """A value as the client sends it: the script inserts the stamp between the two parts."""

    fixed: bytes
    body: bytes

    def sealed(self, checked_us: int, generations: bytes) -> bytes:
        """Return the bytes that Redis stores after the script has added the check time and the generations."""
        return self.fixed + _stamp.pack(*divmod(checked_us, 1_000_000)) + generations + self.body


def encode(
    prediction: Prediction | None, *, lifetime_seconds: float, rebuild_seconds: float = 0.0
) -> Encoded:
    """Encode a prediction, or the fact that the database has none.

    Raises InvalidInputError if the value has a type that JSON and the tags do not cover, a non-finite number
    or a key that is not a str, or exceeds 16 MiB as JSON.
    """
    lifetime = min(max(round(lifetime_seconds * 1000), 0), _MAX_UINT32)
    rebuild = min(max(round(rebuild_seconds * 1_000_000), 0), _MAX_UINT32)
    if prediction is None:
        return Encoded(_fixed.pack(FORMAT_VERSION, NOTHING, 0, 0, lifetime, rebuild), b"")
    available, recorded = (microseconds(moment) + _BIAS for moment in prediction.order)
    try:
        value, tagged = _prepare(prediction.value)
        body = json.dumps(
            [prediction.model_name, prediction.model_version, value],
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        ).encode()
    except (RecursionError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"The cache cannot hold this value: {error}.") from None
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"The cache cannot hold this value, use None for NaN: {error}.") from None
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInputError(
            f"A cached value has at most {MAX_BODY_BYTES} bytes of JSON, not {len(body)}."
        )
    flags = TAGGED if tagged else 0
    if len(body) > COMPRESS_ABOVE_BYTES:
        smaller = zlib.compress(body, 1)
        if len(smaller) < len(body):
            flags, body = flags | DEFLATED, smaller
    return Encoded(_fixed.pack(FORMAT_VERSION, flags, available, recorded, lifetime, rebuild), body)


def decode(
    raw: bytes, now_us: int, limits_us: tuple[int, int], *, source: str = "cache"
) -> CachedPrediction | None:
    """Decode these bytes as of `now_us`; None means "the database has no prediction".

    `limits_us` are the fresh and the stale limit in microseconds. An expired copy is at best STALE. Raises
    UndecodableError for any other bytes.
    """
    return examine(raw, now_us, limits_us, source=source)[0]


def examine(
    raw: bytes, now_us: int, limits_us: tuple[int, int], recheck_us: int = 0, *, source: str = "cache"
) -> tuple[CachedPrediction | None, int, int]:
    """Return the result of `decode`, its remaining lifetime and the duration of its load, in microseconds.

    An EXPIRED prediction is trusted for at most `recheck_us`.
    """
    try:
        version, flags, available, recorded, lifetime, rebuild, seconds, micros = _unpack_header(raw)
        if version != FORMAT_VERSION:
            raise UndecodableError(f"format version {version}")
        checked = seconds * 1_000_000 + micros
        lifetime *= 1000
        left = checked + lifetime - now_us
        if flags & NOTHING:
            return None, left, rebuild
        text = str(_inflate(raw) if flags & DEFLATED else raw[HEADER_BYTES:], "utf-8")
        (model_name, model_version, value), end = (_decode_tagged if flags & TAGGED else _decode_plain)(text)
        if end != len(text):
            raise UndecodableError("more than one JSON text")
        available -= _BIAS
        age = now_us - available
        if age > limits_us[1]:
            freshness = _EXPIRED
            left = min(left, checked + recheck_us - now_us)
        elif age > limits_us[0] or left <= 0:
            freshness = _STALE
        else:
            freshness = _FRESH
        # Equivalent to CachedPrediction(...), in half the time: get_many creates one per result.
        answer = _new_tuple(
            CachedPrediction,
            (
                source,
                value,
                model_name,
                model_version,
                _moment(available),
                _moment(recorded - _BIAS),
                age / 1e6 if age > 0 else 0.0,
                freshness,
                _moment(checked),
                False,
            ),
        )
        return answer, left, rebuild
    except Exception as error:  # any error of a decoder on foreign bytes
        raise UndecodableError(str(error)) from None


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time; InvalidInputError for a naive one."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidInputError(f"available_at and recorded_at must be aware datetimes, not {moment!r}.")
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)  # predictions of one run share their times
def _moment(since_1970_us: int) -> datetime:
    return _EPOCH + timedelta(0, 0, since_1970_us)


def _inflate(raw: bytes) -> bytes:
    inflater = zlib.decompressobj()
    body = inflater.decompress(memoryview(raw)[HEADER_BYTES:], MAX_BODY_BYTES)
    if not inflater.eof:
        raise UndecodableError("deflated body is cut off or too large")
    return body


_TAGS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Decimal: ("$decimal", str),
    datetime: ("$datetime", datetime.isoformat),
    date: ("$date", date.isoformat),
    time: ("$time", time.isoformat),
    timedelta: ("$timedelta", lambda span: [span.days, span.seconds, span.microseconds]),
    UUID: ("$uuid", str),
}


def _decimal(text: str) -> Decimal:
    """Parse a number that PostgreSQL can hold: calculating with 1e999999999 would exhaust memory."""
    number = Decimal(text)
    if "e" in text.lower() and number.is_finite() and abs(number.adjusted()) > _MOST_DIGITS:
        raise UndecodableError("a number with more digits than the database can hold")
    return number


def _refuse(constant: str) -> Any:
    raise UndecodableError(f"{constant} is not JSON")


_UNTAG: dict[str, Callable[[Any], Any]] = {
    "$decimal": _decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$uuid": UUID,
    "$dict": dict,
}


def _prepare(value: Any) -> tuple[Any, bool]:
    """Return the value with every type that JSON lacks replaced by a tag, and whether there was any."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value, False
    if isinstance(value, dict):
        tagged = False
        prepared: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInputError(f"The keys of a cached value must be str, not {type(key).__name__}.")
            prepared[key], one = _prepare(item)
            tagged |= one
        if len(prepared) == 1 and next(iter(prepared)).startswith("$"):
            return {"$dict": [list(pair) for pair in prepared.items()]}, True
        return prepared, tagged
    if isinstance(value, list | tuple):
        pairs = [_prepare(item) for item in value]
        return [item for item, _ in pairs], any(one for _, one in pairs)
    if isinstance(value, str | int | float):  # enums and other subclasses
        return value, False
    for base in (kind, datetime, date, time, timedelta, Decimal, UUID):
        if base in _TAGS and isinstance(value, base):
            tag, spell = _TAGS[base]
            return {tag: spell(value)}, True
    raise InvalidInputError(f"The cache cannot hold a value of type {kind.__name__}.")


def _untag(item: dict[str, Any]) -> Any:
    if len(item) == 1:
        ((tag, content),) = item.items()
        convert = _UNTAG.get(tag)
        if convert is not None:
            return convert(content)
    return item


# json.loads would first detect the encoding and skip white space.
_decode_plain = json.JSONDecoder(parse_constant=_refuse).raw_decode
_decode_tagged = json.JSONDecoder(object_hook=_untag, parse_constant=_refuse).raw_decode
