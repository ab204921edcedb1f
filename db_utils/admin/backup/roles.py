"""Roles belong to the server, not to the database: a dump names them, and does not carry them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from db_utils.admin.backup.session import Session, literal, name


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

    `owner` is who owned the database that was backed up: memberships of that role go to whoever restores.
    """
    there = {row["rolname"] for row in server.rows("SELECT rolname FROM pg_roles")}
    # The owner is whoever restores.
    missing = [role for role in roles if role["name"] not in there and role["name"] != owner]
    statements = [statement for role in missing for statement in _make(role)]
    statements += [statement for role in missing for statement in _memberships(role)]
    statements += [
        f"GRANT {name(member['role'])} TO CURRENT_USER;"
        for role in roles
        if role["name"] == owner
        for member in role["member_of"]
    ]
    if statements:
        server.script("BEGIN; SET LOCAL log_statement = 'none'; " + " ".join(statements) + " COMMIT;")
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
