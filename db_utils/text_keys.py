"""Keys, identifiers and numbers as text, each in one canonical spelling."""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from numbers import Integral

from db_utils.errors import InvalidInputError

CODED: Mapping[str, str] = {
    "location_id": "location",
    "resource_id": "resource",
    "employee_id": "employee",
    "shift_id": "shift",
}
"""Columns, keys and arguments that accept a code in place of an identifier, and what they name."""

IDENTIFIED_BY: Mapping[str, str] = {f"{thing}s": column for column, thing in CODED.items()}
"""Tables whose rows have codes, and their identifier columns."""

_MOST_ZEROS = 400
"""More than a float can have; a decimal with more of them keeps its exponent."""
_POINT_ZERO = re.compile(r"-?[0-9]+\.0")
_LONGEST_SHOWN = 60
_DIGITS = 32  # of a UUID, without hyphens
_MOST_NAMED = 5


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


@lru_cache(maxsize=8192)
def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def is_identifier(value: object) -> bool:
    """Whether this is a UUID or its text."""
    # Refused by its length first: of most keys each comes once, and a failure to parse costs more than all else here.
    return isinstance(value, uuid.UUID) or (
        isinstance(value, str) and len(value) >= _DIGITS and _is_uuid(value)
    )


def takes_code(table: str, column: str) -> bool:
    """Return whether this column of a table accepts a code; the identifier of its own rows does not."""
    return column in CODED and IDENTIFIED_BY.get(table) != column


def text_key(text: str) -> str:
    """Return this key as it is compared and stored: in NFC, stripped, a whole number without its `.0`.

    macOS decomposes é into e and an accent; spreadsheets leave blanks, even no-break spaces; and pandas turns
    a column of article numbers with a gap into floats. All of them mean the same article.
    """
    text = text.strip()
    if not text.isascii():
        return unicodedata.normalize("NFC", text)
    return text[:-2] if text.endswith(".0") and _POINT_ZERO.fullmatch(text) else text


def storable(text: str, name: str) -> str:
    """Return this text, if PostgreSQL can store it. Raises `InvalidInputError`, which calls it `name`."""
    if "\0" in text:
        raise InvalidInputError(f"{name} contains a NUL character, which PostgreSQL cannot store: remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{name} contains a lone surrogate, which UTF-8 cannot encode: remove it"
        ) from None
    return text


def number_text(value: float | Decimal) -> str:
    """Format this number for display: its shortest decimal, no point for whole numbers, never an exponent."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MOST_ZEROS:
        return str(value)
    return f"{exact:.0f}" if exact == exact.to_integral_value() else f"{exact:f}"


def code_of(value: object, name: str) -> str:
    """Return this code in its canonical spelling; files and frames may hold codes as whole numbers."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} is {shown(value)}: give a code (a text), or a UUID")
    code = text_key(value)
    if not code:
        raise InvalidInputError(f"{name} is empty: give a code, or a UUID")
    return storable(code, name)


def unknown_code(name: str, kind: str, codes: Sequence[str], advice: str = "") -> str:
    """Return the sentence that refuses codes which the organization does not have; `kind` is a key of `CODED`."""
    thing = CODED[kind]
    named = ", ".join(map(repr, codes[:_MOST_NAMED]))
    more = f" and {len(codes) - _MOST_NAMED} more" if len(codes) > _MOST_NAMED else ""
    return (
        f"{name}: the organization has no {thing} {named}{more}{advice}: give its id or {thing}_code, or create it with "
        f"get_or_create_{thing}"
    )


def id_of_key(organization_id: uuid.UUID, table: str, values: Sequence[str]) -> uuid.UUID:
    """Derive the id of a row from its caller's key: UUID version 5 (RFC 9562) in the namespace of the organization's id.

    Of the text `table:key`; of a key of several columns `table:["one","two"]`, as JSON without blanks.
    """
    key = (
        values[0] if len(values) == 1 else json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    )
    return uuid.uuid5(organization_id, f"{table}:{key}")


def event_identity(organization_id: uuid.UUID, value: object) -> uuid.UUID:
    """Return the id of an event from its producer's name for it: a UUID is used as is, any other key is hashed."""
    if is_identifier(value):
        return parse_uuid(value, "event_id")
    return id_of_key(organization_id, "operational_events", [code_of(value, "event_id")])
