"""Whose turn is it to get a connection: the idle ones, the places to open more in, and the queue of those who wait.

Who waits longest is handed what comes next, whether a connection that is given back or a place that becomes
free. While a caller waits nothing is put among the idle ones, so a newcomer finds nothing to take before
them: it can be first only in the moment in which the other lines up.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from db_utils.connections.checkout import Checkout


class Waiter:
    """A thread that waits, and what it was handed: a connection, or a place to open one in."""

    __slots__ = ("asleep", "checkout", "has_place")

    def __init__(self) -> None:
        self.checkout: Checkout | None = None
        self.has_place = False
        # A bare lock: an Event has locks of its own, which a Ctrl-C can leave held.
        self.asleep = threading.Lock()
        self.asleep.acquire()


class WaitQueue:
    """The idle connections of a pool, its places, and the queue before it.

    Whoever takes and gives without contention pops and appends `idle`, which a deque does atomically, and
    only looks at `is_watched` after an append.
    """

    def __init__(self, size: int, is_closed: bool = False) -> None:
        self.size = size
        self.idle: deque[Checkout] = deque()
        self.places = 0  # connections that are open or being opened
        self.waiters: deque[Waiter] = deque()  # who waits longest is first
        self.is_closed = is_closed
        self.is_watched = is_closed  # a caller waits, or it is closed: what comes back is handed to `serve`
        # Reentrant: a checkout may be collected, and its place become free, while it is held.
        self._lock = threading.RLock()
        self._is_serving = False

    def wait(self, waiter: Waiter, timeout_seconds: float) -> None:
        """Line up; returns when the waiter was handed something, time is up, or the pool is closed."""
        with self._lock:
            if not self.is_closed:
                self.waiters.append(waiter)
                self.is_watched = True
                self._serve()
        if not self.is_closed:
            waiter.asleep.acquire(timeout=timeout_seconds)

    def leave(self, waiter: Waiter) -> Checkout | None:
        """Leave the queue, and the place that it was handed to the next; the connection is returned."""
        with self._lock:
            with suppress(ValueError):
                self.waiters.remove(waiter)
            if waiter.has_place:
                self.places, waiter.has_place = self.places - 1, False
            self._serve()
        return waiter.checkout

    def serve(self, returned: Checkout | None = None) -> None:
        """Hand a connection that came back, and what else is free, to those who wait."""
        with self._lock:
            self._serve(returned)

    def remove(self, checkout: Checkout) -> None:
        """Free the place of a connection that was closed."""
        with self._lock:
            if checkout.is_counted:
                checkout.is_counted, self.places = False, self.places - 1
                self._serve()

    def close(self) -> None:
        """Nobody is handed anything any more, and those who wait are woken."""
        with self._lock:
            self.is_closed = self.is_watched = True
            self._serve()

    def _serve(self, returned: Checkout | None = None) -> None:
        # A Ctrl-C may end this anywhere, and the next call goes on where it stopped: a waiter leaves the queue
        # after it was woken, and a checkout that nobody holds any more frees its place.
        if self._is_serving:  # a checkout, or its holder, was collected in the midst of the loop below
            if returned is not None:
                self.idle.append(returned)
            return
        self._is_serving = True
        try:
            while self.waiters:
                waiter = self.waiters[0]
                if waiter.checkout is None and not waiter.has_place and not self.is_closed:
                    if returned is None:
                        with suppress(IndexError):
                            returned = self.idle.pop()
                    if returned is not None:
                        waiter.checkout, returned = returned, None
                    elif self.places < self.size:
                        self.places, waiter.has_place = self.places + 1, True
                    elif self.idle:
                        continue
                    else:
                        break
                if waiter.asleep.locked():
                    waiter.asleep.release()
                self.waiters.popleft()
            if returned is not None:
                self.idle.append(returned)
            self.is_watched = bool(self.waiters) or self.is_closed
        finally:
            self._is_serving = False
