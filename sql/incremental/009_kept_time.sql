-- Before its release, version 8 also stored planned time per machine and hour, and no buckets longer than a day; recompute everything.
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
