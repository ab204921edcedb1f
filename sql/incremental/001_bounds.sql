-- Version 3: bounds on times in the future, and no blank units. A row that violates a constraint stops the upgrade with an
-- error that names the constraint; correct the row and apply the schema again.

DO $$
DECLARE
    added record;
BEGIN
    FOR added IN
        SELECT
            a.table_name,
            a.table_name || '_' || a.rule || '_check' AS check_name,
            a.condition
        FROM (
            VALUES
                ('resources', 'capacity_unit_not_blank', $check$capacity_unit ~ '\S'$check$),
                (
                    'employees', 'hired_on_date_within_10_years',
                    $check$isfinite(hired_on_date) AND hired_on_date <= now() + interval '10 years'$check$
                ),
                ('shifts', 'starts_at_within_10_years', $check$starts_at <= now() + interval '10 years'$check$),
                ('production_plans', 'plan_date_within_10_years', $check$plan_date <= now() + interval '10 years'$check$),
                ('anomaly_predictions', 'closed_at_not_in_future', $check$closed_at <= now() + interval '1 day'$check$),
                ('anomaly_predictions', 'occurred_at_not_in_future', $check$occurred_at <= now() + interval '1 day'$check$),
                ('optimization_runs', 'finished_at_not_in_future', $check$finished_at <= now() + interval '1 day'$check$),
                ('resource_metrics', 'downtime_minutes_at_most_a_day', $check$downtime_minutes <= 1440$check$),
                ('alerts', 'acknowledged_at_not_in_future', $check$acknowledged_at <= now() + interval '1 day'$check$),
                ('alerts', 'resolved_at_not_in_future', $check$resolved_at <= now() + interval '1 day'$check$)
        ) AS a (table_name, rule, condition)
    LOOP
        IF NOT EXISTS (
            SELECT
            FROM pg_constraint AS k
            WHERE k.conrelid = added.table_name::regclass
                AND k.conname = added.check_name
        ) THEN
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s)', added.table_name, added.check_name, added.condition);
        END IF;
    END LOOP;
END
$$;
