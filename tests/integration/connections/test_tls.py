"""TLS and the socket below it: trust, and limits for silent connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from db_utils import DatabaseManager, errors
from tests.support import servers
from tests.support.servers import OwnServer
from tests.support.tls import TlsFront


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """One server behind all TLS front ends."""
    with servers.own_server() as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def front(own_server: OwnServer, authority: trustme.CA) -> Iterator[TlsFront]:
    """A front end of the test's own server, with a certificate for `localhost` but no address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with TlsFront(("127.0.0.1", own_server.port), context) as front:
        yield front


def pem(authority: trustme.CA, folder: Path) -> str:
    path = folder / "root.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def test_every_verb_works_over_a_verified_connection(
    own_server: OwnServer,
    front: TlsFront,
    authority: trustme.CA,
    tmp_path: Path,
    manager_with: Callable[..., DatabaseManager],
) -> None:
    url = own_server.url.replace(f"127.0.0.1:{own_server.port}", f"localhost:{front.port}")
    db = manager_with(database_url=url, sslmode="verify-full", sslrootcert=pem(authority, tmp_path))
    db.execute("CREATE TABLE facts (id int)")
    assert db.copy_rows("facts", ["id"], [(1,), (2,)]) == 2
    assert [row["id"] for row in db.stream("SELECT id FROM facts ORDER BY id")] == [1, 2]
    assert db.read_frame("SELECT id FROM facts ORDER BY id")["id"].tolist() == [1, 2]
    with db.connection() as connection:
        assert connection.info.ssl_in_use
    with pytest.raises(errors.QueryTimeoutError, match="cancelled"):
        db.execute("SELECT pg_sleep(30)", timeout_seconds=0.2)
    with db.listen("news") as listener:
        db.execute("NOTIFY news, 'x'")
        heard = listener.get(10)
    assert heard is not None
    assert heard.text == "x"
    assert set(front.versions) <= {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_who_is_not_trusted_is_refused_and_the_settings_are_named(
    own_server: OwnServer,
    front: TlsFront,
    tmp_path: Path,
    manager_with: Callable[..., DatabaseManager],
    mode: str,
) -> None:
    url = own_server.url.replace(f"127.0.0.1:{own_server.port}", f"localhost:{front.port}")
    db = manager_with(database_url=url, sslmode=mode, sslrootcert=pem(trustme.CA(), tmp_path))
    for use in (lambda: db.execute("SELECT 1"), lambda: db.read_frame("SELECT 1 AS one", primary=True)):
        with pytest.raises(errors.ConnectionFailedError, match="DB_SSLMODE and DB_SSLROOTCERT") as caught:
            use()
        assert "barnameh_password" not in str(caught.value)


def test_a_certificate_for_another_name_is_refused_by_verify_full_only(
    own_server: OwnServer,
    front: TlsFront,
    authority: trustme.CA,
    tmp_path: Path,
    manager_with: Callable[..., DatabaseManager],
) -> None:
    url = own_server.url.replace(f":{own_server.port}/", f":{front.port}/")  # 127.0.0.1
    root = pem(authority, tmp_path)
    by_authority = manager_with(database_url=url, sslmode="verify-ca", sslrootcert=root)
    assert by_authority.execute_query("SELECT 1 AS one") == [{"one": 1}]
    with pytest.raises(errors.ConnectionFailedError, match="DB_SSLMODE"):
        manager_with(database_url=url, sslmode="verify-full", sslrootcert=root).execute("SELECT 1")


def test_a_silent_peer_is_noticed_by_the_operating_system(
    own_server: OwnServer, manager_with: Callable[..., DatabaseManager]
) -> None:
    with manager_with(database_url=own_server.url).connection() as connection:
        with socket.socket(fileno=connection.fileno()) as handle:
            try:
                found = {
                    name: handle.getsockopt(level, option)
                    for name, level, option in (
                        ("keepalive", socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        ("idle", socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        ("interval", socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                        ("count", socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                        ("user_timeout", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                    )
                }
            finally:
                handle.detach()
        assert found == {"keepalive": 1, "idle": 30, "interval": 10, "count": 3, "user_timeout": 60_000}
