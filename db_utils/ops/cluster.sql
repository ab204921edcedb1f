-- Contents of the Citus nodes, and moves between them.

-- name: nodes
-- Nodes, and the number of shards on each. Co-located tables are sharded alike, so those of organizations count for all.
SELECT
    format('%s:%s', n.nodename, n.nodeport) AS node,
    CASE n.groupid WHEN 0 THEN 'coordinator' ELSE 'worker' END AS role,
    n.isactive AS answers,
    count(s.shardid) AS shards
FROM pg_dist_node AS n
LEFT JOIN pg_dist_placement AS d ON d.groupid = n.groupid
LEFT JOIN pg_dist_shard AS s
    ON s.shardid = d.shardid
    AND s.logicalrelid = 'organizations'::regclass
WHERE n.noderole = 'primary'
GROUP BY
    n.groupid,
    n.nodename,
    n.nodeport,
    n.isactive
ORDER BY
    n.groupid <> 0,
    n.nodename,
    n.nodeport;

-- name: held
-- Number of organizations on each node, and the size of its database, queried from each node.
WITH sizes AS (
    SELECT
        r.nodeid,
        r.result::bigint AS size_bytes
    FROM run_command_on_all_nodes('SELECT pg_database_size(current_database())') AS r
),
held AS (
    SELECT
        p.groupid,
        count(*) AS organizations
    FROM (SELECT o.organization_id FROM organizations AS o OFFSET 0) AS o
    JOIN pg_dist_placement AS p
        ON p.shardid = get_shard_id_for_distribution_column('organizations', o.organization_id)
    GROUP BY p.groupid
)
SELECT
    format('%s:%s', n.nodename, n.nodeport) AS node,
    z.size_bytes,
    coalesce(h.organizations, 0) AS organizations
FROM pg_dist_node AS n
JOIN sizes AS z ON z.nodeid = n.nodeid
LEFT JOIN held AS h ON h.groupid = n.groupid
ORDER BY 1;

-- name: planned_moves
-- Shard moves, with source and target, that would balance the nodes.
SELECT
    m.shardid AS shard_id,
    format('%s:%s', m.sourcename, m.sourceport) AS from_node,
    format('%s:%s', m.targetname, m.targetport) AS to_node,
    m.shard_size AS size_bytes
FROM get_rebalance_table_shards_plan('organizations') AS m
ORDER BY m.shardid;

-- name: job
-- Progress of this move.
SELECT
    j.state::text AS state,
    count(*) FILTER (WHERE t.status = 'done') AS done,
    count(t.task_id) AS total,
    max(t.message) FILTER (WHERE t.status IN ('error', 'unscheduled')) AS message
FROM pg_dist_background_job AS j
LEFT JOIN pg_dist_background_task AS t ON t.job_id = j.job_id
WHERE j.job_id = %(job_id)s
GROUP BY j.state;

-- name: shard_of
-- Shard of this organization, its range of hash values, and the organization's own.
SELECT
    s.shardid AS shard_id,
    s.shardminvalue::integer AS first,
    worker_hash(%(organization_id)s::uuid) AS hash,
    s.shardmaxvalue::integer AS last,
    n.nodeid AS node_id
FROM pg_dist_shard AS s
JOIN pg_dist_placement AS p ON p.shardid = s.shardid
JOIN pg_dist_node AS n
    ON n.groupid = p.groupid
    AND n.noderole = 'primary'
WHERE s.shardid = get_shard_id_for_distribution_column('organizations', %(organization_id)s::uuid);

-- name: begin_afresh
-- Readers of the outbox that resume from a position reload everything once.
UPDATE sync_targets AS t
SET trimmed_to = greatest(t.trimmed_to, n.newest)
FROM (
    SELECT max(r.result::bigint) AS newest
    FROM run_command_on_all_nodes('SELECT pg_snapshot_xmax(pg_current_snapshot())::text') AS r
) AS n
WHERE t.keep_for IS NOT NULL;
