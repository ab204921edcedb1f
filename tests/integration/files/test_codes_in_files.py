"""Codes in files: imported in place of ids, exported next to them, and imported again."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.files import export_relation, import_files

DAY = "2024-05-06"


@pytest.fixture
def fleet(db: DatabaseManager) -> uuid.UUID:
    q = OperationalDataQueries(db)
    organization: uuid.UUID = q.create_organization(f"Fleet {uuid.uuid4()}", industry="transit")[
        "organization_id"
    ]
    q.get_or_create_location(
        organization, "DN", name="Depot North", location_type="depot", timezone="Europe/Paris"
    )
    return organization


def test_a_fleet_comes_in_and_goes_out_by_its_codes(
    db: DatabaseManager, fleet: uuid.UUID, tmp_path: Path
) -> None:
    q = OperationalDataQueries(db)
    (tmp_path / "vehicles.csv").write_text(
        "resource_code,name,location_code,resource_type\nV-17,Tram 17,DN,vehicle\nV-18,V-17,DN,vehicle\n"
    )
    organization = str(fleet)
    done = import_files(db, [tmp_path / "vehicles.csv"], "resources", organization=organization)
    assert done.added == 2
    trams = {row["resource_code"]: row["resource_id"] for row in q.get_resources(fleet)}
    (tmp_path / "trips.csv").write_text(
        "event_id,time,location,vehicle,event_type,duration_minutes\n"
        f"T-2,{DAY}T09:00:00Z,DN,V-17,idle,5\nT-1,{DAY}T08:00:00Z,Depot North,Tram 17,idle,7\n"
        f"T-3,{DAY}T07:00:00Z,DN,V-18,idle,9\n"
    )
    from db_utils.files import ImportOptions

    options = ImportOptions(mapping={"vehicle": "resource_id"})
    done = import_files(
        db, [tmp_path / "trips.csv"], "operational_events", organization=organization, options=options
    )
    assert done.added == 3
    (recorded,) = q.get_events(fleet, resource_id="V-18", days=36_000)
    assert recorded["event_id"] == uuid.uuid5(fleet, "operational_events:T-3")
    for ending in ("csv", "jsonl", "parquet", "arrow"):
        out = tmp_path / f"events.{ending}"
        export_relation(db, "operational_events", out, organization=organization)
        again = import_files(db, [out], "operational_events", organization=organization)
        assert (again.read, again.already_there, again.different) == (3, 3, 0), ending
    with (tmp_path / "events.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert [(row["location_code"], row["resource_code"]) for row in rows] == [
        ("DN", "V-18"),
        ("DN", "V-17"),
        ("DN", "V-17"),
    ]
    assert [row["resource_id"] for row in rows] == [str(trams[code]) for code in ("V-18", "V-17", "V-17")]
    export_relation(
        db,
        "resources",
        tmp_path / "resources.csv",
        organization=organization,
        columns=["resource_id", "location_id"],
    )
    assert (tmp_path / "resources.csv").read_text().startswith("resource_id,location_id\n")
