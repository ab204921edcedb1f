-- How prebuilt queries read rollups: current buckets from the rollup and the rest from the raw rows, in one snapshot.
--
-- A continuous aggregate reflects its last refresh: a late row is in the table but not in the rollup until the next one (15
-- minutes to 2 hours later). TimescaleDB logs invalidated times in the transaction that changes the rows, and removes the
-- entries in the transaction that refreshes them. Reading the logs, the rollup and the rows in one snapshot therefore
-- misses nothing and counts nothing twice:
--
--     invalidation log of the table      written by the rows' transaction, for times before the invalidation threshold
--     invalidation log of the rollup     to which a refresh moves the entries first (and times never refreshed)
--     materialization ranges             where releases before 2.29 keep the entries during a refresh
--     watermark                          later times are not in the rollup yet (meaningless for a rollup of few buckets, whose times not
--                                        refreshed yet are in its log)
--
-- A rollup on a rollup also has to wait for the refresh of its source.

CREATE OR REPLACE FUNCTION raw_spans(rollups text[], period_start timestamptz, period_end timestamptz)
RETURNS tstzmultirange
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- In microseconds, TimescaleDB's internal unit; clamped to the range of timestamptz, so that infinite ends can be used in arithmetic.
    first_instant CONSTANT bigint := (1000000 * extract(epoch FROM greatest(period_start, '0001-01-01 00:00+00')))::bigint;
    last_instant CONSTANT bigint := (1000000 * extract(epoch FROM least(period_end, '9999-01-01 00:00+00')))::bigint;
    epoch CONSTANT timestamptz := '1970-01-01 00:00+00';
    hour CONSTANT bigint := 3600000000;
    bucket_width interval := interval '1 hour';
    width bigint := hour;
    oldest timestamptz;
    waiting int8multirange;
    spans tstzmultirange;
BEGIN
    IF period_start >= period_end OR period_start IS NULL OR period_end IS NULL THEN
        RETURN '{}';
    END IF;
    IF public.database_edition() <> 'community' THEN
        RETURN tstzmultirange(tstzrange(period_start, period_end));
    END IF;
    IF EXISTS (SELECT FROM unnest(rollups) AS r (name) WHERE r.name LIKE '%\_daily') THEN
        width := 24 * hour;
        bucket_width := interval '1 day';
        -- Daily rollups that are not stored are as current as the hourly ones that they read.
        rollups := rollups || ARRAY(
            SELECT regexp_replace(r.name, '_daily$', '_hourly') FROM unnest(rollups) AS r (name)
        );
    END IF;

    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- The current transaction's own writes are logged at commit only.
        waiting := int8multirange(int8range(first_instant, last_instant));
    ELSE
        WITH RECURSIVE read AS (
            SELECT
                c.mat_hypertable_id,
                c.raw_hypertable_id,
                c.materialized_only
            FROM _timescaledb_catalog.continuous_agg AS c
            WHERE c.user_view_schema = 'public'
                AND c.user_view_name = ANY (rollups)
            UNION
            SELECT
                c.mat_hypertable_id,
                c.raw_hypertable_id,
                c.materialized_only
            FROM read AS r
            JOIN _timescaledb_catalog.continuous_agg AS c ON c.mat_hypertable_id = r.raw_hypertable_id
        ),
        noted AS (
            SELECT
                l.lowest_modified_value AS lowest,
                l.greatest_modified_value AS greatest
            FROM read AS r
            JOIN _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log AS l ON l.hypertable_id = r.raw_hypertable_id
            UNION ALL
            SELECT
                l.lowest_modified_value,
                l.greatest_modified_value
            FROM read AS r
            JOIN _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS l
                ON l.materialization_id = r.mat_hypertable_id
            UNION ALL
            SELECT
                l.lowest_modified_value,
                l.greatest_modified_value
            FROM read AS r
            JOIN _timescaledb_catalog.continuous_aggs_materialization_ranges AS l ON l.materialization_id = r.mat_hypertable_id
            UNION ALL
            SELECT
                w.watermark,
                last_instant
            FROM read AS r
            JOIN _timescaledb_catalog.continuous_aggs_watermark AS w ON w.mat_hypertable_id = r.mat_hypertable_id
            WHERE NOT r.materialized_only
        )
        SELECT
            -- Whole buckets; the remainder of a negative number is negative.
            range_agg(int8range(
                b.lowest - ((b.lowest % width) + width) % width,
                b.greatest - ((b.greatest % width) + width) % width + width
            ))
        INTO waiting
        FROM (
            SELECT
                greatest(n.lowest, first_instant) AS lowest,
                least(n.greatest, last_instant) AS greatest
            FROM noted AS n
            WHERE n.lowest < last_instant
                AND n.greatest >= first_instant
        ) AS b;
    END IF;

    SELECT
        coalesce(
            range_agg(tstzrange(
                epoch + lower(w.span) * interval '1 microsecond',
                epoch + upper(w.span) * interval '1 microsecond'
            )),
            '{}'
        )
    INTO spans
    FROM unnest(waiting) AS w (span);

    -- Where retention has dropped rows, only the rollup is left. (Retention keeps at least 30 days for the refresh.)
    IF lower(spans) < now() - interval '30 days' THEN
        oldest := (
            SELECT max(public.time_bucket(bucket_width, now() - public.rollup_refresh_window(r.name)) + bucket_width)
            FROM unnest(rollups) AS r (name)
        );
        IF oldest IS NOT NULL THEN
            spans := spans * tstzmultirange(tstzrange(oldest, NULL));
        END IF;
    END IF;

    -- Buckets that extend across an edge of the period count in part.
    IF isfinite(period_start) AND public.time_bucket(bucket_width, period_start) < period_start THEN
        spans := spans + tstzmultirange(tstzrange(period_start, public.time_bucket(bucket_width, period_start) + bucket_width));
    END IF;
    IF isfinite(period_end) AND public.time_bucket(bucket_width, period_end) < period_end THEN
        spans := spans + tstzmultirange(tstzrange(public.time_bucket(bucket_width, period_end), period_end));
    END IF;
    RETURN spans * tstzmultirange(tstzrange(period_start, period_end));
END
$$;
COMMENT ON FUNCTION raw_spans(text[], timestamptz, timestamptz) IS
    'Parts of a period for which these rollups are not current, and which must be aggregated from the raw rows: times of '
    'rows that arrived late since the last refresh, times not refreshed yet, and buckets that extend across an edge of the '
    'period. Returns everything where rollups are views, and in a transaction that has written. Discloses when some '
    'organization''s rows changed (to the hour), but not whose. SECURITY DEFINER, to read TimescaleDB''s catalog.';

-- A COPY that inserts row by row, as it does where a trigger has a transition table, logs no invalidation in TimescaleDB
-- 2.29: late rows would never be included in a rollup. (INSERT logs its rows itself.)
CREATE OR REPLACE FUNCTION note_copied_rows(copied_into text, earliest timestamptz, latest timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log (
        hypertable_id,
        lowest_modified_value,
        greatest_modified_value
    )
    SELECT
        h.id,
        (extract(epoch FROM earliest) * 1000000)::bigint,
        (extract(epoch FROM latest) * 1000000)::bigint
    FROM _timescaledb_catalog.hypertable AS h
    WHERE h.schema_name = 'public'
        AND h.table_name = copied_into
        AND earliest IS NOT NULL;
END
$$;
COMMENT ON FUNCTION note_copied_rows(text, timestamptz, timestamptz) IS
    'Logs an invalidation for the rollups of a hypertable: rows between these times were copied into it. For triggers, '
    'which run with the owner''s rights.';
REVOKE ALL ON FUNCTION note_copied_rows(text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION cut_hours(edges timestamptz[])
RETURNS tstzmultirange
LANGUAGE plpgsql
IMMUTABLE
PARALLEL SAFE
AS $$
BEGIN
    RETURN (
        SELECT coalesce(range_agg(tstzrange(h.hour, h.hour + interval '1 hour')), '{}')
        FROM unnest(edges) AS e (edge)
        CROSS JOIN time_bucket(interval '1 hour', e.edge) AS h (hour)
        WHERE isfinite(e.edge)
            AND h.hour < e.edge
    );
END
$$;
COMMENT ON FUNCTION cut_hours(timestamptz[]) IS 'UTC hours that contain one of these instants in their interior, so that an hourly rollup cannot be split at it.';

-- Aggregation of resource samples. A sample covers the time from its timestamp on: for its sample_minutes if given, otherwise up
-- to an hour, and never past the next sample of the resource, nor past now. So an hour never has more than 60 minutes, however
-- often or irregularly samples are taken, and a sample that extends across the edge of a period is prorated.
--
-- Hours whose samples all have sample_minutes, do not overlap, and fill the hour from its first minute are read from
-- resource_metrics_hourly. For all others, resource_samples_hourly stores the result of add_samples() and the last sample:
-- how far that one extends is known only once the next one has arrived.
CREATE OR REPLACE FUNCTION resource_samples(org uuid, edges timestamptz[], only_resource uuid DEFAULT NULL)
RETURNS TABLE (
    resource_id uuid,
    piece integer,
    sample_count bigint,
    sample_minutes numeric,
    utilization_pct_minutes numeric,
    utilization_minutes numeric,
    utilization_pct_min numeric,
    utilization_pct_max numeric,
    efficiency_pct_minutes numeric,
    efficiency_minutes numeric,
    downtime_minutes numeric,
    downtime_known_minutes numeric
)
LANGUAGE plpgsql
STABLE
-- Planned once per session, because planning took longer than execution.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    -- The CHECK of sample_minutes limits a sample to a day.
    longest CONSTANT interval := interval '1 day';
    untold CONSTANT interval := interval '1 hour';
    period_start CONSTANT timestamptz := edges[1];
    period_end CONSTANT timestamptz := least(edges[cardinality(edges)], now());
    -- Read the samples that may extend into the period, and the one that ends its last.
    read_start CONSTANT timestamptz := time_bucket(interval '1 hour', period_start) - longest;
    read_end CONSTANT timestamptz := least(time_bucket(interval '1 hour', period_end) + interval '2 hours', now());
    raw tstzmultirange;
    stored tstzmultirange;
    stored_start timestamptz;
    stored_end timestamptz;
    is_whole boolean;
    is_one_piece CONSTANT boolean := cardinality(edges) = 2;
    cuts timestamptz[];
BEGIN
    IF coalesce(cardinality(edges), 0) < 2 OR NOT period_start < period_end THEN
        RETURN;
    END IF;
    raw := (
        raw_spans(ARRAY['resource_metrics_hourly', 'resource_samples_hourly'], read_start, read_end)
        + cut_hours(edges || period_end)
    ) * tstzmultirange(tstzrange(read_start, read_end));
    -- A single contiguous stored range needs no check of each hour.
    stored := tstzmultirange(tstzrange(period_start, period_end)) - raw;
    stored_start := coalesce(lower(stored), period_end);
    stored_end := coalesce(upper(stored), period_end);
    is_whole := stored = tstzmultirange(tstzrange(stored_start, stored_end));
    -- Raw rows are cut at the edges, and where reading from the rollup begins and ends.
    cuts := ARRAY(
        SELECT c.cut
        FROM (
            SELECT e.edge FROM unnest(edges) AS e (edge)
            UNION
            SELECT b.edge FROM unnest(raw) AS r (span) CROSS JOIN LATERAL (VALUES (lower(r.span)), (upper(r.span))) AS b (edge)
        ) AS c (cut)
        ORDER BY c.cut
    );

    RETURN QUERY
    WITH added AS MATERIALIZED (
        SELECT
            s.resource_id,
            s.bucket,
            s.first_at,
            s.last_at,
            s.totals
        FROM resource_samples_hourly AS s
        WHERE s.organization_id = org
            AND (only_resource IS NULL OR s.resource_id = only_resource)
            AND s.bucket >= read_start
            AND s.bucket < read_end
            AND NOT raw @> s.bucket
    ),
    spans AS MATERIALIZED (
        SELECT
            lower(r.span) AS starts_at,
            upper(r.span) AS ends_at
        FROM unnest(raw) AS r (span)
    ),
    rows_to_add AS (
        SELECT
            m.resource_id,
            m.time,
            m.utilization_pct,
            m.efficiency_pct,
            m.downtime_minutes,
            m.sample_minutes,
            m.cut,
            lead(m.time) OVER (PARTITION BY m.resource_id, m.cut ORDER BY m.time) AS next_at
        FROM spans AS s
        -- One index scan per span, behind a tenant's view too: OFFSET 0 prevents merging them into one scan of all spans.
        CROSS JOIN LATERAL (
            SELECT
                m.resource_id,
                m.time,
                m.utilization_pct,
                m.efficiency_pct,
                m.downtime_minutes,
                m.sample_minutes,
                width_bucket(m.time, cuts) AS cut
            FROM resource_metrics AS m
            WHERE m.organization_id = org
                AND (only_resource IS NULL OR m.resource_id = only_resource)
                AND m.time >= s.starts_at
                AND m.time < s.ends_at
                AND m.time >= read_start
                AND m.time < read_end
            OFFSET 0
        ) AS m
    ),
    -- The last sample of a run has no seconds yet, and so is in no sum.
    weighed AS (
        SELECT
            w.resource_id,
            w.time,
            w.utilization_pct,
            w.efficiency_pct,
            w.downtime_minutes,
            w.sample_minutes,
            w.cut,
            w.seconds,
            down_seconds(w.downtime_minutes, w.sample_minutes, w.seconds, w.seconds) AS down
        FROM (
            SELECT
                r.resource_id,
                r.time,
                r.utilization_pct,
                r.efficiency_pct,
                r.downtime_minutes,
                r.sample_minutes,
                r.cut,
                CASE
                    WHEN r.next_at IS NOT NULL THEN
                        extract(epoch FROM least(
                            r.next_at - r.time,
                            coalesce(interval '1 minute' * r.sample_minutes::double precision, untold)
                        ))
                END AS seconds
            FROM rows_to_add AS r
            OFFSET 0
        ) AS w
        OFFSET 0
    ),
    -- All samples of a run but the last, and the last one separately.
    stretches AS MATERIALIZED (
        SELECT
            w.resource_id,
            cuts[w.cut] AS starts_at,
            count(*) AS sample_count,
            min(w.utilization_pct) AS utilization_pct_min,
            max(w.utilization_pct) AS utilization_pct_max,
            min(w.time) AS first_at,
            max(w.time) AS last_at,
            sum(w.seconds) AS sample_seconds,
            sum(w.utilization_pct * w.seconds) AS utilization_pct_seconds,
            sum(w.seconds) FILTER (WHERE w.utilization_pct IS NOT NULL) AS utilization_seconds,
            sum(w.efficiency_pct * w.seconds) AS efficiency_pct_seconds,
            sum(w.seconds) FILTER (WHERE w.efficiency_pct IS NOT NULL) AS efficiency_seconds,
            sum(w.down) AS downtime_seconds,
            sum(w.seconds) FILTER (WHERE w.down IS NOT NULL) AS downtime_known_seconds,
            max(w.sample_minutes) FILTER (WHERE w.seconds IS NULL) AS last_sample_minutes,
            max(w.utilization_pct) FILTER (WHERE w.seconds IS NULL) AS last_utilization_pct,
            max(w.efficiency_pct) FILTER (WHERE w.seconds IS NULL) AS last_efficiency_pct,
            max(w.downtime_minutes) FILTER (WHERE w.seconds IS NULL) AS last_downtime_minutes
        FROM weighed AS w
        GROUP BY
            w.resource_id,
            w.cut
        UNION ALL
        SELECT
            a.resource_id,
            a.bucket,
            NULL,
            NULL,
            NULL,
            a.first_at,
            a.last_at,
            (a.totals).sample_seconds,
            (a.totals).utilization_pct_seconds,
            (a.totals).utilization_seconds,
            (a.totals).efficiency_pct_seconds,
            (a.totals).efficiency_seconds,
            (a.totals).downtime_seconds,
            (a.totals).downtime_known_seconds,
            (a.totals).last_sample_minutes,
            (a.totals).last_utilization_pct,
            (a.totals).last_efficiency_pct,
            (a.totals).last_downtime_minutes
        FROM added AS a
    ),
    last_samples AS MATERIALIZED (
        SELECT
            s.resource_id,
            s.starts_at,
            s.last_at,
            s.last_sample_minutes,
            s.last_utilization_pct,
            s.last_efficiency_pct,
            s.last_downtime_minutes,
            least(
                s.last_at + coalesce(interval '1 minute' * s.last_sample_minutes::double precision, untold),
                lead(s.first_at) OVER (PARTITION BY s.resource_id ORDER BY s.starts_at)
            ) AS until
        FROM stretches AS s
    ),
    -- A complete hour begins with a sample.
    reached AS MATERIALIZED (
        SELECT
            l.resource_id,
            l.starts_at,
            n.bucket
        FROM last_samples AS l
        CROSS JOIN generate_series(
            time_bucket(interval '1 hour', l.last_at) + interval '1 hour',
            l.until - interval '1 microsecond',
            interval '1 hour'
        ) AS n (bucket)
        WHERE NOT raw @> n.bucket
            AND NOT EXISTS (
                SELECT
                FROM added AS a
                WHERE a.resource_id = l.resource_id
                    AND a.bucket = n.bucket
            )
    ),
    followed AS (
        SELECT
            r.resource_id,
            r.starts_at,
            min(h.bucket) AS first_at
        FROM reached AS r
        JOIN resource_metrics_hourly AS h
            ON h.organization_id = org
            AND h.resource_id = r.resource_id
            AND h.bucket = r.bucket
            -- Usually nothing is reached, and then nothing is read.
            AND h.bucket >= (SELECT min(e.bucket) FROM reached AS e)
            AND h.bucket <= (SELECT max(e.bucket) FROM reached AS e)
        GROUP BY
            r.resource_id,
            r.starts_at
    ),
    reaching AS MATERIALIZED (
        SELECT
            l.resource_id,
            l.last_at,
            l.last_sample_minutes,
            l.last_utilization_pct,
            l.last_efficiency_pct,
            l.last_downtime_minutes,
            least(l.until, f.first_at) AS until
        FROM last_samples AS l
        LEFT JOIN followed AS f
            ON f.resource_id = l.resource_id
            AND f.starts_at = l.starts_at
    ),
    shared AS (
        SELECT
            r.resource_id,
            p.piece,
            r.last_sample_minutes,
            r.last_utilization_pct,
            r.last_efficiency_pct,
            r.last_downtime_minutes,
            extract(epoch FROM r.until - r.last_at) AS all_seconds,
            extract(
                epoch FROM least(r.until, period_end, edges[p.piece + 1]) - greatest(r.last_at, edges[p.piece])
            ) AS seconds
        FROM reaching AS r
        CROSS JOIN generate_series(
            greatest(width_bucket(r.last_at, edges), 1),
            width_bucket(least(r.until, period_end) - interval '1 microsecond', edges)
        ) AS p (piece)
        WHERE r.until > period_start
            AND r.last_at < period_end
    ),
    -- Summed once, below: grouping each hour separately would double the rows.
    summed AS (
        SELECT
            h.resource_id,
            CASE WHEN is_one_piece THEN 1 ELSE width_bucket(h.bucket, edges) END AS piece,
            h.sample_count,
            h.utilization_pct_min,
            h.utilization_pct_max,
            CASE WHEN h.adds_up THEN 60 * h.sample_minutes END AS sample_seconds,
            CASE WHEN h.adds_up THEN 60 * h.utilization_pct_minutes END AS utilization_pct_seconds,
            CASE WHEN h.adds_up THEN 60 * h.utilization_minutes END AS utilization_seconds,
            CASE WHEN h.adds_up THEN 60 * h.efficiency_pct_minutes END AS efficiency_pct_seconds,
            CASE WHEN h.adds_up THEN 60 * h.efficiency_minutes END AS efficiency_seconds,
            CASE WHEN h.adds_up THEN 60 * h.downtime_minutes END AS downtime_seconds,
            CASE WHEN h.adds_up AND h.downtime_minutes IS NOT NULL THEN 60 * h.sample_minutes END AS downtime_known_seconds
        FROM (
            SELECT
                h.resource_id,
                h.bucket,
                h.sample_count,
                h.sample_minutes,
                h.utilization_pct_minutes,
                h.utilization_minutes,
                h.utilization_pct_min,
                h.utilization_pct_max,
                h.efficiency_pct_minutes,
                h.efficiency_minutes,
                h.downtime_minutes,
                -- Not a join, because a hash join without a size estimate took longer than everything else.
                (h.resource_id, h.bucket) NOT IN (SELECT a.resource_id, a.bucket FROM added AS a) AS adds_up
            FROM resource_metrics_hourly AS h
            WHERE h.organization_id = org
                AND (only_resource IS NULL OR h.resource_id = only_resource)
                AND h.bucket >= stored_start
                AND h.bucket < stored_end
                AND (is_whole OR NOT raw @> h.bucket)
            OFFSET 0
        ) AS h
        UNION ALL
        SELECT
            s.resource_id,
            width_bucket(s.starts_at, edges),
            s.sample_count,
            s.utilization_pct_min,
            s.utilization_pct_max,
            s.sample_seconds,
            s.utilization_pct_seconds,
            s.utilization_seconds,
            s.efficiency_pct_seconds,
            s.efficiency_seconds,
            s.downtime_seconds,
            s.downtime_known_seconds
        FROM stretches AS s
        WHERE s.starts_at >= period_start
            AND s.starts_at < period_end
        UNION ALL
        SELECT
            h.resource_id,
            h.piece,
            0,
            h.last_utilization_pct,
            h.last_utilization_pct,
            h.seconds,
            h.last_utilization_pct * h.seconds,
            CASE WHEN h.last_utilization_pct IS NOT NULL THEN h.seconds END,
            h.last_efficiency_pct * h.seconds,
            CASE WHEN h.last_efficiency_pct IS NOT NULL THEN h.seconds END,
            down_seconds(h.last_downtime_minutes, h.last_sample_minutes, h.seconds, h.all_seconds),
            CASE
                WHEN down_seconds(h.last_downtime_minutes, h.last_sample_minutes, h.seconds, h.all_seconds) IS NOT NULL THEN
                    h.seconds
            END
        FROM shared AS h
    )
    SELECT
        t.resource_id,
        t.piece,
        sum(t.sample_count)::bigint,
        coalesce(sum(t.sample_seconds), 0) / 60,
        sum(t.utilization_pct_seconds) / 60,
        sum(t.utilization_seconds) / 60,
        min(t.utilization_pct_min),
        max(t.utilization_pct_max),
        sum(t.efficiency_pct_seconds) / 60,
        sum(t.efficiency_seconds) / 60,
        sum(t.downtime_seconds) / 60,
        sum(t.downtime_known_seconds) / 60
    FROM summed AS t
    GROUP BY
        t.resource_id,
        t.piece;
END
$$;
COMMENT ON FUNCTION resource_samples(uuid, timestamptz[], uuid) IS
    'Aggregates the samples between each of these instants and the next (piece 1 is between the first two), by resource. A '
    'sample covers the time up to the next one of its resource: its sample_minutes, or at most an hour if that is NULL. '
    'Mean utilization = utilization_pct_minutes / utilization_minutes, and likewise for efficiency; downtime_minutes '
    'refers to downtime_known_minutes.';

CREATE OR REPLACE FUNCTION first_sample_at(org uuid)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    first_at timestamptz := (
        SELECT m.time
        FROM resource_metrics AS m
        WHERE m.organization_id = org
        ORDER BY m.time
        LIMIT 1
    );
BEGIN
    IF database_edition() = 'community' THEN
        -- The rollups outlive rows dropped by retention.
        first_at := least(
            first_at,
            (
                SELECT h.bucket
                FROM resource_metrics_hourly AS h
                WHERE h.organization_id = org
                ORDER BY h.bucket
                LIMIT 1
            )
        );
    END IF;
    RETURN first_at;
END
$$;
COMMENT ON FUNCTION first_sample_at(uuid) IS
    'Time of the organization''s first sample, so that earlier hours need not be read; NULL if there is none. For dropped '
    'rows, accurate to the hour.';

CREATE OR REPLACE FUNCTION demand_totals(org uuid, edges timestamptz[])
RETURNS TABLE (
    product_id text,
    location_id uuid,
    piece integer,
    row_count bigint,
    quantity numeric,
    revenue numeric,
    first_bucket timestamptz,
    last_bucket timestamptz
)
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    period_start CONSTANT timestamptz := edges[1];
    period_end CONSTANT timestamptz := edges[cardinality(edges)];
    raw CONSTANT tstzmultirange := (
        raw_spans(ARRAY['demand_history_hourly'], period_start, period_end) + cut_hours(edges)
    ) * tstzmultirange(tstzrange(least(period_start, period_end), period_end));
BEGIN
    RETURN QUERY
    WITH spans AS MATERIALIZED (
        SELECT
            lower(r.span) AS starts_at,
            upper(r.span) AS ends_at
        FROM unnest(raw) AS r (span)
    ),
    counted AS (
        SELECT
            h.product_id,
            h.location_id,
            width_bucket(h.bucket, edges) AS piece,
            sum(h.row_count) AS row_count,
            sum(h.quantity) AS quantity,
            sum(h.revenue) AS revenue,
            min(h.bucket) AS first_bucket,
            max(h.bucket) AS last_bucket
        FROM demand_history_hourly AS h
        WHERE h.organization_id = org
            AND h.bucket >= period_start
            AND h.bucket < period_end
            AND NOT raw @> h.bucket
        GROUP BY
            1,
            2,
            3
        UNION ALL
        SELECT
            d.product_id,
            d.location_id,
            width_bucket(d.time, edges),
            count(*),
            sum(d.quantity),
            sum(d.revenue),
            time_bucket(interval '1 hour', min(d.time)),
            time_bucket(interval '1 hour', max(d.time))
        FROM spans AS s
        CROSS JOIN LATERAL (
            SELECT
                d.product_id,
                d.location_id,
                d.time,
                d.quantity,
                d.revenue
            FROM demand_history AS d
            WHERE d.organization_id = org
                AND d.time >= s.starts_at
                AND d.time < s.ends_at
                AND d.time >= period_start
                AND d.time < period_end
            OFFSET 0
        ) AS d
        GROUP BY
            1,
            2,
            3
    )
    SELECT
        c.product_id,
        c.location_id,
        c.piece,
        sum(c.row_count)::bigint,
        sum(c.quantity),
        sum(c.revenue),
        min(c.first_bucket),
        max(c.last_bucket)
    FROM counted AS c
    GROUP BY
        c.product_id,
        c.location_id,
        c.piece;
END
$$;
COMMENT ON FUNCTION demand_totals(uuid, timestamptz[]) IS
    'Demand between each of these instants and the next (piece 1 is between the first two), by product and location. Read '
    'from the hourly rollup where it is current, otherwise from the rows; first_bucket and last_bucket are the UTC hours '
    'of the first and last row.';
