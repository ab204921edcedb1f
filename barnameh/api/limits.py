"""Limits per key: a token bucket of requests, and concurrent requests. Held in the memory of one process."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from barnameh.api.problems import Problem

MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    under_way: int = 0


class Limits:
    """Used only by the event loop's thread."""

    def __init__(
        self, rate_per_second: float, burst: int, concurrency: int, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate, self._burst, self._concurrency = rate_per_second, max(1, burst), concurrency
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> dict[str, str]:
        """Count one request of this key and return the rate-limit headers. Raises `Problem` 429."""
        if not self._rate:
            return {}
        bucket, now = self._bucket(key), self._clock()
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) * self._rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            seconds = math.ceil((1 - bucket.tokens) / self._rate)
            raise Problem(
                429,
                "too-many-requests",
                "Too many requests",
                f"At most {self._rate:g} a second, and {self._burst} at once.",
                headers={"retry-after": str(seconds), **self._headers(0, seconds)},
            )
        bucket.tokens -= 1
        full_again = math.ceil((self._burst - bucket.tokens) / self._rate)
        return self._headers(int(bucket.tokens), full_again)

    @contextmanager
    def under_way(self, key: str) -> Iterator[None]:
        """Count a request of this key as in progress; raises `Problem` 429 if there are too many already."""
        bucket = self._bucket(key)
        if self._concurrency and bucket.under_way >= self._concurrency:
            raise Problem(
                429,
                "too-many-at-once",
                "Too many requests at once",
                f"At most {self._concurrency} of a key at the same time.",
                headers={"retry-after": "1"},
            )
        bucket.under_way += 1
        try:
            yield
        finally:
            bucket.under_way -= 1

    def _headers(self, left: int, seconds: int) -> dict[str, str]:
        return {
            "ratelimit-policy": f'"key";q={self._burst};w={math.ceil(self._burst / self._rate)}',
            "ratelimit": f'"key";r={left};t={seconds}',
        }

    def _bucket(self, key: str) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, self._clock())
            if len(self._buckets) > MOST_REMEMBERED:
                for old, kept in self._buckets.items():
                    if not kept.under_way:
                        del self._buckets[old]
                        break
        return bucket
