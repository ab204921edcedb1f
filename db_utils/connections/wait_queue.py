"""The queue for connections: the idle ones, the capacity to open more, and the waiters.

The longest waiter gets whatever comes next, a returned connection or a freed place. While a caller waits,
nothing is added to the idle connections, so a newcomer cannot overtake it, except at the very moment it queues.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from db_utils.connections.checkout import Checkout


class Waiter:
    """A waiting thread, and what it was given: a connection, or a place to open one in."""

    __slots__ = ("asleep", "checkout", "has_place")

    def __init__(self) -> None:
        self.checkout: Checkout | None = None
        self.has_place = False
        # A bare lock: an Event has internal locks, which a Ctrl-C can leave held.
        self.asleep = threading.Lock()
        self.asleep.acquire()


class WaitQueue:
    """The idle connections of a pool, its places, and its waiters.

    Without contention, callers pop and append to `idle`, which a deque does atomically, and check
    `is_watched` after an append.
    """

    def __init__(self, size: int, is_closed: bool = False) -> None:
        self.size = size
        self.idle: deque[Checkout] = deque()
        self.places = 0  # connections that are open or being opened
        self.waiters: deque[Waiter] = deque()  # the longest waiter is first
        self.is_closed = is_closed
        self.is_watched = is_closed  # a caller waits, or it is closed: returned connections go to `serve`
        # Reentrant: a checkout may be collected, freeing its place, while it is held.
        self._lock = threading.RLock()
        self._is_serving = False

    def wait(self, waiter: Waiter, timeout_seconds: float) -> None:
        """Queue; return when the waiter was served, the time is up, or the pool is closed."""
        with self._lock:
            if not self.is_closed:
                self.waiters.append(waiter)
                self.is_watched = True
                self._serve()
        if not self.is_closed:
            waiter.asleep.acquire(timeout=timeout_seconds)

    def leave(self, waiter: Waiter) -> Checkout | None:
        """Leave the queue; a place it was given passes to the next waiter, a connection is returned."""
        with self._lock:
            with suppress(ValueError):
                self.waiters.remove(waiter)
            if waiter.has_place:
                self.places, waiter.has_place = self.places - 1, False
            self._serve()
        return waiter.checkout

    def serve(self, returned: Checkout | None = None) -> None:
        """Give a returned connection, and whatever else is free, to the waiters."""
        with self._lock:
            self._serve(returned)

    def remove(self, checkout: Checkout) -> None:
        """Free the place of a connection that was closed."""
        with self._lock:
            if checkout.is_counted:
                checkout.is_counted, self.places = False, self.places - 1
                self._serve()

    def close(self) -> None:
        """Close the queue and wake all waiters."""
        with self._lock:
            self.is_closed = self.is_watched = True
            self._serve()

    def _serve(self, returned: Checkout | None = None) -> None:
        # A Ctrl-C may end this anywhere, and the next call resumes: a waiter leaves the queue after it was
        # woken, and an unreferenced checkout frees its place.
        if self._is_serving:  # a checkout, or its holder, was collected during the loop below
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
