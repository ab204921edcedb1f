-- Forecasting models, their roles, and their backtest results.

CREATE TABLE IF NOT EXISTS forecast_models (
    organization_id uuid NOT NULL,
    model_name text NOT NULL,
    model_version text NOT NULL,
    kind text NOT NULL,
    role text NOT NULL DEFAULT 'challenger',
    role_since timestamptz NOT NULL DEFAULT now(),
    role_reason text,
    config jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT forecast_models_pkey PRIMARY KEY (organization_id, model_name, model_version),
    CONSTRAINT forecast_models_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT forecast_models_model_name_not_blank_check CHECK (model_name ~ '\S'),
    CONSTRAINT forecast_models_model_version_not_blank_check CHECK (model_version ~ '\S'),
    CONSTRAINT forecast_models_kind_check CHECK (kind IN ('demand', 'anomaly', 'absence')),
    CONSTRAINT forecast_models_role_check CHECK (role IN ('champion', 'challenger', 'retired')),
    CONSTRAINT forecast_models_role_since_not_in_future_check CHECK (
        isfinite(role_since) AND role_since <= now() + interval '1 day'
    ),
    CONSTRAINT forecast_models_config_object_check CHECK (jsonb_typeof(config) = 'object'),
    -- Bounded because it is indexed: on a server that compresses it less well, a long value would not fit the index.
    CONSTRAINT forecast_models_config_target_at_most_200_chars_check CHECK (char_length(config ->> 'target') <= 200)
);
CREATE UNIQUE INDEX IF NOT EXISTS forecast_models_organization_id_kind_target_champion_idx
    ON forecast_models (organization_id, kind, (config ->> 'target')) NULLS NOT DISTINCT WHERE role = 'champion';
COMMENT ON INDEX forecast_models_organization_id_kind_target_champion_idx IS 'Ensures at most one champion per kind and target: the next fourteen days and the next eight weeks have separate champions.';
COMMENT ON TABLE forecast_models IS 'Forecasting models of the organization and their roles: forecasts of the champion are published, those of challengers are stored as shadow forecasts, and retired models do not run.';
COMMENT ON COLUMN forecast_models.organization_id IS 'The tenant.';
COMMENT ON COLUMN forecast_models.model_name IS 'Name of the model, as in the prediction tables.';
COMMENT ON COLUMN forecast_models.model_version IS 'Version of the model: the same code, libraries and configuration have the same version.';
COMMENT ON COLUMN forecast_models.kind IS 'Kind of prediction: demand, anomaly or absence.';
COMMENT ON COLUMN forecast_models.role IS 'champion, challenger or retired.';
COMMENT ON COLUMN forecast_models.role_since IS 'When the model got its current role.';
COMMENT ON COLUMN forecast_models.role_reason IS 'Why the model has its role, in plain language.';
COMMENT ON COLUMN forecast_models.config IS 'Configuration that defines the version. Its key target is the forecast horizon, such as 14 x day; each target has its own champion.';
COMMENT ON COLUMN forecast_models.created_at IS 'When the row was created.';
COMMENT ON COLUMN forecast_models.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS forecast_backtests (
    organization_id uuid NOT NULL,
    backtest_id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_name text NOT NULL,
    model_version text NOT NULL,
    product_id text,
    location_id uuid,
    target_interval interval NOT NULL,
    first_step integer NOT NULL,
    last_step integer NOT NULL,
    as_of timestamptz NOT NULL,
    first_origin timestamptz NOT NULL,
    last_origin timestamptz NOT NULL,
    origin_count integer NOT NULL,
    better_origin_count integer NOT NULL,
    target_count integer NOT NULL,
    wape_pct numeric,
    mase numeric,
    pinball numeric,
    interval_coverage_pct numeric,
    naive_name text NOT NULL,
    naive_wape_pct numeric,
    naive_pinball numeric,
    skill_pct numeric,
    reason text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT forecast_backtests_pkey PRIMARY KEY (organization_id, backtest_id),
    CONSTRAINT forecast_backtests_organization_id_run_key UNIQUE NULLS NOT DISTINCT (
        organization_id, model_name, model_version, as_of, target_interval, first_step, last_step, product_id, location_id
    ),
    CONSTRAINT forecast_backtests_organization_id_model_fkey
        FOREIGN KEY (organization_id, model_name, model_version) REFERENCES forecast_models ON DELETE CASCADE,
    CONSTRAINT forecast_backtests_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT forecast_backtests_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT forecast_backtests_product_and_location_check CHECK ((product_id IS NULL) = (location_id IS NULL)),
    CONSTRAINT forecast_backtests_target_interval_positive_check CHECK (target_interval > interval '0'),
    CONSTRAINT forecast_backtests_steps_check CHECK (first_step >= 1 AND last_step >= first_step),
    CONSTRAINT forecast_backtests_origins_in_order_check CHECK (
        isfinite(first_origin) AND first_origin <= last_origin AND last_origin <= as_of
    ),
    CONSTRAINT forecast_backtests_as_of_not_in_future_check CHECK (as_of <= recorded_at + interval '1 hour'),
    CONSTRAINT forecast_backtests_counts_check CHECK (
        origin_count >= 0 AND target_count >= 0 AND better_origin_count BETWEEN 0 AND origin_count
    ),
    CONSTRAINT forecast_backtests_errors_not_negative_check CHECK (
        wape_pct >= 0 AND mase >= 0 AND pinball >= 0 AND naive_wape_pct >= 0 AND naive_pinball >= 0
    ),
    CONSTRAINT forecast_backtests_interval_coverage_pct_range_check CHECK (interval_coverage_pct BETWEEN 0 AND 100),
    CONSTRAINT forecast_backtests_naive_name_not_blank_check CHECK (naive_name ~ '\S')
);
CREATE INDEX IF NOT EXISTS forecast_backtests_organization_id_location_id_idx
    ON forecast_backtests (organization_id, location_id) WHERE location_id IS NOT NULL;
COMMENT ON INDEX forecast_backtests_organization_id_location_id_idx IS 'Serves the foreign key to locations when one is deleted.';
CREATE INDEX IF NOT EXISTS forecast_backtests_organization_id_as_of_idx
    ON forecast_backtests (organization_id, as_of DESC, model_name, model_version);
COMMENT ON INDEX forecast_backtests_organization_id_as_of_idx IS 'Serves get_forecast_backtests: the newest backtest of each model.';
COMMENT ON TABLE forecast_backtests IS 'Accuracy of each model at past origins, for one series or for all, compared with the better of two naive forecasts; append-only. Backtest results are stored here only, never among the forecasts.';
COMMENT ON COLUMN forecast_backtests.organization_id IS 'The tenant.';
COMMENT ON COLUMN forecast_backtests.backtest_id IS 'The backtest result.';
COMMENT ON COLUMN forecast_backtests.model_name IS 'Name of the model.';
COMMENT ON COLUMN forecast_backtests.model_version IS 'Version of the model.';
COMMENT ON COLUMN forecast_backtests.product_id IS 'The product; NULL for all series together.';
COMMENT ON COLUMN forecast_backtests.location_id IS 'The location; NULL for all series together.';
COMMENT ON COLUMN forecast_backtests.target_interval IS 'Length of the target buckets.';
COMMENT ON COLUMN forecast_backtests.first_step IS 'Nearest target included: 1 is the first after the origin.';
COMMENT ON COLUMN forecast_backtests.last_step IS 'Farthest target included.';
COMMENT ON COLUMN forecast_backtests.as_of IS 'The backtest uses only what was known at this time.';
COMMENT ON COLUMN forecast_backtests.first_origin IS 'First origin that was scored.';
COMMENT ON COLUMN forecast_backtests.last_origin IS 'Last origin that was scored.';
COMMENT ON COLUMN forecast_backtests.origin_count IS 'Number of origins scored; earlier ones are used only to fit weights and intervals.';
COMMENT ON COLUMN forecast_backtests.better_origin_count IS 'Number of origins at which the model beat the naive forecast.';
COMMENT ON COLUMN forecast_backtests.target_count IS 'Number of targets with a known outcome.';
COMMENT ON COLUMN forecast_backtests.wape_pct IS '100 * sum of |actual - predicted| / sum of actual; NULL if there was no demand.';
COMMENT ON COLUMN forecast_backtests.mase IS 'Mean of |actual - predicted|, scaled by the error of the seasonal naive forecast on the history.';
COMMENT ON COLUMN forecast_backtests.pinball IS 'Mean pinball loss of the 5, 50 and 95 % quantiles, scaled like mase.';
COMMENT ON COLUMN forecast_backtests.interval_coverage_pct IS 'Share of outcomes within the 90 % interval, which was calibrated on earlier origins only.';
COMMENT ON COLUMN forecast_backtests.naive_name IS 'The better of the two naive forecasts on the same targets.';
COMMENT ON COLUMN forecast_backtests.naive_wape_pct IS 'WAPE of the naive forecast.';
COMMENT ON COLUMN forecast_backtests.naive_pinball IS 'Pinball loss of the naive forecast.';
COMMENT ON COLUMN forecast_backtests.skill_pct IS '100 * (1 - wape_pct / naive_wape_pct): above 0 is better than naive.';
COMMENT ON COLUMN forecast_backtests.reason IS 'Why figures are NULL, or why the model is not published; NULL otherwise.';
COMMENT ON COLUMN forecast_backtests.recorded_at IS 'When it was saved, by the database clock; cannot be set by the writer.';
