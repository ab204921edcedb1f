"""The temporary table of an import: its columns, and the keys of its rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from psycopg2 import sql

from db_utils.copy.rejects import Reject
from db_utils.copy.target_table import plain_cursor
from db_utils.files.relations import Relation

LINE = "import_line"
CHUNK_ROWS = 10_000
OnReject = Callable[[int, str | None, str], None]


class StageTable:
    """Rows of one import. `key` decides whether a row already exists."""

    def __init__(
        self,
        connection: Any,
        relation: Relation,
        sent: Sequence[str],
        constants: dict[str, Any],
        on_reject: OnReject,
        files: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._sent = list(sent)
        self._constants = constants
        self._on_reject = on_reject
        self._stage = sql.Identifier("pg_temp", "import_stage")
        given = {*sent, *constants}
        self.key, self.derives = self._chosen_key(given)
        self._columns = [name for name in relation.target.columns if name in given or name == self.derives]
        self._files = files
        self.updated = 0
        self.moved_from: tuple[dt.datetime, dt.datetime] | None = None

    @property
    def identity(self) -> list[str]:
        """What identifies a row: the key, without the time where a row has an id and its time may change."""
        movable = self._relation.has_movable_rows and self.derives is None
        return [column for column in self.key if not (movable and column == "time")]

    @property
    def moves_by(self) -> list[str] | None:
        """What identifies a row that exists at another time: its id, or the employee and shift of an attendance."""
        if self._relation.name == "employee_attendance" and "shift_id" in self._columns:
            return ["organization_id", "employee_id", "shift_id"]
        return self.identity if self._relation.has_movable_rows and self.derives is None else None

    def _chosen_key(self, given: set[str]) -> tuple[list[str], str | None]:
        """Return the first key that the file fills; else the primary key, whose missing last column is derived."""
        for key in self._relation.keys:
            # A nullable natural key is also filled by a file without that column.
            missing = [name for name in key if name not in given]
            if not any(
                name in self._relation.required or name in self._relation.defaults for name in missing
            ):
                return key, None
        primary = self._relation.keys[0]
        return primary, next(name for name in primary if name not in given)

    def _value(self, alias: str, column: str) -> sql.Composable:
        """Return a value of the stage; an empty one is the column's default, if it has one."""
        name = sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(column))
        default = self._relation.defaults.get(column)
        return name if default is None else sql.SQL("coalesce({}, {})").format(name, sql.SQL(default))

    def _differs(
        self, one: str, other: str, columns: Sequence[str], *, plain: bool = False
    ) -> sql.Composable:
        if not columns:
            return sql.SQL("false")
        sides = []
        for alias in (one, other):
            staged = alias in ("s", "f") and not plain
            values = [
                self._value(alias, c)
                if staged
                else sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(c))
                for c in columns
            ]
            sides.append(sql.SQL("ROW({})").format(sql.SQL(", ").join(values)))
        return sql.SQL("{} IS DISTINCT FROM {}").format(*sides)

    def _same(self, one: str, other: str, key: Sequence[str] | None = None) -> sql.Composable:
        """Return the condition of equal keys; plain equality, which can be hashed, if not nullable."""
        nullable = {*self._relation.target.columns} - self._relation.required - {*self._relation.defaults}
        parts = [
            sql.SQL("{}.{} IS NOT DISTINCT FROM {}.{}" if column in nullable else "{}.{} = {}.{}").format(
                sql.Identifier(one), sql.Identifier(column), sql.Identifier(other), sql.Identifier(column)
            )
            for column in (self.key if key is None else key)
        ]
        return sql.SQL(" AND ").join(parts)

    def _changed(self, update: frozenset[str] | None) -> list[str]:
        return [c for c in self._columns if c not in self.key and c in (update or ())]

    def _refused(self, reject: Reject, line: int) -> None:
        column = reject.column if reject.column != LINE else None
        self._on_reject(line, column, self._in_words(reject))

    def _in_words(self, reject: Reject) -> str:
        rule = self._relation.rules.get(reject.constraint or "")
        if reject.sqlstate == "23514" and rule is not None:
            return f"it violates the constraint {reject.constraint}: {rule.removeprefix('CHECK ')}"
        if reject.sqlstate == "23502":
            return "a required value is missing"
        if reject.sqlstate == "23503" and rule is not None:
            return f"it references a row that does not exist: {rule}"
        if reject.sqlstate == "23505":
            return f"another row already has the same values: {rule or reject.constraint}"
        if reject.sqlstate == "23P01" and rule is not None:
            return f"it overlaps another row ({reject.constraint})"
        return reject.reason

    def _run(self, statement: sql.Composable) -> None:
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)


_PER_FILE = 2**40


def line_key(file_number: int, line: int) -> int:
    """Return one number for a line of one of several files."""
    return file_number * _PER_FILE + line


def line_number(key: int) -> int:
    """Return the line in its file."""
    return key % _PER_FILE


def file_number(key: int) -> int:
    """Return the number of the file, from 0."""
    return key // _PER_FILE
