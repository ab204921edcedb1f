-- Before its release, version 8 stored machine time per machine only; recompute it, so that its sums over machines are complete.
DO $$
BEGIN
    IF to_regclass('resource_time_sums') IS NULL OR to_regclass('resource_time_totals') IS NOT NULL THEN
        RETURN;
    END IF;
    DELETE FROM resource_time_sums;
    UPDATE resource_time_states SET kept = '{}';
END
$$;
