"""Keeps the database of an embedded server at the schema of this library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.schema import applying, planning, seeding, state

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager


def ensure(db: DatabaseManager, *, seed: bool = False) -> None:
    """Apply the schema, and the sample data if asked for, where an embedded server lacks them."""
    if planning.plan(db).kind != "none":
        applying.apply(db)
    if seed and not state.is_seeded(db):
        seeding.seed(db)
