"""The prediction cache's Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from db_utils import DatabaseManager
from db_utils.embedded import redis_server
from db_utils.ops.doctor import Finding, Severity, cache, context
from tests.integration.doctor import support

_BOUNDED = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")


@pytest.fixture
def url(seeded: DatabaseManager) -> str:
    return str(seeded.settings.database_url)


@pytest.fixture
def redis_url() -> Iterator[str]:
    with redis_server.start(*_BOUNDED) as started:
        yield started


def paste(redis_url: str, finding: Finding) -> None:
    """Run a printed fix line by line, as in redis-cli."""
    assert finding.fix is not None
    assert finding.fix.where == "redis-cli"
    with redis.Redis.from_url(redis_url) as client:
        for line in finding.fix.text.splitlines():
            words = line.split(" ", 3) if line.startswith("CONFIG SET") else line.split()
            client.execute_command(*[word.strip("\"'") for word in words])


def command(redis_url: str, *words: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command(*words)


@pytest.mark.parametrize(
    "check", ["cache-reachable", "cache-memory", "cache-persistence", "cache-password", "cache-clock"]
)
def test_a_cache_as_the_compose_file_makes_it_is_well(url: str, redis_url: str, check: str) -> None:
    assert support.well(url, check, redis_url=redis_url)


def test_no_cache_at_all_is_no_fault(url: str) -> None:
    assert support.ask(url, "cache-reachable", redis_url=None)[0].severity == Severity.OK
    assert support.ask(url, "cache-memory", redis_url=None)[0].severity == Severity.SKIPPED


def test_a_cache_that_does_not_answer_is_a_warning_and_what_cannot_be_asked_is_skipped(url: str) -> None:
    nowhere = f"redis://:a-secret@127.0.0.1:{redis_server.free_port()}/0"
    found = support.ailment(url, "cache-reachable", redis_url=nowhere)
    assert found.severity == Severity.WARNING
    assert "a-secret" not in found.found
    for check in ("cache-memory", "cache-persistence", "cache-clock"):
        assert support.ask(url, check, redis_url=nowhere)[0].severity == Severity.SKIPPED


def test_nothing_at_the_default_address_is_a_note_where_nobody_configured_it(url: str) -> None:
    nowhere = f"redis://127.0.0.1:{redis_server.free_port()}/0"
    found = support.ailment(url, "cache-reachable", redis_url=nowhere, redis_is_configured=False)
    assert found.severity == Severity.NOTE


def test_a_cache_that_refuses_the_password_is_a_warning(url: str) -> None:
    with redis_server.start("--requirepass", "right") as locked:
        found = support.ailment(url, "cache-reachable", redis_url=locked)
        assert found.severity == Severity.WARNING
        assert support.well(url, "cache-reachable", redis_url=locked.replace("//", "//:right@"))


def test_memory_without_a_bound_is_found_and_bounded(url: str, redis_url: str) -> None:
    command(redis_url, "CONFIG", "SET", "maxmemory", "0")
    found = support.ailment(url, "cache-memory", redis_url=redis_url)
    assert found.severity == Severity.WARNING
    paste(redis_url, found)
    assert support.well(url, "cache-memory", redis_url=redis_url)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_a_policy_that_refuses_new_entries_is_found_and_changed(
    url: str, redis_url: str, policy: str
) -> None:
    command(redis_url, "CONFIG", "SET", "maxmemory-policy", policy)
    found = support.ailment(url, "cache-memory", policy, redis_url=redis_url)
    assert found.severity == Severity.WARNING
    paste(redis_url, found)
    assert support.well(url, "cache-memory", redis_url=redis_url)


def test_a_cache_too_small_evicts_and_is_a_note(url: str, redis_url: str) -> None:
    command(redis_url, "CONFIG", "SET", "maxmemory", "3mb")
    with redis.Redis.from_url(redis_url) as client:
        for key in range(400):
            client.set(f"k{key}", "x" * 10_000)
    found = support.ailment(url, "cache-memory", "evicted", redis_url=redis_url)
    assert found.severity == Severity.NOTE
    assert found.figures["evicted_keys"] > 0
    paste(redis_url, found)
    assert support.well(url, "cache-memory", redis_url=redis_url)


@pytest.mark.parametrize(("name", "value"), [("save", "3600 1"), ("appendonly", "yes")])
def test_a_cache_that_writes_to_disk_is_a_note(url: str, redis_url: str, name: str, value: str) -> None:
    command(redis_url, "CONFIG", "SET", name, value)
    found = support.ailment(url, "cache-persistence", name, redis_url=redis_url)
    assert found.severity == Severity.NOTE
    paste(redis_url, found)
    assert support.well(url, "cache-persistence", redis_url=redis_url)


def test_a_cache_without_a_password_beyond_this_machine_is_critical(url: str) -> None:
    addresses = context.own_addresses()
    with redis_server.start(*_BOUNDED, "--bind", "0.0.0.0", "--protected-mode", "no") as opened:
        found = support.ailment(url, "cache-password", redis_url=opened)
        assert found.severity == Severity.CRITICAL
        assert addresses[0] in found.found
        paste(opened, found)
        assert support.well(url, "cache-password", redis_url=opened)


def test_a_clock_that_differs_from_redis(url: str, redis_url: str) -> None:
    found = support.ailment(url, "cache-clock", redis_url=redis_url, clock=lambda: time.time() - 60)
    assert found.severity == Severity.WARNING
    assert "ahead of" in found.found
    assert abs(found.figures["skew_seconds"] - 60) < 2


def test_an_old_version_is_a_warning(url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_OLDEST_VERSION", (99, 0))
    assert support.ailment(url, "cache-reachable", redis_url=redis_url).severity == Severity.WARNING
