"""The database of a backup, and how to run PostgreSQL's programs on it: locally, or inside its container."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

import psycopg2
from psycopg2.extensions import make_dsn

from db_utils.config import Settings, parse_url
from db_utils.embedded import installation
from db_utils.errors import BackupError, ConfigurationError, SessionUnavailableError, translate_connect

MAINTENANCE_DATABASE = "postgres"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_SECRET = frozenset({"sslpassword"})
_SERVICE = "db_utils"
_PACKAGED = Path("/usr/lib/postgresql")


class Endpoint(Protocol):
    """A database, and how to run a PostgreSQL program on it."""

    database: str
    label: str
    """For messages; contains no password."""
    host: str
    """The machine whose file system contains the backup."""

    def command(self, program: str, *arguments: str, database: str | None = None) -> list[str]:
        """Return the command for `psql`, `pg_dump` or `pg_restore` on this database or another one."""
        ...

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the command, with the password."""
        ...

    @property
    def major(self) -> int:
        """Return the server's major version."""
        ...


class UrlEndpoint:
    """A database with a URL, and local programs that match the server's version."""

    def __init__(self, settings: Settings, *, server_only: bool = False) -> None:
        """Query the server's version. `server_only`: the database itself need not exist yet.

        Raises `ConnectionFailedError` if the server does not answer.
        """
        parameters = settings.connection_parameters()
        parameters["options"] = parse_url(settings.database_url).get("options", "")
        self._password = parameters.pop("password", None)
        self._parameters = parameters
        self._secrets = _service_file(parameters)
        self.database = parameters.get("dbname", "")
        if not self.database:
            raise ConfigurationError("the database URL has no database name: add /name at its end")
        self.label = settings.safe_url
        self.host = socket.gethostname()
        self._takes_poolers = settings.pooler_mode == "session"
        self.major = self._ask_version(MAINTENANCE_DATABASE if server_only else self.database)

    def _ask_version(self, database: str) -> int:
        dsn = make_dsn(
            **{**self._parameters, "dbname": database},
            **({"password": self._password} if self._password else {}),
        )
        try:
            connection = psycopg2.connect(dsn)
        except psycopg2.Error as error:
            raise translate_connect(error, where=self.label) from error
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                is_pooled = cursor.fetchone() != (connection.get_backend_pid(),)
            if is_pooled and not self._takes_poolers:
                raise SessionUnavailableError(
                    f"{self.label} is a connection pooler, and pg_dump and psql need their own sessions: give the server "
                    "itself with --url, or set DB_POOLER_MODE=session if the pooler's pool_mode is session"
                )
            return int(connection.server_version) // 10_000
        finally:
            connection.close()

    def command(self, program: str, *arguments: str, database: str | None = None) -> list[str]:
        """See `Endpoint`. Raises `BackupError` if no program of a matching version is installed."""
        shown = {name: value for name, value in self._parameters.items() if name not in _SECRET}
        if self._secrets is not None:
            shown["service"] = _SERVICE
        target = make_dsn(**{**shown, "dbname": database or self.database})
        return [str(find_program(program, self.major)), f"--dbname={target}", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """See `Endpoint`."""
        told = {"PGPASSWORD": self._password} if self._password else {}
        if self._secrets is not None:
            told["PGSERVICEFILE"] = self._secrets.name
        return {**os.environ, **told}


class ContainerEndpoint:
    """The database of a container started by docker-compose.yml, with the programs inside it."""

    def __init__(self, container: str) -> None:
        """Raise `BackupError` if Docker, or a running container of that name, is missing."""
        if shutil.which("docker") is None:
            raise BackupError("the docker command was not found here: give the database with --url instead")
        asked = _run(
            [
                "docker",
                "exec",
                container,
                "sh",
                "-c",
                'pg_dump --version; echo "$POSTGRES_USER"; echo "$POSTGRES_DB"',
            ]
        )
        if asked.returncode != 0:
            raise BackupError(
                f"the container {container} does not answer ({asked.stderr.strip() or 'no reason given'}): start it with docker "
                "compose up -d --wait, or look up its name with docker compose ps"
            )
        version, self._user, self.database = asked.stdout.strip("\n").split("\n")
        self.major = _major(version)
        self._container = container
        self.label = f"{self.database} in the container {container}"
        self.host = socket.gethostname()

    def command(self, program: str, *arguments: str, database: str | None = None) -> list[str]:
        """See `Endpoint`."""
        return [
            "docker", "exec", "-i", self._container,
            program, f"--username={self._user}", f"--dbname=dbname='{_quoted(database or self.database)}'", *arguments,
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """See `Endpoint`: the socket inside the container needs no password."""
        return dict(os.environ)


def _service_file(parameters: Mapping[str, str]) -> IO[str] | None:
    """Write a file, readable only by this user, for settings that no environment variable covers."""
    secrets = {name: value for name, value in parameters.items() if name in _SECRET}
    if not secrets:
        return None
    if "service" in parameters or any("\n" in value for value in secrets.values()):
        raise ConfigurationError(
            f"{' and '.join(secrets)} with a service, or with a line break: write it into the service file"
        )
    # Removed with the endpoint.
    file = tempfile.NamedTemporaryFile("w", prefix="db_utils-", suffix=".conf")  # noqa: SIM115
    file.write("\n".join([f"[{_SERVICE}]", *(f"{name}={value}" for name, value in secrets.items()), ""]))
    file.flush()
    return file


def find_program(name: str, major: int) -> Path:
    """Return the local `pg_dump`, `pg_restore` or `psql` for a server of this major version.

    The oldest one not older than the server, because an older server may not read a newer one's output.
    Searches PATH, the wheel of the embedded server, and /usr/lib/postgresql. Raises `BackupError` if there is
    none.
    """
    found = {
        candidate: version for candidate in _candidates(name) if (version := _version(candidate)) is not None
    }
    fitting = {candidate: version for candidate, version in found.items() if version >= major}
    if not fitting:
        versions = ", ".join(str(version) for version in sorted(set(found.values()))) or "none"
        raise BackupError(
            f"the server is PostgreSQL {major} and needs {name} {major} or later, but this machine has {versions}: install "
            f"postgresql-client-{major}, or use --container, which runs the server's own"
        )
    return min(fitting, key=lambda candidate: fitting[candidate])


def _candidates(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    if installation.is_available():
        package = installation.wheel_install().parent
        yield from sorted(path for path in package.glob(f"pginstall*/bin/{name}"))
    if _PACKAGED.is_dir():
        yield from sorted(_PACKAGED.glob(f"*/bin/{name}"))


def _version(program: Path) -> int | None:
    if not os.access(program, os.X_OK):
        return None
    asked = _run([str(program), "--version"])
    return _major(asked.stdout) if asked.returncode == 0 else None


def _major(text: str) -> int:
    match = _VERSION.search(text)
    if match is None:
        raise BackupError(
            f"the answer {text!r} to --version contains no PostgreSQL version: put another one first on PATH"
        )
    return int(match[1])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
