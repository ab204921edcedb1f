"""Who can log in, as which role, and are tenants isolated?"""

from __future__ import annotations

from db_utils.embedded.server import PASSWORD, USER
from db_utils.ops.doctor.context import CheckContext, is_loopback
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok, skipped
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import identifier

_SQL = sql_beside(__name__)
_OUR_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@check("default-passwords")
def default_passwords(context: CheckContext) -> Findings:
    """Does the documented default password, or any password at all, open the database beyond this machine?

    It is tried over TCP, and each failed attempt is a line in the server's log. It is a note if only this
    machine can reach the port, which is tried at this machine's own addresses.
    """
    if context.is_socket and not context.setting("listen_addresses"):
        yield ok("the server listens only on its Unix socket")
        return
    opened = context.open_addresses
    place = opened[0] if opened else ("127.0.0.1" if context.is_socket else context.host)
    severity = Severity.CRITICAL if opened else Severity.NOTE
    reach = (
        f"{place}:{context.port}, which other machines can reach"
        if opened
        else "a port that only this machine can reach"
    )
    bad = False
    for row in context.rows(_SQL["logins"], {"default_user": USER}):
        user = row["rolname"]
        if not context.asks_for_password(place, user):
            bad = True
            yield Finding(
                severity,
                f"{user} can log in without a password at {reach}",
                "pg_hba.conf trusts every client from there. Find the line, replace trust with scram-sha-256, and reload.",
                Fix(
                    "SELECT rule_number, file_name, line_number, type, address, auth_method FROM pg_hba_file_rules;"
                ),
            )
        elif context.logs_in(place, user, PASSWORD) or context.logs_in(place, user, user):
            bad = True
            yield Finding(
                severity,
                f"{user} has a well-known password (the documented default, or its own name) at {reach}",
                "Anyone who can reach the port can read and change everything. Choose another password, then set POSTGRES_PASSWORD in .env."
                if opened
                else "Fine on a laptop; change it before BIND_ADDRESS or listen_addresses opens the port to other machines.",
                Fix(f"\\password {identifier(user)}"),
            )
    if not bad:
        yield ok(f"no well-known password works at {place}:{context.port}")


@check("superuser-login")
def superuser(context: CheckContext) -> Findings:
    """Is the configured user of the application a superuser?

    A note while only this machine can reach the server, as in a new compose stack; otherwise a warning.
    """
    if not context.about["is_superuser"]:
        yield ok(f"{context.about['role']} is not a superuser")
        return
    yield Finding(
        Severity.WARNING if context.open_addresses else Severity.NOTE,
        f"the configured user, {context.about['role']}, is a superuser",
        "A bug in the application could then read the server's files and drop everything. Give the application its own role and keep "
        "this one for migrations.",
        Fix(
            "CREATE ROLE barnameh_app LOGIN IN ROLE pg_read_all_data, pg_write_all_data, barnameh_tenant;\n"
            "\\password barnameh_app\n"
            "-- then DATABASE_URL=postgresql://barnameh_app:…"
        ),
    )


@check("tls", sees_everyone=True)
def tls(context: CheckContext) -> Findings:
    """Do passwords and rows cross the network unencrypted?"""
    opened = context.open_addresses
    if not opened:
        yield ok("only this machine can reach the server")
        return
    fix = Fix("ALTER SYSTEM SET ssl = on;\nSELECT pg_reload_conf();")
    if context.setting("ssl") == "off":
        yield Finding(
            Severity.WARNING,
            f"TLS is off, and other machines can reach {opened[0]}:{context.port}",
            "Anyone on the network path can read every row. First put server.crt and server.key (mode 0600) into the server's data "
            "directory, then set DB_SSLMODE=verify-full (compose stack: docker-compose.tls.yml). Or listen on loopback only.",
            fix,
        )
        return
    if not context.is_socket and not is_loopback(context.host) and not context.rows(_OUR_TLS)[0]["ssl"]:
        yield Finding(
            Severity.WARNING,
            f"the server offers TLS, but this connection to {context.host} does not use it",
            "Anyone on the network path can read every row.",
            Fix("DB_SSLMODE=verify-full", ".env"),
        )
    for client in context.rows(_SQL["unencrypted"])[:3]:
        yield Finding(
            Severity.WARNING,
            f"{client['session_count']} sessions of {client['usename']} from {client['client']} do not use TLS",
            "Anyone on the network path can read their rows. Replace host with hostssl in pg_hba.conf and reload.",
            Fix(
                "SELECT rule_number, file_name, line_number, type, address, auth_method FROM pg_hba_file_rules;"
            ),
        )


@check("tenant-isolation")
def tenant_isolation(context: CheckContext) -> Findings:
    """Can tenants, or PUBLIC, access a base table, or does a relation lack its tenant view?"""
    if context.edition == "citus":
        yield ok("row-level security isolates tenants here; db-utils verify checks each policy on every node")
        return
    if not context.rows("SELECT 1 AS there WHERE to_regnamespace('tenant') IS NOT NULL"):
        yield skipped("this database has no schema tenant: python -m db_utils init creates it")
        return
    for grant in context.rows(_SQL["grants"]):
        yield Finding(
            Severity.CRITICAL,
            f"{grant['grantee']} has {grant['privileges']} on {grant['name']}",
            "One customer can access another customer's rows there, bypassing the tenant views.",
            Fix(f"REVOKE ALL ON {grant['name']} FROM PUBLIC, barnameh_tenant, barnameh_tenant_login;"),
        )
    for relation in context.rows(_SQL["without_view"]):
        yield Finding(
            Severity.WARNING,
            f"{relation['name']} has organization_id but no view in schema tenant",
            "Tenants cannot see their rows in it. Applying the schema again creates the view, its check and its grants.",
            Fix("python -m db_utils migrate", "shell"),
        )
    for role in context.rows(_SQL["roles"]):
        yield Finding(
            Severity.CRITICAL,
            f"role {role['rolname']} can log in or has administrator rights",
            "Tenants run under this role: its only rights must be its grants on schema tenant.",
            Fix(
                f"ALTER ROLE {identifier(role['rolname'])} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;"
            ),
        )
