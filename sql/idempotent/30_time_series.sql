-- Time-series operational data. 60_hypertables.sql turns these four tables into hypertables where TimescaleDB is available.
--
-- Late rows are accepted at any age. A row dated more than a day ahead of the database clock indicates a wrong clock or
-- unit and is refused. (The condition reads now(), but a row that passed it once always passes it again, so dumps can be
-- restored.) Duplicate rows conflict with the primary key: use a stable event_id, and write with ON CONFLICT DO NOTHING, or
-- DO UPDATE for corrections.

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
COMMENT ON INDEX operational_events_organization_id_time_long_idx IS 'Serves resource_time(): long events that may extend across the edge of a period.';
-- Used whenever an employee is deleted or erased from past events. With 400,000 rows in an organization that took 70 ms
-- without this index and takes 3 to 12 ms with it; the index is 1 % of the table, and its effect on loading is not
-- measurable. (Foreign keys to locations have no such index: sites are rarely closed.)
CREATE INDEX IF NOT EXISTS operational_events_organization_id_employee_id_idx
    ON operational_events (organization_id, employee_id) WHERE employee_id IS NOT NULL;
COMMENT ON INDEX operational_events_organization_id_employee_id_idx IS 'Serves the foreign key to employees when one is deleted.';
COMMENT ON TABLE operational_events IS 'Operational events and their durations: production, setup, maintenance, breakdowns, waiting, errors, inspections, shift starts and ends. An event longer than a day is recorded as several.';
COMMENT ON COLUMN operational_events.organization_id IS 'The tenant.';
COMMENT ON COLUMN operational_events.time IS 'Start of the event.';
COMMENT ON COLUMN operational_events.event_id IS 'Identifier of the event; a producer that may send an event twice must send the same one.';
COMMENT ON COLUMN operational_events.location_id IS 'Location of the event.';
COMMENT ON COLUMN operational_events.resource_id IS 'The machine, vehicle or equipment; NULL for events of the location.';
COMMENT ON COLUMN operational_events.employee_id IS 'The worker concerned, if any.';
COMMENT ON COLUMN operational_events.event_type IS 'production (actual production time), setup, maintenance (planned stop), breakdown (failure) and idle (waiting: blocked or starved) are states of the resource and determine its figures; error, inspection, shift_start, shift_end, trip, arrival, departure, delay, and custom types are recorded only.';
COMMENT ON COLUMN operational_events.cause IS 'Cause of the stop or failure, such as bearing or no_material.';
COMMENT ON COLUMN operational_events.product_id IS 'The customer''s product code, for production events.';
COMMENT ON COLUMN operational_events.quantity IS 'Quantity produced, including scrap, in the resource''s capacity_unit; production events only.';
COMMENT ON COLUMN operational_events.scrap_quantity IS 'Part of quantity that is scrap, in the same unit.';
COMMENT ON COLUMN operational_events.quality_score IS 'Quality of the output, 0 (worst) to 100 (best).';
COMMENT ON COLUMN operational_events.duration_minutes IS 'Duration from time on, in minutes, 0 to 1440; 0 for an instantaneous event, NULL if unknown.';
COMMENT ON COLUMN operational_events.metadata IS 'Additional attributes of the event from the source.';

CREATE TABLE IF NOT EXISTS demand_history (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    product_id text NOT NULL,
    location_id uuid NOT NULL,
    quantity numeric NOT NULL,
    revenue numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    -- A default rather than a trigger, so that loading costs nothing extra.
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
COMMENT ON INDEX demand_history_organization_id_time_idx IS 'Serves get_products and the demand for all products in a period.';
COMMENT ON TABLE demand_history IS 'Actual sales and demand, for forecasting. One row per product, location and time bucket; a correction replaces the row, and demand_revisions keeps the previous value.';
COMMENT ON COLUMN demand_history.organization_id IS 'The tenant.';
COMMENT ON COLUMN demand_history.time IS 'Start of the time bucket (an hour, a day, ...) of the demand.';
COMMENT ON COLUMN demand_history.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN demand_history.location_id IS 'Location of the demand.';
COMMENT ON COLUMN demand_history.quantity IS 'Quantity demanded in the bucket, in the product''s unit.';
COMMENT ON COLUMN demand_history.revenue IS 'Revenue, in the organization''s currency (settings.currency); NULL if unknown.';
COMMENT ON COLUMN demand_history.metadata IS 'Additional attributes from the source.';

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
COMMENT ON TABLE demand_revisions IS 'Previous values of demand_history rows that were corrected or deleted, for reading demand as it was known at a given time. Written by the database only.';
COMMENT ON COLUMN demand_revisions.organization_id IS 'The tenant.';
COMMENT ON COLUMN demand_revisions.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN demand_revisions.location_id IS 'Location of the demand.';
COMMENT ON COLUMN demand_revisions.time IS 'Start of the time bucket, as in demand_history.';
COMMENT ON COLUMN demand_revisions.replaced_at IS 'When the value was replaced: the database clock at the correction or deletion.';
COMMENT ON COLUMN demand_revisions.recorded_at IS 'When the value was recorded; NULL if unknown.';
COMMENT ON COLUMN demand_revisions.quantity IS 'Quantity demanded, as recorded then.';

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
COMMENT ON INDEX resource_metrics_organization_id_time_idx IS 'Serves get_resource_metrics for all resources in a short window.';
COMMENT ON TABLE resource_metrics IS 'Sampled utilization, efficiency and downtime of resources. A sample covers the time from its own timestamp up to the next one, which is how resource_samples() adds samples up.';
COMMENT ON COLUMN resource_metrics.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_metrics.time IS 'Start of the time that the sample covers.';
COMMENT ON COLUMN resource_metrics.resource_id IS 'The resource.';
COMMENT ON COLUMN resource_metrics.utilization_pct IS 'Share of the sample in which the resource was busy, 0 to 100; NULL if not measured.';
COMMENT ON COLUMN resource_metrics.efficiency_pct IS 'Speed relative to rated speed while busy, 0 to 100; NULL if not busy or not measured.';
COMMENT ON COLUMN resource_metrics.downtime_minutes IS 'Minutes of the sample in which the resource was down, at most sample_minutes; NULL if unknown.';
COMMENT ON COLUMN resource_metrics.sample_minutes IS 'Minutes that the sample covers, at most 1440; NULL: until the next sample of the resource, but at most an hour. Never past the next sample.';
COMMENT ON COLUMN resource_metrics.metadata IS 'Additional readings of the sample, such as {"temperature_celsius": 61.5}.';

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
COMMENT ON INDEX employee_attendance_organization_id_shift_id_idx IS 'Serves the foreign key to shifts when one is deleted.';
COMMENT ON TABLE employee_attendance IS 'Attendance and performance: one row per employee and scheduled work period (usually a shift).';
COMMENT ON COLUMN employee_attendance.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_attendance.time IS 'Scheduled start of the work.';
COMMENT ON COLUMN employee_attendance.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_attendance.shift_id IS 'The shift, if any.';
COMMENT ON COLUMN employee_attendance.status IS 'present, late or remote (attended); absent or sick (did not attend); vacation (not due, excluded from attendance).';
COMMENT ON COLUMN employee_attendance.scheduled_hours IS 'Scheduled hours of work; 8 by default.';
COMMENT ON COLUMN employee_attendance.hours_worked IS 'Hours worked; 0 if absent, sick or on vacation, NULL if unknown.';
COMMENT ON COLUMN employee_attendance.performance_score IS 'Performance in these hours, 0 to 100; NULL if absent or not rated.';
COMMENT ON COLUMN employee_attendance.metadata IS 'Additional attributes from the source.';
