-- name: overlapping
-- Overlapping minutes of the machine's events: recorded minutes less those of their union.
SELECT
    t.organization_id,
    t.resource_id,
    r.name,
    count(*) AS events,
    round(sum(extract(epoch FROM least(t.ended_at, t.earlier_end) - t.time)) / 60, 1) AS minutes,
    min(t.time) AS first_at,
    (array_agg(t.event_id::text ORDER BY t.time, t.event_id))[1:3] AS examples
FROM (
    SELECT
        s.organization_id,
        s.resource_id,
        s.event_id,
        s.time,
        s.ended_at,
        max(s.ended_at) OVER (
            PARTITION BY s.organization_id, s.resource_id
            ORDER BY s.time, s.event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS earlier_end
    FROM (
        SELECT
            e.organization_id,
            e.resource_id,
            e.event_id,
            e.time,
            e.time + make_interval(secs => (e.duration_minutes * 60)::double precision) AS ended_at
        FROM public.operational_events AS e
        WHERE e.time >= now() - interval '7 days'
            AND e.time < now()
            AND e.resource_id IS NOT NULL
            AND e.duration_minutes > 0
            AND e.event_type IN ('maintenance', 'breakdown', 'setup', 'idle', 'production')
    ) AS s
) AS t
JOIN public.resources AS r
    ON r.organization_id = t.organization_id
    AND r.resource_id = t.resource_id
-- Allow for clock skew.
WHERE t.time < t.earlier_end - interval '1 second'
GROUP BY
    t.organization_id,
    t.resource_id,
    r.name
ORDER BY
    minutes DESC,
    t.organization_id,
    t.resource_id
LIMIT 20

-- name: scrap
SELECT
    e.organization_id,
    e.resource_id,
    r.name,
    count(*) AS events,
    min(e.time) AS first_at,
    (array_agg(e.event_id::text ORDER BY e.time, e.event_id))[1:3] AS examples
FROM public.operational_events AS e
LEFT JOIN public.resources AS r
    ON r.organization_id = e.organization_id
    AND r.resource_id = e.resource_id
WHERE e.time >= now() - interval '7 days'
    AND e.time < now()
    AND e.scrap_quantity > coalesce(e.quantity, 0)
GROUP BY
    e.organization_id,
    e.resource_id,
    r.name
ORDER BY
    events DESC,
    e.organization_id,
    e.resource_id
LIMIT 20

-- name: out_of_service
SELECT
    e.organization_id,
    e.resource_id,
    r.name,
    count(*) AS events,
    min(e.time) AS first_at,
    (array_agg(e.event_id::text ORDER BY e.time, e.event_id))[1:3] AS examples
FROM public.operational_events AS e
JOIN public.resources AS r
    ON r.organization_id = e.organization_id
    AND r.resource_id = e.resource_id
LEFT JOIN public.resource_history AS h
    ON h.organization_id = e.organization_id
    AND h.resource_id = e.resource_id
    AND h.valid_from <= e.time
    AND h.valid_to > e.time
WHERE e.time >= now() - interval '7 days'
    AND e.time < now()
    AND e.event_type = 'production'
    -- No version covers that time: only manually written rows.
    AND h.is_in_service IS NOT TRUE
GROUP BY
    e.organization_id,
    e.resource_id,
    r.name
ORDER BY
    events DESC,
    e.organization_id,
    e.resource_id
LIMIT 20

-- name: failed
SELECT
    s.organization_id,
    s.failed_at,
    s.failure
FROM public.resource_time_states AS s
WHERE s.failed_at IS NOT NULL
ORDER BY
    s.failed_at DESC,
    s.organization_id
LIMIT 20
