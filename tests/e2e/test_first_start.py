"""A failing first start: the database never looks healthy, and the log says why and what to do."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest

from tests.e2e.compose_stack import ComposeStack, docker, wait_until

pytestmark = pytest.mark.docker

WHAT_TO_DO = ("docker compose down -v", "docker compose up -d --wait")


def add_to_manifest(stack: ComposeStack, name: str, sql: str) -> None:
    (stack.folder / "sql" / name).write_text(sql, encoding="utf-8")
    with (stack.folder / "sql" / "schema.sql").open("a", encoding="utf-8") as schema:
        schema.write(f"\\ir {name}\n")


def assert_refused(stack: ComposeStack) -> None:
    """Another `up` fails, serves nothing, and both the log and the health check say what to do."""
    failed = stack.up("postgres", check=False)
    assert failed.returncode != 0
    assert "unhealthy" in failed.stderr
    assert stack.health("postgres") == "unhealthy"
    with pytest.raises(psycopg2.OperationalError), stack.connection():
        pass
    for text in (stack.logs("postgres"), stack.health_output("postgres")):
        assert "THE FIRST START OF THIS DATABASE DID NOT FINISH" in text
        assert all(command in text for command in WHAT_TO_DO)


def test_killed_in_the_middle(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    manifest = (stack.folder / "sql" / "schema.sql").read_text(encoding="utf-8")
    add_to_manifest(stack, "98_slow.sql", "SELECT pg_sleep(600);\n")
    stack.compose("up", "-d", "postgres")
    wait_until(lambda: "applying sql/98_slow.sql" in stack.logs("postgres"), "the slow file of the schema")
    assert stack.health("postgres") == "starting"
    assert docker("kill", stack.container("postgres")).returncode == 0

    assert_refused(stack)
    stack.compose("restart", "--timeout", "10", "postgres")
    assert_refused(stack)

    (stack.folder / "sql" / "schema.sql").write_text(manifest, encoding="utf-8")
    stack.down(volumes=True)
    stack.up("postgres")
    assert stack.query("SELECT count(*) FROM organizations") == [(2,)]


@pytest.mark.parametrize(
    ("file", "step"),
    [
        ("sql/98_wrong.sql", "schema (sql/schema.sql)"),
        ("seeds/seed_data.sql", "sample data (seeds/seed_data.sql)"),
        ("sql/verify.sql", "check (sql/verify.sql)"),
    ],
)
def test_an_error_names_file_line_and_remedy(
    fresh_stack: Callable[..., ComposeStack], file: str, step: str
) -> None:
    stack = fresh_stack()
    if step.startswith("schema"):
        add_to_manifest(stack, "98_wrong.sql", "")
    (stack.folder / file).write_text("SELECT 1;\n\nSELECT nosuchcolumn;\n", encoding="utf-8")
    failed = stack.up("postgres", check=False)
    assert failed.returncode != 0
    log = stack.logs("postgres")
    assert f'psql:/barnameh/{file}:3: ERROR:  column "nosuchcolumn" does not exist' in log
    assert f"FIRST START FAILED in this step: {step}." in log
    assert all(command in log for command in WHAT_TO_DO)
    assert "first start complete" not in log
    assert_refused(stack)


def test_a_missing_file_is_named(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    with (stack.folder / "sql" / "schema.sql").open("a", encoding="utf-8") as schema:
        schema.write("\\ir 98_gone.sql\n")
    assert stack.up("postgres", check=False).returncode != 0
    assert "98_gone.sql: No such file" in stack.logs("postgres")


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("SEED_SAMPLE_DATA", "maybe", "SEED_SAMPLE_DATA is 'maybe'. Set it to true or false"),
        ("POSTGRES_DB", "host=elsewhere", "POSTGRES_DB is 'host=elsewhere'. Choose a name without '='"),
    ],
)
def test_a_bad_setting_is_named_before_anything_is_made(
    fresh_stack: Callable[..., ComposeStack], setting: str, value: str, expected: str
) -> None:
    stack = fresh_stack(**{setting: value})
    assert stack.up("postgres", check=False).returncode != 0
    assert expected in stack.logs("postgres")
    assert expected in stack.health_output("postgres")
    good = {"SEED_SAMPLE_DATA": "false", "POSTGRES_DB": "ops"}
    stack.write_env(**good)
    stack.up("postgres")
    assert stack.query("SELECT current_database()") == [("ops",)]


def test_a_file_that_the_container_cannot_read_is_named(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    (stack.folder / "sql" / "schema.sql").chmod(0o600)
    assert stack.up("postgres", check=False).returncode != 0
    assert "The container cannot read /barnameh/sql/schema.sql" in stack.logs("postgres")
    (stack.folder / "sql" / "schema.sql").chmod(0o644)
    stack.compose("up", "-d", "--wait", "--force-recreate", "postgres")
    assert stack.query("SELECT count(*) FROM organizations") == [(2,)]
