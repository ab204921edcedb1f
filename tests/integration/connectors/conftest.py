"""An organization with two locations, and a server that answers like the sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from barnameh.connectors import RunResult, Source, Window, fetch
from barnameh.connectors.client import Client
from barnameh.connectors.run import places
from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.sources import Sources, serve


@pytest.fixture
def sources() -> Iterator[Sources]:
    with serve() as sources:
        yield sources


@dataclass
class Desk:
    """Queries sources for one organization and checks what is stored."""

    db: DatabaseManager
    sources: Sources
    organization_id: UUID
    location_id: UUID
    slept: list[float] = field(default_factory=list)

    def client(self, source: Source) -> Client:
        """A client that never really waits."""
        return Client({}, hosts=self.sources.hosts(), sleep=self.slept.append, timeout_seconds=5)

    def fetch(
        self,
        source: Source,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        **options: Any,
    ) -> RunResult:
        """One run for the organization's first location."""
        window = None if start is None or end is None else Window(start, end)
        named = ["Hall"] if source.by_location else []
        options.setdefault("now", lambda: self.sources.now)
        with self.client(source) as client:
            (result,) = fetch(
                self.db,
                self.organization_id,
                source,
                places(self.db, self.organization_id, source, named),
                client,
                window=window,
                **options,
            )
        return result

    def rows(self) -> list[tuple[Any, ...]]:
        """All readings without the columns that the database adds."""
        return [
            tuple(row.values())
            for row in self.db.execute_query(
                "SELECT name, time, available_at, value, unit, location_id FROM external_factors "
                "WHERE organization_id = %s ORDER BY 1, 2, 3",
                (self.organization_id,),
            )
        ]

    def runs(self) -> list[dict[str, Any]]:
        """The rows of `connector_runs`, oldest first."""
        return self.db.execute_query(
            "SELECT * FROM connector_runs WHERE organization_id = %s ORDER BY finished_at, window_start",
            (self.organization_id,),
        )


def new_desk(db: DatabaseManager, sources: Sources, name: str) -> Desk:
    queries = OperationalDataQueries(db)
    org = queries.create_organization(name, industry="test", timezone="Europe/Berlin")["organization_id"]
    metadata = {"country": "DE", "subdivision": "BY", "bidding_zone": "10Y1001A1001A82H"}
    location = queries.create_location(
        org,
        "Hall",
        location_type="factory",
        timezone="Europe/Berlin",
        latitude_degrees=52.27,
        longitude_degrees=6.88,
        metadata=metadata,
    )
    return Desk(db, sources, org, location["location_id"])


@pytest.fixture
def desk(empty_database: DatabaseManager, sources: Sources) -> Desk:
    return new_desk(empty_database, sources, "Desk")
