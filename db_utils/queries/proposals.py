"""Proposals of rosters and production plans, and the decisions on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    MAX_ROWS,
    Id,
    choice_of,
    json_of,
    list_of,
    local_days,
    optional_choice,
    optional_text,
    optional_uuid,
    text_of,
    time_of,
    whole_of,
)
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

PROPOSAL_KINDS = ("assignment", "plan")
PROPOSAL_STATUSES = ("proposed", "applied", "rejected", "stale")
PROPOSAL_ACTIONS = ("keep", "add", "remove", "move")
_ITEMS_AT_ONCE = 5_000
_ITEM = frozenset(
    [
        "action",
        "reason",
        "shift_id",
        "employee_id",
        "plan_id",
        "resource_id",
        "work_date",
        "work_hours",
        "quantity",
    ]
)


class ProposalQueries(QueryRunner):
    """Proposals and their items."""

    def create_schedule_proposal(
        self,
        organization_id: Id,
        run_id: Id,
        *,
        kind: str,
        window_start: dt.datetime,
        window_end: dt.datetime,
        fingerprint: str,
        items: Iterable[Mapping[str, Any]],
        location_id: Id | None = None,
    ) -> Row:
        """Create a proposal and return its row.

        `run_id` is an optimization run; `kind` is assignment or plan; it covers `window_start` <= time <
        `window_end` (aware), and `fingerprint` identifies its input. Each item has `action` (keep, add,
        remove, move), `reason`, and either `shift_id` and `employee_id`, or `plan_id` with `resource_id`,
        `work_date` (local), `work_hours` and `quantity` (none of these four for remove). All or nothing.
        Returns the row: `run_id`, `kind`, `location_id`, `window_start`, `window_end`, `status` (proposed),
        `fingerprint`, `decided_at`, `decided_by`, `decision`, `created_at`, `updated_at`. Raises
        `UniqueViolationError` if the run already has one, `NotFoundError` for an unknown reference.
        """
        first, last = time_of(window_start, "window_start"), time_of(window_end, "window_end")
        if first >= last:
            raise InvalidInputError("window_end must be after window_start")
        key = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "run_id": parse_uuid(run_id, "run_id"),
        }
        header = {
            **key,
            "kind": choice_of(kind, "kind", PROPOSAL_KINDS),
            "location_id": optional_uuid(location_id, "location_id"),
            "window_start": first,
            "window_end": last,
            "fingerprint": text_of(fingerprint, "fingerprint"),
        }
        rows = [
            {"item_no": number, **_item(item, number)}
            for number, item in enumerate(list_of(items, "items"), start=1)
        ]
        with self._db.transaction() as transaction:
            proposal = self._create("create_schedule_proposal", header, transaction)
            for first_row in range(0, len(rows), _ITEMS_AT_ONCE):
                page = rows[first_row : first_row + _ITEMS_AT_ONCE]
                self._write_page(transaction, "save_schedule_proposal_items", key, "items", page, None)
        return proposal

    def get_schedule_proposals(
        self,
        organization_id: Id,
        *,
        run_id: Id | None = None,
        kind: str | None = None,
        status: str | None = None,
        limit: int = 10,
    ) -> list[Row]:
        """What was proposed, and what was the outcome?

        At most `limit` rows, the newest first, as `create_schedule_proposal` returns them; `status` is
        proposed, applied, rejected or stale. Empty: no proposal.
        """
        return self._read(
            "get_schedule_proposals",
            parse_uuid(organization_id, "organization_id"),
            {
                "run_id": optional_uuid(run_id, "run_id"),
                "kind": optional_choice(kind, "kind", PROPOSAL_KINDS),
                "status": optional_choice(status, "status", PROPOSAL_STATUSES),
                "row_limit": whole_of(limit, "limit", 1, MAX_ROWS),
            },
        )

    def get_schedule_proposal_items(
        self, organization_id: Id, run_id: Id, *, action: str | None = None
    ) -> list[Row]:
        """What does this proposal keep, add, remove and move?

        Rows by number: `item_no`, `action`, `reason`; of an assignment `shift_id`, `location_id`, `shift_name`, `starts_at`,
        `ends_at` (UTC), `employee_id`, `full_name`; of a plan `plan_id`, `product_id`, `plan_date` (when it is due),
        `resource_id`, `resource_name`, `work_date` (local), `work_hours`, `quantity` (in the product's own unit). Empty: no
        such proposal, or no such action.
        """
        return self._read(
            "get_schedule_proposal_items",
            parse_uuid(organization_id, "organization_id"),
            {
                "run_id": parse_uuid(run_id, "run_id"),
                "action": optional_choice(action, "action", PROPOSAL_ACTIONS),
            },
        )

    def decide_schedule_proposal(
        self,
        organization_id: Id,
        run_id: Id,
        *,
        status: str,
        decided_by: str | None = None,
        decision: str | None = None,
    ) -> Row:
        """Record the outcome of a proposal and return its row.

        `status` is applied, rejected or stale. Records the decision only, without changing rosters or plans:
        `barnameh plan apply` does both in one transaction. Returns the row as `create_schedule_proposal`
        does. Raises `WrongStateError` if it is already decided, `NotFoundError` for an unknown one.
        """
        return self._transition(
            "decide_schedule_proposal",
            "check_schedule_proposal",
            "proposal",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "run_id": parse_uuid(run_id, "run_id"),
                "status": choice_of(status, "status", PROPOSAL_STATUSES[1:]),
                "decided_by": optional_text(decided_by, "decided_by"),
                "decision": optional_text(decision, "decision"),
            },
            only="only one that is still proposed can be decided",
            key=("run_id",),
        )

    def assign_plan_resource(self, organization_id: Id, plan_id: Id, *, resource_id: Id | None) -> Row:
        """Assign a plan to a resource and return its row.

        `resource_id` None: not decided. Returns the row as `get_production_plans` does. Raises `WrongStateError` for a
        completed or cancelled plan, `NotFoundError` for an unknown plan or resource.
        """
        return self._transition(
            "assign_plan_resource",
            "check_production_plan",
            "plan",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "plan_id": parse_uuid(plan_id, "plan_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
            },
            only="only a planned or in_progress one can be given a resource",
            key=("plan_id",),
        )

    def get_production_schedule(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        resource_id: Id | None = None,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """What is planned on which resource and day, according to the applied proposals?

        Local days: the next `days`, today among them (default 14; today is the organization's), or
        `first_date` <= day < `end_date` (no `end_date`: all that come). For each open plan, what was applied
        last. Rows by day, resource and priority: `work_date`, `resource_id`, `location_id`, `plan_id`,
        `product_id`, `plan_date` (when it is due), `priority`, `work_hours`, `quantity`, `is_late`, `run_id`,
        `applied_at`. Empty: nothing was applied.
        """
        return self._read(
            "get_production_schedule",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                **local_days(days, first_date, end_date, default_days=14),
            },
        )


def _item(item: object, number: int) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidInputError(f"items: row {number} is {type(item).__name__}: give a dict")
    if unknown := sorted(set(item) - _ITEM):
        raise InvalidInputError(f"items: row {number} has an unknown key {unknown[0]}")
    row: dict[str, Any] = json_of(dict(item), f"items: row {number}")
    choice_of(row.get("action"), f"items: row {number}: action", PROPOSAL_ACTIONS)
    text_of(row.get("reason"), f"items: row {number}: reason")
    return row
