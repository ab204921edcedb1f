-- Demand forecasts: append-only runs, the current forecast, the forecast as of a given time, and accuracy.

-- name: save_demand_forecasts!
-- Save the predictions of one run and return how many are new.
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, purpose text, forecasts jsonb
INSERT INTO demand_forecasts (
    organization_id,
    product_id,
    location_id,
    target_time,
    target_interval,
    predicted_quantity,
    lower_bound,
    upper_bound,
    interval_coverage_pct,
    model_name,
    model_version,
    available_at,
    metadata,
    purpose
)
SELECT
    %(organization_id)s,
    g.product_id,
    g.location_id,
    g.target_time,
    coalesce(g.target_interval, '1 day'),
    g.predicted_quantity,
    g.lower_bound,
    g.upper_bound,
    coalesce(g.interval_coverage_pct, 90),
    %(model_name)s,
    %(model_version)s,
    %(available_at)s,
    coalesce(g.metadata, '{}'),
    %(purpose)s
FROM jsonb_to_recordset(%(forecasts)s::jsonb) AS g (
    product_id text,
    location_id uuid,
    target_time timestamptz,
    target_interval interval,
    predicted_quantity numeric,
    lower_bound numeric,
    upper_bound numeric,
    interval_coverage_pct numeric,
    metadata jsonb
)
ORDER BY
    g.product_id,
    g.location_id,
    g.target_time,
    g.target_interval
ON CONFLICT (
    organization_id,
    product_id,
    location_id,
    target_time,
    target_interval,
    available_at,
    model_name,
    model_version,
    purpose
)
DO NOTHING;

-- name: check_demand_forecasts
-- Which of these predictions were saved before with other values?
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, purpose text, forecasts jsonb
SELECT
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval
FROM jsonb_to_recordset(%(forecasts)s::jsonb) AS g (
    product_id text,
    location_id uuid,
    target_time timestamptz,
    target_interval interval,
    predicted_quantity numeric,
    lower_bound numeric,
    upper_bound numeric,
    interval_coverage_pct numeric,
    metadata jsonb
)
JOIN demand_forecasts AS f
    ON f.product_id = g.product_id
    AND f.location_id = g.location_id
    AND f.target_time = g.target_time
    AND f.target_interval = coalesce(g.target_interval, '1 day')
WHERE f.organization_id = %(organization_id)s
    AND f.model_name = %(model_name)s
    AND f.model_version = %(model_version)s
    AND f.available_at = %(available_at)s
    AND f.purpose = %(purpose)s
    AND (
        f.predicted_quantity,
        f.lower_bound,
        f.upper_bound,
        f.interval_coverage_pct,
        f.metadata
    ) IS DISTINCT FROM (
        g.predicted_quantity,
        g.lower_bound,
        g.upper_bound,
        coalesce(g.interval_coverage_pct, 90),
        coalesce(g.metadata, '{}')
    )
ORDER BY
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval
LIMIT 3;

-- name: get_current_demand_forecasts
-- What demand is expected now, by the newest prediction for each target?
-- Parameters: organization_id uuid, product_id text?, location_id uuid?, with_under_way boolean, period_start timestamptz,
--     period_end timestamptz
-- with_under_way: include targets that began before the period and have not ended by its start.
SELECT
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval,
    f.target_end,
    f.predicted_quantity,
    f.lower_bound,
    f.upper_bound,
    f.interval_coverage_pct,
    f.model_name,
    f.model_version,
    f.available_at,
    f.recorded_at
FROM current_demand_forecasts AS f
WHERE f.organization_id = %(organization_id)s
    AND (%(product_id)s::text IS NULL OR f.product_id = %(product_id)s)
    AND (%(location_id)s::uuid IS NULL OR f.location_id = %(location_id)s)
    AND f.target_time < %(period_end)s
    -- Candidates in progress, found by index before anything is sorted.
    AND (
        f.target_time >= %(period_start)s
        OR %(with_under_way)s
        AND (
            f.target_time >= %(period_start)s - interval '2 days'
            OR f.target_interval > interval '1 day'
            AND f.target_time >= %(period_start)s - interval '400 days'
        )
    )
    AND (f.target_time >= %(period_start)s OR f.target_end > %(period_start)s)
ORDER BY
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval;

-- name: get_demand_forecasts_as_of
-- What demand was expected at a given time, by the newest prediction then available for each target?
-- Parameters: organization_id uuid, as_of timestamptz, known_by timestamptz?, product_id text?, location_id uuid?,
--     period_start timestamptz, period_end timestamptz
SELECT
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval,
    f.predicted_quantity,
    f.lower_bound,
    f.upper_bound,
    f.interval_coverage_pct,
    f.model_name,
    f.model_version,
    f.available_at,
    f.recorded_at
FROM demand_forecasts_as_of(
    %(organization_id)s,
    %(as_of)s,
    %(period_start)s,
    %(period_end)s,
    coalesce(%(known_by)s, timestamptz 'infinity')
) AS f
WHERE (%(product_id)s::text IS NULL OR f.product_id = %(product_id)s)
    AND (%(location_id)s::uuid IS NULL OR f.location_id = %(location_id)s)
ORDER BY
    f.product_id,
    f.location_id,
    f.target_time,
    f.target_interval;

-- name: get_demand_forecast_outcomes
-- What was predicted for each target in advance, and what happened?
-- Parameters: organization_id uuid, product_id text?, location_id uuid?, fill_quantity numeric?, period_start timestamptz,
--     period_end timestamptz
SELECT
    o.product_id,
    o.location_id,
    o.target_time,
    o.target_interval,
    o.target_end,
    o.model_name,
    o.model_version,
    o.available_at,
    o.lead_time_days,
    o.predicted_quantity,
    o.lower_bound,
    o.upper_bound,
    o.actual_quantity,
    o.is_over,
    o.purpose
FROM demand_forecast_outcomes(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    fill_quantity => %(fill_quantity)s
) AS o
WHERE (%(product_id)s::text IS NULL OR o.product_id = %(product_id)s)
    AND (%(location_id)s::uuid IS NULL OR o.location_id = %(location_id)s)
ORDER BY
    o.product_id,
    o.location_id,
    o.target_time,
    o.target_interval,
    o.available_at,
    o.model_name,
    o.model_version,
    o.purpose;

-- name: get_demand_forecast_accuracy
-- How accurate were the demand forecasts, by model, version, length of the target and lead time?
-- Parameters: organization_id uuid, fill_quantity numeric?, period_start timestamptz, period_end timestamptz
SELECT
    a.model_name,
    a.model_version,
    a.target_interval,
    a.lead_time_days,
    a.target_count,
    a.no_outcome_count,
    a.actual_quantity,
    a.wape_pct,
    a.mae,
    a.bias,
    a.interval_count,
    a.interval_coverage_pct,
    a.reason,
    a.purpose
FROM demand_forecast_accuracy(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s,
    %(fill_quantity)s
) AS a
ORDER BY
    a.model_name,
    a.model_version,
    a.purpose,
    a.target_interval,
    a.lead_time_days;

-- name: find_local_today
-- What is the local date at this location, or at this employee's location?
-- Parameters: organization_id uuid, location_id uuid?, employee_id uuid?
SELECT
    local_date(now(), l.timezone) AS today
FROM locations AS l
WHERE l.organization_id = %(organization_id)s
    AND l.location_id = coalesce(
        %(location_id)s,
        (
            SELECT
                e.location_id
            FROM employees AS e
            WHERE e.organization_id = %(organization_id)s
                AND e.employee_id = %(employee_id)s
        )
    );
