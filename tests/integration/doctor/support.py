"""Run one check, paste its printed fix, run it again."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg2

from barnameh.__main__ import main as services
from db_utils import DatabaseManager
from db_utils.__main__ import main
from db_utils.ops.doctor import LIMITS, Finding, Fix, Severity, change_limits
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.run import choose, examine
from tests.integration.cli.conftest import environment
from tests.support.commands import call
from tests.support.programs import program

ROOT = Path(__file__).resolve().parents[3]
MAINS = {"db_utils": main, "barnameh": services}
BAD = (Severity.NOTE, Severity.WARNING, Severity.CRITICAL)


def ask(url: str, check: str, *, limits: Iterable[str] = (), **options: Any) -> list[Finding]:
    """The findings of one check on a server."""
    with DatabaseManager(url) as db:
        context = CheckContext(db, change_limits(LIMITS, list(limits)), **options)
        return examine(context, choose([check])).findings


def ailment(url: str, check: str, about: str = "", *, limits: Iterable[str] = (), **options: Any) -> Finding:
    """The only problem that a check finds about this; it has advice and its own name."""
    found = [f for f in ask(url, check, limits=limits, **options) if f.severity in BAD and about in f.found]
    assert len(found) == 1, found
    assert found[0].check == check
    assert found[0].means
    return found[0]


def well(url: str, check: str, about: str = "", *, limits: Iterable[str] = (), **options: Any) -> bool:
    """Whether the check ran and finds no problem with this."""
    found = ask(url, check, limits=limits, **options)
    assert all(f.severity is not Severity.SKIPPED for f in found), found
    return not [f for f in found if f.severity in BAD and about in f.found]


def paste(url: str, fix: Fix | None) -> str:
    """Run a printed fix in psql, as a user would; return psql's output."""
    assert fix is not None
    assert fix.where == "psql"
    done = subprocess.run(
        [program("psql"), url, "-X", "-v", "ON_ERROR_STOP=1"],
        input=fix.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def paste_in_shell(url: str, fix: Fix | None, folder: Path = ROOT) -> None:
    """Run a printed command in a shell, on this database and in this folder."""
    assert fix is not None
    assert fix.where == "shell"
    python, dash, package, *arguments = shlex.split(fix.text)
    assert (python, dash) == ("python", "-m")
    done = call(MAINS[package], arguments, environment(DATABASE_URL=url), folder)
    assert done.code == 0, done.err


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a separate transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def value(url: str, query: str) -> Any:
    """The single value that a query returns."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    finally:
        connection.close()


# TimescaleDB's launcher checks for new databases only once a minute.
START_JOBS = "SELECT _timescaledb_functions.start_background_workers()"


def until(condition: Callable[[], Any], *, seconds: float = 60.0) -> None:
    """Wait for an effect of another process."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.1)
