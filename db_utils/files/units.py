"""Units of quantities in files, and their conversion to the column's unit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction

from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError

UNITS: dict[str, dict[str, Fraction]] = {
    "time": {
        "milliseconds": Fraction(1, 60_000),
        "seconds": Fraction(1, 60),
        "minutes": Fraction(1),
        "hours": Fraction(60),
        "days": Fraction(1440),
    },
    "share": {"fraction": Fraction(100), "pct": Fraction(1), "permille": Fraction(1, 10)},
    "energy": {
        "wh": Fraction(1, 1000),
        "kwh": Fraction(1),
        "mwh": Fraction(1000),
        "gwh": Fraction(1_000_000),
        "mj": Fraction(5, 18),
        "gj": Fraction(2500, 9),
    },
    "mass": {
        "g": Fraction(1, 1000),
        "kg": Fraction(1),
        "t": Fraction(1000),
        "lb": Fraction(45359237, 100_000_000),
    },
    "length": {"mm": Fraction(1, 1000), "cm": Fraction(1, 100), "m": Fraction(1), "km": Fraction(1000)},
    "volume": {"ml": Fraction(1, 1000), "l": Fraction(1), "m3": Fraction(1000)},
    "count": {
        "pieces": Fraction(1),
        "dozens": Fraction(12),
        "hundreds": Fraction(100),
        "thousands": Fraction(1000),
    },
}
"""By dimension: each unit with its factor to the dimension's unit of factor 1."""

_OF_COLUMN = {
    "hours_worked": "hours",
    "scheduled_hours": "hours",
    "attendance_rate": "pct",
    "quality_score": "pct",
    "performance_score": "pct",
    "probability": "fraction",
    "absence_probability": "fraction",
}
_EXACT = Context(prec=28)


def unit_of(column: str) -> str | None:
    """Return the unit that this column's name indicates, or None."""
    if column in _OF_COLUMN:
        return _OF_COLUMN[column]
    last = column.rpartition("_")[2]
    return last if any(last in units for units in UNITS.values()) else None


def conversion(column: str, given: str) -> Callable[[Decimal], Decimal]:
    """Return the conversion to the column's unit; `given` is the file's, or `from:to` if the name has none.

    Raises `InvalidInputError` for an unknown unit, or one of another dimension.
    """
    source, _, named = given.lower().partition(":")
    own = unit_of(column)
    wanted = named or own
    if wanted is None:
        raise InvalidInputError(
            f"the name of column {column} does not contain its unit: give both, such as --unit {column}={source}:kwh"
        )
    if own is not None and wanted != own:
        raise InvalidInputError(f"column {column} is in {own}, not in {wanted}")
    for units in UNITS.values():
        if source in units and wanted in units:
            factor = units[source] / units[wanted]
            return lambda value: _times(value, factor)
    fitting = next((units for units in UNITS.values() if wanted in units), None)
    known = fitting or {unit: Fraction(1) for units in UNITS.values() for unit in units}
    raise InvalidInputError(
        f"column {column} cannot be converted from {source!r}: give one of {', '.join(known)}"
    )


def _times(value: Decimal, factor: Fraction) -> Decimal:
    try:
        return _EXACT.divide(_EXACT.multiply(value, Decimal(factor.numerator)), Decimal(factor.denominator))
    except InvalidOperation:
        raise BadValueError("not a finite number") from None
