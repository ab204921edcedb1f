"""Network and server faults of a connection, on the test's own server."""

# ruff: noqa: PT012 - blocks that fail as a whole are tested
from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION, waits_until
from tests.support.proxy import Proxy
from tests.support.servers import OwnServer

pytestmark = pytest.mark.slow

PID = "SELECT pg_backend_pid() AS pid"
TABLE = "CREATE TABLE facts (id bigint PRIMARY KEY, payload text)"


@pytest.fixture
def own(own_server: OwnServer) -> Iterator[DatabaseManager]:
    """A manager on the test's own server."""
    with DatabaseManager(own_server.url, pool_timeout_seconds=10, connect_timeout_seconds=5) as manager:
        yield manager


# -- a killed backend ---------------------------------------------------------------------------------


def test_a_read_outlives_its_backend_and_a_write_is_not_repeated(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db, killer = manager_with(), manager_with()
    db.execute("TRUNCATE notes")
    suicide = "SELECT pg_terminate_backend(pg_backend_pid()) AS dead"
    with pytest.raises(errors.ServerUnavailableError):
        db.execute(suicide)
    assert db.execute_query(PID)

    pid = db.execute_query(PID)[0]["pid"]
    killer.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]

    # A write whose backend dies: its outcome is unknown, so the caller must decide.
    write = f"INSERT INTO notes SELECT '{ORGANIZATION}', %s, 'x' FROM (SELECT pg_sleep(%s)) AS slept"
    for idempotent, survives in ((False, False), (True, True)):
        started = threading.Event()

        def kill(started: threading.Event = started) -> None:
            started.wait()
            find = "SELECT pg_terminate_backend(pid) AS d FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            while not killer.execute_query(find):
                pass

        thread = threading.Thread(target=kill)
        thread.start()
        started.set()
        if survives:
            assert db.execute(write, (2, 0.5), idempotent=idempotent) == 1
        else:
            with pytest.raises(errors.ServerUnavailableError):
                db.execute(write, (1, 30), idempotent=idempotent)
        thread.join()
    assert db.execute_query("SELECT note_id FROM notes") == [{"note_id": 2}]


def test_a_select_that_writes_is_not_repeated_either(manager_with: Callable[..., DatabaseManager]) -> None:
    db, killer = manager_with(), manager_with()
    db.execute("TRUNCATE notes")
    db.execute(
        "CREATE OR REPLACE FUNCTION slow_insert() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO notes VALUES ('{ORGANIZATION}', 1, 'x'); PERFORM pg_sleep(30); RETURN 1; END $$"
    )
    kills = []

    def kill() -> None:
        find = "SELECT pg_terminate_backend(pid) AS d FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not kills:
            kills.extend(killer.execute_query(find))

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(errors.ServerUnavailableError):
        db.execute_query("SELECT slow_insert() AS n")  # retried in a read-only transaction, and refused there
    thread.join()
    assert len(kills) == 1
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]


def test_a_transaction_whose_backend_dies_keeps_nothing_and_says_so(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db, killer = manager_with(), manager_with()
    db.execute("TRUNCATE notes")

    def doomed() -> None:
        with db.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (%s, 1, 'x')", (ORGANIZATION,))
            killer.execute("SELECT pg_terminate_backend(%s, 5000)", (tx.execute_query(PID)[0]["pid"],))
            tx.execute("INSERT INTO notes VALUES (%s, 2, 'x')", (ORGANIZATION,))

    with pytest.raises(errors.ServerUnavailableError):
        doomed()
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]
    assert db.pool_stats().in_use == 0


def test_a_connection_that_died_while_idle_is_never_handed_out(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db, killer = manager_with(pool_max_connections=4), manager_with()
    barrier = threading.Barrier(4)
    pids: list[int] = []

    def hold() -> None:
        with db.transaction() as tx:
            pids.append(tx.execute_query(PID)[0]["pid"])
            barrier.wait()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.pool_stats().idle == 4
    time.sleep(0.15)  # longer than the pool trusts an idle connection
    for pid in pids:
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    db.execute("TRUNCATE notes")
    assert db.execute("INSERT INTO notes VALUES (%s, 1, 'x')", (ORGANIZATION,)) == 1
    with db.transaction() as tx:
        assert tx.execute_query(PID)[0]["pid"] not in pids
    with db.connection() as connection:
        assert connection.get_backend_pid() not in pids


# -- a server that stops and returns ------------------------------------------------------------------


def test_a_restart_is_survived_without_a_new_manager(own_server: OwnServer, own: DatabaseManager) -> None:
    own.execute(TABLE)
    own.execute("INSERT INTO facts VALUES (1, 'before')")
    own_server.stop()
    with pytest.raises((errors.ConnectionFailedError, errors.ServerUnavailableError)):
        own.execute_query("SELECT 1")
    health = own.health()
    assert not health.ok
    back = threading.Timer(0.3, own_server.start)
    back.start()
    own.wait(20)
    back.join()
    assert own.execute("INSERT INTO facts VALUES (2, 'after')") == 1
    assert own.execute_query("SELECT id FROM facts ORDER BY id") == [{"id": 1}, {"id": 2}]
    assert own.health().ok
    assert own.pool_stats().in_use == 0


def test_a_server_that_shuts_down_says_so(own_server: OwnServer, own: DatabaseManager) -> None:
    own.execute(TABLE)
    with own.transaction() as tx:
        tx.execute("INSERT INTO facts VALUES (1, 'under way')")
        own_server.signal(signal.SIGTERM)  # smart: waits for connected clients, accepts no new ones

        def refused() -> bool:
            try:
                own.execute("SELECT 1")
            except errors.ServerUnavailableError as error:
                return error.sqlstate == "57P03"
            return False

        waits_until(refused)
        tx.execute("INSERT INTO facts VALUES (2, 'under way')")
    own.close()
    own_server.stop()
    own_server.start()
    with DatabaseManager(own_server.url) as again:
        assert again.execute_query("SELECT count(*) AS n FROM facts") == [{"n": 2}]


def test_a_fast_shutdown_ends_a_statement_with_a_typed_error(
    own_server: OwnServer, own: DatabaseManager
) -> None:
    def stop_when_busy() -> None:
        with DatabaseManager(own_server.url) as watching:
            waits_until(
                lambda: watching.execute_query(
                    "SELECT 1 AS x FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                )
            )
            own_server.signal(signal.SIGINT)

    thread = threading.Thread(target=stop_when_busy)
    thread.start()
    with pytest.raises(errors.ServerUnavailableError) as caught:
        own.execute("SELECT pg_sleep(30)")
    thread.join()
    assert caught.value.sqlstate in ("57P01", None)
    assert own.pool_stats().in_use == 0


def test_a_copy_that_is_cut_off_by_kill_9_keeps_all_or_nothing(
    own_server: OwnServer, own: DatabaseManager
) -> None:
    own.execute(TABLE)
    assert own.copy_rows("facts", ["id", "payload"], ((n, "acknowledged") for n in range(1000))) == 1000

    def rows() -> Iterator[tuple[int, str]]:
        for number in range(1000, 500_000):
            if number == 120_000:
                own_server.kill()
            yield (number, "x" * 50)

    with pytest.raises(errors.ServerUnavailableError):
        own.copy_rows("facts", ["id", "payload"], rows())
    own_server.start()
    own.wait(20)
    assert own.execute_query("SELECT count(*) AS n, max(id) AS newest FROM facts") == [
        {"n": 1000, "newest": 999}
    ]
    assert own.copy_rows("facts", ["id", "payload"], ((n, "again") for n in range(1000, 2000))) == 1000


@pytest.mark.parametrize(
    "act",
    [
        lambda db: db.execute_query("SELECT 1", timeout_seconds=0.3),
        lambda db: db.execute("SELECT 1", timeout_seconds=0.3),
        lambda db: db.copy_rows("facts", ["id", "payload"], [(1, "x")], timeout_seconds=0.3),
        lambda db: db.execute_many("INSERT INTO facts VALUES %s", [(1, "x")], timeout_seconds=0.3),
        lambda db: db.upsert_many(
            "facts", ["id", "payload"], [(1, "x")], conflict_columns=["id"], timeout_seconds=0.3
        ),
    ],
    ids=["execute_query", "execute", "copy_rows", "execute_many", "upsert_many"],
)
def test_a_frozen_server_is_left_alone_after_the_deadline(
    own_server: OwnServer, own: DatabaseManager, act: Callable[[DatabaseManager], object]
) -> None:
    own.execute(TABLE)
    own_server.pause()
    thaw = threading.Timer(90, own_server.go_on)  # or a deadline that does not hold is never noticed
    thaw.start()
    try:
        with pytest.raises(errors.QueryTimeoutError):
            act(own)
        assert thaw.is_alive()
    finally:
        thaw.cancel()
        own_server.go_on()
    assert own.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_acknowledged_writes_outlive_repeated_kills(own_server: OwnServer, own: DatabaseManager) -> None:
    own.execute(TABLE)
    acknowledged: set[int] = set()
    stop = threading.Event()

    def write(first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                own.execute(
                    "INSERT INTO facts VALUES (%s, 'x'), (%s, 'y') ON CONFLICT DO NOTHING", (number, -number)
                )
            except (errors.ConnectionFailedError, errors.ServerUnavailableError):
                continue  # the same batch again: it is idempotent
            acknowledged.add(number)
            number += 4

    threads = [threading.Thread(target=write, args=(first,)) for first in range(1, 5)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        before = len(acknowledged)
        waits_until(lambda before=before: len(acknowledged) > before + 50)  # type: ignore[misc]
        own_server.kill()
        own_server.start()
    before = len(acknowledged)
    waits_until(lambda: len(acknowledged) > before + 50)
    stop.set()
    for thread in threads:
        thread.join()
    found = {row["id"] for row in own.execute_query("SELECT id FROM facts")}
    assert acknowledged <= found
    assert {-number for number in found} == found  # no partial batch
    assert own.pool_stats().in_use == 0


# -- a server that refuses ----------------------------------------------------------------------------


def test_a_server_that_only_reads_refuses_writes_by_name(own: DatabaseManager) -> None:
    own.execute(TABLE)
    own.execute("ALTER DATABASE barnameh_ops SET default_transaction_read_only = on")
    own._pool.renew()
    with pytest.raises(errors.ReadOnlyError, match="primary"):
        own.execute("INSERT INTO facts VALUES (1, 'x')")
    with pytest.raises(errors.ReadOnlyError):
        own.copy_rows("facts", ["id", "payload"], [(1, "x")])
    assert own.execute_query("SELECT count(*) AS n FROM facts") == [{"n": 0}]


def test_a_full_disk_is_named_and_keeps_nothing(own: DatabaseManager) -> None:
    """The server's error for a full disk, raised on the server as on a full disk:

    while rows come in.
    """
    own.execute(TABLE)
    own.execute(
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 500 THEN "
        "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; "
        "END IF; RETURN NEW; END $$"
    )
    own.execute("CREATE TRIGGER no_space BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION no_space()")
    rows = [(number, "x") for number in range(1000)]
    loads: list[Callable[[], object]] = [
        lambda: own.copy_rows("facts", ["id", "payload"], rows),
        lambda: own.execute_many("INSERT INTO facts (id, payload) VALUES %s", rows),
        lambda: own.execute("INSERT INTO facts SELECT g, 'x' FROM generate_series(1, 1000) AS g"),
    ]
    for load in loads:
        with pytest.raises(errors.ResourceExhaustedError, match="disk") as caught:
            load()
        assert caught.value.sqlstate == "53100"
        assert own.execute_query("SELECT count(*) AS n FROM facts") == [{"n": 0}]


def test_a_server_without_a_free_slot_says_which_setting(own_server: OwnServer) -> None:
    own_server.stop()
    own_server.start(max_connections="8", superuser_reserved_connections="0", max_wal_senders="0")
    with DatabaseManager(own_server.url, max_connections=20) as db:
        held = []
        with pytest.raises(errors.ConnectionFailedError, match="DB_POOL_MAX_CONNECTIONS") as caught:
            for _ in range(20):
                held.append(db._pool.take())
        assert caught.value.sqlstate == "53300"
        for checkout in held:
            db._pool.give(checkout)
        assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
        assert db.pool_stats().open == len(held)


def test_a_deadline_holds_on_a_server_without_a_free_slot(own_server: OwnServer) -> None:
    own_server.stop()
    own_server.start(max_connections="5", superuser_reserved_connections="0", max_wal_senders="0")
    with DatabaseManager(own_server.url, max_connections=20) as db:
        held = []
        with pytest.raises(errors.ConnectionFailedError):
            while True:
                held.append(db._pool.take())
        pid = held[-1].connection.get_backend_pid()
        db._pool.give(held.pop())
        with pytest.raises(errors.QueryTimeoutError, match="cancelled"):
            db.execute("SELECT pg_sleep(30)", timeout_seconds=0.2)
        assert db.execute_query(PID) == [{"pid": pid}]
        for checkout in held:
            db._pool.give(checkout)


def test_wrong_credentials_say_which_setting_and_never_which_password(own_server: OwnServer) -> None:
    cases = [
        (
            own_server.url.replace("barnameh_password", "wrong-s3cr3t"),
            errors.AuthenticationFailedError,
            "POSTGRES_PASSWORD",
        ),
        (
            own_server.url.replace("barnameh_user", "someone"),
            errors.AuthenticationFailedError,
            "POSTGRES_USER",
        ),
        (own_server.url.replace("barnameh_ops", "nothing"), errors.ConnectionFailedError, "POSTGRES_DB"),
        (f"{own_server.url}?sslmode=require", errors.ConnectionFailedError, "DB_SSLMODE"),
    ]
    for url, kind, setting in cases:
        with DatabaseManager(url) as db, pytest.raises(kind, match=setting) as caught:
            db.execute("SELECT 1")
        assert "s3cr3t" not in str(caught.value)
        assert "barnameh_password" not in str(caught.value)


# -- the network --------------------------------------------------------------------------------------


def test_a_cut_network_is_survived(own_server: OwnServer) -> None:
    with Proxy(("127.0.0.1", own_server.port)) as proxy:
        url = own_server.url.replace(f":{own_server.port}/", f":{proxy.port}/")
        with DatabaseManager(url) as db:
            db.execute(TABLE)
            for round_number in range(5):
                db.execute("SELECT 1")
                proxy.cut()
                assert db.execute_query("SELECT 1 AS one") == [{"one": 1}], round_number
            failures: list[BaseException] = []

            def work() -> None:
                for _ in range(100):
                    try:
                        assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
                    except (errors.ServerUnavailableError, errors.ConnectionFailedError) as error:
                        failures.append(error)  # cut twice in a row, or while connecting

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                proxy.cut()
                time.sleep(0.02)
            for thread in threads:
                thread.join()
            assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
            assert db.pool_stats().in_use == 0


# -- the process itself -------------------------------------------------------------------------------


def test_a_killed_program_leaves_no_open_transaction(
    library_url: str, db: DatabaseManager, python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = f"""
import sys, time
from db_utils import DatabaseManager
db = DatabaseManager(sys.argv[1], application_name="doomed")
tx = db.transaction().__enter__()
tx.execute("INSERT INTO notes VALUES ('{ORGANIZATION}', 1, 'x')")
print("open", flush=True)
time.sleep(60)
"""
    process = python(code, library_url)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    os.kill(process.pid, signal.SIGKILL)
    gone = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'doomed'"
    waits_until(lambda: db.execute_query(gone) == [{"n": 0}])
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]
