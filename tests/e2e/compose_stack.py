"""The compose project under test: a copy of its files, with its own project name and ports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import redis

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT_FILES = (
    "docker-compose.yml",
    "docker-compose.secrets.yml",
    "docker-compose.tls.yml",
    ".env.example",
    "sql",
    "seeds",
    "postgres",
    "pgadmin",
    "redis-server",
    "grafana",
)
# Environment variables override .env, so the test process keeps only what Docker needs.
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "XDG_RUNTIME_DIR", "SSL_CERT_FILE")
# A replacement for another compatible image, such as the Apache edition.
IMAGE_VARIABLES = ("POSTGRES_IMAGE", "REDIS_IMAGE", "PGADMIN_IMAGE")


def host_environment() -> dict[str, str]:
    """The part of this process's environment that is passed to Docker."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name in IMAGE_VARIABLES or name.startswith("DOCKER_")
    }


def docker(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=host_environment(),
        check=False,
    )


def free_ports(count: int) -> list[int]:
    """Distinct ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Return as soon as `condition` holds; otherwise fail, naming `what` was awaited."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.2)


class ComposeStack:
    """One copy of the project in `folder`; `settings` are its `.env`."""

    def __init__(self, folder: Path, project: str, **settings: str) -> None:
        self.folder = folder
        self.project = project
        postgres, replica, redis, pgadmin = free_ports(4)
        self.settings = {
            "COMPOSE_PROJECT_NAME": project,
            "POSTGRES_PORT": str(postgres),
            "REPLICA_PORT": str(replica),
            "REDIS_PORT": str(redis),
            "PGADMIN_PORT": str(pgadmin),
            **settings,
        }
        for name in PROJECT_FILES:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)
        self.write_env()

    def write_env(self, **changes: str) -> None:
        """Settings as a user would write them: in single quotes, which Compose takes literally."""
        self.settings.update(changes)
        lines = [f"{name}='{value}'" for name, value in self.settings.items()]
        (self.folder / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def compose(
        self, *arguments: str, check: bool = True, timeout: float = 900, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.folder,
            env={**host_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"docker compose {' '.join(arguments)}: {done.stderr}\n{self.logs('postgres')}"
            )
        return done

    def up(self, *services: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.compose("up", "-d", "--wait", *services, check=check, **environment)

    def down(self, *, volumes: bool = False) -> None:
        self.compose("--profile", "*", "down", "--timeout", "10", *(["-v"] if volumes else []))

    def logs(self, service: str) -> str:
        done = docker("logs", self.container(service))
        return done.stdout + done.stderr

    def container(self, service: str) -> str:
        return f"{self.project}_{service}"

    def inspect(self, service: str) -> dict[str, Any]:
        done = docker("inspect", self.container(service))
        found = json.loads(done.stdout)
        assert found, done.stderr
        return dict(found[0])

    def health(self, service: str) -> str:
        return str(self.inspect(service)["State"]["Health"]["Status"])

    def health_output(self, service: str) -> str:
        """What the last health checks printed."""
        return "\n".join(entry["Output"] for entry in self.inspect(service)["State"]["Health"]["Log"])

    @contextmanager
    def connection(self, **changes: str) -> Iterator[psycopg2.extensions.connection]:
        """A connection through the published port, with the project's credentials."""
        arguments = {
            "host": "127.0.0.1",
            "port": self.settings["POSTGRES_PORT"],
            "dbname": self.settings.get("POSTGRES_DB", "barnameh_ops"),
            "user": self.settings.get("POSTGRES_USER", "barnameh_user"),
            "password": self.settings.get("POSTGRES_PASSWORD", "barnameh_password"),
            "connect_timeout": "5",
            **changes,
        }
        connection = psycopg2.connect(**arguments)
        try:
            connection.autocommit = True
            yield connection
        finally:
            connection.close()

    def redis(self, **changes: Any) -> redis.Redis:
        """A client through the published port."""
        return redis.Redis(port=int(self.settings["REDIS_PORT"]), decode_responses=True, **changes)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
