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

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

Found = TypeVar("Found")
_PATIENCE_SECONDS = 5.0
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
                look("targets of the outbox", partial(targets, db, timeout_seconds=_PATIENCE_SECONDS)) or []
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
        return f"takes longer than {_PATIENCE_SECONDS:.0f} seconds"
    return str(error)


def _server(db: DatabaseManager) -> ServerFacts:
    row = db.execute_query(
        """
        SELECT
            current_setting('server_version') AS version,
            (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
            to_regprocedure('public.database_edition()') IS NOT NULL AS has_edition,
            current_user AS role,
            pg_is_in_recovery() AS is_standby,
            pg_postmaster_start_time() AS started_at,
            CASE WHEN has_database_privilege(current_database(), 'CONNECT') THEN pg_database_size(current_database()) END AS database_bytes,
            CASE
                WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN
                    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                ELSE (SELECT sum(numbackends) FROM pg_stat_database)
            END::integer AS connections,
            current_setting('max_connections')::integer AS connections_limit
        """,
        primary=True,
    )[0]
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
    of_each = """
        (
            SELECT {edge}(e.time)
            FROM public.organizations AS o
            CROSS JOIN LATERAL (
                SELECT t.time
                FROM {table} AS t
                WHERE t.organization_id = o.organization_id
                ORDER BY time_bucket(interval '1 hour', t.time) {order}, t.time {order}
                LIMIT 1
            ) AS e
        )
    """
    edge = SQL(of_each if server.edition == "plain" else of_all)
    table = Identifier("public", name)
    row = db.execute_query(
        SQL("SELECT {oldest} AS oldest, {newest} AS newest").format(
            oldest=edge.format(table=table, edge=SQL("min"), order=SQL("")),
            newest=edge.format(table=table, edge=SQL("max"), order=SQL("DESC")),
        ),
        timeout_seconds=_PATIENCE_SECONDS,
    )[0]
    return SeriesFacts(name, row["oldest"], row["newest"])


def _jobs(db: DatabaseManager) -> list[JobFacts]:
    rows: list[dict[str, Any]] = db.execute_query(
        """
        SELECT
            j.job_id,
            regexp_replace(j.application_name, ' \\[\\d+\\]$', '') AS name,
            coalesce(a.view_name, j.hypertable_name)::text AS relation,
            extract(epoch FROM j.schedule_interval)::double precision AS schedule_seconds,
            j.scheduled AS is_scheduled,
            nullif(s.last_run_started_at, '-infinity') AS last_run_at,
            nullif(s.last_successful_finish, '-infinity') AS last_success_at,
            nullif(nullif(s.next_start, '-infinity'), 'infinity') AS next_start_at,
            coalesce(s.last_run_status = 'Failed', false) AS last_run_failed,
            coalesce(s.total_failures, 0) AS failures
        FROM timescaledb_information.jobs AS j
        LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
        LEFT JOIN timescaledb_information.continuous_aggregates AS a
            ON a.materialization_hypertable_schema = j.hypertable_schema
            AND a.materialization_hypertable_name = j.hypertable_name
        ORDER BY j.job_id
        """
    )
    return [JobFacts(**row) for row in rows]


def sources(db: DatabaseManager) -> list[SourceFacts]:
    """Return when each public source that was ever asked last succeeded."""
    rows = db.execute_query(
        """
        WITH places AS (
            SELECT
                r.connector,
                max(r.finished_at) FILTER (WHERE r.error_message IS NULL) AS last_good_at,
                (array_agg(r.error_message ORDER BY r.finished_at DESC, r.window_start DESC))[1] AS newest_error
            FROM public.connector_runs AS r
            GROUP BY
                r.organization_id,
                r.location_id,
                r.connector
        )
        SELECT
            p.connector,
            count(*) AS places,
            count(p.newest_error) AS failing_places,
            max(p.last_good_at) AS last_good_at,
            CASE WHEN count(*) = count(p.last_good_at) THEN min(p.last_good_at) END AS stalest_good_at
        FROM places AS p
        GROUP BY p.connector
        ORDER BY p.connector
        """,
        timeout_seconds=_PATIENCE_SECONDS,
    )
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
    if found.cache is not None and found.cache.configured and not found.cache.answers:
        said.append(
            f"{found.cache.url} does not answer ({found.cache.error}): predictions come from PostgreSQL meanwhile"
        )
    return said


def _cannot_run(job: JobFacts, server: ServerFacts | None) -> bool:
    """Under Apache's licence TimescaleDB's own jobs fail from the first day on, and nothing comes of it."""
    return server is not None and server.edition == "apache" and job.job_id < _FIRST_JOB_OF_USERS
