"""A read replica: takes reads outside transactions while it is known to be fresh enough.

Its state is compared with the primary's by positions in the write-ahead log, so no other machine's clock
matters. A read goes to the replica if that had replayed, at most `replica_max_lag_seconds` ago, all that the
primary had written then, and all that this manager has written until now; else to the primary.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from db_utils.config import Settings
from db_utils.connections.pool import ConnectionPool
from db_utils.errors import (
    ConnectionFailedError,
    DbUtilsError,
    PoolTimeoutError,
    QueryTimeoutError,
    ReadOnlyError,
    SerializationError,
    ServerUnavailableError,
)
from db_utils.sql_text import shape

Result = TypeVar("Result")

log = logging.getLogger("db_utils")

_PAUSE_SECONDS = 5.0
_LOOK_SECONDS = 0.02  # between two checks of a lagging replica
_LOOK_TIMEOUT_SECONDS = 1.0
_TEXTS = 4096

_WRITTEN = (
    "SELECT pg_current_wal_lsn() - '0/0' AS position, (pg_control_system()).system_identifier AS system"
)
_REPLAYED = (
    "SELECT pg_is_in_recovery() AS is_standby, pg_last_wal_replay_lsn() - '0/0' AS position, "
    "(pg_control_system()).system_identifier AS system"
)


@dataclass(frozen=True)
class ReplicaState:
    """Whether reads go to the replica now. `lag_seconds` is an upper bound, None while it is not known."""

    in_use: bool
    url: str
    lag_seconds: float | None
    reason: str | None
    """Why reads go to the primary; None where they do not."""


@dataclass(frozen=True)
class _Mark:
    """The end of the primary's log, when it was read, and this manager's last write."""

    position: int
    at: float
    last_write: object
    system: int
    """The identifier of the primary's server, which its copies share."""


class Replica:
    """The pool of the replica, and whether to use it now."""

    def __init__(self, settings: Settings, url: str, primary: ConnectionPool) -> None:
        self.pool = ConnectionPool(settings, url)
        self._primary = primary
        self._max_lag_seconds = settings.replica_max_lag_seconds
        self._lock = threading.Lock()
        self._held: _Mark | None = None
        self._awaited: _Mark | None = None
        self._looked_at = float("-inf")
        self._paused_until = float("-inf")
        self._reason: str | None = "not checked yet"
        self._plain: set[int] = set()

    def answer(self, sql: str, ask: Callable[[ConnectionPool], Result]) -> tuple[Result] | None:
        """Return the replica's result in a tuple of one; None where the primary has to be used.

        That is the case if the statement is not a plain read, by its keywords or because the replica
        refused it as a write; if the replica is too far behind or dropped the snapshot that the read needed;
        and for some seconds after it did not answer.
        """
        if not shape(sql).looks_read_only or not self._is_fresh():
            return None
        try:
            result = ask(self.pool)
        except (ReadOnlyError, SerializationError):
            return None
        except (ServerUnavailableError, ConnectionFailedError) as error:
            self._pause(str(error))
            return None
        except QueryTimeoutError as error:
            if error.sqlstate is None:  # no answer from any server: the next read need not wait for it
                self._pause(str(error))
            raise
        if len(self._plain) > _TEXTS:
            self._plain.clear()
        self._plain.add(hash(sql))
        return (result,)

    def is_plain_read(self, sql: str) -> bool:
        """Return whether the replica has answered this text before, so that it writes nothing.

        A call of a writing function looks like a read; a text not known to be a read counts as a write.
        """
        return hash(sql) in self._plain

    def state(self) -> ReplicaState:
        """Return whether it is used now, and its maximum lag. Queries both servers."""
        with self._lock:
            self._look(time.monotonic())
        held, reason = self._held, self._reason
        lag = None if held is None else time.monotonic() - held.at
        return ReplicaState(reason is None, self.pool.safe_url, lag, reason)

    def _is_fresh(self) -> bool:
        now = time.monotonic()
        if self._suffices(now, self._max_lag_seconds / 2):
            return True
        if now < self._paused_until or now - self._looked_at < _LOOK_SECONDS:
            return self._suffices(now, self._max_lag_seconds)
        if self._lock.acquire(blocking=False):  # one thread checks, the others use the last known state
            try:
                self._look(now)
            finally:
                self._lock.release()
        return self._suffices(now, self._max_lag_seconds)

    def _suffices(self, now: float, lag_seconds: float) -> bool:
        held = self._held
        return (
            held is not None
            and now >= self._paused_until
            and held.last_write is self._primary.last_write
            and now - held.at <= lag_seconds
        )

    def _look(self, now: float) -> None:
        """Compare the two logs. The target position stays until it is reached, as writes continue meanwhile."""
        self._looked_at = now
        if now < self._paused_until:
            return
        try:
            if self._awaited is not None:
                self._compare(self._awaited)
            if self._awaited is None:
                self._awaited = self._mark()
                if self._awaited is not None:
                    self._compare(self._awaited)
        except _NotAStandbyError as error:
            self._pause(str(error))
            log.warning("reads go to the primary: %s", error)
            return
        except (ServerUnavailableError, ConnectionFailedError, PoolTimeoutError, QueryTimeoutError) as error:
            self._pause(str(error))
            return
        held = self._held
        if held is not None and time.monotonic() - held.at > self._max_lag_seconds:
            self._reason = f"it is more than {self._max_lag_seconds:g} s behind"
        elif held is None or held.last_write is not self._primary.last_write:
            self._reason = "it has not yet replayed the latest writes"
        else:
            self._reason = None

    def _mark(self) -> _Mark | None:
        last_write, at = self._primary.last_write, time.monotonic()
        try:
            row = self._primary.read(_WRITTEN, _LOOK_TIMEOUT_SECONDS)[0]
        except DbUtilsError as error:  # the following read raises if it fails too
            log.debug("the primary did not report the end of its log: %s", error)
            return None
        return _Mark(int(row["position"]), at, last_write, row["system"])

    def _compare(self, mark: _Mark) -> None:
        row = self.pool.read(_REPLAYED, _LOOK_TIMEOUT_SECONDS)[0]
        if row["system"] != mark.system:
            raise _NotAStandbyError(f"{self.pool.safe_url} is not a copy of this database's server")
        if not row["is_standby"]:
            raise _NotAStandbyError(f"{self.pool.safe_url} is not a standby: it was promoted")
        if row["position"] is not None and int(row["position"]) >= mark.position:
            self._held, self._awaited = mark, None

    def _pause(self, reason: str) -> None:
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        self._reason = reason


class _NotAStandbyError(Exception):
    """The replica's address is not that of a standby of the primary."""
