-- Predictions as of a given time, and their accuracy.
--
-- as_of: only predictions the model could have made by then (available_at <= as_of)
-- known_by: additionally, only what had been saved by then (recorded_at <= known_by), for audits. Omit it if past runs were
-- loaded later (a backtest), or nothing will be found.
--
-- The target of a prediction is an interval, given by its start and length. Accuracy covers forecasts made before the fact
-- (available_at <= target) of intervals that have ended, each length separately. Lead time = days in between, by the local calendar.
--   WAPE  = 100 * sum(|actual - predicted|) / sum(|actual|)       MAE = mean(|actual - predicted|)
--   bias  = mean(predicted - actual), above 0 for overforecasts
-- (Hyndman and Koehler, Another look at measures of forecast accuracy, 2006; Kolassa and Schuetz, Advantages of the
-- MAD/Mean ratio over the MAPE, 2007.)

-- CREATE OR REPLACE cannot change the result columns of a function, so the functions in this file and the next are dropped
-- and recreated each time, which lets a later version change them.
DO $$
DECLARE
    earlier regprocedure;
BEGIN
    FOR earlier IN
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
            AND p.proname IN (
                'location_buckets', 'counted_attendance', 'demand_forecasts_as_of', 'demand_forecast_outcomes', 'demand_forecast_accuracy',
                'absence_forecasts_as_of', 'absence_forecast_accuracy',
                'anomaly_predictions_as_of', 'anomaly_prediction_scores',
                'operation_totals', 'planned_busy_time', 'resource_time_model', 'event_kpis', 'operational_kpis', 'kpis_by_part', 'forecast_outcomes_by_part',
                'shift_kpis', 'get_kpi_summary'
            )
    LOOP
        EXECUTE format('DROP FUNCTION %s', earlier);
    END LOOP;
END
$$;

CREATE FUNCTION location_buckets(
    org uuid,
    place uuid,
    bucket text,
    period_start timestamptz,
    period_end timestamptz
)
RETURNS TABLE (
    bucket_start timestamptz,
    bucket_end timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
DECLARE
    length CONSTANT interval := CASE bucket WHEN 'quarter_hour' THEN '15 minutes' WHEN 'half_hour' THEN '30 minutes' END;
    only_zone CONSTANT text := (
        SELECT h.timezone
        FROM location_history AS h
        WHERE h.organization_id = org
            AND h.location_id = place
            AND h.valid_from <= period_start
            AND h.valid_to >= period_end
    );
BEGIN
    -- One zone all along, as nearly always: nothing is to be put together.
    IF only_zone IS NOT NULL AND length IS NULL THEN
        RETURN QUERY
        SELECT
            e.bucket_start,
            e.bucket_end
        FROM local_bucket_edges(bucket, period_start, period_end, only_zone) AS e
        WHERE e.bucket_start >= period_start
            AND e.bucket_end <= period_end
        ORDER BY e.bucket_start;
        RETURN;
    END IF;

    RETURN QUERY
    -- The location's time zone may have changed: split by its history, and use the zone of each part.
    WITH pieces AS (
        SELECT
            h.valid_from,
            greatest(e.bucket_start, h.valid_from) AS piece_start,
            least(e.bucket_end, h.valid_to) AS piece_end,
            e.bucket_start < h.valid_from
                AND e.local_start = lag(e.local_start) OVER (ORDER BY h.valid_from, e.bucket_start) AS goes_on
        FROM location_history AS h
        CROSS JOIN LATERAL local_bucket_edges(
            CASE WHEN length IS NULL THEN bucket ELSE 'hour' END,
            greatest(h.valid_from, period_start),
            least(h.valid_to, period_end),
            h.timezone
        ) AS e
        WHERE h.organization_id = org
            AND h.location_id = place
            AND h.valid_from < period_end
            AND h.valid_to > period_start
    ),
    -- A day that began in one time zone and ended in another is one day.
    numbered AS (
        SELECT
            p.piece_start,
            p.piece_end,
            count(*) FILTER (WHERE p.goes_on IS NOT TRUE) OVER (ORDER BY p.piece_start) AS bucket_number
        FROM pieces AS p
    ),
    whole AS (
        SELECT
            min(n.piece_start) AS bucket_start,
            max(n.piece_end) AS bucket_end
        FROM numbered AS n
        GROUP BY n.bucket_number
    ),
    parts AS (
        SELECT
            w.bucket_start,
            w.bucket_end
        FROM whole AS w
        WHERE length IS NULL
        UNION ALL
        SELECT
            s.part_start,
            least(s.part_start + length, w.bucket_end)
        FROM whole AS w
        CROSS JOIN generate_series(w.bucket_start, w.bucket_end - interval '1 microsecond', length) AS s (part_start)
        WHERE length IS NOT NULL
    )
    SELECT
        p.bucket_start,
        p.bucket_end
    FROM parts AS p
    WHERE p.bucket_start >= period_start
        AND p.bucket_end <= period_end
    ORDER BY p.bucket_start;
END
$$;
COMMENT ON FUNCTION location_buckets(uuid, uuid, text, timestamptz, timestamptz) IS
    'Quarter hours (quarter_hour), half hours (half_hour), hours, days, weeks or months of a location that lie entirely in '
    'the period, in the location''s time zone at the time. A bucket ends where the next one begins.';

CREATE FUNCTION counted_attendance(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    "time" timestamptz,
    employee_id uuid,
    location_id uuid,
    status text,
    hours_worked numeric,
    performance_score numeric
)
LANGUAGE plpgsql
STABLE
-- Planned with the actual period, so that chunks outside it cost nothing, however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Nothing is counted beyond now().
    known_until CONSTANT timestamptz := least(period_end, now());
    -- A shift lasts at most a day, and its rows are within it.
    corrected_until CONSTANT timestamptz := known_until + interval '25 hours';
BEGIN
    RETURN QUERY
    WITH stretches AS (
        SELECT
            a.time,
            a.employee_id,
            a.status,
            a.hours_worked,
            a.performance_score,
            a.shift_id IS NOT NULL
                AND lead(a.time) OVER (PARTITION BY a.employee_id, a.shift_id ORDER BY a.time) IS NOT NULL AS is_corrected
        FROM employee_attendance AS a
        WHERE a.organization_id = org
            AND a.time >= period_start
            AND a.time < corrected_until
    )
    SELECT
        s.time,
        s.employee_id,
        h.location_id,
        s.status,
        s.hours_worked,
        s.performance_score
    FROM stretches AS s
    JOIN employee_history AS h
        ON h.organization_id = org
        AND h.employee_id = s.employee_id
        AND h.valid_from <= s.time
        AND h.valid_to > s.time
        AND h.is_employed
    WHERE s.status <> 'vacation'
        AND NOT s.is_corrected
        AND s.time < known_until;
END
$$;
COMMENT ON FUNCTION counted_attendance(uuid, timestamptz, timestamptz) IS
    'Scheduled attendance in the period, up to now. One row per employee and shift (if plain SQL wrote two, the later '
    'one), at the location where the employee belonged then. Vacation and times without employment are excluded.';

CREATE FUNCTION demand_forecasts_as_of(
    org uuid,
    as_of timestamptz,
    period_start timestamptz DEFAULT '-infinity',
    period_end timestamptz DEFAULT 'infinity',
    known_by timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    product_id text,
    location_id uuid,
    target_time timestamptz,
    target_interval interval,
    predicted_quantity numeric,
    lower_bound numeric,
    upper_bound numeric,
    interval_coverage_pct numeric,
    model_name text,
    model_version text,
    available_at timestamptz,
    recorded_at timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (f.product_id, f.location_id, f.target_time, f.target_interval)
        f.product_id,
        f.location_id,
        f.target_time,
        f.target_interval,
        f.predicted_quantity,
        f.lower_bound,
        f.upper_bound,
        f.interval_coverage_pct,
        f.model_name,
        f.model_version,
        f.available_at,
        f.recorded_at
    FROM demand_forecasts AS f
    WHERE f.organization_id = org
        AND f.target_time >= period_start
        AND f.target_time < period_end
        AND f.available_at <= as_of
        AND f.recorded_at <= known_by
        AND f.purpose = 'published'
    ORDER BY
        f.product_id,
        f.location_id,
        f.target_time,
        f.target_interval,
        f.available_at DESC,
        f.recorded_at DESC,
        f.model_name,
        f.model_version DESC;
END
$$;
COMMENT ON FUNCTION demand_forecasts_as_of(uuid, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'Demand forecasts as of a given time, for targets of the period. One row per target: the newest published prediction that was available then.';

-- End of the last interval kept when intervals, in order, are dropped if they overlap one that was kept.
CREATE OR REPLACE FUNCTION end_of_last_kept(kept_until timestamptz, starts_at timestamptz, ends_at timestamptz)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN starts_at < kept_until THEN kept_until ELSE ends_at END
$$;
COMMENT ON FUNCTION end_of_last_kept(timestamptz, timestamptz, timestamptz) IS
    'Transition function of kept_until(): the interval is kept unless it begins before the last kept one has ended.';
CREATE OR REPLACE AGGREGATE kept_until(timestamptz, timestamptz) (SFUNC = end_of_last_kept, STYPE = timestamptz);
COMMENT ON AGGREGATE kept_until(timestamptz, timestamptz) IS
    'Over intervals (start, end) ordered by start: the end of the last interval kept, where intervals that begin before it '
    'are dropped. An interval was kept if the result equals its own end. Ensures that no sale is counted in two intervals.';

CREATE FUNCTION forecast_outcomes_by_part(
    org uuid,
    part_starts timestamptz[],   -- in order, without overlaps
    part_ends timestamptz[],
    newest_only boolean DEFAULT false,
    fill_quantity numeric DEFAULT NULL
)
RETURNS TABLE (
    part integer,
    product_id text,
    location_id uuid,
    target_time timestamptz,
    model_name text,
    model_version text,
    available_at timestamptz,
    lead_time_days integer,
    predicted_quantity numeric,
    lower_bound numeric,
    upper_bound numeric,
    actual_quantity numeric,
    target_interval interval,
    target_end timestamptz,
    is_over boolean,
    purpose text
)
LANGUAGE plpgsql
STABLE
-- Planned with the actual period, so that chunks outside it cost nothing, however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    period_start CONSTANT timestamptz := part_starts[1];
    period_end CONSTANT timestamptz := part_ends[cardinality(part_ends)];
BEGIN
    RETURN QUERY
    WITH known AS NOT MATERIALIZED (
        SELECT
            f.*,
            width_bucket(f.target_time, part_starts) AS part
        FROM demand_forecasts AS f
        WHERE f.organization_id = org
            AND f.target_time >= period_start
            AND f.target_time < period_end
            AND f.target_time < part_ends[width_bucket(f.target_time, part_starts)]
            AND f.available_at <= f.target_time
    ),
    newest AS (
        -- The most selective and cheapest columns first, and text bytewise.
        SELECT DISTINCT ON (k.target_time, k.location_id, k.product_id COLLATE "C", k.target_interval)
            k.*
        FROM known AS k
        WHERE newest_only
            AND k.purpose = 'published'
        ORDER BY
            k.target_time,
            k.location_id,
            k.product_id COLLATE "C",
            k.target_interval,
            k.available_at DESC,
            k.model_name,
            k.model_version DESC
    ),
    chosen AS (
        SELECT
            k.part,
            k.product_id,
            k.location_id,
            k.target_time,
            k.target_interval,
            k.model_name,
            k.model_version,
            k.available_at,
            k.predicted_quantity,
            k.lower_bound,
            k.upper_bound,
            k.purpose,
            true AS is_shortest
        FROM known AS k
        WHERE NOT newest_only
        UNION ALL
        SELECT
            n.part,
            n.product_id,
            n.location_id,
            n.target_time,
            n.target_interval,
            n.model_name,
            n.model_version,
            n.available_at,
            n.predicted_quantity,
            n.lower_bound,
            n.upper_bound,
            n.purpose,
            n.target_interval = min(n.target_interval) OVER (PARTITION BY n.part, n.product_id, n.location_id)
        FROM newest AS n
    ),
    placed AS MATERIALIZED (
        SELECT
            c.*,
            h.timezone
        FROM chosen AS c
        JOIN location_history AS h
            ON h.location_id = c.location_id
            AND h.valid_from <= c.target_time
            AND h.valid_to > c.target_time
        WHERE h.organization_id = org
    ),
    -- Products share their days: compute the end of each target once.
    ends AS MATERIALIZED (
        SELECT
            t.target_time,
            t.target_interval,
            t.timezone,
            local_interval_end(t.target_time, t.target_interval, t.timezone) AS target_end
        FROM (SELECT DISTINCT p.target_time, p.target_interval, p.timezone FROM placed AS p) AS t
    ),
    ended AS (
        SELECT
            p.*,
            n.target_end,
            -- Nothing is counted beyond now().
            least(part_ends[p.part], now()) AS known_until
        FROM placed AS p
        JOIN ends AS n
            ON n.target_time = p.target_time
            AND n.target_interval = p.target_interval
            AND n.timezone = p.timezone
    ),
    forecasts AS MATERIALIZED (
        SELECT k.*
        FROM (
            SELECT
                e.*,
                CASE
                    WHEN newest_only THEN
                        kept_until(e.target_time, e.target_end)
                            OVER (PARTITION BY e.part, e.product_id, e.location_id ORDER BY e.target_time)
                    ELSE e.target_end
                END AS kept_until
            FROM ended AS e
            -- Where a day of a week was forecast too, the days are used rather than the week; months vary in length, but never overlap.
            WHERE e.is_shortest
                OR NOT EXISTS (
                    SELECT
                    FROM ended AS s
                    WHERE s.part = e.part
                        AND s.product_id = e.product_id
                        AND s.location_id = e.location_id
                        AND s.target_interval < e.target_interval
                        AND s.target_time < e.target_end
                        AND s.target_end > e.target_time
                )
        ) AS k
        WHERE k.kept_until = k.target_end
    ),
    -- Each target is looked up once, however many runs forecast it, and shared with the others.
    targets AS (
        SELECT
            f.*,
            row_number() OVER (PARTITION BY f.product_id, f.location_id, f.target_time, f.target_end) = 1 AS looks
        FROM forecasts AS f
    ),
    outcomes AS (
        SELECT
            t.*,
            max(observed.quantity) OVER (PARTITION BY t.product_id, t.location_id, t.target_time, t.target_end) AS quantity
        FROM targets AS t
        -- An aggregate is planned separately: each target finds its demand by key, whatever the statistics, and behind a
        -- tenant's view too, where join conditions cannot be pushed down.
        CROSS JOIN LATERAL (
            SELECT sum(d.quantity) AS quantity
            FROM demand_history AS d
            WHERE d.organization_id = org
                AND d.product_id = t.product_id
                AND d.location_id = t.location_id
                AND d.time >= t.target_time
                AND d.time < t.target_end
                AND t.target_end <= t.known_until
                AND t.looks
                -- Redundant, but lets chunks outside the period be excluded once rather than for each target.
                AND d.time >= period_start
                AND d.time < period_end
        ) AS observed
    )
    SELECT
        o.part,
        o.product_id,
        o.location_id,
        o.target_time,
        o.model_name,
        o.model_version,
        o.available_at,
        local_date(o.target_time, o.timezone) - local_date(o.available_at, o.timezone),
        o.predicted_quantity,
        o.lower_bound,
        o.upper_bound,
        CASE WHEN o.target_end <= o.known_until THEN coalesce(o.quantity, fill_quantity) END,
        o.target_interval,
        o.target_end,
        o.target_end <= o.known_until,
        o.purpose
    FROM outcomes AS o;
END
$$;
COMMENT ON FUNCTION forecast_outcomes_by_part(uuid, timestamptz[], timestamptz[], boolean, numeric) IS
    'demand_forecast_outcomes() of several periods, which follow each other: part is the number of the period, from 1.';

CREATE FUNCTION demand_forecast_outcomes(
    org uuid,
    period_start timestamptz,
    period_end timestamptz,
    newest_only boolean DEFAULT false,
    fill_quantity numeric DEFAULT NULL
)
RETURNS TABLE (
    product_id text,
    location_id uuid,
    target_time timestamptz,
    model_name text,
    model_version text,
    available_at timestamptz,
    lead_time_days integer,
    predicted_quantity numeric,
    lower_bound numeric,
    upper_bound numeric,
    actual_quantity numeric,
    target_interval interval,
    target_end timestamptz,
    is_over boolean,
    purpose text
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        o.product_id,
        o.location_id,
        o.target_time,
        o.model_name,
        o.model_version,
        o.available_at,
        o.lead_time_days,
        o.predicted_quantity,
        o.lower_bound,
        o.upper_bound,
        o.actual_quantity,
        o.target_interval,
        o.target_end,
        o.is_over,
        o.purpose
    FROM forecast_outcomes_by_part(org, ARRAY[period_start], ARRAY[period_end], newest_only, fill_quantity) AS o;
END
$$;
COMMENT ON FUNCTION demand_forecast_outcomes(uuid, timestamptz, timestamptz, boolean, numeric) IS
    'Forecasts made before the fact for the targets of the period, with their outcomes. actual_quantity is NULL while the '
    'target has not ended within the period (is_over is then false), and fill_quantity (NULL by default) if no demand was '
    'recorded for it. With newest_only, only the newest published forecast of each target; of overlapping targets of a '
    'product and location, the shortest ones, and of these a sequence without overlaps, so that no sale is counted twice.';

CREATE FUNCTION demand_forecast_accuracy(
    org uuid,
    period_start timestamptz,
    period_end timestamptz,
    fill_quantity numeric DEFAULT NULL
)
RETURNS TABLE (
    model_name text,
    model_version text,
    target_interval interval,
    lead_time_days integer,
    target_count bigint,
    no_outcome_count bigint,
    actual_quantity numeric,
    wape_pct numeric,
    mae numeric,
    bias numeric,
    interval_count bigint,
    interval_coverage_pct numeric,
    reason text,
    purpose text
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH newest AS (
        SELECT DISTINCT ON (
            o.model_name, o.model_version, o.purpose, o.target_interval, o.lead_time_days, o.product_id, o.location_id, o.target_time
        )
            o.*
        FROM demand_forecast_outcomes(org, period_start, period_end, fill_quantity => fill_quantity) AS o
        WHERE o.is_over
        ORDER BY
            o.model_name,
            o.model_version,
            o.purpose,
            o.target_interval,
            o.lead_time_days,
            o.product_id,
            o.location_id,
            o.target_time,
            o.available_at DESC
    ),
    kept AS (
        SELECT
            n.*,
            kept_until(n.target_time, n.target_end) OVER (
                PARTITION BY
                    n.model_name, n.model_version, n.purpose, n.target_interval, n.lead_time_days, n.product_id, n.location_id
                ORDER BY n.target_time
            ) AS kept_until
        FROM newest AS n
    ),
    summed AS (
        SELECT
            k.model_name,
            k.model_version,
            k.purpose,
            k.target_interval,
            k.lead_time_days,
            count(k.actual_quantity) AS target_count,
            count(*) - count(k.actual_quantity) AS no_outcome_count,
            sum(k.actual_quantity) AS actual_quantity,
            sum(abs(k.actual_quantity - k.predicted_quantity)) AS absolute_error,
            sum(k.predicted_quantity - k.actual_quantity) AS excess,
            count(k.lower_bound) FILTER (WHERE k.actual_quantity IS NOT NULL) AS interval_count,
            count(*) FILTER (WHERE k.actual_quantity BETWEEN k.lower_bound AND k.upper_bound) AS within_count,
            array_agg(DISTINCT p.unit ORDER BY p.unit) FILTER (WHERE k.actual_quantity IS NOT NULL AND p.unit IS NOT NULL) AS units
        FROM kept AS k
        LEFT JOIN products AS p
            ON p.organization_id = org
            AND p.product_id = k.product_id
        WHERE k.kept_until = k.target_end
        GROUP BY
            k.model_name,
            k.model_version,
            k.purpose,
            k.target_interval,
            k.lead_time_days
    ),
    judged AS (
        SELECT
            s.*,
            coalesce(cardinality(s.units), 0) <= 1 AS is_of_one_unit
        FROM summed AS s
    )
    SELECT
        j.model_name,
        j.model_version,
        j.target_interval,
        j.lead_time_days,
        j.target_count,
        j.no_outcome_count,
        CASE WHEN j.is_of_one_unit THEN j.actual_quantity END,
        CASE WHEN j.is_of_one_unit THEN 100 * j.absolute_error / nullif(j.actual_quantity, 0) END,
        CASE WHEN j.is_of_one_unit THEN j.absolute_error / nullif(j.target_count, 0) END,
        CASE WHEN j.is_of_one_unit THEN j.excess / nullif(j.target_count, 0) END,
        j.interval_count,
        100.0 * j.within_count / nullif(j.interval_count, 0),
        CASE
            WHEN j.target_count = 0 THEN 'no demand recorded for these targets'
            WHEN NOT j.is_of_one_unit THEN 'products are counted in different units: ' || array_to_string(j.units, ', ')
            WHEN j.actual_quantity = 0 THEN 'nothing was demanded'
        END,
        j.purpose
    FROM judged AS j
    ORDER BY
        j.model_name,
        j.model_version,
        j.purpose,
        j.target_interval,
        j.lead_time_days;
END
$$;
COMMENT ON FUNCTION demand_forecast_accuracy(uuid, timestamptz, timestamptz, numeric) IS
    'Accuracy of the demand forecasts for targets that ended in the period, by model, version, purpose, target length and lead '
    'time in local days. WAPE in percent, MAE and bias in the product''s unit, share of outcomes within the interval; '
    'target_count targets with an outcome, no_outcome_count without (fill_quantity is used for them if given); reason if WAPE is '
    'NULL. Of several runs with the same lead time the newest counts, of overlapping targets a sequence without overlaps.';

CREATE FUNCTION absence_forecasts_as_of(
    org uuid,
    as_of timestamptz,
    first_date date DEFAULT '-infinity',
    end_date date DEFAULT 'infinity',
    known_by timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    location_id uuid,
    employee_id uuid,
    target_date date,
    absence_probability numeric,
    expected_absences numeric,
    model_name text,
    model_version text,
    available_at timestamptz,
    recorded_at timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (f.target_date, f.location_id, f.employee_id)
        f.location_id,
        f.employee_id,
        f.target_date,
        f.absence_probability,
        f.expected_absences,
        f.model_name,
        f.model_version,
        f.available_at,
        f.recorded_at
    FROM absence_forecasts AS f
    WHERE f.organization_id = org
        AND f.target_date >= first_date
        AND f.target_date < end_date
        AND f.available_at <= as_of
        AND f.recorded_at <= known_by
    ORDER BY
        f.target_date,
        f.location_id,
        f.employee_id,
        f.available_at DESC,
        f.recorded_at DESC,
        f.model_name,
        f.model_version DESC;
END
$$;
COMMENT ON FUNCTION absence_forecasts_as_of(uuid, timestamptz, date, date, timestamptz) IS
    'Absence forecasts as of a given time, for local days first_date <= day < end_date.';

CREATE FUNCTION absence_forecast_accuracy(org uuid, first_date date, end_date date)
RETURNS TABLE (
    subject text,
    model_name text,
    model_version text,
    lead_time_days integer,
    target_count bigint,
    actual_absences numeric,
    mae numeric,
    bias numeric,
    wape_pct numeric,
    brier_score numeric
)
LANGUAGE plpgsql
STABLE
-- A generic plan expects few attendance rows and would scan all of them for each forecast.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    -- The employee's location at the time, in its time zone at the time; past days only.
    WITH attended AS (
        SELECT
            a.employee_id,
            a.location_id,
            l.timezone,
            local_date(a.time, l.timezone) AS local_date,
            bool_or(a.status IN ('absent', 'sick')) AS is_away
        FROM counted_attendance(
            org,
            (first_date - 1)::timestamp AT TIME ZONE 'UTC',
            (end_date + 1)::timestamp AT TIME ZONE 'UTC'
        ) AS a
        JOIN location_history AS l
            ON l.organization_id = org
            AND l.location_id = a.location_id
            AND l.valid_from <= a.time
            AND l.valid_to > a.time
        GROUP BY a.employee_id, a.location_id, l.timezone, local_date(a.time, l.timezone)
        HAVING local_day_start(local_date(a.time, l.timezone) + 1, l.timezone) <= now()
    ),
    outcomes AS (
        SELECT
            'employee' AS subject,
            f.model_name,
            f.model_version,
            f.target_date,
            f.available_at,
            min(a.timezone) AS timezone,
            f.absence_probability AS predicted,
            bool_or(a.is_away)::integer::numeric AS actual
        FROM absence_forecasts AS f
        JOIN attended AS a
            ON a.employee_id = f.employee_id
            AND a.local_date = f.target_date
        WHERE f.organization_id = org
            AND f.target_date >= first_date
            AND f.target_date < end_date
        GROUP BY f.forecast_id, f.model_name, f.model_version, f.target_date, f.available_at, f.absence_probability
        UNION ALL
        SELECT
            'location',
            f.model_name,
            f.model_version,
            f.target_date,
            f.available_at,
            min(a.timezone),
            f.expected_absences,
            count(*) FILTER (WHERE a.is_away)
        FROM absence_forecasts AS f
        JOIN attended AS a
            ON a.location_id = f.location_id
            AND a.local_date = f.target_date
        WHERE f.organization_id = org
            AND f.target_date >= first_date
            AND f.target_date < end_date
        GROUP BY f.forecast_id, f.model_name, f.model_version, f.target_date, f.available_at, f.expected_absences
    )
    SELECT
        o.subject,
        o.model_name,
        o.model_version,
        lead.days,
        count(*),
        sum(o.actual),
        avg(abs(o.actual - o.predicted)),
        avg(o.predicted - o.actual),
        100 * sum(abs(o.actual - o.predicted)) / nullif(sum(o.actual), 0),
        CASE o.subject WHEN 'employee' THEN avg((o.predicted - o.actual) ^ 2) END
    FROM outcomes AS o
    CROSS JOIN LATERAL (SELECT local_date(o.available_at, o.timezone)) AS said (on_date)
    -- Whole days between the forecast and the start of the target day: 0 for a forecast made on the day before.
    CROSS JOIN LATERAL (
        SELECT o.target_date - said.on_date - (o.available_at > local_day_start(said.on_date, o.timezone))::integer
    ) AS lead (days)
    WHERE lead.days >= 0
    GROUP BY o.subject, o.model_name, o.model_version, lead.days
    ORDER BY o.subject, o.model_name, o.model_version, lead.days;
END
$$;
COMMENT ON FUNCTION absence_forecast_accuracy(uuid, date, date) IS
    'Accuracy of the absence forecasts for past local days first_date <= day < end_date, by subject (employee or '
    'location), model, version and lead time in whole local days of the location. Brier score (Brier, 1950) for '
    'probabilities: 0 is best, 0.25 is a coin toss.';

CREATE FUNCTION anomaly_predictions_as_of(
    org uuid,
    as_of timestamptz,
    known_by timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    anomaly_id uuid,
    resource_id uuid,
    anomaly_type text,
    severity text,
    probability numeric,
    predicted_for timestamptz,
    description text,
    model_name text,
    model_version text,
    available_at timestamptz,
    recorded_at timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        p.anomaly_id,
        p.resource_id,
        p.anomaly_type,
        p.severity,
        p.probability,
        p.predicted_for,
        p.description,
        p.model_name,
        p.model_version,
        p.available_at,
        p.recorded_at
    FROM anomaly_predictions AS p
    WHERE p.organization_id = org
        AND p.available_at <= as_of
        AND p.recorded_at <= known_by
        AND (p.closed_at IS NULL OR p.closed_at > as_of)
    ORDER BY p.probability DESC, p.predicted_for, p.anomaly_id;
END
$$;
COMMENT ON FUNCTION anomaly_predictions_as_of(uuid, timestamptz, timestamptz) IS
    'Anomaly predictions that were open at as_of, most probable first.';

CREATE FUNCTION anomaly_prediction_scores(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    anomaly_type text,
    model_name text,
    model_version text,
    prediction_count bigint,
    confirmed_count bigint,
    false_alarm_count bigint,
    unknown_count bigint,
    open_count bigint,
    precision_pct numeric,
    breakdown_count bigint,
    predicted_breakdown_count bigint,
    recall_pct numeric,
    lead_time_minutes_mean numeric
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH predictions AS (
        SELECT
            p.anomaly_type,
            p.model_name,
            p.model_version,
            count(*) AS prediction_count,
            count(*) FILTER (WHERE p.outcome = 'confirmed') AS confirmed_count,
            count(*) FILTER (WHERE p.outcome = 'false_alarm') AS false_alarm_count,
            count(*) FILTER (WHERE p.outcome = 'unknown') AS unknown_count,
            count(*) FILTER (WHERE p.outcome IS NULL) AS open_count,
            avg(extract(epoch FROM p.occurred_at - p.available_at) / 60) AS lead_time_minutes_mean
        FROM anomaly_predictions AS p
        WHERE p.organization_id = org
            AND p.predicted_for >= period_start
            AND p.predicted_for < period_end
        GROUP BY p.anomaly_type, p.model_name, p.model_version
    ),
    -- As in the KPIs: breakdowns of a machine that overlap or touch are one failure, counted where it began, and nothing is
    -- counted beyond now.
    ordered AS (
        SELECT
            b.resource_id,
            b.time,
            b.ended_at,
            max(b.ended_at) OVER (
                PARTITION BY b.resource_id ORDER BY b.time, b.event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS earlier_end,
            b.event_id
        FROM (
            SELECT
                e.resource_id,
                e.time,
                e.event_id,
                e.time + make_interval(secs => (coalesce(e.duration_minutes, 0) * 60)::double precision) AS ended_at
            FROM operational_events AS e
            WHERE e.organization_id = org
                AND e.resource_id IS NOT NULL
                AND e.event_type = 'breakdown'
                -- Events last at most a day.
                AND e.time >= period_start - interval '24 hours'
                AND e.time < least(period_end + interval '24 hours', now())
        ) AS b
    ),
    numbered AS (
        SELECT
            o.resource_id,
            o.time,
            o.ended_at,
            count(*) FILTER (WHERE o.earlier_end IS NULL OR o.time > o.earlier_end)
                OVER (PARTITION BY o.resource_id ORDER BY o.time, o.event_id) AS failure_number
        FROM ordered AS o
    ),
    breakdowns AS (
        SELECT
            n.resource_id,
            min(n.time) AS time,
            max(n.ended_at) AS ended_at
        FROM numbered AS n
        GROUP BY n.resource_id, n.failure_number
        HAVING min(n.time) >= period_start
            AND min(n.time) < period_end
    ),
    hits AS (
        SELECT
            p.model_name,
            p.model_version,
            count(DISTINCT (b.resource_id, b.time)) AS predicted_breakdown_count
        FROM breakdowns AS b
        JOIN anomaly_predictions AS p
            ON p.resource_id = b.resource_id
            AND p.occurred_at >= b.time
            AND p.occurred_at <= b.ended_at
        WHERE p.organization_id = org
            AND p.anomaly_type = 'failure'
            AND p.outcome = 'confirmed'
            AND p.available_at < b.time
        GROUP BY p.model_name, p.model_version
    )
    SELECT
        p.anomaly_type,
        p.model_name,
        p.model_version,
        p.prediction_count,
        p.confirmed_count,
        p.false_alarm_count,
        p.unknown_count,
        p.open_count,
        100.0 * p.confirmed_count / nullif(p.confirmed_count + p.false_alarm_count, 0),
        CASE WHEN p.anomaly_type = 'failure' THEN (SELECT count(*) FROM breakdowns) END,
        CASE WHEN p.anomaly_type = 'failure' THEN coalesce(h.predicted_breakdown_count, 0) END,
        CASE
            WHEN p.anomaly_type = 'failure' THEN
                100.0 * coalesce(h.predicted_breakdown_count, 0) / nullif((SELECT count(*) FROM breakdowns), 0)
        END,
        p.lead_time_minutes_mean
    FROM predictions AS p
    LEFT JOIN hits AS h
        ON h.model_name = p.model_name
        AND h.model_version = p.model_version
    ORDER BY p.anomaly_type, p.model_name, p.model_version;
END
$$;
COMMENT ON FUNCTION anomaly_prediction_scores(uuid, timestamptz, timestamptz) IS
    'Accuracy of the anomaly predictions for the period, by type, model and version. precision = confirmed / (confirmed + '
    'false alarms); recall (failures only) = failures announced by a confirmed prediction / failures (breakdowns of one '
    'machine that overlap or touch are one); lead time = occurred_at - available_at. NULL if the denominator is 0.';
