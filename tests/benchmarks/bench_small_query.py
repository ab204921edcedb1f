"""What does a small query cost through the library, compared with a bare connection and the usual pools?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack

import psycopg2
import psycopg2.extras
import sqlalchemy

from db_utils import DatabaseManager, schema
from tests.benchmarks.harness import Context, Goal, Table, by_threads, has_peer, percentile

THREADS = (1, 4, 32)
QUERY = "SELECT name, status FROM resources WHERE organization_id = %s AND resource_id = %s"


def run(context: Context) -> Table:
    """Microseconds of one query by primary key; the ratio is to a bare connection of the same thread."""
    table = Table(
        "small query",
        "One row by its primary key, as dicts: what does the library add?",
        ("way", "threads", "µs median", "µs p95", "queries/s", "time / bare"),
        drawn="time / bare",
    )
    with context.database(max_connections=max(THREADS)) as db, ExitStack() as stack:
        schema.seed(db)
        key = tuple(
            db.execute_query("SELECT organization_id, resource_id FROM resources ORDER BY name LIMIT 1")[
                0
            ].values()
        )
        parameters = (str(key[0]), str(key[1]))
        found = ways(db, parameters, stack)
        for threads in THREADS:
            rounds = measure(found, threads, context)
            bare = rounds["psycopg2, bare"]
            for name, samples in rounds.items():
                everything = [second for taken in samples for second in taken]
                # Wall-clock time of a thread per query: how long a caller waits, including for other threads.
                against = statistics.median(
                    statistics.fmean(ours) / statistics.fmean(theirs)
                    for ours, theirs in zip(samples, bare, strict=True)
                )
                table.rows.append(
                    (
                        name,
                        threads,
                        round(1e6 * statistics.median(everything)),
                        round(1e6 * percentile(everything, 95)),
                        round(threads / statistics.fmean(everything)),
                        round(against, 2),
                    )
                )
                if name == "db_utils":
                    table.goals.append(Goal(f"{threads} threads, against bare psycopg2", against, 1.15))
    return table


def measure(
    found: dict[str, Callable[[int], object]], threads: int, context: Context
) -> dict[str, list[list[float]]]:
    """Return the seconds of each query, by way and round."""
    calls = context.count(8_000, 32 * threads)
    names = list(found)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for number in range(context.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken[name].append(by_threads(found[name], threads, calls))
    return taken


def ways(db: DatabaseManager, key: tuple[str, str], stack: ExitStack) -> dict[str, Callable[[int], object]]:
    """Ways to run the same query and return dicts."""
    url = db.settings.database_url
    connections = []
    for _ in range(max(THREADS)):
        connection = psycopg2.connect(url)
        stack.callback(connection.close)
        connection.autocommit = True
        connections.append(connection)

    def bare(number: int) -> object:
        with connections[number].cursor() as cursor:
            cursor.execute(QUERY, key)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda: psycopg2.connect(url), pool_size=max(THREADS), max_overflow=0,
        isolation_level="AUTOCOMMIT",
    )  # fmt: skip
    stack.callback(engine.dispose)

    def alchemy(number: int) -> object:
        with engine.connect() as connection:
            return [dict(row) for row in connection.exec_driver_sql(QUERY, key).mappings()]

    found: dict[str, Callable[[int], object]] = {
        "psycopg2, bare": bare,
        "db_utils": lambda number: db.execute_query(QUERY, key),
        "SQLAlchemy": alchemy,
    }
    if has_peer("psycopg_pool"):
        found["psycopg_pool"] = third_way(url, key, stack)
    return found


def third_way(url: str, key: tuple[str, str], stack: ExitStack) -> Callable[[int], object]:
    """psycopg 3 with its own pool."""
    import psycopg
    import psycopg_pool

    pool = stack.enter_context(
        psycopg_pool.ConnectionPool(
            url, min_size=max(THREADS), max_size=max(THREADS), kwargs={"autocommit": True}, open=True
        )
    )
    pool.wait()

    def ask(number: int) -> object:
        with pool.connection() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(QUERY, key).fetchall()

    return ask
