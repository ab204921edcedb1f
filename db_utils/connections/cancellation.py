"""Cancel statements: on deadlines, on a dead network and on Ctrl-C.

The driver waits inside C until the server answers, so the waiting thread notices neither a deadline nor
a signal. One daemon thread watches the running statements. When a deadline passes, or SIGINT
arrives while the main thread waits, it asks the server to cancel the statement (over a separate connection,
which works through TLS and does not block the interpreter as the driver's `cancel()` does). Where the
server does not react within a grace time it shuts the socket down, and the waiting thread gets an error
instead of hanging.

Cost for a statement without a deadline: one dict entry in, one out.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import psycopg2

from db_utils.connections.checkout import Cancellation, Checkout

GRACE_SECONDS = 2.0
"""How long the server may take to react to a cancel request before the connection is dropped."""
_TICK_SECONDS = 1.0
_REPEAT_SECONDS = 0.2

_log = logging.getLogger("db_utils.connections.cancellation")

Entry: TypeAlias = "tuple[float, int, float | None]"

under_way: dict[Checkout, Entry] = {}
"""Running statements: start (monotonic), thread, and deadline if any."""

on_tick: list[Callable[[], None]] = []
"""Other tasks to run about once a second."""

prepared_threads: set[int] = set()
"""Threads for which `start` has run."""


class _Watch:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._wake_at = 0.0
        self._bell: socket.socket | None = None
        self._rope: socket.socket | None = None

    def after_fork(self) -> None:
        """Forget the parent's thread and its wake-up pipe: a signal to the child must not write to it."""
        under_way.clear()
        prepared_threads.clear()
        self._lock = threading.Lock()
        if self._bell is not None and self._rope is not None:
            current = signal.set_wakeup_fd(-1)
            if current != self._rope.fileno():
                signal.set_wakeup_fd(current)
            self._bell.close()
            self._rope.close()
        self._reset()

    def start(self) -> None:
        """Make sure that the thread runs, and that it receives Ctrl-C if this is the main thread."""
        with self._lock:
            if self._rope is None:
                self._bell, self._rope = socket.socketpair()
                self._bell.setblocking(False)
                self._rope.setblocking(False)
                threading.Thread(
                    target=self._run, args=(self._bell,), name="db_utils-watch", daemon=True
                ).start()
        if threading.current_thread() is threading.main_thread():
            previous = signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
            if previous not in (-1, self._rope.fileno()):
                signal.set_wakeup_fd(previous)  # set by another, such as an event loop: leave it
        prepared_threads.add(threading.get_ident())

    def nudge(self, deadline: float) -> None:
        """Wake the thread early if this deadline comes before its next wake-up."""
        if deadline < self._wake_at and self._rope is not None:
            with suppress(OSError):
                self._rope.send(b"\0")

    def _run(self, bell: socket.socket) -> None:
        tick_at = time.monotonic() + _TICK_SECONDS
        while True:
            interrupted = signal.SIGINT in self._wait(bell)
            try:
                self._look(interrupted)
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + _TICK_SECONDS
                    for action in on_tick:
                        action()
            except Exception:  # an error on one connection must not end the thread
                _log.exception("watching statements failed")

    def _wait(self, bell: socket.socket) -> bytes:
        soonest = time.monotonic() + _TICK_SECONDS
        self._wake_at = soonest
        for checkout, (_, _, deadline) in list(under_way.items()):
            cancellation = checkout.cancellation
            if cancellation is not None:
                soonest = min(soonest, cancellation.hard_at)
                if not cancellation.busy:
                    soonest = min(soonest, cancellation.next_at)
            elif deadline is not None:
                soonest = min(soonest, deadline)
        self._wake_at = soonest
        ready, _, _ = select.select([bell], [], [], max(0.0, soonest - time.monotonic()))
        if not ready:
            return b""
        try:
            return bell.recv(4096)
        except BlockingIOError:
            return b""

    def _look(self, interrupted: bool) -> None:
        # An application with its own SIGINT handler may want to finish the statement.
        interrupted = interrupted and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        now = time.monotonic()
        main_thread_id = threading.main_thread().ident
        for checkout, entry in list(under_way.items()):
            started, thread_id, deadline = entry
            if deadline is None and checkout.guard_seconds is not None:
                deadline = started + checkout.guard_seconds
            cancellation = checkout.cancellation
            if cancellation is None:
                if interrupted and thread_id == main_thread_id:
                    reason = "interrupt"
                elif deadline is not None and now >= deadline:
                    reason = "deadline"
                else:
                    continue
                cancellation = Cancellation(reason, now + GRACE_SECONDS)
                checkout.cancellation = cancellation
                if under_way.get(checkout) is not entry:
                    checkout.cancellation = None  # it ended before it could notice this
                    continue
            if now >= cancellation.hard_at:
                _sever(checkout, cancellation)
            elif now >= cancellation.next_at and not cancellation.busy:
                _cancel(checkout, cancellation)


def _cancel(checkout: Checkout, cancellation: Cancellation) -> None:
    with cancellation.lock:
        if cancellation.finished:
            return
        cancellation.busy = True
        cancellation.idle.clear()
        cancellation.next_at = time.monotonic() + _REPEAT_SECONDS
    threading.Thread(
        target=_send_cancel, args=(checkout, cancellation), name="db_utils-cancel", daemon=True
    ).start()


def _send_cancel(checkout: Checkout, cancellation: Cancellation) -> None:
    try:
        if checkout.is_pooled:
            _cancel_through_pooler(checkout, cancellation)
            return
        pid = checkout.connection.get_backend_pid()
        helper = psycopg2.connect(**checkout.cancel_parameters)
        try:
            helper.autocommit = True
            with helper.cursor() as cursor:
                cursor.execute("SELECT pg_cancel_backend(%s)", (pid,))
        finally:
            helper.close()
    except psycopg2.Error as error:
        if "too many" in str(error) or "connection slots" in str(error):
            _send_plain_cancel(checkout, cancellation)
        else:
            _log.debug("the cancel request did not reach the server: %s", type(error).__name__)
    finally:
        cancellation.next_at = time.monotonic() + _REPEAT_SECONDS
        cancellation.busy = False
        cancellation.idle.set()
        _watch.nudge(cancellation.next_at)


def _cancel_through_pooler(checkout: Checkout, cancellation: Cancellation) -> None:
    """Only the pooler knows which server process runs the statement, and only the driver knows the pooler's cancel key.

    As the driver holds the GIL meanwhile, a probe checks first that the pooler accepts connections.
    """
    info = checkout.connection.info
    try:
        if not str(info.host).startswith("/"):
            socket.create_connection((info.host, info.port), GRACE_SECONDS).close()
        _send_plain_cancel(checkout, cancellation)
    except OSError as error:
        _log.debug("the cancel request did not reach the pooler: %s", type(error).__name__)


def _send_plain_cancel(checkout: Checkout, cancellation: Cancellation) -> None:
    """Use the driver's `cancel()`, which needs no free slot: the server has just answered, so it will not block."""
    with cancellation.lock, suppress(psycopg2.Error):
        if not cancellation.finished:
            checkout.connection.cancel()


def _sever(checkout: Checkout, cancellation: Cancellation) -> None:
    with cancellation.lock:
        if cancellation.finished or cancellation.severed:
            return
        cancellation.severed = True
        cancellation.hard_at = float("inf")
        cancellation.next_at = float("inf")
        with suppress(OSError, psycopg2.Error):
            family = socket.AF_UNIX if str(checkout.connection.info.host).startswith("/") else socket.AF_INET
            with socket.socket(family, fileno=os.dup(checkout.connection.fileno())) as handle:
                handle.shutdown(socket.SHUT_RDWR)


def settle(checkout: Checkout) -> Cancellation | None:
    """Settle a statement that ended after an attempt to cancel it.

    Call it after removing the statement from `under_way`. Afterwards no late cancel can hit a later statement: the
    request has reached the server, or the connection is closed.
    """
    cancellation = checkout.cancellation
    if cancellation is None:
        return None
    with cancellation.lock:
        cancellation.finished = True
    if not cancellation.idle.wait(GRACE_SECONDS):
        checkout.connection.close()
    checkout.cancellation = None
    return cancellation


_watch = _Watch()
start: Callable[[], None] = _watch.start
nudge: Callable[[float], None] = _watch.nudge

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch.after_fork)


def cancel_parameters(parameters: dict[str, str]) -> dict[str, str]:
    """Parameters of the short-lived cancel connection: as the others, but with a short timeout and no options."""
    changed = {name: value for name, value in parameters.items() if name != "options"}
    changed["connect_timeout"] = "2"
    changed["application_name"] = "db_utils cancel"
    return changed
