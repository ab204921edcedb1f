"""A connection to Redis that ends what it does at a deadline.

redis-py opens it and logs in (TLS, ACL users, databases, every option of its URLs). From then on commands
and replies go over the socket directly, as RESP2: a deadline for the whole exchange, whose bytes may
trickle in, is more than its connections offer, and reading fifty values takes a fraction of the time.
"""

from __future__ import annotations

import time
from ssl import SSLWantReadError
from typing import Any

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

READ_BYTES = 65536


class ErrorReply(Exception):  # noqa: N818
    """An error that the server replied, as a value among other replies; `code` is its first word."""

    @property
    def code(self) -> str:
        """What tells the errors apart."""
        return str(self).partition(" ")[0]


class ProtocolError(Exception):
    """What arrived is not a reply of Redis, or it ended too early."""


class DeadlineSocket:
    """A socket whose reads and writes together end at a deadline, however slowly the bytes trickle in.

    A socket's own timeout starts anew with every read: a peer that sends one byte in time, again and again,
    would hold its caller for ever. The deadline is on `time.monotonic`. What has arrived by then is still
    read, once and without waiting: a thread that did not get the processor in time is no fault of the
    server's.
    """

    __slots__ = ("_deadline", "_overdue", "_socket")

    def __init__(self, socket: Any, deadline: float) -> None:
        self._socket = socket
        self.begin(deadline)

    def begin(self, deadline: float) -> None:
        """Start an exchange that ends at this moment."""
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
        """What `socket.recv` does, before the deadline."""
        socket = self._socket
        left = self._deadline - time.monotonic()
        if left > 0:
            socket.settimeout(left)
        elif self._overdue:
            raise TimeoutError("timed out")
        else:
            self._overdue = True
            socket.settimeout(0)
        try:
            data: bytes = socket.recv(size)
        except (BlockingIOError, SSLWantReadError):
            raise TimeoutError("timed out") from None
        return data

    def recv_into(self, buffer: Any, *args: Any) -> int:
        """What `socket.recv_into` does, before the deadline."""
        count: int = self._arm().recv_into(buffer, *args)
        return count

    def sendall(self, data: bytes) -> None:
        """What `socket.sendall` does, before the deadline."""
        sent = self._arm().send(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                rest = rest[self._arm().send(rest) :]

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the deadline decides."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Bounded:
    """What makes a connection of redis-py keep to a deadline; see `DeadlineSocket`."""

    connect_seconds: float
    bounded: DeadlineSocket | None = None

    def _connect(self) -> DeadlineSocket:
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

    `used` and `epoch` are its pool's notes: whether it has answered before, and since when it belongs there.
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

    def converse(self, commands: bytes, replies: int, deadline: float) -> list[Any]:
        """Send packed commands and read their replies before the deadline; error replies are in the list.

        TimeoutError, another OSError or ProtocolError: the connection is of no more use.
        """
        socket = self._connection.bounded
        if socket is None:
            raise ConnectionError("the connection is closed")
        socket.begin(deadline)
        socket.sendall(commands)
        read = _Reader(socket).reply
        return [read() for _ in range(replies)]

    def close(self) -> None:
        """Close it, if it is open."""
        self._connection.disconnect()


class _Reader:
    """Replies out of a socket: str for a status, int, bytes, None, list, ErrorReply."""

    __slots__ = ("_at", "_buffer", "_socket")

    def __init__(self, socket: DeadlineSocket) -> None:
        self._socket = socket
        self._buffer = b""
        self._at = 0

    def reply(self) -> Any:
        """The next reply."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return self._array(int(rest))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind == b"-":
            return ErrorReply(rest.decode("utf-8", "replace"))
        raise ProtocolError(f"it does not speak like Redis: {line[:40]!r}")

    def _array(self, count: int) -> list[Any] | None:
        if count < 0:
            return None
        items: list[Any] = []
        while len(items) < count:
            buffer, at = self._buffer, self._at
            # The usual case without a call: a value that has arrived as a whole.
            end = buffer.find(b"\r\n", at)
            if end > 0 and buffer[at] == 36:  # $
                size = int(buffer[at + 1 : end])
                start = end + 2
                if size < 0:
                    items.append(None)
                    self._at = start
                    continue
                if len(buffer) >= start + size + 2:
                    items.append(buffer[start : start + size])
                    self._at = start + size + 2
                    continue
            items.append(self.reply())
        return items

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n", self._at)
            if end >= 0:
                line = self._buffer[self._at : end]
                self._at = end + 2
                return line
            self._buffer = self._buffer[self._at :] + self._more()
            self._at = 0

    def _bulk(self, size: int) -> bytes | None:
        if size < 0:
            return None
        pieces = [self._buffer[self._at :]]
        missing = size + 2 - len(pieces[0])
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        if len(pieces) > 1:
            self._buffer = b"".join(pieces)
            self._at = 0
        end = self._at + size
        data = self._buffer[self._at : end]
        self._at = end + 2
        return data

    def _more(self) -> bytes:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data
