"""Rows out with COPY: the query's rows, whatever the file does."""

from __future__ import annotations

import csv
import gc
import io
from typing import Any

import pytest

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION

NOTES = (
    "SELECT organization_id, note_id, text FROM notes WHERE note_id >= %s ORDER BY organization_id, note_id"
)


@pytest.fixture
def notes(db: DatabaseManager) -> DatabaseManager:
    """Three notes, one of them another organization's."""
    rows = [(ORGANIZATION, 1, 'a "b", c'), (ORGANIZATION, 2, "two\nlines"), (OTHER_ORGANIZATION, 3, "ü")]
    db.copy_rows("notes", ["organization_id", "note_id", "text"], rows)
    return db


def rows_of(written: io.BytesIO) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written.getvalue().decode(), newline="")))


def test_what_is_written_is_what_the_query_answers(notes: DatabaseManager) -> None:
    written = io.BytesIO()
    assert notes.copy_out(NOTES, (2,), into=written) == 2
    head, *rows = rows_of(written)
    assert head == ["organization_id", "note_id", "text"]
    assert rows == [[str(v) for v in row.values()] for row in notes.execute_query(NOTES, (2,))]
    bare = io.BytesIO()
    assert notes.copy_out("SELECT text FROM notes WHERE note_id = 1", into=bare, options="FORMAT text") == 1
    assert bare.getvalue() == b'a "b", c\n'


def test_a_tenant_writes_its_own_rows(notes: DatabaseManager) -> None:
    written = io.BytesIO()
    assert notes.tenant(OTHER_ORGANIZATION).copy_out(NOTES, (0,), into=written) == 1
    assert [row[2] for row in rows_of(written)] == ["text", "ü"]
    with pytest.raises(errors.DbUtilsError):
        notes.tenant(OTHER_ORGANIZATION).copy_out("SELECT * FROM public.notes", into=io.BytesIO())


def test_what_the_file_raises_is_raised_and_the_connection_goes_on(notes: DatabaseManager) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError("the disk is full")

    for rows in (1, 10_000):  # at its end, and in the middle
        with pytest.raises(OSError, match="the disk is full"):
            notes.copy_out(f"SELECT repeat('x', 10000) FROM generate_series(1, {rows})", into=Full())
        assert notes.execute_query("SELECT 1 AS one") == [{"one": 1}]
        assert notes.pool_stats().in_use == 0


def test_what_fails_midway_writes_nothing_afterwards(notes: DatabaseManager) -> None:
    written = io.BytesIO()
    with pytest.raises(errors.InvalidDataError):
        notes.copy_out("SELECT 1 / (1000 - n) FROM generate_series(1, 1000) AS n", into=written)
    seen = written.getvalue()
    gc.collect()
    assert written.getvalue() == seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"into": "a file"}, "into is str"),
        ({"options": "FORMAT csv) TO PROGRAM 'id' WITH (FORMAT csv"}, "options is"),
        ({"options": None}, "options is"),
        ({"sql": "SELECT %s", "params": (1, 2)}, "placeholders"),
        ({"sql": b"SELECT 1"}, "takes a statement as text"),
        ({"sql": "SELECT 1; SELECT 2"}, "one SELECT"),
    ],
)
def test_bad_arguments_are_refused(db: DatabaseManager, arguments: dict[str, Any], words: str) -> None:
    given = {"sql": "SELECT 1", "params": (), "into": io.BytesIO(), **arguments}
    with pytest.raises(errors.InvalidInputError, match=words):
        db.copy_out(given.pop("sql"), given.pop("params"), **given)
