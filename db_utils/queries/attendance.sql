-- Attendance: who came to work, and how regularly.

-- name: record_attendance!
-- Record attendance and return how many rows are new or changed.
-- Parameters: organization_id uuid, attendance jsonb, given text[], replace boolean
-- All rows supply the same columns, those in given; for existing rows the other columns are kept. An employee has one row
-- per shift: a row recorded at another time is moved (see remove_moved_attendance). Hours and score are derived from
-- absence, and unknown if an employee was absent and attended after all.
WITH told AS MATERIALIZED (
    SELECT
        g.time,
        g.employee_id,
        g.shift_id,
        g.status,
        g.status IN ('absent', 'sick', 'vacation') AS is_away,
        g.scheduled_hours,
        g.hours_worked,
        g.performance_score,
        g.metadata
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
),
elsewhere AS MATERIALIZED (
    SELECT
        w.time,
        w.employee_id,
        w.shift_id,
        w.status,
        w.scheduled_hours,
        w.hours_worked,
        w.performance_score,
        w.metadata
    FROM told AS g
    JOIN employee_attendance AS w
        ON w.employee_id = g.employee_id
        AND w.shift_id = g.shift_id
        AND w.time <> g.time
    WHERE w.organization_id = %(organization_id)s
        AND 'shift_id' = ANY (%(given)s)
)
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
    coalesce(CASE WHEN 'scheduled_hours' = ANY (%(given)s) THEN g.scheduled_hours ELSE m.scheduled_hours END, 8),
    CASE
        WHEN 'hours_worked' = ANY (%(given)s) AND g.hours_worked IS NOT NULL THEN g.hours_worked
        WHEN g.is_away THEN 0
        WHEN 'hours_worked' = ANY (%(given)s) OR m.status IN ('absent', 'sick', 'vacation') THEN NULL
        ELSE m.hours_worked
    END,
    CASE
        WHEN 'performance_score' = ANY (%(given)s) THEN g.performance_score
        WHEN NOT g.is_away THEN m.performance_score
    END,
    CASE WHEN 'metadata' = ANY (%(given)s) THEN coalesce(g.metadata, '{}') ELSE coalesce(m.metadata, '{}') END
FROM told AS g
LEFT JOIN LATERAL (
    SELECT
        e.status,
        e.scheduled_hours,
        e.hours_worked,
        e.performance_score,
        e.metadata
    FROM elsewhere AS e
    WHERE e.employee_id = g.employee_id
        AND e.shift_id = g.shift_id
    ORDER BY
        e.time DESC
    LIMIT 1
) AS m ON true
WHERE %(replace)s
    OR m.status IS NULL
ON CONFLICT (organization_id, employee_id, time) DO UPDATE
SET
    status = excluded.status,
    shift_id = CASE WHEN 'shift_id' = ANY (%(given)s) THEN excluded.shift_id ELSE a.shift_id END,
    scheduled_hours = CASE
        WHEN 'scheduled_hours' = ANY (%(given)s) THEN excluded.scheduled_hours
        ELSE a.scheduled_hours
    END,
    hours_worked = CASE
        WHEN 'hours_worked' = ANY (%(given)s) THEN excluded.hours_worked
        WHEN excluded.status IN ('absent', 'sick', 'vacation') THEN excluded.hours_worked
        WHEN a.status NOT IN ('absent', 'sick', 'vacation') THEN a.hours_worked
    END,
    performance_score = CASE
        WHEN 'performance_score' = ANY (%(given)s) THEN excluded.performance_score
        WHEN excluded.status NOT IN ('absent', 'sick', 'vacation') THEN a.performance_score
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

-- name: remove_moved_attendance!
-- Remove rows of employees and shifts that were previously recorded at another time.
-- Parameters: organization_id uuid, attendance jsonb
-- Runs separately after the rows were written, because Citus does not support DELETE in a WITH clause. Concurrently written rows are kept.
WITH told AS (
    SELECT
        g.time,
        g.employee_id,
        g.shift_id
    FROM jsonb_to_recordset(%(attendance)s::jsonb) AS g (
        time timestamptz,
        employee_id uuid,
        shift_id uuid
    )
)
DELETE FROM employee_attendance AS a
USING told AS g
WHERE a.organization_id = %(organization_id)s
    AND a.employee_id = g.employee_id
    AND a.shift_id = g.shift_id
    AND a.time <> g.time
    AND NOT EXISTS (
        SELECT
        FROM told AS w
        WHERE w.employee_id = a.employee_id
            AND w.time = a.time
    );

-- name: get_attendance
-- Who came to work, and who did not, newest first?
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
-- The location is the one where they were based then. Of two rows of one employee and shift, which only plain SQL can write, the
-- later one counts; they are within a day of each other, because no shift is longer.
WITH stretches AS (
    SELECT
        a.time,
        a.employee_id,
        a.shift_id,
        a.status,
        a.scheduled_hours,
        a.hours_worked,
        a.performance_score,
        a.metadata,
        a.shift_id IS NOT NULL
            AND lead(a.time) OVER (PARTITION BY a.employee_id, a.shift_id ORDER BY a.time) IS NOT NULL AS is_corrected
    FROM employee_attendance AS a
    WHERE a.organization_id = %(organization_id)s
        AND (%(employee_id)s::uuid IS NULL OR a.employee_id = %(employee_id)s)
        AND a.time >= %(period_start)s
        AND a.time < %(period_end)s + interval '25 hours'
)
SELECT
    s.time,
    s.employee_id,
    e.full_name,
    h.location_id,
    s.shift_id,
    s.status,
    s.scheduled_hours,
    s.hours_worked,
    s.performance_score,
    s.metadata
FROM stretches AS s
JOIN employees AS e ON e.employee_id = s.employee_id
JOIN employee_history AS h
    ON h.employee_id = s.employee_id
    AND h.valid_from <= s.time
    AND h.valid_to > s.time
WHERE e.organization_id = %(organization_id)s
    AND h.organization_id = %(organization_id)s
    AND s.time < %(period_end)s
    AND NOT s.is_corrected
    AND (%(location_id)s::uuid IS NULL OR h.location_id = %(location_id)s)
ORDER BY
    s.time DESC,
    s.employee_id;

-- name: get_attendance_rate
-- How regularly did each employee come to work, by the organization's local month?
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid?, this_month boolean,
--     period_start timestamptz?, period_end timestamptz
-- this_month: from the start of the organization's local month. With a location: only while they belonged there. Up to now.
WITH attended AS (
    SELECT
        a.employee_id,
        date_trunc('month', a.time AT TIME ZONE o.timezone)::date AS month,
        (array_agg(a.location_id ORDER BY a.time DESC))[1] AS location_id,
        100.0 * count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) / count(*) AS attendance_rate,
        count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
        count(*) AS scheduled_count,
        sum(a.hours_worked) AS hours_worked,
        count(a.hours_worked) AS hours_known_count,
        avg(a.performance_score) AS performance_score_mean
    FROM organizations AS o
    CROSS JOIN LATERAL counted_attendance(
        %(organization_id)s,
        CASE
            WHEN %(this_month)s THEN
                local_day_start(date_trunc('month', now() AT TIME ZONE o.timezone)::date, o.timezone)
            ELSE %(period_start)s
        END,
        %(period_end)s
    ) AS a
    WHERE o.organization_id = %(organization_id)s
        AND (%(employee_id)s::uuid IS NULL OR a.employee_id = %(employee_id)s)
        AND (%(location_id)s::uuid IS NULL OR a.location_id = %(location_id)s)
    GROUP BY
        1,
        2
)
SELECT
    t.month,
    t.employee_id,
    e.full_name,
    t.location_id,
    t.attendance_rate,
    t.attended_count,
    t.scheduled_count,
    t.hours_worked,
    t.hours_known_count,
    t.performance_score_mean
FROM attended AS t
JOIN employees AS e
    ON e.organization_id = %(organization_id)s
    AND e.employee_id = t.employee_id
ORDER BY
    t.month,
    e.full_name,
    t.employee_id;

-- name: get_low_attendance
-- Which employees have low attendance, lowest rate first?
-- Parameters: organization_id uuid, below_pct numeric, location_id uuid?, this_month boolean,
--     period_start timestamptz?, period_end timestamptz
-- this_month: from the start of the organization's local month. With a location: only while they belonged there. Up to now.
WITH attended AS (
    SELECT
        a.employee_id,
        (array_agg(a.location_id ORDER BY a.time DESC))[1] AS location_id,
        100.0 * count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) / count(*) AS attendance_rate,
        count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count,
        count(*) AS scheduled_count
    FROM organizations AS o
    CROSS JOIN LATERAL counted_attendance(
        %(organization_id)s,
        CASE
            WHEN %(this_month)s THEN
                local_day_start(date_trunc('month', now() AT TIME ZONE o.timezone)::date, o.timezone)
            ELSE %(period_start)s
        END,
        %(period_end)s
    ) AS a
    WHERE o.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR a.location_id = %(location_id)s)
    GROUP BY
        a.employee_id
)
SELECT
    t.employee_id,
    e.full_name,
    t.location_id,
    t.attendance_rate,
    t.attended_count,
    t.scheduled_count
FROM attended AS t
JOIN employees AS e
    ON e.organization_id = %(organization_id)s
    AND e.employee_id = t.employee_id
WHERE t.attendance_rate < %(below_pct)s
ORDER BY
    t.attendance_rate,
    e.full_name,
    t.employee_id;
