"""The disk, the backups, and data that does not belong in a production database."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok, skipped
from db_utils.ops.sizes import size
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import literal

_SQL = sql_beside(__name__)
_DATABASE_SIZE = "SELECT pg_database_size(current_database()) AS total_bytes"
_ENOUGH_DAYS = 7
_LITTLE_BYTES = 1024**3


@check("disk")
def disk(context: CheckContext) -> Findings:
    """How many days until the disk is full, at the growth computed from the rows' times?

    Growth is bytes a day by chunk (of the last 90 days) or, without chunks, size divided by the rows' time
    span. Free space is that of the data folder if the server is on this machine, or the value of --disk-free;
    PostgreSQL does not report it. Under 1 GB is critical at any growth.
    """
    tables = context.rows(_SQL["growth_by_chunk"] if context.has_timescaledb else _SQL["growth_by_histogram"])
    known = [
        table
        for table in tables
        if float(table["day_count"] or 0) >= _ENOUGH_DAYS and not table["is_bounded"]
    ]
    per_day = sum(float(table["total_bytes"]) / float(table["day_count"]) for table in known)
    used = context.rows(_DATABASE_SIZE)[0]["total_bytes"]
    free = context.disk_free_bytes if context.disk_free_bytes is not None else _free_space(context)
    growth = (
        f"the database takes {size(used)} and grows by {size(per_day)} a day"
        if known
        else f"the database takes {size(used)}"
    )
    figures = {
        "used_bytes": used,
        "free_bytes": free,
        "growth_bytes_per_day": round(per_day) if known else None,
    }
    if free is None:
        yield Finding(
            Severity.NOTE,
            f"{growth}; the free space cannot be determined from here",
            "PostgreSQL does not report it, and the server's data directory is not on this machine: pass it with --disk-free.",
            Fix("python -m db_utils doctor --disk-free 40GB", "shell"),
            figures,
        )
        return
    left = free / per_day if per_day > 0 else None
    severity = Severity.OK if left is None else context.limits["disk-days"].grade(left)
    if free < _LITTLE_BYTES:
        severity = Severity.CRITICAL
    found = f"{size(free)} free; {growth}" + (f": {left:,.0f} days left" if left is not None else "")
    if severity == Severity.OK:
        if known:
            yield ok(found, **figures, days_left=round(left or 0))
        else:
            yield Finding(
                Severity.NOTE,
                f"{found}; its growth is not known yet",
                f"No time-series table has {_ENOUGH_DAYS} days of analyzed rows.",
                Fix("ANALYZE;"),
                figures,
            )
        return
    yield Finding(
        severity,
        found,
        "A full disk stops all writes. Add space, or limit how long raw rows are kept, which deletes older ones (rollups stay).",
        Fix(_make_room(context, known)),
        {**figures, "days_left": None if left is None else round(left, 1)},
    )


def _make_room(context: CheckContext, tables: list[dict[str, Any]]) -> str:
    name = f"public.{tables[0]['name'] if tables else 'resource_metrics'}"
    if context.edition == "community":
        return f"CALL set_retention({literal(name)}, INTERVAL '1 year');"
    return f"DELETE FROM {name} WHERE time < now() - INTERVAL '1 year';\nVACUUM {name};"


def _free_space(context: CheckContext) -> int | None:
    """Return the free bytes of the data folder, only if its pid file proves that it is this server's."""
    setting = context.settings.get("data_directory")
    if (
        setting is None
        or not setting["setting"]
        or not (context.is_socket or context.host in ("localhost", "127.0.0.1"))
    ):
        return None
    folder = Path(setting["setting"])
    with contextlib.suppress(OSError, IndexError, ValueError):
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        if abs(int(lines[2]) - context.about["started_at"].timestamp()) < 10:
            return shutil.disk_usage(folder).free
    return None


@check("backup-age")
def backups(context: CheckContext) -> Findings:
    """How old is the last backup that was restored and compared?

    A database with sample data only needs none. A missing backup is critical once other data is older
    than a verified backup may be.
    """
    if not context.rows("SELECT 1 AS there WHERE to_regclass('public.backup_runs') IS NOT NULL"):
        yield skipped("this database has no table backup_runs: python -m db_utils migrate creates it")
        return
    row, organizations = context.rows(_SQL["backups"])[0], context.rows(_SQL["organizations"])[0]
    fix = Fix("python -m db_utils backup --verify --out .", "shell")
    if context.edition == "citus":  # where `backup` refuses to run
        fix = Fix(
            "-- pg_basebackup of every node, restored and checked (docs/citus.md), then:\n"
            "INSERT INTO public.backup_runs (started_at, verified_at, location, size_bytes, sha256, is_encrypted)\n"
            "VALUES ('2026-01-31 02:00+00', now(), 'where it is stored', 0, '', false);"
        )
    if row["verified_seconds"] is None:
        if organizations["other_count"] == 0:
            yield ok("no verified backup, but the database holds only sample data")
            return
        yield Finding(
            Severity.CRITICAL
            if float(organizations["other_seconds"]) / 86_400 >= context.limits["backup-days"].warning
            else Severity.WARNING,
            "no backup has ever been verified"
            + (
                f"; the last unverified one is {duration(float(row['finished_seconds']))} old"
                if row["finished_seconds"]
                else ""
            ),
            "A backup that was never restored may be unusable, and one disk failure loses the rows. In the compose stack, "
            "--profile backup makes verified backups on a schedule.",
            fix,
            {"run_count": row["run_count"]},
        )
        return
    age = float(row["verified_seconds"])
    severity = context.limits["backup-days"].grade(age / 86_400)
    found = f"the last verified backup is {duration(age)} old"
    if severity == Severity.OK:
        yield ok(found, verified_seconds=round(age))
        return
    yield Finding(
        severity,
        found,
        "A disk failure would lose everything written since.",
        fix,
        {"verified_seconds": round(age)},
    )


@check("sample-data")
def sample_data(context: CheckContext) -> Findings:
    """Are sample organizations mixed with real ones?"""
    row = context.rows(_SQL["organizations"])[0]
    was_seeded = context.rows(_SQL["seeded"])[0]["was_seeded"]
    if not (was_seeded and row["samples"] and row["other_count"]):
        return
    those = ", ".join(literal(organization) for organization in row["samples"])
    deletes = [
        f"DELETE FROM public.{table['name']} WHERE organization_id IN ({those});"
        for table in context.rows(_SQL["delete_order"])
    ]
    yield Finding(
        Severity.WARNING,
        f"{len(row['samples'])} sample organizations among {row['other_count']} others",
        "Their invented rows count in every query over all organizations. Set SEED_SAMPLE_DATA=false in databases with real data.",
        Fix("\n".join(["BEGIN;", *deletes, "COMMIT;"])),
        {"sample_count": len(row["samples"]), "other_count": row["other_count"]},
    )
