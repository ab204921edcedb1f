"""Rows that make figures impossible, or that make two of them disagree."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok
from db_utils.sql_text import literal

_SAMPLES_OF = "1 day"
_ROLLUPS_OF = "35 days"

_OVERLAPPING = f"""
    SELECT
        s.organization_id,
        count(*) AS overlapping,
        count(DISTINCT s.resource_id) AS resources,
        min(s.time) AS first_at
    FROM (
        SELECT
            m.organization_id,
            m.resource_id,
            m.time,
            m.sample_minutes,
            lead(m.time) OVER (PARTITION BY m.organization_id, m.resource_id ORDER BY m.time) AS next_at
        FROM resource_metrics AS m
        WHERE m.time >= now() - interval '{_SAMPLES_OF}'
            AND m.time < now()
    ) AS s
    -- Clocks are never quite even.
    WHERE s.next_at < s.time + interval '1 minute' * s.sample_minutes::double precision - interval '1 second'
    GROUP BY s.organization_id
    ORDER BY overlapping DESC, s.organization_id
    LIMIT 20
"""
# Two writers at once, the first of a series both, do not see each other's unit; and rows from before version 8 had no rule.
_UNITS = """
    SELECT
        f.organization_id,
        f.name,
        f.factor_type,
        f.location_id,
        count(*) AS row_count,
        array_agg(DISTINCT f.unit ORDER BY f.unit) AS units
    FROM external_factors AS f
    GROUP BY
        f.organization_id,
        f.name,
        f.factor_type,
        f.location_id
    HAVING min(f.unit) <> max(f.unit)
    ORDER BY
        row_count DESC,
        f.organization_id,
        f.name,
        f.factor_type,
        f.location_id
    LIMIT 20
"""
_DISAGREEING = """
    WITH period AS MATERIALIZED (
        SELECT
            p.starts_at,
            p.ends_at,
            raw_spans(ARRAY[%(rollup)s], p.starts_at, p.ends_at) AS waiting
        FROM (
            SELECT
                time_bucket(interval '1 hour', now() - %(since)s::interval) AS starts_at,
                time_bucket(interval '1 hour', now()) AS ends_at
        ) AS p
    ),
    stored AS (
        SELECT
            r.organization_id,
            r.bucket,
            sum(r.{counter}) AS rows_of
        FROM period AS p
        CROSS JOIN {rollup} AS r
        WHERE r.bucket >= p.starts_at
            AND r.bucket < p.ends_at
            AND NOT p.waiting @> r.bucket
        GROUP BY
            r.organization_id,
            r.bucket
    ),
    there AS (
        SELECT
            t.organization_id,
            time_bucket(interval '1 hour', t.time) AS bucket,
            count(*) AS rows_of
        FROM period AS p
        CROSS JOIN {source} AS t
        WHERE t.time >= p.starts_at
            AND t.time < p.ends_at
            AND NOT p.waiting @> t.time
            AND {condition}
        GROUP BY
            t.organization_id,
            time_bucket(interval '1 hour', t.time)
    )
    SELECT
        count(*) AS hours,
        count(DISTINCT organization_id) AS organizations,
        min(bucket) AS first_at,
        max(bucket) + interval '1 hour' AS last_at
    FROM stored
    FULL JOIN there USING (organization_id, bucket)
    WHERE coalesce(stored.rows_of, 0) <> coalesce(there.rows_of, 0)
"""
_COUNTED = {
    "operational_events_hourly": ("operational_events", "event_count", "true"),
    "resource_metrics_hourly": ("resource_metrics", "sample_count", "true"),
    "demand_history_hourly": ("demand_history", "row_count", "true"),
    "employee_attendance_hourly": ("employee_attendance", "scheduled_count", "t.status <> 'vacation'"),
}


@check("overlapping-samples")
def samples(context: CheckContext) -> Findings:
    """Do samples of a resource say that they speak for longer than the time to the next one?

    Of the last day. Figures count each up to the next one, so that no hour has more than 60 minutes.
    """
    if not context.has("resource_metrics"):
        yield ok("no table resource_metrics here")
        return
    for row in context.rows(_OVERLAPPING):
        yield Finding(
            Severity.NOTE,
            f"{row['overlapping']:,} samples of {row['resources']} resources of organization {row['organization_id']} reach over "
            f"the next one, the first at {row['first_at']:%Y-%m-%d %H:%M} UTC",
            "They are counted up to the next one. Either sample_minutes is longer than the distance of samples (leave it out, then a "
            "sample speaks up to the next), or two sources write samples of one resource.",
            figures={"samples": row["overlapping"], "resources": row["resources"]},
        )


@check("factor-units")
def factor_units(context: CheckContext) -> Findings:
    """Does a series of an external factor have two units, so that a mean of it means nothing?

    A second unit is refused when it is written; rows from before that rule, or of two writers at the same instant, are found here.
    """
    if not context.has("external_factors"):
        yield ok("no table external_factors here")
        return
    for row in context.rows(_UNITS):
        place = f"location {row['location_id']}" if row["location_id"] else "all locations"
        yield Finding(
            Severity.WARNING,
            f"external factor {row['name']} ({row['factor_type']}, {place}) of organization {row['organization_id']} has the units "
            f"{', '.join(row['units'])}",
            "Models and means take its values for one unit. Convert the rows of one unit, or give their series a name of its own.",
            figures={"rows": row["row_count"], "units": row["units"]},
        )


@check("rollups-agree", edition="timescaledb")
def rollups(context: CheckContext) -> Findings:
    """Do the hourly rollups hold as many rows as their tables, but for hours that wait for a refresh?

    Of the last 35 days. In the plain and apache editions rollups are views and always agree.
    """
    if context.edition == "apache" or not context.has("resource_metrics_hourly"):
        yield ok("rollups are views here, or there are none")
        return
    for rollup, (source, counter, condition) in _COUNTED.items():
        sql = _DISAGREEING.format(rollup=rollup, source=source, counter=counter, condition=condition)
        (row,) = context.rows(sql, {"rollup": rollup, "since": _ROLLUPS_OF})
        if not row["hours"]:
            continue
        yield Finding(
            Severity.CRITICAL,
            f"{rollup} does not agree with {source} in {row['hours']:,} hours of {row['organizations']} organizations from "
            f"{row['first_at']:%Y-%m-%d %H:%M} to {row['last_at']:%Y-%m-%d %H:%M} UTC",
            "Figures read from it are wrong. That comes of a dump loaded on top of rows, or of a chunk that was changed by hand.",
            Fix(
                f"CALL refresh_continuous_aggregate({literal(rollup)}, {literal(row['first_at'].isoformat())}, "
                f"{literal(row['last_at'].isoformat())}, force => true);\nCALL refresh_rollups();"
            ),
            figures={"hours": row["hours"], "organizations": row["organizations"]},
        )
