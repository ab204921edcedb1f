"""Runs of production planning: read, plan, check, explain, record; and apply the proposal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh.errors import ServiceError, UsageError
from barnameh.planning.inputs import SQL as ROSTER_SQL
from barnameh.planning.production import Schedule, plan_production
from barnameh.planning.production_check import faults
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
from barnameh.planning.shop import SMALLEST_HOURS, Ability, Job, Shop, Work, on_time_pct
from barnameh.planning.solve import SEED, SOLVER, SOLVER_VERSION
from barnameh.statements import statements
from db_utils import DatabaseManager, OperationalDataQueries, Transaction

SQL = statements(Path(__file__).with_name("production.sql"))
KEPT = "stays where it is"
LEAST_AVAILABLE = 0.3
"""Maximum share of shift hours assumed lost, even after a longer standstill in the last 30 days."""


@dataclass(frozen=True)
class Read:
    """A shop as read, with its origin."""

    shop: Shop
    fingerprint: str
    names: dict[UUID, str]
    rates: dict[str, str]
    """The origin of each rate: stated, realized or rated."""
    shift_hours: dict[tuple[UUID, dt.date], float]
    """By resource and day, without deductions."""


def read_shop(
    tx: Transaction,
    organization_id: UUID,
    start: dt.datetime,
    end: dt.datetime,
    *,
    location_id: UUID | None = None,
    stock: Mapping[str, float] | None = None,
    lock: bool = False,
) -> Read:
    """Read open plans due before `end`, rates of capable resources, and hours less expected standstill."""
    scope = {
        "organization_id": organization_id,
        "location_id": location_id,
        "window_start": start,
        "window_end": end,
        "products": sorted(stock or {}),
    }
    if lock:
        tx.execute_query(SQL["lock_plans"], scope)
    rows = {
        name: tx.execute_query(SQL[name], scope)
        for name in (
            "plans",
            "resources",
            "capabilities",
            "realized",
            "stops",
            "failures",
            "hours",
            "past_hours",
            "demand",
        )
    }
    # The inputs that applying depends on; rates and expected standstill change with every event, so they are
    # excluded.
    fingerprint = hashlib.sha256(
        json.dumps(
            [rows[n] for n in ("plans", "resources", "capabilities", "hours")], default=str, sort_keys=True
        ).encode()
    ).hexdigest()
    realized = {(r["resource_id"], r["product_id"]): float(r["rate_per_hour"]) for r in rows["realized"]}
    resources = {r["resource_id"]: r for r in rows["resources"]}
    abilities, sources = _abilities(rows["capabilities"], rows["plans"], realized, resources)
    jobs = tuple(
        Job(
            r["plan_id"],
            r["product_id"],
            r["plan_date"],
            float(r["quantity"]),
            r["priority"],
            r["resource_id"],
        )
        for r in rows["plans"]
    )
    of_place: dict[UUID, set[UUID]] = defaultdict(set)
    for r in resources.values():
        of_place[r["location_id"]].add(r["resource_id"])
    places = {r["plan_id"]: frozenset(of_place[r["location_id"]]) for r in rows["plans"]}
    hours = _hours(rows, resources)
    days = tuple(sorted({r["day"] for r in rows["hours"]}))
    demand = {(r["product_id"], r["day"]): float(r["quantity"]) for r in rows["demand"]}
    names = {r["resource_id"]: r["name"] for r in rows["resources"]}
    shop = Shop(days, jobs, abilities, hours, places, demand, dict(stock or {}))
    whole = {
        (r["resource_id"], row["day"]): float(row["hours"])
        for r in resources.values()
        for row in rows["hours"]
        if row["location_id"] == r["location_id"]
    }
    return Read(shop, fingerprint, names, sources, whole)


def _abilities(
    capabilities: list[dict[str, Any]],
    plans: list[dict[str, Any]],
    realized: Mapping[tuple[UUID, str], float],
    resources: Mapping[UUID, dict[str, Any]],
) -> tuple[dict[tuple[UUID, str], Ability], dict[str, str]]:
    """Rates as stated, else as realized, else as rated; a plan's current resource counts as capable."""
    said = {(c["resource_id"], c["product_id"]): c for c in capabilities if c["resource_id"] in resources}
    for p in plans:
        if p["resource_id"] in resources:
            said.setdefault((p["resource_id"], p["product_id"]), {"rate_per_hour": None, "setup_minutes": 0})
    abilities, sources = {}, {}
    for key, row in sorted(said.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        rated = resources[key[0]]["rated_capacity_per_hour"]
        rate, source = row["rate_per_hour"], "stated"
        if rate is None:
            rate, source = (realized[key], "realized") if key in realized else (rated, "rated")
        if rate is None:
            continue
        abilities[key] = Ability(float(rate), float(row["setup_minutes"]) / 60)
        sources[f"{resources[key[0]]['name']}: {key[1]}"] = f"{source} {float(rate):.1f} an hour"
    return abilities, sources


def _hours(
    rows: Mapping[str, list[dict[str, Any]]], resources: Mapping[UUID, dict[str, Any]]
) -> dict[tuple[UUID, dt.date], float]:
    """Shift hours, less the share of standstill in 30 days, less repairs of predicted failures."""
    past = {r["location_id"]: float(r["hours"]) for r in rows["past_hours"]}
    stops = {r["resource_id"]: r for r in rows["stops"]}
    risk: dict[tuple[UUID, dt.date], float] = defaultdict(float)
    for f in rows["failures"]:
        repair = (
            float(stops[f["resource_id"]]["mean_repair_minutes"]) / 60 if f["resource_id"] in stops else 2.0
        )
        risk[f["resource_id"], f["day"]] += float(f["probability"]) * repair
    found = {}
    for resource_id, resource in resources.items():
        worked = past.get(resource["location_id"], 0.0)
        stopped = float(stops[resource_id]["stopped_minutes"] or 0) / 60 if resource_id in stops else 0.0
        share = max(LEAST_AVAILABLE, 1 - stopped / worked) if worked else 1.0
        for row in rows["hours"]:
            if row["location_id"] == resource["location_id"]:
                left = float(row["hours"]) * share - risk.get((resource_id, row["day"]), 0.0)
                found[resource_id, row["day"]] = max(0.0, left)
    return found


def propose_production(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    start: dt.datetime,
    end: dt.datetime,
    location_id: UUID | None = None,
    seconds: float = DEFAULT_SECONDS,
    stock: Mapping[str, float] | None = None,
    save: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Proposal:
    """Propose what to make where on which day, of the open plans due before `end`.

    `stock` (product to quantity, in its unit) takes forecast demand into account: demand met by neither stock
    nor production has a cost. Due dates are never changed. `save` False writes nothing. Raises `UsageError`
    for an invalid window.
    """
    window = Window(start, end, location_id, seconds)
    scope = db.tenant(organization_id)
    with one_at_a_time(db, organization_id):
        if save:
            fail_dead_runs(scope, organization_id)
        with scope.transaction(isolation="repeatable read", read_only=True) as tx:
            read = read_shop(tx, organization_id, start, end, location_id=location_id, stock=stock)
        asked = {j.product_id for j in read.shop.jobs} | {product for product, _ in read.shop.demand}
        if unknown := sorted(set(stock or {}) - asked):
            raise UsageError(
                f"no open plan of the window makes {', '.join(unknown)} and no forecast asks for it"
            )
        if not save:
            return _planned(read, seconds, stop, lambda _: None)
        with recorded_run(
            scope,
            organization_id,
            window,
            run_type="production_planning",
            planning="production",
            parameters={"stock": dict(stock or {})},
        ) as run_id:
            proposal = _planned(read, seconds, stop, teller(scope, organization_id, run_id))
            write_down(
                scope,
                organization_id,
                run_id,
                window,
                proposal,
                objective_unit="weighted hours",
                kind="plan",
                fingerprint=read.fingerprint,
            )
    return proposal


def _planned(
    read: Read, seconds: float, stop: Callable[[], bool], tell: Callable[[dict[str, object]], None]
) -> Proposal:
    schedule = plan_production(read.shop, seconds=seconds, stop=stop, progress=tell)
    if broken := faults(read.shop, schedule.work):
        raise ServiceError(
            f"the schedule breaks {len(broken)} rules ({broken[0]}): it is not proposed; please report it"
        )
    late = late_plans(read, schedule.work)
    result = {
        "status": schedule.status,
        "objective": round(schedule.cost, 6),
        "start_objective": round(schedule.start_cost, 6),
        "bound": round(schedule.bound, 6),
        "gap_pct": round(schedule.gap_pct, 4),
        "seconds": round(schedule.seconds, 3),
        "is_reproducible": schedule.status != "time_limit",
        "solver": SOLVER,
        "solver_version": SOLVER_VERSION,
        "seed": SEED,
        "inputs": {
            "fingerprint": read.fingerprint,
            "plans": len(read.shop.jobs),
            "resources": len({r for r, _ in read.shop.abilities}),
            "days": len(read.shop.days),
            "rates": read.rates,
            "abilities": [
                [str(r), product, ability.rate, ability.setup_hours]
                for (r, product), ability in sorted(read.shop.abilities.items())
            ],
        },
        "kpis": {
            "before": {
                "on_time_pct": _rounded(schedule.rule_on_time_pct),
                "by": "priority, due date, own resource first",
            },
            "after": {
                "on_time_pct": _rounded(on_time_pct(read.shop, schedule.work)),
                "late_plans": len(late),
                "setups": len({(w.plan_id, w.resource_id) for w in schedule.work}),
                "empty_places": 0,
                "missing_skills": 0,
            },
        },
        "late": late,
    }
    products = {job.plan_id: job.product_id for job in read.shop.jobs}
    return Proposal(result, _items(read, schedule), names=read.names | products)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def late_plans(read: Read, work: list[Work]) -> list[dict[str, Any]]:
    """Which plans are not completed in time, by how much, and why?"""
    shop = read.shop
    load: dict[tuple[UUID, dt.date], float] = defaultdict(float)
    for w in work:
        load[w.resource_id, w.day] += w.hours
    found = []
    for job in shop.jobs:
        mine = [w for w in work if w.plan_id == job.plan_id]
        in_time = sum(w.quantity for w in mine if w.day <= job.due)
        made = sum(w.quantity for w in mine)
        if in_time >= job.quantity * (1 - 1e-4):
            continue
        able = shop.able(job)
        days = [d for d in shop.days if d <= job.due]
        if not able:
            why = f"no resource of its location can make {job.product_id}"
        elif not shop.standard_hours[job.plan_id] or not any(
            shop.hours.get((r, d), 0.0) for r in able for d in shop.days
        ):
            why = "its location has no shifts in the window"
        elif not days:
            why = f"it was due on {job.due}, before the window begins"
        else:
            room = sum(shop.hours.get((r, d), 0.0) for r in able for d in days)
            taken = sum(load[r, d] for r in able for d in days)
            names = ", ".join(read.names[r] for r in able)
            why = (
                f"{names}: {taken:.0f} of {room:.0f} h up to {job.due} are taken by plans that weigh more or "
                "are due as well"
                if room > SMALLEST_HOURS
                else f"{names}: no hours up to {job.due}"
            )
        found.append(
            {
                "plan_id": str(job.plan_id),
                "product_id": job.product_id,
                "due": job.due.isoformat(),
                "priority": job.priority,
                "quantity": round(job.quantity, 3),
                "in_time": round(in_time, 3),
                "late": round(made - in_time, 3),
                "not_made": round(max(0.0, job.quantity - made), 3),
                "ready_on": max((w.day for w in mine), default=None).__str__()
                if made >= job.quantity * (1 - 1e-4)
                else None,
                "why": why,
            }
        )
    return found


def _items(read: Read, schedule: Schedule) -> list[dict[str, Any]]:
    jobs = {j.plan_id: j for j in read.shop.jobs}
    items = []
    for w in schedule.work:
        job = jobs[w.plan_id]
        if job.resource_id is None:
            action, reason = "add", "had no resource yet"
        elif job.resource_id == w.resource_id:
            action, reason = "keep", KEPT
        else:
            action = "move"
            reason = f"from {read.names.get(job.resource_id, 'a resource that is not in service')}, which has no room in time"
        if w.quantity == 0:
            reason += "; set up for the next day"
        elif w.day > job.due:
            days = (w.day - job.due).days
            reason += f"; {days} {'day' if days == 1 else 'days'} late"
        items.append(
            {
                "action": action,
                "reason": reason,
                "plan_id": str(w.plan_id),
                "resource_id": str(w.resource_id),
                "work_date": w.day.isoformat(),
                "work_hours": round(w.hours, 6),
                "quantity": round(w.quantity, 6),
            }
        )
    made = {w.plan_id for w in schedule.work}
    whys = {late["plan_id"]: late["why"] for late in late_plans(read, schedule.work)}
    for job in read.shop.jobs:
        if job.plan_id not in made:
            items.append({"action": "remove", "reason": whys[str(job.plan_id)], "plan_id": str(job.plan_id)})
    return items


def apply_plans(
    tx: Transaction, organization_id: UUID, proposal: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Set each plan's resource to the one that makes most of it; its days remain in the applied proposal."""
    queries = OperationalDataQueries(tx)
    read = read_shop(
        tx,
        organization_id,
        proposal["window_start"],
        proposal["window_end"],
        location_id=proposal["location_id"],
        lock=True,
    )
    if read.fingerprint != proposal["fingerprint"]:
        return "plans, resources, what they can make or shifts have changed since", {}
    items = queries.get_schedule_proposal_items(organization_id, proposal["run_id"])
    if broken := faults(_as_proposed(tx, organization_id, proposal["run_id"], read), _work_of(items)):
        raise ServiceError(f"the proposal breaks a rule ({broken[0]}): nothing was applied; plan again")
    made: dict[UUID, dict[UUID, float]] = defaultdict(lambda: defaultdict(float))
    for item in items:
        if item["resource_id"] is not None:
            made[item["plan_id"]][item["resource_id"]] += float(item["quantity"])
    moved = 0
    now = {j.plan_id: j.resource_id for j in read.shop.jobs}
    for plan_id, shares in sorted(made.items()):
        main = max(sorted(shares), key=lambda r: shares[r])
        if now[plan_id] != main:
            queries.assign_plan_resource(organization_id, plan_id, resource_id=main)
            moved += 1
    return None, {
        "planned": len(made),
        "moved": moved,
        "not made": sum(i["action"] == "remove" for i in items),
    }


def _work_of(items: list[dict[str, Any]]) -> list[Work]:
    return [
        Work(i["plan_id"], i["resource_id"], i["work_date"], float(i["work_hours"]), float(i["quantity"]))
        for i in items
        if i["resource_id"] is not None
    ]


def _as_proposed(tx: Transaction, organization_id: UUID, run_id: UUID, read: Read) -> Shop:
    """Return the current shop with the proposal's rates and all shift hours: 30-day figures change all the time."""
    (run,) = tx.execute_query(ROSTER_SQL["run"], {"organization_id": organization_id, "run_id": run_id})
    stated = run["result"]["inputs"].get("abilities", [])
    abilities = {(UUID(r), product): Ability(rate, setup) for r, product, rate, setup in stated}
    known = {key: ability for key, ability in abilities.items() if key in read.shop.abilities}
    return dataclasses.replace(read.shop, abilities=known, hours=read.shift_hours)
