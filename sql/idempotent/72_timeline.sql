-- Machine time by state: the single definition behind KPIs, shifts, downtime and production.
--
-- A machine is in one state at a time. Where events of a machine overlap, a minute belongs to the first of these states
-- that is recorded for it:
--
--   maintenance (planned stop), breakdown, setup, idle, production
--
-- A stop within a production order is a stop. Of several events of one state, a minute belongs to the one that began first
-- (then to the lower event_id), so that causes add up to their state. Breakdowns of a machine that overlap or touch are one
-- stop and one failure, counted where it began; splitting an event in two changes nothing.
--
-- Planned time is the shifts of the location where the machine stood at the time, while it was in service
-- (resource_history), with overlapping shifts counted once; planned busy time is that less planned maintenance. Rated
-- capacity and unit are those of the time, too. Nothing is counted beyond now().
--
-- Quantities are prorated over the event's duration: an event that extends across an edge counts with the share inside.
-- Unreported (NULL) is not zero: each ratio has its own sums, over the events for which its terms are known.

DO $$
DECLARE
    earlier record;
BEGIN
    FOR earlier IN
        SELECT p.oid::regprocedure AS signature
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
            AND p.proname IN (
                'resource_time', 'resource_time_raw', 'machine_events', 'resource_time_rest', 'kept_time_reads', 'kept_time_rows', 'resource_reporting', 'resource_time_report_changes', 'resource_time_added', 'shift_seconds',
                'time_kpis', 'production_by_bucket'
            )
    LOOP
        EXECUTE format('DROP FUNCTION %s', earlier.signature);
    END LOOP;
    DROP TYPE IF EXISTS resource_time_row;
    CREATE TYPE resource_time_row AS (
        part integer,
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
END
$$;
COMMENT ON TYPE resource_time_row IS 'Time and quantities of one machine in one state and for one cause, within one part of the period that was asked for.';

CREATE FUNCTION machine_events(org uuid, period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    "time" timestamptz,
    event_id uuid,
    location_id uuid,
    resource_id uuid,
    event_type text,
    cause text,
    duration_minutes numeric,
    quantity numeric,
    scrap_quantity numeric,
    quality_score numeric
)
LANGUAGE plpgsql
STABLE
-- Planned with the actual period: a generic plan would examine every chunk of the history with all its CHECKs at startup,
-- which takes longer than reading the events of an hour.
SET plan_cache_mode = force_custom_plan
SET constraint_exclusion = off
AS $$
#variable_conflict use_column
DECLARE
    -- How long before the period an event that extends into it, or touches an event there, may have begun: an hour, or a
    -- day for the few long ones, which have their own index.
    hour_before CONSTANT timestamptz := period_start - interval '1 hour';
    day_before CONSTANT timestamptz := period_start - interval '24 hours';
BEGIN
    RETURN QUERY
    SELECT e.time, e.event_id, e.location_id, e.resource_id, e.event_type, e.cause, e.duration_minutes, e.quantity,
        e.scrap_quantity, e.quality_score
    FROM operational_events AS e
    WHERE e.organization_id = org
        AND e.event_type IN ('maintenance', 'breakdown', 'setup', 'idle', 'production')
        AND e.time >= hour_before
        AND e.time < period_end;
    RETURN QUERY
    SELECT e.time, e.event_id, e.location_id, e.resource_id, e.event_type, e.cause, e.duration_minutes, e.quantity,
        e.scrap_quantity, e.quality_score
    FROM operational_events AS e
    WHERE e.organization_id = org
        AND e.event_type IN ('maintenance', 'breakdown', 'setup', 'idle', 'production')
        AND e.time >= day_before
        AND e.time < hour_before
        AND e.duration_minutes > 60;
END
$$;
COMMENT ON FUNCTION machine_events(uuid, timestamptz, timestamptz) IS
    'Events of machines that extend into the period, or touch one that does: events from the hour before it, and longer '
    'ones from the day before it.';

CREATE FUNCTION resource_time_raw(
    org uuid,
    part_numbers integer[],
    part_starts timestamptz[],
    part_ends timestamptz[],
    part_locations uuid[],      -- NULL as an element, or instead of the array: machines of all locations
    slot interval               -- width of the slots into which events and shifts are cut before they are compared
)
RETURNS SETOF resource_time_row
LANGUAGE plpgsql
STABLE
-- Planned once per session, because planning takes ten times as long as the events of an hour. Joined in the order of the
-- text: row estimates of functions are guesses, and the planner might start with a cross join of locations and parts.
SET plan_cache_mode = force_generic_plan
SET join_collapse_limit = 1
AS $$
#variable_conflict use_column
DECLARE
    first_instant CONSTANT timestamptz := (SELECT min(s) FROM unnest(part_starts) AS s);
    end_instant CONSTANT timestamptz := least((SELECT max(e) FROM unnest(part_ends) AS e), now());
    day_before CONSTANT timestamptz := first_instant - interval '24 hours';
    whole CONSTANT tstzmultirange := tstzmultirange(tstzrange(first_instant, greatest(end_instant, first_instant)));
    nowhere CONSTANT uuid := '00000000-0000-0000-0000-000000000000';  -- a location without shifts
BEGIN
    IF first_instant IS NULL OR first_instant >= end_instant THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH parts AS MATERIALIZED (
        SELECT
            p.part,
            p.starts_at,
            least(p.ends_at, end_instant) AS ends_at,
            p.location_id
        FROM unnest(part_numbers, part_starts, part_ends, part_locations) AS p (part, starts_at, ends_at, location_id)
        WHERE p.starts_at < least(p.ends_at, end_instant)
    ),
    events AS MATERIALIZED (
        SELECT
            e.time,
            e.event_id,
            e.location_id,
            e.resource_id,
            -- Text is compared bytewise: sorting by a language collation takes longer than everything else.
            e.event_type COLLATE "C" AS event_type,
            e.cause COLLATE "C" AS cause,
            e.duration_minutes,
            e.quantity,
            e.scrap_quantity,
            e.quality_score,
            e.time + make_interval(secs => (coalesce(e.duration_minutes, 0) * 60)::double precision) AS ended_at
        FROM machine_events(org, first_instant, end_instant) AS e
    ),
    nameless AS MATERIALIZED (
        SELECT e.*
        FROM events AS e
        WHERE e.resource_id IS NULL
    ),
    -- Latest end of the events that began earlier: of any on the machine, and of the same state.
    ordered AS (
        SELECT
            e.*,
            max(e.ended_at) OVER (
                PARTITION BY e.resource_id ORDER BY e.time, e.event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS earlier_end,
            max(e.ended_at) OVER (
                PARTITION BY e.resource_id, e.event_type ORDER BY e.time, e.event_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS earlier_end_of_kind
        FROM events AS e
        WHERE e.resource_id IS NOT NULL
    ),
    islands AS (
        SELECT
            o.*,
            count(*) FILTER (WHERE o.earlier_end IS NULL OR o.time >= o.earlier_end)
                OVER (PARTITION BY o.resource_id ORDER BY o.time, o.event_id) AS island
        FROM ordered AS o
    ),
    -- States that take precedence over each state where events overlap.
    contested AS (
        SELECT
            c.resource_id,
            c.island,
            c.maintenance,
            c.maintenance + c.breakdown AS breakdown,
            c.maintenance + c.breakdown + c.setup AS setup,
            c.maintenance + c.breakdown + c.setup + c.idle AS idle
        FROM (
            SELECT
                i.resource_id,
                i.island,
                coalesce(range_agg(i.span) FILTER (WHERE i.event_type = 'maintenance'), '{}') AS maintenance,
                coalesce(range_agg(i.span) FILTER (WHERE i.event_type = 'breakdown'), '{}') AS breakdown,
                coalesce(range_agg(i.span) FILTER (WHERE i.event_type = 'setup'), '{}') AS setup,
                coalesce(range_agg(i.span) FILTER (WHERE i.event_type = 'idle'), '{}') AS idle
            FROM (
                SELECT i.resource_id, i.island, i.event_type, tstzrange(i.time, i.ended_at) AS span
                FROM islands AS i
                WHERE i.ended_at > i.time
            ) AS i
            GROUP BY i.resource_id, i.island
            HAVING min(i.event_type) < max(i.event_type)
        ) AS c
    ),
    resolved AS (
        SELECT
            i.*,
            greatest(i.time, i.earlier_end_of_kind) AS own_start,
            i.event_type = 'breakdown' AND (i.earlier_end_of_kind IS NULL OR i.time > i.earlier_end_of_kind) AS is_failure,
            extract(epoch FROM i.ended_at - i.time) AS whole_seconds,
            -- Set only where more than the part before own_start is cut off.
            CASE
                WHEN c.island IS NULL OR i.event_type = 'maintenance' OR i.ended_at <= i.earlier_end_of_kind THEN NULL
                ELSE tstzmultirange(tstzrange(greatest(i.time, i.earlier_end_of_kind), i.ended_at)) - CASE i.event_type
                    WHEN 'breakdown' THEN c.maintenance
                    WHEN 'setup' THEN c.breakdown
                    WHEN 'idle' THEN c.setup
                    ELSE c.idle
                END
            END AS left_to_it
        FROM islands AS i
        LEFT JOIN contested AS c
            ON c.resource_id = i.resource_id
            AND c.island = i.island
    ),
    shift_time AS MATERIALIZED (
        SELECT
            s.location_id,
            range_agg(tstzrange(s.starts_at, s.ends_at)) AS ranges
        FROM shifts AS s
        WHERE s.organization_id = org
            -- Shifts last at most a day, which has one more hour where clocks are set back.
            AND s.starts_at > day_before - interval '1 hour'
            AND s.starts_at < end_instant
        GROUP BY s.location_id
    ),
    versions AS (
        SELECT
            h.resource_id,
            h.location_id,
            h.capacity_unit COLLATE "C" AS capacity_unit,
            h.rated_capacity_per_hour,
            h.valid_from,
            h.valid_to,
            CASE WHEN h.is_in_service AND t.location_id IS NOT NULL THEN h.location_id ELSE nowhere END AS planned_by
        FROM (SELECT DISTINCT e.resource_id FROM events AS e) AS m
        JOIN resource_history AS h ON h.resource_id = m.resource_id
        LEFT JOIN shift_time AS t ON t.location_id = h.location_id
        WHERE h.organization_id = org
            AND h.valid_from < end_instant
            AND h.valid_to > first_instant
    ),
    -- Intervals of a location, planned or not, within one slot; per location rather than per machine, of which there are many more.
    stretches AS MATERIALIZED (
        SELECT
            s.location_id,
            cell.slot_start,
            s.is_planned,
            greatest(lower(s.span), cell.slot_start) AS starts_at,
            least(upper(s.span), cell.slot_start + slot) AS ends_at
        FROM (
            SELECT t.location_id, unnest(t.ranges * whole) AS span, true AS is_planned
            FROM shift_time AS t
            UNION ALL
            SELECT t.location_id, unnest(whole - t.ranges), false
            FROM shift_time AS t
            UNION ALL
            SELECT nowhere, unnest(whole), false
        ) AS s
        CROSS JOIN LATERAL generate_series(
            time_bucket(slot, lower(s.span)), upper(s.span) - interval '1 microsecond', slot
        ) AS cell (slot_start)
    ),
    cells AS MATERIALIZED (
        SELECT
            p.part,
            p.location_id,
            cell.slot_start,
            greatest(p.starts_at, cell.slot_start) AS starts_at,
            least(p.ends_at, cell.slot_start + slot) AS ends_at
        FROM parts AS p
        CROSS JOIN LATERAL generate_series(
            time_bucket(slot, p.starts_at), p.ends_at - interval '1 microsecond', slot
        ) AS cell (slot_start)
    ),
    -- Events cut where anything about their machine changes: within one part of the query, planned or not, and within one slot.
    pieces AS (
        SELECT
            p.part,
            r.resource_id,
            r.location_id,
            v.location_id AS stood_location_id,
            r.event_type,
            r.cause,
            v.capacity_unit,
            v.rated_capacity_per_hour,
            s.is_planned,
            r.time >= w.starts_at AS began,
            r.is_failure,
            r.duration_minutes IS NOT NULL AS is_timed,
            r.quality_score,
            r.quantity,
            r.scrap_quantity,
            -- Prorated over the event's own minutes; an instantaneous event counts where it began.
            CASE
                WHEN r.time >= w.starts_at AND r.ended_at <= w.ends_at THEN 1
                ELSE extract(epoch FROM least(r.ended_at, w.ends_at) - greatest(r.time, w.starts_at)) / r.whole_seconds
            END AS share,
            CASE
                WHEN r.left_to_it IS NULL THEN greatest(
                    extract(epoch FROM least(r.ended_at, w.ends_at) - greatest(r.own_start, w.starts_at)), 0
                )
                ELSE (
                    SELECT coalesce(sum(extract(epoch FROM upper(piece) - lower(piece))), 0)
                    FROM unnest(r.left_to_it * tstzmultirange(tstzrange(w.starts_at, w.ends_at))) AS piece
                )
            END AS seconds
        FROM resolved AS r
        CROSS JOIN LATERAL generate_series(
            time_bucket(slot, greatest(r.time, first_instant)),
            CASE WHEN r.ended_at > r.time THEN least(r.ended_at, end_instant) - interval '1 microsecond' ELSE r.time END,
            slot
        ) AS cell (slot_start)
        JOIN versions AS v ON v.resource_id = r.resource_id
        JOIN stretches AS s
            ON s.location_id = v.planned_by
            AND s.slot_start = cell.slot_start
        JOIN cells AS p
            ON p.slot_start = cell.slot_start
            AND (p.location_id IS NULL OR p.location_id = v.location_id)
        CROSS JOIN LATERAL (
            SELECT
                greatest(s.starts_at, p.starts_at, v.valid_from) AS starts_at,
                least(s.ends_at, p.ends_at, v.valid_to) AS ends_at
        ) AS w
        WHERE w.starts_at < w.ends_at
            AND r.time < w.ends_at
            AND (r.ended_at > w.starts_at OR r.time >= w.starts_at)
        -- Worked out once for each piece, not for each sum in which it is.
        OFFSET 0
    )
    SELECT
        p.part,
        p.resource_id,
        p.location_id,
        p.stood_location_id,
        p.event_type,
        p.cause,
        p.capacity_unit,
        p.rated_capacity_per_hour IS NOT NULL,
        count(*) FILTER (WHERE p.began),
        count(*) FILTER (WHERE p.began AND p.is_failure),
        count(*) FILTER (WHERE p.began AND NOT p.is_timed),
        count(*) FILTER (WHERE p.began AND p.is_failure AND NOT p.is_timed),
        sum(p.seconds),
        coalesce(sum(p.seconds) FILTER (WHERE p.is_planned), 0),
        sum(p.quality_score) FILTER (WHERE p.began),
        count(p.quality_score) FILTER (WHERE p.began),
        sum(p.quantity * p.share),
        sum(p.scrap_quantity * p.share) FILTER (WHERE p.quantity IS NOT NULL),
        sum(p.quantity * p.share) FILTER (WHERE p.scrap_quantity IS NOT NULL),
        sum(p.quantity * p.share) FILTER (WHERE p.is_timed),
        sum(p.seconds) FILTER (WHERE p.quantity IS NOT NULL),
        sum(p.seconds) FILTER (WHERE p.quantity IS NOT NULL AND p.scrap_quantity IS NOT NULL),
        sum(p.seconds) FILTER (WHERE p.quantity IS NOT NULL AND p.rated_capacity_per_hour IS NOT NULL),
        sum(3600 * p.quantity * p.share / p.rated_capacity_per_hour) FILTER (WHERE p.is_timed),
        sum(p.seconds) FILTER (
            WHERE p.is_planned AND p.quantity IS NOT NULL AND p.scrap_quantity IS NOT NULL AND p.rated_capacity_per_hour IS NOT NULL
        ),
        sum(3600 * (p.quantity - p.scrap_quantity) * p.share / p.rated_capacity_per_hour) FILTER (WHERE p.is_planned)
    FROM pieces AS p
    GROUP BY p.part, p.resource_id, p.location_id, p.stood_location_id, p.event_type, p.cause, p.capacity_unit, 8
    UNION ALL
    -- Events without a machine are returned as recorded. They belong to no machine's time; coverage reports them.
    SELECT
        p.part,
        NULL,
        e.location_id,
        NULL,
        e.event_type,
        e.cause,
        NULL,
        false,
        count(*) FILTER (WHERE e.time >= p.starts_at),
        0,
        count(*) FILTER (WHERE e.time >= p.starts_at AND e.duration_minutes IS NULL),
        0,
        sum(inside.seconds),
        0,
        sum(e.quality_score) FILTER (WHERE e.time >= p.starts_at),
        count(e.quality_score) FILTER (WHERE e.time >= p.starts_at),
        sum(e.quantity * inside.share),
        sum(e.scrap_quantity * inside.share) FILTER (WHERE e.quantity IS NOT NULL),
        sum(e.quantity * inside.share) FILTER (WHERE e.scrap_quantity IS NOT NULL),
        sum(e.quantity * inside.share) FILTER (WHERE e.duration_minutes IS NOT NULL),
        sum(inside.seconds) FILTER (WHERE e.quantity IS NOT NULL),
        sum(inside.seconds) FILTER (WHERE e.quantity IS NOT NULL AND e.scrap_quantity IS NOT NULL),
        NULL,
        NULL,
        NULL,
        NULL
    FROM nameless AS e
    JOIN parts AS p
        ON e.time < p.ends_at
        AND (e.ended_at > p.starts_at OR e.time >= p.starts_at)
        AND (p.location_id IS NULL OR p.location_id = e.location_id)
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM least(e.ended_at, p.ends_at) - greatest(e.time, p.starts_at)) AS seconds
    ) AS clipped
    CROSS JOIN LATERAL (
        SELECT
            clipped.seconds,
            CASE
                WHEN e.time >= p.starts_at AND e.ended_at <= p.ends_at THEN 1
                ELSE clipped.seconds / extract(epoch FROM e.ended_at - e.time)
            END AS share
    ) AS inside
    GROUP BY p.part, e.location_id, e.event_type, e.cause;
END
$$;
COMMENT ON FUNCTION resource_time_raw(uuid, integer[], timestamptz[], timestamptz[], uuid[], interval) IS
    'Like resource_time(), but without the rows of state planned, and computed from the events themselves, read in one '
    'piece from the first part to the last.';
