"""Shared by the commands: the database, the organization, parsing of times and durations."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import json
import logging
import re
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from barnameh.errors import CustomerLoginError, UsageError
from db_utils import DatabaseManager, Settings, embedded_folder
from db_utils.errors import PermissionDeniedError


class Exit(enum.IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ATTENTION = 3


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The database, as postgresql://user:password@host:port/name, or embedded:FOLDER for the embedded server's data in "
        "that folder. Default: DATABASE_URL, or POSTGRES_*.",
        show_default=False,
    ),
]
Organization = Annotated[str, typer.Option("--organization", help="Name or id of the organization.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]

screen = Console()
aside = Console(stderr=True)

_DURATION = re.compile(r"(\d+)\s*(m|min|h|d)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_ORGANIZATIONS = """
    SELECT o.organization_id, o.timezone
    FROM organizations AS o
    WHERE o.name = %(organization)s OR o.organization_id::text = lower(%(organization)s)
"""


@contextlib.contextmanager
def database(url: str | None) -> Iterator[DatabaseManager]:
    """Open the database that a command works on, and close it at the end."""
    if folder := embedded_folder(url):
        with DatabaseManager.embedded(folder) as db:
            yield db
        return
    settings = (
        Settings.from_environment()
        if url is None
        else Settings.from_environment(database_url=url, is_configured=True)
    )
    with DatabaseManager(settings=settings.with_changes(application_name="barnameh")) as db:
        yield db


def organization_of(db: DatabaseManager, organization: str) -> tuple[UUID, str]:
    """Return identifier and time zone of the organization with this name or id.

    By its id it is read in its own scope, which is all that an application's login may do.
    """
    try:
        reader: Any = db.tenant(UUID(organization))
    except ValueError:
        reader = db
    try:
        rows = reader.execute_query(_ORGANIZATIONS, {"organization": organization})
    except PermissionDeniedError as error:
        if reader is db:
            raise UsageError(
                f"this login may not look for {organization!r}: give the organization's id"
            ) from error
        raise CustomerLoginError from error
    if not rows:
        raise UsageError(f"there is no organization {organization!r}")
    if len(rows) > 1:
        raise UsageError(f"{len(rows)} organizations are called {organization!r}: give the id of one")
    return rows[0]["organization_id"], rows[0]["timezone"]


def time_of(text: str, timezone: str) -> dt.datetime:
    """Parse a time: with an offset, or local to the organization."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time: write 2026-11-01 or 2026-11-01T06:00Z") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=ZoneInfo(timezone))


def duration_of(text: str) -> dt.timedelta:
    """Parse a duration such as 30m, 6h or 1d."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not a duration: write 30m, 6h or 1d")
    return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(value, default=str, ensure_ascii=False, indent=2))


def log_progress() -> None:
    """Log to standard error, without the addresses of requests: some sources take their key in the query."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
