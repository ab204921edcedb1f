"""The disk, the backups, and what does not belong into a production database."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok, skipped
from db_utils.ops.sizes import size
from db_utils.sql_text import literal

# Bytes a day of each time-series table: chunks that ended within the last 90 days, over the days that they cover. Where
# retention removes what is as old as the oldest chunk, old rows make room for new ones.
_GROWTH_BY_CHUNK = """
    SELECT
        c.hypertable_name AS name,
        sum(s.total_bytes)::float8 AS total_bytes,
        sum(extract(epoch FROM c.range_end - c.range_start)) / 86400 AS day_count,
        coalesce(bool_or(
            (SELECT min(o.range_end) FROM timescaledb_information.chunks AS o WHERE o.hypertable_name = c.hypertable_name)
            < now() - (j.config ->> 'drop_after')::interval + (c.range_end - c.range_start)
        ), false) AS is_bounded
    FROM timescaledb_information.chunks AS c
    CROSS JOIN LATERAL chunks_detailed_size(format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass) AS s
    LEFT JOIN timescaledb_information.jobs AS j
        ON j.proc_name = 'policy_retention'
        AND (j.hypertable_schema, j.hypertable_name) = (c.hypertable_schema, c.hypertable_name)
    WHERE c.hypertable_schema = 'public'
        AND s.chunk_name = c.chunk_name
        AND c.range_end BETWEEN now() - interval '90 days' AND now()
    GROUP BY c.hypertable_name
    ORDER BY 2 DESC
"""
# Without chunks: the size of the table over the span of its rows' own time, whose ends the planner's histogram knows.
_GROWTH_BY_HISTOGRAM = """
    SELECT
        s.tablename AS name,
        pg_total_relation_size(format('%I.%I', s.schemaname, s.tablename)::regclass)::float8 AS total_bytes,
        extract(epoch FROM (
            (s.histogram_bounds::text::timestamptz[])[array_length(s.histogram_bounds::text::timestamptz[], 1)]
            - (s.histogram_bounds::text::timestamptz[])[1]
        )) / 86400 AS day_count,
        false AS is_bounded
    FROM pg_stats AS s
    WHERE s.schemaname = 'public'
        AND s.attname = 'time'
        AND s.tablename IN ('operational_events', 'demand_history', 'resource_metrics', 'employee_attendance')
        AND s.histogram_bounds IS NOT NULL
    ORDER BY 2 DESC
"""
_DATABASE_SIZE = "SELECT pg_database_size(current_database()) AS total_bytes"
_BACKUPS = """
    SELECT
        count(*) AS run_count,
        extract(epoch FROM now() - max(verified_at)) AS verified_seconds,
        extract(epoch FROM now() - max(finished_at)) AS finished_seconds
    FROM backup_runs
"""
# Two organizations of the sample data, and those that `seed --organizations` adds.
_ORGANIZATIONS = """
    WITH samples AS (
        SELECT unnest(ARRAY[
            '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222'
        ]::uuid[]) AS organization_id
        UNION ALL
        SELECT md5('organization/' || n)::uuid
        FROM generate_series(3, 1000) AS n
    )
    SELECT
        (SELECT EXISTS (SELECT FROM seed_runs)) AS was_seeded,
        array_agg(o.organization_id::text ORDER BY o.organization_id) FILTER (WHERE s.organization_id IS NOT NULL) AS samples,
        count(*) FILTER (WHERE s.organization_id IS NULL) AS other_count,
        extract(epoch FROM now() - min(o.created_at) FILTER (WHERE s.organization_id IS NULL)) AS other_seconds
    FROM organizations AS o
    LEFT JOIN samples AS s ON s.organization_id = o.organization_id
"""
# Tables that point to others come first.
_DELETE_ORDER = """
    WITH RECURSIVE tables AS (
        SELECT c.oid, c.relname
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind IN ('r', 'p')
            AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'organization_id')
    ),
    depths (oid, depth) AS (
        SELECT oid, 0 FROM tables
        UNION
        SELECT k.confrelid, d.depth + 1
        FROM depths AS d
        JOIN pg_constraint AS k ON k.conrelid = d.oid AND k.contype = 'f' AND k.confrelid <> k.conrelid
        WHERE d.depth < 20
    )
    SELECT t.relname AS name
    FROM tables AS t
    JOIN depths AS d ON d.oid = t.oid
    GROUP BY t.relname
    ORDER BY max(d.depth), t.relname
"""
_ENOUGH_DAYS = 7
_LITTLE_BYTES = 1024**3


@check("disk")
def disk(context: CheckContext) -> Findings:
    """How many days until the disk is full, at the growth that the rows' own time shows?

    Growth is bytes a day by chunk (of the last 90 days) or, without chunks, size over the span of the rows' time. Free space
    is that of the data folder where the server is on this machine, or what --disk-free says; PostgreSQL itself cannot tell.
    Under 1 GB is critical whatever the growth.
    """
    tables = context.rows(_GROWTH_BY_HISTOGRAM if context.edition == "plain" else _GROWTH_BY_CHUNK)
    known = [
        table
        for table in tables
        if float(table["day_count"] or 0) >= _ENOUGH_DAYS and not table["is_bounded"]
    ]
    per_day = sum(float(table["total_bytes"]) / float(table["day_count"]) for table in known)
    used = context.rows(_DATABASE_SIZE)[0]["total_bytes"]
    free = context.disk_free_bytes if context.disk_free_bytes is not None else _free_space(context)
    growth = (
        f"the database has {size(used)} and grows by {size(per_day)} a day"
        if known
        else f"the database has {size(used)}"
    )
    figures = {
        "used_bytes": used,
        "free_bytes": free,
        "growth_bytes_per_day": round(per_day) if known else None,
    }
    if free is None:
        yield Finding(
            Severity.NOTE,
            f"{growth}; how much space is free cannot be known from here",
            "PostgreSQL does not tell it, and the server's data folder is not on this machine: say it with --disk-free.",
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
                f"{found}; its growth cannot be known yet",
                f"No time-series table has {_ENOUGH_DAYS} days of rows that were analyzed.",
                Fix("ANALYZE;"),
                figures,
            )
        return
    yield Finding(
        severity,
        found,
        "A full disk stops every write. Add space; or keep raw rows for a limited time, which deletes what is older (rollups stay).",
        Fix(_make_room(context, known)),
        {**figures, "days_left": None if left is None else round(left, 1)},
    )


def _make_room(context: CheckContext, tables: list[dict[str, Any]]) -> str:
    name = f"public.{tables[0]['name'] if tables else 'resource_metrics'}"
    if context.edition == "community":
        return f"CALL set_retention({literal(name)}, INTERVAL '1 year');"
    return f"DELETE FROM {name} WHERE time < now() - INTERVAL '1 year';\nVACUUM {name};"


def _free_space(context: CheckContext) -> int | None:
    """Free bytes beside the data folder, only where it is certain that it is this server's: its own pid file says so."""
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

    Where there are no rows but the sample data's, none is needed. That there never was one is critical once there has been
    other data for as long as a verified backup may be old.
    """
    if not context.rows("SELECT 1 AS there WHERE to_regclass('public.backup_runs') IS NOT NULL"):
        yield skipped("this database has no table backup_runs: python -m db_utils migrate makes it")
        return
    row, organizations = context.rows(_BACKUPS)[0], context.rows(_ORGANIZATIONS)[0]
    fix = Fix("python -m db_utils backup --verify --out .", "shell")
    if row["verified_seconds"] is None:
        if organizations["other_count"] == 0:
            yield ok("no verified backup, and nothing here but sample data")
            return
        yield Finding(
            Severity.CRITICAL
            if float(organizations["other_seconds"]) / 86_400 >= context.limits["backup-days"].warning
            else Severity.WARNING,
            "no backup was ever verified"
            + (
                f"; the last unverified one is {duration(float(row['finished_seconds']))} old"
                if row["finished_seconds"]
                else ""
            ),
            "A backup that nobody restored is a hope. One disk failure and the rows are gone. In the compose stack "
            "--profile backup does it on a schedule.",
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
        "What was written since would be lost with the disk.",
        fix,
        {"verified_seconds": round(age)},
    )


@check("sample-data")
def sample_data(context: CheckContext) -> Findings:
    """Do the sample organizations stand beside real ones?"""
    row = context.rows(_ORGANIZATIONS)[0]
    if not (row["was_seeded"] and row["samples"] and row["other_count"]):
        return
    those = ", ".join(literal(organization) for organization in row["samples"])
    deletes = [
        f"DELETE FROM public.{table['name']} WHERE organization_id IN ({those});"
        for table in context.rows(_DELETE_ORDER)
    ]
    yield Finding(
        Severity.WARNING,
        f"{len(row['samples'])} sample organizations stand beside {row['other_count']} others",
        "Their invented rows count in everything that looks over all organizations. Set SEED_SAMPLE_DATA=false where real data goes.",
        Fix("\n".join(["BEGIN;", *deletes, "COMMIT;"])),
        {"sample_count": len(row["samples"]), "other_count": row["other_count"]},
    )
