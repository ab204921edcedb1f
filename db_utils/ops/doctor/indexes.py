"""Indexes: broken, double, unused, missing, too big for memory."""

from __future__ import annotations

from datetime import UTC, datetime

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok, skipped
from db_utils.ops.doctor.server_settings import change, told
from db_utils.ops.sizes import size
from db_utils.sql_text import identifier, literal

_INVALID = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name, i.indrelid::regclass::text AS table_name
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid
        AND c.relkind = 'i'
        AND n.nspname <> 'pg_toast'
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
    ORDER BY 1
"""
# Same table, columns, operator classes, collations, order, expressions and condition. The one without a constraint goes;
# of two alike the younger. Indexes of chunks follow those of their hypertable.
_DUPLICATE = """
    WITH described AS (
        SELECT
            i.indexrelid,
            i.indrelid,
            format('%I.%I', n.nspname, c.relname) AS name,
            pg_relation_size(i.indexrelid) AS total_bytes,
            i.indisunique,
            EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid) AS is_constraint,
            (
                i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indnkeyatts, c.relam,
                pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)
            )::text AS shape
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.indisvalid
            AND n.nspname !~ '^(pg_|_timescaledb_|information_schema$)'
    )
    SELECT DISTINCT ON (b.indexrelid)
        b.name AS name,
        a.name AS twin,
        b.total_bytes
    FROM described AS a
    JOIN described AS b
        ON b.indrelid = a.indrelid
        AND b.shape = a.shape
        AND NOT b.is_constraint
        AND (a.indisunique OR NOT b.indisunique)
        AND (a.is_constraint, a.indisunique AND NOT b.indisunique, -a.indexrelid::bigint)
            > (b.is_constraint, false, -b.indexrelid::bigint)
    ORDER BY b.indexrelid, a.indexrelid
"""
# What a chunk's index counts is its hypertable's: the same columns and condition, on a child of its table.
_UNUSED = """
    WITH described AS (
        SELECT
            i.indexrelid,
            i.indrelid,
            n.nspname,
            format('%I.%I', n.nspname, c.relname) AS name,
            NOT (i.indisunique OR EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)) AS may_go,
            (
                c.relam, pg_get_expr(i.indpred, i.indrelid),
                ARRAY(SELECT pg_get_indexdef(i.indexrelid, g, true) FROM generate_series(1, i.indnatts) AS g)
            )::text AS shape
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.indisvalid
            AND n.nspname !~ '^(pg_|information_schema$)'
    ),
    families AS (
        SELECT indexrelid AS parent, indexrelid AS member
        FROM described
        UNION ALL
        SELECT p.indexrelid, m.indexrelid
        FROM described AS p
        JOIN pg_inherits AS h ON h.inhparent = p.indrelid
        JOIN described AS m ON m.indrelid = h.inhrelid AND m.shape = p.shape
    )
    SELECT
        d.name,
        d.indrelid::regclass::text AS table_name,
        sum(pg_relation_size(s.indexrelid)) AS total_bytes
    FROM described AS d
    JOIN families AS f ON f.parent = d.indexrelid
    JOIN pg_stat_user_indexes AS s ON s.indexrelid = f.member
    WHERE d.may_go
        AND d.nspname !~ '^_timescaledb_'
    GROUP BY d.indexrelid, d.name, d.indrelid
    HAVING sum(s.idx_scan) = 0
    ORDER BY 3 DESC
"""
# Supported is a key whose first two columns (or its only one) an index begins with, in any order: organization_id alone
# still leaves a whole organization's rows.
_FOREIGN_KEYS = """
    WITH sizes AS (
        SELECT
            c.oid,
            coalesce((
                SELECT sum(greatest(k.reltuples, 0))
                FROM pg_inherits AS h
                JOIN pg_class AS k ON k.oid = h.inhrelid
                WHERE h.inhparent = c.oid
            ), 0) + greatest(c.reltuples, 0) AS row_count
        FROM pg_class AS c
    )
    SELECT
        n.nspname AS schema_name,
        c.relname AS table_name,
        k.conname,
        k.confrelid::regclass::text AS referenced,
        s.row_count::bigint AS row_count,
        u.n_tup_del AS deleted_count,
        (
            SELECT array_agg(a.attname::text ORDER BY o.position)
            FROM unnest(k.conkey) WITH ORDINALITY AS o (attnum, position)
            JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = o.attnum
        ) AS column_names,
        EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhparent = c.oid) AS has_chunks
    FROM pg_constraint AS k
    JOIN pg_class AS c ON c.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN sizes AS s ON s.oid = k.conrelid
    JOIN pg_stat_user_tables AS u ON u.relid = k.confrelid
    WHERE k.contype = 'f'
        AND n.nspname !~ '^(pg_|_timescaledb_|information_schema$)'
        AND s.row_count >= 100000
        AND u.n_tup_del >= 10
        AND NOT EXISTS (
            SELECT
            FROM pg_index AS i
            WHERE i.indrelid = k.conrelid
                AND i.indisvalid
                AND i.indpred IS NULL
                AND (i.indkey::int2[])[0:least(cardinality(k.conkey), 2) - 1] <@ k.conkey
                AND cardinality((i.indkey::int2[])[0:least(cardinality(k.conkey), 2) - 1]) = least(cardinality(k.conkey), 2)
        )
    ORDER BY s.row_count DESC, k.conname
"""
_SEQUENTIAL = """
    SELECT
        format('%I.%I', schemaname, relname) AS name,
        n_live_tup,
        seq_scan,
        coalesce(idx_scan, 0) AS idx_scan,
        seq_tup_read / nullif(seq_scan, 0) AS rows_per_scan
    FROM pg_stat_user_tables
    WHERE n_live_tup >= 100000
        AND seq_scan > coalesce(idx_scan, 0)
        AND seq_tup_read / nullif(seq_scan, 0) >= n_live_tup / 2
        AND schemaname !~ '^_timescaledb_'
    ORDER BY seq_tup_read DESC
"""
_WRITTEN_INDEXES = """
    WITH newest AS (
        SELECT DISTINCT ON (hypertable_schema, hypertable_name)
            hypertable_name,
            format('%I.%I', chunk_schema, chunk_name)::regclass AS chunk
        FROM timescaledb_information.chunks
        WHERE hypertable_schema <> '_timescaledb_internal'
            AND range_start <= now()
            AND NOT is_compressed
        ORDER BY hypertable_schema, hypertable_name, range_start DESC
    )
    SELECT hypertable_name AS name, pg_indexes_size(chunk) AS total_bytes
    FROM newest
    ORDER BY 2 DESC
"""
_ALL_INDEXES = """
    SELECT relid::regclass::text AS name, pg_indexes_size(relid) AS total_bytes
    FROM pg_stat_user_tables
    ORDER BY 2 DESC
"""
_SCANS_PER_DAY = 100
_SHOWN = 5


@check("invalid-indexes")
def invalid(context: CheckContext) -> Findings:
    """Did building an index fail half-way, so that it is written to and never read?"""
    for index in context.rows(_INVALID):
        yield Finding(
            Severity.WARNING,
            f"index {index['name']} of {index['table_name']} is invalid",
            "It costs each write and serves no read; if it was to be unique, doubles may be there.",
            Fix(f"REINDEX INDEX CONCURRENTLY {index['name']};"),
        )


@check("duplicate-indexes")
def duplicate(context: CheckContext) -> Findings:
    """Are there two indexes that are the same?"""
    for index in context.rows(_DUPLICATE):
        yield Finding(
            Severity.WARNING,
            f"index {index['name']} ({size(index['total_bytes'])}) is the same as {index['twin']}",
            "Each write keeps both up to date; no read needs both.",
            Fix(f"DROP INDEX {index['name']};"),
            {"total_bytes": index["total_bytes"]},
        )


@check("unused-indexes")
def unused(context: CheckContext) -> Findings:
    """Are there big indexes that nothing reads?

    Keys and unique indexes are never called unused; nor is one that serves only a standby known here.
    """
    days = (datetime.now(UTC) - context.about["counted_since"]).total_seconds() / 86_400
    needed = context.limits["unused-index-days"].warning
    if days < needed:
        yield skipped(
            f"statistics count for {duration(86_400 * days)}, which says nothing before {needed:g} days"
        )
        return
    limit = context.limits["unused-index-megabytes"]
    for index in context.rows(_UNUSED):
        if limit.grade(float(index["total_bytes"]) / 1024**2) > Severity.OK:
            yield Finding(
                Severity.WARNING,
                f"index {index['name']} of {index['table_name']} ({size(index['total_bytes'])}) was not read once in {days:.0f} days",
                "Each write keeps it up to date. Make sure that no yearly report and no standby needs it.",
                Fix(f"DROP INDEX {index['name']};"),
                {"total_bytes": int(index["total_bytes"])},
            )


@check("foreign-key-indexes")
def foreign_keys(context: CheckContext) -> Findings:
    """Is there a big table whose foreign key has no index, while rows are deleted that it points to?

    Big is 100,000 rows; ten deletes since statistics began. A key to rows that are never deleted needs no index.
    """
    for key in context.rows(_FOREIGN_KEYS)[:_SHOWN]:
        table = f"{identifier(key['schema_name'])}.{identifier(key['table_name'])}"
        index = f"{key['table_name']}_{'_'.join(key['column_names'])}_idx"[:63]
        columns = ", ".join(identifier(name) for name in key["column_names"])
        # A hypertable's index cannot be built concurrently, but chunk by chunk.
        how = (
            f"CREATE INDEX {identifier(index)} ON {table} ({columns}) WITH (timescaledb.transaction_per_chunk);"
            if key["has_chunks"] and context.edition != "plain"
            else f"CREATE INDEX CONCURRENTLY {identifier(index)} ON {table} ({columns});"
        )
        yield Finding(
            Severity.WARNING,
            f"{key['conname']}: no index of {key['table_name']} ({key['row_count']:,} rows) begins with {', '.join(key['column_names'])}, "
            f"and {key['deleted_count']:,} rows of {key['referenced']} were deleted",
            "Each delete reads the organization's rows of the table, or all of them, to find out whether one points there.",
            Fix(
                f"{how}\nCOMMENT ON INDEX {identifier(key['schema_name'])}.{identifier(index)} IS "
                f"{literal('Serves deletes from ' + key['referenced'] + '.')};"
            ),
            {"row_count": key["row_count"], "deleted_count": key["deleted_count"]},
        )


@check("sequential-scans")
def sequential(context: CheckContext) -> Findings:
    """Are big tables read from end to end again and again?

    A hundred times a day on average, and more often than by index, with at least half of 100,000 rows or more each time.
    Chunks are left out: rollups read whole chunks on purpose.
    """
    days = max(1.0, (datetime.now(UTC) - context.about["counted_since"]).total_seconds() / 86_400)
    rows = [row for row in context.rows(_SEQUENTIAL) if row["seq_scan"] / days >= _SCANS_PER_DAY]
    for table in rows[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']} ({table['n_live_tup']:,} rows) was read from end to end {table['seq_scan']:,} times in "
            f"{duration(86_400 * days)}, by index {table['idx_scan']:,} times",
            "Some statement finds no index for its condition. Log the slow ones, EXPLAIN them, and make the index that the condition "
            "needs; what was read so far counts until it is reset.",
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
    """Do the indexes that are written to fit into memory?

    With TimescaleDB those of the newest chunks against shared_buffers; in the plain edition, where every row goes into
    one big index, those of all tables against effective_cache_size.
    """
    is_plain = context.edition == "plain"
    tables = context.rows(_ALL_INDEXES if is_plain else _WRITTEN_INDEXES)
    setting = "effective_cache_size" if is_plain else "shared_buffers"
    total, space = sum(table["total_bytes"] for table in tables), context.setting_bytes(setting)
    share = 100 * total / space
    figures = {"index_bytes": int(total), "memory_bytes": space}
    found = f"indexes {'of all tables' if is_plain else 'of the chunks being written'} take {size(total)}, {share:.0f} % of {setting}"
    if context.limits["index-memory-pct"].grade(share) == Severity.OK:
        yield ok(found, **figures)
        return
    wanted = max(1, round(1.5 * total / 1024**2))
    yield Finding(
        Severity.WARNING,
        f"{found} ({size(space)}); most of it {tables[0]['name']}",
        "Each new row then waits for the disk. Give the server the memory (and say so), or"
        + (
            " move to TimescaleDB, whose chunks keep indexes small."
            if is_plain
            else " shorten the chunks with set_chunk_time_interval()."
        )
        + told(context, setting),
        change(context, setting, f"{wanted}MB"),
        figures,
    )
