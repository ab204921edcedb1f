"""Duplicate rows, as left by a dump loaded on top of its own database: found, and fixed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import psycopg2
import pytest

from db_utils import DatabaseManager, schema
from tests.conftest import fresh_database
from tests.integration.cli.conftest import Run, run
from tests.support.programs import program, psql
from tests.support.scale import compress_old_chunks
from tests.support.schema_snapshot import content_hashes

__all__ = ["run"]


def rollup_rows(db: DatabaseManager) -> dict[str, list[str]]:
    """The contents of every rollup."""
    return {
        row["rollup"]: sorted(
            str(line["text"])
            for line in db.execute_query(f"SELECT r::text AS text FROM public.{row['rollup']} AS r")
        )
        for row in db.execute_query("SELECT rollup FROM rollup_definitions()")
    }


def load_again(url: str) -> None:
    """As users did before the guard existed: psql continues after hundreds of errors."""
    assert psql(url, "-c", "DROP EVENT TRIGGER refuse_dump").returncode == 0
    dumped = subprocess.run([program("pg_dump"), f"--dbname={url}"], capture_output=True, check=True)
    loaded = subprocess.run(
        [program("psql"), "-X", "-q", url],
        input=dumped.stdout,
        capture_output=True,
        env=os.environ,
        check=False,
    )
    assert loaded.returncode == 0
    assert loaded.stderr.count(b"ERROR") > 100


@pytest.fixture
def compressed(server_url: str, seeded_template: str) -> Iterator[DatabaseManager]:
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        if schema.edition(db) == "community":  # the first day is a whole one, whatever the hour of the test
            db.execute(
                "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct) "
                "SELECT r.organization_id, min(c.range_start), r.resource_id, 50 FROM timescaledb_information.chunks AS c "
                "CROSS JOIN (SELECT organization_id, resource_id FROM resources LIMIT 1) AS r "
                "WHERE c.hypertable_name = 'resource_metrics' GROUP BY r.organization_id, r.resource_id"
            )
        compress_old_chunks(db)
        if schema.edition(db) == "community":
            # The policy's age covers a chunk of the sample's month only on some days; a past one always exists.
            db.execute(
                "SELECT compress_chunk(c) FROM show_chunks('operational_events', older_than => now()) AS c"
            )
        schema.refresh_rollups(db)
        yield db


def call(db: DatabaseManager, statement: str) -> None:
    connection = psycopg2.connect(db.settings.database_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.mark.thorough
def test_nothing_is_found_where_all_is_well(compressed: DatabaseManager, run: Run) -> None:
    assert schema.row_problems(compressed) == []
    before = content_hashes(compressed)
    call(compressed, "CALL remove_double_rows()")
    assert content_hashes(compressed) == before
    done = run(compressed.settings.database_url, "verify", "--rows")
    assert done.code == 0
    assert "each row once" in done.out


def test_a_dump_that_was_loaded_twice(compressed: DatabaseManager, run: Run) -> None:
    db = compressed
    if schema.edition(db) != "community":
        pytest.skip("elsewhere unique keys refuse the second row")
    before, rollups = content_hashes(db), rollup_rows(db)
    load_again(db.settings.database_url)
    now = content_hashes(db)
    surplus = {name: now[name][0] - count for name, (count, _) in before.items() if now[name][0] != count}
    assert surplus["operational_events"] > 100  # the intended state
    assert rollup_rows(db) != rollups
    found = {row["relation"]: 0 for row in db.execute_query("SELECT relation FROM double_rows()")}
    for row in db.execute_query("SELECT relation, surplus_count FROM double_rows()"):
        found[row["relation"]] += row["surplus_count"]
    assert found == surplus
    done = run(db.settings.database_url, "verify", "--rows", "--json")
    assert done.code == 1
    assert any("operational_events holds" in problem for problem in done.json["problems"])
    assert any("rollup operational_events_hourly differs" in problem for problem in done.json["problems"])

    call(db, "CALL remove_double_rows()")
    assert content_hashes(db) == before
    assert rollup_rows(db) == rollups
    assert schema.row_problems(db) == []
    schema.apply(db)
    assert run(db.settings.database_url, "verify", "--rows").code == 0
    # New chunks get new numbers, and compressed rows are compressed again.
    assert db.execute_query(
        "SELECT count(*) AS n FROM timescaledb_information.chunks WHERE hypertable_name = 'operational_events' AND is_compressed"
    ) != [{"n": 0}]
    db.execute(
        "INSERT INTO operational_events (organization_id, time, location_id, event_type, duration_minutes) "
        "SELECT organization_id, now() - interval '3 years', location_id, 'idle', 1 FROM locations LIMIT 1"
    )


def test_copies_that_differ_are_a_question(compressed: DatabaseManager) -> None:
    db = compressed
    if schema.edition(db) != "community":
        pytest.skip("elsewhere unique keys refuse the second row")
    (oldest,) = db.execute_query(
        "SELECT time, event_id FROM operational_events ORDER BY time, event_id LIMIT 1"
    )
    key = (oldest["time"], oldest["event_id"])
    dumped = subprocess.run(
        [program("pg_dump"), f"--dbname={db.settings.database_url}"], capture_output=True, check=True
    )
    db.execute(
        "UPDATE operational_events SET metadata = '{\"changed\": true}' WHERE time = %s AND event_id = %s",
        key,
    )
    before = db.execute_query("SELECT count(*) AS n FROM operational_events")
    db.execute("DROP EVENT TRIGGER refuse_dump")
    subprocess.run(
        [program("psql"), "-X", "-q", db.settings.database_url],
        input=dumped.stdout,
        capture_output=True,
        check=False,
    )
    with pytest.raises(psycopg2.errors.RaiseException, match="have copies that differ"):
        call(db, "CALL remove_double_rows()")
    call(db, "CALL remove_double_rows(true)")
    assert db.execute_query("SELECT count(*) AS n FROM operational_events") == before
    assert schema.row_problems(db) == []
