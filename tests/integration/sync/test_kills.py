"""Killed senders, and calls that fail before and after being applied: nothing is lost, wrong or left over."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import random
import threading
import time
from typing import Any
from uuid import UUID

import pytest

from barnameh.sync import CONSUMER, compare
from db_utils import DatabaseManager
from tests.conftest import compared
from tests.integration.sync import sending
from tests.integration.sync.conftest import Copy
from tests.support.convex import Peer

WRITES, KILLS, FAULT_PCT = 3_200, 42, 30

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.integration.sync.sending"])


class Writer(threading.Thread):
    """Writes like an application, one change per transaction, some rolled back or slow."""

    def __init__(self, url: str, org: UUID, seed: int) -> None:
        super().__init__()
        self.url, self.org, self.random = url, org, random.Random(seed)
        self.written = 0
        self.goes_on = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with DatabaseManager(self.url) as db:
                while self.written < WRITES or not self.goes_on.is_set():
                    self.write(db)
                    time.sleep(0.005)  # as fast as an organization writes, not as a loop can
        except BaseException as error:
            self.error = error

    def write(self, db: DatabaseManager) -> None:
        o, r = self.org, self.random
        what, any_order = r.random(), str(r.random())  # Citus refuses ORDER BY random() in a change
        if what < 0.3:
            sql, values = (
                "INSERT INTO alerts (organization_id, severity, alert_type, title) VALUES (%s, 'low', 'test', %s)",
                (o, f"new {r.random()}"),
            )
        elif what < 0.45:
            sql, values = (
                "UPDATE alerts SET title = %s WHERE organization_id = %s AND alert_id IN "
                "(SELECT alert_id FROM alerts WHERE organization_id = %s ORDER BY md5(alert_id::text || %s) LIMIT 2)",
                (f"changed {r.random()}", o, o, any_order),
            )
        elif what < 0.7:
            sql, values = (
                "DELETE FROM alerts WHERE organization_id = %s AND alert_id IN "
                "(SELECT alert_id FROM alerts WHERE organization_id = %s AND alert_type = 'test' "
                "ORDER BY md5(alert_id::text || %s) LIMIT 1)",
                (o, o, any_order),
            )
        elif what < 0.85:
            sql, values = (
                "UPDATE production_plans SET priority = %s WHERE organization_id = %s AND plan_id IN "
                "(SELECT plan_id FROM production_plans WHERE organization_id = %s ORDER BY md5(plan_id::text || %s) LIMIT 1)",
                (r.randint(1, 5), o, o, any_order),
            )
        else:
            sql, values = (
                "INSERT INTO resource_metrics (organization_id, resource_id, time, utilization_pct) SELECT %s, resource_id, "
                "clock_timestamp(), %s FROM resources WHERE organization_id = %s ORDER BY md5(resource_id::text || %s) LIMIT 1 "
                "ON CONFLICT DO NOTHING",
                (o, r.randint(0, 100), o, any_order),
            )
        with db.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            if r.random() < 0.03:
                connection.rollback()
                return
            if r.random() < 0.01:
                time.sleep(0.2)  # commits late
        self.written += 1


def _start(db: DatabaseManager, org: UUID, peer: Peer) -> Any:
    process = _processes.Process(
        target=sending.send, args=(db.settings.database_url, org, peer.url, peer.key), daemon=True
    )
    process.start()
    return process


def _calls(db: DatabaseManager, org: UUID) -> int:
    rows = db.execute_query("SELECT call_count FROM sync_progress WHERE organization_id = %s", (org,))
    return rows[0]["call_count"] if rows else 0


@pytest.mark.slow
def test_nothing_is_lost_wrong_or_left_over(copy: Copy, peer: Peer) -> None:
    if peer.is_real:
        pytest.skip("a real deployment cannot be told to fail")
    db, org = copy.db, copy.org
    dice = random.Random(19)
    peer.set_faults(FAULT_PCT)
    writer = Writer(db.settings.database_url, org, 19)
    writer.start()
    kills = 0
    process = _start(db, org, peer)
    try:
        while kills < KILLS:
            enough = _calls(db, org) + dice.randint(1, 9)
            while _calls(db, org) < enough and process.is_alive():
                time.sleep(0.01)
            time.sleep(dice.random() * 0.05)
            process.kill()
            process.join()
            kills += 1
            process = _start(db, org, peer)
        writer.goes_on.set()
        writer.join()
        assert writer.error is None
        faults = peer.set_faults(0)
        deadline = time.monotonic() + 300
        while copy.outbox.waiting(1) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.is_alive()
    finally:
        writer.goes_on.set()
        process.terminate()
        process.join(60)
        peer.set_faults(0)
    assert process.exitcode == 0
    assert copy.outbox.waiting(1) == []
    assert writer.written >= WRITES
    assert faults["faults"] > 20
    _same_as_the_tables(db, org, peer)
    assert compare(db, copy.client, org, CONSUMER)[0] == []
    assert db.execute_query("SELECT 1 FROM sync_rejected") == []
    compared(f"writes through {kills} kills and {faults['faults']} failing calls, none lost", writer.written)


def _same_as_the_tables(db: DatabaseManager, org: UUID, peer: Peer) -> None:
    """Read from the tables directly, not with the sender's queries."""

    def there(table: str, *names: str) -> set[tuple[Any, ...]]:
        rows = [row for row in peer.table(table) if row["organizationId"] == str(org)]
        found = {tuple(row[name] for name in names) for row in rows}
        assert len(found) == len(rows)
        return found

    def here(sql: str) -> set[tuple[Any, ...]]:
        return {tuple(row.values()) for row in db.execute_query(sql, {"org": org})}

    assert there("alerts", "key", "title") == here(
        "SELECT alert_id::text, title FROM alerts WHERE organization_id = %(org)s "
        "AND coalesce(resolved_at, now()) > now() - interval '30 days'"
    )
    assert there("plans", "key", "priority") == here(
        "SELECT plan_id::text, priority FROM production_plans WHERE organization_id = %(org)s "
        "AND (status NOT IN ('completed', 'cancelled') OR updated_at > now() - interval '30 days')"
    )
    newest = here(
        "SELECT DISTINCT ON (resource_id) resource_id::text, utilization_pct::double precision, extract(epoch FROM time)::double precision "
        "FROM resource_metrics WHERE organization_id = %(org)s AND time <= now() ORDER BY resource_id, time DESC"
    )
    copied = there("resourceStatus", "key", "utilization_pct", "last_metric_at")
    assert {(key, pct, dt.datetime.fromtimestamp(at / 1000, dt.UTC)) for key, pct, at in copied} == {
        (key, pct, dt.datetime.fromtimestamp(at, dt.UTC)) for key, pct, at in newest
    }
