"""Shared parts of the commands: database, JSON output, progress, exit codes."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from db_utils.config import Settings, embedded_folder
from db_utils.connections.manager import DatabaseManager
from db_utils.embedded.server import EmbeddedServer
from db_utils.ops.table_sizes import TableFacts


class Exit(enum.IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ATTENTION = 3
    CRITICAL = 4
    INTERRUPTED = 130


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The database, as postgresql://user:password@host:port/name, or embedded:FOLDER for the embedded server's data in "
        "that folder. Default: DATABASE_URL, or POSTGRES_*.",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of tables, for scripts.")
]

# Results go to standard output, progress and notices to standard error.
screen = Console()
aside = Console(stderr=True)


def settings_for(url: str | None) -> Settings:
    """Return the environment's settings, for the database of `url` if given.

    `embedded:FOLDER` starts the embedded server on that folder, or joins the one that `serve` runs there; it
    stops with the last process that uses it. Raises `ConfigurationError` if it cannot run here.
    """
    if folder := embedded_folder(url):
        url = EmbeddedServer.start(folder).url
    return (
        Settings.from_environment()
        if url is None
        else Settings.from_environment(database_url=url, is_configured=True)
    )


@contextlib.contextmanager
def database(url: str | None) -> Iterator[DatabaseManager]:
    """Open the database of a command for the duration of the block."""
    with DatabaseManager(settings=settings_for(url)) as db:
        yield db


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; dates as ISO 8601, decimals and identifiers as text."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Show progress bars on standard error; none without a terminal, and removed at the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=aside, transient=True, disable=quiet or not aside.is_terminal) as bars:
        yield bars


def shown_rows(facts: TableFacts) -> str:
    """Format the number of a table's rows; an estimate has "about"."""
    if facts.rows is None:
        return "unknown"
    return f"{'about ' if facts.rows_are == 'estimate' else ''}{facts.rows:,}"
