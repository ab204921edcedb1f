-- name: scheduled
SELECT
    s.organization_id,
    s.task,
    l.name AS location,
    s.last_succeeded_at,
    -- For runs in progress, or killed midway, only their age is known.
    nullif(s.last_error, 'interrupted') AS error,
    extract(epoch FROM s.run_every)::double precision AS every_seconds,
    extract(epoch FROM now() - coalesce(s.last_succeeded_at, s.created_at))::double precision AS age_seconds
FROM public.service_schedules AS s
LEFT JOIN public.locations AS l
    ON l.organization_id = s.organization_id
    AND l.location_id = s.location_id
WHERE s.is_enabled
    AND s.task LIKE 'fetch %%'
ORDER BY
    now() - coalesce(s.last_succeeded_at, s.created_at) - s.run_every DESC,
    s.organization_id,
    s.task,
    s.schedule_id
