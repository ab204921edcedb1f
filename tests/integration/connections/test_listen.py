"""listen: receives at once, reports possible gaps, and can be closed from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from db_utils import DatabaseManager, errors
from tests.integration.connections.conftest import ORGANIZATION, OTHER_ORGANIZATION
from tests.support.proxy import Proxy
from tests.support.servers import OwnServer

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"


def test_it_hears_what_is_committed_and_nothing_that_is_rolled_back(db: DatabaseManager) -> None:
    with db.listen("news", 'Odd "name"', timeout_seconds=5) as listener:
        with pytest.raises(KeyError), db.transaction() as tx:  # noqa: PT012
            tx.execute("SELECT pg_notify('news', '{\"n\": 0}')")
            raise KeyError
        with db.transaction() as tx:
            tx.execute("SELECT pg_notify('news', %s)", ('{"n": 1}',))
            assert listener.get(0.05) is None
        db.execute("SELECT pg_notify('Odd \"name\"', 'plain words')")
        db.execute("SELECT pg_notify('elsewhere', 'x')")
        db.execute("NOTIFY news")
        first, second, third = islice(listener, 3)
    assert (first.channel, first.payload, first.may_have_missed) == ("news", {"n": 1}, False)
    assert first.received_at.tzinfo is not None
    assert (second.channel, second.payload, second.text) == (
        'Odd "name"',
        {"text": "plain words"},
        "plain words",
    )
    assert (third.channel, third.payload) == ("news", {})


def test_it_ends_when_nothing_came_for_the_time_given(db: DatabaseManager) -> None:
    started = time.monotonic()
    with db.listen("news", timeout_seconds=0.1) as listener:
        assert list(listener) == []
    assert time.monotonic() - started >= 0.1
    while db.execute_query(LISTENERS):
        assert time.monotonic() - started < 90


def test_it_hears_each_commit_while_it_waits(db: DatabaseManager) -> None:
    with db.listen("news", timeout_seconds=60) as listener, ThreadPoolExecutor(1) as executor:
        for number in range(20):
            heard = executor.submit(next, listener)
            db.execute("SELECT pg_notify('news', %s)", (str(number),))
            assert heard.result().text == str(number)


def test_another_thread_may_end_it(db: DatabaseManager) -> None:
    listener = db.listen("news")
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(list, listener)
        threading.Timer(0.1, listener.close).start()
        assert waiting.result(timeout=5) == []
    listener.close()
    assert listener.get(1) is None


def test_it_takes_no_place_in_the_pool(manager_with: Callable[..., DatabaseManager]) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.2)
    with db.listen("news"), db.listen("news"):
        assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
        assert db.pool_stats().open == 1


@pytest.mark.parametrize("channels", [(), ("",), ("x" * 64,), ("a\0b",), (5,)])
def test_a_channel_is_a_short_name(db: DatabaseManager, channels: tuple[str, ...]) -> None:
    with pytest.raises(errors.InvalidInputError, match="channel"):
        db.listen(*channels)
    with pytest.raises(errors.InvalidInputError, match="channel"):
        db.tenant(ORGANIZATION).listen(*channels)


def test_a_lost_connection_is_opened_again_and_the_gap_is_told(db: DatabaseManager) -> None:
    with db.listen("news", "more", timeout_seconds=10) as listener:
        pid = db.execute_query(LISTENERS)[0]["pid"]
        db.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        gaps = list(islice(listener, 2))
        db.execute("NOTIFY news")
        after = next(listener)
    assert [(gap.channel, gap.payload, gap.may_have_missed) for gap in gaps] == [
        ("news", {}, True),
        ("more", {}, True),
    ]
    assert (after.channel, after.may_have_missed) == ("news", False)


def test_channels_are_added_while_it_listens(db: DatabaseManager) -> None:
    with db.listen("news", timeout_seconds=10) as listener:
        listener.add("more", "news")
        assert [(n.channel, n.may_have_missed) for n in islice(listener, 1)] == [("more", True)]
        db.execute("NOTIFY more, '{\"n\": 1}'")
        assert next(listener).payload == {"n": 1}
        with pytest.raises(errors.InvalidInputError, match="channel"):
            listener.add()
        pid = db.execute_query(LISTENERS)[0]["pid"]
        db.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        listener.add("third")  # on a connection that is lost now
        assert {(n.channel, n.may_have_missed) for n in islice(listener, 3)} == {
            ("news", True),
            ("more", True),
            ("third", True),
        }
        db.execute("NOTIFY third")
        assert next(listener).channel == "third"
    listener.add("fourth")
    assert listener.get(1) is None


def test_a_server_that_is_away_for_a_while_is_waited_for(own_server: OwnServer) -> None:
    with DatabaseManager(own_server.url) as db, db.listen("news", timeout_seconds=30) as listener:
        own_server.kill()
        assert listener.get(0.2) is None
        own_server.start()
        assert next(listener).may_have_missed
        db.wait(10)
        db.execute("NOTIFY news, '{\"n\": 1}'")
        assert next(listener).payload == {"n": 1}


def test_a_silent_network_is_noticed_by_asking(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db_utils.connections.listen._HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr("db_utils.connections.listen._HEARTBEAT_TIMEOUT_SECONDS", 0.2)
    with Proxy(("127.0.0.1", own_server.port)) as proxy:
        url = own_server.url.replace(f":{own_server.port}/", f":{proxy.port}/")
        with DatabaseManager(url, connect_timeout_seconds=2) as db, db.listen("news") as listener:
            proxy.fall_silent()
            assert listener.get(1) is None
            proxy.speak_again()
            notification = listener.get(20)
            assert notification is not None
            assert notification.may_have_missed


def test_an_organization_hears_its_own_alerts_only(empty_database: DatabaseManager) -> None:
    for organization in (ORGANIZATION, OTHER_ORGANIZATION):
        empty_database.execute(
            "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%s, %s, "
            "'manufacturing', 'UTC')",
            (organization, f"Works {organization[:1]}"),
        )
    mine, theirs = empty_database.tenant(ORGANIZATION), empty_database.tenant(OTHER_ORGANIZATION)
    raise_alert = "INSERT INTO alerts (organization_id, severity, alert_type, title) VALUES (%s, 'high', 'downtime', 'x')"
    with mine.listen("alerts", timeout_seconds=0.5) as listener:
        theirs.execute(raise_alert, (theirs.organization_id,))
        mine.execute(raise_alert, (mine.organization_id,))
        heard = list(listener)
    (row,) = mine.execute_query("SELECT alert_id::text FROM alerts")
    assert [(news.channel, news.payload["id"], news.payload["operation"]) for news in heard] == [
        ("alerts", row["alert_id"], "insert")
    ]
    with pytest.raises(errors.NotFoundError, match="does not exist"):
        empty_database.tenant("33333333-3333-3333-3333-333333333333").listen("alerts")
