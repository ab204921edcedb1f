"""Scheduled encrypted backups, as the service `encrypted-backup` makes them; removal of old ones, and the health check."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from db_utils.errors import ConfigurationError
from db_utils.ops.backup import schedule
from tests.integration.backup.conftest import Run, command, environment

UTC = dt.UTC
NOW = dt.datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12:31", 60), ("12:30", 86_400), ("12:29", 86_340), ("00:00", 41_400), ("30m", 1800), ("6h", 21_600)],
)
def test_when_the_next_one_is_due(text: str, seconds: float) -> None:
    zone = dt.timezone(dt.timedelta(hours=5))
    assert schedule.Schedule.parse(text).seconds_from(NOW.astimezone(zone)) == seconds


@pytest.mark.parametrize("text", ["24:00", "2:00", "0h", "6d", "", "02:60", "soon", "-6h"])
def test_what_is_no_schedule_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HH:MM"):
        schedule.Schedule.parse(text)


def made(folder: Path, days_ago: float) -> Path:
    at = NOW - days_ago * DAY
    backup = folder / f"ops-{at:%Y%m%dT%H%M%SZ}"
    backup.mkdir()
    (backup / "manifest.json").write_text("{}")
    os.utime(backup / "manifest.json", (at.timestamp(), at.timestamp()))
    return backup


def test_old_ones_go_but_never_the_newest(tmp_path: Path) -> None:
    backups = {days: made(tmp_path, days) for days in (40, 30, 20, 10, 1)}
    (tmp_path / ".ops.partial").mkdir()
    (tmp_path / "someone-else").mkdir()
    assert schedule.rotate(tmp_path, keep_days=14, keep_count=4, now=NOW) == [backups[40]]
    assert schedule.rotate(tmp_path, keep_days=14, keep_count=1, now=NOW) == [backups[30], backups[20]]
    assert schedule.rotate(tmp_path, keep_days=1, keep_count=9, now=NOW) == []
    assert schedule.complete(tmp_path) == [backups[10], backups[1]]
    assert (tmp_path / "someone-else").exists()


def test_what_health_says(tmp_path: Path) -> None:
    def said(hours: float) -> str | None:
        return schedule.problem(tmp_path, dt.timedelta(hours=hours), NOW)

    assert said(26) == f"there is no backup in {tmp_path} yet"
    backup = made(tmp_path, 1)
    assert said(26) is None
    assert said(23) == f"the newest backup, {backup.name}, is 24 hours old: more than 23"
    schedule.note_failure(tmp_path, "no server")
    assert said(26) == "the last backup failed: no server"
    schedule.note_success(tmp_path)
    assert said(26) is None


@pytest.mark.thorough
def test_a_key_in_the_environment_seals_each_backup(
    seeded: DatabaseManager, blank_url: str, run: Run, tmp_path: Path, key_file: Path
) -> None:
    folder, url = tmp_path / "backups", seeded.settings.database_url
    folder.mkdir()
    arguments = ("backup", "--encrypted", "--out", str(folder), "--every", "6h")
    refused = run(url, *arguments)
    assert (refused.code, "set BACKUP_KEY" in refused.err) == (1, True)
    assert run("", "backup-health", "--out", str(folder)).code == 1
    process = subprocess.Popen(
        command(*arguments),
        env=environment(DATABASE_URL=url, BACKUP_KEY=key_file.read_text().strip()),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()  # the first one is made at once
    process.send_signal(signal.SIGTERM)
    process.wait()
    process.stdout.close()
    assert ", encrypted, " in said
    (backup,) = schedule.complete(folder)
    assert {path.suffix for path in backup.iterdir()} == {".age", ".json"}
    assert run("", "backup-health", "--out", str(folder)).out.strip() == f"{backup.name} is the newest of 1"
    without = run(blank_url, "restore", str(backup))
    assert (without.code, "is encrypted with key" in without.err) == (1, True)
    done = run(blank_url, "restore", str(backup), "--key-file", str(key_file), "--verify")
    assert done.code == 0, done.err


def test_a_failure_is_said_and_tried_again(run: Run, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("backup", "--out", str(tmp_path), "--every", "1m"),
        env=environment(DATABASE_URL="postgresql://barnameh_user@127.0.0.1:1/nothing"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "THE BACKUP FAILED: cannot connect" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait()
    process.stderr.close()
    health = run("", "backup-health", "--out", str(tmp_path))
    assert (health.code, "the last backup failed: cannot connect" in health.err) == (1, True)
