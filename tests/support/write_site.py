"""An organization to write to, and ways to write to it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from db_utils import OperationalDataQueries

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
NOON = dt.datetime(2024, 5, 6, 12, tzinfo=dt.UTC)
RUN: dict[str, Any] = {"model_name": "prophet", "model_version": "1", "available_at": NOON}


@dataclass
class Site:
    """A test's own organization with one of everything, and three ways to write to it."""

    queries: OperationalDataQueries
    owner: OperationalDataQueries
    db: Any
    organization: uuid.UUID
    location: uuid.UUID
    resource: uuid.UUID
    employee: uuid.UUID

    def count(self, table: str) -> int:
        rows = self.db.execute_query(
            f"SELECT count(*) AS n FROM {table} WHERE organization_id = %s", (self.organization,)
        )
        return int(rows[0]["n"])


def refused(site: Site, error: type[Exception], call: Callable[[], object], match: str | None = None) -> None:
    """Assert that the call fails like this; in a transaction only the call is undone."""
    with pytest.raises(error, match=match):
        nested(site, call)


def nested(site: Site, call: Callable[[], object]) -> None:
    """Run the call in a transaction, nested if there is one."""
    outside = site.queries._db
    with site.db.transaction() as inner:
        site.queries._db = inner
        try:
            call()
        finally:
            site.queries._db = outside
