"""Columns as PostgreSQL's binary COPY format, whole columns at a time. Needs pyarrow and numpy.

Binary saves the server parsing text and Python writing it. Each field is its length and its bytes, so every
column becomes one or two Arrow binary arrays (lengths, bytes), and one Arrow call joins them row by row into
the bytes that are sent. Types without a binary form here, and values that the server should refuse, raise
`NotBinaryError`: they are sent as text.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db_utils.copy.binary_numeric import NotBinaryError, numbers_of, numeric
from db_utils.copy.target_table import Column
from db_utils.copy.text_format import json_texts, same_kind_of_time

__all__ = ["HEADER", "TRAILER", "NotBinaryError", "encode", "from_python"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_EPOCH_MICROSECONDS = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's time begins
_EPOCH_DAYS = 10_957
_DAY_MICROSECONDS = 86_400_000_000
_INTEGERS = {"int2": (pa.int16(), ">i2"), "int4": (pa.int32(), ">i4"), "int8": (pa.int64(), ">i8")}
_FLOATS = {"float4": ">f4", "float8": ">f8"}
_TEXTS = frozenset(("text", "varchar", "bpchar", "name", "enum", "json"))
_DIGIT = np.full(256, 255, dtype=np.uint8)
for _value, _character in enumerate("0123456789abcdef"):
    _DIGIT[ord(_character)] = _DIGIT[ord(_character.upper())] = _value


def encode(columns: Sequence[Column], values: Sequence[Any]) -> bytes:
    """Encode these columns as rows of binary COPY, without header and trailer. Raises `NotBinaryError`.

    Each of `values` is an Arrow array, or a sequence of Python values.
    """
    arrays = [
        value if isinstance(value, pa.Array) else from_python(value, column)
        for value, column in zip(values, columns, strict=True)
    ]
    count = len(arrays[0])
    parts = _Parts(count)
    parts.add_fixed(_repeated(len(columns).to_bytes(2, "big"), count))
    for array, column in zip(arrays, columns, strict=True):
        try:
            _add(parts, array, column)
        except (pa.ArrowException, OverflowError) as error:
            raise NotBinaryError from error
    return parts.joined()


# -- putting fields together -----------------------------------------------------------------------------------


class _Parts:
    """Binary arrays that are joined row by row."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._parts: list[pa.Array] = []
        self._blocks: list[Any] = []  # bytes of equal width in every row, not yet a part

    def add_fixed(self, block: Any) -> None:
        """Add bytes of fixed width; `block` has a line for each row."""
        self._blocks.append(block)

    def add_part(self, part: pa.Array) -> None:
        """Add bytes of any length."""
        self._flush()
        self._parts.append(part)

    def add_field(self, block: Any, missing: Any) -> None:
        """Add a field of fixed width, preceded by its length; `missing` marks the NULLs, or is None."""
        width = block.shape[1]
        if missing is None:
            self._blocks += [_repeated(width.to_bytes(4, "big"), self._count), block]
            return
        whole = np.hstack([_repeated(width.to_bytes(4, "big"), self._count), block])
        whole[missing, :4] = 255
        kept = np.ones(whole.shape, dtype=bool)
        kept[missing, 4:] = False
        lengths = np.where(missing, 4, width + 4)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.add_part(_binary(offsets, whole[kept]))

    def add_bytes(self, array: pa.Array, prefix: bytes = b"") -> None:
        """Add a field of any width; `prefix` precedes the bytes of every value."""
        lengths = pc.fill_null(pc.binary_length(array), -1 - len(prefix)).to_numpy(zero_copy_only=False)
        self._blocks.append(_big_endian(lengths + len(prefix), ">i4"))
        if prefix and array.null_count:
            self.add_part(pc.if_else(pc.is_valid(array), pa.scalar(prefix), pa.scalar(b"")))
        elif prefix:
            self._blocks.append(_repeated(prefix, self._count))
        self.add_part(array)

    def _flush(self) -> None:
        if self._blocks:
            block = np.hstack(self._blocks)
            width = block.shape[1]
            self._parts.append(_binary(np.arange(0, (self._count + 1) * width, width, dtype=np.int32), block))
            self._blocks = []

    def joined(self) -> bytes:
        """Return all rows, joined."""
        self._flush()
        empty = pa.scalar(b"")
        rows = pc.binary_join_element_wise(*self._parts, empty, null_handling="replace", null_replacement=b"")
        first, last = (
            np.frombuffer(rows.buffers()[1], np.int32)[rows.offset + at] for at in (0, self._count)
        )
        return bytes(memoryview(rows.buffers()[2])[first:last])


def _repeated(some: bytes, count: int) -> Any:
    return np.broadcast_to(np.frombuffer(some, np.uint8), (count, len(some)))


def _binary(offsets: Any, data: Any) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _big_endian(values: Any, kind: str) -> Any:
    return np.ascontiguousarray(values.astype(kind)).view(np.uint8).reshape(len(values), -1)


def _missing(array: pa.Array) -> Any:
    return pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else None


# -- one column ------------------------------------------------------------------------------------------------


def _add(parts: _Parts, array: pa.Array, column: Column) -> None:
    """Add this column. Raises `NotBinaryError` if type or values do not fit."""
    kind = array.type
    if pa.types.is_null(kind):
        parts.add_fixed(_repeated(b"\xff\xff\xff\xff", len(array)))
        return
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if column.type in _TEXTS:
        parts.add_bytes(_text(array))
    elif column.type == "jsonb":
        parts.add_bytes(_text(array), b"\x01")
    elif column.type == "bytea":
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise NotBinaryError
        parts.add_bytes(array.cast(pa.binary()))
    elif (encode_fixed := _FIXED.get(column.type)) is not None:
        block = encode_fixed(array, column)
        parts.add_field(block, _missing(array))
    else:
        raise NotBinaryError


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _text(array: pa.Array) -> pa.Array:
    array = _storage(array)
    if not (
        pa.types.is_string(array.type)
        or pa.types.is_large_string(array.type)
        or pa.types.is_string_view(array.type)
    ):
        raise NotBinaryError
    if pc.any(pc.match_substring(array, "\0")).as_py():
        raise NotBinaryError
    return array.cast(pa.binary())


def _integer(array: pa.Array, column: Column) -> Any:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise NotBinaryError
    kind, layout = _INTEGERS[column.type]
    return _big_endian(numbers_of(array.cast(kind)), layout)


def _float(array: pa.Array, column: Column) -> Any:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise NotBinaryError
    numbers = numbers_of(array.cast(pa.float64()))
    if column.type == "float4":
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32)
        if not np.array_equal(np.isinf(narrow), np.isinf(numbers)) or np.any((narrow == 0) != (numbers == 0)):
            raise NotBinaryError
        numbers = narrow
    return _big_endian(numbers, _FLOATS[column.type])


def _bool(array: pa.Array, column: Column) -> Any:
    if not pa.types.is_boolean(array.type):
        raise NotBinaryError
    return numbers_of(array, False).astype(np.uint8).reshape(-1, 1)


def _moment(array: pa.Array, column: Column) -> Any:
    if not pa.types.is_timestamp(array.type) or (array.type.tz is None) is (column.type == "timestamptz"):
        raise NotBinaryError
    return _big_endian(_microseconds(array) - _EPOCH_MICROSECONDS, ">i8")


def _microseconds(array: pa.Array) -> Any:
    """Convert times of any unit to microseconds; finer ones are truncated."""
    if array.type.unit == "ns":
        return numbers_of(array.view(pa.int64())) // 1000
    kind = pa.duration("us") if pa.types.is_duration(array.type) else pa.timestamp("us", array.type.tz)
    return numbers_of(array.cast(kind).view(pa.int64()))


def _date(array: pa.Array, column: Column) -> Any:
    if pa.types.is_timestamp(array.type) and array.type.tz is None:
        array = array.cast(pa.date32())
    if not pa.types.is_date(array.type):
        raise NotBinaryError
    return _big_endian(numbers_of(array.cast(pa.date32()).view(pa.int32())) - _EPOCH_DAYS, ">i4")


def _time(array: pa.Array, column: Column) -> Any:
    if not pa.types.is_time(array.type):
        raise NotBinaryError
    microseconds = array.cast(pa.time64("us"), safe=False).view(pa.int64())
    return _big_endian(numbers_of(microseconds), ">i8")


def _interval(array: pa.Array, column: Column) -> Any:
    if not pa.types.is_duration(array.type):
        raise NotBinaryError
    days, rest = np.divmod(_microseconds(array), _DAY_MICROSECONDS)
    if np.any(np.abs(days) > 2**31 - 1):
        raise NotBinaryError
    return np.hstack([_big_endian(rest, ">i8"), _big_endian(days, ">i4"), _repeated(bytes(4), len(rest))])


def _uuid(array: pa.Array, column: Column) -> Any:
    array = _storage(array)
    if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == 16:
        data = np.frombuffer(array.buffers()[1], np.uint8)
        return data[array.offset * 16 : (array.offset + len(array)) * 16].reshape(-1, 16)
    text = pc.fill_null(array, "0" * 32) if array.null_count else array
    text = pc.replace_substring(_text(text).cast(pa.string()), "-", "").cast(pa.binary())
    if not pc.all(pc.equal(pc.binary_length(text), 32)).as_py():
        raise NotBinaryError
    first = np.frombuffer(text.buffers()[1], np.int32)[text.offset]
    data = np.frombuffer(text.buffers()[2], np.uint8)[first : first + 32 * len(text)]
    digits = _DIGIT[data].reshape(-1, 32)
    if np.any(digits == 255):
        raise NotBinaryError
    return digits[:, ::2] << 4 | digits[:, 1::2]


_FIXED: dict[str, Callable[[pa.Array, Column], Any]] = {
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "float4": _float,
    "float8": _float,
    "bool": _bool,
    "timestamptz": _moment,
    "timestamp": _moment,
    "date": _date,
    "time": _time,
    "interval": _interval,
    "uuid": _uuid,
    "numeric": lambda array, column: numeric(array),
}


# -- Python values ---------------------------------------------------------------------------------------------

_PYTHON: dict[tuple[str, type], pa.DataType] = {
    ("bool", bool): pa.bool_(),
    ("timestamptz", dt.datetime): pa.timestamp("us", "UTC"),
    ("timestamp", dt.datetime): pa.timestamp("us"),
    ("date", dt.date): pa.date32(),
    ("time", dt.time): pa.time64("us"),
    ("interval", dt.timedelta): pa.duration("us"),
    ("bytea", bytes): pa.binary(),
    ("uuid", str): pa.string(),
    ("numeric", int): pa.int64(),
    ("numeric", float): pa.float64(),
    **{(name, int): pa.int64() for name in (*_INTEGERS, *_FLOATS)},
    **{(name, float): pa.float64() for name in (*_INTEGERS, *_FLOATS)},
    **{(name, str): pa.string() for name in (*_TEXTS, "jsonb")},
}


def from_python(values: Sequence[Any], column: Column) -> pa.Array:
    """Return these Python values as an Arrow array. Raises `NotBinaryError` unless they are of one type."""
    types = set(map(type, values))
    types.discard(type(None))
    if not types:
        return pa.nulls(len(values))
    if len(types) > 1:
        raise NotBinaryError
    kind = types.pop()
    try:
        if kind is uuid.UUID and column.type == "uuid":
            return pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
        if kind is dict and column.type in ("json", "jsonb"):
            return pa.array(json_texts(values), pa.string())
        if kind is Decimal and column.type == "numeric":
            return pa.array([None if value is None else str(value) for value in values], pa.string())
        if (column.type, kind) not in _PYTHON:
            raise NotBinaryError
        if kind is dt.datetime and not same_kind_of_time(values, aware=column.type == "timestamptz"):
            raise NotBinaryError
        return pa.array(values, _PYTHON[column.type, kind])
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise NotBinaryError from error
