-- Resources: machines, vehicles and equipment, and their current state.

-- name: create_resource<!
-- Create a resource and return its row.
-- Parameters: organization_id uuid, resource_id uuid?, resource_code text?, location_id uuid, name text, resource_type text, status text,
--     rated_capacity_per_hour numeric?, capacity_unit text?, metadata jsonb
INSERT INTO resources (
    organization_id,
    resource_id,
    resource_code,
    location_id,
    name,
    resource_type,
    status,
    rated_capacity_per_hour,
    capacity_unit,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(resource_id)s, gen_random_uuid()),
    %(resource_code)s,
    %(location_id)s,
    %(name)s,
    %(resource_type)s,
    %(status)s,
    %(rated_capacity_per_hour)s,
    %(capacity_unit)s,
    %(metadata)s
)
RETURNING
    resource_id,
    resource_code,
    location_id,
    name,
    resource_type,
    status,
    rated_capacity_per_hour,
    capacity_unit,
    metadata,
    created_at,
    updated_at;

-- name: get_resources
-- Which machines, vehicles and equipment does the organization have?
-- Parameters: organization_id uuid, resource_id uuid?, location_id uuid?, resource_type text?, status text?
SELECT
    r.resource_id,
    r.resource_code,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at
FROM resources AS r
WHERE r.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR r.resource_id = %(resource_id)s)
    AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s)
    AND (%(resource_type)s::text IS NULL OR r.resource_type = %(resource_type)s)
    AND (%(status)s::text IS NULL OR r.status = %(status)s)
ORDER BY
    r.name,
    r.resource_id;

-- name: get_resource_status
-- What is each resource doing now: its status, newest event and newest metrics?
-- Parameters: organization_id uuid, location_id uuid?, resource_id uuid?
SELECT
    s.resource_id,
    s.location_id,
    s.name,
    s.resource_type,
    s.status,
    s.last_event_at,
    s.last_event_type,
    s.last_event_cause,
    s.last_metric_at,
    s.utilization_pct,
    s.efficiency_pct,
    s.downtime_minutes
FROM latest_resource_status(%(organization_id)s) AS s
WHERE (%(location_id)s::uuid IS NULL OR s.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR s.resource_id = %(resource_id)s)
ORDER BY
    s.name,
    s.resource_id;

-- name: set_resource_code<!
-- Set or remove the code of a resource and return the row.
-- Parameters: organization_id uuid, resource_id uuid, resource_code text?
UPDATE resources AS r
SET resource_code = %(resource_code)s
WHERE r.organization_id = %(organization_id)s
    AND r.resource_id = %(resource_id)s
RETURNING
    r.resource_id,
    r.resource_code,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at;

-- name: set_resource_status<!
-- Set the status of a resource and return its row.
-- Parameters: organization_id uuid, resource_id uuid, status text, effective_at timestamptz?
SELECT
    r.resource_id,
    r.resource_code,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at
FROM change_resource(
    %(organization_id)s,
    %(resource_id)s,
    jsonb_build_object('status', %(status)s::text),
    %(effective_at)s::timestamptz
) AS r;

-- name: move_resource<!
-- Move a resource to this location and return its row.
-- Parameters: organization_id uuid, resource_id uuid, location_id uuid, effective_at timestamptz?
SELECT
    r.resource_id,
    r.resource_code,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at
FROM change_resource(
    %(organization_id)s,
    %(resource_id)s,
    jsonb_build_object('location_id', %(location_id)s::uuid),
    %(effective_at)s::timestamptz
) AS r;

-- name: rerate_resource<!
-- Set the rated capacity of a resource and return its row.
-- Parameters: organization_id uuid, resource_id uuid, rated_capacity_per_hour numeric?, capacity_unit text?,
--     effective_at timestamptz?
SELECT
    r.resource_id,
    r.resource_code,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at
FROM change_resource(
    %(organization_id)s,
    %(resource_id)s,
    jsonb_build_object('rated_capacity_per_hour', %(rated_capacity_per_hour)s::numeric)
        || jsonb_strip_nulls(jsonb_build_object('capacity_unit', %(capacity_unit)s::text)),
    %(effective_at)s::timestamptz
) AS r;

-- name: correct_resource_history<!
-- Correct the history of a resource in a past period and return it.
-- Parameters: organization_id uuid, resource_id uuid, changes jsonb, period_start timestamptz?, period_end timestamptz
SELECT
    r.resource_id
FROM change_resource(
    %(organization_id)s,
    %(resource_id)s,
    %(changes)s::jsonb,
    coalesce(%(period_start)s::timestamptz, '-infinity'),
    %(period_end)s
) AS r;

-- name: get_resource_history
-- Which location, rated capacity and service status did a resource have, and when?
-- Parameters: organization_id uuid, resource_id uuid
SELECT
    nullif(h.valid_from, '-infinity') AS valid_from,
    nullif(h.valid_to, 'infinity') AS valid_to,
    h.location_id,
    h.rated_capacity_per_hour,
    h.capacity_unit,
    h.is_in_service,
    h.recorded_at
FROM resource_history AS h
WHERE h.organization_id = %(organization_id)s
    AND h.resource_id = %(resource_id)s
ORDER BY
    h.valid_from;
