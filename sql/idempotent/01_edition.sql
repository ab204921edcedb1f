-- Which database is this? TimescaleDB where the server has it; the same names where it has not.

-- One application of the schema at a time: a second one waits here until the first has committed.
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('barnameh schema', 0));
    SET LOCAL client_min_messages = warning;
END
$$;

-- A preloaded TimescaleDB shows its settings even before the extension is created; asking for the extension
-- where it is not preloaded would end the session, not raise an error.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%')
    THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
END
$$;

-- plpgsql: planned once a session. A function of SQL is read and planned anew in each statement, which reads of rollups would feel.
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
    'Which edition is this? community: TimescaleDB with columnstore, continuous aggregates and policies; '
    'apache: hypertables only; plain: PostgreSQL without TimescaleDB; citus: plain over several machines.';

-- What Citus changes on all nodes together in one transaction, it changes one shard after the other.
DO $$
BEGIN
    IF database_edition() = 'citus' THEN
        SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    END IF;
END
$$;

-- time_bucket() for the editions without TimescaleDB: same signature, same origins as TimescaleDB
-- (Monday 2000-01-03 for widths in days and below, 2000-01-01 for months). Indexes use it, and a dump is restored with an
-- empty search_path: names are written with their schema.
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
        'Start of the bucket of this width that ts falls in.';
    COMMENT ON FUNCTION time_bucket(interval, timestamptz) IS
        'Start of the bucket of this width that ts falls in; buckets are aligned in UTC.';
    COMMENT ON FUNCTION time_bucket(interval, timestamptz, text) IS
        'Start of the bucket of this width that ts falls in; buckets are aligned to local time of the zone.';
    COMMENT ON FUNCTION time_bucket(interval, date) IS
        'First day of the bucket of this width that ts falls in.';
END
$plain$;
