"""`dictionary`, `queries`: the reference pages, generated from the database and the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from db_utils.cli.common import Url, database
from db_utils.queries import catalogue
from db_utils.schema import dictionary

app = typer.Typer()


@app.command("dictionary")
def data_dictionary(
    url: Url = None,
    output: Annotated[
        Path | None, typer.Option(help="Write to this file instead of the screen.", show_default=False)
    ] = None,
) -> None:
    """Print the data dictionary: what every table, view, column and function means."""
    with database(url) as db:
        text = dictionary.markdown(db)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@app.command("queries")
def query_catalogue() -> None:
    """Print the catalogue of prebuilt queries."""
    typer.echo(catalogue.markdown(), nl=False)
