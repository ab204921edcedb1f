"""The image of the services, built from the Dockerfile: the worker that runs due tasks, and encrypted backups."""

from __future__ import annotations

import base64
import json
import os

import pytest

from tests.e2e.compose_stack import ComposeStack, docker, wait_until

pytestmark = pytest.mark.docker

_DUE = """
    INSERT INTO service_schedules (organization_id, task, location_id, run_every)
    SELECT l.organization_id, 'fetch holidays', l.location_id, interval '1 day'
    FROM locations AS l
    WHERE l.metadata ->> 'country' = 'DE'
    RETURNING organization_id, location_id
"""
_COUNTRY = """
    UPDATE locations SET metadata = '{"country": "DE", "subdivision": "BY"}'
    WHERE location_id = (SELECT location_id FROM locations ORDER BY organization_id, location_id LIMIT 1)
"""


def test_the_worker_does_what_is_due_and_ends_in_order(built: ComposeStack) -> None:
    stack = built
    stack.compose("--profile", "services", "up", "-d", "--wait", "postgres", "worker")
    inside = docker("exec", stack.container("worker"), "sh", "-c", "id -u; touch /app/x || echo read-only")
    assert inside.stdout.split() == ["10001", "read-only"]

    stack.query(_COUNTRY)
    [(organization, location)] = stack.query(_DUE)
    wait_until(
        lambda: stack.query("SELECT last_succeeded_at IS NOT NULL FROM service_schedules") == [(True,)],
        "the worker to fetch holidays",
    )
    assert stack.query("SELECT last_error FROM service_schedules") == [(None,)]
    # Christmas Day is a holiday there, and days from the 27th on are not, in the location's local time.
    assert stack.query(
        "SELECT count(*) > 0, bool_and(f.value = (to_char(f.time AT TIME ZONE l.timezone, 'MM-DD') = '12-25')::integer) "
        "FROM external_factors AS f JOIN locations AS l USING (organization_id, location_id) "
        f"WHERE f.name = 'public_holiday' AND organization_id = '{organization}' AND location_id = '{location}' "
        "AND to_char(f.time AT TIME ZONE l.timezone, 'MM-DD') IN ('12-25', '12-27', '12-28', '12-29')"
    ) == [(True, True)]
    told = docker("exec", stack.container("worker"), "barnameh", "schedules", "--json")
    assert [row["task"] for row in json.loads(told.stdout)] == ["fetch holidays"]

    stack.compose("--profile", "services", "stop", "--timeout", "20", "worker")
    state = stack.inspect("worker")["State"]
    # A kill after the timeout would give 137.
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert "Traceback" not in stack.logs("worker")


def test_encrypted_backups_are_made_on_a_schedule_and_restore(built: ComposeStack) -> None:
    stack = built
    stack.up("postgres")
    if stack.query("SELECT current_setting('server_version_num')::integer / 10000")[0][0] > 16:
        pytest.skip("not tested here: the image's pg_dump is that of PostgreSQL 16, and the server is newer")
    start = ("--profile", "encrypted-backup", "up", "-d", "--wait", "encrypted-backup")
    assert stack.compose(*start, check=False).returncode != 0
    assert "BACKUP_KEY" in stack.logs("encrypted_backup")

    stack.write_env(BACKUP_KEY=base64.b64encode(os.urandom(32)).decode(), BACKUP_SCHEDULE="6h")
    stack.compose(*start)
    assert stack.health("encrypted_backup") == "healthy"

    def run(*command: str) -> str:
        done = docker("exec", stack.container("encrypted_backup"), *command, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (name,) = run("ls", "/backups").split()
    assert run("ls", f"/backups/{name}").split() == ["database.dump.age", "manifest.json", "roles.json.age"]
    assert run("head", "-c", "21", f"/backups/{name}/database.dump.age") == "age-encryption.org/v1"
    password = stack.settings.get("POSTGRES_PASSWORD", "barnameh_password")
    second = f"postgresql://barnameh_user:{password}@postgres/second"
    told = run("db-utils", "restore", f"/backups/{name}", "--url", second, "--create-database", "--verify")
    assert "every table equal to the original" in told
