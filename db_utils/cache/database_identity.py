"""Identify the database that predictions come from: two databases on one Redis, or one before and after a restore, share no keys."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from db_utils.cache.keys import NO_DATABASE
from db_utils.errors import DbUtilsError, PermissionDeniedError

BELIEVED_SECONDS = 5.0
"""How long the last known identity and organizations are trusted."""
_ASK_AGAIN_SECONDS = 2.5
_TIMEOUT_SECONDS = 5.0
_WAIT_SECONDS = 0.25
# Two queries: on Citus the second runs on the node that holds the rows, which is another server.
_WHICH = "SELECT database_id()::text AS database_id"
_OF_WHOM = """
    SELECT o.organization_id::text
    FROM {organizations} AS o
    WHERE o.organization_id = ANY ('{{{wanted}}}'::uuid[])
"""

logger = logging.getLogger("db_utils.cache")


class SupportsReading(Protocol):
    """The interface required of a pool; see `db_utils.connections.pool.ConnectionPool`."""

    last_write: object
    """Replaced after each use that may have written."""

    def read(self, sql: str, timeout_seconds: float) -> Sequence[Mapping[str, Any]]:
        """Rows."""


class SupportsDatabase(Protocol):
    """The interface required of a database; see `db_utils.DatabaseManager`."""

    @property
    def pool(self) -> SupportsReading:
        """The pool, shared by all users of the same database."""


class _Word(NamedTuple):
    """The database's answer."""

    name: str
    organizations: frozenset[str]
    passing: str
    """A throwaway name for organizations that do not exist."""
    asked_at: float
    last_write: object


class DatabaseIdentity:
    """The name of a database in keys, and whether an organization exists: refreshed in the background.

    A cache read waits for that only if the last answer is older than `BELIEVED_SECONDS` or than this
    process's own writes, and then for at most a quarter of a second: it continues with what is known, even
    while the database is down, but `is_confirmed` is then false.
    """

    def __init__(
        self, pool: SupportsReading, clock: Callable[[], float] = time.monotonic, *, scope: str = ""
    ) -> None:
        """`scope` is the SQL prefix of a tenant scope: queries then run there, for that organization."""
        self._pool = weakref.ref(pool)
        self._clock = clock
        self._scope = scope
        self.is_denied = False
        """Whether the login lacks permission: an application login has rights in tenant scopes only."""
        self._wanted: frozenset[str] = frozenset()
        self._asked_at = -math.inf
        self._known = _Word(NO_DATABASE, frozenset(), "", self._asked_at, None)
        self._asking: threading.Thread | None = None

    def is_known(self) -> bool:
        """Whether the database's identity is known."""
        return self._known.name != NO_DATABASE

    def is_confirmed(self) -> bool:
        """Whether it was confirmed within `BELIEVED_SECONDS` and since this process last wrote."""
        known, pool = self._known, self._pool()
        return (
            pool is not None
            and known.last_write is pool.last_write
            and self._clock() < known.asked_at + BELIEVED_SECONDS
        )

    def of_organization(self, organization: str) -> str:
        """Return the database name in the keys of this organization.

        An organization missing from the last answer is looked up at once; a deleted one gets a throwaway
        name, so that its old entries are not found.
        """
        if organization not in self._known.organizations:
            self._wanted |= {organization}
            self.ask()
        elif not self.is_confirmed():
            self._wait_for_word()
        elif self._clock() >= self._asked_at + _ASK_AGAIN_SECONDS:
            self._ask_in_background()
        known = self._known
        return known.name if organization in known.organizations else f"{known.name}.{known.passing}"

    def ask(self) -> None:
        """Query the database now; on failure the known state stays."""
        pool = self._pool()
        asked_at = self._asked_at = self._clock()
        if pool is None:
            return
        last_write = pool.last_write
        of_whom = _OF_WHOM.format(
            organizations="organizations" if self._scope else "public.organizations",
            wanted=",".join(sorted(self._wanted)),
        )
        try:
            (which,), rows = (
                pool.read(self._scope + question, _TIMEOUT_SECONDS) for question in (_WHICH, of_whom)
            )
        except DbUtilsError as error:
            self.is_denied = isinstance(error, PermissionDeniedError)
            logger.info("the database's identity could not be determined: %s", type(error).__name__)
            return
        name = which["database_id"].replace("-", "")
        if self.is_known() and name != self._known.name:
            logger.warning("the database has been replaced: cached entries of the previous one are ignored")
        organizations = frozenset(row["organization_id"] for row in rows)
        self._known = _Word(name, organizations, secrets.token_hex(4), asked_at, last_write)

    def _ask_in_background(self) -> threading.Thread:
        asking = self._asking
        if asking is None or not asking.is_alive():
            self._asked_at = self._clock()
            asking = threading.Thread(target=self.ask, name="db_utils-identity", daemon=True)
            asking.start()
            self._asking = asking
        return asking

    def _wait_for_word(self) -> None:
        """Query, after waiting for a query under way, which may have started before a write."""
        for _ in range(2):
            if self.is_confirmed() or self._was_in_vain():
                return
            asking = self._ask_in_background()
            asking.join(max(0.0, self._asked_at + _WAIT_SECONDS - self._clock()))

    def _was_in_vain(self) -> bool:
        """Whether the last query failed and the next one is not due yet."""
        return (
            (self._asking is None or not self._asking.is_alive())
            and self._known.asked_at < self._asked_at
            and self._clock() < self._asked_at + _ASK_AGAIN_SECONDS
        )


class _OfScope(DatabaseIdentity):
    """Return the identity as seen from one tenant scope, if its login may not query it directly."""

    def __init__(self, general: DatabaseIdentity, pool: SupportsReading, scope: str) -> None:
        super().__init__(pool, scope=scope)
        self._general = general

    def is_known(self) -> bool:
        return super().is_known() if self._general.is_denied else self._general.is_known()

    def is_confirmed(self) -> bool:
        return super().is_confirmed() if self._general.is_denied else self._general.is_confirmed()

    def of_organization(self, organization: str) -> str:
        if not self._general.is_denied:
            name = self._general.of_organization(organization)
            if not self._general.is_denied:  # which may have been determined just now
                return name
        return super().of_organization(organization)

    def ask(self) -> None:
        if not self._general.is_denied:
            self._general.ask()
        if self._general.is_denied:
            super().ask()


_identities: weakref.WeakKeyDictionary[SupportsReading, dict[str, DatabaseIdentity]] = (
    weakref.WeakKeyDictionary()
)


def identity_of(db: SupportsDatabase) -> DatabaseIdentity:
    """Return the identity of this database, shared by all users of its pool; a tenant scope may have its own."""
    pool = db.pool
    known = _identities.setdefault(pool, {})
    general = known.setdefault("", DatabaseIdentity(pool))
    scope: str = getattr(db, "settings_text", "")
    if not scope:
        return general
    if scope not in known:
        known[scope] = _OfScope(general, pool, scope)
    return known[scope]
