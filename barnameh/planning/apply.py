"""Apply a proposal, in one transaction and only if its inputs are unchanged; or reject it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from barnameh.errors import ServiceError, UsageError
from barnameh.planning.check import violations
from barnameh.planning.inputs import SQL, read_roster
from barnameh.planning.production_run import apply_plans
from db_utils import DatabaseManager, OperationalDataQueries, Transaction


class StaleError(ServiceError):
    """The proposal's inputs have changed; only its stale status was written."""


def apply_proposal(
    db: DatabaseManager, organization_id: UUID, run_id: UUID, *, decided_by: str | None = None
) -> dict[str, Any]:
    """Apply a proposal, and return the counts of added, removed and moved items.

    Raises `StaleError`, and marks the proposal as stale, if shifts, assignments, people or plans have changed
    since it was made or the first of them has begun; `UsageError` for an unknown one; `WrongStateError` for
    one already decided.
    """
    refused = None
    counts: dict[str, Any] = {}
    with db.tenant(organization_id).transaction() as tx:
        queries = OperationalDataQueries(tx)
        proposal = find(queries, organization_id, run_id)
        # First, so that a concurrent call waits here, and then finds the proposal decided.
        queries.decide_schedule_proposal(organization_id, run_id, status="applied", decided_by=decided_by)
        if proposal["kind"] == "plan":
            refused, counts = apply_plans(tx, organization_id, proposal)
        else:
            refused, counts = _apply_roster(tx, organization_id, proposal)
        if refused:
            tx.execute(
                SQL["mark_stale"],
                {"organization_id": organization_id, "run_id": run_id, "decision": refused},
            )
    if refused:
        raise StaleError(f"proposal {run_id} is stale: {refused}; plan again")
    return counts


def reject_proposal(
    db: DatabaseManager,
    organization_id: UUID,
    run_id: UUID,
    *,
    decided_by: str | None = None,
    decision: str | None = None,
) -> None:
    """Reject a proposal; it is kept with the reason."""
    queries = OperationalDataQueries(db.tenant(organization_id))
    find(queries, organization_id, run_id)
    queries.decide_schedule_proposal(
        organization_id, run_id, status="rejected", decided_by=decided_by, decision=decision
    )


def find(queries: OperationalDataQueries, organization_id: UUID, run_id: UUID) -> dict[str, Any]:
    """Return the proposal of a run; `UsageError` if there is none."""
    found = queries.get_schedule_proposals(organization_id, run_id=run_id)
    if not found:
        raise UsageError(f"run {run_id} proposed nothing: 'barnameh plan show' lists the proposals")
    return dict(found[0])


def _apply_roster(
    tx: Transaction, organization_id: UUID, proposal: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    queries = OperationalDataQueries(tx)
    inputs = read_roster(
        tx,
        organization_id,
        proposal["window_start"],
        proposal["window_end"],
        location_id=proposal["location_id"],
        lock=True,
    )
    if inputs.fingerprint != proposal["fingerprint"]:
        return "shifts, assignments, people or their contracts have changed since", {}
    items = queries.get_schedule_proposal_items(organization_id, proposal["run_id"])
    (clock,) = tx.execute_query(SQL["organization"], {"organization_id": organization_id})
    changed = [item for item in items if item["action"] != "keep"]
    if any(item["starts_at"] <= clock["now"] for item in changed):
        return "the first of its shifts has begun", {}
    present = inputs.roster.present() | inputs.roster.pinned()
    removed = {(i["shift_id"], i["employee_id"]) for i in changed if i["action"] == "remove"}
    added = {(i["shift_id"], i["employee_id"]) for i in changed if i["action"] == "add"}
    broken = violations(inputs.roster, (present - removed) | added)
    if broken:
        raise ServiceError(f"the proposal breaks a rule ({broken[0].text}): nothing was applied; plan again")
    for shift_id, employee_id in sorted(removed):
        queries.unassign_employee(organization_id, shift_id, employee_id=employee_id)
    for shift_id, employee_id in sorted(added):
        queries.assign_employee(organization_id, shift_id, employee_id=employee_id)
    return None, {"added": len(added), "removed": len(removed), "kept": len(items) - len(changed)}
