-- name: logins
SELECT rolname
FROM pg_roles
WHERE rolcanlogin
    AND rolname IN (current_user, session_user, %(default_user)s)
ORDER BY rolname = %(default_user)s DESC, rolname

-- name: unencrypted
SELECT
    host(a.client_addr) AS client,
    a.usename,
    count(*) AS session_count
FROM pg_stat_ssl AS s
JOIN pg_stat_activity AS a ON a.pid = s.pid
WHERE NOT s.ssl
    AND a.pid <> pg_backend_pid()
    AND a.client_addr IS NOT NULL
    AND NOT a.client_addr << inet '127.0.0.0/8'
    AND a.client_addr <> inet '::1'
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2

-- name: grants
-- Privileges of tenants and PUBLIC on relations of public, and on their chunks and materializations.
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS grantee,
    string_agg(DISTINCT acl.privilege_type, ', ' ORDER BY acl.privilege_type) AS privileges
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT grantee, privilege_type FROM aclexplode(c.relacl)
    UNION ALL
    SELECT column_acl.grantee, column_acl.privilege_type
    FROM pg_attribute AS a
    CROSS JOIN LATERAL aclexplode(a.attacl) AS column_acl
    WHERE a.attrelid = c.oid
) AS acl
WHERE n.nspname IN ('public', '_timescaledb_internal')
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND acl.grantee IN (0, to_regrole('barnameh_tenant'), to_regrole('barnameh_tenant_login'))
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
GROUP BY 1, 2
ORDER BY 1, 2

-- name: without_view
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public'
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND c.relname <> 'tenant_logins'
    AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped)
    AND NOT EXISTS (
        SELECT FROM pg_class AS v
        WHERE v.relnamespace = to_regnamespace('tenant') AND v.relname = c.relname AND v.relkind = 'v'
    )
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1

-- name: roles
SELECT rolname
FROM pg_roles
WHERE rolname IN ('barnameh_tenant', 'barnameh_tenant_login')
    AND (rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
ORDER BY 1
