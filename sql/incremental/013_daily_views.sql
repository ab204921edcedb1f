-- Version 8: daily rollups of events and attendance are views over the hourly ones. A stored one is kept if it reaches further back than the
-- hourly one, or will (retention was set for the hourly one), or if other objects depend on it.
DO $$
DECLARE
    stored record;
    hourly record;
    is_longer boolean;
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    FOR stored IN
        SELECT
            c.view_name::text AS rollup,
            regexp_replace(c.view_name::text, '_daily$', '_hourly') AS hourly,
            format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name) AS days
        FROM timescaledb_information.continuous_aggregates AS c
        WHERE c.view_schema = 'public'
            AND c.view_name IN ('operational_events_daily', 'employee_attendance_daily')
    LOOP
        SELECT
            format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name) AS hours,
            EXISTS (
                SELECT
                FROM timescaledb_information.jobs AS j
                WHERE j.hypertable_schema = 'public'
                    AND j.hypertable_name = c.view_name
                    AND j.proc_name = 'policy_retention'
            ) AS is_limited
        INTO hourly
        FROM timescaledb_information.continuous_aggregates AS c
        WHERE c.view_schema = 'public'
            AND c.view_name = stored.hourly;
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %1$s AS d WHERE d.bucket < coalesce((SELECT min(h.bucket) FROM %2$s AS h), ''infinity'') '
            '- interval ''1 day'')',
            stored.days, hourly.hours
        ) INTO is_longer;
        IF is_longer OR hourly.is_limited THEN
            RAISE NOTICE '% stays stored: it reaches further back than %', stored.rollup, stored.hourly;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('DROP VIEW IF EXISTS tenant.%I', stored.rollup);
            EXECUTE format('DROP MATERIALIZED VIEW %I', stored.rollup);
        EXCEPTION
            WHEN dependent_objects_still_exist THEN
                RAISE NOTICE '% stays stored because other objects depend on it', stored.rollup;
        END;
    END LOOP;
END
$$;
