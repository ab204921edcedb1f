-- Version 8: a shift may last 25 hours, for the day on which clocks are set back; kinds of locations and events are open.
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
