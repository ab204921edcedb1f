"""`plan`: rosters and production plans are proposed, shown, applied or rejected."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from barnameh import worker
from barnameh.cli.common import (
    AsJson,
    Exit,
    Organization,
    Url,
    database,
    duration_of,
    organization_of,
    print_json,
    screen,
    time_of,
)
from barnameh.errors import UsageError
from barnameh.planning.apply import apply_proposal, find, reject_proposal
from barnameh.planning.inputs import SQL, WhatIf
from barnameh.planning.model import Weights
from barnameh.planning.production_run import KEPT, propose_production
from barnameh.planning.recording import DEFAULT_SECONDS, Proposal
from barnameh.planning.run import propose_roster
from db_utils import DatabaseManager, OperationalDataQueries

app = typer.Typer(
    help="Rosters and production plans: propose, explain, and apply in a second step.",
    no_args_is_help=True,
)

Days = Annotated[int, typer.Option(help="Number of local days from the start.", min=1, max=366)]
Start = Annotated[str, typer.Option(help="Start of the window. Default: now.", show_default=False)]
Location = Annotated[str, typer.Option(help="Name or id of one location. Default: all.", show_default=False)]
Limit = Annotated[float, typer.Option(help="Seconds to search; then the best so far is used.", min=0)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, not even the run.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Explain empty places, and what each relaxed rule would give.")
]
Every = Annotated[
    str, typer.Option(help="Schedule it in the worker every 6h, 1d … from now on.", show_default=False)
]
Run = Annotated[str, typer.Argument(help="Id of the run that proposed it.")]
By = Annotated[str, typer.Option(help="Who decides.", show_default=False)]


@app.command()
def roster(
    organization: Organization,
    url: Url = None,
    days: Days = 14,
    start: Start = "",
    location: Location = "",
    limit: Limit = DEFAULT_SECONDS,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Try out, without a proposal: max_hours_per_week=48, min_rest_hours=9, max_consecutive_days=7, without=EMPLOYEE, "
            "extra=SKILL@LOCATION, ignore_skills, anywhere. May be repeated.",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="Change a weight, such as change=0. May be repeated.", show_default=False),
    ] = None,
    dry_run: DryRun = False,
    explain: Explain = False,
    every: Every = "",
    as_json: AsJson = False,
) -> None:
    """Propose a roster: who works which shift. Nothing changes before `plan apply`.

    Exit code 3: places remain empty or skills missing.

    Example: barnameh plan roster --organization "Sample Manufacturing" --days 14 --explain
    """
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        place = location_of(db, organization_id, location)
        if every:
            worker_row = {"days": days, "limit": limit, "weights": _weights(weight)}
            worker.schedule(
                db, organization_id, "plan roster", duration_of(every), worker_row, location_id=place
            )
        first, last = window(start, days, timezone)
        proposal = propose_roster(
            db,
            organization_id,
            start=first,
            end=last,
            location_id=place,
            seconds=limit,
            weights=Weights.of(_weights(weight)) if weight else None,
            what_if=parse_what_if(db, organization_id, what_if) if what_if else None,
            save=not dry_run,
            explained=explain,
        )
    show_roster(proposal, timezone, as_json=as_json, explained=explain)
    if proposal.is_short:
        raise typer.Exit(Exit.ATTENTION)


@app.command()
def production(
    organization: Organization,
    url: Url = None,
    days: Days = 14,
    start: Start = "",
    location: Location = "",
    limit: Limit = DEFAULT_SECONDS,
    stock: Annotated[
        list[str] | None,
        typer.Option(
            help="PRODUCT=QUANTITY: meet its forecast demand from this stock and output. May be repeated.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    every: Every = "",
    as_json: AsJson = False,
) -> None:
    """Propose on which resource and day to make the open plans. Nothing changes before `plan apply`.

    Exit code 3: some plans will not be completed in time.

    Example: barnameh plan production --organization "Sample Manufacturing" --days 14
    """
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        place = location_of(db, organization_id, location)
        if every:
            asked = {"days": days, "limit": limit}
            worker.schedule(
                db, organization_id, "plan production", duration_of(every), asked, location_id=place
            )
        first, last = window(start, days, timezone)
        proposal = propose_production(
            db,
            organization_id,
            start=first,
            end=last,
            location_id=place,
            seconds=limit,
            stock=_amounts(stock, "--stock", "PRODUCT-A=500"),
            save=not dry_run,
        )
    result = proposal.result
    if as_json:
        print_json({"run_id": proposal.run_id, "result": result, "items": proposal.items})
    else:
        before, after = result["kpis"]["before"]["on_time_pct"], result["kpis"]["after"]["on_time_pct"]
        screen.print(
            f"{result['inputs']['plans']} plans: {result['status']}, in time {_pct(before)} by the rule, {_pct(after)} proposed"
        )
        table = Table()
        for heading in ("day", "resource", "product", "action", "quantity", "hours", "why"):
            table.add_column(
                heading,
                justify="right" if heading in ("quantity", "hours") else "left",
                no_wrap=heading not in ("resource", "why"),
            )
        for item in proposal.items:
            if item["action"] != "remove":
                table.add_row(
                    item["work_date"],
                    proposal.names[UUID(item["resource_id"])],
                    proposal.names[UUID(item["plan_id"])],
                    item["action"],
                    f"{item['quantity']:,.0f}",
                    f"{item['work_hours']:.1f}",
                    item["reason"].removeprefix(KEPT).lstrip("; "),
                )
        screen.print(table)
        for late in result["late"]:
            screen.print(
                f"late: {late['product_id']} due {late['due']}, {late['late']:,.0f} late and {late['not_made']:,.0f} not made of "
                f"{late['quantity']:,.0f}: {late['why']}"
            )
        if proposal.run_id:
            screen.print(
                f"barnameh plan apply {proposal.run_id} --organization … makes it live.", highlight=False
            )
    if result["late"]:
        raise typer.Exit(Exit.ATTENTION)


def _pct(value: float | None) -> str:
    return "nothing to make" if value is None else f"{value:.1f} %"


@app.command()
def show(
    organization: Organization,
    run: Annotated[
        str, typer.Argument(help="Id of a run. Default: the newest proposals.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a proposal with its changes, or the newest proposals."""
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        queries = OperationalDataQueries(db.tenant(organization_id))
        if not run:
            rows = queries.get_schedule_proposals(organization_id)
            print_json(rows) if as_json else _list(rows, timezone)
            return
        run_id = run_of(run)
        proposal = find(queries, organization_id, run_id)
        items = queries.get_schedule_proposal_items(organization_id, run_id)
        found = db.tenant(organization_id).execute_query(
            SQL["run"], {"organization_id": organization_id, "run_id": run_id}
        )[0]
    if as_json:
        print_json({"proposal": proposal, "result": found["result"], "items": items})
        return
    screen.print(
        f"{proposal['kind']} proposal {run_id}: {proposal['status']}"
        + (f", {proposal['decision']}" if proposal["decision"] else "")
    )
    table = Table()
    for heading in ("action", "when", "what", "who or where", "why"):
        table.add_column(heading)
    for item in items:
        if item["action"] == "keep" and proposal["kind"] == "assignment":
            continue
        if item["shift_id"]:
            table.add_row(
                item["action"],
                _span(item["starts_at"], item["ends_at"], timezone),
                item["shift_name"],
                item["full_name"],
                item["reason"],
            )
        else:
            amount = (
                "" if item["quantity"] is None else f" {item['quantity']:,.0f} in {item['work_hours']:.1f} h"
            )
            table.add_row(
                item["action"],
                str(item["work_date"] or "never"),
                f"{item['product_id']}{amount}, due {item['plan_date']}",
                item["resource_name"] or "",
                item["reason"],
            )
    screen.print(table)


@app.command()
def apply(
    run: Run, organization: Organization, url: Url = None, by: By = "", as_json: AsJson = False
) -> None:
    """Apply a proposal, in one transaction; refused as stale if its inputs have changed."""
    with database(url) as db:
        organization_id, _ = organization_of(db, organization)
        counts = apply_proposal(db, organization_id, run_of(run), decided_by=by or None)
    if as_json:
        print_json({"run_id": run, "status": "applied", **counts})
    else:
        screen.print("applied: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command()
def reject(
    run: Run,
    organization: Organization,
    url: Url = None,
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Reject a proposal; it is kept with the reason."""
    with database(url) as db:
        organization_id, _ = organization_of(db, organization)
        reject_proposal(db, organization_id, run_of(run), decided_by=by or None, decision=reason or None)
    if as_json:
        print_json({"run_id": run, "status": "rejected"})
    else:
        screen.print("rejected")


def window(start: str, days: int, timezone: str) -> tuple[dt.datetime, dt.datetime]:
    """Return the window of `days` from a time on, or from now."""
    first = time_of(start, timezone) if start else dt.datetime.now(dt.UTC)
    return first, time_of(
        str(first.astimezone(time_of("2000-01-01", timezone).tzinfo).date() + dt.timedelta(days=days)),
        timezone,
    )


def run_of(text: str) -> UUID:
    """Parse the id of a run."""
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is not the id of a run: 'barnameh plan show' lists them") from None


def location_of(db: DatabaseManager, organization_id: UUID, location: str) -> UUID | None:
    """Return the location with this name or id; None for all."""
    if not location:
        return None
    rows = db.tenant(organization_id).execute_query(
        SQL["locations"], {"organization_id": organization_id, "location": location}
    )
    if len(rows) != 1:
        raise UsageError(
            f"the organization has {len(rows) or 'no'} locations {location!r}: give the name or id of one"
        )
    found: UUID = rows[0]["location_id"]
    return found


def parse_what_if(db: DatabaseManager, organization_id: UUID, texts: list[str]) -> WhatIf:
    """Parse the trial changes of the command line."""
    contract: dict[str, float] = {}
    without: set[UUID] = set()
    extra: list[tuple[str, UUID]] = []
    flags = {"ignore_skills": False, "anywhere": False}
    people = OperationalDataQueries(db.tenant(organization_id)).get_employees(organization_id)
    for text in texts:
        name, _, value = text.partition("=")
        if name in flags and not value:
            flags[name] = True
        elif name in ("max_hours_per_week", "min_rest_hours", "hours_per_week", "max_consecutive_days"):
            try:
                contract[name] = int(value) if name == "max_consecutive_days" else float(value)
            except ValueError:
                raise UsageError(f"--what-if {text}: give a number, such as {name}=9") from None
            if not 0 <= contract[name] <= 366:
                raise UsageError(f"--what-if {text}: give a number of at least 0, such as {name}=9")
        elif name == "without":
            found = [
                p for p in people if value in (p["full_name"], p["employee_code"], str(p["employee_id"]))
            ]
            if len(found) != 1:
                raise UsageError(
                    f"--what-if {text}: {len(found) or 'no'} employees have this name: give a code or id"
                )
            without.add(found[0]["employee_id"])
        elif name == "extra" and "@" in value:
            skill, _, where = value.partition("@")
            place = location_of(db, organization_id, where)
            if place is None:
                raise UsageError(f"--what-if {text}: give extra=SKILL@LOCATION")
            extra.append((skill, place))
        else:
            raise UsageError(f"--what-if {text} is unknown: see 'barnameh plan roster --help'")
    return WhatIf(contract, frozenset(without), tuple(extra), **flags)


def _weights(texts: list[str] | None) -> dict[str, float]:
    return _amounts(texts, "--weight", "change=0")


def _amounts(texts: list[str] | None, option: str, example: str) -> dict[str, float]:
    found = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"{option} {text}: give a name and a number, such as {example}") from None
        if not name or not 0 <= found[name] < 1e15:
            raise UsageError(f"{option} {text}: give a name and a number of at least 0, such as {example}")
    return found


def _scheduled(kind: str) -> worker.Task:
    """The worker's task: create a proposal, which is not applied automatically."""

    def task(db: DatabaseManager, due: Mapping[str, Any], stop: Callable[[], bool]) -> None:
        arguments, organization_id = due["arguments"], due["organization_id"]
        scope = db.tenant(organization_id)
        (row,) = scope.execute_query(SQL["organization"], {"organization_id": organization_id})
        first, last = window("", int(arguments.get("days", 14)), row["timezone"])
        seconds, place = float(arguments.get("limit", DEFAULT_SECONDS)), due["location_id"]
        if kind == "production":
            propose_production(
                db, organization_id, start=first, end=last, location_id=place, seconds=seconds, stop=stop
            )
            return
        weights = Weights.of(arguments["weights"]) if arguments.get("weights") else None
        propose_roster(
            db,
            organization_id,
            start=first,
            end=last,
            location_id=place,
            seconds=seconds,
            weights=weights,
            stop=stop,
        )

    return task


TASKS: dict[str, worker.Task] = {f"plan {kind}": _scheduled(kind) for kind in ("roster", "production")}


def show_roster(proposal: Proposal, timezone: str, *, as_json: bool, explained: bool) -> None:
    """Print the proposal, and what stays empty and why."""
    result = proposal.result
    if as_json:
        print_json(
            {
                "run_id": proposal.run_id,
                "is_proposal": proposal.is_proposal,
                "result": result,
                "items": [item for item in proposal.items if item["action"] != "keep"],
            }
        )
        return
    before, after = result["kpis"]["before"], result["kpis"]["after"]
    table = Table(
        title=f"{result['inputs']['shifts']} shifts, {result['inputs']['employees']} people: {result['status']}"
    )
    for heading in ("", "now", "proposed"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in (
        "empty_places",
        "missing_skills",
        "shifts_short",
        "hours",
        "hours_above_contract",
        "expected_absences",
    ):
        table.add_row(name.replace("_", " "), f"{before[name]:g}", f"{after[name]:g}")
    table.add_row("changes", "", f"{after['added']} added, {after['removed']} removed")
    screen.print(table)
    changes = Table(title="What changes")
    for heading in ("", "when", "shift", "who", "why"):
        changes.add_column(heading, no_wrap=heading == "when")
    for item in proposal.items:
        if item["action"] != "keep":
            changes.add_row(
                item["action"],
                _span(*proposal.times[UUID(item["shift_id"])], timezone),
                proposal.names[UUID(item["shift_id"])],
                proposal.names.get(UUID(item["employee_id"]), item["employee_id"]),
                item["reason"],
            )
    if changes.row_count:
        screen.print(changes)
    if result["unfilled"]:
        empty = Table(title="Understaffed shifts, and why no one can fill them")
        for heading in ("shift", "when", "missing", "people"):
            empty.add_column(heading)
        for gap in result["unfilled"]:
            count = gap["missing"]
            lacking = ["1 person" if count == 1 else f"{count} people"] * bool(count) + gap["missing_skills"]
            reasons = ", ".join(f"{why} {count}" for why, count in gap["reasons"].items())
            first, last = (dt.datetime.fromisoformat(gap[name]) for name in ("starts_at", "ends_at"))
            empty.add_row(gap["name"], _span(first, last, timezone), ", ".join(lacking), reasons)
        screen.print(empty)
    for relaxed in result["relaxations"] if explained else ():
        screen.print(
            f"with {relaxed['rule']}: empty places {relaxed['was_empty_places']} → {relaxed['empty_places']}, "
            f"missing skills {relaxed['was_missing_skills']} → {relaxed['missing_skills']}"
        )
    for text in result["already_broken"]:
        screen.print(f"already broken by pinned assignments: {text}")
    if proposal.is_proposal:
        screen.print(
            f"barnameh plan apply {proposal.run_id} --organization … makes it live.", highlight=False
        )


def _span(first: dt.datetime, last: dt.datetime, timezone: str) -> str:
    zone = ZoneInfo(timezone)
    return f"{first.astimezone(zone):%a %Y-%m-%d %H:%M} - {last.astimezone(zone):%H:%M}"


def _list(rows: list[dict[str, Any]], timezone: str) -> None:
    if not rows:
        screen.print("No proposals yet. 'barnameh plan roster --organization …' proposes a roster.")
        return
    zone, table = ZoneInfo(timezone), Table()
    for heading in ("run", "kind", "status", "made", "decided"):
        table.add_column(heading, no_wrap=heading in ("run", "kind", "status"))
    for row in rows:
        table.add_row(
            str(row["run_id"]),
            row["kind"],
            row["status"],
            f"{row['created_at'].astimezone(zone):%Y-%m-%d %H:%M}",
            f"{row['decided_at'].astimezone(zone):%Y-%m-%d %H:%M}" if row["decided_at"] else "",
        )
    screen.print(table)
