"""Anomalies and absences on the sample data: its stories are found once, and unfinished days do not count."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from barnameh.forecasting import detect_anomalies, forecast_absences
from db_utils import DatabaseManager, OperationalDataQueries

MANUFACTURING = UUID("11111111-1111-1111-1111-111111111111")


def test_stories_of_the_sample_data_are_found_once(seeded_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(seeded_database)
    newest = seeded_database.execute_query("SELECT max(time) AS time FROM resource_metrics")[0]["time"]
    now = newest + dt.timedelta(minutes=1)
    run = detect_anomalies(seeded_database, MANUFACTURING, as_of=now)
    names = {row["resource_id"]: row["name"] for row in queries.get_resources(MANUFACTURING)}
    found = {(names[one["resource_id"]], one["anomaly_type"]) for one in run.predictions}
    assert ("CNC Machine 2", "failure") in found
    assert ("Assembly Line 2", "bottleneck") in found
    assert {name for name, _ in found} == {"CNC Machine 2", "Assembly Line 2"}
    assert run.written == len(run.predictions)
    assert detect_anomalies(seeded_database, MANUFACTURING, as_of=now).written == 0
    (model,) = queries.get_forecast_models(MANUFACTURING, kind="anomaly")
    assert (model["role"], model["role_reason"]) == ("champion", "the first model")


def test_absences_are_told_from_days_that_are_over(seeded_database: DatabaseManager) -> None:
    queries = OperationalDataQueries(seeded_database)
    first = forecast_absences(seeded_database, MANUFACTURING)
    people = [one for one in first.forecasts if "employee_id" in one]
    assert first.written == len(first.forecasts)
    assert min(one["target_date"] for one in people) > first.available_at.date()
    assert all(0 <= one["absence_probability"] <= 1 for one in people)
    # The prediction is the same whatever today's rows contain.
    changed = seeded_database.execute(
        """INSERT INTO employee_attendance (organization_id, time, employee_id, status, hours_worked)
        SELECT organization_id, now(), employee_id, 'absent', 0
        FROM employees
        WHERE organization_id = %s""",
        (MANUFACTURING,),
    )
    assert changed > 0
    seeded_database.execute(
        """UPDATE employee_attendance SET status = 'absent', hours_worked = 0, performance_score = NULL
        WHERE organization_id = %s AND time >= %s""",
        (MANUFACTURING, first.available_at),
    )
    again = forecast_absences(seeded_database, MANUFACTURING)
    assert (again.forecasts, again.written) == (first.forecasts, 0)
    (model,) = queries.get_forecast_models(MANUFACTURING, kind="absence")
    assert (model["role"], model["config"]["target"]) == ("champion", "14 x day")
