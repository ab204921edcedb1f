"""Load rows into a table by COPY, directly or through a temporary table, or a few of them by one INSERT.

A load is split into COPY statements of `SEGMENT_ROWS` rows, so that a bad row is noticed before millions more
are sent, and the server's queue of foreign key checks stays short.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import psycopg2
from psycopg2 import sql

from db_utils.copy.bisect_rejects import BisectingLoader
from db_utils.copy.copy_stream import PIECE_BYTES, CopyStream
from db_utils.copy.diagnose import at_row
from db_utils.copy.rejects import RejectReport, RowBatch
from db_utils.copy.target_table import Column, TargetTable, identifiers, plain_cursor

SEGMENT_ROWS = 100_000
"""Rows of one COPY statement."""
SAVEPOINT_ROWS = 20_000
"""Rows of one COPY statement if bad rows are to be reported, which keeps the rows until it ends."""

InsertFrom: TypeAlias = Callable[[sql.Composable, sql.Composable], sql.Composable]
"""Makes an INSERT of a relation's rows; the second argument is their order."""
_stage_numbers = itertools.count(1)


class Pieces:
    """The file that COPY reads: each read returns the next piece. Keeps the error that ended it early."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return the next piece, of any size; empty at the end."""
        try:
            return next(self._pieces, b"")
        except BaseException as failure:
            self.failure = failure
            raise


class Loader:
    """Loads lines of COPY's text format into a target, in the caller's transaction.

    With `insert`, rows go through a temporary table of the target's columns: after each segment, the
    statement that `insert` makes for that table moves them to the target.
    """

    def __init__(
        self,
        connection: Any,
        target: TargetTable,
        columns: Sequence[str],
        *,
        insert: InsertFrom | None = None,
    ) -> None:
        self._connection = connection
        self.target = target
        self.columns = list(columns)
        self._stage = f"db_utils_stage_{next(_stage_numbers)}"
        into = self.target.identifier if insert is None else sql.Identifier("pg_temp", self._stage)
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN WITH ").format(into, identifiers(self.columns))
        # In a new, empty table, ctid is the order of arrival. So it is truncated before each use: after a
        # failed one it still has the space of the rows that were rolled back.
        self._insert = None if insert is None else insert(into, sql.Identifier("ctid"))
        self._truncate = sql.SQL("TRUNCATE {}").format(into)
        self._stage_used = False

    def __enter__(self) -> Loader:
        if self._insert is not None:
            create = "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
            names = identifiers(self.columns)
            self._run(sql.SQL(create).format(sql.Identifier(self._stage), names, self.target.identifier))
        return self

    def __exit__(self, *failure: object) -> None:
        if self._insert is not None and failure[0] is None:
            self._run(sql.SQL("DROP TABLE {}").format(sql.Identifier("pg_temp", self._stage)))

    def load(self, pieces: Iterable[bytes], *, binary: bool = False) -> int:
        """Load these pieces and return how many rows were affected. Raises psycopg2's or a piece's errors."""
        source = Pieces(pieces)
        copy = self._copy + sql.SQL("(FORMAT binary)" if binary else "(ENCODING 'UTF8')")
        with plain_cursor(self._connection) as cursor:
            if self._stage_used:
                cursor.execute(self._truncate)
            self._stage_used = self._insert is not None
            try:
                cursor.copy_expert(copy, source, size=PIECE_BYTES)
            except psycopg2.Error:
                if source.failure is not None:
                    raise source.failure from None
                raise
            return cursor.rowcount if self._insert is None else _insert_counted(cursor, self._insert)

    def load_lines(self, lines: Sequence[str]) -> int:
        """Load these lines and return the number of rows affected."""
        return self.load([("\n".join(lines) + "\n").encode()])

    def _run(self, statement: sql.Composable) -> None:
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)


class Values:
    """Loads a few rows into a target with one INSERT, without the cost of a temporary table."""

    def __init__(
        self, connection: Any, target: TargetTable, columns: Sequence[Column], insert: InsertFrom
    ) -> None:
        self._connection = connection
        self._casts = [sql.SQL(column.cast) for column in columns]
        self._names = identifiers([column.name for column in columns])
        self._insert = insert

    def load(self, rows: Sequence[list[str | None]]) -> int:
        """Insert these rows of texts and return the number of rows affected."""
        if not rows:
            return 0
        given = []
        for order, texts in enumerate(rows):
            values = [
                sql.SQL("CAST({} AS {})").format(sql.Literal(text), cast)
                for text, cast in zip(texts, self._casts, strict=True)
            ]
            given.append(sql.SQL("({}, {})").format(sql.SQL(", ").join(values), sql.Literal(order)))
        relation = sql.SQL("(VALUES {}) AS given ({}, db_utils_order)").format(
            sql.SQL(", ").join(given), self._names
        )
        with plain_cursor(self._connection) as cursor:
            return _insert_counted(cursor, self._insert(relation, sql.Identifier("db_utils_order")))


def _insert_counted(cursor: Any, insert: sql.Composable) -> int:
    """Run an INSERT and count the returned rows, because Citus reports a wrong row count."""
    cursor.execute(sql.SQL("WITH written AS ({} RETURNING 1) SELECT count(*) FROM written").format(insert))
    return int(cursor.fetchone()[0])


def load(
    connection: Any,
    target: TargetTable,
    columns: Sequence[Column],
    stream: CopyStream,
    insert: InsertFrom | None,
    report: RejectReport | None,
    *,
    may_meet_twice: bool = False,
) -> int:
    """Load the whole stream and return the number of rows affected.

    `may_meet_twice` means that `insert` fails if a key occurs twice among the rows of one statement.
    """
    if stream.exhausted:
        return 0
    if insert is not None and stream.is_short and connection.encoding == "UTF8":
        few = Values(connection, target, columns, insert)
        bisecting = BisectingLoader(
            connection, few.load, report, target=target, columns=columns, field=list.__getitem__
        )
        batch = RowBatch(keep_bad=report is not None)
        stream.all_texts(batch)
        return load_bisected(connection, batch, bisecting, lambda: few.load(batch.items))
    with Loader(connection, target, [column.name for column in columns], insert=insert) as loader:
        if report is None and not may_meet_twice:
            return load_all(loader, stream)
        bisecting = BisectingLoader(connection, loader.load_lines, report, target=target, columns=columns)
        return load_kept(connection, loader, stream, bisecting)


def load_all(loader: Loader, stream: CopyStream) -> int:
    """Load every row; the first bad one raises an error with its number and column."""
    affected = 0
    while not stream.exhausted:
        before = stream.count
        try:
            binary = stream.next_is_binary(keep_bad=False)
            affected += loader.load(stream.pieces(SEGMENT_ROWS), binary=binary)
        except psycopg2.Error as error:
            raise at_row(error, before, loader.target, loader.columns) from error
    return affected


def load_kept(connection: Any, loader: Loader, stream: CopyStream, bisecting: BisectingLoader) -> int:
    """Load all good rows and report the others; without a report they raise."""
    affected = 0
    while not stream.exhausted:
        before = stream.count
        batch = RowBatch(keep_bad=bisecting.report is not None)
        binary = stream.next_is_binary(keep_bad=batch.keep_bad)
        pieces = stream.pieces(SAVEPOINT_ROWS, batch)
        affected += load_bisected(
            connection,
            batch,
            bisecting,
            lambda: loader.load(pieces, binary=binary),  # noqa: B023
            pieces=pieces,
            rows_before=before,
        )
    return affected


def load_bisected(
    connection: Any,
    batch: RowBatch,
    bisecting: BisectingLoader,
    load: Callable[[], int],
    *,
    pieces: Iterable[bytes] = (),
    rows_before: int = 0,
) -> int:
    """Return how many rows `load` affected; if rows made it fail, load the good and report the bad ones."""
    with plain_cursor(connection) as cursor:
        cursor.execute("SAVEPOINT db_utils_batch")
        try:
            affected = load()
        except psycopg2.Error as error:
            if not bisecting.helps(error):
                raise bisecting.located(batch, error, rows_before) from error
            cursor.execute("ROLLBACK TO SAVEPOINT db_utils_batch")
            for _ in pieces:
                pass  # the rest of the batch, if the driver stopped early
            affected = bisecting.load(batch, error)
        cursor.execute("RELEASE SAVEPOINT db_utils_batch")
    if bisecting.report is not None:
        for reject in sorted(batch.rejects, key=lambda reject: reject.row_number):
            bisecting.report.add(reject)
    return affected
