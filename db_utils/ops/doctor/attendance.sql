-- name: double
-- A unique key of a hypertable must include time, so the database cannot prevent these.
SELECT
    d.organization_id,
    sum(d.row_count - 1)::bigint AS too_many,
    min(d.shift_id::text) AS shift_id
FROM (
    SELECT
        a.organization_id,
        a.employee_id,
        a.shift_id,
        count(*) AS row_count
    FROM public.employee_attendance AS a
    WHERE a.shift_id IS NOT NULL
        AND a.time >= now() - interval '35 days'
    GROUP BY a.organization_id, a.employee_id, a.shift_id
    HAVING count(*) > 1
) AS d
GROUP BY d.organization_id
ORDER BY too_many DESC, d.organization_id
LIMIT 20
