"""The same key twice in one call: refused with the rows named, or added up where the caller says so."""

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
# Sums are exact: any two numbers that double precision or a customer's ledger can spell fit in.
_EXACT = Context(prec=2_000)


def once_each(
    rows: Iterable[Encoded], key: Sequence[str], name: str, hint: str = "", *, only_with: str | None = None
) -> Iterator[Encoded]:
    """The rows, refused where one has the key of an earlier one of the call; remembers about 150 bytes a row.

    A key that a row lacks is like None; rows that lack `only_with` are let through. `hint` ends the message: what else
    than sending each once there is to do.
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
    """One row of each key, in the order of the first of each: `sums` are added, everything else must agree.

    The sum of a number that is known and one that is not (None, or left out) is not known: None.
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
                    f"{name}: rows {first} and {number} have the same {_named(row, key)} and are to be added up, "
                    f"but not the same {column}: give one {column} to both, or leave it out of both"
                )
    for _, total in totals.values():
        yield total


def alike(page: Iterable[Encoded], key: Sequence[str]) -> list[list[Encoded]]:
    """The rows in lists of those that give the same columns: a statement can write such a list and leave the rest alone.

    Ordered by key, so that two writers of the same rows do not wait for each other.
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
