"""Logging, and OpenTelemetry spans where a provider is configured."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

_trace: Any = None
with suppress(ImportError):  # the extra `otel` may not be installed
    _trace = importlib.import_module("opentelemetry.trace")

query_log = logging.getLogger("db_utils.query")
pool_log = logging.getLogger("db_utils.connections.pool")

_LONGEST_TEXT = 500
_PASSWORD_WORD = re.compile(r"password", re.IGNORECASE)
_PASSWORD = re.compile(
    r"(\bPASSWORD\s+)(?:E?'(?:[^'\\]|\\.|'')*'|(\$\w*\$).*?\2)|(\bpassword\s*=\s*)[^\s'&]+",
    re.IGNORECASE | re.DOTALL,
)


class _Spans:
    """Whether spans are wanted: OpenTelemetry is installed and a provider was set up.

    Checked about once a second instead of for each statement.
    """

    wanted = False

    def look(self) -> None:
        if _trace is not None:
            provider = _trace.get_tracer_provider()
            self.wanted = not isinstance(provider, (_trace.ProxyTracerProvider, _trace.NoOpTracerProvider))


spans = _Spans()


def safe_text(sql: str) -> str:
    """Return this statement's text in one line, truncated, with passwords removed."""
    text = _PASSWORD.sub(lambda match: f"{match[1] or match[3]}***", " ".join(sql.split()))
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def cause_of(sql: str, error: BaseException) -> BaseException | None:
    """Return what a translated error may be raised from.

    The driver's error can quote the line of the statement that the server refused, parameters included: where
    that may hold a password, it must not appear in the traceback.
    """
    return None if _PASSWORD_WORD.search(sql) else error


def log_slow(sql: str, seconds: float, limit_seconds: float) -> None:
    """Log that a statement took longer than the setting allows; its parameters are never logged."""
    query_log.warning(
        "slow query: %.3f s (DB_SLOW_QUERY_SECONDS=%g): %s", seconds, limit_seconds, safe_text(sql)
    )


def watched(operation: str, text: str, connection: Any) -> AbstractContextManager[None]:
    """Open a span if a provider is configured."""
    return span(operation, text, connection) if spans.wanted else nullcontext()


@contextmanager
def span(operation: str, text: str, connection: Any) -> Iterator[None]:
    """A client span around one statement or one load, with OpenTelemetry's names; no values of parameters or rows."""
    info = connection.info
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": info.dbname,
        "db.operation.name": operation,
        "db.query.text": safe_text(text),
        "server.address": info.host,
        "server.port": info.port,
    }
    tracer = _trace.get_tracer("db_utils")
    with tracer.start_as_current_span(
        operation,
        kind=_trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,  # the chain of causes ends in the driver's error, which quotes values
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            if sqlstate := getattr(error, "sqlstate", None):
                current.set_attribute("db.response.status_code", sqlstate)
            current.set_status(_trace.StatusCode.ERROR, type(error).__name__)
            raise
