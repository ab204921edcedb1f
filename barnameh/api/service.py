"""Shared by all requests: the database, authentication, limits, and threads for blocking calls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
from starlette.requests import Request

from barnameh.api.keys import Caller, KeyRing, unauthorized
from barnameh.api.limits import Limits
from barnameh.api.metrics import Metrics
from barnameh.api.problems import Problem
from barnameh.api.settings import ApiSettings
from barnameh.api.threads import Threads
from barnameh.api.tokens import Tokens
from db_utils import DatabaseManager, OperationalDataQueries, PredictionCache, TenantScope

Result = TypeVar("Result")

COOKIE = "barnameh_key"
"""The cookie that stores the wall board's key; accepted for nothing else."""

PROVIDERS_THREADS = 2
"""Threads for fetching the identity provider's keys: if it hangs, callers with API keys do not wait."""

STRANGERS_PER_SECOND, STRANGERS_AT_ONCE = 20.0, 40
"""Rate of unknown keys that one address may try, because each takes a database query."""


class Service:
    """Belongs to one event loop and one database."""

    def __init__(self, db: DatabaseManager, settings: ApiSettings) -> None:
        self.db, self.settings = db, settings
        self.keys = KeyRing(db, settings.key_cache_seconds)
        self.tokens = Tokens(settings) if settings.jwks_url else None
        self.limits = Limits(settings.rate_per_second, settings.burst, settings.concurrency)
        self.metrics = Metrics(db.pool_stats)
        self.ending = asyncio.Event()
        """Set at shutdown, which ends the streams."""
        self._strangers = Limits(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, 0)
        # As many threads as connections: another would only wait for a connection, and slow down the others.
        connections = db.pool_stats().max_connections
        self.exports = anyio.CapacityLimiter(max(1, connections // 4))
        self._threads = Threads(max(1, connections - int(self.exports.total_tokens)))
        self._providers = Threads(PROVIDERS_THREADS)
        self._scopes: dict[uuid.UUID, TenantScope] = {}
        self._queries: dict[uuid.UUID, OperationalDataQueries] = {}
        # The default address does not mean that there is a Redis.
        self._cache = PredictionCache(db.settings.redis_url if db.settings.redis_is_configured else None)
        self._at_end: list[Callable[[], None]] = []

    def scope(self, organization_id: uuid.UUID) -> TenantScope:
        """Return the scope of this organization, limited to its rows."""
        scope = self._scopes.get(organization_id)
        if scope is None:
            scope = self._scopes[organization_id] = self.db.tenant(organization_id)
        return scope

    def call(self, organization_id: uuid.UUID, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run a prebuilt query or write; predictions are read through the cache if there is one."""
        queries = self._queries.get(organization_id)
        if queries is None:
            scope = self.scope(organization_id)
            queries = self._queries[organization_id] = OperationalDataQueries(scope, cache=self._cache)
        answer = getattr(queries, name)(organization_id, **arguments)
        # A named tuple would become a JSON list without names.
        return answer._asdict() if hasattr(answer, "_asdict") else answer

    def end(self) -> None:
        """End the streams now; may be called from a signal handler in the loop's thread."""
        if not self.ending.is_set():
            self.ending.set()
            for act in self._at_end:
                act()

    def at_end(self, act: Callable[[], None]) -> None:
        """Register a callback for shutdown."""
        self._at_end.append(act)

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a blocking database call in a thread; there are at most as many threads as connections."""
        return await self._threads.run(work, *arguments)

    def close(self) -> None:
        """Close its threads and its connections to the cache."""
        self._cache.close()
        self._threads.close()
        self._providers.close()

    async def admit(self, request: Request, *, writes: bool = False) -> tuple[Caller, dict[str, str]]:
        """Authorize a request for the organization in its path; return the caller and the rate-limit headers.

        Another organization is reported as not existing. Raises `Problem`.
        """
        caller = await self.caller(bearer(request), request)
        if not _is_id(request.path_params["organization_id"], caller.organization_id):
            raise Problem(404, "not-found", "Not found", "There is no such organization.")
        if writes and not caller.writes:
            raise Problem(403, "not-allowed", "Not allowed", "The key is read-only: use a writer's key.")
        return caller, self.limits.take(caller.key)

    async def caller(self, key: str | None, request: Request) -> Caller:
        """Authenticate a key or token. Raises `Problem` 401."""
        if not key:
            raise unauthorized("Send a key: Authorization: Bearer bn_…")
        caller = self.keys.known(key)
        if caller is None:
            self._strangers.take(request.client.host if request.client else "")
            if self.tokens is not None and key.count(".") == 2:
                caller = await self._providers.run(self.tokens.find, key)
                self.keys.remember(key, caller)
            else:
                caller = await self.run(self.keys.find, key)
        request.scope["note"]["key"] = caller.key
        request.scope["note"]["organization_id"] = str(caller.organization_id)
        return caller


def bearer(request: Request) -> str | None:
    """Return the key in a request's headers."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _is_id(text: str, known: uuid.UUID) -> bool:
    """Whether this text is that id, in any textual form of a UUID."""
    if text == str(known):
        return True
    try:
        return uuid.UUID(text) == known
    except ValueError:
        return False
