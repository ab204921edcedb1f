"""Do dashboards stay fast while history grows, and how much do rollups save?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.benchmarks.harness import Context, Goal, Table, in_turns, percentile
from tests.support.query_calls import Facts, find_facts
from tests.support.scale import compress_old_chunks, leave_newest_to_raw_rows

# Events, organizations, days of history: the size of an organization stays the same; their number and the days grow.
SIZES = ((1_000_000, 10, 252), (10_000_000, 20, 1_263), (50_000_000, 50, 2_525))
PLANTS = 3
METRIC_DAYS = 3
# The same questions on raw rows, to show what rollups save.
RAW = {
    "get_production_rate": """
        SELECT time_bucket(interval '1 day', e.time) AS bucket, e.location_id, e.resource_id, count(*) AS event_count,
            sum(e.duration_minutes) AS production_minutes, sum(e.quantity) AS quantity, sum(e.scrap_quantity) AS scrap_quantity,
            avg(e.quality_score) AS quality_score_mean
        FROM operational_events AS e
        WHERE e.organization_id = %(organization_id)s AND e.event_type = 'production' AND e.time >= now() - interval '30 days'
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "get_downtime_by_cause": """
        SELECT e.event_type, e.cause, count(*) AS event_count, sum(e.duration_minutes) AS downtime_minutes
        FROM operational_events AS e
        WHERE e.organization_id = %(organization_id)s AND e.event_type IN ('breakdown', 'idle', 'setup', 'maintenance')
            AND e.time >= now() - interval '30 days'
        GROUP BY 1, 2 ORDER BY downtime_minutes DESC""",
    "get_resource_utilization_summary": """
        SELECT m.resource_id, avg(m.utilization_pct) AS utilization_pct, min(m.utilization_pct) AS utilization_pct_min,
            max(m.utilization_pct) AS utilization_pct_max, avg(m.efficiency_pct) AS efficiency_pct,
            sum(m.downtime_minutes) AS downtime_minutes, sum(m.sample_minutes) AS sample_minutes, count(*) AS sample_count
        FROM resource_metrics AS m
        WHERE m.organization_id = %(organization_id)s AND m.time >= now() - interval '7 days'
        GROUP BY 1""",
}


def run(context: Context) -> Table:
    """Median and p95 of each dashboard query at each size; `scale` 1 ends at ten million events, 5 at fifty."""
    most = 10_000_000 * context.scale
    sizes = [size for size in SIZES if size[0] <= most] or [
        (round(most), 2, max(30, round(252 * context.scale * 10)))
    ]
    with ExitStack() as stack:
        databases = [
            stack.enter_context(
                context.loaded_database(f"dashboards_{label(size[0])}".lower(), partial(prepare, size=size))
            )
            for size in sizes
        ]
        edition, events = schema.edition(databases[-1]), count_events(databases[-1])
        taken_bytes = [bytes_on_disk(db) for db in databases]
        taken = measure(databases, 20 * context.rounds)
    table = Table(
        "dashboards" if edition == "community" else f"dashboards, {edition} edition",
        "Dashboard queries of one organization, while the database grows around it.",
        ("query", *(f"ms p50, {label(size[0])}" for size in sizes), *(f"ms p95, {label(size[0])}" for size in sizes), "last / first"),
    )  # fmt: skip
    for name, samples in taken.items():
        growth = statistics.median(samples[-1]) / statistics.median(samples[0])
        worst = 1e3 * percentile(samples[-1], 95)
        table.rows.append(
            (
                name,
                *(round(1e3 * statistics.median(s), 1) for s in samples),
                *(round(1e3 * percentile(s, 95), 1) for s in samples),
                round(growth, 2),
            )
        )
        # The goals apply to the library's queries in editions that store rollups.
        if edition == "community" and "raw" not in name:
            table.goals.append(Goal(f"{name}, ms p95 at {label(events)}", worst, 20))
            if len(sizes) > 1:
                table.goals.append(Goal(f"{name}, growth", growth, 1.3))
    table.remark = (
        f"{edition} edition, {events:,} events at the end, old chunks in the columnstore where available. Disk space of all "
        f"tables, rollups and indexes: {', '.join(f'{taken / 1e9:.1f} GB' for taken in taken_bytes)}."
    )
    return table


def measure(databases: list[DatabaseManager], runs: int) -> dict[str, list[list[float]]]:
    """Seconds of each question in each database, the databases taking turns."""
    asked = [questions(db, find_facts(db)) for db in databases]
    taken: dict[str, list[list[float]]] = {}
    for name in asked[0]:
        found = in_turns({str(place): ways[name] for place, ways in enumerate(asked)}, runs)
        taken[name] = list(found.values())
    return taken


def count_events(db: DatabaseManager) -> int:
    """How many events the database holds."""
    return int(db.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"])


def bytes_on_disk(db: DatabaseManager) -> int:
    """The size of the whole database."""
    return int(db.execute_query("SELECT pg_database_size(current_database()) AS n")[0]["n"])


def prepare(db: DatabaseManager, size: tuple[int, int, int]) -> None:
    """Fill the database as it would be after regular operation."""
    _, organizations, days = size
    schema.seed(db, days=days, scale=PLANTS, organizations=organizations, metric_days=METRIC_DAYS)
    leave_newest_to_raw_rows(db)
    compress_old_chunks(db)
    # As autovacuum would within minutes.
    db.execute("VACUUM ANALYZE")


def label(events: int) -> str:
    """1M for a million."""
    return f"{events / 1e6:.0f}M" if events >= 1_000_000 else f"{events / 1e3:.0f}k"


def questions(db: DatabaseManager, facts: Facts) -> dict[str, Callable[[], Any]]:
    """The queries of one dashboard page, some of them also on raw rows."""
    queries, organization = OperationalDataQueries(db), facts.organization_id
    asked: dict[str, Callable[[], Any]] = {
        "get_kpi_summary, 7 days": lambda: queries.get_kpi_summary(organization, days=7),
        "get_kpi_summary, 30 days": lambda: queries.get_kpi_summary(organization, days=30),
        "get_resource_utilization_summary": lambda: queries.get_resource_utilization_summary(organization),
        "get_resource_status": lambda: queries.get_resource_status(organization),
        "get_production_rate": lambda: queries.get_production_rate(organization, days=30, bucket="day"),
        "get_downtime_by_cause": lambda: queries.get_downtime_by_cause(organization, days=30),
        "get_demand_history": lambda: queries.get_demand_history(
            organization, facts.product_id, location_id=facts.demand_location_id, days=90
        ),
        "get_active_alerts": lambda: queries.get_active_alerts(organization),
        "get_active_anomaly_predictions": lambda: queries.get_active_anomaly_predictions(organization),
    }
    parameters = {"organization_id": organization}
    return asked | {
        f"{name}, raw rows": partial(db.execute_query, sql, parameters) for name, sql in RAW.items()
    }
