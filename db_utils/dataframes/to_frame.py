"""Output frames: results as pandas, polars or Arrow, with the usual types."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db_utils.dataframes.read import Result
from db_utils.errors import ConfigurationError, InvalidDataError, InvalidInputError

Backend: TypeAlias = Literal["pandas", "polars", "arrow"]
Decimals: TypeAlias = Literal["float", "decimal"]

_MOST_DIGITS = 76
_HEX_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
_GROUPS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))  # the digits between the dashes of a uuid


def to_frame(
    result: Result, backend: Backend, *, decimals: Decimals, categories: Collection[str], timezone: str
) -> Any:
    """Convert this result to the types that `read_frame` promises."""
    unknown = [name for name in categories if name not in result.table.column_names]
    if unknown:
        raise InvalidInputError(f"there is no column {unknown[0]} for categories")
    columns = []
    for name, kind, column in zip(result.table.column_names, result.types, result.table.columns, strict=True):
        try:
            column = _typed(_plain(column, backend), kind, decimals, timezone)
        except pa.ArrowException as error:
            raise InvalidDataError(
                f"column {name} of the result does not fit into a frame: {error}"
            ) from error
        columns.append(column.dictionary_encode() if name in categories else column)
    table = pa.table(columns, names=result.table.column_names)
    if backend == "arrow":
        return table
    return _to_polars(table) if backend == "polars" else _to_pandas(table)


def _plain(column: pa.ChunkedArray, backend: Backend) -> pa.ChunkedArray:
    """Remove extension types; uuids stay for Arrow, and become text for the others."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return (
            column
            if backend == "arrow"
            else _chunked([_uuid_texts(chunk) for chunk in column.chunks], pa.string())
        )
    if pa.types.is_list(kind) and isinstance(kind.value_type, pa.BaseExtensionType):
        return _chunked([_plain_list(chunk) for chunk in column.chunks], pa.list_(pa.string()))
    if isinstance(kind, pa.BaseExtensionType):
        return _chunked([chunk.storage for chunk in column.chunks], kind.storage_type)
    return column


def _chunked(chunks: list[pa.Array], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array(chunks, kind)


def _plain_list(array: pa.Array) -> pa.Array:
    values = array.values
    values = _uuid_texts(values) if isinstance(values.type, pa.UuidType) else values.storage
    offsets = pa.array(array.offsets.to_numpy(), mask=np.append(pc.is_null(array).to_numpy(False), False))
    return pa.ListArray.from_arrays(offsets, values)


def _uuid_texts(array: pa.Array) -> pa.Array:
    """Convert UUIDs to texts of 36 characters."""
    count, storage = len(array), array.storage
    data = np.frombuffer(storage.buffers()[1] or b"", np.uint8)[
        storage.offset * 16 : (storage.offset + count) * 16
    ]
    digits = _HEX_PAIRS[data].view(np.uint8).reshape(count, 32)
    texts = np.empty((count, 36), np.uint8)
    for dashes, (first, last) in enumerate(_GROUPS):
        texts[:, first + dashes : last + dashes] = digits[:, first:last]
        texts[:, last + dashes : last + dashes + 1] = ord("-")
    offsets = np.arange(0, (count + 1) * 36, 36, dtype=np.int32)
    whole = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(texts)])
    return pc.if_else(pc.is_valid(array), whole, None) if array.null_count else whole


def _typed(column: pa.ChunkedArray, kind: str, decimals: Decimals, timezone: str) -> pa.ChunkedArray:
    if kind == "numeric":
        return column.cast(pa.float64()) if decimals == "float" else _decimals(column)
    if kind == "_numeric":
        inner = pa.float64() if decimals == "float" else _decimals(pc.list_flatten(column)).type
        return column.cast(pa.list_(inner))
    if pa.types.is_interval(column.type):
        return _chunked([_durations(chunk) for chunk in column.chunks], pa.duration("us"))
    if kind == "timestamptz" and timezone != "UTC":
        return column.cast(pa.timestamp("us", timezone))
    return column


def _decimals(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert to exact decimals, with as many places as the longest value has."""
    if pc.any(pc.match_substring_regex(texts, "[a-zA-Z]")).as_py():
        raise InvalidDataError("NaN and infinity are not decimals: read the frame with decimals='float'")
    points = pc.find_substring(texts, ".")
    places = pc.if_else(pc.less(points, 0), 0, pc.subtract(pc.subtract(pc.binary_length(texts), points), 1))
    scale = pc.max(places).as_py() or 0
    longest = pc.max(pc.subtract(pc.binary_length(texts), places)).as_py() or 0
    digits = longest + scale
    if digits > _MOST_DIGITS:
        raise InvalidDataError(f"decimals of {digits} digits do not fit into a frame: round them in SQL")
    kind = pa.decimal128(38, scale) if digits <= 38 else pa.decimal256(_MOST_DIGITS, scale)
    return texts.cast(kind)


def _durations(array: pa.Array) -> pa.Array:
    """Convert intervals to durations; a month is 30 days, as in psycopg2."""
    parts = np.frombuffer(
        array.buffers()[1] or b"", np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
    )[array.offset : array.offset + len(array)]
    days = parts["months"].astype(np.int64) * 30 + parts["days"]
    microseconds = days * 86_400_000_000 + parts["nanoseconds"] // 1000
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    return pa.array(microseconds, mask=missing).cast(pa.duration("us"))


# -- the libraries ---------------------------------------------------------------------------------------------


def _to_polars(table: pa.Table) -> Any:
    try:
        import polars
    except ImportError as error:
        raise ConfigurationError('this needs polars: pip install "barnameh-db-utils[frames]"') from error
    return polars.from_arrow(table)


def _to_pandas(table: pa.Table) -> Any:
    """Keep integers and booleans with NULLs as Int64 and boolean instead of floats and objects."""
    try:
        import pandas
    except ImportError as error:
        raise ConfigurationError('this needs pandas: pip install "barnameh-db-utils[frames]"') from error
    gaps = {
        pa.int16(): pandas.Int16Dtype(),
        pa.int32(): pandas.Int32Dtype(),
        pa.int64(): pandas.Int64Dtype(),
        pa.bool_(): pandas.BooleanDtype(),
    }
    with_gaps = [name for name in table.column_names if table[name].null_count and table[name].type in gaps]
    if not with_gaps:
        return table.to_pandas(date_as_object=False)
    frame = table.drop_columns(with_gaps).to_pandas(date_as_object=False)
    for name in with_gaps:
        series = table[name].to_pandas(types_mapper=gaps.get)
        frame.insert(table.column_names.index(name), name, series)
    return frame


def check_options(backend: object, decimals: object, categories: object, timezone: object) -> None:
    """Raise `InvalidInputError` for options that do not exist."""
    if backend not in ("pandas", "polars", "arrow"):
        raise InvalidInputError(f"backend is {backend!r}: give 'pandas', 'polars' or 'arrow'")
    if decimals not in ("float", "decimal"):
        raise InvalidInputError(f"decimals is {decimals!r}: give 'float' or 'decimal'")
    if isinstance(categories, str) or not isinstance(categories, Collection):
        raise InvalidInputError("categories must be a list of column names")
    try:
        pa.scalar(0, pa.timestamp("us", str(timezone))).as_py()
    except (pa.ArrowException, ValueError, TypeError, KeyError, OSError):
        raise InvalidInputError(
            f"timezone is {reprlib.repr(timezone)}: give the name of a time zone such as 'Europe/Paris'"
        ) from None


def with_columns_of(frame: Any, column: str, prefix: str, names: Sequence[str] | None = None) -> Any:
    """Replace `column` of JSON objects by one column of floats per key.

    `names` are the keys (None: all that occur), each named `prefix` and its key; missing values are NULL.
    """
    is_pandas, is_polars = hasattr(frame, "iloc"), hasattr(frame, "get_columns")
    texts = (
        frame[column].tolist()
        if is_pandas
        else frame[column].to_list()
        if is_polars
        else frame[column].to_pylist()
    )
    objects = [json.loads(text) if isinstance(text, str) else text or {} for text in texts]
    keys = sorted({key for each in objects for key in each}) if names is None else list(names)
    place = list(frame.columns if is_pandas or is_polars else frame.column_names).index(column)
    found = {
        f"{prefix}{key}": pa.array([_number(each.get(key)) for each in objects], pa.float64()) for key in keys
    }
    if is_pandas:
        frame = frame.drop(columns=[column])
        for number, (name, values) in enumerate(found.items()):
            frame.insert(place + number, name, values.to_pandas())
        return frame
    if is_polars:
        import polars

        frame = frame.drop(column)
        for number, (name, values) in enumerate(found.items()):
            frame.insert_column(place + number, polars.Series(name, values))
        return frame
    frame = frame.drop_columns([column])
    for number, (name, values) in enumerate(found.items()):
        frame = frame.add_column(place + number, name, values)
    return frame


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
