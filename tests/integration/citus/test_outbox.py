"""Changes on Citus: without notifications, readers poll; each change once, numbered by the node with the rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import SessionUnavailableError
from db_utils.outbox import Outbox
from db_utils.outbox.kinds import KINDS
from tests.integration.api.test_live import Reader, organization, raise_alert, wait_for
from tests.support.api_process import running

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def org(citus: DatabaseManager) -> Iterator[uuid.UUID]:
    """The test's own organization with one location, one resource, and one alert per kind of change."""
    owner = OperationalDataQueries(citus)
    made: uuid.UUID = owner.create_organization(f"Told {uuid.uuid4()}", industry="toys", timezone="UTC")[
        "organization_id"
    ]
    hall = owner.create_location(made, "Hall", location_type="factory", timezone="UTC")["location_id"]
    owner.create_resource(made, "Press", location_id=hall, resource_type="press")
    yield made
    citus.execute("DELETE FROM sync_outbox WHERE organization_id = %s", (made,))
    citus.execute("DELETE FROM sync_targets WHERE organization_id = %s", (made,))


def test_a_consumer_takes_what_waits(citus: DatabaseManager, org: uuid.UUID) -> None:
    outbox = Outbox(citus, org, "copy")
    outbox.add_target()
    first = raise_alert(citus, org)
    waiting = outbox.waiting()
    assert [(change.kind, change.key) for change in waiting] == [("alert", first)]
    second = raise_alert(citus, org)
    assert outbox.acknowledge(waiting) == 1
    assert [change.key for change in outbox.waiting()] == [second]
    # All that is current: two alerts, one resource, and twelve KPIs of three periods.
    assert outbox.enqueue() == 2 + 1 + 36
    outbox.enqueue_keys([("alert", first)])
    assert len(outbox.waiting()) == 1 + 39 + 1
    numbers = {change.transaction_id for change in outbox.waiting()}
    (here,) = citus.execute_query(
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next FROM organizations WHERE organization_id = %s",
        (org,),
    )
    assert max(numbers) < here["next"], "all are numbered by the node with the rows"
    assert here["next"] - max(numbers) < 100
    for kind in KINDS:
        rows = outbox.current_rows(kind)
        assert {(kind, key) for key in rows} == {(c.kind, c.key) for c in outbox.waiting() if c.kind == kind}
    assert outbox.acknowledge(outbox.waiting()) == 41
    outbox.remove_target()
    assert outbox.waiting() == []


def test_readers_resume_each_where_it_was(citus: DatabaseManager, org: uuid.UUID) -> None:
    Outbox(citus, org, "stream").add_target(keep_for=HOUR)
    outbox = Outbox(citus.tenant(org), org, "stream")
    start = outbox.changes_since().position
    with citus.transaction() as late:
        late_key = OperationalDataQueries(late).raise_alert(org, "Late", severity="low", alert_type="t")[
            "alert_id"
        ]
        early_key = raise_alert(citus, org)
        between = outbox.changes_since(start)
    after = outbox.changes_since(between.position)
    assert [change.key for change in between.changes] == [early_key]
    assert [change.key for change in after.changes] == [str(late_key)]
    assert not between.may_have_missed
    assert not after.may_have_missed
    assert outbox.changes_since(after.position).changes == []


def test_trimming_leaves_one_row_of_a_key_and_says_what_is_gone(
    citus: DatabaseManager, org: uuid.UUID
) -> None:
    Outbox(citus, org, "stream").add_target(keep_for=HOUR)
    copy = Outbox(citus, org, "copy")
    copy.add_target()
    reader = Outbox(citus, org, "stream")
    start = reader.changes_since().position
    key = raise_alert(citus, org)
    OperationalDataQueries(citus).acknowledge_alert(org, key, acknowledged_by="me")
    assert len(copy.waiting()) == 2
    assert copy.trim() >= 2
    assert [change.key for change in copy.waiting()] == [key]
    assert [change.key for change in reader.changes_since(start).changes] == [key]
    citus.execute(
        "UPDATE sync_outbox SET changed_at = now() - interval '2 hours' WHERE organization_id = %s AND consumer = 'stream'",
        (org,),
    )
    copy.trim()
    assert reader.changes_since(start).may_have_missed
    copy.remove_target()


def test_a_stream_tells_each_change_once(citus: DatabaseManager, cluster_urls: list[str]) -> None:
    made, key = organization(citus)
    with running(cluster_urls[0]) as service:
        reader = Reader(service.port, made, key)
        reader.start()
        assert reader.greeted.wait(60)
        written = [raise_alert(citus, made) for _ in range(5)]
        wait_for(lambda: set(written) <= set(reader.heard))
        reader.over.set()
        raise_alert(citus, made)  # ends its wait
    assert reader.gaps == 0
    assert set(reader.heard.values()) == {1}
    citus.execute("DELETE FROM sync_outbox WHERE organization_id = %s", (made,))
    citus.execute("DELETE FROM sync_targets WHERE organization_id = %s", (made,))


def test_who_would_listen_for_ever_is_told_what_to_do(citus: DatabaseManager, org: uuid.UUID) -> None:
    with pytest.raises(SessionUnavailableError, match=r"poll Outbox.changes_since\(\) once a second"):
        citus.tenant(org).listen("alerts")
