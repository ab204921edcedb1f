"""Input frames: pandas, polars and Arrow as columns, in batches of rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from db_utils.copy.arrow_values import python_values
from db_utils.copy.copy_stream import Chunk
from db_utils.copy.target_table import Column
from db_utils.errors import InvalidInputError

_KINDS = "a DataFrame of pandas or polars, or an Arrow table, record batch or reader"


class FrameSource:
    """The rows of a frame. `names` are its columns; each table is columns as Arrow data or lists of Python values."""

    def __init__(self, names: list[str], tables: Iterable[Sequence[Any]]) -> None:
        _check_names(names)
        self.names = names
        self.is_whole = isinstance(tables, list)
        """Whether all rows are in memory; else they are read while sending."""
        self._tables = iter(tables)
        self._table: Sequence[Any] = ()
        self._start = self._length = 0

    def mapped(self, convert: Callable[[Sequence[Any]], Sequence[Any]], names: list[str]) -> FrameSource:
        """Return a frame of these columns, each table converted: now, or when its rows are read."""
        converted = map(convert, self._tables)
        return FrameSource(names, list(converted) if self.is_whole else converted)

    def take(self, count: int) -> Chunk | None:
        """Return the next rows; None at the end."""
        while self._start >= self._length:
            table = next(self._tables, None)
            if table is None:
                return None
            self._table, self._start, self._length = table, 0, len(table[0])
        start, self._start = self._start, min(self._start + count, self._length)
        return FrameChunk([_cut(column, start, self._start - start) for column in self._table])


class FrameChunk:
    """Some rows of a frame."""

    def __init__(self, columns: list[Any]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def columns(self) -> Sequence[Any]:
        """Return the columns, as Arrow arrays or lists of Python values."""
        return self._columns

    def rows(self) -> Sequence[Any]:
        """Return the rows, as tuples of Python values."""
        return list(zip(*map(_python_values, self._columns), strict=True))


def _cut(column: Any, start: int, count: int) -> Any:
    if isinstance(column, pa.ChunkedArray):
        chunks = column.slice(start, count).chunks
        return chunks[0] if len(chunks) == 1 else pa.concat_arrays(_alike(chunks))
    return column.slice(start, count) if isinstance(column, pa.Array) else column[start : start + count]


def _alike(chunks: list[Any]) -> list[Any]:
    if len(chunks) > 1 and pa.types.is_dictionary(chunks[0].type):
        return [chunk.dictionary_decode() for chunk in chunks]
    return chunks


def _python_values(column: Any) -> list[Any]:
    return python_values(column) if isinstance(column, pa.Array) else list(column)


def _check_names(names: list[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise InvalidInputError(
                f"the columns of the frame must be named like those of the table, not {name!r}"
            )
        if names.count(name) > 1:
            raise InvalidInputError(f"the frame has two columns named {name}")
    if not names:
        raise InvalidInputError("the frame has no columns")


def from_frame(frame: Any) -> FrameSource:
    """Return this frame as a source of rows. Raises `InvalidInputError` for anything else.

    A missing value (None, NaN, NaT or NA) of pandas is NULL. In polars and Arrow null is NULL and NaN is NaN. Named
    levels of a pandas index are columns too; an index without name is left out.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(frame, pandas.DataFrame):
        return _open_pandas(pandas, frame)
    if polars is not None and isinstance(frame, polars.DataFrame):
        columns = [_from_polars(polars, series) for series in frame.get_columns()]
        return FrameSource(frame.columns, [columns] if columns else [])
    if isinstance(frame, (pa.Table, pa.RecordBatch)):
        return FrameSource(frame.schema.names, [frame.columns] if frame.num_columns else [])
    if polars is not None and isinstance(frame, polars.LazyFrame):
        raise InvalidInputError("this frame is lazy: call its collect() first")
    if isinstance(frame, type) or not hasattr(frame, "__arrow_c_stream__"):
        raise InvalidInputError(f"a frame must be {_KINDS}, not {type(frame).__name__}")
    try:
        reader = pa.RecordBatchReader.from_stream(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInputError(f"a frame must be {_KINDS}: {error}") from None
    return FrameSource(reader.schema.names, _batches(reader))


def _batches(reader: Any) -> Iterator[Sequence[Any]]:
    for batch in reader:
        yield batch.columns


def _open_pandas(pandas: Any, frame: Any) -> FrameSource:
    names = [name for name in frame.index.names if name is not None]
    columns = [_from_pandas(pandas, frame.index.get_level_values(name).to_series()) for name in names]
    for place, name in enumerate(frame.columns):
        names.append(name)
        columns.append(_from_pandas(pandas, frame.iloc[:, place]))
    return FrameSource(names, [columns] if columns else [])


def _from_pandas(pandas: Any, series: Any) -> Any:
    if series.dtype != object:
        try:
            array = pa.Array.from_pandas(series)
        except (pa.ArrowException, TypeError, ValueError):
            array = None
        if array is not None and not _foreign(array.type):
            return array
    try:
        missing = series.isna().to_numpy()
    except ArithmeticError:  # pandas compares a Decimal with itself, which a signalling NaN does not allow
        raise InvalidInputError(
            f"column {series.name} of the frame contains a signalling NaN: give NaN"
        ) from None
    return [None if absent else value for absent, value in zip(missing, series.tolist(), strict=True)]


def _foreign(kind: pa.DataType) -> bool:
    """Whether this is a pandas type whose storage has another meaning (periods, intervals)."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("pandas.")


def _from_polars(polars: Any, series: Any) -> Any:
    return series.to_list() if series.dtype == polars.Object else series.to_arrow()


def check_types(source_columns: Sequence[Any], columns: Sequence[Column]) -> None:
    """Raise `InvalidInputError` if the times of a column do not fit the target's type."""
    for data, column in zip(source_columns, columns, strict=True):
        kind = getattr(data, "type", None)
        if kind is None or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            continue
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        if column.type == "timestamptz" and pa.types.is_date(kind):
            raise InvalidInputError(
                f"column {column.name}: the frame has dates, but the column has times: give the time at which each day begins at "
                "its location, with its time zone"
            )
        if column.type == "timestamptz" and zone is None:
            raise InvalidInputError(
                f"column {column.name}: the frame's times have no time zone: give them one first "
                "(pandas: .dt.tz_localize('UTC'), polars: .dt.replace_time_zone('UTC'))"
            )
        if column.type == "timestamp" and zone is not None:
            raise InvalidInputError(
                f"column {column.name}: the frame's times have a time zone, the column has none: drop it first"
            )
        if column.type == "date" and zone is not None:
            raise InvalidInputError(
                f"column {column.name}: the day of a time depends on its location: convert to dates first"
            )
        if column.type == "date" and pa.types.is_timestamp(kind):
            _check_midnight(data, column)


def _check_midnight(data: Any, column: Column) -> None:
    day = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[data.type.unit] * 86_400
    values = data.cast(pa.int64())
    rest = pc.subtract(values, pc.multiply(pc.divide(values, day), day))
    if pc.any(pc.not_equal(rest, 0)).as_py():
        raise InvalidInputError(
            f"column {column.name}: the frame's times are not at midnight, but the column has dates"
        )
