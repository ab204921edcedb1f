"""Apply the schema in one transaction, with the same files as at the container's first start."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors

from db_utils.connections.transaction import without_deadline
from db_utils.errors import DbUtilsError, QueryTimeoutError, SchemaError, SessionUnavailableError, translate
from db_utils.schema import source, state
from db_utils.schema.running import run_file
from db_utils.schema.source import SchemaFile
from db_utils.values import Json

if TYPE_CHECKING:
    from datetime import datetime

    from db_utils.connections.manager import DatabaseManager
    from db_utils.connections.transaction import Transaction

_REFRESH_RETRY_SECONDS = 0.5
# TimescaleDB logs two messages with context for each bucket that it checks: thousands of useless lines.
_QUIET = "SELECT set_config('log_min_messages', 'fatal', false) FROM pg_roles WHERE rolname = current_user AND rolsuper"
# A scheduled refresh of the same rollup, or the columnstore converting the chunk of a late row.
_IN_THE_WAY = (
    psycopg2.errors.LockNotAvailable,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.SerializationFailure,
)


def apply(db: DatabaseManager, *, on_file: Callable[[SchemaFile], object] | None = None) -> None:
    """Upgrade this database to the schema of this version, in one transaction; safe to repeat.

    Concurrent calls wait for each other. `on_file` is called before each file. Raises `SchemaError` if the
    server is older than PostgreSQL 16, if the database has a newer schema than this library, and, with file
    and line, for a failed statement; everything is rolled back then.
    """
    state.require_server(db)
    with db.transaction() as transaction, without_deadline(transaction):
        take_lock(transaction)
        apply_within(transaction, on_file)


def take_lock(transaction: Transaction) -> None:
    """Take the schema lock until the transaction ends."""
    transaction.execute("SET LOCAL lock_timeout = 0")
    transaction.execute_query("SELECT pg_advisory_xact_lock(hashtextextended('barnameh schema', 0))")


def apply_within(transaction: Transaction, on_file: Callable[[SchemaFile], object] | None = None) -> None:
    """Apply the schema inside a transaction that has the lock, and record the files."""
    refuse_newer(state.version(transaction))
    transaction.execute("SET LOCAL client_min_messages = warning")
    files = source.files()
    is_citus = state.has_citus(transaction)
    for file in files:
        if on_file is not None:
            on_file(file)
        run_file(transaction, file, one_by_one=is_citus)
    transaction.execute(
        "UPDATE public.schema_version SET file_checksums = %s WHERE version = %s",
        (Json({file.name: file.checksum for file in files}), source.latest_version()),
    )


def refuse_newer(version: int | None) -> None:
    """Raise `SchemaError` if this schema version of a database is newer than this library's."""
    if version is not None and version > source.latest_version():
        raise SchemaError(
            f"the database has schema version {version} but this library has version {source.latest_version()}: a schema "
            "is never downgraded, so use a newer release of the library"
        )


def refresh_rollups(
    db: DatabaseManager,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    wait_seconds: float = 1800.0,
) -> None:
    """Refresh the rollups now, instead of at their next scheduled refresh.

    Only `start` <= time < `end` (aware), if given. Retries for up to `wait_seconds` while a scheduled job
    refreshes the same rollup, because two refreshes cannot run at once (after a load of tens of millions of
    rows one takes minutes); then raises `QueryTimeoutError` with the SQLSTATE of the last attempt (55P03,
    40P01 or 40001).
    """
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            _refresh(db, start, end, max(1.0, wait_seconds))
            return
        except _IN_THE_WAY as error:
            if time.monotonic() > give_up_at:
                raise QueryTimeoutError(
                    f"a scheduled job was still refreshing the rollups after {wait_seconds:g} s: the next refresh includes the "
                    "rest, or pass a larger wait_seconds",
                    sqlstate=error.pgcode,
                ) from error
            time.sleep(_REFRESH_RETRY_SECONDS)
        except psycopg2.Error as error:
            raise translate(error) from error


def refresh_newest_rollups(
    db: DatabaseManager, *, start: datetime, end: datetime, seconds: float
) -> datetime:
    """Refresh the rollups of `start` <= time < `end`, newest first, for about this many seconds.

    Returns the time from which on (up to `end`) they are current. A refresh recomputes the buckets of all
    organizations, so a few late rows of one would wait for millions of others; the scheduled refreshes do the
    rest, and the prebuilt queries do not depend on it.
    """
    give_up_at = time.monotonic() + seconds
    width, first = timedelta(days=1), end
    if state.edition(db) != "community":
        width = end - start  # nothing is stored in this edition
    while first > start:
        begun = time.monotonic()
        slice_start = max(start, first - width)
        refresh_rollups(db, start=slice_start, end=first)
        first, now = slice_start, time.monotonic()
        if now + (now - begun) > give_up_at:
            break
        if 4 * (now - begun) < give_up_at - now:
            width *= 2
    return first


def _refresh(db: DatabaseManager, start: datetime | None, end: datetime | None, seconds: float) -> None:
    call = "CALL refresh_rollups(%s, %s)"
    try:
        with db.connection() as connection:
            connection.autocommit = True  # a refresh refuses a transaction block
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
                cursor.execute(_QUIET)
                cursor.execute(call, (start, end))
    except SessionUnavailableError:  # behind a pooler, where the server's own timeouts apply
        try:
            db.execute(call, (start, end), timeout_seconds=seconds)
        except DbUtilsError as error:
            if isinstance(error.__cause__, psycopg2.Error):
                raise error.__cause__ from None  # handled and translated by the caller
            raise
