"""Databases to break."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager, schema
from tests.conftest import fresh_database
from tests.integration.cli.conftest import run
from tests.support import servers
from tests.support.servers import OwnServer

__all__ = ["run"]


@pytest.fixture
def url(server_url: str, seeded_template: str) -> Iterator[str]:
    """A seeded database of this test's own."""
    with fresh_database(server_url, seeded_template) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def edition(seeded: DatabaseManager) -> str:
    return schema.edition(seeded)


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """This test's own server, without the schema, with production durability."""
    with servers.own_server() as server:
        yield server
