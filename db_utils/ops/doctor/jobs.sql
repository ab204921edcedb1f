-- name: failing
SELECT
    j.job_id,
    CASE j.proc_schema WHEN 'public' THEN j.proc_name ELSE j.application_name END AS application_name,
    j.hypertable_name,
    j.scheduled,
    s.total_failures,
    extract(epoch FROM now() - nullif(s.last_successful_finish, '-infinity')) AS since_success_seconds,
    extract(epoch FROM j.schedule_interval) AS interval_seconds,
    (
        SELECT e.err_message
        FROM timescaledb_information.job_errors AS e
        WHERE e.job_id = j.job_id
        ORDER BY e.finish_time DESC
        LIMIT 1
    ) AS error
FROM timescaledb_information.jobs AS j
JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
WHERE s.last_run_status = 'Failed'
ORDER BY j.job_id

-- name: late
SELECT
    j.job_id,
    CASE j.proc_schema WHEN 'public' THEN j.proc_name ELSE j.application_name END AS application_name,
    j.hypertable_name,
    j.scheduled,
    extract(epoch FROM now() - coalesce(s.next_start, j.initial_start)) AS late_seconds
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
WHERE j.proc_name <> 'policy_telemetry'
    AND (
        NOT j.scheduled
        OR coalesce(s.job_status, 'Scheduled') <> 'Running'
        AND isfinite(coalesce(s.next_start, j.initial_start))
        AND coalesce(s.next_start, j.initial_start) < now()
    )
ORDER BY j.job_id

-- name: retention
WITH RECURSIVE aggregates AS (
    SELECT
        format('%I.%I', hypertable_schema, hypertable_name) AS source,
        format('%I.%I', view_schema, view_name) AS rollup,
        format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) AS materialization
    FROM timescaledb_information.continuous_aggregates
),
built_on (root, rollup, materialization) AS (
    SELECT source, rollup, materialization FROM aggregates
    UNION ALL
    SELECT b.root, a.rollup, a.materialization
    FROM built_on AS b
    JOIN aggregates AS a ON a.source IN (b.materialization, b.rollup)
),
refreshes AS (
    SELECT
        format('%I.%I', hypertable_schema, hypertable_name) AS rollup,
        job_id,
        (config ->> 'start_offset')::interval AS start_offset
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_refresh_continuous_aggregate'
)
SELECT
    format('%I.%I', j.hypertable_schema, j.hypertable_name) AS hypertable,
    j.config ->> 'drop_after' AS drop_after,
    b.rollup,
    r.start_offset::text AS start_offset,
    d.time_interval::text AS chunk_interval,
    greatest((j.config ->> 'drop_after')::interval, interval '30 days' + d.time_interval)::text AS keep,
    j.hypertable_schema = 'public'
        AND j.hypertable_name IN ('operational_events', 'demand_history', 'resource_metrics', 'employee_attendance') AS is_ours
FROM timescaledb_information.jobs AS j
JOIN timescaledb_information.dimensions AS d
    ON (d.hypertable_schema, d.hypertable_name) = (j.hypertable_schema, j.hypertable_name)
    AND d.dimension_number = 1
JOIN built_on AS b ON b.root = format('%I.%I', j.hypertable_schema, j.hypertable_name)
JOIN refreshes AS r ON r.rollup IN (b.rollup, b.materialization)
WHERE j.proc_name = 'policy_retention'
    AND (r.start_offset IS NULL OR r.start_offset > (j.config ->> 'drop_after')::interval)
ORDER BY 1, 3

-- name: rollups
SELECT
    c.view_name AS rollup,
    format('%I.%I', c.view_schema, c.view_name) AS name,
    format(
        '%I.%I',
        coalesce(parent.view_schema, c.hypertable_schema),
        coalesce(parent.view_name, c.hypertable_name)
    ) AS source,
    d.column_name AS source_time,
    -- For an empty rollup this is the minimum timestamp, which clients cannot represent.
    CASE WHEN w.watermark >= timestamptz '0001-01-01 00:00 UTC' THEN w.watermark END AS watermark,
    extract(epoch FROM (j.config ->> 'end_offset')::interval) AS end_offset_seconds,
    extract(epoch FROM b.bucket_width::interval) AS bucket_seconds,
    extract(epoch FROM j.schedule_interval) AS interval_seconds,
    extract(epoch FROM now() - greatest(s.last_successful_finish, j.initial_start)) AS since_success_seconds
FROM timescaledb_information.continuous_aggregates AS c
JOIN _timescaledb_catalog.hypertable AS h
    ON (h.schema_name, h.table_name) = (c.materialization_hypertable_schema, c.materialization_hypertable_name)
CROSS JOIN LATERAL (
    SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(h.id)) AS watermark
) AS w
JOIN _timescaledb_catalog.continuous_aggs_bucket_function AS b ON b.mat_hypertable_id = h.id
LEFT JOIN timescaledb_information.continuous_aggregates AS parent
    ON (parent.materialization_hypertable_schema, parent.materialization_hypertable_name)
    = (c.hypertable_schema, c.hypertable_name)
JOIN timescaledb_information.dimensions AS d
    ON (d.hypertable_schema, d.hypertable_name) = (c.hypertable_schema, c.hypertable_name)
    AND d.dimension_number = 1
LEFT JOIN timescaledb_information.jobs AS j
    ON j.proc_name = 'policy_refresh_continuous_aggregate'
    AND (j.hypertable_schema, j.hypertable_name) IN (
        (c.view_schema, c.view_name),
        (c.materialization_hypertable_schema, c.materialization_hypertable_name)
    )
LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
ORDER BY c.view_name
