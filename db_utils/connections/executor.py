"""The methods shared by the manager, the tenant scope and the transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from db_utils.connections.retry import exponential_delay, run_with_retries
from db_utils.connections.statement import Statement, check_copied
from db_utils.connections.telemetry import watched
from db_utils.values import Parameters, Row, RowProgress, fetch_count, fetch_rows

if TYPE_CHECKING:
    from db_utils.connections.pool import ConnectionPool
    from db_utils.connections.transaction import Isolation, Transaction
    from db_utils.copy import RejectReport
    from db_utils.dataframes import Backend, Decimals

Result = TypeVar("Result")


class FrameOptions(TypedDict):
    """Options of a frame."""

    backend: Backend
    decimals: Decimals
    categories: Collection[str]
    timezone: str


class Executor(ABC):
    """Runs SQL. `DatabaseManager`, `TenantScope` and `Transaction` differ in connection and role.

    Placeholders are `%s` with a tuple or list, or `%(name)s` with a dict; a literal percent sign is `%%`
    where parameters are given and `%` where none are. Times come back aware, in UTC. All errors are
    `DbUtilsError`s.
    """

    @property
    @abstractmethod
    def pool(self) -> ConnectionPool:
        """The pool that its connections come from."""

    @abstractmethod
    def _run(
        self,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
        reads: bool,
        idempotent: bool,
        primary: bool,
    ) -> Result: ...

    @abstractmethod
    def _loading(self, timeout_seconds: float | None, sql: str | None = None) -> AbstractContextManager[Any]:
        """Open a transaction without a statement timeout and return its driver connection.

        `sql` is the caller's statement, if one will be run: it is checked here.
        """

    @contextmanager
    def _watched_load(
        self, operation: str, text: str, timeout_seconds: float | None, sql: str | None = None
    ) -> Iterator[Any]:
        with self._loading(timeout_seconds, sql) as connection, watched(operation, text, connection):
            yield connection

    @property
    def _through_temporary_table(self) -> bool:
        return False

    @abstractmethod
    def transaction(self, *, isolation: Isolation | None = None, read_only: bool = False) -> Transaction:
        """Begin a transaction: it commits when the block ends and rolls back when it raises.

        Inside a transaction this is a savepoint: a failure undoes the inner block only.
        `isolation` is "read committed", "repeatable read" or "serializable"; None takes the server's default.
        """

    def run_in_transaction(
        self,
        function: Callable[[Transaction], Result],
        *,
        retries: int = 5,
        isolation: Isolation | None = None,
        delay: Callable[[int], float] = exponential_delay,
    ) -> Result:
        """Run `function(transaction)` in a transaction, commit, and return its result.

        On a serialization failure or a deadlock it runs again from the start, at most `retries` times, after
        `delay(number of failures)` seconds. Its effects outside the transaction must be
        repeatable.
        """
        return run_with_retries(
            lambda: self.transaction(isolation=isolation), function, retries=retries, delay=delay
        )

    @abstractmethod
    def connection(self) -> AbstractContextManager[Any]:
        """Lend the psycopg2 connection, for anything this library does not cover.

        It is in psycopg2's usual mode (transactions begin implicitly); it commits when the block ends, rolls
        back when it raises, and goes back to the pool with all its session settings reset. Behind a pooler that lends
        sessions by transaction it is refused (`SessionUnavailableError`): use that of a `transaction()`.
        """

    @abstractmethod
    def stream(
        self, sql: Statement, params: Parameters | None = None, *, batch_size: int = 1000
    ) -> Iterator[Row]:
        """Stream the rows of a read one by one, in constant memory.

        The rows stay on the server and come in batches of `batch_size`. They are one snapshot. The connection
        is in use until the last row, or until the iterator is closed or dropped.
        """

    def copy_out(
        self,
        sql: Statement,
        params: Parameters | None = None,
        *,
        into: Any,
        options: str = "FORMAT csv, HEADER",
        timeout_seconds: float | None = None,
    ) -> int:
        """Write the rows of a query to a binary file with COPY and return the number of rows.

        The fastest export, in constant memory: `into.write(bytes)` receives the data in parts of 256 KiB.
        `options` are those of COPY. What `write` raises ends the statement on the server and is raised here. Without
        `timeout_seconds` there is no limit.
        """
        from db_utils.connections.copy_out import check_copy_out, copy_out

        check_copy_out(into, options)
        text = check_copied(sql)
        with self._watched_load("COPY", text, timeout_seconds, text) as connection:
            return copy_out(connection, text, params, into, options)

    def execute_query(
        self,
        sql: Statement,
        params: Parameters | None = None,
        *,
        timeout_seconds: float | None = None,
        idempotent: bool = False,
        primary: bool = False,
    ) -> list[Row]:
        """Run a statement and return its rows as plain dicts, [] when there are none.

        `timeout_seconds` cancels the statement on the server when it takes longer (`QueryTimeoutError`); the
        connection stays usable. Outside a transaction a read is retried once if the connection is lost;
        `idempotent=True` allows this for a write too. `primary=True` keeps a read off the replica.
        """
        return self._run(sql, params, fetch_rows, timeout_seconds, True, idempotent, primary)

    def execute(
        self,
        sql: Statement,
        params: Parameters | None = None,
        *,
        timeout_seconds: float | None = None,
        idempotent: bool = False,
    ) -> int:
        """Run a statement and return how many rows it touched, 0 where the server does not count (CREATE TABLE).

        Committed when it returns, unless inside a transaction. Never run twice, unless `idempotent=True`
        allows it when the connection was lost. CALL of refresh_rollups() and similar procedures has no limit
        but `timeout_seconds`, as its duration depends on the data.
        """
        return self._run(sql, params, fetch_count, timeout_seconds, False, idempotent, True)

    def execute_many(
        self,
        sql: str,
        rows: Iterable[Sequence[object]],
        *,
        page_size: int = 1000,
        on_reject: RejectReport | None = None,
        progress: RowProgress | None = None,
        timeout_seconds: float | None = None,
    ) -> int:
        """Run `INSERT INTO t (a, b) VALUES %s` over any iterable of tuples and return the number of rows inserted.

        All rows or none, in statements of `page_size` rows; with `on_reject` all good rows, the others
        reported. `progress` is called with the number of rows done so far.
        """
        from db_utils import copy

        with self._watched_load("INSERT", str(sql), timeout_seconds, str(sql)) as connection:
            return copy.execute_many(
                connection, sql, rows, page_size=page_size, on_reject=on_reject, progress=progress
            )

    def copy_rows(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        on_reject: RejectReport | None = None,
        progress: RowProgress | None = None,
        timeout_seconds: float | None = None,
    ) -> int:
        """Load rows into `table` with COPY and return their number: the fastest load, of any iterable, in constant memory.

        All rows or none; with `on_reject` all good rows, the others reported. In a tenant scope the rows go
        through a temporary table and its view, so another organization's row is refused.
        """
        from db_utils import copy

        with self._watched_load("COPY", f"COPY {table} FROM STDIN", timeout_seconds) as connection:
            return copy.copy_rows(
                connection,
                table,
                columns,
                rows,
                on_reject=on_reject,
                progress=progress,
                through_temporary_table=self._through_temporary_table,
            )

    def upsert_many(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        conflict_columns: Sequence[str],
        update_columns: Sequence[str] | None = None,
        on_reject: RejectReport | None = None,
        progress: RowProgress | None = None,
        timeout_seconds: float | None = None,
    ) -> int:
        """Insert rows, or update those that exist by `conflict_columns`, and return the number written.

        `update_columns` are the ones that a newer row overwrites (None: all but the key; empty: keep the old
        row).
        """
        from db_utils import copy

        with self._watched_load("INSERT", f"INSERT INTO {table} ON CONFLICT", timeout_seconds) as connection:
            return copy.upsert_many(
                connection,
                table,
                columns,
                rows,
                conflict_columns=conflict_columns,
                update_columns=update_columns,
                on_reject=on_reject,
                progress=progress,
            )

    @abstractmethod
    def _read_frame(
        self,
        sql: Statement,
        parameters: Parameters | None,
        timeout_seconds: float | None,
        primary: bool,
        options: FrameOptions,
    ) -> Any: ...

    def read_frame(
        self,
        sql: Statement,
        params: Parameters | None = None,
        *,
        backend: Backend = "pandas",
        decimals: Decimals = "float",
        categories: Collection[str] = (),
        timezone: str = "UTC",
        timeout_seconds: float | None = None,
        primary: bool = False,
    ) -> Any:
        """Return the rows of a query as a frame of pandas, polars or Arrow (`backend`).

        Outside a transaction it is read through ADBC, several times faster than rows, over a separate
        read-only connection outside the pool, limited only by `timeout_seconds`. Inside a transaction it is
        read on the transaction's connection and sees its changes. Types, options and errors are those of
        `db_utils.dataframes.read_frame`. Needs the extra `frames`.
        """
        options: FrameOptions = {
            "backend": backend,
            "decimals": decimals,
            "categories": categories,
            "timezone": timezone,
        }
        return self._read_frame(sql, params, timeout_seconds, primary, options)

    def write_frame(
        self,
        table: str,
        frame: Any,
        *,
        conflict_columns: Sequence[str] | None = None,
        update_columns: Sequence[str] | None = None,
        on_reject: RejectReport | None = None,
        progress: RowProgress | None = None,
        timeout_seconds: float | None = None,
    ) -> int:
        """Load a frame (pandas, polars, Arrow) into the columns of the same names and return the number of rows.

        All rows or none; with `on_reject` all good rows, the others reported. With `conflict_columns` rows
        that already exist are updated, as by `upsert_many`. Types and errors are those of
        `db_utils.dataframes.write_frame`. Needs the extra `frames`.
        """
        from db_utils import dataframes

        with self._watched_load("COPY", f"COPY {table} FROM STDIN", timeout_seconds) as connection:
            return dataframes.write_frame(
                connection,
                table,
                frame,
                conflict_columns=conflict_columns,
                update_columns=update_columns,
                on_reject=on_reject,
                progress=progress,
                through_temporary_table=self._through_temporary_table,
            )
