-- What the database maintains by itself: updated_at, recorded_at, copies of shift times, append-only predictions, notifications.

-- Every table with an updated_at or recorded_at column gets the trigger that maintains it, except demand_history, where a
-- default suffices for bulk loads; see keep_demand_revision(). Rows with the default need no call: WHEN costs a tenth of one.
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
            'CREATE OR REPLACE TRIGGER %I BEFORE %s ON %I FOR EACH ROW WHEN (NEW.%I IS DISTINCT FROM now()) '
            'EXECUTE FUNCTION %I()',
            kept.table_name || '_set_' || kept.column_name,
            CASE kept.column_name WHEN 'recorded_at' THEN 'INSERT' ELSE 'INSERT OR UPDATE' END,
            kept.table_name,
            kept.column_name,
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
-- An anomaly can be acknowledged and closed, but the prediction itself cannot be changed.
CREATE OR REPLACE TRIGGER anomaly_predictions_append_only
    BEFORE UPDATE OF
        organization_id, anomaly_id, resource_id, anomaly_type, severity, probability, predicted_for, description,
        model_name, model_version, available_at, recorded_at
    ON anomaly_predictions
    FOR EACH ROW EXECUTE FUNCTION refuse_update();

-- Keep the previous value of a demand row that is corrected or deleted, and the time at which the new value was recorded.
-- The row trigger fires only where a quantity changes; inserts fire nothing. (Retention drops whole chunks, which is not a
-- correction and leaves no revisions.)
CREATE OR REPLACE FUNCTION keep_demand_revision()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A transaction that began earlier may write later.
    replaced_at CONSTANT timestamptz := greatest(now(), OLD.recorded_at);
BEGIN
    IF OLD.recorded_at IS DISTINCT FROM replaced_at
        -- Deleting a whole organization also deletes its locations, and needs no revisions.
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
    'Trigger: keeps the previous value of a demand row that is corrected or deleted. SECURITY DEFINER, because tenants '
    'cannot write revisions.';
REVOKE ALL ON FUNCTION keep_demand_revision() FROM PUBLIC;
CREATE OR REPLACE TRIGGER demand_history_keep_corrected
    BEFORE UPDATE ON demand_history
    FOR EACH ROW WHEN (OLD.quantity IS DISTINCT FROM NEW.quantity)
    EXECUTE FUNCTION keep_demand_revision();
CREATE OR REPLACE TRIGGER demand_history_keep_deleted
    AFTER DELETE ON demand_history
    FOR EACH ROW EXECUTE FUNCTION keep_demand_revision();

-- Only rows of the new rows' own organization are compared, which the view and the table's check have verified to be the
-- writer's. Two concurrent writers that both start a series do not see each other; doctor reports the result.
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
        -- The minimum and maximum unit of a series are at the ends of its range of the index.
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
            'external factor % (%, %) would have two units, % and %: convert the values to the existing unit, or give the '
            'series in the other unit a different name',
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
COMMENT ON FUNCTION refuse_second_unit() IS 'Trigger: enforces a single unit per series of an external factor, so that celsius and fahrenheit are never averaged.';
REVOKE ALL ON FUNCTION refuse_second_unit() FROM PUBLIC;
CREATE OR REPLACE TRIGGER external_factors_one_unit_per_series
    AFTER INSERT ON external_factors
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_unit();

-- The trigger of shift assignments reads the shift with the writer's own rights. With the owner's rights it would copy the
-- times of another organization's shift into the row, and the error message for that row would disclose them.
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
    'Trigger: copies the shift''s times to a shift assignment, read with the writer''s own rights; the foreign key verifies them.';
CREATE OR REPLACE TRIGGER shift_assignments_copy_shift_times
    BEFORE INSERT OR UPDATE OF organization_id, shift_id ON shift_assignments
    FOR EACH ROW EXECUTE FUNCTION copy_shift_times();

-- Employees who are not employed when a shift begins cannot be assigned to it. An employee whom the writer cannot see is
-- left to the foreign key; cancelled assignments are not checked. Assignments made before an employee left are kept, but do
-- not count towards coverage.
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
    'Trigger: refuses to assign an employee who is not employed when the shift begins; reads with the writer''s own rights.';
-- Fires after copy_shift_times, in name order.
CREATE OR REPLACE TRIGGER shift_assignments_refuse_unemployed
    BEFORE INSERT OR UPDATE OF organization_id, shift_id, employee_id ON shift_assignments
    FOR EACH ROW WHEN (NEW.status <> 'cancelled')
    EXECUTE FUNCTION refuse_unemployed();
-- A cancelled assignment is reactivated.
CREATE OR REPLACE TRIGGER shift_assignments_refuse_unemployed_again
    BEFORE UPDATE OF status ON shift_assignments
    FOR EACH ROW WHEN (OLD.status = 'cancelled' AND NEW.status <> 'cancelled')
    EXECUTE FUNCTION refuse_unemployed();

-- Notifications. Any role may listen on any channel, so channel names contain the organization's secret key, and payloads
-- contain identifiers only: the listener reads the row with its own rights.
--
-- The server has one notification queue for all databases, which any session can fill. Once it is full, a commit with a
-- notification fails, and that error cannot be caught. So nothing is announced while the queue is more than a quarter full:
-- the row matters more than its notification. (Notifications enter the queue at commit only; the other three quarters are
-- headroom for transactions that have passed this check and are still open.)
CREATE OR REPLACE FUNCTION may_announce()
RETURNS boolean
LANGUAGE sql
VOLATILE
AS $$
    SELECT pg_catalog.pg_notification_queue_usage() < 0.25
$$;
COMMENT ON FUNCTION may_announce() IS
    'Whether the server''s notification queue has room. While it is more than a quarter full, rows are written without '
    'being announced; listeners poll as well.';

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
    'Channel on which the organization''s changes of this kind (alerts, anomalies, predictions) are announced; NULL for an '
    'organization that the caller cannot see. LISTEN to it; the payload is JSON with identifiers, never contents.';

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
    'Trigger(kind, id column): announces a row on its organization''s channel once the transaction commits. SECURITY '
    'DEFINER, to read the channel key.';
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

-- One notification per statement and organization, however many rows a run has; caches use it for invalidation. An
-- organization deleted by the same statement has no channel and no listeners any more.
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
    'Trigger: notifies caches, once per statement and organization, that predictions of a kind were saved, changed or '
    'deleted. A TRUNCATE notifies every organization.';
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
                -- Before, because after TRUNCATE organizations CASCADE no organization is left to notify.
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
