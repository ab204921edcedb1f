"""Shared by the tests of the citus edition: they need TEST_CITUS_INSTALL, a PostgreSQL 16 built with Citus."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from tests.conftest import SCHEMA_TEMPLATE, database_url, fresh_database, make_templates, tested
from tests.support import citus_cluster, kept_server


@pytest.fixture(autouse=True, scope="session")
def _needs_citus() -> None:
    if "TEST_CITUS_INSTALL" not in os.environ:
        pytest.skip("TEST_CITUS_INSTALL names no installation of PostgreSQL 16 with Citus")


@pytest.fixture(scope="session")
def cluster_urls(server_url: str) -> Iterator[list[str]]:
    """One seeded database of every node for this folder, the coordinator's first; tests clean up what they write."""
    with fresh_database(server_url) as url:
        with DatabaseManager(url) as db:
            schema.apply(db)
            schema.seed(db)
            tested(f"citus (PostgreSQL {db.execute_query('SHOW server_version')[0]['server_version']})")
        name = parse_dsn(url)["dbname"]
        yield [database_url(node, name) for node in citus_cluster.nodes(server_url)]


@pytest.fixture(scope="session")
def citus(cluster_urls: list[str]) -> Iterator[DatabaseManager]:
    """The coordinator of that database, as its owner."""
    with DatabaseManager(cluster_urls[0], slow_query_seconds=0) as db:
        yield db


@contextmanager
def _anchored(url: str, anchor: dt.datetime) -> Iterator[DatabaseManager]:
    with DatabaseManager(
        make_dsn(**{**parse_dsn(url), "options": f"-c app.seed_now={anchor:%Y-%m-%dT%H:%M:%SZ}"})
    ) as db:
        yield db


@pytest.fixture(scope="session")
def plain(citus: DatabaseManager) -> Iterator[DatabaseManager]:
    """Plain PostgreSQL with the same sample data."""
    anchor = citus.execute_query("SELECT anchor_at FROM seed_runs")[0]["anchor_at"]
    server, _ = kept_server.start(None, make_templates)
    with (
        server,
        fresh_database(server.url, SCHEMA_TEMPLATE) as url,
        _anchored(url, anchor) as db,
    ):
        schema.seed(db)
        yield db
