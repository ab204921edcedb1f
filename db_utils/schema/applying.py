"""Applies the schema: all of it in one transaction, with the same files as at the container's first start."""

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
# TimescaleDB logs two messages with their contexts for each bucket that it looks at: thousands of lines for nothing.
_QUIET = "SELECT set_config('log_min_messages', 'fatal', false) FROM pg_roles WHERE rolname = current_user AND rolsuper"
# A scheduled refresh of the same rollup, or the columnstore taking the chunk that a late row belongs to.
_IN_THE_WAY = (
    psycopg2.errors.LockNotAvailable,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.SerializationFailure,
)


def apply(db: DatabaseManager, *, on_file: Callable[[SchemaFile], object] | None = None) -> None:
    """Bring this database to the schema of this version: all of it in one transaction, safe to repeat.

    Two at once wait for each other. `on_file` is called before each file. Raises `SchemaError` where the server is older
    than PostgreSQL 16, where the database has a newer schema than this library brings, and, with its file and line,
    for a statement that failed; nothing is kept then.
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
    """Apply the schema inside a transaction that has the lock, and write down which files it were."""
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
    """Raise `SchemaError` where a database of this schema version is newer than what this library brings."""
    if version is not None and version > source.latest_version():
        raise SchemaError(
            f"the database has schema version {version} and this library brings version {source.latest_version()}: a schema "
            "is never taken back, so use a release of the library that knows it"
        )


def refresh_rollups(
    db: DatabaseManager,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    wait_seconds: float = 1800.0,
) -> None:
    """Bring the rollups up to the rows now, instead of at their next scheduled refresh.

    Only those of `start` <= time < `end` (aware) where they are given. Tries for up to `wait_seconds` while a scheduled job is at
    work on the same rollup, because two refreshes do not go together (after a load of tens of millions of rows one takes
    minutes); then raises `QueryTimeoutError` with the SQLSTATE of the last attempt (55P03, 40P01 or 40001).
    """
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            _refresh(db, start, end, max(1.0, wait_seconds))
            return
        except _IN_THE_WAY as error:
            if time.monotonic() > give_up_at:
                raise QueryTimeoutError(
                    f"a scheduled job was still at work on the rollups after {wait_seconds:g} s: the next refresh takes in what is "
                    "left, or ask for more wait_seconds",
                    sqlstate=error.pgcode,
                ) from error
            time.sleep(_REFRESH_RETRY_SECONDS)
        except psycopg2.Error as error:
            raise translate(error) from error


def refresh_newest_rollups(
    db: DatabaseManager, *, start: datetime, end: datetime, seconds: float
) -> datetime:
    """Bring the rollups of `start` <= time < `end` up to the rows for about so many seconds, the newest first.

    Returns from when on (up to `end`) they are. A refresh makes the buckets of all organizations anew, so that a few late rows of one would
    wait for millions of others; what is left is done by the scheduled refreshes, and the prebuilt queries do not wait for it.
    """
    give_up_at = time.monotonic() + seconds
    width, first = timedelta(days=1), end
    if state.edition(db) != "community":
        width = end - start  # nothing is stored there
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
    except SessionUnavailableError:  # behind a pooler, where the server's own timeouts hold
        try:
            db.execute(call, (start, end), timeout_seconds=seconds)
        except DbUtilsError as error:
            if isinstance(error.__cause__, psycopg2.Error):
                raise error.__cause__ from None  # told apart, and translated, by the caller
            raise
