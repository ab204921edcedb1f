"""Samples, compared with a reference in plain Python that goes from one sample to the next.

For any interval between samples, any contents and order of arrival, and with or without a refreshed rollup.
"""

from __future__ import annotations

import datetime as dt
import random
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.support.sample_reference import Sample, said

MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def random_samples(chance: random.Random, start: dt.datetime, end: dt.datetime) -> list[Sample]:
    """Varying hours; some without samples."""
    samples: dict[dt.datetime, Sample] = {}
    hour = start
    while hour < end:
        kind = chance.choice(
            [
                "minutes",
                "minutes",
                "minutes",
                "told late",
                "seconds",
                "untold",
                "overlap",
                "sparse",
                "long",
                "none",
            ]
        )
        step = {
            "seconds": 97,
            "untold": 300,
            "overlap": 20,
            "sparse": 1_931,
            "long": 3_000,
            "none": 3_600,
        }.get(kind, 60)
        at = hour + dt.timedelta(seconds=chance.choice([0, 0, 17]) if kind != "told late" else 37.5)
        while at < hour + HOUR and kind != "none":
            told = {
                "seconds": None,
                "untold": None,
                "overlap": 1,
                "sparse": chance.choice([None, 90, 2]),
                "long": 1440,
            }.get(kind, 1)
            samples[at] = {
                "time": at,
                "utilization_pct": chance.choice([None, 0, 100, chance.randrange(100)]),
                "efficiency_pct": chance.choice([None, chance.randrange(100)]),
                "downtime_minutes": chance.choice([None, 0, 0.5, 1 if told is None or told >= 1 else 0]),
                "sample_minutes": told,
            }
            at += dt.timedelta(seconds=step)
        hour += HOUR
    return list(samples.values())


def plant(db: DatabaseManager) -> tuple[OperationalDataQueries, Any, list[Any]]:
    queries = OperationalDataQueries(db)
    organization = queries.create_organization("Samples", industry="test", timezone="UTC")["organization_id"]
    place = queries.create_location(organization, "Plant", location_type="factory", timezone="UTC")[
        "location_id"
    ]
    return (
        queries,
        organization,
        [
            queries.create_resource(organization, name, location_id=place, resource_type="m")["resource_id"]
            for name in ("M1", "M2", "M3")
        ],
    )


def compare(
    db: DatabaseManager, organization: Any, samples: dict[Any, list[Sample]], edges: list[dt.datetime]
) -> int:
    rows = {
        (row["resource_id"], row["piece"]): row
        for row in db.execute_query("SELECT * FROM resource_samples(%s, %s)", (organization, edges))
    }
    compared = 0
    for resource, recorded in samples.items():
        for piece, (start, end) in enumerate(pairwise(edges), 1):
            right = said(recorded, start, end)
            row = rows.pop((resource, piece), None)
            if row is None:
                assert not right["samples"], (resource, piece)
                continue
            where = f"{start} to {end}"
            assert row["sample_count"] == right["count"], where
            known = [s["utilization_pct"] for s in right["samples"] if s["utilization_pct"] is not None]
            assert row["utilization_pct_min"] == min(known, default=None), where
            assert row["utilization_pct_max"] == max(known, default=None), where
            for column, name in (
                ("sample_minutes", "all"),
                ("utilization_pct_minutes", "utilization"),
                ("utilization_minutes", "utilized"),
                ("efficiency_pct_minutes", "efficiency"),
                ("efficiency_minutes", "efficient"),
                ("downtime_minutes", "down"),
                ("downtime_known_minutes", "known"),
            ):
                assert float(row[column] or 0) == pytest.approx(float(right[name]), abs=1e-6), (where, column)
                compared += 1
            assert float(row["sample_minutes"]) <= (end - start) / MINUTE + 1e-6, where
    assert not rows
    return compared


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_samples_of_all_kinds(db: DatabaseManager, seed: int) -> None:
    chance = random.Random(seed)
    queries, organization, resources = plant(db)
    start = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(days=40)
    samples = {resource: random_samples(chance, start, start + 2 * DAY) for resource in resources}
    written = [{**s, "resource_id": r} for r, recorded in samples.items() for s in recorded]
    chance.shuffle(written)
    cut = len(written) // 2

    inner = sorted(start + dt.timedelta(seconds=chance.randrange(48 * 3600)) for _ in range(7))
    periods = [
        [start - DAY, start + 3 * DAY],
        [start + 5 * HOUR, start + 11 * HOUR, start + 30 * HOUR],
        [start + i * HOUR for i in range(49)],
        inner,
        [inner[2], inner[5]],
    ]
    queries.record_resource_metrics(organization, written[:cut])
    schema.refresh_rollups(db)
    queries.record_resource_metrics(organization, written[cut:])
    at_once = sum(compare(db, organization, samples, edges) for edges in periods)
    schema.refresh_rollups(db, start=start, end=start + DAY)
    half = sum(compare(db, organization, samples, edges) for edges in periods)
    schema.refresh_rollups(db)
    assert at_once == half == sum(compare(db, organization, samples, edges) for edges in periods) > 300


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/Santiago"])
def test_local_days_and_the_place_at_the_time(db: DatabaseManager, zone: str) -> None:
    """Days are local to the location, also without a midnight; a machine that moved counts where it was."""
    queries = OperationalDataQueries(db)
    organization = queries.create_organization("Zones", industry="test", timezone="UTC")["organization_id"]
    first, second = (
        queries.create_location(organization, name, location_type="factory", timezone=name)["location_id"]
        for name in (zone, "UTC")
    )
    machine = queries.create_resource(organization, "M", location_id=first, resource_type="m")["resource_id"]
    local = ZoneInfo(zone)
    # The night before Sunday, 6 September 2026, has no midnight in Santiago.
    start = dt.datetime(2026, 9, 5, tzinfo=local).astimezone(dt.UTC)
    moved = start + 60 * HOUR
    samples = [
        {
            "time": start + i * 7 * MINUTE,
            "utilization_pct": i % 100,
            "downtime_minutes": i % 3,
            "sample_minutes": None,
        }
        for i in range(1_500)
    ]
    queries.record_resource_metrics(organization, [{**s, "resource_id": machine} for s in samples])
    schema.refresh_rollups(db)
    db.execute_query(
        "SELECT resource_id FROM change_resource(%s, %s, jsonb_build_object('location_id', %s::uuid), %s)",
        (organization, machine, second, moved),
    )

    rows = queries.get_resource_utilization(organization, bucket="day", start=start, end=start + 5 * DAY)
    assert len(rows) >= 5
    for row in rows:
        place = local if row["bucket"] < moved - DAY else dt.UTC
        begins, ends = row["bucket"].astimezone(place), (row["bucket_end"] - MINUTE).astimezone(place)
        if row["bucket"] >= moved or row["bucket_end"] <= moved:
            assert begins.date() == ends.date()
            right = said(samples, row["bucket"], row["bucket_end"])
            assert float(row["sample_minutes"]) == pytest.approx(float(right["all"]))
            assert float(row["utilization_pct"]) == pytest.approx(
                float(right["utilization"] / right["utilized"])
            )
    assert sum(float(row["sample_minutes"]) for row in rows if row["bucket"] < moved) >= 60 * 60 - 24 * 60

    everything = said(samples, start, start + 5 * DAY)
    by_place = []
    for place, period in ((first, (start, moved)), (second, (moved, start + 5 * DAY))):
        (row,) = queries.get_resource_utilization_summary(
            organization, location_id=place, start=start, end=start + 5 * DAY
        )
        assert float(row["sample_minutes"]) == pytest.approx(float(said(samples, *period)["all"]))
        by_place.append(float(row["downtime_minutes"]))
    assert sum(by_place) == pytest.approx(float(everything["down"]))


def test_a_second_a_sample_then_a_minute_a_sample(db: DatabaseManager) -> None:
    queries, organization, (machine, *_) = plant(db)
    start = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    queries.record_resource_metrics(
        organization,
        [
            {"time": start + i * dt.timedelta(seconds=1), "resource_id": machine, "utilization_pct": 100}
            for i in range(3_600)
        ]
        + [
            {"time": start + HOUR + i * MINUTE, "resource_id": machine, "utilization_pct": 0}
            for i in range(60)
        ],
    )
    row = queries.get_resource_utilization_summary(organization, start=start, end=start + 2 * HOUR)[0]
    assert (row["utilization_pct"], row["sample_minutes"], row["downtime_minutes"]) == (50, 120, None)
