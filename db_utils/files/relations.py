"""The schema's relations for import and export: keys, times, and columns written by the database only."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from db_utils.copy.target_table import TargetTable, find_target, plain_cursor
from db_utils.errors import InvalidInputError, NotFoundError, UndefinedObjectError
from db_utils.schema.source import schema_objects
from db_utils.sql_blocks import sql_beside
from db_utils.text_keys import CODED, IDENTIFIED_BY, text_key

INTERNAL = frozenset({"schema_version", "tenant_logins", "seed_runs", "backup_runs", "database_identity"})
"""The schema's own bookkeeping: never in a file."""
HISTORY = {"location_history": "locations", "resource_history": "resources", "employee_history": "employees"}
"""Tables maintained by triggers, with their source."""
SECRET = frozenset({"notification_key"})
"""Columns that an export leaves out unless they are named."""
APPEND_ONLY = frozenset({"demand_forecasts", "absence_forecasts", "external_factors"})
_CHANGEABLE = {
    "anomaly_predictions": frozenset({"status", "outcome", "occurred_at", "closed_at", "metadata"})
}
"""For tables of which only some columns may change in existing rows."""
WITH_ROLLUPS = frozenset({"operational_events", "demand_history", "resource_metrics", "employee_attendance"})
_NAMES = frozenset({"product_id", "employee_code", "name"})
"""Text columns that name something, outside keys too."""
_VERSIONS = frozenset({"model_name", "model_version"})
"""Text columns in keys in which 2.0 is not a number."""
_TIME_COLUMNS = (
    "time",
    "bucket",
    "target_time",
    "target_date",
    "plan_date",
    "predicted_for",
    "starts_at",
    "month",
    "started_at",
    "created_at",
)

_SQL = sql_beside(__name__)


@dataclass(frozen=True)
class Relation:
    """A table or view of the schema. `defaults` are SQL; `keys` begin with the primary key."""

    target: TargetTable
    required: frozenset[str]
    """NOT NULL and without default."""
    defaults: dict[str, str]
    """Of the NOT NULL columns that have one."""
    keys: list[list[str]]
    rules: dict[str, str]
    """Constraint to its condition."""
    is_referenced: bool
    """Whether other tables reference its rows."""

    @property
    def name(self) -> str:
        """The name, without its schema."""
        return self.target.name

    @property
    def time_column(self) -> str | None:
        """The time column that periods refer to."""
        return next((column for column in _TIME_COLUMNS if column in self.target.columns), None)

    @property
    def kept_by_database(self) -> frozenset[str]:
        """Columns that the database always writes itself."""
        copied = {"starts_at", "ends_at"} if self.name == "shift_assignments" else set()
        return frozenset({"recorded_at", "updated_at", "notification_key", *copied})

    @property
    def id_column(self) -> str | None:
        """The column of a row's own id, such as event_id; None if other columns are its key."""
        own = [
            name
            for name in self.keys[0]
            if self.target.columns[name].type == "uuid" and name not in ("organization_id", *CODED)
        ]
        return IDENTIFIED_BY.get(self.name, next(iter(own), None))

    @property
    def has_movable_rows(self) -> bool:
        """Whether the key has both an id and a time: the same id at another time is the same row, moved."""
        return self.id_column is not None and "time" in self.keys[0]

    @property
    def text_keys(self) -> frozenset[str]:
        """Text columns that name something, and are therefore normalized."""
        in_keys = {column for key in self.keys for column in key}
        return frozenset(
            name
            for name, column in self.target.columns.items()
            if column.type == "text" and name not in _VERSIONS and (name in in_keys or name in _NAMES)
        )

    def changeable(self) -> frozenset[str]:
        """Return the columns that an update may change. Raises `InvalidInputError` if there are none."""
        if self.name in APPEND_ONLY:
            raise InvalidInputError(
                f"{self.name} is append-only: add a newer run with a later available_at instead of overwriting one"
            )
        return _CHANGEABLE.get(self.name, frozenset(self.target.columns))


def importable(connection: Any, name: str) -> Relation:
    """Return the table of this name. Raises `NotFoundError`, `InvalidInputError` if not importable."""
    relation = exportable(connection, name)
    if relation.target.is_view:
        raise InvalidInputError(f"{name} is a view: import into the table that it reads")
    if name in HISTORY:
        raise InvalidInputError(
            f"{name} is maintained by the database: import the {HISTORY[name]}, whose history it is"
        )
    return relation


def exportable(connection: Any, name: str) -> Relation:
    """Return the table, view or rollup of this name. Raises `NotFoundError`."""
    known = [relation for relation in schema_objects().relations if relation not in INTERNAL]
    if name not in known:
        if name in INTERNAL:
            raise InvalidInputError(f"{name} is internal to the schema: it is neither imported nor exported")
        near = difflib.get_close_matches(name, known, n=2)
        advice = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise NotFoundError(f"there is no table or view {name}: {advice}")
    try:
        target = find_target(connection, f"public.{name}")
    except UndefinedObjectError as error:
        raise NotFoundError(f"this database has no {name}: run db-utils init or migrate first") from error
    with plain_cursor(connection) as cursor:
        cursor.execute(_SQL["columns"], (f"public.{name}",))
        columns = cursor.fetchall()
        cursor.execute(_SQL["constraints"], (f"public.{name}",))
        constraints = cursor.fetchall()
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s))",
            (f"public.{name}",),
        )
        is_referenced = bool(cursor.fetchone()[0])
    return Relation(
        target=target,
        required=frozenset(column for column, not_null, default in columns if not_null and default is None),
        defaults={
            column: default for column, not_null, default in columns if not_null and default is not None
        },
        keys=[list(of) for _, kind, _, of in constraints if kind in "pu"],
        rules={constraint: demands for constraint, _, demands, _ in constraints},
        is_referenced=is_referenced,
    )


def organization_named(connection: Any, given: str) -> str:
    """Return the id of the organization with this id or exact name. Raises `NotFoundError`."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{given!r} is not the name of an organization: it is not valid UTF-8"
        ) from None
    with plain_cursor(connection) as cursor:
        cursor.execute(
            "SELECT organization_id::text FROM organizations WHERE organization_id::text = lower(%s)",
            (given,),
        )
        found = cursor.fetchall()
        if not found:
            # As stored, or in another Unicode normalization form: é as one character, or as e with an accent.
            cursor.execute(
                "SELECT organization_id::text, name = %(name)s FROM organizations "
                "WHERE name = %(name)s OR normalize(name, NFC) = %(key)s",
                {"name": given, "key": text_key(given)},
            )
            found = cursor.fetchall()
            found = [row for row in found if row[1]] or found
        if len(found) == 1:
            return str(found[0][0])
        if found:
            ids = ", ".join(sorted(row[0] for row in found))
            raise NotFoundError(f"{len(found)} organizations are named {given!r}: use the id of one ({ids})")
        cursor.execute("SELECT name FROM organizations ORDER BY name")
        names = [row[0] for row in cursor.fetchall()]
    near = difflib.get_close_matches(given, names, n=2)
    advice = (
        f"did you mean {' or '.join(repr(name) for name in near)}?" if near else "give its id or exact name"
    )
    raise NotFoundError(f"there is no organization {given!r}: {advice}")
