"""Rows of Parquet and Arrow files. Needs pyarrow, of the extra `frames`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from db_utils.errors import ConfigurationError, InvalidInputError
from db_utils.transfer.options import Format
from db_utils.transfer.reading import Opened, Record

_BATCH_ROWS = 10_000


def arrow() -> Any:
    """The pyarrow package. Raises `ConfigurationError` that says how to install it."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            'Parquet and Arrow files need pyarrow: pip install "barnameh-db-utils[frames]"'
        ) from error
    return pa


def open_columnar(file: Opened, kind: Format) -> ColumnarSource:
    """The rows of this Parquet or Arrow file. Raises `InvalidInputError` where it is none."""
    return ColumnarSource(file, kind)


class ColumnarSource:
    """A Parquet or Arrow IPC file; its rows are numbered from 1."""

    is_text = False
    json_is_native = False

    def __init__(self, file: Opened, kind: Format) -> None:
        self.name = file.name
        self._file = file
        self._kind = kind
        self._pa = arrow()
        self._read = 0
        self._count, schema = self._opened()
        self.header = list(schema.names)
        if len(set(self.header)) != len(self.header):
            raise InvalidInputError(f"{self.name} has two columns of the same name: rename one of them")

    def _opened(self) -> tuple[int, Any]:
        try:
            if self._kind == "parquet":
                with self._pa.parquet.ParquetFile(self._file.path) as parquet:
                    return parquet.metadata.num_rows, parquet.schema_arrow
            with self._pa.OSFile(str(self._file.path)) as stream, self._pa.ipc.open_file(stream) as found:
                rows = sum(found.get_batch(place).num_rows for place in range(found.num_record_batches))
                return rows, found.schema
        except self._pa.ArrowException as error:
            raise InvalidInputError(f"{self.name} is not a {self._kind} file: {error}") from error

    def position(self) -> int:
        """How many bytes of the file have been read, by its share of rows."""
        return self._file.size * self._read // max(1, self._count)

    def records(self) -> Iterator[Record]:
        """Every row with its number."""
        self._read = 0
        try:
            for batch in self._batches():
                columns = [self._values(column) for column in batch.columns]
                for number, row in enumerate(zip(*columns, strict=True), self._read + 1):
                    yield number, list(row)
                self._read += batch.num_rows
        except self._pa.ArrowException as error:
            raise InvalidInputError(f"{self.name} cannot be read: {error}") from error

    def _batches(self) -> Iterator[Any]:
        if self._kind == "parquet":
            with self._pa.parquet.ParquetFile(self._file.path) as parquet:
                yield from parquet.iter_batches(_BATCH_ROWS)
            return
        with self._pa.OSFile(str(self._file.path)) as stream, self._pa.ipc.open_file(stream) as found:
            for place in range(found.num_record_batches):
                batch = found.get_batch(place)
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS)

    def _values(self, column: Any) -> list[Any]:
        kind = column.type
        if self._pa.types.is_timestamp(kind):
            # Python knows no nanoseconds, and neither does PostgreSQL.
            column = column.cast(self._pa.timestamp("us", kind.tz), safe=False)
        values: list[Any] = column.to_pylist()
        return values
