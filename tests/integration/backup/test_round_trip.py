"""The restored database equals the original: rows, schema, rights, jobs, logins."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.embedded.installation import wheel_install
from db_utils.embedded.server import EmbeddedServer
from tests.conftest import maintenance
from tests.integration.backup.conftest import MakeBackup
from tests.integration.cli.conftest import Run
from tests.support.scale import compress_old_chunks
from tests.support.schema_snapshot import content_hashes, snapshot
from tests.support.servers import own_server

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
LEFT_OVER = "SELECT datname FROM pg_database WHERE datname LIKE '%_restoring_%'"


def jobs(db: DatabaseManager) -> list[dict[str, object]]:
    if schema.edition(db) != "community":
        return []
    return db.execute_query(
        "SELECT proc_name, schedule_interval, scheduled, hypertable_name FROM timescaledb_information.jobs "
        "WHERE job_id >= 1000 ORDER BY 1, 4"
    )


def test_everything_comes_back(
    seeded_database: DatabaseManager, blank: DatabaseManager, make_backup: MakeBackup, run: Run
) -> None:
    db = seeded_database
    compress_old_chunks(db)
    folder = make_backup(db)
    done = run(blank.settings.database_url, "restore", str(folder), "--verify", "--json")
    assert done.code == 0, done.err
    assert done.json["is_compared"] is True
    with DatabaseManager(blank.settings.database_url) as restored:
        assert snapshot(restored) == snapshot(db)
        assert content_hashes(restored) == content_hashes(db)
        assert jobs(restored) == jobs(db)
        schema.verify(restored)
        with restored.tenant(ORGANIZATION) as scope:
            seen = scope.execute_query("SELECT DISTINCT organization_id::text AS id FROM resources")
            scope.execute(
                "INSERT INTO alerts (organization_id, title, severity, alert_type) VALUES (%s, 't', 'low', 'x')",
                (ORGANIZATION,),
            )
        assert seen == [{"id": ORGANIZATION}]
        schema.refresh_rollups(restored)
        schema.apply(restored)
        assert snapshot(restored) == snapshot(db)


@pytest.mark.thorough
def test_the_manifest_tells_versions_rows_and_checksums(
    seeded_database: DatabaseManager, make_backup: MakeBackup
) -> None:
    db = seeded_database
    folder = make_backup(db)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("dump", "roles"):
        content = (folder / manifest[name]["file"]).read_bytes()
        assert manifest[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert manifest[name]["size_bytes"] == len(content)
        assert (folder / manifest[name]["file"]).stat().st_mode & 0o077 == 0
    assert manifest["database"]["edition"] == schema.edition(db)
    assert manifest["database"]["schema_version"] == schema.latest_version()
    assert manifest["database"]["postgresql"] == db.execute_query("SHOW server_version")[0]["server_version"]
    rows = {table["table"]: table["rows"] for table in manifest["tables"]}
    for name, (count, _) in content_hashes(db).items():
        assert rows[f"public.{name}"] == count
    assert sorted(path.name for path in folder.iterdir()) == ["database.dump", "manifest.json", "roles.json"]


@pytest.mark.thorough
def test_verify_restores_compares_and_writes_it_down(
    seeded_database: DatabaseManager, run: Run, tmp_path: Path
) -> None:
    db = seeded_database
    done = run(db.settings.database_url, "backup", "--out", str(tmp_path / "new"), "--verify")
    assert done.code == 0, done.err
    assert re.search(r"every table equals the original, in \d+\.\d s", done.out)
    (row,) = db.execute_query("SELECT * FROM backup_runs")
    assert row["started_at"] <= row["finished_at"] <= row["verified_at"]
    assert row["verification_seconds"] > 0
    assert row["location"].endswith(str(tmp_path / "new"))
    assert row["size_bytes"] == (tmp_path / "new" / "database.dump").stat().st_size
    assert db.execute_query(LEFT_OVER) == []


@pytest.mark.slow
def test_verify_finds_a_row_that_is_not_what_it_was(
    seeded_database: DatabaseManager, blank: DatabaseManager, make_backup: MakeBackup, run: Run
) -> None:
    """The manifest of one state with the dump of another: one value of one row differs."""
    first = make_backup(seeded_database)
    seeded_database.execute(
        "UPDATE resources SET name = name || '!' "
        "WHERE resource_id = (SELECT min(resource_id::text)::uuid FROM resources)"
    )
    second = make_backup(seeded_database)
    manifest = json.loads((first / "manifest.json").read_text())
    manifest["dump"] = json.loads((second / "manifest.json").read_text())["dump"]
    (first / "manifest.json").write_text(json.dumps(manifest))
    (first / "database.dump").write_bytes((second / "database.dump").read_bytes())
    done = run(blank.settings.database_url, "restore", str(first), "--verify")
    assert done.code == 1
    assert "public.resources has its 8 rows, but some with other contents" in done.err
    assert (
        blank.execute_query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    )
    assert blank.execute_query(LEFT_OVER) == []


@pytest.mark.slow
def test_while_four_write(
    seeded_database: DatabaseManager, blank: DatabaseManager, make_backup: MakeBackup, run: Run
) -> None:
    db, enough = seeded_database, threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with DatabaseManager(db.settings.database_url) as own:
                count = 0
                while not enough.is_set():
                    own.execute(
                        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
                        "SELECT organization_id, now() - %s * interval '1 hour' - %s * interval '1 second', %s, location_id, 1 "
                        "FROM locations LIMIT 1",
                        (count, number, f"P-{number}"),
                    )
                    own.execute(
                        "UPDATE resources SET status = 'idle' WHERE resource_id = (SELECT max(resource_id::text)::uuid FROM resources)"
                    )
                    count += 1
        except BaseException as error:
            failures.append(error)

    before = db.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        while db.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"] < before + 40:
            pass
        folder = make_backup(db)
    finally:
        enough.set()
        for writer in writers:
            writer.join()
    assert failures == []
    rows = {t["table"]: t["rows"] for t in json.loads((folder / "manifest.json").read_text())["tables"]}
    after = db.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"]
    assert before + 40 <= rows["public.demand_history"] < after
    done = run(blank.settings.database_url, "restore", str(folder), "--verify")
    assert done.code == 0, done.err
    with DatabaseManager(blank.settings.database_url) as restored:
        assert (
            restored.execute_query("SELECT count(*) AS n FROM demand_history")[0]["n"]
            == rows["public.demand_history"]
        )


@pytest.mark.slow
def test_a_new_server_gets_the_tenants_logins(make_backup: MakeBackup, run: Run) -> None:
    """Between two private servers, because the one under test may have a later major version."""
    login = f"bi_{os.getpid()}"
    with own_server() as old, own_server() as server, DatabaseManager(old.url) as db:
        schema.apply(db)
        schema.seed(db)
        db.execute("CALL create_tenant_login(%s, %s, 'a long password 1')", (ORGANIZATION, login))
        folder = make_backup(db)
        url = server.url.replace("/barnameh_ops", "/moved")
        done = run(url, "restore", str(folder), "--create-database", "--verify", "--json")
        assert done.code == 0, done.err
        assert set(done.json["roles"]["made"]) == {
            login,
            "barnameh_readonly",
            "barnameh_tenant",
            "barnameh_tenant_login",
        }
        assert done.json["roles"]["without_password"] == []
        with DatabaseManager(url) as moved:
            assert snapshot(moved) == snapshot(db)
            everybody = moved.execute_query("SELECT count(*) AS n FROM resources")[0]["n"]
        customer = psycopg2.connect(
            host="127.0.0.1", port=server.port, dbname="moved", user=login, password="a long password 1"
        )
        with customer.cursor() as cursor:
            cursor.execute(
                "SELECT count(*), min(organization_id::text), max(organization_id::text) FROM resources"
            )
            own, *organizations = cursor.fetchone()
        customer.close()
        assert 0 < own < everybody
        assert organizations == [ORGANIZATION, ORGANIZATION]


@pytest.mark.slow
def test_what_belongs_to_the_database_stays(
    seeded_database: DatabaseManager, blank: DatabaseManager, make_backup: MakeBackup, run: Run
) -> None:
    """Settings and connect rights are not stored inside the database, and an empty one may have them already."""
    folder = make_backup(seeded_database)
    name = parse_dsn(blank.settings.database_url)["dbname"]
    blank.execute(
        f'ALTER DATABASE "{name}" SET work_mem = \'7MB\'; REVOKE ALL ON DATABASE "{name}" FROM PUBLIC; '
        f'GRANT CONNECT ON DATABASE "{name}" TO barnameh_readonly'
    )
    facts = (
        "SELECT pg_get_userbyid(datdba) AS owner, datacl::text AS acl, datcollate, datctype, datallowconn "
        "FROM pg_database WHERE datname = %s"
    )
    before = blank.execute_query(facts, (name,))
    assert run(blank.settings.database_url, "restore", str(folder)).code == 0
    with DatabaseManager(blank.settings.database_url) as restored:
        assert restored.execute_query("SHOW work_mem") == [{"work_mem": "7MB"}]
        assert restored.execute_query(facts, (name,)) == before


@pytest.mark.slow
@pytest.mark.parametrize("encrypted", [False, True])
def test_from_postgresql_16_to_18(run: Run, tmp_path: Path, key_file: Path, encrypted: bool) -> None:
    """A major upgrade by dump and restore, on plain PostgreSQL."""
    with (
        EmbeddedServer.start(install_dir=wheel_install()) as old,
        EmbeddedServer.start(install_dir=wheel_install().with_name("pginstall18")) as new,
    ):
        key = ["--key-file", str(key_file)] if encrypted else []
        with DatabaseManager(old.url) as db:
            schema.apply(db)
            schema.seed(db)
            done = run(old.url, "backup", "--out", str(tmp_path / "upgrade"), *key)
            assert done.code == 0, done.err
            done = run(new.url, "restore", str(tmp_path / "upgrade"), "--verify", *key)
            assert done.code == 0, done.err
            with DatabaseManager(new.url) as upgraded:
                assert upgraded.execute_query("SHOW server_version_num")[0]["server_version_num"].startswith(
                    "18"
                )
                schema.verify(upgraded)
                assert content_hashes(upgraded) == content_hashes(db)
        done = run(
            old.url.replace("/barnameh_ops", "/back"),
            "restore",
            str(tmp_path / "upgrade"),
            "--create-database",
            *key,
        )
        assert done.code == 0, done.err
        assert run(new.url, "backup", "--out", str(tmp_path / "newer"), *key).code == 0
        done = run(
            old.url.replace("/barnameh_ops", "/older"),
            "restore",
            str(tmp_path / "newer"),
            "--create-database",
            *key,
        )
        assert done.code == 1
        assert "restore it into 18 or later" in done.err


@pytest.mark.slow
def test_several_connections(
    seeded_database: DatabaseManager,
    blank: DatabaseManager,
    make_backup: MakeBackup,
    run: Run,
    key_file: Path,
) -> None:
    folder = make_backup(seeded_database)
    done = run(blank.settings.database_url, "restore", str(folder), "--jobs", "2", "--verify")
    if schema.edition(seeded_database) == "plain":
        assert done.code == 0, done.err
        with DatabaseManager(blank.settings.database_url) as restored:
            assert content_hashes(restored) == content_hashes(seeded_database)
    else:
        assert done.code == 1
        assert "TimescaleDB's catalog can only be restored in order" in done.err
    sealed = make_backup(seeded_database, "--key-file", str(key_file))
    done = run(
        blank.settings.database_url, "restore", str(sealed), "--jobs", "2", "--key-file", str(key_file)
    )
    assert done.code == 1
    assert "jobs must be 1" in done.err


@pytest.mark.slow
def test_as_managed_services_have_it(run: Run, tmp_path: Path) -> None:
    """The database's owner is not a superuser there, but may create databases and roles."""
    with (
        EmbeddedServer.start(install_dir=wheel_install()) as old,
        EmbeddedServer.start(install_dir=wheel_install()) as new,
    ):
        for server in (old, new):
            with maintenance(server.url) as cursor:
                cursor.execute("CREATE ROLE app LOGIN CREATEDB CREATEROLE")
                cursor.execute("CREATE DATABASE app OWNER app")
        here, there = (
            server.url.replace("barnameh_user@", "app@").replace("/barnameh_ops", "/app")
            for server in (old, new)
        )
        with DatabaseManager(here) as db:
            schema.apply(db)
            schema.seed(db)
            db.execute("CALL create_tenant_login(%s, 'acme_bi', 'a long password 1')", (ORGANIZATION,))
            done = run(here, "backup", "--out", str(tmp_path / "managed"), "--verify")
            assert done.code == 0, done.err
            done = run(there, "restore", str(tmp_path / "managed"), "--verify", "--json")
            assert done.code == 0, done.err
            assert done.json["roles"]["without_password"] == ["acme_bi"]
            with DatabaseManager(there) as restored:
                schema.verify(restored)
                assert content_hashes(restored) == content_hashes(db)
                with restored.tenant(ORGANIZATION) as scope:
                    assert scope.execute_query("SELECT count(DISTINCT organization_id) AS n FROM alerts") == [
                        {"n": 1}
                    ]
