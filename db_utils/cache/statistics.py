"""Counters of the cache."""

from __future__ import annotations

import threading
from typing import Any

COUNTERS = (
    "hits",  # answered from Redis, FRESH
    "stale",  # answered from Redis, STALE
    "expired",  # answered from Redis, EXPIRED
    "misses",  # not answered from Redis
    "undecodable",  # misses because the value in Redis could not be decoded
    "errors",  # calls to Redis that failed, were refused or timed out
    "bypassed",  # calls that did not go to Redis because a breaker was open
    "rebuilds",  # loads from the database
    "rebuild_failures",  # loads that raised
    "early_refreshes",  # predictions refreshed before their copy expired
    "waits",  # predictions for which a caller waited for another caller's load
    "served_while_rebuilding",  # predictions served from an old copy while another caller was loading
    "stored",  # predictions written to Redis
    "kept_newer",  # predictions not written because Redis had a newer one
    "not_stored",  # predictions not written for another reason
    "invalidations",
    "bytes_read",
    "bytes_written",
)


class Statistics:
    """Counters that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._rebuild_seconds = 0.0

    def add(self, **counts: int) -> None:
        """Add to the counters of these names."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def looked_up(
        self, hits: int, stale: int, expired: int, misses: int, undecodable: int, bytes_read: int
    ) -> None:
        """Add the outcome of one lookup; a faster `add` for the most frequent call."""
        counts = self._counts
        with self._lock:
            counts["hits"] += hits
            counts["bytes_read"] += bytes_read
            if stale or expired or misses or undecodable:
                counts["stale"] += stale
                counts["expired"] += expired
                counts["misses"] += misses
                counts["undecodable"] += undecodable

    def rebuilt(self, seconds: float) -> None:
        """Record one load from the database and its duration."""
        with self._lock:
            self._counts["rebuilds"] += 1
            self._rebuild_seconds += seconds

    def mean_rebuild_seconds(self) -> float | None:
        """Return the mean duration of a load from the database; None before the first."""
        rebuilds = self._counts["rebuilds"]
        return self._rebuild_seconds / rebuilds if rebuilds else None

    def snapshot(self) -> dict[str, Any]:
        """Return a snapshot of all counters, with the share of lookups that Redis answered and the mean
        rebuild time.

        `hit_ratio` and `mean_rebuild_seconds` are None while their denominator is zero.
        """
        with self._lock:
            counts: dict[str, Any] = dict(self._counts)
            counts["mean_rebuild_seconds"] = self.mean_rebuild_seconds()
        answered = counts["hits"] + counts["stale"] + counts["expired"]
        lookups = answered + counts["misses"]
        counts["hit_ratio"] = answered / lookups if lookups else None
        return counts
