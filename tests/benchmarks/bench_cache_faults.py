"""What does each Redis fault cost readers of the prediction cache, and are the answers correct?

    python -m tests.benchmarks.bench_cache_faults [--calls 200] [--threads 4] [--json FILE]

The cache has its default settings and reads a real PostgreSQL (the embedded one); a proxy breaks the connection to a real
redis-server. Each thread makes `calls` reads, spread over fifty predictions, during each fault; the cost of a read is its
time minus that of its database query. A read is wrong if its value differs from the database. At the end the fault is
removed, and the time until Redis answers again is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import redis
from rich.console import Console
from rich.table import Table

from db_utils import DatabaseManager
from db_utils.cache import Prediction, PredictionCache
from db_utils.cache.keys import space
from db_utils.embedded import redis_server
from tests.benchmarks.bench_cache import KIND, QUERY, prepare_database
from tests.integration.cache.faults import Fault, FaultProxy

PRODUCTS = [f"SKU-{number:04d}" for number in range(50)]
NOTICEABLE_MS = 5.0


class Warnings(logging.Handler):
    """Counts the cache's log messages at level WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1


@dataclass
class Trouble:
    """What a fault can break: the connection to a private server, and the server itself."""

    proxy: FaultProxy
    raw: redis.Redis
    prefix: str
    port: int
    stack: ExitStack
    pid: int = 0

    def restart(self) -> None:
        """Stop the server and start an empty one in its place."""
        self.stack.close()
        self.stack.enter_context(redis_server.start(port=self.port))

    def pause(self) -> None:
        """Freeze the server: its connections stay open, but nothing answers."""
        self.pid = self.raw.info("server")["process_id"]
        os.kill(self.pid, signal.SIGSTOP)

    def occupy(self) -> None:
        """Replace the predictions with another application's lists."""
        for product in PRODUCTS:
            self.raw.delete(self.prefix + product)
            self.raw.rpush(self.prefix + product, "someone else's")

    def change_password(self) -> None:
        """Require a password that the cache does not know from every new connection."""
        self.raw.config_set("requirepass", "changed")
        self.proxy.cut()


Break = Callable[[Trouble], object]


def way(fault: Fault, delay_seconds: float = 0.0) -> Break:
    """Break the connection to the server."""

    def apply(trouble: Trouble) -> None:
        trouble.proxy.delay_seconds, trouble.proxy.fault = delay_seconds, fault

    return apply


def nothing(_: Trouble) -> None:
    """Leave it as it is."""


FAULTS: dict[str, tuple[Break, Break]] = {
    "none": (nothing, nothing),
    "200 ms slow": (way(Fault.SLOW, 0.2), way(Fault.NONE)),
    "trickles, a byte in 30 ms": (way(Fault.TRICKLE, 0.03), way(Fault.NONE)),
    "black hole": (way(Fault.BLACK_HOLE), way(Fault.NONE)),
    "resets connections": (way(Fault.RESET), way(Fault.NONE)),
    "paused (SIGSTOP)": (Trouble.pause, lambda t: os.kill(t.pid, signal.SIGCONT)),
    "gone": (lambda t: t.stack.close(), Trouble.restart),
    "restarted": (Trouble.restart, nothing),
    "flushed": (lambda t: t.raw.flushall(), nothing),
    "full": (
        lambda t: (t.raw.flushall(), t.raw.config_set("maxmemory", "1")),
        lambda t: t.raw.config_set("maxmemory", "0"),
    ),
    "read-only": (
        lambda t: (t.raw.flushall(), t.raw.replicaof("127.0.0.1", redis_server.free_port())),
        lambda t: t.raw.replicaof("no", "one"),
    ),
    "wrong password": (Trouble.change_password, lambda t: t.raw.config_set("requirepass", "")),
    "another application's keys": (Trouble.occupy, lambda t: t.raw.flushall()),
}


@dataclass
class Result:
    """The cost of a fault, in milliseconds more than the plain query."""

    fault: str
    reads: int
    wrong: int
    from_redis: int
    median_ms: float
    worst_ms: float
    noticed: int
    breaker: str
    warnings: int
    back_after_seconds: float


@contextmanager
def breakable(organization: UUID) -> Iterator[Trouble]:
    """A private redis-server behind a proxy."""
    with ExitStack() as server, ExitStack() as rest:
        port = redis_server.free_port()
        url = server.enter_context(redis_server.start(port=port))
        proxy = rest.enter_context(FaultProxy(url))
        raw = rest.enter_context(redis.Redis.from_url(url))
        yield Trouble(proxy, raw, space("pred", organization, KIND).prefix, port, server)


class Reader:
    """Reads through the cache and records the cost of each read beyond its query."""

    def __init__(
        self, cache: PredictionCache, db: DatabaseManager, organization: UUID, truth: dict[str, Any]
    ) -> None:
        self._cache = cache
        self._db = db
        self._organization = organization
        self._truth = truth
        self.costs_ms: list[float] = []
        self.wrong = 0
        self.from_redis = 0

    def read(self, product: str) -> str:
        """Read once and return which side answered."""
        query_seconds = 0.0

        def load() -> Prediction:
            nonlocal query_seconds
            began = time.perf_counter()
            loaded = prediction_of(self._db, self._organization, product)
            query_seconds = time.perf_counter() - began
            return loaded

        began = time.perf_counter()
        answer = self._cache.get_or_compute(self._organization, KIND, product, load)
        self.costs_ms.append(1000 * (time.perf_counter() - began - query_seconds))
        if answer is None or answer.value != self._truth[product]:
            self.wrong += 1
        if answer is not None and answer.source == "cache":
            self.from_redis += 1
            return "cache"
        return "database"


def prediction_of(db: DatabaseManager, organization: UUID, product: str) -> Prediction:
    """The value in the database."""
    (row,) = db.execute_query(QUERY, {"organization": organization, "products": [product]})
    return Prediction(row, row["model_name"], row["model_version"], row["available_at"], row["recorded_at"])


def meet(
    name: str, db: DatabaseManager, organization: UUID, truth: dict[str, Any], *, calls: int, threads: int
) -> Result:
    """Warm up a cache, break Redis, read, repair Redis, and wait until it answers again."""
    logger = logging.getLogger("db_utils.cache")
    warnings = Warnings()
    logger.addHandler(warnings)
    begin, end = FAULTS[name]
    try:
        # The predictions are a year old, but expiry is not tested here.
        with (
            breakable(organization) as trouble,
            PredictionCache(trouble.proxy.url, fresh_seconds=1e9, stale_seconds=1e9) as cache,
        ):
            warm = Reader(cache, db, organization, truth)
            while any(warm.read(product) != "cache" for product in PRODUCTS):
                pass
            begin(trouble)
            readers = [Reader(cache, db, organization, truth) for _ in range(threads)]

            def work(number: int) -> None:
                for call in range(calls):
                    readers[number].read(PRODUCTS[(call * threads + number) % len(PRODUCTS)])

            running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            breaker = cache.statistics()["breaker"]
            end(trouble)
            mended = time.perf_counter()
            while warm.read(PRODUCTS[0]) != "cache":
                time.sleep(0.01)
            back = time.perf_counter() - mended
    finally:
        logger.removeHandler(warnings)
    costs = [cost for reader in readers for cost in reader.costs_ms]
    return Result(
        fault=name,
        reads=len(costs),
        wrong=sum(reader.wrong for reader in [*readers, warm]),
        from_redis=sum(reader.from_redis for reader in readers),
        median_ms=round(statistics.median(costs), 2),
        worst_ms=round(max(costs), 1),
        noticed=sum(cost > NOTICEABLE_MS for cost in costs),
        breaker=breaker,
        warnings=warnings.count,
        back_after_seconds=round(back, 1),
    )


def table_of(results: list[Result]) -> Table:
    """Return the results as a readable table."""
    table = Table(title="A read through the cache while Redis …, beyond its query", title_justify="left")
    for heading in (
        "Redis",
        "reads",
        "wrong",
        "from Redis",
        "median ms",
        "worst ms",
        f"over {NOTICEABLE_MS:g} ms",
    ):
        table.add_column(heading, justify="left" if heading == "Redis" else "right")
    for heading in ("breaker", "warnings", "back after s"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(*(str(value) for value in asdict(result).values()))
    return table


def main() -> None:
    """Run every fault and print its cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200, help="reads of each thread")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # warnings are counted, not shown
    organization = uuid4()
    with DatabaseManager.embedded() as db:
        prepare_database(db, organization, PRODUCTS)
        truth = {product: prediction_of(db, organization, product).value for product in PRODUCTS}
        results = [
            meet(name, db, organization, truth, calls=options.calls, threads=options.threads)
            for name in FAULTS
        ]
    Console(width=120).print(table_of(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
