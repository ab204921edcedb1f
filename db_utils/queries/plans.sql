-- Production plans: planned and produced quantities.

-- name: create_production_plan<!
-- Create a production plan and return its row.
-- Parameters: organization_id uuid, plan_id uuid?, location_id uuid, resource_id uuid?, product_id text, plan_date date,
--     planned_quantity numeric, priority integer, metadata jsonb
INSERT INTO production_plans (
    organization_id,
    plan_id,
    location_id,
    resource_id,
    product_id,
    plan_date,
    planned_quantity,
    priority,
    metadata
)
VALUES (
    %(organization_id)s,
    coalesce(%(plan_id)s, gen_random_uuid()),
    %(location_id)s,
    %(resource_id)s,
    %(product_id)s,
    %(plan_date)s,
    %(planned_quantity)s,
    %(priority)s,
    %(metadata)s
)
RETURNING
    plan_id,
    location_id,
    resource_id,
    product_id,
    plan_date,
    planned_quantity,
    actual_quantity,
    status,
    priority,
    metadata,
    created_at,
    updated_at;

-- name: record_plan_progress<!
-- Record how much of a plan has been produced so far and return the plan.
-- Parameters: organization_id uuid, plan_id uuid, actual_quantity numeric
UPDATE production_plans AS p
SET
    actual_quantity = %(actual_quantity)s,
    status = 'in_progress'
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

-- name: complete_production_plan<!
-- Complete a plan and return its row.
-- Parameters: organization_id uuid, plan_id uuid, actual_quantity numeric?
-- Without actual_quantity the last recorded progress is used; no row if there is none.
UPDATE production_plans AS p
SET
    actual_quantity = coalesce(%(actual_quantity)s, p.actual_quantity),
    status = 'completed'
WHERE p.organization_id = %(organization_id)s
    AND p.plan_id = %(plan_id)s
    AND p.status IN ('planned', 'in_progress')
    AND coalesce(%(actual_quantity)s, p.actual_quantity) IS NOT NULL
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

-- name: cancel_production_plan<!
-- Cancel a plan and return its row.
-- Parameters: organization_id uuid, plan_id uuid
UPDATE production_plans AS p
SET status = 'cancelled'
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

-- name: check_production_plan
-- What status does this plan have?
-- Parameters: organization_id uuid, plan_id uuid
SELECT
    p.status
FROM production_plans AS p
WHERE p.organization_id = %(organization_id)s
    AND p.plan_id = %(plan_id)s;

-- name: get_production_plans
-- What is planned where and when, and how much of it was produced?
-- Parameters: organization_id uuid, location_id uuid?, resource_id uuid?, status text?, days integer?, first_date date?,
--     end_date date?
SELECT
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
    p.updated_at
FROM production_plans AS p
WHERE p.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR p.location_id = %(location_id)s)
    AND (%(resource_id)s::uuid IS NULL OR p.resource_id = %(resource_id)s)
    AND (%(status)s::text IS NULL OR p.status = %(status)s)
    AND p.plan_date >= CASE
        WHEN %(first_date)s::date IS NOT NULL THEN %(first_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1 - %(days)s::integer
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
    AND p.plan_date < CASE
        WHEN %(end_date)s::date IS NOT NULL THEN %(end_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
ORDER BY
    p.plan_date,
    p.priority,
    p.product_id,
    p.plan_id;

-- name: get_production_efficiency
-- How much of the planned quantity was produced, by location and local day (completed plans only)?
-- Parameters: organization_id uuid, location_id uuid?, days integer?, first_date date?, end_date date?
SELECT
    v.location_id,
    v.plan_date,
    v.plan_count,
    v.planned_quantity,
    v.actual_quantity,
    v.efficiency_pct,
    v.reason
FROM production_efficiency AS v
WHERE v.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR v.location_id = %(location_id)s)
    AND v.plan_date >= CASE
        WHEN %(first_date)s::date IS NOT NULL THEN %(first_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1 - %(days)s::integer
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
    AND v.plan_date < CASE
        WHEN %(end_date)s::date IS NOT NULL THEN %(end_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
ORDER BY
    v.plan_date,
    v.location_id;

-- name: get_plan_attainment
-- How much of the quantity due was produced, by location and product (plans whose day is over, except cancelled ones)?
-- Parameters: organization_id uuid, location_id uuid?, days integer?, first_date date?, end_date date?
SELECT
    p.location_id,
    p.product_id,
    count(*) AS plan_count,
    count(p.actual_quantity) AS reported_count,
    sum(p.planned_quantity) FILTER (WHERE p.actual_quantity IS NOT NULL) AS planned_quantity,
    sum(p.actual_quantity) AS actual_quantity,
    100 * sum(p.actual_quantity)
        / sum(p.planned_quantity) FILTER (WHERE p.actual_quantity IS NOT NULL) AS attainment_pct
FROM production_plans AS p
JOIN locations AS l
    ON l.organization_id = p.organization_id
    AND l.location_id = p.location_id
WHERE p.organization_id = %(organization_id)s
    AND l.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR p.location_id = %(location_id)s)
    AND p.status <> 'cancelled'
    AND p.plan_date < local_date(now(), l.timezone)
    AND p.plan_date >= CASE
        WHEN %(first_date)s::date IS NOT NULL THEN %(first_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1 - %(days)s::integer
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
    AND p.plan_date < CASE
        WHEN %(end_date)s::date IS NOT NULL THEN %(end_date)s
        ELSE
            (
                SELECT local_date(now(), o.timezone) + 1
                FROM organizations AS o
                WHERE o.organization_id = %(organization_id)s
            )
    END
GROUP BY
    p.location_id,
    p.product_id
ORDER BY
    p.location_id,
    p.product_id;
