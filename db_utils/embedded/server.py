"""A private PostgreSQL without Docker or system packages: its binaries come from a wheel.

The server listens on a socket in its data folder (or, on request, on a loopback port). Several processes may
use one data folder: the first starts the server, the last one stops it. They share only two lock files, so a
killed process leaves nothing to clean up. Only the wheel's binaries are used: its Python part makes parent
folders accessible to everyone and adds a system user when run as root.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg2
import psycopg2.sql

from db_utils.embedded.installation import (
    as_user,
    default_data_dir,
    is_available,
    public_copy,
    server_user,
    temporary_folder,
    wheel_install,
)
from db_utils.errors import ConfigurationError, ConnectionFailedError

if sys.platform != "win32":
    import fcntl
    import pwd

__all__ = ["DATABASE", "PASSWORD", "USER", "EmbeddedServer", "default_data_dir", "is_available"]

DATABASE = "barnameh_ops"
USER = "barnameh_user"
PASSWORD = "barnameh_password"

_CTYPES = ("C.UTF-8", "en_US.UTF-8", "C")  # the first that this platform knows
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 30.0
_LONGEST_SOCKET_PATH = 100
_THROWAWAY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class EmbeddedServer:
    """One running private server; made by `start`, stopped by `stop` or when the process ends."""

    def __init__(self, data_dir: Path, install_dir: Path, *, temporary: bool) -> None:
        self.data_dir = data_dir
        self.temporary = temporary
        self._install_dir = install_dir
        self._cluster = data_dir / "pgdata"
        self._log = data_dir / "server.log"
        self._in_use: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner_pid = os.getpid()
        self.url = ""

    @classmethod
    def start(
        cls,
        data_dir: str | Path | None = None,
        *,
        install_dir: str | Path | None = None,
        tcp_port: int | None = None,
        options: Mapping[str, str] | None = None,
    ) -> EmbeddedServer:
        """Start a server on `data_dir` (None: temporary data), or join the running one, and return it.

        `install_dir` is a PostgreSQL installation (folder with bin/, lib/, share/) to use instead of the
        wheel's; TimescaleDB is preloaded if available. `tcp_port` also listens on 127.0.0.1. `options` are
        server settings. Raises `ConfigurationError` if it cannot run here, `ConnectionFailedError` if it does
        not start.
        """
        if sys.platform == "win32":
            raise ConfigurationError(
                "the embedded server runs on Linux and macOS: use Docker, or set DATABASE_URL"
            )
        install = public_copy(Path(install_dir).resolve() if install_dir is not None else wheel_install())
        temporary = data_dir is None
        folder = temporary_folder() if data_dir is None else Path(data_dir).expanduser().resolve()
        server = cls(folder, install, temporary=temporary)
        try:
            server._start(tcp_port, dict(options or {}))
        except BaseException:
            server.stop()
            raise
        atexit.register(server.stop)
        return server

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # -- starting --------------------------------------------------------------------------------------------

    def _start(self, tcp_port: int | None, options: dict[str, str]) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        user = server_user(self.data_dir)
        with self._starting():
            self._in_use = (self.data_dir / "in_use.lock").open("w")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            if not (self._cluster / "PG_VERSION").exists():
                self._make_cluster(user)
            self._check_version()
            running = self._running()
            if running is None:
                self._launch(user, tcp_port, options)
                running = self._wait_until_ready()
            port, socket_dir = running
            server_url = f"postgresql://{USER}@/{{}}?host={quote(socket_dir, safe='/')}&port={port}"
            _create_database(server_url.format("postgres"))
            self.url = server_url.format(DATABASE)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with (self.data_dir / "start.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _make_cluster(self, user: pwd.struct_passwd | None) -> None:
        if self._cluster.exists():
            shutil.rmtree(self._cluster)  # an initdb that was interrupted
        problem = ""
        for ctype in _CTYPES:
            scratch = self.data_dir / "pgdata.new"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(mode=0o700)
            if user is not None:
                os.chown(scratch, user.pw_uid, user.pw_gid)
            made = self._initdb(scratch, ctype, user)
            if made.returncode == 0:
                scratch.rename(self._cluster)
                return
            problem = made.stderr.strip()[-500:]
        raise ConnectionFailedError(f"initdb could not create a database in {self.data_dir}: {problem}")

    def _initdb(
        self, folder: Path, ctype: str, user: pwd.struct_passwd | None
    ) -> subprocess.CompletedProcess[str]:
        command = [
            str(self._install_dir / "bin" / "initdb"),
            f"--pgdata={folder}",
            f"--username={USER}",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={self._password_file(self.data_dir, user)}",
            "--encoding=UTF8",
            "--locale=C",
            f"--lc-ctype={ctype}",
            *(["--no-sync"] if self.temporary else []),
        ]
        try:
            return subprocess.run(
                command, cwd="/", capture_output=True, text=True, check=False, **as_user(user)
            )
        finally:
            (self.data_dir / "password").unlink(missing_ok=True)

    @staticmethod
    def _password_file(folder: Path, user: pwd.struct_passwd | None) -> Path:
        path = folder / "password"
        path.write_text(f"{PASSWORD}\n", encoding="utf-8")
        path.chmod(0o600)
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    def _check_version(self) -> None:
        found = (self._cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        binary = subprocess.run(
            [str(self._install_dir / "bin" / "postgres"), "--version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        if binary.partition(".")[0] != found:
            raise ConfigurationError(
                f"{self.data_dir} contains data of PostgreSQL {found}, but this server is {binary}: use "
                "another folder, or move the data with pg_dump"
            )

    def _launch(self, user: pwd.struct_passwd | None, tcp_port: int | None, options: dict[str, str]) -> None:
        socket_dir = self._cluster
        if len(str(socket_dir)) > _LONGEST_SOCKET_PATH - len("/.s.PGSQL.65535"):
            socket_dir = temporary_folder()
            if user is not None:
                os.chown(socket_dir, user.pw_uid, user.pw_gid)
        settings = {
            "unix_socket_directories": str(socket_dir),
            "listen_addresses": "" if tcp_port is None else "127.0.0.1",
            "port": str(tcp_port or 5432),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if (self._install_dir / "share" / "postgresql" / "extension" / "timescaledb.control").exists():
            settings |= {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
        if self.temporary:
            settings |= _THROWAWAY
        settings |= options
        command = [str(self._install_dir / "bin" / "postgres"), "-D", str(self._cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(user),
            )
        if self.temporary:
            self._guard = _remove_when_we_die(self._process.pid, self.data_dir)

    def _wait_until_ready(self) -> tuple[int, str]:
        assert self._process is not None
        give_up_at = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < give_up_at:
            running = self._running()
            if running is not None:
                return running
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise ConnectionFailedError(
            f"the embedded PostgreSQL did not start, its log ({self._log}) ends with: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-5:])

    def _running(self) -> tuple[int, str] | None:
        """Return port and socket folder of the server running on this data, if it is ready."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        port, socket_dir = int(lines[3]), lines[4]
        return (port, socket_dir) if _is_listening(Path(socket_dir) / f".s.PGSQL.{port}") else None

    # -- stopping --------------------------------------------------------------------------------------------

    @property
    def postmaster_pid(self) -> int | None:
        """Return the server's process id; None if it does not run."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if _is_alive(pid) else None

    def stop(self) -> None:
        """Stop the server unless another process uses it, and remove temporary data. Safe to repeat."""
        if os.getpid() != self._owner_pid:
            return  # a forked child's exit must not end its parent's server
        atexit.unregister(self.stop)
        in_use, self._in_use = self._in_use, None
        if in_use is not None:
            with self._starting():
                try:
                    fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    running = self._running()
                    self._stop_server()
                    if running is not None and Path(running[1]) != self._cluster:
                        shutil.rmtree(running[1], ignore_errors=True)  # made for a socket with a short name
                except BlockingIOError:
                    pass  # another process uses it too
                finally:
                    in_use.close()
        if self.temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.communicate(b"stopped\n")  # process ids are reused: kill nothing
            self._guard = None

    def _stop_server(self) -> None:
        pid = self._process.pid if self._process is not None else self.postmaster_pid
        if pid is None:
            return
        for stop_signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, stop_signal)
            give_up_at = time.monotonic() + _STOP_TIMEOUT_SECONDS
            while time.monotonic() < give_up_at:
                if self._process is not None:
                    self._process.poll()
                if not _is_alive(pid):
                    self._process = None
                    return
                time.sleep(0.01)


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove_when_we_die(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start a shell that waits for our process to end, then stops the server and removes its data."""
    script = 'read -r told && exit; kill -INT "$1" 2>/dev/null && sleep 2; rm -rf -- "$2"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _create_database(url: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(
                    psycopg2.sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        psycopg2.sql.Identifier(DATABASE), psycopg2.sql.Identifier(USER)
                    )
                )
    finally:
        connection.close()
