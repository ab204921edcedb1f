"""The database's identity: data kept outside of it, such as a cache, must not outlive a restore."""

from __future__ import annotations

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from tests.conftest import maintenance
from tests.integration.backup.conftest import MakeBackup
from tests.integration.cli.conftest import Run

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
IDENTITY = "SELECT database_id FROM public.database_identity"


def identity(db: DatabaseManager) -> str:
    (row,) = db.execute_query(IDENTITY)
    return str(row["database_id"])


def test_it_lasts_as_long_as_the_database(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    before = identity(db)
    schema.apply(db)
    db.close()
    with DatabaseManager(db.settings.database_url) as again:
        assert identity(again) == before
        with again.tenant(ORGANIZATION) as scope:
            (row,) = scope.execute_query("SELECT database_id()")
        assert str(row["database_id"]) == before
        schema.reset(again)
        assert identity(again) != before


@pytest.mark.slow
def test_a_restored_database_is_another_one(
    server_url: str,
    seeded_database: DatabaseManager,
    blank: DatabaseManager,
    make_backup: MakeBackup,
    run: Run,
) -> None:
    """A restore next to the original, one in its place, and a copy made without our commands."""
    original = identity(seeded_database)
    folder = make_backup(seeded_database)
    assert run(blank.settings.database_url, "restore", str(folder)).code == 0
    with DatabaseManager(blank.settings.database_url) as restored:
        beside = identity(restored)
    url = seeded_database.settings.database_url
    name = parse_dsn(url)["dbname"]
    seeded_database.close()
    with maintenance(server_url) as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_damaged"')
    try:
        done = run(url, "restore", str(folder), "--create-database")
        assert done.code == 0, done.err
        with DatabaseManager(url) as restored:
            in_its_place = identity(restored)
        with DatabaseManager(make_dsn(url, dbname=f"{name}_damaged")) as renamed:
            assert identity(renamed) == original
        with maintenance(server_url) as cursor:
            # TimescaleDB's scheduler would be another session.
            cursor.execute(f'ALTER DATABASE "{name}_damaged" ALLOW_CONNECTIONS false')
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
                (f"{name}_damaged",),
            )
            cursor.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}_damaged"')
        with DatabaseManager(make_dsn(url, dbname=f"{name}_copy")) as copied:
            copy = identity(copied)
    finally:
        with maintenance(server_url) as cursor:
            for other in (f"{name}_damaged", f"{name}_copy"):
                cursor.execute(f'DROP DATABASE IF EXISTS "{other}" WITH (FORCE)')
    assert len({original, beside, in_its_place, copy}) == 4
