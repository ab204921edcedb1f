"""Status of the prediction cache's Redis."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import redis

from db_utils.cache.keys import KEY_VERSION
from db_utils.cache.redis_url import RedisTarget

_SECONDS = 2.0
_OURS = f"pred:{KEY_VERSION}:*"
_KEYS_OF_A_STEP = 2000


@dataclass(frozen=True)
class RedisFacts:
    """The servers of REDIS_URL together. None for what was not answered."""

    configured: bool
    """Whether REDIS_URL is set; False for the default address, which need not answer, and for no cache."""
    url: str | None
    """Its URL without the password; None for no cache."""
    answers: bool
    version: str | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """0: no limit."""
    keys: int | None = None
    """Keys of the prediction cache."""
    keys_are: str = "exact"
    """exact, or "at least" if counting took longer than two seconds."""
    error: str | None = None


def redis_status(url: str | None, *, configured: bool) -> RedisFacts:
    """Return whether Redis answers, and what it holds. Never raises if it does not answer."""
    if url is None:
        return RedisFacts(configured=False, url=None, answers=False)
    target = RedisTarget(url, connect_seconds=_SECONDS)
    try:
        servers = [_server(client) for _, client in target.clients()]
    except (OSError, redis.RedisError) as error:
        return RedisFacts(configured, target.name, answers=False, error=str(error) or type(error).__name__)
    return RedisFacts(
        configured,
        target.name,
        answers=True,
        version=servers[0]["redis_version"],
        memory_bytes=sum(int(s.get("used_memory", 0)) for s in servers),
        memory_limit_bytes=sum(int(s.get("maxmemory", 0)) for s in servers),
        keys=sum(s["keys"] for s in servers),
        keys_are="exact" if all(s["is_all"] for s in servers) else "at least",
    )


def _server(client: redis.Redis) -> dict[str, Any]:
    info: Any = client.info()
    keys, is_all = _count_keys(client)
    return {**info, "keys": keys, "is_all": is_all}


def _count_keys(client: redis.Redis) -> tuple[int, bool]:
    """Count the cache's keys with SCAN, in small steps that do not block other clients."""
    give_up_at = time.monotonic() + _SECONDS
    cursor = keys = 0
    while True:
        step: Any = client.scan(cursor, _OURS, _KEYS_OF_A_STEP)
        cursor, keys = step[0], keys + len(step[1])
        if cursor == 0 or time.monotonic() > give_up_at:
            return keys, cursor == 0
