"""Markers that only another organization's rows contain, and their recognition anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

WORD = "zqsecret"
HEX = "facade5ec"  # inside identifiers
DIGITS = "417310733"  # inside numbers, wherever the decimal point is
SECONDS = timedelta(minutes=37, seconds=41, microseconds=417310)

_PATTERN = re.compile(
    "|".join(
        (
            WORD,
            WORD.encode().hex(),  # as bytea prints it
            HEX,
            r"37:41\.41731",  # a time as text
            r"37, 41, 41731",  # a time as Python prints it
            r"4\.?1\.?7\.?3\.?1\.?0\.?7\.?3\.?3",
        )
    )
)

QUANTITY = Decimal("417310733")
MINUTES = Decimal("417.310733")
PERCENT = Decimal("41.7310733")
HOURS = Decimal("4.17310733")
SHARE = Decimal("0.417310733")
COUNT = int(DIGITS)


def secret_moment(day: datetime) -> datetime:
    """A time on this day that no other row has."""
    return day.replace(hour=0, minute=0, second=0, microsecond=0) + SECONDS


def found_in(texts: Iterable[Any]) -> str | None:
    """The first part of these texts that belongs to another organization, with its context."""
    for text in texts:
        match = _PATTERN.search(printed(text))
        if match:
            around = match.string[max(0, match.start() - 60) : match.end() + 60]
            return around.replace("\n", " ")
    return None


def printed(value: Any) -> str:
    """This value as a user would see it."""
    if isinstance(value, memoryview | bytes | bytearray):
        raw = bytes(value)
        return raw.decode("utf-8", "replace") + " " + raw.hex()
    return str(value)
