"""Options for reading and writing files, checked before anything is opened."""

from __future__ import annotations

import codecs
import datetime as dt
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from db_utils.errors import InvalidInputError

Format = Literal["csv", "jsonl", "parquet", "arrow"]
Ambiguous = Literal["reject", "earlier", "later", "order"]
Nonexistent = Literal["reject", "shift"]

EPOCHS = {"epoch": 10**6, "epoch_ms": 10**3}
"""Formats of Unix time, and their unit in microseconds."""

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


def format_of(name: str) -> Format | None:
    """Which format does this file name's ending (before a `.gz`) stand for? None for any other ending."""
    return _BY_ENDING.get(Path(name.lower().removesuffix(".gz")).suffix)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of an import. Raises `InvalidInputError` for invalid ones."""

    format: Format | None = None
    """None: by the file's ending, else by its first bytes."""
    encoding: str = "utf-8"
    """Of CSV and JSON Lines; a byte order mark of UTF-8 or UTF-16 is understood and wins."""
    delimiter: str | None = None
    """Of CSV; None: the one of comma, semicolon, tab and bar that splits the first line into most fields."""
    quote: str = '"'
    header: bool = True
    columns: Sequence[str] = ()
    """Column names of a CSV file without header; by default column1, column2 …"""
    null: str = ""
    """The text that means "no value" in CSV."""
    decimal: str = "."
    thousands: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Column of the file to column of the table, or to several with commas between."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Column of the table to its value in every row."""
    ignore: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    """Column of the table to its unit in the file, or `from:to`; see `units`."""
    time_zone: str | None = None
    """IANA zone of times without an offset, or `location`: that of each row's location at that time. Without
    it such times are refused. A day without time of day is a local day of the row's location, if it has one."""
    time_format: str | None = None
    """Format of times: for strptime, `epoch` (Unix seconds) or `epoch_ms` (milliseconds); None: ISO 8601."""
    date_format: str | None = None
    ambiguous: Ambiguous = "reject"
    """How to read a local time repeated when the clock was set back; order: by the order of rows."""
    nonexistent: Nonexistent = "reject"
    """How to read a local time skipped when the clock was set forward; shift: later by the skipped hour."""
    skip_bad: bool = False
    update: bool = False
    sum: Sequence[str] = ()
    """Columns of the table that are added up for repeated keys; without it such rows are refused."""
    key: Sequence[str] = ()
    """Columns of the file with the caller's key, to derive ids from; see docs/import-export.md."""
    escaped_formulas: bool = False
    """The CSV was exported with `escape_formulas`: the marks are removed."""
    dry_run: bool = False
    rejects: Path | None = None
    """Where rejected rows are written; None: in `<file>.rejects.csv` (or `.jsonl`) of the current folder."""
    max_rejects: int = 10_000
    """More refused rows than this end the import without writing: the mapping is probably wrong."""

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except (LookupError, UnicodeEncodeError):
            raise InvalidInputError(
                f"unknown encoding {self.encoding}: use one such as utf-8, latin-1, cp1252 or utf-16"
            ) from None
        for name, text in (("delimiter", self.delimiter), ("quote", self.quote), ("decimal", self.decimal)):
            if text is not None and (len(text) != 1 or text in "\r\n\0"):
                raise InvalidInputError(f"{name} must be one character, not {text!r}")
        if self.delimiter == self.quote:
            raise InvalidInputError("delimiter and quote must be different characters")
        if self.thousands is not None and (len(self.thousands) != 1 or self.thousands == self.decimal):
            raise InvalidInputError("thousands must be one character, other than decimal")
        _ = self.zone
        _check_format(self.time_format, "time_format (--time-format)")
        if self.date_format is not None:
            _check_format(self.date_format, "date_format (--date-format)")
        if self.columns and self.header:
            raise InvalidInputError("columns is for a file without a header: set header=False (--no-header)")
        if self.max_rejects < 0:
            raise InvalidInputError("max_rejects must be 0 or more")

    @property
    def zone(self) -> zoneinfo.ZoneInfo | None:
        """The zone that `time_zone` names; None without one, or for the zone of each row's location."""
        return None if self.time_zone in (None, "location") else zone_named(str(self.time_zone))


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export."""

    format: Format | None = None
    """None: by the file's ending."""
    gzip: bool | None = None
    """CSV and JSON Lines; None: by the ending `.gz`."""
    delimiter: str = ","
    header: bool = True
    null: str = ""
    escape_formulas: bool = False
    """Texts that a spreadsheet would run as a formula are prefixed with an apostrophe (CSV)."""

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '\r\n"\\.\0' or not self.delimiter.isascii():
            raise InvalidInputError("delimiter must be one ASCII character, such as , or ;")
        if any(c in self.null for c in '\r\n"\0') or self.delimiter in self.null:
            raise InvalidInputError("null must be a text without quotes, line ends or the delimiter")


def has_time_of_day(written: str) -> bool:
    """Whether a strptime format includes a time of day."""
    return written in EPOCHS or any(f"%{sign}" in written.replace("%%", "") for sign in "HIMSfcX")


def _check_format(written: str | None, option: str) -> None:
    if written is None or (written in EPOCHS and "time" in option):
        return
    plain = written.replace("%%", "")
    if not any(f"%{sign}" in plain for sign in "YyGcx"):
        raise InvalidInputError(
            f"{option} is {written!r}, which has no year: use a format of strptime, such as '%d/%m/%Y %H:%M'"
        )
    if plain.count("%Z") > 1 or ("%Z" in plain and "%z" in plain):
        raise InvalidInputError(f"{option} contains the zone twice: keep %z (an offset) or %Z (a name)")


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone of this IANA name. Raises `InvalidInputError`."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInputError(
            f"unknown time zone {name!r}: use an IANA name, such as Europe/Paris"
        ) from None


def check_period(start: dt.datetime | None, end: dt.datetime | None) -> None:
    """Raise `InvalidInputError` unless both are aware (or None) and the start is first."""
    for name, moment in (("start", start), ("end", end)):
        if moment is not None and moment.utcoffset() is None:
            raise InvalidInputError(f"{name} has no time zone: write it as 2026-01-31T00:00:00+00:00")
    if start is not None and end is not None and start >= end:
        raise InvalidInputError("the period must start before it ends")
