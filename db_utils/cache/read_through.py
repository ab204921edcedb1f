"""Read through the cache: one caller loads what is missing or old, the others wait or get the old copy."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from db_utils.cache.keys import Space
from db_utils.cache.predictions import (
    CachedPrediction,
    Encoded,
    Freshness,
    Limits,
    Prediction,
    UndecodableError,
    decode,
    encode,
    examine,
    microseconds,
)
from db_utils.cache.single_flight import AbandonedError, Answer, Flight, SingleFlight
from db_utils.cache.statistics import Statistics
from db_utils.cache.store import STAMP, Allowance, Item, RebuildLease, Store
from db_utils.errors import (
    ConnectionFailedError,
    InvalidInputError,
    PoolTimeoutError,
    QueryTimeoutError,
    ResourceExhaustedError,
    ServerUnavailableError,
)

Load: TypeAlias = Callable[[Sequence[str]], Mapping[str, Prediction]]
Answers: TypeAlias = dict[str, CachedPrediction | None]

# The database is unreachable: a copy that states its age is better than nothing.
OUTAGES = (
    ConnectionFailedError,
    ServerUnavailableError,
    PoolTimeoutError,
    QueryTimeoutError,
    ResourceExhaustedError,
)
FIRST_WAIT_SECONDS = 0.002
LONGEST_WAIT_SECONDS = 0.016
NO_GENERATIONS = bytes(16)
COUNTER_OF = {Freshness.FRESH: "hits", Freshness.STALE: "stale", Freshness.EXPIRED: "expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long copies are trusted and kept, in seconds; `random` returns numbers in [0, 1)."""

    lifetime_seconds: float
    grace_seconds: float
    recheck_seconds: float
    jitter: float
    early_refresh: float
    max_future_seconds: float
    random: Callable[[], float]

    def lifetime(self) -> float:
        """Return a jittered lifetime, so that copies written together do not expire together."""
        return self.lifetime_seconds * (1 + self.jitter * (2 * self.random() - 1))

    def item(
        self, key: str, prediction: Prediction | None, rebuild_seconds: float = 0.0, replaceable: bytes = b""
    ) -> Item:
        """Return what to write for one prediction, or for the fact that there is none."""
        lifetime = self.recheck_seconds if prediction is None else self.lifetime()
        keep = lifetime + (self.grace_seconds if prediction is not None else 0)
        encoded = encode(prediction, lifetime_seconds=lifetime, rebuild_seconds=rebuild_seconds)
        return Item(key, encoded, max(1, round(keep * 1000)), replaceable)

    def is_from_the_future(self, prediction: Prediction) -> bool:
        """Whether its timestamp lies further in the future than clock skew explains, so that it would replace every real one."""
        return microseconds(prediction.available_at) > (time.time() + self.max_future_seconds) * 1_000_000

    def refreshes_early(self, left_us: int, rebuild_us: int) -> bool:
        """Decide at random whether to refresh a copy that has `left_us` to live.

        The probability grows as expiry nears, faster the longer the last load took (XFetch: Vattani,
        Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
        """
        return rebuild_us * self.early_refresh * -math.log(1.0 - self.random()) >= left_us


class Gap(NamedTuple):
    """The unresolved state of one key: the bytes present, if any, and whether they are undecodable or no
    longer trusted."""

    raw: bytes = b""
    broken: bool = False
    lapsed: bool = False

    @property
    def seen(self) -> bytes:
        """The stamp of the bytes present."""
        return self.raw[STAMP]


class Clock:
    """Redis' clock, last read and advanced by this machine's; this machine's own if it was not read."""

    __slots__ = ("_base_us", "_read_at")

    def __init__(self, now_us: int | None = None) -> None:
        self._read_at = time.monotonic()
        self._base_us = time.time_ns() // 1000 if now_us is None else now_us

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return self._base_us + round((time.monotonic() - self._read_at) * 1_000_000)


class Request:
    """One call of get_or_compute or get_many_or_compute."""

    def __init__(
        self,
        store: Store | None,
        single_flight: SingleFlight,
        statistics: Statistics,
        timing: Timing,
        space: Space,
        limits: Limits,
        load: Load,
        *,
        is_confirmed: bool,
        budget_seconds: float,
        wait_seconds: float | None,
    ) -> None:
        self._store = store
        self._single_flight = single_flight
        self._statistics = statistics
        self._timing = timing
        self._space = space
        self._limits_us = limits_us(limits)
        self._limits_of_copies_us = self._limits_us if is_confirmed else unconfirmed(self._limits_us)
        self._load = load
        self._allowance = Allowance(budget_seconds)
        self._wait_seconds = wait_seconds
        self._answers: Answers = {}
        self._gaps: dict[str, Gap] = {}
        self._clock = Clock()

    def answer(self, keys: Sequence[str]) -> Answers:
        """Return the prediction for each key: None where the database has none."""
        self._look(keys)
        if self._gaps:
            self._fill_gaps()
            self._count()
        return self._answers

    def _count(self) -> None:
        """Count the results that the first lookup did not give."""
        self._statistics.add(
            **Counter(
                "misses" if answer is None or answer.source == "database" else COUNTER_OF[answer.freshness]
                for answer in map(self._answers.get, self._gaps)
            )
        )

    def _look(self, keys: Sequence[str]) -> None:
        began = time.monotonic()
        reading = None
        if self._store is not None:
            reading = self._store.read(self._space, keys, began + self._allowance.left)
            self._allowance.spend(began)
        if reading is None:
            self._store = None  # unreachable: this call does not try it again
            self._gaps = {key: Gap() for key in keys}
            return
        now_us, raws = reading
        self._clock = Clock(now_us)
        limits, timing, answers = self._limits_of_copies_us, self._timing, self._answers
        recheck_us = round(timing.recheck_seconds * 1_000_000)
        # Beyond twenty times the last load, an early refresh has a probability of one in half a billion.
        horizon = timing.early_refresh * 20
        bytes_read = stale = expired = undecodable = early = 0
        for key, raw in zip(keys, raws, strict=True):
            if raw is None:
                self._gaps[key] = Gap()
                continue
            bytes_read += len(raw)
            try:
                known, left, rebuild = examine(raw, now_us, limits, recheck_us)
            except UndecodableError:
                undecodable += 1
                self._gaps[key] = Gap(raw, broken=True)
                continue
            if left <= 0:
                self._gaps[key] = Gap(raw, lapsed=True)
            elif left < rebuild * horizon and timing.refreshes_early(left, rebuild):
                early += 1
                self._gaps[key] = Gap(raw)
            else:
                answers[key] = known
                if known is not None and known.freshness is not Freshness.FRESH:
                    stale += known.freshness is Freshness.STALE
                    expired += known.freshness is Freshness.EXPIRED
        if early:
            self._statistics.add(early_refreshes=early)
        # Unresolved keys are counted once they have a result.
        self._statistics.looked_up(len(answers) - stale - expired, stale, expired, 0, undecodable, bytes_read)

    def _fill_gaps(self) -> None:
        led, followed = self._single_flight.claim(self._gaps)
        own = [key for key in self._gaps if key not in led and key not in followed]
        try:
            for key in [key for key in followed if self._fall_back(key)]:
                del followed[key]
            self._lead(led, own)
        finally:
            self._single_flight.finish(led)
        abandoned = []
        for key, flight in followed.items():
            self._statistics.add(waits=1)
            try:
                self._answers[key] = flight.wait(self._wait_seconds)
            except AbandonedError:
                abandoned.append(key)
            except OUTAGES:
                if not self._fall_back(key, rebuilding=False):
                    raise
        if abandoned:
            self._read_database(abandoned, {}, {})

    def _fall_back(self, key: str, *, rebuilding: bool = True) -> bool:
        """Answer with the old copy, if there is one and it has not expired, even during the load."""
        gap = self._gaps[key]
        if not gap.raw or gap.broken:
            return False
        old = decode(gap.raw, self._clock.now_us(), self._limits_of_copies_us)
        if old is None or old.freshness is Freshness.EXPIRED:
            return False
        self._answers[key] = old._replace(rebuilding=rebuilding)
        self._statistics.add(served_while_rebuilding=rebuilding)
        return True

    def _lead(self, led: dict[str, Flight], own: list[str]) -> None:
        leases: dict[str, RebuildLease] = {}
        if self._store is not None and led:
            free = [key for key in led if not self._store.is_masked(self._space, key)]
            held = self._ask_for_leases(free, led, leases)
            for key in [key for key in held if self._fall_back(key)]:
                led[key].land(partial(copy.deepcopy, self._answers[key]))
                held.remove(key)
            if held:
                self._statistics.add(waits=len(held))
                self._wait_for_others(held, led, leases)
        wanted = [key for key in (*led, *own) if key not in self._answers]
        if wanted:
            self._read_database(wanted, led, leases)

    def _ask_for_leases(
        self, keys: Sequence[str], led: dict[str, Flight], leases: dict[str, RebuildLease]
    ) -> list[str]:
        """Sort keys into leases of ours, results that have arrived meanwhile, and (returned) leases of
        others."""
        if not keys or self._store is None:
            return list(keys)
        lease = self._store.lease(self._space, {key: self._gaps[key].seen for key in keys}, self._allowance)
        if lease is None:
            self._store = None
            return []
        held = []
        for key, reply in zip(keys, lease.replies, strict=True):
            if reply == 1:
                leases[key] = lease
            elif reply == 0:
                held.append(key)
            else:
                answer = partial(decode, reply, lease.now_us, self._limits_of_copies_us)
                try:
                    self._answers[key] = answer()
                except UndecodableError:
                    self._statistics.add(undecodable=1)
                    self._gaps[key] = Gap(reply, broken=True)
                    held.append(key)
                else:
                    self._statistics.add(bytes_read=len(reply))
                    led[key].land(answer)
        return held

    def _wait_for_others(
        self, held: list[str], led: dict[str, Flight], leases: dict[str, RebuildLease]
    ) -> None:
        """Poll for what another process is loading, while the budget lasts."""
        pause = FIRST_WAIT_SECONDS
        end = time.monotonic() + (math.inf if self._wait_seconds is None else self._wait_seconds)
        while held and self._store is not None:
            left = min(self._allowance.left, end - time.monotonic())
            if left <= 0:
                break
            began = time.monotonic()
            time.sleep(min(pause, left))
            self._allowance.spend(began)
            pause = min(pause * 2, LONGEST_WAIT_SECONDS)
            if self._allowance.left > 0:
                held = self._ask_for_leases(held, led, leases)

    def _read_database(
        self, keys: list[str], led: dict[str, Flight], leases: dict[str, RebuildLease]
    ) -> None:
        began = time.monotonic()
        try:
            predictions = self._load(keys)
            for loaded in predictions.values():
                if not isinstance(loaded, Prediction):
                    raise TypeError(f"load must return a Prediction or None, not {type(loaded).__name__}")
        except Exception as error:
            self._statistics.add(rebuild_failures=1)
            self._give_back(leases)
            if isinstance(error, OUTAGES) and all(self._fall_back(key, rebuilding=False) for key in keys):
                for key in led.keys() & set(keys):
                    led[key].land(partial(copy.deepcopy, self._answers[key]))
                return
            for key in led.keys() & set(keys):
                led[key].fail(error)
            raise
        seconds = time.monotonic() - began
        self._statistics.rebuilt(seconds)
        now_us = self._clock.now_us()
        items: list[tuple[Item, RebuildLease]] = []
        unused: dict[str, RebuildLease] = {}
        for key in keys:
            prediction = predictions.get(key)
            gap = self._gaps[key]
            # An untrusted copy is replaced by the database's prediction even if that is older: the newer row
            # may have been deleted.
            replaceable = gap.seen if gap.broken or gap.lapsed else b""
            answer, item = self._answer_of(key, prediction, seconds, now_us, replaceable)
            self._answers[key] = answer()
            if key in led:
                led[key].land(answer)
            if key in leases:
                if item is None:
                    unused[key] = leases[key]
                else:
                    items.append((item, leases[key]))
        if unused:
            self._statistics.add(not_stored=len(unused))
            self._give_back(unused)
        if self._store is not None:
            for lease in {id(lease): lease for _, lease in items}.values():
                batch = [item for item, taken in items if taken is lease]
                self._store.fill(self._space, batch, lease, self._allowance)

    def _answer_of(
        self, key: str, prediction: Prediction | None, seconds: float, now_us: int, replaceable: bytes
    ) -> tuple[Answer, Item | None]:
        """Return the database's prediction, in the types that Redis will return, and what to write there."""
        try:
            item = self._timing.item(key, prediction, seconds, replaceable)
        except InvalidInputError:
            assert prediction is not None
            return partial(_uncached, prediction, now_us, self._limits_us), None
        answer = partial(from_database, item.encoded, now_us, self._limits_us)
        if prediction is not None and self._timing.is_from_the_future(prediction):
            return answer, None
        return answer, item

    def _give_back(self, leases: Mapping[str, RebuildLease]) -> None:
        if self._store is not None:
            for lease in {id(lease): lease for lease in leases.values()}.values():
                keys = [key for key, taken in leases.items() if taken is lease]
                self._store.release(self._space, keys, lease, self._allowance)


def from_database(encoded: Encoded, now_us: int, limits: tuple[int, int]) -> CachedPrediction | None:
    """Return a just-loaded prediction, decoded from its bytes so that each caller gets a separate value."""
    return decode(encoded.sealed(now_us, NO_GENERATIONS), now_us, limits, source="database")


def limits_us(limits: Limits) -> tuple[int, int]:
    """Both limits in microseconds."""
    return round(limits.fresh_seconds * 1_000_000), round(limits.stale_seconds * 1_000_000)


def unconfirmed(limits: tuple[int, int]) -> tuple[int, int]:
    """Return limits by which nothing is FRESH, for entries not confirmed to be this database's."""
    return -(2**63), limits[1]


def _uncached(prediction: Prediction, now_us: int, limits: tuple[int, int]) -> CachedPrediction | None:
    """Return the database's value as is, if the cache cannot hold it."""
    shell = Prediction(None, prediction.model_name, prediction.model_version, *prediction.order)
    answer = from_database(encode(shell, lifetime_seconds=1.0), now_us, limits)
    return answer._replace(value=prediction.value) if answer is not None else None
