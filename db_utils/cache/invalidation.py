"""Invalidation after writes that bypass this library, such as SQL in pgAdmin."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import GeneratorType
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from db_utils.cache.database_identity import SupportsDatabase
from db_utils.cache.keys import Entity, PredictionKind
from db_utils.cache.prediction_cache import PredictionCache
from db_utils.errors import DbUtilsError, InvalidInputError

_LOOK_SECONDS = 5.0

logger = logging.getLogger("db_utils.cache")

Change: TypeAlias = tuple[UUID | str, str | None, Entity | None]

KINDS_BY_TABLE: Mapping[str, str] = {
    "demand_forecasts": PredictionKind.DEMAND_FORECAST,
    "anomaly_predictions": PredictionKind.ANOMALY_PREDICTION,
    "absence_forecasts": PredictionKind.ABSENCE_FORECAST,
}


class SupportsNotification(Protocol):
    """The part of a notification that is used; see `db_utils.connections.listen.Notification`."""

    @property
    def channel(self) -> str:
        """The channel it was sent on."""

    @property
    def payload(self) -> dict[str, Any]:
        """Its content."""

    @property
    def may_have_missed(self) -> bool:
        """Whether notifications may have been lost with a connection."""


class SupportsChannels(Protocol):
    """The interface required of a listener; see `db_utils.connections.listen.Listener`."""

    def __iter__(self) -> Iterator[SupportsNotification]:
        """Notifications, as they come."""

    def get(self, timeout_seconds: float | None = None) -> SupportsNotification | None:
        """Return the next notification, or None if none came in time."""

    def add(self, *channels: str) -> None:
        """Listen on these channels too."""


class SupportsListening(SupportsDatabase, Protocol):
    """The interface required of a database; see `db_utils.DatabaseManager`."""

    def execute_query(self, sql: str, params: Any = None) -> list[dict[str, Any]]:
        """Rows."""

    def listen(self, *channels: str) -> SupportsChannels:
        """Return a listener on these channels."""


class PredictionChanges:
    """Turns the schema's "predictions" notifications into changes: each drops one kind of an organization.

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
        return self._change(next(self._notifications))

    def _change(self, notification: SupportsNotification) -> Change | None:
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


class _ChangesOfAll(PredictionChanges):
    """The changes of all organizations, including new ones a few seconds after they were added.

    It polls the table of organizations: a separate channel would reveal each new customer to every role. All
    cached entries of a new organization count as changed when it is found, as its earlier notifications were
    missed.
    """

    def __init__(self, db: SupportsListening) -> None:
        self._db = db
        channels = _channels(db, None)
        self._listener = db.listen(*channels)
        super().__init__(self._listener, channels)
        self._closed = False
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def __next__(self) -> Change | None:
        if self._closed:
            raise StopIteration
        left = self._look_at - time.monotonic()
        if left <= 0:
            self._look_for_new()
            left = _LOOK_SECONDS
        notification = self._listener.get(left)
        return None if notification is None else self._change(notification)

    def close(self) -> None:
        """Close the source."""
        self._closed = True
        super().close()

    def _look_for_new(self) -> None:
        self._look_at = time.monotonic() + _LOOK_SECONDS
        with suppress(DbUtilsError):  # retried if the database does not answer
            channels = _channels(self._db, None)
            new = channels.keys() - self._organizations.keys()
            self._organizations = channels
            if new:
                self._listener.add(*new)


def _channels(db: SupportsListening, chosen: list[str] | None) -> dict[str, UUID | str]:
    rows = db.execute_query(
        "SELECT organization_id, notification_channel('predictions', organization_id) AS channel"
        " FROM organizations WHERE %(chosen)s::uuid[] IS NULL OR organization_id = ANY (%(chosen)s::uuid[])",
        {"chosen": chosen},
    )
    if not rows:
        raise InvalidInputError("There is no organization whose predictions could be followed.")
    return {row["channel"]: row["organization_id"] for row in rows}


class CacheInvalidationListener:
    """Invalidates cache entries that changed in the database.

    `changes` is any iterable that blocks until the next change: (organization_id, kind, entity), with None
    for "all entities" and "all kinds"; a bare None is ignored and lets `stop` be noticed. Its producer must
    name a whole organization after a lost connection, because notifications are lost with it, and must
    prevent tenants from forging it. `following` creates one for the schema of this library.
    """

    def __init__(self, cache: PredictionCache, changes: Iterable[Change | None]) -> None:
        self._caches = [cache]
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
        """Return an invalidator fed by the schema's notifications, for these organizations or (None) all.

        With None, organizations added later are included within a few seconds.
        """
        if organizations is None:
            made = cls(cache, _ChangesOfAll(db))
        else:
            channels = _channels(db, [str(organization) for organization in organizations])
            made = cls(cache, PredictionChanges(db.listen(*channels), channels))
        made._caches.append(cache.of_database(db))  # what the prebuilt queries use
        return made

    def run(self) -> None:
        """Follow the changes in this thread until they end, raise, or `stop` is called."""
        for change in self._changes:
            if self._stopped.is_set():
                return
            if change is not None:
                self.received += 1
                try:
                    organization_id, kind, entity = change
                    for cache in self._caches:
                        if kind is None:  # a connection was lost: the database may have been replaced
                            cache.ask_which_database()
                        cache.invalidate(organization_id, kind, entity)
                except (InvalidInputError, TypeError, ValueError):
                    self.malformed += 1

    def start(self) -> None:
        """Follow the changes in a separate thread."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._follow, name="prediction-cache-listener", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Close the source, if possible, and return whether the thread ended within the time.

        With a source that cannot be closed, such as a generator, it ends at the next change or None.
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
                "The prediction cache no longer receives changes made elsewhere; it notices them when "
                "a copy expires: %s.",
                error,
            )


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None and not isinstance(source, GeneratorType):  # which cannot be closed while it runs
        close()
