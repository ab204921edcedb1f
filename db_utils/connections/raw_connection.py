"""The driver's own connection, lent to the caller and reset afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from db_utils.connections.pool import ConnectionPool
from db_utils.connections.pooler import check_session
from db_utils.connections.statement import run
from db_utils.errors import translate
from db_utils.values import fetch_count


@contextmanager
def raw_connection(
    pool: ConnectionPool, settings: str = "", *, one_transaction: bool = False
) -> Iterator[Any]:
    """A psycopg2 connection in its usual mode, after the statements in `settings`.

    Refused behind a transaction-pooling pooler, unless the caller stays within
    `one_transaction`. Commits when the block ends, rolls back when it raises; its session is reset before
    anyone else gets it. A process forked inside the block leaves it without contacting the server.
    """
    checkout = pool.take_answering()
    connection = checkout.lend()
    try:
        if not one_transaction:
            check_session(checkout, "connection()")
        if settings:
            run(checkout, settings, None, fetch_count)
        connection.autocommit = False
        if checkout.preamble:
            run(checkout, checkout.preamble, None, fetch_count)
        try:
            yield connection
        except BaseException:
            if pool.owns(checkout) and not connection.closed:
                connection.rollback()
            raise
        if pool.owns(checkout) and not connection.closed:
            try:
                connection.commit()
            except psycopg2.Error as error:
                raise translate(error) from error
    finally:
        pool.give(checkout)
