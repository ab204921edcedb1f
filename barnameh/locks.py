"""Advisory locks by name: who does something that only one process may do at a time, on any machine.

A lock belongs to the session that takes it and ends with it, so a process that is killed leaves none behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from barnameh.errors import UsageError
from db_utils import DatabaseManager


def take(cursor: Any, name: str) -> bool:
    """Take the lock of this name for the cursor's session; return whether nobody else has it."""
    cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
    return bool(cursor.fetchone()[0])


def release(cursor: Any, name: str) -> None:
    """Give the lock of this name back."""
    cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


@contextmanager
def session(db: DatabaseManager) -> Iterator[Any]:
    """A cursor of a session that may hold locks for long, without a transaction."""
    with db.connection() as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@contextmanager
def held(db: DatabaseManager, name: str, busy: str) -> Iterator[None]:
    """Hold the lock of this name; `UsageError` with the sentence `busy` where someone else does."""
    with session(db) as cursor:
        if not take(cursor, name):
            raise UsageError(busy)
        try:
            yield
        finally:
            release(cursor, name)
