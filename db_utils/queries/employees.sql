-- Employees and what they can do.

-- name: create_employee<!
-- Which employee was just created?
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
-- Who works here, and who has this skill?
-- Parameters: organization_id uuid, location_id uuid?, skill text?, include_inactive boolean
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
FROM employees AS e
WHERE e.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND (%(skill)s::text IS NULL OR e.skills @> ARRAY[%(skill)s::text])
    AND (%(include_inactive)s OR e.is_active)
ORDER BY
    e.full_name,
    e.employee_id;

-- name: get_skills
-- Which skills are there, and how many active employees have each?
-- Parameters: organization_id uuid, location_id uuid?
SELECT
    s.skill,
    count(DISTINCT e.employee_id) AS employee_count
FROM employees AS e
CROSS JOIN unnest(e.skills) AS s (skill)
WHERE e.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR e.location_id = %(location_id)s)
    AND e.is_active
GROUP BY
    s.skill
ORDER BY
    s.skill;

-- name: set_employee_skills<!
-- Which employee now has exactly these skills?
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
