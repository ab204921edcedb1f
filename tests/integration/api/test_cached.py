"""Predictions over HTTP are read through the cache: marked as such, of one organization only, and from the database if Redis is down."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from barnameh.api import keys, service
from barnameh.api.app import create_app
from barnameh.api.login import application_settings
from barnameh.api.models import Prediction
from db_utils import DatabaseManager, PredictionCache
from db_utils.embedded import redis_server
from tests.support.api import OPERATIONS, UNLIMITED
from tests.support.query_calls import MANUFACTURING, Facts, find_facts

CACHED = [name for name in OPERATIONS if name.startswith("get_cached_")]


class Desk:
    """The API with a private Redis."""

    def __init__(self, owner: DatabaseManager, client: TestClient, url: str) -> None:
        self.owner, self.client, self.url = owner, client, url
        self.key, _ = keys.create(owner, MANUFACTURING, "cached", "writer")
        self.facts: Facts = find_facts(owner)

    def get(self, name: str, **query: Any) -> Any:
        path = OPERATIONS[name].path.format(organization_id=MANUFACTURING)
        answer = self.client.get(path, params=query, headers={"authorization": f"Bearer {self.key}"})
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)["data"]

    def post(self, name: str, **body: Any) -> None:
        path = OPERATIONS[name].path.format(organization_id=MANUFACTURING)
        answer = self.client.post(path, json=body, headers={"authorization": f"Bearer {self.key}"})
        assert answer.status_code == 200, answer.text

    def demand(self) -> Any:
        facts = self.facts
        return self.get(
            "get_cached_demand_forecast",
            product_id=facts.product_id,
            location_id=str(facts.demand_location_id),
        )


@pytest.fixture
def desk(seeded_database: DatabaseManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    # On a busy machine a late answer from Redis counts as none.
    monkeypatch.setattr(service, "PredictionCache", partial(PredictionCache, budget_seconds=5.0))
    with redis_server.start() as url:
        settings = application_settings(seeded_database).with_changes(
            pool_max_connections=6, redis_url=url, redis_is_configured=True
        )
        with DatabaseManager(settings=settings) as db, TestClient(create_app(db, UNLIMITED)) as client:
            yield Desk(seeded_database, client, url)


def test_the_second_time_it_comes_from_the_cache_and_is_the_same(desk: Desk) -> None:
    facts = desk.facts
    asked: dict[str, dict[str, str]] = {
        "get_cached_demand_forecast": {
            "product_id": facts.product_id,
            "location_id": str(facts.demand_location_id),
        },
        "get_cached_anomaly_predictions": {},
        "get_cached_absence_forecast": {"location_id": str(facts.location_id)},
        "get_cached_employee_absence_forecast": {"employee_id": str(facts.employee_id)},
    }
    assert set(asked) == set(CACHED)
    for name, query in asked.items():
        first, second = desk.get(name, **query), desk.get(name, **query)
        assert first["source"] == "database", name
        assert set(Prediction.model_validate(first).model_dump()) == set(first), name  # as the document says
        assert second["source"] == "cache", name
        assert second["value"] == first["value"], name
        assert second["age_seconds"] >= first["age_seconds"]
    with redis.Redis.from_url(desk.url, protocol=2) as raw:
        names = [name.decode() for name in raw.keys("*")]
    assert names
    assert all(str(MANUFACTURING) in name for name in names), names


def test_a_write_over_http_tells_the_cache(desk: Desk) -> None:
    before = desk.demand()
    assert desk.demand()["source"] == "cache"
    target = before["value"][-1]
    desk.post(
        "save_demand_forecasts",
        forecasts=[
            {
                "product_id": desk.facts.product_id,
                "location_id": str(desk.facts.demand_location_id),
                "target_time": target["target_time"],
                "predicted_quantity": 123456,
            }
        ],
        model_name="told",
        model_version="1",
        available_at=dt.datetime.now(dt.UTC).isoformat(),
    )
    after = desk.demand()
    assert after["model_name"] == "told"
    (row,) = [row for row in after["value"] if row["target_time"] == target["target_time"]]
    assert row["predicted_quantity"] == 123456


def test_where_redis_is_away_the_database_answers(seeded_database: DatabaseManager) -> None:
    with redis_server.start() as url:
        pass  # it is over now
    settings = application_settings(seeded_database).with_changes(redis_url=url, redis_is_configured=True)
    with DatabaseManager(settings=settings) as db, TestClient(create_app(db, UNLIMITED)) as client:
        desk = Desk(seeded_database, client, url)
        assert {desk.demand()["source"] for _ in range(3)} == {"database"}


def test_an_applications_login_learns_of_its_own_organization_only(seeded_database: DatabaseManager) -> None:
    """The cache's keys contain the database's identity, queried in the tenant scope: the login itself may not."""
    from db_utils.cache.database_identity import identity_of

    with DatabaseManager(settings=application_settings(seeded_database)) as db:
        own = identity_of(db.tenant(MANUFACTURING))
        name = own.of_organization(str(MANUFACTURING))
        assert own.is_known()
        assert not identity_of(db).is_known()
        general = identity_of(seeded_database)
        assert name == general.of_organization(str(MANUFACTURING))
        others = seeded_database.execute_query(
            "SELECT organization_id::text AS id FROM organizations WHERE organization_id <> %s",
            (MANUFACTURING,),
        )
        # It does not know that other organizations exist: a throwaway name, under which nothing is found.
        assert all("." in own.of_organization(row["id"]) for row in others)
        assert not any("." in general.of_organization(row["id"]) for row in others)
