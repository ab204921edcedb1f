"""Roles belong to the server, not to the database: a dump names them, and does not carry them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from db_utils.ops.backup.manifest import typed
from db_utils.ops.backup.psql import PsqlSession
from db_utils.sql_text import identifier, literal

# Verifiers of passwords stay out of the server's log, where the one who restores may say so.
_UNLOGGED = "SELECT set_config('log_statement', 'none', true) FROM pg_roles WHERE rolname = current_user AND rolsuper;"

_TAKEN_BY_OWNER = "barnameh_tenant"
_OURS = frozenset({_TAKEN_BY_OWNER, "barnameh_tenant_login", "barnameh_readonly"})
_OWN_SETTINGS = "app."
# As sql/idempotent/90_tenants.sql has it: who owns the schema may act as a tenant.
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
    """What a role is a member of."""

    role: str
    inherit: bool
    set: bool


@dataclass(frozen=True)
class Role:
    """A role that the database needs, as sql/backup/roles.sql tells it."""

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
    """What became of the roles that a backup needs."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """These were on the server already, and were left as they are, passwords too."""
    without_password: list[str] = field(default_factory=list)
    """Logins that were made, and whose password the backup does not hold: ALTER ROLE … PASSWORD."""
    withheld: list[str] = field(default_factory=list)
    """What a backup may not give a role: membership in a role of the server's own, settings for superusers. One statement each."""


def read_roles(found: Any) -> list[Role]:
    """The roles out of roles.json, which anybody may have written. Raises `KeyError` or `TypeError` where it is not of its form."""
    return [
        typed(Role, {**role, "member_of": [typed(Membership, member) for member in role["member_of"]]})
        for role in found
    ]


def restore_roles(server: PsqlSession, roles: list[Role], owner: str) -> RestoredRoles:
    """Create the roles of a backup that the server lacks, all or none, and return their names.

    `owner` is who owned the database that was backed up: that role is not made, whoever restores takes its endpoint. A role that is
    made gets no more than tenants and readers need: it is a member of the schema's own roles and of those made with it
    only, and has settings that it could choose itself.
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
    # Neither superuser, nor allowed to create roles or databases.
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
