"""A writer that is not this library, such as a person in pgAdmin, is noticed within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras
import pytest

from db_utils import DatabaseManager
from db_utils.cache import CacheInvalidationListener, PredictionCache, PredictionKind
from db_utils.errors import InvalidInputError

from .conftest import prediction, wait_until

OURS = UUID("aaaaaaaa-0000-0000-0000-000000000001")
THEIRS = UUID("bbbbbbbb-0000-0000-0000-000000000001")


@pytest.fixture
def somebody_else(empty_database: DatabaseManager) -> Iterator[Any]:
    """A cursor of a connection that knows nothing of this library, with two organizations."""
    connection = psycopg2.connect(empty_database.settings.database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for organization in (OURS, THEIRS):
            cursor.execute(
                "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%s, %s, 'food', 'UTC')",
                (str(organization), str(organization)),
            )
            cursor.execute(
                "INSERT INTO locations (organization_id, location_id, name, location_type, timezone)"
                " VALUES (%s, %s, 'Plant', 'factory', 'UTC')",
                (str(organization), str(organization)),
            )
        yield cursor
    connection.close()


def forecast(cursor: Any, organization: UUID) -> None:
    cursor.execute(
        "INSERT INTO demand_forecasts (organization_id, product_id, location_id, target_time, predicted_quantity,"
        " model_name, model_version, available_at) VALUES (%s, 'SKU', %s, %s, 5, 'by hand', '1', now())",
        (str(organization), str(organization), datetime(2030, 1, 1, tzinfo=UTC)),
    )


def test_a_row_inserted_by_hand_is_noticed_within_a_second(
    cache: PredictionCache, empty_database: DatabaseManager, somebody_else: Any
) -> None:
    kinds = (PredictionKind.DEMAND_FORECAST, PredictionKind.ABSENCE_FORECAST)
    for organization in (OURS, THEIRS):
        for kind in kinds:
            cache.put(organization, kind, "a", prediction())
    listener = CacheInvalidationListener.following(cache, empty_database)
    listener.start()
    try:
        began = time.monotonic()
        forecast(somebody_else, OURS)
        wait_until(lambda: cache.get(OURS, kinds[0], "a") is None)
        assert time.monotonic() - began < 1
        assert cache.get(OURS, kinds[1], "a") is not None
        assert cache.get(THEIRS, kinds[0], "a") is not None
        somebody_else.execute("BEGIN")
        forecast(somebody_else, THEIRS)
        somebody_else.execute("ROLLBACK")
        forecast(somebody_else, OURS)
        wait_until(lambda: listener.received == 2)
        assert cache.get(THEIRS, kinds[0], "a") is not None  # a rolled-back run is not seen
    finally:
        assert listener.stop(30)
    assert listener.malformed == 0


def test_after_a_lost_connection_everything_that_was_followed_is_dropped(
    cache: PredictionCache, empty_database: DatabaseManager, somebody_else: Any
) -> None:
    listener = CacheInvalidationListener.following(cache, empty_database, [OURS])
    listener.start()
    try:
        for organization in (OURS, THEIRS):
            cache.put(organization, PredictionKind.ABSENCE_FORECAST, "a", prediction())
        somebody_else.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
        wait_until(lambda: cache.get(OURS, PredictionKind.ABSENCE_FORECAST, "a") is None)
        assert cache.get(THEIRS, PredictionKind.ABSENCE_FORECAST, "a") is not None
    finally:
        assert listener.stop(30)


def test_nobody_to_follow_is_an_error(cache: PredictionCache, empty_database: DatabaseManager) -> None:
    with pytest.raises(InvalidInputError):
        CacheInvalidationListener.following(cache, empty_database)
