"""Tables: dead rows, bloat, and statistics for the planner."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check
from db_utils.ops.sizes import size

_DEAD_ROWS = """
    SELECT
        format('%I.%I', schemaname, relname) AS name,
        n_live_tup,
        n_dead_tup,
        100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0) AS dead_pct,
        last_autovacuum
    FROM pg_stat_user_tables
    WHERE n_dead_tup >= 10000
    ORDER BY n_dead_tup DESC
"""
# TimescaleDB itself switches autovacuum off where it compresses: only tables of users count.
_AUTOVACUUM_OFF = """
    SELECT c.oid::regclass::text AS name, format('%I.%I', n.nspname, c.relname) AS qualified_name
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm')
        AND n.nspname !~ '^(pg_|_timescaledb_|information_schema$)'
        AND EXISTS (
            SELECT
            FROM unnest(c.reloptions) AS o (option)
            WHERE o.option ~* '^autovacuum_enabled=(false|off|no|0)$'
        )
    ORDER BY 1
"""
# Pages that the rows would fill, from the mean width of each column that ANALYZE saw: 24 bytes of header and 4 of line
# pointer per row, padding of 4 bytes on average. Rows that nobody analyzed are not judged.
_BLOAT = """
    WITH widths AS (
        SELECT
            format('%I.%I', schemaname, tablename)::regclass AS oid,
            sum((1 - null_frac) * avg_width) AS row_bytes,
            count(*) AS column_count
        FROM pg_stats
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
            AND NOT inherited
        GROUP BY 1
    ),
    tables AS (
        SELECT
            c.oid,
            'table' AS kind,
            format('%I.%I', n.nspname, c.relname) AS name,
            c.relpages::float8 * current_setting('block_size')::float8 AS actual_bytes,
            c.reltuples * (w.row_bytes + 32) * 100 / coalesce(
                (SELECT substr(o, 12)::float8 FROM unnest(c.reloptions) AS o WHERE o LIKE 'fillfactor=%'), 100
            ) AS expected_bytes
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN widths AS w ON w.oid = c.oid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'm')
            AND c.reltuples > 0
        GROUP BY c.oid, n.nspname, w.row_bytes, w.column_count
        HAVING count(*) = w.column_count
    ),
    indexes AS (
        SELECT
            i.indexrelid AS oid,
            'index' AS kind,
            format('%I.%I', n.nspname, x.relname) AS name,
            x.relpages::float8 * current_setting('block_size')::float8 AS actual_bytes,
            x.reltuples * (sum(coalesce(s.avg_width, 8)) + 20) / 0.9 AS expected_bytes
        FROM pg_index AS i
        JOIN pg_class AS x ON x.oid = i.indexrelid
        JOIN pg_am AS m ON m.oid = x.relam AND m.amname = 'btree'
        JOIN pg_class AS t ON t.oid = i.indrelid
        JOIN pg_namespace AS n ON n.oid = x.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = i.indexrelid
        LEFT JOIN pg_stats AS s
            ON s.schemaname = n.nspname
            AND s.tablename = t.relname
            AND s.attname = a.attname
            AND NOT s.inherited
        WHERE x.reltuples > 0
            AND t.oid IN (SELECT oid FROM widths)
        GROUP BY i.indexrelid, n.nspname, x.relname, x.relpages, x.reltuples
    )
    SELECT
        kind,
        name,
        actual_bytes,
        100 * (1 - expected_bytes / actual_bytes) AS bloat_pct
    FROM (SELECT * FROM tables UNION ALL SELECT * FROM indexes) AS relations
    WHERE expected_bytes < actual_bytes
    ORDER BY actual_bytes - expected_bytes DESC
"""
_NEVER_ANALYZED = """
    SELECT
        format('%I.%I', n.nspname, c.relname) AS name,
        pg_relation_size(c.oid) AS total_bytes
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm')
        AND c.reltuples = -1
        AND n.nspname !~ '^(pg_|information_schema$)'
    ORDER BY 2 DESC
"""
_OLD_STATISTICS = """
    SELECT
        format('%I.%I', schemaname, relname) AS name,
        n_live_tup,
        n_mod_since_analyze,
        greatest(last_analyze, last_autoanalyze) AS last_at
    FROM pg_stat_user_tables
    WHERE n_mod_since_analyze >= 100000
        AND n_mod_since_analyze > n_live_tup / 2
        AND greatest(last_analyze, last_autoanalyze) IS NOT NULL
    ORDER BY n_mod_since_analyze DESC
"""
_MEGABYTE = 1024**2
BLOAT_LEAST_BYTES = 100 * _MEGABYTE
NEVER_ANALYZED_LEAST_BYTES = 32 * _MEGABYTE
_SHOWN = 5


@check("dead-rows")
def dead_rows(context: CheckContext) -> Findings:
    """Do tables carry many dead rows, or is autovacuum switched off for one?"""
    limit = context.limits["dead-rows-pct"]
    bad = [row for row in context.rows(_DEAD_ROWS) if limit.grade(float(row["dead_pct"])) > Severity.OK]
    for table in bad[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']}: {float(table['dead_pct']):.0f} % of its rows are dead ({table['n_dead_tup']:,} beside "
            f"{table['n_live_tup']:,} live ones), "
            f"{_last(table['last_autovacuum'], 'autovacuum')}",
            "Every scan reads them too, and the table grows. Old transactions (long-transactions) keep VACUUM from removing them.",
            Fix(f"VACUUM (ANALYZE) {table['name']};"),
            {"dead_rows": table["n_dead_tup"], "live_rows": table["n_live_tup"]},
        )
    for table in context.rows(_AUTOVACUUM_OFF):
        yield Finding(
            Severity.WARNING,
            f"autovacuum is switched off for {table['qualified_name']}",
            "Its dead rows stay, its statistics grow old, and only a forced freeze will ever clean it.",
            Fix(f"ALTER TABLE {table['qualified_name']} RESET (autovacuum_enabled);"),
        )


@check("bloat")
def bloat(context: CheckContext) -> Findings:
    """Are big tables or indexes mostly empty space?

    An estimate from the planner's statistics, good to about 20 %; what is smaller than 100 MB is not looked at, what is
    never analyzed cannot be.
    """
    limit = context.limits["bloat-pct"]
    rows = [row for row in context.rows(_BLOAT) if row["actual_bytes"] >= BLOAT_LEAST_BYTES]
    for relation in [row for row in rows if limit.grade(float(row["bloat_pct"])) > Severity.OK][:_SHOWN]:
        is_table = relation["kind"] == "table"
        share = float(relation["bloat_pct"])
        yield Finding(
            Severity.WARNING,
            f"{relation['kind']} {relation['name']} ({size(relation['actual_bytes'])}) is about {share:.0f} % empty",
            "It takes disk and memory for nothing. "
            + (
                "VACUUM FULL writes it anew and locks it meanwhile: do it in a quiet hour."
                if is_table
                else "Rebuilding it leaves reads and writes alone."
            ),
            Fix(
                f"VACUUM (FULL, ANALYZE) {relation['name']};"
                if is_table
                else f"REINDEX INDEX CONCURRENTLY {relation['name']};"
            ),
            {"total_bytes": int(relation["actual_bytes"]), "bloat_pct": round(share, 1)},
        )


@check("statistics")
def statistics(context: CheckContext) -> Findings:
    """Does the planner know nothing, or only old things, about a big table?

    Never analyzed counts from 32 MB on, because autovacuum reaches what is smaller within minutes; old is what changed
    by more than half and by 100,000 rows since the last ANALYZE.
    """
    never = [row for row in context.rows(_NEVER_ANALYZED) if row["total_bytes"] >= NEVER_ANALYZED_LEAST_BYTES]
    for table in never[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']} ({size(table['total_bytes'])}) was never analyzed",
            "The planner guesses how many rows match, and picks slow plans.",
            Fix(f"ANALYZE {table['name']};"),
            {"total_bytes": table["total_bytes"]},
        )
    for table in context.rows(_OLD_STATISTICS)[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']}: {table['n_mod_since_analyze']:,} rows changed since its last ANALYZE, of {table['n_live_tup']:,}",
            "The planner works with what the table was, and picks slow plans.",
            Fix(f"ANALYZE {table['name']};"),
            {"changed_rows": table["n_mod_since_analyze"], "live_rows": table["n_live_tup"]},
        )


def _last(moment: object, what: str) -> str:
    return f"last {what} {moment:%Y-%m-%d %H:%M} UTC" if moment else f"no {what} yet"
