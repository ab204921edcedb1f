"""Checks of staged rows before the INSERT: duplicate keys, and rows that moved."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from db_utils.copy.target_table import identifiers, plain_cursor
from db_utils.errors import InvalidInputError
from db_utils.files.staging_table import CHUNK_ROWS, LINE, StageTable, file_number, line_number
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)


class CheckedStage(StageTable):
    """A stage that removes rows that must not be inserted."""

    def refuse_repeats(self, sums: Sequence[str] = ()) -> int:
        """Report and remove rows with duplicate keys. Return how many were added up into another row.

        With `sums` they become one row if all other columns agree: these columns are added up (NULL if any
        value is unknown), and the row keeps the first line number.
        """
        summed = self._add_up(sums) if sums else 0
        self._refuse_repeats_of(self.identity, sums)
        if self.moves_by not in (None, self.identity):
            self._refuse_repeats_of(self.moves_by or [], ())
        return summed

    def _refuse_repeats_of(self, key: Sequence[str], sums: Sequence[str]) -> None:
        statement = sql.SQL(_SQL["refuse_repeats"]).format(
            key=identifiers(key),
            line=sql.Identifier(LINE),
            stage=self._stage,
            told=self._told(None, key),
            same=self._same("s", "r", key),
        )
        advice = ", but other values" if sums else ""
        if not sums and (numbers := self._numbers(key)):
            advice = f"; rows that belong together are added up with --sum {numbers[0]}"
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)
            while found := cursor.fetchmany(CHUNK_ROWS):
                for line, first, last, number in found:
                    other = last if line == first else first
                    more = f" and {number - 2} more" if number > 2 else ""
                    reason = f"the same key as {self._place(other, line)}{more}{advice}"
                    self._on_reject(line, ", ".join(key[1:] or key), reason)

    def _told(self, alias: str | None, key: Sequence[str]) -> sql.Composable:
        """Return the condition that a row has a shift, if that is part of its identity."""
        shift = sql.Identifier("shift_id") if alias is None else sql.Identifier(alias, "shift_id")
        return sql.SQL("{} IS NOT NULL").format(shift) if "shift_id" in key else sql.SQL("true")

    def _place(self, other: int, line: int) -> str:
        file = file_number(other)
        where = (
            ""
            if file == file_number(line)
            else f" of {self._files[file] if self._files else f'file {file + 1}'}"
        )
        return f"line {line_number(other)}{where}"

    def _numbers(self, key: Sequence[str]) -> list[str]:
        kinds = ("numeric", "int2", "int4", "int8", "float4", "float8")
        return [c for c in self._sent if self._relation.target.columns[c].type in kinds and c not in key]

    def _add_up(self, sums: Sequence[str]) -> int:
        key = self.identity
        for name in sums:
            if name not in self._numbers(key):
                raise InvalidInputError(f"--sum: {name} is not a numeric column that the file fills")
        others = [c for c in self._columns if c not in key and c not in sums]
        statement = sql.SQL(_SQL["add_up"]).format(
            key=identifiers(key),
            line=sql.Identifier(LINE),
            stage=self._stage,
            same=self._same("s", "a", key),
            totals=sql.SQL(", ").join(
                sql.SQL("CASE WHEN count({0}) = count(*) THEN sum({0}) END AS {1}").format(
                    self._value("s", c), sql.Identifier(c)
                )
                for c in sums
            ),
            agree=sql.SQL("").join(
                sql.SQL(" AND count(DISTINCT {0}) + (count({0}) < count(*))::int <= 1").format(
                    self._comparable(self._value("s", c), c)
                )
                for c in others
            ),
            changes=sql.SQL(", ").join(sql.SQL("{0} = a.{0}").format(sql.Identifier(c)) for c in sums),
        )
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    def _comparable(self, value: sql.Composable, column: str) -> sql.Composable:
        return (
            sql.SQL("({})::text").format(value)
            if self._relation.target.columns[column].type == "json"
            else value
        )

    def recognize_corrected(self) -> None:
        """Give the rows that a file corrects the id of their corrected content, so that --update finds them.

        An id derived from a row's content changes when a number is corrected. A row of the file corrects a
        row of the table if they agree in all of the file's columns but numbers and JSON, and neither content
        exists on the other side. Ambiguous matches, ids set by the caller, and referenced rows are left
        alone.
        """
        if self.derives is None or self._relation.is_referenced:
            return
        measured = {"numeric", "int2", "int4", "int8", "float4", "float8", "json"}
        about = [
            c
            for c in self._columns
            if c not in self.key and self._relation.target.columns[c].type not in measured
        ]
        shared = [c for c in self.key if c != self.derives]
        statement = sql.SQL(_SQL["recognize_corrected"]).format(
            id=sql.Identifier(self.derives),
            stage=self._stage,
            target=self._relation.target.identifier,
            own_key=self._of("s", shared),
            key=self._of("t", shared),
            lost_key=self._of("l", shared),
            own_about=sql.SQL("jsonb_build_array({})::text").format(self._of("s", about)),
            about=sql.SQL("jsonb_build_array({})::text").format(self._of("t", about)),
            same=self._same("s", "t"),
            other=self._same("o", "t"),
            pair=self._same("h", "l", shared),
            found=self._same("t", "h", shared),
        )
        self._run(statement)

    def _of(self, alias: str, columns: Sequence[str]) -> sql.Composable:
        if alias == "s":
            return sql.SQL(", ").join(self._value(alias, c) for c in columns)
        return sql.SQL(", ").join(sql.Identifier(alias, c) for c in columns)

    def refuse_strays(self) -> None:
        """Report rows that --update could not find, while there are others that they may be the correction of.

        A row whose id is derived from its content is found by equal content, or equal except for numbers:
        with other changes, it is another row. So if the organization has rows that are not in the file, a new
        row cannot be distinguished from a corrected one.
        """
        statement = sql.SQL(_SQL["refuse_strays"]).format(
            stage=self._stage,
            target=self._relation.target.identifier,
            same=self._same("s", "t"),
            other=self._same("o", "t"),
            line=sql.Identifier(LINE),
        )
        reason = (
            f"--update finds no row of this content, and without {self.derives} it cannot tell a new row from a corrected "
            "one: give the columns of your own row key with --key"
        )
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)
            for (line,) in cursor.fetchall():
                self._on_reject(line, self.derives, reason)

    def move(self, update: frozenset[str] | None) -> None:
        """Move rows that exist at another time to the file's with `update`, else report them.

        `updated` counts those with no other change, and `moved_from` is the period that they leave.
        """
        if self.moves_by is None:
            return
        statement = _SQL["refuse_moved"] if update is None else _SQL["moved"]
        columns = list(self._relation.target.columns)
        composed = sql.SQL(statement).format(
            stage=self._stage,
            target=self._relation.target.identifier,
            same=self._same("s", "t", self.moves_by),
            told=self._told("s", self.moves_by),
            line=sql.Identifier(LINE),
            differs=self._differs("t", "s", [c for c in self._changed(update) if c != "time"]),
            columns=identifiers(columns),
            kept=sql.SQL(", ").join(sql.Identifier("g", "new_time" if c == "time" else c) for c in columns),
        )
        with plain_cursor(self._connection) as cursor:
            cursor.execute(composed)
            found = cursor.fetchall()
        if update is None:
            for line, time in found:
                self._on_reject(
                    line, "time", f"this row already exists, at {time.isoformat()}: --update moves it"
                )
        elif found:
            # A row stored at two times (possible in version 7) becomes one.
            self.updated += len(
                {line for line, _, _ in found} - {line for line, _, changes in found if changes}
            )
            self.moved_from = min(time for _, time, _ in found), max(time for _, time, _ in found)
