"""Without Redis, or without its answer, the database answers; and notifications of changes made elsewhere."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from db_utils.cache import (
    CacheInvalidationListener,
    Freshness,
    Limits,
    Prediction,
    PredictionCache,
    PutOutcome,
    TenantCache,
)
from db_utils.config import Settings
from db_utils.errors import InvalidInputError, QueryError, ServerUnavailableError

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
KIND = "demand_forecast"


def prediction(value: Any = 1, *, age: timedelta = timedelta(0)) -> Prediction:
    return Prediction(value, "prophet", "1.2", datetime.now(UTC) - age)


@pytest.fixture(params=[None, ""])
def cache(request: pytest.FixtureRequest) -> PredictionCache:
    return PredictionCache(request.param)


def test_every_call_asks_the_database(cache: PredictionCache) -> None:
    loads: list[int] = []

    def load() -> Prediction:
        loads.append(1)
        return prediction({"q": Decimal("1.5"), "t": (1, 2)})

    for _ in range(3):
        answer = cache.get_or_compute(ORGANIZATION, KIND, "a", load)
        assert answer is not None
        assert (answer.source, answer.freshness) == ("database", Freshness.FRESH)
        assert answer.value == {"q": Decimal("1.5"), "t": [1, 2]}  # as Redis would return it
    assert len(loads) == 3
    assert not cache.enabled


def test_the_rest_does_nothing(cache: PredictionCache) -> None:
    assert cache.put(ORGANIZATION, KIND, "a", prediction()) is PutOutcome.UNAVAILABLE
    assert cache.get(ORGANIZATION, KIND, "a") is None
    assert cache.get_many(ORGANIZATION, KIND, ["a", "b"]) == {}
    assert cache.invalidate(ORGANIZATION)
    assert cache.invalidate(ORGANIZATION, KIND)
    assert cache.invalidate(ORGANIZATION, KIND, "a")
    assert cache.ping() is None
    statistics = cache.statistics()
    assert (statistics["enabled"], statistics["breaker"], statistics["errors"]) == (False, "closed", 0)
    assert (statistics["misses"], statistics["hit_ratio"], statistics["mean_rebuild_seconds"]) == (3, 0, None)
    with cache as same:
        assert repr(same) == "<PredictionCache disabled>"


def test_an_old_prediction_says_that_it_is_old(cache: PredictionCache) -> None:
    told = []
    for age in (timedelta(0), timedelta(days=2), timedelta(days=8)):
        answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda age=age: prediction(age=age))
        assert answer is not None
        told.append(answer.freshness)
        assert answer.age_seconds == pytest.approx(age.total_seconds(), abs=5)
    assert told == [Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED]


def test_a_kind_may_have_limits_of_its_own() -> None:
    cache = PredictionCache(None, limits={"anomaly_prediction": Limits(60, 3600)})
    age = timedelta(hours=2)
    for kind, freshness in (("anomaly_prediction", Freshness.EXPIRED), (KIND, Freshness.FRESH)):
        answer = cache.get_or_compute(ORGANIZATION, kind, "a", lambda: prediction(age=age))
        assert answer is not None
        assert answer.freshness is freshness


def test_many_are_loaded_at_once_and_those_that_are_not_there_are_left_out(cache: PredictionCache) -> None:
    asked: list[Sequence[Any]] = []

    def load(entities: Sequence[Any]) -> dict[Any, Prediction]:
        asked.append(entities)
        return {entity: prediction(entity[0]) for entity in entities if entity[0] != "b"}

    entities = [("a", 1), ("b", 2), ("c", 3), ("a", 1)]
    answers = cache.get_many_or_compute(ORGANIZATION, KIND, entities, load)
    assert {entity: answer.value for entity, answer in answers.items()} == {("a", 1): "a", ("c", 3): "c"}
    assert asked == [[("a", 1), ("b", 2), ("c", 3)]]
    assert cache.get_many_or_compute(ORGANIZATION, KIND, [], load) == {}


def test_what_the_loader_raises_is_raised(cache: PredictionCache) -> None:
    for error in (QueryError("no"), ServerUnavailableError("gone"), ZeroDivisionError("bug")):

        def load(error: Exception = error) -> Prediction:
            raise error

        with pytest.raises(type(error)):
            cache.get_or_compute(ORGANIZATION, KIND, "a", load)
    assert cache.statistics()["rebuild_failures"] == 3


def test_a_value_that_the_cache_cannot_hold_is_answered_all_the_same(cache: PredictionCache) -> None:
    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction({1: {2}}))
    assert answer is not None
    assert answer.value == {1: {2}}
    with pytest.raises(InvalidInputError):
        cache.put(ORGANIZATION, KIND, "a", prediction({1: 2}))


def test_a_loader_that_asks_for_its_own_entity_does_not_wait_for_itself(unreachable: PredictionCache) -> None:
    cache = unreachable

    def outer() -> Prediction | None:
        inner = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction("inner"))
        assert inner is not None
        return prediction(inner.value + " and outer")

    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", outer)
    assert answer is not None
    assert answer.value == "inner and outer"


def test_without_a_cache_nobody_gets_what_another_one_is_reading(cache: PredictionCache) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Prediction:
        reading.set()
        assert go_on.wait(30)
        return prediction("another one's, perhaps in a transaction of its own")

    other = threading.Thread(target=cache.get_or_compute, args=(ORGANIZATION, KIND, "a", slow))
    other.start()
    assert reading.wait(30)
    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction("own"))
    go_on.set()
    other.join()
    assert answer is not None
    assert answer.value == "own"


@pytest.fixture
def unreachable() -> Iterator[PredictionCache]:
    """A cache whose Redis refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with PredictionCache(f"redis://127.0.0.1:{taken.getsockname()[1]}", budget_seconds=5) as cache:
            yield cache


def test_64_threads_cause_one_read_even_when_redis_is_away(unreachable: PredictionCache) -> None:
    cache = unreachable
    loads: list[int] = []
    waiting = threading.Barrier(65)
    go_on = threading.Event()

    def load() -> Prediction:
        loads.append(1)
        assert go_on.wait(30)
        return prediction({"list": [1]})

    answers: list[Any] = []

    def ask() -> None:
        waiting.wait()
        answers.append(cache.get_or_compute(ORGANIZATION, KIND, "a", load))

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    waiting.wait()
    while cache.statistics()["waits"] < 63:  # all others have joined
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert [answer.value for answer in answers] == [{"list": [1]}] * 64
    assert len({id(answer.value) for answer in answers}) == 64  # no caller can change another one's value


def test_followers_get_a_copy_of_the_reader_s_error(unreachable: PredictionCache) -> None:
    cache = unreachable
    go_on = threading.Event()
    caught: list[BaseException] = []

    def load() -> Prediction:
        assert go_on.wait(30)
        raise QueryError("no such table", sqlstate="42P01")

    def ask() -> None:
        try:
            cache.get_or_compute(ORGANIZATION, KIND, "a", load)
        except QueryError as error:
            caught.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while cache.statistics()["waits"] < 3:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in caught}) == 4
    assert {(str(error), error.sqlstate) for error in caught if isinstance(error, QueryError)} == {
        ("no such table", "42P01")
    }


def test_a_follower_whose_patience_ends_reads_for_itself(unreachable: PredictionCache) -> None:
    cache = unreachable
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Prediction:
        reading.set()
        assert go_on.wait(30)
        return prediction("slow")

    leader = threading.Thread(target=cache.get_or_compute, args=(ORGANIZATION, KIND, "a", slow))
    leader.start()
    assert reading.wait(30)
    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction("own"), wait_seconds=0.01)
    go_on.set()
    leader.join()
    assert answer is not None
    assert answer.value == "own"


def test_a_reader_that_is_interrupted_leaves_the_others_to_read_for_themselves(
    unreachable: PredictionCache,
) -> None:
    cache = unreachable
    reading, go_on = threading.Event(), threading.Event()

    def interrupted() -> Prediction:
        reading.set()
        assert go_on.wait(30)
        raise SystemExit

    def lead() -> None:
        with pytest.raises(SystemExit):
            cache.get_or_compute(ORGANIZATION, KIND, "a", interrupted)

    leader = threading.Thread(target=lead)
    leader.start()
    assert reading.wait(30)
    answers: list[Any] = []
    follower = threading.Thread(
        target=lambda: answers.append(
            cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction("own"))
        )
    )
    follower.start()
    while cache.statistics()["waits"] < 1:
        time.sleep(0.001)
    go_on.set()
    leader.join()
    follower.join()
    assert answers[0].value == "own"


@pytest.mark.parametrize("how", ["put", "invalidate entity", "invalidate kind", "invalidate organization"])
def test_nobody_joins_a_read_that_began_before_a_write(unreachable: PredictionCache, how: str) -> None:
    cache = unreachable
    reading, go_on = threading.Event(), threading.Event()

    def before_the_write() -> Prediction:
        reading.set()
        assert go_on.wait(30)
        return prediction("old")

    leader = threading.Thread(target=cache.get_or_compute, args=(ORGANIZATION, KIND, "a", before_the_write))
    leader.start()
    assert reading.wait(30)
    if how == "put":
        cache.put(ORGANIZATION, KIND, "a", prediction("new"))
    else:
        cache.invalidate(ORGANIZATION, *{"kind": (KIND,), "entity": (KIND, "a")}.get(how.split()[1], ()))
    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction("new"))
    go_on.set()
    leader.join()
    assert answer is not None
    assert answer.value == "new"


def test_a_loader_that_returns_something_else_is_told_so(cache: PredictionCache) -> None:
    load: Any = lambda: {"value": 1}  # noqa: E731
    with pytest.raises(TypeError, match="Prediction"):
        cache.get_or_compute(ORGANIZATION, KIND, "a", load)


def test_a_machine_without_threads_left_asks_the_database(
    unreachable: PredictionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(5):
        answer = unreachable.get_or_compute(ORGANIZATION, KIND, "a", prediction)
        assert answer is not None
        assert answer.source == "database"
    assert unreachable.statistics()["breaker"] == "open"


def test_a_tenant_s_view_names_no_organization(cache: PredictionCache) -> None:
    own = TenantCache(cache, ORGANIZATION)
    answer = own.get_or_compute(KIND, "a", prediction)
    assert answer is not None
    assert answer.source == "database"
    assert own.get_many_or_compute(KIND, ["a"], lambda entities: {"a": prediction()})["a"].value == 1
    assert own.get(KIND, "a") is None
    assert own.get_many(KIND, ["a"]) == {}
    assert own.put(KIND, "a", prediction()) is PutOutcome.UNAVAILABLE
    assert own.put_many(KIND, {"a": prediction()}) == {"a": PutOutcome.UNAVAILABLE}
    assert own.invalidate()
    assert repr(own) == f"<TenantCache of {ORGANIZATION}>"
    with pytest.raises(InvalidInputError):
        TenantCache(cache, "acme")


def test_an_entity_needs_its_kind_to_be_invalidated(cache: PredictionCache) -> None:
    with pytest.raises(InvalidInputError):
        cache.invalidate(ORGANIZATION, None, "a")


def test_the_settings_make_a_cache() -> None:
    settings = Settings(
        redis_url=None, cache_budget_seconds=0.5, cache_fresh_seconds=60, cache_stale_seconds=600
    )
    cache = PredictionCache.from_settings(settings, stale_seconds=61)
    age = timedelta(seconds=62)
    answer = cache.get_or_compute(ORGANIZATION, KIND, "a", lambda: prediction(age=age))
    assert answer is not None
    assert answer.freshness is Freshness.EXPIRED


class Recorder(PredictionCache):
    def __init__(self) -> None:
        super().__init__(None)
        self.invalidated: list[Any] = []

    def invalidate(self, organization_id: Any, kind: Any = None, entity: Any = None) -> bool:
        done = super().invalidate(organization_id, kind, entity)
        self.invalidated.append((organization_id, kind, entity))
        return done


def test_the_listener_invalidates_what_changed_and_survives_nonsense() -> None:
    cache = Recorder()
    changes: list[Any] = [
        (ORGANIZATION, KIND, "a"),
        None,
        ("acme", KIND, "a"),
        (ORGANIZATION, "NO KIND", None),
        (ORGANIZATION, None, "a"),
        ("too", "short"),
        7,
        (ORGANIZATION, KIND, None),
        (ORGANIZATION, None, None),
    ]
    listener = CacheInvalidationListener(cache, changes)
    listener.run()
    assert cache.invalidated == [
        (ORGANIZATION, KIND, "a"),
        (ORGANIZATION, KIND, None),
        (ORGANIZATION, None, None),
    ]
    assert (listener.received, listener.malformed) == (8, 5)


def test_the_listener_s_thread_stops_at_the_next_sign_of_life() -> None:
    more = threading.Semaphore(0)

    def changes() -> Iterator[None]:
        while True:
            more.acquire()
            yield None

    listener = CacheInvalidationListener(Recorder(), changes())
    assert listener.stop()
    listener = CacheInvalidationListener(Recorder(), changes())
    listener.start()
    listener.start()
    assert listener.is_running
    assert not listener.stop(0)
    more.release()
    assert listener.stop(30)
    assert not listener.is_running


def test_a_listener_whose_source_fails_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    def changes() -> Iterator[None]:
        yield None
        raise ServerUnavailableError("the connection was lost")

    with caplog.at_level(logging.WARNING, "db_utils.cache"):
        listener = CacheInvalidationListener(Recorder(), changes())
        listener.start()
        while listener.is_running:
            time.sleep(0.001)
    assert isinstance(listener.error, ServerUnavailableError)
    assert len(caplog.messages) == 1


def test_every_statistic_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prediction-cache.md").read_text()
    missing = [name for name in PredictionCache(None).statistics() if f"`{name}`" not in page]
    assert missing == []
