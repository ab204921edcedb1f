-- Model predictions. The tables are append-only and support as-of reads: a newer run never overwrites an older one, so that
-- predictions can be compared with outcomes.
--
-- available_at: when the model could have made the prediction (its data cut-off); earlier than recorded_at for backfilled runs.
-- recorded_at: when the run was saved, by the database clock; cannot be set by the writer.

CREATE TABLE IF NOT EXISTS demand_forecasts (
    organization_id uuid NOT NULL,
    product_id text NOT NULL,
    location_id uuid NOT NULL,
    target_time timestamptz NOT NULL,
    target_interval interval NOT NULL DEFAULT '1 day',
    predicted_quantity numeric NOT NULL,
    lower_bound numeric,
    upper_bound numeric,
    interval_coverage_pct numeric NOT NULL DEFAULT 90,
    model_name text NOT NULL,
    model_version text NOT NULL,
    available_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    metadata jsonb NOT NULL DEFAULT '{}',
    purpose text NOT NULL DEFAULT 'published',
    CONSTRAINT demand_forecasts_pkey PRIMARY KEY (
        organization_id, product_id, location_id, target_time, target_interval, available_at, model_name, model_version, purpose
    ),
    CONSTRAINT demand_forecasts_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT demand_forecasts_purpose_check CHECK (purpose IN ('published', 'shadow')),
    CONSTRAINT demand_forecasts_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT demand_forecasts_model_name_not_blank_check CHECK (model_name ~ '\S'),
    CONSTRAINT demand_forecasts_model_version_not_blank_check CHECK (model_version ~ '\S'),
    CONSTRAINT demand_forecasts_target_interval_positive_check CHECK (target_interval > interval '0'),
    CONSTRAINT demand_forecasts_available_at_not_in_future_check CHECK (
        isfinite(available_at) AND available_at <= recorded_at + interval '1 hour'
    ),
    CONSTRAINT demand_forecasts_target_time_within_10_years_check CHECK (
        isfinite(target_time) AND target_time <= available_at + interval '10 years'
    ),
    CONSTRAINT demand_forecasts_predicted_quantity_not_negative_check CHECK (
        predicted_quantity >= 0 AND predicted_quantity < 'Infinity'
    ),
    CONSTRAINT demand_forecasts_bounds_around_prediction_check CHECK (
        lower_bound <= predicted_quantity AND predicted_quantity <= upper_bound
    ),
    CONSTRAINT demand_forecasts_bounds_finite_check CHECK (
        lower_bound > '-Infinity' AND upper_bound < 'Infinity'
    ),
    CONSTRAINT demand_forecasts_bounds_both_or_none_check CHECK (num_nonnulls(lower_bound, upper_bound) IN (0, 2)),
    CONSTRAINT demand_forecasts_interval_coverage_pct_range_check CHECK (
        interval_coverage_pct > 0 AND interval_coverage_pct < 100
    ),
    CONSTRAINT demand_forecasts_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS demand_forecasts_organization_id_target_time_idx
    ON demand_forecasts (organization_id, target_time, available_at DESC);
COMMENT ON INDEX demand_forecasts_organization_id_target_time_idx IS 'Serves get_current_demand_forecasts, get_demand_forecasts_as_of and the accuracy functions: all targets of a period.';
CREATE INDEX IF NOT EXISTS demand_forecasts_organization_id_target_time_long_idx
    ON demand_forecasts (organization_id, target_time) WHERE target_interval > interval '1 day';
COMMENT ON INDEX demand_forecasts_organization_id_target_time_long_idx IS 'Serves get_current_demand_forecasts: weeks and months in progress.';
COMMENT ON TABLE demand_forecasts IS 'Demand predictions by models, append-only. The target of a prediction is an interval, given by target_time and target_interval, so forecasts for days and for their week coexist. The current forecasts are in the view current_demand_forecasts; forecasts as of a given time are returned by demand_forecasts_as_of().';
COMMENT ON COLUMN demand_forecasts.organization_id IS 'The tenant.';
COMMENT ON COLUMN demand_forecasts.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN demand_forecasts.location_id IS 'Location where the demand is expected.';
COMMENT ON COLUMN demand_forecasts.target_time IS 'Start of the target bucket; for a day, the first instant of the local day.';
COMMENT ON COLUMN demand_forecasts.target_interval IS 'Length of the target bucket; days, weeks and months are local to the location.';
COMMENT ON COLUMN demand_forecasts.predicted_quantity IS 'Quantity expected in the bucket, in the product''s unit.';
COMMENT ON COLUMN demand_forecasts.lower_bound IS 'Lower bound of the prediction interval, in the same unit.';
COMMENT ON COLUMN demand_forecasts.upper_bound IS 'Upper bound of the prediction interval, in the same unit.';
COMMENT ON COLUMN demand_forecasts.interval_coverage_pct IS 'Nominal coverage of the prediction interval, 0 to 100.';
COMMENT ON COLUMN demand_forecasts.model_name IS 'Name of the model.';
COMMENT ON COLUMN demand_forecasts.model_version IS 'Version of the model.';
COMMENT ON COLUMN demand_forecasts.available_at IS 'When the model could have made the prediction: its data cut-off.';
COMMENT ON COLUMN demand_forecasts.recorded_at IS 'When it was saved, by the database clock; cannot be set by the writer.';
COMMENT ON COLUMN demand_forecasts.metadata IS 'Additional attributes from the model.';

CREATE TABLE IF NOT EXISTS anomaly_predictions (
    organization_id uuid NOT NULL,
    anomaly_id uuid NOT NULL DEFAULT gen_random_uuid(),
    resource_id uuid NOT NULL,
    anomaly_type text NOT NULL,
    severity text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    probability numeric NOT NULL,
    predicted_for timestamptz NOT NULL,
    description text,
    model_name text NOT NULL,
    model_version text NOT NULL,
    available_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    outcome text,
    occurred_at timestamptz,
    closed_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT anomaly_predictions_pkey PRIMARY KEY (organization_id, anomaly_id),
    CONSTRAINT anomaly_predictions_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources,
    CONSTRAINT anomaly_predictions_anomaly_type_check CHECK (
        anomaly_type IN ('bottleneck', 'failure', 'quality', 'performance', 'safety')
    ),
    CONSTRAINT anomaly_predictions_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT anomaly_predictions_status_check CHECK (status IN ('active', 'acknowledged', 'closed')),
    CONSTRAINT anomaly_predictions_probability_range_check CHECK (probability BETWEEN 0 AND 1),
    CONSTRAINT anomaly_predictions_model_name_not_blank_check CHECK (model_name ~ '\S'),
    CONSTRAINT anomaly_predictions_model_version_not_blank_check CHECK (model_version ~ '\S'),
    CONSTRAINT anomaly_predictions_available_at_not_in_future_check CHECK (
        isfinite(available_at) AND available_at <= recorded_at + interval '1 hour'
    ),
    CONSTRAINT anomaly_predictions_predicted_for_within_10_years_check CHECK (
        isfinite(predicted_for) AND predicted_for <= available_at + interval '10 years'
    ),
    CONSTRAINT anomaly_predictions_outcome_check CHECK (outcome IN ('confirmed', 'false_alarm', 'unknown')),
    CONSTRAINT anomaly_predictions_closed_has_outcome_check CHECK (
        (status = 'closed') = (outcome IS NOT NULL) AND (status = 'closed') = (closed_at IS NOT NULL)
    ),
    CONSTRAINT anomaly_predictions_occurred_at_when_confirmed_check CHECK (
        (coalesce(outcome, '') = 'confirmed') = (occurred_at IS NOT NULL)
    ),
    CONSTRAINT anomaly_predictions_closed_after_available_check CHECK (
        closed_at >= available_at AND isfinite(closed_at)
    ),
    CONSTRAINT anomaly_predictions_closed_at_not_in_future_check CHECK (closed_at <= now() + interval '1 day'),
    CONSTRAINT anomaly_predictions_occurred_at_finite_check CHECK (isfinite(occurred_at)),
    CONSTRAINT anomaly_predictions_occurred_at_not_in_future_check CHECK (occurred_at <= now() + interval '1 day'),
    CONSTRAINT anomaly_predictions_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS anomaly_predictions_organization_id_status_probability_idx
    ON anomaly_predictions (organization_id, status, probability DESC);
COMMENT ON INDEX anomaly_predictions_organization_id_status_probability_idx IS 'Serves get_active_anomaly_predictions and get_recent_bottlenecks.';
CREATE INDEX IF NOT EXISTS anomaly_predictions_organization_id_resource_id_idx
    ON anomaly_predictions (organization_id, resource_id, predicted_for);
COMMENT ON INDEX anomaly_predictions_organization_id_resource_id_idx IS 'Serves anomaly_prediction_scores() and the foreign key to resources.';
CREATE INDEX IF NOT EXISTS anomaly_predictions_organization_id_available_at_idx
    ON anomaly_predictions (organization_id, available_at);
COMMENT ON INDEX anomaly_predictions_organization_id_available_at_idx IS 'Serves anomaly_predictions_as_of().';
COMMENT ON TABLE anomaly_predictions IS 'Bottlenecks, failures and other anomalies predicted by models. The prediction itself is immutable; only status, outcome, occurred_at, closed_at and metadata may change.';
COMMENT ON COLUMN anomaly_predictions.organization_id IS 'The tenant.';
COMMENT ON COLUMN anomaly_predictions.anomaly_id IS 'The prediction.';
COMMENT ON COLUMN anomaly_predictions.resource_id IS 'The resource concerned.';
COMMENT ON COLUMN anomaly_predictions.anomaly_type IS 'bottleneck, failure, quality, performance or safety.';
COMMENT ON COLUMN anomaly_predictions.severity IS 'low, medium, high or critical.';
COMMENT ON COLUMN anomaly_predictions.status IS 'active, acknowledged (being handled) or closed (the outcome is recorded).';
COMMENT ON COLUMN anomaly_predictions.probability IS 'Predicted probability, 0 to 1.';
COMMENT ON COLUMN anomaly_predictions.predicted_for IS 'When the anomaly is expected to occur.';
COMMENT ON COLUMN anomaly_predictions.description IS 'Human-readable description of the prediction.';
COMMENT ON COLUMN anomaly_predictions.model_name IS 'Name of the model.';
COMMENT ON COLUMN anomaly_predictions.model_version IS 'Version of the model.';
COMMENT ON COLUMN anomaly_predictions.available_at IS 'When the model could have made the prediction: its data cut-off.';
COMMENT ON COLUMN anomaly_predictions.recorded_at IS 'When it was saved, by the database clock; cannot be set by the writer.';
COMMENT ON COLUMN anomaly_predictions.outcome IS 'Outcome: confirmed, false_alarm or unknown; NULL until closed.';
COMMENT ON COLUMN anomaly_predictions.occurred_at IS 'When the anomaly actually occurred, if confirmed.';
COMMENT ON COLUMN anomaly_predictions.closed_at IS 'When the outcome was recorded.';
COMMENT ON COLUMN anomaly_predictions.metadata IS 'Additional attributes from the model.';
COMMENT ON COLUMN anomaly_predictions.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS absence_forecasts (
    organization_id uuid NOT NULL,
    forecast_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid,
    employee_id uuid,
    target_date date NOT NULL,
    absence_probability numeric,
    expected_absences numeric,
    model_name text NOT NULL,
    model_version text NOT NULL,
    available_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT absence_forecasts_pkey PRIMARY KEY (organization_id, forecast_id),
    CONSTRAINT absence_forecasts_organization_id_run_key UNIQUE NULLS NOT DISTINCT (
        organization_id, location_id, employee_id, target_date, available_at, model_name, model_version
    ),
    CONSTRAINT absence_forecasts_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT absence_forecasts_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees,
    CONSTRAINT absence_forecasts_employee_or_location_check CHECK (num_nonnulls(employee_id, location_id) = 1),
    CONSTRAINT absence_forecasts_probability_for_employee_check CHECK (
        (employee_id IS NOT NULL) = (absence_probability IS NOT NULL)
    ),
    CONSTRAINT absence_forecasts_expected_absences_for_location_check CHECK (
        (location_id IS NOT NULL) = (expected_absences IS NOT NULL)
    ),
    CONSTRAINT absence_forecasts_absence_probability_range_check CHECK (absence_probability BETWEEN 0 AND 1),
    CONSTRAINT absence_forecasts_expected_absences_not_negative_check CHECK (
        expected_absences >= 0 AND expected_absences < 'Infinity'
    ),
    CONSTRAINT absence_forecasts_model_name_not_blank_check CHECK (model_name ~ '\S'),
    CONSTRAINT absence_forecasts_model_version_not_blank_check CHECK (model_version ~ '\S'),
    CONSTRAINT absence_forecasts_available_at_not_in_future_check CHECK (
        isfinite(available_at) AND available_at <= recorded_at + interval '1 hour'
    ),
    CONSTRAINT absence_forecasts_target_date_within_10_years_check CHECK (
        isfinite(target_date) AND target_date <= (available_at AT TIME ZONE 'UTC')::date + 3653
    ),
    CONSTRAINT absence_forecasts_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS absence_forecasts_organization_id_target_date_idx
    ON absence_forecasts (organization_id, target_date, available_at DESC);
COMMENT ON INDEX absence_forecasts_organization_id_target_date_idx IS 'Serves get_current_absence_forecasts and absence_forecasts_as_of().';
CREATE INDEX IF NOT EXISTS absence_forecasts_organization_id_employee_id_idx
    ON absence_forecasts (organization_id, employee_id) WHERE employee_id IS NOT NULL;
COMMENT ON INDEX absence_forecasts_organization_id_employee_id_idx IS 'Serves the foreign key to employees when one is deleted.';
COMMENT ON TABLE absence_forecasts IS 'Employee absence predictions, append-only: a probability per employee and day, or the expected number of absences per location and day.';
COMMENT ON COLUMN absence_forecasts.organization_id IS 'The tenant.';
COMMENT ON COLUMN absence_forecasts.forecast_id IS 'The prediction.';
COMMENT ON COLUMN absence_forecasts.location_id IS 'The location, for a prediction of the number of absences.';
COMMENT ON COLUMN absence_forecasts.employee_id IS 'The employee, for a prediction about one person.';
COMMENT ON COLUMN absence_forecasts.target_date IS 'Local day that the prediction is for.';
COMMENT ON COLUMN absence_forecasts.absence_probability IS 'Probability that the employee is away, 0 to 1.';
COMMENT ON COLUMN absence_forecasts.expected_absences IS 'Expected number of employees of the location who are scheduled but absent.';
COMMENT ON COLUMN absence_forecasts.model_name IS 'Name of the model.';
COMMENT ON COLUMN absence_forecasts.model_version IS 'Version of the model.';
COMMENT ON COLUMN absence_forecasts.available_at IS 'When the model could have made the prediction: its data cut-off.';
COMMENT ON COLUMN absence_forecasts.recorded_at IS 'When it was saved, by the database clock; cannot be set by the writer.';
COMMENT ON COLUMN absence_forecasts.metadata IS 'Additional attributes from the model.';
