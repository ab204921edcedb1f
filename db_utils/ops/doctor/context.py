"""The server being examined: read-only access for the checks, with a time limit per statement."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg2

from db_utils.errors import QueryTimeoutError
from db_utils.ops.doctor.limits import LIMITS
from db_utils.ops.doctor.model import Limit
from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

_CONNECT_SECONDS = 3
# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket shows the local address that would be
# used; nothing is sent.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))

_SQL = sql_beside(__name__)
_SETTINGS = "SELECT name, setting, unit, source, pending_restart FROM pg_settings"


@dataclass
class CheckContext:
    """One database and its cache. `seconds` bounds each check, `total_seconds` all of them together."""

    db: DatabaseManager
    limits: Mapping[str, Limit] = field(default_factory=lambda: LIMITS)
    redis_url: str | None = None
    redis_is_configured: bool = True
    """Whether the cache's address was configured; the default one need not answer."""
    disk_free_bytes: int | None = None
    seconds: float = 5.0
    total_seconds: float = 60.0
    clock: Callable[[], float] = time.time
    """The client's clock, seconds since 1970."""
    _give_up_at: float = field(default=0.0, init=False)
    _end_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._end_at = time.monotonic() + self.total_seconds
        self.begin()

    def begin(self) -> None:
        """Start the clock of the next check."""
        self._give_up_at = min(time.monotonic() + self.seconds, self._end_at)

    @property
    def time_is_up(self) -> bool:
        """Whether the time for all checks together is spent."""
        return time.monotonic() >= self._end_at

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of this statement; read-only, and limited to the check's remaining time."""
        left = self._give_up_at - time.monotonic()
        if left <= 0:
            raise QueryTimeoutError(f"the check took longer than {self.seconds:g} s")
        with self.db.transaction(read_only=True) as transaction:
            transaction.execute(
                f"SET LOCAL statement_timeout = {max(1, round(1000 * left))}; SET LOCAL lock_timeout = 1000; "
                "SET LOCAL max_parallel_workers_per_gather = 0"
            )
            return transaction.execute_query(sql, parameters)

    def has(self, relation: str) -> bool:
        """Whether this database has the relation of schema public: the doctor examines others too."""
        (found,) = self.rows(
            "SELECT to_regclass(%(name)s) IS NOT NULL AS there", {"name": f"public.{relation}"}
        )
        return bool(found["there"])

    @cached_property
    def about(self) -> dict[str, Any]:
        """The server's version and edition, and the role's rights."""
        return self.rows(_SQL["about"])[0]

    @property
    def edition(self) -> str:
        """community, apache, plain or citus; known even without the schema."""
        return str(self.about["edition"])

    @property
    def has_timescaledb(self) -> bool:
        """Whether the time series are hypertables, in chunks."""
        return self.edition in ("community", "apache")

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The server's settings by name: setting, unit, source, pending_restart."""
        return {row["name"]: row for row in self.rows(_SETTINGS)}

    def setting(self, name: str) -> str:
        """Return a setting's value; its number is in the setting's own unit."""
        return str(self.settings[name]["setting"])

    def setting_bytes(self, name: str) -> int:
        """Return a memory setting, in bytes."""
        unit = {"8kB": 8192, "kB": 1024, "MB": 1024**2, "B": 1, None: 1}[self.settings[name]["unit"]]
        return int(self.setting(name)) * unit

    # -- where the server can be reached ---------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The URL's host; a directory if it is a Unix socket."""
        return self.db.settings.connection_parameters().get("host", "").split(",")[0]

    @property
    def port(self) -> int:
        """The URL's port; over a socket the one that the server listens on."""
        return int(self.db.settings.connection_parameters().get("port", "").split(",")[0] or 5432)

    @property
    def is_socket(self) -> bool:
        """Whether the connection uses a Unix socket, hence runs on the server's machine."""
        return not self.host or self.host.startswith("/")

    @cached_property
    def open_addresses(self) -> list[str]:
        """Addresses beyond loopback at which this server answers: the URL's host, or this machine's own addresses.

        The server does not know whether a container's port is published to the network, so it is tried.
        """
        if self.is_socket and not self.setting("listen_addresses"):
            return []
        if not self.is_socket and not is_loopback(self.host):
            return [self.host]
        return [address for address in own_addresses() if self._answers_at(address)]

    def _answers_at(self, address: str) -> bool:
        """Whether this same server answers there."""
        try:
            with socket.create_connection((address, self.port), timeout=1):
                pass
        except OSError:
            return False
        try:
            with contextlib.closing(self._connect(host=address)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_postmaster_start_time()")
                return bool(cursor.fetchone()[0] == self.about["started_at"])
        except psycopg2.Error:
            # The server answers but refuses the login: unlike the socket, this address requires a password.
            return self.is_socket

    def logs_in(self, host: str, user: str, password: str) -> bool:
        """Whether the server accepts this user over TCP with this password."""
        try:
            self._connect(host=host, user=user, password=password).close()
        except psycopg2.Error:
            return False
        return True

    def asks_for_password(self, host: str, user: str) -> bool:
        """Whether a random password is refused there."""
        return not self.logs_in(host, user, secrets.token_urlsafe(24))

    def _connect(self, **changes: Any) -> Any:
        parameters = {**self.db.settings.connection_parameters(), **changes}
        parameters.pop("passfile", None)
        return psycopg2.connect(**{**parameters, "port": self.port, "connect_timeout": _CONNECT_SECONDS})


def is_loopback(host: str) -> bool:
    """Whether this name or address stays on this machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def own_addresses() -> list[str]:
    """Return this machine's non-loopback addresses, starting with those that other machines would use."""
    found: list[str] = []
    for family, elsewhere in _ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(str(probe.getsockname()[0]))
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)]
    return [address for address in dict.fromkeys(found) if not is_loopback(address)]
