-- Operational events: what happened, how much was produced, why machines were down.

-- name: record_events!
-- Record events and return how many are new or changed.
-- Parameters: organization_id uuid, events jsonb, given text[], replace boolean
-- All rows supply the same columns, those in given; for existing rows the other columns are kept.
INSERT INTO operational_events AS e (
    organization_id,
    time,
    event_id,
    location_id,
    resource_id,
    employee_id,
    event_type,
    cause,
    product_id,
    quantity,
    scrap_quantity,
    quality_score,
    duration_minutes,
    metadata
)
SELECT
    %(organization_id)s,
    g.time,
    g.event_id,
    coalesce(g.location_id, r.location_id),
    g.resource_id,
    g.employee_id,
    g.event_type,
    g.cause,
    g.product_id,
    g.quantity,
    g.scrap_quantity,
    g.quality_score,
    g.duration_minutes,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(events)s::jsonb) AS g (
    time timestamptz,
    event_id uuid,
    location_id uuid,
    resource_id uuid,
    employee_id uuid,
    event_type text,
    cause text,
    product_id text,
    quantity numeric,
    scrap_quantity numeric,
    quality_score numeric,
    duration_minutes numeric,
    metadata jsonb
)
-- No location given: where the machine was at the time.
LEFT JOIN resource_history AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = g.resource_id
    AND r.valid_from <= g.time
    AND r.valid_to > g.time
ON CONFLICT (organization_id, event_id, time) DO UPDATE
SET
    event_type = excluded.event_type,
    -- Moved to another machine, and no location given: that machine's location.
    location_id = CASE
        WHEN 'location_id' = ANY (%(given)s) THEN excluded.location_id
        WHEN 'resource_id' = ANY (%(given)s) AND e.resource_id IS DISTINCT FROM excluded.resource_id
            THEN excluded.location_id
        ELSE e.location_id
    END,
    resource_id = CASE WHEN 'resource_id' = ANY (%(given)s) THEN excluded.resource_id ELSE e.resource_id END,
    employee_id = CASE WHEN 'employee_id' = ANY (%(given)s) THEN excluded.employee_id ELSE e.employee_id END,
    cause = CASE WHEN 'cause' = ANY (%(given)s) THEN excluded.cause ELSE e.cause END,
    product_id = CASE WHEN 'product_id' = ANY (%(given)s) THEN excluded.product_id ELSE e.product_id END,
    quantity = CASE WHEN 'quantity' = ANY (%(given)s) THEN excluded.quantity ELSE e.quantity END,
    scrap_quantity = CASE
        WHEN 'scrap_quantity' = ANY (%(given)s) THEN excluded.scrap_quantity
        ELSE e.scrap_quantity
    END,
    quality_score = CASE WHEN 'quality_score' = ANY (%(given)s) THEN excluded.quality_score ELSE e.quality_score END,
    duration_minutes = CASE
        WHEN 'duration_minutes' = ANY (%(given)s) THEN excluded.duration_minutes
        ELSE e.duration_minutes
    END,
    metadata = CASE WHEN 'metadata' = ANY (%(given)s) THEN excluded.metadata ELSE e.metadata END
WHERE %(replace)s
    AND (
        e.event_type IS DISTINCT FROM excluded.event_type
        OR ('location_id' = ANY (%(given)s) AND e.location_id IS DISTINCT FROM excluded.location_id)
        OR ('resource_id' = ANY (%(given)s) AND e.resource_id IS DISTINCT FROM excluded.resource_id)
        OR ('employee_id' = ANY (%(given)s) AND e.employee_id IS DISTINCT FROM excluded.employee_id)
        OR ('cause' = ANY (%(given)s) AND e.cause IS DISTINCT FROM excluded.cause)
        OR ('product_id' = ANY (%(given)s) AND e.product_id IS DISTINCT FROM excluded.product_id)
        OR ('quantity' = ANY (%(given)s) AND e.quantity IS DISTINCT FROM excluded.quantity)
        OR ('scrap_quantity' = ANY (%(given)s) AND e.scrap_quantity IS DISTINCT FROM excluded.scrap_quantity)
        OR ('quality_score' = ANY (%(given)s) AND e.quality_score IS DISTINCT FROM excluded.quality_score)
        OR ('duration_minutes' = ANY (%(given)s) AND e.duration_minutes IS DISTINCT FROM excluded.duration_minutes)
        OR ('metadata' = ANY (%(given)s) AND e.metadata IS DISTINCT FROM excluded.metadata)
    );

-- name: get_events_at_other_times
-- Which of these events were recorded earlier with another time?
-- Parameters: organization_id uuid, event_ids uuid[], times timestamptz[]
SELECT
    e.time,
    e.event_id,
    e.location_id,
    e.resource_id,
    e.employee_id,
    e.event_type,
    e.cause,
    e.product_id,
    e.quantity,
    e.scrap_quantity,
    e.quality_score,
    e.duration_minutes,
    e.metadata
FROM operational_events AS e
JOIN unnest(%(event_ids)s::uuid[], %(times)s::timestamptz[]) AS g (event_id, time)
    ON g.event_id = e.event_id
    AND g.time <> e.time
WHERE e.organization_id = %(organization_id)s
    AND e.event_id = ANY (%(event_ids)s::uuid[])
ORDER BY
    e.event_id,
    e.time;

-- name: remove_event!
-- Remove an event that is about to be written with another time.
-- Parameters: organization_id uuid, event_id uuid, time timestamptz
DELETE FROM operational_events AS e
WHERE e.organization_id = %(organization_id)s
    AND e.event_id = %(event_id)s
    AND e.time = %(time)s;

-- name: get_events
-- What happened, newest first?
-- Parameters: organization_id uuid, resource_id uuid?, location_id uuid?, event_type text?, period_start timestamptz,
--     period_end timestamptz, row_limit integer
SELECT
    e.time,
    e.event_id,
    e.location_id,
    e.resource_id,
    e.employee_id,
    e.event_type,
    e.cause,
    e.product_id,
    e.quantity,
    e.scrap_quantity,
    e.quality_score,
    e.duration_minutes,
    e.metadata
FROM operational_events AS e
WHERE e.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR e.resource_id = %(resource_id)s)
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND (%(event_type)s::text IS NULL OR e.event_type = %(event_type)s)
    AND e.time >= %(period_start)s
    AND e.time < %(period_end)s
ORDER BY
    e.time DESC,
    e.event_id
LIMIT %(row_limit)s;

-- name: get_production_rate
-- How much was produced, by hour or by day (local buckets that begin in the period)?
-- Parameters: organization_id uuid, bucket text, resource_id uuid?, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
-- FROM organizations, so that on Citus everything is computed on the node of that row rather than subquery by subquery.
SELECT
    p.bucket_start AS bucket,
    p.bucket_end,
    p.location_id,
    p.resource_id,
    p.event_count,
    p.production_minutes,
    p.quantity,
    p.scrap_quantity,
    p.quantity_per_production_hour,
    p.quality_score_mean
FROM organizations AS o
CROSS JOIN LATERAL production_by_bucket(
    %(organization_id)s,
    %(bucket)s,
    %(period_start)s,
    %(period_end)s,
    %(location_id)s
) AS p
WHERE o.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR p.resource_id = %(resource_id)s)
ORDER BY
    p.bucket_start,
    p.location_id,
    p.resource_id;

-- name: get_downtime_by_cause
-- Why were resources down, and for how long?
-- Parameters: organization_id uuid, resource_id uuid?, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
-- From organizations: see get_production_rate.
SELECT
    t.event_type,
    t.cause,
    sum(t.event_count)::bigint AS event_count,
    sum(t.minutes) AS downtime_minutes,
    100 * sum(t.minutes) / nullif(sum(sum(t.minutes)) OVER (), 0) AS share_pct
FROM organizations AS o
CROSS JOIN LATERAL operation_totals(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    ARRAY['breakdown', 'idle', 'setup', 'maintenance']
) AS t
WHERE o.organization_id = %(organization_id)s
    AND t.resource_id IS NOT NULL
    AND (%(resource_id)s::uuid IS NULL OR t.resource_id = %(resource_id)s)
    AND (%(location_id)s::uuid IS NULL OR t.location_id = %(location_id)s)
GROUP BY
    t.event_type,
    t.cause
HAVING sum(t.event_count) > 0 OR sum(t.minutes) > 0
ORDER BY
    downtime_minutes DESC,
    t.event_type,
    t.cause;
