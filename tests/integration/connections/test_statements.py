"""execute_query and execute:

values survive a round trip, and invalid ones are refused with the right error.
"""

from __future__ import annotations

import copy
import datetime as dt
import math
import pickle
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg2.extras
import psycopg2.sql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils import DatabaseManager, Json, errors
from tests.integration.connections.conftest import ORGANIZATION

UTC = dt.UTC


def test_rows_are_plain_dicts_in_the_order_of_the_columns(db: DatabaseManager) -> None:
    rows = db.execute_query("SELECT 1 AS b, 'x' AS a UNION ALL SELECT 2, NULL ORDER BY 1")
    assert rows == [{"b": 1, "a": "x"}, {"b": 2, "a": None}]
    assert type(rows) is list
    assert all(type(row) is dict and list(row) == ["b", "a"] for row in rows)


def test_a_statement_without_rows_gives_an_empty_list_and_one_without_a_count_zero(
    db: DatabaseManager,
) -> None:
    assert db.execute_query("SELECT 1 WHERE false") == []
    assert db.execute_query("SET LOCAL work_mem = '4MB'") == []
    assert db.execute("CREATE TEMPORARY TABLE t (a int)") == 0


def test_execute_counts_the_rows_it_touched_and_commits(db: DatabaseManager, library_url: str) -> None:
    assert (
        db.execute("INSERT INTO notes SELECT %s, g, 'x' FROM generate_series(1, 5) AS g", (ORGANIZATION,))
        == 5
    )
    assert db.execute("UPDATE notes SET text = 'y' WHERE note_id > %(n)s", {"n": 3}) == 2
    with DatabaseManager(library_url) as other:
        assert other.execute_query("SELECT count(*) AS n FROM notes WHERE text = 'y'") == [{"n": 2}]
    assert db.execute("DELETE FROM notes") == 5


def test_an_insert_may_return_rows(db: DatabaseManager) -> None:
    sql = "INSERT INTO notes VALUES (%(o)s, 1, 'x') RETURNING note_id, text"
    assert db.execute_query(sql, {"o": ORGANIZATION}) == [{"note_id": 1, "text": "x"}]
    assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 1}]


def test_a_statement_whose_shard_was_split_is_tried_again(db: DatabaseManager) -> None:
    """Citus says so while it plans, and nothing was executed. A sequence counts the tries, for no rollback takes it back."""
    db.execute(
        """
        CREATE SEQUENCE IF NOT EXISTS tries;
        CREATE OR REPLACE FUNCTION planned(failures int, words text, state text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('tries') <= failures THEN
                RAISE EXCEPTION '%', words USING ERRCODE = state;
            END IF;
            RETURN currval('tries');
        END
        $$;
        GRANT USAGE ON SEQUENCE tries TO PUBLIC
        """
    )
    split = ("could not find valid entry for shard 102009", "XX000")

    def afresh() -> None:
        db.execute("ALTER SEQUENCE tries RESTART")

    def tries() -> int:
        return int(db.execute_query("SELECT last_value FROM tries")[0]["last_value"])

    asked = "SELECT planned(%s, %s, %s) AS n"
    for reader in (db, db.tenant(ORGANIZATION)):
        afresh()
        assert reader.execute_query(asked, (3, *split)) == [{"n": 4}]
    afresh()
    written = db.execute("INSERT INTO notes SELECT %s, planned(%s, %s, %s), 'x'", (ORGANIZATION, 2, *split))
    assert (written, db.execute_query("SELECT note_id FROM notes")) == (1, [{"note_id": 3}])

    afresh()
    with pytest.raises(errors.SerializationError, match="run_in_transaction"):
        db.execute_query(asked, (99, *split))
    assert tries() == 6, "the first try and five retries"
    afresh()
    with pytest.raises(errors.SerializationError), db.transaction() as transaction:
        transaction.execute_query(asked, (99, *split))
    assert tries() == 1, (
        "what came before it in the transaction is undone: the whole is the caller's to repeat"
    )
    afresh()
    assert db.run_in_transaction(lambda t: t.execute_query(asked, (2, *split))) == [{"n": 3}]
    for words, state, kind in (
        ("could not serialize access", "40001", errors.SerializationError),
        ("a worker's own fault", "XX000", errors.QueryError),
    ):
        afresh()
        with pytest.raises(kind):
            db.execute_query(asked, (99, words, state))
        assert tries() == 1


def test_percent_signs_are_left_alone_without_parameters_and_doubled_with_them(db: DatabaseManager) -> None:
    assert db.execute_query("SELECT '50%' AS a, '%s' AS b, '%%' AS c") == [{"a": "50%", "b": "%s", "c": "%%"}]
    assert db.execute_query("SELECT '50%%' AS a, %s AS b", (1,)) == [{"a": "50%", "b": 1}]


def test_statements_may_be_composed(db: DatabaseManager) -> None:
    sql = psycopg2.sql.SQL("SELECT 1 AS {}").format(psycopg2.sql.Identifier('we"ird'))
    assert db.execute_query(sql) == [{'we"ird': 1}]


ROUND_TRIPS: list[tuple[str, Any]] = [
    ("int", 42),
    ("bigint", 2**63 - 1),
    ("numeric", Decimal("123456789.000000000001")),
    ("numeric", Decimal("NaN")),
    ("double precision", 0.1),
    ("double precision", float("-inf")),
    ("boolean", True),
    ("text", "naïve 'quoted' \\ \n %s ☃"),
    ("bytea", b"\x00\xff'\\"),
    ("uuid", uuid.UUID("11111111-2222-3333-4444-555555555555")),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(12, 34, 56, 789)),
    ("timestamp", dt.datetime(2024, 2, 29, 12, 34, 56, 789)),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 34, 56, 789, tzinfo=UTC)),
    ("timestamptz", dt.datetime(1, 1, 1, tzinfo=UTC)),
    ("interval", dt.timedelta(days=-3, seconds=5, microseconds=7)),
    ("jsonb", {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}}),
    ("jsonb", {}),
    ("jsonb", [{"a": 1}, {"b": 2}]),
    ("json", {"a": 1}),
    ("int[]", [1, None, 3]),
    ("text[]", ["a", 'b"', "c,d", "", "NULL", None]),
    ("uuid[]", [uuid.UUID(int=1), uuid.UUID(int=2)]),
    ("numeric[]", [Decimal("1.10"), None]),
    ("timestamptz[]", [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    ("date[]", [dt.date(2024, 1, 1)]),
    ("boolean[]", [True, False, None]),
    ("interval[]", [dt.timedelta(minutes=5)]),
    ("bytea[]", [b"\x00", b"x"]),
    ("int[]", []),
    ("int[]", [[1, 2], [3, 4]]),
    ("timetz", dt.time(12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    ("numeric", Decimal("Infinity")),
    ("numeric[]", [Decimal("-Infinity"), Decimal(1)]),
    ("tstzrange", psycopg2.extras.DateTimeTZRange(dt.datetime(2024, 1, 1, tzinfo=UTC), None)),
    ("tstzrange[]", [psycopg2.extras.DateTimeTZRange(None, dt.datetime(2024, 1, 1, tzinfo=UTC), "(]")]),
    ("tsrange", psycopg2.extras.DateTimeRange(dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2))),
    ("daterange", psycopg2.extras.DateRange(dt.date(2024, 1, 1), dt.date(2024, 2, 1))),
    ("int4range", psycopg2.extras.NumericRange(1, 5)),
    ("int8range", psycopg2.extras.NumericRange(empty=True)),
    ("numrange", psycopg2.extras.NumericRange(Decimal("1.5"), None, "()")),
    ("date", dt.date(9999, 12, 31)),
    ("timestamptz", dt.datetime.max.replace(tzinfo=UTC)),
    ("text", None),
]


@pytest.mark.parametrize(("type_name", "value"), ROUND_TRIPS, ids=lambda value: str(value)[:30])
def test_values_come_out_as_they_went_in(db: DatabaseManager, type_name: str, value: Any) -> None:
    rows = db.execute_query(f"SELECT %s::{type_name} AS positional", (value,))
    rows += db.execute_query(f"SELECT %(v)s::{type_name} AS positional", {"v": value})
    for row in rows:
        back = row["positional"]
        assert type(back) is type(value)
        if isinstance(value, Decimal) and value.is_nan():
            assert back.is_nan()
        else:
            assert back == value
        if isinstance(value, dt.datetime) and value.tzinfo is not None:
            assert back.utcoffset() == dt.timedelta(0)


def test_a_value_that_came_out_can_go_straight_back_in(db: DatabaseManager) -> None:
    types = [name for name, _ in ROUND_TRIPS if name != "json"]
    columns = ", ".join(f"%s::{name} AS c{i}" for i, name in enumerate(types))
    first = db.execute_query(f"SELECT {columns}", [value for name, value in ROUND_TRIPS if name != "json"])[0]
    second = db.execute_query(f"SELECT {columns}", list(first.values()))[0]
    assert {key: str(value) for key, value in first.items()} == {
        key: str(value) for key, value in second.items()
    }


@pytest.mark.parametrize(
    ("type_name", "literal"),
    [
        ("timestamptz", "infinity"),
        ("timestamptz", "-infinity"),
        ("timestamp", "-infinity"),
        ("date", "infinity"),
        ("date", "-infinity"),
        ("timestamptz[]", "{infinity,-infinity,NULL}"),
        ("date[]", "{infinity}"),
        ("tstzrange", "[2024-01-01,infinity)"),
        ("daterange", "[-infinity,2024-01-01)"),
        ("numeric", "-Infinity"),
        ("jsonb", "[]"),
        ("jsonb", '[1, "a", null]'),
        ("jsonb", '[[1], {"a": 2}]'),
        ("json", "[1,2]"),
    ],
)
def test_what_python_has_no_plain_word_for_goes_back_in_as_it_came_out(
    db: DatabaseManager, type_name: str, literal: str
) -> None:
    """The server compares, because Python cannot tell infinity from its last moment."""
    read = f"SELECT v, v::text AS text FROM (SELECT %s::{type_name} AS v) AS given"
    first = db.execute_query(read, (literal,))[0]
    second = db.execute_query(read, (first["v"],))[0]
    assert first == second
    with db.transaction() as tx:
        tx.execute(f"CREATE TEMPORARY TABLE came_back (v {type_name}) ON COMMIT DROP")
        tx.copy_rows("came_back", ["v"], [(first["v"],)])
        tx.execute_many("INSERT INTO came_back (v) VALUES %s", [(first["v"],)])
        assert tx.execute_query("SELECT v, v::text AS text FROM came_back") == [first, first]


def test_infinite_times_compare_and_what_is_computed_from_them_is_finite(db: DatabaseManager) -> None:
    row = db.execute_query("SELECT timestamptz 'infinity' AS last, date '-infinity' AS first, now() AS now")[
        0
    ]
    assert row["now"] < row["last"] == dt.datetime.max.replace(tzinfo=UTC)
    assert row["first"] == dt.date.min
    assert copy.deepcopy(row) == pickle.loads(pickle.dumps(row)) == row
    day_before = row["last"] - dt.timedelta(days=1)
    assert db.execute_query("SELECT %s::timestamptz AS v", (day_before,)) == [{"v": day_before}]
    day_after = row["first"] + dt.timedelta(days=1)
    assert db.execute_query("SELECT %s::date AS v", (day_after,)) == [{"v": dt.date(1, 1, 2)}]


def test_values_of_numpy_and_pandas_are_what_they_stand_for(db: DatabaseManager) -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    given_values: list[tuple[str, Any, Any]] = [
        ("float8", numpy.float64(1.5), 1.5),
        ("float8", numpy.float32(1.5), 1.5),
        ("bigint", numpy.int64(2**40), 2**40),
        ("boolean", numpy.bool_(True), True),
        ("text", numpy.str_("x"), "x"),
        ("float8[]", numpy.array([1.5, 2.0]), [1.5, 2.0]),
        ("float8[]", [numpy.float64(1.5), None], [1.5, None]),
        ("timestamptz", pandas.Timestamp("2024-01-01", tz="UTC"), dt.datetime(2024, 1, 1, tzinfo=UTC)),
        ("interval", pandas.Timedelta(hours=1), dt.timedelta(hours=1)),
        ("timestamptz", pandas.NaT, None),
        ("float8", pandas.NA, None),
        ("jsonb", {"rate": numpy.float32(0.5), "n": numpy.int64(3), "gap": pandas.NA, "w": numpy.arange(2)},
         {"rate": 0.5, "n": 3, "gap": None, "w": [0, 1]}),
    ]  # fmt: skip
    for type_name, value, expected in given_values:
        for row in (
            db.execute_query(f"SELECT %s::{type_name} AS v", (value,))[0],
            db.execute_query(f"SELECT %(v)s::{type_name} AS v", {"v": value})[0],
        ):
            assert row["v"] == expected
            assert type(row["v"]) is type(expected)
    with pytest.raises(errors.InvalidInputError, match="no zone"):
        db.execute("SELECT %s", (numpy.datetime64("2024-01-01"),))


def test_a_json_list_of_plain_values_is_marked(db: DatabaseManager) -> None:
    assert db.execute_query("SELECT %s::jsonb AS v", (Json([1, "a"]),)) == [{"v": [1, "a"]}]
    assert db.execute_query("SELECT %s::jsonb[] AS v", ([Json({"a": 1}), Json([2])],)) == [
        {"v": [{"a": 1}, [2]]}
    ]


def test_json_takes_dates_uuids_and_decimals(db: DatabaseManager) -> None:
    value = {
        "at": dt.datetime(2024, 1, 1, tzinfo=UTC),
        "id": uuid.UUID(int=7),
        "n": Decimal("1.5"),
        "i": Decimal(3),
    }
    assert db.execute_query("SELECT %s::jsonb AS v", (value,))[0]["v"] == {
        "at": "2024-01-01T00:00:00+00:00",
        "id": str(uuid.UUID(int=7)),
        "n": 1.5,
        "i": 3,
    }


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
def test_any_json_document_survives(library_url: str, document: Any) -> None:
    manager = _shared(library_url)
    assert manager.execute_query("SELECT %s::jsonb AS v", (Json(document),)) == [{"v": document}]


_managers: dict[str, DatabaseManager] = {}


def _shared(url: str) -> DatabaseManager:
    return _managers.setdefault(url, DatabaseManager(url, max_connections=1))


BAD_INPUT: list[tuple[str, str, Any, type[Exception]]] = [
    ("too few", "SELECT %s, %s", (1,), errors.InvalidInputError),
    ("too many", "SELECT %s", (1, 2), errors.InvalidInputError),
    ("none for a placeholder", "SELECT %s AS a", None, errors.QueryError),
    ("missing name", "SELECT %(a)s", {"b": 1}, errors.InvalidInputError),
    ("positional for names", "SELECT %(a)s", (1,), errors.InvalidInputError),
    ("names for positional", "SELECT %s", {"a": 1}, errors.InvalidInputError),
    ("bare percent", "SELECT '50%' || %s", ("x",), errors.InvalidInputError),
    ("a string is no list", "SELECT %s", "abc", errors.InvalidInputError),
    ("a number is no list", "SELECT %s", 5, errors.InvalidInputError),
    ("unknown type", "SELECT %s", (object(),), errors.InvalidInputError),
    ("NUL", "SELECT %s", ("a\0b",), errors.InvalidInputError),
    ("NUL in JSON", "SELECT %s::jsonb", ({"a": "\0"},), errors.InvalidDataError),
    ("lone surrogate", "SELECT %s", ("\ud800",), errors.InvalidInputError),
    ("NaN in JSON", "SELECT %s::jsonb", ({"a": math.nan},), errors.InvalidInputError),
    ("object in JSON", "SELECT %s::jsonb", ({"a": object()},), errors.InvalidInputError),
    ("malformed uuid", "SELECT %s::uuid", ("no",), errors.InvalidDataError),
    ("number out of range", "SELECT %s::int", (2**40,), errors.InvalidDataError),
    ("division by zero", "SELECT 1 / 0", None, errors.InvalidDataError),
    ("no such table", "SELECT * FROM nowhere", None, errors.UndefinedObjectError),
    ("no such column", "SELECT nothing FROM notes", None, errors.UndefinedObjectError),
    ("no such function", "SELECT nothing()", None, errors.UndefinedObjectError),
    ("no such schema", "SELECT nowhere.nothing()", None, errors.UndefinedObjectError),
    ("syntax", "SELEKT 1", None, errors.QueryError),
    ("empty", "", None, errors.InvalidInputError),
    ("only a comment", "-- nothing", None, errors.InvalidInputError),
    ("no text", None, None, errors.InvalidInputError),
    ("bytes", b"SELECT 1", None, errors.InvalidInputError),
    ("check", f"INSERT INTO notes VALUES ('{ORGANIZATION}', 1, '')", None, errors.CheckViolationError),
    ("not null", f"INSERT INTO notes VALUES ('{ORGANIZATION}', 1, NULL)", None, errors.NotNullViolationError),
    ("COPY", "COPY notes FROM STDIN", None, errors.InvalidInputError),
    ("BEGIN", "BEGIN", None, errors.TransactionStateError),
]


BAD_ROWS: list[tuple[str, str, Any, type[Exception]]] = [
    ("two columns of one name", "SELECT 1 AS a, 2 AS a", None, errors.InvalidInputError),
    ("two columns of one name, no rows", "SELECT 1 AS a, 2 AS a WHERE false", None, errors.InvalidInputError),
    ("a year Python has not", "SELECT timestamptz '20000-01-01'", None, errors.InvalidDataError),
    ("before Christ", "SELECT date '0044-03-15 BC'", None, errors.InvalidDataError),
]
CASES = [(verb, *row) for verb in ("execute_query", "execute") for row in BAD_INPUT]
CASES += [("execute_query", *row) for row in BAD_ROWS]


@pytest.mark.parametrize(
    ("verb", "sql", "parameters", "kind"),
    [(verb, *row) for verb, _, *row in CASES],
    ids=[f"{verb}: {name}" for verb, name, *_ in CASES],
)
def test_bad_input_gives_the_right_error_and_leaves_the_pool_whole(
    manager_with: Callable[..., DatabaseManager], verb: str, sql: Any, parameters: Any, kind: type[Exception]
) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.2)
    with pytest.raises(kind) as caught:
        getattr(db, verb)(sql, parameters)
    assert isinstance(caught.value, errors.DbUtilsError)
    assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
    assert db.pool_stats().in_use == 0


def test_a_statement_is_not_cut_off_at_a_nul(db: DatabaseManager) -> None:
    """The driver would send `DELETE FROM notes`."""
    db.execute("INSERT INTO notes SELECT %s, g, 'x' FROM generate_series(1, 3) AS g", (ORGANIZATION,))
    with pytest.raises(errors.InvalidInputError, match="NUL"):
        db.execute("DELETE FROM notes\0 WHERE note_id = 1")
    with pytest.raises(errors.InvalidInputError, match="NUL"):
        db.tenant(ORGANIZATION).execute("DELETE FROM notes\0 WHERE note_id = %s", (1,))
    with pytest.raises(errors.InvalidInputError, match="NUL"):
        db.read_frame("SELECT note_id FROM notes\0 WHERE note_id = 1")
    assert db.execute_query("SELECT count(*)::int AS n FROM notes") == [{"n": 3}]


def test_an_error_names_what_it_is_about_and_keeps_row_values_out_of_its_message(db: DatabaseManager) -> None:
    db.execute("INSERT INTO notes VALUES (%s, 1, 'confidential')", (ORGANIZATION,))
    with pytest.raises(errors.UniqueViolationError) as caught:
        db.execute("INSERT INTO notes VALUES (%s, 1, 'confidential')", (ORGANIZATION,))
    error = caught.value
    assert (error.sqlstate, error.table, error.constraint) == ("23505", "notes", "notes_pkey")
    assert error.detail is not None
    assert ORGANIZATION in error.detail
    assert ORGANIZATION not in str(error)
    assert str(error).endswith(": there already is a row with this note_id: use another, or change that row")
    assert error.__cause__ is not None


def test_times_are_utc_whatever_the_server_and_the_process_think(
    db: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        name = cursor.fetchone()[0]
    db.execute(
        psycopg2.sql.SQL("ALTER DATABASE {} SET TimeZone = 'Asia/Tehran'").format(
            psycopg2.sql.Identifier(name)
        )
    )
    db.execute(
        psycopg2.sql.SQL("ALTER DATABASE {} SET IntervalStyle = 'iso_8601'").format(
            psycopg2.sql.Identifier(name)
        )
    )
    try:
        with DatabaseManager(settings=db.settings) as fresh:
            row = fresh.execute_query(
                "SELECT now() AS t, date_trunc('day', timestamptz '2024-07-01 22:00+00') AS d, interval '90 "
                "min' AS i"
            )[0]
    finally:
        db.execute(psycopg2.sql.SQL("ALTER DATABASE {} RESET ALL").format(psycopg2.sql.Identifier(name)))
    assert row["t"].utcoffset() == dt.timedelta(0)
    assert row["d"] == dt.datetime(2024, 7, 1, tzinfo=UTC)
    assert row["i"] == dt.timedelta(minutes=90)


def test_other_users_of_the_driver_notice_nothing(db: DatabaseManager, library_url: str) -> None:
    assert db.execute_query("SELECT '\\x00'::bytea AS b")[0]["b"] == b"\x00"
    connection = psycopg2.connect(library_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT '\\x00'::bytea, '11111111-1111-1111-1111-111111111111'::uuid")
            data, identifier = cursor.fetchone()
            assert type(data) is memoryview
            assert type(identifier) is str
            with pytest.raises(psycopg2.ProgrammingError, match="dict"):
                cursor.execute("SELECT %s", ({},))
    finally:
        connection.close()


def test_what_an_iterable_raises_is_raised_as_it_is(db: DatabaseManager) -> None:
    class OwnError(LookupError):
        pass

    def rows() -> Iterator[tuple[Any, ...]]:
        yield (ORGANIZATION, 1, "x")
        raise OwnError("not yours to translate")

    columns = ["organization_id", "note_id", "text"]
    for load in (
        lambda: db.copy_rows("notes", columns, rows()),
        lambda: db.execute_many("INSERT INTO notes (organization_id, note_id, text) VALUES %s", rows()),
        lambda: db.upsert_many("notes", columns, rows(), conflict_columns=columns[:2]),
    ):
        with pytest.raises(OwnError, match="not yours"):
            load()
        assert db.execute_query("SELECT count(*) AS n FROM notes") == [{"n": 0}]
        assert db.pool_stats().in_use == 0
