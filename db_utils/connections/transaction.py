"""Transactions: nested by savepoints, bound to one thread, retried on conflict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Literal, TypeVar

import psycopg2.extensions

from db_utils.connections.checkout import Checkout
from db_utils.connections.executor import Executor, FrameOptions
from db_utils.connections.pool import ConnectionPool
from db_utils.connections.pooler import check_statement
from db_utils.connections.retry import exponential_delay
from db_utils.connections.statement import Statement, bound, check_query, loading, run, text_of
from db_utils.connections.telemetry import query_log, watched
from db_utils.errors import (
    DbUtilsError,
    InvalidInputError,
    ServerUnavailableError,
    TransactionStateError,
)
from db_utils.sql_text import leaves_traces, shape
from db_utils.values import Parameters, Row, column_names, fetch_count, fetch_tuples

Result = TypeVar("Result")
Isolation = Literal["read committed", "repeatable read", "serializable"]

_ISOLATIONS = ("read committed", "repeatable read", "serializable")
_FAILED = psycopg2.extensions.TRANSACTION_STATUS_INERROR
_OPEN = psycopg2.extensions.TRANSACTION_STATUS_INTRANS
_END_TIMEOUT_SECONDS = 30.0
_LONG_PAUSE_SECONDS = 0.05

LIFT_TIMEOUT = "SET LOCAL statement_timeout = 0;"
"""A load has no statement timeout; its caller may set a deadline for the whole of it."""


def begin_text(isolation: str | None, read_only: bool) -> str:
    """Return the statement that begins such a transaction."""
    if isolation is not None and isolation not in _ISOLATIONS:
        raise InvalidInputError(f"isolation is {isolation!r}: give one of {', '.join(_ISOLATIONS)}")
    level = f" ISOLATION LEVEL {isolation.upper()}" if isolation else ""
    return f"BEGIN{level}{' READ ONLY' if read_only else ''};"


class Transaction(Executor):
    """One transaction on one connection, for the thread that opened it; made by `transaction()`.

    Use it with `with`. It commits when the block ends and rolls back when the block raises. A block that
    swallowed a statement's error raises `TransactionStateError` at its end, because everything was rolled back.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        begin: str,
        *,
        settings: str = "",
        check: Callable[[str], None] | None = None,
        through_temporary_table: bool = False,
        begin_timeout_seconds: float | None = None,
    ) -> None:
        self._pool = pool
        self._begin = begin
        self._settings = settings
        self._begin_timeout_seconds = begin_timeout_seconds
        self._check = check
        self._temporary = through_temporary_table
        self._checkout: Checkout | None = None
        self._thread_id = 0
        self._savepoints = 0
        self._state: Literal["new", "open", "ended"] = "new"
        self._outcome: Literal["rolled back", "committed", "unknown"] = "rolled back"
        self._callbacks: list[tuple[Callable[[], object], bool]] = []

    # -- beginning and ending --------------------------------------------------------------------------------

    def __enter__(self) -> Transaction:
        if self._state != "new":
            raise TransactionStateError(
                "a transaction can be entered only once: call transaction() again for another"
            )
        self._checkout = self._pool.begin(f"{self._begin} {self._settings}", self._begin_timeout_seconds)
        self._thread_id = threading.get_ident()
        self._state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        checkout, self._checkout, self._state = self._checkout, None, "ended"
        if checkout is None:
            return
        try:
            if kind is None and self._pool.owns(checkout):  # otherwise forked: the parent's block
                self._commit(checkout)
        finally:
            self._pool.give(checkout)  # rolls back what is still open
            self._call_back()

    def after_commit(self, callback: Callable[[], object], *, also_if_unknown: bool = False) -> None:
        """Call this function after the transaction has committed, never after a rollback.

        In a nested transaction the commit of the outermost one counts. Callbacks run in order, in this
        thread, after the connection is back in the pool. An exception in one is only logged, as the
        transaction has committed. With `also_if_unknown` it is called too if the connection was lost during
        COMMIT, when it is unknown whether the transaction took effect.
        """
        self._usable()
        if not callable(callback):
            raise InvalidInputError(f"callback must be a function, not {type(callback).__name__}")
        self._callbacks.append((callback, also_if_unknown))

    def _call_back(self) -> None:
        for callback, also_if_unknown in self._callbacks:
            if self._outcome == "committed" or (self._outcome == "unknown" and also_if_unknown):
                try:
                    callback()
                except Exception:
                    query_log.exception(
                        "a callback after a commit failed; the transaction's outcome: %s",
                        self._outcome,
                    )

    def _commit(self, checkout: Checkout) -> None:
        if checkout.connection.closed:
            raise ServerUnavailableError("the connection was lost during the transaction: it was rolled back")
        if checkout.connection.get_transaction_status() == _FAILED:
            raise TransactionStateError(
                "the transaction was rolled back, because a statement in it failed and the error was "
                "caught: let it leave the block, or put what may fail into a nested transaction()",
                sqlstate="25P02",
            )
        self._outcome = "unknown"  # until the server answers
        try:
            run(checkout, "COMMIT", None, fetch_count, _END_TIMEOUT_SECONDS)
            self._outcome = "committed"
        except ServerUnavailableError as error:
            raise ServerUnavailableError(
                "the connection was lost during COMMIT: whether the transaction took effect is unknown, so "
                "check before running it again",
                sqlstate=error.sqlstate,
            ) from error
        except DbUtilsError:
            if not checkout.connection.closed:
                self._outcome = "rolled back"  # such as by a deferred constraint
            raise

    def _usable(self) -> Checkout:
        if self._checkout is not None and not self._pool.owns(self._checkout):
            raise TransactionStateError(
                "this transaction belongs to the parent process: open one after the fork"
            )
        if self._thread_id != threading.get_ident() and self._state == "open":
            raise TransactionStateError(
                "this transaction belongs to another thread: give each thread its own db.transaction()"
            )
        if self._checkout is None:
            raise TransactionStateError("this transaction is not open: use it inside its with block")
        if monotonic() - self._checkout.used_at > _LONG_PAUSE_SECONDS and self._checkout.has_news():
            self._checkout.take_news()  # otherwise the server's reason for ending it would be lost
        return self._checkout

    # -- verbs -----------------------------------------------------------------------------------------------

    @property
    def pool(self) -> ConnectionPool:
        """The pool that its connections come from."""
        return self._pool

    def _run(
        self,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
        reads: bool,
        idempotent: bool,
        primary: bool,
    ) -> Result:
        checkout = self._usable()
        text, parameters = self._allowed(sql, parameters)
        return run(checkout, text, parameters, fetch, timeout_seconds)

    def _allowed(self, sql: Statement, parameters: Parameters | None = None) -> tuple[str, Parameters | None]:
        """Return the text and the parameters to run, if they may be run here."""
        checkout = self._usable()
        text = text_of(sql, checkout.connection)
        if parameters is not None and self._check is not None and shape(text).quotes_placeholder:
            text, parameters = bound(checkout, text, parameters), None
        if shape(text).controls_transaction:
            raise TransactionStateError(
                "a transaction is ended by leaving its with block, not by COMMIT or ROLLBACK; use a nested "
                "transaction() for a savepoint"
            )
        if self._check is not None:
            self._check(text)
        check_statement(checkout, text)
        checkout.is_tainted = checkout.is_tainted or leaves_traces(text)
        return text, parameters

    @contextmanager
    def _loading(self, timeout_seconds: float | None, sql: str | None = None) -> Iterator[Any]:
        checkout = self._usable()
        if sql is not None:
            self._allowed(sql)
        run(checkout, LIFT_TIMEOUT, None, fetch_count, timeout_seconds)
        guard_seconds, checkout.guard_seconds = checkout.guard_seconds, None
        try:
            with loading(checkout, timeout_seconds) as connection:
                yield connection
        finally:
            checkout.guard_seconds = guard_seconds
        if connection.get_transaction_status() != _FAILED:
            # Behind a pooler the session's default is not the one this library set.
            restore = checkout.preamble or "SET LOCAL statement_timeout TO DEFAULT"
            run(checkout, restore, None, fetch_count, timeout_seconds)

    @property
    def _through_temporary_table(self) -> bool:
        return self._temporary

    def run_in_transaction(
        self,
        function: Callable[[Transaction], Result],
        *,
        retries: int = 5,
        isolation: Isolation | None = None,
        delay: Callable[[int], float] = exponential_delay,
    ) -> Result:
        """Refuse: after a conflict the outermost transaction has to be rerun, not this one."""
        raise TransactionStateError(
            "run_in_transaction belongs around the outermost transaction, not inside one"
        )

    def transaction(self, *, isolation: Isolation | None = None, read_only: bool = False) -> Transaction:
        """Set a savepoint: a failure undoes its block only. Isolation is that of the outermost transaction."""
        if isolation is not None or read_only:
            raise InvalidInputError("isolation and read_only belong to the outermost transaction()")
        self._usable()
        self._savepoints += 1
        return _Savepoint(self, f"db_utils_{id(self):x}_{self._savepoints}")

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Lend the psycopg2 connection inside this transaction; its commit() and rollback() do nothing.

        Session state is reset after the transaction; a tenant scope's role, search path and organization,
        after the block.
        """
        checkout = self._usable()
        yield checkout.lend()
        is_usable = self._pool.owns(checkout) and not checkout.connection.closed
        if self._settings and is_usable and checkout.connection.get_transaction_status() == _OPEN:
            run(checkout, self._settings, None, fetch_count)

    def _read_frame(
        self,
        sql: Statement,
        parameters: Parameters | None,
        timeout_seconds: float | None,
        primary: bool,
        options: FrameOptions,
    ) -> Any:
        from db_utils import dataframes

        checkout = self._usable()
        text, parameters = self._allowed(sql, parameters)
        check_query(text)
        with loading(checkout, timeout_seconds) as connection, watched("SELECT", text, connection):
            return dataframes.read_frame(
                None,
                text,
                parameters,
                connection=connection,
                **options,
            )

    def stream(
        self, sql: Statement, params: Parameters | None = None, *, batch_size: int = 1000
    ) -> Iterator[Row]:
        """Stream the rows of a read one by one, in constant memory; see `Executor.stream`."""
        text, params = self._allowed(sql, params)
        check_stream(text, batch_size)
        return stream_rows(self._usable, text, params, batch_size)


class _Savepoint(Transaction):
    """A transaction inside another: the same connection, a savepoint instead of BEGIN."""

    def __init__(self, outer: Transaction, name: str) -> None:
        super().__init__(
            outer._pool,
            "",
            settings=outer._settings,
            check=outer._check,
            through_temporary_table=outer._through_temporary_table,
        )
        self._outer = outer
        self._name = name

    def __enter__(self) -> Transaction:
        if self._state != "new":
            raise TransactionStateError(
                "a transaction can be entered only once: call transaction() again for another"
            )
        checkout = self._outer._usable()
        run(checkout, f'SAVEPOINT "{self._name}"', None, fetch_count)
        self._checkout = checkout
        self._thread_id = self._outer._thread_id
        self._state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        checkout, self._checkout, self._state = self._checkout, None, "ended"
        if checkout is None or checkout.connection.closed or not self._pool.owns(checkout):
            return
        failed = checkout.connection.get_transaction_status() == _FAILED
        if kind is None and not failed:
            run(checkout, f'RELEASE SAVEPOINT "{self._name}"', None, fetch_count)
            self._outer._callbacks.extend(self._callbacks)
            return
        with suppress(DbUtilsError):  # the error being raised is more informative
            run(
                checkout,
                f'ROLLBACK TO SAVEPOINT "{self._name}"; RELEASE SAVEPOINT "{self._name}"',
                None,
                fetch_count,
            )
        if kind is None:
            raise TransactionStateError(
                "the nested transaction was rolled back, because a statement in it failed and the error was "
                "caught: let it leave the block",
                sqlstate="25P02",
            )


def run_script(transaction: Transaction, text: str) -> None:
    """Run this library's own text of several statements, such as a schema file."""
    checkout = transaction._usable()
    checkout.is_tainted = True
    slow_seconds, checkout.slow_seconds = checkout.slow_seconds, 0.0  # a whole file is not a slow query
    try:
        run(checkout, text, None, fetch_count)
    finally:
        checkout.slow_seconds = slow_seconds


@contextmanager
def without_deadline(transaction: Transaction) -> Iterator[None]:
    """Lift DB_STATEMENT_TIMEOUT_SECONDS for the statements of this block."""
    with transaction._loading(None):
        yield


def check_stream(sql: str, batch_size: int) -> None:
    """Refuse anything but a single query, and an invalid batch size."""
    check_query(sql)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidInputError(f"batch_size is {batch_size!r}: give a whole number, 1 or more")


def stream_rows(
    usable: Callable[[], Checkout], sql: str, parameters: Parameters | None, batch_size: int
) -> Iterator[Row]:
    """Yield the rows of a server-side cursor, fetched in batches; `usable` returns the connection or raises."""
    name = f"db_utils_{next(_cursor_numbers)}"
    run(
        usable(), f'DECLARE "{name}" NO SCROLL CURSOR FOR {sql.rstrip().rstrip(";")}', parameters, fetch_count
    )
    fetch_text = f'FETCH FORWARD {batch_size} FROM "{name}"'
    try:
        while True:
            names, rows = run(usable(), fetch_text, None, _names_and_tuples)
            for row in rows:
                yield dict(zip(names, row, strict=False))
            if len(rows) < batch_size:
                break
    finally:
        with suppress(DbUtilsError):  # a transaction that ended or failed has closed it already
            run(usable(), f'CLOSE "{name}"', None, fetch_count)


def _names_and_tuples(cursor: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    return column_names(cursor.description), fetch_tuples(cursor)


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_cursor_numbers = _numbers()
