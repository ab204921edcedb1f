"""Runs the application with uvicorn: JSON logs, and an end within two seconds of SIGTERM, streams and all."""

from __future__ import annotations

import asyncio
import logging
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from barnameh.api.app import Application
from barnameh.api.guard import Cut, JsonLines

GRACE_SECONDS = 2
"""After SIGTERM: what is still under way then is cut."""


class _Together:
    """A connection that sends an answer's head together with the begin of its body.

    Two calls of the system for a small answer, each of which wakes up who asked, take two fifths of the time that it costs.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send this; a head waits for what follows at once, if anything does."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _Together(transport, self.loop)))


class Server(uvicorn.Server):
    """uvicorn, which tells the application before it waits for its connections to end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in good order; a second Ctrl-C ends at once."""
        app: Application = self.config.app  # type: ignore[assignment]
        app.service.end()
        super().handle_exit(sig, frame)


def serve(app: Application, host: str, port: int, *, forwarded_allow_ips: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or Ctrl-C. `forwarded_allow_ips`: whose X-Forwarded-For and -Proto count."""
    log_as_json()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=75,
        proxy_headers=True,
        forwarded_allow_ips=forwarded_allow_ips,
        lifespan="on",
        h11_max_incomplete_event_size=32 * 1024,
    )
    Server(config).run()


def log_as_json() -> None:
    """One JSON object a line on standard error, of everything."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], Cut)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Not asked for with each line, as no line says them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
