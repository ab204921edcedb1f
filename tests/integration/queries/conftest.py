from __future__ import annotations

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.query_calls import Facts, Raw, find_facts


@pytest.fixture(scope="session")
def facts(seeded: DatabaseManager) -> Facts:
    return find_facts(seeded)


@pytest.fixture(scope="session")
def queries(seeded: DatabaseManager) -> OperationalDataQueries:
    return OperationalDataQueries(seeded)


@pytest.fixture(scope="session")
def raw(seeded: DatabaseManager, facts: Facts) -> Raw:
    return Raw(seeded, facts)


@pytest.fixture
def own(seeded_database: DatabaseManager) -> OperationalDataQueries:
    """Queries on a seeded database of the test's own, to write to."""
    return OperationalDataQueries(seeded_database)
