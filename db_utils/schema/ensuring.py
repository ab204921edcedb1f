"""Keep the database of an embedded server at the schema of this library."""

from __future__ import annotations

from db_utils.connections.manager import DatabaseManager, on_embedded
from db_utils.schema import applying, planning, seeding, state


def ensure(db: DatabaseManager, *, seed: bool = False) -> None:
    """Apply the schema, and the sample data if requested, if an embedded server lacks them."""
    if planning.plan(db).kind != "none":
        applying.apply(db)
    if seed and not state.is_seeded(db):
        seeding.seed(db)


@on_embedded
def _prepare(db: DatabaseManager, seed: bool) -> None:
    ensure(db, seed=seed)
