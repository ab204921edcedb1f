"""Backup, restore, migrate and import as a user runs them: next to writers, killed midway, on a full disk, twice at once."""

from __future__ import annotations

import csv
import datetime as dt
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from db_utils import DatabaseManager, errors, schema
from tests.conftest import maintenance
from tests.faults import batches
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed
from tests.integration.cli.conftest import Done, command, environment
from tests.support.programs import psql
from tests.support.readme import ROOT
from tests.support.schema_snapshot import columns_of, content_hashes, snapshot
from tests.support.servers import own_server

FROZEN = ROOT / "tests" / "fixtures" / "schema_v1"
ROWS = 60_000
TARGET = "faults_restored"


def run(trial: Trial) -> list[Finding]:
    """Run all of them, each in its own folder."""
    attempts = (
        backup_while_writing, killed_backups, killed_restores, killed_migrations, killed_imports, two_migrations,
        full_disk_for_a_backup, full_disk_for_the_server,
    )  # fmt: skip
    return [in_a_folder(attempt, trial) for attempt in attempts if not trial.over()]


def in_a_folder(attempt: Callable[[Trial, Path], Finding], trial: Trial) -> Finding:
    """Run one of them, in a folder that the server can access."""
    with tempfile.TemporaryDirectory(prefix="db_utils-faults-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        return attempt(trial, folder)


# -- commands -----------------------------------------------------------------------------------------------------


def started(url: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A running command."""
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(DATABASE_URL=url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Done:
    """Its output."""
    out, err = process.communicate()
    return Done(process.returncode, out, err)


def done(finding: Finding, url: str, folder: Path, *arguments: str, code: int = 0) -> Done:
    """Run a command that must end with this code, and with one sentence on failure."""
    finding.attempts += 1
    answer = ended(started(url, folder, *arguments))
    if answer.code != code or "Traceback" in answer.err:
        finding.blame(
            f"{arguments[0]}: exit code {answer.code} instead of {code}: {answer.err.strip()[-200:]}"
        )
    else:
        finding.acknowledged += 1
    return answer


def killed(
    finding: Finding,
    url: str,
    folder: Path,
    arguments: tuple[str, ...],
    chances: random.Random,
    usual_seconds: float,
) -> bool:
    """Kill a command at a random moment of its usual duration; return whether it was still running."""
    finding.attempts += 1
    process = started(url, folder, *arguments)
    with_all = chances.uniform(0.05, 1.0) * usual_seconds
    try:
        process.wait(with_all)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    ended(process)
    return process.returncode == -signal.SIGKILL


def alone(db: DatabaseManager) -> None:
    """Wait until the sessions of a killed command are gone."""
    until = time.monotonic() + 60
    others = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )
    while db.execute_query(others)[0]["n"] and time.monotonic() < until:
        time.sleep(0.02)


def same(finding: Finding, name: str, found: object, expected: object) -> None:
    """Count a difference as something half-written."""
    if found != expected:
        finding.half_written += 1
        finding.evidence.append(f"{name} has changed")


# -- backup and restore -------------------------------------------------------------------------------------------


def backup_while_writing(trial: Trial, folder: Path) -> Finding:
    """Backups made while writers write contain whole batches, and all batches acknowledged before they began."""
    finding = Finding(
        "backup while writing",
        "4 writers of batches; db-utils backup, then restore --create-database --verify; the restored rows counted",
    )
    rows, times = 0, trial.amount(3, 1)
    with trial.seeded() as db, timed(finding):
        batches.prepare(db)
        url, target = db.settings.database_url, trial.beside(TARGET)
        quiet = Finding("", "")
        with batches.Writers(db, quiet, count=4, timeout_seconds=60) as writers:
            for _ in range(times):
                writers.wait_for(20)
                before = set(writers.acknowledged)
                made = done(finding, url, folder, "backup", "--out", str(folder), "--json")
                with _dropped(trial, TARGET):
                    done(
                        finding,
                        target,
                        folder,
                        "restore",
                        made.json["backup"],
                        "--create-database",
                        "--verify",
                        "--json",
                    )
                    with DatabaseManager(target) as restored:
                        batches.account(restored, finding, before)
                rows += len(before) * batches.SIZE
                shutil.rmtree(made.json["backup"])
        for sentence in quiet.evidence:
            finding.blame(sentence)
    finding.seen = f"{times} backups restored; {rows:,} previously acknowledged rows looked up in them"
    return finding


@contextmanager
def _dropped(trial: Trial, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        with maintenance(trial.server_url) as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def killed_backups(trial: Trial, folder: Path) -> Finding:
    """The remains of a killed backup do not look like one, and the next backup succeeds."""
    finding = Finding(
        "kill -9 of backup",
        "db-utils backup killed at random moments; the remains are not a backup, and the next one succeeds",
    )
    chances, hits, times = trial.chances("backup"), 0, trial.amount(8, 1)
    with trial.seeded() as db, timed(finding):
        url, out = db.settings.database_url, folder / "backups"
        out.mkdir()
        usual = _timed(lambda: done(finding, url, folder, "backup", "--out", str(out)))
        shutil.rmtree(out)
        for _ in range(times):
            out.mkdir()
            hit = killed(finding, url, folder, ("backup", "--out", str(out)), chances, usual)
            hits += hit
            for left in out.iterdir():
                if re.fullmatch(r"\..+\.partial", left.name):
                    finding.half_written += (left / "manifest.json").exists()
                elif hit:
                    # Killed between the last step of the backup and the end of the process: it must be complete.
                    finding.half_written += not (left / "manifest.json").exists()
            shutil.rmtree(out)
        done(finding, url, folder, "backup", "--out", str(folder), "--verify")
    finding.seen = f"{hits} of {times} killed at work"
    return finding


def killed_restores(trial: Trial, folder: Path) -> Finding:
    """A killed restore leaves the database empty, and the next one works."""
    finding = Finding(
        "kill -9 of restore",
        "db-utils restore killed at random moments; the database is empty or complete; then restored and compared",
    )
    chances, hits, times = trial.chances("restore"), 0, trial.amount(5, 1)
    with trial.seeded() as db, timed(finding):
        expected = content_hashes(db)
        made = done(finding, db.settings.database_url, folder, "backup", "--out", str(folder), "--json").json[
            "backup"
        ]
        usual = 3.0
        for _ in range(times):
            with trial.blank() as blank, trial.blank() as spare:
                url, spare_url = blank.settings.database_url, spare.settings.database_url
                blank.close()
                spare.close()
                hits += killed(finding, url, folder, ("restore", made), chances, usual)
                with DatabaseManager(url) as after:
                    found = content_hashes(after)
                if found:
                    same(finding, "a database that was not empty after the kill", found, expected)
                next_url = spare_url if found else url
                usual = _timed(lambda url=next_url: done(finding, url, folder, "restore", made, "--verify"))  # type: ignore[misc]
                with DatabaseManager(next_url) as restored:
                    same(finding, "the restored database", content_hashes(restored), expected)
                with maintenance(trial.server_url) as cursor:
                    cursor.execute(r"SELECT count(*) FROM pg_database WHERE datname LIKE '%\_restoring\_%'")
                    same(finding, "the number of scratch databases", cursor.fetchone()[0], 0)  # type: ignore[index]
    finding.seen = f"{hits} of {times} killed at work; no scratch database is left by the next restore"
    return finding


# -- migrate ------------------------------------------------------------------------------------------------------


@contextmanager
def _version_1(trial: Trial) -> Iterator[DatabaseManager]:
    """The frozen first version of the schema, with rows in every table."""
    with trial.blank() as db:
        for script in ("schema.sql", "fill.sql"):
            answer = psql(db.settings.database_url, "-q", "--single-transaction", "-f", str(FROZEN / script))
            assert answer.returncode == 0, answer.stderr
        yield db


def killed_migrations(trial: Trial, folder: Path) -> Finding:
    """After a kill the schema is the old one or the new one, with all rows."""
    finding = Finding(
        "kill -9 of migrate",
        "db-utils migrate of the first schema version killed at random moments; then run to completion",
    )
    chances, hits, times, usual = trial.chances("migrate"), 0, trial.amount(5, 1), 4.0
    with timed(finding), trial.empty() as new:
        newest = snapshot(new)
        for _ in range(times):
            with _version_1(trial) as db:
                url, old, rows = db.settings.database_url, snapshot(db), content_hashes(db)
                columns = columns_of(db)  # those created by the migration were empty
                hits += killed(finding, url, folder, ("migrate",), chances, usual)
                alone(db)
                same(finding, "the schema", snapshot(db), old if schema.version(db) == 1 else newest)
                usual = _timed(lambda url=url: done(finding, url, folder, "migrate"))  # type: ignore[misc]
                same(finding, "the migrated schema", snapshot(db), newest)
                found = content_hashes(db, columns)
                finding.lost += sum(found.get(name) != held for name, held in rows.items())
    finding.seen = f"{hits} of {times} killed at work; every table's rows hash as before"
    return finding


def two_migrations(trial: Trial, folder: Path) -> Finding:
    """Two at once both succeed, and the schema is the same as after one."""
    finding = Finding(
        "two migrations at once", "two db-utils migrate of the first schema version at the same time"
    )
    times = trial.amount(4, 1)
    with timed(finding), trial.empty() as new:
        newest = snapshot(new)
        for _ in range(times):
            with _version_1(trial) as db:
                rows, columns = content_hashes(db), columns_of(db)
                both = [started(db.settings.database_url, folder, "migrate") for _ in range(2)]
                for answer in [ended(one) for one in both]:
                    finding.attempts += 1
                    finding.acknowledged += answer.code == 0
                    if answer.code:
                        finding.blame(answer.err.strip())
                same(finding, "the migrated schema", snapshot(db), newest)
                found = content_hashes(db, columns)
                finding.lost += sum(found.get(name) != held for name, held in rows.items())
    finding.seen = f"{times} pairs; every table's rows hash as before"
    return finding


# -- import -------------------------------------------------------------------------------------------------------


def killed_imports(trial: Trial, folder: Path) -> Finding:
    """A killed import has written the whole file or nothing, and can be repeated."""
    count = ROWS // 10 if trial.short else ROWS
    finding = Finding(
        "kill -9 of import",
        f"db-utils import of {count:,} rows killed at random moments; then run again to completion",
    )
    chances, hits, times, usual = trial.chances("import"), 0, trial.amount(8, 1), 4.0
    with trial.empty() as db, timed(finding):
        batches.prepare(db)
        url, start = db.settings.database_url, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        for number in range(times):
            file = folder / f"{number}.csv"
            with file.open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["time", "product_id", "location", "quantity"])
                writer.writerows(
                    [(start + n * dt.timedelta(minutes=1)).isoformat(), f"K{number}", "Hall", n]
                    for n in range(count)
                )
            arguments = ("import", str(file), "--into", "demand_history", "--organization", "Faults")
            hits += killed(finding, url, folder, arguments, chances, usual)
            alone(db)
            totals = "SELECT count(*)::int AS n, coalesce(sum(quantity), 0)::bigint AS total FROM demand_history WHERE product_id = %s"
            (found,) = db.execute_query(totals, (f"K{number}",))
            finding.half_written += found["n"] not in (0, count)
            usual = _timed(lambda arguments=arguments: done(finding, url, folder, *arguments))  # type: ignore[misc]
            (found,) = db.execute_query(totals, (f"K{number}",))
            finding.lost += max(0, count - found["n"])
            finding.doubled += max(0, found["n"] - count)
            if found["n"] == count and found["total"] != count * (count - 1) // 2:
                finding.blame("the imported quantities do not add up")
    finding.seen = f"{hits} of {times} killed at work"
    return finding


# -- a full disk --------------------------------------------------------------------------------------------------


@contextmanager
def _small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A file system of this size; None if this user may not mount one."""
    place = folder / "small"
    place.mkdir()
    options = f"size={kilobytes}k,mode=0777"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


CANNOT_MOUNT = "only root can mount the small file system that is to be filled"


def full_disk_for_a_backup(trial: Trial, folder: Path) -> Finding:
    """A backup onto a disk that fills up leaves nothing there and reports it; with space it succeeds."""
    finding = Finding(
        "disk full: backup",
        "db-utils backup onto file systems of 16 to 512 kB; afterwards with enough space",
    )
    sizes = [16, 64, 128, 256, 512] if not trial.short else [128]
    with trial.seeded() as db, timed(finding):
        before = content_hashes(db)
        for size in sizes:
            with _small_disk(folder, size) as small:
                if small is None:
                    finding.not_run = CANNOT_MOUNT
                    return finding
                answer = done(
                    finding, db.settings.database_url, folder, "backup", "--out", str(small), code=1
                )
                if len(answer.err.splitlines()) != 1 or "space" not in answer.err:
                    finding.blame(f"said: {answer.err!r}")
                finding.half_written += len(os.listdir(small))  # noqa: PTH208 - hidden ones too
            (folder / "small").rmdir()
        done(finding, db.settings.database_url, folder, "backup", "--out", str(folder), "--verify")
        before.pop("backup_runs", None)
        after = content_hashes(db)
        finding.lost += sum(after[name] != held for name, held in before.items())
    finding.seen = f"{len(sizes)} sizes, each refused in one sentence; nothing is left on the small disk"
    return finding


def full_disk_for_the_server(trial: Trial, folder: Path) -> Finding:
    """Loads into a table whose disk fills up keep all acknowledged rows and none of the refused ones."""
    finding = Finding(
        "disk full: server",
        "copy_rows, upsert_many and execute_many of 1,000 rows each into a table on a file system of 2 MB until it is full",
    )
    with (
        own_server() as server,
        DatabaseManager(server.socket_url) as db,
        timed(finding),
        _small_disk(folder, 2048) as small,
    ):
        if small is None:
            finding.not_run = CANNOT_MOUNT
            return finding
        space = small / "space"
        space.mkdir()
        owner = (server.folder / "pgdata").stat()
        os.chown(space, owner.st_uid, owner.st_gid)
        name = "faults"
        with db.connection() as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE TABLESPACE {name} LOCATION '{space}'")
        try:
            db.execute(f"CREATE TABLE facts (id bigint PRIMARY KEY, payload text) TABLESPACE {name}")
            expected = _fill(db, finding)
            found = {row["id"] for row in db.execute_query("SELECT id FROM facts")}
            finding.lost += len(expected - found)
            finding.half_written += len(found - expected)
            db.execute("DROP TABLE facts")
        finally:
            with db.connection() as connection:
                connection.autocommit = True
                connection.cursor().execute(f"DROP TABLESPACE {name}")
    finding.seen = (
        f"{finding.attempts - finding.acknowledged} loads refused with ResourceExhaustedError; "
        f"{len(expected):,} acknowledged rows looked up"
    )
    return finding


def _fill(db: DatabaseManager, finding: Finding) -> set[int]:
    """Load until every way of loading was refused; return the acknowledged rows."""
    expected: set[int] = set()
    refused: set[int] = set()
    number = 0
    while len(refused) < 3 and number < 200:
        rows = [(number * 1000 + n, "x" * 40) for n in range(1000)]
        loads: list[Callable[[], int]] = [
            lambda rows=rows: db.copy_rows("facts", ["id", "payload"], rows),  # type: ignore[misc]
            lambda rows=rows: db.upsert_many("facts", ["id", "payload"], rows, conflict_columns=["id"]),  # type: ignore[misc]
            lambda rows=rows: db.execute_many("INSERT INTO facts (id, payload) VALUES %s", rows),  # type: ignore[misc]
        ]
        finding.attempts += 1
        try:
            loads[number % 3]()
        except errors.ResourceExhaustedError:
            refused.add(number % 3)
        except Exception as error:
            finding.blame(f"{type(error).__name__}: {error}")
            refused.add(number % 3)
        else:
            finding.acknowledged += 1
            expected |= {row[0] for row in rows}
        number += 1
    return expected
