"""`serve`: a persistent embedded server."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from db_utils import schema
from db_utils.cli.common import aside
from db_utils.connections.manager import DatabaseManager
from db_utils.embedded.server import DATABASE, PASSWORD, USER, EmbeddedServer, default_data_dir

app = typer.Typer()


@app.command("serve")
def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The data folder. Default: the folder that smoke uses.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="Also listen on this port of 127.0.0.1, with a password. Default: a socket in the folder only.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[bool, typer.Option("--seed", help="Load the sample data into a new folder.")] = False,
) -> None:
    """Start the embedded PostgreSQL 16, print its URL, and stay until Ctrl-C or SIGTERM.

    Needs no Docker. Creates the folder and applies the schema if missing; the data stay when it stops. Other
    commands can use the folder too, whether this runs or not: --url embedded:FOLDER.

    Example: db-utils serve ./operations-data --seed
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with EmbeddedServer.start(folder or default_data_dir(), tcp_port=port) as server:
        with DatabaseManager(server.url) as db:
            schema.ensure(db, seed=seed)
        typer.echo(server.url)
        if port is not None:
            typer.echo(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}")
        aside.print(f"PostgreSQL runs on {server.data_dir}. Ctrl-C stops it; the data stay.", soft_wrap=True)
        stopped.wait()
