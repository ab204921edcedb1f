"""Connectors: weather, holidays and market data from public sources into `external_factors`, as then known.

Each source is one module (see `model.Source`); state, retries, rate limits, units and writing are shared.
"""

from __future__ import annotations

from barnameh.connectors.model import Factor, Place, Source, Window
from barnameh.connectors.registry import SOURCES, source_named
from barnameh.connectors.run import RunResult, fetch

__all__ = ["SOURCES", "Factor", "Place", "RunResult", "Source", "Window", "fetch", "source_named"]
