-- Version 8: record when each demand value became known. Unknown (NULL) for existing rows.
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
-- Commented here, because databases of earlier versions get the column only now.
COMMENT ON COLUMN demand_history.recorded_at IS 'When the quantity became known: the database clock when it was written or corrected, unless a loader of historical data supplies the time; NULL if unknown, as for rows from before version 8.';
