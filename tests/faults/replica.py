"""A primary and its read replica, each killed, stopped and frozen in turn, while writers read what they wrote."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from db_utils import DatabaseManager, errors
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed
from tests.support.servers import OwnServer, own_server, standby_of

WORKERS = 3
TIMEOUT_SECONDS = 3.0
REFUSED = (
    errors.ConnectionFailedError,
    errors.ServerUnavailableError,
    errors.QueryTimeoutError,
    errors.PoolTimeoutError,
)


@contextmanager
def killed(server: OwnServer) -> Iterator[None]:
    """SIGKILL to all its processes, and a restart afterwards."""
    server.kill()
    yield
    server.start()


@contextmanager
def paused(server: OwnServer) -> Iterator[None]:
    """SIGSTOP to all its processes."""
    server.pause()
    try:
        yield
    finally:
        server.go_on()


@contextmanager
def behind(standby: OwnServer) -> Iterator[None]:
    """It receives but does not replay."""
    with DatabaseManager(standby.url) as db:
        db.execute_query("SELECT pg_wal_replay_pause()")
        yield
        db.execute_query("SELECT pg_wal_replay_resume()")


TROUBLES: dict[str, tuple[str, Callable[[OwnServer], object]]] = {
    "replica killed": ("standby", killed),
    "replica paused (SIGSTOP)": ("standby", paused),
    "replica replays nothing": ("standby", behind),
    "primary killed": ("primary", killed),
}


class Worker(threading.Thread):
    """Counts up in its own row, and reads it after each write."""

    def __init__(self, number: int, primary: str, replica: str, finding: Finding) -> None:
        super().__init__()
        self.number, self.stop = number, threading.Event()
        self._primary, self._replica, self._finding = primary, replica, finding
        self.acknowledged = self.by_replica = self.by_primary = self.refused = 0

    def run(self) -> None:
        with DatabaseManager(
            self._primary, replica_url=self._replica, connect_timeout_seconds=2, slow_query_seconds=3600
        ) as db:
            tried = 0
            while not self.stop.is_set():
                tried += 1
                self._finding.attempts += 1
                try:
                    db.execute(
                        "UPDATE counters SET value = %s WHERE worker = %s",
                        (tried, self.number),
                        timeout_seconds=TIMEOUT_SECONDS,
                        idempotent=True,
                    )
                    self.acknowledged = tried
                    for _ in range(5):
                        self._look(db, tried)
                except REFUSED:
                    self.refused += 1
                    self.stop.wait(0.05)
                except Exception as error:  # untyped errors are the bugs we look for
                    self._finding.blame(f"{type(error).__name__}: {error}")

    def _look(self, db: DatabaseManager, tried: int) -> None:
        row = db.execute_query(
            "SELECT value, pg_is_in_recovery() AS standby FROM counters WHERE worker = %s",
            (self.number,),
            timeout_seconds=TIMEOUT_SECONDS,
        )[0]
        if row["value"] != tried:
            self._finding.blame(f"read {row['value']} after {tried} was written")
        if row["standby"]:
            self.by_replica += 1
        else:
            self.by_primary += 1
        self.stop.wait(0.002)


def run(trial: Trial) -> list[Finding]:
    """Each fault for a while, under load, on one primary with one standby."""
    findings = []
    with own_server() as primary:
        with DatabaseManager(primary.url) as db:
            db.execute("CREATE TABLE counters (worker int PRIMARY KEY, value int NOT NULL)")
        with standby_of(primary) as standby:
            for name, (whose, trouble) in TROUBLES.items():
                if not trial.over():
                    seconds = trial.amount(10, 1)
                    server = standby if whose == "standby" else primary
                    findings.append(
                        meet(name, primary, standby, lambda t=trouble, s=server: t(s), seconds=seconds)
                    )
    return findings


def meet(
    name: str, primary: OwnServer, standby: OwnServer, trouble: Callable[[], object], *, seconds: float
) -> Finding:
    """Workers before, during and after one fault."""
    finding = Finding(
        f"read replica: {name}",
        f"{WORKERS} workers that read after each write what they wrote, for {seconds:g} s in it",
    )
    with timed(finding), DatabaseManager(primary.url) as db:
        db.execute("TRUNCATE counters")
        db.execute_many("INSERT INTO counters VALUES %s", [(n, 0) for n in range(WORKERS)])
        workers = [Worker(n, primary.url, standby.url, finding) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        wait_for(finding, "the replica answered nothing before the trouble", workers)
        with trouble():  # type: ignore[attr-defined]
            time.sleep(seconds)
        wait_for(finding, "the replica answered nothing after the trouble", workers)
        for worker in workers:
            worker.stop.set()
        for worker in workers:
            worker.join()
        db.wait(60)
        last = {row["worker"]: row["value"] for row in db.execute_query("SELECT * FROM counters")}
        finding.lost += sum(last[worker.number] < worker.acknowledged for worker in workers)
    finding.acknowledged += sum(worker.acknowledged for worker in workers)
    finding.seen = (
        f"{sum(w.by_replica for w in workers):,} reads by the replica, {sum(w.by_primary for w in workers):,} by the "
        f"primary, {sum(w.refused for w in workers):,} typed errors"
    )
    return finding


def wait_for(finding: Finding, otherwise: str, workers: list[Worker], seconds: float = 60.0) -> None:
    """Wait until each worker has had an answer from the replica."""
    before = [worker.by_replica for worker in workers]
    give_up_at = time.monotonic() + seconds
    while any(worker.by_replica == n for worker, n in zip(workers, before, strict=True)):
        if time.monotonic() > give_up_at:
            finding.blame(otherwise)
            return
        time.sleep(0.05)
