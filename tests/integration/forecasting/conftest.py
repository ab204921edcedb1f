"""A shop with two products, whose history was loaded two days before the last day of interest."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from barnameh.forecasting import DemandFrame, ForecastRun, Shape, forecast_demand, read_frame
from db_utils import DatabaseManager, OperationalDataQueries

ZONE = ZoneInfo("Europe/Berlin")
DAYS = 100
LAST = dt.date(2026, 11, 9)
"""The last day with demand, long before any run of these tests."""


def midnight(day: dt.date) -> dt.datetime:
    """First instant of a local day."""
    return dt.datetime.combine(day, dt.time(), ZONE).astimezone(dt.UTC)


ORIGIN = midnight(LAST + dt.timedelta(days=1))


def quantity_of(product: str, day: dt.date) -> int:
    """A weekly pattern, a trend, and reproducible noise."""
    number = day.toordinal()
    noise = 6 * math.sin(number * 12.9898 + len(product)) * math.sin(number * 78.233)
    size = {"A": 100, "B": 40}.get(product, 60)
    return round(size * (1 + 0.5 * (day.weekday() < 5) + 0.001 * (number % 1000)) + noise)


@dataclass
class Shop:
    """An organization with one location, and calls of the service."""

    db: DatabaseManager
    organization_id: UUID
    location_id: UUID

    @property
    def queries(self) -> OperationalDataQueries:
        return OperationalDataQueries(self.db.tenant(self.organization_id))

    def record(self, product: str, quantities: dict[dt.date, Any]) -> None:
        """Write demand of whole days."""
        self.queries.record_demand(
            self.organization_id,
            [
                {
                    "time": midnight(day),
                    "product_id": product,
                    "location_id": self.location_id,
                    "quantity": value,
                }
                for day, value in quantities.items()
            ],
        )

    def loaded_before(self, at: dt.datetime) -> None:
        """Pretend that the existing rows were loaded then, so that later rows are late ones."""
        self.db.execute("UPDATE demand_history SET recorded_at = %s", (at,))

    def factor(self, name: str, values: dict[dt.date, float], ahead: dt.timedelta) -> None:
        """Readings of whole days, known this long before."""
        self.queries.record_external_factors(
            self.organization_id,
            [
                {
                    "time": midnight(day), "location_id": self.location_id, "factor_type": "calendar", "name": name,
                    "value": value, "unit": "flag", "available_at": midnight(day) - ahead,
                }
                for day, value in values.items()
            ],
        )  # fmt: skip

    def frame(self, as_of: dt.datetime = ORIGIN, **shape: Any) -> DemandFrame:
        return read_frame(self.queries, self.organization_id, as_of, Shape(**shape))

    def forecast(self, as_of: dt.datetime = ORIGIN, **options: Any) -> ForecastRun:
        return forecast_demand(self.db, self.organization_id, as_of=as_of, **options)

    def saved(self) -> list[dict[str, Any]]:
        """All forecasts in the table."""
        return self.db.execute_query(
            "SELECT product_id, target_time, predicted_quantity, lower_bound, upper_bound, model_name, available_at, purpose "
            "FROM demand_forecasts ORDER BY product_id, target_time, model_name, available_at, purpose"
        )


def make_shop(db: DatabaseManager, name: str = "Shop") -> Shop:
    queries = OperationalDataQueries(db)
    organization = queries.create_organization(name, industry="retail", timezone=str(ZONE))["organization_id"]
    place = queries.create_location(organization, "Hall", location_type="warehouse", timezone=str(ZONE))[
        "location_id"
    ]
    return Shop(db, organization, place)


def days(count: int = DAYS, last: dt.date = LAST) -> list[dt.date]:
    return [last - dt.timedelta(days=number) for number in reversed(range(count))]


@pytest.fixture
def bare(empty_database: DatabaseManager) -> Shop:
    """A shop that has sold nothing yet."""
    return make_shop(empty_database)


@pytest.fixture
def shop(bare: Shop) -> Shop:
    """Products A and B with a hundred days, a promotion known long before, and a temperature known on the day."""
    for product in ("A", "B"):
        bare.record(product, {day: quantity_of(product, day) for day in days()})
    ahead = days(DAYS + 20, LAST + dt.timedelta(days=20))
    bare.factor("promotion", {day: float(day.day % 9 == 0) for day in ahead}, dt.timedelta(days=200))
    bare.factor("temperature", {day: day.day for day in days()}, dt.timedelta(0))
    bare.loaded_before(ORIGIN - dt.timedelta(days=60))
    return bare
