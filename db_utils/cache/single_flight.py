"""Single flight: of the threads that want the same prediction at once, one loads it and the others share its
result."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from db_utils.cache.predictions import CachedPrediction

Answer: TypeAlias = Callable[[], CachedPrediction | None]


class AbandonedError(Exception):
    """The loading thread was interrupted, or did not finish within the wait."""


class Flight:
    """One load under way."""

    __slots__ = ("_answer", "_done", "_error", "owner")

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def land(self, answer: Answer) -> None:
        """Publish the result; each follower calls it for a separate value."""
        self._answer = answer
        self._done.set()

    def fail(self, error: Exception | None) -> None:
        """Publish an error; None makes the followers load for themselves. Does nothing after `land`."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    def wait(self, seconds: float | None) -> CachedPrediction | None:
        """Return the result, or raise the loader's error (a copy, so that threads do not share a traceback)
        or AbandonedError."""
        if not self._done.wait(seconds):
            raise AbandonedError
        if self._answer is not None:
            return self._answer()
        if self._error is None:
            raise AbandonedError
        raise _copied(self._error) from self._error


def _copied(error: Exception) -> Exception:
    try:
        return copy.copy(error)
    except Exception:  # an exception whose constructor needs more than its args
        return error


class SingleFlight:
    """The loads under way in this process, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Return the flights of these keys: those for the caller to lead, and those of others to follow.

        A key that this thread is already loading is in neither: following itself would deadlock.
        """
        led: dict[str, Flight] = {}
        followed: dict[str, Flight] = {}
        me = threading.get_ident()
        with self._lock:
            for key in keys:
                flight = self._flights.get(key)
                if flight is None:
                    led[key] = self._flights[key] = Flight()
                elif flight.owner != me:
                    followed[key] = flight
        return led, followed

    def finish(self, led: dict[str, Flight]) -> None:
        """Remove flights; those without a result are abandoned."""
        with self._lock:
            for key, flight in led.items():
                if self._flights.get(key) is flight:
                    del self._flights[key]
        for flight in led.values():
            flight.fail(None)

    def forget(self, keys: Iterable[str]) -> None:
        """Let no caller join the loads of these keys any more: they began before a write."""
        with self._lock:
            for key in keys:
                self._flights.pop(key, None)

    def forget_all(self, prefix: str) -> None:
        """Do so for every key that starts with this."""
        with self._lock:
            for key in [key for key in self._flights if key.startswith(prefix)]:
                del self._flights[key]
