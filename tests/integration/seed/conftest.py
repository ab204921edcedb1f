"""Databases seeded for days with unusual calendars and clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.conftest import fresh_database
from tests.support.seed_story import Story, seeded_at

ANCHORS = {
    "today": None,
    "last minute of 29 February": "2024-02-29T23:59:30+01:00",
    "first instant of a month, a Sunday": "2024-12-01T00:00:00+01:00",
    "New Year": "2025-01-01T00:30:00+01:00",
    "spring change of clocks": "2025-03-30T12:00:00+02:00",
    "hour that comes twice": "2025-10-26T02:30:17.5+01:00",
    "first of a month in summer": "2026-07-01T00:30:00+02:00",
}


_USUAL = ("today",)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(anchor, id=name, marks=() if name in _USUAL else pytest.mark.slow)
        for name, anchor in ANCHORS.items()
    ],
)
def story(request: pytest.FixtureRequest, server_url: str, schema_template: str) -> Iterator[Story]:
    if request.param is None:
        db = request.getfixturevalue("seeded")
        yield Story(db, db.execute_query("SELECT anchor_at FROM seed_runs")[0]["anchor_at"])
        return
    with fresh_database(server_url, schema_template) as url, seeded_at(url, request.param) as db:
        yield Story(db, datetime.fromisoformat(request.param))
