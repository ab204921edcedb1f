"""Keyset pagination: each page begins where the previous one ended, whatever was written in between.

The order is that of each prebuilt query's ORDER BY. A query whose columns do not determine its order is
answered whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from barnameh.api.jsons import encode
from barnameh.api.problems import Problem
from db_utils import TenantScope
from db_utils.catalogue import Read

LEAST_ROWS, USUAL_ROWS, MOST_ROWS = 1, 1_000, 10_000

_ORDER = re.compile(r"\nORDER BY\s(?P<keys>[^;]*?)(?P<limit>\nLIMIT %\(row_limit\)s)?\s*;?\s*\Z")
_KEY = re.compile(r"(?P<value>.+?)(?P<descending>\s+DESC)?(?P<nulls>\s+NULLS (FIRST|LAST))?", re.DOTALL)
_QUALIFIED = re.compile(r"\b[a-z_]+\.[a-z_]+\b")
_AFTER = "after "


@dataclass(frozen=True)
class _Key:
    """One key of an order: an expression over columns of the answer."""

    template: str
    """The expression, with {column} as placeholder of a column."""
    columns: tuple[str, ...]
    descending: bool
    nulls_last: bool

    def of_row(self) -> str:
        return self.template.format(**{name: f'q."{name}"' for name in self.columns})

    def of_cursor(self, types: Mapping[str, str]) -> str:
        return self.template.format(**{name: f"%({_AFTER}{name})s::{types[name]}" for name in self.columns})


@dataclass(frozen=True)
class Order:
    """How the rows of a query are ordered."""

    keys: tuple[_Key, ...]
    has_limit: bool

    @property
    def columns(self) -> list[str]:
        """The columns that determine a row's position."""
        return list(dict.fromkeys(name for key in self.keys for name in key.columns))

    def clause(self) -> str:
        """Return the ORDER BY clause."""
        return ", ".join(
            f"{key.of_row()}{' DESC' if key.descending else ''} NULLS {'LAST' if key.nulls_last else 'FIRST'}"
            for key in self.keys
        )

    def condition(self, types: Mapping[str, str]) -> str:
        """Return the condition for rows after the cursor."""
        alternatives, equal = [], ""
        for key in self.keys:
            row, cursor = key.of_row(), key.of_cursor(types)
            beyond = f"{row} {'<' if key.descending else '>'} {cursor}"
            last, first = (row, cursor) if key.nulls_last else (cursor, row)
            alternatives.append(f"{equal}({beyond} OR ({last} IS NULL AND {first} IS NOT NULL))")
            equal += f"{row} IS NOT DISTINCT FROM {cursor} AND "
        return " OR ".join(f"({alternative})" for alternative in alternatives)


@cache
def order_of(sql: str, columns: tuple[str, ...]) -> Order | None:
    """Parse the order of a query; None if its columns do not determine it."""
    found = _ORDER.search(sql)
    if found is None:
        return None
    keys = []
    for text in _split(found["keys"]):
        match = _KEY.fullmatch(text)
        assert match is not None  # the pattern matches any text
        value = match["value"]
        shown = {name: _shown_as(sql, name) for name in _QUALIFIED.findall(value)}
        if not shown and value.isidentifier():
            shown = {value: value}
        named = list(dict.fromkeys(shown.values()))
        if not named or not set(named) <= set(columns):
            return None
        template = re.sub(
            "|".join(map(re.escape, shown)),
            lambda name, shown=shown: f"{{{shown[name[0]]}}}",
            value.replace("{", "{{").replace("}", "}}"),
        )
        descending = match["descending"] is not None
        nulls_last = not descending if match["nulls"] is None else "LAST" in match["nulls"]
        keys.append(_Key(template, tuple(named), descending, nulls_last))
    return Order(tuple(keys), found["limit"] is not None)


def _shown_as(sql: str, name: str) -> str:
    """Return the result column for an expression of the statement, such as `l.name`; empty if none."""
    selected = sql[sql.rindex("\nSELECT\n") if "\nSELECT\n" in sql else 0 :].partition("\nFROM ")[0]
    shown = re.search(rf"^\s*{re.escape(name)}(?: AS (\w+))?,?$", selected, re.MULTILINE)
    if shown is None:
        return ""
    return shown[1] or name.rpartition(".")[2]


def _split(keys: str) -> list[str]:
    parts, depth = [""], 0
    for character in keys:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def first_page(read: Read, order: Order, limit: int) -> Read:
    """Return the statement for the first page, plus one row."""
    if order.has_limit:
        return Read(read.sql, {**read.parameters, "row_limit": limit + 1})
    return Read(f"{read.sql.rstrip().rstrip(';')}\nLIMIT {limit + 1:d}", read.parameters)


def next_page(
    read: Read, order: Order, types: Mapping[str, str], limit: int, after: Mapping[str, Any]
) -> Read:
    """Return the statement for the page after this row, plus one row."""
    names = ", ".join(f'q."{name}"' for name in types)
    sql = (
        f"SELECT {names} FROM (\n{read.sql.rstrip().rstrip(';')}\n) AS q "
        f"WHERE {order.condition(types)} ORDER BY {order.clause()} LIMIT {limit + 1:d}"
    )
    return Read(sql, {**read.parameters, **{_AFTER + name: value for name, value in after.items()}})


def page(
    scope: TenantScope,
    read: Read,
    types: Mapping[str, str],
    *,
    limit: int,
    cursor: str | None,
    question: Callable[[], str],
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of one page and the cursor of the next. `question` binds the cursor to its request."""
    order = order_of(read.sql, tuple(types))
    if order is None:
        if cursor is not None:
            raise bad_cursor()
        return _rows(scope, read), None
    if cursor is None:
        rows = _rows(scope, first_page(read, order, limit))
    else:
        after = read_cursor(cursor, question(), order.columns)
        rows = _rows(scope, next_page(read, order, types, limit, after))
    if len(rows) <= limit:
        return rows, None
    del rows[limit:]
    return rows, write_cursor(rows[-1], question(), order.columns)


def _rows(scope: TenantScope, read: Read) -> list[dict[str, Any]]:
    return scope.execute_query(read.sql, read.parameters)


def question_of(organization_id: uuid.UUID, name: str, arguments: Mapping[str, Any]) -> str:
    """Return a short digest of the request."""
    return hashlib.blake2b(encode([organization_id, name, arguments]), digest_size=6).hexdigest()


def write_cursor(row: Mapping[str, Any], question: str, columns: list[str]) -> str:
    """Encode a row's position as a cursor, opaque to the client."""
    values = [None if (value := row[name]) is None else _text(value) for name in columns]
    return base64.urlsafe_b64encode(encode([question, *values])).decode().rstrip("=")


def read_cursor(cursor: str, question: str, columns: list[str]) -> dict[str, Any]:
    """Decode a cursor into the values of the previous page's last row.

    They are untrusted: each becomes a parameter of the statement, which is scoped to the organization
    independently.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError, UnicodeError):
        raise bad_cursor() from None
    is_list = isinstance(parts, list) and len(parts) == 1 + len(columns)
    if not is_list or parts[0] != question:
        raise bad_cursor()
    if not all(value is None or (isinstance(value, str) and "\0" not in value) for value in parts[1:]):
        raise bad_cursor()
    return dict(zip(columns, parts[1:], strict=True))


def bad_cursor() -> Problem:
    """Return the response to a cursor of another request."""
    return Problem(
        422,
        "invalid-cursor",
        "The cursor belongs to another request",
        "cursor: give `next` of the previous page, with the same parameters; or omit it to start again.",
    )


def _text(value: Any) -> str:
    text = encode(value).decode()
    if text == "null":  # the timestamp infinity
        return "-infinity" if value.year == 1 else "infinity"
    return msgspec.json.decode(text) if text.startswith('"') else text
