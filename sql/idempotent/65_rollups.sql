-- Rollups: hourly and daily summaries under the same names in every edition. Community: continuous aggregates, real-time
-- (rows newer than the last refresh are added from the table), the daily ones built on the hourly ones. Apache and
-- plain: views that compute the same.
--
-- Buckets are aligned in UTC. A rollup keeps sums and counts, never averages, so that any two buckets can be added;
-- divide at the end. An event counts whole in the bucket in which it began: operation_totals() puts right what reaches
-- over the edge of a period.
--
-- The refresh covers all of the past, so a late row of any age is seen after the next one: only buckets whose rows
-- changed are computed again. set_retention() narrows it to what retention leaves.
--
-- end_offset is how late rows usually come. A bucket that ended so long ago is computed and stored; rows of newer ones are added
-- up by whoever asks, so the shorter it is, the less there is to add up, and the more late rows wait for the next refresh.
-- Events are written down when they end, or by hand: the hourly rollup leaves them an hour. Samples come by themselves.
--
-- Rollups have finer groups than one thinks (an hour, a machine, a kind, a cause): in rowstore that of events is larger than the
-- events in the columnstore. So old chunks of rollups go there too, segmented by organization and ordered by bucket: a period of
-- one organization lies together, and a late row of long ago unpacks one batch of each organization, not the chunk.

-- What samples of one stretch say; see resource_samples().
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
    'Samples of an hour: weighted sums of all but the last, in seconds, and the last one, which speaks up to the next hour''s first at most.';

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
    'How many of these seconds of a sample was it down? Its downtime spreads evenly over sample_minutes, or over all_seconds up to the next '
    'sample where it tells none; NULL where that would be more than there are.';

CREATE OR REPLACE FUNCTION multirange_minutes(ranges tstzmultirange)
RETURNS numeric
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))) / 60, 0) FROM unnest(ranges) AS r
$$;
COMMENT ON FUNCTION multirange_minutes(tstzmultirange) IS 'How many minutes do these ranges hold? Elapsed time, so that a day of daylight-saving change has 23 or 25 hours.';

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
    'What do these samples of one resource say, each up to the next, the last one left for who knows what follows?';

-- Since version 7 it has more columns, which CREATE OR REPLACE cannot add.
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
                interval '15 minutes', interval '1 hour', interval '30 days', interval '1 hour', interval '180 days',
                'Events by %s of their beginning, place, resource, kind and cause.'
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
                'Metrics by %s and resource, of samples that tell their sample_minutes, as of the last refresh (newer rows are added). Mean '
                'utilization = utilization_pct_minutes / utilization_minutes, and so for efficiency. resource_samples() gives them as they '
                'are now, whatever was told.'
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
                interval '1 hour', interval '1 hour', interval '180 days', interval '2 hours', interval '365 days',
                'Attendance by %s in which the work was due to begin, and employee, row by row. Attendance rate = attended_count / '
                'scheduled_count. Of two rows of one employee and shift, which only plain SQL writes, both count here, and the later one in '
                'get_attendance_rate.'
            )
    ),
    -- Least and greatest stay so by day; all others add up.
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
        interval '30 days',
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
                '_daily', s.relation || '_hourly', interval '1 day', s.daily_refresh_every, interval '1 day', s.daily_chunk_interval,
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
        'Hours whose samples do not simply add up (sample_minutes not told, overlaps, gaps at the beginning, reaching into the next hour): '
        'read by resource_samples(), which says what they mean.'
    ORDER BY 3, 1  -- what is built on another comes after it
$$;
COMMENT ON FUNCTION rollup_definitions() IS
    'Which rollups are there, from what, how often are they refreshed, and how are they cut into chunks and compressed? They are '
    'made from this table when the schema is applied.';

DO $$
DECLARE
    definition record;
BEGIN
    FOR definition IN SELECT * FROM rollup_definitions() LOOP
        IF database_edition() <> 'community' THEN
            EXECUTE format('CREATE OR REPLACE VIEW %I AS %s', definition.rollup, definition.query);
        ELSIF to_regclass(definition.rollup) IS NULL THEN
            -- Filled by the first refresh: filling it here would need to stand outside a transaction.
            EXECUTE format(
                'CREATE MATERIALIZED VIEW %I WITH (timescaledb.continuous, timescaledb.materialized_only = %s, '
                'timescaledb.create_group_indexes = false) AS %s WITH NO DATA',
                definition.rollup,
                NOT definition.is_real_time,
                definition.query
            );
        END IF;
        EXECUTE format('COMMENT ON VIEW %I IS %L', definition.rollup, definition.description);

        CONTINUE WHEN database_edition() <> 'community';
        -- A policy that is there stays as it is: set_retention() may have narrowed its window.
        IF NOT EXISTS (
            SELECT
            FROM timescaledb_information.jobs AS j
            WHERE j.hypertable_schema = 'public'
                AND j.hypertable_name = definition.rollup
                AND j.proc_name = 'policy_refresh_continuous_aggregate'
        ) THEN
            PERFORM add_continuous_aggregate_policy(
                definition.rollup::regclass,
                -- All of the past, unless retention was set and someone took the policy away since.
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
                -- Not at once: the first rows may be loading, and two refreshes of one rollup do not go together.
                initial_start => now() + definition.refresh_every
            );
        END IF;
    END LOOP;
END
$$;

-- Where rollups lie: chunks, columnstore. Whoever set another interval for chunks to come keeps it.
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

-- Version 7: up to version 6 each rollup left its last whole bucket to whoever asks. (Once: afterwards it is the owner's choice.)
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

-- How rollups are read. The rows of a bucket are those of all organizations side by side, so an index that only points to them
-- reads a page for each row, or all rows of the period, and so what one organization asks would cost more with each neighbour:
-- the first index holds the rows themselves, by organization. The second finds one resource (product, employee) in a long
-- period. Version 5 had an index on each column of the grouping instead, as TimescaleDB makes them unless told otherwise:
-- half as large a rollup, and at ten organizations half as quick (docs/storage.md).
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

-- What the columns of the rollups mean; a column of the same name means the same in each of them.
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
                ('event_type', 'Kind of event, as in operational_events.'),
                ('cause', 'Why it stood still or failed, if told.'),
                ('event_count', 'Number of events that began in the bucket.'),
                ('duration_minutes', 'Minutes that these events lasted, whole, even past the end of the bucket.'),
                ('scrap_quantity', 'Part of quantity that is scrap.'),
                ('quality_score_sum', 'Sum of quality scores (0 to 100 each).'),
                ('quality_score_count', 'Number of quality scores.'),
                ('sample_count', 'Number of samples.'),
                ('sample_minutes', 'Sum of sample_minutes as the samples tell them: overlaps count twice, samples that tell none not at all.'),
                ('downtime_minutes', 'Minutes down, as the samples tell them.'),
                ('first_at', 'The first sample of the hour.'),
                ('last_at', 'The last sample of the hour.'),
                ('totals', 'Weighted sums of all samples of the hour but the last, in seconds, and the last one itself.'),
                ('utilization_pct_minutes', 'Sum of utilization_pct times sample_minutes.'),
                ('utilization_minutes', 'Minutes for which utilization is known.'),
                ('efficiency_pct_minutes', 'Sum of efficiency_pct times sample_minutes.'),
                ('efficiency_minutes', 'Minutes for which efficiency is known.'),
                ('utilization_pct_min', 'Least utilization of a sample, 0 to 100.'),
                ('utilization_pct_max', 'Greatest utilization of a sample, 0 to 100.'),
                ('row_count', 'Number of rows of demand_history.'),
                ('quantity', 'Sum of quantities, in the unit of the rows.'),
                ('revenue', 'Sum of revenues, in the organization''s currency.'),
                ('quantity_min', 'Least quantity of a row.'),
                ('quantity_max', 'Greatest quantity of a row.'),
                ('scheduled_count', 'Shifts due, vacation left out.'),
                ('attended_count', 'Shifts attended: present, late or remote.'),
                ('late_count', 'Shifts begun late.'),
                ('scheduled_hours', 'Hours due, vacation left out.'),
                ('hours_worked', 'Hours worked.'),
                ('performance_score_sum', 'Sum of performance scores (0 to 100 each).'),
                ('performance_score_count', 'Number of performance scores.')
        ) AS m (column_name, meaning) ON m.column_name = a.attname
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', described.rollup, described.column_name, described.meaning);
    END LOOP;
END
$$;

-- Where raw rows were dropped, a refresh would compute empty buckets. So no refresh, scheduled or by hand, looks further
-- back than this, and once retention has narrowed it, it stays narrow: nobody knows any more what is gone.
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
    'How far back may a refresh of this rollup look? NULL: over all of the past, as long as no retention was ever set.';

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
    -- Events last a day at most: where a late one ends, hours have changed, too.
    hours := touched_hours(start_time, end_time + interval '24 hours');
    IF database_edition() <> 'community' THEN
        CALL refresh_resource_time(NULL, hours);
        RETURN;
    END IF;
    FOR definition IN SELECT * FROM rollup_definitions() LOOP
        -- Whole buckets, the period's edges in them.
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
    'Brings the rollups up to date now, for rows of the period (all of it by default), instead of at the next scheduled '
    'refresh, and keeps the hours of resource_time() in it. Where retention is set it leaves alone what is older than the refresh window, '
    'because the raw rows are gone. Call it outside a transaction.';
REVOKE ALL ON PROCEDURE refresh_rollups(timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE PROCEDURE set_retention(relation regclass, keep interval)
LANGUAGE plpgsql
AS $$
DECLARE
    -- Late rows may come this long after the fact: raw rows must outlive the refresh that counts them.
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
                  HINT = 'A scheduled DELETE removes old rows instead; the rollups are views here and lose them too.';
    END IF;
    IF keep IS NOT NULL AND keep < least_window + layout.chunk_interval THEN
        RAISE EXCEPTION 'keep % of % is shorter than the refresh window of its rollups (%) and one chunk (%)',
            keep, relation, least_window, layout.chunk_interval
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Rollups whose rows are gone would be emptied by their next refresh: name a longer period.';
    END IF;

    -- Narrower, never wider: see rollup_refresh_window().
    FOR definition IN
        WITH RECURSIVE built_on AS (
            SELECT d.* FROM rollup_definitions() AS d WHERE d.source = layout.relation
            UNION ALL
            SELECT d.* FROM rollup_definitions() AS d JOIN built_on AS b ON d.source = b.rollup
        )
        SELECT * FROM built_on
    LOOP
        refresh_window := least(keep - layout.chunk_interval, rollup_refresh_window(definition.rollup));
        PERFORM remove_continuous_aggregate_policy(definition.rollup::regclass, if_exists => true);
        PERFORM add_continuous_aggregate_policy(
            definition.rollup::regclass,
            start_offset => refresh_window,
            end_offset => definition.end_offset,
            schedule_interval => definition.refresh_every,
            initial_start => now() + definition.refresh_every
        );
    END LOOP;

    PERFORM remove_retention_policy(relation, if_exists => true);
    IF keep IS NOT NULL THEN
        PERFORM add_retention_policy(relation, drop_after => keep);
    END IF;
END
$$;
COMMENT ON PROCEDURE set_retention(regclass, interval) IS
    'Keeps the raw rows of a time-series table for this period (NULL: for ever, the default); the rollups stay. Refuses a '
    'period shorter than the rollups'' refresh window plus a chunk. From then on the rollups take in late rows of the last '
    'keep less one chunk only; a longer period later does not widen that again. Community edition only.';
REVOKE ALL ON PROCEDURE set_retention(regclass, interval) FROM PUBLIC;
