"""The bulk methods of DatabaseManager, Transaction and TenantScope, on the real schema."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from db_utils import DatabaseManager
from db_utils.copy import RejectReport
from db_utils.errors import (
    CheckViolationError,
    DbUtilsError,
    InvalidDataError,
    PermissionDeniedError,
    ServerUnavailableError,
    UndefinedObjectError,
)

OURS = uuid.UUID("11111111-1111-1111-1111-111111111111")
THEIRS = uuid.UUID("22222222-2222-2222-2222-222222222222")
PLACE = uuid.UUID(int=7)
FOREIGN = (PermissionDeniedError, CheckViolationError)  # the view refuses foreign rows, and so does the table
DEMAND = ["organization_id", "time", "product_id", "location_id", "quantity", "metadata"]
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def demand(number: int, organization: uuid.UUID = OURS, **changes: Any) -> tuple[Any, ...]:
    row = {
        "organization_id": organization,
        "time": START - dt.timedelta(minutes=number),
        "product_id": "P-1",
        "location_id": PLACE,
        "quantity": number,
        "metadata": {"n": number},
    }
    return tuple({**row, **changes}.values())


@pytest.fixture
def db(empty_database: DatabaseManager) -> DatabaseManager:
    """Two organizations with a location each."""
    for organization in (OURS, THEIRS):
        empty_database.copy_rows(
            "organizations",
            ["organization_id", "name", "industry"],
            [(organization, str(organization), "test")],
        )
        empty_database.copy_rows(
            "locations",
            ["organization_id", "location_id", "name", "location_type"],
            [(organization, PLACE, "Plant", "factory")],
        )
    return empty_database


def count(db: Any) -> int:
    return db.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("rows", [3, 3000])
def test_a_scope_loads_its_own_rows_and_refuses_foreign_ones(db: DatabaseManager, rows: int) -> None:
    scope = db.tenant(OURS)
    good = [demand(number) for number in range(rows)]
    key = ["organization_id", "product_id", "location_id", "time"]
    insert = f"INSERT INTO demand_history ({', '.join(DEMAND)}) VALUES %s"
    assert scope.copy_rows("demand_history", DEMAND, good) == rows
    assert scope.upsert_many("demand_history", DEMAND, good, conflict_columns=key) == rows
    assert scope.execute_many(insert + " ON CONFLICT DO NOTHING", good) == 0
    assert count(scope) == count(db) == rows
    foreign = [demand(rows), demand(rows + 1, THEIRS)]
    for load in (
        lambda: scope.copy_rows("demand_history", DEMAND, foreign),
        lambda: scope.upsert_many("demand_history", DEMAND, foreign, conflict_columns=key),
        lambda: scope.execute_many(insert, foreign),
        lambda: scope.copy_rows("public.demand_history", DEMAND, foreign),
    ):
        with pytest.raises(FOREIGN):
            load()
    assert count(db) == rows
    report = RejectReport()
    assert scope.copy_rows("demand_history", DEMAND, foreign, on_reject=report) == 1
    assert [reject.row_number for reject in report] == [2]
    assert report.rejects[0].sqlstate in ("44000", "23514")
    assert count(db) == count(scope) == rows + 1


def test_rejects_in_a_scope_name_columns_and_constraints(db: DatabaseManager) -> None:
    rows = [demand(number) for number in range(2000)]
    rows[5] = demand(5, quantity="many")
    rows[6] = demand(6, location_id=uuid.UUID(int=99))
    rows[1500] = demand(1500, quantity=-1)
    report = RejectReport()
    assert db.tenant(OURS).copy_rows("demand_history", DEMAND, rows, on_reject=report) == 1997
    by_number = {reject.row_number: reject for reject in report}
    assert sorted(by_number) == [6, 7, 1501]
    assert (by_number[6].column, by_number[6].sqlstate) == ("quantity", "22P02")
    assert (by_number[7].column, by_number[7].sqlstate) == ("organization_id, location_id", "23503")
    assert (by_number[1501].column, by_number[1501].sqlstate) == ("quantity", "23514")
    assert all("_chunk" not in reject.reason and "db_utils" not in reject.reason for reject in report)


def test_all_or_nothing_and_savepoints(db: DatabaseManager) -> None:
    with pytest.raises(InvalidDataError, match=r"row 3, column quantity"):
        db.copy_rows("demand_history", DEMAND, [demand(1), demand(2), demand(3, quantity="x")])
    with pytest.raises(InvalidDataError, match=r"row 2, column quantity"):
        db.tenant(OURS).copy_rows("demand_history", DEMAND, [demand(1), demand(2, quantity="x")])
    assert count(db) == 0
    with db.transaction() as transaction:
        transaction.copy_rows("demand_history", DEMAND, [demand(1)])
        with pytest.raises(InvalidDataError), transaction.transaction() as inner:
            inner.copy_rows("demand_history", DEMAND, [demand(2), demand(3, quantity="x")])
        transaction.copy_rows("demand_history", DEMAND, [demand(4)])
        assert count(transaction) == 2
    assert count(db) == 2


def test_a_source_that_breaks_leaves_nothing_and_the_pool_whole(db: DatabaseManager) -> None:
    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(5000):
            yield demand(number)
        raise RuntimeError("the source broke")

    for load in (db, db.tenant(OURS)):
        with pytest.raises(RuntimeError, match="the source broke"):
            load.copy_rows("demand_history", DEMAND, rows())
        assert count(db) == 0
    assert db.pool_stats().in_use == 0


def test_a_source_may_read_from_the_same_manager(db: DatabaseManager) -> None:
    db.copy_rows("demand_history", DEMAND, [demand(number) for number in range(1000)])
    copied = (
        (THEIRS, *[row[name] for name in DEMAND[1:]])
        for row in db.stream(f"SELECT {', '.join(DEMAND)} FROM demand_history ORDER BY time")
    )
    assert db.copy_rows("demand_history", DEMAND, copied) == 1000
    assert count(db.tenant(THEIRS)) == 1000


@pytest.mark.thorough
def test_a_backend_that_is_killed_leaves_nothing(db: DatabaseManager) -> None:
    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(200_000):
            if number == 50_000:
                db.execute_query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'COPY%%'",
                    (),
                )
            yield demand(number)

    for load in (db, db.tenant(OURS)):
        with pytest.raises(ServerUnavailableError):
            load.copy_rows("demand_history", DEMAND, rows())
        assert count(db) == 0
    assert db.copy_rows("demand_history", DEMAND, [demand(1)]) == 1


def test_eight_threads_load_at_once(db: DatabaseManager) -> None:
    failures: list[DbUtilsError] = []

    def load(thread: int) -> None:
        try:
            rows = (demand(number, product_id=f"P-{thread}") for number in range(3000))
            db.tenant(OURS).copy_rows("demand_history", DEMAND, rows)
        except DbUtilsError as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(db) == 24_000


def test_frames_of_a_scope_hold_its_own_rows(db: DatabaseManager) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("adbc_driver_postgresql")
    scope = db.tenant(OURS)
    frame = pandas.DataFrame([demand(number) for number in range(500)], columns=DEMAND)
    assert scope.write_frame("demand_history", frame) == 500
    db.copy_rows("demand_history", DEMAND, [demand(number, THEIRS) for number in range(10)])
    sql = "SELECT time, quantity FROM demand_history WHERE quantity >= %s ORDER BY time"
    assert len(scope.read_frame(sql, (0,))) == 500
    assert len(db.tenant(THEIRS).read_frame(sql, (0,), backend="polars")) == 10
    assert len(db.read_frame(sql, (0,), backend="arrow")) == 510
    with db.transaction() as transaction:
        transaction.execute("DELETE FROM demand_history WHERE organization_id = %s", (THEIRS,))
        assert len(transaction.read_frame(sql, (0,))) == 500
    with scope.transaction() as transaction:
        transaction.execute("DELETE FROM demand_history WHERE quantity < 100")
        assert transaction.read_frame(sql, (0,))["quantity"].tolist() == [
            float(number) for number in range(499, 99, -1)
        ]
    frame["organization_id"] = THEIRS
    with pytest.raises(FOREIGN):
        scope.write_frame("demand_history", frame)
    with pytest.raises((PermissionDeniedError, UndefinedObjectError)):
        scope.read_frame("SELECT * FROM public.demand_history")
