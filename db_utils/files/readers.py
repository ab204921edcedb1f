"""Read a file's records with their lines: CSV and JSON Lines here, Parquet and Arrow in `columnar_reader`."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import sys
import tempfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from db_utils.errors import DbUtilsError, InvalidInputError
from db_utils.files.options import Format, ImportOptions, format_of
from db_utils.text_keys import text_key

_RECORD_CHARACTERS = 16 * 1024**2
"""Maximum length of a record: longer ones mean an unclosed quote, another format or an attack on memory."""
_MOST_COLUMNS = 1600
"""Maximum number of columns of a table in PostgreSQL."""
_BLANK_LINES = 1_000_000
_ALWAYS_UNPACKED_BYTES = 1024**3
_MOST_UNPACKED = 100
"""Maximum compression ratio of a columnar file above the size that is always unpacked."""
_SNIFFED_BYTES = 64 * 1024
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is not a row, and why."""

    reason: str
    original: Any


Record: TypeAlias = tuple[int, Sequence[Any] | Unreadable]


class Source(Protocol):
    """One file of rows."""

    name: str
    header: list[str]
    is_text: bool
    """Whether values are plain texts, as in CSV."""
    json_is_native: bool
    """Whether documents are values rather than texts, as in JSON Lines."""

    def records(self) -> Iterator[Record]:
        """Yield every record with the line that it starts on (Parquet and Arrow: the row's number)."""

    def position(self) -> int:
        """How many bytes of the file have been read."""


@dataclass
class Opened:
    """A file that can be read from its beginning any number of times."""

    name: str
    path: Path
    size: int
    is_gzip: bool
    raw: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        """Open the unpacked bytes from the beginning."""
        self.close()
        self.raw = self.path.open("rb")
        return gzip.GzipFile(fileobj=self.raw) if self.is_gzip else self.raw  # type: ignore[return-value]

    def position(self) -> int:
        """Return the position in the file itself, in bytes."""
        return 0 if self.raw is None or self.raw.closed else self.raw.tell()

    def close(self) -> None:
        """Close the file; it may be opened again."""
        if self.raw is not None:
            self.raw.close()


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Raise errors of a broken file as `InvalidInputError`."""
    try:
        yield
    except DbUtilsError:
        raise  # some are also an OSError: a lost connection is not a broken file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{name} is damaged or truncated: {error}") from error
    except UnicodeError as error:
        raise InvalidInputError(
            f"{name} is not in this encoding ({error}): choose another one with --encoding"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"{name} cannot be read: {error.strerror or error}") from error


def open_source(path: str, options: ImportOptions, stack: ExitStack) -> tuple[Source, Opened]:
    """Open this file (`-`: standard input, buffered in a temporary file) and return its source of rows.

    Raises `InvalidInputError` if the file does not exist, is empty, or has another format than its name.
    """
    name = "standard input" if path == "-" else path
    with reading_errors(name):
        file = _spooled(name, stack) if path == "-" else _found(path)
        stack.callback(file.close)
        with file.open() as stream:
            first = stream.read(_SNIFFED_BYTES)
        if not first:
            raise InvalidInputError(f"{name} is empty")
        kind = options.format or format_of(path) or _guessed(first)
        if kind == "csv":
            return CsvSource(file, options, first), file
        if kind == "jsonl":
            return JsonSource(file, options, first), file
        if file.is_gzip:
            file = _unpacked(file, stack)
        from db_utils.files.columnar_reader import open_columnar

        return open_columnar(file, kind), file


def _found(path: str) -> Opened:
    file = Path(path)
    if file.is_dir():
        raise InvalidInputError(f"{path} is a folder: give the files in it, such as {path.rstrip('/')}/*.csv")
    if not file.exists():
        raise InvalidInputError(f"file {path} does not exist")
    if not file.is_file():
        raise InvalidInputError(
            f"{path} is not a regular file: pipe its contents to standard input, and give - as the file"
        )
    return Opened(path, file, file.stat().st_size, _is_gzip(file))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _spooled(name: str, stack: ExitStack) -> Opened:
    path = _temporary(sys.stdin.buffer, stack)
    return Opened(name, path, path.stat().st_size, _is_gzip(path))


def _unpacked(file: Opened, stack: ExitStack) -> Opened:
    with file.open() as stream:
        path = _temporary(stream, stack, max(_ALWAYS_UNPACKED_BYTES, _MOST_UNPACKED * file.size))
    return Opened(file.name, path, path.stat().st_size, is_gzip=False)


def _temporary(stream: IO[bytes], stack: ExitStack, most: int | None = None) -> Path:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-utils-import-"))) / "file"
    with path.open("wb") as spool:
        while piece := stream.read(1024**2):
            spool.write(piece)
            if most is not None and spool.tell() > most:
                raise InvalidInputError(
                    f"the file unpacks to more than {most:,} bytes, {_MOST_UNPACKED} times its size: unpack it yourself if "
                    "that is intended"
                )
    return path


def _guessed(first: bytes) -> Format:
    if first.startswith(b"PAR1"):
        return "parquet"
    if first.startswith(b"ARROW1"):
        return "arrow"
    text = first.decode(encoding_of(first, "utf-8"), "replace")
    return "jsonl" if text.lstrip().startswith("{") else "csv"


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def encoding_of(first: bytes, encoding: str) -> str:
    """Return the encoding: that of a byte order mark, else the given one."""
    return next((named for mark, named in _MARKS if first.startswith(mark)), encoding)


def _check_width(first: bytes, name: str, encoding: str) -> None:
    """Raise `InvalidInputError` for UTF-16 text without a byte order mark."""
    if encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
        return
    for place, order in ((1, "le"), (0, "be")):
        bytes_of_ascii = first[place:200:2]
        if len(first) > 3 and bytes_of_ascii.count(0) * 2 > len(bytes_of_ascii):
            raise InvalidInputError(
                f"{name} looks like UTF-16 without a byte order mark: use --encoding utf-16-{order}, or save it as UTF-8"
            )


class _TextFile:
    """Base of text formats: undecodable bytes are kept, and refused with their row."""

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        self.name = file.name
        self._file = file
        self.encoding = encoding_of(first, options.encoding)
        _check_width(first, self.name, self.encoding)
        self._taken = 0

    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.position()

    def _lines(self) -> Generator[str]:
        """Yield the lines with their ends.

        Raises `InvalidInputError` if a record is too long, before it is in memory, and for nothing but blank
        lines: a packed file of a megabyte can hold a billion of them.
        """
        number = blank = self._taken = 0
        with io.TextIOWrapper(self._file.open(), self.encoding, "surrogateescape", newline="") as text:
            while line := text.readline(_RECORD_CHARACTERS + 1):
                number += 1
                self._taken += len(line)
                blank = blank + 1 if line in ("\n", "\r\n", "\r") else 0
                if blank > _BLANK_LINES:
                    raise InvalidInputError(
                        f"{self.name}, line {number}: more than {_BLANK_LINES:,} consecutive blank lines are not a table"
                    )
                if self._taken > _RECORD_CHARACTERS:
                    raise InvalidInputError(
                        f"{self.name}, line {number}: a row of more than {_RECORD_CHARACTERS // 1024**2} million characters "
                        "is not valid: is a quote never closed, or is the file in another format?"
                    )
                yield line

    def _record_ends(self) -> None:
        self._taken = 0


def check_column_count(name: str, count: int) -> None:
    """Raise `InvalidInputError` for more columns than a table can have."""
    if count > _MOST_COLUMNS:
        raise InvalidInputError(f"{name} has {count:,} columns, but a table has at most {_MOST_COLUMNS:,}")


_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE | re.DOTALL)


class CsvSource(_TextFile):
    """A CSV file of any dialect. A record is named by the line that it starts on, as in an editor.

    A first line `sep=;`, as Excel uses it, sets the delimiter. Unnamed fields at the end of lines, from a
    trailing separator, are ignored as long as they are empty.
    """

    is_text = True
    json_is_native = False

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        super().__init__(file, options, first)
        sample = first.decode(self.encoding, "replace")
        top_line = sample.splitlines(keepends=True)[:1]
        named = _SEPARATOR_LINE.fullmatch(top_line[0]) if top_line else None
        self._skipped = 0 if named is None else 1
        if named is not None:
            sample = sample[named.end() :]
        said = None if named is None else named[1]
        self.delimiter = options.delimiter or said or _delimiter(sample, options.quote)
        self.quote = options.quote
        self._has_header = options.header
        top = list(itertools.islice((row for _, row in self._rows() if isinstance(row, list)), 2))
        if not top:
            raise InvalidInputError(f"{self.name} contains no record: check the delimiter and the quote")
        self.header = self._named(top[0], options)
        self._width = max(map(len, top)) if self._ends_blank(top) else len(self.header)

    def _named(self, top: list[str], options: ImportOptions) -> list[str]:
        check_column_count(self.name, len(top))
        if self._has_header:
            names = [text_key(cell) for cell in top]
            while len(names) > 1 and not names[-1]:
                names.pop()
            if "" in names:
                raise InvalidInputError(
                    f"{self.name}: column {names.index('') + 1} of the header has no name"
                )
        else:
            names = list(options.columns) or [f"column{number}" for number in range(1, len(top) + 1)]
            if len(names) != len(top) and not (len(names) < len(top) and not any(top[len(names) :])):
                raise InvalidInputError(
                    f"{self.name} has {len(top)} columns, but {len(names)} names were given"
                )
        _refuse_twice(self.name, names)
        return names

    def _ends_blank(self, top: list[list[str]]) -> bool:
        """Whether lines end with a separator: the header's does, or the first row's."""
        width = len(self.header)
        return not any(cell.strip() for row in top for cell in row[width:])

    def records(self) -> Iterator[Record]:
        """Yield every record with the line that it starts on; blank lines are skipped."""
        rows = self._rows()
        if self._has_header:
            next(rows)
        width, most = len(self.header), self._width
        for line, row in rows:
            if isinstance(row, Unreadable) or len(row) == width == most:
                yield line, row
            elif width < len(row) <= most and not any(map(str.strip, row[width:])):
                yield line, row[:width]
            elif len(row) == width and row[-1]:
                yield line, row  # Excel omits trailing separators after some lines
            elif width < len(row) <= most:
                yield (
                    line,
                    Unreadable(
                        f"it has a value in field {len(row)}, but column {width} is the last one with a name",
                        row,
                    ),
                )
            else:
                yield line, Unreadable(f"it has {len(row)} fields, but the file has {width} columns", row)

    def _rows(self) -> Iterator[tuple[int, list[str] | Unreadable]]:
        limit = csv.field_size_limit(_RECORD_CHARACTERS)
        try:
            with closing(self._lines()) as lines:
                for _ in range(self._skipped):
                    next(lines)
                    self._record_ends()
                reader = csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)
                line = 1 + self._skipped
                while True:
                    try:
                        row = next(reader)
                    except StopIteration:
                        return
                    except csv.Error as error:
                        yield line, Unreadable(_csv_reason(error), [])
                    else:
                        if row:
                            yield line, row
                    self._record_ends()
                    line = reader.line_num + 1 + self._skipped
        finally:
            csv.field_size_limit(limit)


def _csv_reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "larger than" in text:
        return "a quoted field begins here and does not end: a quote is missing"
    return f"it is not CSV of this dialect: {text}"


def _delimiter(sample: str, quote: str) -> str:
    top = sample.splitlines()[:1]
    counts = {}
    for candidate in _DELIMITERS:
        with suppress(csv.Error, StopIteration):
            counts[candidate] = len(next(csv.reader(top, delimiter=candidate, quotechar=quote)))
    return max(counts, key=lambda candidate: counts[candidate], default=",")


class JsonSource(_TextFile):
    """JSON Lines: one object per line. Its columns are the keys of all lines, so it is read twice."""

    is_text = False
    json_is_native = True

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        super().__init__(file, options, first)
        keys: dict[str, None] = {}
        for _, found in self._objects():
            if isinstance(found, dict):
                keys.update(dict.fromkeys(found))
                check_column_count(self.name, len(keys))
        self.header = list(keys)

    def records(self) -> Iterator[Record]:
        """Yield every line that is not blank; missing keys have no value."""
        for line, found in self._objects():
            if isinstance(found, dict):
                yield line, [found.get(key) for key in self.header]
            else:
                yield line, found

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
        with closing(self._lines()) as lines:
            for number, line in enumerate(lines, 1):
                self._record_ends()
                if not (text := line.strip()):
                    continue
                try:
                    found = json.loads(text, parse_float=Decimal)
                except (ValueError, RecursionError) as error:
                    yield number, Unreadable(f"it is not JSON: {error}", text)
                    continue
                if isinstance(found, dict):
                    yield number, found
                else:
                    yield number, Unreadable("it is not a JSON object", text)


def _refuse_twice(name: str, names: list[str]) -> None:
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise InvalidInputError(f"{name} has two columns named {twice[0]}: rename one of them")
