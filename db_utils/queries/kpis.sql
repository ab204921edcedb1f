-- KPIs after ISO 22400-2, each with what it was computed from.

-- name: get_kpi_summary
-- What are the organization's KPIs?
-- Parameters: organization_id uuid, period_start timestamptz, period_end timestamptz
SELECT
    k.kpi,
    k.value,
    k.unit,
    k.numerator,
    k.numerator_unit,
    k.denominator,
    k.denominator_unit,
    k.coverage_pct,
    k.reason,
    %(period_start)s::timestamptz AS period_start,
    %(period_end)s::timestamptz AS period_end
FROM operational_kpis(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    'organization'
) WITH ORDINALITY AS k (
    location_id,
    resource_id,
    kpi,
    value,
    unit,
    numerator,
    numerator_unit,
    denominator,
    denominator_unit,
    coverage_pct,
    reason,
    position
)
ORDER BY
    k.position;

-- name: get_location_kpis
-- What are the KPIs of each location?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    k.location_id,
    l.name AS location_name,
    k.kpi,
    k.value,
    k.unit,
    k.numerator,
    k.numerator_unit,
    k.denominator,
    k.denominator_unit,
    k.coverage_pct,
    k.reason
FROM operational_kpis(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    'location'
) WITH ORDINALITY AS k (
    location_id,
    resource_id,
    kpi,
    value,
    unit,
    numerator,
    numerator_unit,
    denominator,
    denominator_unit,
    coverage_pct,
    reason,
    position
)
JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = k.location_id
WHERE %(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s
ORDER BY
    l.name,
    k.location_id,
    k.position;

-- name: get_resource_kpis
-- What are the KPIs of each resource?
-- Parameters: organization_id uuid, location_id uuid?, resource_id uuid?, period_start timestamptz,
--     period_end timestamptz
SELECT
    k.location_id,
    k.resource_id,
    r.name AS resource_name,
    k.kpi,
    k.value,
    k.unit,
    k.numerator,
    k.numerator_unit,
    k.denominator,
    k.denominator_unit,
    k.coverage_pct,
    k.reason
FROM operational_kpis(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    'resource'
) WITH ORDINALITY AS k (
    location_id,
    resource_id,
    kpi,
    value,
    unit,
    numerator,
    numerator_unit,
    denominator,
    denominator_unit,
    coverage_pct,
    reason,
    position
)
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = k.resource_id
WHERE (%(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR k.resource_id = %(resource_id)s)
ORDER BY
    r.name,
    k.resource_id,
    k.position;

-- name: get_shift_kpis
-- What are the KPIs of each shift that starts in the period?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    k.shift_id,
    k.location_id,
    k.shift_name,
    k.starts_at,
    k.kpi,
    k.value,
    k.unit,
    k.numerator,
    k.numerator_unit,
    k.denominator,
    k.denominator_unit,
    k.coverage_pct,
    k.reason
FROM shift_kpis(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s
) WITH ORDINALITY AS k (
    shift_id,
    location_id,
    shift_name,
    starts_at,
    kpi,
    value,
    unit,
    numerator,
    numerator_unit,
    denominator,
    denominator_unit,
    coverage_pct,
    reason,
    position
)
WHERE %(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s
ORDER BY
    k.starts_at,
    k.location_id,
    k.shift_name,
    k.shift_id,
    k.position;

-- name: list_local_days
-- Which local days of the organization are over, oldest first?
-- Parameters: organization_id uuid, days integer
SELECT
    d.day,
    local_day_start(d.day, o.timezone) AS starts_at,
    local_day_start(d.day + 1, o.timezone) AS ends_at
FROM organizations AS o
CROSS JOIN LATERAL (
    SELECT local_date(now(), o.timezone) - n.days_ago AS day
    FROM generate_series(1, %(days)s) AS n (days_ago)
) AS d
WHERE o.organization_id = %(organization_id)s
    AND local_day_start(d.day, o.timezone) < local_day_start(d.day + 1, o.timezone)
ORDER BY
    d.day;
