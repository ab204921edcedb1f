"""The queue: the longest waiter for a connection is served first, and no event
loses a connection, a place or a turn.
"""

from __future__ import annotations

import dataclasses
import gc
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from db_utils import DatabaseManager, errors
from db_utils.connections.checkout import Checkout
from db_utils.connections.pool import ConnectionPool
from tests.integration.connections.conftest import waits_until


class Queue:
    """Threads that queue for a full pool, one after another, and the order in which they were served."""

    def __init__(self, pool: ConnectionPool, executor: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.executor = executor
        self.served: list[object] = []

    def join(self, name: object) -> Future[None]:
        """Returns when this thread is in the queue."""
        waiting = self.pool.pool_stats().waiting
        future = self.executor.submit(self._use, name)
        waits_until(lambda: self.pool.pool_stats().waiting == waiting + 1 or future.done())
        assert not future.done()
        return future

    def _use(self, name: object) -> None:
        checkout = self.pool.take()
        self.served.append(name)
        self.pool.give(checkout)


@pytest.fixture
def pool(manager_with: Callable[..., DatabaseManager]) -> ConnectionPool:
    """One connection for all."""
    return manager_with(pool_max_connections=1, pool_timeout_seconds=30)._pool


@pytest.fixture
def queue(pool: ConnectionPool) -> Iterator[Queue]:
    """An empty queue for that pool."""
    with ThreadPoolExecutor(16) as executor:
        yield Queue(pool, executor)


def is_whole(pool: ConnectionPool) -> bool:
    """Nothing waits, nothing is in use, and the maximum can be taken at once."""
    gc.collect()
    stats = pool.pool_stats()
    if (stats.in_use, stats.waiting) != (0, 0) or stats.open != stats.idle:
        return False
    taken = [pool.take() for _ in range(stats.max_connections)]
    full = pool.pool_stats()
    for checkout in taken:
        pool.give(checkout)
    return full.open == full.in_use == len(taken) and pool.pool_stats().open == len(taken)


def give(pool: ConnectionPool, checkout: Checkout) -> None:
    """A working connection is returned."""
    pool.give(checkout)


def break_it(pool: ConnectionPool, checkout: Checkout) -> None:
    """A broken one is returned: the next waiter has to open another."""
    checkout.connection.close()
    pool.give(checkout)


def drop_it(pool: ConnectionPool, checkout: Checkout) -> None:
    """Its holder dropped it: it is garbage-collected in the caller."""


def give_elsewhere(pool: ConnectionPool, checkout: Checkout) -> None:
    """A thread other than the one that took it returns it."""
    thread = threading.Thread(target=pool.give, args=(checkout,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("end", [give, break_it, drop_it, give_elsewhere])
def test_those_who_wait_are_served_in_the_order_of_their_coming(
    pool: ConnectionPool, queue: Queue, end: Callable[[ConnectionPool, Checkout], None]
) -> None:
    checkout = pool.take()
    waiting = [queue.join(number) for number in range(12)]
    assert queue.served == []
    end(pool, checkout)
    del checkout
    gc.collect()
    for future in waiting:
        future.result(timeout=30)
    assert queue.served == list(range(12))
    assert pool.pool_stats().opened_total == (1 if end in (give, give_elsewhere) else 2)
    assert is_whole(pool)


def test_a_newcomer_does_not_overtake(pool: ConnectionPool, queue: Queue) -> None:
    """The returning thread continues and asks again at once, before the waiters are awake."""
    checkout = pool.take()
    for number in range(100):
        waiting = [queue.join((number, place)) for place in range(3)]
        pool.give(checkout)
        checkout = pool.take()
        queue.served.append((number, "newcomer"))
        for future in waiting:
            future.result(timeout=30)
    assert queue.served == [(number, place) for number in range(100) for place in (0, 1, 2, "newcomer")]
    pool.give(checkout)
    assert is_whole(pool)


def test_nobody_starves_while_others_hammer(pool: ConnectionPool) -> None:
    """Each asks again right after returning; all have their first turn before anyone has a second."""
    turns: list[int] = []

    def hammer(number: int) -> None:
        for _ in range(200):
            checkout = pool.take()
            turns.append(number)
            pool.give(checkout)

    with ThreadPoolExecutor(24) as executor:
        checkout = pool.take()
        hammering = [executor.submit(hammer, number) for number in range(24)]
        waits_until(lambda: pool.pool_stats().waiting == 24)
        pool.give(checkout)
        for future in hammering:
            future.result(timeout=60)
    assert sorted(turns[:24]) == list(range(24))
    assert sorted(turns) == sorted(list(range(24)) * 200)
    assert pool.pool_stats().timeouts_total == 0
    assert is_whole(pool)


def test_who_gives_up_leaves_the_turn_to_the_next(pool: ConnectionPool, queue: Queue) -> None:
    checkout = pool.take()
    first = queue.join("first")
    before = pool.settings
    pool.settings = dataclasses.replace(before, pool_timeout_seconds=0.05)
    with pytest.raises(errors.PoolTimeoutError, match="waiting 2"):
        pool.take()
    pool.settings = before
    third = queue.join("third")
    assert pool.pool_stats().waiting == 2
    pool.give(checkout)
    first.result(timeout=30)
    third.result(timeout=30)
    assert queue.served == ["first", "third"]
    assert is_whole(pool)


def test_closing_wakes_all_who_wait(pool: ConnectionPool, queue: Queue) -> None:
    checkout = pool.take()
    waiting = [queue.join(number) for number in range(5)]
    pool.close()
    for future in waiting:
        with pytest.raises(errors.PoolClosedError):
            future.result(timeout=30)
    pool.give(checkout)
    assert checkout.connection.closed
    assert (pool.pool_stats().open, pool.pool_stats().waiting, queue.served) == (0, 0, [])


def test_where_no_connection_can_be_opened_each_is_told_and_none_hangs(
    manager_with: Callable[..., DatabaseManager], queue: Queue
) -> None:
    checkout = queue.pool.take()
    waiting = [queue.join(number) for number in range(3)]
    queue.pool._parameters = {**queue.pool._parameters, "dbname": "nowhere"}
    break_it(queue.pool, checkout)
    for future in waiting:
        with pytest.raises(errors.ConnectionFailedError):
            future.result(timeout=30)
    assert queue.pool.pool_stats().open == 0


@pytest.mark.slow
def test_ctrl_c_while_waiting_leaves_the_turn_to_the_next(pool: ConnectionPool, queue: Queue) -> None:
    checkout = pool.take()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> Future[None]:
        waits_until(lambda: pool.pool_stats().waiting == 1)
        behind = queue.join("behind")
        signal.pthread_kill(main, signal.SIGINT)
        return behind

    # A process started in the background may ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as helper:
            interrupting = helper.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                pool.take()
            behind = interrupting.result(timeout=30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pool.pool_stats().waiting == 1
    pool.give(checkout)
    behind.result(timeout=30)
    assert queue.served == ["behind"]
    assert is_whole(pool)


class Cancelled(BaseException):
    """What a signal raises in the main thread, wherever it is."""


def until_cancelled(seconds: float, work: Callable[[], None]) -> None:
    """Run this, and raise `Cancelled` in it after some time, unless it has ended before."""

    def strike(*_: object) -> None:
        raise Cancelled

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Cancelled:
        pass  # the timer fires once, at any point
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_cancellations_and_timeouts_at_any_moment_lose_nothing(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    pool = manager_with(pool_max_connections=3, pool_timeout_seconds=0.002)._pool
    is_over = threading.Event()
    outcomes = {"served": 0, "timed out": 0, "broken": 0}

    def hammer(seed: int) -> None:
        chance = random.Random(seed)
        while not is_over.is_set():
            try:
                checkout = pool.take()
            except errors.PoolTimeoutError:
                outcomes["timed out"] += 1
                continue
            if chance.random() < 0.01:
                checkout.connection.close()
                outcomes["broken"] += 1
            elif chance.random() < 0.1:
                is_over.wait(0.001)
            pool.give(checkout)
            outcomes["served"] += 1

    completed = 0

    def use() -> None:
        nonlocal completed
        try:
            for _ in range(100):
                pool.give(pool.take())
            completed += 1
        except errors.PoolTimeoutError:
            outcomes["timed out"] += 1

    chance = random.Random(7)
    with ThreadPoolExecutor(12) as executor:
        hammering = [executor.submit(hammer, seed) for seed in range(12)]
        try:
            for _ in range(1000):
                until_cancelled(chance.uniform(0.00005, 0.003), use)
        finally:
            is_over.set()
        for future in hammering:
            future.result(timeout=30)
    assert completed < 1000
    assert min(outcomes.values()) > 0
    assert pool.pool_stats().timeouts_total > 0
    assert is_whole(pool)


def test_a_thread_that_comes_while_idle_ones_are_looked_through_is_served(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    pool = manager_with(pool_max_connections=1, pool_timeout_seconds=30)._pool
    pool.give(pool.take())
    with ThreadPoolExecutor(1) as executor:
        waiting: list[Future[Checkout]] = []

        def keep(checkout: Checkout) -> bool:
            waiting.append(executor.submit(pool.take))
            waits_until(lambda: pool.pool_stats().waiting == 1)
            return False

        pool._close_idle(keep)
        pool.give(waiting[0].result(timeout=30))
    assert is_whole(pool)
