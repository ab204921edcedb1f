"""The direct path into a table and the staged one: the same counts, rejects and rows, whatever the files contain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from db_utils import DatabaseManager
from db_utils.errors import PermissionDeniedError
from db_utils.files import ImportOptions, ImportResult, import_files, importing
from tests.integration.cli.conftest import role
from tests.integration.files.conftest import NAME, ORGANIZATION, Write, location

HEADER = ["time", "product_id", "location", "quantity", "metadata"]


def day(number: int, name: str, quantity: str = "1.50", metadata: str = '{"a": 1}') -> list[str]:
    """One row, in local time of its own offset."""
    return [
        f"2023-01-{number:02}T12:00:00+0{number % 4}:00",
        "STRAIGHT",
        name,
        quantity,
        metadata,
    ]


GOOD = list(range(1, 13))

CASES: dict[str, tuple[bool, Callable[[str], list[list[list[str]]]]]] = {
    "all good and new": (True, lambda name: [[day(n, name) for n in GOOD]]),
    "two good files": (True, lambda name: [[day(n, name) for n in GOOD[:5]], [day(n, name) for n in GOOD[5:]]]),
    "no rows": (True, lambda name: [[]]),
    "the last breaks a rule": (False, lambda name: [[*[day(n, name) for n in GOOD], day(20, name, "-1")]]),
    "the last of the second file cannot be read": (
        False,
        lambda name: [[day(n, name) for n in GOOD], [day(20, name), day(21, name, "many")]],
    ),
    "a place that is not there": (False, lambda name: [[day(1, name), day(2, "Nowhere")]]),
    "the same row twice": (False, lambda name: [[day(1, name), day(2, name), day(1, name)]]),
    "the same key with other values": (False, lambda name: [[day(1, name), day(1, name, "2")]]),
    "an empty value that means the default": (False, lambda name: [[day(1, name), day(2, name, metadata="")]]),
    "a field too many": (False, lambda name: [[day(1, name), [*day(2, name), "x"]]]),
}  # fmt: skip


def rows_of(db: DatabaseManager) -> list[dict[str, Any]]:
    """The rows of the table."""
    return db.execute_query(
        "SELECT time, location_id, quantity, metadata FROM demand_history WHERE product_id = 'STRAIGHT' ORDER BY time"
    )


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The result of the direct path, each time that it was tried."""
    answers: list[int | None] = []
    copy = importing.copy_directly

    def noted(*arguments: Any) -> int | None:
        answers.append(copy(*arguments))
        return answers[-1]

    monkeypatch.setattr(importing, "copy_directly", noted)
    return answers


@pytest.mark.thorough
@pytest.mark.parametrize("options", [{}, {"skip_bad": True}, {"dry_run": True}], ids=str)
def test_both_ways_come_to_the_same(
    db: DatabaseManager,
    write: Write,
    tmp_path: Path,
    ways: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, bool],
) -> None:
    _, place = location(db)
    rejects = tmp_path / "rejects.csv"

    def done(files: list[Path]) -> tuple[ImportResult, list[dict[str, Any]], str]:
        rejects.unlink(missing_ok=True)
        result = import_files(
            db,
            files,
            "demand_history",
            organization=NAME,
            options=ImportOptions(rejects=rejects, **options),  # type: ignore[arg-type]
        )
        told = rejects.read_text() if rejects.exists() else ""
        found = rows_of(db)
        db.execute("DELETE FROM demand_history WHERE product_id = 'STRAIGHT'")
        return dataclasses.replace(result, seconds=0), found, told

    for name, (goes_straight, contents) in CASES.items():
        files = [write(f"{at}.csv", [HEADER, *rows]) for at, rows in enumerate(contents(place))]
        ways.clear()
        result, found, told = done(files)
        assert (ways[0] is not None) == goes_straight, name
        with monkeypatch.context() as patch:
            patch.setattr(importing, "copy_directly", lambda *arguments: None)
            assert done(files) == (result, found, told), name
        if goes_straight and not options.get("dry_run"):
            given = [row for rows in contents(place) for row in rows]
            assert result.added == result.read == len(given) == len(found), name
            assert {row["quantity"] for row in found} <= {Decimal("1.50")}
            if found:
                assert result.refreshed == (found[0]["time"], found[-1]["time"])


def test_a_second_time_the_staged_way_finds_all_of_them_there(
    db: DatabaseManager, write: Write, ways: list[int | None]
) -> None:
    _, place = location(db)
    file = write("twice.csv", [HEADER, *[day(n, place) for n in GOOD]])
    for added in (12, 0):
        result = import_files(db, [file], "demand_history", organization=NAME)
        assert (result.read, result.added, result.already_there) == (12, added, 12 - added)
    assert ways == [12, None]


def test_what_no_row_is_to_blame_for_is_not_tried_again(
    db: DatabaseManager, server_url: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only role is refused by the first COPY, and no table is created for a second attempt."""
    _, place = location(db)
    file = write("denied.csv", [HEADER, day(1, place)])
    monkeypatch.setattr(importing.Stage, "create", lambda stage: pytest.fail("it was tried again"))
    with (
        role(server_url, db, "barnameh_readonly") as url,
        DatabaseManager(url) as reader,
        pytest.raises(PermissionDeniedError),
    ):
        import_files(reader, [file], "demand_history", organization=ORGANIZATION)
    assert rows_of(db) == []
