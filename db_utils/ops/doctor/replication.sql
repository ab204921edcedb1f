-- name: slots
SELECT
    slot_name,
    slot_type,
    active,
    wal_status,
    CASE
        WHEN restart_lsn IS NULL THEN 0
        WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), restart_lsn)
        ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
    END AS retained_bytes
FROM pg_replication_slots
WHERE NOT temporary
ORDER BY slot_name

-- name: standbys
SELECT
    application_name,
    host(client_addr) AS client,
    state,
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
        replay_lsn
    ) AS lag_bytes
FROM pg_stat_replication
WHERE replay_lsn IS NOT NULL
    AND application_name <> 'pg_basebackup'
ORDER BY 4 DESC

-- name: ourselves
SELECT
    pg_is_wal_replay_paused() AS paused,
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS lag_bytes
WHERE pg_is_in_recovery()

-- name: ages
SELECT
    datname,
    datname = current_database() AS is_ours,
    age(datfrozenxid) AS transaction_age,
    mxid_age(datminmxid) AS multixact_age
FROM pg_database
ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC, datname

-- name: oldest
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 't')
ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC, c.oid
LIMIT 1
