"""The cache's answers are true: formats, ages, newest wins, and invalidated values do not return."""

from __future__ import annotations

import random
import struct
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db_utils.cache import Freshness, PredictionCache, PutOutcome, TenantCache
from db_utils.cache.keys import space
from db_utils.embedded import redis_server
from db_utils.errors import InvalidInputError

from .conftest import KIND, Database, MakeCache, prediction

NOW = datetime.now(UTC)


def rewind(raw: redis.Redis, key: str, seconds: float) -> None:
    """Move the check time of a copy back by some seconds."""
    value: Any = raw.get(key)
    checked, micros = struct.unpack(">II", value[26:34])
    checked_us = checked * 1_000_000 + micros - round(seconds * 1_000_000)
    stamp = struct.pack(">II", *divmod(checked_us, 1_000_000))
    raw.set(key, value[:26] + stamp + value[34:], keepttl=True)


def key_of(organization: UUID, entity: str = "a", kind: str = KIND) -> str:
    return space("pred", organization, kind).key(entity)


def test_golden_key_and_bytes_in_redis(cache: PredictionCache, raw: redis.Redis, organization: UUID) -> None:
    at = datetime(2025, 3, 1, 6, 0, tzinfo=UTC)
    recorded = datetime(2025, 3, 1, 6, 0, 5, 250_000, tzinfo=UTC)
    cache.put(organization, KIND, "SKU 1", prediction({"q": Decimal("1.50")}, at=at, recorded_at=recorded))
    prefix = f"pred:v2:-:{{{organization}}}:"
    names = {
        f"{prefix}demand_forecast:SKU%201",
        f"{prefix}!generation",
        f"{prefix}demand_forecast:!generation",
    }
    assert {key.decode() for key in raw.scan_iter(f"pred:v2:-:{{{organization}}}:*")} == names
    value: Any = raw.get(f"{prefix}demand_forecast:SKU%201")
    assert value[:2] == b"\x01\x01"
    assert struct.unpack(">QQ", value[2:18]) == (2**63 + 1_740_808_800_000_000, 2**63 + 1_740_808_805_250_000)
    lifetime, rebuild, seconds, micros = struct.unpack(">IIII", value[18:34])
    assert 270_000 <= lifetime <= 330_000  # 300 seconds, a tenth either way
    assert rebuild == 0
    redis_seconds, redis_micros = raw.time()
    assert 0 <= redis_seconds + redis_micros / 1e6 - seconds - micros / 1e6 < 30
    assert value[34:42] == raw.get(f"{prefix}!generation")
    assert value[42:50] == raw.get(f"{prefix}demand_forecast:!generation")
    assert value[50:] == b'["prophet","1.2",{"q":{"$decimal":"1.50"}}]'
    left: Any = raw.pttl(f"{prefix}demand_forecast:SKU%201")
    assert lifetime + 3_600_000 - 30_000 <= left <= lifetime + 3_600_000  # the grace of an hour on top


def test_an_answer_from_redis_is_the_prediction_that_was_put(
    cache: PredictionCache, organization: UUID
) -> None:
    available_at = datetime.now(UTC) - timedelta(hours=1)
    original = prediction({"q": Decimal("1.50"), "t": NOW, "o": organization}, at=available_at)
    assert cache.put(organization, KIND, ("a", NOW), original) is PutOutcome.STORED
    answer = cache.get(organization, KIND, ("a", NOW))
    assert answer is not None
    assert (answer.source, answer.value) == ("cache", original.value)
    assert (answer.model_name, answer.model_version) == ("prophet", "1.2")
    assert answer.available_at == answer.recorded_at == available_at
    assert answer.age_seconds == pytest.approx(3600, abs=60)
    assert answer.freshness is Freshness.FRESH
    assert not answer.rebuilding


@pytest.mark.parametrize(
    ("age", "freshness", "counter"),
    [
        (timedelta(hours=23), Freshness.FRESH, "hits"),
        (timedelta(hours=25), Freshness.STALE, "stale"),
        (timedelta(days=8), Freshness.EXPIRED, "expired"),
    ],
)
def test_every_way_to_read_says_how_old_it_is(
    cache: PredictionCache, organization: UUID, age: timedelta, freshness: Freshness, counter: str
) -> None:
    cache.put(organization, KIND, "a", prediction(age=age))

    def never() -> Any:
        pytest.fail("the database was asked")

    told = [
        cache.get(organization, KIND, "a"),
        cache.get_many(organization, KIND, ["a", "b"])["a"],
        cache.get_or_compute(organization, KIND, "a", never),
        cache.get_many_or_compute(organization, KIND, ["a"], lambda _: never())["a"],
    ]
    assert [answer.freshness for answer in told if answer] == [freshness] * 4
    statistics = cache.statistics()
    assert {name: statistics[name] for name in ("hits", "stale", "expired")} == {
        "hits": 0,
        "stale": 0,
        "expired": 0,
        counter: 4,
    }
    assert statistics["misses"] == 1


def test_an_expired_prediction_is_asked_for_again_after_the_recheck_time(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    loads: list[int] = []

    def still_the_old_one() -> Any:
        loads.append(1)
        return prediction(age=timedelta(days=8))

    for _ in range(3):
        answer = cache.get_or_compute(organization, KIND, "a", still_the_old_one)
        assert answer is not None
        assert answer.freshness is Freshness.EXPIRED
    assert len(loads) == 1  # a model that stopped does not send every reader to the database
    rewind(raw, key_of(organization), 10)
    answer = cache.get_or_compute(organization, KIND, "a", prediction)
    assert answer is not None
    assert (answer.source, answer.freshness) == ("database", Freshness.FRESH)


def test_a_copy_is_believed_for_its_lifetime_then_read_again(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    cache = make_cache(jitter=0)
    cache.put(organization, KIND, "a", prediction("old"))
    rewind(raw, key_of(organization), 299 - 60)
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert (answer.source, answer.freshness, database.reads) == ("cache", Freshness.FRESH, 0)
    rewind(raw, key_of(organization), 61)
    peeked = cache.get(organization, KIND, "a")
    assert peeked is not None
    assert (peeked.value, peeked.freshness) == ("old", Freshness.STALE)
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert (answer.source, answer.value, database.reads) == ("database", {"read": 1}, 1)
    again = cache.get_or_compute(organization, KIND, "a", database.load)
    assert again is not None
    assert (again.source, again.value, again.freshness) == ("cache", {"read": 1}, Freshness.FRESH)


def test_that_there_is_nothing_is_believed_for_the_recheck_time(
    cache: PredictionCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    loads: list[int] = []
    for _ in range(3):
        assert cache.get_or_compute(organization, KIND, "a", lambda: loads.append(1)) is None
    assert len(loads) == 1
    assert cache.get(organization, KIND, "a") is None
    assert cache.get_many(organization, KIND, ["a"]) == {}
    assert 0 < raw.pttl(key_of(organization)) <= 10_000  # type: ignore[operator]
    assert cache.put(organization, KIND, "a", prediction("now there")) is PutOutcome.STORED
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert answer.value == "now there"


def test_lifetimes_are_spread(cache: PredictionCache, raw: redis.Redis, organization: UUID) -> None:
    entities = [f"e{number}" for number in range(200)]
    cache.put_many(organization, KIND, {entity: prediction() for entity in entities})
    values: Any = raw.mget([key_of(organization, entity) for entity in entities])
    lifetimes = [struct.unpack(">I", value[18:22])[0] for value in values]
    assert min(lifetimes) >= 270_000
    assert max(lifetimes) <= 330_000
    assert len(set(lifetimes)) > 190
    assert max(lifetimes) - min(lifetimes) > 40_000


def test_an_older_prediction_never_replaces_a_newer_one(cache: PredictionCache, organization: UUID) -> None:
    newer, older = prediction("newer", at=NOW), prediction("older", at=NOW - timedelta(microseconds=1))
    assert cache.put(organization, KIND, "a", newer) is PutOutcome.STORED
    assert cache.put(organization, KIND, "a", older) is PutOutcome.KEPT_NEWER
    recorded = [NOW + timedelta(microseconds=number) for number in (2, 1, 2)]
    outcomes = [
        cache.put(organization, KIND, "a", prediction(number, at=NOW, recorded_at=when))
        for number, when in enumerate(recorded)
    ]
    assert outcomes == [PutOutcome.STORED, PutOutcome.KEPT_NEWER, PutOutcome.STORED]
    answer = cache.get(organization, KIND, "a")
    assert answer is not None
    assert answer.value == 2  # of two that tie, the one that came later
    assert cache.statistics()["kept_newer"] == 2


def test_within_one_batch_too(cache: PredictionCache, organization: UUID) -> None:
    batch = [
        ("a", prediction("old", at=NOW - timedelta(days=1))),
        ("a", prediction("new", at=NOW)),
        ("a", prediction("older", at=NOW - timedelta(days=2))),
        ("b", prediction("tie 1", at=NOW)),
        ("b", prediction("tie 2", at=NOW)),
    ]
    assert cache.put_many(organization, KIND, batch) == {"a": PutOutcome.STORED, "b": PutOutcome.STORED}
    assert {name: answer.value for name, answer in cache.get_many(organization, KIND, "ab").items()} == {
        "a": "new",
        "b": "tie 2",
    }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.datetimes(timezones=st.just(UTC), max_value=datetime(2025, 1, 1)),
            st.datetimes(timezones=st.just(UTC)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_the_times_the_newest_is_left(cache: PredictionCache, times: list[Any]) -> None:
    organization = uuid4()
    for available, recorded in times:
        cache.put(organization, KIND, "a", prediction(at=available, recorded_at=recorded))
    answer = cache.get(organization, KIND, "a")
    assert answer is not None
    assert (answer.available_at, answer.recorded_at) == max(times)


def test_fifty_writers_at_once_leave_the_newest(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    caches = [make_cache() for _ in range(5)]
    versions = list(range(50))
    random.Random(7).shuffle(versions)
    barrier = threading.Barrier(50)
    seen: list[int] = []
    mistakes: list[Any] = []

    def write(cache: PredictionCache, version: int) -> None:
        barrier.wait()
        for entity in ("a", "b", "c"):
            cache.put(
                organization, KIND, entity, prediction(version, at=NOW + timedelta(microseconds=version))
            )
        answer = cache.get(organization, KIND, "a")
        if answer is None or answer.value < version:
            mistakes.append((version, answer))
        else:
            seen.append(answer.value)

    threads = [
        threading.Thread(target=write, args=(caches[number % 5], version))
        for number, version in enumerate(versions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mistakes == []  # no writer sees an older one than its own
    assert len(seen) == 50
    values = caches[0].get_many(organization, KIND, ["a", "b", "c"])
    assert {name: answer.value for name, answer in values.items()} == {"a": 49, "b": 49, "c": 49}
    counts = [cache.statistics() for cache in caches]
    assert sum(count["stored"] + count["kept_newer"] for count in counts) == 150
    assert sum(count["errors"] for count in counts) == 0


def test_a_backfill_replaces_but_adds_nothing(cache: PredictionCache, organization: UUID) -> None:
    last_year = prediction("backfilled", age=timedelta(days=365))
    assert cache.put(organization, KIND, "a", last_year, create=False) is PutOutcome.ABSENT
    assert cache.get(organization, KIND, "a") is None
    cache.put(organization, KIND, "a", prediction("current", at=NOW))
    assert cache.put(organization, KIND, "a", last_year, create=False) is PutOutcome.KEPT_NEWER
    newest = prediction("newest", at=NOW + timedelta(seconds=1))
    assert cache.put(organization, KIND, "a", newest, create=False) is PutOutcome.STORED


def test_a_prediction_from_the_future_cannot_stay_for_ever(
    cache: PredictionCache, organization: UUID
) -> None:
    cache.put(organization, KIND, "a", prediction("true"))
    wrong = prediction("wrong clock", at=NOW + timedelta(hours=1))
    assert cache.put(organization, KIND, "a", wrong) is PutOutcome.REJECTED
    assert cache.get(organization, KIND, "a") is None  # the database has it now; the older copy is gone
    answer = cache.get_or_compute(organization, KIND, "a", lambda: wrong)
    assert answer is not None
    assert (answer.source, answer.value, answer.age_seconds) == ("database", "wrong clock", 0)
    assert cache.get(organization, KIND, "a") is None
    slightly_ahead = prediction("clocks differ", at=datetime.now(UTC) + timedelta(minutes=4))
    assert cache.put(organization, KIND, "a", slightly_ahead) is PutOutcome.STORED


def test_a_value_that_cannot_be_held_is_told_before_anything_is_sent(
    cache: PredictionCache, organization: UUID
) -> None:
    with pytest.raises(InvalidInputError):
        cache.put_many(organization, KIND, {"a": prediction(1), "b": prediction({2: 2})})
    assert cache.get(organization, KIND, "a") is None
    for _ in range(2):
        answer = cache.get_or_compute(organization, KIND, "b", lambda: prediction({2: 2}))
        assert answer is not None
        assert (answer.source, answer.value) == ("database", {2: 2})
    assert cache.statistics()["not_stored"] == 2


def test_invalidating_reaches_what_it_names_and_no_more(cache: PredictionCache, organization: UUID) -> None:
    other = uuid4()
    mine = {(KIND, "a"), (KIND, "b"), ("staffing", "a")}

    def fill() -> None:
        for kind, entity in mine:
            cache.put(organization, kind, entity, prediction())
        cache.put(other, KIND, "a", prediction())

    def left() -> set[tuple[str, str]]:
        assert cache.get(other, KIND, "a") is not None
        return {(kind, entity) for kind, entity in mine if cache.get(organization, kind, entity) is not None}

    fill()
    assert left() == mine
    assert cache.invalidate(organization, KIND, "a")
    assert left() == {(KIND, "b"), ("staffing", "a")}
    assert cache.invalidate(organization, KIND)
    assert left() == {("staffing", "a")}
    fill()
    assert left() == mine
    assert cache.invalidate(organization)
    assert left() == set()
    fill()
    assert left() == mine


def test_an_empty_kind_is_a_mistake_and_not_the_whole_organization(
    cache: PredictionCache, organization: UUID
) -> None:
    cache.put(organization, KIND, "a", prediction())
    for arguments in (("",), ("", "a"), (None, "a")):
        with pytest.raises(InvalidInputError):
            cache.invalidate(organization, *arguments)
    assert cache.get(organization, KIND, "a") is not None


def test_invalidating_a_kind_takes_one_command_whatever_there_is(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    cache.put_many(organization, KIND, {f"e{number}": prediction() for number in range(1000)})
    before: Any = raw.info("commandstats")
    cache.invalidate(organization, KIND)
    cache.invalidate(organization)
    after: Any = raw.info("commandstats")

    def calls(stats: Any, command: str) -> int:
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    assert calls(after, "set") - calls(before, "set") == 2
    for command in ("keys", "scan", "del", "unlink", "eval"):
        assert calls(after, command) == calls(before, command)


def test_a_lost_generation_loses_values_and_revives_none(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    cache.put(organization, KIND, "a", prediction("old"))
    cache.invalidate(organization, KIND)
    for generation in space("pred", organization, KIND).generations:
        raw.delete(generation)  # evicted, as under allkeys-lru
        assert cache.get(organization, KIND, "a") is None
        cache.put(organization, KIND, "b", prediction("new"))
        assert cache.get(organization, KIND, "a") is None
        assert cache.get(organization, KIND, "b") is not None


@pytest.mark.parametrize("how", ["entity", "kind", "organization", "put", "put only to replace"])
def test_what_was_read_before_a_write_is_not_stored_after_it(
    make_cache: MakeCache, organization: UUID, database: Database, how: str
) -> None:
    reader, writer = make_cache(), make_cache()

    def overtaken() -> Any:
        old = prediction("old", at=NOW)
        # meanwhile another process changes the very same row
        if how == "put":
            writer.put(organization, KIND, "a", prediction("new", at=NOW))
        elif how == "put only to replace":
            writer.put(organization, KIND, "a", prediction("new", at=NOW), create=False)
        else:
            arguments = {"entity": (KIND, "a"), "kind": (KIND,), "organization": ()}[how]
            writer.invalidate(organization, *arguments)
        return old

    answer = reader.get_or_compute(organization, KIND, "a", overtaken)
    assert answer is not None
    assert (answer.source, answer.value) == ("database", "old")
    assert reader.statistics()["not_stored"] == 1
    left = reader.get(organization, KIND, "a")
    assert left is None if how != "put" else left is not None and left.value == "new"


def test_get_many_takes_one_round_trip_and_so_does_put_many(
    make_cache: MakeCache, proxy: Any, organization: UUID
) -> None:
    cache = make_cache(proxy.url)
    assert cache.ping() is not None
    entities = [f"e{number}" for number in range(50)]

    def requests(work: Any) -> int:
        before = proxy.requests
        work()
        return int(proxy.requests - before)

    cache.put(organization, KIND, "warm", prediction())  # the script is known from now on
    assert requests(lambda: cache.put_many(organization, KIND, dict.fromkeys(entities, prediction()))) == 1
    assert requests(lambda: cache.get_many(organization, KIND, entities)) == 1
    assert requests(lambda: cache.get_many_or_compute(organization, KIND, entities, lambda _: {})) == 1
    assert len(cache.get_many(organization, KIND, entities)) == 50


def test_get_many_is_one_mget_to_the_server_whatever_it_asks_for(make_cache: MakeCache) -> None:
    with redis_server.start() as url, redis.Redis.from_url(url) as raw:
        cache, organization = make_cache(url), uuid4()
        entities = [f"e{number}" for number in range(50)]
        cache.put_many(organization, KIND, dict.fromkeys(entities, prediction()))
        for work in (
            lambda: cache.get_many(organization, KIND, entities),
            lambda: cache.get_many_or_compute(organization, KIND, entities, lambda _: {}),
        ):
            raw.config_resetstat()
            assert len(work()) == 50
            stats: Any = raw.info("commandstats")
            calls = {name: stat["calls"] for name, stat in stats.items()}
            calls.pop("cmdstat_config|resetstat", None)  # our own: the direct access to Redis
            calls.pop("cmdstat_config", None)
            assert calls == {"cmdstat_time": 1, "cmdstat_mget": 1}


def test_entities_that_are_one_key_are_both_answered(cache: PredictionCache, organization: UUID) -> None:
    location = uuid4()
    asked: list[Any] = []

    def load(entities: Any) -> Any:
        asked.extend(entities)
        return {entity: prediction("read") for entity in entities}

    entities = [1, "1", location, str(location)]
    for source in ("database", "cache"):
        answers: Any = cache.get_many_or_compute(organization, KIND, entities, load)
        assert {entity: (answer.source, answer.value) for entity, answer in answers.items()} == dict.fromkeys(
            entities, (source, "read")
        )
    assert len(asked) == 2, "each key once"
    assert cache.get_many(organization, KIND, entities).keys() == set(entities)


def test_get_many_or_compute_reads_only_what_is_missing_and_reads_it_at_once(
    cache: PredictionCache, organization: UUID
) -> None:
    cache.put_many(organization, KIND, {1: prediction("one"), 3: prediction("three")})
    asked: list[Any] = []

    def load(entities: Any) -> dict[int, Any]:
        asked.append(list(entities))
        return {entity: prediction(f"read {entity}") for entity in entities if entity != 5}

    answers = cache.get_many_or_compute(organization, KIND, [1, 2, 3, 4, 5], load)
    assert asked == [[2, 4, 5]]
    assert {entity: (answer.source, answer.value) for entity, answer in answers.items()} == {
        1: ("cache", "one"),
        2: ("database", "read 2"),
        3: ("cache", "three"),
        4: ("database", "read 4"),
    }
    assert set(cache.get_many_or_compute(organization, KIND, [1, 2, 3, 4, 5], load)) == {1, 2, 3, 4}
    assert len(asked) == 1
    assert cache.statistics()["rebuilds"] == 1


def test_statistics_count_what_happened(
    cache: PredictionCache, organization: UUID, database: Database
) -> None:
    cache.get_or_compute(organization, KIND, "a", database.load)
    cache.get_or_compute(organization, KIND, "a", database.load)
    cache.get(organization, KIND, "nothing")
    statistics = cache.statistics()
    expected = {
        "hits": 1,
        "misses": 2,
        "rebuilds": 1,
        "stored": 1,
        "errors": 0,
        "breaker": "closed",
        "connections": 1,
    }
    assert {name: statistics[name] for name in expected} == expected
    assert statistics["bytes_read"] == statistics["bytes_written"] > 50
    assert statistics["hit_ratio"] == pytest.approx(1 / 3)
    assert 0 < statistics["mean_rebuild_seconds"] < 5


def test_large_batches_are_stored_whole(cache: PredictionCache, organization: UUID) -> None:
    outcomes = cache.put_many(organization, KIND, {number: prediction(number) for number in range(1000)})
    assert set(outcomes.values()) == {PutOutcome.STORED}
    answers = cache.get_many(organization, KIND, range(1000))
    assert [answers[number].value for number in range(1000)] == list(range(1000))


def test_a_large_value_comes_back_whole(cache: PredictionCache, organization: UUID) -> None:
    noise = random.Random(1)
    value = [noise.random() for _ in range(200_000)]  # 2 MB deflated
    cache.put(organization, KIND, "a", prediction(value))
    answer = cache.get(organization, KIND, "a")
    assert answer is not None
    assert answer.value == value


def test_a_namespace_is_a_cache_of_its_own(make_cache: MakeCache, organization: UUID) -> None:
    one, other = make_cache(namespace="staging"), make_cache()
    one.put(organization, KIND, "a", prediction())
    assert other.get(organization, KIND, "a") is None
    assert one.get(organization, KIND, "a") is not None


def test_a_tenant_s_view_reaches_its_own_keys_only(cache: PredictionCache, organization: UUID) -> None:
    other = uuid4()
    cache.put(other, KIND, "a", prediction("theirs"))
    own = TenantCache(cache, organization)
    for entity in ("a", f"}}:{KIND}:a", f"{{{other}}}:{KIND}:a", f"../{{{other}}}", "a\r\nGET x", f"{other}"):
        assert own.get(KIND, entity) is None
        own.put(KIND, entity, prediction("mine"))
    own.invalidate()
    theirs = cache.get(other, KIND, "a")
    assert theirs is not None
    assert theirs.value == "theirs"
