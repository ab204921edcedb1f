"""Lets SQLAlchemy draw from the pool of a DatabaseManager: for pandas, and for one's own models."""

from __future__ import annotations

from typing import Any

import sqlalchemy
import sqlalchemy.pool

from db_utils.connections.checkout import Lease
from db_utils.connections.pool import ConnectionPool
from db_utils.connections.pooler import check_session


class _BorrowingPool(sqlalchemy.pool.NullPool):
    """SQLAlchemy's pool that keeps nothing: it opens by borrowing from ours, and closes by giving back."""

    lender: ConnectionPool

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        lease = _borrowed.pop(id(connection), None)
        if lease is None:
            return
        if terminate:
            self.lender.discard(lease)
            return
        self.lender.give(lease)

    def _invalidate(self, *arguments: Any, **options: Any) -> None:
        super()._invalidate(*arguments, **options)
        self.lender.renew()


_borrowed: dict[int, Lease] = {}


def engine(lender: ConnectionPool) -> sqlalchemy.Engine:
    """A SQLAlchemy engine whose connections come from this pool, one for each that is in use."""

    def borrow() -> Any:
        lease = lender.take_answering()
        connection = lease.lend()
        connection.autocommit = False
        _borrowed[id(connection)] = lease
        return connection

    pool = _BorrowingPool(borrow)
    pool.lender = lender
    made = sqlalchemy.create_engine(
        "postgresql+psycopg2://", pool=pool, use_native_hstore=False, hide_parameters=True
    )
    sqlalchemy.event.listen(made, "begin", _begin)
    return made


def _begin(connection: sqlalchemy.Connection) -> None:
    """Make the library's settings in a transaction behind a pooler, which keeps none between two."""
    driver: Any = connection.connection.dbapi_connection
    lease = _borrowed.get(id(driver))
    if lease is None or not lease.preamble:
        return
    if driver.autocommit:
        check_session(lease, "AUTOCOMMIT")
    with driver.cursor() as cursor:
        cursor.execute(lease.preamble)
