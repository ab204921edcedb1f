"""The API on a test's own database, with an application login and keys for the sample organizations."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.testclient import TestClient

from barnameh.api import keys
from barnameh.api.app import create_app
from barnameh.api.login import application_settings
from barnameh.api.operations import Operation, operations
from barnameh.api.settings import ApiSettings
from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.query_calls import MANUFACTURING, READS, Facts, find_facts

UNLIMITED = ApiSettings(rate_per_second=0, concurrency=0)


@dataclass
class Api:
    """A client of the API with a writer's key of the first sample organization."""

    owner: DatabaseManager
    client: TestClient
    organization_id: uuid.UUID
    key: str
    reader: str
    others: dict[uuid.UUID, str]
    """Writers' keys of the other organizations."""
    facts: Facts

    def path(self, operation: Operation, organization_id: uuid.UUID | None = None) -> str:
        return operation.path.format(organization_id=organization_id or self.organization_id)

    def get(
        self, operation: str, /, *, key: str | None = None, headers: Any = None, **query: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.key}", **(headers or {})}
        return self.client.get(self.path(OPERATIONS[operation]), params=texts(query), headers=headers)

    def post(self, name: str, body: Any, *, key: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.key}"}
        return self.client.post(self.path(OPERATIONS[name]), json=body, headers=headers)


OPERATIONS = {operation.name: operation for operation in operations()}


def texts(query: dict[str, Any]) -> dict[str, Any]:
    """Encode values for a URL."""

    def text(value: Any) -> Any:
        if isinstance(value, (dt.datetime, dt.date)):
            return value.isoformat()
        if isinstance(value, dt.timedelta):
            return f"PT{value.total_seconds():.0f}S"
        if isinstance(value, bool):
            return str(value).lower()
        return [text(item) for item in value] if isinstance(value, (list, tuple)) else str(value)

    return {name: text(value) for name, value in query.items() if value is not None}


def read_calls(facts: Facts) -> list[tuple[Operation, dict[str, Any]]]:
    """Every read that has a path, with the arguments that the suite passes."""
    calls = []
    for name, make in READS.items():
        if name not in OPERATIONS:
            continue
        names = list(OPERATIONS[name].arguments.model_fields)
        for positional, named in make(facts):
            query = {**dict(zip(names, positional, strict=False)), **named}
            calls.append((OPERATIONS[name], query))
    return calls


def is_fixed(operation: Operation, query: dict[str, Any]) -> bool:
    """Whether the same call gives the same answer a moment later: no period up to now and no current bucket."""
    fields = operation.arguments.model_fields
    moves = "days" in fields and not {"start", "first_date", "as_of"} & set(query)
    return not moves and operation.name != "get_kpi_trend"


@contextlib.contextmanager
def api_on(owner: DatabaseManager, settings: ApiSettings = UNLIMITED) -> Iterator[Api]:
    """The API on this database of the sample data."""
    organizations = [row["organization_id"] for row in OperationalDataQueries(owner).get_organizations()]
    made = {
        organization: keys.create(owner, organization, "test", "writer")[0] for organization in organizations
    }
    reader, _ = keys.create(owner, MANUFACTURING, "test", "reader")
    connection = application_settings(owner).with_changes(pool_max_connections=6)
    with DatabaseManager(settings=connection) as db, TestClient(create_app(db, settings)) as client:
        yield Api(
            owner,
            client,
            MANUFACTURING,
            made.pop(MANUFACTURING),
            reader,
            made,
            find_facts(owner),
        )
