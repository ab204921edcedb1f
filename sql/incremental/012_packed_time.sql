-- Before its release, version 8 stored each hour of a machine as a row of its own; recompute everything.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = to_regclass('resource_time_sums') AND attname = 'number' AND NOT attisdropped
    ) THEN
        RETURN;
    END IF;
    DROP TABLE resource_time_sums CASCADE;
    DROP TABLE IF EXISTS resource_time_totals CASCADE;
    DELETE FROM resource_time_reports;
    UPDATE resource_time_states SET kept = '{}';
END
$$;
