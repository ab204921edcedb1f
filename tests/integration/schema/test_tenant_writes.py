"""Tenants write to time series, including old rows in the columnstore: as intended, and no other tenant's rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg2
import pytest

from db_utils import DatabaseManager, errors
from tests.integration.schema.isolation.attackers import PASSWORD
from tests.integration.schema.isolation.columnstore import batches

MINE, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
OLD = "2024-03-05 00:00+00"
MINUTES = 1500  # rows per organization: more than a batch of the columnstore


@pytest.fixture
def login(empty_database: DatabaseManager) -> Iterator[Any]:
    """A customer's session, in a database with old rows of two organizations, in the columnstore if available."""
    db = empty_database
    for organization in (MINE, OTHER):
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry) VALUES (%s, %s, 'x')",
            (organization,) * 2,
        )
        db.execute(
            "INSERT INTO locations (organization_id, location_id, name, location_type) VALUES (%s, %s, 'Hall', 'factory')",
            (organization,) * 2,
        )
        db.execute(
            "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
            "SELECT %s, timestamptz %s + n * interval '1 minute', 'P', %s, n FROM generate_series(0, %s) AS n",
            (organization, OLD, organization, MINUTES - 1),
        )
    compress(db)
    name = "tenant_writes_login"
    db.execute("CALL create_tenant_login(%s, %s, %s)", (MINE, name, PASSWORD))
    connection = psycopg2.connect(db.settings.database_url, user=name, password=PASSWORD)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()
        db.execute("CALL drop_tenant_login(%s)", (name,))


def compress(db: DatabaseManager) -> None:
    if edition(db) == "community":
        db.execute_query("SELECT compress_chunk(c) FROM show_chunks('demand_history') AS c")


def edition(db: DatabaseManager) -> str:
    return str(db.execute_query("SELECT database_edition() AS edition")[0]["edition"])


def run(connection: Any, sql: str) -> tuple[int, list[tuple[Any, ...]]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.rowcount, cursor.fetchall() if cursor.description else []


def of_other(db: DatabaseManager) -> dict[Any, Any]:
    with db.connection() as connection:
        return {key: counts for key, counts in batches(connection).items() if key[1] == OTHER}


def test_rows_are_changed_by_what_the_statement_says(empty_database: DatabaseManager, login: Any) -> None:
    before = of_other(empty_database)
    assert bool(before) == (edition(empty_database) == "community")
    at = "time = '2024-03-05 00:07+00'"
    assert run(login, f"UPDATE demand_history SET quantity = quantity + 1 WHERE {at} RETURNING quantity") == (
        1,
        [(8,)],
    )
    assert run(
        login, f"UPDATE demand_history SET product_id = 'Q' WHERE {at} RETURNING product_id, quantity"
    ) == (
        1,
        [("Q", 8)],
    )
    assert run(login, "SELECT count(*), sum(quantity) FROM demand_history WHERE product_id = 'Q'")[1] == [
        (1, 8)
    ]
    # A join that names a row twice changes it once.
    twice = "UPDATE demand_history AS d SET quantity = 9 FROM (VALUES (1), (2)) AS v WHERE d.product_id = 'Q'"
    assert run(login, twice)[0] == 1
    assert run(login, f"DELETE FROM demand_history WHERE {at} RETURNING product_id") == (1, [("Q",)])
    assert run(login, f"DELETE FROM demand_history WHERE {at}")[0] == 0
    assert run(login, "DELETE FROM demand_history")[0] == MINUTES - 1
    assert of_other(empty_database) == before
    assert empty_database.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"] == MINUTES


def test_rows_are_added_with_the_tables_defaults(empty_database: DatabaseManager, login: Any) -> None:
    columns = f"(organization_id, time, product_id, location_id, quantity) VALUES ('{MINE}', '{OLD}'"
    assert run(login, f"INSERT INTO demand_history {columns}, 'New', '{MINE}', 1) RETURNING metadata") == (
        1,
        [({},)],
    )
    with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
        run(login, f"INSERT INTO demand_history {columns}, 'P', '{MINE}', 1)")
    # On the chunk, in editions with hypertables but without columnstore.
    assert str(caught.value.diag.constraint_name).endswith("demand_history_pkey")
    with pytest.raises(psycopg2.errors.NotNullViolation):
        run(login, f"INSERT INTO demand_history {columns}, NULL, '{MINE}', 1)")
    foreign = columns.replace(MINE, OTHER)
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        run(login, f"INSERT INTO demand_history {foreign}, 'New', '{OTHER}', 1)")
    assert refused.value.diag.constraint_name == "demand_history_organization_id_is_tenants_own_check"
    with pytest.raises(psycopg2.errors.CheckViolation):
        run(login, f"UPDATE demand_history SET organization_id = '{OTHER}' WHERE time = '{OLD}'")


def test_a_login_loads_with_on_conflict_and_does_not_say_for_whom(
    empty_database: DatabaseManager, login: Any
) -> None:
    before = of_other(empty_database)
    values = f"(time, product_id, location_id, quantity) VALUES ('{OLD}', 'P', '{MINE}', 77)"
    conflict = "ON CONFLICT (organization_id, product_id, location_id, time)"
    assert run(login, f"INSERT INTO tenant_load.demand_history {values} {conflict} DO NOTHING")[0] == 0
    update = "DO UPDATE SET quantity = excluded.quantity"
    assert run(login, f"INSERT INTO tenant_load.demand_history {values} {conflict} {update}")[0] == 1
    assert run(login, f"SELECT quantity FROM demand_history WHERE time = '{OLD}'")[1] == [(77,)]
    for sql in (
        f"INSERT INTO tenant_load.demand_history (organization_id, time, product_id, location_id, quantity) "
        f"VALUES ('{OTHER}', '{OLD}', 'P', '{OTHER}', 1) {conflict} DO NOTHING",
        f"INSERT INTO tenant_load.demand_history {values} {conflict} DO UPDATE SET organization_id = '{OTHER}'",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(login, sql)
    assert of_other(empty_database) == before


def test_the_librarys_scope_loads_and_changes_old_rows(empty_database: DatabaseManager, login: Any) -> None:
    before = of_other(empty_database)
    scope = empty_database.tenant(MINE)
    names = ["organization_id", "time", "product_id", "location_id", "quantity"]
    rows = [(MINE, OLD, product, MINE, 5) for product in ("P", "New")]
    key = ["organization_id", "product_id", "location_id", "time"]
    for name in ("demand_history", "tenant.demand_history"):
        assert scope.upsert_many(name, names, rows, conflict_columns=key) == 2
    assert scope.execute("UPDATE demand_history SET quantity = 6 WHERE time < '2024-03-05 00:10+00'") == 11
    assert scope.execute("DELETE FROM demand_history WHERE time < '2024-03-05 00:10+00'") == 11
    assert of_other(empty_database) == before


def test_a_statement_may_name_its_organization(empty_database: DatabaseManager, login: Any) -> None:
    """Like the sessions of an application written before scopes existed."""
    scope = empty_database.tenant(MINE)
    for run_it in (scope.execute, lambda sql: run(login, sql)[0]):
        where = f"WHERE organization_id = '{MINE}' AND time = (SELECT max(time) FROM demand_history)"
        assert run_it(f"UPDATE demand_history SET quantity = 6 {where}") == 1
        assert run_it(f"DELETE FROM demand_history {where}") == 1
        assert run_it(f"DELETE FROM demand_history {where.replace(MINE, OTHER)}") == 0


def test_a_change_in_between_is_not_overwritten(empty_database: DatabaseManager, login: Any) -> None:
    if edition(empty_database) == "plain":
        pytest.skip("without a trigger PostgreSQL looks at the changed row again itself")
    change = f"UPDATE demand_history SET quantity = 50 WHERE organization_id = '{MINE}' AND time = '{OLD}'"
    # The statement sees the old row, and requests a change of it meanwhile.
    run(
        login,
        "CREATE FUNCTION pg_temp.wait() RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM FROM tenant.locations FOR NO KEY UPDATE; RETURN 1; END $$",
    )
    with psycopg2.connect(empty_database.settings.database_url) as holder:
        run(holder, "SELECT FROM locations FOR NO KEY UPDATE")
        login_answer: list[BaseException] = []

        def update() -> None:
            try:
                run(
                    login,
                    f"UPDATE demand_history SET quantity = quantity + pg_temp.wait() WHERE time = '{OLD}'",
                )
            except psycopg2.Error as error:
                login_answer.append(error)

        thread = threading.Thread(target=update)
        thread.start()
        waiting = (
            "SELECT count(*) AS n FROM pg_stat_activity "
            "WHERE usename = 'tenant_writes_login' AND wait_event_type = 'Lock'"
        )
        while not empty_database.execute_query(waiting)[0]["n"] and thread.is_alive():
            pass
        empty_database.execute(change)
    thread.join()
    assert [type(error) for error in login_answer] == [psycopg2.errors.SerializationFailure]
    assert run(login, f"SELECT quantity FROM demand_history WHERE time = '{OLD}'")[1] == [(50,)]


@pytest.mark.parametrize("by", ["login", "scope", "scope's load"])
def test_another_organizations_open_transaction_is_waited_for_so_long(
    empty_database: DatabaseManager, login: Any, by: str
) -> None:
    """The first write to a chunk after compression changes its catalog entry, which all organizations share."""
    if edition(empty_database) != "community":
        pytest.skip("chunks share nothing without a columnstore")
    row = (MINE, "2024-03-05 00:00:30+00", "P", MINE, 1)
    names = ["organization_id", "time", "product_id", "location_id", "quantity"]
    with empty_database.tenant(OTHER).transaction() as theirs:
        assert theirs.execute(f"UPDATE demand_history SET quantity = 5 WHERE time = '{OLD}'") == 1
        change = f"UPDATE demand_history SET quantity = 6 WHERE time = '{OLD}'"
        if by == "login":
            run(login, "SET lock_timeout = 200")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                run(login, change)
        else:
            url = empty_database.settings.database_url
            with DatabaseManager(url, lock_timeout_seconds=0.2) as hurried:
                scope = hurried.tenant(MINE)
                verb = (
                    partial(scope.execute, change)
                    if by == "scope"
                    else partial(scope.copy_rows, "demand_history", names, [row])
                )
                with pytest.raises(errors.QueryTimeoutError, match="try again when it has ended") as caught:
                    verb()
                assert caught.value.sqlstate == "55P03"
        # Writes to recent rows continue meanwhile.
        assert run(
            login,
            "INSERT INTO tenant_load.demand_history (time, product_id, location_id, quantity) "
            f"VALUES (now(), 'P', '{MINE}', 1)",
        )[0]
    assert run(login, f"UPDATE demand_history SET quantity = 6 WHERE time = '{OLD}'")[0] == 1
