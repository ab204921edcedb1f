"""`init`, `migrate`, `verify`, `seed`, `reset`: the schema and the sample data, on any PostgreSQL 16 or later."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from db_utils import schema
from db_utils.cli.common import AsJson, Exit, Url, database, print_json, progress, screen, shown_rows
from db_utils.connections.manager import DatabaseManager
from db_utils.embedded import databases
from db_utils.errors import SchemaError
from db_utils.ops import table_sizes
from db_utils.schema import applying

app = typer.Typer()

_KINDS = {
    "init": "There is no schema yet: init creates it.",
    "none": "Nothing to do: this version, from these same files.",
    "reapply": "The same version, but not (or not surely) from these files: migrate applies them again.",
    "upgrade": "An older version: migrate upgrades it.",
    "newer": "The database is newer than this library, which never downgrades a schema: use a newer release.",
}


@app.command()
def init(
    url: Url = None,
    create_database: Annotated[
        bool,
        typer.Option("--create-database", help="Create the database first if it does not exist."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Create the schema in a database that has none, in one transaction.

    If this version exists already, nothing changes. An older one is left alone: see migrate. Needs PostgreSQL 16
    or later; TimescaleDB is used where the server has loaded it.

    Example: db-utils init --url postgresql://user:password@host/database
    """
    with database(url) as db:
        if create_database:
            databases.create_database(db.settings)
        plan = schema.plan(db)
        if plan.kind in ("upgrade", "reapply"):
            raise SchemaError(
                f"{db.settings.safe_url} already has a schema (version {plan.from_version}): run db-utils migrate, or see what it "
                "would do with migrate --plan"
            )
        applying.refuse_newer(plan.from_version)
        if plan.kind == "init":
            _apply(db, quiet=json)
        _say_version(db, json, changed=plan.kind == "init")


@app.command()
def migrate(
    url: Url = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only show what would run, without changing anything.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Upgrade an existing schema to this version, in one transaction, with the same files as the container's first start.

    No row is lost. Concurrent migrations wait for each other; an interrupted one leaves the old schema
    intact. A database with a newer version than this library's is refused, never downgraded.

    Example: db-utils migrate --plan
    """
    with database(url) as db:
        planned = schema.plan(db)
        if plan:
            _show_plan(db, planned, json)
            return
        if planned.kind == "init":
            raise SchemaError(f"{db.settings.safe_url} has no schema yet: run db-utils init")
        # Reapply the same files if some of their objects are missing.
        changed = planned.kind != "none" or bool(schema.problems(db))
        if changed:
            _apply(db, quiet=json)
        _say_version(db, json, changed=changed, from_version=planned.from_version)


@app.command()
def verify(
    url: Url = None,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows",
            help="Also check every row: duplicate primary keys, rollups that differ from their rows. Takes some "
            "seconds for a million rows.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Check that a database has everything that this version needs, and name what is missing or wrong. Reads only.

    Run it as the schema's owner. Exit code 1 if something is missing; migrate restores it. CALL
    remove_double_rows() fixes what --rows finds after a dump was loaded twice.
    """
    with database(url) as db:
        found = schema.problems(db)
        can_count = not any(re.search("double_rows|rollup_differences", problem) for problem in found)
        of_rows = schema.row_problems(db) if rows and can_count else []
        version = schema.version(db)
        if json:
            print_json(
                {
                    "database": db.settings.safe_url,
                    "ok": not found and not of_rows,
                    "schema_version": version,
                    "problems": found + of_rows,
                }
            )
        elif found or of_rows:
            if found:
                things = "1 thing is" if len(found) == 1 else f"{len(found)} things are"
                typer.echo(
                    f"{db.settings.safe_url}: {things} missing or wrong. db-utils migrate creates what is missing."
                )
            if of_rows:
                typer.echo(
                    f"{db.settings.safe_url}: rows are inconsistent. After a backup, run CALL remove_double_rows();"
                )
            for problem in found + of_rows:
                typer.echo(f"- {problem}")
        else:
            counted = ", each row once, and rollups that agree with them" if rows else ""
            typer.echo(f"{db.settings.safe_url} has everything that schema version {version} needs{counted}.")
    if found or of_rows:
        raise typer.Exit(Exit.FAILED)


@app.command()
def reset(
    url: Url = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without this, only show what would be lost.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Drop the schema WITH ALL ITS ROWS and apply it again, in one transaction.

    Without --yes it changes nothing: it shows what would be lost and exits with 2. Logins of customers
    (tenant_logins) are dropped too. Other objects in the database stay; if one depends on the schema, reset
    refuses and names it. The roles barnameh_tenant, barnameh_tenant_login and barnameh_readonly stay: other
    databases of the server may use them.

    Example: db-utils reset --url postgresql://user:password@host/scratch --yes
    """
    with database(url) as db:
        if not yes:
            _say_what_would_go(db, json)
            raise typer.Exit(Exit.USAGE)
        with _files_bar(json) as on_file:
            removed = schema.reset(db, on_file=on_file)
        schema.refresh_rollups(db)
        if json:
            print_json(
                {
                    "database": db.settings.safe_url,
                    "removed": asdict(removed),
                    "schema_version": schema.version(db),
                }
            )
            return
        logins = f", with the logins {', '.join(removed.tenant_logins)}" if removed.tenant_logins else ""
        typer.echo(f"{db.settings.safe_url}: the old schema and its rows were dropped{logins}.")
        _say_version(db, json, changed=True)


@app.command()
def seed(
    url: Url = None,
    days: Annotated[
        int | None,
        typer.Option(
            help="Days of events, attendance, plans and demand. Default: 30, of demand 90.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option(help="Plants in each organization, with their machines, people and products.")
    ] = 1,
    organizations: Annotated[
        int, typer.Option(help="Organizations: manufacturers and carriers alternately.")
    ] = 2,
    metric_days: Annotated[int, typer.Option(help="Days of metrics, one a minute for each machine.")] = 7,
    jobs: Annotated[int, typer.Option(help="Number of parallel connections.", min=1)] = 2,
    json: AsJson = False,
) -> None:
    """Load the sample data: two organizations, their last weeks, relative to now. If it is loaded already, nothing changes.

    Options load more, for tests at scale: a machine makes about 33 events a day and 1,440 metrics, a plant has four or
    five machines (three at a carrier's). The same arguments give the same rows; an interrupted load resumes
    where it stopped, and a larger one adds what is missing. It never changes or removes a row.

    Example: about 10 million events of 10 organizations: db-utils seed --days 1095 --scale 7 --organizations 10
    """
    with database(url) as db, progress(quiet=json) as bars:
        task = bars.add_task("sample data", total=None)

        def on_batch(done: int, of: int, added: Counter[str]) -> None:
            bars.update(task, completed=done, total=of, description=f"{added.total():,} rows")

        started = time.monotonic()
        added = schema.seed(
            db,
            days=days,
            scale=scale,
            organizations=organizations,
            metric_days=metric_days,
            jobs=jobs,
            on_batch=on_batch,
        )
        seconds = time.monotonic() - started
    if json:
        print_json({"database": db.settings.safe_url, "seconds": round(seconds, 1), "rows_added": added})
        return
    for name, count in added.items():
        typer.echo(f"{count:>14,}  {name}")
    more = f", {added.total():,} rows more than before ({seconds:.0f} s)" if added else ""
    typer.echo(f"{db.settings.safe_url} has the sample data{more}.")


def _apply(db: DatabaseManager, *, quiet: bool) -> None:
    with _files_bar(quiet) as on_file:
        schema.apply(db, on_file=on_file)
    schema.refresh_rollups(db)


@contextlib.contextmanager
def _files_bar(quiet: bool) -> Iterator[Callable[[schema.SchemaFile], None]]:
    """Show a progress bar over the files of the schema."""
    with progress(quiet=quiet) as bars:
        task = bars.add_task("schema", total=len(schema.files()))

        def on_file(file: schema.SchemaFile) -> None:
            bars.update(task, advance=1, description=file.name)

        yield on_file


def _say_version(db: DatabaseManager, json: bool, *, changed: bool, from_version: int | None = None) -> None:
    facts: dict[str, Any] = {
        "database": db.settings.safe_url,
        "changed": changed,
        "from_version": from_version,
        "schema_version": schema.version(db),
        "edition": schema.edition(db),
    }
    if json:
        print_json(facts)
        return
    words = f"schema version {facts['schema_version']} ({facts['edition']} edition)"
    came = (
        f", upgraded from version {from_version}"
        if from_version not in (None, facts["schema_version"])
        else ""
    )
    typer.echo(
        f"{facts['database']} has {words}{came}."
        if changed
        else f"{facts['database']} has {words} already: nothing changed."
    )


def _show_plan(db: DatabaseManager, plan: schema.Plan, json: bool) -> None:
    if json:
        print_json({"database": db.settings.safe_url, **asdict(plan), "changes": plan.changes})
        return
    edition = (
        plan.edition
        if plan.from_edition in (None, plan.edition)
        else f"{plan.from_edition} to {plan.edition}"
    )
    typer.echo(
        f"{db.settings.safe_url}: schema version {plan.from_version or 'none'} to {plan.to_version}, edition {edition}."
    )
    typer.echo(_KINDS[plan.kind])
    if not plan.changes:
        return
    table = Table("file", "since it was applied", title="Would run, in one transaction", title_justify="left")
    for file in plan.files:
        table.add_row(file.name, file.change)
    screen.print(table)
    for name in plan.dropped_files:
        typer.echo(f"{name} was applied earlier but is no longer part of the schema: its objects stay.")


def _say_what_would_go(db: DatabaseManager, json: bool) -> None:
    removed = schema.to_be_removed(db)
    lost = table_sizes.tables(db)
    if json:
        print_json(
            {
                "database": db.settings.safe_url,
                "would_remove": asdict(removed),
                "tables": [asdict(t) for t in lost],
            }
        )
        return
    if not removed.relations:
        typer.echo(f"{db.settings.safe_url} has no schema: db-utils init creates it.")
        return
    typer.echo(f"reset would delete from {db.settings.safe_url}:")
    table = Table("table", "rows")
    table.columns[1].justify = "right"
    for facts in lost:
        table.add_row(facts.name, shown_rows(facts))
    screen.print(table)
    typer.echo(
        f"and {len(removed.relations) - len(lost)} views and rollups, {len(removed.functions)} functions, "
        f"{len(removed.tenant_views)} tenant views, {len(removed.tenant_logins)} tenant logins"
        f"{': ' + ', '.join(removed.tenant_logins) if removed.tenant_logins else ''}. Nothing was changed: add --yes to do it."
    )
