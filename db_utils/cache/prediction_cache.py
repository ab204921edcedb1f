"""The prediction cache: what an application calls."""

from __future__ import annotations

import os
import random as _random
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from db_utils.cache.breaker import Breaker, BreakerState
from db_utils.cache.client import RedisClient
from db_utils.cache.database_identity import DatabaseIdentity, SupportsDatabase, identity_of
from db_utils.cache.keys import Entity, Space, check_namespace, organization_name, space
from db_utils.cache.lookup import answers_in
from db_utils.cache.predictions import CachedPrediction, Limits, Prediction
from db_utils.cache.read_through import Request, Timing, limits_us, unconfirmed
from db_utils.cache.redis_url import RedisTarget
from db_utils.cache.single_flight import SingleFlight
from db_utils.cache.statistics import Statistics
from db_utils.cache.store import Item, PutOutcome, Store
from db_utils.config import Settings
from db_utils.errors import ConfigurationError, InvalidInputError

E = TypeVar("E", bound=Entity)
Load = Callable[[], Prediction | None]
BatchLoad = Callable[[Sequence[E]], Mapping[E, Prediction]]

PROBE_ORGANIZATION = "00000000-0000-0000-0000-000000000000"


class PredictionCache:
    """Predictions in Redis, each with what one has to know before trusting it.

    Whatever happens to Redis, no method raises for it, and none waits for it longer than `budget_seconds`
    in all: `get` then finds nothing, `get_or_compute` asks the database. Without a URL (None or empty) it
    is always so, and every call asks for itself.

    A prediction is FRESH up to `fresh_seconds` after its `available_at`, STALE up to `stale_seconds`, then
    EXPIRED; `limits` sets other limits for single kinds. A copy is believed for `lifetime_seconds` (spread
    by `jitter`, a share of it) after it last agreed with the database; then it is STALE at best, the next
    caller reads it again, and for `grace_seconds` more the others get it meanwhile. That a prediction is
    not there, or has expired, is believed for `recheck_seconds`. `early_refresh` scales how early a copy
    may be read again by chance (0: never).

    Whoever reads from the database has `lease_seconds` before another process may do so too. After
    `failures_to_open` failures in a row Redis is left alone, and asked in the background whether it is
    back, first after `probe_seconds`, later every `max_probe_seconds`. Connections are opened in the
    background, within `connect_seconds`, at most `max_connections` per server. `namespace` starts every
    key.

    An instance may be used by any number of threads and after a fork. ConfigurationError for a URL that
    cannot be read; InvalidInputError for limits that contradict each other.
    """

    def __init__(
        self,
        url: str | None,
        *,
        budget_seconds: float = 0.05,
        fresh_seconds: float = 86_400.0,
        stale_seconds: float = 604_800.0,
        limits: Mapping[str, Limits] | None = None,
        lifetime_seconds: float = 300.0,
        grace_seconds: float = 3_600.0,
        recheck_seconds: float = 10.0,
        lease_seconds: float = 10.0,
        jitter: float = 0.1,
        early_refresh: float = 1.0,
        max_future_seconds: float = 300.0,
        namespace: str = "pred",
        max_connections: int = 32,
        connect_seconds: float = 2.0,
        failures_to_open: int = 3,
        probe_seconds: float = 1.0,
        max_probe_seconds: float = 10.0,
        random: Callable[[], float] = _random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(
            positive={
                "budget_seconds": budget_seconds,
                "lifetime_seconds": lifetime_seconds,
                "lease_seconds": lease_seconds,
                "connect_seconds": connect_seconds,
                "max_connections": max_connections,
                "failures_to_open": failures_to_open,
                "probe_seconds": probe_seconds,
                "max_probe_seconds": max_probe_seconds,
            },
            not_negative={
                "grace_seconds": grace_seconds,
                "recheck_seconds": recheck_seconds,
                "early_refresh": early_refresh,
                "max_future_seconds": max_future_seconds,
                "jitter": jitter,
            },
        )
        if jitter >= 1:
            raise ConfigurationError("The cache's jitter is a share of the lifetime, less than 1.")
        self._namespace = check_namespace(namespace)
        self._limits = Limits(fresh_seconds, stale_seconds)
        self._limits_by_kind = dict(limits or {})
        self._limits_us = limits_us(self._limits)
        self._limits_us_by_kind = {kind: limits_us(limit) for kind, limit in self._limits_by_kind.items()}
        self._budget_seconds = budget_seconds
        self._timing = Timing(
            lifetime_seconds=lifetime_seconds,
            grace_seconds=grace_seconds,
            recheck_seconds=recheck_seconds,
            jitter=jitter,
            early_refresh=early_refresh,
            max_future_seconds=max_future_seconds,
            random=random,
        )
        self._target = RedisTarget(url, connect_seconds=connect_seconds) if url else None
        self._make_breaker = partial(
            Breaker,
            failures_to_open=failures_to_open,
            probe_seconds=probe_seconds,
            max_probe_seconds=max_probe_seconds,
            clock=clock,
        )
        self._max_connections = max_connections
        self._lease_seconds = lease_seconds
        self._keep_seconds = lifetime_seconds * (1 + jitter) + grace_seconds
        self._start()
        _instances.add(self)

    def _start(self) -> None:
        """Set up everything that a forked child must not share with its parent."""
        self._statistics = Statistics()
        self._single_flight = SingleFlight()
        self._client: RedisClient | None = None
        self._store: Store | None = None
        if self._target is not None:
            self._client = RedisClient(
                self._target,
                max_connections=self._max_connections,
                budget_seconds=self._budget_seconds,
                make_breaker=self._make_breaker,
            )
            self._store = Store(
                self._client,
                self._statistics,
                lease_seconds=self._lease_seconds,
                keep_seconds=self._keep_seconds,
            )

    @classmethod
    def from_settings(cls, settings: Settings, **options: Any) -> PredictionCache:
        """The cache that the settings describe.

        Each setting `cache_something` is the argument `something`; `options` are arguments too, and win.
        """
        described = {
            item.name.removeprefix("cache_"): getattr(settings, item.name)
            for item in fields(settings)
            if item.name.startswith("cache_")
        }
        return cls(settings.redis_url, **(described | options))

    @property
    def enabled(self) -> bool:
        """Whether there is a Redis at all."""
        return self._target is not None

    def of_database(self, db: SupportsDatabase) -> PredictionCache:
        """The same cache, for the predictions of this database: none of any other is ever found in it.

        It shares connections, statistics and limits with this one. Which database it is is asked with the first call, and in
        the background every few seconds: after a restore nothing that was kept before is found. Where it cannot be
        asked at first, nothing is kept.
        """
        return _OfDatabase(self, identity_of(db)) if self.enabled else self

    def ask_which_database(self) -> None:
        """Ask now, and not only in the background: for writers, whose news has to reach the keys of all readers."""

    def _space(self, organization_id: UUID | str, kind: str) -> Space:
        return space(self._namespace, organization_id, kind)

    def get(self, organization_id: UUID | str, kind: str, entity: Entity) -> CachedPrediction | None:
        """Return what the cache has for this entity.

        None when it has nothing, or knows that the database has nothing. EXPIRED predictions are returned,
        and say so; see `get_or_compute` for one that asks the database instead.
        """
        own = self._space(organization_id, kind)
        raws, now_us = self._look(own, (own.key(entity),))
        return answers_in(raws, now_us, self._limits_us_of(kind), self._statistics)[0]

    def get_many(
        self, organization_id: UUID | str, kind: str, entities: Iterable[E]
    ) -> dict[E, CachedPrediction]:
        """What does the cache have for these entities, in one round trip? The others are left out."""
        own = self._space(organization_id, kind)
        make_key = own.key
        keys = {entity: make_key(entity) for entity in entities}
        if not keys:
            return {}
        raws, now_us = self._look(own, list(keys.values()))
        told = answers_in(raws, now_us, self._limits_us_of(kind), self._statistics)
        return {entity: answer for entity, answer in zip(keys, told, strict=True) if answer is not None}

    def _is_confirmed(self) -> bool:
        return True

    def _limits_us_of(self, kind: str) -> tuple[int, int]:
        limits = self._limits_us_by_kind.get(kind, self._limits_us)
        return limits if self._is_confirmed() else unconfirmed(limits)

    def _look(self, own: Space, keys: Sequence[str]) -> tuple[Sequence[bytes | None], int]:
        if self._store is not None:
            reading = self._store.read(own, keys, time.monotonic() + self._budget_seconds)
            if reading is not None:
                return reading[1], reading[0]
        return [None] * len(keys), 0

    def get_or_compute(
        self,
        organization_id: UUID | str,
        kind: str,
        entity: Entity,
        load: Load,
        *,
        wait_seconds: float | None = None,
    ) -> CachedPrediction | None:
        """Return the prediction for this entity from the cache, or else from the database through `load`.

        `load()` returns a Prediction, or None when the database has none. Of the callers that miss at once,
        in any number of threads, one runs it and the others wait for its answer, at most `wait_seconds`
        (None: as long as that takes), and then run it themselves; a reader in another process is waited for
        within the budget. Where an old copy that has not expired is there, they get that at once, with
        `rebuilding` set. What `load` raises is raised, for all who waited; only when the database cannot be
        reached does such an old copy answer instead.
        """
        own = self._space(organization_id, kind)
        key = own.key(entity)

        def load_one(_: Sequence[str]) -> Mapping[str, Prediction]:
            prediction = load()
            return {} if prediction is None else {key: prediction}

        return self._request(own, load_one, wait_seconds).answer([key])[key]

    def get_many_or_compute(
        self,
        organization_id: UUID | str,
        kind: str,
        entities: Iterable[E],
        load: BatchLoad[E],
        *,
        wait_seconds: float | None = None,
    ) -> dict[E, CachedPrediction]:
        """What are the predictions for these entities? As `get_or_compute`, with one `load` for all that it
        has to read.

        `load(entities)` returns those that the database has; an entity without a prediction is left out of
        the result.
        """
        own = self._space(organization_id, kind)
        make_key = own.key
        keys = {entity: make_key(entity) for entity in entities}
        if not keys:
            return {}
        entity_of = {key: entity for entity, key in keys.items()}

        def load_many(missing: Sequence[str]) -> Mapping[str, Prediction]:
            loaded = load([entity_of[key] for key in missing])
            return {make_key(entity): prediction for entity, prediction in loaded.items()}

        answers = self._request(own, load_many, wait_seconds).answer(list(entity_of))
        return {entity: answer for entity, key in keys.items() if (answer := answers[key]) is not None}

    def put(
        self,
        organization_id: UUID | str,
        kind: str,
        entity: Entity,
        prediction: Prediction,
        *,
        create: bool = True,
    ) -> PutOutcome:
        """Store a prediction after its transaction has committed; see `put_many`."""
        return self.put_many(organization_id, kind, [(entity, prediction)], create=create)[entity]

    def put_many(
        self,
        organization_id: UUID | str,
        kind: str,
        predictions: Mapping[E, Prediction] | Iterable[tuple[E, Prediction]],
        *,
        create: bool = True,
    ) -> dict[E, PutOutcome]:
        """Store predictions after their transaction has committed, and say what became of each.

        An older one never replaces a newer one, by (available_at, recorded_at), neither in Redis nor within
        this batch; of two that tie, the later in the batch, or the later to arrive, wins. `create=False`
        replaces what is there and adds nothing: right for rows that may not be the newest in the database,
        such as a backfill. Where storing fails the older copy is removed, as soon as Redis can be reached.
        InvalidInputError, before anything is sent, for a value that the cache cannot hold.
        """
        own = self._space(organization_id, kind)
        pairs = predictions.items() if isinstance(predictions, Mapping) else predictions
        newest: dict[str, Prediction] = {}
        entities: dict[E, str] = {}
        for entity, prediction in pairs:
            key = entities[entity] = own.key(entity)
            known = newest.get(key)
            if known is None or prediction.order >= known.order:
                newest[key] = prediction
        self._single_flight.forget(newest)
        items: list[Item] = []
        rejected: list[str] = []
        # What reading it would take is not known yet: as long as others took, so that it is read again early too.
        rebuild_seconds = self._statistics.mean_rebuild_seconds() or 0.0
        for key, prediction in newest.items():
            item = self._timing.item(key, prediction, rebuild_seconds)
            if self._timing.is_from_the_future(prediction):
                rejected.append(key)
            else:
                items.append(item)
        outcomes = dict.fromkeys(newest, PutOutcome.UNAVAILABLE)
        if self._store is not None:
            stored = self._store.put(own, items, create=create, budget_seconds=self._budget_seconds)
            outcomes.update(zip([item.key for item in items], stored, strict=True))
            if rejected:
                self._statistics.add(not_stored=len(rejected))
                self._store.remove(own, rejected, time.monotonic() + self._budget_seconds)
                outcomes.update(dict.fromkeys(rejected, PutOutcome.REJECTED))
        return {entity: outcomes[key] for entity, key in entities.items()}

    def invalidate(
        self, organization_id: UUID | str, kind: str | None = None, entity: Entity | None = None
    ) -> bool:
        """Make the cache forget one prediction, all of a kind, or (without a kind) all of an organization.

        What is being read from the database meanwhile is not stored. True when Redis has done it; otherwise
        it will be told as soon as it can be reached, and until then this process does not use what it has.
        """
        if entity is not None and kind is None:
            raise InvalidInputError("invalidate needs the kind of the entity.")
        own = self._space(organization_id, "all" if kind is None else kind)
        deadline = time.monotonic() + self._budget_seconds
        if entity is not None:
            key = own.key(entity)
            self._single_flight.forget([key])
            return self._store is None or self._store.remove(own, [key], deadline)
        self._single_flight.forget_all(own.tenant_prefix if kind is None else own.prefix)
        return self._store is None or self._store.renew_generation(
            own, own.generations[0 if kind is None else 1], deadline
        )

    def ping(self) -> float | None:
        """How many seconds does one round trip to Redis take at this moment? None when it is not there in
        time."""
        if self._client is None:
            return None
        began = time.monotonic()
        own = self._space(PROBE_ORGANIZATION, "all")
        if self._store is None or self._store.read(own, [], began + self._budget_seconds) is None:
            return None
        return time.monotonic() - began

    def statistics(self) -> dict[str, Any]:
        """Return what the cache has done since it was created, and its state.

        The counters of `db_utils.cache.statistics`, plus: `enabled`; `breaker` ("closed", "open" or
        "half-open", that of the worst server of a cluster) and `breaker_opened` (how often); `connections`;
        `pending_invalidations`; `hit_ratio` (0 to 1) and `mean_rebuild_seconds`, None where there is
        nothing to divide by.
        """
        nodes = self._client.nodes() if self._client is not None else []
        states = {node.breaker.state for node in nodes}
        worst = next(
            (s for s in (BreakerState.OPEN, BreakerState.HALF_OPEN) if s in states), BreakerState.CLOSED
        )
        return {
            "enabled": self.enabled,
            "breaker": str(worst),
            "breaker_opened": sum(node.breaker.opened for node in nodes),
            "connections": sum(node.open_connections() for node in nodes),
            "pending_invalidations": self._store.pending if self._store is not None else 0,
            **self._statistics.snapshot(),
        }

    def close(self) -> None:
        """Close the connections; afterwards the cache finds nothing and loaders are asked."""
        if self._client is not None:
            self._client.close()

    def __enter__(self) -> PredictionCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PredictionCache {self._target.name if self._target else 'disabled'}>"

    def _request(
        self,
        own: Space,
        load: Callable[[Sequence[str]], Mapping[str, Prediction]],
        wait_seconds: float | None,
    ) -> Request:
        return Request(
            self._store,
            # Without a cache nothing is shared, not even a read under way: each caller has its own, as it would
            # have if it asked the database itself.
            self._single_flight if self.enabled else SingleFlight(),
            self._statistics,
            self._timing,
            own,
            self._limits_by_kind.get(own.kind, self._limits),
            load,
            is_confirmed=self._is_confirmed(),
            budget_seconds=self._budget_seconds,
            wait_seconds=wait_seconds,
        )


class _OfDatabase(PredictionCache):
    """A cache whose keys name a database. What is not said here is the other cache's."""

    def __init__(self, cache: PredictionCache, identity: DatabaseIdentity) -> None:
        self._cache = cache
        self._identity = identity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def _space(self, organization_id: UUID | str, kind: str) -> Space:
        database = self._identity.of_organization(organization_name(organization_id))
        name, _, is_passing = database.partition(".")
        if is_passing and self._store is not None:
            # It has ended: should it come back under the same id, nothing of before is to be found either.
            own = space(self._namespace, organization_id, kind, name)
            self._store.renew_generation(own, own.generations[0], time.monotonic() + self._budget_seconds)
        return space(self._namespace, organization_id, kind, database)

    def _is_confirmed(self) -> bool:
        return self._identity.is_confirmed()

    @property
    def _store(self) -> Store | None:  # type: ignore[override]
        return self._cache._store if self._identity.is_known() else None

    def of_database(self, db: SupportsDatabase) -> PredictionCache:
        """See `PredictionCache.of_database`."""
        return self._cache.of_database(db)

    def ask_which_database(self) -> None:
        """See `PredictionCache.ask_which_database`."""
        self._identity.ask()

    def ping(self) -> float | None:
        """See `PredictionCache.ping`."""
        return self._cache.ping()

    def close(self) -> None:
        """Nothing: the connections are the other cache's."""


def _check(*, positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    problems = [f"{name} must be more than 0" for name, value in positive.items() if not value > 0]
    problems += [f"{name} must not be negative" for name, value in not_negative.items() if not value >= 0]
    if problems:
        raise ConfigurationError(f"The prediction cache cannot work like this: {', '.join(problems)}.")


_instances: weakref.WeakSet[PredictionCache] = weakref.WeakSet()


def _start_anew() -> None:
    for cache in list(_instances):
        cache._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
