"""Customers' logins, the operator's read-only roles, and state left by one tenant scope to the next on a pooled connection."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.errors import DbUtilsError
from tests.conftest import fresh_database
from tests.integration.schema.isolation import population
from tests.integration.schema.isolation.markers import found_in
from tests.integration.schema.isolation.population import Organization

PASSWORD = "a_long_password"
OURS, THEIRS = Organization(1, secret=False), Organization(2, secret=True)


@pytest.fixture(scope="module")
def database(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """Two organizations with rows in every table."""
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        with db.connection() as connection:
            for organization in (OURS, THEIRS):
                population.fill(connection, organization)
        yield db


@pytest.fixture
def make_login(database: DatabaseManager) -> Iterator[Callable[..., str]]:
    """Makes a login of our organization and returns its name; dropped at the end, even if the test fails."""
    made: list[str] = []

    def make(organization: Organization = OURS) -> str:
        made.append(f"tenant_test_{uuid.uuid4().hex[:10]}")
        database.execute(
            "CALL create_tenant_login(%s, %s, %s)", (organization.organization_id, made[-1], PASSWORD)
        )
        return made[-1]

    yield make
    for name in made:
        if database.execute_query("SELECT FROM tenant_logins WHERE role_name = %s", (name,)):
            database.execute("CALL drop_tenant_login(%s)", (name,))


@contextmanager
def session(
    database: DatabaseManager, role: str, **other: str
) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Runs statements as this login and returns their rows."""
    url = make_dsn(
        **{**parse_dsn(database.settings.database_url), "user": role, "password": PASSWORD, **other}
    )
    connection = psycopg2.connect(url)
    connection.autocommit = True

    def run(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description is not None else []

    try:
        yield run
    finally:
        connection.close()


def other_name(role: str) -> str:
    return f"{role}_b"


# -- logins --------------------------------------------------------------------------------------------------


def test_a_login_sees_its_organization_by_bare_names(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    with session(database, make_login()) as run:
        assert run("SELECT organization_id::text FROM organizations") == [(OURS.organization_id,)]
        assert {
            row[0] for row in run("SELECT DISTINCT organization_id::text FROM operational_events_hourly")
        } <= {OURS.organization_id}
        assert run("SELECT count(*) FROM get_kpi_summary(%s, 30)", (OURS.organization_id,))[0][0] > 10


def test_a_login_belongs_to_one_organization(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role = make_login()
    with pytest.raises(DbUtilsError, match="exists already"):
        database.execute("CALL create_tenant_login(%s, %s, %s)", (THEIRS.organization_id, role, PASSWORD))
    with pytest.raises(DbUtilsError) as caught:
        database.execute("INSERT INTO tenant_logins VALUES (%s, %s)", (THEIRS.organization_id, role))
    assert caught.value.sqlstate == "23P01"


@pytest.mark.parametrize(
    ("organization_id", "name", "password", "sqlstate"),
    [
        ("99999999-0000-4000-8000-000000000000", "tenant_test_x", PASSWORD, "23503"),
        (OURS.organization_id, "Robert'); DROP ROLE x; --", PASSWORD, "42602"),
        (OURS.organization_id, "", PASSWORD, "42602"),
        (OURS.organization_id, None, PASSWORD, "42602"),
        (OURS.organization_id, "barnameh_tenant", PASSWORD, "42710"),
        (OURS.organization_id, "tenant_test_x", "short", "28P01"),
        (OURS.organization_id, "tenant_test_x", None, "28P01"),
    ],
)
def test_a_login_that_cannot_be_made_leaves_nothing(
    database: DatabaseManager, organization_id: str, name: str | None, password: str | None, sqlstate: str
) -> None:
    with pytest.raises(DbUtilsError) as caught:
        database.execute("CALL create_tenant_login(%s, %s, %s)", (organization_id, name, password))
    assert caught.value.sqlstate == sqlstate
    assert password is None or password not in str(caught.value)
    assert database.execute_query("SELECT FROM tenant_logins") == []
    assert database.execute_query("SELECT FROM pg_roles WHERE rolname = 'tenant_test_x'") == []


def test_dropping_a_login_ends_its_sessions_and_keeps_the_rows(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role, before = make_login(), len(database.execute_query("SELECT FROM locations"))
    with session(database, role) as run:
        run("CREATE TEMP TABLE left_over AS SELECT * FROM locations")
        database.execute("CALL drop_tenant_login(%s)", (role,))
        with pytest.raises(psycopg2.OperationalError):
            run("SELECT 1")
    assert database.execute_query("SELECT FROM pg_roles WHERE rolname = %s", (role,)) == []
    assert database.execute_query("SELECT FROM tenant_logins") == []
    assert len(database.execute_query("SELECT FROM locations")) == before
    with pytest.raises(DbUtilsError, match="is not a tenant login"):
        database.execute("CALL drop_tenant_login(%s)", (role,))


def test_a_login_that_something_elsewhere_holds_loses_its_access_first(
    database: DatabaseManager, make_login: Callable[..., str], server_url: str
) -> None:
    role = make_login()
    with fresh_database(server_url) as elsewhere:
        name = str(parse_dsn(elsewhere)["dbname"])
        with session(database, role, dbname=name) as run:
            run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
        with pytest.raises(DbUtilsError, match=f"in database {name}") as caught:
            database.execute("CALL drop_tenant_login(%s)", (role,))
        assert caught.value.sqlstate == "2BP01"
        with (
            pytest.raises(psycopg2.OperationalError, match="not permitted to log in"),
            session(database, role),
        ):
            pass
        with DatabaseManager(elsewhere) as other:
            other.execute(f"DROP OWNED BY {role}")
        database.execute("CALL drop_tenant_login(%s)", (role,))
    assert database.execute_query("SELECT FROM pg_roles WHERE rolname = %s", (role,)) == []


def test_a_login_comes_into_no_database_that_everybody_shares(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role = make_login()
    for name in {"postgres", "template1"} - {parse_dsn(database.settings.database_url)["dbname"]}:
        with (
            pytest.raises(psycopg2.OperationalError, match="permission denied"),
            session(database, role, dbname=name),
        ):
            pass


def test_a_login_has_limits_and_its_long_transactions_end(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role = make_login()
    with session(database, role) as run:
        assert run("SHOW statement_timeout") == [("5min",)]
        assert run("SHOW lock_timeout") == [("10s",)]
        assert run("SHOW idle_in_transaction_session_timeout") == [("1min",)]
        assert run("SHOW temp_file_limit") == [("1GB",)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run("SET temp_file_limit = -1")
        for sql in (
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_try_advisory_xact_lock(1)",
            "SELECT pg_notify('x', 'y')",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                run(sql)
        run("SET idle_in_transaction_session_timeout = 0")
    with session(database, role) as run:
        run("CREATE TEMP TABLE kept AS SELECT 1 AS one")
        call = 'CALL end_long_tenant_transactions(config => \'{"longest_minutes": 10, "longest_days": %s}\')'
        database.execute(call % 1)
        assert run("SELECT one FROM kept") == [(1,)]
        database.execute(call % 0)
        with pytest.raises(psycopg2.OperationalError):
            run("SELECT one FROM kept")
    with session(database, role) as run:
        run("SET idle_in_transaction_session_timeout = 0")
        run("BEGIN")
        run("SELECT count(*) FROM tenant.employees")
        database.execute("CALL end_long_tenant_transactions()")
        assert run("SELECT 1") == [(1,)]
        database.execute("CALL end_long_tenant_transactions(config => '{\"longest_minutes\": 0}')")
        with pytest.raises(psycopg2.OperationalError):
            run("SELECT 1")


def test_who_keeps_the_queue_of_notifications_full_is_ended(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    with session(database, make_login()) as run:
        run("LISTEN mine")
        run("BEGIN")
        run("SELECT count(*) FROM tenant.employees")
        database.execute(
            "DO $$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('NOTIFY c%s, %L', i, repeat('x', 7000)); END LOOP; END $$"
        )
        config = '{"longest_minutes": 10, "queue_held_seconds": 0'
        database.execute(f"CALL end_long_tenant_transactions(config => '{config}}}')")
        assert run("SELECT 1") == [(1,)]  # the capacity of the queue
        database.execute(f"CALL end_long_tenant_transactions(config => '{config}, \"queue_usage\": 0}}')")
        with pytest.raises(psycopg2.OperationalError):
            run("SELECT 1")


def test_whatever_announces_looks_first_whether_the_queue_has_room(database: DatabaseManager) -> None:
    announcing = database.execute_query(
        "SELECT p.proname AS name, p.prosrc ~ 'public\\.may_announce\\(\\)' AS looks FROM pg_proc AS p "
        "WHERE p.pronamespace = 'public'::regnamespace AND p.prosrc ~ 'pg_notify\\(' ORDER BY 1"
    )
    assert len(announcing) >= 4
    assert [function["name"] for function in announcing if not function["looks"]] == []


def test_a_row_is_written_also_where_nothing_can_be_announced(database: DatabaseManager) -> None:
    with database.tenant(OURS.organization_id).listen("alerts") as listener:
        with database.transaction() as transaction:
            transaction.execute(
                "CREATE OR REPLACE FUNCTION may_announce() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT false'"
            )
            transaction.execute(
                "INSERT INTO alerts (organization_id, severity, alert_type, title) VALUES (%s, 'low', 'x', 'unannounced')",
                (OURS.organization_id,),
            )
            transaction.execute(
                "CREATE OR REPLACE FUNCTION may_announce() RETURNS boolean LANGUAGE sql VOLATILE "
                "AS 'SELECT pg_catalog.pg_notification_queue_usage() < 0.25'"
            )
        database.execute(
            "INSERT INTO alerts (organization_id, severity, alert_type, title) VALUES (%s, 'low', 'x', 'announced')",
            (OURS.organization_id,),
        )
        heard = listener.get(timeout_seconds=30)
        assert heard is not None
        (row,) = database.execute_query(
            "SELECT title FROM alerts WHERE alert_id = %s", (heard.payload["id"],)
        )
        assert row["title"] == "announced"


def test_who_keeps_others_waiting_is_ended(database: DatabaseManager, make_login: Callable[..., str]) -> None:
    """A locked table is ended at once; a locked row, or a chunk being created, once another session waits; a normal load never."""
    role = make_login()
    for mode in ("SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
        with session(database, role) as run:
            run("BEGIN")
            run(f"LOCK TABLE tenant.employees IN {mode} MODE")
            database.execute("CALL end_long_tenant_transactions()")
            with pytest.raises(psycopg2.OperationalError):
                run("SELECT 1")
    (alert,) = database.execute_query(
        "INSERT INTO alerts (organization_id, severity, alert_type, title) SELECT organization_id, 'low', 'x', 'x' "
        "FROM tenant_logins WHERE role_name = %s RETURNING alert_id",
        (role,),
    )
    with session(database, role) as run, ThreadPoolExecutor(1) as pool:
        run("BEGIN")
        run("UPDATE alerts SET title = 'y'")
        now = 'CALL end_long_tenant_transactions(config => \'{"longest_minutes": 10, "waited_for_minutes": 0}\')'
        database.execute(now)
        assert run("SELECT 1") == [(1,)], "nobody waits"
        waiting = pool.submit(
            database.execute, "UPDATE alerts SET title = 'z' WHERE alert_id = %s", (alert["alert_id"],)
        )
        blocked = "SELECT FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        while not database.execute_query(blocked):
            assert not waiting.done()
        database.execute("CALL end_long_tenant_transactions()")
        assert not waiting.done(), "not for a minute yet"
        database.execute(now)
        assert waiting.result() == 1
        with pytest.raises(psycopg2.OperationalError):
            run("SELECT 1")


def test_a_login_from_before_gets_its_limits_and_keeps_what_was_set(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role = make_login()
    database.execute(f"ALTER ROLE {role} RESET lock_timeout")
    database.execute(f"ALTER ROLE {role} SET statement_timeout = '7min'")
    schema.apply(database)
    with session(database, role) as run:
        assert run("SHOW lock_timeout") == [("10s",)]
        assert run("SHOW statement_timeout") == [("7min",)]


def test_a_login_that_was_renamed_sees_nothing(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    role = make_login()
    database.execute(f"ALTER ROLE {role} RENAME TO {other_name(role)}")
    try:
        database.execute(f"ALTER ROLE {other_name(role)} PASSWORD '{PASSWORD}'")
        with session(database, other_name(role)) as run:
            run(f"SET app.organization_id = '{THEIRS.organization_id}'")
            assert run("SELECT current_organization_id()") == [(None,)]
            assert run("SELECT * FROM locations") == []
    finally:
        database.execute(f"ALTER ROLE {other_name(role)} RENAME TO {role}")


@pytest.mark.thorough
def test_a_login_of_another_database_of_the_server_sees_nothing(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    """Roles belong to the whole server; a login's organization is known only in its own database."""
    role = make_login()
    elsewhere = f"test_elsewhere_{uuid.uuid4().hex[:8]}"
    url = make_dsn(**{**parse_dsn(database.settings.database_url), "dbname": elsewhere})
    database.execute(f"CREATE DATABASE {elsewhere}")
    try:
        with DatabaseManager(url) as other:
            schema.apply(other)
            with other.connection() as connection:
                population.fill(connection, THEIRS)
        with session(database, role, dbname=elsewhere) as run:
            run(f"SET app.organization_id = '{THEIRS.organization_id}'")
            assert run("SELECT current_organization_id()") == [(None,)]
            assert run("SELECT * FROM locations") == []
            with pytest.raises(psycopg2.errors.CheckViolation):
                run(
                    "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, 'x', 'factory')",
                    (THEIRS.organization_id,),
                )
    finally:
        database.execute(f"DROP DATABASE {elsewhere} WITH (FORCE)")


def test_an_application_without_the_owner_rights(database: DatabaseManager) -> None:
    """The login that docs/tenants.md recommends: it may act for any organization, but has no rights of its own."""
    role = f"tenant_test_{uuid.uuid4().hex[:10]}"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        database.execute(f"GRANT barnameh_tenant TO {role} WITH INHERIT FALSE, SET TRUE")
        url = make_dsn(**{**parse_dsn(database.settings.database_url), "user": role, "password": PASSWORD})
        with DatabaseManager(url) as application:
            for organization in (OURS, THEIRS):
                rows = application.tenant(organization.organization_id).execute_query(
                    "SELECT * FROM locations"
                )
                assert {str(row["organization_id"]) for row in rows} == {organization.organization_id}
            for relation in ("public.locations", "tenant.locations"):
                with pytest.raises(DbUtilsError) as caught:
                    application.execute_query(f"SELECT * FROM {relation}")
                assert caught.value.sqlstate == "42501"
    finally:
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


def test_readers_read_all_organizations_and_write_nothing(database: DatabaseManager) -> None:
    relations = [
        row["name"]
        for row in database.execute_query(
            "SELECT c.oid::regclass::text AS name FROM pg_class AS c WHERE c.relkind IN ('r', 'p', 'v', 'm') "
            "AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'tenant_logins' "
            "AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
        )
    ]
    assert len(relations) > 25
    with database.transaction() as transaction:
        transaction.execute("SET LOCAL ROLE barnameh_readonly")
        for relation in relations:
            assert transaction.execute_query(f"SELECT count(*) AS n FROM {relation}")[0]["n"] >= 0
        organizations = {
            str(row["organization_id"]) for row in transaction.execute_query("SELECT * FROM alerts")
        }
        assert organizations == {OURS.organization_id, THEIRS.organization_id}
        refused = 0
        for relation in relations:
            for sql in (
                f"DELETE FROM {relation}",
                f"INSERT INTO {relation} DEFAULT VALUES",
                f"UPDATE {relation} SET organization_id = organization_id",
            ):
                with suppress(DbUtilsError), transaction.transaction():
                    transaction.execute(sql)
                    pytest.fail(f"a reader could: {sql}")
                refused += 1
        assert refused == 3 * len(relations)
        with pytest.raises(DbUtilsError), transaction.transaction():
            transaction.execute_query("SELECT * FROM tenant_logins")


# -- scopes of the library -----------------------------------------------------------------------------------

# Actions in a scope that affect the session rather than the transaction.
LEFTOVERS = {
    "temporary table": "CREATE TEMP TABLE left_over AS SELECT * FROM locations",
    "temporary table of a view's name": "CREATE TEMP TABLE locations AS SELECT * FROM tenant.locations",
    "selected into": "SELECT * INTO TEMP left_over FROM locations",
    "temporary view": "CREATE TEMP VIEW left_view AS SELECT 'zqsecret'::text AS seen",
    "temporary function": "CREATE FUNCTION pg_temp.left_function() RETURNS text LANGUAGE sql AS $$ SELECT 'zqsecret'::text $$",
    "cursor": "DECLARE left_cursor CURSOR WITH HOLD FOR SELECT * FROM locations",
    "prepared statement": "PREPARE left_statement AS SELECT 'zqsecret'::text, l.* FROM locations AS l",
    "session lock": "SELECT pg_advisory_lock(417310733)",
    "setting": "SET application_name = 'zqsecret'",
    "local setting": "SET LOCAL application_name = 'zqsecret'",
    "time zone": "SET TIME ZONE 'Pacific/Chatham'",
}

# How the next user of that connection would notice it.
LOOKS = (
    "SELECT * FROM left_over",
    "SELECT * FROM pg_temp.left_over",
    "SELECT * FROM locations",
    "SELECT * FROM pg_temp.locations",
    "SELECT * FROM left_view",
    "SELECT pg_temp.left_function()",
    "FETCH ALL FROM left_cursor",
    "EXECUTE left_statement",
    "SELECT * FROM pg_prepared_statements",
    "SELECT * FROM pg_cursors",
    "SELECT c.relname, 'zqsecret' FROM pg_class AS c WHERE c.relnamespace = pg_my_temp_schema()",
    "SELECT 'zqsecret' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "SELECT current_setting('application_name'), current_setting('timezone'), current_user, current_setting('role')",
    "SELECT current_setting('app.organization_id', true)",
)


def look_around(executor: Any) -> list[str]:
    """State of another tenant found on this connection."""
    found = []
    for sql in LOOKS:
        with suppress(DbUtilsError):
            rows = executor.execute_query(sql)
            evidence = found_in(value for row in rows for value in row.values())
            if (
                evidence
                or "Chatham" in str(rows)
                or (THEIRS.organization_id in str(rows) and sql.endswith("true)"))
            ):
                found.append(f"{sql}: {evidence or rows}")
    return found


def leave_it(scope: Any, how: str, sql: str) -> None:
    """Run a statement in a scope in one of the possible ways, whether the library allows it or not."""
    with suppress(DbUtilsError, psycopg2.Error):
        if how == "execute":
            scope.execute(sql)
        elif how == "transaction":
            with scope.transaction() as transaction:
                transaction.execute(sql)
        elif how == "failed transaction":
            with suppress(ZeroDivisionError), scope.transaction() as transaction:
                transaction.execute(sql)
                raise ZeroDivisionError
        elif how == "query":
            scope.execute_query(sql)
        else:
            with scope.connection() as connection, connection.cursor() as cursor:
                cursor.execute(sql)


@pytest.mark.parametrize("how", ["execute", "query", "transaction", "failed transaction", "connection"])
def test_nothing_is_left_for_the_next_scope(database: DatabaseManager, how: str) -> None:
    found = set()
    with DatabaseManager(database.settings.database_url, max_connections=1) as pooled:
        theirs, ours = pooled.tenant(THEIRS.organization_id), pooled.tenant(OURS.organization_id)
        for name, sql in LEFTOVERS.items():
            with pooled.connection():
                pass  # returns a reset connection, so that each is judged separately
            leave_it(theirs, how, sql)
            found |= {f"{name}, in the next scope: {what}" for what in look_around(ours)}
            leave_it(theirs, how, sql)
            found |= {
                f"{name}, with no scope: {what}"
                for what in look_around(pooled)
                if "FROM locations" not in what
            }
    assert sorted(found) == []


def test_a_scope_does_not_write_into_what_another_left(database: DatabaseManager) -> None:
    """A leftover temporary table with a view's name would receive the next tenant's rows."""
    with DatabaseManager(database.settings.database_url, max_connections=1) as pooled:
        theirs, ours = pooled.tenant(THEIRS.organization_id), pooled.tenant(OURS.organization_id)
        for how in ("execute", "transaction", "connection"):
            leave_it(theirs, how, "CREATE TEMP TABLE locations (LIKE tenant.locations)")
            name = f"location written after {how}"
            ours.execute(
                "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, %s, 'depot')",
                (OURS.organization_id, name),
            )
            assert len(database.execute_query("SELECT FROM public.locations WHERE name = %s", (name,))) == 1


def test_statements_that_leave_the_scope_are_refused(database: DatabaseManager) -> None:
    """The library refuses accidental escapes; docs/tenants.md lists what a scope on the owner's session cannot stop."""
    scope = database.tenant(OURS.organization_id)
    refused = 0
    for sql in (
        "RESET ROLE", "SET ROLE barnameh_user", "SET LOCAL ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT",
        f"SET LOCAL app.organization_id = '{THEIRS.organization_id}'", "RESET ALL", "DISCARD ALL", "RESET search_path",
        f"SELECT set_config('app.organization_id', '{THEIRS.organization_id}', true)",
        "SET search_path = public", "DO $$ BEGIN RESET ROLE; END $$", "COMMIT; SELECT * FROM public.locations",
        "SELECT 1; SELECT * FROM public.locations", "SET SCHEMA 'public'", "ABORT",
    ):  # fmt: skip
        with pytest.raises(DbUtilsError):
            scope.execute(sql)
        with pytest.raises(DbUtilsError), scope.transaction() as transaction:
            transaction.execute(sql)
        refused += 1
    assert refused == 15
    assert {str(r["organization_id"]) for r in scope.execute_query("SELECT * FROM locations")} == {
        OURS.organization_id
    }


# What a customer's login can still see, according to docs/tenants.md.
VISIBLE = {
    "names of roles": "SELECT rolname FROM pg_roles WHERE rolname LIKE 'barnameh%'",
    "names of databases": "SELECT datname FROM pg_database",
    "who is connected": "SELECT usename, application_name FROM pg_stat_activity WHERE usename <> session_user",
    "size of a table of all organizations": "SELECT pg_total_relation_size('public.locations')",
    "rows of a table of all organizations": "SELECT relname FROM pg_stat_user_tables WHERE relname = 'locations'",
    "definitions": "SELECT pg_get_functiondef('public.current_organization_id()'::regprocedure)",
    "locks": "SELECT * FROM pg_locks",
    "settings": "SELECT * FROM pg_settings",
}


def test_the_page_on_tenants_says_what_can_still_be_seen(
    database: DatabaseManager, make_login: Callable[..., str]
) -> None:
    with session(database, make_login()) as run:
        hidden = [name for name, sql in VISIBLE.items() if not run(sql)]
        texts = run("SELECT query FROM pg_stat_activity WHERE usename <> session_user")
    assert hidden == []
    assert {text for (text,) in texts} <= {"<insufficient privilege>", "", None}
