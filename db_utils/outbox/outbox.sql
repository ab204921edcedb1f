-- Queries of the outbox. Unqualified names: the operator reads all rows, a tenant scope its own.

-- name: add_target!
-- Record an organization's changes for a consumer, from now on.
INSERT INTO sync_targets AS t (organization_id, consumer, kinds, keep_for)
VALUES (
    %(organization_id)s,
    %(consumer)s,
    %(kinds)s::text[],
    %(keep_for)s::interval
)
ON CONFLICT (organization_id, consumer) DO UPDATE
SET
    kinds = excluded.kinds,
    keep_for = excluded.keep_for
WHERE t.kinds <> excluded.kinds
    OR t.keep_for IS DISTINCT FROM excluded.keep_for;

-- name: get_target
-- For what does this consumer wait?
SELECT
    t.organization_id,
    t.consumer,
    t.kinds,
    t.keep_for
FROM sync_targets AS t
WHERE t.organization_id = %(organization_id)s
    AND t.consumer = %(consumer)s;

-- name: remove_target!
-- Stop recording changes for this consumer, and delete its pending ones.
WITH waiting AS (
    DELETE FROM sync_outbox AS o
    WHERE o.organization_id = %(organization_id)s
        AND o.consumer = %(consumer)s
)
DELETE FROM sync_targets AS t
WHERE t.organization_id = %(organization_id)s
    AND t.consumer = %(consumer)s;

-- name: enqueue
-- Enqueue all current keys of these kinds, and return how many were added.
SELECT enqueue_changes(%(organization_id)s, %(consumer)s, %(kinds)s::text[]) AS written;

-- name: enqueue_keys!
-- Enqueue these keys again.
INSERT INTO sync_outbox (organization_id, consumer, kind, entity_key)
SELECT
    t.organization_id,
    t.consumer,
    k.kind,
    k.entity_key
FROM unnest(%(kinds)s::text[], %(entity_keys)s::text[]) AS k (kind, entity_key)
JOIN sync_targets AS t
    ON t.organization_id = %(organization_id)s
    AND t.consumer = %(consumer)s;

-- name: trim
-- Trim the outbox, and return the number of rows removed.
SELECT trim_sync_outbox() AS deleted;

-- name: waiting
-- Pending changes of this consumer, oldest transaction first.
SELECT
    o.transaction_id,
    o.outbox_id,
    o.kind,
    o.entity_key,
    o.changed_at
FROM sync_outbox AS o
WHERE o.organization_id = %(organization_id)s
    AND o.consumer = %(consumer)s
ORDER BY
    o.transaction_id,
    o.outbox_id
LIMIT %(limit)s;

-- name: acknowledge!
-- Delete these processed changes. One that is concurrently merged with others of its key stays, and is delivered again.
DELETE FROM sync_outbox AS o
USING (
    SELECT
        w.transaction_id,
        w.outbox_id
    FROM sync_outbox AS w
    JOIN unnest(%(transaction_ids)s::bigint[], %(outbox_ids)s::bigint[]) AS taken (transaction_id, outbox_id)
        ON taken.transaction_id = w.transaction_id
        AND taken.outbox_id = w.outbox_id
    WHERE w.organization_id = %(organization_id)s
        AND w.consumer = %(consumer)s
    FOR UPDATE OF w SKIP LOCKED
) AS found
WHERE o.organization_id = %(organization_id)s
    AND o.consumer = %(consumer)s
    AND o.transaction_id = found.transaction_id
    AND o.outbox_id = found.outbox_id;

-- name: changes_since
-- Changes committed since a snapshot, up to another one or now, and whether all of them are still available. A snapshot ahead of the
-- server's comes from another server, as does such a trim mark. The first row is returned even if nothing changed.
WITH look AS (
    SELECT
        t.consumer IS NOT NULL AS has_target,
        coalesce(%(until)s::pg_snapshot, pg_current_snapshot()) AS until,
        pg_current_snapshot()::text AS now_seen,
        %(since)s::text IS NULL
            OR pg_snapshot_xmax(%(since)s::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
            OR coalesce(pg_snapshot_xmax(%(until)s::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()), false)
            OR t.consumer IS NULL
            OR (
                pg_snapshot_xmin(%(since)s::pg_snapshot)::text::bigint <= t.trimmed_to
                AND t.trimmed_to < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
            ) AS may_have_missed
    FROM (SELECT 1) AS one
    LEFT JOIN sync_targets AS t
        ON t.organization_id = %(organization_id)s
        AND t.consumer = %(consumer)s
),
found AS (
    SELECT
        o.transaction_id,
        o.outbox_id,
        o.kind,
        o.entity_key,
        o.changed_at
    FROM sync_outbox AS o
    CROSS JOIN look AS l
    WHERE o.organization_id = %(organization_id)s
        AND o.consumer = %(consumer)s
        AND o.transaction_id >= pg_snapshot_xmin(%(since)s::pg_snapshot)::text::bigint
        AND NOT pg_visible_in_snapshot(o.transaction_id::text::xid8, %(since)s::pg_snapshot)
        AND pg_visible_in_snapshot(o.transaction_id::text::xid8, l.until)
        AND (
            %(after_transaction_id)s::bigint IS NULL
            OR (o.transaction_id, o.outbox_id) > (%(after_transaction_id)s::bigint, %(after_outbox_id)s::bigint)
        )
    ORDER BY
        o.transaction_id,
        o.outbox_id
    LIMIT %(limit)s
)
SELECT
    l.has_target,
    l.until::text AS until,
    l.now_seen,
    l.may_have_missed,
    f.transaction_id,
    f.outbox_id,
    f.kind,
    f.entity_key,
    f.changed_at
FROM look AS l
LEFT JOIN found AS f ON true
ORDER BY
    f.transaction_id,
    f.outbox_id;

-- name: rows_of_alert
-- Which alerts are current: all that are not resolved, and those that were until 30 days ago?
SELECT
    a.alert_id::text AS entity_key,
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
    a.resolved_at + sync_kept_for('alert') AS expires_at
FROM alerts AS a
WHERE a.organization_id = %(organization_id)s
    AND (%(keys)s::text[] IS NULL OR a.alert_id = ANY (%(keys)s::text[]::uuid[]))
    AND (a.resolved_at IS NULL OR a.resolved_at > now() - sync_kept_for('alert'));

-- name: rows_of_anomaly
-- Which predicted anomalies are current: all that are not closed, and those that were until 30 days ago?
SELECT
    p.anomaly_id::text AS entity_key,
    p.anomaly_id,
    p.resource_id,
    p.anomaly_type,
    p.severity,
    p.status,
    p.probability,
    p.predicted_for,
    p.description,
    p.model_name,
    p.model_version,
    p.available_at,
    p.outcome,
    p.occurred_at,
    p.closed_at,
    p.closed_at + sync_kept_for('anomaly') AS expires_at
FROM anomaly_predictions AS p
WHERE p.organization_id = %(organization_id)s
    AND (%(keys)s::text[] IS NULL OR p.anomaly_id = ANY (%(keys)s::text[]::uuid[]))
    AND (p.closed_at IS NULL OR p.closed_at > now() - sync_kept_for('anomaly'));

-- name: rows_of_resource_status
-- What does each of these resources do now?
SELECT
    s.resource_id::text AS entity_key,
    s.resource_id,
    s.location_id,
    s.name,
    s.resource_type,
    s.status,
    s.last_event_at,
    s.last_event_type,
    s.last_event_cause,
    s.last_metric_at,
    s.utilization_pct,
    s.efficiency_pct,
    s.downtime_minutes,
    NULL::timestamptz AS expires_at
FROM latest_resource_status(%(organization_id)s) AS s
WHERE %(keys)s::text[] IS NULL
    OR s.resource_id = ANY (%(keys)s::text[]::uuid[]);

-- name: rows_of_forecast
-- What is expected now for each of these targets, or for all whose time did not pass more than seven days ago?
WITH targets AS (
    SELECT
        k.entity_key,
        k.entity_key::jsonb ->> 0 AS product_id,
        (k.entity_key::jsonb ->> 1)::uuid AS location_id,
        (k.entity_key::jsonb ->> 2)::timestamp AT TIME ZONE 'UTC' AS target_time,
        make_interval(secs => (k.entity_key::jsonb ->> 3)::double precision) AS target_interval
    FROM unnest(%(keys)s::text[]) AS k (entity_key)
    UNION ALL
    SELECT DISTINCT
        forecast_key(f.product_id, f.location_id, f.target_time, f.target_interval),
        f.product_id,
        f.location_id,
        f.target_time,
        f.target_interval
    FROM demand_forecasts AS f
    WHERE f.organization_id = %(organization_id)s
        AND %(keys)s::text[] IS NULL
)
SELECT
    t.entity_key,
    n.product_id,
    n.location_id,
    n.target_time,
    extract(epoch FROM n.target_end - n.target_time) / 60 AS target_minutes,
    n.predicted_quantity,
    n.lower_bound,
    n.upper_bound,
    n.interval_coverage_pct,
    n.model_name,
    n.model_version,
    n.available_at,
    n.target_end + sync_kept_for('forecast') AS expires_at
FROM targets AS t
CROSS JOIN LATERAL (
    SELECT
        c.product_id,
        c.location_id,
        c.target_time,
        c.target_end,
        c.predicted_quantity,
        c.lower_bound,
        c.upper_bound,
        c.interval_coverage_pct,
        c.model_name,
        c.model_version,
        c.available_at
    FROM current_demand_forecasts AS c
    WHERE c.organization_id = %(organization_id)s
        AND c.product_id = t.product_id
        AND c.location_id = t.location_id
        AND c.target_time = t.target_time
        AND c.target_interval = t.target_interval
    LIMIT 1
) AS n
WHERE n.target_end > now() - sync_kept_for('forecast');

-- name: rows_of_plan
-- Which plans are active, or were until 30 days ago?
SELECT
    p.plan_id::text AS entity_key,
    p.plan_id,
    p.location_id,
    p.resource_id,
    p.product_id,
    p.plan_date,
    p.planned_quantity,
    p.actual_quantity,
    p.status,
    p.priority,
    p.updated_at,
    CASE WHEN p.status IN ('completed', 'cancelled') THEN p.updated_at + sync_kept_for('plan') END AS expires_at
FROM production_plans AS p
WHERE p.organization_id = %(organization_id)s
    AND (%(keys)s::text[] IS NULL OR p.plan_id = ANY (%(keys)s::text[]::uuid[]))
    AND (p.status IN ('planned', 'in_progress') OR p.updated_at > now() - sync_kept_for('plan'));

-- name: rows_of_kpi
-- What are the organization's KPIs of the last 1, 7 and 30 times 24 hours?
SELECT
    d.days || '/' || k.kpi AS entity_key,
    d.days,
    k.kpi,
    k.value,
    k.unit,
    k.numerator,
    k.numerator_unit,
    k.denominator,
    k.denominator_unit,
    k.coverage_pct,
    k.reason,
    k.period_start,
    k.period_end,
    NULL::timestamptz AS expires_at
FROM (
    SELECT DISTINCT split_part(w.entity_key, '/', 1)::integer AS days
    FROM unnest(coalesce(%(keys)s::text[], ARRAY['1/', '7/', '30/'])) AS w (entity_key)
) AS d
CROSS JOIN LATERAL get_kpi_summary(%(organization_id)s, d.days) AS k
WHERE %(keys)s::text[] IS NULL
    OR d.days || '/' || k.kpi = ANY (%(keys)s::text[]);
