"""Contradictory events are found with their machine, and so is machine time that could not be stored."""

from __future__ import annotations

from db_utils import DatabaseManager, schema
from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import ailment, execute, paste, value, well

_MACHINE = "(SELECT organization_id, resource_id, location_id, name FROM resources ORDER BY organization_id, resource_id LIMIT 1)"


def _name(url: str) -> str:
    return str(value(url, f"SELECT name FROM {_MACHINE} AS r"))


def _record(url: str, event_id: int, kind: str, start: str, minutes: int, values: str = "NULL, NULL") -> None:
    execute(
        url,
        "INSERT INTO operational_events (organization_id, event_id, time, location_id, resource_id, event_type, duration_minutes, "
        "quantity, scrap_quantity) "
        f"SELECT organization_id, '00000000-0000-0000-0000-{event_id:012}', date_trunc('minute', now()) - interval '{start}', "
        f"location_id, resource_id, '{kind}', {minutes}, {values} FROM {_MACHINE} AS r",
    )


def _still(url: str) -> None:
    """No event of the machine in the last 8 days."""
    execute(
        url,
        "DELETE FROM operational_events WHERE time > now() - interval '8 days' "
        f"AND resource_id = (SELECT resource_id FROM {_MACHINE} AS r)",
    )


def test_overlapping_events_are_found_with_their_minutes(url: str) -> None:
    _still(url)
    name = _name(url)
    _record(url, 1, "production", "6 hours", 120)
    _record(url, 2, "idle", "4 hours", 30)
    assert well(url, "impossible-events", name)
    # Half an hour of the first, and then 20 minutes within the longer one.
    _record(url, 3, "production", "4 hours 30 minutes", 90)
    found = ailment(url, "impossible-events", name)
    assert found.severity == Severity.NOTE
    assert found.figures == {"events": 2, "minutes": 60.0}
    assert "-000000000003" in found.found
    execute(
        url,
        "UPDATE operational_events SET duration_minutes = 30 WHERE event_id = '00000000-0000-0000-0000-000000000003'",
    )
    execute(
        url,
        "UPDATE operational_events SET duration_minutes = 90 WHERE event_id = '00000000-0000-0000-0000-000000000001'",
    )
    assert well(url, "impossible-events", name)


def test_scrap_above_quantity_is_a_warning(url: str) -> None:
    _still(url)
    name = _name(url)
    _record(url, 1, "production", "6 hours", 60, "100, 100")
    assert well(url, "impossible-events", name)
    # Rows from before the constraint.
    execute(
        url,
        "ALTER TABLE operational_events DROP CONSTRAINT operational_events_scrap_quantity_within_quantity_check",
    )
    _record(url, 2, "production", "5 hours", 60, "NULL, 1")
    found = ailment(url, "impossible-events", name)
    assert found.severity == Severity.WARNING
    assert found.figures == {"events": 1}
    assert "-000000000002" in found.found
    _record(url, 3, "production", "4 hours", 60, "100, 101")
    assert ailment(url, "impossible-events", name).figures == {"events": 2}


def test_production_of_a_retired_machine_is_found(url: str) -> None:
    _still(url)
    name = _name(url)
    _record(url, 1, "production", "6 hours", 60)
    assert well(url, "impossible-events", name)
    execute(
        url,
        f"UPDATE resources SET status = 'retired' WHERE resource_id = (SELECT resource_id FROM {_MACHINE} AS r)",
    )
    # The past before its retirement is unchanged.
    assert well(url, "impossible-events", name)
    execute(
        url,
        "UPDATE resource_history SET valid_to = now() - interval '1 day' WHERE valid_from = '-infinity' "
        f"AND resource_id = (SELECT resource_id FROM {_MACHINE} AS r)",
        "UPDATE resource_history SET valid_from = now() - interval '1 day' WHERE NOT is_in_service "
        f"AND resource_id = (SELECT resource_id FROM {_MACHINE} AS r)",
    )
    found = ailment(url, "impossible-events", name)
    assert found.severity == Severity.NOTE
    assert found.figures == {"events": 1}


def test_a_refresh_that_failed_is_found_until_one_succeeds(url: str) -> None:
    with DatabaseManager(url) as db:
        schema.refresh_rollups(db)
    assert well(url, "kept-machine-time")
    # A trigger simulates any failure of the step, but not of its recording.
    execute(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$",
        "CREATE TRIGGER fail BEFORE INSERT ON resource_time_sums FOR EACH ROW EXECUTE FUNCTION fail()",
        "UPDATE operational_events SET cause = cause WHERE time > now() - interval '2 days'",
        "CALL refresh_rollups()",
    )
    organizations = value(url, "SELECT count(*) FROM resource_time_states WHERE failed_at IS NOT NULL")
    assert organizations > 0
    execute(url, "DROP TRIGGER fail ON resource_time_sums")
    with_failure = value(
        url, "SELECT min(organization_id::text) FROM resource_time_states WHERE failed_at IS NOT NULL"
    )
    found = ailment(url, "kept-machine-time", with_failure)
    assert found.severity == Severity.WARNING
    assert "the disk is full" in found.found
    paste(url, found.fix)
    assert well(url, "kept-machine-time")
