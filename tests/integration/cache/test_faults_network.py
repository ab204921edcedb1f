"""Network faults on the way to Redis: the correct answer, in time, counted, and logged once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from db_utils.embedded import redis_server

from .conftest import (
    BUDGET,
    KIND,
    Clock,
    Database,
    MakeCache,
    ask,
    prediction,
    tighten,
    wait_until,
    warm,
)
from .faults import Fault, FaultProxy

pytestmark = pytest.mark.slow

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
        answer = ask(cache, organization, database)
        assert answer.source == "database"
        assert tries <= 3
    assert tries <= database.reads == tries
    asked = proxy.requests - requests
    assert asked <= 6  # three failures, each perhaps on a connection that had to be replaced first
    for number in range(100):  # and from now on nothing is sent
        answer = ask(cache, organization, database, number)
        assert answer.source == "database"
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
    for number in range(40):
        answer = ask(cache, organization, database, number)
        assert answer.source == "database"
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
        call()


def test_a_name_that_takes_for_ever_to_resolve_costs_the_budget(
    make_cache: MakeCache, organization: UUID, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    asked = []

    def resolve(*_: Any, **__: Any) -> Any:
        asked.append(None)
        answered.wait(30)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        cache = make_cache("redis://cache.invalid", budget_seconds=BUDGET)
        for _ in range(9):
            ask(cache, organization, database)
        assert len(asked) == 1  # the others do not wait for the same name again
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
    assert warnings_logged() == []  # that is not an outage


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
        answer = ask(cache, organization, database)
        assert answer.source == "database"
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
        answer = ask(cache, organization, database)
        assert answer.source == "database"
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
