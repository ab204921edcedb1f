"""Export of a table, view or prebuilt query to a file: streamed from one snapshot, visible once complete."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from psycopg2 import sql

from db_utils.connections.manager import DatabaseManager, connection_for_one_transaction
from db_utils.copy.target_table import Column, TargetTable, plain_cursor, translated_errors
from db_utils.errors import InvalidInputError
from db_utils.files import columnar_writer, query_calls, text_writer
from db_utils.files.options import ExportOptions, Format, check_period, format_of
from db_utils.files.relations import SECRET, Relation, exportable, organization_named
from db_utils.files.whole_file import opened
from db_utils.text_keys import CODED
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
    """A stream that counts the bytes written to it."""

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
        """Do nothing: writes are not buffered."""


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

    `out` is a file, or `-` for standard output. `organization` is an id or exact name, None for all. The
    period `start` <= time < `end` (aware, either may be None) applies to `time_column`, by default the
    relation's. Rows are in order of time, then of their key. Times are UTC; numbers, JSON and lists are
    exact. Each location_id, resource_id, employee_id and shift_id is followed by its code, unless `columns`
    are named. Streamed in constant memory; the file gets its name once it is complete.

    Raises `InvalidInputError` for invalid options, `NotFoundError` for an unknown relation or organization.
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
        source, codes = _with_codes(found, bool(columns))
        names = _beside_ids(names, codes)
        target = replace(found.target, columns={**found.target.columns, **codes})
        with opened(str(out), compress=packed) as file:
            stream = Counted(file, progress)
            write = columnar_writer.write if kind in ("parquet", "arrow") else text_writer.write
            rows = write(connection, stream, target, source, names, where, _order(found), kind, options)
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

    `parameters` are its arguments as text, each parsed by its type hint. Raises `InvalidInputError` for an
    unknown parameter or invalid value, `NotFoundError` for an unknown query or organization, and the query's
    own errors.
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
            f"the name {out} does not indicate a format: end it in .csv, .jsonl, .parquet or .arrow, or use --format"
        )
    packed = out.lower().endswith(".gz") if options.gzip is None else options.gzip
    if packed and kind in ("parquet", "arrow"):
        raise InvalidInputError(f"{kind} files are compressed internally: leave out gzip")
    if options.escape_formulas and kind != "csv":
        raise InvalidInputError(f"escape_formulas is for CSV only: {kind} needs no escaping")
    return kind, packed


def _columns(relation: Relation, asked: Sequence[str]) -> list[str]:
    if asked:
        return [column.name for column in relation.target.pick(list(dict.fromkeys(asked)))]
    return [name for name in relation.target.columns if name not in SECRET]


def _order(relation: Relation) -> list[str]:
    """Return the order: by time if there is one, then by key."""
    key = relation.keys[0] if relation.keys else []
    time = relation.time_column
    if time is None or (time == "created_at" and relation.name != "alerts"):
        return key
    return [time, *(column for column in key if column != time)]


def _with_codes(relation: Relation, are_named: bool) -> tuple[sql.Composable, dict[str, Column]]:
    """Return the source of the rows, as `r`, and the added code columns; none if columns were named."""
    target, joins, codes = relation.target, [], {}
    if "organization_id" in target.columns and not are_named:
        for identifier, thing in CODED.items():
            code = f"{thing}_code"
            if identifier in target.columns and code not in target.columns and f"{thing}s" != relation.name:
                codes[code] = Column(code, "text", "text", None, "text")
                joins.append(
                    sql.SQL(
                        " LEFT JOIN public.{table} AS {table} ON {table}.organization_id = t.organization_id AND {table}.{id} = t.{id}"
                    ).format(table=sql.Identifier(f"{thing}s"), id=sql.Identifier(identifier))
                )
    own = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in target.columns]
    theirs = [sql.Identifier(f"{code.removesuffix('_code')}s", code) for code in codes]
    read = sql.SQL("(SELECT {} FROM {} AS t{}) AS r").format(
        sql.SQL(", ").join([*own, *theirs]), target.identifier, sql.SQL("").join(joins)
    )
    return read, codes


def _beside_ids(names: Sequence[str], codes: Mapping[str, Column]) -> list[str]:
    """Return the columns with each code after its identifier."""
    found: list[str] = []
    for name in names:
        found.append(name)
        code = f"{CODED.get(name)}_code"
        if code in codes:
            found.append(code)
    return found


def _period(
    relation: Relation, start: dt.datetime | None, end: dt.datetime | None, column: str | None
) -> sql.Composable | None:
    if start is None and end is None and column is None:
        return None
    column = column or relation.time_column
    if column is None:
        raise InvalidInputError(f"{relation.name} has no time column for a period")
    _check_time(relation.target, column)
    parts = [
        sql.SQL(f"{{}} {sign} {{}}").format(sql.Identifier(column), sql.Literal(moment))
        for sign, moment in ((">=", start), ("<", end))
        if moment is not None
    ]
    return sql.SQL(" AND ").join(parts) if parts else None


def _check_time(target: TargetTable, column: str) -> None:
    if target.pick([column])[0].type not in ("timestamptz", "date"):
        raise InvalidInputError(f"{column} of {target.name} is not a time: it cannot be used for a period")
