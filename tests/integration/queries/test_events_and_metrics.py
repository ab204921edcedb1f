"""Organizations to metrics: answers recomputed from raw rows."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.query_calls import Facts, Raw
from tests.support.recompute import (
    DAY,
    HOUR,
    assert_rows,
    groups,
    pick,
    ratio,
    share_inside,
    utc_day,
    utc_hour,
    within,
)
from tests.support.sample_reference import said

BUCKETS = {"hour": utc_hour, "day": utc_day}
MINUTE = dt.timedelta(minutes=1)
STOPS = ("breakdown", "idle", "setup", "maintenance")


def test_organizations(queries: OperationalDataQueries, seeded: DatabaseManager) -> None:
    everything = seeded.execute_query("SELECT * FROM organizations")
    columns = ("organization_id", "name", "industry", "timezone", "settings", "created_at", "updated_at")
    expected = sorted((pick(row, *columns) for row in everything), key=lambda row: row["name"])
    assert queries.get_organizations() == expected
    for row in expected:
        assert queries.get_organization(row["organization_id"]) == row
        assert row in queries.get_organizations(industry=row["industry"])
    assert queries.get_organizations(industry="piracy") == []


def test_locations(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    columns = (
        "location_id",
        "location_code",
        "name",
        "location_type",
        "timezone",
        "address",
        "latitude_degrees",
        "longitude_degrees",
        "metadata",
        "created_at",
        "updated_at",
    )
    expected = sorted((pick(row, *columns) for row in raw["locations"]), key=lambda row: row["name"])
    assert queries.get_locations(facts.organization_id) == expected
    for kind in {row["location_type"] for row in expected}:
        assert queries.get_locations(facts.organization_id, location_type=kind) == [
            row for row in expected if row["location_type"] == kind
        ]


def test_resources(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    expected = sorted(raw["resources"], key=lambda row: row["name"])
    expected = [{k: v for k, v in row.items() if k != "organization_id"} for row in expected]
    assert queries.get_resources(facts.organization_id) == expected
    for column in ("location_id", "resource_type", "status"):
        for value in {row[column] for row in expected}:
            answer = queries.get_resources(facts.organization_id, **{column: value})
            assert answer == [row for row in expected if row[column] == value]


def test_resource_status_and_latest_metrics(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    events = groups(raw["operational_events"], lambda row: row["resource_id"])
    samples = groups(raw["resource_metrics"], lambda row: row["resource_id"])
    statuses, latest = [], []
    for resource in sorted(raw["resources"], key=lambda row: row["name"]):
        event = min(
            events.get(resource["resource_id"], []),
            key=lambda row: (-row["time"].timestamp(), row["event_id"]),
            default=None,
        )
        sample = max(samples.get(resource["resource_id"], []), key=lambda row: row["time"], default=None)
        known = event or {}
        measured = sample or {}
        statuses.append(
            {
                **pick(resource, "resource_id", "location_id", "name", "resource_type", "status"),
                "last_event_at": known.get("time"),
                "last_event_type": known.get("event_type"),
                "last_event_cause": known.get("cause"),
                "last_metric_at": measured.get("time"),
                "utilization_pct": measured.get("utilization_pct"),
                "efficiency_pct": measured.get("efficiency_pct"),
                "downtime_minutes": measured.get("downtime_minutes"),
            }
        )
        if sample:
            latest.append(
                {
                    **pick(resource, "resource_id", "location_id", "name"),
                    **pick(
                        sample,
                        "time",
                        "utilization_pct",
                        "efficiency_pct",
                        "downtime_minutes",
                        "sample_minutes",
                        "metadata",
                    ),
                }
            )
    assert queries.get_resource_status(facts.organization_id) == statuses
    assert queries.get_latest_resource_metrics(facts.organization_id) == latest
    for column in ("location_id", "resource_id"):
        for value in {row[column] for row in statuses}:
            kept = {column: value}
            assert queries.get_resource_status(facts.organization_id, **kept) == [
                row for row in statuses if row[column] == value
            ]
            assert queries.get_latest_resource_metrics(facts.organization_id, **kept) == [
                row for row in latest if row[column] == value
            ]


@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        ("operational_events", "location_id, event_type", "r.location_id, 'idle'"),
        ("resource_metrics", "utilization_pct", "50"),
    ],
)
def test_a_resource_that_was_quiet_for_weeks_has_its_last_status(
    seeded_database: DatabaseManager, facts: Facts, table: str, columns: str, values: str
) -> None:
    ask = "SELECT * FROM resource_latest_status WHERE organization_id = %s AND resource_id = %s"
    key = (facts.organization_id, facts.resource_id)
    seeded_database.execute(
        f"DELETE FROM {table} WHERE organization_id = %s AND resource_id = %s AND time > now() - interval '20 days'",
        key,
    )
    seeded_database.execute(
        f"INSERT INTO {table} (organization_id, resource_id, time, {columns}) "
        f"SELECT r.organization_id, r.resource_id, now() - interval '20 days', {values} "
        "FROM resources AS r WHERE r.organization_id = %s AND r.resource_id = %s",
        key,
    )
    [before] = seeded_database.execute_query(ask, key)
    assert min(before["last_event_at"], before["last_metric_at"]) < dt.datetime.now(dt.UTC) - 19 * DAY
    for db in (seeded_database, seeded_database.tenant(facts.organization_id)):
        queries = OperationalDataQueries(db)
        [status] = queries.get_resource_status(facts.organization_id, resource_id=facts.resource_id)
        not_in_status = {"organization_id", "sample_minutes", "metric_metadata"}
        assert status == {name: value for name, value in before.items() if name not in not_in_status}
        [sample] = queries.get_latest_resource_metrics(facts.organization_id, resource_id=facts.resource_id)
        measured = ("utilization_pct", "efficiency_pct", "downtime_minutes", "sample_minutes")
        assert sample == {
            **pick(before, "resource_id", "location_id", "name", *measured),
            "time": before["last_metric_at"],
            "metadata": before["metric_metadata"],
        }


def test_employees_and_skills(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    everybody = [
        {k: v for k, v in row.items() if k != "organization_id"}
        for row in sorted(raw["employees"], key=lambda row: row["full_name"])
    ]
    active = [row for row in everybody if row["is_active"]]
    assert queries.get_employees(facts.organization_id) == active
    assert queries.get_employees(facts.organization_id, include_inactive=True) == everybody
    assert queries.get_employees(facts.organization_id, location_id=facts.location_id) == [
        row for row in active if row["location_id"] == facts.location_id
    ]
    skills = sorted({skill for row in active for skill in row["skills"]})
    for skill in skills:
        assert queries.get_employees(facts.organization_id, skill=skill) == [
            row for row in active if skill in row["skills"]
        ]
    assert queries.get_skills(facts.organization_id) == [
        {"skill": skill, "employee_count": sum(skill in row["skills"] for row in active)} for skill in skills
    ]


def test_events(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    inside = within(raw["operational_events"], facts.start, facts.end)
    expected = [
        {k: v for k, v in row.items() if k != "organization_id"}
        for row in sorted(inside, key=lambda row: (-row["time"].timestamp(), row["event_id"]))
    ]
    period = {"start": facts.start, "end": facts.end}
    assert len(expected) > 100
    assert queries.get_events(facts.organization_id, **period) == expected
    assert queries.get_events(facts.organization_id, **period, limit=7) == expected[:7]
    for column in ("resource_id", "location_id", "event_type"):
        for value in {row[column] for row in expected if row[column] is not None}:
            answer = queries.get_events(facts.organization_id, **period, **{column: value})
            assert answer == [row for row in expected if row[column] == value]


def test_a_number_of_days_ends_with_the_newest_row(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    answer = queries.get_events(facts.organization_id, days=2, limit=10_000)
    newest = max(raw["operational_events"], key=lambda row: row["time"])
    assert answer[0]["time"] == newest["time"]
    assert answer[-1]["time"] >= facts.now - 2 * DAY
    assert len(answer) == len(within(raw["operational_events"], answer[-1]["time"], newest["time"] + HOUR))


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_production_rate_is_that_of_the_kpis(
    queries: OperationalDataQueries, facts: Facts, bucket: Any
) -> None:
    """Local buckets of the location, each with the production time of its KPIs."""
    start = facts.end - 3 * DAY
    rows = queries.get_production_rate(
        facts.organization_id, bucket=bucket, location_id=facts.location_id, start=start, end=facts.end
    )
    buckets = sorted({(row["bucket"], row["bucket_end"]) for row in rows})
    assert len(buckets) >= 2
    assert {row["location_id"] for row in rows} == {facts.location_id}
    for first, last in buckets[:6]:
        (utilisation,) = [
            row
            for row in queries.get_location_kpis(
                facts.organization_id, location_id=facts.location_id, start=first, end=last
            )
            if row["kpi"] == "utilisation_efficiency"
        ]
        made = [row for row in rows if row["bucket"] == first and row["resource_id"] is not None]
        assert float(sum(row["production_minutes"] for row in made)) == pytest.approx(
            float(utilisation["numerator"])
        )


@pytest.mark.parametrize("whose", ["everything", "resource", "location"])
def test_downtime_by_cause(queries: OperationalDataQueries, facts: Facts, raw: Raw, whose: str) -> None:
    kept = {
        "everything": {},
        "resource": {"resource_id": facts.resource_id},
        "location": {"location_id": facts.location_id},
    }[whose]
    period = (facts.start, facts.end)
    stops = [
        (row, share_inside(row, period))
        for row in raw["operational_events"]
        if row["event_type"] in STOPS and all(row[column] == value for column, value in kept.items())
    ]
    minutes: dict[tuple[str, str | None], Fraction] = {}
    began: dict[tuple[str, str | None], int] = {}
    for row, share in stops:
        key = (row["event_type"], row["cause"])
        inside = facts.start <= row["time"] < facts.end
        if share or inside:
            minutes[key] = minutes.get(key, Fraction(0)) + share * Fraction(row["duration_minutes"])
            began[key] = began.get(key, 0) + inside
    everything = sum(minutes.values())
    expected = [
        {
            "event_type": key[0],
            "cause": key[1],
            "event_count": began[key],
            "downtime_minutes": minutes[key],
            "share_pct": 100 * minutes[key] / everything,
        }
        for key in sorted(minutes, key=lambda key: (-minutes[key], key[0], key[1] or "~"))
    ]
    answer = queries.get_downtime_by_cause(facts.organization_id, start=facts.start, end=facts.end, **kept)
    assert expected
    assert_rows(answer, expected)


def test_resource_metrics(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    start, end = facts.now - 2 * DAY - HOUR / 7, facts.now - DAY
    expected = [
        {k: v for k, v in row.items() if k != "organization_id"}
        for row in sorted(
            within(raw["resource_metrics"], start, end), key=lambda row: (row["time"], row["resource_id"])
        )
    ]
    assert len(expected) > 1000
    assert queries.get_resource_metrics(facts.organization_id, start=start, end=end) == expected
    assert queries.get_resource_metrics(
        facts.organization_id, start=start, end=end, resource_id=facts.resource_id
    ) == [row for row in expected if row["resource_id"] == facts.resource_id]


def measured(rows: list[Any], start: dt.datetime, end: dt.datetime) -> dict[str, Any]:
    """Means over the minutes measured, and the other figures of a period."""
    right = said(within(rows, start - HOUR, end), start, end)
    known = [s["utilization_pct"] for s in right["samples"] if s["utilization_pct"] is not None]
    return {
        "utilization_pct": ratio(right["utilization"], right["utilized"]),
        "utilization_pct_min": min(known, default=None),
        "utilization_pct_max": max(known, default=None),
        "efficiency_pct": ratio(right["efficiency"], right["efficient"]),
        "downtime_minutes": right["down"] if right["known"] else None,
        "sample_minutes": right["all"],
        "utilization_minutes": right["utilized"],
        "efficiency_minutes": right["efficient"],
        "downtime_known_minutes": right["known"],
        "sample_count": right["count"],
    }


def local_buckets(zone: ZoneInfo, bucket: str, start: dt.datetime, end: dt.datetime) -> list[tuple[Any, Any]]:
    """The local hours or days that begin in the period, found minute by minute."""
    edges = []
    instant, before = start.replace(second=0, microsecond=0) - MINUTE, None
    while instant < end + 26 * HOUR:
        local = instant.astimezone(zone)
        label = (local.date(), local.hour, local.utcoffset()) if bucket == "hour" else local.date()
        if before is not None and label != before:
            edges.append(instant)
        before = label
        instant += MINUTE
    return [(edge, following) for edge, following in pairwise(edges) if start <= edge < end]


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_resource_utilization(queries: OperationalDataQueries, facts: Facts, raw: Raw, bucket: Any) -> None:
    zones = {row["location_id"]: ZoneInfo(row["timezone"]) for row in raw["locations"]}
    buckets = {zone: local_buckets(zone, bucket, facts.start, facts.end) for zone in set(zones.values())}
    rows = groups(raw["resource_metrics"], lambda row: row["resource_id"])
    expected = [
        {"bucket": start, "bucket_end": end, "resource_id": resource["resource_id"], **said_here}
        for resource in raw["resources"]
        for start, end in buckets[zones[resource["location_id"]]]
        for said_here in [measured(list(rows.get(resource["resource_id"], [])), start, end)]
        if said_here["sample_minutes"]
    ]
    expected.sort(key=lambda row: (row["bucket"], row["resource_id"]))
    period = {"start": facts.start, "end": facts.end, "bucket": bucket}
    assert expected
    assert_rows(queries.get_resource_utilization(facts.organization_id, **period), expected)
    assert_rows(
        queries.get_resource_utilization(facts.organization_id, **period, resource_id=facts.resource_id),
        [row for row in expected if row["resource_id"] == facts.resource_id],
    )


def test_resource_utilization_summary(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    by_resource = groups(raw["resource_metrics"], lambda row: row["resource_id"])
    expected = [
        {
            **pick(resource, "resource_id", "location_id", "name", "resource_type"),
            **measured(list(by_resource.get(resource["resource_id"], [])), facts.start, facts.end),
        }
        for resource in raw["resources"]
    ]
    expected.sort(
        key=lambda row: (
            row["utilization_pct"] is None,
            -(row["utilization_pct"] or 0),
            row["name"],
        )
    )
    answer = queries.get_resource_utilization_summary(facts.organization_id, start=facts.start, end=facts.end)
    assert_rows(answer, expected)
    here = queries.get_resource_utilization_summary(
        facts.organization_id, start=facts.start, end=facts.end, location_id=facts.location_id
    )
    assert_rows(here, [row for row in expected if row["location_id"] == facts.location_id])


def test_the_seed_documents_four_calls(queries: OperationalDataQueries, facts: Facts) -> None:
    org_id, product_id = str(facts.organization_id), facts.product_id
    assert queries.get_demand_history(org_id, product_id, days=90)
    assert queries.get_resource_utilization_summary(org_id)
    assert queries.get_active_anomaly_predictions(org_id)
    assert len(queries.get_kpi_summary(org_id, days=7)) == 12


def test_times_come_back_in_utc(queries: OperationalDataQueries, facts: Facts) -> None:
    for row in queries.get_events(facts.organization_id):
        assert row["time"].utcoffset() == dt.timedelta(0)
