"""KPIs through the methods, compared with exact fractions from raw rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from tests.support import kpi_reference
from tests.support.kpi_reference import KPIS
from tests.support.query_calls import Facts
from tests.support.recompute import DAY, Row, groups, ratio, same


@pytest.fixture(scope="module")
def sample(seeded: DatabaseManager, facts: Facts) -> kpi_reference.Sample:
    return kpi_reference.Sample(kpi_reference.read_raw_rows(seeded, facts.organization_id))


def assert_values(rows: list[Row], expected: Mapping[str, Fraction | None]) -> None:
    """Each KPI has a value, or none and a reason; and the value equals its numerator over its denominator."""
    assert {row["kpi"]: same(row["value"], expected[row["kpi"]]) for row in rows} == dict.fromkeys(
        expected, True
    )
    for row in rows:
        assert (row["value"] is None) == (row["reason"] is not None)
        if row["value"] is not None:
            scale = 100 if row["unit"] == "%" else 1
            assert same(row["value"], ratio(row["numerator"], row["denominator"], scale))


def minutes(facts: Facts) -> tuple[dt.datetime, dt.datetime]:
    """The period of the facts in whole minutes, as the reference counts them."""
    return facts.start.replace(second=0, microsecond=0), facts.end.replace(second=0, microsecond=0)


def test_summary(queries: OperationalDataQueries, facts: Facts, sample: kpi_reference.Sample) -> None:
    start, end = minutes(facts)
    rows = queries.get_kpi_summary(facts.organization_id, start=start, end=end)
    assert [row["kpi"] for row in rows] == KPIS
    assert {(row["period_start"], row["period_end"]) for row in rows} == {(start, end)}
    assert_values(rows, sample.organization(start, end))
    assert sum(row["value"] is not None for row in rows) >= 10


def test_summary_of_days_is_the_functions(seeded: DatabaseManager, facts: Facts) -> None:
    with seeded.transaction() as transaction:  # one now() for both
        answer = OperationalDataQueries(transaction).get_kpi_summary(facts.organization_id, days=7)
        function = transaction.execute_query("SELECT * FROM get_kpi_summary(%s, 7)", (facts.organization_id,))
        default = OperationalDataQueries(transaction).get_kpi_summary(facts.organization_id)
    assert answer == function == default


def test_by_location(queries: OperationalDataQueries, facts: Facts, sample: kpi_reference.Sample) -> None:
    start, end = minutes(facts)
    rows = queries.get_location_kpis(facts.organization_id, start=start, end=end)
    by_location = groups(rows, lambda row: row["location_id"])
    assert set(by_location) == set(sample.plant.locations)
    names = {row["location_id"]: row["name"] for row in queries.get_locations(facts.organization_id)}
    assert list(by_location) == sorted(names, key=lambda location: names[location])
    for location, own in by_location.items():
        assert [row["kpi"] for row in own] == KPIS
        assert {row["location_name"] for row in own} == {names[location]}
        assert_values(own, sample.location(location, start, end))
    here = queries.get_location_kpis(
        facts.organization_id, location_id=facts.location_id, start=start, end=end
    )
    assert here == by_location[facts.location_id]


def test_by_resource(queries: OperationalDataQueries, facts: Facts, sample: kpi_reference.Sample) -> None:
    start, end = minutes(facts)
    rows = queries.get_resource_kpis(facts.organization_id, start=start, end=end)
    by_resource = groups(rows, lambda row: row["resource_id"])
    assert set(by_resource) == {machine.resource_id for machine in sample.plant.machines}
    for resource, own in by_resource.items():
        assert [row["kpi"] for row in own] == KPIS
        assert_values(own, sample.resource(resource, start, end))
    for column, value in (("location_id", facts.location_id), ("resource_id", facts.resource_id)):
        answer = queries.get_resource_kpis(facts.organization_id, start=start, end=end, **{column: value})
        assert answer == [row for row in rows if row[column] == value]


def test_by_shift(queries: OperationalDataQueries, facts: Facts, sample: kpi_reference.Sample) -> None:
    start, end = facts.now - 3 * DAY, facts.end
    rows = queries.get_shift_kpis(facts.organization_id, start=start, end=end)
    by_shift = groups(rows, lambda row: row["shift_id"])
    shifts = [row for row in sample.raw["shifts"] if start <= row["starts_at"] < end]
    assert set(by_shift) == {row["shift_id"] for row in shifts}
    for shift in shifts:
        own = by_shift[shift["shift_id"]]
        assert {(row["location_id"], row["starts_at"]) for row in own} == {
            (shift["location_id"], shift["starts_at"])
        }
        assert [row["kpi"] for row in own] == KPIS
        if shift["ends_at"] <= facts.now:
            assert_values(own, sample.shift(shift["shift_id"]))
    assert [row["starts_at"] for row in rows] == sorted(row["starts_at"] for row in rows)


def test_trend(queries: OperationalDataQueries, facts: Facts, sample: kpi_reference.Sample) -> None:
    zone = ZoneInfo(str(queries.get_organization(facts.organization_id)["timezone"]))
    today = dt.datetime.now(zone).date()
    rows = queries.get_kpi_trend(facts.organization_id, days=5)
    by_day = groups(rows, lambda row: row["day"])
    assert list(by_day) == [today - back * DAY for back in (5, 4, 3, 2, 1)]
    for day, own in by_day.items():
        period = tuple(
            dt.datetime.combine(edge, dt.time(), zone).astimezone(dt.UTC) for edge in (day, day + DAY)
        )
        assert [row["kpi"] for row in own] == KPIS
        assert {(row["period_start"], row["period_end"]) for row in own} == {period}
        assert_values(own, sample.organization(*period))


def test_a_trend_by_place_has_its_own_days(own: OperationalDataQueries) -> None:
    organization = own.create_organization("Two clocks", industry="none", timezone="UTC")["organization_id"]
    places = {
        zone: own.create_location(organization, zone, location_type="factory", timezone=zone)["location_id"]
        for zone in ("America/Santiago", "Asia/Kolkata")
    }
    rows = own.get_kpi_trend(
        organization,
        by="location",
        start=dt.datetime(2026, 9, 5, 12, tzinfo=dt.UTC),
        end=dt.datetime(2026, 9, 7, 12, tzinfo=dt.UTC),
    )
    days = groups(rows, lambda row: (row["location_id"], row["day"]))
    for (place, day), said in days.items():
        zone = next(zone for zone, known in places.items() if known == place)
        start = dt.datetime.combine(day, dt.time(), ZoneInfo(zone))
        if (zone, day) == ("America/Santiago", dt.date(2026, 9, 6)):  # a day of 23 hours, without midnight
            start = dt.datetime(2026, 9, 6, 4, tzinfo=dt.UTC)
            assert said[0]["period_end"] - start == dt.timedelta(hours=23)
        assert {row["period_start"] for row in said} == {start.astimezone(dt.UTC)}
        assert [row["kpi"] for row in said] == KPIS
    assert {day for place, day in days if place == places["Asia/Kolkata"]} == {
        dt.date(2026, 9, day) for day in (5, 6, 7)
    }


def test_a_trend_by_location_and_resource_agrees_with_their_kpis(
    queries: OperationalDataQueries, facts: Facts
) -> None:
    common = ("location_id", "kpi", "value", "numerator", "denominator", "coverage_pct", "reason")
    start = facts.now - 9 * DAY
    for by, ask, subject in (
        ("location", queries.get_location_kpis, {"location_id": facts.location_id}),
        ("resource", queries.get_resource_kpis, {"resource_id": facts.resource_id}),
    ):
        trend = queries.get_kpi_trend(facts.organization_id, bucket="week", by=by, start=start, **subject)  # type: ignore[arg-type]
        periods = groups(trend, lambda row: (row["period_start"], row["period_end"]))
        assert len(periods) in (2, 3)
        for (first, last), rows in periods.items():
            if last < facts.now:
                whole = ask(facts.organization_id, start=first, end=last, **subject)
                assert [[row[name] for name in common] for row in rows] == [
                    [row[name] for name in common] for row in whole
                ]


def test_a_trend_of_the_organization_agrees_with_its_kpis(
    queries: OperationalDataQueries, facts: Facts
) -> None:
    """Also of forecasts and plans, whose periods follow each other within one answer."""
    common = ("kpi", "value", "unit", "numerator", "denominator", "coverage_pct", "reason")
    for bucket, days in (("day", 4), ("week", 30)):
        start = facts.now - days * DAY
        trend = queries.get_kpi_trend(facts.organization_id, bucket=bucket, start=start)  # type: ignore[arg-type]
        periods = groups(trend, lambda row: (row["period_start"], row["period_end"]))
        assert len(periods) > 3
        for (first, last), rows in periods.items():
            if last < facts.now:
                whole = queries.get_kpi_summary(facts.organization_id, start=first, end=last)
                assert [[row[name] for name in common] for row in rows] == [
                    [row[name] for name in common] for row in whole
                ]


def test_an_organization_without_rows_has_reasons(own: OperationalDataQueries) -> None:
    organization = own.create_organization("Tabula Rasa", industry="none")["organization_id"]
    rows = own.get_kpi_summary(organization)
    assert all(row["value"] is None and row["reason"] for row in rows)
    assert own.get_location_kpis(organization) == []
    assert own.get_shift_kpis(organization) == []
    trend: list[Any] = own.get_kpi_trend(organization, days=2)
    assert len(trend) == 24
