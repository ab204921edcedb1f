-- Helper functions and types used by the constraints and triggers of the tables.

-- PostgreSQL accepts more than zone names: CEST means a fixed two-hour offset all year round, X-5 and UTC+3 are POSIX
-- specifications (five hours east and three hours west), and Europe/Paris+3 does not mean Paris. Python knows none of these.
CREATE OR REPLACE FUNCTION is_timezone(name text)
RETURNS boolean
LANGUAGE plpgsql
STABLE STRICT
SET timezone = 'UTC'  -- has the side effect of restoring the session's setting afterwards
AS $$
BEGIN
    IF name = 'UTC' THEN
        RETURN true;
    END IF;
    -- A string with a slash and no digit is either a zone name or invalid. pg_timezone_names reads 600 files per scan, so avoid it.
    IF name ~ '^[A-Za-z_]+(/[A-Za-z_-]+)+$' THEN
        RETURN set_config('timezone', name, true) = name AND current_setting('timezone') = name;
    END IF;
    RETURN EXISTS (SELECT FROM pg_catalog.pg_timezone_names AS z WHERE z.name = is_timezone.name);
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN false;
END
$$;
COMMENT ON FUNCTION is_timezone(text) IS
    'Whether this is the name of a time zone (IANA, such as Europe/Paris), as spelled in pg_timezone_names. Abbreviations '
    'and POSIX specifications are not accepted.';

-- A code is accepted wherever an identifier is, so it must not look like one. IMMUTABLE because CHECK constraints use it.
CREATE OR REPLACE FUNCTION is_code(code text)
RETURNS boolean
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT code ~ '[^[:space:]]' AND code !~* '^(urn:|uuid:|[{}-])*[0-9a-f]{4}(-?[0-9a-f]{4}){7}[{}-]*$'
$$;
COMMENT ON FUNCTION is_code(text) IS
    'Whether this is a valid customer-defined code: not blank, and not mistakable for an identifier (UUID). NULL for NULL.';

-- Local time. Wall clocks jump: across midnight (Cairo, Santiago), back to midnight (the Azores, Havana), over a whole day
-- (Samoa, 2011-12-30), by half an hour (Lord Howe). For an ambiguous local time AT TIME ZONE returns the later instant, and
-- for a nonexistent one an instant nearby; these functions return the first instant of a day. They step in local time and
-- convert each edge to an instant separately. None depends on the session's TimeZone: none casts between timestamptz and
-- date or timestamp, and none adds days to a timestamptz.

CREATE OR REPLACE FUNCTION local_date(at timestamptz, timezone text)
RETURNS date
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (at AT TIME ZONE timezone)::date
$$;
COMMENT ON FUNCTION local_date(timestamptz, text) IS 'Local date at this instant in this time zone.';

-- A local time occurs at (local time - offset) for each offset in force at that instant. Since 1965 no two clock changes
-- have been within four days of each other, so the offsets before and after the day's midnight anywhere on earth are the
-- only candidates. If neither yields midnight, the clock skips it, and the jump is the first instant after it.
CREATE OR REPLACE FUNCTION local_day_start_at_change(day date, timezone text)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    WITH midnight AS (
        SELECT
            day::timestamp AS local_time,
            day::timestamp AT TIME ZONE 'UTC' AS as_utc,
            interval '18 hours' AS reach
    ),
    candidates AS (
        SELECT
            m.local_time,
            m.as_utc - (((m.as_utc - m.reach) AT TIME ZONE timezone) - (m.local_time - m.reach)) AS by_earlier_clock,
            m.as_utc - (((m.as_utc + m.reach) AT TIME ZONE timezone) - (m.local_time + m.reach)) AS by_later_clock
        FROM midnight AS m
    )
    SELECT
        CASE
            WHEN c.by_earlier_clock AT TIME ZONE timezone = c.local_time THEN c.by_earlier_clock
            WHEN c.by_later_clock AT TIME ZONE timezone = c.local_time THEN c.by_later_clock
            -- The usual case, a jump exactly at midnight, is checked before scanning seconds.
            WHEN (c.by_earlier_clock - interval '1 second') AT TIME ZONE timezone < c.local_time THEN c.by_earlier_clock
            ELSE (
                SELECT min(s.instant)
                FROM generate_series(c.by_later_clock, c.by_earlier_clock, interval '1 second') AS s (instant)
                WHERE s.instant AT TIME ZONE timezone >= c.local_time
            )
        END
    FROM candidates AS c
$$;
COMMENT ON FUNCTION local_day_start_at_change(date, text) IS
    'The part of local_day_start() that handles days near a clock change.';

-- Not STRICT, and without arithmetic on timestamptz, which is STABLE, so that the planner can inline it: queries get about 10 %
-- cheaper.
CREATE OR REPLACE FUNCTION local_day_start(day date, timezone text)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        CASE
            WHEN (day::timestamp - interval '18 hours') AT TIME ZONE 'UTC' AT TIME ZONE timezone + interval '36 hours'
                = (day::timestamp + interval '18 hours') AT TIME ZONE 'UTC' AT TIME ZONE timezone
                THEN day::timestamp AT TIME ZONE timezone
            ELSE public.local_day_start_at_change(day, timezone)
        END
$$;
COMMENT ON FUNCTION local_day_start(date, text) IS
    'First instant of this local day: the first instant whose local date is this one, or a later one if the day does not '
    'exist. Correct where midnight occurs twice or not at all. A day ends where the next one begins.';

CREATE OR REPLACE FUNCTION local_bucket_edges(
    bucket text,
    period_start timestamptz,
    period_end timestamptz,
    timezone text
)
RETURNS TABLE (
    bucket_start timestamptz,
    bucket_end timestamptz,
    local_start timestamp
)
LANGUAGE plpgsql
STABLE STRICT PARALLEL SAFE
AS $$
#variable_conflict use_column
BEGIN
    IF bucket NOT IN ('hour', 'day', 'week', 'month') THEN
        RAISE EXCEPTION 'bucket is %: give hour, day, week or month', bucket USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT (isfinite(period_start) AND isfinite(period_end)) THEN
        RAISE EXCEPTION 'an unbounded period cannot be divided into buckets: give it a start and an end'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF bucket = 'hour' THEN
        RETURN QUERY
        -- Since 1965 no two clock changes have been within four days of each other, so one probe a day finds them all.
        WITH probes AS (
            SELECT
                s.instant,
                s.instant AT TIME ZONE timezone - s.instant AT TIME ZONE 'UTC' AS clock_offset
            FROM generate_series(period_start - interval '2 hours', period_end + interval '26 hours', interval '1 day')
                AS s (instant)
        ),
        steps AS (
            SELECT
                p.instant,
                p.clock_offset,
                lag(p.instant) OVER w AS instant_before,
                lag(p.clock_offset) OVER w AS offset_before
            FROM probes AS p
            WINDOW w AS (ORDER BY p.instant)
        ),
        -- Ranges without a clock change, each with its offset.
        stretches AS (
            SELECT
                c.began_at,
                c.clock_offset,
                lead(c.began_at, 1, period_end + interval '2 hours') OVER (ORDER BY c.began_at) AS ended_at
            FROM (
                SELECT
                    CASE
                        WHEN s.instant_before IS NULL THEN s.instant
                        ELSE (
                            -- Clocks change on whole minutes of UTC, except for some before 1972 that change on whole seconds.
                            SELECT min(t.instant)
                            FROM (
                                SELECT min(h.instant) AS hour
                                FROM generate_series(s.instant_before, s.instant, interval '1 hour') AS h (instant)
                                WHERE h.instant AT TIME ZONE timezone - h.instant AT TIME ZONE 'UTC' = s.clock_offset
                            ) AS first
                            CROSS JOIN generate_series(
                                date_trunc('second', first.hour - interval '1 hour'), first.hour + interval '1 second', interval '1 second'
                            ) AS t (instant)
                            WHERE t.instant AT TIME ZONE timezone - t.instant AT TIME ZONE 'UTC' = s.clock_offset
                        )
                    END AS began_at,
                    s.clock_offset
                FROM steps AS s
                WHERE s.offset_before IS DISTINCT FROM s.clock_offset
            ) AS c
        ),
        -- An hour begins where the clock shows a whole hour, and at each clock change.
        edges AS (
            SELECT
                e.edge,
                date_trunc('hour', e.edge AT TIME ZONE 'UTC' + s.clock_offset) AS local_hour
            FROM stretches AS s
            CROSS JOIN LATERAL (
                SELECT s.began_at AS edge
                UNION ALL
                SELECT h.edge
                FROM generate_series(
                    date_trunc('hour', s.began_at AT TIME ZONE 'UTC' + s.clock_offset) AT TIME ZONE 'UTC' - s.clock_offset,
                    s.ended_at,
                    interval '1 hour'
                ) AS h (edge)
                WHERE h.edge > s.began_at
                    AND h.edge < s.ended_at
            ) AS e
        ),
        buckets AS (
            SELECT
                e.edge AS bucket_start,
                lead(e.edge) OVER (ORDER BY e.edge) AS bucket_end,
                e.local_hour
            FROM edges AS e
        )
        SELECT
            b.bucket_start,
            b.bucket_end,
            b.local_hour
        FROM buckets AS b
        WHERE period_start < period_end
            AND b.bucket_end > period_start
            AND b.bucket_start < period_end
            -- The first probe is not an edge.
            AND b.bucket_start > period_start - interval '2 hours'
        ORDER BY b.bucket_start;
        RETURN;
    END IF;

    RETURN QUERY
    WITH days AS (
        SELECT s.local_time
        FROM generate_series(
            date_trunc(bucket, (period_start - interval '24 hours') AT TIME ZONE timezone),
            (period_end + interval '48 hours') AT TIME ZONE timezone + ('1 ' || bucket)::interval,
            ('1 ' || bucket)::interval
        ) AS s (local_time)
    ),
    edges AS (
        SELECT
            d.local_time,
            public.local_day_start(d.local_time::date, timezone) AS edge
        FROM days AS d
    ),
    buckets AS (
        SELECT
            e.local_time,
            e.edge AS bucket_start,
            lead(e.edge) OVER (ORDER BY e.local_time) AS bucket_end
        FROM edges AS e
    )
    SELECT
        b.bucket_start,
        b.bucket_end,
        b.local_time
    FROM buckets AS b
    WHERE period_start < period_end
        AND b.bucket_end > b.bucket_start     -- a day that does not exist has no bucket
        AND b.bucket_end > period_start
        AND b.bucket_start < period_end
    ORDER BY b.bucket_start;
END
$$;
COMMENT ON FUNCTION local_bucket_edges(text, timestamptz, timestamptz, text) IS
    'Local hours, days, weeks (starting on Monday) or months that cover the period. A bucket ends where the next one '
    'begins; the first and the last may extend beyond the ends of the period. local_start is the bucket''s start in local '
    'time. An hour begins where the clock shows a whole hour and at each clock change: a repeated hour is two buckets with '
    'the same local_start, and no bucket is longer than 60 minutes. A day that does not exist has no bucket.';

-- A range type over uuid gives GiST the equality on uuid that the exclusion constraints need without the btree_gist
-- extension, which the embedded server does not have.
DO $$
BEGIN
    IF to_regtype('uuidrange') IS NULL THEN
        CREATE TYPE uuidrange AS RANGE (subtype = uuid);
    END IF;
END
$$;
COMMENT ON TYPE uuidrange IS 'Range of uuid; exclusion constraints use [x,x] to compare identifiers for equality.';

CREATE OR REPLACE FUNCTION set_updated_at()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION set_updated_at() IS 'Trigger: sets updated_at to the database clock, whatever the statement supplies.';

CREATE OR REPLACE FUNCTION set_recorded_at()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.recorded_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION set_recorded_at() IS
    'Trigger: sets recorded_at to the start of the transaction by the database clock, whatever the statement supplies; the '
    'rows of one run share it.';

CREATE OR REPLACE FUNCTION refuse_update()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '"%" is append-only: insert a newer run instead of changing a prediction', TG_TABLE_NAME
        USING ERRCODE = 'check_violation',
              CONSTRAINT = TG_TABLE_NAME || '_append_only_check',
              DETAIL = 'Rule: ' || TG_TABLE_NAME || '_append_only_check',
              TABLE = TG_TABLE_NAME,
              SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION refuse_update() IS 'Trigger: refuses updates that would change a saved prediction.';

-- A week that starts at a local day boundary ends at one, whatever the length of its days; a length in hours is elapsed time.
CREATE OR REPLACE FUNCTION local_interval_end(starts_at timestamptz, length interval, timezone text)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        CASE
            WHEN length = date_trunc('day', length)
                AND starts_at = public.local_day_start(public.local_date(starts_at, timezone), timezone)
                THEN public.local_day_start((public.local_date(starts_at, timezone) + length)::date, timezone)
            ELSE date_add(starts_at, length, timezone)
        END
$$;
COMMENT ON FUNCTION local_interval_end(timestamptz, interval, text) IS
    'End of an interval of this length that starts at this instant. Whole days, weeks and months that start at a local day '
    'boundary end at one, even if a day has 23 or 25 hours or no midnight.';
