-- name: server
SELECT
    current_setting('server_version') AS version,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
    to_regprocedure('public.database_edition()') IS NOT NULL AS has_edition,
    current_user AS role,
    pg_is_in_recovery() AS is_standby,
    pg_postmaster_start_time() AS started_at,
    CASE WHEN has_database_privilege(current_database(), 'CONNECT') THEN pg_database_size(current_database()) END AS database_bytes,
    CASE
        WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN
            (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
        ELSE (SELECT sum(numbackends) FROM pg_stat_database)
    END::integer AS connections,
    current_setting('max_connections')::integer AS connections_limit

-- name: series
(
    SELECT {edge}(e.time)
    FROM public.organizations AS o
    CROSS JOIN LATERAL (
        SELECT t.time
        FROM {table} AS t
        WHERE t.organization_id = o.organization_id
        ORDER BY time_bucket(interval '1 hour', t.time) {order}, t.time {order}
        LIMIT 1
    ) AS e
)

-- name: jobs
SELECT
    j.job_id,
    -- TimescaleDB calls every job of others a user-defined action.
    CASE j.proc_schema WHEN 'public' THEN j.proc_name ELSE regexp_replace(j.application_name, ' \[\d+\]$', '') END AS name,
    coalesce(a.view_name, j.hypertable_name)::text AS relation,
    extract(epoch FROM j.schedule_interval)::double precision AS schedule_seconds,
    j.scheduled AS is_scheduled,
    nullif(s.last_run_started_at, '-infinity') AS last_run_at,
    nullif(s.last_successful_finish, '-infinity') AS last_success_at,
    nullif(nullif(s.next_start, '-infinity'), 'infinity') AS next_start_at,
    coalesce(s.last_run_status = 'Failed', false) AS last_run_failed,
    coalesce(s.total_failures, 0) AS failures
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
LEFT JOIN timescaledb_information.continuous_aggregates AS a
    ON a.materialization_hypertable_schema = j.hypertable_schema
    AND a.materialization_hypertable_name = j.hypertable_name
ORDER BY j.job_id

-- name: sources
WITH places AS (
    SELECT
        r.connector,
        max(r.finished_at) FILTER (WHERE r.error_message IS NULL) AS last_good_at,
        (array_agg(r.error_message ORDER BY r.finished_at DESC, r.window_start DESC))[1] AS newest_error
    FROM public.connector_runs AS r
    GROUP BY
        r.organization_id,
        r.location_id,
        r.connector
)
SELECT
    p.connector,
    count(*) AS places,
    count(p.newest_error) AS failing_places,
    max(p.last_good_at) AS last_good_at,
    CASE WHEN count(*) = count(p.last_good_at) THEN min(p.last_good_at) END AS stalest_good_at
FROM places AS p
GROUP BY p.connector
ORDER BY p.connector
