"""Failures: no partial backup, no partial database, one sentence, and the next run works."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager
from tests.integration.backup.conftest import MakeBackup
from tests.integration.cli.conftest import Run, command, environment
from tests.support.schema_snapshot import content_hashes

LEFT_OVER = "SELECT datname FROM pg_database WHERE datname LIKE %s || '_restoring_%%'"
OBJECTS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def started(url: str, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=tmp_path,
        env=environment(DATABASE_URL=url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_over(db: DatabaseManager, url: str) -> list[str]:
    prefix = parse_dsn(url)["dbname"]
    return [row["datname"] for row in db.execute_query(LEFT_OVER, (prefix,))]


def refused(run: Run, url: str, folder: Path, *arguments: str) -> str:
    done = run(url, "restore", str(folder), *arguments)
    assert done.code == 1
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    return done.err


# -- damaged backups --------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: flip(f / "database.dump"), "database.dump does not match its checksum"),
        (lambda f: cut(f / "database.dump"), r"database.dump has [\d,]+ bytes but should have"),
        (lambda f: flip(f / "roles.json"), "roles.json does not match its checksum"),
        (lambda f: (f / "database.dump").unlink(), "database.dump is missing"),
        (lambda f: (f / "manifest.json").unlink(), "is not a backup"),
        (lambda f: cut(f / "manifest.json"), "manifest.json cannot be read"),
        (lambda f: shutil.rmtree(f), "is not a backup"),
    ],
)
def test_a_damaged_backup_is_refused(
    blank: DatabaseManager,
    sample_backup: Path,
    run: Run,
    damage: Callable[[Path], object],
    sentence: str,
) -> None:
    damage(sample_backup)
    assert re.search(sentence, refused(run, blank.settings.database_url, sample_backup))
    assert blank.execute_query(OBJECTS) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 99}, "the backup has schema version 99"),
        ({"postgresql_major": 99, "postgresql": "99.1"}, "the backup is from PostgreSQL 99.1"),
        (
            {"timescaledb": "1.0.0", "edition": "apache"},
            "the backup is from TimescaleDB 1.0.0 and the server has",
        ),
        ({"job_owners": ["nobody_of_that_name"]}, "the server has no role nobody_of_that_name"),
    ],
)
def test_what_the_server_cannot_take_is_refused(
    blank: DatabaseManager,
    sample_backup: Path,
    run: Run,
    change: dict[str, object],
    sentence: str,
) -> None:
    manifest = json.loads((sample_backup / "manifest.json").read_text())
    manifest["database"].update(change)
    (sample_backup / "manifest.json").write_text(json.dumps(manifest))
    assert sentence in refused(run, blank.settings.database_url, sample_backup)
    assert blank.execute_query(OBJECTS) == []


@pytest.mark.slow
def test_keys(
    seeded_database: DatabaseManager,
    blank: DatabaseManager,
    make_backup: MakeBackup,
    run: Run,
    key_file: Path,
) -> None:
    folder, url = make_backup(seeded_database, "--key-file", str(key_file)), blank.settings.database_url
    assert sorted(path.name for path in folder.iterdir()) == [
        "database.dump.age",
        "manifest.json",
        "roles.json.age",
    ]
    assert b"PGDMP" not in (folder / "database.dump.age").read_bytes()
    assert b"barnameh_tenant" not in (folder / "roles.json.age").read_bytes()
    assert "the backup is encrypted with key" in refused(run, url, folder)
    other = key_file.with_name("other.key")
    other.write_text("A" * 43 + "=")
    assert "wrong key" in refused(run, url, folder, "--key-file", str(other))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"public.alerts"', '"public.alarms"'))
    assert "was changed after it was written" in refused(run, url, folder, "--key-file", str(key_file))
    (folder / "manifest.json").write_text(text)
    done = run(url, "restore", str(folder), "--verify", BACKUP_KEY=key_file.read_text())
    assert done.code == 0, done.err
    with DatabaseManager(url) as restored:
        assert content_hashes(restored) == content_hashes(seeded_database)


# -- the target is not empty ------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("thing", "named"),
    [
        ("CREATE TABLE notes (note text)", "public.notes"),
        ("CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)'", "public.shout()"),
        ("CREATE SCHEMA reports", "schema reports"),
    ],
)
def test_a_database_that_holds_anything_is_refused(
    blank: DatabaseManager,
    sample_backup: Path,
    run: Run,
    thing: str,
    named: str,
) -> None:
    blank.execute(thing)
    assert f"is not empty (it has {named})" in refused(run, blank.settings.database_url, sample_backup)


def test_a_database_that_is_not_there(blank: DatabaseManager, sample_backup: Path, run: Run) -> None:
    url = blank.settings.database_url.replace(parse_dsn(blank.settings.database_url)["dbname"], "never_made")
    assert "--create-database" in refused(run, url, sample_backup)


# -- it is interrupted ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_backup_leaves_nothing_that_looks_like_one(
    seeded_database: DatabaseManager, run: Run, tmp_path: Path
) -> None:
    url, out = seeded_database.settings.database_url, tmp_path / "backups"
    out.mkdir()
    # Another session has locked a table: the backup is certainly waiting when it is killed.
    holder = psycopg2.connect(url)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE")
    waiting = started(url, tmp_path, "backup", "--out", str(out))
    blocked = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while seeded_database.execute_query(blocked)[0]["n"] == 0:
        assert waiting.poll() is None, waiting.communicate()
    waiting.send_signal(signal.SIGKILL)
    waiting.communicate()
    holder.close()
    (partial,) = out.iterdir()
    assert re.fullmatch(r"\..+\.partial", partial.name)
    assert not (partial / "manifest.json").exists()
    assert "is not a backup" in refused(run, url, partial)
    assert run(url, "backup", "--out", str(out)).code == 0
    (made,) = out.iterdir()
    assert made != partial
    assert seeded_database.execute_query("SELECT count(*) AS n FROM backup_runs") == [{"n": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_restore_leaves_the_database_empty(
    seeded: DatabaseManager,
    blank: DatabaseManager,
    sample_backup: Path,
    run: Run,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    folder, url = sample_backup, blank.settings.database_url
    restoring = started(url, tmp_path, "restore", str(folder))
    at_work = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname LIKE %s || '_restoring_%%'"
    while seeded.execute_query(at_work, (parse_dsn(url)["dbname"],))[0]["n"] == 0:
        assert restoring.poll() is None, restoring.communicate()
    restoring.send_signal(number)
    _, err = restoring.communicate()
    assert restoring.returncode != 0
    assert "Traceback" not in err
    assert blank.execute_query(OBJECTS) == []
    if number != signal.SIGKILL:
        assert restoring.returncode == 130
        assert left_over(seeded, url) == []
    blank.close()
    done = run(url, "restore", str(folder), "--verify")
    assert done.code == 0, done.err
    assert left_over(seeded, url) == []
    with DatabaseManager(url) as restored:
        assert content_hashes(restored) == content_hashes(seeded)


@pytest.mark.slow
def test_a_full_disk(seeded_database: DatabaseManager, run: Run, tmp_path: Path) -> None:
    """No file may grow beyond 500 kB: writes fail as on a full disk."""
    url, out = seeded_database.settings.database_url, tmp_path / "small"
    out.mkdir()
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 500; exec "$@"', "bash", *command("backup", "--out", str(out))],
        cwd=tmp_path,
        env=environment(DATABASE_URL=url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: cannot write to {out}: File too large\n"
    assert list(out.iterdir()) == []
    assert seeded_database.execute_query("SELECT count(*) AS n FROM backup_runs") == [{"n": 0}]


# -- two at once ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_backups_at_once(seeded_database: DatabaseManager, run: Run, tmp_path: Path) -> None:
    url, out = seeded_database.settings.database_url, tmp_path / "backups"
    out.mkdir()
    both = [started(url, tmp_path, "backup", "--out", str(out), "--json") for _ in range(2)]
    folders = []
    for one in both:
        printed, err = one.communicate()
        assert one.returncode == 0, err
        folders.append(json.loads(printed)["backup"])
    assert sorted(map(str, out.iterdir())) == sorted(folders)
    assert len(set(folders)) == 2
    assert seeded_database.execute_query("SELECT count(*) AS n FROM backup_runs") == [{"n": 2}]


@pytest.mark.slow
def test_two_restores_into_one_database(
    seeded: DatabaseManager, blank: DatabaseManager, sample_backup: Path, tmp_path: Path
) -> None:
    folder, url = sample_backup, blank.settings.database_url
    blank.close()
    both = [started(url, tmp_path, "restore", str(folder)) for _ in range(2)]
    said = [one.communicate()[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 1]
    assert re.search("another restore into .* is in progress|is not empty", "".join(said))
    with DatabaseManager(url) as restored:
        assert content_hashes(restored) == content_hashes(seeded)


def test_mistakes_are_one_sentence(seeded_database: DatabaseManager, run: Run, tmp_path: Path) -> None:
    url = seeded_database.settings.database_url
    (tmp_path / "taken").write_text("a file")
    for arguments in (
        ("--out", str(tmp_path / "taken")),
        ("--out", str(tmp_path / "taken" / "below")),
        ("--out", str(tmp_path), "--key-file", str(tmp_path / "none")),
        ("--out", str(tmp_path), "--url", url, "--container", "barnameh_postgres"),
    ):
        done = run(url, "backup", *arguments)
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert len(done.err.splitlines()) == 1
    wrong = run("postgresql://nobody:secret@127.0.0.1:1/nothing", "backup", "--out", str(tmp_path))
    assert wrong.code == 1
    assert "secret" not in wrong.err
    assert os.listdir(tmp_path) == ["taken"]  # noqa: PTH208 - hidden ones too
