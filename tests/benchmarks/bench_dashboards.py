"""Do dashboards stay quick while history grows, and what do rollups save?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.benchmarks.harness import Context, Goal, Table, percentile, repeated
from tests.support.query_calls import Facts, find_facts
from tests.support.scale import compress_old_chunks

# Events, organizations, days of history: organizations stay as large as they are, there are more of them and more days.
SIZES = ((100_000, 2, 126), (1_000_000, 10, 252), (10_000_000, 20, 1_263), (50_000_000, 50, 2_525))
PLANTS = 3
METRIC_DAYS = 3
RAW_PRODUCTION = """
    SELECT sum(quantity) AS quantity, sum(scrap_quantity) AS scrap_quantity, count(*) AS events
    FROM operational_events
    WHERE organization_id = %(organization_id)s AND event_type = 'production' AND time >= now() - interval '30 days'
"""


def run(context: Context) -> Table:
    """Median and p95 of each dashboard query at each size; `scale` 1 ends at ten million events."""
    most = 10_000_000 * context.scale
    sizes = [size for size in SIZES if size[0] <= most] or [
        (round(most), 2, max(30, round(252 * context.scale * 10)))
    ]
    table = Table(
        "dashboards",
        "What a dashboard asks of one organization, while the database grows around it.",
        ("query", *(f"ms p50, {label(size[0])}" for size in sizes), *(f"ms p95, {label(size[0])}" for size in sizes), "last / first"),
    )  # fmt: skip
    taken: dict[str, list[list[float]]] = {}
    with context.database() as db:
        for _, organizations, days in sizes:
            schema.seed(db, days=days, scale=PLANTS, organizations=organizations, metric_days=METRIC_DAYS)
            compress_old_chunks(db)
            db.execute("ANALYZE")
            for name, question in questions(db, find_facts(db)).items():
                taken.setdefault(name, []).append(repeated(question, 20 * context.rounds))
        events = db.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
        edition = schema.edition(db)
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
        if not name.startswith("raw"):
            table.goals.append(Goal(f"{name}, ms p95 at {label(events)}", worst, 20))
            if len(sizes) > 1:
                table.goals.append(Goal(f"{name}, growth", growth, 1.3))
    table.remark = (
        f"{edition} edition, {events:,} events at the end, old chunks in the columnstore where there is one."
    )
    return table


def label(events: int) -> str:
    """1M for a million."""
    return f"{events / 1e6:.0f}M" if events >= 1_000_000 else f"{events / 1e3:.0f}k"


def questions(db: DatabaseManager, facts: Facts) -> dict[str, Callable[[], Any]]:
    """What one page of a dashboard asks, and the production of a month from raw events for comparison."""
    queries, organization = OperationalDataQueries(db), facts.organization_id
    return {
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
        "raw events, production of 30 days": lambda: db.execute_query(
            RAW_PRODUCTION, {"organization_id": organization}
        ),
    }
