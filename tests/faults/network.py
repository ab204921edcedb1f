"""Network and server faults between the library and PostgreSQL: correct answers or typed errors in time, nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, errors, schema
from tests.faults import batches
from tests.faults.findings import Finding
from tests.faults.trial import SERVER_OPTIONS, Trial, timed
from tests.integration.cache.faults import Fault, FaultProxy
from tests.support.servers import OwnServer, own_server

WRITERS = 4
READERS = 2
TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 3.0
# A statement's deadline with its grace, on a connection that had to be checked (5 s) and reopened first, and once more
# for a retried read; the rest is for a busy machine.
LATEST_SECONDS = 2 * (TIMEOUT_SECONDS + 2 + 5 + CONNECT_TIMEOUT_SECONDS) + 5


@dataclass
class Between:
    """The server, and the proxy through which the library connects."""

    server: OwnServer
    proxy: FaultProxy
    stop: threading.Event

    @contextmanager
    def restarted(self) -> Iterator[None]:
        """Stop the server, and restart it."""
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP to all its processes."""
        self.server.pause()
        try:
            yield
        finally:
            self.server.go_on()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Keep cutting every connection."""
        ended = threading.Event()

        def again() -> None:
            while not ended.wait(0.2):
                self.proxy.cut()

        thread = threading.Thread(target=again)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def bytes_are(self, fault: Fault, delay_seconds: float = 0.0) -> Iterator[None]:
        """Let the proxy mishandle the traffic."""
        self.proxy.delay_seconds, self.proxy.fault = delay_seconds, fault
        try:
            yield
        finally:
            self.proxy.fault = Fault.NONE
            if fault is Fault.BLACK_HOLE:  # dropped data never arrive: those connections are useless
                self.proxy.cut()


TROUBLES: dict[str, Callable[[Between], object]] = {
    "restart": Between.restarted,
    "pause (SIGSTOP)": Between.paused,
    "network cut": Between.cut,
    "network silent": lambda b: b.bytes_are(Fault.BLACK_HOLE),
    "network resets": lambda b: b.bytes_are(Fault.RESET),
    "network slow (100 ms)": lambda b: b.bytes_are(Fault.SLOW, 0.1),
    "network trickles (a byte in 1 ms)": lambda b: b.bytes_are(Fault.TRICKLE, 0.001),
}


class Readers:
    """Threads that read constant data."""

    def __init__(self, db: DatabaseManager, finding: Finding) -> None:
        self._db = db
        self._finding = finding
        self._stop = threading.Event()
        self.right = self.refused = 0
        self.longest_seconds = 0.0
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        n = 0
        while not self._stop.is_set():
            n = n % 500 + 1
            began = time.monotonic()
            self._finding.attempts += 1
            try:
                rows = self._db.execute_query(
                    "SELECT g AS n FROM generate_series(1, %s) AS g", (n,), timeout_seconds=TIMEOUT_SECONDS
                )
            except (
                errors.ConnectionFailedError,
                errors.ServerUnavailableError,
                errors.QueryTimeoutError,
                errors.PoolTimeoutError,
            ):
                self.refused += 1
                self._stop.wait(0.05)
            except Exception as error:  # untyped errors are the bugs we look for
                self._finding.blame(f"a read: {type(error).__name__}: {error}")
            else:
                self.right += 1
                if [row["n"] for row in rows] != list(range(1, n + 1)):
                    self._finding.blame(f"{len(rows)} rows instead of {n}")
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)


def run(trial: Trial) -> list[Finding]:
    """Each fault for a while, under load, on one server."""
    findings = []
    with own_server(**SERVER_OPTIONS) as server:
        with DatabaseManager(server.url) as db:
            schema.apply(db)
            batches.prepare(db)
        with FaultProxy(server.url) as proxy:
            between = Between(server, proxy, threading.Event())
            url = make_dsn(**{**parse_dsn(server.url), "port": proxy.port})
            for name in TROUBLES:
                if not trial.over():
                    findings.append(meet(name, between, url, seconds=trial.amount(10, 1)))
    return findings


def meet(name: str, between: Between, url: str, *, seconds: float) -> Finding:
    """Readers and writers before, during and after one fault."""
    finding = Finding(
        f"PostgreSQL: {name}",
        f"{WRITERS} writers of batches and {READERS} readers, with timeout_seconds={TIMEOUT_SECONDS:g}, for {seconds:g} s in it",
    )
    with (
        timed(finding),
        DatabaseManager(
            url,
            max_connections=WRITERS + READERS + 1,
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            slow_query_seconds=3600,
        ) as db,
    ):
        db.execute("DELETE FROM demand_history")
        with (
            batches.Writers(db, finding, count=WRITERS, timeout_seconds=TIMEOUT_SECONDS) as writers,
            Readers(db, finding) as readers,
        ):
            if not writers.wait_for(2 * WRITERS):
                finding.blame("nothing was acknowledged before the trouble")
            with TROUBLES[name](between):  # type: ignore[attr-defined]
                between.stop.wait(seconds)
            batches.wait_until_it_answers(db)
            if not writers.wait_for(WRITERS):
                finding.blame("nothing was acknowledged after the trouble")
        batches.account(db, finding, writers.acknowledged)
        if db.pool_stats().in_use:
            finding.blame(f"{db.pool_stats().in_use} connections of the pool never came back")
    longest = max(writers.longest_seconds, readers.longest_seconds)
    if longest > LATEST_SECONDS:
        finding.blame(f"a call took {longest:.1f} s")
    finding.acknowledged += readers.right
    finding.seen = (
        f"{writers.failures + readers.refused:,} typed errors; the longest call took {longest:.1f} s"
    )
    return finding
