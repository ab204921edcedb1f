"""The prediction cache: predictions in Redis that say where they come from and how far they can be trusted.

See `PredictionCache`; docs/prediction-cache.md has the formats, the limits and what happens when Redis fails.
"""

from db_utils.cache.breaker import BreakerState
from db_utils.cache.cache import PredictionCache
from db_utils.cache.keys import Entity, PredictionKind
from db_utils.cache.listener import CacheInvalidationListener, PredictionChanges
from db_utils.cache.store import PutOutcome
from db_utils.cache.tenant import TenantCache
from db_utils.cache.values import CachedPrediction, Freshness, Limits, Prediction

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
