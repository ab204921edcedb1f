"""Duplicate keys in one call: refused with the rows named, or added up if the caller asks for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from decimal import Context, Decimal
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from db_utils.errors import InvalidInputError

Encoded = dict[str, Any]
OnRepeat = Literal["refuse", "sum"]

_LOOK_FURTHER = 5_000
_MOST_NAMED = 3
# Sums are exact: enough digits for any two numbers in double precision or from a ledger.
_EXACT = Context(prec=2_000)


def once_each(
    rows: Iterable[Encoded], key: Sequence[str], name: str, hint: str = "", *, only_with: str | None = None
) -> Iterator[Encoded]:
    """Yield the rows; refuse one with the key of an earlier row of the call. Takes about 150 bytes a row.

    A missing key counts as None; rows without `only_with` are not checked. `hint` ends the message with an
    alternative to sending each once.
    """
    numbered = enumerate(rows, start=1)
    seen: dict[int, int] = {}
    for number, row in numbered:
        if only_with is not None and row.get(only_with) is None:
            yield row
            continue
        identity = _identity(row, key)
        earlier = seen.setdefault(hash(identity), number)
        if earlier != number:
            repeats: dict[Hashable, tuple[Encoded, list[int]]] = {identity: (row, [earlier, number])}
            for later, other in islice(numbered, _LOOK_FURTHER):
                if only_with is not None and other.get(only_with) is None:
                    continue
                identity = _identity(other, key)
                before = seen.setdefault(hash(identity), later)
                if before != later:
                    repeats.setdefault(identity, (other, [before]))[1].append(later)
            raise InvalidInputError(_message(repeats, key, name, hint))
        yield row


def added_up(
    rows: Iterable[Encoded], key: Sequence[str], sums: Sequence[str], name: str
) -> Iterator[Encoded]:
    """Return one row per key, in order of first occurrence: `sums` are added, everything else must agree.

    The sum of a known and an unknown number (None or missing) is None.
    """
    totals: dict[Hashable, tuple[int, Encoded]] = {}
    for number, row in enumerate(rows, start=1):
        identity = _identity(row, key)
        first, total = totals.setdefault(identity, (number, row))
        if total is row:
            continue
        for column in sums:
            if column in total or column in row:
                total[column] = _sum(total.get(column), row.get(column))
        for column in row.keys() | total.keys():
            if column not in sums and (
                row.get(column) != total.get(column) or (column in row) != (column in total)
            ):
                raise InvalidInputError(
                    f"{name}: rows {first} and {number} have the same {_named(row, key)} and would be added up, "
                    f"but not the same {column}: give one {column} to both, or leave it out of both"
                )
    for _, total in totals.values():
        yield total


def alike(page: Iterable[Encoded], key: Sequence[str]) -> list[list[Encoded]]:
    """Group the rows by the columns that they give, so that a statement writes only these columns.

    Ordered by key, so that two writers of the same rows do not deadlock.
    """
    as_told: dict[tuple[str, ...], list[Encoded]] = {}
    for row in page:
        as_told.setdefault(tuple(row), []).append(row)
    groups: dict[tuple[str, ...], list[Encoded]] = {}
    for columns, rows in as_told.items():
        groups.setdefault(tuple(sorted(columns)), []).extend(rows)
    identity_of = itemgetter(*key)
    return [sorted(groups[columns], key=identity_of) for columns in sorted(groups)]


def _identity(row: Encoded, key: Sequence[str]) -> Hashable:
    return tuple([row.get(column) for column in key])


def _sum(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return None
    return str(_EXACT.add(Decimal(one), Decimal(other)))


def _named(row: Encoded, key: Sequence[str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in key if row.get(column) is not None)


def _message(
    repeats: dict[Hashable, tuple[Encoded, list[int]]], key: Sequence[str], name: str, hint: str
) -> str:
    named = [
        f"rows {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} have the same {_named(row, key)}"
        for row, numbers in list(repeats.values())[:_MOST_NAMED]
    ]
    more = f"; and {len(repeats) - _MOST_NAMED} keys more" if len(repeats) > _MOST_NAMED else ""
    return f"{name}: {'; '.join(named)}{more}: give each key once in a call{hint}"
