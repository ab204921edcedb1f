"""The live stream: each change once or `gap`, through restarts of the service and of the database; fast shutdown."""

from __future__ import annotations

import http.client
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnameh.api import keys
from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.outbox import Outbox
from tests.support.api_process import Process, events_of, running
from tests.support.servers import own_server

STREAMS, ALERTS = 20, 60
PROMISED_END_SECONDS = 2


class Reader(threading.Thread):
    """A client that reconnects with the id of the newest event received, like a browser."""

    def __init__(self, port: int, organization_id: uuid.UUID, key: str) -> None:
        super().__init__(daemon=True)
        self._port, self._path, self._key = (
            port,
            f"/v1/organizations/{organization_id}/stream?topics=alert",
            key,
        )
        self.heard: Counter[str] = Counter()
        self.gaps = 0
        self.connections = 0
        self.greeted = threading.Event()
        self.over = threading.Event()
        self._last: str | None = None

    def run(self) -> None:
        while not self.over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                headers = {"authorization": f"Bearer {self._key}"}
                if self._last:
                    headers["last-event-id"] = self._last
                connection.request("GET", self._path, headers=headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    self.connections += 1
                    for event in events_of(answer):
                        self._take(event)
                        if self.over.is_set():
                            break
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            self.over.wait(0.1)

    def _take(self, event: dict[str, Any]) -> None:
        self._last = event.get("id", self._last)
        if event.get("event") == "alert":
            self.heard[event["data"]["key"]] += 1
        elif event.get("event") == "gap":
            self.gaps += 1
        elif event.get("event") == "hello":
            self.greeted.set()


@pytest.fixture
def owner_and_key(server_url: str, schema_template: str) -> Iterator[tuple[DatabaseManager, uuid.UUID, str]]:
    from tests.conftest import fresh_database

    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as owner:
        yield owner, *organization(owner)


def organization(owner: DatabaseManager) -> tuple[uuid.UUID, str]:
    """A new organization whose changes are recorded, and a key."""
    queries = OperationalDataQueries(owner)
    organization_id = queries.create_organization("Acme", industry="manufacturing")["organization_id"]
    keys.make_live(owner, organization_id)
    return organization_id, keys.create(owner, organization_id, "test", "writer")[0]


def wait_for(what: Any, seconds: float = 60) -> None:
    """Wait until this is true."""
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def raise_alert(owner: DatabaseManager, organization_id: uuid.UUID) -> str:
    row = OperationalDataQueries(owner).raise_alert(
        organization_id, "Look", severity="low", alert_type="test", alert_id=uuid.uuid4()
    )
    return str(row["alert_id"])


@pytest.mark.slow
def test_each_change_once_or_gap_through_restarts_of_the_service_and_the_database(tmp_path: Path) -> None:
    with own_server() as server, DatabaseManager(server.url) as owner:
        schema.apply(owner)
        organization_id, key = organization(owner)
        with running(server.url) as service:
            readers = [Reader(service.port, organization_id, key) for _ in range(STREAMS)]
            for reader in readers:
                reader.start()
            for reader in readers:
                assert reader.greeted.wait(60)
            written = []
            for number in range(ALERTS):
                written.append(raise_alert(owner, organization_id))
                if number == ALERTS // 4:
                    service.stop(signal.SIGKILL)
                    service.start()
                elif number == ALERTS // 2:
                    server.kill()
                    server.start()
                    owner.wait(60)
                elif number == 3 * ALERTS // 4:
                    service.stop()
                    service.start()
            last = written[-1]
            wait_for(lambda: all(reader.heard[last] or reader.gaps for reader in readers))
            for reader in readers:
                reader.over.set()
    for reader in readers:
        assert (
            reader.connections >= 2
        )  # how many of the three interruptions it saw depends on when it retried
        assert max(reader.heard.values()) == 1
        if not reader.gaps:
            assert set(reader.heard) == set(written)
    # No outage was longer than the rows are kept, so no client should have seen a gap.
    assert sum(reader.gaps for reader in readers) == 0


@pytest.mark.thorough
def test_streams_end_with_the_process(owner_and_key: tuple[DatabaseManager, uuid.UUID, str]) -> None:
    owner, organization_id, key = owner_and_key
    with running(owner.settings.database_url) as service:
        reader = Reader(service.port, organization_id, key)
        reader.start()
        assert reader.greeted.wait(60)
        reader.over.set()
        service.process.send_signal(signal.SIGTERM)
        # Its own limit, after which it would be killed and exit with another code.
        assert (
            service.process.wait(PROMISED_END_SECONDS + 30) == -signal.SIGTERM
            or service.process.returncode == 0
        )


@pytest.mark.thorough
def test_a_client_that_was_away_for_too_long_is_told_so(
    owner_and_key: tuple[DatabaseManager, uuid.UUID, str],
) -> None:
    owner, organization_id, key = owner_and_key
    outbox = Outbox(owner, organization_id, keys.CONSUMER)
    position = outbox.changes_since().position
    raise_alert(owner, organization_id)
    owner.execute(
        "UPDATE sync_outbox SET changed_at = '2025-01-01Z' WHERE organization_id = %s", (organization_id,)
    )
    assert outbox.trim() > 0
    with running(owner.settings.database_url) as service:
        assert first_events(service, organization_id, key, position)[0] == "gap"
        assert first_events(service, organization_id, key, "7:7:")[0] == "gap"
        assert first_events(service, organization_id, key, "nonsense")[0] == "gap"


@pytest.mark.thorough
def test_what_was_missed_comes_before_hello_and_topics_choose(
    owner_and_key: tuple[DatabaseManager, uuid.UUID, str],
) -> None:
    owner, organization_id, key = owner_and_key
    position = Outbox(owner, organization_id, keys.CONSUMER).changes_since().position
    for _ in range(3):
        raise_alert(owner, organization_id)
    with running(owner.settings.database_url) as service:
        assert first_events(service, organization_id, key, position, 4) == ["alert"] * 3 + ["hello"]
        assert first_events(service, organization_id, key, position, 1, "plan") == ["hello"]
        status, _ = service.get(f"/v1/organizations/{organization_id}/stream?topics=weather", key)
        assert status == 422
        owner.execute("DELETE FROM sync_targets WHERE organization_id = %s", (organization_id,))
        assert service.get(f"/v1/organizations/{organization_id}/stream", key)[0] == 409


def first_events(
    service: Process,
    organization_id: uuid.UUID,
    key: str,
    position: str,
    count: int = 1,
    topics: str = "alert",
) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"authorization": f"Bearer {key}", "last-event-id": position}
    connection.request("GET", f"/v1/organizations/{organization_id}/stream?topics={topics}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    found = []
    for event in events_of(answer):
        if "event" in event:
            found.append(event["event"])
        if len(found) == count:
            break
    connection.close()
    return found


def test_own_rows_only(owner_and_key: tuple[DatabaseManager, uuid.UUID, str]) -> None:
    owner, organization_id, key = owner_and_key
    foreign, foreign_key = organization(owner)
    with running(owner.settings.database_url) as service:
        reader, other = Reader(service.port, organization_id, key), Reader(service.port, foreign, foreign_key)
        for one in (reader, other):
            one.start()
            assert one.greeted.wait(60)
        theirs, ours = raise_alert(owner, foreign), raise_alert(owner, organization_id)
        wait_for(lambda: reader.heard[ours] and other.heard[theirs])
        assert set(reader.heard) == {ours}
        for one in (reader, other):
            one.over.set()
