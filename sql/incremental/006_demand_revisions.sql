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
