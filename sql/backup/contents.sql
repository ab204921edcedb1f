-- For psql: describe the contents of this database. Prints one JSON object per line: first the database itself, then each
-- table with its row count and a hash of its contents.
--
-- The hash is independent of the row order: the sum of the MD5 of each row as text. A hypertable counts as a single table;
-- the materialization of a continuous aggregate is a table of its own.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET statement_timeout = 0;
SET search_path = pg_catalog;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';

SELECT
    to_regclass('public.schema_version') IS NOT NULL AS has_schema,
    EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') AS has_timescaledb
\gset
\set schema_version NULL
\set job_owners '''[]'''
\set kept_rollups '''{}'''
\if :has_schema
SELECT coalesce(max(version)::text, 'NULL') AS schema_version FROM public.schema_version
\gset
\endif
\if :has_timescaledb
SELECT
    quote_literal(coalesce((SELECT json_agg(DISTINCT owner::text) FROM timescaledb_information.jobs WHERE job_id >= 1000), '[]')) AS job_owners,
    quote_literal(ARRAY(
        SELECT format('%I.%I', h.schema_name, h.table_name)
        FROM _timescaledb_catalog.continuous_agg AS a
        JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
    )) AS kept_rollups
\gset
\endif

SELECT json_build_object(
    'name', current_database(),
    'owner', (SELECT pg_get_userbyid(d.datdba) FROM pg_database AS d WHERE d.datname = current_database()),
    'postgresql', current_setting('server_version'),
    'postgresql_major', current_setting('server_version_num')::integer / 10000,
    'timescaledb', (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'timescaledb'),
    'edition', CASE
        WHEN NOT :'has_timescaledb' THEN 'plain'
        WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'community'
        ELSE 'apache'
    END,
    'schema_version', :schema_version::integer,
    'job_owners', :job_owners::json,
    'taken_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
);

SELECT format(
    'SELECT json_build_object(''table'', %L, ''rows'', count(*), ''hash'', md5(concat_ws('':'', count(*), '
    'sum((''x'' || left(h, 16))::bit(64)::bigint), sum((''x'' || right(h, 16))::bit(64)::bigint)))) '
    'FROM (SELECT md5(t::text) AS h FROM %s AS t) AS hashed',
    t.name,
    t.name
)
FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
        AND NOT c.relispartition
        AND n.nspname !~ '^(pg_|information_schema$|_?timescaledb_)'
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT unnest(:kept_rollups::text[])
) AS t
ORDER BY t.name
\gexec
