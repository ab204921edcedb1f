"""What does a read of the prediction cache cost, compared with bare Redis and with the query it saves?

    python -m tests.benchmarks.bench_cache [--redis-url URL] [--database-url URL] [--rounds 15] [--check]

Prints JSON: microseconds for each thing measured (median of the rounds) and ratios. A ratio is the median of the
ratios of single rounds, in which both sides take turns, so that a busy machine affects both alike.
`--check` exits with 1 when a ratio exceeds its limit. Without URLs a private redis-server and the embedded
PostgreSQL are started; data written to servers at a URL belongs to a separate organization and is deleted afterwards.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from uuid import UUID, uuid4

import redis

from db_utils import DatabaseManager
from db_utils.cache import Prediction, PredictionCache
from db_utils.embedded import redis_server
from tests.benchmarks.harness import Context, Goal, Table, backend, on_one_core

KIND = "demand_forecast"
BATCH = 50
LIMITS = {
    "get / bare GET": 1.3,
    "get_or_compute / bare GET": 1.3,
    "get_many / bare MGET": 1.3,
    "get_many_or_compute / bare MGET": 1.3,
}
MODEL = ("seasonal-naive", "2025.3")


def value_of(product: str) -> dict[str, Any]:
    """One forecast, in types that plain JSON has too."""
    return {
        "product_id": product,
        "location_id": "33333333-3333-3333-3333-333333333333",
        "target_time": "2030-03-02T00:00:00+00:00",
        "predicted_quantity": 118.25,
        "lower_bound": 96.5,
        "upper_bound": 140.75,
        "interval_coverage_pct": 80,
    }


QUERY = """
    SELECT product_id, location_id::text, target_time::text, predicted_quantity::float8, lower_bound::float8,
           upper_bound::float8, interval_coverage_pct::float8, model_name, model_version, available_at, recorded_at
    FROM current_demand_forecasts
    WHERE organization_id = %(organization)s AND product_id = ANY (%(products)s) AND location_id = %(organization)s
        AND target_time = '2030-03-02Z'
"""


def prepare_database(db: DatabaseManager, organization: UUID, products: list[str]) -> None:
    """Thirty runs of thirty days for each product."""
    db.execute(
        "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%s, 'bench', 'food', 'UTC')",
        (organization,),
    )
    db.execute(
        "INSERT INTO locations (organization_id, location_id, name, location_type, timezone)"
        " VALUES (%s, %s, 'Plant', 'factory', 'UTC')",
        (organization, organization),
    )
    db.execute(
        """
        INSERT INTO demand_forecasts (organization_id, product_id, location_id, target_time, predicted_quantity,
                                      lower_bound, upper_bound, interval_coverage_pct,
                                      model_name, model_version, available_at)
        SELECT %(organization)s, product, %(organization)s, timestamptz '2030-03-01Z' + make_interval(days => day),
               118.25, 96.5, 140.75, 80, %(name)s, %(version)s, timestamptz '2025-01-01Z' + make_interval(days => run)
        FROM unnest(%(products)s::text[]) AS product, generate_series(1, 30) AS day, generate_series(1, 30) AS run
        """,
        {"organization": organization, "products": products, "name": MODEL[0], "version": MODEL[1]},
    )
    db.execute("ANALYZE demand_forecasts")


def per_call(work: Callable[[], object], calls: int) -> float:
    """Return the microseconds of one call, as the mean of several."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls * 1e6


def measure(tasks: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, list[float]]:
    """Run each task in turn, `rounds` times, after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, (work, calls) in tasks.items():
            took = per_call(work, calls)
            if number:
                times[name].append(took)
    return times


def never(*_: object) -> Any:
    """A loader that must not be called, because only hits are measured."""
    raise AssertionError("a measured call was not a hit")


def figures(db: DatabaseManager, url: str, rounds: int) -> dict[str, Any]:
    """Measure with this database and this Redis; all written data are deleted afterwards."""
    organization = uuid4()
    products = [f"SKU-{number:04d}" for number in range(BATCH)]
    with ExitStack() as stack:
        bare = stack.enter_context(redis.Redis.from_url(url))
        cache = stack.enter_context(PredictionCache(url, budget_seconds=5, early_refresh=0))
        prepare_database(db, organization, products)
        stack.callback(db.execute, "DELETE FROM organizations WHERE organization_id = %s", (organization,))
        stack.callback(db.execute, "DELETE FROM locations WHERE organization_id = %s", (organization,))
        stack.callback(db.execute, "DELETE FROM demand_forecasts WHERE organization_id = %s", (organization,))
        prefix = f"bench:{{{organization}}}:"
        names = [prefix + product for product in products]
        stack.callback(bare.delete, *names)
        stack.callback(cache.invalidate, organization)
        bare.mset(
            {prefix + product: json.dumps(value_of(product), separators=(",", ":")) for product in products}
        )
        now = datetime.now(UTC)
        cache.put_many(
            organization, KIND, {product: Prediction(value_of(product), *MODEL, now) for product in products}
        )
        one, first = products[0], names[0]
        decode = json.loads
        tasks: dict[str, tuple[Callable[[], object], int]] = {
            "bare GET": (lambda: decode(bare.get(first)), 300),  # type: ignore[arg-type]
            "get": (lambda: cache.get(organization, KIND, one) or never(), 300),
            "get_or_compute": (lambda: cache.get_or_compute(organization, KIND, one, never), 300),
            "query": (lambda: db.execute_query(QUERY, {"organization": organization, "products": [one]}), 50),
            "bare MGET": (lambda: [decode(raw) for raw in bare.mget(names)], 50),  # type: ignore[union-attr]
            "get_many": (lambda: len(cache.get_many(organization, KIND, products)) == BATCH or never(), 50),
            "get_many_or_compute": (
                lambda: cache.get_many_or_compute(organization, KIND, products, never),
                50,
            ),
            "query of 50": (
                lambda: db.execute_query(QUERY, {"organization": organization, "products": products}),
                10,
            ),
        }
        assert len(db.execute_query(QUERY, {"organization": organization, "products": products})) == BATCH
        server = bare.info("server")
        with on_one_core(server["process_id"], backend(db)):  # type: ignore[index]
            times = measure(tasks, rounds)
    pairs = [
        ("get", "bare GET"),
        ("get_or_compute", "bare GET"),
        ("get_many", "bare MGET"),
        ("get_many_or_compute", "bare MGET"),
        ("query", "get_or_compute"),
        ("query of 50", "get_many_or_compute"),
    ]
    ratios = {
        f"{over} / {under}": statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))
        for over, under in pairs
    }
    return {
        "microseconds": {name: round(statistics.median(taken), 1) for name, taken in times.items()},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "limits": LIMITS,
        "rounds": rounds,
        "redis_server": server["redis_version"],  # type: ignore[index]
        "redis_py": version("redis"),
        "hiredis": version("hiredis") if find_spec("hiredis") else None,
        "python": sys.version.split()[0],
    }


def run(context: Context) -> Table:
    """Hits compared with bare Redis, and with the query that they save."""
    with context.database() as db, redis_server.start() as url:
        found = figures(db, url, 3 * context.rounds)
    table = Table(
        "prediction cache",
        f"A hit, and {BATCH} hits in one call, compared with bare redis-py with JSON decoding, and with the query that a hit saves.",
        ("call", "µs"),
        list(found["microseconds"].items()),
        remark=f"Redis {found['redis_server']}, redis-py {found['redis_py']}, hiredis {found['hiredis'] or 'not installed'}.",
    )
    table.goals += [Goal(name, found["ratios"][name], limit) for name, limit in LIMITS.items()]
    table.goals += [
        Goal(name, value, 1, at_most=False) for name, value in found["ratios"].items() if name not in LIMITS
    ]
    return table


def main() -> int:
    """Measure, print, and report whether the limits are met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--redis-url", help="default: a private redis-server")
    parser.add_argument("--database-url", help="a database with the schema; default: the embedded server")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio exceeds its limit")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.redis_url or stack.enter_context(redis_server.start())
        db = stack.enter_context(
            DatabaseManager(options.database_url) if options.database_url else DatabaseManager.embedded()
        )
        result = figures(db, url, options.rounds)
    print(json.dumps(result, indent=2))
    exceeded = [name for name, limit in LIMITS.items() if result["ratios"][name] > limit]
    if options.check and exceeded:
        print(f"over the limit: {', '.join(exceeded)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
