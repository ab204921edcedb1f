"""Demand and its forecasts on days of clock changes, above all at midnight; generated, and recomputed minute by minute."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db_utils import DatabaseManager, OperationalDataQueries
from tests.conftest import compared

DAY, HOUR, MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)

# Zones with clock changes at or around midnight, by half an hour, over a whole day, or other ones; and the day of the change.
CHANGES = {
    "Atlantic/Azores": [dt.date(2026, 3, 29), dt.date(2025, 10, 26)],
    "Africa/Cairo": [dt.date(2026, 4, 24), dt.date(2025, 10, 31)],
    "America/Santiago": [dt.date(2025, 9, 7), dt.date(2026, 4, 5)],
    "America/Havana": [dt.date(2026, 3, 8), dt.date(2025, 11, 2)],
    "Asia/Beirut": [dt.date(2026, 3, 29), dt.date(2025, 10, 26)],
    "America/Sao_Paulo": [dt.date(2018, 11, 4), dt.date(2018, 2, 18)],
    "Asia/Amman": [dt.date(2022, 2, 25)],
    "Pacific/Apia": [dt.date(2011, 12, 31)],
    "Australia/Lord_Howe": [dt.date(2025, 10, 5), dt.date(2026, 4, 5)],
    "Asia/Kathmandu": [dt.date(2026, 3, 29)],
    "Europe/Paris": [dt.date(2026, 3, 29), dt.date(2025, 10, 26)],
}


@pytest.fixture(scope="module")
def place(db: DatabaseManager) -> tuple[OperationalDataQueries, uuid.UUID, dict[str, uuid.UUID]]:
    queries = OperationalDataQueries(db)
    organization = queries.create_organization("Midnight", industry="retail")["organization_id"]
    places = {
        zone: queries.create_location(organization, zone, location_type="store", timezone=zone)["location_id"]
        for zone in CHANGES
    }
    return queries, organization, places


def first_instant(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """The first minute with this local date or a later one."""
    moment = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) - 16 * HOUR
    while moment.astimezone(zone).date() < day:
        moment += MINUTE
    return moment


def bucket_of(moment: dt.datetime, zone: ZoneInfo, bucket: str) -> dt.date:
    day = moment.astimezone(zone).date()
    return day if bucket == "day" else day - day.weekday() * DAY if bucket == "week" else day.replace(day=1)


@st.composite
def sales(draw: st.DrawFn) -> tuple[str, dt.date, list[int], str]:
    """A zone, a day of a clock change, and minutes around that day with sales."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    minutes = draw(st.lists(st.integers(-5 * 1440, 5 * 1440), min_size=1, max_size=40, unique=True))
    return (
        zone,
        change,
        minutes,
        draw(st.sampled_from(["quarter_hour", "half_hour", "hour", "day", "week", "month"])),
    )


@pytest.mark.thorough
@given(sales())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_series_is_the_sum_of_its_rows(place: Any, drawn: tuple[str, dt.date, list[int], str]) -> None:
    queries, organization, places = place
    zone_name, change, minutes, bucket = drawn
    zone, location = ZoneInfo(zone_name), places[zone_name]
    product = uuid.uuid4().hex
    midday = first_instant(change, zone) + 12 * HOUR
    rows: list[Any] = [
        {
            "time": midday + minute * MINUTE,
            "product_id": product,
            "location_id": location,
            "quantity": number + 1,
        }
        for number, minute in enumerate(minutes)
    ]
    assert queries.record_demand(organization, rows) == len(rows)
    # Whole local months, so that every bucket is entirely within them.
    start = first_instant((change.replace(day=1) - DAY).replace(day=1), zone)
    end = first_instant((change.replace(day=1) + 62 * DAY).replace(day=1), zone)
    if bucket == "week":
        start = first_instant(start.astimezone(zone).date() - start.astimezone(zone).weekday() * DAY, zone)
        end = first_instant(end.astimezone(zone).date() + (7 - end.astimezone(zone).weekday()) * DAY, zone)
    found = queries.get_demand_series(
        organization, product, location_id=location, bucket=bucket, start=start, end=end
    )
    assert (found[0]["bucket"], found[-1]["bucket_end"]) == (start, end)
    assert all(a["bucket_end"] == b["bucket"] for a, b in pairwise(found)), "no hole, no overlap"
    assert sum(row["quantity"] or 0 for row in found) == sum(row["quantity"] for row in rows)
    for row in found:
        inside = [sale["quantity"] for sale in rows if row["bucket"] <= sale["time"] < row["bucket_end"]]
        assert (row["row_count"], row["quantity"] or 0) == (len(inside), sum(inside))
    compared("buckets of local demand", len(found))
    if bucket in ("day", "week", "month"):
        expected = Counter[dt.date]()
        for sale in rows:
            expected[bucket_of(sale["time"], zone, bucket)] += sale["quantity"]
        got = {bucket_of(row["bucket"], zone, bucket): row["quantity"] for row in found if row["is_observed"]}
        assert got == expected
        assert all(
            row["bucket"] == first_instant(bucket_of(row["bucket"], zone, bucket), zone) for row in found[:3]
        )
    else:
        width = {"quarter_hour": 15, "half_hour": 30, "hour": 60}[bucket] * MINUTE
        assert max(row["bucket_end"] - row["bucket"] for row in found) <= width
    frame = queries.get_demand_training_frame(
        organization, product, location_id=location, bucket=bucket, start=start, end=end
    )
    assert [(row["bucket"], row["quantity"]) for row in frame] == [
        (row["bucket"], row["quantity"]) for row in found
    ]
    (products,) = [
        row
        for row in queries.get_products(organization, location_id=location, start=start, end=end)
        if row["product_id"] == product
    ]
    assert products["quantity"] == sum(row["quantity"] for row in rows)


@pytest.mark.parametrize("zone_name", sorted(CHANGES))
def test_the_outcome_of_a_day_is_that_days(place: Any, zone_name: str) -> None:
    queries, organization, places = place
    zone, location = ZoneInfo(zone_name), places[zone_name]
    for change in CHANGES[zone_name]:
        product = uuid.uuid4().hex
        days = [
            day
            for day in (change + offset * DAY for offset in range(-3, 4))
            if first_instant(day, zone).astimezone(zone).date() == day
        ]
        starts = {day: first_instant(day, zone) for day in days}
        hours: list[Any] = []
        moment, end = starts[days[0]], first_instant(days[-1] + DAY, zone)
        while moment < end:
            hours.append({"time": moment, "product_id": product, "location_id": location, "quantity": 1})
            moment += HOUR
        queries.record_demand(organization, hours)
        sold = Counter(sale["time"].astimezone(zone).date() for sale in hours)
        run = {"model_name": "perfect", "model_version": "1", "available_at": starts[days[0]] - 30 * HOUR}
        targets: list[Any] = [
            {
                "product_id": product,
                "location_id": location,
                "target_time": starts[day],
                "predicted_quantity": sold[day],
            }
            for day in days
        ]
        whole = {
            **targets[0],
            "target_interval": (days[-1] - days[0]) + DAY,
            "predicted_quantity": len(hours),
        }
        queries.save_demand_forecasts(organization, [*targets, whole], **run)
        period = {"start": starts[days[0]], "end": end}
        found = queries.get_demand_forecast_outcomes(organization, product_id=product, **period)
        daily = [row for row in found if row["target_interval"] == DAY]
        assert [row["actual_quantity"] for row in daily] == [sold[day] for day in days]
        assert [row["target_end"] for row in daily] == [starts[day] for day in days[1:]] + [end]
        cut_off = run["available_at"].astimezone(zone).date()
        assert [row["lead_time_days"] for row in daily] == [(day - cut_off).days for day in days]
        (total,) = [row for row in found if row["target_interval"] != DAY]
        assert (total["actual_quantity"], total["target_end"]) == (len(hours), end)


def test_a_place_whose_zone_was_changed_counts_by_the_clock_of_the_time(
    place: Any, db: DatabaseManager
) -> None:
    queries, organization, _ = place
    location = queries.create_location(
        organization, "Moved clock", location_type="store", timezone="Europe/Paris"
    )["location_id"]
    changed = dt.datetime(2026, 3, 10, 11, tzinfo=dt.UTC)
    db.execute(
        "UPDATE location_history SET valid_to = %s WHERE organization_id = %s AND location_id = %s",
        (changed, organization, location),
    )
    db.execute(
        "INSERT INTO location_history (organization_id, location_id, valid_from, valid_to, timezone) "
        "VALUES (%s, %s, %s, 'infinity', 'Asia/Tokyo')",
        (organization, location, changed),
    )
    rows: list[Any] = [
        {
            "time": dt.datetime(2026, 3, 8, tzinfo=dt.UTC) + hour * HOUR,
            "product_id": "P",
            "location_id": location,
            "quantity": 1,
        }
        for hour in range(96)
    ]
    queries.record_demand(organization, rows)
    start = dt.datetime(2026, 3, 8, 23, tzinfo=dt.UTC)  # 9 March in Paris
    end = dt.datetime(2026, 3, 11, 15, tzinfo=dt.UTC)  # 12 March in Tokyo
    days = queries.get_demand_series(organization, "P", location_id=location, start=start, end=end)
    assert [(row["bucket"], row["quantity"]) for row in days] == [
        (start, 24),
        (start + DAY, 16),  # 10 March began in Paris and ended in Tokyo
        (dt.datetime(2026, 3, 10, 15, tzinfo=dt.UTC), 24),
    ]
    hours = queries.get_demand_series(
        organization, "P", location_id=location, bucket="hour", start=start, end=end
    )
    assert (len(hours), sum(row["quantity"] for row in hours)) == (64, 64)
