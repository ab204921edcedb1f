"""Standbys and replication slots, and the age at which rows must be frozen."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok
from db_utils.ops.sizes import size
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import literal

_SQL = sql_beside(__name__)
_MEGABYTE = 1024**2


@check("replication-slots")
def slots(context: CheckContext) -> Findings:
    """Does an inactive replication slot retain write-ahead log?"""
    limit = context.limits["slot-retained-megabytes"]
    for slot in context.rows(_SQL["slots"]):
        retained = float(slot["retained_bytes"])
        severity = limit.grade(retained / _MEGABYTE)
        if not slot["active"]:
            severity = max(severity, Severity.WARNING)
        if slot["wal_status"] == "lost":
            severity = Severity.CRITICAL
        if severity == Severity.OK:
            continue
        state = "active" if slot["active"] else "inactive"
        yield Finding(
            severity,
            f"{slot['slot_type']} replication slot {slot['slot_name']} is {state} and retains {size(retained)} of write-ahead log"
            + (", and has lost log that its reader needs" if slot["wal_status"] == "lost" else ""),
            "The log grows until the disk is full, unless the slot's reader comes back or max_slot_wal_keep_size limits it. Drop the slot "
            "if its reader is gone for good.",
            Fix(f"SELECT pg_drop_replication_slot({literal(slot['slot_name'])});"),
            {"retained_bytes": int(retained), "active": slot["active"]},
        )


@check("replication-lag", sees_everyone=True)
def lag(context: CheckContext) -> Findings:
    """Do standbys fall behind, or has this one stopped replaying?"""
    limit = context.limits["replication-lag-megabytes"]
    standbys = context.rows(_SQL["standbys"])
    for standby in standbys:
        severity = limit.grade(float(standby["lag_bytes"]) / _MEGABYTE)
        if severity > Severity.OK:
            yield Finding(
                severity,
                f"standby {standby['application_name']} ({standby['client'] or 'over a socket'}, {standby['state']}) is "
                f"{size(standby['lag_bytes'])} behind",
                "It returns old data, and a failover would lose that much. Look there for a paused replay or a long query first.",
                Fix("SELECT pg_wal_replay_resume();", "psql on the standby"),
                {"lag_bytes": int(standby["lag_bytes"])},
            )
    for own in context.rows(_SQL["ourselves"]):
        behind = float(own["lag_bytes"] or 0)
        if own["paused"]:
            yield Finding(
                Severity.WARNING,
                f"replay is paused on this standby, which is {size(behind)} behind what it has received",
                "The data it returns get older by the minute.",
                Fix("SELECT pg_wal_replay_resume();"),
                {"lag_bytes": int(behind)},
            )
    if not standbys and not context.about["is_standby"]:
        yield ok("no standby is connected")


@check("wraparound")
def wraparound(context: CheckContext) -> Findings:
    """Do rows approach the age at which the server refuses writes?"""
    limit = context.limits["wraparound-pct"]
    rows = context.rows(_SQL["ages"])
    for database in rows:
        age = max(database["transaction_age"], database["multixact_age"])
        share = 100 * age / 2**31
        severity = limit.grade(share)
        if severity == Severity.OK:
            continue
        kind = "transactions" if age == database["transaction_age"] else "multixacts"
        oldest = (
            f", the oldest in {context.rows(_SQL['oldest'])[0]['name']}"
            if database["is_ours"]
            else ", which is not the database being checked"
        )
        yield Finding(
            severity,
            f"database {database['datname']}: rows are up to {age:,} {kind} old, {share:.0f} % of the maximum{oldest}",
            "At 100 % the server refuses writes. Autovacuum should have frozen these rows: check long-transactions, "
            "replication-slots, and whether autovacuum is off."
            + (
                ""
                if database["is_ours"]
                else " Run the statement in that database (only autovacuum can do so in template0)."
            ),
            Fix("VACUUM (FREEZE);"),
            {
                "transaction_age": database["transaction_age"],
                "multixact_age": database["multixact_age"],
                "used_pct": round(share, 1),
            },
        )
    if (
        rows
        and limit.grade(100 * max(rows[0]["transaction_age"], rows[0]["multixact_age"]) / 2**31)
        == Severity.OK
    ):
        yield ok(f"the oldest rows are {rows[0]['transaction_age']:,} transactions old")
