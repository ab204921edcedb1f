"""Poolers between the client and the server (PgBouncer, pgcat, RDS Proxy): detected at connect.

A pooler answers the driver itself: the process number that the driver received for cancelling is the
pooler's, not that of the server process which runs the statements. If `pg_backend_pid()` differs, there is a
pooler. Whether it lends a server process for each transaction or for the whole session cannot be seen from
outside (two clients on a quiet pooler may look the same in both), so the former is assumed unless
DB_POOLER_MODE says otherwise: what needs a session is refused, and settings are made in each transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from db_utils.connections.checkout import Checkout
from db_utils.connections.statement import run
from db_utils.errors import SessionUnavailableError
from db_utils.sql_text import LONGEST_READ, shape
from db_utils.values import fetch_count, fetch_tuples

UNSUPPORTED = "unsupported startup parameter"
"""The error of a pooler that does not accept `options`."""
NO_BLOCK_STATES = frozenset(("25001", "2D000"))
"""SQLSTATEs of a statement that only runs outside transaction blocks, and so did nothing."""
_ADVICE = "connect to the server itself for this, or set DB_POOLER_MODE=session if the pooler's pool_mode is session"


def examine(checkout: Checkout, session: Mapping[str, str], mode: str, timeout_seconds: float | None) -> None:
    """Detect whether a pooler is in front of the server, and prepare a new connection for it."""
    checkout.backend_pid = _backend_pid(checkout, timeout_seconds)
    checkout.is_pooled = checkout.backend_pid != checkout.connection.get_backend_pid()
    if not checkout.is_pooled:
        return
    if mode == "session":
        checkout.session_text = _settings_text("SET", session)
        run(checkout, checkout.session_text, None, fetch_count, timeout_seconds)
    else:
        checkout.preamble = _settings_text("SET LOCAL", session)


def _settings_text(verb: str, session: Mapping[str, str]) -> str:
    return " ".join(
        "{} {} = '{}';".format(verb, name, value.replace("'", "''")) for name, value in session.items()
    )


def _backend_pid(checkout: Checkout, timeout_seconds: float | None) -> int:
    pid: int = run(checkout, "SELECT pg_backend_pid()", None, fetch_tuples, timeout_seconds)[0][0]
    return pid


def check_session(checkout: Checkout, what: str) -> None:
    """Refuse an operation that needs its own session on a connection without one."""
    if checkout.preamble:
        raise SessionUnavailableError(
            f"{what} needs its own session, but the pooler in front of the server assigns one per transaction: {_ADVICE}"
        )
    if checkout.is_pooled and _backend_pid(checkout, None) != checkout.backend_pid:
        raise SessionUnavailableError(
            "DB_POOLER_MODE is session, but the pooler changed the session between two transactions: set pool_mode = "
            "session for this database in the pooler, or unset DB_POOLER_MODE"
        )


def check_statement(checkout: Checkout, sql: str) -> None:
    """Refuse a statement that changes the session where the next transaction gets another session."""
    if checkout.preamble and len(sql) <= LONGEST_READ and shape(sql).needs_session:
        check_session(checkout, f"{shape(sql).first_words[0]} with an effect beyond the transaction")
