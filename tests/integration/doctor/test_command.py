"""The command as a whole: exit codes, choice of checks, JSON, rights, time, and no false alarms on a new database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from db_utils import DatabaseManager, schema
from db_utils.embedded import redis_server
from db_utils.ops.doctor import CHECKS, LIMITS, Severity
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.run import examine
from tests.integration.cli.conftest import Run
from tests.integration.doctor.support import execute, until
from tests.support import doctor_page, servers
from tests.support.servers import OwnServer


@pytest.fixture
def fresh() -> Iterator[OwnServer]:
    """A server in the state after `init` and `seed`."""
    with servers.own_server(servers.stopped_seeded_data) as server:
        yield server


@pytest.mark.thorough
def test_a_fresh_seeded_database_gives_no_warning(fresh: OwnServer, run: Run) -> None:
    with redis_server.start("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru") as redis_url:
        done = run(fresh.url, "doctor", "--json", REDIS_URL=redis_url)
    bad = [f for f in done.json["findings"] if f["severity"] in ("warning", "critical")]
    assert [f["found"] for f in bad] == []
    assert done.code == 0
    assert {f["check"] for f in done.json["findings"]} == {check.name for check in CHECKS}
    assert done.json["severity"] in ("ok", "note")


@pytest.mark.thorough
def test_nothing_is_changed_by_an_examination(fresh: OwnServer, run: Run) -> None:
    with DatabaseManager(fresh.url) as db:
        before = db.execute_query(
            "SELECT pg_current_xact_id_if_assigned() AS x, txid_snapshot_xmax(txid_current_snapshot()) AS n"
        )
        run(fresh.url, "doctor")
        after = db.execute_query(
            "SELECT pg_current_xact_id_if_assigned() AS x, txid_snapshot_xmax(txid_current_snapshot()) AS n"
        )
    written = after[0]["n"] - before[0]["n"]
    assert written <= background_transactions(fresh)


def background_transactions(server: OwnServer) -> int:
    """Transactions that TimescaleDB's scheduler and autovacuum may have begun meanwhile; none without them."""
    with DatabaseManager(server.url) as db:
        return 0 if schema.edition(db) == "plain" else 50


def test_most_severe_first_and_what_is_well_only_when_asked_for(fresh: OwnServer, run: Run) -> None:
    execute(
        fresh.url,
        "ALTER SYSTEM SET fsync = off",
        "ALTER TABLE alerts SET (autovacuum_enabled = off)",
        "SELECT pg_reload_conf()",
    )
    done = run(fresh.url, "doctor")
    assert done.code == 4
    order = [
        done.out.index(word)
        for word in ("CRITICAL durability", "WARNING  dead-rows", "NOTE     io-timing", "skipped  ")
    ]
    assert order == sorted(order)
    assert "\nALTER SYSTEM SET fsync = 'on';\nSELECT pg_reload_conf();\n" in done.out
    assert "\nok  " not in done.out
    assert "\nok  " in run(fresh.url, "doctor", "--all").out
    assert run(fresh.url, "doctor", "--skip", "durability").code == 3
    assert run(fresh.url, "doctor", "--only", "io-timing, clock").code == 0


def test_wrong_use_is_told_in_one_sentence(server_url: str, run: Run) -> None:
    for arguments, word in (
        (["--only", "no-such-check"], "no-such-check"),
        (["--limit", "disk-days"], "disk-days"),
        (["--limit", "no-such-limit=3"], "no-such-limit"),
        (["--limit", "disk-days=3,30"], "critical"),
        (["--limit", "lock-wait-seconds=9999"], "critical"),
        (["--disk-free", "plenty"], "plenty"),
    ):
        done = run(server_url, "doctor", *arguments)
        assert done.code == 2
        assert word in done.err


def test_a_server_that_is_not_there_is_no_finding(run: Run) -> None:
    done = run("postgresql://barnameh_user@127.0.0.1:1/barnameh_ops", "doctor")
    assert done.code == 1
    assert done.out == ""


def test_the_list_names_every_check_and_limit(server_url: str, run: Run) -> None:
    listed = run(server_url, "doctor", "--list", "--json").json
    assert [item["name"] for item in listed["checks"]] == [check.name for check in CHECKS]
    assert list(listed["limits"]) == list(LIMITS)
    shown = run(server_url, "doctor", "--list").out
    assert all(check.name in shown for check in CHECKS)


def test_names_are_unique_and_every_check_asks_a_question() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.question.endswith("?") for check in CHECKS)


def watcher(server: OwnServer, *grants: str) -> str:
    execute(
        server.url,
        "CREATE ROLE watcher LOGIN PASSWORD 'watching all night'",
        *(f"GRANT {g} TO watcher" for g in grants),
    )
    return server.url.replace("barnameh_user:barnameh_password", "watcher:watching%20all%20night")


@pytest.mark.thorough
def test_monitoring_rights_are_enough(fresh: OwnServer, run: Run) -> None:
    owner = skipped(run(fresh.url, "doctor", "--json").json)
    url = watcher(fresh, "pg_monitor", "barnameh_readonly")
    assert skipped(run(url, "doctor", "--json").json) <= owner | {
        "schema"
    }  # only the owner sees all of the schema


def test_what_lacks_rights_is_skipped_and_says_which(fresh: OwnServer, run: Run) -> None:
    document = run(watcher(fresh), "doctor", "--json").json
    assert {"connections", "long-transactions", "blocked-sessions", "sample-data"} <= skipped(document)
    why = {f["check"]: f["found"] for f in document["findings"]}
    assert 'GRANT pg_monitor TO "watcher"' in why["connections"]
    assert "permission denied" in why["sample-data"]


def skipped(document: dict[str, list[dict[str, str]]]) -> set[str]:
    return {f["check"] for f in document["findings"] if f["severity"] == "skipped"}


@pytest.mark.thorough
def test_a_lock_on_everything_does_not_hold_the_doctor_up(fresh: OwnServer) -> None:
    with (
        closing(psycopg2.connect(fresh.url)) as connection,
        DatabaseManager(fresh.url, lock_timeout_seconds=1) as db,
    ):
        connection.cursor().execute("LOCK TABLE organizations, alerts, locations IN ACCESS EXCLUSIVE MODE")
        diagnosis = examine(CheckContext(db, seconds=2, total_seconds=30))
        stuck = [f.found for f in diagnosis.findings if f.severity == Severity.SKIPPED and "lock" in f.found]
        assert stuck
        assert all("DB_LOCK_TIMEOUT_SECONDS" in found for found in stuck)


def test_when_the_time_for_all_is_spent_the_rest_says_so(seeded: DatabaseManager) -> None:
    context = CheckContext(seeded, total_seconds=30)
    assert context.about
    context._end_at = time.monotonic()
    until(lambda: context.time_is_up)
    diagnosis = examine(context)
    assert {f.severity for f in diagnosis.findings} == {Severity.SKIPPED}
    assert all("are used up" in f.found for f in diagnosis.findings)


def test_the_page_has_every_check_and_limit_as_they_are() -> None:
    text = doctor_page.PAGE.read_text(encoding="utf-8")
    assert text == doctor_page.page(text)
    assert all(f"| `{check.name}` |" in text for check in CHECKS)
