"""The driver's own connection, lent to the caller and cleaned afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from db_utils.connections.lease import Lease
from db_utils.connections.pool import ConnectionPool
from db_utils.connections.statement import run
from db_utils.errors import DbUtilsError, translate
from db_utils.values import fetch_count


@contextmanager
def raw_connection(pool: ConnectionPool, settings: str = "") -> Iterator[Any]:
    """A psycopg2 connection in its usual mode, after the statements in `settings`.

    Commits when the block ends, rolls back when it raises; its session is reset before anyone else gets it.
    """
    lease = pool.take_answering()
    connection = lease.connection
    try:
        if settings:
            run(lease, settings, None, fetch_count)
        connection.autocommit = False
        try:
            yield connection
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        if not connection.closed:
            try:
                connection.commit()
            except psycopg2.Error as error:
                raise translate(error) from error
    finally:
        _reset(pool, lease)


def _reset(pool: ConnectionPool, lease: Lease) -> None:
    connection = lease.connection
    try:
        if not connection.closed:
            connection.rollback()
            connection.isolation_level = None
            connection.readonly = None
            connection.deferrable = None
            connection.autocommit = True
            connection.cursor_factory = None
            run(lease, "DISCARD ALL", None, fetch_count)
    except (DbUtilsError, psycopg2.Error):
        pool.discard(lease)
    except BaseException:
        pool.discard(lease)
        raise
    else:
        pool.give(lease)
