"""A real redis-server, direct access to it, and a proxy to break the connection.

`TEST_REDIS_URL` names the server for the tests that do not break it; without it, and for those that do, they start
their own.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from db_utils.cache import Prediction, PredictionCache
from db_utils.embedded import redis_server

from .faults import FaultProxy

KIND = "demand_forecast"
MakeCache = Callable[..., PredictionCache]


def prediction(
    value: Any = 1,
    *,
    at: datetime | None = None,
    age: timedelta = timedelta(0),
    recorded_at: datetime | None = None,
) -> Prediction:
    """A prediction that became available now, or at another time, or some time ago."""
    return Prediction(value, "prophet", "1.2", (at or datetime.now(UTC)) - age, recorded_at)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def wait_until(true: Callable[[], object], *, seconds: float = 30) -> None:
    """Return as soon as it is true; fail if it does not become true."""
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, "it did not become true in time"
        time.sleep(0.002)


def client(url: str, **options: Any) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), **options)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server shared by all tests that do not break it."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    with redis_server.start() as url:
        yield url


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The actual contents of that server."""
    with client(redis_url) as connection:
        yield connection


@pytest.fixture
def make_cache(redis_url: str) -> Iterator[MakeCache]:
    """Caches that are closed after the test; each on the shared server, unless a URL is given."""
    caches: list[PredictionCache] = []

    def make(url: str | None = redis_url, **options: Any) -> PredictionCache:
        caches.append(PredictionCache(url, **{"budget_seconds": 5.0, **options}))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture
def cache(make_cache: MakeCache) -> PredictionCache:
    """A cache on the shared server, with a budget that a busy machine does not exceed."""
    return make_cache()


@pytest.fixture
def organization() -> UUID:
    """An organization that no other test knows."""
    return uuid4()


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    """A proxy to the shared server, to be broken."""
    with FaultProxy(redis_url) as between:
        yield between


class Database:
    """Stands in for PostgreSQL: counts its calls."""

    def __init__(self) -> None:
        self.reads = 0
        self._numbers = itertools.count(1)

    def load(self) -> Prediction:
        self.reads += 1
        return prediction({"read": next(self._numbers)})


@pytest.fixture
def database() -> Database:
    return Database()


# -- faults ------------------------------------------------------------------------------------------------

BUDGET = 0.05


class Clock:
    """The breaker's clock: the test advances it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def warnings_logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "db_utils.cache")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began


def ask(cache: PredictionCache, organization: UUID, database: Database, entity: Any = "a") -> Any:
    answer = cache.get_or_compute(organization, KIND, entity, database.load)
    assert answer is not None
    return answer


def tighten(cache: PredictionCache) -> None:
    """Give a warm cache the default budget; on a busy machine, warming up may take longer."""
    cache._budget_seconds = BUDGET
    assert cache._client is not None
    for node in cache._client.nodes():
        node._budget_seconds = BUDGET


def warm(cache: PredictionCache, organization: UUID, database: Database) -> None:
    """Create a connection and a value, then reduce the budget."""
    ask(cache, organization, database)
    assert ask(cache, organization, database).source == "cache"
    database.reads = 0
    tighten(cache)


@contextmanager
def own_server(*options: str, port: int | None = None) -> Iterator[tuple[str, redis.Redis]]:
    """A server that the test may break."""
    with redis_server.start(*options, port=port) as url, client(url) as raw:
        yield url, raw
