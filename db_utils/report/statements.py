"""What the report asks of the rollups and tables beside the prebuilt queries: days and hours added up in the database."""

READ_AT = "SELECT now() AS read_at"

DATA_EXTENT = """
SELECT
    min(s.bucket) AS oldest,
    max(s.bucket) AS newest
FROM (
    SELECT min(e.bucket) AS bucket FROM operational_events_daily AS e WHERE e.organization_id = %(organization_id)s
    UNION ALL
    SELECT max(e.bucket) FROM operational_events_daily AS e WHERE e.organization_id = %(organization_id)s
    UNION ALL
    SELECT min(m.bucket) FROM resource_metrics_daily AS m WHERE m.organization_id = %(organization_id)s
    UNION ALL
    SELECT max(m.bucket) FROM resource_metrics_daily AS m WHERE m.organization_id = %(organization_id)s
    UNION ALL
    SELECT min(d.bucket) FROM demand_history_daily AS d WHERE d.organization_id = %(organization_id)s
    UNION ALL
    SELECT max(d.bucket) FROM demand_history_daily AS d WHERE d.organization_id = %(organization_id)s
    UNION ALL
    SELECT min(a.bucket) FROM employee_attendance_daily AS a WHERE a.organization_id = %(organization_id)s
    UNION ALL
    SELECT max(a.bucket) FROM employee_attendance_daily AS a WHERE a.organization_id = %(organization_id)s
) AS s
"""

# Mean over the minutes measured, by hour of the day of the resource's location.
UTILIZATION_BY_HOUR = """
SELECT
    r.resource_id,
    r.name AS resource_name,
    l.name AS location_name,
    extract(hour FROM m.bucket AT TIME ZONE l.timezone)::integer AS hour,
    sum(m.utilization_pct_minutes) / nullif(sum(m.utilization_minutes), 0) AS utilization_pct,
    sum(m.utilization_minutes) AS measured_minutes
FROM resource_metrics_hourly AS m
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = m.resource_id
JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = r.location_id
WHERE m.organization_id = %(organization_id)s
    AND m.bucket >= %(start)s
    AND m.bucket < %(end)s
GROUP BY
    r.resource_id,
    r.name,
    l.name,
    hour
ORDER BY
    l.name,
    r.name,
    r.resource_id,
    hour
"""

ATTENDANCE_BY_DAY = """
SELECT
    (a.bucket AT TIME ZONE o.timezone)::date AS day,
    sum(a.attended_count)::bigint AS attended_count,
    sum(a.scheduled_count)::bigint AS scheduled_count
FROM employee_attendance_hourly AS a
JOIN organizations AS o ON o.organization_id = a.organization_id
WHERE a.organization_id = %(organization_id)s
    AND o.organization_id = %(organization_id)s
    AND a.bucket >= %(start)s
    AND a.bucket < %(end)s
GROUP BY
    day
HAVING sum(a.scheduled_count) > 0
ORDER BY
    day
"""

ANOMALY_PREDICTIONS = """
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
"""

# Which local days of the organization have rows: one series a resource, product, or all employees together.
COVERAGE = """
SELECT
    s.kind,
    s.name,
    (s.bucket AT TIME ZONE o.timezone)::date AS day,
    sum(s.row_count)::bigint AS row_count
FROM (
    SELECT 'events' AS kind, r.name, e.bucket, e.event_count AS row_count
    FROM operational_events_hourly AS e
    JOIN resources AS r ON r.organization_id = %(organization_id)s AND r.resource_id = e.resource_id
    WHERE e.organization_id = %(organization_id)s AND e.bucket >= %(start)s AND e.bucket < %(end)s
    UNION ALL
    SELECT 'metrics', r.name, m.bucket, m.sample_count
    FROM resource_metrics_hourly AS m
    JOIN resources AS r ON r.organization_id = %(organization_id)s AND r.resource_id = m.resource_id
    WHERE m.organization_id = %(organization_id)s AND m.bucket >= %(start)s AND m.bucket < %(end)s
    UNION ALL
    SELECT 'demand', d.product_id, d.bucket, d.row_count
    FROM demand_history_hourly AS d
    WHERE d.organization_id = %(organization_id)s AND d.bucket >= %(start)s AND d.bucket < %(end)s
    UNION ALL
    SELECT 'attendance', 'all employees', a.bucket, a.scheduled_count
    FROM employee_attendance_hourly AS a
    WHERE a.organization_id = %(organization_id)s AND a.bucket >= %(start)s AND a.bucket < %(end)s
) AS s
CROSS JOIN organizations AS o
WHERE o.organization_id = %(organization_id)s
GROUP BY
    s.kind,
    s.name,
    day
ORDER BY
    array_position(ARRAY['events', 'metrics', 'demand', 'attendance'], s.kind),
    s.name,
    day
"""
