"""Runs of the roster optimizer: read, plan, check, explain, record. Nothing takes effect until applied."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from barnameh.errors import ServiceError
from barnameh.planning.check import already_broken, cost, violations
from barnameh.planning.explain import explain, gaps, kpis, relaxations
from barnameh.planning.inputs import Inputs, WhatIf, imagine, read_roster
from barnameh.planning.model import Pair, Roster, Weights
from barnameh.planning.recording import (
    DEFAULT_SECONDS,
    Proposal,
    Window,
    fail_dead_runs,
    one_at_a_time,
    recorded_run,
    teller,
    write_down,
)
from barnameh.planning.roster import Plan, plan_roster
from barnameh.planning.solve import SEED, SOLVER, SOLVER_VERSION
from db_utils import DatabaseManager

_EXPLAIN_SHARE = 0.3


def propose_roster(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    start: dt.datetime,
    end: dt.datetime,
    location_id: UUID | None = None,
    seconds: float = DEFAULT_SECONDS,
    weights: Weights | None = None,
    what_if: WhatIf | None = None,
    save: bool = True,
    explained: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Proposal:
    """Propose who works which of the shifts that begin from `start` (aware) up to `end`.

    Hard rules are never broken; places that cannot be filled stay empty, with the reasons. `seconds` is the
    time to search; 0 gives the existing roster, filled up. `save` False writes nothing; with `what_if` the
    run is recorded without a proposal. `explained` tries relaxing each rule. Raises `UsageError` for an
    invalid window, or if another run of the organization is active.
    """
    window = Window(start, end, location_id, seconds)
    scope = db.tenant(organization_id)
    with one_at_a_time(db, organization_id):
        if save:
            fail_dead_runs(scope, organization_id)
        with scope.transaction(isolation="repeatable read", read_only=True) as tx:
            inputs = read_roster(tx, organization_id, start, end, location_id=location_id, weights=weights)
        roster = inputs.roster if what_if is None else imagine(inputs.roster, what_if)
        if not save:
            return _planned(roster, inputs, seconds, explained, stop, lambda _: None)
        with recorded_run(
            scope,
            organization_id,
            window,
            run_type="shift_scheduling",
            planning="roster",
            parameters={
                "weights": vars(roster.weights),
                "what_if": None if what_if is None else repr(what_if),
            },
        ) as run_id:
            tell = teller(scope, organization_id, run_id)
            proposal = _planned(roster, inputs, seconds, explained, stop, tell)
            write_down(
                scope,
                organization_id,
                run_id,
                window,
                proposal,
                objective_unit="penalty",
                kind="assignment",
                fingerprint=inputs.fingerprint,
                is_proposal=what_if is None,
            )
    return proposal


def _planned(
    roster: Roster,
    inputs: Inputs,
    seconds: float,
    explained: bool,
    stop: Callable[[], bool],
    tell: Callable[[dict[str, object]], None],
) -> Proposal:
    began = time.perf_counter()
    plan = plan_roster(
        roster, seconds=seconds * (1 - _EXPLAIN_SHARE if explained else 1), stop=stop, progress=tell
    )
    judge(roster, plan)
    left = max(0.0, seconds - (time.perf_counter() - began))
    present = roster.present()
    result = {
        "status": plan.status,
        "objective": round(plan.cost, 6),
        "start_objective": round(plan.start_cost, 6),
        "bound": round(plan.bound, 6),
        "gap_pct": None if plan.gap_pct is None else round(plan.gap_pct, 4),
        "seconds": round(plan.seconds, 3),
        "is_reproducible": not any(part.by_clock for part in plan.parts),
        "solver": SOLVER,
        "solver_version": SOLVER_VERSION,
        "seed": SEED,
        "inputs": {
            "fingerprint": inputs.fingerprint,
            "shifts": len(roster.shifts),
            "places": sum(s.required for s in roster.shifts),
            "employees": len(roster.workers),
            "assignments": len(present),
        },
        "kpis": {"before": kpis(roster, present | roster.pinned()), "after": kpis(roster, plan.pairs)},
        "parts": [vars(part) for part in plan.parts],
        "unfilled": explain(roster, plan.pairs),
        "relaxations": relaxations(roster, plan.pairs, left, stop) if explained else [],
        "already_broken": [v.text for v in already_broken(roster)],
        "weights": vars(roster.weights),
    }
    for part in result["parts"]:  # type: ignore[attr-defined]
        for name in ("start", "cost", "bound"):
            part[name] = round(part[name], 6)
    names = {w.employee_id: w.name for w in roster.workers} | {s.shift_id: s.name for s in roster.shifts}
    times = {s.shift_id: (s.starts_at, s.ends_at) for s in roster.shifts}
    return Proposal(result, items_of(roster, plan.pairs), names=names, times=times)


def judge(roster: Roster, plan: Plan) -> None:
    """Run the independent checker on a plan; raise `ServiceError` if it fails: nothing is proposed."""
    if broken := violations(roster, plan.pairs):
        raise ServiceError(
            f"the plan breaks {len(broken)} rules ({broken[0].text}): it is not proposed; please report it"
        )
    counted = cost(roster, plan.pairs)
    if abs(counted - plan.cost) > 1e-6 * max(1.0, abs(counted)):
        raise ServiceError(
            f"the plan costs {counted:g}, not {plan.cost:g}: it is not proposed; please report it"
        )


def items_of(roster: Roster, pairs: set[Pair]) -> list[dict[str, Any]]:
    """Kept, removed and added assignments with their reasons, in order of time."""
    present, pinned = roster.present(), roster.pinned()
    known = {w.employee_id: w for w in roster.workers}
    short = {g["shift"].shift_id: g for g in gaps(roster, present)}
    items = []
    for shift in roster.shifts:
        here = sorted(p for p in pairs | present if p[0] == shift.shift_id)
        gone = [p for p in here if p in present and p not in pairs]
        for pair in here:
            worker = known.get(pair[1])
            if pair in pinned and pair not in present:
                continue  # absent
            if pair in present and pair in pairs:
                action, reason = "keep", "is confirmed" if pair in pinned else "is already assigned"
            elif pair in present:
                action, reason = "remove", _why_removed(roster, pair)
            else:
                action = "add"
                lacks = short.get(shift.shift_id)
                skills = sorted(set(lacks["missing_skills"]) & worker.skills) if lacks and worker else []
                if skills:
                    reason = f"brings {', '.join(skills)}, missing from the crew"
                elif lacks and lacks["missing"]:
                    reason = f"{lacks['missing']} of {shift.required} missing"
                else:
                    reason = (
                        f"in place of {len(gone)} who cannot or need not come"
                        if gone
                        else "balances the work"
                    )
            items.append(
                {"action": action, "reason": reason, "shift_id": str(pair[0]), "employee_id": str(pair[1])}
            )
    order = {"remove": 0, "add": 1, "keep": 2}
    return sorted(items, key=lambda item: order[item["action"]])


def _why_removed(roster: Roster, pair: Pair) -> str:
    shift = next(s for s in roster.shifts if s.shift_id == pair[0])
    worker = next((w for w in roster.workers if w.employee_id == pair[1]), None)
    if worker is None or not any(a <= shift.starts_at < b for a, b in worker.employed):
        return "is not employed then"
    for a, b, reason in worker.away:
        if a < shift.ends_at and b > shift.starts_at:
            return f"is away: {reason}"
    alone = [v for v in violations(roster, roster.present()) if v.employee_id == worker.employee_id]
    if alone:
        return f"broke a rule: {alone[0].text}"
    return "is needed elsewhere, or balances the work"
