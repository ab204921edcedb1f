-- Alerts: raised, acknowledged, resolved.

-- name: raise_alert<!
-- Raise an alert and return its row.
-- Parameters: organization_id uuid, alert_id uuid?, severity text, alert_type text, title text, message text?,
--     location_id uuid?, resource_id uuid?, anomaly_id uuid?, metadata jsonb
INSERT INTO alerts (
    organization_id,
    alert_id,
    severity,
    alert_type,
    title,
    message,
    location_id,
    resource_id,
    anomaly_id,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(alert_id)s, gen_random_uuid()),
    %(severity)s,
    %(alert_type)s,
    %(title)s,
    %(message)s,
    %(location_id)s,
    %(resource_id)s,
    %(anomaly_id)s,
    %(metadata)s
)
RETURNING
    alert_id,
    created_at,
    severity,
    alert_type,
    title,
    message,
    status,
    location_id,
    resource_id,
    anomaly_id,
    acknowledged_at,
    acknowledged_by,
    resolved_at,
    resolution,
    metadata;

-- name: acknowledge_alert<!
-- Acknowledge an alert and return its row.
-- Parameters: organization_id uuid, alert_id uuid, acknowledged_by text?
UPDATE alerts AS a
SET
    status = 'acknowledged',
    acknowledged_at = greatest(now(), a.created_at),
    acknowledged_by = %(acknowledged_by)s
WHERE a.organization_id = %(organization_id)s
    AND a.alert_id = %(alert_id)s
    AND a.status = 'active'
RETURNING
    a.alert_id,
    a.created_at,
    a.severity,
    a.alert_type,
    a.title,
    a.message,
    a.status,
    a.location_id,
    a.resource_id,
    a.anomaly_id,
    a.acknowledged_at,
    a.acknowledged_by,
    a.resolved_at,
    a.resolution,
    a.metadata;

-- name: resolve_alert<!
-- Resolve an alert and return its row.
-- Parameters: organization_id uuid, alert_id uuid, resolution text?
UPDATE alerts AS a
SET
    status = 'resolved',
    resolved_at = greatest(now(), a.created_at),
    resolution = %(resolution)s
WHERE a.organization_id = %(organization_id)s
    AND a.alert_id = %(alert_id)s
    AND a.status IN ('active', 'acknowledged')
RETURNING
    a.alert_id,
    a.created_at,
    a.severity,
    a.alert_type,
    a.title,
    a.message,
    a.status,
    a.location_id,
    a.resource_id,
    a.anomaly_id,
    a.acknowledged_at,
    a.acknowledged_by,
    a.resolved_at,
    a.resolution,
    a.metadata;

-- name: check_alert
-- What status does this alert have?
-- Parameters: organization_id uuid, alert_id uuid
SELECT
    a.status
FROM alerts AS a
WHERE a.organization_id = %(organization_id)s
    AND a.alert_id = %(alert_id)s;

-- name: get_active_alerts
-- Which alerts are not resolved yet, most severe first?
-- Parameters: organization_id uuid, severity text?, resource_id uuid?
SELECT
    a.alert_id,
    a.created_at,
    a.severity,
    a.alert_type,
    a.title,
    a.message,
    a.status,
    a.location_id,
    a.resource_id,
    a.resource_name,
    a.anomaly_id,
    a.acknowledged_at,
    a.acknowledged_by
FROM active_alerts AS a
WHERE a.organization_id = %(organization_id)s
    AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
    AND (%(resource_id)s::uuid IS NULL OR a.resource_id = %(resource_id)s)
ORDER BY
    array_position(ARRAY['critical', 'high', 'medium', 'low'], a.severity),
    a.created_at DESC,
    a.alert_id;

-- name: get_alerts
-- Which alerts were raised, newest first?
-- Parameters: organization_id uuid, resource_id uuid?, status text?, severity text?, period_start timestamptz,
--     period_end timestamptz, row_limit integer
SELECT
    a.alert_id,
    a.created_at,
    a.severity,
    a.alert_type,
    a.title,
    a.message,
    a.status,
    a.location_id,
    a.resource_id,
    a.anomaly_id,
    a.acknowledged_at,
    a.acknowledged_by,
    a.resolved_at,
    a.resolution,
    a.metadata
FROM alerts AS a
WHERE a.organization_id = %(organization_id)s
    AND (%(resource_id)s::uuid IS NULL OR a.resource_id = %(resource_id)s)
    AND (%(status)s::text IS NULL OR a.status = %(status)s)
    AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
    AND a.created_at >= %(period_start)s
    AND a.created_at < %(period_end)s
ORDER BY
    a.created_at DESC,
    a.alert_id
LIMIT %(row_limit)s;
