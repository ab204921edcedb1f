"""Writers of idempotent batches that retry until acknowledged, and the count of the results."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from contextlib import suppress

from db_utils import DatabaseManager, errors
from tests.faults.findings import Finding

ORGANIZATION = uuid.UUID("44444444-4444-4444-4444-444444444444")
LOCATION = uuid.UUID("44444444-4444-4444-4444-000000000001")
SIZE = 20
COLUMNS = ("organization_id", "time", "product_id", "location_id", "quantity")
KEY = ("organization_id", "product_id", "location_id", "time")
_FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_LOST = (errors.ConnectionFailedError, errors.ServerUnavailableError, errors.QueryTimeoutError)
_INSERT = (
    f"INSERT INTO demand_history ({', '.join(COLUMNS)}) VALUES "
    + ", ".join(["(%s, %s, %s, %s, %s)"] * SIZE)
    + " ON CONFLICT DO NOTHING"
)


def prepare(db: DatabaseManager) -> None:
    """The organization and location of the batches."""
    db.execute(
        "INSERT INTO organizations (organization_id, name, industry) VALUES (%s, 'Faults', 'testing')",
        (ORGANIZATION,),
    )
    db.execute(
        "INSERT INTO locations (organization_id, location_id, name, location_type) VALUES (%s, %s, 'Hall', 'factory')",
        (ORGANIZATION, LOCATION),
    )


def rows(writer: int, batch: int) -> list[tuple[object, ...]]:
    """A batch: SIZE minutes of one product, with the number of the batch as quantity."""
    first = _FIRST + dt.timedelta(minutes=batch * SIZE)
    return [
        (ORGANIZATION, first + dt.timedelta(minutes=n), f"writer {writer}", LOCATION, batch)
        for n in range(SIZE)
    ]


class Writers:
    """Threads that write batches one after another: half with upsert_many, half with INSERT … ON CONFLICT."""

    def __init__(self, db: DatabaseManager, finding: Finding, *, count: int, timeout_seconds: float) -> None:
        self._db = db
        self._finding = finding
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.acknowledged: set[tuple[int, int]] = set()
        self.longest_seconds = 0.0
        self.failures = 0
        self._threads = [
            threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(count)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, *, seconds: float = 120.0) -> bool:
        """Whether this many more batches were acknowledged in time."""
        wanted, until = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            if time.monotonic() > until:
                return False
            self._stop.wait(0.01)
        return True

    def _write(self, writer: int) -> None:
        batch = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._one(writer, batch)
            except _LOST:
                done = False
            except Exception as error:  # untyped errors are the bugs we look for
                done = False
                with self._lock:
                    self._finding.blame(f"writer {writer}: {type(error).__name__}: {error}")
            else:
                done = True
            with self._lock:
                self._finding.attempts += 1
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
                if done:
                    self.acknowledged.add((writer, batch))
                    self._finding.acknowledged += 1
                else:
                    self.failures += 1
            batch += done
            if not done:
                self._stop.wait(0.05)  # like a client that retries

    def _one(self, writer: int, batch: int) -> None:
        given, limit = rows(writer, batch), self._timeout_seconds
        if writer % 2:
            self._db.upsert_many(
                "demand_history", COLUMNS, given, conflict_columns=KEY, timeout_seconds=limit
            )
        else:
            self._db.execute(_INSERT, [value for row in given for value in row], timeout_seconds=limit)


def account(db: DatabaseManager, finding: Finding, acknowledged: set[tuple[int, int]]) -> None:
    """Count lost, duplicate and half-written batches, reading the table row by row without its indexes."""
    found: dict[tuple[int, int], list[dt.datetime]] = {}
    with db.transaction() as tx:
        tx.execute("SET LOCAL enable_indexscan = off")
        tx.execute("SET LOCAL enable_indexonlyscan = off")
        tx.execute("SET LOCAL enable_bitmapscan = off")
        read = "SELECT product_id, quantity, time FROM demand_history WHERE organization_id = %s AND product_id LIKE 'writer %%'"
        for row in tx.execute_query(read, (ORGANIZATION,), timeout_seconds=300):
            key = int(row["product_id"].removeprefix("writer ")), int(row["quantity"])
            found.setdefault(key, []).append(row["time"])
    for key in acknowledged:
        expected = {row[1] for row in rows(*key)}
        finding.lost += len(expected - set(found.get(key, [])))
    for times in found.values():
        finding.doubled += len(times) - len(set(times))
        finding.half_written += len(set(times)) != SIZE


def wait_until_it_answers(db: DatabaseManager, *, seconds: float = 60.0) -> None:
    """Return when a read succeeds again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(errors.DbUtilsError):
            db.wait(5)
            db.execute_query("SELECT 1 AS one")
            return
    raise AssertionError(f"the database does not answer within {seconds:g} s")
