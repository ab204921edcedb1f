-- Time-series operational data. 60_hypertables.sql turns these four tables into hypertables where TimescaleDB is.
--
-- Times of facts: late rows are welcome at any age; a row dated more than a day ahead of the database's clock is a
-- wrong clock or a wrong unit and is refused. (The condition reads now(), yet a row that passed it once passes it for
-- ever, so a restored dump loads.) A row that comes twice meets the primary key: give producers a stable event_id, and
-- write with ON CONFLICT DO NOTHING, or DO UPDATE for corrections.

CREATE TABLE IF NOT EXISTS operational_events (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid NOT NULL,
    resource_id uuid,
    employee_id uuid,
    event_type text NOT NULL,
    cause text,
    product_id text,
    quantity numeric,
    scrap_quantity numeric,
    quality_score numeric,
    duration_minutes numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT operational_events_pkey PRIMARY KEY (organization_id, event_id, time),
    CONSTRAINT operational_events_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT operational_events_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources,
    CONSTRAINT operational_events_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees,
    CONSTRAINT operational_events_time_not_in_future_check CHECK (
        isfinite(time) AND time <= now() + interval '1 day'
    ),
    CONSTRAINT operational_events_event_type_check CHECK (event_type ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT operational_events_cause_not_blank_check CHECK (cause ~ '\S'),
    CONSTRAINT operational_events_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT operational_events_quantity_not_negative_check CHECK (quantity >= 0 AND quantity < 'Infinity'),
    CONSTRAINT operational_events_quantity_only_when_producing_check CHECK (
        event_type = 'production' OR coalesce(quantity, 0) = 0
    ),
    CONSTRAINT operational_events_scrap_quantity_within_quantity_check CHECK (
        scrap_quantity >= 0 AND scrap_quantity <= coalesce(quantity, 0)
    ),
    CONSTRAINT operational_events_quality_score_range_check CHECK (quality_score BETWEEN 0 AND 100),
    CONSTRAINT operational_events_duration_minutes_at_most_a_day_check CHECK (duration_minutes BETWEEN 0 AND 1440),
    CONSTRAINT operational_events_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS operational_events_organization_id_resource_id_newest_idx
    ON operational_events (organization_id, resource_id, time DESC, event_id);
COMMENT ON INDEX operational_events_organization_id_resource_id_newest_idx IS 'Serves get_resource_status and get_events(resource_id): the newest events of a resource.';
CREATE INDEX IF NOT EXISTS operational_events_organization_id_event_type_time_idx
    ON operational_events (organization_id, event_type, time DESC);
COMMENT ON INDEX operational_events_organization_id_event_type_time_idx IS 'Serves resource_time(), and so KPIs, downtime and production: the events of a period.';
CREATE INDEX IF NOT EXISTS operational_events_organization_id_time_long_idx
    ON operational_events (organization_id, time) WHERE duration_minutes > 60;
COMMENT ON INDEX operational_events_organization_id_time_long_idx IS 'Serves resource_time(): events that may reach over the edge of a period.';
-- Each delete of an employee, and each erasure of one from what happened, looks here. Among 400,000 rows of an organization
-- it took 70 ms without this index and 3 to 12 ms with it; the index is 1 % of the table, and loading takes no longer that
-- can be measured. (The foreign keys to locations have none anywhere: a site is closed once in years.)
CREATE INDEX IF NOT EXISTS operational_events_organization_id_employee_id_idx
    ON operational_events (organization_id, employee_id) WHERE employee_id IS NOT NULL;
COMMENT ON INDEX operational_events_organization_id_employee_id_idx IS 'Serves the foreign key to employees: deleting one.';
COMMENT ON TABLE operational_events IS 'What happened, and for how long: production, setup, maintenance, breakdowns, waiting, errors, inspections, shift starts and ends. An event longer than a day is written as several.';
COMMENT ON COLUMN operational_events.organization_id IS 'The tenant.';
COMMENT ON COLUMN operational_events.time IS 'When the event began.';
COMMENT ON COLUMN operational_events.event_id IS 'Identity of the event; a producer that may send twice sends the same one.';
COMMENT ON COLUMN operational_events.location_id IS 'Where it happened.';
COMMENT ON COLUMN operational_events.resource_id IS 'The machine, vehicle or equipment; NULL for events of the location.';
COMMENT ON COLUMN operational_events.employee_id IS 'The worker concerned, if any.';
COMMENT ON COLUMN operational_events.event_type IS 'production (actual production time), setup, maintenance (planned stop), breakdown (failure) and idle (waiting: blocked or starved) say what the resource did and make its figures; error, inspection, shift_start, shift_end, trip, arrival, departure, delay, or a word of one''s own, are recorded and make none.';
COMMENT ON COLUMN operational_events.cause IS 'Why the resource stood still or failed, such as bearing or no_material.';
COMMENT ON COLUMN operational_events.product_id IS 'The customer''s own product code, for production events.';
COMMENT ON COLUMN operational_events.quantity IS 'Quantity produced, scrap included, in the resource''s capacity_unit; only production events have one.';
COMMENT ON COLUMN operational_events.scrap_quantity IS 'Part of quantity that is scrap, in the same unit.';
COMMENT ON COLUMN operational_events.quality_score IS 'Quality of what was produced, 0 (worst) to 100 (best).';
COMMENT ON COLUMN operational_events.duration_minutes IS 'How long it lasted from time on, in minutes, 0 to 1440; 0 for an event without duration, NULL where it is not known.';
COMMENT ON COLUMN operational_events.metadata IS 'Whatever else the source tells about the event.';

CREATE TABLE IF NOT EXISTS demand_history (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    product_id text NOT NULL,
    location_id uuid NOT NULL,
    quantity numeric NOT NULL,
    revenue numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    -- A default and no trigger: loading costs nothing more.
    recorded_at timestamptz DEFAULT now(),
    CONSTRAINT demand_history_pkey PRIMARY KEY (organization_id, product_id, location_id, time),
    CONSTRAINT demand_history_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT demand_history_time_not_in_future_check CHECK (
        isfinite(time) AND time <= now() + interval '1 day'
    ),
    CONSTRAINT demand_history_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT demand_history_quantity_not_negative_check CHECK (quantity >= 0 AND quantity < 'Infinity'),
    CONSTRAINT demand_history_revenue_not_negative_check CHECK (revenue >= 0 AND revenue < 'Infinity'),
    CONSTRAINT demand_history_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT demand_history_recorded_at_not_in_future_check CHECK (
        isfinite(recorded_at) AND recorded_at <= now() + interval '1 day'
    )
);
CREATE INDEX IF NOT EXISTS demand_history_organization_id_time_idx ON demand_history (organization_id, time DESC);
COMMENT ON INDEX demand_history_organization_id_time_idx IS 'Serves get_products and demand of all products in a period.';
COMMENT ON TABLE demand_history IS 'Sales and demand as they happened, for forecasting. One row per product, location and bucket of time; a correction replaces the row, and demand_revisions keeps what it said before.';
COMMENT ON COLUMN demand_history.organization_id IS 'The tenant.';
COMMENT ON COLUMN demand_history.time IS 'Start of the bucket of time that the quantity was demanded in (an hour, a day …).';
COMMENT ON COLUMN demand_history.product_id IS 'The customer''s own product code.';
COMMENT ON COLUMN demand_history.location_id IS 'Where it was demanded.';
COMMENT ON COLUMN demand_history.quantity IS 'Quantity demanded in the bucket, in the product''s own unit.';
COMMENT ON COLUMN demand_history.revenue IS 'What it earned, in the organization''s currency (settings.currency); NULL if not known.';
COMMENT ON COLUMN demand_history.metadata IS 'Whatever else the source tells.';

CREATE TABLE IF NOT EXISTS demand_revisions (
    organization_id uuid NOT NULL,
    product_id text NOT NULL,
    location_id uuid NOT NULL,
    time timestamptz NOT NULL,
    replaced_at timestamptz NOT NULL,
    recorded_at timestamptz,
    quantity numeric NOT NULL,
    CONSTRAINT demand_revisions_pkey PRIMARY KEY (organization_id, product_id, location_id, time, replaced_at),
    CONSTRAINT demand_revisions_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations ON DELETE CASCADE,
    CONSTRAINT demand_revisions_quantity_not_negative_check CHECK (quantity >= 0 AND quantity < 'Infinity'),
    CONSTRAINT demand_revisions_replaced_after_recorded_check CHECK (replaced_at > recorded_at)
);
COMMENT ON TABLE demand_revisions IS 'What rows of demand_history said before they were corrected or deleted; written by the database only. So demand can be had as it was known at a time.';
COMMENT ON COLUMN demand_revisions.organization_id IS 'The tenant.';
COMMENT ON COLUMN demand_revisions.product_id IS 'The customer''s own product code.';
COMMENT ON COLUMN demand_revisions.location_id IS 'Where it was demanded.';
COMMENT ON COLUMN demand_revisions.time IS 'Start of the bucket of time, as in demand_history.';
COMMENT ON COLUMN demand_revisions.replaced_at IS 'Until when the row said so: the database''s clock at the correction or deletion.';
COMMENT ON COLUMN demand_revisions.recorded_at IS 'Since when it said so; NULL where that is not known.';
COMMENT ON COLUMN demand_revisions.quantity IS 'Quantity demanded, as it was said then.';

CREATE TABLE IF NOT EXISTS resource_metrics (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    resource_id uuid NOT NULL,
    utilization_pct numeric,
    efficiency_pct numeric,
    downtime_minutes numeric,
    sample_minutes numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT resource_metrics_pkey PRIMARY KEY (organization_id, resource_id, time),
    CONSTRAINT resource_metrics_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources,
    CONSTRAINT resource_metrics_time_not_in_future_check CHECK (
        isfinite(time) AND time <= now() + interval '1 day'
    ),
    CONSTRAINT resource_metrics_utilization_pct_range_check CHECK (utilization_pct BETWEEN 0 AND 100),
    CONSTRAINT resource_metrics_efficiency_pct_range_check CHECK (efficiency_pct BETWEEN 0 AND 100),
    CONSTRAINT resource_metrics_sample_minutes_range_check CHECK (sample_minutes > 0 AND sample_minutes <= 1440),
    CONSTRAINT resource_metrics_downtime_minutes_within_sample_check CHECK (
        downtime_minutes >= 0 AND downtime_minutes <= sample_minutes
    ),
    CONSTRAINT resource_metrics_downtime_minutes_at_most_a_day_check CHECK (downtime_minutes <= 1440),
    CONSTRAINT resource_metrics_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS resource_metrics_organization_id_time_idx ON resource_metrics (organization_id, time DESC);
COMMENT ON INDEX resource_metrics_organization_id_time_idx IS 'Serves get_resource_metrics over all resources in a short window.';
COMMENT ON TABLE resource_metrics IS 'Utilization, efficiency and downtime of resources, sampled. A sample speaks for the time from its own on, up to the next one: resource_samples() adds them up so.';
COMMENT ON COLUMN resource_metrics.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_metrics.time IS 'Start of the time that the sample speaks for.';
COMMENT ON COLUMN resource_metrics.resource_id IS 'The resource.';
COMMENT ON COLUMN resource_metrics.utilization_pct IS 'Share of the sample in which the resource was busy, 0 to 100; NULL if not measured.';
COMMENT ON COLUMN resource_metrics.efficiency_pct IS 'Speed against rated speed while busy, 0 to 100; NULL when not busy or not measured.';
COMMENT ON COLUMN resource_metrics.downtime_minutes IS 'Minutes of the sample in which the resource was down, at most sample_minutes; NULL if not known.';
COMMENT ON COLUMN resource_metrics.sample_minutes IS 'Minutes that the sample speaks for, 1440 at most; NULL: up to the next sample of the resource, an hour at most. Never past the next sample.';
COMMENT ON COLUMN resource_metrics.metadata IS 'Further readings of the sample, such as {"temperature_celsius": 61.5}.';

CREATE TABLE IF NOT EXISTS employee_attendance (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    employee_id uuid NOT NULL,
    shift_id uuid,
    status text NOT NULL,
    scheduled_hours numeric NOT NULL DEFAULT 8,
    hours_worked numeric,
    performance_score numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT employee_attendance_pkey PRIMARY KEY (organization_id, employee_id, time),
    CONSTRAINT employee_attendance_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees,
    CONSTRAINT employee_attendance_organization_id_shift_id_fkey
        FOREIGN KEY (organization_id, shift_id) REFERENCES shifts,
    CONSTRAINT employee_attendance_time_not_in_future_check CHECK (
        isfinite(time) AND time <= now() + interval '1 day'
    ),
    CONSTRAINT employee_attendance_status_check CHECK (
        status IN ('present', 'late', 'remote', 'absent', 'sick', 'vacation')
    ),
    CONSTRAINT employee_attendance_scheduled_hours_range_check CHECK (
        scheduled_hours > 0 AND scheduled_hours <= 24
    ),
    CONSTRAINT employee_attendance_hours_worked_range_check CHECK (hours_worked BETWEEN 0 AND 24),
    CONSTRAINT employee_attendance_no_hours_when_away_check CHECK (
        status NOT IN ('absent', 'sick', 'vacation') OR hours_worked = 0
    ),
    CONSTRAINT employee_attendance_performance_score_range_check CHECK (performance_score BETWEEN 0 AND 100),
    CONSTRAINT employee_attendance_no_score_when_away_check CHECK (
        status NOT IN ('absent', 'sick', 'vacation') OR performance_score IS NULL
    ),
    CONSTRAINT employee_attendance_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS employee_attendance_organization_id_time_idx
    ON employee_attendance (organization_id, time DESC);
COMMENT ON INDEX employee_attendance_organization_id_time_idx IS 'Serves get_attendance and get_attendance_rate: all employees in a period.';
CREATE INDEX IF NOT EXISTS employee_attendance_organization_id_shift_id_idx
    ON employee_attendance (organization_id, shift_id) WHERE shift_id IS NOT NULL;
COMMENT ON INDEX employee_attendance_organization_id_shift_id_idx IS 'Serves the foreign key to shifts: deleting one.';
COMMENT ON TABLE employee_attendance IS 'Attendance and performance: one row per employee and scheduled stretch of work (usually a shift).';
COMMENT ON COLUMN employee_attendance.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_attendance.time IS 'When the scheduled work began.';
COMMENT ON COLUMN employee_attendance.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_attendance.shift_id IS 'The shift, if it was one.';
COMMENT ON COLUMN employee_attendance.status IS 'present, late or remote (came); absent or sick (did not); vacation (was not due, and does not count against attendance).';
COMMENT ON COLUMN employee_attendance.scheduled_hours IS 'Hours the employee was due to work, as planned; 8 where nothing was said.';
COMMENT ON COLUMN employee_attendance.hours_worked IS 'Hours worked; 0 when absent, sick or on vacation, NULL where not known.';
COMMENT ON COLUMN employee_attendance.performance_score IS 'Performance in these hours, 0 to 100; NULL when away or not rated.';
COMMENT ON COLUMN employee_attendance.metadata IS 'Whatever else the source tells.';
