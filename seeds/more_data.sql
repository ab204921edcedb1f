-- Additional sample data for testing at scale: a longer history, larger organizations, and more of them.
--
--     db-utils seed --days 1095 --scale 37 --organizations 10
--
-- This file only creates session-local functions; db_utils.schema.seed calls them in batches, one transaction each.
-- Manually, after seeds/seed_data.sql:
--
--     \i seeds/more_data.sql
--     SELECT pg_temp.load_world(scale => 2, organization_count => 4, days => 365, metric_days => 7);
--     SELECT pg_temp.load_entities();
--     SELECT * FROM pg_temp.load_events(organization_number => 1, first_day => '2025-01-01', end_day => '2025-02-01');
--     (and load_people, load_demand, load_metrics in the same way)
--
-- Organizations 1 and 2 are those of the sample data, and the first plant of each is that of the sample data: its story is
-- kept, and only the time before it is filled. All others get the same types of machines, people and products, `scale`
-- plants per organization; odd-numbered organizations are manufacturers, even-numbered ones parcel carriers.
--
-- A row is a function of its key and time: apparent randomness is a hash of both. So a day is the same whatever the number
-- of days, the scale, or the day on which it was loaded. Nothing is dated after the sample data's anchor, and nobody works
-- before being hired. Existing days are left alone, so that an interrupted load resumes where it stopped, and a larger one
-- adds what is missing.

DROP TABLE IF EXISTS pg_temp.load_options, pg_temp.load_locations, pg_temp.load_resources, pg_temp.load_employees, pg_temp.load_products;

-- until: end of the data to load, where the story or the anchor begins. Instants are in UTC, days are local.
CREATE TEMPORARY TABLE load_options (
    zone text, today date, events_from date, demand_from date, metrics_from date, now_hour timestamptz
);
CREATE TEMPORARY TABLE load_locations (
    number integer, organization_id uuid, location_id uuid, plant integer, location_type text, name text, is_story boolean,
    shifts_until date
);
CREATE TEMPORARY TABLE load_resources (
    number integer, organization_id uuid, resource_id uuid, location_id uuid, name text, resource_type text, product_id text,
    rated_capacity_per_hour numeric, capacity_unit text, utilization_pct double precision, efficiency_pct double precision,
    maintenance_isodow integer, is_story boolean, events_until timestamptz, metrics_until timestamptz
);
CREATE TEMPORARY TABLE load_employees (
    number integer, organization_id uuid, employee_id uuid, location_id uuid, code text, role text, skills text[], shift_name text,
    is_story boolean
);
CREATE TEMPORARY TABLE load_products (
    number integer, organization_id uuid, location_id uuid, product_id text, level double precision, unit_price_eur numeric,
    days_until date
);

-- Random number: 0 <= chance < 1; the same key and number always give the same result.
CREATE OR REPLACE FUNCTION pg_temp.chance(key text, number integer)
RETURNS double precision
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (hashtextextended(key, number) & 9007199254740991) / 9007199254740992::double precision
$$;

CREATE OR REPLACE FUNCTION pg_temp.load_world(scale integer, organization_count integer, days integer, metric_days integer)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    zone CONSTANT text := 'Europe/Paris';
    anchor CONSTANT timestamptz := (SELECT s.anchor_at FROM seed_runs AS s WHERE s.seed_name = 'sample_data');
    today CONSTANT date := (anchor AT TIME ZONE zone)::date;
    -- Start of the sample data's own rows.
    story_events_day CONSTANT date := today - 30;
    story_demand_day CONSTANT date := today - 90;
    story_metrics_at CONSTANT timestamptz := date_trunc('minute', anchor) - interval '168 hours';
    now_hour CONSTANT timestamptz := date_trunc('hour', anchor);
BEGIN
    IF anchor IS NULL THEN
        RAISE EXCEPTION 'load the sample data first: seeds/seed_data.sql';
    END IF;
    TRUNCATE load_options, load_locations, load_resources, load_employees, load_products;
    INSERT INTO load_options
    VALUES (
        zone, today, today - coalesce(days, 30), today - coalesce(days, 90), CASE WHEN metric_days > 0 THEN today - metric_days ELSE today + 1 END,
        now_hour
    );

    INSERT INTO load_locations
    SELECT
        o.number,
        o.organization_id,
        CASE
            WHEN o.is_sample AND p.plant = 1 THEN
                (left(o.organization_id::text, 18) || '-0001-' || lpad(t.place::text, 12, '0'))::uuid
            ELSE md5(concat_ws('/', 'location', o.organization_id, p.plant, t.place))::uuid
        END,
        p.plant,
        t.location_type,
        t.name || ' ' || p.plant,
        o.is_sample AND p.plant = 1,
        CASE WHEN o.is_sample AND p.plant = 1 THEN story_events_day ELSE today + 15 END
    FROM (
        SELECT
            n AS number,
            n <= 2 AS is_sample,
            CASE
                WHEN n = 1 THEN '11111111-1111-1111-1111-111111111111'
                WHEN n = 2 THEN '22222222-2222-2222-2222-222222222222'
                ELSE md5('organization/' || n)
            END::uuid AS organization_id
        FROM generate_series(1, organization_count) AS n
    ) AS o
    CROSS JOIN generate_series(1, scale) AS p (plant)
    JOIN (
        VALUES (1, 1, 'factory', 'Factory'), (1, 2, 'warehouse', 'Warehouse'), (0, 1, 'distribution_center', 'Distribution Center')
    ) AS t (parity, place, location_type, name) ON t.parity = o.number % 2;

    INSERT INTO load_resources
    SELECT
        l.number,
        l.organization_id,
        CASE
            WHEN l.is_story THEN (left(l.organization_id::text, 18) || '-0002-' || lpad(t.nth::text, 12, '0'))::uuid
            ELSE md5(concat_ws('/', 'resource', l.location_id, t.nth))::uuid
        END,
        l.location_id,
        t.name || '-' || l.plant,
        t.resource_type,
        t.product_id || CASE WHEN l.plant = 1 THEN '' ELSE '-' || l.plant END,
        t.rated_capacity_per_hour,
        t.capacity_unit,
        t.utilization_pct,
        t.efficiency_pct,
        t.maintenance_isodow,
        l.is_story,
        CASE WHEN l.is_story THEN story_events_day::timestamp AT TIME ZONE zone ELSE now_hour END,
        CASE WHEN l.is_story THEN story_metrics_at ELSE now_hour END
    FROM load_locations AS l
    JOIN (
        VALUES
            ('factory', 1, 'Assembly Line 1', 'assembly_line', 'PRODUCT-A', 120, 'pieces', 82, 95, 2),
            ('factory', 2, 'Assembly Line 2', 'assembly_line', 'PRODUCT-B', 90, 'pieces', 80, 94, 3),
            ('factory', 3, 'CNC Machine 1', 'cnc_machine', 'PRODUCT-C', 40, 'pieces', 85, 96, 4),
            ('factory', 4, 'CNC Machine 2', 'cnc_machine', 'PRODUCT-C', 40, 'pieces', 84, 95, 5),
            ('warehouse', 5, 'Packing Line 1', 'packing_line', 'PRODUCT-A', 260, 'pieces', 78, 92, 1),
            ('distribution_center', 1, 'Parcel Sorter 1', 'sorter', 'PARCEL-STD', 2400, 'parcels', 74, 93, 2),
            ('distribution_center', 2, 'Truck 1', 'vehicle', 'PARCEL-STD', 900, 'parcels', 79, 90, 4),
            ('distribution_center', 3, 'Van 1', 'vehicle', 'PARCEL-EXP', 120, 'parcels', 71, 88, 6)
    ) AS t (
        location_type, nth, name, resource_type, product_id, rated_capacity_per_hour, capacity_unit, utilization_pct,
        efficiency_pct, maintenance_isodow
    ) ON t.location_type = l.location_type;

    INSERT INTO load_employees
    SELECT
        l.number,
        l.organization_id,
        CASE
            WHEN l.is_story THEN (left(l.organization_id::text, 18) || '-0003-' || lpad(t.nth::text, 12, '0'))::uuid
            ELSE md5(concat_ws('/', 'employee', l.location_id, t.nth))::uuid
        END,
        l.location_id,
        t.code || '-' || l.plant,
        t.role,
        t.skills::text[],
        t.shift_name,
        l.is_story
    FROM load_locations AS l
    JOIN (
        VALUES
            ('factory', 1, 'A1', 'operator', '{assembly,quality_check}', 'Morning'),
            ('factory', 2, 'A2', 'operator', '{assembly,setup}', 'Afternoon'),
            ('factory', 3, 'A3', 'machinist', '{cnc,setup}', 'Night'),
            ('factory', 4, 'A4', 'technician', '{maintenance,electrical,cnc}', 'Afternoon'),
            ('warehouse', 5, 'A5', 'packer', '{packing,forklift}', 'Night'),
            ('distribution_center', 1, 'B1', 'sorter', '{sorting,scanning}', 'Night'),
            ('distribution_center', 2, 'B2', 'driver', '{truck_licence,van_licence}', 'Morning')
    ) AS t (location_type, nth, code, role, skills, shift_name) ON t.location_type = l.location_type;

    INSERT INTO load_products
    SELECT
        l.number,
        l.organization_id,
        l.location_id,
        t.product_id || CASE WHEN l.plant = 1 THEN '' ELSE '-' || l.plant END,
        t.level,
        t.unit_price_eur,
        CASE WHEN l.is_story THEN story_demand_day ELSE today END
    FROM load_locations AS l
    JOIN (
        VALUES
            ('warehouse', 'PRODUCT-A', 1560, 24.50),
            ('warehouse', 'PRODUCT-B', 1100, 31.00),
            ('warehouse', 'PRODUCT-C', 1180, 58.00),
            ('distribution_center', 'PARCEL-STD', 34000, 4.90),
            ('distribution_center', 'PARCEL-EXP', 1600, 11.80)
    ) AS t (location_type, product_id, level, unit_price_eur) ON t.location_type = l.location_type;
    ANALYZE load_locations, load_resources, load_employees, load_products;
END
$$;

-- Creates the missing organizations, plants, machines and people, and returns the number of rows.
CREATE OR REPLACE FUNCTION pg_temp.load_entities()
RETURNS bigint
LANGUAGE sql
AS $$
    WITH new_organizations AS (
        INSERT INTO organizations (organization_id, name, industry, timezone, settings)
        SELECT DISTINCT
            l.organization_id,
            'Organization ' || l.number,
            CASE l.number % 2 WHEN 1 THEN 'manufacturing' ELSE 'logistics' END,
            o.zone,
            '{"currency": "EUR", "sample_data": true}'::jsonb
        FROM load_locations AS l
        CROSS JOIN load_options AS o
        WHERE l.number > 2
        ON CONFLICT DO NOTHING
        RETURNING 1
    ),
    new_locations AS (
        INSERT INTO locations (organization_id, location_id, name, location_type, timezone)
        SELECT l.organization_id, l.location_id, l.name, l.location_type, o.zone
        FROM load_locations AS l
        CROSS JOIN load_options AS o
        WHERE NOT l.is_story
        ON CONFLICT DO NOTHING
        RETURNING 1
    ),
    new_resources AS (
        INSERT INTO resources (
            organization_id, resource_id, location_id, name, resource_type, status, rated_capacity_per_hour, capacity_unit
        )
        SELECT organization_id, resource_id, location_id, name, resource_type, 'running', rated_capacity_per_hour, capacity_unit
        FROM load_resources
        WHERE NOT is_story
        ON CONFLICT DO NOTHING
        RETURNING 1
    ),
    new_employees AS (
        INSERT INTO employees (organization_id, employee_id, location_id, employee_code, full_name, role, skills)
        SELECT organization_id, employee_id, location_id, code, initcap(role) || ' ' || code, role, skills
        FROM load_employees
        WHERE NOT is_story
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT
        (SELECT count(*) FROM new_organizations) + (SELECT count(*) FROM new_locations)
        + (SELECT count(*) FROM new_resources) + (SELECT count(*) FROM new_employees)
$$;

-- Working hours of machines from one local day to another: setup, then production, then possibly a stop, 60 minutes in total.
CREATE OR REPLACE FUNCTION pg_temp.load_hours(resource_id uuid, maintenance_isodow integer, first_at timestamptz, end_at timestamptz)
RETURNS TABLE (
    starts_at timestamptz, local_hour integer, key text, setup_minutes integer, production_minutes integer, stop_minutes integer,
    stop_type text, cause text
)
LANGUAGE sql
STABLE
AS $$
    SELECT
        h.starts_at,
        k.local_hour,
        k.key,
        m.setup_minutes,
        60 - m.setup_minutes - m.stop_minutes,
        m.stop_minutes,
        k.stop_type,
        CASE k.stop_type
            WHEN 'maintenance' THEN 'weekly_maintenance'
            WHEN 'breakdown' THEN (ARRAY['electrical', 'jam', 'tool_wear', 'bearing'])[1 + floor(4 * pg_temp.chance(k.key, 2))::integer]
            WHEN 'idle' THEN (ARRAY['no_material', 'blocked', 'no_order'])[1 + floor(3 * pg_temp.chance(k.key, 2))::integer]
        END
    FROM generate_series(first_at, end_at - interval '1 second', interval '1 hour') AS h (starts_at)
    CROSS JOIN LATERAL (
        SELECT
            resource_id::text || '/' || (extract(epoch FROM h.starts_at)::bigint / 3600)::text AS key,
            extract(hour FROM h.starts_at AT TIME ZONE 'Europe/Paris')::integer AS local_hour,
            extract(isodow FROM h.starts_at AT TIME ZONE 'Europe/Paris')::integer AS isodow
    ) AS c
    CROSS JOIN LATERAL (SELECT pg_temp.chance(c.key, 1) AS luck OFFSET 0) AS l
    CROSS JOIN LATERAL (
        SELECT
            c.key,
            c.local_hour,
            CASE
                WHEN c.isodow = maintenance_isodow AND c.local_hour IN (10, 11) THEN 'maintenance'
                WHEN l.luck < 0.012 THEN 'breakdown'
                WHEN l.luck < 0.1 THEN 'idle'
            END AS stop_type,
            CASE WHEN c.local_hour IN (6, 14, 22) THEN 5 + floor(15 * pg_temp.chance(c.key, 3))::integer ELSE 0 END AS setup_minutes
        OFFSET 0
    ) AS k
    CROSS JOIN LATERAL (
        SELECT
            k.setup_minutes,
            CASE k.stop_type
                WHEN 'maintenance' THEN 60
                WHEN 'breakdown' THEN 10 + floor(30 * pg_temp.chance(k.key, 4))::integer
                WHEN 'idle' THEN 4 + floor(20 * pg_temp.chance(k.key, 4))::integer
                ELSE 0
            END AS stop_minutes
    ) AS m
$$;

-- Shifts (including two weeks ahead), assignments and attendance of one organization, first_day <= day < end_day (local days).
CREATE OR REPLACE FUNCTION pg_temp.load_people(organization_number integer, first_day date, end_day date)
RETURNS TABLE (relation text, row_count bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    organization CONSTANT uuid := (SELECT l.organization_id FROM load_locations AS l WHERE l.number = organization_number LIMIT 1);
BEGIN
    CREATE TEMPORARY TABLE new_shifts ON COMMIT DROP AS
    SELECT
        l.organization_id,
        md5(concat_ws('/', 'shift', l.location_id, s.name, d.day::date - date '2000-01-01'))::uuid AS shift_id,
        l.location_id,
        s.name,
        (d.day + s.starts) AT TIME ZONE o.zone AS starts_at,
        (d.day + s.starts + interval '8 hours') AT TIME ZONE o.zone AS ends_at,
        extract(isodow FROM d.day) AS isodow
    FROM load_options AS o
    JOIN load_locations AS l ON l.number = organization_number
    CROSS JOIN LATERAL generate_series(
        first_day::timestamp, (least(end_day, l.shifts_until) - 1)::timestamp, interval '1 day'
    ) AS d (day)
    CROSS JOIN (VALUES ('Morning', time '06:00'), ('Afternoon', time '14:00'), ('Night', time '22:00')) AS s (name, starts);

    CREATE TEMPORARY TABLE employed ON COMMIT DROP AS
    SELECT
        h.employee_id,
        h.valid_from,
        h.valid_to
    FROM employee_history AS h
    WHERE h.organization_id = organization
        AND h.is_employed;

    CREATE TEMPORARY TABLE new_work ON COMMIT DROP AS
    SELECT
        e.organization_id,
        s.shift_id,
        e.employee_id,
        s.starts_at,
        extract(epoch FROM s.ends_at - s.starts_at) / 3600 AS hours,
        pg_temp.chance(e.employee_id::text || extract(epoch FROM s.starts_at)::bigint, 1) AS luck
    FROM new_shifts AS s
    JOIN load_employees AS e ON e.location_id = s.location_id AND e.shift_name = s.name
    JOIN employed AS h ON h.employee_id = e.employee_id AND h.valid_from <= s.starts_at AND h.valid_to > s.starts_at
    CROSS JOIN load_options AS o
    WHERE s.isodow <= 5
        AND s.ends_at <= o.now_hour;

    WITH written AS (
        INSERT INTO shifts (organization_id, shift_id, location_id, name, starts_at, ends_at, required_employees)
        SELECT organization_id, shift_id, location_id, name, starts_at, ends_at, 1
        FROM new_shifts
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'shifts';
    RETURN NEXT;

    -- Checked in advance, because not every edition has a constraint for ON CONFLICT.
    CREATE TEMPORARY TABLE taken ON COMMIT DROP AS
    SELECT
        a.employee_id,
        a.starts_at,
        a.ends_at
    FROM shift_assignments AS a
    WHERE a.organization_id = organization
        AND a.status <> 'cancelled';

    CREATE TEMPORARY TABLE new_assignments ON COMMIT DROP AS
    SELECT
        w.organization_id,
        w.shift_id,
        w.employee_id,
        CASE WHEN w.luck < 0.07 THEN 'absent' ELSE 'completed' END AS status
    FROM new_work AS w
    WHERE NOT EXISTS (
        SELECT
        FROM taken AS t
        WHERE t.employee_id = w.employee_id
            AND t.starts_at < w.starts_at + w.hours * interval '1 hour'
            AND t.ends_at > w.starts_at
    );

    WITH written AS (
        INSERT INTO shift_assignments (organization_id, shift_id, employee_id, status)
        SELECT organization_id, shift_id, employee_id, status
        FROM new_assignments
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'shift_assignments';
    RETURN NEXT;

    WITH written AS (
        INSERT INTO employee_attendance (
            organization_id, time, employee_id, shift_id, status, scheduled_hours, hours_worked, performance_score
        )
        SELECT
            organization_id,
            starts_at,
            employee_id,
            shift_id,
            CASE WHEN luck < 0.04 THEN 'absent' WHEN luck < 0.07 THEN 'sick' WHEN luck < 0.12 THEN 'late' ELSE 'present' END,
            hours,
            CASE WHEN luck < 0.07 THEN 0 WHEN luck < 0.12 THEN hours - 0.5 ELSE hours END,
            CASE WHEN luck >= 0.07 THEN round((70 + 25 * luck)::numeric, 1) END
        FROM new_work
        ORDER BY starts_at
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'employee_attendance';
    RETURN NEXT;
    DROP TABLE new_shifts, employed, new_work, taken, new_assignments;
END
$$;

-- Demand day by day, and each Monday's forecast for the following four weeks.
CREATE OR REPLACE FUNCTION pg_temp.load_demand(organization_number integer, first_day date, end_day date)
RETURNS TABLE (relation text, row_count bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    CREATE TEMPORARY TABLE new_demand ON COMMIT DROP AS
    SELECT
        p.organization_id,
        p.location_id,
        p.product_id,
        p.days_until,
        p.unit_price_eur,
        d.day,
        d.day AT TIME ZONE o.zone AS starts_at,
        round(
            (
                p.level
                * (ARRAY[1.08, 1.07, 1.06, 1.07, 1.10, 0.88, 0.74])[extract(isodow FROM d.day)::integer]
                * (1 + 0.12 * cos(2 * pi() * (extract(doy FROM d.day)::double precision - 180) / 365.25))
            )::numeric
        ) AS expected_quantity,
        p.product_id || '/' || p.location_id || '/' || (d.day::date - date '2000-01-01') AS key
    FROM load_options AS o
    JOIN load_products AS p ON p.number = organization_number
    CROSS JOIN LATERAL generate_series(first_day::timestamp, (end_day + 27)::timestamp, interval '1 day') AS d (day);

    WITH written AS (
        INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity, revenue)
        SELECT
            organization_id,
            starts_at,
            product_id,
            location_id,
            q.quantity,
            round(q.quantity * unit_price_eur, 2)
        FROM new_demand
        CROSS JOIN LATERAL (SELECT round(expected_quantity * (0.9 + 0.2 * pg_temp.chance(key, 1))::numeric) AS quantity) AS q
        WHERE day < least(end_day, days_until)
        ORDER BY starts_at
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'demand_history';
    RETURN NEXT;

    WITH written AS (
        INSERT INTO demand_forecasts (
            organization_id, product_id, location_id, target_time, target_interval, predicted_quantity, lower_bound, upper_bound,
            interval_coverage_pct, model_name, model_version, available_at
        )
        SELECT
            f.organization_id,
            f.product_id,
            f.location_id,
            f.starts_at,
            interval '1 day',
            p.predicted,
            round(p.predicted * 0.87, 1),
            round(p.predicted * 1.13, 1),
            90,
            'weekly_seasonal',
            '1.0',
            r.starts_at
        FROM new_demand AS r
        JOIN new_demand AS f
            ON f.location_id = r.location_id
            AND f.product_id = r.product_id
            AND f.day > r.day
            AND f.day <= r.day + interval '28 days'
        CROSS JOIN LATERAL (
            SELECT round(f.expected_quantity * (0.95 + 0.1 * pg_temp.chance(f.key, r.day::date - date '2000-01-01'))::numeric, 1) AS predicted
        ) AS p
        WHERE extract(isodow FROM r.day) = 1
            AND r.day < least(end_day, r.days_until)
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'demand_forecasts';
    RETURN NEXT;
    DROP TABLE new_demand;
END
$$;

-- Events of machines, and production plans.
CREATE OR REPLACE FUNCTION pg_temp.load_events(organization_number integer, first_day date, end_day date)
RETURNS TABLE (relation text, row_count bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    zone CONSTANT text := (SELECT o.zone FROM load_options AS o);
    organization CONSTANT uuid := (SELECT DISTINCT l.organization_id FROM load_locations AS l WHERE l.number = organization_number);
BEGIN
    CREATE TEMPORARY TABLE loaded ON COMMIT DROP AS
    SELECT
        t.resource_id,
        (t.time AT TIME ZONE zone)::date AS day,
        min(t.time) AS first_at
    FROM operational_events AS t
    WHERE t.organization_id = organization
        AND t.time >= first_day::timestamp AT TIME ZONE zone
        AND t.time < end_day::timestamp AT TIME ZONE zone
    GROUP BY
        1,
        2;

    CREATE TEMPORARY TABLE new_events ON COMMIT DROP AS
    WITH missing AS MATERIALIZED (
        SELECT
            r.*,
            d.starts_at,
            d.ends_at
        FROM load_resources AS r
        CROSS JOIN LATERAL (
            SELECT
                day::date AS day,
                day AT TIME ZONE zone AS starts_at,
                least((day + interval '1 day') AT TIME ZONE zone, r.events_until) AS ends_at
            FROM generate_series(first_day::timestamp, (end_day - 1)::timestamp, interval '1 day') AS day
        ) AS d
        WHERE r.number = organization_number
            AND d.starts_at < d.ends_at
            AND NOT EXISTS (
                SELECT
                FROM loaded AS l
                WHERE l.resource_id = r.resource_id
                    AND l.day = d.day
                    AND l.first_at < d.ends_at
            )
    )
    SELECT
        m.organization_id,
        e.time,
        -- Time first, as in a version 7 UUID, so that rows written together are adjacent in the key.
        (lpad(to_hex((extract(epoch FROM e.time) * 1000)::bigint), 12, '0') || right(md5(e.event_type || h.key), 20))::uuid AS event_id,
        m.location_id,
        m.resource_id,
        e.event_type,
        e.cause,
        CASE WHEN e.event_type = 'production' THEN m.product_id END AS product_id,
        e.quantity,
        CASE WHEN e.event_type = 'production' THEN floor(e.quantity * (0.03 * pg_temp.chance(h.key, 7))::numeric) END AS scrap_quantity,
        CASE WHEN e.event_type IN ('production', 'inspection') THEN round((94 + 5 * pg_temp.chance(h.key, 8))::numeric, 1) END AS quality_score,
        e.minutes AS duration_minutes
    FROM missing AS m
    CROSS JOIN LATERAL pg_temp.load_hours(m.resource_id, m.maintenance_isodow, m.starts_at, m.ends_at) AS h
    CROSS JOIN LATERAL (
        VALUES
            ('setup', h.starts_at, 'shift_setup', h.setup_minutes, NULL::numeric, h.setup_minutes > 0),
            (
                'production', h.starts_at + make_interval(mins => h.setup_minutes), NULL, h.production_minutes,
                round(
                    (
                        m.rated_capacity_per_hour::double precision * h.production_minutes / 60
                        * (m.utilization_pct - 5 + 10 * pg_temp.chance(h.key, 5)) * m.efficiency_pct / 10000
                    )::numeric
                ),
                h.production_minutes > 0
            ),
            (
                h.stop_type, h.starts_at + make_interval(mins => h.setup_minutes + h.production_minutes), h.cause,
                h.stop_minutes, NULL, h.stop_minutes > 0
            ),
            ('inspection', h.starts_at, NULL, 0, NULL, h.local_hour IN (9, 17, 1) AND h.production_minutes > 0),
            (
                'error', h.starts_at + interval '5 minutes', 'sensor_timeout', 0, NULL,
                h.production_minutes > 30 AND pg_temp.chance(h.key, 6) < 0.03
            )
    ) AS e (event_type, time, cause, minutes, quantity, is_wanted)
    WHERE e.is_wanted;

    INSERT INTO operational_events (
        organization_id, time, event_id, location_id, resource_id, event_type, cause, product_id, quantity, scrap_quantity,
        quality_score, duration_minutes
    )
    SELECT
        organization_id, time, event_id, location_id, resource_id, event_type, cause, product_id, quantity, scrap_quantity,
        quality_score, duration_minutes
    FROM new_events
    ORDER BY time;
    relation := 'operational_events';
    GET DIAGNOSTICS row_count = ROW_COUNT;
    RETURN NEXT;

    WITH written AS (
        INSERT INTO production_plans (
            organization_id, plan_id, location_id, resource_id, product_id, plan_date, planned_quantity, actual_quantity, status
        )
        SELECT
            e.organization_id,
            md5(concat_ws('/', 'plan', e.resource_id, e.day - date '2000-01-01'))::uuid,
            e.location_id,
            e.resource_id,
            e.product_id,
            e.day,
            greatest(10, round(e.quantity * (0.97 + 0.08 * pg_temp.chance(e.resource_id::text || (e.day - date '2000-01-01'), 9))::numeric, -1)),
            e.quantity,
            CASE WHEN e.day < o.today THEN 'completed' ELSE 'in_progress' END
        FROM (
            SELECT
                organization_id,
                location_id,
                resource_id,
                product_id,
                (time AT TIME ZONE zone)::date AS day,
                sum(quantity - scrap_quantity) AS quantity
            FROM new_events
            WHERE event_type = 'production'
            GROUP BY organization_id, location_id, resource_id, product_id, (time AT TIME ZONE zone)::date
        ) AS e
        CROSS JOIN load_options AS o
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)
    INTO row_count
    FROM written;
    relation := 'production_plans';
    RETURN NEXT;
    DROP TABLE loaded, new_events;
END
$$;

-- The same hours minute by minute, as machines report them.
CREATE OR REPLACE FUNCTION pg_temp.load_metrics(organization_number integer, first_day date, end_day date)
RETURNS TABLE (relation text, row_count bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    zone CONSTANT text := (SELECT o.zone FROM load_options AS o);
    organization CONSTANT uuid := (SELECT DISTINCT l.organization_id FROM load_locations AS l WHERE l.number = organization_number);
BEGIN
    CREATE TEMPORARY TABLE loaded ON COMMIT DROP AS
    SELECT
        t.resource_id,
        (t.time AT TIME ZONE zone)::date AS day,
        min(t.time) AS first_at
    FROM resource_metrics AS t
    WHERE t.organization_id = organization
        AND t.time >= first_day::timestamp AT TIME ZONE zone
        AND t.time < end_day::timestamp AT TIME ZONE zone
    GROUP BY
        1,
        2;

    INSERT INTO resource_metrics (
        organization_id, time, resource_id, utilization_pct, efficiency_pct, downtime_minutes, sample_minutes
    )
    WITH missing AS MATERIALIZED (
        SELECT
            r.*,
            d.starts_at,
            d.ends_at
        FROM load_resources AS r
        CROSS JOIN LATERAL (
            SELECT
                day::date AS day,
                day AT TIME ZONE zone AS starts_at,
                least((day + interval '1 day') AT TIME ZONE zone, r.metrics_until) AS ends_at
            FROM generate_series(first_day::timestamp, (end_day - 1)::timestamp, interval '1 day') AS day
        ) AS d
        WHERE r.number = organization_number
            AND d.starts_at < d.ends_at
            AND NOT EXISTS (
                SELECT
                FROM loaded AS l
                WHERE l.resource_id = r.resource_id
                    AND l.day = d.day
                    AND l.first_at < d.ends_at
            )
    )
    SELECT
        m.organization_id,
        t.time,
        m.resource_id,
        CASE
            WHEN s.is_running THEN round(least(100, m.utilization_pct - 5 + 10 * pg_temp.chance(h.key, 5) + 2 * pg_temp.chance(h.key, 100 + n))::numeric, 1)
            ELSE 0
        END,
        CASE WHEN s.is_running THEN round(least(100, m.efficiency_pct - 2 + 4 * pg_temp.chance(h.key, 200 + n))::numeric, 1) END,
        (NOT s.is_running AND n >= h.setup_minutes AND h.stop_type <> 'idle')::integer,
        1
    FROM missing AS m
    CROSS JOIN LATERAL pg_temp.load_hours(m.resource_id, m.maintenance_isodow, m.starts_at, m.ends_at) AS h
    CROSS JOIN generate_series(0, 59) AS n
    CROSS JOIN LATERAL (SELECT h.starts_at + make_interval(mins => n) AS time) AS t
    CROSS JOIN LATERAL (
        SELECT n >= h.setup_minutes AND n < h.setup_minutes + h.production_minutes AS is_running
    ) AS s
    WHERE t.time < m.ends_at
    ORDER BY t.time;
    relation := 'resource_metrics';
    GET DIAGNOSTICS row_count = ROW_COUNT;
    RETURN NEXT;
    DROP TABLE loaded;
END
$$;
