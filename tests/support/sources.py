"""A loopback server that answers like the public sources, with their quirks and faults. No real source is contacted.

Formats follow answers published in open repositories; the values are a function of the requested time, so
that a test can compute every reading.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

UNITS = {
    "temperature_2m": "°C",
    "precipitation": "mm",
    "wind_speed_10m": "m/s",
    "relative_humidity_2m": "%",
    "shortwave_radiation": "W/m²",
}
HOSTS = (
    "api.open-meteo.com",
    "archive-api.open-meteo.com",
    "customer-archive-api.open-meteo.com",
    "previous-runs-api.open-meteo.com",
    "single-runs-api.open-meteo.com",
    "data-api.ecb.europa.eu",
    "api.stlouisfed.org",
    "web-api.tp.entsoe.eu",
)


@dataclass
class Fault:
    """The response instead of the data: a status with a body, or the data truncated after some bytes."""

    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None


LIMITED = {
    window: Fault(
        429,
        json.dumps(
            {"error": True, "reason": f"{window} API request limit exceeded. Please try again later."}
        ),
    )
    for window in ("Minutely", "Hourly", "Daily")
}


@dataclass
class Sources:
    """The server's behaviour; `fault` is called before each response, with the number of the request."""

    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    fault: Callable[[int], Fault | None] = lambda number: None
    value: Callable[[str, dt.datetime, int], float | str | None] = lambda name, time, lead: reading(
        name, time, lead
    )
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def hosts(self) -> dict[str, str]:
        """All sources at this address."""
        return dict.fromkeys(HOSTS, self.url)


def reading(name: str, time: dt.datetime, lead: int) -> float:
    """The value of a variable at a time as forecast some days before: within bounds, and different each time."""
    hours = int(time.timestamp() // 3600)
    return round((hours * (3 + len(name)) + lead * 7) % 97 / 10, 1)


@contextmanager
def serve() -> Iterator[Sources]:
    """The server, while the block runs."""
    sources = Sources()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return sources.now.strftime("%a, %d %b %Y %H:%M:%S GMT")

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            sources.asked.append((parts.path, asked))
            fault = sources.fault(len(sources.asked))
            if fault is not None and fault.cut_at is None:
                self._send(fault.status, fault.body.encode(), fault.headers)
                return
            body = answer(sources, parts.path, asked).encode()
            self._send(200, body, {}, cut_at=None if fault is None else fault.cut_at)

        def _send(self, status: int, body: bytes, headers: dict[str, str], cut_at: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if cut_at is None else body[:cut_at])
            self.close_connection = cut_at is not None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    sources.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sources
    finally:
        server.shutdown()
        server.server_close()


def answer(sources: Sources, path: str, asked: dict[str, str]) -> str:
    """The response body of the source with this path."""
    if path.startswith("/v1/"):
        return weather(sources, asked)
    if path.startswith("/service/data/EXR/"):
        return rates(sources, path.rsplit("/", 1)[1].split(".")[1].split("+"), asked)
    if path == "/fred/series/observations":
        return observations(sources, asked)
    return prices(sources, asked)


def days(first: str, last: str) -> list[dt.date]:
    """All days of the range, both ends included."""
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]


def weather(sources: Sources, asked: dict[str, str]) -> str:
    """Open-Meteo: columns as arrays, the nearest grid cell, a bare nan where there is no coverage."""
    assert asked["timezone"] == "GMT"
    times = [
        dt.datetime.combine(day, dt.time(hour), dt.UTC)
        for day in days(asked["start_date"], asked["end_date"])
        for hour in range(24)
    ]
    columns, units = {}, {"time": "iso8601"}
    for column in asked["hourly"].split(","):
        name, _, lead = column.partition("_previous_day")
        columns[column] = [sources.value(name, time, int(lead or 0)) for time in times]
        units[column] = UNITS[name]
    body = {
        "latitude": round(float(asked["latitude"]) * 8) / 8,
        "longitude": round(float(asked["longitude"]) * 8) / 8,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "hourly_units": units,
        "hourly": {"time": [f"{time:%Y-%m-%dT%H:%M}" for time in times], **columns},
    }
    return json.dumps(body).replace('"nan"', "nan")


def rates(sources: Sources, currencies: list[str], asked: dict[str, str]) -> str:
    """The ECB's CSV: no rows for weekends, further columns, an empty value without a rate."""
    lines = ["KEY,FREQ,CURRENCY,CURRENCY_DENOM,EXR_TYPE,EXR_SUFFIX,TIME_PERIOD,OBS_VALUE,OBS_STATUS,TITLE"]
    for currency in currencies:
        for day in days(asked["startPeriod"], asked["endPeriod"]):
            if day.weekday() < 5:
                value = sources.value(currency, dt.datetime.combine(day, dt.time(), dt.UTC), 0)
                shown = "" if value is None else value
                lines.append(
                    f'EXR.D.{currency}.EUR.SP00.A,D,{currency},EUR,SP00,A,{day},{shown},A,"{currency}, euro"'
                )
    return "\n".join(lines) + "\n"


def observations(sources: Sources, asked: dict[str, str]) -> str:
    """FRED: each month's value, revised once a month later; a dot without a value."""
    rows = []
    for day in days(asked["observation_start"], asked["observation_end"]):
        if day.day != 1:
            continue
        for vintage in (0, 1):
            value = sources.value(asked["series_id"], dt.datetime.combine(day, dt.time(), dt.UTC), vintage)
            rows.append(
                {
                    "realtime_start": str(day + dt.timedelta(days=40 + 30 * vintage)),
                    "realtime_end": "9999-12-31",
                    "date": str(day),
                    "value": "." if value is None else str(value),
                }
            )
    return json.dumps({"count": len(rows), "offset": 0, "limit": 100000, "observations": rows})


def prices(sources: Sources, asked: dict[str, str]) -> str:
    """ENTSO-E: one period a day, repeated positions omitted (A03); an acknowledgement without data."""
    start, end = (
        dt.datetime.strptime(asked[name], "%Y%m%d%H%M").replace(tzinfo=dt.UTC)
        for name in ("periodStart", "periodEnd")
    )
    periods = []
    at = start
    while at < end:
        until = min(at + dt.timedelta(days=1), end)
        points, last = [], None
        for position in range(1, int((until - at).total_seconds() // 3600) + 1):
            value = sources.value("price", at + dt.timedelta(hours=position - 1), 0)
            if value is not None and value != last:
                points.append(
                    f"<Point><position>{position}</position><price.amount>{value}</price.amount></Point>"
                )
                last = value
        periods.append(
            f"<Period><timeInterval><start>{at:%Y-%m-%dT%H:%MZ}</start><end>{until:%Y-%m-%dT%H:%MZ}</end></timeInterval>"
            f"<resolution>PT60M</resolution>{''.join(points)}</Period>"
        )
        at = until
    if not periods:
        return ACKNOWLEDGEMENT
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3">'
        "<type>A44</type><TimeSeries><currency_Unit.name>EUR</currency_Unit.name>"
        "<price_Measure_Unit.name>MWH</price_Measure_Unit.name><curveType>A03</curveType>"
        f"{''.join(periods)}</TimeSeries></Publication_MarketDocument>"
    )


ACKNOWLEDGEMENT = (
    '<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">'
    "<Reason><code>999</code><text>No matching data found for this query</text></Reason>"
    "</Acknowledgement_MarketDocument>"
)
