"""Behind PgBouncer: every method either works as without it, or reports that it needs a session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, errors, schema
from db_utils.config import Settings
from db_utils.files.exporting import export_relation
from db_utils.files.importing import import_files
from db_utils.ops.backup.endpoint import UrlEndpoint
from db_utils.schema.loading import Amount, load
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION, TENANT_SHAPE
from tests.support.pgbouncer import pgbouncer
from tests.support.servers import OwnServer, own_server

PROMISED = {
    "statement_timeout": "7s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",
    "jit": "off",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
}
SETTINGS = "SELECT " + ", ".join(f"current_setting('{name}') AS \"{name}\"" for name in PROMISED)
WHO = "SELECT current_user::text AS u, count(*) FILTER (WHERE organization_id <> %s) AS others FROM notes GROUP BY 1"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """A server with an unusual time zone, and a note of each of two organizations."""
    with own_server() as server:
        with closing(psycopg2.connect(server.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(TENANT_SHAPE)
            cursor.execute("ALTER DATABASE barnameh_ops SET TimeZone = 'Asia/Kathmandu'")
            for organization in (ORGANIZATION, OTHER_ORGANIZATION):
                cursor.execute("INSERT INTO notes VALUES (%s, 1, 'x')", (organization,))
        yield server


@pytest.fixture(scope="module", params=["options refused", "options ignored"])
def pooler(server: OwnServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A PgBouncer in transaction mode, which refuses start-up options or drops them."""
    extra = {} if request.param == "options refused" else {"ignore_startup_parameters": "options"}
    with pgbouncer(server.url, pool_mode="transaction", **extra) as url:
        yield url


@pytest.fixture
def behind(pooler: str) -> Iterator[DatabaseManager]:
    """The database through that PgBouncer."""
    with DatabaseManager(settings=Settings(database_url=pooler, statement_timeout_seconds=7.0)) as db:
        yield db


def numbers(db: DatabaseManager, sql: str) -> list[Any]:
    return [next(iter(row.values())) for row in db.execute_query(sql)]


def test_a_server_without_a_pooler_is_told_from_one_with(server: OwnServer) -> None:
    with DatabaseManager(server.url) as db:
        assert not db._pool.take().is_pooled
    for mode in ("transaction", "session"):
        with pgbouncer(server.url, pool_mode=mode) as url, DatabaseManager(url) as db:
            assert db._pool.take().is_pooled


def test_the_promised_settings_hold_in_every_transaction(behind: DatabaseManager) -> None:
    scope = behind.tenant(ORGANIZATION)
    expected = {**PROMISED}
    for owner in (behind, scope):
        assert owner.execute_query(SETTINGS) == [expected]
        with owner.transaction() as tx:
            assert tx.execute_query(SETTINGS) == [expected]
            tx.execute_many(
                "INSERT INTO notes (organization_id, note_id, text) VALUES %s", [(ORGANIZATION, 9, "x")]
            )
            assert tx.execute_query(SETTINGS) == [expected]  # the load had lifted its own timeout
            tx.execute("DELETE FROM notes WHERE note_id = 9")
        assert list(owner.stream(SETTINGS)) == [expected]
    with behind.engine.connect() as connection:
        assert dict(connection.execute(sqlalchemy.text(SETTINGS)).mappings().one()) == expected
    frame = behind.read_frame(f"{SETTINGS}, timestamptz '2026-03-01 00:00+00'::text AS t", backend="arrow")
    assert frame.to_pylist() == [
        {**expected, "statement_timeout": "0", "t": "2026-03-01 00:00:00+00"}
    ]  # a frame takes as long as it takes


def test_timeouts_hold(behind: DatabaseManager) -> None:
    with (
        DatabaseManager(settings=behind.settings.with_changes(statement_timeout_seconds=0.2)) as hurried,
        pytest.raises(errors.QueryTimeoutError, match="DB_STATEMENT_TIMEOUT_SECONDS"),
    ):
        hurried.execute_query("SELECT pg_sleep(30)")
    with pytest.raises(errors.QueryTimeoutError, match="timeout_seconds"):
        behind.execute_query("SELECT pg_sleep(30)", timeout_seconds=0.2)
    assert numbers(behind, "SELECT 1 AS one") == [1]


def test_every_verb_of_two_tenants_at_once_sees_its_own_rows(behind: DatabaseManager) -> None:
    """More clients than server sessions, so that a transaction may get any of them."""
    start = threading.Barrier(6)

    def ask(organization: str | None) -> list[Any]:
        seen = []
        start.wait()
        for _ in range(40):
            if organization is None:
                seen += behind.execute_query("SELECT current_user::text AS u, count(*) AS others FROM notes")
                continue
            scope = behind.tenant(organization)
            seen += scope.execute_query(WHO, (organization,))
            with scope.transaction() as tx:
                seen += tx.execute_query(WHO, (organization,))
            seen += scope.stream(WHO, (organization,))
        return seen

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(ask, [ORGANIZATION, OTHER_ORGANIZATION, None] * 2))
    tenant, owner = {"u": "barnameh_tenant", "others": 0}, {"u": "barnameh_user", "others": 2}
    for organization, seen in zip([ORGANIZATION, OTHER_ORGANIZATION, None] * 2, answers, strict=True):
        assert seen == [owner if organization is None else tenant] * len(seen)
        assert len(seen) == (40 if organization is None else 120)


def engine_with_autocommit(db: DatabaseManager) -> None:
    with db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sqlalchemy.text("SELECT 1"))


NEED_A_SESSION: dict[str, Callable[[DatabaseManager], object]] = {
    "connection": lambda db: db.connection().__enter__(),
    "scope's connection": lambda db: db.tenant(ORGANIZATION).connection().__enter__(),
    "listen": lambda db: db.listen("news"),
    "AUTOCOMMIT": engine_with_autocommit,
    "SET": lambda db: db.execute("SET work_mem = '64MB'"),
    "SET in a transaction": lambda db: db.transaction().__enter__().execute("SET work_mem = '64MB'"),
    "SET in a scope": lambda db: db.tenant(ORGANIZATION).execute("SET work_mem = '64MB'"),
    "LISTEN": lambda db: db.execute("LISTEN news"),
    "PREPARE": lambda db: db.execute("PREPARE p AS SELECT 1"),
    "temporary table": lambda db: db.execute("CREATE TEMPORARY TABLE t (a int)"),
    "SELECT INTO TEMP": lambda db: db.execute("SELECT 1 AS a INTO TEMP t"),
    "held cursor": lambda db: db.execute("DECLARE c CURSOR WITH HOLD FOR SELECT 1"),
    "advisory lock": lambda db: db.execute_query("SELECT pg_advisory_lock(1)"),
    "advisory lock in a stream": lambda db: list(db.stream("SELECT pg_try_advisory_lock(1)")),
    "backup": lambda db: UrlEndpoint(db.settings),
}


@pytest.mark.parametrize("name", NEED_A_SESSION)
def test_what_needs_a_session_is_refused_with_the_way_out(behind: DatabaseManager, name: str) -> None:
    with pytest.raises(errors.SessionUnavailableError, match="DB_POOLER_MODE=session"):
        NEED_A_SESSION[name](behind)
    assert numbers(behind, "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'") == [0]


def test_what_ends_with_its_transaction_works(behind: DatabaseManager) -> None:
    behind.execute("VACUUM notes")  # refuses a transaction block
    with behind.transaction() as tx:
        tx.execute("SET LOCAL work_mem = '64MB'")
        tx.execute("CREATE TEMPORARY TABLE t ON COMMIT DROP AS SELECT 1 AS a")
        tx.execute_query("SELECT pg_advisory_xact_lock(1)")
        with tx.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT a FROM t")
            assert cursor.fetchall() == [(1,)]
    scope = behind.tenant(ORGANIZATION)
    rows = [(ORGANIZATION, number, "x") for number in range(10, 20)]
    assert scope.copy_rows("notes", ["organization_id", "note_id", "text"], rows) == 10
    with pytest.raises((errors.PermissionDeniedError, errors.CheckViolationError)):
        scope.copy_rows("notes", ["organization_id", "note_id", "text"], [(OTHER_ORGANIZATION, 10, "x")])
    assert sum(1 for _ in scope.stream("SELECT note_id FROM notes", batch_size=3)) == 11
    assert behind.execute("DELETE FROM notes WHERE note_id >= 10") == 10
    assert behind.health().ok


def test_a_session_mode_that_is_declared_gives_everything(server: OwnServer) -> None:
    with (
        pgbouncer(server.url, pool_mode="session") as url,
        DatabaseManager(
            settings=Settings(
                database_url=url, pooler_mode="session", statement_timeout_seconds=7.0, pool_max_connections=2
            )
        ) as db,
    ):
        assert db.execute_query(SETTINGS) == [PROMISED]
        with db.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SET work_mem = '64MB'")
        assert db.execute_query(SETTINGS) == [PROMISED]  # after the reset too
        with db.listen("news", timeout_seconds=10) as news:
            db.execute("NOTIFY news, 'heard'")
            assert next(iter(news)).text == "heard"


def test_a_session_mode_that_is_declared_wrongly_is_found(server: OwnServer) -> None:
    with (
        pgbouncer(server.url, pool_mode="transaction") as url,
        DatabaseManager(settings=Settings(database_url=url, pooler_mode="session")) as db,
        closing(psycopg2.connect(**parse_dsn(url))) as other,
    ):
        db.execute("SELECT 1")
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")  # takes the free session, and keeps it
            with pytest.raises(errors.SessionUnavailableError, match="changed the session"), db.connection():
                pass


def test_options_of_the_url_are_kept(server: OwnServer) -> None:
    with (
        pgbouncer(server.url, pool_mode="transaction") as url,
        DatabaseManager(f"{url}?options=-c%20search_path%3Dtenant%20-c%20work_mem%3D77MB") as db,
    ):
        assert numbers(db, "SELECT current_setting('search_path') || current_setting('work_mem')") == [
            "tenant77MB"
        ]


@pytest.mark.slow
def test_schema_rollups_and_files_work_behind_it(server: OwnServer, tmp_path: Path) -> None:
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE whole")
    url = server.url.rpartition("/")[0] + "/whole"
    with pgbouncer(url, pool_mode="transaction") as behind_url, DatabaseManager(behind_url) as db:
        schema.ensure(db, seed=True)
        schema.verify(db)
        schema.refresh_rollups(db)
        out = tmp_path / "events.csv"
        exported = export_relation(db, "operational_events", out, organization=None)
        assert exported.rows == numbers(db, "SELECT count(*) AS n FROM operational_events")[0]
        imported = import_files(db, [out], "operational_events", organization=None)
        assert (imported.added, imported.updated) == (0, 0)  # they are there already
        with pytest.raises(errors.SessionUnavailableError):
            load(db, Amount(organizations=3))
