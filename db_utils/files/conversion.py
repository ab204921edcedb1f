"""Conversion of a file's values: numbers with units, normalized keys; times are in `times`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from db_utils.copy.target_table import Column
from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.files.options import ImportOptions
from db_utils.files.row_timezones import RowTimezones
from db_utils.files.times import Moments, day_converter
from db_utils.files.units import conversion
from db_utils.text_keys import number_text, text_key
from db_utils.values import dump_json

Convert: TypeAlias = Callable[[Any], Any]
"""Converts a value that is not NULL; raises `BadValueError`."""

_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")


def converter(
    column: Column,
    options: ImportOptions,
    *,
    is_text: bool,
    json_is_native: bool,
    is_key: bool = False,
    places: RowTimezones | None = None,
    may_be_ordered: bool = False,
) -> Convert | Moments | None:
    """Return the converter of this column; None if values are sent unchanged.

    `is_key`: a text that names something. `may_be_ordered`: a repeated local time may be resolved by the
    order of the rows.
    """
    if column.type == "timestamptz":
        return Moments(options, places, may_be_ordered=may_be_ordered)
    if column.type == "date":
        return day_converter(options.date_format)
    if column.type in _NUMBERS:
        return _numbers(column, options, is_text=is_text)
    if column.type in ("json", "jsonb"):
        return json_text if json_is_native else document
    if column.element is not None:
        return array if is_text else None
    if column.type != "text":
        return None
    convert = key if is_key else text
    if is_text and options.escaped_formulas:
        return lambda value: convert(unescaped(value))
    return convert


# -- numbers ---------------------------------------------------------------------------------------------------


def _numbers(column: Column, options: ImportOptions, *, is_text: bool) -> Convert:
    given = options.units.get(column.name)
    read: Convert = number
    if is_text and (options.decimal != "." or options.thousands is not None):
        read = _written(options.decimal, options.thousands)
    if given is None:
        return read
    convert = conversion(column.name, given)
    return lambda value: convert(Decimal(str(read(value))))


_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NaN|[+-]?Inf(?:inity)?", re.IGNORECASE
)


def number(value: Any) -> Any:
    """Convert a number or its decimal text; 0x10 and 1_000, which PostgreSQL accepts, are refused."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise BadValueError(f"{value!r} is not a number in decimal digits")
        return text
    if isinstance(value, bool):
        raise BadValueError("true and false are not numbers")
    return value


_ALIKE = (" \u00a0\u2009\u202f", "'\u2019")
"""Interchangeable group separators: blanks of any width, apostrophes."""


def _written(decimal: str, thousands: str | None) -> Convert:
    """Reads numbers in the notation of a country; ambiguous ones are refused."""
    signs = "" if thousands is None else next((alike for alike in _ALIKE if thousands in alike), thousands)
    group = f"[{re.escape(signs)}]"
    # Groups of three, or as in India of two before the last three.
    grouped = (
        rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]{{1,2}}(?:{group}[0-9]{{2}})+{group}[0-9]{{3}}|"
        if signs
        else ""
    )
    point = re.escape(decimal)
    pattern = re.compile(rf"[+-]?(?:(?:{grouped}[0-9]+)(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?")
    without = str.maketrans("", "", signs)

    def read(value: str) -> str:
        text = value.strip()
        if not pattern.fullmatch(text):
            raise BadValueError(f"{value!r} is not a number with the decimal sign {decimal!r}")
        return text.translate(without).replace(decimal, ".")

    return read


# -- texts and documents ---------------------------------------------------------------------------------------


def text(value: Any) -> Any:
    """Return a text that the file's encoding could decode; a number as text."""
    if isinstance(value, str):
        if not value.isascii() and any("\udc80" <= c <= "\udcff" for c in value):
            raise BadValueError(
                "these bytes are not text in the file's encoding: choose another one with --encoding"
            )
        return value
    if isinstance(value, (float, Decimal)):
        return number_text(value)
    return value


def key(value: Any) -> Any:
    """Return a text that names something, normalized."""
    found = text(value)
    return text_key(found) if isinstance(found, str) else found


_FORMULA = re.compile("'+[=+@\\t\\r\uff1d\uff0b\uff0d\uff20-]")


def unescaped(value: str) -> str:
    """Return the original of a text escaped by `escape_formulas`."""
    return value[1:] if _FORMULA.match(value) else value


def array(value: str) -> Any:
    """Convert a list, from JSON or PostgreSQL's array syntax."""
    if not value.lstrip().startswith("["):
        if not value.lstrip().startswith("{"):
            raise BadValueError('write a list as ["a", "b"] or as {a,b}')
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise BadValueError(f"it is not a JSON list: {error}") from None


def document(value: Any) -> str:
    """Return the JSON text of a document that came as text or as a structure of a columnar file."""
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """Return this value as JSON text, decimals digit by digit."""
    try:
        return dump_json(value)
    except InvalidInputError as error:
        raise BadValueError(str(error)) from None
