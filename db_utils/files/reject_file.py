"""Rejected rows and their file: the original row, preceded by line, column and reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from db_utils.files.column_mapping import REJECT_COLUMNS
from db_utils.files.readers import CsvSource, Source, Unreadable
from db_utils.files.staging_table import file_number, line_key, line_number
from db_utils.files.whole_file import written_whole


class TooManyRejectsError(Exception):
    """More rows were refused than `max_rejects` allows."""


@dataclass(frozen=True, order=True)
class Refusal:
    """One row that was not imported. `line` is a line of CSV and JSON Lines, the number of a row of Parquet and Arrow."""

    key: int
    file: str
    line: int
    column: str | None = field(compare=False)
    reason: str = field(compare=False)


class Refusals:
    """Collects rejects. Raises `TooManyRejectsError` above the limit."""

    def __init__(self, files: Sequence[str], limit: int) -> None:
        self._files = files
        self._limit = limit
        self.found: list[Refusal] = []

    def add(self, key: int, column: str | None, reason: str) -> None:
        """Add one row."""
        self.found.append(Refusal(key, self._files[file_number(key)], line_number(key), column, reason))
        if len(self.found) > self._limit:
            raise TooManyRejectsError


def default_file(sources: Sequence[Source]) -> Path:
    """Return the default path of the rejects: in the current folder, named after the file."""
    name = "import" if len(sources) > 1 or sources[0].name == "standard input" else Path(sources[0].name).name
    return Path(f"{name}.rejects{'.csv' if sources[0].is_text else '.jsonl'}")


def write(path: Path, sources: Sequence[Source], refusals: Sequence[Refusal]) -> None:
    """Read the files again up to the last refused row, and write the refused rows.

    CSV in the dialect and encoding of the first file, other formats as JSON Lines: once corrected, it can be
    imported as it is.
    """
    by_key = {refusal.key: refusal for refusal in refusals}
    with written_whole(path) as stream:
        first = sources[0]
        is_csv = isinstance(first, CsvSource) and all(source.header == first.header for source in sources)
        writer: Any = _Csv(stream, first) if is_csv and isinstance(first, CsvSource) else _Json(stream)
        for number, source in enumerate(sources):
            last = max((r.line for r in refusals if file_number(r.key) == number), default=0)
            for line, row in source.records() if last else ():
                if line > last:
                    break
                refusal = by_key.get(line_key(number, line))
                if refusal is not None:
                    writer.write(refusal, source.header, row)


class _Csv:
    def __init__(self, stream: IO[bytes], source: CsvSource) -> None:
        # It would write a byte order mark with each line.
        self._encoding = "utf-8" if source.encoding in ("utf-8-sig", "utf-16") else source.encoding
        self._stream = stream
        self._delimiter, self._quote = source.delimiter, source.quote
        self._line([*REJECT_COLUMNS, *source.header])

    def write(self, refusal: Refusal, header: list[str], row: Sequence[Any] | Unreadable) -> None:
        values = row.original if isinstance(row, Unreadable) else row
        self._line([refusal.line, refusal.column or "", refusal.reason, *values])

    def _line(self, values: Sequence[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, quotechar=self._quote, lineterminator="\r\n").writerow(
            values
        )
        self._stream.write(text.getvalue().encode(self._encoding, "surrogateescape"))


class _Json:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, refusal: Refusal, header: list[str], row: Sequence[Any] | Unreadable) -> None:
        told = dict(zip(REJECT_COLUMNS, (refusal.line, refusal.column, refusal.reason), strict=True))
        original = (
            {"rejected_text": row.original}
            if isinstance(row, Unreadable)
            else dict(zip(header, row, strict=True))
        )
        self._stream.write((json.dumps({**told, **original}, default=str) + "\n").encode())
