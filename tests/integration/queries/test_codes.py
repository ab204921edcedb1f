"""The customer's codes wherever identifiers are accepted: arguments, rows, frames, keys of events; and their errors."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from db_utils import RejectReport
from db_utils.connections.tenant import TenantScope
from db_utils.errors import CheckViolationError, InvalidInputError, NotFoundError, UniqueViolationError
from tests.support.write_site import NOON, Site, refused

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def coded(site: Site) -> Site:
    q, o = site.queries, site.organization
    q.create_location(o, "Depot North", location_type="depot", timezone="Europe/Paris", location_code="DN")
    q.create_resource(o, "Tram 17", location_id="DN", resource_type="vehicle", resource_code="V-17")
    # Its name is the other one's code.
    q.create_resource(o, "V-17", location_id="DN", resource_type="vehicle", resource_code=18)
    q.create_shift(
        o, "Early", location_id="DN", starts_at=NOON, ends_at=NOON + 8 * HOUR, shift_code="E/2024-05-06"
    )
    return site


def id_of(site: Site, table: str, code: str) -> uuid.UUID:
    thing = table.removesuffix("s")
    rows = site.db.execute_query(
        f"SELECT {thing}_id AS id FROM {table} WHERE organization_id = %s AND {thing}_code = %s",
        (site.organization, code),
    )
    found: uuid.UUID = rows[0]["id"]
    return found


def test_what_has_no_code_is_given_one(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    mended = q.set_resource_code(o, "Tram 17", resource_code="T 17")
    assert (mended["name"], mended["resource_code"]) == ("Tram 17", "T 17")
    assert mended == q.get_resources(o, resource_id="T 17")[0]
    assert q.get_resources(o, resource_id="V-17")[0]["resource_code"] == "18"  # the one with this code
    assert q.set_resource_code(o, "T 17", resource_code=None)["resource_code"] is None
    assert q.set_location_code(o, "Depot North", location_code="N") == q.get_locations(o, location_id="N")[0]
    assert q.set_employee_code(o, 1, employee_code=7.0) == q.get_employees(o, employee_id="7")[0]
    assert q.set_shift_code(o, "E/2024-05-06", shift_code="E")["shift_code"] == "E"
    refused(coded, UniqueViolationError, lambda: q.set_location_code(o, "Hall", location_code="N"))
    refused(coded, NotFoundError, lambda: q.set_shift_code(o, uuid.uuid4(), shift_code="L"))
    with pytest.raises(InvalidInputError, match="employee_code is None"):
        q.set_employee_code(o, "7", employee_code=None)  # type: ignore[arg-type]


def test_a_code_is_as_good_as_an_id(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    tram, other = id_of(coded, "resources", "V-17"), id_of(coded, "resources", "18")
    assert [r["resource_id"] for r in q.get_resources(o, resource_id="V-17")] == [tram]
    assert [r["resource_id"] for r in q.get_resources(o, resource_id=" V-17 ")] == [tram]
    assert [r["resource_id"] for r in q.get_resources(o, resource_id="Tram 17")] == [tram]
    for number in (18, 18.0, "18", "18.0"):
        assert [r["resource_id"] for r in q.get_resources(o, resource_id=number)] == [other]
    assert {r["resource_code"] for r in q.get_resources(o, location_id="Depot North")} == {"V-17", "18"}
    assert q.set_resource_status(o, "V-17", status="down")["resource_code"] == "V-17"
    assert q.move_resource(o, "V-17", location_id="Hall")["location_id"] == coded.location
    assert q.assign_employee(o, "E/2024-05-06", employee_id="1")["employee_id"] == coded.employee
    (shift,) = q.get_shift_schedule(o, employee_id=1, location_id="DN", start=NOON, end=NOON + HOUR)
    assert shift["shift_code"] == "E/2024-05-06"
    contract = q.set_employee_contract(
        o, "1", valid_from=dt.date(2024, 1, 1), may_work_at=["DN", coded.location]
    )
    assert contract["may_work_at"] == [id_of(coded, "locations", "DN"), coded.location]


def test_unknown_codes_are_named_with_the_nearest(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    refused(
        coded,
        NotFoundError,
        lambda: q.get_events(o, resource_id="V17", location_id="Moon"),
        "no resource 'V17' .did you mean 'V-17'.*get_or_create_resource.*no location 'Moon'",
    )
    rows = [{"time": NOON, "event_type": "idle", "resource_id": code} for code in ("V-17", "X-1", "X-2")]
    refused(
        coded, NotFoundError, lambda: q.record_events(o, rows), "events: row 2: resource_id: .*'X-1', 'X-2'"
    )
    assert coded.count("operational_events") == 0
    stranger = uuid.uuid4()
    refused(
        coded,
        NotFoundError,
        lambda: q.get_resources(stranger, location_id="DN"),
        f"{stranger} does not exist",
    )


def test_a_code_is_unique_and_no_identifier(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    refused(
        coded,
        UniqueViolationError,
        lambda: q.create_resource(
            o, "Tram 19", location_id="DN", resource_type="vehicle", resource_code="V-17"
        ),
    )
    for text in (str(uuid.uuid4()), uuid.uuid4().hex, f"{{{uuid.uuid4()}}}", f"urn:uuid:{uuid.uuid4()}"):
        refused(
            coded,
            InvalidInputError,
            lambda text=text: q.create_location(
                o, "L", location_type="depot", timezone="UTC", location_code=text
            ),
            "reads as a UUID",
        )
        refused(
            coded,
            CheckViolationError,
            lambda text=text: coded.db.execute(
                "UPDATE locations SET location_code = %s WHERE organization_id = %s AND name = 'Hall'",
                (text, o),
            ),
        )


def test_rows_name_things_by_code_and_events_by_key(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    tram = id_of(coded, "resources", "V-17")
    events = [
        {
            "time": NOON,
            "event_type": "idle",
            "resource_id": "V-17",
            "employee_id": 1,
            "event_id": "trip 4711",
        },
        {"time": NOON, "event_type": "idle", "resource_id": tram, "employee_id": 1.0, "event_id": 4712},
    ]
    assert q.record_events(o, events) == 2
    assert q.record_events(o, pd.DataFrame(events)) == 0  # an id and a code of the same row
    recorded = {row["event_id"] for row in q.get_events(o, resource_id="V-17", start=NOON, end=NOON + HOUR)}
    assert recorded == {uuid.uuid5(o, f"operational_events:{key}") for key in ("trip 4711", "4712")}
    later = {"time": NOON + HOUR, "event_type": "idle", "resource_id": "V-17", "event_id": "trip 4711"}
    assert q.record_event(o, **later | {"event_id": "one more"}) == uuid.uuid5(
        o, "operational_events:one more"
    )
    assert q.record_events(o, [later], replace=True) == 1
    assert coded.count("operational_events") == 3
    refused(
        coded,
        InvalidInputError,
        lambda: q.record_events(o, [later, later]),
        "rows 1 and 2 have the same event_id",
    )
    demand = [
        {"time": NOON, "product_id": "P", "location_id": code, "quantity": 1} for code in ("DN", "Hall")
    ]
    assert q.record_demand(o, demand) == 2
    attendance = [{"time": NOON, "employee_id": "1", "status": "present", "shift_id": "E/2024-05-06"}]
    assert q.record_attendance(o, attendance) == 1
    assert q.record_resource_metrics(o, [{"time": NOON, "resource_id": "V-17", "utilization_pct": 5}]) == 1


def test_frames_name_things_by_code(coded: Site) -> None:
    o, tram = coded.organization, id_of(coded, "resources", "V-17")
    frame = pd.DataFrame(
        {
            "time": [NOON, NOON, NOON],
            "event_id": ["trip 1", str(uuid.UUID(int=5)), "trip 3"],
            "event_type": ["idle"] * 3,
            "location_id": ["DN"] * 3,
            "resource_id": ["V-17", None, str(tram)],
            "employee_id": [1.0, float("nan"), 1.0],
        }
    )
    owned = frame.assign(organization_id=str(o))
    given: list[tuple[int, Any]] = [
        (1, owned),
        (2, pl.from_pandas(owned)),
        (3, pa.Table.from_pandas(owned)),
        (4, pa.Table.from_pandas(owned).to_reader(max_chunksize=2)),
        (5, owned.astype({"location_id": "category"})),
    ]
    if isinstance(coded.db, TenantScope):  # their organization need not be given
        given += [(6, frame), (7, pa.Table.from_pandas(frame).to_reader())]
    for number, rows in given:
        key = ["organization_id", "event_id", "time"]
        assert coded.db.write_frame("operational_events", rows, conflict_columns=key) == 3, number
        assert coded.count("operational_events") == 3, number
    rows = coded.queries.get_events(o, start=NOON, end=NOON + HOUR)
    assert {row["event_id"] for row in rows} == {
        uuid.UUID(int=5),
        *(uuid.uuid5(o, f"operational_events:trip {n}") for n in (1, 3)),
    }
    assert sorted(str(row["resource_id"]) for row in rows) == sorted([str(tram), str(tram), "None"])
    assert [row["employee_id"] for row in rows].count(coded.employee) == 2
    bad = owned.assign(resource_id=["V-17", "X-1", "X-2"], event_id=["a", "b", "c"])
    refused(
        coded,
        NotFoundError,
        lambda: coded.db.write_frame("operational_events", bad),
        "no resource 'X-1', 'X-2'",
    )
    report = RejectReport()
    assert coded.db.write_frame("operational_events", bad, on_reject=report) == 1
    assert [(r.row_number, r.column) for r in report.rejects] == [(2, "resource_id"), (3, "resource_id")]


def test_get_or_create_makes_once(coded: Site) -> None:
    q, o = coded.queries, coded.organization
    made = q.get_or_create_resource(o, "V-20", location_id="DN", resource_type="vehicle")
    assert (made["resource_code"], made["name"]) == ("V-20", "V-20")
    assert q.get_or_create_resource(o, "V-20", location_id="Hall", resource_type="other") == made
    assert (
        q.get_or_create_resource(o, "Press", location_id="Hall", resource_type="x")["resource_id"]
        == coded.resource
    )
    place = q.get_or_create_location(o, "DS", location_type="depot", timezone="UTC", name="Depot South")
    assert q.get_or_create_location(o, "DS", location_type="depot", timezone="UTC") == place
    worker = q.get_or_create_employee(o, "2", location_id="DS", full_name="B", role="driver")
    assert q.get_or_create_employee(o, 2, location_id="DS", full_name="C", role="driver") == worker
    times = {"starts_at": NOON, "ends_at": NOON + HOUR}
    shift = q.get_or_create_shift(o, "L1", location_id="DS", **times)
    assert q.get_or_create_shift(o, "L1", location_id="DS", **times) == shift
    refused(
        coded,
        UniqueViolationError,
        lambda: q.get_or_create_location(o, "DX", location_type="depot", timezone="UTC", name="Depot South"),
    )


def test_two_sessions_make_one(site: Site) -> None:
    made: list[uuid.UUID] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        row = site.owner.get_or_create_location(
            site.organization, "ONE", location_type="depot", timezone="UTC"
        )
        made.append(row["location_id"])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


def test_twins_of_an_organization_are_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    q, name = site.owner, f"Twin {uuid.uuid4()}"
    first = q.get_or_create_organization(name, industry="transit")
    assert q.get_or_create_organization(name, industry="other") == first
    assert not caplog.records
    second = q.create_organization(name, industry="transit")
    assert str(first["organization_id"]) in caplog.text
    assert str(second["organization_id"]) in caplog.text
    with pytest.raises(NotFoundError, match=r"2 organizations are named .*use the id of one"):
        q.get_or_create_organization(name, industry="transit")
