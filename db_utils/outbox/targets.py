"""How each target of the outbox is doing."""

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
    """A target of the outbox: what waits, what was sent, what is refused."""

    organization_id: UUID
    organization_name: str
    consumer: str
    is_stream: bool
    """Whether its rows are kept for readers that resume: then waiting and lag say how much, not that anybody is late."""
    waiting: int
    """Rows of the outbox; several may be of one key."""
    lag_seconds: float | None
    """Age of the oldest of them; None where nothing waits."""
    sent: int
    calls: int
    failed_calls: int
    rejected: int
    """Keys that the other side refuses now."""
    last_success_at: dt.datetime | None
    last_error: str | None
    """Why the newest call failed; None once one was taken."""
    last_error_at: dt.datetime | None


def targets(executor: Executor, *, timeout_seconds: float | None = None) -> list[TargetFacts]:
    """How is each target of each organization doing? For the operator; reads only, and counts what waits."""
    rows = executor.execute_query(TARGETS, timeout_seconds=timeout_seconds, primary=True)
    return [TargetFacts(**row) for row in rows]
