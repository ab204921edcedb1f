"""The sender's `/metrics`, in Prometheus' text format: the state of each outbox target, read on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from barnameh.errors import UsageError
from db_utils import DatabaseManager
from db_utils.outbox import TargetFacts, targets

TIMEOUT_SECONDS = 5.0
_LABELS = ("organization_id", "consumer")


@contextmanager
def served(db: DatabaseManager, host: str, port: int) -> Iterator[int]:
    """Serve `GET /metrics` on this port (0: any free one) and yield it; `UsageError` if it is in use."""
    registry = CollectorRegistry()
    registry.register(_Targets(db))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(f"metrics cannot be served on {host}:{port}: {error.strerror or error}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Targets:
    def __init__(self, db: DatabaseManager) -> None:
        self._db = db

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield waiting, lag, sent and rejected changes of each target."""
        return of_targets(targets(self._db, timeout_seconds=TIMEOUT_SECONDS))


def of_targets(found: list[TargetFacts]) -> Iterator[Metric]:
    """Yield the targets' metrics. A target without successful calls has no last success."""
    waiting = GaugeMetricFamily("barnameh_sync_waiting", "Changes in the outbox.", labels=_LABELS)
    lag = GaugeMetricFamily(
        "barnameh_sync_lag_seconds", "Age of the oldest waiting change; 0 if there is none.", labels=_LABELS
    )
    rejected = GaugeMetricFamily(
        "barnameh_sync_rejected", "Keys rejected by the receiver for their content.", labels=_LABELS
    )
    sent = CounterMetricFamily(
        "barnameh_sync_sent", "Keys sent and accepted, repeated ones counted each time.", labels=_LABELS
    )
    calls = CounterMetricFamily("barnameh_sync_calls", "Calls made.", labels=_LABELS)
    failed = CounterMetricFamily("barnameh_sync_failed_calls", "Calls that failed.", labels=_LABELS)
    success = GaugeMetricFamily(
        "barnameh_sync_last_success_timestamp_seconds",
        "Time of the last successful call, in seconds since 1970 UTC.",
        labels=_LABELS,
    )
    for target in found:
        whose = (str(target.organization_id), target.consumer)
        waiting.add_metric(whose, target.waiting)
        if target.is_stream:  # it keeps rows on purpose, without a sender
            continue
        lag.add_metric(whose, target.lag_seconds or 0.0)
        rejected.add_metric(whose, target.rejected)
        sent.add_metric(whose, target.sent)
        calls.add_metric(whose, target.calls)
        failed.add_metric(whose, target.failed_calls)
        if target.last_success_at is not None:
            success.add_metric(whose, target.last_success_at.timestamp())
    yield from (waiting, lag, rejected, sent, calls, failed, success)
