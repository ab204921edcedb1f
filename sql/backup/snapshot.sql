-- For psql: open the transaction of a backup, and store its snapshot name in :snapshot.
--
-- The locks are taken before the snapshot. Commands that rewrite tables (columnstore policies, TRUNCATE) could otherwise
-- remove rows that the snapshot should still see; they wait until the backup is done. Readers and writers do not wait.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SELECT coalesce('LOCK TABLE ' || string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY c.oid) || ' IN ACCESS SHARE MODE', 'SELECT')
    AS lock_tables
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
    AND n.nspname !~ '^(pg_|information_schema$|_timescaledb_(catalog|config|cache)$)'
    -- Partitions and chunks are locked together with their parent; a chunk may be dropped at any moment.
    AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid)
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND has_table_privilege(c.oid, 'SELECT')
\gset
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
:lock_tables;
SELECT pg_export_snapshot() AS snapshot
\gset
