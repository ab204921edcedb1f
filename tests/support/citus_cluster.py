"""A coordinator and two workers of Citus, each a separate server with temporary data; they communicate over sockets."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils.embedded.server import EmbeddedServer

_WORKERS = 2
_OPTIONS = {
    "shared_preload_libraries": "citus",
    "citus.enable_unsafe_triggers": "on",
    "citus.node_conninfo": "sslmode=disable",
    "citus.shard_count": "8",
    "wal_level": "logical",
    "max_connections": "200",
    "max_prepared_transactions": "200",
    "max_worker_processes": "24",
    "shared_buffers": "64MB",
}


_clusters: dict[str, list[str]] = {}


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """A node that does not answer: its first process is stopped."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(r"SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer")
        process = psutil.Process(cursor.fetchone()[0])
    connection.close()
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def one_more(install: str, database: str) -> Iterator[EmbeddedServer]:
    """One more server with this database, ready to join a cluster."""
    with EmbeddedServer.start(install_dir=install, options=_OPTIONS) as server:
        _name(server)
        _run(server.url, f'CREATE DATABASE "{database}"')
        _run(make_dsn(**{**parse_dsn(server.url), "dbname": database}), "CREATE EXTENSION citus")
        yield server


def nodes(server_url: str) -> list[str]:
    """This server, and its workers if it is the coordinator of a cluster running here."""
    return _clusters.get(server_url, [server_url])


@contextmanager
def cluster(install: str) -> Iterator[list[EmbeddedServer]]:
    """A running cluster of this installation, coordinator first; its databases are not distributed yet (`join`)."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(EmbeddedServer.start(install_dir=install, options=_OPTIONS))
            for _ in range(1 + _WORKERS)
        ]
        for server in servers:
            _name(server)
        urls = [server.url for server in servers]
        _clusters[urls[0]] = urls
        yield servers


def _name(server: EmbeddedServer) -> None:
    """Citus also connects a node to itself, for background tasks."""
    _run(server.url, f"ALTER SYSTEM SET citus.local_hostname = '{parse_dsn(server.url)['host']}'")
    _run(server.url, "SELECT pg_reload_conf()")


def join(urls: list[str]) -> None:
    """Join the databases at these URLs into one; the first is the coordinator's."""
    for url in urls:
        _run(url, "CREATE EXTENSION IF NOT EXISTS citus")
    first, *others = [parse_dsn(url) for url in urls]
    _run(urls[0], "SELECT citus_set_coordinator_host(%s, %s)", first["host"], int(first["port"]))
    for other in others:
        _run(urls[0], "SELECT citus_add_node(%s, %s)", other["host"], int(other["port"]))


def _run(url: str, sql: str, *values: object) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, values or None)
    finally:
        connection.close()
