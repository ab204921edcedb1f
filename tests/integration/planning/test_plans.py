"""Plans on a real database: proposed, applied, refused as stale, killed; no other organization's rows change."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from barnameh.__main__ import main
from barnameh.cli.common import organization_of
from barnameh.errors import ServiceError, UsageError
from barnameh.planning import run as runs
from barnameh.planning.apply import StaleError, apply_proposal, reject_proposal
from barnameh.planning.inputs import WhatIf
from barnameh.planning.production_run import propose_production
from barnameh.planning.recording import Proposal
from barnameh.planning.run import propose_roster
from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.queries import WrongStateError
from tests.support.commands import Done
from tests.support.commands import call as in_process
from tests.support.seed_story import seeded_at

HOUR = dt.timedelta(hours=1)
DAY = 24 * HOUR


@dataclass
class Site:
    """An organization with one location, three people and a week of two shifts a day, each for one person."""

    db: DatabaseManager
    organization_id: UUID
    location_id: UUID
    people: list[UUID]
    shifts: list[UUID]
    start: dt.datetime

    @property
    def queries(self) -> OperationalDataQueries:
        return OperationalDataQueries(self.db)

    def propose(self, **options: Any) -> Proposal:
        return propose_roster(
            self.db, self.organization_id, start=self.start, end=self.start + 7 * DAY, **options
        )

    def assigned(self) -> set[tuple[UUID, UUID]]:
        rows = self.db.execute_query(
            "SELECT shift_id, employee_id FROM shift_assignments WHERE organization_id = %s AND status <> 'cancelled'",
            (self.organization_id,),
        )
        return {(row["shift_id"], row["employee_id"]) for row in rows}

    def run(self, run_id: UUID | None) -> dict[str, Any]:
        (row,) = self.db.execute_query("SELECT * FROM optimization_runs WHERE run_id = %s", (run_id,))
        return row


def new_site(db: DatabaseManager, name: str) -> Site:
    q = OperationalDataQueries(db)
    org = q.create_organization(name, industry="test", timezone="Europe/Paris")["organization_id"]
    place = q.create_location(org, "Hall", location_type="factory", timezone="Europe/Paris")["location_id"]
    people = [
        q.create_employee(
            org,
            f"Person {n}",
            location_id=place,
            employee_code=f"P{n}",
            role="operator",
            skills=["a"] if n else [],
        )["employee_id"]
        for n in range(3)
    ]
    # From Tuesday on, so that it crosses a week boundary.
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today + dt.timedelta(days=8 - today.weekday())
    shifts = [
        q.create_shift(
            org,
            name,
            location_id=place,
            starts_at=start + day * DAY + first * HOUR,
            ends_at=start + day * DAY + (first + 8) * HOUR,
            required_skills=["a"] if first == 5 else [],
        )["shift_id"]
        for day in range(7)
        for name, first in (("Early", 5), ("Late", 13))
    ]
    return Site(db, org, place, people, shifts, start)


@pytest.fixture
def site(empty_database: DatabaseManager) -> Site:
    return new_site(empty_database, "Site")


def test_a_proposal_becomes_the_roster(site: Site) -> None:
    other = new_site(site.db, "Other")
    other.queries.assign_employee(other.organization_id, other.shifts[0], employee_id=other.people[1])
    before = other.assigned()
    proposal = site.propose()
    assert proposal.result["status"] == "optimal"
    assert not proposal.is_short
    assert site.assigned() == set(), "nothing is live before it is applied"
    row = site.run(proposal.run_id)
    assert (row["status"], row["objective_unit"]) == ("completed", "penalty")
    assert row["result"]["kpis"]["before"]["empty_places"] == 14
    assert row["result"]["inputs"]["fingerprint"]
    assert apply_proposal(site.db, site.organization_id, proposal.run_id, decided_by="me") == {
        "added": 14, "removed": 0, "kept": 0,
    }  # fmt: skip
    assert site.assigned() == {
        (UUID(i["shift_id"]), UUID(i["employee_id"])) for i in proposal.items if i["action"] == "add"
    }
    assert not site.queries.get_shift_coverage_gaps(site.organization_id, start=site.start)
    (kept,) = site.queries.get_schedule_proposals(site.organization_id)
    assert (kept["status"], kept["decided_by"]) == ("applied", "me")
    assert other.assigned() == before
    with pytest.raises(WrongStateError, match="is applied"):
        apply_proposal(site.db, site.organization_id, proposal.run_id)
    with pytest.raises(UsageError, match="proposed nothing"):
        apply_proposal(site.db, other.organization_id, proposal.run_id)
    again = site.propose()
    assert {i["action"] for i in again.items} == {"keep"}


@pytest.mark.parametrize("what", ["shift", "assignment", "employee", "contract", "away", "left"])
def test_a_change_since_makes_it_stale(site: Site, what: str) -> None:
    proposal = site.propose()
    q, org = site.queries, site.organization_id
    if what == "shift":
        site.db.execute("UPDATE shifts SET required_employees = 2 WHERE shift_id = %s", (site.shifts[3],))
    elif what == "assignment":
        q.assign_employee(org, site.shifts[0], employee_id=site.people[1])
    elif what == "employee":
        site.db.execute("UPDATE employees SET skills = '{}' WHERE employee_id = %s", (site.people[1],))
    elif what == "contract":
        q.set_employee_contract(org, site.people[0], valid_from=site.start.date(), max_hours_per_week=40)
    elif what == "away":
        q.record_unavailability(
            org, site.people[0], starts_at=site.start, ends_at=site.start + DAY, reason="sick"
        )
    else:
        q.end_employment(org, site.people[0], effective_at=site.start)
    before = site.assigned()
    with pytest.raises(StaleError, match="plan again"):
        apply_proposal(site.db, org, proposal.run_id)
    assert site.assigned() == before
    (row,) = q.get_schedule_proposals(org)
    assert row["status"] == "stale"
    assert "changed since" in row["decision"]


def test_who_falls_ill_is_replaced_with_few_changes(site: Site) -> None:
    first = site.propose()
    apply_proposal(site.db, site.organization_id, first.run_id)
    (ill,) = [e for s, e in site.assigned() if s == site.shifts[0]]
    site.queries.record_unavailability(
        site.organization_id, ill, starts_at=site.start, ends_at=site.start + 2 * DAY, reason="sick"
    )
    proposal = site.propose()
    gone = [i for i in proposal.items if i["action"] == "remove"]
    gone_of_ill = [i for i in gone if i["employee_id"] == str(ill)]
    assert gone_of_ill
    assert all(i["reason"] == "is away: sick" for i in gone_of_ill)
    changes = [i for i in proposal.items if i["action"] != "keep"]
    # At most one more has to move for each absent person: the early shift needs a skill that only two have.
    assert len(gone) <= 2 * len(gone_of_ill)
    assert len(changes) <= 4 * len(gone_of_ill)
    counts = apply_proposal(site.db, site.organization_id, proposal.run_id)
    assert counts["removed"] == len(gone)
    # Two can do the work of three: every shift has its person, each removal has a replacement, and no one works while ill.
    assert sorted(shift for shift, _ in site.assigned()) == sorted(site.shifts)
    assert len([i for i in changes if i["action"] == "add"]) == len(gone)
    assert not any((shift, ill) in site.assigned() for shift in site.shifts[:4])


def test_what_if_and_dry_run_propose_nothing(site: Site) -> None:
    tried = site.propose(what_if=WhatIf(without=frozenset({site.people[1]})), explained=True)
    assert not tried.is_proposal
    assert tried.is_short
    assert site.run(tried.run_id)["status"] == "completed"
    with pytest.raises(UsageError, match="proposed nothing"):
        apply_proposal(site.db, site.organization_id, tried.run_id)
    runs_before = site.db.execute_query("SELECT count(*) AS n FROM optimization_runs")
    assert site.propose(save=False).run_id is None
    assert site.db.execute_query("SELECT count(*) AS n FROM optimization_runs") == runs_before
    assert all(sum(gap["reasons"].values()) == 3 for gap in tried.result["unfilled"])
    assert {r["rule"] for r in tried.result["relaxations"]} >= {"skills ignored", "everyone anywhere"}


def test_a_rejected_one_is_kept_with_the_reason(site: Site) -> None:
    proposal = site.propose(seconds=0)
    assert proposal.run_id is not None
    reject_proposal(site.db, site.organization_id, proposal.run_id, decision="not now")
    (row,) = site.queries.get_schedule_proposals(site.organization_id)
    assert (row["status"], row["decision"]) == ("rejected", "not now")
    with pytest.raises(WrongStateError):
        apply_proposal(site.db, site.organization_id, proposal.run_id)


def test_an_applications_own_login_plans_and_a_customers_does_not(site: Site) -> None:
    application, customer, password = (f"plan_{uuid.uuid4().hex[:10]}" for _ in range(3))
    site.db.execute(f"CREATE ROLE {application} LOGIN PASSWORD '{password}'")
    site.db.execute(f"GRANT barnameh_tenant TO {application} WITH INHERIT FALSE, SET TRUE")
    site.db.execute("CALL create_tenant_login(%s, %s, %s)", (site.organization_id, customer, password))

    def login(role: str) -> DatabaseManager:
        there = parse_dsn(site.db.settings.database_url)
        return DatabaseManager(make_dsn(**{**there, "user": role, "password": password}))

    try:
        with login(application) as db:
            proposal = dataclasses.replace(site, db=db).propose()
            apply_proposal(db, site.organization_id, proposal.run_id)
            assert organization_of(db, str(site.organization_id))[0] == site.organization_id
            with pytest.raises(UsageError, match="give the organization's id"):
                organization_of(db, "Sample Manufacturing")
        assert len(site.assigned()) == 14
        with login(customer) as db:
            with pytest.raises(UsageError, match="customer's login"):
                dataclasses.replace(site, db=db).propose()
            with pytest.raises(UsageError, match="customer's login"):
                organization_of(db, str(site.organization_id))
    finally:
        site.db.execute("CALL drop_tenant_login(%s)", (customer,))
        site.db.execute(f"DROP OWNED BY {application}")
        site.db.execute(f"DROP ROLE {application}")


@pytest.mark.slow
def test_a_run_that_was_killed_is_failed_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process dies while solving: its run stays running, and it proposes nothing."""
    code = (
        "import os, sys, uuid, datetime as dt\n"
        "from db_utils import DatabaseManager\n"
        "from barnameh.planning import run\n"
        "run._planned = lambda *a: os._exit(9)\n"
        "start = dt.datetime.fromisoformat(sys.argv[3])\n"
        "run.propose_roster(DatabaseManager(sys.argv[1]), uuid.UUID(sys.argv[2]), start=start, end=start + dt.timedelta(days=7))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, site.db.health().url, str(site.organization_id), site.start.isoformat()],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        timeout=120,
        check=False,
    )
    assert done.returncode == 9
    assert [r["status"] for r in site.queries.get_latest_optimization_runs(site.organization_id)] == [
        "running"
    ]
    assert site.propose().is_proposal
    newest, killed = site.queries.get_latest_optimization_runs(site.organization_id)
    assert (newest["status"], killed["status"]) == ("completed", "failed")
    assert "gone" in killed["error_message"]

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(runs, "_planned", fail)
    with pytest.raises(RuntimeError):
        site.propose()
    assert site.queries.get_latest_optimization_runs(site.organization_id)[0]["status"] == "failed"
    assert len(site.queries.get_schedule_proposals(site.organization_id)) == 1


def test_an_empty_organization_has_nothing_to_plan(empty_database: DatabaseManager) -> None:
    org = OperationalDataQueries(empty_database).create_organization("Empty", industry="x")["organization_id"]
    now = dt.datetime.now(dt.UTC)
    roster = propose_roster(empty_database, org, start=now, end=now + 14 * DAY)
    assert (roster.result["status"], roster.items) == ("optimal", [])
    production = propose_production(empty_database, org, start=now, end=now + 14 * DAY)
    assert (production.result["status"], production.items) == ("optimal", [])
    with pytest.raises(UsageError, match="ends before it begins"):
        propose_roster(empty_database, org, start=now, end=now)


def test_plans_go_where_they_can_be_made(site: Site) -> None:
    q, org = site.queries, site.organization_id
    slow, fast = (
        q.create_resource(org, name, location_id=site.location_id, resource_type="press")["resource_id"]
        for name in ("Slow", "Fast")
    )
    q.set_resource_capability(org, slow, product_id="P", rate_per_hour=10)
    q.set_resource_capability(org, fast, product_id="P", rate_per_hour=100, setup_minutes=60)
    due = (site.start + 2 * DAY).date()
    plan = q.create_production_plan(
        org, "P", location_id=site.location_id, plan_date=due, planned_quantity=1500, resource_id=slow
    )["plan_id"]
    nobody = q.create_production_plan(
        org, "Q", location_id=site.location_id, plan_date=due, planned_quantity=5
    )["plan_id"]
    proposal = propose_production(site.db, org, start=site.start, end=site.start + 7 * DAY)
    made = [i for i in proposal.items if i["plan_id"] == str(plan)]
    assert sum(i["quantity"] for i in made) == pytest.approx(1500)
    assert all(i["work_date"] <= due.isoformat() for i in made)
    (never,) = [i for i in proposal.items if i["plan_id"] == str(nobody)]
    assert (never["action"], never["reason"]) == ("remove", "no resource of its location can make Q")
    assert [late["product_id"] for late in proposal.result["late"]] == ["Q"]
    assert apply_proposal(site.db, org, proposal.run_id)["planned"] == 1  # type: ignore[arg-type]
    (row,) = site.db.execute_query(
        "SELECT resource_id, plan_date FROM production_plans WHERE plan_id = %s", (plan,)
    )
    assert (row["resource_id"], row["plan_date"]) == (fast, due)
    schedule = q.get_production_schedule(org, days=30)
    assert sum(r["quantity"] for r in schedule) == pytest.approx(1500)
    assert not any(r["is_late"] for r in schedule)
    later = propose_production(site.db, org, start=site.start, end=site.start + 7 * DAY)
    wrong = q.start_optimization_run(org, run_type="production_planning", algorithm="by hand", parameters={})[
        "run_id"
    ]
    q.finish_optimization_run(org, wrong, result=later.result, objective_value=0.0, objective_unit="hours")
    q.create_schedule_proposal(
        org,
        wrong,
        kind="plan",
        location_id=None,
        window_start=site.start,
        window_end=site.start + 7 * DAY,
        fingerprint=later.result["inputs"]["fingerprint"],
        items=[{**i, "quantity": 1600.0} if "quantity" in i else i for i in later.items],
    )
    with pytest.raises(ServiceError, match="breaks a rule"):
        apply_proposal(site.db, org, wrong)
    assert q.get_schedule_proposals(org, run_id=wrong)[0]["status"] == "proposed"
    q.record_plan_progress(org, plan, actual_quantity=10)
    with pytest.raises(StaleError):
        apply_proposal(site.db, org, later.run_id)  # type: ignore[arg-type]


def test_the_commands(site: Site) -> None:
    def call(*arguments: str) -> Done:
        on_site = ["--url", site.db.health().url, "--organization", "Site"]
        return in_process(main, ["plan", *arguments, *on_site], {**os.environ, "COLUMNS": "200"}, Path.cwd())

    window = ("--start", site.start.isoformat(), "--days", "7")
    tried = call("roster", *window, "--what-if", "without=P1", "--explain")
    assert tried.code == 3, tried.err
    assert "Understaffed shifts" in tried.out
    done = call("roster", *window, "--json")
    assert done.code == 0, done.err
    answer = done.json
    assert answer["is_proposal"]
    shown = call("show", answer["run_id"])
    assert shown.out.count("Early") == 7
    assert "0 removed" in call("apply", answer["run_id"], "--by", "me").out
    assert call("apply", answer["run_id"]).code == 1
    assert "give a name and a number" in call("roster", *window, "--weight", "change").err
    assert "no employees have this name" in call("roster", *window, "--what-if", "without=Nobody").err
    assert call("production", *window, "--dry-run").code == 0
    assert "no forecast asks for it" in call("production", *window, "--stock", "NOPE=5").err
    assert "at least 0" in call("roster", *window, "--what-if", "min_rest_hours=-1").err


@pytest.mark.slow
def test_the_samples_roster(empty_database: DatabaseManager) -> None:
    """The sample data at one instant: understaffed shifts now, in the cheapest roster, and without the limit on consecutive days."""
    anchor = dt.datetime(2026, 3, 20, 11, tzinfo=dt.UTC)
    short: dict[str, list[int]] = {}
    with seeded_at(empty_database.health().url, anchor.isoformat()) as db:
        for row in db.execute_query("SELECT organization_id, name FROM organizations"):
            for what_if in (None, WhatIf(contract={"max_consecutive_days": 30})):
                result = propose_roster(
                    db,
                    row["organization_id"],
                    start=anchor,
                    end=anchor + 14 * DAY,
                    save=False,
                    seconds=120,
                    what_if=what_if,
                ).result
                assert result["status"] == "optimal"
                figures = short.setdefault(row["name"], [result["kpis"]["before"]["shifts_short"]])
                figures.append(result["kpis"]["after"]["shifts_short"])
    assert short == {"Sample Manufacturing": [12, 6, 4], "Sample Logistics": [8, 4, 2]}
