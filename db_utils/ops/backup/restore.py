"""Restore a backup into a scratch database, check it there, and let it replace the target at the end.

So the target is empty or complete at every moment: after an interrupted restore there is nothing to clean up
by hand.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from db_utils.errors import BackupError
from db_utils.ops.backup import manifest as manifests
from db_utils.ops.backup.contents import contents, differences, refuse_citus
from db_utils.ops.backup.dump import Say
from db_utils.ops.backup.encryption import Key
from db_utils.ops.backup.endpoint import MAINTENANCE_DATABASE, Endpoint
from db_utils.ops.backup.manifest import Manifest
from db_utils.ops.backup.pipes import feed
from db_utils.ops.backup.psql import PsqlSession
from db_utils.ops.backup.roles import RestoredRoles, Role, read_roles, restore_roles
from db_utils.ops.backup.temporary_database import exists, swap, temporary_database
from db_utils.schema import source
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import identifier, literal

_SQL = sql_beside(__name__)


@dataclass(frozen=True)
class Restored:
    """A restored database."""

    database: str
    manifest: Manifest
    roles: RestoredRoles
    seconds: float
    is_compared: bool
    """Whether every table was compared with the manifest."""


def restore(
    endpoint: Endpoint,
    folder: Path,
    *,
    key: Key | None = None,
    compare: bool = False,
    create_database: bool = False,
    jobs: int = 1,
    say: Say = lambda step: None,
) -> Restored:
    """Restore the backup in this folder into the endpoint's database, which must be empty.

    `compare` counts and hashes every table and refuses one that differs from the manifest; `create_database`
    creates the database if it does not exist; `jobs` is the number of connections, on plain PostgreSQL from
    an unencrypted backup. Missing roles are created; existing ones are left unchanged. Raises `BackupError`,
    and then the database is still empty.
    """
    began = time.monotonic()
    manifest = _checked(folder, key, say)
    _require_fitting(endpoint, manifest, jobs)
    with PsqlSession(endpoint, database=MAINTENANCE_DATABASE) as server:
        lock = f"hashtextextended({literal('db_utils restore into ' + endpoint.database)}, 0)"
        if not server.value(f"SELECT pg_try_advisory_lock({lock})"):
            raise BackupError(
                f"another restore into {endpoint.database} is in progress: wait until it has finished"
            )
        if not exists(server, endpoint.database):
            if not create_database:
                raise BackupError(
                    f"the server has no database {endpoint.database}: create it, or use --create-database"
                )
            server.script(f"CREATE DATABASE {identifier(endpoint.database)} TEMPLATE template0;")
        _require_empty(endpoint)
        with _restored(endpoint, folder, manifest, key, jobs, say) as (scratch, elsewhere, roles):
            if compare:
                say("comparing every table")
                _compare(endpoint, scratch, manifest)
            say("checking the schema, gathering statistics")
            with PsqlSession(endpoint, database=scratch) as session:
                _require_schema(session, manifest)
                session.script("SET statement_timeout = 0; SET client_min_messages = error; ANALYZE;")
            _require_empty(endpoint)
            swap(elsewhere, scratch, endpoint.database)
    if manifest.database.timescaledb is not None:
        with PsqlSession(endpoint) as session:
            session.script("SELECT _timescaledb_functions.start_background_workers();")
    return Restored(endpoint.database, manifest, roles, time.monotonic() - began, compare)


def verify(
    endpoint: Endpoint, folder: Path, *, key: Key | None = None, say: Say = lambda step: None
) -> float:
    """Restore a backup to check it and return how many seconds that took.

    Restores it into a scratch database of the same server, which is dropped afterwards, and compares the rows
    and contents of every table with the manifest. Raises `BackupError` if anything differs.
    """
    began = time.monotonic()
    manifest = _checked(folder, key, say)
    _require_fitting(endpoint, manifest, 1)
    with _restored(endpoint, folder, manifest, key, 1, say) as (scratch, _, _):
        say("comparing every table")
        _compare(endpoint, scratch, manifest)
    return time.monotonic() - began


def _checked(folder: Path, key: Key | None, say: Say) -> Manifest:
    folder = folder.expanduser().resolve()
    say("checking the files")
    manifest = manifests.read(folder)
    manifests.check(folder, manifest, key)
    return manifest


def _require_fitting(endpoint: Endpoint, manifest: Manifest, jobs: int) -> None:
    """Raise if this server or this release cannot restore the backup, before anything is created."""
    was = manifest.database
    if endpoint.major < was.postgresql_major:
        raise BackupError(
            f"the backup is from PostgreSQL {was.postgresql} but the server is PostgreSQL {endpoint.major}: restore it into "
            f"{was.postgresql_major} or later"
        )
    if was.schema_version is not None and was.schema_version > source.latest_version():
        raise BackupError(
            f"the backup has schema version {was.schema_version} but this library supports {source.latest_version()}: use a newer "
            "release of the library"
        )
    if jobs > 1 and was.timescaledb is not None:
        raise BackupError("jobs must be 1: TimescaleDB's catalog can only be restored in order")
    if jobs > 1 and manifest.key is not None:
        raise BackupError("jobs must be 1: an encrypted backup is read from its beginning to its end")
    with PsqlSession(endpoint, database=MAINTENANCE_DATABASE) as server:
        there = {row["rolname"] for row in server.rows("SELECT rolname FROM pg_roles")}
        lacking = sorted(set(was.job_owners) - there)
        if lacking:
            raise BackupError(
                f"the server has no role {', '.join(lacking)}, owner of TimescaleDB's jobs in the backup: make it first (CREATE ROLE)"
            )
        if was.timescaledb is None:
            return
        versions = [
            row["version"]
            for row in server.rows(
                "SELECT version FROM pg_available_extension_versions WHERE name = 'timescaledb'"
            )
        ]
        if was.timescaledb not in versions:
            raise BackupError(
                f"the backup is from TimescaleDB {was.timescaledb} and the server has {', '.join(sorted(versions)) or 'none'}: restore "
                f"it where {was.timescaledb} is installed (the image of that version), and update the extension there afterwards"
            )


def _require_empty(endpoint: Endpoint) -> None:
    with PsqlSession(endpoint) as session:
        refuse_citus(session)
        found = [row["object"] for row in session.rows(_SQL["objects"])]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise BackupError(
            f"{endpoint.database} is not empty (it has {', '.join(found[:3])}{more}): restore into an empty database, such as a "
            "new one with --create-database"
        )


@contextlib.contextmanager
def _restored(
    endpoint: Endpoint, folder: Path, manifest: Manifest, key: Key | None, jobs: int, say: Say
) -> Iterator[tuple[str, PsqlSession, RestoredRoles]]:
    """Restore the backup into a scratch database, with TimescaleDB's jobs stopped."""
    folder = folder.expanduser().resolve()
    like, needed = endpoint.database, _roles(folder, manifest, key)
    with temporary_database(endpoint, like=like) as (scratch, server):
        roles = restore_roles(server, needed, manifest.database.owner)
        say("restoring the tables")
        if manifest.database.timescaledb is not None:
            with PsqlSession(endpoint, database=scratch) as session:
                _prepare_timescaledb(session, manifest.database.timescaledb, manifest.database.edition)
        options = ["--no-owner", "--exit-on-error"]
        dump = folder / manifest.dump.file
        if jobs > 1:
            feed(
                endpoint,
                lambda _: None,
                "pg_restore",
                *options,
                f"--jobs={jobs}",
                str(dump),
                database=scratch,
            )
        else:
            feed(
                endpoint,
                partial(manifests.pour, folder, manifest, manifest.dump, key),
                "pg_restore",
                *options,
                database=scratch,
            )
        if manifest.database.timescaledb is not None:
            with PsqlSession(endpoint, database=scratch) as session:
                # Jobs would change the contents to be compared: they are stopped until the database is
                # renamed.
                session.script(
                    "BEGIN; SELECT timescaledb_post_restore(); SELECT _timescaledb_functions.stop_background_workers(); COMMIT;"
                )
        yield scratch, server, roles


def _prepare_timescaledb(session: PsqlSession, version: str, edition: str) -> None:
    session.script("SET client_min_messages = warning;")
    session.script(f"CREATE EXTENSION timescaledb VERSION {literal(version)};")
    there = session.value("SELECT current_setting('timescaledb.license', true) AS license")
    if edition == "community" and there != "timescale":
        raise BackupError(
            "the backup is from TimescaleDB's community edition (columnstore, continuous aggregates) and the server has "
            f"timescaledb.license = {there}: restore it where that is timescale, as in the image of docker-compose.yml"
        )
    session.script("SELECT timescaledb_pre_restore();")


def _roles(folder: Path, manifest: Manifest, key: Key | None) -> list[Role]:
    text = io.BytesIO()
    manifests.pour(folder, manifest, manifest.roles, key, text)
    try:
        return read_roles(json.loads(text.getvalue()))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BackupError(
            f"{folder / manifest.roles.file} is damaged ({error}): use another copy of the backup"
        ) from error


def _compare(endpoint: Endpoint, scratch: str, manifest: Manifest) -> None:
    with PsqlSession(endpoint, database=scratch) as session:
        _, found = contents(session)
    different = differences(manifest.tables, found)
    if different:
        more = f", and {len(different) - 3} more" if len(different) > 3 else ""
        raise BackupError(f"the restored data differ from the backup: {'; '.join(different[:3])}{more}")


def _require_schema(session: PsqlSession, manifest: Manifest) -> None:
    """Raise if the restored schema lacks something. An older one is left to `migrate`."""
    if manifest.database.schema_version == source.latest_version():
        session.script(source.file("sql", "verify.sql").text)
