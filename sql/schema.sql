-- The schema, in order. Apply it to any PostgreSQL 16+ database, as often as you like, all or nothing:
--
--     psql "$DATABASE_URL" -X -v ON_ERROR_STOP=1 --single-transaction -f sql/schema.sql
--
-- The container's first start does just that; db_utils.schema.apply() runs the files named here in the same order.
-- Afterwards, outside a transaction: CALL refresh_rollups();

-- idempotent/ creates missing tables and recreates views, functions, triggers and grants, every time. incremental/ brings
-- the tables of earlier versions up to the definitions in idempotent/: each file checks in the catalog whether it is
-- needed, and released files are never changed; a later change gets a new file.

-- Make the files independent of the settings of the database and the role.
SET standard_conforming_strings = on;
SET quote_all_identifiers = off;
SET search_path = public, pg_temp;
\ir idempotent/01_edition.sql
\ir idempotent/02_helpers.sql
\ir idempotent/10_core.sql
\ir idempotent/20_planning.sql
\ir idempotent/30_time_series.sql
\ir idempotent/40_predictions.sql
\ir idempotent/50_external_and_results.sql
\ir incremental/001_bounds.sql
\ir incremental/002_event_index.sql
\ir incremental/003_time_zones.sql
\ir incremental/004_unknown_quantities.sql
\ir incremental/005_forecast_targets.sql
\ir incremental/006_demand_revisions.sql
\ir incremental/007_codes.sql
\ir incremental/008_open_kinds.sql
\ir incremental/009_kept_time.sql
\ir incremental/010_recent_status.sql
\ir incremental/011_time_totals.sql
\ir incremental/012_packed_time.sql
\ir incremental/013_daily_views.sql
\ir idempotent/53_api_keys.sql
\ir idempotent/53_models.sql
\ir idempotent/53_outbox.sql
\ir idempotent/53_rosters.sql
\ir idempotent/54_services.sql
\ir idempotent/55_triggers.sql
\ir idempotent/57_history.sql
\ir idempotent/60_hypertables.sql
\ir idempotent/62_dumps.sql
\ir idempotent/65_rollups.sql
\ir idempotent/67_bounds.sql
\ir idempotent/67_rollup_reads.sql
\ir idempotent/70_views.sql
\ir idempotent/72_timeline.sql
\ir idempotent/73_timeline_sums.sql
\ir idempotent/75_prediction_functions.sql
\ir idempotent/80_kpis.sql
\ir idempotent/85_doubles.sql
\ir idempotent/88_outbox_triggers.sql
\ir idempotent/90_tenants.sql
\ir idempotent/91_tenant_columnstore.sql
\ir idempotent/92_citus.sql
\ir idempotent/95_jobs.sql
\ir idempotent/99_version.sql
