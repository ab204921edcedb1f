"""Whatever goes in comes out: rows made by hypothesis, through text and through binary COPY."""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from db_utils import copy
from db_utils.values import register

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ZONES = st.timezones() | st.builds(
    dt.timezone, st.timedeltas(dt.timedelta(hours=-14), dt.timedelta(hours=14))
)
# Near its ends the calendar of Python has moments that are outside of it in another zone.
MOMENTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=ZONES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "real_number": st.floats(width=32),
    "float_number": st.floats(),
    "exact": DECIMALS
    | st.decimals(allow_infinity=False, allow_nan=False, min_value=-(10**9), max_value=10**9),
    "truth": st.booleans(),
    "words": TEXTS,
    "moment": MOMENTS,
    "wall_time": st.datetimes(),
    "day": st.dates(),
    "hour": st.times(),
    "span": st.timedeltas(dt.timedelta(days=-(10**6)), dt.timedelta(days=10**6)),
    "identifier": st.uuids(),
    "document": st.dictionaries(TEXTS, JSON, max_size=3),
    "blob": st.binary(max_size=20),
    "numbers": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4),
    "texts": st.lists(st.none() | TEXTS, max_size=4),
    "moments": st.lists(MOMENTS, max_size=2),
    "identifiers": st.lists(st.uuids(), max_size=2),
}
PROFILE = settings(
    suppress_health_check=list(HealthCheck),
    # Making twenty columns smaller takes longer than reading the row that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
PLAIN = [name for name in COLUMNS if name not in ("numbers", "texts", "moments", "identifiers")]


@pytest.fixture(scope="module")
def standing(bulk_url: str) -> Iterator[Any]:
    """One connection for all examples."""
    connection = psycopg2.connect(bulk_url, options="-c TimeZone=UTC -c IntervalStyle=postgres")
    register(connection)
    yield connection
    connection.close()


def same(out: Any, given_value: Any, name: str) -> bool:
    if name == "document":
        return bool(out == given_value)  # 1e15 comes back as the whole number that it is
    if name == "real_number" and given_value is not None:
        return (
            struct.pack("f", out) == struct.pack("f", given_value)
            or math.isnan(out) is math.isnan(given_value) is True
        )
    if isinstance(given_value, float) and math.isnan(given_value):
        return isinstance(out, float) and math.isnan(out)
    if isinstance(given_value, dt.datetime) and given_value.tzinfo is not None:
        return bool(out == given_value.astimezone(dt.UTC))  # hours that a clock skips equal no hour elsewhere
    if isinstance(given_value, list) and name == "moments":
        return all(same(*pair, "moment") for pair in zip(out, given_value, strict=True))
    if isinstance(given_value, dt.time):
        return bool(out == given_value.replace(fold=0))
    return type(out) is type(given_value) and bool(out == given_value)


@PROFILE
@pytest.mark.parametrize("through_temporary_table", [False, True])
@pytest.mark.parametrize(
    "names",
    [pytest.param(PLAIN, id="plain", marks=pytest.mark.slow), pytest.param(list(COLUMNS), id="with arrays")],
)
@pytest.mark.parametrize("form", ["text", "binary"])
@given(data=st.data())
def test_any_value_comes_out_as_it_went_in(
    standing: Any, data: st.DataObject, names: list[str], form: str, through_temporary_table: bool
) -> None:
    rows = data.draw(
        st.lists(st.tuples(*[st.none() | COLUMNS[name] for name in names]), min_size=1, max_size=4)
    )
    if through_temporary_table:
        rows = rows * 80  # more than fit into one INSERT
    names, rows = ["n", *names], [(number, *row) for number, row in enumerate(rows)]
    standing.rollback()
    with pytest.MonkeyPatch.context() as patch:
        if form == "text":
            patch.setattr("db_utils.copy.binary_encoder", lambda connection, columns: None)
        else:
            pytest.importorskip("pyarrow")
        count = copy.copy_rows(
            standing, "anything", names, rows, through_temporary_table=through_temporary_table
        )
    with standing.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)} FROM anything ORDER BY n")
        found = cursor.fetchall()
    standing.rollback()
    assert count == len(found) == len(rows)
    for out, row in zip(found, rows, strict=True):
        for name, value, original in zip(names, out, row, strict=True):
            assert same(value, original, name), (name, value, original)


@PROFILE
@example(
    numbers=[3.7045e18, 0.1 + 0.2],
    exact=[Decimal("3704500000000000000"), Decimal("0.00000000000000000001"), None],
)
@example(
    numbers=[-1e36, 1e-9, None], exact=[Decimal("-37045000000000000000000"), Decimal("0.1234567890123456")]
)
@example(numbers=[3e-88, 15.0], exact=[Decimal("9" * 38), Decimal("-" + "9" * 38)])
@example(numbers=[1e-20, 999999999999999.9], exact=[Decimal("9" * 35), Decimal("0.0001")])
@given(
    numbers=st.lists(st.floats() | st.none(), min_size=1), exact=st.lists(DECIMALS | st.none(), min_size=1)
)
def test_numbers_are_the_same_through_text_and_binary(
    standing: Any, numbers: list[float | None], exact: list[Decimal | None]
) -> None:
    """Digit by digit: a float and a Decimal in a numeric column, in both forms, are what the server reads of their text."""
    pytest.importorskip("pyarrow")
    standing.rollback()
    for values, text in ((numbers, repr), (exact, lambda value: format(value, "f"))):
        copy.copy_rows(standing, "anything", ["n", "exact"], list(enumerate(values)))
        with standing.cursor() as cursor:
            cursor.execute("SELECT exact FROM anything ORDER BY n")
            found = [row[0] for row in cursor.fetchall()]
            expected = [None if value is None else text(value) for value in values]
            cursor.execute(
                "SELECT v::numeric FROM unnest(%s::text[]) WITH ORDINALITY AS t (v, n) ORDER BY n",
                (expected,),
            )
            by_server = [row[0] for row in cursor.fetchall()]
        standing.rollback()
        assert [str(value) if value is not None and value.is_nan() else value for value in found] == [
            str(value) if value is not None and value.is_nan() else value for value in by_server
        ]
