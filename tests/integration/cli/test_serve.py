"""A persistent embedded server, and other commands on its folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.embedded.redis_server import free_port
from tests.integration.cli.conftest import Run, command, environment
from tests.support.servers import public_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    path = public_folder("serve")
    yield path
    shutil.rmtree(path)


@pytest.mark.thorough
def test_what_was_served_stays_in_the_folder_and_others_use_it(folder: Path, run_apart: Run) -> None:
    port = free_port()
    served = subprocess.Popen(
        command("serve", str(folder), "--port", str(port)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    url, over_tcp = served.stdout.readline().strip(), served.stdout.readline().strip()
    with DatabaseManager(url) as db:
        OperationalDataQueries(db).create_organization("Solo", industry="logistics", timezone="Europe/Paris")
    psycopg2.connect(over_tcp).close()
    joined = run_apart("", "status", "--json", "--url", f"embedded:{folder}")
    assert joined.code == 0, joined.err
    served.send_signal(signal.SIGTERM)
    _, said = served.communicate()
    assert served.returncode == 0
    assert "the data stay" in said

    services = subprocess.run(
        [sys.executable, "-m", "barnameh", "schedules", "--json", "--url", f"embedded:{folder}"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (services.returncode, services.stdout.strip()) == (0, "[]"), services.stderr

    smoke = run_apart("", "smoke", "--url", f"embedded:{folder}")
    assert smoke.code == 0, smoke.out
    assert "KPIs of the last seven days: Solo" in smoke.out
    assert "not run: there is no resource yet" in smoke.out
    assert not (folder / "pgdata" / "postmaster.pid").exists()


def test_a_folder_that_is_not_named(run: Run) -> None:
    refused = run("", "status", "--url", "embedded:")
    assert refused.code == 1
    assert "write embedded:FOLDER" in refused.err
