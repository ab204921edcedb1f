"""The command line: `python -m db_utils …`, or `db-utils …` where the package is installed.

One module per group of commands; shared parts are in `common`. The commands of each module are added here.

Exit codes: 0 success; 1 failure (one sentence says why); 2 wrong usage; 3 success, but something needs
attention (a warning, a rejected row); 4 a critical problem; 130 interrupted.
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
