#!/bin/sh
# Create Grafana's database login, or set its password again, and keep running, so that `docker compose up --wait` finds it healthy.
# The login reads all organizations and writes nothing (docs/grafana.md).
set -eu

if [ "$1" = health ]; then
    exec test -e /tmp/ready
fi

case "$BIND_ADDRESS" in
    127.* | localhost | "[::1]" | ::1) ;;
    *)
        if [ "$GRAFANA_DB_PASSWORD" = grafana_password ] || [ "$GRAFANA_ADMIN_PASSWORD" = admin ]; then
            echo "BIND_ADDRESS is $BIND_ADDRESS but a Grafana password is still the documented default: set GRAFANA_DB_PASSWORD and" \
                "GRAFANA_ADMIN_PASSWORD in .env" >&2
            exit 1
        fi
        ;;
esac
. "${0%/*}/common.sh"
PGPASSWORD=$(password)
export PGPASSWORD

psql -X -q -v ON_ERROR_STOP=1 -v login="$GRAFANA_DB_USER" -v password="$GRAFANA_DB_PASSWORD" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'login')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'login') \gexec
-- Not a superuser's or an owner's: a slip in .env would change the password of that one.
SELECT 1 / CASE
    WHEN r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR EXISTS (SELECT FROM pg_class AS c WHERE c.relowner = r.oid) THEN 0
    ELSE 1
END AS may_be_grafanas
FROM pg_roles AS r
WHERE r.rolname = :'login' \gset
ALTER ROLE :"login" PASSWORD :'password';
ALTER ROLE :"login" SET default_transaction_read_only = on;
ALTER ROLE :"login" SET statement_timeout = '30s';
GRANT barnameh_readonly TO :"login";
SQL
touch /tmp/ready
echo "login $GRAFANA_DB_USER is ready"
exec sleep infinity
