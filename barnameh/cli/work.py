"""`work` and `schedules`: the worker of all services, and its tasks."""

from __future__ import annotations

import datetime as dt
import importlib.util
from typing import Annotated

import typer
from rich.table import Table

from barnameh.cli import fetch, forecast
from barnameh.cli.common import AsJson, Exit, Url, database, log_progress, print_json, screen
from barnameh.worker import SQL, Task, Worker

app = typer.Typer()


@app.command()
def work(
    url: Url = None,
    once: Annotated[bool, typer.Option("--once", help="Run the tasks due now and end.")] = False,
) -> None:
    """Run the tasks due in the table service_schedules, until SIGTERM or Ctrl-C.

    One worker is active at a time; others wait to take over. Missed runs of a task are made up for once. Exit
    code of --once: 3 if a task failed; service_schedules.last_error says why.
    """
    log_progress()
    with database(url) as db:
        worker = Worker(db, tasks())
        worker.stop_on_signals()
        if worker.run(once=once) and once:
            raise typer.Exit(Exit.ATTENTION)


def tasks() -> dict[str, Task]:
    """Return the worker's tasks: those of the installed services."""
    found: dict[str, Task] = {**fetch.TASKS, **forecast.TASKS}
    if importlib.util.find_spec("highspy") is not None:
        from barnameh.cli import plan

        found |= plan.TASKS
    return found


@app.command()
def schedules(url: Url = None, as_json: AsJson = False) -> None:
    """Show the worker's tasks, when they are due, and their last results."""
    with database(url) as db:
        rows = db.execute_query(SQL["schedules"])
    if as_json:
        print_json(rows)
        return
    if not rows:
        screen.print(
            "Nothing is scheduled. 'barnameh fetch weather --organization … --every 6h' schedules something."
        )
        return
    table = Table()
    for heading in ("organization", "task", "location", "every", "next", "last good", "last error"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["organization"],
            row["task"],
            row["location"] or "all",
            str(row["run_every"]),
            _short(row["next_run_at"]) if row["is_enabled"] else "off",
            _short(row["last_succeeded_at"]),
            row["last_error"] or "",
        )
    screen.print(table)


def _short(at: dt.datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
