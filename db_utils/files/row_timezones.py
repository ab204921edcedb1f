"""Time zones of rows: by location, else that of the resource or employee, at the time of the row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from db_utils.copy.target_table import plain_cursor
from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.files.options import zone_named
from db_utils.sql_blocks import sql_beside

PLACE_COLUMNS = ("location_id", "resource_id", "employee_id")
"""Columns that determine a row's location, most specific first."""

_ENDS = "CASE WHEN isfinite({0}.{1}) THEN {0}.{1} END"
_SQL = sql_beside(__name__)
_LOCATION_HISTORY = f"""
SELECT l.location_id::text, {_ENDS.format("l", "valid_from")}, {_ENDS.format("l", "valid_to")}, l.timezone
FROM location_history AS l
WHERE l.organization_id = %(organization)s
ORDER BY l.location_id, l.valid_from
"""
_TABLES = {"resource_id": ("resources", "resource_history"), "employee_id": ("employees", "employee_history")}


@dataclass(frozen=True)
class LocationPeriod:
    """A half-open period (None: unbounded) in which a location had one time zone."""

    start: dt.datetime | None
    end: dt.datetime | None
    zone: ZoneInfo

    def holds(self, moment: dt.datetime) -> bool:
        """Whether the instant is in the period."""
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)


class RowTimezones:
    """The zones of an organization's locations. `columns` name the values of a call, in order."""

    def __init__(self, connection: Any, organization_id: str, columns: Sequence[str]) -> None:
        self._columns = columns
        self._stays: list[dict[str, list[LocationPeriod]]] = []
        with plain_cursor(connection) as cursor:
            cursor.execute("SELECT to_regclass('public.location_history') IS NOT NULL")
            has_history = cursor.fetchone()[0]
            for column in columns:
                cursor.execute(_statement(column, has_history), {"organization": organization_id})
                self._stays.append(_stays(cursor.fetchall()))
            cursor.execute(
                "SELECT timezone FROM organizations WHERE organization_id = %s", (organization_id,)
            )
            self.of_organization = LocationPeriod(None, None, zone_named(cursor.fetchone()[0]))

    def __call__(self, where: Sequence[Any]) -> list[LocationPeriod]:
        """Return the periods of the row's first identifier; none without one."""
        for column, identifier, stays in zip(self._columns, where, self._stays, strict=True):
            if identifier is not None:
                found = stays.get(str(identifier))
                if found is None:
                    raise BadValueError(f"its location is unknown, because its {column} is")
                return found
        return []


def _statement(column: str, has_history: bool) -> str:
    if column == "location_id":
        return _LOCATION_HISTORY if has_history else _SQL["locations"]
    table, history = _TABLES[column]
    return (_SQL["thing_history"] if has_history else _SQL["things"]).format(
        id=column, table=table, history=history
    )


def _stays(
    rows: Sequence[tuple[str, dt.datetime | None, dt.datetime | None, str]],
) -> dict[str, list[LocationPeriod]]:
    found: dict[str, list[LocationPeriod]] = {}
    zones: dict[str, ZoneInfo] = {}
    for identifier, start, end, name in rows:
        try:
            zone = zones.setdefault(name, zone_named(name))
        except InvalidInputError:
            continue
        found.setdefault(identifier, []).append(LocationPeriod(start, end, zone))
    return {
        identifier: stays
        if len({stay.zone for stay in stays}) > 1
        else [LocationPeriod(None, None, stays[0].zone)]
        for identifier, stays in found.items()
    }
