"""Read the outbox: changes since a position, and current rows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from db_utils.connections.executor import Executor
from db_utils.errors import InvalidInputError, NotFoundError
from db_utils.outbox.kinds import KINDS
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

_POSITION = re.compile(r"(\d+:\d+:[\d,]*)(?:/(\d+:\d+:[\d,]*)/(\d+)/(-?\d+))?")


@dataclass(frozen=True)
class Change:
    """A change of a key in an organization, without values: `Outbox.current_rows` reads the current ones."""

    kind: str
    """One of `KINDS`."""
    key: str
    changed_at: dt.datetime
    """Time of the first of the changes combined in this one; in UTC."""
    transaction_id: int = field(repr=False)
    outbox_id: int = field(repr=False)
    position: str | None = field(default=None, repr=False)
    """From `changes_since`: where to continue after this one."""


@dataclass(frozen=True)
class Changes:
    """Changes committed since a position."""

    changes: list[Change]
    position: str
    """Where to continue: an opaque text without spaces, valid for as long as the target keeps its rows."""
    may_have_missed: bool
    """Whether some are gone, or the position was None or of another server: read all current rows again."""
    is_complete: bool
    """Whether these are all; otherwise call again at once."""


class Outbox:
    """One organization's changes for one consumer.

    `executor` is a `DatabaseManager`, a `TenantScope` of that organization (which may read, not acknowledge),
    or a transaction of one of them. Either the consumer deletes what it has processed (`waiting`,
    `acknowledge`), or its target sets how long rows are kept, and any number of readers resume at their own
    positions (`changes_since`), which deletes nothing.
    """

    def __init__(self, executor: Executor, organization_id: UUID | str, consumer: str) -> None:
        self._executor = executor
        self.organization_id = parse_uuid(organization_id, "organization_id")
        self.consumer = consumer

    def add_target(self, *, kinds: Iterable[str] | None = None, keep_for: dt.timedelta | None = None) -> None:
        """Record changes for this consumer from now on; safe to repeat.

        `kinds` are some of `KINDS` (None: all). `keep_for` (a minute to seven days) is for readers that
        resume; None for a consumer that acknowledges. For the operator only: a tenant's scope may not call
        it.
        """
        self._run("add_target", kinds=self._kinds(kinds), keep_for=keep_for)

    def remove_target(self) -> None:
        """Stop recording changes for this consumer, and delete its waiting ones."""
        self._run("remove_target")

    def has_target(self) -> bool:
        """Are changes recorded for this consumer?"""
        return bool(self._query("get_target"))

    def enqueue(self, *, kinds: Iterable[str] | None = None) -> int:
        """Enqueue all current keys of these kinds (None: all) and return how many.

        For a new copy, and for KPIs, which change with time: no write records them.
        """
        written: int = self._query("enqueue", kinds=self._kinds(kinds))[0]["written"]
        return written

    def enqueue_keys(self, keys: Iterable[tuple[str, str]]) -> None:
        """Enqueue these (kind, key) again."""
        pairs = list(keys)
        self._run("enqueue_keys", kinds=[kind for kind, _ in pairs], entity_keys=[key for _, key in pairs])

    def trim(self) -> int:
        """Delete unneeded rows of all organizations and return how many; several of a key become one."""
        deleted: int = self._query("trim")[0]["deleted"]
        return deleted

    # -- a consumer that deletes what it processed ------------------------------------------------------

    def waiting(self, limit: int = 500) -> list[Change]:
        """Which changes wait, oldest transaction first; at most `limit`?"""
        return [_change(row) for row in self._query("waiting", limit=limit)]

    def acknowledge(self, changes: Sequence[Change]) -> int:
        """Delete exactly these changes and return how many existed.

        One that is concurrently being merged with others of its key stays, and is returned again.
        """
        return self._run(
            "acknowledge",
            transaction_ids=[change.transaction_id for change in changes],
            outbox_ids=[change.outbox_id for change in changes],
        )

    # -- readers that resume ------------------------------------------------------------------------------

    def changes_since(
        self, position: str | None = None, *, until: str | None = None, limit: int = 1000
    ) -> Changes:
        """Which changes were committed since `position` of an earlier call, each once, late commits too?

        With None, returns only the position to continue from. `until` is the `position` of a complete, not
        older result, so that a reader catches up with another one. A key may occur twice. Raises
        `InvalidInputError` for an invalid position, `NotFoundError` without a target, for which nothing is
        recorded.
        """
        since, own_until, after = _parse(position)
        until = own_until or (None if until is None else _parse(until)[0])
        rows = self._query(
            "changes_since",
            since=since,
            until=until,
            after_transaction_id=after and after[0],
            after_outbox_id=after and after[1],
            limit=limit + 1,
        )
        look = rows[0]
        if not look["has_target"]:
            raise NotFoundError(
                f"organization {self.organization_id} has no target {self.consumer!r}: call add_target() to record its changes"
            )
        if look["may_have_missed"]:
            return Changes([], look["now_seen"], may_have_missed=True, is_complete=True)
        found = [row for row in rows[:limit] if row["outbox_id"] is not None]
        changes = [
            replace(
                _change(row),
                position=look["until"]
                if len(rows) <= limit and row is found[-1]
                else f"{since}/{look['until']}/{row['transaction_id']}/{row['outbox_id']}",
            )
            for row in found
        ]
        if len(rows) <= limit:
            is_complete = look["until"] == look["now_seen"]
            return Changes(changes, look["until"], may_have_missed=False, is_complete=is_complete)
        rest = changes[-1].position
        assert rest is not None
        return Changes(changes, rest, may_have_missed=False, is_complete=False)

    # -- what it is now -----------------------------------------------------------------------------------

    def current_rows(self, kind: str, keys: Sequence[str] | None = None) -> dict[str, Row]:
        """What is the current row of each of these, by key? Others are no longer current; one snapshot.

        With None: all current ones. Rows have the columns of `KINDS` and `expires_at`. Several kinds in one
        snapshot: give an `executor` that is a transaction with isolation="repeatable read".
        """
        self._kinds([kind])
        if keys is not None and not keys:
            return {}
        rows = self._query(f"rows_of_{kind}", keys=None if keys is None else list(keys))
        return {row.pop("entity_key"): row for row in rows}

    # -- helpers ------------------------------------------------------------------------------------------

    def _query(self, name: str, **parameters: Any) -> list[Row]:
        return self._executor.execute_query(_statements()[name], self._with_names(parameters), primary=True)

    def _run(self, name: str, **parameters: Any) -> int:
        return self._executor.execute(_statements()[name], self._with_names(parameters))

    def _with_names(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"organization_id": self.organization_id, "consumer": self.consumer, **parameters}

    @staticmethod
    def _kinds(kinds: Iterable[str] | None) -> list[str]:
        wanted = list(KINDS) if kinds is None else list(kinds)
        if unknown := [kind for kind in wanted if kind not in KINDS]:
            raise InvalidInputError(
                f"{unknown[0]!r} is not a kind of the outbox: give some of {', '.join(KINDS)}"
            )
        return wanted


def _change(row: Row) -> Change:
    return Change(row["kind"], row["entity_key"], row["changed_at"], row["transaction_id"], row["outbox_id"])


def _parse(position: str | None) -> tuple[str | None, str | None, tuple[int, int] | None]:
    if position is None:
        return None, None, None
    found = _POSITION.fullmatch(position) if isinstance(position, str) and len(position) < 100_000 else None
    if found is None:
        raise InvalidInputError(
            "this is not a position in the outbox: give one that changes_since() returned, or None"
        )
    after = None if found[3] is None else (int(found[3]), int(found[4]))
    return found[1], found[2], after


@cache
def _statements() -> dict[str, str]:
    queries = aiosql.from_path(Path(__file__).with_name("outbox.sql"), "psycopg2", mandatory_parameters=False)
    return {
        name: getattr(queries, name).sql for name in queries.available_queries if not name.endswith("_cursor")
    }
