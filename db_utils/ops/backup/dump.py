"""Make a backup: one folder, which appears only once complete."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from db_utils.errors import BackupError
from db_utils.ops.backup.contents import contents, refuse_citus
from db_utils.ops.backup.encryption import Hashing, Key, seal
from db_utils.ops.backup.endpoint import Endpoint
from db_utils.ops.backup.manifest import DUMP, FILE, FORMAT, ROLES, SEALED, File, Manifest
from db_utils.ops.backup.pipes import output_of
from db_utils.ops.backup.psql import PsqlSession
from db_utils.schema.source import folder as source_folder
from db_utils.sql_text import literal

if sys.platform != "win32":
    import fcntl

_PARTIAL = ".partial"
Say = Callable[[str], object]


@dataclass(frozen=True)
class Backup:
    """A completed backup."""

    folder: Path
    manifest: Manifest
    seconds: float
    is_recorded: bool
    """Whether it is recorded in backup_runs: not before schema version 4, or without permission."""


def backup(endpoint: Endpoint, out: Path, *, key: Key | None = None, say: Say = lambda step: None) -> Backup:
    """Back up a database and return where the backup is.

    `out` is an existing folder, in which a new folder named after database and time is created, or the name
    of the backup's new folder. It contains the rows committed when it began; reads and writes are not
    blocked. With a `key` everything but the manifest is encrypted. Raises `BackupError`, and then leaves
    nothing that looks like a backup.
    """
    began = time.monotonic()
    with _partial(endpoint, out) as (partial, final), PsqlSession(endpoint) as session:
        refuse_citus(session)
        snapshot = _snapshot(session)
        say("dumping the tables")
        with output_of(endpoint, "pg_dump", "--format=custom", f"--snapshot={snapshot}") as dumped:
            dump = _write(partial, DUMP, dumped, key)
        say("counting and hashing the rows of the snapshot")
        (roles_text,) = session.file(source_folder("sql") / "backup" / "roles.sql")
        roles = _write(partial, ROLES, [roles_text.encode()], key)
        database, tables = contents(session)
        manifest = Manifest(
            backup_id=str(uuid.uuid4()),
            database=database,
            dump=dump,
            roles=roles,
            tables=tables,
            made_by="db_utils backup",
            key=None if key is None else key.fingerprint,
        )
        if key is not None:
            manifest = dataclasses.replace(manifest, signature=key.sign(manifest.unsigned()))
        _write(partial, FILE, [manifest.text().encode()], None)
        final = _publish(partial, final, may_count=out.expanduser().is_dir())
    return Backup(final, manifest, time.monotonic() - began, _record(endpoint, final, manifest))


def record_verified(endpoint: Endpoint, manifest: Manifest, seconds: float) -> None:
    """Record that a backup was restored and compared."""
    with PsqlSession(endpoint) as session:
        session.script(
            "UPDATE public.backup_runs SET verified_at = now(), "
            f"verification_seconds = round({seconds:.3f}, 3) WHERE backup_id = {literal(manifest.backup_id)};"
        )


def _snapshot(session: PsqlSession) -> str:
    lines = session.script(
        (source_folder("sql") / "backup" / "snapshot.sql").read_text(encoding="utf-8") + "\\echo :snapshot"
    )
    return lines[-1]


def _record(endpoint: Endpoint, final: Path, manifest: Manifest) -> bool:
    values = (
        manifest.backup_id, manifest.database.taken_at, f"{endpoint.host}:{final}", manifest.dump.size_bytes, manifest.dump.sha256,
    )  # fmt: skip
    try:
        with PsqlSession(endpoint) as session:
            session.script(
                "INSERT INTO public.backup_runs (backup_id, started_at, location, size_bytes, sha256, is_encrypted) "
                f"VALUES ({', '.join(literal(value) for value in values)}, {manifest.key is not None});"
            )
    except BackupError:
        return False  # the backup itself is valid
    return True


# -- the folder -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _partial(endpoint: Endpoint, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a new hidden folder and its final name; removed after the block unless renamed."""
    out = out.expanduser().resolve()
    final = out / _name(endpoint) if out.is_dir() else out
    partial = final.parent / f".{final.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}"
    if final.exists() and final == out:
        raise BackupError(
            f"{final} already exists: give a folder, in which each backup gets its own, or a new name"
        )
    try:
        partial.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise BackupError(f"cannot write to {final.parent}: {error.strerror}") from error
    with (partial / ".lock").open("w") as lock:
        _lock(lock, wait=True)
        _remove_abandoned(final.parent)
        try:
            yield partial, final
        except OSError as error:
            raise BackupError(f"cannot write to {final.parent}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _lock(file: IO[str], *, wait: bool) -> None:
    """Lock the file until it is closed. Raises `OSError` if it is locked and `wait` is false."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif not wait:
        raise BlockingIOError("no file locks on Windows: remains of killed backups are kept")


def _name(endpoint: Endpoint) -> str:
    now = datetime.datetime.now(datetime.UTC)
    return f"{endpoint.database.replace('/', '_')}-{now:%Y%m%dT%H%M%SZ}"


def _remove_abandoned(parent: Path) -> None:
    """Remove the remains of killed backups, whose locks are free."""
    for folder in parent.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(OSError), (folder / ".lock").open("r+") as lock:
            _lock(lock, wait=False)
            shutil.rmtree(folder)


def _write(folder: Path, name: str, pieces: Iterable[bytes], key: Key | None) -> File:
    path = folder / (name if key is None else name + SEALED[FORMAT])
    with path.open("xb") as file:
        path.chmod(0o600)
        into = Hashing(file)
        if key is None:
            for piece in pieces:
                into.write(piece)
        else:
            seal(pieces, key, into)
        file.flush()
        os.fsync(file.fileno())
    return File(path.name, into.size, into.hexdigest())


def _publish(partial: Path, final: Path, *, may_count: bool) -> Path:
    """Rename the complete backup atomically, so that after a power cut it is complete or absent.

    If another backup of the same second has the name, `may_count` appends the next number.
    """
    (partial / ".lock").unlink()
    _sync(partial)
    wanted, count = final, 1
    while True:
        try:
            partial.rename(wanted)
            break
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if not may_count:
                raise BackupError(
                    f"{final} already exists: another backup was faster, choose another name"
                ) from error
            count += 1
            wanted = final.with_name(f"{final.name}-{count}")
    _sync(final.parent)
    return wanted


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
