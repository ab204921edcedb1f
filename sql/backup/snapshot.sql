-- For psql: opens the transaction that a backup is taken in, and puts the name of its snapshot into :snapshot.
--
-- The locks come before the snapshot. What only rewrites tables (the columnstore's policies, TRUNCATE) would otherwise take rows
-- out of a snapshot that still ought to see them; it waits now until the backup is made. Readers and writers do not wait.
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
    -- Partitions and chunks are locked with what they are part of; one of them may be gone in a moment.
    AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid)
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND has_table_privilege(c.oid, 'SELECT')
\gset
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
:lock_tables;
SELECT pg_export_snapshot() AS snapshot
\gset
