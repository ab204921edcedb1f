"""The API as a separate process, as `barnameh serve` runs it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from barnameh.api import keys
from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.embedded.redis_server import free_port
from tests.support.api import OPERATIONS, Api

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60.0


class Process:
    """One `barnameh serve`."""

    def __init__(self, url: str, port: int, log: IO[bytes], variables: dict[str, str]) -> None:
        self.url, self.port, self._log = url, port, log
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environment = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": "",
            "API_RATE_PER_SECOND": "0",
            "API_CONCURRENCY": "0",
            **variables,
        }
        self.start()

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "barnameh", "serve", "--url", self.url, "--port", str(self.port)],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when /readyz says so."""
        give_up = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < give_up:
            assert self.process.poll() is None, "the service ended"
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the service does not become ready")

    def get(self, path: str, key: str | None = None, timeout: float = 30) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; return the seconds until the process ended."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - started

    def key(self, owner: DatabaseManager) -> tuple[str, uuid.UUID]:
        """A key of the first organization, whose changes are recorded."""
        organization_id = OperationalDataQueries(owner).get_organizations()[0]["organization_id"]
        keys.make_live(owner, organization_id)
        return keys.create(owner, organization_id, "test", "writer")[0], organization_id

    def cut_download(self, api: Api, cut: Callable[[DatabaseManager], int]) -> bytes:
        """The outcome of a download whose server session is terminated while it waits for the client to read on."""
        # Long names, so that a few rows exceed the socket buffers.
        insert = (
            "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
            "SELECT organization_id, timestamptz '2020-01-01Z' + n * interval '1 minute', repeat('CUT', 60), location_id, n "
            "FROM (SELECT organization_id, location_id FROM locations WHERE organization_id = %s ORDER BY 2 LIMIT 1) AS l, "
            "generate_series(1, 100000) AS n ON CONFLICT DO NOTHING"
        )
        api.owner.execute(insert, (api.organization_id,))
        path = api.path(OPERATIONS["get_demand_history"])
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(
            "GET",
            f"{path}?product_id={'CUT' * 60}&format=csv&start=2019-01-01T00:00:00Z",
            headers={"authorization": f"Bearer {api.key}"},
        )
        answer = connection.getresponse()
        assert answer.status == 200
        body = answer.read(1_000_000)
        assert cut(api.owner) == 1
        try:
            while part := answer.read(65_536):
                body += part
        except (http.client.IncompleteRead, ConnectionError):
            return body
        finally:
            connection.close()
        raise AssertionError("the answer came to a regular end")

    def measured_download(self, key: str, organization_id: uuid.UUID, path: str) -> tuple[int, int]:
        """Lines of a download, and the peak memory of the process meanwhile, in bytes."""
        own = psutil.Process(self.process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(
            "GET", f"/v1/organizations/{organization_id}{path}", headers={"authorization": f"Bearer {key}"}
        )
        answer = connection.getresponse()
        assert answer.status == 200
        lines, peak = 0, 0
        while part := answer.read(1024 * 1024):
            lines += part.count(b"\n")
            peak = max(peak, own.memory_info().rss)
        connection.close()
        return lines, peak


@contextlib.contextmanager
def running(url: str, **variables: str) -> Iterator[Process]:
    """`barnameh serve` on this database."""
    import tempfile

    with tempfile.TemporaryFile() as log:
        service = Process(url, free_port(), log, variables)
        try:
            yield service
        finally:
            if service.process.poll() is None:
                service.process.kill()
            service.process.wait(10)


def events_of(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Server-Sent Events with their id, event and data, as they arrive; ends with the stream."""
    event: dict[str, Any] = {}
    while True:
        try:
            line = answer.readline().decode().rstrip("\n")
        except (ConnectionError, http.client.IncompleteRead):
            return
        if line.startswith(":"):
            continue
        name, colon, value = line.partition(": ")
        if colon:
            event[name] = json.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}
        elif answer.isclosed() or answer.fp is None or not answer.fp.peek(1):
            return
