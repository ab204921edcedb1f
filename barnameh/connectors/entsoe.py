"""Day-ahead power prices of the ENTSO-E transparency platform, by bidding zone.

Needs a token (ENTSOE_TOKEN, issued by e-mail on request). The location's metadata name the zone by its EIC
code: {"bidding_zone": "10Y1001A1001A82H"}. Prices of a delivery day in Central European time are published in
the early afternoon of the day before: known at 14:00 there, or at the time of the run if that was earlier.
Documentation: the platform's guide, document A44.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

from barnameh.connectors.client import Client, Limit
from barnameh.connectors.model import Factor, Place, Window
from barnameh.errors import AnswerError, UsageError

MARKET = ZoneInfo("Europe/Brussels")
PUBLISHED = dt.time(14)
NAME = "power_price_day_ahead"
_HOST = "web-api.tp.entsoe.eu"
_RESOLUTIONS = {"PT15M": 15, "PT30M": 30, "PT60M": 60}
_NOTHING_FOUND = "999"


@dataclass(frozen=True)
class DayAheadPrices:
    """The source; see the module."""

    token: str | None = field(default=None, repr=False)

    name: str = "entsoe"
    kind: str = "power"
    factor_type: str = "market"
    licence: str = "day-ahead prices of the ENTSO-E Transparency Platform; free to use with the source named, by its terms"
    page: str = "transparency.entsoe.eu"
    by_location: bool = True
    look_back: dt.timedelta = dt.timedelta(days=3)
    ahead: dt.timedelta = dt.timedelta(days=2)
    longest_window: dt.timedelta = dt.timedelta(days=365)

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """The platform allows 400 requests a minute, and blocks for ten minutes beyond that."""
        return {_HOST: (Limit(250, 60),)}

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Yield the prices of the market time units that begin in the window."""
        if self.token is None:
            raise UsageError("ENTSO-E needs a token: set ENTSOE_TOKEN")
        zone = place.setting("bidding_zone", "10Y1001A1001A82H")
        answer = client.get(
            f"https://{_HOST}/api",
            {
                "securityToken": self.token,
                "documentType": "A44",
                "in_Domain": zone,
                "out_Domain": zone,
                "periodStart": f"{window.start.astimezone(dt.UTC):%Y%m%d%H00}",
                "periodEnd": f"{_hour_after(window.end):%Y%m%d%H00}",
            },
        )
        for factor in self.parse(answer.content, place, now):
            if window.start <= factor.time < window.end:
                yield factor

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Parse a publication document. Where periods overlap, the finer resolution counts."""
        root = _document(answer)
        if root.tag == "Acknowledgement_MarketDocument":
            code, text = root.findtext("Reason/code"), root.findtext("Reason/text")
            if code == _NOTHING_FOUND:
                return
            raise AnswerError(f"ENTSO-E refused: {text or code}")
        asked_at = now.replace(minute=0, second=0, microsecond=0)
        prices: dict[dt.datetime, tuple[int, Decimal]] = {}
        for series in root.iter("TimeSeries"):
            unit = f"{series.findtext('currency_Unit.name')}/{series.findtext('price_Measure_Unit.name')}"
            if unit.upper() != "EUR/MWH":
                raise AnswerError(f"ENTSO-E gives prices in {unit}, not in EUR/MWh")
            repeats = series.findtext("curveType") == "A03"
            for period in series.iter("Period"):
                for time, minutes, price in _points(period, repeats=repeats):
                    if time not in prices or minutes < prices[time][0]:
                        prices[time] = (minutes, price)
        covered = _covered_by_finer(prices)
        for time, (minutes, price) in sorted(prices.items()):
            if time in covered and covered[time] < minutes:
                continue
            day = time.astimezone(MARKET).date() - dt.timedelta(days=1)
            published = dt.datetime.combine(day, PUBLISHED, MARKET).astimezone(dt.UTC)
            yield Factor(
                time,
                NAME,
                price,
                "EUR/MWh",
                min(published, asked_at),
                {"source": self.name, "minutes": minutes},
            )


def _covered_by_finer(prices: Mapping[dt.datetime, tuple[int, Decimal]]) -> dict[dt.datetime, int]:
    """Return the finest resolution in which any part of each hour is priced."""
    finest: dict[dt.datetime, int] = {}
    for time, (minutes, _) in prices.items():
        hour = time.replace(minute=0)
        finest[hour] = min(finest.get(hour, minutes), minutes)
    return finest


def _points(period: ElementTree.Element, *, repeats: bool) -> Iterator[tuple[dt.datetime, int, Decimal]]:
    """Start, length in minutes and price of each market time unit; a repeated price may be omitted."""
    resolution = period.findtext("resolution") or ""
    if resolution not in _RESOLUTIONS:
        raise AnswerError(f"ENTSO-E gives a resolution of {resolution!r}")
    minutes = _RESOLUTIONS[resolution]
    start, end = (_time(period.findtext(f"timeInterval/{edge}")) for edge in ("start", "end"))
    try:
        given = {
            int(point.findtext("position") or ""): Decimal(point.findtext("price.amount") or "")
            for point in period.iter("Point")
        }
    except (ValueError, InvalidOperation):
        raise AnswerError("ENTSO-E gives a point without position or price") from None
    price = None
    for position in range(1, int((end - start) / dt.timedelta(minutes=minutes)) + 1):
        price = given.get(position, price if repeats else None)
        if price is not None:
            yield start + (position - 1) * dt.timedelta(minutes=minutes), minutes, price


def _document(answer: bytes) -> ElementTree.Element:
    """Parse the XML, without its namespace. Documents that define entities are rejected unparsed."""
    if b"<!DOCTYPE" in answer or b"<!ENTITY" in answer:
        raise AnswerError("ENTSO-E's answer defines entities, which none of its documents does")
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError as error:
        raise AnswerError(f"ENTSO-E's answer is not complete XML: {error}") from None
    for element in root.iter():
        element.tag = re.sub(r"^\{.*?\}", "", element.tag)
    return root


def _time(text: str | None) -> dt.datetime:
    try:
        return dt.datetime.strptime(text or "", "%Y-%m-%dT%H:%MZ").replace(tzinfo=dt.UTC)
    except ValueError:
        raise AnswerError(f"ENTSO-E gives {text!r} for a time") from None


def _hour_after(at: dt.datetime) -> dt.datetime:
    hour = at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    return hour if hour == at else hour + dt.timedelta(hours=1)
