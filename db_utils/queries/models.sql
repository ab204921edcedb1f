-- Forecast models: their roles and their backtests.

-- name: save_forecast_model!
-- Save a model and return whether it is new.
-- Parameters: organization_id uuid, model_name text, model_version text, kind text, config jsonb
-- New models are challengers.
INSERT INTO forecast_models (organization_id, model_name, model_version, kind, config)
VALUES (
    %(organization_id)s,
    %(model_name)s,
    %(model_version)s,
    %(kind)s,
    %(config)s
)
ON CONFLICT (organization_id, model_name, model_version) DO NOTHING;

-- name: get_forecast_models
-- Which forecast models does the organization have, and in which role?
-- Parameters: organization_id uuid, kind text?, role text?
SELECT
    m.model_name,
    m.model_version,
    m.kind,
    m.role,
    m.role_since,
    m.role_reason,
    m.config,
    m.created_at
FROM forecast_models AS m
WHERE m.organization_id = %(organization_id)s
    AND (%(kind)s::text IS NULL OR m.kind = %(kind)s)
    AND (%(role)s::text IS NULL OR m.role = %(role)s)
ORDER BY
    m.kind,
    array_position(ARRAY['champion', 'challenger', 'retired'], m.role),
    m.model_name,
    m.created_at DESC,
    m.model_version;

-- name: step_down_champion!
-- Demote the champion of this model's kind and target.
-- Parameters: organization_id uuid, model_name text, model_version text, reason text?
UPDATE forecast_models AS m
SET
    role = 'challenger',
    role_since = now(),
    role_reason = %(reason)s
FROM forecast_models AS n
WHERE m.organization_id = %(organization_id)s
    AND n.organization_id = %(organization_id)s
    AND n.model_name = %(model_name)s
    AND n.model_version = %(model_version)s
    AND m.kind = n.kind
    AND m.config ->> 'target' IS NOT DISTINCT FROM n.config ->> 'target'
    AND m.role = 'champion'
    AND (m.model_name, m.model_version) <> (n.model_name, n.model_version);

-- name: set_model_role<!
-- Set the role of a model.
-- Parameters: organization_id uuid, model_name text, model_version text, role text, reason text?
UPDATE forecast_models AS m
SET
    role_since = CASE WHEN m.role = %(role)s THEN m.role_since ELSE present.at END,
    role_reason = CASE WHEN m.role = %(role)s THEN m.role_reason ELSE %(reason)s END,
    role = %(role)s
FROM (SELECT now() AS at) AS present
WHERE m.organization_id = %(organization_id)s
    AND m.model_name = %(model_name)s
    AND m.model_version = %(model_version)s
RETURNING
    m.model_name,
    m.model_version,
    m.kind,
    m.role,
    m.role_since,
    m.role_reason,
    m.config,
    m.created_at;

-- name: save_forecast_backtests!
-- Save backtest results and return how many are new.
-- Parameters: organization_id uuid, backtests jsonb
INSERT INTO forecast_backtests (
    organization_id,
    model_name,
    model_version,
    product_id,
    location_id,
    target_interval,
    first_step,
    last_step,
    as_of,
    first_origin,
    last_origin,
    origin_count,
    better_origin_count,
    target_count,
    wape_pct,
    mase,
    pinball,
    interval_coverage_pct,
    naive_name,
    naive_wape_pct,
    naive_pinball,
    skill_pct,
    reason
)
SELECT
    %(organization_id)s,
    g.model_name,
    g.model_version,
    g.product_id,
    g.location_id,
    g.target_interval,
    g.first_step,
    g.last_step,
    g.as_of,
    g.first_origin,
    g.last_origin,
    g.origin_count,
    g.better_origin_count,
    g.target_count,
    g.wape_pct,
    g.mase,
    g.pinball,
    g.interval_coverage_pct,
    g.naive_name,
    g.naive_wape_pct,
    g.naive_pinball,
    g.skill_pct,
    g.reason
FROM jsonb_to_recordset(%(backtests)s::jsonb) AS g (
    model_name text,
    model_version text,
    product_id text,
    location_id uuid,
    target_interval interval,
    first_step integer,
    last_step integer,
    as_of timestamptz,
    first_origin timestamptz,
    last_origin timestamptz,
    origin_count integer,
    better_origin_count integer,
    target_count integer,
    wape_pct numeric,
    mase numeric,
    pinball numeric,
    interval_coverage_pct numeric,
    naive_name text,
    naive_wape_pct numeric,
    naive_pinball numeric,
    skill_pct numeric,
    reason text
)
ON CONFLICT (
    organization_id, model_name, model_version, as_of, target_interval, first_step, last_step, product_id, location_id
)
DO NOTHING;

-- name: get_forecast_backtests
-- How accurate was each model on past data, by its newest backtest?
-- Parameters: organization_id uuid, model_name text?, by_series boolean, as_of timestamptz?
SELECT
    b.model_name,
    b.model_version,
    b.product_id,
    b.location_id,
    b.target_interval,
    b.first_step,
    b.last_step,
    b.as_of,
    b.first_origin,
    b.last_origin,
    b.origin_count,
    b.better_origin_count,
    b.target_count,
    b.wape_pct,
    b.mase,
    b.pinball,
    b.interval_coverage_pct,
    b.naive_name,
    b.naive_wape_pct,
    b.naive_pinball,
    b.skill_pct,
    b.reason
FROM forecast_backtests AS b
JOIN (
    SELECT
        n.model_name,
        n.model_version,
        n.target_interval,
        max(n.as_of) AS as_of
    FROM forecast_backtests AS n
    WHERE n.organization_id = %(organization_id)s
        AND (%(as_of)s::timestamptz IS NULL OR n.as_of <= %(as_of)s)
    GROUP BY
        n.model_name,
        n.model_version,
        n.target_interval
) AS newest
    ON newest.model_name = b.model_name
    AND newest.model_version = b.model_version
    AND newest.target_interval = b.target_interval
    AND newest.as_of = b.as_of
WHERE b.organization_id = %(organization_id)s
    AND (%(model_name)s::text IS NULL OR b.model_name = %(model_name)s)
    AND (b.product_id IS NOT NULL) = %(by_series)s
ORDER BY
    b.model_name,
    b.model_version,
    b.target_interval,
    b.product_id,
    b.location_id,
    b.first_step,
    b.last_step;
