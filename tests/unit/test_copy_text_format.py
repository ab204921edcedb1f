"""The text of COPY: the fast loops give the same as the value-by-value definition, and it reads back unchanged."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.copy.target_table import Column
from db_utils.copy.text_format import (
    BadRowError,
    RowEncoder,
    column_fields,
    escaped,
    unescaped_field,
    value_text,
)


def column(type_: str, element: str | None = None) -> Column:
    return Column("c", type_, type_, None if element is None else Column("c", element, element, None))


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ZONES = st.timezones() | st.builds(
    dt.timezone, st.timedeltas(dt.timedelta(hours=-14), dt.timedelta(hours=14))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
BY_COLUMN = [
    (column("text"), TEXTS),
    (column("text"), st.text("\\\t\n\r\x7f,\"'{}N.", max_size=6)),
    (column("int8"), st.integers()),
    (column("int8"), st.booleans()),
    (column("bool"), st.booleans()),
    (column("float8"), st.floats()),
    (column("numeric"), st.floats()),
    (column("numeric"), st.decimals(allow_nan=True).filter(lambda value: not value.is_snan())),
    (column("numeric"), st.integers()),
    (column("uuid"), st.uuids()),
    (column("text"), st.uuids()),
    (column("timestamptz"), st.datetimes(timezones=ZONES)),
    (column("timestamp"), st.datetimes()),
    (column("text"), st.datetimes()),
    (column("date"), st.dates()),
    (column("time"), st.times()),
    (column("interval"), st.timedeltas()),
    (column("bytea"), st.binary()),
    (column("jsonb"), JSON.filter(lambda value: not isinstance(value, str))),
    (column("jsonb"), st.dictionaries(TEXTS, JSON)),
    (column("text"), st.dictionaries(TEXTS, JSON)),
    (column("_text", "text"), st.lists(TEXTS)),
    (column("_float8", "float8"), st.lists(st.lists(st.floats(), min_size=2, max_size=2))),
]


def _meaning(text: str | None, kind: str) -> Any:
    """The meaning of a text: two spellings of one document or uuid are equal."""
    if text is None:
        return None
    if kind == "jsonb" or text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text.replace("-", "") if kind == "uuid" else text


@pytest.mark.parametrize("number", range(len(BY_COLUMN)))
@given(data=st.data())
def test_a_column_at_a_time_is_as_value_by_value(number: int, data: st.DataObject) -> None:
    kind, values = BY_COLUMN[number]
    given_values = data.draw(st.lists(values | st.none() if number % 2 else values, min_size=1))
    fields = list(column_fields(given_values, kind))
    assert len(fields) == len(given_values)
    for field, value in zip(fields, given_values, strict=True):
        assert "\t" not in field
        assert "\n" not in field
        expected = value_text(value, kind)
        assert _meaning(unescaped_field(f"a\t{field}\tz", 1), kind.type) == _meaning(expected, kind.type)


@given(st.text("\\\t\n\r\x0bNtnr.x"))
def test_escapes_are_undone(text: str) -> None:
    assert unescaped_field(f"\\N\t{escaped(text)}\t", 1) == text
    assert unescaped_field("\\N\tx", 0) is None


@given(st.lists(st.lists(TEXTS | st.none(), min_size=2, max_size=2), min_size=1))
def test_lines_split_into_the_fields_they_were_made_of(rows: list[list[str | None]]) -> None:
    encoder = RowEncoder([column("text"), column("varchar")])
    lines = encoder.lines(rows)
    assert [[unescaped_field(line, place) for place in (0, 1)] for line in lines] == rows
    assert lines == [encoder.line(row) for row in rows]
    assert rows == [encoder.texts(row) for row in rows]


class Size(enum.IntEnum):
    SMALL = 1


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (Size.SMALL, "int4", "1"),
        (Colour.RED, "text", "red"),
        (Colour.RED, "jsonb", '"red"'),
        (5.0, "int4", "5"),
        (Decimal("5.00"), "int8", "5"),
        (math.nan, "float8", "nan"),
        (Decimal("-NaN"), "numeric", "NaN"),
        (dt.timedelta(days=1, seconds=2, microseconds=3), "interval", "1 days 2.000003 seconds"),
        (b"\x00\xff", "bytea", "\\x00ff"),
        (memoryview(b"a"), "bytea", "\\x61"),
        ("{}", "jsonb", "{}"),
        (True, "jsonb", "true"),
        (Decimal("1.5"), "jsonb", "1.5"),
    ],
)
def test_what_a_value_is_written_as(value: Any, kind: str, text: str) -> None:
    assert value_text(value, column(kind)) == text


def test_scalars_of_numpy_and_pandas() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    row = (numpy.int64(1), numpy.float64(1.5), numpy.bool_(True), pandas.NA, pandas.NaT)
    kinds = ["int8", "float8", "bool", "int8", "timestamptz"]
    assert RowEncoder([column(kind) for kind in kinds]).texts(row) == ["1", "1.5", "true", None, None]
    moment = pandas.Timestamp("2026-01-01", tz="UTC")
    assert value_text(moment, column("timestamptz")) == "2026-01-01T00:00:00+00:00"
    assert value_text(numpy.array([1, 2]), column("_int4", "int4")) == '{"1","2"}'
    assert value_text(numpy.int64(3), column("jsonb")) == "3"
    assert value_text(numpy.float64(0.1), column("text")) == "0.1"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (dt.datetime(2026, 1, 1), "timestamptz"),
        (dt.date(2026, 1, 1), "timestamptz"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "timestamp"),
        (0.5, "int4"),
        (math.inf, "int4"),
        (Decimal("NaN"), "int4"),
        (b"", "text"),
        ([], "text"),
        ({math.nan: math.nan}, "jsonb"),
        (math.nan, "jsonb"),
        (object(), "text"),
        (1j, "float8"),
        (Ellipsis, "jsonb"),
        ("\0", "text"),
        ("\udfff", "text"),
        ({"a": "\udfff"}, "text"),
    ],
)
def test_what_cannot_be_written_is_a_bad_row(value: Any, kind: str) -> None:
    encoder = RowEncoder([column("int4"), column(kind)])
    if isinstance(value, dict) and kind == "text":
        assert "\\udfff" in (encoder.texts((1, value))[1] or "")  # JSON can say it in ASCII
        return
    for rows in ([(1, value)], [(1, None), (1, value)], [(1, value), (1, value)]):
        with pytest.raises(BadRowError) as caught:
            encoder.lines(rows)
        assert (caught.value.index, caught.value.column) == (len(rows) - 1 if rows[0][1] is None else 0, "c")


def test_a_circle_is_no_document() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(BadRowError):
        RowEncoder([column("jsonb")]).lines([(circle,), ({},)])


def test_a_document_that_holds_the_mark_between_documents() -> None:
    rows = [({"a": [1, "\x7f", 2]},), ({"\x7f": "\x7f"},), ({},)]
    lines = RowEncoder([column("jsonb")]).lines(rows)
    assert [json.loads(unescaped_field(line, 0) or "") for line in lines] == [row[0] for row in rows]


def test_uuids_of_a_text_column_keep_their_dashes() -> None:
    value = uuid.UUID(int=5)
    assert list(column_fields([value, value], column("text"))) == [str(value)] * 2
