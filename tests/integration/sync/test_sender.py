"""The copy equals the database, whatever happens to calls."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from barnameh.errors import UsageError
from barnameh.sync import CONSUMER, Budget, ConvexClient, Sender, SyncService, compare
from barnameh.sync.sender import ReplacedError
from db_utils import DatabaseManager
from tests.integration.sync.conftest import Copy
from tests.support.convex import Peer

MARK = "UPDATE alerts SET title = %s WHERE organization_id = %s AND alert_id = %s"


class Wire(httpx.BaseTransport):
    """Forwards calls to the loopback, and disturbs some like a network."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.spoil: tuple[bytes, bytes] | None = None
        self.faults: list[Any] = []
        self.bodies: list[bytes] = []

    def close(self) -> None:
        self.inner.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, httpx.Response):
            return fault
        if fault == "before":
            raise httpx.ConnectError("cut")
        if self.spoil:
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
            request = httpx.Request(
                request.method, request.url, headers=headers, content=request.content.replace(*self.spoil)
            )
        response = self.inner.handle_request(request)
        if fault == "after":
            response.read()
            raise httpx.ReadError("cut")
        return response


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def wired(copy: Copy, peer: Peer, wire: Wire) -> Iterator[Copy]:
    with ConvexClient(peer.url, peer.key, transport=wire) as client:
        yield Copy(copy.db, client, copy.org)


def a_sender(copy: Copy, **options: Any) -> Sender:
    options.setdefault("budget", Budget(None))
    sender = Sender(copy.db, copy.client, copy.org, CONSUMER, **options)
    sender.begin()
    return sender


def test_all_that_is_current_arrives_and_every_change_after_it(copy: Copy) -> None:
    differences, counts = compare(copy.db, copy.client, copy.org, CONSUMER)
    assert differences == []
    assert all(counts.values())
    alert = copy.an_alert()
    copy.db.execute(MARK, ("changed", copy.org, alert))
    copy.db.execute("DELETE FROM production_plans WHERE organization_id = %s", (copy.org,))
    assert copy.send() > 1
    assert copy.documents("alert")[alert]["title"] == "changed"
    assert copy.documents("plan") == {}
    assert compare(copy.db, copy.client, copy.org, CONSUMER)[0] == []


@pytest.mark.parametrize(
    "fault", ["before", "after", httpx.Response(503), httpx.Response(200, text="<html>")]
)
def test_a_call_that_fails_is_made_again(wired: Copy, wire: Wire, fault: Any) -> None:
    alert = wired.an_alert()
    wired.db.execute(MARK, ("again", wired.org, alert))
    wire.faults = [fault, fault]
    assert wired.send() == 1
    assert wired.documents("alert")[alert]["title"] == "again"
    progress = wired.progress()
    assert progress["failed_call_count"] == 2
    assert progress["last_error"] is None


def test_how_long_to_wait_is_the_other_sides_word_or_grows(wired: Copy, wire: Wire) -> None:
    wired.db.execute(MARK, ("waits", wired.org, wired.an_alert()))
    sender = a_sender(wired, random_share=lambda: 1.0)
    for fault, at_least in (
        ("before", 0.1),
        ("before", 0.2),
        (httpx.Response(429, headers={"Retry-After": "77"}), 77),
    ):
        wire.faults = [fault]
        before = time.monotonic()
        assert sender.step() == 0
        assert sender.not_before - before >= at_least
    assert wired.outbox.waiting() != []


def test_a_request_that_comes_late_changes_nothing(wired: Copy, wire: Wire, peer: Peer) -> None:
    alert = wired.an_alert()
    wired.db.execute(MARK, ("old", wired.org, alert))
    wire.faults = ["before"]
    sender = a_sender(wired)
    sender.step()
    late = wire.bodies[-1]
    wired.db.execute(MARK, ("new", wired.org, alert))
    wired.send()
    answer = httpx.post(
        f"{peer.url}/api/mutation", content=late, headers={"Authorization": f"Convex {peer.key}"}, timeout=60
    ).json()
    assert answer["value"]["applied"] is False
    assert wired.documents("alert")[alert]["title"] == "new"


def test_a_sender_that_was_replaced_stops(copy: Copy) -> None:
    first = a_sender(copy)
    copy.db.execute(MARK, ("x", copy.org, copy.an_alert()))
    second = a_sender(copy)
    with pytest.raises(ReplacedError):
        first.step()
    assert second.step() == 1


def test_one_process_sends_for_an_organization(copy: Copy) -> None:
    service = SyncService(
        copy.db, copy.client, copy.org, linger_seconds=0, kpis_every_seconds=0, budget=Budget(None)
    )
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        copy.db.execute(MARK, ("y", copy.org, copy.an_alert()))
        while copy.outbox.waiting(1):
            pass  # the other one is running
        with pytest.raises(UsageError, match="another process sends"):
            copy.send()
    finally:
        service.stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_what_is_refused_for_its_content_stands_alone(wired: Copy, wire: Wire) -> None:
    alert = wired.an_alert()
    # On the way it is changed into something that the target's validators reject.
    wired.db.execute(MARK, ("spoiled", wired.org, alert))
    wire.spoil = (b'"spoiled"', b"null")
    wired.db.execute("UPDATE production_plans SET priority = 2 WHERE organization_id = %s", (wired.org,))
    wired.send()
    rejected = wired.db.execute_query("SELECT kind, entity_key, error_message FROM sync_rejected")
    assert [(row["kind"], row["entity_key"]) for row in rejected] == [("alert", alert)]
    assert rejected[0]["error_message"]
    assert {plan["priority"] for plan in wired.documents("plan").values()} == {2}
    assert wired.outbox.waiting() == []
    # Once correct again it is accepted, and no longer listed.
    wired.db.execute(MARK, ("right", wired.org, alert))
    wired.send()
    assert wired.db.execute_query("SELECT 1 FROM sync_rejected") == []
    assert wired.documents("alert")[alert]["title"] == "right"


def test_where_the_functions_are_missing_nothing_is_rejected(copy: Copy, peer: Peer) -> None:
    class Undeployed(ConvexClient):
        def mutation(self, path: str, args: Any) -> Any:
            return super().mutation("nowhere:apply", args)

    copy.db.execute("UPDATE production_plans SET priority = 4 WHERE organization_id = %s", (copy.org,))
    waiting = len(copy.outbox.waiting(10_000))
    with Undeployed(peer.url, peer.key) as undeployed:
        assert a_sender(Copy(copy.db, undeployed, copy.org)).step() == 0
    assert len(copy.outbox.waiting(10_000)) == waiting
    assert copy.db.execute_query("SELECT 1 FROM sync_rejected") == []
    with ConvexClient(peer.url, "other|key") as wrong:
        assert a_sender(Copy(copy.db, wrong, copy.org)).step() == 0
    assert "CONVEX_DEPLOY_KEY" in copy.progress()["last_error"]


def test_a_database_that_was_restored_goes_on_above_the_copy(copy: Copy) -> None:
    alert = copy.an_alert()
    reached = copy.progress()["version"]
    copy.db.execute("UPDATE sync_progress SET version = 0")
    copy.db.execute(MARK, ("restored", copy.org, alert))
    copy.send()
    assert copy.documents("alert")[alert]["title"] == "restored"
    assert copy.progress()["version"] > reached


def test_calls_keep_to_the_plan(copy: Copy) -> None:
    budget = Budget(calls_per_month=1_000_000)
    assert budget.burst + budget.calls_per_second * 31 * 86_400 == pytest.approx(1_000_000)
    sender = a_sender(copy, budget=budget)
    alert = copy.an_alert()

    def credit_is_older_by(age: dt.timedelta) -> None:
        credited_at = copy.progress()["credited_at"] - age
        copy.db.execute("UPDATE sync_progress SET credited_at = %s", (credited_at,))

    copy.db.execute("UPDATE sync_progress SET call_credit = 1.5, credited_at = now()")
    for title, taken in (("a", 1), ("b", 0)):
        copy.db.execute(MARK, (title, copy.org, alert))
        assert sender.step() == taken
    credit_is_older_by(dt.timedelta(seconds=3))
    assert sender.step() == 1
    credit_is_older_by(dt.timedelta(days=9 * 365))
    copy.db.execute(MARK, ("c", copy.org, alert))
    assert sender.step() == 1
    assert copy.progress()["call_credit"] == budget.burst - 1


def test_both_sides_are_compared_document_by_document(copy: Copy, db: DatabaseManager, org: UUID) -> None:
    kept = copy.outbox.waiting()
    assert kept == []
    alert, plan = copy.an_alert(), next(iter(copy.documents("plan")))
    # Bypassing the outbox.
    with db.transaction() as tx:
        tx.execute("SET LOCAL citus.propagate_set_commands = 'local'")  # on Citus: on the node of the row
        tx.execute("SET LOCAL session_replication_role = replica")
        tx.execute(MARK, ("unheard of", org, alert))
        tx.execute("DELETE FROM production_plans WHERE plan_id = %s", (plan,))
    found = compare(db, copy.client, org, CONSUMER)[0]
    assert [(d.kind, d.key, d.problem) for d in found] == [
        ("alert", alert, "differs in title"),
        ("plan", plan, "left over"),
    ]
    copy.outbox.enqueue_keys((d.kind, d.key) for d in found)
    assert compare(db, copy.client, org, CONSUMER)[0] == []  # they wait
    copy.send()
    assert compare(db, copy.client, org, CONSUMER)[0] == []
