"""How soon does a change reach the target, how fast does a backlog drain, and what does the outbox cost writers?

The target is the loopback of convex/, which runs the real functions in Node but is not Convex: its share of the time is its own.
"""

from __future__ import annotations

import http.server
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from barnameh.sync.service import CONSUMER
from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.outbox import Outbox
from tests.benchmarks.harness import Context, Goal, Table, backend, on_one_core, percentile, ratio
from tests.support.convex import KEY, WHY_NOT, Peer, peer
from tests.support.query_calls import MANUFACTURING

ROOT = Path(__file__).parents[2]
_FUNCTIONS, _TAKER = "convex/ on the loopback", "a target that accepts everything"


def run(context: Context) -> list[Table]:
    """All three tables."""
    return [*_sending(context), _writers(context)]


# -- the sender ------------------------------------------------------------------------------------------------


def _sending(context: Context) -> list[Table]:
    latency = Table(
        "sync latency",
        "From the commit of an alert until the function in convex/ has written it, at ten changes a second.",
        (
            "target",
            "linger ms",
            "changes",
            "calls",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "ms of sender CPU per change",
        ),
    )
    drain = Table(
        "sync after an outage",
        "A day's changes, each to a different entity, that waited while the target was down.",
        ("target", "changes", "seconds", "changes/s", "calls"),
    )
    if WHY_NOT:
        latency.remark = drain.remark = f"Not measured: {WHY_NOT}."
        return [latency, drain]
    with context.database() as db, peer() as other_side:
        schema.seed(db)
        outbox = Outbox(db, MANUFACTURING, CONSUMER)
        outbox.add_target()
        count = context.count(10_000, least=20)
        with _taker() as taker:
            for name, peer_asked in ((_FUNCTIONS, other_side), (_TAKER, taker)):
                for linger_ms, limit in ((0, 100), (250, 400)):
                    taken, calls, cpu = _latency(db, peer_asked, linger_ms, context.count(200, least=3))
                    shares = [1000 * percentile(taken, share) for share in (50, 95, 99)]
                    own = round(1000 * cpu / len(taken), 1)
                    latency.rows.append((name, linger_ms, len(taken), calls, *map(round, shares), own))
                    latency.goals.append(Goal(f"p95 ms, linger {linger_ms}, {name}", shares[1], limit))
            for name, peer_asked in ((_FUNCTIONS, other_side), (_TAKER, taker)):
                row = _drain(db, peer_asked, count)
                drain.rows.append((name, *row))
                drain.goals.append(Goal(f"changes/s, {name}", row[2], 500, at_most=False))
        told = sum(row["title"].startswith("waited ") for row in other_side.table("alerts"))
        assert told == count, told
        latency.remark = "Both sides use the clock of one machine. The target that accepts everything shows the sender's share of the time."
        drain.remark = (
            "The seconds include starting the command. For each document the loopback scans a whole table, "
            "which Convex does not."
        )
    return [latency, drain]


def _latency(
    db: DatabaseManager, other_side: Peer, linger_ms: int, changes: int
) -> tuple[list[float], int, float]:
    """Return the seconds of each change, the number of calls, and the sender's CPU seconds."""
    outbox = Outbox(db, MANUFACTURING, CONSUMER)
    queries = OperationalDataQueries(db)
    dice = random.Random(linger_ms)
    with _sender(db, other_side, linger_ms) as process:
        _until(lambda: not outbox.waiting(1))
        calls, cpu = _calls(db), _cpu(process)
        committed: dict[str, float] = {}
        for number in range(changes):
            alert_id = uuid.uuid4()
            queries.raise_alert(
                MANUFACTURING, f"change {number}", severity="low", alert_type="sync", alert_id=alert_id
            )
            committed[str(alert_id)] = time.time()
            time.sleep(dice.expovariate(10))
        _until(lambda: not outbox.waiting(1))
        calls, cpu = _calls(db) - calls, _cpu(process) - cpu
    applied = {row["key"]: row["_creationTime"] / 1000 for row in other_side.table("alerts")}
    return [max(0.0, applied[key] - at) for key, at in committed.items()], calls, cpu


def _drain(db: DatabaseManager, other_side: Peer, count: int) -> tuple[int, float, int, int]:
    """Return the waiting changes, the seconds until they arrive, changes per second, and calls."""
    db.execute(
        "DELETE FROM alerts WHERE organization_id = %s AND alert_type = 'outage'",
        (MANUFACTURING,),
    )
    outbox = Outbox(db, MANUFACTURING, CONSUMER)
    outbox.acknowledge(outbox.waiting(10 * count))
    db.execute(
        "INSERT INTO alerts (organization_id, severity, alert_type, title) "
        "SELECT %s, 'low', 'outage', 'waited ' || n FROM generate_series(1, %s) AS n",
        (MANUFACTURING, count),
    )
    calls, started = _calls(db), time.perf_counter()
    subprocess.run(
        [*_command(db, 0), "--once"], check=True, env=_environment(other_side), stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - started
    assert not outbox.waiting(1)
    return count, round(seconds, 1), round(count / seconds), _calls(db) - calls


@dataclass
class _Taker(Peer):
    """Reports every mutation as applied, and records when each entity was first received."""

    heard: dict[str, float] = field(default_factory=dict)

    def table(self, name: str) -> list[dict[str, Any]]:
        """What it received, whatever the name."""
        return [{"key": key, "_creationTime": 1000 * at} for key, at in self.heard.items()]


@contextmanager
def _taker() -> Iterator[_Taker]:
    taker = _Taker("", KEY)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            now = time.time()
            for change in asked["args"]["changes"]:
                taker.heard.setdefault(change["key"], now)
            value = {"applied": True, "version": asked["args"]["version"]}
            body = json.dumps({"status": "success", "value": value}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        taker.url = f"http://127.0.0.1:{server.server_port}"
        yield taker
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _sender(db: DatabaseManager, other_side: Peer, linger_ms: int) -> Iterator[psutil.Process]:
    before = _who_sends(db)
    process = subprocess.Popen(
        _command(db, linger_ms), env=_environment(other_side), stderr=subprocess.DEVNULL
    )
    try:
        _until(lambda: _who_sends(db) != before)
        queries = OperationalDataQueries(db)
        queries.raise_alert(MANUFACTURING, "is it there?", severity="low", alert_type="sync")
        _until(lambda: not Outbox(db, MANUFACTURING, CONSUMER).waiting(1))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _command(db: DatabaseManager, linger_ms: int) -> list[str]:
    return [
        *(sys.executable, "-m", "barnameh", "sync", "convex", "--url", db.settings.database_url),
        *("--organization", str(MANUFACTURING), "--linger-ms", str(linger_ms)),
        *("--kpis-every", "0", "--calls-per-month", "0"),
    ]


def _environment(other_side: Peer) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "REDIS_URL": "", **other_side.environment()}


def _who_sends(db: DatabaseManager) -> object:
    rows = db.execute_query("SELECT sender FROM sync_progress WHERE consumer = %s", (CONSUMER,))
    return rows[0]["sender"] if rows else None


def _calls(db: DatabaseManager) -> int:
    rows = db.execute_query("SELECT call_count FROM sync_progress WHERE consumer = %s", (CONSUMER,))
    return int(rows[0]["call_count"]) if rows else 0


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 300
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError("the sender does not finish")
        time.sleep(0.05)


# -- writers ---------------------------------------------------------------------------------------------------

_WRITES: dict[str, tuple[str, str, int]] = {
    "alerts, one by one": (
        "INSERT INTO alerts (organization_id, severity, alert_type, title) SELECT %(organization)s, 'low', 'benchmark', 'x'",
        "alerts",
        1,
    ),
    "metrics, one by one": (
        "INSERT INTO resource_metrics (organization_id, resource_id, time, utilization_pct) "
        "SELECT %(organization)s, %(resource)s, timestamptz '2026-01-01Z' + %(first)s * interval '1 second', 50",
        "resource_metrics",
        1,
    ),
    "metrics, a thousand in a statement": (
        "INSERT INTO resource_metrics (organization_id, resource_id, time, utilization_pct) "
        "SELECT %(organization)s, %(resource)s, timestamptz '2026-02-01Z' + (1000 * %(first)s + n) * interval '1 second', 50 "
        "FROM generate_series(1, 1000) AS n",
        "resource_metrics",
        1000,
    ),
    "events, a thousand in a statement": (
        "INSERT INTO operational_events (organization_id, location_id, resource_id, time, event_type, duration_minutes) "
        "SELECT r.organization_id, r.location_id, r.resource_id, "
        "timestamptz '2026-02-01Z' + (1000 * %(first)s + n) * interval '1 second', 'production', 0 "
        "FROM resources AS r CROSS JOIN generate_series(1, 1000) AS n "
        "WHERE r.organization_id = %(organization)s AND r.resource_id = %(resource)s",
        "operational_events",
        1000,
    ),
}


def _writers(context: Context) -> Table:
    """Time and server CPU of the same writes, alternating: without the triggers, with them and no target, with a target."""
    table = Table(
        "sync writers",
        "Durable writes without the outbox's triggers, with them, and with a target: time until commit, and server CPU.",
        (
            "writes",
            "µs without",
            "µs with, no target",
            "µs with a target",
            "no target / without",
            "target / without",
            "CPU µs without",
            "CPU µs with, no target",
            "CPU µs with a target",
        ),
    )
    sides = ("without", "no target", "target")
    with context.database() as without, context.database() as silent, context.database() as heard:
        databases = dict(zip(sides, (without, silent, heard), strict=True))
        for name, db in databases.items():
            schema.seed(db)
            if name == "without":
                _drop_triggers(db)
            if name == "target":
                Outbox(db, MANUFACTURING, CONSUMER).add_target()
        resource = without.execute_query(
            "SELECT resource_id FROM resources WHERE organization_id = %s ORDER BY resource_id LIMIT 1",
            (MANUFACTURING,),
        )[0]["resource_id"]
        servers = {name: backend(db) for name, db in databases.items()}
        first = 0
        with on_one_core(*servers.values()):
            for writes, (sql, _, rows) in _WRITES.items():
                calls = context.count(2000 if rows == 1 else 40, least=2)
                taken: dict[str, list[float]] = {name: [] for name in sides}
                cpu: dict[str, list[float]] = {name: [] for name in sides}
                for number in range(-1, 2 * context.rounds):
                    for name in sides[number % 3 :] + sides[: number % 3]:
                        db = databases[name]
                        before, started = _server_cpu(servers[name]), time.perf_counter()
                        for call in range(calls):
                            values = {
                                "organization": MANUFACTURING,
                                "resource": resource,
                                "first": first + call,
                            }
                            db.execute(sql, values)
                        if number >= 0:
                            taken[name].append((time.perf_counter() - started) / calls)
                            cpu[name].append((_server_cpu(servers[name]) - before) / calls)
                    first += calls
                ratios = [ratio(taken[name], taken["without"]) for name in sides[1:]]
                table.rows.append(
                    (
                        writes,
                        *(round(1e6 * statistics.median(taken[name]), 1) for name in sides),
                        *(round(value, 3) for value in ratios),
                        *(round(1e6 * statistics.median(cpu[name]), 1) for name in sides),
                    )
                )
                table.goals.append(Goal(f"{writes}: no target", ratios[0], 1.05))
                table.goals.append(Goal(f"{writes}: with a target", ratios[1], 1.05))
    table.remark = "Each statement is a separate transaction and waits for the disk. Nothing reads the target's outbox meanwhile."
    return table


def _server_cpu(process: int) -> float:
    """CPU seconds of a server process: to the nanosecond if the system reports them, otherwise in clock ticks."""
    precise = Path(f"/proc/{process}/schedstat")
    return int(precise.read_text().split()[0]) / 1e9 if precise.exists() else _cpu(psutil.Process(process))


def _drop_triggers(db: DatabaseManager) -> None:
    rows = db.execute_query(
        "SELECT format('DROP TRIGGER %I ON %I', t.tgname, c.relname) AS sql FROM pg_trigger AS t "
        "JOIN pg_class AS c ON c.oid = t.tgrelid "
        "WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgname ~ '_outbox_'"
    )
    for row in rows:
        db.execute(row["sql"])
