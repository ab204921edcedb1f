"""Exports as users type them: periods, prebuilt queries, standard output, mistakes."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import InvalidInputError
from db_utils.files import query_calls
from db_utils.files.whole_file import written_whole
from tests.integration.cli.conftest import Run
from tests.integration.files.conftest import NAME, ORGANIZATION, count


def test_a_period_of_one_organization(seeded: DatabaseManager, run: Run, tmp_path: Path) -> None:
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=20)
    period = ("--start", first.isoformat(), "--end", (first + dt.timedelta(days=10)).isoformat())
    done = run(
        seeded.settings.database_url, "export", "demand_history", "--organization", NAME, *period, "-o", "d.csv.gz", "--json"
    )  # fmt: skip
    where = f"organization_id = '{ORGANIZATION}' AND time >= '{first}' AND time < '{first + dt.timedelta(days=10)}'"
    expected = seeded.execute_query(
        f"SELECT time, quantity FROM demand_history WHERE {where} ORDER BY time, product_id, location_id"
    )
    with gzip.open(tmp_path / "d.csv.gz", "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert done.json["rows"] == len(rows) == len(expected) > 0
    assert [(dt.datetime.fromisoformat(r["time"]), Decimal(r["quantity"])) for r in rows] == [
        (r["time"], r["quantity"]) for r in expected
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv.gz"]


@pytest.mark.parametrize(
    "view", ["shift_coverage", "demand_history_daily", "current_demand_forecasts", "employee_attendance_rate"]
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_views_and_rollups(seeded: DatabaseManager, run: Run, tmp_path: Path, view: str, ending: str) -> None:
    done = run(
        seeded.settings.database_url, "export", view, "--all-organizations", "-o", f"v.{ending}", "--json"
    )
    assert done.json["rows"] == count(seeded, view) > 0
    if ending == "parquet":
        assert pq.read_metadata(tmp_path / "v.parquet").num_rows == done.json["rows"]


def test_standard_output_holds_rows_only(seeded: DatabaseManager, run: Run) -> None:
    done = run(
        seeded.settings.database_url, "export", "locations", "--organization", ORGANIZATION, "--format", "jsonl",
        "--columns", "name,metadata",
    )  # fmt: skip
    rows = [json.loads(line) for line in done.out.splitlines()]
    found = seeded.execute_query(
        "SELECT name, metadata FROM locations WHERE organization_id = %s", (ORGANIZATION,)
    )
    assert sorted(rows, key=str) == sorted(
        ({"name": r["name"], "metadata": r["metadata"]} for r in found), key=str
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_a_prebuilt_query(seeded: DatabaseManager, run: Run, tmp_path: Path, ending: str) -> None:
    product = seeded.execute_query(
        "SELECT min(product_id) AS p FROM demand_history WHERE organization_id = %s", (ORGANIZATION,)
    )
    done = run(
        seeded.settings.database_url, "export", "--query", "get_demand_history", "--organization", NAME,
        "--param", f"product_id={product[0]['p']}", "--param", "days=30", "-o", f"q.{ending}", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    expected = OperationalDataQueries(seeded).get_demand_history(ORGANIZATION, product[0]["p"], days=30)
    assert done.json["rows"] == len(expected) > 0
    if ending == "csv":
        rows = list(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
        assert [Decimal(r["quantity"]) for r in rows] == [r["quantity"] for r in expected]
    if ending == "parquet":
        assert [r["quantity"] for r in pq.read_table(tmp_path / "q.parquet").to_pylist()] == [
            r["quantity"] for r in expected
        ]


def test_arguments_are_read_as_their_type_hints_say() -> None:
    assert query_calls.typed("days", "30", int | None) == 30
    assert query_calls.typed("start", "2026-01-01T00:00+00:00", dt.datetime | None) == dt.datetime(
        2026, 1, 1, tzinfo=dt.UTC
    )
    assert query_calls.typed("lead", "36 hours", dt.timedelta) == dt.timedelta(hours=36)
    assert query_calls.typed("lead", "2d", dt.timedelta) == dt.timedelta(days=2)
    assert query_calls.typed("active", "no", bool) is False
    assert query_calls.typed("names", "a, b", list[str]) == ["a", "b"]
    with pytest.raises(InvalidInputError, match="whole number"):
        query_calls.typed("days", "many", int | None)


BAD = [
    (["demand_histry", "-o", "a.csv"], "did you mean demand_history"),
    (["tenant_logins", "-o", "a.csv"], "internal to the schema"),
    (["alerts", "-o", "a.xls"], "does not indicate a format"),
    (["alerts", "-o", "a.parquet", "--gzip"], "compressed internally"),
    (["alerts", "-o", "missing/a.csv"], "cannot be written"),
    (["alerts", "-o", "a.csv", "--columns", "titel"], "did you mean title"),
    (["alerts", "-o", "a.csv", "--start", "2026-02-01", "--end", "2026-01-01"], "must start before it ends"),
    (["locations", "-o", "a.csv", "--time-column", "name", "--start", "2026-01-01"], "is not a time"),
    (["-o", "a.csv"], "give a table or view"),
    (["--query", "get_kpi_sumary", "-o", "a.csv"], "did you mean get_kpi_summary"),
    (["--query", "get_kpi_summary", "-o", "a.csv", "--param", "weeks=1"], "has no parameter weeks"),
    (["--query", "get_demand_history", "-o", "a.csv"], "needs product_id"),
    (["--query", "raise_alert", "-o", "a.csv"], "there is no prebuilt query raise_alert"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_mistakes_leave_no_file(
    seeded: DatabaseManager, run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run(seeded.settings.database_url, "export", *arguments, "--organization", NAME)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    def half() -> None:
        with written_whole(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_year_that_python_has_not_is_one_sentence_or_a_text(
    seeded_database: DatabaseManager, run: Run, tmp_path: Path
) -> None:
    """Rows from before the bounds of schema version 8."""
    db = seeded_database
    db.execute("ALTER TABLE production_plans DROP CONSTRAINT production_plans_plan_date_readable_check")
    db.execute(
        "UPDATE production_plans SET plan_date = '0044-03-15 BC' WHERE plan_id = ("
        "SELECT plan_id FROM production_plans WHERE organization_id = %s ORDER BY plan_id LIMIT 1)",
        (ORGANIZATION,),
    )
    export = (db.settings.database_url, "export", "production_plans", "--organization", ORGANIZATION, "-o")
    refused = run(*export, "p.parquet")
    assert refused.code == 1
    assert refused.err.startswith("error: a value does not fit this format (year -44 is out of range)")
    assert list(tmp_path.iterdir()) == []
    assert run(*export, "p.csv").code == 0
    assert "0044-03-15 BC" in (tmp_path / "p.csv").read_text()
