"""A database with ten times the sample data, in the state in which its policies would leave it."""

from __future__ import annotations

from typing import Any

from db_utils import schema

SERIES = ("operational_events", "demand_history", "resource_metrics", "employee_attendance")
ROLLUPS = tuple(f"{series}_{width}" for series in SERIES for width in ("hourly", "daily"))
STORED_ROLLUPS = tuple(
    name for name in ROLLUPS if name not in ("operational_events_daily", "employee_attendance_daily")
)


def multiply(db: Any, factor: int = 10) -> None:
    """Make the time-series tables about `factor` times as large, by extending their history into the past."""
    schema.seed(db, days=30 * factor, metric_days=7 * factor)


def compress_old_chunks(db: Any) -> int:
    """Convert the chunks that the policy would have converted to the columnstore by now; 0 without a columnstore."""
    if schema.edition(db) != "community":
        return 0
    compressed = 0
    for layout in db.execute_query(
        "SELECT relation, columnstore_after FROM time_series_layout() "
        "UNION ALL SELECT rollup, columnstore_after FROM rollup_definitions() WHERE columnstore_after IS NOT NULL"
    ):
        rows = db.execute_query(
            "SELECT count(compress_chunk(c)) AS n FROM show_chunks(%s::regclass, older_than => %s) AS c",
            (layout["relation"], layout["columnstore_after"]),
        )
        compressed += rows[0]["n"]
    db.execute("ANALYZE")
    return compressed


def leave_newest_to_raw_rows(db: Any) -> None:
    """Fill the rollups as their policies would; hand-made ones up to one bucket before now, as in TimescaleDB's
    documentation.

    Newer rows are aggregated at query time. Does nothing if rollups are views.
    """
    if schema.edition(db) != "community":
        return
    rollups = db.execute_query(
        "SELECT format('%I.%I', c.view_schema, c.view_name) AS name, "
        "coalesce(d.end_offset, w.width) AS end_offset "
        "FROM timescaledb_information.continuous_aggregates AS c "
        "CROSS JOIN LATERAL (SELECT CASE WHEN c.view_name LIKE '%hourly' THEN interval '1 hour' ELSE interval '1 day' END) AS w (width) "
        "LEFT JOIN rollup_definitions() AS d ON c.view_schema = 'public' AND c.view_name = d.rollup "
        "ORDER BY w.width, c.view_schema, c.view_name"
    )
    for rollup in rollups:
        db.execute(f"TRUNCATE {rollup['name']}")  # a refresh never moves a rollup's watermark back
        db.execute(
            "CALL refresh_continuous_aggregate(%s, NULL, now() - %s)", (rollup["name"], rollup["end_offset"])
        )
