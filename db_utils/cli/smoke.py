"""`smoke`: does everything work?"""

from __future__ import annotations

import typer

from db_utils import smoke
from db_utils.cli.common import Exit, Url, screen, settings_for

app = typer.Typer()


@app.command("smoke")
def smoke_test(url: Url = None) -> None:
    """Run every prebuilt query once and show the answers. Reads only.

    Without configuration, and without a server on the default port, it uses an embedded PostgreSQL with
    sample data.
    """
    if not smoke.run(settings_for(url), screen):
        raise typer.Exit(Exit.FAILED)
