"""Jobs, retention, rollups, columnstore: the background work of TimescaleDB's community edition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager
from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import START_JOBS, ailment, ask, execute, paste, until, value, well

CHECKS = ["failing-jobs", "late-jobs", "retention-window", "uncompressed-chunks", "segment-density"]


@pytest.fixture
def community(request: pytest.FixtureRequest, edition: str) -> Iterator[str]:
    """A database whose edition has jobs. In other editions, test that the check is skipped instead of passing."""
    if edition == "community":
        yield request.getfixturevalue("url")
        return
    yield ""


def says_why_not(seeded: DatabaseManager, check: str, edition: str) -> None:
    (finding,) = ask(seeded.settings.database_url, check)
    assert finding.severity == Severity.SKIPPED
    assert edition in finding.found


@pytest.mark.parametrize("check", CHECKS)
def test_another_edition_is_told_that_the_check_was_skipped(
    seeded: DatabaseManager, check: str, edition: str
) -> None:
    if edition == "community":
        assert well(seeded.settings.database_url, check)
    else:
        says_why_not(seeded, check, edition)


def test_rollups_of_other_editions_are_views(seeded: DatabaseManager, edition: str) -> None:
    (finding,) = ask(seeded.settings.database_url, "rollup-freshness")
    expected = {"community": Severity.OK, "apache": Severity.OK, "plain": Severity.SKIPPED}
    assert finding.severity == expected[edition]


def job_of(url: str, procedure: str, table: str) -> int:
    return int(
        value(
            url,
            f"SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = '{procedure}' AND hypertable_name = '{table}'",
        )
    )


def test_a_job_that_fails_is_named_with_its_error_and_runs_again(community: str) -> None:
    if not community:
        return
    execute(
        community,
        "CREATE TABLE switch (is_broken boolean)",
        "INSERT INTO switch VALUES (true)",
        "CREATE PROCEDURE fragile(job_id int, config jsonb) LANGUAGE plpgsql AS "
        "$$ BEGIN IF (SELECT is_broken FROM public.switch) THEN RAISE EXCEPTION 'the valve is shut'; END IF; END $$",
        "SELECT add_job('fragile', '1 hour')",
        START_JOBS,
    )
    until(lambda: not well(community, "failing-jobs"), seconds=120)
    found = ailment(community, "failing-jobs")
    assert found.severity == Severity.CRITICAL  # it never succeeded
    assert "the valve is shut" in found.found
    execute(community, "UPDATE switch SET is_broken = false")
    paste(community, found.fix)
    until(lambda: well(community, "failing-jobs"), seconds=120)


def test_a_job_that_was_switched_off_is_found(community: str) -> None:
    if not community:
        return
    job = job_of(community, "policy_compression", "resource_metrics")
    execute(community, f"SELECT alter_job({job}, scheduled => false)")
    found = ailment(community, "late-jobs", f"job {job} ")
    assert found.severity == Severity.WARNING
    paste(community, found.fix)
    assert well(community, "late-jobs")


@pytest.mark.parametrize(("late", "severity"), [("2 hours", Severity.WARNING), ("3 days", Severity.CRITICAL)])
def test_jobs_that_nobody_starts_are_late_until_the_scheduler_runs(
    community: str, late: str, severity: Severity
) -> None:
    if not community:
        return
    job = job_of(community, "policy_compression", "demand_history")
    execute(
        community,
        "SELECT _timescaledb_functions.stop_background_workers()",
        f"SELECT alter_job({job}, next_start => now() - interval '{late}')",
    )
    found = ailment(community, "late-jobs", f"job {job} ")
    assert found.severity == severity
    paste(community, found.fix)
    until(lambda: well(community, "late-jobs"), seconds=120)


def test_retention_that_would_empty_rollups_is_critical(community: str) -> None:
    if not community:
        return
    execute(community, "SELECT add_retention_policy('resource_metrics', INTERVAL '90 days')")
    findings = [f for f in ask(community, "retention-window") if f.severity == Severity.CRITICAL]
    assert any("resource_metrics_hourly" in f.found for f in findings)
    assert any("resource_metrics_daily" in f.found for f in findings)
    for finding in findings:
        if finding.fix:
            paste(community, finding.fix)
    assert well(community, "retention-window")
    kept = "SELECT config ->> 'drop_after' FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    assert value(community, kept) == "90 days"


def test_retention_set_by_the_schemas_own_procedure_is_well(community: str) -> None:
    if not community:
        return
    execute(community, "CALL set_retention('operational_events', INTERVAL '400 days')")
    assert well(community, "retention-window")


def test_a_rollup_that_lags_is_found_and_refreshed(community: str) -> None:
    if not community:
        return
    job = job_of(community, "policy_refresh_continuous_aggregate", "demand_history_hourly")
    execute(
        community,
        f"SELECT alter_job({job}, scheduled => false)",
        # The rollup covers only data older than ten days, and its last refresh was due yesterday.
        f"SELECT alter_job({job}, initial_start => now() - interval '1 day')",
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT organization_id, now() - interval '1 minute', 'late', location_id, 1 FROM locations LIMIT 1",
        "UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = "
        "_timescaledb_functions.to_unix_microseconds(date_trunc('hour', now()) - interval '10 days') WHERE mat_hypertable_id = "
        f"(SELECT (config ->> 'mat_hypertable_id')::int FROM timescaledb_information.jobs WHERE job_id = {job})",
    )
    found = ailment(community, "rollup-freshness", "demand_history_hourly")
    assert found.severity == Severity.WARNING
    paste(community, found.fix)
    assert well(community, "rollup-freshness")


def test_a_rollup_that_holds_nothing_hides_no_other(community: str) -> None:
    """Its watermark is the beginning of time, in the year -4714."""
    if not community:
        return
    job = job_of(community, "policy_refresh_continuous_aggregate", "demand_history_hourly")
    execute(
        community,
        f"SELECT alter_job({job}, scheduled => false, initial_start => now() - interval '2 days')",
        "TRUNCATE demand_history",
        "UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = -210866803200000000 WHERE mat_hypertable_id = "
        f"(SELECT (config ->> 'mat_hypertable_id')::int FROM timescaledb_information.jobs WHERE job_id = {job})",
    )
    assert well(community, "rollup-freshness")
    execute(
        community,
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT organization_id, now() - interval '1 day', 'late', location_id, 1 FROM locations LIMIT 1",
    )
    found = ailment(community, "rollup-freshness", "demand_history_hourly")
    assert "is empty, but there are rows" in found.found
    paste(community, found.fix)
    assert well(community, "rollup-freshness")


def test_a_rollup_without_a_refresh_policy_is_found(community: str) -> None:
    if not community:
        return
    execute(community, "SELECT remove_continuous_aggregate_policy('demand_history_daily')")
    found = ailment(community, "rollup-freshness", "demand_history_daily")
    assert found.severity == Severity.WARNING
    paste(community, found.fix)
    assert well(community, "rollup-freshness")


def test_a_rollup_that_does_not_agree_with_its_rows_is_found_and_made_anew(community: str) -> None:
    if not community:
        return
    assert well(community, "rollups-agree")
    # Late rows waiting for a refresh are not a mismatch.
    execute(
        community,
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT organization_id, now() - interval '20 days', 'late', location_id, 1 FROM locations",
    )
    assert well(community, "rollups-agree")
    stored = value(
        community,
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) "
        "FROM timescaledb_information.continuous_aggregates WHERE view_name = 'resource_metrics_hourly'",
    )
    execute(
        community, f"INSERT INTO {stored} SELECT * FROM {stored} WHERE bucket > now() - interval '3 days'"
    )
    found = ailment(community, "rollups-agree", "resource_metrics_hourly")
    assert found.severity == Severity.CRITICAL
    paste(community, found.fix)
    assert well(community, "rollups-agree")


def test_chunks_that_the_policy_passed_by_are_found_and_compressed(community: str) -> None:
    if not community:
        return
    execute(
        community,
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT organization_id, now() - interval '300 days', 'old', location_id, 1 FROM locations LIMIT 1",
    )
    assert well(community, "uncompressed-chunks")  # just written: the policy has not run yet
    execute(community, "UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '400 days'")
    found = ailment(community, "uncompressed-chunks", "public.demand_history (")
    assert found.severity == Severity.WARNING
    assert found.figures["chunk_count"] >= 1
    paste(community, found.fix)
    assert well(community, "uncompressed-chunks", "public.demand_history (")


def test_chunks_of_rollups_that_the_policy_passed_by_are_found_and_compressed(community: str) -> None:
    if not community:
        return
    execute(
        community,
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
        "SELECT organization_id, now() - interval '800 days', 'old', location_id, 1 FROM locations LIMIT 1",
        "CALL refresh_continuous_aggregate('demand_history_hourly', NULL, NULL)",
        "UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '900 days'",
    )
    found = ailment(community, "uncompressed-chunks", "public.demand_history_hourly")
    paste(community, found.fix)
    assert well(community, "uncompressed-chunks", "demand_history_hourly")


def test_columnstore_batches_that_are_nearly_empty_are_found_and_filled(community: str) -> None:
    if not community:
        return
    execute(
        community,
        "CREATE TABLE sparse (time timestamptz NOT NULL, sensor int NOT NULL, reading int)",
        "SELECT create_hypertable('sparse', by_range('time', INTERVAL '1 day'))",
        "ALTER TABLE sparse SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'sensor', timescaledb.orderby = 'time')",
        "INSERT INTO sparse SELECT timestamptz '2026-01-01' + g * interval '1 hour', s, 1 "
        "FROM generate_series(0, 24 * 40 - 1) AS g, generate_series(1, 125) AS s",
        "SELECT count(compress_chunk(c)) FROM show_chunks('sparse') AS c",
    )
    found = ailment(community, "segment-density", "public.sparse")
    assert found.severity == Severity.WARNING
    assert found.figures == {"rows_per_batch": 24, "chunk_count": 40}
    assert well(community, "segment-density", limits=["rows-per-batch=20"])
    paste(community, found.fix)
    assert well(community, "segment-density")
    assert value(community, "SELECT count(*) FROM sparse") == 120_000
