"""The database login of the API: an application login, which may only act for one organization at a time.

An attacker who takes over the process gets this login's rights, not the owner's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import psycopg2.extensions
from psycopg2 import sql

from db_utils import DatabaseManager, Settings

NAME = "barnameh_api"

_STATE = """
    SELECT
        r.rolsuper OR pg_has_role(r.oid, c.relowner, 'USAGE') AS owns,
        pg_has_role(r.oid, 'barnameh_tenant', 'SET') AS may_act
    FROM pg_roles AS r
    JOIN pg_class AS c ON c.oid = 'public.organizations'::regclass
    WHERE r.rolname = current_user
"""
_EXISTS = "SELECT FROM pg_roles WHERE rolname = %s"


def owns_schema(db: DatabaseManager) -> bool:
    """Whether this manager's login owns the schema, or has all rights of its owner."""
    rows = db.execute_query(_STATE, primary=True)
    return bool(rows and rows[0]["owns"])


def application_settings(owner: DatabaseManager, name: str = NAME) -> Settings:
    """Return the settings of the application login, creating it if missing; `owner` has the owner's rights.

    Its password is derived from the owner's, so all processes of the service can compute it; the server only
    gets its verifier. If the owner needs no password (the embedded server), neither does this login.
    """
    where = psycopg2.extensions.parse_dsn(owner.settings.database_url)
    password = None
    if where.get("password"):
        digest = hmac.digest(where["password"].encode(), b"barnameh api login", hashlib.sha256)
        password = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    role = sql.Identifier(name)
    with owner.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('barnameh api login', 0))")
        cursor.execute(_EXISTS, (name,))
        if cursor.fetchone() is None:
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION").format(role)
            )
        cursor.execute(sql.SQL("GRANT barnameh_tenant TO {} WITH INHERIT FALSE, SET TRUE").format(role))
        if password is not None:
            verifier = psycopg2.extensions.encrypt_password(password, name, connection, "scram-sha-256")
            cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))
    where = {**where, "user": name, "password": password}
    url = psycopg2.extensions.make_dsn(**{key: value for key, value in where.items() if value is not None})
    return owner.settings.with_changes(database_url=url, replica_url=None)
