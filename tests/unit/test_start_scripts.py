"""The containers' own start scripts: a port reachable from the network is not served with a well-known password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPEN = ("0.0.0.0", "192.0.2.7", "::", "[::]", "[2001:db8::1]")
CLOSED = ("127.0.0.1", "[::1]", "localhost", "")


def started(command: list[str], folder: Path, **environment: str) -> str:
    """The script's output: that it serves (with a stub for the image's program), or why it refuses."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("docker-entrypoint.sh", "redis-server"):
        (programs / name).write_text("#!/bin/sh\necho serves >&2\n")
        (programs / name).chmod(0o755)
    process = subprocess.Popen(
        command,
        env={"PATH": f"{programs}:{os.environ['PATH']}", **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        return process.stderr.readline()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.stderr.close()
        process.wait()


def postgres(folder: Path, **environment: str) -> str:
    """postgres/start.sh, with a data folder of a finished first start."""
    (folder / "barnameh_initialised").touch()
    (folder / "pg_hba.conf").touch()
    named = {"PGDATA": str(folder), "POSTGRES_DB": "d", "POSTGRES_USER": "u", **environment}
    return started(["sh", str(ROOT / "postgres" / "start.sh"), "postgres"], folder, **named)


def citus(folder: Path, **environment: str) -> str:
    """citus/start.sh, next to the files shared with the other stack, as in its container."""
    for script in ("citus/start.sh", "postgres/common.sh"):
        shutil.copy(ROOT / script, folder)
    return started(["sh", str(folder / "start.sh"), "postgres"], folder, **environment)


def redis(folder: Path, **environment: str) -> str:
    """redis-server/start.sh."""
    given = {"REDIS_MAXMEMORY": "1mb", "REDIS_MAXMEMORY_POLICY": "allkeys-lru", **environment}
    return started(["sh", str(ROOT / "redis-server" / "start.sh")], folder, **given)


@pytest.mark.parametrize("address", OPEN)
@pytest.mark.parametrize("start", [postgres, citus, redis])
def test_an_open_port_needs_a_password_of_ones_own(tmp_path: Path, start, address: str) -> None:  # type: ignore[no-untyped-def]
    name, known = ("REDIS_PASSWORD", "") if start is redis else ("POSTGRES_PASSWORD", "barnameh_password")
    said = start(tmp_path, BIND_ADDRESS=address, **{name: known})
    assert f"BIND_ADDRESS={address}" in said
    assert name in said
    assert "BIND_ADDRESS=127.0.0.1" in said
    assert start(tmp_path, BIND_ADDRESS=address, **{name: "of my own"}) == "serves\n"
    secret = tmp_path / "secret"
    for content in (known, "of my own"):
        secret.write_text(content + "\n")
        said = start(tmp_path, BIND_ADDRESS=address, **{f"{name}_FILE": str(secret)})
        assert (said == "serves\n") is (content == "of my own")


@pytest.mark.parametrize("address", CLOSED)
def test_on_loopback_the_defaults_do(tmp_path: Path, address: str) -> None:
    for start in (postgres, citus):
        assert start(tmp_path, BIND_ADDRESS=address, POSTGRES_PASSWORD="barnameh_password") == "serves\n"
    assert redis(tmp_path, BIND_ADDRESS=address or "127.0.0.1", REDIS_PASSWORD="") == "serves\n"


@pytest.mark.thorough
@pytest.mark.parametrize("address", [*OPEN, *CLOSED])
def test_pgadmin_likewise(tmp_path: Path, address: str) -> None:
    ask = "import runpy; print(runpy.run_path('pgadmin/start.py')['refusal']())"

    def refusal(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", ask], env={"BIND_ADDRESS": address, **environment}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    known = refusal(PGADMIN_DEFAULT_PASSWORD="admin")
    assert ("PGADMIN_DEFAULT_PASSWORD" in known) is (address in OPEN)
    assert refusal(PGADMIN_DEFAULT_PASSWORD="of my own") == "None\n"


def test_every_service_with_a_port_knows_its_address() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    published = [
        line for line in compose.splitlines() if line.strip().startswith("- ${BIND_ADDRESS:-127.0.0.1}:")
    ]
    told = [
        line
        for line in compose.splitlines()
        if line.strip().startswith("BIND_ADDRESS: ${BIND_ADDRESS:-127.0.0.1}")
    ]
    assert len(published) == compose.count("    ports:\n") == 6
    assert len(told) == 5  # the API has no password, only keys


def test_a_replica_logs_in_with_the_password_of_its_start(tmp_path: Path) -> None:
    (tmp_path / "barnameh_replica").touch()
    for password in ("first", r"se:c\ond"):
        assert postgres(tmp_path, REPLICA_OF="postgres", POSTGRES_PASSWORD=password) == "serves\n"
        kept = Path("/tmp/primary_password")  # the container's own memory
        assert kept.read_text() == "*:*:*:*:" + password.replace("\\", r"\\").replace(":", r"\:") + "\n"
        assert kept.stat().st_mode & 0o77 == 0
        kept.unlink()


_DOCKER = """#!/bin/sh
case "$*" in
    *"ps --services"*) echo postgres redis pgadmin replica encrypted-backup api worker sync grafana_login grafana | tr ' ' '\\n' ;;
    *"ps -q"*) for last; do :; done; echo "id-$last" ;;
    inspect*id-redis | inspect*id-grafana) echo REDIS_PASSWORD=x ;;
    inspect*id-sync) echo POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password ;;
    inspect*) echo POSTGRES_PASSWORD=before ;;
    *psql*) cat >>"$0.sql" ;;
    *force-recreate*) echo "$*" >>"$0.recreated" ;;
esac
"""


def test_a_new_password_recreates_what_uses_it_the_database_first(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").touch()
    docker = tmp_path / "docker"
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "postgres" / "rotate_password.sh")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        input="a-new-password\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PASSWORD 'a-new-password'" in Path(f"{docker}.sql").read_text()
    assert (tmp_path / ".env").read_text() == "POSTGRES_PASSWORD=a-new-password\n"
    calls = [
        line.split("--force-recreate ")[1] for line in Path(f"{docker}.recreated").read_text().splitlines()
    ]
    assert calls == ["postgres", "pgadmin replica encrypted-backup api worker sync grafana_login"]
    assert "a-new-password" not in done.stderr
