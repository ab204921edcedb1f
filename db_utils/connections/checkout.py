"""A connection while it is in use: the connection, and the state that the pool and the cancellation thread need."""

from __future__ import annotations

import os
import select
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import psycopg2
import psycopg2.extensions


class Cancellation:
    """One attempt to stop one statement, shared by the watching and the waiting thread."""

    __slots__ = ("busy", "finished", "hard_at", "idle", "lock", "next_at", "reason", "severed")

    def __init__(self, reason: str, hard_at: float) -> None:
        self.reason = reason  # "deadline" or "interrupt"
        self.hard_at = hard_at
        self.next_at = 0.0
        self.lock = threading.Lock()
        self.idle = threading.Event()
        self.idle.set()
        self.busy = False
        self.finished = False
        self.severed = False


class Checkout:
    """A connection of the pool: `ConnectionPool.take` gives it, `ConnectionPool.give` takes it back.

    One that is dropped instead (an ill-timed Ctrl-C) frees its place when it is collected.
    """

    __slots__ = (
        "__weakref__",
        "backend_pid",
        "cancel_parameters",
        "cancellation",
        "connection",
        "cursor",
        "discard",
        "expires_at",
        "guard_seconds",
        "is_counted",
        "is_lent",
        "is_pooled",
        "is_tainted",
        "opened_at",
        "planned",
        "preamble",
        "process_id",
        "session_text",
        "slow_seconds",
        "types",
        "used_at",
    )

    def __init__(
        self,
        connection: psycopg2.extensions.connection,
        *,
        discard: Callable[[Checkout], None],
        cancel_parameters: dict[str, str],
        opened_at: float,
        expires_at: float,
        guard_seconds: float | None,
        slow_seconds: float,
        process_id: int,
    ) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.discard = discard
        self.cancel_parameters = cancel_parameters
        self.cancellation: Cancellation | None = None
        self.opened_at = opened_at  # these times are monotonic
        self.used_at = opened_at
        self.expires_at = expires_at
        self.guard_seconds = guard_seconds
        self.slow_seconds = slow_seconds
        self.process_id = process_id
        self.is_counted = False  # whether it fills one of the pool's places
        self.is_tainted = False  # its session may hold state that the next user must not see
        self.backend_pid = 0  # the server process that answered at connect
        self.is_pooled = False  # behind a pooler: the driver's backend PID is the pooler's
        self.preamble = ""  # set where each transaction gets another session: what it begins with
        self.session_text = ""  # what a pooler's session begins with, where it is exclusive
        self.planned: dict[
            tuple[str, str, str], str
        ] = {}  # see planned_once; the one used last is at the end
        self.is_lent = False  # the driver's object was in the caller's hands
        self.types: dict[int, object] = {}  # how the driver read values before that
        _checkouts.add(self)

    def lend(self) -> psycopg2.extensions.connection:
        """Return the driver's connection, for a caller that may do anything with it: it is reset afterwards."""
        if not self.is_lent:
            self.is_lent = self.is_tainted = True
            self.types = dict(self.connection.string_types)
        return self.connection

    def beginning(self, text: str) -> str:
        """Return SQL that begins a transaction, with the settings that this connection needs in each."""
        if not self.preamble:
            return text
        begin, end, rest = text.partition(";")
        return f"{begin}{end} {self.preamble} {rest}"

    def take_back(self) -> None:
        """Undo what a caller may have done to the driver's object."""
        connection = self.connection
        if connection.status != psycopg2.extensions.STATUS_READY:
            connection.rollback()
        modes = (connection.isolation_level, connection.readonly, connection.deferrable)
        if not connection.autocommit or modes != (None, None, None):
            connection.autocommit = False  # otherwise each of these would be a statement
            connection.isolation_level = None
            connection.readonly = None
            connection.deferrable = None
            connection.autocommit = True
        connection.cursor_factory = None
        connection.notices.clear()
        connection.notifies.clear()
        connection.string_types.clear()
        connection.string_types.update(self.types)
        self.is_lent = False

    def has_news(self) -> bool:
        """Whether the server sent unsolicited data: most likely that it ended the connection."""
        if hasattr(select, "poll"):
            poller = select.poll()
            poller.register(self.connection.fileno(), select.POLLIN)
            return bool(poller.poll(0))
        return bool(select.select([self.connection.fileno()], [], [], 0)[0])

    def take_news(self) -> None:
        """Let the driver read it; the server's last message is then in the connection's notices."""
        with suppress(psycopg2.Error):
            self.connection.poll()

    def close(self) -> None:
        """Close the connection if it belongs to this process; an already broken one is no error."""
        if self.process_id == os.getpid():
            with suppress(psycopg2.Error):
                self.connection.close()

    def __del__(self) -> None:
        if self.is_counted:
            with suppress(Exception):  # the interpreter may be shutting down
                self.discard(self)


_checkouts: weakref.WeakSet[Checkout] = weakref.WeakSet()


def _let_go_of_parents_sockets() -> None:
    """Detach a forked child from its parent's connections.

    Both processes hold the same sockets. The server would take anything the child sends (COMMIT at the end of
    a block, a terminate message on collection) as sent by the parent. In the child each is replaced by a
    dead socket; the parent's is unaffected.
    """
    checkouts = list(_checkouts)
    if not checkouts:
        return
    end, other = socket.socketpair()
    other.close()
    for checkout in checkouts:
        with suppress(psycopg2.Error, OSError):
            os.dup2(end.fileno(), checkout.connection.fileno(), inheritable=False)
    end.close()
    _checkouts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_of_parents_sockets)
