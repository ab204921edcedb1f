"""Twelve questions like those of TSBS's IoT set, on this schema and on hand-made TimescaleDB tables.

The same SQL runs on both: the hand-made tables have the same names in a separate schema. They are what TimescaleDB's
documentation recommends, and no more: double precision, one index for reading by machine and time, no foreign keys, no
checks, the columnstore segmented by machine, and real-time continuous aggregates that hold sums and counts. Both sides are
as their policies leave them: old chunks in the columnstore, rollups refreshed up to the policies' `end_offset` before now, by hand
a bucket's width as in the documentation, so that what is newer is added up when a question is asked.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import psycopg2

from db_utils import DatabaseManager, schema
from tests.benchmarks.harness import Context, Goal, Table, in_turns, on_one_core, percentile, ratio
from tests.support.query_calls import find_facts
from tests.support.scale import compress_old_chunks, leave_newest_to_raw_rows

BY_HAND = """
CREATE SCHEMA by_hand;
CREATE TABLE by_hand.resource_metrics (
    time timestamptz NOT NULL, organization_id uuid NOT NULL, resource_id uuid NOT NULL,
    utilization_pct double precision, efficiency_pct double precision, downtime_minutes double precision
) WITH (
    tsdb.hypertable, tsdb.partition_column = 'time', tsdb.chunk_interval = '1 day',
    tsdb.segmentby = 'organization_id, resource_id', tsdb.orderby = 'time DESC', tsdb.create_default_indexes = false
);
CREATE INDEX ON by_hand.resource_metrics (organization_id, resource_id, time DESC);
CREATE TABLE by_hand.operational_events (
    time timestamptz NOT NULL, organization_id uuid NOT NULL, resource_id uuid, location_id uuid, event_type text NOT NULL,
    quantity double precision, scrap_quantity double precision, duration_minutes double precision
) WITH (
    tsdb.hypertable, tsdb.partition_column = 'time', tsdb.chunk_interval = '7 days',
    tsdb.segmentby = 'organization_id, resource_id', tsdb.orderby = 'time DESC', tsdb.create_default_indexes = false
);
CREATE INDEX ON by_hand.operational_events (organization_id, resource_id, time DESC);
INSERT INTO by_hand.resource_metrics
SELECT time, organization_id, resource_id, utilization_pct, efficiency_pct, downtime_minutes FROM public.resource_metrics;
INSERT INTO by_hand.operational_events
SELECT time, organization_id, resource_id, location_id, event_type, quantity, scrap_quantity, duration_minutes
FROM public.operational_events;
"""
ROLLUP_BY_HAND = """
CREATE MATERIALIZED VIEW by_hand.{name} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{query} WITH NO DATA
"""
ROLLUPS_BY_HAND = {
    "resource_metrics_hourly": """
        SELECT organization_id, resource_id, time_bucket('1 hour', time) AS bucket, sum(downtime_minutes) AS downtime_minutes,
            sum(utilization_pct) AS utilization_pct_minutes, count(utilization_pct) AS utilization_minutes,
            sum(efficiency_pct) AS efficiency_pct_minutes, count(efficiency_pct) AS efficiency_minutes
        FROM by_hand.resource_metrics GROUP BY 1, 2, 3""",
    "resource_metrics_daily": """
        SELECT organization_id, resource_id, time_bucket('1 day', time) AS bucket, sum(downtime_minutes) AS downtime_minutes,
            sum(utilization_pct) AS utilization_pct_minutes, count(utilization_pct) AS utilization_minutes,
            sum(efficiency_pct) AS efficiency_pct_minutes, count(efficiency_pct) AS efficiency_minutes
        FROM by_hand.resource_metrics GROUP BY 1, 2, 3""",
    "operational_events_daily": """
        SELECT organization_id, resource_id, event_type, time_bucket('1 day', time) AS bucket, count(*) AS event_count,
            sum(duration_minutes) AS duration_minutes, sum(quantity) AS quantity
        FROM by_hand.operational_events GROUP BY 1, 2, 3, 4""",
}
# Chunks older than this go to the columnstore on both sides.
COLUMNSTORE_AFTER = {"resource_metrics": "2 days", "operational_events": "14 days"}

_UTILIZATION = "sum(m.utilization_pct_minutes) / nullif(sum(m.utilization_minutes), 0)"
_EFFICIENCY = "sum(m.efficiency_pct_minutes) / nullif(sum(m.efficiency_minutes), 0)"
_LATEST = """
    SELECT r.name, m.time, m.utilization_pct, m.efficiency_pct
    FROM public.resources AS r
    CROSS JOIN LATERAL (
        SELECT l.time, l.utilization_pct, l.efficiency_pct
        FROM resource_metrics AS l
        WHERE l.organization_id = r.organization_id AND l.resource_id = r.resource_id
        ORDER BY l.time DESC LIMIT 1
    ) AS m
    WHERE r.organization_id = %(organization_id)s"""
_OF_ORGANIZATION = "m.organization_id = %(organization_id)s"
_JOINED = (
    "JOIN public.resources AS r ON r.organization_id = m.organization_id AND r.resource_id = m.resource_id"
)

# name: question on raw rows, and on a rollup if one can answer it
QUESTIONS: dict[str, tuple[str, str | None]] = {
    "last reading of every machine": (_LATEST, None),
    "last reading of one machine": (f"{_LATEST} AND r.resource_id = %(resource_id)s", None),
    "machines that run badly now": (f"{_LATEST} AND m.efficiency_pct < 80", None),
    "machines under high load now": (f"{_LATEST} AND m.utilization_pct > 80", None),
    "machines that stood for the last hours": (
        f"SELECT m.resource_id FROM resource_metrics AS m WHERE {_OF_ORGANIZATION} AND m.time >= now() - interval '6 hours' "
        "GROUP BY m.resource_id HAVING avg(m.utilization_pct) < 10",
        f"SELECT m.resource_id FROM resource_metrics_hourly AS m WHERE {_OF_ORGANIZATION} "
        f"AND m.bucket >= now() - interval '6 hours' GROUP BY m.resource_id HAVING {_UTILIZATION} < 10",
    ),
    "machines that ran too long without a break": (
        "SELECT m.resource_id, count(*) FROM (SELECT resource_id, time_bucket('10 minutes', time) AS b, avg(utilization_pct) AS u "
        "FROM resource_metrics WHERE organization_id = %(organization_id)s AND time >= now() - interval '24 hours' GROUP BY 1, 2) "
        "AS m WHERE m.u > 20 GROUP BY 1 HAVING count(*) > 60",
        f"SELECT m.resource_id, count(*) FROM resource_metrics_hourly AS m WHERE {_OF_ORGANIZATION} "
        "AND m.bucket >= now() - interval '24 hours' AND m.utilization_pct_minutes > 20 * m.utilization_minutes "
        "GROUP BY 1 HAVING count(*) > 10",
    ),
    "load by hour of one machine, three days": (
        f"SELECT time_bucket('1 hour', m.time) AS hour, avg(m.utilization_pct) FROM resource_metrics AS m WHERE {_OF_ORGANIZATION} "
        "AND m.resource_id = %(resource_id)s AND m.time >= now() - interval '3 days' GROUP BY 1 ORDER BY 1",
        f"SELECT m.bucket, {_UTILIZATION} FROM resource_metrics_hourly AS m WHERE {_OF_ORGANIZATION} "
        "AND m.resource_id = %(resource_id)s AND m.bucket >= now() - interval '3 days' GROUP BY 1 ORDER BY 1",
    ),
    "efficiency by kind of machine": (
        f"SELECT r.resource_type, avg(m.efficiency_pct) FROM resource_metrics AS m {_JOINED} WHERE {_OF_ORGANIZATION} GROUP BY 1",
        f"SELECT r.resource_type, {_EFFICIENCY} FROM resource_metrics_daily AS m {_JOINED} WHERE {_OF_ORGANIZATION} GROUP BY 1",
    ),
    "load of each machine by day": (
        f"SELECT m.resource_id, time_bucket('1 day', m.time) AS day, avg(m.utilization_pct) FROM resource_metrics AS m "
        f"WHERE {_OF_ORGANIZATION} GROUP BY 1, 2 ORDER BY 1, 2",
        f"SELECT m.resource_id, m.bucket, {_UTILIZATION} FROM resource_metrics_daily AS m WHERE {_OF_ORGANIZATION} "
        "GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    "downtime of each machine": (
        f"SELECT m.resource_id, sum(m.downtime_minutes) FROM resource_metrics AS m WHERE {_OF_ORGANIZATION} GROUP BY 1",
        f"SELECT m.resource_id, sum(m.downtime_minutes) FROM resource_metrics_daily AS m WHERE {_OF_ORGANIZATION} GROUP BY 1",
    ),
    "production by day": (
        f"SELECT time_bucket('1 day', m.time) AS day, sum(m.quantity) FROM operational_events AS m WHERE {_OF_ORGANIZATION} "
        "AND m.event_type = 'production' AND m.time >= now() - interval '30 days' GROUP BY 1 ORDER BY 1",
        f"SELECT m.bucket, sum(m.quantity) FROM operational_events_daily AS m WHERE {_OF_ORGANIZATION} "
        "AND m.event_type = 'production' AND m.bucket >= now() - interval '30 days' GROUP BY 1 ORDER BY 1",
    ),
    "breakdowns by kind of machine": (
        f"SELECT r.resource_type, count(*) FROM operational_events AS m {_JOINED} WHERE {_OF_ORGANIZATION} "
        "AND m.event_type = 'breakdown' GROUP BY 1",
        f"SELECT r.resource_type, sum(m.event_count) FROM operational_events_daily AS m {_JOINED} WHERE {_OF_ORGANIZATION} "
        "AND m.event_type = 'breakdown' GROUP BY 1",
    ),
}  # fmt: skip


def run(context: Context) -> Table:
    """p50 and p95 of each question, raw and on a rollup, here and by hand."""
    table = Table(
        "IoT questions",
        "Twelve questions on the raw rows and on rollups: this schema against hand-made TimescaleDB tables.",
        ("question", "asked of", "ms p50", "ms p95", "by hand p50", "by hand p95", "here / by hand"),
    )
    with context.database() as db:
        if schema.edition(db) != "community":
            table.remark = "Not measured: rollups and columnstore are in the community edition."
            return table
        prepare(db, context)
        facts = find_facts(db)
        parameters = {"organization_id": str(facts.organization_id), "resource_id": str(facts.resource_id)}
        url = db.settings.database_url
        here = psycopg2.connect(url)
        by_hand = psycopg2.connect(url, options="-c search_path=by_hand,public")
        try:
            with on_one_core(here.info.backend_pid, by_hand.info.backend_pid):
                ratios = [
                    compare(table, name, kind, sql, parameters, {"here": here, "by hand": by_hand}, context)
                    for name, pair in QUESTIONS.items()
                    for kind, sql in zip(("raw rows", "rollup"), pair, strict=True)
                    if sql is not None
                ]
        finally:
            here.close()
            by_hand.close()
    table.goals.append(Goal("median of the questions, here / by hand", statistics.median(ratios), 1.0))
    table.remark = (
        f"Run at {time.strftime('%H:%M', time.gmtime())} UTC, which affects the hourly questions: metrics of an hour are materialized here "
        "a quarter of an hour after its end, in the hand-made tables an hour after. In the first quarter of an hour both sides aggregate "
        "equally many new rows; later this schema aggregates fewer."
    )
    return table


def prepare(db: DatabaseManager, context: Context) -> None:
    """Load the same rows on both sides, in the same state."""
    schema.seed(db, days=context.count(90), scale=2, organizations=4, metric_days=context.count(14))
    with db.connection() as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(BY_HAND)
            for name, query in ROLLUPS_BY_HAND.items():
                cursor.execute(ROLLUP_BY_HAND.format(name=name, query=query))
            for relation, after in COLUMNSTORE_AFTER.items():
                cursor.execute(
                    "SELECT count(compress_chunk(c)) FROM show_chunks(%s::regclass, older_than => %s::interval) AS c",
                    (f"by_hand.{relation}", after),
                )
    leave_newest_to_raw_rows(db)
    compress_old_chunks(db)
    db.execute("VACUUM ANALYZE")


def compare(
    table: Table,
    name: str,
    kind: str,
    sql: str,
    parameters: dict[str, str],
    connections: dict[str, Any],
    context: Context,
) -> float:
    """Run one question on both sides alternately; both must return the same number of rows."""
    rows: dict[str, int] = {}

    def ask(side: str) -> None:
        with connections[side].cursor() as cursor:
            cursor.execute(sql, parameters)
            rows[side] = len(cursor.fetchall())

    taken = in_turns({side: partial(ask, side) for side in connections}, 6 * context.rounds)
    if rows["here"] != rows["by hand"]:
        raise SystemExit(f"{name}, {kind}: {rows} rows")
    found = ratio(taken["here"], taken["by hand"])
    figures = (1e3 * percentile(taken[side], percent) for side in connections for percent in (50, 95))
    table.rows.append((name, kind, *(round(figure, 2) for figure in figures), round(found, 2)))
    return found
