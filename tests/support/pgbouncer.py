"""PgBouncer in front of a test's server, if it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db_utils.embedded.redis_server import free_port
from db_utils.embedded.server import PASSWORD, USER


@contextmanager
def pgbouncer(url: str, **settings: str) -> Iterator[str]:
    """The URL of a PgBouncer with these settings in front of the database at `url`; skips the test if it is not installed."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    server = parse_dsn(url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started as root, it runs as another user
        (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": folder / "users.txt",
            "default_pool_size": "3",
            "max_client_conn": "200",
            **settings,
        }
        target = f"host={server['host']} port={server.get('port', 5432)} dbname={server['dbname']}"
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n{server['dbname']} = {target}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        process = subprocess.Popen(
            [program, *user, str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        behind = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{server['dbname']}"
        try:
            _wait(behind, process)
            yield behind
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 30
    while True:
        assert process.poll() is None, "PgBouncer did not start"
        try:
            psycopg2.connect(url).close()
            return
        except psycopg2.OperationalError:
            assert time.monotonic() < give_up_at, "PgBouncer does not answer"
            time.sleep(0.02)
