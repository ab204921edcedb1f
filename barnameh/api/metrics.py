"""The metrics of the API, in Prometheus' text format: counts and times by endpoint, without callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from db_utils import PoolStats

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The service's counters; one registry per application, so that two in a process stay separate."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, pool_stats: Callable[[], PoolStats]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "barnameh_api_requests", "Answers.", ("endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "barnameh_api_request_seconds",
            "Time from the request to the end of its response.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.under_way = 0
        """Requests under way."""
        Gauge("barnameh_api_requests_under_way", "Requests under way.", registry=self.registry).set_function(
            lambda: self.under_way
        )
        self.cut = Counter(
            "barnameh_api_streams_cut", "Downloads that failed after they had begun.", registry=self.registry
        )
        self.streams = Gauge("barnameh_api_live_streams", "Live streams open.", registry=self.registry)
        self.events = Counter(
            "barnameh_api_live_events", "Events sent to live streams.", registry=self.registry
        )
        self.registry.register(_Pool(pool_stats))

        self._counted: dict[tuple[str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def count(self, endpoint: str, status: int, seconds: float | None) -> None:
        """Count a response and its duration (None for streams, whose duration means nothing)."""
        counted = self._counted.get((endpoint, status))
        if counted is None:
            counted = self._counted[endpoint, status] = self.requests.labels(endpoint, str(status))
        counted.inc()
        if seconds is not None:
            timed = self._timed.get(endpoint)
            if timed is None:
                timed = self._timed[endpoint] = self.seconds.labels(endpoint)
            timed.observe(seconds)

    def text(self) -> bytes:
        """Return the response of `/metrics`."""
        return generate_latest(self.registry)


class _Pool:
    def __init__(self, pool_stats: Callable[[], PoolStats]) -> None:
        self._stats = pool_stats

    def collect(self) -> Iterator[Metric]:
        """Connections by state."""
        found = GaugeMetricFamily("barnameh_api_connections", "Connections of the pool.", labels=["state"])
        stats = self._stats()
        for state in ("max_connections", "open", "in_use", "waiting"):
            if hasattr(stats, state):
                found.add_metric([state], float(getattr(stats, state)))
        yield found
