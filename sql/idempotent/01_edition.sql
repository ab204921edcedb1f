-- Detect the edition, and provide time_bucket() where TimescaleDB is not installed.

-- Serialize applications of the schema: a second one waits here until the first has committed.
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('barnameh schema', 0));
    SET LOCAL client_min_messages = warning;
END
$$;

-- A preloaded TimescaleDB shows its settings even before the extension is created. Without preloading, CREATE EXTENSION
-- would end the session rather than raise an error.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%')
    THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
END
$$;

-- plpgsql, because it is planned once per session. An SQL function is parsed and planned in each statement, which would slow
-- down reads of rollups.
CREATE OR REPLACE FUNCTION database_edition()
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN CASE
        WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus') THEN 'citus'
        WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') THEN 'plain'
        WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'community'
        ELSE 'apache'
    END;
END
$$;
COMMENT ON FUNCTION database_edition() IS
    'Edition of this database. community: TimescaleDB with columnstore, continuous aggregates and policies; apache: '
    'hypertables only; plain: PostgreSQL without TimescaleDB; citus: plain PostgreSQL distributed over several nodes.';

-- What Citus changes on all nodes together in one transaction, it changes one shard after the other.
DO $$
BEGIN
    IF database_edition() = 'citus' THEN
        SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    END IF;
END
$$;

-- time_bucket() for the editions without TimescaleDB, with TimescaleDB's signatures and origins (Monday 2000-01-03 for
-- widths of days and below, 2000-01-01 for months). It is used in indexes, and dumps are restored with an empty
-- search_path, so names are schema-qualified.
DO $plain$
BEGIN
    IF database_edition() NOT IN ('plain', 'citus') THEN
        RETURN;
    END IF;

    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts timestamp)
    RETURNS timestamp
    LANGUAGE sql
    IMMUTABLE PARALLEL SAFE STRICT
    AS $$
        SELECT
            CASE
                WHEN bucket_width >= interval '1 month' THEN
                    timestamp '2000-01-01' + make_interval(months => (
                        floor((
                            (extract(year FROM ts) - 2000) * 12 + extract(month FROM ts) - 1
                        ) / (extract(year FROM bucket_width) * 12 + extract(month FROM bucket_width)))
                        * (extract(year FROM bucket_width) * 12 + extract(month FROM bucket_width))
                    )::int)
                ELSE date_bin(bucket_width, ts, timestamp '2000-01-03')
            END
    $$;

    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts timestamptz)
    RETURNS timestamptz
    LANGUAGE sql
    IMMUTABLE PARALLEL SAFE STRICT
    AS $$
        SELECT
            CASE
                WHEN bucket_width >= interval '1 month' THEN
                    public.time_bucket(bucket_width, ts AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                ELSE date_bin(bucket_width, ts, timestamptz '2000-01-03 00:00:00+00')
            END
    $$;

    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts timestamptz, timezone text)
    RETURNS timestamptz
    LANGUAGE sql
    IMMUTABLE PARALLEL SAFE STRICT
    AS $$
        SELECT public.time_bucket(bucket_width, ts AT TIME ZONE timezone) AT TIME ZONE timezone
    $$;

    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts date)
    RETURNS date
    LANGUAGE sql
    IMMUTABLE PARALLEL SAFE STRICT
    AS $$
        SELECT public.time_bucket(bucket_width, ts::timestamp)::date
    $$;

    COMMENT ON FUNCTION time_bucket(interval, timestamp) IS
        'Start of the bucket of this width that contains ts.';
    COMMENT ON FUNCTION time_bucket(interval, timestamptz) IS
        'Start of the bucket of this width that contains ts; buckets are aligned in UTC.';
    COMMENT ON FUNCTION time_bucket(interval, timestamptz, text) IS
        'Start of the bucket of this width that contains ts; buckets are aligned to local time in the given zone.';
    COMMENT ON FUNCTION time_bucket(interval, date) IS
        'First day of the bucket of this width that contains ts.';
END
$plain$;
