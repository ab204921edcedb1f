"""Keeps the copies of one or all organizations up to date: one loop and two database sessions in total."""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from barnameh import locks
from barnameh.errors import UsageError
from barnameh.sync.client import ConvexClient
from barnameh.sync.sender import FREE_PLAN, SQL, Budget, ReplacedError, Sender
from db_utils import DatabaseManager, DbUtilsError, Listener
from db_utils.outbox import Outbox

CONSUMER = "convex"
LOOK_EVERY_SECONDS = 1.0
NEW_TARGETS_EVERY_SECONDS = 15.0
HEARD_ALREADY_SECONDS = 1e-9

_log = logging.getLogger("barnameh.sync")


class SyncService:
    """Sends changes until `stop` is set. `organization_id` None: all organizations with a target.

    `linger_seconds` is how long the first change of a batch waits for others, to save calls.
    `kpis_every_seconds` (0: never) is how often KPIs are computed and sent.
    """

    def __init__(
        self,
        db: DatabaseManager,
        client: ConvexClient,
        organization_id: UUID | None,
        *,
        linger_seconds: float = 0.25,
        kpis_every_seconds: float = 60.0,
        budget: Budget = FREE_PLAN,
    ) -> None:
        self._db, self._client, self._organization_id = db, client, organization_id
        self._linger_seconds, self._kpis_every_seconds, self._budget = (
            linger_seconds,
            kpis_every_seconds,
            budget,
        )
        self._senders: dict[UUID, Sender] = {}
        self._due: dict[UUID, float] = {}
        self._kpis_at: dict[UUID, float] = {}
        self._by_channel: dict[str, UUID] = {}
        self.stop = threading.Event()

    def stop_on_signals(self) -> None:
        """Stop after the current call, on SIGTERM and SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop.set())

    def run(self, *, once: bool = False) -> int:
        """Send until stopped or, with `once`, until nothing is waiting; return how many changes were sent.

        With `once`, raises `UsageError` if another process sends for the organization (otherwise it waits to take over),
        and `DeniedError` if the deployment does not accept the key.
        """
        sent = 0
        with ExitStack() as stack:
            cursor = stack.enter_context(locks.session(self._db))
            listener: Listener | None = None
            stack.callback(lambda: listener.close() if listener is not None else None)
            look_for_targets_at = look_at = 0.0
            while not self.stop.is_set():
                now = time.monotonic()
                if now >= look_for_targets_at:
                    listener = self._take_over(cursor, listener, once=once)
                    look_for_targets_at = now + NEW_TARGETS_EVERY_SECONDS
                if now >= look_at:
                    self._look()
                    look_at = now + LOOK_EVERY_SECONDS
                sent += self._send_what_is_due(cursor)
                if once and (denied := next((s.denied for s in self._senders.values() if s.denied), None)):
                    raise denied
                if once and not any(sender.has_work() for sender in self._senders.values()):
                    break
                self._wait(listener, min(look_at, look_for_targets_at))
        return sent

    # -- organizations ----------------------------------------------------------------------------------

    def _take_over(self, cursor: Any, listener: Listener | None, *, once: bool) -> Listener | None:
        """Take over each organization without another sender; drop those whose target is gone."""
        cursor.execute("SELECT 1")  # fails if the session with the locks is lost
        rows = self._db.execute_query(
            SQL["targets"], {"consumer": CONSUMER, "organization_id": self._organization_id}, primary=True
        )
        for gone in set(self._senders) - {row["organization_id"] for row in rows}:
            self._drop(cursor, gone)
        for row in rows:
            organization_id = row["organization_id"]
            if organization_id in self._senders:
                continue
            if not locks.take(cursor, _lock(organization_id)):
                if once:
                    raise UsageError(f"another process sends for organization {organization_id}")
                continue
            sender = Sender(self._db, self._client, organization_id, CONSUMER, budget=self._budget)
            sender.begin()
            self._senders[organization_id] = sender
            self._due[organization_id] = 0.0
            self._kpis_at[organization_id] = 0.0
            self._by_channel[row["channel"]] = organization_id
            if listener is None:
                listener = self._db.listen(row["channel"])
            else:
                listener.add(row["channel"])
        return listener

    def _drop(self, cursor: Any, organization_id: UUID) -> None:
        for kept in (self._senders, self._due, self._kpis_at):
            kept.pop(organization_id, None)
        locks.release(cursor, _lock(organization_id))

    # -- sending ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Check for changes whose notification was missed, and enqueue KPIs that are due."""
        now = time.monotonic()
        for organization_id, sender in self._senders.items():
            if self._kpis_every_seconds and now >= self._kpis_at[organization_id]:
                self._kpis_at[organization_id] = now + self._kpis_every_seconds
                sender.enqueue(["kpi"])
            if self._due[organization_id] > now and sender.has_work():
                self._wake(organization_id)

    def _wake(self, organization_id: UUID) -> None:
        """Schedule an organization's changes to be sent after lingering."""
        self._due[organization_id] = min(
            self._due.get(organization_id, float("inf")), time.monotonic() + self._linger_seconds
        )

    def _send_what_is_due(self, cursor: Any) -> int:
        sent = 0
        for organization_id, sender in list(self._senders.items()):
            now = time.monotonic()
            if self._due[organization_id] > now or sender.not_before > now or self.stop.is_set():
                continue
            try:
                taken = sender.step()
            except ReplacedError as error:
                _log.warning("%s", error)
                self._drop(cursor, organization_id)
                continue
            except DbUtilsError as error:
                _log.warning("organization %s: %s", organization_id, error)
                sender.not_before = now + LOOK_EVERY_SECONDS
                continue
            sent += taken
            if sender.not_before > now:
                continue
            # If more is waiting: after a full batch send the next one at once, after a smaller one linger.
            self._due[organization_id] = float("inf")
            if taken and sender.has_work():
                self._due[organization_id] = 0.0 if taken >= sender.most_keys else now + self._linger_seconds
        return sent

    def _wait(self, listener: Listener | None, until: float) -> None:
        """Wait for a notification, the next batch or the next check."""
        times = [max(self._due[o], sender.not_before) for o, sender in self._senders.items()]
        seconds = max(min([until, *times]) - time.monotonic(), 0.001)
        if listener is None:
            self.stop.wait(min(seconds, 0.25))
            return
        while (heard := listener.get(min(seconds, 0.25))) is not None:
            organization_id = self._by_channel.get(heard.channel)
            if organization_id in self._senders:
                self._wake(organization_id)
            seconds = HEARD_ALREADY_SECONDS  # constant writes must not keep the sender listening


def add_target(db: DatabaseManager, organization_id: UUID) -> bool:
    """Record an organization's changes from now on, and enqueue its rows; return whether it is new."""
    outbox = Outbox(db, organization_id, CONSUMER)
    if outbox.has_target():
        return False
    outbox.add_target()
    outbox.enqueue()
    return True


def _lock(organization_id: UUID) -> str:
    return f"barnameh sync {CONSUMER} {organization_id}"
