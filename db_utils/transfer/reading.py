"""Records of a file, one by one, each with its line: CSV and JSON Lines here, Parquet and Arrow in `columnar`."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from db_utils.errors import DbUtilsError, InvalidInputError
from db_utils.transfer.options import Format, ImportOptions, format_of

_FIELD_BYTES = 16 * 1024**2
"""A longer field is a quote that was never closed."""
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
    """Values are texts as people wrote them: CSV."""
    json_is_native: bool
    """A document is a value, not a text that holds one: JSON Lines."""

    def records(self) -> Iterator[Record]:
        """Every record from the beginning, with the line that it starts on (Parquet and Arrow: the row's number)."""

    def position(self) -> int:
        """How many bytes of the file have been read."""


@dataclass
class Opened:
    """A file that can be read from its beginning as often as needed."""

    name: str
    path: Path
    size: int
    is_gzip: bool
    raw: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        """The unpacked bytes from the beginning."""
        self.close()
        self.raw = self.path.open("rb")
        return gzip.GzipFile(fileobj=self.raw) if self.is_gzip else self.raw  # type: ignore[return-value]

    def position(self) -> int:
        """How far the file itself has been read, in bytes."""
        return 0 if self.raw is None or self.raw.closed else self.raw.tell()

    def close(self) -> None:
        """Close it; it may be opened again."""
        if self.raw is not None:
            self.raw.close()


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Raise what a broken file raises as an `InvalidInputError`."""
    try:
        yield
    except DbUtilsError:
        raise  # some are an OSError as well: a lost connection is no broken file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{name} is damaged or was cut off: {error}") from error
    except UnicodeError as error:
        raise InvalidInputError(
            f"{name} is not in this encoding ({error}): name another one with --encoding"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"{name} cannot be read: {error.strerror or error}") from error


def open_source(path: str, options: ImportOptions, stack: ExitStack) -> tuple[Source, Opened]:
    """The rows of this file (`-`: standard input, which is kept in a temporary file meanwhile).

    Raises `InvalidInputError` where there is no such file, it is empty, or is not what its name says.
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
        from db_utils.transfer.columnar import open_columnar

        return open_columnar(file, kind), file


def _found(path: str) -> Opened:
    file = Path(path)
    if file.is_dir():
        raise InvalidInputError(f"{path} is a folder: name the files in it, such as {path.rstrip('/')}/*.csv")
    if not file.exists():
        raise InvalidInputError(f"there is no file {path}")
    if not file.is_file():
        raise InvalidInputError(
            f"{path} is not a regular file: send what it gives to standard input, and name it -"
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
        path = _temporary(stream, stack)
    return Opened(file.name, path, path.stat().st_size, is_gzip=False)


def _temporary(stream: IO[bytes], stack: ExitStack) -> Path:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-utils-import-"))) / "file"
    with path.open("wb") as spool:
        shutil.copyfileobj(stream, spool, 1024**2)
    return path


def _guessed(first: bytes) -> Format:
    if first.startswith(b"PAR1"):
        return "parquet"
    if first.startswith(b"ARROW1"):
        return "arrow"
    return "jsonl" if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "csv"


def encoding_of(first: bytes, encoding: str) -> str:
    """The encoding to read with: what a byte order mark says, else what was asked for."""
    if first.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    return "utf-16" if first[:2] in (b"\xff\xfe", b"\xfe\xff") else encoding


class _TextFile:
    """What text formats share: bytes that the encoding cannot read are kept, and refused with their row."""

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        self.name = file.name
        self._file = file
        self.encoding = encoding_of(first, options.encoding)

    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.position()

    def _lines(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self._file.open(), self.encoding, "surrogateescape", newline="")


class CsvSource(_TextFile):
    """A CSV file of any dialect. A record is named by the line that it starts on, as an editor counts lines."""

    is_text = True
    json_is_native = False

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        super().__init__(file, options, first)
        sample = first.decode(self.encoding, "replace")
        self.delimiter = options.delimiter or _delimiter(sample, options.quote)
        self.quote = options.quote
        self._has_header = options.header
        top = next((row for _, row in self._rows() if isinstance(row, list)), None)
        if top is None:
            raise InvalidInputError(
                f"{self.name} holds no record: is the delimiter or the quote another one?"
            )
        self.header = self._named(top, options)

    def _named(self, top: list[str], options: ImportOptions) -> list[str]:
        if self._has_header:
            names = [cell.strip() for cell in top]
        else:
            names = list(options.columns) or [f"column{number}" for number in range(1, len(top) + 1)]
            if len(names) != len(top):
                raise InvalidInputError(
                    f"{self.name} has {len(top)} columns, and {len(names)} names were given for them"
                )
        while names and not names[-1] and self._has_header:
            raise InvalidInputError(f"{self.name}: column {len(names)} of the header has no name")
        _refuse_twice(self.name, names)
        return names

    def records(self) -> Iterator[Record]:
        """Every record with the line that it starts on; a blank line is none."""
        rows = self._rows()
        if self._has_header:
            next(rows)
        width = len(self.header)
        for line, row in rows:
            if isinstance(row, list) and len(row) != width:
                yield line, Unreadable(f"it has {len(row)} fields, and the file {width} columns", row)
            else:
                yield line, row

    def _rows(self) -> Iterator[tuple[int, list[str] | Unreadable]]:
        limit = csv.field_size_limit(_FIELD_BYTES)
        try:
            with self._lines() as lines:
                reader = csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)
                line = 1
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
                    line = reader.line_num + 1
        finally:
            csv.field_size_limit(limit)


def _csv_reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "larger than" in text:
        return "a quoted field that begins here does not end: a quote is missing"
    return f"it is not CSV of this dialect: {text}"


def _delimiter(sample: str, quote: str) -> str:
    top = sample.splitlines()[:1]
    counts = {}
    for candidate in _DELIMITERS:
        with suppress(csv.Error, StopIteration):
            counts[candidate] = len(next(csv.reader(top, delimiter=candidate, quotechar=quote)))
    return max(counts, key=lambda candidate: counts[candidate], default=",")


class JsonSource(_TextFile):
    """JSON Lines: one object on each line. Its columns are all keys of all lines, so that it is read twice."""

    is_text = False
    json_is_native = True

    def __init__(self, file: Opened, options: ImportOptions, first: bytes) -> None:
        super().__init__(file, options, first)
        keys: dict[str, None] = {}
        for _, found in self._objects():
            if isinstance(found, dict):
                keys.update(dict.fromkeys(found))
        self.header = list(keys)

    def records(self) -> Iterator[Record]:
        """Every line that is not blank; a key that a line lacks has no value there."""
        for line, found in self._objects():
            if isinstance(found, dict):
                yield line, [found.get(key) for key in self.header]
            else:
                yield line, found

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
        with self._lines() as lines:
            for number, line in enumerate(lines, 1):
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
