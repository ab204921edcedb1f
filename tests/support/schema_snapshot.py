"""A schema as text: everything visible in pg_dump, without sequential names (chunks, jobs)."""

from __future__ import annotations

import re
from typing import Any

SCHEMAS = ("public", "tenant", "tenant_load")

_COUNTED_UP = re.compile(r"(_materialized_hypertable_|cagg_watermark\()\d+")

_QUERIES = {
    "relation": """
        SELECT n.nspname || '.' || c.relname, c.relkind::text, pg_get_userbyid(c.relowner), c.reloptions::text,
            obj_description(c.oid, 'pg_class'),
            ARRAY(SELECT a::text
                FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
                ORDER BY a::text)::text,
            CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    """,
    "column": """
        SELECT n.nspname || '.' || c.relname, a.attnum::text, a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "constraint": """
        SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid), convalidated::text
        FROM pg_constraint
        WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)) AND contype <> 't'
    """,
    "index": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class')
        FROM pg_index
        JOIN pg_class AS c ON c.oid = indexrelid
        WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s))
    """,
    "trigger": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
        FROM pg_trigger
        WHERE NOT tgisinternal AND tgname NOT LIKE 'ts_%%'
            AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)))
    """,
    "function": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), obj_description(oid, 'pg_proc'),
            ARRAY(SELECT a::text FROM unnest(coalesce(proacl, acldefault('f', proowner))) AS a ORDER BY a::text)::text
        FROM pg_proc AS p
        WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s))
            AND prokind IN ('f', 'p')
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i'))
    """,
    "version": "SELECT version::text, description FROM schema_version",
}
_COMMUNITY = {
    "columnstore": """
        SELECT coalesce(a.view_name::text, s.hypertable::text), s.segmentby, s.orderby
        FROM timescaledb_information.hypertable_columnstore_settings AS s
        LEFT JOIN timescaledb_information.continuous_aggregates AS a ON s.hypertable =
            format('%%I.%%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)::regclass
    """,
    "chunks": """
        SELECT coalesce(a.view_name, d.hypertable_name), d.column_name, d.time_interval::text
        FROM timescaledb_information.dimensions AS d
        LEFT JOIN timescaledb_information.continuous_aggregates AS a
            ON (a.materialization_hypertable_schema, a.materialization_hypertable_name) = (d.hypertable_schema, d.hypertable_name)
        WHERE d.hypertable_schema = 'public'
            OR a.view_schema = 'public'
    """,
    "policy": """
        SELECT j.proc_name, coalesce(h.user_view_name, j.hypertable_name), j.schedule_interval::text,
            (j.config - 'mat_hypertable_id' - 'hypertable_id')::text
        FROM timescaledb_information.jobs AS j
        LEFT JOIN _timescaledb_catalog.hypertable AS m ON m.table_name = j.hypertable_name
        LEFT JOIN _timescaledb_catalog.continuous_agg AS h ON h.mat_hypertable_id = m.id
        WHERE j.hypertable_name IS NOT NULL
    """,
}


def snapshot(db: Any) -> list[str]:
    """One line per object, in an order that does not depend on how the schema was created."""
    edition = db.execute_query("SELECT database_edition() AS edition")[0]["edition"]
    queries = {**_QUERIES, **(_COMMUNITY if edition == "community" else {})}
    lines = [f"edition {edition}"]
    for kind, sql in queries.items():
        with db.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql, {"schemas": list(SCHEMAS)})
            lines += [f"{kind} " + " | ".join(str(value) for value in row) for row in cursor]
    return sorted(_COUNTED_UP.sub(r"\1n", line) for line in lines)


def columns_of(db: Any) -> dict[str, list[str]]:
    """The columns of each table of public with tenants' rows."""
    rows = db.execute_query(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns FROM pg_class AS c "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
        # When machine time was last stored and what is pending: every refresh changes this, also the one after a restore.
        "AND c.relname NOT IN ('resource_time_states', 'resource_time_marks') "
        "GROUP BY c.relname HAVING bool_or(a.attname = 'organization_id') ORDER BY c.relname"
    )
    return {row["relname"]: row["columns"] for row in rows}


def content_hashes(db: Any, columns: dict[str, list[str]] | None = None) -> dict[str, tuple[int, str | None]]:
    """Row count and content hash of each table of public with tenants' rows; over all columns, or the given ones."""
    hashes = {}
    for name, told in (columns or columns_of(db)).items():
        values = ", ".join(f'"{column}"' for column in told)
        row = db.execute_query(
            "SELECT count(*) AS rows, md5(string_agg(h, '' ORDER BY h)) AS hash "
            f"FROM (SELECT md5(ROW({values})::text) AS h FROM {name}) AS x"
        )[0]
        hashes[name] = (row["rows"], row["hash"])
    return hashes
