"""The tenant scope: the same methods, one organization's rows, and no accidental way out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from db_utils import DatabaseManager, TenantScope, errors
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION

WHO = "SELECT current_user::text AS who, current_organization_id() AS organization, count(*)::int AS n FROM notes"
AS_TENANT = {"who": "barnameh_tenant", "organization": uuid.UUID(ORGANIZATION)}


@pytest.fixture
def scope(db: DatabaseManager) -> TenantScope:
    """The first organization's scope; it has notes 1 to 3, the other organization 1 to 5."""
    for organization, count in ((ORGANIZATION, 3), (OTHER_ORGANIZATION, 5)):
        db.execute(
            "INSERT INTO notes SELECT %s, g, 'x' FROM generate_series(1, %s) AS g", (organization, count)
        )
    return db.tenant(ORGANIZATION)


def outside(db: DatabaseManager) -> dict[str, object]:
    return db.execute_query(
        "SELECT current_user = session_user AS owner, current_organization_id() AS organization"
    )[0]


def test_every_verb_sees_its_own_rows_only(scope: TenantScope, db: DatabaseManager) -> None:
    assert scope.execute_query(WHO) == [{**AS_TENANT, "n": 3}]
    assert scope.execute_query("SELECT count(*)::int AS n FROM notes WHERE note_id > %s", (1,)) == [{"n": 2}]
    assert len(list(scope.stream("SELECT * FROM notes", batch_size=2))) == 3
    assert scope.execute("UPDATE notes SET text = 'y'") == 3
    with scope.transaction() as tx:
        assert tx.execute_query(WHO) == [{**AS_TENANT, "n": 3}]
        with tx.transaction() as inner:
            assert inner.execute("DELETE FROM notes WHERE note_id = 3") == 1
            assert len(list(inner.stream("SELECT * FROM notes"))) == 2
    with scope.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notes")
        assert cursor.fetchone() == (2,)
        connection.commit()
        cursor.execute("SELECT count(*) FROM notes")
        assert cursor.fetchone() == (2,)
    assert scope.run_in_transaction(lambda tx: tx.execute_query(WHO)) == [{**AS_TENANT, "n": 2}]
    assert outside(db) == {"owner": True, "organization": None}
    assert db.execute_query("SELECT count(*)::int AS n FROM notes WHERE text = 'x'") == [{"n": 5}]


def test_it_may_be_used_with_with_and_without(db: DatabaseManager) -> None:
    with db.tenant(uuid.UUID(ORGANIZATION)) as scope:
        assert scope.execute_query(WHO) == [{**AS_TENANT, "n": 0}]
    assert scope.execute_query(WHO) == [{**AS_TENANT, "n": 0}]


def test_bulk_loads_own_rows_and_refuses_foreign_ones(scope: TenantScope, db: DatabaseManager) -> None:
    columns = ["organization_id", "note_id", "text"]
    assert scope.copy_rows("notes", columns, [(ORGANIZATION, 10, "a"), (ORGANIZATION, 11, "b")]) == 2
    assert (
        scope.execute_many(
            "INSERT INTO notes (organization_id, note_id, text) VALUES %s", [(ORGANIZATION, 12, "c")]
        )
        == 1
    )
    assert (
        scope.upsert_many(
            "notes", columns, [(ORGANIZATION, 12, "d"), (ORGANIZATION, 13, "e")], conflict_columns=columns[:2]
        )
        == 2
    )
    foreign = [(ORGANIZATION, 20, "own"), (OTHER_ORGANIZATION, 21, "foreign")]
    loads: list[Callable[[], object]] = [
        lambda: scope.copy_rows("notes", columns, foreign),
        lambda: scope.execute_many("INSERT INTO notes (organization_id, note_id, text) VALUES %s", foreign),
        lambda: scope.upsert_many("notes", columns, foreign, conflict_columns=columns[:2]),
    ]
    for load in loads:
        with pytest.raises(errors.PermissionDeniedError):
            load()
    assert scope.execute_query(
        "SELECT array_agg(note_id ORDER BY note_id) AS ids FROM notes WHERE note_id >= 10"
    ) == [{"ids": [10, 11, 12, 13]}]
    assert db.execute_query("SELECT count(*)::int AS n FROM notes WHERE note_id >= 20") == [{"n": 0}]
    with scope.transaction() as tx:
        assert tx.copy_rows("notes", columns, [(ORGANIZATION, 30, "a")]) == 1
    assert outside(db) == {"owner": True, "organization": None}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM public.notes",
        "INSERT INTO public.notes VALUES (%s, 99, 'x')",
        "INSERT INTO notes VALUES (%s, 99, 'x')",
        "UPDATE notes SET organization_id = %s",
        "RESET ROLE",
        "SET LOCAL app.organization_id = '22222222-2222-2222-2222-222222222222'",
        "SELECT set_config('app.organization_id', %s, true)",
        "COMMIT",
        "SELECT 1; RESET ROLE; SELECT * FROM public.notes",
        "DO $$ BEGIN EXECUTE 'RESET ROLE'; END $$",
        "TRUNCATE notes",
        "CREATE TABLE tenant.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "GRANT SELECT ON public.notes TO barnameh_tenant",
        "ALTER VIEW tenant.notes OWNER TO barnameh_tenant",
    ],
)
def test_no_statement_reaches_over_the_edge(scope: TenantScope, db: DatabaseManager, sql: str) -> None:
    parameters = (OTHER_ORGANIZATION,) if "%s" in sql else None
    before = db.execute_query("SELECT * FROM notes ORDER BY 1, 2")
    with pytest.raises((errors.QueryError, errors.InvalidInputError)):
        scope.execute(sql, parameters)
    with pytest.raises((errors.QueryError, errors.InvalidInputError)):
        scope.execute_query(sql, parameters)
    with pytest.raises(errors.DbUtilsError), scope.transaction() as tx:
        tx.execute(sql, parameters)
    with pytest.raises(errors.DbUtilsError):
        list(scope.stream(sql, parameters))
    assert db.execute_query("SELECT * FROM notes ORDER BY 1, 2") == before
    assert outside(db) == {"owner": True, "organization": None}
    assert scope.execute_query(WHO) == [{**AS_TENANT, "n": 3}]


def test_a_parameter_stays_a_parameter(scope: TenantScope) -> None:
    for text in ("'; RESET ROLE; --", "\\'; COMMIT; --", "$$; RESET ALL; $$", "%s%%(x)s"):
        assert scope.execute_query("SELECT %s AS text, current_user::text AS who", (text,)) == [
            {"text": text, "who": "barnameh_tenant"}
        ]


@pytest.mark.parametrize(
    "value", ["", "x", None, 5, "11111111-1111-1111-1111-11111111111'; RESET ROLE; --", b"x"]
)
def test_an_organization_is_a_uuid(db: DatabaseManager, value: object) -> None:
    with pytest.raises(errors.InvalidInputError, match="organization_id"):
        db.tenant(value)  # type: ignore[arg-type]


def test_an_error_in_a_scope_is_typed_and_leaves_no_trace(scope: TenantScope, db: DatabaseManager) -> None:
    with pytest.raises(errors.CheckViolationError):
        scope.execute("INSERT INTO notes VALUES (%s, 50, '')", (ORGANIZATION,))
    with pytest.raises(errors.QueryTimeoutError):
        scope.execute_query("SELECT pg_sleep(10)", timeout_seconds=0.1)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), scope.connection() as connection:
        connection.cursor().execute("SELECT * FROM public.notes")
    assert outside(db) == {"owner": True, "organization": None}
    assert scope.execute_query(WHO) == [{**AS_TENANT, "n": 3}]


def test_one_connection_serves_owner_and_tenants_in_turn_without_mixing_them(
    manager_with: Callable[..., DatabaseManager], scope: TenantScope
) -> None:
    db = manager_with(pool_max_connections=2)
    scopes = [db.tenant(ORGANIZATION), db.tenant(OTHER_ORGANIZATION)]

    def work(number: int) -> object:
        if number % 3 == 2:
            return outside(db)
        row = scopes[number % 3].execute_query(WHO)[0]
        return (row["who"], str(row["organization"]), row["n"])

    expected = [
        ("barnameh_tenant", ORGANIZATION, 3),
        ("barnameh_tenant", OTHER_ORGANIZATION, 5),
        {"owner": True, "organization": None},
    ]
    with ThreadPoolExecutor(8) as executor:
        answers = list(executor.map(work, range(600)))
    assert answers == [expected[number % 3] for number in range(600)]


def test_a_statement_of_a_scope_is_one_round_trip(scope: TenantScope, db: DatabaseManager) -> None:
    last_query = "SELECT query, state FROM pg_stat_activity WHERE pid = %s"
    with db.transaction() as watching:  # so that the scope takes another connection
        pid = scope.execute_query("SELECT pg_backend_pid() AS pid")[0]["pid"]
        (row,) = watching.execute_query(last_query, (pid,))
    assert row["state"] == "idle"
    assert row["query"].startswith("SET LOCAL ROLE")
    assert row["query"].endswith("SELECT pg_backend_pid() AS pid")
