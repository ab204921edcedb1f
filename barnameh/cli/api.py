"""`serve` and `keys`: the HTTP API with its wall board, and its keys."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from barnameh.cli.common import (
    AsJson,
    Organization,
    Url,
    aside,
    database,
    duration_of,
    organization_of,
    print_json,
    screen,
)
from barnameh.errors import UsageError
from db_utils import DatabaseManager, OperationalDataQueries, Settings

app = typer.Typer()
keys_app = typer.Typer(help="Keys of the HTTP API: create, list, revoke.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@app.command()
def serve(
    url: Url = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for a free one.", min=0, max=65535)] = 8000,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="Use a PostgreSQL from a Python wheel, with sample data and a key. Needs no Docker.",
        ),
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="With --embedded: keep its data here. Default: deleted at the end.", show_default=False
        ),
    ] = None,
    forwarded_allow_ips: Annotated[
        str, typer.Option(help="Proxies whose X-Forwarded-For and -Proto are trusted, separated by commas.")
    ] = "127.0.0.1",
) -> None:
    """Serve the HTTP API and the wall board until SIGTERM or Ctrl-C.

    It uses an application login, which may only act for one organization at a time: API_DATABASE_URL, or a
    login that it creates with the owner's rights of --url or DATABASE_URL.

    Example: barnameh serve --embedded
    """
    from barnameh.api.app import create_app
    from barnameh.api.server import serve as run
    from barnameh.api.settings import ApiSettings

    settings = ApiSettings.from_environment()
    if data_dir is not None and not embedded:
        raise UsageError("--data-dir belongs to --embedded")
    if embedded and url is not None:
        raise UsageError("give --url or --embedded, not both")
    with contextlib.ExitStack() as stack:
        if embedded:
            owner = stack.enter_context(DatabaseManager.embedded(data_dir, seed=True))
            connection = _application(owner)
            _greet(owner, host, port)
        elif settings.database_url and url is None:
            connection = Settings.from_environment(database_url=settings.database_url, is_configured=True)
        else:
            with database(url) as owner:
                connection = _application(owner)
        connection = connection.with_changes(
            application_name="barnameh api", statement_timeout_seconds=settings.statement_timeout_seconds
        )
        db = stack.enter_context(DatabaseManager(settings=connection))
        run(create_app(db, settings), host, port, forwarded_allow_ips=forwarded_allow_ips)


def _application(owner: DatabaseManager) -> Settings:
    from barnameh.api.login import application_settings, owns_schema

    owner.wait()
    if owns_schema(owner):
        return application_settings(owner)
    return owner.settings


def _greet(db: DatabaseManager, host: str, port: int) -> None:
    """Print the addresses, and a key, for the sample organization."""
    from barnameh.api.keys import create, make_live

    organizations = OperationalDataQueries(db).get_organizations()
    organization = next(
        (row for row in organizations if row["industry"] == "manufacturing"), organizations[0]
    )
    key, _ = create(
        db, organization["organization_id"], "barnameh serve --embedded", "writer", dt.timedelta(days=1)
    )
    make_live(db, organization["organization_id"])
    aside.print(
        f"Wall board: http://{host}:{port}/\n"
        f"API:        http://{host}:{port}/v1/organizations/{organization['organization_id']}/\n"
        f"Key:        {key}   ({organization['name']}, valid for a day)",
        highlight=False,
        soft_wrap=True,
    )


@keys_app.command("create")
def create_key(
    organization: Organization,
    name: Annotated[str, typer.Option(help="What it is for, such as 'wall board hall 2'.")],
    role: Annotated[str, typer.Option(help="reader: read only; writer: write too.")] = "reader",
    expires: Annotated[
        str, typer.Option(help="Validity, such as 90d or 12h. Default: until revoked.", show_default=False)
    ] = "",
    live: Annotated[
        bool,
        typer.Option(
            "--live/--no-live",
            help="Record the organization's changes for live streams from now on.",
        ),
    ] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Create a key for one organization and show it, only this once.

    Example: barnameh keys create --organization "Sample Manufacturing" --name "wall board" --expires 365d
    """
    from barnameh.api import keys

    with database(url) as db:
        organization_id, _ = organization_of(db, organization)
        expires_in = duration_of(expires) if expires else None
        key, row = keys.create(db, organization_id, name, role, expires_in)
        if live:
            keys.make_live(db, organization_id)
    if as_json:
        print_json({"key": key, "organization_id": organization_id, **row})
        return
    typer.echo(key)
    until = f"until {_short(row['expires_at'])}" if row["expires_at"] else "until revoked"
    aside.print(f"A {row['role']}'s key, valid {until}. It is not stored: save it now.", highlight=False)


@keys_app.command("list")
def list_keys(
    organization: Annotated[
        str | None, typer.Option(help="Name or id of the organization. Default: all.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List keys with their roles, expiry and last use."""
    from barnameh.api import keys

    with database(url) as db:
        organization_id = organization_of(db, organization)[0] if organization else None
        rows = db.execute_query(keys.SQL["list_keys"], {"organization_id": organization_id})
    if as_json:
        print_json(rows)
        return
    table = Table()
    for heading in ("organization", "name", "key", "role", "created", "expires", "last used", "revoked"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["organization"],
            row["name"],
            f"{row['prefix']}_…",
            row["role"],
            _short(row["created_at"]),
            _short(row["expires_at"]),
            _short(row["last_used_at"]),
            _short(row["revoked_at"]),
        )
    screen.print(table)


@keys_app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id, its public part (bn_…), or the whole key.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key. Servers notice within half a minute."""
    from barnameh.api import keys

    with database(url) as db:
        row: dict[str, Any] = keys.revoke(db, key)
    if as_json:
        print_json(row)
        return
    typer.echo(f"revoked {row['prefix']}_… ({row['name']}) at {_short(row['revoked_at'])}")


def _short(at: dt.datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
