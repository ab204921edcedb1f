-- Rollups: hourly and daily summaries under the same names in every edition. Community: continuous aggregates in real-time
-- mode (rows newer than the last refresh are added from the table), the daily ones built on the hourly ones. Apache and
-- plain: views that compute the same results.
--
-- Daily rollups of events and attendance are views over the hourly ones in every edition: a machine with few events a day, and a worker with
-- one shift, have as many rows a day as an hour, so storing them would cost as much again, and no prebuilt query reads them.
--
-- Buckets are aligned in UTC. A rollup stores sums and counts, never averages, so that any two buckets can be added; divide
-- at the end. An event counts entirely in the bucket in which it began: operation_totals() corrects for events that extend
-- across the edge of a period.
--
-- The refresh covers the entire past, so a late row of any age is included by the next one; only buckets whose rows changed
-- are recomputed. set_retention() limits it to the rows that retention keeps.
--
-- end_offset is how late rows usually arrive. A bucket that ended this long ago is materialized; rows of newer ones are
-- aggregated at query time. A shorter offset leaves less to aggregate, but more late rows wait for the next refresh. Events
-- are recorded when they end, or by hand, so their hourly rollup waits an hour. Samples arrive automatically.
--
-- Rollups have many groups (hour, machine, type, cause): in rowstore the rollup of events is larger than the events
-- themselves in the columnstore. So old chunks of rollups are compressed too, segmented by organization and ordered by
-- bucket: a period of one organization is stored together, and a very late row decompresses one batch per organization
-- rather than the whole chunk.

-- Aggregates of consecutive samples; see resource_samples().
DO $$
BEGIN
    IF to_regtype('public.resource_sample_totals') IS NULL THEN
        CREATE TYPE resource_sample_totals AS (
            sample_seconds numeric,
            utilization_pct_seconds numeric,
            utilization_seconds numeric,
            efficiency_pct_seconds numeric,
            efficiency_seconds numeric,
            downtime_seconds numeric,
            downtime_known_seconds numeric,
            last_sample_minutes numeric,
            last_utilization_pct numeric,
            last_efficiency_pct numeric,
            last_downtime_minutes numeric
        );
    END IF;
END
$$;
COMMENT ON TYPE resource_sample_totals IS
    'Samples of an hour: weighted sums of all but the last, in seconds, and the last sample, which extends to the first '
    'one of the next hour at most.';

CREATE OR REPLACE FUNCTION down_seconds(downtime_minutes numeric, sample_minutes numeric, seconds numeric, all_seconds numeric)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
AS $$
    SELECT
        CASE
            WHEN sample_minutes IS NOT NULL THEN downtime_minutes * seconds / sample_minutes
            WHEN 60 * downtime_minutes <= all_seconds THEN 60 * downtime_minutes * seconds / all_seconds
        END
$$;
COMMENT ON FUNCTION down_seconds(numeric, numeric, numeric, numeric) IS
    'Seconds of a sample in which the resource was down. Downtime is spread evenly over sample_minutes or, if that is '
    'NULL, over all_seconds up to the next sample; NULL if it exceeds that length.';

CREATE OR REPLACE FUNCTION multirange_minutes(ranges tstzmultirange)
RETURNS numeric
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))) / 60, 0) FROM unnest(ranges) AS r
$$;
COMMENT ON FUNCTION multirange_minutes(tstzmultirange) IS 'Total length of the ranges in minutes, as elapsed time: the day of a daylight-saving change has 23 or 25 hours.';

CREATE OR REPLACE FUNCTION add_samples(
    times timestamptz[],
    minutes numeric[],
    utilization numeric[],
    efficiency numeric[],
    downtime numeric[]
)
RETURNS resource_sample_totals
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
AS $$
    WITH samples AS (
        SELECT
            s.sample_minutes,
            s.utilization_pct,
            s.efficiency_pct,
            s.downtime_minutes,
            lead(s.time) OVER (ORDER BY s.time) IS NULL AS is_last,
            extract(epoch FROM least(
                lead(s.time) OVER (ORDER BY s.time) - s.time,
                interval '1 minute' * coalesce(s.sample_minutes, 60)::double precision
            )) AS seconds
        FROM unnest(times, minutes, utilization, efficiency, downtime)
            AS s (time, sample_minutes, utilization_pct, efficiency_pct, downtime_minutes)
    )
    SELECT
        ROW(
            sum(s.seconds) FILTER (WHERE NOT s.is_last),
            sum(s.utilization_pct * s.seconds) FILTER (WHERE NOT s.is_last),
            sum(s.seconds) FILTER (WHERE NOT s.is_last AND s.utilization_pct IS NOT NULL),
            sum(s.efficiency_pct * s.seconds) FILTER (WHERE NOT s.is_last),
            sum(s.seconds) FILTER (WHERE NOT s.is_last AND s.efficiency_pct IS NOT NULL),
            sum(public.down_seconds(s.downtime_minutes, s.sample_minutes, s.seconds, s.seconds)) FILTER (WHERE NOT s.is_last),
            sum(s.seconds) FILTER (
                WHERE NOT s.is_last
                    AND public.down_seconds(s.downtime_minutes, s.sample_minutes, s.seconds, s.seconds) IS NOT NULL
            ),
            max(s.sample_minutes) FILTER (WHERE s.is_last),
            max(s.utilization_pct) FILTER (WHERE s.is_last),
            max(s.efficiency_pct) FILTER (WHERE s.is_last),
            max(s.downtime_minutes) FILTER (WHERE s.is_last)
        )::public.resource_sample_totals
    FROM samples AS s
$$;
COMMENT ON FUNCTION add_samples(timestamptz[], numeric[], numeric[], numeric[], numeric[]) IS
    'Aggregates samples of one resource, each extending to the next one; the last one is kept separately, since its end '
    'depends on the sample that follows.';

-- Version 7 added columns, which CREATE OR REPLACE cannot do.
DROP FUNCTION IF EXISTS rollup_definitions();
CREATE FUNCTION rollup_definitions()
RETURNS TABLE (
    rollup text,
    source text,
    bucket_width interval,
    refresh_every interval,
    end_offset interval,
    chunk_interval interval,
    columnstore_after interval,
    is_real_time boolean,
    query text,
    description text
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog
AS $$
    WITH series (
        relation, dimensions, measures, refresh_every, end_offset, chunk_interval, daily_refresh_every, daily_chunk_interval, meaning
    ) AS (
        VALUES
            (
                'operational_events',
                'location_id, resource_id, event_type, cause',
                ARRAY[
                    ['event_count', 'count(*)'],
                    ['duration_minutes', 'sum(duration_minutes)'],
                    ['quantity', 'sum(quantity)'],
                    ['scrap_quantity', 'sum(scrap_quantity)'],
                    ['quality_score_sum', 'sum(quality_score)'],
                    ['quality_score_count', 'count(quality_score)']
                ],
                interval '15 minutes', interval '1 hour', interval '30 days', NULL, NULL,
                'Events by %s in which they began, location, resource, type and cause.'
            ),
            (
                'resource_metrics',
                'resource_id',
                ARRAY[
                    ['sample_count', 'count(*)'],
                    ['sample_minutes', 'sum(sample_minutes)'],
                    ['downtime_minutes', 'sum(downtime_minutes)'],
                    ['utilization_pct_minutes', 'sum(utilization_pct * sample_minutes)'],
                    ['utilization_minutes', 'sum(sample_minutes) FILTER (WHERE utilization_pct IS NOT NULL)'],
                    ['efficiency_pct_minutes', 'sum(efficiency_pct * sample_minutes)'],
                    ['efficiency_minutes', 'sum(sample_minutes) FILTER (WHERE efficiency_pct IS NOT NULL)'],
                    ['utilization_pct_min', 'min(utilization_pct)'],
                    ['utilization_pct_max', 'max(utilization_pct)']
                ],
                interval '15 minutes', interval '15 minutes', interval '30 days', interval '1 hour', interval '365 days',
                'Metrics by %s and resource, for samples with sample_minutes, as of the last refresh (newer rows are '
                'added). Mean utilization = utilization_pct_minutes / utilization_minutes, and likewise for efficiency. '
                'resource_samples() returns current values for all samples.'
            ),
            (
                'demand_history',
                'product_id, location_id',
                ARRAY[
                    ['row_count', 'count(*)'],
                    ['quantity', 'sum(quantity)'],
                    ['revenue', 'sum(revenue)'],
                    ['quantity_min', 'min(quantity)'],
                    ['quantity_max', 'max(quantity)']
                ],
                interval '30 minutes', interval '1 hour', interval '90 days', interval '1 hour', interval '365 days',
                'Demand by %s, product and location.'
            ),
            (
                'employee_attendance',
                'employee_id',
                ARRAY[
                    ['scheduled_count', 'count(*) FILTER (WHERE status <> ''vacation'')'],
                    ['attended_count', 'count(*) FILTER (WHERE status IN (''present'', ''late'', ''remote''))'],
                    ['late_count', 'count(*) FILTER (WHERE status = ''late'')'],
                    ['scheduled_hours', 'sum(scheduled_hours) FILTER (WHERE status <> ''vacation'')'],
                    ['hours_worked', 'sum(hours_worked)'],
                    ['performance_score_sum', 'sum(performance_score)'],
                    ['performance_score_count', 'count(performance_score)']
                ],
                interval '1 hour', interval '1 hour', interval '180 days', NULL, NULL,
                'Attendance by %s of the scheduled start of work and employee, row by row. Attendance rate = '
                'attended_count / scheduled_count. If an employee has two rows for one shift, which only plain SQL can '
                'write, both count here, but only the later one in get_attendance_rate.'
            )
    ),
    -- Minimum and maximum are aggregated as such by day; everything else is summed.
    measures AS (
        SELECT
            s.relation,
            string_agg(format('%s AS %I', s.measures[n][2], s.measures[n][1]), ', ' ORDER BY n) AS hourly,
            string_agg(
                format('%s(%I) AS %2$I', coalesce(substring(s.measures[n][1] FROM '_(min|max)$'), 'sum'), s.measures[n][1]),
                ', ' ORDER BY n
            ) AS daily
        FROM series AS s
        CROSS JOIN generate_subscripts(s.measures, 1) AS n
        GROUP BY s.relation
    )
    SELECT
        s.relation || width.suffix,
        width.source,
        width.bucket_width,
        width.refresh_every,
        width.end_offset,
        width.chunk_interval,
        CASE WHEN width.chunk_interval IS NOT NULL THEN interval '30 days' END,
        true,
        format(
            'SELECT organization_id, %1$s AS bucket, %2$s, %3$s FROM %4$I GROUP BY organization_id, %1$s, %2$s',
            width.bucket, s.dimensions, width.measures, width.source
        ),
        format(s.meaning, width.words)
    FROM series AS s
    JOIN measures AS m ON m.relation = s.relation
    CROSS JOIN LATERAL (
        VALUES
            (
                '_hourly', s.relation, interval '1 hour', s.refresh_every, s.end_offset, s.chunk_interval,
                'time_bucket(interval ''1 hour'', time)', m.hourly, 'hour'
            ),
            (
                '_daily', s.relation || '_hourly', interval '1 day', s.daily_refresh_every,
                CASE WHEN s.daily_refresh_every IS NOT NULL THEN interval '1 day' END, s.daily_chunk_interval,
                'time_bucket(interval ''1 day'', bucket)', m.daily, 'UTC day'
            )
    ) AS width (suffix, source, bucket_width, refresh_every, end_offset, chunk_interval, bucket, measures, words)
    UNION ALL
    SELECT
        'resource_samples_hourly', 'resource_metrics', interval '1 hour', interval '15 minutes',
        interval '15 minutes', interval '30 days', interval '30 days', false,
        $query$
        SELECT
            organization_id,
            time_bucket(interval '1 hour', time) AS bucket,
            resource_id,
            min(time) AS first_at,
            max(time) AS last_at,
            add_samples(
                array_agg(time),
                array_agg(sample_minutes),
                array_agg(utilization_pct),
                array_agg(efficiency_pct),
                array_agg(downtime_minutes)
            ) AS totals
        FROM resource_metrics
        GROUP BY organization_id, time_bucket(interval '1 hour', time), resource_id
        HAVING min(time) > time_bucket(interval '1 hour', time)
            OR count(sample_minutes) < count(*)
            OR count(downtime_minutes) NOT IN (0, count(*))
            OR max(date_add(time, interval '1 minute' * sample_minutes::double precision, 'UTC'))
                > date_add(time_bucket(interval '1 hour', time), interval '1 hour', 'UTC')
            OR multirange_minutes(range_agg(tstzrange(
                time,
                date_add(time, interval '1 minute' * sample_minutes::double precision, 'UTC')
            ))) <> sum(sample_minutes)
        $query$,
        'Hours whose samples cannot simply be added up (sample_minutes missing, overlaps, gaps at the beginning, extending '
        'into the next hour); read by resource_samples(), which interprets them.'
    ORDER BY 3, 1  -- rollups come after the rollups that they are built on
$$;
COMMENT ON FUNCTION rollup_definitions() IS
    'Definitions of the rollups: source, refresh schedule, chunks and compression; without refresh_every a rollup is not stored, '
    'but a view. The rollups are created from it when the schema is applied.';

DO $$
DECLARE
    definition record;
    is_view boolean;
BEGIN
    FOR definition IN SELECT * FROM rollup_definitions() LOOP
        is_view := database_edition() <> 'community';
        IF NOT is_view AND definition.refresh_every IS NULL THEN
            -- One that an earlier version stored may have been kept: sql/incremental/013_daily_views.sql.
            is_view := NOT EXISTS (
                SELECT
                FROM timescaledb_information.continuous_aggregates AS c
                WHERE c.view_schema = 'public'
                    AND c.view_name = definition.rollup
            );
        END IF;
        IF is_view THEN
            EXECUTE format('CREATE OR REPLACE VIEW %I AS %s', definition.rollup, definition.query);
        ELSIF to_regclass(definition.rollup) IS NULL THEN
            -- Filled by the first refresh, because filling it here is not possible inside a transaction.
            EXECUTE format(
                'CREATE MATERIALIZED VIEW %I WITH (timescaledb.continuous, timescaledb.materialized_only = %s, '
                'timescaledb.create_group_indexes = false) AS %s WITH NO DATA',
                definition.rollup,
                NOT definition.is_real_time,
                definition.query
            );
        END IF;
        EXECUTE format('COMMENT ON VIEW %I IS %L', definition.rollup, definition.description);

        CONTINUE WHEN is_view OR definition.refresh_every IS NULL;
        -- An existing policy is left alone: set_retention() may have narrowed its window.
        IF NOT EXISTS (
            SELECT
            FROM timescaledb_information.jobs AS j
            WHERE j.hypertable_schema = 'public'
                AND j.hypertable_name = definition.rollup
                AND j.proc_name = 'policy_refresh_continuous_aggregate'
        ) THEN
            PERFORM add_continuous_aggregate_policy(
                definition.rollup::regclass,
                -- The entire past, unless retention was set and the refresh policy was removed since.
                start_offset => (
                    SELECT (j.config ->> 'drop_after')::interval - l.chunk_interval
                    FROM time_series_layout() AS l
                    JOIN timescaledb_information.jobs AS j
                        ON j.hypertable_schema = 'public'
                        AND j.hypertable_name = l.relation
                        AND j.proc_name = 'policy_retention'
                    WHERE definition.rollup ~ ('^' || l.relation || '_(hourly|daily)$')
                ),
                end_offset => definition.end_offset,
                schedule_interval => definition.refresh_every,
                -- Delayed, because an initial load may be running, and two refreshes of one rollup cannot run at the same time.
                initial_start => now() + definition.refresh_every
            );
        END IF;
    END LOOP;
END
$$;

-- Physical layout of the rollups: chunks, columnstore. A chunk interval set by the owner is preserved.
DO $$
DECLARE
    stored record;
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    FOR stored IN
        SELECT
            d.rollup,
            d.chunk_interval,
            d.columnstore_after,
            s.hypertable,
            s.segmentby,
            s.orderby
        FROM rollup_definitions() AS d
        JOIN timescaledb_information.continuous_aggregates AS c ON c.view_schema = 'public' AND c.view_name = d.rollup
        JOIN timescaledb_information.hypertable_columnstore_settings AS s
            ON s.hypertable = format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name)::regclass
        WHERE d.refresh_every IS NOT NULL
    LOOP
        IF stored.segmentby IS NULL THEN
            PERFORM set_chunk_time_interval(stored.hypertable, stored.chunk_interval);
        END IF;
        IF (stored.segmentby, stored.orderby) IS DISTINCT FROM ('organization_id', 'bucket') THEN
            EXECUTE format(
                'ALTER MATERIALIZED VIEW %I SET (timescaledb.enable_columnstore, '
                'timescaledb.segmentby = ''organization_id'', timescaledb.orderby = ''bucket'')',
                stored.rollup
            );
        END IF;
        CALL add_columnstore_policy(stored.rollup::regclass, after => stored.columnstore_after, if_not_exists => true);
    END LOOP;
END
$$;

-- Version 7: until version 6, rollups left their last whole bucket to query time. (Changed once only; afterwards it is the owner's choice.)
DO $$
DECLARE
    earlier record;
BEGIN
    IF database_edition() <> 'community' OR to_regclass('schema_version') IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM schema_version WHERE version >= 7) THEN
        RETURN;
    END IF;
    FOR earlier IN
        SELECT
            j.job_id,
            jsonb_set(j.config, '{end_offset}', to_jsonb(d.end_offset::text)) AS config
        FROM rollup_definitions() AS d
        JOIN timescaledb_information.jobs AS j
            ON j.hypertable_schema = 'public'
            AND j.hypertable_name = d.rollup
            AND j.proc_name = 'policy_refresh_continuous_aggregate'
        WHERE (j.config ->> 'end_offset')::interval = d.bucket_width
            AND d.end_offset <> d.bucket_width
    LOOP
        PERFORM alter_job(earlier.job_id, config => earlier.config);
    END LOOP;
END
$$;

-- Indexes of the rollups. A bucket stores the rows of all organizations side by side, so an index without the columns would
-- fetch a page per row, or read all rows of the period, and a query for one organization would get slower with each
-- additional tenant: the first index covers the whole row, by organization. The second finds one resource (product,
-- employee) over a long period. Version 5 had an index on each grouping column instead, TimescaleDB's default: the rollup
-- was half as large, and half as fast with ten organizations (docs/storage.md).
DO $$
DECLARE
    stored record;
    superfluous record;
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    FOR stored IN
        SELECT
            c.view_name,
            c.materialization_hypertable_schema AS table_schema,
            c.materialization_hypertable_name AS table_name,
            string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
            min(a.attname::text) FILTER (WHERE a.attname IN ('resource_id', 'product_id', 'employee_id')) AS subject
        FROM rollup_definitions() AS d
        JOIN timescaledb_information.continuous_aggregates AS c ON c.view_schema = 'public' AND c.view_name = d.rollup
        JOIN pg_attribute AS a
            ON a.attrelid = format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name)::regclass
            AND a.attnum > 0
            AND NOT a.attisdropped
            AND a.attname NOT IN ('organization_id', 'bucket')
        GROUP BY 1, 2, 3
    LOOP
        FOR superfluous IN
            SELECT i.indexname
            FROM pg_indexes AS i
            WHERE i.schemaname = stored.table_schema
                AND i.tablename = stored.table_name
                AND i.indexname ~ '^_materialized_hypertable_\d+_\w+_bucket_idx$'
        LOOP
            EXECUTE format('DROP INDEX %I.%I', stored.table_schema, superfluous.indexname);
        END LOOP;
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I (organization_id, bucket) INCLUDE (%s)',
            stored.view_name || '_of_organization_idx', stored.view_name, stored.columns
        );
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I (organization_id, %I, bucket)',
            stored.view_name || '_of_' || stored.subject || '_idx', stored.view_name, stored.subject
        );
    END LOOP;
END
$$;

-- Comments on the rollup columns; columns of the same name have the same meaning in each rollup.
DO $$
DECLARE
    described record;
BEGIN
    FOR described IN
        SELECT
            r.rollup,
            m.column_name,
            m.meaning
        FROM rollup_definitions() AS r
        JOIN pg_attribute AS a ON a.attrelid = r.rollup::regclass AND a.attnum > 0
        JOIN (
            VALUES
                ('organization_id', 'The tenant.'),
                ('bucket', 'Start of the bucket, aligned in UTC.'),
                ('location_id', 'The location.'),
                ('resource_id', 'The resource; NULL for events of the location.'),
                ('employee_id', 'The worker.'),
                ('product_id', 'The customer''s own product code.'),
                ('event_type', 'Type of event, as in operational_events.'),
                ('cause', 'Cause of the stop or failure, if reported.'),
                ('event_count', 'Number of events that began in the bucket.'),
                ('duration_minutes', 'Total duration of these events in minutes, including time past the end of the bucket.'),
                ('scrap_quantity', 'Part of quantity that is scrap.'),
                ('quality_score_sum', 'Sum of quality scores (0 to 100 each).'),
                ('quality_score_count', 'Number of quality scores.'),
                ('sample_count', 'Number of samples.'),
                ('sample_minutes', 'Sum of sample_minutes as reported: overlaps count twice, samples without sample_minutes do not count.'),
                ('downtime_minutes', 'Minutes down, as reported by the samples.'),
                ('first_at', 'The first sample of the hour.'),
                ('last_at', 'The last sample of the hour.'),
                ('totals', 'Weighted sums of all samples of the hour except the last, in seconds, and the last sample itself.'),
                ('utilization_pct_minutes', 'Sum of utilization_pct times sample_minutes.'),
                ('utilization_minutes', 'Minutes for which utilization is known.'),
                ('efficiency_pct_minutes', 'Sum of efficiency_pct times sample_minutes.'),
                ('efficiency_minutes', 'Minutes for which efficiency is known.'),
                ('utilization_pct_min', 'Minimum utilization of a sample, 0 to 100.'),
                ('utilization_pct_max', 'Maximum utilization of a sample, 0 to 100.'),
                ('row_count', 'Number of rows of demand_history.'),
                ('quantity', 'Sum of quantities, in the unit of the rows.'),
                ('revenue', 'Sum of revenues, in the organization''s currency.'),
                ('quantity_min', 'Minimum quantity of a row.'),
                ('quantity_max', 'Maximum quantity of a row.'),
                ('scheduled_count', 'Shifts scheduled, excluding vacation.'),
                ('attended_count', 'Shifts attended: present, late or remote.'),
                ('late_count', 'Shifts attended late.'),
                ('scheduled_hours', 'Hours scheduled, excluding vacation.'),
                ('hours_worked', 'Hours worked.'),
                ('performance_score_sum', 'Sum of performance scores (0 to 100 each).'),
                ('performance_score_count', 'Number of performance scores.')
        ) AS m (column_name, meaning) ON m.column_name = a.attname
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', described.rollup, described.column_name, described.meaning);
    END LOOP;
END
$$;

-- Refreshing buckets whose raw rows were dropped would empty them. So no refresh, scheduled or manual, looks further back
-- than this window, and once retention has narrowed it, it is never widened again: what was dropped is no longer known.
CREATE OR REPLACE FUNCTION rollup_refresh_window(rollup text)
RETURNS interval
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    IF public.database_edition() <> 'community' THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT min((j.config ->> 'start_offset')::interval)
        FROM timescaledb_information.jobs AS j
        WHERE j.hypertable_schema = 'public'
            AND j.hypertable_name = rollup
            AND j.proc_name = 'policy_refresh_continuous_aggregate'
    );
END
$$;
COMMENT ON FUNCTION rollup_refresh_window(text) IS
    'How far back a refresh of this rollup may look. NULL: the entire past, if retention was never set.';

CREATE OR REPLACE PROCEDURE refresh_rollups(start_time timestamptz DEFAULT NULL, end_time timestamptz DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    definition record;
    first_bucket timestamptz;
    end_bucket timestamptz;
    hours tstzrange;
BEGIN
    IF start_time >= end_time THEN
        RAISE EXCEPTION 'the period must start before it ends: % to %', start_time, end_time
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Events last at most a day: a late event may change the hours up to its end, too.
    hours := touched_hours(start_time, end_time + interval '24 hours');
    IF database_edition() <> 'community' THEN
        CALL refresh_resource_time(NULL, hours);
        RETURN;
    END IF;
    FOR definition IN
        SELECT d.*
        FROM rollup_definitions() AS d
        JOIN timescaledb_information.continuous_aggregates AS c ON c.view_schema = 'public' AND c.view_name = d.rollup
        ORDER BY d.bucket_width, d.rollup
    LOOP
        -- Whole buckets, including those that contain the ends of the period.
        first_bucket := time_bucket(definition.bucket_width, start_time);
        end_bucket := time_bucket(definition.bucket_width, end_time - interval '1 microsecond') + definition.bucket_width;
        first_bucket := greatest(
            first_bucket,
            time_bucket(definition.bucket_width, now() - rollup_refresh_window(definition.rollup)) + definition.bucket_width
        );
        CONTINUE WHEN first_bucket >= end_bucket;
        CALL refresh_continuous_aggregate(definition.rollup::regclass, first_bucket, end_bucket);
    END LOOP;
    CALL refresh_resource_time(NULL, hours);
END
$$;
COMMENT ON PROCEDURE refresh_rollups(timestamptz, timestamptz) IS
    'Refreshes the rollups now, for rows of the period (all by default), rather than at the next scheduled refresh, and '
    'stores the hours of resource_time() in it. If retention is set, data older than the refresh window is left alone, '
    'because its raw rows are gone. Call it outside a transaction.';
REVOKE ALL ON PROCEDURE refresh_rollups(timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE PROCEDURE set_retention(relation regclass, keep interval)
LANGUAGE plpgsql
AS $$
DECLARE
    -- How late rows may arrive: raw rows must be kept until the refresh that includes them.
    least_window CONSTANT interval := interval '30 days';
    definition record;
    layout record;
    refresh_window interval;
BEGIN
    SELECT * INTO layout FROM time_series_layout() AS l WHERE l.relation::regclass = set_retention.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not a time-series table: retention can be set for those that time_series_layout() lists', relation
            USING ERRCODE = 'wrong_object_type';
    END IF;
    IF database_edition() <> 'community' THEN
        RAISE EXCEPTION 'retention policies need the community edition of TimescaleDB, this is the % edition', database_edition()
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Use a scheduled DELETE instead; the rollups are views here, so they lose these rows too.';
    END IF;
    IF keep IS NOT NULL AND keep < least_window + layout.chunk_interval THEN
        RAISE EXCEPTION 'keep % of % is shorter than the refresh window of its rollups (%) and one chunk (%)',
            keep, relation, least_window, layout.chunk_interval
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The next refresh would empty rollups whose rows were dropped: use a longer period.';
    END IF;

    -- Narrow the window, never widen it: see rollup_refresh_window().
    FOR definition IN
        WITH RECURSIVE built_on AS (
            SELECT d.* FROM rollup_definitions() AS d WHERE d.source = layout.relation
            UNION ALL
            SELECT d.* FROM rollup_definitions() AS d JOIN built_on AS b ON d.source = b.rollup
        )
        SELECT b.*
        FROM built_on AS b
        JOIN timescaledb_information.continuous_aggregates AS c ON c.view_schema = 'public' AND c.view_name = b.rollup
    LOOP
        refresh_window := least(keep - layout.chunk_interval, rollup_refresh_window(definition.rollup));
        PERFORM remove_continuous_aggregate_policy(definition.rollup::regclass, if_exists => true);
        PERFORM add_continuous_aggregate_policy(
            definition.rollup::regclass,
            start_offset => refresh_window,
            end_offset => coalesce(definition.end_offset, definition.bucket_width),
            schedule_interval => coalesce(definition.refresh_every, interval '1 hour'),
            initial_start => now() + coalesce(definition.refresh_every, interval '1 hour')
        );
    END LOOP;

    PERFORM remove_retention_policy(relation, if_exists => true);
    IF keep IS NOT NULL THEN
        PERFORM add_retention_policy(relation, drop_after => keep);
    END IF;
END
$$;
COMMENT ON PROCEDURE set_retention(regclass, interval) IS
    'Keeps the raw rows of a time-series table for this period (NULL: forever, the default); the rollups are kept. Refuses '
    'a period shorter than the rollups'' refresh window plus a chunk. From then on the rollups include late rows only if '
    'they are newer than keep less one chunk; a longer period later does not widen that again. Community edition only.';
REVOKE ALL ON PROCEDURE set_retention(regclass, interval) FROM PUBLIC;
