"""Runs the application with uvicorn: JSON logs, and an end within two seconds of SIGTERM, streams and all."""

from __future__ import annotations

import logging
from types import FrameType

import uvicorn

from barnameh.api.app import Application
from barnameh.api.guard import Cut, JsonLines

GRACE_SECONDS = 2
"""After SIGTERM: what is still under way then is cut."""


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
