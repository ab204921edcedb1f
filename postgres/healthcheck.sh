#!/bin/sh
# Healthy means that the first start has finished, the server answers over TCP as the configured user, and the schema
# exists. (During the first start the server listens on its socket only, where a check would succeed too early.)
#
# While the database is starting (first start, crash recovery) the check waits instead of failing, so no timeout has to be
# guessed for slow disks, and `docker compose up --wait` returns as soon as it is ready.
set -u

marker=$PGDATA/barnameh_initialised
first_start=/tmp/barnameh_first_start
refused=/tmp/barnameh_refused
give_up=$(($(date +%s) + 540)) # seconds; below the timeout of the health check in docker-compose.yml

. "${0%/*}/common.sh"
PGPASSWORD=$(password)
export PGHOST=127.0.0.1 PGPORT=5432 PGUSER="$POSTGRES_USER" PGDATABASE="$POSTGRES_DB" PGPASSWORD PGCONNECT_TIMEOUT=5 PGAPPNAME=healthcheck

wait_or_fail() {
    [ "$(date +%s)" -lt "$give_up" ] || { echo "barnameh: $1: docker compose logs postgres"; exit 1; }
    sleep 1
}

if [ -e "$refused" ]; then
    cat "$refused"
    exit 1
fi

listens() { pg_isready -q -t 5 || [ $? -ne 2 ]; } # 2: no answer; 1: starting up or recovering

# The first start ends with a restart; the marker is written before the server opens its port.
while [ -e "$first_start" ] && ! { [ -e "$marker" ] && listens; }; do
    wait_or_fail "the first start has been running for nine minutes"
done

while pg_isready -q -t 5; [ $? -eq 1 ]; do
    wait_or_fail "the server has been starting up for nine minutes"
done

if ! answer=$(timeout 10 psql -X -q -A -t -w -c 'SELECT EXISTS (SELECT FROM public.schema_version)' 2>&1); then
    echo "$answer"
    echo "barnameh: POSTGRES_USER and POSTGRES_DB take effect on the first start of an empty volume only."
    exit 1
fi
if [ "$answer" != t ]; then
    echo "barnameh: the table schema_version is empty: the schema was not applied to database $POSTGRES_DB."
    exit 1
fi
rm -f "$first_start"
