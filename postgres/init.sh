#!/usr/bin/env bash
# First start only: apply the schema, load the sample data, refresh the rollups, verify, and finally write the marker of success.
#
# The image runs this file after its own 000_ and 001_ scripts. If the executable bit was lost (zip download, Windows), it
# sources the file instead; the subshell keeps settings from leaking into the image's script.
#
# PGDATA, POSTGRES_USER, POSTGRES_DB: set by the image.   SEED_SAMPLE_DATA: true (default) or false.
(
set -euo pipefail

. /barnameh/common.sh
step="nothing yet"

# Names are passed in the environment, because psql would interpret some arguments as connection strings.
export PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB
export PGOPTIONS=$schema_options

apply() { psql -X -q --no-password -v ON_ERROR_STOP=1 -o /dev/null "$@"; }

finish() {
    local status=$?
    [ "$status" -eq 0 ] && return
    {
        say "FIRST START FAILED in this step: $step."
        say "The psql line above names the file, the line and the error. Correct that, then remove the incomplete"
        say "volume and start again:"
        say "  docker compose down -v"
        say "  docker compose up -d --wait"
    } >&2
}
trap finish EXIT

# TimescaleDB would start the schema's jobs while this script is running, and two refreshes of one rollup conflict. The
# jobs start when the server is restarted, right after this script.
step="pausing TimescaleDB's jobs"
apply <<'SQL'
DO $$
BEGIN
    IF to_regprocedure('_timescaledb_functions.stop_background_workers()') IS NOT NULL THEN
        PERFORM _timescaledb_functions.stop_background_workers();
    END IF;
END
$$;
SQL

step="schema (sql/schema.sql)"
SECONDS=0
manifest | apply --single-transaction -f -
say "schema applied in ${SECONDS} s"

if [ "${SEED_SAMPLE_DATA:-true}" = true ]; then
    step="sample data (seeds/seed_data.sql)"
    SECONDS=0
    say "loading seeds/seed_data.sql"
    apply --single-transaction -f "$seeds/seed_data.sql"
    say "sample data loaded in ${SECONDS} s"
else
    say "no sample data (SEED_SAMPLE_DATA=false)"
fi

step="rollups (CALL refresh_rollups())"
# TimescaleDB logs two messages with context for each bucket it examines: thousands of useless lines.
apply -c 'SET log_min_messages = fatal' -c 'CALL refresh_rollups()'

# In the database postgres: the view covers the statements of all databases, and dumps of our database do not include it.
step="statement statistics (pg_stat_statements)"
if [ "$POSTGRES_DB" != postgres ]; then
    PGDATABASE=postgres apply <<'SQL'
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') THEN
        CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
    END IF;
END
$$;
SQL
fi

step="guard of new databases (sql/idempotent/62_dumps.sql)"
PGDATABASE=template1 apply -f "$sql/idempotent/62_dumps.sql"

step="line for replicas (pg_hba.conf)"
echo "host replication all all scram-sha-256" >>"$PGDATA/pg_hba.conf"

step="planner statistics (ANALYZE)"
apply -c 'ANALYZE'

step="check (sql/verify.sql)"
say "checking with sql/verify.sql"
apply -f "$sql/verify.sql"

step="marker"
date -u '+%Y-%m-%dT%H:%M:%SZ' >"$PGDATA/barnameh_initialised"
say "first start complete"
)
