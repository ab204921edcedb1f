"""Frames into tables: values survive a round trip, whatever the frame's library."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from db_utils import copy
from db_utils.copy import RejectReport
from db_utils.errors import (
    CheckViolationError,
    InvalidDataError,
    InvalidInputError,
    PermissionDeniedError,
    UndefinedObjectError,
)
from tests.integration.copy.conftest import ORGANIZATION, OTHER_ORGANIZATION, RESOURCE, Asker
from tests.integration.copy.test_copy_rows import EVENT, event
from tests.support.rounds import rounds

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

from db_utils import dataframes  # noqa: E402
from db_utils.copy import binary_format  # noqa: E402

UTC = dt.UTC
MOMENT = dt.datetime(2026, 3, 1, 11, 30, 0, 123456, UTC)


@pytest.fixture
def only_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a frame is sent as text."""

    def refuse(*arguments: object) -> Any:
        raise AssertionError("sent as text")

    monkeypatch.setattr("db_utils.copy.text_format.RowEncoder.lines", refuse)


def found(ask: Asker, column: str) -> list[Any]:
    return [row[0] for row in ask.rows(f"SELECT {column} FROM anything ORDER BY n")]


def arrow(values: Any, kind: Any) -> Any:
    return pa.table({"n": list(range(len(values))), "c": pa.array(values, kind)})


NUMBERS = [0, 1, -1, 9999, 10_000, -10_001, 123_456_789, 2**31 - 1, -(2**31)]
DECIMALS = ["0.00", "1.50", "-1.05", "0.01", "99999999999999.99", "-10000.10", "12345678.00"]
WIDE = [
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "-123456789012345678901234.5678",
    "0.0001",
    "1000000000000000000000000",
]
TEXTS = ["", "a", "\\N", "tab\t", "new\nline", "سلام 🏭", '"quoted", {braces}', None, "x" * 10_000]
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(RESOURCE), None]
BINARY = [
    ("n", NUMBERS, pa.int32(), None),
    ("whole", NUMBERS, pa.int64(), None),
    ("small", [0, -5, None, 32767], pa.int64(), None),
    ("whole", [1.0, -2.0, None], pa.float64(), [1, -2, None]),
    ("real_number", [0.5, None, -math.inf], pa.float64(), None),
    ("real_number", [1, 2], pa.int16(), [1.0, 2.0]),
    ("float_number", [0.1 + 0.2, -0.0, 5e-324, 1.7e308, math.inf, None], pa.float64(), None),
    ("float_number", [0.5], pa.float32(), None),
    ("exact", NUMBERS, pa.int64(), None),
    ("exact", [2**63 - 1, -(2**63), 0, None], pa.int64(), None),
    ("exact", [Decimal(text) for text in DECIMALS] + [None], pa.decimal128(18, 2), None),
    ("exact", [Decimal(text) for text in WIDE] + [None], pa.decimal128(38, 4), None),
    ("exact", [Decimal(text) for text in WIDE], pa.decimal128(38, 9), None),
    (
        "exact",
        [0.1, 1.5, -2.25, 100.0, 1e6, None],
        pa.float64(),
        [Decimal(repr(x)) if x is not None else None for x in (0.1, 1.5, -2.25, 100.0, 1e6, None)],
    ),
    (
        "exact",
        [0.1 + 0.2, 1 / 3, -2.5e-5, 123456.789012345],
        pa.float64(),
        [Decimal(repr(x)) for x in (0.1 + 0.2, 1 / 3, -2.5e-5, 123456.789012345)],
    ),
    ("exact", ["1.50", "-0.001", None], pa.string(), [Decimal("1.50"), Decimal("-0.001"), None]),
    ("truth", [True, False, None], pa.bool_(), None),
    ("words", TEXTS, pa.string(), None),
    ("words", TEXTS, pa.large_string(), None),
    ("words", ["a", "b", None, "a"], pa.dictionary(pa.int8(), pa.string()), None),
    ("words", [None, None], pa.null(), None),
    ("moment", [MOMENT, None, MOMENT - dt.timedelta(days=20_000)], pa.timestamp("us", "UTC"), None),
    ("moment", [MOMENT.replace(microsecond=0)], pa.timestamp("s", "Europe/Paris"), None),
    ("moment", [MOMENT], pa.timestamp("ns", "+05:30"), None),
    ("wall_time", [dt.datetime(2026, 3, 1, 1), None], pa.timestamp("ms"), None),
    ("day", [dt.date(1, 1, 1), dt.date(9999, 12, 31), None], pa.date32(), None),
    ("day", [dt.date(2026, 1, 1)], pa.date64(), None),
    ("day", [dt.datetime(2026, 1, 1)], pa.timestamp("ns"), [dt.date(2026, 1, 1)]),
    ("hour", [dt.time(0), dt.time(23, 59, 59, 999999), None], pa.time64("us"), None),
    ("hour", [dt.time(1, 2, 3)], pa.time32("s"), None),
    (
        "span",
        [dt.timedelta(0), dt.timedelta(days=-1, microseconds=1), dt.timedelta(days=400), None],
        pa.duration("us"),
        None,
    ),
    ("identifier", [None if u is None else u.bytes for u in UUIDS], pa.binary(16), UUIDS),
    ("identifier", [None if u is None else u.bytes for u in UUIDS], pa.uuid(), UUIDS),
    ("identifier", [None if u is None else str(u).upper() for u in UUIDS], pa.string(), UUIDS),
    ("document", ['{"a": [1, "x"]}', "null", "5", None], pa.string(), [{"a": [1, "x"]}, None, 5, None]),
    ("document_text", ['{"a":  1}', None], pa.large_string(), [{"a": 1}, None]),
    ("blob", [b"", b"\x00\xff", None], pa.binary(), None),
    ("feeling", ["calm", "tense", None], pa.string(), None),
    ("share", [0.5, 100.0, None], pa.float64(), [Decimal("0.5"), Decimal(100), None]),
    ("short_words", ["12345", None], pa.string(), None),
]


@pytest.mark.usefixtures("only_binary")
@pytest.mark.parametrize(("column", "values", "kind", "expected"), BINARY)
def test_columns_that_have_a_binary_form(
    connection: Any, ask: Asker, column: str, values: list[Any], kind: Any, expected: list[Any] | None
) -> None:
    if column == "n":
        assert dataframes.write_frame(connection, "anything", pa.table({"n": pa.array(values, kind)})) == len(
            values
        )
        assert found(ask, "n") == sorted(values)
        return
    table = arrow(values, kind).rename_columns(["n", column])
    many = pa.concat_tables([table] * 200).set_column(0, "n", pa.array(range(200 * len(values))))
    assert dataframes.write_frame(connection, "anything", many) == 200 * len(values)
    expected = values if expected is None else expected
    got = found(ask, column)
    assert got == expected * 200
    if column not in ("exact", "share"):
        assert [type(value) for value in got[: len(values)]] == [type(value) for value in expected]
    ask.run("TRUNCATE anything")
    sliced = pa.concat_tables([table, table]).slice(1)  # arrays that start in the middle of their buffers
    dataframes.write_frame(connection, "anything", sliced)
    left = found(ask, column)
    for value in (expected * 2)[1:]:
        left.remove(value)
    assert left == []


def test_nan_of_arrow_and_polars_stays_and_of_pandas_is_null(connection: Any, ask: Asker) -> None:
    values = {"n": [1, 2], "float_number": [math.nan, 1.0], "exact": [1.0, math.nan]}
    sql = "SELECT float_number::text, exact::text FROM anything ORDER BY n"
    for frame in (pa.table(values), pl.DataFrame(values)):
        dataframes.write_frame(connection, "anything", frame)
        assert ask.rows(sql) == [("NaN", "1"), ("1", "NaN")]
        ask.run("TRUNCATE anything")
    dataframes.write_frame(connection, "anything", pd.DataFrame(values))
    assert ask.rows(sql) == [(None, "1"), ("1", None)]


def test_infinities_of_a_numeric(connection: Any, ask: Asker) -> None:
    dataframes.write_frame(connection, "anything", pa.table({"n": [1, 2], "exact": [math.inf, -math.inf]}))
    assert ask.rows("SELECT exact::text FROM anything ORDER BY n") == [("Infinity",), ("-Infinity",)]


TEXT_ONLY = [
    ("numbers", [[1, None], [], None], pa.list_(pa.int64()), None),
    ("texts", [["a,b", 'q"'], ["\\"]], pa.large_list(pa.string()), None),
    (
        "document",
        [{"a": 1, "b": [None, "x"]}, None],
        pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}),
        None,
    ),
    ("document", [[1, 2], []], pa.list_(pa.int64()), None),
    ("document", [[("k", 1)]], pa.map_(pa.string(), pa.int64()), [{"k": 1}]),
    ("document", [1, None], pa.int64(), None),
    (
        "span",
        [pa.MonthDayNano([1, 2, 3_000])],
        pa.month_day_nano_interval(),
        [dt.timedelta(days=32, microseconds=3)],
    ),
    ("moment", ["2026-03-01 12:00+01", None], pa.string(), [dt.datetime(2026, 3, 1, 11, tzinfo=UTC), None]),
    ("words", [1, 2], pa.int64(), ["1", "2"]),
    ("exact", ["1e3"], pa.string(), [Decimal(1000)]),
    ("exact", [1e-30, 1e300], pa.float64(), [Decimal("1e-30"), Decimal("1e300")]),
]


@pytest.mark.parametrize(("column", "values", "kind", "expected"), TEXT_ONLY)
def test_columns_that_go_as_text(
    connection: Any, ask: Asker, column: str, values: list[Any], kind: Any, expected: list[Any] | None
) -> None:
    dataframes.write_frame(connection, "anything", arrow(values, kind).rename_columns(["n", column]))
    assert found(ask, column) == (values if expected is None else expected)


def events_of(count: int) -> dict[str, list[Any]]:
    return dict(
        zip(EVENT, map(list, zip(*(event(number) for number in range(count)), strict=True)), strict=True)
    )


def as_pandas(data: dict[str, list[Any]]) -> Any:
    return pd.DataFrame({**data, "event_type": pd.Categorical(data["event_type"])})


def as_pandas_with_index(data: dict[str, list[Any]]) -> Any:
    return pd.DataFrame(data).set_index(["organization_id", "time"])


def as_polars(data: dict[str, list[Any]]) -> Any:
    plain = {**data, "metadata": [json.dumps(value) for value in data["metadata"]]}
    plain["resource_id"] = [str(value) for value in data["resource_id"]]
    return pl.DataFrame(plain, schema_overrides={"event_type": pl.Categorical})


def as_polars_objects(data: dict[str, list[Any]]) -> Any:
    return pl.DataFrame(
        {**data, "resource_id": pl.Series(data["resource_id"], dtype=pl.Object)},
    )


def as_arrow(data: dict[str, list[Any]]) -> Any:
    return as_polars(data).to_arrow()


def as_batch(data: dict[str, list[Any]]) -> Any:
    return as_arrow(data).combine_chunks().to_batches()[0]


def as_reader(data: dict[str, list[Any]]) -> Any:
    table = as_arrow(data)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=700))


class Stream:
    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def as_stream(data: dict[str, list[Any]]) -> Any:
    return Stream(as_arrow(data))


KINDS = [
    as_pandas,
    as_pandas_with_index,
    as_polars,
    as_polars_objects,
    as_arrow,
    as_batch,
    as_reader,
    as_stream,
]
Make = Callable[[dict[str, list[Any]]], Any]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("table", "count"),
    [("events", 5000), ("my_events", 1), *rounds([("events", 1), ("my_events", 5000)], 0)],
)
@pytest.mark.parametrize("make", KINDS)
def test_every_kind_of_frame(connection: Any, ask: Asker, make: Make, table: str, count: int) -> None:
    seen: list[int] = []
    frame = make(events_of(count))
    assert dataframes.write_frame(connection, table, frame, progress=seen.append) == count
    assert seen[-1] == count
    by_frame = ask.rows(f"SELECT {', '.join(EVENT)} FROM events ORDER BY event_id")
    ask.run("TRUNCATE events")
    copy.copy_rows(connection, "events", EVENT, [event(number) for number in range(count)])
    assert by_frame == ask.rows(f"SELECT {', '.join(EVENT)} FROM events ORDER BY event_id")


def test_missing_values_of_pandas(connection: Any, ask: Asker) -> None:
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "whole": pd.array([1, None], dtype="Int64"),
            "small": [7.0, math.nan],
            "truth": pd.array([True, None], dtype="boolean"),
            "moment": pd.to_datetime(["2026-03-01 11:30:00.123456", None], utc=True),
            "words": ["a", None],
            "document": [{"a": 1}, math.nan],
            "identifier": [uuid.UUID(int=1), pd.NA],
            "exact": [Decimal("1.10"), None],
            "day": [dt.date(2026, 1, 1), pd.NaT],
            "span": pd.to_timedelta([90, None], unit="s"),
            "texts": pd.Series([["a"], None], dtype=object),
        }
    )
    assert dataframes.write_frame(connection, "anything", frame) == 2
    assert ask.rows(f"SELECT {', '.join(frame.columns)} FROM anything ORDER BY n") == [
        (
            1,
            1,
            7,
            True,
            MOMENT,
            "a",
            {"a": 1},
            uuid.UUID(int=1),
            Decimal("1.10"),
            dt.date(2026, 1, 1),
            dt.timedelta(seconds=90),
            ["a"],
        ),
        (2, *[None] * 11),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": [1], "moment": pd.to_datetime(["2026-01-01"])}),
        pd.DataFrame({"n": [1], "moment": [dt.date(2026, 1, 1)]}),
        pd.DataFrame({"n": [1], "moment": pd.Series([dt.datetime(2026, 1, 1)], dtype=object)}),
        pl.DataFrame({"n": [1], "moment": [dt.datetime(2026, 1, 1)]}),
        pl.DataFrame({"n": [1], "moment": [dt.date(2026, 1, 1)]}),
        pa.table({"n": [1], "moment": [dt.datetime(2026, 1, 1)]}),
        pa.table({"n": [1], "wall_time": [MOMENT]}),
        pa.table({"n": [1], "day": [MOMENT]}),
        pa.table({"n": [1], "day": [dt.datetime(2026, 1, 1, 5)]}),
    ],
)
def test_times_without_or_with_too_much_zone_are_refused(connection: Any, ask: Asker, frame: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"column (moment|wall_time|day)"):
        dataframes.write_frame(connection, "anything", frame)


@pytest.mark.parametrize(
    "frame",
    [
        None,
        5,
        "text",
        [1],
        {"n": [1]},
        [(1,)],
        pd.Series([1]),
        pd.DataFrame,
        pl.LazyFrame({"n": [1]}),
        pl.Series([1]),
    ],
)
def test_what_is_no_frame_is_refused(connection: Any, frame: Any) -> None:
    with pytest.raises(InvalidInputError):
        dataframes.write_frame(connection, "anything", frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({1: [1]}),
        pd.DataFrame([[1, 2]], columns=["n", "n"]),
        pd.DataFrame(),
        pl.DataFrame(),
        pa.table({}),
        pd.DataFrame({("a", "b"): [1]}),
    ],
)
def test_columns_that_are_not_named_like_those_of_a_table(connection: Any, frame: Any) -> None:
    with pytest.raises(InvalidInputError):
        dataframes.write_frame(connection, "anything", frame)


def test_unknown_columns_and_empty_frames(connection: Any) -> None:
    with pytest.raises(UndefinedObjectError, match="did you mean whole"):
        dataframes.write_frame(connection, "anything", pd.DataFrame({"wholes": [1]}))
    for frame in (
        pd.DataFrame({"n": []}),
        pl.DataFrame({"n": []}),
        pa.table({"n": pa.array([], pa.int64())}),
    ):
        assert dataframes.write_frame(connection, "anything", frame) == 0
        assert dataframes.write_frame(connection, "anything", frame, through_temporary_table=True) == 0


@pytest.mark.parametrize(
    ("column", "values", "error"),
    [
        ("small", [2**40], InvalidDataError),
        ("whole", [1.5], InvalidInputError),
        ("identifier", ["nonsense"], InvalidDataError),
        ("identifier", ["g" * 32], InvalidDataError),
        ("real_number", [1e300], InvalidDataError),
        ("words", ["a\0"], InvalidInputError),
        ("document", ["{"], InvalidDataError),
        ("short_words", ["123456"], InvalidDataError),
        ("feeling", ["furious"], InvalidDataError),
        ("share", [101], CheckViolationError),
        ("truth", [5], InvalidDataError),
    ],
)
def test_values_that_do_not_fit_are_refused_and_located(
    connection: Any, ask: Asker, column: str, values: list[Any], error: type[Exception]
) -> None:
    good = pa.nulls(9_000, pa.array(values).type)
    rows = pa.chunked_array([good, pa.array(values), good])
    table = pa.table({"n": range(len(rows)), column: rows})
    with pytest.raises(error, match=rf"^row 9001, column {column}: "):
        dataframes.write_frame(connection, "anything", table)
    connection.rollback()
    report = RejectReport()
    assert dataframes.write_frame(connection, "anything", table, on_reject=report) == 18_000
    (reject,) = report
    assert (reject.row_number, reject.column, reject.values) == (9001, column, (9000, values[0]))
    assert ask.value("SELECT count(*) FROM anything") == 18_000


@pytest.mark.parametrize(
    ("table", "make"),
    [
        ("events", as_pandas),
        ("my_events", as_arrow),
        pytest.param("events", as_arrow, marks=pytest.mark.slow),
        pytest.param("my_events", as_pandas, marks=pytest.mark.slow),
    ],
)
def test_rejects_of_a_frame(connection: Any, ask: Asker, table: str, make: Make) -> None:
    data = events_of(30_000)
    data["quality_score"][10] = 101.0
    data["quality_score"][29_000] = 12345.0
    data["resource_id"][25_000] = uuid.UUID(OTHER_ORGANIZATION)
    data["event_type"][3] = "party"
    with pytest.raises((CheckViolationError, InvalidDataError)):
        dataframes.write_frame(connection, table, make(data))
    connection.rollback()
    report = RejectReport()
    assert dataframes.write_frame(connection, table, make(data), on_reject=report) == 29_996
    assert [(reject.row_number, reject.column) for reject in report] == [
        (4, "event_type"),
        (11, "quality_score"),
        (25_001, "organization_id, resource_id"),
        (29_001, "quality_score"),
    ]


def test_a_frame_of_foreign_rows_is_refused_by_the_view(connection: Any) -> None:
    data = events_of(1000)
    data["organization_id"][500] = OTHER_ORGANIZATION
    with pytest.raises(PermissionDeniedError):
        dataframes.write_frame(connection, "my_events", as_pandas(data))


@pytest.mark.parametrize("count", [2, 3000])
def test_a_frame_brings_rows_up_to_date(connection: Any, ask: Asker, count: int) -> None:
    key = ["organization_id", "product_id"]
    frame = pd.DataFrame(
        {
            "organization_id": ORGANIZATION,
            "product_id": [f"P{n}" for n in range(count)],
            "quantity": 1.5,
            "first_seen": 1,
        }
    )
    assert dataframes.write_frame(connection, "stock", frame, conflict_columns=key) == count
    frame["quantity"], frame["first_seen"] = 2.5, 2
    frame = pd.concat([frame, frame.assign(quantity=3.5)])
    assert (
        dataframes.write_frame(connection, "stock", frame, conflict_columns=key, update_columns=["quantity"])
        == count
    )
    assert ask.rows("SELECT DISTINCT quantity, first_seen FROM stock") == [(Decimal("3.5"), 1)]
    with pytest.raises(InvalidInputError, match="conflict column"):
        dataframes.write_frame(connection, "stock", frame[["quantity"]], conflict_columns=key)


def test_another_encoding_goes_as_text(connection: Any, ask: Asker) -> None:
    connection.set_client_encoding("LATIN1")
    dataframes.write_frame(connection, "anything", pa.table({"words": ["é 🏭"]}))
    connection.commit()
    connection.set_client_encoding("UTF8")
    assert ask.rows("SELECT words FROM anything") == [("é 🏭",)]
    ask.run("TRUNCATE anything")
    connection.commit()


@pytest.mark.thorough
def test_wide_rows_are_cut_into_small_pieces(connection: Any, ask: Asker) -> None:
    table = pa.table({"n": range(500), "words": ["x" * 100_000] * 500})
    assert dataframes.write_frame(connection, "anything", table) == 500
    assert ask.rows("SELECT count(*), sum(length(words)) FROM anything") == [(500, 50_000_000)]
    assert binary_format.HEADER.startswith(b"PGCOPY")
