"""Texts that name something, and numbers as text: one spelling for one thing, wherever it comes from."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_MOST_ZEROS = 400
"""More than a float can have; a decimal with more of them keeps its exponent."""
_POINT_ZERO = re.compile(r"-?[0-9]+\.0")


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
