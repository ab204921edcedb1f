"""Who can get in, as whom, and do tenants stay apart?"""

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
        yield ok("the server listens on its socket only")
        return
    opened = context.open_addresses
    place = opened[0] if opened else ("127.0.0.1" if context.is_socket else context.host)
    severity = Severity.CRITICAL if opened else Severity.NOTE
    reach = f"{place}:{context.port}, which other machines reach" if opened else "a port of this machine only"
    bad = False
    for row in context.rows(_SQL["logins"], {"default_user": USER}):
        user = row["rolname"]
        if not context.asks_for_password(place, user):
            bad = True
            yield Finding(
                severity,
                f"{user} gets in without a password on {reach}",
                "pg_hba.conf trusts every client from there. Find the line, write scram-sha-256 in place of trust, reload.",
                Fix(
                    "SELECT rule_number, file_name, line_number, type, address, auth_method FROM pg_hba_file_rules;"
                ),
            )
        elif context.logs_in(place, user, PASSWORD) or context.logs_in(place, user, user):
            bad = True
            yield Finding(
                severity,
                f"{user} has a well-known password (the documented default, or its own name) on {reach}",
                "Anyone who reaches the port can read and change everything. Choose another, then POSTGRES_PASSWORD in .env."
                if opened
                else "Fine on a laptop; change it before BIND_ADDRESS or listen_addresses open the port.",
                Fix(f"\\password {identifier(user)}"),
            )
    if not bad:
        yield ok(f"no documented password opens {place}:{context.port}")


@check("superuser-login")
def superuser(context: CheckContext) -> Findings:
    """Is the configured user of the application a superuser?

    A note while only this machine can reach the server, as in a new compose stack; otherwise a warning.
    """
    if not context.about["is_superuser"]:
        yield ok(f"{context.about['role']} is no superuser")
        return
    yield Finding(
        Severity.WARNING if context.open_addresses else Severity.NOTE,
        f"the configured user, {context.about['role']}, is a superuser",
        "A fault in the application can then read files of the server and drop everything. Give it its own role and keep this "
        "one for migrations.",
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
        yield ok("the server is reached from this machine only")
        return
    fix = Fix("ALTER SYSTEM SET ssl = on;\nSELECT pg_reload_conf();")
    if context.setting("ssl") == "off":
        yield Finding(
            Severity.WARNING,
            f"TLS is off, and {opened[0]}:{context.port} is reached by other machines",
            "Anyone on the network path can read every row. The server needs server.crt and server.key (mode 0600) in its data folder "
            "first; then DB_SSLMODE=verify-full (compose stack: docker-compose.tls.yml). Or let it listen on loopback only.",
            fix,
        )
        return
    if not context.is_socket and not is_loopback(context.host) and not context.rows(_OUR_TLS)[0]["ssl"]:
        yield Finding(
            Severity.WARNING,
            f"the server offers TLS, and this connection to {context.host} goes without",
            "Anyone on the network path can read every row.",
            Fix("DB_SSLMODE=verify-full", ".env"),
        )
    for client in context.rows(_SQL["unencrypted"])[:3]:
        yield Finding(
            Severity.WARNING,
            f"{client['session_count']} sessions of {client['usename']} from {client['client']} go without TLS",
            "Anyone on the network path can read their rows. Write hostssl in place of host in pg_hba.conf, reload.",
            Fix(
                "SELECT rule_number, file_name, line_number, type, address, auth_method FROM pg_hba_file_rules;"
            ),
        )


@check("tenant-isolation")
def tenant_isolation(context: CheckContext) -> Findings:
    """Can tenants, or PUBLIC, access a base table, or does a relation lack its tenant view?"""
    if context.edition == "citus":
        yield ok("row security keeps tenants apart here; db-utils verify looks at each policy, on every node")
        return
    if not context.rows("SELECT 1 AS there WHERE to_regnamespace('tenant') IS NOT NULL"):
        yield skipped("this database has no schema tenant: python -m db_utils init makes it")
        return
    for grant in context.rows(_SQL["grants"]):
        yield Finding(
            Severity.CRITICAL,
            f"{grant['grantee']} has {grant['privileges']} on {grant['name']}",
            "One customer can reach another customer's rows there, past the tenant views.",
            Fix(f"REVOKE ALL ON {grant['name']} FROM PUBLIC, barnameh_tenant, barnameh_tenant_login;"),
        )
    for relation in context.rows(_SQL["without_view"]):
        yield Finding(
            Severity.WARNING,
            f"{relation['name']} has organization_id and no view in schema tenant",
            "Tenants cannot see their rows of it. Applying the schema again makes the view, its check and its grants.",
            Fix("python -m db_utils migrate", "shell"),
        )
    for role in context.rows(_SQL["roles"]):
        yield Finding(
            Severity.CRITICAL,
            f"role {role['rolname']} may log in, or has rights of an administrator",
            "Tenants act under it: it must have nothing but its grants on schema tenant.",
            Fix(
                f"ALTER ROLE {identifier(role['rolname'])} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;"
            ),
        )
