"""Open-Meteo: weather forecasts as they were made, and the actual weather (ERA5).

The modes, and when their values could be known:

    forecast        the newest run, for the days ahead                  the hour of the answer
    archive         ERA5, five days behind                              time + 5 days
    previous-runs   forecasts made 1 to 7 days before, since 2024       time - lead (the run is not newer)
    single-run      one complete run                                    run + 6 hours, when it is published

All are requested in GMT: with a named zone the source returns local times with one offset for the whole
answer, wrong after a clock change. Documentation: open-meteo.com/en/docs.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from barnameh.connectors.client import Client, Limit
from barnameh.connectors.model import Factor, Place, Window
from barnameh.errors import AnswerError, UsageError

ERA5_DELAY = dt.timedelta(days=5)
PUBLISHED_AFTER = dt.timedelta(hours=6)
FREE = "weather data by Open-Meteo.com under CC BY 4.0; the free service is for non-commercial use, others set OPEN_METEO_API_KEY"
PAID = "weather data by Open-Meteo.com under CC BY 4.0; commercial access by API key"

# The source's name of each variable, ours, and the unit to request.
VARIABLES = {
    "temperature_2m": ("temperature", "celsius"),
    "precipitation": ("precipitation", "mm"),
    "wind_speed_10m": ("wind_speed", "m/s"),
    "relative_humidity_2m": ("relative_humidity", "%"),
    "shortwave_radiation": ("shortwave_radiation", "W/m2"),
}
_UNITS = {"celsius": {"°C"}, "mm": {"mm"}, "m/s": {"m/s"}, "%": {"%"}, "W/m2": {"W/m²"}}
_HOSTS = {
    "forecast": "api.open-meteo.com/v1/forecast",
    "archive": "archive-api.open-meteo.com/v1/archive",
    "previous-runs": "previous-runs-api.open-meteo.com/v1/forecast",
    "single-run": "single-runs-api.open-meteo.com/v1/forecast",
}
# Two thirds of the free service's limits: 600 a minute, 5,000 an hour and 10,000 a day.
_LIMITS = (Limit(400, 60), Limit(3300, 3600), Limit(6600, 86_400))
_LEADS = (1, 2, 3)


@dataclass(frozen=True)
class OpenMeteo:
    """The source; see the module. `mode` None uses archive for the past and forecast for the future."""

    mode: str | None = None
    run: dt.datetime | None = None
    leads: tuple[int, ...] = _LEADS
    api_key: str | None = field(default=None, repr=False)
    variables: tuple[str, ...] = tuple(VARIABLES)

    name: str = "open-meteo"
    kind: str = "weather"
    factor_type: str = "weather"
    page: str = "open-meteo.com/en/terms"
    by_location: bool = True
    look_back: dt.timedelta = dt.timedelta(days=10)
    ahead: dt.timedelta = dt.timedelta(days=7)
    longest_window: dt.timedelta = dt.timedelta(days=90)

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in _HOSTS:
            raise UsageError(f"mode is {self.mode!r}: choose {', '.join(_HOSTS)}")
        if (self.mode == "single-run") != (self.run is not None):
            raise UsageError("mode single-run needs --run, the time of the run, and no other mode takes it")
        if not set(self.leads) <= set(range(1, 8)):
            raise UsageError("leads are whole days from 1 to 7")

    @property
    def licence(self) -> str:
        """Terms of use and attribution."""
        return FREE if self.api_key is None else PAID

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """By host. Commercial keys allow more, by contract; the free limits apply to both."""
        return {self._url(mode).split("/")[2]: _LIMITS for mode in _HOSTS}

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Yield the hourly readings of the window."""
        latitude, longitude = place.coordinates()
        for mode, part in self._parts(window, now):
            last = part.end - dt.timedelta(microseconds=1)
            parameters: dict[str, Any] = {
                "latitude": f"{latitude:.4f}",
                "longitude": f"{longitude:.4f}",
                "hourly": ",".join(self._columns(mode)),
                "wind_speed_unit": "ms",
                "timezone": "GMT",
                "start_date": f"{part.start.astimezone(dt.UTC):%Y-%m-%d}",
                "end_date": f"{last.astimezone(dt.UTC):%Y-%m-%d}",
            }
            if self.run is not None:
                parameters["run"] = f"{self.run.astimezone(dt.UTC):%Y-%m-%dT%H:%M}"
            if self.api_key is not None:
                parameters["apikey"] = self.api_key
            days = (part.end - part.start) / dt.timedelta(days=1)
            columns = len(self._columns(mode))
            # The source counts a request for more than two weeks or ten variables as several.
            answer = client.get(
                self._url(mode), parameters, weight=max(1.0, days / 14) * max(1.0, columns / 10)
            )
            for factor in self._read(answer.content, mode, answer.at):
                if part.start <= factor.time < part.end:
                    yield factor

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Parse a saved answer of the mode (default: forecast), as if received at `now`."""
        yield from self._read(answer, self.mode or "forecast", now)

    def _parts(self, window: Window, now: dt.datetime) -> Iterator[tuple[str, Window]]:
        """Split the window into the parts of each mode."""
        if self.mode is not None:
            yield self.mode, window
            return
        border = _midnight(now - ERA5_DELAY)
        if window.start < border:
            yield "archive", Window(window.start, min(window.end, border))
        if window.end > border:
            yield "forecast", Window(max(window.start, border), window.end)

    def _columns(self, mode: str) -> list[str]:
        if mode == "previous-runs":
            return [f"{name}_previous_day{lead}" for name in self.variables for lead in self.leads]
        return list(self.variables)

    def _url(self, mode: str) -> str:
        return f"https://{'' if self.api_key is None else 'customer-'}{_HOSTS[mode]}"

    def _read(self, content: bytes, mode: str, at: dt.datetime) -> Iterator[Factor]:
        body = _json(content)
        hourly, units = body.get("hourly"), body.get("hourly_units")
        if not isinstance(hourly, dict) or not isinstance(units, dict):
            raise AnswerError("Open-Meteo's answer has no hourly values: request hourly ones")
        if body.get("utc_offset_seconds") != 0:
            raise AnswerError("Open-Meteo's answer is not in GMT: its hours are ambiguous when clocks change")
        times = [dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) for text in hourly["time"]]
        cell = {
            "source": self.name,
            "mode": mode,
            "latitude": str(body.get("latitude")),
            "longitude": str(body.get("longitude")),
        }
        for column, values in hourly.items():
            found = re.fullmatch(r"(\w+?)(?:_previous_day(\d))?", column)
            if found is None or found[1] not in VARIABLES:
                continue
            name, unit = VARIABLES[found[1]]
            if units.get(column) not in _UNITS[unit]:
                raise AnswerError(f"Open-Meteo gives {column} in {units.get(column)!r}, not in {unit}")
            if len(values) != len(times):
                raise AnswerError(
                    f"Open-Meteo's answer was truncated: {len(times)} hours, {len(values)} of {column}"
                )
            lead = int(found[2] or 0)
            for time, value in zip(times, values, strict=True):
                if value is not None:
                    yield Factor(time, name, Decimal(value), unit, self._known(mode, time, lead, at), cell)

    def _known(self, mode: str, time: dt.datetime, lead: int, at: dt.datetime) -> dt.datetime:
        """Return the earliest time at which the value for this time could be known."""
        if mode == "archive":
            return time + ERA5_DELAY
        if mode == "previous-runs":
            return time - dt.timedelta(days=lead)
        if mode == "single-run":
            assert self.run is not None
            return self.run + PUBLISHED_AFTER
        return at.replace(minute=0, second=0, microsecond=0)


def _midnight(at: dt.datetime) -> dt.datetime:
    return at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _json(content: bytes) -> dict[str, Any]:
    """Parse an answer as JSON with exact numbers. Missing values are a bare nan, which is not valid JSON."""
    text = re.sub(r"(?<=[\[,:\s])-?nan(?=[\],}\s])", "null", content.decode("utf-8"))
    try:
        body = json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)
    except ValueError as error:
        raise AnswerError(f"Open-Meteo's answer is not complete JSON: {error}") from None
    if not isinstance(body, dict):
        raise AnswerError("Open-Meteo's answer is a list: request one place at a time")
    if body.get("error"):
        raise AnswerError(f"Open-Meteo refused: {body.get('reason')}")
    return body
