"""Load more than the sample data: longer history, larger and more organizations; reproducibly, in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.errors

from db_utils.errors import InvalidInputError, translate
from db_utils.schema import source

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

_ROWS_OF_A_BATCH = 100_000
_LONGEST_BATCH_DAYS = 30
_SHIFTS_AHEAD_DAYS = 14
_TRIES = 10
_ROWS_OF_A_MACHINE_DAY = {"load_people": 4, "load_demand": 6, "load_events": 33, "load_metrics": 1440}


@dataclass(frozen=True)
class Amount:
    """The amount of data; see `db_utils.schema.seed`."""

    days: int | None = None
    scale: int = 1
    organizations: int = 2
    metric_days: int = 7

    def __post_init__(self) -> None:
        for name, least, most in (
            ("days", 1, 36_500),
            ("scale", 1, 10_000),
            ("organizations", 2, 10_000),
            ("metric_days", 0, 36_500),
        ):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and least <= value <= most):
                raise InvalidInputError(f"{name} is {value!r}: give a whole number from {least} to {most:,}")

    @property
    def is_more(self) -> bool:
        """Whether it is more than the sample data."""
        return self != Amount()


@dataclass(frozen=True)
class Batch:
    """One transaction of a load: one kind of data of one organization, for a range of local days."""

    function: str
    organization_number: int
    first_day: date
    end_day: date


OnBatch = Callable[[int, int, Counter[str]], object]
"""Called after each batch with the number done, the total, and the rows of each table so far."""


def load(
    db: DatabaseManager, amount: Amount, *, jobs: int = 2, on_batch: OnBatch | None = None
) -> Counter[str]:
    """Fill a database with sample data up to this amount, and return how many rows were added to each table.

    Each batch is a transaction, `jobs` at once on separate connections. An interrupted load resumes where it
    stopped. A second load waits for the first.
    """
    added: Counter[str] = Counter()
    progress = threading.Lock()
    done = 0
    with _session(db, amount) as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended('barnameh load', 0))")
        cursor.execute("SELECT pg_temp.load_entities()")
        added["organizations, locations, resources, employees"] = cursor.fetchone()[0]
        batches = _batches(cursor)
        queue = iter(batches)

        def work() -> None:
            nonlocal done
            with _session(db, amount) as own:
                while (batch := _next(queue, progress)) is not None:
                    rows = _run(own, batch)
                    with progress:
                        added.update(rows)
                        done += 1
                        if on_batch is not None:
                            on_batch(done, len(batches), added)

        with ThreadPoolExecutor(jobs, thread_name_prefix="load") as workers:
            futures = [workers.submit(work) for _ in range(jobs)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                for _ in iter(lambda: _next(queue, progress), None):
                    pass  # no batch is started after a failure or Ctrl-C
            for future in futures:
                future.result()
        cursor.execute(
            "ANALYZE organizations, locations, resources, employees, operational_events, demand_history, resource_metrics, "
            "employee_attendance, shifts, shift_assignments, production_plans, demand_forecasts"
        )
    return +added


@contextmanager
def _session(db: DatabaseManager, amount: Amount) -> Iterator[Any]:
    """Yield a cursor of a session prepared for the load; errors are translated."""
    with db.connection() as connection:
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = warning; "
                    "SET standard_conforming_strings = on; SET search_path = public, pg_temp"
                )
                cursor.execute(source.file("seeds", "more_data.sql").text)
                cursor.execute(
                    "SELECT pg_temp.load_world(%s, %s, %s, %s)",
                    (amount.scale, amount.organizations, amount.days, amount.metric_days),
                )
                yield cursor
        except psycopg2.Error as error:
            raise translate(error) from error


def _batches(cursor: Any) -> list[Batch]:
    cursor.execute("SELECT today, events_from, demand_from, metrics_from FROM load_options")
    today, events_from, demand_from, metrics_from = cursor.fetchone()
    cursor.execute("SELECT number, count(*) FROM load_resources GROUP BY number ORDER BY number")
    machines = dict(cursor.fetchall())
    starts = {
        "load_people": events_from,
        "load_demand": demand_from,
        "load_events": events_from,
        "load_metrics": metrics_from,
    }
    batches = [
        Batch(function, number, first, min(first + timedelta(days=length), last + timedelta(days=1)))
        for function, start in starts.items()
        for last in [today + timedelta(days=_SHIFTS_AHEAD_DAYS) if function == "load_people" else today]
        for number, count in machines.items()
        for length in [_days_of_a_batch(function, count)]
        for first in _days(start, last, length)
    ]
    # In order of time, so that a table's newest chunk is in memory while it is filled; attendance before the
    # larger events.
    order = list(starts)
    return sorted(batches, key=lambda b: (order.index(b.function), b.first_day, b.organization_number))


def _days_of_a_batch(function: str, machines: int) -> int:
    rows_a_day = machines * _ROWS_OF_A_MACHINE_DAY[function]
    return max(1, min(_LONGEST_BATCH_DAYS, _ROWS_OF_A_BATCH // rows_a_day))


def _days(first: date, last: date, step: int) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=step)


def _next(queue: Iterator[Batch], lock: threading.Lock) -> Batch | None:
    with lock:
        return next(queue, None)


def _run(cursor: Any, batch: Batch) -> dict[str, int]:
    """Run one batch; retry if it deadlocked with another batch of this load creating the same chunk."""
    tries = _TRIES
    while True:
        try:
            cursor.execute(
                f"SELECT relation, row_count FROM pg_temp.{batch.function}(%s, %s, %s)",
                (batch.organization_number, batch.first_day, batch.end_day),
            )
            return dict(cursor.fetchall())
        except psycopg2.errors.DeadlockDetected:
            tries -= 1
            if not tries:
                raise
