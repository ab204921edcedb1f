"""The library and its command line can be imported where the system has no fork, no file locks and no user database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Not the platform checks of psutil, pytest and others: only modules that this project imports itself.
PROGRAM = """
import os, sys, sysconfig, zoneinfo
import typer, rich.console, redis, psycopg2.extras, aiosql, platformdirs
sys.platform = "win32"
del os.register_at_fork
sys.modules["fcntl"] = sys.modules["pwd"] = None
import db_utils, db_utils.cli
print(db_utils.__version__)
"""


@pytest.mark.thorough
def test_the_imports_of_windows() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
