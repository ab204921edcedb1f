"""`barnameh sync`, as called by users and by the compose service, and the display of its state."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from barnameh.sync import CONSUMER
from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.outbox import Outbox, targets
from tests.support.convex import Peer

ROOT = Path(__file__).resolve().parents[3]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(db: DatabaseManager, peer: Peer) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "DATABASE_URL": db.settings.database_url,
        "REDIS_URL": "",
        **peer.environment(),
    }


@pytest.fixture
def call(environment: dict[str, str]) -> Call:
    def run(*arguments: str, module: str = "barnameh", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def organizations(db: DatabaseManager) -> dict[str, UUID]:
    return {row["name"]: row["organization_id"] for row in OperationalDataQueries(db).get_organizations()}


def held(peer: Peer, table: str, organization_id: UUID) -> int:
    return sum(row["organizationId"] == str(organization_id) for row in peer.table(table))


ONCE = ("sync", "convex", "--kpis-every", "0", "--calls-per-month", "0", "--once")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 1, "give --organization NAME, or --all"),
        (("--all", "--organization", "x"), 1, "give --organization NAME, or --all"),
        (("--organization", "Nobody"), 1, "Nobody"),
        (("--all", "--linger-ms", "-1"), 2, "linger"),
        (("--all", "--metrics-port", "70000"), 2, "metrics-port"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    call: Call, db: DatabaseManager, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = call("sync", "convex", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert db.execute_query("SELECT 1 FROM sync_targets") == []


def test_without_a_deployment_nothing_is_begun(call: Call, db: DatabaseManager) -> None:
    done = call(*ONCE, "--organization", "Sample Manufacturing", CONVEX_URL="")
    assert done.returncode == 1
    assert "CONVEX_URL" in done.stderr
    assert db.execute_query("SELECT 1 FROM sync_targets") == []


def test_a_key_that_is_not_taken_ends_it(call: Call, db: DatabaseManager) -> None:
    done = call(*ONCE, "--organization", "Sample Manufacturing", CONVEX_DEPLOY_KEY="wrong")
    assert done.returncode == 1
    assert "give the deploy key of this deployment" in done.stderr
    assert "Traceback" not in done.stderr
    (target,) = targets(db)
    assert target.waiting > 0
    assert target.failed_calls == 1


def test_several_organizations_each_into_its_own(call: Call, db: DatabaseManager, peer: Peer) -> None:
    OperationalDataQueries(db).create_organization("Third", industry="x")
    names = [*[name for name in organizations(db) if name != "Third"][:2], "Third"]
    for name in names[:2]:  # the first time it is named, all current rows are sent
        done = call(*ONCE, "--organization", name)
        assert done.returncode == 0, done.stderr
    known = organizations(db)
    first, second, third = (known[name] for name in names)
    queries = OperationalDataQueries(db)
    written = {
        organization: str(
            queries.raise_alert(organization, f"of {organization}", severity="low", alert_type="sync")[
                "alert_id"
            ]
        )
        for organization in (first, second, third)
    }
    done = call(*ONCE, "--all")
    assert done.returncode == 0, done.stderr
    alerts = {row["key"]: row for row in peer.table("alerts")}
    for organization in (first, second):
        assert alerts[written[organization]]["organizationId"] == str(organization)
        assert alerts[written[organization]]["title"] == f"of {organization}"
    # The third was never named: none of its changes were recorded or sent.
    assert written[third] not in alerts
    assert held(peer, "resourceStatus", third) == 0
    (rows,) = db.execute_query(
        "SELECT count(DISTINCT organization_id) AS of, count(*) AS waiting FROM sync_outbox"
    )
    assert (rows["of"], rows["waiting"]) == (0, 0)
    # Both sides of all of them are compared in one run.
    report = json.loads(call("sync", "convex", "--all", "--verify", "--kpis-every", "0", "--json").stdout)
    assert {found["organization_id"] for found in report} == {str(first), str(second)}
    assert all(found["differences"] == [] and found["documents"]["alert"] for found in report)
    # After its removal, nothing is recorded for it any more.
    assert call("sync", "convex", "--organization", names[0], "--remove").returncode == 0
    assert [
        row["organization_id"] for row in db.execute_query("SELECT organization_id FROM sync_targets")
    ] == [second]


def test_what_differs_is_told_sent_again_and_backfilled(
    call: Call, db: DatabaseManager, peer: Peer, org: UUID
) -> None:
    assert call(*ONCE, "--organization", str(org)).returncode == 0
    title = {"title": "unheard of"}
    (alert,) = db.execute_query(
        "SELECT alert_id FROM alerts WHERE organization_id = %s AND resolved_at IS NULL ORDER BY 1 LIMIT 1",
        (org,),
    )
    with db.transaction() as tx:  # bypassing the outbox
        tx.execute("SET LOCAL citus.propagate_set_commands = 'local'")  # on Citus: on the node of the row
        tx.execute("SET LOCAL session_replication_role = replica")
        tx.execute("UPDATE alerts SET title = %(title)s WHERE alert_id = %(alert_id)s", {**title, **alert})
    verify = ("sync", "convex", "--organization", str(org), "--verify", "--kpis-every", "0")
    done = call(*verify)
    assert done.returncode == 3
    assert f"alert {alert['alert_id']}: differs in title" in done.stdout
    assert call(*verify).returncode == 0  # differences were sent again
    before = len(peer.table("alerts"))
    done = call(*ONCE, "--organization", str(org), "--backfill")
    assert done.returncode == 0
    assert len(peer.table("alerts")) == before
    (progress,) = db.execute_query("SELECT sent_count FROM sync_progress")
    assert progress["sent_count"] > 2 * before


def metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r'(barnameh_sync_\w+)\{consumer="convex",organization_id="[^"]+"\} (\S+)', line)
        if match:
            found[match[1].removeprefix("barnameh_sync_")] = float(match[2])
    return found


def test_what_waits_is_sent_and_is_refused_is_seen(
    call: Call, environment: dict[str, str], db: DatabaseManager, org: UUID
) -> None:
    outbox = Outbox(db, org, CONSUMER)
    nobody = "http://127.0.0.1:9"  # with nothing listening
    assert json.loads(call("sync", "status", "--json").stdout) == []
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "barnameh", "sync", "convex", "--organization", str(org)),
            *("--kpis-every", "0", "--linger-ms", "0", "--metrics-port", "0"),
        ],
        env={**environment, "CONVEX_URL": nobody},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = next(line.split()[1] for line in process.stderr if line.startswith("Metrics: "))
        give_up = time.monotonic() + 60
        while not (seen := metrics(address)).get("failed_calls_total"):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert seen["waiting"] == len(outbox.waiting(100_000)) > 0
        assert seen["lag_seconds"] > 0
        assert seen["sent_total"] == seen["rejected"] == 0
        assert "last_success_timestamp_seconds" not in seen
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    # Late and rejected changes are reported by all commands.
    db.execute("UPDATE sync_outbox SET changed_at = now() - interval '10 minutes'")
    db.execute(
        "INSERT INTO sync_rejected (organization_id, consumer, kind, entity_key, error_message) "
        "VALUES (%s, 'convex', 'alert', 'x', 'too large')",
        (org,),
    )
    status = call("sync", "status", "--json")
    assert status.returncode == 3
    (target,) = json.loads(status.stdout)
    assert target["lag_seconds"] > 590
    assert target["rejected"] == 1
    assert target["waiting"] == len(outbox.waiting(100_000))
    assert "does not answer" in target["last_error"]
    shown = call("sync", "status").stdout
    assert "Sample Manufacturing" in shown
    assert "does not answer" in shown
    (same,) = json.loads(call("status", "--json", module="db_utils").stdout)["copies"]
    assert (same["waiting"], same["rejected"]) == (target["waiting"], 1)
    doctor = json.loads(call("doctor", "--json", module="db_utils").stdout)
    told = [finding["found"] for finding in doctor["findings"] if finding["check"] == "outbox"]
    assert any(re.search(r"changes are waiting, the oldest for 1\d", text) for text in told), told
    assert any("rejects 1 changes because of their content" in text for text in told), told
    # Once it is sent, nothing is reported.
    assert call(*ONCE, "--organization", str(org)).returncode == 0
    db.execute("DELETE FROM sync_rejected")
    status = call("sync", "status", "--json")
    assert status.returncode == 0
    (target,) = json.loads(status.stdout)
    assert (target["waiting"], target["lag_seconds"], target["last_error"]) == (0, None, None)
    assert target["sent"] > 0
