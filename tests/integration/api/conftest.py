from __future__ import annotations

from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager
from tests.conftest import fresh_database
from tests.support.api import Api, api_on


@pytest.fixture(scope="module")
def api(server_url: str, seeded_template: str) -> Iterator[Api]:
    """The API on a seeded database shared by the module's tests."""
    with (
        fresh_database(server_url, seeded_template) as url,
        DatabaseManager(url) as owner,
        api_on(owner) as api,
    ):
        yield api
