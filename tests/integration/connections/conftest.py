"""Databases, a server that may be abused, and programs that run next to the test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from db_utils import DatabaseManager
from db_utils.config import Settings
from tests.conftest import fresh_database
from tests.support import servers
from tests.support.servers import OwnServer

ROOT = Path(__file__).resolve().parents[3]

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
OTHER_ORGANIZATION = "22222222-2222-2222-2222-222222222222"


def waits_until(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait for another process; fail if it does not happen."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.005)


def in_a_child(work: Callable[[], str]) -> str:
    """Return the result of this in a forked process."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn of any fork with threads
        child = os.fork()
    if child == 0:
        report = "?"
        try:
            report = work()
        except BaseException as error:
            report = repr(error)
        finally:
            os.write(write_end, report.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        report = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return report


# The roles, schema and views that the tenant scope relies on, around one small table.
TENANT_SHAPE = """
DO $$ BEGIN
    IF to_regrole('barnameh_tenant') IS NULL THEN CREATE ROLE barnameh_tenant NOLOGIN; END IF;
END $$;
CREATE FUNCTION current_organization_id() RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT nullif(current_setting('app.organization_id', true), '')::uuid $$;
CREATE TABLE notes (
    organization_id uuid NOT NULL,
    note_id int NOT NULL,
    text text NOT NULL CHECK (text <> ''),
    metadata jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (organization_id, note_id)
);
CREATE SCHEMA tenant;
CREATE VIEW tenant.notes WITH (security_barrier) AS
    SELECT * FROM public.notes WHERE organization_id = (SELECT current_organization_id()) WITH CHECK OPTION;
REVOKE ALL ON notes FROM barnameh_tenant;
GRANT USAGE ON SCHEMA tenant TO barnameh_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.notes TO barnameh_tenant;
"""


@pytest.fixture(scope="session")
def library_url(server_url: str) -> Iterator[str]:
    """A database with one table, `notes`, and the tenant's view of it."""
    with fresh_database(server_url) as url:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(TENANT_SHAPE)
        yield url


@pytest.fixture
def db(library_url: str) -> Iterator[DatabaseManager]:
    """This test's own manager on the database with the empty table `notes`."""
    with DatabaseManager(settings=Settings(database_url=library_url)) as manager:
        manager.execute("TRUNCATE notes")
        yield manager


@pytest.fixture
def manager_with(library_url: str) -> Iterator[Callable[..., DatabaseManager]]:
    """Makes managers with the settings that a test wants, and closes them."""
    made: list[DatabaseManager] = []

    def make(**settings: object) -> DatabaseManager:
        made.append(DatabaseManager(settings=Settings(**{"database_url": library_url, **settings})))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """This test's own PostgreSQL, on TCP too, that it may kill, stop and restart."""
    with servers.own_server() as server:
        yield server


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python programs next to the test and terminates those that remain."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
