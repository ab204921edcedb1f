"""Every path to the schema ends in the same one, and keeps all rows."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.errors import DbUtilsError, SchemaError
from tests.conftest import maintenance
from tests.support.programs import psql
from tests.support.schema_snapshot import columns_of, content_hashes, snapshot

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures"
NOT_FILLED = ("tenant_logins", "seed_runs", "backup_runs")  # the frozen rows are older than some of these


@pytest.fixture
def expected(empty_database: DatabaseManager) -> list[str]:
    """The result of applying the schema to an empty database."""
    return snapshot(empty_database)


def test_twice_is_once(seeded_database: DatabaseManager) -> None:
    """Chunks too: a refresh or a load may be creating some, and two writers of one catalog row conflict."""
    entries = (
        "SELECT c.oid::regclass::text AS name, c.xmin::text FROM pg_class AS c "
        "WHERE c.relnamespace::regnamespace::text IN ('public', '_timescaledb_internal') AND c.relkind = 'r' "
        "AND c.relname NOT IN ('schema_version', 'seed_runs', 'backup_runs', 'tenant_logins') ORDER BY 1"
    )
    before, rows = snapshot(seeded_database), content_hashes(seeded_database)
    tables = seeded_database.execute_query(entries)
    schema.apply(seeded_database)
    assert seeded_database.execute_query(entries) == tables
    assert snapshot(seeded_database) == before
    assert content_hashes(seeded_database) == rows
    assert sum(count for count, _ in rows.values()) > 10_000


@pytest.mark.thorough
def test_the_container_way_and_the_library_way_agree(
    blank: DatabaseManager, blank_url: str, expected: list[str]
) -> None:
    done = psql(blank_url, "-q", "--single-transaction", "-f", str(ROOT / "sql" / "schema.sql"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert snapshot(blank) == expected


@pytest.mark.slow
def test_an_interrupted_application_leaves_nothing(
    blank: DatabaseManager, blank_url: str, server_url: str, expected: list[str]
) -> None:
    parts = parse_dsn(blank_url)
    # Another session holds the schema lock, so that the application is certainly waiting when it is killed.
    holder = psycopg2.connect(blank_url)
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('barnameh schema', 0))")
    outcome: list[BaseException] = []

    def apply() -> None:
        try:
            schema.apply(blank)
        except DbUtilsError as error:
            outcome.append(error)

    thread = threading.Thread(target=apply)
    thread.start()
    with maintenance(server_url) as cursor:
        killed = 0
        while not killed:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'advisory'",
                (parts["dbname"],),
            )
            killed = cursor.fetchone()[0]
    thread.join()
    holder.close()
    assert len(outcome) == 1
    assert schema.version(blank) is None
    schema.apply(blank)
    assert snapshot(blank) == expected


DAMAGES = (
    "DROP VIEW tenant.alerts",
    "DROP FUNCTION get_kpi_summary(uuid, integer)",
    "DROP INDEX alerts_organization_id_status_created_at_idx",
    "DROP TRIGGER alerts_announce ON alerts",
    "COMMENT ON TABLE alerts IS NULL",
    "DROP TABLE tenant_logins",
    "GRANT SELECT ON alerts TO PUBLIC",
)


def test_what_is_missing_comes_back(empty_database: DatabaseManager, expected: list[str]) -> None:
    before = expected
    for damage in DAMAGES:
        empty_database.execute(damage)
        after = snapshot(empty_database)
        assert after != before, damage
        before = after
    schema.apply(empty_database)
    assert snapshot(empty_database) == expected


ORGANIZATION = "aaaaaaaa-0000-0000-0000-000000000001"


def version_7(blank_url: str, *, then: str = "") -> None:
    """The frozen version 7 with its rows, and changes made to them."""
    for script in ("schema_v7/schema.sql", "schema_v1/fill.sql"):
        done = psql(blank_url, "-q", "--single-transaction", "-f", str(FIXTURES / script))
        assert done.returncode == 0, done.stderr
    done = psql(blank_url, "-q", "-c", then)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_who_is_gone_by_the_upgrade_was_there_until_what_is_recorded_ends(
    blank: DatabaseManager, blank_url: str
) -> None:
    """A machine retired under version 7 keeps its past planned time, and former employees their past work."""
    one = f"organization_id = '{ORGANIZATION}' AND resource_id = md5('{ORGANIZATION}' || 1)::uuid"
    two = f"organization_id = '{ORGANIZATION}' AND resource_id = md5('{ORGANIZATION}' || 2)::uuid"
    version_7(
        blank_url,
        then=f"UPDATE resources SET status = 'retired' WHERE organization_id = '{ORGANIZATION}';"
        f"DELETE FROM operational_events WHERE {two};"
        f"UPDATE employees SET is_active = false WHERE organization_id = '{ORGANIZATION}'",
    )
    schema.apply(blank)
    history = "SELECT valid_from, valid_to, is_in_service FROM resource_history WHERE {} ORDER BY valid_from"
    # 72 events of an hour each, the first at 22:00 on the 25th.
    last_end = blank.execute_query("SELECT timestamptz '2026-03-28 22:00 UTC' AS at")[0]["at"]
    served, retired = blank.execute_query(history.format(one))
    assert (served["is_in_service"], served["valid_to"]) == (True, last_end)
    assert (retired["is_in_service"], retired["valid_from"]) == (False, last_end)
    # The time in service of a machine without any record is unknown.
    (unknown,) = blank.execute_query(history.format(two))
    assert unknown["is_in_service"] is False
    employed, left = blank.execute_query(
        "SELECT valid_from, valid_to, is_employed FROM employee_history WHERE organization_id = %s ORDER BY valid_from",
        (ORGANIZATION,),
    )
    assert (employed["is_employed"], left["is_employed"]) == (True, False)
    # The last completed assignment ended so.
    assert (
        employed["valid_to"]
        == blank.execute_query("SELECT timestamptz '2026-04-01 06:00 UTC' AS at")[0]["at"]
    )
    availability = blank.execute_query(
        "SELECT value, denominator FROM operational_kpis(%s, '2026-03-25 00:00 UTC', '2026-03-31 00:00 UTC', 'organization') "
        "WHERE kpi = 'availability'",
        (ORGANIZATION,),
    )[0]
    # Three nights of eight hours, of one machine; it was broken for eleven of the 72 hours, every seventh from the first.
    assert availability["denominator"] == 3 * 8 * 60
    broken = sum(h % 7 == 0 and (22 + h) % 24 in (22, 23, 0, 1, 2, 3, 4, 5) for h in range(72))
    assert float(availability["value"]) == pytest.approx(100 * (24 - broken) / 24)


def test_from_version_7(blank: DatabaseManager, blank_url: str, expected: list[str]) -> None:
    """A frozen earlier schema with rows in every table is upgraded to the current one, and each row keeps its contents.

    From the first version: `migrate`, among the commands.
    """
    version_7(blank_url)
    assert schema.version(blank) == 7
    rows, columns = content_hashes(blank), columns_of(blank)
    assert all(count > 0 for table, (count, _) in rows.items() if table not in NOT_FILLED)
    schema.apply(blank)
    assert snapshot(blank) == expected
    assert content_hashes(blank, columns) == rows


def test_a_stored_daily_rollup_that_is_still_needed_is_kept(blank: DatabaseManager, blank_url: str) -> None:
    version_7(
        blank_url,
        then="CREATE SCHEMA own; CREATE VIEW own.last_days AS SELECT * FROM operational_events_daily",
    )
    if schema.edition(blank) != "community":
        return
    stored = (
        "SELECT view_name FROM timescaledb_information.continuous_aggregates "
        "WHERE view_name IN ('operational_events_daily', 'employee_attendance_daily') ORDER BY 1"
    )
    # Hours that retention drops stay in the days.
    limit = "SELECT add_retention_policy('employee_attendance_hourly', interval '1 year')"
    blank.execute_query(limit)
    schema.apply(blank)
    assert [row["view_name"] for row in blank.execute_query(stored)] == [
        "employee_attendance_daily",
        "operational_events_daily",
    ]
    assert schema.problems(blank) == []
    schema.refresh_rollups(blank)
    blank.execute("CALL set_retention('operational_events', '100 days')")
    window = blank.execute_query(
        "SELECT rollup_refresh_window('operational_events_daily') < '100 days' AS narrowed"
    )
    assert window == [{"narrowed": True}]
    blank.execute_query("SELECT remove_retention_policy('employee_attendance_hourly')")
    blank.execute("DROP VIEW own.last_days")
    schema.apply(blank)
    assert blank.execute_query(stored) == []
    assert schema.problems(blank) == []


@pytest.mark.thorough
def test_a_zone_that_is_no_name_stops_the_upgrade_and_is_named(
    blank: DatabaseManager, blank_url: str
) -> None:
    version_7(blank_url)
    rename = "UPDATE locations SET timezone = %s WHERE organization_id = %s"
    for name in ("CEST", "UTC+3", "X-5"):
        blank.execute(rename, (name, ORGANIZATION))
        before = content_hashes(blank)
        with pytest.raises(SchemaError, match="invalid time zone names") as refused:
            schema.apply(blank)
        assert name in str(refused.value)
        assert ORGANIZATION in str(refused.value)
        assert schema.version(blank) == 7
        assert content_hashes(blank) == before
    # The message says what to do; then the upgrade succeeds.
    blank.execute(rename, ("Europe/Paris", ORGANIZATION))
    schema.apply(blank)
    assert schema.version(blank) == 8
