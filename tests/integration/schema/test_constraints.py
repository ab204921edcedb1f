"""Data that cannot be wrong quietly: each wrong row is refused under a name that says what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from db_utils import DatabaseManager
from db_utils.errors import (
    CheckViolationError,
    ConstraintViolationError,
    ExclusionViolationError,
    ForeignKeyViolationError,
    NotNullViolationError,
    UniqueViolationError,
    translate,
)

NOW = datetime.now(UTC).replace(microsecond=0)
OURS = UUID("aaaaaaaa-0000-0000-0000-000000000001")
THEIRS = UUID("bbbbbbbb-0000-0000-0000-000000000001")


def named(organization_id: UUID, suffix: int) -> UUID:
    return UUID(f"{str(organization_id)[:8]}-0000-0000-0000-{suffix:012d}")


LOCATION, RESOURCE, EMPLOYEE, SHIFT = (named(OURS, n) for n in (2, 3, 4, 5))
THEIR_LOCATION, THEIR_RESOURCE, THEIR_EMPLOYEE, THEIR_SHIFT = (named(THEIRS, n) for n in (2, 3, 4, 5))


# A row of each table that is right in every way.
RIGHT: dict[str, dict[str, Any]] = {
    "organizations": {"name": "Third", "industry": "testing", "timezone": "Europe/Paris"},
    "locations": {"name": "Other hall", "location_type": "factory"},
    "resources": {"name": "Other machine", "resource_type": "press", "location_id": LOCATION},
    "employees": {
        "location_id": LOCATION,
        "employee_code": "E2",
        "full_name": "Operator 2",
        "role": "operator",
    },
    "shifts": {
        "location_id": LOCATION,
        "name": "Late",
        "starts_at": NOW,
        "ends_at": NOW + timedelta(hours=8),
    },
    "shift_assignments": {"shift_id": SHIFT, "employee_id": EMPLOYEE},
    "production_plans": {
        "location_id": LOCATION,
        "product_id": "P",
        "plan_date": NOW.date(),
        "planned_quantity": 10,
    },
    "operational_events": {
        "time": NOW,
        "location_id": LOCATION,
        "resource_id": RESOURCE,
        "event_type": "production",
    },
    "demand_history": {"time": NOW, "product_id": "P", "location_id": LOCATION, "quantity": 1},
    "resource_metrics": {"time": NOW, "resource_id": RESOURCE, "utilization_pct": 50},
    "employee_attendance": {"time": NOW, "employee_id": EMPLOYEE, "status": "present", "hours_worked": 8},
    "demand_forecasts": {
        "product_id": "P",
        "location_id": LOCATION,
        "target_time": NOW + timedelta(days=1),
        "predicted_quantity": 5,
        "model_name": "m",
        "model_version": "1",
        "available_at": NOW,
    },
    "anomaly_predictions": {
        "resource_id": RESOURCE,
        "anomaly_type": "failure",
        "severity": "high",
        "probability": 0.5,
        "predicted_for": NOW + timedelta(hours=1),
        "model_name": "m",
        "model_version": "1",
        "available_at": NOW,
    },
    "absence_forecasts": {
        "employee_id": EMPLOYEE,
        "target_date": NOW.date(),
        "absence_probability": 0.1,
        "model_name": "m",
        "model_version": "1",
        "available_at": NOW,
    },
    "external_factors": {
        "time": NOW,
        "factor_type": "weather",
        "name": "temperature",
        "value": 20,
        "unit": "celsius",
        "available_at": NOW,
    },
    "optimization_runs": {"run_type": "routing", "algorithm": "local search", "started_at": NOW},
    "alerts": {"severity": "high", "alert_type": "test", "title": "Look"},
}

NAN, INFINITE = "NaN", "Infinity"
FAR = NOW + timedelta(days=2)
YEARS_OFF = NOW + timedelta(days=11 * 366)
CLOSED = {"status": "closed", "outcome": "confirmed", "occurred_at": NOW, "closed_at": NOW}
VIOLATIONS: list[tuple[str, dict[str, Any], str]] = [
    ("organizations", {"name": "  "}, "organizations_name_not_blank_check"),
    ("organizations", {"industry": ""}, "organizations_industry_not_blank_check"),
    ("organizations", {"timezone": "Mars/Olympus"}, "organizations_timezone_known_check"),
    ("organizations", {"settings": "[]"}, "organizations_settings_object_check"),
    ("locations", {"name": "\t"}, "locations_name_not_blank_check"),
    ("locations", {"location_type": "moon_base"}, "locations_location_type_check"),
    ("locations", {"timezone": "nowhere"}, "locations_timezone_known_check"),
    ("locations", {"latitude_degrees": 91}, "locations_latitude_degrees_range_check"),
    ("locations", {"longitude_degrees": NAN}, "locations_longitude_degrees_range_check"),
    ("resources", {"name": ""}, "resources_name_not_blank_check"),
    ("resources", {"resource_type": " "}, "resources_resource_type_not_blank_check"),
    ("resources", {"status": "asleep"}, "resources_status_check"),
    ("resources", {"rated_capacity_per_hour": 0}, "resources_rated_capacity_per_hour_positive_check"),
    ("resources", {"rated_capacity_per_hour": NAN}, "resources_rated_capacity_per_hour_positive_check"),
    ("resources", {"rated_capacity_per_hour": INFINITE}, "resources_rated_capacity_per_hour_positive_check"),
    ("resources", {"metadata": '"text"'}, "resources_metadata_object_check"),
    ("employees", {"full_name": ""}, "employees_full_name_not_blank_check"),
    ("employees", {"employee_code": ""}, "employees_employee_code_not_blank_check"),
    ("employees", {"role": ""}, "employees_role_not_blank_check"),
    ("resources", {"capacity_unit": " "}, "resources_capacity_unit_not_blank_check"),
    ("employees", {"hired_on_date": YEARS_OFF}, "employees_hired_on_date_within_10_years_check"),
    ("employees", {"skills": ["welding", None]}, "employees_skills_without_null_check"),
    ("shifts", {"ends_at": NOW}, "shifts_ends_after_start_check"),
    ("shifts", {"ends_at": NOW - timedelta(hours=1)}, "shifts_ends_after_start_check"),
    ("shifts", {"ends_at": NOW + timedelta(hours=25)}, "shifts_at_most_24_hours_check"),
    (
        "shifts",
        {"starts_at": YEARS_OFF, "ends_at": YEARS_OFF + timedelta(hours=8)},
        "shifts_starts_at_within_10_years_check",
    ),
    ("shifts", {"required_employees": -1}, "shifts_required_employees_not_negative_check"),
    ("shifts", {"name": ""}, "shifts_name_not_blank_check"),
    ("shift_assignments", {"status": "maybe"}, "shift_assignments_status_check"),
    ("production_plans", {"planned_quantity": 0}, "production_plans_planned_quantity_positive_check"),
    ("production_plans", {"planned_quantity": NAN}, "production_plans_planned_quantity_positive_check"),
    ("production_plans", {"actual_quantity": -1}, "production_plans_actual_quantity_not_negative_check"),
    ("production_plans", {"status": "completed"}, "production_plans_completed_has_actual_quantity_check"),
    ("production_plans", {"status": "late"}, "production_plans_status_check"),
    ("production_plans", {"priority": 6}, "production_plans_priority_check"),
    ("production_plans", {"plan_date": "infinity"}, "production_plans_plan_date_finite_check"),
    ("production_plans", {"plan_date": YEARS_OFF}, "production_plans_plan_date_within_10_years_check"),
    ("production_plans", {"product_id": ""}, "production_plans_product_id_not_blank_check"),
    ("operational_events", {"time": FAR}, "operational_events_time_not_in_future_check"),
    ("operational_events", {"event_type": "party"}, "operational_events_event_type_check"),
    ("operational_events", {"cause": " "}, "operational_events_cause_not_blank_check"),
    ("operational_events", {"product_id": ""}, "operational_events_product_id_not_blank_check"),
    ("operational_events", {"quantity": -1}, "operational_events_quantity_not_negative_check"),
    ("operational_events", {"quantity": NAN}, "operational_events_quantity_not_negative_check"),
    ("operational_events", {"quantity": INFINITE}, "operational_events_quantity_not_negative_check"),
    (
        "operational_events",
        {"event_type": "breakdown", "quantity": 1},
        "operational_events_quantity_only_when_producing_check",
    ),
    (
        "operational_events",
        {"quantity": 1, "scrap_quantity": 2},
        "operational_events_scrap_quantity_within_quantity_check",
    ),
    ("operational_events", {"quality_score": 101}, "operational_events_quality_score_range_check"),
    ("operational_events", {"quality_score": NAN}, "operational_events_quality_score_range_check"),
    (
        "operational_events",
        {"duration_minutes": -1},
        "operational_events_duration_minutes_at_most_a_day_check",
    ),
    (
        "operational_events",
        {"duration_minutes": 1441},
        "operational_events_duration_minutes_at_most_a_day_check",
    ),
    ("demand_history", {"time": FAR}, "demand_history_time_not_in_future_check"),
    ("demand_history", {"quantity": -1}, "demand_history_quantity_not_negative_check"),
    ("demand_history", {"quantity": NAN}, "demand_history_quantity_not_negative_check"),
    ("demand_history", {"revenue": INFINITE}, "demand_history_revenue_not_negative_check"),
    ("demand_history", {"product_id": ""}, "demand_history_product_id_not_blank_check"),
    ("resource_metrics", {"time": FAR}, "resource_metrics_time_not_in_future_check"),
    ("resource_metrics", {"utilization_pct": 100.01}, "resource_metrics_utilization_pct_range_check"),
    ("resource_metrics", {"utilization_pct": NAN}, "resource_metrics_utilization_pct_range_check"),
    ("resource_metrics", {"efficiency_pct": -0.1}, "resource_metrics_efficiency_pct_range_check"),
    ("resource_metrics", {"downtime_minutes": 2}, "resource_metrics_downtime_minutes_within_sample_check"),
    ("resource_metrics", {"sample_minutes": 0}, "resource_metrics_sample_minutes_range_check"),
    ("employee_attendance", {"time": FAR}, "employee_attendance_time_not_in_future_check"),
    ("employee_attendance", {"status": "asleep", "hours_worked": 0}, "employee_attendance_status_check"),
    ("employee_attendance", {"hours_worked": 25}, "employee_attendance_hours_worked_range_check"),
    ("employee_attendance", {"scheduled_hours": 0}, "employee_attendance_scheduled_hours_range_check"),
    ("employee_attendance", {"status": "absent"}, "employee_attendance_no_hours_when_away_check"),
    (
        "employee_attendance",
        {"status": "sick", "hours_worked": 0, "performance_score": 50},
        "employee_attendance_no_score_when_away_check",
    ),
    ("employee_attendance", {"performance_score": 101}, "employee_attendance_performance_score_range_check"),
    (
        "demand_forecasts",
        {"predicted_quantity": NAN},
        "demand_forecasts_predicted_quantity_not_negative_check",
    ),
    (
        "demand_forecasts",
        {"lower_bound": 6, "upper_bound": 7},
        "demand_forecasts_bounds_around_prediction_check",
    ),
    ("demand_forecasts", {"lower_bound": 1}, "demand_forecasts_bounds_both_or_none_check"),
    (
        "demand_forecasts",
        {"lower_bound": 1, "upper_bound": INFINITE},
        "demand_forecasts_bounds_finite_check",
    ),
    (
        "demand_forecasts",
        {"available_at": NOW + timedelta(hours=2)},
        "demand_forecasts_available_at_not_in_future_check",
    ),
    (
        "demand_forecasts",
        {"target_time": NOW + timedelta(days=4000)},
        "demand_forecasts_target_time_within_10_years_check",
    ),
    ("demand_forecasts", {"target_time": "infinity"}, "demand_forecasts_target_time_within_10_years_check"),
    ("demand_forecasts", {"target_interval": "0"}, "demand_forecasts_target_interval_positive_check"),
    (
        "demand_forecasts",
        {"interval_coverage_pct": 100},
        "demand_forecasts_interval_coverage_pct_range_check",
    ),
    ("demand_forecasts", {"model_name": ""}, "demand_forecasts_model_name_not_blank_check"),
    ("demand_forecasts", {"model_version": ""}, "demand_forecasts_model_version_not_blank_check"),
    ("anomaly_predictions", {"probability": 1.1}, "anomaly_predictions_probability_range_check"),
    ("anomaly_predictions", {"probability": NAN}, "anomaly_predictions_probability_range_check"),
    ("anomaly_predictions", {"severity": "bad"}, "anomaly_predictions_severity_check"),
    ("anomaly_predictions", {"anomaly_type": "odd"}, "anomaly_predictions_anomaly_type_check"),
    ("anomaly_predictions", {"status": "closed"}, "anomaly_predictions_closed_has_outcome_check"),
    (
        "anomaly_predictions",
        {"outcome": "confirmed", "occurred_at": NOW},
        "anomaly_predictions_closed_has_outcome_check",
    ),
    (
        "anomaly_predictions",
        {"status": "closed", "closed_at": NOW, "outcome": "confirmed"},
        "anomaly_predictions_occurred_at_when_confirmed_check",
    ),
    (
        "anomaly_predictions",
        {"status": "closed", "closed_at": NOW - timedelta(days=1), "outcome": "unknown"},
        "anomaly_predictions_closed_after_available_check",
    ),
    ("absence_forecasts", {"location_id": LOCATION}, "absence_forecasts_employee_or_location_check"),
    ("absence_forecasts", {"employee_id": None}, "absence_forecasts_employee_or_location_check"),
    ("absence_forecasts", {"absence_probability": None}, "absence_forecasts_probability_for_employee_check"),
    ("absence_forecasts", {"expected_absences": 1}, "absence_forecasts_expected_absences_for_location_check"),
    ("absence_forecasts", {"absence_probability": 2}, "absence_forecasts_absence_probability_range_check"),
    (
        "absence_forecasts",
        {"target_date": "2099-01-01"},
        "absence_forecasts_target_date_within_10_years_check",
    ),
    ("external_factors", {"factor_type": "gossip"}, "external_factors_factor_type_check"),
    ("external_factors", {"value": NAN}, "external_factors_value_finite_check"),
    ("external_factors", {"unit": ""}, "external_factors_unit_not_blank_check"),
    ("external_factors", {"name": ""}, "external_factors_name_not_blank_check"),
    (
        "external_factors",
        {"available_at": NOW + timedelta(hours=2)},
        "external_factors_available_at_not_in_future_check",
    ),
    ("external_factors", {"time": NOW + timedelta(days=4000)}, "external_factors_time_within_10_years_check"),
    ("optimization_runs", {"run_type": "magic"}, "optimization_runs_run_type_check"),
    ("optimization_runs", {"algorithm": ""}, "optimization_runs_algorithm_not_blank_check"),
    (
        "optimization_runs",
        {"status": "failed", "finished_at": NOW - timedelta(hours=1)},
        "optimization_runs_finished_after_start_check",
    ),
    ("optimization_runs", {"status": "failed"}, "optimization_runs_finished_at_unless_running_check"),
    ("optimization_runs", {"finished_at": NOW}, "optimization_runs_finished_at_unless_running_check"),
    (
        "optimization_runs",
        {"status": "completed", "finished_at": NOW},
        "optimization_runs_completed_has_result_check",
    ),
    ("optimization_runs", {"objective_value": INFINITE}, "optimization_runs_objective_value_finite_check"),
    ("optimization_runs", {"started_at": FAR}, "optimization_runs_started_at_not_in_future_check"),
    ("alerts", {"title": ""}, "alerts_title_not_blank_check"),
    ("alerts", {"alert_type": ""}, "alerts_alert_type_not_blank_check"),
    ("alerts", {"severity": "bad"}, "alerts_severity_check"),
    ("alerts", {"status": "gone"}, "alerts_status_check"),
    ("alerts", {"status": "acknowledged"}, "alerts_acknowledged_has_time_check"),
    ("alerts", {"status": "resolved"}, "alerts_resolved_has_time_check"),
    ("alerts", {"acknowledged_at": NOW + timedelta(hours=1)}, "alerts_active_without_times_check"),
    (
        "alerts",
        {"status": "resolved", "resolved_at": NOW - timedelta(days=1)},
        "alerts_resolved_after_created_check",
    ),
    ("alerts", {"created_at": FAR}, "alerts_created_at_not_in_future_check"),
    (
        "alerts",
        {"status": "acknowledged", "acknowledged_at": NOW - timedelta(days=1)},
        "alerts_acknowledged_after_created_check",
    ),
    ("locations", {"metadata": "[1]"}, "locations_metadata_object_check"),
    ("employees", {"metadata": "[1]"}, "employees_metadata_object_check"),
    ("shifts", {"metadata": "[1]"}, "shifts_metadata_object_check"),
    ("production_plans", {"metadata": "[1]"}, "production_plans_metadata_object_check"),
    ("operational_events", {"metadata": "[1]"}, "operational_events_metadata_object_check"),
    ("demand_history", {"metadata": "[1]"}, "demand_history_metadata_object_check"),
    ("resource_metrics", {"metadata": "[1]"}, "resource_metrics_metadata_object_check"),
    ("employee_attendance", {"metadata": "[1]"}, "employee_attendance_metadata_object_check"),
    ("demand_forecasts", {"metadata": "[1]"}, "demand_forecasts_metadata_object_check"),
    ("anomaly_predictions", {"metadata": "[1]"}, "anomaly_predictions_metadata_object_check"),
    ("absence_forecasts", {"metadata": "[1]"}, "absence_forecasts_metadata_object_check"),
    ("external_factors", {"metadata": "[1]"}, "external_factors_metadata_object_check"),
    ("alerts", {"metadata": "[1]"}, "alerts_metadata_object_check"),
    ("optimization_runs", {"parameters": "[1]"}, "optimization_runs_parameters_object_check"),
    ("optimization_runs", {"status": "stuck", "finished_at": NOW}, "optimization_runs_status_check"),
    ("anomaly_predictions", {"status": "seen"}, "anomaly_predictions_status_check"),
    (
        "anomaly_predictions",
        {"status": "closed", "closed_at": NOW, "outcome": "perhaps"},
        "anomaly_predictions_outcome_check",
    ),
    (
        "anomaly_predictions",
        {"status": "closed", "closed_at": NOW, "outcome": "confirmed", "occurred_at": "infinity"},
        "anomaly_predictions_occurred_at_finite_check",
    ),
    (
        "anomaly_predictions",
        {"available_at": NOW + timedelta(hours=2)},
        "anomaly_predictions_available_at_not_in_future_check",
    ),
    (
        "anomaly_predictions",
        {"predicted_for": "infinity"},
        "anomaly_predictions_predicted_for_within_10_years_check",
    ),
    (
        "anomaly_predictions",
        {**CLOSED, "closed_at": FAR},
        "anomaly_predictions_closed_at_not_in_future_check",
    ),
    (
        "anomaly_predictions",
        {**CLOSED, "occurred_at": FAR},
        "anomaly_predictions_occurred_at_not_in_future_check",
    ),
    (
        "optimization_runs",
        {"status": "failed", "finished_at": FAR},
        "optimization_runs_finished_at_not_in_future_check",
    ),
    (
        "alerts",
        {"status": "acknowledged", "acknowledged_at": FAR},
        "alerts_acknowledged_at_not_in_future_check",
    ),
    ("alerts", {"status": "resolved", "resolved_at": FAR}, "alerts_resolved_at_not_in_future_check"),
    ("anomaly_predictions", {"model_name": ""}, "anomaly_predictions_model_name_not_blank_check"),
    ("anomaly_predictions", {"model_version": ""}, "anomaly_predictions_model_version_not_blank_check"),
    (
        "absence_forecasts",
        {"available_at": NOW + timedelta(hours=2)},
        "absence_forecasts_available_at_not_in_future_check",
    ),
    ("absence_forecasts", {"model_name": ""}, "absence_forecasts_model_name_not_blank_check"),
    ("absence_forecasts", {"model_version": ""}, "absence_forecasts_model_version_not_blank_check"),
    (
        "absence_forecasts",
        {"employee_id": None, "absence_probability": None, "location_id": LOCATION, "expected_absences": -1},
        "absence_forecasts_expected_absences_not_negative_check",
    ),
    ("demand_forecasts", {"product_id": ""}, "demand_forecasts_product_id_not_blank_check"),
    ("shifts", {"starts_at": "-infinity", "ends_at": "-infinity"}, "shifts_ends_after_start_check"),
    ("shifts", {"ends_at": "infinity"}, "shifts_at_most_24_hours_check"),
]

FOREIGN_ROWS: list[tuple[str, dict[str, Any]]] = [
    ("resources", {"location_id": THEIR_LOCATION}),
    ("employees", {"location_id": THEIR_LOCATION}),
    ("shifts", {"location_id": THEIR_LOCATION}),
    ("shift_assignments", {"shift_id": THEIR_SHIFT}),
    ("shift_assignments", {"employee_id": THEIR_EMPLOYEE}),
    ("production_plans", {"location_id": THEIR_LOCATION}),
    ("production_plans", {"resource_id": THEIR_RESOURCE}),
    ("operational_events", {"location_id": THEIR_LOCATION}),
    ("operational_events", {"resource_id": THEIR_RESOURCE}),
    ("operational_events", {"employee_id": THEIR_EMPLOYEE}),
    ("demand_history", {"location_id": THEIR_LOCATION}),
    ("resource_metrics", {"resource_id": THEIR_RESOURCE}),
    ("employee_attendance", {"employee_id": THEIR_EMPLOYEE}),
    ("employee_attendance", {"shift_id": THEIR_SHIFT}),
    ("demand_forecasts", {"location_id": THEIR_LOCATION}),
    ("anomaly_predictions", {"resource_id": THEIR_RESOURCE}),
    ("absence_forecasts", {"employee_id": THEIR_EMPLOYEE}),
    (
        "absence_forecasts",
        {
            "employee_id": None,
            "absence_probability": None,
            "location_id": THEIR_LOCATION,
            "expected_absences": 1,
        },
    ),
    ("external_factors", {"location_id": THEIR_LOCATION}),
    ("alerts", {"location_id": THEIR_LOCATION}),
    ("alerts", {"resource_id": THEIR_RESOURCE}),
    ("alerts", {"anomaly_id": named(THEIRS, 9)}),
]


def insert(db: Any, table: str, values: dict[str, Any], organization_id: UUID = OURS) -> None:
    row = dict(values) if table == "organizations" else {"organization_id": organization_id, **values}
    columns, marks = ", ".join(row), ", ".join(f"%({column})s" for column in row)
    assert db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row) == 1


@pytest.fixture
def two_organizations(empty_database: DatabaseManager) -> DatabaseManager:
    for organization_id in (OURS, THEIRS):
        location, resource, employee, shift = (named(organization_id, n) for n in (2, 3, 4, 5))
        insert(
            empty_database,
            "organizations",
            {"organization_id": organization_id, "name": str(organization_id)[:8], "industry": "testing"},
        )
        rows: list[tuple[str, dict[str, Any]]] = [
            ("locations", {"location_id": location, "name": "Hall", "location_type": "factory"}),
            (
                "resources",
                {
                    "resource_id": resource,
                    "location_id": location,
                    "name": "Machine",
                    "resource_type": "press",
                },
            ),
            (
                "employees",
                {
                    "employee_id": employee,
                    "location_id": location,
                    "employee_code": "E1",
                    "full_name": "Operator 1",
                    "role": "operator",
                },
            ),
            (
                "shifts",
                {
                    "shift_id": shift,
                    "location_id": location,
                    "name": "Early",
                    "starts_at": NOW - timedelta(hours=8),
                    "ends_at": NOW,
                },
            ),
        ]
        for table, values in rows:
            insert(empty_database, table, values, organization_id)
    return empty_database


@pytest.fixture
def attempt(two_organizations: DatabaseManager) -> Any:
    """Tries to insert a row and leaves nothing behind."""

    def insert_and_undo(table: str, values: dict[str, Any]) -> None:
        with two_organizations.connection() as connection:
            row = {**RIGHT[table], **values}
            if table != "organizations":
                row["organization_id"] = OURS
            columns, marks = ", ".join(row), ", ".join(f"%({column})s" for column in row)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)
            except psycopg2.Error as error:
                raise translate(error) from None
            finally:
                connection.rollback()

    return insert_and_undo


def test_wrong_rows_are_refused_under_a_telling_name(attempt: Any) -> None:
    for table in RIGHT:
        attempt(table, {})  # right in every way, so that each refusal below is about what was changed
    for table, wrong, constraint in VIOLATIONS:
        with pytest.raises(CheckViolationError) as refusal:
            attempt(table, wrong)
        # The server checks in alphabetical order; a row wrong in one way only breaks one rule.
        assert refusal.value.constraint == constraint, (table, wrong)
        assert refusal.value.sqlstate == "23514"


def test_every_check_is_broken_once(empty_database: DatabaseManager) -> None:
    """A new CHECK without a case above fails here."""
    tested = {constraint for _, _, constraint in VIOLATIONS}
    rows = empty_database.execute_query(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace "
        "AND conrelid <> 0 AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = conrelid)"
    )
    # These hold for tenants, not for the owner: the isolation test breaks them.
    tenants = {
        row["conname"] for row in rows if row["conname"].endswith("_organization_id_is_tenants_own_check")
    }
    assert {row["conname"] for row in rows} - tenants == tested


def test_a_row_cannot_point_to_another_organization(attempt: Any) -> None:
    for table, foreign in FOREIGN_ROWS:
        with pytest.raises(ForeignKeyViolationError):
            attempt(table, foreign)


def test_the_list_of_foreign_keys_is_whole(empty_database: DatabaseManager) -> None:
    """A new foreign key without a case above fails here."""
    rows = empty_database.execute_query(
        """
        SELECT c.conrelid::regclass::text AS table_name, a.attname AS column_name
        FROM pg_constraint AS c
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
            AND a.attname NOT IN ('organization_id', 'starts_at', 'ends_at')
        """
    )
    assert {(r["table_name"], r["column_name"]) for r in rows} == {
        (table, column)
        for table, foreign in FOREIGN_ROWS
        for column, value in foreign.items()
        if str(value).startswith("bbbbbbbb")
    }


def test_missing_values_and_missing_organizations(two_organizations: DatabaseManager) -> None:
    with pytest.raises(NotNullViolationError) as missing:
        insert(two_organizations, "demand_history", {**RIGHT["demand_history"], "quantity": None})
    assert missing.value.column == "quantity"
    for table, values in RIGHT.items():
        if table != "organizations":
            with pytest.raises(ConstraintViolationError):
                insert(two_organizations, table, values, organization_id=named(OURS, 99))


def test_an_employee_is_in_one_shift_at_a_time(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    overlapping, following = named(OURS, 6), named(OURS, 7)
    half = timedelta(minutes=30)
    insert(
        db,
        "shifts",
        {
            "shift_id": overlapping,
            "location_id": LOCATION,
            "name": "Overlapping",
            "starts_at": NOW - half,
            "ends_at": NOW + timedelta(hours=7),
        },
    )
    insert(
        db,
        "shifts",
        {
            "shift_id": following,
            "location_id": LOCATION,
            "name": "Next",
            "starts_at": NOW,
            "ends_at": NOW + timedelta(hours=8),
        },
    )
    insert(db, "shift_assignments", {"shift_id": SHIFT, "employee_id": EMPLOYEE})
    with pytest.raises(ExclusionViolationError) as overlap:
        insert(db, "shift_assignments", {"shift_id": overlapping, "employee_id": EMPLOYEE})
    assert overlap.value.constraint == "shift_assignments_employee_not_in_two_shifts_at_once_excl"
    insert(db, "shift_assignments", {"shift_id": overlapping, "employee_id": EMPLOYEE, "status": "cancelled"})
    insert(db, "shift_assignments", {"shift_id": following, "employee_id": EMPLOYEE})
    # Moving a shift moves its assignments, and is refused where they would overlap.
    with pytest.raises(ExclusionViolationError):
        db.execute(
            "UPDATE shifts SET starts_at = starts_at - interval '1 hour' WHERE shift_id = %s", (following,)
        )
    assert (
        db.execute(
            "UPDATE shifts SET ends_at = ends_at - interval '1 hour' WHERE shift_id = %s", (following,)
        )
        == 1
    )
    moved = db.execute_query("SELECT ends_at FROM shift_assignments WHERE shift_id = %s", (following,))
    assert moved[0]["ends_at"] == NOW + timedelta(hours=7)
    # The times are the database's: what a writer says of them does not count.
    assert db.execute("DELETE FROM shift_assignments WHERE shift_id = %s", (following,)) == 1
    insert(
        db,
        "shift_assignments",
        {
            "shift_id": following,
            "employee_id": EMPLOYEE,
            "starts_at": NOW + timedelta(days=9),
            "ends_at": NOW + timedelta(days=10),
        },
    )
    kept = db.execute_query("SELECT starts_at FROM shift_assignments WHERE shift_id = %s", (following,))
    assert kept[0]["starts_at"] == NOW


def test_duplicates_meet_the_key(two_organizations: DatabaseManager) -> None:
    event = {**RIGHT["operational_events"], "event_id": named(OURS, 50)}
    for table, row in [("operational_events", event)] + [
        (t, RIGHT[t])
        for t in (
            "demand_history",
            "resource_metrics",
            "employee_attendance",
            "demand_forecasts",
            "external_factors",
        )
    ]:
        insert(two_organizations, table, row)
        with pytest.raises(UniqueViolationError):
            insert(two_organizations, table, row)


def test_the_database_keeps_the_clock(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    for table in ("demand_forecasts", "anomaly_predictions", "absence_forecasts", "external_factors"):
        insert(db, table, {**RIGHT[table], "recorded_at": long_ago})
        recorded = db.execute_query(f"SELECT recorded_at FROM {table}")[0]["recorded_at"]
        assert abs(recorded - datetime.now(UTC)) < timedelta(minutes=5)
        with pytest.raises(CheckViolationError) as refusal:
            db.execute(f"UPDATE {table} SET recorded_at = %s", (long_ago,))
        assert refusal.value.constraint == f"{table}_append_only_check"
    db.execute("UPDATE resources SET updated_at = %s", (long_ago,))
    assert all(r["updated_at"] > long_ago for r in db.execute_query("SELECT updated_at FROM resources"))


def test_what_was_predicted_stays(two_organizations: DatabaseManager) -> None:
    db = two_organizations
    for table, change in (
        ("demand_forecasts", "predicted_quantity = 6"),
        ("absence_forecasts", "absence_probability = 0.9"),
        ("external_factors", "value = 30"),
        ("anomaly_predictions", "probability = 0.9"),
    ):
        insert(db, table, RIGHT[table])
        with pytest.raises(CheckViolationError) as refusal:
            db.execute(f"UPDATE {table} SET {change}")
        assert refusal.value.constraint == f"{table}_append_only_check"
    assert (
        db.execute(
            "UPDATE anomaly_predictions SET status = 'closed', outcome = 'confirmed', occurred_at = now(), closed_at = now()"
        )
        == 1
    )


def test_what_points_to_rows_that_are_deleted_is_found_by_an_index(empty_database: DatabaseManager) -> None:
    """Else each delete of an employee, say, reads all that the organization has. Sites are not deleted from day to day."""
    unserved = empty_database.execute_query(
        "SELECT k.conname FROM pg_constraint AS k "
        "WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND k.confrelid <> 'locations'::regclass "
        "AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid "
        "AND (i.indkey::int2[])[0:least(cardinality(k.conkey), 2) - 1] <@ k.conkey "
        "AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$'))"
    )
    assert unserved == []
