"""Bulk loading: any iterable of rows into a table, by COPY, in the caller's transaction.

`copy_rows` inserts rows, `upsert_many` inserts or updates them, `execute_many` runs an INSERT written by the
caller. None of them commits: the caller's transaction is atomic. With a `RejectReport` the good rows are
loaded and the bad ones reported.

The column's type determines how a value is written, in all three: None is NULL; dict is JSON; a list is an
array or JSON, by the column; a str for a json column is JSON text; an Enum is its value; Python's NaN stays
NaN (`math.nan` is a number in PostgreSQL too), pandas' NA and NaT are NULL; a float without fraction fits an
integer column. A datetime for a timestamptz column needs a time zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from db_utils.copy.copy_stream import ROWS_BEFORE_BINARY, CopyStream, RowSource, binary_encoder
from db_utils.copy.inserts import check_statement, execute_pages, insert_from, simple_insert, upsert_from
from db_utils.copy.load import InsertFrom, load
from db_utils.copy.rejects import Reject, RejectReport, check_callbacks
from db_utils.copy.target_table import TargetTable, column_names, find_target, translated_errors
from db_utils.copy.text_format import RowEncoder
from db_utils.values import RowProgress

__all__ = ["Reject", "RejectReport", "copy_rows", "execute_many", "upsert_many"]


def copy_rows(
    connection: Any,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    on_reject: RejectReport | None = None,
    progress: RowProgress | None = None,
    through_temporary_table: bool = False,
) -> int:
    """Load rows by COPY and return how many.

    `table` is written as in SQL and resolved by the search_path; `columns` are exact names; `rows` is any
    iterable of tuples, lists or dicts, consumed at the server's pace in constant memory. A view is loaded
    through a temporary table, as is any target with `through_temporary_table`. `progress` is called with the
    number of rows sent so far. An empty iterable loads nothing and returns 0.

    Raises `UndefinedObjectError` for an unknown table or column, `InvalidInputError` for a row or value that
    cannot be sent, and the server's errors (`InvalidDataError`, `ConstraintViolationError`), with the row's
    number if known. Exceptions of the iterable propagate unchanged. After an error the transaction must be
    rolled back. With `on_reject` bad rows are reported there instead of raising.
    """
    check_callbacks(on_reject, progress)
    names = column_names(columns)
    with translated_errors():
        target = find_target(connection, table)
        staged = through_temporary_table or target.is_view
        insert = insert_from(target, names) if staged else None
        return _load(connection, target, names, rows, insert, on_reject, progress)


def upsert_many(
    connection: Any,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    conflict_columns: Sequence[str],
    update_columns: Sequence[str] | None = None,
    on_reject: RejectReport | None = None,
    progress: RowProgress | None = None,
) -> int:
    """Insert or update rows and return how many were written.

    `conflict_columns` are the columns of a primary key or unique constraint: an existing row with the same
    values in them is updated in `update_columns` (None: all but the key; empty: it is left unchanged and not
    counted). Of several rows with one key the last wins, as if applied one after another; such a key counts
    once for each segment of about 100,000 rows in which it occurs. Rows, errors and rejects are as in
    `copy_rows`.
    """
    check_callbacks(on_reject, progress)
    names = column_names(columns)
    with translated_errors():
        target = find_target(connection, table)
        insert = upsert_from(target, names, conflict_columns, update_columns)
        return _load(connection, target, names, rows, insert, on_reject, progress)


def execute_many(
    connection: Any,
    statement: str,
    rows: Iterable[Sequence[object]],
    *,
    page_size: int = 1000,
    on_reject: RejectReport | None = None,
    progress: RowProgress | None = None,
) -> int:
    """Run a statement over all of these rows and return how many it affected.

    `statement` has one `%s` where the rows go: `INSERT INTO t (a, b) VALUES %s`, optionally followed by `ON
    CONFLICT …`. Such an INSERT uses COPY for more than a few rows. Any other statement (`UPDATE t SET a = v.a
    FROM (VALUES %s) AS v (id, a) WHERE …`) runs once for each `page_size` rows, its values written by
    psycopg2. If `ON CONFLICT DO UPDATE` gets the same key twice, the rows are applied one after another, so
    the last wins. Rows, errors and rejects are as in `copy_rows`.
    """
    check_callbacks(on_reject, progress)
    check_statement(statement, page_size)
    with translated_errors():
        simple = simple_insert(statement)
        if simple is None:
            return execute_pages(connection, statement, rows, page_size, on_reject, progress)
        target = find_target(connection, simple.table)
        names = column_names(simple.columns)
        insert = insert_from(target, names, simple.tail) if simple.tail or target.is_view else None
        twice = bool(simple.tail)
        return _load(connection, target, names, rows, insert, on_reject, progress, may_meet_twice=twice)


def _load(
    connection: Any,
    target: TargetTable,
    names: list[str],
    rows: Iterable[Sequence[object]],
    insert: InsertFrom | None,
    on_reject: RejectReport | None,
    progress: RowProgress | None,
    *,
    may_meet_twice: bool = False,
) -> int:
    picked = target.pick(names)
    encoder = RowEncoder(picked)
    encode_binary = binary_encoder(connection, picked)
    stream = CopyStream(RowSource(rows), encoder, progress, encode_binary, binary_from=ROWS_BEFORE_BINARY)
    return load(connection, target, picked, stream, insert, on_reject, may_meet_twice=may_meet_twice)
