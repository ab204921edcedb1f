"""Sizes and row counts of the tables and stored rollups of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from psycopg2.sql import SQL, Identifier

from db_utils.errors import PermissionDeniedError, QueryTimeoutError, UndefinedObjectError
from db_utils.schema.source import schema_objects
from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor

_SQL = sql_beside(__name__)

_COUNTED_UP_TO_BYTES = 64 * 1024**2
_COUNTED_UP_TO_ROWS = 1_000_000
_TIMEOUT_SECONDS = 5.0
# Relations stored in chunks: TimescaleDB lists jobs under the rollup, but chunks under its materialization
# table.
STORED_IN_CHUNKS = """
    stored (relation_schema, relation, hypertable_schema, hypertable_name) AS (
        SELECT hypertable_schema, hypertable_name, hypertable_schema, hypertable_name
        FROM timescaledb_information.hypertables
        UNION ALL
        SELECT view_schema, view_name, materialization_hypertable_schema, materialization_hypertable_name
        FROM timescaledb_information.continuous_aggregates
    )
"""


@dataclass(frozen=True)
class TableFacts:
    """One table or stored rollup. Sizes are in bytes, None if not visible or not in this edition."""

    name: str
    rows: int | None
    rows_are: Literal["exact", "estimate", "unknown"]
    """estimate: from the planner's statistics, as of the last ANALYZE; unknown: not readable, or never analyzed."""
    total_bytes: int | None
    """Rows, indexes and everything else, in all chunks."""
    index_bytes: int | None
    is_hypertable: bool
    """Whether it is stored in chunks, like time series and rollups with TimescaleDB."""
    chunks: int | None
    columnstore_chunks: int | None
    """Chunks in the columnstore."""
    columnstore_before_bytes: int | None
    """Size of the columnstore's rows before conversion."""
    columnstore_after_bytes: int | None
    """Their size in the columnstore."""


def tables(db: Executor, *, exact: bool = False) -> list[TableFacts]:
    """Return the size of each table, in the order of the schema.

    Rows are counted if that is cheap (below 64 MB and about a million rows) or `exact` is set; otherwise they
    are estimated, and marked so.
    """
    return _measured(db, ["r", "p"], exact)


def rollups(db: Executor, *, exact: bool = False) -> list[TableFacts]:
    """Return the size of each rollup of the schema; empty if rollups are views, which store nothing.

    Rows are counted or estimated like those of tables; rows not yet materialized are only in the count.
    """
    return _measured(db, ["v"], exact)


def _measured(db: Executor, kinds: list[str], exact: bool) -> list[TableFacts]:
    names = list(schema_objects().relations)
    found = db.execute_query(_SQL["measured"], (kinds, names, names))
    hypertables = _hypertables(db, [row["name"] for row in found])
    distributed = _distributed(db)
    found = [{**row, **distributed.get(row["name"], {})} for row in found]
    # A view has a size only if TimescaleDB materializes it.
    return [
        _facts(db, row, hypertables, exact)
        for row in found
        if row["kind"] != "v" or row["name"] in hypertables
    ]


def _facts(
    db: Executor, row: dict[str, Any], hypertables: dict[str, dict[str, Any]], exact: bool
) -> TableFacts:
    more = hypertables.get(row["name"], {})
    total_bytes, estimate = more.get("total_bytes", row["total_bytes"]), more.get("estimate", row["estimate"])
    rows, rows_are = _rows(db, row, estimate, total_bytes, exact)
    return TableFacts(
        name=row["name"],
        rows=rows,
        rows_are=rows_are,
        total_bytes=total_bytes,
        index_bytes=more.get("index_bytes", row["index_bytes"]),
        is_hypertable=row["name"] in hypertables,
        chunks=more.get("chunks"),
        columnstore_chunks=more.get("columnstore_chunks"),
        columnstore_before_bytes=more.get("before_bytes"),
        columnstore_after_bytes=more.get("after_bytes"),
    )


def _rows(
    db: Executor, row: dict[str, Any], estimate: int | None, total_bytes: int | None, exact: bool
) -> tuple[int | None, Literal["exact", "estimate", "unknown"]]:
    known = None if estimate is None or estimate < 0 else estimate
    is_cheap = (total_bytes or 0) < _COUNTED_UP_TO_BYTES and (known or 0) < _COUNTED_UP_TO_ROWS
    if row["is_readable"] and (exact or is_cheap):
        try:
            counted = db.execute_query(
                SQL("SELECT count(*) AS rows FROM {}").format(Identifier("public", row["name"])),
                timeout_seconds=None if exact else _TIMEOUT_SECONDS,
            )
            return counted[0]["rows"], "exact"
        except QueryTimeoutError:
            if exact:
                raise
    return (None, "unknown") if known is None else (known, "estimate")


def _distributed(db: Executor) -> dict[str, dict[str, Any]]:
    """Return the total sizes of tables distributed by Citus, without estimates of their rows."""
    try:
        return {row["name"]: row for row in db.execute_query(_SQL["distributed"])}
    except (UndefinedObjectError, PermissionDeniedError):
        return {}


def _hypertables(db: Executor, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return TimescaleDB's figures of relations stored in chunks, as far as the role may query them."""
    try:
        listed = db.execute_query(
            f"""
            WITH {STORED_IN_CHUNKS}
            SELECT
                s.relation AS name,
                format('%%I.%%I', s.hypertable_schema, s.hypertable_name) AS hypertable,
                count(c.chunk_name) AS chunks,
                count(c.chunk_name) FILTER (WHERE c.is_compressed) AS columnstore_chunks
            FROM stored AS s
            LEFT JOIN timescaledb_information.chunks AS c USING (hypertable_schema, hypertable_name)
            WHERE s.relation_schema = 'public'
                AND s.relation = ANY (%s)
            GROUP BY s.relation, s.hypertable_schema, s.hypertable_name
            """,
            (list(names),),
        )
    except (UndefinedObjectError, PermissionDeniedError):
        return {}
    license = db.execute_query("SELECT current_setting('timescaledb.license', true) AS license")[0]["license"]
    has_columnstore = license == "timescale"
    return {row["name"]: {**row, **_sizes(db, row["hypertable"], has_columnstore)} for row in listed}


def _sizes(db: Executor, hypertable: str, has_columnstore: bool) -> dict[str, Any]:
    try:
        sizes = db.execute_query(_SQL["sizes"], {"relation": hypertable})[0]
    except PermissionDeniedError:
        return {"total_bytes": None, "index_bytes": None, "estimate": None}
    return sizes | _columnstore(db, hypertable) if has_columnstore else sizes


def _columnstore(db: Executor, hypertable: str) -> dict[str, Any]:
    rows = db.execute_query(_SQL["columnstore"], (hypertable,))
    return rows[0]
