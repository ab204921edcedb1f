-- What a later version adds to tables that an earlier one made. The tables' own files say the same for a new database, and a
-- test compares the two. (Views, functions, triggers and rights need no word here: their files make them anew each time.)
--
-- Version 3: no time far in the future anywhere, no blank unit. A row that breaks one of these rules stops the upgrade,
-- which names the rule; put the row right and apply the schema again.

DO $$
DECLARE
    added record;
BEGIN
    FOR added IN
        SELECT
            a.table_name,
            a.table_name || '_' || a.rule || '_check' AS check_name,
            a.condition
        FROM (
            VALUES
                ('resources', 'capacity_unit_not_blank', $check$capacity_unit ~ '\S'$check$),
                (
                    'employees', 'hired_on_date_within_10_years',
                    $check$isfinite(hired_on_date) AND hired_on_date <= now() + interval '10 years'$check$
                ),
                ('shifts', 'starts_at_within_10_years', $check$starts_at <= now() + interval '10 years'$check$),
                ('production_plans', 'plan_date_within_10_years', $check$plan_date <= now() + interval '10 years'$check$),
                ('anomaly_predictions', 'closed_at_not_in_future', $check$closed_at <= now() + interval '1 day'$check$),
                ('anomaly_predictions', 'occurred_at_not_in_future', $check$occurred_at <= now() + interval '1 day'$check$),
                ('optimization_runs', 'finished_at_not_in_future', $check$finished_at <= now() + interval '1 day'$check$),
                ('resource_metrics', 'downtime_minutes_at_most_a_day', $check$downtime_minutes <= 1440$check$),
                ('alerts', 'acknowledged_at_not_in_future', $check$acknowledged_at <= now() + interval '1 day'$check$),
                ('alerts', 'resolved_at_not_in_future', $check$resolved_at <= now() + interval '1 day'$check$)
        ) AS a (table_name, rule, condition)
    LOOP
        IF NOT EXISTS (
            SELECT
            FROM pg_constraint AS k
            WHERE k.conrelid = added.table_name::regclass
                AND k.conname = added.check_name
        ) THEN
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s)', added.table_name, added.check_name, added.condition);
        END IF;
    END LOOP;
END
$$;

-- Version 8: time zones are names. What an abbreviation or a POSIX rule was meant to be, nobody can tell but who wrote it.
DO $$
DECLARE
    no_names text;
BEGIN
    SELECT string_agg(z.found, '; ' ORDER BY z.found)
    INTO no_names
    FROM (
        SELECT format('organization %s (%s) has %L', o.organization_id, left(o.name, 60), left(o.timezone, 60)) AS found
        FROM organizations AS o
        WHERE NOT is_timezone(o.timezone)
        UNION ALL
        SELECT format('location %s (%s) has %L', l.location_id, left(l.name, 60), left(l.timezone, 60))
        FROM locations AS l
        WHERE NOT is_timezone(l.timezone)
        LIMIT 20
    ) AS z;
    IF no_names IS NOT NULL THEN
        RAISE EXCEPTION 'these are not names of time zones: %', no_names
            USING ERRCODE = 'check_violation',
                  HINT = 'Give each its name, such as Europe/Paris (SELECT name FROM pg_timezone_names), and apply the schema again.';
    END IF;
END
$$;

-- Version 8: what is not known is not 0, and what is not said is not 1. Rows that an earlier version wrote keep what stands in them.
ALTER TABLE resource_metrics
    ALTER COLUMN downtime_minutes DROP NOT NULL,
    ALTER COLUMN downtime_minutes DROP DEFAULT,
    ALTER COLUMN sample_minutes DROP NOT NULL,
    ALTER COLUMN sample_minutes DROP DEFAULT;

-- Version 6: the newest events of a resource in a certain order, two that began at the same time included.
DROP INDEX IF EXISTS operational_events_organization_id_resource_id_time_idx;

-- Version 8: hours that nobody told are not known.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_attribute AS a
        WHERE a.attrelid = 'employee_attendance'::regclass
            AND a.attname = 'hours_worked'
            AND a.attnotnull
    ) THEN
        ALTER TABLE employee_attendance
            ALTER COLUMN hours_worked DROP NOT NULL,
            ALTER COLUMN hours_worked DROP DEFAULT;
    END IF;
END
$$;

-- Version 8: what was forecast in the open and what on trial. What there is, is published.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_attribute AS a
        WHERE a.attrelid = 'demand_forecasts'::regclass
            AND a.attname = 'purpose'
            AND NOT a.attisdropped
    ) THEN
        ALTER TABLE demand_forecasts
            ADD COLUMN purpose text NOT NULL DEFAULT 'published',
            ADD CONSTRAINT demand_forecasts_purpose_check CHECK (purpose IN ('published', 'shadow'));
    END IF;
END
$$;

-- Version 8: the length of a forecast target, and its purpose, are part of its key. No row is touched: what was unique stays so.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE k.conrelid = 'demand_forecasts'::regclass
            AND k.conname = 'demand_forecasts_pkey'
            AND a.attname = 'purpose'
    ) THEN
        ALTER TABLE demand_forecasts DROP CONSTRAINT demand_forecasts_pkey;
        ALTER TABLE demand_forecasts ADD CONSTRAINT demand_forecasts_pkey PRIMARY KEY (
            organization_id, product_id, location_id, target_time, target_interval, available_at, model_name, model_version, purpose
        );
    END IF;
END
$$;
-- Said here, because an earlier version has the column only now.
COMMENT ON COLUMN demand_forecasts.purpose IS 'published: it counts; shadow: a challenger''s, or one of a trial, which moves neither the current forecasts nor the KPI.';

-- Version 8: demand knows since when it is known. Of the rows that there are, nobody can tell.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_attribute AS a
        WHERE a.attrelid = 'demand_history'::regclass
            AND a.attname = 'recorded_at'
            AND NOT a.attisdropped
    ) THEN
        ALTER TABLE demand_history ADD COLUMN recorded_at timestamptz;
        ALTER TABLE demand_history ALTER COLUMN recorded_at SET DEFAULT now();
        ALTER TABLE demand_history ADD CONSTRAINT demand_history_recorded_at_not_in_future_check CHECK (
            isfinite(recorded_at) AND recorded_at <= now() + interval '1 day'
        );
    END IF;
END
$$;
-- Said here, because an earlier version has the column only now.
COMMENT ON COLUMN demand_history.recorded_at IS 'Since when the quantity is known here: the database''s clock when it was written or corrected, unless who loads history tells better; NULL: not known, as of rows from before version 8.';

-- Version 8: an event whose duration nobody tells has none that is known; 0 is an event without duration.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_attribute AS a
        WHERE a.attrelid = 'operational_events'::regclass
            AND a.attname = 'duration_minutes'
            AND a.attnotnull
    ) THEN
        ALTER TABLE operational_events
            ALTER COLUMN duration_minutes DROP NOT NULL,
            ALTER COLUMN duration_minutes DROP DEFAULT;
    END IF;
END
$$;

-- Version 8: the customer's own codes of places, machines and shifts. What there is has none yet. (The comments of a new database stand
-- here too: an earlier version has the columns only now.)
DO $$
DECLARE
    added record;
BEGIN
    FOR added IN
        SELECT
            a.table_name,
            a.column_name,
            a.comment
        FROM (
            VALUES
                ('locations', 'location_code', 'The customer''s own code of the facility, unique in the organization; NULL: it has none.'),
                ('resources', 'resource_code', 'The customer''s own code of the resource, unique in the organization; NULL: it has none.'),
                (
                    'shifts', 'shift_code',
                    'The customer''s own code of this very shift (of one day), unique in the organization; NULL: it has none.'
                )
        ) AS a (table_name, column_name, comment)
    LOOP
        IF NOT EXISTS (
            SELECT
            FROM pg_attribute AS a
            WHERE a.attrelid = added.table_name::regclass
                AND a.attname = added.column_name
                AND NOT a.attisdropped
        ) THEN
            EXECUTE format(
                'ALTER TABLE %1$I ADD COLUMN %2$I text, ADD CONSTRAINT %3$I UNIQUE (organization_id, %2$I), '
                    'ADD CONSTRAINT %4$I CHECK (is_code(%2$I))',
                added.table_name,
                added.column_name,
                added.table_name || '_organization_id_' || added.column_name || '_key',
                added.table_name || '_' || added.column_name || '_is_a_code_check'
            );
        END IF;
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', added.table_name, added.column_name, added.comment);
    END LOOP;
END
$$;

-- Version 8: a shift may last the 25 hours of the day on which the clock is set back, and kinds of places and events are open.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'shifts'::regclass AND conname = 'shifts_at_most_25_hours_check') THEN
        ALTER TABLE shifts
            DROP CONSTRAINT IF EXISTS shifts_at_most_24_hours_check,
            ADD CONSTRAINT shifts_at_most_25_hours_check CHECK (ends_at <= starts_at + interval '25 hours');
        COMMENT ON COLUMN shifts.ends_at IS 'First instant after the shift, at most 25 hours after the start.';
    END IF;
    IF EXISTS (
        SELECT
        FROM pg_constraint AS k
        WHERE k.conrelid = 'locations'::regclass
            AND k.conname = 'locations_location_type_check'
            AND pg_get_constraintdef(k.oid) LIKE '%factory%'
    ) THEN
        ALTER TABLE locations DROP CONSTRAINT locations_location_type_check;
        ALTER TABLE locations ADD CONSTRAINT locations_location_type_check CHECK (location_type ~ '^[a-z][a-z0-9_]{0,62}$');
    END IF;
    IF EXISTS (
        SELECT
        FROM pg_constraint AS k
        WHERE k.conrelid = 'operational_events'::regclass
            AND k.conname = 'operational_events_event_type_check'
            AND pg_get_constraintdef(k.oid) LIKE '%breakdown%'
    ) THEN
        ALTER TABLE operational_events DROP CONSTRAINT operational_events_event_type_check;
        ALTER TABLE operational_events ADD CONSTRAINT operational_events_event_type_check CHECK (event_type ~ '^[a-z][a-z0-9_]{0,62}$');
    END IF;
END
$$;

-- Version 8, before it was released, kept planned time too, by machine and hour, and nothing longer than a day: all is kept anew.
DO $$
BEGIN
    IF to_regclass('resource_time_sums') IS NULL OR EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = to_regclass('resource_time_sums') AND conname = 'resource_time_sums_state_check'
    ) THEN
        RETURN;
    END IF;
    DROP INDEX IF EXISTS resource_time_sums_organization_id_resource_id_reported_idx;
    DELETE FROM resource_time_sums;
    UPDATE resource_time_states SET kept = '{}';
    ALTER TABLE resource_time_sums
        DROP CONSTRAINT resource_time_sums_hours_check,
        ADD CONSTRAINT resource_time_sums_hours_check CHECK (hours IN (1, 6, 24, 168, 672)),
        ADD CONSTRAINT resource_time_sums_state_check CHECK (state IN ('maintenance', 'breakdown', 'setup', 'idle', 'production'));
END
$$;

-- Version 8: no function reads resource_recent_status any more. Where a view of somebody's own does, it stays as it is.
DO $$
BEGIN
    DROP VIEW IF EXISTS tenant.resource_recent_status, resource_recent_status;
EXCEPTION
    WHEN dependent_objects_still_exist THEN
        RAISE NOTICE 'view resource_recent_status stays, for something of yours reads it: read resource_latest_status instead';
END
$$;
