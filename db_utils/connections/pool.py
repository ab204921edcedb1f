"""A bounded pool of psycopg2 connections.

A connection that was idle is checked before checkout, one dead connection renews all idle ones, a forked
process starts with an empty pool, and an exhausted pool reports its state. `db_utils.connections.engine`
lets SQLAlchemy use it. Compare its speed with other pools by `python -m tests.benchmarks --only pool`.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import psycopg2
import psycopg2.extensions

from db_utils.config import Settings, describe_url
from db_utils.connections import cancellation, pooler
from db_utils.connections.checkout import Checkout
from db_utils.connections.statement import check_timeout, guard_seconds, run
from db_utils.connections.telemetry import pool_log, spans
from db_utils.connections.wait_queue import Waiter, WaitQueue
from db_utils.errors import (
    ConnectionFailedError,
    DbUtilsError,
    PoolClosedError,
    PoolTimeoutError,
    QueryTimeoutError,
    ServerUnavailableError,
    translate_connect,
)
from db_utils.values import Row, fetch_count, fetch_rows, register

_CHECK_TIMEOUT_SECONDS = 5.0
_TRUSTED_SECONDS = 0.1
_CLOSED_BY_US = 1  # psycopg2 sets 2 where the connection broke
_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE


@dataclass(frozen=True)
class PoolStats:
    """The state of a pool at one moment, and its totals since it was created."""

    max_connections: int
    open: int
    in_use: int
    idle: int
    waiting: int
    opened_total: int
    failed_total: int
    timeouts_total: int


class ConnectionPool:
    """Connections to one server, at most `max_connections` of them, opened when first needed.

    Idle ones are taken last in, first out. A deque's `pop` and `append` are atomic, so only a thread that
    finds none idle takes a lock and queues; waiters are served first in, first out.
    """

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        self.settings = settings
        self.safe_url = describe_url(settings.database_url if url is None else url)
        self._parameters = settings.connection_parameters(url)
        self._url = url
        self._cancel_parameters = cancellation.cancel_parameters(self._parameters)
        self._guard_seconds = guard_seconds(settings.statement_timeout_seconds)
        self._opened_total = 0
        self._failed_total = 0
        self._timeouts_total = 0
        self.last_write: object = None  # replaced after each use that may have written
        self._start_empty()
        _pools.add(self)
        spans.look()

    def _start_empty(self, is_closed: bool = False) -> None:
        self._process_id = os.getpid()
        self._queue = WaitQueue(self.settings.pool_max_connections, is_closed)
        self._idle = self._queue.idle
        self._renewed_at = 0.0
        self._is_citus: bool | None = None

    def __repr__(self) -> str:
        return f"<ConnectionPool {self.safe_url} {self.pool_stats()}>"

    @property
    def dsn(self) -> str:
        """The libpq connection string, with the password: for another driver, never to be shown."""
        return str(psycopg2.extensions.make_dsn(**self._parameters))

    # -- opening -----------------------------------------------------------------------------------

    def open_beside(self) -> Checkout:
        """Open a connection like the pool's that is not part of it; the caller closes it."""
        self._check_open()
        connection = self._connect()
        connection.autocommit = True
        register(connection)
        now = monotonic()
        max_age_seconds = self.settings.pool_max_age_seconds
        checkout = Checkout(
            connection,
            discard=self.discard,
            cancel_parameters=self._cancel_parameters,
            opened_at=now,
            expires_at=now + max_age_seconds if max_age_seconds else float("inf"),
            guard_seconds=self._guard_seconds,
            slow_seconds=self.settings.slow_query_seconds,
            process_id=self._process_id,
        )
        try:
            session = self.settings.session_settings(self._url)
            pooler.examine(
                checkout, session, self.settings.pooler_mode, self.settings.connect_timeout_seconds or None
            )
        except BaseException as error:
            self._failed_total += 1
            checkout.close()
            if isinstance(error, QueryTimeoutError):
                raise ConnectionFailedError(
                    f"{self.safe_url} accepted the connection but did not answer within "
                    f"{self.settings.connect_timeout_seconds:g} s (DB_CONNECT_TIMEOUT_SECONDS): behind a pooler, check "
                    "whether its pool is full"
                ) from error
            raise
        self._opened_total += 1
        return checkout

    def _connect(self) -> psycopg2.extensions.connection:
        parameters = self._parameters
        try:
            try:
                return psycopg2.connect(**parameters)
            except psycopg2.OperationalError as error:
                if pooler.UNSUPPORTED not in str(error) or "options" not in parameters:
                    raise
                # The pooler rejects `options`: statements make the settings instead.
                parameters = {name: value for name, value in parameters.items() if name != "options"}
                connection = psycopg2.connect(**parameters)
                self._parameters = parameters
                return connection
        except psycopg2.Error as error:
            self._failed_total += 1
            raise translate_connect(error, where=self.safe_url) from error

    def open_session(self, what: str) -> Checkout:
        """Open a connection outside the pool with its own session, for `what`."""
        checkout = self.open_beside()
        try:
            pooler.check_session(checkout, what)
        except BaseException:
            checkout.close()
            raise
        return checkout

    def _replace(self, checkout: Checkout) -> Checkout:
        """Open a new connection to replace a broken one: the waiter keeps its turn."""
        try:
            checkout.close()
            fresh = self.open_beside()
        except BaseException:
            self.discard(checkout)
            raise
        checkout.is_counted, fresh.is_counted = False, True
        return fresh

    def _check_open(self) -> None:
        if self.closed:
            raise PoolClosedError("the DatabaseManager is closed: create a new one")

    # -- taking ------------------------------------------------------------------------------------

    def take(self) -> Checkout:
        """Check out a connection, idle or new, waiting for at most the pool's timeout.

        Raises `PoolTimeoutError`, `PoolClosedError`, or what opening a connection raises.
        """
        try:
            checkout = self._idle.pop()
        except IndexError:
            checkout = None
        if checkout is None:
            checkout = self._take_slowly()
        now = monotonic()
        if now < checkout.expires_at and now - checkout.used_at < _TRUSTED_SECONDS:
            return checkout
        return checkout if self._is_fit(checkout) else self._replace(checkout)

    def _take_slowly(self) -> Checkout:
        waiter = Waiter()
        try:
            self._queue.wait(waiter, self.settings.pool_timeout_seconds)
            if waiter.checkout is not None:
                return waiter.checkout
            self._check_open()
            if not waiter.has_place:
                raise self._exhausted()
            checkout = self.open_beside()
            checkout.is_counted, waiter.has_place = True, False
            return checkout
        except BaseException:
            handed = self._queue.leave(waiter)
            if handed is not None:
                self.give(handed)
            raise

    def _exhausted(self) -> PoolTimeoutError:
        self._timeouts_total += 1
        stats = self.pool_stats()
        return PoolTimeoutError(
            f"no connection became free within {self.settings.pool_timeout_seconds:g} s "
            f"(DB_POOL_TIMEOUT_SECONDS): pool size {stats.max_connections} (DB_POOL_MAX_CONNECTIONS), "
            f"in use {stats.in_use}, waiting {stats.waiting}"
        )

    def _is_fit(self, checkout: Checkout) -> bool:
        """Whether a connection that was idle, or is old, is usable: checks its socket, or asks the server."""
        now = monotonic()
        idle_seconds = now - checkout.used_at
        max_idle_seconds = self.settings.pool_max_idle_seconds
        if now >= checkout.expires_at or 0 < max_idle_seconds < idle_seconds:
            return False
        if idle_seconds < self.settings.pool_idle_check_seconds and not checkout.has_news():
            return True
        return self._answers(checkout)

    def _answers(self, checkout: Checkout) -> bool:
        try:
            run(checkout, "SELECT 1", None, fetch_count, _CHECK_TIMEOUT_SECONDS)
        except DbUtilsError:
            self.renew(checkout)
            return False
        return True

    def take_answering(self) -> Checkout:
        """Check out a connection that has just answered, for callers that cannot retry on another one."""
        checkout = self.take()
        return checkout if self._answers(checkout) else self._replace(checkout)

    def is_citus(self, checkout: Checkout) -> bool:
        """Whether the server spreads the database over several machines; asked once, and never without Citus loaded."""
        if self._is_citus is None:
            # Citus, and PostgreSQL from 18 on, reports this setting.
            self._is_citus = checkout.connection.info.parameter_status("search_path") is not None and bool(
                run(checkout, "SELECT FROM pg_extension WHERE extname = 'citus'", None, fetch_count)
            )
        return self._is_citus

    def read(self, sql: str, timeout_seconds: float) -> list[Row]:
        """Run a query of this library's own, such as which database this is, and return its rows."""
        checkout = self.take()
        try:
            return run(checkout, sql, None, fetch_rows, timeout_seconds)
        finally:
            self.give(checkout, is_read=True)

    def begin(self, text: str, timeout_seconds: float | None = None) -> Checkout:
        """Check out a connection on which `text` has begun a transaction, within `timeout_seconds` if given.

        Retried on a second connection if the first turns out to be lost, as nothing was done on it yet.
        """
        checkout = self.take()
        try:
            run(checkout, checkout.beginning(text), None, fetch_count, timeout_seconds)
            return checkout
        except ServerUnavailableError:
            self.give(checkout)
        except BaseException:
            self.give(checkout)
            raise
        checkout = self.take()
        try:
            run(checkout, checkout.beginning(text), None, fetch_count, timeout_seconds)
        except BaseException:
            self.give(checkout)
            raise
        return checkout

    # -- giving back -------------------------------------------------------------------------------

    def owns(self, checkout: Checkout) -> bool:
        """Whether this process opened it; a forked child must leave its parent's connections alone."""
        return checkout.process_id == self._process_id

    def give(self, checkout: Checkout, is_read: bool = False) -> bool:
        """Return a connection to the pool, reset; a broken one is closed, and the idle ones renewed.

        True where a transaction was still open and had to be rolled back. `is_read` says that nothing can
        have been written through it.
        """
        if not is_read:
            self.last_write = object()
        connection = checkout.connection
        if connection.closed or connection.get_transaction_status() or checkout.is_tainted:
            return self._tidy(checkout)
        if (
            checkout.process_id == self._process_id
        ):  # otherwise it was taken before a fork, and is the parent's
            turns = self._queue
            if turns.is_watched:
                self._serve(checkout)
            else:
                self._idle.append(checkout)
                if turns.is_watched:  # since just now
                    self._serve()
        return False

    def _serve(self, returned: Checkout | None = None) -> None:
        self._queue.serve(returned)
        if self.closed:
            self._close_idle(lambda checkout: True)

    def _tidy(self, checkout: Checkout) -> bool:
        connection = checkout.connection
        if not self.owns(checkout):
            checkout.is_counted = False
            return False
        was_open = not connection.closed and connection.get_transaction_status() != _IDLE
        if not self.closed and self._is_cleaned(checkout):
            self.give(checkout)
            return was_open
        if connection.closed not in (0, _CLOSED_BY_US) and not self.closed:
            self.renew(checkout)
        self.discard(checkout)
        return False

    def _is_cleaned(self, checkout: Checkout) -> bool:
        """Whether its last user left no state on a connection: no transaction, nothing in the session."""
        connection = checkout.connection
        try:
            if connection.closed:
                return False
            if checkout.is_lent:
                checkout.take_back()
            if connection.get_transaction_status() != _IDLE:
                run(checkout, "ROLLBACK", None, fetch_count, _CHECK_TIMEOUT_SECONDS)
            if checkout.is_tainted:
                if not checkout.preamble:  # otherwise the next transaction gets another session
                    run(checkout, "DISCARD ALL", None, fetch_count, _CHECK_TIMEOUT_SECONDS)
                    checkout.planned.clear()
                if checkout.session_text:
                    run(checkout, checkout.session_text, None, fetch_count, _CHECK_TIMEOUT_SECONDS)
                checkout.is_tainted = False
        except (DbUtilsError, psycopg2.Error):
            return False
        except BaseException:
            self.discard(checkout)
            raise
        return not connection.closed and connection.get_transaction_status() == _IDLE

    def discard(self, checkout: Checkout) -> None:
        """Take a connection back and close it; the longest waiter may open another."""
        if self.owns(checkout):
            checkout.close()
            self._queue.remove(checkout)
        checkout.is_counted = False

    def renew(self, dead: Checkout | None = None) -> None:
        """Close every idle connection: one was found dead, so the others may be too.

        A `dead` one opened before the last renewal is ignored.
        """
        if dead is None or dead.opened_at >= self._renewed_at:
            self._renewed_at = monotonic()
            self._close_idle(lambda checkout: True)

    def prune(self) -> None:
        """Close connections that are too old or were idle for too long."""
        now = monotonic()
        limit = self.settings.pool_max_idle_seconds
        self._close_idle(lambda checkout: now >= checkout.expires_at or 0 < limit < now - checkout.used_at)

    def _close_idle(self, is_unwanted: Callable[[Checkout], bool]) -> None:
        for _ in range(len(self._idle)):
            try:
                checkout = self._idle.popleft()
            except IndexError:
                return
            if is_unwanted(checkout):
                self.discard(checkout)
            else:
                self._idle.append(checkout)
                if self._queue.is_watched:
                    self._serve()

    # -- state -------------------------------------------------------------------------------------

    def pool_stats(self) -> PoolStats:
        """Return the state of the pool and its totals."""
        idle, places = len(self._idle), self._queue.places
        return PoolStats(
            max_connections=self.settings.pool_max_connections,
            open=places,
            in_use=max(0, places - idle),
            idle=idle,
            waiting=len(self._queue.waiters),
            opened_total=self._opened_total,
            failed_total=self._failed_total,
            timeouts_total=self._timeouts_total,
        )

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the server answers; raise the reason if it does not in time."""
        give_up_at = monotonic() + check_timeout(timeout_seconds)
        pause_seconds = 0.05
        while True:
            try:
                self.give(self.take_answering())
                return
            except (ConnectionFailedError, ServerUnavailableError) as error:
                left = give_up_at - monotonic()
                if left <= 0:
                    raise
                pool_log.info("waiting for %s: %s", self.safe_url, type(error).__name__)
                time.sleep(min(pause_seconds, left))
                pause_seconds = min(1.0, pause_seconds * 2)

    def close(self) -> None:
        """Close idle connections now and those in use when they come back. Safe to call again."""
        self._queue.close()
        self.renew()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._queue.is_closed

    def after_fork(self) -> None:
        """Start empty in a child process: the open connections belong to the parent."""
        self._start_empty(self._queue.is_closed)


_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


def _prune_all() -> None:
    for pool in list(_pools):
        pool.prune()


def _forget_parents_connections() -> None:
    for pool in list(_pools):
        pool.after_fork()


cancellation.on_tick += [_prune_all, spans.look]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_connections)
