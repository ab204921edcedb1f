-- KPIs that explain themselves, after ISO 22400-2 (Automation systems and integration: KPIs for manufacturing operations
-- management, part 2: definitions and descriptions), with its time model. See docs/kpis.md for details.
--
--   planned busy time         the shifts of the place where the machine stood, less planned maintenance, up to now
--   actual production time    production events, less what is a stop of the same machine at that time
--   setup time                setup events
--   delay                     idle events: waiting, blocked or starved
--   time to repair            breakdown events; those that overlap or touch are one failure
--   busy time                 production + setup + delay + repair
--
--   availability              production time within planned busy time / planned busy time
--   effectiveness             planned run time per item * quantity / production time, planned run time = 1 / rated capacity
--   quality ratio             good quantity / quantity
--   oee                       planned run time of the good quantity made within shifts / planned busy time; for one machine
--                             that produces in its shifts only: availability * effectiveness * quality ratio
--   utilisation efficiency    production time / busy time
--   throughput rate           quantity / busy time (orders are not timed: busy time replaces order execution time)
--   scrap ratio               scrap quantity / quantity
--   mtbf, mttr                production time / failures, time to repair / failures
--
-- Three more operational KPIs: plan attainment (actual / planned quantity of plans whose day ended in the period),
-- attendance rate, forecast WAPE (of the newest forecast before each target).
--
-- A period is half-open: start <= t < end. What extends across an edge is prorated (72_timeline.sql), so numerators and
-- denominators of adjacent periods add up. A ratio compares like with like: what is unknown on one side is excluded from
-- both, and coverage shows how much of what should have data is included. What cannot be computed, or would be impossible,
-- is NULL with a reason, never 0 and never 100.

CREATE OR REPLACE FUNCTION kpi_names()
RETURNS text[]
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY[
        'availability', 'effectiveness', 'quality_ratio', 'oee', 'utilisation_efficiency', 'throughput_rate', 'scrap_ratio',
        'mtbf', 'mttr', 'plan_attainment', 'attendance_rate', 'forecast_wape'
    ]
$$;
COMMENT ON FUNCTION kpi_names() IS 'Names of the KPIs, in display order.';

CREATE FUNCTION operation_totals(
    org uuid,
    period_start timestamptz,
    period_end timestamptz,
    event_types text[] DEFAULT ARRAY['production', 'setup', 'idle', 'breakdown', 'maintenance']
)
RETURNS TABLE (
    location_id uuid,
    resource_id uuid,
    event_type text,
    cause text,
    event_count bigint,
    minutes numeric,
    quantity numeric,
    scrap_quantity numeric,
    quality_score_sum numeric,
    quality_score_count bigint
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        t.location_id,
        t.resource_id,
        t.state,
        t.cause,
        sum(t.event_count)::bigint,
        round(sum(t.seconds) / 60, 9),
        round(sum(t.quantity), 9),
        round(sum(t.scrap_quantity), 9),
        sum(t.quality_score_sum),
        sum(t.quality_score_count)::bigint
    FROM resource_time(org, ARRAY[1], ARRAY[period_start], ARRAY[period_end], NULL, event_types) AS t
    WHERE t.state <> 'planned'
    GROUP BY t.location_id, t.resource_id, t.state, t.cause;
END
$$;
COMMENT ON FUNCTION operation_totals(uuid, timestamptz, timestamptz, text[]) IS
    'Minutes and quantity in the period, by location, resource, state (production, setup, idle, breakdown, maintenance) '
    'and cause. Minutes are resolved: a machine is in one state at a time. Quantities of events that extend across an edge '
    'are prorated; event_count counts the events that began in the period.';

CREATE OR REPLACE FUNCTION location_clocks(org uuid)
RETURNS TABLE (
    location_id uuid,
    clock uuid
)
LANGUAGE plpgsql
STABLE
ROWS 10
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        h.location_id,
        first_value(h.location_id) OVER (PARTITION BY h.zones ORDER BY h.location_id)
    FROM (
        SELECT
            l.location_id,
            jsonb_agg(jsonb_build_array(extract(epoch FROM l.valid_from)::text, l.timezone) ORDER BY l.valid_from) AS zones
        FROM location_history AS l
        WHERE l.organization_id = org
        GROUP BY l.location_id
    ) AS h;
END
$$;
COMMENT ON FUNCTION location_clocks(uuid) IS
    'Representative location for all locations whose clocks have always shown the same time, including changes of their time zone.';

CREATE FUNCTION production_by_bucket(
    org uuid,
    bucket text,
    period_start timestamptz,
    period_end timestamptz,
    place uuid DEFAULT NULL
)
RETURNS TABLE (
    bucket_start timestamptz,
    bucket_end timestamptz,
    location_id uuid,
    resource_id uuid,
    event_count bigint,
    production_minutes numeric,
    quantity numeric,
    scrap_quantity numeric,
    quantity_per_production_hour numeric,
    quality_score_mean numeric
)
LANGUAGE plpgsql
STABLE
-- Planned once per session: with new arrays in each call the planner would prefer to plan again.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    counted_from timestamptz := period_start;
    few_buckets CONSTANT interval := CASE bucket WHEN 'hour' THEN interval '15 days' ELSE interval '100 days' END;
    usable CONSTANT tstzmultirange := kept_resource_time(org);
    numbers integer[];
    clocks uuid[];
    starts timestamptz[];
    ends timestamptz[];
BEGIN
    -- Nothing was produced before the first event, so buckets of earlier years need not be generated. (For periods of some
    -- months, looking for the first event takes longer than generating the buckets.)
    IF period_start < now() - few_buckets THEN
        SELECT greatest(period_start, coalesce(min(e.time), now()) - interval '3 days')
        INTO counted_from
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.event_type = 'production';
    END IF;

    -- Locations whose clocks always showed the same time share their buckets.
    SELECT
        array_agg(b.number ORDER BY b.number),
        array_agg(b.clock ORDER BY b.number),
        array_agg(b.bucket_start ORDER BY b.number),
        array_agg(b.bucket_end ORDER BY b.number)
    INTO numbers, clocks, starts, ends
    FROM (
        SELECT
            c.clock,
            e.bucket_start,
            e.bucket_end,
            row_number() OVER (ORDER BY e.bucket_start, c.clock)::integer AS number
        FROM (
            SELECT DISTINCT l.clock
            FROM location_clocks(org) AS l
            WHERE place IS NULL OR l.location_id = place
        ) AS c
        -- A bucket in progress counts as well; the longest is a day on which the time zone was changed.
        CROSS JOIN LATERAL location_buckets(
            org, c.clock, bucket, counted_from, least(period_end, now()) + interval '3 days'
        ) AS e
        WHERE e.bucket_start < least(period_end, now())
    ) AS b;

    RETURN QUERY
    WITH reads AS MATERIALIZED (
        SELECT *
        FROM kept_time_reads(numbers, starts, ends, NULL, usable)
    )
    SELECT
        starts[t.part],
        ends[t.part],
        t.location_id,
        t.resource_id,
        sum(t.event_count)::bigint,
        round(sum(t.seconds) / 60, 9),
        CASE WHEN min(u.unit) IS NOT DISTINCT FROM max(u.unit) THEN round(sum(t.quantity), 9) END,
        CASE WHEN min(u.unit) IS NOT DISTINCT FROM max(u.unit) THEN round(sum(t.scrap_quantity), 9) END,
        CASE
            WHEN min(u.unit) IS NOT DISTINCT FROM max(u.unit) THEN 3600 * sum(t.timed_quantity) / nullif(sum(t.counted_seconds), 0)
        END,
        sum(t.quality_score_sum) / nullif(sum(t.quality_score_count), 0)
    FROM (
        SELECT
            r.part,
            k.*
        FROM reads AS r
        CROSS JOIN LATERAL (
            SELECT
                k.location_id,
                k.resource_id,
                k.capacity_unit,
                k.event_count,
                k.seconds,
                k.quantity,
                k.scrap_quantity,
                k.timed_quantity,
                k.counted_seconds,
                k.quality_score_sum,
                k.quality_score_count
            FROM resource_time_sums AS s
            CROSS JOIN LATERAL unnest(s.sums) AS k
            WHERE s.organization_id = org
                AND s.hours = ANY (CASE WHEN r.hours IN (6, 24) THEN ARRAY[1, r.hours] ELSE ARRAY[r.hours] END)
                AND s.bucket > r.starts_at - interval '24 hours'
                AND s.bucket < r.ends_at
                AND s.ends_at > r.starts_at
                AND s.widest >= r.hours
                AND s.state = 'production'
                AND k.bucket >= r.starts_at
                AND k.bucket < r.ends_at
            OFFSET 0
        ) AS k
        WHERE r.hours > 1
        UNION ALL
        -- Single hours may be stored by the day: each row is unpacked once, not once for each bucket.
        SELECT
            r.part,
            k.location_id,
            k.resource_id,
            k.capacity_unit,
            k.event_count,
            k.seconds,
            k.quantity,
            k.scrap_quantity,
            k.timed_quantity,
            k.counted_seconds,
            k.quality_score_sum,
            k.quality_score_count
        FROM reads AS r
        CROSS JOIN LATERAL generate_series(r.starts_at, r.ends_at - interval '1 hour', interval '1 hour') AS h
        JOIN (
            SELECT k.*
            FROM (
                SELECT unnest(range_agg(tstzrange(r.starts_at, r.ends_at))) AS span
                FROM reads AS r
                WHERE r.hours = 1
            ) AS m
            CROSS JOIN LATERAL (
                SELECT k.*
                FROM resource_time_sums AS s
                CROSS JOIN LATERAL unnest(s.sums) AS k
                WHERE s.organization_id = org
                    AND s.hours = 1
                    AND s.bucket > lower(m.span) - interval '24 hours'
                    AND s.bucket < upper(m.span)
                    AND s.ends_at > lower(m.span)
                    AND s.state = 'production'
                    AND k.bucket >= lower(m.span)
                    AND k.bucket < upper(m.span)
                OFFSET 0
            ) AS k
        ) AS k ON k.bucket = h
        WHERE r.hours = 1
        UNION ALL
        SELECT
            r.part,
            r.location_id,
            r.resource_id,
            r.capacity_unit,
            r.event_count,
            r.seconds,
            r.quantity,
            r.scrap_quantity,
            r.timed_quantity,
            r.counted_seconds,
            r.quality_score_sum,
            r.quality_score_count
        FROM resource_time_rest(org, numbers, starts, ends, NULL, usable, ARRAY['production']) AS r
    ) AS t
    CROSS JOIN LATERAL (SELECT CASE WHEN t.quantity > 0 THEN coalesce(t.capacity_unit, '') END AS unit) AS u
    JOIN location_clocks(org) AS l
        ON l.location_id = t.location_id
        AND l.clock = clocks[t.part]
    WHERE place IS NULL OR t.location_id = place
    GROUP BY t.part, t.location_id, t.resource_id;
END
$$;
COMMENT ON FUNCTION production_by_bucket(uuid, text, timestamptz, timestamptz, uuid) IS
    'Production in each local hour or day of the location that begins in the period, up to now, by location and resource. Minutes are '
    'resolved and quantities prorated, as in operational_kpis(). Quantities of a bucket in which the unit changed are NULL.';

CREATE FUNCTION planned_busy_time(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    location_id uuid,
    resource_id uuid,
    minutes numeric
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        t.stood_location_id,
        t.resource_id,
        coalesce(sum(t.planned_seconds) FILTER (WHERE t.state = 'planned'), 0) / 60
            - coalesce(sum(t.planned_seconds) FILTER (WHERE t.state = 'maintenance'), 0) / 60
    FROM resource_time(org, ARRAY[1], ARRAY[period_start], ARRAY[period_end]) AS t
    WHERE t.resource_id IS NOT NULL
    GROUP BY t.stood_location_id, t.resource_id
    HAVING count(*) FILTER (WHERE t.state = 'planned') > 0;
END
$$;
COMMENT ON FUNCTION planned_busy_time(uuid, timestamptz, timestamptz) IS
    'Planned busy time of each resource in the period, in minutes, where it stood and while it was in service, up to now: '
    'the location''s shifts less planned maintenance. No row for a resource whose location planned no shift.';

CREATE FUNCTION resource_time_model(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    location_id uuid,
    resource_id uuid,
    capacity_unit text,
    rated_capacity_per_hour numeric,
    planned_busy_minutes numeric,
    production_minutes numeric,
    setup_minutes numeric,
    idle_minutes numeric,
    breakdown_minutes numeric,
    maintenance_minutes numeric,
    failure_count bigint,
    quantity numeric,
    scrap_quantity numeric,
    has_data boolean
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH totals AS (
        SELECT
            t.resource_id,
            coalesce(sum(t.planned_seconds) FILTER (WHERE t.state = 'planned'), 0)
                - coalesce(sum(t.planned_seconds) FILTER (WHERE t.state = 'maintenance'), 0) AS planned_seconds,
            sum(t.seconds) FILTER (WHERE t.state = 'production') AS production_seconds,
            sum(t.seconds) FILTER (WHERE t.state = 'setup') AS setup_seconds,
            sum(t.seconds) FILTER (WHERE t.state = 'idle') AS idle_seconds,
            sum(t.seconds) FILTER (WHERE t.state = 'breakdown') AS breakdown_seconds,
            sum(t.seconds) FILTER (WHERE t.state = 'maintenance') AS maintenance_seconds,
            sum(t.failure_count)::bigint AS failure_count,
            CASE WHEN count(DISTINCT coalesce(t.capacity_unit, '')) FILTER (WHERE t.quantity > 0) <= 1 THEN sum(t.quantity) END AS quantity,
            CASE WHEN count(DISTINCT coalesce(t.capacity_unit, '')) FILTER (WHERE t.quantity > 0) <= 1 THEN sum(t.scrap_quantity) END
                AS scrap_quantity,
            count(*) FILTER (WHERE t.state <> 'planned') > 0 AS has_data
        FROM resource_time(org, ARRAY[1], ARRAY[period_start], ARRAY[period_end]) AS t
        WHERE t.resource_id IS NOT NULL
        GROUP BY t.resource_id
    )
    SELECT
        h.location_id,
        h.resource_id,
        h.capacity_unit,
        h.rated_capacity_per_hour,
        coalesce(t.planned_seconds, 0) / 60,
        coalesce(t.production_seconds, 0) / 60,
        coalesce(t.setup_seconds, 0) / 60,
        coalesce(t.idle_seconds, 0) / 60,
        coalesce(t.breakdown_seconds, 0) / 60,
        coalesce(t.maintenance_seconds, 0) / 60,
        coalesce(t.failure_count, 0),
        t.quantity,
        t.scrap_quantity,
        coalesce(t.has_data, false)
    FROM resource_history AS h
    LEFT JOIN totals AS t ON t.resource_id = h.resource_id
    WHERE h.organization_id = org
        -- As of the end of the period.
        AND h.valid_from < least(period_end, now())
        AND h.valid_to >= least(period_end, now())
        AND (h.is_in_service OR t.resource_id IS NOT NULL)
    ORDER BY h.location_id, h.resource_id;
END
$$;
COMMENT ON FUNCTION resource_time_model(uuid, timestamptz, timestamptz) IS
    'Time model of each resource according to ISO 22400-2 for the period, in minutes, with quantities (NULL if not '
    'reported, or in two units) and failures. Location, capacity and unit are those at the end of the period. has_data is '
    'false if there are no events.';

-- Compute KPI rows from an aggregated time model, for any grouping. Reads nothing and aggregates nothing. Times are in seconds.
CREATE FUNCTION event_kpis(
    has_data boolean,
    has_nameless boolean,               -- events without a machine
    planned numeric,                    -- planned busy time of all machines in service
    recorded_planned numeric,           -- part with a recorded state
    base numeric,                       -- time that should have data: planned time, and time recorded outside of it
    measured_planned numeric,           -- planned busy time of machines that report
    production_planned numeric,         -- production within planned busy time
    production numeric,
    busy numeric,
    breakdown numeric,
    failure_count numeric,
    timed_failure_count numeric,
    has_production boolean,
    has_untimed_production boolean,
    quantity_unit text,                 -- NULL if units differ
    inspected_unit text,
    quantity numeric,                   -- NULL if unknown for all events
    timed_quantity numeric,
    counted numeric,                    -- production time with known quantity
    counting_busy numeric,              -- busy time of machines that report quantities, less production time with unknown quantity
    inspected_quantity numeric,
    scrap_quantity numeric,
    inspected numeric,                  -- production time with known quantity and scrap
    rated_time numeric,
    rated_counted numeric,
    rated_planned numeric,              -- planned busy time of machines with a rated capacity
    output_planned numeric,             -- part of it by machines that report quantity and scrap, less production for which they are unknown
    output_recorded numeric,            -- part with a recorded state
    good_time numeric                   -- rated time of the good quantity made within shifts
)
RETURNS TABLE (
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text
)
LANGUAGE plpgsql
IMMUTABLE
AS $$
#variable_conflict use_column
DECLARE
    no_quantity CONSTANT text := CASE
        WHEN NOT has_production THEN 'no production'
        WHEN quantity IS NULL THEN 'quantity is not reported'
    END;
    no_output CONSTANT text := coalesce(no_quantity, CASE WHEN inspected_quantity IS NULL THEN 'scrap is not reported' END);
    no_unit CONSTANT text := 'resources count in different units';
    no_time CONSTANT text := CASE WHEN production = 0 AND has_untimed_production THEN 'duration is not reported' END;
BEGIN
    RETURN QUERY
    SELECT
        k.kpi,
        CASE WHEN f.reason IS NULL THEN CASE WHEN k.unit = '%' AND k.kpi <> 'effectiveness' THEN least(q.value, 100) ELSE q.value END END,
        k.unit,
        k.numerator,
        k.numerator_unit,
        k.denominator,
        k.denominator_unit,
        CASE
            WHEN k.base > 0 THEN least(greatest(100 * coalesce(k.covered, 0) / k.base, 0), 100)
        END,
        f.reason
    FROM (
        SELECT
            n.kpi, n.scale, n.unit, n.numerator_unit, n.denominator_unit, n.covered, n.base, n.reason, n.reason_if_zero,
            -- Prorated quantities are quotients: the order of addition affects digits beyond any meaningful precision.
            round(n.numerator, 15) AS numerator,
            round(n.denominator, 15) AS denominator
        FROM (
        VALUES
            ('availability', 100, '%', production_planned / 60, 'min', measured_planned / 60, 'min', recorded_planned, planned,
                CASE WHEN coalesce(measured_planned, 0) = 0 THEN 'no planned busy time' ELSE no_time END, 'no planned busy time'),
            ('effectiveness', 100, '%', rated_time / 60, 'min', rated_counted / 60, 'min', busy - production + coalesce(rated_counted, 0), base,
                coalesce(no_quantity, CASE WHEN rated_counted IS NULL THEN 'no rated capacity' END, no_time,
                    CASE WHEN rated_time IS NULL THEN 'duration is not reported' END), 'no production'),
            ('quality_ratio', 100, '%', CASE WHEN inspected_unit IS NOT NULL THEN inspected_quantity - scrap_quantity END, 'quantity',
                CASE WHEN inspected_unit IS NOT NULL THEN inspected_quantity END, 'quantity', busy - production + coalesce(inspected, 0), base,
                coalesce(no_output, CASE WHEN inspected_unit IS NULL THEN no_unit END), 'no production'),
            ('oee', 100, '%', good_time / 60, 'min', output_planned / 60, 'min', output_recorded, planned,
                CASE
                    WHEN coalesce(measured_planned, 0) = 0 THEN 'no planned busy time'
                    WHEN coalesce(rated_planned, 0) = 0 THEN 'no rated capacity'
                    WHEN has_production THEN no_output
                END, 'quantity and scrap are not reported'),
            ('utilisation_efficiency', 100, '%', production / 60, 'min', busy / 60, 'min', busy, base, no_time, 'no busy time'),
            ('throughput_rate', 1, coalesce(quantity_unit, 'quantity') || '/h', CASE WHEN quantity_unit IS NOT NULL THEN timed_quantity END,
                coalesce(quantity_unit, 'quantity'), counting_busy / 3600, 'h', busy - production + coalesce(counted, 0), base,
                CASE
                    WHEN coalesce(busy, 0) = 0 THEN NULL
                    WHEN has_production AND quantity IS NULL THEN 'quantity is not reported'
                    WHEN quantity_unit IS NULL THEN no_unit
                    WHEN has_production AND timed_quantity IS NULL THEN 'duration is not reported'
                END, 'no busy time'),
            ('scrap_ratio', 100, '%', CASE WHEN inspected_unit IS NOT NULL THEN scrap_quantity END, 'quantity',
                CASE WHEN inspected_unit IS NOT NULL THEN inspected_quantity END, 'quantity', busy - production + coalesce(inspected, 0), base,
                coalesce(no_output, CASE WHEN inspected_unit IS NULL THEN no_unit END), 'no production'),
            ('mtbf', 1, 'h', production / 3600, 'h', failure_count, 'failures', busy, base,
                CASE WHEN failure_count > 0 THEN no_time END, 'no failure'),
            ('mttr', 1, 'h', breakdown / 3600, 'h', timed_failure_count, 'failures', busy, base,
                CASE WHEN failure_count > 0 AND timed_failure_count = 0 THEN 'duration is not reported' END, 'no failure')
        ) AS n (
            kpi, scale, unit, numerator, numerator_unit, denominator, denominator_unit, covered, base, reason, reason_if_zero
        )
    ) AS k
    CROSS JOIN LATERAL (SELECT k.scale * coalesce(k.numerator, 0) / nullif(k.denominator, 0) AS value) AS q
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN NOT has_data AND has_nameless THEN 'the events of the period name no resource'
            WHEN NOT has_data THEN 'no events in the period'
            WHEN k.reason IS NOT NULL THEN k.reason
            WHEN coalesce(k.denominator, 0) = 0 THEN k.reason_if_zero
            WHEN k.numerator < 0 OR k.denominator < 0 OR (q.value > 100.000001 AND k.kpi IN ('quality_ratio', 'scrap_ratio'))
                THEN 'impossible: scrap is more than quantity; doctor names the rows'
            WHEN q.value > 100.000001 AND k.kpi = 'oee'
                THEN 'impossible: more good quantity than the rated capacity allows in the planned time; see effectiveness'
            WHEN q.value > 100.000001 AND k.kpi IN ('availability', 'utilisation_efficiency')
                THEN 'impossible: more production time than time; doctor names the rows'
        END AS reason
    ) AS f;
END
$$;
COMMENT ON FUNCTION event_kpis IS 'KPIs of an aggregated time model; see operational_kpis(). Times in seconds.';

CREATE FUNCTION time_kpis(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[],
    grouping_level text
)
RETURNS TABLE (
    part integer,
    location_id uuid,
    resource_id uuid,
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text
)
LANGUAGE plpgsql
STABLE
-- Planned once per session, because planning takes longer than the aggregation.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    by_location CONSTANT boolean := grouping_level = 'location';
    by_resource CONSTANT boolean := grouping_level = 'resource';
    first_instant CONSTANT timestamptz := (SELECT min(s) FROM unnest(part_starts) AS s);
    end_instant CONSTANT timestamptz := least((SELECT max(e) FROM unnest(part_ends) AS e), now());
    usable CONSTANT tstzmultirange := kept_resource_time(org);
    nowhere CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    by_totals boolean := false;
    machines uuid[];
    reports_events boolean[];
    reports_quantity boolean[];
    reports_output boolean[];
BEGIN
    -- All but single hours are read added up over machines, if each machine reports what it reported when they were added up.
    IF NOT by_resource AND NOT isempty(usable) THEN
        SELECT array_agg(r.resource_id), array_agg(r.reports_events), array_agg(r.reports_quantity), array_agg(r.reports_output)
        INTO machines, reports_events, reports_quantity, reports_output
        FROM resource_reporting(org) AS r;
        by_totals := NOT EXISTS (
            SELECT FROM resource_time_report_changes(org, machines, reports_events, reports_quantity, reports_output)
        );
    END IF;

    RETURN QUERY
    WITH recorded AS MATERIALIZED (
        SELECT t.*
        FROM resource_time(org, part_numbers, part_starts, part_ends, part_locations) AS t
        WHERE NOT by_totals
        UNION ALL
        SELECT t.*
        FROM resource_time_rest(org, part_numbers, part_starts, part_ends, part_locations, usable, NULL) AS t
        WHERE by_totals
    ),
    known AS (
        SELECT
            array_agg(DISTINCT f.resource_id) FILTER (WHERE f.state <> 'planned') AS reported,
            array_agg(DISTINCT f.resource_id) FILTER (WHERE f.state = 'production' AND f.quantity IS NOT NULL) AS counted,
            array_agg(DISTINCT f.resource_id) FILTER (WHERE f.inspected_quantity IS NOT NULL) AS inspected
        FROM recorded AS f
        WHERE f.resource_id IS NOT NULL
            AND NOT by_totals
    ),
    reporting AS MATERIALIZED (
        SELECT r.*
        FROM known AS k
        CROSS JOIN LATERAL resource_reporting(
            org, coalesce(k.reported, '{}'), coalesce(k.counted, '{}'), coalesce(k.inspected, '{}')
        ) AS r
        WHERE NOT by_totals
        UNION ALL
        SELECT r.*
        FROM unnest(machines, reports_events, reports_quantity, reports_output) AS r
        WHERE by_totals
    ),
    -- Machines that stood at one location over the same period and report the same share their planned time.
    versions AS (
        SELECT
            h.location_id,
            h.valid_from,
            h.valid_to,
            h.rated_capacity_per_hour IS NOT NULL AS is_rated,
            r.reports_events,
            r.reports_quantity,
            r.reports_output,
            count(*) AS machine_count
        FROM resource_history AS h
        LEFT JOIN reporting AS r ON r.resource_id = h.resource_id
        WHERE by_totals
            AND h.organization_id = org
            AND h.is_in_service
            AND h.valid_from < end_instant
            AND h.valid_to > first_instant
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ),
    facts AS MATERIALIZED (
        SELECT
            f.part,
            f.resource_id,
            f.resource_id IS NOT NULL AS is_machine,
            r.reports_events,
            r.reports_quantity,
            r.reports_output,
            f.location_id,
            f.stood_location_id,
            f.state,
            f.capacity_unit,
            f.is_rated,
            f.failure_count,
            f.untimed_count,
            f.untimed_failure_count,
            f.seconds,
            f.planned_seconds,
            f.quantity,
            f.scrap_quantity,
            f.inspected_quantity,
            f.timed_quantity,
            f.counted_seconds,
            f.inspected_seconds,
            f.rated_counted_seconds,
            f.rated_seconds,
            f.output_planned_seconds,
            f.good_planned_seconds
        FROM recorded AS f
        LEFT JOIN reporting AS r ON r.resource_id = f.resource_id
        UNION ALL
        SELECT
            r.part,
            r.resource_id,
            r.is_machine,
            CASE WHEN r.resource_id IS NULL THEN r.reports_events ELSE g.reports_events END,
            CASE WHEN r.resource_id IS NULL THEN r.reports_quantity ELSE g.reports_quantity END,
            CASE WHEN r.resource_id IS NULL THEN r.reports_output ELSE g.reports_output END,
            r.location_id,
            r.stood_location_id,
            r.state,
            r.capacity_unit,
            r.is_rated,
            r.failure_count,
            r.untimed_count,
            r.untimed_failure_count,
            r.seconds,
            r.planned_seconds,
            r.quantity,
            r.scrap_quantity,
            r.inspected_quantity,
            r.timed_quantity,
            r.counted_seconds,
            r.inspected_seconds,
            r.rated_counted_seconds,
            r.rated_seconds,
            r.output_planned_seconds,
            r.good_planned_seconds
        FROM resource_time_added(org, part_numbers, part_starts, part_ends, part_locations, usable) AS r
        LEFT JOIN reporting AS g ON g.resource_id = r.resource_id
        WHERE by_totals
        UNION ALL
        SELECT
            p.part,
            NULL,
            true,
            v.reports_events,
            v.reports_quantity,
            v.reports_output,
            p.location_id,
            p.location_id,
            'planned',
            NULL,
            v.is_rated,
            0,
            0,
            0,
            p.seconds * v.machine_count,
            p.seconds * v.machine_count,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL
        FROM shift_seconds(org, part_numbers, part_starts, part_ends, part_locations) AS p
        JOIN versions AS v
            ON v.location_id = p.location_id
            AND v.valid_from = p.valid_from
            AND v.valid_to = p.valid_to
        WHERE by_totals
            AND p.seconds > 0
    ),
    subjects AS (
        SELECT NULL::uuid AS location_id, NULL::uuid AS resource_id
        WHERE NOT by_location AND NOT by_resource
        UNION ALL
        SELECT l.location_id, NULL
        FROM locations AS l
        WHERE l.organization_id = org
            AND by_location
        UNION ALL
        -- Location at the end of the period; excludes machines that were out of service throughout and did nothing.
        SELECT h.location_id, h.resource_id
        FROM resource_history AS h
        WHERE h.organization_id = org
            AND by_resource
            AND h.valid_from < end_instant
            AND h.valid_to >= end_instant
            AND (
                EXISTS (
                    SELECT
                    FROM resource_history AS served
                    WHERE served.organization_id = org
                        AND served.resource_id = h.resource_id
                        AND served.is_in_service
                        AND served.valid_from < end_instant
                        AND served.valid_to > first_instant
                )
                OR EXISTS (SELECT FROM facts AS f WHERE f.resource_id = h.resource_id)
            )
    ),
    -- By location of the event.
    happened AS (
        SELECT
            f.part,
            CASE WHEN by_location THEN f.location_id END AS location_id,
            CASE WHEN by_resource THEN f.resource_id END AS resource_id,
            count(*) FILTER (WHERE f.is_machine) > 0 AS has_data,
            count(*) FILTER (WHERE NOT f.is_machine) > 0 AS has_nameless,
            sum(f.seconds) FILTER (WHERE m.is_busy) AS busy,
            sum(f.seconds - f.planned_seconds) FILTER (WHERE m.is_busy) AS busy_unplanned,
            sum(f.seconds) FILTER (WHERE NOT f.is_machine AND f.state <> 'maintenance') AS nameless,
            sum(f.seconds) FILTER (WHERE m.is_production) AS production,
            sum(f.seconds) FILTER (WHERE m.is_busy AND f.state = 'breakdown') AS breakdown,
            sum(f.failure_count) AS failure_count,
            sum(f.failure_count - f.untimed_failure_count) AS timed_failure_count,
            count(*) FILTER (WHERE m.is_production) > 0 AS has_production,
            coalesce(sum(f.untimed_count) FILTER (WHERE m.is_production), 0) > 0 AS has_untimed_production,
            CASE
                WHEN count(DISTINCT coalesce(f.capacity_unit, 'quantity')) FILTER (WHERE m.is_production AND f.quantity > 0) <= 1
                    THEN coalesce(min(f.capacity_unit) FILTER (WHERE m.is_production AND f.quantity > 0), 'quantity')
            END AS quantity_unit,
            CASE
                WHEN count(DISTINCT coalesce(f.capacity_unit, 'quantity')) FILTER (WHERE m.is_production AND f.inspected_quantity > 0) <= 1
                    THEN 'quantity'
            END AS inspected_unit,
            sum(f.quantity) FILTER (WHERE m.is_production) AS quantity,
            sum(f.timed_quantity) FILTER (WHERE m.is_production) AS timed_quantity,
            sum(f.counted_seconds) FILTER (WHERE m.is_production) AS counted,
            sum(
                CASE WHEN f.state = 'production' THEN coalesce(f.counted_seconds, 0) ELSE f.seconds END
            ) FILTER (WHERE m.is_busy AND f.reports_quantity) AS counting_busy,
            sum(f.inspected_quantity) FILTER (WHERE m.is_production) AS inspected_quantity,
            sum(f.scrap_quantity) FILTER (WHERE m.is_production AND f.inspected_quantity IS NOT NULL) AS scrap_quantity,
            sum(f.inspected_seconds) FILTER (WHERE m.is_production) AS inspected,
            sum(f.rated_seconds) FILTER (WHERE m.is_production) AS rated_time,
            sum(f.rated_counted_seconds) FILTER (WHERE m.is_production) AS rated_counted
        FROM facts AS f
        CROSS JOIN LATERAL (
            SELECT
                f.is_machine AND f.state IN ('production', 'setup', 'idle', 'breakdown') AS is_busy,
                f.is_machine AND f.state = 'production' AS is_production
        ) AS m
        WHERE f.state <> 'planned'
        GROUP BY 1, 2, 3
    ),
    -- By location where the machine stood, whose shifts determine its planned time.
    stood AS (
        SELECT
            f.part,
            CASE WHEN by_location THEN f.stood_location_id END AS location_id,
            CASE WHEN by_resource THEN f.resource_id END AS resource_id,
            count(*) FILTER (WHERE f.state <> 'planned' AND f.planned_seconds > 0) > 0 AS has_data,
            sum(m.planned) AS planned,
            sum(f.planned_seconds) FILTER (WHERE m.is_busy) AS recorded_planned,
            sum(m.planned) FILTER (WHERE f.reports_events) AS measured_planned,
            coalesce(sum(f.planned_seconds) FILTER (WHERE f.state = 'production'), 0) AS production_planned,
            sum(m.planned) FILTER (WHERE f.reports_events AND f.is_rated) AS rated_planned,
            sum(m.planned - m.unknown_output) FILTER (WHERE f.reports_output AND f.is_rated) AS output_planned,
            sum(f.planned_seconds - m.unknown_output) FILTER (WHERE m.is_busy AND f.reports_output AND f.is_rated) AS output_recorded,
            coalesce(sum(f.good_planned_seconds), 0) AS good_time
        FROM facts AS f
        CROSS JOIN LATERAL (
            SELECT
                CASE f.state WHEN 'planned' THEN f.planned_seconds WHEN 'maintenance' THEN -f.planned_seconds ELSE 0 END AS planned,
                CASE
                    WHEN f.state = 'production' THEN f.planned_seconds - coalesce(f.output_planned_seconds, 0)
                    ELSE 0
                END AS unknown_output,
                f.state IN ('production', 'setup', 'idle', 'breakdown') AS is_busy
        ) AS m
        WHERE f.is_machine
        GROUP BY 1, 2, 3
    )
    SELECT
        p.part,
        s.location_id,
        s.resource_id,
        k.kpi,
        k.value,
        k.unit,
        k.numerator,
        k.numerator_unit,
        k.denominator,
        k.denominator_unit,
        k.coverage_pct,
        k.reason
    FROM (SELECT DISTINCT n AS part FROM unnest(part_numbers) AS n) AS p
    CROSS JOIN subjects AS s
    -- Equality of what may be NULL, which can be hashed: there may be thousands of machines.
    LEFT JOIN happened AS h
        ON h.part = p.part
        AND coalesce(h.location_id, nowhere) = coalesce(CASE WHEN by_location THEN s.location_id END, nowhere)
        AND coalesce(h.resource_id, nowhere) = coalesce(s.resource_id, nowhere)
    LEFT JOIN stood AS t
        ON t.part = p.part
        AND coalesce(t.location_id, nowhere) = coalesce(CASE WHEN by_location THEN s.location_id END, nowhere)
        AND coalesce(t.resource_id, nowhere) = coalesce(s.resource_id, nowhere)
    CROSS JOIN LATERAL event_kpis(
        coalesce(h.has_data, false) OR coalesce(t.has_data, false),
        coalesce(h.has_nameless, false),
        coalesce(t.planned, 0),
        coalesce(t.recorded_planned, 0),
        greatest(
            coalesce(t.planned, 0) + coalesce(h.busy_unplanned, 0) + coalesce(h.nameless, 0), coalesce(h.busy, 0) + coalesce(h.nameless, 0)
        ),
        coalesce(t.measured_planned, 0),
        t.production_planned,
        coalesce(h.production, 0),
        coalesce(h.busy, 0),
        coalesce(h.breakdown, 0),
        coalesce(h.failure_count, 0),
        coalesce(h.timed_failure_count, 0),
        coalesce(h.has_production, false),
        coalesce(h.has_untimed_production, false),
        h.quantity_unit,
        h.inspected_unit,
        h.quantity,
        h.timed_quantity,
        h.counted,
        coalesce(h.counting_busy, 0),
        h.inspected_quantity,
        h.scrap_quantity,
        h.inspected,
        h.rated_time,
        h.rated_counted,
        coalesce(t.rated_planned, 0),
        coalesce(t.output_planned, 0),
        coalesce(t.output_recorded, 0),
        t.good_time
    ) AS k;
END
$$;
COMMENT ON FUNCTION time_kpis(uuid, integer[], timestamptz[], timestamptz[], uuid[], text) IS
    'KPIs computed from events for each part of the query (see resource_time()), by organization, location or resource; '
    'see operational_kpis(). Planned time of a location, and production within it, is that of the machines that stood '
    'there; everything else counts at the location of the event. The location_id of a resource is its location at the end.';

CREATE FUNCTION kpis_by_part(
    org uuid,
    part_starts timestamptz[],      -- in order, without overlaps
    part_ends timestamptz[],
    grouping_level text
)
RETURNS TABLE (
    part integer,
    location_id uuid,
    resource_id uuid,
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text
)
LANGUAGE plpgsql
STABLE
-- Planned once per session, because planning takes longer than the aggregation. Statements that read chunks are planned separately
-- with the actual period, so that chunks outside it cost nothing, however long the history is.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    by_location CONSTANT boolean := grouping_level = 'location';
    by_resource CONSTANT boolean := grouping_level = 'resource';
    period_start CONSTANT timestamptz := part_starts[1];
    period_end CONSTANT timestamptz := part_ends[cardinality(part_ends)];
    -- Early arrivals are recorded early, and a shift lasts at most a day: attendance of the assignments is within this
    -- range, so chunks outside it are excluded once rather than for each assignment.
    early CONSTANT interval := interval '2 hours';
    recorded_since CONSTANT timestamptz := period_start - early;
    recorded_until CONSTANT timestamptz := period_end + interval '25 hours';
    nowhere CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    recorded_employees uuid[];
    recorded_times timestamptz[];
BEGIN
    IF grouping_level NOT IN ('organization', 'location', 'resource') THEN
        RAISE EXCEPTION 'grouping_level is %, not organization, location or resource', coalesce(grouping_level, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF NOT by_resource THEN
        EXECUTE '
            SELECT
                array_agg(a.employee_id),
                array_agg(a.time)
            FROM employee_attendance AS a
            WHERE a.organization_id = $1
                AND a.time >= $2
                AND a.time < $3'
        INTO recorded_employees, recorded_times
        USING org, recorded_since, recorded_until;
    END IF;

    RETURN QUERY
    WITH timed AS MATERIALIZED (
        SELECT
            k.*
        FROM time_kpis(
            org, (SELECT array_agg(n) FROM generate_series(1, cardinality(part_starts)) AS n), part_starts, part_ends, NULL, grouping_level
        ) AS k
    ),
    subjects AS (
        SELECT DISTINCT
            t.part,
            t.location_id,
            t.resource_id
        FROM timed AS t
    ),
    -- Plans whose local day has ended. Plans for one product use its unit; plans for several are added up unless they have
    -- two different known units, of the products or, failing that, of the machines.
    plan_days AS MATERIALIZED (
        -- One day more at either end than any time zone can shift; then exactly, once per day and calendar.
        SELECT
            d.day::date AS plan_date,
            z.timezone,
            i.part
        FROM generate_series(
            date_trunc('day', period_start AT TIME ZONE 'UTC') - interval '2 days',
            date_trunc('day', least(period_end, now()) AT TIME ZONE 'UTC') + interval '1 day',
            interval '1 day'
        ) AS d (day)
        CROSS JOIN (SELECT DISTINCT l.timezone FROM location_history AS l WHERE l.organization_id = org) AS z
        CROSS JOIN LATERAL (SELECT local_day_start(d.day::date + 1, z.timezone)) AS n (ends_at)
        -- The part in which the day ends; a part's first instant belongs to the day before it.
        CROSS JOIN LATERAL (SELECT width_bucket(n.ends_at - interval '1 microsecond', part_starts)) AS i (part)
        WHERE n.ends_at > period_start
            AND n.ends_at <= least(part_ends[i.part], now())
    ),
    plans AS (
        SELECT
            d.part,
            CASE WHEN by_location THEN p.location_id END AS location_id,
            CASE WHEN by_resource THEN p.resource_id END AS resource_id,
            count(*) AS plan_count,
            count(DISTINCT coalesce(u.unit, h.capacity_unit)) <= 1 OR count(DISTINCT p.product_id) <= 1 AS has_one_unit,
            sum(p.planned_quantity) AS planned_quantity,
            sum(p.planned_quantity) FILTER (WHERE p.actual_quantity IS NOT NULL) AS reported_planned_quantity,
            sum(p.actual_quantity) AS actual_quantity
        FROM production_plans AS p
        JOIN location_history AS l
            ON l.organization_id = org
            AND l.location_id = p.location_id
            AND l.valid_from <= p.plan_date::timestamp AT TIME ZONE 'UTC'
            AND l.valid_to > p.plan_date::timestamp AT TIME ZONE 'UTC'
        JOIN plan_days AS d
            ON d.plan_date = p.plan_date
            AND d.timezone = l.timezone
        LEFT JOIN resource_history AS h
            ON h.organization_id = org
            AND h.resource_id = p.resource_id
            AND h.valid_from <= p.plan_date::timestamp AT TIME ZONE 'UTC'
            AND h.valid_to > p.plan_date::timestamp AT TIME ZONE 'UTC'
        LEFT JOIN products AS u
            ON u.organization_id = org
            AND u.product_id = p.product_id
        WHERE p.organization_id = org
            AND p.status <> 'cancelled'
            AND p.plan_date >= (period_start AT TIME ZONE 'UTC')::date - 2
            AND p.plan_date <= (least(period_end, now()) AT TIME ZONE 'UTC')::date + 1
            AND (NOT by_resource OR p.resource_id IS NOT NULL)
        GROUP BY 1, 2, 3
    ),
    attendance AS (
        SELECT
            width_bucket(a.time, part_starts) AS part,
            CASE WHEN by_location THEN a.location_id END AS location_id,
            count(*) AS scheduled_count,
            count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count
        FROM counted_attendance(org, period_start, period_end) AS a
        WHERE NOT by_resource
            AND a.time < part_ends[width_bucket(a.time, part_starts)]
        GROUP BY 1, 2
    ),
    assigned AS (
        SELECT
            sa.employee_id,
            sa.starts_at,
            sa.starts_at - early AS recorded_from,
            sa.ends_at
        FROM shift_assignments AS sa
        WHERE NOT by_resource
            AND sa.organization_id = org
            AND sa.status <> 'cancelled'
            AND sa.starts_at >= period_start
            AND sa.starts_at < least(period_end, now())
            AND sa.starts_at < part_ends[width_bucket(sa.starts_at, part_starts)]
    ),
    -- Match each assignment with the next attendance of its employee in a single ordered pass instead of lookups.
    recorded AS (
        SELECT
            t.employee_id,
            t.starts_at,
            t.ends_at,
            min(t.recorded_at) OVER (PARTITION BY t.employee_id ORDER BY t.at DESC) AS recorded_at
        FROM (
            SELECT
                sa.employee_id,
                sa.recorded_from AS at,
                sa.starts_at,
                sa.ends_at,
                NULL::timestamptz AS recorded_at
            FROM assigned AS sa
            UNION ALL
            SELECT
                a.employee_id,
                a.time,
                NULL,
                NULL,
                a.time
            FROM unnest(recorded_employees, recorded_times) AS a (employee_id, time)
        ) AS t
    ),
    assignments AS (
        SELECT
            width_bucket(sa.starts_at, part_starts) AS part,
            CASE WHEN by_location THEN e.location_id END AS location_id,
            count(*) AS assigned_count,
            count(*) FILTER (WHERE sa.recorded_at < sa.ends_at) AS recorded_count
        FROM recorded AS sa
        JOIN employee_history AS e
            ON e.organization_id = org
            AND e.employee_id = sa.employee_id
            AND e.valid_from <= sa.starts_at
            AND e.valid_to > sa.starts_at
        WHERE e.is_employed
        GROUP BY 1, 2
    ),
    forecasts AS (
        SELECT
            f.part,
            CASE WHEN by_location THEN f.location_id END AS location_id,
            count(*) FILTER (WHERE f.is_over) AS target_count,
            count(f.actual_quantity) AS outcome_count,
            sum(abs(f.actual_quantity - f.predicted_quantity)) AS absolute_error,
            sum(f.actual_quantity) AS actual_quantity,
            array_agg(DISTINCT p.unit ORDER BY p.unit)
                FILTER (WHERE f.actual_quantity IS NOT NULL AND p.unit IS NOT NULL) AS units
        FROM forecast_outcomes_by_part(org, part_starts, part_ends, newest_only => true) AS f
        LEFT JOIN products AS p
            ON p.organization_id = org
            AND p.product_id = f.product_id
        WHERE NOT by_resource
        GROUP BY 1, 2
    ),
    answers AS (
        SELECT
            t.part,
            t.location_id,
            t.resource_id,
            t.kpi,
            t.value,
            t.unit,
            t.numerator,
            t.numerator_unit,
            t.denominator,
            t.denominator_unit,
            t.coverage_pct,
            t.reason
        FROM timed AS t
        UNION ALL
        SELECT
            s.part,
            s.location_id,
            s.resource_id,
            'plan_attainment',
            CASE WHEN p.has_one_unit THEN 100 * p.actual_quantity / p.reported_planned_quantity END,
            '%',
            CASE WHEN p.has_one_unit THEN p.actual_quantity END,
            'quantity',
            CASE WHEN p.has_one_unit THEN p.reported_planned_quantity END,
            'quantity',
            CASE WHEN p.has_one_unit THEN 100 * coalesce(p.reported_planned_quantity, 0) / p.planned_quantity END,
            CASE
                WHEN p.plan_count IS NULL THEN 'no plan due in the period'
                WHEN NOT p.has_one_unit THEN 'products count in different units'
                WHEN p.reported_planned_quantity IS NULL THEN 'no actual quantity reported'
            END
        FROM subjects AS s
        LEFT JOIN plans AS p
            ON p.part = s.part
            AND coalesce(p.location_id, nowhere) = coalesce(CASE WHEN by_location THEN s.location_id END, nowhere)
            AND coalesce(p.resource_id, nowhere) = coalesce(s.resource_id, nowhere)
        UNION ALL
        SELECT
            s.part,
            s.location_id,
            s.resource_id,
            'attendance_rate',
            100.0 * a.attended_count / a.scheduled_count,
            '%',
            a.attended_count,
            'shifts',
            a.scheduled_count,
            'shifts',
            100.0 * n.recorded_count / n.assigned_count,
            CASE
                WHEN by_resource THEN 'attendance is of locations, not of resources'
                WHEN a.scheduled_count IS NULL THEN 'no attendance recorded'
            END
        FROM subjects AS s
        LEFT JOIN attendance AS a ON a.part = s.part AND coalesce(a.location_id, nowhere) = coalesce(s.location_id, nowhere) AND NOT by_resource
        LEFT JOIN assignments AS n ON n.part = s.part AND coalesce(n.location_id, nowhere) = coalesce(s.location_id, nowhere) AND NOT by_resource
        UNION ALL
        SELECT
            s.part,
            s.location_id,
            s.resource_id,
            'forecast_wape',
            CASE WHEN m.is_of_one_unit THEN 100 * f.absolute_error / nullif(f.actual_quantity, 0) END,
            '%',
            CASE WHEN m.is_of_one_unit THEN f.absolute_error END,
            'quantity',
            CASE WHEN m.is_of_one_unit THEN f.actual_quantity END,
            'quantity',
            100.0 * f.outcome_count / nullif(f.target_count, 0),
            CASE
                WHEN by_resource THEN 'forecasts are of locations, not of resources'
                WHEN f.target_count IS NULL THEN 'no forecast for the period'
                WHEN f.target_count = 0 THEN 'no forecast target has ended yet'
                WHEN NOT m.is_of_one_unit THEN 'products are counted in different units: ' || array_to_string(f.units, ', ')
                WHEN f.outcome_count = 0 THEN 'no demand recorded for the targets yet'
                WHEN f.actual_quantity = 0 THEN 'nothing was demanded'
            END
        FROM subjects AS s
        LEFT JOIN forecasts AS f ON f.part = s.part AND coalesce(f.location_id, nowhere) = coalesce(s.location_id, nowhere) AND NOT by_resource
        CROSS JOIN LATERAL (SELECT coalesce(cardinality(f.units), 0) <= 1) AS m (is_of_one_unit)
    )
    SELECT
        a.part,
        a.location_id,
        a.resource_id,
        a.kpi,
        a.value,
        a.unit,
        a.numerator,
        a.numerator_unit,
        a.denominator,
        a.denominator_unit,
        a.coverage_pct,
        a.reason
    FROM answers AS a
    ORDER BY
        a.part,
        a.location_id,
        a.resource_id,
        array_position(kpi_names(), a.kpi);
END
$$;
COMMENT ON FUNCTION kpis_by_part(uuid, timestamptz[], timestamptz[], text) IS
    'operational_kpis() of several periods, which follow each other: part is the number of the period, from 1.';

CREATE FUNCTION operational_kpis(
    org uuid,
    period_start timestamptz,
    period_end timestamptz,
    grouping_level text DEFAULT 'organization'
)
RETURNS TABLE (
    location_id uuid,
    resource_id uuid,
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
BEGIN
    IF period_start >= period_end OR NOT isfinite(period_start) OR NOT isfinite(period_end) THEN
        RAISE EXCEPTION 'the period must start before it ends: % to %', period_start, period_end
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT
        k.location_id,
        k.resource_id,
        k.kpi,
        k.value,
        k.unit,
        k.numerator,
        k.numerator_unit,
        k.denominator,
        k.denominator_unit,
        k.coverage_pct,
        k.reason
    FROM kpis_by_part(org, ARRAY[period_start], ARRAY[period_end], grouping_level) AS k;
END
$$;
COMMENT ON FUNCTION operational_kpis(uuid, timestamptz, timestamptz, text) IS
    'KPIs of the period, for the organization, each location or each resource. One row per KPI: value with unit, numerator '
    'and denominator with their units, coverage_pct (share of what should have data that is included in the KPI: of '
    'planned busy time and time recorded outside of it, of planned quantity, assignments or forecast targets; NULL if '
    'there is none), and the reason if value is NULL. Attendance and WAPE are not available by resource.';

CREATE FUNCTION shift_kpis(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    shift_id uuid,
    location_id uuid,
    shift_name text,
    starts_at timestamptz,
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text
)
LANGUAGE plpgsql
STABLE
-- A generic plan would join all events with all shifts.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Shifts last at most a day, and early arrivals are recorded early.
    recorded_since CONSTANT timestamptz := period_start - interval '25 hours';
    recorded_until CONSTANT timestamptz := period_end + interval '25 hours';
    numbers integer[];
    ids uuid[];
    starts timestamptz[];
    ends timestamptz[];
    places uuid[];
BEGIN
    SELECT
        array_agg(w.number ORDER BY w.number),
        array_agg(w.shift_id ORDER BY w.number),
        array_agg(w.starts_at ORDER BY w.number),
        array_agg(w.ends_at ORDER BY w.number),
        array_agg(w.location_id ORDER BY w.number)
    INTO numbers, ids, starts, ends, places
    FROM (
        SELECT
            s.shift_id,
            s.location_id,
            s.starts_at,
            s.ends_at,
            row_number() OVER (ORDER BY s.starts_at, s.location_id, s.shift_id)::integer AS number
        FROM shifts AS s
        WHERE s.organization_id = org
            AND s.starts_at >= period_start
            AND s.starts_at < period_end
    ) AS w;

    RETURN QUERY
    WITH worked AS (
        SELECT
            s.shift_id,
            s.location_id,
            s.name,
            s.starts_at
        FROM shifts AS s
        WHERE s.organization_id = org
            AND s.starts_at >= period_start
            AND s.starts_at < period_end
    ),
    attendance AS (
        SELECT
            a.shift_id,
            count(*) AS scheduled_count,
            count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count
        FROM (
            -- One per employee and shift: the one that begins last overrides the others.
            SELECT DISTINCT ON (a.employee_id, a.shift_id)
                a.shift_id,
                a.status,
                e.is_employed
            FROM employee_attendance AS a
            JOIN employee_history AS e
                ON e.organization_id = org
                AND e.employee_id = a.employee_id
                AND e.valid_from <= a.time
                AND e.valid_to > a.time
            WHERE a.organization_id = org
                AND a.shift_id = ANY (ids)
                AND a.time >= recorded_since
                AND a.time < recorded_until
                AND a.time < now()
            ORDER BY a.employee_id, a.shift_id, a.time DESC
        ) AS a
        WHERE a.status <> 'vacation'
            AND a.is_employed
        GROUP BY a.shift_id
    ),
    assignments AS (
        SELECT
            sa.shift_id,
            count(*) AS assigned_count
        FROM shift_assignments AS sa
        JOIN employee_history AS e
            ON e.organization_id = org
            AND e.employee_id = sa.employee_id
            AND e.valid_from <= sa.starts_at
            AND e.valid_to > sa.starts_at
            AND e.is_employed
        WHERE sa.organization_id = org
            AND sa.status <> 'cancelled'
            AND sa.starts_at >= period_start
            AND sa.starts_at < period_end
        GROUP BY sa.shift_id
    ),
    answers AS (
        SELECT
            ids[k.part] AS shift_id,
            k.kpi,
            k.value,
            k.unit,
            k.numerator,
            k.numerator_unit,
            k.denominator,
            k.denominator_unit,
            k.coverage_pct,
            k.reason
        FROM time_kpis(org, numbers, starts, ends, places, 'organization') AS k
        UNION ALL
        SELECT
            w.shift_id,
            'attendance_rate',
            100.0 * a.attended_count / a.scheduled_count,
            '%',
            a.attended_count,
            'shifts',
            a.scheduled_count,
            'shifts',
            CASE WHEN n.assigned_count > 0 THEN least(100.0 * coalesce(a.scheduled_count, 0) / n.assigned_count, 100) END,
            CASE WHEN a.scheduled_count IS NULL THEN 'no attendance recorded' END
        FROM worked AS w
        LEFT JOIN attendance AS a ON a.shift_id = w.shift_id
        LEFT JOIN assignments AS n ON n.shift_id = w.shift_id
        UNION ALL
        SELECT w.shift_id, k.kpi, NULL, '%', NULL, 'quantity', NULL, 'quantity', NULL, k.reason
        FROM worked AS w
        CROSS JOIN (
            VALUES
                ('plan_attainment', 'plans are of days, not of shifts'),
                ('forecast_wape', 'forecasts are of locations, not of shifts')
        ) AS k (kpi, reason)
    )
    SELECT
        w.shift_id,
        w.location_id,
        w.name,
        w.starts_at,
        a.kpi,
        a.value,
        a.unit,
        a.numerator,
        a.numerator_unit,
        a.denominator,
        a.denominator_unit,
        a.coverage_pct,
        a.reason
    FROM worked AS w
    JOIN answers AS a ON a.shift_id = w.shift_id
    ORDER BY w.starts_at, w.location_id, w.name, w.shift_id, array_position(kpi_names(), a.kpi);
END
$$;
COMMENT ON FUNCTION shift_kpis(uuid, timestamptz, timestamptz) IS
    'KPIs of each shift that starts in the period. Rows as in operational_kpis(), over the machines that stood at the '
    'shift''s location, up to now. Plan attainment and WAPE are not available by shift.';

CREATE FUNCTION get_kpi_summary(org uuid, days integer DEFAULT 7)
RETURNS TABLE (
    kpi text,
    value numeric,
    unit text,
    numerator numeric,
    numerator_unit text,
    denominator numeric,
    denominator_unit text,
    coverage_pct numeric,
    reason text,
    period_start timestamptz,
    period_end timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
DECLARE
    ends_at CONSTANT timestamptz := now();
    starts_at CONSTANT timestamptz := ends_at - make_interval(hours => 24 * days);
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'days is %: it must be 1 or more', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT
        k.kpi,
        k.value,
        k.unit,
        k.numerator,
        k.numerator_unit,
        k.denominator,
        k.denominator_unit,
        k.coverage_pct,
        k.reason,
        starts_at,
        ends_at
    FROM operational_kpis(org, starts_at, ends_at, 'organization') AS k;
END
$$;
COMMENT ON FUNCTION get_kpi_summary(uuid, integer) IS
    'KPIs of the organization for the last N times 24 hours. Rows as in operational_kpis().';

-- Each forecast target looks up its demand, and each assignment its attendance, by key in the few chunks of the period.
-- Checking chunk constraints first costs ten times as much as the lookup. (Plain PostgreSQL does not check them, and lets
-- only superusers name an unknown setting.)
DO $$
BEGIN
    IF database_edition() NOT IN ('plain', 'citus') THEN
        ALTER FUNCTION forecast_outcomes_by_part(uuid, timestamptz[], timestamptz[], boolean, numeric)
            SET timescaledb.enable_runtime_exclusion = off;
        ALTER FUNCTION kpis_by_part(uuid, timestamptz[], timestamptz[], text)
            SET timescaledb.enable_runtime_exclusion = off;
    END IF;
END
$$;
