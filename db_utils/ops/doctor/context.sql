-- name: about
SELECT
    current_setting('server_version') AS server_version,
    current_database() AS database,
    current_user AS role,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_everyone,
    pg_is_in_recovery() AS is_standby,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
    CASE
        WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN 'citus'
        WHEN NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'plain'
        WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'community'
        ELSE 'apache'
    END AS edition,
    pg_postmaster_start_time() AS started_at,
    (
        SELECT coalesce(stats_reset, pg_postmaster_start_time())
        FROM pg_stat_database
        WHERE datname = current_database()
    ) AS counted_since
