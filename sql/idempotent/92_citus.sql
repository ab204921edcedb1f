-- Citus: distribute the tenants' tables over several nodes, by organization. Everything specific to that edition; does
-- nothing elsewhere. Apply it on the coordinator, and again after adding a node. See docs/citus.md.
--
-- All tables with organization_id (except tenant_logins) are distributed by it and co-located: the rows of an organization
-- are on one node, so that keys, foreign keys, triggers and the prebuilt queries are local to it. Views over distributed
-- tables are not writable on Citus, so tenants are separated by row security (90_tenants.sql).

DO $$
BEGIN
    IF database_edition() <> 'citus' THEN
        RETURN;
    END IF;
    IF NOT current_setting('citus.enable_unsafe_triggers')::boolean THEN
        RAISE EXCEPTION 'the tables have triggers, which Citus does not distribute by default'
            USING HINT = 'Set citus.enable_unsafe_triggers = on on every node (each reads and writes its own organization only).';
    END IF;
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE WARNING 'wal_level is %: shards can be moved only while there are no writes', current_setting('wal_level')
            USING HINT = 'Set wal_level = logical on every node and restart it.';
    END IF;
END
$$;

-- A range of uuid cannot be used in a distributed table. Instead, a trigger ensures that an employee is in one shift at a
-- time: concurrent assignments of one employee wait for each other.
CREATE OR REPLACE FUNCTION refuse_second_shift()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'shifts are assigned in transactions that are read committed or serializable: repeatable read does not see concurrent assignments'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.employee_id::text, 0));
    IF EXISTS (
        SELECT
        FROM public.shift_assignments AS a
        WHERE a.organization_id = NEW.organization_id
            AND a.employee_id = NEW.employee_id
            AND a.shift_id <> NEW.shift_id
            AND a.status <> 'cancelled'
            AND a.starts_at < NEW.ends_at
            AND a.ends_at > NEW.starts_at
    ) THEN
        RAISE EXCEPTION 'employee % is in another shift at that time', NEW.employee_id
            USING ERRCODE = 'exclusion_violation',
                  CONSTRAINT = 'shift_assignments_employee_not_in_two_shifts_at_once_excl',
                  DETAIL = 'Rule: shift_assignments_employee_not_in_two_shifts_at_once_excl',
                  TABLE = 'shift_assignments',
                  SCHEMA = 'public';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION refuse_second_shift() IS
    'Trigger of the citus edition: an employee is in one shift at a time, as an exclusion constraint ensures elsewhere. '
    'SECURITY DEFINER; compares rows of the new row''s own organization only.';
REVOKE ALL ON FUNCTION refuse_second_shift() FROM PUBLIC;

-- A foreign key of a distributed table does not support ON UPDATE CASCADE.
CREATE OR REPLACE FUNCTION move_assignments()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.shift_assignments AS a
    SET
        starts_at = NEW.starts_at,
        ends_at = NEW.ends_at
    WHERE a.organization_id = NEW.organization_id
        AND a.shift_id = NEW.shift_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION move_assignments() IS
    'Trigger of the citus edition: updates the assignments when their shift moves, as ON UPDATE CASCADE does elsewhere. SECURITY DEFINER.';
REVOKE ALL ON FUNCTION move_assignments() FROM PUBLIC;

DO $$
DECLARE
    former record;
BEGIN
    IF database_edition() <> 'citus' THEN
        RETURN;
    END IF;
    -- A plain database that became a coordinator: tenants use the tables directly instead.
    FOR former IN
        SELECT v.oid::regclass AS name
        FROM pg_class AS v
        WHERE v.relnamespace IN ('tenant'::regnamespace, 'tenant_load'::regnamespace)
            AND v.relkind = 'v'
    LOOP
        EXECUTE format('DROP VIEW %s', former.name);
    END LOOP;
    FOR former IN
        SELECT
            k.conrelid::regclass AS relation,
            k.conname AS name
        FROM pg_constraint AS k
        WHERE k.conname ~ '_organization_id_is_tenants_own_check$'
            AND k.connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', former.relation, former.name);
    END LOOP;
    -- tenant_logins is read on the coordinator only, even in the middle of a tenant's transaction, so it is a local table,
    -- which cannot reference distributed ones.
    IF EXISTS (SELECT FROM pg_constraint AS k WHERE k.conname = 'tenant_logins_organization_id_fkey') THEN
        ALTER TABLE tenant_logins DROP CONSTRAINT tenant_logins_organization_id_fkey;
    END IF;
    IF EXISTS (SELECT FROM pg_constraint AS k WHERE k.conname = 'shift_assignments_employee_not_in_two_shifts_at_once_excl') THEN
        ALTER TABLE shift_assignments DROP CONSTRAINT shift_assignments_employee_not_in_two_shifts_at_once_excl;
    END IF;
    CREATE OR REPLACE TRIGGER shift_assignments_employee_not_in_two_shifts_at_once
        AFTER INSERT OR UPDATE ON shift_assignments
        FOR EACH ROW WHEN (NEW.status <> 'cancelled')
        EXECUTE FUNCTION refuse_second_shift();
    IF EXISTS (
        SELECT
        FROM pg_constraint AS k
        WHERE k.conname = 'shift_assignments_organization_id_shift_id_fkey'
            AND k.confupdtype = 'c'
    ) THEN
        ALTER TABLE shift_assignments DROP CONSTRAINT shift_assignments_organization_id_shift_id_fkey;
        ALTER TABLE shift_assignments
            ADD CONSTRAINT shift_assignments_organization_id_shift_id_fkey
            FOREIGN KEY (organization_id, shift_id, starts_at, ends_at)
            REFERENCES shifts (organization_id, shift_id, starts_at, ends_at);
    END IF;
    -- Fires before the foreign key's trigger, in name order.
    CREATE OR REPLACE TRIGGER "Move assignments with their shift"
        AFTER UPDATE ON shifts
        FOR EACH ROW WHEN ((OLD.starts_at, OLD.ends_at) IS DISTINCT FROM (NEW.starts_at, NEW.ends_at))
        EXECUTE FUNCTION move_assignments();
    -- Two roles may not write to co-located rows in one transaction, so tenants change the history of their own entities
    -- with their own privileges (90_tenants.sql).
    FOR former IN
        SELECT
            p.oid::regprocedure AS name,
            p.proname ~ '^change_(resource|employee|location)$' AS is_asked
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
            AND p.proname IN (
                'change_resource', 'change_employee', 'change_location', 'write_history', 'history_change_time', 'change_period_start',
                'may_change'
            )
    LOOP
        IF former.is_asked THEN
            EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', former.name);
        ELSE
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO barnameh_tenant, barnameh_tenant_login', former.name);
        END IF;
    END LOOP;
    -- Transactions on several nodes cannot NOTIFY, and nobody listens on a worker.
    CREATE OR REPLACE FUNCTION may_announce()
    RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
    AS 'SELECT false';
END
$$;

-- Each node has its own transaction counter, and defaults are evaluated where the statement starts. An organization's
-- changes are ordered by the counter of the node that stores its rows, which its readers query too; when the rows move to
-- another node, readers reload or continue.
CREATE OR REPLACE FUNCTION count_here()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_ARGV[0] = 'outbox' THEN
        NEW.transaction_id := pg_current_xact_id()::text::bigint;
    ELSE
        NEW.trimmed_to := pg_current_xact_id()::text::bigint;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION count_here() IS
    'Trigger of the citus edition: sets the transaction number of a row of the outbox, or of its targets, to that of the '
    'node that stores it.';
REVOKE ALL ON FUNCTION count_here() FROM PUBLIC;

DO $$
BEGIN
    IF database_edition() <> 'citus' THEN
        RETURN;
    END IF;
    CREATE OR REPLACE TRIGGER sync_outbox_count_here
        BEFORE INSERT ON sync_outbox
        FOR EACH ROW EXECUTE FUNCTION count_here('outbox');
    CREATE OR REPLACE TRIGGER sync_targets_count_here
        BEFORE INSERT ON sync_targets
        FOR EACH ROW EXECUTE FUNCTION count_here('targets');

    -- Same as elsewhere, organization by organization. Waits for concurrent deletes of the same row.
    CREATE OR REPLACE FUNCTION trim_sync_outbox(only_organization uuid DEFAULT NULL)
    RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $trim$
    DECLARE
        target record;
        twice record;
        before_all bigint;
        newest bigint;
        deleted bigint := 0;
        more bigint;
    BEGIN
        IF NOT pg_try_advisory_xact_lock(hashtextextended('barnameh outbox trim', 0)) THEN
            RETURN 0;
        END IF;
        FOR target IN
            SELECT DISTINCT
                o.organization_id,
                o.consumer,
                t.consumer IS NOT NULL AS is_wanted,
                t.keep_for
            FROM public.sync_outbox AS o
            LEFT JOIN public.sync_targets AS t
                ON t.organization_id = o.organization_id
                AND t.consumer = o.consumer
            WHERE only_organization IS NULL
                OR o.organization_id = only_organization
        LOOP
            IF NOT target.is_wanted THEN
                DELETE FROM public.sync_outbox AS o
                WHERE o.organization_id = target.organization_id
                    AND o.consumer = target.consumer;
                GET DIAGNOSTICS more = ROW_COUNT;
                deleted := deleted + more;
                CONTINUE;
            END IF;

            -- Rows older than their target keeps them, once every earlier transaction on that node has ended.
            IF target.keep_for IS NOT NULL AND only_organization IS NULL THEN
                SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                INTO before_all
                FROM public.organizations AS g
                WHERE g.organization_id = target.organization_id;
                SELECT
                    max(o.transaction_id),
                    count(*)
                INTO
                    newest,
                    more
                FROM public.sync_outbox AS o
                WHERE o.organization_id = target.organization_id
                    AND o.consumer = target.consumer
                    AND o.changed_at < now() - target.keep_for
                    AND o.transaction_id < before_all;
                IF newest IS NOT NULL THEN
                    DELETE FROM public.sync_outbox AS o
                    WHERE o.organization_id = target.organization_id
                        AND o.consumer = target.consumer
                        AND o.changed_at < now() - target.keep_for
                        AND o.transaction_id <= newest;
                    UPDATE public.sync_targets AS t
                    SET trimmed_to = greatest(t.trimmed_to, newest)
                    WHERE t.organization_id = target.organization_id
                        AND t.consumer = target.consumer;
                    deleted := deleted + more;
                END IF;
            END IF;

            -- All rows of a key are replaced by one new row, which no one has read yet.
            FOR twice IN
                SELECT
                    o.kind,
                    o.entity_key,
                    min(o.changed_at) AS first_changed_at,
                    max(o.changed_at) AS last_changed_at
                FROM public.sync_outbox AS o
                WHERE o.organization_id = target.organization_id
                    AND o.consumer = target.consumer
                GROUP BY
                    o.kind,
                    o.entity_key
                HAVING count(*) > 1
            LOOP
                DELETE FROM public.sync_outbox AS o
                WHERE o.organization_id = target.organization_id
                    AND o.consumer = target.consumer
                    AND o.kind = twice.kind
                    AND o.entity_key = twice.entity_key;
                GET DIAGNOSTICS more = ROW_COUNT;
                deleted := deleted + more - 1;
                INSERT INTO public.sync_outbox (organization_id, consumer, kind, entity_key, changed_at)
                VALUES (
                    target.organization_id,
                    target.consumer,
                    twice.kind,
                    twice.entity_key,
                    CASE WHEN target.keep_for IS NULL THEN twice.first_changed_at ELSE twice.last_changed_at END
                );
            END LOOP;
        END LOOP;
        RETURN deleted;
    END
    $trim$;
END
$$;

-- Tables are distributed after those that their foreign keys reference. Existing rows are copied to the workers; their
-- triggers have already fired, so triggers are created last.
DO $$
DECLARE
    base record;
    triggers CONSTANT jsonb := (
        SELECT jsonb_agg(jsonb_build_object('name', t.tgname, 'relation', c.relname, 'definition', pg_get_triggerdef(t.oid)) ORDER BY t.oid)
        FROM pg_trigger AS t
        JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE database_edition() = 'citus'
            AND c.relnamespace = 'public'::regnamespace
            AND c.relkind = 'r'
            AND NOT t.tgisinternal
    );
    kept record;
BEGIN
    IF database_edition() <> 'citus' THEN
        RETURN;
    END IF;
    FOR kept IN
        SELECT t.*
        FROM jsonb_to_recordset(triggers) AS t (name text, relation text, definition text)
        WHERE NOT EXISTS (SELECT FROM pg_dist_partition AS p WHERE p.logicalrelid = t.relation::regclass)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %I', kept.name, kept.relation);
    END LOOP;

    LOOP
        SELECT c.relname
        INTO base
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind = 'r'
            AND c.relname <> 'tenant_logins'
            AND NOT EXISTS (SELECT FROM pg_dist_partition AS p WHERE p.logicalrelid = c.oid)
            AND NOT EXISTS (
                SELECT
                FROM pg_constraint AS k
                WHERE k.conrelid = c.oid
                    AND k.contype = 'f'
                    AND k.confrelid <> c.oid
                    AND NOT EXISTS (SELECT FROM pg_dist_partition AS p WHERE p.logicalrelid = k.confrelid)
            )
        ORDER BY
            c.relname <> 'organizations',
            c.relname
        LIMIT 1;
        EXIT WHEN NOT FOUND;
        PERFORM create_distributed_table(
            base.relname::regclass,
            'organization_id',
            colocate_with => CASE base.relname WHEN 'organizations' THEN 'none' ELSE 'organizations' END
        );
    END LOOP;

    FOR kept IN
        SELECT t.definition
        FROM jsonb_to_recordset(triggers) AS t (name text, relation text, definition text)
        WHERE NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.relation::regclass AND g.tgname = t.name)
    LOOP
        EXECUTE kept.definition;
    END LOOP;
END
$$;

-- Privileges are local to a node, so this is called again after adding a node (`db-utils cluster add` does so). Revokes
-- what Citus grants to PUBLIC on every node and tenants do not need: functions that execute SQL text, on other nodes too
-- and with their own settings; its catalogs, which list shards and nodes; and the list of a session's prepared statements.
-- What queries call stays granted.
CREATE OR REPLACE PROCEDURE secure_nodes()
LANGUAGE plpgsql
AS $secure$
DECLARE
    hide CONSTANT text := $hide$
        DO $node$
        DECLARE
            thing record;
        BEGIN
            SET LOCAL citus.enable_ddl_propagation = off;
            FOR thing IN
                SELECT
                    p.oid::regprocedure::text AS name,
                    'ROUTINE' AS kind
                FROM pg_proc AS p
                JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname ~ '^citus'
                WHERE p.provolatile = 'v'
                    AND p.proname !~ '^(assign_distributed_transaction_id|relation_is_a_known_shard|citus_extradata_container|worker_hash)$'
                    AND p.proname !~ '^(fetch_intermediate_results|read_intermediate_results?|(worker|coord)_.*_agg.*|citus_jsonb?_concatenate.*)$'
                    AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl WHERE acl.grantee = 0)
                UNION ALL
                SELECT
                    c.oid::regclass::text,
                    'TABLE'
                FROM pg_class AS c
                JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname ~ '^citus'
                WHERE c.relkind IN ('r', 'v')
                    AND EXISTS (SELECT FROM aclexplode(c.relacl) AS acl WHERE acl.grantee = 0)
                UNION ALL
                -- Prebuilt reads that a session prepared for other organizations.
                SELECT p.oid::regprocedure::text, 'ROUTINE'
                FROM pg_proc AS p
                WHERE p.oid = 'pg_prepared_statement()'::regprocedure
                    AND has_function_privilege('public', p.oid, 'EXECUTE')
            LOOP
                EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC', thing.kind, thing.name);
                -- The role may not exist here yet if another session's transaction is creating it.
                IF thing.kind = 'TABLE' AND to_regrole('barnameh_readonly') IS NOT NULL THEN
                    EXECUTE format('GRANT SELECT ON %s TO barnameh_readonly', thing.name);
                END IF;
            END LOOP;
            SET LOCAL citus.enable_ddl_propagation = on;
        END
        $node$
    $hide$;
    base record;
    node record;
BEGIN
    FOR base IN
        SELECT c.oid::regclass AS name
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id'
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind = 'v'
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY c.oid
    LOOP
        CALL secure_rows(base.name, 'SELECT');
    END LOOP;

    -- Connections to workers use the current user: a role taken on the coordinator is taken there too.
    IF NOT (SELECT r.rolcanlogin FROM pg_roles AS r WHERE r.rolname = 'barnameh_tenant') THEN
        ALTER ROLE barnameh_tenant LOGIN;
    END IF;
    EXECUTE hide;
    FOR node IN
        SELECT
            r.nodename,
            r.nodeport,
            r.result
        FROM run_command_on_workers(hide) AS r
        WHERE NOT r.success
    LOOP
        RAISE EXCEPTION 'the rights on node %:% could not be revoked: %', node.nodename, node.nodeport, node.result;
    END LOOP;
END
$secure$;
COMMENT ON PROCEDURE secure_nodes() IS
    'Grants tenants their privileges on every node of the citus edition, and revokes those that Citus grants to PUBLIC. '
    'Call it again after adding a node.';
REVOKE ALL ON PROCEDURE secure_nodes() FROM PUBLIC;

DO $$
BEGIN
    IF database_edition() = 'citus' THEN
        CALL secure_nodes();
    END IF;
END
$$;

-- A function in a query runs on the node of that query's rows, and reads rows of the same organization there, which Citus
-- must be told to allow. A statement on distributed tables is planned at each call, whatever plan_cache_mode says, and twice
-- if it joins them. So the largest statements behind the KPIs, which are planned once per session elsewhere, read their
-- tables through functions here. These may return more rows than a statement wants: its own conditions remain. (A call takes
-- 0.2 ms, so tables that are read for each bucket or target are read as they are.)
--
-- Statements on one table are planned for their values: of a generic plan, Citus 14.0.1 adds another local plan to the
-- session's memory at each execution (a KPI took 1 MB) and uses none of them.
DO $$
DECLARE
    reading record;
    body text;
BEGIN
    FOR reading IN
        SELECT
            t.name,
            t.relation,
            t.parameters,
            t.condition
        FROM (
            VALUES
                ('locations', 'locations', '', ''),
                ('location_history', 'location_history', '', ''),
                ('resources', 'resources', '', ''),
                ('resource_history', 'resource_history', '', ''),
                ('resource_time_reports', 'resource_time_reports', '', ''),
                ('employee_history', 'employee_history', '', ''),
                ('products', 'products', '', ''),
                ('shifts', 'shifts', ', after timestamptz, before timestamptz', ' AND r.starts_at > after AND r.starts_at < before'),
                ('shift_assignments', 'shift_assignments', ', since timestamptz, before timestamptz', ' AND r.starts_at >= since AND r.starts_at < before'),
                ('production_plans', 'production_plans', ', first_date date, last_date date', ' AND r.plan_date >= first_date AND r.plan_date <= last_date'),
                ('anomaly_predictions', 'anomaly_predictions', ', since timestamptz, before timestamptz', ' AND r.predicted_for >= since AND r.predicted_for < before'),
                ('confirmed_failures', 'anomaly_predictions', ', since timestamptz', ' AND r.anomaly_type = ''failure'' AND r.outcome = ''confirmed'' AND r.occurred_at >= since'),
                ('breakdowns', 'operational_events', ', since timestamptz, before timestamptz', ' AND r.event_type = ''breakdown'' AND r.time >= since AND r.time < before')
        ) AS t (name, relation, parameters, condition)
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION %1$I(org uuid%3$s) RETURNS SETOF %2$I LANGUAGE plpgsql STABLE AS $read$ '
            'BEGIN RETURN QUERY SELECT r.* FROM %2$I AS r WHERE r.organization_id = org%4$s; END $read$',
            'rows_of_' || reading.name,
            reading.relation,
            reading.parameters,
            reading.condition
        );
        EXECUTE format(
            'COMMENT ON FUNCTION %I IS %L',
            'rows_of_' || reading.name,
            'Rows of ' || reading.relation || ' of one organization, for statements that the citus edition plans once per session.'
        );
    END LOOP;
    IF database_edition() <> 'citus' THEN
        RETURN;
    END IF;

    FOR reading IN
        SELECT
            p.oid,
            p.oid::regprocedure AS signature,
            p.prosrc AS source,
            p.proname IN (
                'resource_time_raw', 'resource_reporting', 'time_kpis', 'kpis_by_part', 'shift_seconds', 'anomaly_prediction_scores'
            ) AS is_rewritten,
            p.proname IN ('kept_time_reads', 'resource_time_rest') AS reads_nothing,
            p.prosrc ~ (
                SELECT '(FROM|JOIN) (' || string_agg(t.logicalrelid::text, '|') || ') AS '
                FROM pg_dist_partition AS t
            ) AS reads_tables
        FROM pg_proc AS p
        JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
        WHERE p.pronamespace = 'public'::regnamespace
            AND p.provolatile = 's'
            AND 'citus.allow_nested_distributed_execution=on' <> ALL (coalesce(p.proconfig, '{}'))
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        ORDER BY p.oid
    LOOP
        IF reading.is_rewritten THEN
            body := regexp_replace(
                reading.source,
                '(FROM|JOIN) (locations|location_history|resources|resource_history|resource_time_reports|employee_history|products) AS',
                '\1 rows_of_\2(org) AS',
                'g'
            );
            body := replace(body, 'FROM shifts AS', 'FROM rows_of_shifts(org, first_instant - interval ''26 hours'', end_instant) AS');
            body := replace(body, 'FROM shift_assignments AS', 'FROM rows_of_shift_assignments(org, period_start, least(period_end, now())) AS');
            body := replace(
                body,
                'FROM production_plans AS',
                'FROM rows_of_production_plans(org, (period_start AT TIME ZONE ''UTC'')::date - 2, (least(period_end, now()) AT TIME ZONE ''UTC'')::date + 1) AS'
            );
            body := replace(body, 'FROM anomaly_predictions AS', 'FROM rows_of_anomaly_predictions(org, period_start, period_end) AS');
            body := replace(body, 'JOIN anomaly_predictions AS', 'JOIN rows_of_confirmed_failures(org, period_start) AS');
            IF body ~ 'rows_of_confirmed_failures' THEN
                body := replace(
                    body,
                    'FROM operational_events AS',
                    'FROM rows_of_breakdowns(org, period_start - interval ''24 hours'', least(period_end + interval ''24 hours'', now())) AS'
                );
            END IF;
            EXECUTE replace(pg_get_functiondef(reading.oid), reading.source, body);
        END IF;
        EXECUTE format('ALTER FUNCTION %s SET citus.allow_nested_distributed_execution = on', reading.signature);
        -- Set for each, because a function takes over the setting of the one that calls it.
        EXECUTE format(
            'ALTER FUNCTION %s SET plan_cache_mode = %s',
            reading.signature,
            CASE
                -- It joins tables too, where machines never report.
                WHEN reading.signature::text ~ '^resource_reporting' THEN 'force_custom_plan'
                WHEN reading.is_rewritten OR reading.reads_nothing THEN 'force_generic_plan'
                WHEN reading.reads_tables THEN 'force_custom_plan'
                ELSE 'auto'
            END
        );
    END LOOP;
END
$$;
