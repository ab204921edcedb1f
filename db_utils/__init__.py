"""Data layer of an operations platform: PostgreSQL with TimescaleDB, a Redis prediction cache, prebuilt queries."""

from __future__ import annotations

from db_utils import (
    interrupts,  # noqa: F401  first: it handles Ctrl-C while the others are imported
    schema,  # an embedded server gets the schema of this library
)
from db_utils.cache import PredictionCache
from db_utils.config import Settings, embedded_folder
from db_utils.connections.listen import Listener, Notification
from db_utils.connections.manager import DatabaseManager, Health
from db_utils.connections.pool import PoolStats
from db_utils.connections.tenant import TenantScope
from db_utils.connections.transaction import Transaction
from db_utils.copy import Reject, RejectReport
from db_utils.errors import DbUtilsError
from db_utils.queries import OperationalDataQueries
from db_utils.values import Json

__version__ = "0.1.0"

__all__ = [
    "DatabaseManager",
    "DbUtilsError",
    "Health",
    "Json",
    "Listener",
    "Notification",
    "OperationalDataQueries",
    "PoolStats",
    "PredictionCache",
    "Reject",
    "RejectReport",
    "Settings",
    "TenantScope",
    "Transaction",
    "embedded_folder",
    "schema",
]
