-- Anomaly predictions: bottlenecks, failures and others, their outcomes, and their accuracy.

-- name: save_anomaly_predictions!
-- Save the predictions of one run and return how many are new.
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, anomalies jsonb
INSERT INTO anomaly_predictions (
    organization_id,
    anomaly_id,
    resource_id,
    anomaly_type,
    severity,
    probability,
    predicted_for,
    description,
    model_name,
    model_version,
    available_at,
    metadata
)
SELECT
    %(organization_id)s,
    g.anomaly_id,
    g.resource_id,
    g.anomaly_type,
    g.severity,
    g.probability,
    g.predicted_for,
    g.description,
    %(model_name)s,
    %(model_version)s,
    %(available_at)s,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(anomalies)s::jsonb) AS g (
    anomaly_id uuid,
    resource_id uuid,
    anomaly_type text,
    severity text,
    probability numeric,
    predicted_for timestamptz,
    description text,
    metadata jsonb
)
ORDER BY
    g.anomaly_id
ON CONFLICT (organization_id, anomaly_id) DO NOTHING;

-- name: check_anomaly_predictions
-- Which of these predictions were saved before with other values?
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, anomalies jsonb
SELECT
    p.anomaly_id,
    p.resource_id,
    p.predicted_for
FROM jsonb_to_recordset(%(anomalies)s::jsonb) AS g (
    anomaly_id uuid,
    resource_id uuid,
    anomaly_type text,
    severity text,
    probability numeric,
    predicted_for timestamptz,
    description text
)
JOIN anomaly_predictions AS p ON p.anomaly_id = g.anomaly_id
WHERE p.organization_id = %(organization_id)s
    AND (
        p.resource_id,
        p.anomaly_type,
        p.severity,
        p.probability,
        p.predicted_for,
        p.description,
        p.model_name,
        p.model_version,
        p.available_at
    ) IS DISTINCT FROM (
        g.resource_id,
        g.anomaly_type,
        g.severity,
        g.probability,
        g.predicted_for,
        g.description,
        %(model_name)s,
        %(model_version)s,
        %(available_at)s
    )
ORDER BY
    p.anomaly_id
LIMIT 3;

-- name: get_active_anomaly_predictions
-- Which predicted anomalies are open, most probable first?
-- Parameters: organization_id uuid, resource_id uuid?, anomaly_type text?, include_acknowledged boolean
SELECT
    p.anomaly_id,
    p.resource_id,
    r.name AS resource_name,
    r.location_id,
    p.anomaly_type,
    p.severity,
    p.status,
    p.probability,
    p.predicted_for,
    p.description,
    p.model_name,
    p.model_version,
    p.available_at,
    p.recorded_at,
    p.metadata
FROM anomaly_predictions AS p
JOIN resources AS r
    ON r.organization_id = p.organization_id
    AND r.resource_id = p.resource_id
WHERE p.organization_id = %(organization_id)s
    AND r.organization_id = %(organization_id)s
    AND (p.status = 'active' OR %(include_acknowledged)s AND p.status = 'acknowledged')
    AND (%(resource_id)s::uuid IS NULL OR p.resource_id = %(resource_id)s)
    AND (%(anomaly_type)s::text IS NULL OR p.anomaly_type = %(anomaly_type)s)
ORDER BY
    p.probability DESC,
    p.predicted_for,
    p.anomaly_id;

-- name: get_recent_bottlenecks
-- Which predicted severe bottlenecks are open, most probable first?
-- Parameters: organization_id uuid
SELECT
    p.anomaly_id,
    p.resource_id,
    r.name AS resource_name,
    r.location_id,
    p.severity,
    p.probability,
    p.predicted_for,
    p.description,
    p.model_name,
    p.model_version,
    p.available_at,
    p.recorded_at,
    p.metadata
FROM anomaly_predictions AS p
JOIN resources AS r
    ON r.organization_id = p.organization_id
    AND r.resource_id = p.resource_id
WHERE p.organization_id = %(organization_id)s
    AND r.organization_id = %(organization_id)s
    AND p.anomaly_type = 'bottleneck'
    AND p.status = 'active'
    AND p.severity IN ('high', 'critical')
ORDER BY
    p.probability DESC,
    p.predicted_for,
    p.anomaly_id;

-- name: get_anomaly_predictions_as_of
-- Which predicted anomalies were open at a given time, most probable first?
-- Parameters: organization_id uuid, as_of timestamptz, known_by timestamptz?
SELECT
    p.anomaly_id,
    p.resource_id,
    p.anomaly_type,
    p.severity,
    p.probability,
    p.predicted_for,
    p.description,
    p.model_name,
    p.model_version,
    p.available_at,
    p.recorded_at
FROM anomaly_predictions_as_of(
    %(organization_id)s,
    %(as_of)s,
    coalesce(%(known_by)s, timestamptz 'infinity')
) AS p
ORDER BY
    p.probability DESC,
    p.predicted_for,
    p.anomaly_id;

-- name: acknowledge_anomaly_prediction<!
-- Acknowledge a prediction and return its row.
-- Parameters: organization_id uuid, anomaly_id uuid
UPDATE anomaly_predictions AS p
SET status = 'acknowledged'
WHERE p.organization_id = %(organization_id)s
    AND p.anomaly_id = %(anomaly_id)s
    AND p.status = 'active'
RETURNING
    p.anomaly_id,
    p.resource_id,
    p.anomaly_type,
    p.severity,
    p.status,
    p.probability,
    p.predicted_for,
    p.outcome,
    p.occurred_at,
    p.closed_at,
    p.updated_at;

-- name: close_anomaly_prediction<!
-- Close a prediction with its outcome and return its row.
-- Parameters: organization_id uuid, anomaly_id uuid, outcome text, occurred_at timestamptz?, closed_at timestamptz?
-- A model's clock may be up to an hour ahead of the database's: closed_at is never before the prediction.
UPDATE anomaly_predictions AS p
SET
    status = 'closed',
    outcome = %(outcome)s,
    occurred_at = %(occurred_at)s,
    closed_at = coalesce(%(closed_at)s, greatest(present.at, p.available_at))
FROM (SELECT now() AS at) AS present
WHERE p.organization_id = %(organization_id)s
    AND p.anomaly_id = %(anomaly_id)s
    AND p.status IN ('active', 'acknowledged')
RETURNING
    p.anomaly_id,
    p.resource_id,
    p.anomaly_type,
    p.severity,
    p.status,
    p.probability,
    p.predicted_for,
    p.outcome,
    p.occurred_at,
    p.closed_at,
    p.updated_at;

-- name: check_anomaly_prediction
-- What status does this prediction have?
-- Parameters: organization_id uuid, anomaly_id uuid
SELECT
    p.status
FROM anomaly_predictions AS p
WHERE p.organization_id = %(organization_id)s
    AND p.anomaly_id = %(anomaly_id)s;

-- name: get_anomaly_prediction_scores
-- How accurate were the anomaly predictions, by type, model and version?
-- Parameters: organization_id uuid, period_start timestamptz, period_end timestamptz
SELECT
    s.anomaly_type,
    s.model_name,
    s.model_version,
    s.prediction_count,
    s.confirmed_count,
    s.false_alarm_count,
    s.unknown_count,
    s.open_count,
    s.precision_pct,
    s.breakdown_count,
    s.predicted_breakdown_count,
    s.recall_pct,
    s.lead_time_minutes_mean
FROM organizations AS o
CROSS JOIN LATERAL anomaly_prediction_scores(
    %(organization_id)s,
    %(period_start)s,
    %(period_end)s
) AS s
WHERE o.organization_id = %(organization_id)s
ORDER BY
    s.anomaly_type,
    s.model_name,
    s.model_version;

-- name: find_newest_anomaly_run
-- Which anomaly prediction is the newest, whatever its outcome?
-- Parameters: organization_id uuid
SELECT
    p.model_name,
    p.model_version,
    p.available_at,
    now() AS read_at
FROM anomaly_predictions AS p
WHERE p.organization_id = %(organization_id)s
ORDER BY
    p.available_at DESC,
    p.recorded_at DESC,
    p.anomaly_id
LIMIT 1;
