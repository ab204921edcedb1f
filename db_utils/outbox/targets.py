"""How each target of the outbox is doing."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from db_utils.connections.executor import Executor

TARGETS = """
    SELECT
        t.organization_id,
        t.consumer,
        t.keep_for IS NOT NULL AS is_stream,
        w.waiting,
        w.lag_seconds,
        coalesce(p.sent_count, 0) AS sent,
        coalesce(p.call_count, 0) AS calls,
        coalesce(p.failed_call_count, 0) AS failed_calls,
        (
            SELECT count(*)
            FROM public.sync_rejected AS r
            WHERE r.organization_id = t.organization_id
                AND r.consumer = t.consumer
        ) AS rejected,
        p.last_success_at,
        p.last_error,
        p.last_error_at
    FROM public.sync_targets AS t
    LEFT JOIN public.sync_progress AS p
        ON p.organization_id = t.organization_id
        AND p.consumer = t.consumer
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS waiting,
            extract(epoch FROM clock_timestamp() - min(o.changed_at))::double precision AS lag_seconds
        FROM public.sync_outbox AS o
        WHERE o.organization_id = t.organization_id
            AND o.consumer = t.consumer
    ) AS w
    ORDER BY
        t.consumer,
        t.organization_id
"""


@dataclass(frozen=True)
class TargetFacts:
    """A target of the outbox: what waits, what was sent, what is refused."""

    organization_id: UUID
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
