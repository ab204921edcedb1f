"""Standbys and replication slots, and the age at which rows must be frozen."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok
from db_utils.ops.sizes import size
from db_utils.sql_text import literal

_SLOTS = """
    SELECT
        slot_name,
        slot_type,
        active,
        wal_status,
        CASE
            WHEN restart_lsn IS NULL THEN 0
            WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), restart_lsn)
            ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
        END AS retained_bytes
    FROM pg_replication_slots
    WHERE NOT temporary
    ORDER BY slot_name
"""
_STANDBYS = """
    SELECT
        application_name,
        host(client_addr) AS client,
        state,
        pg_wal_lsn_diff(
            CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
            replay_lsn
        ) AS lag_bytes
    FROM pg_stat_replication
    WHERE replay_lsn IS NOT NULL
        AND application_name <> 'pg_basebackup'
    ORDER BY 4 DESC
"""
_OURSELVES = """
    SELECT
        pg_is_wal_replay_paused() AS paused,
        pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS lag_bytes
    WHERE pg_is_in_recovery()
"""
_AGES = """
    SELECT
        datname,
        datname = current_database() AS is_ours,
        age(datfrozenxid) AS transaction_age,
        mxid_age(datminmxid) AS multixact_age
    FROM pg_database
    ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC, datname
"""
_OLDEST = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 't')
    ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC, c.oid
    LIMIT 1
"""
_MEGABYTE = 1024**2


@check("replication-slots")
def slots(context: CheckContext) -> Findings:
    """Does a replication slot keep write-ahead log for nobody?"""
    limit = context.limits["slot-retained-megabytes"]
    for slot in context.rows(_SLOTS):
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
            f"{slot['slot_type']} replication slot {slot['slot_name']} is {state} and keeps {size(retained)} of write-ahead log"
            + (", and lost what its reader needs" if slot["wal_status"] == "lost" else ""),
            "The log grows until the disk is full, unless its reader comes back or max_slot_wal_keep_size stops it. Drop the slot if "
            "its reader is gone for good.",
            Fix(f"SELECT pg_drop_replication_slot({literal(slot['slot_name'])});"),
            {"retained_bytes": int(retained), "active": slot["active"]},
        )


@check("replication-lag", sees_everyone=True)
def lag(context: CheckContext) -> Findings:
    """Do standbys fall behind, or has this one stopped replaying?"""
    limit = context.limits["replication-lag-megabytes"]
    standbys = context.rows(_STANDBYS)
    for standby in standbys:
        severity = limit.grade(float(standby["lag_bytes"]) / _MEGABYTE)
        if severity > Severity.OK:
            yield Finding(
                severity,
                f"standby {standby['application_name']} ({standby['client'] or 'over a socket'}, {standby['state']}) is "
                f"{size(standby['lag_bytes'])} behind",
                "Reads from it are old, and a failover would lose that much. Look there first for a paused replay or a long query.",
                Fix("SELECT pg_wal_replay_resume();", "psql on the standby"),
                {"lag_bytes": int(standby["lag_bytes"])},
            )
    for own in context.rows(_OURSELVES):
        behind = float(own["lag_bytes"] or 0)
        if own["paused"]:
            yield Finding(
                Severity.WARNING,
                f"this standby does not replay: it was paused, and is {size(behind)} behind what it received",
                "Reads from it grow older by the minute.",
                Fix("SELECT pg_wal_replay_resume();"),
                {"lag_bytes": int(behind)},
            )
    if not standbys and not context.about["is_standby"]:
        yield ok("no standby is connected")


@check("wraparound")
def wraparound(context: CheckContext) -> Findings:
    """Do rows come near the age at which the server refuses to write?"""
    limit = context.limits["wraparound-pct"]
    rows = context.rows(_AGES)
    for database in rows:
        age = max(database["transaction_age"], database["multixact_age"])
        share = 100 * age / 2**31
        severity = limit.grade(share)
        if severity == Severity.OK:
            continue
        kind = "transactions" if age == database["transaction_age"] else "multixacts"
        oldest = (
            f", the oldest in {context.rows(_OLDEST)[0]['name']}"
            if database["is_ours"]
            else ", which is not the one examined"
        )
        yield Finding(
            severity,
            f"database {database['datname']}: rows are up to {age:,} {kind} old, {share:.0f} % of what is possible{oldest}",
            "At 100 % the server takes no more writes. Autovacuum should have frozen them: look for long-transactions, "
            "replication-slots, or autovacuum switched off."
            + ("" if database["is_ours"] else " Run it in that database (template0 is autovacuum's to do)."),
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
