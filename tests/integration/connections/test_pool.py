"""The pool:

bounded, queueing, reporting its state, never handing out a dead connection twice, leaking nothing.
"""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from db_utils import DatabaseManager, errors
from db_utils.embedded.redis_server import free_port
from tests.integration.connections.conftest import ORGANIZATION, waits_until

NUMBERS = "SELECT g FROM generate_series(1, 1000) AS g ORDER BY g"
BACKENDS = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = %s"


def test_nothing_is_opened_before_the_first_statement(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with()
    assert db.pool_stats().open == 0
    db.execute("SELECT 1")
    stats = db.pool_stats()
    assert (stats.open, stats.idle, stats.in_use, stats.opened_total) == (1, 1, 0, 1)


def test_a_full_pool_waits_and_then_says_how_full_it_is(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=2, pool_timeout_seconds=0.2)
    with db.connection(), db.transaction():
        assert db.pool_stats().in_use == 2
        started = time.monotonic()
        with pytest.raises(errors.PoolTimeoutError) as caught:
            db.execute("SELECT 1")
        assert time.monotonic() - started >= 0.2
    message = str(caught.value)
    for words in (
        "pool size 2",
        "in use 2",
        "waiting 1",
        "DB_POOL_TIMEOUT_SECONDS",
        "DB_POOL_MAX_CONNECTIONS",
    ):
        assert words in message
    assert db.pool_stats().timeouts_total == 1
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_a_waiting_thread_gets_the_connection_that_comes_back(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=30)
    with ThreadPoolExecutor(1) as executor:
        with db.transaction():
            waiting = executor.submit(db.execute_query, "SELECT 1 AS one")
            while db.pool_stats().waiting == 0:
                time.sleep(0.001)
        assert waiting.result(timeout=5) == [{"one": 1}]


def test_a_waiting_thread_opens_a_new_one_where_a_broken_one_came_back(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=30)
    with ThreadPoolExecutor(1) as executor:
        with db.connection() as connection:
            waiting = executor.submit(db.execute_query, "SELECT 1 AS one")
            while db.pool_stats().waiting == 0:
                time.sleep(0.001)
            connection.close()
        assert waiting.result(timeout=5) == [{"one": 1}]
    assert db.pool_stats().opened_total == 2


def test_it_never_opens_more_than_its_size(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=3, application_name="bounded")
    most: list[int] = []

    def work(_: int) -> None:
        most.append(db.execute_query(BACKENDS, ("bounded",))[0]["n"])

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(work, range(200)))
    assert max(most) <= 3
    assert db.pool_stats().opened_total <= 3


def test_a_connection_is_replaced_when_it_is_too_old(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_age_seconds=0.05)
    first = db.execute_query("SELECT pg_backend_pid() AS pid")
    give_up_at = time.monotonic() + 5
    while db.execute_query("SELECT pg_backend_pid() AS pid") == first:
        assert time.monotonic() < give_up_at
    assert db.pool_stats().open == 1


def test_a_connection_that_is_idle_for_too_long_is_closed_without_anyone_asking(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_idle_seconds=0.05)
    db.execute("SELECT 1")
    give_up_at = time.monotonic() + 10
    while db.pool_stats().open:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_a_recently_used_connection_is_not_asked_first(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(application_name="no-ping")
    db.execute("SELECT 1")
    queries = [
        db.execute_query("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")[0]["query"]
        for _ in range(3)
    ]
    assert all("pg_stat_activity" in query for query in queries)
    asked = manager_with(pool_idle_check_seconds=0)
    asked.execute("SELECT 1")
    before = asked.pool_stats().opened_total
    asked.execute("SELECT 1")
    assert asked.pool_stats().opened_total == before


def test_waiting_for_a_server_that_never_comes_says_why(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(database_url=f"postgresql://u:hidden@127.0.0.1:{free_port()}/d")
    started = time.monotonic()
    with pytest.raises(errors.ConnectionFailedError, match="refused") as caught:
        db.wait(0.3)
    assert time.monotonic() - started >= 0.2
    assert "hidden" not in str(caught.value)
    health = db.health()
    assert not health.ok
    assert health.error is not None
    assert db.pool_stats().open == 0


def test_closing_ends_everything_and_may_be_done_twice(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(application_name="closing")
    watcher = manager_with()
    with db.transaction() as tx:
        db.execute("SELECT 1")
        assert watcher.execute_query(BACKENDS, ("closing",)) == [{"n": 2}]
        db.close()
        tx.execute("SELECT 1")  # running statements may finish
        with pytest.raises(errors.PoolClosedError):
            db.execute("SELECT 1")
        with pytest.raises(errors.PoolClosedError):
            db.listen("x")
    db.close()
    give_up_at = time.monotonic() + 5
    while watcher.execute_query(BACKENDS, ("closing",)) != [{"n": 0}]:
        assert time.monotonic() < give_up_at
    for use in (
        lambda: db.execute_query("SELECT 1"),
        db.transaction().__enter__,
        lambda: next(iter(db.stream("SELECT 1"))),
    ):
        with pytest.raises(errors.PoolClosedError):
            use()
    assert not db.health().ok
    assert db.pool_stats().open == 0


def test_a_lease_that_was_dropped_gives_its_place_back(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.2)
    checkout = db._pool.take()
    assert db.pool_stats().in_use == 1
    del checkout
    gc.collect()
    assert db.pool_stats().open == 0
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.slow
def test_many_threads_and_many_errors_leave_nothing_behind(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=8, application_name="soak", slow_query_seconds=0)
    watcher = manager_with()
    db.execute("TRUNCATE notes")
    process = psutil.Process()
    expected = {
        errors.UndefinedObjectError,
        errors.CheckViolationError,
        errors.QueryTimeoutError,
        errors.ServerUnavailableError,
    }
    seen: Counter[type[BaseException]] = Counter()
    numbers = itertools.count()
    committed: set[int] = set()

    def write(tx_fails: bool) -> None:
        number = next(numbers)
        with db.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (%s, %s, 'x')", (ORGANIZATION, number))
            if tx_fails:
                raise KeyError
        committed.add(number)

    def abandon() -> None:
        next(iter(db.stream("SELECT g FROM generate_series(1, 1000) AS g", batch_size=10)))

    actions: list[Callable[[], object]] = [
        lambda: db.execute_query("SELECT 1 AS one"),
        lambda: db.execute_query("SELECT 1 AS one"),
        lambda: db.execute_query("SELECT * FROM nowhere"),
        lambda: db.execute("INSERT INTO notes VALUES (%s, -1, '')", (ORGANIZATION,)),
        lambda: db.execute_query("SELECT pg_sleep(10)", timeout_seconds=0.005),
        lambda: db.execute("SELECT pg_terminate_backend(pg_backend_pid())"),
        lambda: write(False),
        lambda: write(True),
        abandon,
    ]
    weights = [200, 200, 60, 60, 2, 2, 60, 30, 20]

    def work(seed: int, count: int) -> None:
        chance = random.Random(seed)
        for action in chance.choices(actions, weights, k=count):
            try:
                action()
            except (errors.DbUtilsError, KeyError) as error:
                seen[type(error)] += 1

    def operations(count: int, first_seed: int) -> None:
        threads = [
            threading.Thread(target=work, args=(first_seed + number, count // 32)) for number in range(32)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()

    operations(3_200, 0)
    handles, thread_count, memory = process.num_fds(), threading.active_count(), process.memory_info().rss
    operations(100_000, 1000)
    assert set(seen) - {KeyError} == expected
    assert seen.total() > 10_000
    stats = db.pool_stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.open == stats.idle <= 8
    assert {row["note_id"] for row in watcher.execute_query("SELECT note_id FROM notes")} == committed
    waits_until(lambda: watcher.execute_query(BACKENDS, ("soak",)) == [{"n": stats.open}])
    assert process.num_fds() <= handles + 10
    assert process.memory_info().rss - memory < 30_000_000
    assert threading.active_count() <= thread_count + 4
    assert watcher.execute_query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'soak' AND state LIKE "
        "'idle in%'"
    ) == [{"n": 0}]
