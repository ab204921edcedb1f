"""One Redis server: its pool of connections, its breaker, and its probe."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from db_utils.cache.breaker import Breaker, BreakerState
from db_utils.cache.connection import BoundedConnection, Command
from db_utils.errors import CacheError

CONNECTING_AT_ONCE = 4


class UnavailableError(CacheError):
    """Redis is unreachable or did not answer in time; the caller uses the database.

    `bypassed` means that the breaker was open and nothing was tried.
    """

    def __init__(self, message: str = "", *, bypassed: bool = False) -> None:
        super().__init__(message)
        self.bypassed = bypassed


class Node:
    """A bounded pool of connections to one server.

    Separate threads open connections, because an unresolvable name, a TLS handshake or a dead Sentinel can
    take far longer than a caller may wait: the caller leaves at its deadline, and the connection, once open,
    serves the next one.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], BoundedConnection],
        breaker: Breaker,
        *,
        max_connections: int,
        budget_seconds: float,
        on_failure: Callable[[Node], None] | None = None,
    ) -> None:
        self.name = name
        self.breaker = breaker
        self._connect = connect
        self._max_connections = max_connections
        self._budget_seconds = budget_seconds
        self._on_failure = on_failure
        self._idle: deque[BoundedConnection] = deque()
        self._condition = threading.Condition()
        self._open = 0
        self._connecting = 0
        self._waiting = 0
        self._late = False
        self._failures = 0
        self._failure = ""
        self._epoch = 0
        self._closed = False

    def run(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Send these commands and return their replies; Redis' error replies are in the list.

        Raises UnavailableError. A connection that was closed while idle is replaced once.
        """
        breaker = self.breaker
        if breaker.state is not BreakerState.CLOSED:
            self.ask_whether_back()
            raise UnavailableError(f"{self.name} is being bypassed", bypassed=True)
        if time.monotonic() >= deadline:  # spent before this call
            raise UnavailableError(f"there was no time left to ask {self.name}")
        while True:
            connection = self._borrow(deadline)
            again = connection.used
            try:
                answer = connection.converse(commands, deadline)
            except (RedisTimeoutError, TimeoutError):
                self._discard(connection)
                self.drop_connections()  # if one died silently, the other idle ones did too
                self.note_failure("did not answer in time")
                raise UnavailableError(f"{self.name} did not answer in time") from None
            except (RedisError, OSError, ValueError) as error:
                self._discard(connection)
                if (
                    again
                    and isinstance(error, OSError | RedisConnectionError)
                    and time.monotonic() < deadline
                ):
                    self.drop_connections()
                    continue
                self.note_failure(describe(error))
                raise UnavailableError(f"{self.name}: {describe(error)}") from None
            except BaseException:
                self._discard(connection)
                raise
            connection.used = True
            self._give_back(connection)
            return answer

    def note_failure(self, reason: str) -> None:
        """Report a failed call to the breaker."""
        self.breaker.failed(reason)
        if self._on_failure is not None:
            self._on_failure(self)

    def note_success(self) -> None:
        """Report a successful call to the breaker."""
        self.breaker.succeeded()

    def drop_connections(self) -> None:
        """Close idle connections; one in use is closed when it is returned."""
        with self._condition:
            self._epoch += 1
            idle = list(self._idle)
            self._idle.clear()
            self._open -= len(idle)
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close every connection, now or when it is returned; no command runs afterwards."""
        self._closed = True
        self.drop_connections()
        with self._condition:
            self._condition.notify_all()

    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        return self._open

    def _borrow(self, deadline: float) -> BoundedConnection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._condition:
            failures = self._failures
            self._waiting += 1
            try:
                while True:
                    if self._idle:
                        return self._idle.pop()
                    if self._closed:
                        raise UnavailableError("the cache is closed", bypassed=True)
                    if self._late and self._connecting == self._open > 0:
                        raise UnavailableError(f"{self.name} is still connecting", bypassed=True)
                    if self._failures != failures:
                        raise UnavailableError(f"{self.name}: {self._failure}")
                    self._start_connecting()
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    self._condition.wait(left)
            finally:
                self._waiting -= 1
            failed = self._connecting > 0  # and not merely all in use
            if self._connecting == self._open > 0 and (self._late or not self.breaker.failures):
                # A server that has not failed before may just be slow to connect to: that counts as one
                # failure, and the other callers need not wait too.
                failed = not self._late
                self._late = True
        if failed:
            self.note_failure("no connection in time")
        raise UnavailableError(f"{self.name}: no connection in time")

    def _start_connecting(self) -> None:
        if (
            self._open < self._max_connections
            and self._connecting < CONNECTING_AT_ONCE
            and self._connecting < self._waiting
        ):
            self._spawn(self._open_one, self._epoch)
            self._open += 1
            self._connecting += 1

    def _open_one(self, epoch: int) -> None:
        try:
            connection = self._connect()
            connection.epoch = epoch
        except Exception as error:
            with self._condition:
                self._open -= 1
                self._connecting -= 1
                self._late = False
                self._failures += 1
                self._failure = describe(error)
                self._condition.notify_all()
            self.note_failure(describe(error))
            return
        with self._condition:
            self._connecting -= 1
            self._late = False
            keep = not self._closed
            if keep:
                self._idle.append(connection)
                self._condition.notify()
            else:
                self._open -= 1
        if not keep:
            connection.close()

    def _give_back(self, connection: BoundedConnection) -> None:
        if self._closed or connection.epoch != self._epoch:
            self._discard(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._condition:
                self._condition.notify()

    def _discard(self, connection: BoundedConnection) -> None:
        connection.close()
        with self._condition:
            self._open -= 1
            self._condition.notify()

    def ask_whether_back(self) -> None:
        """Probe a bypassed server, if a probe is due."""
        if not self._closed and self.breaker.take_probe():
            self._spawn(self._probe)

    def _probe(self) -> None:
        """Open a connection, without a limit, then check that it answers within a caller's budget."""
        self.drop_connections()
        try:
            connection = self._connect()
        except Exception as error:
            self.note_failure(describe(error))
            return
        try:
            (reply,) = connection.converse([("PING",)], time.monotonic() + self._budget_seconds)
            if isinstance(reply, Exception):
                raise reply
        except Exception as error:
            connection.close()
            self.note_failure(describe(error))
            return
        with self._condition:
            keep = not self._closed and self._open < self._max_connections
            if keep:
                connection.epoch = self._epoch
                self._open += 1
                self._idle.append(connection)
        if not keep:
            connection.close()
        self.note_success()

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="prediction-cache", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is shutting down
            self.note_failure(describe(error))
            raise UnavailableError(f"{self.name}: {describe(error)}") from None


def describe(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return text[:200] or type(error).__name__
