"""API keys: create, list, revoke, authenticate. A key is `bn_`, 12 public, `_` and 43 secret characters."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
import string
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from barnameh.api.problems import Problem
from barnameh.errors import UsageError
from barnameh.statements import statements
from db_utils import DatabaseManager
from db_utils.outbox import Outbox

SQL = statements(Path(__file__).with_name("keys.sql"))
ROLES = ("reader", "writer")
Role = Literal["reader", "writer"]

CONSUMER = "api"
"""The outbox target that live streams read; its rows are kept for a while, and no reader deletes them."""
KEEP_FOR = dt.timedelta(hours=1)

_NOBODY = UUID(int=0)
_KEY = re.compile(r"(bn_[a-z0-9]{12})_[A-Za-z0-9_-]{43}")
_PUBLIC = string.ascii_lowercase + string.digits
_MOST_CACHED = 10_000


@dataclass(frozen=True)
class Caller:
    """An authenticated caller: organization, key and role."""

    organization_id: UUID
    key: str
    """Its identity in limits and logs: the public part of a key, or the subject of a token."""
    role: str
    expires_at: dt.datetime | None = None

    @property
    def writes(self) -> bool:
        """Whether it may write."""
        return self.role == "writer"


def create(
    db: DatabaseManager,
    organization_id: UUID,
    name: str,
    role: str,
    expires_in: dt.timedelta | None = None,
) -> tuple[str, dict[str, Any]]:
    """Create a key and return it with its row; it cannot be retrieved later. Needs the owner's rights."""
    if role not in ROLES:
        raise UsageError(f"{role!r} is not a role of a key: give reader or writer")
    prefix = "bn_" + "".join(secrets.choice(_PUBLIC) for _ in range(12))
    key = f"{prefix}_{secrets.token_urlsafe(32)}"
    rows = db.execute_query(
        SQL["create_key"],
        {
            "organization_id": organization_id,
            "name": name,
            "prefix": prefix,
            "secret_sha256": digest(key),
            "role": role,
            "expires_in": expires_in,
        },
        primary=True,
    )
    return key, rows[0]


def make_live(db: DatabaseManager, organization_id: UUID) -> None:
    """Record the organization's changes for live streams, resumable for an hour. Needs the owner's rights."""
    Outbox(db, organization_id, CONSUMER).add_target(keep_for=KEEP_FOR)


def revoke(db: DatabaseManager, key: str) -> dict[str, Any]:
    """Revoke a key, given by id, public part or in full. Safe to repeat. Needs the owner's rights."""
    whole = _KEY.fullmatch(key)
    rows = db.execute_query(SQL["revoke_key"], {"key": whole[1] if whole else key}, primary=True)
    if not rows:
        raise UsageError("there is no such key: barnameh keys list shows them")
    return rows[0]


def digest(key: str) -> str:
    """Return the stored form of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """Authenticates keys and caches the result for `cache_seconds`. Safe to share between threads."""

    def __init__(
        self, db: DatabaseManager, cache_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db, self._cache_seconds, self._clock = db, cache_seconds, clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Caller, float]] = {}

    def known(self, key: str) -> Caller | None:
        """Return the caller from the cache, or None. Never blocks."""
        found = self._known.get(key)
        if found is None or found[1] < self._clock():
            return None
        caller = found[0]
        return None if _is_over(caller) else caller

    def find(self, key: str) -> Caller:
        """Look up the caller in the database. Raises `Problem` 401, with the reason, for an invalid key."""
        match = _KEY.fullmatch(key)
        if match is None:
            raise unauthorized("This is not a key of this service: keys begin with bn_.")
        rows = self._db.tenant(_NOBODY).execute_query(
            SQL["use_key"], {"prefix": match[1], "secret_sha256": digest(key)}, primary=True
        )
        if not rows:
            raise unauthorized("There is no such key.")
        row = rows[0]
        caller = Caller(row["organization_id"], match[1], row["role"], row["expires_at"])
        if row["revoked_at"] is not None:
            self.forget(key)
            raise unauthorized("The key was revoked.")
        if _is_over(caller):
            raise unauthorized("The key has expired.")
        self.remember(key, caller)
        return caller

    def remember(self, key: str, caller: Caller) -> None:
        """Cache this key, or token, as this caller's."""
        with self._lock:
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            self._known[key] = (caller, self._clock() + self._cache_seconds)

    def forget(self, key: str) -> None:
        """Remove it from the cache."""
        with self._lock:
            self._known.pop(key, None)


def _is_over(caller: Caller) -> bool:
    return caller.expires_at is not None and caller.expires_at <= dt.datetime.now(dt.UTC)


def unauthorized(detail: str) -> Problem:
    """Return the response to an unauthenticated request."""
    return Problem(
        401,
        "unauthorized",
        "A key is needed",
        detail,
        headers={"www-authenticate": 'Bearer realm="barnameh"'},
    )
