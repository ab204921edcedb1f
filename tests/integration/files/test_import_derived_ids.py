"""One key, one row: repeats are refused or added up, a corrected file updates rows, and rows not found are reported."""

from __future__ import annotations

import csv
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from db_utils import DatabaseManager
from db_utils.errors import InvalidInputError
from db_utils.files import ExportOptions, ImportOptions, ImportResult, export_relation, import_files
from tests.integration.files.conftest import NAME, ORGANIZATION, Write, location

LINES = [
    ["time", "product_id", "location", "quantity", "revenue"],
    ["2024-01-01T10:00Z", "S", "", "1", "1.25"],
    ["2024-01-01T10:00Z", "S", "", "1", "1.25"],
    ["2024-01-01T11:00Z", "S", "", "2", "3"],
    ["2024-01-01T10:00Z", "S", "", "3", ""],
    ["2024-01-01T12:00Z", "S", "", "6", "7"],
    ["2024-01-01T12:00Z", "S", "", "4", "7.5"],
]


def run(db: DatabaseManager, file: Path, table: str = "demand_history", **options: Any) -> ImportResult:
    options.setdefault("rejects", file.with_suffix(".rejects.csv"))
    return import_files(db, [file], table, organization=NAME, options=ImportOptions(**options))


def lines(db: DatabaseManager) -> list[list[str]]:
    _, name = location(db)
    return [LINES[0], *[[*row[:2], name, *row[3:]] for row in LINES[1:]]]


def sold(db: DatabaseManager) -> list[tuple[int, Decimal, Decimal | None]]:
    rows = db.execute_query(
        "SELECT time, quantity, revenue FROM demand_history WHERE product_id = 'S' ORDER BY time"
    )
    return [(row["time"].hour, row["quantity"], row["revenue"]) for row in rows]


def test_a_key_that_comes_again_is_refused_whole(db: DatabaseManager, write: Write) -> None:
    file = write("s.csv", lines(db))
    refused = run(db, file)
    assert not refused.written
    assert [r.line for r in refused.first_rejects] == [2, 3, 5, 6, 7]
    assert refused.first_rejects[0].reason.startswith("the same key as line 5 and 1 more")
    assert "--sum quantity" in refused.first_rejects[3].reason
    assert sold(db) == []
    # Only the good row; and the reject file, with all rows of each key, can be added up afterwards.
    skipped = run(db, file, skip_bad=True)
    assert (skipped.added, skipped.rejected, skipped.already_there) == (1, 5, 0)
    later = run(
        db, file.with_suffix(".rejects.csv"), sum=("quantity", "revenue"), rejects=file.with_suffix(".r2")
    )
    assert (later.read, later.added, later.summed) == (5, 2, 3)
    assert sold(db) == [(10, 5, None), (11, 2, 3), (12, 10, Decimal("14.5"))]


def test_added_up_a_second_time_all_is_there(db: DatabaseManager, write: Write) -> None:
    file = write("s.csv", lines(db))
    first = run(db, file, sum=("quantity", "revenue"))
    assert (first.read, first.added, first.summed, first.already_there) == (6, 3, 3, 0)
    assert sold(db) == [(10, 5, None), (11, 2, 3), (12, 10, Decimal("14.5"))]
    again = run(db, file, sum=("quantity", "revenue"))
    assert (again.added, again.summed, again.already_there, again.different) == (0, 3, 3, 0)
    # If revenue differs and is not among the sums, there is nothing to write.
    other = run(db, file, sum=("quantity",))
    assert [r.line for r in other.first_rejects] == [2, 3, 5, 6, 7]
    with pytest.raises(InvalidInputError, match="product_id is not a numeric column"):
        run(db, file, sum=("product_id",))


EVENTS = ["time", "booking", "location", "event_type", "quantity"]


def booked(db: DatabaseManager, *rows: tuple[str, str, str]) -> list[list[str]]:
    _, name = location(db)
    return [EVENTS, *[[f"2024-01-01T{time}Z", key, name, "production", n] for time, key, n in rows]]


def stored(db: DatabaseManager) -> dict[str, tuple[str, Decimal]]:
    rows = db.execute_query(
        "SELECT event_id::text, time, quantity FROM operational_events "
        "WHERE time >= '2024-01-01' AND time < '2024-01-02' ORDER BY time, event_id"
    )
    return {row["event_id"]: (f"{row['time']:%H:%M}", row["quantity"]) for row in rows}


def test_a_corrected_file_corrects_what_has_a_key(db: DatabaseManager, write: Write) -> None:
    ids = [str(uuid.uuid5(uuid.UUID(ORGANIZATION), f"operational_events:B-{n}")) for n in range(4)]
    first = booked(db, ("06:00", "B-0", "100"), ("07:00", " B-1", "50"), ("08:00", "B-2", "7"))
    assert run(db, write("a.csv", first), "operational_events", key=("booking",)).added == 3
    assert stored(db) == {ids[0]: ("06:00", 100), ids[1]: ("07:00", 50), ids[2]: ("08:00", 7)}
    corrected = write(
        "b.csv",
        booked(
            db, ("06:00", "B-0", "80"), ("09:30", "B-1", "50"), ("10:00", "B-2", "8"), ("11:00", "B-3", "1")
        ),
    )
    # Without --update a moved event is refused, not added again.
    refused = run(db, corrected, "operational_events", key=("booking",))
    assert [(r.line, r.column) for r in refused.first_rejects] == [(3, "time"), (4, "time")]
    assert "--update moves it" in refused.first_rejects[0].reason
    done = run(db, corrected, "operational_events", key=("booking",), update=True)
    assert (done.added, done.updated, done.already_there) == (1, 3, 0)
    right = {ids[0]: ("06:00", 80), ids[1]: ("09:30", 50), ids[2]: ("10:00", 8), ids[3]: ("11:00", 1)}
    assert stored(db) == right
    again = run(db, corrected, "operational_events", key=("booking",), update=True)
    assert (again.added, again.updated, again.already_there) == (0, 0, 4)
    assert stored(db) == right
    rolled = db.execute_query(
        "SELECT sum(quantity) AS total FROM operational_events_hourly "
        "WHERE bucket >= '2024-01-01' AND bucket < '2024-01-02'"
    )
    assert rolled[0]["total"] == 80 + 50 + 8 + 1


def test_a_key_twice_or_empty_or_of_no_use(db: DatabaseManager, write: Write) -> None:
    twice = write("t.csv", booked(db, ("06:00", "B-0", "1"), ("07:00", "B-0", "2"), ("08:00", "", "3")))
    result = run(db, twice, "operational_events", key=("booking",))
    assert sorted((r.line, r.column) for r in result.first_rejects) == [
        (2, "event_id"),
        (3, "event_id"),
        (4, "event_id"),
    ]
    with pytest.raises(InvalidInputError, match="its columns are its key"):
        run(db, write("s.csv", lines(db)), key=("quantity",))
    with pytest.raises(InvalidInputError, match="no column 'bookin'"):
        run(db, twice, "operational_events", key=("bookin",))


def test_update_without_a_key_corrects_numbers_and_says_what_it_cannot_find(
    db: DatabaseManager, write: Write
) -> None:
    db.execute("DELETE FROM operational_events WHERE organization_id = %s", (ORGANIZATION,))
    options: dict[str, Any] = {"ignore": ("booking",), "update": True}
    file = write("a.csv", booked(db, ("06:00", "", "100"), ("07:00", "", "50"), ("08:00", "", "5")))
    assert run(db, file, "operational_events", **options).added == 3  # there is no row that it could correct
    assert run(db, file, "operational_events", **options).already_there == 3
    # Only a number differs: the same row, corrected; its content is its identity again.
    changed = write("b.csv", booked(db, ("06:00", "", "80"), ("07:00", "", "50"), ("08:00", "", "")))
    done = run(db, changed, "operational_events", **options)
    assert (done.added, done.updated, done.already_there) == (0, 2, 1)
    assert sorted(stored(db).values(), key=str) == [("06:00", 80), ("07:00", 50), ("08:00", None)]
    assert run(db, changed, "operational_events", ignore=("booking",)).already_there == 3
    rolled = db.execute_query(
        "SELECT sum(quantity) AS total FROM operational_events_hourly WHERE bucket >= '2024-01-01' AND bucket < '2024-01-02'"
    )
    assert rolled[0]["total"] == 130
    # At another time it may be a correction or another row.
    moved = run(db, write("c.csv", booked(db, ("06:30", "", "80"))), "operational_events", **options)
    assert [(r.line, r.column) for r in moved.first_rejects] == [(2, "event_id")]
    assert "--key" in moved.first_rejects[0].reason
    # With two equal rows the match is ambiguous.
    twins = write("d.csv", booked(db, ("09:00", "", "1"), ("09:00", "", "2")))
    assert run(db, twins, "operational_events", ignore=("booking",)).added == 2
    one = run(
        db,
        write("e.csv", booked(db, ("09:00", "", "1"), ("09:00", "", "3"))),
        "operational_events",
        **options,
    )
    assert (one.added, one.updated, one.already_there) == (0, 1, 1)  # the other one exists unchanged
    both = run(
        db,
        write("f.csv", booked(db, ("09:00", "", "4"), ("09:00", "", "5"))),
        "operational_events",
        **options,
    )
    assert [r.line for r in both.first_rejects] == [2, 3]
    # A row recorded by another program has its own id.
    db.execute(
        "UPDATE operational_events SET event_id = gen_random_uuid() WHERE organization_id = %s AND time = '2024-01-01T06:00Z'",
        (ORGANIZATION,),
    )
    own = run(db, write("g.csv", booked(db, ("06:00", "", "81"))), "operational_events", **options)
    assert [r.line for r in own.first_rejects] == [2]


def test_one_attendance_for_one_employee_and_shift(db: DatabaseManager, write: Write) -> None:
    (assigned,) = db.execute_query(
        "SELECT a.shift_id::text AS shift, e.employee_code AS code, e.employee_id::text AS id FROM shift_assignments AS a "
        "JOIN employees AS e USING (organization_id, employee_id) WHERE organization_id = %s LIMIT 1",
        (ORGANIZATION,),
    )
    db.execute("DELETE FROM employee_attendance WHERE organization_id = %s", (ORGANIZATION,))

    def came(*rows: tuple[str, str, str]) -> Path:
        lines = [
            [f"2024-01-01T{at}Z", assigned["code"], assigned["shift"] if shift else "", status]
            for at, shift, status in rows
        ]
        return write("a.csv", [["time", "employee_code", "shift_id", "status"], *lines])

    def stored() -> list[tuple[int, str]]:
        rows = db.execute_query(
            "SELECT time, status FROM employee_attendance WHERE organization_id = %s ORDER BY time",
            (ORGANIZATION,),
        )
        return [(row["time"].hour * 60 + row["time"].minute, row["status"]) for row in rows]

    table = "employee_attendance"
    twice = run(db, came(("06:00", "S", "absent"), ("06:20", "S", "late")), table)
    assert [(r.line, r.column) for r in twice.first_rejects] == [
        (2, "employee_id, shift_id"),
        (3, "employee_id, shift_id"),
    ]
    assert (
        run(db, came(("06:00", "S", "absent"), ("05:00", "", "present"), ("04:00", "", "late")), table).added
        == 3
    )
    corrected = came(("06:20", "S", "late"), ("05:00", "", "present"))
    refused = run(db, corrected, table)
    assert [(r.line, r.column) for r in refused.first_rejects] == [(2, "time")]
    assert "--update moves it" in refused.first_rejects[0].reason
    done = run(db, corrected, table, update=True)
    assert (done.added, done.updated, done.already_there) == (0, 1, 1)
    assert stored() == [(240, "late"), (300, "present"), (380, "late")]
    (rolled,) = db.execute_query(
        "SELECT sum(attended_count) AS came, sum(scheduled_count) AS due FROM employee_attendance_hourly "
        "WHERE organization_id = %s AND bucket < '2024-01-02'",
        (ORGANIZATION,),
    )
    assert (rolled["came"], rolled["due"]) == (3, 3)


def test_names_in_any_spelling(db: DatabaseManager, write: Write) -> None:
    db.execute(
        "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, 'Café 4711', 'store')",
        (ORGANIZATION,),
    )
    rows = [
        LINES[0][:4],
        ["2024-01-01T10:00Z", "Caf\u00e9 ", "Cafe\u0301 4711", "1"],
        ["2024-01-01T11:00Z", "\u00a0Cafe\u0301", " Café 4711\u202f", "2"],
        ["2024-01-01T12:00Z", "4711.0", "Café 4711", "4"],
        ["2024-01-01T13:00Z", "4711", "Café 4711", "8"],
        ["2024-01-01T13:00Z", "4711.5", "Café 4711", "16"],
    ]
    assert run(db, write("n.csv", rows)).added == 5
    found = db.execute_query(
        "SELECT d.product_id, sum(quantity) AS total FROM demand_history AS d INNER JOIN locations AS l USING (location_id) "
        "WHERE l.name = 'Café 4711' GROUP BY d.product_id ORDER BY 2"
    )
    assert [(row["product_id"], row["total"]) for row in found] == [("Café", 3), ("4711", 12), ("4711.5", 16)]


def test_formulas_are_escaped_and_come_back(
    db: DatabaseManager, empty_database: DatabaseManager, tmp_path: Path
) -> None:
    names = ["=1+1", "+cmd|x", "-5", "@SUM(A1)", "'=quoted", "plain", "'plain", "\uff1dwide"]
    organization = str(
        empty_database.execute_query(
            "INSERT INTO organizations (name, industry) VALUES ('o', 'x') RETURNING organization_id"
        )[0]["organization_id"]
    )
    for name in names:
        empty_database.execute(
            "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, %s, 'store')",
            (organization, name),
        )
    file = tmp_path / "l.csv"
    options = ExportOptions(null=r"\N", escape_formulas=True)
    export_relation(empty_database, "locations", file, organization=organization, options=options)
    with file.open(newline="", encoding="utf-8") as stream:
        written = {row["name"] for row in csv.DictReader(stream)}
    assert written == {f"'{name}" if name not in ("plain", "'plain") else name for name in names}
    empty_database.execute("DELETE FROM locations")
    back = ImportOptions(null=r"\N", escaped_formulas=True)
    assert import_files(
        empty_database, [file], "locations", organization=organization, options=back
    ).added == len(names)
    stored_names = [row["name"] for row in empty_database.execute_query("SELECT name FROM locations")]
    assert sorted(stored_names) == sorted(names)
    with pytest.raises(InvalidInputError, match="is for CSV"):
        export_relation(
            empty_database,
            "locations",
            tmp_path / "l.jsonl",
            organization=None,
            options=ExportOptions(escape_formulas=True),
        )
