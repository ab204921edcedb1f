-- Version 8: unknown quantities are NULL instead of defaulting to 0 or 1. Rows written by earlier versions are unchanged.
ALTER TABLE resource_metrics
    ALTER COLUMN downtime_minutes DROP NOT NULL,
    ALTER COLUMN downtime_minutes DROP DEFAULT,
    ALTER COLUMN sample_minutes DROP NOT NULL,
    ALTER COLUMN sample_minutes DROP DEFAULT;

-- Version 8: unreported hours are unknown (NULL), not 0.
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

-- Version 8: an unreported duration is unknown (NULL); 0 means an instantaneous event.
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
