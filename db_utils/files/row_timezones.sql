-- name: locations
SELECT location_id::text, NULL::timestamptz, NULL::timestamptz, timezone
FROM locations
WHERE organization_id = %(organization)s

-- name: things
SELECT t.{id}::text, NULL::timestamptz, NULL::timestamptz, l.timezone
FROM {table} AS t
INNER JOIN locations AS l ON l.organization_id = t.organization_id AND l.location_id = t.location_id
WHERE t.organization_id = %(organization)s

-- name: thing_history
SELECT
    t.{id}::text,
    CASE WHEN isfinite(greatest(t.valid_from, l.valid_from)) THEN greatest(t.valid_from, l.valid_from) END,
    CASE WHEN isfinite(least(t.valid_to, l.valid_to)) THEN least(t.valid_to, l.valid_to) END,
    l.timezone
FROM {history} AS t
INNER JOIN location_history AS l
    ON l.organization_id = t.organization_id
    AND l.location_id = t.location_id
    AND l.valid_from < t.valid_to
    AND t.valid_from < l.valid_to
WHERE t.organization_id = %(organization)s
ORDER BY t.{id}, greatest(t.valid_from, l.valid_from)
