-- Triggers that write the outbox (53_outbox.sql): once per statement, SECURITY DEFINER, in the transaction of the change.

-- Runs with the privileges and search_path of the calling triggers: its own settings would cost each write more than the rest.
CREATE OR REPLACE FUNCTION announce_changes(organization_ids uuid[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_notify('changes_' || replace(o.notification_key::text, '-', ''), '{"kind": "changes"}')
    FROM public.organizations AS o
    WHERE o.organization_id = ANY (organization_ids)
        AND public.may_announce();
END
$$;
COMMENT ON FUNCTION announce_changes(uuid[]) IS
    'Wakes up listeners on the channel changes of these organizations. Only an optimization: readers also poll once a second.';
REVOKE ALL ON FUNCTION announce_changes(uuid[]) FROM PUBLIC;

-- All rows of a key are replaced by one new row, which no one has read yet: its reader will see everything committed
-- before. Rows that another transaction is deleting are skipped, as are those of readers that resume from a position.
DROP FUNCTION IF EXISTS trim_sync_outbox();
CREATE OR REPLACE FUNCTION trim_sync_outbox(only_organization uuid DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    before_all CONSTANT bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    deleted bigint := 0;
    more bigint;
BEGIN
    IF only_organization IS NULL AND NOT pg_try_advisory_xact_lock(hashtextextended('barnameh outbox trim', 0)) THEN
        RETURN 0;
    END IF;

    -- Rows older than their target keeps them, once every earlier transaction has ended, so that none can commit late among them.
    WITH expired AS (
        SELECT
            o.organization_id,
            o.consumer,
            o.transaction_id,
            o.outbox_id
        FROM public.sync_outbox AS o
        JOIN public.sync_targets AS t
            ON t.organization_id = o.organization_id
            AND t.consumer = o.consumer
        WHERE only_organization IS NULL
            AND o.changed_at < now() - t.keep_for
            AND o.transaction_id < before_all
        FOR UPDATE OF o SKIP LOCKED
    ),
    old AS (
        DELETE FROM public.sync_outbox AS o
        USING expired AS e
        WHERE e.organization_id = o.organization_id
            AND e.consumer = o.consumer
            AND e.transaction_id = o.transaction_id
            AND e.outbox_id = o.outbox_id
        RETURNING
            o.organization_id,
            o.consumer,
            o.transaction_id
    ),
    newest AS (
        SELECT
            d.organization_id,
            d.consumer,
            max(d.transaction_id) AS transaction_id,
            count(*) AS row_count
        FROM old AS d
        GROUP BY
            d.organization_id,
            d.consumer
    ),
    marked AS (
        UPDATE public.sync_targets AS t
        SET trimmed_to = greatest(t.trimmed_to, n.transaction_id)
        FROM newest AS n
        WHERE n.organization_id = t.organization_id
            AND n.consumer = t.consumer
    )
    SELECT coalesce(sum(n.row_count), 0)
    INTO more
    FROM newest AS n;
    deleted := deleted + more;

    WITH repeated AS (
        SELECT
            o.organization_id,
            o.consumer,
            o.kind,
            o.entity_key
        FROM public.sync_outbox AS o
        WHERE only_organization IS NULL OR o.organization_id = only_organization
        GROUP BY
            o.organization_id,
            o.consumer,
            o.kind,
            o.entity_key
        HAVING count(*) > 1
    ),
    locked AS (
        SELECT
            o.organization_id,
            o.consumer,
            o.transaction_id,
            o.outbox_id
        FROM public.sync_outbox AS o
        JOIN repeated AS r
            ON r.organization_id = o.organization_id
            AND r.consumer = o.consumer
            AND r.kind = o.kind
            AND r.entity_key = o.entity_key
        FOR UPDATE OF o SKIP LOCKED
    ),
    gone AS (
        DELETE FROM public.sync_outbox AS o
        USING locked AS l
        WHERE l.organization_id = o.organization_id
            AND l.consumer = o.consumer
            AND l.transaction_id = o.transaction_id
            AND l.outbox_id = o.outbox_id
        RETURNING
            o.organization_id,
            o.consumer,
            o.kind,
            o.entity_key,
            o.changed_at
    ),
    written AS (
        INSERT INTO public.sync_outbox (organization_id, consumer, kind, entity_key, changed_at)
        SELECT
            g.organization_id,
            g.consumer,
            g.kind,
            g.entity_key,
            CASE WHEN t.keep_for IS NULL THEN min(g.changed_at) ELSE max(g.changed_at) END
        FROM gone AS g
        -- Removed targets need nothing.
        JOIN public.sync_targets AS t
            ON t.organization_id = g.organization_id
            AND t.consumer = g.consumer
        GROUP BY
            g.organization_id,
            g.consumer,
            g.kind,
            g.entity_key,
            t.keep_for
        RETURNING outbox_id
    )
    SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM written)
    INTO more;
    deleted := deleted + more;

    WITH targetless AS (
        SELECT
            o.organization_id,
            o.consumer,
            o.transaction_id,
            o.outbox_id
        FROM public.sync_outbox AS o
        WHERE only_organization IS NULL
            AND NOT EXISTS (
                SELECT
                FROM public.sync_targets AS t
                WHERE t.organization_id = o.organization_id
                    AND t.consumer = o.consumer
            )
        FOR UPDATE OF o SKIP LOCKED
    )
    DELETE FROM public.sync_outbox AS o
    USING targetless AS t
    WHERE t.organization_id = o.organization_id
        AND t.consumer = o.consumer
        AND t.transaction_id = o.transaction_id
        AND t.outbox_id = o.outbox_id;
    GET DIAGNOSTICS more = ROW_COUNT;
    RETURN deleted + more;
END
$$;
COMMENT ON FUNCTION trim_sync_outbox(uuid) IS
    'Trims the outbox and returns the number of rows removed: several rows of a key are merged into one; rows past their '
    'target''s keep_for and rows of removed targets are deleted. Called by the writer of each 100,000th row, so that the '
    'outbox is bounded even if no one reads it, and by the sender. Never waits. With an organization, only merges its '
    'keys, so that a customer''s login, whose transaction may stay open, locks no rows of others.';
REVOKE ALL ON FUNCTION trim_sync_outbox(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION trim_outbox_in_passing()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- At other isolation levels, rows that the sender deletes concurrently would make the writer fail.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM public.trim_sync_outbox((SELECT l.organization_id FROM public.tenant_logins AS l WHERE l.role_name = session_user));
    END IF;
EXCEPTION
    WHEN OTHERS THEN
        RAISE WARNING 'the outbox could not be trimmed: %', SQLERRM;  -- never fail the write because of this
END
$$;
COMMENT ON FUNCTION trim_outbox_in_passing() IS
    'Trims the outbox on behalf of the writer of each 100,000th row, and never fails that writer. A customer''s login trims its own '
    'organization''s rows.';
REVOKE ALL ON FUNCTION trim_outbox_in_passing() FROM PUBLIC;

-- A forecast target as text: equal intervals (1 day, 24 hours) give the same text, whatever the session's settings.
CREATE OR REPLACE FUNCTION forecast_key(product_id text, location_id uuid, target_time timestamptz, target_interval interval)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
AS $$
    SELECT jsonb_build_array(
        product_id,
        location_id,
        target_time AT TIME ZONE 'UTC',
        -- Interval comparison assumes years of 360 days; EXTRACT(epoch) 365.25.
        (extract(epoch FROM target_interval) - extract(year FROM target_interval) * 453600)::double precision
    )::text
$$;
COMMENT ON FUNCTION forecast_key(text, uuid, timestamptz, interval) IS
    'Key of a forecast''s target in the outbox: the JSON array of product, location, target time in UTC, and interval in seconds (a month is 30 days, as in the primary key).';

-- Dashboards show open items, and closed ones for this long. A copy expires older ones itself.
CREATE OR REPLACE FUNCTION sync_kept_for(kind text)
RETURNS interval
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN kind = 'forecast' THEN interval '7 days' ELSE interval '30 days' END
$$;
COMMENT ON FUNCTION sync_kept_for(text) IS
    'How long an item remains current for outbox readers after it has ended: a resolved alert, a closed anomaly, a '
    'completed or cancelled plan, a past forecast.';

CREATE OR REPLACE FUNCTION enqueue_changes(organization_id uuid, consumer text, wanted text[])
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    written bigint;
BEGIN
    INSERT INTO public.sync_outbox (organization_id, consumer, kind, entity_key)
    SELECT
        t.organization_id,
        t.consumer,
        k.kind,
        k.entity_key
    FROM public.sync_targets AS t
    CROSS JOIN LATERAL (
        SELECT
            'alert' AS kind,
            a.alert_id::text AS entity_key
        FROM public.alerts AS a
        WHERE a.organization_id = enqueue_changes.organization_id
            AND (a.resolved_at IS NULL OR a.resolved_at > now() - public.sync_kept_for('alert'))
            AND 'alert' = ANY (wanted)
        UNION ALL
        SELECT
            'anomaly',
            p.anomaly_id::text
        FROM public.anomaly_predictions AS p
        WHERE p.organization_id = enqueue_changes.organization_id
            AND (p.closed_at IS NULL OR p.closed_at > now() - public.sync_kept_for('anomaly'))
            AND 'anomaly' = ANY (wanted)
        UNION ALL
        SELECT
            'resource_status',
            r.resource_id::text
        FROM public.resources AS r
        WHERE r.organization_id = enqueue_changes.organization_id
            AND 'resource_status' = ANY (wanted)
        UNION ALL
        SELECT DISTINCT
            'forecast',
            public.forecast_key(f.product_id, f.location_id, f.target_time, f.target_interval)
        FROM public.demand_forecasts AS f
        WHERE f.organization_id = enqueue_changes.organization_id
            AND f.purpose = 'published'
            AND f.target_time + f.target_interval > now() - public.sync_kept_for('forecast')
            AND 'forecast' = ANY (wanted)
        UNION ALL
        SELECT
            'plan',
            p.plan_id::text
        FROM public.production_plans AS p
        WHERE p.organization_id = enqueue_changes.organization_id
            AND (p.status IN ('planned', 'in_progress') OR p.updated_at > now() - public.sync_kept_for('plan'))
            AND 'plan' = ANY (wanted)
        UNION ALL
        SELECT
            'kpi',
            d.days || '/' || n.kpi
        FROM unnest(ARRAY[1, 7, 30]) AS d (days)
        CROSS JOIN unnest(public.kpi_names()) AS n (kpi)
        WHERE 'kpi' = ANY (wanted)
    ) AS k
    WHERE t.organization_id = enqueue_changes.organization_id
        AND t.consumer = enqueue_changes.consumer
        AND k.kind = ANY (t.kinds);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written > 0 THEN
        PERFORM public.announce_changes(ARRAY[organization_id]);
    END IF;
    RETURN written;
END
$$;
COMMENT ON FUNCTION enqueue_changes(uuid, text, text[]) IS
    'Writes all current keys of the requested kinds to the outbox of this target, and returns their number. For the '
    'initial copy, and for KPIs, which change with the clock.';
REVOKE ALL ON FUNCTION enqueue_changes(uuid, text, text[]) FROM PUBLIC;

-- Row by row, because TimescaleDB has no DELETE statement triggers with transition tables. Rows of one resource leave one
-- row per transaction, with an outbox_id derived from the resource.
CREATE OR REPLACE FUNCTION outbox_deleted_reading()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.resource_id IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.sync_outbox (organization_id, consumer, outbox_id, kind, entity_key)
    SELECT
        t.organization_id,
        t.consumer,
        -1 - abs(hashtextextended(OLD.resource_id::text, 0) / 2),
        'resource_status',
        OLD.resource_id::text
    FROM public.sync_targets AS t
    WHERE t.organization_id = OLD.organization_id
        AND 'resource_status' = ANY (t.kinds)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM public.announce_changes(ARRAY[OLD.organization_id]);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION outbox_deleted_reading() IS
    'Trigger: writes the resource of a deleted event or metric to the outbox, for organizations with a target. SECURITY DEFINER.';
REVOKE ALL ON FUNCTION outbox_deleted_reading() FROM PUBLIC;

CREATE OR REPLACE FUNCTION write_outbox(org uuid, changed_kind text, entity_keys text[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    row_count bigint;
    last_id bigint;
BEGIN
    INSERT INTO public.sync_outbox (organization_id, consumer, kind, entity_key)
    SELECT
        t.organization_id,
        t.consumer,
        changed_kind,
        k.entity_key
    FROM public.sync_targets AS t
    CROSS JOIN unnest(entity_keys) AS k (entity_key)
    WHERE t.organization_id = org
        AND changed_kind = ANY (t.kinds);
    GET DIAGNOSTICS row_count = ROW_COUNT;
    IF row_count > 0 THEN
        PERFORM pg_notify('changes_' || replace(o.notification_key::text, '-', ''), '{"kind": "changes"}')
        FROM public.organizations AS o
        WHERE o.organization_id = org
            AND public.may_announce();
        last_id := lastval();
        IF last_id / 100000 <> (last_id - row_count) / 100000 THEN
            PERFORM public.trim_outbox_in_passing();
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION write_outbox(uuid, text, text[]) IS
    'Writes these keys to the outbox of each target of the organization that receives the kind, with the privileges and '
    'search_path of the calling triggers.';
REVOKE ALL ON FUNCTION write_outbox(uuid, text, text[]) FROM PUBLIC;

DO $$
DECLARE
    kept record;
    may_note CONSTANT boolean := database_edition() = 'community'
        AND has_table_privilege(to_regclass('_timescaledb_catalog.continuous_aggs_hypertable_invalidation_log'), 'INSERT');
BEGIN
    FOR kept IN
        SELECT
            k.kind,
            k.relation,
            k.entity_key,
            k.columns,
            k.relation IN (SELECT l.relation FROM time_series_layout() AS l) AS is_series
        FROM (
            VALUES
                ('alert', 'alerts', 'alert_id', 'c.alert_id::text'),
                ('anomaly', 'anomaly_predictions', 'anomaly_id', 'c.anomaly_id::text'),
                ('plan', 'production_plans', 'plan_id', 'c.plan_id::text'),
                -- Shadow forecasts of challengers are not copied.
                (
                    'forecast', 'demand_forecasts', 'product_id, location_id, target_time, target_interval, purpose',
                    'CASE WHEN c.purpose = ''published'' '
                    'THEN public.forecast_key(c.product_id, c.location_id, c.target_time, c.target_interval) END'
                ),
                ('resource_status', 'resources', 'resource_id', 'c.resource_id::text'),
                ('resource_status', 'operational_events', 'resource_id', 'c.resource_id::text'),
                ('resource_status', 'resource_metrics', 'resource_id', 'c.resource_id::text')
        ) AS k (kind, relation, columns, entity_key)
    LOOP
        EXECUTE format(
            $function$
            CREATE OR REPLACE FUNCTION %1$I()
            RETURNS trigger
            LANGUAGE plpgsql
            SECURITY DEFINER
            SET search_path = pg_catalog, public, pg_temp
            AS $trigger$
            DECLARE
                target record;
            BEGIN
                %6$s
                -- The only cost for databases without targets. A second statement would cost a single row more than the work itself.
                IF %5$s THEN
                    RETURN NULL;
                END IF;

                IF TG_OP = 'TRUNCATE' THEN
                    -- One at a time: within a query it would run on the nodes of the rows, each of which sees its own only.
                    FOR target IN
                        SELECT
                            t.organization_id,
                            t.consumer
                        FROM public.sync_targets AS t
                        WHERE '%2$s' = ANY (t.kinds)
                    LOOP
                        PERFORM public.enqueue_changes(target.organization_id, target.consumer, '{%2$s}');
                    END LOOP;
                ELSIF TG_OP = 'UPDATE' THEN
                    PERFORM public.write_outbox(c.organization_id, '%2$s', array_agg(%3$s))
                    FROM (
                        SELECT organization_id, %4$s FROM earlier_rows
                        UNION
                        SELECT organization_id, %4$s FROM changed_rows
                    ) AS c
                    WHERE %3$s IS NOT NULL
                    GROUP BY c.organization_id;
                ELSE
                    PERFORM public.write_outbox(c.organization_id, '%2$s', array_agg(%3$s))
                    FROM (
                        -- A thousand readings of a machine are a single change.
                        SELECT DISTINCT organization_id, %4$s FROM changed_rows
                    ) AS c
                    WHERE %3$s IS NOT NULL
                    GROUP BY c.organization_id;
                END IF;
                RETURN NULL;
            END
            $trigger$
            $function$,
            'outbox_' || kept.relation,
            kept.kind,
            kept.entity_key,
            kept.columns,
            -- On Citus, a trigger on a worker sees the targets of its own rows only.
            CASE database_edition() WHEN 'citus' THEN 'false' ELSE 'NOT EXISTS (SELECT FROM public.sync_targets)' END,
            -- Because of the transition tables of these triggers, COPY inserts row by row: see note_copied_rows().
            CASE
                WHEN kept.is_series AND may_note THEN
                    format(
                        'IF TG_OP = ''INSERT'' AND left(current_query(), 10000) ~* ''\mcopy\M'' THEN '
                        'PERFORM public.note_copied_rows(%L, min(c.time), max(c.time)) FROM changed_rows AS c; '
                        'END IF;',
                        kept.relation
                    )
            END
        );
        EXECUTE format(
            'COMMENT ON FUNCTION %I() IS %L',
            'outbox_' || kept.relation,
            'Trigger: writes the keys of changed rows to the outbox, once per statement, for organizations with a target. SECURITY DEFINER.'
        );
        EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'outbox_' || kept.relation);

        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %1$I AFTER INSERT ON %2$I REFERENCING NEW TABLE AS changed_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION %3$I()',
            kept.relation || '_outbox_inserted',
            kept.relation,
            'outbox_' || kept.relation
        );
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %1$I AFTER UPDATE ON %2$I REFERENCING OLD TABLE AS earlier_rows NEW TABLE AS changed_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION %3$I()',
            kept.relation || '_outbox_updated',
            kept.relation,
            'outbox_' || kept.relation
        );
        EXECUTE format(
            CASE
                WHEN kept.is_series THEN
                    'CREATE OR REPLACE TRIGGER %1$I AFTER DELETE ON %2$I FOR EACH ROW EXECUTE FUNCTION outbox_deleted_reading()'
                ELSE
                    'CREATE OR REPLACE TRIGGER %1$I AFTER DELETE ON %2$I REFERENCING OLD TABLE AS changed_rows '
                    'FOR EACH STATEMENT EXECUTE FUNCTION %3$I()'
            END,
            kept.relation || '_outbox_deleted',
            kept.relation,
            'outbox_' || kept.relation
        );
        -- Before, while the keys still exist.
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %1$I BEFORE TRUNCATE ON %2$I FOR EACH STATEMENT EXECUTE FUNCTION %3$I()',
            kept.relation || '_outbox_truncated',
            kept.relation,
            'outbox_' || kept.relation
        );
    END LOOP;
END
$$;
