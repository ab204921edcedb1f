#!/bin/sh
# What a node's container runs, in front of the image's own entry point.
set -eu

# A port that the network can reach, and a password that everybody can read in the repository.
case ${BIND_ADDRESS:=127.0.0.1} in
    127.* | localhost | "[::1]" | ::1) ;;
    *)
        [ "$POSTGRES_PASSWORD" != barnameh_password ] || {
            echo "barnameh: BIND_ADDRESS=$BIND_ADDRESS opens the database to the network with the password that everybody knows: set POSTGRES_PASSWORD in .env" >&2
            exit 1
        }
        ;;
esac
exec docker-entrypoint.sh "$@"
