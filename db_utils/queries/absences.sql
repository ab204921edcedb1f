-- Absence forecasts: who is expected to be away, and how accurate the forecasts were.

-- name: save_absence_forecasts!
-- Save the predictions of one run and return how many are new.
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, forecasts jsonb
INSERT INTO absence_forecasts (
    organization_id,
    location_id,
    employee_id,
    target_date,
    absence_probability,
    expected_absences,
    model_name,
    model_version,
    available_at,
    metadata
)
SELECT
    %(organization_id)s,
    g.location_id,
    g.employee_id,
    g.target_date,
    g.absence_probability,
    g.expected_absences,
    %(model_name)s,
    %(model_version)s,
    %(available_at)s,
    coalesce(g.metadata, '{}')
FROM jsonb_to_recordset(%(forecasts)s::jsonb) AS g (
    location_id uuid,
    employee_id uuid,
    target_date date,
    absence_probability numeric,
    expected_absences numeric,
    metadata jsonb
)
ORDER BY
    g.target_date,
    g.location_id,
    g.employee_id
ON CONFLICT (organization_id, location_id, employee_id, target_date, available_at, model_name, model_version) DO NOTHING;

-- name: check_absence_forecasts
-- Which of these predictions were saved before with other values?
-- Parameters: organization_id uuid, model_name text, model_version text, available_at timestamptz, forecasts jsonb
SELECT
    f.location_id,
    f.employee_id,
    f.target_date
FROM jsonb_to_recordset(%(forecasts)s::jsonb) AS g (
    location_id uuid,
    employee_id uuid,
    target_date date,
    absence_probability numeric,
    expected_absences numeric,
    metadata jsonb
)
JOIN absence_forecasts AS f
    ON f.target_date = g.target_date
    AND f.location_id IS NOT DISTINCT FROM g.location_id
    AND f.employee_id IS NOT DISTINCT FROM g.employee_id
WHERE f.organization_id = %(organization_id)s
    AND f.model_name = %(model_name)s
    AND f.model_version = %(model_version)s
    AND f.available_at = %(available_at)s
    AND (f.absence_probability, f.expected_absences, f.metadata) IS DISTINCT FROM (
        g.absence_probability,
        g.expected_absences,
        coalesce(g.metadata, '{}')
    )
ORDER BY
    f.target_date,
    f.location_id,
    f.employee_id
LIMIT 3;

-- name: get_current_absence_forecasts
-- Who is expected to be away, and how many at each location, by the newest prediction for each day?
-- Parameters: organization_id uuid, location_id uuid?, employee_id uuid?, days integer?, first_date date?, end_date date?
SELECT
    f.target_date,
    f.location_id,
    f.employee_id,
    f.absence_probability,
    f.expected_absences,
    f.model_name,
    f.model_version,
    f.available_at,
    f.recorded_at
FROM current_absence_forecasts AS f
LEFT JOIN employees AS e
    ON e.organization_id = f.organization_id
    AND e.employee_id = f.employee_id
JOIN locations AS l
    ON l.organization_id = f.organization_id
    AND l.location_id = coalesce(f.location_id, e.location_id)
WHERE f.organization_id = %(organization_id)s
    AND l.organization_id = %(organization_id)s
    AND (%(location_id)s::uuid IS NULL OR f.location_id = %(location_id)s)
    AND (%(employee_id)s::uuid IS NULL OR f.employee_id = %(employee_id)s)
    -- Range of dates that can be today in any time zone; the location's own date decides.
    AND f.target_date >= coalesce(%(first_date)s::date, local_date(now(), 'UTC') - 1)
    AND f.target_date >= coalesce(%(first_date)s::date, local_date(now(), l.timezone))
    AND f.target_date < CASE
        WHEN %(end_date)s::date IS NOT NULL THEN %(end_date)s
        WHEN %(days)s::integer IS NULL THEN date 'infinity'
        ELSE local_date(now(), l.timezone) + %(days)s::integer
    END
ORDER BY
    f.target_date,
    f.location_id,
    f.employee_id;

-- name: get_absence_forecasts_as_of
-- As of a given time, who was expected to be away, and how many at each location?
-- Parameters: organization_id uuid, as_of timestamptz, known_by timestamptz?, first_date date?, end_date date?
SELECT
    f.target_date,
    f.location_id,
    f.employee_id,
    f.absence_probability,
    f.expected_absences,
    f.model_name,
    f.model_version,
    f.available_at,
    f.recorded_at
FROM absence_forecasts_as_of(
    %(organization_id)s,
    %(as_of)s,
    coalesce(%(first_date)s, date '-infinity'),
    coalesce(%(end_date)s, date 'infinity'),
    coalesce(%(known_by)s, timestamptz 'infinity')
) AS f
ORDER BY
    f.target_date,
    f.location_id,
    f.employee_id;

-- name: get_absence_forecast_accuracy
-- How accurate were the absence forecasts, by subject, model, version and lead time?
-- Parameters: organization_id uuid, days integer?, first_date date?, end_date date?
SELECT
    a.subject,
    a.model_name,
    a.model_version,
    a.lead_time_days,
    a.target_count,
    a.actual_absences,
    a.mae,
    a.bias,
    a.wape_pct,
    a.brier_score
FROM absence_forecast_accuracy(
    %(organization_id)s,
    coalesce(
        %(first_date)s,
        (
            SELECT local_date(now(), o.timezone) - %(days)s::integer
            FROM organizations AS o
            WHERE o.organization_id = %(organization_id)s
        )
    ),
    coalesce(
        %(end_date)s,
        (
            SELECT local_date(now(), o.timezone)
            FROM organizations AS o
            WHERE o.organization_id = %(organization_id)s
        )
    )
) AS a
ORDER BY
    a.subject,
    a.model_name,
    a.model_version,
    a.lead_time_days;
