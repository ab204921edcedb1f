-- Organizations (the tenants) and their locations.

-- name: check_organization
-- Does this organization exist?
-- Parameters: organization_id uuid
SELECT
    o.organization_id
FROM organizations AS o
WHERE o.organization_id = %(organization_id)s;

-- name: create_organization<!
-- Create an organization and return its row.
-- Parameters: organization_id uuid?, name text, industry text, timezone text, settings jsonb
INSERT INTO organizations (organization_id, name, industry, timezone, settings)
VALUES (
    coalesce(%(organization_id)s, gen_random_uuid()),
    %(name)s,
    %(industry)s,
    %(timezone)s,
    %(settings)s
)
RETURNING
    organization_id,
    name,
    industry,
    timezone,
    settings,
    created_at,
    updated_at;

-- name: find_organizations_named
-- Which organizations have these names?
-- Parameters: names text[]
SELECT
    o.organization_id,
    o.name,
    o.industry,
    o.timezone,
    o.settings,
    o.created_at,
    o.updated_at
FROM organizations AS o
WHERE o.name = ANY (%(names)s)
ORDER BY
    o.created_at,
    o.organization_id;

-- name: lock_organization_name
-- Is no other session creating an organization of this name?
-- Parameters: name text
-- Waits for the lock, and holds it until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('organization ' || %(name)s, 0));

-- name: get_organizations
-- Which organizations exist?
-- Parameters: industry text?
SELECT
    o.organization_id,
    o.name,
    o.industry,
    o.timezone,
    o.settings,
    o.created_at,
    o.updated_at
FROM organizations AS o
WHERE %(industry)s::text IS NULL OR o.industry = %(industry)s
ORDER BY
    o.name,
    o.organization_id;

-- name: get_organization^
-- Which organization has this id?
-- Parameters: organization_id uuid
SELECT
    o.organization_id,
    o.name,
    o.industry,
    o.timezone,
    o.settings,
    o.created_at,
    o.updated_at
FROM organizations AS o
WHERE o.organization_id = %(organization_id)s;

-- name: create_location<!
-- Create a location and return its row.
-- Parameters: organization_id uuid, location_id uuid?, location_code text?, name text, location_type text, timezone text, address text?,
--     latitude_degrees numeric?, longitude_degrees numeric?, metadata jsonb
INSERT INTO locations (
    organization_id,
    location_id,
    location_code,
    name,
    location_type,
    timezone,
    address,
    latitude_degrees,
    longitude_degrees,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(location_id)s, gen_random_uuid()),
    %(location_code)s,
    %(name)s,
    %(location_type)s,
    %(timezone)s,
    %(address)s,
    %(latitude_degrees)s,
    %(longitude_degrees)s,
    %(metadata)s
)
RETURNING
    location_id,
    location_code,
    name,
    location_type,
    timezone,
    address,
    latitude_degrees,
    longitude_degrees,
    metadata,
    created_at,
    updated_at;

-- name: get_locations
-- Which locations does the organization have?
-- Parameters: organization_id uuid, location_id uuid?, location_type text?
SELECT
    l.location_id,
    l.location_code,
    l.name,
    l.location_type,
    l.timezone,
    l.address,
    l.latitude_degrees,
    l.longitude_degrees,
    l.metadata,
    l.created_at,
    l.updated_at
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR l.location_id = %(location_id)s)
    AND (%(location_type)s::text IS NULL OR l.location_type = %(location_type)s)
ORDER BY
    l.name,
    l.location_id;

-- name: set_location_code<!
-- Set or remove the code of a location and return the row.
-- Parameters: organization_id uuid, location_id uuid, location_code text?
UPDATE locations AS l
SET location_code = %(location_code)s
WHERE l.organization_id = %(organization_id)s
    AND l.location_id = %(location_id)s
RETURNING
    l.location_id,
    l.location_code,
    l.name,
    l.location_type,
    l.timezone,
    l.address,
    l.latitude_degrees,
    l.longitude_degrees,
    l.metadata,
    l.created_at,
    l.updated_at;

-- name: set_location_timezone<!
-- Set a location's time zone, from now on or from a given time, and return its row.
-- Parameters: organization_id uuid, location_id uuid, timezone text, effective_at timestamptz?
SELECT
    l.location_id,
    l.location_code,
    l.name,
    l.location_type,
    l.timezone,
    l.address,
    l.latitude_degrees,
    l.longitude_degrees,
    l.metadata,
    l.created_at,
    l.updated_at
FROM change_location(
    %(organization_id)s,
    %(location_id)s,
    jsonb_build_object('timezone', %(timezone)s::text),
    %(effective_at)s::timestamptz
) AS l;

-- name: correct_location_history<!
-- Correct the time zone of a location in a past period and return its history.
-- Parameters: organization_id uuid, location_id uuid, changes jsonb, period_start timestamptz?, period_end timestamptz
SELECT
    l.location_id
FROM change_location(
    %(organization_id)s,
    %(location_id)s,
    %(changes)s::jsonb,
    coalesce(%(period_start)s::timestamptz, '-infinity'),
    %(period_end)s
) AS l;

-- name: get_location_history
-- Which time zone did a location have, and when?
-- Parameters: organization_id uuid, location_id uuid
SELECT
    nullif(h.valid_from, '-infinity') AS valid_from,
    nullif(h.valid_to, 'infinity') AS valid_to,
    h.timezone,
    h.recorded_at
FROM location_history AS h
WHERE h.organization_id = %(organization_id)s
    AND h.location_id = %(location_id)s
ORDER BY
    h.valid_from;
