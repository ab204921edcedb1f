"""Times in local time of each row's location, and that location's days."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.files import ImportOptions, import_files
from tests.integration.files.conftest import Write

UTC = dt.UTC
ZONES = {"TX": "America/Chicago", "CA": "America/Los_Angeles", "CL": "America/Santiago"}


@pytest.fixture
def organization(db: DatabaseManager) -> str:
    """An organization with a store in each of three zones, and a machine in two of them."""
    queries = OperationalDataQueries(db)
    found = str(
        queries.create_organization("Stores", industry="retail", timezone="America/New_York")[
            "organization_id"
        ]
    )
    for name, zone in ZONES.items():
        place = queries.create_location(found, name, location_type="store", timezone=zone)["location_id"]
        if name != "CL":
            queries.create_resource(found, f"M-{name}", location_id=place, resource_type="m")
    return found


def times(db: DatabaseManager, organization: str, table: str = "demand_history") -> list[str]:
    rows = db.execute_query(
        f"SELECT time FROM {table} WHERE organization_id = %s ORDER BY time", (organization,)
    )
    return [row["time"].astimezone(UTC).strftime("%d %H:%M") for row in rows]


def load(
    db: DatabaseManager, organization: str, file: Path, table: str = "demand_history", **options: Any
) -> Any:
    options.setdefault("rejects", file.with_suffix(".rejects"))
    return import_files(db, [file], table, organization=organization, options=ImportOptions(**options))


HEADER = ["time", "location", "product_id", "quantity"]


def test_clock_times_are_those_of_the_place(db: DatabaseManager, organization: str, write: Write) -> None:
    rows = [HEADER, *[["2024-06-01 12:00", name, "P", "1"] for name in ("TX", "CA")]]
    assert load(db, organization, write("a.csv", rows), time_zone="location").added == 2
    assert times(db, organization) == ["01 17:00", "01 19:00"]
    # A machine's readings are in its location's time; rows without a location in the organization's.
    metrics = [
        ["time", "resource", "utilization_pct"],
        *[["2024-06-01 12:00", f"M-{name}", "1"] for name in ("TX", "CA")],
    ]
    assert (
        load(db, organization, write("m.csv", metrics), "resource_metrics", time_zone="location").added == 2
    )
    assert times(db, organization, "resource_metrics") == ["01 17:00", "01 19:00"]
    at = "2024-06-01 12:00"
    factors = [
        ["time", "available_at", "name", "factor_type", "value", "unit"],
        [at, at, "f", "weather", "1", "x"],
    ]
    assert (
        load(db, organization, write("f.csv", factors), "external_factors", time_zone="location").added == 1
    )
    assert times(db, organization, "external_factors") == ["01 16:00"]


@pytest.mark.parametrize("zone", ["location", "America/Chicago", None])
def test_days_are_those_of_the_place(
    db: DatabaseManager, organization: str, tmp_path: Path, write: Write, zone: Any
) -> None:
    """8 September 2024 had no midnight in Santiago: the day began at one o'clock."""
    rows = [["08.09.2024", name, "P", "1"] for name in ZONES]
    text = write("a.csv", [HEADER, *rows])
    assert load(db, organization, text, time_zone=zone, time_format="%d.%m.%Y").added == 3
    assert times(db, organization) == ["08 04:00", "08 05:00", "08 07:00"]
    path = tmp_path / "a.parquet"
    day = pa.array([dt.date(2024, 9, 8)] * 3)
    table = pa.table(
        {
            "time": day,
            "location": list(ZONES),
            "product_id": [4711.0] * 3,
            "quantity": pa.array([0.1] * 3, pa.float32()),
        }
    )
    pyarrow.parquet.write_table(table, path)
    assert load(db, organization, path, time_zone=zone).added == 3
    found = db.execute_query(
        "SELECT product_id, quantity::text AS q, count(DISTINCT time) AS n FROM demand_history WHERE organization_id = %s "
        "GROUP BY 1, 2 ORDER BY 1",
        (organization,),
    )
    assert [(row["product_id"], row["q"], row["n"]) for row in found] == [("4711", "0.1", 3), ("P", "1", 3)]
    assert len(set(times(db, organization))) == 3


def test_the_hour_that_comes_twice_for_each_place(
    db: DatabaseManager, organization: str, write: Write
) -> None:
    """Two stores interleaved in one file; each has its own repeated hour, at the same local time."""
    walls = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    rows = [
        [f"2024-11-03 {wall}", name, "P", str(n)] for n, wall in enumerate(walls) for name in ("TX", "CA")
    ]
    result = load(db, organization, write("a.csv", [HEADER, *rows]), time_zone="location", ambiguous="order")
    assert (result.added, result.rejected) == (12, 0)
    start = dt.datetime(2024, 11, 3, 5, 30, tzinfo=UTC)
    expected = sorted(
        start + dt.timedelta(hours=2 * place, minutes=30 * n) for place in (0, 1) for n in range(6)
    )
    assert times(db, organization) == [f"{moment:%d %H:%M}" for moment in expected]


def test_a_machine_that_stood_in_two_zones(db: DatabaseManager, organization: str, write: Write) -> None:
    """A reading is in local time of the machine's location at that time."""
    if db.execute_query("SELECT to_regclass('resource_history') IS NULL AS missing")[0]["missing"]:
        pytest.skip("the schema keeps no history of places")
    db.execute(
        "UPDATE resources SET location_id = (SELECT location_id FROM locations WHERE organization_id = %s AND name = 'CA') "
        "WHERE organization_id = %s AND name = 'M-TX'",
        (organization, organization),
    )
    moved = db.execute_query(
        "SELECT h.valid_from FROM resource_history AS h INNER JOIN resources AS r USING (organization_id, resource_id) "
        "WHERE r.organization_id = %s AND r.name = 'M-TX' AND isfinite(h.valid_from)",
        (organization,),
    )
    assert len(moved) == 1
    before = [["time", "resource", "utilization_pct"], ["2024-06-01 12:00", "M-TX", "1"]]
    assert load(db, organization, write("m.csv", before), "resource_metrics", time_zone="location").added == 1
    assert times(db, organization, "resource_metrics") == ["01 17:00"]
