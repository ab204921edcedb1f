"""read_frame and write_frame of manager, scope and transaction: each on its own rows, with its own role."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION

READ = "SELECT note_id, text FROM notes WHERE note_id > %s ORDER BY note_id"


@pytest.fixture
def two_organizations(db: DatabaseManager) -> DatabaseManager:
    """Notes 1 to 3 of the first organization, 11 to 15 of the other."""
    for organization, first, last in ((ORGANIZATION, 1, 3), (OTHER_ORGANIZATION, 11, 15)):
        db.execute(
            "INSERT INTO notes SELECT %s, g, 'x%%' FROM generate_series(%s, %s) AS g",
            (organization, first, last),
        )
    return db


def test_each_reads_what_it_may(two_organizations: DatabaseManager) -> None:
    db, scope = two_organizations, two_organizations.tenant(ORGANIZATION)
    assert db.read_frame(READ, (0,))["note_id"].tolist() == [1, 2, 3, 11, 12, 13, 14, 15]
    assert scope.read_frame(READ, (0,))["note_id"].tolist() == [1, 2, 3]
    who = scope.read_frame(
        "SELECT current_user::text AS who, current_organization_id()::text AS o", backend="polars"
    )
    assert isinstance(who, pl.DataFrame)
    assert who.rows() == [("barnameh_tenant", ORGANIZATION)]
    with scope.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES (%s, 4, 'new')", (ORGANIZATION,))
        inside = tx.read_frame(READ, (2,), backend="arrow")
        assert isinstance(inside, pa.Table)
        assert inside.to_pydict() == {"note_id": [3, 4], "text": ["x%", "new"]}
        assert scope.read_frame(READ, (2,))["note_id"].tolist() == [3]
    assert db.pool_stats().in_use == 0


def test_reading_takes_no_place_in_the_pool(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.2)
    assert db.read_frame("SELECT %s::int AS a", (1,))["a"].tolist() == [1]
    with db.transaction() as tx:
        assert tx.read_frame("SELECT %s::int AS a", (1,))["a"].tolist() == [1]
        with pytest.raises(errors.PoolTimeoutError):
            db.read_frame("SELECT 1 AS a")


def test_each_writes_what_it_may(two_organizations: DatabaseManager) -> None:
    db, scope = two_organizations, two_organizations.tenant(ORGANIZATION)
    own = pd.DataFrame({"organization_id": [ORGANIZATION] * 2, "note_id": [4, 5], "text": ["a", "b"]})
    foreign = own.assign(organization_id=[ORGANIZATION, OTHER_ORGANIZATION], note_id=[6, 7])
    assert scope.write_frame("notes", own) == 2
    with pytest.raises(errors.PermissionDeniedError):
        scope.write_frame("notes", foreign)
    keys = ["organization_id", "note_id"]
    assert scope.write_frame("notes", own.assign(text="c"), conflict_columns=keys) == 2
    with db.transaction() as tx:
        assert tx.write_frame("notes", pl.from_pandas(foreign.assign(note_id=[8, 9]))) == 2
    assert db.write_frame("notes", pa.Table.from_pandas(own.assign(note_id=[20, 21]))) == 2
    assert db.execute_query("SELECT note_id FROM notes WHERE text IN ('a', 'b', 'c') ORDER BY note_id") == [
        {"note_id": number} for number in (4, 5, 8, 9, 20, 21)
    ]


def test_only_reads_can_be_read(two_organizations: DatabaseManager) -> None:
    db, scope = two_organizations, two_organizations.tenant(ORGANIZATION)
    for sql in (
        "DELETE FROM notes RETURNING note_id",
        "SELECT 1 AS a; SELECT 2 AS b",
        "RESET ROLE",
        "COMMIT",
    ):
        for reader in (db, scope):
            with pytest.raises(errors.DbUtilsError):
                reader.read_frame(sql)
        with pytest.raises(errors.DbUtilsError), scope.transaction() as tx:
            tx.read_frame(sql)
    assert db.execute_query("SELECT count(*)::int AS n FROM notes") == [{"n": 8}]


def test_a_read_takes_as_long_as_it_needs_or_as_its_deadline_allows(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(statement_timeout_seconds=0.1)
    assert len(db.read_frame("SELECT 1 AS a FROM pg_sleep(0.3)")) == 1
    with pytest.raises(errors.QueryTimeoutError):
        db.read_frame("SELECT 1 AS a FROM pg_sleep(30)", timeout_seconds=0.2)


def test_what_cannot_be_reached_says_so_without_the_password(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(database_url="postgresql://someone:s3cr3t@127.0.0.1:1/nothing")
    with pytest.raises(errors.ConnectionFailedError) as caught:
        db.read_frame("SELECT 1 AS a")
    assert "s3cr3t" not in str(caught.value)
