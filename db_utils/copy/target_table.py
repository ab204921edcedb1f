"""The target of a bulk load: its schema, kind, and column types."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions
from psycopg2 import sql

from db_utils.errors import InvalidInputError, TransactionStateError, UndefinedObjectError, translate
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the target."""

    name: str
    type: str
    """PostgreSQL's internal name of the type (`int4`, `timestamptz`), for a domain its base type; `enum`
    for any enum, empty for other types that are not built in."""
    type_name: str
    """The SQL name of the type, with length or precision."""
    element: Column | None
    """For an array, its elements."""
    cast: str = ""
    """The SQL name of the type, without length or precision: a cast to it neither truncates nor rounds."""


@dataclass(frozen=True, slots=True)
class TargetTable:
    """A table or view that rows are loaded into."""

    schema: str
    name: str
    is_view: bool
    columns: dict[str, Column]

    @property
    def identifier(self) -> sql.Identifier:
        """The name, quoted, with its schema."""
        return sql.Identifier(self.schema, self.name)

    def pick(self, names: Sequence[str]) -> list[Column]:
        """Return the columns of these names. Raises `UndefinedObjectError` with suggestions."""
        unknown = [name for name in names if name not in self.columns]
        if not unknown:
            return [self.columns[name] for name in names]
        near = difflib.get_close_matches(unknown[0], self.columns, n=1)
        advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(self.columns)}"
        raise UndefinedObjectError(
            f"{self.name} has no column {unknown[0]}: {advice}",
            sqlstate="42703",
            table=self.name,
            column=unknown[0],
        )


def find_target(connection: Any, table: str) -> TargetTable:
    """Return the table or view of this name, resolved by the connection's search_path.

    The name is parsed as in SQL: `events`, `tenant.events`, `"Mixed Case"`. Raises `UndefinedObjectError`, or
    `TransactionStateError` without an open transaction: loads rely on the caller's to be atomic.
    """
    if not isinstance(table, str) or not table.strip() or "\0" in table:
        raise InvalidInputError(
            "table must be the name of a table, such as demand_history or tenant.demand_history"
        )
    status = connection.get_transaction_status()
    if connection.autocommit and status == psycopg2.extensions.TRANSACTION_STATUS_IDLE:
        raise TransactionStateError(
            "a bulk load needs an open transaction: this connection is in autocommit mode"
        )
    with plain_cursor(connection) as cursor:
        try:
            cursor.execute(_SQL["lookup"], {"name": table})
        except UnicodeEncodeError:
            raise InvalidInputError(
                "the table name contains characters that UTF-8 cannot encode (lone surrogates)"
            ) from None
        except (psycopg2.errors.SyntaxError, psycopg2.errors.FeatureNotSupported) as error:
            reason = error.diag.message_primary
            raise UndefinedObjectError(
                f"there is no table or view of this name: {reason}", table=table
            ) from error
        found = cursor.fetchall()
    if not found:
        raise UndefinedObjectError(f"there is no table or view {table}", sqlstate="42P01", table=table)
    schema, relation, kind = found[0][:3]
    if kind not in "rpfv":
        raise InvalidInputError(f"{relation} is not a table or view that rows can be loaded into")
    columns = {
        name: Column(name, type_, type_name, _element(name, element), cast)
        for _, _, _, name, type_name, cast, type_, element in found
        if name is not None
    }
    return TargetTable(schema, relation, kind == "v", columns)


def _element(name: str, type_: str | None) -> Column | None:
    return None if type_ is None else Column(name, type_, type_ or "its elements", None)


def column_names(columns: object, *, may_be_empty: bool = False) -> list[str]:
    """Return these column names, checked to be unique texts. Raises `InvalidInputError`."""
    problem = f"columns must be a list of column names{'' if may_be_empty else ', at least one'}"
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Sequence):
        raise InvalidInputError(problem)
    names = list(columns)
    if not may_be_empty and not names:
        raise InvalidInputError(problem)
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise InvalidInputError(problem)
        if names.count(name) > 1:
            raise InvalidInputError(f"column {name} is named twice")
    return names


def plain_cursor(connection: Any) -> Any:
    """Return a cursor whose rows are tuples, whatever the connection's cursor factory."""
    return connection.cursor(cursor_factory=psycopg2.extensions.cursor)


def identifiers(names: Sequence[str]) -> sql.Composed:
    """Return these names, quoted and separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the driver's errors to errors of this library."""
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error) from error
