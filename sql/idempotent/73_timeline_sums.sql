-- Stored hours of resource_time_raw(), so that the cost of a KPI depends on the hours of its period, not on its number of events.
--
-- Stored hours never differ from the events. A change of events, shifts or machine history marks the affected hours as
-- stale in the same transaction; queries read unmarked hours from here and compute all others from the events, in one
-- snapshot. So a late row is included in every answer at once, in every edition, whoever wrote it.
--
-- refresh_resource_time() fills hours. It first deletes the marks that it sees, and then reads the events: a change
-- committed in between is read and its mark is kept; a change committed later is not read, and has its own mark. Marks are
-- separate rows, so that writers wait neither for each other nor for the refresh.
--
-- Planned time is not stored: a location has few shifts and many machines.
--
-- Retention leaves no mark, and the hours that it drops remain stored: hours older than the refresh window of the rollups are not recomputed.

-- Rows are packed: one after the other, a machine's hour takes a fifth of the space that it takes as a row of its own with its
-- index entries, and is read as fast.
DO $$
BEGIN
    IF to_regtype('public.resource_time_sum') IS NULL THEN
        CREATE TYPE resource_time_sum AS (
            bucket timestamptz,
            resource_id uuid,
            location_id uuid,
            stood_location_id uuid,
            state text,
            cause text,
            capacity_unit text,
            is_rated boolean,
            event_count bigint,
            failure_count bigint,
            untimed_count bigint,
            untimed_failure_count bigint,
            seconds numeric,
            planned_seconds numeric,
            quality_score_sum numeric,
            quality_score_count bigint,
            quantity numeric,
            scrap_quantity numeric,
            inspected_quantity numeric,
            timed_quantity numeric,
            counted_seconds numeric,
            inspected_seconds numeric,
            rated_counted_seconds numeric,
            rated_seconds numeric,
            output_planned_seconds numeric,
            good_planned_seconds numeric
        );
    END IF;
END
$$;
COMMENT ON TYPE resource_time_sum IS 'Time and quantities of one machine in one state and for one cause in one bucket.';
COMMENT ON COLUMN resource_time_sum.bucket IS 'Start of the bucket that the row adds up, aligned in UTC.';
COMMENT ON COLUMN resource_time_sum.resource_id IS 'The machine; NULL for events without a machine.';
COMMENT ON COLUMN resource_time_sum.location_id IS 'Location of the event.';
COMMENT ON COLUMN resource_time_sum.stood_location_id IS 'Location where the machine stood, whose shifts determine its planned time.';
COMMENT ON COLUMN resource_time_sum.state IS 'maintenance, breakdown, setup, idle or production.';
COMMENT ON COLUMN resource_time_sum.cause IS 'Cause of the stop or failure, if reported.';
COMMENT ON COLUMN resource_time_sum.capacity_unit IS 'Unit of the machine''s quantities at the time.';
COMMENT ON COLUMN resource_time_sum.is_rated IS 'Whether the machine had a rated capacity at the time.';
COMMENT ON COLUMN resource_time_sum.event_count IS 'Events that began in the bucket.';
COMMENT ON COLUMN resource_time_sum.failure_count IS 'Failures that began in the bucket: breakdowns that overlap or touch are one.';
COMMENT ON COLUMN resource_time_sum.untimed_count IS 'Events that began in the bucket and whose duration is unknown.';
COMMENT ON COLUMN resource_time_sum.untimed_failure_count IS 'Failures that began in the bucket and whose duration is unknown.';
COMMENT ON COLUMN resource_time_sum.seconds IS 'Seconds in this state; a machine is in one state at a time.';
COMMENT ON COLUMN resource_time_sum.planned_seconds IS 'Part of seconds that is within shifts of the location where the machine stood in service.';
COMMENT ON COLUMN resource_time_sum.quality_score_sum IS 'Sum of quality scores (0 to 100 each) of the events that began in the bucket.';
COMMENT ON COLUMN resource_time_sum.quality_score_count IS 'Number of these quality scores.';
COMMENT ON COLUMN resource_time_sum.quantity IS 'Quantity produced, including scrap, in capacity_unit; NULL if not reported.';
COMMENT ON COLUMN resource_time_sum.scrap_quantity IS 'Part of quantity that is scrap; NULL if not reported.';
COMMENT ON COLUMN resource_time_sum.inspected_quantity IS 'Quantity of events whose scrap is known.';
COMMENT ON COLUMN resource_time_sum.timed_quantity IS 'Quantity of events whose duration is known.';
COMMENT ON COLUMN resource_time_sum.counted_seconds IS 'Seconds of production whose quantity is known.';
COMMENT ON COLUMN resource_time_sum.inspected_seconds IS 'Seconds of production whose quantity and scrap are known.';
COMMENT ON COLUMN resource_time_sum.rated_counted_seconds IS 'Seconds of production whose quantity is known, by a machine with a rated capacity.';
COMMENT ON COLUMN resource_time_sum.rated_seconds IS 'Seconds that timed_quantity takes at rated capacity.';
COMMENT ON COLUMN resource_time_sum.output_planned_seconds IS 'Seconds of production within shifts whose quantity and scrap are known, by a machine with a rated capacity.';
COMMENT ON COLUMN resource_time_sum.good_planned_seconds IS 'Seconds that the good quantity made within shifts takes at rated capacity.';

CREATE TABLE IF NOT EXISTS resource_time_sums (
    organization_id uuid NOT NULL,
    hours integer NOT NULL,
    bucket timestamptz NOT NULL,
    state text NOT NULL,
    ends_at timestamptz NOT NULL,
    widest integer NOT NULL,
    sums resource_time_sum[] NOT NULL,
    CONSTRAINT resource_time_sums_pkey PRIMARY KEY (organization_id, hours, bucket, state),
    CONSTRAINT resource_time_sums_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE,
    CONSTRAINT resource_time_sums_hours_check CHECK (hours IN (1, 6, 24, 168, 672)),
    CONSTRAINT resource_time_sums_widest_check CHECK (widest >= hours),
    CONSTRAINT resource_time_sums_state_check CHECK (state IN ('maintenance', 'breakdown', 'setup', 'idle', 'production'))
);
COMMENT ON TABLE resource_time_sums IS 'Stored rows of resource_time(): machine time by state for each past hour, six hours, UTC day, week and four weeks, read by kept_time_rows(). Written by refresh_resource_time() only; valid where resource_time_states covers the hour and no mark does.';
COMMENT ON COLUMN resource_time_sums.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_time_sums.hours IS 'Length of the buckets in hours: 1, 6, 24 (a UTC day), 168 (a week) or 672 (four weeks).';
COMMENT ON COLUMN resource_time_sums.bucket IS 'Start of the first bucket, aligned in UTC.';
COMMENT ON COLUMN resource_time_sums.state IS 'State of all rows: maintenance, breakdown, setup, idle or production.';
COMMENT ON COLUMN resource_time_sums.ends_at IS 'End of the last bucket: hours of a day with few rows are stored together.';
COMMENT ON COLUMN resource_time_sums.widest IS 'Longest buckets, in hours, that these rows are read for: 24 for hours of a day whose own sums would not be much fewer, and are not stored.';
COMMENT ON COLUMN resource_time_sums.sums IS 'One row for each bucket, machine, location of the event and of the machine, cause, unit, and whether a rated capacity was known.';

-- The same, added up over machines: what KPIs of an organization or a location read, however many machines there are.
DO $$
BEGIN
    IF to_regtype('public.resource_time_total') IS NULL THEN
        CREATE TYPE resource_time_total AS (
            bucket timestamptz,
            location_id uuid,
            stood_location_id uuid,
            state text,
            capacity_unit text,
            is_rated boolean,
            reports_events boolean,
            reports_quantity boolean,
            reports_output boolean,
            failure_count bigint,
            untimed_count bigint,
            untimed_failure_count bigint,
            seconds numeric,
            planned_seconds numeric,
            quantity numeric,
            scrap_quantity numeric,
            inspected_quantity numeric,
            timed_quantity numeric,
            counted_seconds numeric,
            inspected_seconds numeric,
            rated_counted_seconds numeric,
            rated_seconds numeric,
            output_planned_seconds numeric,
            good_planned_seconds numeric
        );
    END IF;
END
$$;
COMMENT ON TYPE resource_time_total IS 'Time and quantities of the machines of a location that report the same, in one state in one bucket.';
COMMENT ON COLUMN resource_time_total.bucket IS 'Start of the bucket that the row adds up, aligned in UTC.';
COMMENT ON COLUMN resource_time_total.location_id IS 'Location of the event.';
COMMENT ON COLUMN resource_time_total.stood_location_id IS 'Location where the machines stood, whose shifts determine their planned time.';
COMMENT ON COLUMN resource_time_total.state IS 'maintenance, breakdown, setup, idle or production.';
COMMENT ON COLUMN resource_time_total.capacity_unit IS 'Unit of the machines'' quantities at the time.';
COMMENT ON COLUMN resource_time_total.is_rated IS 'Whether the machines had a rated capacity at the time.';
COMMENT ON COLUMN resource_time_total.reports_events IS 'Whether these machines are measured at all, as resource_time_reports has it; NULL for events without a machine.';
COMMENT ON COLUMN resource_time_total.reports_quantity IS 'Whether these machines ever recorded a quantity, as resource_time_reports has it.';
COMMENT ON COLUMN resource_time_total.reports_output IS 'Whether these machines ever recorded a quantity with its scrap, as resource_time_reports has it.';
COMMENT ON COLUMN resource_time_total.failure_count IS 'Failures that began in the bucket: breakdowns that overlap or touch are one.';
COMMENT ON COLUMN resource_time_total.untimed_count IS 'Events that began in the bucket and whose duration is unknown.';
COMMENT ON COLUMN resource_time_total.untimed_failure_count IS 'Failures that began in the bucket and whose duration is unknown.';
COMMENT ON COLUMN resource_time_total.seconds IS 'Seconds in this state; a machine is in one state at a time.';
COMMENT ON COLUMN resource_time_total.planned_seconds IS 'Part of seconds that is within shifts of the location where the machine stood in service.';
COMMENT ON COLUMN resource_time_total.quantity IS 'Quantity produced, including scrap, in capacity_unit; NULL if not reported.';
COMMENT ON COLUMN resource_time_total.scrap_quantity IS 'Part of quantity that is scrap; NULL if not reported.';
COMMENT ON COLUMN resource_time_total.inspected_quantity IS 'Quantity of events whose scrap is known.';
COMMENT ON COLUMN resource_time_total.timed_quantity IS 'Quantity of events whose duration is known.';
COMMENT ON COLUMN resource_time_total.counted_seconds IS 'Seconds of production whose quantity is known.';
COMMENT ON COLUMN resource_time_total.inspected_seconds IS 'Seconds of production whose quantity and scrap are known.';
COMMENT ON COLUMN resource_time_total.rated_counted_seconds IS 'Seconds of production whose quantity is known, by a machine with a rated capacity.';
COMMENT ON COLUMN resource_time_total.rated_seconds IS 'Seconds that timed_quantity takes at rated capacity.';
COMMENT ON COLUMN resource_time_total.output_planned_seconds IS 'Seconds of production within shifts whose quantity and scrap are known, by a machine with a rated capacity.';
COMMENT ON COLUMN resource_time_total.good_planned_seconds IS 'Seconds that the good quantity made within shifts takes at rated capacity.';

CREATE TABLE IF NOT EXISTS resource_time_totals (
    organization_id uuid NOT NULL,
    hours integer NOT NULL,
    bucket timestamptz NOT NULL,
    totals resource_time_total[] NOT NULL,
    CONSTRAINT resource_time_totals_pkey PRIMARY KEY (organization_id, hours, bucket),
    CONSTRAINT resource_time_totals_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE,
    CONSTRAINT resource_time_totals_hours_check CHECK (hours IN (6, 24, 168, 672))
);
COMMENT ON TABLE resource_time_totals IS 'Sums of resource_time_sums over the machines of a location that report the same, for each past six hours, UTC day, week and four weeks. Written by refresh_resource_time() only; valid where resource_time_sums is, and as long as the machines report what resource_time_reports says.';
COMMENT ON COLUMN resource_time_totals.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_time_totals.hours IS 'Length of the buckets in hours: 6, 24 (a UTC day), 168 (a week) or 672 (four weeks).';
COMMENT ON COLUMN resource_time_totals.bucket IS 'Start of the bucket, aligned in UTC; six hours are stored by the day.';
COMMENT ON COLUMN resource_time_totals.totals IS 'One row for each bucket, location of the event and of the machines, state, unit, whether a rated capacity was known, and what the machines report.';

CREATE TABLE IF NOT EXISTS resource_time_reports (
    organization_id uuid NOT NULL,
    resource_id uuid NOT NULL,
    event_day timestamptz,
    quantity_day timestamptz,
    output_day timestamptz,
    reports_events boolean NOT NULL,
    reports_quantity boolean NOT NULL,
    reports_output boolean NOT NULL,
    CONSTRAINT resource_time_reports_pkey PRIMARY KEY (organization_id, resource_id),
    CONSTRAINT resource_time_reports_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE
);
COMMENT ON TABLE resource_time_reports IS 'For each machine with stored hours, a stored day that proves what it reports, and what resource_time_totals took it to report. Written by refresh_resource_time() only.';
COMMENT ON COLUMN resource_time_reports.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_time_reports.resource_id IS 'The machine.';
COMMENT ON COLUMN resource_time_reports.event_day IS 'A stored UTC day on which it recorded an event.';
COMMENT ON COLUMN resource_time_reports.quantity_day IS 'A stored UTC day on which it recorded a quantity.';
COMMENT ON COLUMN resource_time_reports.output_day IS 'A stored UTC day on which it recorded a quantity with its scrap.';
COMMENT ON COLUMN resource_time_reports.reports_events IS 'Whether resource_time_totals has it among the machines that record events.';
COMMENT ON COLUMN resource_time_reports.reports_quantity IS 'Whether resource_time_totals has it among the machines that record quantities.';
COMMENT ON COLUMN resource_time_reports.reports_output IS 'Whether resource_time_totals has it among the machines that record quantities with their scrap.';

CREATE TABLE IF NOT EXISTS resource_time_states (
    organization_id uuid NOT NULL,
    kept tstzmultirange NOT NULL DEFAULT '{}',
    frozen_before timestamptz NOT NULL DEFAULT '-infinity',
    refreshed_at timestamptz,
    failed_at timestamptz,
    failure text,
    CONSTRAINT resource_time_states_pkey PRIMARY KEY (organization_id),
    CONSTRAINT resource_time_states_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE
);
COMMENT ON TABLE resource_time_states IS 'Hours for which resource_time_sums is complete. Written by refresh_resource_time() only.';
COMMENT ON COLUMN resource_time_states.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_time_states.kept IS 'Hours that are stored; those with a mark have to be recomputed.';
COMMENT ON COLUMN resource_time_states.frozen_before IS 'Hours before this are not recomputed: retention may have dropped their events.';
COMMENT ON COLUMN resource_time_states.refreshed_at IS 'When all past hours were last stored.';
COMMENT ON COLUMN resource_time_states.failed_at IS 'When a refresh last failed; NULL once one succeeded.';
COMMENT ON COLUMN resource_time_states.failure IS 'Error message of the last failure.';

CREATE TABLE IF NOT EXISTS resource_time_marks (
    organization_id uuid NOT NULL,
    mark_id uuid NOT NULL DEFAULT gen_random_uuid(),
    stale tstzmultirange NOT NULL,
    CONSTRAINT resource_time_marks_pkey PRIMARY KEY (organization_id, mark_id),
    CONSTRAINT resource_time_marks_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE
);
COMMENT ON TABLE resource_time_marks IS 'Hours that changed since they were stored. Written by triggers in the transaction of the change, deleted by refresh_resource_time().';
COMMENT ON COLUMN resource_time_marks.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_time_marks.mark_id IS 'Identifier of the mark.';
COMMENT ON COLUMN resource_time_marks.stale IS 'Whole hours affected by the change.';

CREATE OR REPLACE FUNCTION touched_hours(starts_at timestamptz, ends_at timestamptz)
RETURNS tstzrange
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT tstzrange(
        CASE WHEN isfinite(starts_at) THEN date_bin('1 hour', starts_at, timestamptz '2000-01-03 00:00:00+00') ELSE starts_at END,
        CASE WHEN isfinite(ends_at) THEN date_bin('1 hour', ends_at, timestamptz '2000-01-03 00:00:00+00') + interval '1 hour' ELSE ends_at END
    )
$$;
COMMENT ON FUNCTION touched_hours(timestamptz, timestamptz) IS
    'Whole UTC hours from one instant to another, including that of the end: a breakdown that begins where another one '
    'ends is the same failure.';

-- Events: once per statement and organization. SECURITY DEFINER, because tenants may not write marks.
CREATE OR REPLACE FUNCTION mark_hours(org uuid, hours tstzmultirange)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO public.resource_time_marks (organization_id, stale)
    VALUES (org, hours);
END
$$;
COMMENT ON FUNCTION mark_hours(uuid, tstzmultirange) IS
    'Marks these hours of an organization as stale. A separate statement, because on Citus transition tables are local to '
    'one node and cannot be joined with a table.';
REVOKE ALL ON FUNCTION mark_hours(uuid, tstzmultirange) FROM PUBLIC;

CREATE OR REPLACE FUNCTION mark_events()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO public.resource_time_marks (organization_id, stale)
        SELECT s.organization_id, '{(,)}'
        FROM public.resource_time_states AS s;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM public.mark_hours(h.organization_id, range_agg(public.touched_hours(h.hour, h.ended_at)))
        FROM (
            SELECT
                c.organization_id,
                date_bin('1 hour', c.time, timestamptz '2000-01-03 00:00:00+00') AS hour,
                max(c.time + make_interval(secs => (coalesce(c.duration_minutes, 0) * 60)::double precision)) AS ended_at
            FROM (
                SELECT o.organization_id, o.time, o.duration_minutes FROM earlier_rows AS o
                UNION ALL
                SELECT n.organization_id, n.time, n.duration_minutes FROM changed_rows AS n
            ) AS c
            GROUP BY 1, 2
        ) AS h
        GROUP BY h.organization_id;
    ELSE
        PERFORM public.mark_hours(h.organization_id, range_agg(public.touched_hours(h.hour, h.ended_at)))
        FROM (
            SELECT
                c.organization_id,
                date_bin('1 hour', c.time, timestamptz '2000-01-03 00:00:00+00') AS hour,
                max(c.time + make_interval(secs => (coalesce(c.duration_minutes, 0) * 60)::double precision)) AS ended_at
            FROM changed_rows AS c
            GROUP BY 1, 2
        ) AS h
        GROUP BY h.organization_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_events() IS 'Trigger: marks the hours of inserted or updated events, once per statement and organization.';
REVOKE ALL ON FUNCTION mark_events() FROM PUBLIC;

-- Row by row, because TimescaleDB has no DELETE statement triggers with transition tables. Rows of one day leave one mark
-- per transaction, whose mark_id encodes the transaction and the day. (A setting used as a marker could be set by anyone,
-- and then no mark would be left.)
CREATE OR REPLACE FUNCTION mark_deleted_event()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    first_day CONSTANT timestamptz := date_bin('24 hours', OLD.time, timestamptz '2000-01-03 00:00:00+00');
BEGIN
    INSERT INTO public.resource_time_marks (organization_id, mark_id, stale)
    VALUES (
        OLD.organization_id,
        (
            lpad(to_hex(pg_current_xact_id()::text::bigint), 16, '0')
            || lpad(to_hex(extract(epoch FROM first_day)::bigint), 16, '0')
        )::uuid,
        -- Events last at most a day.
        tstzmultirange(tstzrange(first_day, first_day + interval '49 hours'))
    )
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_deleted_event() IS 'Trigger: marks the hours of a deleted event.';
REVOKE ALL ON FUNCTION mark_deleted_event() FROM PUBLIC;

CREATE OR REPLACE TRIGGER operational_events_mark_inserted
    AFTER INSERT ON operational_events
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mark_events();
CREATE OR REPLACE TRIGGER operational_events_mark_updated
    AFTER UPDATE ON operational_events
    REFERENCING OLD TABLE AS earlier_rows NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mark_events();
CREATE OR REPLACE TRIGGER operational_events_mark_deleted
    AFTER DELETE ON operational_events
    FOR EACH ROW EXECUTE FUNCTION mark_deleted_event();
CREATE OR REPLACE TRIGGER operational_events_mark_truncated
    AFTER TRUNCATE ON operational_events
    FOR EACH STATEMENT EXECUTE FUNCTION mark_events();

-- Shifts and machine history: mark the period in which the row's values changed.
CREATE OR REPLACE FUNCTION mark_settings()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    starts CONSTANT text := TG_ARGV[0];
    ends CONSTANT text := TG_ARGV[1];
    earlier CONSTANT jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'recorded_at' - 'updated_at' END;
    changed CONSTANT jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'recorded_at' - 'updated_at' END;
    hours tstzmultirange := '{}';
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO public.resource_time_marks (organization_id, stale)
        SELECT s.organization_id, '{(,)}'
        FROM public.resource_time_states AS s;
        RETURN NULL;
    END IF;
    IF earlier = changed THEN
        RETURN NULL;
    END IF;
    IF earlier IS NOT NULL THEN
        hours := hours + tstzmultirange(public.touched_hours((earlier ->> starts)::timestamptz, (earlier ->> ends)::timestamptz));
    END IF;
    IF changed IS NOT NULL THEN
        hours := hours + tstzmultirange(public.touched_hours((changed ->> starts)::timestamptz, (changed ->> ends)::timestamptz));
    END IF;
    -- If only the start or end moved, just the time in between.
    IF earlier - starts - ends = changed - starts - ends THEN
        hours := hours - (
            tstzmultirange(tstzrange((earlier ->> starts)::timestamptz, (earlier ->> ends)::timestamptz))
            * tstzmultirange(tstzrange((changed ->> starts)::timestamptz, (changed ->> ends)::timestamptz))
        );
        hours := coalesce(
            (SELECT range_agg(public.touched_hours(coalesce(lower(r), '-infinity'), coalesce(upper(r), 'infinity'))) FROM unnest(hours) AS r),
            '{}'
        );
    END IF;
    INSERT INTO public.resource_time_marks (organization_id, stale)
    VALUES (((coalesce(changed, earlier)) ->> 'organization_id')::uuid, hours);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_settings() IS 'Trigger(start column, end column): marks the hours in which a shift or a version of a machine has changed.';
REVOKE ALL ON FUNCTION mark_settings() FROM PUBLIC;

CREATE OR REPLACE TRIGGER shifts_mark_changed
    AFTER INSERT OR UPDATE OR DELETE ON shifts
    FOR EACH ROW EXECUTE FUNCTION mark_settings('starts_at', 'ends_at');
CREATE OR REPLACE TRIGGER shifts_mark_truncated
    AFTER TRUNCATE ON shifts
    FOR EACH STATEMENT EXECUTE FUNCTION mark_settings('starts_at', 'ends_at');
CREATE OR REPLACE TRIGGER resource_history_mark_changed
    AFTER INSERT OR UPDATE OR DELETE ON resource_history
    FOR EACH ROW EXECUTE FUNCTION mark_settings('valid_from', 'valid_to');
CREATE OR REPLACE TRIGGER resource_history_mark_truncated
    AFTER TRUNCATE ON resource_history
    FOR EACH STATEMENT EXECUTE FUNCTION mark_settings('valid_from', 'valid_to');

CREATE OR REPLACE FUNCTION kept_resource_time(org uuid)
RETURNS tstzmultirange
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT s.kept - coalesce(
                (SELECT range_agg(m.stale) FROM resource_time_marks AS m WHERE m.organization_id = org)
                    * tstzmultirange(tstzrange(s.frozen_before, NULL)),
                '{}'
            )
            FROM resource_time_states AS s
            WHERE s.organization_id = org
        ),
        '{}'
    );
END
$$;
COMMENT ON FUNCTION kept_resource_time(uuid) IS 'Hours for which the organization''s resource_time_sums is current: stored, and not marked.';

CREATE FUNCTION kept_time_reads(
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[],
    usable tstzmultirange       -- kept_resource_time()
)
RETURNS TABLE (
    part integer,
    location_id uuid,
    hours integer,
    starts_at timestamptz,
    ends_at timestamptz
)
LANGUAGE plpgsql
STABLE
-- Planned once per session, because planning takes longer than the aggregation.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-03 00:00:00+00';
BEGIN
    IF isempty(usable) THEN
        RETURN;
    END IF;

    -- Whole periods of four weeks first, then weeks, UTC days, six hours, and single hours. Each width is a multiple of the next, and
    -- all share one origin: the remainder around the buckets of one width starts and ends at bucket edges of the next narrower one.
    RETURN QUERY
    SELECT
        p.part,
        p.location_id,
        b.hours,
        b.starts_at,
        b.ends_at
    FROM unnest(part_numbers, part_starts, part_ends, part_locations) AS p (part, starts_at, ends_at, location_id)
    CROSS JOIN LATERAL (
        SELECT
            date_bin('1 hour', p.starts_at + interval '1 hour' - interval '1 microsecond', origin) AS first_hour,
            date_bin('1 hour', least(p.ends_at, now()), origin) AS end_hour
        OFFSET 0
    ) AS whole
    CROSS JOIN LATERAL unnest(
        tstzmultirange(tstzrange(whole.first_hour, greatest(whole.first_hour, whole.end_hour))) * usable
    ) AS r
    CROSS JOIN LATERAL (
        SELECT
            lower(r) AS h1,
            upper(r) AS e1,
            date_bin('6 hours', lower(r) + interval '6 hours' - interval '1 microsecond', origin) AS h6,
            date_bin('6 hours', upper(r), origin) AS e6,
            date_bin('24 hours', lower(r) + interval '24 hours' - interval '1 microsecond', origin) AS h24,
            date_bin('24 hours', upper(r), origin) AS e24,
            date_bin('168 hours', lower(r) + interval '168 hours' - interval '1 microsecond', origin) AS h168,
            date_bin('168 hours', upper(r), origin) AS e168,
            date_bin('672 hours', lower(r) + interval '672 hours' - interval '1 microsecond', origin) AS h672,
            date_bin('672 hours', upper(r), origin) AS e672
        OFFSET 0
    ) AS w
    -- Not VALUES, whose expressions are prepared anew for each row of w.
    CROSS JOIN LATERAL (
        SELECT
            unnest(ARRAY[672, 168, 168, 24, 24, 6, 6, 1, 1]) AS hours,
            unnest(ARRAY[
                w.h672,
                w.h168, CASE WHEN w.h672 < w.e672 THEN w.e672 END,
                w.h24, CASE WHEN w.h168 < w.e168 THEN w.e168 END,
                w.h6, CASE WHEN w.h24 < w.e24 THEN w.e24 END,
                w.h1, CASE WHEN w.h6 < w.e6 THEN w.e6 END
            ]) AS starts_at,
            unnest(ARRAY[
                w.e672,
                CASE WHEN w.h672 < w.e672 THEN w.h672 ELSE w.e168 END, w.e168,
                CASE WHEN w.h168 < w.e168 THEN w.h168 ELSE w.e24 END, w.e24,
                CASE WHEN w.h24 < w.e24 THEN w.h24 ELSE w.e6 END, w.e6,
                CASE WHEN w.h6 < w.e6 THEN w.h6 ELSE w.e1 END, w.e1
            ]) AS ends_at
    ) AS b
    WHERE b.starts_at < b.ends_at;
END
$$;
COMMENT ON FUNCTION kept_time_reads(integer[], timestamptz[], timestamptz[], uuid[], tstzmultirange) IS
    'Rows of resource_time_sums to read for the stored hours of each part of the query: bucket length, start and end. '
    'resource_time_rest() computes the remainder.';

CREATE FUNCTION kept_time_rows(org uuid, width integer, first_bucket timestamptz, end_bucket timestamptz)
RETURNS SETOF resource_time_sum
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT k.*
    FROM resource_time_sums AS s
    CROSS JOIN LATERAL unnest(s.sums) AS k
    WHERE s.organization_id = org
        AND s.hours = ANY (CASE WHEN width IN (6, 24) THEN ARRAY[1, width] ELSE ARRAY[width] END)
        -- Hours are stored together by the day at most.
        AND s.bucket > first_bucket - interval '24 hours'
        AND s.bucket < end_bucket
        AND s.ends_at > first_bucket
        AND s.widest >= width
        AND k.bucket >= first_bucket
        AND k.bucket < end_bucket;
END
$$;
COMMENT ON FUNCTION kept_time_rows(uuid, integer, timestamptz, timestamptz) IS
    'Stored rows that add up to these buckets, which are aligned and as many hours wide as width: those of the buckets themselves or, on days '
    'with few rows, of their hours.';

CREATE FUNCTION resource_time_rest(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[],
    usable tstzmultirange,      -- kept_resource_time()
    only_states text[]
)
RETURNS SETOF resource_time_row
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-03 00:00:00+00';
    piece record;
BEGIN
    -- Merge periods that are close together.
    FOR piece IN
        WITH rest AS (
            SELECT
                p.part,
                p.location_id,
                lower(r) AS starts_at,
                upper(r) AS ends_at
            FROM unnest(part_numbers, part_starts, part_ends, part_locations) AS p (part, starts_at, ends_at, location_id)
            CROSS JOIN LATERAL (
                SELECT
                    tstzrange(p.starts_at, least(p.ends_at, now())) AS span,
                    date_bin('1 hour', p.starts_at + interval '1 hour' - interval '1 microsecond', origin) AS first_hour,
                    date_bin('1 hour', least(p.ends_at, now()), origin) AS end_hour
                OFFSET 0
            ) AS whole
            CROSS JOIN LATERAL unnest(
                tstzmultirange(whole.span)
                - usable * tstzmultirange(tstzrange(whole.first_hour, greatest(whole.first_hour, whole.end_hour)))
            ) AS r
            WHERE p.starts_at < least(p.ends_at, now())
                -- Most parts are whole hours that are all stored.
                AND NOT (usable @> whole.span AND whole.span = tstzrange(whole.first_hour, greatest(whole.first_hour, whole.end_hour)))
        ),
        numbered AS (
            SELECT
                r.*,
                count(*) FILTER (WHERE r.is_apart) OVER (ORDER BY r.starts_at, r.part) AS place
            FROM (
                SELECT
                    r.*,
                    r.starts_at > max(r.ends_at) OVER (ORDER BY r.starts_at, r.part ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                        + interval '12 hours' AS is_apart
                FROM rest AS r
            ) AS r
        )
        SELECT
            array_agg(n.part ORDER BY n.starts_at, n.part) AS parts,
            array_agg(n.starts_at ORDER BY n.starts_at, n.part) AS starts,
            array_agg(n.ends_at ORDER BY n.starts_at, n.part) AS ends,
            array_agg(n.location_id ORDER BY n.starts_at, n.part) AS places
        FROM numbered AS n
        GROUP BY n.place
    LOOP
        RETURN QUERY
        SELECT t.*
        FROM resource_time_raw(org, piece.parts, piece.starts, piece.ends, piece.places, interval '24 hours') AS t
        WHERE only_states IS NULL OR t.state = ANY (only_states);
    END LOOP;
END
$$;
COMMENT ON FUNCTION resource_time_rest(uuid, integer[], timestamptz[], timestamptz[], uuid[], tstzmultirange, text[]) IS
    'Rows of resource_time() for hours that are not stored, and for the edges of the parts, computed from the events.';

CREATE FUNCTION shift_seconds(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[]
)
RETURNS TABLE (
    part integer,
    location_id uuid,
    valid_from timestamptz,
    valid_to timestamptz,
    seconds numeric
)
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    first_instant CONSTANT timestamptz := (SELECT min(s) FROM unnest(part_starts) AS s);
    end_instant CONSTANT timestamptz := least((SELECT max(e) FROM unnest(part_ends) AS e), now());
BEGIN
    RETURN QUERY
    WITH shift_time AS (
        SELECT
            t.location_id,
            array_agg(t.starts_at ORDER BY t.starts_at) AS starts,
            array_agg(t.ends_at ORDER BY t.starts_at) AS ends,
            array_agg(t.microseconds_before ORDER BY t.starts_at) AS microseconds_before
        FROM (
            SELECT
                m.location_id,
                lower(r) AS starts_at,
                upper(r) AS ends_at,
                coalesce(
                    sum((1000000 * extract(epoch FROM upper(r) - lower(r)))::bigint) OVER (
                        PARTITION BY m.location_id ORDER BY lower(r) ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ),
                    0
                )::bigint AS microseconds_before
            FROM (
                SELECT
                    s.location_id,
                    range_agg(tstzrange(s.starts_at, s.ends_at)) AS ranges
                FROM shifts AS s
                WHERE s.organization_id = org
                    -- Shifts last at most a day, which has one more hour where clocks are set back.
                    AND s.starts_at > first_instant - interval '25 hours'
                    AND s.starts_at < end_instant
                GROUP BY s.location_id
            ) AS m
            CROSS JOIN LATERAL unnest(m.ranges) AS r
        ) AS t
        GROUP BY t.location_id
    )
    SELECT
        p.part,
        h.location_id,
        h.valid_from,
        h.valid_to,
        sum(
            CASE e.sign WHEN 1 THEN 1 ELSE -1 END * CASE
                WHEN e.place = 0 THEN 0
                ELSE t.microseconds_before[e.place]
                    + (1000000 * extract(epoch FROM least(e.instant, t.ends[e.place]) - t.starts[e.place]))::bigint
            END
        ) / 1000000 AS seconds
    FROM (
        SELECT DISTINCT
            h.location_id,
            h.valid_from,
            h.valid_to
        FROM resource_history AS h
        WHERE h.organization_id = org
            AND h.is_in_service
            AND h.valid_from < end_instant
            AND h.valid_to > first_instant
    ) AS h
    JOIN shift_time AS t ON t.location_id = h.location_id
    JOIN unnest(part_numbers, part_starts, part_ends, part_locations) AS p (part, starts_at, ends_at, location_id)
        ON p.starts_at < least(p.ends_at, h.valid_to, end_instant)
        AND p.ends_at > h.valid_from
        AND (p.location_id IS NULL OR p.location_id = h.location_id)
    CROSS JOIN LATERAL (
        SELECT i.sign, i.instant, width_bucket(i.instant, t.starts) AS place
        FROM (
            VALUES (-1, greatest(p.starts_at, h.valid_from)), (1, least(p.ends_at, h.valid_to, end_instant))
        ) AS i (sign, instant)
    ) AS e
    GROUP BY p.part, h.location_id, h.valid_from, h.valid_to;
END
$$;
COMMENT ON FUNCTION shift_seconds(uuid, integer[], timestamptz[], timestamptz[], uuid[]) IS
    'Seconds of shifts, overlapping ones counted once, in each part of the query, at each location and in each period for which '
    'a version of a machine in service is valid there: machines that stood at one location over the same period share them.';

CREATE FUNCTION resource_time(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[] DEFAULT NULL,
    only_states text[] DEFAULT NULL
)
RETURNS SETOF resource_time_row
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    usable CONSTANT tstzmultirange := kept_resource_time(org);
BEGIN
    RETURN QUERY
    SELECT
        p.part,
        h.resource_id,
        h.location_id,
        h.location_id,
        'planned',
        NULL,
        h.capacity_unit COLLATE "C",
        h.rated_capacity_per_hour IS NOT NULL,
        0::bigint,
        0::bigint,
        0::bigint,
        0::bigint,
        p.seconds,
        p.seconds,
        NULL::numeric,
        0::bigint,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric,
        NULL::numeric
    FROM shift_seconds(org, part_numbers, part_starts, part_ends, part_locations) AS p
    JOIN resource_history AS h
        ON h.organization_id = org
        AND h.is_in_service
        AND h.location_id = p.location_id
        AND h.valid_from = p.valid_from
        AND h.valid_to = p.valid_to
    WHERE p.seconds > 0
        AND (only_states IS NULL OR 'planned' = ANY (only_states))
    UNION ALL
    SELECT
        r.part,
        k.resource_id,
        k.location_id,
        k.stood_location_id,
        k.state,
        k.cause,
        k.capacity_unit,
        k.is_rated,
        sum(k.event_count)::bigint,
        sum(k.failure_count)::bigint,
        sum(k.untimed_count)::bigint,
        sum(k.untimed_failure_count)::bigint,
        sum(k.seconds),
        sum(k.planned_seconds),
        sum(k.quality_score_sum),
        sum(k.quality_score_count)::bigint,
        sum(k.quantity),
        sum(k.scrap_quantity),
        sum(k.inspected_quantity),
        sum(k.timed_quantity),
        sum(k.counted_seconds),
        sum(k.inspected_seconds),
        sum(k.rated_counted_seconds),
        sum(k.rated_seconds),
        sum(k.output_planned_seconds),
        sum(k.good_planned_seconds)
    FROM kept_time_reads(part_numbers, part_starts, part_ends, part_locations, usable) AS r
    CROSS JOIN LATERAL (
        SELECT
            k.resource_id,
            k.location_id,
            k.stood_location_id,
            -- Text is compared bytewise: sorting by a language collation takes longer than the aggregation.
            k.state COLLATE "C" AS state,
            k.cause COLLATE "C" AS cause,
            k.capacity_unit COLLATE "C" AS capacity_unit,
            k.is_rated,
            k.event_count,
            k.failure_count,
            k.untimed_count,
            k.untimed_failure_count,
            k.seconds,
            k.planned_seconds,
            k.quality_score_sum,
            k.quality_score_count,
            k.quantity,
            k.scrap_quantity,
            k.inspected_quantity,
            k.timed_quantity,
            k.counted_seconds,
            k.inspected_seconds,
            k.rated_counted_seconds,
            k.rated_seconds,
            k.output_planned_seconds,
            k.good_planned_seconds
        -- As in kept_time_rows(), which takes longer to call.
        FROM resource_time_sums AS s
        CROSS JOIN LATERAL unnest(s.sums) AS k
        WHERE s.organization_id = org
            AND s.hours = ANY (CASE WHEN r.hours IN (6, 24) THEN ARRAY[1, r.hours] ELSE ARRAY[r.hours] END)
            AND s.bucket > r.starts_at - interval '24 hours'
            AND s.bucket < r.ends_at
            AND s.ends_at > r.starts_at
            AND s.widest >= r.hours
            AND (only_states IS NULL OR s.state = ANY (only_states))
            AND k.bucket >= r.starts_at
            AND k.bucket < r.ends_at
        OFFSET 0
    ) AS k
    WHERE (r.location_id IS NULL OR r.location_id = coalesce(k.stood_location_id, k.location_id))
    GROUP BY r.part, k.resource_id, k.location_id, k.stood_location_id, k.state, k.cause, k.capacity_unit, k.is_rated;

    RETURN QUERY
    SELECT r.*
    FROM resource_time_rest(org, part_numbers, part_starts, part_ends, part_locations, usable, only_states) AS r;
END
$$;
COMMENT ON FUNCTION resource_time(uuid, integer[], timestamptz[], timestamptz[], uuid[], text[]) IS
    'Machine time by state in each part of the query (half-open periods; part_locations: only machines that stood there; '
    'only_states: only these states). Returns rows to be added up, by part, machine, location of the event, location where '
    'the machine stood, state and cause, unit, and whether a rated capacity was known; columns as in resource_time_sums. '
    'Rows of state planned hold the shift time itself, before planned maintenance is subtracted. Rows without resource_id: '
    'events without a machine, as recorded. Stored hours are read and all others computed, in one snapshot.';

CREATE FUNCTION resource_time_added(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[],
    usable tstzmultirange       -- kept_resource_time()
)
RETURNS TABLE (
    part integer,
    resource_id uuid,
    is_machine boolean,
    reports_events boolean,
    reports_quantity boolean,
    reports_output boolean,
    location_id uuid,
    stood_location_id uuid,
    state text,
    capacity_unit text,
    is_rated boolean,
    failure_count bigint,
    untimed_count bigint,
    untimed_failure_count bigint,
    seconds numeric,
    planned_seconds numeric,
    quantity numeric,
    scrap_quantity numeric,
    inspected_quantity numeric,
    timed_quantity numeric,
    counted_seconds numeric,
    inspected_seconds numeric,
    rated_counted_seconds numeric,
    rated_seconds numeric,
    output_planned_seconds numeric,
    good_planned_seconds numeric
)
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        r.part,
        NULL::uuid,
        k.reports_events IS NOT NULL,
        k.reports_events,
        k.reports_quantity,
        k.reports_output,
        k.location_id,
        k.stood_location_id,
        k.state,
        k.capacity_unit,
        k.is_rated,
        k.failure_count,
        k.untimed_count,
        k.untimed_failure_count,
        k.seconds,
        k.planned_seconds,
        k.quantity,
        k.scrap_quantity,
        k.inspected_quantity,
        k.timed_quantity,
        k.counted_seconds,
        k.inspected_seconds,
        k.rated_counted_seconds,
        k.rated_seconds,
        k.output_planned_seconds,
        k.good_planned_seconds
    FROM kept_time_reads(part_numbers, part_starts, part_ends, part_locations, usable) AS r
    CROSS JOIN LATERAL (
        SELECT e.*
        FROM resource_time_totals AS k
        CROSS JOIN LATERAL unnest(k.totals) AS e
        WHERE k.organization_id = org
            AND k.hours = r.hours
            AND k.bucket > r.starts_at - interval '24 hours'
            AND k.bucket < r.ends_at
            AND e.bucket >= r.starts_at
            AND e.bucket < r.ends_at
        OFFSET 0
    ) AS k
    WHERE r.hours > 1
        AND (r.location_id IS NULL OR r.location_id = coalesce(k.stood_location_id, k.location_id));

    -- Single hours at the edges of a part are not added up.
    RETURN QUERY
    SELECT
        r.part,
        k.resource_id,
        k.resource_id IS NOT NULL,
        NULL::boolean,
        NULL::boolean,
        NULL::boolean,
        k.location_id,
        k.stood_location_id,
        k.state,
        k.capacity_unit,
        k.is_rated,
        k.failure_count,
        k.untimed_count,
        k.untimed_failure_count,
        k.seconds,
        k.planned_seconds,
        k.quantity,
        k.scrap_quantity,
        k.inspected_quantity,
        k.timed_quantity,
        k.counted_seconds,
        k.inspected_seconds,
        k.rated_counted_seconds,
        k.rated_seconds,
        k.output_planned_seconds,
        k.good_planned_seconds
    FROM kept_time_reads(part_numbers, part_starts, part_ends, part_locations, usable) AS r
    CROSS JOIN LATERAL (
        SELECT
            k.resource_id,
            k.location_id,
            k.stood_location_id,
            k.state,
            k.capacity_unit,
            k.is_rated,
            k.failure_count,
            k.untimed_count,
            k.untimed_failure_count,
            k.seconds,
            k.planned_seconds,
            k.quantity,
            k.scrap_quantity,
            k.inspected_quantity,
            k.timed_quantity,
            k.counted_seconds,
            k.inspected_seconds,
            k.rated_counted_seconds,
            k.rated_seconds,
            k.output_planned_seconds,
            k.good_planned_seconds
        FROM resource_time_sums AS s
        CROSS JOIN LATERAL unnest(s.sums) AS k
        WHERE s.organization_id = org
            AND s.hours = 1
            AND s.bucket > r.starts_at - interval '24 hours'
            AND s.bucket < r.ends_at
            AND s.ends_at > r.starts_at
            AND k.bucket >= r.starts_at
            AND k.bucket < r.ends_at
        OFFSET 0
    ) AS k
    WHERE r.hours = 1
        AND (r.location_id IS NULL OR r.location_id = coalesce(k.stood_location_id, k.location_id));
END
$$;
COMMENT ON FUNCTION resource_time_added(uuid, integer[], timestamptz[], timestamptz[], uuid[], tstzmultirange) IS
    'Stored hours of each part of the query, added up over machines, and per machine where only single hours are in the part. '
    'resource_time_rest() computes the remainder; planned time is not included.';

CREATE FUNCTION resource_reporting(org uuid, reported uuid[] DEFAULT '{}', counted uuid[] DEFAULT '{}', inspected uuid[] DEFAULT '{}')
RETURNS TABLE (
    resource_id uuid,
    reports_events boolean,
    reports_quantity boolean,
    reports_output boolean
)
LANGUAGE plpgsql
STABLE
-- Planned once per session; chunks outside a period are excluded at startup. Arrays are tested with IN, which hashes them:
-- with thousands of machines ANY takes longer than everything else.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-03 00:00:00+00';
    unclear uuid[];
    outdated uuid[];
    whole_days tstzmultirange;
    stretch record;
BEGIN
    SELECT coalesce(range_agg(tstzrange(d.first_day, d.last_day)), '{}')
    INTO whole_days
    FROM (
        SELECT
            date_bin('24 hours', lower(r) + interval '24 hours' - interval '1 microsecond', origin) AS first_day,
            date_bin('24 hours', upper(r), origin) AS last_day
        FROM unnest(kept_resource_time(org)) AS r
    ) AS d
    WHERE d.first_day < d.last_day;

    -- Stored days that prove it, of which each machine has its own. A machine without such a day is in no stored day.
    SELECT
        reported || coalesce(array_agg(k.resource_id) FILTER (WHERE whole_days @> k.event_day), '{}'),
        counted || coalesce(array_agg(k.resource_id) FILTER (WHERE whole_days @> k.quantity_day), '{}'),
        inspected || coalesce(array_agg(k.resource_id) FILTER (WHERE whole_days @> k.output_day), '{}'),
        array_agg(k.resource_id) FILTER (
            WHERE NOT whole_days @> k.event_day OR NOT whole_days @> k.quantity_day OR NOT whole_days @> k.output_day
        )
    INTO reported, counted, inspected, outdated
    FROM resource_time_reports AS k
    WHERE k.organization_id = org;

    SELECT array_agg(r.resource_id)
    INTO unclear
    FROM resources AS r
    WHERE r.organization_id = org
        AND NOT (r.resource_id IN (SELECT unnest(reported)) AND r.resource_id IN (SELECT unnest(counted)) AND r.resource_id IN (SELECT unnest(inspected)));

    IF unclear IS NOT NULL THEN
        -- The events of all other times, newest first.
        FOR stretch IN
            SELECT
                coalesce(lower(r), '-infinity') AS starts_at,
                upper(r) AS ends_at
            -- Rows dated in the future do not count as reported.
            FROM unnest(tstzmultirange(tstzrange(NULL, now())) - whole_days) AS r
            ORDER BY r DESC
        LOOP
            SELECT array_agg(u.resource_id)
            INTO unclear
            FROM unnest(unclear) AS u (resource_id)
            WHERE NOT (u.resource_id IN (SELECT unnest(reported)) AND u.resource_id IN (SELECT unnest(counted)) AND u.resource_id IN (SELECT unnest(inspected)));
            EXIT WHEN unclear IS NULL;

            -- The concatenation keeps the index of types out: without statistics, as after a load, it is chosen, and all of the
            -- organization's production is read for each machine.
            SELECT
                reported || coalesce(array_agg(f.resource_id) FILTER (WHERE f.has_events), '{}'),
                counted || coalesce(array_agg(f.resource_id) FILTER (WHERE f.has_quantity), '{}'),
                inspected || coalesce(array_agg(f.resource_id) FILTER (WHERE f.has_output), '{}')
            INTO reported, counted, inspected
            FROM (
                SELECT
                    u.resource_id,
                    u.resource_id NOT IN (SELECT unnest(reported)) AND EXISTS (
                        SELECT
                        FROM operational_events AS e
                        WHERE e.organization_id = org
                            AND e.resource_id = u.resource_id
                            AND e.event_type IN ('maintenance', 'breakdown', 'setup', 'idle', 'production')
                            AND e.time >= stretch.starts_at
                            AND e.time < stretch.ends_at
                        OFFSET 0
                    ) AS has_events,
                    u.resource_id NOT IN (SELECT unnest(counted)) AND EXISTS (
                        SELECT
                        FROM operational_events AS e
                        WHERE e.organization_id = org
                            AND e.resource_id = u.resource_id
                            AND e.event_type || '' = 'production'
                            AND e.quantity IS NOT NULL
                            AND e.time >= stretch.starts_at
                            AND e.time < stretch.ends_at
                        OFFSET 0
                    ) AS has_quantity,
                    u.resource_id NOT IN (SELECT unnest(inspected)) AND EXISTS (
                        SELECT
                        FROM operational_events AS e
                        WHERE e.organization_id = org
                            AND e.resource_id = u.resource_id
                            AND e.event_type || '' = 'production'
                            AND e.quantity IS NOT NULL
                            AND e.scrap_quantity IS NOT NULL
                            AND e.time >= stretch.starts_at
                            AND e.time < stretch.ends_at
                        OFFSET 0
                    ) AS has_output
                FROM unnest(unclear) AS u (resource_id)
            ) AS f;
        END LOOP;

        -- Where the day that proved it has changed since, another stored day may.
        SELECT array_agg(u.resource_id)
        INTO unclear
        FROM unnest(outdated) AS u (resource_id)
        WHERE NOT (u.resource_id IN (SELECT unnest(reported)) AND u.resource_id IN (SELECT unnest(counted)) AND u.resource_id IN (SELECT unnest(inspected)));
        FOR stretch IN
            SELECT
                r.hours,
                b AS starts_at,
                b + make_interval(hours => r.hours) AS ends_at
            FROM kept_time_reads(ARRAY[1], ARRAY[lower(whole_days)], ARRAY[upper(whole_days)], ARRAY[NULL::uuid], whole_days) AS r
            CROSS JOIN LATERAL generate_series(r.starts_at, r.ends_at - interval '1 microsecond', make_interval(hours => r.hours)) AS b
            WHERE unclear IS NOT NULL
            ORDER BY b DESC
        LOOP
            SELECT
                reported || coalesce(array_agg(k.resource_id), '{}'),
                counted || coalesce(array_agg(k.resource_id) FILTER (WHERE k.has_quantity), '{}'),
                inspected || coalesce(array_agg(k.resource_id) FILTER (WHERE k.has_output), '{}')
            INTO reported, counted, inspected
            FROM (
                SELECT
                    k.resource_id,
                    count(k.quantity) FILTER (WHERE k.state = 'production') > 0 AS has_quantity,
                    count(k.inspected_quantity) FILTER (WHERE k.state = 'production') > 0 AS has_output
                FROM kept_time_rows(org, stretch.hours, stretch.starts_at, stretch.ends_at) AS k
                WHERE k.resource_id IN (SELECT unnest(unclear))
                GROUP BY k.resource_id
            ) AS k;
            SELECT array_agg(u.resource_id)
            INTO unclear
            FROM unnest(unclear) AS u (resource_id)
            WHERE NOT (u.resource_id IN (SELECT unnest(reported)) AND u.resource_id IN (SELECT unnest(counted)) AND u.resource_id IN (SELECT unnest(inspected)));
            EXIT WHEN unclear IS NULL;
        END LOOP;
    END IF;

    RETURN QUERY
    SELECT
        r.resource_id,
        r.resource_id IN (SELECT unnest(reported)),
        r.resource_id IN (SELECT unnest(counted)),
        r.resource_id IN (SELECT unnest(inspected))
    FROM resources AS r
    WHERE r.organization_id = org;
END
$$;
COMMENT ON FUNCTION resource_reporting(uuid, uuid[], uuid[], uuid[]) IS
    'Whether each machine can be measured: whether it ever recorded an event, a quantity, and a quantity with its scrap. '
    '(A machine that was idle for the whole period keeps its planned time; one that never reports is excluded, which '
    'coverage shows.) The arrays list machines for which this is already known.';

CREATE FUNCTION resource_time_report_changes(
    org uuid,
    machines uuid[],            -- with the columns of resource_reporting()
    reported boolean[],
    counted boolean[],
    inspected boolean[]
)
RETURNS TABLE (
    resource_id uuid,
    reports_events boolean,
    reports_quantity boolean,
    reports_output boolean
)
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        k.resource_id,
        coalesce(r.reports_events, false),
        coalesce(r.reports_quantity, false),
        coalesce(r.reports_output, false)
    FROM resource_time_reports AS k
    LEFT JOIN unnest(machines, reported, counted, inspected) AS r (resource_id, reports_events, reports_quantity, reports_output)
        ON r.resource_id = k.resource_id
    WHERE k.organization_id = org
        AND (
            k.reports_events <> coalesce(r.reports_events, false)
            OR k.reports_quantity <> coalesce(r.reports_quantity, false)
            OR k.reports_output <> coalesce(r.reports_output, false)
        );
END
$$;
COMMENT ON FUNCTION resource_time_report_changes(uuid, uuid[], boolean[], boolean[], boolean[]) IS
    'Machines that report more, or less, than resource_time_totals has it. While there are any, totals are not read.';

CREATE OR REPLACE FUNCTION keep_resource_time_totals(org uuid, days timestamptz[])
RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-03 00:00:00+00';
    touched timestamptz[];
    first_bucket timestamptz;
    last_bucket timestamptz;
    width integer;
    machines uuid[];
    reported boolean[];
    counted boolean[];
    inspected boolean[];
BEGIN
    SELECT array_agg(r.resource_id), array_agg(r.reports_events), array_agg(r.reports_quantity), array_agg(r.reports_output)
    INTO machines, reported, counted, inspected
    FROM resource_time_reports AS r
    WHERE r.organization_id = org;
    FOREACH width IN ARRAY ARRAY[6, 24, 168, 672] LOOP
        SELECT array_agg(DISTINCT d.bucket), min(d.bucket), max(d.bucket)
        INTO touched, first_bucket, last_bucket
        FROM unnest(days) AS u (day)
        CROSS JOIN LATERAL generate_series(u.day, u.day + interval '18 hours', interval '6 hours') AS h
        CROSS JOIN LATERAL (SELECT date_bin(make_interval(hours => width), h, origin) AS bucket) AS d;
        -- Six hours by the day, of which all four are touched.
        DELETE FROM resource_time_totals AS d
        WHERE d.organization_id = org
            AND d.hours = width
            AND d.bucket >= first_bucket
            AND d.bucket <= last_bucket
            AND d.bucket = ANY (touched);
        INSERT INTO resource_time_totals (organization_id, hours, bucket, totals)
        SELECT
            org,
            width,
            p.bucket,
            array_agg(ROW(t.*)::resource_time_total ORDER BY t.location_id, t.stood_location_id, t.state, t.bucket)
        FROM (
            SELECT
                d.bucket,
                h.location_id,
                h.stood_location_id,
                h.state,
                h.capacity_unit,
                h.is_rated,
                r.reports_events,
                r.reports_quantity,
                r.reports_output,
                sum(h.failure_count)::bigint,
                sum(h.untimed_count)::bigint,
                sum(h.untimed_failure_count)::bigint,
                sum(h.seconds),
                sum(h.planned_seconds),
                sum(h.quantity),
                sum(h.scrap_quantity),
                sum(h.inspected_quantity),
                sum(h.timed_quantity),
                sum(h.counted_seconds),
                sum(h.inspected_seconds),
                sum(h.rated_counted_seconds),
                sum(h.rated_seconds),
                sum(h.output_planned_seconds),
                sum(h.good_planned_seconds)
            FROM kept_time_rows(org, width, first_bucket, last_bucket + make_interval(hours => width)) AS h
            CROSS JOIN LATERAL (SELECT date_bin(make_interval(hours => width), h.bucket, origin) AS bucket) AS d
            LEFT JOIN unnest(machines, reported, counted, inspected) AS r (resource_id, reports_events, reports_quantity, reports_output)
                ON r.resource_id = h.resource_id
            WHERE d.bucket = ANY (touched)
            GROUP BY d.bucket, h.location_id, h.stood_location_id, h.state, h.capacity_unit, h.is_rated, r.reports_events, r.reports_quantity, r.reports_output
        ) AS t
        CROSS JOIN LATERAL (SELECT CASE width WHEN 6 THEN date_bin('24 hours', t.bucket, origin) ELSE t.bucket END AS bucket) AS p
        GROUP BY p.bucket;
    END LOOP;
END
$$;
COMMENT ON FUNCTION keep_resource_time_totals(uuid, timestamptz[]) IS
    'Adds the stored sums of these UTC days, of their six hours, weeks and four weeks, up over machines again.';
REVOKE ALL ON FUNCTION keep_resource_time_totals(uuid, timestamptz[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION keep_resource_time_reports(
    org uuid,
    first_day timestamptz,
    end_day timestamptz,
    only_days timestamptz[],
    only_machines uuid[]
)
RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO resource_time_reports AS r (
        organization_id, resource_id, event_day, quantity_day, output_day, reports_events, reports_quantity, reports_output
    )
    SELECT
        org,
        k.resource_id,
        min(k.day),
        min(k.day) FILTER (WHERE k.state = 'production' AND k.quantity IS NOT NULL),
        min(k.day) FILTER (WHERE k.state = 'production' AND k.inspected_quantity IS NOT NULL),
        true,
        count(k.quantity) FILTER (WHERE k.state = 'production') > 0,
        count(k.inspected_quantity) FILTER (WHERE k.state = 'production') > 0
    FROM (
        SELECT h.resource_id, date_bin('24 hours', h.bucket, timestamptz '2000-01-03 00:00:00+00') AS day, h.state, h.quantity, h.inspected_quantity
        FROM kept_time_rows(org, 24, first_day, end_day) AS h
        UNION ALL
        -- Days of which not all hours are stored prove nothing, but are added up over machines by six hours.
        SELECT h.resource_id, NULL, h.state, h.quantity, h.inspected_quantity
        FROM kept_time_rows(org, 6, first_day, end_day) AS h
        WHERE only_machines IS NULL
    ) AS k
    WHERE k.resource_id IS NOT NULL
        AND (only_days IS NULL OR k.day IS NULL OR k.day = ANY (only_days))
        AND (only_machines IS NULL OR k.resource_id = ANY (only_machines))
    GROUP BY k.resource_id
    ON CONFLICT (organization_id, resource_id) DO UPDATE
    SET
        event_day = coalesce(r.event_day, excluded.event_day),
        quantity_day = coalesce(r.quantity_day, excluded.quantity_day),
        output_day = coalesce(r.output_day, excluded.output_day)
    WHERE r.event_day IS NULL AND excluded.event_day IS NOT NULL
        OR r.quantity_day IS NULL AND excluded.quantity_day IS NOT NULL
        OR r.output_day IS NULL AND excluded.output_day IS NOT NULL;
END
$$;
COMMENT ON FUNCTION keep_resource_time_reports(uuid, timestamptz, timestamptz, timestamptz[], uuid[]) IS
    'Looks up in the stored days of a period, these if given, what machines report: a day that proves it, for each machine that has none yet.';
REVOKE ALL ON FUNCTION keep_resource_time_reports(uuid, timestamptz, timestamptz, timestamptz[], uuid[]) FROM PUBLIC;

-- One step of a refresh, in the caller's transaction: the newest past hours that are not stored yet.
DROP FUNCTION IF EXISTS keep_resource_time(uuid, interval, interval);
CREATE OR REPLACE FUNCTION keep_resource_time(
    org uuid,
    horizon interval,
    only_within tstzrange DEFAULT NULL,
    step interval DEFAULT interval '7 days'
)
RETURNS boolean
LANGUAGE plpgsql
-- Independent of the session's time zone: days are 24 hours here.
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-03 00:00:00+00';
    over_since CONSTANT timestamptz := date_bin('1 hour', now(), origin);
    frozen timestamptz;
    kept tstzmultirange;
    gone tstzmultirange;
    first_event timestamptz;
    missing tstzmultirange;
    wanted tstzmultirange;
    newest timestamptz;
    chunk tstzmultirange;
    first_day timestamptz;
    end_day timestamptz;
    first_bucket timestamptz;
    end_bucket timestamptz;
    touched timestamptz[];
    days timestamptz[];
    anew timestamptz[];
    together timestamptz[];
    served timestamptz[];
    others resource_time_sum[];
    unproven uuid[];
    machines uuid[];
    reported boolean[];
    counted boolean[];
    inspected boolean[];
    width integer;
BEGIN
    -- One refresh at a time per organization; another one is running.
    IF NOT pg_try_advisory_xact_lock(hashtext('keep_resource_time'), hashtext(org::text)) THEN
        RETURN false;
    END IF;
    INSERT INTO resource_time_states AS s (organization_id)
    SELECT o.organization_id
    FROM organizations AS o
    WHERE o.organization_id = org
    ON CONFLICT DO NOTHING;

    SELECT s.kept, greatest(s.frozen_before, date_bin('24 hours', now() - horizon + interval '24 hours', origin), '-infinity')
    INTO kept, frozen
    FROM resource_time_states AS s
    WHERE s.organization_id = org;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    -- First the marks, then the events: each statement sees what was committed when it began.
    WITH taken AS (
        DELETE FROM resource_time_marks AS m
        WHERE m.organization_id = org
        RETURNING m.stale
    )
    SELECT range_agg(t.stale) INTO gone FROM taken AS t;
    kept := kept - coalesce(gone * tstzmultirange(tstzrange(frozen, NULL)), '{}');

    SELECT min(f.first_event)
    INTO first_event
    FROM unnest(ARRAY['maintenance', 'breakdown', 'setup', 'idle', 'production']) AS k (kind)
    CROSS JOIN LATERAL (
        SELECT min(e.time) AS first_event
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.event_type = k.kind
    ) AS f;
    missing := CASE
        -- There is nothing to store before the first event.
        WHEN first_event IS NULL OR greatest(first_event, frozen) >= over_since THEN '{}'
        ELSE tstzmultirange(tstzrange(greatest(date_bin('24 hours', first_event, origin), frozen), over_since)) - kept
    END;
    wanted := missing * tstzmultirange(coalesce(only_within, tstzrange(NULL, NULL)));
    newest := upper(wanted);

    IF newest IS NOT NULL THEN
        chunk := wanted * tstzmultirange(
            tstzrange(date_bin('24 hours', newest - interval '1 microsecond', origin) + interval '24 hours' - step, newest)
        );
        -- Explicit bounds in every statement, so that no plan reads more.
        first_day := date_bin('24 hours', lower(chunk), origin);
        end_day := date_bin('24 hours', upper(chunk) - interval '1 microsecond', origin) + interval '24 hours';
        SELECT array_agg(DISTINCT date_bin('24 hours', h, origin))
        INTO days
        FROM unnest(chunk) AS r
        CROSS JOIN LATERAL generate_series(lower(r), upper(r) - interval '1 hour', interval '1 hour') AS h;

        -- Days that are complete now, and those whose hours are stored together, are stored anew, with their other hours as they
        -- are. On days with many rows, and on the current one, just the hours of the chunk.
        SELECT array_agg(d)
        INTO anew
        FROM unnest(days) AS d
        WHERE EXISTS (
                SELECT
                FROM resource_time_sums AS s
                WHERE s.organization_id = org
                    AND s.hours = 1
                    AND s.bucket >= d
                    AND s.bucket < d + interval '24 hours'
                    AND s.ends_at > s.bucket + interval '1 hour'
            )
            OR kept + chunk @> tstzrange(d, d + interval '24 hours')
            AND NOT EXISTS (
                SELECT
                FROM resource_time_sums AS s
                WHERE s.organization_id = org
                    AND s.hours = 24
                    AND s.bucket = d
            );
        SELECT array_agg(e)
        INTO others
        FROM resource_time_sums AS d
        CROSS JOIN LATERAL unnest(d.sums) AS e
        WHERE d.organization_id = org
            AND d.hours = 1
            AND d.bucket >= first_day
            AND d.bucket < end_day
            AND date_bin('24 hours', d.bucket, origin) = ANY (anew)
            AND kept @> e.bucket;
        DELETE FROM resource_time_sums AS d
        WHERE d.organization_id = org
            AND d.hours IN (1, 6, 24)
            AND d.bucket >= first_day
            AND d.bucket < end_day
            AND (date_bin('24 hours', d.bucket, origin) = ANY (anew) OR d.hours = 1 AND chunk @> d.bucket);
        kept := kept + chunk;
        INSERT INTO resource_time_sums (organization_id, hours, bucket, state, ends_at, widest, sums)
        WITH hourly AS MATERIALIZED (
            SELECT e AS row, date_bin('24 hours', e.bucket, origin) AS day
            FROM unnest(others) AS e
            UNION ALL
            SELECT
                ROW(
                    cells.starts[t.part],
                    t.resource_id,
                    t.location_id,
                    t.stood_location_id,
                    t.state,
                    t.cause,
                    t.capacity_unit,
                    t.is_rated,
                    t.event_count,
                    t.failure_count,
                    t.untimed_count,
                    t.untimed_failure_count,
                    t.seconds,
                    t.planned_seconds,
                    t.quality_score_sum,
                    t.quality_score_count,
                    t.quantity,
                    t.scrap_quantity,
                    t.inspected_quantity,
                    t.timed_quantity,
                    t.counted_seconds,
                    t.inspected_seconds,
                    t.rated_counted_seconds,
                    t.rated_seconds,
                    t.output_planned_seconds,
                    t.good_planned_seconds
                )::resource_time_sum,
                date_bin('24 hours', cells.starts[t.part], origin)
            FROM (
                SELECT
                    array_agg(c.number ORDER BY c.number) AS numbers,
                    array_agg(c.starts_at ORDER BY c.number) AS starts,
                    array_agg(c.starts_at + interval '1 hour' ORDER BY c.number) AS ends
                FROM (
                    SELECT h AS starts_at, row_number() OVER (ORDER BY h)::integer AS number
                    FROM unnest(chunk) AS r
                    CROSS JOIN LATERAL generate_series(lower(r), upper(r) - interval '1 hour', interval '1 hour') AS h
                ) AS c
            ) AS cells
            CROSS JOIN LATERAL resource_time_raw(org, cells.numbers, cells.starts, cells.ends, NULL, interval '1 hour') AS t
        ),
        -- How the hours of a day are stored: few rows together, which compresses them; and without sums of the day, if these
        -- would hardly be fewer.
        layouts AS (
            SELECT
                d.day,
                d.day = ANY (anew) AND d.is_sparse AS serves_day,
                CASE
                    WHEN d.day = ANY (anew) AND d.hour_count <= CASE WHEN d.is_sparse THEN 2000 ELSE 500 END THEN interval '24 hours'
                    WHEN d.day = ANY (anew) AND (d.is_sparse OR d.hour_count <= 2000) THEN interval '6 hours'
                    ELSE interval '1 hour'
                END AS length
            FROM (
                SELECT
                    d.day,
                    sum(d.hour_count) AS hour_count,
                    kept @> tstzrange(d.day, d.day + interval '24 hours') AND sum(d.hour_count) <= 2.5 * count(*) AS is_sparse
                FROM (
                    SELECT h.day, count(*) AS hour_count
                    FROM hourly AS h
                    GROUP BY h.day, (h.row).resource_id, (h.row).location_id, (h.row).stood_location_id, (h.row).state, (h.row).cause, (h.row).capacity_unit, (h.row).is_rated
                ) AS d
                GROUP BY d.day
            ) AS d
        )
        SELECT
            org,
            1,
            p.bucket,
            (h.row).state,
            p.bucket + l.length,
            CASE WHEN l.serves_day THEN 24 ELSE 1 END,
            -- Alike rows side by side, so that they compress.
            array_agg(h.row ORDER BY (h.row).location_id, (h.row).stood_location_id, (h.row).resource_id, (h.row).bucket)
        FROM hourly AS h
        JOIN layouts AS l ON l.day = h.day
        CROSS JOIN LATERAL (SELECT date_bin(l.length, (h.row).bucket, origin) AS bucket) AS p
        GROUP BY p.bucket, l.length, (h.row).state, l.serves_day;
        SELECT
            array_agg(DISTINCT d.day) FILTER (WHERE s.ends_at > s.bucket + interval '1 hour'),
            array_agg(DISTINCT d.day) FILTER (WHERE s.widest = 24)
        INTO together, served
        FROM resource_time_sums AS s
        CROSS JOIN LATERAL (SELECT date_bin('24 hours', s.bucket, origin) AS day) AS d
        WHERE s.organization_id = org
            AND s.hours = 1
            AND s.bucket >= first_day
            AND s.bucket < end_day;

        -- Six hours, days, weeks and four weeks that are complete now.
        FOREACH width IN ARRAY ARRAY[6, 24, 168, 672] LOOP
            first_bucket := date_bin(make_interval(hours => width), first_day, origin);
            end_bucket := date_bin(make_interval(hours => width), end_day - interval '1 microsecond', origin)
                + make_interval(hours => width);
            SELECT array_agg(DISTINCT date_bin(make_interval(hours => width), c.h, origin))
            INTO touched
            FROM (
                SELECT generate_series(lower(r), upper(r) - interval '1 hour', interval '1 hour') AS h
                FROM unnest(chunk) AS r
                UNION ALL
                SELECT generate_series(d, d + interval '18 hours', interval '6 hours')
                FROM unnest(anew) AS d
            ) AS c
            WHERE width > 24
                OR NOT coalesce(date_bin('24 hours', c.h, origin) = ANY (served), false);
            DELETE FROM resource_time_sums AS d
            WHERE d.organization_id = org
                AND d.hours = width
                AND d.bucket >= first_bucket
                AND d.bucket < end_bucket
                AND d.bucket = ANY (touched);
            INSERT INTO resource_time_sums (organization_id, hours, bucket, state, ends_at, widest, sums)
            SELECT
                org,
                width,
                p.bucket,
                t.state,
                p.bucket + p.length,
                width,
                array_agg(ROW(t.*)::resource_time_sum ORDER BY t.location_id, t.stood_location_id, t.resource_id, t.bucket)
            FROM (
                SELECT
                    d.bucket,
                    h.resource_id,
                    h.location_id,
                    h.stood_location_id,
                    h.state,
                    h.cause,
                    h.capacity_unit,
                    h.is_rated,
                    sum(h.event_count)::bigint,
                    sum(h.failure_count)::bigint,
                    sum(h.untimed_count)::bigint,
                    sum(h.untimed_failure_count)::bigint,
                    sum(h.seconds),
                    sum(h.planned_seconds),
                    sum(h.quality_score_sum),
                    sum(h.quality_score_count)::bigint,
                    sum(h.quantity),
                    sum(h.scrap_quantity),
                    sum(h.inspected_quantity),
                    sum(h.timed_quantity),
                    sum(h.counted_seconds),
                    sum(h.inspected_seconds),
                    sum(h.rated_counted_seconds),
                    sum(h.rated_seconds),
                    sum(h.output_planned_seconds),
                    sum(h.good_planned_seconds)
                FROM kept_time_rows(
                    org, CASE width WHEN 6 THEN 1 WHEN 24 THEN 6 WHEN 168 THEN 24 ELSE 168 END, first_bucket, end_bucket
                ) AS h
                CROSS JOIN LATERAL (SELECT date_bin(make_interval(hours => width), h.bucket, origin) AS bucket) AS d
                WHERE d.bucket = ANY (touched)
                    AND kept @> tstzrange(d.bucket, d.bucket + make_interval(hours => width))
                GROUP BY d.bucket, h.resource_id, h.location_id, h.stood_location_id, h.state, h.cause, h.capacity_unit, h.is_rated
            ) AS t
            CROSS JOIN LATERAL (
                SELECT
                    CASE
                        WHEN width = 6 AND date_bin('24 hours', t.bucket, origin) = ANY (together) THEN interval '24 hours'
                        ELSE make_interval(hours => width)
                    END AS length
            ) AS l
            CROSS JOIN LATERAL (SELECT l.length, date_bin(l.length, t.bucket, origin) AS bucket) AS p
            GROUP BY p.bucket, p.length, t.state;
        END LOOP;

        -- Days that prove what a machine reports: those stored anew are looked at again.
        WITH reset AS (
            UPDATE resource_time_reports AS r
            SET
                event_day = CASE WHEN r.event_day = ANY (days) THEN NULL ELSE r.event_day END,
                quantity_day = CASE WHEN r.quantity_day = ANY (days) THEN NULL ELSE r.quantity_day END,
                output_day = CASE WHEN r.output_day = ANY (days) THEN NULL ELSE r.output_day END
            FROM resource_time_reports AS earlier
            WHERE r.organization_id = org
                AND earlier.organization_id = org
                AND earlier.resource_id = r.resource_id
                AND (r.event_day = ANY (days) OR r.quantity_day = ANY (days) OR r.output_day = ANY (days))
            RETURNING r.resource_id, earlier.event_day, earlier.quantity_day, earlier.output_day
        )
        SELECT
            array_agg(r.resource_id),
            array_agg(r.event_day IS NOT NULL),
            array_agg(r.quantity_day IS NOT NULL),
            array_agg(r.output_day IS NOT NULL)
        INTO machines, reported, counted, inspected
        FROM reset AS r;
        PERFORM keep_resource_time_reports(org, first_day, end_day, days, NULL);
        -- Machines of which these days prove it no longer: all other days.
        SELECT array_agg(r.resource_id)
        INTO unproven
        FROM unnest(machines, reported, counted, inspected) AS e (resource_id, has_events, has_quantity, has_output)
        JOIN resource_time_reports AS r
            ON r.organization_id = org
            AND r.resource_id = e.resource_id
        WHERE e.has_events AND r.event_day IS NULL
            OR e.has_quantity AND r.quantity_day IS NULL
            OR e.has_output AND r.output_day IS NULL;
        IF unproven IS NOT NULL THEN
            PERFORM keep_resource_time_reports(org, lower(kept), upper(kept), NULL, unproven);
        END IF;
        PERFORM keep_resource_time_totals(org, days);
    END IF;

    UPDATE resource_time_states AS s
    SET
        kept = keep_resource_time_kept,
        frozen_before = frozen,
        refreshed_at = CASE WHEN isempty(missing - coalesce(chunk, '{}')) THEN now() ELSE s.refreshed_at END,
        failed_at = NULL,
        failure = NULL
    FROM (SELECT kept AS keep_resource_time_kept) AS new_state
    WHERE s.organization_id = org;

    -- In the last step, machines that report more, or less, than the totals have it.
    IF newest IS NOT NULL AND isempty(wanted - chunk) THEN
        SELECT array_agg(r.resource_id), array_agg(r.reports_events), array_agg(r.reports_quantity), array_agg(r.reports_output)
        INTO machines, reported, counted, inspected
        FROM resource_reporting(org) AS r;
        SELECT array_agg(n.resource_id), array_agg(n.reports_events), array_agg(n.reports_quantity), array_agg(n.reports_output)
        INTO unproven, reported, counted, inspected
        FROM resource_time_report_changes(org, machines, reported, counted, inspected) AS n;
        IF unproven IS NOT NULL THEN
            UPDATE resource_time_reports AS r
            SET
                reports_events = n.reports_events,
                reports_quantity = n.reports_quantity,
                reports_output = n.reports_output
            FROM unnest(unproven, reported, counted, inspected) AS n (resource_id, reports_events, reports_quantity, reports_output)
            WHERE r.organization_id = org
                AND r.resource_id = n.resource_id;
            SELECT array_agg(DISTINCT k.bucket)
            INTO days
            FROM (
                SELECT DISTINCT date_bin('24 hours', h.bucket, origin) AS bucket
                FROM kept_time_rows(org, 24, lower(kept), upper(kept)) AS h
                WHERE h.resource_id = ANY (unproven)
                UNION ALL
                -- Days of which not all hours are stored have six hours, too.
                SELECT date_bin('24 hours', e.hour, origin)
                FROM unnest(kept) AS r
                CROSS JOIN LATERAL (VALUES (lower(r)), (upper(r) - interval '1 microsecond')) AS e (hour)
            ) AS k;
            PERFORM keep_resource_time_totals(org, days);
        END IF;
    END IF;
    RETURN NOT isempty(wanted - coalesce(chunk, '{}'));
END
$$;
COMMENT ON FUNCTION keep_resource_time(uuid, interval, tstzrange, interval) IS
    'Stores the newest past hours of an organization that are not stored, within the period if given, at most step at '
    'once. Returns whether there is more to do. Hours older than horizon are not changed. See refresh_resource_time().';
REVOKE ALL ON FUNCTION keep_resource_time(uuid, interval, tstzrange, interval) FROM PUBLIC;

DROP PROCEDURE IF EXISTS refresh_resource_time(uuid);
CREATE OR REPLACE PROCEDURE refresh_resource_time(org uuid DEFAULT NULL, only_within tstzrange DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    horizon CONSTANT interval := rollup_refresh_window('operational_events_hourly');
    served uuid;
    is_more boolean;
    trouble text;
BEGIN
    FOR served IN
        SELECT o.organization_id
        FROM organizations AS o
        WHERE org IS NULL OR o.organization_id = org
        ORDER BY o.organization_id
    LOOP
        LOOP
            trouble := NULL;
            BEGIN
                is_more := keep_resource_time(served, horizon, only_within);
            EXCEPTION
                -- Commit per organization, so that the others do not wait.
                WHEN OTHERS THEN
                    is_more := false;
                    trouble := SQLERRM;
            END;
            IF trouble IS NOT NULL THEN
                INSERT INTO resource_time_states AS s (organization_id, failed_at, failure)
                SELECT o.organization_id, now(), trouble
                FROM organizations AS o
                WHERE o.organization_id = served
                ON CONFLICT (organization_id) DO UPDATE SET failed_at = excluded.failed_at, failure = excluded.failure;
            END IF;
            COMMIT;
            EXIT WHEN NOT is_more;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE refresh_resource_time(uuid, tstzrange) IS
    'Stores machine time by state for all past hours (of a period: whole hours), of one organization or all, newest first, each '
    'week in its own transaction. Query results are the same before and after, but cost less. Call it outside a transaction.';
REVOKE ALL ON PROCEDURE refresh_resource_time(uuid, tstzrange) FROM PUBLIC;

CREATE OR REPLACE PROCEDURE refresh_resource_time_job(job_id integer, config jsonb)
LANGUAGE plpgsql
AS $$
BEGIN
    CALL refresh_resource_time();
END
$$;
COMMENT ON PROCEDURE refresh_resource_time_job(integer, jsonb) IS 'Job that TimescaleDB''s scheduler runs every quarter of an hour.';
REVOKE ALL ON PROCEDURE refresh_resource_time_job(integer, jsonb) FROM PUBLIC;

DO $$
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    IF NOT EXISTS (
        SELECT FROM timescaledb_information.jobs AS j WHERE j.proc_schema = 'public' AND j.proc_name = 'refresh_resource_time_job'
    ) THEN
        PERFORM add_job('public.refresh_resource_time_job', interval '15 minutes', initial_start => now() + interval '15 minutes');
    END IF;
END
$$;
