-- Queries of the forecasting service beyond the prebuilt ones, within one organization.

-- name: open_alerts
-- Open alerts of a kind, by subject.
SELECT
    a.alert_id,
    a.metadata ->> 'subject' AS subject,
    coalesce(a.metadata ->> 'called', a.metadata ->> 'subject') AS called
FROM alerts AS a
WHERE a.organization_id = %(organization_id)s
    AND a.alert_type = %(alert_type)s
    AND a.status <> 'resolved'
    AND a.metadata ? 'subject'
ORDER BY
    a.created_at,
    a.alert_id;

-- name: newest_run
-- Date of the newest run of these versions in a period.
SELECT max(f.available_at) AS available_at
FROM demand_forecasts AS f
WHERE f.organization_id = %(organization_id)s
    AND f.model_version = ANY (%(versions)s)
    AND f.available_at > %(after)s
    AND f.available_at <= %(until)s;

-- name: newest_demand
-- Start of each location's newest bucket with demand recorded by then.
SELECT
    l.location_id,
    l.location_code,
    l.name,
    (
        SELECT max(d.time)
        FROM demand_history AS d
        WHERE d.organization_id = %(organization_id)s
            AND d.location_id = l.location_id
            AND d.time > %(as_of)s::timestamptz - interval '400 days'
            AND d.time <= %(as_of)s
            AND (d.recorded_at IS NULL OR d.recorded_at <= %(as_of)s)
    ) AS newest
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
ORDER BY
    l.location_id;

-- name: machines
-- The organization's resources.
SELECT
    r.resource_id,
    r.name
FROM resources AS r
WHERE r.organization_id = %(organization_id)s
ORDER BY
    r.resource_id;

-- name: five_minute_metrics
-- A resource's readings as means of steps, counted from the start of the window, without samples in which it was idle.
-- Numbers in the metadata are readings.
WITH readings AS (
    SELECT
        x.name,
        floor(
            extract(epoch FROM m.time - (%(as_of)s::timestamptz - %(window)s::interval))
            / extract(epoch FROM %(step)s::interval)
        )::integer AS bucket,
        avg(x.value) AS level
    FROM resource_metrics AS m
    CROSS JOIN LATERAL (
        SELECT
            'utilization_pct' AS name,
            m.utilization_pct::double precision AS value
        UNION ALL
        SELECT
            'efficiency_pct',
            m.efficiency_pct::double precision
        UNION ALL
        SELECT
            e.key,
            CASE
                -- Numbers that a double cannot hold are no readings.
                WHEN jsonb_typeof(e.value) = 'number' AND abs(e.value::numeric) < 1e100
                    THEN round(e.value::numeric, 12)::double precision
            END
        FROM jsonb_each(m.metadata) AS e
    ) AS x
    WHERE m.organization_id = %(organization_id)s
        AND m.resource_id = %(resource_id)s
        AND m.time >= %(as_of)s::timestamptz - %(window)s::interval
        AND m.time < %(as_of)s
        AND x.value IS NOT NULL
        AND coalesce(m.utilization_pct > 1, true)
    GROUP BY
        1,
        2
)
SELECT
    r.name,
    array_agg(r.bucket ORDER BY r.bucket) AS buckets,
    array_agg(r.level ORDER BY r.bucket) AS levels
FROM readings AS r
GROUP BY
    r.name
ORDER BY
    r.name;

-- name: open_predictions
-- Open predictions of these models, and what happened to the resource since.
SELECT
    p.anomaly_id,
    p.resource_id,
    p.anomaly_type,
    p.predicted_for,
    p.available_at,
    (
        SELECT min(e.time)
        FROM operational_events AS e
        WHERE e.organization_id = %(organization_id)s
            AND e.resource_id = p.resource_id
            AND e.event_type = 'breakdown'
            AND e.time > p.available_at
            AND e.time <= p.predicted_for + interval '1 day'
            AND e.time < %(as_of)s
    ) AS failed_at
FROM anomaly_predictions AS p
WHERE p.organization_id = %(organization_id)s
    AND p.status <> 'closed'
    AND p.model_name = %(model_name)s
    AND p.available_at < %(as_of)s
ORDER BY
    p.available_at,
    p.anomaly_id;

-- name: newest_predictions
-- The newest predictions of each resource and kind in the previous days.
SELECT
    p.resource_id,
    p.anomaly_type,
    max(p.available_at) AS available_at,
    max(p.predicted_for) AS predicted_for
FROM anomaly_predictions AS p
WHERE p.organization_id = %(organization_id)s
    AND p.model_name = %(model_name)s
    AND p.available_at > %(as_of)s::timestamptz - interval '3 days'
    AND p.available_at < %(as_of)s
GROUP BY
    p.resource_id,
    p.anomaly_type;

-- name: attended_days
-- Absent employees by local day of the location, among those scheduled; days that had ended at a given time.
SELECT
    e.employee_id,
    e.location_id,
    local_date(a.time, l.timezone) AS day,
    bool_or(a.status IN ('absent', 'sick')) AS is_away
FROM employee_attendance AS a
JOIN employees AS e
    ON e.organization_id = a.organization_id
    AND e.employee_id = a.employee_id
JOIN locations AS l
    ON l.organization_id = e.organization_id
    AND l.location_id = e.location_id
WHERE a.organization_id = %(organization_id)s
    AND a.status <> 'vacation'
    AND a.time >= %(as_of)s::timestamptz - %(history)s::interval
    AND a.time < %(as_of)s
    AND local_date(a.time, l.timezone) < local_date(%(as_of)s, l.timezone)
GROUP BY
    e.employee_id,
    e.location_id,
    local_date(a.time, l.timezone)
ORDER BY
    e.employee_id,
    local_date(a.time, l.timezone);

-- name: people_due
-- Employees by location, and the coming local days on which each is assigned to a shift.
SELECT
    e.employee_id,
    e.location_id,
    local_date(%(as_of)s, l.timezone) AS today,
    ARRAY(
        SELECT DISTINCT local_date(s.starts_at, l.timezone)
        FROM shift_assignments AS s
        WHERE s.organization_id = %(organization_id)s
            AND s.employee_id = e.employee_id
            AND s.status <> 'cancelled'
            AND s.starts_at >= %(as_of)s
            AND s.starts_at < %(as_of)s::timestamptz + %(ahead)s::interval
    ) AS due_days
FROM employees AS e
JOIN locations AS l
    ON l.organization_id = e.organization_id
    AND l.location_id = e.location_id
WHERE e.organization_id = %(organization_id)s
    AND e.is_active
ORDER BY
    e.employee_id;
