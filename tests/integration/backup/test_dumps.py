"""pg_dump, psql and pg_restore alone: a dump loaded on top of existing rows changes nothing, reports it, and stops."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.config import Settings
from db_utils.ops.backup.endpoint import UrlEndpoint, find_program
from tests.support.scale import compress_old_chunks
from tests.support.schema_snapshot import content_hashes, snapshot

NOTHING_CHANGED = "nothing was changed: database {} is not empty"
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def full(seeded_database: DatabaseManager) -> DatabaseManager:
    """The sample data, with old chunks in the columnstore if available."""
    if schema.edition(seeded_database) == "plain":
        pytest.skip("the guard is TimescaleDB's: here unique keys look at every row")
    compress_old_chunks(seeded_database)
    return seeded_database


@pytest.fixture
def program(full: DatabaseManager) -> Program:
    """Runs a PostgreSQL program on a database, as a user would."""
    (row,) = full.execute_query("SELECT current_setting('server_version_num')::integer / 10000 AS major")

    def call(
        name: str, url: str, *arguments: str, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(find_program(name, row["major"])), f"--dbname={url}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            env={**os.environ, "PSQLRC": os.devnull},
            check=False,
        )

    return call


def state(db: DatabaseManager) -> tuple[object, object]:
    return snapshot(db), content_hashes(db)


def test_a_dump_on_top_of_its_database(full: DatabaseManager, program: Program, tmp_path: Path) -> None:
    url = full.settings.database_url
    plain, custom = tmp_path / "dump.sql", tmp_path / "dump.custom"
    before = state(full)
    for arguments in ([f"--file={plain}"], [f"--file={custom}", "--format=custom"]):
        assert program("pg_dump", url, *arguments).returncode == 0
    part = program("pg_dump", url, "--table=public.alerts").stdout
    (row,) = full.execute_query("SELECT current_database() AS name")
    text = plain.read_text(encoding="utf-8")
    for done in (
        program("psql", url, text=text),
        program("psql", url, "-X", "-q", text=text),
        program("psql", url, "-f", str(plain)),
        program("psql", url, "-f", str(plain), "--single-transaction"),
        program("psql", url, "-f", str(plain), "-v", "ON_ERROR_STOP=1"),
        program("psql", url, text=part),
        program("pg_restore", url, str(custom)),
        program("pg_restore", url, "--single-transaction", str(custom)),
        program("pg_restore", url, "--no-owner", "--exit-on-error", str(custom)),
    ):
        assert done.returncode != 0
        assert NOTHING_CHANGED.format(row["name"]) in done.stderr
        assert "COPY" not in done.stdout
        assert state(full) == before
    # Preparing for a restore does not make it any emptier.
    full.execute("SELECT timescaledb_pre_restore()")
    done = program("psql", url, text=text)
    full.execute("SELECT timescaledb_post_restore()")
    assert done.returncode == 2
    assert NOTHING_CHANGED.format(row["name"]) in done.stderr
    assert state(full) == before


def test_what_is_no_dump_of_ours_passes(full: DatabaseManager, program: Program) -> None:
    url = full.settings.database_url
    full.execute("CREATE TABLE notes (note text PRIMARY KEY); INSERT INTO notes VALUES ('kept')")
    dumped = program("pg_dump", url, "--table=public.notes").stdout
    full.execute("DROP TABLE notes")
    done = program("psql", url, text=dumped)
    assert (done.returncode, done.stderr) == (0, "")
    assert full.execute_query("SELECT note FROM notes") == [{"note": "kept"}]
    # A user's own file continues after an error, as psql always did.
    done = program(
        "psql",
        url,
        "-X",
        "-At",
        text="CREATE TABLE notes (); SELECT 1 / 0;\nDROP TABLE notes;\nSELECT 'last';",
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "last"
    schema.apply(full)


@pytest.fixture
def copied_template(server_url: str, full: DatabaseManager) -> str:
    """The guard that the container's first start installs in template1."""
    return schema.source.file("sql", "idempotent/62_dumps.sql").text


def test_an_empty_database_is_guarded_until_it_is_prepared(
    full: DatabaseManager, blank: DatabaseManager, program: Program, copied_template: str
) -> None:
    url = blank.settings.database_url
    dumped = program("pg_dump", full.settings.database_url).stdout
    blank.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    blank.close()
    assert program("psql", url, "-X", "-v", "ON_ERROR_STOP=1", text=copied_template).returncode == 0
    done = program("psql", url, text=dumped)
    assert done.returncode == 2
    assert "nothing was changed: a dump of TimescaleDB is restored between" in done.stderr
    with DatabaseManager(url) as empty:
        assert empty.execute_query(
            "SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')"
        ) == [{"proname": "refuse_dump"}]
    assert program("psql", url, "-c", "SELECT timescaledb_pre_restore()").returncode == 0
    done = program("psql", url, text=dumped)
    assert "ERROR" not in done.stderr
    assert done.returncode == 0
    assert program("psql", url, "-c", "SELECT timescaledb_post_restore()").returncode == 0
    with DatabaseManager(url) as restored:
        assert state(restored) == state(full)
        schema.verify(restored)


def test_no_secret_of_the_url_is_on_a_command_line(seeded_database: DatabaseManager) -> None:
    """Every user of a machine can read the command lines of its programs."""
    url = seeded_database.settings.database_url
    parameters = {**parse_dsn(url), "password": "word of the role", "sslpassword": "word of the key"}
    endpoint = UrlEndpoint(Settings.from_environment({"DATABASE_URL": make_dsn(**parameters)}))
    command = endpoint.command("psql", "--no-psqlrc", "--command=SELECT current_database()")
    assert "word" not in " ".join(command)
    done = subprocess.run(command, env=endpoint.environment, capture_output=True, text=True, check=True)
    assert parameters["dbname"] in done.stdout
    file = Path(endpoint.environment["PGSERVICEFILE"])
    assert file.stat().st_mode & 0o077 == 0
    del endpoint
    assert not file.exists()
