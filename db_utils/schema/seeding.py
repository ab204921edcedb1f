"""Load the sample data, and more of its kind on request."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from db_utils.connections.transaction import without_deadline
from db_utils.schema import source, state
from db_utils.schema.applying import refresh_rollups
from db_utils.schema.loading import Amount, OnBatch, load
from db_utils.schema.running import run_file

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager


def seed(
    db: DatabaseManager,
    *,
    days: int | None = None,
    scale: int = 1,
    organizations: int = 2,
    metric_days: int = 7,
    jobs: int = 2,
    on_batch: OnBatch | None = None,
) -> Counter[str]:
    """Load the sample data, relative to now, in one transaction; if it is loaded already, nothing changes.

    Further data is added to it, and returned as rows by table: `days` of events, attendance, plans and demand
    before the sample data's anchor (by default 30, of demand 90); `scale` plants with their machines, people
    and products in each organization; the number of `organizations`; `metric_days` of metrics, one a minute.
    The same arguments give the same rows, and a day is the same for all arguments. Existing rows stay; an
    interrupted load resumes where it stopped. `jobs` connections load in parallel.
    """
    amount = Amount(days, scale, organizations, metric_days)
    with db.transaction() as transaction, without_deadline(transaction):
        run_file(transaction, source.file("seeds", "seed_data.sql"), one_by_one=state.has_citus(transaction))
    added = load(db, amount, jobs=jobs, on_batch=on_batch) if amount.is_more else Counter[str]()
    refresh_rollups(db)
    return added
