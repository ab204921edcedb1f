-- Attendance: who came to work, and how regularly.

-- name: record_attendance!
-- Which of these attendance rows are new, or differ from what was recorded?
-- Parameters: organization_id uuid, attendance jsonb, given text[], replace boolean
-- All rows give the same columns, those in given; where a row is there, the others stay as they are.
INSERT INTO employee_attendance AS a (
    organization_id,
    time,
    employee_id,
    shift_id,
    status,
    scheduled_hours,
    hours_worked,
    performance_score,
    metadata
)
SELECT
    %(organization_id)s,
    g.time,
    g.employee_id,
    g.shift_id,
    g.status,
    coalesce(g.scheduled_hours, 8),
    coalesce(g.hours_worked, 0),
    g.performance_score,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(attendance)s::jsonb) AS g (
    time timestamptz,
    employee_id uuid,
    shift_id uuid,
    status text,
    scheduled_hours numeric,
    hours_worked numeric,
    performance_score numeric,
    metadata jsonb
)
ON CONFLICT (organization_id, employee_id, time) DO UPDATE
SET
    status = excluded.status,
    shift_id = CASE WHEN 'shift_id' = ANY (%(given)s) THEN excluded.shift_id ELSE a.shift_id END,
    scheduled_hours = CASE
        WHEN 'scheduled_hours' = ANY (%(given)s) THEN excluded.scheduled_hours
        ELSE a.scheduled_hours
    END,
    hours_worked = CASE WHEN 'hours_worked' = ANY (%(given)s) THEN excluded.hours_worked ELSE a.hours_worked END,
    performance_score = CASE
        WHEN 'performance_score' = ANY (%(given)s) THEN excluded.performance_score
        ELSE a.performance_score
    END,
    metadata = CASE WHEN 'metadata' = ANY (%(given)s) THEN excluded.metadata ELSE a.metadata END
WHERE %(replace)s
    AND (
        a.status IS DISTINCT FROM excluded.status
        OR ('shift_id' = ANY (%(given)s) AND a.shift_id IS DISTINCT FROM excluded.shift_id)
        OR ('scheduled_hours' = ANY (%(given)s) AND a.scheduled_hours IS DISTINCT FROM excluded.scheduled_hours)
        OR ('hours_worked' = ANY (%(given)s) AND a.hours_worked IS DISTINCT FROM excluded.hours_worked)
        OR ('performance_score' = ANY (%(given)s) AND a.performance_score IS DISTINCT FROM excluded.performance_score)
        OR ('metadata' = ANY (%(given)s) AND a.metadata IS DISTINCT FROM excluded.metadata)
    );

-- name: get_attendance
-- Who came to work, and who did not, newest first?
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
SELECT
    a.time,
    a.employee_id,
    e.full_name,
    e.location_id,
    a.shift_id,
    a.status,
    a.scheduled_hours,
    a.hours_worked,
    a.performance_score,
    a.metadata
FROM employee_attendance AS a
JOIN employees AS e
    ON e.organization_id = a.organization_id
    AND e.employee_id = a.employee_id
WHERE a.organization_id = %(organization_id)s
    AND e.organization_id = %(organization_id)s
    AND (%(employee_id)s::uuid IS NULL OR a.employee_id = %(employee_id)s)
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND a.time >= %(period_start)s
    AND a.time < %(period_end)s
ORDER BY
    a.time DESC,
    a.employee_id;

-- name: get_attendance_rate
-- How regularly did each employee come to work, by the organization's local month?
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid?, this_month boolean,
--     period_start timestamptz?, period_end timestamptz
-- this_month: from the beginning of the organization's local month on.
WITH attended AS (
    SELECT
        a.employee_id,
        date_trunc('month', a.time AT TIME ZONE o.timezone)::date AS month,
        100.0 * count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) / count(*) AS attendance_rate,
        count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
        count(*) AS scheduled_count,
        sum(a.hours_worked) AS hours_worked,
        avg(a.performance_score) AS performance_score_mean
    FROM employee_attendance AS a
    JOIN organizations AS o ON o.organization_id = a.organization_id
    WHERE a.organization_id = %(organization_id)s
        AND o.organization_id = %(organization_id)s
        AND (%(employee_id)s::uuid IS NULL OR a.employee_id = %(employee_id)s)
        AND a.status <> 'vacation'
        AND a.time >= CASE
            WHEN %(this_month)s THEN
                (
                    SELECT date_trunc('month', now(), own.timezone)
                    FROM organizations AS own
                    WHERE own.organization_id = %(organization_id)s
                )
            ELSE %(period_start)s
        END
        AND a.time < %(period_end)s
    GROUP BY
        1,
        2
)
SELECT
    t.month,
    t.employee_id,
    e.full_name,
    e.location_id,
    t.attendance_rate,
    t.attended_count,
    t.scheduled_count,
    t.hours_worked,
    t.performance_score_mean
FROM attended AS t
JOIN employees AS e
    ON e.organization_id = %(organization_id)s
    AND e.employee_id = t.employee_id
WHERE %(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s
ORDER BY
    t.month,
    e.full_name,
    t.employee_id;

-- name: get_low_attendance
-- Which employees came to work less often than they should, least often first?
-- Parameters: organization_id uuid, below_pct numeric, location_id uuid?, this_month boolean,
--     period_start timestamptz?, period_end timestamptz
-- this_month: from the beginning of the organization's local month on.
WITH attended AS (
    SELECT
        a.employee_id,
        100.0 * count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) / count(*) AS attendance_rate,
        count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
        count(*) AS scheduled_count
    FROM employee_attendance AS a
    WHERE a.organization_id = %(organization_id)s
        AND a.status <> 'vacation'
        AND a.time >= CASE
            WHEN %(this_month)s THEN
                (
                    SELECT date_trunc('month', now(), o.timezone)
                    FROM organizations AS o
                    WHERE o.organization_id = %(organization_id)s
                )
            ELSE %(period_start)s
        END
        AND a.time < %(period_end)s
    GROUP BY
        a.employee_id
)
SELECT
    t.employee_id,
    e.full_name,
    e.location_id,
    t.attendance_rate,
    t.attended_count,
    t.scheduled_count
FROM attended AS t
JOIN employees AS e
    ON e.organization_id = %(organization_id)s
    AND e.employee_id = t.employee_id
WHERE t.attendance_rate < %(below_pct)s
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
ORDER BY
    t.attendance_rate,
    e.full_name,
    t.employee_id;
