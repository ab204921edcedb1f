"""Rows of Parquet and Arrow files. Needs pyarrow, of the extra `frames`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from db_utils.errors import ConfigurationError, InvalidInputError
from db_utils.files.options import Format
from db_utils.files.readers import Opened, Record, check_column_count
from db_utils.text_keys import text_key

_BATCH_ROWS = 10_000
_MOST_GROWTH = 100
_ALWAYS_READ_BYTES = 256 * 1024**2
_VALUE_CHARACTERS = 16 * 1024**2
"""Maximum length of a text value; see `readers`."""


def arrow() -> Any:
    """Return the pyarrow package. Raises `ConfigurationError` that says how to install it."""
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            'Parquet and Arrow files need pyarrow: pip install "barnameh-db-utils[frames]"'
        ) from error
    return pa


def open_columnar(file: Opened, kind: Format) -> ColumnarSource:
    """Open this Parquet or Arrow file. Raises `InvalidInputError` if it is not one."""
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
        self.header = [text_key(name) for name in schema.names]
        check_column_count(self.name, len(self.header))
        if len(set(self.header)) != len(self.header):
            raise InvalidInputError(f"{self.name} has two columns of the same name: rename one of them")

    def _opened(self) -> tuple[int, Any]:
        try:
            if self._kind == "parquet":
                with self._pa.parquet.ParquetFile(self._file.path) as parquet:
                    self._check_growth(parquet.metadata)
                    schema = parquet.schema_arrow
                    self._texts = [f.name for f in schema if self._is_text(f.type)]
                    return parquet.metadata.num_rows, schema
            with self._pa.OSFile(str(self._file.path)) as stream, self._pa.ipc.open_file(stream) as found:
                rows = sum(found.get_batch(place).num_rows for place in range(found.num_record_batches))
                return rows, found.schema
        except (self._pa.ArrowException, MemoryError) as error:
            raise InvalidInputError(f"{self.name} is not a {self._kind} file: {error}") from error

    def _is_text(self, kind: Any) -> bool:
        return bool(self._pa.types.is_string(kind) or self._pa.types.is_binary(kind))

    def _check_growth(self, metadata: Any) -> None:
        """Raise `InvalidInputError` for an excessive compression ratio: all bytes would be in memory."""
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            for place in range(metadata.num_columns):
                column = row_group.column(place)
                size, packed = column.total_uncompressed_size, max(1, column.total_compressed_size)
                if size > _ALWAYS_READ_BYTES and size > _MOST_GROWTH * packed:
                    raise InvalidInputError(
                        f"{self.name}: column {column.path_in_schema} unpacks to {size:,} bytes in one row group, "
                        f"{size // packed:,} times its size: write it in smaller row groups"
                    )

    def position(self) -> int:
        """Number of bytes of the file read so far, estimated by its share of rows."""
        return self._file.size * self._read // max(1, self._count)

    def records(self) -> Iterator[Record]:
        """Yield every row with its number."""
        self._read = 0
        try:
            for batch in self._batches():
                columns = [self._values(column) for column in batch.columns]
                for number, row in enumerate(zip(*columns, strict=True), self._read + 1):
                    yield number, list(row)
                self._read += batch.num_rows
        except (self._pa.ArrowException, MemoryError) as error:
            raise InvalidInputError(f"{self.name} cannot be read: {error}") from error

    def _batches(self) -> Iterator[Any]:
        if self._kind == "parquet":
            # Texts stay in their dictionary: a long one in every row is in memory only once.
            with self._pa.parquet.ParquetFile(self._file.path, read_dictionary=self._texts) as parquet:
                yield from parquet.iter_batches(_BATCH_ROWS)
            return
        with self._pa.OSFile(str(self._file.path)) as stream, self._pa.ipc.open_file(stream) as found:
            for place in range(found.num_record_batches):
                batch = found.get_batch(place)
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS)

    def _values(self, column: Any) -> list[Any]:
        kind = column.type
        if self._pa.types.is_dictionary(kind):
            known = [*self._values(column.dictionary), None]
            return [known[-1 if place is None else place] for place in column.indices.to_pylist()]
        if self._is_text(kind) and any(map(_VALUE_CHARACTERS.__lt__, self._lengths(column))):
            raise InvalidInputError(
                f"{self.name} contains a text of more than {_VALUE_CHARACTERS // 1024**2} million characters, more than a row may have"
            )
        if self._pa.types.is_timestamp(kind):
            # Neither Python nor PostgreSQL has nanoseconds.
            column = column.cast(self._pa.timestamp("us", kind.tz), safe=False)
        from db_utils.copy.arrow_values import python_values

        return python_values(column)

    def _lengths(self, column: Any) -> list[int]:
        longest = self._pa.compute.max(self._pa.compute.binary_length(column)).as_py()
        return [longest or 0]
