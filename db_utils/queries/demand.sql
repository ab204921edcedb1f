-- Demand as it happened: rows, regular series, and frames to train models on.

-- name: record_demand!
-- Which of these demand rows are new, or differ from what was recorded?
-- Parameters: organization_id uuid, demand jsonb, given text[], replace boolean
-- All rows give the same columns, those in given; where a row is there, the others stay as they are.
INSERT INTO demand_history AS d (
    organization_id,
    time,
    product_id,
    location_id,
    quantity,
    revenue,
    metadata
)
SELECT
    %(organization_id)s,
    g.time,
    g.product_id,
    g.location_id,
    g.quantity,
    g.revenue,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(demand)s::jsonb) AS g (
    time timestamptz,
    product_id text,
    location_id uuid,
    quantity numeric,
    revenue numeric,
    metadata jsonb
)
ON CONFLICT (organization_id, product_id, location_id, time) DO UPDATE
SET
    quantity = excluded.quantity,
    revenue = CASE WHEN 'revenue' = ANY (%(given)s) THEN excluded.revenue ELSE d.revenue END,
    metadata = CASE WHEN 'metadata' = ANY (%(given)s) THEN excluded.metadata ELSE d.metadata END
WHERE %(replace)s
    AND (
        d.quantity IS DISTINCT FROM excluded.quantity
        OR ('revenue' = ANY (%(given)s) AND d.revenue IS DISTINCT FROM excluded.revenue)
        OR ('metadata' = ANY (%(given)s) AND d.metadata IS DISTINCT FROM excluded.metadata)
    );

-- name: get_demand_history
-- How much of a product was demanded, row by row?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
SELECT
    d.time,
    d.product_id,
    d.location_id,
    d.quantity,
    d.revenue,
    d.metadata
FROM demand_history AS d
WHERE d.organization_id = %(organization_id)s
    AND d.product_id = %(product_id)s
    AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
    AND d.time >= %(period_start)s
    AND d.time < %(period_end)s
ORDER BY
    d.time,
    d.location_id;

-- name: get_products
-- Which products were demanded, how much and at how many locations (UTC days that begin in the period)?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    d.product_id,
    count(DISTINCT d.location_id) AS location_count,
    min(d.bucket) AS first_bucket,
    max(d.bucket) AS last_bucket,
    sum(d.row_count)::bigint AS row_count,
    sum(d.quantity) AS quantity,
    sum(d.revenue) AS revenue
FROM demand_history_daily AS d
WHERE d.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
    AND d.bucket >= %(period_start)s
    AND d.bucket < %(period_end)s
GROUP BY
    d.product_id
ORDER BY
    d.product_id;

-- name: get_demand_series
-- How much of a product was demanded in each local bucket of time, gaps included?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, bucket_unit text, bucket_width interval,
--     fill_quantity numeric?, period_start timestamptz, period_end timestamptz
-- bucket_unit is where counting starts (day, week or month), bucket_width how far it goes: day and 15 minutes, 30 minutes
-- or 1 hour for steps of elapsed time from local midnight; day and 1 day, week and 1 week, month and 1 month.
WITH places AS (
    SELECT
        l.location_id,
        l.timezone,
        p.period_start,
        p.period_end,
        date_trunc(%(bucket_unit)s, p.period_start, l.timezone) AS first_bucket
    FROM locations AS l
    CROSS JOIN (
        SELECT
            %(period_start)s AS period_start,
            %(period_end)s AS period_end
    ) AS p
    WHERE l.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR l.location_id = %(location_id)s)
        AND EXISTS (
            SELECT
            FROM demand_history AS d
            WHERE d.organization_id = %(organization_id)s
                AND d.product_id = %(product_id)s
                AND d.location_id = l.location_id
                AND d.time >= %(period_start)s
                AND d.time < %(period_end)s
        )
),
buckets AS (
    SELECT
        p.location_id,
        s.bucket,
        e.bucket_end
    FROM places AS p
    CROSS JOIN generate_series(p.first_bucket, p.period_end, %(bucket_width)s::interval, p.timezone) AS s (bucket)
    CROSS JOIN date_add(s.bucket, %(bucket_width)s::interval, p.timezone) AS e (bucket_end)
    WHERE s.bucket >= p.period_start
        AND e.bucket_end <= p.period_end
),
observed AS (
    SELECT
        d.location_id,
        CASE
            WHEN %(bucket_width)s::interval < interval '1 day' THEN
                date_bin(%(bucket_width)s::interval, d.time, p.first_bucket)
            ELSE date_trunc(%(bucket_unit)s, d.time, p.timezone)
        END AS bucket,
        count(*) AS row_count,
        sum(d.quantity) AS quantity,
        sum(d.revenue) AS revenue
    FROM places AS p
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = p.location_id
    WHERE d.product_id = %(product_id)s
        AND d.time >= %(period_start)s
        AND d.time < %(period_end)s
    GROUP BY
        1,
        2
)
SELECT
    b.bucket,
    b.bucket_end,
    b.location_id,
    %(product_id)s::text AS product_id,
    coalesce(o.quantity, %(fill_quantity)s) AS quantity,
    o.revenue,
    coalesce(o.row_count, 0) AS row_count,
    o.bucket IS NOT NULL AS is_observed
FROM buckets AS b
LEFT JOIN observed AS o
    ON o.location_id = b.location_id
    AND o.bucket = b.bucket
ORDER BY
    b.location_id,
    b.bucket;

-- name: get_demand_training_frame
-- What was demanded in each local bucket, and what was known of the world a given time before it began?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, bucket_unit text, bucket_width interval,
--     lead interval, carry interval, factor_names text[]?, period_start timestamptz, period_end timestamptz
-- bucket_unit and bucket_width as in get_demand_series. Of each reading of an external factor the newest version with
-- available_at <= bucket - lead counts. A factor's value in a bucket is the mean of its readings in it; where there is none,
-- its last reading before, not older than carry.
WITH places AS (
    SELECT
        l.location_id,
        l.timezone,
        p.period_start,
        p.period_end,
        date_trunc(%(bucket_unit)s, p.period_start, l.timezone) AS first_bucket
    FROM locations AS l
    CROSS JOIN (
        SELECT
            %(period_start)s AS period_start,
            %(period_end)s AS period_end
    ) AS p
    WHERE l.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR l.location_id = %(location_id)s)
        AND EXISTS (
            SELECT
            FROM demand_history AS d
            WHERE d.organization_id = %(organization_id)s
                AND d.product_id = %(product_id)s
                AND d.location_id = l.location_id
                AND d.time >= %(period_start)s
                AND d.time < %(period_end)s
        )
),
buckets AS MATERIALIZED (
    SELECT
        p.location_id,
        s.bucket,
        e.bucket_end,
        -- Computed here, so that the conditions below compare columns with columns: a tenant's view lets only such
        -- through to the index.
        s.bucket - %(carry)s::interval AS readings_from,
        s.bucket - %(lead)s::interval AS known_by
    FROM places AS p
    CROSS JOIN generate_series(p.first_bucket, p.period_end, %(bucket_width)s::interval, p.timezone) AS s (bucket)
    CROSS JOIN date_add(s.bucket, %(bucket_width)s::interval, p.timezone) AS e (bucket_end)
    WHERE s.bucket >= p.period_start
        AND e.bucket_end <= p.period_end
),
observed AS (
    SELECT
        d.location_id,
        CASE
            WHEN %(bucket_width)s::interval < interval '1 day' THEN
                date_bin(%(bucket_width)s::interval, d.time, p.first_bucket)
            ELSE date_trunc(%(bucket_unit)s, d.time, p.timezone)
        END AS bucket,
        sum(d.quantity) AS quantity,
        sum(d.revenue) AS revenue
    FROM places AS p
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = p.location_id
    WHERE d.product_id = %(product_id)s
        AND d.time >= %(period_start)s
        AND d.time < %(period_end)s
    GROUP BY
        1,
        2
),
known AS (
    SELECT
        b.location_id,
        b.bucket,
        r.name,
        r.time,
        r.value
    FROM buckets AS b
    -- LATERAL with DISTINCT ON is planned by itself, so that each bucket finds its readings by index behind a tenant's
    -- view too: conditions of a join do not get there.
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (f.name, f.time)
            f.name,
            f.time,
            f.value
        FROM external_factors AS f
        WHERE f.organization_id = %(organization_id)s
            AND f.time >= b.readings_from
            AND f.time < b.bucket_end
            AND f.available_at <= b.known_by
            AND (f.location_id = b.location_id OR f.location_id IS NULL)
            AND (%(factor_names)s::text[] IS NULL OR f.name = ANY (%(factor_names)s::text[]))
        ORDER BY
            f.name,
            f.time,
            f.location_id NULLS LAST,
            f.available_at DESC
    ) AS r
),
valued AS (
    SELECT
        k.location_id,
        k.bucket,
        k.name,
        coalesce(
            avg(k.value) FILTER (WHERE k.time >= k.bucket),
            (array_agg(k.value ORDER BY k.time DESC))[1]
        ) AS value
    FROM known AS k
    GROUP BY
        k.location_id,
        k.bucket,
        k.name
),
factors AS (
    SELECT
        v.location_id,
        v.bucket,
        jsonb_object_agg(v.name, v.value) AS factors
    FROM valued AS v
    GROUP BY
        v.location_id,
        v.bucket
)
SELECT
    b.bucket,
    b.bucket_end,
    b.location_id,
    %(product_id)s::text AS product_id,
    o.quantity,
    o.revenue,
    o.bucket IS NOT NULL AS is_observed,
    coalesce(f.factors, '{}') AS factors
FROM buckets AS b
LEFT JOIN observed AS o
    ON o.location_id = b.location_id
    AND o.bucket = b.bucket
LEFT JOIN factors AS f
    ON f.location_id = b.location_id
    AND f.bucket = b.bucket
ORDER BY
    b.location_id,
    b.bucket;
