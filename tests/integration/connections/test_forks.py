"""A process forked while a connection is in use: the parent's resources remain the parent's."""

# ruff: noqa: PT012 - blocks that fail as a whole are tested
from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import Any

import psycopg2
import pytest
import sqlalchemy.exc

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION, in_a_child

INSERT = f"INSERT INTO notes (organization_id, note_id, text) VALUES ('{ORGANIZATION}', %s, 'x')"
NUMBERS = "SELECT g FROM generate_series(1, 1000) AS g ORDER BY g"
Opens = Callable[[DatabaseManager], AbstractContextManager[Any]]

BLOCKS: dict[str, Opens] = {
    "transaction": lambda db: db.transaction(),
    "scope's transaction": lambda db: db.tenant(ORGANIZATION).transaction(),
    "connection": lambda db: db.connection(),
    "scope's connection": lambda db: db.tenant(ORGANIZATION).connection(),
    "SQLAlchemy": lambda db: db.engine.connect(),
}
WAYS_OUT = (None, ValueError, SystemExit, KeyboardInterrupt)


def write(place: Any, note_id: int) -> None:
    """Insert a note through the object of the block."""
    if hasattr(place, "exec_driver_sql"):
        place.exec_driver_sql(INSERT, (note_id,))
    elif hasattr(place, "execute"):
        place.execute(INSERT, (note_id,))
    else:
        with place.cursor() as cursor:
            cursor.execute(INSERT, (note_id,))


def ids(db: DatabaseManager) -> list[int]:
    return [row["note_id"] for row in db.execute_query("SELECT note_id FROM notes ORDER BY note_id")]


@pytest.mark.parametrize("way_out", WAYS_OUT)
@pytest.mark.parametrize("opens", BLOCKS.values(), ids=list(BLOCKS))
def test_a_child_that_leaves_its_parents_block_changes_nothing_there(
    db: DatabaseManager, opens: Opens, way_out: type[BaseException] | None
) -> None:
    child: int | None = None
    try:
        with opens(db) as place:
            write(place, 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child:
                os.waitpid(child, 0)
                write(place, 2)  # the parent's transaction is still open, and still the tenant's
                raise LookupError("the parent changes its mind")
            if way_out is not None:
                raise way_out
    except LookupError:
        pass
    except BaseException:
        if child != 0:
            raise
    finally:
        if child == 0:
            os._exit(0)
    assert ids(db) == []


@pytest.mark.parametrize("opens", BLOCKS.values(), ids=list(BLOCKS))
def test_a_child_cannot_use_what_its_parent_opened(db: DatabaseManager, opens: Opens) -> None:
    def use_in_child() -> str:
        try:
            write(place, 2)
        except (errors.TransactionStateError, psycopg2.Error, sqlalchemy.exc.DBAPIError) as error:
            db.execute(INSERT, (3,))  # on its own connection it may do anything
            return type(error).__name__
        return "it was done"

    with opens(db) as place:
        write(place, 1)
        report = in_a_child(use_in_child)
        if hasattr(place, "exec_driver_sql"):
            place.commit()
    assert report in ("TransactionStateError", "OperationalError", "DatabaseError", "InterfaceError")
    assert ids(db) == [1, 3]


def test_a_child_in_a_nested_block_does_not_release_its_savepoint(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with pytest.raises(LookupError), tx.transaction() as inner:
            inner.execute(INSERT, (2,))
            assert in_a_child(lambda: str(inner.__exit__(None, None, None))) == "None"
            raise LookupError
        tx.execute(INSERT, (3,))
    assert ids(db) == [1, 3]


def test_a_child_says_nothing_when_it_collects_or_closes_its_parents_connections(db: DatabaseManager) -> None:
    with db.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")

        def close_in_child() -> str:
            connection.close()
            return "closed"

        assert in_a_child(close_in_child) == "closed"
        cursor.execute(INSERT, (1,))
    assert ids(db) == [1]


def test_nothing_runs_after_a_commit_that_the_child_did_not_make(db: DatabaseManager) -> None:
    called: list[int] = []
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        tx.after_commit(lambda: called.append(os.getpid()))

        def leave_in_child() -> str:
            tx.__exit__(None, None, None)
            return str(called)

        assert in_a_child(leave_in_child) == "[]"
    assert called == [os.getpid()]


def test_streams_and_listeners_are_left_alone(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=3)
    with db.listen("news") as listener, closing(db.stream(NUMBERS, batch_size=10)) as numbers:
        assert next(numbers) == {"g": 1}

        def use_in_child() -> str:
            with pytest.raises(errors.TransactionStateError, match="parent"):
                listener.get(1)
            with pytest.raises(errors.TransactionStateError, match="parent"):
                listener.add("more")
            with pytest.raises(errors.TransactionStateError, match="parent"):
                list(numbers)
            listener.close()
            with db.listen("news") as own:
                db.execute("NOTIFY news, 'from the child'")
                heard = own.get(10)
            return heard.text if heard else "nothing"

        assert in_a_child(use_in_child) == "from the child"
        heard = listener.get(10)
        assert heard is not None
        assert (heard.text, heard.may_have_missed) == ("from the child", False)
        assert [row["g"] for row in numbers] == list(range(2, 1001))


def test_a_child_has_connections_of_its_own_and_the_parent_keeps_its(
    manager_with: Callable[..., DatabaseManager],
) -> None:
    db = manager_with(pool_max_connections=2)
    db.execute("TRUNCATE notes")
    mine = db.execute_query("SELECT pg_backend_pid() AS pid")[0]["pid"]
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))

        def use_in_child() -> str:
            theirs = db.execute_query("SELECT pg_backend_pid() AS pid")[0]["pid"]
            db.execute(INSERT, (2,))
            opened = db.pool_stats().open
            db.close()
            return f"{theirs} {opened}"

        theirs, opened = in_a_child(use_in_child).split()
        tx.execute(INSERT, (3,))
    assert int(theirs) != mine
    assert opened == "1"
    assert ids(db) == [1, 2, 3]
    assert db.execute_query("SELECT pg_backend_pid() AS pid")[0]["pid"] == mine


def test_a_worker_of_multiprocessing_leaves_a_transaction_alone(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, (1,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            worker = multiprocessing.get_context("fork").Process(target=lambda: db.execute(INSERT, (2,)))
            worker.start()
            worker.join()
        assert worker.exitcode == 0
        tx.execute(INSERT, (3,))
    assert ids(db) == [1, 2, 3]
