"""Deadlines, Ctrl-C and a silent network:

the caller gets an answer in time, the pool stays usable.
"""

# ruff: noqa: PT012 - blocks that fail as a whole are tested
from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, errors
from db_utils.connections.cancellation import GRACE_SECONDS
from db_utils.connections.transaction import run_script, without_deadline
from tests.integration.connections.conftest import ORGANIZATION
from tests.support.proxy import Proxy

SLOW = "SELECT pg_sleep(30)"
PID = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
def proxy(library_url: str) -> Iterator[Proxy]:
    """A proxy in front of the server under test."""
    dsn = parse_dsn(library_url)
    host, port = dsn.get("host", "localhost"), int(dsn.get("port", "5432"))
    with Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(
    proxy: Proxy, library_url: str, manager_with: Callable[..., DatabaseManager]
) -> Callable[..., DatabaseManager]:
    """Makes managers that connect through the proxy."""
    dsn = {**parse_dsn(library_url), "host": "127.0.0.1", "port": str(proxy.port), "sslmode": "disable"}

    def make(**settings: object) -> DatabaseManager:
        return manager_with(database_url=psycopg2.extensions.make_dsn(**dsn), **settings)

    return make


@pytest.mark.parametrize("verb", ["execute_query", "execute"])
def test_a_deadline_cancels_the_statement_and_keeps_the_connection(db: DatabaseManager, verb: str) -> None:
    before = db.execute_query(PID)
    started = time.monotonic()
    with pytest.raises(errors.QueryTimeoutError, match=r"timeout_seconds=0\.2") as caught:
        getattr(db, verb)(SLOW, timeout_seconds=0.2)
    assert time.monotonic() - started >= 0.2
    assert caught.value.sqlstate == "57014"
    assert db.execute_query(PID) == before
    rows = db.execute_query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query = %s AND state = 'active'", (SLOW,)
    )
    assert rows == [{"n": 0}]


def test_a_deadline_that_is_met_changes_nothing(db: DatabaseManager) -> None:
    for _ in range(50):
        assert db.execute_query("SELECT 1 AS one", timeout_seconds=5) == [{"one": 1}]


def test_statements_about_as_long_as_their_deadline_never_hurt_the_next(db: DatabaseManager) -> None:
    outcomes = set()
    for number in range(60):
        try:
            db.execute_query("SELECT pg_sleep(0.03)", timeout_seconds=0.01 + number * 0.0004)
            outcomes.add("done")
        except errors.QueryTimeoutError:
            outcomes.add("cancelled")
        assert db.execute_query("SELECT %s::int AS n", (number,)) == [{"n": number}]
    assert "cancelled" in outcomes


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_deadline_is_a_positive_number(db: DatabaseManager, seconds: object) -> None:
    with pytest.raises(errors.InvalidInputError, match="timeout_seconds"):
        db.execute_query("SELECT 1", timeout_seconds=seconds)  # type: ignore[arg-type]


def test_a_deadline_inside_a_transaction_undoes_the_nested_block_only(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES (%s, 1, 'x')", (ORGANIZATION,))
        with pytest.raises(errors.QueryTimeoutError), tx.transaction() as inner:
            inner.execute(SLOW, timeout_seconds=0.1)
        tx.execute("INSERT INTO notes VALUES (%s, 2, 'x')", (ORGANIZATION,))
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 2}]


def test_the_statement_timeout_of_the_settings_holds_for_all(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(statement_timeout_seconds=0.1)
    with pytest.raises(errors.QueryTimeoutError, match="DB_STATEMENT_TIMEOUT_SECONDS"):
        db.execute(SLOW)
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_a_file_of_the_schema_takes_as_long_as_it_takes(manager_with: Callable[..., DatabaseManager]) -> None:
    """Neither the server's limit stops it nor the later one of the client."""
    db = manager_with(statement_timeout_seconds=0.1)
    with db.transaction() as transaction:
        with without_deadline(transaction):
            run_script(transaction, f"SELECT pg_sleep({GRACE_SECONDS + 0.5})")
        with pytest.raises(errors.QueryTimeoutError), transaction.transaction() as nested:
            nested.execute(SLOW)


def test_what_refreshes_rollups_takes_as_long_as_it_takes(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(statement_timeout_seconds=5.0, pool_max_connections=1)
    body = "LANGUAGE plpgsql AS $$ BEGIN told := current_setting('statement_timeout'); END $$"
    db.execute("CREATE SCHEMA other")
    for name in ("refresh_rollups", "something"):
        db.execute(f"CREATE PROCEDURE other.{name}(INOUT told text) {body}")
    assert db.execute_query("CALL other.refresh_rollups(NULL)") == [{"told": "0"}]
    assert db.execute_query("CALL other.something(NULL)") == [{"told": "5s"}]
    assert db.execute_query("SHOW statement_timeout") == [{"statement_timeout": "5s"}]
    db.execute("DROP SCHEMA other CASCADE")


def test_a_lock_that_is_not_free_in_time_is_named(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(lock_timeout_seconds=0.1)
    with db.transaction() as tx:
        tx.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(errors.QueryTimeoutError, match="DB_LOCK_TIMEOUT_SECONDS"):
            db.execute_query("SELECT * FROM notes")


def test_a_transaction_that_sits_idle_is_ended_by_the_server(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(idle_in_transaction_timeout_seconds=0.1)
    with (
        pytest.raises(errors.QueryTimeoutError, match="DB_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS"),
        db.transaction() as tx,
    ):
        tx.execute("SELECT 1")
        pid = tx.execute_query(PID)[0]["pid"]
        give_up_at = time.monotonic() + 10
        while db.execute_query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = %s", (pid,))[0][
            "n"
        ]:
            assert time.monotonic() < give_up_at
        tx.execute("SELECT 1")
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_other_sessions_cancel_is_called_that(db: DatabaseManager) -> None:
    def cancel() -> None:
        find = (
            "SELECT pg_cancel_backend(pid) AS done FROM pg_stat_activity WHERE query = %s AND state = "
            "'active'"
        )
        while not db.execute_query(find, (SLOW,)):
            pass

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(errors.QueryCancelledError):
        db.execute(SLOW)
    thread.join()


# -- Ctrl-C -------------------------------------------------------------------------------------------

_INTERRUPTED = """
import sys, time
from db_utils import DatabaseManager, errors
db = DatabaseManager(sys.argv[1])
pid = db.execute_query("SELECT pg_backend_pid() AS pid")
print("ready", flush=True)
try:
    {action}
except KeyboardInterrupt as error:
    print("interrupted", flush=True)
print(db.execute_query("SELECT pg_backend_pid() AS pid") == pid, db.pool_stats().in_use, flush=True)
print(db.execute_query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE "
"'%pg_sleep(29)%'")[0]["n"])
"""


@pytest.mark.parametrize(
    "action",
    [
        "db.execute('SELECT pg_sleep(29)')",
        *(
            pytest.param(action, marks=pytest.mark.slow)
            for action in (
                "list(db.stream('SELECT pg_sleep(29)'))",
                "db.run_in_transaction(lambda tx: tx.execute('SELECT pg_sleep(29)'))",
                "db.execute('SELECT pg_sleep(29)', timeout_seconds=20)",
            )
        ),
    ],
    ids=["statement", "stream", "transaction", "deadline"],
)
def test_ctrl_c_cancels_the_statement_and_keeps_the_connection(
    library_url: str, db: DatabaseManager, python: Callable[..., subprocess.Popen[str]], action: str
) -> None:
    process = python(_INTERRUPTED.format(action=action), library_url)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    give_up_at = time.monotonic() + 10
    busy = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while db.execute_query(busy) != [{"n": 1}]:
        assert time.monotonic() < give_up_at
    os.kill(process.pid, signal.SIGINT)
    output, problems = process.communicate(timeout=60)
    assert output.splitlines() == ["interrupted", "True 0", "1"], problems  # 1: the question itself


@pytest.mark.slow
def test_ctrl_c_during_a_copy_keeps_nothing_and_the_pool(
    library_url: str, db: DatabaseManager, python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
import itertools, sys
from db_utils import DatabaseManager
db = DatabaseManager(sys.argv[1])
def rows():
    for n in itertools.count():
        if n == 200_000:
            print("loading", flush=True)
        yield ("11111111-1111-1111-1111-111111111111", n, "x")
try:
    db.copy_rows("notes", ["organization_id", "note_id", "text"], rows())
except KeyboardInterrupt:
    print("interrupted", db.pool_stats().in_use, db.execute_query("SELECT count(*) AS n FROM notes"), flush=True)
"""
    process = python(code, library_url)
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n", process.communicate()[1]
    os.kill(process.pid, signal.SIGINT)
    output, problems = process.communicate(timeout=20)
    assert output == "interrupted 0 [{'n': 0}]\n", problems
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]


@pytest.mark.slow
def test_an_application_that_handles_ctrl_c_itself_keeps_its_statement(
    library_url: str, python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
import signal, sys, os, threading
from db_utils import DatabaseManager
signal.signal(signal.SIGINT, lambda number, frame: print("noted", flush=True))
db = DatabaseManager(sys.argv[1])
db.execute("SELECT 1")
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
print(db.execute_query("SELECT pg_sleep(0.6), 1 AS one")[0]["one"], flush=True)
"""
    output, problems = python(code, library_url).communicate(timeout=20)
    assert output.splitlines() == ["noted", "1"], problems


# -- a silent network ---------------------------------------------------------------------------------


def test_a_silent_network_ends_the_wait_soon_after_the_deadline(
    proxy: Proxy, through_proxy: Callable[..., DatabaseManager]
) -> None:
    db = through_proxy()
    db.execute("SELECT 1")
    proxy.fall_silent()
    with pytest.raises(errors.QueryTimeoutError, match="dropped"):
        db.execute_query("SELECT 1", timeout_seconds=0.3)
    proxy.speak_again()
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
    assert db.pool_stats().in_use == 0


def test_a_silent_network_is_noticed_without_a_deadline_too(
    proxy: Proxy, through_proxy: Callable[..., DatabaseManager]
) -> None:
    db = through_proxy(statement_timeout_seconds=0.3)
    db.execute("SELECT 1")
    proxy.fall_silent()
    with pytest.raises(errors.QueryTimeoutError, match="DB_STATEMENT_TIMEOUT_SECONDS"):
        db.execute("SELECT 1")
    proxy.speak_again()
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_connecting_into_silence_ends_after_the_connect_timeout(
    proxy: Proxy, through_proxy: Callable[..., DatabaseManager]
) -> None:
    proxy.fall_silent()
    db = through_proxy(connect_timeout_seconds=2)
    with pytest.raises(errors.ConnectionFailedError, match="DB_CONNECT_TIMEOUT_SECONDS"):
        db.execute("SELECT 1")
    assert db.pool_stats().open == 0


@pytest.mark.slow
def test_a_load_into_silence_ends_after_its_deadline_and_keeps_nothing(
    proxy: Proxy, through_proxy: Callable[..., DatabaseManager], db: DatabaseManager
) -> None:
    loading = through_proxy()

    def rows() -> Iterator[tuple[str, int, str]]:
        for number in range(300_000):
            if number == 100_000:
                proxy.fall_silent()
            yield (ORGANIZATION, number, "x" * 20)

    with pytest.raises(errors.QueryTimeoutError):
        loading.copy_rows("notes", ["organization_id", "note_id", "text"], rows(), timeout_seconds=1.5)
    proxy.cut()
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]
    assert loading.pool_stats().in_use == 0


def test_other_threads_go_on_while_one_waits_for_a_silent_network(
    proxy: Proxy, through_proxy: Callable[..., DatabaseManager], db: DatabaseManager
) -> None:
    stuck = through_proxy()
    stuck.execute("SELECT 1")
    proxy.fall_silent()
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            stuck.execute("SELECT 1", timeout_seconds=0.2)
        except errors.DbUtilsError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    answered = 0
    while thread.is_alive():
        db.execute("SELECT 1")
        answered += thread.is_alive()
    assert [type(error) for error in failed] == [errors.QueryTimeoutError]
    assert answered > 0
