"""Query results as frames: the right types, the same through ADBC and on the caller's own connection."""

from __future__ import annotations

import datetime as dt
import math
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from db_utils.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    InvalidDataError,
    InvalidInputError,
    PermissionDeniedError,
    QueryError,
    QueryTimeoutError,
    ReadOnlyError,
    UndefinedObjectError,
)
from tests.integration.copy.conftest import Asker

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("adbc_driver_postgresql")

from db_utils import dataframes  # noqa: E402

Read = Callable[..., Any]
UUID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
MOMENT = dt.datetime(2026, 3, 1, 11, 30, 0, 123456, dt.UTC)


@pytest.fixture(params=["apart", "inside"])
def read(request: pytest.FixtureRequest, bulk_url: str, connection: Any) -> Read:
    """read_frame on a separate connection, and on the test's."""

    def call(sql: str, params: Any = None, **options: Any) -> Any:
        uri = bulk_url if request.param == "apart" else None
        return dataframes.read_frame(uri, sql, params, connection=connection, **options)

    return call


ROW = """
SELECT
    v.n,
    CASE WHEN v.n = 1 THEN true END AS truth,
    CASE WHEN v.n = 1 THEN 7::smallint END AS small,
    CASE WHEN v.n = 1 THEN 8 END AS whole,
    CASE WHEN v.n = 1 THEN 9::bigint END AS big,
    CASE WHEN v.n = 1 THEN 0.5::real END AS real_number,
    CASE WHEN v.n = 1 THEN 0.1::double precision END AS float_number,
    CASE WHEN v.n = 1 THEN 12345678901234567890.50 END AS exact,
    CASE WHEN v.n = 1 THEN 'سلام'::text END AS words,
    CASE WHEN v.n = 1 THEN 'ab'::char(3) END AS padded,
    CASE WHEN v.n = 1 THEN '2026-03-01 12:30:00.123456+01'::timestamptz END AS moment,
    CASE WHEN v.n = 1 THEN '2026-03-01 12:30:00'::timestamp END AS wall_time,
    CASE WHEN v.n = 1 THEN '0001-01-01'::date END AS day,
    CASE WHEN v.n = 1 THEN '23:59:59.999999'::time END AS hour,
    CASE WHEN v.n = 1 THEN '1 month 2 days 03:00:00.5'::interval END AS span,
    CASE WHEN v.n = 1 THEN '01234567-89ab-cdef-0123-456789abcdef'::uuid END AS identifier,
    CASE WHEN v.n = 1 THEN '{"a": [1]}'::jsonb END AS document,
    CASE WHEN v.n = 1 THEN '{"a":  1}'::json END AS document_text,
    CASE WHEN v.n = 1 THEN '\\x00ff'::bytea END AS blob,
    CASE WHEN v.n = 1 THEN 'calm'::mood END AS feeling,
    CASE WHEN v.n = 1 THEN ARRAY[1, NULL, 3] END AS numbers,
    CASE WHEN v.n = 1 THEN ARRAY['a', NULL, 'b,c'] END AS texts,
    CASE WHEN v.n = 1 THEN ARRAY[1.5, NULL] END AS exacts,
    CASE WHEN v.n = 1 THEN ARRAY['01234567-89ab-cdef-0123-456789abcdef'::uuid, NULL] END AS identifiers,
    CASE WHEN v.n = 1 THEN ARRAY['2026-03-01 11:30:00.123456+00'::timestamptz] END AS moments,
    CASE WHEN v.n = 1 THEN int4range(1, 5) END AS span_of_numbers,
    CASE WHEN v.n = 1 THEN '10.0.0.1'::inet END AS address,
    CASE WHEN v.n = 1 THEN 12.5::money END AS price
FROM (VALUES (1), (2)) AS v (n)
ORDER BY v.n
"""
EXPECTED = {
    "n": (pa.int32(), 1),
    "truth": (pa.bool_(), True),
    "small": (pa.int16(), 7),
    "whole": (pa.int32(), 8),
    "big": (pa.int64(), 9),
    "real_number": (pa.float32(), 0.5),
    "float_number": (pa.float64(), 0.1),
    "exact": (pa.float64(), 12345678901234567890.5),
    "words": (pa.string(), "سلام"),
    "padded": (pa.string(), "ab "),
    "moment": (pa.timestamp("us", "UTC"), MOMENT),
    "wall_time": (pa.timestamp("us"), dt.datetime(2026, 3, 1, 12, 30)),
    "day": (pa.date32(), dt.date(1, 1, 1)),
    "hour": (pa.time64("us"), dt.time(23, 59, 59, 999999)),
    "span": (pa.duration("us"), dt.timedelta(days=32, hours=3, milliseconds=500)),
    "identifier": (pa.uuid(), UUID),
    "document": (pa.string(), '{"a": [1]}'),
    "document_text": (pa.string(), '{"a":  1}'),
    "blob": (pa.binary(), b"\x00\xff"),
    "feeling": (pa.string(), "calm"),
    "numbers": (pa.list_(pa.int32()), [1, None, 3]),
    "texts": (pa.list_(pa.string()), ["a", None, "b,c"]),
    "exacts": (pa.list_(pa.float64()), [1.5, None]),
    "identifiers": (pa.list_(pa.string()), [str(UUID), None]),
    "moments": (pa.list_(pa.timestamp("us", "UTC")), [MOMENT]),
    "span_of_numbers": (pa.string(), "[1,5)"),
    "address": (pa.string(), "10.0.0.1"),
    "price": (pa.string(), "$12.50"),
}


def test_every_type_as_arrow(read: Read, ask: Asker) -> None:
    table = read(ROW, backend="arrow")
    assert table.column_names == list(EXPECTED)
    first, second = table.to_pylist()
    price = ask.value("SELECT 12.5::money::text")
    for name, (kind, value) in EXPECTED.items():
        assert table.schema.field(name).type == kind, name
        assert first[name] == (price if name == "price" else value), name
        assert second[name] == (2 if name == "n" else None), name


def test_every_type_as_pandas(read: Read) -> None:
    frame = read(ROW)
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert {name: kinds[name] for name in list(EXPECTED)[:15]} == {
        "n": "int32",
        "truth": "boolean",
        "small": "Int16",
        "whole": "Int32",
        "big": "Int64",
        "real_number": "float32",
        "float_number": "float64",
        "exact": "float64",
        "words": kinds["feeling"],
        "padded": kinds["feeling"],
        "moment": "datetime64[us, UTC]",
        "wall_time": "datetime64[us]",
        "day": kinds["day"],
        "hour": "object",
        "span": "timedelta64[us]",
    }
    assert kinds["day"].startswith("datetime64[")
    assert list(frame.columns) == list(EXPECTED)
    row = frame.iloc[0]
    assert row["moment"].to_pydatetime() == MOMENT
    assert row["identifier"] == str(UUID)
    assert row["document"] == '{"a": [1]}'
    assert list(row["texts"]) == ["a", None, "b,c"]
    assert row["span"] == dt.timedelta(days=32, hours=3, milliseconds=500)
    assert row["day"] == pd.Timestamp("0001-01-01").as_unit("s")
    assert frame.iloc[1].isna().sum() == len(EXPECTED) - 1


def test_every_type_as_polars(read: Read) -> None:
    frame = read(ROW, backend="polars")
    assert frame.columns == list(EXPECTED)
    assert frame.schema["moment"] == pl.Datetime("us", "UTC")
    assert frame.schema["identifier"] == pl.String
    assert frame.schema["document"] == pl.String
    assert frame.schema["exact"] == pl.Float64
    assert frame.schema["span"] == pl.Duration("us")
    assert frame.schema["identifiers"] == pl.List(pl.String)
    first = frame.row(0, named=True)
    assert (first["moment"], first["identifier"], first["numbers"]) == (MOMENT, str(UUID), [1, None, 3])
    assert [value for name, value in frame.row(1, named=True).items() if name != "n"] == [None] * (
        len(EXPECTED) - 1
    )


def test_exact_decimals(read: Read) -> None:
    sql = "SELECT v.d FROM (VALUES (1.5), (-12345678901234567890.000001), (NULL)) AS v (d)"
    table = read(sql, backend="arrow", decimals="decimal")
    assert table.schema.field("d").type == pa.decimal128(38, 6)
    assert table["d"].to_pylist() == [Decimal("1.500000"), Decimal("-12345678901234567890.000001"), None]
    assert read(sql, decimals="decimal")["d"].tolist()[:2] == table["d"].to_pylist()[:2]
    assert read(sql, backend="polars", decimals="decimal")["d"].to_list() == table["d"].to_pylist()
    wide = read("SELECT 1e50::numeric AS d", backend="arrow", decimals="decimal")
    assert wide["d"].to_pylist() == [Decimal(10) ** 50]
    assert read("SELECT ARRAY[1.50, NULL] AS d", backend="arrow", decimals="decimal")["d"].to_pylist() == [
        [Decimal("1.50"), None]
    ]
    assert read("SELECT NULL::numeric AS d", backend="arrow", decimals="decimal")["d"].to_pylist() == [None]
    for value in ("NaN", "Infinity"):
        assert repr(read(f"SELECT '{value}'::numeric AS d", backend="arrow")["d"].to_pylist()[0]) == repr(
            float(value)
        )
        with pytest.raises(InvalidDataError, match="decimals='float'"):
            read(f"SELECT '{value}'::numeric AS d", decimals="decimal")
    with pytest.raises(InvalidDataError, match="round them"):
        read("SELECT 1e90::numeric AS d", decimals="decimal")


def test_categories(read: Read) -> None:
    sql = "SELECT 'kind ' || (n % 3) AS kind, n FROM generate_series(1, 1000) AS n"
    assert isinstance(read(sql, categories=["kind"])["kind"].dtype, pd.CategoricalDtype)
    assert read(sql, categories=["kind"])["kind"].tolist()[:3] == ["kind 1", "kind 2", "kind 0"]
    assert isinstance(read(sql, backend="polars", categories=["kind"]).schema["kind"], pl.Categorical)
    assert pa.types.is_dictionary(read(sql, backend="arrow", categories={"kind"}).schema.field("kind").type)
    with pytest.raises(InvalidInputError, match="no column nope"):
        read(sql, categories=["nope"])


def test_another_time_zone_is_the_same_moment(read: Read) -> None:
    sql = "SELECT '2026-07-01 12:00+00'::timestamptz AS t, NULL::timestamptz AS u"
    moment = read(sql, timezone="Europe/Paris")["t"][0]
    assert (moment.hour, moment.utcoffset()) == (14, dt.timedelta(hours=2))
    value = read(sql, timezone="Asia/Tehran", backend="arrow")["t"].to_pylist()[0]
    assert value == dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert value.tzinfo == zoneinfo.ZoneInfo("Asia/Tehran")


def test_an_empty_result_has_its_types(read: Read) -> None:
    sql = f"SELECT * FROM ({ROW}) AS rows WHERE n > 5"
    table = read(sql, backend="arrow")
    assert table.num_rows == 0
    assert {field.name: field.type for field in table.schema} == {
        name: kind for name, (kind, _) in EXPECTED.items()
    }
    assert (len(read(sql)), len(read(sql, backend="polars"))) == (0, 0)
    assert str(read(sql)["moment"].dtype) == "datetime64[us, UTC]"
    assert read(sql, backend="arrow", decimals="decimal").num_rows == 0


def test_many_rows(read: Read) -> None:
    sql = (
        "SELECT n, n::numeric / 4 AS q, md5(n::text)::uuid AS u, '2026-01-01'::timestamptz + n * interval '1 minute' AS t "
        "FROM generate_series(1, 50000) AS n"
    )
    frame = read(sql)
    assert len(frame) == 50_000
    assert frame["q"].sum() == sum(range(1, 50_001)) / 4
    assert frame["u"].nunique() == 50_000
    assert (frame["t"].diff().dropna() == pd.Timedelta(minutes=1)).all()


PARAMETERS = [
    ("SELECT %s::int AS a, '100%%' AS b", (5,), {"a": 5, "b": "100%"}),
    (
        "SELECT %(a)s::text AS a, %(b)s::uuid AS b",
        {"a": "it's \\ %s", "b": UUID},
        {"a": "it's \\ %s", "b": UUID},
    ),
    ("SELECT 1 AS a WHERE 5 = ANY(%s)", ([4, 5],), {"a": 1}),
    ("SELECT %s AS a", (MOMENT,), {"a": MOMENT}),
    ("SELECT %s::jsonb AS a", ({"x": 1},), {"a": '{"x": 1}'}),
    ("SELECT '100%' AS a", None, {"a": "100%"}),
    ("SELECT 1 AS a -- the end", None, {"a": 1}),
    ("  SELECT 1 AS a ;\n ; ", None, {"a": 1}),
    ("VALUES (1)", None, {"column1": 1}),
    ("WITH w AS (SELECT 2 AS a) TABLE w", None, {"a": 2}),
    ('SELECT 1 AS "a ""b"" %s", \'1.2.3.4\'::inet AS "c"""', None, {'a "b" %s': 1, 'c"': "1.2.3.4"}),
]


@pytest.mark.parametrize(("sql", "params", "expected"), PARAMETERS)
def test_statements_and_parameters(read: Read, sql: str, params: Any, expected: dict[str, Any]) -> None:
    assert read(sql, params, backend="arrow").to_pylist() == [expected]


def test_parameters_need_no_connection_given(bulk_url: str) -> None:
    assert dataframes.read_frame(bulk_url, "SELECT %s::int AS a", (1,))["a"].tolist() == [1]


@pytest.mark.parametrize(
    ("sql", "params", "error"),
    [
        ("SELECT 1 AS a, 2 AS a", None, InvalidInputError),
        ("", None, InvalidInputError),
        (" ; ", None, InvalidInputError),
        ("SELECT %s, %s", (1,), InvalidInputError),
        ("SELECT %(a)s", {}, InvalidInputError),
        ("SELECT %s", (object(),), InvalidInputError),
        ("SELECT %s", ("a\0",), InvalidInputError),
        ("SELECT %s", 5, InvalidInputError),
        ("SELEC 1", None, QueryError),
        ("SELECT * FROM nowhere", None, UndefinedObjectError),
        ("SELECT nothing", None, UndefinedObjectError),
        ("SELECT 1 / 0", None, InvalidDataError),
        ("SELECT 'x'::uuid", None, InvalidDataError),
        ("SELECT 'infinity'::timestamptz AS t", None, InvalidDataError),
        ("SELECT '-infinity'::timestamp AS t", None, InvalidDataError),
        ("SELECT 'infinity'::date AS t", None, InvalidDataError),
        ("SELECT n, ARRAY[[n, 2], [3, 4]] AS m FROM generate_series(1, 2) AS n", None, InvalidDataError),
    ],
)
def test_what_cannot_be_read_is_typed(read: Read, sql: str, params: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(sql, params)


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "spark"},
        {"decimals": "exact"},
        {"categories": "kind"},
        {"categories": 5},
        {"timezone": "Mars/Olympus"},
        {"timezone": None},
    ],
)
def test_options_that_do_not_exist(read: Read, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        read("SELECT now() AS t", **options)


# -- only through ADBC -----------------------------------------------------------------------------------------


def test_the_settings_of_a_session_hold_for_the_read(bulk_url: str) -> None:
    session = dataframes.SessionSettings(
        {"app.organization_id": "it's", "search_path": "pg_catalog", "role": "pg_monitor"}
    )
    sql = "SELECT current_setting('app.organization_id') AS o, current_schemas(false)::text AS s, current_user::text AS u"
    assert dataframes.read_frame(bulk_url, sql, session=session, backend="arrow").to_pylist() == [
        {"o": "it's", "s": "{pg_catalog}", "u": "pg_monitor"}
    ]
    with pytest.raises(PermissionDeniedError):
        dataframes.read_frame(bulk_url, "SELECT * FROM public.stock", session=session)
    with pytest.raises(QueryTimeoutError):
        dataframes.read_frame(
            bulk_url,
            "SELECT pg_sleep(5)::text",
            session=dataframes.SessionSettings({"statement_timeout": "50"}),
        )
    with pytest.raises(UndefinedObjectError):
        dataframes.read_frame(
            bulk_url, "SELECT 1", session=dataframes.SessionSettings({"no_such_setting": "1"})
        )


def test_a_read_does_not_write(bulk_url: str) -> None:
    for sql in ("INSERT INTO anything (n) VALUES (1) RETURNING n", "CREATE TABLE made_by_reading (n int)"):
        with pytest.raises((ReadOnlyError, QueryError)):
            dataframes.read_frame(bulk_url, sql)


def test_a_server_that_is_not_there_or_says_no(bulk_url: str) -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        dataframes.read_frame("postgresql://someone:s3cret@127.0.0.1:1/nowhere", "SELECT 1")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConnectionFailedError) as caught:
        dataframes.read_frame("postgresql://someone:s3cret@127.0.0.1:1/nowhere", "SELECT %s", (1,))
    assert "s3cret" not in str(caught.value)
    parts = psycopg2.extensions.parse_dsn(bulk_url)
    if not parts.get("host", "/").startswith("/"):
        wrong = psycopg2.extensions.make_dsn(**{**parts, "password": "s3cret"})
        with pytest.raises(AuthenticationFailedError) as caught:
            dataframes.read_frame(wrong, "SELECT 1")
        assert "s3cret" not in str(caught.value)


# -- only inside -----------------------------------------------------------------------------------------------


def test_inside_a_transaction_its_own_changes_are_seen(connection: Any, ask: Asker) -> None:
    ask.run("INSERT INTO anything (n) VALUES (41), (42)")
    frame = dataframes.read_frame(None, "SELECT n FROM anything ORDER BY n", connection=connection)
    assert frame["n"].tolist() == [41, 42]


def test_inside_a_statement_without_rows_is_refused(connection: Any) -> None:
    with pytest.raises(InvalidInputError, match="no rows"):
        dataframes.read_frame(None, "CREATE TEMPORARY TABLE t (n int)", connection=connection)


def test_what_came_out_goes_in(read: Read, connection: Any, ask: Asker) -> None:
    sql = """
    SELECT 1::bigint AS n, 0.25::numeric AS exact, now() AS moment, '01234567-89ab-cdef-0123-456789abcdef'::uuid AS identifier,
        '{"a": 1}'::jsonb AS document, ARRAY['x'] AS texts, '2026-01-01'::date AS day, '2 days'::interval AS span
    """
    for backend in ("pandas", "polars", "arrow"):
        frame = read(sql, backend=backend)
        assert dataframes.write_frame(connection, "anything", frame) == 1
        assert ask.rows("SELECT n, exact, identifier, document, texts, day, span FROM anything") == [
            (1, Decimal("0.25"), UUID, {"a": 1}, ["x"], dt.date(2026, 1, 1), dt.timedelta(days=2))
        ]
        ask.run("TRUNCATE anything")


def test_nan_and_null_are_told_apart(read: Read) -> None:
    sql = "SELECT 'NaN'::float8 AS a, NULL::float8 AS b"
    table = read(sql, backend="arrow")
    assert math.isnan(table["a"].to_pylist()[0])
    assert table["b"].to_pylist() == [None]
