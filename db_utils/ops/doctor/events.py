"""Events of machines that cannot all be true, and machine time that could not be kept."""

from __future__ import annotations

from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok

_OF = "7 days"
_MACHINE_TIME = "e.event_type IN ('maintenance', 'breakdown', 'setup', 'idle', 'production')"

# Minutes that an earlier event of the machine has already: recorded minutes less those of the union.
_OVERLAPPING = f"""
    SELECT
        t.organization_id,
        t.resource_id,
        r.name,
        count(*) AS events,
        round(sum(extract(epoch FROM least(t.ended_at, t.earlier_end) - t.time)) / 60, 1) AS minutes,
        min(t.time) AS first_at,
        (array_agg(t.event_id::text ORDER BY t.time, t.event_id))[1:3] AS examples
    FROM (
        SELECT
            s.organization_id,
            s.resource_id,
            s.event_id,
            s.time,
            s.ended_at,
            max(s.ended_at) OVER (
                PARTITION BY s.organization_id, s.resource_id
                ORDER BY s.time, s.event_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS earlier_end
        FROM (
            SELECT
                e.organization_id,
                e.resource_id,
                e.event_id,
                e.time,
                e.time + make_interval(secs => (e.duration_minutes * 60)::double precision) AS ended_at
            FROM public.operational_events AS e
            WHERE e.time >= now() - interval '{_OF}'
                AND e.time < now()
                AND e.resource_id IS NOT NULL
                AND e.duration_minutes > 0
                AND {_MACHINE_TIME}
        ) AS s
    ) AS t
    JOIN public.resources AS r
        ON r.organization_id = t.organization_id
        AND r.resource_id = t.resource_id
    -- Clocks are never quite even.
    WHERE t.time < t.earlier_end - interval '1 second'
    GROUP BY
        t.organization_id,
        t.resource_id,
        r.name
    ORDER BY
        minutes DESC,
        t.organization_id,
        t.resource_id
    LIMIT 20
"""
_SCRAP = f"""
    SELECT
        e.organization_id,
        e.resource_id,
        r.name,
        count(*) AS events,
        min(e.time) AS first_at,
        (array_agg(e.event_id::text ORDER BY e.time, e.event_id))[1:3] AS examples
    FROM public.operational_events AS e
    LEFT JOIN public.resources AS r
        ON r.organization_id = e.organization_id
        AND r.resource_id = e.resource_id
    WHERE e.time >= now() - interval '{_OF}'
        AND e.time < now()
        AND e.scrap_quantity > coalesce(e.quantity, 0)
    GROUP BY
        e.organization_id,
        e.resource_id,
        r.name
    ORDER BY
        events DESC,
        e.organization_id,
        e.resource_id
    LIMIT 20
"""
_OUT_OF_SERVICE = f"""
    SELECT
        e.organization_id,
        e.resource_id,
        r.name,
        count(*) AS events,
        min(e.time) AS first_at,
        (array_agg(e.event_id::text ORDER BY e.time, e.event_id))[1:3] AS examples
    FROM public.operational_events AS e
    JOIN public.resources AS r
        ON r.organization_id = e.organization_id
        AND r.resource_id = e.resource_id
    LEFT JOIN public.resource_history AS h
        ON h.organization_id = e.organization_id
        AND h.resource_id = e.resource_id
        AND h.valid_from <= e.time
        AND h.valid_to > e.time
    WHERE e.time >= now() - interval '{_OF}'
        AND e.time < now()
        AND e.event_type = 'production'
        -- No version of that time at all: only rows written by hand.
        AND h.is_in_service IS NOT TRUE
    GROUP BY
        e.organization_id,
        e.resource_id,
        r.name
    ORDER BY
        events DESC,
        e.organization_id,
        e.resource_id
    LIMIT 20
"""
_FAILED = """
    SELECT
        s.organization_id,
        s.failed_at,
        s.failure
    FROM public.resource_time_states AS s
    WHERE s.failed_at IS NOT NULL
    ORDER BY
        s.failed_at DESC,
        s.organization_id
    LIMIT 20
"""


@check("impossible-events")
def impossible(context: CheckContext) -> Findings:
    """Do recorded events of a machine contradict each other, or what is known of the machine?

    Of the last 7 days: events of one machine that overlap, scrap above the quantity or without it (a warning), production of a machine
    out of service. A stop inside a production order is usual; the others make figures NULL or leave rows out of them.
    """
    if not context.has("resource_history"):
        yield ok("no history of machines here")
        return
    for row in context.rows(_SCRAP):
        yield Finding(
            Severity.WARNING,
            f"{row['events']:,} events of {_machine(row)} have more scrap than quantity, or scrap and no quantity, {_first(row)}",
            "Scrap without quantity is left out; more scrap than quantity makes quality and scrap ratio wrong, or NULL. quantity holds the "
            "scrap, too: write quantity + scrap_quantity, or correct the rows.",
            figures={"events": row["events"]},
        )
    for row in context.rows(_OUT_OF_SERVICE):
        yield Finding(
            Severity.NOTE,
            f"{row['events']:,} production events of {_machine(row)} fall outside its service, {_first(row)}",
            "A machine out of service has no planned time, so its production is outside of availability and OEE. Either it was retired too "
            "early (set_resource_status with effective_at), or the events name the wrong machine.",
            figures={"events": row["events"]},
        )
    for row in context.rows(_OVERLAPPING):
        yield Finding(
            Severity.NOTE,
            f"{row['events']:,} events of {_machine(row)} overlap earlier ones by {row['minutes']:,} minutes, {_first(row)}",
            "Each minute counts once: maintenance before breakdown, setup, idle and production. A stop inside a production order is usual; "
            "two orders at once come of two sources for one machine, or of a duration that is too long.",
            figures={"events": row["events"], "minutes": float(row["minutes"])},
        )


@check("kept-machine-time")
def kept(context: CheckContext) -> Findings:
    """Did keeping where the time of machines went fail, the last time it was tried?

    Answers stay right: what is not kept is computed from the events, which costs more.
    """
    if not context.has("resource_time_states"):
        yield ok("machine time is not kept here")
        return
    for row in context.rows(_FAILED):
        yield Finding(
            Severity.WARNING,
            f"keeping the machine time of organization {row['organization_id']} failed at {row['failed_at']:%Y-%m-%d %H:%M} UTC: "
            f"{row['failure']}",
            "KPIs are right and slower: they are computed from the events. Mend what the message names; the statement tries again.",
            Fix("CALL refresh_rollups();"),
        )


def _machine(row: dict[str, Any]) -> str:
    """Who sends them: machine and organization."""
    if row["resource_id"] is None:
        return f"no resource, of organization {row['organization_id']},"
    return f"{row['name']} ({row['resource_id']}) of organization {row['organization_id']}"


def _first(row: dict[str, Any]) -> str:
    """Where to look: the first instant, and up to three events."""
    return f"the first at {row['first_at']:%Y-%m-%d %H:%M} UTC: {', '.join(row['examples'])}"
