"""`report`: an organization's performance on one page."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from db_utils import report as reports
from db_utils.cli.common import Url, settings_for
from db_utils.connections.manager import DatabaseManager
from db_utils.errors import InvalidInputError
from db_utils.files.whole_file import written_whole
from db_utils.ops.sizes import size

app = typer.Typer()


@app.command()
def report(
    organization: Annotated[
        str, typer.Option("--organization", help="Its id, or its exact name.", show_default=False)
    ],
    out: Annotated[
        str, typer.Option("--out", help="The HTML file to write; - for standard output.", show_default=False)
    ],
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            help="Length of the period in days of 24 hours, up to now. Default: 30.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            help="Instead of --days: first instant, as 2026-11-24 or 2026-11-24T06:00+01:00. "
            "Without offset it is local time of the organization.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--end", help="First instant after the period. Default: now.", show_default=False),
    ] = None,
    url: Url = None,
) -> None:
    """Show how an organization performs: OEE and its losses, demand and forecasts, utilization, plans, attendance, anomalies.

    Writes one self-contained HTML file without scripts or external resources, which can be mailed, read on a
    phone and printed. Reads only. Figures that cannot be computed give the reason. An existing file is
    replaced, or left unchanged on failure. Also works with a customer's login, on that customer's rows. Needs
    the extra `report`.

    Example: db-utils report --organization "Sample Manufacturing" --out report.html --days 7
    """
    path = None if out == "-" else _writable(Path(out))
    began = time.monotonic()
    try:
        # It aggregates weeks and months: slow queries are expected here.
        settings = settings_for(url).with_changes(slow_query_seconds=0.0)
        with DatabaseManager(settings=settings) as db:
            page = reports.build(db, organization, days=days, start=start, end=end).encode()
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from None
    if path is None:
        sys.stdout.buffer.write(page)
        sys.stdout.buffer.flush()
        return
    with written_whole(path) as file:
        file.write(page)
    typer.echo(f"{path}: {size(len(page))} in {time.monotonic() - began:.1f} s")


def _writable(path: Path) -> Path:
    if not path.parent.is_dir():
        raise typer.BadParameter(f"--out {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise typer.BadParameter(f"--out {path} is a folder: give a file in it")
    return path
