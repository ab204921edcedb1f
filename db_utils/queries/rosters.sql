-- Inputs of rosters and production plans: contracts, unavailability, and the products that resources can make.

-- name: set_employee_contract<!
-- Set an employee's contract from a given day and return its row.
-- Parameters: organization_id uuid, employee_id uuid, valid_from date, hours_per_week numeric, max_hours_per_week numeric,
--     min_rest_hours numeric, max_consecutive_days integer, may_work_at uuid[]
INSERT INTO employee_contracts (
    organization_id,
    employee_id,
    valid_from,
    hours_per_week,
    max_hours_per_week,
    min_rest_hours,
    max_consecutive_days,
    may_work_at
)
VALUES (
    %(organization_id)s,
    %(employee_id)s,
    %(valid_from)s,
    %(hours_per_week)s,
    %(max_hours_per_week)s,
    %(min_rest_hours)s,
    %(max_consecutive_days)s,
    %(may_work_at)s
)
ON CONFLICT (organization_id, employee_id, valid_from) DO UPDATE
SET
    hours_per_week = excluded.hours_per_week,
    max_hours_per_week = excluded.max_hours_per_week,
    min_rest_hours = excluded.min_rest_hours,
    max_consecutive_days = excluded.max_consecutive_days,
    may_work_at = excluded.may_work_at
RETURNING
    employee_id,
    valid_from,
    hours_per_week,
    max_hours_per_week,
    min_rest_hours,
    max_consecutive_days,
    may_work_at,
    created_at,
    updated_at;

-- name: check_locations
-- Which of these locations exist?
-- Parameters: organization_id uuid, location_ids uuid[]
SELECT
    l.location_id
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND l.location_id = ANY (%(location_ids)s)
ORDER BY
    l.location_id;

-- name: get_employee_contracts
-- How much and where may employees work, and since when?
-- Parameters: organization_id uuid, employee_id uuid?
SELECT
    c.employee_id,
    c.valid_from,
    lead(c.valid_from) OVER (PARTITION BY c.employee_id ORDER BY c.valid_from) AS valid_to,
    c.hours_per_week,
    c.max_hours_per_week,
    c.min_rest_hours,
    c.max_consecutive_days,
    c.may_work_at,
    c.created_at,
    c.updated_at
FROM employee_contracts AS c
WHERE c.organization_id = %(organization_id)s
    AND (%(employee_id)s::uuid IS NULL OR c.employee_id = %(employee_id)s)
ORDER BY
    c.employee_id,
    c.valid_from;

-- name: record_unavailability<!
-- Record when an employee cannot work, or would rather not, and return the row.
-- Parameters: organization_id uuid, employee_id uuid, starts_at timestamptz, ends_at timestamptz, reason text, is_hard boolean,
--     weight numeric, note text?
INSERT INTO employee_unavailability (
    organization_id,
    employee_id,
    starts_at,
    ends_at,
    reason,
    is_hard,
    weight,
    note
)
VALUES (
    %(organization_id)s,
    %(employee_id)s,
    %(starts_at)s,
    %(ends_at)s,
    %(reason)s,
    %(is_hard)s,
    %(weight)s,
    %(note)s
)
ON CONFLICT (organization_id, employee_id, starts_at, reason) DO UPDATE
SET
    ends_at = excluded.ends_at,
    is_hard = excluded.is_hard,
    weight = excluded.weight,
    note = excluded.note
RETURNING
    employee_id,
    starts_at,
    ends_at,
    reason,
    is_hard,
    weight,
    note,
    created_at,
    updated_at;

-- name: remove_unavailability<!
-- Remove a time of unavailability and return its row.
-- Parameters: organization_id uuid, employee_id uuid, starts_at timestamptz, reason text
DELETE FROM employee_unavailability AS u
WHERE u.organization_id = %(organization_id)s
    AND u.employee_id = %(employee_id)s
    AND u.starts_at = %(starts_at)s
    AND u.reason = %(reason)s
RETURNING
    u.employee_id,
    u.starts_at,
    u.ends_at,
    u.reason,
    u.is_hard,
    u.weight,
    u.note,
    u.created_at,
    u.updated_at;

-- name: get_unavailability
-- Who cannot work, or would rather not, in the period?
-- Parameters: organization_id uuid, employee_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    u.employee_id,
    u.starts_at,
    u.ends_at,
    u.reason,
    u.is_hard,
    u.weight,
    u.note,
    u.created_at,
    u.updated_at
FROM employee_unavailability AS u
WHERE u.organization_id = %(organization_id)s
    AND (%(employee_id)s::uuid IS NULL OR u.employee_id = %(employee_id)s)
    AND u.starts_at < %(period_end)s
    AND u.ends_at > %(period_start)s
ORDER BY
    u.starts_at,
    u.employee_id,
    u.reason;

-- name: set_resource_capability<!
-- Record that a resource can make a product, and how fast, and return the row.
-- Parameters: organization_id uuid, resource_id uuid, product_id text, rate_per_hour numeric?, setup_minutes numeric
INSERT INTO resource_capabilities (
    organization_id,
    resource_id,
    product_id,
    rate_per_hour,
    setup_minutes
)
VALUES (
    %(organization_id)s,
    %(resource_id)s,
    %(product_id)s,
    %(rate_per_hour)s,
    %(setup_minutes)s
)
ON CONFLICT (organization_id, resource_id, product_id) DO UPDATE
SET
    rate_per_hour = excluded.rate_per_hour,
    setup_minutes = excluded.setup_minutes
RETURNING
    resource_id,
    product_id,
    rate_per_hour,
    setup_minutes,
    created_at,
    updated_at;

-- name: remove_resource_capability<!
-- Remove a capability of a resource and return its row.
-- Parameters: organization_id uuid, resource_id uuid, product_id text
DELETE FROM resource_capabilities AS c
WHERE c.organization_id = %(organization_id)s
    AND c.resource_id = %(resource_id)s
    AND c.product_id = %(product_id)s
RETURNING
    c.resource_id,
    c.product_id,
    c.rate_per_hour,
    c.setup_minutes,
    c.created_at,
    c.updated_at;

-- name: get_resource_capabilities
-- Which resource can make which product, and how fast?
-- Parameters: organization_id uuid, resource_id uuid?, product_id text?
SELECT
    c.resource_id,
    c.product_id,
    c.rate_per_hour,
    c.setup_minutes,
    c.created_at,
    c.updated_at
FROM resource_capabilities AS c
WHERE c.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR c.resource_id = %(resource_id)s)
    AND (%(product_id)s::text IS NULL OR c.product_id = %(product_id)s)
ORDER BY
    c.resource_id,
    c.product_id;
