-- External factors: weather, holidays, markets, each with the time at which it was known.

-- name: record_external_factors!
-- Record readings and return how many are new.
-- Parameters: organization_id uuid, factors jsonb
INSERT INTO external_factors (
    organization_id,
    time,
    location_id,
    factor_type,
    name,
    value,
    unit,
    available_at,
    metadata
)
SELECT
    %(organization_id)s,
    g.time,
    g.location_id,
    g.factor_type,
    g.name,
    g.value,
    g.unit,
    g.available_at,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(factors)s::jsonb) AS g (
    time timestamptz,
    location_id uuid,
    factor_type text,
    name text,
    value numeric,
    unit text,
    available_at timestamptz,
    metadata jsonb
)
ORDER BY
    g.name,
    g.location_id,
    g.time,
    g.available_at
ON CONFLICT (organization_id, name, location_id, time, available_at) DO NOTHING;

-- name: check_external_factors
-- Which of these readings were recorded before with other values?
-- Parameters: organization_id uuid, factors jsonb
SELECT
    f.name,
    f.location_id,
    f.time,
    f.available_at
FROM jsonb_to_recordset(%(factors)s::jsonb) AS g (
    time timestamptz,
    location_id uuid,
    factor_type text,
    name text,
    value numeric,
    unit text,
    available_at timestamptz,
    metadata jsonb
)
JOIN external_factors AS f
    ON f.time = g.time
    AND f.name = g.name
    AND f.available_at = g.available_at
    AND f.location_id IS NOT DISTINCT FROM g.location_id
WHERE f.organization_id = %(organization_id)s
    AND (f.factor_type, f.value, f.unit, f.metadata) IS DISTINCT FROM (
        g.factor_type,
        g.value,
        g.unit,
        coalesce(g.metadata, '{}')
    )
ORDER BY
    f.name,
    f.location_id,
    f.time,
    f.available_at
LIMIT 3;

-- name: get_external_factors
-- Which external readings were known at a given time?
-- Parameters: organization_id uuid, as_of timestamptz, factor_type text?, name text?, location_id uuid?,
--     period_start timestamptz, period_end timestamptz
-- With location_id: the readings of that location, and those of the whole organization.
SELECT DISTINCT ON (f.time, f.name, f.location_id)
    f.time,
    f.location_id,
    f.factor_type,
    f.name,
    f.value,
    f.unit,
    f.available_at,
    f.recorded_at,
    f.metadata
FROM external_factors AS f
WHERE f.organization_id = %(organization_id)s
    AND f.available_at <= %(as_of)s
    AND (%(factor_type)s::text IS NULL OR f.factor_type = %(factor_type)s)
    AND (%(name)s::text IS NULL OR f.name = %(name)s)
    AND (%(location_id)s::uuid IS NULL OR f.location_id = %(location_id)s OR f.location_id IS NULL)
    AND f.time >= %(period_start)s
    AND f.time < %(period_end)s
ORDER BY
    f.time,
    f.name,
    f.location_id,
    f.available_at DESC;
