"""Receive changes as they are committed: LISTEN/NOTIFY on a dedicated connection that reconnects automatically."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import reprlib
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.sql

from db_utils.connections.checkout import Checkout
from db_utils.connections.statement import check_timeout, run
from db_utils.errors import (
    ConnectionFailedError,
    DbUtilsError,
    InvalidInputError,
    PoolTimeoutError,
    QueryTimeoutError,
    ServerUnavailableError,
    TransactionStateError,
)
from db_utils.values import fetch_count

_log = logging.getLogger("db_utils.connections.listen")

_HEARTBEAT_SECONDS = 15.0
_HEARTBEAT_TIMEOUT_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 5.0
_LONGEST_CHANNEL_BYTES = 63
_PASSING = (ConnectionFailedError, ServerUnavailableError, QueryTimeoutError, PoolTimeoutError)


@dataclass(frozen=True)
class Notification:
    """One notification.

    `payload` is the JSON object sent; any other payload is under the key "text". `received_at` is this
    machine's clock, in UTC. `may_have_missed` marks a gap: the connection was lost for a while and is back,
    so reload what the channel is about.
    """

    channel: str
    payload: dict[str, Any]
    received_at: dt.datetime
    may_have_missed: bool = False
    text: str = field(default="", repr=False)


class Listener:
    """An endless iterator of `Notification`s; made by `DatabaseManager.listen` and `TenantScope.listen`.

    It listens from its creation. Use it with `with`, or `close()` it, also from another thread. After a fork
    it belongs to the parent: the child creates its own.
    """

    def __init__(
        self,
        open_lease: Callable[[], Checkout],
        find_channels: Callable[[], Mapping[str, str]],
        *,
        timeout_seconds: float | None = None,
    ) -> None:
        """`find_channels` gives the names on the server, each with the name to report."""
        self._timeout_seconds = None if timeout_seconds is None else check_timeout(timeout_seconds)
        self._open_checkout = open_lease
        self._find_channels = find_channels
        self._channels: dict[str, str] = {}
        self._added: dict[str, str] = {}
        self._checkout: Checkout | None = None
        self._ready: list[Notification] = []
        self._closed = False
        self._process_id = os.getpid()
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)
        try:
            self._connect()
        except BaseException:
            self.close()
            self._release()
            raise

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Notification]:
        return self

    def __next__(self) -> Notification:
        notification = self.get(self._timeout_seconds)
        if notification is None:
            raise StopIteration
        return notification

    def get(self, timeout_seconds: float | None = None) -> Notification | None:
        """Return the next notification, waiting `timeout_seconds` for it (None: forever).

        Returns None if nothing came in time or the listener was closed. A lost connection is reopened within
        that time; a `Notification` with `may_have_missed` for each channel reports it. Raises
        `TransactionStateError` in a process forked since it was created.
        """
        give_up_at = (
            float("inf") if timeout_seconds is None else time.monotonic() + check_timeout(timeout_seconds)
        )
        pause_seconds = 0.05
        while not self._closed:
            self._check_process()
            if self._ready:
                return self._ready.pop(0)
            left = give_up_at - time.monotonic()
            if left <= 0:
                break
            try:
                if self._checkout is None:
                    self._connect()
                    self._report_gap(self._channels)
                    pause_seconds = 0.05
                else:
                    self._wait(self._checkout, left)
            except _PASSING as error:
                if self._closed:
                    break
                _log.warning("listening was interrupted, connecting again: %s", error)
                self._drop()
                self._sleep(min(pause_seconds, max(0.0, left)))
                pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)
        if self._closed:
            self._release()
        return None

    def add(self, *channels: str) -> None:
        """Listen on these channels too, from now on; to be called by the reading thread.

        Earlier notifications on them are not received: a `Notification` with `may_have_missed` for each new
        one says so.
        """
        self._check_process()
        added = {name: kept for name, kept in check_channels(channels).items() if name not in self._channels}
        self._added.update(added)
        checkout = self._checkout
        if checkout is None:
            return  # the next connection listens to them and reports the gap
        try:
            _listen(checkout, added)
        except _PASSING as error:
            if not self._closed:
                _log.warning("listening was interrupted, connecting again: %s", error)
            self._drop()
            return
        self._channels.update(added)
        self._report_gap(added)

    def close(self) -> None:
        """Stop listening. Safe to call again, and from another thread."""
        if not self._closed:
            self._closed = True
            if self._process_id == os.getpid():  # otherwise it would wake the parent, which still listens
                with suppress(OSError):
                    self._rope.send(b"\0")
            self._drop()

    def _check_process(self) -> None:
        if self._process_id != os.getpid():
            raise TransactionStateError(
                "this listener belongs to the parent process: create one after the fork"
            )

    # -- the connection ----------------------------------------------------------------------------

    def _connect(self) -> None:
        channels = {**self._find_channels(), **self._added}
        checkout = self._open_checkout()
        try:
            _listen(checkout, channels)
        except BaseException:
            checkout.close()
            raise
        self._channels = channels
        self._checkout = checkout

    def _drop(self) -> None:
        checkout, self._checkout = self._checkout, None
        if checkout is not None:
            checkout.close()

    def _release(self) -> None:
        self._bell.close()
        self._rope.close()

    def __del__(self) -> None:
        if hasattr(self, "_rope"):
            self._drop()
            self._release()

    def _sleep(self, seconds: float) -> None:
        select.select([self._bell], [], [], seconds)

    def _wait(self, checkout: Checkout, left: float) -> None:
        """Wait for data from the server, and probe it after a long silence."""
        connection = checkout.connection
        seconds = min(left, _HEARTBEAT_SECONDS)
        try:
            self._take(connection)
            if self._ready:
                return
            ready, _, _ = select.select([connection.fileno(), self._bell], [], [], seconds)
            if ready:
                connection.poll()
            elif seconds == _HEARTBEAT_SECONDS:
                run(checkout, "SELECT 1", None, fetch_count, _HEARTBEAT_TIMEOUT_SECONDS)
            self._take(connection)
        except (psycopg2.Error, OSError, ValueError) as error:
            if isinstance(error, DbUtilsError):
                raise
            raise ServerUnavailableError(
                f"the listening connection was lost ({type(error).__name__})"
            ) from error

    def _take(self, connection: Any) -> None:
        while connection.notifies:
            notify = connection.notifies.pop(0)
            self._ready.append(
                Notification(
                    channel=self._channels.get(notify.channel, notify.channel),
                    payload=_payload(notify.payload),
                    received_at=dt.datetime.now(dt.UTC),
                    text=notify.payload,
                )
            )

    def _report_gap(self, channels: Mapping[str, str]) -> None:
        now = dt.datetime.now(dt.UTC)
        for channel in channels.values():
            self._ready.append(Notification(channel, {}, now, may_have_missed=True))


def _listen(checkout: Checkout, channels: Iterable[str]) -> None:
    for name in channels:
        run(
            checkout,
            psycopg2.sql.SQL("LISTEN {}").format(psycopg2.sql.Identifier(name)),
            None,
            fetch_count,
            _HEARTBEAT_TIMEOUT_SECONDS,
        )


def _payload(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {"text": text} if text else {}
    return value if isinstance(value, dict) else {"text": text}


KINDS = ("alerts", "anomalies", "predictions", "changes")
"""The kinds of notification that the schema sends, each organization having its own channel."""


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Raise `InvalidInputError` for a kind that is never sent."""
    check_channels(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInputError(
                f"{reprlib.repr(kind)} is not a kind of notification: listen to one of {', '.join(KINDS)}"
            )


def check_no_kinds(channels: tuple[str, ...]) -> None:
    """Raise `InvalidInputError` for a kind sent by organization: the bare channel would wait forever."""
    for kind in channels:
        if kind in KINDS:
            raise InvalidInputError(
                f"{kind} are sent to each organization separately: listen with tenant(organization_id).listen({kind!r})"
            )


def check_channels(channels: tuple[str, ...]) -> dict[str, str]:
    """Return these channel names, each reported as itself. Raises `InvalidInputError` for an invalid one."""
    if not channels:
        raise InvalidInputError("name at least one channel to listen to")
    for name in channels:
        if (
            not isinstance(name, str)
            or not name
            or "\0" in name
            or len(name.encode(errors="replace")) > _LONGEST_CHANNEL_BYTES
            or any("\ud800" <= character <= "\udfff" for character in name)
        ):
            raise InvalidInputError(
                f"{reprlib.repr(name)} is not a valid channel: give a name of 1 to 63 bytes in UTF-8"
            )
    return {name: name for name in channels}
