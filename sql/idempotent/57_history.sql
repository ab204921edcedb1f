-- History of the master data: figures use the values that were valid at the time of an event.
--
-- A plain UPDATE of a row, in pgAdmin too, takes effect from now on; triggers record it. change_resource(),
-- change_employee() and change_location() set a value from a given time on, or for a limited period; the master row follows
-- if the change extends to the present. Concurrent changes of one entity are serialized by locking its master row.

CREATE OR REPLACE FUNCTION write_history(
    kind text,
    org uuid,
    subject uuid,
    period_start timestamptz,
    period_end timestamptz,
    changes jsonb
)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    history CONSTANT text := format('public.%I', kind || '_history');
    of_version CONSTANT text := format('organization_id = $1 AND %I = $2 AND valid_from = $3', kind || '_id');
    of_subject CONSTANT text := format('organization_id = $1 AND %I = $2', kind || '_id');
    kept CONSTANT text[] := CASE kind
        WHEN 'resource' THEN '{location_id, rated_capacity_per_hour, capacity_unit, is_in_service}'
        WHEN 'employee' THEN '{location_id, is_employed}'
        WHEN 'location' THEN '{timezone}'
    END;
    edge timestamptz;
    version record;
    told jsonb;
    told_from timestamptz;
    changed jsonb;
BEGIN
    -- Each statement addresses one version by its key, with constants: on Citus it may neither compute with columns nor
    -- modify rows in a WITH clause.
    -- First, split the versions that extend across either end of the period.
    -- Cut the versions that reach over an end of the period in two.
    FOREACH edge IN ARRAY ARRAY[period_start, period_end]
    LOOP
        EXECUTE format(
            'SELECT valid_from, valid_to, to_jsonb(h) AS told FROM %s AS h WHERE %s AND valid_from < $3 AND valid_to > $3',
            history, of_subject
        ) INTO version USING org, subject, edge;
        CONTINUE WHEN version.valid_from IS NULL;
        EXECUTE format('UPDATE %s SET valid_to = $4 WHERE %s', history, of_version) USING org, subject, version.valid_from, edge;
        EXECUTE format(
            'INSERT INTO %s (organization_id, %I, valid_from, valid_to, %s) VALUES ($1, $2, $3, $4, %s)',
            history,
            kind || '_id',
            array_to_string(kept, ', '),
            (SELECT string_agg(quote_nullable(version.told ->> k.name), ', ' ORDER BY k.position) FROM unnest(kept) WITH ORDINALITY AS k (name, position))
        ) USING org, subject, edge, version.valid_to;
    END LOOP;

    FOR version IN EXECUTE format(
        'SELECT valid_from, to_jsonb(h) AS told FROM %s AS h WHERE %s AND valid_from >= $3 AND valid_to <= $4', history, of_subject
    ) USING org, subject, period_start, period_end
    LOOP
        EXECUTE format('SELECT to_jsonb(jsonb_populate_record(NULL::%s, $1))', history) INTO changed USING version.told || changes;
        CONTINUE WHEN changed = version.told;
        EXECUTE format(
            'UPDATE %s SET %s, recorded_at = now() WHERE %s',
            history,
            (SELECT string_agg(format('%I = %L', k.name, changed ->> k.name), ', ') FROM unnest(kept) AS k (name)),
            of_version
        ) USING org, subject, version.valid_from;
    END LOOP;

    -- Merge adjacent versions with equal values.
    FOR version IN EXECUTE format(
        'SELECT valid_from, valid_to, jsonb_build_array(%s) AS says FROM %s WHERE %s ORDER BY valid_from',
        array_to_string(kept, ', '), history, of_subject
    ) USING org, subject
    LOOP
        IF version.says = told THEN
            EXECUTE format('DELETE FROM %s WHERE %s', history, of_version) USING org, subject, version.valid_from;
            EXECUTE format('UPDATE %s SET valid_to = $4 WHERE %s', history, of_version)
            USING org, subject, told_from, version.valid_to;
        ELSE
            told := version.says;
            told_from := version.valid_from;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION write_history(text, uuid, uuid, timestamptz, timestamptz, jsonb) IS
    'Writes to the history of a resource, employee or location the values that were valid from period_start to period_end: '
    'only the columns named in changes. Called by the triggers and functions of the history only.';
REVOKE ALL ON FUNCTION write_history(text, uuid, uuid, timestamptz, timestamptz, jsonb) FROM PUBLIC;

-- When a plain change takes effect: now, but never before a change that another transaction has recorded meanwhile, so that neither is lost.
CREATE OR REPLACE FUNCTION history_change_time(kind text, org uuid, subject uuid)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    newest timestamptz;
BEGIN
    EXECUTE format(
        'SELECT max(valid_from) FROM public.%I WHERE organization_id = $1 AND %I = $2 AND valid_from <= clock_timestamp()',
        kind || '_history', kind || '_id'
    ) INTO newest USING org, subject;
    RETURN greatest(now(), newest);
END
$$;
COMMENT ON FUNCTION history_change_time(text, uuid, uuid) IS 'Time from which a change without an explicit effective time is valid.';
REVOKE ALL ON FUNCTION history_change_time(text, uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION keep_resource_history()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    now_so public.resource_history;
    is_now CONSTANT jsonb := jsonb_build_object(
        'location_id', NEW.location_id,
        'rated_capacity_per_hour', NEW.rated_capacity_per_hour,
        'capacity_unit', NEW.capacity_unit,
        'is_in_service', NEW.status <> 'retired'
    );
    changes jsonb;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.resource_history (
            organization_id, resource_id, valid_from, valid_to, location_id, rated_capacity_per_hour, capacity_unit, is_in_service
        )
        VALUES (
            NEW.organization_id, NEW.resource_id, '-infinity', 'infinity', NEW.location_id, NEW.rated_capacity_per_hour,
            NEW.capacity_unit, NEW.status <> 'retired'
        );
        RETURN NULL;
    END IF;

    SELECT h.*
    INTO now_so
    FROM public.resource_history AS h
    WHERE h.organization_id = NEW.organization_id
        AND h.resource_id = NEW.resource_id
        AND h.valid_to = 'infinity';

    SELECT jsonb_object_agg(c.key, c.value)
    INTO changes
    FROM jsonb_each(is_now) AS c
    WHERE c.value IS DISTINCT FROM to_jsonb(now_so) -> c.key;

    IF changes IS NOT NULL THEN
        PERFORM public.write_history(
            'resource', NEW.organization_id, NEW.resource_id,
            public.history_change_time('resource', NEW.organization_id, NEW.resource_id), 'infinity', changes
        );
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_resource_history() IS
    'Trigger: records the location, rated capacity and service status of a resource from now on. SECURITY DEFINER, because '
    'only the owner may write the history; it writes that of the row at hand only.';
REVOKE ALL ON FUNCTION keep_resource_history() FROM PUBLIC;

CREATE OR REPLACE FUNCTION employment_start(org uuid, location uuid, hired_on_date date)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT coalesce(public.local_day_start(hired_on_date, l.timezone), '-infinity')
        FROM public.locations AS l
        WHERE l.organization_id = org
            AND l.location_id = location
    );
END
$$;
COMMENT ON FUNCTION employment_start(uuid, uuid, date) IS
    'Start of the employment of someone hired on this local day of the location; -infinity if the day is unknown.';
REVOKE ALL ON FUNCTION employment_start(uuid, uuid, date) FROM PUBLIC;

CREATE OR REPLACE FUNCTION keep_employee_history()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    hired_at CONSTANT timestamptz := public.employment_start(NEW.organization_id, NEW.location_id, NEW.hired_on_date);
    was_hired_at timestamptz;
    changed_at timestamptz;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.employee_history (organization_id, employee_id, valid_from, valid_to, location_id, is_employed)
        VALUES (NEW.organization_id, NEW.employee_id, '-infinity', 'infinity', NEW.location_id, NEW.is_active);
        IF NEW.is_active AND hired_at > '-infinity' THEN
            PERFORM public.write_history(
                'employee', NEW.organization_id, NEW.employee_id, '-infinity', hired_at, '{"is_employed": false}'
            );
        END IF;
        RETURN NULL;
    END IF;

    changed_at := public.history_change_time('employee', NEW.organization_id, NEW.employee_id);

    IF NEW.location_id <> (
        SELECT h.location_id
        FROM public.employee_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.employee_id = NEW.employee_id
            AND h.valid_to = 'infinity'
    ) THEN
        PERFORM public.write_history(
            'employee', NEW.organization_id, NEW.employee_id, changed_at, 'infinity',
            jsonb_build_object('location_id', NEW.location_id)
        );
    END IF;

    -- The hire date was corrected. Employees who are not known ever to have been employed are left alone.
    IF NEW.hired_on_date IS DISTINCT FROM OLD.hired_on_date THEN
        SELECT min(h.valid_from)
        INTO was_hired_at
        FROM public.employee_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.employee_id = NEW.employee_id
            AND h.is_employed;
        IF hired_at < was_hired_at THEN
            PERFORM public.write_history(
                'employee', NEW.organization_id, NEW.employee_id, hired_at, was_hired_at, '{"is_employed": true}'
            );
        ELSIF hired_at > was_hired_at THEN
            PERFORM public.write_history(
                'employee', NEW.organization_id, NEW.employee_id, '-infinity', hired_at, '{"is_employed": false}'
            );
        END IF;
    END IF;

    -- Keep versions already recorded for the future, such as a scheduled leave.
    IF NEW.is_active IS DISTINCT FROM OLD.is_active AND NEW.is_active IS DISTINCT FROM EXISTS (
        SELECT
        FROM public.employee_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.employee_id = NEW.employee_id
            AND h.is_employed
            AND h.valid_to > changed_at
    ) THEN
        PERFORM public.write_history(
            'employee', NEW.organization_id, NEW.employee_id, changed_at, 'infinity',
            jsonb_build_object('is_employed', NEW.is_active)
        );
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_employee_history() IS
    'Trigger: records the location and employment of an employee from now on or, if hired_on_date is given, from that '
    'local day on. SECURITY DEFINER, because only the owner may write the history; it writes that of the row at hand only.';
REVOKE ALL ON FUNCTION keep_employee_history() FROM PUBLIC;

CREATE OR REPLACE FUNCTION keep_location_history()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.location_history (organization_id, location_id, valid_from, valid_to, timezone)
        VALUES (NEW.organization_id, NEW.location_id, '-infinity', 'infinity', NEW.timezone);
    ELSIF NEW.timezone <> (
        SELECT h.timezone
        FROM public.location_history AS h
        WHERE h.organization_id = NEW.organization_id
            AND h.location_id = NEW.location_id
            AND h.valid_to = 'infinity'
    ) THEN
        PERFORM public.write_history(
            'location', NEW.organization_id, NEW.location_id,
            public.history_change_time('location', NEW.organization_id, NEW.location_id), 'infinity',
            jsonb_build_object('timezone', NEW.timezone)
        );
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_location_history() IS
    'Trigger: records the time zone of a location from now on. SECURITY DEFINER, because only the owner may write the '
    'history; it writes that of the row at hand only.';
REVOKE ALL ON FUNCTION keep_location_history() FROM PUBLIC;

-- Databases of earlier versions have no history: the current values are assumed to have always been valid, since nothing else is known;
-- use correct_resource_history() and its siblings to correct that. (Runs before the triggers exist, and does nothing on later runs.)
INSERT INTO location_history (organization_id, location_id, valid_from, valid_to, timezone)
SELECT
    l.organization_id,
    l.location_id,
    '-infinity',
    'infinity',
    l.timezone
FROM locations AS l
WHERE NOT EXISTS (
    SELECT
    FROM location_history AS h
    WHERE h.organization_id = l.organization_id
        AND h.location_id = l.location_id
);

-- Assume that retired resources and former employees were in service, or employed, until their last recorded event.
WITH unwritten AS (
    SELECT
        r.organization_id,
        r.resource_id,
        r.location_id,
        r.rated_capacity_per_hour,
        r.capacity_unit,
        CASE
            WHEN r.status <> 'retired' THEN 'infinity'
            ELSE least(
                (
                    SELECT coalesce(
                        max(e.time + make_interval(secs => (coalesce(e.duration_minutes, 0) * 60)::double precision)), '-infinity'
                    )
                    FROM operational_events AS e
                    WHERE e.organization_id = r.organization_id
                        AND e.resource_id = r.resource_id
                ),
                now()
            )
        END AS served_until
    FROM resources AS r
    WHERE NOT EXISTS (
        SELECT
        FROM resource_history AS h
        WHERE h.organization_id = r.organization_id
            AND h.resource_id = r.resource_id
    )
)
INSERT INTO resource_history (
    organization_id,
    resource_id,
    valid_from,
    valid_to,
    location_id,
    rated_capacity_per_hour,
    capacity_unit,
    is_in_service
)
SELECT
    u.organization_id,
    u.resource_id,
    v.valid_from,
    v.valid_to,
    u.location_id,
    u.rated_capacity_per_hour,
    u.capacity_unit,
    v.is_in_service
FROM unwritten AS u
CROSS JOIN LATERAL (
    VALUES
        ('-infinity'::timestamptz, u.served_until, true),
        (u.served_until, 'infinity'::timestamptz, false)
) AS v (valid_from, valid_to, is_in_service)
WHERE v.valid_from < v.valid_to;

WITH unwritten AS (
    SELECT
        e.organization_id,
        e.employee_id,
        e.location_id,
        -- Same as employment_start(), for all rows at once.
        coalesce(local_day_start(e.hired_on_date, l.timezone), '-infinity') AS began_at,
        CASE
            WHEN e.is_active THEN 'infinity'
            -- least() and greatest() ignore NULL.
            ELSE least(
                greatest(
                    '-infinity',
                    (
                        SELECT max(a.time + make_interval(secs => greatest(coalesce(a.hours_worked, 0) * 3600, 1)::double precision))
                        FROM employee_attendance AS a
                        WHERE a.organization_id = e.organization_id
                            AND a.employee_id = e.employee_id
                            AND a.time < now()
                    ),
                    (
                        SELECT max(a.ends_at)
                        FROM shift_assignments AS a
                        WHERE a.organization_id = e.organization_id
                            AND a.employee_id = e.employee_id
                            AND a.status IN ('confirmed', 'completed', 'absent')
                            AND a.ends_at <= now()
                    )
                ),
                now()
            )
        END AS worked_until
    FROM employees AS e
    JOIN locations AS l
        ON l.organization_id = e.organization_id
        AND l.location_id = e.location_id
    WHERE NOT EXISTS (
        SELECT
        FROM employee_history AS h
        WHERE h.organization_id = e.organization_id
            AND h.employee_id = e.employee_id
    )
)
INSERT INTO employee_history (organization_id, employee_id, valid_from, valid_to, location_id, is_employed)
SELECT
    u.organization_id,
    u.employee_id,
    v.valid_from,
    v.valid_to,
    u.location_id,
    v.is_employed
FROM unwritten AS u
CROSS JOIN LATERAL (
    VALUES
        ('-infinity'::timestamptz, least(u.began_at, u.worked_until), false),
        (least(u.began_at, u.worked_until), u.worked_until, true),
        (u.worked_until, 'infinity'::timestamptz, false)
) AS v (valid_from, valid_to, is_employed)
WHERE v.valid_from < v.valid_to;

CREATE OR REPLACE TRIGGER resources_keep_history
    AFTER INSERT OR UPDATE OF location_id, rated_capacity_per_hour, capacity_unit, status ON resources
    FOR EACH ROW EXECUTE FUNCTION keep_resource_history();
CREATE OR REPLACE TRIGGER employees_keep_history
    AFTER INSERT OR UPDATE OF location_id, is_active, hired_on_date ON employees
    FOR EACH ROW EXECUTE FUNCTION keep_employee_history();
CREATE OR REPLACE TRIGGER locations_keep_history
    AFTER INSERT OR UPDATE OF timezone ON locations
    FOR EACH ROW EXECUTE FUNCTION keep_location_history();

-- Whether the caller may change the organization's master data. Same rule as the CHECK constraints of the tables, for
-- functions that run with the owner's rights, where only the session tells who the caller is.
CREATE OR REPLACE FUNCTION may_change(master regclass, org uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asker CONSTANT name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    master_table CONSTANT pg_class := (SELECT c FROM pg_class AS c WHERE c.oid = master);
BEGIN
    IF org IS NOT DISTINCT FROM public.current_organization_id()
        AND has_table_privilege(asker, to_regclass(format('tenant.%I', master_table.relname)), 'UPDATE')
    THEN
        RETURN true;
    END IF;
    RETURN has_table_privilege(asker, master, 'UPDATE')
        -- Row security applies to everyone but the table's owner.
        AND (
            NOT master_table.relrowsecurity
            OR pg_has_role(asker, master_table.relowner, 'USAGE')
            OR org IS NOT DISTINCT FROM public.current_organization_id()
        );
END
$$;
COMMENT ON FUNCTION may_change(regclass, uuid) IS
    'Whether the user of this session may change rows of this organization in this table: as its owner, or as its tenant.';
REVOKE ALL ON FUNCTION may_change(regclass, uuid) FROM PUBLIC;

-- Validate the period of a change. Small clock skew into the future counts as now.
CREATE OR REPLACE FUNCTION change_period_start(period_start timestamptz, period_end timestamptz, may_be_future boolean)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present CONSTANT timestamptz := clock_timestamp();
BEGIN
    IF period_start IS NULL OR period_end IS NULL OR period_start >= period_end THEN
        RAISE EXCEPTION 'the change would be valid from % to %: its start must be before its end', period_start, period_end
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF may_be_future AND period_end = 'infinity' THEN
        RETURN period_start;
    END IF;
    IF period_start > present + interval '1 minute' THEN
        RAISE EXCEPTION 'the change would take effect at %, which is in the future: record it once it has happened', period_start
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF period_end < 'infinity' AND period_end > present + interval '1 minute' THEN
        RAISE EXCEPTION 'the change would end at %, which is in the future: leave the end open, or give one in the past', period_end
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN least(period_start, present);
END
$$;
COMMENT ON FUNCTION change_period_start(timestamptz, timestamptz, boolean) IS
    'Time from which this change is valid. Refuses an empty period, and a period in the future where only present and past '
    'values may be recorded.';
REVOKE ALL ON FUNCTION change_period_start(timestamptz, timestamptz, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION change_resource(
    org uuid,
    resource uuid,
    changes jsonb,
    period_start timestamptz DEFAULT NULL,
    period_end timestamptz DEFAULT 'infinity'
)
RETURNS SETOF resources
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    found_one public.resources;
    began_at timestamptz;
    told CONSTANT jsonb := changes || CASE
        WHEN changes ? 'status' THEN jsonb_build_object('is_in_service', changes ->> 'status' <> 'retired')
        ELSE '{}'
    END;
BEGIN
    IF NOT public.may_change('public.resources', org) THEN
        RETURN;
    END IF;
    SELECT r.*
    INTO found_one
    FROM public.resources AS r
    WHERE r.organization_id = org
        AND r.resource_id = resource
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    began_at := public.change_period_start(
        coalesce(period_start, public.history_change_time('resource', org, resource)), period_end, false
    );
    -- Events recorded at the location where the machine was believed to be move with it; events that name another location
    -- are kept as they are.
    IF told ->> 'location_id' IS NOT NULL THEN
        IF public.database_edition() = 'community' THEN
            -- Lift the decompression limit: only batches of this machine are decompressed, none of another organization.
            PERFORM set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);
        END IF;
        UPDATE public.operational_events AS e
        SET location_id = (told ->> 'location_id')::uuid
        FROM public.resource_history AS h
        WHERE e.organization_id = org
            AND e.resource_id = resource
            AND e.time >= began_at
            AND e.time < period_end
            AND h.organization_id = org
            AND h.resource_id = resource
            AND h.valid_from <= e.time
            AND h.valid_to > e.time
            AND h.location_id = e.location_id
            AND h.location_id <> (told ->> 'location_id')::uuid;
    END IF;
    PERFORM public.write_history('resource', org, resource, began_at, period_end, told - 'status');
    IF period_end = 'infinity' THEN
        UPDATE public.resources AS r
        SET
            location_id = told_row.location_id,
            rated_capacity_per_hour = told_row.rated_capacity_per_hour,
            capacity_unit = told_row.capacity_unit,
            status = CASE
                WHEN told ? 'status' THEN told ->> 'status'
                WHEN told ->> 'is_in_service' = 'false' THEN 'retired'
                WHEN told ->> 'is_in_service' = 'true' AND r.status = 'retired' THEN 'running'
                ELSE r.status
            END
        FROM jsonb_populate_record(found_one, told - 'status') AS told_row
        WHERE r.organization_id = org
            AND r.resource_id = resource;
    END IF;
    RETURN QUERY
    SELECT r.*
    FROM public.resources AS r
    WHERE r.organization_id = org
        AND r.resource_id = resource;
END
$$;
COMMENT ON FUNCTION change_resource(uuid, uuid, jsonb, timestamptz, timestamptz) IS
    'Sets the values of a resource from period_start (NULL: from now on) to period_end; changes may contain location_id, '
    'rated_capacity_per_hour, capacity_unit, status and is_in_service. Without an end the values are valid from then on, '
    'and the row of resources is updated. Returns that row, or no row if the caller''s organization has no such resource. '
    'SECURITY DEFINER, because only the owner may write the history.';

CREATE OR REPLACE FUNCTION change_employee(
    org uuid,
    employee uuid,
    changes jsonb,
    period_start timestamptz DEFAULT NULL,
    period_end timestamptz DEFAULT 'infinity'
)
RETURNS SETOF employees
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    began_at timestamptz;
BEGIN
    IF NOT public.may_change('public.employees', org) THEN
        RETURN;
    END IF;
    PERFORM
    FROM public.employees AS e
    WHERE e.organization_id = org
        AND e.employee_id = employee
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- Hiring and leaving may be known in advance.
    began_at := public.change_period_start(
        coalesce(period_start, public.history_change_time('employee', org, employee)), period_end, NOT changes ? 'location_id'
    );
    PERFORM public.write_history('employee', org, employee, began_at, period_end, changes);
    UPDATE public.employees AS e
    SET
        location_id = CASE
            WHEN period_end = 'infinity' AND changes ? 'location_id' THEN (changes ->> 'location_id')::uuid
            ELSE e.location_id
        END,
        is_active = EXISTS (
            SELECT
            FROM public.employee_history AS h
            WHERE h.organization_id = org
                AND h.employee_id = employee
                AND h.is_employed
                AND h.valid_to > now()
        )
    WHERE e.organization_id = org
        AND e.employee_id = employee
        AND period_end = 'infinity';
    RETURN QUERY
    SELECT e.*
    FROM public.employees AS e
    WHERE e.organization_id = org
        AND e.employee_id = employee;
END
$$;
COMMENT ON FUNCTION change_employee(uuid, uuid, jsonb, timestamptz, timestamptz) IS
    'Sets the location (location_id) or employment (is_employed) of an employee from period_start (NULL: from now on) to '
    'period_end. Without an end the values are valid from then on, and the row of employees is updated; is_active stays '
    'true until a future leaving date has passed. Returns that row, or no row if the caller''s organization has no such '
    'employee. SECURITY DEFINER, because only the owner may write the history.';

CREATE OR REPLACE FUNCTION change_location(
    org uuid,
    location uuid,
    changes jsonb,
    period_start timestamptz DEFAULT NULL,
    period_end timestamptz DEFAULT 'infinity'
)
RETURNS SETOF locations
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    began_at timestamptz;
BEGIN
    IF NOT public.may_change('public.locations', org) THEN
        RETURN;
    END IF;
    PERFORM
    FROM public.locations AS l
    WHERE l.organization_id = org
        AND l.location_id = location
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    began_at := public.change_period_start(
        coalesce(period_start, public.history_change_time('location', org, location)), period_end, false
    );
    PERFORM public.write_history('location', org, location, began_at, period_end, changes);
    UPDATE public.locations AS l
    SET timezone = changes ->> 'timezone'
    WHERE l.organization_id = org
        AND l.location_id = location
        AND period_end = 'infinity';
    RETURN QUERY
    SELECT l.*
    FROM public.locations AS l
    WHERE l.organization_id = org
        AND l.location_id = location;
END
$$;
COMMENT ON FUNCTION change_location(uuid, uuid, jsonb, timestamptz, timestamptz) IS
    'Sets the time zone of a location from period_start (NULL: from now on) to period_end. Without an end it is valid from '
    'then on, and the row of locations is updated. Returns that row, or no row if the caller''s organization has no such '
    'location. SECURITY DEFINER, because only the owner may write the history.';
