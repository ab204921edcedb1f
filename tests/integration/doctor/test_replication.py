"""Standbys, replication slots, wraparound."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from db_utils.ops.doctor import CHECKS, Severity
from tests.integration.doctor.support import ailment, ask, execute, paste, until, value, well
from tests.support.programs import program
from tests.support.servers import OwnServer, standby_of

_WRITE = "CREATE TABLE IF NOT EXISTS w (t text); INSERT INTO w SELECT repeat('x', 1000) FROM generate_series(1, 3000)"


def test_a_slot_that_nobody_reads_is_found_and_dropped(own_server: OwnServer) -> None:
    assert well(own_server.url, "replication-slots")
    execute(own_server.url, "SELECT pg_create_physical_replication_slot('left_over', true)", _WRITE)
    found = ailment(own_server.url, "replication-slots")
    assert found.severity == Severity.WARNING
    assert found.figures["retained_bytes"] > 3_000_000
    limits = ["slot-retained-megabytes=1,2"]
    assert ailment(own_server.url, "replication-slots", limits=limits).severity == Severity.CRITICAL
    paste(own_server.url, found.fix)
    assert well(own_server.url, "replication-slots")


@pytest.mark.slow
def test_a_standby_that_does_not_replay_is_seen_from_both_sides(own_server: OwnServer) -> None:
    limits = ["replication-lag-megabytes=1,100"]
    with standby_of(own_server) as standby:
        until(
            lambda: (
                value(own_server.url, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
                == 1
            )
        )
        until(lambda: well(own_server.url, "replication-lag", limits=limits))
        assert well(standby.url, "replication-lag")
        # Every check runs on a standby; the one that reads the schema's own rows finds no schema here.
        stuck = {
            f.check for check in CHECKS for f in ask(standby.url, check.name) if "could not run" in f.found
        }
        assert stuck == {"sample-data"}
        execute(standby.url, "SELECT pg_wal_replay_pause()")
        execute(own_server.url, _WRITE)
        until(lambda: not well(own_server.url, "replication-lag", limits=limits))
        found = ailment(own_server.url, "replication-lag", limits=limits)
        assert found.severity == Severity.WARNING
        assert found.figures["lag_bytes"] > 1024**2
        there = ailment(standby.url, "replication-lag")
        assert there.severity == Severity.WARNING
        assert found.fix is not None
        assert there.fix is not None
        assert (found.fix.where, there.fix.where) == ("psql on the standby", "psql")
        assert found.fix.text == there.fix.text
        paste(standby.url, there.fix)
        until(lambda: well(own_server.url, "replication-lag", limits=limits))
        assert well(standby.url, "replication-lag")


@pytest.mark.parametrize(
    ("next_transaction", "severity"),
    [
        (1_000_000_000, Severity.WARNING),
        pytest.param(1_900_000_000, Severity.CRITICAL, marks=pytest.mark.slow),
    ],
)
def test_old_rows_are_found_before_writes_end(
    own_server: OwnServer, next_transaction: int, severity: Severity
) -> None:
    assert well(own_server.url, "wraparound")
    # Template databases are frozen by autovacuum only: it must not be off, and not have finished before we look.
    execute(own_server.url, "ALTER SYSTEM SET autovacuum_naptime = '1s'")
    own_server.stop()
    make_old(own_server.folder / "pgdata", next_transaction)
    own_server.start()
    found = ailment(own_server.url, "wraparound", "database barnameh_ops:")
    assert found.severity == severity
    assert abs(found.figures["transaction_age"] - next_transaction) < 1_000_000
    paste(own_server.url, found.fix)
    until(lambda: well(own_server.url, "wraparound"), seconds=120)
    assert ask(own_server.url, "wraparound")[0].severity == Severity.OK


def make_old(data: Path, next_transaction: int) -> None:
    """Make this the next transaction, as after many others."""
    owner = data.stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [server_program("pg_resetwal"), "-f", "-x", str(next_transaction), "-D", str(data)],
        check=True,
        capture_output=True,
        cwd="/",
        **as_owner,  # type: ignore[call-overload]
    )
    # Two bits per transaction: the page of the next one must exist.
    segment = data / "pg_xact" / f"{next_transaction // (32 * 8192 * 4):04X}"
    segment.write_bytes(bytes(32 * 8192))
    os.chown(segment, owner.st_uid, owner.st_gid)


def server_program(name: str) -> str:
    """A program of the server, where the server's user can access it."""
    from db_utils.embedded.installation import public_copy

    return str(public_copy(program(name).resolve().parents[1]) / "bin" / name)
