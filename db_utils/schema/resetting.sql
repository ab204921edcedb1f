-- name: relations
SELECT c.relname AS name
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND c.relname = ANY (%s)
ORDER BY c.relname

-- name: functions
SELECT format('public.%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS name
FROM pg_proc AS p
WHERE p.pronamespace = 'public'::regnamespace
    AND p.proname = ANY (%s)
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY name

-- name: tenant_views
SELECT c.relname AS name
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('tenant')
    AND c.relkind = 'v'
    AND c.relname = ANY (%s)
ORDER BY c.relname

-- name: functions_of_rows
SELECT format('public.%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS name
FROM pg_proc AS p
JOIN pg_class AS c ON c.reltype = p.prorettype AND c.relkind <> 'c'
WHERE p.pronamespace = 'public'::regnamespace
    AND format('public.%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) = ANY (%s)

-- name: rollups
SELECT view_name AS name
FROM timescaledb_information.continuous_aggregates
WHERE view_schema = 'public'
    AND view_name = ANY (%s)
ORDER BY hypertable_schema = 'public', view_name

-- name: hypertables
SELECT hypertable_name AS name
FROM timescaledb_information.hypertables
WHERE hypertable_schema = 'public'
    AND hypertable_name = ANY (%s)
ORDER BY hypertable_name
