"""Advisory locks by name, for what only one process may do at a time, on any machine.

A lock ends with the session that holds it, so a killed process leaves none behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.errors import InsufficientPrivilege

from barnameh.errors import CustomerLoginError, UsageError
from db_utils import DatabaseManager


def take(cursor: Any, name: str) -> bool:
    """Try to take the lock of this name for the cursor's session; return whether it was free.

    An application's own login has that right in the tenant role only. `CustomerLoginError` for a customer's login.
    """
    cursor.execute("SELECT has_function_privilege('pg_try_advisory_lock(bigint)', 'EXECUTE')")
    if not cursor.fetchone()[0]:
        try:
            cursor.execute("SET ROLE barnameh_tenant")
        except InsufficientPrivilege:
            raise CustomerLoginError from None
    cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
    return bool(cursor.fetchone()[0])


def release(cursor: Any, name: str) -> None:
    """Release the lock of this name."""
    cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


@contextmanager
def session(db: DatabaseManager) -> Iterator[Any]:
    """Return a cursor of a session that may hold locks for long, without a transaction."""
    with db.connection() as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@contextmanager
def held(db: DatabaseManager, name: str, busy: str) -> Iterator[None]:
    """Hold the lock of this name; raise `UsageError` with the message `busy` if it is taken."""
    with session(db) as cursor:
        if not take(cursor, name):
            raise UsageError(busy)
        try:
            yield
        finally:
            release(cursor, name)
