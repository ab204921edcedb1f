"""Writes by strangers, by other tenants, and by many at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import (
    CheckViolationError,
    NotFoundError,
    PermissionDeniedError,
)
from db_utils.queries import WrongStateError
from tests.support.write_site import HOUR, NOON, RUN


def test_an_unknown_organization_can_be_written_to_by_nobody(db: DatabaseManager) -> None:
    q, nobody, somewhere = OperationalDataQueries(db), uuid.uuid4(), uuid.uuid4()
    calls: list[Callable[[], object]] = [
        lambda: q.create_location(nobody, "X", location_type="office", timezone="UTC"),
        lambda: q.raise_alert(nobody, "X", severity="low", alert_type="x"),
        lambda: q.start_optimization_run(nobody, run_type="other", algorithm="x"),
        lambda: q.record_demand(
            nobody, [{"time": NOON, "product_id": "P", "location_id": somewhere, "quantity": 1}]
        ),
        lambda: q.record_external_factors(
            nobody,
            [
                {
                    "time": NOON,
                    "factor_type": "holiday",
                    "name": "holiday",
                    "value": 1,
                    "unit": "flag",
                    "available_at": NOON,
                }
            ],
        ),
        lambda: q.resolve_alert(nobody, somewhere),
    ]
    for call in calls:
        with pytest.raises(NotFoundError):
            call()


def test_a_tenant_writes_to_no_other_organization(db: DatabaseManager) -> None:
    owner = OperationalDataQueries(db)
    theirs, mine = (
        owner.create_organization(name, industry="x")["organization_id"] for name in ("Theirs", "Mine")
    )
    place = owner.create_location(theirs, "Hall", location_type="factory", timezone="UTC")["location_id"]
    alert = owner.raise_alert(theirs, "Hot", severity="low", alert_type="heat")["alert_id"]
    q = OperationalDataQueries(db.tenant(mine))
    inserts: list[Callable[[], object]] = [
        lambda: q.create_location(theirs, "X", location_type="office", timezone="UTC"),
        lambda: q.record_event(theirs, time=NOON, event_type="idle", location_id=place),
        lambda: q.record_demand(
            theirs, [{"time": NOON, "product_id": "P", "location_id": place, "quantity": 1}]
        ),
        lambda: q.raise_alert(theirs, "X", severity="low", alert_type="x"),
        lambda: q.create_organization("X", industry="x"),
    ]
    for call in inserts:
        with pytest.raises((PermissionDeniedError, CheckViolationError)):
            call()
    with pytest.raises(NotFoundError):
        q.resolve_alert(theirs, alert)
    with pytest.raises(NotFoundError, match="location_id names no row of locations"):
        q.record_event(mine, time=NOON, event_type="idle", location_id=place)
    assert owner.get_active_alerts(theirs)[0]["status"] == "active"
    assert len(owner.get_locations(theirs)) == 1


def test_what_a_transaction_rolls_back_is_gone(db: DatabaseManager) -> None:
    owner = OperationalDataQueries(db)
    organization = owner.create_organization("Undone", industry="x")["organization_id"]

    def change_my_mind() -> None:
        with db.transaction() as transaction:
            OperationalDataQueries(transaction).raise_alert(organization, "X", severity="low", alert_type="x")
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        change_my_mind()
    assert owner.get_alerts(organization) == []


def test_of_many_that_resolve_an_alert_at_once_one_succeeds(db: DatabaseManager) -> None:
    q = OperationalDataQueries(db)
    organization = q.create_organization("Race", industry="x")["organization_id"]
    alert = q.raise_alert(organization, "X", severity="low", alert_type="x")["alert_id"]
    barrier = threading.Barrier(8)
    results: list[str] = []

    def resolve() -> None:
        barrier.wait(30)
        try:
            q.resolve_alert(organization, alert)
        except WrongStateError as error:
            results.append(str(error.status))
        else:
            results.append("done")

    threads = [threading.Thread(target=resolve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == ["done"] + ["resolved"] * 7


def test_of_many_that_save_a_run_at_once_each_row_is_counted_once(db: DatabaseManager) -> None:
    q = OperationalDataQueries(db)
    organization = q.create_organization("Chorus", industry="x")["organization_id"]
    place = q.create_location(organization, "Hall", location_type="factory", timezone="UTC")["location_id"]
    rows: list[Any] = [
        {
            "product_id": f"P{number % 7}",
            "location_id": place,
            "target_time": NOON + number * HOUR,
            "predicted_quantity": number,
        }
        for number in range(700)
    ]
    barrier = threading.Barrier(4)
    written: list[int] = []

    def save(shift: int) -> None:
        barrier.wait(30)
        written.append(q.save_demand_forecasts(organization, rows[shift:] + rows[:shift], **RUN))

    threads = [threading.Thread(target=save, args=(171 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(written) == 4
    assert sum(written) == 700
