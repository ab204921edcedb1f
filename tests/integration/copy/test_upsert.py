"""Rows that may already exist: upsert_many, and execute_many with and without ON CONFLICT."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from db_utils import copy
from db_utils.errors import (
    CheckViolationError,
    InvalidInputError,
    PermissionDeniedError,
    QueryError,
    UndefinedObjectError,
)
from tests.integration.copy.conftest import ORGANIZATION, OTHER_ORGANIZATION, Asker
from tests.integration.copy.test_copy_rows import EVENT, event

STOCK = ["organization_id", "product_id", "quantity", "first_seen"]
KEY = ["organization_id", "product_id"]
FOUND = "SELECT product_id, quantity, first_seen FROM stock ORDER BY product_id, first_seen"


def stock(product: Any, quantity: Any, first_seen: int = 0) -> tuple[Any, ...]:
    return (ORGANIZATION, product, quantity, first_seen)


def padded(rows: list[tuple[Any, ...]], count: int) -> list[tuple[Any, ...]]:
    """These rows after so many others that the load takes the other path."""
    return [stock(f"filler {number:06}", 0) for number in range(count)] + rows


@pytest.mark.parametrize("others", [0, 2000])
def test_new_rows_go_in_and_old_ones_are_brought_up_to_date(connection: Any, ask: Asker, others: int) -> None:
    def upsert(rows: list[tuple[Any, ...]], **options: Any) -> int:
        count = copy.upsert_many(
            connection, "stock", STOCK, padded(rows, others), conflict_columns=KEY, **options
        )
        ask.run("DELETE FROM stock WHERE product_id LIKE 'filler%'")
        return count - others

    assert upsert([stock("A", 1, 1), stock("B", 2, 1)]) == 2
    assert upsert([stock("B", 20, 2), stock("C", 30, 2)]) == 2
    assert ask.rows(FOUND) == [("A", 1, 1), ("B", 20, 2), ("C", 30, 2)]
    assert upsert([stock("A", 9, 3), stock("D", 9, 3)], update_columns=["quantity"]) == 2
    assert ask.rows(FOUND) == [("A", 9, 1), ("B", 20, 2), ("C", 30, 2), ("D", 9, 3)]
    assert upsert([stock("A", 0, 4), stock("E", 0, 4)], update_columns=[]) == 1
    assert ask.rows(FOUND)[0] == ("A", 9, 1)
    assert ask.rows(FOUND)[-1] == ("E", 0, 4)


@pytest.mark.parametrize("others", [0, 2000])
@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("update_columns", [None, ["quantity"], []])
def test_the_same_key_twice_is_as_one_row_after_the_other(
    connection: Any, ask: Asker, others: int, there_before: bool, update_columns: list[str] | None
) -> None:
    rows = [stock("A", 1, 1), stock("B", 5, 5), stock("A", 2, 2), stock("A", 3, 3)]
    if there_before:
        copy.copy_rows(connection, "stock", STOCK, [stock("A", 0, 0)])
    ask.run("SAVEPOINT before")
    for row in rows:
        copy.upsert_many(
            connection, "stock", STOCK, [row], conflict_columns=KEY, update_columns=update_columns
        )
    one_by_one = ask.rows(FOUND)
    ask.run("ROLLBACK TO before")
    copy.upsert_many(
        connection, "stock", STOCK, padded(rows, others), conflict_columns=KEY, update_columns=update_columns
    )
    ask.run("DELETE FROM stock WHERE product_id LIKE 'filler%'")
    assert ask.rows(FOUND) == one_by_one


def test_a_key_with_null_never_meets_itself(connection: Any, ask: Asker) -> None:
    rows = [stock(None, 1), stock(None, 2), stock("A", 3), stock("A", 4)]
    assert copy.upsert_many(connection, "stock", STOCK, rows, conflict_columns=KEY) == 3
    assert Counter(ask.rows("SELECT product_id, quantity FROM stock")) == Counter(
        [(None, Decimal(1)), (None, Decimal(2)), ("A", Decimal(4))]
    )


@pytest.mark.slow
def test_many_keys_at_random_against_a_dict(connection: Any, ask: Asker) -> None:
    chance = random.Random(3)
    rows = [stock(f"P{chance.randrange(9000)}", chance.randrange(1000), number) for number in range(120_000)]
    affected = copy.upsert_many(connection, "stock", STOCK, iter(rows), conflict_columns=KEY)
    newest = {row[1]: (row[1], row[2], row[3]) for row in rows}
    assert ask.rows(FOUND) == sorted(newest.values())
    assert len(newest) < affected < 2 * len(newest)  # two segments, most keys are in both


def test_rejects_leave_the_last_good_row_of_a_key(connection: Any, ask: Asker) -> None:
    report = copy.RejectReport()
    rows = padded([stock("A", 1, 1), stock("A", 2, 2), stock("A", -3, 3), stock("B", "x", 4)], 1000)
    copy.upsert_many(connection, "stock", STOCK, rows, conflict_columns=KEY, on_reject=report)
    assert ask.rows("SELECT product_id, quantity, first_seen FROM stock WHERE product_id IN ('A', 'B')") == [
        ("A", 2, 2)
    ]
    assert [(reject.row_number, reject.column, reject.sqlstate) for reject in report] == [
        (1003, "quantity", "23514"),
        (1004, "quantity", "22P02"),
    ]


@pytest.mark.parametrize("count", [3, 3000])
def test_a_view_takes_upserts_and_refuses_foreign_rows(connection: Any, ask: Asker, count: int) -> None:
    key = ["organization_id", "time", "event_id"]
    rows = [event(number) for number in range(count)]
    for _ in range(2):
        assert copy.upsert_many(connection, "my_events", EVENT, rows, conflict_columns=key) == count
    assert ask.value("SELECT count(*) FROM events") == count
    foreign = [*rows, event(count + 1, organization_id=OTHER_ORGANIZATION)]
    with pytest.raises(PermissionDeniedError):
        copy.upsert_many(connection, "my_events", EVENT, foreign, conflict_columns=key)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"conflict_columns": []}, "columns"),
        ({"conflict_columns": "organization_id"}, "columns"),
        ({"conflict_columns": ["nope"]}, "conflict column nope"),
        ({"conflict_columns": KEY, "update_columns": ["nope"]}, "update column nope"),
        ({"conflict_columns": KEY, "update_columns": ["product_id"]}, "part of the key"),
        ({"conflict_columns": KEY, "update_columns": "quantity"}, "columns"),
    ],
)
def test_keys_that_make_no_sense_are_refused(connection: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        copy.upsert_many(connection, "stock", STOCK, [stock("A", 1)], **options)


def test_a_key_without_a_constraint_is_the_servers_to_refuse(connection: Any) -> None:
    with pytest.raises(QueryError, match="no unique or exclusion constraint"):
        copy.upsert_many(connection, "stock", STOCK, [stock("A", 1)], conflict_columns=["product_id"])


# -- execute_many ----------------------------------------------------------------------------------------------

INSERT = "INSERT INTO stock (organization_id, product_id, quantity, first_seen) VALUES %s"


@pytest.mark.thorough
@pytest.mark.parametrize("count", [1, 2, 256, 5000])
@pytest.mark.parametrize(
    "statement",
    [
        INSERT,
        INSERT + ";",
        INSERT.lower(),
        INSERT.replace("stock", 'public."stock"').replace("product_id", '"product_id"'),
        INSERT + " ON CONFLICT DO NOTHING",
        INSERT + " ON CONFLICT (organization_id, product_id) DO UPDATE SET quantity = EXCLUDED.quantity",
        INSERT + " RETURNING quantity",
        "WITH given (o, p, q, f) AS (VALUES %s) INSERT INTO stock SELECT o::uuid, p, q, f FROM given",
        INSERT + " -- with a comment",
        "/* first */ " + INSERT,
    ],
)
def test_every_way_to_write_an_insert(connection: Any, ask: Asker, statement: str, count: int) -> None:
    rows = [(uuid.UUID(ORGANIZATION), f"P%{number}", Decimal(number) / 2, number) for number in range(count)]
    seen: list[int] = []
    assert copy.execute_many(connection, statement, iter(rows), progress=seen.append) == count
    assert seen[-1] == count
    assert (
        ask.rows("SELECT organization_id, product_id, quantity, first_seen FROM stock ORDER BY first_seen")
        == rows
    )


@pytest.mark.parametrize("others", [0, 3000])
def test_a_counter_counts_every_row(connection: Any, ask: Asker, others: int) -> None:
    """One statement may change a row only once; rows with one key are nevertheless applied one after another."""
    statement = (
        INSERT
        + " ON CONFLICT (organization_id, product_id) DO UPDATE SET quantity = stock.quantity + EXCLUDED.quantity"
    )
    rows = [stock("A", number) for number in (1, 2, 3, 4)] + [stock("B", 5)] + [stock("A", 5)]
    copy.execute_many(connection, statement, padded(rows, others))
    assert ask.rows("SELECT product_id, quantity FROM stock WHERE product_id IN ('A', 'B') ORDER BY 1") == [
        ("A", 15),
        ("B", 5),
    ]
    with pytest.raises(CheckViolationError):
        copy.execute_many(
            connection, statement, padded([stock("A", 1), stock("A", 1), stock("C", -1)], others)
        )


def test_conflicting_pages_of_a_statement_that_is_no_plain_insert(connection: Any, ask: Asker) -> None:
    statement = (
        "INSERT INTO stock SELECT o::uuid, p, q, 0 FROM (VALUES %s) AS v (o, p, q) "
        "ON CONFLICT (organization_id, product_id) DO UPDATE SET quantity = stock.quantity + EXCLUDED.quantity"
    )
    rows = [(ORGANIZATION, "A", number) for number in range(1, 8)]
    assert copy.execute_many(connection, statement, rows, page_size=5) == 7
    assert ask.rows("SELECT quantity FROM stock") == [(28,)]


def test_an_update_from_values(connection: Any, ask: Asker) -> None:
    copy.copy_rows(connection, "anything", ["n", "words"], [(number, "old") for number in range(100)])
    statement = (
        "UPDATE anything SET words = v.words || '%%' FROM (VALUES %s) AS v (n, words) WHERE anything.n = v.n"
    )
    assert copy.execute_many(connection, statement, [(n, f"new {n}") for n in range(50)], page_size=7) == 50
    assert ask.rows("SELECT words FROM anything WHERE n IN (49, 50) ORDER BY n") == [("new 49%",), ("old",)]


@pytest.mark.parametrize("count", [2, 400])
def test_dicts_and_lists_are_written_as_the_column_has_them(connection: Any, ask: Asker, count: int) -> None:
    rows = [({"a": [1]}, [1, 2], [])] * count
    copy.execute_many(connection, "INSERT INTO anything (document, numbers, document_text) VALUES %s", rows)
    assert ask.rows("SELECT DISTINCT document::text, numbers, document_text::text FROM anything") == [
        ('{"a": [1]}', [1, 2], "[]")
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "",
        None,
        5,
        "SELECT 1",
        "INSERT INTO stock VALUES (%s, %s)",
        "INSERT INTO t VALUES %(rows)s",
        "VALUES %s, '5%'",
        "%d",
    ],
)
def test_statements_without_one_place_for_the_rows(connection: Any, statement: Any) -> None:
    with pytest.raises(InvalidInputError, match="one %s"):
        copy.execute_many(connection, statement, [(1,)])


@pytest.mark.parametrize("page_size", [0, -1, 1.5, None, True])
def test_page_sizes_that_are_none(connection: Any, page_size: Any) -> None:
    with pytest.raises(InvalidInputError, match="page_size"):
        copy.execute_many(connection, INSERT, [stock("A", 1)], page_size=page_size)


@pytest.mark.parametrize("rows", [[5], ["ab"], [{"a": 1}], [()], 5, [(object(),)], [("a\0",)], [("\ud800",)]])
def test_rows_of_any_statement_are_checked(connection: Any, rows: Any) -> None:
    with pytest.raises(InvalidInputError):
        copy.execute_many(connection, "UPDATE anything SET words = v.a FROM (VALUES %s) AS v (a)", rows)


def test_unknown_columns_and_tables_of_an_insert(connection: Any) -> None:
    with pytest.raises(UndefinedObjectError, match="did you mean quantity"):
        copy.execute_many(connection, "INSERT INTO stock (quantiti) VALUES %s", [(1,)])
    with pytest.raises(UndefinedObjectError):
        copy.execute_many(connection, "INSERT INTO nowhere (a) VALUES %s", [(1,)])
