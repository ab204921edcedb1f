#!/bin/sh
# Gives the database a new password, and everything that uses it here the same one:
#
#     sh postgres/rotate_password.sh              a random one
#     sh postgres/rotate_password.sh < file       the first line of a file
#
# Run it on the host, in the folder of docker-compose.yml. It changes the role in the running database, then the password's
# place (.env, or the file that POSTGRES_PASSWORD_FILE names where docker-compose.secrets.yml is used), then makes the running
# containers anew with it. No password is printed or shown in a process list.
set -eu
umask 077

say() { echo "barnameh: $*" >&2; }
stop() { say "$*"; exit 1; }

[ -f docker-compose.yml ] || stop "run this in the folder of docker-compose.yml"
docker compose exec -T postgres true </dev/null 2>/dev/null || stop "the database does not run: docker compose up -d --wait"

password=
[ -t 0 ] || read -r password || true
[ -n "$password" ] || password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
case $password in
    *[!A-Za-z0-9_.~-]*) stop "use letters, digits and - _ . ~ only: the password also stands in URLs and in .env" ;;
esac
[ "${#password}" -ge 12 ] || stop "a password of at least 12 characters is needed"

# The new place is prepared first, so that nothing can fail between the database and the file but a rename.
secret=$(docker compose exec -T postgres sh -c 'printf %s "${POSTGRES_PASSWORD_FILE:-}"' </dev/null)
if [ -n "$secret" ]; then
    place=$(sed -n 's/^POSTGRES_PASSWORD_FILE=//p' .env 2>/dev/null | tail -n 1 | tr -d "\"'")
    place=${place:-./secrets/postgres_password}
    [ -w "$place" ] || stop "cannot write to $place"
    printf '%s\n' "$password" >"$place.new"
else
    place=.env
    touch "$place"
    { grep -v '^POSTGRES_PASSWORD=' "$place" || true; echo "POSTGRES_PASSWORD=$password"; } >"$place.new"
fi
chmod "$(stat -c %a "$place")" "$place.new"
trap 'rm -f "$place.new"' EXIT

# Over the container's own socket, which asks for no password: so this also mends one that was forgotten.
printf "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;\nALTER ROLE CURRENT_USER PASSWORD '%s';\n" "$password" |
    docker compose exec -T postgres sh -c 'psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"' ||
    stop "the database did not take it: nothing was changed"
mv "$place.new" "$place"
trap - EXIT

running=$(docker compose --profile '*' ps --services --status running | grep -E '^(postgres|pgadmin|backup)$')
# shellcheck disable=SC2086 # several names
docker compose --profile '*' up -d --wait --no-deps --force-recreate $running >&2
say "the password is changed in the database and in $place; made anew with it: $(echo $running)"
if grep -q '^DATABASE_URL=' .env 2>/dev/null; then
    say "DATABASE_URL in .env holds a password of its own: change it too"
fi
