"""Contradictory machine events, and machine time that could not be stored."""

from __future__ import annotations

from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)


@check("impossible-events")
def impossible(context: CheckContext) -> Findings:
    """Do recorded events of a machine contradict each other, or its history?

    Of the last 7 days: events of one machine that overlap, scrap above the quantity or without it (a warning), production of a machine
    out of service. A stop inside a production order is usual; the others make figures NULL or leave rows out of them.
    """
    if not context.has("resource_history"):
        yield ok("this database has no history of machines")
        return
    for row in context.rows(_SQL["scrap"]):
        yield Finding(
            Severity.WARNING,
            f"{row['events']:,} events of {_machine(row)} have more scrap than quantity, or scrap without quantity, {_first(row)}",
            "Scrap without quantity is left out; more scrap than quantity makes quality and scrap ratio wrong, or NULL. quantity includes "
            "the scrap: write quantity + scrap_quantity, or correct the rows.",
            figures={"events": row["events"]},
        )
    for row in context.rows(_SQL["out_of_service"]):
        yield Finding(
            Severity.NOTE,
            f"{row['events']:,} production events of {_machine(row)} fall outside its time in service, {_first(row)}",
            "A machine out of service has no planned time, so its production is not part of availability and OEE. Either it was retired "
            "too early (set_resource_status with effective_at), or the events name the wrong machine.",
            figures={"events": row["events"]},
        )
    for row in context.rows(_SQL["overlapping"]):
        yield Finding(
            Severity.NOTE,
            f"{row['events']:,} events of {_machine(row)} overlap earlier ones by {row['minutes']:,} minutes, {_first(row)}",
            "Each minute counts once: maintenance before breakdown, setup, idle and production. A stop inside a production order is usual; "
            "two orders at once mean two sources for one machine, or a duration that is too long.",
            figures={"events": row["events"], "minutes": float(row["minutes"])},
        )


@check("kept-machine-time")
def kept(context: CheckContext) -> Findings:
    """Did the last attempt to store the resolved machine time fail?

    Results stay correct: what is not stored is computed from the events, which is slower.
    """
    if not context.has("resource_time_states"):
        yield ok("this database stores no machine time")
        return
    for row in context.rows(_SQL["failed"]):
        yield Finding(
            Severity.WARNING,
            f"storing the machine time of organization {row['organization_id']} failed at {row['failed_at']:%Y-%m-%d %H:%M} UTC: "
            f"{row['failure']}",
            "KPIs are correct but slower: they are computed from the events. Fix the cause that the message names; the statement retries.",
            Fix("CALL refresh_rollups();"),
        )


def _machine(row: dict[str, Any]) -> str:
    """Return the source of the events: machine and organization."""
    if row["resource_id"] is None:
        return f"no machine, of organization {row['organization_id']},"
    return f"{row['name']} ({row['resource_id']}) of organization {row['organization_id']}"


def _first(row: dict[str, Any]) -> str:
    """Return where to look: the first instant, and up to three events."""
    return f"the first at {row['first_at']:%Y-%m-%d %H:%M} UTC: {', '.join(row['examples'])}"
