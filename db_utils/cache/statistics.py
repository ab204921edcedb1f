"""What the cache has done, counted."""

from __future__ import annotations

import threading
from typing import Any

COUNTERS = (
    "hits",  # answered from Redis, FRESH
    "stale",  # answered from Redis, STALE
    "expired",  # answered from Redis, EXPIRED
    "misses",  # not answered from Redis
    "undecodable",  # misses because the bytes in Redis were not a value
    "errors",  # calls to Redis that failed, were refused or came too late
    "bypassed",  # calls that did not go to Redis because a breaker was open
    "rebuilds",  # times that the database was asked
    "rebuild_failures",  # times that asking it raised
    "early_refreshes",  # predictions read again before their copy's lifetime was over
    "waits",  # predictions for which a caller waited for another one's answer
    "served_while_rebuilding",  # predictions served from a copy because another caller was reading a newer one
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
        """Add the outcome of one look; what `add` does, for the one that is called most."""
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
        """Take note of one read from the database and how long it took."""
        with self._lock:
            self._counts["rebuilds"] += 1
            self._rebuild_seconds += seconds

    def mean_rebuild_seconds(self) -> float | None:
        """How long does a read from the database take? None as long as there was none."""
        rebuilds = self._counts["rebuilds"]
        return self._rebuild_seconds / rebuilds if rebuilds else None

    def snapshot(self) -> dict[str, Any]:
        """All counters at one moment, with the share of lookups that Redis answered and the mean rebuild
        time.

        `hit_ratio` and `mean_rebuild_seconds` are None as long as there is nothing to divide by.
        """
        with self._lock:
            counts: dict[str, Any] = dict(self._counts)
            counts["mean_rebuild_seconds"] = self.mean_rebuild_seconds()
        answered = counts["hits"] + counts["stale"] + counts["expired"]
        lookups = answered + counts["misses"]
        counts["hit_ratio"] = answered / lookups if lookups else None
        return counts
