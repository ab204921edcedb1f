-- Proposals for rosters and production plans: the changes that an optimization suggests, and their outcome.

-- name: create_schedule_proposal<!
-- Create a proposal and return its row.
-- Parameters: organization_id uuid, run_id uuid, kind text, location_id uuid?, window_start timestamptz,
--     window_end timestamptz, fingerprint text
INSERT INTO schedule_proposals (
    organization_id,
    run_id,
    kind,
    location_id,
    window_start,
    window_end,
    fingerprint
)
VALUES (
    %(organization_id)s,
    %(run_id)s,
    %(kind)s,
    %(location_id)s,
    %(window_start)s,
    %(window_end)s,
    %(fingerprint)s
)
RETURNING
    run_id,
    kind,
    location_id,
    window_start,
    window_end,
    status,
    fingerprint,
    decided_at,
    decided_by,
    decision,
    created_at,
    updated_at;

-- name: save_schedule_proposal_items!
-- Save the items of a proposal.
-- Parameters: organization_id uuid, run_id uuid, items jsonb
INSERT INTO schedule_proposal_items (
    organization_id,
    run_id,
    item_no,
    action,
    reason,
    shift_id,
    employee_id,
    plan_id,
    resource_id,
    work_date,
    work_hours,
    quantity
)
SELECT
    %(organization_id)s,
    %(run_id)s,
    i.item_no,
    i.action,
    i.reason,
    i.shift_id,
    i.employee_id,
    i.plan_id,
    i.resource_id,
    i.work_date,
    i.work_hours,
    i.quantity
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (
    item_no integer,
    action text,
    reason text,
    shift_id uuid,
    employee_id uuid,
    plan_id uuid,
    resource_id uuid,
    work_date date,
    work_hours numeric,
    quantity numeric
);

-- name: get_schedule_proposals
-- What was proposed, and what was the outcome?
-- Parameters: organization_id uuid, run_id uuid?, kind text?, status text?, row_limit integer
SELECT
    p.run_id,
    p.kind,
    p.location_id,
    p.window_start,
    p.window_end,
    p.status,
    p.fingerprint,
    p.decided_at,
    p.decided_by,
    p.decision,
    p.created_at,
    p.updated_at
FROM schedule_proposals AS p
WHERE p.organization_id = %(organization_id)s
    AND (%(run_id)s::uuid IS NULL OR p.run_id = %(run_id)s)
    AND (%(kind)s::text IS NULL OR p.kind = %(kind)s)
    AND (%(status)s::text IS NULL OR p.status = %(status)s)
ORDER BY
    p.created_at DESC,
    p.run_id
LIMIT %(row_limit)s;

-- name: get_schedule_proposal_items
-- What does this proposal keep, add, remove and move?
-- Parameters: organization_id uuid, run_id uuid, action text?
SELECT
    i.item_no,
    i.action,
    i.reason,
    i.shift_id,
    s.location_id,
    s.name AS shift_name,
    s.starts_at,
    s.ends_at,
    i.employee_id,
    e.full_name,
    i.plan_id,
    p.product_id,
    p.plan_date,
    i.resource_id,
    r.name AS resource_name,
    i.work_date,
    i.work_hours,
    i.quantity
FROM schedule_proposal_items AS i
LEFT JOIN shifts AS s
    ON s.organization_id = i.organization_id
    AND s.shift_id = i.shift_id
LEFT JOIN employees AS e
    ON e.organization_id = i.organization_id
    AND e.employee_id = i.employee_id
LEFT JOIN production_plans AS p
    ON p.organization_id = i.organization_id
    AND p.plan_id = i.plan_id
LEFT JOIN resources AS r
    ON r.organization_id = i.organization_id
    AND r.resource_id = i.resource_id
WHERE i.organization_id = %(organization_id)s
    AND i.run_id = %(run_id)s
    AND (%(action)s::text IS NULL OR i.action = %(action)s)
ORDER BY
    i.item_no;

-- name: decide_schedule_proposal<!
-- Record the outcome of a proposal and return its row.
-- Parameters: organization_id uuid, run_id uuid, status text, decided_by text?, decision text?
UPDATE schedule_proposals AS p
SET
    status = %(status)s,
    decided_at = now(),
    decided_by = %(decided_by)s,
    decision = %(decision)s
WHERE p.organization_id = %(organization_id)s
    AND p.run_id = %(run_id)s
    AND p.status = 'proposed'
RETURNING
    p.run_id,
    p.kind,
    p.location_id,
    p.window_start,
    p.window_end,
    p.status,
    p.fingerprint,
    p.decided_at,
    p.decided_by,
    p.decision,
    p.created_at,
    p.updated_at;

-- name: check_schedule_proposal
-- What status does this proposal have?
-- Parameters: organization_id uuid, run_id uuid
SELECT
    p.status
FROM schedule_proposals AS p
WHERE p.organization_id = %(organization_id)s
    AND p.run_id = %(run_id)s;

-- name: assign_plan_resource<!
-- Assign a plan to a resource and return its row.
-- Parameters: organization_id uuid, plan_id uuid, resource_id uuid?
UPDATE production_plans AS p
SET resource_id = %(resource_id)s
WHERE p.organization_id = %(organization_id)s
    AND p.plan_id = %(plan_id)s
    AND p.status IN ('planned', 'in_progress')
RETURNING
    p.plan_id,
    p.location_id,
    p.resource_id,
    p.product_id,
    p.plan_date,
    p.planned_quantity,
    p.actual_quantity,
    p.status,
    p.priority,
    p.metadata,
    p.created_at,
    p.updated_at;

-- name: get_production_schedule
-- What is planned on which resource and day, according to the applied proposals?
-- Parameters: organization_id uuid, location_id uuid?, resource_id uuid?, days integer?, first_date date?, end_date date?
WITH applied AS (
    SELECT
        i.plan_id,
        i.run_id,
        p.decided_at,
        -- The proposal applied last to a plan takes precedence.
        rank() OVER (PARTITION BY i.plan_id ORDER BY p.decided_at DESC, i.run_id) AS place
    FROM schedule_proposals AS p
    JOIN schedule_proposal_items AS i
        ON i.organization_id = p.organization_id
        AND i.run_id = p.run_id
    WHERE p.organization_id = %(organization_id)s
        AND i.organization_id = %(organization_id)s
        AND p.kind = 'plan'
        AND p.status = 'applied'
    GROUP BY
        i.plan_id,
        i.run_id,
        p.decided_at
)
SELECT
    i.work_date,
    i.resource_id,
    n.location_id,
    i.plan_id,
    n.product_id,
    n.plan_date,
    n.priority,
    i.work_hours,
    i.quantity,
    i.work_date > n.plan_date AS is_late,
    a.run_id,
    a.decided_at AS applied_at
FROM applied AS a
JOIN schedule_proposal_items AS i
    ON i.organization_id = %(organization_id)s
    AND i.run_id = a.run_id
    AND i.plan_id = a.plan_id
JOIN production_plans AS n
    ON n.organization_id = i.organization_id
    AND n.plan_id = i.plan_id
WHERE a.place = 1
    AND i.work_date IS NOT NULL
    AND n.organization_id = %(organization_id)s
    AND n.status IN ('planned', 'in_progress')
    AND (%(location_id)s::uuid IS NULL OR n.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR i.resource_id = %(resource_id)s)
    AND i.work_date >= coalesce(
        %(first_date)s::date,
        (
            SELECT local_date(now(), o.timezone)
            FROM organizations AS o
            WHERE o.organization_id = %(organization_id)s
        )
    )
    AND (
        CASE
            WHEN %(days)s::integer IS NULL THEN %(end_date)s::date IS NULL OR i.work_date < %(end_date)s
            ELSE
                i.work_date < (
                    SELECT local_date(now(), o.timezone) + %(days)s::integer
                    FROM organizations AS o
                    WHERE o.organization_id = %(organization_id)s
                )
        END
    )
ORDER BY
    i.work_date,
    i.resource_id,
    n.priority,
    i.plan_id;
