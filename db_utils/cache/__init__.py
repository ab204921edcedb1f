"""The prediction cache: predictions in Redis, with their source and freshness.

See `PredictionCache`; docs/prediction-cache.md has the formats, the limits and what happens when Redis fails.
"""

from db_utils.cache.breaker import BreakerState
from db_utils.cache.invalidation import CacheInvalidationListener, PredictionChanges
from db_utils.cache.keys import Entity, PredictionKind
from db_utils.cache.prediction_cache import PredictionCache
from db_utils.cache.predictions import CachedPrediction, Freshness, Limits, Prediction
from db_utils.cache.store import PutOutcome
from db_utils.cache.tenant_cache import TenantCache

__all__ = [
    "BreakerState",
    "CacheInvalidationListener",
    "CachedPrediction",
    "Entity",
    "Freshness",
    "Limits",
    "Prediction",
    "PredictionCache",
    "PredictionChanges",
    "PredictionKind",
    "PutOutcome",
    "TenantCache",
]
