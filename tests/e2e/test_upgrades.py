"""A new password reaches the database and all its users; the documented command updates the extension."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import psycopg2
import pytest

from tests.e2e.compose_stack import REPOSITORY, ComposeStack, docker, host_environment, wait_until

pytestmark = pytest.mark.docker

UPDATE_LINE = "docker exec barnameh_postgres psql -X -U barnameh_user barnameh_ops -c 'ALTER EXTENSION timescaledb UPDATE'"


def rotate(stack: ComposeStack, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "postgres/rotate_password.sh"],
        cwd=stack.folder,
        env=host_environment(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_password_is_the_only_one(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack(SEED_SAMPLE_DATA="false")
    stack.compose("--profile", "backup", "up", "-d", "--wait", "postgres", "backup")
    for refused in ("short\n", "has a space in it\n", "quote'quote'quote\n"):
        done = rotate(stack, refused)
        assert done.returncode == 1
        assert refused.strip() not in done.stderr
    stack.query("SELECT 1")
    new = "a-new-password_2"
    done = rotate(stack, f"{new}\n")
    assert done.returncode == 0, done.stderr
    assert new not in done.stderr + done.stdout + stack.logs("postgres")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        stack.query("SELECT 1")
    with stack.connection(password=new):
        pass
    assert stack.health("postgres") == "healthy"
    assert docker("exec", stack.container("backup"), "sh", "/barnameh/backup.sh", "once").returncode == 0
    # It is kept after the containers are removed, because .env has it.
    stack.down()
    stack.up("postgres")
    with stack.connection(password=new):
        pass
    random = rotate(stack, "")
    assert random.returncode == 0, random.stderr
    with (
        pytest.raises(psycopg2.OperationalError, match="password authentication failed"),
        stack.connection(password=new),
    ):
        pass


def test_a_new_password_reaches_whatever_runs(built: ComposeStack) -> None:
    stack = built
    running = ("postgres", "redis", "replica", "api", "worker", "grafana_login")
    stack.compose("--profile", "*", "up", "-d", "--wait", *running)
    kept = {name: stack.inspect(name)["Id"] for name in running}
    stack.settings["POSTGRES_PASSWORD"] = new = "p-for-everything_3"
    done = rotate(stack, f"{new}\n")
    assert done.returncode == 0, done.stderr
    assert {name for name in running if stack.inspect(name)["Id"] == kept[name]} == {"redis"}
    assert {stack.health(name) for name in running} == {"healthy"}
    assert docker("exec", stack.container("worker"), "barnameh", "schedules", "--json").returncode == 0
    # The standby logs in again without another base backup.
    wait_until(
        lambda: stack.query("SELECT state FROM pg_stat_replication") == [("streaming",)],
        "the replica to follow",
    )
    assert "the copy is complete" not in stack.logs("replica")


def test_the_extensions_update_is_the_first_statement_of_its_session(stack: ComposeStack) -> None:
    assert UPDATE_LINE in (REPOSITORY / "docs" / "upgrades.md").read_text(encoding="utf-8")
    line = UPDATE_LINE.replace("barnameh_postgres", stack.container("postgres"))
    done = subprocess.run(
        ["sh", "-c", line], env=host_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ALTER EXTENSION"
