"""No silently wrong data: each wrong row is refused by a constraint whose name says what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from db_utils import DatabaseManager
from db_utils.errors import (
    CheckViolationError,
    ConstraintViolationError,
    ExclusionViolationError,
    ForeignKeyViolationError,
    NotNullViolationError,
    UniqueViolationError,
    translate,
)
from tests.support.wrong_rows import (
    EMPLOYEE,
    FOREIGN_ROWS,
    LOCATION,
    NOW,
    OURS,
    RIGHT,
    SHIFT,
    VIOLATIONS,
    insert,
    named,
)


@pytest.fixture
def attempt(two_organizations: DatabaseManager) -> Any:
    """Tries to insert a row and rolls it back."""

    def insert_and_undo(table: str, values: dict[str, Any]) -> None:
        with two_organizations.connection() as connection:
            row = {**RIGHT[table], **values}
            if table != "organizations":
                row["organization_id"] = OURS
            columns, marks = ", ".join(row), ", ".join(f"%({column})s" for column in row)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)
            except psycopg2.Error as error:
                raise translate(error) from None
            finally:
                connection.rollback()

    return insert_and_undo


def test_wrong_rows_are_refused_under_a_telling_name(attempt: Any) -> None:
    for table in RIGHT:
        attempt(table, {})  # fully valid, so that each error below is about the changed value
    for table, wrong, constraint in VIOLATIONS:
        with pytest.raises(CheckViolationError) as refusal:
            attempt(table, wrong)
        # The server checks in alphabetical order; a row with one error breaks only one rule.
        assert refusal.value.constraint == constraint, (table, wrong)
        assert refusal.value.sqlstate == "23514"


def test_every_check_is_broken_once(empty_database: DatabaseManager) -> None:
    """A new CHECK without a case above fails here."""
    tested = {constraint for _, _, constraint in VIOLATIONS}
    rows = empty_database.execute_query(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace "
        "AND conrelid <> 0 AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = conrelid)"
    )
    # These hold for tenants, not for the owner: the isolation test breaks them.
    tenants = {
        row["conname"] for row in rows if row["conname"].endswith("_organization_id_is_tenants_own_check")
    }
    bounds = empty_database.execute_query(
        "SELECT check_name FROM value_bounds()"
    )  # test_bounds.py breaks each
    assert {row["conname"] for row in rows} - tenants - {row["check_name"] for row in bounds} == tested


def test_a_row_cannot_point_to_another_organization(attempt: Any) -> None:
    for table, foreign in FOREIGN_ROWS:
        with pytest.raises(ForeignKeyViolationError):
            attempt(table, foreign)


def test_the_list_of_foreign_keys_is_whole(empty_database: DatabaseManager) -> None:
    """A new foreign key without a case above fails here."""
    rows = empty_database.execute_query(
        """
        SELECT c.conrelid::regclass::text AS table_name, a.attname AS column_name
        FROM pg_constraint AS c
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
            AND a.attname NOT IN ('organization_id', 'starts_at', 'ends_at')
        """
    )
    assert {(r["table_name"], r["column_name"]) for r in rows} == {
        (table, column)
        for table, foreign in FOREIGN_ROWS
        for column, value in foreign.items()
        if str(value).startswith("bbbbbbbb")
    }


def test_missing_values_and_missing_organizations(two_organizations: DatabaseManager) -> None:
    with pytest.raises(NotNullViolationError) as missing:
        insert(two_organizations, "demand_history", {**RIGHT["demand_history"], "quantity": None})
    assert missing.value.column == "quantity"
    for table, values in RIGHT.items():
        if table not in ("organizations", "sync_outbox"):  # written only by the database itself
            with pytest.raises(ConstraintViolationError):
                insert(two_organizations, table, values, organization_id=named(OURS, 99))


def test_an_employee_is_in_one_shift_at_a_time(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    overlapping, following = named(OURS, 6), named(OURS, 7)
    half = timedelta(minutes=30)
    insert(
        db,
        "shifts",
        {
            "shift_id": overlapping,
            "location_id": LOCATION,
            "name": "Overlapping",
            "starts_at": NOW - half,
            "ends_at": NOW + timedelta(hours=7),
        },
    )
    insert(
        db,
        "shifts",
        {
            "shift_id": following,
            "location_id": LOCATION,
            "name": "Next",
            "starts_at": NOW,
            "ends_at": NOW + timedelta(hours=8),
        },
    )
    insert(db, "shift_assignments", {"shift_id": SHIFT, "employee_id": EMPLOYEE})
    with pytest.raises(ExclusionViolationError) as overlap:
        insert(db, "shift_assignments", {"shift_id": overlapping, "employee_id": EMPLOYEE})
    assert overlap.value.constraint == "shift_assignments_employee_not_in_two_shifts_at_once_excl"
    insert(db, "shift_assignments", {"shift_id": overlapping, "employee_id": EMPLOYEE, "status": "cancelled"})
    insert(db, "shift_assignments", {"shift_id": following, "employee_id": EMPLOYEE})
    # Moving a shift moves its assignments, and is refused where they would overlap.
    with pytest.raises(ExclusionViolationError):
        db.execute(
            "UPDATE shifts SET starts_at = starts_at - interval '1 hour' WHERE shift_id = %s", (following,)
        )
    assert (
        db.execute(
            "UPDATE shifts SET ends_at = ends_at - interval '1 hour' WHERE shift_id = %s", (following,)
        )
        == 1
    )
    moved = db.execute_query("SELECT ends_at FROM shift_assignments WHERE shift_id = %s", (following,))
    assert moved[0]["ends_at"] == NOW + timedelta(hours=7)
    # The times are the database's: a writer's values are ignored.
    assert db.execute("DELETE FROM shift_assignments WHERE shift_id = %s", (following,)) == 1
    insert(
        db,
        "shift_assignments",
        {
            "shift_id": following,
            "employee_id": EMPLOYEE,
            "starts_at": NOW + timedelta(days=9),
            "ends_at": NOW + timedelta(days=10),
        },
    )
    kept = db.execute_query("SELECT starts_at FROM shift_assignments WHERE shift_id = %s", (following,))
    assert kept[0]["starts_at"] == NOW


def test_duplicates_meet_the_key(two_organizations: DatabaseManager) -> None:
    event = {**RIGHT["operational_events"], "event_id": named(OURS, 50)}
    for table, row in [("operational_events", event)] + [
        (t, RIGHT[t])
        for t in (
            "demand_history",
            "resource_metrics",
            "employee_attendance",
            "demand_forecasts",
            "external_factors",
        )
    ]:
        insert(two_organizations, table, row)
        with pytest.raises(UniqueViolationError):
            insert(two_organizations, table, row)


def test_the_database_keeps_the_clock(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    for table in ("demand_forecasts", "anomaly_predictions", "absence_forecasts", "external_factors"):
        insert(db, table, {**RIGHT[table], "recorded_at": long_ago})
        recorded = db.execute_query(f"SELECT recorded_at FROM {table}")[0]["recorded_at"]
        assert abs(recorded - datetime.now(UTC)) < timedelta(minutes=5)
        with pytest.raises(CheckViolationError) as refusal:
            db.execute(f"UPDATE {table} SET recorded_at = %s", (long_ago,))
        assert refusal.value.constraint == f"{table}_append_only_check"
    db.execute("UPDATE resources SET updated_at = %s", (long_ago,))
    assert all(r["updated_at"] > long_ago for r in db.execute_query("SELECT updated_at FROM resources"))


def test_what_was_predicted_stays(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    for table, change in (
        ("demand_forecasts", "predicted_quantity = 6"),
        ("absence_forecasts", "absence_probability = 0.9"),
        ("external_factors", "value = 30"),
        ("anomaly_predictions", "probability = 0.9"),
    ):
        insert(db, table, RIGHT[table])
        with pytest.raises(CheckViolationError) as refusal:
            db.execute(f"UPDATE {table} SET {change}")
        assert refusal.value.constraint == f"{table}_append_only_check"
    assert (
        db.execute(
            "UPDATE anomaly_predictions SET status = 'closed', outcome = 'confirmed', occurred_at = now(), closed_at = now()"
        )
        == 1
    )


def test_what_points_to_rows_that_are_deleted_is_found_by_an_index(empty_database: DatabaseManager) -> None:
    """Otherwise each delete of an employee, for example, reads all rows of the organization. Locations are rarely deleted."""
    unserved = empty_database.execute_query(
        "SELECT k.conname FROM pg_constraint AS k "
        "WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND k.confrelid <> 'locations'::regclass "
        "AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid "
        "AND (i.indkey::int2[])[0:least(cardinality(k.conkey), 2) - 1] <@ k.conkey "
        "AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$'))"
    )
    assert unserved == []
