"""What does the columnstore save? Sizes and times of dashboard queries, before and after.

    TEST_PG_INSTALL=/path/to/postgresql-with-timescaledb python -m tests.benchmarks.bench_storage [--scale 10] [--json FILE]

Measures the sample data, then `scale` times the sample data. Medians of eleven runs, both forms in one run on one server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from db_utils import DatabaseManager, schema
from db_utils.embedded.server import EmbeddedServer
from tests.benchmarks.harness import Context, Goal, Table
from tests.support.scale import SERIES, STORED_ROLLUPS, multiply

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
STORED = (*SERIES, *STORED_ROLLUPS)
SMALLER_AT_LEAST = {"resource_metrics": 10, "operational_events": 5}
QUESTIONS = {
    "KPIs of the last 7 days": "SELECT * FROM get_kpi_summary(%(org)s, 7)",
    "mean utilization of one resource, all samples": (
        "SELECT avg(utilization_pct) FROM resource_metrics WHERE organization_id = %(org)s AND resource_id = %(resource)s"
    ),
    "one resource's samples of an hour, a week ago": (
        "SELECT time, utilization_pct FROM resource_metrics WHERE organization_id = %(org)s AND resource_id = %(resource)s "
        "AND time >= now() - interval '6 days 1 hour' AND time < now() - interval '6 days' ORDER BY time"
    ),
    "production of each resource, all events": (
        "SELECT resource_id, sum(quantity) FROM operational_events WHERE organization_id = %(org)s "
        "AND event_type = 'production' GROUP BY resource_id"
    ),
    "newest event of one resource": (
        "SELECT time, event_type FROM operational_events WHERE organization_id = %(org)s AND resource_id = %(resource)s "
        "ORDER BY time DESC LIMIT 1"
    ),
    "one product's demand, all days": (
        "SELECT time, quantity FROM demand_history WHERE organization_id = %(org)s AND product_id = %(product)s ORDER BY time"
    ),
}


def sizes(db: DatabaseManager) -> dict[str, int]:
    """Return the bytes of each time-series table and rollup, with its indexes."""
    return {
        table: db.execute_query("SELECT hypertable_size(%s::regclass) AS bytes", (table,))[0]["bytes"]
        for table in STORED
    }


def milliseconds(db: DatabaseManager, sql: str, arguments: dict[str, Any]) -> float:
    """Return the median time of a query."""
    runs = []
    for _ in range(11):
        started = time.perf_counter()
        db.execute_query(sql, arguments)
        runs.append(1000 * (time.perf_counter() - started))
    return statistics.median(runs)


def measure(db: DatabaseManager) -> dict[str, Any]:
    """The results of one database in both forms."""
    arguments = {
        "org": ORGANIZATION,
        "resource": db.execute_query(
            "SELECT resource_id FROM resources WHERE organization_id = %s ORDER BY name LIMIT 1",
            (ORGANIZATION,),
        )[0]["resource_id"],
        "product": db.execute_query(
            "SELECT min(product_id) AS p FROM demand_history WHERE organization_id = %s", (ORGANIZATION,)
        )[0]["p"],
    }
    answer: dict[str, Any] = {
        "rows": {t: db.execute_query(f"SELECT count(*) AS n FROM {t}")[0]["n"] for t in STORED},
        "bytes_rowstore": sizes(db),
        "ms_rowstore": {name: milliseconds(db, sql, arguments) for name, sql in QUESTIONS.items()},
    }
    for table in STORED:
        db.execute_query("SELECT count(compress_chunk(c)) FROM show_chunks(%s::regclass) AS c", (table,))
    db.execute("ANALYZE")
    return answer | {
        "bytes_columnstore": sizes(db),
        "ms_columnstore": {name: milliseconds(db, sql, arguments) for name, sql in QUESTIONS.items()},
    }


def show(scale: int, result: dict[str, Any]) -> None:
    """Print the tables as Markdown."""
    print(
        f"\n**{scale} x the sample data**\n\n| table or rollup | rows | rowstore | columnstore | smaller |\n|---|---|---|---|---|"
    )
    for table, rows in result["rows"].items():
        before, after = result["bytes_rowstore"][table], result["bytes_columnstore"][table]
        print(
            f"| {table} | {rows:,} | {before / 1e6:.1f} MB | {after / 1e6:.1f} MB | {before / after:.1f} x |"
        )
    print("\n| question | rowstore | columnstore |\n|---|---|---|")
    for name in QUESTIONS:
        print(f"| {name} | {result['ms_rowstore'][name]:.1f} ms | {result['ms_columnstore'][name]:.1f} ms |")


def run(context: Context) -> Table:
    """Sizes before and after, ten times the sample data."""
    table = Table(
        "storage",
        "How much space does the columnstore save, on ten times the sample data, indexes and rollups included?",
        ("table or rollup", "rows", "rowstore MB", "columnstore MB", "times smaller"),
        drawn="times smaller",
    )
    with context.database() as db:
        if schema.edition(db) != "community":
            table.remark = "Not measured: the columnstore is in the community edition."
            return table
        schema.seed(db)
        multiply(db, context.count(10, 2))
        schema.refresh_rollups(db)
        found = measure(db)
    for name, rows in found["rows"].items():
        before, after = found["bytes_rowstore"][name], found["bytes_columnstore"][name]
        table.rows.append(
            (name, rows, round(before / 1e6, 1), round(after / 1e6, 1), round(before / after, 1))
        )
        if name in SMALLER_AT_LEAST:
            table.goals.append(
                Goal(f"{name}, times smaller", before / after, SMALLER_AT_LEAST[name], at_most=False)
            )
    return table


def main() -> None:
    """Run on a private server of the installation under test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=10, help="how many times the sample data")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    results = {}
    with (
        EmbeddedServer.start(install_dir=os.environ.get("TEST_PG_INSTALL") or None) as server,
        DatabaseManager(server.url, statement_timeout_seconds=3600, slow_query_seconds=0) as db,
    ):
        schema.apply(db)
        if schema.edition(db) != "community":
            raise SystemExit("the columnstore is in the community edition: set TEST_PG_INSTALL")
        schema.seed(db)
        for scale in (1, options.scale):
            if scale > 1:
                for table in STORED:
                    db.execute_query(
                        "SELECT count(decompress_chunk(c)) FROM show_chunks(%s::regclass) AS c", (table,)
                    )
                multiply(db, scale)
                schema.refresh_rollups(db)
            results[scale] = measure(db)
            show(scale, results[scale])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
