#!/usr/bin/env bash
# Set up one database over the coordinator and its workers, apply the schema, and maintain it from then on.
#
# Every step is idempotent: it can run again after a restart, with a newer image, or after adding a worker to WORKERS.
set -euo pipefail

: "${PGUSER:?}" "${PGPASSWORD:?}" "${PGDATABASE:?}" "${COORDINATOR:?}" "${WORKERS:?}"
. /barnameh/common.sh
ready=/tmp/barnameh_ready
rm -f "$ready"
export PGOPTIONS=$schema_options

# psql variables quote passwords with quotes and backslashes correctly.
on() { # on HOST [psql's arguments]
    local host=$1
    shift
    PGHOST=$host psql -X -q -w -v ON_ERROR_STOP=1 -o /dev/null -v "user=$PGUSER" -v "password=$PGPASSWORD" "$@"
}

# Nodes connect to each other as the current user, with a password known to the nodes only. barnameh_tenant has its own.
trust() { # trust HOST ROLE PASSWORD
    on "$1" -v "role=$2" -v "info=password='$(printf %s "$3" | sed "s/[\\\\']/\\\\&/g")'" -f - <<'SQL'
INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo)
VALUES (0, :'role', :'info'), (-1, :'role', :'info')
ON CONFLICT (rolename, nodeid) DO UPDATE
SET authinfo = excluded.authinfo;
SQL
}

# Compose waits for the workers that it starts always, not for those of a profile, which make their data directories first.
answers() { # answers HOST
    local until=$((SECONDS + 300))
    until pg_isready -q -h "$1"; do
        [ "$SECONDS" -lt "$until" ] || { say "$1 has not answered for five minutes; is it in CITUS_WORKERS, but not running?"; exit 1; }
        sleep 1
    done
}

for node in $COORDINATOR $WORKERS; do
    answers "$node"
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
    # The seed's session-local functions exist on the coordinator only; hide a notice for each.
    PGOPTIONS="$PGOPTIONS --client-min-messages=error" on "$COORDINATOR" --single-transaction -f "$seeds/seed_data.sql"
fi
on "$COORDINATOR" -c 'CALL refresh_rollups()' -c 'ANALYZE'
say "checking with sql/verify.sql"
on "$COORDINATOR" -f "$sql/verify.sql"
touch "$ready"
say "ready"

# A role that may write to a table may also lock it for everyone: end tenant sessions that block others for long. Nothing
# else trims the outbox here.
trap 'exit 0' INT TERM
while :; do
    sleep 60 &
    wait "$!"
    on "$COORDINATOR" -c 'CALL end_long_tenant_transactions()' -c 'SELECT trim_sync_outbox()' || say "the coordinator does not answer"
done
