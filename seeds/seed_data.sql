-- Sample data: a month in the life of two customers, as one story.
--
--     psql "$DATABASE_URL" -X -v ON_ERROR_STOP=1 -f seeds/seed_data.sql
--
-- Sample Manufacturing makes products in a factory, day and night, and packs them in a warehouse. Assembly Line 2 cannot
-- keep up with demand: its utilization has climbed for days while its efficiency falls, and a model saw it coming.
-- A bearing of CNC Machine 1 failed three days ago, as predicted; CNC Machine 2 vibrates more and more.
-- Sample Logistics sorts and carries parcels. Truck 1 broke down 45 minutes ago and still stands.
-- In both, one worker of the night stays away too often.
--
-- Everything hangs on one instant, the anchor: now(), or the setting app.seed_now, an instant with its UTC offset
-- (SET app.seed_now = '2025-03-30 12:00+02'). The same anchor gives the same content, to the last digit: what looks like
-- chance is a hash of the row's own key under a fixed seed. No fact is dated after the anchor. What counts in days
-- counts whole local days before the anchor's: 90 of demand; 30 of events and attendance, and today's so far. Metrics are
-- of the last 7 times 1,440 minutes, forecasts for the next 30 local days.
--
-- Applied again, today or later, it does nothing: what users changed or added stays. One statement does all of
-- it or nothing, whatever the client's transaction mode.

-- Pseudo-random number: the same key always gives the same result. Uniform, 0 <= noise < 1; the mask keeps the 53 bits of a
-- double's mantissa.
CREATE OR REPLACE FUNCTION pg_temp.noise(key text)
RETURNS double precision
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (hashtextextended(key, 20240229) & 9007199254740991) / 9007199254740992::double precision
$$;

-- Approximately normal, with mean 0 and standard deviation 1, never beyond 3.5: the sum of four uniforms.
CREATE OR REPLACE FUNCTION pg_temp.gauss(key text)
RETURNS double precision
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        1.7320508 * (
            pg_temp.noise(key || '/a') + pg_temp.noise(key || '/b') + pg_temp.noise(key || '/c')
            + pg_temp.noise(key || '/d') - 2
        )
$$;

-- Keys must not depend on the session's time zone or date style, so days and instants are encoded as numbers.
CREATE OR REPLACE FUNCTION pg_temp.number_of(day date)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (day - date '2000-01-01')::text
$$;

CREATE OR REPLACE FUNCTION pg_temp.number_of(instant timestamptz)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (extract(epoch FROM instant) / 60)::bigint::text
$$;

CREATE OR REPLACE FUNCTION pg_temp.parse_uuid(key text)
RETURNS uuid
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
    SELECT md5(key)::uuid
$$;

-- Easter Sunday of the Gregorian calendar (the computus of Meeus, Astronomical Algorithms, chapter 8).
CREATE OR REPLACE FUNCTION pg_temp.easter_sunday(year integer)
RETURNS date
LANGUAGE plpgsql
IMMUTABLE
AS $$
DECLARE
    century CONSTANT integer := year / 100;
    golden CONSTANT integer := year % 19;
    epact CONSTANT integer := (
        19 * golden + century - century / 4 - (century - (century + 8) / 25 + 1) / 3 + 15
    ) % 30;
    to_sunday CONSTANT integer := (
        32 + 2 * (century % 4) + 2 * (year % 100 / 4) - epact - year % 100 % 4
    ) % 7;
    late CONSTANT integer := (golden + 11 * epact + 22 * to_sunday) / 451;
BEGIN
    RETURN make_date(year, 3, 22) + epact + to_sunday - 7 * late;
END
$$;

DO $seed$
DECLARE
    anchor CONSTANT timestamptz := coalesce(nullif(current_setting('app.seed_now', true), '')::timestamptz, now());
    -- The last full minute: machines report by the minute.
    cut CONSTANT timestamptz := date_trunc('minute', anchor);
    -- All locations of the story share a time zone. Days are added to dates and hours to instants, never days to instants,
    -- so that neither daylight-saving changes nor the session's time zone shift anything.
    zone CONSTANT text := 'Europe/Paris';
    today CONSTANT date := (anchor AT TIME ZONE zone)::date;

    manufacturing CONSTANT uuid := '11111111-1111-1111-1111-111111111111';
    factory CONSTANT uuid := '11111111-1111-1111-0001-000000000001';
    warehouse CONSTANT uuid := '11111111-1111-1111-0001-000000000002';
    line_1 CONSTANT uuid := '11111111-1111-1111-0002-000000000001';
    line_2 CONSTANT uuid := '11111111-1111-1111-0002-000000000002';
    cnc_1 CONSTANT uuid := '11111111-1111-1111-0002-000000000003';
    cnc_2 CONSTANT uuid := '11111111-1111-1111-0002-000000000004';
    packing CONSTANT uuid := '11111111-1111-1111-0002-000000000005';
    operator_a1 CONSTANT uuid := '11111111-1111-1111-0003-000000000001';
    operator_a2 CONSTANT uuid := '11111111-1111-1111-0003-000000000002';
    machinist_a3 CONSTANT uuid := '11111111-1111-1111-0003-000000000003';
    technician_a4 CONSTANT uuid := '11111111-1111-1111-0003-000000000004';
    packer_a5 CONSTANT uuid := '11111111-1111-1111-0003-000000000005';

    logistics CONSTANT uuid := '22222222-2222-2222-2222-222222222222';
    hub CONSTANT uuid := '22222222-2222-2222-0001-000000000001';
    sorter CONSTANT uuid := '22222222-2222-2222-0002-000000000001';
    truck CONSTANT uuid := '22222222-2222-2222-0002-000000000002';
    van CONSTANT uuid := '22222222-2222-2222-0002-000000000003';
    sorter_b1 CONSTANT uuid := '22222222-2222-2222-0003-000000000001';
    driver_b2 CONSTANT uuid := '22222222-2222-2222-0003-000000000002';

    -- Start of the story's breakdowns.
    bearing_failed_at CONSTANT timestamptz := (today - 3 + time '15:10') AT TIME ZONE zone;
    belt_tore_at CONSTANT timestamptz := (today - 15 + time '09:40') AT TIME ZONE zone;
    truck_failed_at CONSTANT timestamptz := cut - interval '45 minutes';
    -- Assembly Line 2 comes under pressure over four days; for the last it is at its limit.
    pressure_from CONSTANT timestamptz := cut - interval '120 hours';
    -- The vibration of CNC Machine 2 rises over the last two.
    shaking_from CONSTANT timestamptz := cut - interval '48 hours';
BEGIN
    -- Serialize seeding: a second session waits here, and then finds the marker of the first.
    PERFORM pg_advisory_xact_lock(hashtextextended('barnameh seed', 0));
    IF EXISTS (SELECT FROM seed_runs WHERE seed_name = 'sample_data') THEN
        RAISE NOTICE 'the sample data is already loaded: nothing to do';
        RETURN;
    END IF;
    -- Many small statements over tables without statistics: JIT compilation costs more than it saves.
    PERFORM set_config('jit', 'off', true);

    ---------------------------------------------------------------------------------------------------------------
    -- Master data
    ---------------------------------------------------------------------------------------------------------------

    INSERT INTO organizations (organization_id, name, industry, timezone, settings)
    VALUES
        (manufacturing, 'Sample Manufacturing', 'manufacturing', zone, '{"currency": "EUR", "sample_data": true}'),
        (logistics, 'Sample Logistics', 'logistics', zone, '{"currency": "EUR", "sample_data": true}');

    INSERT INTO locations (
        organization_id, location_id, location_code, name, location_type, timezone, address, latitude_degrees, longitude_degrees, metadata
    )
    VALUES
        (manufacturing, factory, 'LYS', 'Factory Lyon', 'factory', zone, 'Sample Industrial Park, Lyon', 45.76, 4.84, '{"floor_area_m2": 12000, "country": "FR", "bidding_zone": "10YFR-RTE------C"}'),
        (manufacturing, warehouse, 'DIJ', 'Warehouse Dijon', 'warehouse', zone, 'Sample Trade Park, Dijon', 47.32, 5.04, '{"pallet_places": 8000, "country": "FR", "bidding_zone": "10YFR-RTE------C"}'),
        (logistics, hub, 'LIL', 'Distribution Center Lille', 'distribution_center', zone, 'Sample Freight Village, Lille', 50.63, 3.06, '{"dock_doors": 42, "country": "FR", "bidding_zone": "10YFR-RTE------C"}');

    -- utilization_pct, efficiency_pct and scrap_pct are what the resource usually reaches while it produces;
    -- breakdown_chance is per shift, setup_minutes the longest setup at the start of a shift (0: none).
    CREATE TEMPORARY TABLE sample_resources ON COMMIT DROP AS
    SELECT
        r.*,
        coalesce(r.sensors, '{}') AS sensor_names
    FROM (
        VALUES
            (manufacturing, line_1, factory, 'Assembly Line 1', 'assembly_line', 'PRODUCT-A', 120, 'pieces', 82, 95, 1.6, 0.04, 25, 'Morning', 2, 100, ARRAY['temperature', 'vibration']),
            (manufacturing, line_2, factory, 'Assembly Line 2', 'assembly_line', 'PRODUCT-B', 90, 'pieces', 80, 94, 1.9, 0.04, 25, 'Morning', 3, 90, ARRAY['temperature', 'vibration']),
            (manufacturing, cnc_1, factory, 'CNC Machine 1', 'cnc_machine', 'PRODUCT-C', 40, 'pieces', 85, 96, 1.1, 0.05, 20, 'Afternoon', 4, 12000, ARRAY['temperature', 'vibration']),
            (manufacturing, cnc_2, factory, 'CNC Machine 2', 'cnc_machine', 'PRODUCT-C', 40, 'pieces', 84, 95, 1.3, 0.05, 20, 'Afternoon', 5, 12000, ARRAY['temperature', 'vibration']),
            (manufacturing, packing, warehouse, 'Packing Line 1', 'packing_line', 'PRODUCT-A', 260, 'pieces', 78, 92, 0.6, 0.05, 15, 'Night packing', 1, 60, ARRAY['weight']),
            (logistics, sorter, hub, 'Parcel Sorter 1', 'sorter', 'PARCEL-STD', 2400, 'parcels', 74, 93, 0.4, 0.04, 0, 'Day', 2, 150, ARRAY['vibration', 'barcode']),
            (logistics, truck, hub, 'Truck 1', 'vehicle', 'PARCEL-STD', 900, 'parcels', 79, 90, 0.2, 0.03, 0, 'Evening', 4, 90, ARRAY['position', 'fuel']),
            (logistics, van, hub, 'Van 1', 'vehicle', 'PARCEL-EXP', 120, 'parcels', 71, 88, 0.3, 0.03, 0, 'Evening', 6, 110, ARRAY['position', 'battery'])
    ) AS r (
        organization_id, resource_id, location_id, name, resource_type, product_id, rated_capacity_per_hour, capacity_unit,
        utilization_pct, efficiency_pct, scrap_pct, breakdown_chance, setup_minutes, maintenance_shift, maintenance_isodow,
        max_speed, sensors
    );

    INSERT INTO resources (
        organization_id, resource_id, resource_code, location_id, name, resource_type, status, rated_capacity_per_hour, capacity_unit, metadata
    )
    SELECT
        organization_id,
        resource_id,
        regexp_replace(name, '([A-Z])[A-Za-z]* ', '\1', 'g'),  -- Assembly Line 1: AL1
        location_id,
        name,
        resource_type,
        'idle',     -- corrected below, once the state at the anchor is known
        rated_capacity_per_hour,
        capacity_unit,
        jsonb_build_object('max_speed', max_speed, 'maintenance_interval_hours', 168, 'sensors', sensor_names)
    FROM sample_resources;

    INSERT INTO employees (
        organization_id, employee_id, location_id, employee_code, full_name, role, skills, hired_on_date, metadata
    )
    VALUES
        (manufacturing, operator_a1, factory, 'A1', 'Operator A1', 'operator', '{assembly,quality_check}', today - 2400, '{}'),
        (manufacturing, operator_a2, factory, 'A2', 'Operator A2', 'operator', '{assembly,setup}', today - 1500, '{}'),
        (manufacturing, machinist_a3, factory, 'A3', 'Machinist A3', 'machinist', '{cnc,setup}', today - 3100, '{}'),
        (manufacturing, technician_a4, factory, 'A4', 'Technician A4', 'technician', '{maintenance,electrical,cnc}', today - 1900, '{}'),
        (manufacturing, packer_a5, warehouse, 'A5', 'Packer A5', 'packer', '{packing,forklift}', today - 420, '{}'),
        (logistics, sorter_b1, hub, 'B1', 'Sorter B1', 'sorter', '{sorting,scanning}', today - 380, '{}'),
        (logistics, driver_b2, hub, 'B2', 'Driver B2', 'driver', '{truck_licence,van_licence}', today - 2000, '{}');

    -- French contracts: 35 contracted hours, 48 at most. (Same as planning's defaults, except for the first.)
    INSERT INTO employee_contracts (organization_id, employee_id, valid_from, hours_per_week, max_hours_per_week)
    SELECT
        e.organization_id,
        e.employee_id,
        e.hired_on_date,
        35,
        48
    FROM employees AS e
    WHERE e.organization_id IN (manufacturing, logistics);

    -- After the last shift that is planned; and a wish for a day next week.
    INSERT INTO employee_unavailability (organization_id, employee_id, starts_at, ends_at, reason, is_hard)
    VALUES
        (logistics, driver_b2, (today + 20)::timestamp AT TIME ZONE zone, (today + 34)::timestamp AT TIME ZONE zone, 'vacation', true),
        (manufacturing, operator_a2, (today + 8)::timestamp AT TIME ZONE zone, (today + 9)::timestamp AT TIME ZONE zone, 'wish', false);

    -- Products of each resource; either assembly line can take over the other's product after a setup, at a lower rate.
    INSERT INTO resource_capabilities (organization_id, resource_id, product_id, rate_per_hour, setup_minutes)
    SELECT
        organization_id,
        resource_id,
        product_id,
        NULL,
        setup_minutes
    FROM sample_resources
    UNION ALL
    VALUES
        (manufacturing, line_1, 'PRODUCT-B', 60, 45),
        (manufacturing, line_2, 'PRODUCT-A', 75, 45);

    ---------------------------------------------------------------------------------------------------------------
    -- The calendar: local days from 91 before today to 31 after, with holidays and promotions
    ---------------------------------------------------------------------------------------------------------------

    CREATE TEMPORARY TABLE sample_days ON COMMIT DROP AS
    SELECT
        d.day,
        d.day_offset,
        d.day::timestamp AT TIME ZONE zone AS starts_at,
        extract(isodow FROM d.day)::integer AS isodow,
        extract(doy FROM d.day)::integer AS doy,
        h.name AS holiday_name,
        d.day_offset BETWEEN -67 AND -64
            OR d.day_offset BETWEEN -38 AND -35
            OR d.day_offset BETWEEN -11 AND -9
            OR d.day_offset BETWEEN 12 AND 14 AS is_promotion
    FROM (SELECT today + n AS day, n AS day_offset FROM generate_series(-91, 31) AS n) AS d
    LEFT JOIN (
        SELECT
            v.day,
            min(v.name) AS name
        FROM generate_series(extract(year FROM today)::integer - 1, extract(year FROM today)::integer + 1) AS year
        CROSS JOIN LATERAL (
            VALUES
                (make_date(year, 1, 1), 'New Year''s Day'),
                (pg_temp.easter_sunday(year) + 1, 'Easter Monday'),
                (make_date(year, 5, 1), 'Labour Day'),
                (make_date(year, 5, 8), 'Victory Day'),
                (pg_temp.easter_sunday(year) + 39, 'Ascension Day'),
                (pg_temp.easter_sunday(year) + 50, 'Whit Monday'),
                (make_date(year, 7, 14), 'National Day'),
                (make_date(year, 8, 15), 'Assumption Day'),
                (make_date(year, 11, 1), 'All Saints'' Day'),
                (make_date(year, 11, 11), 'Armistice Day'),
                (make_date(year, 12, 25), 'Christmas Day')
        ) AS v (day, name)
        GROUP BY v.day      -- two holidays may share a day
    ) AS h ON h.day = d.day;

    ---------------------------------------------------------------------------------------------------------------
    -- Shifts: 30 days back, today, and 14 days ahead. The factory rests in weekend nights, the warehouse works at
    -- night only, the distribution center never rests. The factory's night passes midnight; the other two nights pass
    -- the change of daylight-saving time, and last 7 or 9 hours then.
    ---------------------------------------------------------------------------------------------------------------

    CREATE TEMPORARY TABLE sample_shifts ON COMMIT DROP AS
    SELECT
        p.organization_id,
        pg_temp.parse_uuid(concat_ws('/', 'shift', p.location_id, p.name, pg_temp.number_of(d.day))) AS shift_id,
        p.location_id,
        p.name,
        d.day,
        d.day_offset,
        d.isodow,
        (d.day + p.starts) AT TIME ZONE zone AS starts_at,
        (d.day + p.starts + interval '8 hours') AT TIME ZONE zone AS ends_at,
        p.required_employees,
        p.required_skills
    FROM (
        VALUES
            (manufacturing, factory, 'Morning', time '06:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 1, ARRAY['assembly']),
            (manufacturing, factory, 'Afternoon', time '14:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 1, ARRAY['assembly']),
            (manufacturing, factory, 'Night', time '22:00', ARRAY[1, 2, 3, 4, 5], 1, ARRAY['cnc']),
            (manufacturing, warehouse, 'Night packing', time '00:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 1, ARRAY['packing']),
            (logistics, hub, 'Night sort', time '00:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 1, ARRAY['sorting']),
            (logistics, hub, 'Day', time '08:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 1, ARRAY['truck_licence']),
            (logistics, hub, 'Evening', time '16:00', ARRAY[1, 2, 3, 4, 5, 6, 7], 0, ARRAY[]::text[])
    ) AS p (organization_id, location_id, name, starts, isodows, required_employees, required_skills)
    JOIN sample_days AS d
        ON d.isodow = ANY (p.isodows)
        AND d.day_offset BETWEEN -30 AND 14;

    INSERT INTO shifts (
        organization_id, shift_id, location_id, name, starts_at, ends_at, required_employees, required_skills
    )
    SELECT
        organization_id,
        shift_id,
        location_id,
        name,
        starts_at,
        ends_at,
        required_employees,
        required_skills
    FROM sample_shifts;

    -- Shift assignments. The night workers of the warehouse and the distribution center also work on the first of a month,
    -- for stocktaking, whatever the weekday; and each of them misses the first shift of a month and every sixth one after
    -- it, so their attendance is below 90 from the first minute of a month on.
    CREATE TEMPORARY TABLE sample_crew ON COMMIT DROP AS
    WITH duties (employee_id, shift_location_id, shift_name, isodows, takes_stock, away_pct, usual_score) AS (
        VALUES
            (operator_a1, factory, 'Morning', ARRAY[1, 2, 3, 4, 5], false, 4, 88),
            (operator_a2, factory, 'Afternoon', ARRAY[1, 2, 3, 4, 5], false, 5, 84),
            (machinist_a3, factory, 'Night', ARRAY[1, 2, 3, 4, 5], false, 4, 91),
            (technician_a4, factory, 'Afternoon', ARRAY[3, 4, 5, 6, 7], false, 3, 93),
            (packer_a5, warehouse, 'Night packing', ARRAY[1, 2, 3, 4, 5], true, 3, 76),
            (sorter_b1, hub, 'Night sort', ARRAY[1, 2, 3, 4, 5], true, 3, 74),
            (driver_b2, hub, 'Day', ARRAY[2, 3, 4, 5, 6], false, 4, 89)
    ),
    stretches AS (
        SELECT
            s.organization_id,
            s.shift_id,
            s.location_id,
            s.day,
            s.starts_at,
            s.ends_at,
            u.employee_id,
            u.takes_stock,
            u.away_pct,
            u.usual_score,
            pg_temp.noise(concat_ws('/', 'presence', u.employee_id, pg_temp.number_of(s.day))) AS luck,
            -- Number of this shift within its month, from 1.
            (
                SELECT count(*)
                FROM generate_series(0, extract(day FROM s.day)::integer - 1) AS n
                WHERE n = extract(day FROM s.day)::integer - 1
                    OR extract(isodow FROM s.day - n)::integer = ANY (u.isodows)
            ) AS nth_of_month
        FROM duties AS u
        JOIN sample_shifts AS s
            ON s.location_id = u.shift_location_id
            AND s.name = u.shift_name
            AND (s.isodow = ANY (u.isodows) OR u.takes_stock AND extract(day FROM s.day) = 1)
    )
    SELECT
        w.*,
        CASE
            WHEN w.takes_stock AND w.nth_of_month % 12 = 1 THEN 'absent'
            WHEN w.takes_stock AND w.nth_of_month % 6 = 1 THEN 'sick'
            WHEN w.employee_id = operator_a2 AND w.day BETWEEN today - 20 AND today - 18 THEN 'vacation'
            WHEN 100 * w.luck < w.away_pct THEN 'absent'
            WHEN 100 * w.luck < w.away_pct + 2 THEN 'sick'
            WHEN 100 * w.luck < w.away_pct + 9 THEN 'late'
            ELSE 'present'
        END AS presence
    FROM stretches AS w;

    INSERT INTO shift_assignments (organization_id, shift_id, employee_id, status)
    SELECT
        organization_id,
        shift_id,
        employee_id,
        CASE
            WHEN starts_at > cut + interval '72 hours' THEN 'scheduled'
            WHEN starts_at > cut THEN 'confirmed'
            WHEN presence = 'vacation' THEN 'cancelled'
            WHEN presence IN ('absent', 'sick') THEN 'absent'
            WHEN ends_at > cut THEN 'confirmed'
            ELSE 'completed'
        END
    FROM sample_crew;

    INSERT INTO employee_attendance (
        organization_id, time, employee_id, shift_id, status, scheduled_hours, hours_worked, performance_score
    )
    SELECT
        c.organization_id,
        c.starts_at,
        c.employee_id,
        c.shift_id,
        c.presence,
        round(extract(epoch FROM c.ends_at - c.starts_at) / 3600, 2),
        CASE c.presence
            WHEN 'present' THEN round(h.elapsed, 2)
            WHEN 'late' THEN round(greatest(h.elapsed - 0.5, 0), 2)
            ELSE 0
        END,
        CASE
            WHEN c.presence IN ('present', 'late') THEN
                round(
                    least(
                        100,
                        c.usual_score + 3 * pg_temp.gauss(concat_ws('/', 'score', c.employee_id, pg_temp.number_of(c.day)))
                    )::numeric,
                    1
                )
        END
    FROM sample_crew AS c
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM least(c.ends_at, cut) - c.starts_at) / 3600 AS elapsed
    ) AS h
    WHERE c.starts_at <= cut;

    ---------------------------------------------------------------------------------------------------------------
    -- Stops of machines. First the story's breakdowns, then weekly maintenance, then random stops; each only where there is
    -- no other stop yet, so that no two overlap.
    ---------------------------------------------------------------------------------------------------------------

    CREATE TEMPORARY TABLE sample_stops (
        resource_id uuid,
        starts_at timestamptz,
        ends_at timestamptz,
        event_type text,
        cause text
    ) ON COMMIT DROP;

    INSERT INTO sample_stops (resource_id, starts_at, ends_at, event_type, cause)
    VALUES
        (cnc_1, bearing_failed_at, bearing_failed_at + interval '165 minutes', 'breakdown', 'bearing'),
        (sorter, belt_tore_at, belt_tore_at + interval '80 minutes', 'breakdown', 'belt_tear'),
        (truck, truck_failed_at, cut, 'breakdown', 'engine_overheating');

    -- Exempt from random stops: a bottleneck never waits, and a false alarm requires that nothing failed.
    CREATE TEMPORARY TABLE sample_quiet ON COMMIT DROP AS
    SELECT v.*
    FROM (
        VALUES
            (line_2, tstzrange(pressure_from, cut)),
            (line_1, tstzrange((today - 14)::timestamp AT TIME ZONE zone, (today - 10)::timestamp AT TIME ZONE zone)),
            (truck, tstzrange((today - 24)::timestamp AT TIME ZONE zone, (today - 20)::timestamp AT TIME ZONE zone))
    ) AS v (resource_id, span);

    INSERT INTO sample_stops (resource_id, starts_at, ends_at, event_type, cause)
    SELECT
        r.resource_id,
        m.starts_at,
        least(m.ends_at, cut),
        'maintenance',
        'weekly_maintenance'
    FROM sample_resources AS r
    JOIN sample_shifts AS s
        ON s.location_id = r.location_id
        AND s.name = r.maintenance_shift
        AND s.isodow = r.maintenance_isodow
    CROSS JOIN LATERAL (
        SELECT
            s.starts_at + interval '1 hour' AS starts_at,
            s.starts_at + interval '3 hours' AS ends_at
    ) AS m
    WHERE m.starts_at < cut
        AND NOT EXISTS (
            SELECT
            FROM sample_stops AS x
            WHERE x.resource_id = r.resource_id
                AND x.starts_at < m.ends_at
                AND x.ends_at > m.starts_at
        );

    INSERT INTO sample_stops (resource_id, starts_at, ends_at, event_type, cause)
    SELECT
        r.resource_id,
        b.starts_at,
        least(b.ends_at, cut),
        'breakdown',
        CASE r.resource_type
            WHEN 'vehicle' THEN (ARRAY['flat_tyre', 'electrical', 'tail_lift'])[k.pick]
            ELSE (ARRAY['electrical', 'jam', 'tool_wear'])[k.pick]
        END
    FROM sample_resources AS r
    JOIN sample_shifts AS s ON s.location_id = r.location_id
    CROSS JOIN LATERAL (
        SELECT concat_ws('/', 'breakdown', r.resource_id, pg_temp.number_of(s.starts_at)) AS key
    ) AS c
    CROSS JOIN LATERAL (
        SELECT s.starts_at + make_interval(mins => 30 + (210 * pg_temp.noise(c.key || '/start'))::integer) AS starts_at
    ) AS a
    CROSS JOIN LATERAL (
        SELECT
            a.starts_at,
            a.starts_at + make_interval(mins => 20 + (130 * pg_temp.noise(c.key || '/length') ^ 2)::integer) AS ends_at
    ) AS b
    CROSS JOIN LATERAL (SELECT 1 + floor(3 * pg_temp.noise(c.key || '/cause'))::integer AS pick) AS k
    WHERE b.starts_at < cut
        AND pg_temp.noise(c.key) < r.breakdown_chance
        AND NOT EXISTS (
            SELECT
            FROM sample_stops AS x
            WHERE x.resource_id = r.resource_id
                AND x.starts_at < b.ends_at
                AND x.ends_at > b.starts_at
        )
        AND NOT EXISTS (
            SELECT
            FROM sample_quiet AS q
            WHERE q.resource_id = r.resource_id
                AND q.span && tstzrange(b.starts_at, b.ends_at)
        );

    -- Working hours: the hours of each shift, the last one up to the anchor.
    CREATE TEMPORARY TABLE sample_hours ON COMMIT DROP AS
    SELECT
        r.resource_id,
        s.shift_id,
        s.starts_at AS shift_starts_at,
        h.starts_at,
        least(h.starts_at + interval '1 hour', s.ends_at, cut) AS ends_at
    FROM sample_shifts AS s
    JOIN sample_resources AS r ON r.location_id = s.location_id
    CROSS JOIN LATERAL generate_series(
        s.starts_at,
        least(s.ends_at, cut) - interval '1 minute',
        interval '1 hour'
    ) AS h (starts_at)
    WHERE s.starts_at < cut;

    -- Setup at the start of a shift; waiting in the second half of an hour.
    INSERT INTO sample_stops (resource_id, starts_at, ends_at, event_type, cause)
    SELECT
        o.resource_id,
        o.starts_at,
        least(o.ends_at, cut),
        o.event_type,
        o.cause
    FROM (
        SELECT
            h.resource_id,
            h.starts_at,
            h.starts_at + make_interval(mins => 8 + floor((r.setup_minutes - 8) * pg_temp.noise(k.key))::integer) AS ends_at,
            'setup' AS event_type,
            'shift_setup' AS cause
        FROM sample_hours AS h
        JOIN sample_resources AS r ON r.resource_id = h.resource_id
        CROSS JOIN LATERAL (
            SELECT concat_ws('/', 'setup', h.resource_id, pg_temp.number_of(h.starts_at)) AS key
        ) AS k
        WHERE h.starts_at = h.shift_starts_at
            AND r.setup_minutes > 0
        UNION ALL
        SELECT
            h.resource_id,
            a.starts_at,
            a.starts_at + make_interval(mins => 4 + floor(20 * pg_temp.noise(k.key || '/length'))::integer),
            'idle',
            (ARRAY['no_material', 'blocked', 'no_order'])[1 + floor(3 * pg_temp.noise(k.key || '/cause'))::integer]
        FROM sample_hours AS h
        CROSS JOIN LATERAL (
            SELECT concat_ws('/', 'idle', h.resource_id, pg_temp.number_of(h.starts_at)) AS key
        ) AS k
        CROSS JOIN LATERAL (
            SELECT h.starts_at + make_interval(mins => 30 + floor(6 * pg_temp.noise(k.key || '/start'))::integer) AS starts_at
        ) AS a
        WHERE h.starts_at > h.shift_starts_at
            AND pg_temp.noise(k.key) < 0.09
            AND NOT EXISTS (
                SELECT
                FROM sample_quiet AS q
                WHERE q.resource_id = h.resource_id
                    AND q.span @> a.starts_at
            )
    ) AS o
    WHERE o.starts_at < cut
        AND NOT EXISTS (
            SELECT
            FROM sample_stops AS x
            WHERE x.resource_id = o.resource_id
                AND x.starts_at < o.ends_at
                AND x.ends_at > o.starts_at
        );

    ---------------------------------------------------------------------------------------------------------------
    -- Production: each working hour less its stops. While running, a resource is busy for utilization_pct of the time at
    -- efficiency_pct of its rated speed:
    --     quantity = rated capacity * hours * utilization * efficiency
    ---------------------------------------------------------------------------------------------------------------

    CREATE TEMPORARY TABLE sample_production ON COMMIT DROP AS
    WITH standing AS (
        SELECT
            resource_id,
            range_agg(tstzrange(starts_at, ends_at)) AS spans
        FROM sample_stops
        GROUP BY resource_id
    ),
    -- The employee working the shift; NULL if nobody is assigned.
    crews AS (
        SELECT
            shift_id,
            (array_agg(employee_id ORDER BY employee_id) FILTER (WHERE presence IN ('present', 'late')))[1] AS employee_id,
            bool_and(presence NOT IN ('present', 'late')) AS is_away
        FROM sample_crew
        GROUP BY shift_id
    ),
    running AS (
        SELECT
            h.resource_id,
            h.shift_starts_at,
            h.starts_at AS hour_starts_at,
            lower(p.span) AS starts_at,
            upper(p.span) AS ends_at,
            c.employee_id,
            coalesce(c.is_away, false) AS is_away,
            concat_ws('/', h.resource_id, pg_temp.number_of(h.starts_at)) AS key
        FROM sample_hours AS h
        LEFT JOIN standing AS s ON s.resource_id = h.resource_id
        LEFT JOIN crews AS c ON c.shift_id = h.shift_id
        CROSS JOIN LATERAL unnest(
            tstzmultirange(tstzrange(h.starts_at, h.ends_at)) - coalesce(s.spans, '{}')
        ) AS p (span)
    ),
    paced AS (
        SELECT
            g.*,
            p.pressure,
            least(
                99,
                r.utilization_pct + 2.5 * (1 - p.pressure) * pg_temp.gauss('utilization/' || g.key) + 18 * p.pressure
            ) AS utilization_pct,
            -- A shift whose worker is absent runs slower, as does a line at its limit.
            least(
                99,
                r.efficiency_pct + 1.2 * pg_temp.gauss('efficiency/' || g.key)
                    - 21 * p.pressure
                    - CASE WHEN g.is_away THEN 9 * (1 - p.pressure) ELSE 0 END
            ) AS efficiency_pct
        FROM running AS g
        JOIN sample_resources AS r ON r.resource_id = g.resource_id
        CROSS JOIN LATERAL (
            SELECT
                CASE
                    WHEN g.resource_id = line_2 THEN
                        greatest(0, least(1, extract(epoch FROM g.hour_starts_at - pressure_from) / extract(epoch FROM interval '96 hours')))
                    ELSE 0
                END::double precision AS pressure
        ) AS p
    ),
    made AS (
        SELECT
            p.*,
            r.scrap_pct * (0.5 + pg_temp.noise('scrap/' || p.key) + 1.5 * p.pressure) AS scrap_pct,
            round(
                (
                    r.rated_capacity_per_hour * extract(epoch FROM p.ends_at - p.starts_at) / 3600
                    * p.utilization_pct * p.efficiency_pct / 10000
                )::numeric
            ) AS quantity
        FROM paced AS p
        JOIN sample_resources AS r ON r.resource_id = p.resource_id
    )
    SELECT
        m.resource_id,
        m.shift_starts_at,
        m.hour_starts_at,
        m.starts_at,
        m.ends_at,
        m.employee_id,
        m.utilization_pct,
        m.efficiency_pct,
        m.quantity,
        -- Randomly rounded up or down, so that small quantities have scrap too.
        least(
            m.quantity,
            floor((m.quantity * m.scrap_pct / 100)::numeric + pg_temp.noise('remainder/' || m.key)::numeric)
        ) AS scrap_quantity,
        round(greatest(0, least(100, 99.5 - 2.5 * m.scrap_pct - 2 * pg_temp.noise('quality/' || m.key)))::numeric, 1) AS quality_score
    FROM made AS m;

    INSERT INTO operational_events (
        organization_id, time, event_id, location_id, resource_id, employee_id, event_type, cause, product_id, quantity,
        scrap_quantity, quality_score, duration_minutes
    )
    SELECT
        r.organization_id,
        e.time,
        pg_temp.parse_uuid(concat_ws('/', 'event', e.event_type, r.resource_id, pg_temp.number_of(e.time))),
        r.location_id,
        r.resource_id,
        e.employee_id,
        e.event_type,
        e.cause,
        CASE WHEN e.event_type = 'production' THEN r.product_id END,
        e.quantity,
        e.scrap_quantity,
        e.quality_score,
        e.duration_minutes
    FROM (
        SELECT
            p.resource_id,
            p.starts_at AS time,
            'production' AS event_type,
            NULL AS cause,
            p.employee_id,
            p.quantity,
            p.scrap_quantity,
            p.quality_score,
            round(extract(epoch FROM p.ends_at - p.starts_at) / 60) AS duration_minutes
        FROM sample_production AS p
        UNION ALL
        SELECT
            s.resource_id,
            s.starts_at,
            s.event_type,
            s.cause,
            NULL,
            NULL,
            NULL,
            NULL,
            round(extract(epoch FROM s.ends_at - s.starts_at) / 60)
        FROM sample_stops AS s
        UNION ALL
        -- One inspection per shift.
        SELECT
            p.resource_id,
            p.starts_at,
            'inspection',
            NULL,
            p.employee_id,
            NULL,
            NULL,
            p.quality_score,
            0
        FROM sample_production AS p
        WHERE p.hour_starts_at = p.shift_starts_at + interval '3 hours'
            AND p.starts_at = p.hour_starts_at
        UNION ALL
        -- Errors that stop nothing.
        SELECT
            p.resource_id,
            p.starts_at + make_interval(mins => (extract(epoch FROM p.ends_at - p.starts_at) / 120)::integer),
            'error',
            (ARRAY['sensor_timeout', 'label_unreadable', 'over_temperature'])[1 + floor(300 * c.luck)::integer % 3],
            p.employee_id,
            NULL,
            NULL,
            NULL,
            0
        FROM sample_production AS p
        CROSS JOIN LATERAL (
            SELECT pg_temp.noise(concat_ws('/', 'error', p.resource_id, pg_temp.number_of(p.starts_at))) AS luck
        ) AS c
        WHERE c.luck < 0.03
            AND p.ends_at - p.starts_at > interval '10 minutes'
    ) AS e
    JOIN sample_resources AS r ON r.resource_id = e.resource_id
    ORDER BY e.time;

    INSERT INTO operational_events (organization_id, time, event_id, location_id, employee_id, event_type, metadata)
    SELECT
        s.organization_id,
        e.time,
        pg_temp.parse_uuid(concat_ws('/', 'event', e.event_type, s.shift_id)),
        s.location_id,
        (
            SELECT c.employee_id
            FROM sample_crew AS c
            WHERE c.shift_id = s.shift_id
                AND c.presence IN ('present', 'late')
            ORDER BY c.employee_id
            LIMIT 1
        ),
        e.event_type,
        jsonb_build_object('shift', s.name)
    FROM sample_shifts AS s
    CROSS JOIN LATERAL (
        VALUES
            ('shift_start', s.starts_at),
            ('shift_end', s.ends_at)
    ) AS e (event_type, time)
    WHERE e.time <= cut
    ORDER BY e.time;

    -- State of each resource at the anchor: that of the minute before it.
    UPDATE resources AS r
    SET status = n.status
    FROM (
        SELECT
            resource_id,
            CASE event_type WHEN 'breakdown' THEN 'down' WHEN 'maintenance' THEN 'maintenance' ELSE 'idle' END AS status
        FROM sample_stops
        WHERE ends_at = cut
        UNION ALL
        SELECT
            resource_id,
            'running'
        FROM sample_production
        WHERE ends_at = cut
    ) AS n
    WHERE r.organization_id IN (manufacturing, logistics)
        AND r.resource_id = n.resource_id;

    ---------------------------------------------------------------------------------------------------------------
    -- The metrics of the last 7 times 1,440 minutes: the same story, minute by minute
    ---------------------------------------------------------------------------------------------------------------

    INSERT INTO resource_metrics (
        organization_id, time, resource_id, utilization_pct, efficiency_pct, downtime_minutes, sample_minutes, metadata
    )
    WITH minutes AS (
        SELECT
            r.organization_id,
            r.resource_id,
            r.resource_type,
            t.minute
        FROM generate_series(cut - interval '168 hours', cut - interval '1 minute', interval '1 minute') AS t (minute)
        CROSS JOIN sample_resources AS r
    ),
    running AS (
        SELECT
            p.resource_id,
            t.minute,
            p.utilization_pct,
            p.efficiency_pct
        FROM sample_production AS p
        CROSS JOIN LATERAL generate_series(p.starts_at, p.ends_at - interval '1 minute', interval '1 minute') AS t (minute)
        WHERE p.ends_at > cut - interval '168 hours'
    ),
    down AS (
        SELECT
            s.resource_id,
            t.minute
        FROM sample_stops AS s
        CROSS JOIN LATERAL generate_series(s.starts_at, s.ends_at - interval '1 minute', interval '1 minute') AS t (minute)
        WHERE s.event_type IN ('breakdown', 'maintenance')
            AND s.ends_at > cut - interval '168 hours'
    ),
    readings AS (
        SELECT
            m.organization_id,
            m.resource_id,
            m.minute,
            CASE
                WHEN g.minute IS NULL THEN 0
                ELSE least(100, g.utilization_pct + 3 * (pg_temp.noise('u/' || k.key) - 0.5))
            END AS utilization_pct,
            -- NULL if not producing: least() would return 100.
            CASE
                WHEN g.minute IS NOT NULL THEN least(100, g.efficiency_pct + 3 * (pg_temp.noise('e/' || k.key) - 0.5))
            END AS efficiency_pct,
            (d.minute IS NOT NULL)::integer AS downtime_minutes,
            CASE
                WHEN m.resource_type <> 'cnc_machine' THEN NULL
                WHEN g.minute IS NULL THEN 0.1 + 0.1 * pg_temp.noise('v/' || k.key)
                -- A failing bearing shows signs half a day ahead.
                ELSE 1.8 + 0.4 * pg_temp.noise('v/' || k.key) + 2.6 * CASE m.resource_id
                    WHEN cnc_1 THEN
                        CASE
                            WHEN m.minute < bearing_failed_at THEN
                                greatest(0, 1 - extract(epoch FROM bearing_failed_at - m.minute) / 43200)
                            ELSE 0
                        END
                    ELSE greatest(0, extract(epoch FROM m.minute - shaking_from) / 172800)
                END::double precision
            END AS vibration_mm_s
        FROM minutes AS m
        CROSS JOIN LATERAL (
            SELECT m.resource_id::text || '/' || pg_temp.number_of(m.minute) AS key
        ) AS k
        LEFT JOIN running AS g
            ON g.resource_id = m.resource_id
            AND g.minute = m.minute
        LEFT JOIN down AS d
            ON d.resource_id = m.resource_id
            AND d.minute = m.minute
    )
    SELECT
        organization_id,
        minute,
        resource_id,
        round(utilization_pct::numeric, 1),
        round(efficiency_pct::numeric, 1),
        downtime_minutes,
        1,
        CASE
            WHEN vibration_mm_s IS NULL THEN '{}'
            ELSE jsonb_build_object(
                'vibration_mm_s', round(vibration_mm_s::numeric, 2),
                'temperature_celsius', round((24 + 0.4 * utilization_pct + 1.5 * vibration_mm_s)::numeric, 1)
            )
        END
    FROM readings
    ORDER BY minute;

    ---------------------------------------------------------------------------------------------------------------
    -- Plans per resource and local day. The actual quantity is the good quantity (quantity less scrap) of the production
    -- events that began on that day.
    ---------------------------------------------------------------------------------------------------------------

    INSERT INTO production_plans (
        organization_id, plan_id, location_id, resource_id, product_id, plan_date, planned_quantity, actual_quantity, status,
        priority, metadata
    )
    WITH planned_hours AS (
        SELECT
            r.resource_id,
            d.day,
            d.day_offset,
            sum(extract(epoch FROM least(s.ends_at, t.ends_at) - greatest(s.starts_at, d.starts_at)) / 3600) AS hours
        FROM sample_resources AS r
        JOIN sample_shifts AS s ON s.location_id = r.location_id
        JOIN sample_days AS d ON d.day IN (s.day, s.day + 1)
        CROSS JOIN LATERAL (SELECT (d.day + 1)::timestamp AT TIME ZONE zone AS ends_at) AS t
        WHERE d.day_offset BETWEEN -30 AND 14
            AND s.starts_at < t.ends_at
            AND s.ends_at > d.starts_at
        GROUP BY r.resource_id, d.day, d.day_offset
    ),
    good AS (
        SELECT
            resource_id,
            (starts_at AT TIME ZONE zone)::date AS day,
            sum(quantity - scrap_quantity) AS quantity
        FROM sample_production
        GROUP BY resource_id, (starts_at AT TIME ZONE zone)::date
    )
    SELECT
        r.organization_id,
        pg_temp.parse_uuid(concat_ws('/', 'plan', r.resource_id, pg_temp.number_of(h.day))),
        r.location_id,
        r.resource_id,
        r.product_id,
        h.day,
        greatest(
            10,
            round(
                (
                    r.rated_capacity_per_hour * h.hours * r.utilization_pct * r.efficiency_pct / 10000
                    * (0.93 + 0.04 * pg_temp.noise(concat_ws('/', 'plan', r.resource_id, pg_temp.number_of(h.day))))
                )::numeric,
                -1
            )
        ),
        CASE WHEN h.day_offset <= 0 THEN coalesce(g.quantity, 0) END,
        CASE
            WHEN r.resource_id = cnc_2 AND h.day_offset = 5 THEN 'cancelled'
            WHEN h.day_offset < 0 THEN 'completed'
            WHEN h.day_offset = 0 THEN 'in_progress'
            ELSE 'planned'
        END,
        CASE WHEN r.resource_id = line_2 THEN 1 WHEN r.resource_type = 'vehicle' THEN 2 ELSE 3 END,
        CASE WHEN r.resource_id = cnc_2 AND h.day_offset = 5 THEN '{"reason": "no_material"}' ELSE '{}' END::jsonb
    FROM planned_hours AS h
    JOIN sample_resources AS r ON r.resource_id = h.resource_id
    LEFT JOIN good AS g
        ON g.resource_id = h.resource_id
        AND g.day = h.day;

    ---------------------------------------------------------------------------------------------------------------
    -- External factors: weather, holidays, promotions, prices
    ---------------------------------------------------------------------------------------------------------------

    -- Daily mean temperature: seasonal, with warm and cold spells of about three days.
    CREATE TEMPORARY TABLE sample_weather ON COMMIT DROP AS
    SELECT
        l.organization_id,
        l.location_id,
        d.day,
        d.day_offset,
        d.starts_at,
        n.normal_celsius,
        n.normal_celsius + 1.9 * (
            SELECT sum(pg_temp.gauss(concat_ws('/', 'weather', l.location_id, pg_temp.number_of(d.day - lag))))
            FROM generate_series(0, 2) AS lag
        ) AS celsius
    -- Session-local functions do not exist on the nodes of a distributed table (OFFSET 0 fetches the rows first).
    FROM (
        SELECT
            organization_id,
            location_id,
            latitude_degrees
        FROM locations
        WHERE organization_id IN (manufacturing, logistics)
        OFFSET 0
    ) AS l
    CROSS JOIN sample_days AS d
    CROSS JOIN LATERAL (
        SELECT 12 + 8 * cos(2 * pi() * (d.doy - 200) / 365.25) - 0.4 * (l.latitude_degrees - 47)::double precision AS normal_celsius
    ) AS n;

    -- Prices fluctuate over weeks.
    CREATE TEMPORARY TABLE sample_prices ON COMMIT DROP AS
    SELECT
        p.organization_id,
        p.name,
        p.unit,
        p.digits,
        p.usual,
        d.day,
        d.day_offset,
        d.starts_at,
        p.usual * (
            1 + 0.08 * sin(2 * pi() * (d.day - date '2000-01-01') / 47) + 0.01 * pg_temp.gauss(concat_ws('/', p.name, pg_temp.number_of(d.day)))
        ) AS price
    FROM (
        VALUES
            (manufacturing, 'steel_price', 'EUR/t', 1, 640),
            (logistics, 'diesel_price', 'EUR/l', 3, 1.62)
    ) AS p (organization_id, name, unit, digits, usual)
    CROSS JOIN sample_days AS d;

    INSERT INTO external_factors (
        organization_id, factor_id, time, location_id, factor_type, name, value, unit, available_at, metadata
    )
    SELECT
        f.organization_id,
        pg_temp.parse_uuid(
            concat_ws('/', 'factor', f.organization_id, f.location_id, f.name, f.metadata ->> 'kind', pg_temp.number_of(f.time))
        ),
        f.time,
        f.location_id,
        f.factor_type,
        f.name,
        f.value,
        f.unit,
        f.available_at,
        f.metadata
    FROM (
        -- Observations become known at the end of the day.
        SELECT
            w.organization_id,
            w.starts_at AS time,
            w.location_id,
            'weather' AS factor_type,
            'temperature' AS name,
            round(w.celsius::numeric, 1) AS value,
            'celsius' AS unit,
            (w.day + 1)::timestamp AT TIME ZONE zone AS available_at,
            '{"kind": "reading", "statistic": "daily_mean"}'::jsonb AS metadata
        FROM sample_weather AS w
        WHERE w.day_offset BETWEEN -90 AND -1
        UNION ALL
        -- Forecasts: made at 18:00 on the day before; and yesterday evening for the coming days, less accurate the further ahead.
        SELECT
            w.organization_id,
            w.starts_at,
            w.location_id,
            'weather',
            'temperature',
            round(
                (
                    w.celsius + (1.1 + 0.25 * greatest(w.day_offset, 0))
                    * pg_temp.gauss(concat_ws('/', 'outlook', w.location_id, pg_temp.number_of(w.day)))
                )::numeric,
                1
            ),
            'celsius',
            (least(w.day, today) - 1 + time '18:00') AT TIME ZONE zone,
            '{"kind": "forecast", "statistic": "daily_mean"}'
        FROM sample_weather AS w
        WHERE w.day_offset BETWEEN -90 AND 9
        UNION ALL
        SELECT
            o.organization_id,
            d.starts_at,
            NULL,
            'holiday',
            'public_holiday',
            (d.holiday_name IS NOT NULL)::integer,
            'flag',
            d.starts_at - interval '8760 hours',
            CASE WHEN d.holiday_name IS NULL THEN '{}' ELSE jsonb_build_object('holiday', d.holiday_name) END
        FROM sample_days AS d
        CROSS JOIN (VALUES (manufacturing), (logistics)) AS o (organization_id)
        WHERE d.day_offset BETWEEN -90 AND 30
        UNION ALL
        SELECT
            manufacturing,
            d.starts_at,
            NULL,
            'event',
            'promotion',
            d.is_promotion::integer,
            'flag',
            d.starts_at - interval '744 hours',
            '{"product_id": "PRODUCT-A"}'
        FROM sample_days AS d
        WHERE d.day_offset BETWEEN -90 AND 30
        UNION ALL
        -- A day's price is published in the evening.
        SELECT
            p.organization_id,
            p.starts_at,
            NULL,
            'market',
            p.name,
            round(p.price::numeric, p.digits),
            p.unit,
            (p.day + time '18:00') AT TIME ZONE zone,
            '{}'
        FROM sample_prices AS p
        WHERE p.day_offset BETWEEN -90 AND -1
    ) AS f;

    ---------------------------------------------------------------------------------------------------------------
    -- Demand. expected_quantity is the part explained by the calendar: level and trend, weekday, season, holidays,
    -- promotions. Actual demand also depends on weather, prices and chance.
    ---------------------------------------------------------------------------------------------------------------

    CREATE TEMPORARY TABLE sample_demand ON COMMIT DROP AS
    WITH products (
        organization_id, location_id, product_id, level, growth_per_day, yearly_swing, peak_doy, weekday_factors, holiday_factor,
        promotion_factor, per_degree, price_elasticity, unit_price_eur
    ) AS (
        VALUES
            (manufacturing, warehouse, 'PRODUCT-A', 1720, 0.0010, 0.14, 170, ARRAY[1.06, 1.08, 1.05, 1.07, 1.14, 0.86, 0.74], 0.45, 1.30, 0.000, -0.4, 24.50),
            (manufacturing, warehouse, 'PRODUCT-B', 1410, 0.0024, 0.18, 200, ARRAY[1.02, 1.01, 1.03, 1.06, 1.18, 1.02, 0.68], 0.55, 1.00, 0.014, -0.2, 31.00),
            (manufacturing, warehouse, 'PRODUCT-C', 1230, 0.0004, 0.08, 90, ARRAY[1.16, 1.13, 1.10, 1.09, 1.05, 0.80, 0.67], 0.35, 1.00, 0.000, -0.5, 58.00),
            (logistics, hub, 'PARCEL-STD', 38500, 0.0012, 0.16, 345, ARRAY[1.18, 1.12, 1.06, 1.04, 1.02, 0.84, 0.74], 0.30, 1.00, -0.006, -0.3, 4.90),
            (logistics, hub, 'PARCEL-EXP', 1900, 0.0018, 0.12, 345, ARRAY[1.10, 1.09, 1.08, 1.09, 1.12, 0.88, 0.64], 0.40, 1.00, -0.008, -0.1, 11.80)
    )
    SELECT
        p.organization_id,
        p.location_id,
        p.product_id,
        d.day,
        d.day_offset,
        d.starts_at,
        p.unit_price_eur * CASE WHEN d.is_promotion AND p.promotion_factor > 1 THEN 0.9 ELSE 1 END AS unit_price_eur,
        e.expected_quantity,
        e.expected_quantity
            * (1 + p.per_degree * (w.celsius - w.normal_celsius))
            * (1 + p.price_elasticity * (c.price / c.usual - 1))
            * (1 + 0.035 * pg_temp.gauss(concat_ws('/', 'demand', p.product_id, pg_temp.number_of(d.day)))) AS true_quantity
    FROM products AS p
    CROSS JOIN sample_days AS d
    CROSS JOIN LATERAL (
        SELECT
            p.level
                * (1 + p.growth_per_day * d.day_offset)
                * p.weekday_factors[d.isodow]
                * (1 + p.yearly_swing * cos(2 * pi() * (d.doy - p.peak_doy) / 365.25))
                * CASE WHEN d.holiday_name IS NULL THEN 1 ELSE p.holiday_factor END
                * CASE WHEN d.is_promotion THEN p.promotion_factor ELSE 1 END AS expected_quantity
    ) AS e
    JOIN sample_weather AS w
        ON w.location_id = p.location_id
        AND w.day = d.day
    JOIN sample_prices AS c
        ON c.organization_id = p.organization_id
        AND c.day = d.day;

    INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity, revenue)
    SELECT
        organization_id,
        starts_at,
        product_id,
        location_id,
        round(true_quantity::numeric),
        round(round(true_quantity::numeric) * unit_price_eur, 2)
    FROM sample_demand
    WHERE day_offset BETWEEN -90 AND -1
    ORDER BY starts_at;

    -- Forecasts. For the last 30 days, two model versions made a forecast 14 days ahead at each midnight; today at
    -- midnight, the better one forecast 30 days ahead. The models know the calendar, but not future weather and prices, and
    -- their error grows with lead time. The interval has a nominal coverage of 90 %.
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
        round(p.predicted::numeric, 1),
        round((p.predicted * (1 - 1.645 * p.spread))::numeric, 1),
        round((p.predicted * (1 + 1.645 * p.spread))::numeric, 1),
        90,
        'seasonal_regression',
        v.model_version,
        r.starts_at
    FROM sample_days AS r
    JOIN sample_demand AS f
        ON f.day_offset > r.day_offset
        AND f.day_offset <= r.day_offset + CASE r.day_offset WHEN 0 THEN 30 ELSE 14 END
    CROSS JOIN (VALUES ('1.0', 0.045, 0.0085), ('2.0', 0.030, 0.0060)) AS v (model_version, error_at_once, error_per_day)
    CROSS JOIN LATERAL (
        SELECT
            v.error_at_once + v.error_per_day * (f.day_offset - r.day_offset) AS model_error,
            pg_temp.gauss(
                concat_ws('/', 'forecast', f.product_id, v.model_version, pg_temp.number_of(r.day), pg_temp.number_of(f.day))
            ) AS luck
    ) AS e
    CROSS JOIN LATERAL (
        SELECT
            f.expected_quantity * (1 + e.model_error * e.luck) AS predicted,
            -- What the model does not know: chance, weather, prices.
            sqrt(e.model_error ^ 2 + 0.05 ^ 2) AS spread
    ) AS p
    WHERE r.day_offset BETWEEN -30 AND 0
        AND (r.day_offset < 0 OR v.model_version = '2.0');

    -- Absences: each midnight for the next day, and today at midnight for 14 days.
    INSERT INTO absence_forecasts (
        organization_id, forecast_id, location_id, employee_id, target_date, absence_probability, expected_absences, model_name,
        model_version, available_at
    )
    WITH people AS (
        SELECT
            c.organization_id,
            c.location_id,
            c.employee_id,
            c.day,
            round(
                (
                    CASE WHEN c.takes_stock THEN 0.19 ELSE 0.06 END
                    * (0.7 + 0.6 * pg_temp.noise(concat_ws('/', 'away', c.employee_id, pg_temp.number_of(c.day))))
                )::numeric,
                3
            ) AS absence_probability
        FROM sample_crew AS c
        WHERE c.presence <> 'vacation'
    ),
    subjects AS (
        SELECT
            organization_id,
            NULL::uuid AS location_id,
            employee_id,
            day,
            absence_probability,
            NULL::numeric AS expected_absences
        FROM people
        UNION ALL
        SELECT
            organization_id,
            location_id,
            NULL,
            day,
            NULL,
            sum(absence_probability)
        FROM people
        GROUP BY organization_id, location_id, day
    )
    SELECT
        organization_id,
        pg_temp.parse_uuid(concat_ws('/', 'absence', coalesce(employee_id, location_id), pg_temp.number_of(day))),
        location_id,
        employee_id,
        day,
        absence_probability,
        expected_absences,
        'absence_logit',
        '1.0',
        least(day - 1, today)::timestamp AT TIME ZONE zone
    FROM subjects;

    ---------------------------------------------------------------------------------------------------------------
    -- Anomaly predictions and their outcomes
    ---------------------------------------------------------------------------------------------------------------

    INSERT INTO anomaly_predictions (
        organization_id, anomaly_id, resource_id, anomaly_type, severity, status, probability, predicted_for, description,
        model_name, model_version, available_at, outcome, occurred_at, closed_at, metadata
    )
    SELECT
        a.organization_id,
        pg_temp.parse_uuid('anomaly/' || a.key),
        a.resource_id,
        a.anomaly_type,
        a.severity,
        a.status,
        a.probability,
        a.predicted_for,
        a.description,
        CASE a.anomaly_type WHEN 'failure' THEN 'vibration_watch' ELSE 'flow_watch' END,
        '1.2',
        a.available_at,
        a.outcome,
        a.occurred_at,
        a.closed_at,
        a.metadata::jsonb
    FROM (
        VALUES
            ('bottleneck', manufacturing, line_2, 'bottleneck', 'high', 'active', 0.87,
                cut + interval '12 hours', 'Assembly Line 2 cannot keep up: utilization climbs, efficiency falls.',
                cut - interval '48 hours', NULL, NULL::timestamptz, NULL::timestamptz, '{"feature": "utilization_pct"}'),
            ('shaking', manufacturing, cnc_2, 'failure', 'critical', 'active', 0.93,
                cut + interval '18 hours', 'The spindle bearing of CNC Machine 2 is likely to fail.',
                cut - interval '3 hours', NULL, NULL, NULL, '{"feature": "vibration_mm_s"}'),
            ('quality', manufacturing, line_2, 'quality', 'medium', 'active', 0.55,
                cut + interval '24 hours', 'Scrap on Assembly Line 2 rises with its pace.',
                cut - interval '20 hours', NULL, NULL, NULL, '{"feature": "scrap_ratio"}'),
            ('slow_packing', manufacturing, packing, 'performance', 'low', 'acknowledged', 0.34,
                cut + interval '36 hours', 'Packing Line 1 may slow down when its worker stays away.',
                cut - interval '26 hours', NULL, NULL, NULL, '{"feature": "attendance_rate"}'),
            ('bearing', manufacturing, cnc_1, 'failure', 'high', 'closed', 0.81,
                bearing_failed_at + interval '2 hours', 'The spindle bearing of CNC Machine 1 is likely to fail.',
                bearing_failed_at - interval '11 hours', 'confirmed', bearing_failed_at, bearing_failed_at + interval '165 minutes', '{"feature": "vibration_mm_s"}'),
            ('false_line', manufacturing, line_1, 'failure', 'high', 'closed', 0.62,
                (today - 12 + time '11:00') AT TIME ZONE zone, 'The drive of Assembly Line 1 may fail.',
                (today - 13 + time '09:00') AT TIME ZONE zone, 'false_alarm', NULL, (today - 11 + time '08:00') AT TIME ZONE zone, '{"feature": "vibration_mm_s"}'),
            ('forgotten', manufacturing, packing, 'performance', 'medium', 'closed', 0.48,
                (today - 18 + time '04:00') AT TIME ZONE zone, 'Packing Line 1 may fall behind.',
                (today - 19 + time '04:00') AT TIME ZONE zone, 'unknown', NULL, (today - 16 + time '08:00') AT TIME ZONE zone, '{}'),
            ('engine', logistics, truck, 'failure', 'critical', 'acknowledged', 0.9,
                cut - interval '30 minutes', 'The engine of Truck 1 runs too hot.',
                cut - interval '5 hours', NULL, NULL, NULL, '{"feature": "temperature_celsius"}'),
            ('sorter_peak', logistics, sorter, 'bottleneck', 'medium', 'active', 0.46,
                cut + interval '30 hours', 'Parcel Sorter 1 may be short of capacity on the next peak day.',
                cut - interval '10 hours', NULL, NULL, NULL, '{"feature": "demand_forecast"}'),
            ('short_driver', logistics, van, 'safety', 'low', 'active', 0.21,
                cut + interval '40 hours', 'Van 1 is driven harder than usual.',
                cut - interval '8 hours', NULL, NULL, NULL, '{"feature": "position"}'),
            ('belt', logistics, sorter, 'failure', 'high', 'closed', 0.77,
                belt_tore_at + interval '1 hour', 'The belt of Parcel Sorter 1 is likely to tear.',
                belt_tore_at - interval '7 hours', 'confirmed', belt_tore_at, belt_tore_at + interval '80 minutes', '{"feature": "vibration_mm_s"}'),
            ('false_truck', logistics, truck, 'failure', 'medium', 'closed', 0.51,
                (today - 22 + time '13:00') AT TIME ZONE zone, 'The brakes of Truck 1 may need replacing at once.',
                (today - 23 + time '07:00') AT TIME ZONE zone, 'false_alarm', NULL, (today - 21 + time '10:00') AT TIME ZONE zone, '{}')
    ) AS a (
        key, organization_id, resource_id, anomaly_type, severity, status, probability, predicted_for, description, available_at,
        outcome, occurred_at, closed_at, metadata
    );

    INSERT INTO alerts (
        organization_id, alert_id, created_at, severity, alert_type, title, message, status, location_id, resource_id, anomaly_id,
        acknowledged_at, acknowledged_by, resolved_at, resolution
    )
    SELECT
        a.organization_id,
        pg_temp.parse_uuid('alert/' || a.key),
        a.created_at,
        a.severity,
        a.alert_type,
        a.title,
        a.message,
        a.status,
        a.location_id,
        a.resource_id,
        CASE WHEN a.anomaly_key IS NOT NULL THEN pg_temp.parse_uuid('anomaly/' || a.anomaly_key) END,
        a.acknowledged_at,
        a.acknowledged_by,
        a.resolved_at,
        a.resolution
    FROM (
        VALUES
            ('bottleneck', manufacturing, cut - interval '2875 minutes', 'high', 'bottleneck_predicted', 'Assembly Line 2 is becoming a bottleneck',
                'Utilization climbs and efficiency falls. Move orders to Assembly Line 1 or add a shift.', 'active', factory, line_2, 'bottleneck',
                NULL::timestamptz, NULL, NULL::timestamptz, NULL),
            ('shaking', manufacturing, cut - interval '175 minutes', 'critical', 'failure_predicted', 'CNC Machine 2 is likely to fail within a day',
                'Vibration keeps rising. Stop it in a planned way and change the spindle bearing.', 'active', factory, cnc_2, 'shaking',
                NULL, NULL, NULL, NULL),
            ('slow_packing', manufacturing, cut - interval '1500 minutes', 'low', 'low_attendance', 'Night packing is short of people',
                'Attendance of the last weeks is below 90 %. Plan a substitute.', 'acknowledged', warehouse, NULL, NULL,
                cut - interval '1320 minutes', 'shift-lead', NULL, NULL),
            ('bearing', manufacturing, bearing_failed_at + interval '2 minutes', 'high', 'resource_down', 'CNC Machine 1 is down',
                'Spindle bearing failed.', 'resolved', factory, cnc_1, 'bearing',
                bearing_failed_at + interval '6 minutes', 'maintenance', bearing_failed_at + interval '165 minutes', 'Bearing replaced, test part measured.'),
            ('truck', logistics, truck_failed_at + interval '2 minutes', 'critical', 'resource_down', 'Truck 1 is down',
                'Engine overheated on the road. Send a replacement.', 'active', hub, truck, 'engine',
                NULL, NULL, NULL, NULL),
            ('sorter_peak', logistics, cut - interval '590 minutes', 'medium', 'bottleneck_predicted', 'Parcel Sorter 1 may be short of capacity',
                'The forecast of the next peak day is close to what the sorter can do.', 'acknowledged', hub, sorter, 'sorter_peak',
                cut - interval '560 minutes', 'dispatcher', NULL, NULL),
            ('belt', logistics, belt_tore_at + interval '1 minute', 'high', 'resource_down', 'Parcel Sorter 1 is down',
                'Belt torn.', 'resolved', hub, sorter, 'belt',
                belt_tore_at + interval '4 minutes', 'maintenance', belt_tore_at + interval '80 minutes', 'Belt replaced.')
    ) AS a (
        key, organization_id, created_at, severity, alert_type, title, message, status, location_id, resource_id, anomaly_key,
        acknowledged_at, acknowledged_by, resolved_at, resolution
    );

    INSERT INTO optimization_runs (
        organization_id, run_id, run_type, algorithm, status, started_at, finished_at, objective_value, objective_unit,
        parameters, result, error_message
    )
    SELECT
        o.organization_id,
        pg_temp.parse_uuid('run/' || o.key),
        o.run_type,
        o.algorithm,
        o.status,
        cut - o.started_ago,
        cut - o.started_ago + o.took,
        o.objective_value,
        o.objective_unit,
        o.parameters::jsonb,
        o.result,
        o.error_message
    FROM (
        VALUES
            ('crew_a', manufacturing, 'shift_scheduling', 'cp_sat', 'completed', interval '30 hours', interval '74 seconds', 3120.0, 'EUR',
                '{"horizon_days": 14, "max_shifts_per_week": 5, "rest_hours": 11}',
                (
                    SELECT jsonb_build_object(
                        'assigned_shifts', count(*) FILTER (WHERE c.shift_id IS NOT NULL),
                        'uncovered_shifts', count(*) FILTER (WHERE c.shift_id IS NULL),
                        'gap_pct', 0
                    )
                    FROM sample_shifts AS s
                    LEFT JOIN (SELECT DISTINCT shift_id FROM sample_crew) AS c ON c.shift_id = s.shift_id
                    WHERE s.organization_id = manufacturing
                        AND s.day_offset > 0
                ),
                NULL),
            ('lots', manufacturing, 'production_planning', 'mixed_integer', 'completed', interval '28 hours', interval '9 minutes', 18450.5, 'EUR',
                '{"horizon_days": 14, "time_limit_seconds": 600}',
                '{"changeovers": 11, "overtime_hours": 6.5, "gap_pct": 1.2}', NULL),
            ('lots_failed', manufacturing, 'production_planning', 'mixed_integer', 'failed', interval '52 hours', interval '10 minutes', NULL, 'EUR',
                '{"horizon_days": 28, "time_limit_seconds": 600}',
                NULL, 'No feasible plan within the time limit: Assembly Line 2 is short of capacity.'),
            ('allocation', manufacturing, 'resource_allocation', 'local_search', 'running', interval '4 minutes', NULL, NULL, 'minutes',
                '{"resources": ["Assembly Line 1", "Assembly Line 2"], "time_limit_seconds": 900}',
                NULL, NULL),
            ('stock', manufacturing, 'inventory', 'newsvendor', 'completed', interval '75 hours', interval '3 seconds', 96.4, '%',
                '{"service_level_pct": 95}',
                '{"reorder_points": {"PRODUCT-A": 5200, "PRODUCT-B": 4700, "PRODUCT-C": 3600}}', NULL),
            ('routes', logistics, 'routing', 'guided_local_search', 'completed', interval '7 hours', interval '48 seconds', 412.6, 'km',
                '{"vehicles": ["Truck 1", "Van 1"], "time_limit_seconds": 60}',
                '{"routes": [{"vehicle": "Truck 1", "stops": 6, "km": 268.4}, {"vehicle": "Van 1", "stops": 31, "km": 144.2}]}', NULL),
            ('routes_again', logistics, 'routing', 'guided_local_search', 'running', interval '1 minute', NULL, NULL, 'km',
                '{"vehicles": ["Van 1"], "reason": "Truck 1 is down"}',
                NULL, NULL),
            ('crew_b', logistics, 'shift_scheduling', 'cp_sat', 'cancelled', interval '33 hours', interval '20 seconds', NULL, 'EUR',
                '{"horizon_days": 14}',
                NULL, NULL)
    ) AS o (
        key, organization_id, run_type, algorithm, status, started_ago, took, objective_value, objective_unit, parameters, result,
        error_message
    );

    INSERT INTO seed_runs (seed_name, seed_version, anchor_at)
    VALUES ('sample_data', 1, anchor);

    -- The first queries may run before autovacuum has analyzed anything.
    ANALYZE
        organizations, locations, resources, employees, operational_events, demand_history, resource_metrics,
        employee_attendance, shifts, shift_assignments, production_plans, demand_forecasts, anomaly_predictions,
        absence_forecasts, external_factors, optimization_runs, alerts, employee_contracts, employee_unavailability,
        resource_capabilities;
END
$seed$;

DROP FUNCTION pg_temp.noise(text);
DROP FUNCTION pg_temp.gauss(text);
DROP FUNCTION pg_temp.number_of(date);
DROP FUNCTION pg_temp.number_of(timestamptz);
DROP FUNCTION pg_temp.parse_uuid(text);
DROP FUNCTION pg_temp.easter_sunday(integer);
