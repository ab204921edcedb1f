-- name: invalid
SELECT format('%I.%I', n.nspname, c.relname) AS name, i.indrelid::regclass::text AS table_name
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid
    AND c.relkind = 'i'
    AND n.nspname <> 'pg_toast'
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
ORDER BY 1

-- name: duplicate
-- Same table, columns, operator classes, collations, order, expressions and condition. The one without a constraint is
-- redundant; of two equal ones, the newer. Indexes of chunks follow those of their hypertable.
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

-- name: unused
-- Usage of a chunk's index counts for its hypertable's: the same columns and condition, on a child table.
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

-- name: foreign_keys
-- A foreign key is supported if an index begins with its first two columns (or its only one), in any order: organization_id
-- alone would still match all rows of an organization.
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

-- name: sequential
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

-- name: written_indexes
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

-- name: all_indexes
SELECT relid::regclass::text AS name, pg_indexes_size(relid) AS total_bytes
FROM pg_stat_user_tables
ORDER BY 2 DESC
