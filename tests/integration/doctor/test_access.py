"""Access: passwords, superusers, TLS, tenants."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.embedded.server import PASSWORD, EmbeddedServer
from db_utils.ops.doctor import Fix, Severity
from db_utils.ops.doctor.context import own_addresses
from tests.integration.cli.conftest import Run
from tests.integration.doctor.support import ailment, ask, execute, paste, paste_in_shell, well
from tests.support import servers
from tests.support.programs import program
from tests.support.servers import OwnServer

NEW = "correct horse battery staple"


@pytest.fixture
def exposed() -> Iterator[OwnServer]:
    """A server that other machines can reach, and that requires a password from them."""
    with servers.own_server(listen_addresses="*") as server:
        with (server.folder / "pgdata" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        execute(server.url, "SELECT pg_reload_conf()")
        yield server


def change_password(url: str, fix: Fix | None, password: str) -> None:
    """Type the printed \\password into psql, then the new password twice, as at a terminal."""
    assert fix is not None
    assert fix.text.startswith("\\password ")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("psql"), url, "-X", "-c", fix.text],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(theirs)
    for _ in range(2):
        seen = b""
        while not re.search(rb": ?$", seen):
            seen += os.read(ours, 1024)
        os.write(ours, f"{password}\n".encode())
    assert process.wait(30) == 0
    os.close(ours)


def test_the_documented_password_beyond_this_machine_is_critical(exposed: OwnServer, run: Run) -> None:
    found = ailment(exposed.url, "default-passwords")
    assert found.severity == Severity.CRITICAL
    assert own_addresses()[0] in found.found
    done = run(exposed.url, "doctor", "--only", "default-passwords")
    assert done.code == 4
    assert PASSWORD not in done.out + done.err
    change_password(exposed.socket_url, found.fix, NEW)
    changed = make_dsn(**{**parse_dsn(exposed.url), "password": NEW})
    assert well(changed, "default-passwords")
    assert well(exposed.socket_url, "default-passwords")
    done = run(
        f"postgresql://barnameh_user:{NEW.replace(' ', '%20')}@127.0.0.1:{exposed.port}/barnameh_ops",
        "doctor",
    )
    assert NEW not in done.out + done.err


def test_seen_over_the_socket_it_is_critical_too(exposed: OwnServer) -> None:
    assert ailment(exposed.socket_url, "default-passwords").severity == Severity.CRITICAL


def test_seen_over_the_network_it_is_critical_too(exposed: OwnServer) -> None:
    over_the_network = make_dsn(**{**parse_dsn(exposed.url), "host": own_addresses()[0]})
    assert ailment(over_the_network, "default-passwords").severity == Severity.CRITICAL
    assert ailment(over_the_network, "tls").severity == Severity.WARNING


def test_a_password_that_is_the_users_name_is_found(exposed: OwnServer) -> None:
    execute(exposed.url, "ALTER ROLE barnameh_user PASSWORD 'barnameh_user'")
    named = make_dsn(**{**parse_dsn(exposed.url), "password": "barnameh_user"})
    assert ailment(named, "default-passwords").severity == Severity.CRITICAL


def test_no_password_asked_for_at_all_is_critical(exposed: OwnServer) -> None:
    rules = exposed.folder / "pgdata" / "pg_hba.conf"
    strict = rules.read_text()
    rules.write_text(
        re.sub(r"^host all all all scram-sha-256$", "host all all all trust", strict, flags=re.MULTILINE)
    )
    execute(exposed.url, "SELECT pg_reload_conf()")
    found = ailment(exposed.url, "default-passwords", "without a password")
    assert found.severity == Severity.CRITICAL
    assert "trust" in paste(exposed.url, found.fix)
    rules.write_text(strict)
    execute(
        exposed.url,
        "ALTER ROLE barnameh_user PASSWORD 'another one of our own'",
    )
    execute(exposed.socket_url, "SELECT pg_reload_conf()")
    assert well(exposed.socket_url, "default-passwords")


def test_the_documented_password_on_loopback_is_a_note(own_server: OwnServer) -> None:
    assert ailment(own_server.url, "default-passwords").severity == Severity.NOTE


def test_a_server_on_a_socket_alone_has_no_port_to_try() -> None:
    with EmbeddedServer.start() as server:
        (finding,) = ask(server.url, "default-passwords")
    assert finding.severity == Severity.OK


def test_a_superuser_is_a_note_here_and_a_warning_beyond(exposed: OwnServer, own_server: OwnServer) -> None:
    assert ailment(own_server.url, "superuser-login").severity == Severity.NOTE
    assert ailment(exposed.url, "superuser-login").severity == Severity.WARNING


def test_the_printed_role_is_enough_for_the_application(exposed: OwnServer) -> None:
    with DatabaseManager(exposed.url) as db:
        schema.apply(db)
    found = ailment(exposed.url, "superuser-login")
    assert found.fix is not None
    create, password, _ = found.fix.text.splitlines()
    paste(exposed.url, Fix(create))
    change_password(exposed.socket_url, Fix(password), NEW)
    application = make_dsn(**{**parse_dsn(exposed.url), "user": "barnameh_app", "password": NEW})
    assert well(application, "superuser-login")
    with DatabaseManager(application) as db:
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry, timezone) "
            "VALUES ('11111111-1111-1111-1111-111111111111', 'One', 'manufacturing', 'UTC')"
        )
        with db.tenant("11111111-1111-1111-1111-111111111111") as scope:
            assert scope.execute_query("SELECT name FROM organizations") == [{"name": "One"}]


def test_no_tls_on_loopback_is_well_and_beyond_it_a_warning(
    exposed: OwnServer, own_server: OwnServer
) -> None:
    assert well(own_server.url, "tls")
    found = ailment(exposed.url, "tls")
    assert found.severity == Severity.WARNING
    # The servers of this suite are built without TLS; the finding's other fix is to listen on loopback only.
    exposed.stop()
    exposed.start(listen_addresses="127.0.0.1")
    assert well(exposed.url, "tls")


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT SELECT ON alerts TO barnameh_tenant",
        "GRANT SELECT ON alerts TO PUBLIC",
        "GRANT SELECT (title) ON alerts TO barnameh_tenant_login",
    ],
)
def test_a_grant_on_a_base_table_is_critical_and_revoked(url: str, grant: str) -> None:
    assert well(url, "tenant-isolation")
    execute(url, grant)
    found = ailment(url, "tenant-isolation")
    assert found.severity == Severity.CRITICAL
    assert "public.alerts" in found.found
    paste(url, found.fix)
    assert well(url, "tenant-isolation")


def test_a_relation_without_a_tenant_view_is_found_and_gets_one(url: str) -> None:
    execute(
        url,
        'CREATE TABLE "Notes of ours" (organization_id uuid PRIMARY KEY)',
        """COMMENT ON TABLE "Notes of ours" IS 'Notes.'""",
        """COMMENT ON COLUMN "Notes of ours".organization_id IS 'The tenant.'""",
    )
    found = ailment(url, "tenant-isolation")
    assert found.severity == Severity.WARNING
    paste_in_shell(url, found.fix)
    assert well(url, "tenant-isolation")


@pytest.mark.thorough
def test_a_tenant_role_that_may_log_in_is_critical(own_server: OwnServer) -> None:
    with DatabaseManager(own_server.url) as db:
        schema.apply(db)
    execute(own_server.url, "ALTER ROLE barnameh_tenant LOGIN BYPASSRLS")
    found = ailment(own_server.url, "tenant-isolation")
    assert found.severity == Severity.CRITICAL
    paste(own_server.url, found.fix)
    assert well(own_server.url, "tenant-isolation")


def test_tries_leave_no_password_in_the_servers_log(exposed: OwnServer) -> None:
    ailment(exposed.url, "default-passwords")
    log = Path(exposed.folder / "server.log").read_text()
    assert "password authentication failed" in log
    assert PASSWORD not in log


def test_a_wrong_password_of_our_own_is_one_sentence(exposed: OwnServer, run: Run) -> None:
    done = run(exposed.url.replace(PASSWORD, "wrong-one"), "doctor")
    assert done.code == 1
    assert "wrong-one" not in done.out + done.err
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(exposed.url.replace(PASSWORD, "wrong-one"))
