"""The live stream: Server-Sent Events of changes, from the outbox, which a client can resume.

An organization with clients has one feed: a listener for the database's notifications, one read of the outbox
for all, and a queue per client. An event's id is a position in the outbox: a client that returns with it
first catches up with the feed and receives each change once, or `gap` if some have been deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from barnameh.api.jsons import encode
from barnameh.api.keys import CONSUMER, Caller
from barnameh.api.problems import Problem, problem_of
from barnameh.api.service import COOKIE, Service, bearer
from db_utils import DbUtilsError
from db_utils.errors import InvalidInputError, NotFoundError, SessionUnavailableError
from db_utils.outbox import KINDS, Change, Outbox

PING_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""Interval for checking the outbox anyway, because a notification may be lost."""
MOST_WAITING = 1_000
"""Events queued for a client before it is disconnected; it can reconnect and resume."""

_log = logging.getLogger("barnameh.api.live")


@dataclass
class Event:
    """One event: `kind` is a kind of the outbox, or gap."""

    kind: str
    data: bytes
    position: str

    @cached_property
    def encoded(self) -> bytes:
        """The event as sent, encoded once for all clients."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.position.encode(), self.kind.encode(), self.data)


_PING = Event("ping", b"", "")


@dataclass(eq=False)
class _Client:
    kinds: frozenset[str]
    pinged_at: float
    queue: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING + 1))

    def give(self, event: Event) -> None:
        if self.queue.qsize() >= MOST_WAITING:
            self.end()
        elif event.kind in self.kinds or event.kind == "gap":
            self.queue.put_nowait(event)

    def ping(self, now: float) -> None:
        # Even under constant events, because the key is checked again on a ping.
        if now - self.pinged_at >= PING_SECONDS:
            self.pinged_at = now
            if self.queue.qsize() < MOST_WAITING:
                self.queue.put_nowait(_PING)

    def end(self) -> None:
        while self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Feed:
    """The changes of one organization, for all its clients."""

    def __init__(self, service: Service, organization_id: UUID) -> None:
        self._service = service
        self.outbox = Outbox(service.scope(organization_id), organization_id, CONSUMER)
        self.organization_id = organization_id
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []
        self._closed = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.clients: set[_Client] = set()
        self.position: str | None = None

    def start(self) -> None:
        """Start listening and reading the outbox."""
        self._task = asyncio.create_task(self._work())
        self._ping()
        threading.Thread(target=self._listen, name="barnameh-live", daemon=True).start()

    def close(self) -> None:
        """Stop, and end every client."""
        self._closed.set()
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for client in self.clients:
            client.end()

    @property
    def is_unused(self) -> bool:
        """Whether it has no clients, and none joining."""
        return not self.clients and not self._asked

    async def look(self) -> None:
        """Read the outbox again; on return `position` is not older than this call. Raises database errors."""
        asked = self._loop.create_future()
        self._asked.append(asked)
        self._wake.set()
        await asked

    def _ping(self) -> None:
        """Ping all clients every 15 seconds. One timer, as one per wait would cost more than an event."""
        now = self._loop.time()
        for client in self.clients:
            client.ping(now)
        self._timer = self._loop.call_later(1.0, self._ping)

    def _listen(self) -> None:
        """Wake the feed on each notification from the database; runs in its own thread."""
        while not self._closed.is_set():
            try:
                with self._service.scope(self.organization_id).listen("changes") as listener:
                    while not self._closed.is_set():
                        if listener.get(1.0) is not None:
                            self._loop.call_soon_threadsafe(self._wake.set)
            except SessionUnavailableError:
                return  # no notifications there: the feed polls
            except (DbUtilsError, RuntimeError) as error:  # RuntimeError: the loop is closed
                _log.info("not woken up for a while: %s", error)
                self._closed.wait(LOOK_SECONDS)

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()
            asked, self._asked = self._asked, []
            error: Exception | None = None
            try:
                while not await self._step():
                    pass
            except Exception as failure:
                error = failure
                if not isinstance(failure, DbUtilsError):
                    _log.exception("the live feed failed")
            for future in asked:
                if not future.done():
                    future.set_exception(error) if error else future.set_result(None)
            if error is not None:
                await asyncio.sleep(LOOK_SECONDS / 2)

    async def _step(self) -> bool:
        """Send the clients newly committed changes; return whether these are all."""
        found = await self._service.run(self.outbox.changes_since, self.position)
        events = await self._service.run(events_of, self.outbox, found.changes) if found.changes else []
        if found.may_have_missed and self.position is not None:
            events = [gap(found.position)]
        self.position = found.position
        for event in events:
            for client in self.clients:
                client.give(event)
        return found.is_complete


def gap(position: str) -> Event:
    """Return the event that reports changes no longer available."""
    return Event(
        "gap", b'{"detail":"Some changes are no longer available: read everything again."}', position
    )


def events_of(outbox: Outbox, changes: Iterable[Change]) -> list[Event]:
    """Return the changes, each with its current row; null if it is no longer current."""
    changes = list(changes)
    rows: dict[str, dict[str, Any]] = {}
    for kind in {change.kind for change in changes}:
        rows[kind] = outbox.current_rows(kind, [change.key for change in changes if change.kind == kind])
    return [
        Event(
            change.kind,
            encode(
                {
                    "kind": change.kind,
                    "key": change.key,
                    "changed_at": change.changed_at,
                    "row": rows[change.kind].get(change.key),
                }
            ),
            change.position or "",
        )
        for change in changes
    ]


class Live:
    """All feeds of this process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._feeds: dict[UUID, Feed] = {}
        self._by_key: dict[str, int] = {}
        self._ended = False
        service.at_end(self.end)

    def end(self) -> None:
        """End all streams. Call it from the loop's thread."""
        self._ended = True
        for feed in self._feeds.values():
            feed.close()

    async def stream(self, request: Request) -> Response:
        """`GET …/stream`."""
        request.scope["note"].update(endpoint="stream", is_stream=True)
        caller, headers = await self._service.admit(request)
        unknown = set(request.query_params) - {"topics"}
        if unknown:
            raise Problem(
                422,
                "invalid-input",
                "Invalid value",
                "The stream accepts no parameter but topics.",
            )
        return await self.response(request, caller, kinds_of(request.query_params.get("topics")), headers)

    async def response(
        self, request: Request, caller: Caller, kinds: frozenset[str], headers: dict[str, str]
    ) -> Response:
        """Open a stream for this caller, from the position in Last-Event-ID on. Raises `Problem`."""
        if self._ended:
            raise Problem(
                503,
                "ending",
                "The service is shutting down",
                "Another one takes over.",
                headers={"retry-after": "1"},
            )
        if self._by_key.get(caller.key, 0) >= self._service.settings.streams_per_key:
            raise Problem(
                429,
                "too-many-at-once",
                "Too many streams at once",
                f"At most {self._service.settings.streams_per_key} streams of a key.",
                headers={"retry-after": "10"},
            )
        self._by_key[caller.key] = self._by_key.get(caller.key, 0) + 1
        try:
            feed, client = await self._join(caller.organization_id, kinds)
        except BaseException:
            self._leave(caller, None, None)
            raise
        # New events are queued from here on; missed ones are sent first.
        start = feed.position
        assert start is not None
        try:
            before = await self._missed(feed, request.headers.get("last-event-id"), start, kinds)
        except BaseException:
            self._leave(caller, feed, client)
            raise

        async def events() -> AsyncIterator[bytes]:
            try:
                yield b"retry: 1000\n\n"
                for event in before:
                    yield event.encoded
                yield b"id: %b\nevent: hello\ndata: {}\n\n" % start.encode()
                async for part in self._following(request, caller, feed, client):
                    yield part
            finally:
                self._leave(caller, feed, client)

        headers = {**headers, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events(), 200, headers, media_type="text/event-stream")

    async def _join(self, organization_id: UUID, kinds: frozenset[str]) -> tuple[Feed, _Client]:
        feed = self._feeds.get(organization_id)
        if feed is None:
            feed = self._feeds[organization_id] = Feed(self._service, organization_id)
            feed.start()
        try:
            await feed.look()
        except NotFoundError:
            self._drop_if_unused(feed)
            raise Problem(
                409,
                "not-live",
                "Changes are not recorded",
                "The operator turns it on: barnameh keys create --live.",
            ) from None
        except DbUtilsError as error:
            self._drop_if_unused(feed)
            raise problem_of(error) from None
        client = _Client(kinds, asyncio.get_running_loop().time())
        feed.clients.add(client)
        self._service.metrics.streams.inc()
        return feed, client

    async def _missed(
        self, feed: Feed, position: str | None, until: str, kinds: frozenset[str]
    ) -> list[Event]:
        """Yield the events that a returning client missed, up to the feed's position when it joined."""
        if not position:
            return []
        outbox = feed.outbox
        events: list[Event] = []
        while position != until:
            try:
                found = await self._service.run(partial(outbox.changes_since, position, until=until))
            except InvalidInputError:
                return [gap(until)]
            if found.may_have_missed or len(events) > MOST_WAITING:
                return [gap(until)]
            told = [change for change in found.changes if change.kind in kinds]
            events += await self._service.run(events_of, outbox, told) if told else []
            position = found.position
        return events

    async def _following(
        self, request: Request, caller: Caller, feed: Feed, client: _Client
    ) -> AsyncIterator[bytes]:
        key = bearer(request) or request.cookies.get(COOKIE)
        while (event := await client.queue.get()) is not None:
            if event is not _PING:
                self._service.metrics.events.inc()
                yield event.encoded
                continue
            try:
                await self._service.caller(key, request)
            except Problem as problem:
                if problem.status == 401:  # revoked or expired
                    return
            except DbUtilsError:
                pass  # the database is unavailable, which says nothing about the key
            # Without data the client raises no event, but remembers the position.
            yield (
                b": ping\nid: %b\n\n" % (feed.position or "").encode()
                if client.queue.empty()
                else b": ping\n\n"
            )

    def _leave(self, caller: Caller, feed: Feed | None, client: _Client | None) -> None:
        self._by_key[caller.key] -= 1
        if not self._by_key[caller.key]:
            del self._by_key[caller.key]
        if feed is not None and client is not None:
            feed.clients.discard(client)
            self._service.metrics.streams.dec()
            self._drop_if_unused(feed)

    def _drop_if_unused(self, feed: Feed) -> None:
        if feed.is_unused:
            feed.close()
            self._feeds.pop(feed.organization_id, None)


def kinds_of(topics: str | None) -> frozenset[str]:
    """Return the kinds that a client requests, by default all. Raises `Problem` 422."""
    if topics is None:
        return frozenset(KINDS)
    wanted = frozenset(topic.strip() for topic in topics.split(",") if topic.strip())
    if not wanted or not wanted <= set(KINDS):
        raise Problem(
            422,
            "invalid-input",
            "Invalid value",
            f"topics: give some of {', '.join(KINDS)}, separated by commas.",
        )
    return wanted
