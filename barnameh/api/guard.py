"""Around every request: an id, a log line, metrics, and an answer whatever goes wrong."""

from __future__ import annotations

import datetime as dt
import logging
import re
from random import getrandbits
from time import perf_counter
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barnameh.api.metrics import Metrics
from barnameh.api.problems import Problem, internal, problem_of, problem_of_http
from db_utils import DbUtilsError

_access = logging.getLogger("barnameh.api.access")
_log = logging.getLogger("barnameh.api")
_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


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
        asked = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = asked.decode() if _GOOD_ID.fullmatch(asked) else f"{getrandbits(64):016x}"
        note: dict[str, Any] = {"endpoint": "other"}
        scope["note"] = note
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [(b"x-request-id", request_id.encode()), _NO_SNIFFING]
            await send(message)

        self._metrics.under_way += 1
        error: str | None = None
        try:
            try:
                await self._app(scope, receive, answer)
            except ClientDisconnect:
                error = "the client left"
            except (Problem, HTTPException, DbUtilsError) as failure:
                if status:
                    raise
                if isinstance(failure, DbUtilsError):
                    error = f"{type(failure).__name__}: {failure}"
                    failure = problem_of(failure)
                elif isinstance(failure, HTTPException):
                    failure = problem_of_http(failure)
                await failure.response()(scope, receive, answer)
            except Exception as failure:
                if status:
                    raise
                error = f"{type(failure).__name__}: {failure}"
                _log.exception("request %s failed", request_id)
                await internal().response()(scope, receive, answer)
        except Exception as failure:
            # The response had begun: close the connection, so that it is not taken for a complete one.
            error = f"cut off: {type(failure).__name__}: {failure}"
            self._metrics.cut.inc()
            raise Cut(error) from None
        finally:
            seconds = perf_counter() - started
            self._metrics.under_way -= 1
            self._metrics.count(note["endpoint"], status, None if note.get("is_stream") else seconds)
            if _access.isEnabledFor(logging.INFO):
                _tell(scope, note, request_id, status, seconds, error)


def _tell(
    scope: Scope, note: dict[str, Any], request_id: str, status: int, seconds: float, error: str | None
) -> None:
    """Write a log line, without looking up its source line, which costs more than the rest."""
    client = scope.get("client")
    record = _access.makeRecord(_access.name, logging.INFO, "guard", 0, "request", (), None)
    record.fields = {
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
    _access.handle(record)


class Cut(Exception):  # noqa: N818 - what the server does about it is to close the connection
    """A response that has begun and cannot be completed."""


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
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
