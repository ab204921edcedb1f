"""The cache's operations in Redis: every call has a deadline, and errors are counted instead of raised."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from db_utils.cache.breaker import WARN_AGAIN_SECONDS
from db_utils.cache.client import RedisClient, RefusedError, Script
from db_utils.cache.connection import Command
from db_utils.cache.keys import Space, lease_key
from db_utils.cache.node import UnavailableError
from db_utils.cache.predictions import Encoded
from db_utils.cache.statistics import Statistics

logger = logging.getLogger("db_utils.cache")

PENDING_LIMIT = 10_000
PENDING_BATCH = 100
RETRY_PENDING_SECONDS = 1.0
CHUNK = 256
GENERATION = slice(34, 50)
STAMP = slice(26, 34)

_PUT = Script("put")
_LEASE = Script("lease")
_RELEASE = Script("release")


class PutOutcome(StrEnum):
    """The outcome of storing a prediction."""

    STORED = "stored"
    KEPT_NEWER = "kept newer"  # Redis has a newer one, or the batch had
    ABSENT = "absent"  # create=False, and there was nothing to replace
    REJECTED = "rejected"  # its available_at is in the future; an older copy was removed
    REFUSED = "refused"  # Redis is full, read-only, or the key belongs to another application
    UNAVAILABLE = "unavailable"  # Redis could not be reached, or there is none


_OUTCOMES = {
    1: PutOutcome.STORED,
    2: PutOutcome.KEPT_NEWER,
    3: PutOutcome.REFUSED,
    4: PutOutcome.REFUSED,
    5: PutOutcome.ABSENT,
}


class Allowance:
    """The time that one call may still spend on Redis; time spent in the database does not count."""

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def spend(self, since: float) -> None:
        """Deduct the time since this value of `time.monotonic`."""
        self.left -= time.monotonic() - since


class RebuildLease(NamedTuple):
    """Redis' reply to a lease request: one result per key, and the tokens for a later fill."""

    now_us: int
    token: bytes
    generations: bytes
    replies: list[Any]


class Item(NamedTuple):
    """One value to write: its key, its bytes, its expiry, and the stamp of the value it may replace
    unconditionally."""

    key: str
    encoded: Encoded
    keep_milliseconds: int
    replaceable: bytes = b""


class Mark(NamedTuple):
    """A pending invalidation: drop the key or, if it is a `generation`, renew it."""

    space: Space
    generation: bool
    until: float  # when the outdated value will have expired


class Store:
    """The cache's commands. Each returns None if Redis did not answer in time."""

    def __init__(
        self, client: RedisClient, statistics: Statistics, *, lease_seconds: float, keep_seconds: float
    ) -> None:
        self._client = client
        self._statistics = statistics
        self._lease_milliseconds = str(max(1, round(lease_seconds * 1000)))
        # Generations outlive every value that names them: a value without its generation does not count.
        self._generation_milliseconds = str(round(max(2 * keep_seconds, 86_400) * 1000))
        self._lock = threading.Lock()
        self._keep_seconds = keep_seconds
        self._pending: dict[str, Mark] = {}
        self._pending_at = 0.0
        self._warned_at: float | None = None

    @property
    def pending(self) -> int:
        """Return the number of invalidations pending until Redis is back."""
        return len(self._pending)

    def read(
        self, space: Space, keys: Sequence[str], deadline: float
    ) -> tuple[int, list[bytes | None]] | None:
        """Return Redis' clock in microseconds and the valid values of the keys, in one round trip."""
        if self._pending:
            self._settle(deadline)
        try:
            now, replies = self._client.read(space.slot, ("MGET", *space.generations, *keys), deadline)
        except UnavailableError as error:
            self._note(error)
            return None
        now_us = int(now[0]) * 1_000_000 + int(now[1])
        tenant, kind, *raws = replies
        if tenant is None or kind is None:
            return now_us, [None] * len(keys)
        generations = tenant + kind
        values: list[bytes | None] = [
            raw if raw is not None and raw[GENERATION] == generations else None for raw in raws
        ]
        if self._pending:
            values = [
                None if self.is_masked(space, key) else value for key, value in zip(keys, values, strict=True)
            ]
        return now_us, values

    def is_masked(self, space: Space, key: str) -> bool:
        """Whether Redis' value for this key is known to be outdated, because its invalidation failed."""
        pending = self._pending
        return bool(pending) and (
            key in pending or space.generations[1] in pending or space.generations[0] in pending
        )

    def lease(self, space: Space, seen: Mapping[str, bytes], allowance: Allowance) -> RebuildLease | None:
        """Request leases to load these keys from the database; `seen` has the stamps of the values seen."""
        began = time.monotonic()
        token = os.urandom(12)
        arguments: list[bytes | str] = [
            token,
            self._lease_milliseconds,
            self._generation_milliseconds,
            *_fresh_generations(),
            *seen.values(),
        ]
        try:
            now, (generations, *replies) = self._client.run_script(
                space.slot, _LEASE, _with_leases(space, seen), arguments, began + allowance.left
            )
        except (UnavailableError, RefusedError) as error:
            self._note(error)
            return None
        finally:
            allowance.spend(began)
        return RebuildLease(int(now[0]) * 1_000_000 + int(now[1]), token, generations, replies)

    def fill(self, space: Space, items: Sequence[Item], lease: RebuildLease, allowance: Allowance) -> None:
        """Store what was loaded under a lease, unless it was invalidated meanwhile or a newer value
        exists."""
        began = time.monotonic()
        try:
            codes = self._put(space, items, lease.token, lease.generations, "1", began + allowance.left)
        except (UnavailableError, RefusedError) as error:
            self._note(error)
            self._statistics.add(not_stored=len(items))
        else:
            self._count(items, codes)
        finally:
            allowance.spend(began)

    def release(self, space: Space, keys: Sequence[str], lease: RebuildLease, allowance: Allowance) -> None:
        """Release leases without storing anything."""
        began = time.monotonic()
        try:
            leases = [lease_key(key) for key in keys]
            self._client.run_script(space.slot, _RELEASE, leases, [lease.token], began + allowance.left)
        except (UnavailableError, RefusedError) as error:
            self._note(error)
        finally:
            allowance.spend(began)

    def put(
        self, space: Space, items: Sequence[Item], *, create: bool, budget_seconds: float
    ) -> list[PutOutcome]:
        """Store current values on behalf of a writer.

        If that fails, the older copies are removed instead, now or as soon as Redis is reachable; until then
        this process ignores them. The budget applies per chunk, and a failure ends the call.
        """
        outcomes: list[PutOutcome] = []
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            deadline = time.monotonic() + budget_seconds
            if self._pending:
                self._settle(deadline)
            try:
                codes = self._put(space, chunk, b"", b"", "1" if create else "0", deadline)
            except (UnavailableError, RefusedError) as error:
                self._note(error)
                rest = items[start:]
                self._statistics.add(not_stored=len(rest))
                if (
                    not isinstance(error, RefusedError) or error.code != "WRONGTYPE"
                ):  # another application's keys
                    self._remove(space, [item.key for item in rest], deadline)
                trouble = PutOutcome.REFUSED if isinstance(error, RefusedError) else PutOutcome.UNAVAILABLE
                return outcomes + [trouble] * len(rest)
            self._count(chunk, codes)
            outcomes += [_OUTCOMES[code] for code in codes]
        return outcomes

    def remove(self, space: Space, keys: Sequence[str], deadline: float) -> bool:
        """Drop values; return whether that is done, not pending until Redis is reachable."""
        self._statistics.add(invalidations=len(keys))
        return self._remove(space, keys, deadline)

    def renew_generation(self, space: Space, key: str, deadline: float) -> bool:
        """Invalidate every value under a generation at once; return whether that is done."""
        self._statistics.add(invalidations=1)
        try:
            self._client.write(space.slot, self._generation_command(key), deadline)
        except (UnavailableError, RefusedError) as error:
            self._note(error)
            self._remember(space, [key], generation=True)
            return False
        return True

    def _put(
        self,
        space: Space,
        items: Sequence[Item],
        token: bytes,
        generations: bytes,
        create: str,
        deadline: float,
    ) -> list[int]:
        arguments: list[bytes | str] = [
            token,
            generations,
            create,
            self._generation_milliseconds,
            *_fresh_generations(),
        ]
        for item in items:
            arguments += [*item.encoded, str(item.keep_milliseconds), item.replaceable]
        keys = _with_leases(space, [item.key for item in items])
        codes: list[int] = self._client.run_script(space.slot, _PUT, keys, arguments, deadline)[1]
        return codes

    def _count(self, items: Sequence[Item], codes: Sequence[int]) -> None:
        stored, newer, foreign = (codes.count(code) for code in (1, 2, 4))
        if foreign:
            self._warn(
                "The prediction cache finds another application's values under its names in %s, and leaves them "
                "as they are: those predictions come from the database. Give the cache its own database or "
                "namespace.",
                self._client.name,
            )
        self._statistics.add(
            stored=stored,
            kept_newer=newer,
            not_stored=len(codes) - stored - newer,
            errors=foreign,
            bytes_written=sum(
                len(item.encoded.fixed) + len(item.encoded.body) + 24
                for item, code in zip(items, codes, strict=True)
                if code == 1
            ),
        )

    def _remove(self, space: Space, keys: Sequence[str], deadline: float) -> bool:
        names = [name for key in keys for name in (key, lease_key(key))]
        try:
            self._client.write(space.slot, ("UNLINK", *names), deadline)
        except (UnavailableError, RefusedError) as error:
            self._note(error)
            self._remember(space, keys, generation=False)
            return False
        return True

    def _remember(self, space: Space, keys: Sequence[str], *, generation: bool) -> None:
        now = time.monotonic()
        mark = Mark(space, generation, now + self._keep_seconds)
        with self._lock:
            self._pending.update(dict.fromkeys(keys, mark))
            self._pending_at = now + RETRY_PENDING_SECONDS
            if len(self._pending) > PENDING_LIMIT:  # do not list values: drop all of their kinds
                known = list(self._pending.items())
                self._pending = {
                    key if mark.generation else mark.space.generations[1]: mark._replace(generation=True)
                    for key, mark in sorted(known, key=lambda item: item[1].until)
                }

    def _settle(self, deadline: float) -> None:
        """Retry some pending invalidations; after a failure, at most once a second."""
        now = time.monotonic()
        with self._lock:
            if now < self._pending_at:
                return
            self._pending_at = now + RETRY_PENDING_SECONDS
            self._pending = {key: mark for key, mark in self._pending.items() if mark.until > now}
            if not self._pending:
                return
            slot = next(iter(self._pending.values())).space.slot
            batch = [(key, mark) for key, mark in self._pending.items() if mark.space.slot == slot]
            batch = batch[:PENDING_BATCH]
        try:
            for key, mark in batch:
                drop = ("UNLINK", key, lease_key(key))
                self._client.write(slot, self._generation_command(key) if mark.generation else drop, deadline)
        except (UnavailableError, RefusedError) as error:
            self._note(error)
            return
        with self._lock:
            for key, mark in batch:
                if self._pending.get(key) is mark:  # and not marked again meanwhile
                    del self._pending[key]
            self._pending_at = 0.0

    def _generation_command(self, key: str) -> Command:
        return "SET", key, os.urandom(8), "PX", self._generation_milliseconds

    def _note(self, error: UnavailableError | RefusedError) -> None:
        if isinstance(error, UnavailableError):
            self._statistics.add(**{"bypassed" if error.bypassed else "errors": 1})
            return
        self._statistics.add(errors=1)
        self._warn(
            "The prediction cache cannot be written, predictions come from the database: %s refuses "
            "(%s: %s). Check that server's memory and role, and the rights of the user in REDIS_URL.",
            self._client.name,
            error.code,
            error,
        )

    def _warn(self, message: str, *arguments: object) -> None:
        """Log a warning, unless there was one within the last minute."""
        with self._lock:
            now = time.monotonic()
            warn = self._warned_at is None or now - self._warned_at >= WARN_AGAIN_SECONDS
            if warn:
                self._warned_at = now
        if warn:
            logger.warning(message, *arguments)


def _fresh_generations() -> tuple[bytes, bytes]:
    random = os.urandom(16)
    return random[:8], random[8:]


def _with_leases(space: Space, keys: Mapping[str, Any] | Sequence[str]) -> list[str]:
    return [*space.generations, *(name for key in keys for name in (key, lease_key(key)))]
