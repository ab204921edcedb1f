"""The page as a document: self-contained, reproducible, safe with any name, correct without data."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import sys
from urllib.parse import unquote
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, report, schema
from db_utils.errors import ConfigurationError, InvalidInputError, NotFoundError
from db_utils.report.data import period_of
from examples import electricity
from tests.integration.report.conftest import Page

MANUFACTURING = "11111111-1111-1111-1111-111111111111"
SECTIONS = [
    "kpis",
    "alerts",
    "downtime",
    "oee",
    "trend",
    "utilization",
    "demand",
    "forecasts",
    "plans",
    "attendance",
    "anomalies",
    "coverage",
]
SCRIPT = '<script>alert(1)</script> & "Söhne" 工場 $x_1$ {{ 7 * 7 }}'


def drawings(page: Page) -> list[str]:
    return [
        unquote(address.removeprefix("data:image/svg+xml,"))
        for _, given in page.attributes
        for name, address in given.items()
        if name in ("src", "srcset") and address
    ]


@pytest.mark.thorough
def test_it_holds_everything_and_asks_for_nothing(seeded: DatabaseManager) -> None:
    text = report.build(seeded, "Sample Manufacturing")
    page = Page(text)
    assert list(page.titles) == SECTIONS
    assert len(text.encode()) < 1_000_000
    assert "default-src 'none'" in text
    addresses = [
        given.get(name)
        for _, given in page.attributes
        for name in ("src", "srcset", "href")
        if given.get(name)
    ]
    assert all(address and address.startswith(("data:", "#")) for address in addresses)
    assert not [tag for tag, _ in page.attributes if tag in ("script", "iframe", "object")]
    assert not [name for _, given in page.attributes for name in given if name.startswith("on")]
    assert ("html", {"lang": "en"}) in page.attributes
    ids = [given["id"] for _, given in page.attributes if given.get("id")]
    assert len(ids) == len(set(ids))
    images = [given for tag, given in page.attributes if tag == "img"]
    assert len(images) == 10
    assert all(len(given["alt"] or "") > 40 for given in images)
    assert len(drawings(page)) == 20
    for drawing in drawings(page):
        ElementTree.fromstring(drawing)  # well formed
        assert "<text" in drawing
        assert not re.search(r"<script|href=\"(?!#|data:)|url\((?!#)", drawing)


@pytest.mark.slow
def test_the_same_figures_give_the_same_bytes(seeded: DatabaseManager) -> None:
    data = report.gather(seeded, MANUFACTURING, days=7)
    assert report.render(data) == report.render(data)
    assert report.render(dataclasses.replace(data, alerts=[])) != report.render(data)


@pytest.mark.slow
def test_names_are_text_and_nothing_else(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    queries = OperationalDataQueries(db)
    db.execute("UPDATE organizations SET name = %s WHERE organization_id = %s", (SCRIPT, MANUFACTURING))
    for table, column in (
        ("resources", "name"),
        ("locations", "name"),
        ("employees", "full_name"),
        ("alerts", "title"),
    ):
        db.execute(
            f"UPDATE {table} SET {column} = {column} || %s WHERE organization_id = %s",
            (f" \x01 {SCRIPT} " + "long " * 12, MANUFACTURING),
        )
    page = Page(report.build(queries._db, SCRIPT))
    assert not [tag for tag, _ in page.attributes if tag == "script"]
    assert SCRIPT in page.words
    assert any("{{ 7 * 7 }}" in row[0] for row in page.table("Planned busy time"))
    assert "\x01" not in page.text
    for drawing in drawings(page):
        assert not ElementTree.fromstring(drawing).findall(".//{*}script")
    assert any("工場" in drawing for drawing in drawings(page))


def test_an_organization_without_data(empty_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(empty_database)
    queries.create_organization("New", industry="logistics", timezone="America/New_York")
    page = Page(report.build(empty_database, "New"))
    assert list(page.titles.values()) == ["There is no data yet"]
    assert drawings(page) == []


def test_resources_without_events_say_why(empty_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(empty_database)
    organization = queries.create_organization("New", industry="logistics", timezone="Asia/Kolkata")[
        "organization_id"
    ]
    place = queries.create_location(organization, "Depot", location_type="depot", timezone="Asia/Kolkata")[
        "location_id"
    ]
    queries.create_resource(organization, "Van", location_id=place, resource_type="van")
    queries.raise_alert(organization, severity="low", alert_type="other", title="Look")
    page = Page(report.build(empty_database, "New"))
    assert page.titles["oee"] == "OEE is not known"
    assert page.table("Planned busy time") == [["Van", *["\N{EN DASH}"] * 6, "no events in the period"]]
    assert all(tile[0] == "not known" and tile[1] for tile in page.tiles.values())
    assert not re.search(r"(?<![\d.])0(\.0)? ?%", " ".join(page.words))


@pytest.mark.thorough
def test_a_resource_that_stood_still_lost_all_its_time(empty_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(empty_database)
    organization = queries.create_organization("New", industry="logistics")["organization_id"]
    place = queries.create_location(organization, "Depot", location_type="depot", timezone="UTC")[
        "location_id"
    ]
    van = queries.create_resource(
        organization, "Van", location_id=place, resource_type="van", rated_capacity_per_hour=10
    )["resource_id"]
    begin = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
    empty_database.execute(
        "INSERT INTO shifts (organization_id, location_id, name, starts_at, ends_at, required_employees) "
        "VALUES (%s, %s, 'Early', %s, %s, 1)",
        (organization, place, begin, begin + dt.timedelta(hours=8)),
    )
    queries.record_event(
        organization,
        time=begin,
        resource_id=van,
        location_id=place,
        event_type="breakdown",
        duration_minutes=480,
    )
    # It has reported production before: OEE is known only for such machines.
    queries.record_event(
        organization,
        time=begin - dt.timedelta(days=1),
        resource_id=van,
        location_id=place,
        event_type="production",
        duration_minutes=60,
        quantity=10,
        scrap_quantity=0,
    )
    queries.record_event(
        organization,
        time=begin - dt.timedelta(hours=20),
        resource_id=van,
        location_id=place,
        event_type="breakdown",
        duration_minutes=120,
    )
    schema.refresh_rollups(empty_database)
    html = report.build(empty_database, "New", start="2026-03-02", end="2026-03-03")
    assert "in which 75 % less was lost in all" in html  # 2 h, and 8 h now
    page = Page(html)
    assert page.table("Planned busy time") == [["Van", "480", "0", "0", "0", "480", "0.0", ""]]
    assert (
        page.titles["oee"]
        == "Van lost the most, 8 h of planned time (OEE 0.0 %), most of it to stops (availability)"
    )


@pytest.mark.thorough
def test_days_bear_the_date_of_their_place(empty_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(empty_database)
    organization = queries.create_organization("New", industry="retail", timezone="America/Santiago")[
        "organization_id"
    ]
    tokyo = ZoneInfo("Asia/Tokyo")
    place = queries.create_location(organization, "Shop", location_type="store", timezone="Asia/Tokyo")[
        "location_id"
    ]
    queries.record_demand(
        organization,
        [
            {
                "time": dt.datetime(2026, 9, day, tzinfo=tokyo),
                "product_id": "A",
                "location_id": place,
                "quantity": day,
            }
            for day in (4, 5, 6, 7)
        ],
    )
    page = Page(report.build(empty_database, "New", start="2026-09-04", end="2026-09-08"))
    # Which days: those that begin in the period, which is the organization's.
    assert page.table("Demand by local day") == [
        ["A", "Shop", f"2026-09-0{day}", f"{day}.0", "\N{EN DASH}"] for day in (5, 6, 7)
    ]
    assert page.titles["demand"] == "Demand of A peaked at 7.0 on 7 September 2026"


@pytest.mark.slow
def test_a_year_of_half_hours(seeded_database: DatabaseManager) -> None:
    electricity.load(seeded_database)
    schema.refresh_rollups(seeded_database)
    elsewhere = Page(report.build(seeded_database, "Victoria electricity"))
    assert list(elsewhere.titles.values()) == ["There are no data in this period"]
    assert any("2014-01-01" in words and "2014-12-31" in words for words in elsewhere.words)

    text = report.build(seeded_database, "Victoria electricity", start="2014-01-01", end="2015-01-01")
    page = Page(text)
    assert len(text.encode()) < 300_000
    market = ZoneInfo(electricity.TIMEZONE)
    days: dict[str, float] = {}
    for row in electricity.read_file():
        day = row["time"].astimezone(market).date().isoformat()
        days[day] = days.get(day, 0) + float(row["demand"])
    shown = {row[2]: float(row[3]) for row in page.table("Demand by local day")}
    assert shown == pytest.approx(days, abs=0.06)
    assert len(shown) == 365
    peak = max(days, key=lambda day: days[day])
    assert f"peaked at {days[peak]:.1f} on {dt.date.fromisoformat(peak):%-d %B %Y}" in page.titles["demand"]
    assert page.titles["coverage"] == "Every series has data on every day"


def test_whom_and_when(seeded: DatabaseManager) -> None:
    with pytest.raises(
        NotFoundError, match=r"'Sample': there are Sample Logistics \(22222222.*Sample Manufacturing"
    ):
        report.gather(seeded, "Sample")
    for given in (
        {"days": 0},
        {"days": 3, "start": "2026-01-01"},
        {"end": "2026-01-01"},
        {"start": "yesterday"},
        {"start": "2026-01-02", "end": "2026-01-01"},
        {"start": "0001-01-01"},
    ):
        with pytest.raises(InvalidInputError):
            report.gather(seeded, MANUFACTURING, **given)  # type: ignore[arg-type]
    zone, now = ZoneInfo("Europe/Paris"), dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
    # The day that summer time ends has 25 hours.
    period = period_of(None, "2026-10-25", "2026-10-26", zone=zone, now=now)
    assert period.end - period.start == dt.timedelta(hours=25)
    assert period.days == 1
    assert period_of(None, "2026-11-24T06:00+02:00", None, zone=zone, now=now).start.hour == 4


def test_two_of_the_same_name(empty_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(empty_database)
    for _ in range(2):
        queries.create_organization("Twin", industry="x")
    with pytest.raises(InvalidInputError, match="2 organizations are named 'Twin'"):
        report.gather(empty_database, "Twin")


def test_without_the_extra(seeded: DatabaseManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"barnameh-db-utils\[report\]"):
        report.build(seeded, MANUFACTURING)
