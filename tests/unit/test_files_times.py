"""Times in files: zones, Unix time, days; and the repeated hour, resolved by the order of the rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.files.options import ImportOptions
from db_utils.files.repeated_hour import RepeatedHours
from db_utils.files.times import Moments, Unresolved, day, day_start

UTC = dt.UTC


def moment(value: Any, **options: Any) -> dt.datetime:
    return dt.datetime.fromisoformat(Moments(ImportOptions(**options), None, may_be_ordered=False)(value))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-06-01 10:00 UTC", 10),
        ("2026-06-01 10:00 GMT", 10),
        ("2026-06-01 10:00 Z", 10),
        ("2026-06-01 10:00 CEST", 8),
        ("2026-06-01 10:00 America/New_York", 14),
    ],
)
def test_zone_names_are_understood(text: str, utc: int) -> None:
    found = moment(text, time_zone="Europe/Berlin", time_format="%Y-%m-%d %H:%M %Z")
    assert found == dt.datetime(2026, 6, 1, utc, tzinfo=UTC)


@pytest.mark.parametrize("name", ["CET", "EST", "Mars/Base", "XYZ"])
def test_other_zone_names_are_refused(name: str) -> None:
    """CET is not in use in Berlin in June."""
    with pytest.raises(BadValueError, match=name):
        moment(f"2026-06-01 10:00 {name}", time_zone="Europe/Berlin", time_format="%Y-%m-%d %H:%M %Z")


def test_the_name_tells_the_two_hours_apart() -> None:
    written = {"time_zone": "Europe/Berlin", "time_format": "%d.%m.%Y %H:%M %Z"}
    assert moment("26.10.2025 02:30 CEST", **written) == dt.datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert moment("26.10.2025 02:30 CET", **written) == dt.datetime(2025, 10, 26, 1, 30, tzinfo=UTC)
    with pytest.raises(BadValueError, match="more than one zone"):
        moment("26.10.2025 02:30 CET", time_format="%d.%m.%Y %H:%M %Z")


@given(
    st.datetimes(dt.datetime(1974, 1, 1), dt.datetime(2100, 1, 1)),
    st.sampled_from(["epoch", "epoch_ms"]),
    st.sampled_from([str, Decimal, int]),
)
def test_unix_time(at: dt.datetime, written: str, kind: Any) -> None:
    at = at.replace(microsecond=0, tzinfo=UTC)
    number = int(at.timestamp()) * (1000 if written == "epoch_ms" else 1)
    assert moment(kind(number), time_format=written) == at
    with pytest.raises(BadValueError, match=r"is a number|is not a time"):
        moment(kind(number))
    with pytest.raises(BadValueError, match="epoch"):
        moment(kind(number), time_format="epoch" if written == "epoch_ms" else "epoch_ms")


@pytest.mark.parametrize("text", ["20240321", "1711012300", "1711012300000", "1711012300.5", "2024"])
def test_digits_alone_are_never_a_date(text: str) -> None:
    with pytest.raises(BadValueError):
        moment(text, time_zone="UTC")
    with pytest.raises(BadValueError):
        day(text, None)
    assert day("20240321", "%Y%m%d") == "2024-03-21"


def test_formats_that_say_too_little_or_twice() -> None:
    for written in ("%H:%M", "%d.%m. %H:%M", "%Y-%m-%d %H:%M %z %Z", "epoch_us"):
        with pytest.raises(InvalidInputError, match="time_format"):
            ImportOptions(time_format=written)


@given(
    st.dates(dt.date(1980, 1, 1), dt.date(2030, 1, 1)),
    st.sampled_from(
        [
            "America/Santiago",
            "Asia/Beirut",
            "Europe/Berlin",
            "America/Havana",
            "Pacific/Apia",
            "America/St_Johns",
        ]
    ),
)
def test_a_day_begins_at_its_first_instant(which: dt.date, zone: str) -> None:
    place = ZoneInfo(zone)
    start = day_start(which, place)
    assert start.astimezone(place).date() >= which
    assert (start.astimezone(UTC) - dt.timedelta(seconds=1)).astimezone(place).date() < which
    written = moment(which, time_zone=zone)
    assert written == start
    assert moment(f"{which:%d/%m/%Y}", time_zone=zone, time_format="%d/%m/%Y") == start


# -- the repeated hour -------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


def ordered(rows: list[tuple[str, dt.datetime]], *, repeats_tell: bool = True) -> tuple[list[Any], list[str]]:
    """The resolved rows (series, wall time), in the order of the file, and why others were not."""
    convert = Moments(ImportOptions(time_zone="Europe/Berlin", ambiguous="order"), None, may_be_ordered=True)
    lines = ((n, [series, convert(wall)]) for n, (series, wall) in enumerate(rows))
    bad: list[tuple[int, str]] = []
    settled = RepeatedHours(1, [0], repeats_tell=repeats_tell).rows(
        lines, lambda line, column, reason: bad.append((line, reason))
    )
    found = {line: dt.datetime.fromisoformat(values[1]) for line, values in settled}
    return [found.get(n) for n in range(len(rows))], [reason for _, reason in sorted(bad)]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"2025-10-26 {text}")


@given(
    series=st.dictionaries(st.sampled_from("abc"), st.sampled_from([5, 10, 15, 20, 30, 60]), min_size=1),
    backwards=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
    by_clock=st.booleans(),
)
def test_what_was_on_a_clock_is_found_again(
    series: dict[str, int], backwards: bool, shuffle: Any, by_clock: bool
) -> None:
    """Series of any step, interleaved in any way; in order of time, of the clock, or backwards."""
    start = dt.datetime(2025, 10, 25, 22, tzinfo=UTC)
    waiting = {}
    for name, step in series.items():
        moments = [start + n * dt.timedelta(minutes=step) for n in range(6 * 60 // step)]
        if by_clock:
            moments.sort(
                key=lambda m: m.astimezone(BERLIN).replace(tzinfo=None)
            )  # stable, as spreadsheets sort
        waiting[name] = moments[::-1] if backwards else moments
    rows: list[tuple[str, dt.datetime]] = []
    while waiting:
        name = shuffle.choice(sorted(waiting))
        rows.append((name, waiting[name].pop(0)))
        waiting = {name: left for name, left in waiting.items() if left}
    walls = [(name, m.astimezone(BERLIN).replace(tzinfo=None)) for name, m in rows]
    found, reasons = ordered(walls)
    assert reasons == []
    assert found == [m for _, m in rows]


@pytest.mark.parametrize(
    ("walls", "why"),
    [
        (["01:00", "02:00", "03:00"], "has the hour once"),
        (["01:00", "02:00", "02:30", "03:00"], "has the hour once"),
        (["01:00", "02:00", "02:00", "02:30", "03:00"], "some times twice and others not"),
        (["02:00", "02:00", "02:00"], "some times twice"),
        (["01:00", "02:30", "02:00", "02:30", "02:00", "03:00"], "goes back 2 times"),
        (["03:00", "02:00", "02:00", "03:30"], "not in the order of time"),
    ],
)
def test_where_the_order_does_not_tell_it_says_so(walls: list[str], why: str) -> None:
    found, reasons = ordered([("a", at(wall)) for wall in walls])
    assert len(reasons) == sum(wall.startswith("02") for wall in walls)
    assert all(why in reason and "--ambiguous" in reason for reason in reasons)
    assert [one is None for one in found] == [wall.startswith("02") for wall in walls]


def test_of_events_only_a_clock_that_goes_back_tells() -> None:
    walls = [("m", at(text)) for text in ("01:50", "02:10", "02:10", "02:40", "02:05", "03:00")]
    found, reasons = ordered(walls, repeats_tell=False)
    assert reasons == []
    assert [f"{one.astimezone(UTC):%H:%M}" for one in found] == [
        "23:50",
        "00:10",
        "00:10",
        "00:40",
        "01:05",
        "02:00",
    ]
    assert ordered(walls[:4], repeats_tell=False)[1] != []


def test_an_unresolved_time_is_one_of_two() -> None:
    assert [Unresolved(at("02:00"), BERLIN).moment(fold)[-6:] for fold in (0, 1)] == ["+02:00", "+01:00"]
