-- Small functions and types that the constraints and triggers of the tables need.

-- PostgreSQL takes more than names: CEST stands for two hours all year round, X-5 and UTC+3 are read as POSIX has them, five hours
-- east and three hours west, and Europe/Paris+3 is no zone of Paris. Python knows none of them.
CREATE OR REPLACE FUNCTION is_timezone(name text)
RETURNS boolean
LANGUAGE plpgsql
STABLE STRICT
SET timezone = 'UTC'  -- and so the session's own is set again afterwards
AS $$
BEGIN
    IF name = 'UTC' THEN
        RETURN true;
    END IF;
    -- What has a slash and no digit is a name or nothing; pg_timezone_names reads 600 files at each look.
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
    'Is this the name of a time zone (IANA, such as Europe/Paris), as pg_timezone_names spells it? Abbreviations and POSIX rules are none.';

-- A code stands wherever an identifier may stand, so none may look like one. IMMUTABLE: a CHECK asks it for every row.
CREATE OR REPLACE FUNCTION is_code(code text)
RETURNS boolean
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT code ~ '[^[:space:]]' AND code !~* '^(urn:|uuid:|[{}-])*[0-9a-f]{4}(-?[0-9a-f]{4}){7}[{}-]*$'
$$;
COMMENT ON FUNCTION is_code(text) IS
    'May this be a customer''s own code of a thing: not blank, and not to be taken for an identifier (UUID)? NULL for NULL.';

-- Local time. What a clock on the wall shows jumps: over midnight (Cairo, Santiago), back to midnight (the Azores, Havana),
-- over a whole day (Samoa, 2011-12-30), by half an hour (Lord Howe). AT TIME ZONE gives a local time that comes twice its later
-- instant, and one that never comes an instant near by; these functions give the first instant of a day. They step in
-- local time and turn each edge into an instant by itself. None reads the session's TimeZone: none casts between
-- timestamptz and date or timestamp, and none adds days to a timestamptz.

CREATE OR REPLACE FUNCTION local_date(at timestamptz, timezone text)
RETURNS date
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (at AT TIME ZONE timezone)::date
$$;
COMMENT ON FUNCTION local_date(timestamptz, text) IS 'Which date does the calendar on the wall show at this instant in this time zone?';

-- A local time is shown at (local time - offset) for each offset that is in force then. No two changes of a clock lie within
-- four days since 1965, so the offsets before and after the day's midnight anywhere on earth are all there are. Where neither
-- of them shows midnight, the clock jumps over it, and the jump is the first instant after.
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
            -- The clock jumps at midnight itself: the usual case, looked at before all seconds are.
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
    'The part of local_day_start() for the days around a change of the clock.';

-- Not STRICT, and without arithmetic on timestamptz, which is STABLE: the planner puts such a function into the query that calls
-- it, which costs a tenth.
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
    'When does this local day begin: the first instant at which the calendar on the wall shows this date, or a later one where the day '
    'does not exist? Right where midnight comes twice or never. The day ends where the next one begins.';

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
        RAISE EXCEPTION 'buckets of a period without end cannot be listed: give it a start and an end'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF bucket = 'hour' THEN
        RETURN QUERY
        WITH probes AS (
            SELECT
                s.instant,
                s.instant AT TIME ZONE timezone - s.instant AT TIME ZONE 'UTC' AS clock_offset
            FROM generate_series(period_start - interval '2 hours', period_end + interval '2 hours', interval '1 hour')
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
        -- Stretches without a change of the clock, each with its offset.
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
                            -- Clocks change on whole minutes of UTC, but for some before 1972 that change on whole seconds.
                            SELECT min(t.instant)
                            FROM generate_series(
                                date_trunc('second', s.instant_before), s.instant + interval '1 second', interval '1 second'
                            ) AS t (instant)
                            WHERE t.instant AT TIME ZONE timezone - t.instant AT TIME ZONE 'UTC' = s.clock_offset
                        )
                    END AS began_at,
                    s.clock_offset
                FROM steps AS s
                WHERE s.offset_before IS DISTINCT FROM s.clock_offset
            ) AS c
        ),
        -- An hour begins where the clock shows a whole hour, and where it is changed.
        edges AS (
            SELECT
                e.edge,
                date_trunc('hour', e.edge AT TIME ZONE 'UTC' + s.clock_offset) AS local_hour
            FROM stretches AS s
            CROSS JOIN LATERAL (
                SELECT s.began_at AS edge
                UNION
                SELECT h.edge
                FROM generate_series(
                    date_trunc('hour', s.began_at AT TIME ZONE 'UTC' + s.clock_offset) AT TIME ZONE 'UTC' - s.clock_offset,
                    s.ended_at,
                    interval '1 hour'
                ) AS h (edge)
                WHERE h.edge >= s.began_at
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
            -- The first probe is no edge.
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
    'Which local hours, days, weeks (from Monday on) or months cover the period? A bucket ends where the next one begins; the first and the last '
    'may reach over the period''s ends. local_start is what the calendar calls it. An hour begins where the clock shows a whole hour or is '
    'changed: the hour that comes twice is two buckets with one local_start, and none is longer than 60 minutes. A day that does '
    'not exist has no bucket.';

-- A range over uuid gives GiST the equality on uuid that the exclusion constraints need, without the
-- btree_gist extension (which the embedded server has not).
DO $$
BEGIN
    IF to_regtype('uuidrange') IS NULL THEN
        CREATE TYPE uuidrange AS RANGE (subtype = uuid);
    END IF;
END
$$;
COMMENT ON TYPE uuidrange IS 'Range of uuid; [x,x] stands for x where an exclusion constraint compares identifiers.';

CREATE OR REPLACE FUNCTION set_updated_at()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION set_updated_at() IS 'Trigger: updated_at is the database''s clock, whatever the statement says.';

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
    'Trigger: recorded_at is the database''s clock at the start of the transaction, whatever the statement says; '
    'the rows of one run share it.';

CREATE OR REPLACE FUNCTION refuse_update()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '"%" is append-only: save a newer run instead of changing a prediction', TG_TABLE_NAME
        USING ERRCODE = 'check_violation',
              CONSTRAINT = TG_TABLE_NAME || '_append_only_check',
              DETAIL = 'Rule: ' || TG_TABLE_NAME || '_append_only_check',
              TABLE = TG_TABLE_NAME,
              SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION refuse_update() IS 'Trigger: what was predicted stays as it was said.';

-- A week that begins where a local day begins ends where one begins, however long its days are; a length of hours is time
-- that passes.
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
    'When does an interval of this length end that begins at this instant? Whole days, weeks and months that begin with a local day end where a '
    'local day begins, also where that day has 23 or 25 hours or no midnight.';
