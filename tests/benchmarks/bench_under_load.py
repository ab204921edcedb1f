"""How much slower are reads while rows are being loaded?"""

from __future__ import annotations

import datetime as dt
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from db_utils import DatabaseManager, schema
from tests.benchmarks.bench_dashboards import questions
from tests.benchmarks.harness import Context, Goal, Table, percentile, repeated
from tests.support.query_calls import Facts, find_facts

ROWS_PER_SECOND = 20_000
BATCH = 2_000
COLUMNS = ["organization_id", "time", "resource_id", "utilization_pct", "efficiency_pct", "downtime_minutes"]


def run(context: Context) -> Table:
    """p95 of each read at rest and while 20,000 metrics a second are written."""
    table = Table(
        "reads while writing",
        f"The same reads at rest and while {ROWS_PER_SECOND:,} metrics a second are loaded.",
        ("query", "ms p95 at rest", "ms p95 while writing", "p95, writing / rest"),
        drawn="p95, writing / rest",
    )
    with context.database() as db:
        schema.seed(db)
        facts = find_facts(db)
        asked = {name: q for name, q in questions(db, facts).items() if not name.startswith("raw")}
        runs = 20 * context.rounds
        rest = {name: repeated(question, runs) for name, question in asked.items()}
        with written(db, facts) as writer:
            busy = {name: repeated(question, runs) for name, question in asked.items()}
        achieved = writer.rows / writer.seconds
    ratios = []
    for name in asked:
        before, after = percentile(rest[name], 95), percentile(busy[name], 95)
        ratios.append(after / before)
        table.rows.append((name, round(1e3 * before, 1), round(1e3 * after, 1), round(after / before, 2)))
    table.goals.append(Goal("median over the queries, p95 writing / rest", statistics.median(ratios), 2))
    table.goals.append(Goal("rows a second actually written", achieved, 0.9 * ROWS_PER_SECOND, at_most=False))
    table.remark = f"{achieved:,.0f} rows a second were written during the reads."
    return table


class Writer(threading.Thread):
    """Loads batches of metrics at a given rate."""

    def __init__(self, db: DatabaseManager, facts: Facts) -> None:
        super().__init__()
        self._db, self._facts = db, facts
        self._enough = threading.Event()
        self.rows, self.seconds = 0, 0.0

    def run(self) -> None:
        """Write until stopped, no faster than the rate."""
        started = time.monotonic()
        # One sample every 10 ms, going back from before the sample data, so that keys do not collide.
        instant = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)
        while not self._enough.wait(max(0.0, started + self.rows / ROWS_PER_SECOND - time.monotonic())):
            self._db.copy_rows("resource_metrics", COLUMNS, self._batch(instant))
            instant -= dt.timedelta(milliseconds=10 * BATCH)
            self.rows += BATCH
        self.seconds = time.monotonic() - started

    def _batch(self, instant: dt.datetime) -> Iterator[tuple[Any, ...]]:
        for number in range(BATCH):
            at = instant - dt.timedelta(milliseconds=10 * number)
            yield self._facts.organization_id, at, self._facts.resource_id, 50 + number % 50, 90, 0

    def finish(self) -> None:
        """Stop after the current batch."""
        self._enough.set()
        self.join()


@contextmanager
def written(db: DatabaseManager, facts: Facts) -> Iterator[Writer]:
    """Write rows while this block runs."""
    writer = Writer(db, facts)
    writer.start()
    try:
        yield writer
    finally:
        writer.finish()
