"""Run the application with uvicorn: JSON logs, shutdown within two seconds of SIGTERM, streams included."""

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
"""Grace period after SIGTERM; requests still running then are cut off."""


class _Together:
    """A connection that sends a response's headers together with the start of its body.

    For a small response, two system calls, each of which wakes up the client, take two fifths of its total
    time.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data; headers are held back for a body that follows immediately."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close after sending everything."""
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
    """uvicorn that notifies the application of a shutdown before waiting for its connections to close."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down gracefully; at once on a second Ctrl-C."""
        app: Application = self.config.app  # type: ignore[assignment]
        app.service.end()
        super().handle_exit(sig, frame)


def serve(app: Application, host: str, port: int, *, forwarded_allow_ips: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or Ctrl-C. `forwarded_allow_ips`: whose X-Forwarded-For and -Proto to trust."""
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
    """Log everything to standard error, one JSON object per line."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], Cut)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Not collected, because the log lines do not contain them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
