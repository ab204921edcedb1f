"""Compare the copy with the database, document by document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from barnameh.sync.client import ConvexClient
from barnameh.sync.documents import document_of
from db_utils import DatabaseManager
from db_utils.outbox import KINDS, Outbox

_ENDS_NOW = {"period_start", "period_end", "value", "numerator", "denominator", "coverage_pct", "reason"}


@dataclass(frozen=True)
class Difference:
    """One difference between the two sides."""

    kind: str
    key: str
    problem: str
    """missing, left over, or the fields that differ."""


def compare(
    db: DatabaseManager, client: ConvexClient, organization_id: UUID, consumer: str
) -> tuple[list[Difference], dict[str, int]]:
    """Return the differences, and the number of rows of each kind. Changes waiting in the outbox are skipped.

    KPIs are compared by key only, because their period ends when they are computed.
    """
    found: list[Difference] = []
    counts: dict[str, int] = {}
    outbox = Outbox(db, organization_id, consumer)
    rejected = {
        (row["kind"], row["entity_key"])
        for row in db.execute_query(
            "SELECT kind, entity_key FROM sync_rejected WHERE organization_id = %s AND consumer = %s",
            (organization_id, consumer),
        )
    }
    for kind in KINDS:
        there = dict(_documents(client, organization_id, kind))
        here = {key: document_of(row) for key, row in outbox.current_rows(kind).items()}
        waiting = {(change.kind, change.key) for change in outbox.waiting(10_000_000)}
        counts[kind] = len(here)
        for key in sorted(here.keys() | there.keys()):
            problem = _problem(kind, here.get(key), there.get(key))
            if problem and (kind, key) not in waiting and (kind, key) not in rejected:
                found.append(Difference(kind, key, problem))
    return found, counts


def _problem(kind: str, here: dict[str, Any] | None, there: dict[str, Any] | None) -> str | None:
    if there is None:
        return "missing"
    if here is None:
        return "left over"
    skipped = _ENDS_NOW if kind == "kpi" else set()
    differing = sorted(name for name in here if name not in skipped and here[name] != there.get(name))
    return f"differs in {', '.join(differing)}" if differing else None


def _documents(
    client: ConvexClient, organization_id: UUID, kind: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the copy's unexpired documents of a kind, read page by page."""
    cursor = None
    while True:
        page = client.query(
            "sync:documents", {"organizationId": str(organization_id), "kind": kind, "cursor": cursor}
        )
        for item in page["documents"]:
            yield item["key"], item["document"]
        cursor = page["cursor"]
        if cursor is None:
            return
