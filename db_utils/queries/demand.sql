-- Actual demand: rows, regular series, and frames for training models.

-- name: record_demand!
-- Record demand and return how many rows are new or changed.
-- Parameters: organization_id uuid, demand jsonb, given text[], replace boolean
-- All rows supply the same columns, those in given; for existing rows the other columns are kept. A correction is known
-- from now on, whatever recorded_at says.
INSERT INTO demand_history AS d (
    organization_id,
    time,
    product_id,
    location_id,
    quantity,
    revenue,
    metadata,
    recorded_at
)
SELECT
    %(organization_id)s,
    g.time,
    g.product_id,
    g.location_id,
    g.quantity,
    g.revenue,
    coalesce(g.metadata, '{}'),
    CASE WHEN 'recorded_at' = ANY (%(given)s) THEN g.recorded_at ELSE now() END
FROM jsonb_to_recordset(%(demand)s::jsonb) AS g (
    time timestamptz,
    product_id text,
    location_id uuid,
    quantity numeric,
    revenue numeric,
    metadata jsonb,
    recorded_at timestamptz
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
-- What was the demand for a product, row by row?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, period_start timestamptz,
--     period_end timestamptz
SELECT
    d.time,
    d.product_id,
    d.location_id,
    d.quantity,
    d.revenue,
    d.metadata,
    d.recorded_at
FROM demand_history AS d
WHERE d.organization_id = %(organization_id)s
    AND d.product_id = %(product_id)s
    AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
    AND d.time >= %(period_start)s
    AND d.time < %(period_end)s
ORDER BY
    d.time,
    d.location_id;

-- name: get_demand_revisions
-- What were the values of demand rows before they were corrected or deleted?
-- Parameters: organization_id uuid, product_id text?, location_id uuid?, period_start timestamptz, period_end timestamptz
SELECT
    r.time,
    r.product_id,
    r.location_id,
    r.quantity,
    r.recorded_at,
    r.replaced_at
FROM demand_revisions AS r
WHERE r.organization_id = %(organization_id)s
    AND (%(product_id)s::text IS NULL OR r.product_id = %(product_id)s)
    AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s)
    AND r.time >= %(period_start)s
    AND r.time < %(period_end)s
ORDER BY
    r.time,
    r.product_id,
    r.location_id,
    r.replaced_at;

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
-- Which products had demand, how much, and at how many locations?
-- Parameters: organization_id uuid, location_id uuid?, period_start timestamptz, period_end timestamptz
WITH sums AS (
    SELECT
        d.product_id,
        count(DISTINCT d.location_id) AS location_count,
        min(d.time) AS first_bucket,
        max(d.time) AS last_bucket,
        count(*) AS row_count,
        sum(d.quantity) AS quantity,
        -- If one row is unknown, so is the sum.
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM demand_history AS d
    WHERE d.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
        AND d.time >= %(period_start)s
        AND d.time < least(%(period_end)s, now())
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
-- What was the demand for a product in each local time bucket, gaps included?
-- Parameters: organization_id uuid, product_id text, location_id uuid?, bucket text, fill_quantity numeric?,
--     period_start timestamptz, period_end timestamptz
-- bucket is quarter_hour, half_hour, hour, day, week or month, in the location's time zone (see location_buckets()).
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
                AND d.time < least(%(period_end)s, now())
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
-- A bucket ends where the next one begins, so a row's bucket is found among the starts.
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
        -- If one row is unknown, so is the sum.
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM edges AS e
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = e.location_id
    WHERE d.product_id = %(product_id)s
        AND d.time >= %(period_start)s
        AND d.time < least(%(period_end)s, now())
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
    -- Only for buckets that have ended is it known that there was no demand.
    coalesce(o.quantity, CASE WHEN b.bucket_end <= now() THEN %(fill_quantity)s::numeric END) AS quantity,
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
-- What was the demand in each local bucket, and which external factors were known a given time before it began?
-- Parameters: organization_id uuid, product_id text?, location_id uuid?, bucket text, lead interval, carry interval,
--     factor_names text[]?, period_start timestamptz, period_end timestamptz
-- Without product_id, every product at the locations where it was demanded. bucket as in get_demand_series. For each reading of an
-- external factor the newest version with available_at <= bucket - lead is used. A factor's value in a bucket is the mean of its
-- readings in it or, if there are none, its last reading before, unless that is older than carry. A factor whose readings have two
-- units is excluded and listed in left_out.
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
                AND (%(product_id)s::text IS NULL OR d.product_id = %(product_id)s)
                AND d.location_id = l.location_id
                AND d.time >= %(period_start)s
                AND d.time < least(%(period_end)s, now())
        )
),
series AS (
    SELECT
        p.location_id,
        d.product_id
    FROM places AS p
    CROSS JOIN LATERAL (
        SELECT DISTINCT
            d.product_id
        FROM demand_history AS d
        WHERE d.organization_id = %(organization_id)s
            AND (%(product_id)s::text IS NULL OR d.product_id = %(product_id)s)
            AND d.location_id = p.location_id
            AND d.time >= %(period_start)s
            AND d.time < least(%(period_end)s, now())
    ) AS d
),
buckets AS MATERIALIZED (
    SELECT
        p.location_id,
        b.bucket_start AS bucket,
        b.bucket_end,
        -- Computed here, so that the conditions below compare columns with columns: only such conditions can be pushed down
        -- through a tenant's view to the index.
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
        d.product_id,
        e.starts[width_bucket(d.time, e.starts)] AS bucket,
        sum(d.quantity) AS quantity,
        CASE WHEN count(d.revenue) = count(*) THEN sum(d.revenue) END AS revenue
    FROM edges AS e
    JOIN demand_history AS d
        ON d.organization_id = %(organization_id)s
        AND d.location_id = e.location_id
    WHERE (%(product_id)s::text IS NULL OR d.product_id = %(product_id)s)
        AND d.time >= %(period_start)s
        AND d.time < least(%(period_end)s, now())
        AND d.time >= e.first_start
        AND d.time < e.last_end
    GROUP BY
        1,
        2,
        3
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
    -- LATERAL with DISTINCT ON is planned separately, so that each bucket finds its readings by index behind a tenant's
    -- view too, where join conditions cannot be pushed down.
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
    s.product_id,
    o.quantity,
    o.revenue,
    o.bucket IS NOT NULL AS is_observed,
    coalesce(f.factors, '{}') AS factors,
    coalesce((SELECT jsonb_object_agg(m.name, m.reason) FROM mixed AS m), '{}') AS left_out
FROM buckets AS b
JOIN series AS s ON s.location_id = b.location_id
LEFT JOIN observed AS o
    ON o.location_id = b.location_id
    AND o.product_id = s.product_id
    AND o.bucket = b.bucket
LEFT JOIN factors AS f
    ON f.location_id = b.location_id
    AND f.bucket = b.bucket
ORDER BY
    b.location_id,
    s.product_id,
    b.bucket;

-- name: get_demand_frame_as_of
-- What was known at a given time of all products' demand, and of external factors that many buckets before each bucket?
-- Parameters: organization_id uuid, as_of timestamptz, bucket text, horizon integer, location_id uuid?, products text[]?,
--     factor_names text[]?, carry interval, delay interval, period_start timestamptz, period_end timestamptz
-- One row per location. Buckets as in get_demand_series, from the first of the history to the horizon-th that begins at as_of or later.
--
-- Demand: the version of each row that was recorded by as_of, in buckets that had ended delay earlier. Rows loaded on the first day of
-- a series are assumed to have been known when they happened, in their first version; later rows and corrections from recorded_at on.
-- Factors: step h is the h-th bucket from as_of on; its lead is the time from as_of to its start. In bucket b the value of step h is
-- what was known that lead before b. Per step: the newest version, the location's readings before the organization's, the mean of the
-- readings in the bucket, or the last one before it that is not older than carry. There is an entry only where the value changes with
-- the step; it is valid up to the next entry. A factor whose readings have two units is excluded and listed in left_out.
WITH places AS (
    SELECT
        l.location_id,
        l.timezone
    FROM locations AS l
    WHERE l.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR l.location_id = %(location_id)s)
        AND EXISTS (
            SELECT
            FROM demand_history AS d
            WHERE d.organization_id = %(organization_id)s
                AND d.location_id = l.location_id
                AND d.time >= %(period_start)s
                AND d.time < %(as_of)s
        )
),
revised_rows AS MATERIALIZED (
    SELECT
        r.location_id,
        r.product_id,
        r.time,
        r.quantity,
        coalesce(r.recorded_at, '-infinity') AS recorded_at,
        r.replaced_at,
        row_number() OVER (PARTITION BY r.location_id, r.product_id, r.time ORDER BY r.replaced_at) = 1 AS is_first
    FROM demand_revisions AS r
    WHERE r.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR r.location_id = %(location_id)s)
        AND (%(products)s::text[] IS NULL OR r.product_id = ANY (%(products)s::text[]))
        AND r.time >= %(period_start)s
        AND r.time < %(as_of)s
),
buckets AS MATERIALIZED (
    SELECT
        n.location_id,
        n.bucket_start,
        n.bucket_end,
        n.position,
        n.bucket_end + %(delay)s::interval <= least(%(as_of)s, now()) AS is_over,
        CASE WHEN n.bucket_start >= %(as_of)s THEN n.position - n.before_count END AS step,
        extract(epoch FROM n.bucket_start)::double precision AS start_second
    FROM (
        SELECT
            p.location_id,
            b.bucket_start,
            b.bucket_end,
            row_number() OVER (PARTITION BY p.location_id ORDER BY b.bucket_start) AS position,
            count(*) FILTER (WHERE b.bucket_start < %(as_of)s) OVER (PARTITION BY p.location_id) AS before_count
        FROM places AS p
        CROSS JOIN LATERAL location_buckets(
            %(organization_id)s,
            p.location_id,
            %(bucket)s,
            %(period_start)s,
            %(period_end)s
        ) AS b
    ) AS n
    WHERE n.position <= n.before_count + %(horizon)s
),
edges AS MATERIALIZED (
    SELECT
        b.location_id,
        array_agg(b.bucket_start ORDER BY b.position) AS starts,
        array_agg(b.bucket_end ORDER BY b.position) AS ends,
        min(b.bucket_start) AS first_start,
        max(b.bucket_end) AS last_end,
        max(b.bucket_end) FILTER (WHERE b.is_over) AS over_until,
        count(*) FILTER (WHERE b.is_over)::integer AS over_count,
        min(b.position) FILTER (WHERE b.step = 1)::integer - 1 AS first_target,
        array_agg(b.start_second - extract(epoch FROM %(as_of)s::timestamptz)::double precision ORDER BY b.step)
            FILTER (WHERE b.step IS NOT NULL) AS leads
    FROM buckets AS b
    GROUP BY
        b.location_id
),
versions AS (
    SELECT
        d.location_id,
        d.product_id,
        d.time,
        d.quantity,
        coalesce(d.recorded_at, '-infinity') AS recorded_at,
        timestamptz 'infinity' AS replaced_at,
        r.time IS NULL AS is_first
    FROM demand_history AS d
    LEFT JOIN revised_rows AS r
        ON r.location_id = d.location_id
        AND r.product_id = d.product_id
        AND r.time = d.time
        AND r.is_first
    WHERE d.organization_id = %(organization_id)s
        AND (%(location_id)s::uuid IS NULL OR d.location_id = %(location_id)s)
        AND (%(products)s::text[] IS NULL OR d.product_id = ANY (%(products)s::text[]))
        AND d.time >= %(period_start)s
        AND d.time < %(as_of)s
    UNION ALL
    SELECT
        r.location_id,
        r.product_id,
        r.time,
        r.quantity,
        r.recorded_at,
        r.replaced_at,
        r.is_first
    FROM revised_rows AS r
),
-- One sort order for all that follows: by series, then by bucket. OFFSET 0 drops the arrays of edges, which would otherwise
-- be sorted with each row.
known AS (
    SELECT
        v.location_id,
        v.product_id,
        v.position,
        v.quantity,
        v.recorded_at,
        v.replaced_at,
        v.is_first,
        min(v.recorded_at) OVER (
            PARTITION BY v.location_id, v.product_id
            ORDER BY v.position
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS load_start
    FROM (
        SELECT
            d.location_id,
            d.product_id COLLATE "C" AS product_id,
            width_bucket(d.time, e.starts) - 1 AS position,
            d.quantity,
            d.recorded_at,
            d.replaced_at,
            d.is_first
        FROM edges AS e
        JOIN versions AS d ON d.location_id = e.location_id
        WHERE d.time >= e.first_start
            AND d.time < e.over_until
        OFFSET 0
    ) AS v
),
sums AS (
    SELECT
        k.location_id,
        k.product_id,
        k.position,
        sum(k.quantity)::double precision AS quantity,
        max(k.recorded_at) FILTER (WHERE k.recorded_at <= %(as_of)s) AS known_at
    FROM known AS k
    WHERE k.replaced_at > %(as_of)s
        AND (k.recorded_at <= %(as_of)s OR k.is_first AND k.recorded_at < k.load_start + interval '1 day')
    GROUP BY
        k.location_id,
        k.product_id,
        k.position
),
series AS (
    SELECT
        s.location_id,
        s.product_id,
        max(s.known_at) AS known_at,
        json_build_object(
            'product_id', s.product_id,
            'buckets', array_agg(s.position ORDER BY s.position),
            'quantities', array_agg(s.quantity ORDER BY s.position)
        ) AS figures
    FROM sums AS s
    GROUP BY
        s.location_id,
        s.product_id
),
readings AS MATERIALIZED (
    SELECT
        r.location_id,
        r.name,
        r.time,
        r.value,
        r.unit,
        r.available_at,
        r.valid_from,
        r.valid_to
    FROM (
        SELECT
            p.location_id,
            f.name,
            f.time,
            f.value::double precision AS value,
            f.unit,
            f.available_at,
            extract(epoch FROM f.available_at)::double precision AS valid_from,
            extract(epoch FROM least(
                lead(f.available_at) OVER (
                    PARTITION BY p.location_id, f.name, f.time, f.location_id
                    ORDER BY f.available_at
                ),
                CASE
                    WHEN f.location_id IS NULL THEN
                        min(f.available_at) FILTER (WHERE f.location_id IS NOT NULL) OVER (
                            PARTITION BY p.location_id, f.name, f.time
                        )
                END,
                timestamptz 'infinity'
            ))::double precision AS valid_to
        FROM edges AS p
        JOIN external_factors AS f ON f.location_id = p.location_id OR f.location_id IS NULL
        WHERE f.organization_id = %(organization_id)s
            AND f.time >= %(period_start)s::timestamptz - %(carry)s::interval
            AND f.time < p.last_end
            AND f.available_at <= %(as_of)s
            AND (%(factor_names)s::text[] IS NULL OR f.name = ANY (%(factor_names)s::text[]))
    ) AS r
    WHERE r.valid_to > r.valid_from
),
placed AS (
    SELECT
        r.location_id,
        r.name,
        i.position,
        i.position = own.position AS is_own,
        r.time,
        r.value,
        r.unit,
        r.valid_from,
        r.valid_to
    FROM readings AS r
    JOIN edges AS e ON e.location_id = r.location_id
    CROSS JOIN LATERAL (SELECT width_bucket(r.time, e.starts) AS position) AS own
    CROSS JOIN LATERAL generate_series(
        greatest(own.position, 1),
        greatest(own.position, width_bucket(r.time + %(carry)s::interval, e.starts))
    ) AS i (position)
),
-- The steps of its bucket for which a reading counts in this version.
counted AS (
    SELECT
        p.location_id,
        p.name,
        p.position,
        p.is_own,
        p.time,
        p.value,
        p.unit,
        coalesce(b.step, 1)::integer AS least_step,
        s.first_step,
        s.last_step
    FROM placed AS p
    JOIN edges AS e ON e.location_id = p.location_id
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN p.position > e.first_target THEN p.position - e.first_target END AS step,
            extract(epoch FROM e.starts[p.position])::double precision AS start_second
    ) AS b
    CROSS JOIN LATERAL (
        SELECT
            coalesce(b.step, width_bucket(b.start_second - p.valid_to, e.leads) + 1)::integer AS first_step,
            CASE
                WHEN b.step IS NULL THEN width_bucket(b.start_second - p.valid_from, e.leads)::integer
                WHEN p.valid_to = 'Infinity' THEN %(horizon)s
            END AS last_step
    ) AS s
    WHERE s.last_step >= s.first_step
    OFFSET 0
),
-- A carried reading counts only where no later one does: otherwise each step would scan all carried readings.
stepped AS MATERIALIZED (
    SELECT
        s.location_id,
        s.name,
        s.position,
        s.is_own,
        s.time,
        s.value,
        s.unit,
        s.first_step,
        s.last_step
    FROM (
        SELECT
            c.location_id,
            c.name,
            c.position,
            c.is_own,
            c.time,
            c.value,
            c.unit,
            CASE
                WHEN c.is_own THEN c.first_step
                ELSE greatest(c.first_step, 1 + max(c.last_step) FILTER (
                    WHERE c.first_step = c.least_step
                        AND c.value IS NOT NULL
                ) OVER (
                    PARTITION BY c.location_id, c.name, c.position
                    ORDER BY c.time DESC
                    GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ))
            END AS first_step,
            c.last_step
        FROM counted AS c
    ) AS s
    WHERE s.last_step >= s.first_step
),
-- Each bucket separately, with its start from the edges: without statistics, the planner would join every bucket to
-- every reading.
valued AS (
    SELECT
        g.location_id,
        g.name,
        g.position,
        v.step,
        v.value,
        v.unit,
        v.other_unit
    FROM (
        SELECT
            s.location_id,
            s.name,
            s.position,
            array_agg(s.is_own) AS own_flags,
            array_agg(s.time) AS times,
            array_agg(s.value) AS known_values,
            array_agg(s.unit) AS units,
            array_agg(s.first_step) AS first_steps,
            array_agg(s.last_step) AS last_steps
        FROM stepped AS s
        GROUP BY
            s.location_id,
            s.name,
            s.position
    ) AS g
    CROSS JOIN LATERAL (
        SELECT
            p.step,
            coalesce(
                avg(s.value ORDER BY s.time) FILTER (WHERE s.is_own),
                (array_agg(s.value ORDER BY s.time DESC) FILTER (WHERE s.value IS NOT NULL))[1]
            ) AS value,
            min(s.unit) AS unit,
            max(s.unit) AS other_unit
        FROM (
            SELECT f.step
            FROM unnest(g.first_steps) AS f (step)
            UNION
            SELECT l.step + 1
            FROM unnest(g.last_steps) AS l (step)
            WHERE l.step < %(horizon)s
        ) AS p
        LEFT JOIN unnest(g.own_flags, g.times, g.known_values, g.units, g.first_steps, g.last_steps)
            AS s (is_own, time, value, unit, first_step, last_step)
            ON p.step >= s.first_step
            AND p.step <= s.last_step
        GROUP BY
            p.step
    ) AS v
),
mixed AS (
    SELECT
        v.location_id,
        v.name,
        format('readings in %%s and %%s', min(v.unit), max(v.other_unit)) AS reason
    FROM valued AS v
    GROUP BY
        v.location_id,
        v.name
    HAVING min(v.unit) <> max(v.other_unit)
),
factors AS (
    SELECT
        v.location_id,
        json_agg(v.name ORDER BY v.name, v.position, v.step) AS names,
        json_agg(v.position - 1 ORDER BY v.name, v.position, v.step) AS positions,
        json_agg(v.step ORDER BY v.name, v.position, v.step) AS steps,
        json_agg(v.value ORDER BY v.name, v.position, v.step) AS known_values
    FROM valued AS v
    LEFT JOIN mixed AS m
        ON m.location_id = v.location_id
        AND m.name = v.name
    WHERE m.name IS NULL
    GROUP BY
        v.location_id
)
SELECT
    e.location_id,
    p.timezone,
    e.starts AS bucket_starts,
    e.ends AS bucket_ends,
    e.over_count,
    e.first_target,
    greatest(
        (SELECT max(s.known_at) FROM series AS s WHERE s.location_id = e.location_id AND s.known_at > '-infinity'),
        (SELECT max(r.available_at) FROM readings AS r WHERE r.location_id = e.location_id),
        (
            SELECT max(r.replaced_at)
            FROM revised_rows AS r
            WHERE r.location_id = e.location_id
                AND r.replaced_at <= %(as_of)s
        ),
        e.over_until + %(delay)s::interval
    ) AS known_at,
    (SELECT json_agg(s.figures ORDER BY s.product_id) FROM series AS s WHERE s.location_id = e.location_id) AS series,
    f.names AS factor_names,
    f.positions AS factor_buckets,
    f.steps AS factor_steps,
    f.known_values AS factor_values,
    coalesce(
        (SELECT json_object_agg(m.name, m.reason) FROM mixed AS m WHERE m.location_id = e.location_id), '{}'
    ) AS left_out
FROM edges AS e
JOIN places AS p ON p.location_id = e.location_id
LEFT JOIN factors AS f ON f.location_id = e.location_id
WHERE e.over_count > 0
    AND cardinality(e.leads) = %(horizon)s
ORDER BY
    e.location_id;
