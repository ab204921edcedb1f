"""A database ten times the sample data, and its old chunks in the columnstore."""

from __future__ import annotations

from typing import Any

from db_utils import schema

SERIES = ("operational_events", "demand_history", "resource_metrics", "employee_attendance")


def multiply(db: Any, factor: int = 10) -> None:
    """Make the time-series tables about `factor` times as large: a history that goes so much further back."""
    schema.seed(db, days=30 * factor, metric_days=7 * factor)


def compress_old_chunks(db: Any) -> int:
    """Bring the chunks to the columnstore that the policy would have brought there by now; 0 where there is none."""
    if db.execute_query("SELECT database_edition() AS edition")[0]["edition"] != "community":
        return 0
    compressed = 0
    for layout in db.execute_query("SELECT relation, columnstore_after FROM time_series_layout()"):
        rows = db.execute_query(
            "SELECT count(compress_chunk(c)) AS n FROM show_chunks(%s::regclass, older_than => %s) AS c",
            (layout["relation"], layout["columnstore_after"]),
        )
        compressed += rows[0]["n"]
        db.execute(f"ANALYZE {layout['relation']}")
    return compressed
