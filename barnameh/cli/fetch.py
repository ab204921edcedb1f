"""`fetch`: weather, holidays and market data from public sources."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from barnameh import worker
from barnameh.cli.common import (
    AsJson,
    Exit,
    Url,
    aside,
    database,
    duration_of,
    organization_of,
    print_json,
    screen,
    time_of,
)
from barnameh.connectors import SOURCES, RunResult, Source, Window, source_named
from barnameh.connectors import fetch as fetch_readings
from barnameh.connectors.client import Client, Quotas
from barnameh.connectors.run import places, store_answer
from barnameh.errors import ServiceError, UsageError
from barnameh.settings import ServiceSettings
from db_utils import DatabaseManager

app = typer.Typer()
_KINDS = ", ".join(SOURCES)


@app.command()
def fetch(
    kind: Annotated[str, typer.Argument(help=f"What to fetch: {_KINDS}.")],
    organization: Annotated[
        list[str],
        typer.Option(
            help="Name or id of the organization; may be repeated. The source is then asked once for places at the same coordinates."
        ),
    ],
    url: Url = None,
    location: Annotated[
        list[str] | None,
        typer.Option(help="Name or id of a location; may be repeated. Default: all.", show_default=False),
    ] = None,
    start: Annotated[
        str,
        typer.Option(help="Start of the window. Default: where the last run ended.", show_default=False),
    ] = "",
    end: Annotated[
        str,
        typer.Option(
            help="End of the window (exclusive). Default: as far ahead as the source goes.",
            show_default=False,
        ),
    ] = "",
    every: Annotated[
        str,
        typer.Option(help="Schedule it in the worker every 30m, 6h, 1d … from now on.", show_default=False),
    ] = "",
    from_file: Annotated[
        Path | None,
        typer.Option(
            help="Read this saved answer instead of fetching; - is standard input.", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="weather: forecast, archive, previous-runs or single-run. Default: archive for the past, forecast for the rest.",
            show_default=False,
        ),
    ] = "",
    run: Annotated[
        str,
        typer.Option(
            help="weather: the run of mode single-run, such as 2026-11-01T00:00Z.", show_default=False
        ),
    ] = "",
    known_ahead: Annotated[
        str,
        typer.Option(
            help="holidays: how long in advance a day is known, such as 365d. Default: from this run on.",
            show_default=False,
        ),
    ] = "",
    currency: Annotated[
        list[str] | None, typer.Option(help="fx: a currency; may be repeated.", show_default=False)
    ] = None,
    series: Annotated[
        list[str] | None, typer.Option(help="market: CODE=UNIT of FRED; may be repeated.", show_default=False)
    ] = None,
    switch: Annotated[
        bool,
        typer.Option("--switch", help="Use this source for this kind, even if another one was used before."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch readings from a public source and store new information, as known at the time.

    A second run of the same window writes nothing. Licence and attribution of the source are printed on
    standard error. Exit code: 3 if some readings are impossible or one of several places failed, 1 if all
    failed.

    Example: barnameh fetch weather --organization "Sample Manufacturing" --every 6h
    """
    options: dict[str, Any] = {
        "mode": mode,
        "run": run,
        "known_ahead": known_ahead,
        "currency": currency or [],
        "series": series or [],
    }
    source = make_source(kind, options, ServiceSettings.from_environment())
    with database(url) as db, client_for(source, keeps_answers=len(organization) > 1) as client:
        aside.print(f"{source.licence} ({source.page})", highlight=False)
        found = [(name, *organization_of(db, name)) for name in organization]
        asked = [(*each, places(db, each[1], source, location or [])) for each in found]
        answer = None if from_file is None else _saved(from_file)
        if answer is not None and any(len(where) != 1 for *_, where in asked):
            raise UsageError("a saved answer is for one location: give it with --location")
        results: list[tuple[str, RunResult]] = []
        for name, organization_id, timezone, where in asked:
            if every:
                given = {option: value for option, value in options.items() if value}
                for location_id in [place.location_id for place in where] if location else [None]:
                    worker.schedule(
                        db,
                        organization_id,
                        f"fetch {kind}",
                        duration_of(every),
                        given,
                        location_id=location_id,
                    )
            if answer is not None:
                stored = [store_answer(db, organization_id, source, where[0], answer, switch=switch)]
            else:
                window = _window(start, end, timezone, source)
                stored = fetch_readings(
                    db, organization_id, source, where, client, window=window, switch=switch
                )
            results += [(name, result) for result in stored]
    show(kind, source, results, as_json=as_json)


def _saved(file: Path) -> bytes:
    """Read a saved answer; from standard input in containers, which do not see the host's files."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def make_source(kind: str, options: Mapping[str, Any], settings: ServiceSettings) -> Source:
    """Create the source of this kind with the command line's options."""
    own: dict[str, Any] = {}
    if kind == "weather":
        own = {"mode": options.get("mode") or None, "api_key": settings.open_meteo_api_key}
        if options.get("run"):
            own["run"] = time_of(options["run"], "UTC")
    elif kind == "holidays" and options.get("known_ahead"):
        own = {"known_ahead": duration_of(options["known_ahead"])}
    elif kind == "fx" and options.get("currency"):
        own = {"currencies": tuple(code.upper() for code in options["currency"])}
    elif kind == "power":
        own = {"token": settings.entsoe_token}
    elif kind == "market":
        pairs = [text.partition("=") for text in options.get("series", ())]
        if any(not code or not unit for code, _, unit in pairs):
            raise UsageError("--series takes CODE=UNIT, such as DCOILBRENTEU=USD/bbl")
        own = {"api_key": settings.fred_api_key, "series": {code: unit for code, _, unit in pairs}}
    return source_named(kind, **own)


def client_for(
    source: Source,
    quotas: Quotas | None = None,
    organization_id: UUID | None = None,
    *,
    keeps_answers: bool = False,
) -> Client:
    """Create a client with the source's limits and the configured contact, within `quotas` if given."""
    settings = ServiceSettings.from_environment()
    return Client(
        source.limits,
        contact=settings.contact,
        hosts=settings.connector_hosts,
        quotas=quotas,
        organization=str(organization_id or ""),
        keeps_answers=keeps_answers,
    )


_QUOTAS = Quotas()
"""Quotas of the worker, whose tasks run in turn and count together at the sources."""


def scheduled_fetch(kind: str) -> worker.Task:
    """The worker's task for `fetch KIND`."""

    def task(db: DatabaseManager, due: Mapping[str, Any], stop: Callable[[], bool]) -> None:
        source = make_source(kind, due["arguments"], ServiceSettings.from_environment())
        named = [] if due["location_id"] is None else [str(due["location_id"])]
        where = places(db, due["organization_id"], source, named)
        with client_for(source, _QUOTAS, due["organization_id"]) as client:
            results = fetch_readings(db, due["organization_id"], source, where, client, stop=stop)
        if failures := [f"{r.place.name}: {r.error}" for r in results if r.error]:
            raise ServiceError("; ".join(failures))

    return task


TASKS: Mapping[str, worker.Task] = {f"fetch {kind}": scheduled_fetch(kind) for kind in SOURCES}


def _window(start: str, end: str, timezone: str, source: Source) -> Window | None:
    if not start and not end:
        return None
    if not start:
        raise UsageError("--end needs --start")
    until = time_of(end, timezone) if end else dt.datetime.now(dt.UTC) + source.ahead
    return Window(time_of(start, timezone), until)


def show(kind: str, source: Source, results: list[tuple[str, RunResult]], *, as_json: bool) -> None:
    """Print the result of each organization's places, and exit with the code for it."""
    if as_json:
        found = [{"organization": name, **result.as_dict()} for name, result in results]
        print_json({"kind": kind, "source": source.name, "places": found})
    else:
        several = len({name for name, _ in results}) > 1
        table = Table(title=f"{kind} from {source.name}")
        for heading in (*["organization"] * several, "place", "readings", "new", "refused", ""):
            table.add_column(
                heading, justify="right" if heading in ("readings", "new", "refused") else "left"
            )
        for name, r in results:
            said = r.error or "; ".join(r.refusals)
            counts = (f"{r.read:,}", f"{r.written:,}", f"{r.refused:,}")
            table.add_row(*[name] * several, r.place.name, *counts, said)
        screen.print(table)
    failed = sum(r.error is not None for _, r in results)
    if failed and failed == len(results):
        raise typer.Exit(Exit.FAILED)
    if failed or any(r.refused for _, r in results):
        raise typer.Exit(Exit.ATTENTION)
