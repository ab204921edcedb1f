"""A SQLAlchemy engine on the pool of a DatabaseManager, for pandas and for your own models."""

from __future__ import annotations

from typing import Any

import sqlalchemy
import sqlalchemy.pool

from db_utils.connections.checkout import Checkout
from db_utils.connections.pool import ConnectionPool
from db_utils.connections.pooler import check_session


class _BorrowingPool(sqlalchemy.pool.NullPool):
    """A SQLAlchemy pool that keeps no connections: it borrows from ours and returns them on close."""

    lender: ConnectionPool

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        checkout = _borrowed.pop(id(connection), None)
        if checkout is None:
            return
        if terminate:
            self.lender.discard(checkout)
            return
        self.lender.give(checkout)

    def _invalidate(self, *arguments: Any, **options: Any) -> None:
        super()._invalidate(*arguments, **options)
        self.lender.renew()


_borrowed: dict[int, Checkout] = {}


def engine(lender: ConnectionPool) -> sqlalchemy.Engine:
    """Return a SQLAlchemy engine whose connections come from this pool."""

    def borrow() -> Any:
        checkout = lender.take_answering()
        connection = checkout.lend()
        connection.autocommit = False
        _borrowed[id(connection)] = checkout
        return connection

    pool = _BorrowingPool(borrow)
    pool.lender = lender
    made = sqlalchemy.create_engine(
        "postgresql+psycopg2://", pool=pool, use_native_hstore=False, hide_parameters=True
    )
    sqlalchemy.event.listen(made, "begin", _begin)
    return made


def _begin(connection: sqlalchemy.Connection) -> None:
    """Apply the library's settings in each transaction behind a pooler, which keeps none between them."""
    driver: Any = connection.connection.dbapi_connection
    checkout = _borrowed.get(id(driver))
    if checkout is None or not checkout.preamble:
        return
    if driver.autocommit:
        check_session(checkout, "AUTOCOMMIT")
    with driver.cursor() as cursor:
        cursor.execute(checkout.preamble)
