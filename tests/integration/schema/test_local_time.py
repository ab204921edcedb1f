"""Local days, hours, weeks and months compared with Python's zoneinfo, minute by minute; session settings do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager
from tests.conftest import fresh_database

MINUTE = timedelta(minutes=1)

# A zone, and a day on which its clock changes; the comment gives the special case.
CHANGES = [
    ("Atlantic/Azores", date(2025, 3, 30)),  # 00:00 does not exist
    ("Atlantic/Azores", date(2025, 10, 26)),  # 00:00 occurs twice
    ("America/Havana", date(2025, 3, 9)),
    ("America/Havana", date(2025, 11, 2)),
    ("Africa/Cairo", date(2024, 4, 26)),
    ("Africa/Cairo", date(2024, 11, 1)),  # 23:00 occurs twice
    ("America/Santiago", date(2024, 9, 8)),
    ("America/Santiago", date(2024, 4, 7)),
    ("Asia/Beirut", date(2024, 3, 31)),
    ("Asia/Beirut", date(2024, 10, 27)),
    ("America/Sao_Paulo", date(2017, 10, 15)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
    ("Pacific/Apia", date(2011, 12, 30)),  # the day does not exist
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Pacific/Kiritimati", date(1995, 1, 1)),
    ("Australia/Lord_Howe", date(2024, 4, 7)),  # half an hour back
    ("Australia/Lord_Howe", date(2024, 10, 6)),  # half an hour ahead
    ("America/St_Johns", date(2006, 4, 2)),  # a minute after midnight
    ("America/St_Johns", date(2006, 10, 29)),  # … back to the previous day
    ("America/Goose_Bay", date(2010, 11, 7)),
    ("Asia/Amman", date(2021, 10, 29)),
    ("Asia/Gaza", date(2020, 3, 28)),
    ("America/Toronto", date(1919, 3, 31)),  # 23:30 to 00:30
    ("Asia/Kathmandu", date(1986, 1, 1)),  # by a quarter of an hour
    ("Asia/Pyongyang", date(2018, 5, 5)),
    ("America/Caracas", date(2016, 5, 1)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Asia/Kolkata", date(2026, 6, 1)),
    ("UTC", date(2026, 6, 1)),
]


@pytest.fixture(scope="module")
def empty(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """A database with the schema, for reads only."""
    with fresh_database(server_url, template=schema_template) as url, DatabaseManager(url) as db:
        yield db


def minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    at = start
    while at < end:
        yield at
        at += MINUTE


@cache
def day_start(zone: ZoneInfo, day: date) -> datetime:
    """The first minute whose date is this day, or a later one."""
    midnight = datetime.combine(day, time(), UTC)
    return next(
        at
        for at in minutes(midnight - timedelta(hours=30), midnight + timedelta(hours=40))
        if at.astimezone(zone).date() >= day
    )


@pytest.mark.parametrize(("name", "day"), CHANGES)
def test_a_day_begins_at_the_first_instant_of_its_date(empty: DatabaseManager, name: str, day: date) -> None:
    days = [day + timedelta(days=shift) for shift in range(-3, 4)]
    rows = empty.execute_query(
        "SELECT d.day, local_day_start(d.day, %s) AS starts_at FROM unnest(%s::date[]) AS d (day)",
        (name, days),
    )
    assert {row["day"]: row["starts_at"] for row in rows} == {
        each: day_start(ZoneInfo(name), each) for each in days
    }


@pytest.mark.parametrize(("name", "day"), CHANGES)
def test_the_date_is_that_of_the_calendar_on_the_wall(empty: DatabaseManager, name: str, day: date) -> None:
    midnight = datetime.combine(day, time(), UTC)
    instants = list(minutes(midnight - timedelta(hours=30), midnight + timedelta(hours=40)))[::7]
    rows = empty.execute_query(
        "SELECT local_date(i.at, %s) AS day FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS i (at, n) ORDER BY i.n",
        (name, instants),
    )
    assert [row["day"] for row in rows] == [at.astimezone(ZoneInfo(name)).date() for at in instants]


@pytest.mark.parametrize(("name", "day"), CHANGES)
def test_an_hour_begins_at_the_whole_hour_and_at_a_change(
    empty: DatabaseManager, name: str, day: date
) -> None:
    zone, midnight = ZoneInfo(name), datetime.combine(day, time(), UTC)
    start, end = midnight - timedelta(hours=30, minutes=20), midnight + timedelta(hours=40)
    edges: list[tuple[datetime, datetime]] = []
    previous = None
    for at in minutes(start - timedelta(hours=2), end + timedelta(hours=2)):
        local = at.astimezone(zone)
        label = local.replace(minute=0, tzinfo=None), local.utcoffset()
        if previous is not None and label != previous:
            edges.append((at, label[0]))
        previous = label
    expected = [
        (first, last, label) for (first, label), (last, _) in pairwise(edges) if last > start and first < end
    ]
    rows = empty.execute_query("SELECT * FROM local_bucket_edges('hour', %s, %s, %s)", (start, end, name))
    assert [(r["bucket_start"], r["bucket_end"], r["local_start"]) for r in rows] == expected
    assert max(r["bucket_end"] - r["bucket_start"] for r in rows) <= timedelta(hours=1)


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "day"), CHANGES)
def test_days_weeks_and_months_cover_a_period(empty: DatabaseManager, name: str, day: date) -> None:
    for bucket in ("day", "week", "month"):
        cover(empty, name, day, bucket)


def cover(empty: DatabaseManager, name: str, day: date, bucket: str) -> None:
    zone, midnight = ZoneInfo(name), datetime.combine(day, time(), UTC)
    start, end = midnight - timedelta(days=9, hours=5), midnight + timedelta(days=35, hours=7)
    firsts = [
        each
        for shift in range(-80, 120)
        if (each := day + timedelta(days=shift))
        and (bucket == "day" or (each.weekday() == 0 if bucket == "week" else each.day == 1))
    ]
    edges = [(day_start(zone, each), each) for each in firsts if abs((each - day).days) < 80]
    expected = [
        (first, last, datetime.combine(label, time()))
        for (first, label), (last, _) in pairwise(edges)
        if last > first and last > start and first < end
    ]
    rows = empty.execute_query("SELECT * FROM local_bucket_edges(%s, %s, %s, %s)", (bucket, start, end, name))
    assert [(r["bucket_start"], r["bucket_end"], r["local_start"]) for r in rows] == expected, bucket
    assert all(first["bucket_end"] == second["bucket_start"] for first, second in pairwise(rows))
    assert rows[0]["bucket_start"] <= start < rows[0]["bucket_end"]
    assert rows[-1]["bucket_start"] < end <= rows[-1]["bucket_end"]


def test_what_cannot_be_listed_is_refused(empty: DatabaseManager) -> None:
    for bucket, end in (("year", "2026-01-02Z"), ("day", "infinity")):
        with pytest.raises(ValueError, match="give"):
            empty.execute_query(
                "SELECT * FROM local_bucket_edges(%s, '2026-01-01Z', %s, 'UTC')", (bucket, end)
            )
    assert (
        empty.execute_query("SELECT * FROM local_bucket_edges('day', '2026-01-02Z', '2026-01-02Z', 'UTC')")
        == []
    )
    row = empty.execute_query(
        "SELECT local_day_start('infinity', 'Asia/Kolkata') = 'infinity' AS last, "
        "local_day_start('-infinity', 'America/Havana') = '-infinity' AS first, "
        "local_day_start(NULL, 'UTC') IS NULL AS unknown"
    )[0]
    assert row == {"last": True, "first": True, "unknown": True}
