-- Inputs of a roster, within one organization.

-- name: locations
-- Locations by name or identifier; all if none is given.
SELECT
    l.location_id,
    l.name,
    l.timezone
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND (
        %(location)s::text IS NULL
        OR l.name = %(location)s
        OR l.location_id::text = lower(%(location)s)
    )
ORDER BY
    l.name,
    l.location_id;

-- name: organization
-- Time zone and defaults of the organization.
SELECT
    o.timezone,
    o.settings,
    now() AS now
FROM organizations AS o
WHERE o.organization_id = %(organization_id)s;

-- name: shifts
-- Shifts that begin in the window.
SELECT
    s.shift_id,
    s.location_id,
    s.name,
    s.starts_at,
    s.ends_at,
    s.required_employees,
    s.required_skills,
    s.metadata -> 'priority' AS priority,
    l.timezone
FROM shifts AS s
JOIN locations AS l
    ON l.organization_id = s.organization_id
    AND l.location_id = s.location_id
WHERE s.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR s.location_id = %(location_id)s)
    AND s.starts_at >= %(window_start)s
    AND s.starts_at < %(window_end)s
ORDER BY
    s.starts_at,
    s.shift_id;

-- name: workers
-- Employees employed at some time in the window, with the work they may do.
SELECT
    e.employee_id,
    e.full_name,
    e.location_id,
    e.skills,
    l.timezone,
    ARRAY(
        SELECT jsonb_build_array(h.valid_from::text, h.valid_to::text)
        FROM employee_history AS h
        WHERE h.organization_id = %(organization_id)s
            AND h.employee_id = e.employee_id
            AND h.is_employed
            AND h.valid_from < %(window_end)s
            AND h.valid_to > %(window_start)s
        ORDER BY
            h.valid_from
    ) AS employed,
    ARRAY(
        SELECT jsonb_build_array(
            c.valid_from::text, c.hours_per_week, c.max_hours_per_week, c.min_rest_hours, c.max_consecutive_days, c.may_work_at
        )
        FROM employee_contracts AS c
        WHERE c.organization_id = %(organization_id)s
            AND c.employee_id = e.employee_id
        ORDER BY
            c.valid_from
    ) AS contracts
FROM employees AS e
JOIN locations AS l
    ON l.organization_id = e.organization_id
    AND l.location_id = e.location_id
WHERE e.organization_id = %(organization_id)s
    AND EXISTS (
        SELECT
        FROM employee_history AS h
        WHERE h.organization_id = %(organization_id)s
            AND h.employee_id = e.employee_id
            AND h.is_employed
            AND h.valid_from < %(window_end)s
            AND h.valid_to > %(window_start)s
    )
ORDER BY
    e.employee_id;

-- name: unavailability
-- Employees who cannot, or would rather not, work in the window.
SELECT
    u.employee_id,
    u.starts_at,
    u.ends_at,
    u.reason,
    u.is_hard,
    u.weight
FROM employee_unavailability AS u
WHERE u.organization_id = %(organization_id)s
    AND u.starts_at < %(window_end)s + interval '1 day'
    AND u.ends_at > %(window_start)s
ORDER BY
    u.employee_id,
    u.starts_at,
    u.reason;

-- name: standing
-- Assignments in the window, and around it as far as the rules require.
SELECT
    a.shift_id,
    a.employee_id,
    a.status,
    a.starts_at,
    a.ends_at
FROM shift_assignments AS a
WHERE a.organization_id = %(organization_id)s
    AND a.status <> 'cancelled'
    AND a.starts_at >= %(window_start)s - %(reach)s::interval
    AND a.starts_at < %(window_end)s + %(reach)s::interval
ORDER BY
    a.starts_at,
    a.shift_id,
    a.employee_id;

-- name: absences
-- Predicted probability of absence, by local day.
SELECT
    f.employee_id,
    f.target_date,
    f.absence_probability::double precision AS probability
FROM current_absence_forecasts AS f
WHERE f.organization_id = %(organization_id)s
    AND f.employee_id IS NOT NULL
    AND f.target_date >= (%(window_start)s - interval '1 day')::date
    AND f.target_date <= (%(window_end)s + interval '1 day')::date
ORDER BY
    f.employee_id,
    f.target_date;

-- name: lock_shifts
-- Prevent concurrent assignments to these shifts.
SELECT
    s.shift_id
FROM shifts AS s
WHERE s.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR s.location_id = %(location_id)s)
    AND s.starts_at >= %(window_start)s
    AND s.starts_at < %(window_end)s
ORDER BY
    s.shift_id
FOR UPDATE;

-- name: lock_employees
-- Prevent concurrent changes of these employees, and assignments to other shifts.
SELECT
    e.employee_id
FROM employees AS e
WHERE e.organization_id = %(organization_id)s
ORDER BY
    e.employee_id
FOR UPDATE;

-- name: lock_contracts
-- Likewise for their contracts.
SELECT
    c.employee_id
FROM employee_contracts AS c
WHERE c.organization_id = %(organization_id)s
ORDER BY
    c.employee_id,
    c.valid_from
FOR UPDATE;

-- name: lock_unavailability
-- Likewise for their unavailability.
SELECT
    u.employee_id
FROM employee_unavailability AS u
WHERE u.organization_id = %(organization_id)s
    AND u.ends_at > %(window_start)s
ORDER BY
    u.employee_id,
    u.starts_at,
    u.reason
FOR UPDATE;

-- name: lock_assignments
-- Likewise for their assignments.
SELECT
    a.shift_id
FROM shift_assignments AS a
WHERE a.organization_id = %(organization_id)s
    AND a.starts_at >= %(window_start)s - %(reach)s::interval
    AND a.starts_at < %(window_end)s + %(reach)s::interval
ORDER BY
    a.shift_id,
    a.employee_id
FOR UPDATE;

-- name: fail_dead_runs!
-- Mark abandoned planning runs as failed: their process was killed.
UPDATE optimization_runs AS r
SET
    status = 'failed',
    finished_at = greatest(now(), r.started_at),
    error_message = 'the process that ran it is gone'
WHERE r.organization_id = %(organization_id)s
    AND r.status = 'running'
    AND r.parameters ? 'planning';

-- name: tell_progress!
-- Record the progress of a run.
UPDATE optimization_runs AS r
SET result = %(result)s
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s
    AND r.status = 'running';

-- name: run
-- A run.
SELECT
    r.run_id,
    r.run_type,
    r.status,
    r.started_at,
    r.objective_value,
    r.parameters,
    r.result,
    r.error_message
FROM optimization_runs AS r
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s;

-- name: mark_stale!
-- Mark a proposal as stale: its inputs have changed.
UPDATE schedule_proposals AS p
SET
    status = 'stale',
    decision = %(decision)s
WHERE p.organization_id = %(organization_id)s
    AND p.run_id = %(run_id)s;
