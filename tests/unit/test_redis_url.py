"""REDIS_URL: every documented form, and no password in messages about invalid ones."""

from __future__ import annotations

from typing import Any

import pytest
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from db_utils.cache import PredictionCache
from db_utils.cache.redis_url import RedisTarget
from db_utils.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "service"),
    [
        ("redis://", "", [("localhost", 6379)], ""),
        ("redis://cache", "", [("cache", 6379)], ""),
        ("redis://cache:7000/3", "", [("cache", 7000)], ""),
        ("redis://[::1]:7000", "", [("::1", 7000)], ""),
        ("rediss://user:pass@cache:6380/0?ssl_cert_reqs=none", "", [("cache", 6380)], ""),
        ("unix:///run/redis.sock?db=2", "", [("/run/redis.sock", 0)], ""),
        (
            "redis+sentinel://a,b:7,[::1]:8/mymaster",
            "sentinel",
            [("a", 26379), ("b", 7), ("::1", 8)],
            "mymaster",
        ),
        ("rediss+sentinel://u:p@a/mymaster/2?sentinel_password=s", "sentinel", [("a", 26379)], "mymaster"),
        ("redis+cluster://a:7000,b:7001", "cluster", [("a", 7000), ("b", 7001)], ""),
        ("rediss+cluster://u:p@a", "cluster", [("a", 6379)], ""),
    ],
)
def test_the_documented_forms(url: str, kind: str, addresses: list[Any], service: str) -> None:
    target = RedisTarget(url, connect_seconds=1)
    assert (target.kind, target.addresses, target.service) == (kind, addresses, service)


def arguments(url: str) -> dict[str, Any]:
    return RedisTarget(url, connect_seconds=1)._arguments


def test_what_the_url_says_reaches_the_connection() -> None:
    said = arguments("redis://us%40er:p%2Fw%3A@cache/7?client_name=app&max_connections=5&socket_timeout=99")
    assert (said["username"], said["password"], said["db"], said["client_name"]) == (
        "us@er",
        "p/w:",
        7,
        "app",
    )
    assert "max_connections" not in said
    assert said["socket_timeout"] == 1
    assert arguments("redis+sentinel://u:p@a/mymaster/2")["db"] == 2
    assert arguments("unix://u:p@/run/redis.sock?db=4")["path"] == "/run/redis.sock"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://a", Connection),
        ("rediss://a", SSLConnection),
        ("rediss+cluster://a,b", SSLConnection),
        ("unix:///a", UnixDomainSocketConnection),
    ],
)
def test_the_scheme_decides_about_tls(url: str, kind: type) -> None:
    assert RedisTarget(url, connect_seconds=1)._connection is kind


@pytest.mark.parametrize(
    "url",
    [
        "cache:6379",
        "http://cache",
        "redis+pigeon://a",
        "unix+cluster:///a",
        "redis://a,b",
        "redis+sentinel://a",
        "redis+cluster://a/3",
        "redis://cache:port",
        "redis://cache:99999",
        "redis://[::1",
        "redis://cache?no_such_option=1",
        "redis://cache?db=first",
        "redis://u:hunter2/secret@cache",
        "rediss://cache?ssl_cert_reqs=perhaps",
        "redis+sentinel://u:hunter2@a:b/mymaster",
    ],
)
def test_other_forms_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PredictionCache(url)
    assert "hunter2" not in str(caught.value)
    assert "REDIS_URL" in str(caught.value)


def test_neither_repr_nor_name_holds_the_password() -> None:
    for url in (
        "redis://u:hunter2@cache/1",
        "redis+cluster://u:hunter2@a,b",
        "redis+sentinel://u:hunter2@a/m",
    ):
        cache = PredictionCache(url)
        assert "hunter2" not in repr(cache) + repr(cache.statistics()) + repr(vars(cache))
        cache.close()


@pytest.mark.parametrize(
    "options",
    [
        {"budget_seconds": 0},
        {"budget_seconds": float("nan")},
        {"lifetime_seconds": -1},
        {"grace_seconds": -1},
        {"jitter": 1},
        {"fresh_seconds": 10, "stale_seconds": 5},
        {"namespace": "a:b"},
        {"max_connections": 0},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PredictionCache(None, **options)
