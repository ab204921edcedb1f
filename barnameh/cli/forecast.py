"""`forecast`, `anomalies`, `absences`: predictions, published if no worse than naive ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.progress import Progress
from rich.table import Table

from barnameh import worker
from barnameh.cli.common import (
    AsJson,
    Exit,
    Organization,
    Url,
    aside,
    database,
    duration_of,
    organization_of,
    print_json,
    screen,
    time_of,
)
from barnameh.errors import UsageError
from db_utils import DatabaseManager, OperationalDataQueries

if TYPE_CHECKING:
    from barnameh.forecasting import ForecastRun

app = typer.Typer()
group = typer.Typer(
    help="Forecast demand: read what was known, backtest, publish forecasts no worse than naive ones.",
    invoke_without_command=True,
)
app.add_typer(group, name="forecast")

Bucket = Annotated[
    str, typer.Option(help="Interval of a target: quarter_hour, half_hour, hour, day or week.")
]
Horizon = Annotated[int, typer.Option(help="Number of targets ahead.", min=1, max=1000)]
AsOf = Annotated[
    str,
    typer.Option("--as-of", help="Forecast as of this time. Default: now.", show_default=False),
]
Origins = Annotated[
    int | None,
    typer.Option(
        help="Origins of the backtest. Default: 12, or 14 for hours.", min=1, max=200, show_default=False
    ),
]
Carry = Annotated[
    str,
    typer.Option(
        help="How long a factor's last reading is used for buckets without one, such as 25h.",
        show_default=False,
    ),
]
Delay = Annotated[
    str,
    typer.Option(
        help="How long after its end a bucket's demand counts as complete, such as 6h.", show_default=False
    ),
]
History = Annotated[
    str,
    typer.Option(help="How far back to learn from. Default: 730d, or 120d for hours.", show_default=False),
]
Own = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Your own model, package.module:Class; may be repeated.", show_default=False
    ),
]
Every = Annotated[
    str, typer.Option(help="Schedule it in the worker every 6h, 1d … from now on.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing.")]


def _service() -> Any:
    try:
        return importlib.import_module("barnameh.forecasting")
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "sklearn"):
            raise
        raise UsageError(
            f"{error.name} is not installed: pip install 'barnameh-db-utils[forecasting]'"
        ) from error


def own_models(names: list[str]) -> list[Any]:
    """Create custom models from package.module:Class."""
    models = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            models.append(getattr(importlib.import_module(module), attribute)())
        except (ImportError, AttributeError, TypeError) as error:
            raise UsageError(f"--model {name!r} cannot be created: {error}") from error
    return models


def _options(**given: Any) -> dict[str, Any]:
    """Convert the command line's options to those of the service."""
    options: dict[str, Any] = {
        "bucket": given["bucket"],
        "horizon": given["horizon"],
        "origins": given["origins"],
        "history": duration_of(given["history"] or ("120d" if "hour" in given["bucket"] else "730d")),
        "models": own_models(given["models"] or []),
    }
    for name in ("carry", "delay"):
        if given[name]:
            options[name] = duration_of(given[name])
    return options


@contextmanager
def _progress(show: bool, what: str = "origins") -> Iterator[Callable[[int, int], None]]:
    if not show:
        yield lambda done, of: None
        return
    with Progress(console=aside, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _organizations(db: DatabaseManager, organization: str) -> list[tuple[UUID, str, str]]:
    if organization:
        organization_id, timezone = organization_of(db, organization)
        return [(organization_id, timezone, organization)]
    return [
        (o["organization_id"], o["timezone"], o["name"])
        for o in OperationalDataQueries(db).get_organizations()
    ]


@group.callback()
def forecast(
    context: typer.Context,
    organization: Annotated[
        str, typer.Option("--organization", help="Name or id. Default: all.", show_default=False)
    ] = "",
    url: Url = None,
    product: Annotated[
        list[str] | None, typer.Option(help="Publish only this product; may be repeated.", show_default=False)
    ] = None,
    as_of: AsOf = "",
    bucket: Bucket = "day",
    horizon: Horizon = 14,
    origins: Origins = None,
    history: History = "",
    carry: Carry = "",
    delay: Delay = "",
    model: Own = None,
    every: Every = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Forecast the demand of the coming days, publish it, and monitor earlier forecasts.

    If a forecast is worse in the backtest than the better of two naive ones, the naive one is published
    instead, under its name. A repeated run writes once. Exit code: 3 if a forecast other than the champion's
    was published.

    Example: barnameh forecast --organization "Sample Manufacturing" --every 1d
    """
    if context.invoked_subcommand is not None:
        return
    service = _service()
    words = {
        "bucket": bucket, "horizon": horizon, "origins": origins, "history": history, "carry": carry, "delay": delay, "models": model,
    }  # fmt: skip
    options = _options(**words)
    runs, failed = [], []
    with database(url) as db:
        found = _organizations(db, organization)
        for organization_id, timezone, name in found:
            if every:
                _schedule(db, organization_id, "forecast", every, words)
            try:
                with _progress(not as_json and aside.is_terminal) as progress:
                    run = service.forecast_demand(
                        db,
                        organization_id,
                        products=product or None,
                        as_of=time_of(as_of, timezone) if as_of else None,
                        dry_run=dry_run,
                        progress=progress,
                        **options,
                    )
            except UsageError as error:
                if organization:
                    raise
                failed.append(f"{name}: {error}")
                continue
            runs.append(run)
            watch = None if dry_run or as_of else service.monitor(db, organization_id)
            if not as_json:
                _show(name, run, watch, dry_run=dry_run)
    if as_json:
        print_json(runs[0].as_dict() if organization else [run.as_dict() for run in runs])
    for line in failed:
        aside.print(line, highlight=False)
    if failed or any(run.attention for run in runs):
        raise typer.Exit(Exit.ATTENTION)


def _show(name: str, run: ForecastRun, watch: Any, *, dry_run: bool) -> None:
    table = Table(
        title=f"{name}: {run.horizon} x {run.bucket}, as known at {run.available_at:%Y-%m-%d %H:%M} UTC"
    )
    for heading in ("product", "model", "WAPE %", "naive %", "coverage %", ""):
        table.add_column(heading, justify="right" if "%" in heading else "left")
    for one in run.series:
        table.add_row(
            one.product_id,
            one.model_name,
            _figure(one.wape_pct),
            _figure(one.naive_wape_pct),
            _figure(one.interval_coverage_pct),
            one.reason or "",
        )
    screen.print(table)
    screen.print(
        f"{run.champion} {run.version}: WAPE {_figure(run.wape_pct)} %, {run.naive_name} {_figure(run.naive_wape_pct)} %, "
        f"skill {_figure(run.skill_pct)} %, over {run.origin_count} origins. "
        + ("Nothing was written." if dry_run else f"{run.written} forecasts are new."),
        highlight=False,
    )
    for text in run.attention:
        if not any(one.reason and text.startswith(f"{one.product_id}: ") for one in run.series):
            screen.print(text, highlight=False)
    for factor, reason in sorted(run.factors_dropped.items()):
        screen.print(f"factor {factor}: {reason}", highlight=False)
    for text in () if watch is None else (*watch.opened, *(f"resolved {text}" for text in watch.resolved)):
        screen.print(f"alert {text}", highlight=False)


def _figure(value: Any) -> str:
    return "" if value is None else f"{float(value):.1f}"


@group.command()
def backtest(
    organization: Organization,
    url: Url = None,
    as_of: AsOf = "",
    bucket: Bucket = "day",
    horizon: Horizon = 14,
    origins: Origins = None,
    history: History = "",
    carry: Carry = "",
    delay: Delay = "",
    model: Own = None,
    as_json: AsJson = False,
) -> None:
    """Show how accurate each model would have been at past origins; writes no forecast."""
    service = _service()
    options = _options(
        bucket=bucket,
        horizon=horizon,
        origins=origins,
        history=history,
        carry=carry,
        delay=delay,
        models=model,
    )
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        with _progress(not as_json and aside.is_terminal) as progress:
            rows = service.backtest_demand(
                db,
                organization_id,
                as_of=time_of(as_of, timezone) if as_of else None,
                progress=progress,
                **options,
            )
    if as_json:
        print_json(rows)
        return
    table = Table()
    for heading in ("model", "steps", "WAPE %", "MASE", "pinball", "coverage %", "skill %"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        table.add_row(
            row["model_name"],
            f"{row['first_step']}-{row['last_step']}",
            *(
                "" if row[key] is None else f"{row[key]:.{digits}f}"
                for key, digits in (
                    ("wape_pct", 1), ("mase", 3), ("pinball", 3), ("interval_coverage_pct", 1), ("skill_pct", 1),
                )
            ),
        )  # fmt: skip
    screen.print(table)


@group.command()
def models(organization: Organization, url: Url = None, as_json: AsJson = False) -> None:
    """Show the models with their roles and their accuracy in the newest backtest."""
    with database(url) as db:
        organization_id, _ = organization_of(db, organization)
        queries = OperationalDataQueries(db.tenant(organization_id))
        rows = queries.get_forecast_models(organization_id)
        # The whole horizon is the longest range from the first step.
        best = {
            (row["model_name"], row["model_version"]): row
            for row in queries.get_forecast_backtests(organization_id)
            if row["first_step"] == 1
        }
    for row in rows:
        found = best.get((row["model_name"], row["model_version"]), {})
        figures = ("wape_pct", "naive_wape_pct", "skill_pct", "interval_coverage_pct")
        row.update({"target": row["config"].get("target"), **{key: found.get(key) for key in figures}})
    if as_json:
        print_json(rows)
        return
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("model", "target", "role", "WAPE %", "skill %", "coverage %"):
        table.add_column(heading, justify="right" if "%" in heading else "left", no_wrap=heading == "model")
    for row in rows:
        table.add_row(
            f"{row['model_name']} {row['model_version']}",
            row["target"] or row["kind"],
            row["role"],
            _figure(row["wape_pct"]),
            _figure(row["skill_pct"]),
            _figure(row["interval_coverage_pct"]),
        )
    screen.print(table)
    for row in rows:
        if row["role_reason"]:
            screen.print(
                f"{row['model_name']} {row['model_version']}, {row['role']} since {row['role_since']:%Y-%m-%d %H:%M} UTC: "
                f"{row['role_reason']}",
                highlight=False,
            )


@group.command()
def promote(
    name: Annotated[str, typer.Argument(help="The challenger.")],
    organization: Organization,
    url: Url = None,
    bucket: Bucket = "day",
    horizon: Horizon = 14,
    origins: Origins = 24,
    history: History = "",
    carry: Carry = "",
    delay: Delay = "",
    model: Own = None,
) -> None:
    """Make a challenger champion of this target if better at 60 % of at least 8 origins and by 2 % (MASE).

    Give the options of the forecast: --bucket, --horizon, --history, --carry, --delay, --model.
    Exit code: 3 if it is not better and nothing changed.
    """
    service = _service()
    options = _options(
        bucket=bucket,
        horizon=horizon,
        origins=origins,
        history=history,
        carry=carry,
        delay=delay,
        models=model,
    )
    with database(url) as db:
        organization_id, _ = organization_of(db, organization)
        done, reason = service.promote_model(
            db,
            organization_id,
            name,
            **options,
        )
    screen.print(f"{name} {'is now champion' if done else 'keeps its role'}: {reason}", highlight=False)
    if not done:
        raise typer.Exit(Exit.ATTENTION)


@app.command()
def anomalies(
    organization: Organization,
    url: Url = None,
    as_of: AsOf = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(help="READING=LIMIT, such as vibration_mm_s=7.1; may be repeated.", show_default=False),
    ] = None,
    unusual_at: Annotated[
        float, typer.Option(help="Standard deviations from which a reading is unusual.", min=1)
    ] = 7.0,
    every: Every = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Predict failures, bottlenecks and unusual readings; one prediction per day, machine and kind."""
    service = _service()
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        if every:
            _schedule(
                db, organization_id, "anomalies", every, {"limit": limit or [], "unusual_at": unusual_at}
            )
        with _progress(not as_json and aside.is_terminal, "machines") as progress:
            run = service.detect_anomalies(
                db,
                organization_id,
                as_of=time_of(as_of, timezone) if as_of else None,
                unusual_at=unusual_at,
                dry_run=dry_run,
                progress=progress,
                **_limits(limit or []),
            )
    if as_json:
        print_json(vars(run))
        return
    for one in run.predictions:
        screen.print(f"{one['severity']}: {one['description']}", highlight=False)
    screen.print(f"{run.written} predictions are new; closed: {run.closed or 'none'}.", highlight=False)


def _limits(texts: list[str]) -> dict[str, Any]:
    pairs = [text.partition("=") for text in texts]
    try:
        limits = {name: float(value) for name, _, value in pairs}
    except ValueError:
        raise UsageError("--limit takes READING=LIMIT, such as vibration_mm_s=7.1") from None
    return {"limits": limits} if limits else {}


@app.command()
def absences(
    organization: Organization,
    url: Url = None,
    as_of: AsOf = "",
    horizon: Annotated[int, typer.Option(help="Number of days ahead.", min=1, max=90)] = 14,
    every: Every = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Forecast each employee's probability of absence on each coming day, and absences per location."""
    service = _service()
    with database(url) as db:
        organization_id, timezone = organization_of(db, organization)
        if every:
            _schedule(db, organization_id, "absences", every, {"horizon": horizon})
        run = service.forecast_absences(
            db,
            organization_id,
            as_of=time_of(as_of, timezone) if as_of else None,
            horizon=horizon,
            dry_run=dry_run,
        )
    if as_json:
        print_json(vars(run))
        return
    screen.print(
        f"{run.model_name}, from {run.day_count} days: {len(run.forecasts)} forecasts, {run.written} of them new.",
        highlight=False,
    )


def _schedule(
    db: DatabaseManager, organization_id: UUID, task: str, every: str, options: Mapping[str, Any]
) -> None:
    """Schedule it in the worker from now on, with the given options."""
    given = {name: value for name, value in options.items() if value}
    worker.schedule(db, organization_id, task, duration_of(every), given)


def _forecast_task(db: DatabaseManager, due: Mapping[str, Any], stop: Callable[[], bool]) -> None:
    service = _service()
    words = {
        "bucket": "day", "horizon": 14, "origins": None, "history": "", "carry": "", "delay": "", "models": [],
        **due["arguments"],
    }  # fmt: skip
    service.forecast_demand(db, due["organization_id"], **_options(**words))
    service.monitor(db, due["organization_id"])


def _anomalies_task(db: DatabaseManager, due: Mapping[str, Any], stop: Callable[[], bool]) -> None:
    arguments = due["arguments"]
    options = {"unusual_at": arguments["unusual_at"]} if "unusual_at" in arguments else {}
    _service().detect_anomalies(db, due["organization_id"], **options, **_limits(arguments.get("limit", [])))


def _absences_task(db: DatabaseManager, due: Mapping[str, Any], stop: Callable[[], bool]) -> None:
    _service().forecast_absences(db, due["organization_id"], horizon=due["arguments"].get("horizon", 14))


TASKS: Mapping[str, worker.Task] = {
    "forecast": _forecast_task,
    "anomalies": _anomalies_task,
    "absences": _absences_task,
}
