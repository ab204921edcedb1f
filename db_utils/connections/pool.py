"""A bounded pool of psycopg2 connections.

Each small query pays for checkout and return: 1.8 µs together for one thread and 1.0 µs when 32 threads share
40 connections, beside 7.8 and 6.2 µs of SQLAlchemy's QueuePool, 4.2 and 2.0 µs of psycopg_pool, and 1.5 and
0.9 µs of psycopg2's own pool, which neither waits nor checks (`python -m tests.benchmarks.bench_pool`, two
cores, CPython 3.11). A connection that sat idle is checked before it is handed out, one dead
connection renews all idle ones, a process forked off starts with an empty pool, and a full pool says how full
it is. `db_utils.connections.sharing` lets SQLAlchemy draw from it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import psycopg2
import psycopg2.extensions

from db_utils.config import Settings, describe_url
from db_utils.connections import watch
from db_utils.connections.lease import Lease
from db_utils.connections.statement import check_timeout, guard_seconds, run
from db_utils.connections.telemetry import pool_log, spans
from db_utils.errors import (
    ConnectionFailedError,
    DbUtilsError,
    PoolClosedError,
    PoolTimeoutError,
    ServerUnavailableError,
    translate_connect,
)
from db_utils.values import fetch_count, register

_CHECK_TIMEOUT_SECONDS = 5.0
_TRUSTED_SECONDS = 0.1
_CLOSED_BY_US = 1  # psycopg2 says 2 where the connection broke
_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE


@dataclass(frozen=True)
class PoolStats:
    """The state of a pool at one moment, and its totals since it was made."""

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
    finds none idle takes the lock.
    """

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        self.settings = settings
        self.safe_url = describe_url(settings.database_url if url is None else url)
        self._parameters = settings.connection_parameters(url)
        self._cancel_parameters = watch.cancel_parameters(self._parameters)
        self._guard_seconds = guard_seconds(settings.statement_timeout_seconds)
        self._opened_total = 0
        self._failed_total = 0
        self._timeouts_total = 0
        self._closed = False
        self._start_empty()
        _pools.add(self)
        spans.look()

    def _start_empty(self) -> None:
        self._process_id = os.getpid()
        self._leases: deque[Lease] = deque()  # the idle ones
        self._freed = threading.Condition()  # guards the two numbers below
        self._places = 0  # connections that are open or being opened
        self._waiting = 0
        self._renewed_at = 0.0

    def __repr__(self) -> str:
        return f"<ConnectionPool {self.safe_url} {self.pool_stats()}>"

    @property
    def dsn(self) -> str:
        """How to connect, in libpq's words, with the password: for a driver of its own, never to be shown."""
        return str(psycopg2.extensions.make_dsn(**self._parameters))

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> Lease:
        if self._closed:
            raise PoolClosedError("the DatabaseManager is closed: make a new one")
        try:
            connection = psycopg2.connect(**self._parameters)
        except psycopg2.Error as error:
            self._failed_total += 1
            raise translate_connect(error, where=self.safe_url) from error
        connection.autocommit = True
        register(connection)
        self._opened_total += 1
        now = monotonic()
        max_age_seconds = self.settings.pool_max_age_seconds
        return Lease(
            connection,
            discard=self.discard,
            cancel_parameters=self._cancel_parameters,
            opened_at=now,
            expires_at=now + max_age_seconds if max_age_seconds else float("inf"),
            guard_seconds=self._guard_seconds,
            slow_seconds=self.settings.slow_query_seconds,
            process_id=self._process_id,
        )

    def open_beside(self) -> Lease:
        """A connection like those of the pool that is not part of it; whoever asked for it closes it."""
        lease = self._open()
        lease.is_counted = False
        return lease

    # -- taking ------------------------------------------------------------------------------------

    def take(self) -> Lease:
        """A connection, idle or new, waiting for at most the pool's timeout.

        Raises `PoolTimeoutError`, `PoolClosedError`, or what opening a connection raises.
        """
        while True:
            try:
                lease = self._leases.pop()
            except IndexError:
                lease = None
            if lease is None:
                lease = self._take_slowly()
            now = monotonic()
            if now < lease.expires_at and now - lease.used_at < _TRUSTED_SECONDS:
                return lease
            if self._is_fit(lease):
                return lease
            self.discard(lease)

    def _take_slowly(self) -> Lease:
        give_up_at = monotonic() + self.settings.pool_timeout_seconds
        with self._freed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise PoolClosedError("the DatabaseManager is closed: make a new one")
                    with suppress(IndexError):
                        return self._leases.pop()
                    if self._places < self.settings.pool_max_connections:
                        self._places += 1
                        break
                    left = give_up_at - monotonic()
                    if left <= 0:
                        raise self._exhausted()
                    self._freed.wait(left)
            finally:
                self._waiting -= 1
        try:
            return self._open()
        except BaseException:
            self._free_place()
            raise

    def _exhausted(self) -> PoolTimeoutError:
        self._timeouts_total += 1
        stats = self.pool_stats()
        return PoolTimeoutError(
            f"no connection became free within {self.settings.pool_timeout_seconds:g} s "
            f"(DB_POOL_TIMEOUT_SECONDS): pool size {stats.max_connections} (DB_POOL_MAX_CONNECTIONS), "
            f"in use {stats.in_use}, waiting {stats.waiting}"
        )

    def _is_fit(self, lease: Lease) -> bool:
        """Whether a connection that sat idle, or is old, can be used: looks at it, or asks the server."""
        now = monotonic()
        idle_seconds = now - lease.used_at
        max_idle_seconds = self.settings.pool_max_idle_seconds
        if now >= lease.expires_at or 0 < max_idle_seconds < idle_seconds:
            return False
        if idle_seconds < self.settings.pool_idle_check_seconds and not lease.has_news():
            return True
        return self._answers(lease)

    def _answers(self, lease: Lease) -> bool:
        try:
            run(lease, "SELECT 1", None, fetch_count, _CHECK_TIMEOUT_SECONDS)
        except DbUtilsError:
            self.renew(lease)
            return False
        return True

    def take_answering(self) -> Lease:
        """A connection that answered just now: for whoever cannot try again on another one."""
        while True:
            lease = self.take()
            if self._answers(lease):
                return lease
            self.discard(lease)

    def begin(self, text: str, timeout_seconds: float | None = None) -> Lease:
        """A connection on which `text` has begun a transaction, within `timeout_seconds` if given.

        Tried on a second connection where the first turns out to be lost: nothing has been done on it yet.
        """
        lease = self.take()
        try:
            run(lease, text, None, fetch_count, timeout_seconds)
            return lease
        except ServerUnavailableError:
            self.give(lease)
        except BaseException:
            self.give(lease)
            raise
        lease = self.take()
        try:
            run(lease, text, None, fetch_count, timeout_seconds)
        except BaseException:
            self.give(lease)
            raise
        return lease

    # -- giving back -------------------------------------------------------------------------------

    def owns(self, lease: Lease) -> bool:
        """Whether this process opened it; a forked child must leave its parent's connections alone."""
        return lease.process_id == self._process_id

    def give(self, lease: Lease) -> bool:
        """Take a connection back, as clean as it was; a broken one is closed, and the idle ones renewed.

        True where a transaction was still open and had to be rolled back.
        """
        connection = lease.connection
        if connection.closed or connection.get_transaction_status() or self._closed or lease.is_tainted:
            return self._tidy(lease)
        if lease.process_id == self._process_id:  # else it was taken before a fork, and is the parent's
            self._leases.append(lease)
            if self._waiting:
                with self._freed:
                    self._freed.notify()
        return False

    def _tidy(self, lease: Lease) -> bool:
        connection = lease.connection
        if not self.owns(lease):
            lease.is_counted = False
            return False
        if lease.is_tainted and not connection.closed:
            self.discard(lease)
            return False
        if not connection.closed and not self._closed:
            with suppress(DbUtilsError):
                run(lease, "ROLLBACK", None, fetch_count, _CHECK_TIMEOUT_SECONDS)
            if not connection.closed and connection.get_transaction_status() == _IDLE:
                self.give(lease)
                return True
        if connection.closed != _CLOSED_BY_US and not self._closed:
            self.renew(lease)
        self.discard(lease)
        return False

    def discard(self, lease: Lease) -> None:
        """Take a connection back and close it."""
        lease.is_counted = False
        if self.owns(lease):
            with suppress(psycopg2.Error):
                lease.connection.close()
            self._free_place()

    def _free_place(self) -> None:
        with self._freed:
            self._places -= 1
            self._freed.notify()

    def renew(self, dead: Lease | None = None) -> None:
        """Close every idle connection: one was found dead, so the others may be.

        A `dead` one from before the last renewal tells nothing new.
        """
        if dead is None or dead.opened_at >= self._renewed_at:
            self._renewed_at = monotonic()
            self._close_idle(lambda lease: True)

    def prune(self) -> None:
        """Close connections that are too old or were idle for too long."""
        now = monotonic()
        limit = self.settings.pool_max_idle_seconds
        self._close_idle(lambda lease: now >= lease.expires_at or 0 < limit < now - lease.used_at)

    def _close_idle(self, is_unwanted: Callable[[Lease], bool]) -> None:
        for _ in range(len(self._leases)):
            try:
                lease = self._leases.popleft()
            except IndexError:
                return
            if is_unwanted(lease):
                self.discard(lease)
            else:
                self._leases.append(lease)

    # -- state -------------------------------------------------------------------------------------

    def pool_stats(self) -> PoolStats:
        """How full is the pool, and what has it been through?"""
        idle, places = len(self._leases), self._places
        return PoolStats(
            max_connections=self.settings.pool_max_connections,
            open=places,
            in_use=max(0, places - idle),
            idle=idle,
            waiting=self._waiting,
            opened_total=self._opened_total,
            failed_total=self._failed_total,
            timeouts_total=self._timeouts_total,
        )

    def wait(self, timeout_seconds: float) -> None:
        """Return as soon as the server answers, or raise why it does not in time."""
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
        with self._freed:
            self._closed = True
            self._freed.notify_all()
        self.renew()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def after_fork(self) -> None:
        """Start empty in a child process: the open connections are the parent's to use and to close."""
        self._start_empty()


_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


def _prune_all() -> None:
    for pool in list(_pools):
        pool.prune()


def _forget_parents_connections() -> None:
    for pool in list(_pools):
        pool.after_fork()


watch.on_tick += [_prune_all, spans.look]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_connections)
