-- KPIs according to ISO 22400-2, each with its inputs.

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
FROM organizations AS o
CROSS JOIN LATERAL operational_kpis(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    'organization'
) WITH ORDINALITY AS k
WHERE o.organization_id = %(organization_id)s
ORDER BY
    k.ordinality;

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
) WITH ORDINALITY AS k
JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = k.location_id
WHERE %(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s
ORDER BY
    l.name,
    k.location_id,
    k.ordinality;

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
) WITH ORDINALITY AS k
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = k.resource_id
WHERE (%(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR k.resource_id = %(resource_id)s)
ORDER BY
    r.name,
    k.resource_id,
    k.ordinality;

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
) WITH ORDINALITY AS k
WHERE %(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s
ORDER BY
    k.starts_at,
    k.location_id,
    k.shift_name,
    k.shift_id,
    k.ordinality;

-- name: get_kpi_trend
-- How did the KPIs develop, by local bucket?
-- Parameters: organization_id uuid, grouping_level text, bucket text, location_id uuid?, resource_id uuid?,
--     days integer?, period_start timestamptz?, period_end timestamptz?
-- With days: that many past local days; otherwise from period_start to period_end or now.
WITH clocks AS (
    SELECT o.timezone
    FROM organizations AS o
    WHERE o.organization_id = %(organization_id)s
        AND %(grouping_level)s = 'organization'
    UNION
    SELECT l.timezone
    FROM locations AS l
    WHERE l.organization_id = %(organization_id)s
        AND %(grouping_level)s <> 'organization'
        AND (%(location_id)s::uuid IS NULL OR l.location_id = %(location_id)s)
),
buckets AS (
    SELECT
        c.timezone,
        array_agg(b.bucket_start ORDER BY b.bucket_start) AS starts,
        array_agg(b.bucket_end ORDER BY b.bucket_start) AS ends,
        array_agg(b.local_start ORDER BY b.bucket_start) AS local_starts
    FROM clocks AS c
    CROSS JOIN LATERAL (SELECT local_date(now(), c.timezone) AS today) AS d
    CROSS JOIN LATERAL local_bucket_edges(
        %(bucket)s,
        coalesce(%(period_start)s::timestamptz, local_day_start(d.today - %(days)s::integer, c.timezone)),
        CASE
            WHEN %(period_start)s::timestamptz IS NULL THEN local_day_start(d.today, c.timezone)
            ELSE coalesce(%(period_end)s::timestamptz, now())
        END,
        c.timezone
    ) AS b
    WHERE b.bucket_start < now()
    GROUP BY
        c.timezone
)
SELECT
    b.local_starts[k.part]::date AS day,
    b.local_starts[k.part] AS local_start,
    k.location_id,
    l.name AS location_name,
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
    k.reason,
    b.starts[k.part] AS period_start,
    b.ends[k.part] AS period_end
FROM buckets AS b
CROSS JOIN LATERAL kpis_by_part(
    %(organization_id)s,
    b.starts,
    b.ends,
    %(grouping_level)s
) WITH ORDINALITY AS k
LEFT JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = k.location_id
LEFT JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = k.resource_id
WHERE %(grouping_level)s = 'organization'
    OR (
        l.timezone = b.timezone
        AND (%(location_id)s::uuid IS NULL OR k.location_id = %(location_id)s)
        AND (%(resource_id)s::uuid IS NULL OR k.resource_id = %(resource_id)s)
    )
ORDER BY
    period_start,
    l.name,
    k.location_id,
    r.name,
    k.resource_id,
    k.ordinality;

-- name: list_local_days
-- Which local days of the organization are over, oldest first?
-- Parameters: organization_id uuid, days integer
-- For ad hoc statements; the trend computes its buckets itself.
SELECT
    b.local_start::date AS day,
    b.bucket_start AS starts_at,
    b.bucket_end AS ends_at
FROM organizations AS o
CROSS JOIN LATERAL (SELECT local_date(now(), o.timezone) AS today) AS d
CROSS JOIN LATERAL local_bucket_edges(
    'day',
    local_day_start(d.today - %(days)s, o.timezone),
    local_day_start(d.today, o.timezone),
    o.timezone
) AS b
WHERE o.organization_id = %(organization_id)s
ORDER BY
    b.bucket_start;
