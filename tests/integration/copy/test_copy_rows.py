"""Rows into tables and views: any iterable, any value, all or nothing."""

from __future__ import annotations

import datetime as dt
import enum
import math
import tracemalloc
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2.extras
import pytest

from db_utils import copy
from db_utils.errors import (
    CheckViolationError,
    ForeignKeyViolationError,
    InvalidDataError,
    InvalidInputError,
    NotNullViolationError,
    PermissionDeniedError,
    TransactionStateError,
    UndefinedObjectError,
    UniqueViolationError,
)
from db_utils.values import Json, JsonList
from tests.integration.copy.conftest import ORGANIZATION, OTHER_ORGANIZATION, RESOURCE, Asker

EVENT = [
    "organization_id",
    "time",
    "event_id",
    "resource_id",
    "event_type",
    "quantity",
    "quality_score",
    "metadata",
]
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def event(number: int, **changes: Any) -> tuple[Any, ...]:
    row = {
        "organization_id": ORGANIZATION,
        "time": START + dt.timedelta(minutes=number),
        "event_id": number,
        "resource_id": uuid.UUID(RESOURCE),
        "event_type": "production",
        "quantity": Decimal(number) / 4,
        "quality_score": 99.5,
        "metadata": {"batch": f"B-{number}"},
    }
    return tuple({**row, **changes}.values())


class Mood(enum.StrEnum):
    CALM = "calm"


class Level(enum.Enum):
    LOW = 1


AMSTERDAM = dt.timezone(dt.timedelta(hours=1))

VALUES = [
    ("n", 2**63 - 1, 2**63 - 1),
    ("n", True, "error"),
    ("whole", 5.0, 5),
    ("whole", Decimal("7.00"), 7),
    ("whole", Level.LOW, 1),
    ("real_number", 0.5, 0.5),
    ("float_number", 0.1 + 0.2, 0.1 + 0.2),
    ("float_number", 5e-324, 5e-324),
    ("float_number", math.inf, math.inf),
    ("float_number", 3, 3.0),
    ("exact", Decimal("1E+20"), Decimal(10) ** 20),
    ("exact", Decimal("-0.000000000000000000000000000001"), Decimal("-1e-30")),
    ("exact", 0.1, Decimal("0.1")),
    ("truth", True, True),
    ("truth", False, False),
    ("words", "", ""),
    ("words", "\\N", "\\N"),
    ("words", "\\.", "\\."),
    ("words", "tab\tnewline\ncarriage\rback\\slash", "tab\tnewline\ncarriage\rback\\slash"),
    ("words", "سلام 🏭", "سلام 🏭"),
    ("words", 5, "5"),
    ("words", uuid.UUID(RESOURCE), RESOURCE),
    (
        "moment",
        dt.datetime(2026, 3, 1, 12, 30, 0, 123456, AMSTERDAM),
        dt.datetime(2026, 3, 1, 11, 30, 0, 123456, dt.UTC),
    ),
    ("moment", "2026-03-01 12:00+00", dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)),
    ("wall_time", dt.datetime(2026, 3, 1, 12), dt.datetime(2026, 3, 1, 12)),
    ("day", dt.date(1, 1, 1), dt.date(1, 1, 1)),
    ("hour", dt.time(23, 59, 59, 999999), dt.time(23, 59, 59, 999999)),
    ("span", dt.timedelta(days=-2, hours=3, microseconds=7), dt.timedelta(days=-2, hours=3, microseconds=7)),
    ("identifier", uuid.UUID(int=0), uuid.UUID(int=0)),
    ("identifier", RESOURCE, uuid.UUID(RESOURCE)),
    (
        "document",
        {"a": [1, None, "x\\y\n"], "when": dt.date(2026, 1, 2)},
        {"a": [1, None, "x\\y\n"], "when": "2026-01-02"},
    ),
    ("document", [1, 2], [1, 2]),
    ("document", [], []),
    ("document", '{"as": "text"}', {"as": "text"}),
    ("document", Json("a string"), "a string"),
    ("document", psycopg2.extras.Json([True]), [True]),
    ("document", True, True),
    ("document", 1.5, 1.5),
    ("document", uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ("document_text", {"b": 1}, {"b": 1}),
    ("blob", b"\x00\xff\\", b"\x00\xff\\"),
    ("blob", bytearray(b"ab"), b"ab"),
    ("feeling", Mood.CALM, "calm"),
    ("share", 50, Decimal(50)),
    ("numbers", [1, None, 3], [1, None, 3]),
    ("numbers", [], []),
    ("numbers", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ("texts", ("a,b", 'quote"', "back\\", "", "NULL", "{}"), ["a,b", 'quote"', "back\\", "", "NULL", "{}"]),
    ("moments", [START], [START]),
    ("documents", [{"a": 1}, [2]], [{"a": 1}, [2]]),
    ("identifiers", [uuid.UUID(int=2)], [uuid.UUID(int=2)]),
    ("period", psycopg2.extras.DateTimeTZRange(START, None), psycopg2.extras.DateTimeTZRange(START, None)),
    ("period", psycopg2.extras.DateTimeTZRange(empty=True), psycopg2.extras.DateTimeTZRange(empty=True)),
    *[(column, None, None) for column in ("words", "whole", "moment", "document", "numbers", "blob")],
]


@pytest.mark.parametrize(("column", "given", "expected"), VALUES)
def test_a_value_goes_in_as_it_is_meant(
    connection: Any, ask: Asker, column: str, given: Any, expected: Any
) -> None:
    if expected == "error":
        with pytest.raises(InvalidDataError):
            copy.copy_rows(connection, "anything", [column], [(given,)])
        return
    # alone, next to NULL, next to another type (value by value), and in a long column: four paths through the encoder
    rows = [(given,), (None,), (given,), *([(given,)] * 300)]
    assert copy.copy_rows(connection, "anything", [column], rows) == 303
    found = [row[0] for row in ask.rows(f"SELECT {column} FROM anything")]
    assert found.count(expected) == (303 if expected is None else 302)
    assert set(map(type, found)) <= {type(expected), JsonList, type(None)}
    assert type(expected) is list or JsonList not in map(type, found)


BAD_VALUES = [
    ("words", "a\0b", "NUL"),
    ("words", "\ud800", "UTF-8"),
    ("words", object(), "object"),
    ("words", b"bytes", "bytes"),
    ("words", [1], "list"),
    ("whole", 1.5, "fraction"),
    ("whole", math.nan, "NaN"),
    ("whole", Decimal("0.1"), "fraction"),
    ("exact", Decimal("sNaN"), "NaN"),
    ("moment", dt.datetime(2026, 1, 1), "time zone"),
    ("moment", dt.date(2026, 1, 1), "time zone"),
    ("moments", [dt.datetime(2026, 1, 1)], "time zone"),
    ("wall_time", START, "time zone"),
    ("document", {"a": math.nan}, "JSON"),
    ("document", {"a": object()}, "JSON"),
    ("document", {1: {2, "x"}}, ""),
]


@pytest.mark.parametrize(("column", "value", "word"), BAD_VALUES)
def test_a_value_that_cannot_be_sent_is_named_by_row_and_column(
    connection: Any, ask: Asker, column: str, value: Any, word: str
) -> None:
    rows = [(1, None)] * 700 + [(2, value)] + [(3, None)]
    with pytest.raises(InvalidInputError, match=rf"^row 701, column {column}: .*{word}"):
        copy.copy_rows(connection, "anything", ["n", column], rows)
    connection.rollback()
    assert ask.value("SELECT count(*) FROM anything") == 0


BAD_ROWS = [
    ((1,), "1 values for 2 columns"),
    ((1, 2, 3), "3 values for 2 columns"),
    ("ab", "not str"),
    (5, "not int"),
    (None, "not NoneType"),
    ({1, 2}, "order"),
    ({"n": 1}, "no value"),
    (iter((1, 2)), "not tuple_iterator"),
]


@pytest.mark.parametrize(("row", "words"), BAD_ROWS)
def test_a_row_that_is_no_row_is_refused(connection: Any, row: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^row 2\b.*{words}"):
        copy.copy_rows(connection, "anything", ["n", "words"], [(1, "a"), row])


def test_rows_may_be_dicts_lists_and_rows_of_other_libraries(connection: Any, ask: Asker) -> None:
    import collections

    pair = collections.namedtuple("pair", "n words")
    rows = [{"words": "a", "n": 1, "more": 0}, [2, "b"], pair(3, "c"), range(4, 6)]
    assert copy.copy_rows(connection, "anything", ["n", "words"], rows) == 4
    assert ask.rows("SELECT n, words FROM anything ORDER BY n") == [(1, "a"), (2, "b"), (3, "c"), (4, "5")]


@pytest.mark.thorough
def test_a_generator_is_read_while_the_server_loads(connection: Any, ask: Asker) -> None:
    """250,000 rows are never in memory at once: that would take more than 20 MB."""

    def rows() -> Iterator[tuple[int, str]]:
        for number in range(250_000):
            yield number, f"row {number}"

    copy.copy_rows(connection, "anything", ["n", "words"], [(0, "")] * 200_000)  # imports what it needs
    ask.run("TRUNCATE anything")
    tracemalloc.start()
    try:
        assert copy.copy_rows(connection, "anything", ["n", "words"], rows()) == 250_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    assert ask.rows("SELECT count(*), sum(n), min(words) FROM anything") == [
        (250_000, 250_000 * 249_999 // 2, "row 0")
    ]


def test_nothing_is_nothing(connection: Any, ask: Asker) -> None:
    assert copy.copy_rows(connection, "anything", ["n"], []) == 0
    assert copy.copy_rows(connection, "my_events", EVENT, iter(())) == 0
    assert copy.upsert_many(connection, "stock", ["product_id"], [], conflict_columns=["product_id"]) == 0
    assert copy.execute_many(connection, "INSERT INTO anything (n) VALUES %s", []) == 0
    assert copy.execute_many(connection, "UPDATE anything SET n = v.n FROM (VALUES %s) AS v (n)", []) == 0


class Interruption(BaseException):
    pass


@pytest.mark.parametrize("failure", [RuntimeError("the source broke"), Interruption(), KeyboardInterrupt()])
@pytest.mark.parametrize("rows_before", [0, 10, 150_000])
def test_what_the_iterable_raises_is_raised_and_nothing_stays(
    connection: Any, ask: Asker, failure: BaseException, rows_before: int
) -> None:
    def rows() -> Iterator[tuple[int]]:
        for number in range(rows_before):
            yield (number,)
        raise failure

    with pytest.raises(type(failure)) as caught:
        copy.copy_rows(connection, "anything", ["n"], rows())
    assert caught.value is failure
    connection.rollback()
    assert ask.value("SELECT count(*) FROM anything") == 0


def test_a_bad_row_is_noticed_long_before_the_end(connection: Any) -> None:
    taken = 0

    def rows() -> Iterator[tuple[str]]:
        nonlocal taken
        for _ in range(3_000_000):
            taken += 1
            yield ("not a number" if taken == 5 else "1",)

    with pytest.raises(InvalidDataError, match=r"^row 5, column n: "):
        copy.copy_rows(connection, "anything", ["n"], rows())
    assert taken < 150_000


def test_the_number_of_the_row_counts_from_the_first(connection: Any) -> None:
    rows = [(number, "calm") for number in range(130_000)]
    rows[123_456] = (1, "angry")
    with pytest.raises(InvalidDataError, match=r"^row 123457, column feeling: .*angry"):
        copy.copy_rows(connection, "anything", ["n", "feeling"], rows)


@pytest.mark.parametrize("through_temporary_table", [False, True])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (event(3), UniqueViolationError),
        (event(9, resource_id=OTHER_ORGANIZATION), ForeignKeyViolationError),
        (event(9, quality_score=101), CheckViolationError),
        (event(9, event_type=None), NotNullViolationError),
        (event(9, quantity="many"), InvalidDataError),
        (event(9, quality_score=12345), InvalidDataError),
    ],
)
def test_what_the_server_refuses_is_typed(
    connection: Any, ask: Asker, bad: tuple[Any, ...], error: type[Exception], through_temporary_table: bool
) -> None:
    rows = [event(number) for number in range(6)] + [bad]
    with pytest.raises(error):
        copy.copy_rows(connection, "events", EVENT, rows, through_temporary_table=through_temporary_table)
    connection.rollback()
    assert ask.value("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize("count", [5, 5000])
def test_a_view_is_loaded_through_a_temporary_table(connection: Any, ask: Asker, count: int) -> None:
    assert copy.copy_rows(connection, "my_events", EVENT, [event(number) for number in range(count)]) == count
    assert ask.rows("SELECT count(*), sum(quantity), min(metadata ->> 'batch') FROM events") == [
        (count, Decimal(count * (count - 1)) / 8, "B-0")
    ]
    foreign = [event(count + 1), event(count + 2, organization_id=OTHER_ORGANIZATION)]
    with pytest.raises(PermissionDeniedError):
        copy.copy_rows(connection, "my_events", EVENT, foreign)


@pytest.mark.parametrize("name", ['"Odd Schema"."Odd ""Table"', '  "Odd Schema" . "Odd ""Table" '])
@pytest.mark.parametrize("through_temporary_table", [False, True])
@pytest.mark.parametrize("count", [1, 300])
def test_odd_names(connection: Any, ask: Asker, name: str, through_temporary_table: bool, count: int) -> None:
    loaded = copy.copy_rows(
        connection,
        name,
        ['a "column', "from", "{b}", "100%"],
        [(1, "x", "%s", "{}")] * count,
        through_temporary_table=through_temporary_table,
    )
    assert loaded == count
    assert ask.rows(f"SELECT DISTINCT * FROM {name}") == [(1, "x", "%s", "{}")]


def test_names_are_found_as_sql_finds_them(connection: Any, ask: Asker) -> None:
    assert copy.copy_rows(connection, "ANYTHING", ["n"], [(1,)]) == 1
    assert copy.copy_rows(connection, "public.anything", ["n"], [(1,)]) == 1
    ask.run("CREATE TEMPORARY TABLE anything (n int) ON COMMIT DROP")
    assert copy.copy_rows(connection, "anything", ["n"], [(1,)]) == 1
    assert ask.value("SELECT count(*) FROM public.anything") == 2
    ask.run('SET LOCAL search_path = "Odd Schema"')
    with pytest.raises(UndefinedObjectError):
        copy.copy_rows(connection, "events", ["n"], [(1,)])


@pytest.mark.parametrize(
    "table", ["nowhere", "tenant.nowhere", "x; DROP TABLE events", '"', "a.b.c.d", "a..b", "1", "é"]
)
def test_a_table_that_is_not_there(connection: Any, table: str) -> None:
    with pytest.raises(UndefinedObjectError):
        copy.copy_rows(connection, table, ["n"], [(1,)])


@pytest.mark.parametrize("table", ["", " ", None, 5, b"events", "a\0"])
def test_a_table_that_is_no_name(connection: Any, table: Any) -> None:
    with pytest.raises(InvalidInputError):
        copy.copy_rows(connection, table, ["n"], [(1,)])


def test_an_index_is_no_table(connection: Any) -> None:
    with pytest.raises(InvalidInputError, match="not a table or view"):
        copy.copy_rows(connection, "resources_pkey", ["name"], [("a",)])


def test_a_column_that_is_not_there_is_guessed(connection: Any) -> None:
    with pytest.raises(UndefinedObjectError, match="did you mean quality_score"):
        copy.copy_rows(connection, "events", ["qualty_score"], [(1,)])
    with pytest.raises(UndefinedObjectError, match="it has organization_id, resource_id, name"):
        copy.copy_rows(connection, "resources", ["zzz"], [(1,)])


@pytest.mark.parametrize("columns", [[], "n", ["n", "n"], [1], [""], None, ["a\0"], {"n"}])
def test_columns_that_are_no_list_of_names(connection: Any, columns: Any) -> None:
    with pytest.raises(InvalidInputError):
        copy.copy_rows(connection, "anything", columns, [(1,)])


@pytest.mark.parametrize("rows", [None, 5, object()])
def test_rows_that_are_no_iterable(connection: Any, rows: Any) -> None:
    with pytest.raises(InvalidInputError, match="iterable"):
        copy.copy_rows(connection, "anything", ["n"], rows)


def test_progress_rises_to_the_number_of_rows(connection: Any) -> None:
    for count, table in ((30_000, "events"), (30_000, "my_events"), (3, "my_events")):
        seen: list[int] = []
        rows = (event(number) for number in range(count))
        assert copy.copy_rows(connection, table, EVENT, rows, progress=seen.append) == count
        assert seen == sorted(set(seen))
        assert seen[-1] == count
        connection.rollback()


def test_a_progress_that_raises_ends_the_load(connection: Any, ask: Asker) -> None:
    def stop(count: int) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        copy.copy_rows(connection, "anything", ["n"], [(1,)] * 1000, progress=stop)
    connection.rollback()
    assert ask.value("SELECT count(*) FROM anything") == 0


def test_an_identity_that_is_given_is_kept(connection: Any, ask: Asker) -> None:
    for through_temporary_table in (False, True):
        for count in (1, 300):
            rows = [(1000 + number, "a") for number in range(count)]
            copy.copy_rows(
                connection,
                "counted",
                ["counted_id", "words"],
                rows,
                through_temporary_table=through_temporary_table,
            )
            assert ask.rows("SELECT min(counted_id), max(counted_id), min(doubled) FROM counted") == [
                (1000, 999 + count, "aa")
            ]
            connection.rollback()


def test_the_transaction_is_the_callers(connection: Any, bulk_url: str) -> None:
    copy.copy_rows(connection, "my_events", EVENT, [event(number) for number in range(400)])
    with psycopg2.connect(bulk_url) as other, other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events")
        assert cursor.fetchone() == (0,)
    other.close()
    assert connection.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_INTRANS


def test_without_a_transaction_it_is_refused(connection: Any) -> None:
    connection.autocommit = True
    with pytest.raises(TransactionStateError):
        copy.copy_rows(connection, "anything", ["n"], [(1,)])


def test_temporary_tables_are_gone_before_the_transaction_ends(connection: Any, ask: Asker) -> None:
    for _ in range(3):
        copy.copy_rows(connection, "my_events", EVENT, [event(number) for number in range(300)])
        ask.run("TRUNCATE events")
    assert ask.rows("SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'") == []


def test_another_encoding_and_cursor_of_the_connection_do_not_matter(connection: Any, ask: Asker) -> None:
    connection.set_client_encoding("LATIN1")
    connection.cursor_factory = psycopg2.extras.RealDictCursor
    for through_temporary_table in (False, True):
        copy.copy_rows(
            connection,
            "anything",
            ["words"],
            [("é 🏭",)] * 2,
            through_temporary_table=through_temporary_table,
        )
    connection.commit()  # changing the encoding rolls back
    connection.cursor_factory = None
    connection.set_client_encoding("UTF8")
    assert ask.rows("SELECT DISTINCT words FROM anything") == [("é 🏭",)]
    ask.run("TRUNCATE anything")
    connection.commit()
