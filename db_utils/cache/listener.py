"""Hearing of writes that did not go through this library, such as SQL in pgAdmin."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import GeneratorType
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from db_utils.cache.cache import PredictionCache
from db_utils.cache.keys import Entity, PredictionKind
from db_utils.errors import InvalidInputError

logger = logging.getLogger("db_utils.cache")

Change: TypeAlias = tuple[UUID | str, str | None, Entity | None]

KINDS_BY_TABLE: Mapping[str, str] = {
    "demand_forecasts": PredictionKind.DEMAND_FORECAST,
    "anomaly_predictions": PredictionKind.ANOMALY_PREDICTION,
    "absence_forecasts": PredictionKind.ABSENCE_FORECAST,
}


class SupportsNotification(Protocol):
    """What is read of a notification; see `db_utils.connections.listen.Notification`."""

    @property
    def channel(self) -> str:
        """Where it was announced."""

    @property
    def payload(self) -> dict[str, Any]:
        """What was announced."""

    @property
    def may_have_missed(self) -> bool:
        """Whether it stands for others that were lost with a connection."""


class SupportsListening(Protocol):
    """What is needed of a database; see `db_utils.DatabaseManager`."""

    def execute_query(self, sql: str, params: Any = None) -> list[dict[str, Any]]:
        """Rows."""

    def listen(self, *channels: str) -> Iterable[SupportsNotification]:
        """Notifications, as they come."""


class PredictionChanges:
    """The schema's announcements on the channel "predictions" as changes: each drops a kind of an organization.

    `organizations` names the organization of each channel. Notifications that may have been missed count as a change
    of everything that the channel is about. `close()` closes the source, which ends the iteration.
    """

    def __init__(
        self, notifications: Iterable[SupportsNotification], organizations: Mapping[str, UUID | str]
    ) -> None:
        self._source = notifications
        self._notifications = iter(notifications)
        self._organizations = organizations

    def __iter__(self) -> Iterator[Change | None]:
        return self

    def __next__(self) -> Change | None:
        notification = next(self._notifications)
        organization_id = self._organizations.get(notification.channel)
        if organization_id is None:
            return None
        if notification.may_have_missed:
            return organization_id, None, None
        # A table that is not known here may be newer than this library: drop everything rather than nothing.
        return organization_id, KINDS_BY_TABLE.get(str(notification.payload.get("kind"))), None

    def close(self) -> None:
        """Close the source."""
        _close(self._source)


class CacheInvalidationListener:
    """Makes the cache forget what changed in the database.

    `changes` is any iterable that blocks until there is news: (organization_id, kind, entity), with None for "all
    entities" and "all kinds"; and None alone, which means nothing, so that `stop` is noticed. Whoever produces it
    sees to two things: that it names a whole organization after a connection was lost, because notifications are
    lost with it, and that a tenant cannot forge it. `following` makes one for the schema of this library.
    """

    def __init__(self, cache: PredictionCache, changes: Iterable[Change | None]) -> None:
        self._cache = cache
        self._changes = changes
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.received = 0
        self.malformed = 0
        self.error: Exception | None = None

    @classmethod
    def following(
        cls,
        cache: PredictionCache,
        db: SupportsListening,
        organizations: Iterable[UUID | str] | None = None,
    ) -> CacheInvalidationListener:
        """One that hears what the schema announces about predictions, for these organizations or (None) for all.

        Organizations that are added later are not heard of; make another one then.
        """
        chosen = None if organizations is None else [str(organization) for organization in organizations]
        rows = db.execute_query(
            "SELECT organization_id, notification_channel('predictions', organization_id) AS channel"
            " FROM organizations WHERE %(chosen)s::uuid[] IS NULL OR organization_id = ANY (%(chosen)s::uuid[])",
            {"chosen": chosen},
        )
        channels = {row["channel"]: row["organization_id"] for row in rows}
        if not channels:
            raise InvalidInputError("There is no organization whose predictions could be followed.")
        return cls(cache, PredictionChanges(db.listen(*channels), channels))

    def run(self) -> None:
        """Follow the changes in this thread until they end, raise, or `stop` is called."""
        for change in self._changes:
            if self._stopped.is_set():
                return
            if change is not None:
                self.received += 1
                try:
                    organization_id, kind, entity = change
                    self._cache.invalidate(organization_id, kind, entity)
                except (InvalidInputError, TypeError, ValueError):
                    self.malformed += 1

    def start(self) -> None:
        """Follow the changes in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._follow, name="prediction-cache-listener", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Close the source, if it can be closed; whether the thread has ended within the time.

        A source that cannot be closed, such as a generator, ends it with the next change or None.
        """
        self._stopped.set()
        _close(self._changes)
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def is_running(self) -> bool:
        """Whether its thread is following the changes."""
        return self._thread is not None and self._thread.is_alive()

    def _follow(self) -> None:
        try:
            self.run()
        except Exception as error:
            self.error = error
            logger.warning(
                "The prediction cache no longer hears of changes made elsewhere, which it now notices when "
                "a copy's lifetime ends: %s.",
                error,
            )


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None and not isinstance(source, GeneratorType):  # which cannot be closed while it runs
        close()
