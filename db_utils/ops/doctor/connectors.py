"""Sources of weather, holidays and market data that the worker should have asked."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok

_SCHEDULED = """
    SELECT
        s.organization_id,
        s.task,
        l.name AS location,
        s.last_succeeded_at,
        -- What a worker is doing now, or was killed at, says no more than its age.
        nullif(s.last_error, 'interrupted') AS error,
        extract(epoch FROM s.run_every)::double precision AS every_seconds,
        extract(epoch FROM now() - coalesce(s.last_succeeded_at, s.created_at))::double precision AS age_seconds
    FROM public.service_schedules AS s
    LEFT JOIN public.locations AS l
        ON l.organization_id = s.organization_id
        AND l.location_id = s.location_id
    WHERE s.is_enabled
        AND s.task LIKE 'fetch %%'
    ORDER BY
        now() - coalesce(s.last_succeeded_at, s.created_at) - s.run_every DESC,
        s.organization_id,
        s.task,
        s.schedule_id
"""
_SHOWN = 20


@check("connector-runs")
def runs(context: CheckContext) -> Findings:
    """Did each source that is scheduled have a good run in the last two of its intervals, and did its last run end well?

    By `service_schedules`; one that never had a good run is as old as its schedule. What is not scheduled is not awaited.
    """
    (there,) = context.rows("SELECT to_regclass('public.service_schedules') IS NOT NULL AS there")
    scheduled = context.rows(_SCHEDULED, {}) if there["there"] else []
    if not scheduled:
        yield ok("no source is scheduled")
        return
    ill = [row for row in scheduled if row["error"] or row["age_seconds"] > 2 * row["every_seconds"]]
    if not ill:
        yield ok(f"{len(scheduled)} scheduled sources had a good run in time", sources=len(scheduled))
    for row in ill[:_SHOWN]:
        of = f"{row['task']} of organization {row['organization_id']}" + (
            f", {row['location']}" if row["location"] else ""
        )
        age = duration(row["age_seconds"])
        good = (
            "never had a good run since it was scheduled"
            if row["last_succeeded_at"] is None
            else "had its last good run"
        )
        found = f"{of}: {good} {age} ago, with one due every {duration(row['every_seconds'])}"
        figures = {"age_seconds": row["age_seconds"], "every_seconds": row["every_seconds"]}
        if row["error"]:
            yield Finding(
                Severity.WARNING,
                f"{found}; the last run failed: {row['error'][:500]}",
                "Readings of that time are missing. It is tried again at its next time and catches up; what the error names may have to be "
                "put right first.",
                Fix("python -m barnameh schedules", "shell"),
                figures,
            )
        else:
            yield Finding(
                Severity.WARNING,
                found,
                "No worker runs, or it does not get there: forecasts go on with old readings. The next run catches up.",
                Fix("python -m barnameh work --once", "shell"),
                figures,
            )
    if len(ill) > _SHOWN:
        yield Finding(
            Severity.WARNING,
            f"{len(ill) - _SHOWN:,} more scheduled sources are late or failed",
            "They are of the same kinds as those above.",
            Fix("python -m barnameh schedules", "shell"),
            {"sources": len(ill) - _SHOWN},
        )
