"""What runs, where, how large it is, and whether something needs attention: read only, for any role."""

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
    """Of all databases and roles; where the role may not look at others' sessions, background workers count too."""
    connections_limit: int


@dataclass(frozen=True)
class SchemaFacts:
    """Which schema the database has, against the library's."""

    version: int | None
    library_version: int
    is_librarys: bool
    """Whether it is this library's version."""
    files: str
    """same, changed (applied from other files than the library's), or unknown (psql alone applied them)."""
    sample_data_from: dt.datetime | None
    """The instant that the sample data took for now; None where it was not loaded."""


@dataclass(frozen=True)
class SeriesFacts:
    """From when to when a time series has rows; None where it has none or the role may not read it."""

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
    """For how many places it was ever asked."""
    failing_places: int
    """Those whose newest window could not be fetched or held readings that cannot be true."""
    last_good_at: dt.datetime | None
    """When a window of any place was last fetched well."""
    stalest_good_at: dt.datetime | None
    """The same of the place that waits longest; None where one never had a good run."""


@dataclass
class Status:
    """All of it; what the role may not see is None or empty, and named in `not_visible`."""

    ok: bool
    """Whether the database answers."""
    error: str | None = None
    server: ServerFacts | None = None
    schema: SchemaFacts | None = None
    tables: list[TableFacts] = field(default_factory=list)
    rollups: list[TableFacts] = field(default_factory=list)
    """Those that are stored; none where rollups are views."""
    series: list[SeriesFacts] = field(default_factory=list)
    jobs: list[JobFacts] = field(default_factory=list)
    sources: list[SourceFacts] = field(default_factory=list)
    """Those that were ever asked; `doctor` says which are late."""
    copies: list[TargetFacts] = field(default_factory=list)
    """Targets of the outbox: copies on Convex, live streams; `doctor` says which are late."""
    replica: ReplicaState | None = None
    """The read replica of DATABASE_REPLICA_URL; None where none is set."""
    cache: RedisFacts | None = None
    not_visible: list[str] = field(default_factory=list)
    attention: list[str] = field(default_factory=list)
    """One sentence for each thing that should be looked at: no or another schema, failing jobs, a silent Redis."""


def status(db: DatabaseManager, *, exact: bool = False) -> Status:
    """What runs, where, which versions, how large, how fresh? Reads only, and never waits long for one answer.

    Works for any role: what it may not see is said. `exact` counts all rows, however long it takes.
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
    """Asks for one part; where the role may not see it, or it takes too long, that is noted and the rest goes on."""

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
    """The edges of a time series, without reading all of it.

    Chunks are read in order, so a hypertable's edge is in its first or last one. An ordinary table is asked for each
    organization's edge, which its index on the hour gives.
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
    """Return when each public source that was ever asked last succeeded."""
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
                f"job {job.job_id} ({job.name}{relation}) failed when it ran last: see timescaledb_information.job_errors"
            )
    if found.replica is not None and not found.replica.in_use:
        said.append(f"reads go to the primary: the replica {found.replica.url}: {found.replica.reason}")
    if found.cache is not None and found.cache.configured and not found.cache.answers:
        said.append(
            f"{found.cache.url} does not answer ({found.cache.error}): predictions come from PostgreSQL meanwhile"
        )
    return said


def _cannot_run(job: JobFacts, server: ServerFacts | None) -> bool:
    """Under Apache's licence TimescaleDB's own jobs fail from the first day on, and nothing comes of it."""
    return server is not None and server.edition == "apache" and job.job_id < _FIRST_JOB_OF_USERS
