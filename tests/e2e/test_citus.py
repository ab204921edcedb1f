"""docker-compose.citus.yml: one command starts a database of three servers, which applications and tenants can use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from psycopg2.extensions import make_dsn

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.errors import AuthenticationFailedError
from db_utils.ops import cluster
from tests import conftest
from tests.e2e.compose_stack import REPOSITORY, docker, free_ports, host_environment
from tests.support.query_calls import MANUFACTURING

pytestmark = [pytest.mark.slow, pytest.mark.docker]
_FILE = REPOSITORY / "docker-compose.citus.yml"
_COMPOSE = ("compose", "--env-file", os.devnull, "-f", str(_FILE))


_PROJECT = ("-p", f"barnameh-citus-e2e-{os.getpid()}")


def _start(port: int, *profile: str, **environment: str) -> None:
    up = subprocess.run(
        ["docker", *_COMPOSE, *_PROJECT, *profile, "up", "-d", "--wait"],
        env={**host_environment(), "CITUS_PORT": str(port), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert up.returncode == 0, up.stderr[-2000:]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The coordinator's manager, of a stack started from empty volumes."""
    for image in sorted(set(docker(*_COMPOSE, "config", "--images").stdout.split())):
        if docker("image", "inspect", image).returncode != 0:
            pytest.skip(f"not tested here: image {image} is not here")
    (found,) = free_ports(1)
    try:
        _start(found)
        yield found
    finally:
        docker(*_COMPOSE, *_PROJECT, "--profile", "worker3", "down", "-v", "--timeout", "1")


def _url(port: int, password: str = "barnameh_password") -> str:
    return make_dsn(
        host="127.0.0.1", port=port, user="barnameh_user", password=password, dbname="barnameh_ops"
    )


def test_one_command_makes_one_database(port: int) -> None:
    with DatabaseManager(_url(port)) as db:
        conftest.tested("citus (compose stack)")
        assert schema.edition(db) == "citus"
        assert schema.problems(db) == []
        assert db.health().dead_workers == ()
        assert [node.role for node in cluster.status(db)] == ["coordinator", "worker", "worker"]
        as_owner = OperationalDataQueries(db).get_resources(MANUFACTURING)
        as_tenant = OperationalDataQueries(db.tenant(MANUFACTURING)).get_resources(MANUFACTURING)
        assert len(as_owner) > 1
        assert as_tenant == as_owner


def test_nobody_comes_in_without_the_password(port: int) -> None:
    with DatabaseManager(_url(port, "another")) as db, pytest.raises(AuthenticationFailedError):
        db.execute_query("SELECT 1")


def test_one_command_adds_a_third_worker(port: int) -> None:
    """Which first makes its data directory, while the keeper already wants it."""
    _start(port, "--profile", "worker3", CITUS_WORKERS="worker1 worker2 worker3")
    with DatabaseManager(_url(port)) as db:
        assert [(node.node, node.answers) for node in cluster.status(db)] == [
            (f"{name}:5432", True) for name in ("coordinator", "worker1", "worker2", "worker3")
        ]
        assert cluster.rebalance(db, dry_run=True), "the keeper adds it; rows move when the operator says so"
        assert schema.problems(db) == []
