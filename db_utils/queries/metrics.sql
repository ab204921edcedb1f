-- Resource metrics: samples of utilization, efficiency and downtime.

-- name: record_resource_metrics!
-- Record samples of resources and return how many are new or changed.
-- Parameters: organization_id uuid, metrics jsonb, given text[], replace boolean
-- All rows supply the same columns, those in given; for existing rows the other columns are kept.
INSERT INTO resource_metrics AS m (
    organization_id,
    time,
    resource_id,
    utilization_pct,
    efficiency_pct,
    downtime_minutes,
    sample_minutes,
    metadata
)
SELECT
    %(organization_id)s,
    g.time,
    g.resource_id,
    g.utilization_pct,
    g.efficiency_pct,
    g.downtime_minutes,
    g.sample_minutes,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(metrics)s::jsonb) AS g (
    time timestamptz,
    resource_id uuid,
    utilization_pct numeric,
    efficiency_pct numeric,
    downtime_minutes numeric,
    sample_minutes numeric,
    metadata jsonb
)
ON CONFLICT (organization_id, resource_id, time) DO UPDATE
SET
    utilization_pct = CASE
        WHEN 'utilization_pct' = ANY (%(given)s) THEN excluded.utilization_pct
        ELSE m.utilization_pct
    END,
    efficiency_pct = CASE
        WHEN 'efficiency_pct' = ANY (%(given)s) THEN excluded.efficiency_pct
        ELSE m.efficiency_pct
    END,
    downtime_minutes = CASE
        WHEN 'downtime_minutes' = ANY (%(given)s) THEN excluded.downtime_minutes
        ELSE m.downtime_minutes
    END,
    sample_minutes = CASE
        WHEN 'sample_minutes' = ANY (%(given)s) THEN excluded.sample_minutes
        ELSE m.sample_minutes
    END,
    metadata = CASE WHEN 'metadata' = ANY (%(given)s) THEN excluded.metadata ELSE m.metadata END
WHERE %(replace)s
    AND (
        ('utilization_pct' = ANY (%(given)s) AND m.utilization_pct IS DISTINCT FROM excluded.utilization_pct)
        OR ('efficiency_pct' = ANY (%(given)s) AND m.efficiency_pct IS DISTINCT FROM excluded.efficiency_pct)
        OR ('downtime_minutes' = ANY (%(given)s) AND m.downtime_minutes IS DISTINCT FROM excluded.downtime_minutes)
        OR ('sample_minutes' = ANY (%(given)s) AND m.sample_minutes IS DISTINCT FROM excluded.sample_minutes)
        OR ('metadata' = ANY (%(given)s) AND m.metadata IS DISTINCT FROM excluded.metadata)
    );

-- name: get_resource_metrics
-- Which resource metrics were sampled in a period?
-- Parameters: organization_id uuid, resource_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    m.time,
    m.resource_id,
    m.utilization_pct,
    m.efficiency_pct,
    m.downtime_minutes,
    m.sample_minutes,
    m.metadata
FROM resource_metrics AS m
WHERE m.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR m.resource_id = %(resource_id)s)
    AND m.time >= %(period_start)s
    AND m.time < %(period_end)s
ORDER BY
    m.time,
    m.resource_id;

-- name: get_latest_resource_metrics
-- What is the newest sample of each resource?
-- Parameters: organization_id uuid, location_id uuid?, resource_id uuid?
SELECT
    s.resource_id,
    s.location_id,
    s.name,
    s.last_metric_at AS time,
    s.utilization_pct,
    s.efficiency_pct,
    s.downtime_minutes,
    s.sample_minutes,
    s.metric_metadata AS metadata
FROM latest_resource_status(%(organization_id)s) AS s
WHERE s.last_metric_at IS NOT NULL
    AND (%(location_id)s::uuid IS NULL OR s.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR s.resource_id = %(resource_id)s)
ORDER BY
    s.name,
    s.resource_id;

-- name: get_resource_utilization
-- How busy was each resource, by hour or by day (local buckets that begin in the period)?
-- Parameters: organization_id uuid, resource_id uuid?, bucket_unit text, period_start timestamptz, period_end timestamptz
-- bucket_unit: hour or day, in local time of the resource's location at that time.
WITH stays AS MATERIALIZED (
    SELECT
        r.resource_id,
        l.timezone,
        greatest(r.valid_from, l.valid_from) AS starts_at,
        least(r.valid_to, l.valid_to) AS ends_at
    FROM resource_history AS r
    JOIN location_history AS l
        ON l.organization_id = %(organization_id)s
        AND l.location_id = r.location_id
        AND l.valid_from < r.valid_to
        AND l.valid_to > r.valid_from
    WHERE r.organization_id = %(organization_id)s
        AND (%(resource_id)s::uuid IS NULL OR r.resource_id = %(resource_id)s)
        AND r.valid_from < %(period_end)s
        AND l.valid_from < %(period_end)s
),
buckets AS MATERIALIZED (
    SELECT
        z.timezone,
        b.bucket_start,
        b.bucket_end
    FROM (SELECT DISTINCT s.timezone FROM stays AS s) AS z
    CROSS JOIN local_bucket_edges(
        %(bucket_unit)s,
        -- Looking for the first sample takes longer than some months of buckets.
        CASE
            WHEN %(period_start)s > now() - CASE %(bucket_unit)s WHEN 'hour' THEN 15 ELSE 100 END * interval '1 day'
                THEN %(period_start)s
            ELSE greatest(%(period_start)s, first_sample_at(%(organization_id)s) - interval '1 day')
        END,
        least(%(period_end)s, now()),
        z.timezone
    ) AS b
    WHERE b.bucket_start >= %(period_start)s
),
-- The buckets of each zone as arrays, so that a piece is looked up rather than compared with each bucket.
calendars AS MATERIALIZED (
    SELECT
        b.timezone,
        array_agg(b.bucket_start ORDER BY b.bucket_start) AS starts,
        array_agg(b.bucket_end ORDER BY b.bucket_start) AS ends
    FROM buckets AS b
    GROUP BY
        b.timezone
),
cuts AS MATERIALIZED (
    SELECT array_agg(c.edge ORDER BY c.edge) AS edges
    FROM (
        SELECT b.bucket_start FROM buckets AS b
        UNION
        SELECT b.bucket_end FROM buckets AS b
        UNION
        SELECT s.starts_at
        FROM stays AS s
        WHERE s.starts_at > (SELECT min(b.bucket_start) FROM buckets AS b)
            AND s.starts_at < (SELECT max(b.bucket_end) FROM buckets AS b)
    ) AS c (edge)
),
pieces AS (
    SELECT
        c.edges[p.piece] AS starts_at,
        p.resource_id,
        p.sample_count,
        p.sample_minutes,
        p.utilization_pct_minutes,
        p.utilization_minutes,
        p.utilization_pct_min,
        p.utilization_pct_max,
        p.efficiency_pct_minutes,
        p.efficiency_minutes,
        p.downtime_minutes,
        p.downtime_known_minutes
    FROM cuts AS c
    CROSS JOIN resource_samples(%(organization_id)s, c.edges, %(resource_id)s) AS p
),
placed AS (
    SELECT
        k.starts[width_bucket(p.starts_at, k.starts)] AS bucket,
        k.ends[width_bucket(p.starts_at, k.starts)] AS bucket_end,
        p.resource_id,
        p.starts_at,
        p.sample_count,
        p.sample_minutes,
        p.utilization_pct_minutes,
        p.utilization_minutes,
        p.utilization_pct_min,
        p.utilization_pct_max,
        p.efficiency_pct_minutes,
        p.efficiency_minutes,
        p.downtime_minutes,
        p.downtime_known_minutes
    FROM pieces AS p
    JOIN stays AS s
        ON s.resource_id = p.resource_id
        AND s.starts_at <= p.starts_at
        AND s.ends_at > p.starts_at
    JOIN calendars AS k ON k.timezone = s.timezone
)
SELECT
    p.bucket,
    p.bucket_end,
    p.resource_id,
    sum(p.utilization_pct_minutes) / nullif(sum(p.utilization_minutes), 0) AS utilization_pct,
    min(p.utilization_pct_min) AS utilization_pct_min,
    max(p.utilization_pct_max) AS utilization_pct_max,
    sum(p.efficiency_pct_minutes) / nullif(sum(p.efficiency_minutes), 0) AS efficiency_pct,
    sum(p.downtime_minutes) AS downtime_minutes,
    sum(p.sample_minutes) AS sample_minutes,
    coalesce(sum(p.utilization_minutes), 0) AS utilization_minutes,
    coalesce(sum(p.efficiency_minutes), 0) AS efficiency_minutes,
    coalesce(sum(p.downtime_known_minutes), 0) AS downtime_known_minutes,
    sum(p.sample_count)::bigint AS sample_count
FROM placed AS p
-- Pieces before a zone's first bucket or after its last belong to another zone only.
WHERE p.bucket_end > p.starts_at
GROUP BY
    p.bucket,
    p.bucket_end,
    p.resource_id
ORDER BY
    p.bucket,
    p.bucket_end,
    p.resource_id;

-- name: get_resource_utilization_summary
-- How busy was each resource, busiest first?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
-- With a location: only while the resource was there.
WITH cuts AS MATERIALIZED (
    SELECT array_agg(c.edge ORDER BY c.edge) AS edges
    FROM (
        SELECT %(period_start)s
        UNION
        SELECT least(%(period_end)s, now())
        UNION
        SELECT h.valid_from
        FROM resource_history AS h
        WHERE h.organization_id = %(organization_id)s
            AND %(location_id)s::uuid IS NOT NULL
            AND h.valid_from > %(period_start)s
            AND h.valid_from < least(%(period_end)s, now())
    ) AS c (edge)
),
summed AS (
    SELECT
        p.resource_id,
        sum(p.utilization_pct_minutes) / nullif(sum(p.utilization_minutes), 0) AS utilization_pct,
        min(p.utilization_pct_min) AS utilization_pct_min,
        max(p.utilization_pct_max) AS utilization_pct_max,
        sum(p.efficiency_pct_minutes) / nullif(sum(p.efficiency_minutes), 0) AS efficiency_pct,
        sum(p.downtime_minutes) AS downtime_minutes,
        sum(p.sample_minutes) AS sample_minutes,
        sum(p.utilization_minutes) AS utilization_minutes,
        sum(p.efficiency_minutes) AS efficiency_minutes,
        sum(p.downtime_known_minutes) AS downtime_known_minutes,
        sum(p.sample_count)::bigint AS sample_count
    FROM cuts AS c
    CROSS JOIN resource_samples(%(organization_id)s, c.edges) AS p
    WHERE %(location_id)s::uuid IS NULL
        OR EXISTS (
            SELECT
            FROM resource_history AS h
            WHERE h.organization_id = %(organization_id)s
                AND h.resource_id = p.resource_id
                AND h.location_id = %(location_id)s
                AND h.valid_from <= c.edges[p.piece]
                AND h.valid_to > c.edges[p.piece]
        )
    GROUP BY
        p.resource_id
)
SELECT
    r.resource_id,
    r.location_id,
    r.name,
    r.resource_type,
    s.utilization_pct,
    s.utilization_pct_min,
    s.utilization_pct_max,
    s.efficiency_pct,
    s.downtime_minutes,
    coalesce(s.sample_minutes, 0) AS sample_minutes,
    coalesce(s.utilization_minutes, 0) AS utilization_minutes,
    coalesce(s.efficiency_minutes, 0) AS efficiency_minutes,
    coalesce(s.downtime_known_minutes, 0) AS downtime_known_minutes,
    coalesce(s.sample_count, 0) AS sample_count
FROM resources AS r
LEFT JOIN summed AS s ON s.resource_id = r.resource_id
WHERE r.organization_id = %(organization_id)s
    AND (
        s.resource_id IS NOT NULL
        OR (r.status <> 'retired' AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s))
    )
ORDER BY
    s.utilization_pct DESC NULLS LAST,
    r.name,
    r.resource_id;
