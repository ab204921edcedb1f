"""stream: a million rows in constant memory, and nothing left behind, however it ends."""

from __future__ import annotations

import gc
import subprocess
import time
from collections.abc import Callable
from itertools import islice

import pytest

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION

SERIES = "SELECT g, repeat('x', 100) AS text FROM generate_series(1, %s) AS g"


def idle_again(db: DatabaseManager) -> bool:
    give_up_at = time.monotonic() + 5
    while db.pool_stats().in_use and time.monotonic() < give_up_at:
        gc.collect()
    return db.pool_stats().in_use == 0


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_every_row_comes_once_and_in_order(db: DatabaseManager, batch_size: int) -> None:
    rows = list(db.stream("SELECT g FROM generate_series(1, 100) AS g ORDER BY g;", batch_size=batch_size))
    assert rows == [{"g": number} for number in range(1, 101)]
    assert idle_again(db)


def test_no_rows_are_no_rows(db: DatabaseManager) -> None:
    assert list(db.stream("SELECT 1 AS a WHERE false")) == []


@pytest.mark.slow
def test_a_million_rows_take_no_more_memory_than_a_thousand(
    library_url: str, python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = f"""
import resource, sys
from db_utils import DatabaseManager
db = DatabaseManager(sys.argv[1])
def peak(rows):
    assert sum(1 for _ in db.stream({SERIES!r}, (rows,))) == rows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = peak(20_000)
print(peak(1_000_000) - small)
"""
    output, problems = python(code, library_url).communicate(timeout=120)
    assert int(output) < 4096, problems  # KiB


def test_it_is_one_snapshot(db: DatabaseManager) -> None:
    insert = "INSERT INTO notes SELECT %s, g, 'x' FROM generate_series(%s, %s) AS g"
    db.execute(insert, (ORGANIZATION, 1, 10))
    stream = db.stream("SELECT note_id FROM notes ORDER BY note_id", batch_size=2)
    assert next(stream) == {"note_id": 1}
    db.execute("DELETE FROM notes WHERE note_id > 5")
    db.execute(insert, (ORGANIZATION, 11, 20))
    assert [row["note_id"] for row in stream] == list(range(2, 11))


@pytest.mark.parametrize("how", ["close", "drop", "break", "raise"])
def test_an_unfinished_one_gives_its_connection_back(
    manager_with: Callable[..., DatabaseManager], how: str
) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=1)
    stream = db.stream(SERIES, (100_000,), batch_size=10)
    first = list(islice(stream, 15))
    assert [row["g"] for row in first] == list(range(1, 16))
    assert db.pool_stats().in_use == 1
    if how == "close":
        stream.close()  # type: ignore[attr-defined]
    elif how == "break":
        for _ in stream:
            break
    elif how == "raise":
        with pytest.raises(RuntimeError):
            stream.throw(RuntimeError())  # type: ignore[attr-defined]
    del stream
    assert idle_again(db)
    assert db.execute_query("SELECT count(*) AS n FROM pg_cursors") == [{"n": 0}]


def test_two_streams_and_other_statements_of_one_transaction_interleave(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        pairs = zip(
            tx.stream(SERIES, (50,), batch_size=3), tx.stream(SERIES, (50,), batch_size=7), strict=True
        )
        for number, (left, right) in enumerate(pairs, 1):
            assert left["g"] == right["g"] == number
            assert tx.execute_query("SELECT %s::int AS n", (number,)) == [{"n": number}]


def test_an_error_in_the_middle_is_typed_and_leaves_the_pool_whole(db: DatabaseManager) -> None:
    stream = db.stream("SELECT 1 / (50 - g) AS a FROM generate_series(1, 100) AS g", batch_size=10)
    with pytest.raises(errors.InvalidDataError):
        list(stream)
    assert idle_again(db)


def test_what_cannot_be_streamed_is_refused(db: DatabaseManager) -> None:
    with pytest.raises(errors.InvalidInputError, match="batch_size"):
        db.stream("SELECT 1", batch_size=0)
    for sql in ("DELETE FROM notes", "SELECT 1 AS a; TRUNCATE notes", "", "SHOW work_mem"):
        with pytest.raises(errors.InvalidInputError, match="one SELECT"):
            db.stream(sql)
    with pytest.raises(errors.InvalidInputError, match="AS"):
        list(db.stream("SELECT 1 AS a, 2 AS a"))
    with pytest.raises(errors.UndefinedObjectError):
        list(db.stream("SELECT * FROM nowhere"))
    assert idle_again(db)
