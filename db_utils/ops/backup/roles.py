"""Roles of a backup: they belong to the server, so a dump names them without creating them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from db_utils.ops.backup.manifest import typed
from db_utils.ops.backup.psql import PsqlSession
from db_utils.sql_text import identifier, literal

# Keep password verifiers out of the server's log, if this user may.
_UNLOGGED = "SELECT set_config('log_statement', 'none', true) FROM pg_roles WHERE rolname = current_user AND rolsuper;"

_TAKEN_BY_OWNER = "barnameh_tenant"
_OURS = frozenset({_TAKEN_BY_OWNER, "barnameh_tenant_login", "barnameh_readonly"})
_OWN_SETTINGS = "app."
# As in sql/idempotent/90_tenants.sql: the owner of the schema may act as a tenant.
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
class Membership:
    """A membership of a role."""

    role: str
    inherit: bool
    set: bool


@dataclass(frozen=True)
class Role:
    """A role that the database needs, as read by sql/backup/roles.sql."""

    name: str
    can_login: bool
    inherits: bool
    connection_limit: int
    settings: list[str]
    comment: str | None
    password: str | None
    member_of: list[Membership]


@dataclass(frozen=True)
class RestoredRoles:
    """The result of creating a backup's roles."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Existing roles, left unchanged, including passwords."""
    without_password: list[str] = field(default_factory=list)
    """Created logins whose password the backup does not contain: ALTER ROLE … PASSWORD."""
    withheld: list[str] = field(default_factory=list)
    """Statements that a backup may not run: membership in the server's roles, superuser settings."""


def read_roles(found: Any) -> list[Role]:
    """Parse roles.json, which is untrusted. Raises `KeyError` or `TypeError` if it is malformed."""
    return [
        typed(Role, {**role, "member_of": [typed(Membership, member) for member in role["member_of"]]})
        for role in found
    ]


def restore_roles(server: PsqlSession, roles: list[Role], owner: str) -> RestoredRoles:
    """Create the missing roles of a backup, all or none, and return their names.

    `owner` owned the database that was backed up: this role is not created, the restoring user takes its
    place. A created role gets no more than tenants and readers need: membership only in the schema's roles
    and those created with it, and settings that it could change itself.
    """
    there = {row["rolname"] for row in server.rows("SELECT rolname FROM pg_roles")}
    free = {row["name"] for row in server.rows("SELECT name FROM pg_settings WHERE context = 'user'")}
    missing = [role for role in roles if role.name not in there and role.name != owner]
    made = {role.name for role in missing}
    statements = [_make(role) for role in missing]
    withheld: list[str] = []
    for role in missing:
        for setting in role.settings:
            variable, _, value = setting.partition("=")
            statement = (
                f"ALTER ROLE {identifier(role.name)} SET {identifier(variable)} = {_value(variable, value)};"
            )
            harmless = variable in free or variable.startswith(_OWN_SETTINGS)
            (statements if harmless else withheld).append(statement)
        for member in role.member_of:
            statement = (
                f"GRANT {identifier(member.role)} TO {identifier(role.name)} "
                f"WITH INHERIT {str(member.inherit).upper()}, SET {str(member.set).upper()};"
            )
            (statements if member.role in _OURS | made else withheld).append(statement)
    if any(role.name == _TAKEN_BY_OWNER for role in roles):
        statements.append(_MAY_TAKE_IT)
    if statements:
        server.script(f"BEGIN; {_UNLOGGED} {' '.join(statements)} COMMIT;")
    return RestoredRoles(
        made=[role.name for role in missing],
        kept=[role.name for role in roles if role.name in there and role.name != owner],
        without_password=[role.name for role in missing if role.can_login and role.password is None],
        withheld=withheld,
    )


def _make(role: Role) -> str:
    quoted = identifier(role.name)
    # Neither a superuser, nor allowed to create roles or databases.
    statements = [
        f"CREATE ROLE {quoted} {'LOGIN' if role.can_login else 'NOLOGIN'} {'INHERIT' if role.inherits else 'NOINHERIT'} "
        f"NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT {role.connection_limit};"
    ]
    if role.comment is not None:
        statements.append(f"COMMENT ON ROLE {quoted} IS {literal(role.comment)};")
    if role.password is not None:
        statements.append(f"ALTER ROLE {quoted} PASSWORD {literal(role.password)};")
    return " ".join(statements)


def _value(variable: str, value: str) -> str:
    if variable == "search_path":  # a list, each part quoted already
        return ", ".join(identifier(part.strip().strip('"')) for part in value.split(","))
    return literal(value)
