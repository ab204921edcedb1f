"""A copy of the sample data's organization on the loopback that runs the real functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from barnameh.sync import CONSUMER, Budget, ConvexClient, SyncService
from barnameh.sync.service import add_target
from db_utils import DatabaseManager
from db_utils.outbox import Outbox
from tests.support import convex


@pytest.fixture(scope="session")
def shared_peer() -> Iterator[convex.Peer]:
    """One loopback for all tests, which start with the data left by others."""
    if convex.WHY_NOT:
        pytest.skip(convex.WHY_NOT)
    with convex.peer() as peer:
        yield peer


@pytest.fixture
def peer(shared_peer: convex.Peer, db: DatabaseManager, org: UUID) -> convex.Peer:
    """The loopback without faults, ready for a new sender of this organization."""
    if not shared_peer.is_real:
        shared_peer.set_faults(0)
    return shared_peer


@pytest.fixture
def db(seeded_database: DatabaseManager) -> DatabaseManager:
    return seeded_database


@pytest.fixture
def org(db: DatabaseManager) -> UUID:
    rows = db.execute_query(
        "SELECT organization_id FROM resources GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    )
    organization_id: UUID = rows[0]["organization_id"]
    return organization_id


@pytest.fixture
def client(peer: convex.Peer) -> Iterator[ConvexClient]:
    with ConvexClient(peer.url, peer.key) as client:
        yield client


class Copy:
    """The organization's copy, and its sender."""

    def __init__(self, db: DatabaseManager, client: ConvexClient, org: UUID) -> None:
        self.db, self.client, self.org = db, client, org
        self.outbox = Outbox(db, org, CONSUMER)

    def send(self, **options: Any) -> int:
        """Send all waiting changes."""
        options = {"linger_seconds": 0.0, "kpis_every_seconds": 0, "budget": Budget(None), **options}
        return SyncService(self.db, self.client, self.org, **options).run(once=True)

    def documents(self, kind: str) -> dict[str, dict[str, Any]]:
        """The contents of the copy."""
        page = self.client.query(
            "sync:documents", {"organizationId": str(self.org), "kind": kind, "cursor": None}
        )
        return {item["key"]: item["document"] for item in page["documents"]}

    def progress(self) -> dict[str, Any]:
        """The sender's progress."""
        (row,) = self.db.execute_query("SELECT * FROM sync_progress WHERE organization_id = %s", (self.org,))
        return row

    def an_alert(self) -> str:
        """The identifier of an open alert."""
        rows = self.db.execute_query(
            "SELECT alert_id FROM alerts WHERE organization_id = %s AND resolved_at IS NULL ORDER BY 1 LIMIT 1",
            (self.org,),
        )
        return str(rows[0]["alert_id"])


@pytest.fixture
def copy(db: DatabaseManager, client: ConvexClient, org: UUID) -> Copy:
    """A copy of all current rows."""
    copy = Copy(db, client, org)
    assert add_target(db, org)
    assert not add_target(db, org)
    # Left there by an earlier test, and no longer in this database.
    copy.send()
    left = [
        (kind, key)
        for kind in ("alert", "anomaly", "resource_status", "forecast", "plan", "kpi")
        for key in copy.documents(kind).keys() - copy.outbox.current_rows(kind).keys()
    ]
    copy.outbox.enqueue_keys(left)
    copy.send()
    return copy
