"""Users of the pool leave no state to the next one, whatever the method; and statement texts as the server parses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db_utils import DatabaseManager, TenantScope, errors
from db_utils.sql_text import HARMLESS_FUNCTIONS, shape
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION

# Read with one statement that leaves no state itself, according to the library.
PROBE = """
    SELECT
        current_user::text AS current_user,
        session_user::text AS session_user,
        coalesce(current_setting('app.organization_id', true), '') AS organization,
        current_setting('transaction_isolation') AS isolation,
        current_setting('transaction_read_only') AS read_only,
        (
            SELECT string_agg(name || '=' || setting, ' ' ORDER BY name)
            FROM pg_settings
            WHERE source = 'session'
        ) AS settings,
        (SELECT count(*) FROM pg_class AS c WHERE c.relnamespace = pg_my_temp_schema()) AS temporary,
        (SELECT count(*) FROM pg_prepared_statements) AS prepared,
        (SELECT count(*) FROM pg_cursors WHERE is_holdable) AS held,
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
        (SELECT count(*) FROM pg_listening_channels()) AS channels
"""

TRACES = {
    "setting": "SET work_mem = '77MB'",
    "setting by function": "SELECT set_config('work_mem', '78MB', false)",
    "setting by a quoted function": "SELECT \"set_config\"('work_mem', '78MB', false)",
    "setting by a function of one's own": "SELECT leave_setting()",
    "setting in a block": "DO $$ BEGIN PERFORM set_config('work_mem', '79MB', false); END $$",
    "time zone": "SET TIME ZONE 'Asia/Kathmandu'",
    "strings": "SET standard_conforming_strings = off",
    "encoding": "SET client_encoding = 'LATIN1'",
    "isolation": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "role": "SET ROLE barnameh_tenant",
    "search path": "SET search_path = tenant",
    "organization": f"SET app.organization_id = '{OTHER_ORGANIZATION}'",
    "temporary table": "CREATE TEMPORARY TABLE left_here AS SELECT 1 AS x",
    "temporary table by INTO": "SELECT 1 AS x INTO TEMP left_here",
    "temporary table by its schema": 'SELECT 1 AS insert INTO "pg_temp".left_here',
    "prepared statement": "PREPARE left_here AS SELECT 1",
    "held cursor": "DECLARE left_here CURSOR WITH HOLD FOR SELECT 1",
    "advisory lock": "SELECT pg_advisory_lock(4711)",
    "advisory lock, quoted": 'SELECT "pg_advisory_lock"(4712)',
    "advisory lock, escaped": 'SELECT U&"pg_adv\\0069sory_lock"(4713)',
    "channel": "LISTEN left_here",
}


def by_cursor(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def in_transaction(owner: DatabaseManager | TenantScope, sql: str) -> None:
    with owner.transaction() as tx:
        tx.execute(sql)


def in_its_connection(owner: DatabaseManager | TenantScope, sql: str) -> None:
    with owner.transaction() as tx, tx.connection() as connection:
        by_cursor(connection, sql)


def in_connection(owner: DatabaseManager | TenantScope, sql: str) -> None:
    with owner.connection() as connection:
        by_cursor(connection, sql)


def in_engine(owner: DatabaseManager | TenantScope, sql: str) -> None:
    assert isinstance(owner, DatabaseManager)
    with owner.engine.connect() as connection:
        connection.exec_driver_sql(sql)
        connection.commit()


def in_bulk(owner: DatabaseManager | TenantScope, sql: str) -> None:
    owner.execute_many(f"{sql}; SELECT 1 FROM (VALUES %s) AS v (a)", [(1,)])


def in_bulk_of_transaction(owner: DatabaseManager | TenantScope, sql: str) -> None:
    with owner.transaction() as tx:
        tx.execute_many(f"{sql}; SELECT 1 FROM (VALUES %s) AS v (a)", [(1,)])


def in_stream(owner: DatabaseManager | TenantScope, sql: str) -> None:
    list(owner.stream(sql))


VERBS: dict[str, Callable[[DatabaseManager | TenantScope, str], object]] = {
    "execute": lambda owner, sql: owner.execute(sql),
    "execute_query": lambda owner, sql: owner.execute_query(sql),
    "execute_many": in_bulk,
    "stream": in_stream,
    "transaction().execute": in_transaction,
    "transaction().execute_many": in_bulk_of_transaction,
    "transaction().connection": in_its_connection,
    "connection": in_connection,
    "engine": in_engine,
}


@pytest.fixture
def one(manager_with: Callable[..., DatabaseManager]) -> DatabaseManager:
    """A manager with one connection, which all users share in turn."""
    db = manager_with(pool_max_connections=1)
    db.execute(
        "CREATE OR REPLACE FUNCTION leave_setting() RETURNS text LANGUAGE sql AS "
        "$$ SELECT set_config('work_mem', '80MB', false) $$"
    )
    return db


@pytest.mark.thorough
@pytest.mark.parametrize("verb", VERBS)
def test_the_next_user_of_a_connection_finds_nothing(one: DatabaseManager, verb: str) -> None:
    scopes = {name: one.tenant(name) for name in (ORGANIZATION, OTHER_ORGANIZATION)}
    before = one.execute_query(PROBE), scopes[OTHER_ORGANIZATION].execute_query(PROBE)
    owners = [one] if verb == "engine" else [one, scopes[ORGANIZATION]]
    left = {}
    for owner in owners:
        for name, sql in TRACES.items():
            with suppress(errors.DbUtilsError, psycopg2.Error):  # a refusal must leave nothing either
                VERBS[verb](owner, sql)
            after = one.execute_query(PROBE), scopes[OTHER_ORGANIZATION].execute_query(PROBE)
            if after != before:
                left[f"{name} by {type(owner).__name__}"] = after
    assert left == {}


def test_the_traces_would_be_seen(one: DatabaseManager) -> None:
    """The check itself works: on a connection that is not reset, each of them is visible."""
    unseen = []
    for name, sql in TRACES.items():
        with one.connection() as connection:
            connection.autocommit = True
            before = _probe(connection)
            by_cursor(connection, sql)
            if _probe(connection) == before:
                unseen.append(name)
    assert unseen == []


def _probe(connection: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(PROBE)
        return cursor.fetchall()


def test_the_drivers_object_comes_back_as_it_was(one: DatabaseManager) -> None:
    as_text = psycopg2.extensions.new_type((23,), "INT_AS_TEXT", lambda value, cursor: f"<{value}>")
    for opens in (one.connection, lambda: one.transaction().__enter__().connection()):
        with opens() as connection:
            psycopg2.extensions.register_type(as_text, connection)
            connection.notices.append("a notice")
            by_cursor(connection, "SELECT 1")
        assert one.execute_query("SELECT 1::int4 AS n") == [{"n": 1}]


def test_plain_statements_cost_no_reset(one: DatabaseManager) -> None:
    with one.connection() as connection:
        connection.notices.clear()
    held = one.execute_query("SELECT pg_backend_pid() AS pid")
    one.execute("PREPARE kept AS SELECT 1")  # reset at once
    assert shape("SELECT n FROM t WHERE a = %s AND lower(b) IN (%s, %s)").may_leave_traces is False
    assert shape("INSERT INTO public.t (a, b) VALUES (%s, now())").may_leave_traces is False
    assert shape("SELECT a FROM unnest(%s) WITH ORDINALITY AS k (a, b)").may_leave_traces is False
    assert shape("SELECT d.as.set_config('a', 'b', false)").may_leave_traces is True
    assert one.execute_query("SELECT pg_backend_pid() AS pid") == held


@pytest.mark.parametrize(
    "sql",
    [
        "RESET ROLE; UPDATE public.notes AS n SET text = 'y' FROM (VALUES %s) AS v (a)",
        "SET LOCAL app.organization_id = 'x'; UPDATE notes SET text = 'y' FROM (VALUES %s) AS v (a)",
        "COMMIT; UPDATE notes AS n SET text = 'y' FROM (VALUES %s) AS v (a)",
        "UPDATE notes SET text = set_config('role', 'none', true) FROM (VALUES %s) AS v (a)",
    ],
)
def test_execute_many_stays_in_the_scope(db: DatabaseManager, sql: str) -> None:
    scope = db.tenant(ORGANIZATION)
    refusals = (errors.PermissionDeniedError, errors.InvalidInputError, errors.TransactionStateError)
    with pytest.raises(refusals):
        scope.execute_many(sql, [(1,)])
    with pytest.raises(refusals), scope.transaction() as tx:
        tx.execute_many(sql, [(1,)])


def test_a_value_in_a_quoted_placeholder_cannot_leave_the_scope(db: DatabaseManager) -> None:
    scope = db.tenant(ORGANIZATION)
    away = "; RESET ROLE; SELECT current_user::text AS u, "
    for sql in ("SELECT '%s' AS u", 'SELECT 1 AS "%s"', "SELECT 1 /* %s */ AS u", "SELECT 1 AS u -- %s"):
        for value in (away, f"\n{away}", f"*/{away}/*", f'"{away}"'):
            try:
                rows = scope.execute_query(sql, (value,))
            except (errors.InvalidInputError, errors.QueryError):
                continue
            assert "barnameh_user" not in str(rows), (sql, value)
    assert scope.execute_query("SELECT interval '%s days' AS i", (5,))[0]["i"].days == 5


def test_a_scope_is_itself_again_after_its_raw_connection(db: DatabaseManager) -> None:
    with db.tenant(ORGANIZATION).transaction() as tx:
        with tx.connection() as connection:
            by_cursor(connection, "RESET ROLE")
        assert tx.execute_query("SELECT current_user::text AS u") == [{"u": "barnameh_tenant"}]


# -- the server's own lexer ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ticking(library_url: str) -> Iterator[Callable[[str], int | None]]:
    """The number of statements that the server found in a text; None if it refused the text."""
    connection = psycopg2.connect(library_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE SEQUENCE ticks; CREATE FUNCTION t() RETURNS bigint LANGUAGE sql AS "
            "$$ SELECT nextval('ticks') $$"
        )

        def count(text: str) -> int | None:
            cursor.execute("SELECT setval('ticks', 1, false)")
            try:
                cursor.execute(text)
            except psycopg2.Error:
                return None
            cursor.execute("SELECT nextval('ticks')")
            counted: int = cursor.fetchone()[0] - 1
            return counted

        yield count
        cursor.execute("DROP FUNCTION t(); DROP SEQUENCE ticks")
    connection.close()


# Each statement counts once, so every statement is visible, even if quotes and comments seem to hide it.
_INSIDE = st.lists(
    st.sampled_from(
        ["; SELECT t()", "'", "''", '"', "\\", "\\'", "$$", "$a$", "--", "/*", "*/", "\n", "\r", "\u00a0", "x", "é$", ";"]
    ),
    max_size=4,
).map("".join)  # fmt: skip
_WRAPPED = st.tuples(
    st.sampled_from(
        [
            (", '", "'"), (", E'", "'"), (", e'", "'"), (", U&'", "'"), (", N'", "'"), (", b'", "'"), (", $$", "$$"),
            (", $a$", "$a$"), (", $é$", "$é$"), (' AS "', '"'), (' AS U&"', '"'), ("/*", "*/"), ("--", "\n"),
            ("--", "\r"), (", E'a'\n'", "'"), (", 'a'\r--x\n  '", "'"), (", E'a' --y\n\t'", "'"), (", E'a'\f'", "'"),
            (" AS \u00a0$$", "$$"), (" AS \u3000x", ""), (", 1", ""), (" AS x$$", "$$"), ("", ""), (", $1$", "$1$"),
        ]
    ),
    _INSIDE,
)  # fmt: skip
_ITEM = _WRAPPED.map(lambda drawn: f"{drawn[0][0]}{drawn[1]}{drawn[0][1]}")
_TEXT = st.lists(st.one_of(_ITEM, st.just("; SELECT t()"), _INSIDE), max_size=4).map(
    lambda items: "SELECT t()" + "".join(items)
)


@pytest.mark.thorough
def test_statements_are_found_where_the_server_finds_them(ticking: Callable[[str], int | None]) -> None:
    accepted, rounds = [0, 0], 15 * settings.default.max_examples

    @settings(
        max_examples=rounds,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_TEXT)
    def compare(text: str) -> None:
        counted = ticking(text)
        if counted is not None:
            accepted[0] += 1
            accepted[1] += counted > 1
            assert shape(text).statements == counted, text

    compare()
    assert accepted[0] > rounds / 15, "too few texts were SQL"
    assert accepted[1] > rounds / 75, "too few texts had more than one statement"


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT t() --\r; SELECT t()", 2),
        ("SELECT t() AS \u00a0$$; SELECT t() AS \u00a0$$", 2),
        ("SELECT t(), E'a'\n'\\' , '; SELECT t(), ' '", 2),
        ("SELECT t(), 'a\\'; SELECT t() --'", 2),
        ("SELECT t() /* /* */ ; SELECT t() */", 1),
        ("SELECT t(), $a$ $$; SELECT t() $$ $a$", 1),
    ],
)
def test_what_used_to_hide_a_statement(
    ticking: Callable[[str], int | None], text: str, statements: int
) -> None:
    assert ticking(text) == statements
    assert shape(text).statements == statements


def test_functions_that_are_called_harmless_are_so(db: DatabaseManager) -> None:
    """The server's volatility of each: not volatile, or one of these, which keep no state."""
    stateless = {
        "CLOCK_TIMESTAMP", "GEN_RANDOM_UUID", "PG_SLEEP", "PG_NOTIFY", "PG_ADVISORY_XACT_LOCK",
        "PG_TRY_ADVISORY_XACT_LOCK",
    }  # fmt: skip
    volatile = db.execute_query(
        "SELECT DISTINCT upper(proname) AS name FROM pg_proc WHERE upper(proname) = ANY (%s) AND provolatile = 'v' "
        "AND pronamespace = 'pg_catalog'::regnamespace",
        (list(HARMLESS_FUNCTIONS),),
    )
    assert {row["name"] for row in volatile} == stateless
