"""Data layer of an operations platform:

PostgreSQL with TimescaleDB, a Redis prediction cache, prebuilt queries.
"""

from __future__ import annotations

from db_utils.config import Settings
from db_utils.errors import DbUtilsError
from db_utils.listen import Listener, Notification
from db_utils.manager import DatabaseManager, Health
from db_utils.operational import OperationalDataQueries
from db_utils.pool import PoolStats
from db_utils.tenant import TenantScope
from db_utils.transaction import Transaction
from db_utils.values import Json

__all__ = [
    "DatabaseManager",
    "DbUtilsError",
    "Health",
    "Json",
    "Listener",
    "Notification",
    "OperationalDataQueries",
    "PoolStats",
    "Settings",
    "TenantScope",
    "Transaction",
]
