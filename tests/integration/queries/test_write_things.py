"""Creation of organizations, locations, resources and employees: as the owner, in a tenant scope, and inside a caller's transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal

import pytest

from db_utils.errors import (
    CheckViolationError,
    ForeignKeyViolationError,
    NotFoundError,
    UniqueViolationError,
)
from db_utils.queries import UnknownReferenceError
from tests.support.write_site import NOON, Site, refused


def test_what_was_created_is_returned_and_found(site: Site) -> None:
    q, o = site.queries, site.organization
    identity = uuid.uuid4()
    location = q.create_location(
        o,
        "Depot",
        location_type="depot",
        timezone="Asia/Tokyo",
        address="1 Road",
        latitude_degrees=35.5,
        longitude_degrees=Decimal("139.123456789012345678"),
        metadata={"gates": [1, 2], "open": True, "note": 'a "quoted" % text'},
        location_id=str(identity),
    )
    assert location["location_id"] == identity
    assert location["longitude_degrees"] == Decimal("139.123456789012345678")
    assert location["metadata"] == {"gates": [1, 2], "open": True, "note": 'a "quoted" % text'}
    assert location in q.get_locations(o, location_type="depot")

    resource = q.create_resource(
        o, "Van", location_id=identity, resource_type="vehicle", capacity_unit="parcels"
    )
    assert resource["status"] == "running"
    assert resource["rated_capacity_per_hour"] is None
    assert q.get_resources(o, resource_type="vehicle") == [resource]

    employee = q.create_employee(
        o,
        "Grace",
        location_id=identity,
        employee_code="2",
        role="driver",
        skills=["driving", "sorting", "driving"],
        hired_on_date=dt.date(2020, 2, 29),
        is_active=False,
    )
    assert employee["skills"] == ["driving", "sorting"]
    assert q.get_employees(o, location_id=identity) == []
    assert q.get_employees(o, location_id=identity, include_inactive=True) == [employee]
    assert q.get_skills(o) == [{"skill": "press", "employee_count": 1}]


def test_names_are_taken_once(site: Site) -> None:
    q, o = site.queries, site.organization
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_location(o, "Hall", location_type="office", timezone="UTC"),
    )
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_resource(o, "Press", location_id=site.location, resource_type="press"),
    )
    refused(
        site,
        UniqueViolationError,
        lambda: q.create_employee(o, "Bob", location_id=site.location, employee_code="1", role="operator"),
    )


def test_a_time_zone_must_be_one(site: Site) -> None:
    refused(
        site,
        CheckViolationError,
        lambda: site.queries.create_location(
            site.organization, "Moon", location_type="office", timezone="Moon/Tycho"
        ),
    )


def test_status_and_skills_can_change(site: Site) -> None:
    q, o = site.queries, site.organization
    assert q.set_resource_status(o, site.resource, status="down")["status"] == "down"
    assert q.get_resource_status(o)[0]["status"] == "down"
    assert q.set_employee_skills(o, site.employee, skills=("welding", "press"))["skills"] == [
        "welding",
        "press",
    ]
    assert q.set_employee_skills(o, site.employee, skills=[])["skills"] == []
    for call in (
        lambda: q.set_resource_status(o, uuid.uuid4(), status="idle"),
        lambda: q.set_employee_skills(o, uuid.uuid4(), skills=[]),
    ):
        with pytest.raises(NotFoundError, match="does not exist in organization"):
            call()


def test_what_is_not_there_cannot_be_referred_to(site: Site) -> None:
    q, o, nowhere = site.queries, site.organization, uuid.uuid4()
    calls: dict[str, Callable[[], object]] = {
        "location_id": lambda: q.create_resource(o, "X", location_id=nowhere, resource_type="x"),
        "resource_id": lambda: q.raise_alert(o, "X", severity="low", alert_type="x", resource_id=nowhere),
        "anomaly_id": lambda: q.raise_alert(o, "X", severity="low", alert_type="x", anomaly_id=nowhere),
        "employee_id": lambda: q.record_attendance(
            o, [{"time": NOON, "employee_id": nowhere, "status": "present"}]
        ),
        "shift_id": lambda: q.record_attendance(
            o, [{"time": NOON, "employee_id": site.employee, "shift_id": nowhere, "status": "present"}]
        ),
    }
    for argument, call in calls.items():
        refused(site, UnknownReferenceError, call, f"{argument} names no row")
        refused(site, NotFoundError, call)
        refused(site, ForeignKeyViolationError, call)
    assert site.count("alerts") == site.count("employee_attendance") == 0
