-- Resource metrics: utilization, efficiency and downtime, sampled.

-- name: record_resource_metrics!
-- Which of these samples are new, or differ from what was recorded?
-- Parameters: organization_id uuid, metrics jsonb, given text[], replace boolean
-- All rows give the same columns, those in given; where a row is there, the others stay as they are.
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
    coalesce(g.downtime_minutes, 0),
    coalesce(g.sample_minutes, 1),
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
-- What did the samples of a period say?
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
-- What did the newest sample of each resource say?
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

-- name: get_resource_utilization_hour
-- How busy was each resource, hour by hour (UTC hours that begin in the period)?
-- Parameters: organization_id uuid, resource_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    h.bucket,
    h.resource_id,
    h.utilization_pct_minutes / nullif(h.utilization_minutes, 0) AS utilization_pct,
    h.utilization_pct_min,
    h.utilization_pct_max,
    h.efficiency_pct_minutes / nullif(h.efficiency_minutes, 0) AS efficiency_pct,
    h.downtime_minutes,
    h.sample_minutes,
    h.sample_count::bigint AS sample_count
FROM resource_metrics_hourly AS h
WHERE h.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR h.resource_id = %(resource_id)s)
    AND h.bucket >= %(period_start)s
    AND h.bucket < %(period_end)s
ORDER BY
    h.bucket,
    h.resource_id;

-- name: get_resource_utilization_day
-- How busy was each resource, day by day (UTC days that begin in the period)?
-- Parameters: organization_id uuid, resource_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    d.bucket,
    d.resource_id,
    d.utilization_pct_minutes / nullif(d.utilization_minutes, 0) AS utilization_pct,
    d.utilization_pct_min,
    d.utilization_pct_max,
    d.efficiency_pct_minutes / nullif(d.efficiency_minutes, 0) AS efficiency_pct,
    d.downtime_minutes,
    d.sample_minutes,
    d.sample_count::bigint AS sample_count
FROM resource_metrics_daily AS d
WHERE d.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR d.resource_id = %(resource_id)s)
    AND d.bucket >= %(period_start)s
    AND d.bucket < %(period_end)s
ORDER BY
    d.bucket,
    d.resource_id;

-- name: get_resource_utilization_summary
-- How busy was each resource, busiest first (UTC hours that begin in the period)?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
WITH summed AS (
    SELECT
        h.resource_id,
        sum(h.utilization_pct_minutes) / nullif(sum(h.utilization_minutes), 0) AS utilization_pct,
        min(h.utilization_pct_min) AS utilization_pct_min,
        max(h.utilization_pct_max) AS utilization_pct_max,
        sum(h.efficiency_pct_minutes) / nullif(sum(h.efficiency_minutes), 0) AS efficiency_pct,
        sum(h.downtime_minutes) AS downtime_minutes,
        sum(h.sample_minutes) AS sample_minutes,
        sum(h.sample_count)::bigint AS sample_count
    FROM resource_metrics_hourly AS h
    WHERE h.organization_id = %(organization_id)s
        AND h.bucket >= %(period_start)s
        AND h.bucket < %(period_end)s
    GROUP BY
        h.resource_id
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
    coalesce(s.sample_count, 0) AS sample_count
FROM resources AS r
LEFT JOIN summed AS s ON s.resource_id = r.resource_id
WHERE r.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s)
    AND (r.status <> 'retired' OR s.resource_id IS NOT NULL)
ORDER BY
    s.utilization_pct DESC NULLS LAST,
    r.name,
    r.resource_id;
