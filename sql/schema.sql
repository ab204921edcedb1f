-- The schema, in order. Apply it to any PostgreSQL 16+ database, as often as you like, all or nothing:
--
--     psql "$DATABASE_URL" -X -v ON_ERROR_STOP=1 --single-transaction -f sql/schema.sql
--
-- The container's first start does just that; db_utils.schema.apply() runs the files named here in the same order.
-- Afterwards, outside a transaction: CALL refresh_rollups();

-- They mean the same whatever the database's or role's settings are.
SET standard_conforming_strings = on;
SET quote_all_identifiers = off;
SET search_path = public, pg_temp;
\ir 01_edition.sql
\ir 02_helpers.sql
\ir 10_core.sql
\ir 20_planning.sql
\ir 30_time_series.sql
\ir 40_predictions.sql
\ir 50_external_and_results.sql
\ir 52_upgrades.sql
\ir 53_api_keys.sql
\ir 53_models.sql
\ir 53_outbox.sql
\ir 53_rosters.sql
\ir 54_services.sql
\ir 55_triggers.sql
\ir 57_history.sql
\ir 60_hypertables.sql
\ir 62_dumps.sql
\ir 65_rollups.sql
\ir 67_bounds.sql
\ir 67_rollup_reads.sql
\ir 70_views.sql
\ir 72_timeline.sql
\ir 73_timeline_sums.sql
\ir 75_prediction_functions.sql
\ir 80_kpis.sql
\ir 85_doubles.sql
\ir 88_outbox_triggers.sql
\ir 90_tenants.sql
\ir 91_tenant_columnstore.sql
\ir 92_citus.sql
\ir 95_jobs.sql
\ir 99_version.sql
