"""The command line of the services: `barnameh …`, or `python -m barnameh …`.

Exit codes: 0 success; 1 failure (one sentence says why); 2 wrong usage; 3 done, but something needs attention
(impossible readings, one of several places failed, short shifts); 130 interrupted.
"""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from barnameh import __version__
from barnameh.cli import api, fetch, forecast, sync, work

app = typer.Typer(
    name="barnameh",
    help="Services of the operations platform: the HTTP API, connectors, forecasting, plans, and the worker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for commands in (fetch.app, forecast.app, api.app, sync.app, work.app):
    app.add_typer(commands)

if importlib.util.find_spec("highspy") is not None:  # the extra `planning`
    from barnameh.cli import plan

    app.add_typer(plan.app, name="plan")


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
