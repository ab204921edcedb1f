"""The exceptions of this library: a small hierarchy that existing handlers catch.

Every error of this library is a `DbUtilsError`. Most also inherit the builtin that fits (`ValueError`,
`ConnectionError`, `TimeoutError`, `LookupError`), keep the server's SQLSTATE, survive pickling, and say in
one sentence what to change. No message ever holds a password; a value is quoted only where the server itself says
which one it could not read.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg2


class DbUtilsError(Exception):
    """Base class of all errors raised by this library.

    `sqlstate` is the server's five-character code, or None where the server said nothing.
    """

    def __init__(self, message: str = "", *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self.args[0]) if self.args else "", dict(self.__dict__)))


def _rebuild(kind: type[DbUtilsError], message: str, attributes: dict[str, Any]) -> DbUtilsError:
    error = kind(message)
    error.__dict__.update(attributes)
    return error


class ConfigurationError(DbUtilsError, ValueError):
    """A setting is missing, malformed or contradicts another; all invalid settings are named at once."""


class InvalidInputError(DbUtilsError, ValueError):
    """An argument is invalid; detected before anything was sent to the server."""


class NotFoundError(DbUtilsError, LookupError):
    """The requested object does not exist (or belongs to another organization)."""


class SchemaError(DbUtilsError):
    """The schema could not be applied, or lacks something that this version of the library needs."""


class BackupError(DbUtilsError):
    """A backup could not be made, read or restored; existing data is unchanged."""


class CacheError(DbUtilsError):
    """The prediction cache was misused. An unreachable one never raises: PostgreSQL answers instead."""


class ConnectionFailedError(DbUtilsError, ConnectionError):
    """No connection could be opened: wrong host, port, database, certificate, or no free slot."""


class AuthenticationFailedError(ConnectionFailedError):
    """The server was reached and refused the user or the password."""


class ServerUnavailableError(DbUtilsError, ConnectionError):
    """A connection that worked was lost, or the server is starting up or shutting down."""


class PoolTimeoutError(DbUtilsError, TimeoutError):
    """Every connection of the pool stayed in use for the whole waiting time."""


class PoolClosedError(DbUtilsError):
    """The manager was closed; nothing can be run through it any more."""


class TransactionStateError(DbUtilsError, RuntimeError):
    """A transaction was used from a second thread or a forked process, after its end, or was ended by hand."""


class SessionUnavailableError(DbUtilsError):
    """An operation that needs its own session was attempted behind a transaction-pooling pooler."""


class QueryError(DbUtilsError):
    """The server refused a statement.

    `constraint`, `table` and `column` are set where the server reports them; `detail` and `hint` are the
    server's. `detail` can quote row values, so it is kept out of the message.
    """

    def __init__(
        self,
        message: str = "",
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
        table: str | None = None,
        column: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.constraint = constraint
        self.table = table
        self.column = column
        self.detail = detail
        self.hint = hint


class UndefinedObjectError(QueryError):
    """The statement names a table, column, function, type or schema that does not exist."""


class InvalidDataError(QueryError, ValueError):
    """A value does not fit: malformed uuid, number out of range, division by zero."""


class ConstraintViolationError(QueryError):
    """A row violates a constraint of its table."""


class UniqueViolationError(ConstraintViolationError):
    """A row with this key already exists."""


class ForeignKeyViolationError(ConstraintViolationError):
    """A row references a row that does not exist, or is still referenced."""


class CheckViolationError(ConstraintViolationError):
    """A value is outside the range that its table allows."""


class NotNullViolationError(ConstraintViolationError):
    """A required value is missing."""


class ExclusionViolationError(ConstraintViolationError):
    """A row overlaps another one that it must not overlap."""


class PermissionDeniedError(QueryError):
    """The role may not do this, or the row belongs to another organization."""


class SerializationError(QueryError):
    """Two transactions conflicted (serialization failure or deadlock): run it again."""


class QueryTimeoutError(QueryError, TimeoutError):
    """A statement was stopped because it, or its wait for a lock, took longer than allowed."""


class QueryCancelledError(QueryError):
    """A statement was cancelled by another session (pg_cancel_backend)."""


class ReadOnlyError(QueryError):
    """A write was sent where only reads are possible: a standby, or default_transaction_read_only."""


class ResourceExhaustedError(QueryError):
    """The server ran out of disk space, memory or connection slots."""


_BY_SQLSTATE: dict[str, type[QueryError]] = {
    "23502": NotNullViolationError,
    "23503": ForeignKeyViolationError,
    "23505": UniqueViolationError,
    "23514": CheckViolationError,
    "23P01": ExclusionViolationError,
    "25006": ReadOnlyError,
    "25P03": QueryTimeoutError,
    "40001": SerializationError,
    "40P01": SerializationError,
    "42501": PermissionDeniedError,
    "42703": UndefinedObjectError,
    "42704": UndefinedObjectError,
    "42883": UndefinedObjectError,
    "42P01": UndefinedObjectError,
    "3F000": UndefinedObjectError,
    "44000": PermissionDeniedError,
    "55P03": QueryTimeoutError,
    "57014": QueryTimeoutError,
}

_BY_CLASS: dict[str, type[QueryError]] = {
    "22": InvalidDataError,
    "23": ConstraintViolationError,
    "53": ResourceExhaustedError,
}

_ADVICE: dict[str, str] = {
    "25006": "this connection is read-only (a standby, or default_transaction_read_only): use the primary",
    "25P02": "an earlier statement failed: leave the block, or put what may fail into a nested transaction()",
    "25P03": "the transaction was idle too long: shorten it or raise DB_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS",
    "40001": "another transaction changed the same rows: use run_in_transaction, which retries",
    "40P01": "two transactions deadlocked: use run_in_transaction, which retries",
    "44000": "the row does not belong to the organization of this scope",
    "53100": "the server's disk is full: free or add space; the statement had no effect",
    "53200": "the server is out of memory: lower work_mem or the size of the statement",
    "53300": "the server has no free slot: lower DB_POOL_MAX_CONNECTIONS or raise max_connections",
    "55P03": "another transaction held a lock for too long: try again when it has ended (pg_locks names its holder), "
    "or raise DB_LOCK_TIMEOUT_SECONDS",
    "57014": "it ran longer than allowed: raise DB_STATEMENT_TIMEOUT_SECONDS or pass timeout_seconds",
}


def sqlstate_of(error: psycopg2.Error) -> str | None:
    """Return the SQLSTATE; where Citus lost it, as for a COPY row that a worker refused, take it from the message text."""
    state: str | None = error.pgcode
    if state == "XX000":
        message = _primary(error)
        return next((code for words, code in _REFUSALS.items() if words in message), state)
    return state


def translate(error: psycopg2.Error) -> DbUtilsError:
    """Return the error of this family that corresponds to an error of the driver.

    Chosen by SQLSTATE; an error without one is a lost connection, or a misuse detected by the driver.
    The caller raises it `from` the driver's error.
    """
    sqlstate = sqlstate_of(error)
    if sqlstate is None:
        return _without_sqlstate(error)
    if sqlstate[:2] == "08" or sqlstate in ("57P01", "57P02", "57P03", "57P04", "57P05"):
        return ServerUnavailableError(
            f"the server ended the connection ({_primary(error)}): check that it is running, then try again",
            sqlstate=sqlstate,
        )
    if sqlstate[:2] == "28":
        return AuthenticationFailedError(_primary(error), sqlstate=sqlstate)
    kind = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], QueryError)
    message = _primary(error)
    advice = _ADVICE.get(sqlstate)
    if sqlstate == "57014" and "user request" in message:
        kind, advice = QueryCancelledError, None
    diagnostics = error.diag
    constraint, detail = diagnostics.constraint_name, diagnostics.message_detail
    if sqlstate[:2] == "23" and constraint is None:
        # A Citus worker refused it: only the message text names the constraint, with the shard's names.
        found = _RULE.search(message) or _TRIGGERS_RULE.match(detail or "")
        constraint = _SHARDS_NUMBER.sub("", found[1]) if found else None
        message, detail = (_SHARDS_NUMBER.sub("", words) if words else words for words in (message, detail))
    key = _KEY.match(detail or "") if kind is UniqueViolationError else None
    if key:  # its columns, never their values: messages end in logs
        columns = " and ".join(c for c in key[1].split(", ") if c != "organization_id") or key[1]
        advice = f"there already is a row with this {columns}: use another, or change that row"
    if advice:
        message = f"{message}: {advice}"
    elif diagnostics.message_hint:
        message = f"{message} ({diagnostics.message_hint})"
    return kind(
        message,
        sqlstate=sqlstate,
        constraint=constraint,
        table=diagnostics.table_name,
        column=diagnostics.column_name,
        detail=detail,
        hint=diagnostics.message_hint,
    )


# Citus: a shard was moved or split while the statement was planned.
_SPLIT_MEANWHILE = "could not find valid entry for shard"
_REFUSALS = {
    "duplicate key value violates unique constraint": "23505",
    "violates check constraint": "23514",
    "violates foreign key constraint": "23503",
    "violates not-null constraint": "23502",
    "violates exclusion constraint": "23P01",
    _SPLIT_MEANWHILE: "40001",
}
_KEY = re.compile(r"[^()]*\(([\w, ]+)\)=\(")  # the detail of a duplicate key, in any language
_RULE = re.compile(r'constraint "(\w+)"')
_TRIGGERS_RULE = re.compile(r"Rule: (\w+)$")  # as triggers word it; the constraint field is lost
_SHARDS_NUMBER = re.compile(r"(?<=[a-z])_\d{6,}(?=[_\"]|$)")

_LAST_WORDS = {
    "idle-in-transaction timeout": "25P03",
    "administrator command": "57P01",
    "crash of another server process": "57P02",
    "conflict with recovery": "40001",
}


def rows_moved(error: SerializationError) -> bool:
    """Whether Citus refused a statement because its rows moved to another shard during planning: nothing was executed."""
    return _SPLIT_MEANWHILE in str(error)


def explain_loss(error: DbUtilsError, notices: list[str]) -> DbUtilsError:
    """Return this error, or a better one where the server announced why it would end the connection.

    Messages sent while the client is idle arrive as notices, without a code.
    """
    if not isinstance(error, ServerUnavailableError) or error.sqlstate is not None:
        return error
    for notice in reversed(notices):
        words = notice.strip().partition("\n")[0].removeprefix("FATAL:").strip()
        for part, sqlstate in _LAST_WORDS.items():
            if part in words:
                kind = _BY_SQLSTATE.get(sqlstate, ServerUnavailableError)
                advice = _ADVICE.get(sqlstate, "check that it is running, then try again")
                return kind(f"the server ended the connection ({words}): {advice}", sqlstate=sqlstate)
    return error


def _primary(error: psycopg2.Error) -> str:
    return error.diag.message_primary or str(error).strip().partition("\n")[0] or type(error).__name__


def _without_sqlstate(error: psycopg2.Error) -> DbUtilsError:
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return ServerUnavailableError(
            f"the connection to the server was lost ({text or 'no reason given'}): check that it is running, "
            "then try again"
        )
    if isinstance(error, psycopg2.DatabaseError) and (
        "server closed the connection" in text or "error with status PGRES_TUPLES_OK" in text or not text
    ):
        return ServerUnavailableError(
            "the server closed the connection: check that it is running, then try again"
        )
    return InvalidInputError(f"the driver refused the statement or its parameters: {text}")


_CONNECT_STATES: tuple[tuple[str, str, type[DbUtilsError]], ...] = (
    ("password authentication failed", "28P01", AuthenticationFailedError),
    ("no password supplied", "28P01", AuthenticationFailedError),
    ("no pg_hba.conf entry", "28000", AuthenticationFailedError),
    ("is not permitted to log in", "28000", AuthenticationFailedError),
    ("authentication failed", "28000", AuthenticationFailedError),
    ("too many clients", "53300", ConnectionFailedError),
    ("remaining connection slots", "53300", ConnectionFailedError),
    ("too many connections", "53300", ConnectionFailedError),
    ("is starting up", "57P03", ServerUnavailableError),
    ("is shutting down", "57P03", ServerUnavailableError),
    ("in recovery mode", "57P03", ServerUnavailableError),
    ("not yet accepting connections", "57P03", ServerUnavailableError),
)


def translate_connect(error: psycopg2.Error, *, where: str) -> DbUtilsError:
    """Return the error of this family that says why no connection could be opened.

    `where` describes the server without its password. The driver gives no SQLSTATE here, so the message
    text decides; an unrecognised one becomes `ConnectionFailedError`.
    """
    text = " ".join(str(error).split()).rstrip(".")
    reason = text.partition("FATAL: ")[2].strip() or text.rpartition("failed: ")[2].strip() or text
    reason = reason.partition(" Is the server running")[0]  # libpq's question; the advice below replaces it
    for words, sqlstate, kind in _CONNECT_STATES:
        if words in text:
            return kind(
                f"cannot connect to {where}: {reason}. {_connect_advice(sqlstate)}", sqlstate=sqlstate
            )
    if "role " in text and "does not exist" in text:
        advice = _connect_advice("28000")
        return AuthenticationFailedError(f"cannot connect to {where}: {reason}. {advice}", sqlstate="28000")
    if "database " in text and "does not exist" in text:
        return ConnectionFailedError(
            f"cannot connect to {where}: {reason}. Check POSTGRES_DB or the database in DATABASE_URL.",
            sqlstate="3D000",
        )
    if "SSL" in text or "certificate" in text:
        return ConnectionFailedError(
            f"cannot connect to {where}: {reason}. Check DB_SSLMODE and DB_SSLROOTCERT."
        )
    if "timeout expired" in text:
        return ConnectionFailedError(
            f"cannot connect to {where}: no answer within DB_CONNECT_TIMEOUT_SECONDS. Check host, port and "
            "firewall."
        )
    return ConnectionFailedError(
        f"cannot connect to {where}: {reason}. Check that the server is running and that host and port in "
        "DATABASE_URL or POSTGRES_* are right."
    )


def _connect_advice(sqlstate: str) -> str:
    return {
        "28P01": "Check user and password in DATABASE_URL or POSTGRES_USER and POSTGRES_PASSWORD.",
        "28000": "Check the user in DATABASE_URL or POSTGRES_USER, and the server's pg_hba.conf.",
        "53300": "Lower DB_POOL_MAX_CONNECTIONS or raise the server's max_connections.",
        "57P03": "It is starting or stopping: wait, then try again.",
    }[sqlstate]
