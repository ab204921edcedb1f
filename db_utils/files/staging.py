"""Staging in a temporary table: types and constraints check the rows, then one INSERT moves them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg2
from psycopg2 import sql

from db_utils import copy
from db_utils.copy.bisect_rejects import BisectingLoader
from db_utils.copy.diagnose import names_a_row
from db_utils.copy.load import load_bisected
from db_utils.copy.rejects import RejectReport, RowBatch
from db_utils.copy.target_table import identifiers, plain_cursor
from db_utils.files.staging_checks import CheckedStage
from db_utils.files.staging_table import CHUNK_ROWS, LINE
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)


class Stage(CheckedStage):
    """Rows of one import, from the COPY that stages them to the INSERT into the target."""

    def create(self) -> None:
        """Create the table with the target's columns, types and constraints."""
        name = sql.Identifier("import_stage")
        self._run(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS, {} bigint NOT NULL) ON COMMIT DROP"
            ).format(name, self._relation.target.identifier, sql.Identifier(LINE))
        )
        optional = [c for c in self._relation.required if c not in self._sent] + list(self._relation.defaults)
        changes = [sql.SQL("ALTER {} DROP NOT NULL").format(sql.Identifier(column)) for column in optional]
        for column, value in self._constants.items():
            default = sql.SQL("ALTER {} SET DEFAULT {}").format(sql.Identifier(column), sql.Literal(value))
            changes.append(default)
        if changes:
            self._run(sql.SQL("ALTER TABLE {} ").format(self._stage) + sql.SQL(", ").join(changes))

    def copy(self, rows: Iterable[list[Any]]) -> None:
        """Load rows of `sent` columns with their line last; refused rows are reported."""
        copy.copy_rows(
            self._connection,
            "pg_temp.import_stage",
            [*self._sent, LINE],
            rows,
            on_reject=RejectReport(keep=0, sink=lambda reject: self._refused(reject, reject.values[-1])),
        )

    def prepare(self) -> None:
        """Derive the identifiers that the file lacks, and analyze the table."""
        if self.derives is not None:
            self._derive(self.derives)
        self._run(sql.SQL("ANALYZE {}").format(self._stage))

    def _derive(self, column: str) -> None:
        """A name-based UUID (RFC 9562, version 8 with SHA-256) of the row's content and its place among equals."""
        names = [name for name in self._columns if name != column and name != "organization_id"]
        pairs = [sql.SQL("{}, {}").format(sql.Literal(name), self._canonical(name)) for name in names]
        content = sql.SQL("jsonb_strip_nulls(jsonb_build_object({}))::text").format(sql.SQL(", ").join(pairs))
        statement = _SQL["derive"]
        self._run(
            sql.SQL(statement).format(
                stage=self._stage,
                column=sql.Identifier(column),
                line=sql.Identifier(LINE),
                table=sql.Literal(self._relation.name),
                content=content,
            )
        )

    def _canonical(self, name: str) -> sql.Composable:
        column = sql.Identifier(name)
        kind = self._relation.target.columns[name].type
        return sql.SQL("trim_scale({})").format(column) if kind == "numeric" else column

    # -- into the target -------------------------------------------------------------------------------------

    def count_different(self) -> int:
        """Count the rows that exist already with other values than the file's."""
        others = [c for c in self._columns if c not in self.key]
        statement = sql.SQL("SELECT count(*) FROM {} AS s INNER JOIN {} AS t ON {} WHERE {}").format(
            self._stage,
            self._relation.target.identifier,
            self._same("s", "t"),
            self._differs("s", "t", others),
        )
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    def insert(self, update: frozenset[str] | None) -> int:
        """Insert the rows and return how many were added; refused rows are reported.

        With `update`, existing rows are changed in the columns that differ: `updated` counts them.
        """
        with plain_cursor(self._connection) as cursor:
            cursor.execute("SAVEPOINT import_all")
            try:
                return self._added(self._insert(update, sql.SQL("true")), None)
            except psycopg2.Error as error:
                if not names_a_row(error):
                    raise
                cursor.execute("ROLLBACK TO SAVEPOINT import_all")
        return sum(self._insert_sifted(lines, update) for lines in self._lines())

    def _insert_sifted(self, lines: list[int], update: frozenset[str] | None) -> int:
        some = self._insert(update, sql.SQL("{} = ANY (%s)").format(sql.Identifier(LINE)))

        def attempt(items: list[Any]) -> int:
            return self._added(some, (items,))

        report = RejectReport(keep=0, sink=lambda reject: self._refused(reject, reject.row_number))
        batch = RowBatch(keep_bad=True)
        batch.rows, batch.numbers, batch.items = [(line,) for line in lines], lines, list(lines)
        bisecting = BisectingLoader(self._connection, attempt, report, target=self._relation.target)
        return load_bisected(self._connection, batch, bisecting, lambda: attempt(lines))

    def _added(self, statement: sql.Composable, parameters: tuple[Any, ...] | None) -> int:
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement, parameters)
            added, updated = cursor.fetchone()
        self.updated += updated
        return int(added)

    def _lines(self) -> Iterator[list[int]]:
        line = sql.Identifier(LINE)
        self._run(sql.SQL("CREATE INDEX ON {} ({})").format(self._stage, line))
        statement = sql.SQL("SELECT {line} FROM {stage} WHERE {line} > %s ORDER BY {line} LIMIT %s").format(
            line=line, stage=self._stage
        )
        last = -1
        while True:
            with plain_cursor(self._connection) as cursor:
                cursor.execute(statement, (last, CHUNK_ROWS))
                found = [row[0] for row in cursor.fetchall()]
            if not found:
                return
            yield found
            last = found[-1]

    def _insert(self, update: frozenset[str] | None, which: sql.Composable) -> sql.Composable:
        changed = self._changed(update)
        if changed:
            action = sql.SQL("DO UPDATE SET {} WHERE {}").format(
                sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in changed),
                self._differs("t", "excluded", changed, plain=True),
            )
        else:
            action = sql.SQL("DO NOTHING")
        # The update of an existing row sets its xmax: only a new row has none.
        statement = _SQL["insert"]
        return sql.SQL(statement).format(
            self._relation.target.identifier,
            identifiers(self._columns),
            sql.SQL(", ").join(self._value("s", c) for c in self._columns),
            self._stage,
            which,
            identifiers(self.key),
            action,
        )

    def period(self) -> tuple[dt.datetime, dt.datetime] | None:
        """Return the first and last time of the rows, if the table has rollups; None without rows."""
        with plain_cursor(self._connection) as cursor:
            cursor.execute(sql.SQL("SELECT min(time), max(time) FROM {}").format(self._stage))
            first, last = cursor.fetchone()
        return None if first is None else (first, last)
