"""A million operations of all kinds in one process: memory, file handles, threads and the server's backends stay flat."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import psutil

from db_utils import DatabaseManager, OperationalDataQueries, errors
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed
from tests.support.query_calls import MANUFACTURING

THREADS = 4
OTHER = uuid.UUID("22222222-2222-2222-2222-222222222222")
APPLICATION = "soak"
MORE_MEMORY_MB = 32.0
"""Allowed growth of the process between the first mark and the last, because allocators retain some memory."""
WATCHERS = 2
"""Allowed variation of threads: each of the two managers has one that watches deadlines while there are any."""

Operation = Callable[["Worker"], None]


@dataclass(frozen=True)
class Mark:
    """The resources of the process and its server at one moment."""

    operations: int
    memory_mb: float
    files: int
    threads: int
    backends: int

    def __str__(self) -> str:
        return (
            f"{self.operations:,}: {self.memory_mb:.0f} MB, {self.files} files, {self.threads} threads, "
            f"{self.backends} backends"
        )


class Worker:
    """One thread's operations, each with its expected answer."""

    def __init__(self, db: DatabaseManager, number: int, chances: random.Random) -> None:
        self.db = db
        self.number = number
        self.chances = chances
        self.added = 0
        self.done: Counter[str] = Counter()
        self.mistakes: list[str] = []
        self.mine, self.other = db.tenant(MANUFACTURING), db.tenant(OTHER)
        self.queries = OperationalDataQueries(db)
        listed = db.execute_query("SELECT location_id FROM locations WHERE organization_id = %s", (OTHER,))
        self.locations = {row["location_id"] for row in listed}

    def work(self, count: int, over: Callable[[], bool]) -> None:
        """Run this many operations, or fewer if the time is up."""
        operations, weights = list(OPERATIONS), list(OPERATIONS.values())
        for _ in range(count):
            if over():
                return
            (operation,) = self.chances.choices(operations, weights)
            try:
                operation(self)
            except Exception as error:
                self.mistakes.append(f"{operation.__name__}: {type(error).__name__}: {error}")
            self.done[operation.__name__] += 1

    def expect(self, found: object, expected: object) -> None:
        """Record a wrong answer."""
        if found != expected:
            self.mistakes.append(f"{found!r} instead of {expected!r}"[:300])

    def refuse(self, kind: type[Exception] | tuple[type[Exception], ...], act: Callable[[], object]) -> None:
        """Record if this does not fail as expected."""
        try:
            answer = act()
        except kind:
            return
        self.mistakes.append(f"{answer!r} instead of {kind}"[:300])


def query(w: Worker) -> None:
    """Read rows with a known sum."""
    n = w.chances.randrange(1, 200)
    rows = w.db.execute_query("SELECT g AS n FROM generate_series(1, %s) AS g", (n,))
    w.expect(sum(row["n"] for row in rows), n * (n + 1) // 2)


def prebuilt(w: Worker) -> None:
    """Run a prebuilt query."""
    w.expect({row["location_id"] for row in w.queries.get_locations(OTHER)}, w.locations)


def write(w: Worker) -> None:
    """Add one, counted here and in the database."""
    w.expect(w.db.execute("UPDATE soak_counts SET n = n + 1 WHERE worker = %s", (w.number,)), 1)
    w.added += 1


def nested(w: Worker) -> None:
    """Add one in a block in which a nested block with a thousand more is rolled back."""
    with w.db.transaction() as tx:
        tx.execute("UPDATE soak_counts SET n = n + 1 WHERE worker = %s", (w.number,))
        with suppress(KeyError), tx.transaction() as inner:
            inner.execute("UPDATE soak_counts SET n = n + 1000 WHERE worker = %s", (w.number,))
            raise KeyError(w.number)
    w.added += 1


def raised(w: Worker) -> None:
    """Add a thousand in a block that raises."""

    def fail() -> None:
        with w.db.transaction() as tx:
            tx.execute("UPDATE soak_counts SET n = n + 1000 WHERE worker = %s", (w.number,))
            raise KeyError(w.number)

    w.refuse(KeyError, fail)


def scope(w: Worker) -> None:
    """A tenant sees its own organization, and no other."""
    w.expect(
        w.mine.execute_query("SELECT organization_id FROM organizations"),
        [{"organization_id": MANUFACTURING}],
    )
    foreign = "SELECT name FROM locations WHERE organization_id = %s"
    w.expect(w.other.execute_query(foreign, (MANUFACTURING,)), [])


def foreign_write(w: Worker) -> None:
    """A tenant that writes into another's organization is refused."""
    sql = "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, 'Foreign', 'office')"
    refusals = (errors.PermissionDeniedError, errors.CheckViolationError)
    w.refuse(refusals, lambda: w.other.execute(sql, (MANUFACTURING,)))


def mistake(w: Worker) -> None:
    """Make one of the usual mistakes."""
    kind, sql = w.chances.choice(MISTAKES)
    w.refuse(kind, lambda: w.db.execute(sql))


def abandoned_stream(w: Worker) -> None:
    """Abandon a stream midway: closed, or dropped."""
    rows = w.db.stream("SELECT g AS n FROM generate_series(1, 10000) AS g", batch_size=50)
    w.expect([row["n"] for row in islice(rows, 60)], list(range(1, 61)))
    if w.chances.random() < 0.5:
        rows.close()  # type: ignore[attr-defined]


def load(w: Worker) -> None:
    """Run a COPY that fails at its last row, and keeps nothing."""
    rows = [(1000 + n, 1) for n in range(20)] + [(0, 1)]
    w.refuse(errors.UniqueViolationError, lambda: w.db.copy_rows("soak_counts", ["worker", "n"], rows))


MISTAKES: list[tuple[type[Exception], str]] = [
    (errors.QueryError, "SELEC 1"),
    (errors.UndefinedObjectError, "SELECT * FROM no_such_table"),
    (errors.InvalidDataError, "SELECT 1 / 0"),
    (errors.UniqueViolationError, "INSERT INTO soak_counts VALUES (0, 1)"),
    (errors.TransactionStateError, "BEGIN"),
    (errors.InvalidInputError, ""),
]
OPERATIONS: dict[Operation, int] = {
    query: 38, prebuilt: 8, write: 20, nested: 4, raised: 3, scope: 8, foreign_write: 4, mistake: 9,
    abandoned_stream: 5, load: 1,
}  # fmt: skip


def mark(watching: DatabaseManager, operations: int) -> Mark:
    """The current resources. The pool frees its connections' places at once, so none is between two states."""
    process = psutil.Process()
    return Mark(
        operations,
        process.memory_info().rss / 2**20,
        process.num_fds(),
        process.num_threads(),
        watching.execute_query(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = %s", (APPLICATION,)
        )[0]["n"],
    )


def run(trial: Trial) -> list[Finding]:
    """Work, with a mark after a warm-up and at each quarter."""
    wanted = trial.operations or trial.amount(1_000_000, 10_000)
    finding = Finding(
        "soak",
        f"{THREADS} threads: queries, prebuilt queries, writes, rollbacks, tenants' scopes, foreign writes, mistakes, "
        "streams left midway, loads that break off; each answer compared",
    )
    with trial.seeded() as watching, timed(finding):
        watching.execute("CREATE TABLE soak_counts (worker int PRIMARY KEY, n bigint NOT NULL)")
        watching.execute(
            "INSERT INTO soak_counts SELECT w, 0 FROM generate_series(0, %s) AS w", (THREADS - 1,)
        )
        url = watching.settings.database_url
        with DatabaseManager(url, application_name=APPLICATION, max_connections=THREADS) as db:
            workers = [Worker(db, n, trial.chances(f"soak {n}")) for n in range(THREADS)]
            marks = []
            for share in (wanted // 20, *[wanted // 4] * 3, wanted // 4 - wanted // 20):
                _together(workers, share // THREADS, trial.over)
                marks.append(mark(watching, sum(worker.done.total() for worker in workers)))
            if db.pool_stats().in_use:
                finding.blame(f"{db.pool_stats().in_use} connections never came back to the pool")
        _account(watching, finding, workers)
    _judge(finding, marks)
    if marks[-1].operations < wanted // THREADS * THREADS * 0.999:
        finding.seen = f"the time was up after {marks[-1].operations:,} of {wanted:,}; {finding.seen}"
    return [finding]


def _together(workers: list[Worker], count: int, over: Callable[[], bool]) -> None:
    threads = [threading.Thread(target=worker.work, args=(count, over)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _account(db: DatabaseManager, finding: Finding, workers: list[Worker]) -> None:
    found = {row["worker"]: row["n"] for row in db.execute_query("SELECT worker, n FROM soak_counts")}
    finding.attempts = sum(worker.done.total() for worker in workers)
    finding.acknowledged = sum(worker.added for worker in workers)
    finding.half_written = len(found) - THREADS
    for worker in workers:
        difference = worker.added - found[worker.number]
        finding.lost += max(0, difference)
        finding.doubled += max(0, -difference)
        for sentence in worker.mistakes:
            finding.blame(sentence)


def _judge(finding: Finding, marks: list[Mark]) -> None:
    first, last = marks[0], marks[-1]
    grown = {
        "memory": last.memory_mb - first.memory_mb > MORE_MEMORY_MB,
        "files": last.files > first.files,
        "threads": last.threads > first.threads + WATCHERS,
        "backends": last.backends > max(first.backends, THREADS),
    }
    for name in (name for name, more in grown.items() if more):
        finding.blame(f"{name} grew: {first} … {last}")
    finding.seen = "; ".join(str(one) for one in marks)
