"""Dead rows, bloat, statistics; invalid, duplicate, unused, missing or too big indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg2
import pytest

from db_utils.ops.doctor import Severity, tables
from tests.conftest import fresh_database
from tests.integration.doctor.support import ailment, ask, execute, paste, until, value, well
from tests.support import servers
from tests.support.servers import OwnServer

_FILL = "CREATE TABLE \"Odd table\" AS SELECT g AS id, g % 1000 AS kind, repeat('x', 200) AS filler FROM generate_series(1, 40000) AS g"


@pytest.fixture(scope="module")
def still_server() -> Iterator[OwnServer]:
    """A server without autovacuum."""
    with servers.own_server(autovacuum="off") as server:
        yield server


@pytest.fixture
def odd(still_server: OwnServer) -> Iterator[str]:
    """The test's own database there, with a table of 40,000 rows."""
    with fresh_database(still_server.url) as url:
        execute(url, _FILL)
        execute(
            url, 'ANALYZE "Odd table"'
        )  # a separate session: the other one's statistics have been reported
        yield url


def test_dead_rows_are_found_and_vacuumed(odd: str) -> None:
    assert well(odd, "dead-rows")
    execute(odd, 'DELETE FROM "Odd table" WHERE id % 2 = 0')
    until(lambda: not well(odd, "dead-rows"))
    found = ailment(odd, "dead-rows")
    assert found.severity == Severity.WARNING
    assert found.figures == {"dead_rows": 20_000, "live_rows": 20_000}
    paste(odd, found.fix)
    until(lambda: well(odd, "dead-rows"))


def test_a_table_without_autovacuum_is_found(url: str) -> None:
    assert well(url, "dead-rows")
    execute(url, "ALTER TABLE alerts SET (autovacuum_enabled = false)")
    found = ailment(url, "dead-rows", "public.alerts")
    assert found.severity == Severity.WARNING
    paste(url, found.fix)
    assert well(url, "dead-rows")


def test_empty_space_in_a_table_and_in_an_index_is_found_and_given_back(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOAT_LEAST_BYTES", 512 * 1024)
    execute(odd, 'CREATE INDEX odd_idx ON "Odd table" (id)', 'ANALYZE "Odd table"')
    assert well(odd, "bloat")
    execute(odd, 'DELETE FROM "Odd table" WHERE id % 10 <> 0', 'VACUUM (ANALYZE) "Odd table"')
    index = ailment(odd, "bloat", "odd_idx")
    assert index.severity == Severity.WARNING
    paste(odd, index.fix)
    assert well(odd, "bloat", "odd_idx")
    table = ailment(odd, "bloat", "Odd table")
    assert table.figures["bloat_pct"] == pytest.approx(90, abs=10)
    paste(odd, table.fix)
    assert well(odd, "bloat")


def test_a_small_table_is_not_judged_for_its_empty_space(odd: str) -> None:
    execute(odd, 'DELETE FROM "Odd table" WHERE id % 10 <> 0', 'VACUUM (ANALYZE) "Odd table"')
    assert well(odd, "bloat")


def test_a_table_that_was_never_analyzed_is_found(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(odd, 'CREATE TABLE unknown AS SELECT * FROM "Odd table"')
    assert well(odd, "statistics")  # 10 MB: autovacuum will handle it
    monkeypatch.setattr(tables, "NEVER_ANALYZED_LEAST_BYTES", 1024**2)
    found = ailment(odd, "statistics", "public.unknown")
    assert found.severity == Severity.WARNING
    paste(odd, found.fix)
    assert well(odd, "statistics")


def test_statistics_that_are_out_of_date_are_found(odd: str) -> None:
    execute(odd, "INSERT INTO \"Odd table\" SELECT g, 0, 'y' FROM generate_series(1, 110000) AS g")
    until(lambda: not well(odd, "statistics"))
    found = ailment(odd, "statistics")
    assert found.severity == Severity.WARNING
    assert found.figures["changed_rows"] == 110_000
    paste(odd, found.fix)
    until(lambda: well(odd, "statistics"))


def test_an_invalid_index_is_found_and_rebuilt(url: str) -> None:
    execute(url, "CREATE TABLE twice (a int)", "INSERT INTO twice VALUES (1), (1)")
    with suppress(psycopg2.errors.UniqueViolation):
        execute(url, 'CREATE UNIQUE INDEX CONCURRENTLY "Twice idx" ON twice (a)')
    found = ailment(url, "invalid-indexes")
    assert found.severity == Severity.WARNING
    execute(url, "DELETE FROM twice WHERE ctid = '(0,2)'")
    paste(url, found.fix)
    assert well(url, "invalid-indexes")


def test_of_two_equal_indexes_the_younger_goes(url: str) -> None:
    assert well(url, "duplicate-indexes")
    execute(
        url,
        'CREATE INDEX "Second idx" ON resources (organization_id, location_id)',
        "CREATE INDEX third_idx ON resources (organization_id, location_id) WHERE status = 'active'",
        "CREATE INDEX fourth_idx ON locations (organization_id, location_id)",  # the primary key's columns
    )
    found = ailment(url, "duplicate-indexes", "Second idx")
    assert found.severity == Severity.WARNING
    assert "resources_organization_id_location_id_idx" in found.found
    paste(url, found.fix)
    paste(url, ailment(url, "duplicate-indexes", "fourth_idx").fix)
    assert well(url, "duplicate-indexes")
    assert value(url, "SELECT to_regclass('locations_pkey') IS NOT NULL")


def test_an_index_that_nothing_reads_is_found_only_after_long_enough(odd: str) -> None:
    execute(
        odd, 'CREATE INDEX odd_idx ON "Odd table" (filler)', 'CREATE UNIQUE INDEX odd_key ON "Odd table" (id)'
    )
    (skipped,) = ask(odd, "unused-indexes")
    assert skipped.severity == Severity.SKIPPED
    limits = ["unused-index-days=0", "unused-index-megabytes=0.2"]
    found = ailment(odd, "unused-indexes", limits=limits)
    assert found.severity == Severity.WARNING
    assert "odd_idx" in found.found
    assert well(odd, "unused-indexes", limits=["unused-index-days=0"])
    paste(odd, found.fix)
    assert well(odd, "unused-indexes", limits=limits)


def test_an_index_that_is_read_is_not_called_unused(odd: str) -> None:
    execute(
        odd,
        'CREATE INDEX odd_idx ON "Odd table" (kind)',
        'ANALYZE "Odd table"',
        'SET enable_seqscan = off; SELECT count(*) FROM "Odd table" WHERE kind = 7',
    )
    until(lambda: value(odd, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'odd_idx'") > 0)
    assert well(odd, "unused-indexes", limits=["unused-index-days=0", "unused-index-megabytes=0.01"])


def test_what_a_hypertables_chunks_read_counts_for_the_hypertable(url: str) -> None:
    execute(
        url,
        "CREATE INDEX resource_metrics_organization_id_utilization_pct_idx ON resource_metrics (organization_id, utilization_pct)",
        "CREATE INDEX resource_metrics_organization_id_utilization_max_idx ON resource_metrics (organization_id, downtime_minutes)",
        "ANALYZE resource_metrics",
        "SET enable_seqscan = off; SELECT count(*) FROM resource_metrics "
        "WHERE organization_id = '11111111-1111-1111-1111-111111111111' AND utilization_pct = 3",
    )
    limits = ["unused-index-days=0", "unused-index-megabytes=0.01"]
    until(lambda: well(url, "unused-indexes", "utilization_pct", limits=limits))
    found = ailment(url, "unused-indexes", "utilization_max", limits=limits)
    assert found.figures["total_bytes"] > 500_000
    paste(url, found.fix)
    assert well(url, "unused-indexes", "utilization_max", limits=limits)


@pytest.mark.thorough
def test_a_big_table_without_an_index_for_its_foreign_key_is_found(url: str) -> None:
    execute(
        url,
        'CREATE TABLE parents ("Parent id" int PRIMARY KEY)',
        "INSERT INTO parents SELECT generate_series(1, 1000)",
        'CREATE TABLE children (child_id int PRIMARY KEY, "Parent id" int REFERENCES parents)',
        "INSERT INTO children SELECT g, 1 + g % 900 FROM generate_series(1, 100000) AS g",
        "ANALYZE children",
    )
    assert well(url, "foreign-key-indexes")  # nothing was deleted
    execute(url, 'DELETE FROM parents WHERE "Parent id" > 950')
    until(lambda: not well(url, "foreign-key-indexes"))
    found = ailment(url, "foreign-key-indexes")
    assert found.severity == Severity.WARNING
    assert found.figures == {"row_count": 100_000, "deleted_count": 50}
    paste(url, found.fix)
    assert well(url, "foreign-key-indexes")
    assert value(url, """SELECT obj_description('"children_Parent id_idx"'::regclass) LIKE 'Serves%'""")


@pytest.mark.thorough
def test_a_hypertables_foreign_key_gets_its_index_chunk_by_chunk(url: str, edition: str) -> None:
    execute(
        url,
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT l.organization_id, now() - g * interval '1 minute', 'bulk', l.location_id, 1 "
        "FROM (SELECT * FROM locations ORDER BY location_id LIMIT 1) AS l, generate_series(1, 100000) AS g",
        "INSERT INTO locations (organization_id, location_id, name, location_type, timezone) "
        "SELECT organization_id, gen_random_uuid(), 'Short-lived ' || g, location_type, timezone "
        "FROM (SELECT * FROM locations LIMIT 1) AS l, generate_series(1, 20) AS g",
        "DELETE FROM locations WHERE name LIKE 'Short-lived%'",
        "ANALYZE demand_history",
    )
    until(lambda: not well(url, "foreign-key-indexes"))
    found = ailment(url, "foreign-key-indexes", "demand_history")
    assert ("transaction_per_chunk" in (found.fix.text if found.fix else "")) == (edition != "plain")
    paste(url, found.fix)
    assert well(url, "foreign-key-indexes")


@pytest.mark.thorough
def test_a_big_table_read_from_end_to_end_again_and_again_is_found(odd: str) -> None:
    execute(
        odd,
        "INSERT INTO \"Odd table\" SELECT g, 0, 'y' FROM generate_series(1, 70000) AS g",
        'ANALYZE "Odd table"',
    )
    execute(odd, *['SELECT count(*) FROM "Odd table" WHERE kind = 7'] * 90)
    until(lambda: value(odd, "SELECT seq_scan >= 90 FROM pg_stat_user_tables"))
    assert well(odd, "sequential-scans")
    execute(odd, *['SELECT count(*) FROM "Odd table" WHERE kind = 7'] * 20)
    until(lambda: not well(odd, "sequential-scans"))
    found = ailment(odd, "sequential-scans")
    assert found.severity == Severity.WARNING
    paste(odd, found.fix)
    until(lambda: well(odd, "sequential-scans"))
    assert value(odd, "SHOW log_min_duration_statement") == "1s"


def test_indexes_that_outgrow_memory_are_found(own_server: OwnServer) -> None:
    url = own_server.url
    plain = not value(url, "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.license')")
    execute(url, "CREATE TABLE t (time timestamptz NOT NULL, a int)")
    if not plain:
        execute(url, "CREATE EXTENSION IF NOT EXISTS timescaledb")
        execute(url, "SELECT create_hypertable('t', by_range('time', interval '10 days'))")
    execute(
        url,
        "INSERT INTO t SELECT now() - g * interval '1 s', g FROM generate_series(1, 100000) AS g",
        "CREATE INDEX ON t (a)",
    )
    assert well(url, "index-memory")
    name, tiny = ("effective_cache_size", "1MB") if plain else ("shared_buffers", "1MB")
    execute(url, f"ALTER SYSTEM SET {name} = '{tiny}'")
    own_server.stop()
    own_server.start()
    found = ailment(url, "index-memory")
    assert found.severity == Severity.WARNING
    indexes = (
        "SELECT pg_indexes_size('t')"
        if plain
        else "SELECT sum(pg_indexes_size(c)) FROM show_chunks('t') AS c"
    )
    assert found.figures["index_bytes"] == value(url, indexes)
    paste(url, found.fix)
    own_server.stop()
    own_server.start()
    assert well(url, "index-memory")
