-- Optimization runs: an algorithm's parameters and results.

-- name: start_optimization_run<!
-- Start an optimization run and return its row.
-- Parameters: organization_id uuid, run_id uuid?, run_type text, algorithm text, parameters jsonb
INSERT INTO optimization_runs (organization_id, run_id, run_type, algorithm, parameters)
VALUES (
    %(organization_id)s,
    coalesce(%(run_id)s, gen_random_uuid()),
    %(run_type)s,
    %(algorithm)s,
    %(parameters)s
)
RETURNING
    run_id,
    run_type,
    algorithm,
    status,
    started_at,
    finished_at,
    objective_value,
    objective_unit,
    parameters,
    result,
    error_message;

-- name: finish_optimization_run<!
-- Finish a run with its result and return its row.
-- Parameters: organization_id uuid, run_id uuid, result jsonb, objective_value numeric?, objective_unit text?
UPDATE optimization_runs AS r
SET
    status = 'completed',
    finished_at = greatest(now(), r.started_at),
    result = %(result)s,
    objective_value = %(objective_value)s,
    objective_unit = %(objective_unit)s
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s
    AND r.status = 'running'
RETURNING
    r.run_id,
    r.run_type,
    r.algorithm,
    r.status,
    r.started_at,
    r.finished_at,
    r.objective_value,
    r.objective_unit,
    r.parameters,
    r.result,
    r.error_message;

-- name: fail_optimization_run<!
-- Mark a run as failed, with the reason, and return its row.
-- Parameters: organization_id uuid, run_id uuid, error_message text
UPDATE optimization_runs AS r
SET
    status = 'failed',
    finished_at = greatest(now(), r.started_at),
    error_message = %(error_message)s
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s
    AND r.status = 'running'
RETURNING
    r.run_id,
    r.run_type,
    r.algorithm,
    r.status,
    r.started_at,
    r.finished_at,
    r.objective_value,
    r.objective_unit,
    r.parameters,
    r.result,
    r.error_message;

-- name: cancel_optimization_run<!
-- Cancel a run and return its row.
-- Parameters: organization_id uuid, run_id uuid
UPDATE optimization_runs AS r
SET
    status = 'cancelled',
    finished_at = greatest(now(), r.started_at)
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s
    AND r.status = 'running'
RETURNING
    r.run_id,
    r.run_type,
    r.algorithm,
    r.status,
    r.started_at,
    r.finished_at,
    r.objective_value,
    r.objective_unit,
    r.parameters,
    r.result,
    r.error_message;

-- name: check_optimization_run
-- What status does this run have?
-- Parameters: organization_id uuid, run_id uuid
SELECT
    r.status
FROM optimization_runs AS r
WHERE r.organization_id = %(organization_id)s
    AND r.run_id = %(run_id)s;

-- name: get_latest_optimization_runs
-- What are the results of the newest optimization runs?
-- Parameters: organization_id uuid, run_type text?, status text?, row_limit integer
SELECT
    r.run_id,
    r.run_type,
    r.algorithm,
    r.status,
    r.started_at,
    r.finished_at,
    extract(epoch FROM r.finished_at - r.started_at) AS duration_seconds,
    r.objective_value,
    r.objective_unit,
    r.parameters,
    r.result,
    r.error_message
FROM optimization_runs AS r
WHERE r.organization_id = %(organization_id)s
    AND (%(run_type)s::text IS NULL OR r.run_type = %(run_type)s)
    AND (%(status)s::text IS NULL OR r.status = %(status)s)
ORDER BY
    r.started_at DESC,
    r.run_id
LIMIT %(row_limit)s;
