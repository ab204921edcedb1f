"""Master data have a history: recorded whoever changes a row, contiguous, and never another organization's."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from db_utils import DatabaseManager
from db_utils.errors import (
    CheckViolationError,
    ForeignKeyViolationError,
    InvalidDataError,
    PermissionDeniedError,
)

ORG, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
HERE, THERE = uuid.UUID(int=11), uuid.UUID(int=12)
MACHINE, WORKER = uuid.UUID(int=21), uuid.UUID(int=31)
EVER, FOREVER = "-infinity", "infinity"


def at(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2026, 3, day, hour, tzinfo=dt.UTC)


@pytest.fixture
def db(empty_database: DatabaseManager) -> DatabaseManager:
    for org in (ORG, OTHER):
        empty_database.execute(
            "INSERT INTO organizations (organization_id, name, industry) VALUES (%s, %s, 'x')",
            (org, str(org)),
        )
    for location, zone in ((HERE, "Europe/Berlin"), (THERE, "UTC")):
        empty_database.execute(
            "INSERT INTO locations (organization_id, location_id, name, location_type, timezone) "
            "VALUES (%s, %s, %s, 'factory', %s)",
            (ORG, location, str(location), zone),
        )
    empty_database.execute(
        "INSERT INTO resources (organization_id, resource_id, location_id, name, resource_type, rated_capacity_per_hour, "
        "capacity_unit) VALUES (%s, %s, %s, 'M', 'press', 100, 'pieces')",
        (ORG, MACHINE, HERE),
    )
    empty_database.execute(
        "INSERT INTO employees (organization_id, employee_id, location_id, employee_code, full_name, role, hired_on_date) "
        "VALUES (%s, %s, %s, 'E1', 'P', 'r', '2026-03-29')",
        (ORG, WORKER, HERE),
    )
    return empty_database


def versions(db: Any, kind: str, *columns: str) -> list[tuple[Any, ...]]:
    """The versions with their edges as text, by valid_from; contiguous from -infinity to infinity."""
    rows = db.execute_query(
        f"SELECT valid_from::text AS f, valid_to::text AS t, {', '.join(columns)} "
        f"FROM {kind}_history AS h ORDER BY h.valid_from"
    )
    assert rows[0]["f"] == EVER
    assert rows[-1]["t"] == FOREVER
    assert [r["t"] for r in rows[:-1]] == [r["f"] for r in rows[1:]]
    return [(r["f"], *(r[c] for c in columns)) for r in rows]


def text_of(db: DatabaseManager, moment: dt.datetime) -> str:
    return str(db.execute_query("SELECT %s::timestamptz::text AS t", (moment,))[0]["t"])


def change(
    db: Any, kind: str, subject: uuid.UUID, changes: str, *period: Any, org: uuid.UUID = ORG
) -> list[Any]:
    places = ", %s::timestamptz" * len(period)
    found: list[Any] = db.execute_query(
        f"SELECT * FROM change_{kind}(%s, %s, %s{places})", (org, subject, changes, *period)
    )
    return found


def test_a_new_row_has_been_so_for_ever_and_an_employee_since_hired(db: DatabaseManager) -> None:
    assert versions(db, "resource", "location_id", "rated_capacity_per_hour", "is_in_service") == [
        (EVER, HERE, 100, True)
    ]
    # 29 March begins in Berlin at 23:00 UTC of the previous day.
    assert versions(db, "employee", "is_employed") == [
        (EVER, False),
        (text_of(db, dt.datetime(2026, 3, 28, 23, tzinfo=dt.UTC)), True),
    ]


def test_a_plain_change_counts_from_now_on(db: DatabaseManager) -> None:
    with db.transaction() as tx:
        now = str(tx.execute_query("SELECT now()::text AS t")[0]["t"])
        tx.execute("UPDATE resources SET location_id = %s, status = 'retired'", (THERE,))
        tx.execute(
            "UPDATE resources SET rated_capacity_per_hour = 50"
        )  # twice in one transaction: one version
        tx.execute("UPDATE resources SET name = 'N', status = 'retired'")  # no column with a history
        assert versions(tx, "resource", "location_id", "rated_capacity_per_hour", "is_in_service") == [
            (EVER, HERE, 100, True),
            (now, THERE, 50, False),
        ]
        tx.execute(
            "UPDATE resources SET location_id = %s, status = 'idle', rated_capacity_per_hour = 100", (HERE,)
        )
        assert versions(tx, "resource", "location_id", "is_in_service") == [
            (EVER, HERE, True)
        ]  # as if it never happened
        tx.execute("UPDATE locations SET timezone = 'Asia/Tokyo' WHERE location_id = %s", (HERE,))
        tx.execute("UPDATE employees SET is_active = false")
        assert versions(tx, "employee", "is_employed")[-1] == (now, False)
        rows = tx.execute_query(
            "SELECT valid_from::text AS f, timezone FROM location_history WHERE location_id = %s ORDER BY valid_from",
            (HERE,),
        )
        assert [(r["f"], r["timezone"]) for r in rows] == [(EVER, "Europe/Berlin"), (now, "Asia/Tokyo")]


def test_a_change_says_since_when_and_order_of_telling_changes_nothing(db: DatabaseManager) -> None:
    told = [
        (f'{{"location_id": "{THERE}"}}', at(5)),
        ('{"rated_capacity_per_hour": 80}', at(9)),
        ('{"status": "retired"}', at(20)),
    ]
    expected = [
        (EVER, HERE, 100, True),
        (text_of(db, at(5)), THERE, 100, True),
        (text_of(db, at(9)), THERE, 80, True),
        (text_of(db, at(20)), THERE, 80, False),
    ]
    for order in (told, told[::-1], [told[1], told[2], told[0]]):
        with db.transaction() as tx:
            for changes, since in order:
                change(tx, "resource", MACHINE, changes, since)
            got = versions(tx, "resource", "location_id", "rated_capacity_per_hour", "is_in_service")
            assert got == expected
            row = tx.execute_query("SELECT location_id, rated_capacity_per_hour, status FROM resources")[0]
            assert row == {"location_id": THERE, "rated_capacity_per_hour": 80, "status": "retired"}
            tx.execute("DELETE FROM resources")
            assert tx.execute_query("SELECT FROM resource_history") == []
            tx.execute(
                "INSERT INTO resources (organization_id, resource_id, location_id, name, resource_type, "
                "rated_capacity_per_hour, capacity_unit) VALUES (%s, %s, %s, 'M', 'press', 100, 'pieces')",
                (ORG, MACHINE, HERE),
            )


def test_a_correction_of_the_past_leaves_the_present(db: DatabaseManager) -> None:
    change(db, "resource", MACHINE, '{"rated_capacity_per_hour": 80, "is_in_service": false}', at(5), at(9))
    change(db, "resource", MACHINE, '{"rated_capacity_per_hour": 70}', at(7), at(12))
    assert versions(db, "resource", "rated_capacity_per_hour", "is_in_service") == [
        (EVER, 100, True),
        (text_of(db, at(5)), 80, False),
        (text_of(db, at(7)), 70, False),
        (text_of(db, at(9)), 70, True),
        (text_of(db, at(12)), 100, True),
    ]
    assert db.execute_query("SELECT rated_capacity_per_hour AS c, status FROM resources") == [
        {"c": 100, "status": "running"}
    ]
    change(db, "resource", MACHINE, '{"rated_capacity_per_hour": 100, "is_in_service": true}', EVER, at(12))
    assert versions(db, "resource", "rated_capacity_per_hour") == [(EVER, 100)]


def test_the_first_day_of_work_can_be_put_right(db: DatabaseManager) -> None:
    for day, start in (
        ("2026-04-02", at(1) + dt.timedelta(days=31, hours=22)),
        ("2026-01-05", dt.datetime(2026, 1, 4, 23, tzinfo=dt.UTC)),
    ):
        db.execute("UPDATE employees SET hired_on_date = %s", (day,))
        assert versions(db, "employee", "is_employed") == [(EVER, False), (text_of(db, start), True)]
    db.execute("UPDATE employees SET hired_on_date = NULL")
    assert versions(db, "employee", "is_employed") == [(EVER, True)]


def test_an_employment_ends_when_its_end_has_come(db: DatabaseManager) -> None:
    coming = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=30)
    row = change(db, "employee", WORKER, '{"is_employed": false}', coming)[0]
    assert row["is_active"]
    assert versions(db, "employee", "is_employed")[-1] == (text_of(db, coming), False)
    change(db, "employee", WORKER, f'{{"location_id": "{THERE}"}}', at(30))  # the future end stays
    assert versions(db, "employee", "is_employed", "location_id")[-1] == (text_of(db, coming), False, THERE)
    row = change(db, "employee", WORKER, '{"is_employed": false}', at(31))[0]
    assert not row["is_active"]
    assert versions(db, "employee", "is_employed")[-1] == (text_of(db, at(31)), False)
    row = change(db, "employee", WORKER, '{"is_employed": true}')[0]
    assert row["is_active"]
    assert versions(db, "employee", "is_employed")[-1][1] is True


def test_what_cannot_be_is_refused(db: DatabaseManager) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    before = versions(db, "resource", "location_id", "rated_capacity_per_hour", "is_in_service")
    with pytest.raises(InvalidDataError, match="is in the future"):
        change(db, "resource", MACHINE, '{"status": "retired"}', later)
    with pytest.raises(InvalidDataError, match="is in the future"):
        change(db, "resource", MACHINE, '{"status": "retired"}', at(1), later)
    with pytest.raises(InvalidDataError, match="start must be before"):
        change(db, "resource", MACHINE, '{"status": "retired"}', at(2), at(2))
    with pytest.raises(ForeignKeyViolationError):
        change(db, "resource", MACHINE, f'{{"location_id": "{uuid.uuid4()}"}}', at(2), at(3))
    with pytest.raises(CheckViolationError):
        change(db, "resource", MACHINE, '{"rated_capacity_per_hour": -1}', at(2), at(3))
    with pytest.raises(CheckViolationError):
        change(db, "location", HERE, '{"timezone": "Mars/Olympus"}', at(2), at(3))
    assert versions(db, "resource", "location_id", "rated_capacity_per_hour", "is_in_service") == before
    assert change(db, "resource", uuid.uuid4(), '{"status": "retired"}') == []


def test_a_tenant_changes_its_own_and_no_other(db: DatabaseManager) -> None:
    with db.tenant(ORG) as scope:
        scope.execute("UPDATE resources SET status = 'retired'")
        scope.execute(
            "INSERT INTO resources (organization_id, location_id, name, resource_type) VALUES (%s, %s, 'T', 'press')",
            (ORG, THERE),
        )
        assert len(scope.execute_query("SELECT FROM resource_history")) == 3
        change(scope, "resource", MACHINE, '{"status": "running"}', at(3))
        scope.execute("DELETE FROM resources WHERE name = 'T'")
        assert versions(scope, "resource", "is_in_service") == [(EVER, True)]
        for statement in (
            "UPDATE resource_history SET is_in_service = false",
            "DELETE FROM employee_history",
            "INSERT INTO location_history (organization_id, location_id, valid_from, valid_to, timezone) "
            f"VALUES ('{ORG}', '{HERE}', '2026-01-01Z', '2026-01-02Z', 'UTC')",
            "UPDATE public.resource_history SET is_in_service = false",
            f"SELECT write_history('resource', '{ORG}', '{MACHINE}', '-infinity', 'infinity', '{{}}')",
        ):
            with pytest.raises(PermissionDeniedError):
                scope.execute(statement)
    with db.tenant(OTHER) as scope:
        assert scope.execute_query("SELECT FROM resource_history") == []
        assert change(scope, "resource", MACHINE, '{"status": "retired"}') == []
        assert change(scope, "employee", WORKER, '{"is_employed": false}') == []
        assert change(scope, "location", HERE, '{"timezone": "UTC"}') == []
    with db.transaction() as tx:  # a reader may not, whatever the setting says
        tx.execute("SELECT set_config('app.organization_id', %s, true)", (str(ORG),))
        tx.execute("SET LOCAL ROLE barnameh_readonly")
        assert change(tx, "resource", MACHINE, '{"status": "retired"}') == []
    assert db.execute_query("SELECT status FROM resources") == [{"status": "running"}]
