"""The prediction cache's Redis: is it available, bounded, and closed to strangers?"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import RedisError, ResponseError

from db_utils.cache.redis_url import RedisTarget
from db_utils.ops.doctor.context import CheckContext, is_loopback, own_addresses
from db_utils.ops.doctor.model import (
    Finding,
    Findings,
    Fix,
    Severity,
    check,
    duration,
    ok,
    skipped,
)
from db_utils.ops.sizes import size

_SECONDS = 2.0
_OLDEST_VERSION = (6, 2)
_EVICTED_SHARE_PCT = 10


@dataclass(frozen=True)
class Server:
    """The state reported by one redis-server."""

    name: str
    info: dict[str, Any]
    configuration: dict[str, str] | None
    """None if the server does not report it (managed services)."""
    skew_seconds: float
    uncertainty_seconds: float


def _servers(context: CheckContext) -> Iterator[Server]:
    assert context.redis_url is not None
    target = RedisTarget(context.redis_url, connect_seconds=_SECONDS)
    for name, client in target.clients():
        before = context.clock()
        now: Any = client.time()
        after = context.clock()
        info: Any = client.info()
        configuration: Any = None
        with contextlib.suppress(ResponseError):
            configuration = client.config_get()  # in str, whatever decode_responses says
        yield Server(
            name,
            info,
            configuration,
            now[0] + now[1] / 1e6 - (before + after) / 2,
            (after - before) / 2,
        )


def _asked(context: CheckContext) -> tuple[list[Server], str | None]:
    """Return the servers, or the reason there are none."""
    if context.redis_url is None:
        return [], "no cache is configured (REDIS_URL is empty)"
    try:
        return list(_servers(context)), None
    except (OSError, RedisError) as error:
        return [], f"Redis does not answer: {str(error) or type(error).__name__}"


@check("cache-reachable")
def reachable(context: CheckContext) -> Findings:
    """Does the prediction cache answer, and is its version supported?

    If nothing answers at the default, unconfigured address, that is a note.
    """
    if context.redis_url is None:
        yield ok("no cache is configured (REDIS_URL is empty): predictions come from PostgreSQL")
        return
    servers, why = _asked(context)
    if why:
        yield Finding(
            Severity.WARNING if context.redis_is_configured else Severity.NOTE,
            why + ("" if context.redis_is_configured else " (the default address; REDIS_URL is not set)"),
            "Every prediction is read from PostgreSQL: correct, but slower. Nothing is lost.",
            Fix("docker compose up -d --wait redis", "shell"),
        )
    for server in servers:
        version = server.info.get("redis_version", "0")
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_VERSION:
            yield Finding(
                Severity.WARNING,
                f"{server.name} is version {version}; 6.2 is the oldest version this library is tested with",
                "Scripts and expiry may behave differently there.",
                Fix("docker compose pull redis && docker compose up -d --wait redis", "shell"),
            )
        else:
            yield ok(f"{server.name} answers, version {version}")


@check("cache-memory")
def memory(context: CheckContext) -> Findings:
    """Is the cache's memory bounded, and does it evict old entries instead of refusing new ones?

    Evictions are a note if they exceed 10 % of lookups: the cache is too small.
    """
    servers, why = _asked(context)
    if why:
        yield skipped(why)
    for server in servers:
        limit, used = int(server.info.get("maxmemory", "0")), int(server.info.get("used_memory", "0"))
        policy = server.info.get("maxmemory_policy", "")
        figures = {"maxmemory_bytes": limit, "used_bytes": used, "policy": policy}
        if limit == 0:
            yield Finding(
                Severity.WARNING,
                f"{server.name}: maxmemory is not set, {size(used)} used",
                "It grows until the machine runs out of memory (REDIS_MAXMEMORY in the compose stack).",
                Fix("CONFIG SET maxmemory 256mb", "redis-cli"),
                figures,
            )
        if not policy.startswith("allkeys-"):
            yield Finding(
                Severity.WARNING,
                f"{server.name}: maxmemory-policy is {policy}",
                "When it is full, new predictions are refused, or entries without an expiry stay forever "
                "(REDIS_MAXMEMORY_POLICY in the compose stack).",
                Fix("CONFIG SET maxmemory-policy allkeys-lru", "redis-cli"),
                figures,
            )
        yield from _evictions(server, limit)


def _evictions(server: Server, limit: int) -> Findings:
    evicted = int(server.info.get("evicted_keys", "0"))
    misses = int(server.info.get("keyspace_misses", "0"))
    lookups = misses + int(server.info.get("keyspace_hits", "0"))
    if evicted and 100 * evicted > _EVICTED_SHARE_PCT * max(1, lookups):
        yield Finding(
            Severity.NOTE,
            f"{server.name}: {evicted:,} entries were evicted in {lookups:,} lookups ({misses:,} misses)",
            "The cache is too small for its load. The statement also resets the counters.",
            Fix(f"CONFIG SET maxmemory {max(2 * limit, 256 * 1024**2)}\nCONFIG RESETSTAT", "redis-cli"),
            {"evicted_keys": evicted, "lookups": lookups},
        )


@check("cache-persistence")
def persistence(context: CheckContext) -> Findings:
    """Does the cache write to disk, although its values can be computed again?"""
    servers, why = _asked(context)
    if why:
        yield skipped(why)
    for server in servers:
        if server.configuration is None:
            yield skipped(f"{server.name} does not report its configuration")
            continue
        on = [
            name
            for name, value in (
                ("save", server.configuration.get("save", "")),
                ("appendonly", server.configuration.get("appendonly", "no")),
            )
            if value not in ("", "no")
        ]
        if on:
            fixes = {"save": 'CONFIG SET save ""', "appendonly": "CONFIG SET appendonly no"}
            yield Finding(
                Severity.NOTE,
                f"{server.name} writes its entries to disk ({', '.join(on)})",
                "Each snapshot forks the server, may double its memory and delays replies; nothing in the cache is worth keeping.",
                Fix("\n".join(fixes[name] for name in on), "redis-cli"),
            )


@check("cache-password")
def password(context: CheckContext) -> Findings:
    """Can strangers beyond this machine read and write the cache?

    Tried with PING, without a password, at this machine's own addresses, or at the URL's host.
    """
    if context.redis_url is None:
        yield ok("no cache is configured (REDIS_URL is empty)")
        return
    target = RedisTarget(context.redis_url, connect_seconds=_SECONDS)
    if target.kind == "sentinel":
        yield skipped(
            "only the Sentinels know the servers behind them: run the check with the URL of each server"
        )
        return
    strangers = [
        (place, port)
        for host, port in target.addresses
        if port
        for place in ([host] if not is_loopback(host) else own_addresses())
        if _answers_strangers(place, port)
    ]
    for place, port in strangers[:1]:
        yield Finding(
            Severity.CRITICAL,
            f"Redis answers at {place}:{port} without a password, beyond this machine",
            "Anyone who can reach it can read every customer's predictions and make the library serve false ones. Set a password, then put "
            "it into REDIS_URL (REDIS_PASSWORD in the compose stack); or listen on loopback only.",
            Fix("CONFIG SET requirepass 'a long password'", "redis-cli"),
        )
    if not strangers:
        yield ok("Redis does not answer other machines without a password")


def _answers_strangers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
        connection.settimeout(1)
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


@check("cache-clock")
def cache_clock(context: CheckContext) -> Findings:
    """Do the clocks of this machine and of Redis agree?

    The age of a prediction, hence FRESH or STALE, is determined by Redis' clock.
    """
    servers, why = _asked(context)
    if why:
        yield skipped(why)
    for server in servers:
        certain = max(0.0, abs(server.skew_seconds) - server.uncertainty_seconds)
        severity = context.limits["clock-skew-seconds"].grade(certain)
        if severity > Severity.OK:
            yield Finding(
                severity,
                f"the clock of {server.name} is {duration(certain)} {'ahead of' if server.skew_seconds > 0 else 'behind'} this machine's",
                "Fresh predictions are reported as stale, or stale ones as fresh.",
                Fix("timedatectl set-ntp true", "shell"),
                {"skew_seconds": round(server.skew_seconds, 1)},
            )
