#!/bin/sh
# What the containers' scripts of both stacks share (postgres/, citus/); sourced, by sh and by bash.

sql=/barnameh/sql
seeds=/barnameh/seeds
# The files mean the same whatever POSTGRES_INITDB_ARGS or a postgresql.conf of yours say.
schema_options="--client-min-messages=warning --standard-conforming-strings=on --quote-all-identifiers=off --search-path=public"

say() { echo "barnameh: $*"; }

password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then cat "$POSTGRES_PASSWORD_FILE"; else printf %s "${POSTGRES_PASSWORD:-}"; fi
}

# A port that the network can reach, and a password that everybody can read in the repository.
is_open_to_all() {
    case ${BIND_ADDRESS:=127.0.0.1} in
        127.* | localhost | "[::1]" | ::1) return 1 ;;
    esac
    case $(password) in
        "" | barnameh_password) return 0 ;;
    esac
    return 1
}
open_to_all="BIND_ADDRESS=${BIND_ADDRESS:-} opens the database to the network with the password that everybody knows: set POSTGRES_PASSWORD in .env (where the database is there already, first ALTER ROLE ${POSTGRES_USER:-} PASSWORD '…'), or BIND_ADDRESS=127.0.0.1, then: docker compose up -d --wait"

# The manifest with absolute paths, and each file named before it runs.
manifest() {
    awk -v sql="$sql" '
        $1 == "\\ir" { print "\\echo barnameh: applying sql/" $2; print "\\i " sql "/" $2; next }
        { print }' "$sql/schema.sql"
    # Which files these were, as db_utils writes it down too: `db_utils migrate --plan` compares with it.
    sums=$(cd "$sql" && awk '$1 == "\\ir" { print $2 }' schema.sql | xargs sha256sum | awk '{ printf "%s\"%s\": \"%s\"", (NR > 1 ? ", " : ""), $2, $1 }')
    echo "UPDATE schema_version SET file_checksums = '{$sums}' WHERE version = (SELECT max(version) FROM schema_version);"
}
