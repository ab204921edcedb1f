"""Sends one organization's changes: reads keys and current rows in a snapshot, sends, deletes accepted ones.

Delivery is at least once. Each call has a higher number than the previous one, and the receiver accepts none
older than the newest it has applied: a late request changes nothing. Changes stay in the outbox until
accepted, so none is lost.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh.errors import ServiceError
from barnameh.statements import statements
from barnameh.sync.client import ConvexClient, DeniedError, RefusedError, UnreachableError
from barnameh.sync.documents import document_of
from db_utils import DatabaseManager
from db_utils.outbox import Change, Outbox

SQL = statements(Path(__file__).with_name("sync.sql"))
MOST_KEYS = 500
MOST_BYTES = 4 * 1024 * 1024
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
_MONTH_SECONDS = 31 * 86_400

_log = logging.getLogger("barnameh.sync")

Entity = tuple[str, str]
"""Kind and key."""


class ReplacedError(ServiceError):
    """Another sender of this organization took over."""


@dataclass(frozen=True)
class Budget:
    """Calls that a plan allows per month (None: unlimited); a hundredth of them may be made in a burst."""

    calls_per_month: int | None = 1_000_000

    @property
    def burst(self) -> float:
        """Calls that may be made without a pause."""
        return 1e15 if self.calls_per_month is None else max(self.calls_per_month / 100, 1.0)

    @property
    def calls_per_second(self) -> float:
        """The rate at which credit accrues, so that no 31 days exceed the allowance, the burst included."""
        if self.calls_per_month is None:
            return 0.0
        return max(self.calls_per_month - self.burst, 0.0) / _MONTH_SECONDS


FREE_PLAN = Budget()


class Sender:
    """See the module. One at a time per organization: `SyncService` holds the lock.

    `sleep` and `random_share` are for tests.
    """

    def __init__(
        self,
        db: DatabaseManager,
        client: ConvexClient,
        organization_id: UUID,
        consumer: str,
        *,
        budget: Budget = FREE_PLAN,
        most_keys: int = MOST_KEYS,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._db, self._client, self._budget, self.most_keys = db, client, budget, most_keys
        self._random_share = random_share
        self.organization_id = organization_id
        self._outbox = Outbox(db, organization_id, consumer)
        self._consumer = consumer
        self._names = {"organization_id": organization_id, "consumer": consumer}
        self._sender = uuid.uuid4()
        self._pause_seconds = 0.0
        self._trimmed_at = time.monotonic()
        self._newest_there = 0
        self._sent = 0
        self._may_be_rejected = True
        self.not_before = 0.0
        """Nothing is sent before this `time.monotonic()`: after a failure, or if calls are used up."""
        self.denied: DeniedError | None = None
        """Why the deployment did not accept the key, if that is why the newest failed call failed."""

    def begin(self) -> None:
        """Take over: another sender of this organization stops at its next call."""
        self._db.execute(SQL["begin"], {**self._names, "sender": self._sender})

    def has_work(self) -> bool:
        """Return whether there is anything to send."""
        return bool(self._outbox.waiting(1))

    def step(self) -> int:
        """Send one batch of waiting changes; return how many were removed from the outbox.

        A temporary failure is recorded, and nothing is sent before `not_before`. Raises `ReplacedError`.
        """
        if not self._has_credit():
            return 0
        try:
            changes, documents, version = self._read()
            if not changes:
                return 0
            self._deliver(documents, version)
        except (UnreachableError, DeniedError) as error:
            self._failed(error)
            return 0
        except RefusedError as error:  # not because of the content of a single change
            self._failed(UnreachableError(str(error)))
            return 0
        taken = self._taken(changes)
        self._pause_seconds = 0.0
        if not taken:  # they are being merged with later ones
            self.not_before = time.monotonic() + _SHORTEST_PAUSE_SECONDS
        return taken

    def enqueue(self, kinds: Sequence[str] | None = None) -> int:
        """Enqueue all current rows, of these kinds or all."""
        return self._outbox.enqueue(kinds=kinds)

    # -- reading ----------------------------------------------------------------------------------------

    def _read(self) -> tuple[list[Change], dict[Entity, dict[str, Any] | None], int]:
        """Read changes, their current documents and the call's number, in one snapshot."""

        def read(transaction: Any) -> tuple[list[Change], dict[Entity, dict[str, Any] | None], int]:
            outbox = Outbox(transaction, self.organization_id, self._consumer)
            changes = outbox.waiting(self.most_keys)
            if not changes:
                return [], {}, 0
            version = self._next_version(transaction)
            keys: dict[str, list[str]] = {}
            for kind, key in dict.fromkeys((change.kind, change.key) for change in changes):
                keys.setdefault(kind, []).append(key)
            documents: dict[Entity, dict[str, Any] | None] = {}
            for kind, wanted in keys.items():
                rows = outbox.current_rows(kind, wanted)
                for key in wanted:
                    documents[kind, key] = document_of(rows[key]) if key in rows else None
            return changes, documents, version

        changes, documents, version = self._db.run_in_transaction(read, isolation="repeatable read")
        kept = _that_fit(documents)
        return [c for c in changes if (c.kind, c.key) in kept], kept, version

    def _next_version(self, executor: Any) -> int:
        rows = executor.execute_query(
            SQL["do_not_wait"] + SQL["next_version"],
            {**self._names, **self._limits(), "sender": self._sender, "at_least": self._newest_there},
        )
        if not rows:
            raise ReplacedError(f"another sender of organization {self.organization_id} took over")
        return int(rows[0]["version"])

    def _limits(self) -> dict[str, float]:
        return {"burst": self._budget.burst, "calls_per_second": self._budget.calls_per_second}

    def _has_credit(self) -> bool:
        """Whether a call may be made now; if not, set `not_before`."""
        if self._budget.calls_per_month is None:
            return True
        rows = self._db.execute_query(SQL["credit"], {**self._names, **self._limits()}, primary=True)
        missing = 1.0 - float(rows[0]["credit"]) if rows else 0.0
        if missing <= 0:
            return True
        self.not_before = time.monotonic() + missing / self._budget.calls_per_second
        return False

    # -- sending ----------------------------------------------------------------------------------------

    def _deliver(self, documents: dict[Entity, dict[str, Any] | None], version: int) -> None:
        """Deliver documents; those rejected for their content are found by bisection, and recorded."""
        try:
            self._call(documents, version)
        except RefusedError as error:
            if len(documents) == 1:
                # An empty call fails too if the content is not the reason.
                self._call({}, self._next_version(self._db))
                ((kind, key),) = documents
                self._reject(kind, key, str(error))
                return
            entities = list(documents)
            for half in (entities[: len(entities) // 2], entities[len(entities) // 2 :]):
                self._deliver({entity: documents[entity] for entity in half}, self._next_version(self._db))
            return
        self._sent += len(documents)
        if documents and self._may_be_rejected:
            self._accept(list(documents))

    def _taken(self, changes: Sequence[Change]) -> int:
        """Remove accepted changes from the outbox and count them; return how many."""

        def note(transaction: Any) -> int:
            transaction.execute(SQL["do_not_wait"] + SQL["succeeded"], {**self._names, "sent": self._sent})
            return Outbox(transaction, self.organization_id, self._consumer).acknowledge(changes)

        taken = self._db.run_in_transaction(note)
        self._sent = 0
        return taken

    def _call(self, documents: dict[Entity, dict[str, Any] | None], version: int) -> None:
        """Make one call; repeat it with a higher number if the receiver is ahead (a restored database)."""
        while True:
            answer = self._client.mutation(
                "sync:apply",
                {
                    "organizationId": str(self.organization_id),
                    "version": str(version),
                    "changes": [
                        {"kind": kind, "key": key, "document": document}
                        for (kind, key), document in documents.items()
                    ],
                },
            )
            try:
                if answer["applied"]:
                    return
                self._newest_there = int(answer["version"])
            except (TypeError, KeyError, ValueError):
                raise UnreachableError(
                    f"sync:apply answers {str(answer)[:200]!r}: is this the function of convex/?"
                ) from None
            _log.warning(
                "organization %s: call %s is older than %s, which was applied: continuing from there",
                self.organization_id, version, self._newest_there,
            )  # fmt: skip
            version = self._next_version(self._db)

    def _reject(self, kind: str, key: str, error: str) -> None:
        _log.error("organization %s: %s %s is rejected: %s", self.organization_id, kind, key, error)
        self._db.execute(SQL["reject"], {**self._names, "kind": kind, "entity_key": key, "error": error})
        self._may_be_rejected = True

    def _accept(self, entities: list[Entity]) -> None:
        self._db.execute(
            SQL["accept"],
            {
                **self._names,
                "kinds": [kind for kind, _ in entities],
                "entity_keys": [key for _, key in entities],
            },
        )
        self._may_be_rejected = bool(self._db.execute_query(SQL["rejected"], self._names))

    def _failed(self, error: UnreachableError | DeniedError) -> None:
        self.denied = error if isinstance(error, DeniedError) else None
        _log.warning("organization %s: %s", self.organization_id, error)
        self._db.execute(SQL["failed"], {**self._names, "error": str(error)})
        asked = error.retry_after_seconds if isinstance(error, UnreachableError) else _LONGEST_PAUSE_SECONDS
        self._pause_seconds = min(
            max(self._pause_seconds * 2, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS
        )
        pause = self._pause_seconds * (0.5 + self._random_share() / 2) if asked is None else asked
        self.not_before = time.monotonic() + pause
        if time.monotonic() - self._trimmed_at > 60:
            self._trimmed_at = time.monotonic()
            self._outbox.trim()


def _that_fit(documents: dict[Entity, dict[str, Any] | None]) -> dict[Entity, dict[str, Any] | None]:
    """Return as many of the documents as fit into one call, at least one."""
    kept: dict[Entity, dict[str, Any] | None] = {}
    size = 0
    for entity, document in documents.items():
        size += len(json.dumps([entity, document]))
        if kept and size > MOST_BYTES:
            break
        kept[entity] = document
    return kept
