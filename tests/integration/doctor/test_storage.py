"""Disk, backups, sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db_utils import DatabaseManager, schema
from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import ailment, ask, execute, paste, paste_in_shell, value, well
from tests.support.servers import OwnServer

OTHER = "33333333-3333-3333-3333-333333333333"
_REAL = (
    "INSERT INTO organizations (organization_id, name, industry, timezone) "
    f"VALUES ('{OTHER}', 'A real one', 'manufacturing', 'UTC')"
)


def test_days_left_follow_from_growth_and_free_space(seeded_database: DatabaseManager) -> None:
    url = seeded_database.settings.database_url
    seeded_database.execute("ANALYZE")
    (plenty,) = ask(url, "disk", disk_free_bytes=10**15)
    assert plenty.severity == Severity.OK
    per_day = plenty.figures["growth_bytes_per_day"]
    assert per_day == pytest.approx(growth_counted(seeded_database), rel=0.15)
    found = ailment(
        url, "disk", disk_free_bytes=max(20 * per_day, 2 * 1024**3), limits=[f"disk-days={10**8}"]
    )
    assert found.severity == Severity.WARNING
    tight = [f"disk-days={2 * 1024**3 / per_day * 2},{2 * 1024**3 / per_day * 1.5}"]
    assert ailment(url, "disk", disk_free_bytes=2 * 1024**3, limits=tight).severity == Severity.CRITICAL
    assert found.fix is not None
    # More space is always a correct fix.
    assert well(url, "disk", disk_free_bytes=10**15)


def growth_counted(db: DatabaseManager) -> float:
    """Bytes a day, from the rows themselves."""
    total = 0.0
    for table in ("operational_events", "demand_history", "resource_metrics", "employee_attendance"):
        row = db.execute_query(
            f"SELECT extract(epoch FROM max(time) - min(time)) / 86400 AS days FROM {table}"
        )[0]
        if schema.edition(db) == "plain":
            bytes_ = db.execute_query(f"SELECT pg_total_relation_size('{table}') AS n")[0]["n"]
            total += bytes_ / float(row["days"]) if row["days"] >= 7 else 0
            continue
        chunks: list[dict[str, Any]] = db.execute_query(
            "SELECT extract(epoch FROM c.range_end - c.range_start) / 86400 AS days, "
            "pg_total_relation_size(format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass) AS n "
            "FROM timescaledb_information.chunks AS c WHERE c.hypertable_name = %s AND c.range_end <= now() "
            "AND c.range_end >= now() - interval '90 days'",
            (table,),
        )
        days = sum(float(c["days"]) for c in chunks)
        total += sum(c["n"] for c in chunks) / days if days >= 7 else 0
    return total


def test_an_almost_full_disk_is_critical_whatever_the_growth(seeded: DatabaseManager) -> None:
    found = ailment(seeded.settings.database_url, "disk", disk_free_bytes=500 * 1024**2)
    assert found.severity == Severity.CRITICAL


def test_the_printed_statement_makes_room(url: str) -> None:
    old = "SELECT organization_id, now() - interval '800 days', 'old', location_id, 1 FROM locations LIMIT 1"
    execute(
        url, f"INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) {old}"
    )
    found = ailment(url, "disk", disk_free_bytes=500 * 1024**2)
    paste(url, found.fix)


def test_free_space_of_a_server_on_this_machine_is_looked_up(own_server: OwnServer) -> None:
    assert ask(own_server.socket_url, "disk")[0].figures["free_bytes"] > 0
    assert ask(own_server.url, "disk")[0].figures["free_bytes"] > 0


def test_free_space_that_cannot_be_known_is_a_note_not_a_figure(own_server: OwnServer) -> None:
    execute(
        own_server.url,
        "CREATE ROLE watcher LOGIN PASSWORD 'watching all night'",
    )
    url = own_server.url.replace("barnameh_user:barnameh_password", "watcher:watching%20all%20night")
    found = ailment(url, "disk")  # this role may not see where the data are
    assert found.severity == Severity.NOTE
    assert found.figures["free_bytes"] is None
    assert "--disk-free" in found.means


@pytest.mark.thorough
def test_sample_organizations_beside_real_ones_are_found_and_removed(url: str) -> None:
    with DatabaseManager(url) as db:
        schema.seed(db, organizations=3, days=1)
    assert well(url, "sample-data")
    execute(url, _REAL)
    found = ailment(url, "sample-data")
    assert found.severity == Severity.WARNING
    assert found.figures == {"sample_count": 3, "other_count": 1}
    paste(url, found.fix)
    assert well(url, "sample-data")
    assert value(url, "SELECT array_agg(organization_id)::text FROM organizations") == f"{{{OTHER}}}"


def test_a_database_that_was_never_seeded_has_no_sample_data(empty_database: DatabaseManager) -> None:
    empty_database.execute(_REAL)
    assert well(empty_database.settings.database_url, "sample-data")


def backed_up(url: str, verified: str) -> None:
    execute(
        url,
        "INSERT INTO backup_runs (started_at, finished_at, verified_at, location, size_bytes, sha256, is_encrypted) "
        f"VALUES (now() - interval '50 days', now() - interval '50 days', {verified}, 'here', 1, repeat('0', 64), false)",
    )


@pytest.mark.thorough
def test_a_backup_that_nobody_verified_counts_for_nothing(url: str, tmp_path: Path) -> None:
    assert well(url, "backup-age")  # sample data can be recreated
    execute(url, _REAL)
    assert ailment(url, "backup-age").severity == Severity.WARNING  # its first day
    execute(
        url,
        f"UPDATE organizations SET created_at = now() - interval '8 days' WHERE organization_id = '{OTHER}'",
    )
    found = ailment(url, "backup-age")
    assert found.severity == Severity.CRITICAL
    backed_up(url, "NULL")
    assert "50.0 days" in ailment(url, "backup-age").found
    backed_up(url, "now() - interval '40 days'")
    assert ailment(url, "backup-age").severity == Severity.CRITICAL
    backed_up(url, "now() - interval '10 days'")
    assert ailment(url, "backup-age").severity == Severity.WARNING
    assert well(url, "backup-age", limits=["backup-days=14"])
    paste_in_shell(url, found.fix, tmp_path)
    assert well(url, "backup-age")


def test_a_schema_from_before_backups_were_remembered_is_told_so(url: str) -> None:
    execute(url, "DROP TABLE backup_runs")
    (finding,) = ask(url, "backup-age")
    assert finding.severity == Severity.SKIPPED
