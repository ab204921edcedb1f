"""A database ten times the sample data: the same weeks again and again, further and further back."""

from __future__ import annotations

from typing import Any

# Days that the sample data covers, per table; each copy goes that much further back.
SPANS_DAYS = {
    "operational_events": 30,
    "demand_history": 91,
    "resource_metrics": 7,
    "employee_attendance": 30,
}


def multiply(db: Any, factor: int = 10) -> None:
    """Make the time-series tables `factor` times as large."""
    for table, days in SPANS_DAYS.items():
        columns = [
            row["attname"]
            for row in db.execute_query(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                (table,),
            )
        ]
        values = {
            "time": f"time - k * interval '{days} days'",
            "event_id": "md5(event_id::text || k)::uuid",
            "shift_id": "NULL",
        }
        db.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(values.get(c, c) for c in columns)} FROM {table}, generate_series(1, {int(factor) - 1}) AS k"
        )
    for table in SPANS_DAYS:
        db.execute(f"ANALYZE {table}")


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
