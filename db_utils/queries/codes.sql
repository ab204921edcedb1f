-- Codes: the customer's names of locations, resources, employees and shifts, and the ids that they stand for.

-- name: find_codes
-- Which rows of the organization have these codes (locations and resources: or these names)?
-- Parameters: organization_id uuid, location_codes text[], resource_codes text[], employee_codes text[], shift_codes text[]
SELECT
    'location_id' AS kind,
    l.location_id AS identifier,
    l.location_code AS code,
    l.name
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND (l.location_code = ANY (%(location_codes)s::text[]) OR l.name = ANY (%(location_codes)s::text[]))
UNION ALL
SELECT
    'resource_id',
    r.resource_id,
    r.resource_code,
    r.name
FROM resources AS r
WHERE r.organization_id = %(organization_id)s
    AND (r.resource_code = ANY (%(resource_codes)s::text[]) OR r.name = ANY (%(resource_codes)s::text[]))
UNION ALL
SELECT
    'employee_id',
    e.employee_id,
    e.employee_code,
    NULL
FROM employees AS e
WHERE e.organization_id = %(organization_id)s
    AND e.employee_code = ANY (%(employee_codes)s::text[])
UNION ALL
SELECT
    'shift_id',
    s.shift_id,
    s.shift_code,
    NULL
FROM shifts AS s
WHERE s.organization_id = %(organization_id)s
    AND s.shift_code = ANY (%(shift_codes)s::text[]);

-- name: find_codes_like
-- Which codes and names of this kind does the organization have (a few thousand at most)?
-- Parameters: organization_id uuid, kind text
SELECT
    k.called
FROM (
    SELECT
        'location_id' AS kind,
        unnest(ARRAY[l.location_code, l.name]) AS called
    FROM locations AS l
    WHERE l.organization_id = %(organization_id)s
    UNION ALL
    SELECT
        'resource_id',
        unnest(ARRAY[r.resource_code, r.name])
    FROM resources AS r
    WHERE r.organization_id = %(organization_id)s
    UNION ALL
    SELECT
        'employee_id',
        e.employee_code
    FROM employees AS e
    WHERE e.organization_id = %(organization_id)s
    UNION ALL
    SELECT
        'shift_id',
        s.shift_code
    FROM shifts AS s
    WHERE s.organization_id = %(organization_id)s
) AS k
WHERE k.kind = %(kind)s
    AND k.called IS NOT NULL
ORDER BY
    k.called
LIMIT 5000;
