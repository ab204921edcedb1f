#!/bin/sh
# Entry point of the postgres container, run before the image's own.
#
# The image only checks whether the data directory is empty, so after an interrupted or failed first start the next one
# would serve an incomplete schema. This script distinguishes an empty directory (first start; init.sh writes a marker when
# it is done), an initialised one, and an incomplete one.
set -eu

. "${0%/*}/common.sh"
marker=$PGDATA/barnameh_initialised
first_start=/tmp/barnameh_first_start
refused=/tmp/barnameh_refused
rm -f "$first_start" "$refused"

# Keep running without serving, so that the reason remains the last log entry, the health check can report it, and a
# restart policy does not loop.
refuse() {
    printf 'barnameh: %s\n' "$@" >"$refused"
    cat "$refused" >&2
    trap 'exit 1' INT TERM
    while :; do
        sleep 3600 &
        wait "$!"
    done
}

# Files mounted by Compose keep their owner and permissions; report unreadable ones clearly, before the server fails on them.
for file in "${POSTGRES_PASSWORD_FILE:-}" "${POSTGRES_TLS_CERT_FILE:-}" "${POSTGRES_TLS_KEY_FILE:-}"; do
    [ -z "$file" ] || [ -r "$file" ] || refuse \
        "The container cannot read $file." \
        "Make the file behind it readable to the container's user (chmod 644, in a folder that only you may enter), then:" \
        "  docker compose up -d --wait"
done

! is_open_to_all || refuse "$open_to_all"

# Statement statistics, if the image has the module; by default the image preloads TimescaleDB only.
if [ -e "$(pg_config --pkglibdir 2>/dev/null)/pg_stat_statements.so" ]; then
    set -- "$@" -c shared_preload_libraries=timescaledb,pg_stat_statements
fi

# TLS. The server requires a private key that it owns; /tmp is in memory and ends with the container.
if [ -n "${POSTGRES_TLS_CERT_FILE:-}" ]; then
    install -m 600 "$POSTGRES_TLS_CERT_FILE" /tmp/server.crt
    install -m 600 "$POSTGRES_TLS_KEY_FILE" /tmp/server.key
    cat >/tmp/pg_hba.conf <<'HBA'
# Inside the container as in the image; from outside through TLS only.
local   all         all                trust
host    all         all 127.0.0.1/32   scram-sha-256
host    all         all ::1/128        scram-sha-256
hostssl all         all all            scram-sha-256
hostssl replication all all            scram-sha-256
HBA
    set -- "$@" -c ssl=on -c ssl_cert_file=/tmp/server.crt -c ssl_key_file=/tmp/server.key \
        -c ssl_min_protocol_version=TLSv1.2 -c hba_file=/tmp/pg_hba.conf
fi

# A replica is a copy of the primary's data directory, including the marker. A promoted replica is left alone. It logs in to
# the primary with the password of this start, so that the copy keeps no password, which may change.
if [ -n "${REPLICA_OF:-}" ]; then
    export PGPASSFILE=/tmp/primary_password
    (umask 077; printf '*:*:*:*:%s\n' "$(password | sed 's/[\\:]/\\&/g')" >"$PGPASSFILE")
    [ -e "$PGDATA/barnameh_replica" ] || { touch "$first_start"; sh /barnameh/copy_primary.sh; }
    exec docker-entrypoint.sh "$@"
fi

if [ -e "$marker" ]; then
    # Volumes from earlier versions have no replication line; these connections require a password and the REPLICATION privilege.
    grep -Eq '^host +replication +all +all ' "$PGDATA/pg_hba.conf" ||
        echo "host replication all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    exec docker-entrypoint.sh "$@"
fi

if [ -n "$(ls -A "$PGDATA" 2>/dev/null)" ]; then
    refuse \
        "THE FIRST START OF THIS DATABASE DID NOT FINISH, so its schema or its data is incomplete." \
        "It is not served, and contains none of your data. The reason is further up in" \
        "  docker compose logs postgres" \
        "Remove the incomplete volume and start again:" \
        "  docker compose down -v" \
        "  docker compose up -d --wait" \
        "(A complete data directory from elsewhere, such as a restored base backup, only lacks the" \
        "marker:  docker compose exec postgres touch $marker  and  docker compose restart postgres)"
fi

# Check in advance for problems that would make the first start fail midway.
case $POSTGRES_DB in
    *=* | postgres://* | postgresql://*)
        # The image's scripts pass the name to psql, which would treat it as a connection string.
        refuse "POSTGRES_DB is '$POSTGRES_DB'. Choose a name without '=' or '://' in .env, then: docker compose up -d --wait"
        ;;
esac
case ${SEED_SAMPLE_DATA:=true} in
    true | false) ;;
    *) refuse "SEED_SAMPLE_DATA is '$SEED_SAMPLE_DATA'. Set it to true or false in .env, then: docker compose up -d --wait" ;;
esac
for file in /barnameh/sql/schema.sql /barnameh/seeds/seed_data.sql /docker-entrypoint-initdb.d/zz_barnameh_init.sh; do
    [ -r "$file" ] || refuse \
        "The container cannot read $file." \
        "Make the checkout readable to everyone (chmod -R a+rX sql seeds postgres), then: docker compose up -d --wait"
done

touch "$first_start"
exec docker-entrypoint.sh "$@"
