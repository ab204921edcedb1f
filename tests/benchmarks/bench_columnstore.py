"""Which segmentby and orderby? The schema's choice compared with others, on ten times the sample data.

    TEST_PG_INSTALL=/path/to/postgresql-with-timescaledb python -m tests.benchmarks.bench_columnstore [--scale 10]

All chunks in the columnstore, sizes with indexes, medians of eleven runs on one server.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from db_utils import DatabaseManager, schema
from db_utils.embedded.server import EmbeddedServer
from tests.benchmarks.bench_storage import ORGANIZATION, milliseconds, sizes
from tests.support.scale import multiply

SUBJECTS = {
    "operational_events": "resource_id",
    "demand_history": "product_id",
    "resource_metrics": "resource_id",
    "employee_attendance": "employee_id",
}
OTHERS = {
    "operational_events": [
        ("organization_id", "resource_id, time DESC, event_id"),
        ("organization_id", "time DESC, event_id"),
        ("organization_id, resource_id, event_type", "time DESC, event_id"),
    ],
    "demand_history": [
        ("organization_id", "product_id, location_id, time DESC"),
        ("organization_id", "time DESC"),
    ],
    "resource_metrics": [("organization_id", "resource_id, time DESC"), ("organization_id", "time DESC")],
    "employee_attendance": [
        ("organization_id", "employee_id, time DESC"),
        ("organization_id", "time DESC"),
    ],
}


def store(db: DatabaseManager, table: str, segment_by: str, order_by: str) -> None:
    """Set the table's columnstore to this segmentby and orderby."""
    db.execute_query("SELECT count(decompress_chunk(c, true)) FROM show_chunks(%s::regclass) AS c", (table,))
    db.execute(
        f"ALTER TABLE {table} SET (timescaledb.segmentby = '{segment_by}', timescaledb.orderby = '{order_by}')"
    )
    db.execute_query("SELECT count(compress_chunk(c)) FROM show_chunks(%s::regclass) AS c", (table,))
    db.execute(f"ANALYZE {table}")


def measure(db: DatabaseManager, table: str) -> tuple[int, float, float, float]:
    """Return the bytes, and the milliseconds for one subject's rows, one day of all subjects, and one subject's newest row."""
    subject = SUBJECTS[table]
    own = f"FROM {table} WHERE organization_id = %(org)s"
    arguments: dict[str, Any] = db.execute_query(
        f"SELECT min({subject}::text) AS subject, to_timestamp((extract(epoch FROM min(time)) + extract(epoch FROM max(time))) / 2) "
        f"AS middle, organization_id AS org {own} GROUP BY organization_id",
        {"org": ORGANIZATION},
    )[0]
    return (
        sizes(db)[table],
        milliseconds(db, f"SELECT time, metadata {own} AND {subject} = %(subject)s", arguments),
        milliseconds(
            db,
            f"SELECT time, {subject} {own} AND time >= %(middle)s AND time < %(middle)s + interval '1 day'",
            arguments,
        ),
        milliseconds(
            db, f"SELECT time {own} AND {subject} = %(subject)s ORDER BY time DESC LIMIT 1", arguments
        ),
    )


def main() -> None:
    """Run on a private server of the installation under test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=10, help="how many times the sample data")
    options = parser.parse_args()
    with (
        EmbeddedServer.start(install_dir=os.environ.get("TEST_PG_INSTALL") or None) as server,
        DatabaseManager(server.url, statement_timeout_seconds=3600, slow_query_seconds=0) as db,
    ):
        schema.apply(db)
        if schema.edition(db) != "community":
            raise SystemExit("the columnstore is in the community edition: set TEST_PG_INSTALL")
        schema.seed(db)
        multiply(db, options.scale)
        print(
            "| table | segmentby | orderby | size | one subject, all rows | all subjects, one day | newest row |"
        )
        print("|---|---|---|---:|---:|---:|---:|")
        for row in db.execute_query("SELECT relation, segment_by, order_by FROM time_series_layout()"):
            table = row["relation"]
            for segment_by, order_by in ((row["segment_by"], row["order_by"]), *OTHERS[table]):
                store(db, table, segment_by, order_by)
                size, one, day, newest = measure(db, table)
                chosen = "**" if segment_by == row["segment_by"] else ""
                print(
                    f"| {table} | {chosen}{segment_by}{chosen} | {order_by} | {size / 1e6:.2f} MB | {one:.1f} ms | {day:.1f} ms | "
                    f"{newest:.1f} ms |"
                )


if __name__ == "__main__":
    main()
