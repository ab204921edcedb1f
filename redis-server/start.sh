#!/bin/sh
# Entry point of the redis container. The password reaches Redis as a hash: it is not readable in the process list, and any
# character is allowed.
set -eu

if [ -n "${REDIS_PASSWORD_FILE:-}" ]; then
    REDIS_PASSWORD=$(cat "$REDIS_PASSWORD_FILE")
fi

if [ -n "${REDIS_PASSWORD:-}" ]; then
    hash=$(printf %s "$REDIS_PASSWORD" | sha256sum | cut -c 1-64)
    set -- --user default on "#$hash" "~*" "&*" +@all
else
    case ${BIND_ADDRESS:=127.0.0.1} in
        127.* | localhost | "[::1]" | ::1) ;;
        *)
            # Keep running without serving: the reason remains the last log entry, and the health check never passes.
            echo "barnameh: BIND_ADDRESS=$BIND_ADDRESS opens Redis to the network without a password: set REDIS_PASSWORD" \
                "(and REDIS_URL) in .env, or BIND_ADDRESS=127.0.0.1, then: docker compose up -d --wait" >&2
            trap 'exit 1' INT TERM
            while :; do
                sleep 3600 &
                wait "$!"
            done
            ;;
    esac
    set --
fi

exec redis-server --protected-mode no --save "" --appendonly no \
    --maxmemory "$REDIS_MAXMEMORY" --maxmemory-policy "$REDIS_MAXMEMORY_POLICY" "$@"
