"""Temporary databases next to the target, dropped whatever happens."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from typing import Any

from db_utils.errors import BackupError
from db_utils.ops.backup.endpoint import MAINTENANCE_DATABASE, Endpoint
from db_utils.ops.backup.psql import PsqlSession
from db_utils.sql_text import identifier, literal

_COMMENT = "A restore is under way here. It is dropped when that ends, or by the next restore."
_SUFFIX = re.compile(r"_restoring_[0-9a-f]{8}$")
_LONGEST_NAME = 63


@contextlib.contextmanager
def temporary_database(endpoint: Endpoint, *, like: str) -> Iterator[tuple[str, PsqlSession]]:
    """Create an empty database with encoding, locale and owner of `like`, and a session on the same server.

    Dropped at the end of the block unless renamed. One left by a killed process is dropped by the next call:
    an advisory lock of the session shows which are in use.
    """
    scratch = like[: _LONGEST_NAME - 20] + f"_restoring_{uuid.uuid4().hex[:8]}"
    with PsqlSession(endpoint, database=MAINTENANCE_DATABASE) as server:
        server.script("SET client_min_messages = warning; SET statement_timeout = 0; SET lock_timeout = 0;")
        if not server.value("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"):
            raise BackupError(
                "restoring needs a scratch database, and this user may not create one: ALTER ROLE … CREATEDB, or use another user"
            )
        _drop_abandoned(server)
        if not server.value(f"SELECT pg_try_advisory_lock({_lock(scratch)})"):
            raise BackupError("another restore uses the same scratch database: run it again")
        try:
            server.script(
                f"CREATE DATABASE {identifier(scratch)} TEMPLATE template0 {_locale(server, like)};"
            )
            server.script(f"COMMENT ON DATABASE {identifier(scratch)} IS {literal(_COMMENT)};")
            yield scratch, server
        finally:
            with PsqlSession(endpoint, database=MAINTENANCE_DATABASE) as last:
                _drop(last, scratch)


def swap(server: PsqlSession, scratch: str, target: str) -> None:
    """Rename the scratch database to the target, with its settings and rights, in one transaction; the empty target is dropped.

    No session can be connected to either during the rename: sessions are terminated, and new ones refused briefly.
    """
    gone = f"{scratch}_old"[-_LONGEST_NAME:]
    settings = _settings(server, scratch, target)
    for database in (scratch, target):
        server.script(f"ALTER DATABASE {identifier(database)} ALLOW_CONNECTIONS false;")
        server.script(
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {literal(database)} "
            "AND pid <> pg_backend_pid();"
        )
    server.script(
        f"BEGIN; ALTER DATABASE {identifier(target)} RENAME TO {identifier(gone)}; "
        f"ALTER DATABASE {identifier(scratch)} RENAME TO {identifier(target)}; {settings} "
        f"COMMENT ON DATABASE {identifier(target)} IS NULL; ALTER DATABASE {identifier(target)} ALLOW_CONNECTIONS true; "
        f"COMMENT ON DATABASE {identifier(gone)} IS {literal(_COMMENT)}; COMMIT;"
    )
    _drop(server, gone)


def exists(server: PsqlSession, database: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(server.value(f"SELECT EXISTS (SELECT FROM pg_database WHERE datname = {literal(database)})"))


def _settings(server: PsqlSession, scratch: str, target: str) -> str:
    """Return the target's properties outside its contents: owner, settings, right to connect."""
    statements = [
        row["statement"]
        for row in server.rows(
            f"""
            SELECT format('ALTER DATABASE %I OWNER TO %I;', {literal(target)}, pg_get_userbyid(d.datdba)) AS statement
            FROM pg_database AS d WHERE d.datname = {literal(target)}
            UNION ALL
            SELECT format('ALTER DATABASE %I SET %I = %L;', {literal(target)}, split_part(s, '=', 1), substr(s, strpos(s, '=') + 1))
            FROM pg_db_role_setting AS r
            JOIN pg_database AS d ON d.oid = r.setdatabase AND r.setrole = 0
            CROSS JOIN unnest(r.setconfig) AS s
            WHERE d.datname = {literal(target)} AND s !~ '^timescaledb.restoring='
            UNION ALL
            SELECT format(
                'GRANT %s ON DATABASE %I TO %s;',
                a.privilege_type,
                {literal(target)},
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            )
            FROM pg_database AS d CROSS JOIN aclexplode(d.datacl) AS a
            WHERE d.datname = {literal(target)} AND a.grantee <> d.datdba
            """
        )
    ]
    is_closed = server.value(f"SELECT datacl IS NOT NULL FROM pg_database WHERE datname = {literal(target)}")
    closing = [f"REVOKE ALL ON DATABASE {identifier(target)} FROM PUBLIC;"] if is_closed else []
    return " ".join([*statements[:1], *closing, *statements[1:]])


def _locale(server: PsqlSession, like: str) -> str:
    found: dict[str, Any] = server.rows(
        f"""
        SELECT
            pg_encoding_to_char(d.encoding) AS encoding,
            d.datcollate,
            d.datctype,
            d.datlocprovider,
            coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale
        FROM pg_database AS d
        WHERE d.datname = {literal(like)}
        """
    )[0]
    options = f"ENCODING {literal(found['encoding'])} LC_COLLATE {literal(found['datcollate'])} LC_CTYPE {literal(found['datctype'])}"
    if found["datlocprovider"] == "i":
        return f"{options} LOCALE_PROVIDER icu ICU_LOCALE {literal(found['locale'])}"
    if found["datlocprovider"] == "b":
        return f"{options} LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(found['locale'])}"
    return f"{options} LOCALE_PROVIDER libc"


def _drop_abandoned(server: PsqlSession) -> None:
    for row in server.rows(
        "SELECT d.datname FROM pg_database AS d "
        f"WHERE shobj_description(d.oid, 'pg_database') = {literal(_COMMENT)} AND pg_has_role(d.datdba, 'USAGE')"
    ):
        database = row["datname"]
        owner = _SUFFIX.search(database.removesuffix("_old"))
        if owner is None or not server.value(
            f"SELECT pg_try_advisory_lock({_lock(database.removesuffix('_old'))})"
        ):
            continue
        _drop(server, database)
        server.script(f"SELECT pg_advisory_unlock({_lock(database.removesuffix('_old'))});")


def _drop(server: PsqlSession, database: str) -> None:
    server.script(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE);")


def _lock(scratch: str) -> str:
    return f"hashtextextended({literal('db_utils ' + scratch)}, 0)"
