"""The one worker of all services: does what is due by the table `service_schedules`, one thing at a time.

One worker works at a time, by an advisory lock; others wait to take over. What was missed is done once. SIGTERM and SIGINT end it
between two parts of a task.
"""

from __future__ import annotations

import datetime as dt
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh import locks
from barnameh.errors import ServiceError
from barnameh.statements import statements
from db_utils import DatabaseManager, DbUtilsError, Json

SQL = statements(Path(__file__).with_name("worker.sql"))
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_TASK_SECONDS = 3600.0
"""A task is told to stop then, between two of its parts: one organization's many places do not keep the others waiting."""
_LOCK = "barnameh worker"

Task = Callable[[DatabaseManager, Mapping[str, Any], Callable[[], bool]], None]
"""Does one scheduled task: the database, the row of the schedule, and whether to stop; raises where it failed."""

_log = logging.getLogger("barnameh.worker")


def schedule(
    db: DatabaseManager,
    organization_id: UUID,
    task: str,
    every: dt.timedelta,
    arguments: Mapping[str, Any],
    *,
    location_id: UUID | None = None,
) -> None:
    """Write down what the worker does from now on, for one location or for all."""
    db.execute(
        SQL["schedule"],
        {
            "organization_id": organization_id,
            "task": task,
            "location_id": location_id,
            "run_every": every,
            "arguments": Json(dict(arguments)),
        },
    )


class Worker:
    """See the module. `tasks` by name; `stop` may be set from anywhere."""

    def __init__(self, db: DatabaseManager, tasks: Mapping[str, Task]) -> None:
        self._db, self._tasks = db, tasks
        self.stop = threading.Event()

    def run(self, *, once: bool = False) -> int:
        """Work until stopped, or through what is due now; returns how many tasks failed."""
        failed = 0
        with locks.session(self._db) as cursor:
            while not locks.take(cursor, _LOCK):
                if once:
                    raise ServiceError("another worker is at work: this one has nothing to do")
                if self.stop.wait(LONGEST_PAUSE_SECONDS):
                    return 0
            try:
                self._db.execute(SQL["resume_interrupted"])
                while not self.stop.is_set():
                    worked, ok = self._next()
                    failed += not ok
                    if not worked and (once or self.stop.wait(self._pause())):
                        break
            finally:
                locks.release(cursor, _LOCK)
        return failed

    def stop_on_signals(self) -> None:
        """End in good order on SIGTERM and SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop.set())

    def _next(self) -> tuple[bool, bool]:
        """Do the task that is due longest; returns whether there was one, and whether it ended well."""
        rows = self._db.execute_query(SQL["begin_due"], {"tasks": sorted(self._tasks)})
        if not rows:
            return False, True
        due = rows[0]
        error = None
        started, was_long = time.monotonic(), False

        def stop() -> bool:
            nonlocal was_long
            was_long = was_long or time.monotonic() - started > LONGEST_TASK_SECONDS
            return was_long or self.stop.is_set()

        try:
            self._tasks[due["task"]](self._db, due, stop)
        except (ServiceError, DbUtilsError) as failure:
            error = str(failure)
            _log.warning("%s of organization %s failed: %s", due["task"], due["organization_id"], error)
        except Exception as failure:  # a fault of ours must not end the others' tasks
            error = f"{type(failure).__name__}: {failure}"
            _log.exception("%s of organization %s failed", due["task"], due["organization_id"])
        if error is None and self.stop.is_set():
            error = "interrupted"
        elif error is None and was_long:
            error = f"ended after {LONGEST_TASK_SECONDS / 60:.0f} minutes, so that others have their turn: the next run goes on"
        self._db.execute(
            SQL["end_task"],
            {
                "organization_id": due["organization_id"],
                "schedule_id": due["schedule_id"],
                "error": error,
            },
        )
        return True, error is None

    def _pause(self) -> float:
        """Seconds until something is due, at most half a minute: a new schedule is seen by then."""
        row = self._db.execute_query(SQL["next_due"], {"tasks": sorted(self._tasks)})[0]
        if row["due_at"] is None:
            return LONGEST_PAUSE_SECONDS
        seconds: float = (row["due_at"] - dt.datetime.now(dt.UTC)).total_seconds()
        return min(max(seconds, 0.1), LONGEST_PAUSE_SECONDS)
