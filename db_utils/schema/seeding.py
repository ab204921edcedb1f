"""Loads the sample data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.schema import source
from db_utils.schema.applying import refresh_rollups
from db_utils.schema.running import run_file

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager


def seed(db: DatabaseManager) -> None:
    """Load the sample data, relative to now, in one transaction; where it is already, nothing changes."""
    with db.transaction() as transaction, transaction._loading(None):
        run_file(transaction, source.file("seeds", "seed_data.sql"))
    refresh_rollups(db)
