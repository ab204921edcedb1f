"""Sources, and their requests and readings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from barnameh.connectors.client import Client, Limit
from barnameh.errors import UsageError

# Canonical unit and possible range of each factor that a source may store. Weather: World Meteorological
# Organization records, rounded outward; prices: the bid limits of European exchanges.
KNOWN_FACTORS: dict[str, tuple[str, Decimal, Decimal]] = {
    "temperature": ("celsius", Decimal(-95), Decimal(65)),
    "apparent_temperature": ("celsius", Decimal(-110), Decimal(85)),
    "precipitation": ("mm", Decimal(0), Decimal(450)),
    "snowfall": ("cm", Decimal(0), Decimal(100)),
    "wind_speed": ("m/s", Decimal(0), Decimal(115)),
    "relative_humidity": ("%", Decimal(0), Decimal(100)),
    "cloud_cover": ("%", Decimal(0), Decimal(100)),
    "shortwave_radiation": ("W/m2", Decimal(0), Decimal(1500)),
    "public_holiday": ("flag", Decimal(0), Decimal(1)),
    "bank_holiday": ("flag", Decimal(0), Decimal(1)),
    "school_holiday": ("flag", Decimal(0), Decimal(1)),
    "power_price_day_ahead": ("EUR/MWh", Decimal(-1000), Decimal(10000)),
}


@dataclass(frozen=True)
class Window:
    """A half-open time span, start <= t < end, in UTC."""

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise UsageError("a window needs times with a UTC offset")
        # Adding to a zoned time shifts its wall clock, not the instant, which differs on the night of a clock
        # change.
        object.__setattr__(self, "start", self.start.astimezone(dt.UTC))
        object.__setattr__(self, "end", self.end.astimezone(dt.UTC))
        if self.start >= self.end:
            raise UsageError(f"the window must start before it ends: {self.start} to {self.end}")

    def split(self, longest: dt.timedelta) -> Iterator[Window]:
        """Split the window into parts of at most this length, oldest first."""
        start = self.start
        while start < self.end:
            end = min(start + longest, self.end)
            yield Window(start, end)
            start = end


@dataclass(frozen=True)
class Place:
    """The place that a factor applies to. `location_id` None: the whole organization."""

    location_id: UUID | None
    name: str
    timezone: str
    latitude: float | None = None
    longitude: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def coordinates(self) -> tuple[float, float]:
        """Return WGS 84 latitude and longitude in degrees; `UsageError` if the location has none."""
        if self.latitude is None or self.longitude is None:
            raise UsageError(
                f"location {self.name!r} has no coordinates: set latitude_degrees and longitude_degrees of the location"
            )
        return self.latitude, self.longitude

    def setting(self, name: str, example: str) -> str:
        """Return this entry of the location's metadata; `UsageError` if it is missing."""
        value = self.metadata.get(name)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(
                f'location {self.name!r} has no {name}: put {{"{name}": "{example}"}} into its metadata'
            )
        return value.strip()


@dataclass(frozen=True, slots=True)
class Factor:
    """One reading, in its canonical unit. `available_at` is the earliest time at which it could be known."""

    time: dt.datetime
    name: str
    value: Decimal
    unit: str
    available_at: dt.datetime
    metadata: Mapping[str, Any] | None = None

    def problem(self) -> str | None:
        """Why this reading is impossible, or None."""
        if not self.value.is_finite():
            return f"{self.name} is {self.value}"
        known = KNOWN_FACTORS.get(self.name)
        if known is None:
            return None
        unit, least, most = known
        if self.unit != unit:
            return f"{self.name} is in {self.unit}, not in {unit}"
        if not least <= self.value <= most:
            return f"{self.name} of {self.value} {unit} is outside {least} to {most}"
        return None


class Source(Protocol):
    """A public source. Each has its own module; `registry.SOURCES` lists them."""

    @property
    def name(self) -> str:
        """Its name in commands and `connector_runs`, such as open-meteo."""

    @property
    def kind(self) -> str:
        """Its argument to `barnameh fetch`: weather, holidays, fx, power or market."""

    @property
    def factor_type(self) -> str:
        """Its `factor_type` in `external_factors`."""

    @property
    def licence(self) -> str:
        """Licence and attribution, in one sentence that the command prints."""

    @property
    def page(self) -> str:
        """URL of its terms."""

    @property
    def by_location(self) -> bool:
        """Whether it is fetched for each location, or once for the organization."""

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """The rate limits of each host, with a margin."""

    @property
    def look_back(self) -> dt.timedelta:
        """How far before the end of the last successful window a run starts, for late revisions."""

    @property
    def ahead(self) -> dt.timedelta:
        """How far into the future a run without --end reaches."""

    @property
    def longest_window(self) -> dt.timedelta:
        """The longest window of one request; longer ones are split."""

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Fetch the readings of a window, without side effects other than through `client`."""

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Parse a saved answer (`--from-file`), as if received at `now`."""
