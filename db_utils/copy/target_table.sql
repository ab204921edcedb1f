-- name: lookup
SELECT
    n.nspname,
    c.relname,
    c.relkind,
    a.attname,
    format_type(a.atttypid, a.atttypmod),
    format_type(a.atttypid, NULL),
    CASE
        WHEN base.typtype = 'e' THEN 'enum'
        WHEN base.typnamespace = 'pg_catalog'::regnamespace THEN base.typname
        ELSE ''
    END,
    CASE
        WHEN element.typtype = 'e' THEN 'enum'
        WHEN element.typnamespace = 'pg_catalog'::regnamespace THEN element.typname
        WHEN element.oid IS NOT NULL THEN ''
    END
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_type AS base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_type AS element ON element.oid = base.typelem AND base.typcategory = 'A'
WHERE c.oid = coalesce(
    -- Time series of tenants are loaded through a different view than they are read from.
    (
        SELECT l.oid
        FROM pg_class AS given
        INNER JOIN pg_namespace AS g ON g.oid = given.relnamespace AND g.nspname = 'tenant'
        INNER JOIN pg_class AS l ON l.oid = to_regclass('tenant_load.' || quote_ident(given.relname))
        WHERE given.oid = to_regclass(%(name)s)
            AND has_column_privilege(l.oid, 'organization_id', 'INSERT')
    ),
    to_regclass(%(name)s)
)
ORDER BY a.attnum
