-- name: relations
SELECT
    c.relname AS relation,
    CASE
        WHEN c.relname = ANY (SELECT relation FROM time_series_layout()) THEN 'time series'
        WHEN c.relname = ANY (SELECT rollup FROM rollup_definitions()) THEN 'rollup'
        WHEN c.relkind = 'v' THEN 'view'
        ELSE 'table'
    END AS kind,
    obj_description(c.oid, 'pg_class') AS meaning
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v')
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relkind = 'v', c.relname

-- name: columns
SELECT
    c.relname AS relation,
    a.attname AS column_name,
    format_type(a.atttypid, a.atttypmod) AS type,
    a.attnotnull AS required,
    col_description(c.oid, a.attnum) AS meaning
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v')
    AND a.attnum > 0
    AND NOT a.attisdropped
ORDER BY c.relname, a.attnum

-- name: functions
SELECT
    p.proname || '(' || pg_get_function_arguments(p.oid) || ')' AS signature,
    obj_description(p.oid, 'pg_proc') AS meaning
FROM pg_proc AS p
WHERE p.pronamespace = 'public'::regnamespace
    AND p.prokind IN ('f', 'p')
    AND p.prorettype <> 'trigger'::regtype
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i'))
    AND p.proname <> 'time_bucket'
ORDER BY p.proname, 1
