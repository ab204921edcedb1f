-- Queries of the connectors, within one organization.

-- name: places
-- Settings of each location, or of the one given by name or identifier, that a source needs.
SELECT
    l.location_id,
    l.name,
    l.timezone,
    l.latitude_degrees::double precision AS latitude,
    l.longitude_degrees::double precision AS longitude,
    l.metadata
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND (
        %(locations)s::text[] IS NULL
        OR l.name = ANY (%(locations)s)
        OR l.location_id::text = ANY (%(locations)s)
    )
ORDER BY
    l.name;

-- name: choose_source!
-- Set the source for a kind and location if none was chosen, or if it may be changed.
INSERT INTO connector_sources AS s (organization_id, kind, location_id, connector)
VALUES (%(organization_id)s, %(kind)s, %(location_id)s, %(connector)s)
ON CONFLICT (organization_id, kind, location_id) DO UPDATE
SET connector = excluded.connector
WHERE %(switch)s;

-- name: chosen_source
-- The source that this location uses.
SELECT s.connector
FROM connector_sources AS s
WHERE s.organization_id = %(organization_id)s
    AND s.kind = %(kind)s
    AND s.location_id IS NOT DISTINCT FROM %(location_id)s;

-- name: last_good_end
-- Time up to which this connector has fetched past data.
SELECT max(least(r.window_end, r.started_at)) AS known_until
FROM connector_runs AS r
WHERE r.organization_id = %(organization_id)s
    AND r.connector = %(connector)s
    AND r.location_id IS NOT DISTINCT FROM %(location_id)s
    AND r.error_message IS NULL;

-- name: write_readings!
-- Store new information: values that differ from the newest one known at that time for the same name, location and time. A
-- different value under a stored available_at is a revision, known as of this run; of several readings for one time (the leads of
-- a forecast, the vintages of a series) only the newest can be revised, because earlier knowledge is in the past. Sorted and
-- compared with the previous row rather than joined: a plan estimated before the rows existed was a hundred times slower.
INSERT INTO external_factors (
    organization_id,
    factor_id,
    time,
    location_id,
    factor_type,
    name,
    value,
    unit,
    available_at,
    metadata
)
WITH readings AS (
    SELECT
        g.factor_id,
        g.time,
        (%(names)s::text[])[g.kind] AS name,
        g.value,
        (%(units)s::text[])[g.kind] AS unit,
        g.available_at,
        (%(metadata)s::jsonb[])[g.kind] AS metadata,
        true AS is_given
    FROM unnest(
        %(factor_id)s::uuid[],
        %(kind)s::integer[],
        %(time)s::timestamptz[],
        %(value)s::numeric[],
        %(available_at)s::timestamptz[]
    ) AS g (factor_id, kind, time, value, available_at)
    UNION ALL
    SELECT
        NULL,
        f.time,
        f.name,
        f.value,
        f.unit,
        f.available_at,
        NULL,
        false
    FROM external_factors AS f
    WHERE f.organization_id = %(organization_id)s
        AND f.name = ANY (%(names)s::text[])
        -- Simplified by the planner to one branch, which can use the index; IS NOT DISTINCT FROM cannot.
        AND (f.location_id = %(location_id)s::uuid OR f.location_id IS NULL AND %(location_id)s::uuid IS NULL)
        AND f.time >= %(first)s
        AND f.time <= %(last)s
),
compared AS (
    SELECT
        r.factor_id,
        r.time,
        r.name,
        r.value,
        r.unit,
        r.available_at,
        r.metadata,
        r.is_given,
        min(r.value) FILTER (WHERE NOT r.is_given) OVER same AS stored_value,
        max(r.available_at) FILTER (WHERE r.is_given) OVER (PARTITION BY r.name, r.time) AS newest_given_at
    FROM readings AS r
    WINDOW same AS (PARTITION BY r.name, r.time, r.available_at)
),
ordered AS (
    SELECT
        d.factor_id,
        d.time,
        d.name,
        d.value,
        d.unit,
        d.known_at,
        d.metadata,
        d.is_given,
        lag(d.value) OVER (PARTITION BY d.name, d.time ORDER BY d.known_at, d.is_given) AS known_value
    FROM (
        SELECT
            c.factor_id,
            c.time,
            c.name,
            c.value,
            c.unit,
            CASE WHEN c.is_given AND c.stored_value IS NOT NULL THEN %(revised_at)s ELSE c.available_at END AS known_at,
            c.metadata,
            c.is_given
        FROM compared AS c
        WHERE NOT c.is_given
            OR c.stored_value IS NULL
            OR (
                c.value <> c.stored_value
                AND c.available_at = c.newest_given_at
                AND c.available_at < %(revised_at)s
            )
    ) AS d
)
SELECT
    %(organization_id)s,
    o.factor_id,
    o.time,
    %(location_id)s::uuid,
    %(factor_type)s,
    o.name,
    o.value,
    o.unit,
    o.known_at,
    coalesce(o.metadata, '{}')
FROM ordered AS o
WHERE o.is_given
    AND o.value IS DISTINCT FROM o.known_value
ORDER BY
    o.name,
    o.time,
    o.known_at
ON CONFLICT (organization_id, name, location_id, time, available_at) DO NOTHING;

-- name: write_run!
-- Record the result of a window.
INSERT INTO connector_runs (
    organization_id,
    connector,
    location_id,
    window_start,
    window_end,
    started_at,
    finished_at,
    readings_read,
    readings_written,
    readings_refused,
    error_message
)
VALUES (
    %(organization_id)s,
    %(connector)s,
    %(location_id)s,
    %(window_start)s,
    %(window_end)s,
    %(started_at)s,
    clock_timestamp(),
    %(read)s,
    %(written)s,
    %(refused)s,
    left(%(error_message)s, 2000)
);

-- name: forget_runs!
-- Keep the newest runs of a connector at a location, and the successful one that reached furthest, where the next window begins.
DELETE FROM connector_runs AS r
WHERE r.organization_id = %(organization_id)s
    AND r.run_id IN (
        SELECT o.run_id
        FROM connector_runs AS o
        WHERE o.organization_id = %(organization_id)s
            AND o.connector = %(connector)s
            AND o.location_id IS NOT DISTINCT FROM %(location_id)s
        ORDER BY
            o.finished_at DESC,
            o.run_id
        OFFSET %(kept)s
    )
    AND r.run_id <> ALL (ARRAY(
        SELECT g.run_id
        FROM connector_runs AS g
        WHERE g.organization_id = %(organization_id)s
            AND g.connector = %(connector)s
            AND g.location_id IS NOT DISTINCT FROM %(location_id)s
            AND g.error_message IS NULL
        ORDER BY
            least(g.window_end, g.started_at) DESC,
            g.finished_at DESC,
            g.run_id
        LIMIT 1
    ));
