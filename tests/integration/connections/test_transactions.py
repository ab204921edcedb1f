"""Transactions: all or nothing, nested, retried on conflict, refused to a second thread."""

# ruff: noqa: PT012 - blocks that fail as a whole are tested
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from db_utils import DatabaseManager, Transaction, errors
from tests.integration.connections.conftest import ORGANIZATION

INSERT = f"INSERT INTO notes VALUES ('{ORGANIZATION}', %s, 'x')"
IDS = "SELECT note_id FROM notes ORDER BY note_id"


def ids(db: DatabaseManager) -> list[int]:
    return [row["note_id"] for row in db.execute_query(IDS)]


def test_it_commits_at_the_end_of_the_block_and_is_not_seen_before(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        assert tx.execute(INSERT, (1,)) == 1
        assert [row["note_id"] for row in tx.execute_query(IDS)] == [1]
        assert ids(db) == []
    assert ids(db) == [1]


def test_it_rolls_back_when_the_block_raises(db: DatabaseManager) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.execute(INSERT, (1,))
        _ = 1 / 0
    assert ids(db) == []
    assert db.pool_stats().in_use == 0


def test_what_fails_in_a_nested_block_is_undone_alone(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with pytest.raises(errors.UniqueViolationError), tx.transaction() as inner:
            inner.execute(INSERT, (2,))
            inner.execute(INSERT, (1,))
        with tx.transaction() as inner:
            inner.execute(INSERT, (3,))
            with pytest.raises(KeyError), inner.transaction() as innermost:
                innermost.execute(INSERT, (4,))
                raise KeyError
        tx.execute(INSERT, (5,))
    assert ids(db) == [1, 3, 5]


def test_an_error_that_the_block_swallowed_is_not_taken_for_success(db: DatabaseManager) -> None:
    with pytest.raises(errors.TransactionStateError, match="rolled back") as caught, db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with pytest.raises(errors.UndefinedObjectError):
            tx.execute("SELECT * FROM nowhere")
        with pytest.raises(errors.QueryError, match="nested"):
            tx.execute(INSERT, (2,))
    assert caught.value.sqlstate == "25P02"
    assert ids(db) == []


def test_a_swallowed_error_in_a_nested_block_is_not_taken_for_success(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with pytest.raises(errors.TransactionStateError, match="nested"), tx.transaction() as inner:
            inner.execute(INSERT, (2,))
            with pytest.raises(errors.UniqueViolationError):
                inner.execute(INSERT, (1,))
    assert ids(db) == [1]


def test_a_deferred_constraint_fails_at_the_end_with_its_own_error(db: DatabaseManager) -> None:
    with pytest.raises(errors.UniqueViolationError), db.transaction() as tx:
        tx.execute("CREATE TEMPORARY TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
        tx.execute("INSERT INTO t VALUES (1), (1)")
    assert db.pool_stats().in_use == 0


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "SAVEPOINT a", "BEGIN", "SELECT 1; COMMIT"])
def test_ending_it_by_hand_is_refused(db: DatabaseManager, sql: str) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with pytest.raises(errors.TransactionStateError):
            tx.execute(sql)
        tx.execute(INSERT, (2,))
    assert ids(db) == [1, 2]


def test_the_drivers_own_commit_and_rollback_do_nothing_inside(db: DatabaseManager) -> None:
    with pytest.raises(KeyError), db.transaction() as tx, tx.connection() as connection:
        tx.execute(INSERT, (1,))
        connection.commit()
        connection.rollback()
        tx.execute(INSERT, (2,))
        raise KeyError
    assert ids(db) == []


def test_isolation_and_read_only_are_the_servers(db: DatabaseManager) -> None:
    with db.transaction(isolation="serializable", read_only=True) as tx:
        assert tx.execute_query("SHOW transaction_isolation") == [{"transaction_isolation": "serializable"}]
        with pytest.raises(errors.ReadOnlyError), tx.transaction() as inner:
            inner.execute(INSERT, (1,))
    with pytest.raises(errors.InvalidInputError, match="isolation"):
        db.transaction(isolation="chaos; DROP TABLE notes")  # type: ignore[arg-type]
    with db.transaction() as tx, pytest.raises(errors.InvalidInputError, match="outermost"):
        tx.transaction(read_only=True)


def test_it_is_good_for_one_block(db: DatabaseManager) -> None:
    tx = db.transaction()
    with pytest.raises(errors.TransactionStateError, match="not open"):
        tx.execute("SELECT 1")
    with tx:
        with pytest.raises(errors.TransactionStateError, match="once"):
            tx.__enter__()
        tx.execute(INSERT, (1,))
        stream = tx.stream(IDS)
    with pytest.raises(errors.TransactionStateError, match="not open"):
        tx.execute("SELECT 1")
    with pytest.raises(errors.TransactionStateError, match="once"), tx:
        pass
    with pytest.raises(errors.TransactionStateError, match="not open"):
        next(iter(stream))
    assert ids(db) == [1]


def test_a_second_thread_is_refused_and_corrupts_nothing(db: DatabaseManager) -> None:
    outcomes: list[BaseException | int] = []

    def intrude(tx: Transaction) -> None:
        try:
            outcomes.append(tx.execute(INSERT, (99,)))
        except errors.DbUtilsError as error:
            outcomes.append(error)

    with db.transaction() as tx:
        threads = [threading.Thread(target=intrude, args=(tx,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for number in range(50):
            tx.execute(INSERT, (number,))
        for thread in threads:
            thread.join()
    assert [type(outcome) for outcome in outcomes] == [errors.TransactionStateError] * 8
    assert ids(db) == list(range(50))


def test_a_conflict_is_tried_again_until_both_have_their_way(db: DatabaseManager) -> None:
    db.execute(INSERT, (0,))
    barrier = threading.Barrier(2)
    attempts: list[int] = []

    def add_one(tx: Transaction) -> None:
        attempts.append(1)
        row = tx.execute_query("SELECT (metadata ->> 'n')::int AS n FROM notes WHERE note_id = 0")[0]
        if len(attempts) <= 2:
            barrier.wait()
        tx.execute("UPDATE notes SET metadata = %s WHERE note_id = 0", ({"n": (row["n"] or 0) + 1},))

    def work(_: int) -> None:
        db.run_in_transaction(add_one, isolation="serializable", delay=lambda failures: 0.0)

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(work, range(2)))
    assert db.execute_query("SELECT metadata FROM notes") == [{"metadata": {"n": 2}}]
    assert len(attempts) == 3


def test_a_deadlock_is_tried_again(db: DatabaseManager) -> None:
    db.execute(INSERT, (1,))
    db.execute(INSERT, (2,))
    db.execute("SELECT 1")
    barrier = threading.Barrier(2)
    attempts: list[tuple[int, int]] = []
    first_failures: list[int] = []
    one_is_through = threading.Event()

    def work(order: tuple[int, int]) -> None:
        def cross(tx: Transaction) -> None:
            tx.execute("SET LOCAL deadlock_timeout = '20ms'")
            attempts.append(order)
            tx.execute("UPDATE notes SET text = text || 'a' WHERE note_id = %s", (order[0],))
            if not first_failures:
                barrier.wait()
            tx.execute("UPDATE notes SET text = text || 'b' WHERE note_id = %s", (order[1],))

        def delay(failures: int) -> float:
            first_failures.append(failures)
            assert one_is_through.wait(60)  # otherwise the two may deadlock again
            return 0.0

        db.run_in_transaction(cross, delay=delay)
        one_is_through.set()

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(work, [(1, 2), (2, 1)]))
    assert len(attempts) == 3
    assert sorted(len(row["text"]) for row in db.execute_query("SELECT text FROM notes")) == [3, 3]


def test_trying_again_belongs_around_the_outermost_transaction(db: DatabaseManager) -> None:
    with db.transaction() as tx, pytest.raises(errors.TransactionStateError, match="outermost"):
        tx.run_in_transaction(lambda inner: None)


def test_the_raw_connection_behaves_as_the_driver_does_and_comes_back_clean(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=1)
    db.execute("TRUNCATE notes")
    with db.connection() as connection:
        assert isinstance(connection, psycopg2.extensions.connection)
        assert not connection.autocommit
        with connection.cursor() as cursor:
            cursor.execute(INSERT, (1,))
            cursor.execute("SET work_mem = '65MB'")
            cursor.execute("SET search_path = nowhere")
            cursor.execute("PREPARE p AS SELECT 1")
            cursor.execute("CREATE TEMPORARY TABLE mine (a int)")
            cursor.execute("SELECT pg_advisory_lock(1)")
            cursor.execute("LISTEN something")
        connection.cursor_factory = psycopg2.extras.RealDictCursor
    assert ids(db) == [1]
    assert db.execute_query("SHOW work_mem") != [{"work_mem": "65MB"}]
    assert db.execute_query("SELECT count(*) AS n FROM pg_prepared_statements") == [{"n": 0}]
    assert db.execute_query("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'") == [{"n": 0}]
    assert db.execute_query("SELECT to_regclass('pg_temp.mine') AS t") == [{"t": None}]
    assert len(db.execute_query("SELECT generate_series(1, 500) AS g")) == 500
    with db.connection() as connection:
        connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
        connection.autocommit = True
    assert db.execute(INSERT, (2,)) == 1
    with (
        pytest.raises(psycopg2.errors.UndefinedTable),
        db.connection() as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(INSERT, (3,))
        cursor.execute("SELECT * FROM nowhere")
    with pytest.raises(KeyError), db.connection() as connection, connection.cursor() as cursor:
        cursor.execute(INSERT, (3,))
        raise KeyError
    with db.connection() as connection:
        connection.close()
    assert ids(db) == [1, 2]
    assert db.pool_stats().in_use == 0
