"""The tenant scope: the same methods, restricted to one organization's rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from db_utils.connections.executor import Executor, FrameOptions
from db_utils.connections.listen import Listener, check_kinds
from db_utils.connections.raw_connection import raw_connection
from db_utils.connections.statement import Statement
from db_utils.connections.transaction import Isolation, Transaction, begin_text
from db_utils.errors import InvalidInputError, NotFoundError, PermissionDeniedError, SessionUnavailableError
from db_utils.sql_text import shape
from db_utils.text_keys import parse_uuid
from db_utils.values import Parameters, Row

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager
    from db_utils.connections.pool import ConnectionPool

Result = TypeVar("Result")

TENANT_ROLE = "barnameh_tenant"
TENANT_SEARCH_PATH = "tenant_load, tenant, public, pg_temp"

# Citus forwards a SET LOCAL to the workers, where row security needs it, only if so configured, and then the
# whole text that contains it.
_TELL_WORKERS = (
    "DO $$ BEGIN SET LOCAL citus.propagate_set_commands = 'local'; {} "
    "SET LOCAL citus.propagate_set_commands = 'none'; END $$;"
)

_LEAVING_STARTS = frozenset(("RESET", "DISCARD", "DO", "LISTEN", "UNLISTEN"))
_LEAVING_WORDS = frozenset(
    (
        "ROLE",
        "AUTHORIZATION",
        "SEARCH_PATH",
        "SCHEMA",
        "APP",
        "ORGANIZATION_ID",
        "STANDARD_CONFORMING_STRINGS",
    )
)
_LEAVING_NAMES = (
    '"role"', '"session_authorization"', '"search_path"', '"app', 'organization_id"', '"standard_conforming_strings"'
)  # fmt: skip
_TEXT_RUNNERS = frozenset(
    ("QUERY_TO_XML", "QUERY_TO_XMLSCHEMA", "QUERY_TO_XML_AND_XMLSCHEMA", "TS_STAT", "TS_REWRITE")
)


@lru_cache(maxsize=1024)  # one verdict per text; refused texts are checked again
def stay_in_scope(sql: str) -> None:
    """Refuse a statement that would leave the scope: a change of role or organization, or two at once.

    This catches mistakes. Against malicious users, only the grants of their login role protect.
    """
    look = shape(sql)
    if look.statements == 0:
        raise InvalidInputError("the statement is empty")
    if look.statements > 1:
        raise InvalidInputError("a tenant scope runs one statement at a time: use transaction() for several")
    if look.controls_transaction:
        raise PermissionDeniedError("a tenant scope manages its own transactions: use transaction()")
    leaves = not _LEAVING_STARTS.isdisjoint(look.first_words)
    if "SET" in look.first_words:
        leaves = leaves or not _LEAVING_WORDS.isdisjoint(look.words)
        leaves = leaves or any(name in look.literals for name in _LEAVING_NAMES)
    if leaves or "SET_CONFIG" in look.words or '"set_config"' in look.literals:
        raise PermissionDeniedError(
            "a tenant scope keeps its role, search_path and organization: use the DatabaseManager for this "
            "statement"
        )
    if look.escapes_names or not look.words.isdisjoint(_TEXT_RUNNERS):
        raise PermissionDeniedError(
            "a tenant scope only runs statements that it can inspect: write names without Unicode escapes (U&), and queries as "
            "statements rather than as text for another function"
        )


class TenantScope(Executor):
    """One organization's view of the database; created by `DatabaseManager.tenant`.

    Every statement runs as the role `barnameh_tenant`, on the views of schema `tenant`, and ends with it: a
    scope holds no connection. It may be shared by threads, kept as long as the manager, and used with or
    without `with`.
    """

    def __init__(self, manager: DatabaseManager, organization_id: uuid.UUID | str) -> None:
        self._manager = manager
        self.organization_id = parse_uuid(organization_id, "organization_id")
        self._whole_settings = ""
        self._set_organization = f"SET LOCAL app.organization_id = '{self.organization_id}';"

    def __repr__(self) -> str:
        return f"<TenantScope {self.organization_id} of {self._manager!r}>"

    def __enter__(self) -> TenantScope:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: each statement has returned its connection."""

    @property
    def _settings(self) -> str:
        if not self._whole_settings:
            choice = self._set_organization
            if self._manager.is_citus:
                choice = _TELL_WORKERS.format(choice)
            self._whole_settings = (
                f"SET LOCAL ROLE {TENANT_ROLE}; SET LOCAL search_path = {TENANT_SEARCH_PATH}; {choice}"
            )
        return self._whole_settings

    @property
    def settings_text(self) -> str:
        """The SQL that precedes each of its statements: the role, the search path and the organization."""
        return self._settings

    @property
    def pool(self) -> ConnectionPool:
        """The pool that its connections come from."""
        return self._manager.pool

    def _run(
        self,
        sql: Statement,
        parameters: Parameters | None,
        fetch: Callable[[Any], Result],
        timeout_seconds: float | None,
        reads: bool,
        idempotent: bool,
        primary: bool,
    ) -> Result:
        text, parameters = self._checked(sql, parameters)
        # One round trip: the server runs a text of several statements as one transaction, so the settings
        # hold for the last one and are gone after it.
        return self._manager._run(
            text, parameters, fetch, timeout_seconds, reads, idempotent, primary, self._settings
        )

    def transaction(self, *, isolation: Isolation | None = None, read_only: bool = False) -> Transaction:
        """Begin a transaction on this organization's rows; see `Executor.transaction`."""
        return Transaction(
            self._manager._pool,
            begin_text(isolation, read_only),
            settings=self._settings,
            check=stay_in_scope,
            through_temporary_table=True,
        )

    def _checked(self, sql: Statement, parameters: Parameters | None) -> tuple[str, Parameters | None]:
        """Return the text and the parameters to run, if they stay in the scope."""
        text = self._manager._text(sql)
        if parameters is not None and shape(text).quotes_placeholder:
            # Apparently quoted text would end at the first quote in a value.
            text, parameters = self._manager._bound(text, parameters), None
        stay_in_scope(text)
        return text, parameters

    @contextmanager
    def _loading(self, timeout_seconds: float | None, sql: str | None = None) -> Iterator[Any]:
        with self._manager._loading_transaction(
            timeout_seconds, sql, self._settings, check=stay_in_scope
        ) as connection:
            yield connection

    @property
    def _through_temporary_table(self) -> bool:
        return True

    def connection(self) -> AbstractContextManager[Any]:
        """Lend the psycopg2 connection, as this organization; see `Executor.connection`.

        Its holder can leave the scope with RESET ROLE: give it to trusted code only. On Citus the
        organization is set per transaction, so this raises `SessionUnavailableError`: use `transaction()`.
        """
        if self._manager.is_citus:
            raise SessionUnavailableError(
                "on Citus a tenant scope sets its organization in each transaction: use transaction() instead of connection()"
            )
        return raw_connection(self._manager._pool, self._settings.replace("SET LOCAL", "SET"))

    def _read_frame(
        self,
        sql: Statement,
        parameters: Parameters | None,
        timeout_seconds: float | None,
        primary: bool,
        options: FrameOptions,
    ) -> Any:
        text, parameters = self._checked(sql, parameters)
        settings = {
            "role": TENANT_ROLE,
            "search_path": TENANT_SEARCH_PATH,
            "app.organization_id": str(self.organization_id),
        }
        tell = _TELL_WORKERS.format(self._set_organization) if self._manager.is_citus else ""
        return self._manager._read_frame_as(
            settings, text, parameters, timeout_seconds, primary, options, tell
        )

    def listen(self, *kinds: str, timeout_seconds: float | None = None) -> Listener:
        """Listen for this organization's notifications as they are committed.

        `kinds` are what the schema announces: "alerts", "anomalies", "predictions" and "changes" (of an organization with a target of
        the outbox), anything else is an `InvalidInputError`; each `Notification` has
        its kind as `channel`. Iteration ends after `timeout_seconds` without one (None: never). Raises
        `NotFoundError` for an organization that does not exist, `SessionUnavailableError` on Citus, which
        sends no notifications.
        """
        check_kinds(kinds)
        if self._manager.is_citus:
            raise SessionUnavailableError(
                "Citus sends no notifications, as NOTIFY does not cross nodes: poll Outbox.changes_since() once a second "
                "instead (docs/citus.md)"
            )
        return Listener(
            lambda: self._manager._pool.open_session("listen()"),
            lambda: self._find_channels(kinds),
            timeout_seconds=timeout_seconds,
        )

    def _find_channels(self, kinds: tuple[str, ...]) -> dict[str, str]:
        """Return the organization's channels. Their names contain a secret, as any role may listen on any channel."""
        rows = self.execute_query(
            "SELECT kind, notification_channel(kind, %s) AS channel FROM unnest(%s::text[]) AS kinds (kind)",
            (self.organization_id, list(kinds)),
            primary=True,
        )
        if any(row["channel"] is None for row in rows):
            raise NotFoundError(f"organization {self.organization_id} does not exist")
        return {row["channel"]: row["kind"] for row in rows}

    def stream(
        self, sql: Statement, params: Parameters | None = None, *, batch_size: int = 1000
    ) -> Iterator[Row]:
        """Stream the rows of a read one by one, in constant memory; see `Executor.stream`."""
        text, params = self._checked(sql, params)
        return self._manager._stream(text, params, batch_size, self._settings)
