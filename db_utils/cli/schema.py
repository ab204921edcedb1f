"""`init`, `seed`, `verify`: the schema and the sample data."""

from __future__ import annotations

import typer

from db_utils import schema
from db_utils.cli.common import Url, database

app = typer.Typer()


@app.command()
def init(url: Url = None) -> None:
    """Bring a database to this version's schema: all or nothing, safe to repeat."""
    with database(url) as db:
        schema.apply(db)
        typer.echo(
            f"{db.settings.safe_url} has schema version {schema.version(db)} ({schema.edition(db)} edition)."
        )


@app.command()
def seed(url: Url = None) -> None:
    """Load the sample data: two organizations, their last 90 days, relative to now. Where it is already, nothing changes."""
    with database(url) as db:
        schema.seed(db)
        typer.echo(f"{db.settings.safe_url} holds the sample data.")


@app.command()
def verify(url: Url = None) -> None:
    """Check that a database has everything that this version needs, and say what is missing. Reads only."""
    with database(url) as db:
        schema.verify(db)
        typer.echo(f"{db.settings.safe_url} has everything that schema version {schema.version(db)} needs.")
