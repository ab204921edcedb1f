"""Sessions: number, duration and lock waits; and the cache hit ratio."""

from __future__ import annotations

from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Limit, Severity, check, duration, ok
from db_utils.ops.doctor.server_settings import change, told
from db_utils.ops.sizes import size
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import literal

_SQL = sql_beside(__name__)
_READS_THAT_MATTER = 100_000
_SHOWN = 5


@check("connections", sees_everyone=True)
def connections(context: CheckContext) -> Findings:
    """Are the server's connections used up?"""
    row = context.rows(_SQL["connections"])[0]
    share = 100 * row["used"] / row["available"]
    found = f"{row['used']} of {row['available']} connections in use, {row['idle']} of them idle; most: {row['most']}"
    severity = context.limits["connections-pct"].grade(share)
    figures = {"used": row["used"], "available": row["available"], "idle": row["idle"]}
    if severity == Severity.OK:
        yield ok(found, **figures)
        return
    yield Finding(
        severity,
        found,
        "Once they are used up, clients are refused. Lower DB_POOL_MAX_CONNECTIONS in the processes that hold the most, or allow more."
        + told(context, "max_connections"),
        change(context, "max_connections", str(2 * int(context.setting("max_connections")))),
        figures,
    )


@check("long-transactions", sees_everyone=True)
def long_transactions(context: CheckContext) -> Findings:
    """Is a transaction, or a prepared one, open for very long?"""
    limit = context.limits["long-transaction-minutes"]
    rows = [
        row
        for row in context.rows(_SQL["transactions"])
        if not str(row["state"]).startswith("idle in transaction")
    ]
    for row in _over(rows, limit, "open_seconds"):
        yield Finding(
            limit.grade(float(row["open_seconds"]) / 60),
            f"{_who(row)} has run one transaction for {duration(float(row['open_seconds']))}",
            "VACUUM cannot remove rows that died since it started, in any table. Ending the session rolls the transaction back.",
            Fix(f"SELECT pg_terminate_backend({row['pid']});"),
            {"pid": row["pid"], "open_seconds": round(float(row["open_seconds"]))},
        )
    for row in _over(context.rows(_SQL["prepared"]), limit, "open_seconds"):
        yield Finding(
            limit.grade(float(row["open_seconds"]) / 60),
            f"prepared transaction {row['gid']} of {row['owner']} has been open for {duration(float(row['open_seconds']))}",
            "It survives restarts, keeps its locks, and stops VACUUM from removing newer dead rows. Ask its owner whether to commit it.",
            Fix(f"ROLLBACK PREPARED {literal(row['gid'])};"),
            {"open_seconds": round(float(row["open_seconds"]))},
        )


@check("notification-queue", sees_everyone=True)
def notification_queue(context: CheckContext) -> Findings:
    """Is the server's notification queue filling up?

    Above a quarter, rows are written without notification; with a full queue, commits with notifications
    would fail. A listening session with an open transaction keeps everything since its start in the queue.
    """
    percent = 100 * float(context.rows("SELECT pg_notification_queue_usage() AS usage")[0]["usage"])
    severity = context.limits["notification-queue-pct"].grade(percent)
    figures = {"usage_pct": round(percent, 1)}
    if severity == Severity.OK:
        yield ok(f"{percent:.0f} % of the notification queue is in use", **figures)
        return
    oldest = context.rows(_SQL["transactions"])[:1]
    yield Finding(
        severity,
        f"{percent:.0f} % of the notification queue is in use"
        + (f"; the oldest transaction belongs to {_who(oldest[0])}" if oldest else ""),
        "At 75 % no organization is notified of new alerts and predictions any more. End the session that listens inside an old "
        "transaction: the queue then empties at once.",
        Fix(f"SELECT pg_terminate_backend({oldest[0]['pid']});") if oldest else None,
        figures,
    )


@check("idle-in-transaction", sees_everyone=True)
def idle_in_transaction(context: CheckContext) -> Findings:
    """Is a session idle in an open transaction?"""
    limit = context.limits["idle-in-transaction-minutes"]
    rows = [
        row
        for row in context.rows(_SQL["transactions"])
        if str(row["state"]).startswith("idle in transaction")
    ]
    for row in _over(rows, limit, "state_seconds"):
        yield Finding(
            limit.grade(float(row["state_seconds"]) / 60),
            f"{_who(row)} has been idle in a transaction for {duration(float(row['state_seconds']))}",
            "It holds its locks and keeps VACUUM from removing dead rows. Ending the session rolls the transaction back.",
            Fix(f"SELECT pg_terminate_backend({row['pid']});"),
            {"pid": row["pid"], "idle_seconds": round(float(row["state_seconds"]))},
        )


@check("blocked-sessions", sees_everyone=True)
def blocked(context: CheckContext) -> Findings:
    """Does a session wait long for a lock, and which one holds it?"""
    limit = context.limits["lock-wait-seconds"]
    rows = context.rows(_SQL["blocked"])
    waiting = {row["pid"] for row in rows}
    for row in [row for row in rows if limit.grade(float(row["wait_seconds"])) > Severity.OK][:_SHOWN]:
        roots = [pid for pid in row["blockers"] if pid not in waiting] or row["blockers"]
        holders = ", ".join(str(pid) for pid in row["blockers"])
        yield Finding(
            limit.grade(float(row["wait_seconds"])),
            f"process {row['pid']} ({row['usename']}) has waited {duration(float(row['wait_seconds']))} for a lock"
            f"{' on ' + row['relation'] if row['relation'] else ''} that process {holders} holds or is to get first",
            "Later requests wait too. Ending the holder rolls its transaction back.",
            Fix("\n".join(f"SELECT pg_terminate_backend({pid});" for pid in roots if pid != 0))
            if any(roots)
            else None,
            {
                "pid": row["pid"],
                "blocking_pids": row["blockers"],
                "wait_seconds": round(float(row["wait_seconds"])),
            },
        )


@check("cache-hit-ratio")
def hit_ratio(context: CheckContext) -> Findings:
    """Are blocks found in shared_buffers, or requested from the system repeatedly?"""
    row = context.rows(_SQL["hit_ratio"])[0]
    if row["blks_read"] < _READS_THAT_MATTER:
        yield ok(
            f"{row['blks_read']:,} blocks were read from outside shared_buffers: too few to judge",
            blocks_read=row["blks_read"],
        )
        return
    share = 100 * row["blks_hit"] / (row["blks_hit"] + row["blks_read"])
    found = (
        f"{share:.1f} % of blocks were found in shared_buffers ({size(context.setting_bytes('shared_buffers'))}); "
        f"{row['blks_read']:,} were not"
    )
    figures = {"hit_pct": round(share, 2), "blocks_read": row["blks_read"]}
    if share >= context.limits["cache-hit-pct"].warning:
        yield ok(found, **figures)
        return
    yield Finding(
        Severity.WARNING,
        found,
        "Reads go to the operating system's cache or to the disk. A quarter of the machine's memory is the usual size. The last "
        "statement resets the counters." + told(context, "shared_buffers"),
        change(
            context,
            "shared_buffers",
            f"{max(128, 4 * context.setting_bytes('shared_buffers') // 1024**2)}MB",
            then="SELECT pg_stat_reset();",
        ),
        figures,
    )


def _over(rows: list[dict[str, Any]], limit: Limit, column: str) -> list[dict[str, Any]]:
    return [row for row in rows if limit.grade(float(row[column]) / 60) > Severity.OK][:_SHOWN]


def _who(row: dict[str, object]) -> str:
    place = f" from {row['client']}" if row["client"] else ""
    name = f", {row['application_name']}" if row["application_name"] else ""
    return f"process {row['pid']} ({row['usename']}{name}{place})"
