"""Invalidations that Redis missed are kept, and a closed cache queries the database."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from db_utils.cache import PredictionCache, PutOutcome
from db_utils.embedded import redis_server

from .conftest import (
    KIND,
    Clock,
    Database,
    MakeCache,
    ask,
    own_server,
    prediction,
    tighten,
    wait_until,
)
from .faults import Fault, FaultProxy

pytestmark = pytest.mark.slow


def test_what_redis_could_not_be_told_it_is_told_when_it_is_back(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID, database: Database, clock: Clock
) -> None:
    other_tenant = uuid4()
    cache, other = make_cache(proxy.url, clock=clock), make_cache()
    assert cache.ping() is not None
    tighten(cache)
    for kind in ("k1", "k2"):
        other.put_many(organization, kind, {"a": prediction("old"), "b": prediction("old")})
    other.put(other_tenant, "k1", "a", prediction("old"))
    proxy.fault = Fault.BLACK_HOLE
    assert cache.put(organization, "k1", "a", prediction("new")) is PutOutcome.UNAVAILABLE
    assert not cache.invalidate(organization, "k2")
    assert not cache.invalidate(other_tenant)
    assert cache.statistics()["pending_invalidations"] == 3
    proxy.fault = Fault.NONE
    proxy.cut()  # what was sent into the black hole is lost
    cache._budget_seconds = 5.0
    # Until Redis knows, this process ignores all of it.
    assert cache.get(organization, "k1", "a") is None
    assert cache.get_many(organization, "k2", "ab") == {}
    assert cache.get(other_tenant, "k1", "a") is None
    loaded = cache.get_or_compute(organization, "k1", "a", database.load)
    assert loaded is not None
    assert loaded.source == "database"

    def is_back() -> bool:
        clock.now += 20
        return cache.ping() is not None and cache.statistics()["pending_invalidations"] == 0

    wait_until(is_back)
    assert other.get(organization, "k1", "a") is None
    assert other.get_many(organization, "k2", "ab") == {}
    assert other.get(other_tenant, "k1", "a") is None
    assert other.get_many(organization, "k1", "ab").keys() == {"b"}


def test_pending_invalidations_are_bounded(
    make_cache: MakeCache, organization: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db_utils.cache.store.PENDING_LIMIT", 100)
    with own_server() as (url, _):
        cache = make_cache(url)
        cache.put_many(organization, KIND, {number: prediction() for number in range(200)})
    for number in range(200):
        cache.put(organization, KIND, number, prediction())
        assert cache.statistics()["pending_invalidations"] <= 100
    assert cache.statistics()["pending_invalidations"] > 0


def test_what_has_gone_by_itself_need_not_be_told(make_cache: MakeCache, organization: UUID) -> None:
    cache = make_cache(
        f"redis://127.0.0.1:{redis_server.free_port()}", lifetime_seconds=0.01, grace_seconds=0.5, jitter=0
    )
    cache.put(organization, KIND, "a", prediction())
    assert cache.statistics()["pending_invalidations"] == 1
    wait_until(
        lambda: not cache.get(organization, KIND, "a") and not cache.statistics()["pending_invalidations"]
    )


def test_a_closed_cache_asks_the_database(
    cache: PredictionCache, organization: UUID, database: Database
) -> None:
    ask(cache, organization, database)
    cache.close()
    cache.close()
    assert ask(cache, organization, database).source == "database"
    assert cache.get(organization, KIND, "a") is None
    assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.UNAVAILABLE
    assert cache.ping() is None
    assert cache.statistics()["connections"] == 0
