"""The smoke test: connect to the configured database, run every prebuilt read and show the results.

It is read-only: nothing in the database changes.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from db_utils import schema
from db_utils.cache import CachedPrediction, PredictionCache
from db_utils.config import Settings
from db_utils.connections.manager import DatabaseManager
from db_utils.embedded import redis_server, server
from db_utils.errors import ConnectionFailedError, DbUtilsError, NotFoundError, QueryError, SchemaError
from db_utils.ops.doctor.model import duration
from db_utils.ops.status import sources
from db_utils.queries import OperationalDataQueries
from db_utils.queries.catalogue import reads
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)

_SAMPLE_WIDTH = 60


@dataclass(frozen=True)
class Outcome:
    """The outcome of one prebuilt read."""

    name: str
    rows: int
    milliseconds: float
    sample: str
    error: str | None = None
    missing: bool = False  # there is no data yet that it could be run for


def run(settings: Settings, console: Console) -> bool:
    """Run the smoke test and print the results; return False if a read failed.

    Raises `DbUtilsError` if nothing could be run at all.
    """
    with contextlib.ExitStack() as stack:
        db, settings = stack.enter_context(_database(settings, console))
        cache = stack.enter_context(PredictionCache.from_settings(settings))
        console.print(_about(db, cache))
        if schema.version(db) is None:
            raise SchemaError(f"{db.settings.safe_url} has no schema yet: run python -m db_utils init")
        queries = OperationalDataQueries(db, cache=cache)
        samples = sample_arguments(db)
        names = read_methods(OperationalDataQueries)
        # Cached reads run twice: the second result comes from the cache.
        names += [name for name in names if name.startswith("get_cached_")] if cache.enabled else []
        outcomes = [call(getattr(queries, name), samples) for name in names]
        console.print(_outcome_table(outcomes))
        console.print(
            _kpi_table(
                queries.get_kpi_summary(samples["organization_id"], days=7), samples["organization_name"]
            )
        )
        if cache.enabled:
            console.print(_cache_line(cache), soft_wrap=True)
        for line in _source_lines(db):
            console.print(line, soft_wrap=True)
        failures = [o for o in outcomes if o.error]
        not_asked = {o.name for o in outcomes if o.missing}
        console.print(
            f"{len(failures)} of {len(set(names))} prebuilt queries failed."
            if failures
            else f"All {len(set(names))} prebuilt queries answered."
            if not not_asked
            else f"{len(set(names)) - len(not_asked)} prebuilt queries answered; {len(not_asked)} have no data to run on yet."
        )
        return not failures


def read_methods(queries: type) -> list[str]:
    """Return the names of all prebuilt reads, in alphabetical order."""
    return [name for name, _ in inspect.getmembers(queries, inspect.isfunction) if reads(name)]


def sample_arguments(db: DatabaseManager) -> dict[str, Any]:
    """Return sample arguments found in the database: one for every required parameter of a read.

    The sample data's manufacturing company if it exists, else the first organization.
    """
    rows = db.execute_query(_SQL["sample_arguments"])
    if not rows:
        raise NotFoundError(
            "the database has no organization yet: load the sample data with python -m db_utils seed"
        )
    return {**rows[0], **fixed_arguments(datetime.now(UTC))}


def fixed_arguments(now: datetime) -> dict[str, Any]:
    """Sample arguments that fit every database."""
    week = timedelta(days=7)
    return {"start": now - week, "end": now, "as_of": now, "horizon": 7, "history": 4 * week}


def call(method: Callable[..., Any], samples: dict[str, Any]) -> Outcome:
    """Run one read with sample arguments and time it; a failure is an outcome too."""
    arguments = {
        name: samples[name]
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    if missing := sorted(name.removesuffix("_id") for name, value in arguments.items() if value is None):
        return Outcome(
            method.__name__, 0, 0.0, f"not run: there is no {' and no '.join(missing)} yet", missing=True
        )
    started = time.perf_counter()
    try:
        answer = method(**arguments)
    except DbUtilsError as error:
        return Outcome(method.__name__, 0, _milliseconds(started), "", str(error))
    if isinstance(answer, CachedPrediction):
        answer = [{"source": answer.source, "freshness": answer.freshness.value, "value": answer.value}]
    rows = answer if isinstance(answer, list) else [] if answer is None else [answer]
    return Outcome(method.__name__, len(rows), _milliseconds(started), _sample(rows))


@contextlib.contextmanager
def _database(settings: Settings, console: Console) -> Iterator[tuple[DatabaseManager, Settings]]:
    """The configured database, or the one at the compose file's address; only failing both, the embedded server."""
    with DatabaseManager(settings=settings) as db:
        try:
            db.execute_query("SELECT 1 AS answer")
        except ConnectionFailedError as error:
            if settings.is_configured or type(error) is not ConnectionFailedError:
                raise
        else:
            if not settings.is_configured:
                console.print(
                    f"Nothing is configured: using the database that answers at {settings.safe_url}."
                )
            yield db, settings
            return
    console.print(
        f"Nothing is configured and nothing answers at {settings.safe_url}: running on the embedded PostgreSQL 16, kept in "
        f"{server.default_data_dir()}."
    )
    with (
        DatabaseManager.embedded(server.default_data_dir(), seed=True) as db,
        contextlib.ExitStack() as stack,
    ):
        redis_url = settings.redis_url
        with PredictionCache(redis_url) as configured:
            if redis_url == Settings().redis_url and configured.ping() is None and redis_server.find():
                redis_url = stack.enter_context(redis_server.start())
        yield db, settings.with_changes(redis_url=redis_url)


def _about(db: DatabaseManager, cache: PredictionCache) -> Table:
    row = db.execute_query(
        """
        SELECT current_setting('server_version') AS server, current_database() AS database, current_user AS role,
            (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb
        """
    )[0]
    known = schema.version(db)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("connected to", db.settings.safe_url)
    table.add_row("server", f"PostgreSQL {row['server']}")
    table.add_row(
        "edition",
        f"{schema.edition(db)} (TimescaleDB {row['timescaledb']})"
        if row["timescaledb"]
        else f"{schema.edition(db)} (no TimescaleDB)",
    ) if known is not None else None
    table.add_row("schema version", str(known))
    latency = cache.ping()
    if not cache.enabled:
        table.add_row("Redis", "none: REDIS_URL is empty, predictions come from PostgreSQL")
    elif latency is None:
        table.add_row("Redis", "does not answer: predictions come from PostgreSQL")
    else:
        table.add_row("Redis", f"answers in {1000 * latency:.1f} ms")
    return table


def _outcome_table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Every prebuilt query", title_justify="left")
    table.add_column("query", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("sample")  # the only column that a narrow terminal truncates
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            "failed" if outcome.error else str(outcome.rows),
            f"{outcome.milliseconds:.1f}",
            outcome.error or Text(outcome.sample, no_wrap=True, overflow="ellipsis"),
            style="red" if outcome.error else None,
        )
    return table


def _kpi_table(kpis: list[dict[str, Any]], organization: str) -> Table:
    table = Table(title=f"KPIs of the last seven days: {organization}", title_justify="left")
    for heading, justify in (
        ("kpi", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("from, or why not", "left"),
        ("coverage", "right"),
    ):
        table.add_column(heading, justify=justify, no_wrap=heading != "from, or why not")  # type: ignore[arg-type]
    for row in kpis:
        table.add_row(
            row["kpi"],
            "" if row["value"] is None else f"{row['value']:.2f}",
            row["unit"],
            row["reason"] if row["value"] is None else _computed_from(row),
            "" if row["coverage_pct"] is None else f"{row['coverage_pct']:.0f} %",
        )
    return table


def _computed_from(row: dict[str, Any]) -> str:
    above, below = row["numerator_unit"], row["denominator_unit"]
    return f"{row['numerator']:.0f}{'' if above == below else f' {above}'} / {row['denominator']:.0f} {below}"


def _cache_line(cache: PredictionCache) -> str:
    known = cache.statistics()
    rebuild = known["mean_rebuild_seconds"]
    return (
        f"Prediction cache: {known['hits']} hits, {known['misses']} misses, {known['stale']} stale, {known['errors']} errors, "
        f"breaker {known['breaker']}, {known['bytes_read']} bytes read, {known['bytes_written']} written"
        + (f", {1000 * rebuild:.1f} ms for a rebuild" if rebuild is not None else "")
    )


def _source_lines(db: DatabaseManager) -> Iterator[str]:
    """Return how old the latest data of each public source is; nothing if no source was ever queried or the role may not read it."""
    try:
        known = sources(db)
    except QueryError:
        return
    now = datetime.now(UTC)
    for source in known:
        age = (
            "no successful run yet"
            if source.last_good_at is None
            else f"last successful run {duration((now - source.last_good_at).total_seconds())} ago"
        )
        failing = f", failing at {source.failing_places} of {source.places} places" * bool(
            source.failing_places
        )
        yield f"Source {source.connector}: {age}{failing}."


def _milliseconds(started: float) -> float:
    return 1000 * (time.perf_counter() - started)


def _sample(rows: list[Any]) -> str:
    if not rows:
        return "-"
    first = rows[0]
    shown = (
        {k: v for k, v in first.items() if v is not None and not k.endswith("_id")}
        if isinstance(first, dict)
        else first
    )
    return (
        json.dumps(shown, default=str, ensure_ascii=False)[:_SAMPLE_WIDTH]
        if isinstance(shown, dict)
        else str(shown)[:_SAMPLE_WIDTH]
    )
