-- Tenant isolation by roles and views. (Row-level security is not available with columnstore and continuous aggregates.)
--
-- barnameh_tenant: role that an application takes (SET LOCAL ROLE) to act for one organization. It has no privileges on any
-- relation of public, only on schema tenant: one view per relation, which shows and accepts the rows of
-- current_organization_id() only.
-- barnameh_tenant_login: the same privileges, for the logins of customers' own tools; granted by create_tenant_login(). A
-- separate role, so that no login shares an owner with objects that an application's session leaves behind.
-- barnameh_readonly: reads the rows of all organizations, for the operator's dashboards. Writes nothing.
--
-- With search_path = tenant, public, pg_temp the same unqualified names, and so the same queries and functions, refer to
-- the tenant's own rows. pg_temp comes last, so that no temporary table can shadow a view.
--
-- docs/tenants.md describes what this guarantees and what it does not; tests/integration/schema/test_isolation.py attacks it.

-- Roles are global to the server: another of its databases may be set up at the same moment.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT
            w.role_name,
            w.description
        FROM (
            VALUES
                ('barnameh_tenant', 'One tenant''s rows, through the views of schema tenant; an application takes this role.'),
                ('barnameh_tenant_login', 'One tenant''s rows, through the views of schema tenant; for the logins of customers'' own tools.'),
                ('barnameh_readonly', 'Reads the rows of all organizations, writes nothing.')
        ) AS w (role_name, description)
    LOOP
        BEGIN
            IF to_regrole(wanted.role_name) IS NULL THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', wanted.role_name);
            END IF;
            IF shobj_description(to_regrole(wanted.role_name), 'pg_authid') IS DISTINCT FROM wanted.description THEN
                EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.role_name, wanted.description);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR internal_error THEN
                NULL;  -- created concurrently by the other one
        END;
    END LOOP;

    -- The schema's owner may act as a tenant: the library's tenant scope uses SET LOCAL ROLE.
    IF NOT pg_has_role(current_user, 'barnameh_tenant', 'SET') THEN
        GRANT barnameh_tenant TO CURRENT_USER;
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS tenant_logins (
    organization_id uuid NOT NULL,
    role_name name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenant_logins_pkey PRIMARY KEY (organization_id, role_name),
    CONSTRAINT tenant_logins_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    -- A login belongs to one organization. (An exclusion constraint, so that every key still begins with organization_id.)
    CONSTRAINT tenant_logins_role_of_one_organization_excl EXCLUDE USING btree (role_name WITH =)
);
COMMENT ON TABLE tenant_logins IS 'The organization of each tenant login. Written by create_tenant_login() and drop_tenant_login() only.';
COMMENT ON COLUMN tenant_logins.organization_id IS 'The tenant.';
COMMENT ON COLUMN tenant_logins.role_name IS 'The login role.';
COMMENT ON COLUMN tenant_logins.created_at IS 'When the login was created.';

CREATE SCHEMA IF NOT EXISTS tenant;
COMMENT ON SCHEMA tenant IS 'Views of the relations in public, restricted to the rows of current_organization_id().';

CREATE OR REPLACE FUNCTION current_organization_id()
RETURNS uuid
LANGUAGE plpgsql
STABLE
PARALLEL SAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own_organization_id uuid;
BEGIN
    SELECT l.organization_id
    INTO own_organization_id
    FROM public.tenant_logins AS l
    WHERE l.role_name = session_user;

    IF FOUND THEN
        RETURN own_organization_id;
    END IF;
    -- The setting counts only for logins that may take the role barnameh_tenant, which no customer's login may. So a login
    -- that was renamed, or created for another database of this server, sees no rows rather than any rows.
    IF NOT pg_has_role(session_user, 'barnameh_tenant', 'SET') THEN
        RETURN NULL;
    END IF;
    RETURN nullif(current_setting('app.organization_id', true), '')::uuid;
END
$$;
COMMENT ON FUNCTION current_organization_id() IS
    'Organization whose rows the tenant scope shows. For a tenant login, its organization, whatever the settings; for a login that may '
    'act for any organization (it may SET ROLE barnameh_tenant), the setting app.organization_id; otherwise NULL, which matches no '
    'row. SECURITY DEFINER, to read tenant_logins. Never IMMUTABLE: a cached plan would keep the first caller''s result.';

-- On Citus, views over distributed tables are neither writable nor read with their owner's rights. There, tenants access
-- the tables themselves, restricted to the organization in the setting: policies cannot use anything else, because they are
-- evaluated on the workers too. A customer's login, which could change the setting, has its own policy instead
-- (92_citus.sql). Only missing grants are issued.
CREATE OR REPLACE PROCEDURE secure_rows(relation regclass, rights text)
LANGUAGE plpgsql
AS $$
DECLARE
    base pg_class;
BEGIN
    SELECT c.*
    INTO base
    FROM pg_class AS c
    WHERE c.oid = relation;

    IF base.relkind = 'v' THEN
        -- Every time, because a node added later has the view, but not the grants.
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', relation);
        EXECUTE format('GRANT SELECT ON %s TO barnameh_tenant, barnameh_tenant_login, barnameh_readonly', relation);
        RETURN;
    END IF;
    IF rights IS DISTINCT FROM (
        SELECT string_agg(acl.privilege_type, ', ' ORDER BY array_position('{SELECT,INSERT,UPDATE,DELETE}', acl.privilege_type))
        FROM aclexplode(base.relacl) AS acl
        WHERE acl.grantee = 'barnameh_tenant'::regrole
    ) THEN
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, barnameh_tenant, barnameh_tenant_login', relation);
        EXECUTE format('GRANT %s ON %s TO barnameh_tenant, barnameh_tenant_login', rights, relation);
    END IF;
    IF NOT base.relrowsecurity THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = relation AND p.polname = 'own_rows') THEN
        EXECUTE format(
            'CREATE POLICY own_rows ON %s TO barnameh_tenant '
            'USING (organization_id = nullif(current_setting(''app.organization_id'', true), '''')::uuid)',
            relation
        );
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = relation AND p.polname = 'all_rows') THEN
        EXECUTE format('CREATE POLICY all_rows ON %s FOR SELECT TO barnameh_readonly USING (true)', relation);
    END IF;
    -- The organization may be omitted on insert.
    IF base.relname <> 'organizations' AND NOT EXISTS (
        SELECT
        FROM pg_attrdef AS d
        JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = relation
            AND a.attname = 'organization_id'
    ) THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN organization_id SET DEFAULT public.current_organization_id()', relation);
    END IF;
END
$$;
COMMENT ON PROCEDURE secure_rows(regclass, text) IS
    'In the citus edition: grants tenants these privileges on a table, restricted to their own rows, or on a view, which '
    'then reads with the privileges of its user.';
REVOKE ALL ON PROCEDURE secure_rows(regclass, text) FROM PUBLIC;

-- One view per relation of public with tenants' rows. Applying the schema again creates new views and replaces changed ones.
--
-- A view's CHECK OPTION is evaluated after the row was written: after unique keys revealed whether a row with that key exists,
-- and after ON CONFLICT DO UPDATE has read, and possibly taken over, another organization's row. A CHECK of the table is
-- evaluated before all of that: users without privileges on the table itself may write rows of their own organization only. (NOT
-- VALID, because existing rows were written by users with privileges. A trigger instead would slow down COPY.)
DO $$
DECLARE
    base record;
    tenant_rights text;
    check_name text;
    is_citus CONSTANT boolean := database_edition() = 'citus';
    usual_search_path CONSTANT text := current_setting('search_path');
BEGIN
    -- TimescaleDB handles compressed chunks under its own search_path, so names must be printed schema-qualified.
    PERFORM set_config('search_path', 'pg_catalog', true);
    FOR base IN
        SELECT
            c.oid,
            c.relname,
            c.relkind IN ('r', 'p') AS is_table,
            string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
            bool_or(a.attname = 'recorded_at') AND c.relname <> 'demand_history' AS keeps_history,
            obj_description(c.oid, 'pg_class') AS description,
            bool_or(rights.grantee IS NOT NULL) AS is_open
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN LATERAL (
            SELECT acl.grantee
            FROM aclexplode(c.relacl || a.attacl) AS acl
            WHERE acl.grantee IN (0, 'barnameh_tenant'::regrole, 'barnameh_tenant_login'::regrole)
            LIMIT 1
        ) AS rights ON true
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind IN ('r', 'p', 'v', 'm')
            AND c.relname <> 'tenant_logins'
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
        GROUP BY c.oid, c.relname, c.relkind
        HAVING bool_or(a.attname = 'organization_id')
        ORDER BY c.relname
    LOOP
        tenant_rights := CASE
            WHEN NOT base.is_table OR base.relname = 'organizations' THEN 'SELECT'
            -- Written by the database only; see 55_triggers.sql, 57_history.sql, 73_timeline_sums.sql.
            WHEN base.relname = 'demand_revisions' THEN 'SELECT'
            WHEN base.relname IN ('resource_history', 'employee_history', 'location_history') AND NOT is_citus THEN 'SELECT'
            WHEN base.relname IN ('resource_history', 'employee_history', 'location_history') THEN 'SELECT, INSERT, UPDATE, DELETE'
            WHEN base.relname IN ('resource_time_sums', 'resource_time_totals', 'resource_time_reports', 'resource_time_states', 'resource_time_marks') THEN 'SELECT'
            -- The worker runs schedules with the operator's rights and keys.
            WHEN base.relname = 'service_schedules' THEN 'SELECT'
            -- Created and revoked by the operator with "barnameh keys".
            WHEN base.relname = 'api_keys' THEN 'SELECT'
            -- Tenants must not forge or delete changes or targets; see 88_outbox_triggers.sql.
            WHEN base.relname IN ('sync_targets', 'sync_outbox', 'sync_progress', 'sync_rejected') THEN 'SELECT'
            WHEN base.keeps_history THEN 'SELECT, INSERT, UPDATE'
            ELSE 'SELECT, INSERT, UPDATE, DELETE'
        END;
        IF is_citus THEN
            IF base.is_table THEN  -- views come once they are on all nodes
                CALL public.secure_rows(base.oid, tenant_rights);
            END IF;
            CONTINUE;
        END IF;

        BEGIN
            EXECUTE format(
                'CREATE OR REPLACE VIEW tenant.%1$I WITH (security_barrier) AS SELECT %2$s FROM public.%1$I '
                'WHERE organization_id = (SELECT public.current_organization_id()) %3$s',
                base.relname,
                base.columns,
                CASE WHEN base.is_table THEN 'WITH CASCADED CHECK OPTION' ELSE '' END
            );
        EXCEPTION
            WHEN invalid_table_definition THEN
                RAISE EXCEPTION 'view tenant.% cannot be replaced: its columns do not match those of public.%',
                    base.relname, base.relname
                    USING HINT = 'Drop the view and its dependent objects, and apply the schema again.';
        END;
        -- The organization may be omitted on insert.
        IF base.is_table AND base.relname <> 'organizations' THEN
            EXECUTE format('ALTER VIEW tenant.%I ALTER COLUMN organization_id SET DEFAULT public.current_organization_id()', base.relname);
        END IF;
        EXECUTE format('COMMENT ON VIEW tenant.%I IS %L', base.relname, 'Rows of the current organization in public.' || base.relname || '. ' || coalesce(base.description, ''));

        -- Grants on a hypertable are written to each of its chunks, which a refresh may be creating at this moment, so only
        -- missing ones are issued.
        IF base.is_open THEN
            EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, barnameh_tenant, barnameh_tenant_login', base.relname);
        END IF;
        EXECUTE format('REVOKE ALL ON tenant.%I FROM PUBLIC, barnameh_tenant, barnameh_tenant_login', base.relname);
        EXECUTE format('GRANT %s ON tenant.%I TO barnameh_tenant, barnameh_tenant_login', tenant_rights, base.relname);

        check_name := base.relname || '_organization_id_is_tenants_own_check';
        IF base.is_table AND base.relname <> 'organizations' AND NOT EXISTS (
            SELECT FROM pg_constraint AS k WHERE k.conrelid = base.oid AND k.conname = check_name
        ) THEN
            EXECUTE format(
                'ALTER TABLE public.%I ADD CONSTRAINT %I CHECK ('
                'has_table_privilege(tableoid, ''INSERT, UPDATE'') '
                'OR organization_id IS NOT DISTINCT FROM public.current_organization_id()) NOT VALID',
                base.relname,
                check_name
            );
        END IF;
    END LOOP;
    PERFORM set_config('search_path', usual_search_path, true);
END
$$;

-- Columns of the tenant views have the comments of the underlying columns.
DO $$
DECLARE
    described record;
BEGIN
    FOR described IN
        SELECT
            c.relname,
            a.attname,
            col_description(c.oid, a.attnum) AS meaning
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_class AS v ON v.relname = c.relname AND v.relnamespace = 'tenant'::regnamespace
        WHERE c.relnamespace = 'public'::regnamespace
            AND col_description(c.oid, a.attnum) IS NOT NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN tenant.%I.%I IS %L', described.relname, described.attname, described.meaning);
    END LOOP;
END
$$;

CREATE OR REPLACE PROCEDURE limit_tenant_login(role_name text)
LANGUAGE plpgsql
AS $$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT
            l.name,
            l.value
        FROM (
            VALUES
                ('search_path', 'tenant, public, pg_temp', false),
                ('statement_timeout', '''5min''', false),
                -- Limits the wait for another session's open transaction: for a row, a table, or the catalog entry of a
                -- chunk that is first written to after its compression.
                ('lock_timeout', '''10s''', false),
                ('idle_in_transaction_session_timeout', '''1min''', false),
                ('idle_session_timeout', '''1h''', false),
                -- The only one of these that the login cannot change itself.
                ('temp_file_limit', '''1GB''', true)
        ) AS l (name, value, needs_superuser)
        WHERE (NOT l.needs_superuser OR (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user))
            AND NOT EXISTS (
                SELECT
                FROM pg_db_role_setting AS s
                CROSS JOIN unnest(s.setconfig) AS given
                WHERE s.setrole = to_regrole(quote_ident(limit_tenant_login.role_name))
                    AND s.setdatabase = 0
                    AND starts_with(given, l.name || '=')
            )
    LOOP
        EXECUTE format('ALTER ROLE %I SET %I = %s', role_name, missing.name, missing.value);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE limit_tenant_login(text) IS
    'Sets the limits that a customer''s login does not have yet: search path, statement timeout, lock timeout, idle '
    'session timeouts, and temporary file size. Existing settings are kept.';

CREATE OR REPLACE PROCEDURE keep_login_to_own_rows(role_name text)
LANGUAGE plpgsql
AS $$
DECLARE
    own_organization_id CONSTANT uuid := (
        SELECT l.organization_id FROM public.tenant_logins AS l WHERE l.role_name = keep_login_to_own_rows.role_name
    );
    policy_name CONSTANT text := left('rows_of_' || role_name, 63);
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relrowsecurity
            AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'own_rows')
            AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = policy_name)
        ORDER BY c.oid
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s TO %I USING (organization_id = %L)', policy_name, relation, role_name, own_organization_id);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE keep_login_to_own_rows(text) IS
    'Where row security separates tenants (citus): restricts a customer''s login to the rows of its organization in every '
    'table, whatever its settings.';

CREATE OR REPLACE PROCEDURE create_tenant_login(organization_id uuid, role_name text, password text)
LANGUAGE plpgsql
AS $$
DECLARE
    is_superuser CONSTANT boolean := (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user);
    shared record;
    other record;
BEGIN
    IF NOT EXISTS (SELECT FROM public.organizations AS o WHERE o.organization_id = create_tenant_login.organization_id) THEN
        RAISE EXCEPTION 'organization % does not exist', organization_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF role_name IS NULL OR role_name !~ '^[a-z][a-z0-9_]{0,62}$' THEN
        RAISE EXCEPTION 'a login name must be 1 to 63 characters of a-z, 0-9 and _, starting with a letter' USING ERRCODE = 'invalid_name';
    END IF;
    IF to_regrole(role_name) IS NOT NULL THEN
        RAISE EXCEPTION 'role % exists already', role_name USING ERRCODE = 'duplicate_object';
    END IF;
    IF password IS NULL OR length(password) < 12 THEN
        RAISE EXCEPTION 'a password of at least 12 characters is needed' USING ERRCODE = 'invalid_password';
    END IF;

    -- The password is set by the last statement, so that a failure of another statement never prints it.
    EXECUTE format(
        'CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT CONNECTION LIMIT 20',
        role_name
    );
    EXECUTE format('COMMENT ON ROLE %I IS %L', role_name, 'Customer''s login; see tenant_logins.');
    CALL public.limit_tenant_login(role_name);
    EXECUTE format('GRANT barnameh_tenant_login TO %I WITH INHERIT TRUE, SET FALSE', role_name);
    INSERT INTO public.tenant_logins (organization_id, role_name)
    VALUES (create_tenant_login.organization_id, create_tenant_login.role_name);
    CALL public.keep_login_to_own_rows(role_name);

    -- Everyone may connect to these two by default, and store objects there unnoticed, or block CREATE DATABASE.
    FOR shared IN
        SELECT d.datname
        FROM pg_database AS d
        WHERE d.datname IN ('postgres', 'template1')
            AND d.datname <> current_database()
            AND EXISTS (
                SELECT
                FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
                WHERE acl.grantee = 0
                    AND acl.privilege_type = 'CONNECT'
            )
    LOOP
        IF NOT is_superuser THEN
            RAISE WARNING 'login % may connect to database %', role_name, shared.datname
                USING HINT = format('As its owner, run: REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', shared.datname);
            CONTINUE;
        END IF;
        BEGIN
            FOR other IN
                SELECT r.rolname
                FROM pg_roles AS r
                WHERE r.rolcanlogin
                    AND NOT r.rolsuper
                    AND NOT pg_has_role(r.oid, 'barnameh_tenant_login', 'MEMBER')
                    AND has_database_privilege(r.oid, shared.datname, 'CONNECT')
            LOOP
                EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', shared.datname, other.rolname);
            END LOOP;
            EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', shared.datname);
        EXCEPTION
            WHEN internal_error THEN
                NULL;  -- done concurrently from another database of this server
        END;
    END LOOP;
    EXECUTE format('ALTER ROLE %I PASSWORD %L', role_name, password);
END
$$;
COMMENT ON PROCEDURE create_tenant_login(uuid, text, text) IS
    'Creates a login for a customer''s own tools. It can read and write that organization''s rows only, whatever its settings. '
    'The password may be a SCRAM-SHA-256 verifier, so that the plain-text password never appears in the server log.';

CREATE OR REPLACE PROCEDURE drop_tenant_login(role_name text)
LANGUAGE plpgsql
AS $$
DECLARE
    -- A CALL outside a transaction block may commit midway.
    is_alone CONSTANT boolean := transaction_timestamp() = statement_timestamp() AND current_query() !~ ';\s*\S';
    login_id oid;
    policy record;
    holding text;
BEGIN
    IF NOT EXISTS (SELECT FROM public.tenant_logins AS l WHERE l.role_name = drop_tenant_login.role_name) THEN
        RAISE EXCEPTION '% is not a tenant login', role_name USING ERRCODE = 'undefined_object';
    END IF;
    login_id := to_regrole(quote_ident(role_name));

    -- The role may already have been dropped.
    IF login_id IS NOT NULL THEN
        -- Whatever happens next, revoke access now.
        EXECUTE format('ALTER ROLE %I NOLOGIN', role_name);
        IF is_alone THEN
            COMMIT;
        END IF;
        PERFORM pg_terminate_backend(a.pid, 5000)
        FROM pg_stat_activity AS a
        WHERE a.usename = drop_tenant_login.role_name;

        IF public.database_edition() = 'citus' THEN
            SET LOCAL citus.multi_shard_modify_mode = 'sequential'; -- a role can be dropped after nothing else
        END IF;
        FOR policy IN
            SELECT
                p.polname,
                p.polrelid::regclass AS relation
            FROM pg_policy AS p
            WHERE p.polroles = ARRAY[login_id]
        LOOP
            EXECUTE format('DROP POLICY %I ON %s', policy.polname, policy.relation);
        END LOOP;
        EXECUTE format('DROP OWNED BY %I', role_name);
        SELECT string_agg(format('%s in database %s', h.things, h.database), ', ' ORDER BY h.database)
        INTO holding
        FROM (
            SELECT
                coalesce(d.datname, 'any') AS database,
                count(*) AS things
            FROM pg_shdepend AS s
            LEFT JOIN pg_database AS d ON d.oid = s.dbid
            WHERE s.refclassid = 'pg_authid'::regclass
                AND s.refobjid = login_id
                AND s.dbid NOT IN (SELECT here.oid FROM pg_database AS here WHERE here.datname = current_database())
            GROUP BY d.datname
        ) AS h;
        IF holding IS NOT NULL THEN
            RAISE EXCEPTION 'login % owns objects or has privileges elsewhere: %', role_name, holding
                USING ERRCODE = 'dependent_objects_still_exist',
                      DETAIL = CASE
                          WHEN is_alone THEN 'It cannot log in any more; its sessions were ended.'
                          ELSE 'Nothing was changed. CALL it outside a transaction to revoke access first.'
                      END,
                      HINT = format('In each of these databases: DROP OWNED BY %I; then call drop_tenant_login again.', role_name);
        END IF;
    END IF;
    DELETE FROM public.tenant_logins AS l WHERE l.role_name = drop_tenant_login.role_name;
    IF login_id IS NOT NULL THEN
        EXECUTE format('DROP ROLE %I', role_name);
    END IF;
END
$$;
COMMENT ON PROCEDURE drop_tenant_login(text) IS
    'Revokes the access and ends the sessions of a tenant login, commits that if called outside a transaction, and drops '
    'the login. Lists the databases that have objects depending on it. The organization''s rows are kept.';

CREATE OR REPLACE PROCEDURE end_long_tenant_transactions(job_id integer DEFAULT NULL, config jsonb DEFAULT '{"longest_minutes": 10}')
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_terminate_backend(a.pid)
    FROM pg_stat_activity AS a
    JOIN public.tenant_logins AS l ON l.role_name = a.usename
    WHERE a.datname = current_database()
        AND (
            a.xact_start < clock_timestamp() - (config ->> 'longest_minutes')::numeric * interval '1 minute'
            -- A temporary table, which no other session can vacuum, holds back the oldest transaction of the server.
            OR a.backend_start < clock_timestamp() - coalesce((config ->> 'longest_days')::numeric, 7) * interval '1 day'
            -- A listener in an open transaction holds back the server's notification queue.
            OR a.xact_start < clock_timestamp() - coalesce((config ->> 'queue_held_seconds')::numeric, 10) * interval '1 second'
                AND pg_notification_queue_usage() > coalesce((config ->> 'queue_usage')::numeric, 0.1)
            -- Reading and writing take none of these on a table of the schema, and chunk creation only weaker ones, so it was LOCK.
            OR EXISTS (
                SELECT
                FROM pg_locks AS k
                JOIN pg_class AS c ON c.oid = k.relation AND c.relnamespace = 'public'::regnamespace
                WHERE k.pid = a.pid
                    AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                    AND k.mode IN ('ShareLock', 'ExclusiveLock', 'AccessExclusiveLock')
            )
            -- Sessions that block others, by a table lock or while creating a chunk.
            OR a.xact_start < clock_timestamp() - coalesce((config ->> 'waited_for_minutes')::numeric, 1) * interval '1 minute' AND EXISTS (
                SELECT
                FROM pg_stat_activity AS w
                WHERE w.datname = current_database()
                    AND w.wait_event_type = 'Lock'
                    AND w.usename IS DISTINCT FROM a.usename
                    AND a.pid = ANY (pg_blocking_pids(w.pid))
            )
        );
END
$$;
COMMENT ON PROCEDURE end_long_tenant_transactions(integer, jsonb) IS
    'Terminates sessions of customers'' logins that block others: with a transaction open for longer than '
    'config.longest_minutes (10); for longer than config.waited_for_minutes (1) while another role waits for it; for '
    'config.queue_held_seconds (10) while a tenth (config.queue_usage) of the server''s notification queue is full; '
    'connected for longer than config.longest_days (7); or holding a table lock (LOCK TABLE). A login can lift its own '
    'time limits, but not these. Runs every minute as a TimescaleDB job; without it, call it from cron.';
DO $$
BEGIN
    IF database_edition() = 'community' THEN
        IF NOT EXISTS (
            SELECT
            FROM timescaledb_information.jobs AS j
            WHERE j.proc_schema = 'public'
                AND j.proc_name = 'end_long_tenant_transactions'
        ) THEN
            PERFORM add_job('public.end_long_tenant_transactions', interval '1 minute', config => '{"longest_minutes": 10}');
        END IF;
    END IF;
END
$$;

-- Logins created before a limit was introduced.
DO $$
DECLARE
    earlier record;
BEGIN
    FOR earlier IN
        SELECT l.role_name
        FROM tenant_logins AS l
        WHERE to_regrole(quote_ident(l.role_name)) IS NOT NULL
        ORDER BY l.role_name
    LOOP
        CALL limit_tenant_login(earlier.role_name);
        CALL keep_login_to_own_rows(earlier.role_name);
    END LOOP;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'the limits of customers'' logins were not set: %', SQLERRM
            USING HINT = 'As the role that created them, CALL limit_tenant_login(role_name) for each row of tenant_logins.';
END
$$;

REVOKE ALL ON PROCEDURE
    create_tenant_login(uuid, text, text),
    limit_tenant_login(text),
    keep_login_to_own_rows(text),
    drop_tenant_login(text),
    end_long_tenant_transactions(integer, jsonb)
FROM PUBLIC;
-- An application's login looks up the keys it is given; a customer's login has no use for that.
GRANT EXECUTE ON FUNCTION use_api_key(text, text) TO barnameh_tenant;
REVOKE ALL ON tenant_logins FROM PUBLIC;

REVOKE ALL ON SCHEMA tenant FROM PUBLIC;
GRANT USAGE ON SCHEMA tenant TO barnameh_tenant, barnameh_tenant_login;
GRANT USAGE ON SCHEMA public TO barnameh_tenant, barnameh_tenant_login, barnameh_readonly;

DO $$
DECLARE
    unreadable regclass;
BEGIN
    FOR unreadable IN
        SELECT c.oid
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            AND c.relname <> 'tenant_logins'
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
            AND NOT EXISTS (
                SELECT
                FROM aclexplode(c.relacl) AS acl
                WHERE acl.grantee = 'barnameh_readonly'::regrole
                    AND acl.privilege_type = 'SELECT'
            )
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO barnameh_readonly', unreadable);
    END LOOP;
END
$$;
REVOKE ALL ON tenant_logins FROM barnameh_readonly;

-- Default privileges of PUBLIC that tenants do not need. Only an object's owner can revoke them: where the schema's owner
-- does not own the extension (managed services), they stay as the provider set them.
DO $$
DECLARE
    thing record;
BEGIN
    -- A database upgraded from PostgreSQL 14 lets everyone create objects in public that other users' queries may resolve to.
    IF has_schema_privilege('public', 'CREATE') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;

    FOR thing IN
        -- Large objects are owned by roles, not organizations: sessions that act for two tenants share a role, so neither may create one.
        SELECT
            p.oid::regprocedure AS routine,
            NULL AS reader
        FROM pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
            AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import')
            AND pg_has_role(p.proowner, 'USAGE')
        UNION ALL
        -- Advisory locks, which applying the schema and loading wait for; and pg_notify, with which a single statement
        -- could fill the server's notification queue (NOTIFY itself, one per statement, cannot be forbidden).
        SELECT
            p.oid::regprocedure,
            'barnameh_tenant'
        FROM pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
            AND (p.proname ~ '^pg_(try_)?advisory_(xact_)?lock' OR p.proname = 'pg_notify')
            AND pg_has_role(p.proowner, 'USAGE')
            AND has_function_privilege('barnameh_tenant_login', p.oid, 'EXECUTE')
        UNION ALL
        -- TimescaleDB's administration: add_job() and the like (a job outlives the session that created it, and prevents
        -- dropping the login), table sizes across all organizations, internal functions. Functions that queries use are not
        -- volatile, apart from the few listed here.
        SELECT
            p.oid::regprocedure,
            CASE WHEN p.proname ~ '(_size|_stats|_row_count|^show_.*)$' THEN 'barnameh_readonly' END
        FROM pg_proc AS p
        JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'timescaledb'
        WHERE (p.provolatile = 'v' OR p.proname ~ '(_stats|_report|^show_.*)$')
            AND p.proname NOT IN ('time_bucket_gapfill', 'locf', 'interpolate', 'generate_uuidv7', 'to_uuidv7')
            AND pg_has_role(p.proowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', thing.routine);
        IF thing.reader IS NOT NULL THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', thing.routine, thing.reader);
        END IF;
    END LOOP;

    -- Its own tables, and its views of chunks, jobs and their errors. (The schemas stay accessible: TimescaleDB resolves
    -- its functions there as the user who runs a query.)
    FOR thing IN
        SELECT
            n.nspname,
            c.relname
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'timescaledb'
        WHERE c.relkind IN ('r', 'v')
            AND pg_has_role(c.relowner, 'USAGE')
            AND EXISTS (SELECT FROM aclexplode(c.relacl) AS acl WHERE acl.grantee = 0)
    LOOP
        EXECUTE format('REVOKE ALL ON %I.%I FROM PUBLIC', thing.nspname, thing.relname);
        EXECUTE format('GRANT SELECT ON %I.%I TO barnameh_readonly', thing.nspname, thing.relname);
    END LOOP;
END
$$;
