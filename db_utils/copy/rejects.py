"""Rejected rows: what is reported about each."""

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
    """Its place in what was given; the first row is 1."""
    column: str | None
    """The column that it is about; several, with commas, for a key; None where only the row is to blame."""
    reason: str
    """Why, in a sentence."""
    values: tuple[Any, ...]
    """The row as it was given."""
    sqlstate: str | None = None
    """The server's code; None where the value could not even be sent."""
    constraint: str | None = None
    """The constraint that the row breaks."""


class RejectReport:
    """Collects the rows that a load refused, so that the good ones are loaded all the same.

    Keeps the first `keep` of them and counts all; `sink` is called with every one as it is found (write them to
    a file there). More than `max_rejects` end the load with an error (None: any number may be refused).
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
        """Note one refused row. Raises `InvalidDataError` when there are too many."""
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
        """How many rows were refused for each (column, constraint or SQLSTATE), the most frequent first."""
        return dict(self._kinds.most_common())

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True  # a report is there even while it is empty

    def __iter__(self) -> Iterator[Reject]:
        return iter(self.rejects)

    def __repr__(self) -> str:
        return f"<RejectReport: {self.count} rows refused>"


class RowBatch:
    """Rows that are sent together: as they were given, their numbers, each as it is sent; and the rejected.

    With `keep_bad` rows that cannot be sent are noted as rejected, without it they raise.
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
        """Rows that are only wanted if the batch fails; `unfold` puts them in."""
        self._later.append(unfold)

    def unfold(self) -> None:
        """Put in what was left for later."""
        while self._later:
            self._later.pop(0)(self)


def encode_each(
    batch: RowBatch, rows: Sequence[Any], first_number: int, encode: Callable[[Any], Any]
) -> None:
    """Put these rows into the batch, each as what `encode` makes of it."""
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
    """The values of a row as it was given, whatever kind of row it is."""
    if isinstance(row, dict):
        return tuple(row.values())
    return tuple(row) if isinstance(row, (tuple, list)) else (row,)


def check_callbacks(report: object, progress: object) -> None:
    """Raise `InvalidInputError` where these are not a `RejectReport` and a function, or None."""
    if report is not None and not isinstance(report, RejectReport):
        raise InvalidInputError(f"on_reject is a RejectReport, not {type(report).__name__}")
    if progress is not None and not callable(progress):
        raise InvalidInputError(
            f"progress is a function that takes the number of rows so far, not {type(progress).__name__}"
        )
