"""Keeps copies of current rows up to date elsewhere: dashboards on Convex show a change within a second."""

from __future__ import annotations

from barnameh.sync.client import ConvexClient
from barnameh.sync.sender import Budget, Sender
from barnameh.sync.service import CONSUMER, SyncService
from barnameh.sync.verify import Difference, compare

__all__ = ["CONSUMER", "Budget", "ConvexClient", "Difference", "Sender", "SyncService", "compare"]
