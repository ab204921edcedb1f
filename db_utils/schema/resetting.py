"""Drop the schema with all of its rows, and apply it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2.sql

from db_utils.connections.transaction import without_deadline
from db_utils.errors import QueryError, SchemaError
from db_utils.schema import source, state
from db_utils.schema.applying import apply_within, refuse_newer, take_lock
from db_utils.schema.source import SchemaFile
from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor
    from db_utils.connections.manager import DatabaseManager
    from db_utils.connections.transaction import Transaction

_SQL = sql_beside(__name__)

_DEPENDED_ON = "2BP01"
TENANT_SCHEMAS = ("tenant_load", "tenant")
"""Schemas of tenants' views; a view may be in both."""


@dataclass(frozen=True)
class Removed:
    """The objects that a reset dropped, or would drop."""

    relations: list[str]
    """Tables, views and rollups of `public`."""
    functions: list[str]
    """Functions and procedures of `public`, with their arguments."""
    tenant_views: list[str]
    """Views of schema `tenant`."""
    tenant_logins: list[str]
    """Logins of customers' own tools, dropped together with this database's organizations."""


def to_be_removed(db: Executor) -> Removed:
    """Return what `reset` would drop from this database. Reads only.

    Only the schema's own objects, by name, and no others in the database. The roles barnameh_tenant,
    barnameh_tenant_login and barnameh_readonly stay, because other databases of the server may use them.
    """
    ours = source.schema_objects()
    relations = _column(db, _SQL["relations"], list(ours.relations))
    functions = _column(db, _SQL["functions"], sorted(ours.functions))
    tenant_views = _column(db, _SQL["tenant_views"], relations)
    logins = (
        [
            row["role_name"]
            for row in db.execute_query("SELECT role_name FROM public.tenant_logins ORDER BY role_name")
        ]
        if "tenant_logins" in relations
        else []
    )
    return Removed(relations, functions, tenant_views, logins)


def reset(db: DatabaseManager, *, on_file: Callable[[SchemaFile], object] | None = None) -> Removed:
    """Drop the schema with all of its rows and apply it again, in one transaction; return what was dropped.

    Only the schema's own objects are dropped (`to_be_removed`). Raises `SchemaError` if other objects depend
    on them, and names these; nothing changes then.
    """
    state.require_server(db)
    with db.transaction() as transaction, without_deadline(transaction):
        take_lock(transaction)
        refuse_newer(state.version(transaction))
        transaction.execute("SET LOCAL lock_timeout TO DEFAULT")
        removed = to_be_removed(transaction)
        try:
            _drop(transaction, removed)
        except QueryError as error:
            if error.sqlstate != _DEPENDED_ON:
                raise
            raise SchemaError(
                f"other objects depend on the schema, so nothing was removed: {error.detail or error}. Drop "
                "them first.".replace("\n", "; "),
                sqlstate=error.sqlstate,
            ) from error
        apply_within(transaction, on_file)
    return removed


def _drop(transaction: Transaction, removed: Removed) -> None:
    for login in removed.tenant_logins:
        transaction.execute("CALL drop_tenant_login(%s)", (login,))
    for schema in TENANT_SCHEMAS:
        there = transaction.execute_query(
            "SELECT viewname FROM pg_views WHERE schemaname = %s AND viewname = ANY (%s) ORDER BY viewname",
            (schema, removed.tenant_views),
        )
        _drop_all(transaction, "VIEW", schema, [row["viewname"] for row in there])
    # These depend on views, and views on the other functions.
    of_rows = _functions_of_rows(transaction, removed)
    _drop_routines(transaction, of_rows)
    rollups = _rollups(transaction, removed)
    kinds = {
        row["relname"]: row["relkind"]
        for row in transaction.execute_query(
            "SELECT relname, relkind::text AS relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)",
            (removed.relations,),
        )
    }
    views = [name for name in removed.relations if kinds[name] == "v" and name not in rollups]
    _drop_all(transaction, "VIEW", "public", views)
    for name in rollups:  # those built on others come first
        _drop_all(transaction, "MATERIALIZED VIEW", "public", [name])
    ordinary = [name for name in removed.relations if kinds[name] in ("r", "p")]
    for name in _hypertables(
        transaction, ordinary
    ):  # TimescaleDB does not drop a hypertable together with other objects
        _drop_all(transaction, "TABLE", "public", [name])
        ordinary.remove(name)
    _drop_all(transaction, "TABLE", "public", ordinary)
    for trigger in ("decompress_row_by_row", "refuse_dump"):
        transaction.execute(f"DROP EVENT TRIGGER IF EXISTS {trigger}")
    _drop_routines(transaction, [name for name in removed.functions if name not in of_rows])
    _drop_all(transaction, "TYPE IF EXISTS", "public", list(source.schema_objects().types))
    for schema in TENANT_SCHEMAS:
        rest = "SELECT FROM pg_class WHERE relnamespace = to_regnamespace(%s) LIMIT 1"
        if not transaction.execute_query(rest, (schema,)):
            transaction.execute(f"DROP SCHEMA IF EXISTS {schema}")


def _functions_of_rows(transaction: Transaction, removed: Removed) -> list[str]:
    """Return the functions whose result type is a relation's row type."""
    return _column(transaction, _SQL["functions_of_rows"], removed.functions)


def _drop_routines(transaction: Transaction, names: list[str]) -> None:
    if names:
        transaction.execute(f"DROP ROUTINE {', '.join(names)}")


def _rollups(transaction: Transaction, removed: Removed) -> list[str]:
    """Return the continuous aggregates, those built on others first."""
    return _of_timescaledb(transaction, "continuous_aggregates", _SQL["rollups"], removed.relations)


def _hypertables(transaction: Transaction, names: list[str]) -> list[str]:
    return _of_timescaledb(transaction, "hypertables", _SQL["hypertables"], names)


def _of_timescaledb(transaction: Transaction, view: str, sql: str, names: list[str]) -> list[str]:
    known = transaction.execute_query(
        "SELECT to_regclass('timescaledb_information.' || %s) AS relation", (view,)
    )
    return [] if known[0]["relation"] is None else _column(transaction, sql, names)


def _drop_all(transaction: Transaction, kind: str, schema: str, names: list[str]) -> None:
    if names:
        transaction.execute(
            psycopg2.sql.SQL(f"DROP {kind} {{}}").format(
                psycopg2.sql.SQL(", ").join(psycopg2.sql.Identifier(schema, name) for name in names)
            )
        )


def _column(db: Executor, sql: str, names: list[str]) -> list[str]:
    return [str(row["name"]) for row in db.execute_query(sql, (names,))]
