-- name: connections
SELECT
    count(*) AS used,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int AS available,
    count(*) FILTER (WHERE state = 'idle') AS idle,
    (
        SELECT string_agg(format('%s %s', n, coalesce(nullif(application_name, ''), 'unnamed')), ', ')
        FROM (
            SELECT application_name, count(*) AS n
            FROM pg_stat_activity
            WHERE backend_type = 'client backend'
            GROUP BY 1
            ORDER BY 2 DESC, 1
            LIMIT 3
        ) AS most
    ) AS most
FROM pg_stat_activity
WHERE backend_type = 'client backend'

-- name: transactions
SELECT
    pid,
    usename,
    application_name,
    host(client_addr) AS client,
    state,
    extract(epoch FROM clock_timestamp() - xact_start) AS open_seconds,
    extract(epoch FROM clock_timestamp() - state_change) AS state_seconds
FROM pg_stat_activity
WHERE backend_type = 'client backend'
    AND pid <> pg_backend_pid()
    AND xact_start IS NOT NULL
ORDER BY xact_start

-- name: prepared
SELECT
    gid,
    owner,
    database,
    extract(epoch FROM now() - prepared) AS open_seconds
FROM pg_prepared_xacts
WHERE database = current_database()
ORDER BY prepared

-- name: blocked
SELECT
    w.pid,
    w.usename,
    extract(epoch FROM clock_timestamp() - l.waitstart) AS wait_seconds,
    l.relation::regclass::text AS relation,
    pg_blocking_pids(w.pid) AS blockers
FROM pg_stat_activity AS w
JOIN pg_locks AS l ON l.pid = w.pid AND NOT l.granted
WHERE w.datname = current_database()
    AND l.waitstart IS NOT NULL
ORDER BY l.waitstart

-- name: hit_ratio
SELECT blks_hit, blks_read
FROM pg_stat_database
WHERE datname = current_database()
