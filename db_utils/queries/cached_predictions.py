"""Predictions read through the cache, and its invalidation by writes.

What the cache holds, by kind and entity (see `PredictionCache` for its guarantees):

    demand_forecast      (product_id, location_id)     rows of get_current_demand_forecasts: current ones, 30
    days ahead anomaly_prediction   "active"                      rows of get_active_anomaly_predictions
    absence_forecast     ("location", location_id)     rows of get_current_absence_forecasts, 14 local days
    from today absence_forecast     ("employee", employee_id)     likewise

Inside a transaction the cache is neither read nor written: the transaction may see uncommitted rows, or be
rolled back.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from db_utils.cache import CachedPrediction, Entity, Prediction, PredictionCache, PredictionKind
from db_utils.connections.tenant import TenantScope
from db_utils.connections.transaction import Transaction
from db_utils.errors import DbUtilsError, ServerUnavailableError
from db_utils.queries.arguments import Id, text_of
from db_utils.queries.loader import query
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

ACTIVE = "active"
DEMAND_DAYS = 30
ABSENCE_DAYS = 14
MOST_REFRESHED = 50
"""If a run touches more entities than this, the whole kind is invalidated instead of each one."""

# Past targets are read too, because they date the newest run: without them its time would go back once its
# last target has passed, and the cache, where the newest wins, would keep the outdated value.
_LOOK_BACK = dt.timedelta(days=2)

_no_cache = PredictionCache(None)


class CachedPredictionQueries(QueryRunner):
    """Predictions from the cache, with their source and freshness."""

    def get_cached_demand_forecast(
        self, organization_id: Id, product_id: str, *, location_id: Id
    ) -> CachedPrediction | None:
        """What demand is expected for a product at a location, from the cache if available?

        A `CachedPrediction`: `source` (cache or database), `freshness` (FRESH, STALE or EXPIRED),
        `age_seconds`, `model_name`, `model_version` and `available_at` of the newest run, and as `value` the
        rows of `get_current_demand_forecasts` for targets that are not over, including the current day and
        week, up to 30 days ahead, each with its run. Without a cache, or if Redis does not answer in time,
        the database answers. None: nothing is predicted.
        """
        organization = parse_uuid(organization_id, "organization_id")
        product, location = text_of(product_id, "product_id"), parse_uuid(location_id, "location_id")
        found = self._cached(PredictionKind.DEMAND_FORECAST, organization, (product, location))
        return found and found._replace(value=_not_over(found.value, dt.datetime.now(dt.UTC)))

    def get_cached_anomaly_predictions(self, organization_id: Id) -> CachedPrediction | None:
        """Which predicted anomalies are open, from the cache if available?

        A `CachedPrediction` as in `get_cached_demand_forecast`; its `value` is the rows of
        `get_active_anomaly_predictions`, [] where none is active, its `available_at` that of the newest
        prediction in any status, its `recorded_at` when the rows were read. None: nothing was ever predicted.
        """
        organization = parse_uuid(organization_id, "organization_id")
        return self._cached(PredictionKind.ANOMALY_PREDICTION, organization, ACTIVE)

    def get_cached_absence_forecast(self, organization_id: Id, *, location_id: Id) -> CachedPrediction | None:
        """How many employees are expected to be away at a location, from the cache if available?

        A `CachedPrediction` as in `get_cached_demand_forecast`; its `value` is the rows of
        `get_current_absence_forecasts` for the location, 14 days ahead. None: nothing is predicted.
        """
        organization = parse_uuid(organization_id, "organization_id")
        location = parse_uuid(location_id, "location_id")
        return self._cached(PredictionKind.ABSENCE_FORECAST, organization, ("location", location))

    def get_cached_employee_absence_forecast(
        self, organization_id: Id, *, employee_id: Id
    ) -> CachedPrediction | None:
        """How likely is an employee to be away, from the cache if available?

        A `CachedPrediction` as in `get_cached_demand_forecast`; its `value` is the rows of
        `get_current_absence_forecasts` for the employee, 14 days ahead. None: nothing is predicted.
        """
        organization = parse_uuid(organization_id, "organization_id")
        employee = parse_uuid(employee_id, "employee_id")
        return self._cached(PredictionKind.ABSENCE_FORECAST, organization, ("employee", employee))

    # -- reading ---------------------------------------------------------------------------------------------

    def _cached(self, kind: str, organization: uuid.UUID, entity: Entity) -> CachedPrediction | None:
        def load() -> Prediction | None:
            return self._load(kind, organization, entity)

        cache = self._cache_of(organization)
        for _ in range(2):
            found = cache.get_or_compute(organization, kind, entity, load)
            if found is None or found.source == "database" or _is_of_kind(kind, found):
                return found
            cache.invalidate(organization, kind, entity)  # a foreign value under our key
        return _no_cache.get_or_compute(organization, kind, entity, load)

    def _cache_of(self, organization: uuid.UUID) -> PredictionCache:
        """Return the cache; None in a transaction, and for another organization than the tenant scope's."""
        foreign = isinstance(self._db, TenantScope) and self._db.organization_id != organization
        if self._cache is None or foreign or isinstance(self._db, Transaction):
            return _no_cache
        return self._cache

    def _load(self, kind: str, organization: uuid.UUID, entity: Entity) -> Prediction | None:
        if kind == PredictionKind.ANOMALY_PREDICTION:
            return self._load_anomalies(organization)
        assert isinstance(entity, tuple)
        first, second = entity
        assert isinstance(first, str)
        assert isinstance(second, uuid.UUID)
        if kind == PredictionKind.DEMAND_FORECAST:
            return self._load_demand(organization, first, second)
        return self._load_absences(organization, first, second)

    def _load_demand(self, organization: uuid.UUID, product: str, location: uuid.UUID) -> Prediction | None:
        now = dt.datetime.now(dt.UTC)
        rows = self._read_rows(
            "get_current_demand_forecasts",
            organization,
            {
                "product_id": product,
                "location_id": location,
                "with_under_way": True,
                "period_start": now - _LOOK_BACK,
                "period_end": now + dt.timedelta(days=DEMAND_DAYS),
            },
        )
        return _prediction(rows, _not_over(rows, now))

    def _load_anomalies(self, organization: uuid.UUID) -> Prediction | None:
        newest = self._read_rows("find_newest_anomaly_run", organization, {})
        if not newest:
            return None
        rows = self._read_rows(
            "get_active_anomaly_predictions",
            organization,
            {"resource_id": None, "anomaly_type": None, "include_acknowledged": False},
        )
        # Dated by the time of the read: closing a prediction leaves no newer prediction behind.
        return Prediction(
            rows,
            newest[0]["model_name"],
            newest[0]["model_version"],
            newest[0]["available_at"],
            newest[0]["read_at"],
        )

    def _load_absences(self, organization: uuid.UUID, subject: str, identity: uuid.UUID) -> Prediction | None:
        about = {
            "location_id": identity if subject == "location" else None,
            "employee_id": identity if subject == "employee" else None,
        }
        found = self._db.execute_query(
            query("find_local_today").sql, {"organization_id": organization, **about}, primary=True
        )
        # The read below reports an unknown one.
        today = found[0]["today"] if found else dt.datetime.now(dt.UTC).date()
        rows = self._read_rows(
            "get_current_absence_forecasts",
            organization,
            {
                **about,
                "days": None,
                "first_date": today - _LOOK_BACK,
                "end_date": today + dt.timedelta(days=ABSENCE_DAYS),
            },
        )
        return _prediction(rows, [row for row in rows if row["target_date"] >= today])

    # -- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def _telling_cache(self, kind: str, organization: uuid.UUID, touched: set[Entity]) -> Iterator[None]:
        """Wrap a write: once it is committed, invalidate the entities that it touched."""
        try:
            yield
        except ServerUnavailableError:
            # If the connection was lost during COMMIT, the write may have taken effect.
            self._cache_of(organization).invalidate(organization, kind)
            raise
        if self._cache is None or not touched:
            return
        entities = list(touched)
        if isinstance(self._db, Transaction):
            self._db.after_commit(lambda: self._forget(kind, organization, entities), also_if_unknown=True)
        else:
            self._refresh(kind, organization, entities)

    def _refresh(self, kind: str, organization: uuid.UUID, entities: Sequence[Entity]) -> None:
        cache = self._cache_of(organization)
        cache.ask_which_database()
        if len(entities) > MOST_REFRESHED:
            cache.invalidate(organization, kind)
            return
        try:
            loaded = [(entity, self._load(kind, organization, entity)) for entity in entities]
            cache.put_many(
                organization, kind, [(entity, known) for entity, known in loaded if known is not None]
            )
        except DbUtilsError:  # the write succeeded: an error of the cache must not make it look failed
            cache.invalidate(organization, kind)

    def _forget(self, kind: str, organization: uuid.UUID, entities: Sequence[Entity]) -> None:
        assert self._cache is not None
        self._cache.ask_which_database()
        if len(entities) > MOST_REFRESHED:
            self._cache.invalidate(organization, kind)
            return
        for entity in entities:
            self._cache.invalidate(organization, kind, entity)


def _is_of_kind(kind: str, found: CachedPrediction) -> bool:
    """Whether a value has the form expected for this kind; its figures are not checked."""
    rows = found.value
    time = "target_end" if kind == PredictionKind.DEMAND_FORECAST else "available_at"
    return (
        isinstance(found.model_name, str)
        and isinstance(found.model_version, str)
        and isinstance(rows, list)
        and all(
            isinstance(row, dict)
            and isinstance(moment := row.get(time), dt.datetime)
            and moment.tzinfo is not None
            for row in rows
        )
    )


def _not_over(rows: Sequence[Row], now: dt.datetime) -> list[Row]:
    return [row for row in rows if row["target_end"] > now]


def _prediction(rows: Sequence[Row], value: list[Row]) -> Prediction | None:
    """Return the value as cached, dated by the newest of the rows."""
    if not rows:
        return None
    newest: dict[str, Any] = max(rows, key=lambda row: (row["available_at"], row["recorded_at"]))
    return Prediction(
        value,
        newest["model_name"],
        newest["model_version"],
        newest["available_at"],
        max(row["recorded_at"] for row in rows),
    )
