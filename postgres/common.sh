#!/bin/sh
# Shared by the container scripts of both stacks (postgres/, citus/); sourced by sh and bash.

sql=/barnameh/sql
seeds=/barnameh/seeds
# Make the files independent of POSTGRES_INITDB_ARGS and any postgresql.conf.
schema_options="--client-min-messages=warning --standard-conforming-strings=on --quote-all-identifiers=off --search-path=public"

say() { echo "barnameh: $*"; }

password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then cat "$POSTGRES_PASSWORD_FILE"; else printf %s "${POSTGRES_PASSWORD:-}"; fi
}

# Whether the port is exposed to the network with the default password from this repository.
is_open_to_all() {
    case ${BIND_ADDRESS:=127.0.0.1} in
        127.* | localhost | "[::1]" | ::1) return 1 ;;
    esac
    case $(password) in
        "" | barnameh_password) return 0 ;;
    esac
    return 1
}
open_to_all="BIND_ADDRESS=${BIND_ADDRESS:-} exposes the database to the network with the publicly known default password: set POSTGRES_PASSWORD in .env (for an existing database, first ALTER ROLE ${POSTGRES_USER:-} PASSWORD '…'), or BIND_ADDRESS=127.0.0.1, then: docker compose up -d --wait"

# Print the manifest with absolute paths, announcing each file before it runs.
manifest() {
    awk -v sql="$sql" '
        $1 == "\\ir" { print "\\echo barnameh: applying sql/" $2; print "\\i " sql "/" $2; next }
        { print }' "$sql/schema.sql"
    # Record the checksums of the files, as db_utils does; `db_utils migrate --plan` compares them.
    sums=$(cd "$sql" && awk '$1 == "\\ir" { print $2 }' schema.sql | xargs sha256sum | awk '{ printf "%s\"%s\": \"%s\"", (NR > 1 ? ", " : ""), $2, $1 }')
    echo "UPDATE schema_version SET file_checksums = '{$sums}' WHERE version = (SELECT max(version) FROM schema_version);"
}
