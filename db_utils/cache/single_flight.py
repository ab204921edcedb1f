"""Single flight: of the threads that want the same prediction at once, one reads it and the others get its
answer."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from db_utils.cache.predictions import CachedPrediction

Answer: TypeAlias = Callable[[], CachedPrediction | None]


class AbandonedError(Exception):
    """The thread that was reading was interrupted, or did not finish within the time one would wait."""


class Flight:
    """One read under way."""

    __slots__ = ("_answer", "_done", "_error", "owner")

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def land(self, answer: Answer) -> None:
        """Hand out the answer; every follower calls it for a value of its own."""
        self._answer = answer
        self._done.set()

    def fail(self, error: Exception | None) -> None:
        """Hand out an error; None sends the followers to read for themselves. Does nothing after `land`."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    def wait(self, seconds: float | None) -> CachedPrediction | None:
        """The answer, or the reader's error (a copy, so that threads do not share a traceback), or
        AbandonedError."""
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
    except Exception:  # an exception whose constructor wants more than its args
        return error


class SingleFlight:
    """The reads under way in this process, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """The flights of these keys: those that are the caller's to lead, and those of others to follow.

        A key that this very thread is reading already is in neither: to follow oneself would be to wait for
        ever.
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
        """Take flights off the list; those without an answer are abandoned."""
        with self._lock:
            for key, flight in led.items():
                if self._flights.get(key) is flight:
                    del self._flights[key]
        for flight in led.values():
            flight.fail(None)

    def forget(self, keys: Iterable[str]) -> None:
        """Let nobody join the reads of these keys any more: they began before something was written."""
        with self._lock:
            for key in keys:
                self._flights.pop(key, None)

    def forget_all(self, prefix: str) -> None:
        """Do so for every key that starts with this."""
        with self._lock:
            for key in [key for key in self._flights if key.startswith(prefix)]:
                del self._flights[key]
