"""Backups on a schedule into one folder: when the next is due, which old ones go, and whether the newest is young enough.

The folder is that of the `backup` service too (postgres/backup.sh), which keeps it in the same way.
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
        """HH:MM, or 30m, 6h; `ConfigurationError` for anything else."""
        if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
            return cls(text, at=dt.time.fromisoformat(text))
        if found := re.fullmatch(r"([1-9]\d{0,3})([mh])", text):
            unit = {"m": "minutes", "h": "hours"}[found[2]]
            return cls(text, every=dt.timedelta(**{unit: int(found[1])}))
        raise ConfigurationError(
            f"{text!r} is not a schedule: write HH:MM (UTC), or an interval such as 6h or 30m"
        )

    def seconds_from(self, now: dt.datetime) -> float:
        """Seconds from now (aware) until the next backup is due; more than 0."""
        if self.every is not None:
            return self.every.total_seconds()
        assert self.at is not None
        due = dt.datetime.combine(now.astimezone(dt.UTC).date(), self.at, dt.UTC)
        return ((due - now) % dt.timedelta(days=1) or dt.timedelta(days=1)).total_seconds()


def complete(folder: Path) -> list[Path]:
    """The backups in a folder, oldest first: their names sort by time."""
    return sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}"))


def rotate(folder: Path, *, keep_days: int, keep_count: int, now: dt.datetime) -> list[Path]:
    """Remove what is older than so many days, but never the newest so many; returns what was removed."""
    gone = [path for path in complete(folder)[:-keep_count] if _age(path, now) > dt.timedelta(days=keep_days)]
    for path in gone:
        shutil.rmtree(path)
    return gone


def note_failure(folder: Path, reason: str) -> None:
    """Leave word for `problem` that a backup failed."""
    (folder / _FAILED).write_text(reason + "\n", encoding="utf-8")


def note_success(folder: Path) -> None:
    """The last backup went well."""
    (folder / _FAILED).unlink(missing_ok=True)


def problem(folder: Path, max_age: dt.timedelta, now: dt.datetime) -> str | None:
    """Why nobody should rely on the backups of this folder: the last one failed, there is none, it is too old. Else None."""
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
