-- Scheduled tasks of the worker, over all organizations.

-- name: begin_due
-- Take the most overdue task. Its next time is set at once, after now, so that missed runs are made up for
-- once.
UPDATE service_schedules AS s
SET
    last_started_at = due.started_at,
    next_run_at = due.next_run_at,
    last_error = 'interrupted'
FROM (
    SELECT
        d.organization_id,
        d.schedule_id,
        now() AS started_at,
        now() + d.run_every AS next_run_at
    FROM service_schedules AS d
    WHERE d.is_enabled
        AND d.next_run_at <= now()
        AND d.task = ANY (%(tasks)s)
    ORDER BY
        d.next_run_at,
        d.organization_id,
        d.schedule_id
    LIMIT 1
) AS due
WHERE s.organization_id = due.organization_id
    AND s.schedule_id = due.schedule_id
RETURNING
    s.organization_id,
    s.schedule_id,
    s.task,
    s.location_id,
    s.arguments;

-- name: place_of
-- Whose task is it, by name?
SELECT concat_ws(
    ', ',
    o.name,
    (
        SELECT l.name
        FROM locations AS l
        WHERE l.organization_id = %(organization_id)s
            AND l.location_id = %(location_id)s
    )
) AS place
FROM organizations AS o
WHERE o.organization_id = %(organization_id)s;

-- name: resume_interrupted!
-- Make tasks due that a worker began and did not end.
UPDATE service_schedules AS s
SET next_run_at = now()
WHERE s.last_error = 'interrupted'
    AND s.next_run_at > now();

-- name: end_task!
-- Record the result of a task.
UPDATE service_schedules AS s
SET
    last_succeeded_at = CASE WHEN %(error)s::text IS NULL THEN now() ELSE s.last_succeeded_at END,
    last_error = left(%(error)s, 2000)
WHERE s.organization_id = %(organization_id)s
    AND s.schedule_id = %(schedule_id)s;

-- name: next_due
-- When is the next task due?
SELECT min(s.next_run_at) AS due_at
FROM service_schedules AS s
WHERE s.is_enabled
    AND s.task = ANY (%(tasks)s);

-- name: schedule!
-- Schedule a task, from now on; an existing one gets the new interval and options.
INSERT INTO service_schedules AS s (organization_id, task, location_id, run_every, arguments, next_run_at)
VALUES (
    %(organization_id)s,
    %(task)s,
    %(location_id)s,
    %(run_every)s,
    %(arguments)s,
    now() + %(run_every)s
)
ON CONFLICT (organization_id, task, location_id) DO UPDATE
SET
    run_every = excluded.run_every,
    arguments = excluded.arguments,
    next_run_at = least(s.next_run_at, excluded.next_run_at),
    is_enabled = true;

-- name: schedules
-- All schedules with their last results.
SELECT
    s.organization_id,
    o.name AS organization,
    s.task,
    l.name AS location,
    s.run_every,
    s.is_enabled,
    s.next_run_at,
    s.last_started_at,
    s.last_succeeded_at,
    s.last_error
FROM service_schedules AS s
JOIN organizations AS o ON o.organization_id = s.organization_id
LEFT JOIN locations AS l
    ON l.organization_id = s.organization_id
    AND l.location_id = s.location_id
ORDER BY
    o.name,
    s.task,
    l.name;
