"""The compose file as a user starts it: from empty volumes, again, after a crash, with other credentials."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable

import psycopg2
import pytest
import redis

from db_utils import schema
from tests.e2e.compose_stack import ComposeStack, docker

pytestmark = pytest.mark.docker

SERVICES = ("postgres", "redis", "pgadmin")


def manifest(stack: ComposeStack) -> list[str]:
    text = (stack.folder / "sql" / "schema.sql").read_text(encoding="utf-8")
    return re.findall(r"^\\ir +(\S+)", text, re.MULTILINE)


def test_all_three_are_healthy(stack: ComposeStack) -> None:
    assert {service: stack.health(service) for service in SERVICES} == dict.fromkeys(SERVICES, "healthy")


def test_default_names_are_the_documented_ones(stack: ComposeStack) -> None:
    config = stack.compose("config", COMPOSE_PROJECT_NAME="barnameh").stdout
    assert re.findall(r"container_name: (\S+)", config) == [
        "barnameh_pgadmin",
        "barnameh_postgres",
        "barnameh_redis",
    ]


def test_every_file_of_the_manifest_is_named_as_it_is_applied(stack: ComposeStack) -> None:
    log = stack.logs("postgres")
    assert re.findall(r"barnameh: applying sql/(\S+)", log) == manifest(stack)
    assert "barnameh: first start complete" in log


def test_schema_and_sample_data_are_there(stack: ComposeStack) -> None:
    assert stack.query("SELECT max(version) FROM schema_version") == [(schema.latest_version(),)]
    assert stack.query("SELECT count(*) FROM organizations") == [(2,)]
    assert stack.query("SELECT count(*) > 0 FROM seed_runs") == [(True,)]


def test_a_wrong_password_is_refused_from_outside(stack: ComposeStack) -> None:
    with (
        pytest.raises(psycopg2.OperationalError, match="password authentication failed"),
        stack.connection(password="wrong"),
    ):
        pass


def test_ports_are_published_on_loopback_only(stack: ComposeStack) -> None:
    published = {
        (service, binding["HostIp"])
        for service in SERVICES
        for bindings in stack.inspect(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {(service, "127.0.0.1") for service in SERVICES}


def test_redis_is_a_bounded_cache_without_persistence(stack: ComposeStack) -> None:
    with stack.redis() as client:
        assert client.ping()
        found = {
            name: client.config_get(name)[name]
            for name in ("maxmemory", "maxmemory-policy", "save", "appendonly")
        }
    assert found == {
        "maxmemory": str(256 * 1024**2),
        "maxmemory-policy": "allkeys-lru",
        "save": "",
        "appendonly": "no",
    }


def test_containers_cannot_gain_privileges_and_their_logs_rotate(stack: ComposeStack) -> None:
    for service in SERVICES:
        host = stack.inspect(service)["HostConfig"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["CapDrop"] == ["ALL"]
        assert host["Memory"] > 0
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert docker("exec", stack.container(service), "id", "-u").stdout.strip() != "0"
    assert stack.inspect("postgres")["HostConfig"]["ReadonlyRootfs"]
    assert stack.inspect("redis")["HostConfig"]["ReadonlyRootfs"]


def test_only_named_volumes_are_made(stack: ComposeStack) -> None:
    mounts = [mount for service in SERVICES for mount in stack.inspect(service)["Mounts"]]
    assert {mount["Name"] for mount in mounts if mount["Type"] == "volume"} == {
        f"{stack.project}_postgres_data",
        f"{stack.project}_pgadmin_data",
    }


def test_the_documented_backup_command_writes_the_data(stack: ComposeStack) -> None:
    done = docker("exec", stack.container("postgres"), "pg_dump", "-U", "barnameh_user", "barnameh_ops")
    assert done.returncode == 0, done.stderr
    assert "11111111-1111-1111-1111-111111111111" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1] != ""
    assert "PostgreSQL database dump complete" in done.stdout


def test_a_second_start_keeps_the_data_and_applies_nothing(stack: ComposeStack) -> None:
    stack.query("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    before = stack.query("SELECT count(*), max(time) FROM operational_events")
    stack.down()
    stack.up()
    assert stack.query("SELECT answer FROM kept") == [(42,)]
    assert stack.query("SELECT count(*), max(time) FROM operational_events") == before
    assert "applying" not in stack.logs("postgres")
    stack.query("DROP TABLE kept")


def test_a_crash_of_the_running_server_loses_nothing_committed(stack: ComposeStack) -> None:
    stack.query("CREATE TABLE IF NOT EXISTS survived AS SELECT 42 AS answer")
    assert docker("kill", stack.container("postgres")).returncode == 0
    stack.up()
    assert stack.query("SELECT answer FROM survived") == [(42,)]
    stack.query("DROP TABLE survived")


def test_a_copied_example_file_changes_nothing(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    without = stack.compose("config").stdout
    own = dict(stack.settings)
    shutil.copy(stack.folder / ".env.example", stack.folder / ".env")
    assert stack.compose("config", **own).stdout == without


def test_a_taken_port_is_named_and_nothing_is_half_made(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    port = stack.settings["POSTGRES_PORT"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(port)))
        taken.listen()
        failed = stack.up("postgres", check=False)
    assert failed.returncode != 0
    assert port in failed.stderr
    assert "address already in use" in failed.stderr or "already allocated" in failed.stderr
    stack.up("postgres")
    assert stack.query("SELECT count(*) FROM organizations") == [(2,)]


def test_own_credentials_with_unusual_characters(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack(
        POSTGRES_USER="ops user",
        POSTGRES_DB="ops-2",
        POSTGRES_PASSWORD=r'p:a\ss $HOME "quoted" #é%',
        REDIS_PASSWORD='r $HOME "quoted" #é%',
    )
    stack.up()
    assert stack.query("SELECT current_user, current_database()") == [("ops user", "ops-2")]
    assert stack.query("SELECT count(*) FROM organizations") == [(2,)]
    with stack.redis() as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with stack.redis(password=stack.settings["REDIS_PASSWORD"]) as client:
        assert client.ping()
    processes = (
        docker("top", stack.container("redis")).stdout + docker("top", stack.container("postgres")).stdout
    )
    assert "quoted" not in processes
    # pgAdmin got the same: its passfile, escaped as libpq requires, opens the database.
    storage = "/var/lib/pgadmin/storage/admin_barnameh.local/.pgpass"
    passfile = docker("exec", stack.container("pgadmin"), "cat", storage).stdout
    assert passfile == 'postgres:5432:*:ops user:p\\:a\\\\ss $HOME "quoted" #é%\n'
    opened = docker(
        "exec",
        "-e",
        f"PGPASSFILE={storage}",
        stack.container("pgadmin"),
        "/venv/bin/python3",
        "-c",
        "import psycopg; print(psycopg.connect(host='postgres', user='ops user', dbname='ops-2')"
        ".execute('SELECT 1').fetchone())",
    )
    assert opened.stdout.strip() == "(1,)", opened.stderr


def test_without_sample_data(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack(SEED_SAMPLE_DATA="false")
    stack.up("postgres")
    assert stack.query("SELECT count(*) FROM organizations") == [(0,)]
    assert "no sample data" in stack.logs("postgres")
