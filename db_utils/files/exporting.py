"""A table, a view or a prebuilt query into a file: streamed from one snapshot, there when it is whole, to be imported again."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from psycopg2 import sql

from db_utils.connections.manager import DatabaseManager, connection_for_one_transaction
from db_utils.copy.target_table import TargetTable, plain_cursor, translated_errors
from db_utils.errors import InvalidInputError
from db_utils.files import columnar_writer, query_calls, text_writer
from db_utils.files.options import ExportOptions, Format, check_period, format_of
from db_utils.files.relations import SECRET, Relation, exportable, organization_named
from db_utils.files.whole_file import opened
from db_utils.values import RowProgress

_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, MDY'; "
    "SET LOCAL intervalstyle = 'postgres'"
)


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    source: str
    """The relation or the prebuilt query."""
    file: str
    format: Format
    rows: int
    bytes: int
    """Before packing with gzip."""
    seconds: float


class Counted:
    """A stream that knows how much was written to it."""

    def __init__(self, stream: IO[bytes], progress: RowProgress | None) -> None:
        self._stream = stream
        self._progress = progress
        self.count = 0

    closed = False

    def write(self, data: Any) -> int:
        """Write it."""
        self._stream.write(data)
        self.count += len(data)
        if self._progress is not None:
            self._progress(self.count)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""


def export_relation(
    db: DatabaseManager,
    relation: str,
    out: str | Path,
    *,
    organization: str | None,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    time_column: str | None = None,
    columns: Sequence[str] = (),
    options: ExportOptions | None = None,
    progress: RowProgress | None = None,
) -> ExportResult:
    """Export a table, view or rollup and return what was written.

    `out` is a file, or `-` for standard output. `organization` is an id or exact name, None for all. The period
    `start` <= time < `end` (aware, either may be None) is on `time_column`, by default the relation's own. Tables are
    ordered by their key, views by their time. Times are UTC; numbers, JSON and lists are exact. Streamed in constant memory;
    the file takes its name when it is whole.

    Raises `InvalidInputError` for what cannot be written or asked, `NotFoundError` for an unknown relation or organization.
    """
    options = options or ExportOptions()
    kind, packed = _how(str(out), options)
    check_period(start, end)
    started = time.monotonic()
    with connection_for_one_transaction(db) as connection, translated_errors():
        with plain_cursor(connection) as cursor:
            cursor.execute(_SETTINGS)
        found = exportable(connection, relation)
        names = _columns(found, columns)
        period = _period(found, start, end, time_column)
        conditions = [period] if period is not None else []
        if organization is not None:
            identifier = organization_named(connection, organization)
            conditions.append(sql.SQL("organization_id = {}").format(sql.Literal(identifier)))
        where = sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")
        order = found.keys[0] if found.keys else [c for c in [found.time_column] if c is not None]
        with opened(str(out), compress=packed) as file:
            stream = Counted(file, progress)
            write = columnar_writer.write if kind in ("parquet", "arrow") else text_writer.write
            rows = write(connection, stream, found.target, names, where, order, kind, options)
    return ExportResult(relation, str(out), kind, rows, stream.count, round(time.monotonic() - started, 3))


def export_query(
    db: DatabaseManager,
    method: str,
    out: str | Path,
    *,
    organization: str | None,
    parameters: Mapping[str, str] | None = None,
    options: ExportOptions | None = None,
    progress: RowProgress | None = None,
) -> ExportResult:
    """Export the rows of a prebuilt query (`get_…`) and return what was written.

    `parameters` are its arguments as text; each is read as its type hint says. Raises `InvalidInputError` for one that it
    does not take, `NotFoundError` for an unknown query or organization, and what the query itself raises.
    """
    options = options or ExportOptions()
    kind, packed = _how(str(out), options)
    started = time.monotonic()
    if organization is not None:
        with connection_for_one_transaction(db) as connection, translated_errors():
            organization = organization_named(connection, organization)
    rows = query_calls.call(db, method, organization, parameters or {})
    with opened(str(out), compress=packed) as file:
        stream = Counted(file, progress)
        if kind in ("parquet", "arrow"):
            columnar_writer.write_dicts(stream, rows, kind)
        else:
            text_writer.write_dicts(stream, rows, kind, options)
    return ExportResult(method, str(out), kind, len(rows), stream.count, round(time.monotonic() - started, 3))


def _how(out: str, options: ExportOptions) -> tuple[Format, bool]:
    kind = options.format or format_of(out)
    if kind is None:
        raise InvalidInputError(
            f"the name {out} tells no format: end it in .csv, .jsonl, .parquet or .arrow, or say --format"
        )
    packed = out.lower().endswith(".gz") if options.gzip is None else options.gzip
    if packed and kind in ("parquet", "arrow"):
        raise InvalidInputError(f"{kind} files are compressed inside: leave out gzip")
    if options.escape_formulas and kind != "csv":
        raise InvalidInputError(f"escape_formulas is for CSV: in {kind} a text is a text")
    return kind, packed


def _columns(relation: Relation, asked: Sequence[str]) -> list[str]:
    if asked:
        return [column.name for column in relation.target.pick(list(dict.fromkeys(asked)))]
    return [name for name in relation.target.columns if name not in SECRET]


def _period(
    relation: Relation, start: dt.datetime | None, end: dt.datetime | None, column: str | None
) -> sql.Composable | None:
    if start is None and end is None and column is None:
        return None
    column = column or relation.time_column
    if column is None:
        raise InvalidInputError(f"{relation.name} has no column of time that a period could be about")
    _check_time(relation.target, column)
    parts = [
        sql.SQL(f"{{}} {sign} {{}}").format(sql.Identifier(column), sql.Literal(moment))
        for sign, moment in ((">=", start), ("<", end))
        if moment is not None
    ]
    return sql.SQL(" AND ").join(parts) if parts else None


def _check_time(target: TargetTable, column: str) -> None:
    if target.pick([column])[0].type not in ("timestamptz", "date"):
        raise InvalidInputError(f"{column} of {target.name} is no time: a period cannot be about it")
