"""What every request needs: the database, who asks, what they may, and threads to wait in."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request

from barnameh.api.keys import Caller, KeyRing, unauthorized
from barnameh.api.limits import Limits
from barnameh.api.metrics import Metrics
from barnameh.api.problems import Problem
from barnameh.api.settings import ApiSettings
from barnameh.api.tokens import Tokens
from db_utils import DatabaseManager, TenantScope

Result = TypeVar("Result")

COOKIE = "barnameh_key"
"""In which the wall board remembers its key; nothing else is opened with it."""

STRANGERS_PER_SECOND, STRANGERS_AT_ONCE = 20.0, 40
"""Unknown keys that one address may try: each is a question to the database."""


class Service:
    """Belongs to one event loop and one database."""

    def __init__(self, db: DatabaseManager, settings: ApiSettings) -> None:
        self.db, self.settings = db, settings
        self.keys = KeyRing(db, settings.key_cache_seconds)
        self.tokens = Tokens(settings) if settings.jwks_url else None
        self.limits = Limits(settings.rate_per_second, settings.burst, settings.concurrency)
        self.metrics = Metrics(db.pool_stats)
        self.ending = asyncio.Event()
        """Set once the process is told to end: streams end with it."""
        self._strangers = Limits(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, 0)
        # As many threads as connections: one more would only wait for a connection, and hold up who has one.
        connections = db.pool_stats().max_connections
        self.exports = anyio.CapacityLimiter(max(1, connections // 4))
        self.threads = anyio.CapacityLimiter(max(1, connections - int(self.exports.total_tokens)))
        self._scopes: dict[uuid.UUID, TenantScope] = {}
        self._at_end: list[Callable[[], None]] = []

    def scope(self, organization_id: uuid.UUID) -> TenantScope:
        """The rows of this organization and no others."""
        scope = self._scopes.get(organization_id)
        if scope is None:
            scope = self._scopes[organization_id] = self.db.tenant(organization_id)
        return scope

    def end(self) -> None:
        """Streams end now; may be called from a signal handler of the loop's thread."""
        if not self.ending.is_set():
            self.ending.set()
            for act in self._at_end:
                act()

    def at_end(self, act: Callable[[], None]) -> None:
        """Have this done once the process is told to end."""
        self._at_end.append(act)

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do something that waits for the database in a thread; no more threads than connections."""
        return await anyio.to_thread.run_sync(partial(work, *arguments), limiter=self.threads)

    async def admit(self, request: Request, *, writes: bool = False) -> tuple[Caller, dict[str, str]]:
        """Who asks, if they may ask this of the organization in the path, and the headers that say what they have left.

        Another organization is answered as one that does not exist. Raises `Problem`.
        """
        caller = await self.caller(bearer(request), request)
        try:
            asked = uuid.UUID(request.path_params["organization_id"])
        except ValueError:
            asked = None
        if asked != caller.organization_id:
            raise Problem(404, "not-found", "There is no such thing", "There is no such organization.")
        if writes and not caller.writes:
            raise Problem(
                403, "not-allowed", "This may not be done", "The key reads only: use one of a writer."
            )
        return caller, self.limits.take(caller.key)

    async def caller(self, key: str | None, request: Request) -> Caller:
        """Whose key or token this is. Raises `Problem` 401."""
        if not key:
            raise unauthorized("Send a key: Authorization: Bearer bn_…")
        caller = self.keys.known(key)
        if caller is None:
            self._strangers.take(request.client.host if request.client else "")
            if self.tokens is not None and key.count(".") == 2:
                caller = await anyio.to_thread.run_sync(self.tokens.find, key, limiter=self.threads)
            else:
                caller = await self.run(self.keys.find, key)
        request.scope["note"]["key"] = caller.key
        request.scope["note"]["organization_id"] = str(caller.organization_id)
        return caller


def bearer(request: Request) -> str | None:
    """The key that a request brings."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
