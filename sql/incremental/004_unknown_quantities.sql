-- Version 8: what is not known is not 0, and what is not said is not 1. Rows that an earlier version wrote keep what stands in them.
ALTER TABLE resource_metrics
    ALTER COLUMN downtime_minutes DROP NOT NULL,
    ALTER COLUMN downtime_minutes DROP DEFAULT,
    ALTER COLUMN sample_minutes DROP NOT NULL,
    ALTER COLUMN sample_minutes DROP DEFAULT;

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
