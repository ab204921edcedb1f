"""db_utils.schema:

applies, seeds and verifies; names file and line of failures; all or nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db_utils import DatabaseManager, errors, schema
from db_utils.schema import source
from tests.conftest import fresh_database
from tests.support.schema_snapshot import snapshot


@pytest.fixture
def blank(server_url: str) -> Iterator[DatabaseManager]:
    """An empty database."""
    with fresh_database(server_url) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the schema's files that a test may break."""
    for name in ("sql", "seeds"):
        shutil.copytree(schema.folder(name), tmp_path / name)
    monkeypatch.setattr(source, "folder", lambda name: tmp_path / name)
    return tmp_path


def test_the_files_are_those_of_the_manifest_and_all_that_are_there() -> None:
    names = [file.name for file in schema.files()]
    sql = schema.folder("sql")
    for folder in ("idempotent", "incremental"):
        assert [name for name in names if name.startswith(folder)] == sorted(
            path.relative_to(sql).as_posix() for path in (sql / folder).iterdir()
        )


def test_applied_twice_and_by_two_at_once_it_is_one_schema(
    blank: DatabaseManager, empty_database: DatabaseManager
) -> None:
    assert schema.version(blank) is None
    with pytest.raises(errors.SchemaError, match="apply"):
        schema.edition(blank)
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda _: schema.apply(blank), range(2)))
    assert schema.edition(blank) in ("community", "apache", "plain")
    assert schema.version(blank) is not None
    assert snapshot(blank) == snapshot(empty_database)
    assert not schema.is_seeded(blank)
    assert blank.pool_stats().in_use == 0


def test_a_file_that_fails_is_named_with_its_line_and_nothing_is_kept(
    blank: DatabaseManager, own_files: Path
) -> None:
    spoiled = own_files / "sql" / "idempotent" / "20_planning.sql"
    spoiled.write_text(
        f"{spoiled.read_text(encoding='utf-8')}\n\nSELECT nothing_of_this_name;\n", encoding="utf-8"
    )
    line = spoiled.read_text(encoding="utf-8").count("\n")
    with pytest.raises(
        errors.SchemaError, match=rf"20_planning\.sql:{line}: .*nothing_of_this_name"
    ) as caught:
        schema.apply(blank)
    assert caught.value.sqlstate == "42703"
    assert schema.version(blank) is None
    assert blank.execute_query("SELECT to_regclass('public.organizations') AS relation") == [
        {"relation": None}
    ]


def test_a_seed_that_fails_is_named_and_keeps_nothing(
    empty_database: DatabaseManager, own_files: Path
) -> None:
    (own_files / "seeds" / "seed_data.sql").write_text(
        "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES "
        "(gen_random_uuid(), 'x', 'manufacturing', 'UTC');\nSELECT 1 / 0;\n",
        encoding="utf-8",
    )
    with pytest.raises(errors.SchemaError, match=r"seed_data\.sql: division by zero"):
        schema.seed(empty_database)
    assert empty_database.execute_query("SELECT count(*) AS n FROM organizations") == [{"n": 0}]


def test_a_fingerprint_changes_with_any_file(own_files: Path) -> None:
    before = schema.checksum()
    path = own_files / "sql" / "idempotent" / "99_version.sql"
    path.write_text(f"{path.read_text(encoding='utf-8')} ", encoding="utf-8")
    assert schema.checksum() != before


def test_an_installation_without_the_files_says_so() -> None:
    with pytest.raises(errors.SchemaError, match="install"):
        schema.folder("no-such-folder")
