-- Shifts: who works when, and which shifts are understaffed.

-- name: create_shift<!
-- Create a shift and return its row.
-- Parameters: organization_id uuid, shift_id uuid?, shift_code text?, location_id uuid, name text, starts_at timestamptz, ends_at timestamptz,
--     required_employees integer, required_skills text[], metadata jsonb
INSERT INTO shifts (
    organization_id,
    shift_id,
    shift_code,
    location_id,
    name,
    starts_at,
    ends_at,
    required_employees,
    required_skills,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(shift_id)s, gen_random_uuid()),
    %(shift_code)s,
    %(location_id)s,
    %(name)s,
    %(starts_at)s,
    %(ends_at)s,
    %(required_employees)s,
    %(required_skills)s,
    %(metadata)s
)
RETURNING
    shift_id,
    shift_code,
    location_id,
    name,
    starts_at,
    ends_at,
    required_employees,
    required_skills,
    metadata,
    created_at,
    updated_at;

-- name: find_shift
-- Which shift is this?
-- Parameters: organization_id uuid, shift_id uuid
SELECT
    s.shift_id,
    s.shift_code,
    s.location_id,
    s.name,
    s.starts_at,
    s.ends_at,
    s.required_employees,
    s.required_skills,
    s.metadata,
    s.created_at,
    s.updated_at
FROM shifts AS s
WHERE s.organization_id = %(organization_id)s
    AND s.shift_id = %(shift_id)s;

-- name: get_shift_schedule
-- Who works when: which shifts overlap the period, with one row per assigned employee?
-- Parameters: organization_id uuid, location_id uuid?, employee_id uuid?, period_start timestamptz,
--     period_end timestamptz
-- Employees who are no longer employed when the shift begins do not count as coverage and are excluded.
SELECT
    s.shift_id,
    s.shift_code,
    s.location_id,
    s.name,
    s.starts_at,
    s.ends_at,
    s.required_employees,
    s.required_skills,
    a.employee_id,
    e.full_name,
    a.status AS assignment_status
FROM shifts AS s
LEFT JOIN (
    shift_assignments AS a
    JOIN employees AS e
        ON e.organization_id = a.organization_id
        AND e.employee_id = a.employee_id
    JOIN employee_history AS h
        ON h.organization_id = a.organization_id
        AND h.employee_id = a.employee_id
        AND h.valid_from <= a.starts_at
        AND h.valid_to > a.starts_at
        AND h.is_employed
)
    ON a.organization_id = s.organization_id
    AND a.shift_id = s.shift_id
WHERE s.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR s.location_id = %(location_id)s)
    AND (%(employee_id)s::uuid IS NULL OR a.employee_id = %(employee_id)s)
    AND s.starts_at > %(period_start)s - interval '25 hours'
    AND s.starts_at < %(period_end)s
    AND s.ends_at > %(period_start)s
ORDER BY
    s.starts_at,
    s.location_id,
    s.name,
    e.full_name,
    a.employee_id;

-- name: get_shift_coverage_gaps
-- Which shifts of the period lack employees or skills?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
WITH coverage AS (
    SELECT
        c.shift_id,
        c.location_id,
        c.name,
        c.starts_at,
        c.ends_at,
        c.required_employees,
        c.assigned_employees,
        c.missing_employees,
        ARRAY(
            SELECT q.skill
            FROM shifts AS s
            CROSS JOIN unnest(s.required_skills) AS q (skill)
            WHERE s.organization_id = %(organization_id)s
                AND s.shift_id = c.shift_id
                AND NOT EXISTS (
                    SELECT
                    FROM shift_assignments AS a
                    JOIN employees AS e
                        ON e.organization_id = a.organization_id
                        AND e.employee_id = a.employee_id
                    JOIN employee_history AS h
                        ON h.organization_id = a.organization_id
                        AND h.employee_id = a.employee_id
                        AND h.valid_from <= a.starts_at
                        AND h.valid_to > a.starts_at
                        AND h.is_employed
                    WHERE a.organization_id = %(organization_id)s
                        AND a.shift_id = c.shift_id
                        AND a.status IN ('scheduled', 'confirmed', 'completed')
                        AND e.skills @> ARRAY[q.skill]
                )
            ORDER BY
                q.skill
        ) AS missing_skills
    FROM shift_coverage AS c
    WHERE c.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR c.location_id = %(location_id)s)
        AND c.starts_at > %(period_start)s - interval '25 hours'
        AND c.starts_at < %(period_end)s
        AND c.ends_at > %(period_start)s
)
SELECT
    c.shift_id,
    c.location_id,
    c.name,
    c.starts_at,
    c.ends_at,
    c.required_employees,
    c.assigned_employees,
    c.missing_employees,
    c.missing_skills
FROM coverage AS c
WHERE c.missing_employees > 0
    OR c.missing_skills <> '{}'
ORDER BY
    c.starts_at,
    c.location_id,
    c.name;

-- name: set_shift_code<!
-- Set or remove the code of a shift and return the row.
-- Parameters: organization_id uuid, shift_id uuid, shift_code text?
UPDATE shifts AS s
SET shift_code = %(shift_code)s
WHERE s.organization_id = %(organization_id)s
    AND s.shift_id = %(shift_id)s
RETURNING
    s.shift_id,
    s.shift_code,
    s.location_id,
    s.name,
    s.starts_at,
    s.ends_at,
    s.required_employees,
    s.required_skills,
    s.metadata,
    s.created_at,
    s.updated_at;

-- name: assign_employee<!
-- Assign an employee to a shift and return the assignment.
-- Parameters: organization_id uuid, shift_id uuid, employee_id uuid, status text
-- Reactivates a cancelled assignment; no row if the employee is already assigned.
INSERT INTO shift_assignments AS a (organization_id, shift_id, employee_id, status)
VALUES (%(organization_id)s, %(shift_id)s, %(employee_id)s, %(status)s)
ON CONFLICT (organization_id, shift_id, employee_id) DO UPDATE
SET status = excluded.status
WHERE a.status = 'cancelled'
RETURNING
    shift_id,
    employee_id,
    status,
    starts_at,
    ends_at,
    created_at,
    updated_at;

-- name: set_assignment_status<!
-- Set the status of an assignment and return it.
-- Parameters: organization_id uuid, shift_id uuid, employee_id uuid, status text
UPDATE shift_assignments AS a
SET status = %(status)s
WHERE a.organization_id = %(organization_id)s
    AND a.shift_id = %(shift_id)s
    AND a.employee_id = %(employee_id)s
RETURNING
    a.shift_id,
    a.employee_id,
    a.status,
    a.starts_at,
    a.ends_at,
    a.created_at,
    a.updated_at;

-- name: unassign_employee<!
-- Remove an employee from a shift and return the removed assignment.
-- Parameters: organization_id uuid, shift_id uuid, employee_id uuid
UPDATE shift_assignments AS a
SET status = 'cancelled'
WHERE a.organization_id = %(organization_id)s
    AND a.shift_id = %(shift_id)s
    AND a.employee_id = %(employee_id)s
    AND a.status IN ('scheduled', 'confirmed')
RETURNING
    a.shift_id,
    a.employee_id,
    a.status,
    a.starts_at,
    a.ends_at,
    a.created_at,
    a.updated_at;

-- name: check_assignment
-- What status does this assignment have?
-- Parameters: organization_id uuid, shift_id uuid, employee_id uuid
SELECT
    a.status
FROM shift_assignments AS a
WHERE a.organization_id = %(organization_id)s
    AND a.shift_id = %(shift_id)s
    AND a.employee_id = %(employee_id)s;
