"""Writes by others than this library, such as a user of pgAdmin, are noticed within a second."""

from __future__ import annotations

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


LATER = UUID("cccccccc-0000-0000-0000-000000000001")
END_LISTENING = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query ILIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()"
)


def add_organization(cursor: Any, organization: UUID) -> None:
    cursor.execute(
        "INSERT INTO organizations (organization_id, name, industry, timezone) VALUES (%(o)s, %(o)s, 'food', 'UTC');"
        "INSERT INTO locations (organization_id, location_id, name, location_type, timezone)"
        " VALUES (%(o)s, %(o)s, 'Plant', 'factory', 'UTC')",
        {"o": str(organization)},
    )


@pytest.fixture
def other_session(empty_database: DatabaseManager) -> Iterator[Any]:
    """A cursor of a connection outside this library, with two organizations."""
    connection = psycopg2.connect(empty_database.settings.database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for organization in (OURS, THEIRS):
            add_organization(cursor, organization)
        yield cursor
    connection.close()


def forecast(cursor: Any, organization: UUID, days: int = 0) -> None:
    cursor.execute(
        "INSERT INTO demand_forecasts (organization_id, product_id, location_id, target_time, predicted_quantity,"
        " model_name, model_version, available_at) VALUES (%s, 'SKU', %s, %s, 5, 'by hand', '1', now())",
        (str(organization), str(organization), datetime(2030, 1, 1 + days, tzinfo=UTC)),
    )


def test_a_row_inserted_by_hand_is_noticed(
    cache: PredictionCache, empty_database: DatabaseManager, other_session: Any
) -> None:
    kinds = (PredictionKind.DEMAND_FORECAST, PredictionKind.ABSENCE_FORECAST)
    for organization in (OURS, THEIRS):
        for kind in kinds:
            cache.put(organization, kind, "a", prediction())
    listener = CacheInvalidationListener.following(cache, empty_database)
    listener.start()
    try:
        forecast(other_session, OURS)
        wait_until(lambda: cache.get(OURS, kinds[0], "a") is None)
        assert cache.get(OURS, kinds[1], "a") is not None
        assert cache.get(THEIRS, kinds[0], "a") is not None
        other_session.execute("BEGIN")
        forecast(other_session, THEIRS)
        other_session.execute("ROLLBACK")
        forecast(other_session, OURS)
        wait_until(lambda: listener.received == 2)
        assert cache.get(THEIRS, kinds[0], "a") is not None  # a rolled-back run is not seen
    finally:
        assert listener.stop(30)
    assert listener.malformed == 0


def prediction_of_each_kind(cursor: Any, organization: UUID) -> None:
    forecast(cursor, organization)
    cursor.execute(
        "INSERT INTO resources (organization_id, resource_id, location_id, name, resource_type)"
        " VALUES (%(o)s, %(o)s, %(o)s, 'Oven', 'oven');"
        "INSERT INTO anomaly_predictions (organization_id, resource_id, anomaly_type, severity, probability, predicted_for,"
        " model_name, model_version, available_at)"
        " VALUES (%(o)s, %(o)s, 'failure', 'low', 0.5, now(), 'by hand', '1', now());"
        "INSERT INTO absence_forecasts (organization_id, location_id, target_date, expected_absences, model_name,"
        " model_version, available_at) VALUES (%(o)s, %(o)s, current_date, 2, 'by hand', '1', now())",
        {"o": str(organization)},
    )


@pytest.mark.parametrize(
    ("statement", "kinds", "organizations"),
    [
        (f"DELETE FROM demand_forecasts WHERE organization_id = '{OURS}'", {"demand_forecast"}, {OURS}),
        (f"DELETE FROM absence_forecasts WHERE organization_id = '{OURS}'", {"absence_forecast"}, {OURS}),
        (f"DELETE FROM anomaly_predictions WHERE organization_id = '{OURS}'", {"anomaly_prediction"}, {OURS}),
        ("DELETE FROM demand_forecasts", {"demand_forecast"}, {OURS, THEIRS}),
        (
            "UPDATE anomaly_predictions SET status = 'closed', outcome = 'false_alarm', closed_at = now()"
            f" WHERE organization_id = '{OURS}'",
            {"anomaly_prediction"},
            {OURS},
        ),
        ("TRUNCATE demand_forecasts", {"demand_forecast"}, {OURS, THEIRS}),
        (
            "TRUNCATE organizations CASCADE",
            {"demand_forecast", "anomaly_prediction", "absence_forecast"},
            {OURS, THEIRS},
        ),
    ],
)
def test_what_is_changed_or_deleted_by_hand_is_noticed(
    cache: PredictionCache,
    empty_database: DatabaseManager,
    other_session: Any,
    statement: str,
    kinds: set[str],
    organizations: set[UUID],
) -> None:
    everything = {(organization, kind.value) for organization in (OURS, THEIRS) for kind in PredictionKind}
    for organization in (OURS, THEIRS):
        prediction_of_each_kind(other_session, organization)
    for organization, kind in everything:
        cache.put(organization, kind, "a", prediction())

    def forgotten() -> set[tuple[UUID, str]]:
        return {
            (organization, kind)
            for organization, kind in everything
            if cache.get(organization, kind, "a") is None
        }

    listener = CacheInvalidationListener.following(cache, empty_database)
    listener.start()
    try:
        other_session.execute(f"BEGIN; {statement}; ROLLBACK")
        other_session.execute(statement)
        wait_until(lambda: listener.received == len(kinds) * len(organizations))
    finally:
        assert listener.stop(30)
    assert forgotten() == {(organization, kind) for organization in organizations for kind in kinds}


def test_an_organization_goes_in_the_same_statement_as_its_predictions(other_session: Any) -> None:
    """Its channel is gone when the deletion is notified, which must not stop the thread."""
    forecast(other_session, OURS)
    other_session.execute(
        "WITH forecasts AS (DELETE FROM demand_forecasts WHERE organization_id = %(o)s), "
        "sites AS (DELETE FROM locations WHERE organization_id = %(o)s) "
        "DELETE FROM organizations WHERE organization_id = %(o)s",
        {"o": str(OURS)},
    )
    other_session.execute("SELECT count(*) FROM organizations")
    assert other_session.fetchone() == (1,)


def test_an_organization_that_comes_later_is_followed(
    cache: PredictionCache,
    empty_database: DatabaseManager,
    other_session: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("db_utils.cache.invalidation._LOOK_SECONDS", 0.2)
    kind = PredictionKind.DEMAND_FORECAST
    listener = CacheInvalidationListener.following(cache, empty_database)
    listener.start()
    try:
        add_organization(other_session, LATER)
        for organization in (OURS, LATER):
            cache.put(organization, kind, "a", prediction())
        wait_until(lambda: cache.get(LATER, kind, "a") is None)  # it may have changed before anyone listened
        for round_number in range(2):
            cache.put(LATER, kind, "a", prediction())
            forecast(other_session, LATER, round_number)
            wait_until(lambda: cache.get(LATER, kind, "a") is None)
            if round_number == 0:  # and it is followed again after a lost connection
                missed = listener.received
                other_session.execute(END_LISTENING)
                wait_until(lambda before=missed: listener.received == before + 3)
        assert cache.get(OURS, kind, "a") is None  # by the lost connection alone
    finally:
        assert listener.stop(30)
    assert listener.error is None


def test_after_a_lost_connection_everything_that_was_followed_is_dropped(
    cache: PredictionCache, empty_database: DatabaseManager, other_session: Any
) -> None:
    listener = CacheInvalidationListener.following(cache, empty_database, [OURS])
    listener.start()
    try:
        for organization in (OURS, THEIRS):
            cache.put(organization, PredictionKind.ABSENCE_FORECAST, "a", prediction())
        other_session.execute(END_LISTENING)
        wait_until(lambda: cache.get(OURS, PredictionKind.ABSENCE_FORECAST, "a") is None)
        assert cache.get(THEIRS, PredictionKind.ABSENCE_FORECAST, "a") is not None
    finally:
        assert listener.stop(30)


def test_nobody_to_follow_is_an_error(cache: PredictionCache, empty_database: DatabaseManager) -> None:
    with pytest.raises(InvalidInputError):
        CacheInvalidationListener.following(cache, empty_database)
