"""Scheduled backups in one folder: the next due time, removal of old ones, and health of the newest.

The `backup` service (postgres/backup.sh) uses the folder in the same way.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from db_utils.errors import ConfigurationError
from db_utils.ops.backup.manifest import FILE as MANIFEST

_FAILED = ".failed"


@dataclass(frozen=True)
class Schedule:
    """A time of each day in UTC, or an interval."""

    text: str
    at: dt.time | None = None
    every: dt.timedelta | None = None

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Parse HH:MM, or 30m, 6h. Raises `ConfigurationError` for anything else."""
        if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
            return cls(text, at=dt.time.fromisoformat(text))
        if found := re.fullmatch(r"([1-9]\d{0,3})([mh])", text):
            unit = {"m": "minutes", "h": "hours"}[found[2]]
            return cls(text, every=dt.timedelta(**{unit: int(found[1])}))
        raise ConfigurationError(
            f"{text!r} is not a schedule: write HH:MM (UTC), or an interval such as 6h or 30m"
        )

    def seconds_from(self, now: dt.datetime) -> float:
        """Return the seconds from now (aware) until the next backup is due; more than 0."""
        if self.every is not None:
            return self.every.total_seconds()
        assert self.at is not None
        due = dt.datetime.combine(now.astimezone(dt.UTC).date(), self.at, dt.UTC)
        return ((due - now) % dt.timedelta(days=1) or dt.timedelta(days=1)).total_seconds()


def complete(folder: Path) -> list[Path]:
    """Return the backups in a folder, oldest first: their names sort by time."""
    return sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}"))


def rotate(folder: Path, *, keep_days: int, keep_count: int, now: dt.datetime) -> list[Path]:
    """Remove backups older than `keep_days`, but never the newest `keep_count`; return the removed ones."""
    gone = [path for path in complete(folder)[:-keep_count] if _age(path, now) > dt.timedelta(days=keep_days)]
    for path in gone:
        shutil.rmtree(path)
    return gone


def note_failure(folder: Path, reason: str) -> None:
    """Record for `problem` that a backup failed."""
    (folder / _FAILED).write_text(reason + "\n", encoding="utf-8")


def note_success(folder: Path) -> None:
    """Record that the last backup succeeded."""
    (folder / _FAILED).unlink(missing_ok=True)


def problem(folder: Path, max_age: dt.timedelta, now: dt.datetime) -> str | None:
    """Return why this folder's backups are not reliable (the last failed, none exists, too old), or None."""
    if (failed := folder / _FAILED).exists():
        reason = failed.read_text(encoding="utf-8").strip()
        return f"the last backup failed: {reason}"
    backups = complete(folder)
    if not backups:
        return f"there is no backup in {folder} yet"
    if (age := _age(backups[-1], now)) > max_age:
        hours = dt.timedelta(hours=1)
        return f"the newest backup, {backups[-1].name}, is {age / hours:.0f} hours old: more than {max_age / hours:.0f}"
    return None


def _age(backup: Path, now: dt.datetime) -> dt.timedelta:
    return now - dt.datetime.fromtimestamp((backup / MANIFEST).stat().st_mtime, dt.UTC)
