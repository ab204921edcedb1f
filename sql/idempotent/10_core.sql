-- Core operational entities: organizations (the tenants), locations, resources, employees.

CREATE TABLE IF NOT EXISTS organizations (
    organization_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    industry text NOT NULL,
    timezone text NOT NULL DEFAULT 'UTC',
    settings jsonb NOT NULL DEFAULT '{}',
    notification_key uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT organizations_pkey PRIMARY KEY (organization_id),
    CONSTRAINT organizations_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT organizations_industry_not_blank_check CHECK (industry ~ '\S'),
    CONSTRAINT organizations_timezone_known_check CHECK (is_timezone(timezone)),
    CONSTRAINT organizations_settings_object_check CHECK (jsonb_typeof(settings) = 'object')
);
COMMENT ON TABLE organizations IS 'The tenants: one row per customer. Every other table carries organization_id first in its keys.';
COMMENT ON COLUMN organizations.organization_id IS 'The tenant.';
COMMENT ON COLUMN organizations.name IS 'Display name.';
COMMENT ON COLUMN organizations.industry IS 'Line of business, such as manufacturing or logistics.';
COMMENT ON COLUMN organizations.timezone IS 'IANA time zone for the organization''s days and months.';
COMMENT ON COLUMN organizations.settings IS 'Free-form settings of the organization, such as {"currency": "EUR"}.';
COMMENT ON COLUMN organizations.notification_key IS 'Secret part of the organization''s notification channels; see notification_channel().';
COMMENT ON COLUMN organizations.created_at IS 'When the row was created.';
COMMENT ON COLUMN organizations.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS locations (
    organization_id uuid NOT NULL,
    location_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    location_type text NOT NULL,
    timezone text NOT NULL DEFAULT 'UTC',
    address text,
    latitude_degrees numeric,
    longitude_degrees numeric,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    location_code text,
    CONSTRAINT locations_pkey PRIMARY KEY (organization_id, location_id),
    CONSTRAINT locations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT locations_organization_id_name_key UNIQUE (organization_id, name),
    CONSTRAINT locations_organization_id_location_code_key UNIQUE (organization_id, location_code),
    CONSTRAINT locations_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT locations_location_code_is_a_code_check CHECK (is_code(location_code)),
    CONSTRAINT locations_location_type_check CHECK (location_type ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT locations_timezone_known_check CHECK (is_timezone(timezone)),
    CONSTRAINT locations_latitude_degrees_range_check CHECK (latitude_degrees BETWEEN -90 AND 90),
    CONSTRAINT locations_longitude_degrees_range_check CHECK (longitude_degrees BETWEEN -180 AND 180),
    CONSTRAINT locations_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
COMMENT ON TABLE locations IS 'Facilities: factories, warehouses, distribution centers and other places where work is done or demand arises.';
COMMENT ON COLUMN locations.organization_id IS 'The tenant.';
COMMENT ON COLUMN locations.location_id IS 'The facility.';
COMMENT ON COLUMN locations.name IS 'Display name, unique in the organization.';
COMMENT ON COLUMN locations.location_type IS 'Kind of place: factory, warehouse, distribution_center, depot, station, stop, line, store, office, region, or a custom kind.';
COMMENT ON COLUMN locations.timezone IS 'IANA time zone of the facility, used for its shifts, local days and demand buckets.';
COMMENT ON COLUMN locations.address IS 'Postal address, free-form.';
COMMENT ON COLUMN locations.latitude_degrees IS 'WGS 84 latitude in degrees, north positive.';
COMMENT ON COLUMN locations.longitude_degrees IS 'WGS 84 longitude in degrees, east positive.';
COMMENT ON COLUMN locations.metadata IS 'Additional attributes of the facility.';
COMMENT ON COLUMN locations.created_at IS 'When the row was created.';
COMMENT ON COLUMN locations.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS resources (
    organization_id uuid NOT NULL,
    resource_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid NOT NULL,
    name text NOT NULL,
    resource_type text NOT NULL,
    status text NOT NULL DEFAULT 'running',
    rated_capacity_per_hour numeric,
    capacity_unit text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    resource_code text,
    CONSTRAINT resources_pkey PRIMARY KEY (organization_id, resource_id),
    CONSTRAINT resources_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT resources_organization_id_name_key UNIQUE (organization_id, name),
    CONSTRAINT resources_organization_id_resource_code_key UNIQUE (organization_id, resource_code),
    CONSTRAINT resources_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT resources_resource_code_is_a_code_check CHECK (is_code(resource_code)),
    CONSTRAINT resources_resource_type_not_blank_check CHECK (resource_type ~ '\S'),
    CONSTRAINT resources_status_check CHECK (status IN ('running', 'idle', 'maintenance', 'down', 'retired')),
    CONSTRAINT resources_rated_capacity_per_hour_positive_check CHECK (
        rated_capacity_per_hour > 0 AND rated_capacity_per_hour < 'Infinity'
    ),
    CONSTRAINT resources_capacity_unit_not_blank_check CHECK (capacity_unit ~ '\S'),
    CONSTRAINT resources_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS resources_organization_id_location_id_idx ON resources (organization_id, location_id);
COMMENT ON INDEX resources_organization_id_location_id_idx IS 'Serves get_resources(location_id) and the foreign key to locations.';
COMMENT ON TABLE resources IS 'Machines, vehicles and equipment: what produces, moves or stores.';
COMMENT ON COLUMN resources.organization_id IS 'The tenant.';
COMMENT ON COLUMN resources.resource_id IS 'The machine, vehicle or equipment.';
COMMENT ON COLUMN resources.location_id IS 'Location where the resource stands or is based.';
COMMENT ON COLUMN resources.name IS 'Display name, unique in the organization.';
COMMENT ON COLUMN resources.resource_type IS 'Kind of resource, such as assembly_line, cnc_machine or vehicle.';
COMMENT ON COLUMN resources.status IS 'Current status: running, idle, maintenance, down or retired.';
COMMENT ON COLUMN resources.rated_capacity_per_hour IS 'Quantity produced or moved per hour at rated speed, in capacity_unit; its inverse is the planned run time per item of ISO 22400.';
COMMENT ON COLUMN resources.capacity_unit IS 'Unit of the quantities produced, such as pieces or parcels.';
COMMENT ON COLUMN resources.metadata IS 'Additional attributes, such as {"max_speed": 100, "maintenance_interval_hours": 168, "sensors": ["temperature", "vibration"]}.';
COMMENT ON COLUMN resources.created_at IS 'When the row was created.';
COMMENT ON COLUMN resources.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS employees (
    organization_id uuid NOT NULL,
    employee_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid NOT NULL,
    employee_code text NOT NULL,
    full_name text NOT NULL,
    role text NOT NULL,
    skills text[] NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    hired_on_date date,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT employees_pkey PRIMARY KEY (organization_id, employee_id),
    CONSTRAINT employees_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT employees_organization_id_employee_code_key UNIQUE (organization_id, employee_code),
    CONSTRAINT employees_employee_code_not_blank_check CHECK (employee_code ~ '\S'),
    CONSTRAINT employees_full_name_not_blank_check CHECK (full_name ~ '\S'),
    CONSTRAINT employees_role_not_blank_check CHECK (role ~ '\S'),
    CONSTRAINT employees_hired_on_date_within_10_years_check CHECK (
        isfinite(hired_on_date) AND hired_on_date <= now() + interval '10 years'
    ),
    CONSTRAINT employees_skills_without_null_check CHECK (array_position(skills, NULL) IS NULL),
    CONSTRAINT employees_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS employees_organization_id_location_id_idx ON employees (organization_id, location_id);
COMMENT ON INDEX employees_organization_id_location_id_idx IS 'Serves get_employees(location_id) and the foreign key to locations.';
CREATE INDEX IF NOT EXISTS employees_skills_idx ON employees USING gin (skills);
COMMENT ON INDEX employees_skills_idx IS 'Serves get_employees(skill): employees who have a skill.';
COMMENT ON TABLE employees IS 'Workers, with their role and skills.';
COMMENT ON COLUMN employees.organization_id IS 'The tenant.';
COMMENT ON COLUMN employees.employee_id IS 'The worker.';
COMMENT ON COLUMN employees.location_id IS 'Location where the worker is based.';
COMMENT ON COLUMN employees.employee_code IS 'The customer''s personnel code, unique in the organization.';
COMMENT ON COLUMN employees.full_name IS 'Display name.';
COMMENT ON COLUMN employees.role IS 'Job, such as operator, technician or driver.';
COMMENT ON COLUMN employees.skills IS 'Skills and qualifications of the worker.';
COMMENT ON COLUMN employees.is_active IS 'False once the worker has left.';
COMMENT ON COLUMN employees.hired_on_date IS 'First day of employment (local date).';
COMMENT ON COLUMN employees.metadata IS 'Additional attributes of the worker.';
COMMENT ON COLUMN employees.created_at IS 'When the row was created.';
COMMENT ON COLUMN employees.updated_at IS 'When the row was last changed; maintained by the database.';

-- History of the master data. Maintained by the triggers in 57_history.sql, whoever changes a row and by whatever means,
-- and written by nothing else. The versions of an entity are contiguous from '-infinity' to 'infinity'.

CREATE TABLE IF NOT EXISTS resource_history (
    organization_id uuid NOT NULL,
    resource_id uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    location_id uuid NOT NULL,
    rated_capacity_per_hour numeric,
    capacity_unit text,
    is_in_service boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT resource_history_pkey PRIMARY KEY (organization_id, resource_id, valid_from),
    CONSTRAINT resource_history_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources ON DELETE CASCADE,
    CONSTRAINT resource_history_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT resource_history_valid_to_after_valid_from_check CHECK (valid_to > valid_from),
    CONSTRAINT resource_history_rated_capacity_per_hour_positive_check CHECK (
        rated_capacity_per_hour > 0 AND rated_capacity_per_hour < 'Infinity'
    ),
    CONSTRAINT resource_history_capacity_unit_not_blank_check CHECK (capacity_unit ~ '\S')
);
CREATE INDEX IF NOT EXISTS resource_history_organization_id_location_id_idx
    ON resource_history (organization_id, location_id);
COMMENT ON INDEX resource_history_organization_id_location_id_idx IS 'Serves the figures of a location (the resources there), and the foreign key to locations.';
COMMENT ON TABLE resource_history IS 'Location, rated capacity and service status of each resource over time. Maintained by the database; read-only.';
COMMENT ON COLUMN resource_history.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_history.resource_id IS 'The resource.';
COMMENT ON COLUMN resource_history.valid_from IS 'First instant of the version; -infinity for the first one.';
COMMENT ON COLUMN resource_history.valid_to IS 'First instant after the version; infinity for the last one.';
COMMENT ON COLUMN resource_history.location_id IS 'Location where the resource stood or was based.';
COMMENT ON COLUMN resource_history.rated_capacity_per_hour IS 'Quantity produced or moved per hour at rated speed, in capacity_unit; NULL if unknown.';
COMMENT ON COLUMN resource_history.capacity_unit IS 'Unit of the quantities produced.';
COMMENT ON COLUMN resource_history.is_in_service IS 'Whether the resource was in service: false while its status was retired and before it was put into service.';
COMMENT ON COLUMN resource_history.recorded_at IS 'When the version was recorded or last corrected.';

CREATE TABLE IF NOT EXISTS employee_history (
    organization_id uuid NOT NULL,
    employee_id uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    location_id uuid NOT NULL,
    is_employed boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT employee_history_pkey PRIMARY KEY (organization_id, employee_id, valid_from),
    CONSTRAINT employee_history_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees ON DELETE CASCADE,
    CONSTRAINT employee_history_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT employee_history_valid_to_after_valid_from_check CHECK (valid_to > valid_from)
);
CREATE INDEX IF NOT EXISTS employee_history_organization_id_location_id_idx
    ON employee_history (organization_id, location_id);
COMMENT ON INDEX employee_history_organization_id_location_id_idx IS 'Serves the figures of a location (the employees there), and the foreign key to locations.';
COMMENT ON TABLE employee_history IS 'Where each employee belonged and whether they were employed, and when. Kept by the database; read-only.';
COMMENT ON COLUMN employee_history.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_history.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_history.valid_from IS 'First instant of the version; -infinity for the first one. In the future for an employment that is known to begin or to end.';
COMMENT ON COLUMN employee_history.valid_to IS 'First instant after the version; infinity for the last one.';
COMMENT ON COLUMN employee_history.location_id IS 'Location where the worker was based.';
COMMENT ON COLUMN employee_history.is_employed IS 'Whether the worker was employed: false before hired_on_date and after leaving.';
COMMENT ON COLUMN employee_history.recorded_at IS 'When the version was recorded or last corrected.';

CREATE TABLE IF NOT EXISTS location_history (
    organization_id uuid NOT NULL,
    location_id uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    timezone text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT location_history_pkey PRIMARY KEY (organization_id, location_id, valid_from),
    CONSTRAINT location_history_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations ON DELETE CASCADE,
    CONSTRAINT location_history_valid_to_after_valid_from_check CHECK (valid_to > valid_from),
    CONSTRAINT location_history_timezone_known_check CHECK (is_timezone(timezone))
);
COMMENT ON TABLE location_history IS 'Time zone of each location over time. Maintained by the database; read-only.';
COMMENT ON COLUMN location_history.organization_id IS 'The tenant.';
COMMENT ON COLUMN location_history.location_id IS 'The facility.';
COMMENT ON COLUMN location_history.valid_from IS 'First instant of the version; -infinity for the first one.';
COMMENT ON COLUMN location_history.valid_to IS 'First instant after the version; infinity for the last one.';
COMMENT ON COLUMN location_history.timezone IS 'IANA time zone of the facility during the version.';
COMMENT ON COLUMN location_history.recorded_at IS 'When the version was recorded or last corrected.';
