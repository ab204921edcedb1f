-- External data, optimization results, alerts.

CREATE TABLE IF NOT EXISTS external_factors (
    organization_id uuid NOT NULL,
    factor_id uuid NOT NULL DEFAULT gen_random_uuid(),
    time timestamptz NOT NULL,
    location_id uuid,
    factor_type text NOT NULL,
    name text NOT NULL,
    value numeric NOT NULL,
    unit text NOT NULL,
    available_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT external_factors_pkey PRIMARY KEY (organization_id, factor_id),
    CONSTRAINT external_factors_organization_id_reading_key UNIQUE NULLS NOT DISTINCT (
        organization_id, name, location_id, time, available_at
    ),
    CONSTRAINT external_factors_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT external_factors_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT external_factors_factor_type_check CHECK (
        factor_type IN ('weather', 'holiday', 'market', 'calendar', 'event', 'other')
    ),
    CONSTRAINT external_factors_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT external_factors_unit_not_blank_check CHECK (unit ~ '\S'),
    CONSTRAINT external_factors_value_finite_check CHECK (value > '-Infinity' AND value < 'Infinity'),
    CONSTRAINT external_factors_available_at_not_in_future_check CHECK (
        isfinite(available_at) AND available_at <= recorded_at + interval '1 hour'
    ),
    CONSTRAINT external_factors_time_within_10_years_check CHECK (
        isfinite(time) AND time <= available_at + interval '10 years'
    ),
    CONSTRAINT external_factors_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS external_factors_organization_id_time_idx
    ON external_factors (organization_id, time, name, available_at DESC);
COMMENT ON INDEX external_factors_organization_id_time_idx IS 'Serves get_external_factors and get_demand_training_frame: factors of a period as they were known at the time.';
CREATE INDEX IF NOT EXISTS external_factors_organization_id_series_idx
    ON external_factors (organization_id, name, factor_type, location_id, unit);
COMMENT ON INDEX external_factors_organization_id_series_idx IS 'Serves the check that a series has a single unit.';
COMMENT ON TABLE external_factors IS 'Weather, holidays, market data and other external factors. A forecast and the later observation for the same instant are two rows with different available_at.';
COMMENT ON COLUMN external_factors.organization_id IS 'The tenant.';
COMMENT ON COLUMN external_factors.factor_id IS 'The reading.';
COMMENT ON COLUMN external_factors.time IS 'Instant, or start of the period, that the value applies to.';
COMMENT ON COLUMN external_factors.location_id IS 'Location that the value applies to; NULL if it applies everywhere, such as a market price.';
COMMENT ON COLUMN external_factors.factor_type IS 'weather, holiday, market, calendar, event or other.';
COMMENT ON COLUMN external_factors.name IS 'Name of the factor, such as temperature or diesel_price.';
COMMENT ON COLUMN external_factors.value IS 'The value, in unit; flags (unit flag) are 1 or 0.';
COMMENT ON COLUMN external_factors.unit IS 'Unit of value, such as celsius, EUR/l or flag; a series (location, factor_type, name) has a single unit.';
COMMENT ON COLUMN external_factors.available_at IS 'When the value became known.';
COMMENT ON COLUMN external_factors.recorded_at IS 'When it was saved, by the database clock; cannot be set by the writer.';
COMMENT ON COLUMN external_factors.metadata IS 'Additional attributes from the source, such as {"source": "station 07156"}.';

CREATE TABLE IF NOT EXISTS optimization_runs (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL DEFAULT gen_random_uuid(),
    run_type text NOT NULL,
    algorithm text NOT NULL,
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    objective_value numeric,
    objective_unit text,
    parameters jsonb NOT NULL DEFAULT '{}',
    result jsonb,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT optimization_runs_pkey PRIMARY KEY (organization_id, run_id),
    CONSTRAINT optimization_runs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT optimization_runs_run_type_check CHECK (
        run_type IN (
            'shift_scheduling', 'production_planning', 'resource_allocation', 'routing', 'inventory', 'other'
        )
    ),
    CONSTRAINT optimization_runs_algorithm_not_blank_check CHECK (algorithm ~ '\S'),
    CONSTRAINT optimization_runs_status_check CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT optimization_runs_started_at_not_in_future_check CHECK (
        isfinite(started_at) AND started_at <= now() + interval '1 day'
    ),
    CONSTRAINT optimization_runs_finished_after_start_check CHECK (
        finished_at >= started_at AND isfinite(finished_at)
    ),
    CONSTRAINT optimization_runs_finished_at_not_in_future_check CHECK (finished_at <= now() + interval '1 day'),
    CONSTRAINT optimization_runs_finished_at_unless_running_check CHECK (
        (status = 'running') = (finished_at IS NULL)
    ),
    CONSTRAINT optimization_runs_completed_has_result_check CHECK (status <> 'completed' OR result IS NOT NULL),
    CONSTRAINT optimization_runs_objective_value_finite_check CHECK (
        objective_value > '-Infinity' AND objective_value < 'Infinity'
    ),
    CONSTRAINT optimization_runs_parameters_object_check CHECK (jsonb_typeof(parameters) = 'object')
);
CREATE INDEX IF NOT EXISTS optimization_runs_organization_id_run_type_started_at_idx
    ON optimization_runs (organization_id, run_type, started_at DESC);
COMMENT ON INDEX optimization_runs_organization_id_run_type_started_at_idx IS 'Serves get_latest_optimization_runs.';
COMMENT ON TABLE optimization_runs IS 'Runs of optimization algorithms, with their parameters, duration and results.';
COMMENT ON COLUMN optimization_runs.organization_id IS 'The tenant.';
COMMENT ON COLUMN optimization_runs.run_id IS 'The run.';
COMMENT ON COLUMN optimization_runs.run_type IS 'What was optimized: shift_scheduling, production_planning, resource_allocation, routing, inventory or other.';
COMMENT ON COLUMN optimization_runs.algorithm IS 'Algorithm or solver, such as cp_sat.';
COMMENT ON COLUMN optimization_runs.status IS 'running, completed, failed or cancelled.';
COMMENT ON COLUMN optimization_runs.started_at IS 'When the run started.';
COMMENT ON COLUMN optimization_runs.finished_at IS 'When the run ended, whatever its result; NULL while it is running.';
COMMENT ON COLUMN optimization_runs.objective_value IS 'Objective value reached, in objective_unit.';
COMMENT ON COLUMN optimization_runs.objective_unit IS 'Unit of objective_value, such as EUR or minutes.';
COMMENT ON COLUMN optimization_runs.parameters IS 'Parameters of the run: inputs, limits, weights.';
COMMENT ON COLUMN optimization_runs.result IS 'Results, for use by the application.';
COMMENT ON COLUMN optimization_runs.error_message IS 'Error message, if the run failed.';
COMMENT ON COLUMN optimization_runs.created_at IS 'When the row was created.';
COMMENT ON COLUMN optimization_runs.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS alerts (
    organization_id uuid NOT NULL,
    alert_id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    severity text NOT NULL,
    alert_type text NOT NULL,
    title text NOT NULL,
    message text,
    status text NOT NULL DEFAULT 'active',
    location_id uuid,
    resource_id uuid,
    anomaly_id uuid,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    resolution text,
    metadata jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alerts_pkey PRIMARY KEY (organization_id, alert_id),
    CONSTRAINT alerts_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT alerts_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT alerts_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources,
    CONSTRAINT alerts_organization_id_anomaly_id_fkey
        FOREIGN KEY (organization_id, anomaly_id) REFERENCES anomaly_predictions,
    CONSTRAINT alerts_created_at_not_in_future_check CHECK (
        isfinite(created_at) AND created_at <= now() + interval '1 day'
    ),
    CONSTRAINT alerts_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT alerts_alert_type_not_blank_check CHECK (alert_type ~ '\S'),
    CONSTRAINT alerts_title_not_blank_check CHECK (title ~ '\S'),
    CONSTRAINT alerts_status_check CHECK (status IN ('active', 'acknowledged', 'resolved')),
    CONSTRAINT alerts_acknowledged_has_time_check CHECK (status <> 'acknowledged' OR acknowledged_at IS NOT NULL),
    CONSTRAINT alerts_active_without_times_check CHECK (
        status <> 'active' OR num_nonnulls(acknowledged_at, resolved_at) = 0
    ),
    CONSTRAINT alerts_resolved_has_time_check CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alerts_acknowledged_after_created_check CHECK (
        acknowledged_at >= created_at AND isfinite(acknowledged_at)
    ),
    CONSTRAINT alerts_acknowledged_at_not_in_future_check CHECK (acknowledged_at <= now() + interval '1 day'),
    CONSTRAINT alerts_resolved_after_created_check CHECK (resolved_at >= created_at AND isfinite(resolved_at)),
    CONSTRAINT alerts_resolved_at_not_in_future_check CHECK (resolved_at <= now() + interval '1 day'),
    CONSTRAINT alerts_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS alerts_organization_id_status_created_at_idx
    ON alerts (organization_id, status, created_at DESC);
COMMENT ON INDEX alerts_organization_id_status_created_at_idx IS 'Serves get_active_alerts and the view active_alerts.';
CREATE INDEX IF NOT EXISTS alerts_organization_id_resource_id_idx
    ON alerts (organization_id, resource_id, created_at DESC);
COMMENT ON INDEX alerts_organization_id_resource_id_idx IS 'Serves get_alerts(resource_id) and the foreign key to resources.';
CREATE INDEX IF NOT EXISTS alerts_organization_id_anomaly_id_idx
    ON alerts (organization_id, anomaly_id) WHERE anomaly_id IS NOT NULL;
COMMENT ON INDEX alerts_organization_id_anomaly_id_idx IS 'Serves the foreign key to anomaly_predictions when rows are deleted.';
COMMENT ON TABLE alerts IS 'Alerts and notifications. New alerts and changes are announced on the organization''s channel; see notification_channel().';
COMMENT ON COLUMN alerts.organization_id IS 'The tenant.';
COMMENT ON COLUMN alerts.alert_id IS 'The alert.';
COMMENT ON COLUMN alerts.created_at IS 'When the alert was raised.';
COMMENT ON COLUMN alerts.severity IS 'low, medium, high or critical.';
COMMENT ON COLUMN alerts.alert_type IS 'Kind of alert, such as resource_down or forecast_drift.';
COMMENT ON COLUMN alerts.title IS 'One-line title.';
COMMENT ON COLUMN alerts.message IS 'What happened and what to do, in plain language.';
COMMENT ON COLUMN alerts.status IS 'active, acknowledged (being handled) or resolved.';
COMMENT ON COLUMN alerts.location_id IS 'The location concerned, if any.';
COMMENT ON COLUMN alerts.resource_id IS 'The resource concerned, if any.';
COMMENT ON COLUMN alerts.anomaly_id IS 'The prediction that raised the alert, if any.';
COMMENT ON COLUMN alerts.acknowledged_at IS 'When the alert was acknowledged.';
COMMENT ON COLUMN alerts.acknowledged_by IS 'User who acknowledged the alert, as named by the application.';
COMMENT ON COLUMN alerts.resolved_at IS 'When the alert was resolved.';
COMMENT ON COLUMN alerts.resolution IS 'How the alert was resolved, in plain language.';
COMMENT ON COLUMN alerts.metadata IS 'Additional attributes from the source.';
COMMENT ON COLUMN alerts.updated_at IS 'When the row was last changed; maintained by the database.';
