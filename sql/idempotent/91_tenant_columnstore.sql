-- Writes by tenants to tables with old rows in the columnstore.
--
-- Before the executor evaluates any condition or CHECK, TimescaleDB decompresses every batch that the conditions of an
-- UPDATE or DELETE may match, and looks up a new row's key in the batches, whichever organization they belong to. The
-- resulting errors disclose other organizations' rows, and one tenant can decompress, and lock, the rows of all. So no
-- statement of a tenant reaches such a table directly:
--
-- tenant.demand_history: INSERT, UPDATE and DELETE go through a trigger of the view. It receives the rows that the view
-- returned (reading is safe: batches of others are never opened), and writes each by its whole primary key, organization
-- first, so that only the batch that holds it is decompressed.
-- tenant_load.demand_history: the same, but INSERT is the native one: as fast as the table's, with ON CONFLICT. For
-- barnameh_tenant, which may act for any organization in turn, and which the library uses. A customer's login has to omit
-- organization_id there: a default supplies it before TimescaleDB looks at any row.
--
-- Without hypertables both views are plain views, with the same names and privileges. With hypertables but no columnstore,
-- triggers exist for UPDATE and DELETE: TimescaleDB for PostgreSQL 17 cannot plan these through a view if the statement
-- names its organization ("variable not found in subplan target list").

CREATE SCHEMA IF NOT EXISTS tenant_load;
COMMENT ON SCHEMA tenant_load IS 'Views for bulk loading (INSERT with ON CONFLICT) of the tables in schema tenant that may be in the columnstore.';
REVOKE ALL ON SCHEMA tenant_load FROM PUBLIC;
GRANT USAGE ON SCHEMA tenant_load TO barnameh_tenant, barnameh_tenant_login;

DO $$
DECLARE
    base record;
    -- Pin the server defaults for the triggers' own statements, whatever the session has set.
    pinned CONSTANT text := (
        SELECT coalesce(string_agg(format('SET %s = %L', s.name, p.value), E'\n' ORDER BY s.name), '')
        FROM (
            VALUES
                ('timescaledb.max_tuples_decompressed_per_dml_transaction', '0'),
                ('timescaledb.enable_dml_decompression', 'on'),
                ('timescaledb.enable_dml_decompression_tuple_filtering', 'on'),
                ('timescaledb.enable_compressed_direct_batch_delete', 'on'),
                ('timescaledb.enable_direct_compress_insert', 'off'),
                ('timescaledb.enable_optimizations', 'on'),
                ('timescaledb.enable_constraint_exclusion', 'on'),
                ('timescaledb.restoring', 'off'),
                ('timescaledb.skip_cagg_invalidation', 'off'),
                ('enable_indexscan', 'on'),
                ('enable_seqscan', 'on'),
                ('plan_cache_mode', 'force_custom_plan')
        ) AS p (name, value)
        JOIN pg_settings AS s ON s.name = p.name AND s.context = 'user'
    );
BEGIN
    IF database_edition() = 'citus' THEN
        -- Tenants write to the tables themselves (90_tenants.sql): what a database brought along from another edition goes.
        FOR base IN
            SELECT p.oid::regprocedure AS name
            FROM pg_proc AS p
            WHERE p.pronamespace = 'public'::regnamespace
                AND p.proname LIKE 'write\_tenants\_%'
        LOOP
            EXECUTE format('DROP FUNCTION %s CASCADE', base.name);
        END LOOP;
        RETURN;
    END IF;
    FOR base IN
        WITH columns AS (
            SELECT
                l.relation,
                l.relation::regclass AS oid,
                quote_ident(a.attname) AS name,
                a.attnum AS position,
                a.attnum = ANY (k.conkey) AS in_key,
                pg_get_expr(d.adbin, d.adrelid) AS default_value
            FROM time_series_layout() AS l
            JOIN pg_attribute AS a ON a.attrelid = l.relation::regclass AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'p'
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        )
        SELECT
            c.relation,
            c.oid,
            obj_description(c.oid, 'pg_class') AS description,
            string_agg(c.name, ', ' ORDER BY c.position) AS names,
            string_agg(c.name, ', ' ORDER BY c.position) FILTER (WHERE c.name <> 'organization_id') AS other_names,
            string_agg('NEW.' || c.name, ', ' ORDER BY c.position) AS new_values,
            string_agg(format('%1$s = NEW.%1$s', c.name), ', ' ORDER BY c.position) FILTER (WHERE NOT c.in_key) AS changes,
            string_agg(format('t.%1$s = OLD.%1$s', c.name), ' AND ' ORDER BY c.name <> 'organization_id', c.position)
                FILTER (WHERE c.in_key) AS of_old_key,
            string_agg('t.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE NOT c.in_key) AS row_values,
            string_agg('OLD.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE NOT c.in_key) AS old_values,
            -- recorded_at is set by a trigger of the table.
            string_agg('t.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE NOT c.in_key AND c.name <> 'recorded_at') AS said_values,
            string_agg('NEW.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE NOT c.in_key AND c.name <> 'recorded_at') AS new_said,
            string_agg('OLD.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE c.in_key) AS old_key,
            string_agg('NEW.' || c.name, ', ' ORDER BY c.position) FILTER (WHERE c.in_key) AS new_key,
            array_agg(c.name) FILTER (WHERE c.default_value IS NOT NULL) AS defaulted,
            array_agg(c.default_value) FILTER (WHERE c.default_value IS NOT NULL) AS defaults
        FROM columns AS c
        GROUP BY c.relation, c.oid
        ORDER BY c.relation
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE VIEW tenant_load.%1$I WITH (security_barrier) AS SELECT %2$s FROM public.%1$I '
            'WHERE organization_id = (SELECT public.current_organization_id()) WITH CASCADED CHECK OPTION',
            base.relation,
            base.names
        );
        EXECUTE format('COMMENT ON VIEW tenant_load.%I IS %L', base.relation, 'As tenant.' || base.relation || ', for loading many rows: INSERT with ON CONFLICT. ' || coalesce(base.description, ''));
        EXECUTE format('ALTER VIEW tenant_load.%I ALTER COLUMN organization_id SET DEFAULT public.current_organization_id()', base.relation);
        EXECUTE format('REVOKE ALL ON tenant_load.%I FROM PUBLIC, barnameh_tenant, barnameh_tenant_login', base.relation);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_load.%I TO barnameh_tenant', base.relation);
        EXECUTE format(
            'GRANT SELECT, INSERT (%2$s), UPDATE (%2$s), DELETE ON tenant_load.%1$I TO barnameh_tenant_login',
            base.relation,
            base.other_names
        );

        EXECUTE format(
            $function$
            CREATE OR REPLACE FUNCTION %1$I()
            RETURNS trigger
            LANGUAGE plpgsql
            SECURITY DEFINER
            SET search_path = pg_catalog, pg_temp
            %2$s
            AS $trigger$
            DECLARE
                written record;
            BEGIN
                -- Runs with the owner's rights, for which the table's own CHECK always passes.
                IF TG_OP <> 'DELETE' AND NEW.organization_id IS DISTINCT FROM public.current_organization_id() THEN
                    RAISE EXCEPTION 'new row for relation "%3$s" violates check constraint "%3$s_organization_id_is_tenants_own_check"'
                        USING ERRCODE = 'check_violation',
                              SCHEMA = 'public',
                              TABLE = '%3$s',
                              CONSTRAINT = '%3$s_organization_id_is_tenants_own_check';
                END IF;

                IF TG_OP = 'UPDATE' AND (%4$s) = (%5$s) THEN
                    UPDATE public.%3$I AS t
                    SET %6$s
                    WHERE %7$s
                        AND (%8$s) IS NOT DISTINCT FROM (%9$s)
                    RETURNING %12$s INTO written;
                    IF FOUND THEN
                        RETURN written;
                    END IF;
                ELSIF TG_OP <> 'INSERT' THEN
                    DELETE FROM public.%3$I AS t
                    WHERE %7$s
                        AND (%8$s) IS NOT DISTINCT FROM (%9$s);
                    IF FOUND AND TG_OP = 'DELETE' THEN
                        RETURN OLD;
                    END IF;
                END IF;

                IF TG_OP = 'INSERT' OR (FOUND AND TG_OP = 'UPDATE') THEN
                    INSERT INTO public.%3$I AS t (%10$s)
                    VALUES (%11$s)
                    ON CONFLICT DO NOTHING
                    RETURNING %12$s INTO written;
                    IF NOT FOUND THEN
                        RAISE EXCEPTION 'duplicate key value violates unique constraint "%3$s_pkey"'
                            USING ERRCODE = 'unique_violation',
                                  HINT = 'INSERT with ON CONFLICT goes to tenant_load.%3$s.',
                                  SCHEMA = 'public',
                                  TABLE = '%3$s',
                                  CONSTRAINT = '%3$s_pkey';
                    END IF;
                    RETURN written;
                END IF;

                -- The row has changed since the statement's snapshot. If it is gone, or already has the new values (for
                -- instance because a join matched it twice), there is nothing left to do, and it is not counted.
                PERFORM
                FROM public.%3$I AS t
                WHERE %7$s
                    AND (TG_OP = 'DELETE' OR (%13$s) IS DISTINCT FROM (%14$s));
                IF FOUND THEN
                    RAISE EXCEPTION 'a row of %3$s was changed concurrently by another transaction'
                        USING ERRCODE = 'serialization_failure',
                              HINT = 'Run the transaction again.';
                END IF;
                RETURN NULL;
            END
            $trigger$
            $function$,
            'write_tenants_' || base.relation,
            pinned,
            base.relation,
            base.old_key,
            base.new_key,
            base.changes,
            base.of_old_key,
            base.row_values,
            base.old_values,
            base.names,
            base.new_values,
            't.' || replace(base.names, ', ', ', t.'),
            base.said_values,
            base.new_said
        );
        EXECUTE format(
            'COMMENT ON FUNCTION %I() IS %L',
            'write_tenants_' || base.relation,
            'Trigger of the tenant views: writes a single own row by its primary key, so that no batch of another '
            'organization in the columnstore is touched. SECURITY DEFINER.'
        );
        EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'write_tenants_' || base.relation);

        IF database_edition() = 'plain' THEN
            EXECUTE format('DROP TRIGGER IF EXISTS %I ON tenant.%I', base.relation || '_write', base.relation);
            EXECUTE format('DROP TRIGGER IF EXISTS %1$I ON tenant_load.%2$I', base.relation || '_write', base.relation);
            CONTINUE;
        END IF;
        -- A view with an INSERT trigger does not use the table's defaults.
        FOR i IN 1 .. cardinality(base.defaulted) LOOP
            EXECUTE format('ALTER VIEW tenant.%I ALTER COLUMN %s SET DEFAULT %s', base.relation, base.defaulted[i], base.defaults[i]);
        END LOOP;

        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I INSTEAD OF %s ON tenant.%I FOR EACH ROW EXECUTE FUNCTION %I()',
            base.relation || '_write',
            CASE WHEN database_edition() = 'community' THEN 'INSERT OR UPDATE OR DELETE' ELSE 'UPDATE OR DELETE' END,
            base.relation,
            'write_tenants_' || base.relation
        );
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I INSTEAD OF UPDATE OR DELETE ON tenant_load.%I FOR EACH ROW EXECUTE FUNCTION %I()',
            base.relation || '_write',
            base.relation,
            'write_tenants_' || base.relation
        );
    END LOOP;
END
$$;

DO $$
DECLARE
    described record;
BEGIN
    FOR described IN
        SELECT
            v.relname,
            a.attname,
            col_description(c.oid, a.attnum) AS meaning
        FROM pg_class AS v
        JOIN pg_class AS c ON c.relname = v.relname AND c.relnamespace = 'public'::regnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE v.relnamespace = 'tenant_load'::regnamespace
    LOOP
        EXECUTE format('COMMENT ON COLUMN tenant_load.%I.%I IS %L', described.relname, described.attname, described.meaning);
    END LOOP;
END
$$;
