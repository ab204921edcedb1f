"""What does a query over HTTP cost, how fast are the stream and downloads, and when has the wall board loaded?

Load comes from wrk (Debian's package); the peer is PostGraphile 4, from npm, on the same tenant's view. Missing programs are left out.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from psycopg2.extensions import parse_dsn

from barnameh.api import keys
from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.embedded.redis_server import free_port
from tests.benchmarks.harness import Context, Goal, Table, on_one_core, percentile, ratio
from tests.support.api_process import Process, running
from tests.support.browser import MISSING as NO_BROWSER
from tests.support.browser import browser
from tests.support.query_calls import MANUFACTURING

CONNECTIONS = (1, 8, 32)
CLIENTS = 100

_WRK = """
wrk.headers["Authorization"] = "Bearer KEY"
BODY
done = function(summary, latency, requests)
    io.write(string.format("%d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(95),
        summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout))
end
response = function(status, headers, body)
    if status ~= 200 then io.write(body, "\\n") end
end
"""

# The same rows in the same order, from the same view, in the same scope.
_PEER = """
const { createServer } = require("node:http");
const { postgraphile } = require("postgraphile");
const [url, port, organization] = process.argv.slice(2);
const settings = {
  role: "barnameh_tenant", search_path: "tenant, public", "app.organization_id": organization,
};
const handler = postgraphile({ connectionString: url, max: 8 }, "tenant", {
  pgSettings: async () => settings, disableQueryLog: true, dynamicJson: true, ignoreRBAC: true, retryOnInitFail: false,
});
createServer(handler).listen(Number(port), "127.0.0.1");
"""
_PEER_FIELDS = "locationId name locationType timezone address latitudeDegrees longitudeDegrees metadata createdAt updatedAt"
_PEER_QUERY = "{allLocations(orderBy:[NAME_ASC,LOCATION_ID_ASC]){nodes{%s}}}" % _PEER_FIELDS  # noqa: UP031 - braces


@dataclass(frozen=True)
class Load:
    """What one run of wrk found."""

    per_second: float
    p95_ms: float
    cpu_ms: float
    """CPU seconds of the server's processes per request."""


@dataclass(frozen=True)
class Server:
    """A server that answers the request."""

    name: str
    url: str
    processes: list[psutil.Process]
    script: Path

    def load(self, connections: int, seconds: float) -> Load:
        """Send requests as fast as `connections` connections can."""
        before = self._cpu()
        told = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                "-s",
                str(self.script),
                self.url,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        cpu = self._cpu() - before
        count, microseconds, p95, errors = map(int, told.strip().rpartition("\n")[2].split())
        if errors:
            raise RuntimeError(f"{self.name}: {errors} of {count} requests failed: {told[:500]}")
        if not count:  # on a busy machine
            return self.load(connections, 2 * max(1.0, seconds))
        return Load(count / (microseconds / 1e6), p95 / 1000, 1000 * cpu / count)

    def _cpu(self) -> float:
        times = [process.cpu_times() for process in self.processes]
        return sum(time.user + time.system for time in times)


def run(context: Context) -> list[Table]:
    """All tables, on the sample data."""
    with context.database() as db:
        schema.seed(db)
        keys.make_live(db, MANUFACTURING)
        key, _ = keys.create(db, MANUFACTURING, "benchmark", "reader")
        with ExitStack() as stack:
            with on_one_core():  # held by the process: a worker is one process
                variables = {"API_STREAMS_PER_KEY": str(CLIENTS + 1)}
                process = stack.enter_context(running(db.settings.database_url, **variables))
            return [
                _requests(context, db, process, key),
                _stream(context, db, process, key),
                _download(context, db, process, key),
                _board(context, process, key),
            ]


# -- a small read ----------------------------------------------------------------------------------------------


def _requests(context: Context, db: DatabaseManager, process: Process, key: str) -> Table:
    table = Table(
        "api requests",
        "The locations of an organization in its tenant scope over HTTP, one worker, by number of connections.",
        ("server", "connections", "requests/s", "p95 ms", "ms of CPU a request"),
    )
    if shutil.which("wrk") is None:
        table.remark = "Not measured: wrk is not installed."
        return table
    path = f"/v1/organizations/{MANUFACTURING}/organizations/locations"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db_utils-api-")))
        own = Server(
            "barnameh serve",
            f"http://127.0.0.1:{process.port}{path}",
            [psutil.Process(process.process.pid)],
            _script(folder / "own.lua", key, None),
        )
        servers = [own]
        with on_one_core():
            peer = stack.enter_context(_postgraphile(db, folder))
        servers += [peer] if peer is not None else []
        found: dict[tuple[str, int], list[Load]] = {}
        seconds = max(2.0, 4.0 * min(context.scale, 1.0))
        for server in servers:
            server.load(8, 3.0)
        for number in range(context.rounds):
            for connections in CONNECTIONS:
                for server in servers[:: 1 if number % 2 else -1]:
                    found.setdefault((server.name, connections), []).append(server.load(connections, seconds))
        for (name, connections), loads in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
            rate, p95, cpu = (
                statistics.median(values)
                for values in zip(
                    *((load.per_second, load.p95_ms, load.cpu_ms) for load in loads), strict=True
                )
            )
            table.rows.append((name, connections, round(rate), round(p95, 1), round(cpu, 3)))
        eight = found[own.name, 8]
        table.goals += [
            Goal(
                "requests a second of CPU, 8 connections",
                1000 / statistics.median(load.cpu_ms for load in eight),
                1500,
                at_most=False,
            ),
            Goal("p95 ms, 8 connections", statistics.median(load.p95_ms for load in eight), 15),
        ]
        if peer is not None:
            rates = [[load.per_second for load in found[name, 8]] for name in (own.name, peer.name)]
            table.goals.append(Goal("requests/s relative to PostGraphile", ratio(*rates), 1.0, at_most=False))
    over = _over_the_library(context, db, process, key, path)
    table.goals.append(Goal("ms more than the library's own call, one at a time", over, 1.5))
    table.remark = (
        "Each server runs on one core. Every request is logged, and counted in the metrics and against its key's limit. CPU is the "
        "server process alone, without PostgreSQL: the load on a worker's core when other things run beside it."
    )
    return table


def _script(file: Path, key: str, body: str | None) -> Path:
    post = f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = {json.dumps(body)}'
    file.write_text(_WRK.replace("KEY", key).replace("BODY", post if body else ""), encoding="utf-8")
    return file


@contextmanager
def _postgraphile(db: DatabaseManager, folder: Path) -> Iterator[Server | None]:
    """The peer; None if npm cannot install it."""
    if shutil.which("npm") is None:
        yield None
        return
    installed = subprocess.run(
        [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(folder),
            "postgraphile@4",
        ],
        capture_output=True,
        check=False,
    )
    if installed.returncode:
        yield None
        return
    (folder / "peer.js").write_text(_PEER, encoding="utf-8")
    port = free_port()
    server = subprocess.Popen(
        ["node", str(folder / "peer.js"), _as_uri(db.settings.database_url), str(port), str(MANUFACTURING)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_ENV": "production"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        body = json.dumps({"query": _PEER_QUERY})
        rows = _ask_peer(server, port, body)
        assert len(rows) == len(OperationalDataQueries(db).get_locations(MANUFACTURING))
        yield Server(
            "PostGraphile 4",
            f"http://127.0.0.1:{port}/graphql",
            [psutil.Process(server.pid)],
            _script(folder / "peer.lua", "none", body),
        )
    finally:
        server.kill()
        server.wait()


def _as_uri(url: str) -> str:
    """The address in the only form that Node's driver reads."""
    where = parse_dsn(url)
    login = f"{quote(where['user'], safe='')}:{quote(where.get('password', ''), safe='')}"
    host, port = where["host"], where.get("port", "5432")
    if host.startswith("/"):
        return f"postgresql://{login}@/{where['dbname']}?host={quote(host, safe='')}&port={port}"
    return f"postgresql://{login}@{host}:{port}/{where['dbname']}"


def _ask_peer(server: subprocess.Popen[bytes], port: int, body: str) -> list[object]:
    give_up = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/graphql", body, {"content-type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            nodes: list[object] = answer["data"]["allLocations"]["nodes"]
            return nodes
        except OSError:
            if time.monotonic() > give_up or server.poll() is not None:
                raise
            time.sleep(0.1)


def _over_the_library(context: Context, db: DatabaseManager, process: Process, key: str, path: str) -> float:
    """Median of the milliseconds that a request takes longer than the library's call, in alternating runs."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port)
    queries = OperationalDataQueries(db.tenant(MANUFACTURING))

    def over_http() -> None:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        connection.getresponse().read()

    def timed(ask: Callable[[], object]) -> float:
        started = time.perf_counter()
        ask()
        return time.perf_counter() - started

    for _ in range(20):
        over_http()
        queries.get_locations(MANUFACTURING)
    longer = [
        timed(over_http) - timed(lambda: queries.get_locations(MANUFACTURING))
        for _ in range(context.count(1000, least=50))
    ]
    connection.close()
    return 1000 * statistics.median(longer)


# -- the live stream -------------------------------------------------------------------------------------------


def _stream(context: Context, db: DatabaseManager, process: Process, key: str) -> Table:
    table = Table(
        "api stream",
        f"From the commit of an alert until each of {CLIENTS} clients of the live stream has received it, in milliseconds.",
        ("clients", "events", "p50 ms", "p95 ms", "p99 ms"),
    )
    alerts = context.count(100, least=3)
    taken, lost = asyncio.run(_listen(db, process, key, alerts))
    table.rows.append(
        (CLIENTS, len(taken), *(round(1000 * percentile(taken, share), 1) for share in (50, 95, 99)))
    )
    table.goals += [
        Goal("p95 ms after the commit", 1000 * percentile(taken, 95), 25),
        Goal("events that did not arrive", float(lost), 0),
    ]
    table.remark = "One alert at a time, each sent once the previous one has reached all clients; clients share a core with the rest."
    return table


async def _listen(db: DatabaseManager, process: Process, key: str, alerts: int) -> tuple[list[float], int]:
    request = (
        f"GET /v1/organizations/{MANUFACTURING}/stream?topics=alert HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    ).encode()
    heard: dict[str, list[float]] = {}
    everybody = asyncio.Event()
    greeted = asyncio.Semaphore(0)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(request)
        try:
            while line := await reader.readline():
                if line.startswith(b"event: hello"):
                    greeted.release()
                elif line.startswith(b"data: {") and (found := re.search(rb'"key":"([^"]+)"', line)):
                    times = heard.setdefault(found[1].decode(), [])
                    times.append(time.perf_counter())
                    if len(times) == CLIENTS:
                        everybody.set()
        finally:
            writer.close()

    tasks = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    for _ in tasks:
        await asyncio.wait_for(greeted.acquire(), 60)
    queries = OperationalDataQueries(db)
    taken: list[float] = []
    lost = 0
    for number in range(alerts):
        everybody.clear()
        alert_id = uuid.uuid4()

        def write(alert_id: uuid.UUID = alert_id, number: int = number) -> float:
            queries.raise_alert(
                MANUFACTURING, f"alert {number}", severity="low", alert_type="benchmark", alert_id=alert_id
            )
            return time.perf_counter()

        committed = await asyncio.to_thread(write)
        try:
            await asyncio.wait_for(everybody.wait(), 10)
        except TimeoutError:
            lost += CLIENTS - len(heard.get(str(alert_id), []))
        taken += [max(0.0, at - committed) for at in heard.get(str(alert_id), [])]
        await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken, lost


# -- downloads and the wall board -------------------------------------------------------------------------------

_ROWS = """
    INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity)
    SELECT
        l.organization_id,
        timestamptz '2024-01-01Z' + n * interval '1 minute',
        'BENCHMARK',
        l.location_id,
        n %% 1000
    FROM (SELECT organization_id, location_id FROM locations WHERE organization_id = %s ORDER BY location_id LIMIT 1) AS l
    CROSS JOIN generate_series(1, %s) AS n
"""


def _download(context: Context, db: DatabaseManager, process: Process, key: str) -> Table:
    table = Table(
        "api downloads",
        "All rows of one product's demand over HTTP, from the request to the last byte.",
        ("form", "rows", "rows/s", "peak memory, MiB"),
    )
    count = context.count(1_000_000, least=1000)
    db.execute(_ROWS, (MANUFACTURING, count))
    path = f"/v1/organizations/{MANUFACTURING}/demand/demand-history?product_id=BENCHMARK&start=2024-01-01T00:00:00Z"
    own = psutil.Process(process.process.pid)
    for form in ("csv", "ndjson", "arrow"):
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=600)
        started, most = time.perf_counter(), 0
        connection.request("GET", f"{path}&format={form}", headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        lines = 0
        while part := answer.read(1024 * 1024):
            lines += part.count(b"\n")
            most = max(most, own.memory_info().rss)
        rate = count / (time.perf_counter() - started)
        connection.close()
        assert form == "arrow" or lines == count + (form == "csv"), lines
        table.rows.append((form, count, round(rate), round(most / 2**20)))
        if form == "csv":
            table.goals += [
                Goal("rows/s as CSV", rate, 500_000, at_most=False),
                Goal("MiB of memory", most / 2**20, 256),
            ]
    return table


def _board(context: Context, process: Process, key: str) -> Table:
    table = Table(
        "wall board",
        "The wall board in Chromium, from the request until it is loaded, with an empty browser cache.",
        ("page", "ms until painted", "ms until loaded"),
    )
    if NO_BROWSER:
        table.remark = f"Not measured: {NO_BROWSER}."
        return table
    from selenium.webdriver.common.by import By

    painted, loaded = [], []
    for _ in range(context.rounds):
        with browser() as driver:
            driver.get(f"http://127.0.0.1:{process.port}/")
            driver.find_element(By.ID, "key").send_keys(key + "\n")
            driver.find_element(By.ID, "state")
            first, last = driver.execute_script(
                "const [page] = performance.getEntriesByType('navigation');"
                "const [paint] = performance.getEntriesByName('first-contentful-paint');"
                "return [paint ? paint.startTime : null, page.loadEventEnd || performance.now()];"
            )
            painted.append(first if first is not None else last)
            loaded.append(last)
    table.rows.append(("board", *(round(statistics.median(values)) for values in (painted, loaded))))
    table.goals.append(Goal("ms until the first page is loaded", statistics.median(loaded), 1000))
    return table
