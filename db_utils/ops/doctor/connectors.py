"""Sources of weather, holidays and market data that the worker should have queried."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)
_SHOWN = 20


@check("connector-runs")
def runs(context: CheckContext) -> Findings:
    """Did each scheduled source succeed within its last two intervals, and in its last run?

    By `service_schedules`; a source without a successful run is as old as its schedule. Unscheduled sources
    are not checked.
    """
    (there,) = context.rows("SELECT to_regclass('public.service_schedules') IS NOT NULL AS there")
    scheduled = context.rows(_SQL["scheduled"], {}) if there["there"] else []
    if not scheduled:
        yield ok("no source is scheduled")
        return
    ill = [row for row in scheduled if row["error"] or row["age_seconds"] > 2 * row["every_seconds"]]
    if not ill:
        yield ok(f"{len(scheduled)} scheduled sources succeeded in time", sources=len(scheduled))
    for row in ill[:_SHOWN]:
        of = f"{row['task']} of organization {row['organization_id']}" + (
            f", {row['location']}" if row["location"] else ""
        )
        age = duration(row["age_seconds"])
        good = (
            "has not succeeded since it was scheduled"
            if row["last_succeeded_at"] is None
            else "last succeeded"
        )
        found = f"{of}: {good} {age} ago, but is due every {duration(row['every_seconds'])}"
        figures = {"age_seconds": row["age_seconds"], "every_seconds": row["every_seconds"]}
        if row["error"]:
            yield Finding(
                Severity.WARNING,
                f"{found}; the last run failed: {row['error'][:500]}",
                "Readings from that time are missing. The next scheduled run retries and catches up; the cause that the error names may "
                "have to be fixed first.",
                Fix("python -m barnameh schedules", "shell"),
                figures,
            )
        else:
            yield Finding(
                Severity.WARNING,
                found,
                "No worker is running, or it does not keep up: forecasts use old readings. The next run catches up.",
                Fix("python -m barnameh work --once", "shell"),
                figures,
            )
    if len(ill) > _SHOWN:
        yield Finding(
            Severity.WARNING,
            f"{len(ill) - _SHOWN:,} more scheduled sources are late or failed",
            "They are of the same kind as those above.",
            Fix("python -m barnameh schedules", "shell"),
            {"sources": len(ill) - _SHOWN},
        )
