#!/bin/sh
# Change the database password, and restart everything that uses it:
#
#     sh postgres/rotate_password.sh              use a random password
#     sh postgres/rotate_password.sh < file       use the first line of a file
#
# Run it on the host, in the folder of docker-compose.yml. It changes the role in the running database, then the stored
# password (.env, or the file named by POSTGRES_PASSWORD_FILE with docker-compose.secrets.yml), then recreates the running
# containers that use it. The password is never printed or visible in a process list.
set -eu
umask 077

say() { echo "barnameh: $*" >&2; }
stop() { say "$*"; exit 1; }

[ -f docker-compose.yml ] || stop "run this in the folder of docker-compose.yml"
docker compose exec -T postgres true </dev/null 2>/dev/null || stop "the database is not running: docker compose up -d --wait"

password=
[ -t 0 ] || read -r password || true
[ -n "$password" ] || password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
case $password in
    *[!A-Za-z0-9_.~-]*) stop "use letters, digits and - _ . ~ only: the password is also used in URLs and in .env" ;;
esac
[ "${#password}" -ge 12 ] || stop "the password must have at least 12 characters"

# Every running service that gets the password, whatever its profile or override file.
users=
for service in $(docker compose --profile '*' ps --services --status running); do
    [ "$service" != postgres ] || continue
    ! docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' $(docker compose --profile '*' ps -q "$service") |
        grep -q '^POSTGRES_PASSWORD' || users="$users $service"
done

# Prepare the new file first, so that only a rename is left to do once the database has been changed.
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

# Through the container's socket, which requires no password, so that a forgotten password can be reset too.
printf "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;\nALTER ROLE CURRENT_USER PASSWORD '%s';\n" "$password" |
    docker compose exec -T postgres sh -c 'psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"' ||
    stop "the database rejected the password: nothing was changed"
mv "$place.new" "$place"
trap - EXIT

# The database first: the others log in when they start.
recreate() { docker compose --profile '*' up -d --wait --no-deps --force-recreate "$@" >&2; }
recreate postgres
# shellcheck disable=SC2086 # several names
[ -z "$users" ] || recreate $users
say "the password was changed in the database and in $place; recreated with it: postgres$users"
if grep -Eq '^(API_)?DATABASE_URL=.' .env 2>/dev/null; then
    say "a DATABASE_URL in .env contains a password too: change it as well"
fi
