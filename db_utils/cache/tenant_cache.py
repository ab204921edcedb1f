"""One organization's view of the prediction cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from db_utils.cache.keys import Entity, organization_name
from db_utils.cache.prediction_cache import PredictionCache
from db_utils.cache.predictions import CachedPrediction, Prediction
from db_utils.cache.store import PutOutcome

E = TypeVar("E", bound=Entity)


class TenantCache:
    """The methods of PredictionCache for one organization; none of their arguments can name another one.

    Raises InvalidInputError if the organization is not a UUID.
    """

    __slots__ = ("_cache", "organization_id")

    def __init__(self, cache: PredictionCache, organization_id: UUID | str) -> None:
        self._cache = cache
        self.organization_id = organization_name(organization_id)

    def get(self, kind: str, entity: Entity) -> CachedPrediction | None:
        """See `PredictionCache.get`."""
        return self._cache.get(self.organization_id, kind, entity)

    def get_many(self, kind: str, entities: Iterable[E]) -> dict[E, CachedPrediction]:
        """See `PredictionCache.get_many`."""
        return self._cache.get_many(self.organization_id, kind, entities)

    def get_or_compute(
        self,
        kind: str,
        entity: Entity,
        load: Callable[[], Prediction | None],
        *,
        wait_seconds: float | None = None,
    ) -> CachedPrediction | None:
        """See `PredictionCache.get_or_compute`."""
        return self._cache.get_or_compute(self.organization_id, kind, entity, load, wait_seconds=wait_seconds)

    def get_many_or_compute(
        self,
        kind: str,
        entities: Iterable[E],
        load: Callable[[Sequence[E]], Mapping[E, Prediction]],
        *,
        wait_seconds: float | None = None,
    ) -> dict[E, CachedPrediction]:
        """See `PredictionCache.get_many_or_compute`."""
        return self._cache.get_many_or_compute(
            self.organization_id, kind, entities, load, wait_seconds=wait_seconds
        )

    def put(self, kind: str, entity: Entity, prediction: Prediction, *, create: bool = True) -> PutOutcome:
        """See `PredictionCache.put`."""
        return self._cache.put(self.organization_id, kind, entity, prediction, create=create)

    def put_many(
        self,
        kind: str,
        predictions: Mapping[E, Prediction] | Iterable[tuple[E, Prediction]],
        *,
        create: bool = True,
    ) -> dict[E, PutOutcome]:
        """See `PredictionCache.put_many`."""
        return self._cache.put_many(self.organization_id, kind, predictions, create=create)

    def invalidate(self, kind: str | None = None, entity: Entity | None = None) -> bool:
        """See `PredictionCache.invalidate`."""
        return self._cache.invalidate(self.organization_id, kind, entity)

    def __repr__(self) -> str:
        return f"<TenantCache of {self.organization_id}>"
