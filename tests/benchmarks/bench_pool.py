"""What do checkout and return of a pooled connection cost, compared with other pools?

    python -m tests.benchmarks.bench_pool [--database-url URL] [--rounds 7]

Microseconds for both together, without a statement in between: medians over the rounds, with one thread, and with 32 that share 40
connections. Without a URL the embedded PostgreSQL is started. Pools that are not installed are left out.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import psycopg2
import psycopg2.pool
import sqlalchemy.pool

from db_utils import DatabaseManager
from db_utils.embedded.server import EmbeddedServer
from tests.benchmarks.harness import Context, Table, has_peer

CONNECTIONS = 40
CHECKOUTS = 64_000
OPTIONS = {"max_connections": "200"}  # four pools are open at the same time


def ways(url: str, stack: ExitStack) -> dict[str, Callable[[], object]]:
    """Ways to check out and return a connection."""
    ours = stack.enter_context(DatabaseManager(url, max_connections=CONNECTIONS))._pool
    queue = sqlalchemy.pool.QueuePool(
        lambda: psycopg2.connect(url),
        pool_size=CONNECTIONS,
        max_overflow=0,
        recycle=3600,
        reset_on_return=None,
    )
    stack.callback(queue.dispose)
    threaded = psycopg2.pool.ThreadedConnectionPool(CONNECTIONS, CONNECTIONS, url)
    stack.callback(threaded.closeall)
    found: dict[str, Callable[[], object]] = {
        "db_utils": lambda: ours.give(ours.take()),
        "SQLAlchemy QueuePool": lambda: queue.connect().close(),
        "psycopg2 ThreadedConnectionPool": lambda: threaded.putconn(threaded.getconn()),
    }
    if has_peer("psycopg_pool"):
        import psycopg_pool

        third = stack.enter_context(psycopg_pool.ConnectionPool(url, min_size=1, max_size=CONNECTIONS))
        found["psycopg_pool"] = lambda: third.putconn(third.getconn())
    return found


def microseconds(way: Callable[[], object], threads: int) -> float:
    """Return the microseconds of one checkout and return when this many threads do nothing else."""
    count = CHECKOUTS // threads
    ready = threading.Barrier(threads + 1)

    def work() -> None:
        way()
        ready.wait()
        for _ in range(count):
            way()

    working = [threading.Thread(target=work) for _ in range(threads)]
    for thread in working:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in working:
        thread.join()
    return (time.perf_counter() - started) / (count * threads) * 1e6


def measure(url: str, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the microseconds by way, for one thread and for 32, with a figure per round."""
    with ExitStack() as stack:
        found = ways(url, stack)
        taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in found}
        for _ in range(rounds):
            for name, way in found.items():
                for place, threads in enumerate((1, 32)):
                    taken[name][place].append(microseconds(way, threads))
    return taken


def run(context: Context) -> Table:
    """The cost of checkout and return."""
    return Table(
        "pool",
        "Checkout and return of a pooled connection, without a statement in between.",
        ("pool", "µs, 1 thread", "µs, 32 threads"),
        [
            (name, round(statistics.median(one), 2), round(statistics.median(many), 2))
            for name, (one, many) in measure(context.server_url, context.rounds).items()
        ],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database-url", help="default: the embedded PostgreSQL")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.database_url or stack.enter_context(EmbeddedServer.start(options=OPTIONS)).url
        print(f"{'checkout and return, us':<34}{'1 thread':>10}{'32 threads':>12}")
        for name, (one, many) in measure(url, options.rounds).items():
            print(f"{name:<34}{statistics.median(one):>10.2f}{statistics.median(many):>12.2f}")


if __name__ == "__main__":
    main()
