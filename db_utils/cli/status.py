"""`status`: versions, sizes, freshness and problems of the database."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from db_utils.cli.common import (
    AsJson,
    Exit,
    Url,
    database,
    print_json,
    screen,
    shown_rows,
)
from db_utils.connections.replica import ReplicaState
from db_utils.ops.sizes import size
from db_utils.ops.status import Status
from db_utils.ops.status import status as look
from db_utils.ops.table_sizes import TableFacts

app = typer.Typer()


@app.command()
def status(
    url: Url = None,
    exact: Annotated[bool, typer.Option("--exact", help="Count all rows, however long it takes.")] = False,
    json: AsJson = False,
) -> None:
    """Show what runs, where, which versions, sizes and freshness, and whether something needs attention. Reads only.

    Rows of large tables are estimates and say so (about …). Works with any role: what it may not see is
    listed. Passwords are never shown. Exit code 0 if all is well, 3 if something needs attention (no schema
    or another version than this library's, a job whose last run failed, a configured Redis that does not
    answer), 1 if the database does not answer.

    Example: db-utils status --json
    """
    with database(url) as db:
        found = look(db, exact=exact)
        where = db.settings.safe_url
    if json:
        print_json({"database": where, **asdict(found)})
    else:
        _show(found)
    if not found.ok:
        raise typer.Exit(Exit.FAILED)
    if found.attention:
        raise typer.Exit(Exit.ATTENTION)


def _show(found: Status) -> None:
    if found.server is not None:
        screen.print(_facts(found))
    if found.tables:
        screen.print(_tables(found))
    stored = [facts for facts in (*found.tables, *found.rollups) if facts.chunks is not None]
    if stored:
        screen.print(_chunks(stored))
    if found.series:
        screen.print(_series(found))
    if found.jobs:
        screen.print(_jobs(found))
    if found.sources:
        screen.print(_sources(found))
    if found.copies:
        screen.print(_copies(found))
    if found.server is None and found.cache is not None:
        typer.echo(f"{found.cache.url or 'no cache'}: {_cache(found)}")
    for note in found.not_visible:
        typer.echo(f"not visible: {note}")
    for sentence in found.attention:
        typer.echo(f"attention: {sentence}")
    if not found.attention:
        typer.echo("Nothing needs attention.")


def _facts(found: Status) -> Table:
    server, about, cache = found.server, found.schema, found.cache
    assert server is not None
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("database", f"{server.url}, {size(server.database_bytes)}")
    table.add_row(
        "server",
        f"PostgreSQL {server.version}, {'TimescaleDB ' + server.timescaledb if server.timescaledb else 'no TimescaleDB'}"
        f"{', a standby' if server.is_standby else ''}, up since {_instant(server.started_at)}",
    )
    table.add_row("edition", server.edition or "unknown: no schema")
    table.add_row("connected as", server.role)
    if about is not None:
        table.add_row("schema version", _schema(found))
        table.add_row(
            "sample data",
            f"yes, as of {_instant(about.sample_data_from)}" if about.sample_data_from else "no",
        )
    table.add_row("connections", f"{server.connections} of {server.connections_limit}")
    if found.replica is not None:
        table.add_row("read replica", f"{found.replica.url}: {_replica(found.replica)}")
    table.add_row(
        "cache",
        f"{cache.url}: {_cache(found)}" if cache is not None and cache.url else "none: REDIS_URL is empty",
    )
    return table


def _replica(replica: ReplicaState) -> str:
    if replica.reason is not None:
        return f"not in use: {replica.reason}"
    return f"takes reads, at most {replica.lag_seconds:.1f} s behind"


def _schema(found: Status) -> str:
    about = found.schema
    assert about is not None
    if about.version is None:
        return "none"
    whose = "this library's" if about.is_librarys else f"this library's is {about.library_version}"
    files = {
        "same": "",
        "changed": ", applied from other files than the library's",
        "unknown": ", files not known",
    }
    return f"{about.version} ({whose}{files[about.files]})"


def _cache(found: Status) -> str:
    cache = found.cache
    assert cache is not None
    if not cache.answers:
        return f"does not answer ({cache.error}): predictions come from PostgreSQL"
    limit = f" of {size(cache.memory_limit_bytes)}" if cache.memory_limit_bytes else ", no limit"
    at_least = "at least " if cache.keys_are != "exact" else ""
    return f"Redis {cache.version}, {size(cache.memory_bytes)}{limit}, {at_least}{cache.keys:,} keys of predictions"


def _tables(found: Status) -> Table:
    table = _plain("table or rollup" if found.rollups else "table", "rows", "size", "indexes")
    _align_figures(table)
    for facts in (*found.tables, *found.rollups):
        table.add_row(facts.name, shown_rows(facts), size(facts.total_bytes), size(facts.index_bytes))
    return table


def _chunks(stored: list[TableFacts]) -> Table:
    table = _plain("stored in chunks", "chunks", "in columnstore", "smaller")
    _align_figures(table)
    for facts in stored:
        before, after = facts.columnstore_before_bytes, facts.columnstore_after_bytes
        table.add_row(
            facts.name,
            str(facts.chunks),
            str(facts.columnstore_chunks),
            f"{before / after:.1f} x" if before and after else "",
        )
    return table


def _plain(*columns: str) -> Table:
    """Make a table without borders, to fit into 80 columns; only the first column may wrap."""
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in table.columns[1:]:
        column.no_wrap = True
    table.columns[0].overflow = "fold"
    return table


def _align_figures(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"


def _series(found: Status) -> Table:
    table = _plain("time series", "oldest", "newest")
    for series in found.series:
        table.add_row(series.name, _instant(series.oldest), _instant(series.newest))
    return table


def _jobs(found: Status) -> Table:
    table = _plain("job", "of", "every", "last run, UTC", "failures")
    for job in found.jobs:
        every = _interval(job.schedule_seconds) if job.is_scheduled else "paused"
        last_run = (
            "" if job.last_run_at is None else job.last_run_at.astimezone(dt.UTC).strftime("%m-%d %H:%M")
        )
        table.add_row(
            # Their names with TimescaleDB, without the common part.
            job.name.removesuffix(" Policy").removesuffix(" Continuous Aggregate"),
            job.relation or "",
            every,
            f"{last_run} failed" if job.last_run_failed else last_run,
            str(job.failures),
            style="red" if job.last_run_failed else None,
        )
    return table


def _sources(found: Status) -> Table:
    table = _plain("source", "places", "failing", "last good run", "longest ago")
    for source in found.sources:
        table.add_row(
            source.connector,
            f"{source.places:,}",
            f"{source.failing_places:,}",
            _instant(source.last_good_at) or "never",
            _instant(source.stalest_good_at) or "never",
            style="red" if source.failing_places else None,
        )
    return table


def _copies(found: Status) -> Table:
    table = Table("copy of", "for", "waiting", "oldest", "sent", "refused", "last success", "last error")
    for copy in found.copies:
        table.add_row(
            copy.organization_name,
            copy.consumer,
            f"{copy.waiting:,}",
            "" if copy.lag_seconds is None else f"{copy.lag_seconds:,.0f} s",
            f"{copy.sent:,}",
            f"{copy.rejected:,}",
            _instant(copy.last_success_at) or ("" if copy.is_stream else "never"),
            copy.last_error or "",
            style="red" if copy.rejected or copy.last_error else None,
        )
    return table


def _interval(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _instant(instant: dt.datetime | None) -> str:
    return "" if instant is None else instant.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
