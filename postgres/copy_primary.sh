#!/bin/sh
# First start of the replica: copy the primary's data directory, then stream from it.
#
# The replication slot keeps WAL on the primary until this replica has received it, up to max_slot_wal_keep_size. A replica
# that fell too far behind is copied again; it has no data of its own. PGPASSFILE: written by start.sh.
set -eu

slot=barnameh_replica
export PGHOST="$REPLICA_OF" PGPORT=5432 PGUSER="$POSTGRES_USER" PGCONNECT_TIMEOUT=10

echo "barnameh: copying the data directory of $REPLICA_OF"
find "$PGDATA" -mindepth 1 -delete
chmod 700 "$PGDATA"
PGDATABASE=$POSTGRES_DB psql -X -q --no-password -v ON_ERROR_STOP=1 -o /dev/null -c \
    "SELECT pg_create_physical_replication_slot('$slot') WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$slot')"
pg_basebackup --no-password --pgdata="$PGDATA" --write-recovery-conf --slot="$slot" --checkpoint=fast
date -u '+%Y-%m-%dT%H:%M:%SZ' >"$PGDATA/barnameh_replica"
echo "barnameh: the copy is complete; following $REPLICA_OF"
