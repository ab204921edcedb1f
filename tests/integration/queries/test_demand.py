"""Demand: answers recomputed from raw rows; and buckets on days of clock changes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import InvalidInputError
from tests.support.query_calls import Facts, Raw
from tests.support.recompute import DAY, HOUR, Row, assert_rows, groups, mean, pick, total, within

MINUTE = dt.timedelta(minutes=1)
QUARTER = 15 * MINUTE
STEPS = {"quarter_hour": QUARTER, "half_hour": 2 * QUARTER, "hour": HOUR}


def label_of(moment: dt.datetime, zone: ZoneInfo, bucket: str) -> tuple[Any, ...]:
    """The local label of the bucket of this instant."""
    local = moment.astimezone(zone)
    if bucket in STEPS:
        return (local.date(), local.hour, local.utcoffset())
    day = local.date()
    return (
        (day.year, day.month)
        if bucket == "month"
        else (day - day.weekday() * DAY if bucket == "week" else day,)
    )


def whole_buckets(
    start: dt.datetime, end: dt.datetime, zone_name: str, bucket: str
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The local buckets entirely within a period, found by checking the clock every quarter of an hour.

    Days, weeks and months begin where the date first advances; hours, where the clock shows another hour or another
    offset.
    """
    zone, reach = ZoneInfo(zone_name), {"month": 32 * DAY, "week": 8 * DAY}.get(bucket, 2 * DAY)
    moment = (start - reach).replace(minute=0, second=0, microsecond=0)
    starts: list[dt.datetime] = []
    seen: tuple[Any, ...] | None = None
    began = moment
    while moment < end + reach:
        label = label_of(moment, zone, bucket)
        is_new = seen is None or (label != seen if bucket in STEPS else label > seen)
        if is_new:
            seen, began = label, moment
        if is_new or (bucket in STEPS and (moment - began) % STEPS[bucket] == dt.timedelta(0)):
            starts.append(moment)
        moment += QUARTER
    for begin, finish in pairwise(starts):
        if begin >= start and finish <= end:
            yield begin, finish


def series(
    demand: Sequence[Row], zones: dict[Any, str], start: dt.datetime, end: dt.datetime, bucket: str
) -> list[dict[str, Any]]:
    """The gap-filled series of one product's rows."""
    expected = []
    for location, rows in sorted(groups(within(demand, start, end), lambda row: row["location_id"]).items()):
        for begin, finish in whole_buckets(start, end, zones[location], bucket):
            inside = within(rows, begin, finish)
            expected.append(
                {
                    "bucket": begin,
                    "bucket_end": finish,
                    "location_id": location,
                    "product_id": rows[0]["product_id"],
                    "quantity": total(row["quantity"] for row in inside),
                    "revenue": whole_total(row["revenue"] for row in inside),
                    "row_count": len(inside),
                    "is_observed": bool(inside),
                }
            )
    return expected


def whole_total(values: Iterable[Any]) -> Fraction | None:
    """The sum if every part is known."""
    parts = list(values)
    return None if None in parts else total(parts)


def demand_of(raw: Raw, product_id: str) -> list[Row]:
    return [row for row in raw["demand_history"] if row["product_id"] == product_id]


def zones_of(raw: Raw) -> dict[Any, str]:
    return {row["location_id"]: row["timezone"] for row in raw["locations"]}


def test_history(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    columns = ("time", "product_id", "location_id", "quantity", "revenue", "metadata", "recorded_at")
    for product in {row["product_id"] for row in raw["demand_history"]}:
        rows = within(demand_of(raw, product), facts.month_ago, facts.end)
        expected = [
            pick(row, *columns) for row in sorted(rows, key=lambda row: (row["time"], row["location_id"]))
        ]
        period = {"start": facts.month_ago, "end": facts.end}
        assert len(expected) > 30
        assert queries.get_demand_history(facts.organization_id, product, **period) == expected
        here = expected[0]["location_id"]
        assert queries.get_demand_history(
            facts.organization_id, product, **period, location_id=str(here)
        ) == [row for row in expected if row["location_id"] == here]
    assert queries.get_demand_history(facts.organization_id, "no such product", days=90) == []


def test_products(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    inside = within(raw["demand_history"], facts.month_ago, facts.end)
    known = {row["product_id"]: row for row in raw["products"]}
    expected = []
    for product, rows in sorted(groups(inside, lambda row: row["product_id"]).items()):
        times = [row["time"] for row in rows]
        expected.append(
            {
                "product_id": product,
                "name": known.get(product, {}).get("name"),
                "unit": known.get(product, {}).get("unit"),
                "location_count": len({row["location_id"] for row in rows}),
                "first_bucket": min(times),
                "last_bucket": max(times),
                "row_count": len(rows),
                "quantity": total(row["quantity"] for row in rows),
                "revenue": whole_total(row["revenue"] for row in rows),
            }
        )
    assert_rows(queries.get_products(facts.organization_id, start=facts.month_ago, end=facts.end), expected)


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_series_of_the_sample_data(
    queries: OperationalDataQueries, facts: Facts, raw: Raw, bucket: Any
) -> None:
    start, end = facts.now - 87 * DAY, facts.end
    expected = series(demand_of(raw, facts.product_id), zones_of(raw), start, end, bucket)
    answer = queries.get_demand_series(
        facts.organization_id, facts.product_id, bucket=bucket, start=start, end=end
    )
    assert expected
    assert_rows(answer, expected)


# Zones whose clocks change in the days used below, and one whose hours are offset from UTC's.
ZONES = ("Europe/Paris", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago")
CHANGES = (
    dt.datetime(2024, 3, 30, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 5, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 26, tzinfo=dt.UTC),
)


@pytest.fixture(scope="module")
def places(
    seeded_template: str, server_url: str
) -> Iterator[tuple[DatabaseManager, uuid.UUID, dict[Any, str]]]:
    """An organization with a location in each zone, and half-hourly demand with gaps around the clock changes."""
    from tests.conftest import fresh_database

    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        queries = OperationalDataQueries(db)
        organization = queries.create_organization("Clock Works", industry="power")["organization_id"]
        zones = {
            queries.create_location(organization, zone, location_type="region", timezone=zone)[
                "location_id"
            ]: zone
            for zone in ZONES
        }
        rows = [
            {
                "time": change + step * 30 * MINUTE,
                "product_id": "power",
                "location_id": location,
                "quantity": (step * 7 + number * 3) % 50,
                "revenue": None if step % 5 else step,
            }
            for number, location in enumerate(zones)
            for change in CHANGES
            for step in range(144)
            if (step + number) % 11
        ]
        assert queries.record_demand(organization, rows) == len(rows)
        yield db, organization, zones


@pytest.mark.parametrize("bucket", ["quarter_hour", "half_hour", "hour", "day"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change:%Y-%m-%d}")
def test_series_when_clocks_change(
    places: tuple[DatabaseManager, uuid.UUID, dict[Any, str]], change: dt.datetime, bucket: Any
) -> None:
    db, organization, zones = places
    demand = db.execute_query("SELECT * FROM demand_history WHERE organization_id = %s", (organization,))
    start, end = change + 3 * HOUR + 7 * MINUTE, change + 70 * HOUR
    expected = series(demand, zones, start, end, bucket)
    answer = OperationalDataQueries(db).get_demand_series(
        organization, "power", bucket=bucket, start=start, end=end
    )
    assert_rows(answer, expected)
    if bucket in STEPS:
        assert max(row["bucket_end"] - row["bucket"] for row in answer) == STEPS[bucket]
    else:
        assert {zones[row["location_id"]] for row in answer if row["bucket_end"] - row["bucket"] != DAY}


def test_every_row_of_whole_days_is_in_the_series_once(
    places: tuple[DatabaseManager, uuid.UUID, dict[Any, str]],
) -> None:
    db, organization, zones = places
    queries = OperationalDataQueries(db)
    for location, zone in zones.items():
        start = dt.datetime(2024, 10, 1, tzinfo=ZoneInfo(zone))
        end = dt.datetime(2024, 11, 1, tzinfo=ZoneInfo(zone))
        history = queries.get_demand_history(
            organization, "power", location_id=location, start=start, end=end
        )
        for bucket in ("quarter_hour", "half_hour", "hour", "day", "month"):
            answer = queries.get_demand_series(
                organization,
                "power",
                location_id=location,
                bucket=bucket,
                start=start,
                end=end,  # type: ignore[arg-type]
            )
            assert total(row["quantity"] for row in answer) == total(row["quantity"] for row in history)
            assert sum(row["row_count"] for row in answer) == len(history)
            assert answer[0]["bucket"] == start
            assert answer[-1]["bucket_end"] == end
            assert all(a["bucket_end"] == b["bucket"] for a, b in pairwise(answer))


def test_gaps_are_none_or_what_one_asks_for(
    places: tuple[DatabaseManager, uuid.UUID, dict[Any, str]],
) -> None:
    db, organization, zones = places
    queries = OperationalDataQueries(db)
    period = {"start": CHANGES[0], "end": CHANGES[0] + DAY, "location_id": next(iter(zones))}
    plain = queries.get_demand_series(organization, "power", bucket="half_hour", **period)
    filled = queries.get_demand_series(
        organization, "power", bucket="half_hour", fill_quantity=-1.5, **period
    )
    gaps = [row["bucket"] for row in plain if not row["is_observed"]]
    assert gaps
    assert [row["bucket"] for row in plain if row["quantity"] is None] == gaps
    assert [row["bucket"] for row in filled if row["quantity"] == Fraction(-3, 2)] == gaps


def known_factors(
    factors: Sequence[Row],
    location: Any,
    begin: dt.datetime,
    finish: dt.datetime,
    lead: dt.timedelta,
    carry: dt.timedelta,
) -> dict[str, Fraction]:
    """The factors of one bucket as known, by the rule in words."""
    answers: dict[str, Fraction] = {}
    candidates = [
        row
        for row in factors
        if row["location_id"] in (None, location) and row["available_at"] <= begin - lead
    ]
    for name in {row["name"] for row in candidates}:
        newest: dict[dt.datetime, Row] = {}
        for row in candidates:
            if row["name"] != name or not begin - carry <= row["time"] < finish:
                continue
            known = newest.get(row["time"])
            rank = (row["location_id"] is not None, row["available_at"])
            if known is None or rank > (known["location_id"] is not None, known["available_at"]):
                newest[row["time"]] = row
        inside = mean(row["value"] for time, row in newest.items() if time >= begin)
        if inside is not None:
            answers[name] = inside
        elif newest:
            answers[name] = Fraction(newest[max(newest)]["value"])
    return answers


@pytest.mark.parametrize(
    ("lead", "carry", "bucket"),
    [
        (dt.timedelta(0), dt.timedelta(0), "day"),
        (dt.timedelta(days=1), dt.timedelta(0), "day"),
        (dt.timedelta(hours=6), dt.timedelta(days=1), "hour"),
        (dt.timedelta(days=3), dt.timedelta(days=4), "week"),
    ],
)
def test_training_frame(
    queries: OperationalDataQueries,
    facts: Facts,
    raw: Raw,
    lead: dt.timedelta,
    carry: dt.timedelta,
    bucket: Any,
) -> None:
    start, end = facts.now - (6 if bucket == "hour" else 40) * DAY, facts.end
    plain = series(demand_of(raw, facts.product_id), zones_of(raw), start, end, bucket)
    found = [
        known_factors(
            raw["external_factors"], row["location_id"], row["bucket"], row["bucket_end"], lead, carry
        )
        for row in plain
    ]
    names = sorted({name for row in found for name in row})
    answer = queries.get_demand_training_frame(
        facts.organization_id, facts.product_id, lead=lead, carry=carry, bucket=bucket, start=start, end=end
    )
    assert_rows(
        [{k: v for k, v in row.items() if k != "factors"} for row in answer],
        [{**{k: v for k, v in row.items() if k != "row_count"}, "left_out": {}} for row in plain],
    )
    for got, wanted in zip(answer, found, strict=True):
        assert list(got["factors"]) == names
        for name, value in got["factors"].items():
            assert (value is None) == (name not in wanted)
            assert value is None or value == pytest.approx(float(wanted[name]), rel=1e-12)
    assert names
    assert any(found)


def test_training_frame_never_knows_what_was_said_later(seeded_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(seeded_database)
    organization = queries.create_organization("Seer", industry="energy")["organization_id"]
    place = queries.create_location(organization, "Hill", location_type="region", timezone="UTC")[
        "location_id"
    ]
    day = dt.datetime(2024, 6, 10, tzinfo=dt.UTC)
    queries.record_demand(
        organization, [{"time": day, "product_id": "power", "location_id": place, "quantity": 5}]
    )

    def said(value: int, available_at: dt.datetime, location: Any = None, time: dt.datetime = day) -> Row:
        return {
            "time": time,
            "factor_type": "weather",
            "name": "temperature",
            "value": value,
            "unit": "celsius",
            "available_at": available_at,
            "location_id": location,
        }

    versions = [
        said(10, day - 3 * DAY),
        said(20, day - 2 * DAY),
        said(30, day - DAY, location=place),
        said(40, day),
        said(50, day + HOUR, location=place),
        said(7, day - 9 * DAY, time=day - DAY),
    ]
    assert queries.record_external_factors(organization, versions) == len(versions)

    def temperature(**arguments: Any) -> float | None:
        (row,) = queries.get_demand_training_frame(
            organization, "power", start=day, end=day + DAY, factor_names=["temperature"], **arguments
        )
        value: float | None = row["factors"]["temperature"]
        return value

    assert temperature(lead=dt.timedelta(days=9)) is None
    assert temperature(lead=dt.timedelta(days=9, seconds=1), carry=10 * DAY) is None
    assert temperature(lead=dt.timedelta(days=9), carry=9 * DAY) == 7
    with pytest.raises(InvalidInputError, match="give a carry of at least lead"):
        temperature(lead=dt.timedelta(days=9), carry=DAY)
    assert temperature(lead=dt.timedelta(days=3)) == 10
    assert temperature(lead=dt.timedelta(days=2)) == 20
    assert temperature(lead=dt.timedelta(days=1)) == 30
    assert temperature() == 30, (
        "the location's own reading takes precedence over a newer one of the whole organization"
    )
