"""The breaker: exact counts of attempts, on a clock that the test advances."""

from __future__ import annotations

import logging
import threading

import pytest

from db_utils.cache.breaker import Breaker, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(
        "Redis at cache:6379",
        failures_to_open=3,
        probe_seconds=1.0,
        max_probe_seconds=10.0,
        clock=clock,
        spread=lambda: 0.5,
    )


def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        breaker.failed("did not answer in time")


def test_it_opens_at_the_third_failure_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.opened == 1


def test_one_probe_at_a_time_and_none_before_it_is_due(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.take_probe()
    fail(breaker)
    clock.now += 0.999
    assert not breaker.take_probe()
    clock.now += 0.001
    assert breaker.take_probe()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.take_probe()


def test_each_failed_probe_doubles_the_wait_up_to_the_longest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    waits = []
    for _ in range(6):
        began = clock.now
        while not breaker.take_probe():
            clock.now += 0.125
        waits.append(clock.now - began)
        breaker.failed("connection refused")
        assert breaker.state is BreakerState.OPEN
    assert waits == [1, 2, 4, 8, 10, 10]


def test_the_wait_is_spread_by_a_tenth(clock: Clock) -> None:
    for spread, due in ((0.0, 0.9), (0.999, 1.0998)):
        breaker = Breaker("x", probe_seconds=1.0, clock=clock, spread=lambda spread=spread: spread)
        fail(breaker)
        clock.now += due - 0.001
        assert not breaker.take_probe()
        clock.now += 0.002
        assert breaker.take_probe()


def test_a_probe_that_succeeds_closes_it_and_the_wait_starts_anew(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 1
    assert breaker.take_probe()
    breaker.failed("no")
    clock.now += 2
    assert breaker.take_probe()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    clock.now += 1
    assert breaker.take_probe()


def test_failures_while_it_is_open_change_nothing(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 50)  # callers in progress when it opened
    assert breaker.opened == 1
    clock.now += 1
    assert breaker.take_probe()


def test_one_warning_however_many_failures(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "db_utils.cache")
    fail(breaker, 50)
    for _ in range(20):
        clock.now += 20
        assert breaker.take_probe()
        breaker.failed("did not answer in time")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages == [
        "The prediction cache is bypassed, predictions come from the database: Redis at cache:6379, "
        "did not answer in time. Check REDIS_URL and that server; it is probed again within 10 s."
    ]
    clock.now += 20
    assert breaker.take_probe()
    breaker.succeeded()
    assert caplog.messages[1:] == [
        "The prediction cache is back: Redis at cache:6379 answers again after 420.0 s."
    ]


def test_flapping_warns_once_a_minute(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(40):  # 2 seconds each
        fail(breaker)
        clock.now += 2
        assert breaker.take_probe()
        breaker.succeeded()
    assert breaker.opened == 40
    assert [record.levelname for record in caplog.records].count("WARNING") == 2


def test_of_many_threads_one_gets_the_probe(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 1
    barrier = threading.Barrier(16)
    taken: list[bool] = []

    def take() -> None:
        barrier.wait()
        taken.append(breaker.take_probe())

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 15 + [True]
