"""Imports as users type them: mapping, names, zones, units, repeats, several files, old rows."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from db_utils.errors import InvalidInputError
from db_utils.files import ImportOptions, import_files
from tests.integration.cli.conftest import Run, command, environment
from tests.integration.files.conftest import NAME, ORGANIZATION, Write, count, location
from tests.support.scale import compress_old_chunks


def sales(place: str, days: int = 5) -> list[list[str]]:
    return [
        ["time", "product_id", "location", "quantity"],
        *[[f"2024-01-{n + 1:02}T00:00:00Z", "P", place, f"{n}.50"] for n in range(days)],
    ]


def test_twice_adds_nothing_and_update_overwrites(db: DatabaseManager, run: Run, write: Write) -> None:
    place, name = location(db)
    url = db.settings.database_url
    file = str(write("sales.csv", sales(name)))
    into = ("import", file, "--into", "demand_history", "--organization", NAME, "--json")
    first = run(url, *into)
    assert first.code == 0, first.err
    assert (first.json["read"], first.json["added"]) == (5, 5)
    second = run(url, *into)
    assert (second.code, second.json["added"], second.json["already_there"]) == (0, 0, 5)
    found = db.execute_query(
        "SELECT quantity FROM demand_history WHERE product_id = 'P' AND location_id = %s ORDER BY time",
        (place,),
    )
    assert [str(row["quantity"]) for row in found] == ["0.50", "1.50", "2.50", "3.50", "4.50"]

    changed = sales(name)
    changed[3][3] = "99"
    changed.append(["2024-02-01T00:00:00Z", "P", place.upper(), "7"])
    file = str(write("changed.csv", changed))
    left = run(url, "import", file, "--into", "demand_history", "--organization", ORGANIZATION, "--dry-run")
    assert "1 added" in left.out
    assert "1 of those already there have other values" in left.out
    assert count(db, "demand_history", "quantity = 99") == 0
    done = run(
        url, "import", file, "--into", "demand_history", "--organization", ORGANIZATION, "--update", "--json"
    )
    assert (done.json["added"], done.json["updated"], done.json["already_there"]) == (1, 1, 4)
    assert count(db, "demand_history", "product_id = 'P' AND quantity = 99") == 1


def test_a_spreadsheet_of_another_country(
    db: DatabaseManager, run: Run, write: Write, tmp_path: Path
) -> None:
    _, name = location(db)
    rows = [
        ["Datum", "Artikel", "Stück", "Umsatz €", "Bemerkung"],
        ["31.01.2024 08:00", "Größe 4", "1.234,5", "10,25", "x;y"],
        ["01.07.2024 08:00", "Größe 4", "0,5", "", 'er sagte "ja"\nund ging'],
    ]
    file = write("umsatz.csv", rows, encoding="cp1252", delimiter=";")
    done = run(
        db.settings.database_url, "import", str(file), "--into", "demand_history", "--organization", NAME,
        "--encoding", "cp1252", "--decimal", ",", "--thousands", ".", "--time-zone", "Europe/Berlin",
        "--time-format", "%d.%m.%Y %H:%M", "--map", "Datum=time", "--map", "Artikel=product_id", "--map", "Stück=quantity",
        "--map", "Umsatz €=revenue", "--ignore", "Bemerkung", "--set", f"location_id={name}", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = db.execute_query(
        "SELECT time, quantity, revenue FROM demand_history WHERE product_id = 'Größe 4' ORDER BY time"
    )
    assert [(r["time"], r["quantity"], r["revenue"]) for r in found] == [
        (dt.datetime(2024, 1, 31, 7, tzinfo=dt.UTC), Decimal("1234.5"), Decimal("10.25")),
        (dt.datetime(2024, 7, 1, 6, tzinfo=dt.UTC), Decimal("0.5"), None),
    ]


def test_units_and_codes(db: DatabaseManager, write: Write) -> None:
    resource = db.execute_query(
        "SELECT resource_id::text AS id, name FROM resources WHERE organization_id = %s LIMIT 1",
        (ORGANIZATION,),
    )[0]
    employee = db.execute_query(
        "SELECT employee_id, employee_code FROM employees WHERE organization_id = %s LIMIT 1", (ORGANIZATION,)
    )[0]
    metrics = write(
        "m.csv", [["time", "machine", "load", "down"], ["2024-01-01T00:00Z", resource["name"], "0.425", "90"]]
    )
    options = ImportOptions(
        mapping={"machine": "resource_id", "load": "utilization_pct", "down": "downtime_minutes"},
        constants={"sample_minutes": "5"},
        units={"utilization_pct": "fraction", "downtime_minutes": "seconds"},
    )
    assert import_files(db, [metrics], "resource_metrics", organization=NAME, options=options).added == 1
    row = db.execute_query("SELECT * FROM resource_metrics WHERE time = '2024-01-01T00:00Z'")[0]
    assert (row["utilization_pct"], row["downtime_minutes"]) == (Decimal("42.5"), Decimal("1.5"))
    assert str(row["resource_id"]) == resource["id"]

    came = write(
        "a.csv",
        [
            ["employee_code", "time", "status", "hours_worked"],
            [employee["employee_code"], "2024-01-01 08:00Z", "present", "450"],
        ],
    )
    minutes = ImportOptions(units={"hours_worked": "minutes"})
    assert import_files(db, [came], "employee_attendance", organization=NAME, options=minutes).added == 1
    row = db.execute_query("SELECT * FROM employee_attendance WHERE time = '2024-01-01T08:00Z'")[0]
    # The column was not in the file: the table's default.
    assert (row["employee_id"], row["hours_worked"], row["scheduled_hours"]) == (
        employee["employee_id"],
        Decimal("7.5"),
        8,
    )

    energy = write(
        "e.csv",
        [["time", "product_id", "location", "quantity"], ["2024-01-01T00:00Z", "E", location(db)[1], "1.5"]],
    )
    with pytest.raises(InvalidInputError, match="does not contain its unit"):
        import_files(
            db,
            [energy],
            "demand_history",
            organization=NAME,
            options=ImportOptions(units={"quantity": "mwh"}),
        )
    import_files(
        db,
        [energy],
        "demand_history",
        organization=NAME,
        options=ImportOptions(units={"quantity": "mwh:kwh"}),
    )
    assert (
        db.execute_query("SELECT quantity FROM demand_history WHERE product_id = 'E'")[0]["quantity"] == 1500
    )


def test_events_get_the_same_identity_each_time(db: DatabaseManager, write: Write) -> None:
    _, name = location(db)
    rows = [
        ["time", "location", "event_type", "quantity", "note"],
        ["2024-01-01T00:00Z", name, "production", "5", ""],
        ["2024-01-01T00:00Z", name, "production", "5.0", ""],  # the same again: it happened twice
        ["2024-01-01T00:00Z", name, "production", "6", ""],
    ]
    options = ImportOptions(ignore=["note"])
    before = count(db, "operational_events")
    first = import_files(db, [write("e.csv", rows)], "operational_events", organization=NAME, options=options)
    assert first.added == 3
    ids = {
        row["event_id"]
        for row in db.execute_query("SELECT event_id FROM operational_events WHERE time = '2024-01-01'")
    }
    assert len(ids) == 3
    assert {identifier.version for identifier in ids} == {8}
    # In another order and dialect, with one more.
    again = [rows[0], rows[3], rows[1], rows[2], ["2024-01-01T00:00Z", name, "production", "5", ""]]
    second = import_files(
        db, [write("f.csv", again, delimiter="|")], "operational_events", organization=NAME, options=options
    )
    assert (second.added, second.already_there) == (1, 3)
    assert count(db, "operational_events") == before + 4


def test_predictions_are_never_overwritten(db: DatabaseManager, write: Write) -> None:
    file = write("f.csv", [["a"], ["b"]])
    with pytest.raises(InvalidInputError, match="append-only"):
        import_files(db, [file], "demand_forecasts", organization=NAME, options=ImportOptions(update=True))


def test_standard_input_and_several_files(db: DatabaseManager, write: Write, tmp_path: Path) -> None:
    _, name = location(db)
    data = "\n".join(",".join(row) for row in sales(name, 3)).encode()
    arguments = ["import", "-", "--into", "demand_history", "--organization", NAME, "--json"]
    for sent in (data, gzip.compress(data)):
        done = subprocess.run(
            command(*arguments), input=sent, cwd=tmp_path, capture_output=True, check=True,
            env=environment(DATABASE_URL=db.settings.database_url),
        )  # fmt: skip
        assert json.loads(done.stdout)["read"] == 3
    one, two = (
        write("1.csv", sales(name, 4)),
        write("2.csv", [sales(name)[0], ["x", "P", name, "1"], sales(name)[1]]),
    )
    options = ImportOptions(rejects=tmp_path / "r.csv", skip_bad=True)
    result = import_files(db, [one, two], "demand_history", organization=NAME, options=options)
    assert (result.read, result.added, result.already_there) == (6, 1, 2)
    # A key in both files is refused in both, each with the location of the other.
    assert [(r.file, r.line) for r in result.first_rejects] == [(str(one), 2), (str(two), 2), (str(two), 3)]
    assert f"line 3 of {two}" in result.first_rejects[0].reason
    assert f"line 2 of {one}" in result.first_rejects[2].reason


def test_rows_of_another_organization_are_refused(db: DatabaseManager, write: Write, tmp_path: Path) -> None:
    other = db.execute_query(
        "SELECT organization_id::text AS id FROM organizations WHERE name <> %s", (NAME,)
    )[0]["id"]
    header = ["organization_id", "time", "product_id", "location", "quantity"]
    rows = [
        [given, "2024-01-01T00:00Z", f"P{n}", location(db)[1], "1"]
        for n, given in enumerate((ORGANIZATION, NAME, other))
    ]
    options = ImportOptions(rejects=tmp_path / "r.csv", skip_bad=True)
    result = import_files(
        db, [write("o.csv", [header, *rows])], "demand_history", organization=NAME, options=options
    )
    assert (result.added, [r.line for r in result.first_rejects]) == (2, [4])
    assert "another organization" in result.first_rejects[0].reason


def test_old_rows_in_the_columnstore_are_met_and_updated(db: DatabaseManager, write: Write) -> None:
    _, name = location(db)
    old = sales(name, 31)
    assert import_files(db, [write("old.csv", old)], "demand_history", organization=NAME).added == 31
    compress_old_chunks(db)
    changed = [
        old[0],
        ["2024-01-05T00:00Z", "P", name, "77"],
        *old[10:20],
        ["2024-01-05T12:00Z", "P", name, "8"],
    ]
    result = import_files(
        db,
        [write("new.csv", changed)],
        "demand_history",
        organization=NAME,
        options=ImportOptions(update=True),
    )
    assert (result.added, result.updated, result.already_there) == (1, 1, 10)
    total = sum(Decimal(row[3]) for row in old[1:]) - Decimal(old[5][3]) + 77 + 8
    for relation in ("demand_history", "demand_history_daily"):
        where = "product_id = 'P'"
        found = db.execute_query(f"SELECT sum(quantity) AS total FROM {relation} WHERE {where}")[0]["total"]
        assert found == total, relation


def test_what_several_organizations_share(db: DatabaseManager, write: Write, run: Run) -> None:
    hours = [("time", "factor_type", "name", "value", "unit")]
    hours += [(f"2026-03-02T{hour:02}:00Z", "weather", "temperature", hour, "celsius") for hour in range(24)]
    file, url = str(write("weather.csv", hours)), db.settings.database_url
    into = ("import", file, "--into", "external_factors", "--set", "available_at=2026-03-03T00:00Z", "--json")
    both = ("--organization", NAME, "--organization", "Sample Logistics")
    unknown = run(url, *into, *both, "--organization", "Nobody")
    assert unknown.code == 1
    assert "there is no organization 'Nobody'" in unknown.err
    assert [(r["organization"], r["added"]) for r in run(url, *into, *both).json] == [
        (NAME, 24),
        ("Sample Logistics", 24),
    ]
    assert [r["already_there"] for r in run(url, *into, *both).json] == [24, 24]
    bad = str(
        write("bad.csv", [*hours[:2], ("2026-03-02T05:30Z", "weather", "temperature", "hot", "celsius")])
    )
    (refused,) = run(url, "import", bad, *into[2:], *both).json
    assert (refused["organization"], refused["written"]) == (NAME, False)
    assert run(url, "import", "-", "--into", "external_factors", *both).code == 1
