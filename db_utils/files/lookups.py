"""Lookup of names and codes in files to the identifiers of the tables."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from db_utils.copy.target_table import plain_cursor
from db_utils.copy.text_format import BadValueError
from db_utils.text_keys import is_identifier, number_text, takes_code, text_key

_NAMED = {
    "location_id": (
        "location",
        "SELECT location_id::text, location_code, name FROM locations WHERE organization_id = %s",
    ),
    "resource_id": (
        "resource",
        "SELECT resource_id::text, resource_code, name FROM resources WHERE organization_id = %s",
    ),
    "employee_id": (
        "employee",
        "SELECT employee_id::text, employee_code, NULL FROM employees WHERE organization_id = %s",
    ),
    "shift_id": (
        "shift",
        "SELECT shift_id::text, shift_code, NULL FROM shifts WHERE organization_id = %s AND shift_code IS NOT NULL",  # there are many
    ),
}

ALIASES = {
    "location": "location_id",
    "location_name": "location_id",
    "location_code": "location_id",
    "resource": "resource_id",
    "resource_name": "resource_id",
    "resource_code": "resource_id",
    "employee": "employee_id",
    "employee_code": "employee_id",
    "shift": "shift_id",
    "shift_code": "shift_id",
}
"""Name of a column of names in a file, if the table itself has no such column."""


def lookup_for(connection: Any, table: str, column: str, organization_id: str) -> Lookup | None:
    """Return the lookup of this column's identifiers; None if it holds none, or the table's own."""
    if not takes_code(table, column):
        return None
    kind, statement = _NAMED[column]
    with plain_cursor(connection) as cursor:
        cursor.execute(statement, (organization_id,))
        return Lookup(kind, cursor.fetchall())


class Lookup:
    """Finds an organization's location, resource, employee or shift by id, code or name."""

    def __init__(self, kind: str, rows: list[tuple[str, str | None, str | None]]) -> None:
        self._kind = kind
        names = [(identifier, name) for identifier, _, name in rows if name is not None]
        codes = [(identifier, code) for identifier, code, _ in rows if code is not None]
        self._names = sorted({called for _, called in codes + names})
        self._ids: dict[str, str] = {}
        # Names stored before normalization: found in any spelling, unless two become the same.
        self._alike: dict[str, set[str]] = {}
        for identifier, called in names:
            self._ids[called] = identifier
            self._alike.setdefault(text_key(called), set()).add(identifier)
        self._alike.update({text_key(code): {identifier} for identifier, code in codes})
        self._ids.update({code: identifier for identifier, code in codes})
        self._ids.update({identifier: identifier for identifier, *_ in rows})
        self._reasons: dict[str, str] = {}

    def __call__(self, value: Any) -> str:
        """Return the identifier. Raises `BadValueError` with the closest names."""
        text = number_text(value) if isinstance(value, (float, Decimal)) else str(value)
        found = self._ids.get(text) or self._by_spelling(text_key(text)) or self._by_uuid(text)
        if found is None:
            raise BadValueError(self._reason(text))
        return found

    def _by_spelling(self, key: str) -> str | None:
        found = self._alike.get(key, ())
        if len(found) > 1:
            raise BadValueError(
                f"the organization has {len(found)} {self._kind}s spelled {key!r}: give the id"
            )
        return next(iter(found), None)

    def _by_uuid(self, text: str) -> str | None:
        if not is_identifier(text):
            return None
        identifier = str(uuid.UUID(text))
        return identifier if self._kind == "shift" else self._ids.get(identifier)  # the key decides on shifts

    def _reason(self, text: str) -> str:
        if len(self._reasons) > 1000:
            self._reasons.clear()
        if text not in self._reasons:
            near = difflib.get_close_matches(text, self._names, n=2)
            advice = f": did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
            self._reasons[text] = f"the organization has no {self._kind} {text!r}{advice}"
        return self._reasons[text]


def own_organization(organization_id: str, name: str) -> Callable[[Any], str]:
    """Return the check of a file's organization column: id or name of this organization."""

    def check(value: Any) -> str:
        if text_key(str(value)).lower() != organization_id and text_key(str(value)) != text_key(name):
            raise BadValueError("the row belongs to another organization than that of --organization")
        return organization_id

    return check
