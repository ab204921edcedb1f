"""Bulk loading: any iterable of rows into a table, by COPY, in the caller's transaction.

`copy_rows` puts rows in, `upsert_many` puts them in or brings those that are there up to date, `execute_many` runs
an INSERT that one has written oneself. None of them commits: all or nothing is the caller's transaction. With a
`RejectReport` the good rows are loaded and the bad ones reported instead.

How a value is written is decided by the type of its column, the same in all three: None is NULL; dict is JSON;
a list is an array or JSON, as the column has it; a str for a json column is JSON text; an Enum is its value; NaN
of Python stays NaN (`math.nan` is a number in PostgreSQL too), pandas' NA and NaT are NULL; a float without fraction
fits an integer column. A datetime for a timestamptz column must know its zone.
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

    `table` is written as in SQL and found by the search_path; `columns` are exact names; `rows` is any iterable of
    tuples, lists or dicts, read as the server takes them, in constant memory. A view is loaded through a temporary
    table, as is any target with `through_temporary_table`. `progress` is called with the number of rows sent so far.
    An empty iterable loads nothing and returns 0.

    Raises `UndefinedObjectError` for an unknown table or column, `InvalidInputError` for a row or value that cannot
    be sent, and what the server refuses (`InvalidDataError`, `ConstraintViolationError`), naming the row's number
    where it is known. What the iterable raises is raised as it is. After an error the transaction must be rolled
    back. With `on_reject` bad rows are reported there and do not raise.
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

    `conflict_columns` are the columns of a primary key or unique constraint: a row that is there already with the same
    values in them is updated in `update_columns` (None: all but the key; empty: it stays as it is and is not counted).
    Of several given rows with one key the last wins, as if they came one after another; such a key counts once for
    each segment of about 100,000 rows in which it occurs. Rows, errors and rejects are as in `copy_rows`.
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

    `statement` has one `%s` where the rows go: `INSERT INTO t (a, b) VALUES %s`, with `ON CONFLICT …` behind it if
    wanted. Such an INSERT goes through COPY, if it is more than a few rows. Any other statement (`UPDATE t SET a = v.a
    FROM (VALUES %s) AS v (id, a) WHERE …`) runs once for each `page_size` rows, its values written by psycopg2. Where
    `ON CONFLICT DO UPDATE` meets the same key twice, the rows are applied one after
    another, so the last wins. Rows, errors and rejects are as in `copy_rows`.
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
