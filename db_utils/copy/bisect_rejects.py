"""Find the bad rows of a batch, and load the good ones.

The server stops at the first bad row of a COPY and undoes it all. So a batch is loaded under a savepoint, and
if it fails, in smaller parts: up to the row that the server named, or half if it named none (foreign keys are
checked at the end of a statement). A row is refused only after it failed alone, so no good row is lost to a
wrong guess. Two kinds of errors often come in large numbers and are found together, by a query: malformed
values of a column, and dangling foreign keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

from db_utils.copy.diagnose import (
    Cause,
    at_row,
    cause_of,
    columns_of_constraint,
    dangling,
    malformed,
    names_a_row,
    reference,
)
from db_utils.copy.rejects import Reject, RejectReport, RowBatch, row_values
from db_utils.copy.target_table import Column, TargetTable, plain_cursor
from db_utils.copy.text_format import unescaped_field
from db_utils.errors import DbUtilsError, InvalidDataError
from db_utils.text_keys import shown

_FEW = 32  # rows to try at once after the server named one


class BisectingLoader:
    """Loads the good rows of a batch that failed as a whole, and reports the bad ones.

    `attempt` sends some items of the batch; `field` gives one value of an item as text. Without a report a
    bad row raises, and batches are split only to keep rows with the same key out of one statement (SQLSTATE
    21000).
    """

    def __init__(
        self,
        connection: Any,
        attempt: Callable[[list[Any]], int],
        report: RejectReport | None,
        *,
        target: TargetTable | None = None,
        columns: Sequence[Column] = (),
        field: Callable[[Any, int], str | None] = unescaped_field,
    ) -> None:
        self._connection = connection
        self._attempt = attempt
        self.report = report
        self.target = target
        self._columns = columns
        self._names = [column.name for column in columns]
        self._field = field
        self._constraint_columns: dict[str, tuple[str | None, str | None]] = {}
        self._batch = RowBatch(keep_bad=False)
        self._left: list[int] = []  # rows neither loaded nor refused yet
        self._bad: dict[int, Cause] = {}
        self._suspect: int | None = None  # the row that the server named last
        self._size = 0  # how many rows to try at once

    def helps(self, error: psycopg2.Error) -> bool:
        """Whether loading the batch in parts can resolve this error."""
        return error.pgcode == "21000" if self.report is None else names_a_row(error)

    def load(self, batch: RowBatch, error: psycopg2.Error) -> int:
        """Load the good rows of this batch and return how many rows they affected; `error` is the batch's."""
        batch.unfold()
        self._batch, self._left, self._bad = batch, list(range(len(batch))), {}
        self._suspect, self._size = None, len(batch)
        affected = 0
        self._run("SAVEPOINT db_utils_part")
        part = self._left
        outcome: int | psycopg2.Error = error
        while True:
            if isinstance(outcome, int):
                affected += outcome
                self._left = self._left[len(part) :]
                self._size *= 2
            elif len(part) > 1:
                self._learn(part, outcome)
            else:
                self._refuse(part[0], outcome)
            if not self._left:
                break
            part = self._next_part()
            outcome = self._try(part)
        self._run("RELEASE SAVEPOINT db_utils_part")
        self._tell()
        return affected

    def located(self, batch: RowBatch, error: psycopg2.Error, rows_before: int) -> DbUtilsError:
        """Return the error of a batch that is not bisected, with row and column if they can be found."""
        translated = at_row(error, rows_before, self.target, self._names)
        if (
            not isinstance(translated, InvalidDataError)
            or str(translated).startswith("row ")
            or not batch.items
        ):
            return translated
        self._run("ROLLBACK TO SAVEPOINT db_utils_batch")
        for place, column in enumerate(self._columns):
            texts = [self._field(item, place) for item in batch.items]
            found = malformed(self._connection, column.type_name, texts)
            if found:
                translated.args = (f"row {batch.numbers[min(found)]}, column {column.name}: {translated}",)
                break
        return translated

    def _next_part(self) -> list[int]:
        if self._left[0] == self._suspect:
            return self._left[:1]
        part = self._left[: self._size]
        return part[: part.index(self._suspect)] if self._suspect in part else part

    def _try(self, part: list[int]) -> int | psycopg2.Error:
        try:
            affected = self._attempt([self._batch.items[row] for row in part])
        except psycopg2.Error as error:
            if not self.helps(error):
                raise at_row(error, self._batch.numbers[part[0]] - 1, self.target, self._names) from error
            self._run("ROLLBACK TO SAVEPOINT db_utils_part")
            return error
        self._run("RELEASE SAVEPOINT db_utils_part; SAVEPOINT db_utils_part")
        return affected

    def _run(self, statement: str) -> None:
        with plain_cursor(self._connection) as cursor:
            cursor.execute(statement)

    def _learn(self, part: list[int], error: psycopg2.Error) -> None:
        """Decide from the failure of these rows what to try next."""
        cause = cause_of(error, self.target, self._names)
        known = len(self._bad)
        if cause.line is not None and cause.line < len(part) and part[cause.line] != self._suspect:
            self._suspect = part[cause.line]
            self._size = max(_FEW, 2 * cause.line)
            if cause.sqlstate[:2] == "22" and cause.column in self._names:
                self._learn_malformed(self._names.index(cause.column))
        elif cause.sqlstate == "23503" and cause.constraint is not None and self.target is not None:
            self._learn_dangling(self.target, cause)
        if len(self._bad) > known:
            self._left = [row for row in self._left if row not in self._bad]
            self._size = max(self._size, len(self._left))
        elif part[0] != self._suspect and self._suspect not in part:
            self._size = max(1, len(part) // 2)

    def _texts(self, place: int) -> list[str | None]:
        """Return the texts of one column for the remaining rows."""
        return [self._field(self._batch.items[row], place) for row in self._left]

    def _learn_malformed(self, place: int) -> None:
        column = self._columns[place]
        for at, (reason, code) in malformed(self._connection, column.type_name, self._texts(place)).items():
            self._bad[self._left[at]] = Cause(reason, code, column.name, None)

    def _learn_dangling(self, target: TargetTable, cause: Cause) -> None:
        """Refuse all rows with dangling foreign keys: an unknown machine rarely sends a single event."""
        found = reference(self._connection, target, cause.constraint or "")
        if found is None or not set(found[1]) <= set(self._names):
            return
        places = [self._names.index(name) for name in found[1]]
        columns = [self._columns[place] for place in places]
        for at in dangling(self._connection, found, columns, [self._texts(place) for place in places]):
            self._bad[self._left[at]] = cause

    def _refuse(self, row: int, error: psycopg2.Error) -> None:
        if self.report is None:
            raise at_row(error, self._batch.numbers[row] - 1, self.target, self._names) from error
        cause = cause_of(error, self.target, self._names)
        if cause.column is None and cause.sqlstate[:2] == "22":
            cause = self._type_blamed(row) or cause
        self._bad[row] = cause
        self._left.remove(row)

    def _type_blamed(self, row: int) -> Cause | None:
        """Return the first column of this row whose type refuses its value."""
        for place, column in enumerate(self._columns):
            text = self._field(self._batch.items[row], place)
            if found := malformed(self._connection, column.type_name, [text]):
                return Cause(*found[0], column.name, None)
        return None

    def _tell(self) -> None:
        for row, cause in self._bad.items():
            column, reason = cause.column, cause.reason
            number, values = self._batch.numbers[row], row_values(self._batch.rows[row])
            if cause.constraint is not None:
                columns, demands = self._columns_of(cause.constraint)
                column = column or columns
                if demands is not None:
                    reason = f"{self._said(columns, values)}: {reason}, which requires {demands}"
            self._batch.rejects.append(
                Reject(number, column, reason, values, cause.sqlstate, cause.constraint)
            )

    def _said(self, columns: str | None, values: Sequence[Any]) -> str:
        """Return the row's values of these columns."""
        names = (columns or "").split(", ")
        told = dict(zip(self._names, values, strict=False))
        return ", ".join(f"{name} is {shown(told.get(name))}" for name in names)

    def _columns_of(self, constraint: str) -> tuple[str | None, str | None]:
        if constraint not in self._constraint_columns:
            found = columns_of_constraint(self._connection, self.target, constraint)
            self._constraint_columns[constraint] = found
        return self._constraint_columns[constraint]
