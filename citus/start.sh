#!/bin/sh
# Entry point of a node's container, run before the image's own.
set -eu

. "${0%/*}/common.sh"
if is_open_to_all; then
    say "$open_to_all" >&2
    exit 1
fi
exec docker-entrypoint.sh "$@"
