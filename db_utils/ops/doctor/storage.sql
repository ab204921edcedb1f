-- name: growth_by_chunk
-- Bytes per day of each time-series table: chunks that ended within the last 90 days, over the days they cover. Where
-- retention removes data as old as the oldest chunk, new rows replace old ones.
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

-- name: growth_by_histogram
-- Without chunks: the size of the table over the time span of its rows, estimated from the planner's histogram.
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

-- name: backups
SELECT
    count(*) AS run_count,
    extract(epoch FROM now() - max(verified_at)) AS verified_seconds,
    extract(epoch FROM now() - max(finished_at)) AS finished_seconds
FROM backup_runs

-- name: organizations
-- Two organizations of the sample data, and those added by `seed --organizations`.
WITH samples AS (
    SELECT unnest(ARRAY[
        '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222'
    ]::uuid[]) AS organization_id
    UNION ALL
    SELECT md5('organization/' || n)::uuid
    FROM generate_series(3, 1000) AS n
)
SELECT
    array_agg(o.organization_id::text ORDER BY o.organization_id) FILTER (WHERE s.organization_id IS NOT NULL) AS samples,
    count(*) FILTER (WHERE s.organization_id IS NULL) AS other_count,
    extract(epoch FROM now() - min(o.created_at) FILTER (WHERE s.organization_id IS NULL)) AS other_seconds
FROM organizations AS o
LEFT JOIN samples AS s ON s.organization_id = o.organization_id

-- name: seeded
SELECT EXISTS (SELECT FROM seed_runs) AS was_seeded

-- name: delete_order
-- Referencing tables first.
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
