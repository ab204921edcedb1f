-- Inputs of rosters and production plans other than shifts and plans themselves: contracts, known absences and resource
-- capabilities; and proposals, which are kept apart from the live roster until they are applied.

CREATE TABLE IF NOT EXISTS employee_contracts (
    organization_id uuid NOT NULL,
    employee_id uuid NOT NULL,
    valid_from date NOT NULL,
    hours_per_week numeric NOT NULL DEFAULT 40,
    max_hours_per_week numeric NOT NULL DEFAULT 48,
    min_rest_hours numeric NOT NULL DEFAULT 11,
    max_consecutive_days integer NOT NULL DEFAULT 6,
    may_work_at uuid[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT employee_contracts_pkey PRIMARY KEY (organization_id, employee_id, valid_from),
    CONSTRAINT employee_contracts_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees ON DELETE CASCADE,
    CONSTRAINT employee_contracts_valid_from_within_10_years_check CHECK (
        isfinite(valid_from) AND valid_from <= now() + interval '10 years'
    ),
    CONSTRAINT employee_contracts_hours_per_week_range_check CHECK (hours_per_week BETWEEN 0 AND 168),
    CONSTRAINT employee_contracts_max_hours_per_week_range_check CHECK (max_hours_per_week BETWEEN 0 AND 168),
    CONSTRAINT employee_contracts_hours_within_max_hours_check CHECK (hours_per_week <= max_hours_per_week),
    CONSTRAINT employee_contracts_min_rest_hours_range_check CHECK (min_rest_hours BETWEEN 0 AND 48),
    CONSTRAINT employee_contracts_max_consecutive_days_range_check CHECK (max_consecutive_days BETWEEN 1 AND 366),
    CONSTRAINT employee_contracts_may_work_at_without_null_check CHECK (array_position(may_work_at, NULL) IS NULL)
);
COMMENT ON TABLE employee_contracts IS 'Working-time limits and locations of each employee; a row is valid until the employee''s next one begins. Employees without a contract use the defaults in organizations.settings, {"planning": {"max_hours_per_week": 48}}.';
COMMENT ON COLUMN employee_contracts.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_contracts.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_contracts.valid_from IS 'First local day of validity, at the location where the worker is based.';
COMMENT ON COLUMN employee_contracts.hours_per_week IS 'Contracted hours per week, used to distribute work fairly.';
COMMENT ON COLUMN employee_contracts.max_hours_per_week IS 'Maximum hours of shifts per local week, Monday to Sunday; elapsed hours, even across a clock change.';
COMMENT ON COLUMN employee_contracts.min_rest_hours IS 'Minimum hours from the end of one shift to the start of the next, as elapsed time.';
COMMENT ON COLUMN employee_contracts.max_consecutive_days IS 'Maximum number of consecutive local days on which a shift begins.';
COMMENT ON COLUMN employee_contracts.may_work_at IS 'Locations whose shifts the worker may take, in addition to their own.';
COMMENT ON COLUMN employee_contracts.created_at IS 'When the row was created.';
COMMENT ON COLUMN employee_contracts.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS employee_unavailability (
    organization_id uuid NOT NULL,
    employee_id uuid NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    is_hard boolean NOT NULL DEFAULT true,
    weight numeric NOT NULL DEFAULT 1,
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT employee_unavailability_pkey PRIMARY KEY (organization_id, employee_id, starts_at, reason),
    CONSTRAINT employee_unavailability_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees ON DELETE CASCADE,
    CONSTRAINT employee_unavailability_ends_after_start_check CHECK (
        ends_at > starts_at AND isfinite(starts_at) AND isfinite(ends_at)
    ),
    CONSTRAINT employee_unavailability_starts_at_within_10_years_check CHECK (starts_at <= now() + interval '10 years'),
    CONSTRAINT employee_unavailability_reason_check CHECK (reason IN ('vacation', 'sick', 'training', 'wish', 'other')),
    CONSTRAINT employee_unavailability_weight_range_check CHECK (weight BETWEEN 0 AND 100),
    CONSTRAINT employee_unavailability_note_not_blank_check CHECK (note ~ '\S')
);
COMMENT ON TABLE employee_unavailability IS 'Times when an employee cannot or would rather not work. Periods may overlap; overlapping time counts once.';
COMMENT ON COLUMN employee_unavailability.organization_id IS 'The tenant.';
COMMENT ON COLUMN employee_unavailability.employee_id IS 'The worker.';
COMMENT ON COLUMN employee_unavailability.starts_at IS 'Start of the period.';
COMMENT ON COLUMN employee_unavailability.ends_at IS 'First instant after the period.';
COMMENT ON COLUMN employee_unavailability.reason IS 'vacation, sick, training, wish or other.';
COMMENT ON COLUMN employee_unavailability.is_hard IS 'True: no shift may overlap this period; false: a preference.';
COMMENT ON COLUMN employee_unavailability.weight IS 'Weight of a preference, 1 by default; ignored if is_hard.';
COMMENT ON COLUMN employee_unavailability.note IS 'Free-form note.';
COMMENT ON COLUMN employee_unavailability.created_at IS 'When the row was created.';
COMMENT ON COLUMN employee_unavailability.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS resource_capabilities (
    organization_id uuid NOT NULL,
    resource_id uuid NOT NULL,
    product_id text NOT NULL,
    rate_per_hour numeric,
    setup_minutes numeric NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT resource_capabilities_pkey PRIMARY KEY (organization_id, resource_id, product_id),
    CONSTRAINT resource_capabilities_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources ON DELETE CASCADE,
    CONSTRAINT resource_capabilities_product_id_not_blank_check CHECK (product_id ~ '\S'),
    CONSTRAINT resource_capabilities_rate_per_hour_positive_check CHECK (
        rate_per_hour > 0 AND rate_per_hour < 'Infinity'
    ),
    CONSTRAINT resource_capabilities_setup_minutes_range_check CHECK (setup_minutes BETWEEN 0 AND 1440)
);
COMMENT ON TABLE resource_capabilities IS 'Products that each resource can make, with production rate and setup time.';
COMMENT ON COLUMN resource_capabilities.organization_id IS 'The tenant.';
COMMENT ON COLUMN resource_capabilities.resource_id IS 'The resource.';
COMMENT ON COLUMN resource_capabilities.product_id IS 'The customer''s product code.';
COMMENT ON COLUMN resource_capabilities.rate_per_hour IS 'Good quantity produced per hour, in the product''s unit; NULL: the rate of the last 30 days.';
COMMENT ON COLUMN resource_capabilities.setup_minutes IS 'Setup time for the product, in minutes.';
COMMENT ON COLUMN resource_capabilities.created_at IS 'When the row was created.';
COMMENT ON COLUMN resource_capabilities.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS schedule_proposals (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL,
    kind text NOT NULL,
    location_id uuid,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'proposed',
    fingerprint text NOT NULL,
    decided_at timestamptz,
    decided_by text,
    decision text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedule_proposals_pkey PRIMARY KEY (organization_id, run_id),
    CONSTRAINT schedule_proposals_organization_id_run_id_fkey
        FOREIGN KEY (organization_id, run_id) REFERENCES optimization_runs ON DELETE CASCADE,
    CONSTRAINT schedule_proposals_organization_id_location_id_fkey
        FOREIGN KEY (organization_id, location_id) REFERENCES locations,
    CONSTRAINT schedule_proposals_kind_check CHECK (kind IN ('assignment', 'plan')),
    CONSTRAINT schedule_proposals_window_ends_after_start_check CHECK (
        window_end > window_start AND isfinite(window_start) AND isfinite(window_end)
    ),
    CONSTRAINT schedule_proposals_status_check CHECK (status IN ('proposed', 'applied', 'rejected', 'stale')),
    CONSTRAINT schedule_proposals_fingerprint_not_blank_check CHECK (fingerprint ~ '\S'),
    CONSTRAINT schedule_proposals_decided_at_unless_proposed_check CHECK (
        (status = 'proposed') = (decided_at IS NULL)
    ),
    CONSTRAINT schedule_proposals_decided_at_not_in_future_check CHECK (
        isfinite(decided_at) AND decided_at <= now() + interval '1 day'
    )
);
CREATE INDEX IF NOT EXISTS schedule_proposals_organization_id_created_at_idx
    ON schedule_proposals (organization_id, created_at DESC);
COMMENT ON INDEX schedule_proposals_organization_id_created_at_idx IS 'Serves get_schedule_proposals: the newest proposals.';
CREATE INDEX IF NOT EXISTS schedule_proposals_organization_id_location_id_idx
    ON schedule_proposals (organization_id, location_id);
COMMENT ON INDEX schedule_proposals_organization_id_location_id_idx IS 'Serves the foreign key to locations when one is deleted.';
COMMENT ON TABLE schedule_proposals IS 'Proposals of optimization runs, kept apart from the live roster and plans until they are applied.';
COMMENT ON COLUMN schedule_proposals.organization_id IS 'The tenant.';
COMMENT ON COLUMN schedule_proposals.run_id IS 'The optimization run that made the proposal.';
COMMENT ON COLUMN schedule_proposals.kind IS 'assignment (who works which shift) or plan (what is made on which resource on which day).';
COMMENT ON COLUMN schedule_proposals.location_id IS 'Location of the proposal; NULL for the whole organization.';
COMMENT ON COLUMN schedule_proposals.window_start IS 'Start of the period covered.';
COMMENT ON COLUMN schedule_proposals.window_end IS 'First instant after the period covered.';
COMMENT ON COLUMN schedule_proposals.status IS 'proposed, applied, rejected, or stale (the input data has changed since).';
COMMENT ON COLUMN schedule_proposals.fingerprint IS 'SHA-256 of the input data; compared before the proposal is applied.';
COMMENT ON COLUMN schedule_proposals.decided_at IS 'When it was applied, rejected, or found to be stale; NULL while proposed.';
COMMENT ON COLUMN schedule_proposals.decided_by IS 'User who decided, as named by the application.';
COMMENT ON COLUMN schedule_proposals.decision IS 'Reason for the decision, in plain language.';
COMMENT ON COLUMN schedule_proposals.created_at IS 'When the row was created.';
COMMENT ON COLUMN schedule_proposals.updated_at IS 'When the row was last changed; maintained by the database.';

CREATE TABLE IF NOT EXISTS schedule_proposal_items (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL,
    item_no integer NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    shift_id uuid,
    employee_id uuid,
    plan_id uuid,
    resource_id uuid,
    work_date date,
    work_hours numeric,
    quantity numeric,
    CONSTRAINT schedule_proposal_items_pkey PRIMARY KEY (organization_id, run_id, item_no),
    CONSTRAINT schedule_proposal_items_organization_id_run_id_fkey
        FOREIGN KEY (organization_id, run_id) REFERENCES schedule_proposals ON DELETE CASCADE,
    CONSTRAINT schedule_proposal_items_organization_id_shift_id_fkey
        FOREIGN KEY (organization_id, shift_id) REFERENCES shifts ON DELETE CASCADE,
    CONSTRAINT schedule_proposal_items_organization_id_employee_id_fkey
        FOREIGN KEY (organization_id, employee_id) REFERENCES employees ON DELETE CASCADE,
    CONSTRAINT schedule_proposal_items_organization_id_plan_id_fkey
        FOREIGN KEY (organization_id, plan_id) REFERENCES production_plans ON DELETE CASCADE,
    CONSTRAINT schedule_proposal_items_organization_id_resource_id_fkey
        FOREIGN KEY (organization_id, resource_id) REFERENCES resources ON DELETE CASCADE,
    CONSTRAINT schedule_proposal_items_item_no_positive_check CHECK (item_no > 0),
    CONSTRAINT schedule_proposal_items_action_check CHECK (action IN ('keep', 'add', 'remove', 'move')),
    CONSTRAINT schedule_proposal_items_reason_not_blank_check CHECK (reason ~ '\S'),
    CONSTRAINT schedule_proposal_items_assignment_or_plan_check CHECK (
        num_nonnulls(shift_id, employee_id) = 2
        AND action <> 'move'
        AND num_nonnulls(plan_id, resource_id, work_date, work_hours, quantity) = 0
        OR plan_id IS NOT NULL
        AND num_nonnulls(shift_id, employee_id) = 0
        AND num_nonnulls(resource_id, work_date, work_hours, quantity) = CASE action WHEN 'remove' THEN 0 ELSE 4 END
    ),
    CONSTRAINT schedule_proposal_items_work_date_finite_check CHECK (isfinite(work_date)),
    CONSTRAINT schedule_proposal_items_work_hours_range_check CHECK (work_hours >= 0 AND work_hours <= 25),
    CONSTRAINT schedule_proposal_items_quantity_not_negative_check CHECK (quantity >= 0 AND quantity < 'Infinity')
);
CREATE INDEX IF NOT EXISTS schedule_proposal_items_organization_id_shift_id_idx
    ON schedule_proposal_items (organization_id, shift_id);
COMMENT ON INDEX schedule_proposal_items_organization_id_shift_id_idx IS 'Serves the foreign key to shifts when one is deleted.';
CREATE INDEX IF NOT EXISTS schedule_proposal_items_organization_id_employee_id_idx
    ON schedule_proposal_items (organization_id, employee_id);
COMMENT ON INDEX schedule_proposal_items_organization_id_employee_id_idx IS 'Serves the foreign key to employees when one is deleted.';
CREATE INDEX IF NOT EXISTS schedule_proposal_items_organization_id_plan_id_idx
    ON schedule_proposal_items (organization_id, plan_id);
COMMENT ON INDEX schedule_proposal_items_organization_id_plan_id_idx IS 'Serves get_production_schedule, and the foreign key to production_plans when one is deleted.';
CREATE INDEX IF NOT EXISTS schedule_proposal_items_organization_id_resource_id_idx
    ON schedule_proposal_items (organization_id, resource_id);
COMMENT ON INDEX schedule_proposal_items_organization_id_resource_id_idx IS 'Serves the foreign key to resources when one is deleted.';
COMMENT ON TABLE schedule_proposal_items IS 'The individual changes of a proposal, and what it leaves unchanged. Written once; an item is deleted together with its shift, employee, plan or resource.';
COMMENT ON COLUMN schedule_proposal_items.organization_id IS 'The tenant.';
COMMENT ON COLUMN schedule_proposal_items.run_id IS 'The proposal.';
COMMENT ON COLUMN schedule_proposal_items.item_no IS 'Number of the item in the proposal, from 1.';
COMMENT ON COLUMN schedule_proposal_items.action IS 'keep, add or remove an assignment; keep a plan on its resource, add it to one, move it to another, or remove it (none of it can be made).';
COMMENT ON COLUMN schedule_proposal_items.reason IS 'Human-readable explanation.';
COMMENT ON COLUMN schedule_proposal_items.shift_id IS 'The shift, for an assignment.';
COMMENT ON COLUMN schedule_proposal_items.employee_id IS 'The employee, for an assignment.';
COMMENT ON COLUMN schedule_proposal_items.plan_id IS 'The plan, for a production plan.';
COMMENT ON COLUMN schedule_proposal_items.resource_id IS 'The resource on which this part of the plan is made.';
COMMENT ON COLUMN schedule_proposal_items.work_date IS 'Local day of the location on which the work is done; the plan''s plan_date is its due date.';
COMMENT ON COLUMN schedule_proposal_items.work_hours IS 'Hours of the resource on that day, including setup.';
COMMENT ON COLUMN schedule_proposal_items.quantity IS 'Good quantity made in these hours, in the product''s unit.';
