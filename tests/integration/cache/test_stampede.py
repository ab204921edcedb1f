"""Many callers want one prediction: one of them reads it, within one process and across processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis

from db_utils.cache import Freshness, Limits, PredictionCache
from db_utils.errors import PoolTimeoutError, QueryError

from .conftest import KIND, Database, MakeCache, prediction, wait_until
from .test_truth import key_of, rewind


class Gate:
    """A loader that signals when it is running and waits until it is released."""

    def __init__(self, value: Any = "read") -> None:
        self.value = value
        self.reads = 0
        self.reading = threading.Event()
        self.open = threading.Event()

    def load(self) -> Any:
        self.reads += 1
        self.reading.set()
        assert self.open.wait(30)
        return prediction(self.value)


def in_threads(count: int, work: Callable[[int], Any]) -> tuple[list[threading.Thread], list[Any]]:
    """Start threads that begin together; the list has their results after joining them."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        barrier.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_64_threads_that_miss_one_key_cause_one_read(cache: PredictionCache, organization: UUID) -> None:
    gate = Gate()
    threads, answers = in_threads(64, lambda _: cache.get_or_compute(organization, KIND, "a", gate.load))
    assert gate.reading.wait(30)
    wait_until(lambda: cache.statistics()["waits"] == 63)
    gate.open.set()
    join(threads)
    assert gate.reads == 1
    assert [answer.value for answer in answers] == ["read"] * 64
    assert {answer.source for answer in answers} == {"database"}
    assert cache.statistics()["rebuilds"] == cache.statistics()["stored"] == 1


def test_64_threads_on_64_keys_are_not_held_up_by_one_another(
    cache: PredictionCache, organization: UUID, database: Database
) -> None:
    gate = Gate()
    slow = threading.Thread(target=cache.get_or_compute, args=(organization, KIND, "slow", gate.load))
    slow.start()
    assert gate.reading.wait(30)
    threads, answers = in_threads(
        64, lambda number: cache.get_or_compute(organization, KIND, number, lambda: prediction(number))
    )
    join(threads)
    gate.open.set()
    slow.join()
    assert [answer.value for answer in answers] == list(range(64))


def test_while_one_reads_a_stale_entry_the_others_get_the_old_copy_and_are_told(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    cache.put(organization, KIND, "a", prediction("old"))
    rewind(raw, key_of(organization), 400)
    gate = Gate("new")
    leader: list[Any] = []
    thread = threading.Thread(
        target=lambda: leader.append(cache.get_or_compute(organization, KIND, "a", gate.load))
    )
    thread.start()
    assert gate.reading.wait(30)
    threads, answers = in_threads(63, lambda _: cache.get_or_compute(organization, KIND, "a", gate.load))
    join(threads)  # and the reader is still reading
    assert {(answer.value, answer.source, answer.freshness, answer.rebuilding) for answer in answers} == {
        ("old", "cache", Freshness.STALE, True)
    }
    gate.open.set()
    thread.join()
    assert (leader[0].value, leader[0].source, leader[0].rebuilding) == ("new", "database", False)
    assert gate.reads == 1
    assert cache.statistics()["served_while_rebuilding"] == 63


def test_an_expired_copy_is_never_given_instead(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    cache.put(organization, KIND, "a", prediction("expired", age=timedelta(days=8)))
    rewind(raw, key_of(organization), 11)
    gate = Gate("new")
    threads, answers = in_threads(8, lambda _: cache.get_or_compute(organization, KIND, "a", gate.load))
    wait_until(lambda: cache.statistics()["waits"] == 7)
    gate.open.set()
    join(threads)
    assert {answer.value for answer in answers} == {"new"}
    assert gate.reads == 1


def test_another_process_s_read_is_waited_for(make_cache: MakeCache, organization: UUID) -> None:
    here, there = make_cache(), make_cache()
    gate = Gate()
    thread = threading.Thread(target=there.get_or_compute, args=(organization, KIND, "a", gate.load))
    thread.start()
    assert gate.reading.wait(30)
    threads, answers = in_threads(
        8, lambda _: here.get_or_compute(organization, KIND, "a", lambda: pytest.fail("read twice"))
    )
    wait_until(lambda: here.statistics()["waits"] == 8)  # one for Redis, seven for that one
    gate.open.set()
    join([thread, *threads])
    assert [(answer.value, answer.source) for answer in answers] == [("read", "cache")] * 8


def test_it_is_waited_for_no_longer_than_the_budget(
    make_cache: MakeCache, organization: UUID, database: Database
) -> None:
    there, here = make_cache(), make_cache()
    assert here.ping() is not None
    here._budget_seconds = 0.05
    gate = Gate("theirs")
    thread = threading.Thread(target=there.get_or_compute, args=(organization, KIND, "a", gate.load))
    thread.start()
    assert gate.reading.wait(30)
    began = time.monotonic()
    answer = here.get_or_compute(organization, KIND, "a", database.load)
    took = time.monotonic() - began
    assert answer is not None
    assert (answer.value, answer.source) == ({"read": 1}, "database")
    assert took > 0.04  # and the holder of the lease, which waits for us, is still loading
    assert here.statistics()["stored"] == 0  # that is for the one who holds the lease
    gate.open.set()
    thread.join()
    left = here.get(organization, KIND, "a")
    assert left is not None
    assert left.value == "theirs"


def test_with_an_old_copy_nobody_waits_for_another_process(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    there, here = make_cache(), make_cache()
    there.put(organization, KIND, "a", prediction("old"))
    rewind(raw, key_of(organization), 400)
    gate = Gate("new")
    thread = threading.Thread(target=there.get_or_compute, args=(organization, KIND, "a", gate.load))
    thread.start()
    assert gate.reading.wait(30)
    answer = here.get_or_compute(organization, KIND, "a", lambda: pytest.fail("read twice"))
    gate.open.set()
    thread.join()
    assert answer is not None
    assert (answer.value, answer.freshness, answer.rebuilding) == ("old", Freshness.STALE, True)
    assert here.statistics()["waits"] == 0


def test_a_reader_that_dies_leaves_a_lease_that_ends(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    cache = make_cache(lease_seconds=20)
    key = key_of(organization) + ":!lease"
    raw.set(key, b"someone who is gone", px=20)
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert cache.statistics()["stored"] == 1
    assert raw.get(key) is None


def test_leases_last_as_long_as_configured_and_end_with_the_read(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    cache = make_cache(lease_seconds=20)
    key = key_of(organization) + ":!lease"
    seen: list[Any] = []

    def load() -> Any:
        seen.append(raw.pttl(key))
        return prediction()

    def fail() -> Any:
        seen.append(raw.pttl(key))
        raise QueryError("no")

    with pytest.raises(QueryError):
        cache.get_or_compute(organization, KIND, "a", fail)
    assert raw.exists(key) == 0  # the next one need not wait for it
    with pytest.raises(TypeError, match="load must return a Prediction or None, not dict"):
        cache.get_or_compute(organization, KIND, "a", dict)  # type: ignore[arg-type]
    assert raw.exists(key) == 0
    cache.get_or_compute(organization, KIND, "a", load)
    assert raw.exists(key) == 0
    assert all(15_000 < left <= 20_000 for left in seen)
    assert len(seen) == 2


def test_a_read_that_outlasts_its_lease_is_not_stored_over_another_s(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    cache = make_cache()

    def load() -> Any:
        raw.delete(key_of(organization) + ":!lease")  # it has ended
        return prediction()

    assert cache.get_or_compute(organization, KIND, "a", load) is not None
    assert cache.statistics()["not_stored"] == 1
    assert cache.get(organization, KIND, "a") is None


def test_what_was_stored_between_looking_and_asking_is_used(
    make_cache: MakeCache, organization: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = make_cache(), make_cache()
    store = cache._store
    assert store is not None
    ask = store.lease

    def late(*arguments: Any) -> Any:
        other.put(organization, KIND, "a", prediction("just now"))
        return ask(*arguments)

    monkeypatch.setattr(store, "lease", late)
    answer = cache.get_or_compute(organization, KIND, "a", lambda: pytest.fail("read twice"))
    assert answer is not None
    assert (answer.value, answer.source) == ("just now", "cache")


def test_a_hot_key_is_read_early_by_one_and_more_likely_so_the_nearer_its_end(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    draws = iter([0.5])  # the first is for the jitter
    chance = [0.0]
    cache = make_cache(random=lambda: next(draws, chance[0]))

    def slow_enough() -> Any:
        time.sleep(0.2)  # what a rebuild takes: the copy's end is 300 seconds away
        return prediction("first")

    cache.get_or_compute(organization, KIND, "a", slow_enough)
    rewind(raw, key_of(organization), 299)  # about 1 second left, five times the rebuild
    chance[0] = 0.9  # -ln(0.1) = 2.3 times the rebuild: not yet
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert (answer.value, database.reads) == ("first", 0)
    chance[0] = 0.9999  # 9.2 times: now
    answer = cache.get_or_compute(organization, KIND, "a", database.load)
    assert answer is not None
    assert (answer.source, database.reads) == ("database", 1)
    assert cache.statistics()["early_refreshes"] == 1


def test_what_was_written_is_read_early_too_as_if_it_took_what_reads_take(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    chance = [0.5]
    cache = make_cache(random=lambda: chance[0])

    def slow_enough() -> Any:
        time.sleep(0.2)
        return prediction("read")

    cache.put(organization, KIND, "early", prediction("written before any read"))
    cache.get_or_compute(organization, KIND, "other", slow_enough)
    cache.put(organization, KIND, "a", prediction("written"))
    for entity in ("early", "a"):
        rewind(raw, key_of(organization, entity), 299)  # about 1 second left
    chance[0] = 0.9999  # 9.2 times 0.2 seconds
    told = {
        entity: cache.get_or_compute(organization, KIND, entity, database.load) for entity in ("early", "a")
    }
    assert {entity: answer.source for entity, answer in told.items() if answer} == {
        "early": "cache",
        "a": "database",
    }
    assert cache.statistics()["early_refreshes"] == 1


def test_during_an_early_refresh_the_others_get_the_copy_which_is_still_fresh(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    cache = make_cache(random=lambda: 0.999999)

    def slow_enough() -> Any:
        time.sleep(0.2)
        return prediction("first")

    cache.get_or_compute(organization, KIND, "a", slow_enough)
    rewind(raw, key_of(organization), 328.5)  # of 330
    gate = Gate("second")
    thread = threading.Thread(target=cache.get_or_compute, args=(organization, KIND, "a", gate.load))
    thread.start()
    assert gate.reading.wait(30)
    answer = cache.get_or_compute(organization, KIND, "a", gate.load)
    gate.open.set()
    thread.join()
    assert answer is not None
    assert (answer.value, answer.freshness, answer.rebuilding) == ("first", Freshness.FRESH, True)
    assert gate.reads == 1


def test_no_early_refresh_if_not_wanted(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID, database: Database
) -> None:
    cache = make_cache(random=lambda: 0.999999, early_refresh=0)
    cache.get_or_compute(organization, KIND, "a", database.load)
    rewind(raw, key_of(organization), 329.9)
    cache.get_or_compute(organization, KIND, "a", database.load)
    assert database.reads == 1


def test_with_the_database_away_an_old_copy_answers_and_says_so(
    cache: PredictionCache, raw: redis.Redis, organization: UUID
) -> None:
    def away() -> Any:
        raise PoolTimeoutError("every connection is in use")

    cache.put_many(organization, KIND, {"a": prediction("old"), "b": prediction("x", age=timedelta(days=8))})
    for entity in "ab":
        rewind(raw, key_of(organization, entity), 400)
    answer = cache.get_or_compute(organization, KIND, "a", away)
    assert answer is not None
    assert (answer.value, answer.source, answer.freshness) == ("old", "cache", Freshness.STALE)
    assert not answer.rebuilding
    for entity in ("b", "c"):  # expired, and not there at all
        with pytest.raises(PoolTimeoutError):
            cache.get_or_compute(organization, KIND, entity, away)

    def wrong() -> Any:
        raise QueryError("a mistake is not an outage")

    with pytest.raises(QueryError):
        cache.get_or_compute(organization, KIND, "a", wrong)


def test_a_copy_that_expires_while_the_database_is_away_is_not_given_instead(
    make_cache: MakeCache, raw: redis.Redis, organization: UUID
) -> None:
    cache = make_cache(limits={KIND: Limits(0.0, 1.0)})
    old = prediction("old")
    cache.put(organization, KIND, "a", old)
    rewind(raw, key_of(organization), 400)
    seen: list[Any] = []

    def away() -> Any:
        seen.append(cache.get(organization, KIND, "a"))
        wait_until(lambda: datetime.now(UTC) > old.available_at + timedelta(seconds=1.1))
        raise PoolTimeoutError("every connection is in use")

    with pytest.raises(PoolTimeoutError):
        cache.get_or_compute(organization, KIND, "a", away)
    assert [answer.freshness for answer in seen] == [Freshness.STALE], (
        "it had not expired when it was asked for"
    )


def test_those_who_waited_while_the_database_was_away_hear_of_it(
    cache: PredictionCache, organization: UUID
) -> None:
    go_on = threading.Event()

    def away() -> Any:
        assert go_on.wait(30)
        raise PoolTimeoutError("every connection is in use")

    def ask(_: int) -> str:
        with pytest.raises(PoolTimeoutError) as caught:
            cache.get_or_compute(organization, KIND, "a", away)
        return str(caught.value)

    threads, told = in_threads(8, ask)
    wait_until(lambda: cache.statistics()["waits"] == 7)
    go_on.set()
    join(threads)
    assert told == ["every connection is in use"] * 8
    assert cache.statistics()["rebuild_failures"] == 1


def test_batches_that_overlap_read_every_entity_once(cache: PredictionCache, organization: UUID) -> None:
    reads: list[int] = []
    lock = threading.Lock()

    def load(entities: Any) -> dict[int, Any]:
        with lock:
            reads.extend(entities)
        return {entity: prediction(entity) for entity in entities}

    def ask(number: int) -> Any:
        wanted = [(number * 7 + step) % 40 for step in range(20)]
        answers = cache.get_many_or_compute(organization, KIND, wanted, load)
        return {entity: answer.value for entity, answer in answers.items()} == {
            entity: entity for entity in wanted
        }

    threads, right = in_threads(16, ask)
    join(threads)
    assert right == [True] * 16
    assert sorted(reads) == list(range(40))


PROCESS = """
import json, sys, threading, time
from datetime import UTC, datetime
from db_utils.cache import Prediction, PredictionCache

url, organization, reads = sys.argv[1:]
cache = PredictionCache(url, budget_seconds=20)

def load():
    with open(reads, "a") as file:
        file.write("x")
    time.sleep(0.1)
    return Prediction("read", "prophet", "1", datetime.now(UTC))

print("ready", flush=True)
sys.stdin.readline()
values = []
threads = [
    threading.Thread(target=lambda: values.append(cache.get_or_compute(organization, "k", "a", load).value))
    for _ in range(16)
]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(values), flush=True)
cache.close()
"""


@pytest.mark.slow
def test_four_processes_of_sixteen_threads_cause_one_read(
    redis_url: str, organization: UUID, tmp_path: Any
) -> None:
    reads = tmp_path / "reads"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS, redis_url, str(organization), str(reads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [json.loads(output) for output in outputs] == [["read"] * 16] * 4
    assert reads.read_text() == "x"


def test_a_forked_child_has_connections_of_its_own(
    cache: PredictionCache, organization: UUID, raw: redis.Redis
) -> None:
    cache.put(organization, KIND, "a", prediction("from the parent"))
    ours = cache.statistics()["connections"]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 and later warn of forks with threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            mine = cache.statistics()
            answer = cache.get(organization, KIND, "a")
            cache.put(organization, KIND, "b", prediction("from the child"))
            if answer is not None and answer.value == "from the parent" and mine["connections"] == 0:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    answers = cache.get_many(organization, KIND, ["a", "b"])
    assert [answers[name].value for name in "ab"] == ["from the parent", "from the child"]
    assert cache.statistics()["connections"] == ours
