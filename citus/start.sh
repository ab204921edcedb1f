#!/bin/sh
# What a node's container runs, in front of the image's own entry point.
set -eu

. "${0%/*}/common.sh"
if is_open_to_all; then
    say "$open_to_all" >&2
    exit 1
fi
exec docker-entrypoint.sh "$@"
