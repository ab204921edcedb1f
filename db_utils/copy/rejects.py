"""Reports of rejected rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from db_utils.copy.text_format import BadRowError
from db_utils.errors import InvalidDataError, InvalidInputError


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that was not loaded."""

    row_number: int
    """Its position in the input; the first row is 1."""
    column: str | None
    """The column at fault; several, with commas, for a key; None if the row as a whole is."""
    reason: str
    """The reason, as a sentence."""
    values: tuple[Any, ...]
    """The row as given."""
    sqlstate: str | None = None
    """The server's code; None if the value could not be sent."""
    constraint: str | None = None
    """The constraint that the row violates."""


class RejectReport:
    """Collects the rows that a load refuses, while the good ones are loaded.

    Keeps the first `keep` of them and counts all; `sink` is called with each one (to write it to a file, for
    example). More than `max_rejects` end the load with an error (None: no limit).
    """

    def __init__(
        self,
        *,
        keep: int = 1000,
        max_rejects: int | None = None,
        sink: Callable[[Reject], None] | None = None,
    ) -> None:
        self.keep = keep
        self.max_rejects = max_rejects
        self.sink = sink
        self.rejects: list[Reject] = []
        self.count = 0
        self._kinds: Counter[tuple[str | None, str | None]] = Counter()

    def add(self, reject: Reject) -> None:
        """Add one refused row. Raises `InvalidDataError` if there are too many."""
        self.count += 1
        self._kinds[reject.column, reject.constraint or reject.sqlstate] += 1
        if len(self.rejects) < self.keep:
            self.rejects.append(reject)
        if self.sink is not None:
            self.sink(reject)
        if self.max_rejects is not None and self.count > self.max_rejects:
            first = self.rejects[0] if self.rejects else reject
            raise InvalidDataError(
                f"more than {self.max_rejects} rows were refused (max_rejects); the first is row {first.row_number}"
                f"{f', column {first.column}' if first.column else ''}: {first.reason}",
                sqlstate=first.sqlstate,
            )

    @property
    def by_cause(self) -> dict[tuple[str | None, str | None], int]:
        """Return the number of refused rows by column, constraint or SQLSTATE, most frequent first."""
        return dict(self._kinds.most_common())

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True  # a report is true even while it is empty

    def __iter__(self) -> Iterator[Reject]:
        return iter(self.rejects)

    def __repr__(self) -> str:
        return f"<RejectReport: {self.count} rows refused>"


class RowBatch:
    """Rows that are sent together: as given, their numbers, their encoding; and the rejected ones.

    With `keep_bad`, rows that cannot be sent are added as rejected; without it they raise.
    """

    def __init__(self, *, keep_bad: bool) -> None:
        self.keep_bad = keep_bad
        self.rows: list[Any] = []
        self.numbers: list[int] = []
        self.items: list[Any] = []
        self.rejects: list[Reject] = []
        self._later: list[Callable[[RowBatch], None]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def later(self, unfold: Callable[[RowBatch], None]) -> None:
        """Rows that are needed only if the batch fails; `unfold` adds them."""
        self._later.append(unfold)

    def unfold(self) -> None:
        """Add the deferred rows."""
        while self._later:
            self._later.pop(0)(self)


def encode_each(
    batch: RowBatch, rows: Sequence[Any], first_number: int, encode: Callable[[Any], Any]
) -> None:
    """Add these rows to the batch, each encoded by `encode`."""
    for number, row in enumerate(rows, first_number):
        try:
            batch.items.append(encode(row))
        except BadRowError as bad:
            if not batch.keep_bad:
                raise bad.at(number) from None
            batch.rejects.append(Reject(number, bad.column, bad.reason, row_values(row)))
            continue
        batch.rows.append(row)
        batch.numbers.append(number)


def row_values(row: Any) -> tuple[Any, ...]:
    """Return the values of a row of any kind, as given."""
    if isinstance(row, dict):
        return tuple(row.values())
    return tuple(row) if isinstance(row, (tuple, list)) else (row,)


def check_callbacks(report: object, progress: object) -> None:
    """Raise `InvalidInputError` unless these are a `RejectReport` and a function, or None."""
    if report is not None and not isinstance(report, RejectReport):
        raise InvalidInputError(f"on_reject must be a RejectReport, not {type(report).__name__}")
    if progress is not None and not callable(progress):
        raise InvalidInputError(
            f"progress must be a function that takes the number of rows so far, not {type(progress).__name__}"
        )
