"""Sixteen threads of two tenants insert, update, delete and read, while sessions are terminated and statements cancelled at random.

With a columnstore, the rows are old enough to be in it, and it is refilled meanwhile.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
import uuid
from collections import Counter
from contextlib import suppress

from db_utils import DatabaseManager, errors, schema
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed

TENANTS = (
    uuid.UUID("55555555-5555-5555-5555-555555555555"),
    uuid.UUID("66666666-6666-6666-6666-666666666666"),
)
WORKERS = 8
"""Threads per tenant."""
APPLICATION = "chaos"
KEPT_ROWS = 2_000
"""Rows of each tenant that no one touches: they must stay unchanged."""
COLUMNS = ["organization_id", "time", "product_id", "location_id", "quantity"]
KEY = ["organization_id", "product_id", "location_id", "time"]
_FIRST = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
_REFUSED = (errors.CheckViolationError, errors.PermissionDeniedError)
_OF_WORKER = "product_id = %s AND time = %s"


class Worker:
    """One thread: acknowledged operations must be present at the end, failed ones may be."""

    def __init__(self, db: DatabaseManager, tenant: uuid.UUID, number: int, chances: random.Random) -> None:
        self.tenant, self.product = tenant, f"worker {number}"
        self.known: dict[dt.datetime, int | None] = {}  # the quantity of each row; None: deleted
        self.unsure: set[dt.datetime] = set()
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.mistakes: list[str] = []
        self._scope, self._chances = db.tenant(tenant), chances
        self._other = next(other for other in TENANTS if other != tenant)

    def work(self, count: int, trial: Trial) -> None:
        """Run this many operations, or fewer if the time is up."""
        kinds = ["add", "change", "remove", "look", "stray"]
        for n in range(count):
            if trial.over():
                return
            (kind,) = self._chances.choices(kinds, [40, 25, 10, 20, 5])
            at = _FIRST + dt.timedelta(minutes=self._chances.randrange(2_000))
            try:
                self._operate(kind, at, n)
            except errors.DbUtilsError as error:
                self.failed[type(error).__name__] += 1
                if kind in ("add", "change", "remove"):
                    self.unsure.add(at)
            except Exception as error:
                self.mistakes.append(f"{kind}: {type(error).__name__}: {error}")
                self.unsure.add(at)
            self.done[kind] += 1

    def _operate(self, kind: str, at: dt.datetime, n: int) -> None:
        if kind == "add":
            row = (self.tenant, at, self.product, self.tenant, n)
            self._scope.upsert_many("demand_history", COLUMNS, [row], conflict_columns=KEY)
            self._note(at, n)
        elif kind == "change":
            sql = f"UPDATE demand_history SET quantity = %s WHERE {_OF_WORKER}"
            changed = self._scope.execute(sql, (n, self.product, at))
            self._expect(at, changed)
            self._note(at, n if changed else None)
        elif kind == "remove":
            removed = self._scope.execute(
                f"DELETE FROM demand_history WHERE {_OF_WORKER}", (self.product, at)
            )
            self._expect(at, removed)
            self._note(at, None)
        elif kind == "look":
            rows = self._scope.execute_query("SELECT DISTINCT organization_id FROM demand_history")
            if [row["organization_id"] for row in rows] not in ([], [self.tenant]):
                self.mistakes.append(f"{self.tenant} sees {rows}")
        else:
            row = (self._other, at, self.product, self._other, n)
            with suppress(*_REFUSED):
                self._scope.copy_rows("demand_history", COLUMNS, [row])
                self.mistakes.append(f"{self.tenant} wrote for {self._other}")

    def _note(self, at: dt.datetime, quantity: int | None) -> None:
        self.known[at] = quantity
        self.unsure.discard(at)

    def _expect(self, at: dt.datetime, count: int) -> None:
        there = self.known.get(at) is not None
        if at not in self.unsure and count != there:
            self.mistakes.append(f"{count} rows changed where {int(there)} is")


def run(trial: Trial) -> list[Finding]:
    """Run all threads at once; then compare each one's acknowledged operations with the table."""
    wanted = trial.amount(10_000, 800)
    finding = Finding(
        "chaos of tenants",
        f"{2 * WORKERS} threads of two tenants: upserts, updates, deletes, reads and foreign writes of old rows in tenant scopes; "
        "sessions ended and statements cancelled at random; each acknowledged row, each untouched row and each answer compared",
    )
    with trial.empty() as owner, timed(finding):
        _prepare(owner)
        kept = _kept(owner)
        url = owner.settings.database_url
        with DatabaseManager(url, application_name=APPLICATION, max_connections=2 * WORKERS) as db:
            workers = [
                Worker(db, tenant, number, trial.chances(f"chaos {tenant} {number}"))
                for tenant in TENANTS
                for number in range(WORKERS)
            ]
            threads = [
                threading.Thread(target=worker.work, args=(wanted // len(workers), trial))
                for worker in workers
            ]
            for thread in threads:
                thread.start()
            disturbed = _disturb(owner, threads, trial.chances("chaos"))
            if db.pool_stats().in_use:
                finding.blame(f"{db.pool_stats().in_use} connections never came back to the pool")
        _account(owner, finding, workers)
        if _kept(owner) != kept:
            finding.blame("untouched rows have changed")
    failed = sum((worker.failed for worker in workers), Counter[str]())
    finding.seen = (
        f"{disturbed['ended']} sessions ended, {disturbed['cancelled']} statements cancelled; typed failures: "
        + (", ".join(f"{count} {name}" for name, count in failed.most_common()) or "none")
    )
    return [finding]


def _prepare(db: DatabaseManager) -> None:
    for tenant in TENANTS:
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry) VALUES (%s, %s, 'testing')",
            (tenant, str(tenant)),
        )
        db.execute(
            "INSERT INTO locations (organization_id, location_id, name, location_type) VALUES (%s, %s, 'Hall', 'factory')",
            (tenant, tenant),
        )
        db.copy_rows(
            "demand_history",
            COLUMNS,
            [(tenant, _FIRST + dt.timedelta(minutes=n), "kept", tenant, n) for n in range(KEPT_ROWS)],
        )
    _compress(db)


def _compress(db: DatabaseManager) -> None:
    if schema.edition(db) == "community":
        db.execute_query("SELECT compress_chunk(c) FROM show_chunks('demand_history') AS c")


def _kept(db: DatabaseManager) -> object:
    return db.execute_query(
        "SELECT organization_id, count(*) AS rows, md5(string_agg(d::text, '|' ORDER BY time)) AS hash "
        "FROM demand_history AS d WHERE product_id = 'kept' GROUP BY 1 ORDER BY 1"
    )


def _disturb(db: DatabaseManager, threads: list[threading.Thread], chances: random.Random) -> Counter[str]:
    """Keep terminating sessions and cancelling statements of the workers until they are done."""
    done: Counter[str] = Counter()
    while any(thread.is_alive() for thread in threads):
        function, name = (
            ("pg_terminate_backend", "ended")
            if chances.random() < 0.3
            else ("pg_cancel_backend", "cancelled")
        )
        rows = db.execute_query(
            f"SELECT {function}(pid) FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle' "
            "ORDER BY random() LIMIT 1",
            (APPLICATION,),
        )
        done[name] += len(rows)
        if done.total() % 40 == 39:
            with suppress(
                errors.DbUtilsError
            ):  # the columnstore is refilled, or waits for the workers forever
                _compress(db)
        for thread in threads:
            thread.join(timeout=0.01)
    return done


def _account(db: DatabaseManager, finding: Finding, workers: list[Worker]) -> None:
    finding.attempts = sum(worker.done.total() for worker in workers)
    for worker in workers:
        found: dict[dt.datetime, list[int]] = {}
        for row in db.execute_query(
            "SELECT time, quantity FROM demand_history WHERE organization_id = %s AND product_id = %s",
            (worker.tenant, worker.product),
        ):
            found.setdefault(row["time"], []).append(int(row["quantity"]))
        for at, quantity in worker.known.items():
            finding.acknowledged += 1
            if at in worker.unsure:
                continue
            there = found.get(at, [])
            finding.lost += quantity is not None and quantity not in there
            finding.half_written += quantity is None and bool(there)
        finding.doubled += sum(len(quantities) - 1 for quantities in found.values())
        for sentence in worker.mistakes:
            finding.blame(sentence)
