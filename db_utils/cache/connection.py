"""A connection to Redis with a deadline for each exchange.

Opening it, logging in, packing commands and parsing replies are redis-py's work (with hiredis where that is
installed). What its connections lack is a deadline for a whole exchange: their timeout restarts with every
read, so a reply that trickles in could block its caller forever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from ssl import SSLWantReadError
from typing import Any, TypeAlias

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

Command: TypeAlias = Sequence[bytes | str]


class DeadlineSocket:
    """A socket whose reads and writes together end at a deadline, however slowly the bytes trickle in.

    A socket's own timeout restarts with every read: a peer that keeps sending single bytes in time would
    block its caller forever. The deadline is on `time.monotonic`. Data that has arrived by then is still
    read, once and without waiting: a thread that was scheduled late is not the server's fault.
    """

    __slots__ = ("_deadline", "_overdue", "_socket")

    def __init__(self, socket: Any, deadline: float) -> None:
        self._socket = socket
        self.begin(deadline)

    def begin(self, deadline: float) -> None:
        """Start an exchange that ends at this time."""
        self._deadline = deadline
        self._overdue = False

    def _arm(self) -> Any:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        socket = self._socket
        socket.settimeout(left)
        return socket

    def recv(self, size: int) -> bytes:
        """Like `socket.recv`, before the deadline."""
        data: bytes = self._receive(self._socket.recv, size)
        return data

    def recv_into(self, buffer: Any) -> int:
        """Like `socket.recv_into`, before the deadline."""
        count: int = self._receive(self._socket.recv_into, buffer)
        return count

    def _receive(self, receive: Callable[[Any], Any], what: Any) -> Any:
        left = self._deadline - time.monotonic()
        if left <= 0:
            if self._overdue:
                raise TimeoutError("timed out")
            self._overdue = True
            left = 0
        self._socket.settimeout(left)
        try:
            return receive(what)
        except (BlockingIOError, SSLWantReadError):
            raise TimeoutError("timed out") from None

    def sendall(self, data: bytes) -> None:
        """Like `socket.sendall`, before the deadline."""
        sent = self._arm().send(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                rest = rest[self._arm().send(rest) :]

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: the deadline applies."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Bounded:
    """Mixin that makes a redis-py connection keep to a deadline; see `DeadlineSocket`."""

    connect_seconds: float
    bounded: DeadlineSocket | None = None

    def _connect(self) -> DeadlineSocket:
        if self.bounded is not None:  # redis-py would reconnect within a caller's deadline
            raise ConnectionError("the connection was closed")
        deadline = time.monotonic() + self.connect_seconds
        self.bounded = DeadlineSocket(super()._connect(), deadline)  # type: ignore[misc]
        return self.bounded


class _BoundedTCP(_Bounded, Connection):
    pass


class _BoundedTLS(_Bounded, SSLConnection):
    pass


class _BoundedUnix(_Bounded, UnixDomainSocketConnection):
    pass


_BOUNDED: dict[type, type] = {
    Connection: _BoundedTCP,
    SSLConnection: _BoundedTLS,
    UnixDomainSocketConnection: _BoundedUnix,
}


class BoundedConnection:
    """One connection to a server, opened with `open` and then used by one thread at a time.

    `used` and `epoch` belong to its pool: whether it has answered before, and its generation.
    """

    __slots__ = ("_connection", "epoch", "used")

    def __init__(self, kind: type, connect_seconds: float, **arguments: Any) -> None:
        self._connection: Any = _BOUNDED[kind](**arguments)
        self._connection.connect_seconds = connect_seconds
        self.used = False
        self.epoch = 0

    def open(self) -> None:
        """Connect, log in and choose the database; takes a few times connect_seconds at most, or raises."""
        try:
            self._connection.connect()
        except BaseException:
            self.close()
            raise

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Send commands and return their replies before the deadline; Redis' error replies are in the list.

        After any other RedisError, OSError or ValueError the connection is unusable.
        """
        connection = self._connection
        socket = connection.bounded
        if socket is None:
            raise ConnectionError("the connection is closed")
        socket.begin(deadline)
        connection.send_packed_command([b"".join(connection.pack_commands(commands))], check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
        return replies

    def close(self) -> None:
        """Close it, if it is open."""
        self._connection.disconnect()
