-- State of the services: fetched connector windows, connector choices, and worker schedules.

CREATE TABLE IF NOT EXISTS connector_runs (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL DEFAULT gen_random_uuid(),
    connector text NOT NULL,
    location_id uuid,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    readings_read integer NOT NULL DEFAULT 0,
    readings_written integer NOT NULL DEFAULT 0,
    readings_refused integer NOT NULL DEFAULT 0,
    error_message text,
    CONSTRAINT connector_runs_pkey PRIMARY KEY (organization_id, run_id),
    CONSTRAINT connector_runs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT connector_runs_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT connector_runs_connector_check CHECK (connector ~ '^[a-z][a-z0-9-]{0,40}$'),
    CONSTRAINT connector_runs_window_ends_after_start_check CHECK (
        window_end > window_start AND isfinite(window_start) AND isfinite(window_end)
    ),
    CONSTRAINT connector_runs_started_at_not_in_future_check CHECK (
        isfinite(started_at) AND started_at <= now() + interval '1 day'
    ),
    CONSTRAINT connector_runs_finished_at_not_in_future_check CHECK (finished_at <= now() + interval '1 day'),
    CONSTRAINT connector_runs_counts_not_negative_check CHECK (
        readings_read >= 0 AND readings_written >= 0 AND readings_refused >= 0
    )
);
CREATE INDEX IF NOT EXISTS connector_runs_organization_id_connector_idx
    ON connector_runs (organization_id, connector, location_id, finished_at DESC);
COMMENT ON INDEX connector_runs_organization_id_connector_idx IS 'Serves barnameh fetch and doctor (the newest runs of a connector), and the foreign key to locations.';
COMMENT ON TABLE connector_runs IS 'Time windows that each connector fetched, and the results. A run is written in the same transaction as its readings; the newest thousand per connector and location are kept.';
COMMENT ON COLUMN connector_runs.organization_id IS 'The tenant.';
COMMENT ON COLUMN connector_runs.run_id IS 'The run; one per window.';
COMMENT ON COLUMN connector_runs.connector IS 'Name of the data source, such as open-meteo or ecb.';
COMMENT ON COLUMN connector_runs.location_id IS 'Location that it applies to; NULL for the whole organization.';
COMMENT ON COLUMN connector_runs.window_start IS 'Start of the requested window.';
COMMENT ON COLUMN connector_runs.window_end IS 'First instant after the requested window.';
COMMENT ON COLUMN connector_runs.started_at IS 'When the source was queried.';
COMMENT ON COLUMN connector_runs.finished_at IS 'When the readings were written, or the window was abandoned.';
COMMENT ON COLUMN connector_runs.readings_read IS 'Number of readings returned by the source.';
COMMENT ON COLUMN connector_runs.readings_written IS 'Number of readings that were new or changed.';
COMMENT ON COLUMN connector_runs.readings_refused IS 'Number of readings rejected as implausible, such as 100 celsius.';
COMMENT ON COLUMN connector_runs.error_message IS 'Why the window could not be fetched, or which readings were rejected; NULL on success.';

CREATE TABLE IF NOT EXISTS connector_sources (
    organization_id uuid NOT NULL,
    source_id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    location_id uuid,
    connector text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT connector_sources_pkey PRIMARY KEY (organization_id, source_id),
    CONSTRAINT connector_sources_organization_id_kind_location_id_key
        UNIQUE NULLS NOT DISTINCT (organization_id, kind, location_id),
    CONSTRAINT connector_sources_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT connector_sources_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT connector_sources_kind_check CHECK (kind ~ '\S'),
    CONSTRAINT connector_sources_connector_check CHECK (connector ~ '^[a-z][a-z0-9-]{0,40}$')
);
CREATE INDEX IF NOT EXISTS connector_sources_organization_id_location_id_idx
    ON connector_sources (organization_id, location_id);
COMMENT ON INDEX connector_sources_organization_id_location_id_idx IS 'Serves the foreign key to locations when one is deleted.';
COMMENT ON TABLE connector_sources IS 'The data source that each location uses for weather, holidays and prices: one per kind, so that two sources are never mixed under one name.';
COMMENT ON COLUMN connector_sources.organization_id IS 'The tenant.';
COMMENT ON COLUMN connector_sources.source_id IS 'The choice.';
COMMENT ON COLUMN connector_sources.kind IS 'Kind of data: weather, holidays, fx, power or market.';
COMMENT ON COLUMN connector_sources.location_id IS 'Location that it applies to; NULL for the whole organization.';
COMMENT ON COLUMN connector_sources.connector IS 'Name of the data source, such as open-meteo or ecb.';
COMMENT ON COLUMN connector_sources.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS service_schedules (
    organization_id uuid NOT NULL,
    schedule_id uuid NOT NULL DEFAULT gen_random_uuid(),
    task text NOT NULL,
    location_id uuid,
    run_every interval NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}',
    is_enabled boolean NOT NULL DEFAULT true,
    next_run_at timestamptz NOT NULL DEFAULT now(),
    last_started_at timestamptz,
    last_succeeded_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_schedules_pkey PRIMARY KEY (organization_id, schedule_id),
    CONSTRAINT service_schedules_organization_id_task_location_id_key
        UNIQUE NULLS NOT DISTINCT (organization_id, task, location_id),
    CONSTRAINT service_schedules_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT service_schedules_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT service_schedules_task_check CHECK (task ~ '^[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)?$'),
    CONSTRAINT service_schedules_run_every_range_check CHECK (
        run_every >= interval '1 minute' AND run_every <= interval '366 days'
    ),
    CONSTRAINT service_schedules_arguments_object_check CHECK (jsonb_typeof(arguments) = 'object'),
    CONSTRAINT service_schedules_next_run_at_finite_check CHECK (isfinite(next_run_at))
);
CREATE INDEX IF NOT EXISTS service_schedules_next_run_at_idx ON service_schedules (next_run_at) WHERE is_enabled;
COMMENT ON INDEX service_schedules_next_run_at_idx IS 'Serves barnameh work: what is due, over all organizations.';
CREATE INDEX IF NOT EXISTS service_schedules_organization_id_location_id_idx
    ON service_schedules (organization_id, location_id);
COMMENT ON INDEX service_schedules_organization_id_location_id_idx IS 'Serves the foreign key to locations when one is deleted.';
COMMENT ON TABLE service_schedules IS 'Schedules of the worker; read-only for tenants. A task whose runs were missed runs once as soon as a worker is available, not once per missed run.';
COMMENT ON COLUMN service_schedules.organization_id IS 'The tenant.';
COMMENT ON COLUMN service_schedules.schedule_id IS 'The schedule.';
COMMENT ON COLUMN service_schedules.task IS 'Task to run, such as fetch weather.';
COMMENT ON COLUMN service_schedules.location_id IS 'Location that it applies to; NULL for the whole organization.';
COMMENT ON COLUMN service_schedules.run_every IS 'Interval between runs.';
COMMENT ON COLUMN service_schedules.arguments IS 'Options of the task.';
COMMENT ON COLUMN service_schedules.is_enabled IS 'Whether the worker runs the task.';
COMMENT ON COLUMN service_schedules.next_run_at IS 'When the task is next due.';
COMMENT ON COLUMN service_schedules.last_started_at IS 'When a worker last started the task.';
COMMENT ON COLUMN service_schedules.last_succeeded_at IS 'When the task last succeeded.';
COMMENT ON COLUMN service_schedules.last_error IS 'Error of the last run; NULL if it succeeded.';
COMMENT ON COLUMN service_schedules.created_at IS 'When the row was created.';
COMMENT ON COLUMN service_schedules.updated_at IS 'When the row was last changed; maintained by the database.';
