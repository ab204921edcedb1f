-- Resources: machines, vehicles and equipment, and what they do now.

-- name: create_resource<!
-- Which resource was just created?
-- Parameters: organization_id uuid, resource_id uuid?, location_id uuid, name text, resource_type text, status text,
--     rated_capacity_per_hour numeric?, capacity_unit text?, metadata jsonb
INSERT INTO resources (
    organization_id,
    resource_id,
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
-- Parameters: organization_id uuid, location_id uuid?, resource_type text?, status text?
SELECT
    r.resource_id,
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
    AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s)
    AND (%(resource_type)s::text IS NULL OR r.resource_type = %(resource_type)s)
    AND (%(status)s::text IS NULL OR r.status = %(status)s)
ORDER BY
    r.name,
    r.resource_id;

-- name: get_resource_status
-- What does each resource do now: its status, its newest event and its newest metrics?
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

-- name: set_resource_status<!
-- Which resource now has this status?
-- Parameters: organization_id uuid, resource_id uuid, status text
UPDATE resources AS r
SET status = %(status)s
WHERE r.organization_id = %(organization_id)s
    AND r.resource_id = %(resource_id)s
RETURNING
    r.resource_id,
    r.location_id,
    r.name,
    r.resource_type,
    r.status,
    r.rated_capacity_per_hour,
    r.capacity_unit,
    r.metadata,
    r.created_at,
    r.updated_at;
