"""With any settings of database or role, the schema can be applied, seeded, verified, backed up and restored."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.ops.backup import UrlEndpoint, backup, restore
from tests.conftest import fresh_database, maintenance
from tests.support.programs import psql
from tests.support.schema_snapshot import snapshot

ROOT = Path(__file__).parents[3]
ODD = {
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "search_path": "odd, pg_temp, public",
    "escape_string_warning": "off",
}


@pytest.mark.slow
def test_odd_settings_of_the_database(server_url: str, schema_template: str, tmp_path: Path) -> None:
    with (
        fresh_database(server_url, schema_template) as usual,
        fresh_database(server_url) as url,
        fresh_database(server_url) as by_psql,
        fresh_database(server_url) as target,
    ):
        with DatabaseManager(usual) as db:
            expected = snapshot(db)
        for odd in (url, by_psql, target):
            name = parse_dsn(odd)["dbname"]
            with maintenance(server_url) as cursor:
                for setting, value in ODD.items():
                    cursor.execute(f'ALTER DATABASE "{name}" SET {setting} = {value}')
        for odd in (url, by_psql):
            assert psql(odd, "-c", "CREATE SCHEMA odd").returncode == 0
        with DatabaseManager(url) as db:
            schema.apply(db)
            schema.seed(db)
            assert schema.problems(db) == []
            schema.apply(db)
            made = backup(UrlEndpoint(db.settings), tmp_path / "made")
        for file in ("schema.sql", "schema.sql", "verify.sql"):
            done = psql(by_psql, "-q", "--single-transaction", "-f", str(ROOT / "sql" / file))
            assert done.returncode == 0, done.stderr
        for odd in (url, by_psql):
            assert psql(odd, "-q", "-f", str(ROOT / "sql" / "verify.sql")).returncode == 0
            assert psql(odd, "-c", "DROP SCHEMA odd").returncode == 0
        for odd in (url, by_psql):
            name = parse_dsn(odd)["dbname"]
            with maintenance(server_url) as cursor:
                cursor.execute(f'ALTER DATABASE "{name}" RESET ALL')
            with DatabaseManager(odd) as db:
                assert snapshot(db) == expected
        with DatabaseManager(target) as db:
            restore(UrlEndpoint(db.settings), made.folder, compare=True)
