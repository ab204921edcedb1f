"""Threads for blocking database calls, in order of arrival: as many threads as there are connections."""

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
    """At most `count` threads, for one event loop.

    anyio's and the standard library's pools take longer to hand over a call, with a lock and a condition in
    Python, than a small read takes. These threads end with the process, whatever they wait for.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = self._under_way = 0

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a call in a thread; its exceptions are passed on."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._under_way += 1
        if self._started < self._under_way and self._started < self._count:
            self._started += 1
            threading.Thread(target=self._work, name="barnameh-api", daemon=True).start()
        self._jobs.put((future, contextvars.copy_context(), work, arguments))
        return await future

    def close(self) -> None:
        """Stop the threads after their pending calls."""
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
            with contextlib.suppress(RuntimeError):  # the loop is closed: no caller is waiting
                future.get_loop().call_soon_threadsafe(self._tell, future, result, error)
            del job, future, context, work, arguments, result, error

    def _tell(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if future.done():  # the caller has stopped waiting
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
