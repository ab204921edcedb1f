-- name: targets
SELECT
    t.organization_id,
    o.name AS organization_name,
    t.consumer,
    t.keep_for IS NOT NULL AS is_stream,
    w.waiting,
    w.lag_seconds,
    coalesce(p.sent_count, 0) AS sent,
    coalesce(p.call_count, 0) AS calls,
    coalesce(p.failed_call_count, 0) AS failed_calls,
    (
        SELECT count(*)
        FROM public.sync_rejected AS r
        WHERE r.organization_id = t.organization_id
            AND r.consumer = t.consumer
    ) AS rejected,
    p.last_success_at,
    p.last_error,
    p.last_error_at
FROM public.sync_targets AS t
JOIN public.organizations AS o ON o.organization_id = t.organization_id
LEFT JOIN public.sync_progress AS p
    ON p.organization_id = t.organization_id
    AND p.consumer = t.consumer
CROSS JOIN LATERAL (
    SELECT
        count(*) AS waiting,
        extract(epoch FROM clock_timestamp() - min(w.changed_at))::double precision AS lag_seconds
    FROM public.sync_outbox AS w
    WHERE w.organization_id = t.organization_id
        AND w.consumer = t.consumer
) AS w
ORDER BY
    t.consumer,
    t.organization_id
