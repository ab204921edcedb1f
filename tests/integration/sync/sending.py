"""A sending process, like `barnameh sync convex`; a separate module, imported once and forked for each kill."""

from __future__ import annotations

from uuid import UUID

from barnameh.sync import Budget, ConvexClient, SyncService
from db_utils import DatabaseManager


def send(url: str, org: UUID, peer_url: str, key: str) -> None:
    """Send until SIGTERM."""
    with DatabaseManager(url) as db, ConvexClient(peer_url, key) as client:
        service = SyncService(db, client, org, linger_seconds=0.02, kpis_every_seconds=0, budget=Budget(None))
        service.stop_on_signals()
        service.run()
