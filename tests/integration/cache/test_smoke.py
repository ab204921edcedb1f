"""The smoke test reports the state of the cache, and completes in every state."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from db_utils import DatabaseManager, smoke
from db_utils.embedded import redis_server

from .faults import Fault, FaultProxy

CACHED = 4
"""Prebuilt queries that go through the cache."""


def shown(db: DatabaseManager, redis_url: str | None) -> str:
    """What the smoke test prints with this Redis, on a wide screen; it must succeed."""
    screen = io.StringIO()
    settings = replace(db.settings, redis_url=redis_url, cache_budget_seconds=2.0)
    assert smoke.run(settings, Console(file=screen, width=200))
    return screen.getvalue()


def counts(text: str) -> dict[str, int]:
    """The numbers of the line about the cache."""
    (line,) = [line for line in text.splitlines() if line.startswith("Prediction cache:")]
    return {
        name: int(number) for number, name in re.findall(r"(\d+) (hits|misses|stale|errors|bytes read)", line)
    }


@pytest.mark.thorough
def test_what_is_cached_comes_from_redis_the_second_time(seeded: DatabaseManager) -> None:
    with redis_server.start() as url:
        text = shown(seeded, url)
    assert "Redis           answers in" in text
    assert "breaker closed" in text
    assert "ms for a rebuild" in text
    told = counts(text)
    assert told.pop("bytes read") > 50 * CACHED
    assert told == {"hits": CACHED, "misses": CACHED, "stale": 0, "errors": 0}
    assert text.count('"source": "cache"') == text.count('"source": "database"') == CACHED


@pytest.mark.thorough
def test_without_a_cache_it_says_so(seeded: DatabaseManager) -> None:
    text = shown(seeded, None)
    assert "REDIS_URL is empty, predictions come from PostgreSQL" in text
    assert "Prediction cache:" not in text
    assert text.count('"source": "database"') == CACHED


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BLACK_HOLE])
def test_a_redis_that_does_not_answer_changes_no_answer(
    seeded: DatabaseManager, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.fault = fault
    text = shown(seeded, proxy.url)
    assert "Redis           does not answer: predictions come from PostgreSQL" in text
    assert counts(text)["hits"] == 0
    assert counts(text)["errors"] > 0
    assert text.count('"source": "database"') == 2 * CACHED


@pytest.mark.thorough
def test_it_says_how_old_the_last_good_run_of_each_source_is(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    assert "Source " not in shown(db, None)
    db.execute(
        "INSERT INTO connector_runs (organization_id, connector, window_start, window_end, started_at, finished_at, error_message) "
        "SELECT o.organization_id, r.connector, now() - interval '1 day', now(), now() - r.age, now() - r.age, r.error "
        "FROM organizations AS o CROSS JOIN (VALUES ('ecb', interval '3 days', NULL), ('ecb', interval '5 hours', 'HTTP 503'), "
        "('open-meteo', interval '60 hours', NULL), ('fred', interval '1 hour', 'no key')) AS r (connector, age, error) "
        "WHERE o.organization_id = '11111111-1111-1111-1111-111111111111'"
    )
    lines = [line for line in shown(db, None).splitlines() if line.startswith("Source ")]
    assert lines == [
        "Source ecb: last successful run 3.0 days ago, failing at 1 of 1 places.",
        "Source fred: no successful run yet, failing at 1 of 1 places.",
        "Source open-meteo: last successful run 2.5 days ago.",
    ]
