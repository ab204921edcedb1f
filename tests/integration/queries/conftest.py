from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.conftest import fresh_database
from tests.support.query_calls import Facts, Raw, find_facts
from tests.support.write_site import Site


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
    """Queries on the test's own seeded database, for writes."""
    return OperationalDataQueries(seeded_database)


@pytest.fixture(scope="module")
def db(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as manager:
        if schema.edition(manager) == "community":  # only the tests decide what is in the columnstore
            manager.execute_query(
                "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
            )
        yield manager


@pytest.fixture(params=["owner", "tenant", "transaction"])
def site(db: DatabaseManager, request: pytest.FixtureRequest) -> Iterator[Site]:
    owner = OperationalDataQueries(db)
    organization = owner.create_organization("Acme", industry="manufacturing", timezone="Europe/Paris")[
        "organization_id"
    ]
    location = owner.create_location(organization, "Hall", location_type="factory", timezone="Europe/Paris")[
        "location_id"
    ]
    resource = owner.create_resource(
        organization, "Press", location_id=location, resource_type="press", rated_capacity_per_hour=10
    )["resource_id"]
    employee = owner.create_employee(
        organization, "Ada", location_id=location, employee_code="1", role="operator", skills=["press"]
    )["employee_id"]

    def site_on(executor: Any) -> Site:
        return Site(
            OperationalDataQueries(executor), owner, executor, organization, location, resource, employee
        )

    if request.param == "owner":
        yield site_on(db)
    elif request.param == "tenant":
        yield site_on(db.tenant(organization))
    else:
        with db.transaction() as transaction:
            yield site_on(transaction)
