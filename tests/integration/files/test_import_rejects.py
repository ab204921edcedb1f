"""Bad rows: reported by line, with the reason, and corrected in a second run."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from db_utils.errors import InvalidInputError
from db_utils.files import ImportOptions, import_files
from tests.integration.cli.conftest import Run
from tests.integration.files.conftest import NAME, ORGANIZATION, Write, count, location


def test_rejects_say_where_and_why_and_can_be_put_right(
    db: DatabaseManager, run: Run, write: Write, tmp_path: Path
) -> None:
    _, name = location(db)
    future = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).isoformat()
    rows = [
        ["time", "product_id", "location", "quantity"],
        ["2024-01-01T00:00Z", "two\nlines", name, "1"],  # lines 2 and 3
        ["2024-01-02T00:00", "A", name, "1"],  # 4: no zone
        ["2024-01-02T00:00Z", "A", name[:-1], "1"],  # 5: unknown location
        ["2024-01-02T00:00Z", "A", name, "many"],  # 6: not a number
        ["2024-01-02T00:00Z", "A", name, "-1"],  # 7: below 0
        [future, "A", name, "1"],  # 8: not yet
        ["2024-01-02T00:00Z", "A", name],  # 9: a field missing
        ["2024-01-02T00:00Z", "", name, "1"],  # 10: no product
        ["2024-01-02T00:00Z", "A", name, "NaN"],  # 11
        [
            "2024-01-03T00:00Z",
            "A",
            name,
            "1",
        ],  # 12, 13, 14: one key, so it is unclear which one counts
        ["2024-01-03T00:00Z", "A", name, "1.0"],
        ["2024-01-03T00:00Z", "A", name, "2"],
        ["2024-01-02T00:00Z", "A\0B", name, "1"],  # 15: NUL
        ["2024-01-04T00:00Z", "A", name, "1"],  # 16: good
    ]
    file = write("sales.csv", rows)
    url = db.settings.database_url
    before = count(db, "demand_history")
    refused = run(url, "import", str(file), "--into", "demand_history", "--organization", NAME)
    assert refused.code == 1
    assert "Nothing was written" in refused.out
    assert count(db, "demand_history") == before
    with (tmp_path / "sales.csv.rejects.csv").open(newline="") as stream:
        told = list(csv.DictReader(stream))
    assert [(int(row["rejected_line"]), row["rejected_column"]) for row in told] == [
        (4, "time"), (5, "location_id"), (6, "quantity"), (7, "quantity"), (8, "time"), (9, ""), (10, "product_id"),
        (11, "quantity"), *[(line, "product_id, location_id, time") for line in (12, 13, 14)], (15, "product_id"),
    ]  # fmt: skip
    reasons = {int(row["rejected_line"]): row["rejected_reason"] for row in told}
    assert "--time-zone" in reasons[4]
    assert f"did you mean '{name}'" in reasons[5]
    assert "many" in reasons[6]
    assert "quantity >= " in reasons[7]
    assert "has 3 fields" in reasons[9]
    assert "line 14 and 1 more" in reasons[12]
    assert "line 12 and 1 more" in reasons[14]
    assert "NUL" in reasons[15]
    assert told[1]["location"] == name[:-1]

    skipped = run(
        url, "import", str(file), "--into", "demand_history", "--organization", NAME, "--skip-bad", "--json"
    )
    assert skipped.code == 3
    assert (skipped.json["read"], skipped.json["added"], skipped.json["already_there"]) == (14, 2, 0)
    assert skipped.json["rejected"] == 12
    assert count(db, "demand_history") == before + 2

    # Once corrected, the reject file can be imported as it is.
    mended = [row for row in told if row["rejected_line"] in ("5", "6")]
    mended[0] |= {"location": name}
    mended[1] |= {"quantity": "12", "product_id": "B"}
    path = write("mended.csv", [list(mended[0]), *[list(row.values()) for row in mended]])
    assert (
        run(url, "import", str(path), "--into", "demand_history", "--organization", NAME, "--json").json[
            "added"
        ]
        == 2
    )


def test_json_lines_rejects(db: DatabaseManager, tmp_path: Path) -> None:
    _, name = location(db)
    good = {
        "time": "2024-01-01T00:00Z",
        "product_id": "J",
        "location": name,
        "quantity": 1.10,
        "metadata": {"a": [1]},
    }
    file = tmp_path / "d.jsonl.gz"
    lines = [
        json.dumps(good),
        "",
        "{broken",
        "[1]",
        json.dumps(good | {"quantity": True}),
        json.dumps(good | {"x": 1, "product_id": "J2"}),
    ]
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        import_files(db, [file], "demand_history", organization=NAME)
    options = ImportOptions(ignore=["x"], skip_bad=True, rejects=tmp_path / "r.jsonl")
    result = import_files(db, [file], "demand_history", organization=NAME, options=options)
    assert (result.read, result.added, result.already_there, result.rejected) == (5, 2, 0, 3)
    told = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [row["rejected_line"] for row in told] == [3, 4, 5]
    assert told[0]["rejected_text"] == "{broken"
    assert db.execute_query("SELECT metadata FROM demand_history WHERE product_id = 'J'")[0]["metadata"] == {
        "a": [1]
    }


def test_what_only_the_target_knows_is_told_by_line(
    db: DatabaseManager, write: Write, tmp_path: Path
) -> None:
    """An employee in two shifts at once, and a missing shift: found at the INSERT, among good rows."""
    _, name = location(db)
    shifts = [["location", "name", "starts_at", "ends_at"]]
    shifts += [
        [name, f"S{n}", f"2024-01-01T{n:02}:00Z", f"2024-01-01T{n + 2:02}:00Z"] for n in range(0, 8, 1)
    ]
    assert import_files(db, [write("s.csv", shifts)], "shifts", organization=NAME).added == 8
    ids = {
        r["name"]: r["id"]
        for r in db.execute_query("SELECT name, shift_id::text AS id FROM shifts WHERE name ~ '^S[0-9]$'")
    }
    code = db.execute_query(
        "SELECT employee_code FROM employees WHERE organization_id = %s LIMIT 1", (ORGANIZATION,)
    )
    worker = code[0]["employee_code"]
    rows = [["shift_id", "employee_code"]]
    rows += [
        [ids["S0"], worker],
        [ids["S1"], worker],
        [ids["S2"], worker],
        [ORGANIZATION, worker],
        [ids["S4"], worker],
    ]
    options = ImportOptions(skip_bad=True, rejects=tmp_path / "r.csv")
    result = import_files(db, [write("a.csv", rows)], "shift_assignments", organization=NAME, options=options)
    assert (result.added, result.already_there, [r.line for r in result.first_rejects]) == (3, 0, [3, 5])
    assert "overlaps" in result.first_rejects[0].reason
    assert "does not exist" in result.first_rejects[1].reason


def test_wrong_encoding_is_told_for_each_row(seeded: DatabaseManager, write: Write, tmp_path: Path) -> None:
    header = ["time", "product_id", "location", "quantity"]
    file = write(
        "l.csv", [header, ["2024-01-01T00:00Z", "Größe", location(seeded)[1], "1"]], encoding="latin-1"
    )
    options = ImportOptions(rejects=tmp_path / "r.csv")
    result = import_files(seeded, [file], "demand_history", organization=NAME, options=options)
    assert not result.written
    assert "--encoding" in result.first_rejects[0].reason
    assert "Größe".encode("latin-1") in (tmp_path / "r.csv").read_bytes()
    assert (
        import_files(
            seeded,
            [file],
            "demand_history",
            organization=NAME,
            options=ImportOptions(encoding="latin-1", dry_run=True),
        ).added
        == 1
    )


def test_a_wrong_mapping_stops_early(seeded: DatabaseManager, write: Write, tmp_path: Path) -> None:
    rows = [["time", "product_id", "location", "quantity"], *[["2024-01-01T00:00Z", "P", "?", "1"]] * 500]
    options = ImportOptions(rejects=tmp_path / "r.csv", max_rejects=20, skip_bad=True)
    result = import_files(
        seeded, [write("w.csv", rows)], "demand_history", organization=NAME, options=options
    )
    assert (result.gave_up, result.written, result.rejected) == (True, False, 21)


def test_percentages_out_of_range(seeded: DatabaseManager, write: Write, tmp_path: Path) -> None:
    resource = seeded.execute_query(
        "SELECT name FROM resources WHERE organization_id = %s LIMIT 1", (ORGANIZATION,)
    )
    header = ["time", "resource", "utilization_pct"]
    rows = [
        [f"2024-01-0{n}T00:00Z", resource[0]["name"], given]
        for n, given in enumerate(("100", "100.1", "-1"), 1)
    ]
    options = ImportOptions(rejects=tmp_path / "r.csv")
    result = import_files(
        seeded, [write("p.csv", [header, *rows])], "resource_metrics", organization=NAME, options=options
    )
    assert [(r.line, r.column) for r in result.first_rejects] == [
        (3, "utilization_pct"),
        (4, "utilization_pct"),
    ]
    assert "100" in result.first_rejects[0].reason
