"""Servers that start as a copy of an earlier one with the databases that tests copy.

It is rebuilt when the installation, a source file or the hour changes (the sample data end now), so that a
single test runs in seconds.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db_utils.embedded.server import EmbeddedServer

_ROOT = Path(__file__).parents[2]
_MADE_OF = ("sql", "seeds", "db_utils/schema", "tests/conftest.py", "tests/support/kept_server.py")
_OPTIONS = {"max_connections": "200", "max_worker_processes": "24"}
_LITTLE_TO_COPY = {"min_wal_size": "32MB", "max_wal_size": "32MB"}
_KEPT_SECONDS = 7200


def _key(install_dir: str | None) -> str:
    digest = hashlib.sha256(f"{install_dir} {time.time() // 3600}".encode())
    for name in _MADE_OF:
        top = _ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(_ROOT)}".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def data(install_dir: str | None, fill: Callable[[str], str]) -> Path:
    """The folder of a stopped server with the databases that `fill(url)` creates; its file `said` has the result of `fill`."""
    folder = Path("/tmp") / f"db_utils-tests-{getpass.getuser()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    kept = folder / _key(install_dir)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for old in folder.iterdir():
            if old.is_dir() and time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        if not (kept / "said").exists():
            shutil.rmtree(kept, ignore_errors=True)
            options = {**_OPTIONS, "fsync": "off", "synchronous_commit": "off", **_LITTLE_TO_COPY}
            with EmbeddedServer.start(kept, install_dir=install_dir, options=options) as server:
                said = fill(server.url)
            (kept / "said").write_text(said, encoding="utf-8")
    return kept


def start(install_dir: str | None, fill: Callable[[str], str]) -> tuple[EmbeddedServer, str]:
    """A running server with the databases that `fill(url)` creates, and the result of `fill`."""
    kept = data(install_dir, fill)

    class Copy(EmbeddedServer):
        """A temporary server that starts with a copy of data."""

        def _make_cluster(self, user: Any) -> None:
            subprocess.run(["cp", "-a", str(kept / "pgdata"), str(self._cluster)], check=True)

    return Copy.start(install_dir=install_dir, options=_OPTIONS), (kept / "said").read_text(encoding="utf-8")
