"""State of the outbox's targets."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from db_utils.connections.executor import Executor
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)
TARGETS = _SQL["targets"]


@dataclass(frozen=True)
class TargetFacts:
    """A target of the outbox: waiting, sent and refused changes."""

    organization_id: UUID
    organization_name: str
    consumer: str
    is_stream: bool
    """Whether its rows are kept for readers that resume: waiting and lag are then no delay."""
    waiting: int
    """Rows of the outbox; a key may have several."""
    lag_seconds: float | None
    """Age of the oldest of them; None if nothing waits."""
    sent: int
    calls: int
    failed_calls: int
    rejected: int
    """Keys that the target refuses now."""
    last_success_at: dt.datetime | None
    last_error: str | None
    """Why the newest call failed; None after a successful one."""
    last_error_at: dt.datetime | None


def targets(executor: Executor, *, timeout_seconds: float | None = None) -> list[TargetFacts]:
    """Return the state of each target by organization. For the operator; reads only, counts rows."""
    rows = executor.execute_query(TARGETS, timeout_seconds=timeout_seconds, primary=True)
    return [TargetFacts(**row) for row in rows]
