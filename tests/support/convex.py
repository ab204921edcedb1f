"""The functions of convex/ behind Convex's HTTP API on the loopback (convex/loopback), or a real deployment configured in the "
"environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).resolve().parents[2] / "convex"
KEY = "loopback|key"
WHY_NOT = (
    "the functions of convex/ need Node 20 and their packages: cd convex && npm ci"
    if shutil.which("node") is None or not (FOLDER / "node_modules" / ".bin" / "vitest").exists()
    else None
)


@dataclass
class Peer:
    """A deployment. Only the loopback has `set_faults` and `table`."""

    url: str
    key: str
    is_real: bool = False

    def set_faults(self, percent: int) -> dict[str, int]:
        """Make this many mutations fail from now on; return how many were made and failed so far."""
        seen: dict[str, int] = httpx.post(f"{self.url}/test/faults", json={"pct": percent}, timeout=60).json()
        return seen

    def table(self, name: str) -> list[dict[str, Any]]:
        """All documents of a table."""
        rows: list[dict[str, Any]] = httpx.post(
            f"{self.url}/test/read", json={"table": name}, timeout=120
        ).json()
        return rows

    def environment(self) -> dict[str, str]:
        """The settings that `barnameh sync convex` reads."""
        return {"CONVEX_URL": self.url, "CONVEX_DEPLOY_KEY": self.key}


@contextmanager
def peer() -> Iterator[Peer]:
    """A fresh loopback, or the deployment of CONVEX_SELF_HOSTED_URL and CONVEX_SELF_HOSTED_ADMIN_KEY."""
    real = os.environ.get("CONVEX_SELF_HOSTED_URL")
    if real:
        yield Peer(real, os.environ["CONVEX_SELF_HOSTED_ADMIN_KEY"], is_real=True)
        return
    process = subprocess.Popen(
        [str(FOLDER / "node_modules" / ".bin" / "vitest"), "run", "--config", "loopback.config.ts"],
        cwd=FOLDER,
        env={**os.environ, "CONVEX_DEPLOY_KEY": KEY, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if line.startswith('{"port"'):
            break
    else:
        raise AssertionError("the loopback did not start:\n" + "".join(told))
    try:
        yield Peer(f"http://127.0.0.1:{json.loads(line)['port']}", KEY)
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        process.stdout.close()
