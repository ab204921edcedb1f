"""Write Parquet and Arrow files in batches. Decimals stay exact, with the scale that the rows need."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg2 import sql

from db_utils.copy.target_table import Column, TargetTable, plain_cursor
from db_utils.errors import InvalidDataError
from db_utils.files.columnar_reader import arrow
from db_utils.files.options import ExportOptions, Format
from db_utils.files.text_writer import cell

_BATCH_ROWS = 10_000
_GROUP_ROWS = 100_000
_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"


def write(
    connection: Any,
    stream: Any,
    target: TargetTable,
    source: sql.Composable,
    columns: Sequence[str],
    where: sql.Composable,
    order: Sequence[str],
    kind: Format,
    options: ExportOptions,
) -> int:
    """Write the rows of the source `r` with the target's columns, in one snapshot; return how many."""
    pa = arrow()
    picked = target.pick(columns)
    scales = _scales(connection, source, [c for c in picked if c.type == "numeric"], where)
    schema = pa.schema([pa.field(c.name, _arrow_type(pa, c, scales.get(c.name))) for c in picked])
    select = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(map(_selected, picked)), source, where
    )
    if order:
        select += sql.SQL(" ORDER BY {}").format(
            sql.SQL(", ").join(sql.Identifier("r", name) for name in order)
        )
    rows = 0
    with _writer(pa, stream, schema, kind) as writer, connection.cursor(name="export_rows") as cursor:
        cursor.itersize = _BATCH_ROWS
        cursor.execute(select)
        gathered: list[Any] = []
        for batch in _batches(pa, cursor, schema):
            rows += batch.num_rows
            gathered.append(batch)
            if sum(b.num_rows for b in gathered) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(gathered, schema))
                gathered = []
        if gathered:
            writer.write_table(pa.Table.from_batches(gathered, schema))
    return rows


def _batches(pa: Any, cursor: Any, schema: Any) -> Iterator[Any]:
    while rows := _fetched(cursor):
        arrays = []
        for values, item in zip(zip(*rows, strict=True), schema, strict=True):
            if pa.types.is_decimal(item.type):
                arrays.append(pa.array(values, pa.string()).cast(item.type))
            elif pa.types.is_timestamp(item.type):
                arrays.append(pa.array(values, pa.int64()).cast(item.type))
            else:
                arrays.append(pa.array(values, item.type))
        yield pa.record_batch(arrays, schema)


def _fetched(cursor: Any) -> list[tuple[Any, ...]]:
    try:
        rows: list[tuple[Any, ...]] = cursor.fetchmany(_BATCH_ROWS)
    except ValueError as error:  # a date BC or after the year 9999
        raise InvalidDataError(
            f"a value does not fit this format ({error}): export as CSV or JSON Lines"
        ) from error
    return rows


def _selected(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type == "timestamptz":
        return sql.SQL(_MICROSECONDS).format(name)
    if column.type in ("numeric", "uuid", "json", "jsonb", "interval"):
        return sql.SQL("{}::text").format(name)
    if column.element is not None:
        return sql.SQL("{}::text[]").format(name)
    return name


def _arrow_type(pa: Any, column: Column, scale: int | None) -> Any:
    if column.type == "numeric":
        return pa.string() if scale is None else pa.decimal128(38, scale)
    if column.element is not None:
        return pa.list_(pa.string())
    known = {
        "timestamptz": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
        "bool": pa.bool_(),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "float4": pa.float32(),
        "float8": pa.float64(),
    }
    return known.get(column.type, pa.string())


def _scales(
    connection: Any, source: sql.Composable, columns: Sequence[Column], where: sql.Composable
) -> dict[str, int | None]:
    """Return each column's decimal places; None if its numbers exceed 38 digits (they are then text)."""
    if not columns:
        return {}
    asked = [
        sql.SQL(
            "coalesce(max(scale({0})), 0), coalesce(max(length(trunc(abs({0}))::text)), 0), "
            "coalesce(bool_or({0} IN ('NaN', 'Infinity', '-Infinity')), false)"
        ).format(sql.Identifier(c.name))
        for c in columns
    ]
    with plain_cursor(connection) as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {} WHERE {}").format(sql.SQL(", ").join(asked), source, where))
        found = cursor.fetchone()
    told = zip(columns, found[::3], found[1::3], found[2::3], strict=True)
    return {c.name: None if odd or scale + digits > 38 else scale for c, scale, digits, odd in told}


class _ArrowWriter:
    """An Arrow IPC file with the interface of Parquet's writer."""

    def __init__(self, pa: Any, stream: Any, schema: Any) -> None:
        self._writer = pa.ipc.new_file(stream, schema)

    def __enter__(self) -> _ArrowWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    def write_table(self, table: Any) -> None:
        self._writer.write_table(table)


def _writer(pa: Any, stream: Any, schema: Any, kind: Format) -> Any:
    if kind == "arrow":
        return _ArrowWriter(pa, stream, schema)
    return pa.parquet.ParquetWriter(stream, schema, compression="zstd")


def write_dicts(stream: Any, rows: Sequence[dict[str, Any]], kind: Format) -> None:
    """Write the rows of a prebuilt query; documents, lists and intervals become text."""
    pa = arrow()
    names = list(rows[0]) if rows else []
    try:
        table = pa.table({name: [_plain(row[name]) for row in rows] for name in names})
    except pa.ArrowException as error:
        raise InvalidDataError(f"the result does not fit into a {kind} file: {error}") from error
    with _writer(pa, stream, table.schema, kind) as writer:
        writer.write_table(table)


def _plain(value: Any) -> Any:
    return cell(value) if isinstance(value, (dict, list, uuid.UUID, dt.timedelta)) else value
