"""Threads that wait for the database, so that the event loop does not: as many as it has connections, served in turn."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")

_Job = tuple["asyncio.Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class Threads:
    """At most `count` of them; belongs to one event loop.

    A small read is answered in less time than anyio's or the standard library's pools take to hand it over: a lock and a
    condition in Python for each. Threads here end with the process, whatever they wait for.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = self._under_way = 0

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Have this done in a thread; raises what it raises."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._under_way += 1
        if self._started < self._under_way and self._started < self._count:
            self._started += 1
            threading.Thread(target=self._work, name="barnameh-api", daemon=True).start()
        self._jobs.put((future, contextvars.copy_context(), work, arguments))
        return await future

    def close(self) -> None:
        """Let the threads end once they have done what was asked for."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, context, work, arguments = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(work, *arguments)
            except BaseException as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                future.get_loop().call_soon_threadsafe(self._tell, future, result, error)
            del job, future, context, work, arguments, result, error

    def _tell(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if future.done():  # who asked does not wait any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
