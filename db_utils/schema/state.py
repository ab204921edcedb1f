"""State of a database's schema and sample data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.errors import SchemaError, UndefinedObjectError
from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor

_SQL = sql_beside(__name__)

OLDEST_SERVER = 16


def require_server(db: Executor) -> None:
    """Raise `SchemaError` if the server is too old for the schema, before changing anything."""
    row = db.execute_query(
        "SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS name"
    )[0]
    check_server(row["number"], row["name"])


def check_server(number: int, name: str) -> None:
    """Raise `SchemaError` if this `server_version_num`, such as 160004, is older than PostgreSQL 16."""
    if number // 10_000 < OLDEST_SERVER:
        raise SchemaError(
            f"the server is PostgreSQL {name} but the schema needs {OLDEST_SERVER} or later: upgrade the server, "
            "or use another one"
        )


def edition(db: Executor) -> str:
    """Return the edition of this database: "community", "apache", "plain" or "citus"."""
    try:
        return str(db.execute_query("SELECT database_edition() AS edition")[0]["edition"])
    except UndefinedObjectError as error:
        raise SchemaError("this database has no schema yet: run db_utils.schema.apply(db)") from error


def edition_to_be(db: Executor) -> str:
    """Return the edition that this database will have once the schema is applied.

    TimescaleDB is used if the server has loaded it, as decided by sql/idempotent/01_edition.sql. Its licence
    is known only if the extension exists: otherwise the result is "timescaledb", which is community or
    apache.
    """
    if has_citus(db):
        return "citus"
    row = db.execute_query(_SQL["edition_to_be"], ())[0]
    if not row["has_timescaledb"]:
        return "plain"
    return {"timescale": "community", "apache": "apache"}.get(row["license"], "timescaledb")


def has_citus(db: Executor) -> bool:
    """Whether this database is a coordinator of Citus, or one of its workers."""
    return bool(db.execute_query("SELECT FROM pg_extension WHERE extname = 'citus'"))


def version(db: Executor) -> int | None:
    """Return the version of this database's schema; None without one."""
    found = db.execute_query("SELECT to_regclass('public.schema_version') AS relation")
    if found[0]["relation"] is None:
        return None
    rows = db.execute_query("SELECT max(version) AS version FROM public.schema_version")
    newest: int | None = rows[0]["version"]
    return newest


def applied_files(db: Executor) -> dict[str, str] | None:
    """Return the files that were applied to this database last, each with its SHA-256.

    None if it was not recorded: an older version, or psql alone.
    """
    rows = db.execute_query(_SQL["applied_files"])
    remembered: dict[str, str] | None = rows[0]["file_checksums"] if rows else None
    return remembered


def is_seeded(db: Executor) -> bool:
    """Whether the sample data was loaded into this database."""
    return bool(db.execute_query("SELECT EXISTS (SELECT FROM public.seed_runs) AS seeded")[0]["seeded"])
