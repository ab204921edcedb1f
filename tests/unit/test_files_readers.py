"""Files as spreadsheets, SAP, pandas and attackers write them: read as intended, or refused before they fill memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.copy.binary_numeric import NotBinaryError
from db_utils.copy.target_table import Column
from db_utils.copy.text_format import BadValueError, value_text
from db_utils.errors import InvalidInputError
from db_utils.files import readers
from db_utils.files.conversion import converter
from db_utils.files.options import ImportOptions
from db_utils.files.readers import Unreadable, open_source
from db_utils.text_keys import number_text, text_key
from db_utils.values import plain

NUMERIC = Column("quantity", "numeric", "numeric", None)
TEXT = Column("product_id", "text", "text", None)


def read(path: Path, data: bytes | None = None, **options: Any) -> tuple[list[str], list[Any]]:
    """The header and the rows; an invalid row as its reason."""
    if data is not None:
        path.write_bytes(data)
    with ExitStack() as stack:
        source, _ = open_source(str(path), ImportOptions(**options), stack)
        rows = [row.reason if isinstance(row, Unreadable) else list(row) for _, row in source.records()]
        return source.header, rows


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"sep=;\r\n", b"SEP=;\n", b'"sep=;"\r\n', b"\xef\xbb\xbfsep=;\r\n"])
def test_the_line_sep_names_the_delimiter(tmp_path: Path, first: bytes) -> None:
    header, rows = read(tmp_path / "a.csv", first + b"a,b;c\r\n1,2;3\r\nx\r\n")
    assert (header, rows) == (["a,b", "c"], [["1,2", "3"], "it has 1 fields, but the file has 2 columns"])
    with ExitStack() as stack:
        source, _ = open_source(str(tmp_path / "a.csv"), ImportOptions(), stack)
        assert [line for line, _ in source.records()] == [3, 4]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b;\n1;2;\n3;4;\n", [["1", "2"], ["3", "4"]]),
        ("a;b;\n1;2;\n3;4\n", [["1", "2"], ["3", "4"]]),  # Excel omits the last ones
        ("a;b\n1;2;\n3;4;\n", [["1", "2"], ["3", "4"]]),
        ("a;b;;\n1;2;;\n", [["1", "2"]]),
        ("a;b;\n1;2;3\n", ["it has 3 fields, but the file has 2 columns"]),
        (
            "a;b;\n1;2;\n1;2;3\n",
            [["1", "2"], "it has a value in field 3, but column 2 is the last one with a name"],
        ),
        ("a;b;\n1;2;\n1;\n", [["1", "2"], "it has 2 fields, but the file has 2 columns"]),  # or is b missing?
        ("a;b\n1;2\n3;4;\n", [["1", "2"], "it has 3 fields, but the file has 2 columns"]),
    ],
)
def test_separators_at_the_end_of_the_line(tmp_path: Path, text: str, rows: list[Any]) -> None:
    assert read(tmp_path / "a.csv", text.encode()) == (["a", "b"], rows)


def test_utf_16_with_and_without_its_mark(tmp_path: Path) -> None:
    text = "a;b\r\nGröße;2\r\n"
    assert read(tmp_path / "a.csv", text.encode("utf-16")) == (["a", "b"], [["Größe", "2"]])
    for order in ("le", "be"):
        with pytest.raises(InvalidInputError, match=f"--encoding utf-16-{order}"):
            read(tmp_path / "a.csv", text.encode(f"utf-16-{order}"))
        found = read(tmp_path / "a.csv", text.encode(f"utf-16-{order}"), encoding=f"utf-16-{order}")
        assert found == (["a", "b"], [["Größe", "2"]])
    assert read(tmp_path / "x", '{"a": "ü"}'.encode("utf-16")) == (["a"], [["ü"]])


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f", "\u2009"])
def test_blanks_of_any_width_between_digits(blank: str) -> None:
    convert = converter(
        NUMERIC, ImportOptions(decimal=",", thousands=" "), is_text=True, json_is_native=False
    )
    assert convert is not None
    assert convert(f"-1{blank}234{blank}567,5") == "-1234567.5"
    for text in (f"1{blank}23", f"12{blank}34,5", "", "+", "1.5", "٣"):
        with pytest.raises(BadValueError):
            convert(text)


def test_groups_of_digits_as_in_india() -> None:
    convert = converter(NUMERIC, ImportOptions(thousands=","), is_text=True, json_is_native=False)
    assert convert is not None
    assert [convert(text) for text in ("12,34,567.5", "1,00,000", "1,234")] == ["1234567.5", "100000", "1234"]
    for text in ("12,34", "1,23,45", "1,2,345", "123,45,678", "12,34,5678"):
        with pytest.raises(BadValueError):
            convert(text)


@pytest.mark.parametrize("text", ["0x10", "1_000", "0b1", "0o7", "1e", "", "٣", "1,5", "1 000", "--1"])
@pytest.mark.parametrize("units", [{}, {"quantity": "wh:kwh"}])
def test_what_is_no_number_in_decimal_digits(text: str, units: dict[str, str]) -> None:
    convert = converter(NUMERIC, ImportOptions(units=units), is_text=True, json_is_native=False)
    assert convert is not None
    with pytest.raises(BadValueError):
        convert(text)
    if text in ("0x10", "1_000", "0b1", "0o7"):
        with pytest.raises(BadValueError, match="decimal digits"):
            value_text(text, NUMERIC)


@given(st.decimals(-(10**30), 10**30, places=6) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_text_keep_their_value(value: Any) -> None:
    text = number_text(value)
    assert "e" not in text.lower()
    assert (Decimal(text) == value) if isinstance(value, Decimal) else (float(text) == value)
    assert not text.endswith(".0")
    assert value_text(value, TEXT) == text or isinstance(value, Decimal)


@given(st.text())
def test_a_key_has_one_spelling(text: str) -> None:
    assert text_key(text_key(text)) == text_key(text)
    assert text_key(f" {text}\u00a0") == text_key(text)


# -- Parquet, Arrow and numpy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("width", ["float32", "float16", "float64"])
def test_narrow_floats_are_their_shortest_decimal(tmp_path: Path, ending: str, width: str) -> None:
    numbers = np.array([0.1, 2.5, 1e-3, 1234.0, 3.14], dtype=width)
    table = pa.table(
        {"q": pa.array(numbers), "n": [{"x": number} for number in numbers], "l": [[n] for n in numbers]}
    )
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    right = [float(str(number)) for number in numbers]
    assert read(path)[1] == [[n, {"x": n}, [n]] for n in right]
    assert [plain(number) for number in numbers] == right
    assert plain(numbers) == right


def test_floats_of_a_key_are_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"product_id": [4711.0, None, 4711.5]}), path)
    convert = converter(TEXT, ImportOptions(), is_text=False, json_is_native=False, is_key=True)
    assert convert is not None
    assert [convert(row[0]) for row in read(path)[1] if row[0] is not None] == ["4711", "4711.5"]


def test_dictionaries_come_back_as_their_values(tmp_path: Path) -> None:
    table = pa.table({"t": ["a", None, "b", "a"], "b": [b"x", b"y", None, b"x"]})
    encoded = pa.table(
        {n: c.dictionary_encode() for n, c in zip(table.column_names, table.columns, strict=True)}
    )
    for given_table in (table, encoded):
        pyarrow.parquet.write_table(given_table, tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet")[1] == [["a", b"x"], [None, b"y"], ["b", None], ["a", b"x"]]


# -- files made to exhaust memory --------------------------------------------------------------------------------------


def pieces(head: bytes, filler: bytes) -> bytes:
    """40 MB that compress to almost nothing."""
    return head + filler * (40 * 1024**2 // len(filler))


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("field.csv.gz", lambda: packed(pieces(b'a,b\n1,"', b"x"))),
        ("line.csv", lambda: pieces(b"a,b\n1,", b"y")),
        ("header.csv", lambda: pieces(b"", b"z")),
        ("commas.csv", lambda: b"a," * 5000 + b"b\n1"),
        ("line.jsonl.gz", lambda: packed(pieces(b'{"a": "', b"y"))),
        ("blank.csv.gz", lambda: packed(b"a,b\n" + b"\n" * 20_002)),
        ("blank.jsonl.gz", lambda: packed(b'{"a": 1}\n' + b"\r\n" * 20_002)),
        ("keys.jsonl", lambda: "\n".join(f'{{"k{n}": 1}}' for n in range(2000)).encode()),
    ],
)
def test_a_row_has_a_limit_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: Callable[[], bytes]
) -> None:
    assert readers._BLANK_LINES == 1_000_000
    monkeypatch.setattr(readers, "_BLANK_LINES", 20_000)
    path = tmp_path / name
    path.write_bytes(data())
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError, match=r"million characters|columns, but a table|blank lines"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 150 * 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.thorough
def test_a_column_that_unpacks_to_very_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    text = "x" * 1024**2
    pyarrow.parquet.write_table(
        pa.table({"a": [text] * 300}), path, use_dictionary=False, compression="zstd", row_group_size=300
    )
    assert path.stat().st_size < 3 * 1024**2
    with pytest.raises(InvalidInputError, match="smaller row groups"):
        read(path)
    # In a dictionary it is one text, however many rows have it.
    places = pa.array(np.zeros(20_000, dtype=np.int32))
    many = pa.DictionaryArray.from_arrays(places, pa.array([text[:100_000]]))
    pyarrow.parquet.write_table(pa.table({"a": many}), path, compression="zstd")
    assert len({id(row[0]) for row in read(path)[1]}) <= 4


def test_not_binary_where_a_text_is_no_decimal() -> None:
    from db_utils.copy.binary_numeric import numeric

    with pytest.raises((NotBinaryError, pa.ArrowException)):
        numeric(pa.array(["0x10"]))
