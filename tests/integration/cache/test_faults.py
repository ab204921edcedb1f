"""Whatever happens to Redis: the right answer, in time, counted, and said once."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from db_utils.cache import PredictionCache, PutOutcome
from db_utils.cache.keys import space
from db_utils.servers import redis_server

from .conftest import KIND, Database, MakeCache, client, port_of, prediction, wait_until
from .faults import Fault, FaultProxy
from .test_truth import key_of

BUDGET = 0.05
# What a machine that does other things may add to a budget before a test of it fails.
SLACK = 0.25


class Clock:
    """The breaker's clock: time passes when the test says so."""

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
    """Give a cache that is warm the budget that users have; on a busy machine, warming up may take longer."""
    cache._budget_seconds = BUDGET
    assert cache._client is not None
    for node in cache._client.nodes():
        node._budget_seconds = BUDGET


def warm(cache: PredictionCache, organization: UUID, database: Database) -> None:
    """Let there be a connection and a value, then tighten the budget."""
    ask(cache, organization, database)
    assert ask(cache, organization, database).source == "cache"
    database.reads = 0
    tighten(cache)


@contextmanager
def own_server(*options: str, port: int | None = None) -> Iterator[tuple[str, redis.Redis]]:
    """A server that the test may break."""
    with redis_server.start(*options, port=port) as url, client(url) as raw:
        yield url, raw


BREAKS = [Fault.BLACK_HOLE, Fault.SLOW, Fault.TRICKLE, Fault.RESET]


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_network_costs_the_budget_three_times_then_nothing(
    make_cache: MakeCache,
    proxy: FaultProxy,
    organization: UUID,
    database: Database,
    clock: Clock,
    warnings_logged: Callable[[], list[str]],
    fault: Fault,
) -> None:
    cache = make_cache(proxy.url, clock=clock)
    warm(cache, organization, database)
    before = cache.statistics()
    assert before["breaker"] == "closed"
    proxy.fault, proxy.delay_seconds = fault, 0.03 if fault is Fault.TRICKLE else 0.2
    database.reads = 0
    requests = proxy.requests
    tries = 0
    while cache.statistics()["breaker"] == "closed":
        tries += 1
        answer, took = timed(lambda: ask(cache, organization, database))
        assert answer.source == "database"
        assert took < BUDGET + SLACK
        assert tries <= 3
    assert tries <= database.reads == tries
    asked = proxy.requests - requests
    assert asked <= 6  # three failures, each perhaps on a connection that had to be replaced first
    waits = []
    for number in range(100):  # and from here on nothing is sent
        answer, took = timed(lambda number=number: ask(cache, organization, database, number))
        assert answer.source == "database"
        waits.append(took)
    assert sorted(waits)[50] < 0.01
    assert proxy.requests - requests == asked
    wait_until(warnings_logged)
    after = cache.statistics()
    assert after["bypassed"] - before["bypassed"] == 100
    assert after["errors"] - before["errors"] == tries
    assert len(warnings_logged()) == 1
    assert f"127.0.0.1:{proxy.port}" in warnings_logged()[0]


@pytest.mark.parametrize("fault", BREAKS)
def test_a_cache_that_never_had_a_connection_keeps_the_budget_too(
    make_cache: MakeCache,
    proxy: FaultProxy,
    organization: UUID,
    database: Database,
    clock: Clock,
    fault: Fault,
) -> None:
    proxy.fault, proxy.delay_seconds = fault, 0.03 if fault is Fault.TRICKLE else 0.2
    cache = make_cache(proxy.url.replace("/0", "/1"), budget_seconds=BUDGET, clock=clock)
    waits = []
    for number in range(40):
        answer, took = timed(lambda number=number: ask(cache, organization, database, number))
        assert answer.source == "database"
        waits.append(took)
    assert max(waits) < BUDGET + SLACK
    assert (
        sorted(waits)[30] < 0.01
    )  # one waits, and perhaps others when a connection has failed; the rest does not
    assert database.reads == 40


def test_every_other_call_keeps_the_budget_in_a_black_hole(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID
) -> None:
    cache = make_cache(proxy.url, failures_to_open=10**9)
    assert cache.ping() is not None
    tighten(cache)
    proxy.fault = Fault.BLACK_HOLE
    calls: list[Callable[[], Any]] = [
        lambda: cache.get(organization, KIND, "a"),
        lambda: cache.get_many(organization, KIND, range(50)),
        lambda: cache.put(organization, KIND, "a", prediction()),
        lambda: cache.put_many(organization, KIND, {number: prediction() for number in range(2000)}),
        lambda: cache.invalidate(organization, KIND, "a"),
        lambda: cache.invalidate(organization, KIND),
        lambda: cache.invalidate(organization),
        lambda: cache.get_many_or_compute(organization, KIND, range(50), lambda _: {}),
        cache.ping,
        cache.statistics,
    ]
    for call in calls:
        took = timed(call)[1]
        assert took < BUDGET + SLACK


def test_a_name_that_takes_for_ever_to_resolve_costs_the_budget(
    make_cache: MakeCache, organization: UUID, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        answered.wait(30)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        cache = make_cache("redis://cache.invalid", budget_seconds=BUDGET)
        waits = [timed(lambda: ask(cache, organization, database))[1] for _ in range(9)]
        assert max(waits) < BUDGET + SLACK
        assert sorted(waits)[4] < 0.01  # the others do not wait for the same name again
    finally:
        answered.set()


def test_a_connection_that_takes_longer_than_the_budget_serves_the_next_caller(
    make_cache: MakeCache,
    proxy: FaultProxy,
    organization: UUID,
    database: Database,
    warnings_logged: Callable[[], list[str]],
) -> None:
    proxy.fault, proxy.delay_seconds = Fault.SLOW, 0.3  # the handshake alone takes far longer than the budget
    cache = make_cache(proxy.url.replace("/0", "/1"), budget_seconds=BUDGET)
    barrier = threading.Barrier(16)
    told: list[str] = []

    def ask_at_once() -> None:
        barrier.wait()
        told.extend(ask(cache, organization, database).source for _ in range(3))

    threads = [threading.Thread(target=ask_at_once) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["database"] * 48
    assert cache.statistics()["breaker"] == "closed"
    assert cache._client is not None
    (node,) = cache._client.nodes()
    wait_until(lambda: node._idle)
    proxy.fault = Fault.NONE
    cache._budget_seconds = 5.0
    ask(cache, organization, database)
    assert ask(cache, organization, database).source == "cache"
    assert proxy.connections <= 4
    assert warnings_logged() == []  # that is no outage


def test_it_is_asked_in_the_background_whether_it_is_back(
    make_cache: MakeCache,
    proxy: FaultProxy,
    organization: UUID,
    database: Database,
    clock: Clock,
    warnings_logged: Callable[[], list[str]],
) -> None:
    cache = make_cache(proxy.url, clock=clock)
    warm(cache, organization, database)
    proxy.fault = Fault.BLACK_HOLE
    while cache.statistics()["breaker"] == "closed":
        ask(cache, organization, database)
    for wait in (1.2, 2.4):  # each probe that fails doubles the wait
        connections = proxy.connections
        clock.now += wait
        answer, took = timed(lambda: ask(cache, organization, database))
        assert answer.source == "database"
        assert took < 1  # the caller does not wait for the probe, which takes 2 seconds to give up
        wait_until(lambda: cache.statistics()["breaker"] == "open")
        assert proxy.connections == connections + 1
    proxy.fault = Fault.NONE
    clock.now += 5
    assert ask(cache, organization, database).source == "database"
    wait_until(lambda: cache.statistics()["breaker"] == "closed")
    assert ask(cache, organization, database).source == "cache"
    assert len(warnings_logged()) == 1


def test_a_server_that_answers_but_too_slowly_stays_away(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID, database: Database, clock: Clock
) -> None:
    cache = make_cache(proxy.url, clock=clock)
    warm(cache, organization, database)
    proxy.fault, proxy.delay_seconds = Fault.SLOW, 0.2
    while cache.statistics()["breaker"] == "closed":
        ask(cache, organization, database)
    clock.now += 1.2
    ask(cache, organization, database)
    wait_until(lambda: cache.statistics()["breaker"] != "half-open")
    assert cache.statistics()["breaker"] == "open"


def test_a_single_hiccup_opens_nothing(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID, database: Database
) -> None:
    cache = make_cache(proxy.url)
    warm(cache, organization, database)
    for _ in range(5):
        proxy.fault, proxy.delay_seconds = Fault.SLOW, 0.2
        assert ask(cache, organization, database).source == "database"
        proxy.fault = Fault.NONE
        wait_until(lambda: ask(cache, organization, database).source == "cache")
    assert cache.statistics()["breaker_opened"] == 0


def test_connections_that_were_closed_while_idle_are_replaced_unnoticed(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID, database: Database
) -> None:
    cache = make_cache(proxy.url)
    ask(cache, organization, database)
    for _ in range(3):
        proxy.cut()
        assert ask(cache, organization, database).source == "cache"
    statistics = cache.statistics()
    assert (statistics["errors"], statistics["connections"], database.reads) == (0, 1, 1)


def test_a_refused_connection_fails_at_once(
    make_cache: MakeCache, organization: UUID, database: Database
) -> None:
    cache = make_cache(f"redis://127.0.0.1:{redis_server.free_port()}", budget_seconds=30)
    for _ in range(4):
        answer, took = timed(lambda: ask(cache, organization, database))
        assert answer.source == "database"
        assert took < 5
    assert (cache.statistics()["breaker"], cache.statistics()["errors"]) == ("open", 3)


def test_many_threads_share_few_connections(
    make_cache: MakeCache, proxy: FaultProxy, organization: UUID
) -> None:
    cache = make_cache(proxy.url, max_connections=3)
    cache.put(organization, KIND, "a", prediction())
    barrier = threading.Barrier(32)
    found: list[bool] = []

    def get() -> None:
        barrier.wait()
        found.extend(cache.get(organization, KIND, "a") is not None for _ in range(20))

    threads = [threading.Thread(target=get) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 640
    assert proxy.connections <= 3
    assert cache.statistics()["connections"] <= 3


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
        for number in range(8):
            raw.set(f"filler{number}", os.urandom(3_000_000))
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


@pytest.mark.parametrize("login", [":wrong", "nobody:wrong", ""])
def test_a_wrong_or_missing_password(
    make_cache: MakeCache,
    organization: UUID,
    database: Database,
    login: str,
    warnings_logged: Callable[[], list[str]],
) -> None:
    with redis_server.start("--requirepass", "right") as url:
        cache = make_cache(url.replace("//", f"//{login}@") if login else url)
        for _ in range(10):
            assert ask(cache, organization, database).source == "database"
        assert cache.statistics()["breaker"] == "open"
        wait_until(warnings_logged)  # by the thread that opens connections
        assert len(warnings_logged()) == 1
        assert "wrong" not in warnings_logged()[0].lower().replace("wrongpass", "")


def test_a_user_who_may_only_read(
    make_cache: MakeCache, organization: UUID, database: Database, warnings_logged: Callable[[], list[str]]
) -> None:
    with own_server() as (url, raw):
        raw.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], keys=["pred:v1:*"], commands=["+mget", "+time"]
        )
        make_cache(url).put(organization, KIND, "a", prediction("there"))
        cache = make_cache(url.replace("//", "//reader:secret@"))
        assert ask(cache, organization, database).value == "there"
        for _ in range(3):
            assert ask(cache, organization, database, "b").source == "database"
        assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.REFUSED
        assert cache.statistics()["breaker"] == "closed"
        assert len(warnings_logged()) == 1
        assert "NOPERM" in warnings_logged()[0]


@pytest.mark.parametrize("which", ["entry", "lease", "generation"])
def test_another_application_s_keys_are_neither_used_nor_touched(
    make_cache: MakeCache,
    raw: redis.Redis,
    organization: UUID,
    database: Database,
    which: str,
    warnings_logged: Callable[[], list[str]],
) -> None:
    cache = make_cache(budget_seconds=0.25)
    own = space("pred", organization, KIND)
    name = {"entry": own.key("a"), "lease": own.key("a") + ":!lease", "generation": own.generations[1]}[which]
    raw.rpush(name, "somebody", "else's")
    for number in range(3):
        assert ask(cache, organization, database).source == "database"
        assert database.reads == number + 1
    if which != "lease":
        assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.REFUSED
        assert cache.statistics()["errors"] > 0
        assert raw.lrange(name, 0, -1) == [b"somebody", b"else's"]
        assert len(warnings_logged()) == 1
    assert cache.get(organization, KIND, "a") is None
    assert cache.statistics()["breaker"] == "closed"


@pytest.mark.parametrize(
    "garbage", [b"", b"hello", b"\x01" * 49, b"\x01\x00" + b"\xff" * 200, b"\x80\x04K\x01.", b"\x07" * 60]
)
def test_bytes_that_cannot_be_decoded_are_a_counted_miss_and_are_replaced(
    cache: PredictionCache, raw: redis.Redis, organization: UUID, database: Database, garbage: bytes
) -> None:
    ask(cache, organization, database, "other")
    tenant, kind = raw.mget(space("pred", organization, KIND).generations)  # type: ignore[misc]
    whole = garbage[:34] + tenant + kind + garbage[50:] if len(garbage) >= 50 else garbage
    raw.set(key_of(organization), whole)
    assert cache.get(organization, KIND, "a") is None
    assert ask(cache, organization, database).source == "database"
    assert cache.statistics()["undecodable"] == (2 if len(garbage) >= 50 else 0)
    assert ask(cache, organization, database).source == "cache"


def test_something_that_is_not_redis(make_cache: MakeCache, organization: UUID, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        cache = make_cache(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(5):
            assert ask(cache, organization, database).source == "database"
        assert cache.statistics()["breaker"] == "open"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


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
    proxy.cut()  # what was sent into the hole does not come out of it
    cache._budget_seconds = 5.0
    # Until Redis knows, this process uses none of it.
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
