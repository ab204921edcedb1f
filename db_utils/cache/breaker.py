"""The circuit breaker: bypasses a Redis server that does not answer until it answers again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from enum import StrEnum

logger = logging.getLogger("db_utils.cache")

WARN_AGAIN_SECONDS = 60.0


class BreakerState(StrEnum):
    """CLOSED: calls go to Redis. OPEN: they do not. HALF_OPEN: they do not, while one probe is under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after `failures_to_open` consecutive failures, allows one probe at a time, closes when a call
    succeeds.

    The first probe is due `probe_seconds` after opening; each failed one doubles the wait, up to
    `max_probe_seconds`, with ten percent jitter so that clients do not return all at once. Opening logs a
    warning, at most one a minute however often it flaps; closing logs at level INFO.
    """

    def __init__(
        self,
        name: str,
        *,
        failures_to_open: int = 3,
        probe_seconds: float = 1.0,
        max_probe_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.state = BreakerState.CLOSED
        self.failures = 0
        self.opened = 0
        self._failures_to_open = failures_to_open
        self._probe_seconds = probe_seconds
        self._max_probe_seconds = max_probe_seconds
        self._clock = clock
        self._spread = spread
        self._lock = threading.Lock()
        self._wait = probe_seconds
        self._probe_at = 0.0
        self._opened_at = 0.0
        self._warned_at: float | None = None

    def failed(self, reason: str) -> None:
        """Record a failed call or probe."""
        warn = False
        with self._lock:
            self.failures += 1
            now = self._clock()
            if self.state is BreakerState.HALF_OPEN:
                self._wait = min(self._wait * 2, self._max_probe_seconds)
                self._open(now)
            elif self.state is BreakerState.CLOSED and self.failures >= self._failures_to_open:
                self.opened += 1
                self._opened_at = now
                self._wait = self._probe_seconds
                self._open(now)
                warn = self._warned_at is None or now - self._warned_at >= WARN_AGAIN_SECONDS
                if warn:
                    self._warned_at = now
        if warn:
            logger.warning(
                "The prediction cache is bypassed, predictions come from the database: %s, %s. "
                "Check REDIS_URL and that server; it is probed again within %g s.",
                self.name,
                reason,
                self._max_probe_seconds,
            )

    def succeeded(self) -> None:
        """Record a successful call or probe."""
        if not self.failures and self.state is BreakerState.CLOSED:
            return
        with self._lock:
            self.failures = 0
            was_open = self.state is not BreakerState.CLOSED
            self.state = BreakerState.CLOSED
            seconds = self._clock() - self._opened_at
        if was_open:
            logger.info("The prediction cache is back: %s answers again after %.1f s.", self.name, seconds)

    def take_probe(self) -> bool:
        """Whether the caller has to run the probe now."""
        if self.state is not BreakerState.OPEN or self._clock() < self._probe_at:
            return False
        with self._lock:
            if self.state is not BreakerState.OPEN or self._clock() < self._probe_at:
                return False
            self.state = BreakerState.HALF_OPEN
            return True

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self._probe_at = now + self._wait * (0.9 + 0.2 * self._spread())
