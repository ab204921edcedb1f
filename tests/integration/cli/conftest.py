"""Commands as a user runs them: their output and exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager
from db_utils.__main__ import main
from tests.conftest import maintenance
from tests.support.commands import Done, call

ROOT = Path(__file__).resolve().parents[3]

Run = Callable[..., Done]

__all__ = ["Done", "Run"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "db_utils", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """No configuration of the caller, and a terminal wide enough for whole lines."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "PYTHONPATH")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "REDIS_URL": "", **variables}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command on a database to its end."""

    def to_its_end(url: str, *arguments: str, **variables: str) -> Done:
        return call(main, [*arguments], environment(DATABASE_URL=url, **variables), tmp_path)

    return to_its_end


@pytest.fixture
def run_apart(tmp_path: Path) -> Run:
    """The same in a separate process, for behaviour at its end."""

    def to_its_end(url: str, *arguments: str, **variables: str) -> Done:
        done = subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(DATABASE_URL=url, **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return to_its_end


@contextmanager
def role(server_url: str, db: DatabaseManager, grants: str) -> Iterator[str]:
    """The URL of this database for a new role with these grants."""
    name = f"role_of_a_test_{os.getpid()}"
    with maintenance(server_url) as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hidden-word'")
        if grants:
            cursor.execute(f"GRANT {grants} TO {name}")
        try:
            url = {**parse_dsn(db.settings.database_url), "user": name, "password": "hidden-word"}
            yield make_dsn(**url)
        finally:
            cursor.execute(f"DROP ROLE {name}")
