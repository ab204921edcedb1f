"""The command line: `python -m db_utils …`, or `db-utils …` where the package is installed.

Exit codes: 0 all is well, 1 the command could not do what was asked (one sentence says why), 2 it was called wrongly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from db_utils import catalogue, dictionary, schema, smoke
from db_utils.config import Settings
from db_utils.manager import DatabaseManager

app = typer.Typer(
    name="db-utils",
    help="Operations data layer: PostgreSQL with TimescaleDB, a Redis prediction cache, prebuilt queries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The database, as postgresql://user:password@host:port/name. Default: DATABASE_URL, or POSTGRES_*.",
        show_default=False,
    ),
]


def settings_for(url: str | None) -> Settings:
    """The environment's settings, for another database where one is named."""
    return (
        Settings.from_environment()
        if url is None
        else Settings.from_environment(database_url=url, is_configured=True)
    )


@app.command("smoke")
def smoke_test(url: Url = None) -> None:
    """Run every prebuilt query once and show the answers. Reads only.

    Where nothing is configured and nothing answers on the default port, it runs on an embedded PostgreSQL with sample data.
    """
    if not smoke.run(settings_for(url), Console()):
        raise typer.Exit(1)


@app.command()
def init(url: Url = None) -> None:
    """Bring a database to this version's schema: all or nothing, safe to repeat."""
    with DatabaseManager(settings=settings_for(url)) as db:
        schema.apply(db)
        typer.echo(
            f"{db.settings.safe_url} has schema version {schema.version(db)} ({schema.edition(db)} edition)."
        )


@app.command()
def seed(url: Url = None) -> None:
    """Load the sample data: two organizations, their last 90 days, relative to now. Where it is already, nothing changes."""
    with DatabaseManager(settings=settings_for(url)) as db:
        schema.seed(db)
        typer.echo(f"{db.settings.safe_url} holds the sample data.")


@app.command()
def verify(url: Url = None) -> None:
    """Check that a database has everything that this version needs, and say what is missing. Reads only."""
    with DatabaseManager(settings=settings_for(url)) as db:
        schema.verify(db)
        typer.echo(f"{db.settings.safe_url} has everything that schema version {schema.version(db)} needs.")


@app.command("dictionary")
def data_dictionary(
    url: Url = None,
    output: Annotated[
        Path | None, typer.Option(help="Write to this file instead of the screen.", show_default=False)
    ] = None,
) -> None:
    """Print the data dictionary: what every table, view, column and function means."""
    with DatabaseManager(settings=settings_for(url)) as db:
        text = dictionary.markdown(db)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@app.command("queries")
def query_catalogue() -> None:
    """Print the catalogue of prebuilt queries."""
    typer.echo(catalogue.markdown(), nl=False)
