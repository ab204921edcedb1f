"""The registry of sources. A new source is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from barnameh.connectors.calendars import Calendars
from barnameh.connectors.ecb import ReferenceRates
from barnameh.connectors.entsoe import DayAheadPrices
from barnameh.connectors.fred import Fred
from barnameh.connectors.model import Source
from barnameh.connectors.open_meteo import OpenMeteo
from barnameh.errors import UsageError

SOURCES: Mapping[str, Callable[..., Source]] = {
    "weather": OpenMeteo,
    "holidays": Calendars,
    "fx": ReferenceRates,
    "power": DayAheadPrices,
    "market": Fred,
}
"""By the argument of `barnameh fetch`."""


def source_named(kind: str, **options: Any) -> Source:
    """Create the source of this kind; `UsageError` for an unknown kind."""
    try:
        make = SOURCES[kind]
    except KeyError:
        raise UsageError(f"there is no source of {kind!r}: choose {', '.join(SOURCES)}") from None
    return make(**options)
