"""Status of server, schema, data, jobs and cache, and what needs attention: read only, for any role."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg2.sql import SQL, Identifier

from db_utils import schema
from db_utils.errors import (
    ConnectionFailedError,
    DbUtilsError,
    PermissionDeniedError,
    QueryTimeoutError,
    SchemaError,
    ServerUnavailableError,
    UndefinedObjectError,
)
from db_utils.ops.redis_status import RedisFacts, redis_status
from db_utils.ops.table_sizes import TableFacts, rollups, tables
from db_utils.outbox.targets import TargetFacts, targets
from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager
    from db_utils.connections.replica import ReplicaState

_SQL = sql_beside(__name__)

Found = TypeVar("Found")
_TIMEOUT_SECONDS = 5.0
_FIRST_JOB_OF_USERS = 1000
SERIES = ("operational_events", "demand_history", "resource_metrics", "employee_attendance")


@dataclass(frozen=True)
class ServerFacts:
    """The server and the database, as this role sees them."""

    url: str
    version: str
    timescaledb: str | None
    edition: str | None
    """community, apache or plain; None without the schema."""
    role: str
    is_standby: bool
    started_at: dt.datetime
    database_bytes: int | None
    connections: int
    """Of all databases and roles; includes background workers if the role may not see others' sessions."""
    connections_limit: int


@dataclass(frozen=True)
class SchemaFacts:
    """The schema of the database, compared with the library's."""

    version: int | None
    library_version: int
    is_librarys: bool
    """Whether it is this library's version."""
    files: str
    """same, changed (applied from other files than the library's), or unknown (psql alone applied them)."""
    sample_data_from: dt.datetime | None
    """The instant that the sample data is relative to; None if it was not loaded."""


@dataclass(frozen=True)
class SeriesFacts:
    """Time range of a time series; None if it is empty or the role may not read it."""

    name: str
    oldest: dt.datetime | None
    newest: dt.datetime | None


@dataclass(frozen=True)
class JobFacts:
    """A background job of TimescaleDB."""

    job_id: int
    name: str
    relation: str | None
    schedule_seconds: float
    is_scheduled: bool
    last_run_at: dt.datetime | None
    last_success_at: dt.datetime | None
    next_start_at: dt.datetime | None
    last_run_failed: bool
    failures: int
    """Of all its runs."""


@dataclass(frozen=True)
class SourceFacts:
    """A public source of `barnameh fetch`, over all organizations."""

    connector: str
    places: int
    """Number of locations for which it was ever queried."""
    failing_places: int
    """Locations whose newest window could not be fetched or had impossible readings."""
    last_good_at: dt.datetime | None
    """When a window of any location was last fetched successfully."""
    stalest_good_at: dt.datetime | None
    """The same for the location that has waited longest; None if one never had a successful run."""


@dataclass
class Status:
    """The whole status; what the role may not see is None or empty, and named in `not_visible`."""

    ok: bool
    """Whether the database answers."""
    error: str | None = None
    server: ServerFacts | None = None
    schema: SchemaFacts | None = None
    tables: list[TableFacts] = field(default_factory=list)
    rollups: list[TableFacts] = field(default_factory=list)
    """Stored rollups; empty if rollups are views."""
    series: list[SeriesFacts] = field(default_factory=list)
    jobs: list[JobFacts] = field(default_factory=list)
    sources: list[SourceFacts] = field(default_factory=list)
    """Sources that were ever queried; `doctor` reports late ones."""
    copies: list[TargetFacts] = field(default_factory=list)
    """Targets of the outbox: copies on Convex, live streams; `doctor` reports late ones."""
    replica: ReplicaState | None = None
    """The read replica of DATABASE_REPLICA_URL; None if not set."""
    cache: RedisFacts | None = None
    not_visible: list[str] = field(default_factory=list)
    attention: list[str] = field(default_factory=list)
    """One sentence per problem: no or another schema, failing jobs, a Redis that does not answer."""


def status(db: DatabaseManager, *, exact: bool = False) -> Status:
    """Return versions, sizes, freshness and problems. Reads only, and never waits long for one query.

    Works for any role: what it may not see is listed. `exact` counts all rows, however long it takes.
    """
    found = Status(ok=True)
    found.cache = redis_status(db.settings.redis_url, configured=db.settings.redis_is_configured)
    found.replica = db.replica_state()
    try:
        found.server = _server(db)
    except (ConnectionFailedError, ServerUnavailableError) as error:
        found.ok, found.error = False, str(error)
    else:
        look = _Look(found.not_visible)
        found.schema = look("schema version", partial(_schema, db))
        found.tables = look("tables", partial(tables, db, exact=exact)) or []
        found.rollups = look("rollups", partial(rollups, db, exact=exact)) or []
        hidden = [t.name for t in (*found.tables, *found.rollups) if t.rows_are == "unknown"]
        if hidden:
            found.not_visible.append(f"rows of {', '.join(hidden)}")
        if found.tables:
            for name in SERIES:
                edges = look(f"oldest and newest of {name}", partial(_series, db, name, found.server))
                found.series.append(edges or SeriesFacts(name, None, None))
        if any(table.name == "connector_runs" for table in found.tables):
            found.sources = look("runs of sources", partial(sources, db)) or []
        if any(table.name == "sync_targets" for table in found.tables):
            found.copies = (
                look("targets of the outbox", partial(targets, db, timeout_seconds=_TIMEOUT_SECONDS)) or []
            )
        if found.server.timescaledb is not None:
            found.jobs = look("background jobs", partial(_jobs, db)) or []
    found.attention = _attention(found)
    return found


class _Look:
    """Queries single parts; missing permissions and timeouts are noted without stopping the rest."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def __call__(self, what: str, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except (PermissionDeniedError, QueryTimeoutError, UndefinedObjectError, SchemaError) as error:
            self._notes.append(f"{what}: {_reason(error)}")
            return None


def _reason(error: DbUtilsError) -> str:
    if isinstance(error, QueryTimeoutError):
        return f"takes longer than {_TIMEOUT_SECONDS:.0f} seconds"
    return str(error)


def _server(db: DatabaseManager) -> ServerFacts:
    row = db.execute_query(_SQL["server"], primary=True)[0]
    has_edition = row.pop("has_edition")
    return ServerFacts(url=db.settings.safe_url, edition=schema.edition(db) if has_edition else None, **row)


def _schema(db: DatabaseManager) -> SchemaFacts:
    version, latest = schema.version(db), schema.latest_version()
    if version is None:
        return SchemaFacts(None, latest, False, "unknown", None)
    applied = schema.applied_files(db)
    seeds = db.execute_query("SELECT anchor_at FROM public.seed_runs WHERE seed_name = 'sample_data'")
    files = "unknown" if applied is None else "same" if applied == schema.checksums() else "changed"
    return SchemaFacts(version, latest, version == latest, files, seeds[0]["anchor_at"] if seeds else None)


def _series(db: DatabaseManager, name: str, server: ServerFacts | None) -> SeriesFacts:
    """Return the first and last time of a time series, without reading all of it.

    Chunks are read in order, so a hypertable's edge is in its first or last one. For an ordinary table, each
    organization's edge is read from the index on time.
    """
    assert server is not None
    of_all = "(SELECT time FROM {table} ORDER BY time {order} LIMIT 1)"
    of_each = _SQL["series"]
    edge = SQL(of_each if server.edition in ("plain", "citus") else of_all)
    table = Identifier("public", name)
    row = db.execute_query(
        SQL("SELECT {oldest} AS oldest, {newest} AS newest").format(
            oldest=edge.format(table=table, edge=SQL("min"), order=SQL("")),
            newest=edge.format(table=table, edge=SQL("max"), order=SQL("DESC")),
        ),
        timeout_seconds=_TIMEOUT_SECONDS,
    )[0]
    return SeriesFacts(name, row["oldest"], row["newest"])


def _jobs(db: DatabaseManager) -> list[JobFacts]:
    rows: list[dict[str, Any]] = db.execute_query(_SQL["jobs"])
    return [JobFacts(**row) for row in rows]


def sources(db: DatabaseManager) -> list[SourceFacts]:
    """Return when each public source that was ever queried last succeeded."""
    rows = db.execute_query(_SQL["sources"], timeout_seconds=_TIMEOUT_SECONDS)
    return [SourceFacts(**row) for row in rows]


def _attention(found: Status) -> list[str]:
    said = []
    if not found.ok:
        said.append(f"the database does not answer: {found.error}")
    if found.schema is not None:
        version, latest = found.schema.version, found.schema.library_version
        if version is None:
            said.append("the database has no schema: run db-utils init")
        elif version < latest:
            said.append(
                f"schema version {version} is older than this library's {latest}: run db-utils migrate"
            )
        elif version > latest:
            said.append(
                f"schema version {version} is newer than this library's {latest}: use a newer release of the library"
            )
    for job in found.jobs:
        if job.last_run_failed and not _cannot_run(job, found.server):
            relation = f" of {job.relation}" if job.relation else ""
            said.append(
                f"job {job.job_id} ({job.name}{relation}) failed in its last run: see timescaledb_information.job_errors"
            )
    if found.replica is not None and not found.replica.in_use:
        said.append(f"reads go to the primary: the replica {found.replica.url}: {found.replica.reason}")
    if found.cache is not None and found.cache.configured and not found.cache.answers:
        said.append(
            f"{found.cache.url} does not answer ({found.cache.error}): predictions come from PostgreSQL meanwhile"
        )
    return said


def _cannot_run(job: JobFacts, server: ServerFacts | None) -> bool:
    """Whether the job cannot run: under the Apache licence TimescaleDB's own jobs fail, harmlessly."""
    return server is not None and server.edition == "apache" and job.job_id < _FIRST_JOB_OF_USERS
