-- name: measured
SELECT
    c.relname AS name,
    c.relkind AS kind,
    c.reltuples::bigint AS estimate,
    pg_total_relation_size(c.oid) AS total_bytes,
    pg_indexes_size(c.oid) AS index_bytes,
    has_table_privilege(c.oid, 'SELECT') AS is_readable
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace
    AND c.relkind = ANY (%s::"char"[])
    AND c.relname = ANY (%s)
ORDER BY array_position(%s, c.relname::text)

-- name: sizes
SELECT
    sum(s.total_bytes)::bigint AS total_bytes,
    sum(s.index_bytes)::bigint AS index_bytes,
    approximate_row_count(%(relation)s::regclass) AS estimate
FROM hypertable_detailed_size(%(relation)s::regclass) AS s

-- name: columnstore
SELECT
    sum(before_compression_total_bytes)::bigint AS before_bytes,
    sum(after_compression_total_bytes)::bigint AS after_bytes
FROM hypertable_columnstore_stats(%s::regclass)

-- name: distributed
SELECT
    c.relname AS name,
    citus_total_relation_size(p.logicalrelid) AS total_bytes,
    citus_total_relation_size(p.logicalrelid) - citus_table_size(p.logicalrelid) AS index_bytes,
    NULL::bigint AS estimate
FROM pg_dist_partition AS p
JOIN pg_class AS c ON c.oid = p.logicalrelid
WHERE c.relnamespace = 'public'::regnamespace
