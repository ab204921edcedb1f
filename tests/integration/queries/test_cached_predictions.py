"""Predictions through the cache: reads, writes after commit and never before, and never across tenants."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, OperationalDataQueries, Transaction
from db_utils.cache import CachedPrediction, Freshness, Prediction, PredictionCache
from db_utils.embedded import redis_server
from db_utils.errors import (
    InvalidInputError,
    NotFoundError,
    ServerUnavailableError,
    UniqueViolationError,
)
from db_utils.queries import cached_predictions
from tests.conftest import fresh_database
from tests.support.proxy import Proxy

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
    else:
        with redis_server.start() as url:
            yield url


@pytest.fixture(scope="module")
def db(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as manager:
        yield manager


@pytest.fixture
def cache(redis_url: str) -> Iterator[PredictionCache]:
    """A cache with its own keys, and enough time for a busy machine."""
    with PredictionCache(
        redis_url, namespace=f"test-{uuid.uuid4().hex[:8]}", budget_seconds=10, early_refresh=0
    ) as own:
        yield own


@dataclass
class Site:
    db: DatabaseManager
    cache: PredictionCache
    queries: OperationalDataQueries
    organization: uuid.UUID
    location: uuid.UUID
    resource: uuid.UUID
    employee: uuid.UUID
    now: dt.datetime

    def run(self, **changes: Any) -> dict[str, Any]:
        return {"model_name": "prophet", "model_version": "1", "available_at": self.now - 2 * HOUR, **changes}

    def forecasts(self, quantity: int, days: int = 3, product: str = "P") -> list[Any]:
        return [
            {
                "product_id": product,
                "location_id": self.location,
                "target_time": self.now + number * DAY,
                "predicted_quantity": quantity,
            }
            for number in range(days)
        ]

    def forecast(self, queries: OperationalDataQueries | None = None, product: str = "P") -> CachedPrediction:
        answer = (queries or self.queries).get_cached_demand_forecast(
            self.organization, product, location_id=self.location
        )
        assert answer is not None
        return answer


@pytest.fixture
def site(db: DatabaseManager, cache: PredictionCache) -> Site:
    queries = OperationalDataQueries(db, cache=cache)
    organization = queries.create_organization("Acme", industry="x")["organization_id"]
    location = queries.create_location(organization, "Hall", location_type="factory", timezone="UTC")[
        "location_id"
    ]
    resource = queries.create_resource(organization, "Press", location_id=location, resource_type="press")
    employee = queries.create_employee(organization, "Ada", location_id=location, employee_code="1", role="x")
    return Site(
        db,
        cache,
        queries,
        organization,
        location,
        resource["resource_id"],
        employee["employee_id"],
        dt.datetime.now(dt.UTC).replace(microsecond=0),
    )


def quantities(answer: CachedPrediction) -> list[int]:
    return [int(row["predicted_quantity"]) for row in answer.value]


def test_saving_a_run_fills_the_cache(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    answer = site.forecast()
    assert answer.source == "cache"
    assert answer.freshness is Freshness.FRESH
    assert (answer.model_name, answer.model_version) == ("prophet", "1")
    assert answer.available_at == site.now - 2 * HOUR
    rows = site.queries.get_current_demand_forecasts(
        site.organization, start=site.now - DAY, product_id="P", location_id=site.location
    )
    assert answer.value == rows, "the same rows with the same types as from the database"


def test_a_newer_run_is_seen_at_once_and_an_older_one_never(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    site.queries.save_demand_forecasts(
        site.organization, site.forecasts(7), **site.run(available_at=site.now - HOUR)
    )
    assert quantities(site.forecast()) == [7, 7, 7]
    site.queries.save_demand_forecasts(
        site.organization, site.forecasts(3), **site.run(available_at=site.now - 2 * DAY)
    )
    assert quantities(site.forecast()) == [7, 7, 7]
    assert site.forecast().source == "cache"


def test_a_backfill_of_other_targets_is_seen(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5, days=1), **site.run())
    site.queries.save_demand_forecasts(
        site.organization, site.forecasts(3, days=3), **site.run(available_at=site.now - 2 * DAY)
    )
    answer = site.forecast()
    assert quantities(answer) == [5, 3, 3]
    assert answer.available_at == site.now - 2 * HOUR, "that of the newest run"
    assert {row["available_at"] for row in answer.value} == {site.now - 2 * HOUR, site.now - 2 * DAY}


def test_a_miss_is_read_from_the_database_once(site: Site) -> None:
    OperationalDataQueries(site.db).save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    first, second = site.forecast(), site.forecast()
    assert (first.source, second.source) == ("database", "cache")
    assert first.value == second.value
    assert site.cache.statistics()["misses"] == 1


@pytest.mark.parametrize(
    "value",
    [
        "<script>",
        {"target_end": 1},
        [1],
        [{}],
        [{"target_end": "x", "available_at": dt.datetime(2025, 1, 1)}],
    ],
)
def test_a_value_of_another_form_is_no_answer(site: Site, value: object) -> None:
    """Well-formed for the cache, but not the prebuilt query's format: written by someone else."""
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    site.queries.save_anomaly_predictions(
        site.organization,
        [
            {
                "resource_id": site.resource,
                "anomaly_type": "failure",
                "severity": "high",
                "probability": 0.5,
                "predicted_for": site.now + DAY,
            }
        ],
        **site.run(),
    )
    own = site.cache.of_database(site.db)
    foreign = Prediction(value, "other", "1", site.now)
    for kind, entity, ask in (
        ("demand_forecast", ("P", site.location), site.forecast),
        (
            "anomaly_prediction",
            "active",
            lambda: site.queries.get_cached_anomaly_predictions(site.organization),
        ),
    ):
        assert own.put(site.organization, kind, entity, foreign) == "stored"
        answers = [ask(), ask()]
        assert [answer and (answer.source, answer.model_name) for answer in answers] == [
            ("database", "prophet"),
            ("cache", "prophet"),
        ]
        assert all(answer and answer.value for answer in answers)


def test_a_run_is_not_seen_before_its_commit_nor_after_a_rollback(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    newer = site.run(available_at=site.now)

    def save_and_fail() -> None:
        with site.db.transaction() as transaction:
            inside = OperationalDataQueries(transaction, cache=site.cache)
            inside.save_demand_forecasts(site.organization, site.forecasts(9), **newer)
            assert quantities(site.forecast(inside)) == [9, 9, 9], "the transaction sees its own"
            assert site.forecast(inside).source == "database"
            assert quantities(site.forecast()) == [5, 5, 5], "others do not"
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        save_and_fail()
    assert quantities(site.forecast()) == [5, 5, 5]

    with site.db.transaction() as transaction:
        inside = OperationalDataQueries(transaction, cache=site.cache)
        inside.save_demand_forecasts(site.organization, site.forecasts(9), **newer)
    assert quantities(site.forecast()) == [9, 9, 9]


def test_only_the_outermost_commit_counts(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    with site.db.transaction() as outer:
        with outer.transaction() as inner:
            OperationalDataQueries(inner, cache=site.cache).save_demand_forecasts(
                site.organization, site.forecasts(9), **site.run(available_at=site.now)
            )
        assert quantities(site.forecast()) == [5, 5, 5]
    assert quantities(site.forecast()) == [9, 9, 9]


def test_a_large_run_makes_the_cache_forget_the_kind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_predictions, "MOST_REFRESHED", 2)
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    assert site.forecast().source == "cache"
    many = [row for number in range(3) for row in site.forecasts(8, product="P" * (number + 1))]
    site.queries.save_demand_forecasts(site.organization, many, **site.run(available_at=site.now))
    assert (site.forecast().source, quantities(site.forecast())) == ("database", [8, 8, 8])
    with site.db.transaction() as transaction:
        OperationalDataQueries(transaction, cache=site.cache).save_demand_forecasts(
            site.organization,
            [{**row, "predicted_quantity": 6} for row in many],
            **site.run(model_version="2", available_at=site.now + dt.timedelta(minutes=1)),
        )
    assert quantities(site.forecast()) == [6, 6, 6]


def test_a_forecast_whose_targets_are_over_is_empty_and_dated(site: Site) -> None:
    past = [{**row, "target_time": site.now - 1.5 * DAY} for row in site.forecasts(5, days=1)]
    site.queries.save_demand_forecasts(site.organization, past, **site.run(available_at=site.now - 2 * DAY))
    answer = site.forecast()
    assert answer.value == []
    assert answer.available_at == site.now - 2 * DAY


def test_nothing_predicted_is_none(site: Site) -> None:
    q, o = site.queries, site.organization
    assert q.get_cached_demand_forecast(o, "P", location_id=site.location) is None
    assert q.get_cached_anomaly_predictions(o) is None
    assert q.get_cached_absence_forecast(o, location_id=site.location) is None
    assert q.get_cached_employee_absence_forecast(o, employee_id=site.employee) is None
    q.save_demand_forecasts(o, site.forecasts(5), **site.run())
    assert site.forecast() is not None, "the cached absence is forgotten once there is one"


def test_anomalies_follow_their_states(site: Site) -> None:
    q, o = site.queries, site.organization
    first, second = uuid.uuid4(), uuid.uuid4()

    def active() -> set[uuid.UUID]:
        answer = q.get_cached_anomaly_predictions(o)
        assert answer is not None
        assert answer.source == "cache"
        assert answer.available_at == site.now - HOUR
        return {row["anomaly_id"] for row in answer.value}

    for identity, available_at in ((first, site.now - DAY), (second, site.now - HOUR)):
        q.save_anomaly_predictions(
            o,
            [
                {
                    "anomaly_id": identity,
                    "resource_id": site.resource,
                    "anomaly_type": "failure",
                    "severity": "high",
                    "probability": 0.5,
                    "predicted_for": site.now + DAY,
                }
            ],
            **site.run(available_at=available_at),
        )
    assert active() == {first, second}
    q.close_anomaly_prediction(o, second, outcome="false_alarm")
    assert active() == {first}, "the remaining one is older, but counts"
    q.acknowledge_anomaly_prediction(o, first)
    assert active() == set()


def test_absences_by_location_and_by_employee(site: Site) -> None:
    q, o, today = site.queries, site.organization, site.now.date()
    q.save_absence_forecasts(
        o,
        [
            {"target_date": today + DAY, "employee_id": site.employee, "absence_probability": 0.25},
            {"target_date": today + DAY, "location_id": site.location, "expected_absences": 1.5},
        ],
        **site.run(),
    )
    for answer, column, value in (
        (q.get_cached_absence_forecast(o, location_id=site.location), "expected_absences", 1.5),
        (q.get_cached_employee_absence_forecast(o, employee_id=site.employee), "absence_probability", 0.25),
    ):
        assert answer is not None
        assert answer.source == "cache"
        (row,) = answer.value
        assert row[column] == value
        assert row["target_date"] == today + DAY


def test_a_tenant_has_its_own_and_no_others(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    tenant = OperationalDataQueries(site.db.tenant(site.organization), cache=site.cache)
    assert site.forecast(tenant).source == "cache"
    tenant.save_demand_forecasts(site.organization, site.forecasts(6), **site.run(available_at=site.now))
    assert quantities(site.forecast()) == [6, 6, 6]

    stranger_id = site.queries.create_organization("Strange", industry="x")["organization_id"]
    stranger = OperationalDataQueries(site.db.tenant(stranger_id), cache=site.cache)
    with pytest.raises(NotFoundError):
        site.forecast(stranger)
    with pytest.raises(NotFoundError):
        stranger.get_cached_anomaly_predictions(site.organization)


def test_without_a_cache_the_database_answers(site: Site) -> None:
    plain = OperationalDataQueries(site.db)
    plain.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    for queries in (plain, OperationalDataQueries(site.db, cache=PredictionCache(None))):
        assert site.forecast(queries).source == "database"


def test_a_redis_that_is_not_there_changes_no_answer(site: Site) -> None:
    with PredictionCache("redis://127.0.0.1:1/0", budget_seconds=0.2) as broken:
        queries = OperationalDataQueries(site.db, cache=broken)
        assert queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run()) == 3
        assert site.forecast(queries).source == "database"
        assert quantities(site.forecast(queries)) == [5, 5, 5]


def test_a_commit_of_which_nobody_knows_makes_the_cache_forget(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())

    def lost(*_: Any, **__: Any) -> int:
        # As if the connection broke after the server had committed.
        OperationalDataQueries(site.db).save_demand_forecasts(
            site.organization, site.forecasts(8), **site.run(available_at=site.now)
        )
        raise ServerUnavailableError("the connection was lost during COMMIT")

    with monkeypatch.context() as patched:
        patched.setattr(site.queries, "_write_pages", lost)
        with pytest.raises(ServerUnavailableError):
            site.queries.save_demand_forecasts(site.organization, site.forecasts(8), **site.run())
    assert quantities(site.forecast()) == [8, 8, 8]


def save_newer_run(site: Site, transaction: Transaction) -> None:
    OperationalDataQueries(transaction, cache=site.cache).save_demand_forecasts(
        site.organization, site.forecasts(8), **site.run(available_at=site.now)
    )


@contextmanager
def through_a_proxy(db: DatabaseManager) -> Iterator[tuple[DatabaseManager, Proxy]]:
    """The same database through a proxy that sees the traffic."""
    server = parse_dsn(db.settings.database_url)
    host, port = server["host"], server.get("port", "5432")
    with Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))) as proxy:
        url = make_dsn(**{**server, "host": "127.0.0.1", "port": str(proxy.port), "sslmode": "disable"})
        with DatabaseManager(url) as distant:
            yield distant, proxy


def test_a_transaction_whose_commit_nobody_confirmed_makes_the_cache_forget(site: Site) -> None:
    """The server commits, and the connection is cut before its answer arrives."""
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    assert site.forecast().source == "cache"
    called: list[str] = []

    def save(distant: DatabaseManager) -> None:
        with distant.transaction() as transaction:
            transaction.after_commit(lambda: called.append("committed"))
            with transaction.transaction() as inner:
                save_newer_run(site, inner)

    with through_a_proxy(site.db) as (distant, proxy):
        proxy.cut_at_the_answer_to(b"COMMIT")
        with pytest.raises(ServerUnavailableError, match="whether the transaction took effect is unknown"):
            save(distant)
    assert called == [], "the outcome is unknown, so commit-only callbacks are not called"
    answer = site.forecast()
    assert (answer.source, quantities(answer)) == ("database", [8, 8, 8])


def test_a_backend_that_dies_at_commit_makes_the_cache_forget(site: Site) -> None:
    """Here too, the client cannot know that it had no effect."""
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    site.db.execute(
        "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    site.db.execute(
        "CREATE CONSTRAINT TRIGGER ends_session AFTER INSERT ON demand_forecasts DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION end_session()"
    )

    def save() -> None:
        with site.db.transaction() as transaction:
            save_newer_run(site, transaction)

    try:
        with pytest.raises(ServerUnavailableError, match="unknown"):
            save()
    finally:
        site.db.execute("DROP FUNCTION end_session() CASCADE")
    answer = site.forecast()
    assert (answer.source, quantities(answer)) == ("database", [5, 5, 5])


def test_a_commit_that_the_server_refuses_leaves_the_cache_alone(site: Site) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())
    called: list[str] = []

    def violate() -> None:
        with site.db.transaction() as transaction:
            transaction.execute("CREATE TEMPORARY TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            save_newer_run(site, transaction)
            transaction.after_commit(lambda: called.append("unknown"), also_if_unknown=True)
            transaction.execute("INSERT INTO late VALUES (1), (1)")

    with pytest.raises(UniqueViolationError, match="late_n_key"):
        violate()
    assert called == []
    answer = site.forecast()
    assert (answer.source, quantities(answer)) == ("cache", [5, 5, 5])


def test_a_write_that_is_done_does_not_fail_for_the_cache(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.queries.save_demand_forecasts(site.organization, site.forecasts(5), **site.run())

    def fail(*_: Any) -> Any:
        raise InvalidInputError("the cache cannot hold this")

    with monkeypatch.context() as patched:
        patched.setattr(site.queries, "_load", fail)
        newer = site.run(available_at=site.now)
        assert site.queries.save_demand_forecasts(site.organization, site.forecasts(8), **newer) == 3
    assert quantities(site.forecast()) == [8, 8, 8]


def test_callbacks_run_after_the_commit_in_order_and_may_fail(
    db: DatabaseManager, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    def fail() -> None:
        called.append("fails")
        raise ValueError("not this time")

    def undone(outer: Transaction) -> None:
        with outer.transaction() as inner:
            inner.after_commit(lambda: called.append("never"))
            raise KeyError

    with db.transaction() as transaction:
        transaction.after_commit(lambda: called.append("first"))
        transaction.after_commit(fail)
        with transaction.transaction() as inner:
            inner.after_commit(lambda: called.append("inner"))
        with pytest.raises(KeyError):
            undone(transaction)
        assert called == []
    assert called == ["first", "fails", "inner"]
    assert "the transaction's outcome: committed" in caplog.text
