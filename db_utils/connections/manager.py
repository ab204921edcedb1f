"""DatabaseManager: the entry point to the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from db_utils.config import Settings
from db_utils.connections import planned_once
from db_utils.connections.checkout import Checkout
from db_utils.connections.citus_nodes import dead_workers
from db_utils.connections.executor import Executor, FrameOptions
from db_utils.connections.listen import Listener, check_channels, check_no_kinds
from db_utils.connections.pool import ConnectionPool, PoolStats
from db_utils.connections.pooler import NO_BLOCK_STATES, check_statement
from db_utils.connections.raw_connection import raw_connection
from db_utils.connections.replica import Replica, ReplicaState
from db_utils.connections.retry import exponential_delay
from db_utils.connections.statement import (
    Statement,
    bound,
    check_query,
    check_timeout,
    loading,
    run,
    text_of,
)
from db_utils.connections.telemetry import watched
from db_utils.connections.tenant import TenantScope
from db_utils.connections.transaction import (
    LIFT_TIMEOUT,
    Isolation,
    Transaction,
    begin_text,
    check_stream,
    stream_rows,
)
from db_utils.errors import (
    DbUtilsError,
    InvalidInputError,
    QueryError,
    ReadOnlyError,
    SerializationError,
    ServerUnavailableError,
    TransactionStateError,
    rows_moved,
)
from db_utils.sql_text import calls_maintenance, leaves_traces
from db_utils.values import Parameters, Row, fetch_count, fetch_rows

if TYPE_CHECKING:
    import sqlalchemy

    from db_utils.embedded.server import EmbeddedServer

Result = TypeVar("Result")

_RETRIES = 5  # of a statement whose rows moved during planning


@dataclass(frozen=True)
class Health:
    """Whether the database answers, and what it is. `error` is None where `ok`."""

    ok: bool
    url: str
    latency_ms: float | None
    server_version: str | None
    is_standby: bool | None
    pool: PoolStats
    error: str | None
    replica: ReplicaState | None = None
    """The state of the read replica; None where none is configured."""
    dead_workers: tuple[str, ...] | None = None
    """Citus workers that do not answer, as host:port; only their organizations are affected. None: no Citus, or no permission."""


_HEALTH = (
    "SELECT current_setting('server_version') AS server_version, pg_is_in_recovery() AS is_standby, "
    "EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS is_citus"
)

_preparations: list[Callable[[DatabaseManager, bool], None]] = []


def on_embedded(prepare: Callable[[DatabaseManager, bool], None]) -> Callable[[DatabaseManager, bool], None]:
    """Register a function to be called with each embedded server's manager and whether sample data was requested.

    The schema is a layer above the connections: it registers itself here, so that they need not import it.
    """
    _preparations.append(prepare)
    return prepare


_MAINTENANCE_SECONDS = 7 * 86_400.0
"""Lift the limit for a procedure that processes all rows: its duration depends on their number."""


class DatabaseManager(Executor):
    """A pool of connections to one database, with the methods of `Executor`.

    Safe to share between threads, and after a fork each process has its own connections. Without a `url` the
    environment and `.env` configure it. Nothing is opened until the first statement.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        settings: Settings | None = None,
        max_connections: int | None = None,
        pool_timeout_seconds: float | None = None,
        connect_timeout_seconds: float | None = None,
        statement_timeout_seconds: float | None = None,
        lock_timeout_seconds: float | None = None,
        replica_url: str | None = None,
        application_name: str | None = None,
        slow_query_seconds: float | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "database_url": url,
            "pool_max_connections": max_connections,
            "pool_timeout_seconds": pool_timeout_seconds,
            "connect_timeout_seconds": connect_timeout_seconds,
            "statement_timeout_seconds": statement_timeout_seconds,
            "lock_timeout_seconds": lock_timeout_seconds,
            "replica_url": replica_url,
            "application_name": application_name,
            "slow_query_seconds": slow_query_seconds,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if settings is None:
            settings = Settings.from_environment(**changes)
            if url is not None and replica_url is None:
                settings = settings.without_replica()
        else:
            settings = settings.with_changes(**changes)
        self.settings = settings
        self._pool = ConnectionPool(settings)
        self._is_citus: bool | None = None
        self._replica = Replica(settings, settings.replica_url, self._pool) if settings.replica_url else None
        self._embedded: EmbeddedServer | None = None
        self._engine: sqlalchemy.Engine | None = None

    @classmethod
    def embedded(cls, data_dir: str | Path | None = None, seed: bool = False) -> DatabaseManager:
        """Start PostgreSQL 16 from a Python wheel (no Docker, no system package), apply the schema and return a manager on it.

        Without `data_dir` the data is temporary and deleted by `close()`. `seed=True` loads the sample data
        too. Needs the extra `embedded`.
        """
        from db_utils.embedded.server import EmbeddedServer

        server = EmbeddedServer.start(data_dir)
        manager = cls(settings=Settings(database_url=server.url, redis_url=None))
        manager._embedded = server
        try:
            for prepare in _preparations:
                prepare(manager, seed)
        except BaseException:
            manager.close()
            raise
        return manager

    def __repr__(self) -> str:
        return f"<DatabaseManager {self.settings.safe_url}{' closed' if self._pool.closed else ''}>"

    def __enter__(self) -> DatabaseManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- statements ------------------------------------------------------------------------------------------

    @property
    def pool(self) -> ConnectionPool:
        """The pool that its connections come from."""
        return self._pool

    def _run(
        self,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
        reads: bool,
        idempotent: bool,
        primary: bool,
        settings: str = "",
    ) -> Result:
        if reads and self._replica is not None and not primary:
            text = sql = self._text(sql)
            answer = self._replica.answer(
                text, lambda pool: self._once(pool, settings, text, parameters, fetch, timeout_seconds)
            )
            if answer is not None:
                return answer[0]
        is_read = reads and self._is_plain_read(sql)
        failures = 0
        while True:
            try:
                return self._once(self._pool, settings, sql, parameters, fetch, timeout_seconds, is_read)
            except SerializationError as error:
                failures += 1
                if failures > _RETRIES or not rows_moved(error):
                    raise
            except ServerUnavailableError as error:
                if not (reads or idempotent):
                    raise
                if not idempotent:
                    # The server decides whether this only reads: a read-only transaction refuses writes.
                    settings = f"SET TRANSACTION READ ONLY; {settings}"
                return self._again(error, settings, sql, parameters, fetch, timeout_seconds)
            time.sleep(exponential_delay(failures))

    def _once(
        self,
        pool: ConnectionPool,
        settings: str,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
        is_read: bool = False,
    ) -> Result:
        checkout = pool.take()
        prepared = None
        try:
            text = sql if type(sql) is str else text_of(sql, checkout.connection)
            if leaves_traces(text):
                checkout.is_tainted = True
                if timeout_seconds is None and calls_maintenance(text):
                    timeout_seconds = _MAINTENANCE_SECONDS
                    if not checkout.preamble:  # otherwise the server's own limit holds
                        run(checkout, "SET statement_timeout = 0", None, fetch_count)
            if checkout.preamble:
                check_statement(checkout, text)
                result = self._in_one_transaction(
                    checkout, settings, text, parameters, fetch, timeout_seconds
                )
            else:
                whole = f"{settings}\n{text}" if settings else text
                if text in planned_once.reads and pool.is_citus(checkout):
                    prepared = planned_once.repeated(checkout, settings, text, parameters)
                try:
                    result = run(checkout, prepared or whole, parameters, fetch, timeout_seconds)
                except QueryError as error:
                    if prepared is None or error.sqlstate not in planned_once.OUTDATED:
                        raise
                    checkout.is_tainted = True
                    result = run(checkout, whole, parameters, fetch, timeout_seconds)
        except BaseException:
            checkout.is_tainted = checkout.is_tainted or prepared is not None
            pool.give(checkout)
            raise
        if pool.give(checkout, is_read):
            raise TransactionStateError(
                "the statement began a transaction, which was rolled back because no statement could follow in "
                "it: use db.transaction()"
            )
        return result

    def _in_one_transaction(
        self,
        checkout: Checkout,
        settings: str,
        text: str,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
    ) -> Result:
        """Run a statement behind a pooler: the server takes a text of several as one transaction."""
        # SET TRANSACTION has to come first, and does not affect the rest.
        whole = f"{settings} {checkout.preamble}\n{text}"
        try:
            return run(checkout, whole, parameters, fetch, timeout_seconds)
        except QueryError as error:
            if settings or error.sqlstate not in NO_BLOCK_STATES:
                raise
        return run(
            checkout, text, parameters, fetch, timeout_seconds
        )  # VACUUM and the like, without settings

    def _again(
        self,
        first_error: ServerUnavailableError,
        settings: str,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
    ) -> Result:
        try:
            return self._once(self._pool, settings, sql, parameters, fetch, timeout_seconds)
        except ReadOnlyError:
            raise first_error from None
        except QueryError as error:
            if error.sqlstate == "25001":  # it cannot run inside a transaction, so it is not a plain read
                raise first_error from None
            raise

    def _is_plain_read(self, sql: Statement) -> bool:
        """Whether this is known to write nothing; needed only where reads wait for a replica to catch up."""
        return self._replica is not None and (
            sql is _HEALTH or (isinstance(sql, str) and self._replica.is_plain_read(sql))
        )

    def _text(self, sql: Statement) -> str:
        if isinstance(sql, str):
            return sql
        checkout = self._pool.take()
        try:
            return text_of(sql, checkout.connection)
        finally:
            self._pool.give(checkout, is_read=True)

    def _bound(self, sql: str, parameters: Parameters) -> str:
        checkout = self._pool.take()
        try:
            return bound(checkout, sql, parameters)
        finally:
            self._pool.give(checkout, is_read=True)

    def transaction(self, *, isolation: Isolation | None = None, read_only: bool = False) -> Transaction:
        """Run a transaction on its own connection; see `Executor.transaction`."""
        return Transaction(self._pool, begin_text(isolation, read_only))

    @property
    def is_citus(self) -> bool:
        """Whether Citus spreads the database over several machines; asked once, at the first use of a tenant scope."""
        if self._is_citus is None:
            self._is_citus = bool(self.execute_query("SELECT FROM pg_extension WHERE extname = 'citus'"))
        return self._is_citus

    def tenant(self, organization_id: uuid.UUID | str) -> TenantScope:
        """Return the same methods restricted to the rows of one organization.

        Raises `InvalidInputError` where `organization_id` is not a UUID. One that does not exist has no rows.
        """
        return TenantScope(self, organization_id)

    def listen(self, *channels: str, timeout_seconds: float | None = None) -> Listener:
        """Listen for notifications (NOTIFY) on these channels, as they are committed.

        The listener has its own connection outside the pool. Iteration ends after `timeout_seconds`
        without a notification (None: never). For one organization's notifications use
        `tenant(…).listen("alerts")`: the schema's bare channel names are refused, as nothing is sent there.
        """
        names = check_channels(channels)
        check_no_kinds(channels)
        return Listener(
            lambda: self._pool.open_session("listen()"), lambda: names, timeout_seconds=timeout_seconds
        )

    # -- bulk and raw ----------------------------------------------------------------------------------------

    @contextmanager
    def _loading(self, timeout_seconds: float | None, sql: str | None = None) -> Iterator[Any]:
        with self._loading_transaction(timeout_seconds, sql) as connection:
            yield connection

    @contextmanager
    def _loading_transaction(
        self,
        timeout_seconds: float | None,
        sql: str | None,
        settings: str = "",
        check: Callable[[str], None] | None = None,
    ) -> Iterator[Any]:
        begin = f"{begin_text(None, False)} {LIFT_TIMEOUT}"
        with Transaction(
            self._pool, begin, settings=settings, check=check, begin_timeout_seconds=timeout_seconds
        ) as transaction:
            if sql is not None:
                transaction._allowed(sql)
            with loading(transaction._usable(), timeout_seconds) as connection:
                yield connection

    def stream(
        self, sql: Statement, params: Parameters | None = None, *, batch_size: int = 1000
    ) -> Iterator[Row]:
        """Stream the rows of a read one by one, in constant memory; see `Executor.stream`."""
        return self._stream(self._text(sql), params, batch_size, "")

    def _stream(
        self, sql: str, parameters: Parameters | None, batch_size: int, settings: str
    ) -> Iterator[Row]:
        check_stream(sql, batch_size)
        return self._stream_from_pool(sql, parameters, batch_size, settings)

    def _stream_from_pool(
        self, sql: str, parameters: Parameters | None, batch_size: int, settings: str
    ) -> Iterator[Row]:
        checkout = self._pool.begin(f"BEGIN; {settings}")
        checkout.is_tainted = leaves_traces(sql)
        try:
            check_statement(checkout, sql)
            yield from stream_rows(lambda: self._own(checkout), sql, parameters, batch_size)
        finally:
            self._pool.give(checkout)  # ends the transaction

    def _own(self, checkout: Checkout) -> Checkout:
        if not self._pool.owns(checkout):
            raise TransactionStateError("this stream belongs to the parent process: open one after the fork")
        return checkout

    def _read_frame(
        self,
        sql: Statement,
        parameters: Parameters | None,
        timeout_seconds: float | None,
        primary: bool,
        options: FrameOptions,
    ) -> Any:
        return self._read_frame_as({}, sql, parameters, timeout_seconds, primary, options)

    def _read_frame_as(
        self,
        settings: dict[str, str],
        sql: Statement,
        parameters: Parameters | None,
        timeout_seconds: float | None,
        primary: bool,
        options: FrameOptions,
        first: str = "",
    ) -> Any:
        from db_utils import dataframes
        from db_utils.dataframes.read import bind

        sql = self._text(sql)
        check_query(sql)
        limit = 0 if timeout_seconds is None else max(1, round(check_timeout(timeout_seconds) * 1000))
        session = dataframes.SessionSettings({"statement_timeout": str(limit), **settings}, first)
        checkout = self._pool.take()  # it only binds the parameters, and returns before the rows come
        try:
            if checkout.preamble:
                check_statement(checkout, sql)
                kept = self.settings.session_settings()
                session = dataframes.SessionSettings({**kept, **session.settings}, first)
            text = bind(checkout.connection, sql, parameters)
        finally:
            self._pool.give(checkout, is_read=True)

        def read(pool: ConnectionPool) -> Any:
            return dataframes.read_frame(pool.dsn, text, session=session, **options)

        with watched("SELECT", sql, checkout.connection):
            if self._replica is not None and not primary:
                answer = self._replica.answer(sql, read)
                if answer is not None:
                    return answer[0]
            return read(self._pool)

    def connection(self) -> AbstractContextManager[Any]:
        """Lend the psycopg2 connection; see `Executor.connection`."""
        return raw_connection(self._pool)

    @property
    def engine(self) -> sqlalchemy.Engine:
        """Return a SQLAlchemy engine that shares this manager's pool, for pandas and SQLAlchemy users."""
        if self._engine is None:
            from db_utils.connections import engine

            self._engine = engine.engine(self._pool)
        return self._engine

    # -- state -----------------------------------------------------------------------------------------------

    def health(self, *, timeout_seconds: float = 5.0) -> Health:
        """Check whether the database answers, how fast, and what it is. Never raises for one that does not."""
        started = time.perf_counter()
        try:
            row = self._run(
                _HEALTH,
                None,
                fetch_rows,
                timeout_seconds,
                True,
                False,
                True,
            )[0]
        except InvalidInputError:
            raise
        except DbUtilsError as error:
            return Health(
                False,
                self.settings.safe_url,
                None,
                None,
                None,
                self.pool_stats(),
                str(error),
                self.replica_state(),
            )
        latency_ms = (time.perf_counter() - started) * 1000
        return Health(
            True,
            self.settings.safe_url,
            latency_ms,
            row["server_version"],
            row["is_standby"],
            self.pool_stats(),
            None,
            self.replica_state(),
            dead_workers(self._pool) if row["is_citus"] else None,
        )

    def replica_state(self) -> ReplicaState | None:
        """Return whether reads go to the read replica now, or why not; None where none is configured. Queries both servers."""
        return None if self._replica is None else self._replica.state()

    def pool_stats(self) -> PoolStats:
        """Return the state of the pool and its totals."""
        return self._pool.pool_stats()

    def wait(self, timeout_seconds: float = 30.0) -> None:
        """Wait until the database accepts a connection; raise the reason if it does not in time."""
        self._pool.wait(timeout_seconds)

    def close(self) -> None:
        """Close all connections; those in use close when they come back.

        Stops an embedded server. Safe to repeat.
        """
        self._pool.close()
        if self._replica is not None:
            self._replica.pool.close()
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None


def connection_for_one_transaction(db: DatabaseManager) -> AbstractContextManager[Any]:
    """Lend the psycopg2 connection, behind a pooler too, to a caller that ends no transaction within the block."""
    return raw_connection(db._pool, one_transaction=True)
