"""Replace the customer's codes in frames by identifiers before the rows are sent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from db_utils.copy.target_table import TargetTable, plain_cursor
from db_utils.dataframes.from_frame import FrameSource
from db_utils.errors import NotFoundError
from db_utils.text_keys import code_of, event_identity, is_identifier, takes_code, unknown_code

_EVENTS = "operational_events"

# Names come before codes, so that codes take precedence. Unqualified names: a tenant's scope sees its own
# rows.
_CALLED = {
    "location_id": """
        SELECT organization_id::text AS owner, name AS called, location_id::text AS identifier FROM locations
        UNION ALL
        SELECT organization_id::text, location_code, location_id::text FROM locations""",
    "resource_id": """
        SELECT organization_id::text AS owner, name AS called, resource_id::text AS identifier FROM resources
        UNION ALL
        SELECT organization_id::text, resource_code, resource_id::text FROM resources""",
    "employee_id": """
        SELECT organization_id::text AS owner, employee_code AS called, employee_id::text AS identifier FROM employees""",
    "shift_id": """
        SELECT organization_id::text AS owner, shift_code AS called, shift_id::text AS identifier FROM shifts""",
}


def with_identifiers(
    connection: Any, target: TargetTable, source: FrameSource, *, keep_unknown: bool
) -> FrameSource:
    """Replace codes and producers' event keys by identifiers, and add a tenant's organization.

    A code belongs to the organization of its row, or of the tenant's scope. Raises `NotFoundError` for
    unknown codes, or with `keep_unknown` leaves them unchanged: they are then refused row by row.
    """
    places = {
        name: at
        for at, name in enumerate(source.names)
        if name in target.columns
        and target.columns[name].type == "uuid"
        and (takes_code(target.name, name) or (name == "event_id" and target.name == _EVENTS))
    }
    owner = source.names.index("organization_id") if "organization_id" in source.names else None
    known = _Known(connection, keep_unknown=keep_unknown)
    whose = known.scope() if owner is None and "organization_id" in target.columns else None
    if not places and whose is None:
        return source
    if not source.is_whole and places:
        known.ask_ahead()

    def converted(table: Sequence[Any]) -> Sequence[Any]:
        columns = list(table)
        for name, at in places.items():
            columns[at] = known.converted(name, columns[at], None if owner is None else columns[owner])
        if whose is not None:
            columns.append(pa.repeat(whose, len(columns[0])))
        return columns

    names = source.names if whose is None else [*source.names, "organization_id"]
    return source.mapped(converted, names)


class _Known:
    """Identifiers by code and name, queried when first needed."""

    def __init__(self, connection: Any, *, keep_unknown: bool) -> None:
        self._connection = connection
        self._keep_unknown = keep_unknown
        self._all: dict[str, dict[tuple[str, str], str]] = {}
        self._owner: str | None = None
        self._asked = False

    def ask_ahead(self) -> None:
        """Load all codes now: while COPY waits for rows, the connection cannot run queries."""
        if not self._is_our_schema():
            return
        self._all = {name: self._ask(name, None) for name in _CALLED}

    def converted(self, name: str, column: Any, owners: Any) -> Any:
        """Return the column with identifiers; unchanged if it had nothing else."""
        if not _may_hold_codes(column):
            return column
        owner = self._one_owner(owners)
        if owner is not None and isinstance(column, pa.Array | pa.ChunkedArray):
            whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            coded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
            values = coded.dictionary.to_pylist()
            found = self._found(name, values, [owner] * len(values))
            return column if found is None else pc.take(found, coded.indices)
        values = _items(column)
        each = [owner] * len(values) if owners is None or owner is not None else _items(owners)
        found = self._found(name, values, each)
        return column if found is None else found

    def _found(self, name: str, values: list[Any], owners: list[Any]) -> Any:
        """Return the identifiers of these values as an array; None if there is nothing to look up."""
        codes = {value: code_of(value, name) for value in values if not _is_plain(value)}
        if not codes:
            return None
        rows = zip(values, owners, strict=True)
        if name == "event_id":
            return pa.array(
                [_event(value, owner) if value in codes else _text(value) for value, owner in rows],
                pa.string(),
            )
        known = self._all.get(name)
        if known is None:
            known = self._ask(name, sorted({*map(str, codes), *codes.values()}))
        unknown: dict[str, None] = {}
        made: list[str | None] = []
        for value, owner in rows:
            if value not in codes:
                made.append(_text(value))
                continue
            whose = str(owner).lower()
            found = known.get((whose, codes[value])) or known.get((whose, str(value)))
            if found is None:
                unknown.setdefault(codes[value])
            made.append(found or str(value))
        if unknown and not self._keep_unknown:
            raise NotFoundError(unknown_code(name, name, list(unknown)))
        return pa.array(made, pa.string())

    def _one_owner(self, owners: Any) -> str | None:
        """Return the organization of all rows, if they have the same one."""
        if owners is None:
            return self.scope()
        values = (
            pc.unique(owners).to_pylist() if isinstance(owners, pa.Array | pa.ChunkedArray) else {*owners}
        )
        return str(next(iter(values))).lower() if len(values) == 1 else None

    def _is_our_schema(self) -> bool:
        with plain_cursor(self._connection) as cursor:
            cursor.execute(
                "SELECT to_regclass('locations') IS NOT NULL AND to_regproc('current_organization_id') IS NOT NULL"
            )
            return bool(cursor.fetchone()[0])

    def scope(self) -> str | None:
        """Return the organization of a tenant's scope or login, None outside of any."""
        if not self._asked and self._is_our_schema():
            with plain_cursor(self._connection) as cursor:
                cursor.execute("SELECT current_organization_id()::text")
                self._owner = cursor.fetchone()[0]
        self._asked = True
        return self._owner

    def _ask(self, name: str, called: list[str] | None) -> dict[tuple[str, str], str]:
        """Return the identifiers of these names and codes, or of all; codes come last to take precedence."""
        if called is not None and not self._is_our_schema():
            return {}
        statement = (
            f"SELECT k.owner, k.called, k.identifier FROM ({_CALLED[name]}) AS k WHERE k.called IS NOT NULL"
        )
        with plain_cursor(self._connection) as cursor:
            if called is None:
                cursor.execute(statement)
            else:
                cursor.execute(f"{statement} AND k.called = ANY (%s)", (called,))
            return {(owner, called): identifier for owner, called, identifier in cursor.fetchall()}


def _is_plain(value: Any) -> bool:
    """Whether there is nothing to look up: no value, or already an identifier."""
    return value is None or value != value or is_identifier(value)


def _text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)


def _event(value: Any, owner: Any) -> str:
    return str(event_identity(uuid.UUID(str(owner)), value)) if is_identifier(owner) else str(value)


def _items(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else list(column)
    return values


def _may_hold_codes(column: Any) -> bool:
    """Whether this column may hold anything but UUIDs; a quick check."""
    kind = getattr(column, "type", None)
    if kind is None:
        return any(isinstance(value, (str, int, float)) for value in column)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
    if pa.types.is_dictionary(column.type):
        return True
    lengths = pc.min_max(pc.utf8_length(column)).as_py()
    if lengths["min"] != 36 or lengths["max"] != 36:
        return True
    first = next((value for value in column[:100].to_pylist() if value is not None), None)
    return first is not None and not is_identifier(first)
