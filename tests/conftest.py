"""Servers and databases for the suites.

Which PostgreSQL is under test?

* ``TEST_DATABASE_URL``: the server behind this URL (its user must be allowed to create databases and roles), or several,
  separated by spaces: one for each test process;
* ``TEST_PG_INSTALL``: a private server started from this installation (``bin/``, ``lib/``, ``share/``), with TimescaleDB if available;
* ``TEST_CITUS_INSTALL``: a coordinator and two workers of Citus, started from this installation;
* none of them: a private server started from the wheel that the embedded server uses.

Every run reports its edition at the end.

The tests run in several processes (pytest-xdist), each with its own servers; `pytest -n 0` runs them in one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from tests.support import citus_cluster, kept_server
from tests.support.scale import compress_old_chunks, multiply

# Whatever the shell's setting: otherwise each test process, and each process that a test starts, would recompile everything.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _keep_in_memory() -> None:
    """Keep temporary files in memory, if there is space and programs may be run from there (Docker's is too small).

    Hundreds of databases are created, with a thousand files each: on a disk that takes ten times as long.
    """
    memory, room = Path("/dev/shm"), 8 << 30
    if "TMPDIR" in os.environ or not memory.is_dir() or psutil.virtual_memory().available < room:
        return
    found = os.statvfs(memory)
    if found.f_bavail * found.f_frsize >= room and not found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(memory)


_keep_in_memory()

# No deadline: durations depend on the load of the machine. `--hypothesis-profile=thorough` draws five times as many examples.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=20)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=100)
hypothesis.settings.load_profile("tests")

_editions: list[str] = []
_compared: Counter[str] = Counter()


def _given_servers() -> list[str]:
    return os.environ.get("TEST_DATABASE_URL", "").split()


def tested(edition: str) -> None:
    """Report this edition at the end of the run."""
    if edition not in _editions:
        _editions.append(edition)


def compared(what: str, count: int) -> None:
    """Report at the end of the run how many figures of this kind were compared with another computation."""
    _compared[what] += count


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores, because tests often wait; at most five, because each starts servers.

    Only one if only files were named, or if a server was given, because its roles belong to all its databases.
    """
    servers = len(_given_servers())
    if (
        servers == 1
        or not {"TEST_REDIS_URL", "TEST_CITUS_INSTALL"}.isdisjoint(os.environ)
        or all(".py" in named for named in config.args)
    ):
        return 0
    return servers or min((os.cpu_count() or 1) + 1, 5)


@pytest.hookimpl(tryfirst=True)  # before -m evaluates the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start a stack or a browser are slow."""
    for item in items:
        if item.get_closest_marker("docker") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test process passes its findings to the reporting one."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["editions"] = _editions
        session.config.workeroutput["compared"] = dict(_compared)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The findings of a test process; a crashed one has none."""
    for edition in getattr(node, "workeroutput", {}).get("editions", []):
        tested(edition)
    _compared.update(getattr(node, "workeroutput", {}).get("compared", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the edition under test, or that no server was needed."""
    terminalreporter.write_line(f"database edition under test: {', '.join(_editions) or 'none was needed'}")
    for what, count in sorted(_compared.items()):
        terminalreporter.write_line(f"compared: {count:,} {what}")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The server under test, as superuser; its own databases are not touched."""
    given = _given_servers()
    if given:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")  # gw0, gw1, …
        yield given[int(worker.removeprefix("gw")) % len(given)]
        return
    if install := os.environ.get("TEST_CITUS_INSTALL"):
        with citus_cluster.cluster(install) as servers:
            yield servers[0].url
        return
    server, edition = kept_server.start(os.environ.get("TEST_PG_INSTALL") or None, make_templates)
    with server:
        tested(edition)
        yield server.url


SCHEMA_TEMPLATE, SEEDED_TEMPLATE = "template_schema", "template_seeded"


def make_templates(server_url: str) -> str:
    """Create both databases to copy from, and report the edition."""
    for name, seed in ((SCHEMA_TEMPLATE, False), (SEEDED_TEMPLATE, True)):
        with maintenance(server_url) as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        edition = make_template(server_url, name, seed=seed)
    return edition


def database_url(server_url: str, name: str) -> str:
    """The same server, another database."""
    return make_dsn(**{**parse_dsn(server_url), "dbname": name})


@contextmanager
def maintenance(server_url: str) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor for CREATE DATABASE and the like."""
    connection = psycopg2.connect(server_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextmanager
def fresh_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """The URL of a database that is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    # Without fsync, copying files is faster than logging them.
    how = "" if _given_servers() or template == "template0" else "STRATEGY FILE_COPY"
    for node_url in citus_cluster.nodes(server_url):
        with maintenance(node_url) as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {how}')
    if os.environ.get("TEST_CITUS_INSTALL") and template == "template0":
        citus_cluster.join([database_url(node_url, name) for node_url in citus_cluster.nodes(server_url)])
    try:
        yield database_url(server_url, name)
    finally:
        for node_url in citus_cluster.nodes(server_url):
            with maintenance(node_url) as cursor:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def blank_url(server_url: str) -> Iterator[str]:
    """An empty database."""
    with fresh_database(server_url) as url:
        yield url


@pytest.fixture
def blank(blank_url: str) -> Iterator[DatabaseManager]:
    with DatabaseManager(blank_url) as db:
        yield db


@pytest.fixture(scope="module")
def no_drawing() -> Iterator[None]:
    """Lay out the report's charts without drawing them, for tests of its texts. Drawing takes some seconds a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db_utils.report.charts.style._svg", lambda figure: "<svg></svg>")
        yield


def stop_jobs(db: DatabaseManager) -> None:
    """Stop TimescaleDB's scheduler. A job interrupted by that is not recorded as run: it would be failed in each copy."""
    if schema.edition(db) not in ("plain", "citus"):
        db.execute("SELECT _timescaledb_functions.stop_background_workers()")
        db.execute(
            "DELETE FROM _timescaledb_internal.bgw_job_stat WHERE total_runs > 0 AND NOT last_run_success"
        )


def make_template(server_url: str, name: str, *, seed: bool) -> str:
    """Create a database to copy from, with the schema and, if requested, the sample data; return its edition."""
    with DatabaseManager(database_url(server_url, name)) as db:
        schema.apply(db)
        if seed:
            schema.seed(db)
        stop_jobs(db)
        edition = f"{schema.edition(db)} (PostgreSQL {db.execute_query('SHOW server_version')[0]['server_version']})"
    tested(edition)
    # Nothing may be connected to a template while it is copied, not even TimescaleDB's scheduler.
    for node_url in citus_cluster.nodes(server_url):
        with maintenance(node_url) as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
    return edition


@contextmanager
def _template(server_url: str, kept: str, *, seed: bool) -> Iterator[str]:
    """The kept database of this name, or one created on the given server."""
    if not _given_servers() and "TEST_CITUS_INSTALL" not in os.environ:
        yield kept
        return
    with fresh_database(server_url) as url:
        name = parse_dsn(url)["dbname"]
        make_template(server_url, name, seed=seed)
        yield name


@pytest.fixture(scope="session")
def schema_template(server_url: str) -> Iterator[str]:
    """Name of a database with the schema and no rows."""
    with _template(server_url, SCHEMA_TEMPLATE, seed=False) as name:
        yield name


@pytest.fixture
def empty_database(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """This test's own database, with the schema and no rows."""
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def seeded_template(server_url: str) -> Iterator[str]:
    """Name of a database with the schema and the sample data."""
    with _template(server_url, SEEDED_TEMPLATE, seed=True) as name:
        yield name


@pytest.fixture
def seeded_database(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """This test's own database with the sample data, for writes."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def seeded(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """One seeded database for all tests that only read."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def large(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """Ten times the sample data, with old chunks in the columnstore if available; for tests that only read."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url, slow_query_seconds=0) as db:
        multiply(db, 10)
        compress_old_chunks(db)
        schema.refresh_rollups(db)
        yield db
