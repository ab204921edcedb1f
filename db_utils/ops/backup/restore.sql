-- name: objects
WITH own_schemas AS (
    SELECT n.oid, n.nspname
    FROM pg_namespace AS n
    WHERE n.nspname !~ '^(pg_|information_schema$)'
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
)
SELECT format('%I.%I', s.nspname, c.relname) AS object
FROM pg_class AS c
JOIN own_schemas AS s ON s.oid = c.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION
SELECT format('%I.%I()', s.nspname, p.proname)
FROM pg_proc AS p
JOIN own_schemas AS s ON s.oid = p.pronamespace
WHERE p.proname <> 'refuse_dump'  -- exists in new databases of the container
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION
SELECT format('schema %I', s.nspname) FROM own_schemas AS s WHERE s.nspname <> 'public'
ORDER BY object
