"""Public, bank and school holidays of a location's country and subdivision, from the package `holidays`. Needs no network.

The location's metadata name the country (ISO 3166-1 alpha-2) and, if needed, the subdivision (ISO 3166-2
without the country): {"country": "DE", "subdivision": "BY"}. Each local day of the window is a reading, 1 for
a holiday and 0 for none.

The package does not know when a holiday was announced. So a day counts as known from the run on; use
`known_ahead` where the calendar is fixed by law long before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

import holidays

from barnameh.connectors.client import Client, Limit
from barnameh.connectors.model import Factor, Place, Window
from barnameh.errors import UsageError

CATEGORIES = {"public": "public_holiday", "bank": "bank_holiday", "school": "school_holiday"}


@dataclass(frozen=True)
class Calendars:
    """The source; see the module."""

    known_ahead: dt.timedelta | None = None
    """How long in advance a holiday counts as known; None: from the run on."""
    categories: tuple[str, ...] = tuple(CATEGORIES)

    name: str = "holidays"
    kind: str = "holidays"
    factor_type: str = "holiday"
    licence: str = "calendars of the Python package holidays, MIT licence"
    page: str = "holidays.readthedocs.io"
    by_location: bool = True
    look_back: dt.timedelta = dt.timedelta(days=7)
    ahead: dt.timedelta = dt.timedelta(days=365)
    longest_window: dt.timedelta = dt.timedelta(days=3660)

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """No host is contacted."""
        return {}

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Yield a reading for each local day that begins in the window and each category of the country."""
        zone = ZoneInfo(place.timezone)
        country = place.setting("country", "DE").upper()
        subdivision = place.metadata.get("subdivision")
        supported = holidays.list_supported_countries()
        if country not in supported:
            raise UsageError(
                f"location {place.name!r}: no calendar for country {country!r}, give ISO 3166-1 alpha-2"
            )
        if subdivision is not None and subdivision not in supported[country]:
            raise UsageError(
                f"location {place.name!r}: {country} has no subdivision {subdivision!r}, it has {', '.join(supported[country]) or 'none'}"
            )
        first, last = window.start.astimezone(zone).date(), window.end.astimezone(zone).date()
        years = range(first.year, last.year + 1)
        known = holidays.country_holidays(country, subdiv=subdivision).supported_categories
        asked_at = now.replace(minute=0, second=0, microsecond=0)
        for category, name in CATEGORIES.items():
            if category not in self.categories or category not in known:
                continue
            calendar = holidays.country_holidays(
                country, subdiv=subdivision, years=years, categories=category
            )
            day = first
            while day <= last:
                start = local_day_start(day, zone)
                if window.start <= start < window.end:
                    titles = calendar.get(day)
                    yield Factor(
                        start,
                        name,
                        Decimal(titles is not None),
                        "flag",
                        asked_at if self.known_ahead is None else min(asked_at, start - self.known_ahead),
                        {"source": self.name, "country": country, **({"name": titles} if titles else {})},
                    )
                day += dt.timedelta(days=1)

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Not supported: there is no answer to read."""
        raise UsageError("holidays need no network: leave --from-file out")


def local_day_start(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first instant of a local day (UTC), even if the clock skips or repeats midnight."""
    candidates = [
        dt.datetime.combine(day, dt.time(), zone).replace(fold=fold).astimezone(dt.UTC) for fold in (0, 1)
    ]
    return min(c for c in candidates if c.astimezone(zone).date() >= day)
