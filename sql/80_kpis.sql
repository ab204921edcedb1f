-- KPIs that explain themselves, after ISO 22400-2 (Automation systems and integration: KPIs for manufacturing operations
-- management, part 2: definitions and descriptions), with its time model:
--
--   planned busy time         the shifts of the resource's location, overlapping shifts counted once, less planned maintenance
--   actual production time    production events
--   setup time                setup events
--   delay                     idle events: waiting, blocked or starved
--   time to repair            breakdown events; each is one failure
--   busy time                 production + setup + delay + repair
--
--   availability              production time / planned busy time
--   effectiveness             planned run time per item * quantity / production time, planned run time = 1 / rated capacity
--   quality ratio             good quantity / quantity
--   oee                       planned run time of the good quantity / planned busy time; for one resource that is
--                             availability * effectiveness * quality ratio
--   utilisation efficiency    production time / busy time
--   throughput rate           quantity / busy time (orders are not timed here: busy time stands for order execution time)
--   scrap ratio               scrap quantity / quantity
--   mtbf, mttr                production time / failures, time to repair / failures
--
-- Three more that operations count by: plan attainment (actual / planned quantity of plans whose day ended in the period),
-- attendance rate, forecast WAPE (of the newest forecast before each target).
--
-- A period is half-open: start <= t < end. An event that reaches over an edge counts with the share of its minutes and
-- quantity that lies inside, so the KPIs' numerators and denominators of adjacent periods add up. A failure counts where it began.
-- Only resources that recorded anything in the period enter the quotients; coverage says how much of what should have
-- data has it. What cannot be computed is NULL with a reason, never 0 and never 100. Availability above 100 means
-- production outside the planned shifts.
--
-- Cost follows the number of hours in the period, not of events: whole hours come from operational_events_hourly, and only
-- the events at the two edges are read one by one.

CREATE OR REPLACE FUNCTION multirange_minutes(ranges tstzmultirange)
RETURNS numeric
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))) / 60, 0) FROM unnest(ranges) AS r
$$;
COMMENT ON FUNCTION multirange_minutes(tstzmultirange) IS 'How many minutes do these ranges hold? Elapsed time, so that a day of daylight-saving change has 23 or 25 hours.';

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
COMMENT ON FUNCTION kpi_names() IS 'Which KPIs are there, in the order in which they are shown?';

CREATE FUNCTION operation_totals(org uuid, period_start timestamptz, period_end timestamptz)
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
-- Planned with the period at hand, so that chunks beside it cost nothing however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- The whole hours of the period, and the whole UTC days among them; none if it is shorter.
    first_hour timestamptz := time_bucket(interval '1 hour', period_start + interval '1 hour' - interval '1 microsecond');
    last_hour timestamptz := greatest(first_hour, time_bucket(interval '1 hour', period_end));
    first_day timestamptz := time_bucket(interval '1 day', first_hour + interval '1 day' - interval '1 microsecond');
    last_day timestamptz := greatest(first_day, time_bucket(interval '1 day', last_hour));
    -- How far back an event may have begun that reaches over an edge. Variables, because the planner leaves out the chunks
    -- beside a period whose bounds are constants to it, and the difference of a time and an interval is none.
    hour_before_start CONSTANT timestamptz := period_start - interval '1 hour';
    day_before_start CONSTANT timestamptz := period_start - interval '1 day';
    hour_before_end timestamptz;
    day_before_end timestamptz;
BEGIN
    IF first_hour >= last_hour THEN
        first_hour := period_end;
        last_hour := period_end;
    END IF;
    -- Where rollups are views, days would be summed from all hours ever.
    IF first_day >= last_day OR database_edition() <> 'community' THEN
        first_day := last_hour;
        last_day := last_hour;
    END IF;
    hour_before_end := greatest(first_hour, period_end - interval '1 hour');
    day_before_end := greatest(first_hour, period_end - interval '1 day');

    RETURN QUERY
    WITH edge_events AS (
        -- Began before the first whole hour, perhaps before the period: within an hour before it, or longer ago and long. Long
        -- events have an index of their own; none is longer than a day.
        SELECT e.*, 1 AS sign, period_start AS counted_from, period_end AS counted_to
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.time >= day_before_start
            AND e.time < first_hour
            AND (e.time >= hour_before_start OR e.duration_minutes > 60)
        UNION ALL
        -- Began after the last whole hour.
        SELECT e.*, 1, period_start, period_end
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.time >= last_hour
            AND e.time < period_end
        UNION ALL
        -- Began in a whole hour and reaches over the end: what lies beyond is taken off again.
        SELECT e.*, -1, period_end, 'infinity'
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.time >= day_before_end
            AND e.time < last_hour
            AND (e.time >= hour_before_end OR e.duration_minutes > 60)
    ),
    weighted AS (
        SELECT
            e.location_id,
            e.resource_id,
            e.event_type,
            e.cause,
            (e.sign > 0 AND e.time >= period_start)::integer AS started,
            e.duration_minutes,
            e.quantity,
            e.scrap_quantity,
            e.quality_score,
            -- inside / whole is the share of the event that counts: of its minutes, or all of an event without duration.
            e.sign * CASE
                WHEN e.duration_minutes > 0 THEN
                    greatest(
                        extract(epoch FROM least(span.ended_at, e.counted_to) - greatest(e.time, e.counted_from)),
                        0
                    ) / 60
                ELSE (e.time >= e.counted_from AND e.time < e.counted_to)::integer
            END AS inside,
            CASE WHEN e.duration_minutes > 0 THEN e.duration_minutes ELSE 1 END AS whole
        FROM edge_events AS e
        CROSS JOIN LATERAL (
            SELECT e.time + make_interval(secs => (e.duration_minutes * 60)::double precision) AS ended_at
        ) AS span
    ),
    -- The rollups have the same columns. A part that is empty says so, for the planner to leave it out.
    buckets AS (
        SELECT h.*
        FROM operational_events_hourly AS h
        WHERE h.organization_id = org
            AND h.bucket >= first_hour
            AND h.bucket < first_day
            AND first_hour < first_day
        UNION ALL
        SELECT d.*
        FROM operational_events_daily AS d
        WHERE d.organization_id = org
            AND d.bucket >= first_day
            AND d.bucket < last_day
            AND first_day < last_day
        UNION ALL
        SELECT h.*
        FROM operational_events_hourly AS h
        WHERE h.organization_id = org
            AND h.bucket >= last_day
            AND h.bucket < last_hour
            AND last_day < last_hour
    ),
    parts AS (
        SELECT
            b.location_id,
            b.resource_id,
            b.event_type,
            b.cause,
            b.event_count::bigint AS event_count,
            b.duration_minutes AS minutes,
            b.quantity,
            b.scrap_quantity,
            b.quality_score_sum,
            b.quality_score_count::bigint AS quality_score_count
        FROM buckets AS b
        UNION ALL
        SELECT
            w.location_id,
            w.resource_id,
            w.event_type,
            w.cause,
            w.started,
            CASE WHEN w.duration_minutes > 0 THEN w.inside ELSE 0 END,
            w.quantity * w.inside / w.whole,
            w.scrap_quantity * w.inside / w.whole,
            w.quality_score * w.started,
            CASE WHEN w.quality_score IS NULL THEN 0 ELSE w.started END
        FROM weighted AS w
        WHERE w.inside <> 0 OR w.started <> 0
    )
    SELECT
        p.location_id,
        p.resource_id,
        p.event_type,
        p.cause,
        sum(p.event_count)::bigint,
        sum(p.minutes),
        sum(p.quantity),
        sum(p.scrap_quantity),
        sum(p.quality_score_sum),
        sum(p.quality_score_count)::bigint
    FROM parts AS p
    GROUP BY p.location_id, p.resource_id, p.event_type, p.cause;
END
$$;
COMMENT ON FUNCTION operation_totals(uuid, timestamptz, timestamptz) IS
    'How many minutes and how much quantity fell into the period, by location, resource, kind of event and cause? Events that '
    'reach over an edge count with their share inside; event_count counts those that began inside.';

CREATE FUNCTION planned_busy_time(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    location_id uuid,
    resource_id uuid,
    minutes numeric
)
LANGUAGE plpgsql
STABLE
-- Planned with the period at hand, so that chunks beside it cost nothing however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Shifts and events last a day at most.
    day_before_start CONSTANT timestamptz := period_start - interval '1 day';
BEGIN
    RETURN QUERY
    WITH shift_time AS (
        SELECT
            s.location_id,
            range_agg(tstzrange(s.starts_at, s.ends_at)) * tstzmultirange(tstzrange(period_start, period_end)) AS ranges
        FROM shifts AS s
        WHERE s.organization_id = org
            AND s.starts_at > day_before_start
            AND s.starts_at < period_end
        GROUP BY s.location_id
    ),
    maintenance AS (
        SELECT
            e.resource_id,
            range_agg(
                tstzrange(e.time, e.time + make_interval(secs => (e.duration_minutes * 60)::double precision))
            ) AS ranges
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.event_type = 'maintenance'
            AND e.time >= day_before_start
            AND e.time < period_end
        GROUP BY e.resource_id
    )
    SELECT
        r.location_id,
        r.resource_id,
        multirange_minutes(t.ranges - coalesce(m.ranges, '{}'))
    FROM resources AS r
    JOIN shift_time AS t ON t.location_id = r.location_id
    LEFT JOIN maintenance AS m ON m.resource_id = r.resource_id
    WHERE r.organization_id = org
        AND r.status <> 'retired';
END
$$;
COMMENT ON FUNCTION planned_busy_time(uuid, timestamptz, timestamptz) IS
    'How many minutes was each resource planned to be busy in the period? Its location''s shifts, less its planned maintenance. '
    'No row for a resource whose location planned no shift.';

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
            coalesce(sum(t.minutes) FILTER (WHERE t.event_type = 'production'), 0) AS production_minutes,
            coalesce(sum(t.minutes) FILTER (WHERE t.event_type = 'setup'), 0) AS setup_minutes,
            coalesce(sum(t.minutes) FILTER (WHERE t.event_type = 'idle'), 0) AS idle_minutes,
            coalesce(sum(t.minutes) FILTER (WHERE t.event_type = 'breakdown'), 0) AS breakdown_minutes,
            coalesce(sum(t.minutes) FILTER (WHERE t.event_type = 'maintenance'), 0) AS maintenance_minutes,
            coalesce(sum(t.event_count) FILTER (WHERE t.event_type = 'breakdown'), 0)::bigint AS failure_count,
            coalesce(sum(t.quantity), 0) AS quantity,
            coalesce(sum(t.scrap_quantity), 0) AS scrap_quantity
        FROM operation_totals(org, period_start, period_end) AS t
        WHERE t.event_type IN ('production', 'setup', 'idle', 'breakdown', 'maintenance')
        GROUP BY t.resource_id
    )
    SELECT
        r.location_id,
        r.resource_id,
        r.capacity_unit,
        r.rated_capacity_per_hour,
        coalesce(b.minutes, 0),
        coalesce(t.production_minutes, 0),
        coalesce(t.setup_minutes, 0),
        coalesce(t.idle_minutes, 0),
        coalesce(t.breakdown_minutes, 0),
        coalesce(t.maintenance_minutes, 0),
        coalesce(t.failure_count, 0),
        coalesce(t.quantity, 0),
        coalesce(t.scrap_quantity, 0),
        t.resource_id IS NOT NULL
    FROM resources AS r
    LEFT JOIN totals AS t ON t.resource_id = r.resource_id
    LEFT JOIN planned_busy_time(org, period_start, period_end) AS b ON b.resource_id = r.resource_id
    WHERE r.organization_id = org
        AND (r.status <> 'retired' OR t.resource_id IS NOT NULL)
    ORDER BY r.location_id, r.resource_id;
END
$$;
COMMENT ON FUNCTION resource_time_model(uuid, timestamptz, timestamptz) IS
    'Where did each resource''s time go in the period? The time model of ISO 22400-2, in minutes, with quantities and '
    'failures. has_data is false where no event says anything.';

-- From a time model to rows of KPIs; used for any grouping. Adds nothing up and reads nothing.
CREATE FUNCTION event_kpis(
    planned_minutes numeric,            -- of all resources
    measured_planned_minutes numeric,   -- of resources with data
    production_minutes numeric,
    busy_minutes numeric,
    breakdown_minutes numeric,
    failure_count numeric,
    quantity numeric,
    scrap_quantity numeric,
    quantity_unit text,                 -- NULL where units differ
    rated_planned_minutes numeric,      -- these four: of resources with data and a rated capacity
    rated_production_minutes numeric,
    rated_minutes numeric,              -- planned run time per item * quantity
    rated_good_minutes numeric,         -- planned run time per item * good quantity
    has_data boolean
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
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT
        k.kpi,
        CASE WHEN has_data AND k.reason IS NULL THEN k.scale * k.numerator / nullif(k.denominator, 0) END,
        k.unit,
        k.numerator,
        k.numerator_unit,
        k.denominator,
        k.denominator_unit,
        CASE
            WHEN planned_minutes > 0 THEN least(100 * coalesce(k.covered_minutes, 0) / planned_minutes, 100)
        END,
        CASE
            WHEN NOT has_data THEN 'no events in the period'
            WHEN k.reason IS NOT NULL THEN k.reason
            WHEN coalesce(k.denominator, 0) = 0 THEN k.reason_if_zero
        END
    FROM (
        VALUES
            ('availability', 100, '%', production_minutes, 'min', measured_planned_minutes, 'min',
                busy_minutes, NULL, 'no planned busy time'),
            ('effectiveness', 100, '%', rated_minutes, 'min', rated_production_minutes, 'min',
                rated_production_minutes, NULL,
                CASE WHEN production_minutes > 0 THEN 'no rated capacity' ELSE 'no production' END),
            ('quality_ratio', 100, '%', quantity - scrap_quantity, 'quantity', quantity, 'quantity',
                busy_minutes, NULL, 'no production'),
            ('oee', 100, '%', rated_good_minutes, 'min', rated_planned_minutes, 'min',
                least(busy_minutes, rated_planned_minutes),
                CASE WHEN measured_planned_minutes > 0 AND coalesce(rated_planned_minutes, 0) = 0 THEN 'no rated capacity' END,
                'no planned busy time'),
            ('utilisation_efficiency', 100, '%', production_minutes, 'min', busy_minutes, 'min',
                busy_minutes, NULL, 'no busy time'),
            ('throughput_rate', 1, coalesce(quantity_unit, 'quantity') || '/h', quantity, coalesce(quantity_unit, 'quantity'),
                busy_minutes / 60, 'h', busy_minutes,
                CASE WHEN quantity_unit IS NULL THEN 'resources count in different units' END, 'no busy time'),
            ('scrap_ratio', 100, '%', scrap_quantity, 'quantity', quantity, 'quantity',
                busy_minutes, NULL, 'no production'),
            ('mtbf', 1, 'h', production_minutes / 60, 'h', failure_count, 'failures',
                busy_minutes, NULL, 'no failure'),
            ('mttr', 1, 'h', breakdown_minutes / 60, 'h', failure_count, 'failures',
                busy_minutes, NULL, 'no failure')
    ) AS k (
        kpi, scale, unit, numerator, numerator_unit, denominator, denominator_unit, covered_minutes, reason, reason_if_zero
    )
$$;
COMMENT ON FUNCTION event_kpis(
    numeric, numeric, numeric, numeric, numeric, numeric, numeric, numeric, text, numeric, numeric, numeric, numeric, boolean
) IS 'KPIs of one summed-up time model; see operational_kpis().';

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
-- Planned with the period at hand, so that chunks beside it cost nothing however long the history is.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    by_location CONSTANT boolean := grouping_level IN ('location', 'resource');
    by_resource CONSTANT boolean := grouping_level = 'resource';
    -- Who comes early is recorded early, and a shift lasts a day at most: attendance of assignments lies in between, and chunks
    -- outside are left out once instead of for each assignment.
    early CONSTANT interval := interval '2 hours';
    recorded_since CONSTANT timestamptz := period_start - early;
    recorded_until CONSTANT timestamptz := period_end + interval '1 day';
BEGIN
    IF grouping_level NOT IN ('organization', 'location', 'resource') THEN
        RAISE EXCEPTION 'grouping_level is %, not organization, location or resource', coalesce(grouping_level, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF period_start >= period_end OR NOT isfinite(period_start) OR NOT isfinite(period_end) THEN
        RAISE EXCEPTION 'the period must start before it ends: % to %', period_start, period_end
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    RETURN QUERY
    WITH subjects AS (
        SELECT NULL::uuid AS location_id, NULL::uuid AS resource_id
        WHERE NOT by_location
        UNION ALL
        SELECT l.location_id, NULL
        FROM locations AS l
        WHERE l.organization_id = org
            AND by_location
            AND NOT by_resource
        UNION ALL
        SELECT r.location_id, r.resource_id
        FROM resources AS r
        WHERE r.organization_id = org
            AND by_resource
            AND r.status <> 'retired'
    ),
    time_model AS (
        SELECT
            m.*,
            m.production_minutes + m.setup_minutes + m.idle_minutes + m.breakdown_minutes AS busy_minutes,
            60 * m.quantity / m.rated_capacity_per_hour AS rated_minutes,
            60 * (m.quantity - m.scrap_quantity) / m.rated_capacity_per_hour AS rated_good_minutes
        FROM resource_time_model(org, period_start, period_end) AS m
    ),
    summed AS (
        SELECT
            s.location_id,
            s.resource_id,
            sum(m.planned_busy_minutes) AS planned_minutes,
            sum(m.planned_busy_minutes) FILTER (WHERE m.has_data) AS measured_planned_minutes,
            sum(m.production_minutes) AS production_minutes,
            sum(m.busy_minutes) AS busy_minutes,
            sum(m.breakdown_minutes) AS breakdown_minutes,
            sum(m.failure_count) AS failure_count,
            sum(m.quantity) AS quantity,
            sum(m.scrap_quantity) AS scrap_quantity,
            CASE
                WHEN count(DISTINCT coalesce(m.capacity_unit, 'quantity')) FILTER (WHERE m.quantity > 0) <= 1 THEN
                    coalesce(min(m.capacity_unit) FILTER (WHERE m.quantity > 0), 'quantity')
            END AS quantity_unit,
            sum(m.planned_busy_minutes) FILTER (WHERE m.has_data AND m.rated_minutes IS NOT NULL) AS rated_planned_minutes,
            sum(m.production_minutes) FILTER (WHERE m.rated_minutes IS NOT NULL) AS rated_production_minutes,
            sum(m.rated_minutes) AS rated_minutes,
            sum(m.rated_good_minutes) AS rated_good_minutes,
            coalesce(bool_or(m.has_data), false) AS has_data
        FROM subjects AS s
        LEFT JOIN time_model AS m
            ON (s.location_id IS NULL OR m.location_id = s.location_id)
            AND (s.resource_id IS NULL OR m.resource_id = s.resource_id)
        GROUP BY s.location_id, s.resource_id
    ),
    plans AS (
        SELECT
            CASE WHEN by_location THEN p.location_id END AS location_id,
            CASE WHEN by_resource THEN p.resource_id END AS resource_id,
            sum(p.planned_quantity) AS planned_quantity,
            sum(p.planned_quantity) FILTER (WHERE p.actual_quantity IS NOT NULL) AS reported_planned_quantity,
            sum(p.actual_quantity) AS actual_quantity
        FROM production_plans AS p
        JOIN locations AS l
            ON l.organization_id = p.organization_id
            AND l.location_id = p.location_id
        WHERE p.organization_id = org
            AND l.organization_id = org
            AND p.status <> 'cancelled'
            -- A day more at both ends than any time zone can shift; then exactly.
            AND p.plan_date >= (period_start AT TIME ZONE 'UTC')::date - 2
            AND p.plan_date <= (period_end AT TIME ZONE 'UTC')::date + 1
            AND (p.plan_date + 1)::timestamp AT TIME ZONE l.timezone > period_start
            AND (p.plan_date + 1)::timestamp AT TIME ZONE l.timezone <= period_end
            AND (NOT by_resource OR p.resource_id IS NOT NULL)
        GROUP BY 1, 2
    ),
    attendance AS (
        SELECT
            CASE WHEN by_location THEN e.location_id END AS location_id,
            count(*) AS scheduled_count,
            count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count
        FROM employee_attendance AS a
        JOIN employees AS e
            ON e.organization_id = a.organization_id
            AND e.employee_id = a.employee_id
        WHERE a.organization_id = org
            AND e.organization_id = org
            AND a.status <> 'vacation'
            AND a.time >= period_start
            AND a.time < period_end
        GROUP BY 1
    ),
    assigned AS MATERIALIZED (
        SELECT
            sa.employee_id,
            sa.starts_at - early AS recorded_from,
            sa.ends_at
        FROM shift_assignments AS sa
        WHERE sa.organization_id = org
            AND sa.status <> 'cancelled'
            AND sa.starts_at >= period_start
            AND sa.starts_at < least(period_end, now())
    ),
    assignments AS (
        SELECT
            CASE WHEN by_location THEN e.location_id END AS location_id,
            count(*) AS assigned_count,
            count(*) FILTER (
                WHERE EXISTS (
                    SELECT
                    FROM employee_attendance AS a
                    WHERE a.organization_id = org
                        AND a.employee_id = sa.employee_id
                        AND a.time >= sa.recorded_from
                        AND a.time < sa.ends_at
                        AND a.time >= recorded_since
                        AND a.time < recorded_until
                    -- Planned by itself, so that the key is used behind a tenant's view too.
                    OFFSET 0
                )
            ) AS recorded_count
        FROM assigned AS sa
        JOIN employees AS e ON e.employee_id = sa.employee_id
        WHERE e.organization_id = org
        GROUP BY 1
    ),
    forecasts AS (
        SELECT
            CASE WHEN by_location THEN f.location_id END AS location_id,
            count(*) FILTER (WHERE f.is_over) AS target_count,
            count(f.actual_quantity) AS outcome_count,
            sum(abs(f.actual_quantity - f.predicted_quantity)) AS absolute_error,
            sum(f.actual_quantity) AS actual_quantity,
            array_agg(DISTINCT p.unit ORDER BY p.unit)
                FILTER (WHERE f.actual_quantity IS NOT NULL AND p.unit IS NOT NULL) AS units
        FROM demand_forecast_outcomes(org, period_start, period_end, newest_only => true) AS f
        LEFT JOIN products AS p
            ON p.organization_id = org
            AND p.product_id = f.product_id
        GROUP BY 1
    ),
    answers AS (
        SELECT
            s.location_id,
            s.resource_id,
            k.*
        FROM summed AS s
        CROSS JOIN LATERAL event_kpis(
            s.planned_minutes,
            s.measured_planned_minutes,
            s.production_minutes,
            s.busy_minutes,
            s.breakdown_minutes,
            s.failure_count,
            s.quantity,
            s.scrap_quantity,
            s.quantity_unit,
            s.rated_planned_minutes,
            s.rated_production_minutes,
            s.rated_minutes,
            s.rated_good_minutes,
            s.has_data
        ) AS k
        UNION ALL
        SELECT
            s.location_id,
            s.resource_id,
            'plan_attainment',
            100 * p.actual_quantity / p.reported_planned_quantity,
            '%',
            p.actual_quantity,
            'quantity',
            p.reported_planned_quantity,
            'quantity',
            100 * coalesce(p.reported_planned_quantity, 0) / p.planned_quantity,
            CASE
                WHEN p.planned_quantity IS NULL THEN 'no plan due in the period'
                WHEN p.reported_planned_quantity IS NULL THEN 'no actual quantity reported'
            END
        FROM subjects AS s
        LEFT JOIN plans AS p
            ON p.location_id IS NOT DISTINCT FROM s.location_id
            AND p.resource_id IS NOT DISTINCT FROM s.resource_id
        UNION ALL
        SELECT
            s.location_id,
            s.resource_id,
            'attendance_rate',
            100.0 * a.attended_count / a.scheduled_count,
            '%',
            a.attended_count,
            'stretches of work',
            a.scheduled_count,
            'stretches of work',
            100.0 * n.recorded_count / n.assigned_count,
            CASE
                WHEN by_resource THEN 'attendance is of locations, not of resources'
                WHEN a.scheduled_count IS NULL THEN 'no attendance recorded'
            END
        FROM subjects AS s
        LEFT JOIN attendance AS a ON a.location_id IS NOT DISTINCT FROM s.location_id AND NOT by_resource
        LEFT JOIN assignments AS n ON n.location_id IS NOT DISTINCT FROM s.location_id AND NOT by_resource
        UNION ALL
        SELECT
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
        LEFT JOIN forecasts AS f ON f.location_id IS NOT DISTINCT FROM s.location_id AND NOT by_resource
        CROSS JOIN LATERAL (SELECT coalesce(cardinality(f.units), 0) <= 1) AS m (is_of_one_unit)
    )
    SELECT
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
        a.location_id,
        a.resource_id,
        array_position(kpi_names(), a.kpi);
END
$$;
COMMENT ON FUNCTION operational_kpis(uuid, timestamptz, timestamptz, text) IS
    'What are the KPIs of the period, for the organization, each location or each resource? One row per KPI: value and unit, '
    'numerator and denominator with theirs, coverage_pct (share of what should have data that has it: of planned busy time, '
    'planned quantity, assignments or forecast targets; NULL where nothing was planned), and the reason where value is NULL. '
    'Attendance and WAPE are not to be had by resource.';

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
-- A plan made without knowing the period joins all events with all shifts.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Shifts and events last a day at most.
    day_before_start CONSTANT timestamptz := period_start - interval '1 day';
    day_after_end CONSTANT timestamptz := period_end + interval '1 day';
BEGIN
    RETURN QUERY
    WITH worked AS (
        SELECT
            s.shift_id,
            s.location_id,
            s.name,
            s.starts_at,
            tstzrange(s.starts_at, s.ends_at) AS span
        FROM shifts AS s
        WHERE s.organization_id = org
            AND s.starts_at >= period_start
            AND s.starts_at < period_end
    ),
    -- The UTC days on which an event of the shift may have begun: events and shifts of other days need not be compared.
    shift_days AS MATERIALIZED (
        SELECT
            w.shift_id,
            w.location_id,
            w.span,
            begun.day
        FROM worked AS w
        CROSS JOIN LATERAL generate_series(
            date_trunc('day', lower(w.span), 'UTC') - interval '1 day', upper(w.span), interval '1 day'
        ) AS begun (day)
    ),
    -- Read row by row: a shift is short, and its edges are seldom whole hours.
    events AS (
        SELECT
            e.location_id,
            e.resource_id,
            e.event_type,
            e.time,
            date_trunc('day', e.time, 'UTC') AS day,
            e.duration_minutes,
            coalesce(e.quantity, 0) AS quantity,
            coalesce(e.scrap_quantity, 0) AS scrap_quantity,
            tstzrange(e.time, e.time + make_interval(secs => (e.duration_minutes * 60)::double precision)) AS span
        FROM operational_events AS e
        WHERE e.organization_id = org
            AND e.event_type IN ('production', 'setup', 'idle', 'breakdown', 'maintenance')
            AND e.resource_id IS NOT NULL
            AND e.time >= day_before_start
            AND e.time < day_after_end
    ),
    -- Few, and looked through for each resource of each shift.
    maintenance AS MATERIALIZED (
        SELECT e.resource_id, e.span
        FROM events AS e
        WHERE e.event_type = 'maintenance'
    ),
    shares AS (
        SELECT
            w.shift_id,
            e.resource_id,
            e.event_type,
            e.duration_minutes,
            e.quantity,
            e.scrap_quantity,
            w.span @> e.time AS started,
            CASE
                WHEN e.duration_minutes > 0 THEN
                    extract(epoch FROM upper(w.span * e.span) - lower(w.span * e.span)) / (e.duration_minutes * 60)
                ELSE 1
            END AS share
        FROM shift_days AS w
        JOIN events AS e
            ON e.location_id = w.location_id
            AND e.day = w.day
            AND (e.span && w.span OR w.span @> e.time)
    ),
    -- A resource is measured in a shift when it recorded anything in it.
    measured AS (
        SELECT
            s.shift_id,
            s.resource_id,
            coalesce(sum(s.duration_minutes * s.share) FILTER (WHERE s.event_type = 'production'), 0) AS production_minutes,
            coalesce(sum(s.duration_minutes * s.share) FILTER (WHERE s.event_type <> 'maintenance'), 0) AS busy_minutes,
            coalesce(sum(s.duration_minutes * s.share) FILTER (WHERE s.event_type = 'breakdown'), 0) AS breakdown_minutes,
            count(*) FILTER (WHERE s.event_type = 'breakdown' AND s.started) AS failure_count,
            sum(s.quantity * s.share) AS quantity,
            sum(s.scrap_quantity * s.share) AS scrap_quantity
        FROM shares AS s
        GROUP BY s.shift_id, s.resource_id
    ),
    time_model AS (
        SELECT
            w.shift_id,
            r.capacity_unit,
            r.rated_capacity_per_hour,
            m.*,
            m.resource_id IS NOT NULL AS has_data,
            multirange_minutes(
                tstzmultirange(w.span) - coalesce(
                    (
                        SELECT range_agg(m.span)
                        FROM maintenance AS m
                        WHERE m.resource_id = r.resource_id
                            AND m.span && w.span
                    ),
                    '{}'
                )
            ) AS planned_minutes
        FROM worked AS w
        JOIN resources AS r
            ON r.organization_id = org
            AND r.location_id = w.location_id
            AND r.status <> 'retired'
        LEFT JOIN measured AS m (
            measured_shift_id, resource_id, production_minutes, busy_minutes, breakdown_minutes, failure_count, quantity,
            scrap_quantity
        )
            ON m.measured_shift_id = w.shift_id
            AND m.resource_id = r.resource_id
    ),
    summed AS (
        SELECT
            w.shift_id,
            sum(m.planned_minutes) AS planned_minutes,
            sum(m.planned_minutes) FILTER (WHERE m.has_data) AS measured_planned_minutes,
            sum(m.production_minutes) AS production_minutes,
            sum(m.busy_minutes) AS busy_minutes,
            sum(m.breakdown_minutes) AS breakdown_minutes,
            sum(m.failure_count) AS failure_count,
            sum(m.quantity) AS quantity,
            sum(m.scrap_quantity) AS scrap_quantity,
            CASE
                WHEN count(DISTINCT coalesce(m.capacity_unit, 'quantity')) FILTER (WHERE m.quantity > 0) <= 1 THEN
                    coalesce(min(m.capacity_unit) FILTER (WHERE m.quantity > 0), 'quantity')
            END AS quantity_unit,
            sum(m.planned_minutes) FILTER (WHERE m.has_data AND m.rated_capacity_per_hour IS NOT NULL) AS rated_planned_minutes,
            sum(m.production_minutes) FILTER (WHERE m.rated_capacity_per_hour IS NOT NULL) AS rated_production_minutes,
            sum(60 * m.quantity / m.rated_capacity_per_hour) AS rated_minutes,
            sum(60 * (m.quantity - m.scrap_quantity) / m.rated_capacity_per_hour) AS rated_good_minutes,
            coalesce(bool_or(m.has_data), false) AS has_data
        FROM worked AS w
        LEFT JOIN time_model AS m ON m.shift_id = w.shift_id
        GROUP BY w.shift_id
    ),
    attendance AS (
        SELECT
            a.shift_id,
            count(*) AS scheduled_count,
            count(*) FILTER (WHERE a.status IN ('present', 'late', 'remote')) AS attended_count
        FROM employee_attendance AS a
        WHERE a.organization_id = org
            AND a.shift_id IS NOT NULL
            AND a.status <> 'vacation'
            AND a.time >= day_before_start
            AND a.time < day_after_end
        GROUP BY a.shift_id
    ),
    assignments AS (
        SELECT
            sa.shift_id,
            count(*) AS assigned_count
        FROM shift_assignments AS sa
        WHERE sa.organization_id = org
            AND sa.status <> 'cancelled'
            AND sa.starts_at >= period_start
            AND sa.starts_at < period_end
        GROUP BY sa.shift_id
    ),
    answers AS (
        SELECT
            s.shift_id,
            k.*
        FROM summed AS s
        CROSS JOIN LATERAL event_kpis(
            s.planned_minutes,
            s.measured_planned_minutes,
            s.production_minutes,
            s.busy_minutes,
            s.breakdown_minutes,
            s.failure_count,
            s.quantity,
            s.scrap_quantity,
            s.quantity_unit,
            s.rated_planned_minutes,
            s.rated_production_minutes,
            s.rated_minutes,
            s.rated_good_minutes,
            s.has_data
        ) AS k
        UNION ALL
        SELECT
            w.shift_id,
            'attendance_rate',
            100.0 * a.attended_count / a.scheduled_count,
            '%',
            a.attended_count,
            'stretches of work',
            a.scheduled_count,
            'stretches of work',
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
    'What are the KPIs of each shift that starts in the period? Rows as in operational_kpis(), over the resources of the '
    'shift''s location. Plan attainment and WAPE are not to be had by shift.';

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
    'What are the organization''s KPIs of the last so many times 24 hours? Rows as in operational_kpis().';

-- Each forecast target looks for its demand, and each assignment for its attendance, by key in the few chunks of the period.
-- Asking first which of them its time is in costs ten times as much as looking. (Plain PostgreSQL does not ask, and lets only
-- superusers name a setting that it does not know.)
DO $$
BEGIN
    IF database_edition() <> 'plain' THEN
        ALTER FUNCTION demand_forecast_outcomes(uuid, timestamptz, timestamptz, boolean, numeric)
            SET timescaledb.enable_runtime_exclusion = off;
        ALTER FUNCTION operational_kpis(uuid, timestamptz, timestamptz, text)
            SET timescaledb.enable_runtime_exclusion = off;
    END IF;
END
$$;
