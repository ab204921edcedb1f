"""Series of FRED, the Federal Reserve Bank of St. Louis, in all their vintages.

Needs your own key (FRED_API_KEY), whose terms you have accepted. A value counts as known at the end of the
day, in St. Louis, on which its vintage began, because the hour is not given. Documentation:
fred.stlouisfed.org/docs/api.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from barnameh.connectors.client import Client, Limit
from barnameh.connectors.model import Factor, Place, Window
from barnameh.errors import AnswerError, UsageError

ST_LOUIS = ZoneInfo("America/Chicago")
_HOST = "api.stlouisfed.org"
_PAGE_ROWS = 100_000


@dataclass(frozen=True)
class Fred:
    """The source; see the module. `series` maps codes to the units to store: {"DCOILBRENTEU": "USD/bbl"}."""

    series: Mapping[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)

    name: str = "fred"
    kind: str = "market"
    factor_type: str = "market"
    licence: str = "this product uses the FRED API but is not endorsed or certified by the Federal Reserve Bank of St. Louis"
    page: str = "fred.stlouisfed.org/docs/api/terms_of_use.html"
    by_location: bool = False
    look_back: dt.timedelta = dt.timedelta(days=35)
    ahead: dt.timedelta = dt.timedelta(0)
    longest_window: dt.timedelta = dt.timedelta(days=3660)

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """The service allows 120 requests a minute."""
        return {_HOST: (Limit(80, 60),)}

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Yield all vintages of the observations that begin in the window."""
        if self.api_key is None:
            raise UsageError("FRED needs a key: set FRED_API_KEY")
        if not self.series:
            raise UsageError("give the series of FRED with their units: --series DCOILBRENTEU=USD/bbl")
        last = window.end - dt.timedelta(microseconds=1)
        for code in self.series:
            answer = client.get(
                f"https://{_HOST}/fred/series/observations",
                {
                    "series_id": code,
                    "api_key": self.api_key,
                    "file_type": "json",
                    "observation_start": f"{window.start.astimezone(ST_LOUIS):%Y-%m-%d}",
                    "observation_end": f"{last.astimezone(ST_LOUIS):%Y-%m-%d}",
                    "realtime_start": "1776-07-04",
                    "realtime_end": "9999-12-31",
                    "limit": _PAGE_ROWS,
                },
            )
            for factor in self._read(answer.content, code):
                if window.start <= factor.time < window.end and factor.available_at <= now:
                    yield factor

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Parse a saved answer, of the only series given."""
        if len(self.series) != 1:
            raise UsageError("give the series of the file: --series CODE=UNIT")
        yield from self._read(answer, next(iter(self.series)))

    def _read(self, content: bytes, code: str) -> Iterator[Factor]:
        try:
            body = json.loads(content)
            rows, count = body["observations"], int(body["count"])
        except (ValueError, KeyError, TypeError):
            raise AnswerError(f"FRED's answer for {code} is not the JSON of series/observations") from None
        if count > len(rows):
            raise AnswerError(
                f"FRED has {count} values of {code}, more than one answer can hold: ask for a shorter window"
            )
        name = "fred_" + re.sub(r"\W+", "_", code.lower())
        for row in rows:
            if row["value"] == ".":
                continue  # a day without a value
            try:
                day = dt.date.fromisoformat(row["date"])
                known = dt.date.fromisoformat(row["realtime_start"])
                value = Decimal(row["value"])
            except (ValueError, KeyError, InvalidOperation):
                raise AnswerError(f"FRED's answer for {code} contains {row!r}") from None
            yield Factor(
                dt.datetime.combine(day, dt.time(), ST_LOUIS).astimezone(dt.UTC),
                name,
                value,
                self.series[code],
                dt.datetime.combine(known + dt.timedelta(days=1), dt.time(), ST_LOUIS).astimezone(dt.UTC),
                {"source": self.name, "series": code},
            )
