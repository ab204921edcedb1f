"""A PostgreSQL server that a test may abuse: stop, kill, pause and restart on the same data."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from db_utils.embedded.redis_server import free_port
from db_utils.embedded.server import DATABASE, PASSWORD, USER, EmbeddedServer
from tests.conftest import SCHEMA_TEMPLATE, SEEDED_TEMPLATE, maintenance, make_templates
from tests.support import kept_server
from tests.support.programs import program


class OwnServer:
    """One server with its data in `folder`, on a socket and on a fixed loopback port."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        self.folder = folder
        self._options = options
        self._server: EmbeddedServer | None = None
        self.port = free_port()
        self.url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/barnameh_ops"

    def start(self, **options: str) -> None:
        """Start it; return when it answers."""
        self._server = EmbeddedServer.start(
            self.folder,
            install_dir=os.environ.get("TEST_PG_INSTALL") or None,
            tcp_port=self.port,
            options={**self._options, **options},
        )

    @property
    def _postmaster(self) -> psutil.Process:
        assert self._server is not None
        pid = self._server.postmaster_pid
        assert pid is not None
        return psutil.Process(pid)

    @property
    def socket_url(self) -> str:
        """The URL over its socket, which needs no password."""
        assert self._server is not None
        return self._server.url

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's main process: SIGTERM waits for clients, SIGINT disconnects them."""
        self._postmaster.send_signal(number)

    def kill(self) -> None:
        """Kill all its processes at once, like a power cut; return when they are gone."""
        processes = [self._postmaster, *self._postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        self.stop()

    def pause(self) -> None:
        """Freeze all its processes: connections stay open and nothing answers."""
        for process in [self._postmaster, *self._postmaster.children(recursive=True)]:
            process.suspend()

    def go_on(self) -> None:
        """Undo `pause`."""
        for process in [self._postmaster, *self._postmaster.children(recursive=True)]:
            process.resume()

    def stop(self) -> None:
        """Stop it, with its clients' connections."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@functools.cache
def stopped_data() -> Path:
    """A stopped server's data to copy, because creating it takes some seconds."""
    folder = public_folder("template")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = OwnServer(folder, {})
    server.start()
    server.stop()
    return folder


@functools.cache
def stopped_seeded_data() -> Path:
    """The same with the schema and the sample data, as `init` and `seed` leave them."""
    folder = public_folder("seeded")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kept = kept_server.data(os.environ.get("TEST_PG_INSTALL") or None, make_templates)
    subprocess.run(["cp", "-a", str(kept / "pgdata"), str(folder)], check=True)
    server = OwnServer(folder, {})
    server.start()
    with maintenance(server.url.replace(f"/{DATABASE}", "/postgres")) as cursor:
        cursor.execute(f"DROP DATABASE {DATABASE}")
        cursor.execute(f"DROP DATABASE {SCHEMA_TEMPLATE}")
        cursor.execute(f"ALTER DATABASE {SEEDED_TEMPLATE} WITH ALLOW_CONNECTIONS true")
        cursor.execute(f"ALTER DATABASE {SEEDED_TEMPLATE} RENAME TO {DATABASE}")
    server.stop()
    return folder


def _copy(data: Path, folder: Path) -> None:
    subprocess.run(["cp", "-a", f"{data}/.", str(folder)], check=True)


def public_folder(name: str) -> Path:
    """A new folder that the server's user can access too; the caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix=f"db_utils-{name}-"))
    folder.chmod(0o755)
    return folder


@contextmanager
def own_server(data: Callable[[], Path] = stopped_data, **options: str) -> Iterator[OwnServer]:
    """A private running server on a copy of `data`, removed with it at the end of the block."""
    folder = public_folder("own")
    server = OwnServer(folder, options)
    try:
        _copy(data(), folder)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby_of(primary: OwnServer) -> Iterator[OwnServer]:
    """A streaming standby of this server:

    commits appear there a moment later, and nothing can be written.
    """
    folder = public_folder("standby")
    standby = OwnServer(folder, {})
    try:
        subprocess.run(
            [program("pg_basebackup"), "-d", primary.socket_url, "-D", folder / "pgdata", "-R", "-c", "fast"],
            check=True,
            capture_output=True,
        )
        if os.geteuid() == 0:
            owner = (primary.folder / "pgdata").stat()
            subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", folder / "pgdata"], check=True)
        standby.start()
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(folder, ignore_errors=True)
