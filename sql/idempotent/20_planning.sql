-- Scheduling and planning: products, shifts, shift assignments, and production plans.

CREATE TABLE IF NOT EXISTS products (
    organization_id uuid NOT NULL,
    product_id text NOT NULL,
    name text,
    unit text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_pkey PRIMARY KEY (organization_id, product_id),
    CONSTRAINT products_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT products_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT products_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT products_unit_not_blank_check CHECK (unit ~ '\S')
);
COMMENT ON TABLE products IS 'Known products and their units, so that pieces and kilograms are never added up. A row is optional; a product without a unit is assumed to use the same unit as the others.';
COMMENT ON COLUMN products.organization_id IS 'The tenant.';
COMMENT ON COLUMN products.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN products.name IS 'Display name.';
COMMENT ON COLUMN products.unit IS 'Unit of the product''s demand, plans and forecasts, such as pieces or kg; NULL if unknown.';
COMMENT ON COLUMN products.created_at IS 'When the row was created.';
COMMENT ON COLUMN products.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS shifts (
    organization_id uuid NOT NULL,
    shift_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid NOT NULL,
    name text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    required_employees integer NOT NULL DEFAULT 1,
    required_skills text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    shift_code text,
    CONSTRAINT shifts_pkey PRIMARY KEY (organization_id, shift_id),
    CONSTRAINT shifts_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT shifts_organization_id_location_id_name_starts_at_key
        UNIQUE (organization_id, location_id, name, starts_at),
    -- Referenced by shift_assignments, so that its copy of the times follows the shift.
    CONSTRAINT shifts_organization_id_shift_id_starts_at_ends_at_key
        UNIQUE (organization_id, shift_id, starts_at, ends_at),
    CONSTRAINT shifts_organization_id_shift_code_key UNIQUE (organization_id, shift_code),
    CONSTRAINT shifts_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT shifts_shift_code_is_a_code_check CHECK (is_code(shift_code)),
    -- Together these two constraints rule out infinite times.
    CONSTRAINT shifts_ends_after_start_check CHECK (ends_at > starts_at),
    -- The local day on which clocks are set back has 25 hours.
    CONSTRAINT shifts_at_most_25_hours_check CHECK (ends_at <= starts_at + interval '25 hours'),
    CONSTRAINT shifts_starts_at_within_10_years_check CHECK (starts_at <= now() + interval '10 years'),
    CONSTRAINT shifts_required_employees_not_negative_check CHECK (required_employees >= 0),
    CONSTRAINT shifts_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS shifts_organization_id_starts_at_idx ON shifts (organization_id, starts_at);
COMMENT ON INDEX shifts_organization_id_starts_at_idx IS 'Serves get_shift_schedule, get_shift_coverage_gaps and planned_busy_time(): the shifts of a period.';
COMMENT ON TABLE shifts IS 'Shift schedules: when a location plans to work. A shift may span midnight or a daylight-saving change; its start and end are instants.';
COMMENT ON COLUMN shifts.organization_id IS 'The tenant.';
COMMENT ON COLUMN shifts.shift_id IS 'The shift.';
COMMENT ON COLUMN shifts.location_id IS 'Location where the shift is worked.';
COMMENT ON COLUMN shifts.name IS 'Display name, such as Morning.';
COMMENT ON COLUMN shifts.starts_at IS 'First instant of the shift.';
COMMENT ON COLUMN shifts.ends_at IS 'First instant after the shift, at most 25 hours after the start.';
COMMENT ON COLUMN shifts.required_employees IS 'Number of employees that the shift requires.';
COMMENT ON COLUMN shifts.required_skills IS 'Skills that must be present in the crew.';
COMMENT ON COLUMN shifts.metadata IS 'Additional attributes of the shift.';
COMMENT ON COLUMN shifts.created_at IS 'When the row was created.';
COMMENT ON COLUMN shifts.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS shift_assignments (
    organization_id uuid NOT NULL,
    shift_id uuid NOT NULL,
    employee_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'scheduled',
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shift_assignments_pkey PRIMARY KEY (organization_id, shift_id, employee_id),
    CONSTRAINT shift_assignments_organization_id_shift_id_fkey
        FOREIGN KEY (organization_id, shift_id, starts_at, ends_at)
        REFERENCES shifts (organization_id, shift_id, starts_at, ends_at) ON UPDATE CASCADE,
    CONSTRAINT shift_assignments_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees,
    CONSTRAINT shift_assignments_status_check CHECK (
        status IN ('scheduled', 'confirmed', 'completed', 'absent', 'cancelled')
    ),
    CONSTRAINT shift_assignments_employee_not_in_two_shifts_at_once_excl EXCLUDE USING gist (
        uuidrange(organization_id, organization_id, '[]') WITH &&,
        uuidrange(employee_id, employee_id, '[]') WITH &&,
        tstzrange(starts_at, ends_at) WITH &&
    ) WHERE (status <> 'cancelled')
);
CREATE INDEX IF NOT EXISTS shift_assignments_organization_id_employee_id_starts_at_idx
    ON shift_assignments (organization_id, employee_id, starts_at);
COMMENT ON INDEX shift_assignments_organization_id_employee_id_starts_at_idx IS 'Serves get_shift_schedule(employee_id) and the foreign key to employees.';
COMMENT ON TABLE shift_assignments IS 'Assignments of employees to shifts. An employee can be assigned to one shift at a time.';
COMMENT ON COLUMN shift_assignments.organization_id IS 'The tenant.';
COMMENT ON COLUMN shift_assignments.shift_id IS 'The shift.';
COMMENT ON COLUMN shift_assignments.employee_id IS 'The worker.';
COMMENT ON COLUMN shift_assignments.status IS 'scheduled, confirmed, completed, absent or cancelled.';
COMMENT ON COLUMN shift_assignments.starts_at IS 'Copy of the shift''s start, maintained by the database so that overlaps can be refused.';
COMMENT ON COLUMN shift_assignments.ends_at IS 'Copy of the shift''s end, maintained by the database.';
COMMENT ON COLUMN shift_assignments.created_at IS 'When the row was created.';
COMMENT ON COLUMN shift_assignments.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS production_plans (
    organization_id uuid NOT NULL,
    plan_id uuid NOT NULL DEFAULT gen_random_uuid(),
    location_id uuid NOT NULL,
    resource_id uuid,
    product_id text NOT NULL,
    plan_date date NOT NULL,
    planned_quantity numeric NOT NULL,
    actual_quantity numeric,
    status text NOT NULL DEFAULT 'planned',
    priority integer NOT NULL DEFAULT 3,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT production_plans_pkey PRIMARY KEY (organization_id, plan_id),
    CONSTRAINT production_plans_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT production_plans_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources,
    CONSTRAINT production_plans_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT production_plans_plan_date_finite_check CHECK (isfinite(plan_date)),
    CONSTRAINT production_plans_plan_date_within_10_years_check CHECK (plan_date <= now() + interval '10 years'),
    CONSTRAINT production_plans_planned_quantity_positive_check CHECK (
        planned_quantity > 0 AND planned_quantity < 'Infinity'
    ),
    CONSTRAINT production_plans_actual_quantity_not_negative_check CHECK (
        actual_quantity >= 0 AND actual_quantity < 'Infinity'
    ),
    CONSTRAINT production_plans_status_check CHECK (
        status IN ('planned', 'in_progress', 'completed', 'cancelled')
    ),
    CONSTRAINT production_plans_completed_has_actual_quantity_check CHECK (
        status <> 'completed' OR actual_quantity IS NOT NULL
    ),
    CONSTRAINT production_plans_priority_check CHECK (priority BETWEEN 1 AND 5),
    CONSTRAINT production_plans_metadata_object_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX IF NOT EXISTS production_plans_organization_id_plan_date_idx
    ON production_plans (organization_id, plan_date);
COMMENT ON INDEX production_plans_organization_id_plan_date_idx IS 'Serves get_production_plans, get_production_efficiency and plan attainment: the plans of a period.';
CREATE INDEX IF NOT EXISTS production_plans_organization_id_resource_id_idx
    ON production_plans (organization_id, resource_id, plan_date);
COMMENT ON INDEX production_plans_organization_id_resource_id_idx IS 'Serves get_production_plans(resource_id) and the foreign key to resources.';
COMMENT ON TABLE production_plans IS 'Production schedule: planned and actual quantities by location and day.';
COMMENT ON COLUMN production_plans.organization_id IS 'The tenant.';
COMMENT ON COLUMN production_plans.plan_id IS 'The plan.';
COMMENT ON COLUMN production_plans.location_id IS 'Location of the production.';
COMMENT ON COLUMN production_plans.resource_id IS 'Resource to produce on; NULL while undecided.';
COMMENT ON COLUMN production_plans.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN production_plans.plan_date IS 'Local day of the location on which the plan is due.';
COMMENT ON COLUMN production_plans.planned_quantity IS 'Quantity to produce, in the product''s unit.';
COMMENT ON COLUMN production_plans.actual_quantity IS 'Quantity produced, in the product''s unit; NULL while unknown.';
COMMENT ON COLUMN production_plans.status IS 'planned, in_progress, completed or cancelled.';
COMMENT ON COLUMN production_plans.priority IS '1 (highest) to 5 (lowest).';
COMMENT ON COLUMN production_plans.metadata IS 'Additional attributes of the plan.';
COMMENT ON COLUMN production_plans.created_at IS 'When the row was created.';
COMMENT ON COLUMN production_plans.updated_at IS 'When the row was last changed; maintained by the database.';
