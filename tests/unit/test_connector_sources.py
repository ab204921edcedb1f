"""The meaning of each source's responses: units, gaps, times, availability, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from barnameh.connectors.calendars import Calendars, local_day_start
from barnameh.connectors.client import Client
from barnameh.connectors.ecb import ReferenceRates
from barnameh.connectors.entsoe import DayAheadPrices
from barnameh.connectors.fred import Fred
from barnameh.connectors.model import Factor, Place, Window
from barnameh.connectors.open_meteo import OpenMeteo
from barnameh.errors import AnswerError, UsageError

NOW = dt.datetime(2026, 10, 4, 12, 34, 56, tzinfo=dt.UTC)
HOUR = NOW.replace(minute=0, second=0)
HERE = Place(uuid4(), "Hall", "Europe/Berlin", 52.27, 6.88)


def answer(**changes: Any) -> bytes:
    """Two hours of Open-Meteo."""
    body = {
        "latitude": 52.276,
        "longitude": 6.873,
        "utc_offset_seconds": 0,
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "precipitation": "mm"},
        "hourly": {
            "time": ["2026-10-02T00:00", "2026-10-02T01:00"],
            "temperature_2m": [13.8, None],
            "precipitation": [0.0, 0.1],
        },
    }
    return json.dumps(body | changes).encode()


def test_weather_is_exact_and_gaps_stay_gaps() -> None:
    found = list(OpenMeteo().parse(answer(), HERE, NOW))
    first = dt.datetime(2026, 10, 2, tzinfo=dt.UTC)
    assert [(f.time, f.name, f.value, f.unit) for f in found] == [
        (first, "temperature", Decimal("13.8"), "celsius"),
        (first, "precipitation", Decimal("0.0"), "mm"),
        (first + dt.timedelta(hours=1), "precipitation", Decimal("0.1"), "mm"),
    ]
    assert {f.available_at for f in found} == {HOUR}


def test_a_bare_nan_is_a_gap() -> None:
    content = answer().replace(b"13.8", b"nan")
    assert [f.name for f in OpenMeteo().parse(content, HERE, NOW)] == ["precipitation", "precipitation"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"utc_offset_seconds": 7200}, "not in GMT"),
        ({"hourly_units": {"temperature_2m": "°F", "precipitation": "mm"}}, "in '°F', not in celsius"),
        ({"hourly": {"time": ["2026-10-02T00:00"], "temperature_2m": [1, 2]}}, "was truncated"),
        ({"hourly": None}, "no hourly values"),
        ({"error": True, "reason": "Daily limit"}, "Daily limit"),
    ],
)
def test_an_answer_that_says_something_else_is_refused_whole(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        list(OpenMeteo().parse(answer(**changes), HERE, NOW))


def test_half_an_answer_is_refused() -> None:
    with pytest.raises(AnswerError, match="not complete JSON"):
        list(OpenMeteo().parse(answer()[:-30], HERE, NOW))


def test_when_the_weather_could_be_known() -> None:
    time = dt.datetime(2026, 10, 2, tzinfo=dt.UTC)
    archive = next(OpenMeteo(mode="archive").parse(answer(), HERE, NOW))
    assert archive.available_at == time + dt.timedelta(days=5)
    run = dt.datetime(2026, 10, 1, 0, tzinfo=dt.UTC)
    single = next(OpenMeteo(mode="single-run", run=run).parse(answer(), HERE, NOW))
    assert single.available_at == run + dt.timedelta(hours=6)
    columns = {"time": ["2026-10-02T00:00"], "temperature_2m_previous_day2": [14.4]}
    units = {"temperature_2m_previous_day2": "°C"}
    lead = next(OpenMeteo(mode="previous-runs").parse(answer(hourly=columns, hourly_units=units), HERE, NOW))
    assert (lead.name, lead.available_at) == ("temperature", time - dt.timedelta(days=2))


def test_a_place_without_coordinates_is_one_clear_sentence() -> None:
    window = Window(NOW, NOW + dt.timedelta(days=1))
    with pytest.raises(UsageError, match="'Nowhere' has no coordinates: set latitude_degrees"):
        list(OpenMeteo().fetch(window, Place(None, "Nowhere", "UTC"), Client({}), NOW))


@pytest.mark.parametrize(
    ("name", "value", "unit", "problem"),
    [
        ("temperature", "21.5", "celsius", None),
        ("temperature", "121.5", "celsius", "outside"),
        ("temperature", "70", "fahrenheit", "is in fahrenheit, not in celsius"),
        ("relative_humidity", "101", "%", "outside"),
        ("wind_speed", "NaN", "m/s", "is NaN"),
        ("something_else", "1e9", "pieces", None),
    ],
)
def test_what_cannot_be_true_is_said(name: str, value: str, unit: str, problem: str | None) -> None:
    found = Factor(NOW, name, Decimal(value), unit, NOW).problem()
    assert (found is None) if problem is None else (found is not None and problem in found)


RATES = (
    b"KEY,FREQ,CURRENCY,CURRENCY_DENOM,EXR_TYPE,EXR_SUFFIX,TIME_PERIOD,OBS_VALUE,TITLE\n"
    b'EXR.D.USD.EUR.SP00.A,D,USD,EUR,SP00,A,2026-03-27,1.0842,"US dollar, daily"\n'
    b'EXR.D.USD.EUR.SP00.A,D,USD,EUR,SP00,A,2026-03-30,,"US dollar, daily"\n'
    b'EXR.D.JPY.EUR.SP00.A,D,JPY,EUR,SP00,A,2026-03-30,NaN,"yen"\n'
)


def test_reference_rates_are_known_in_the_afternoon_in_frankfurt() -> None:
    (rate,) = ReferenceRates().parse(RATES, HERE, NOW)
    assert (rate.name, rate.value, rate.unit) == (
        "exchange_rate_usd_per_eur",
        Decimal("1.0842"),
        "USD/EUR",
    )
    assert rate.time == dt.datetime(2026, 3, 26, 23, tzinfo=dt.UTC)
    assert rate.available_at == dt.datetime(2026, 3, 27, 15, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "content",
    [RATES[:-40], RATES.replace(b"1.0842", b"1,0842"), RATES.replace(b"OBS_VALUE", b"VALUE"), b""],
)
def test_rates_that_cannot_be_read_are_refused(content: bytes) -> None:
    with pytest.raises(AnswerError):
        list(ReferenceRates().parse(content, HERE, NOW))


def test_vintages_are_known_when_they_were_published() -> None:
    rows = [
        {
            "realtime_start": "2026-02-13",
            "realtime_end": "2026-03-12",
            "date": "2026-01-01",
            "value": "319.1",
        },
        {
            "realtime_start": "2026-03-13",
            "realtime_end": "9999-12-31",
            "date": "2026-01-01",
            "value": "319.4",
        },
        {"realtime_start": "2026-03-13", "realtime_end": "9999-12-31", "date": "2026-02-01", "value": "."},
    ]
    content = json.dumps({"count": 3, "observations": rows}).encode()
    first, second = Fred(series={"CPIAUCSL": "index"}).parse(content, HERE, NOW)
    assert (first.name, first.value) == ("fred_cpiaucsl", Decimal("319.1"))
    # Not before the end of that day in St. Louis, in winter and in summer.
    assert first.available_at == dt.datetime(2026, 2, 14, 6, tzinfo=dt.UTC)
    assert second.available_at == dt.datetime(2026, 3, 14, 5, tzinfo=dt.UTC)
    with pytest.raises(AnswerError, match="more than one answer can hold"):
        list(
            Fred(series={"X": "u"}).parse(json.dumps({"count": 4, "observations": rows}).encode(), HERE, NOW)
        )


def series(*periods: tuple[str, str, str, dict[int, str]], curve: str = "A03", unit: str = "MWH") -> bytes:
    """A publication document of one series."""
    inside = "".join(
        f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval><resolution>{resolution}</resolution>"
        + "".join(
            f"<Point><position>{n}</position><price.amount>{price}</price.amount></Point>"
            for n, price in points.items()
        )
        + "</Period>"
        for start, end, resolution, points in periods
    )
    return (
        '<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"><TimeSeries>'
        f"<currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>{unit}</price_Measure_Unit.name>"
        f"<curveType>{curve}</curveType>{inside}</TimeSeries></Publication_MarketDocument>"
    ).encode()


def test_a_price_that_repeats_is_left_out_by_the_source_and_put_back() -> None:
    document = series(("2024-10-05T22:00Z", "2024-10-06T02:00Z", "PT60M", {1: "55.35", 3: "-0.01"}))
    found = list(DayAheadPrices().parse(document, HERE, NOW))
    assert [f.value for f in found] == [Decimal("55.35")] * 2 + [Decimal("-0.01")] * 2
    # The delivery day in Brussels is the 6th: published on the 5th, at 14:00 summer time.
    assert {f.available_at for f in found} == {dt.datetime(2024, 10, 5, 12, tzinfo=dt.UTC)}


def test_without_repeating_a_gap_is_a_gap() -> None:
    document = series(("2024-10-05T22:00Z", "2024-10-06T02:00Z", "PT60M", {1: "55.35", 3: "1"}), curve="A01")
    hours = [f.time.hour for f in DayAheadPrices().parse(document, HERE, NOW)]
    assert hours == [22, 0]


def test_the_finer_of_two_overlapping_periods_speaks() -> None:
    document = series(
        ("2024-10-05T22:00Z", "2024-10-06T00:00Z", "PT60M", {1: "10", 2: "20"}),
        ("2024-10-05T22:00Z", "2024-10-05T23:00Z", "PT15M", {1: "1", 2: "2", 3: "3", 4: "4"}),
    )
    found = [(f.time.hour, f.time.minute, int(f.value)) for f in DayAheadPrices().parse(document, HERE, NOW)]
    assert found == [(22, 0, 1), (22, 15, 2), (22, 30, 3), (22, 45, 4), (23, 0, 20)]


def test_prices_fetched_as_soon_as_they_are_out_are_known_since_then() -> None:
    asked = dt.datetime(2026, 10, 4, 11, 5, tzinfo=dt.UTC)
    document = series(("2026-10-04T22:00Z", "2026-10-04T23:00Z", "PT60M", {1: "10"}))
    (price,) = DayAheadPrices().parse(document, HERE, asked)
    assert price.available_at == asked.replace(minute=0)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "defines entities"),
        (series(("2024-10-05T22:00Z", "2024-10-06T02:00Z", "PT60M", {1: "1"}))[:-9], "not complete XML"),
        (series(unit="KWH"), "not in EUR/MWh"),
        (series(("2024-10-05T22:00Z", "2024-10-06T02:00Z", "P1D", {1: "1"})), "resolution of 'P1D'"),
        (
            b"<Acknowledgement_MarketDocument><Reason><code>401</code><text>no token</text></Reason>"
            b"</Acknowledgement_MarketDocument>",
            "no token",
        ),
    ],
)
def test_documents_that_say_something_else_are_refused(document: bytes, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        list(DayAheadPrices().parse(document, HERE, NOW))


def holidays_of(metadata: dict[str, str], year: int, **options: Any) -> dict[str, set[dt.date]]:
    place = Place(uuid4(), "Hall", "Europe/Berlin", metadata=metadata)
    zone = ZoneInfo("Europe/Berlin")
    window = Window(dt.datetime(year, 1, 1, tzinfo=zone), dt.datetime(year + 1, 1, 1, tzinfo=zone))
    found = list(Calendars(**options).fetch(window, place, Client({}), NOW))
    for name in {f.name for f in found}:
        assert len([f for f in found if f.name == name]) == 365, "a reading for each day"
    days: dict[str, set[dt.date]] = {}
    for f in found:
        assert f.available_at <= HOUR
        if f.value == 1:
            days.setdefault(f.name, set()).add(f.time.astimezone(zone).date())
    return days


def test_holidays_are_those_of_the_subdivision() -> None:
    bavaria = holidays_of({"country": "DE", "subdivision": "BY"}, 2026)["public_holiday"]
    berlin = holidays_of({"country": "DE", "subdivision": "BE"}, 2026)["public_holiday"]
    assert dt.date(2026, 1, 6) in bavaria - berlin  # Epiphany
    assert dt.date(2026, 3, 8) in berlin - bavaria  # Women's Day
    assert dt.date(2026, 10, 3) in bavaria & berlin  # German Unity Day
    assert "school_holiday" in holidays_of({"country": "DE", "subdivision": "BY"}, 2026)


def test_a_calendar_is_known_since_the_run_unless_it_is_said_otherwise() -> None:
    place = Place(uuid4(), "Hall", "UTC", metadata={"country": "FR"})
    window = Window(NOW - dt.timedelta(days=2), NOW)
    assert {f.available_at for f in Calendars().fetch(window, place, Client({}), NOW)} == {HOUR}
    ahead = Calendars(known_ahead=dt.timedelta(days=365))
    for f in ahead.fetch(window, place, Client({}), NOW):
        assert f.available_at == f.time - dt.timedelta(days=365)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "has no country"),
        ({"country": "XX"}, "no calendar for country 'XX'"),
        ({"country": "DE", "subdivision": "NOPE"}, "DE has no subdivision 'NOPE'"),
    ],
)
def test_a_place_that_names_no_calendar_is_told_so(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        holidays_of(metadata, 2026)


@pytest.mark.parametrize("zone", ["Atlantic/Azores", "America/Santiago", "America/Havana", "Europe/Berlin"])
def test_a_local_day_begins_at_its_first_instant(zone: str) -> None:
    info = ZoneInfo(zone)
    day = dt.date(2025, 8, 1)
    while day < dt.date(2026, 5, 1):
        start = local_day_start(day, info)
        assert start.astimezone(info).date() == day
        assert (start - dt.timedelta(seconds=1)).astimezone(info).date() == day - dt.timedelta(days=1)
        day += dt.timedelta(days=1)


def test_a_window_is_split_by_elapsed_time() -> None:
    zone = ZoneInfo("Europe/Berlin")
    window = Window(dt.datetime(2026, 10, 25, tzinfo=zone), dt.datetime(2026, 10, 26, tzinfo=zone))
    hours = list(window.split(dt.timedelta(hours=1)))
    assert len(hours) == 25
    assert {one.end - one.start for one in hours} == {dt.timedelta(hours=1)}
