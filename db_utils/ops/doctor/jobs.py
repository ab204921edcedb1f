"""Background jobs of TimescaleDB: do they run, succeed, and agree with each other?"""

from __future__ import annotations

from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok, skipped
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import identifier, literal

_SQL = sql_beside(__name__)
_BEYOND = "SELECT table_name, check_name, row_count, examples FROM public.rows_beyond_bounds()"
_MISSED_REFRESHES = 3


@check("failing-jobs", edition="community")
def failing(context: CheckContext) -> Findings:
    """Did a background job (columnstore, rollups, retention) fail the last time it ran?

    A warning; critical once it has missed three of its runs, or if it was given up. Rows that block it
    because they exceed today's limits are named with the error.
    """
    jobs = context.rows(_SQL["failing"])
    beyond = [_beyond(row) for row in context.rows(_BEYOND)] if jobs and _has_bounds(context) else []
    for job in jobs:
        since = job["since_success_seconds"]
        is_long = since is None or float(since) > _MISSED_REFRESHES * float(job["interval_seconds"])
        lasting = (
            f"last success {duration(float(since))} ago" if since is not None else "it has never succeeded"
        )
        yield Finding(
            Severity.CRITICAL if is_long or not job["scheduled"] else Severity.WARNING,
            f"job {job['job_id']} ({job['application_name']}{_of(job)}) failed {job['total_failures']} times, {lasting}: "
            f"{job['error'] or 'only its owner can see the reason'}" + "".join(f"; {one}" for one in beyond),
            "Until it succeeds, chunks stay uncompressed, rollups get old or rows are not removed. Fix the cause, then run it again.",
            Fix(f"SELECT alter_job({job['job_id']}, scheduled => true, next_start => now());"),
            {"job_id": job["job_id"], "total_failures": job["total_failures"]},
        )


@check("late-jobs", edition="community")
def late(context: CheckContext) -> Findings:
    """Should a background job have started by now, or was it switched off?"""
    limit = context.limits["job-late-minutes"]
    for job in context.rows(_SQL["late"]):
        name = f"job {job['job_id']} ({job['application_name']}{_of(job)})"
        if not job["scheduled"]:
            yield Finding(
                Severity.WARNING,
                f"{name} is switched off",
                "It never runs: chunks stay uncompressed, rollups get old or rows are not removed.",
                Fix(f"SELECT alter_job({job['job_id']}, scheduled => true, next_start => now());"),
                {"job_id": job["job_id"]},
            )
            continue
        minutes = float(job["late_seconds"]) / 60
        severity = limit.grade(minutes)
        if severity > Severity.OK:
            yield Finding(
                severity,
                f"{name} should have started {duration(60 * minutes)} ago",
                "TimescaleDB's scheduler is not running in this database, or all its workers are busy "
                f"(timescaledb.max_background_workers = {context.setting('timescaledb.max_background_workers')}, "
                f"max_worker_processes = {context.setting('max_worker_processes')}).",
                Fix(_scheduler_fix(context)),
                {"job_id": job["job_id"], "late_minutes": round(minutes, 1)},
            )


def _scheduler_fix(context: CheckContext) -> str:
    if context.setting("timescaledb.restoring") == "on":
        return "SELECT timescaledb_post_restore();"
    return "SELECT _timescaledb_functions.start_background_workers();"


@check("retention-window", edition="community")
def retention(context: CheckContext) -> Findings:
    """Would the refresh of a rollup cover a time whose rows retention has removed?

    Such a refresh empties the rollup there, and loses the history that retention was meant to keep.
    """
    seen: set[str] = set()
    for pair in context.rows(_SQL["retention"]):
        window = pair["start_offset"] or "the whole past"
        if pair["is_ours"]:
            fix = f"CALL set_retention({literal(pair['hypertable'])}, INTERVAL {literal(pair['keep'])});"
        else:
            fix = f"SELECT remove_retention_policy({literal(pair['hypertable'])});"
        yield Finding(
            Severity.CRITICAL,
            f"rows of {pair['hypertable']} are dropped after {pair['drop_after']}, but {pair['rollup']} is refreshed over {window}",
            "The next refresh after a drop permanently deletes the rollup's rows of that time.",
            None if pair["hypertable"] in seen else Fix(fix),
            {"drop_after": pair["drop_after"], "start_offset": pair["start_offset"]},
        )
        seen.add(pair["hypertable"])


@check("rollup-freshness", edition="timescaledb")
def rollups(context: CheckContext) -> Findings:
    """Do rollups lag behind their rows for longer than three refreshes?

    Reads stay correct (newer rows are added) but get slow. In the plain and apache editions rollups are views
    and never lag.
    """
    if context.edition == "apache":
        yield ok("rollups are views in this edition: always fresh")
        return
    for rollup in context.rows(_SQL["rollups"]):
        if rollup["interval_seconds"] is None:
            yield Finding(
                Severity.WARNING,
                f"{rollup['name']} has no refresh policy",
                "It falls further behind every day, and each read has to aggregate more rows.",
                Fix(
                    f"SELECT add_continuous_aggregate_policy({literal(rollup['name'])}, start_offset => NULL, "
                    "end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour');"
                ),
            )
            continue
        allowed = _MISSED_REFRESHES * float(rollup["interval_seconds"])
        since = rollup["since_success_seconds"]
        if since is None or float(since) <= allowed:
            continue
        behind = context.rows(
            f"SELECT EXISTS (SELECT FROM {rollup['source']} "
            f"WHERE {identifier(rollup['source_time'])} >= "
            "coalesce(%(watermark)s::timestamptz + %(allowed)s * interval '1 s', '-infinity') "
            f"AND {identifier(rollup['source_time'])} < now() - CASE WHEN %(watermark)s::timestamptz IS NULL THEN %(allowed)s ELSE 0 END "
            "* interval '1 s') AS behind",
            {
                "watermark": rollup["watermark"],
                # A bucket is materialized once its end is older than the policy's offset.
                "allowed": allowed
                + float(rollup["bucket_seconds"])
                + float(rollup["end_offset_seconds"] or 0),
            },
        )[0]["behind"]
        if behind:
            filled = (
                f"is filled up to {rollup['watermark']:%Y-%m-%d %H:%M} UTC, but there are newer rows"
                if rollup["watermark"] is not None
                else "is empty, but there are rows"
            )
            yield Finding(
                Severity.WARNING,
                f"{rollup['name']} {filled}; no refresh for {duration(float(since))}",
                "Every read recomputes the rest from the rows: dashboards get slower every hour.",
                Fix(f"CALL refresh_continuous_aggregate({literal(rollup['name'])}, NULL, NULL);"),
                {"watermark": rollup["watermark"], "since_refresh_seconds": round(float(since))},
            )


@check("rows-beyond-bounds")
def bounds(context: CheckContext) -> Findings:
    """Are there older rows that exceed today's limits?

    A text too long for an index, a number too large for a sum, or JSON too large for memory stops rollups and
    columnstore for all organizations. New rows are limited (`67_bounds.sql`).
    """
    if not _has_bounds(context):
        yield skipped("this database has no bounds yet: python -m db_utils init creates them")
        return
    for row in context.rows(_BEYOND):
        yield Finding(
            Severity.WARNING,
            _beyond(row),
            "Such rows can stop the refresh of rollups or the columnstore for all organizations. Correct them, then apply the "
            "schema again, which checks whether any are left.",
            Fix("SELECT * FROM rows_beyond_bounds();"),
            {"rows": row["row_count"]},
        )


def _has_bounds(context: CheckContext) -> bool:
    return bool(
        context.rows("SELECT to_regprocedure('public.rows_beyond_bounds()') IS NOT NULL AS there")[0]["there"]
    )


def _beyond(row: dict[str, Any]) -> str:
    return f"{row['row_count']} rows of {row['table_name']} violate {row['check_name']}, such as {row['examples'][0]}"


def _of(job: dict[str, object]) -> str:
    return f", {job['hypertable_name']}" if job["hypertable_name"] else ""
