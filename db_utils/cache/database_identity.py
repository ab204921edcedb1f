"""Which database do predictions come from? Two that share a Redis, or one before and after a restore, share nothing."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from db_utils.cache.keys import NO_DATABASE
from db_utils.errors import DbUtilsError, PermissionDeniedError

ASK_AGAIN_SECONDS = 5.0
_TIMEOUT_SECONDS = 5.0
_QUESTION = """
    SELECT
        database_id()::text AS database_id,
        (SELECT array_agg(o.organization_id::text) FROM {organizations} AS o) AS organizations
"""

logger = logging.getLogger("db_utils.cache")


class SupportsReading(Protocol):
    """What is needed of a pool; see `db_utils.connections.pool.ConnectionPool`."""

    def read(self, sql: str, timeout_seconds: float) -> Sequence[Mapping[str, Any]]:
        """Rows."""


class SupportsDatabase(Protocol):
    """What is needed of a database; see `db_utils.DatabaseManager`."""

    @property
    def pool(self) -> SupportsReading:
        """What all that speaks to the same database shares."""


class DatabaseIdentity:
    """The name of a database in keys: asked once, and from then on in the background whether it is still that one.

    A read from the cache never waits for that: it goes on with what is known, also while the database is away.
    """

    def __init__(
        self, pool: SupportsReading, clock: Callable[[], float] = time.monotonic, *, scope: str = ""
    ) -> None:
        """`scope` is what a tenant scope's statements begin with: then it is asked there, of that organization."""
        self._pool = weakref.ref(pool)
        self._clock = clock
        organizations = "organizations" if scope else "public.organizations"
        self._question = scope + _QUESTION.format(organizations=organizations)
        self.is_denied = False
        """Whether the login may not ask this: an application's, which has rights in tenant scopes only."""
        self._ask_at = clock()
        self._known: tuple[str, frozenset[str], str] = (NO_DATABASE, frozenset(), "")

    def is_known(self) -> bool:
        """Whether the database has said which one it is."""
        return self._known[0] != NO_DATABASE

    def of_organization(self, organization: str) -> str:
        """The name in the keys of this organization.

        Where it is not among those that the database had when it was asked last, the database is asked at once; one
        that is not there, because it has ended, has a name of the moment: what was kept of it before is not found.
        """
        if organization not in self._known[1]:
            self.ask()
        elif self._clock() >= self._ask_at:
            self._ask_at = self._clock() + ASK_AGAIN_SECONDS
            threading.Thread(target=self.ask, name="db_utils-identity", daemon=True).start()
        name, organizations, passing = self._known
        return name if organization in organizations else f"{name}.{passing}"

    def ask(self) -> None:
        """Ask the database now. Where it cannot be asked, what is known stays."""
        self._ask_at = self._clock() + ASK_AGAIN_SECONDS
        pool = self._pool()
        if pool is None:
            return
        try:
            row = pool.read(self._question, _TIMEOUT_SECONDS)[0]
        except DbUtilsError as error:
            self.is_denied = isinstance(error, PermissionDeniedError)
            logger.info("the database could not be asked which one it is: %s", type(error).__name__)
            return
        name = row["database_id"].replace("-", "")
        if self.is_known() and name != self._known[0]:
            logger.warning(
                "the database is another one than before: nothing that the cache kept of that one is used"
            )
        self._known = (name, frozenset(row["organizations"] or ()), secrets.token_hex(4))


class _OfScope(DatabaseIdentity):
    """The identity as one tenant scope may ask for it, where its login may not ask by itself."""

    def __init__(self, general: DatabaseIdentity, pool: SupportsReading, scope: str) -> None:
        super().__init__(pool, scope=scope)
        self._general = general

    def is_known(self) -> bool:
        return super().is_known() if self._general.is_denied else self._general.is_known()

    def of_organization(self, organization: str) -> str:
        if not self._general.is_denied:
            name = self._general.of_organization(organization)
            if not self._general.is_denied:  # which it may have found out just now
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
    """The identity of this database, the same for all that share its pool; a tenant scope may have one of its own."""
    pool = db.pool
    known = _identities.setdefault(pool, {})
    general = known.setdefault("", DatabaseIdentity(pool))
    scope: str = getattr(db, "settings_text", "")
    if not scope:
        return general
    if scope not in known:
        known[scope] = _OfScope(general, pool, scope)
    return known[scope]
