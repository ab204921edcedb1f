"""Shared by all benchmarks: databases, alternating runs, tables with goals, and a description of the machine."""

from __future__ import annotations

import itertools
import math
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from db_utils import DatabaseManager, schema
from tests.conftest import database_url, fresh_database, maintenance

PACKAGES = (
    "psycopg2-binary", "psycopg", "psycopg-binary", "psycopg-pool", "SQLAlchemy", "redis", "hiredis", "pyarrow", "pandas",
    "polars", "adbc-driver-postgresql", "connectorx", "pgcopy",
)  # fmt: skip
# The settings of docker-compose.yml, and some memory; both sides of a comparison use them.
SERVER_OPTIONS = {
    "max_connections": "200",
    "max_worker_processes": "24",
    "max_locks_per_transaction": "512",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "work_mem": "32MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "constraint_exclusion": "off",
}


@dataclass(frozen=True)
class Goal:
    """A target for a figure: `value` at most or at least `limit`."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def is_met(self) -> bool:
        """Whether it is met; NaN never meets a goal."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{self.what}: {self.value:.2f} (goal {sign} {self.limit:g}){'' if self.is_met else ' MISSED'}"


@dataclass
class Table:
    """One result: a question, rows of figures, and the goals."""

    name: str
    question: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    remark: str = ""
    drawn: str = ""
    """The column that the picture shows, one bar per row; empty for no picture."""


@dataclass(frozen=True)
class Context:
    """Where and how long to measure."""

    server_url: str
    scale: float
    rounds: int
    folder: Path
    keeps_databases: bool = False
    """Whether databases that take long to load stay on the server, for another run on the same day."""

    def count(self, at_scale_1: int, least: int = 1) -> int:
        """Return this number at the current scale."""
        return max(least, round(at_scale_1 * self.scale))

    @contextmanager
    def database(self, **settings: object) -> Iterator[DatabaseManager]:
        """A new database with the schema, dropped afterwards."""
        with self.empty_database() as url, _unlimited(url, settings) as db:
            schema.apply(db)
            yield db

    @contextmanager
    def loaded_database(
        self, name: str, load: Callable[[DatabaseManager], None], **settings: object
    ) -> Iterator[DatabaseManager]:
        """A new database that `load` filled; or the kept one of this name, with the schema applied again."""
        if not self.keeps_databases:
            with self.database(**settings) as db:
                load(db)
                yield db
            return
        # Loads end now, so tomorrow's differs.
        url = self._kept(f"benchmark_{name}_{time.strftime('%Y%m%d', time.gmtime())}", load)
        with _unlimited(url, settings) as db:
            schema.apply(db)
            yield db

    def _kept(self, name: str, load: Callable[[DatabaseManager], None]) -> str:
        """Return the URL of the database of this name, loaded now if it does not exist; a partial load never gets the name."""
        with maintenance(self.server_url) as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if not cursor.rowcount:
                loading = f"{name}_loading"
                cursor.execute(f"DROP DATABASE IF EXISTS {loading} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {loading}")
                with _unlimited(database_url(self.server_url, loading), {}) as db:
                    schema.apply(db)
                    load(db)
                # TimescaleDB's scheduler is connected too.
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (loading,)
                )
                cursor.execute(f"ALTER DATABASE {loading} RENAME TO {name}")
        return database_url(self.server_url, name)

    def empty_database(self) -> AbstractContextManager[str]:
        """The URL of a new, empty database, dropped afterwards."""
        return fresh_database(self.server_url)


def _unlimited(url: str, settings: Mapping[str, Any]) -> DatabaseManager:
    """A manager without a statement timeout that reports no statement as slow."""
    return DatabaseManager(url, statement_timeout_seconds=0, slow_query_seconds=0, **settings)


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each round, in changing order, after one warm-up round."""
    names = list(ways)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            ways[name]()
            if number >= 0:
                taken[name].append(time.perf_counter() - started)
    return taken


@contextmanager
def on_one_core(*servers: int) -> Iterator[None]:
    """Pin this thread and these processes of local servers to one core, for queries that run one at a time.

    Where each side waits for the other, the scheduler's choice of cores makes more difference than what is measured:
    1.7 times, for one GET of Redis.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = {process: os.sched_getaffinity(process) for process in (0, *filter(_is_server, servers))}
    for process in before:
        os.sched_setaffinity(process, {max(before[0])})
    try:
        yield
    finally:
        for process, cores in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(process, cores)


def _is_server(process: int) -> bool:
    """Whether this local process is a PostgreSQL server: in a container or on another machine, its id may be another process's."""
    name = Path(f"/proc/{process}/comm")
    return name.exists() and name.read_text(encoding="utf-8").startswith(("postgres", "redis-server"))


def backend(db: DatabaseManager) -> int:
    """Return the server process that serves this manager as long as it runs one statement at a time."""
    return int(db.execute_query("SELECT pg_backend_pid() AS process")[0]["process"])


def has_peer(module: str) -> bool:
    """Whether this peer is installed, and psycopg 3 in C, as its documentation recommends: in pure Python it is several times slower."""
    in_c = find_spec("psycopg_binary") is not None or find_spec("psycopg_c") is not None
    return find_spec(module) is not None and (in_c or module not in ("psycopg", "psycopg_pool"))


def ratio(over: list[float], under: list[float]) -> float:
    """Return the median of the ratios per round, so that a busy machine affects both sides alike."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest value that this percentage of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def repeated(question: Callable[[], object], runs: int) -> list[float]:
    """Return the seconds of each run, after one warm-up run."""
    question()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        question()
        taken.append(time.perf_counter() - started)
    return taken


def by_threads(work: Callable[[int], object], threads: int, calls: int) -> list[float]:
    """Return the seconds of each call when `threads` threads make `calls` calls together; `work` gets its thread's number."""
    ready = threading.Barrier(threads)
    taken: list[list[float]] = [[] for _ in range(threads)]
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
            ready.wait()
            for _ in range(calls // threads):
                started = time.perf_counter()
                work(number)
                taken[number].append(time.perf_counter() - started)
        except BaseException as error:
            failures.append(error)
            ready.abort()

    crew = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for member in crew:
        member.start()
    for member in crew:
        member.join()
    if failures:
        raise failures[0]
    return list(itertools.chain.from_iterable(taken))


def machine(server_url: str) -> dict[str, str]:
    """Describe the machine."""
    with DatabaseManager(server_url) as db:
        server = str(db.execute_query("SELECT version() AS version")[0]["version"]).split(",", 1)[0]
        extension = db.execute_query(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
        )
    known = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "server": server,
        "TimescaleDB": str(extension[0]["default_version"]) if extension else "none",
    }
    for package in PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
