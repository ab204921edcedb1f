"""Servers and databases for the suites.

Which PostgreSQL is under test?

* ``TEST_DATABASE_URL``: the server behind this URL (its user must be allowed to create databases and roles);
* ``TEST_PG_INSTALL``: a private server started from this installation (``bin/``, ``lib/``, ``share/``), with TimescaleDB if it has it;
* neither: a private server started from the wheel that the embedded server uses.

Every run says at its end which edition it was.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.servers.embedded import EmbeddedServer
from tests.support.scale import compress_old_chunks, multiply

_editions: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which edition was under test; a run that needed no server says that."""
    terminalreporter.write_line(f"database edition under test: {', '.join(_editions) or 'none was needed'}")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The server under test, as a superuser sees it; its own databases are not touched."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with EmbeddedServer.start(
        install_dir=os.environ.get("TEST_PG_INSTALL") or None,
        options={"max_connections": "200", "max_worker_processes": "24"},
    ) as server:
        yield server.url


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
    with maintenance(server_url) as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield database_url(server_url, name)
    finally:
        with maintenance(server_url) as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def make_template(server_url: str, name: str, *, seed: bool) -> None:
    """Make a database to copy from: with the schema and, if asked, the sample data."""
    with DatabaseManager(database_url(server_url, name)) as db:
        schema.apply(db)
        if seed:
            schema.seed(db)
        _editions[:] = [
            f"{schema.edition(db)} (PostgreSQL {db.execute_query('SHOW server_version')[0]['server_version']})"
        ]
    # Nothing may be connected to a template while it is copied: TimescaleDB's scheduler neither.
    with maintenance(server_url) as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


@pytest.fixture(scope="session")
def schema_template(server_url: str) -> Iterator[str]:
    """Name of a database that holds the schema and no rows."""
    with fresh_database(server_url) as url:
        name = parse_dsn(url)["dbname"]
        make_template(server_url, name, seed=False)
        yield name


@pytest.fixture
def empty_database(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """A database of this test's own, with the schema and no rows."""
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def seeded_template(server_url: str) -> Iterator[str]:
    """Name of a database that holds the schema and the sample data."""
    with fresh_database(server_url) as url:
        name = parse_dsn(url)["dbname"]
        make_template(server_url, name, seed=True)
        yield name


@pytest.fixture
def seeded_database(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """A database of this test's own, with the sample data; it may be written to."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def seeded(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """One seeded database for all tests that only read."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="session")
def large(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    """Ten times the sample data, its old chunks in the columnstore where there is one; for tests that only read."""
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url, slow_query_seconds=0) as db:
        multiply(db, 10)
        compress_old_chunks(db)
        schema.refresh_rollups(db)
        yield db
