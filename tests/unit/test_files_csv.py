"""Any dialect of CSV is read as written, each record with the line on which it starts."""

from __future__ import annotations

import csv
import gzip
import io
import json
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.files.conversion import json_text
from db_utils.files.options import ImportOptions
from db_utils.files.readers import Unreadable, open_source
from db_utils.files.units import conversion

CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    delimiter=st.sampled_from(",;\t|^"),
    quote=st.sampled_from("\"'~"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    packed=st.booleans(),
)
def test_what_was_written_is_read(
    tmp_path: Path, rows: list[list[str]], delimiter: str, quote: str, line_end: str, quoting: int, encoding: str, packed: bool
) -> None:  # fmt: skip
    # Python's writer does not quote line ends other than its own, so that no reader could read them back.
    quoting = csv.QUOTE_ALL if any("\r" in cell or "\n" in cell for row in rows for cell in row) else quoting
    header = [f"c{n}" for n in range(len(rows[0]))]
    lines, texts = [], []
    at = 1
    for row in [header, *rows]:
        text = io.StringIO(newline="")
        csv.writer(
            text, delimiter=delimiter, quotechar=quote, lineterminator=line_end, quoting=quoting
        ).writerow(row)
        lines.append(at)
        texts.append(text.getvalue())
        at += len(io.StringIO(text.getvalue(), newline=None).readlines())
    data = "".join(texts).encode(encoding)
    # Text that happens to start with the three bytes of a mark is read without them, by every reader.
    assume(encoding != "utf-8" or not data.startswith(b"\xef\xbb\xbf"))
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    options = ImportOptions(delimiter=delimiter, quote=quote, format="csv")
    with ExitStack() as stack:
        source, _ = open_source(str(path), options, stack)
        assert source.header == header
        assert list(source.records()) == list(zip(lines[1:], rows, strict=True))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(delimiter.join(["a", '"b,;|\t"', "c"]) + "\n")
    with ExitStack() as stack:
        source, _ = open_source(str(path), ImportOptions(), stack)
        assert len(source.header) == 3


def test_what_is_no_record_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n\n3\n"x"y,4\n5,6\n"never closed,7\n8,9\n')
    with ExitStack() as stack:
        source, _ = open_source(str(path), ImportOptions(), stack)
        records = list(source.records())
    assert [line for line, _ in records] == [2, 4, 5, 6, 7]
    assert [isinstance(row, Unreadable) for _, row in records] == [False, True, True, False, True]
    last = records[-1][1]
    assert isinstance(last, Unreadable)
    assert "a quote is missing" in last.reason


def test_without_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2\n3,4\n")
    with ExitStack() as stack:
        source, _ = open_source(str(path), ImportOptions(header=False, columns=("x", "y")), stack)
        assert (source.header, len(list(source.records()))) == (["x", "y"], 2)
        assert open_source(str(path), ImportOptions(header=False), stack)[0].header == ["column1", "column2"]
        with pytest.raises(InvalidInputError, match="2 columns, but 1 names"):
            open_source(str(path), ImportOptions(header=False, columns=("x",)), stack)


def test_units_are_exact_and_of_one_dimension() -> None:
    assert conversion("duration_minutes", "hours")(Decimal("1.5")) == 90
    assert conversion("utilization_pct", "fraction")(Decimal("0.1")) == 10
    assert conversion("probability", "pct")(Decimal(5)) == Decimal("0.05")
    assert conversion("quantity", "MWh:kWh".lower())(Decimal("0.001")) == 1
    with pytest.raises(InvalidInputError, match="is in minutes, not in hours"):
        conversion("downtime_minutes", "seconds:hours")
    with pytest.raises(InvalidInputError, match="cannot be converted from 'kwh'"):
        conversion("downtime_minutes", "kwh")
    with pytest.raises(BadValueError):
        conversion("quantity", "kwh:mwh")(Decimal("sNaN"))


def test_json_keeps_digits() -> None:
    text = '{"a":12345678901234567890.10,"b":[1,null,true,"x\\"\\u00e9"],"c":{}}'
    assert json_text(json.loads(text, parse_float=Decimal)) == text
