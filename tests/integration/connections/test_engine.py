"""SQLAlchemy and pandas on the same pool: the same limit, the same connections, no state left behind."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import sqlalchemy

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION

PID = "SELECT pg_backend_pid() AS pid"


def test_it_uses_the_connections_of_the_pool(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.2)
    mine = db.execute_query(PID)[0]["pid"]
    with db.engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(PID)).scalar() == mine
        assert db.pool_stats().in_use == 1
        with pytest.raises(errors.PoolTimeoutError):
            db.execute("SELECT 1")
    assert db.pool_stats().in_use == 0
    assert db.execute_query(PID)[0]["pid"] == mine
    assert db.engine is db.engine


def test_its_transactions_are_transactions_and_do_not_outlive_it(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=1)
    db.execute("TRUNCATE notes")
    insert = sqlalchemy.text("INSERT INTO notes VALUES (:o, :n, 'x')")
    with db.engine.begin() as connection:
        connection.execute(insert, {"o": ORGANIZATION, "n": 1})
    with db.engine.connect() as connection:
        connection.execute(insert, {"o": ORGANIZATION, "n": 2})
    with db.engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        assert connection.execute(sqlalchemy.text("SHOW transaction_isolation")).scalar() == "serializable"
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert, {"o": ORGANIZATION, "n": 3})
    assert [row["note_id"] for row in db.execute_query("SELECT note_id FROM notes ORDER BY 1")] == [1, 3]
    assert db.execute_query("SHOW transaction_isolation") == [{"transaction_isolation": "read committed"}]
    assert db.execute("INSERT INTO notes VALUES (%s, 4, 'x')", (ORGANIZATION,)) == 1
    assert db.pool_stats().opened_total == 1


def test_pandas_reads_through_it(db: DatabaseManager) -> None:
    frame = pd.read_sql("SELECT g AS a, 'x' AS b FROM generate_series(1, 3) AS g", db.engine)
    assert frame.to_dict("list") == {"a": [1, 2, 3], "b": ["x"] * 3}
    assert db.execute_query("SELECT '{\"a\": 1}'::jsonb AS j, '\\x00'::bytea AS b") == [
        {"j": {"a": 1}, "b": b"\x00"}
    ]


def test_a_lost_connection_is_replaced_here_too(manager_with: Callable[..., DatabaseManager]) -> None:
    db, killer = manager_with(), manager_with()
    pid = db.execute_query(PID)[0]["pid"]
    with db.engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(PID)).scalar() == pid
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            connection.execute(sqlalchemy.text(PID))
        assert caught.value.connection_invalidated
    with db.engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(PID)).scalar() != pid
    assert db.pool_stats().in_use == 0


def test_disposing_of_it_leaves_the_manager_whole(db: DatabaseManager) -> None:
    with db.engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    db.engine.dispose()
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
    assert "barnameh_password" not in repr(db.engine)
