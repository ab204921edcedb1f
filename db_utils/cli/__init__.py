"""The command line: `python -m db_utils …`, or `db-utils …` where the package is installed.

One module for each group of commands; what they share is in `common`. A module's commands are added here.

Exit codes: 0 all is well; 1 the command could not do what was asked (one sentence says why); 2 it was called wrongly;
3 it was done, but something wants looking at (a warning, a rejected row); 4 something is badly wrong (a critical
finding); 130 it was interrupted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from db_utils import __version__
from db_utils.cli import backup, cluster, doctor, documentation, files, report, schema, serve, smoke, status

app = typer.Typer(
    name="db-utils",
    help="Operations data layer: PostgreSQL with TimescaleDB, a Redis prediction cache, prebuilt queries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for commands in (
    smoke.app,
    status.app,
    serve.app,
    schema.app,
    files.app,
    backup.app,
    doctor.app,
    cluster.app,
    report.app,
    documentation.app,
):
    app.add_typer(commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None: ...
