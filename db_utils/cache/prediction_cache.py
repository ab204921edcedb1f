"""The prediction cache: its public interface."""

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
    """Predictions in Redis, each with its source, age and freshness.

    No method raises because of Redis or waits for it longer than `budget_seconds` in all: `get` then finds
    nothing, `get_or_compute` loads from the database. Without a URL (None or empty) the cache is disabled
    and every call loads separately.

    A prediction is FRESH up to `fresh_seconds` after its `available_at`, STALE up to `stale_seconds`, then
    EXPIRED; `limits` sets other limits for single kinds. A copy is trusted for `lifetime_seconds` (spread by
    `jitter`, a fraction of it) after it last matched the database; then it is STALE at best, the next caller
    reloads it, and for `grace_seconds` more the others get it meanwhile. Absence or expiry of a prediction
    is trusted for `recheck_seconds`. `early_refresh` scales how early a copy may be refreshed at random (0:
    never).

    A loader holds a lease for `lease_seconds` before another process may load too. After `failures_to_open`
    consecutive failures Redis is bypassed and probed in the background, first after `probe_seconds`, later
    every `max_probe_seconds`. Connections are opened in the
    background, within `connect_seconds`, at most `max_connections` per server. `namespace` prefixes every
    key.

    An instance may be used by any number of threads and after a fork. Raises ConfigurationError for an
    invalid URL and InvalidInputError for contradictory limits.
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
            raise ConfigurationError("The cache's jitter is a fraction of the lifetime, less than 1.")
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
        """Create the cache that the settings describe.

        Each setting `cache_something` is the argument `something`; `options` override them.
        """
        described = {
            item.name.removeprefix("cache_"): getattr(settings, item.name)
            for item in fields(settings)
            if item.name.startswith("cache_")
        }
        return cls(settings.redis_url, **(described | options))

    @property
    def enabled(self) -> bool:
        """Whether Redis is configured."""
        return self._target is not None

    def of_database(self, db: SupportsDatabase) -> PredictionCache:
        """Return the same cache restricted to the predictions of this database.

        It shares connections, statistics and limits with this one. The database's identity is queried with
        the first call, and in the background every few seconds: after a restore no earlier entry is found.
        Until it is known, nothing is cached.
        """
        return _OfDatabase(self, identity_of(db)) if self.enabled else self

    def ask_which_database(self) -> None:
        """Query the identity now, not only in the background: for writers, which have to use the keys of all readers."""

    def _space(self, organization_id: UUID | str, kind: str) -> Space:
        return space(self._namespace, organization_id, kind)

    def get(self, organization_id: UUID | str, kind: str, entity: Entity) -> CachedPrediction | None:
        """Return the cached prediction of this entity.

        None if there is none, or the cache knows that the database has none. EXPIRED predictions are
        returned, marked as such; `get_or_compute` loads from the database instead.
        """
        own = self._space(organization_id, kind)
        raws, now_us = self._look(own, (own.key(entity),))
        return answers_in(raws, now_us, self._limits_us_of(kind), self._statistics)[0]

    def get_many(
        self, organization_id: UUID | str, kind: str, entities: Iterable[E]
    ) -> dict[E, CachedPrediction]:
        """Return the cached predictions of these entities, in one round trip; entities without one are left out."""
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

        `load()` returns a Prediction, or None when the database has none. Of the threads that miss at once,
        one runs it and the others wait for its result, at most `wait_seconds` (None: without limit), and
        then run it themselves; a loader in another process is waited for within the budget. If there is an
        old copy that has not expired, they get that at once, with `rebuilding` set. Errors of `load` are
        raised to all waiters; only if the database is unreachable does such an old copy answer instead.
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
        """Return the predictions for these entities, like `get_or_compute`, with one `load` for all missing
        ones.

        `load(entities)` returns those that the database has; entities without a prediction are left out of
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
        """Store predictions after their transaction has committed, and return the outcome of each.

        An older one never replaces a newer one, by (available_at, recorded_at), neither in Redis nor within
        this batch; of two that tie, the later in the batch, or the later to arrive, wins. `create=False`
        only replaces existing entries: for rows that may not be the newest in the database, such as a
        backfill. If storing fails, the older copy is removed as soon as Redis is reachable. Raises
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
        # The duration of its load is unknown: assume that of others, so that it is refreshed early too.
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
        """Invalidate one prediction, all of a kind, or (without a kind) all of an organization.

        Loads under way are not stored. Returns True once Redis has done it; otherwise it is repeated as soon
        as Redis is reachable, and until then this process ignores the entries.
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
        """Return the seconds of one round trip to Redis; None if it does not answer in time."""
        if self._client is None:
            return None
        began = time.monotonic()
        own = self._space(PROBE_ORGANIZATION, "all")
        if self._store is None or self._store.read(own, [], began + self._budget_seconds) is None:
            return None
        return time.monotonic() - began

    def statistics(self) -> dict[str, Any]:
        """Return the counters since the cache was created, and its state.

        The counters of `db_utils.cache.statistics`, plus: `enabled`; `breaker` ("closed", "open" or
        "half-open"; of a cluster, the worst) and `breaker_opened` (how often); `connections`;
        `pending_invalidations`; `hit_ratio` (0 to 1) and `mean_rebuild_seconds`, None while their
        denominator is zero.
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
        """Close the connections; afterwards every lookup misses and loaders run."""
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
            # Without a cache nothing is shared, not even a load under way: each caller loads for itself, as
            # if it queried the database directly.
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
    """A cache whose keys name a database; everything else is inherited from the other cache."""

    def __init__(self, cache: PredictionCache, identity: DatabaseIdentity) -> None:
        self._cache = cache
        self._identity = identity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def _space(self, organization_id: UUID | str, kind: str) -> Space:
        database = self._identity.of_organization(organization_name(organization_id))
        name, _, is_passing = database.partition(".")
        if is_passing and self._store is not None:
            # Deleted: if it is recreated under the same id, earlier entries must not be found.
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
        """Do nothing: the connections belong to the other cache."""


def _check(*, positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    problems = [f"{name} must be more than 0" for name, value in positive.items() if not value > 0]
    problems += [f"{name} must not be negative" for name, value in not_negative.items() if not value >= 0]
    if problems:
        raise ConfigurationError(f"Invalid options of the prediction cache: {', '.join(problems)}.")


_instances: weakref.WeakSet[PredictionCache] = weakref.WeakSet()


def _start_anew() -> None:
    for cache in list(_instances):
        cache._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
