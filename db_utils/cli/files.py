"""`import`, `export`: rows from files into tables, and back."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from db_utils.cli.common import AsJson, Exit, Url, aside, database, print_json
from db_utils.errors import InvalidInputError
from db_utils.files import (
    ExportOptions,
    ImportOptions,
    ImportResult,
    export_query,
    export_relation,
    import_for_each,
)
from db_utils.files.options import Ambiguous, Format, Nonexistent

app = typer.Typer()

Organization = Annotated[
    str | None,
    typer.Option("--organization", help="The organization, by id or exact name.", show_default=False),
]


@app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(help="Files, or - for standard input.", metavar="FILE...")],
    into: Annotated[str, typer.Option("--into", help="The table.")],
    organization: Annotated[
        list[str] | None,
        typer.Option(
            help="The organization, by id or exact name. May be repeated: each one gets the rows.",
            show_default=False,
        ),
    ] = None,
    all_organizations: Annotated[
        bool, typer.Option("--all-organizations", help="Each row names its organization in organization_id.")
    ] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="A column of the file and its target columns: 'Units sold=quantity', 'Route=cause,product_id'. May be repeated.",
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", help="One value for all rows: product_id=A-7, location_id='Plant North'."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Columns of the file to ignore, separated by commas."),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option("--unit", help="The unit in the file: duration_minutes=seconds, quantity=mwh:kwh."),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            help="Time zone of times without an offset, such as Europe/Paris; location: that of each row's location."
        ),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            help="How times are written, such as '%d/%m/%Y %H:%M'; epoch or epoch_ms: Unix time in seconds or "
            "milliseconds. Default: ISO 8601."
        ),
    ] = None,
    date_format: Annotated[str | None, typer.Option(help="How days are written. Default: ISO 8601.")] = None,
    ambiguous: Annotated[
        Ambiguous,
        typer.Option(
            help="How to read a local time that occurred twice when the clock was set back; order: by the order of the rows of a series."
        ),
    ] = "reject",
    nonexistent: Annotated[
        Nonexistent, typer.Option(help="How to read a local time skipped when the clock was set forward.")
    ] = "reject",
    format: Annotated[Format | None, typer.Option(help="Default: by the file's ending or content.")] = None,
    encoding: Annotated[str, typer.Option(help="Of text files, such as latin-1 or cp1252.")] = "utf-8",
    delimiter: Annotated[
        str | None, typer.Option(help="Of CSV. Default: the one that fits the first line.")
    ] = None,
    quote: Annotated[str, typer.Option(help="Of CSV.")] = '"',
    no_header: Annotated[
        bool, typer.Option("--no-header", help="The first line of CSV is data, not a header.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="Names of the columns of CSV without header, with commas between.")
    ] = None,
    null: Annotated[str, typer.Option(help="The text that means no value in CSV.")] = "",
    decimal: Annotated[str, typer.Option(help="Decimal sign of CSV.")] = ".",
    thousands: Annotated[str | None, typer.Option(help="Sign between groups of three digits in CSV.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Overwrite existing rows, where they can change.")
    ] = False,
    sum_: Annotated[
        list[str] | None,
        typer.Option(
            "--sum",
            help="Columns to add up where a key comes more than once; several with commas. Default: refused.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Columns of the file with your own key, to derive the id from; several with commas.",
        ),
    ] = None,
    escaped_formulas: Annotated[
        bool, typer.Option("--escaped-formulas", help="The CSV was exported with --escape-formulas.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the good rows even if some are bad.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="Where bad rows are written. Default: FILE.rejects.csv (or .jsonl) in this folder."
        ),
    ] = None,
    max_rejects: Annotated[
        int, typer.Option(help="Stop without writing anything above this many bad rows.")
    ] = 10_000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and count everything without writing.")
    ] = False,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Import CSV, JSON Lines, Parquet or Arrow files (gzip too) into a table of one organization: all rows or none.

    Bad rows are written to a file with their line and the reason; once corrected, that file can be imported
    as it is. An existing row is left unchanged, so that running it twice adds nothing; the same key twice in
    the files is bad. Locations, resources and employees may be named by name or employee_code. Nothing is
    guessed: a local time that could mean two moments is a bad row, an unknown column an error.

    Exit codes: 0 done; 3 done, with bad rows left out (--skip-bad); 1 nothing was written.

    Example: db-utils import sales.csv --into demand_history --organization "Sample Manufacturing"
    --map "Units sold=quantity" --set location_id="Plant North" --time-zone Europe/Paris --dry-run
    """
    options = ImportOptions(
        format=format,
        encoding=encoding,
        delimiter="\t" if delimiter in (r"\t", "tab") else delimiter,
        quote=quote,
        header=not no_header,
        columns=tuple(_listed([columns] if columns else [])),
        null=null,
        decimal=decimal,
        thousands=thousands,
        mapping=_pairs("--map", mapping),
        constants=_pairs("--set", constants),
        ignore=tuple(_listed(ignore)),
        units=_pairs("--unit", units),
        time_zone=time_zone,
        time_format=time_format,
        date_format=date_format,
        ambiguous=ambiguous,
        nonexistent=nonexistent,
        sum=tuple(_listed(sum_)),
        key=tuple(_listed(key)),
        escaped_formulas=escaped_formulas,
        skip_bad=skip_bad,
        update=update,
        dry_run=dry_run,
        rejects=rejects,
        max_rejects=max_rejects,
    )
    _check_scope(bool(organization), all_organizations)
    with database(url) as db, _bar("import", quiet=json) as bar:
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        results = list(
            import_for_each(
                db, files, into, organizations=organization or [None], options=options, progress=progress
            )
        )
    several = len(organization or ()) > 1
    if json:
        found = [{"organization": name, **asdict(result)} for name, result in results]
        print_json(found if several else asdict(results[0][1]))
    else:
        for name, result in results:
            _tell(result, skip_bad, f"{name}: {result.table}" if several else result.table)
    if any(r.rejected for _, r in results):
        done = all(r.written or (dry_run and skip_bad) for _, r in results)
        raise typer.Exit(Exit.ATTENTION if done else Exit.FAILED)


@app.command("export")
def export(
    relation: Annotated[str | None, typer.Argument(help="Table, view or rollup.", show_default=False)] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="The file: .csv, .jsonl, .parquet or .arrow, .csv.gz; or - .")
    ] = "-",
    organization: Organization = None,
    all_organizations: Annotated[
        bool, typer.Option("--all-organizations", help="The rows of all organizations.")
    ] = False,
    start: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="First time, UTC.")
    ] = None,
    end: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="First time after."),
    ] = None,
    time_column: Annotated[str | None, typer.Option(help="The time column of --start and --end.")] = None,
    columns: Annotated[str | None, typer.Option(help="These columns only, with commas between.")] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", help="A prebuilt query instead of a relation, such as get_kpi_summary."),
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", help="An argument of the query: days=30. May be repeated.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="Default: by the file's ending.")] = None,
    gzip: Annotated[bool | None, typer.Option("--gzip/--no-gzip", help="Default: by the ending .gz.")] = None,
    delimiter: Annotated[str, typer.Option(help="Of CSV.")] = ",",
    no_header: Annotated[bool, typer.Option("--no-header", help="CSV without a header line.")] = False,
    null: Annotated[str, typer.Option(help="The text written for NULL in CSV.")] = "",
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="CSV for a spreadsheet: texts that it would run as formulas are prefixed with an apostrophe.",
        ),
    ] = False,
    url: Url = None,
    json: AsJson = False,
) -> None:
    r"""Export a table, view, rollup or prebuilt query to CSV, JSON Lines, Parquet or Arrow. Reads only.

    All rows come from one snapshot. Times are UTC, numbers exact. The file appears once complete; an
    export can be imported again. In CSV an empty text and no value look the same: if that matters, write
    and read with --null '\N'.

    Example: db-utils export demand_history --organization "Sample Manufacturing" --start 2026-01-01 -o demand.parquet

    Example: db-utils export --query get_kpi_summary --param days=7 --organization "Sample Manufacturing" -o kpis.csv
    """
    if (relation is None) == (query is None):
        raise InvalidInputError("give a table or view to export, or a prebuilt query with --query")
    if json and out == "-":
        raise InvalidInputError(
            "--json and the rows cannot both go to standard output: give a file with --out"
        )
    options = ExportOptions(
        format=format,
        gzip=gzip,
        delimiter="\t" if delimiter in (r"\t", "tab") else delimiter,
        header=not no_header,
        null=null,
        escape_formulas=escape_formulas,
    )
    _check_scope(organization is not None, all_organizations)
    with database(url) as db, _bar("export", quiet=json) as bar:
        task = bar.add_task("writing", total=None)

        def progress(done: int) -> None:
            bar.update(task, completed=done)

        if query is not None:
            if start or end or time_column or columns:
                raise InvalidInputError(
                    "a prebuilt query takes its period as --param start=… and --param end=…"
                )
            result = export_query(
                db,
                query,
                out,
                organization=organization,
                parameters=_pairs("--param", parameters),
                options=options,
                progress=progress,
            )
        else:
            if parameters:
                raise InvalidInputError("--param is for a prebuilt query (--query)")
            result = export_relation(
                db,
                relation or "",
                out,
                organization=organization,
                start=_moment(start),
                end=_moment(end),
                time_column=time_column,
                columns=_listed([columns] if columns else []),
                options=options,
                progress=progress,
            )
    if json:
        print_json(asdict(result))
    else:
        place = "on standard output" if out == "-" else f"in {result.file}"
        print(
            f"{result.source}: {result.rows:,} rows {place}, {result.seconds:.1f} s.",
            file=sys.stderr,
        )


def _tell(result: ImportResult, skip_bad: bool, what: str) -> None:
    if (result.rejected and not skip_bad) or result.gave_up:
        more = ", and more: the rest was not read (--max-rejects)" if result.gave_up else ""
        bad = f"{result.rejected:,} of {result.read:,} rows are bad{more}. Nothing was written"
        print(f"{what}: {bad}{'' if result.gave_up else '; --skip-bad imports the good ones'}.")
    else:
        counts = f"{result.read:,} rows read, {result.added:,} added, {result.updated:,} updated"
        left = f"{result.already_there:,} already there, {result.rejected:,} rejected"
        print(f"{what}: {counts}, {left}, {result.seconds:.1f} s.")
        if result.summed:
            print(f"{result.summed:,} were added up into another row of the same key.")
        if result.different:
            print(f"{result.different:,} of those already there have other values: --update overwrites them.")
        if result.refresh_follows:
            first, last = result.refresh_follows
            print(
                f"Rollups of {first:%Y-%m-%d} to {last:%Y-%m-%d} follow with their next scheduled refresh; prebuilt queries have the rows."
            )
        if result.dry_run:
            print("A dry run: nothing was written.")
    if result.rejected:
        for refusal in result.first_rejects[:5]:
            where = f"line {refusal.line}{f', {refusal.column}' if refusal.column else ''}"
            print(f"- {refusal.file}, {where}: {refusal.reason}")
        print(f"All bad rows, with their reasons: {result.rejects_file}")


def _check_scope(is_named: bool, all_organizations: bool) -> None:
    if is_named == all_organizations:
        raise InvalidInputError(
            "give one organization with --organization (id or exact name), or use --all-organizations"
        )


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise InvalidInputError(f"{option} must be NAME=VALUE, not {pair!r}")
        if name.strip() in pairs and option == "--map":
            value = f"{pairs[name.strip()]},{value}"  # one column of the file to several of the table
        elif name.strip() in pairs:
            raise InvalidInputError(f"{option} names {name.strip()} twice")
        pairs[name.strip()] = value if option == "--set" else value.strip()
    return pairs


def _listed(given: Sequence[str] | None) -> list[str]:
    return [name.strip() for names in given or () for name in names.split(",") if name.strip()]


def _moment(moment: dt.datetime | None) -> dt.datetime | None:
    """Parse a time; a day means its beginning in UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment is not None and moment.tzinfo is None else moment


@contextlib.contextmanager
def _bar(what: str, *, quiet: bool) -> Iterator[Progress]:
    """Show a progress bar of bytes on standard error; none without a terminal."""
    columns: tuple[Any, ...] = (
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=aside, transient=True, disable=quiet or not aside.is_terminal) as bar:
        yield bar
