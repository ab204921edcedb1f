"""The overlays for production: passwords from files, TLS, and statistics of statements."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import redis
import trustme

from db_utils.config import Settings
from tests.e2e.compose_stack import ComposeStack, docker

pytestmark = pytest.mark.docker

PASSWORDS = {
    "postgres_password": "p@ss: w/rd 1",
    "redis_password": "r=d#s&2",
    "pgadmin_password": "pgadmin-3",
}


def with_secrets(stack: ComposeStack) -> Path:
    """Password files as docs/production.md makes them: the folder is closed, the files in it can be read."""
    folder = stack.folder / "secrets"
    folder.mkdir(mode=0o700)
    for name, password in PASSWORDS.items():
        (folder / name).write_text(password + "\n", encoding="utf-8")
        (folder / name).chmod(0o644)
    stack.write_env(COMPOSE_FILE="docker-compose.yml:docker-compose.secrets.yml")
    return folder


def test_passwords_come_from_files_and_stand_nowhere_else(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    folder = with_secrets(stack)
    stack.up()
    with stack.connection(password=PASSWORDS["postgres_password"]) as connection:
        assert connection.info.user == "barnameh_user"
    with stack.redis(password=PASSWORDS["redis_password"]) as client:
        assert client.ping()
    with stack.redis() as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    settings = Settings.from_environment(
        {
            "POSTGRES_PORT": stack.settings["POSTGRES_PORT"],
            "POSTGRES_PASSWORD_FILE": str(folder / "postgres_password"),
            "REDIS_URL": f"redis://localhost:{stack.settings['REDIS_PORT']}/0",
            "REDIS_PASSWORD_FILE": str(folder / "redis_password"),
        },
        dotenv_path=None,
    )
    psycopg2.connect(**settings.connection_parameters()).close()
    assert redis.Redis.from_url(str(settings.redis_url)).ping()
    shown = "".join(
        docker("inspect", stack.container(name)).stdout for name in ("postgres", "redis", "pgadmin")
    )
    assert [password for password in PASSWORDS.values() if password in shown] == []
    login = docker(
        "exec", stack.container("pgadmin"), "cat", "/var/lib/pgadmin/storage/admin_barnameh.local/.pgpass"
    )
    assert login.stdout == "postgres:5432:*:barnameh_user:p@ss\\: w/rd 1\n"


def test_a_secret_that_cannot_be_read_is_named(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    (with_secrets(stack) / "postgres_password").chmod(0o600)
    assert stack.up("postgres", check=False).returncode != 0
    assert "cannot read /run/secrets/postgres_password" in stack.health_output("postgres")


def test_with_tls_no_connection_from_outside_is_open(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    folder = stack.folder / "secrets"
    folder.mkdir(mode=0o700)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "postgres.crt", append=True)
    certificate.private_key_pem.write_to_path(folder / "postgres.key")
    for file in folder.iterdir():
        file.chmod(0o644)
    stack.write_env(COMPOSE_FILE="docker-compose.yml:docker-compose.tls.yml")
    if not built_with_tls(stack):
        assert stack.up("postgres", check=False).returncode != 0
        assert "SSL is not supported by this build" in stack.logs("postgres")
        return
    stack.up("postgres")
    with (
        stack.connection(sslmode="verify-full", sslrootcert=str(folder / "ca.crt")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() in {("TLSv1.2",), ("TLSv1.3",)}
    with (
        pytest.raises(psycopg2.OperationalError, match="no encryption"),
        stack.connection(sslmode="disable"),
    ):
        pass


def built_with_tls(stack: ComposeStack) -> bool:
    """Whether the image's PostgreSQL supports TLS; a build without it must report that and not start unencrypted."""
    image = stack.compose("config", "--images", "postgres").stdout.split()[0]
    done = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "pg_config", image, "--configure"],
        capture_output=True,
        text=True,
        check=True,
    )
    return "ssl" in done.stdout


def test_statements_are_counted_where_the_image_has_the_module(stack: ComposeStack) -> None:
    [(preloaded,)] = stack.query("SHOW shared_preload_libraries")
    available = stack.query("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'")
    assert ("pg_stat_statements" in preloaded) == bool(available)
    if available:
        stack.query("SELECT 'counted' AS answer")
        with stack.connection(dbname="postgres") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT sum(calls) FROM pg_stat_statements WHERE query = 'SELECT $1 AS answer'")
            assert cursor.fetchone()[0] >= 1  # type: ignore[index]
