"""Roles belong to the server, not to the database: a dump names them, and does not carry them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from db_utils.admin.backup.session import Session, literal, name

# Verifiers of passwords stay out of the server's log, where the one who restores may say so.
_UNLOGGED = "SELECT set_config('log_statement', 'none', true) FROM pg_roles WHERE rolname = current_user AND rolsuper;"

_TAKEN_BY_OWNER = "barnameh_tenant"
# As sql/90_tenants.sql has it: who owns the schema may act as a tenant.
_MAY_TAKE_IT = f"""
    DO $$
    BEGIN
        IF NOT pg_has_role(current_user, '{_TAKEN_BY_OWNER}', 'SET') THEN
            GRANT {_TAKEN_BY_OWNER} TO CURRENT_USER;
        END IF;
    END
    $$;
"""


@dataclass(frozen=True)
class RestoredRoles:
    """What became of the roles that a backup needs."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """These were on the server already, and were left as they are, passwords too."""
    without_password: list[str] = field(default_factory=list)
    """Logins that were made, and whose password the backup does not hold: ALTER ROLE … PASSWORD."""


def restore_roles(server: Session, roles: list[dict[str, Any]], owner: str) -> RestoredRoles:
    """Make the roles of a backup that the server lacks, all or none. Which were they?

    `owner` is who owned the database that was backed up: that role is not made, whoever restores takes its place.
    """
    there = {row["rolname"] for row in server.rows("SELECT rolname FROM pg_roles")}
    missing = [role for role in roles if role["name"] not in there and role["name"] != owner]
    statements = [statement for role in missing for statement in _make(role)]
    statements += [statement for role in missing for statement in _memberships(role)]
    if any(role["name"] == _TAKEN_BY_OWNER for role in roles):
        statements.append(_MAY_TAKE_IT)
    if statements:
        server.script(f"BEGIN; {_UNLOGGED} {' '.join(statements)} COMMIT;")
    return RestoredRoles(
        made=[role["name"] for role in missing],
        kept=[role["name"] for role in roles if role["name"] in there and role["name"] != owner],
        without_password=[role["name"] for role in missing if role["can_login"] and role["password"] is None],
    )


def _make(role: dict[str, Any]) -> list[str]:
    quoted = name(role["name"])
    # Never more than a role of tenants or readers needs: neither superuser, nor one who makes roles or databases.
    statements = [
        f"CREATE ROLE {quoted} {'LOGIN' if role['can_login'] else 'NOLOGIN'} {'INHERIT' if role['inherits'] else 'NOINHERIT'} "
        f"NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT {int(role['connection_limit'])};"
    ]
    for setting in role["settings"]:
        variable, _, value = setting.partition("=")
        # A list such as search_path is quoted as one value already.
        statements.append(f"ALTER ROLE {quoted} SET {name(variable)} = {_value(variable, value)};")
    if role["comment"] is not None:
        statements.append(f"COMMENT ON ROLE {quoted} IS {literal(role['comment'])};")
    if role["password"] is not None:
        statements.append(f"ALTER ROLE {quoted} PASSWORD {literal(role['password'])};")
    return statements


def _value(variable: str, value: str) -> str:
    if variable == "search_path":
        return ", ".join(name(part.strip().strip('"')) for part in value.split(","))
    return literal(value)


def _memberships(role: dict[str, Any]) -> list[str]:
    return [
        f"GRANT {name(member['role'])} TO {name(role['name'])} "
        f"WITH INHERIT {member['inherit']}, SET {member['set']};"
        for member in role["member_of"]
    ]
