"""The targets of attacks, from the catalog of the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Relation:
    """A table, view, sequence or index of any schema."""

    schema: str
    name: str
    kind: str
    oid: int

    @property
    def sql(self) -> str:
        return f'"{self.schema}"."{self.name}"'

    @property
    def family(self) -> str:
        """Its part of the report."""
        if self.schema in ("public", "tenant", "tenant_load"):
            return f"schema {self.schema}"
        if "timescaledb" in self.schema:
            return "chunks and TimescaleDB's own"
        return "system catalogs"


@dataclass(frozen=True)
class View:
    """A view of schema tenant or tenant_load (on Citus a table or view of public), and what a writer needs to know about it."""

    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    is_table: bool
    keys: tuple[tuple[str, ...], ...]  # primary and unique keys
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]  # columns, table, its columns

    @property
    def sql(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Routine:
    """A function, aggregate, window function or procedure of any schema."""

    schema: str
    name: str
    kind: str
    argument_types: tuple[str, ...]
    signature: str

    @property
    def sql(self) -> str:
        return f'"{self.schema}"."{self.name}"'


SAMPLE = ("employees", "operational_events", "operational_events_hourly", "employee_attendance_rate")
"""A table, a hypertable, a rollup and a view: for attempts that concern the session, not the relation."""


def _rows(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def relations(connection: Any) -> list[Relation]:
    """Every relation of every schema, except other sessions' temporary ones."""
    return [
        Relation(*row)
        for row in _rows(
            connection,
            """
            SELECT n.nspname, c.relname, c.relkind::text, c.oid::bigint
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_(toast_)?temp_'
            ORDER BY n.nspname, c.relname
            """,
        )
    ]


def views(connection: Any) -> list[View]:
    """The tenants' views, with the keys and references of the tables behind them."""
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, name, column, type_name in _rows(
        connection,
        """
        SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE CASE database_edition()
            -- There tenants have the tables themselves, with row security.
            WHEN 'citus' THEN
                n.nspname = 'public'
                AND c.relkind IN ('r', 'v')
                AND c.relname <> 'tenant_logins'
                AND EXISTS (
                    SELECT FROM pg_attribute AS o WHERE o.attrelid = c.oid AND o.attname = 'organization_id' AND NOT o.attisdropped
                )
            ELSE n.nspname IN ('tenant', 'tenant_load') AND c.relkind = 'v'
        END
        ORDER BY n.nspname, c.relname, a.attnum
        """,
    ):
        columns.setdefault((schema, name), []).append((column, type_name))
    tables = {
        row[0] for row in _rows(connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    keys: dict[str, list[tuple[str, ...]]] = {}
    references: dict[str, list[tuple[tuple[str, ...], str, tuple[str, ...]]]] = {}
    for table, kind, names, target, target_names in _rows(
        connection,
        """
        SELECT
            k.conrelid::regclass::text,
            k.contype::text,
            ARRAY(
                SELECT a.attname::text
                FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
                JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
                ORDER BY u.place
            ),
            k.confrelid::regclass::text,
            ARRAY(
                SELECT a.attname::text
                FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
                JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
                ORDER BY u.place
            )
        FROM pg_constraint AS k
        WHERE k.contype IN ('p', 'u', 'f') AND k.connamespace = 'public'::regnamespace
        ORDER BY k.conname
        """,
    ):
        if kind == "f":
            references.setdefault(table, []).append((tuple(names), target, tuple(target_names)))
        else:
            keys.setdefault(table, []).append(tuple(names))
    return [
        View(
            schema=schema,
            name=name,
            columns=tuple(column for column, _ in listed),
            types=tuple(type_name for _, type_name in listed),
            is_table=name in tables,
            keys=tuple(keys.get(name, ())),
            references=tuple(references.get(name, ())),
        )
        for (schema, name), listed in columns.items()
    ]


def routines(connection: Any) -> list[Routine]:
    """Every function and procedure of every schema that SQL can call."""
    return [
        Routine(schema, name, kind, tuple(types), signature)
        for schema, name, kind, types, signature in _rows(
            connection,
            """
            SELECT
                n.nspname,
                p.proname,
                p.prokind::text,
                ARRAY(
                    SELECT format_type(t.type_id, NULL)
                    FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type_id, place)
                    ORDER BY t.place
                ),
                p.oid::regprocedure::text
            FROM pg_proc AS p
            JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname !~ '^pg_(toast_)?temp_'
                AND p.prorettype <> ALL (ARRAY['trigger', 'event_trigger', 'internal']::regtype[])
                AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
            ORDER BY n.nspname, p.proname, p.oid
            """,
        )
    ]


def settings(connection: Any) -> list[tuple[str, str, str, list[str] | None]]:
    """Name, type, value and allowed values of every setting that any session may change."""
    return [
        (name, kind, value, allowed)
        for name, kind, value, allowed in _rows(
            connection,
            "SELECT name, vartype, setting, enumvals FROM pg_settings WHERE context = 'user' ORDER BY name",
        )
        if not re.match(r"(statement|lock|transaction|idle)_.*timeout|client_encoding|tcp_", name)
    ]


def contents(connection: Any, organization_ids: list[str]) -> str:
    """A fingerprint of every row of these organizations."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.oid::regclass::text
            FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id'
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
            ORDER BY 1
            """
        )
        parts = []
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')), count(*) FROM {table} AS t "
                "WHERE organization_id = ANY (%s::uuid[])",
                (organization_ids,),
            )
            parts.append(f"{table} {cursor.fetchone()}")
    return "\n".join(parts)


def arrangement(connection: Any) -> str:
    """A fingerprint of everything that no tenant may change: objects, owners, rights, definitions, jobs."""
    parts = [
        str(_rows(connection, sql))
        for sql in (
            "SELECT n.nspname, c.relname, c.relkind, c.relowner, c.relacl::text, c.reloptions::text, c.relhastriggers, "
            "c.relhasrules FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE n.nspname IN ('public', 'tenant', 'tenant_load') ORDER BY 1, 2",
            "SELECT oid::regprocedure::text, proowner, proacl::text, md5(prosrc) FROM pg_proc "
            "WHERE pronamespace IN ('public'::regnamespace, 'tenant'::regnamespace) ORDER BY 1",
            "SELECT nspname, nspowner, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY 1",
            "SELECT conrelid::regclass::text, conname, convalidated FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
            "SELECT defaclrole::regrole::text, defaclacl::text FROM pg_default_acl "
            "WHERE defaclrole = ANY ('{barnameh_user, barnameh_tenant, barnameh_readonly}'::regrole[]::oid[]) ORDER BY 1",
            "SELECT count(*) FROM pg_largeobject_metadata",
            "SELECT organization_id, role_name FROM public.tenant_logins ORDER BY 1, 2",
        )
    ]
    if _rows(connection, "SELECT database_edition()") not in ([("plain",)], [("citus",)]):
        parts += [
            str(_rows(connection, sql))
            for sql in (
                "SELECT job_id, proc_name, schedule_interval, config::text, scheduled, owner::text "
                "FROM timescaledb_information.jobs ORDER BY 1",
                "SELECT hypertable_name, num_dimensions FROM timescaledb_information.hypertables ORDER BY 1",
            )
        ]
    return "\n".join(parts)
