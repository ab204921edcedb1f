-- name: data_extent
-- First and last time of any row, from the ends of each table.
SELECT
    min(s.time) AS oldest,
    max(s.time) AS newest
FROM (
    (SELECT e.time FROM operational_events AS e WHERE e.organization_id = %(organization_id)s ORDER BY e.time LIMIT 1)
    UNION ALL
    (SELECT e.time FROM operational_events AS e WHERE e.organization_id = %(organization_id)s ORDER BY e.time DESC LIMIT 1)
    UNION ALL
    (SELECT m.time FROM resource_metrics AS m WHERE m.organization_id = %(organization_id)s ORDER BY m.time LIMIT 1)
    UNION ALL
    (SELECT m.time FROM resource_metrics AS m WHERE m.organization_id = %(organization_id)s ORDER BY m.time DESC LIMIT 1)
    UNION ALL
    (SELECT d.time FROM demand_history AS d WHERE d.organization_id = %(organization_id)s ORDER BY d.time LIMIT 1)
    UNION ALL
    (SELECT d.time FROM demand_history AS d WHERE d.organization_id = %(organization_id)s ORDER BY d.time DESC LIMIT 1)
    UNION ALL
    (SELECT a.time FROM employee_attendance AS a WHERE a.organization_id = %(organization_id)s ORDER BY a.time LIMIT 1)
    UNION ALL
    (SELECT a.time FROM employee_attendance AS a WHERE a.organization_id = %(organization_id)s ORDER BY a.time DESC LIMIT 1)
) AS s

-- name: stops
-- Minutes of stops by location, resource, state and cause.
SELECT
    l.name AS location_name,
    r.resource_id,
    r.name AS resource_name,
    r.resource_type,
    t.event_type,
    t.cause,
    sum(t.event_count)::bigint AS event_count,
    sum(t.minutes) AS minutes
FROM operation_totals(
    %(organization_id)s,
    %(start)s,
    %(end)s,
    ARRAY['breakdown', 'idle', 'setup', 'maintenance']
) AS t
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = t.resource_id
LEFT JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = t.location_id
GROUP BY
    l.name,
    r.resource_id,
    r.name,
    r.resource_type,
    t.event_type,
    t.cause
HAVING sum(t.minutes) > 0
ORDER BY
    minutes DESC,
    r.name,
    r.resource_id,
    t.event_type,
    t.cause

-- name: attendance_by_day
-- By local day of the location where the employee belonged.
SELECT
    local_date(a.time, z.timezone) AS day,
    count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
    count(*) AS scheduled_count
FROM counted_attendance(%(organization_id)s, %(start)s, %(end)s) AS a
JOIN location_history AS z
    ON z.organization_id = %(organization_id)s
    AND z.location_id = a.location_id
    AND z.valid_from <= a.time
    AND z.valid_to > a.time
GROUP BY
    day
ORDER BY
    day

-- name: anomaly_predictions
SELECT
    p.anomaly_id,
    r.name AS resource_name,
    p.anomaly_type,
    p.severity,
    p.status,
    p.outcome,
    p.probability,
    p.available_at,
    p.predicted_for,
    p.occurred_at
FROM anomaly_predictions AS p
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = p.resource_id
WHERE p.organization_id = %(organization_id)s
    AND p.predicted_for >= %(start)s
    AND p.available_at < %(end)s
ORDER BY
    p.predicted_for,
    p.anomaly_id

-- name: coverage
-- Local days with rows: one series per resource or product, or for all employees together.
WITH days AS MATERIALIZED (
    SELECT
        array_agg(d.edge ORDER BY d.edge) AS edges,
        array_agg(local_date(d.edge, o.timezone) ORDER BY d.edge) AS dates
    FROM organizations AS o
    CROSS JOIN LATERAL (
        SELECT %(start)s AS edge
        UNION
        SELECT b.bucket_start
        FROM local_bucket_edges('day', %(start)s, %(end)s, o.timezone) AS b
        WHERE b.bucket_start > %(start)s
        UNION
        SELECT %(end)s
    ) AS d
    WHERE o.organization_id = %(organization_id)s
),
counted AS (
    SELECT
        'events' AS kind,
        r.name,
        r.resource_id::text AS series,
        n.piece,
        n.row_count
    FROM (
        SELECT
            e.resource_id,
            width_bucket(e.time, d.edges) AS piece,
            count(*) AS row_count
        FROM days AS d
        CROSS JOIN operational_events AS e
        WHERE e.organization_id = %(organization_id)s
            AND e.time >= %(start)s
            AND e.time < %(end)s
        GROUP BY
            1,
            2
    ) AS n
    JOIN resources AS r ON r.organization_id = %(organization_id)s AND r.resource_id = n.resource_id
    UNION ALL
    SELECT
        'metrics',
        r.name,
        r.resource_id::text,
        m.piece,
        m.sample_count
    FROM days AS d
    CROSS JOIN resource_samples(%(organization_id)s, d.edges) AS m
    JOIN resources AS r ON r.organization_id = %(organization_id)s AND r.resource_id = m.resource_id
    WHERE m.sample_count > 0
    UNION ALL
    SELECT
        'demand',
        t.product_id,
        t.product_id,
        t.piece,
        t.row_count
    FROM days AS d
    CROSS JOIN demand_totals(%(organization_id)s, d.edges) AS t
    UNION ALL
    SELECT
        'attendance',
        'all employees',
        '',
        width_bucket(a.time, d.edges),
        count(*) FILTER (WHERE a.status <> 'vacation')
    FROM days AS d
    CROSS JOIN employee_attendance AS a
    WHERE a.organization_id = %(organization_id)s
        AND a.time >= %(start)s
        AND a.time < %(end)s
    GROUP BY
        4
),
series AS (
    SELECT
        c.kind,
        c.name,
        c.series,
        sum(c.row_count)::bigint AS row_count,
        array_agg(c.piece) AS pieces
    FROM counted AS c
    GROUP BY
        1,
        2,
        3
)
SELECT
    s.kind,
    s.name,
    s.series,
    s.row_count,
    ARRAY(SELECT DISTINCT d.dates[p.piece] FROM unnest(s.pieces) AS p (piece)) AS days
FROM series AS s
CROSS JOIN days AS d
ORDER BY
    array_position(ARRAY['events', 'metrics', 'demand', 'attendance'], s.kind),
    s.name,
    s.series
