-- name: dead_rows
SELECT
    format('%I.%I', schemaname, relname) AS name,
    n_live_tup,
    n_dead_tup,
    100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0) AS dead_pct,
    last_autovacuum
FROM pg_stat_user_tables
WHERE n_dead_tup >= 10000
ORDER BY n_dead_tup DESC

-- name: autovacuum_off
-- TimescaleDB disables autovacuum on compressed chunks itself: only user tables count.
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

-- name: bloat
-- Expected pages, from the mean width of each analyzed column: 24 bytes of header and 4 of line pointer per row, padding of
-- 4 bytes on average. Tables that were never analyzed are not judged.
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

-- name: never_analyzed
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    pg_relation_size(c.oid) AS total_bytes
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
    AND c.reltuples = -1
    AND n.nspname !~ '^(pg_|information_schema$)'
ORDER BY 2 DESC

-- name: old_statistics
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
