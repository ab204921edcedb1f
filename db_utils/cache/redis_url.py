"""Where Redis is: one server, a Sentinel group or a Cluster, read from one URL.

    redis://[user:password@]host[:6379][/database]                                one server; rediss:// for TLS
    unix:///path?db=0                                                             one server
    redis+sentinel://[user:password@]host[:26379],…/service[/database]            the master that they report
    redis+cluster://[user:password@]host[:6379],…                                 some nodes, which report the rest

`rediss+sentinel://` and `rediss+cluster://` are the same over TLS. Options follow as a query: those of
redis-py's connections (`ssl_ca_certs=`, `ssl_certfile=`, `ssl_keyfile=`, `ssl_cert_reqs=`, `client_name=`,
…), and `sentinel_username=` and `sentinel_password=` for Sentinels with their own password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from db_utils.cache.connection import BoundedConnection
from db_utils.errors import ConfigurationError

Address = tuple[str, int]

# Options of redis-py's parser that our bounded connections set themselves.
_DECIDED_HERE = ("max_connections", "timeout", "retry_on_timeout", "retry_on_error", "socket_timeout")
_PORTS = {"": 6379, "sentinel": 26379, "cluster": 6379}


class RedisTarget:
    """The servers behind a URL; opens connections to them."""

    def __init__(self, url: str, *, connect_seconds: float) -> None:
        scheme, hosts, rest = _split(url)
        self.kind = scheme.partition("+")[2]
        self.connect_seconds = connect_seconds
        self.service = ""
        base = scheme.partition("+")[0]
        if self.kind == "sentinel":
            self.service, _, database = rest.path.strip("/").partition("/")
            if not self.service:
                raise ConfigurationError("REDIS_URL has no Sentinel service: end it with /service-name.")
            rest = rest._replace(path=f"/{database}")
        options = {name: values[0] for name, values in parse_qs(rest.query).items()}
        sentinel_login = {
            name.removeprefix("sentinel_"): options.pop(name)
            for name in ("sentinel_username", "sentinel_password")
            if name in options
        }
        if base == "unix":
            self.addresses: list[Address] = [(rest.path, 0)]
            self.name = f"Redis at {rest.path}"
        else:
            self.addresses = [_address(host, _PORTS[self.kind]) for host in hosts]
            places = ",".join(f"{host}:{port}" for host, port in self.addresses)
            self.name = f"Redis {self.kind} at {places}" if self.kind else f"Redis at {places}"
        login, at, _ = rest.netloc.rpartition("@")
        host = "" if base == "unix" else "localhost"
        plain = f"{base}://{login}{at}{host}{rest.path}?{urlencode(options)}"
        try:
            arguments = dict(parse_url(plain))  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise ConfigurationError(f"REDIS_URL cannot be read: {error}") from None
        kind = arguments.pop("connection_class", Connection)
        for name in _DECIDED_HERE:
            arguments.pop(name, None)
        self._connection = kind
        self._arguments: dict[str, Any] = {
            **arguments,
            "socket_timeout": connect_seconds,
            "socket_connect_timeout": connect_seconds,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if kind is not UnixDomainSocketConnection:
            self._arguments.setdefault("socket_keepalive", True)
        if self.kind == "cluster" and self._arguments.pop("db", 0):
            raise ConfigurationError("REDIS_URL names a database, but a Redis Cluster has none.")
        self._sentinel_arguments = {
            name: value
            for name, value in self._arguments.items()
            if name.startswith("ssl_")
            or name in ("socket_timeout", "socket_connect_timeout", "retry", "protocol")
        } | sentinel_login
        if kind is SSLConnection:
            self._sentinel_arguments["ssl"] = True
        try:
            self._build(self.addresses[0])
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigurationError(f"REDIS_URL has an invalid option: {error}") from None

    def connect(self, address: Address | None = None) -> BoundedConnection:
        """Open a connection, log in and select the database, within a few times connect_seconds.

        Without an address: to the only server, or to the Sentinels' current master.
        """
        connection = self._build(address or self._main_address())
        connection.open()
        return connection

    def clients(self) -> Iterator[tuple[str, redis.Redis]]:
        """Yield the name and a redis-py client of each known server, for diagnostics.

        Every operation takes at most connect_seconds. For Sentinels it is their current master, for a
        cluster the nodes in the URL.
        """
        for address in self.addresses if self.kind == "cluster" else [None]:
            pool = redis.ConnectionPool(
                connection_class=self._connection, **self._arguments_for(address or self._main_address())
            )
            with closing(pool):
                yield (
                    f"Redis at {address[0]}:{address[1]}" if address else self.name,
                    redis.Redis(connection_pool=pool),
                )

    def _main_address(self) -> Address:
        return self._master() if self.kind == "sentinel" else self.addresses[0]

    def _arguments_for(self, address: Address) -> dict[str, Any]:
        if self._connection is UnixDomainSocketConnection:
            return self._arguments
        return {**self._arguments, "host": address[0], "port": address[1]}

    def _build(self, address: Address) -> BoundedConnection:
        return BoundedConnection(self._connection, self.connect_seconds, **self._arguments_for(address))

    def _master(self) -> Address:
        group: Any = Sentinel(  # type: ignore[no-untyped-call]
            self.addresses, sentinel_kwargs=dict(self._sentinel_arguments)
        )
        try:
            host, port = group.discover_master(self.service)
        finally:
            for sentinel in group.sentinels:
                sentinel.close()
        return str(host), int(port)


_UNREADABLE = (
    "REDIS_URL has an invalid host or port: write user:password@host:port, with special "
    "characters of the password percent-encoded."
)


def _split(url: str) -> tuple[str, list[str], Any]:
    start, mark, after = url.partition("://")
    netloc = re.split("[/?#]", after, maxsplit=1)[0]
    login, at, places = netloc.rpartition("@")
    try:
        # Without the hosts: urlsplit handles only one, and newer Pythons refuse several that include an IPv6 address.
        parts = urlsplit(f"{start}{mark}{login}{at}{after.removeprefix(netloc)}")
    except ValueError:
        raise ConfigurationError(_UNREADABLE) from None
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or kind not in _PORTS or (scheme == "unix" and kind):
        raise ConfigurationError(
            "REDIS_URL must start with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
            "redis+cluster:// or rediss+cluster://, or be empty for no cache."
        )
    if "@" in parts.path:  # a slash in the password ended the host too early
        raise ConfigurationError(_UNREADABLE)
    hosts = [host for host in places.split(",") if host] or ["localhost"]
    if len(hosts) > 1 and not kind:
        raise ConfigurationError(
            "REDIS_URL names several hosts: write redis+sentinel:// or redis+cluster:// to say what they are."
        )
    return parts.scheme, hosts, parts


def _address(place: str, default_port: int) -> Address:
    try:
        parts = urlsplit(f"//{place}")
        return parts.hostname or "localhost", parts.port or default_port
    except ValueError:
        raise ConfigurationError(_UNREADABLE) from None
