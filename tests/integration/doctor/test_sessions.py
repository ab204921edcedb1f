"""Connections, long and idle transactions, lock waits, and the cache hit ratio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg2
import pytest

from db_utils.ops.doctor import Severity
from tests.integration.cli.conftest import Run
from tests.integration.doctor.support import ailment, ask, execute, paste, until, value, well
from tests.support import servers
from tests.support.servers import OwnServer


@contextmanager
def busy(url: str, statement: str) -> Iterator[int]:
    """The process id of a session that runs this statement until it is terminated."""
    connection = psycopg2.connect(url)

    def work() -> None:
        with suppress(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute(statement)

    pid = connection.get_backend_pid()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield pid
    finally:
        execute(url, f"SELECT pg_terminate_backend({pid})")
        thread.join()
        connection.close()


def is_active(url: str, pid: int) -> bool:
    return bool(value(url, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"))


def is_gone(url: str, pid: int) -> bool:
    return not value(url, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")


def test_a_long_transaction_is_named_and_ended(url: str) -> None:
    limits = ["long-transaction-minutes=0,10"]
    with busy(url, "SELECT pg_sleep(600)") as pid:
        until(lambda: is_active(url, pid))
        found = ailment(url, "long-transactions", f"process {pid} ", limits=limits)
        assert found.severity == Severity.WARNING
        assert well(url, "long-transactions", f"process {pid} ")
        paste(url, found.fix)
        until(lambda: is_gone(url, pid))
        assert well(url, "long-transactions", f"process {pid} ", limits=limits)


def test_a_queue_of_notifications_that_fills_up_is_laid_at_the_oldest_transactions_door(url: str) -> None:
    limits = ["notification-queue-pct=0.0001,99"]
    with closing(psycopg2.connect(url)) as listener, listener.cursor() as cursor:
        cursor.execute("LISTEN anything")
        listener.commit()
        cursor.execute("SELECT 1")  # a transaction that stays open: new notifications stay in the queue
        execute(url, "SELECT pg_notify('anything', n || repeat('x', 7000)) FROM generate_series(1, 200) AS n")
        found = ailment(url, "notification-queue", limits=limits)
        assert found.severity == Severity.WARNING
        assert f"process {listener.get_backend_pid()} " in found.found
        paste(url, found.fix)
        until(lambda: well(url, "notification-queue", limits=limits))


def test_a_transaction_beyond_the_critical_limit_is_critical(url: str) -> None:
    with busy(url, "SELECT pg_sleep(600)") as pid:
        until(lambda: is_active(url, pid))
        found = ailment(url, "long-transactions", f"process {pid} ", limits=["long-transaction-minutes=0,0"])
        assert found.severity == Severity.CRITICAL


def test_a_session_idle_in_a_transaction_is_named_and_ended(url: str) -> None:
    limits = ["idle-in-transaction-minutes=0,10"]
    with closing(psycopg2.connect(url, application_name="forgetful")) as connection:
        connection.cursor().execute("SELECT 1")
        pid = connection.get_backend_pid()
        found = ailment(url, "idle-in-transaction", f"process {pid} ", limits=limits)
        assert "forgetful" in found.found
        assert found.severity == Severity.WARNING
        assert well(url, "idle-in-transaction", f"process {pid} ")
        paste(url, found.fix)
        until(lambda: is_gone(url, pid))
        assert well(url, "idle-in-transaction", f"process {pid} ", limits=limits)


def test_a_wait_for_a_lock_names_the_holder_and_ends_it(url: str) -> None:
    limits = ["lock-wait-seconds=0,60"]
    with closing(psycopg2.connect(url)) as holder:
        holder.cursor().execute("LOCK TABLE locations")
        with busy(url, "SELECT count(*) FROM locations") as waiting:
            until(lambda: any(str(waiting) in f.found for f in ask(url, "blocked-sessions", limits=limits)))
            found = ailment(url, "blocked-sessions", f"process {waiting} ", limits=limits)
            assert found.severity == Severity.WARNING
            assert found.figures["blocking_pids"] == [holder.get_backend_pid()]
            assert "locations" in found.found
            assert well(url, "blocked-sessions")
            paste(url, found.fix)
            until(lambda: is_gone(url, holder.get_backend_pid()))
            until(lambda: well(url, "blocked-sessions", limits=limits))


def test_a_prepared_transaction_is_named_and_rolled_back() -> None:
    limits = ["long-transaction-minutes=0,10"]
    with servers.own_server(max_prepared_transactions="2") as server:
        execute(server.url, "BEGIN; CREATE TABLE t (a int); PREPARE TRANSACTION 'it''s \"left\"'")
        found = ailment(server.url, "long-transactions", "prepared", limits=limits)
        assert found.severity == Severity.WARNING
        assert well(server.url, "long-transactions")
        paste(server.url, found.fix)
        assert well(server.url, "long-transactions", limits=limits)


@pytest.fixture
def small(own_server: OwnServer) -> OwnServer:
    """A server with eleven connections for all and three for superusers."""
    execute(own_server.url, "ALTER SYSTEM SET max_connections = 14")
    own_server.stop()
    own_server.start()
    return own_server


def test_connections_that_run_out_are_a_warning_and_more_of_them_the_cure(small: OwnServer) -> None:
    assert well(small.url, "connections")
    with ExitStack() as stack:
        for _ in range(8):  # with the doctor's own, 9 of 11: 82 %
            stack.enter_context(closing(psycopg2.connect(small.url, application_name="hungry")))
        found = ailment(small.url, "connections")
        assert found.severity == Severity.WARNING
        assert found.figures["used"] == 9
        assert found.figures["available"] == 11
        assert "8 hungry" in found.found
        for _ in range(2):  # 11 of 11
            stack.enter_context(closing(psycopg2.connect(small.url)))
        assert ailment(small.url, "connections").severity == Severity.CRITICAL
    paste(small.url, found.fix)
    small.stop()
    small.start()
    assert value(small.url, "SHOW max_connections") == "28"
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(closing(psycopg2.connect(small.url)))
        assert well(small.url, "connections")


def test_no_connection_left_is_critical_by_itself(small: OwnServer, run: Run) -> None:
    execute(small.url, "CREATE ROLE watcher LOGIN PASSWORD 'watching all night'")
    as_watcher = small.url.replace("barnameh_user:barnameh_password", "watcher:watching%20all%20night")
    with ExitStack() as stack:
        for _ in range(11):
            stack.enter_context(closing(psycopg2.connect(small.url)))
        done = run(as_watcher, "doctor")
        assert done.code == 4
        assert "CRITICAL connections" in done.out
        assert "watching all night" not in done.out + done.err


def test_a_cache_too_small_for_its_data_is_seen_in_the_hit_ratio_and_in_the_settings(
    own_server: OwnServer,
) -> None:
    url = own_server.url
    assert well(url, "memory-settings")
    execute(url, "ALTER SYSTEM SET shared_buffers = '1MB'", "ALTER SYSTEM SET work_mem = '64kB'")
    own_server.stop()
    own_server.start()
    execute(
        url,
        "CREATE TABLE t AS SELECT g, repeat('x', 500) AS filler FROM generate_series(1, 40000) AS g",
        "VACUUM t",
    )
    read = read_all(url)
    read()
    until(
        lambda: value(
            url, "SELECT blks_read > 100000 FROM pg_stat_database WHERE datname = current_database()"
        )
    )
    found = ailment(url, "cache-hit-ratio")
    assert found.severity == Severity.WARNING
    assert found.figures["hit_pct"] < 90
    buffers = ailment(url, "memory-settings", "shared_buffers")
    assert buffers.severity == Severity.WARNING
    assert "1.0 MB" in buffers.found
    paste(url, ailment(url, "memory-settings", "work_mem").fix)
    until(lambda: well(url, "memory-settings", "work_mem"))

    paste(url, found.fix)
    assert (
        value(
            url,
            "SELECT count(*) FROM pg_file_settings WHERE name = 'shared_buffers' AND setting = '128MB' AND sourcefile LIKE '%auto.conf'",
        )
        == 1
    )
    execute(url, "SELECT pg_reload_conf()")
    until(lambda: not well(url, "pending-restart"))
    pending = ailment(url, "pending-restart")
    assert pending.severity == Severity.NOTE
    assert pending.figures["names"] == ["shared_buffers"]
    own_server.stop()
    own_server.start()
    read()
    assert well(url, "cache-hit-ratio")
    assert well(url, "memory-settings")
    assert well(url, "pending-restart")


def read_all(url: str) -> Callable[[], None]:
    """Reads 2,900 blocks repeatedly, more than 100,000 in total."""

    def read() -> None:
        execute(url, *["SELECT count(*) FROM t"] * 45)

    return read
