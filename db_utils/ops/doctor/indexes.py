"""Indexes: invalid, duplicate, unused, missing, too big for memory."""

from __future__ import annotations

from datetime import UTC, datetime

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok, skipped
from db_utils.ops.doctor.server_settings import change, told
from db_utils.ops.sizes import size
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import identifier, literal

_SQL = sql_beside(__name__)
_SCANS_PER_DAY = 100
_SHOWN = 5


@check("invalid-indexes")
def invalid(context: CheckContext) -> Findings:
    """Did building an index fail, so that it is written to but never read?"""
    for index in context.rows(_SQL["invalid"]):
        yield Finding(
            Severity.WARNING,
            f"index {index['name']} of {index['table_name']} is invalid",
            "It slows every write and serves no read; if it was meant to be unique, there may be duplicates.",
            Fix(f"REINDEX INDEX CONCURRENTLY {index['name']};"),
        )


@check("duplicate-indexes")
def duplicate(context: CheckContext) -> Findings:
    """Are two indexes identical?"""
    for index in context.rows(_SQL["duplicate"]):
        yield Finding(
            Severity.WARNING,
            f"index {index['name']} ({size(index['total_bytes'])}) duplicates {index['twin']}",
            "Every write updates both; no read needs both.",
            Fix(f"DROP INDEX {index['name']};"),
            {"total_bytes": index["total_bytes"]},
        )


@check("unused-indexes")
def unused(context: CheckContext) -> Findings:
    """Are there big unused indexes?

    Keys and unique indexes are never reported; nor is one known to be used by a standby only.
    """
    days = (datetime.now(UTC) - context.about["counted_since"]).total_seconds() / 86_400
    needed = context.limits["unused-index-days"].warning
    if days < needed:
        yield skipped(f"statistics cover {duration(86_400 * days)}; the check needs {needed:g} days")
        return
    limit = context.limits["unused-index-megabytes"]
    for index in context.rows(_SQL["unused"]):
        if limit.grade(float(index["total_bytes"]) / 1024**2) > Severity.OK:
            yield Finding(
                Severity.WARNING,
                f"index {index['name']} of {index['table_name']} ({size(index['total_bytes'])}) was not used once in {days:.0f} days",
                "Every write updates it. Make sure that no yearly report and no standby needs it.",
                Fix(f"DROP INDEX {index['name']};"),
                {"total_bytes": int(index["total_bytes"])},
            )


@check("foreign-key-indexes")
def foreign_keys(context: CheckContext) -> Findings:
    """Is there a big table whose foreign key has no index, while rows that it references are deleted?

    From 100,000 rows, and ten deletes since the statistics' start. A key to rows that are never deleted needs
    no index.
    """
    for key in context.rows(_SQL["foreign_keys"])[:_SHOWN]:
        table = f"{identifier(key['schema_name'])}.{identifier(key['table_name'])}"
        index = f"{key['table_name']}_{'_'.join(key['column_names'])}_idx"[:63]
        columns = ", ".join(identifier(name) for name in key["column_names"])
        # A hypertable's index cannot be built concurrently, but chunk by chunk.
        how = (
            f"CREATE INDEX {identifier(index)} ON {table} ({columns}) WITH (timescaledb.transaction_per_chunk);"
            if key["has_chunks"] and context.has_timescaledb
            else f"CREATE INDEX CONCURRENTLY {identifier(index)} ON {table} ({columns});"
        )
        yield Finding(
            Severity.WARNING,
            f"{key['conname']}: no index of {key['table_name']} ({key['row_count']:,} rows) starts with {', '.join(key['column_names'])}, "
            f"and {key['deleted_count']:,} rows of {key['referenced']} were deleted",
            "Each delete reads the organization's rows of the table, or all of them, to find references to the deleted row.",
            Fix(
                f"{how}\nCOMMENT ON INDEX {identifier(key['schema_name'])}.{identifier(index)} IS "
                f"{literal('Serves deletes from ' + key['referenced'] + '.')};"
            ),
            {"row_count": key["row_count"], "deleted_count": key["deleted_count"]},
        )


@check("sequential-scans")
def sequential(context: CheckContext) -> Findings:
    """Are big tables often read by sequential scans?

    A hundred times a day on average, and more often than by index, with at least half of 100,000 rows or more
    each time. Chunks are excluded: rollups read whole chunks on purpose.
    """
    days = max(1.0, (datetime.now(UTC) - context.about["counted_since"]).total_seconds() / 86_400)
    rows = [row for row in context.rows(_SQL["sequential"]) if row["seq_scan"] / days >= _SCANS_PER_DAY]
    for table in rows[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']} ({table['n_live_tup']:,} rows) had {table['seq_scan']:,} sequential scans in "
            f"{duration(86_400 * days)}, and {table['idx_scan']:,} index scans",
            "Some statement has no index for its condition. Log slow statements, EXPLAIN them, and create the index that the condition "
            "needs; past scans count until the counters are reset.",
            change(
                context,
                "log_min_duration_statement",
                "1000",
                then=f"SELECT pg_stat_reset_single_table_counters({literal(table['name'])}::regclass);",
            ),
            {"scan_count": table["seq_scan"], "live_rows": table["n_live_tup"]},
        )


@check("index-memory")
def memory(context: CheckContext) -> Findings:
    """Do the written indexes fit into memory?

    With TimescaleDB those of the newest chunks against shared_buffers; in the plain edition, where every row goes into
    one big index, those of all tables against effective_cache_size.
    """
    tables = context.rows(_SQL["written_indexes"] if context.has_timescaledb else _SQL["all_indexes"])
    setting = "shared_buffers" if context.has_timescaledb else "effective_cache_size"
    total, space = sum(table["total_bytes"] for table in tables), context.setting_bytes(setting)
    share = 100 * total / space
    figures = {"index_bytes": int(total), "memory_bytes": space}
    which = "of the chunks being written" if context.has_timescaledb else "of all tables"
    found = f"indexes {which} take {size(total)}, {share:.0f} % of {setting}"
    if context.limits["index-memory-pct"].grade(share) == Severity.OK:
        yield ok(found, **figures)
        return
    wanted = max(1, round(1.5 * total / 1024**2))
    yield Finding(
        Severity.WARNING,
        f"{found} ({size(space)}); the largest is {tables[0]['name']}",
        "Each new row then waits for the disk. Give the server more memory and raise the setting, or"
        + (
            " shorten the chunks with set_chunk_time_interval()."
            if context.has_timescaledb
            else " move to TimescaleDB, whose chunks keep indexes small."
        )
        + told(context, setting),
        change(context, setting, f"{wanted}MB"),
        figures,
    )
