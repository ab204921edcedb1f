"""`init`, `migrate`, `verify`, `reset`: from nothing to a schema, from an old one to this one, and from scratch."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from tests.conftest import maintenance
from tests.integration.cli.conftest import ROOT, Run, command, environment
from tests.support.programs import psql
from tests.support.schema_snapshot import columns_of, content_hashes, snapshot

FROZEN = ROOT / "tests" / "fixtures" / "schema_v1"
LATEST = schema.latest_version()
ORGANIZATION = "33333333-3333-3333-3333-333333333333"


@pytest.fixture
def version_1(blank_url: str, blank: DatabaseManager) -> DatabaseManager:
    """The frozen first version, with rows in every table."""
    for script in ("schema.sql", "fill.sql"):
        done = psql(blank_url, "-q", "--single-transaction", "-f", str(FROZEN / script))
        assert done.returncode == 0, done.stderr
    return blank


def one_organization(db: DatabaseManager) -> None:
    db.execute(
        "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%s, 'Kept', 'retail', 'UTC')",
        (ORGANIZATION,),
    )


def sums_of_the_files() -> dict[str, str]:
    """As `sha256sum */*.sql` gives them."""
    return {
        path.relative_to(ROOT / "sql").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOT / "sql").glob("i*/*.sql")
    }


# -- init ---------------------------------------------------------------------------------------------------


def test_init_puts_the_whole_schema_into_an_empty_database(
    blank: DatabaseManager, blank_url: str, run: Run
) -> None:
    planned = run(blank_url, "migrate", "--plan", "--json").json
    assert (planned["kind"], planned["from_version"], planned["to_version"]) == ("init", None, LATEST)
    assert {file["name"] for file in planned["files"]} == set(sums_of_the_files())
    assert {file["change"] for file in planned["files"]} == {"new"}
    assert schema.version(blank) is None

    done = run(blank_url, "init", "--json")
    assert done.code == 0, done.err
    assert done.json["changed"] is True
    assert done.json["schema_version"] == LATEST
    schema.verify(blank)
    assert schema.applied_files(blank) == sums_of_the_files()
    assert run(blank_url, "verify").code == 0


def test_init_again_changes_nothing(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    one_organization(empty_database)
    before = snapshot(empty_database)
    done = run(url, "init")
    assert done.code == 0
    assert "already" in done.out
    assert snapshot(empty_database) == before
    assert len(empty_database.execute_query("SELECT FROM organizations")) == 1


def test_init_leaves_an_older_schema_to_migrate(version_1: DatabaseManager, blank_url: str, run: Run) -> None:
    done = run(blank_url, "init")
    assert done.code == 1
    assert "migrate" in done.err
    assert schema.version(version_1) == 1


@pytest.mark.thorough
def test_init_makes_the_database_where_asked_to(server_url: str, run: Run) -> None:
    name = f"made_by_init_{os.getpid()}"
    url = make_dsn(**{**parse_dsn(server_url), "dbname": name})
    try:
        refused = run(url, "init")
        assert refused.code == 1
        assert name in refused.err
        for changed in (True, False):
            done = run(url, "init", "--create-database", "--json")
            assert done.code == 0, done.err
            assert done.json["changed"] is changed
    finally:
        with maintenance(server_url) as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


# -- migrate ------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_migrate_brings_the_first_version_up_and_loses_no_row(
    version_1: DatabaseManager, blank_url: str, empty_database: DatabaseManager, run: Run
) -> None:
    rows, columns = content_hashes(version_1), columns_of(version_1)
    planned = run(blank_url, "migrate", "--plan", "--json").json
    assert (planned["kind"], planned["from_version"], planned["to_version"]) == ("upgrade", 1, LATEST)
    assert {file["change"] for file in planned["files"]} == {"unknown"}
    assert (schema.version(version_1), content_hashes(version_1)) == (1, rows)

    done = run(blank_url, "migrate", "--json")
    assert done.code == 0, done.err
    assert (done.json["from_version"], done.json["schema_version"]) == (1, LATEST)
    assert snapshot(version_1) == snapshot(empty_database)
    assert content_hashes(version_1, columns) == rows
    assert run(blank_url, "migrate", "--plan", "--json").json["kind"] == "none"


def test_migrate_has_nothing_to_bring_up_in_an_empty_database(
    blank: DatabaseManager, blank_url: str, run: Run
) -> None:
    done = run(blank_url, "migrate")
    assert done.code == 1
    assert "init" in done.err
    assert schema.version(blank) is None


def test_the_plan_names_the_files_that_changed_since(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    empty_database.execute(
        "UPDATE schema_version SET file_checksums = file_checksums - 'idempotent/70_views.sql' "
        """|| '{"idempotent/10_core.sql": "other", "15_gone.sql": "x"}' WHERE version = %s""",
        (LATEST,),
    )
    planned = run(url, "migrate", "--plan", "--json").json
    changes = {file["name"]: file["change"] for file in planned["files"] if file["change"] != "unchanged"}
    assert changes == {"idempotent/10_core.sql": "changed", "idempotent/70_views.sql": "new"}
    assert planned["dropped_files"] == ["15_gone.sql"]
    assert planned["kind"] == "reapply"
    assert "changed" in run(url, "migrate", "--plan").out
    assert run(url, "migrate").code == 0
    assert run(url, "migrate", "--plan", "--json").json["kind"] == "none"


def test_what_psql_applied_is_not_taken_for_known(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    done = psql(url, "-q", "--single-transaction", "-f", str(ROOT / "sql" / "schema.sql"))
    assert done.returncode == 0, done.stderr
    assert schema.applied_files(empty_database) is None
    planned = run(url, "migrate", "--plan", "--json").json
    assert planned["kind"] == "reapply"
    assert {file["change"] for file in planned["files"]} == {"unknown"}


@pytest.mark.thorough
def test_a_newer_schema_is_never_taken_back(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    empty_database.execute(
        "INSERT INTO schema_version (version, description) VALUES (%s, 'later')", (LATEST + 1,)
    )
    before = snapshot(empty_database)
    for arguments in (["init"], ["migrate"], ["reset", "--yes"]):
        done = run(url, *arguments)
        assert done.code == 1
        assert f"version {LATEST + 1}" in done.err
    assert run(url, "migrate", "--plan", "--json").json["kind"] == "newer"
    by_hand = psql(url, "-q", "--single-transaction", "-f", str(ROOT / "sql" / "schema.sql"))
    assert by_hand.returncode != 0
    assert f"version {LATEST + 1}" in by_hand.stderr
    assert snapshot(empty_database) == before


@pytest.mark.slow
def test_a_migration_that_is_killed_leaves_the_old_schema_whole(
    version_1: DatabaseManager, blank_url: str, tmp_path: Path, run: Run
) -> None:
    before, rows = snapshot(version_1), content_hashes(version_1)
    # Another session reads alerts, so that the migration waits in the middle of its files.
    reader = psycopg2.connect(blank_url)
    with reader.cursor() as cursor:
        cursor.execute("LOCK TABLE alerts IN SHARE MODE")
    migration = subprocess.Popen(
        command("migrate"),
        cwd=tmp_path,
        env=environment(DATABASE_URL=blank_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while version_1.execute_query(waiting)[0]["n"] == 0:
        assert migration.poll() is None, migration.communicate()
    migration.send_signal(signal.SIGKILL)
    migration.communicate()
    reader.close()
    gone = (
        "SELECT count(*) AS n FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'db_utils' AND pid <> pg_backend_pid()"
    )
    while version_1.execute_query(gone)[0]["n"]:
        pass
    assert (snapshot(version_1), content_hashes(version_1)) == (before, rows)
    assert run(blank_url, "migrate").code == 0


@pytest.mark.slow
def test_two_migrations_wait_for_each_other(
    version_1: DatabaseManager, blank_url: str, empty_database: DatabaseManager, tmp_path: Path
) -> None:
    both = [
        subprocess.Popen(
            command("migrate"),
            cwd=tmp_path,
            env=environment(DATABASE_URL=blank_url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for migration in both:
        _, err = migration.communicate()
        assert migration.returncode == 0, err
    assert snapshot(version_1) == snapshot(empty_database)


# -- verify -------------------------------------------------------------------------------------------------


def test_verify_names_each_thing_that_is_missing(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    empty_database.execute("DROP VIEW tenant.active_alerts; DROP TRIGGER alerts_announce ON alerts")
    done = run(url, "verify", "--json")
    assert done.code == 1
    assert done.json["ok"] is False
    assert len(done.json["problems"]) == 2
    assert any("tenant.active_alerts" in problem for problem in done.json["problems"])
    assert any("alerts_announce" in problem for problem in done.json["problems"])
    for problem in done.json["problems"]:
        assert problem in run(url, "verify").out


# -- reset --------------------------------------------------------------------------------------------------


def test_reset_without_yes_says_what_would_go_and_changes_nothing(
    seeded_database: DatabaseManager, run: Run
) -> None:
    url = seeded_database.settings.database_url
    before = content_hashes(seeded_database)
    done = run(url, "reset", "--json")
    assert done.code == 2
    lost = {table["name"]: table["rows"] for table in done.json["tables"]}
    assert {name: count for name, (count, _) in before.items()}.items() <= lost.items()
    shown = run(url, "reset")
    assert shown.code == 2
    assert f"{lost['operational_events']:,}" in shown.out
    assert "--yes" in shown.out
    assert content_hashes(seeded_database) == before


def test_reset_gives_the_schema_of_an_empty_database(
    seeded_database: DatabaseManager, empty_database: DatabaseManager, run: Run
) -> None:
    db = seeded_database
    login = f"reset_login_{os.getpid()}"
    db.execute(
        "CALL create_tenant_login('11111111-1111-1111-1111-111111111111', %s, 'a long password 1')", (login,)
    )
    db.execute(
        "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.notes (note text); INSERT INTO elsewhere.notes VALUES ('kept')"
    )
    done = run(db.settings.database_url, "reset", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["removed"]["tenant_logins"] == [login]
    assert snapshot(db) == snapshot(empty_database)
    assert sum(count for count, _ in content_hashes(db).values()) == 0
    assert db.execute_query("SELECT note FROM elsewhere.notes") == [{"note": "kept"}]
    assert db.execute_query("SELECT FROM pg_roles WHERE rolname = %s", (login,)) == []
    schema.verify(db)


def test_reset_leaves_what_is_not_the_schemas(empty_database: DatabaseManager, run: Run) -> None:
    db = empty_database
    db.execute(
        "CREATE TABLE notes (note text); CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)'"
    )
    assert run(db.settings.database_url, "reset", "--yes").code == 0
    assert db.execute_query("SELECT shout('a') AS a, count(*) AS n FROM notes") == [{"a": "A", "n": 0}]


@pytest.mark.thorough
def test_reset_refuses_where_something_else_depends_on_the_schema(
    seeded_database: DatabaseManager, run: Run
) -> None:
    db = seeded_database
    before, rows = snapshot(db), content_hashes(db)
    db.execute("CREATE SCHEMA reports; CREATE VIEW reports.busiest AS SELECT resource_id FROM resources")
    done = run(db.settings.database_url, "reset", "--yes")
    assert done.code == 1
    assert "reports.busiest" in done.err
    assert (snapshot(db), content_hashes(db)) == (before, rows)


def test_a_user_s_mistake_is_one_sentence(run: Run) -> None:
    done = run("postgresql://nobody:secret@127.0.0.1:1/nothing", "migrate")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: cannot connect")
    assert "secret" not in done.err


# -- seed ---------------------------------------------------------------------------------------------------


def test_seed_loads_the_sample_data_once(empty_database: DatabaseManager, run: Run) -> None:
    url = empty_database.settings.database_url
    assert run(url, "seed").code == 0
    rows = content_hashes(empty_database)
    again = run(url, "seed", "--json")
    assert again.code == 0
    assert again.json["rows_added"] == {}
    assert content_hashes(empty_database) == rows


@pytest.mark.thorough
def test_seed_adds_as_much_as_is_asked_for(seeded_database: DatabaseManager, run: Run) -> None:
    db = seeded_database
    before = db.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
    done = run(
        db.settings.database_url,
        "seed",
        "--days",
        "31",
        "--organizations",
        "4",
        "--metric-days",
        "0",
        "--json",
    )
    assert done.code == 0, done.err
    added = done.json["rows_added"]
    assert "resource_metrics" not in added
    assert (
        db.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
        == before + added["operational_events"]
    )
    assert db.execute_query("SELECT count(*) AS n FROM organizations") == [{"n": 4}]


def test_seed_refuses_an_amount_that_cannot_be(seeded_database: DatabaseManager, run: Run) -> None:
    done = run(seeded_database.settings.database_url, "seed", "--days", "0")
    assert done.code == 1
    assert "days is 0" in done.err


@pytest.mark.slow
def test_an_owner_that_is_no_superuser_can_do_all_of_it(server_url: str, run: Run) -> None:
    name = f"plain_owner_{os.getpid()}"
    url = make_dsn(**{**parse_dsn(server_url), "dbname": name, "user": name, "password": "a word"})
    with maintenance(server_url) as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'a word'")
        # Roles belong to the server: its other databases may have created some.
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE rolname IN ('barnameh_tenant', 'barnameh_tenant_login', 'barnameh_readonly')"
        )
        for (shared,) in cursor.fetchall():
            cursor.execute(f"GRANT {shared} TO {name} WITH ADMIN OPTION")
        cursor.execute(f"CREATE DATABASE {name} OWNER {name}")
    try:
        for arguments in (["init"], ["seed"], ["verify"], ["status"], ["reset", "--yes"], ["verify"]):
            done = run(url, *arguments)
            assert done.code == 0, (arguments, done.out, done.err)
    finally:
        with maintenance(server_url) as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cursor.execute(f"DROP ROLE {name}")
