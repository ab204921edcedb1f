-- Verify that this database's schema is complete. Raises a single exception that lists everything that is missing or wrong,
-- and prints nothing otherwise. Read-only. Run it as the owner of the schema:
--
--     psql "$DATABASE_URL" -X -v ON_ERROR_STOP=1 -f sql/verify.sql
--
-- The contract below names every table and view, its columns with their types (! may not be NULL, = has a default), its
-- CHECKs ({table}_{name}_check), its keys, references, exclusions and indexes ({table}_{name}) and its triggers
-- ({table}_{name}). It is generated from the catalog of a new database (`make docs`), as objects.json is. The rules after it hold for
-- whatever there is, named here or not.

DO $verify$
DECLARE
    contract CONSTANT text := $contract$
table organizations
    columns  organization_id uuid!=, name text!, industry text!, timezone text!=, settings jsonb!=, notification_key uuid!=,
             created_at timestamptz!=, updated_at timestamptz!=
    checks   industry_not_blank, name_not_blank, settings_object, timezone_known
    keys     pkey
    triggers set_updated_at

table locations
    columns  organization_id uuid!, location_id uuid!=, name text!, location_type text!, timezone text!=, address text,
             latitude_degrees numeric, longitude_degrees numeric, metadata jsonb!=, created_at timestamptz!=,
             updated_at timestamptz!=, location_code text
    checks   latitude_degrees_range, location_code_is_a_code, location_type, longitude_degrees_range, metadata_object,
             name_not_blank, timezone_known
    keys     pkey, organization_id_location_code_key, organization_id_name_key, organization_id_fkey
    triggers keep_history, set_updated_at

table resources
    columns  organization_id uuid!, resource_id uuid!=, location_id uuid!, name text!, resource_type text!, status text!=,
             rated_capacity_per_hour numeric, capacity_unit text, metadata jsonb!=, created_at timestamptz!=,
             updated_at timestamptz!=, resource_code text
    checks   capacity_unit_not_blank, metadata_object, name_not_blank, rated_capacity_per_hour_positive, resource_code_is_a_code,
             resource_type_not_blank, status
    keys     pkey, organization_id_name_key, organization_id_resource_code_key, organization_id_location_id_fkey,
             organization_id_location_id_idx
    triggers keep_history, outbox_deleted, outbox_inserted, outbox_truncated, outbox_updated, set_updated_at

table employees
    columns  organization_id uuid!, employee_id uuid!=, location_id uuid!, employee_code text!, full_name text!, role text!,
             skills text[]!=, is_active boolean!=, hired_on_date date, metadata jsonb!=, created_at timestamptz!=,
             updated_at timestamptz!=
    checks   employee_code_not_blank, full_name_not_blank, hired_on_date_within_10_years, metadata_object, role_not_blank,
             skills_without_null
    keys     pkey, organization_id_employee_code_key, organization_id_location_id_fkey, organization_id_location_id_idx,
             skills_idx
    triggers keep_history, set_updated_at

table resource_history
    columns  organization_id uuid!, resource_id uuid!, valid_from timestamptz!, valid_to timestamptz!, location_id uuid!,
             rated_capacity_per_hour numeric, capacity_unit text, is_in_service boolean!, recorded_at timestamptz!=
    checks   capacity_unit_not_blank, rated_capacity_per_hour_positive, valid_to_after_valid_from
    keys     pkey, organization_id_location_id_fkey, organization_id_resource_id_fkey, organization_id_location_id_idx
    triggers mark_changed, mark_truncated, set_recorded_at

table employee_history
    columns  organization_id uuid!, employee_id uuid!, valid_from timestamptz!, valid_to timestamptz!, location_id uuid!,
             is_employed boolean!, recorded_at timestamptz!=
    checks   valid_to_after_valid_from
    keys     pkey, organization_id_employee_id_fkey, organization_id_location_id_fkey, organization_id_location_id_idx
    triggers set_recorded_at

table location_history
    columns  organization_id uuid!, location_id uuid!, valid_from timestamptz!, valid_to timestamptz!, timezone text!,
             recorded_at timestamptz!=
    checks   timezone_known, valid_to_after_valid_from
    keys     pkey, organization_id_location_id_fkey
    triggers set_recorded_at

table products
    columns  organization_id uuid!, product_id text!, name text, unit text, created_at timestamptz!=, updated_at timestamptz!=
    checks   name_not_blank, product_id_not_blank, unit_not_blank
    keys     pkey, organization_id_fkey
    triggers set_updated_at

table shifts
    columns  organization_id uuid!, shift_id uuid!=, location_id uuid!, name text!, starts_at timestamptz!, ends_at timestamptz!,
             required_employees integer!=, required_skills text[]!=, metadata jsonb!=, created_at timestamptz!=,
             updated_at timestamptz!=, shift_code text
    checks   at_most_25_hours, ends_after_start, metadata_object, name_not_blank, required_employees_not_negative,
             shift_code_is_a_code, starts_at_within_10_years
    keys     pkey, organization_id_location_id_name_starts_at_key, organization_id_shift_code_key,
             organization_id_shift_id_starts_at_ends_at_key, organization_id_location_id_fkey, organization_id_starts_at_idx
    triggers mark_changed, mark_truncated, set_updated_at

table shift_assignments
    columns  organization_id uuid!, shift_id uuid!, employee_id uuid!, status text!=, starts_at timestamptz!,
             ends_at timestamptz!, created_at timestamptz!=, updated_at timestamptz!=
    checks   status
    keys     pkey, employee_not_in_two_shifts_at_once_excl, organization_id_employee_id_fkey, organization_id_shift_id_fkey,
             organization_id_employee_id_starts_at_idx
    triggers copy_shift_times, refuse_unemployed, refuse_unemployed_again, set_updated_at

table production_plans
    columns  organization_id uuid!, plan_id uuid!=, location_id uuid!, resource_id uuid, product_id text!, plan_date date!,
             planned_quantity numeric!, actual_quantity numeric, status text!=, priority integer!=, metadata jsonb!=,
             created_at timestamptz!=, updated_at timestamptz!=
    checks   actual_quantity_not_negative, completed_has_actual_quantity, metadata_object, plan_date_finite,
             plan_date_within_10_years, planned_quantity_positive, priority, product_id_not_blank, status
    keys     pkey, organization_id_location_id_fkey, organization_id_resource_id_fkey, organization_id_plan_date_idx,
             organization_id_resource_id_idx
    triggers outbox_deleted, outbox_inserted, outbox_truncated, outbox_updated, set_updated_at

table operational_events
    columns  organization_id uuid!, time timestamptz!, event_id uuid!=, location_id uuid!, resource_id uuid, employee_id uuid,
             event_type text!, cause text, product_id text, quantity numeric, scrap_quantity numeric, quality_score numeric,
             duration_minutes numeric, metadata jsonb!=
    checks   cause_not_blank, duration_minutes_at_most_a_day, event_type, metadata_object, product_id_not_blank,
             quality_score_range, quantity_not_negative, quantity_only_when_producing, scrap_quantity_within_quantity,
             time_not_in_future
    keys     pkey, organization_id_employee_id_fkey, organization_id_location_id_fkey, organization_id_resource_id_fkey,
             organization_id_employee_id_idx, organization_id_event_type_time_idx, organization_id_resource_id_newest_idx,
             organization_id_time_long_idx
    triggers mark_deleted, mark_inserted, mark_truncated, mark_updated, outbox_deleted, outbox_inserted, outbox_truncated,
             outbox_updated

table demand_history
    columns  organization_id uuid!, time timestamptz!, product_id text!, location_id uuid!, quantity numeric!, revenue numeric,
             metadata jsonb!=, recorded_at timestamptz=
    checks   metadata_object, product_id_not_blank, quantity_not_negative, recorded_at_not_in_future, revenue_not_negative,
             time_not_in_future
    keys     pkey, organization_id_location_id_fkey, organization_id_time_idx
    triggers keep_corrected, keep_deleted

table demand_revisions
    columns  organization_id uuid!, product_id text!, location_id uuid!, time timestamptz!, replaced_at timestamptz!,
             recorded_at timestamptz, quantity numeric!
    checks   quantity_not_negative, replaced_after_recorded
    keys     pkey, organization_id_location_id_fkey

table resource_metrics
    columns  organization_id uuid!, time timestamptz!, resource_id uuid!, utilization_pct numeric, efficiency_pct numeric,
             downtime_minutes numeric, sample_minutes numeric, metadata jsonb!=
    checks   downtime_minutes_at_most_a_day, downtime_minutes_within_sample, efficiency_pct_range, metadata_object,
             sample_minutes_range, time_not_in_future, utilization_pct_range
    keys     pkey, organization_id_resource_id_fkey, organization_id_time_idx
    triggers outbox_deleted, outbox_inserted, outbox_truncated, outbox_updated

table employee_attendance
    columns  organization_id uuid!, time timestamptz!, employee_id uuid!, shift_id uuid, status text!, scheduled_hours numeric!=,
             hours_worked numeric, performance_score numeric, metadata jsonb!=
    checks   hours_worked_range, metadata_object, no_hours_when_away, no_score_when_away, performance_score_range,
             scheduled_hours_range, status, time_not_in_future
    keys     pkey, organization_id_employee_id_fkey, organization_id_shift_id_fkey, organization_id_shift_id_idx,
             organization_id_time_idx

table demand_forecasts
    columns  organization_id uuid!, product_id text!, location_id uuid!, target_time timestamptz!, target_interval interval!=,
             predicted_quantity numeric!, lower_bound numeric, upper_bound numeric, interval_coverage_pct numeric!=,
             model_name text!, model_version text!, available_at timestamptz!, recorded_at timestamptz!=, metadata jsonb!=,
             purpose text!=
    checks   available_at_not_in_future, bounds_around_prediction, bounds_both_or_none, bounds_finite,
             interval_coverage_pct_range, metadata_object, model_name_not_blank, model_version_not_blank,
             predicted_quantity_not_negative, product_id_not_blank, purpose, target_interval_positive,
             target_time_within_10_years
    keys     pkey, organization_id_location_id_fkey, organization_id_target_time_idx, organization_id_target_time_long_idx
    triggers announce_delete, announce_insert, announce_truncate, append_only, outbox_deleted, outbox_inserted, outbox_truncated,
             outbox_updated, set_recorded_at

table anomaly_predictions
    columns  organization_id uuid!, anomaly_id uuid!=, resource_id uuid!, anomaly_type text!, severity text!, status text!=,
             probability numeric!, predicted_for timestamptz!, description text, model_name text!, model_version text!,
             available_at timestamptz!, recorded_at timestamptz!=, outcome text, occurred_at timestamptz, closed_at timestamptz,
             metadata jsonb!=, updated_at timestamptz!=
    checks   anomaly_type, available_at_not_in_future, closed_after_available, closed_at_not_in_future, closed_has_outcome,
             metadata_object, model_name_not_blank, model_version_not_blank, occurred_at_finite, occurred_at_not_in_future,
             occurred_at_when_confirmed, outcome, predicted_for_within_10_years, probability_range, severity, status
    keys     pkey, organization_id_resource_id_fkey, organization_id_available_at_idx, organization_id_resource_id_idx,
             organization_id_status_probability_idx
    triggers announce, announce_delete, announce_insert, announce_status, announce_truncate, announce_update, append_only,
             outbox_deleted, outbox_inserted, outbox_truncated, outbox_updated, set_recorded_at, set_updated_at

table absence_forecasts
    columns  organization_id uuid!, forecast_id uuid!=, location_id uuid, employee_id uuid, target_date date!,
             absence_probability numeric, expected_absences numeric, model_name text!, model_version text!,
             available_at timestamptz!, recorded_at timestamptz!=, metadata jsonb!=
    checks   absence_probability_range, available_at_not_in_future, employee_or_location, expected_absences_for_location,
             expected_absences_not_negative, metadata_object, model_name_not_blank, model_version_not_blank,
             probability_for_employee, target_date_within_10_years
    keys     pkey, organization_id_run_key, organization_id_employee_id_fkey, organization_id_location_id_fkey,
             organization_id_employee_id_idx, organization_id_target_date_idx
    triggers announce_delete, announce_insert, announce_truncate, append_only, set_recorded_at

table external_factors
    columns  organization_id uuid!, factor_id uuid!=, time timestamptz!, location_id uuid, factor_type text!, name text!,
             value numeric!, unit text!, available_at timestamptz!, recorded_at timestamptz!=, metadata jsonb!=
    checks   available_at_not_in_future, factor_type, metadata_object, name_not_blank, time_within_10_years, unit_not_blank,
             value_finite
    keys     pkey, organization_id_reading_key, organization_id_fkey, organization_id_location_id_fkey,
             organization_id_series_idx, organization_id_time_idx
    triggers append_only, one_unit_per_series, set_recorded_at

table optimization_runs
    columns  organization_id uuid!, run_id uuid!=, run_type text!, algorithm text!, status text!=, started_at timestamptz!=,
             finished_at timestamptz, objective_value numeric, objective_unit text, parameters jsonb!=, result jsonb,
             error_message text, created_at timestamptz!=, updated_at timestamptz!=
    checks   algorithm_not_blank, completed_has_result, finished_after_start, finished_at_not_in_future,
             finished_at_unless_running, objective_value_finite, parameters_object, run_type, started_at_not_in_future, status
    keys     pkey, organization_id_fkey, organization_id_run_type_started_at_idx
    triggers set_updated_at

table alerts
    columns  organization_id uuid!, alert_id uuid!=, created_at timestamptz!=, severity text!, alert_type text!, title text!,
             message text, status text!=, location_id uuid, resource_id uuid, anomaly_id uuid, acknowledged_at timestamptz,
             acknowledged_by text, resolved_at timestamptz, resolution text, metadata jsonb!=, updated_at timestamptz!=
    checks   acknowledged_after_created, acknowledged_at_not_in_future, acknowledged_has_time, active_without_times,
             alert_type_not_blank, created_at_not_in_future, metadata_object, resolved_after_created, resolved_at_not_in_future,
             resolved_has_time, severity, status, title_not_blank
    keys     pkey, organization_id_anomaly_id_fkey, organization_id_fkey, organization_id_location_id_fkey,
             organization_id_resource_id_fkey, organization_id_anomaly_id_idx, organization_id_resource_id_idx,
             organization_id_status_created_at_idx
    triggers announce, outbox_deleted, outbox_inserted, outbox_truncated, outbox_updated, set_updated_at

table api_keys
    columns  organization_id uuid!, key_id uuid!=, name text!, prefix text!, secret_sha256 text!, role text!,
             created_at timestamptz!=, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz
    checks   created_at_finite, expires_after_created, last_used_at_finite, name_not_blank, prefix, revoked_at_finite, role,
             secret_sha256
    keys     pkey, organization_id_fkey, prefix_idx

table forecast_models
    columns  organization_id uuid!, model_name text!, model_version text!, kind text!, role text!=, role_since timestamptz!=,
             role_reason text, config jsonb!=, created_at timestamptz!=, updated_at timestamptz!=
    checks   config_object, config_target_at_most_200_chars, kind, model_name_not_blank, model_version_not_blank, role,
             role_since_not_in_future
    keys     pkey, organization_id_fkey, organization_id_kind_target_champion_idx
    triggers set_updated_at

table forecast_backtests
    columns  organization_id uuid!, backtest_id uuid!=, model_name text!, model_version text!, product_id text, location_id uuid,
             target_interval interval!, first_step integer!, last_step integer!, as_of timestamptz!, first_origin timestamptz!,
             last_origin timestamptz!, origin_count integer!, better_origin_count integer!, target_count integer!,
             wape_pct numeric, mase numeric, pinball numeric, interval_coverage_pct numeric, naive_name text!,
             naive_wape_pct numeric, naive_pinball numeric, skill_pct numeric, reason text, recorded_at timestamptz!=
    checks   as_of_not_in_future, counts, errors_not_negative, interval_coverage_pct_range, naive_name_not_blank,
             origins_in_order, product_and_location, product_id_not_blank, steps, target_interval_positive
    keys     pkey, organization_id_run_key, organization_id_location_id_fkey, organization_id_model_fkey,
             organization_id_as_of_idx, organization_id_location_id_idx
    triggers append_only, set_recorded_at

table sync_targets
    columns  organization_id uuid!, consumer text!, kinds text[]!=, keep_for interval, trimmed_to bigint!=,
             created_at timestamptz!=, updated_at timestamptz!=
    checks   consumer, keep_for_range, kinds_known
    keys     pkey, organization_id_fkey
    triggers set_updated_at

table sync_outbox
    columns  organization_id uuid!, consumer text!, transaction_id bigint!=, outbox_id bigint!, kind text!, entity_key text!,
             changed_at timestamptz!=
    keys     pkey

table sync_progress
    columns  organization_id uuid!, consumer text!, sender uuid!, version bigint!=, call_count bigint!=,
             failed_call_count bigint!=, sent_count bigint!=, call_credit numeric, credited_at timestamptz,
             last_success_at timestamptz, last_error text, last_error_at timestamptz
    checks   counts_not_negative
    keys     pkey, organization_id_consumer_fkey

table sync_rejected
    columns  organization_id uuid!, consumer text!, kind text!, entity_key text!, rejected_at timestamptz!=, error_message text!
    checks   kind_known
    keys     pkey, organization_id_consumer_fkey

table employee_contracts
    columns  organization_id uuid!, employee_id uuid!, valid_from date!, hours_per_week numeric!=, max_hours_per_week numeric!=,
             min_rest_hours numeric!=, max_consecutive_days integer!=, may_work_at uuid[]!=, created_at timestamptz!=,
             updated_at timestamptz!=
    checks   hours_per_week_range, hours_within_max_hours, max_consecutive_days_range, max_hours_per_week_range,
             may_work_at_without_null, min_rest_hours_range, valid_from_within_10_years
    keys     pkey, organization_id_employee_id_fkey
    triggers set_updated_at

table employee_unavailability
    columns  organization_id uuid!, employee_id uuid!, starts_at timestamptz!, ends_at timestamptz!, reason text!,
             is_hard boolean!=, weight numeric!=, note text, created_at timestamptz!=, updated_at timestamptz!=
    checks   ends_after_start, note_not_blank, reason, starts_at_within_10_years, weight_range
    keys     pkey, organization_id_employee_id_fkey
    triggers set_updated_at

table resource_capabilities
    columns  organization_id uuid!, resource_id uuid!, product_id text!, rate_per_hour numeric, setup_minutes numeric!=,
             created_at timestamptz!=, updated_at timestamptz!=
    checks   product_id_not_blank, rate_per_hour_positive, setup_minutes_range
    keys     pkey, organization_id_resource_id_fkey
    triggers set_updated_at

table schedule_proposals
    columns  organization_id uuid!, run_id uuid!, kind text!, location_id uuid, window_start timestamptz!,
             window_end timestamptz!, status text!=, fingerprint text!, decided_at timestamptz, decided_by text, decision text,
             created_at timestamptz!=, updated_at timestamptz!=
    checks   decided_at_not_in_future, decided_at_unless_proposed, fingerprint_not_blank, kind, status, window_ends_after_start
    keys     pkey, organization_id_location_id_fkey, organization_id_run_id_fkey, organization_id_created_at_idx,
             organization_id_location_id_idx
    triggers set_updated_at

table schedule_proposal_items
    columns  organization_id uuid!, run_id uuid!, item_no integer!, action text!, reason text!, shift_id uuid, employee_id uuid,
             plan_id uuid, resource_id uuid, work_date date, work_hours numeric, quantity numeric
    checks   action, assignment_or_plan, item_no_positive, quantity_not_negative, reason_not_blank, work_date_finite,
             work_hours_range
    keys     pkey, organization_id_employee_id_fkey, organization_id_plan_id_fkey, organization_id_resource_id_fkey,
             organization_id_run_id_fkey, organization_id_shift_id_fkey, organization_id_employee_id_idx,
             organization_id_plan_id_idx, organization_id_resource_id_idx, organization_id_shift_id_idx
    triggers append_only

table connector_runs
    columns  organization_id uuid!, run_id uuid!=, connector text!, location_id uuid, window_start timestamptz!,
             window_end timestamptz!, started_at timestamptz!, finished_at timestamptz!=, readings_read integer!=,
             readings_written integer!=, readings_refused integer!=, error_message text
    checks   connector, counts_not_negative, finished_at_not_in_future, started_at_not_in_future, window_ends_after_start
    keys     pkey, organization_id_fkey, organization_id_location_id_fkey, organization_id_connector_idx

table connector_sources
    columns  organization_id uuid!, source_id uuid!=, kind text!, location_id uuid, connector text!, updated_at timestamptz!=
    checks   connector, kind
    keys     pkey, organization_id_kind_location_id_key, organization_id_fkey, organization_id_location_id_fkey,
             organization_id_location_id_idx
    triggers set_updated_at

table service_schedules
    columns  organization_id uuid!, schedule_id uuid!=, task text!, location_id uuid, run_every interval!, arguments jsonb!=,
             is_enabled boolean!=, next_run_at timestamptz!=, last_started_at timestamptz, last_succeeded_at timestamptz,
             last_error text, created_at timestamptz!=, updated_at timestamptz!=
    checks   arguments_object, next_run_at_finite, run_every_range, task
    keys     pkey, organization_id_task_location_id_key, organization_id_fkey, organization_id_location_id_fkey, next_run_at_idx,
             organization_id_location_id_idx
    triggers set_updated_at

table resource_time_sums
    columns  organization_id uuid!, hours integer!, bucket timestamptz!, state text!, ends_at timestamptz!, widest integer!,
             sums resource_time_sum[]!
    checks   hours, state, widest
    keys     pkey, organization_id_fkey

table resource_time_totals
    columns  organization_id uuid!, hours integer!, bucket timestamptz!, totals resource_time_total[]!
    checks   hours
    keys     pkey, organization_id_fkey

table resource_time_reports
    columns  organization_id uuid!, resource_id uuid!, event_day timestamptz, quantity_day timestamptz, output_day timestamptz,
             reports_events boolean!, reports_quantity boolean!, reports_output boolean!
    keys     pkey, organization_id_fkey

table resource_time_states
    columns  organization_id uuid!, kept tstzmultirange!=, frozen_before timestamptz!=, refreshed_at timestamptz,
             failed_at timestamptz, failure text
    keys     pkey, organization_id_fkey

table resource_time_marks
    columns  organization_id uuid!, mark_id uuid!=, stale tstzmultirange!
    keys     pkey, organization_id_fkey

table tenant_logins
    columns  organization_id uuid!, role_name name!, created_at timestamptz!=
    keys     pkey, role_of_one_organization_excl, organization_id_fkey

table schema_version
    columns  version integer!, description text!, applied_at timestamptz!=, file_checksums jsonb
    keys     pkey

table seed_runs
    columns  seed_name text!, seed_version integer!, anchor_at timestamptz!, seeded_at timestamptz!=
    keys     pkey

table backup_runs
    columns  backup_id uuid!=, started_at timestamptz!, finished_at timestamptz!=, verified_at timestamptz,
             verification_seconds numeric, location text!, size_bytes bigint!, sha256 text!, is_encrypted boolean!
    keys     pkey

view demand_history_hourly
    columns  organization_id uuid, bucket timestamptz, product_id text, location_id uuid, row_count bigint, quantity numeric,
             revenue numeric, quantity_min numeric, quantity_max numeric

view employee_attendance_hourly
    columns  organization_id uuid, bucket timestamptz, employee_id uuid, scheduled_count bigint, attended_count bigint,
             late_count bigint, scheduled_hours numeric, hours_worked numeric, performance_score_sum numeric,
             performance_score_count bigint

view operational_events_hourly
    columns  organization_id uuid, bucket timestamptz, location_id uuid, resource_id uuid, event_type text, cause text,
             event_count bigint, duration_minutes numeric, quantity numeric, scrap_quantity numeric, quality_score_sum numeric,
             quality_score_count bigint

view resource_metrics_hourly
    columns  organization_id uuid, bucket timestamptz, resource_id uuid, sample_count bigint, sample_minutes numeric,
             downtime_minutes numeric, utilization_pct_minutes numeric, utilization_minutes numeric,
             efficiency_pct_minutes numeric, efficiency_minutes numeric, utilization_pct_min numeric,
             utilization_pct_max numeric

view resource_samples_hourly
    columns  organization_id uuid, bucket timestamptz, resource_id uuid, first_at timestamptz, last_at timestamptz,
             totals resource_sample_totals

view demand_history_daily
    columns  organization_id uuid, bucket timestamptz, product_id text, location_id uuid, row_count numeric, quantity numeric,
             revenue numeric, quantity_min numeric, quantity_max numeric

view employee_attendance_daily
    columns  organization_id uuid, bucket timestamptz, employee_id uuid, scheduled_count numeric, attended_count numeric,
             late_count numeric, scheduled_hours numeric, hours_worked numeric, performance_score_sum numeric,
             performance_score_count numeric

view operational_events_daily
    columns  organization_id uuid, bucket timestamptz, location_id uuid, resource_id uuid, event_type text, cause text,
             event_count numeric, duration_minutes numeric, quantity numeric, scrap_quantity numeric, quality_score_sum numeric,
             quality_score_count numeric

view resource_metrics_daily
    columns  organization_id uuid, bucket timestamptz, resource_id uuid, sample_count numeric, sample_minutes numeric,
             downtime_minutes numeric, utilization_pct_minutes numeric, utilization_minutes numeric,
             efficiency_pct_minutes numeric, efficiency_minutes numeric, utilization_pct_min numeric,
             utilization_pct_max numeric

view employee_attendance_rate
    columns  organization_id uuid, employee_id uuid, month timestamptz, attendance_rate numeric, attended_count bigint,
             scheduled_count bigint, hours_worked numeric, performance_score_mean numeric, hours_known_count bigint

view production_efficiency
    columns  organization_id uuid, location_id uuid, plan_date date, plan_count bigint, planned_quantity numeric,
             actual_quantity numeric, efficiency_pct numeric, reason text

view resource_latest_status
    columns  organization_id uuid, resource_id uuid, location_id uuid, name text, resource_type text, status text,
             last_event_at timestamptz, last_event_type text, last_event_cause text, last_metric_at timestamptz,
             utilization_pct numeric, efficiency_pct numeric, downtime_minutes numeric, sample_minutes numeric,
             metric_metadata jsonb

view shift_coverage
    columns  organization_id uuid, shift_id uuid, location_id uuid, name text, starts_at timestamptz, ends_at timestamptz,
             required_employees integer, assigned_employees integer, missing_employees integer

view active_alerts
    columns  organization_id uuid, alert_id uuid, created_at timestamptz, severity text, alert_type text, title text,
             message text, status text, location_id uuid, resource_id uuid, resource_name text, anomaly_id uuid,
             acknowledged_at timestamptz, acknowledged_by text

view current_demand_forecasts
    columns  organization_id uuid, product_id text, location_id uuid, target_time timestamptz, target_interval interval,
             predicted_quantity numeric, lower_bound numeric, upper_bound numeric, interval_coverage_pct numeric,
             model_name text, model_version text, available_at timestamptz, recorded_at timestamptz, target_end timestamptz

view current_absence_forecasts
    columns  organization_id uuid, forecast_id uuid, location_id uuid, employee_id uuid, target_date date,
             absence_probability numeric, expected_absences numeric, model_name text, model_version text,
             available_at timestamptz, recorded_at timestamptz

view database_identity
    columns  database_id uuid
$contract$;
    functions CONSTANT text[] := ARRAY[
        'absence_forecast_accuracy(uuid,date,date)',
        'absence_forecasts_as_of(uuid,timestamptz,date,date,timestamptz)',
        'add_samples(timestamptz[],numeric[],numeric[],numeric[],numeric[])',
        'announce_changes(uuid[])',
        'announce_predictions()',
        'announce_row()',
        'anomaly_prediction_scores(uuid,timestamptz,timestamptz)',
        'anomaly_predictions_as_of(uuid,timestamptz,timestamptz)',
        'change_employee(uuid,uuid,jsonb,timestamptz,timestamptz)',
        'change_location(uuid,uuid,jsonb,timestamptz,timestamptz)',
        'change_period_start(timestamptz,timestamptz,boolean)',
        'change_resource(uuid,uuid,jsonb,timestamptz,timestamptz)',
        'copy_shift_times()',
        'count_here()',
        'counted_attendance(uuid,timestamptz,timestamptz)',
        'create_tenant_login(uuid,text,text)',
        'current_organization_id()',
        'cut_hours(timestamptz[])',
        'database_edition()',
        'database_id()',
        'decompress_row_by_row()',
        'demand_forecast_accuracy(uuid,timestamptz,timestamptz,numeric)',
        'demand_forecast_outcomes(uuid,timestamptz,timestamptz,boolean,numeric)',
        'demand_forecasts_as_of(uuid,timestamptz,timestamptz,timestamptz,timestamptz)',
        'demand_totals(uuid,timestamptz[])',
        'double_rows()',
        'down_seconds(numeric,numeric,numeric,numeric)',
        'drop_tenant_login(text)',
        'employment_start(uuid,uuid,date)',
        'end_long_tenant_transactions(integer,jsonb)',
        'end_of_last_kept(timestamptz,timestamptz,timestamptz)',
        'enqueue_changes(uuid,text,text[])',
        'event_kpis(boolean,boolean,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,boolean,boolean,text,text,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric,numeric)',
        'first_sample_at(uuid)',
        'forecast_key(text,uuid,timestamptz,interval)',
        'forecast_outcomes_by_part(uuid,timestamptz[],timestamptz[],boolean,numeric)',
        'get_kpi_summary(uuid,integer)',
        'history_change_time(text,uuid,uuid)',
        'is_code(text)',
        'is_timezone(text)',
        'keep_demand_revision()',
        'keep_employee_history()',
        'keep_location_history()',
        'keep_login_to_own_rows(text)',
        'keep_resource_history()',
        'keep_resource_time(uuid,interval,tstzrange,interval)',
        'keep_resource_time_reports(uuid,timestamptz,timestamptz,timestamptz[],uuid[])',
        'keep_resource_time_totals(uuid,timestamptz[])',
        'kept_resource_time(uuid)',
        'kept_time_reads(integer[],timestamptz[],timestamptz[],uuid[],tstzmultirange)',
        'kept_time_rows(uuid,integer,timestamptz,timestamptz)',
        'kept_until(timestamptz,timestamptz)',
        'kpi_names()',
        'kpis_by_part(uuid,timestamptz[],timestamptz[],text)',
        'latest_resource_status(uuid)',
        'limit_tenant_login(text)',
        'local_bucket_edges(text,timestamptz,timestamptz,text)',
        'local_date(timestamptz,text)',
        'local_day_start(date,text)',
        'local_day_start_at_change(date,text)',
        'local_interval_end(timestamptz,interval,text)',
        'location_buckets(uuid,uuid,text,timestamptz,timestamptz)',
        'location_clocks(uuid)',
        'machine_events(uuid,timestamptz,timestamptz)',
        'mark_deleted_event()',
        'mark_events()',
        'mark_hours(uuid,tstzmultirange)',
        'mark_settings()',
        'may_announce()',
        'may_change(regclass,uuid)',
        'move_assignments()',
        'multirange_minutes(tstzmultirange)',
        'note_copied_rows(text,timestamptz,timestamptz)',
        'notification_channel(text,uuid)',
        'operation_totals(uuid,timestamptz,timestamptz,text[])',
        'operational_kpis(uuid,timestamptz,timestamptz,text)',
        'outbox_alerts()',
        'outbox_anomaly_predictions()',
        'outbox_deleted_reading()',
        'outbox_demand_forecasts()',
        'outbox_operational_events()',
        'outbox_production_plans()',
        'outbox_resource_metrics()',
        'outbox_resources()',
        'planned_busy_time(uuid,timestamptz,timestamptz)',
        'production_by_bucket(uuid,text,timestamptz,timestamptz,uuid)',
        'raw_spans(text[],timestamptz,timestamptz)',
        'refresh_resource_time(uuid,tstzrange)',
        'refresh_resource_time_job(integer,jsonb)',
        'refresh_rollups(timestamptz,timestamptz)',
        'refuse_dump()',
        'refuse_second_shift()',
        'refuse_second_unit()',
        'refuse_unemployed()',
        'refuse_update()',
        'remove_double_rows(boolean)',
        'resource_reporting(uuid,uuid[],uuid[],uuid[])',
        'resource_samples(uuid,timestamptz[],uuid)',
        'resource_time(uuid,integer[],timestamptz[],timestamptz[],uuid[],text[])',
        'resource_time_added(uuid,integer[],timestamptz[],timestamptz[],uuid[],tstzmultirange)',
        'resource_time_model(uuid,timestamptz,timestamptz)',
        'resource_time_raw(uuid,integer[],timestamptz[],timestamptz[],uuid[],interval)',
        'resource_time_report_changes(uuid,uuid[],boolean[],boolean[],boolean[])',
        'resource_time_rest(uuid,integer[],timestamptz[],timestamptz[],uuid[],tstzmultirange,text[])',
        'rollup_definitions()',
        'rollup_differences()',
        'rollup_refresh_window(text)',
        'rows_beyond_bounds()',
        'rows_of_anomaly_predictions(uuid,timestamptz,timestamptz)',
        'rows_of_breakdowns(uuid,timestamptz,timestamptz)',
        'rows_of_confirmed_failures(uuid,timestamptz)',
        'rows_of_employee_history(uuid)',
        'rows_of_location_history(uuid)',
        'rows_of_locations(uuid)',
        'rows_of_production_plans(uuid,date,date)',
        'rows_of_products(uuid)',
        'rows_of_resource_history(uuid)',
        'rows_of_resource_time_reports(uuid)',
        'rows_of_resources(uuid)',
        'rows_of_shift_assignments(uuid,timestamptz,timestamptz)',
        'rows_of_shifts(uuid,timestamptz,timestamptz)',
        'secure_nodes()',
        'secure_rows(regclass,text)',
        'set_recorded_at()',
        'set_retention(regclass,interval)',
        'set_updated_at()',
        'shift_kpis(uuid,timestamptz,timestamptz)',
        'shift_seconds(uuid,integer[],timestamptz[],timestamptz[],uuid[])',
        'sync_kept_for(text)',
        'sync_kinds()',
        'time_kpis(uuid,integer[],timestamptz[],timestamptz[],uuid[],text)',
        'time_series_layout()',
        'touched_hours(timestamptz,timestamptz)',
        'trim_outbox_in_passing()',
        'trim_sync_outbox(uuid)',
        'use_api_key(text,text)',
        'value_bounds()',
        'write_history(text,uuid,uuid,timestamptz,timestamptz,jsonb)',
        'write_outbox(uuid,text,text[])',
        'write_tenants_demand_history()',
        'write_tenants_employee_attendance()',
        'write_tenants_operational_events()',
        'write_tenants_resource_metrics()'
    ];
    newest_version CONSTANT integer := 8;
    is_citus CONSTANT boolean := EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'citus');
    node record;
    edition text;
    tenant_roles regrole[];
    problems text[] := '{}';
    declared jsonb;  -- the contract as rows: relation, kind, label, item
BEGIN
    -- Names are printed in the form that the rules below expect, whatever the settings of the database or role.
    PERFORM set_config('standard_conforming_strings', 'on', true);
    PERFORM set_config('quote_all_identifiers', 'off', true);
    PERFORM set_config('search_path', 'public, pg_temp', true);

    SELECT jsonb_agg(jsonb_build_object('relation', b.relation, 'kind', b.kind, 'label', l.label, 'item', i.item))
    INTO declared
    FROM (
        -- Each block is a relation; continuation lines are indented further than their label.
        SELECT
            split_part(block, E'\n', 1) AS title,
            regexp_replace(block, '\n {13}', ' ', 'g') AS text
        FROM regexp_split_to_table(btrim(contract, E'\n'), '\n\n') AS block
    ) AS blocks
    CROSS JOIN LATERAL (SELECT split_part(title, ' ', 1) AS kind, split_part(title, ' ', 2) AS relation) AS b
    CROSS JOIN LATERAL regexp_split_to_table(text, '\n') AS line
    CROSS JOIN LATERAL (SELECT split_part(btrim(line), ' ', 1) AS label, substring(btrim(line) FROM '^\w+ +(.*)$') AS list) AS l
    CROSS JOIN LATERAL regexp_split_to_table(l.list, ', *') AS i (item);

    -- Objects in the contract -----------------------------------------------------------------------------------------

    problems := problems || ARRAY(
        SELECT format('%s %s is missing', d.kind, d.relation)
        FROM jsonb_to_recordset(declared) AS d (relation text, kind text, label text)
        WHERE d.label = d.kind
            AND NOT EXISTS (
                SELECT
                FROM pg_class AS c
                WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relname = d.relation
                    AND c.relkind = CASE d.kind WHEN 'table' THEN 'r' ELSE 'v' END
            )
    );

    problems := problems || ARRAY(
        SELECT
            CASE
                WHEN a.attnum IS NULL THEN format('column %s.%s is missing', d.relation, c.name)
                WHEN a.atttypid IS DISTINCT FROM to_regtype(c.type_name) THEN
                    format('column %s.%s is %s, not %s', d.relation, c.name, format_type(a.atttypid, NULL), c.type_name)
                WHEN c.never_null AND NOT a.attnotnull THEN format('column %s.%s may be NULL', d.relation, c.name)
                WHEN c.has_default AND NOT a.atthasdef THEN format('column %s.%s has no default', d.relation, c.name)
            END
        FROM jsonb_to_recordset(declared) AS d (relation text, label text, item text)
        CROSS JOIN LATERAL (
            SELECT
                split_part(d.item, ' ', 1) AS name,
                rtrim(split_part(d.item, ' ', 2), '!=') AS type_name,
                d.item ~ '!' AS never_null,
                d.item ~ '=' AS has_default
        ) AS c
        LEFT JOIN pg_attribute AS a
            ON a.attrelid = to_regclass('public.' || d.relation)
            AND a.attname = c.name
            AND NOT a.attisdropped
        WHERE d.label = 'columns'
            AND to_regclass('public.' || d.relation) IS NOT NULL
    );

    problems := problems || ARRAY(
        SELECT format('CHECK %s_%s_check of %s is missing', d.relation, d.item, d.relation)
        FROM jsonb_to_recordset(declared) AS d (relation text, label text, item text)
        WHERE d.label = 'checks'
            AND NOT EXISTS (
                SELECT
                FROM pg_constraint AS k
                WHERE k.conrelid = to_regclass('public.' || d.relation)
                    AND k.contype = 'c'
                    AND k.conname = d.relation || '_' || d.item || '_check'
            )
    );

    problems := problems || ARRAY(
        SELECT
            format(
                '%s %s_%s of %s is missing or not valid',
                CASE
                    WHEN d.item ~ 'idx$' THEN 'index'
                    WHEN d.item ~ 'fkey$' THEN 'foreign key'
                    WHEN d.item ~ 'excl$' THEN 'exclusion'
                    ELSE 'key'
                END,
                d.relation,
                d.item,
                d.relation
            )
        FROM jsonb_to_recordset(declared) AS d (relation text, label text, item text)
        WHERE d.label = 'keys'
            -- See 92_citus.sql.
            AND NOT (is_citus AND d.relation || '_' || d.item IN (
                'shift_assignments_employee_not_in_two_shifts_at_once_excl', 'tenant_logins_organization_id_fkey'
            ))
            AND NOT EXISTS (
                SELECT
                FROM pg_constraint AS k
                WHERE k.conrelid = to_regclass('public.' || d.relation)
                    AND k.contype IN ('p', 'u', 'f', 'x')
                    AND k.conname = d.relation || '_' || d.item
                    AND k.convalidated
            )
            AND NOT EXISTS (
                SELECT
                FROM pg_index AS i
                JOIN pg_class AS c ON c.oid = i.indexrelid
                WHERE i.indrelid = to_regclass('public.' || d.relation)
                    AND c.relname = d.relation || '_' || d.item
                    AND d.item ~ 'idx$'
                    AND i.indisvalid
            )
    );

    problems := problems || ARRAY(
        SELECT format('trigger %s_%s of %s is missing or disabled', d.relation, d.item, d.relation)
        FROM jsonb_to_recordset(declared) AS d (relation text, label text, item text)
        WHERE d.label = 'triggers'
            AND NOT EXISTS (
                SELECT
                FROM pg_trigger AS t
                WHERE t.tgrelid = to_regclass('public.' || d.relation)
                    AND t.tgname = d.relation || '_' || d.item
                    AND t.tgenabled IN ('O', 'A')
            )
    );

    problems := problems || ARRAY(
        SELECT format('function %s is missing', f.signature)
        FROM unnest(functions) AS f (signature)
        WHERE to_regprocedure('public.' || f.signature) IS NULL
            AND NOT (is_citus AND f.signature ~ '^write_tenants_')  -- of the views, which are not there
    );

    problems := problems || ARRAY(
        SELECT format('role %s is missing', r.name)
        FROM unnest(ARRAY['barnameh_tenant', 'barnameh_tenant_login', 'barnameh_readonly']) AS r (name)
        WHERE to_regrole(r.name) IS NULL
    );
    problems := problems || ARRAY(
        SELECT format('schema %s is missing', n.name)
        FROM unnest(ARRAY['tenant', 'tenant_load']) AS n (name)
        WHERE to_regnamespace(n.name) IS NULL
    );

    -- Prerequisites of the rules below.
    <<rules>>
    BEGIN
        EXIT rules WHEN EXISTS (
            SELECT
            FROM unnest(problems) AS p
            WHERE p ~ '^(role|schema|table (tenant_logins|schema_version)|function (database_edition|time_series|rollup))'
                OR p ~ '^column (tenant_logins|schema_version)\.\w+ is missing'
        );
        edition := public.database_edition();
        tenant_roles := ARRAY['barnameh_tenant', 'barnameh_tenant_login']::regrole[];

        problems := problems || ARRAY(
            SELECT
                CASE
                    WHEN v.newest > newest_version THEN
                        format('schema version %s is newer than %s, the newest that this file knows: use a newer release', v.newest, newest_version)
                    ELSE format('schema_version has no version %s: the schema was not applied completely', newest_version)
                END
            FROM (SELECT max(s.version) AS newest FROM public.schema_version AS s) AS v
            WHERE v.newest IS DISTINCT FROM newest_version
        );

        -- Keys name the organization first ----------------------------------------------------------------------------------

        problems := problems || ARRAY(
            SELECT format('%s of %s does not begin with organization_id', k.conname, k.conrelid::regclass)
            FROM pg_constraint AS k
            JOIN pg_class AS c ON c.oid = k.conrelid
            LEFT JOIN pg_attribute AS own ON own.attrelid = k.conrelid AND own.attnum = k.conkey[1]
            LEFT JOIN pg_attribute AS other ON other.attrelid = k.confrelid AND other.attnum = k.confkey[1]
            WHERE c.relnamespace = 'public'::regnamespace
                AND c.relname NOT IN ('schema_version', 'seed_runs', 'backup_runs')
                AND CASE k.contype
                    WHEN 'p' THEN own.attname <> 'organization_id'
                    WHEN 'u' THEN own.attname <> 'organization_id'
                    WHEN 'f' THEN own.attname <> 'organization_id' OR other.attname <> 'organization_id'
                    WHEN 'x' THEN
                        pg_get_constraintdef(k.oid) !~ '^EXCLUDE USING \w+ \(((public\.)?uuidrange\()?organization_id'
                        AND k.conname <> 'tenant_logins_role_of_one_organization_excl'
                    ELSE false
                END
        );
        problems := problems || ARRAY(
            SELECT format('unique index %s does not begin with organization_id', i.indexrelid::regclass)
            FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indrelid
            LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indisunique
                AND c.relnamespace = 'public'::regnamespace
                AND c.relname NOT IN ('schema_version', 'seed_runs', 'backup_runs')
                AND a.attname IS DISTINCT FROM 'organization_id'
                AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
        );
        problems := problems || ARRAY(
            SELECT format('%s has no organization_id, or it may be NULL', c.oid::regclass)
            FROM pg_class AS c
            WHERE c.relnamespace = 'public'::regnamespace
                AND c.relkind IN ('r', 'p')
                AND c.relname NOT IN ('schema_version', 'seed_runs', 'backup_runs')
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
                AND NOT EXISTS (
                    SELECT
                    FROM pg_attribute AS a
                    WHERE a.attrelid = c.oid
                        AND a.attname = 'organization_id'
                        AND a.attnotnull
                )
        );
        problems := problems || ARRAY(
            SELECT format('%s of %s is ON DELETE SET NULL or SET DEFAULT or RESTRICT', k.conname, k.conrelid::regclass)
            FROM pg_constraint AS k
            WHERE k.contype = 'f'
                AND k.connamespace = 'public'::regnamespace
                AND k.confdeltype NOT IN ('a', 'c')
        );
        problems := problems || ARRAY(
            SELECT format('CHECK %s of %s has a generated name, not {table}_{what is wrong}_check', k.conname, k.conrelid::regclass)
            FROM pg_constraint AS k
            JOIN pg_class AS c ON c.oid = k.conrelid
            WHERE k.contype = 'c'
                AND c.relnamespace = 'public'::regnamespace
                AND k.conname !~ format('^%s_.+_check$', c.relname)
        );

        -- Comments ----------------------------------------------------------------------------------------------------------

        problems := problems || ARRAY(
            SELECT
                CASE
                    WHEN a.attnum IS NULL THEN format('%s has no comment', c.oid::regclass)
                    ELSE format('column %s.%s has no comment', c.oid::regclass, a.attname)
                END
            FROM pg_class AS c
            LEFT JOIN pg_attribute AS a
                ON a.attrelid = c.oid
                AND a.attnum > 0
                AND NOT a.attisdropped
                AND col_description(c.oid, a.attnum) IS NULL
            WHERE c.relnamespace IN ('public'::regnamespace, to_regnamespace('tenant'), to_regnamespace('tenant_load'))
                AND c.relkind IN ('r', 'p', 'v', 'm')
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
                AND (a.attnum IS NOT NULL OR obj_description(c.oid, 'pg_class') IS NULL)
            ORDER BY c.relname, a.attnum
        );
        problems := problems || ARRAY(
            SELECT format('index %s has no comment that names what it serves', i.indexrelid::regclass)
            FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indrelid
            WHERE c.relnamespace = 'public'::regnamespace
                AND obj_description(i.indexrelid, 'pg_class') IS NULL
                AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
        );
        problems := problems || ARRAY(
            SELECT format('function %s has no comment', p.oid::regprocedure)
            FROM pg_proc AS p
            WHERE p.pronamespace = 'public'::regnamespace
                AND obj_description(p.oid, 'pg_proc') IS NULL
                AND NOT EXISTS (
                    SELECT
                    FROM pg_depend AS d
                    WHERE d.classid = 'pg_proc'::regclass
                        AND d.objid = p.oid
                        AND d.deptype IN ('e', 'i')
                )
        );

        -- What the edition adds ---------------------------------------------------------------------------------------------

        -- Where rollups are views, they use an index on the hour; without chunks, a BRIN index finds a period.
        problems := problems || ARRAY(
            SELECT format('index %s_%s of %s is missing', l.relation, w.name, l.relation)
            FROM public.time_series_layout() AS l
            JOIN (
                VALUES
                    ('organization_id_hour_idx', 'btree', ARRAY['plain', 'apache', 'citus']),
                    ('time_idx', 'brin', ARRAY['plain', 'citus'])
            ) AS w (name, method, editions) ON edition = ANY (w.editions)
            WHERE NOT EXISTS (
                SELECT
                FROM pg_index AS i
                JOIN pg_class AS c ON c.oid = i.indexrelid
                JOIN pg_am AS m ON m.oid = c.relam
                WHERE i.indrelid = to_regclass('public.' || l.relation)
                    AND c.relname = l.relation || '_' || w.name
                    AND m.amname = w.method
                    AND i.indisvalid
            )
        );
        IF edition IN ('plain', 'citus') THEN
            problems := problems || ARRAY(
                SELECT format('function %s is missing', f.signature)
                FROM unnest(
                    ARRAY[
                        'time_bucket(interval,timestamp)', 'time_bucket(interval,timestamptz)',
                        'time_bucket(interval,timestamptz,text)', 'time_bucket(interval,date)'
                    ]
                ) AS f (signature)
                WHERE to_regprocedure('public.' || f.signature) IS NULL
            );
        ELSE
            problems := problems || ARRAY(
                SELECT format('%s is not a hypertable', l.relation)
                FROM public.time_series_layout() AS l
                WHERE NOT EXISTS (
                    SELECT
                    FROM timescaledb_information.hypertables AS h
                    WHERE h.hypertable_schema = 'public'
                        AND h.hypertable_name = l.relation
                )
            );
        END IF;

        IF edition = 'community' THEN
            problems := problems || ARRAY(
                SELECT format('%s has no columnstore segmented by %s, ordered by %s', l.relation, l.segment_by, l.order_by)
                FROM (
                    SELECT
                        t.relation,
                        to_regclass('public.' || t.relation) AS hypertable,
                        t.segment_by,
                        t.order_by
                    FROM public.time_series_layout() AS t
                    UNION ALL
                    SELECT
                        r.rollup,
                        format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)::regclass,
                        'organization_id',
                        'bucket'
                    FROM public.rollup_definitions() AS r
                    JOIN timescaledb_information.continuous_aggregates AS a ON a.view_schema = 'public' AND a.view_name = r.rollup
                ) AS l
                WHERE NOT EXISTS (
                    SELECT
                    FROM timescaledb_information.hypertable_columnstore_settings AS s
                    WHERE s.hypertable = l.hypertable
                        AND s.segmentby = replace(l.segment_by, ', ', ',')
                        AND replace(s.orderby, '"', '') = replace(l.order_by, ', ', ',')
                )
            );
            problems := problems || ARRAY(
                SELECT format('%s has no columnstore policy', l.relation)
                FROM (
                    SELECT t.relation FROM public.time_series_layout() AS t
                    UNION ALL
                    SELECT r.rollup FROM public.rollup_definitions() AS r WHERE r.refresh_every IS NOT NULL
                ) AS l (relation)
                WHERE NOT EXISTS (
                    SELECT
                    FROM timescaledb_information.jobs AS j
                    WHERE j.hypertable_schema = 'public'
                        AND j.hypertable_name = l.relation
                        AND j.proc_name = 'policy_compression'
                )
            );
            problems := problems || ARRAY(
                SELECT format(
                    '%s is not a continuous aggregate that is %s', r.rollup,
                    CASE WHEN r.is_real_time THEN 'read in real time' ELSE 'read as refreshed' END
                )
                FROM public.rollup_definitions() AS r
                WHERE r.refresh_every IS NOT NULL AND NOT EXISTS (
                    SELECT
                    FROM timescaledb_information.continuous_aggregates AS a
                    WHERE a.view_schema = 'public'
                        AND a.view_name = r.rollup
                        AND a.materialized_only <> r.is_real_time
                )
            );
            problems := problems || ARRAY(
                SELECT format('%s has no refresh policy', r.rollup)
                FROM public.rollup_definitions() AS r
                WHERE r.refresh_every IS NOT NULL AND NOT EXISTS (
                    SELECT
                    FROM timescaledb_information.jobs AS j
                    WHERE j.hypertable_schema = 'public'
                        AND j.hypertable_name = r.rollup
                        AND j.proc_name = 'policy_refresh_continuous_aggregate'
                )
            );
        END IF;

        -- Tenants: one view per relation, with the same columns    -------------------------------------------------------------

        problems := problems || ARRAY(
            SELECT
                CASE
                    WHEN v.oid IS NULL THEN format('view tenant.%s is missing', b.relname)
                    WHEN NOT coalesce(v.reloptions @> '{security_barrier=true}', false) THEN
                        format('view tenant.%s is not a security barrier', b.relname)
                    WHEN b.relkind <> 'v' AND NOT coalesce(v.reloptions @> '{check_option=cascaded}', false) THEN
                        format('view tenant.%s has no check option', b.relname)
                    WHEN pg_get_viewdef(v.oid) !~ format(
                        ' FROM (public\.)?%I\s+WHERE \(organization_id = \( SELECT (public\.)?current_organization_id\(\)'
                        ' AS current_organization_id\)\);$',
                        b.relname
                    ) THEN
                        format('view tenant.%s does not show the rows of current_organization_id() only', b.relname)
                    WHEN v.columns IS DISTINCT FROM b.columns THEN
                        format('view tenant.%s has other columns than public.%s', b.relname, b.relname)
                END
            FROM (
                SELECT
                    c.relname,
                    c.relkind,
                    array_agg(a.attname || ' ' || a.atttypid::regtype ORDER BY a.attnum) AS columns
                FROM pg_class AS c
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relkind IN ('r', 'p', 'v', 'm')
                    AND c.relname <> 'tenant_logins'
                    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
                GROUP BY c.oid
                HAVING bool_or(a.attname = 'organization_id')
            ) AS b
            LEFT JOIN LATERAL (
                SELECT
                    c.oid,
                    c.reloptions,
                    array_agg(a.attname || ' ' || a.atttypid::regtype ORDER BY a.attnum) AS columns
                FROM pg_class AS c
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relnamespace = to_regnamespace('tenant')
                    AND c.relname = b.relname
                    AND c.relkind = 'v'
                GROUP BY c.oid
            ) AS v ON true
            WHERE NOT is_citus
            ORDER BY b.relname
        );
        problems := problems || ARRAY(
            SELECT format('%s has no base in public', c.oid::regclass)
            FROM pg_class AS c
            WHERE c.relnamespace = to_regnamespace('tenant')
                AND to_regclass('public.' || quote_ident(c.relname)) IS NULL
        );
        -- Likewise for loading, and the triggers that keep tenants' statements away from the columnstore.
        problems := problems || ARRAY(
            SELECT
                CASE
                    WHEN v.oid IS NULL THEN format('view tenant_load.%s is missing', l.relation)
                    WHEN NOT coalesce(v.reloptions @> '{security_barrier=true, check_option=cascaded}', false)
                        OR pg_get_viewdef(v.oid) IS DISTINCT FROM pg_get_viewdef(to_regclass('tenant.' || l.relation)) THEN
                        format('view tenant_load.%s differs from tenant.%s', l.relation, l.relation)
                END
            FROM public.time_series_layout() AS l
            LEFT JOIN pg_class AS v ON v.oid = to_regclass('tenant_load.' || l.relation)
            WHERE NOT is_citus
            ORDER BY l.relation
        );
        problems := problems || ARRAY(
            SELECT format('trigger %s_write of %s.%s is missing or disabled', l.relation, s.name, l.relation)
            FROM public.time_series_layout() AS l
            CROSS JOIN (
                VALUES
                    -- row, delete, update, instead; and insert
                    ('tenant', 1 + 8 + 16 + 64 + CASE WHEN public.database_edition() = 'community' THEN 4 ELSE 0 END),
                    ('tenant_load', 1 + 8 + 16 + 64)
            ) AS s (name, kind)
            WHERE public.database_edition() <> 'plain'
                AND to_regclass(s.name || '.' || l.relation) IS NOT NULL
                AND NOT EXISTS (
                    SELECT
                    FROM pg_trigger AS t
                    WHERE t.tgrelid = to_regclass(s.name || '.' || l.relation)
                        AND t.tgname = l.relation || '_write'
                        AND t.tgfoid = to_regprocedure('public.write_tenants_' || l.relation || '()')
                        AND t.tgtype = s.kind
                        AND t.tgenabled IN ('O', 'A')
                )
            ORDER BY 1
        );
        problems := problems || ARRAY(
            SELECT format('CHECK %s_organization_id_is_tenants_own_check of %s is missing or different', c.relname, c.relname)
            FROM pg_class AS c
            WHERE NOT is_citus
                AND c.relnamespace = 'public'::regnamespace
                AND c.relkind IN ('r', 'p')
                AND c.relname NOT IN ('organizations', 'tenant_logins', 'schema_version', 'seed_runs', 'backup_runs')
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
                AND NOT EXISTS (
                    SELECT
                    FROM pg_constraint AS k
                    WHERE k.conrelid = c.oid
                        AND k.conname = c.relname || '_organization_id_is_tenants_own_check'
                        AND pg_get_constraintdef(k.oid) ~ (
                            '^CHECK \(\(has_table_privilege\(tableoid, ''INSERT, UPDATE''::text\) '
                            'OR \(NOT \(organization_id IS DISTINCT FROM (public\.)?current_organization_id\(\)\)\)\)\)'
                        )
                )
        );
        problems := problems || ARRAY(
            SELECT 'current_organization_id() must be STABLE and SECURITY DEFINER, and set its search_path'
            FROM pg_proc AS p
            WHERE p.oid = to_regprocedure('public.current_organization_id()')
                AND NOT (p.provolatile = 's' AND p.prosecdef AND p.proconfig IS NOT NULL)
        );

        problems := problems || ARRAY(
            SELECT 'event trigger decompress_row_by_row is missing or disabled: CREATE TABLE AS may damage text from the columnstore'
            FROM pg_proc AS p
            JOIN pg_roles AS r ON r.oid = p.proowner AND r.rolsuper
            WHERE p.oid = to_regprocedure('public.decompress_row_by_row()')
                AND public.database_edition() = 'community'
                AND NOT EXISTS (
                    SELECT FROM pg_event_trigger AS t WHERE t.evtfoid = p.oid AND t.evtenabled IN ('O', 'A')
                )
        );

        problems := problems || ARRAY(
            SELECT 'event trigger refuse_dump is missing or disabled: a dump could be loaded on top of existing rows'
            FROM pg_proc AS p
            JOIN pg_roles AS r ON r.oid = p.proowner AND r.rolsuper
            WHERE p.oid = to_regprocedure('public.refuse_dump()')
                AND public.database_edition() NOT IN ('plain', 'citus')
                AND NOT EXISTS (
                    SELECT FROM pg_event_trigger AS t WHERE t.evtfoid = p.oid AND t.evtenabled IN ('O', 'A')
                )
        );

        -- Rights --------------------------------------------------------------------------------------------------------------

        problems := problems || ARRAY(
            SELECT format('role %s can log in, or has more than its grants', r.rolname)
            FROM pg_roles AS r
            WHERE r.rolname IN ('barnameh_tenant', 'barnameh_tenant_login', 'barnameh_readonly')
                AND (r.rolcanlogin AND NOT (is_citus AND r.rolname = 'barnameh_tenant') OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls)
        );
        problems := problems || ARRAY(
            SELECT format('role %s is a member of %s', m.member::regrole, m.roleid::regrole)
            FROM pg_auth_members AS m
            WHERE m.member::regrole::text IN ('barnameh_tenant', 'barnameh_tenant_login', 'barnameh_readonly')
        );
        problems := problems || ARRAY(
            SELECT
                CASE
                    WHEN r.oid IS NULL THEN format('login %s of tenant_logins is not a role: CALL drop_tenant_login(%L)', l.role_name, l.role_name)
                    WHEN pg_has_role(r.oid, 'barnameh_tenant', 'MEMBER') THEN
                        format('login %s may act for any organization: REVOKE barnameh_tenant FROM it', l.role_name)
                    ELSE format('login %s is not a member of barnameh_tenant_login', l.role_name)
                END
            FROM public.tenant_logins AS l
            LEFT JOIN pg_roles AS r ON r.rolname = l.role_name
            WHERE r.oid IS NULL
                OR pg_has_role(r.oid, 'barnameh_tenant', 'MEMBER')
                OR NOT pg_has_role(r.oid, 'barnameh_tenant_login', 'USAGE')
        );

        -- Compare every privilege on a relation or column of public, on its chunks and materializations, and on schema
        -- tenant with the expected ones.
        problems := problems || ARRAY(
            WITH relations AS (
                SELECT
                    c.oid,
                    c.relname,
                    c.relkind,
                    c.relacl,
                    n.nspname,
                    EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'recorded_at')
                        AND c.relname <> 'demand_history' AS keeps_history
                FROM pg_class AS c
                JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('public', 'tenant', 'tenant_load', '_timescaledb_internal')
                    AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
                    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
            ),
            expected AS (
                SELECT
                    r.oid,
                    'barnameh_readonly' AS grantee,
                    'SELECT' AS privilege
                FROM relations AS r
                WHERE r.nspname = 'public'
                    AND r.relname <> 'tenant_logins'
                UNION ALL
                SELECT
                    r.oid,
                    t.role_name::text,
                    p.privilege
                FROM relations AS r
                LEFT JOIN pg_class AS base ON base.relnamespace = 'public'::regnamespace AND base.relname = r.relname
                CROSS JOIN unnest(tenant_roles) AS t (role_name)
                CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
                WHERE CASE
                        WHEN is_citus THEN
                            r.nspname = 'public'
                            AND r.relkind <> 'S'
                            AND r.relname NOT IN ('tenant_logins', 'schema_version', 'seed_runs', 'backup_runs', 'database_identity')
                        ELSE r.nspname = 'tenant'
                    END
                    AND (
                        p.privilege = 'SELECT'
                        OR base.relkind IN ('r', 'p')
                        AND (is_citus OR base.relname NOT IN ('resource_history', 'employee_history', 'location_history'))
                        AND base.relname NOT IN (
                            'organizations', 'demand_revisions',
                            'resource_time_sums', 'resource_time_totals', 'resource_time_reports', 'resource_time_states', 'resource_time_marks',
                            'service_schedules', 'api_keys',
                            'sync_targets', 'sync_outbox', 'sync_progress', 'sync_rejected'
                        )
                        AND (p.privilege <> 'DELETE' OR NOT r.keeps_history OR base.relname ~ '^(resource|employee|location)_history$')
                    )
                UNION ALL
                -- A customer's login cannot set the organization of the rows that it loads.
                SELECT
                    r.oid,
                    t.role_name::text,
                    p.privilege || coalesce(' (' || a.attname || ')', '')
                FROM relations AS r
                CROSS JOIN unnest(tenant_roles) AS t (role_name)
                CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
                LEFT JOIN pg_attribute AS a
                    ON a.attrelid = r.oid
                    AND a.attnum > 0
                    AND t.role_name = 'barnameh_tenant_login'::regrole
                    AND p.privilege IN ('INSERT', 'UPDATE')
                WHERE r.nspname = 'tenant_load'
                    AND a.attname IS DISTINCT FROM 'organization_id'
            ),
            granted AS (
                SELECT
                    r.oid,
                    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
                    a.privilege_type AS privilege
                FROM relations AS r
                CROSS JOIN LATERAL (
                    SELECT acl.grantee, acl.privilege_type FROM aclexplode(r.relacl) AS acl
                    UNION ALL
                    SELECT acl.grantee, acl.privilege_type || ' (' || col.attname || ')'
                    FROM pg_attribute AS col
                    CROSS JOIN LATERAL aclexplode(col.attacl) AS acl
                    WHERE col.attrelid = r.oid
                ) AS a
                -- Chunks and materializations inherit the grants of their hypertable, including those of the readers.
                WHERE a.grantee = 0
                    OR a.grantee::regrole = ANY (tenant_roles)
                    OR a.grantee::regrole = 'barnameh_readonly'::regrole
                    AND (r.nspname <> '_timescaledb_internal' OR a.privilege_type <> 'SELECT')
            )
            SELECT
                CASE
                    WHEN g.oid IS NULL THEN format('%s lacks %s on %s', e.grantee, e.privilege, e.oid::regclass)
                    ELSE format('%s has %s on %s', g.grantee, g.privilege, g.oid::regclass)
                END
            FROM expected AS e
            FULL JOIN granted AS g ON g.oid = e.oid AND g.grantee = e.grantee AND g.privilege = e.privilege
            WHERE e.oid IS NULL OR g.oid IS NULL
            ORDER BY 1
        );

        problems := problems || ARRAY(
            WITH expected (schema_name, grantee, privilege) AS (
                VALUES
                    ('tenant', 'barnameh_tenant', 'USAGE'),
                    ('tenant', 'barnameh_tenant_login', 'USAGE'),
                    ('tenant_load', 'barnameh_tenant', 'USAGE'),
                    ('tenant_load', 'barnameh_tenant_login', 'USAGE'),
                    ('public', 'barnameh_tenant', 'USAGE'),
                    ('public', 'barnameh_tenant_login', 'USAGE'),
                    ('public', 'barnameh_readonly', 'USAGE'),
                    ('public', 'PUBLIC', 'USAGE')
            ),
            granted AS (
                SELECT
                    n.nspname AS schema_name,
                    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
                    a.privilege_type AS privilege
                FROM pg_namespace AS n
                CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
                WHERE n.nspname IN ('public', 'tenant', 'tenant_load')
                    AND (a.grantee = 0 OR a.grantee::regrole = ANY (tenant_roles || 'barnameh_readonly'::regrole))
            )
            SELECT
                CASE
                    WHEN g.grantee IS NULL THEN format('%s lacks %s on schema %s', e.grantee, e.privilege, e.schema_name)
                    ELSE format('%s has %s on schema %s', g.grantee, g.privilege, g.schema_name)
                END
            FROM expected AS e
            FULL JOIN granted AS g USING (schema_name, grantee, privilege)
            WHERE (e.grantee IS NULL OR g.grantee IS NULL)
                AND e.grantee IS DISTINCT FROM 'PUBLIC'  -- missing privileges of PUBLIC are not an error
        );

        problems := problems || ARRAY(
            SELECT format('PUBLIC may call %s', p.oid::regprocedure)
            FROM pg_proc AS p
            WHERE has_function_privilege('barnameh_tenant', p.oid, 'EXECUTE')
                AND pg_has_role(p.proowner, 'USAGE')
                AND (
                    -- SECURITY DEFINER functions, and procedures that manage the database.
                    p.pronamespace = 'public'::regnamespace
                    AND (
                        -- These check the caller themselves.
                        p.prosecdef AND p.proname NOT IN (
                            'current_organization_id', 'change_resource', 'change_employee', 'change_location',
                            'raw_spans',  -- discloses times only
                            'use_api_key'  -- requires the whole key
                        )
                        OR p.proname IN (
                            'set_retention', 'refresh_rollups', 'double_rows', 'remove_double_rows',
                            'rollup_differences', 'create_tenant_login', 'drop_tenant_login',
                            'end_long_tenant_transactions', 'limit_tenant_login', 'keep_login_to_own_rows', 'secure_rows', 'add_job', 'delete_job',
                            'run_job', 'alter_job', 'drop_chunks', 'compress_chunk', 'decompress_chunk', 'hypertable_size'
                        )
                    )
                    OR p.pronamespace = 'pg_catalog'::regnamespace
                    AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import')
                )
        );
        problems := problems || ARRAY(
            SELECT format('logins of customers may call %s', p.oid::regprocedure)
            FROM pg_proc AS p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
                AND (p.proname ~ '^pg_(try_)?advisory_(xact_)?lock' OR p.proname = 'pg_notify')
                AND pg_has_role(p.proowner, 'USAGE')
                AND has_function_privilege('barnameh_tenant_login', p.oid, 'EXECUTE')
        );
        problems := problems || ARRAY(
            SELECT format('%s runs with the owner''s rights but does not set its search_path', p.oid::regprocedure)
            FROM pg_proc AS p
            WHERE p.pronamespace = 'public'::regnamespace
                AND p.prosecdef
                AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s (setting) WHERE s.setting ~ '^search_path=')
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        );
        problems := problems || ARRAY(
            SELECT format('%s of TimescaleDB can be read by PUBLIC', c.oid::regclass)
            FROM pg_class AS c
            JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
            JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'timescaledb'
            WHERE c.relkind IN ('r', 'v')
                AND has_table_privilege('barnameh_tenant', c.oid, 'SELECT')
                AND pg_has_role(c.relowner, 'USAGE')
        );

        -- Over several machines -----------------------------------------------------------------------------------------------

        IF is_citus THEN
            problems := problems || ARRAY(
                SELECT
                    CASE
                        WHEN p.logicalrelid IS NULL THEN format('%s is not distributed', c.oid::regclass)
                        WHEN p.colocationid IS DISTINCT FROM first.colocationid THEN format('%s is not co-located with organizations', c.oid::regclass)
                        WHEN NOT c.relrowsecurity THEN format('%s has no row security', c.oid::regclass)
                    END
                FROM pg_class AS c
                LEFT JOIN pg_dist_partition AS p ON p.logicalrelid = c.oid
                LEFT JOIN pg_dist_partition AS first ON first.logicalrelid = to_regclass('public.organizations')
                WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relkind IN ('r', 'p')
                    AND c.relname NOT IN ('tenant_logins', 'schema_version', 'seed_runs', 'backup_runs')
                    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
                ORDER BY c.relname
            );
            -- Compare every existing policy with the expected ones.
            problems := problems || ARRAY(
                WITH tables AS (
                    SELECT c.oid
                    FROM pg_class AS c
                    WHERE c.relnamespace = 'public'::regnamespace
                        AND c.relrowsecurity
                ),
                expected AS (
                    SELECT
                        t.oid,
                        'barnameh_tenant' AS role_name,
                        '*' AS command,
                        '(organization_id = (NULLIF(current_setting(''app.organization_id''::text, true), ''''::text))::uuid)' AS condition
                    FROM tables AS t
                    UNION ALL
                    SELECT t.oid, 'barnameh_readonly', 'r', 'true'
                    FROM tables AS t
                    UNION ALL
                    SELECT t.oid, l.role_name::text, '*', format('(organization_id = %L::uuid)', l.organization_id)
                    FROM tables AS t
                    CROSS JOIN public.tenant_logins AS l
                ),
                granted AS (
                    SELECT
                        p.polrelid AS oid,
                        array_to_string(p.polroles::regrole[], ', ') AS role_name,
                        p.polcmd::text AS command,
                        pg_get_expr(p.polqual, p.polrelid) || coalesce(' with check ' || pg_get_expr(p.polwithcheck, p.polrelid), '') AS condition
                    FROM pg_policy AS p
                    JOIN tables AS t ON t.oid = p.polrelid
                    WHERE p.polpermissive
                )
                SELECT
                    CASE
                        WHEN g.oid IS NULL THEN format('%s has no policy for %s: %s', e.oid::regclass, e.role_name, e.condition)
                        ELSE format('%s has a policy for %s: %s', g.oid::regclass, g.role_name, g.condition)
                    END
                FROM expected AS e
                FULL JOIN granted AS g USING (oid, role_name, command, condition)
                WHERE e.oid IS NULL OR g.oid IS NULL
                ORDER BY 1
            );
            FOR node IN
                SELECT
                    n.nodename,
                    n.nodeport,
                    CASE WHEN n.isactive AND n.metadatasynced THEN r.success END AS success,
                    r.result
                FROM pg_dist_node AS n
                LEFT JOIN run_command_on_workers(
                    -- Privileges granted when the schema is applied, which a node added later lacks.
                    $node$
                    SELECT concat_ws('; ',
                        (
                            SELECT 'PUBLIC may call ' || string_agg(p.oid::regprocedure::text, ', ')
                            FROM pg_proc AS p
                            WHERE p.pronamespace = 'pg_catalog'::regnamespace
                                AND p.proname ~ '^run_command_on_'
                                AND has_function_privilege('barnameh_tenant_login', p.oid, 'EXECUTE')
                        ),
                        (
                            SELECT 'barnameh_tenant lacks SELECT on ' || string_agg(c.oid::regclass::text, ', ')
                            FROM pg_class AS c
                            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id'
                            WHERE c.relnamespace = 'public'::regnamespace
                                AND c.relkind = 'v'
                                AND NOT has_table_privilege('barnameh_tenant', c.oid, 'SELECT')
                        )
                    )
                    $node$
                ) AS r ON r.nodename = n.nodename AND r.nodeport = n.nodeport
                WHERE n.groupid <> 0
                    AND n.noderole = 'primary'
            LOOP
                problems := problems || CASE
                    WHEN node.success IS NULL THEN format('node %s:%s is not active', node.nodename, node.nodeport)
                    WHEN NOT node.success OR node.result <> '' THEN format('node %s:%s: %s', node.nodename, node.nodeport, node.result)
                END;
            END LOOP;
        END IF;

        -- Checked last: other missing objects may have taken a bound with them, or have added a column without one.
        IF cardinality(array_remove(problems, NULL)) = 0 THEN
            problems := ARRAY(
                SELECT format('column %s.%s has no bound: CHECK %s is missing', b.table_name, b.column_name, b.check_name)
                FROM public.value_bounds() AS b
                WHERE NOT EXISTS (
                    SELECT
                    FROM pg_constraint AS k
                    WHERE k.conrelid = to_regclass(format('public.%I', b.table_name))
                        AND k.conname = b.check_name
                        AND pg_get_constraintdef(k.oid) <> 'CHECK (true)'
                )
            );
        END IF;

    END rules;

    problems := array_remove(problems, NULL);
    IF cardinality(problems) > 0 THEN
        RAISE EXCEPTION E'% missing or wrong in the schema of this database:\n- %',
            CASE cardinality(problems) WHEN 1 THEN '1 thing is' ELSE cardinality(problems) || ' things are' END,
            array_to_string(problems, E'\n- ')
            USING HINT = 'Apply the schema again (sql/schema.sql): it creates missing tables, views, functions, indexes, triggers, '
                'comments and rights. Restore a lost column or constraint with ALTER TABLE, as defined in the table''s file.';
    END IF;
END
$verify$;
