-- Version 8: separate published forecasts from trial (shadow) ones; existing rows are published.
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

-- Version 8: the length of a forecast target and its purpose become part of the key. No row is rewritten: what was unique stays unique.
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
-- Commented here, because databases of earlier versions get the column only now.
COMMENT ON COLUMN demand_forecasts.purpose IS 'published, or shadow for a challenger or a trial; shadow forecasts affect neither the current forecasts nor the KPI.';
