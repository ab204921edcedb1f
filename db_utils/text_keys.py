"""Keys, identifiers and numbers as text: one spelling for one thing, wherever it comes from."""

from __future__ import annotations

import re
import unicodedata
import uuid
from decimal import Decimal

from db_utils.errors import InvalidInputError

_MOST_ZEROS = 400
"""More than a float can have; a decimal with more of them keeps its exponent."""
_POINT_ZERO = re.compile(r"-?[0-9]+\.0")


_LONGEST_SHOWN = 60


def shown(value: object) -> str:
    """Return the repr of a value, cut to what a message can hold."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def parse_uuid(value: object, name: str) -> uuid.UUID:
    """Return this identifier, a UUID or its text, as a UUID. Raises `InvalidInputError`, which calls it `name`."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError(
            f"{name} is {shown(value)}: give a UUID such as 11111111-1111-1111-1111-111111111111"
        ) from None


def text_key(text: str) -> str:
    """This key as it is compared and stored: in NFC, without blanks around it, a whole number without its `.0`.

    macOS writes é as e and an accent; spreadsheets leave blanks, no-break ones too; and a column of article numbers in
    which one is missing comes out of pandas as floats. None of them is another article.
    """
    text = text.strip()
    if not text.isascii():
        return unicodedata.normalize("NFC", text)
    return text[:-2] if text.endswith(".0") and _POINT_ZERO.fullmatch(text) else text


def number_text(value: float | Decimal) -> str:
    """This number as a text for people: its shortest decimal, a whole one without point, never with an exponent."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MOST_ZEROS:
        return str(value)
    return f"{exact:.0f}" if exact == exact.to_integral_value() else f"{exact:f}"
