#!/usr/bin/env bash
# Makes one database of the coordinator and its workers, applies the schema, and looks after it from then on.
#
# Every step may run again: after a restart, after an image of a newer version, after a worker was added to WORKERS.
set -euo pipefail

: "${PGUSER:?}" "${PGPASSWORD:?}" "${PGDATABASE:?}" "${COORDINATOR:?}" "${WORKERS:?}"
. /barnameh/common.sh
ready=/tmp/barnameh_ready
rm -f "$ready"
export PGOPTIONS=$schema_options

# A password of quotes and backslashes too: psql's variables quote them.
on() { # on HOST [psql's arguments]
    local host=$1
    shift
    PGHOST=$host psql -X -q -w -v ON_ERROR_STOP=1 -o /dev/null -v "user=$PGUSER" -v "password=$PGPASSWORD" "$@"
}

# The nodes connect to each other as whoever asks, each with a password that only the nodes know. barnameh_tenant has one of its own.
trust() { # trust HOST ROLE PASSWORD
    on "$1" -v "role=$2" -v "info=password='$(printf %s "$3" | sed "s/[\\\\']/\\\\&/g")'" -f - <<'SQL'
INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo)
VALUES (0, :'role', :'info'), (-1, :'role', :'info')
ON CONFLICT (rolename, nodeid) DO UPDATE
SET authinfo = excluded.authinfo;
SQL
}

for node in $COORDINATOR $WORKERS; do
    on "$node" -c 'CREATE EXTENSION IF NOT EXISTS citus'
    trust "$node" "$PGUSER" "$PGPASSWORD"
done
on "$COORDINATOR" -c "SELECT citus_set_coordinator_host('$COORDINATOR', 5432)"
for node in $WORKERS; do
    on "$COORDINATOR" -c "SELECT citus_add_node('$node', 5432)"
done

started=$SECONDS
say "applying the schema (sql/schema.sql)"
manifest | on "$COORDINATOR" --single-transaction -f -
say "schema applied in $((SECONDS - started)) s"

secret=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
on "$COORDINATOR" -c "ALTER ROLE barnameh_tenant PASSWORD '$secret'"
for node in $COORDINATOR $WORKERS; do
    trust "$node" barnameh_tenant "$secret"
done

if [ "${SEED_SAMPLE_DATA:-true}" = true ] &&
    [ "$(PGHOST=$COORDINATOR psql -X -w -At -c 'SELECT count(*) FROM organizations')" = 0 ]; then
    say "loading seeds/seed_data.sql"
    # Its functions of the session stay on the coordinator, of which each would be told.
    PGOPTIONS="$PGOPTIONS --client-min-messages=error" on "$COORDINATOR" --single-transaction -f "$seeds/seed_data.sql"
fi
on "$COORDINATOR" -c 'CALL refresh_rollups()' -c 'ANALYZE'
say "checking with sql/verify.sql"
on "$COORDINATOR" -f "$sql/verify.sql"
touch "$ready"
say "ready"

# Who may write to a table may lock it, for everybody: sessions of tenants that hold on for long are ended. Nobody else trims the outbox here.
trap 'exit 0' INT TERM
while :; do
    sleep 60 &
    wait "$!"
    on "$COORDINATOR" -c 'CALL end_long_tenant_transactions()' -c 'SELECT trim_sync_outbox()' || say "the coordinator does not answer"
done
