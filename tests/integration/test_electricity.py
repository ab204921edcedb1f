"""Real input: the prebuilt queries return the year of Victoria's electricity as in the file."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from examples import electricity

MARKET = ZoneInfo(electricity.TIMEZONE)
PERIOD = {"start": electricity.START, "end": electricity.START + timedelta(days=365)}


@pytest.fixture
def loaded(seeded_database: DatabaseManager) -> tuple[DatabaseManager, dict[str, Any]]:
    """The year next to the two organizations of the sample data."""
    return seeded_database, electricity.load(seeded_database)


@pytest.mark.thorough
def test_the_file_comes_back(loaded: tuple[DatabaseManager, dict[str, UUID]]) -> None:
    db, ids = loaded
    schema.refresh_rollups(db)
    file = electricity.read_file()
    assert len(file) == 17_520
    for scope in (db, db.tenant(ids["organization_id"])):
        queries = OperationalDataQueries(scope)
        history = queries.get_demand_history(ids["organization_id"], electricity.PRODUCT, **PERIOD)
        assert [(r["time"], r["quantity"]) for r in history] == [(r["time"], r["demand"]) for r in file]
        factors = queries.get_external_factors(ids["organization_id"], **PERIOD)
        for name in ("temperature", "workday"):
            read = [(r["time"], r["value"]) for r in factors if r["name"] == name]
            assert read == [(r["time"], Decimal(r[name])) for r in file], name

        days: dict[Any, Decimal] = defaultdict(Decimal)
        for row in file:
            days[row["time"].astimezone(MARKET).date()] += row["demand"]
        series = queries.get_demand_series(
            ids["organization_id"], electricity.PRODUCT, bucket="day", **PERIOD
        )
        assert {r["bucket"].astimezone(MARKET).date(): r["quantity"] for r in series} == dict(days)
        assert all(r["is_observed"] and r["row_count"] == 48 for r in series)

    # The rollup agrees with the file hour by hour, without the other organizations.
    hours: dict[Any, Decimal] = defaultdict(Decimal)
    for row in file:
        hours[row["time"].replace(minute=0)] += row["demand"]
    rollup = db.execute_query(
        "SELECT bucket, organization_id, quantity FROM demand_history_hourly WHERE product_id = %s",
        (electricity.PRODUCT,),
    )
    assert {r["bucket"]: r["quantity"] for r in rollup} == dict(hours)
    assert {r["organization_id"] for r in rollup} == {ids["organization_id"]}


@pytest.mark.thorough
def test_a_training_frame_knows_no_future(loaded: tuple[DatabaseManager, dict[str, UUID]]) -> None:
    db, ids = loaded
    by_time = {r["time"]: r for r in electricity.read_file()}
    queries = OperationalDataQueries(db)
    lead = timedelta(hours=12)
    frame = queries.get_demand_training_frame(
        ids["organization_id"],
        electricity.PRODUCT,
        bucket="half_hour",
        lead=lead,
        carry=timedelta(days=1),
        start=electricity.START + timedelta(days=30),
        end=electricity.START + timedelta(days=60),
    )
    assert len(frame) == 30 * 48
    for row in frame:
        assert row["quantity"] == by_time[row["bucket"]]["demand"]
        # The calendar was known; of the weather, only the reading of twelve hours before.
        assert row["factors"]["workday"] == by_time[row["bucket"]]["workday"]
        assert row["factors"]["temperature"] == pytest.approx(
            float(by_time[row["bucket"] - lead]["temperature"])
        )


def test_loading_twice_makes_no_half_organization(loaded: tuple[DatabaseManager, dict[str, UUID]]) -> None:
    """An interrupted load leaves nothing: the organization exists with all its rows, or not at all."""
    db, _ = loaded
    before = db.execute_query("SELECT count(*) AS n FROM organizations")
    original = electricity.read_file

    def broken() -> list[dict[str, Any]]:
        rows = original()
        rows[9000]["demand"] = Decimal("NaN")
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(electricity, "read_file", broken)
        with pytest.raises(ValueError, match="quantity"):
            electricity.load(db)
    assert db.execute_query("SELECT count(*) AS n FROM organizations") == before
