"""Backups of the running stack: with the two docker exec commands, through the container, and on a schedule."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.compose_stack import REPOSITORY, ComposeStack, docker, host_environment, wait_until

pytestmark = pytest.mark.docker

BACKUP_LINE = "docker exec barnameh_postgres pg_dump -U barnameh_user barnameh_ops > backup.sql"
RESTORE_LINE = "docker exec -i barnameh_postgres psql -U barnameh_user barnameh_ops < backup.sql"
PAGE = REPOSITORY / "docs" / "backup.md"
COUNTED = (
    "operational_events",
    "resource_metrics",
    "resource_metrics_hourly",
    "tenant.alerts",
    "demand_forecasts",
)
COUNTS = f"SELECT {', '.join(f'(SELECT count(*) FROM {name})' for name in COUNTED)}"


def shell(stack: ComposeStack, line: str) -> subprocess.CompletedProcess[str]:
    """Run a documented command in this stack's container."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line.replace("barnameh_postgres", stack.container("postgres"))],
        cwd=stack.folder,
        env=host_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def db_utils(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "db_utils", *arguments],
        cwd=folder,
        env={**host_environment(), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def counts(stack: ComposeStack) -> list[tuple[int, ...]]:
    return stack.query(COUNTS)


def test_the_two_lines_of_docker_exec(fresh_stack: Callable[..., ComposeStack]) -> None:
    """As documented, from one stack into a fresh one."""
    first = fresh_stack()
    first.up("postgres")
    dumped = shell(first, BACKUP_LINE)
    assert dumped.returncode == 0, dumped.stderr
    before = counts(first)
    text = PAGE.read_text(encoding="utf-8")
    assert BACKUP_LINE in text
    block = re.search(r"<!-- restore with psql -->\n\n```bash\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = block[1].strip().splitlines()
    assert RESTORE_LINE in lines
    second = fresh_stack(SEED_SAMPLE_DATA="false")
    second.up("postgres")
    assert counts(second)[0][0] == 0
    (second.folder / "backup.sql").write_bytes((first.folder / "backup.sql").read_bytes())
    for line in lines:
        done = shell(second, line)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr
    assert counts(second) == before
    assert before[0][0] > 1000
    checked = shell(
        second,
        "docker exec -i barnameh_postgres psql -U barnameh_user barnameh_ops -X -v ON_ERROR_STOP=1 < sql/verify.sql",
    )
    assert checked.returncode == 0, checked.stderr
    wait_until(lambda: second.health("postgres") == "healthy", "the restored database to be healthy")


def test_the_two_lines_alone_never_harm(fresh_stack: Callable[..., ComposeStack]) -> None:
    """Restores in a row, as users try them; into a new, unprepared database; and what must still work."""
    stack = fresh_stack()
    stack.up("postgres")
    assert shell(stack, BACKUP_LINE).returncode == 0
    everything = (
        "SELECT (SELECT count(*) FROM pg_class), (SELECT sum(event_count) FROM operational_events_daily)"
    )
    before = counts(stack), stack.query(everything)
    password = stack.settings.get("POSTGRES_PASSWORD", "barnameh_password")
    outside = (
        f"postgresql://barnameh_user:{password}@127.0.0.1:{stack.settings['POSTGRES_PORT']}/barnameh_ops"
    )
    for line in (RESTORE_LINE, f"psql {outside} -f backup.sql"):
        done = shell(stack, line)
        assert done.returncode == 2
        assert "nothing was changed: database barnameh_ops is not empty" in done.stderr
        assert "restore into a new database" in done.stderr
        assert "COPY" not in done.stdout
        assert (counts(stack), stack.query(everything)) == before
    shell(stack, "docker exec barnameh_postgres createdb -U barnameh_user fresh")
    done = shell(stack, RESTORE_LINE.replace(" barnameh_ops <", " fresh <"))
    assert done.returncode == 2
    assert "nothing was changed: a dump of TimescaleDB is restored between" in done.stderr
    with stack.connection(dbname="fresh") as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        assert cursor.fetchone() == (0,)
    (stack.folder / "own.sql").write_text("CREATE TABLE own ();\nSELECT 1 / 0;\nDROP TABLE own;\n")
    own = shell(stack, RESTORE_LINE.replace("backup.sql", "own.sql"))
    assert own.returncode == 0
    assert own.stdout.splitlines() == ["CREATE TABLE", "DROP TABLE"]
    # db-utils treats a new database as empty.
    done = db_utils(stack.folder, "backup", "--container", stack.container("postgres"), "--out", "made")
    assert done.returncode == 0, done.stderr
    done = db_utils(
        stack.folder,
        "restore",
        "made",
        "--container",
        stack.container("postgres"),
        "--database",
        "fresh",
        "--verify",
    )
    assert done.returncode == 0, done.stderr


def test_through_the_container(stack: ComposeStack, tmp_path: Path) -> None:
    done = db_utils(
        tmp_path,
        "backup",
        "--container",
        stack.container("postgres"),
        "--out",
        str(tmp_path / "made"),
        "--verify",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["is_recorded"] is True
    (recorded,) = stack.query(
        f"SELECT verified_at IS NOT NULL FROM backup_runs WHERE location LIKE '%:{tmp_path}/made'"
    )
    assert recorded == (True,)
    back = ("restore", str(tmp_path / "made"), "--container", stack.container("postgres"), "--verify")
    refused = db_utils(tmp_path, *back)
    assert refused.returncode == 1
    assert "barnameh_ops is not empty" in refused.stderr
    restored = db_utils(tmp_path, *back, "--database", "second", "--create-database")
    assert restored.returncode == 0, restored.stderr
    here = counts(stack)
    with stack.connection(dbname="second") as connection, connection.cursor() as cursor:
        cursor.execute(COUNTS)
        assert cursor.fetchall() == here
    stack.query("DROP DATABASE second WITH (FORCE)")
    assert db_utils(tmp_path, "backup", "--container", "no_such_container", "--out", "x").returncode == 1


def test_on_a_schedule(fresh_stack: Callable[..., ComposeStack], tmp_path: Path) -> None:
    stack = fresh_stack(BACKUP_SCHEDULE="6h", BACKUP_KEEP_COUNT="2", BACKUP_KEEP_DAYS="1")
    stack.compose("--profile", "backup", "up", "-d", "--wait", "postgres", "backup")
    assert stack.health("backup") == "healthy"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return docker("exec", stack.container("backup"), *command)

    def kept() -> list[str]:
        return sorted(run("ls", "/var/lib/postgresql/data").stdout.split())

    (first,) = kept()
    # Rotation removes by age, but never below the count.
    for _ in range(3):
        assert run("sh", "/barnameh/backup.sh", "once").returncode == 0
    assert len(kept()) == 4
    for name in kept():
        run("touch", "-d", "2020-01-01", f"/var/lib/postgresql/data/{name}/manifest.json")
    wait_until(lambda: stack.health("backup") == "unhealthy", "unhealthy with old backups only")
    assert "is older than 26 hours" in stack.health_output("backup")
    assert run("sh", "/barnameh/backup.sh", "once").returncode == 0
    assert first not in kept()
    assert len(kept()) == 2
    wait_until(lambda: stack.health("backup") == "healthy", "healthy with a new one")
    assert stack.query("SELECT count(*) FROM backup_runs") == [(5,)]
    # Its backups can be restored and compared by the command line.
    newest = kept()[-1]
    assert (
        docker(
            "cp", f"{stack.container('backup')}:/var/lib/postgresql/data/{newest}", str(tmp_path)
        ).returncode
        == 0
    )
    done = db_utils(
        tmp_path,
        "restore",
        newest,
        "--container",
        stack.container("postgres"),
        "--database",
        "second",
        "--create-database",
        "--verify",
    )
    assert done.returncode == 0, done.stderr
    assert "every table equal to the original" in done.stdout
    # A failed one leaves no backup, and is reported.
    stack.query("ALTER ROLE barnameh_user PASSWORD 'another one'")
    assert run("sh", "/barnameh/backup.sh", "once").returncode == 1
    assert len(kept()) == 2
    wait_until(lambda: stack.health("backup") == "unhealthy", "unhealthy after a failure")
    assert "failed: docker compose logs backup" in stack.health_output("backup")
