-- What the database keeps by itself: updated_at, recorded_at, copies of shift times, append-only predictions,
-- notifications.

-- Tables with an updated_at or recorded_at column get the trigger that keeps it. (Not demand: a default is enough for rows that are
-- loaded by the million; see keep_demand_revision().)
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT
            c.relname AS table_name,
            a.attname AS column_name
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname IN ('updated_at', 'recorded_at')
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind IN ('r', 'p')
            AND c.relname NOT IN ('demand_history', 'demand_revisions')
        ORDER BY c.relname, a.attname
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I BEFORE %s ON %I FOR EACH ROW EXECUTE FUNCTION %I()',
            kept.table_name || '_set_' || kept.column_name,
            CASE kept.column_name WHEN 'recorded_at' THEN 'INSERT' ELSE 'INSERT OR UPDATE' END,
            kept.table_name,
            'set_' || kept.column_name
        );
    END LOOP;
END
$$;

CREATE OR REPLACE TRIGGER demand_forecasts_append_only
    BEFORE UPDATE ON demand_forecasts
    FOR EACH ROW EXECUTE FUNCTION refuse_update();
CREATE OR REPLACE TRIGGER absence_forecasts_append_only
    BEFORE UPDATE ON absence_forecasts
    FOR EACH ROW EXECUTE FUNCTION refuse_update();
CREATE OR REPLACE TRIGGER external_factors_append_only
    BEFORE UPDATE ON external_factors
    FOR EACH ROW EXECUTE FUNCTION refuse_update();
CREATE OR REPLACE TRIGGER schedule_proposal_items_append_only
    BEFORE UPDATE ON schedule_proposal_items
    FOR EACH ROW EXECUTE FUNCTION refuse_update();
CREATE OR REPLACE TRIGGER forecast_backtests_append_only
    BEFORE UPDATE ON forecast_backtests
    FOR EACH ROW EXECUTE FUNCTION refuse_update();
-- An anomaly can be acknowledged and closed; what was predicted cannot be rewritten.
CREATE OR REPLACE TRIGGER anomaly_predictions_append_only
    BEFORE UPDATE OF
        organization_id, anomaly_id, resource_id, anomaly_type, severity, probability, predicted_for, description,
        model_name, model_version, available_at, recorded_at
    ON anomaly_predictions
    FOR EACH ROW EXECUTE FUNCTION refuse_update();

-- What a row of demand said before it was corrected or deleted, and since when it says what it says. Rows are only looked at one by one
-- where a quantity changes; inserting fires nothing. (Retention drops whole chunks: no correction, and nothing is kept of it.)
CREATE OR REPLACE FUNCTION keep_demand_revision()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A transaction that began earlier may be the later one to write.
    replaced_at CONSTANT timestamptz := greatest(now(), OLD.recorded_at);
BEGIN
    IF OLD.recorded_at IS DISTINCT FROM replaced_at
        -- An organization that is deleted as a whole takes its places with it, and needs no revisions.
        AND (TG_OP = 'UPDATE' OR EXISTS (
            SELECT
            FROM public.locations AS l
            WHERE l.organization_id = OLD.organization_id
                AND l.location_id = OLD.location_id
        ))
    THEN
        INSERT INTO public.demand_revisions (
            organization_id,
            product_id,
            location_id,
            time,
            replaced_at,
            recorded_at,
            quantity
        )
        VALUES (
            OLD.organization_id,
            OLD.product_id,
            OLD.location_id,
            OLD.time,
            replaced_at,
            OLD.recorded_at,
            OLD.quantity
        )
        ON CONFLICT DO NOTHING;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    NEW.recorded_at := replaced_at;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION keep_demand_revision() IS
    'Trigger: keeps what a row of demand said before it was corrected or deleted. Runs with the owner''s rights, as tenants write no revisions.';
REVOKE ALL ON FUNCTION keep_demand_revision() FROM PUBLIC;
CREATE OR REPLACE TRIGGER demand_history_keep_corrected
    BEFORE UPDATE ON demand_history
    FOR EACH ROW WHEN (OLD.quantity IS DISTINCT FROM NEW.quantity)
    EXECUTE FUNCTION keep_demand_revision();
CREATE OR REPLACE TRIGGER demand_history_keep_deleted
    AFTER DELETE ON demand_history
    FOR EACH ROW EXECUTE FUNCTION keep_demand_revision();

-- It compares with rows of the new rows' own organization only, which the view and the table's own check have made sure is the
-- writer's. Two writers at once, the first of a series both, do not see each other: doctor finds what they leave.
CREATE OR REPLACE FUNCTION refuse_second_unit()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    series record;
    unit record;
BEGIN
    FOR series IN
        SELECT DISTINCT
            r.organization_id,
            r.name,
            r.factor_type,
            r.location_id
        FROM new_rows AS r
    LOOP
        -- The least and the greatest unit of a series stand at the ends of its part of the index.
        IF series.location_id IS NULL THEN
            SELECT
                min(f.unit) AS least,
                max(f.unit) AS greatest
            INTO unit
            FROM public.external_factors AS f
            WHERE f.organization_id = series.organization_id
                AND f.name = series.name
                AND f.factor_type = series.factor_type
                AND f.location_id IS NULL;
        ELSE
            SELECT
                min(f.unit) AS least,
                max(f.unit) AS greatest
            INTO unit
            FROM public.external_factors AS f
            WHERE f.organization_id = series.organization_id
                AND f.name = series.name
                AND f.factor_type = series.factor_type
                AND f.location_id = series.location_id;
        END IF;
        CONTINUE WHEN unit.least = unit.greatest;
        RAISE EXCEPTION
            'external factor % (%, %) would have two units, % and %: convert the values to the unit that it has, or give the series in '
            'the other unit a name of its own',
            series.name,
            series.factor_type,
            coalesce('location ' || series.location_id, 'all locations'),
            unit.least,
            unit.greatest
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'external_factors_one_unit_per_series_check',
                  DETAIL = 'Rule: external_factors_one_unit_per_series_check',
                  TABLE = 'external_factors',
                  SCHEMA = 'public';
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION refuse_second_unit() IS 'Trigger: a series of an external factor has one unit, so that no mean is taken of celsius and fahrenheit.';
REVOKE ALL ON FUNCTION refuse_second_unit() FROM PUBLIC;
CREATE OR REPLACE TRIGGER external_factors_one_unit_per_series
    AFTER INSERT ON external_factors
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_unit();

-- A shift assignment's trigger reads the shift with the writer's own rights. With the owner's it would put the times of
-- another organization's shift into the row, and the refusal of that row would show them.
CREATE OR REPLACE FUNCTION copy_shift_times()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF has_table_privilege('public.shifts', 'SELECT') THEN
        SELECT
            s.starts_at,
            s.ends_at
        INTO
            NEW.starts_at,
            NEW.ends_at
        FROM public.shifts AS s
        WHERE s.organization_id = NEW.organization_id
            AND s.shift_id = NEW.shift_id;
    ELSE
        SELECT
            s.starts_at,
            s.ends_at
        INTO
            NEW.starts_at,
            NEW.ends_at
        FROM tenant.shifts AS s
        WHERE s.organization_id = NEW.organization_id
            AND s.shift_id = NEW.shift_id;
    END IF;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'shift % does not exist in this organization', NEW.shift_id
            USING ERRCODE = 'foreign_key_violation',
                  CONSTRAINT = 'shift_assignments_organization_id_shift_id_fkey',
                  DETAIL = 'Rule: shift_assignments_organization_id_shift_id_fkey',
                  TABLE = 'shift_assignments';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION copy_shift_times() IS
    'Trigger: a shift assignment carries its shift''s times, read with the writer''s own rights; the foreign key checks them.';
CREATE OR REPLACE TRIGGER shift_assignments_copy_shift_times
    BEFORE INSERT OR UPDATE OF organization_id, shift_id ON shift_assignments
    FOR EACH ROW EXECUTE FUNCTION copy_shift_times();

-- Who is not employed when a shift begins cannot be assigned to it. Whether someone is that the writer cannot see is for the
-- foreign key to say; a cancelled assignment needs nobody. What was assigned before someone left stays, and covers nothing.
CREATE OR REPLACE FUNCTION refuse_unemployed()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    is_employed boolean;
BEGIN
    IF has_table_privilege('public.employee_history', 'SELECT') THEN
        SELECT h.is_employed
        INTO is_employed
        FROM public.employee_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.employee_id = NEW.employee_id
            AND h.valid_from <= NEW.starts_at
            AND h.valid_to > NEW.starts_at;
    ELSE
        SELECT h.is_employed
        INTO is_employed
        FROM tenant.employee_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.employee_id = NEW.employee_id
            AND h.valid_from <= NEW.starts_at
            AND h.valid_to > NEW.starts_at;
    END IF;

    IF NOT is_employed THEN
        RAISE EXCEPTION 'employee % is not employed when the shift begins', NEW.employee_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'shift_assignments_employee_is_employed_check',
                  DETAIL = 'Rule: shift_assignments_employee_is_employed_check',
                  TABLE = 'shift_assignments';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION refuse_unemployed() IS
    'Trigger: nobody is assigned to a shift who is not employed when it begins; read with the writer''s own rights.';
-- After copy_shift_times, in the order of names.
CREATE OR REPLACE TRIGGER shift_assignments_refuse_unemployed
    BEFORE INSERT OR UPDATE OF organization_id, shift_id, employee_id ON shift_assignments
    FOR EACH ROW WHEN (NEW.status <> 'cancelled')
    EXECUTE FUNCTION refuse_unemployed();
-- A cancelled assignment comes back to life.
CREATE OR REPLACE TRIGGER shift_assignments_refuse_unemployed_again
    BEFORE UPDATE OF status ON shift_assignments
    FOR EACH ROW WHEN (OLD.status = 'cancelled' AND NEW.status <> 'cancelled')
    EXECUTE FUNCTION refuse_unemployed();

-- Notifications. Any role may listen on any channel, so a channel's name holds the organization's secret key, and the
-- payload holds identifiers only: the listener reads the row with its own rights.
--
-- The server has one queue for all databases, which any session can fill. Once it is full a commit with an announcement fails, and
-- nothing can catch that. So above a quarter nothing is announced: a row is worth more than the word that it is there. (Before
-- commit nothing is in the queue: the other three quarters are for transactions that have asked already, and are under way still.)
CREATE OR REPLACE FUNCTION may_announce()
RETURNS boolean
LANGUAGE sql
VOLATILE
AS $$
    SELECT pg_catalog.pg_notification_queue_usage() < 0.25
$$;
COMMENT ON FUNCTION may_announce() IS
    'Has the server''s queue of notifications room? Above a quarter rows are written and not announced; listeners look by themselves.';

CREATE OR REPLACE FUNCTION notification_channel(kind text, organization_id uuid)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN (
        SELECT kind || '_' || replace(o.notification_key::text, '-', '')
        FROM organizations AS o
        WHERE o.organization_id = notification_channel.organization_id
    );
END
$$;
COMMENT ON FUNCTION notification_channel(text, uuid) IS
    'On which channel is this organization told of kind (alerts, anomalies, predictions)? NULL for an organization '
    'that the caller cannot see. LISTEN to it; the payload is JSON with identifiers, never contents.';

CREATE OR REPLACE FUNCTION announce_row()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    kind CONSTANT text := TG_ARGV[0];
    id_column CONSTANT text := TG_ARGV[1];
    changed CONSTANT jsonb := to_jsonb(NEW);
BEGIN
    IF NOT public.may_announce() THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify(
        public.notification_channel(kind, NEW.organization_id),
        json_build_object(
            'kind', kind,
            'id', changed -> id_column,
            'operation', lower(TG_OP),
            'status', changed -> 'status',
            'severity', changed -> 'severity'
        )::text
    );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION announce_row() IS
    'Trigger(kind, id column): announces a row on its organization''s channel once the transaction commits. Runs with '
    'the owner''s rights to read the channel''s key.';
REVOKE ALL ON FUNCTION announce_row() FROM PUBLIC;
CREATE OR REPLACE TRIGGER alerts_announce
    AFTER INSERT OR UPDATE OF status ON alerts
    FOR EACH ROW EXECUTE FUNCTION announce_row('alerts', 'alert_id');
CREATE OR REPLACE TRIGGER anomaly_predictions_announce
    AFTER INSERT ON anomaly_predictions
    FOR EACH ROW WHEN (NEW.severity = 'critical')
    EXECUTE FUNCTION announce_row('anomalies', 'anomaly_id');
CREATE OR REPLACE TRIGGER anomaly_predictions_announce_status
    AFTER UPDATE OF status ON anomaly_predictions
    FOR EACH ROW EXECUTE FUNCTION announce_row('anomalies', 'anomaly_id');

-- One announcement per statement and organization, however many rows a run has: caches drop what is now old. An
-- organization that the same statement deletes has no channel any more, and nobody to tell.
CREATE OR REPLACE FUNCTION announce_predictions()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    touched uuid[];
BEGIN
    IF NOT public.may_announce() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        touched := ARRAY(SELECT o.organization_id FROM public.organizations AS o);
    ELSE
        touched := ARRAY(SELECT DISTINCT c.organization_id FROM changed_rows AS c);
    END IF;

    PERFORM pg_notify(
        public.notification_channel('predictions', o.organization_id),
        json_build_object('kind', TG_TABLE_NAME)::text
    )
    FROM public.organizations AS o
    WHERE o.organization_id = ANY (touched);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION announce_predictions() IS
    'Trigger: tells caches, once per statement and organization, that predictions of a kind were saved, changed or deleted. '
    'Of a TRUNCATE every organization hears.';
REVOKE ALL ON FUNCTION announce_predictions() FROM PUBLIC;
DO $$
DECLARE
    announced record;
BEGIN
    FOR announced IN
        SELECT
            t.table_name,
            o.operation,
            o.moment_and_rows
        FROM unnest(ARRAY['demand_forecasts', 'absence_forecasts', 'anomaly_predictions']) AS t (table_name)
        CROSS JOIN (
            VALUES
                ('INSERT', 'AFTER INSERT ON %I REFERENCING NEW TABLE AS changed_rows'),
                ('UPDATE', 'AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed_rows'),
                ('DELETE', 'AFTER DELETE ON %I REFERENCING OLD TABLE AS changed_rows'),
                -- Before, because TRUNCATE organizations CASCADE leaves no organization afterwards.
                ('TRUNCATE', 'BEFORE TRUNCATE ON %I')
        ) AS o (operation, moment_and_rows)
        WHERE o.operation <> 'UPDATE' OR t.table_name = 'anomaly_predictions'
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I ' || announced.moment_and_rows || ' FOR EACH STATEMENT '
            'EXECUTE FUNCTION announce_predictions()',
            announced.table_name || '_announce_' || lower(announced.operation),
            announced.table_name
        );
    END LOOP;
END
$$;
