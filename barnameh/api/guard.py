"""Around every request: an id, a line in the log, a count, and an answer whatever goes wrong."""

from __future__ import annotations

import datetime as dt
import logging
import re
import secrets
from time import perf_counter
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barnameh.api.metrics import Metrics
from barnameh.api.problems import Problem, internal, problem_of
from db_utils import DbUtilsError

_access = logging.getLogger("barnameh.api.access")
_log = logging.getLogger("barnameh.api")
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _GOOD_ID.fullmatch(asked) else secrets.token_hex(8)
        note: dict[str, Any] = {"endpoint": "other"}
        scope["note"] = note
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        self._metrics.under_way.inc()
        error: str | None = None
        try:
            try:
                await self._app(scope, receive, answer)
            except ClientDisconnect:
                error = "the client left"
            except (Problem, DbUtilsError) as failure:
                if status:
                    raise
                error = f"{type(failure).__name__}: {failure}" if isinstance(failure, DbUtilsError) else None
                problem = failure if isinstance(failure, Problem) else problem_of(failure)
                await problem.response()(scope, receive, answer)
            except Exception as failure:
                if status:
                    raise
                error = f"{type(failure).__name__}: {failure}"
                _log.exception("request %s failed", request_id)
                await internal().response()(scope, receive, answer)
        except Exception as failure:
            # It had begun: the connection is closed before its end, so that nobody takes what came for the whole.
            error = f"cut off: {type(failure).__name__}: {failure}"
            self._metrics.cut.inc()
            raise Cut(error) from None
        finally:
            seconds = perf_counter() - started
            self._metrics.under_way.dec()
            self._metrics.requests.labels(note["endpoint"], str(status)).inc()
            if not note.get("is_stream"):
                self._metrics.seconds.labels(note["endpoint"]).observe(seconds)
            if _access.isEnabledFor(logging.INFO):
                client = scope.get("client")
                _access.info(
                    "request",
                    extra={
                        "fields": {
                            "request_id": request_id,
                            "method": scope["method"],
                            "path": scope["path"],
                            "endpoint": note["endpoint"],
                            "status": status,
                            "ms": round(seconds * 1000, 1),
                            "client": client[0] if client else None,
                            "key": note.get("key"),
                            "organization_id": note.get("organization_id"),
                            **({"error": error} if error else {}),
                        }
                    },
                )


class Cut(Exception):  # noqa: N818 - what the server does about it is to close the connection
    """An answer that had begun and cannot be finished."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and a request's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()
