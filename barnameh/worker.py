"""The worker of all services: runs the tasks due in the table `service_schedules`, one at a time.

One worker is active at a time, by an advisory lock; others wait to take over. Missed runs are made up for
once. SIGTERM and SIGINT end it between two parts of a task.
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
"""A longer task is stopped between two of its parts, so that one organization does not block others."""
_LOCK = "barnameh worker"

Task = Callable[[DatabaseManager, Mapping[str, Any], Callable[[], bool]], None]
"""Runs one scheduled task: database, row of the schedule, whether to stop. Raises an error on failure."""

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
    """Schedule a task of the worker, for one location or all."""
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
    """See the module. `tasks` by name; `stop` may be set from any thread."""

    def __init__(self, db: DatabaseManager, tasks: Mapping[str, Task]) -> None:
        self._db, self._tasks = db, tasks
        self.stop = threading.Event()

    def run(self, *, once: bool = False) -> int:
        """Run until stopped, or only the tasks due now; return the number of failed tasks."""
        failed, is_waiting = 0, False
        with locks.session(self._db) as cursor:
            while not locks.take(cursor, _LOCK):
                if once:
                    raise ServiceError("another worker is running: only one can run at a time")
                if not is_waiting:
                    _log.info("another worker is running: waiting to take over")
                    is_waiting = True
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
        """Stop gracefully on SIGTERM and SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop.set())

    def _next(self) -> tuple[bool, bool]:
        """Run the most overdue task; return whether there was one, and whether it succeeded."""
        rows = self._db.execute_query(SQL["begin_due"], {"tasks": sorted(self._tasks)})
        if not rows:
            return False, True
        due = rows[0]
        error = None
        started, was_long = time.monotonic(), False
        (named,) = self._db.execute_query(SQL["place_of"], due)
        what = f"{due['task']} of {named['place']}"
        _log.info("%s: begun", what)

        def stop() -> bool:
            nonlocal was_long
            was_long = was_long or time.monotonic() - started > LONGEST_TASK_SECONDS
            return was_long or self.stop.is_set()

        try:
            self._tasks[due["task"]](self._db, due, stop)
        except (ServiceError, DbUtilsError) as failure:
            error = str(failure)
        except Exception as failure:  # a bug in one task must not prevent the others
            error = f"{type(failure).__name__}: {failure}"
            _log.exception("%s: a bug", what)
        if error is None and self.stop.is_set():
            error = "interrupted"
        elif error is None and was_long:
            error = f"stopped after {LONGEST_TASK_SECONDS / 60:.0f} minutes, so that other tasks get their turn: the next run continues"
        seconds = time.monotonic() - started
        if error is None:
            _log.info("%s: done after %.1f s", what, seconds)
        else:
            _log.warning("%s: ended after %.1f s: %s", what, seconds, error)
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
        """Seconds until the next task is due, at most half a minute, so that new schedules are noticed."""
        row = self._db.execute_query(SQL["next_due"], {"tasks": sorted(self._tasks)})[0]
        if row["due_at"] is None:
            return LONGEST_PAUSE_SECONDS
        seconds: float = (row["due_at"] - dt.datetime.now(dt.UTC)).total_seconds()
        return min(max(seconds, 0.1), LONGEST_PAUSE_SECONDS)
