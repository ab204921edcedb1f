"""Apply a proposal, in one transaction and only while its inputs are unchanged; or reject it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from barnameh.errors import ServiceError, UsageError
from barnameh.planning.check import violations
from barnameh.planning.inputs import SQL, read_roster
from barnameh.planning.production_run import apply_plans
from db_utils import DatabaseManager, OperationalDataQueries, Transaction


class StaleError(ServiceError):
    """What the proposal was made from has changed since; nothing was written but that."""


def apply_proposal(
    db: DatabaseManager, organization_id: UUID, run_id: UUID, *, decided_by: str | None = None
) -> dict[str, Any]:
    """How much of the proposal is live now?

    Returns counts of what was added, removed and moved. Raises `StaleError` where shifts, assignments, people or plans have
    changed since it
    was made or the first of them has begun, and marks the proposal so; `UsageError` for one that is not there;
    `WrongStateError` for one that
    was decided already.
    """
    refused = None
    counts: dict[str, Any] = {}
    with db.tenant(organization_id).transaction() as tx:
        queries = OperationalDataQueries(tx)
        proposal = find(queries, organization_id, run_id)
        # First of all, so that a second one that applies it waits here, and then finds it decided.
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
        raise StaleError(f"proposal {run_id} is stale: {refused}; plan anew")
    return counts


def reject_proposal(
    db: DatabaseManager,
    organization_id: UUID,
    run_id: UUID,
    *,
    decided_by: str | None = None,
    decision: str | None = None,
) -> None:
    """Nothing of the proposal is to be; it is kept with the reason."""
    queries = OperationalDataQueries(db.tenant(organization_id))
    find(queries, organization_id, run_id)
    queries.decide_schedule_proposal(
        organization_id, run_id, status="rejected", decided_by=decided_by, decision=decision
    )


def find(queries: OperationalDataQueries, organization_id: UUID, run_id: UUID) -> dict[str, Any]:
    """The proposal of a run; `UsageError` where there is none."""
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
        raise ServiceError(f"the proposal breaks a rule ({broken[0].text}): nothing was applied; plan anew")
    for shift_id, employee_id in sorted(removed):
        queries.unassign_employee(organization_id, shift_id, employee_id=employee_id)
    for shift_id, employee_id in sorted(added):
        queries.assign_employee(organization_id, shift_id, employee_id=employee_id)
    return None, {"added": len(added), "removed": len(removed), "kept": len(items) - len(changed)}
