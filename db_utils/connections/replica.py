"""A read replica: takes reads outside transactions, and is left alone for a while when it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from db_utils.config import Settings
from db_utils.connections.pool import ConnectionPool
from db_utils.errors import ConnectionFailedError, ReadOnlyError, SerializationError, ServerUnavailableError
from db_utils.sql_text import shape

Result = TypeVar("Result")

_PAUSE_SECONDS = 5.0


class Replica:
    """The pool of the replica, and whether to use it now."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.pool = ConnectionPool(settings, url)
        self._paused_until = 0.0

    def answer(self, sql: str, ask: Callable[[ConnectionPool], Result]) -> tuple[Result] | None:
        """What the replica answers, in a tuple of one; None where the primary has to be asked.

        That is where the statement is no plain read, by its words or because the replica refused it as a
        write; where the replica dropped the snapshot that the read needed; and for some seconds after it did
        not answer.
        """
        if time.monotonic() < self._paused_until or not shape(sql).looks_read_only:
            return None
        try:
            return (ask(self.pool),)
        except (ReadOnlyError, SerializationError):
            return None
        except (ServerUnavailableError, ConnectionFailedError):
            self._paused_until = time.monotonic() + _PAUSE_SECONDS
            return None
