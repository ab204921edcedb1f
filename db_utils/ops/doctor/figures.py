"""Rows that make figures impossible or inconsistent."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import literal

_ROLLUPS_OF = "35 days"

_SQL = sql_beside(__name__)
_COUNTED = {
    "operational_events_hourly": ("operational_events", "event_count", "true"),
    "resource_metrics_hourly": ("resource_metrics", "sample_count", "true"),
    "demand_history_hourly": ("demand_history", "row_count", "true"),
    "employee_attendance_hourly": ("employee_attendance", "scheduled_count", "t.status <> 'vacation'"),
}


@check("overlapping-samples")
def samples(context: CheckContext) -> Findings:
    """Do samples of a resource claim to cover more than the time to the next one?

    Of the last day. Figures count each up to the next one, so that no hour has more than 60 minutes.
    """
    if not context.has("resource_metrics"):
        yield ok("this database has no table resource_metrics")
        return
    for row in context.rows(_SQL["overlapping"]):
        yield Finding(
            Severity.NOTE,
            f"{row['overlapping']:,} samples of {row['resources']} resources of organization {row['organization_id']} overlap "
            f"the next one, the first at {row['first_at']:%Y-%m-%d %H:%M} UTC",
            "They are counted up to the next one. Either sample_minutes is longer than the interval between samples (leave it out, and a "
            "sample counts up to the next), or two sources write samples of one resource.",
            figures={"samples": row["overlapping"], "resources": row["resources"]},
        )


@check("organization-names")
def organization_names(context: CheckContext) -> Findings:
    """Do two organizations have the same name, so that commands require the id?"""
    if not context.has("organizations"):
        yield ok("this database has no table organizations")
        return
    for row in context.rows(_SQL["twins"]):
        yield Finding(
            Severity.NOTE,
            f"{row['count']} organizations are named {row['name'][:60]!r}: {', '.join(row['ids'])}",
            "One may have been created twice: get_or_create_organization() returns an existing one. Rename one, or refer to them by id.",
            figures={"organizations": row["count"]},
        )


@check("factor-units")
def factor_units(context: CheckContext) -> Findings:
    """Does a series of an external factor have two units, so that its mean is meaningless?

    A second unit is refused on write; this finds rows from before that rule, or from two concurrent writers.
    """
    if not context.has("external_factors"):
        yield ok("this database has no table external_factors")
        return
    for row in context.rows(_SQL["units"]):
        place = f"location {row['location_id']}" if row["location_id"] else "all locations"
        yield Finding(
            Severity.WARNING,
            f"external factor {row['name']} ({row['factor_type']}, {place}) of organization {row['organization_id']} has the units "
            f"{', '.join(row['units'])}",
            "Models and means treat all values as one unit. Convert the rows of one unit, or give their series its own name.",
            figures={"rows": row["row_count"], "units": row["units"]},
        )


@check("rollups-agree", edition="timescaledb")
def rollups(context: CheckContext) -> Findings:
    """Do the hourly rollups match their tables' row counts, except for hours waiting for a refresh?

    Of the last 35 days. In the plain and apache editions rollups are views and always agree.
    """
    if context.edition == "apache" or not context.has("resource_metrics_hourly"):
        yield ok("rollups are views in this edition, or do not exist")
        return
    for rollup, (source, counter, condition) in _COUNTED.items():
        sql = _SQL["disagreeing"].format(rollup=rollup, source=source, counter=counter, condition=condition)
        (row,) = context.rows(sql, {"rollup": rollup, "since": _ROLLUPS_OF})
        if not row["hours"]:
            continue
        yield Finding(
            Severity.CRITICAL,
            f"{rollup} disagrees with {source} in {row['hours']:,} hours of {row['organizations']} organizations from "
            f"{row['first_at']:%Y-%m-%d %H:%M} to {row['last_at']:%Y-%m-%d %H:%M} UTC",
            "Figures read from it are wrong. Causes are a dump loaded on top of existing rows, or a chunk changed by hand.",
            Fix(
                f"CALL refresh_continuous_aggregate({literal(rollup)}, {literal(row['first_at'].isoformat())}, "
                f"{literal(row['last_at'].isoformat())}, force => true);\nCALL refresh_rollups();"
            ),
            figures={"hours": row["hours"], "organizations": row["organizations"]},
        )
