-- For psql: list the roles that this database needs and that a dump of it does not include. Prints one JSON array on one line.
--
-- Includes roles with privileges here, the logins of tenants, and the roles they are members of. Passwords are exported as
-- the server stores them (verifiers) if the current user may see them, which requires a superuser.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SELECT
    to_regclass('public.tenant_logins') IS NOT NULL AS has_logins,
    has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS sees_passwords
\gset
\set logins '''{}'''
\if :has_logins
SELECT quote_literal(ARRAY(SELECT l.role_name FROM public.tenant_logins AS l ORDER BY l.role_name)) AS logins
\gset
\endif
\if :sees_passwords
\set password 'SELECT p.rolpassword FROM pg_authid AS p WHERE p.oid = r.oid'
\else
\set password 'SELECT NULL::text'
\endif

WITH RECURSIVE needed AS (
    SELECT s.refobjid AS role_id
    FROM pg_shdepend AS s
    JOIN pg_database AS d ON d.oid = s.dbid
    WHERE d.datname = current_database()
        AND s.refclassid = 'pg_authid'::regclass
        AND s.deptype = 'a'
    UNION
    SELECT r.oid
    FROM pg_roles AS r
    WHERE r.rolname = ANY (:logins::name[])
    UNION
    SELECT m.roleid
    FROM needed AS n
    JOIN pg_auth_members AS m ON m.member = n.role_id
)
SELECT coalesce(json_agg(described.role ORDER BY described.role ->> 'name'), '[]')
FROM (
    SELECT json_build_object(
        'name', r.rolname,
        'can_login', r.rolcanlogin,
        'inherits', r.rolinherit,
        'connection_limit', r.rolconnlimit,
        'settings', coalesce(to_json(r.rolconfig), '[]'),
        'comment', shobj_description(r.oid, 'pg_authid'),
        'password', (:password),
        'member_of', (
            SELECT coalesce(
                json_agg(json_build_object('role', pg_get_userbyid(m.roleid), 'inherit', m.inherit_option, 'set', m.set_option)),
                '[]'
            )
            FROM pg_auth_members AS m
            WHERE m.member = r.oid
        )
    ) AS role
    FROM pg_roles AS r
    WHERE r.oid IN (SELECT n.role_id FROM needed AS n)
        AND r.rolname !~ '^pg_'
        AND NOT r.rolsuper
) AS described;
