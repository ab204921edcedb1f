"""Plans, shifts, runs and alerts change state once: as the owner, in a tenant scope, and inside a caller's transaction."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_utils.errors import (
    CheckViolationError,
    ExclusionViolationError,
    NotFoundError,
)
from db_utils.queries import WrongStateError
from tests.support.write_site import DAY, HOUR, NOON, Site, refused


def test_a_plan_goes_its_way(site: Site) -> None:
    q, o = site.queries, site.organization

    def plan(**arguments: Any) -> uuid.UUID:
        row = q.create_production_plan(
            o, "P", location_id=site.location, plan_date=NOON.date(), planned_quantity=100, **arguments
        )
        assert (row["status"], row["actual_quantity"]) == ("planned", None)
        identity: uuid.UUID = row["plan_id"]
        return identity

    made, dropped = plan(resource_id=site.resource, priority=1), plan()
    with pytest.raises(
        WrongStateError, match="is planned: no progress was recorded, so give actual_quantity"
    ):
        q.complete_production_plan(o, made)
    assert q.record_plan_progress(o, made, actual_quantity=40)["status"] == "in_progress"
    assert q.record_plan_progress(o, made, actual_quantity=90)["actual_quantity"] == 90
    done = q.complete_production_plan(o, made)
    assert (done["status"], done["actual_quantity"]) == ("completed", 90)
    assert q.cancel_production_plan(o, dropped)["status"] == "cancelled"
    for call in (
        lambda: q.record_plan_progress(o, made, actual_quantity=1),
        lambda: q.complete_production_plan(o, made, actual_quantity=1),
        lambda: q.cancel_production_plan(o, made),
        lambda: q.complete_production_plan(o, dropped, actual_quantity=1),
    ):
        with pytest.raises(WrongStateError, match=r"is (completed|cancelled)"):
            call()
    for call in (
        lambda: q.record_plan_progress(o, uuid.uuid4(), actual_quantity=1),
        lambda: q.complete_production_plan(o, uuid.uuid4(), actual_quantity=1),
        lambda: q.cancel_production_plan(o, uuid.uuid4()),
    ):
        with pytest.raises(NotFoundError, match="plan"):
            call()
    (efficiency,) = q.get_production_efficiency(o, first_date=NOON.date(), end_date=NOON.date() + DAY)
    assert efficiency["efficiency_pct"] == 90
    (attained,) = q.get_plan_attainment(o, first_date=NOON.date(), end_date=NOON.date() + DAY)
    assert (attained["plan_count"], attained["attainment_pct"]) == (1, 90)
    refused(site, CheckViolationError, lambda: plan_of_nothing(site))


def plan_of_nothing(site: Site) -> None:
    site.queries.create_production_plan(
        site.organization, "P", location_id=site.location, plan_date=NOON.date(), planned_quantity=0
    )


def test_shifts_and_who_works_them(site: Site) -> None:
    q, o = site.queries, site.organization

    def shift(name: str, hour: int) -> uuid.UUID:
        row = q.create_shift(
            o,
            name,
            location_id=site.location,
            starts_at=NOON + hour * HOUR,
            ends_at=NOON + (hour + 8) * HOUR,
            required_employees=1,
            required_skills=["press", "magic"],
        )
        identity: uuid.UUID = row["shift_id"]
        return identity

    early, overlapping, late = shift("early", 0), shift("overlapping", 4), shift("late", 8)
    period = {"start": NOON, "end": NOON + DAY}
    gaps = q.get_shift_coverage_gaps(o, **period)
    assert [row["missing_employees"] for row in gaps] == [1, 1, 1]
    assert [row["missing_skills"] for row in gaps] == [["magic", "press"]] * 3

    assigned = q.assign_employee(o, early, employee_id=site.employee)
    assert (assigned["status"], assigned["starts_at"], assigned["ends_at"]) == (
        "scheduled",
        NOON,
        NOON + 8 * HOUR,
    )
    assert q.assign_employee(o, late, employee_id=site.employee, status="confirmed")["status"] == "confirmed"
    with pytest.raises(WrongStateError, match=r"is already assigned to shift .*, and scheduled"):
        q.assign_employee(o, early, employee_id=site.employee)
    refused(
        site, ExclusionViolationError, lambda: q.assign_employee(o, overlapping, employee_id=site.employee)
    )
    assert (
        q.set_assignment_status(o, early, employee_id=site.employee, status="completed")["status"]
        == "completed"
    )
    with pytest.raises(WrongStateError, match="is completed"):
        q.unassign_employee(o, early, employee_id=site.employee)
    assert q.unassign_employee(o, late, employee_id=site.employee)["status"] == "cancelled"
    assert q.assign_employee(o, late, employee_id=site.employee)["status"] == "scheduled"
    assert [row["name"] for row in q.get_shift_schedule(o, **period, employee_id=site.employee)] == [
        "early",
        "late",
    ]
    gaps = q.get_shift_coverage_gaps(o, **period)
    assert [row["missing_employees"] for row in gaps] == [0, 1, 0]
    assert gaps[0]["missing_skills"] == ["magic"]
    for call in (
        lambda: q.set_assignment_status(o, overlapping, employee_id=site.employee, status="absent"),
        lambda: q.unassign_employee(o, overlapping, employee_id=site.employee),
    ):
        with pytest.raises(NotFoundError, match="assignment"):
            call()
    refused(site, NotFoundError, lambda: q.assign_employee(o, uuid.uuid4(), employee_id=site.employee))
    refused(site, NotFoundError, lambda: q.assign_employee(o, overlapping, employee_id=uuid.uuid4()))


def test_an_optimization_run_ends_once(site: Site) -> None:
    q, o = site.queries, site.organization

    def start(**arguments: Any) -> uuid.UUID:
        row = q.start_optimization_run(o, run_type="routing", algorithm="tabu", **arguments)
        assert (row["status"], row["finished_at"]) == ("running", None)
        identity: uuid.UUID = row["run_id"]
        return identity

    good, bad, dropped = start(parameters={"trucks": 3}), start(), start()
    finished = q.finish_optimization_run(
        o, good, result=[1, {"a": None}], objective_value=Decimal("12.5"), objective_unit="EUR"
    )
    assert finished["status"] == "completed"
    assert finished["result"] == [1, {"a": None}]
    assert finished["finished_at"] >= finished["started_at"]
    assert q.fail_optimization_run(o, bad, error_message="infeasible")["error_message"] == "infeasible"
    assert q.cancel_optimization_run(o, dropped)["status"] == "cancelled"
    for run in (good, bad, dropped):
        for call in (
            lambda run=run: q.finish_optimization_run(o, run, result={}),  # type: ignore[misc]
            lambda run=run: q.fail_optimization_run(o, run, error_message="x"),  # type: ignore[misc]
            lambda run=run: q.cancel_optimization_run(o, run),  # type: ignore[misc]
        ):
            with pytest.raises(WrongStateError, match="only a running one can end"):
                call()
    with pytest.raises(NotFoundError, match="optimization run"):
        q.finish_optimization_run(o, uuid.uuid4(), result={})
    assert {row["run_id"] for row in q.get_latest_optimization_runs(o)} == {good, bad, dropped}
    assert q.finish_optimization_run(o, start(), result=["a", "b"])["result"] == ["a", "b"]


def test_an_alert_is_acknowledged_and_resolved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    alert = q.raise_alert(
        o, "Hot", severity="critical", alert_type="heat", message="180 degrees", resource_id=site.resource
    )
    other = q.raise_alert(o, "Odd", severity="low", alert_type="noise", metadata={"db": 90})
    assert (alert["status"], alert["acknowledged_at"]) == ("active", None)
    assert [row["title"] for row in q.get_active_alerts(o)] == ["Hot", "Odd"]
    taken = q.acknowledge_alert(o, alert["alert_id"], acknowledged_by="ada")
    assert (taken["status"], taken["acknowledged_by"]) == ("acknowledged", "ada")
    with pytest.raises(WrongStateError, match="is acknowledged: only an active one"):
        q.acknowledge_alert(o, alert["alert_id"])
    over = q.resolve_alert(o, alert["alert_id"], resolution="cooled")
    assert (over["status"], over["resolution"], over["acknowledged_by"]) == ("resolved", "cooled", "ada")
    with pytest.raises(WrongStateError, match="is resolved") as wrong:
        q.resolve_alert(o, alert["alert_id"])
    assert wrong.value.status == "resolved"
    with pytest.raises(WrongStateError, match="is resolved"):
        q.acknowledge_alert(o, alert["alert_id"])
    assert q.resolve_alert(o, other["alert_id"])["acknowledged_at"] is None
    for call in (lambda: q.resolve_alert(o, uuid.uuid4()), lambda: q.acknowledge_alert(o, uuid.uuid4())):
        with pytest.raises(NotFoundError, match="alert"):
            call()
    assert q.get_active_alerts(o) == []
    assert len(q.get_alerts(o)) == 2
