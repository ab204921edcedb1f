-- name: sample_arguments
SELECT o.organization_id, o.name AS organization_name, r.resource_id, r.location_id, e.employee_id,
    s.shift_id, d.product_id, a.anomaly_id, u.run_id
FROM organizations AS o
LEFT JOIN LATERAL (
    SELECT f.product_id, f.location_id FROM current_demand_forecasts AS f
    WHERE f.organization_id = o.organization_id ORDER BY f.target_time DESC, f.product_id, f.location_id LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT x.resource_id, x.location_id FROM resources AS x
    WHERE x.organization_id = o.organization_id ORDER BY x.location_id = d.location_id DESC, x.name LIMIT 1
) AS r ON true
LEFT JOIN LATERAL (
    SELECT x.employee_id FROM employees AS x WHERE x.organization_id = o.organization_id ORDER BY x.employee_code LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT x.shift_id FROM shifts AS x WHERE x.organization_id = o.organization_id ORDER BY x.starts_at DESC, x.shift_id LIMIT 1
) AS s ON true
LEFT JOIN LATERAL (
    SELECT x.anomaly_id FROM anomaly_predictions AS x
    WHERE x.organization_id = o.organization_id ORDER BY x.available_at DESC, x.anomaly_id LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT x.run_id FROM optimization_runs AS x
    WHERE x.organization_id = o.organization_id ORDER BY x.started_at DESC, x.run_id LIMIT 1
) AS u ON true
ORDER BY o.organization_id <> '11111111-1111-1111-1111-111111111111', o.name, o.organization_id
LIMIT 1
