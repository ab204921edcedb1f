"""The database and the service are killed under load: responses are complete or report an error, and nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

import pytest

from barnameh.api import keys
from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.support.api import OPERATIONS
from tests.support.api_process import Process, running
from tests.support.servers import own_server

READERS, WRITERS = 4, 4


class Client(threading.Thread):
    """Reads, or writes alerts one after another, retrying each until it is acknowledged."""

    def __init__(self, service: Process, organization_id: uuid.UUID, key: str, *, writes: bool) -> None:
        super().__init__(daemon=True)
        self._service, self._organization_id, self._writes = service, organization_id, writes
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self.over = threading.Event()
        self.answers: Counter[int] = Counter()
        self.faults: list[str] = []
        self.acknowledged: list[str] = []
        self.sent: set[str] = set()

    def run(self) -> None:
        alert_id, again = "", False
        while not self.over.is_set():
            if self._writes and not alert_id:
                alert_id, again = str(uuid.uuid4()), False
                self.sent.add(alert_id)
            status = self._ask(alert_id, again=again)
            self.answers[status] += 1
            if alert_id and status in (200, 409):
                self.acknowledged.append(alert_id)
                alert_id = ""
            elif status != 200:
                again = True
                self.over.wait(0.02)

    def _ask(self, alert_id: str, *, again: bool) -> int:
        """The status of a complete response; 0 if the connection broke before its end."""
        name = "raise_alert" if alert_id else "get_alerts"
        path = OPERATIONS[name].path.format(organization_id=self._organization_id)
        body = json.dumps({"title": "x", "severity": "low", "alert_type": "load", "alert_id": alert_id})
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)
        try:
            if alert_id:
                connection.request("POST", path, body, self._headers)
            else:
                connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        self._look_at(answer, text, again=again)
        return answer.status

    def _look_at(self, answer: http.client.HTTPResponse, text: bytes, *, again: bool) -> None:
        try:
            document = json.loads(text)
        except ValueError:
            self.faults.append(f"{answer.status} without a document: {text[:200]!r}")
            return
        if answer.status == 200 and "data" in document:
            return
        if answer.status == 503 and answer.headers["retry-after"] and document["status"] == 503:
            return
        if answer.status == 409 and again and document["type"].endswith("/exists-already"):
            return  # the first one was written, and only its response was lost
        self.faults.append(f"{answer.status} {text[:500]!r}")


def until(what: Callable[[], bool], clients: list[Client]) -> None:
    give_up = time.monotonic() + 60
    while not what():
        assert time.monotonic() < give_up, [(dict(c.answers), c.faults[:3]) for c in clients]
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_under_load_nothing_acknowledged_is_lost_and_no_answer_is_half() -> None:
    with own_server() as server, DatabaseManager(server.url) as owner:
        schema.apply(owner)
        organization_id = OperationalDataQueries(owner).create_organization("Acme", industry="x")[
            "organization_id"
        ]
        key, _ = keys.create(owner, organization_id, "load", "writer")
        with running(server.url, DB_CONNECT_TIMEOUT_SECONDS="5") as service:
            clients = [
                Client(service, organization_id, key, writes=number < WRITERS)
                for number in range(READERS + WRITERS)
            ]
            for client in clients:
                client.start()

            def good() -> int:
                return sum(client.answers[200] for client in clients)

            def all_go_on() -> None:
                before = [client.answers[200] for client in clients]
                until(
                    lambda: all(c.answers[200] > b + 5 for c, b in zip(clients, before, strict=True)), clients
                )

            all_go_on()
            server.kill()
            refused = sum(client.answers[503] for client in clients)
            until(lambda: sum(client.answers[503] for client in clients) > refused, clients)
            server.start()
            all_go_on()
            service.stop(signal.SIGKILL)
            service.start()
            all_go_on()
            service.stop()
            service.start()
            all_go_on()
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(90)
        rows = owner.execute_query("SELECT alert_id::text AS id FROM alerts WHERE alert_type = 'load'")
    assert [fault for client in clients for fault in client.faults] == []
    assert {status for client in clients for status in client.answers} <= {200, 409, 503, 0}
    stored = {row["id"] for row in rows}
    acknowledged = [alert for client in clients for alert in client.acknowledged]
    assert set(acknowledged) <= stored
    assert stored <= {alert for client in clients for alert in client.sent}
    assert len(acknowledged) > 4 * 5 * WRITERS
    assert good() > len(acknowledged)
