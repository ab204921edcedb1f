"""Euro foreign exchange reference rates of the European Central Bank, as CSV of its data portal.

A rate is units of the currency per euro, for one working day, published at about 16:00 in Frankfurt: `time`
is the start of that day there, `available_at` its 16:00. Days without a rate are gaps. Documentation:
data.ecb.europa.eu/help/api/data.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from barnameh.connectors.client import Client, Limit
from barnameh.connectors.model import Factor, Place, Window
from barnameh.errors import AnswerError, UsageError

FRANKFURT = ZoneInfo("Europe/Berlin")
PUBLISHED = dt.time(16)
_HOST = "data-api.ecb.europa.eu"


@dataclass(frozen=True)
class ReferenceRates:
    """The source; see the module."""

    currencies: tuple[str, ...] = ("USD", "GBP", "CHF", "JPY")

    name: str = "ecb"
    kind: str = "fx"
    factor_type: str = "market"
    licence: str = "euro reference rates of the European Central Bank; free to use with the source named"
    page: str = "www.ecb.europa.eu/services/using-our-site/disclaimer"
    by_location: bool = False
    look_back: dt.timedelta = dt.timedelta(days=7)
    ahead: dt.timedelta = dt.timedelta(0)
    longest_window: dt.timedelta = dt.timedelta(days=3660)

    def __post_init__(self) -> None:
        wrong = [c for c in self.currencies if len(c) != 3 or not c.isalpha() or not c.isupper()]
        if wrong or not self.currencies:
            raise UsageError(
                f"currencies are codes of three capital letters such as USD, not {', '.join(wrong) or 'none'}"
            )

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]:
        """The bank states no limit; this is a considerate rate."""
        return {_HOST: (Limit(60, 60),)}

    def fetch(self, window: Window, place: Place, client: Client, now: dt.datetime) -> Iterator[Factor]:
        """Yield the rates of the working days that begin in the window."""
        last = window.end - dt.timedelta(microseconds=1)
        answer = client.get(
            f"https://{_HOST}/service/data/EXR/D.{'+'.join(self.currencies)}.EUR.SP00.A",
            {
                "format": "csvdata",
                "startPeriod": f"{window.start.astimezone(FRANKFURT):%Y-%m-%d}",
                "endPeriod": f"{last.astimezone(FRANKFURT):%Y-%m-%d}",
            },
        )
        for factor in self.parse(answer.content, place, now):
            if window.start <= factor.time < window.end:
                yield factor

    def parse(self, answer: bytes, place: Place, now: dt.datetime) -> Iterator[Factor]:
        """Parse an answer in the portal's CSV format."""
        rows = csv.DictReader(io.StringIO(answer.decode("utf-8-sig")))
        needed = {"CURRENCY", "CURRENCY_DENOM", "TIME_PERIOD", "OBS_VALUE"}
        if not needed <= set(rows.fieldnames or ()):
            raise AnswerError(
                f"the ECB's answer lacks the columns {', '.join(sorted(needed - set(rows.fieldnames or ())))}"
            )
        for row in rows:
            if None in row.values() or None in row:
                raise AnswerError("the ECB's answer was truncated in the middle of a line")
            if row["OBS_VALUE"].strip().lower() in ("", "nan"):
                continue
            try:
                day, value = dt.date.fromisoformat(row["TIME_PERIOD"]), Decimal(row["OBS_VALUE"])
            except (ValueError, InvalidOperation):
                raise AnswerError(
                    f"the ECB's answer has {row['OBS_VALUE']!r} for {row['TIME_PERIOD']!r}"
                ) from None
            if value <= 0:
                raise AnswerError(f"the ECB's answer has a rate of {value} for {row['TIME_PERIOD']}")
            currency, base = row["CURRENCY"], row["CURRENCY_DENOM"]
            yield Factor(
                dt.datetime.combine(day, dt.time(), FRANKFURT).astimezone(dt.UTC),
                f"exchange_rate_{currency.lower()}_per_{base.lower()}",
                value,
                f"{currency}/{base}",
                dt.datetime.combine(day, PUBLISHED, FRANKFURT).astimezone(dt.UTC),
                {"source": self.name},
            )
