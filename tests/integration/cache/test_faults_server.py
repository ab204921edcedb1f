"""A server that restarts, is full, is a replica or is still loading: the correct answer, and no error."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import redis

from db_utils.cache import PutOutcome
from db_utils.embedded import redis_server

from .conftest import (
    KIND,
    Clock,
    Database,
    MakeCache,
    ask,
    client,
    own_server,
    port_of,
    prediction,
    wait_until,
)

pytestmark = pytest.mark.slow


def test_a_restart_and_a_flush_lose_the_values_and_nothing_else(
    make_cache: MakeCache, organization: UUID, database: Database, clock: Clock
) -> None:
    with own_server() as (url, raw):
        cache = make_cache(url, clock=clock)
        ask(cache, organization, database)
        assert ask(cache, organization, database).source == "cache"
        raw.flushall()
        raw.script_flush()
        assert ask(cache, organization, database).source == "database"
        assert ask(cache, organization, database).source == "cache"
    for _ in range(5):
        assert ask(cache, organization, database).source == "database"
    assert cache.statistics()["breaker"] == "open"
    with own_server(port=port_of(url)):
        clock.now += 2
        ask(cache, organization, database)
        wait_until(lambda: cache.statistics()["breaker"] == "closed")
        assert ask(cache, organization, database).source == "database"
        assert ask(cache, organization, database).source == "cache"


def test_a_full_server_refuses_writes_and_still_reads(
    make_cache: MakeCache, organization: UUID, database: Database, warnings_logged: Callable[[], list[str]]
) -> None:
    with own_server("--maxmemory-policy", "noeviction") as (url, raw):
        cache = make_cache(url)
        cache.put_many(organization, KIND, {"a": prediction("old"), "b": prediction("kept")})
        raw.config_set("maxmemory", "1")
        assert cache.put(organization, KIND, "a", prediction("new")) is PutOutcome.REFUSED
        # the old one, which is no longer true, could be removed; the other one is still served
        assert cache.get(organization, KIND, "a") is None
        assert cache.get_many(organization, KIND, ["b"])["b"].value == "kept"
        for _ in range(10):
            assert ask(cache, organization, database).source == "database"
        statistics = cache.statistics()
        assert statistics["breaker"] == "closed"
        assert statistics["errors"] >= 11
        assert len(warnings_logged()) == 1
        assert "OOM" in warnings_logged()[0]
        raw.config_set("maxmemory", "0")
        ask(cache, organization, database)
        assert ask(cache, organization, database).source == "cache"


def test_a_server_that_is_full_again_and_again_is_warned_of_once(
    make_cache: MakeCache, organization: UUID, warnings_logged: Callable[[], list[str]]
) -> None:
    with own_server("--maxmemory-policy", "noeviction") as (url, raw):
        cache = make_cache(url)
        for _ in range(3):
            raw.config_set("maxmemory", "1")
            assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.REFUSED
            raw.config_set("maxmemory", "0")
            assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.STORED
        assert len(warnings_logged()) == 1


def test_a_read_only_replica_reads_and_what_it_cannot_be_told_is_not_used(
    make_cache: MakeCache, organization: UUID, database: Database, warnings_logged: Callable[[], list[str]]
) -> None:
    with own_server() as (url, raw):
        cache = make_cache(url)
        cache.put_many(organization, KIND, {"a": prediction("old"), "b": prediction("kept")})
        raw.replicaof("127.0.0.1", redis_server.free_port())
        assert cache.get_many(organization, KIND, "ab").keys() == {"a", "b"}
        assert cache.put(organization, KIND, "a", prediction("new")) is PutOutcome.REFUSED
        assert cache.statistics()["pending_invalidations"] == 1
        assert cache.get(organization, KIND, "a") is None
        assert ask(cache, organization, database).value == {"read": 1}
        assert cache.get_many(organization, KIND, "ab").keys() == {"b"}
        assert "READONLY" in warnings_logged()[0]
        assert len(warnings_logged()) == 1
        assert cache.statistics()["breaker"] == "closed"
        raw.replicaof("no", "one")
        wait_until(
            lambda: cache.get(organization, KIND, "b") and not cache.statistics()["pending_invalidations"]
        )
        ask(cache, organization, database)
        assert ask(cache, organization, database).source == "cache"


def test_a_replica_without_its_master_is_left_alone(
    make_cache: MakeCache, organization: UUID, database: Database
) -> None:
    with own_server() as (url, raw):
        cache = make_cache(url)
        ask(cache, organization, database)
        raw.config_set("replica-serve-stale-data", "no")
        raw.replicaof("127.0.0.1", redis_server.free_port())
        for _ in range(5):
            assert ask(cache, organization, database).source == "database"
        assert cache.statistics()["breaker"] == "open"


def test_a_server_that_is_loading_its_data_is_left_alone_until_it_has(
    make_cache: MakeCache, organization: UUID, database: Database, clock: Clock, tmp_path: Any
) -> None:
    folder = ["--dir", str(tmp_path)]
    with own_server(*folder) as (url, raw):
        for number in range(
            60
        ):  # redis-py reopens the connection after each refusal, and the server answers only between keys
            raw.set(f"filler{number}", os.urandom(1_000_000))
        raw.save()
    slow = [*folder, "--key-load-delay", "250000"]  # microseconds a key
    with pytest.MonkeyPatch.context() as patch:
        # `start` waits until PING is answered, which a loading server refuses; this test begins before that.
        patch.setattr(redis_server, "_wait_until_ready", lambda *_: None)
        with redis_server.start(*slow) as url, client(url) as raw:
            wait_until(lambda: _replies(raw) == "LOADING")
            cache = make_cache(url, clock=clock)
            for _ in range(5):
                assert ask(cache, organization, database).source == "database"
            assert cache.statistics()["breaker"] == "open"
            wait_until(lambda: _replies(raw) == "PONG")
            clock.now += 2
            ask(cache, organization, database)
            wait_until(lambda: cache.statistics()["breaker"] == "closed")
            ask(cache, organization, database)
            assert ask(cache, organization, database).source == "cache"


def _replies(raw: redis.Redis) -> str:
    try:
        raw.ping()
    except redis.BusyLoadingError:
        return "LOADING"
    except redis.RedisError:
        return "nothing"
    return "PONG"
