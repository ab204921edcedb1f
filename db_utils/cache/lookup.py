"""The hot path: decoding what a lookup in Redis found."""

from __future__ import annotations

from collections.abc import Sequence

from db_utils.cache.predictions import CachedPrediction, Freshness, UndecodableError, examine
from db_utils.cache.statistics import Statistics

_FRESH, _STALE = Freshness.FRESH, Freshness.STALE


def answers_in(
    raws: Sequence[bytes | None], now_us: int, limits_us: tuple[int, int], statistics: Statistics
) -> list[CachedPrediction | None]:
    """Decode and count these values; None for one that is absent, undecodable, or says "nothing"."""
    answers: list[CachedPrediction | None] = []
    bytes_read = stale = expired = misses = undecodable = 0
    for raw in raws:
        answer = None
        if raw is None:
            misses += 1
        else:
            bytes_read += len(raw)
            try:
                answer, _, _ = examine(raw, now_us, limits_us)
            except UndecodableError:
                misses += 1
                undecodable += 1
            else:
                if answer is not None and answer.freshness is not _FRESH:
                    if answer.freshness is _STALE:
                        stale += 1
                    else:
                        expired += 1
        answers.append(answer)
    hits = len(answers) - stale - expired - misses
    statistics.looked_up(hits, stale, expired, misses, undecodable, bytes_read)
    return answers
