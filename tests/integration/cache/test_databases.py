"""A cache's predictions: of one database, and of existing organizations."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from functools import partial

import psycopg2.extensions
import pytest
import redis

from db_utils import DatabaseManager, OperationalDataQueries, errors
from db_utils.cache import (
    CacheInvalidationListener,
    Freshness,
    PredictionCache,
    PredictionKind,
    database_identity,
)
from tests.conftest import fresh_database, maintenance

from .conftest import prediction, wait_until

ORGANIZATION = uuid.UUID("11111111-1111-1111-1111-111111111111")
NOW = dt.datetime.now(dt.UTC)


class Site:
    """A database with one organization and location, and its queries with a cache."""

    def __init__(self, db: DatabaseManager, cache: PredictionCache) -> None:
        self.db = db
        self.queries = OperationalDataQueries(db, cache=cache)
        self.queries.create_organization("Acme", industry="x", organization_id=ORGANIZATION)
        self.location = self.queries.create_location(
            ORGANIZATION, "Hall", location_type="factory", timezone="UTC", location_id=ORGANIZATION
        )["location_id"]

    def save(self, quantity: int, product: str = "P", queries: OperationalDataQueries | None = None) -> None:
        (queries or self.queries).save_demand_forecasts(
            ORGANIZATION,
            [
                {
                    "product_id": product,
                    "location_id": self.location,
                    "target_time": NOW + dt.timedelta(days=1),
                    "predicted_quantity": quantity,
                }
            ],
            model_name="m",
            model_version=str(quantity),
            available_at=NOW - dt.timedelta(hours=1),
        )

    def ask(self, product: str = "P") -> tuple[str, int] | None:
        answer = self.queries.get_cached_demand_forecast(ORGANIZATION, product, location_id=self.location)
        return None if answer is None else (answer.source, int(answer.value[0]["predicted_quantity"]))


@pytest.fixture
def production(empty_database: DatabaseManager, cache: PredictionCache) -> Site:
    return Site(empty_database, cache)


@pytest.fixture
def staging(server_url: str, schema_template: str, cache: PredictionCache) -> Iterator[Site]:
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        yield Site(db, cache)


def test_two_databases_on_one_redis_answer_for_themselves(production: Site, staging: Site) -> None:
    production.save(1)
    staging.save(2)
    assert (production.ask(), staging.ask()) == (("cache", 1), ("cache", 2))
    scope = OperationalDataQueries(staging.db.tenant(ORGANIZATION), cache=PredictionCache(None))
    staging.save(3, queries=scope)  # by a writer without a cache
    assert staging.ask() == ("cache", 2)
    assert production.ask() == ("cache", 1)


def test_what_was_kept_before_a_restore_is_not_found_after_it(
    production: Site, staging: Site, server_url: str
) -> None:
    """The restored database takes the name of the existing one, as with `db-utils restore`."""
    production.save(999)
    staging.save(1)
    names = [
        psycopg2.extensions.parse_dsn(s.db.settings.database_url)["dbname"] for s in (production, staging)
    ]
    assert production.ask() == ("cache", 999)
    staging.db.close()
    with maintenance(server_url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%s)", (names,)
        )
        cursor.execute(f'ALTER DATABASE "{names[0]}" RENAME TO "{names[0]}_old"')
        cursor.execute(f'ALTER DATABASE "{names[1]}" RENAME TO "{names[0]}"')
    try:
        wait_until(lambda: production.ask() in (("database", 1), ("cache", 1)))
        production.save(2)
        assert production.ask() == ("cache", 2)
    finally:
        production.db.close()
        with maintenance(server_url) as cursor:
            cursor.execute(f'ALTER DATABASE "{names[0]}" RENAME TO "{names[1]}"')
            cursor.execute(f'ALTER DATABASE "{names[0]}_old" RENAME TO "{names[0]}"')


def test_an_organization_that_has_ended_is_not_answered_for(production: Site) -> None:
    production.save(777)
    assert production.ask() == ("cache", 777)
    for table in ("demand_forecasts", "locations", "organizations"):
        production.db.execute(f"DELETE FROM {table} WHERE organization_id = %s", (ORGANIZATION,))

    def is_unknown() -> bool:
        try:
            production.ask()
        except errors.NotFoundError:
            return True
        return False

    wait_until(is_unknown)
    newcomer = Site(production.db, PredictionCache(None))  # the same id, with its own rows
    newcomer.save(5)
    assert production.ask() == ("database", 5)
    assert production.ask() == ("cache", 5)


def test_a_writer_that_was_idle_reaches_the_readers_of_an_organization_that_is_new(
    production: Site, cache: PredictionCache
) -> None:
    writer = DatabaseManager(production.db.settings.database_url)
    idle = OperationalDataQueries(writer, cache=cache)
    idle.get_cached_anomaly_predictions(ORGANIZATION)
    other = uuid.uuid4()
    production.queries.create_organization("New", industry="x", organization_id=other)
    assert production.queries.get_cached_anomaly_predictions(other) is None
    production.save(1)
    production.save(2, queries=idle)
    assert production.ask() == ("cache", 2)
    writer.close()


@pytest.mark.parametrize("product", ["产品" * 30, "p" * 600, "a:b", "{}", "!generation", "!sha256.0"])
def test_any_product_id_can_be_asked_for(production: Site, product: str) -> None:
    if len(product) < 200:  # what the table accepts is up to the table
        production.save(4, product)
        assert production.ask(product) == ("cache", 4)
    else:
        assert production.ask(product) is None


def test_a_database_that_cannot_say_which_it_is_keeps_nothing(
    production: Site, cache: PredictionCache, raw: redis.Redis
) -> None:
    production.save(1)
    before = set(raw.scan_iter())
    production.db.execute("ALTER FUNCTION database_id() RENAME TO forgotten")
    with DatabaseManager(production.db.settings.database_url) as db:
        queries = OperationalDataQueries(db, cache=cache)
        for _ in range(2):
            answer = queries.get_cached_demand_forecast(ORGANIZATION, "P", location_id=production.location)
            assert answer is not None
            assert answer.source == "database"
    assert set(raw.scan_iter()) == before


def test_a_listener_reaches_the_queries_keys_and_those_of_the_cache_itself(
    production: Site, cache: PredictionCache
) -> None:
    production.save(1)
    cache.put(ORGANIZATION, PredictionKind.DEMAND_FORECAST, "mine", prediction())
    listener = CacheInvalidationListener.following(cache, production.db)
    listener.start()
    try:
        production.db.execute(
            "INSERT INTO demand_forecasts (organization_id, product_id, location_id, target_time, predicted_quantity,"
            " model_name, model_version, available_at)"
            " SELECT organization_id, product_id, location_id, target_time, 8, 'by hand', '8', now() FROM demand_forecasts"
        )
        wait_until(lambda: production.ask() in (("database", 8), ("cache", 8)))
        wait_until(lambda: cache.get(ORGANIZATION, PredictionKind.DEMAND_FORECAST, "mine") is None)
    finally:
        listener.stop()


def test_what_this_process_ends_by_sql_of_its_own_is_not_answered_for_from_then_on(production: Site) -> None:
    """Without a listener and without waiting, the next call knows."""
    production.save(777)
    assert production.ask() == ("cache", 777)
    with production.db.transaction() as transaction:
        for table in ("demand_forecasts", "locations", "organizations"):
            transaction.execute(f"DELETE FROM {table} WHERE organization_id = %s", (ORGANIZATION,))
    with pytest.raises(errors.NotFoundError):
        production.ask()


def test_after_an_idle_hour_the_first_answer_is_of_the_database_as_it_is(
    production: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has deleted the organization meanwhile; nothing was listening, and nothing has queried."""
    production.save(777)
    assert production.ask() == ("cache", 777)
    monkeypatch.setattr(database_identity, "BELIEVED_SECONDS", 0.0)  # an hour later
    monkeypatch.setattr(database_identity, "_WAIT_SECONDS", 60.0)
    with DatabaseManager(production.db.settings.database_url) as other:
        for table in ("demand_forecasts", "locations", "organizations"):
            other.execute(f"DELETE FROM {table} WHERE organization_id = %s", (ORGANIZATION,))
    with pytest.raises(errors.NotFoundError):
        production.ask()


def test_what_the_database_does_not_confirm_is_not_fresh(
    production: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    production.save(5)
    cached = partial(
        production.queries.get_cached_demand_forecast, ORGANIZATION, "P", location_id=production.location
    )
    assert (known := cached()) is not None
    assert (known.source, known.freshness) == ("cache", Freshness.FRESH)

    def is_away(*_: object, **__: object) -> None:
        raise errors.ConnectionFailedError("nobody there")

    with monkeypatch.context() as patch:
        patch.setattr(production.db.pool, "read", is_away)
        patch.setattr(database_identity, "BELIEVED_SECONDS", 0.0)
        for _ in range(3):
            assert (held := cached()) is not None
            assert (held.source, held.freshness, held.value) == ("cache", Freshness.STALE, known.value)
    wait_until(lambda: (again := cached()) is not None and again.freshness is Freshness.FRESH)


def test_a_copy_that_is_not_believed_gives_way_to_an_older_row_where_the_newer_one_was_deleted(
    production: Site, redis_url: str
) -> None:
    """Otherwise each read would go to the database until Redis drops the copy."""
    forgetful = PredictionCache(
        redis_url, budget_seconds=2.0, lifetime_seconds=0.001, jitter=0, early_refresh=0
    )
    production.save(1)
    production.save(2)
    production.queries = OperationalDataQueries(production.db, cache=forgetful)
    production.save(3)
    with DatabaseManager(production.db.settings.database_url) as other:
        other.execute("DELETE FROM demand_forecasts WHERE model_version = '3'")
    patient = PredictionCache(redis_url, budget_seconds=2.0, early_refresh=0)
    production.queries = OperationalDataQueries(production.db, cache=patient)
    assert [production.ask() for _ in range(3)] == [("database", 2), ("cache", 2), ("cache", 2)]
    forgetful.close()
    patient.close()
