"""`kill -9` of the server at random moments, while eight writers write: acknowledged batches are there, once and complete."""

from __future__ import annotations

import threading

from db_utils import DatabaseManager, schema
from tests.faults import batches
from tests.faults.findings import Finding
from tests.faults.trial import SERVER_OPTIONS, Trial, timed
from tests.support.servers import own_server

WRITERS = 8


def run(trial: Trial) -> list[Finding]:
    """Kill, restart, continue writing; then count."""
    finding = Finding(
        "kill -9 under load",
        f"{WRITERS} writers of batches of {batches.SIZE} rows, half upsert_many, half INSERT … ON CONFLICT, each retried "
        "until acknowledged; all server processes killed at once, at random moments",
    )
    chances, pause = trial.chances("kills"), threading.Event()
    kills = 0
    with (
        timed(finding),
        own_server(**SERVER_OPTIONS) as server,
        DatabaseManager(
            server.url, max_connections=WRITERS + 2, connect_timeout_seconds=5, slow_query_seconds=3600
        ) as db,
    ):
        schema.apply(db)
        batches.prepare(db)
        with batches.Writers(db, finding, count=WRITERS, timeout_seconds=20) as writers:
            while kills < trial.amount(50, 2) and not trial.over():
                if not writers.wait_for(WRITERS):
                    finding.blame(f"after kill {kills} no batch was acknowledged for two minutes")
                    break
                pause.wait(chances.uniform(0.0, 1.0))
                server.kill()
                server.start()
                kills += 1
            writers.wait_for(WRITERS)
        batches.account(db, finding, writers.acknowledged)
        if db.pool_stats().in_use:
            finding.blame(f"{db.pool_stats().in_use} connections of the pool never came back")
    finding.seen = (
        f"{kills} kills; {writers.failures:,} batches failed with a typed error and were retried; "
        f"{len(writers.acknowledged) * batches.SIZE:,} acknowledged rows looked up"
    )
    return [finding]
