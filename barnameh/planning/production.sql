-- Inputs of a production plan, within one organization.

-- name: plans
-- Open plans due by the end of the window, including overdue ones.
SELECT
    p.plan_id,
    p.location_id,
    l.timezone,
    p.resource_id,
    p.product_id,
    p.plan_date,
    p.priority,
    p.planned_quantity - coalesce(p.actual_quantity, 0) AS quantity
FROM production_plans AS p
JOIN locations AS l
    ON l.organization_id = p.organization_id
    AND l.location_id = p.location_id
WHERE p.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR p.location_id = %(location_id)s)
    AND p.status IN ('planned', 'in_progress')
    AND p.planned_quantity > coalesce(p.actual_quantity, 0)
    AND p.plan_date >= local_date(%(window_start)s, l.timezone) - 14
    AND p.plan_date < local_date(%(window_end)s, l.timezone)
ORDER BY
    p.plan_date,
    p.priority,
    p.plan_id;

-- name: lock_plans
-- Prevent concurrent changes of these plans.
SELECT
    p.plan_id
FROM production_plans AS p
WHERE p.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR p.location_id = %(location_id)s)
    AND p.status IN ('planned', 'in_progress')
ORDER BY
    p.plan_id
FOR UPDATE;

-- name: resources
-- Resources in service.
SELECT
    r.resource_id,
    r.location_id,
    r.name,
    r.rated_capacity_per_hour
FROM resources AS r
WHERE r.organization_id = %(organization_id)s
    AND r.status <> 'retired'
ORDER BY
    r.resource_id;

-- name: capabilities
-- Products that each resource can make.
SELECT
    c.resource_id,
    c.product_id,
    c.rate_per_hour,
    c.setup_minutes
FROM resource_capabilities AS c
WHERE c.organization_id = %(organization_id)s
ORDER BY
    c.resource_id,
    c.product_id;

-- name: realized
-- Output per hour of production of each resource and product in 30 days.
SELECT
    e.resource_id,
    e.product_id,
    60 * sum(e.quantity - coalesce(e.scrap_quantity, 0)) / sum(e.duration_minutes) AS rate_per_hour
FROM operational_events AS e
WHERE e.organization_id = %(organization_id)s
    AND e.event_type = 'production'
    AND e.time >= %(window_start)s - interval '30 days'
    AND e.time < %(window_start)s
    AND e.product_id IS NOT NULL
    AND e.quantity IS NOT NULL
    AND e.duration_minutes > 0
GROUP BY
    e.resource_id,
    e.product_id
HAVING sum(e.duration_minutes) >= 60
    AND sum(e.quantity - coalesce(e.scrap_quantity, 0)) > 0
ORDER BY
    e.resource_id,
    e.product_id;

-- name: stops
-- Minutes of breakdown, maintenance and errors of each resource in 30 days, and the number of breakdowns.
SELECT
    e.resource_id,
    sum(e.duration_minutes) AS stopped_minutes,
    count(*) FILTER (WHERE e.event_type = 'breakdown') AS breakdowns,
    coalesce(avg(e.duration_minutes) FILTER (WHERE e.event_type = 'breakdown'), 120) AS mean_repair_minutes
FROM operational_events AS e
WHERE e.organization_id = %(organization_id)s
    AND e.event_type IN ('breakdown', 'maintenance', 'error')
    AND e.time >= %(window_start)s - interval '30 days'
    AND e.time < %(window_start)s
    AND e.resource_id IS NOT NULL
GROUP BY
    e.resource_id
ORDER BY
    e.resource_id;

-- name: failures
-- Failures predicted for the window.
SELECT
    a.resource_id,
    local_date(a.predicted_for, l.timezone) AS day,
    a.probability
FROM anomaly_predictions AS a
JOIN resources AS r
    ON r.organization_id = a.organization_id
    AND r.resource_id = a.resource_id
JOIN locations AS l
    ON l.organization_id = r.organization_id
    AND l.location_id = r.location_id
WHERE a.organization_id = %(organization_id)s
    AND a.anomaly_type = 'failure'
    AND a.status IN ('active', 'acknowledged')
    AND a.predicted_for >= %(window_start)s
    AND a.predicted_for < %(window_end)s
ORDER BY
    a.resource_id,
    day;

-- name: hours
-- Shift hours of a location by local day, with overlaps counted once; past hours are excluded.
WITH days AS (
    SELECT
        l.location_id,
        d.day::date AS day,
        greatest(local_day_start(d.day::date, l.timezone), %(window_start)s) AS day_start,
        local_day_start(d.day::date + 1, l.timezone) AS day_end
    FROM locations AS l
    CROSS JOIN LATERAL generate_series(
        local_date(%(window_start)s, l.timezone)::timestamp,
        local_date(%(window_end)s, l.timezone)::timestamp - interval '1 day',
        interval '1 day'
    ) AS d (day)
    WHERE l.organization_id = %(organization_id)s
),
merged AS (
    SELECT
        d.location_id,
        d.day,
        range_agg(tstzrange(greatest(s.starts_at, d.day_start), least(s.ends_at, d.day_end))) AS busy
    FROM days AS d
    JOIN shifts AS s
        ON s.organization_id = %(organization_id)s
        AND s.location_id = d.location_id
        AND s.starts_at < d.day_end
        AND s.ends_at > d.day_start
    GROUP BY
        d.location_id,
        d.day
)
SELECT
    m.location_id,
    m.day,
    sum(extract(epoch FROM upper(b.span) - lower(b.span))) / 3600 AS hours
FROM merged AS m
CROSS JOIN LATERAL unnest(m.busy) AS b (span)
GROUP BY
    m.location_id,
    m.day
ORDER BY
    m.location_id,
    m.day;

-- name: past_hours
-- Shift hours of each location in the previous 30 days, with overlaps counted once.
SELECT
    g.location_id,
    sum(extract(epoch FROM upper(b.span) - lower(b.span))) / 3600 AS hours
FROM (
    SELECT
        s.location_id,
        range_agg(tstzrange(s.starts_at, least(s.ends_at, %(window_start)s))) AS busy
    FROM shifts AS s
    WHERE s.organization_id = %(organization_id)s
        AND s.starts_at >= %(window_start)s - interval '30 days'
        AND s.starts_at < %(window_start)s
    GROUP BY
        s.location_id
) AS g
CROSS JOIN LATERAL unnest(g.busy) AS b (span)
GROUP BY
    g.location_id
ORDER BY
    g.location_id;

-- name: demand
-- Forecast demand by product and local day.
SELECT
    f.product_id,
    local_date(f.target_time, l.timezone) AS day,
    sum(f.predicted_quantity) AS quantity
FROM current_demand_forecasts AS f
JOIN locations AS l
    ON l.organization_id = f.organization_id
    AND l.location_id = f.location_id
WHERE f.organization_id = %(organization_id)s
    AND f.target_time >= %(window_start)s
    AND f.target_time < %(window_end)s
    AND f.product_id = ANY (%(products)s)
GROUP BY
    f.product_id,
    local_date(f.target_time, l.timezone)
ORDER BY
    f.product_id,
    day;
