-- Employees and what they can do.

-- name: create_employee<!
-- Create an employee and return the row.
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid, employee_code text, full_name text, role text,
--     skills text[], is_active boolean, hired_on_date date?, metadata jsonb
INSERT INTO employees (
    organization_id,
    employee_id,
    location_id,
    employee_code,
    full_name,
    role,
    skills,
    is_active,
    hired_on_date,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(employee_id)s, gen_random_uuid()),
    %(location_id)s,
    %(employee_code)s,
    %(full_name)s,
    %(role)s,
    %(skills)s,
    %(is_active)s,
    %(hired_on_date)s,
    %(metadata)s
)
RETURNING
    employee_id,
    location_id,
    employee_code,
    full_name,
    role,
    skills,
    is_active,
    hired_on_date,
    metadata,
    created_at,
    updated_at;

-- name: get_employees
-- Which employees does the organization have, and who has this skill?
-- Parameters: organization_id uuid, employee_id uuid?, location_id uuid?, skill text?, include_inactive boolean
-- Active means employed now or in the future: employees.is_active is not updated when a scheduled end has passed.
SELECT
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    EXISTS (
        SELECT
        FROM employee_history AS h
        WHERE h.organization_id = %(organization_id)s
            AND h.employee_id = e.employee_id
            AND h.is_employed
            AND h.valid_to > now()
    ) AS is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at
FROM employees AS e
WHERE e.organization_id = %(organization_id)s
    AND (%(employee_id)s::uuid IS NULL OR e.employee_id = %(employee_id)s)
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND (%(skill)s::text IS NULL OR e.skills @> ARRAY[%(skill)s::text])
    AND (
        %(include_inactive)s
        OR EXISTS (
            SELECT
            FROM employee_history AS h
            WHERE h.organization_id = %(organization_id)s
                AND h.employee_id = e.employee_id
                AND h.is_employed
                AND h.valid_to > now()
        )
    )
ORDER BY
    e.full_name,
    e.employee_id;

-- name: get_skills
-- Which skills exist, and how many active employees have each?
-- Parameters: organization_id uuid, location_id uuid?
SELECT
    s.skill,
    count(DISTINCT e.employee_id) AS employee_count
FROM employees AS e
CROSS JOIN unnest(e.skills) AS s (skill)
WHERE e.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND EXISTS (
        SELECT
        FROM employee_history AS h
        WHERE h.organization_id = %(organization_id)s
            AND h.employee_id = e.employee_id
            AND h.is_employed
            AND h.valid_to > now()
    )
GROUP BY
    s.skill
ORDER BY
    s.skill;

-- name: set_employee_code<!
-- Change an employee's code and return the row.
-- Parameters: organization_id uuid, employee_id uuid, employee_code text
UPDATE employees AS e
SET employee_code = %(employee_code)s
WHERE e.organization_id = %(organization_id)s
    AND e.employee_id = %(employee_id)s
RETURNING
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    e.is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at;

-- name: set_employee_skills<!
-- Replace the skills of an employee and return the row.
-- Parameters: organization_id uuid, employee_id uuid, skills text[]
UPDATE employees AS e
SET skills = %(skills)s
WHERE e.organization_id = %(organization_id)s
    AND e.employee_id = %(employee_id)s
RETURNING
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    e.is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at;

-- name: move_employee<!
-- Move an employee to this location and return the row.
-- Parameters: organization_id uuid, employee_id uuid, location_id uuid, effective_at timestamptz?
SELECT
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    e.is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at
FROM change_employee(
    %(organization_id)s,
    %(employee_id)s,
    jsonb_build_object('location_id', %(location_id)s::uuid),
    %(effective_at)s::timestamptz
) AS e;

-- name: find_local_day_start
-- When does a day, or the day this many days later, begin at an employee's location?
-- Parameters: organization_id uuid, employee_id uuid, day date, days_after integer
-- A separate query, because on Citus a row cannot be changed from where it is read.
SELECT local_day_start(%(day)s::date + %(days_after)s, l.timezone) AS day_start
FROM employees AS e
JOIN locations AS l
    ON l.organization_id = e.organization_id
    AND l.location_id = e.location_id
WHERE e.organization_id = %(organization_id)s
    AND e.employee_id = %(employee_id)s;

-- name: end_employment<!
-- End the employment of an employee and return the row.
-- Parameters: organization_id uuid, employee_id uuid, effective_at timestamptz?
SELECT
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    e.is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at
FROM change_employee(
    %(organization_id)s,
    %(employee_id)s,
    '{"is_employed": false}',
    %(effective_at)s::timestamptz
) AS e;

-- name: resume_employment<!
-- Resume the employment of an employee and return the row.
-- Parameters: organization_id uuid, employee_id uuid, effective_at timestamptz?
SELECT
    e.employee_id,
    e.location_id,
    e.employee_code,
    e.full_name,
    e.role,
    e.skills,
    e.is_active,
    e.hired_on_date,
    e.metadata,
    e.created_at,
    e.updated_at
FROM change_employee(
    %(organization_id)s,
    %(employee_id)s,
    '{"is_employed": true}',
    %(effective_at)s::timestamptz
) AS e;

-- name: correct_employee_history<!
-- Correct the history of an employee in a past period and return it.
-- Parameters: organization_id uuid, employee_id uuid, changes jsonb, period_start timestamptz?, period_end timestamptz
SELECT
    e.employee_id
FROM change_employee(
    %(organization_id)s,
    %(employee_id)s,
    %(changes)s::jsonb,
    coalesce(%(period_start)s::timestamptz, '-infinity'),
    %(period_end)s
) AS e;

-- name: get_employee_history
-- Which location did an employee belong to, and when were they employed?
-- Parameters: organization_id uuid, employee_id uuid
SELECT
    nullif(h.valid_from, '-infinity') AS valid_from,
    nullif(h.valid_to, 'infinity') AS valid_to,
    h.location_id,
    h.is_employed,
    h.recorded_at
FROM employee_history AS h
WHERE h.organization_id = %(organization_id)s
    AND h.employee_id = %(employee_id)s
ORDER BY
    h.valid_from;
