#!/bin/sh
# What the postgres container runs, in front of the image's own entry point.
#
# The image looks only at whether the data folder is empty, so a first start that was killed or met an error would be
# followed by a second one that serves half a schema. This script tells the three cases apart: an empty folder
# (first start: init.sh leaves a marker as its very last act), a finished one, and one that never got that far.
set -eu

. "${0%/*}/common.sh"
marker=$PGDATA/barnameh_initialised
first_start=/tmp/barnameh_first_start
refused=/tmp/barnameh_refused
rm -f "$first_start" "$refused"

# Stay up without serving: the reason stays the last thing in the log, the health check repeats it, and a restart
# policy does not turn it into a loop.
refuse() {
    printf 'barnameh: %s\n' "$@" >"$refused"
    cat "$refused" >&2
    trap 'exit 1' INT TERM
    while :; do
        sleep 3600 &
        wait "$!"
    done
}

# Files that Compose mounts keep their owner and rights; what cannot be read is said before the server says it its way.
for file in "${POSTGRES_PASSWORD_FILE:-}" "${POSTGRES_TLS_CERT_FILE:-}" "${POSTGRES_TLS_KEY_FILE:-}"; do
    [ -z "$file" ] || [ -r "$file" ] || refuse \
        "The container cannot read $file." \
        "Make the file behind it readable to the container's user (chmod 644, in a folder that only you may enter), then:" \
        "  docker compose up -d --wait"
done

! is_open_to_all || refuse "$open_to_all"

# Statement statistics, where the image has the module; the image's own default loads TimescaleDB alone.
if [ -e "$(pg_config --pkglibdir 2>/dev/null)/pg_stat_statements.so" ]; then
    set -- "$@" -c shared_preload_libraries=timescaledb,pg_stat_statements
fi

# TLS. The server wants a key that is its own and private, and /tmp is memory that ends with the container.
if [ -n "${POSTGRES_TLS_CERT_FILE:-}" ]; then
    install -m 600 "$POSTGRES_TLS_CERT_FILE" /tmp/server.crt
    install -m 600 "$POSTGRES_TLS_KEY_FILE" /tmp/server.key
    cat >/tmp/pg_hba.conf <<'HBA'
# Inside the container as the image has it; from outside only through TLS.
local   all         all                trust
host    all         all 127.0.0.1/32   scram-sha-256
host    all         all ::1/128        scram-sha-256
hostssl all         all all            scram-sha-256
hostssl replication all all            scram-sha-256
HBA
    set -- "$@" -c ssl=on -c ssl_cert_file=/tmp/server.crt -c ssl_key_file=/tmp/server.key \
        -c ssl_min_protocol_version=TLSv1.2 -c hba_file=/tmp/pg_hba.conf
fi

# A replica is a copy of the primary's folder, marker included. One that was promoted stays what it has become.
if [ -n "${REPLICA_OF:-}" ]; then
    [ -e "$PGDATA/barnameh_replica" ] || { touch "$first_start"; sh /barnameh/copy_primary.sh; }
    exec docker-entrypoint.sh "$@"
fi

if [ -e "$marker" ]; then
    # Volumes of before have no line for replicas; each of these needs a password and the right to replicate.
    grep -Eq '^host +replication +all +all ' "$PGDATA/pg_hba.conf" ||
        echo "host replication all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    exec docker-entrypoint.sh "$@"
fi

if [ -n "$(ls -A "$PGDATA" 2>/dev/null)" ]; then
    refuse \
        "THE FIRST START OF THIS DATABASE DID NOT FINISH, so its schema or its data is incomplete." \
        "Nothing is served from it, and nothing was ever stored in it by you. The reason is further up in" \
        "  docker compose logs postgres" \
        "Remove the half-made volume and start again:" \
        "  docker compose down -v" \
        "  docker compose up -d --wait" \
        "(A complete data folder that you brought from elsewhere, such as a restored base backup, only lacks the" \
        "marker:  docker compose exec postgres touch $marker  and  docker compose restart postgres)"
fi

# What would stop the first start half-way is looked at before it begins.
case $POSTGRES_DB in
    *=* | postgres://* | postgresql://*)
        # The image's own scripts hand the name to psql, which would read it as a connection string.
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
