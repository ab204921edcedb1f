-- Demand as it happened: rows, regular series, and frames to train models on.

-- name: record_demand!
-- Record demand and return the rows that are new or differ from what was recorded.
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

-- name: upsert_product<!
-- Set the name and unit of a product and return its row.
-- Parameters: organization_id uuid, product_id text, name text?, unit text?
INSERT INTO products AS p (
    organization_id,
    product_id,
    name,
    unit
)
VALUES (
    %(organization_id)s,
    %(product_id)s,
    %(name)s,
    %(unit)s
)
ON CONFLICT (organization_id, product_id) DO UPDATE
SET
    name = coalesce(excluded.name, p.name),
    unit = coalesce(excluded.unit, p.unit)
RETURNING
    product_id,
    name,
    unit,
    created_at,
    updated_at;

-- name: get_products
-- Which products were demanded, how much and at how many locations?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
WITH sums AS (
    SELECT
        d.product_id,
        count(DISTINCT d.location_id) AS location_count,
        min(d.time) AS first_bucket,
        max(d.time) AS last_bucket,
        count(*) AS row_count,
        sum(d.quantity) AS quantity,
        -- Of rows of which one is not known, the sum is not known either.
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM demand_history AS d
    WHERE d.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
        AND d.time >= %(period_start)s
        AND d.time < %(period_end)s
    GROUP BY
        d.product_id
)
SELECT
    s.product_id,
    p.name,
    p.unit,
    s.location_count,
    s.first_bucket,
    s.last_bucket,
    s.row_count,
    s.quantity,
    s.revenue
FROM sums AS s
LEFT JOIN products AS p
    ON p.organization_id = %(organization_id)s
    AND p.product_id = s.product_id
ORDER BY
    s.product_id;

-- name: get_demand_series
-- How much of a product was demanded in each local bucket of time, gaps included?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, bucket text, fill_quantity numeric?,
--     period_start timestamptz, period_end timestamptz
-- bucket is quarter_hour, half_hour, hour, day, week or month, by the clock of the location (see location_buckets()).
WITH places AS (
    SELECT
        l.location_id
    FROM locations AS l
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
        b.bucket_start,
        b.bucket_end
    FROM places AS p
    CROSS JOIN LATERAL location_buckets(
        %(organization_id)s,
        p.location_id,
        %(bucket)s,
        %(period_start)s,
        %(period_end)s
    ) AS b
),
-- A bucket ends where the next one begins: so a row's bucket is found among the starts.
edges AS (
    SELECT
        b.location_id,
        array_agg(b.bucket_start ORDER BY b.bucket_start) AS starts,
        min(b.bucket_start) AS first_start,
        max(b.bucket_end) AS last_end
    FROM buckets AS b
    GROUP BY
        b.location_id
),
observed AS (
    SELECT
        d.location_id,
        e.starts[width_bucket(d.time, e.starts)] AS bucket,
        count(*) AS row_count,
        sum(d.quantity) AS quantity,
        -- Of rows of which one is not known, the sum is not known either.
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM edges AS e
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = e.location_id
    WHERE d.product_id = %(product_id)s
        AND d.time >= %(period_start)s
        AND d.time < %(period_end)s
        AND d.time >= e.first_start
        AND d.time < e.last_end
    GROUP BY
        1,
        2
)
SELECT
    b.bucket_start AS bucket,
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
    AND o.bucket = b.bucket_start
ORDER BY
    b.location_id,
    b.bucket_start;

-- name: get_demand_training_frame
-- What was demanded in each local bucket, and what was known of the world a given time before it began?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, bucket text, lead interval, carry interval,
--     factor_names text[]?, period_start timestamptz, period_end timestamptz
-- bucket as in get_demand_series. Of each reading of an external factor the newest version with available_at <= bucket - lead
-- counts. A factor's value in a bucket is the mean of its readings in it; where there is none, its last reading before, not
-- older than carry. A factor whose readings have two units is left out, and left_out says so.
WITH places AS (
    SELECT
        l.location_id
    FROM locations AS l
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
        b.bucket_start AS bucket,
        b.bucket_end,
        -- Computed here, so that the conditions below compare columns with columns: a tenant's view lets only such
        -- through to the index.
        b.bucket_start - %(carry)s::interval AS readings_from,
        b.bucket_start - %(lead)s::interval AS known_by
    FROM places AS p
    CROSS JOIN LATERAL location_buckets(
        %(organization_id)s,
        p.location_id,
        %(bucket)s,
        %(period_start)s,
        %(period_end)s
    ) AS b
),
edges AS (
    SELECT
        b.location_id,
        array_agg(b.bucket ORDER BY b.bucket) AS starts,
        min(b.bucket) AS first_start,
        max(b.bucket_end) AS last_end
    FROM buckets AS b
    GROUP BY
        b.location_id
),
observed AS (
    SELECT
        d.location_id,
        e.starts[width_bucket(d.time, e.starts)] AS bucket,
        sum(d.quantity) AS quantity,
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM edges AS e
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = e.location_id
    WHERE d.product_id = %(product_id)s
        AND d.time >= %(period_start)s
        AND d.time < %(period_end)s
        AND d.time >= e.first_start
        AND d.time < e.last_end
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
        r.value,
        r.unit
    FROM buckets AS b
    -- LATERAL with DISTINCT ON is planned by itself, so that each bucket finds its readings by index behind a tenant's
    -- view too: conditions of a join do not get there.
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (f.name, f.time)
            f.name,
            f.time,
            f.value,
            f.unit
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
        ) AS value,
        min(k.unit) AS unit,
        max(k.unit) AS other_unit
    FROM known AS k
    GROUP BY
        k.location_id,
        k.bucket,
        k.name
),
mixed AS (
    SELECT
        v.name,
        format('readings in %%s and %%s', min(v.unit), max(v.other_unit)) AS reason
    FROM valued AS v
    GROUP BY
        v.name
    HAVING min(v.unit) <> max(v.other_unit)
),
factors AS (
    SELECT
        v.location_id,
        v.bucket,
        jsonb_object_agg(v.name, CASE WHEN m.name IS NULL THEN v.value END) AS factors
    FROM valued AS v
    LEFT JOIN mixed AS m ON m.name = v.name
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
    coalesce(f.factors, '{}') AS factors,
    coalesce((SELECT jsonb_object_agg(m.name, m.reason) FROM mixed AS m), '{}') AS left_out
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
