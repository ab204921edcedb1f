-- Views for common analytics. Query them with organization_id in the WHERE clause.

CREATE OR REPLACE VIEW employee_attendance_rate AS
WITH stretches AS (
    SELECT
        a.organization_id,
        a.employee_id,
        a.time,
        a.status,
        a.hours_worked,
        a.performance_score,
        -- If a shift has two rows (written by plain SQL; record_attendance() moves the row), the later one counts.
        a.shift_id IS NOT NULL
            AND lead(a.time) OVER (PARTITION BY a.organization_id, a.employee_id, a.shift_id ORDER BY a.time) IS NOT NULL
            AS is_corrected
    FROM employee_attendance AS a
)
SELECT
    a.organization_id,
    a.employee_id,
    -- The organization's local month, as midnight in the session's time zone, so that month = date_trunc('month',
    -- CURRENT_DATE) works in any session.
    date_trunc('month', a.time AT TIME ZONE o.timezone)::timestamptz AS month,
    round(
        100.0 * count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) / count(*),
        2
    ) AS attendance_rate,
    count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
    count(*) AS scheduled_count,
    sum(a.hours_worked) AS hours_worked,
    round(avg(a.performance_score), 2) AS performance_score_mean,
    count(a.hours_worked) AS hours_known_count
FROM stretches AS a
JOIN organizations AS o ON o.organization_id = a.organization_id
JOIN employee_history AS h
    ON h.organization_id = a.organization_id
    AND h.employee_id = a.employee_id
    AND h.valid_from <= a.time
    AND h.valid_to > a.time
    AND h.is_employed
WHERE a.status <> 'vacation'
    AND NOT a.is_corrected
    AND a.time < statement_timestamp()
GROUP BY a.organization_id, a.employee_id, date_trunc('month', a.time AT TIME ZONE o.timezone);
COMMENT ON VIEW employee_attendance_rate IS 'Attendance rate of each employee by month, up to now. Vacation and times without employment are excluded.';
COMMENT ON COLUMN employee_attendance_rate.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_attendance_rate.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_attendance_rate.month IS 'First day of the organization''s local month, as midnight in the session''s time zone.';
COMMENT ON COLUMN employee_attendance_rate.attendance_rate IS 'Share of scheduled shifts attended, 0 to 100.';
COMMENT ON COLUMN employee_attendance_rate.attended_count IS 'Shifts attended: present, late or remote.';
COMMENT ON COLUMN employee_attendance_rate.scheduled_count IS 'Shifts scheduled.';
COMMENT ON COLUMN employee_attendance_rate.hours_worked IS 'Hours worked in the month, over shifts whose hours are known; NULL if none are.';
COMMENT ON COLUMN employee_attendance_rate.performance_score_mean IS 'Mean performance score, 0 to 100; NULL if there is none.';
COMMENT ON COLUMN employee_attendance_rate.hours_known_count IS 'Number of scheduled shifts whose hours are known.';

CREATE OR REPLACE VIEW production_efficiency AS
WITH days AS (
    SELECT
        p.organization_id,
        p.location_id,
        p.plan_date,
        count(*) AS plan_count,
        sum(p.planned_quantity) AS planned_quantity,
        sum(p.actual_quantity) AS actual_quantity,
        -- As in the KPIs: plans for one product use its unit; plans for several use the units of the products or, failing
        -- that, of the resources.
        count(DISTINCT coalesce(o.unit, h.capacity_unit)) <= 1 OR count(DISTINCT p.product_id) = 1 AS is_of_one_unit,
        string_agg(DISTINCT coalesce(o.unit, h.capacity_unit), ', ' ORDER BY coalesce(o.unit, h.capacity_unit)) AS units
    FROM production_plans AS p
    LEFT JOIN products AS o
        ON o.organization_id = p.organization_id
        AND o.product_id = p.product_id
    LEFT JOIN resource_history AS h
        ON h.organization_id = p.organization_id
        AND h.resource_id = p.resource_id
        AND h.valid_from <= p.plan_date::timestamp AT TIME ZONE 'UTC'
        AND h.valid_to > p.plan_date::timestamp AT TIME ZONE 'UTC'
    WHERE p.status = 'completed'
    GROUP BY p.organization_id, p.location_id, p.plan_date
)
SELECT
    d.organization_id,
    d.location_id,
    d.plan_date,
    d.plan_count,
    CASE WHEN d.is_of_one_unit THEN d.planned_quantity END AS planned_quantity,
    CASE WHEN d.is_of_one_unit THEN d.actual_quantity END AS actual_quantity,
    CASE WHEN d.is_of_one_unit THEN round(100.0 * d.actual_quantity / d.planned_quantity, 2) END AS efficiency_pct,
    CASE WHEN NOT d.is_of_one_unit THEN 'products are counted in different units: ' || d.units END AS reason
FROM days AS d;
COMMENT ON VIEW production_efficiency IS 'Actual against planned production, by location and day. Completed plans only.';
COMMENT ON COLUMN production_efficiency.organization_id IS 'The tenant.';
COMMENT ON COLUMN production_efficiency.location_id IS 'The location.';
COMMENT ON COLUMN production_efficiency.plan_date IS 'Local day of the location.';
COMMENT ON COLUMN production_efficiency.plan_count IS 'Completed plans of the day.';
COMMENT ON COLUMN production_efficiency.planned_quantity IS 'Quantity planned, over all products; NULL if their units differ.';
COMMENT ON COLUMN production_efficiency.actual_quantity IS 'Quantity made, over all products; NULL if their units differ.';
COMMENT ON COLUMN production_efficiency.efficiency_pct IS '100 * actual / planned quantity; above 100 if more was made than planned.';
COMMENT ON COLUMN production_efficiency.reason IS 'Why quantities and efficiency_pct are NULL: the units of the products differ.';

-- Uses the statement's clock: what was committed after the transaction began, and is in its snapshot, has happened too.
CREATE OR REPLACE VIEW resource_latest_status AS
SELECT
    r.organization_id,
    r.resource_id,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    e.time AS last_event_at,
    e.event_type AS last_event_type,
    e.cause AS last_event_cause,
    m.time AS last_metric_at,
    m.utilization_pct,
    m.efficiency_pct,
    m.downtime_minutes,
    m.sample_minutes,
    m.metadata AS metric_metadata
FROM resources AS r
LEFT JOIN LATERAL (
    SELECT
        oe.time,
        oe.event_type,
        oe.cause
    FROM operational_events AS oe
    WHERE oe.organization_id = r.organization_id
        AND oe.resource_id = r.resource_id
        AND oe.time <= statement_timestamp()
    ORDER BY oe.time DESC, oe.event_id
    LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT
        rm.time,
        rm.utilization_pct,
        rm.efficiency_pct,
        rm.downtime_minutes,
        rm.sample_minutes,
        rm.metadata
    FROM resource_metrics AS rm
    WHERE rm.organization_id = r.organization_id
        AND rm.resource_id = r.resource_id
        AND rm.time <= statement_timestamp()
    ORDER BY rm.time DESC
    LIMIT 1
) AS m ON true;
COMMENT ON VIEW resource_latest_status IS 'Current status of each resource, with its newest event and its newest metrics. Rows dated in the future are ignored.';
COMMENT ON COLUMN resource_latest_status.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_latest_status.resource_id IS 'The resource.';
COMMENT ON COLUMN resource_latest_status.location_id IS 'Location where the resource stands or is based.';
COMMENT ON COLUMN resource_latest_status.name IS 'Display name.';
COMMENT ON COLUMN resource_latest_status.resource_type IS 'Kind of resource.';
COMMENT ON COLUMN resource_latest_status.status IS 'Status in resources, as set by the application.';
COMMENT ON COLUMN resource_latest_status.last_event_at IS 'When the newest event began; NULL if there is none.';
COMMENT ON COLUMN resource_latest_status.last_event_type IS 'Type of the newest event.';
COMMENT ON COLUMN resource_latest_status.last_event_cause IS 'Cause of the newest event, if reported.';
COMMENT ON COLUMN resource_latest_status.last_metric_at IS 'Time of the newest sample; NULL if there is none.';
COMMENT ON COLUMN resource_latest_status.utilization_pct IS 'Utilization in the newest sample, 0 to 100.';
COMMENT ON COLUMN resource_latest_status.efficiency_pct IS 'Efficiency in the newest sample, 0 to 100.';
COMMENT ON COLUMN resource_latest_status.downtime_minutes IS 'Minutes down in the newest sample.';
COMMENT ON COLUMN resource_latest_status.sample_minutes IS 'Minutes that the newest sample covers.';
COMMENT ON COLUMN resource_latest_status.metric_metadata IS 'Additional attributes of the newest sample.';

CREATE OR REPLACE FUNCTION latest_resource_status(org uuid)
RETURNS SETOF resource_latest_status
LANGUAGE plpgsql
STABLE
-- Planned with the current time, so that older chunks are excluded and cost nothing, however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    status resource_latest_status;
    quiet uuid[] := '{}';
    since timestamptz;
BEGIN
    -- Same as the views, but with the organization on each table, so that Citus can route the query.
    FOREACH since IN ARRAY ARRAY[now() - interval '7 days', '-infinity']
    LOOP
        FOR status IN
            SELECT
                r.organization_id,
                r.resource_id,
                r.location_id,
                r.name,
                r.resource_type,
                r.status,
                e.time,
                e.event_type,
                e.cause,
                m.time,
                m.utilization_pct,
                m.efficiency_pct,
                m.downtime_minutes,
                m.sample_minutes,
                m.metadata
            FROM resources AS r
            LEFT JOIN LATERAL (
                SELECT
                    oe.time,
                    oe.event_type,
                    oe.cause
                FROM operational_events AS oe
                WHERE oe.organization_id = org
                    AND oe.resource_id = r.resource_id
                    AND oe.time <= statement_timestamp()
                    AND oe.time >= since
                ORDER BY oe.time DESC, oe.event_id
                LIMIT 1
            ) AS e ON true
            LEFT JOIN LATERAL (
                SELECT
                    rm.time,
                    rm.utilization_pct,
                    rm.efficiency_pct,
                    rm.downtime_minutes,
                    rm.sample_minutes,
                    rm.metadata
                FROM resource_metrics AS rm
                WHERE rm.organization_id = org
                    AND rm.resource_id = r.resource_id
                    AND rm.time <= statement_timestamp()
                    AND rm.time >= since
                ORDER BY rm.time DESC
                LIMIT 1
            ) AS m ON true
            WHERE r.organization_id = org
                AND (since > '-infinity' OR r.resource_id = ANY (quiet))
        LOOP
            IF since > '-infinity' AND (status.last_event_at IS NULL OR status.last_metric_at IS NULL) THEN
                quiet := quiet || status.resource_id;
            ELSE
                RETURN NEXT status;
            END IF;
        END LOOP;
        EXIT WHEN quiet = '{}';
    END LOOP;
END
$$;
COMMENT ON FUNCTION latest_resource_status(uuid) IS
    'Current status of the organization''s resources: the rows of resource_latest_status. The entire past is searched only '
    'for resources without rows in the last seven days.';

CREATE OR REPLACE VIEW shift_coverage AS
SELECT
    s.organization_id,
    s.shift_id,
    s.location_id,
    s.name,
    s.starts_at,
    s.ends_at,
    s.required_employees,
    count(h.employee_id)::integer AS assigned_employees,
    greatest(s.required_employees - count(h.employee_id), 0)::integer AS missing_employees
FROM shifts AS s
LEFT JOIN shift_assignments AS a
    ON a.organization_id = s.organization_id
    AND a.shift_id = s.shift_id
    AND a.status IN ('scheduled', 'confirmed', 'completed')
LEFT JOIN employee_history AS h
    ON h.organization_id = a.organization_id
    AND h.employee_id = a.employee_id
    AND h.valid_from <= a.starts_at
    AND h.valid_to > a.starts_at
    AND h.is_employed
GROUP BY s.organization_id, s.shift_id, s.location_id, s.name, s.starts_at, s.ends_at, s.required_employees;
COMMENT ON VIEW shift_coverage IS 'Required and assigned employees of each shift. Absent and cancelled assignments do not count, nor do employees who are not employed when the shift begins.';
COMMENT ON COLUMN shift_coverage.organization_id IS 'The tenant.';
COMMENT ON COLUMN shift_coverage.shift_id IS 'The shift.';
COMMENT ON COLUMN shift_coverage.location_id IS 'Location where the shift is worked.';
COMMENT ON COLUMN shift_coverage.name IS 'Display name.';
COMMENT ON COLUMN shift_coverage.starts_at IS 'First instant of the shift.';
COMMENT ON COLUMN shift_coverage.ends_at IS 'First instant after the shift.';
COMMENT ON COLUMN shift_coverage.required_employees IS 'Number of employees required.';
COMMENT ON COLUMN shift_coverage.assigned_employees IS 'Number of employees assigned.';
COMMENT ON COLUMN shift_coverage.missing_employees IS 'Number of employees missing, 0 or more.';

CREATE OR REPLACE VIEW active_alerts AS
SELECT
    a.organization_id,
    a.alert_id,
    a.created_at,
    a.severity,
    a.alert_type,
    a.title,
    a.message,
    a.status,
    a.location_id,
    a.resource_id,
    r.name AS resource_name,
    a.anomaly_id,
    a.acknowledged_at,
    a.acknowledged_by
FROM alerts AS a
LEFT JOIN resources AS r
    ON r.organization_id = a.organization_id
    AND r.resource_id = a.resource_id
WHERE a.status IN ('active', 'acknowledged');
COMMENT ON VIEW active_alerts IS 'Alerts that are not resolved.';
COMMENT ON COLUMN active_alerts.organization_id IS 'The tenant.';
COMMENT ON COLUMN active_alerts.alert_id IS 'The alert.';
COMMENT ON COLUMN active_alerts.created_at IS 'When the alert was raised.';
COMMENT ON COLUMN active_alerts.severity IS 'low, medium, high or critical.';
COMMENT ON COLUMN active_alerts.alert_type IS 'Kind of alert.';
COMMENT ON COLUMN active_alerts.title IS 'One-line title.';
COMMENT ON COLUMN active_alerts.message IS 'What happened and what to do, in plain language.';
COMMENT ON COLUMN active_alerts.status IS 'active or acknowledged.';
COMMENT ON COLUMN active_alerts.location_id IS 'The location concerned, if any.';
COMMENT ON COLUMN active_alerts.resource_id IS 'The resource concerned, if any.';
COMMENT ON COLUMN active_alerts.resource_name IS 'Name of the resource.';
COMMENT ON COLUMN active_alerts.anomaly_id IS 'The prediction that raised the alert, if any.';
COMMENT ON COLUMN active_alerts.acknowledged_at IS 'When the alert was acknowledged.';
COMMENT ON COLUMN active_alerts.acknowledged_by IS 'User who acknowledged the alert.';

CREATE OR REPLACE VIEW current_demand_forecasts AS
SELECT
    n.organization_id,
    n.product_id,
    n.location_id,
    n.target_time,
    n.target_interval,
    n.predicted_quantity,
    n.lower_bound,
    n.upper_bound,
    n.interval_coverage_pct,
    n.model_name,
    n.model_version,
    n.available_at,
    n.recorded_at,
    local_interval_end(n.target_time, n.target_interval, h.timezone) AS target_end
FROM (
    SELECT DISTINCT ON (f.organization_id, f.product_id, f.location_id, f.target_time, f.target_interval)
        f.organization_id,
        f.product_id,
        f.location_id,
        f.target_time,
        f.target_interval,
        f.predicted_quantity,
        f.lower_bound,
        f.upper_bound,
        f.interval_coverage_pct,
        f.model_name,
        f.model_version,
        f.available_at,
        f.recorded_at
    FROM demand_forecasts AS f
    WHERE f.purpose = 'published'
    ORDER BY
        f.organization_id,
        f.product_id,
        f.location_id,
        f.target_time,
        f.target_interval,
        f.available_at DESC,
        f.recorded_at DESC,
        f.model_name,
        f.model_version DESC
) AS n
JOIN location_history AS h
    ON h.organization_id = n.organization_id
    AND h.location_id = n.location_id
    AND h.valid_from <= n.target_time
    AND h.valid_to > n.target_time;
COMMENT ON VIEW current_demand_forecasts IS 'Current demand forecasts: for each target (start and length), the published prediction with the newest available_at, from any model.';
COMMENT ON COLUMN current_demand_forecasts.organization_id IS 'The tenant.';
COMMENT ON COLUMN current_demand_forecasts.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN current_demand_forecasts.location_id IS 'Location where the demand is expected.';
COMMENT ON COLUMN current_demand_forecasts.target_time IS 'Start of the target bucket.';
COMMENT ON COLUMN current_demand_forecasts.target_interval IS 'Length of the target bucket; days are local days of the location.';
COMMENT ON COLUMN current_demand_forecasts.predicted_quantity IS 'Quantity expected, in the product''s unit.';
COMMENT ON COLUMN current_demand_forecasts.lower_bound IS 'Lower bound of the prediction interval.';
COMMENT ON COLUMN current_demand_forecasts.upper_bound IS 'Upper bound of the prediction interval.';
COMMENT ON COLUMN current_demand_forecasts.interval_coverage_pct IS 'Nominal coverage of the interval, 0 to 100.';
COMMENT ON COLUMN current_demand_forecasts.model_name IS 'Name of the model.';
COMMENT ON COLUMN current_demand_forecasts.model_version IS 'Version of the model.';
COMMENT ON COLUMN current_demand_forecasts.available_at IS 'When the model could have made the prediction.';
COMMENT ON COLUMN current_demand_forecasts.recorded_at IS 'When it was saved.';
COMMENT ON COLUMN current_demand_forecasts.target_end IS 'First instant after the target bucket, which is in progress until then.';

CREATE OR REPLACE VIEW current_absence_forecasts AS
SELECT DISTINCT ON (f.organization_id, f.target_date, f.location_id, f.employee_id)
    f.organization_id,
    f.forecast_id,
    f.location_id,
    f.employee_id,
    f.target_date,
    f.absence_probability,
    f.expected_absences,
    f.model_name,
    f.model_version,
    f.available_at,
    f.recorded_at
FROM absence_forecasts AS f
-- Only employees who belong to the location on that day. (A join, so that Citus can tell that all of it concerns one
-- organization; an employee who attended twice that day matches twice and is reported once.)
LEFT JOIN (
    employee_history AS h
    JOIN locations AS l
        ON l.organization_id = h.organization_id
        AND l.location_id = h.location_id
)
    ON h.organization_id = f.organization_id
    AND h.employee_id = f.employee_id
    AND h.is_employed
    AND h.valid_from < local_day_start(f.target_date + 1, l.timezone)
    AND h.valid_to > local_day_start(f.target_date, l.timezone)
WHERE f.employee_id IS NULL
    OR h.employee_id IS NOT NULL
ORDER BY
    f.organization_id,
    f.target_date,
    f.location_id,
    f.employee_id,
    f.available_at DESC,
    f.recorded_at DESC,
    f.model_name,
    f.model_version DESC;
COMMENT ON VIEW current_absence_forecasts IS 'Current absence forecasts, by employee and by location: for each day, the prediction with the newest available_at.';
COMMENT ON COLUMN current_absence_forecasts.organization_id IS 'The tenant.';
COMMENT ON COLUMN current_absence_forecasts.forecast_id IS 'The prediction.';
COMMENT ON COLUMN current_absence_forecasts.location_id IS 'The location, for a prediction of the number of absences.';
COMMENT ON COLUMN current_absence_forecasts.employee_id IS 'The employee, for a prediction about one person.';
COMMENT ON COLUMN current_absence_forecasts.target_date IS 'Local day that the prediction is for.';
COMMENT ON COLUMN current_absence_forecasts.absence_probability IS 'Probability that the employee is away, 0 to 1.';
COMMENT ON COLUMN current_absence_forecasts.expected_absences IS 'Expected number of absences at the location.';
COMMENT ON COLUMN current_absence_forecasts.model_name IS 'Name of the model.';
COMMENT ON COLUMN current_absence_forecasts.model_version IS 'Version of the model.';
COMMENT ON COLUMN current_absence_forecasts.available_at IS 'When the model could have made the prediction.';
COMMENT ON COLUMN current_absence_forecasts.recorded_at IS 'When it was saved.';
