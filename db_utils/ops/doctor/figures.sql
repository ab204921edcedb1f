-- name: units
-- Concurrent writers that both start a series do not see each other's unit, and rows from before version 8 were not checked.
SELECT
    f.organization_id,
    f.name,
    f.factor_type,
    f.location_id,
    count(*) AS row_count,
    array_agg(DISTINCT f.unit ORDER BY f.unit) AS units
FROM external_factors AS f
GROUP BY
    f.organization_id,
    f.name,
    f.factor_type,
    f.location_id
HAVING min(f.unit) <> max(f.unit)
ORDER BY
    row_count DESC,
    f.organization_id,
    f.name,
    f.factor_type,
    f.location_id
LIMIT 20

-- name: disagreeing
WITH period AS MATERIALIZED (
    SELECT
        p.starts_at,
        p.ends_at,
        raw_spans(ARRAY[%(rollup)s], p.starts_at, p.ends_at) AS waiting
    FROM (
        SELECT
            time_bucket(interval '1 hour', now() - %(since)s::interval) AS starts_at,
            time_bucket(interval '1 hour', now()) AS ends_at
    ) AS p
),
stored AS (
    SELECT
        r.organization_id,
        r.bucket,
        sum(r.{counter}) AS rows_of
    FROM period AS p
    CROSS JOIN {rollup} AS r
    WHERE r.bucket >= p.starts_at
        AND r.bucket < p.ends_at
        AND NOT p.waiting @> r.bucket
    GROUP BY
        r.organization_id,
        r.bucket
),
there AS (
    SELECT
        t.organization_id,
        time_bucket(interval '1 hour', t.time) AS bucket,
        count(*) AS rows_of
    FROM period AS p
    CROSS JOIN {source} AS t
    WHERE t.time >= p.starts_at
        AND t.time < p.ends_at
        AND NOT p.waiting @> t.time
        AND {condition}
    GROUP BY
        t.organization_id,
        time_bucket(interval '1 hour', t.time)
)
SELECT
    count(*) AS hours,
    count(DISTINCT organization_id) AS organizations,
    min(bucket) AS first_at,
    max(bucket) + interval '1 hour' AS last_at
FROM stored
FULL JOIN there USING (organization_id, bucket)
WHERE coalesce(stored.rows_of, 0) <> coalesce(there.rows_of, 0)

-- name: overlapping
SELECT
    s.organization_id,
    count(*) AS overlapping,
    count(DISTINCT s.resource_id) AS resources,
    min(s.time) AS first_at
FROM (
    SELECT
        m.organization_id,
        m.resource_id,
        m.time,
        m.sample_minutes,
        lead(m.time) OVER (PARTITION BY m.organization_id, m.resource_id ORDER BY m.time) AS next_at
    FROM resource_metrics AS m
    WHERE m.time >= now() - interval '1 day'
        AND m.time < now()
) AS s
-- Allow for clock skew.
WHERE s.next_at < s.time + interval '1 minute' * s.sample_minutes::double precision - interval '1 second'
GROUP BY s.organization_id
ORDER BY overlapping DESC, s.organization_id
LIMIT 20

-- name: twins
SELECT
    min(o.name) AS name,
    count(*) AS count,
    (array_agg(o.organization_id::text ORDER BY o.created_at, o.organization_id))[:3] AS ids
FROM organizations AS o
GROUP BY normalize(trim(o.name), NFC)
HAVING count(*) > 1
ORDER BY
    count(*) DESC,
    name
LIMIT 20
